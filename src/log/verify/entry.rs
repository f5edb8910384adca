//! What the verifier asks of an entry: its form, and its place in the history of its object.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// What the verifier reads from an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    pub event: String,
    pub object: Option<[u8; 16]>,
    pub previous: Option<u64>,
}

/// Why an entry is not as the format wants it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EntryProblem {
    #[error("it is not JSON as the format wants it: {0}")]
    Form(String),
    #[error("it has white space outside strings")]
    WhiteSpace,
    #[error("the first entry of a log is `log.open`; this one is not")]
    NotOpened,
    #[error("it follows `log.close`")]
    AfterClose,
    #[error("it has `prev` and no `oid`")]
    PreviousOfNothing,
    #[error("it has no `prev`, but entry {0} is about the same object")]
    PreviousMissing(u64),
    #[error("its `prev` is {found}, but the previous entry about the same object is {expected}")]
    PreviousWrong { found: u64, expected: u64 },
    #[error("its `prev` is {0}, but no earlier entry is about the same object")]
    PreviousUnknown(u64),
}

/// Reads one entry: JSON with strictly ascending ASCII keys at every depth, whole numbers only, no nulls.
pub fn read(bytes: &[u8]) -> Result<Facts, EntryProblem> {
    if white_space(bytes) {
        return Err(EntryProblem::WhiteSpace);
    }
    serde_json::from_slice(bytes).map_err(|error| {
        // The text may quote what stands in the log; nothing of that may steer a terminal.
        EntryProblem::Form(error.to_string().escape_debug().take(160).collect())
    })
}

/// The objects seen so far and the last entry about each: the only thing that grows with a log
/// while it is verified, by some 40 bytes for each object.
#[derive(Debug, Default)]
pub struct History {
    latest: HashMap<[u8; 16], u64>,
    closed: bool,
    /// The first entry that could not be read. What points at it or behind it proves nothing either way.
    lost: Option<u64>,
}

impl History {
    /// Notes that an entry could not be read.
    pub fn lose(&mut self, index: u64) {
        self.lost.get_or_insert(index);
    }

    /// Takes the next entry in; it counts even where it does not fit, so that one fault is one finding.
    pub fn follow(&mut self, index: u64, facts: &Facts) -> Result<(), EntryProblem> {
        let after_close = self.closed;
        self.closed |= facts.event == "log.close";
        let expected = facts.object.and_then(|object| self.latest.insert(object, index));
        if index == 0 && facts.event != "log.open" {
            return Err(EntryProblem::NotOpened);
        }
        if after_close {
            return Err(EntryProblem::AfterClose);
        }
        match (facts.object, facts.previous, expected) {
            (Some(_), Some(found), _) if self.lost.is_some_and(|lost| (lost..index).contains(&found)) => {
                Ok(())
            }
            (None, Some(_), _) => Err(EntryProblem::PreviousOfNothing),
            (_, None, Some(expected)) => Err(EntryProblem::PreviousMissing(expected)),
            (_, Some(found), None) => Err(EntryProblem::PreviousUnknown(found)),
            (_, Some(found), Some(expected)) if found != expected => {
                Err(EntryProblem::PreviousWrong { found, expected })
            }
            _ => Ok(()),
        }
    }
}

/// Whether JSON white space stands outside strings.
fn white_space(bytes: &[u8]) -> bool {
    let (mut quoted, mut escaped) = (false, false);
    bytes.iter().any(|byte| {
        let was_escaped = std::mem::take(&mut escaped);
        match byte {
            b'"' if !was_escaped => quoted = !quoted,
            b'\\' => escaped = quoted && !was_escaped,
            _ => (),
        }
        !quoted && byte.is_ascii_whitespace()
    })
}

impl<'de> Deserialize<'de> for Facts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entry;
        impl<'de> Visitor<'de> for Entry {
            type Value = Facts;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Facts, A::Error> {
                let (mut event, mut object, mut previous) = (None, None, None);
                let mut order = Order::default();
                while let Some(Text(key)) = map.next_key()? {
                    match &*key {
                        "ev" => event = Some(map.next_value::<Text>()?.0.into_owned()),
                        "oid" => object = Some(object_id(&map.next_value::<Text>()?.0)?),
                        "prev" => previous = Some(map.next_value::<u64>()?),
                        _ => {
                            map.next_value::<Plain>()?;
                        }
                    }
                    order.next(key)?;
                }
                let event = event.ok_or_else(|| A::Error::custom("there is no `ev`"))?;
                Ok(Facts { event, object, previous })
            }
        }
        deserializer.deserialize_map(Entry)
    }
}

fn object_id<E: Error>(text: &str) -> Result<[u8; 16], E> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok().and_then(|bytes| bytes.try_into().ok());
    bytes.ok_or_else(|| E::custom("`oid` is not 16 bytes of base64url"))
}

/// A string, borrowed where it has no escapes.
#[derive(serde::Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// Checks that the keys of one object ascend.
#[derive(Default)]
struct Order<'a>(Option<Cow<'a, str>>);

impl<'a> Order<'a> {
    fn next<E: Error>(&mut self, key: Cow<'a, str>) -> Result<(), E> {
        if !key.is_ascii() {
            return Err(E::custom("a key is not ASCII"));
        }
        if self.0.as_ref().is_some_and(|before| *before >= key) {
            return Err(E::custom("the keys are not in strictly ascending order"));
        }
        self.0 = Some(key);
        Ok(())
    }
}

