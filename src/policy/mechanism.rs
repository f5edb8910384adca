//! Legal mechanisms: what each covers, and until when.
//!
//! A mechanism counts for an object at a place only if it covers the place's country and every class of the
//! object: a contract for personal data does not carry important data that lies in the same object.

use std::sync::Arc;

use crate::config;
use crate::label::ClassSet;
use crate::label::class::DataClass;
use crate::names::{Country, CountrySet};

use super::PolicyError;
use super::manifest::WordKind;
use super::words::Words;

/// A mechanism without which a placement would have been refused.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct MechanismUse {
    /// For example `scc`.
    pub kind: Arc<str>,
    /// Filing, contract or certificate number.
    pub reference: Option<Arc<str>>,
}

/// A configured mechanism, ready to be matched.
#[derive(Debug, Clone)]
pub struct Scope {
    pub used: MechanismUse,
    destinations: Option<CountrySet>,
    /// Every class that is covered.
    classes: Option<ClassSet>,
    /// Seconds since the Unix epoch at which it stops to count.
    pub until: Option<i64>,
}

impl Scope {
    pub fn new(mechanism: &config::Mechanism, words: &Words) -> Result<Scope, PolicyError> {
        let kind = words.word(WordKind::Mechanism, &mechanism.kind)?;
        let until = match &mechanism.valid_until {
            None => None,
            Some(text) => Some(moment(text).ok_or_else(|| PolicyError::MechanismDate {
                kind: mechanism.kind.clone(),
                text: text.chars().take(80).collect(),
            })?),
        };
        let listed = !mechanism.destinations.is_empty();
        let classed = !mechanism.classes.is_empty();
        Ok(Scope {
            used: MechanismUse {
                kind: Arc::clone(kind),
                reference: mechanism.reference.as_deref().map(Arc::from),
            },
            destinations: listed.then(|| mechanism.destinations.iter().copied().collect()),
            classes: classed.then(|| {
                let named: ClassSet = mechanism.classes.iter().copied().collect();
                DataClass::all().filter(|class| within(*class, named)).collect()
            }),
            until,
        })
    }

    /// Whether it counts for these classes at a place in `country`, at `now`.
    pub fn covers(&self, country: Country, classes: ClassSet, now: i64) -> bool {
        self.reaches(country) && self.counts_for(classes, now)
    }

    /// Whether it counts for these classes at `now`, wherever it reaches.
    pub fn counts_for(&self, classes: ClassSet, now: i64) -> bool {
        self.until.is_none_or(|end| now < end)
            && self.classes.is_none_or(|covered| classes.is_subset(covered))
    }

    /// Whether it names this country as a destination, or names none.
    pub fn reaches(&self, country: Country) -> bool {
        self.destinations.is_none_or(|destinations| destinations.contains(country))
    }
}

/// A class is covered by itself and by any class above it; what is free of regulated data needs no cover.
fn within(class: DataClass, covered: ClassSet) -> bool {
    class.name() == "non_personal"
        || covered.contains(class)
        || class.ancestors().any(|ancestor| covered.contains(ancestor))
}

/// Seconds since the Unix epoch of an RFC 3339 date-time, or of a date's first moment in UTC.
pub fn moment(text: &str) -> Option<i64> {
    if let Ok(timestamp) = text.parse::<jiff::Timestamp>() {
        return Some(timestamp.as_second());
    }
    if text.len() != 10 {
        return None;
    }
    let date = text.parse::<jiff::civil::Date>().ok()?;
    date.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|zoned| zoned.timestamp().as_second())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(destinations: &[&str], classes: &[&str], until: Option<&str>) -> Scope {
        let words = Words::new([(WordKind::Mechanism, vec!["scc".to_owned()])], Vec::new(), Vec::new());
        let mechanism = config::Mechanism {
            kind: "scc".to_owned(),
            destinations: destinations.iter().map(|c| c.parse().unwrap()).collect(),
            classes: classes.iter().map(|c| c.parse().unwrap()).collect(),
            valid_until: until.map(str::to_owned),
            reference: None,
        };
        Scope::new(&mechanism, &words).unwrap()
    }

    fn classes(names: &[&str]) -> ClassSet {
        names.iter().map(|c| c.parse().unwrap()).collect()
    }

    #[test]
    fn a_mechanism_for_one_class_does_not_carry_another() {
        let us: Country = "US".parse().unwrap();
        let scc = scope(&[], &["personal"], None);
        assert!(scc.covers(us, classes(&["personal.health", "personal"]), 0));
        assert!(!scc.covers(us, classes(&["personal", "state.important"]), 0));
        assert!(scope(&[], &[], None).covers(us, classes(&["state.important"]), 0));
    }

    #[test]
    fn a_mechanism_ends_at_its_hour_and_at_its_border() {
        let (us, sg): (Country, Country) = ("US".parse().unwrap(), "SG".parse().unwrap());
        let scc = scope(&["US"], &[], Some("1970-01-02"));
        assert!(scc.covers(us, ClassSet::EMPTY, 86_399));
        assert!(!scc.covers(us, ClassSet::EMPTY, 86_400));
        assert!(!scc.covers(sg, ClassSet::EMPTY, 0));
    }

    #[test]
    fn a_date_that_is_none_is_refused() {
        for text in ["", "tomorrow", "2027-13-01", "2027-01-01T", "20270101", "99999-01-01"] {
            assert_eq!(moment(text), None, "{text}");
        }
        assert_eq!(moment("1970-01-01T01:00:00+01:00"), Some(0));
    }
}
