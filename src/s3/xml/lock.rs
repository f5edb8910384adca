//! Documents about locked objects: what a bucket gives each new object, retention, and legal hold.

use std::fmt;

use jiff::Timestamp;

use super::requests::{Bound, Fields, read};
use super::tree::{self, Element};
use super::writer::document;
use super::{AnswerError, XmlError};
use crate::clock::iso8601;

/// Longest default retention (S3 user guide, "Managing Object Lock"): 100 years.
const MAX_DAYS: u32 = 36_500;
const MAX_YEARS: u32 = 100;
const MAX_ELEMENTS: usize = 16;

/// How firmly a version is retained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetentionMode {
    /// Can be lifted by a request that says `x-amz-bypass-governance-retention`.
    Governance,
    /// Can be lifted by nobody before its time.
    Compliance,
}

impl RetentionMode {
    pub fn word(self) -> &'static str {
        match self {
            RetentionMode::Governance => "GOVERNANCE",
            RetentionMode::Compliance => "COMPLIANCE",
        }
    }

    pub fn parse(word: &str) -> Option<RetentionMode> {
        [RetentionMode::Governance, RetentionMode::Compliance].into_iter().find(|mode| mode.word() == word)
    }
}

/// Until when a version may not be removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    pub mode: RetentionMode,
    /// Milliseconds since the Unix epoch.
    pub until: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LegalHold {
    On,
    Off,
}

impl LegalHold {
    pub fn word(self) -> &'static str {
        match self {
            LegalHold::On => "ON",
            LegalHold::Off => "OFF",
        }
    }

    pub fn parse(word: &str) -> Option<LegalHold> {
        [LegalHold::On, LegalHold::Off].into_iter().find(|hold| hold.word() == word)
    }
}

/// The retention of what is stored without one of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DefaultRetention {
    pub mode: RetentionMode,
    pub period: Period,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Period {
    Days(u32),
    Years(u32),
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Period::Days(days) => write!(f, "{days} Days"),
            Period::Years(years) => write!(f, "{years} Years"),
        }
    }
}

impl Period {
    /// As [`fmt::Display`] writes it.
    pub fn parse(text: &str) -> Option<Period> {
        let (number, unit) = text.split_once(' ')?;
        match unit {
            "Days" => Some(Period::Days(number.parse().ok()?)),
            "Years" => Some(Period::Years(number.parse().ok()?)),
            _ => None,
        }
    }
}

/// The time that a document or a header names: ISO 8601 with an offset.
pub fn parse_until(text: &str) -> Option<u64> {
    u64::try_from(text.trim().parse::<Timestamp>().ok()?.as_millisecond()).ok()
}

/// Reads an ObjectLockConfiguration of a bucket whose objects can be locked.
pub fn parse_lock_configuration(body: &[u8], bound: Bound) -> Result<Option<DefaultRetention>, XmlError> {
    configuration(&read(body, bound, MAX_ELEMENTS)?)
}

/// Whether a location's answer says that objects of its bucket can be locked.
pub fn parse_lock_answer(answer: &[u8]) -> Result<(), AnswerError> {
    let root = tree::parse(answer, MAX_ELEMENTS)?.expect("ObjectLockConfiguration")?;
    match root.text_of("ObjectLockEnabled").map(str::trim) {
        Some("Enabled") => Ok(()),
        _ => Err(XmlError::Value("ObjectLockEnabled").into()),
    }
}

