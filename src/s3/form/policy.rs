//! The policy of a form: when it expires, and what every field must be (S3 API reference, "POST Policy").

use std::time::SystemTime;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;

use super::{Fields, FormError};

/// Fields that no condition need name: they carry the policy itself, its signature, or the file.
const FREE: [&str; 3] = ["policy", "x-amz-signature", "file"];
const IGNORED: &str = "x-ignore-";

/// How long the file may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LengthRange {
    pub min: u64,
    pub max: u64,
}

impl LengthRange {
    pub fn check(self, length: u64) -> Result<(), FormError> {
        if length < self.min {
            return Err(FormError::TooSmall { length, min: self.min });
        }
        if length > self.max {
            return Err(FormError::TooLarge { length, max: self.max });
        }
        Ok(())
    }
}

/// A policy document, read.
#[derive(PartialEq, Eq)]
pub struct Policy {
    expires: SystemTime,
    conditions: Vec<Condition>,
    length: Option<LengthRange>,
}

impl std::fmt::Debug for Policy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "<policy of {} conditions>", self.conditions.len())
    }
}

#[derive(PartialEq, Eq)]
struct Condition {
    /// In lower case.
    field: String,
    matching: Matching,
    value: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Matching {
    Exactly,
    StartsWith,
}

impl Policy {
    /// Reads the field `policy`, as it was sent.
    pub fn parse(encoded: &str) -> Result<Policy, FormError> {
        let invalid = FormError::PolicyDocument;
        let text = BASE64_STANDARD.decode(encoded.trim()).map_err(|_| invalid("it is not base64"))?;
        let document: Value =
            serde_json::from_slice(&plain_json(&text)).map_err(|_| invalid("it is not JSON"))?;
        let expiration = document.get("expiration").and_then(Value::as_str);
        let expiration = expiration.ok_or(invalid("`expiration` is missing"))?;
        let expires = expiration.parse::<jiff::Timestamp>().ok();
        // With its `T`: a blank between date and time is no ISO 8601, and others refuse it.
        let expires = expires.filter(|_| expiration.as_bytes().get(10) == Some(&b'T'));
        let expires = expires.ok_or(invalid("`expiration` is not an ISO 8601 date-time"))?;
        let list = document.get("conditions").and_then(Value::as_array);
        let list = list.ok_or(invalid("`conditions` is missing"))?;
        if list.is_empty() {
            return Err(invalid("`conditions` is empty"));
        }
        let mut policy = Policy { expires: expires.into(), conditions: Vec::new(), length: None };
        for condition in list {
            policy.add(condition)?;
        }
        Ok(policy)
    }

    fn add(&mut self, condition: &Value) -> Result<(), FormError> {
        let invalid = FormError::PolicyDocument;
        match condition {
            Value::Object(pairs) if !pairs.is_empty() => {
                for (field, value) in pairs {
                    let value = value.as_str().ok_or(invalid("a condition's value is not text"))?;
                    self.push(field, Matching::Exactly, value);
                }
                Ok(())
            }
            Value::Array(parts) => {
                let [kind, first, second] = parts.as_slice() else {
                    return Err(invalid("a condition does not have three parts"));
                };
                let kind = kind.as_str().unwrap_or_default().to_ascii_lowercase();
                if kind == "content-length-range" {
                    let (min, max) = (number(first), number(second));
                    let (Some(min), Some(max)) = (min, max) else {
                        return Err(invalid("content-length-range wants two numbers"));
                    };
                    self.length = Some(LengthRange { min, max });
                    return Ok(());
                }
                let matching = match kind.as_str() {
                    "eq" => Matching::Exactly,
                    "starts-with" => Matching::StartsWith,
                    _ => {
                        return Err(invalid(
                            "a condition is neither eq, starts-with nor content-length-range",
                        ));
                    }
                };
                let field = first.as_str().and_then(|field| field.strip_prefix('$'));
                let field = field.ok_or(invalid("a condition names no field with a `$`"))?;
                let value = second.as_str().ok_or(invalid("a condition's value is not text"))?;
                self.push(field, matching, value);
                Ok(())
            }
            _ => Err(invalid("a condition is neither an object nor a list")),
        }
    }

