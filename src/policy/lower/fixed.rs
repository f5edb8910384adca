//! What a rule asks of the operator and the place: known as soon as a snapshot is made.
//!
//! The common questions are answered here from sets of bits; any other is put to Cedar, once for each place. The tests
//! put these questions to Cedar too.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::sync::Arc;

use cedar_policy::{Context, EvalResult, Expression, Request, eval_expression};

use super::Lanes;
use super::rule::CountryTest;
use crate::locations::LocationFacts;
use crate::names::{Country, CountrySet};
use crate::policy::compiled::Compiled;
use crate::policy::entities::{Holder, uid};
use crate::policy::manifest::WordKind;
use crate::policy::snapshot::{Place, Snapshot};
use crate::policy::{PolicyError, ReaderEntity};

/// One question about the operator or the place.
#[derive(Debug, Clone)]
pub enum Fixed {
    Known(bool),
    IsLocation,
    IsReader,
    /// The name of the action.
    Action(String),
    /// The place is in one of these.
    Country(CountrySet),
    /// The provider answers to the law of one of these.
    ProviderCountry(CountrySet),
    SameEntity,
    Authority,
    /// The country in which the operator is established, if it is known.
    Established(CountryTest),
    Within(Number, RangeInclusive<i64>),
    SensitiveCounted,
    Meets(FixedSet, u128),
    Holds(FixedSet, u128),
    IsEmpty(FixedSet),
    /// Anything else, for Cedar.
    Cedar(Arc<Expression>),
}

/// A set of words whose positions in the schema or in the list of blocs are bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FixedSet {
    Blocs,
    ProviderBlocs,
    Certs,
    Zones,
    Tags,
}

/// A number that the operator states.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Number {
    People,
    SensitivePeople,
    UsPersons,
    DailyAccesses,
}

/// A place, in bits.
#[derive(Debug, Clone)]
pub struct Site {
    pub place: Place,
    pub country: Country,
    blocs: u128,
    kind: SiteKind,
}

#[derive(Debug, Clone)]
enum SiteKind {
    Location { provider_country: Country, provider_blocs: u128, certs: u128, zones: u128 },
    Reader(ReaderEntity),
}

/// A question about the place has no answer there: Cedar would fail, too.
#[derive(Debug)]
pub struct NoSuchAttribute;

impl Site {
    pub fn location(
        index: usize,
        facts: &LocationFacts,
        compiled: &Compiled,
        now: i64,
    ) -> Result<Site, PolicyError> {
        let words = |kind: WordKind, texts: &BTreeSet<String>| -> Result<u128, PolicyError> {
            let mut bits = 0;
            for text in texts {
                let word = compiled.words.word(kind, text).map_err(|problem| PolicyError::Location {
                    location: facts.id.clone(),
                    problem: Box::new(problem),
                })?;
                let position = compiled.words.list(kind).iter().position(|known| known == word);
                // A rule that asks about a word beyond these bits is left to Cedar.
                bits |= position.map_or(0, bit);
            }
            Ok(bits)
        };
        let kind = SiteKind::Location {
            provider_country: facts.provider_country,
            provider_blocs: blocs_of(facts.provider_country, compiled, now),
            certs: words(WordKind::Cert, &facts.certifications)?,
            zones: words(WordKind::Zone, &facts.zones)?,
        };
        Ok(Site {
            place: Place::Location(index),
            country: facts.country,
            blocs: blocs_of(facts.country, compiled, now),
            kind,
        })
    }

    pub fn reader(country: Country, entity: ReaderEntity, compiled: &Compiled, now: i64) -> Site {
        Site {
            place: Place::Reader(country),
            country,
            blocs: blocs_of(country, compiled, now),
            kind: SiteKind::Reader(entity),
        }
    }

    fn set(&self, set: FixedSet) -> Result<u128, NoSuchAttribute> {
        match (set, &self.kind) {
            (FixedSet::Blocs, _) => Ok(self.blocs),
            (FixedSet::ProviderBlocs, SiteKind::Location { provider_blocs, .. }) => Ok(*provider_blocs),
            (FixedSet::Certs, SiteKind::Location { certs, .. }) => Ok(*certs),
            (FixedSet::Zones, SiteKind::Location { zones, .. }) => Ok(*zones),
            _ => Err(NoSuchAttribute),
        }
    }
}

fn blocs_of(country: Country, compiled: &Compiled, now: i64) -> u128 {
    let mine = compiled.blocs.iter().enumerate().filter(|(_, bloc)| bloc.contains(country, now));
    mine.fold(0, |bits, (index, _)| bits | bit(index))
}

fn bit(position: usize) -> u128 {
    u32::try_from(position).ok().and_then(|position| 1_u128.checked_shl(position)).unwrap_or_default()
}

/// Answers questions about one operator, for one action.
pub struct Answers<'a> {
    snapshot: &'a Snapshot,
    action: &'a str,
    reader: ReaderEntity,
    tags: u128,
}