fn configuration(root: &Element<'_>) -> Result<Option<DefaultRetention>, XmlError> {
    if root.name != "ObjectLockConfiguration" {
        return Err(XmlError::Root("ObjectLockConfiguration"));
    }
    only(root, "ObjectLockConfiguration", &["ObjectLockEnabled", "Rule"])?;
    match root.text_of("ObjectLockEnabled") {
        None => return Err(XmlError::Missing("ObjectLockEnabled")),
        Some(word) if word.trim() != "Enabled" => return Err(XmlError::Value("ObjectLockEnabled")),
        Some(_) => {}
    }
    let Some(rule) = root.child("Rule") else { return Ok(None) };
    only(rule, "Rule", &["DefaultRetention"])?;
    let retention = rule.child("DefaultRetention").ok_or(XmlError::Missing("DefaultRetention"))?;
    let fields = Fields::of(retention, "DefaultRetention", &["Mode", "Days", "Years"])?;
    let mode = fields.text("Mode").ok_or(XmlError::Missing("Mode"))?;
    let mode = RetentionMode::parse(mode.trim()).ok_or(XmlError::Value("Mode"))?;
    let within = |text: &str, most| {
        let number: i64 = text.trim().parse().map_err(|_| XmlError::Value("DefaultRetention"))?;
        u32::try_from(number).ok().filter(|n| (1..=most).contains(n)).ok_or(XmlError::RetentionPeriod)
    };
    let period = match (fields.text("Days"), fields.text("Years")) {
        (Some(days), None) => Period::Days(within(days, MAX_DAYS)?),
        (None, Some(years)) => Period::Years(within(years, MAX_YEARS)?),
        (None, None) => return Err(XmlError::Missing("Days")),
        (Some(_), Some(_)) => return Err(XmlError::Unexpected("DefaultRetention")),
    };
    Ok(Some(DefaultRetention { mode, period }))
}

/// Children of these names alone, each once.
fn only(element: &Element<'_>, name: &'static str, known: &'static [&'static str]) -> Result<(), XmlError> {
    for child in &element.children {
        let field = known.iter().find(|field| **field == child.name).ok_or(XmlError::Unexpected(name))?;
        if element.children.iter().filter(|other| other.name == *field).count() > 1 {
            return Err(XmlError::Repeated(field));
        }
    }
    Ok(())
}

/// Writes an ObjectLockConfiguration.
pub fn lock_configuration(default: Option<DefaultRetention>) -> String {
    document("ObjectLockConfiguration", |writer| {
        writer.text("ObjectLockEnabled", "Enabled");
        let Some(DefaultRetention { mode, period }) = default else { return };
        writer.element("Rule", |writer| {
            writer.element("DefaultRetention", |writer| {
                writer.text("Mode", mode.word());
                match period {
                    Period::Days(days) => writer.value("Days", days),
                    Period::Years(years) => writer.value("Years", years),
                };
            });
        });
    })
}

/// Reads a Retention; an empty one lifts what there is.
pub fn parse_retention(body: &[u8], bound: Bound) -> Result<Option<Retention>, XmlError> {
    let root = read(body, bound, MAX_ELEMENTS)?.expect("Retention")?;
    let fields = Fields::of(&root, "Retention", &["Mode", "RetainUntilDate"])?;
    match (fields.text("Mode"), fields.text("RetainUntilDate")) {
        (None, None) => Ok(None),
        (Some(mode), Some(until)) => Ok(Some(Retention {
            mode: RetentionMode::parse(mode.trim()).ok_or(XmlError::Value("Mode"))?,
            until: parse_until(until).ok_or(XmlError::Value("RetainUntilDate"))?,
        })),
        (None, Some(_)) => Err(XmlError::Missing("Mode")),
        (Some(_), None) => Err(XmlError::Missing("RetainUntilDate")),
    }
}

/// Writes a Retention.
pub fn retention(retention: Retention) -> String {
    document("Retention", |writer| {
        writer.value("Mode", retention.mode.word()).value("RetainUntilDate", iso8601(retention.until));
    })
}

/// Reads a LegalHold.
pub fn parse_legal_hold(body: &[u8], bound: Bound) -> Result<LegalHold, XmlError> {
    let root = read(body, bound, MAX_ELEMENTS)?.expect("LegalHold")?;
    let fields = Fields::of(&root, "LegalHold", &["Status"])?;
    let status = fields.text("Status").ok_or(XmlError::Missing("Status"))?;
    LegalHold::parse(status.trim()).ok_or(XmlError::Value("Status"))
}