    fn push(&mut self, field: &str, matching: Matching, value: &str) {
        let (field, value) = (field.to_ascii_lowercase(), value.to_owned());
        self.conditions.push(Condition { field, matching, value });
    }

    /// Whether the form is one that the policy's author signed. `bucket` is the one that the request names.
    pub fn check(&self, fields: &Fields, bucket: &str, now: SystemTime) -> Result<(), FormError> {
        if now >= self.expires {
            return Err(FormError::Expired);
        }
        let value = |name: &str| if name == "bucket" { bucket } else { fields.get(name).unwrap_or_default() };
        if let Some(failed) =
            self.conditions.iter().find(|condition| !condition.holds(value(&condition.field)))
        {
            return Err(FormError::Condition(format!("[\"{}\", \"${}\"]", failed.word(), failed.field)));
        }
        let named = |name: &str| self.conditions.iter().any(|condition| condition.field == name);
        let sent = fields.iter().map(|(name, _)| name).chain(["bucket"]);
        let mut extra =
            sent.filter(|name| !FREE.contains(name) && !name.starts_with(IGNORED) && !named(name));
        match extra.next() {
            Some(name) => Err(FormError::NotInPolicy(name.to_owned())),
            None => Ok(()),
        }
    }

    pub fn length(&self) -> Option<LengthRange> {
        self.length
    }
}

impl Condition {
    fn holds(&self, value: &str) -> bool {
        match self.matching {
            Matching::Exactly => value == self.value,
            // Of a list of content types, each must fit.
            Matching::StartsWith if self.field == "content-type" => {
                value.split(',').all(|one| one.trim().starts_with(&self.value))
            }
            Matching::StartsWith => value.starts_with(&self.value),
        }
    }

    fn word(&self) -> &'static str {
        match self.matching {
            Matching::Exactly => "eq",
            Matching::StartsWith => "starts-with",
        }
    }
}

/// A policy is JSON with two escapes of its own, `\$` and `\v` (S3 API reference, "POST Policy", character escaping).
fn plain_json(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    let mut bytes = text.iter().copied();
    while let Some(byte) = bytes.next() {
        match (byte, (byte == b'\\').then(|| bytes.next()).flatten()) {
            (_, None) => plain.push(byte),
            (_, Some(b'$')) => plain.push(b'$'),
            (_, Some(b'v')) => plain.extend_from_slice(b"\\u000b"),
            (_, Some(escaped)) => plain.extend([byte, escaped]),
        }
    }
    plain
}