/// Any value that the format allows; nothing of it is kept.
struct Plain;

impl<'de> Deserialize<'de> for Plain {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Plain)
    }
}

impl<'de> Visitor<'de> for Plain {
    type Value = Plain;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string, a whole number, true, false, a list or an object")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Plain, E> {
        Ok(Plain)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Plain, E> {
        Ok(Plain)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Plain, E> {
        Ok(Plain)
    }

    fn visit_str<E>(self, _: &str) -> Result<Plain, E> {
        Ok(Plain)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Plain, A::Error> {
        while list.next_element::<Plain>()?.is_some() {}
        Ok(Plain)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Plain, A::Error> {
        let mut order = Order::default();
        while let Some(Text(key)) = map.next_key()? {
            map.next_value::<Plain>()?;
            order.next(key)?;
        }
        Ok(Plain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OID: &str = "AAAAAAAAAAAAAAAAAAAAAA";

    #[test]
    fn a_plain_entry_gives_its_facts() {
        let entry = format!(
            r#"{{"dec":{{"eff":"allow","rules":["a b","c\" d"]}},"ev":"write","oid":"{OID}","prev":7,"t":1}}"#
        );
        let facts = Facts { event: "write".to_owned(), object: Some([0; 16]), previous: Some(7) };
        assert_eq!(read(entry.as_bytes()), Ok(facts));
    }

    #[test]
    fn entries_that_the_format_does_not_allow_are_refused() {
        for (entry, why) in [
            (r#""#, "EOF"),
            (r#"[]"#, "an object"),
            (r#"{}"#, "no `ev`"),
            (r#"{"ev":"write"}x"#, "trailing"),
            (r#"{"ev":"write","dec":1}"#, "ascending"),
            (r#"{"ev":"write","ev":"read"}"#, "ascending"),
            (r#"{"dec":{"b":1,"a":1},"ev":"write"}"#, "ascending"),
            (r#"{"ev":"write","n":null}"#, "null"),
            (r#"{"ev":"write","n":1.5}"#, "floating point"),
            (r#"{"ev":"write","n":1e3}"#, "floating point"),
            (r#"{"ev":"write","n":99999999999999999999}"#, "floating point"),
            (r#"{"ev":"write","oid":"short"}"#, "oid"),
            (r#"{"ev":"write","prev":-1}"#, "invalid value"),
            (r#"{"ev":"write","ü":1}"#, "ASCII"),
            (r#"{"ev":"write","v":"\u001b"#, "EOF"),
        ] {
            let Err(EntryProblem::Form(text)) = read(entry.as_bytes()) else { panic!("{entry}") };
            assert!(text.contains(why), "{entry}: {text}");
        }
        assert!(matches!(read(b"{\"ev\":\"\xff\"}"), Err(EntryProblem::Form(_))));
        for spaced in [r#"{"ev": "write"}"#, "{\"ev\":\"write\"}\n", r#"{"a":"\"","ev":"w" }"#] {
            assert_eq!(read(spaced.as_bytes()), Err(EntryProblem::WhiteSpace), "{spaced}");
        }
        assert!(read(format!("{{\"ev\":{}", "[".repeat(60_000)).as_bytes()).is_err());
    }

    #[test]
    fn a_gap_in_an_object_s_history_shows() {
        let facts = |event: &str, object: Option<u8>, previous| Facts {
            event: event.to_owned(),
            object: object.map(|byte| [byte; 16]),
            previous,
        };
        let mut history = History::default();
        assert_eq!(history.follow(0, &facts("log.open", None, None)), Ok(()));
        assert_eq!(history.follow(1, &facts("write", Some(1), None)), Ok(()));
        assert_eq!(history.follow(2, &facts("write", Some(2), None)), Ok(()));
        assert_eq!(history.follow(3, &facts("write", Some(1), Some(1))), Ok(()));
        let wrong = EntryProblem::PreviousWrong { found: 1, expected: 3 };
        assert_eq!(history.follow(4, &facts("write", Some(1), Some(1))), Err(wrong));
        assert_eq!(history.follow(5, &facts("write", Some(2), None)), Err(EntryProblem::PreviousMissing(2)));
        assert_eq!(
            history.follow(6, &facts("write", Some(3), Some(2))),
            Err(EntryProblem::PreviousUnknown(2))
        );
        assert_eq!(history.follow(7, &facts("policy", None, Some(2))), Err(EntryProblem::PreviousOfNothing));
        assert_eq!(history.follow(8, &facts("log.close", None, None)), Ok(()));
        assert_eq!(history.follow(9, &facts("policy", None, None)), Err(EntryProblem::AfterClose));
        assert_eq!(History::default().follow(0, &facts("write", None, None)), Err(EntryProblem::NotOpened));
    }

    #[test]
    fn an_entry_that_cannot_be_read_does_not_blame_those_that_follow() {
        let facts = |previous| Facts { event: "write".to_owned(), object: Some([1; 16]), previous };
        let mut history = History::default();
        history.follow(1, &facts(None)).unwrap();
        history.lose(2);
        assert_eq!(history.follow(3, &facts(Some(2))), Ok(()));
        assert_eq!(
            history.follow(4, &facts(Some(9))),
            Err(EntryProblem::PreviousWrong { found: 9, expected: 3 })
        );
    }
}
