//! Who brought a policy set into force, who approved it, and why: `activation.toml` beside the packs.
//!
//! The record names the hash of the set that it speaks of and is no part of that hash. It holds names of people:
//! nothing here prints them except to whoever wrote them.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::PolicyHash;
use super::mechanism::moment;

/// Name of the record at the root of a policy folder.
pub const FILE: &str = "activation.toml";

const MAX_NAME_BYTES: usize = 200;
const MAX_REASON_BYTES: usize = 1000;

/// What two people say of a policy set.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Activation {
    pub author: String,
    pub approver: String,
    pub reason: String,
    /// RFC 3339 date or date-time.
    pub date: String,
    /// Hash of the set that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set: Option<String>,
}

/// Names of people stay out of the gateway's own log.
impl fmt::Debug for Activation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<activation>")
    }
}

/// Why a record cannot be used, or does not approve a set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ActivationError {
    #[error("{FILE}: {0}; it holds author, approver, reason and date, each in quotes, and set")]
    Unreadable(String),
    #[error("{FILE}: `{0}` is empty, or longer than {MAX_REASON_BYTES} bytes ({MAX_NAME_BYTES} for a name)")]
    Text(&'static str),
    #[error("{FILE}: date `{0}` is not an RFC 3339 date or date-time")]
    Date(String),
    #[error("policy set {set} was approved by nobody, and policy.require-approval is on. {HOW}", set = .0.0)]
    Missing(PolicyHash),
    #[error("policy set {set}: author and approver are the same person. Somebody else must approve it. {HOW}", set = .0.0)]
    SamePerson(PolicyHash),
    #[error("the approval does not say for which set it was given; write `set = \"{set}\"` into {FILE}. {HOW}", set = .0.0)]
    NoSet(PolicyHash),
    #[error(
        "the approval was given for policy set {approved}, and this is {set}: the files changed since. {HOW}",
        set = .set.0
    )]
    OtherSet { approved: String, set: PolicyHash },
}

const HOW: &str = "Once a second person has read the files: \
     `domicile policy approve --config FILE --policies DIR --author NAME --approver NAME --reason TEXT`";

impl Activation {
    /// Reads a record and checks its form, not what it approves.
    pub fn parse(text: &str) -> Result<Activation, ActivationError> {
        let record: Activation = toml::from_str(text)
            .map_err(|error| ActivationError::Unreadable(error.message().trim().to_owned()))?;
        record.check()?;
        Ok(record)
    }

    /// The text of the file.
    pub fn to_toml(&self) -> Result<String, ActivationError> {
        self.check()?;
        let body = toml::to_string(self).map_err(|error| ActivationError::Unreadable(error.to_string()))?;
        Ok(format!("# Who brings this policy set into force. Not part of the set's hash.\n{body}"))
    }

    pub fn check(&self) -> Result<(), ActivationError> {
        let texts = [
            ("author", &self.author, MAX_NAME_BYTES),
            ("approver", &self.approver, MAX_NAME_BYTES),
            ("reason", &self.reason, MAX_REASON_BYTES),
        ];
        for (field, text, most) in texts {
            if likeness(text).is_empty() || text.len() > most {
                return Err(ActivationError::Text(field));
            }
        }
        match moment(&self.date) {
            Some(_) => Ok(()),
            None => Err(ActivationError::Date(self.date.clone())),
        }
    }

    /// Whether it speaks of this set, or of none in particular.
    pub fn is_about(&self, set: &PolicyHash) -> bool {
        self.set.as_deref().is_none_or(|named| named == &*set.0)
    }
}

/// Whether two people stand behind exactly this set.
pub fn require_approval(record: Option<&Activation>, set: &PolicyHash) -> Result<(), ActivationError> {
    let Some(record) = record else { return Err(ActivationError::Missing(set.clone())) };
    record.check()?;
    if likeness(&record.author) == likeness(&record.approver) {
        return Err(ActivationError::SamePerson(set.clone()));
    }
    match &record.set {
        None => Err(ActivationError::NoSet(set.clone())),
        Some(approved) if *approved != *set.0 => {
            Err(ActivationError::OtherSet { approved: approved.clone(), set: set.clone() })
        }
        Some(_) => Ok(()),
    }
}

/// What of a name tells people apart: not case, blanks or punctuation.
fn likeness(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set() -> PolicyHash {
        PolicyHash("ab12".into())
    }

    fn record(author: &str, approver: &str, set: Option<&str>) -> Activation {
        Activation {
            author: author.to_owned(),
            approver: approver.to_owned(),
            reason: "the new Order".to_owned(),
            date: "2026-11-23".to_owned(),
            set: set.map(str::to_owned),
        }
    }

    #[test]
    fn two_people_who_name_the_set_approve_it() {
        assert_eq!(require_approval(Some(&record("Ada", "Grace", Some("ab12"))), &set()), Ok(()));
    }

    #[test]
    fn one_person_under_two_spellings_is_one_person() {
        for approver in ["Ada Lovelace", " ada  LOVELACE", "A.da Lovelace", "ada-lovelace\u{200b}"] {
            let told = require_approval(Some(&record("Ada Lovelace", approver, Some("ab12"))), &set());
            assert_eq!(told, Err(ActivationError::SamePerson(set())), "{approver}");
        }
    }

    #[test]
    fn an_approval_of_nothing_or_of_other_files_approves_nothing() {
        let cases = [
            (None, ActivationError::Missing(set())),
            (Some(record("Ada", "Grace", None)), ActivationError::NoSet(set())),
            (
                Some(record("Ada", "Grace", Some("cd34"))),
                ActivationError::OtherSet { approved: "cd34".to_owned(), set: set() },
            ),
        ];
        for (record, error) in cases {
            assert!(error.to_string().contains("domicile policy approve"), "{error}");
            assert_eq!(require_approval(record.as_ref(), &set()), Err(error));
        }
    }

    #[test]
    fn a_record_reads_back_and_a_careless_one_is_refused() {
        let whole = record("Ada", "Grace", Some("ab12"));
        assert_eq!(Activation::parse(&whole.to_toml().unwrap()), Ok(whole));
        let text = "author = \"A\"\napprover = \"G\"\nreason = \"r\"\ndate = \"2026-11-23\"\n";
        assert!(Activation::parse(text).is_ok());
        let wrong = [
            text.replace("\"A\"", "\" \""),
            text.replace("\"2026-11-23\"", "\"yesterday\""),
            text.replace("reason", "raeson"),
            text.replace("\"r\"", &format!("\"{}\"", "r".repeat(1001))),
        ];
        for text in wrong {
            assert!(Activation::parse(&text).is_err(), "{text}");
        }
    }

    #[test]
    fn names_do_not_show_in_debug_output() {
        assert_eq!(format!("{:?}", record("Ada", "Grace", None)), "<activation>");
    }
}