/// A whole number, which some clients write as text.
fn number(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    /// 2030-01-01
    const EXPIRES: u64 = 1_893_456_000;

    fn policy(conditions: &str) -> Result<Policy, FormError> {
        let text = format!("{{\"expiration\": \"2030-01-01T00:00:00.000Z\", \"conditions\": {conditions}}}");
        Policy::parse(&BASE64_STANDARD.encode(text))
    }

    fn fields(pairs: &[(&str, &str)]) -> Fields {
        let mut fields = Fields::default();
        for (name, value) in pairs {
            fields.add(name, (*value).to_owned()).unwrap();
        }
        fields
    }

    fn check(conditions: &str, pairs: &[(&str, &str)]) -> Result<(), FormError> {
        policy(conditions).unwrap().check(&fields(pairs), "clinic", UNIX_EPOCH)
    }

    #[test]
    fn every_condition_must_hold_and_every_field_be_named() {
        const ALL: &str = r#"[{"bucket": "clinic"}, ["starts-with", "$Key", "in/"], ["eq", "$x-amz-meta-a", "\$1"],
                              ["starts-with", "$Content-Type", "image/"], ["content-length-range", 1, "10"]]"#;
        let good = [("key", "in/a"), ("X-Amz-Meta-A", "$1"), ("Content-Type", "image/png, image/jpeg")];
        assert_eq!(check(ALL, &good), Ok(()));
        assert_eq!(policy(ALL).unwrap().length(), Some(LengthRange { min: 1, max: 10 }));
        for changed in [("key", "out/a"), ("X-Amz-Meta-A", "1"), ("Content-Type", "image/png,text/html")] {
            let changed: Vec<_> =
                good.iter().map(|field| if field.0 == changed.0 { changed } else { *field }).collect();
            assert!(matches!(check(ALL, &changed), Err(FormError::Condition(_))));
        }
        let with = |extra: (&'static str, &'static str)| [&good[..], &[extra]].concat();
        assert!(
            matches!(check(ALL, &with(("acl", "private"))), Err(FormError::NotInPolicy(name)) if name == "acl")
        );
        for free in [("x-ignore-me", "1"), ("policy", "p"), ("x-amz-signature", "s")] {
            assert_eq!(check(ALL, &with(free)), Ok(()), "{free:?}");
        }
        assert!(matches!(check(r#"[["eq", "$key", "a"]]"#, &[("key", "a")]), Err(FormError::NotInPolicy(_))));
        assert!(matches!(check(r#"[{"bucket": "other"}]"#, &[]), Err(FormError::Condition(_))));
    }

    #[test]
    fn escapes_are_those_of_the_text_and_values_are_taken_as_they_are() {
        let starts_with = |value: &str, key: &str| {
            let conditions =
                format!("[[\"starts-with\", \"$key\", \"{value}\"], {{\"bucket\": \"clinic\"}}]");
            policy(&conditions)
                .and_then(|policy| policy.check(&fields(&[("key", key)]), "clinic", UNIX_EPOCH))
        };
        for (value, key) in [(r"\$a", "$ab"), (r"\\$a", r"\$ab"), (r"\u0024a", "$ab"), (r"\va", "\u{b}ab")] {
            assert_eq!(starts_with(value, key), Ok(()), "{value}");
        }
        assert!(matches!(starts_with(r"\\$a", "$ab"), Err(FormError::Condition(_))));
        assert!(matches!(starts_with(r"\q", "q"), Err(FormError::PolicyDocument(_))));
    }

    #[test]
    fn a_policy_ends() {
        let policy = policy(r#"[{"bucket": "clinic"}]"#).unwrap();
        let at = |seconds| policy.check(&fields(&[]), "clinic", UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(at(EXPIRES - 1), Ok(()));
        assert_eq!(at(EXPIRES), Err(FormError::Expired));
    }

    #[test]
    fn a_policy_that_can_be_read_in_two_ways_or_not_at_all_is_none() {
        for conditions in [
            "[]",
            "{}",
            "1",
            r#"[{}]"#,
            r#"["eq"]"#,
            r#"[["eq", "key", "a"]]"#,
            r#"[["eq", "$key", 1]]"#,
            r#"[["like", "$key", "a"]]"#,
            r#"[["eq", "$key", "a", "b"]]"#,
            r#"[["content-length-range", 1]]"#,
            r#"[["content-length-range", -1, 2]]"#,
            r#"[{"key": null}]"#,
        ] {
            assert!(matches!(policy(conditions), Err(FormError::PolicyDocument(_))), "{conditions}");
        }
        for text in [
            "",
            "{",
            "\\",
            "{\"expiration\": \"2030-01-01 00:00:00Z\", \"conditions\": [{\"a\": \"b\"}]}",
            "{\"conditions\": [{\"a\": \"b\"}]}",
            "{\"expiration\": \"soon\", \"conditions\": []}",
        ] {
            assert!(Policy::parse(&BASE64_STANDARD.encode(text)).is_err());
        }
        assert!(Policy::parse("%%%").is_err());
    }
}