/// Writes a LegalHold.
pub fn legal_hold(hold: LegalHold) -> String {
    document("LegalHold", |writer| writer.text("Status", hold.word()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUND: Bound = Bound(4096);

    #[test]
    fn a_configuration_comes_back_as_it_was_written() {
        for default in [
            None,
            Some(DefaultRetention { mode: RetentionMode::Governance, period: Period::Days(1) }),
            Some(DefaultRetention { mode: RetentionMode::Compliance, period: Period::Years(100) }),
        ] {
            let written = lock_configuration(default);
            assert_eq!(parse_lock_configuration(written.as_bytes(), BOUND), Ok(default));
            assert!(parse_lock_answer(written.as_bytes()).is_ok());
            if let Some(DefaultRetention { period, .. }) = default {
                assert_eq!(Period::parse(&period.to_string()), Some(period));
            }
        }
        assert!(parse_lock_answer(b"<ObjectLockConfiguration/>").is_err());
    }

    #[test]
    fn a_configuration_that_says_too_much_or_too_little_is_refused() {
        let of = |enabled: &str, inside: &str| {
            let rule = format!("<Rule><DefaultRetention>{inside}</DefaultRetention></Rule>");
            let document = format!(
                "<ObjectLockConfiguration><ObjectLockEnabled>{enabled}</ObjectLockEnabled>{rule}</ObjectLockConfiguration>"
            );
            parse_lock_configuration(document.as_bytes(), BOUND)
        };
        let mode = "<Mode>GOVERNANCE</Mode>";
        for (inside, error) in [
            (format!("{mode}<Days>0</Days>"), XmlError::RetentionPeriod),
            (format!("{mode}<Years>-1</Years>"), XmlError::RetentionPeriod),
            (format!("{mode}<Years>101</Years>"), XmlError::RetentionPeriod),
            (format!("{mode}<Days>1</Days><Years>1</Years>"), XmlError::Unexpected("DefaultRetention")),
            (format!("{mode}<Days>x</Days>"), XmlError::Value("DefaultRetention")),
            (mode.to_owned(), XmlError::Missing("Days")),
            ("<Mode>governance</Mode><Days>1</Days>".to_owned(), XmlError::Value("Mode")),
            ("<Days>1</Days>".to_owned(), XmlError::Missing("Mode")),
        ] {
            assert_eq!(of("Enabled", &inside), Err(error), "{inside}");
        }
        let valid = format!("{mode}<Days>1</Days>");
        assert!(of("Enabled", &valid).is_ok());
        assert_eq!(of("Disabled", &valid), Err(XmlError::Value("ObjectLockEnabled")));
        let bare = b"<ObjectLockConfiguration/>";
        assert_eq!(parse_lock_configuration(bare, BOUND), Err(XmlError::Missing("ObjectLockEnabled")));
    }

    #[test]
    fn retention_and_hold_come_back_as_they_were_written() {
        let kept = Retention { mode: RetentionMode::Compliance, until: 1_795_404_762_042 };
        assert_eq!(parse_retention(retention(kept).as_bytes(), BOUND), Ok(Some(kept)));
        assert_eq!(parse_retention(b"<Retention/>", BOUND), Ok(None));
        let half = b"<Retention><Mode>COMPLIANCE</Mode></Retention>";
        assert_eq!(parse_retention(half, BOUND), Err(XmlError::Missing("RetainUntilDate")));
        assert_eq!(parse_until("2030-01-01T01:00:00+01:00"), parse_until("2030-01-01T00:00:00.000Z"));
        assert_eq!(parse_until("tomorrow"), None);
        for hold in [LegalHold::On, LegalHold::Off] {
            assert_eq!(parse_legal_hold(legal_hold(hold).as_bytes(), BOUND), Ok(hold));
        }
        let other = b"<LegalHold><Status>abc</Status></LegalHold>";
        assert_eq!(parse_legal_hold(other, BOUND), Err(XmlError::Value("Status")));
    }
}