impl<'a> Answers<'a> {
    pub fn new(snapshot: &'a Snapshot, action: &'a str, reader: ReaderEntity) -> Answers<'a> {
        let known = snapshot.compiled.words.list(WordKind::Tag).iter().enumerate();
        let tags = known.filter(|(_, tag)| snapshot.holder.tags.contains(*tag));
        let tags = tags.fold(0, |bits, (index, _)| bits | bit(index));
        Answers { snapshot, action, reader, tags }
    }

    /// The places where it holds, and those where it has no answer.
    pub fn places(&self, fixed: &Fixed, sites: &[Site]) -> (Lanes, Lanes) {
        if !fixed.is_about_the_place() {
            // One place answers for all.
            let holds = sites.first().is_some_and(|site| self.holds(fixed, site).unwrap_or(false));
            return (if holds { Lanes::MAX } else { 0 }, 0);
        }
        let (mut holds, mut errors) = (0, 0);
        for (lane, site) in sites.iter().enumerate() {
            match self.holds(fixed, site) {
                Ok(true) => holds |= 1 << lane,
                Ok(false) => {}
                Err(NoSuchAttribute) => errors |= 1 << lane,
            }
        }
        (holds, errors)
    }

    pub fn holds(&self, fixed: &Fixed, site: &Site) -> Result<bool, NoSuchAttribute> {
        let holder = &self.snapshot.holder;
        Ok(match fixed {
            Fixed::Known(value) => *value,
            Fixed::IsLocation => matches!(site.kind, SiteKind::Location { .. }),
            Fixed::IsReader => matches!(site.kind, SiteKind::Reader(_)),
            Fixed::Action(name) => name == self.action,
            Fixed::Country(set) => set.contains(site.country),
            Fixed::ProviderCountry(set) => match &site.kind {
                SiteKind::Location { provider_country, .. } => set.contains(*provider_country),
                SiteKind::Reader(_) => return Err(NoSuchAttribute),
            },
            Fixed::SameEntity => self.reader_is(site, ReaderEntity::Same)?,
            Fixed::Authority => self.reader_is(site, ReaderEntity::Authority)?,
            Fixed::Established(test) => {
                let country: CountrySet = holder.country.into_iter().collect();
                match test {
                    CountryTest::Meets(other) => country.meets(other),
                    CountryTest::Holds(other) => other.is_subset(&country),
                    CountryTest::IsWithin(other) => country.is_subset(other),
                    CountryTest::Is(other) => country == *other,
                    CountryTest::HoldsPlace => country.contains(site.country),
                    CountryTest::IsPlace => country == [site.country].into_iter().collect(),
                    CountryTest::IsWithinPlace => country.is_subset(&[site.country].into_iter().collect()),
                }
            }
            Fixed::Within(number, bounds) => bounds.contains(&number.of(holder)),
            Fixed::SensitiveCounted => holder.sensitive_counted,
            Fixed::Meets(set, other) => self.set(*set, site)? & other != 0,
            Fixed::Holds(set, other) => self.set(*set, site)? & other == *other,
            Fixed::IsEmpty(set) => self.set(*set, site)? == 0,
            Fixed::Cedar(expression) => self.ask_cedar(expression, site)?,
        })
    }

    fn reader_is(&self, site: &Site, entity: ReaderEntity) -> Result<bool, NoSuchAttribute> {
        match site.kind {
            SiteKind::Reader(reader) => Ok(reader == entity),
            SiteKind::Location { .. } => Err(NoSuchAttribute),
        }
    }

    fn set(&self, set: FixedSet, site: &Site) -> Result<u128, NoSuchAttribute> {
        match set {
            FixedSet::Tags => Ok(self.tags),
            other => site.set(other),
        }
    }

    /// Cedar's own word. What it cannot evaluate, or what is no truth value, is an error of the rule.
    pub fn ask_cedar(&self, expression: &Expression, site: &Site) -> Result<bool, NoSuchAttribute> {
        let ask = || -> Result<bool, PolicyError> {
            let target = self.snapshot.target(site.place, self.reader)?;
            let operator = self.snapshot.oracle()?.operator.clone();
            let failed = |error: String| PolicyError::Question(error);
            let action = uid("Action", self.action)?;
            let request = Request::new(operator, action, target.uid.clone(), Context::empty(), None)
                .map_err(|error| failed(error.to_string()))?;
            match eval_expression(&request, &target.entities, expression) {
                Ok(EvalResult::Bool(holds)) => Ok(holds),
                Ok(_) => Err(failed("not a truth value".to_owned())),
                Err(error) => Err(failed(error.to_string())),
            }
        };
        ask().map_err(|_| NoSuchAttribute)
    }
}

impl Fixed {
    fn is_about_the_place(&self) -> bool {
        match self {
            Fixed::Known(_) | Fixed::Action(_) | Fixed::Within(..) | Fixed::SensitiveCounted => false,
            Fixed::Meets(set, _) | Fixed::Holds(set, _) | Fixed::IsEmpty(set) => *set != FixedSet::Tags,
            Fixed::Established(test) => {
                matches!(test, CountryTest::HoldsPlace | CountryTest::IsPlace | CountryTest::IsWithinPlace)
            }
            _ => true,
        }
    }

    /// What kind of place it is, by the schema's name.
    pub fn kind(name: &str) -> Option<Fixed> {
        match name {
            "Location" => Some(Fixed::IsLocation),
            "Reader" => Some(Fixed::IsReader),
            _ => None,
        }
    }
}

impl Number {
    pub fn named(attribute: &str) -> Option<Number> {
        match attribute {
            "people" => Some(Number::People),
            "sensitivePeople" => Some(Number::SensitivePeople),
            "usPersons" => Some(Number::UsPersons),
            "dailyAccesses" => Some(Number::DailyAccesses),
            _ => None,
        }
    }

    fn of(self, holder: &Holder) -> i64 {
        match self {
            Number::People => holder.people,
            Number::SensitivePeople => holder.sensitive_people,
            Number::UsPersons => holder.us_persons,
            Number::DailyAccesses => holder.daily_accesses,
        }
    }
}
