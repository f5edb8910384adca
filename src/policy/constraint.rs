//! Other engines beside the packs: each can refuse what the packs allow, and allow nothing that they refuse.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;

use super::asking::AtHome;
use super::decision::{Decision, Verdict};
use super::key::Key;
use super::manifest::WordKind;
use super::snapshot::Snapshot;
use super::{Action, Rule};
use crate::config;
use crate::locations::LocationFacts;
use crate::names::{Country, CountrySet};

/// Answers that are remembered. When they are too many all are forgotten: clients choose parts of the questions.
const REMEMBERED: usize = 8192;

/// Another engine.
pub trait Constrains: Send + Sync {
    /// What it has against these bytes at this place.
    fn objection(&self, asked: &Asked<'_>) -> Option<Objection>;
}

/// Why a place is refused.
pub struct Objection {
    pub rule: Arc<Rule>,
    pub lasts: Lasts,
}

/// Whether the same question would be answered so again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lasts {
    Yes,
    /// The engine failed; it may not fail the next time.
    No,
}

/// A question about one place; as JSON, the input document of the engine.
#[derive(Debug, Serialize)]
pub struct Asked<'a> {
    pub action: &'static str,
    pub classes: Vec<&'static str>,
    pub subjects: Vec<&'static str>,
    pub scanned_completely: bool,
    pub first_write: bool,
    /// Countries that hold a copy.
    pub held_in: Vec<&'static str>,
    pub operator: AskedOperator<'a>,
    /// Legal mechanisms in force for these classes at this place.
    pub mechanisms: Vec<&'a str>,
    pub target: AskedTarget<'a>,
}

#[derive(Debug, Serialize)]
pub struct AskedOperator<'a> {
    pub country: Option<&'static str>,
    pub sector: Option<&'a str>,
    pub tags: &'a [String],
    pub ciio: bool,
    pub public_body: bool,
}

/// Where the bytes arrive.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum AskedTarget<'a> {
    Location {
        location: &'a str,
        country: &'static str,
        region: &'a str,
        provider: &'a str,
        provider_owner: &'static str,
        certs: Vec<&'a str>,
        zones: Vec<&'a str>,
        at_home: bool,
    },
    Reader {
        /// Or `unknown`.
        reader_country: &'static str,
        reader_entity: &'static str,
    },
}

/// An engine with what it answered.
pub struct Constraint {
    engine: Box<dyn Constrains>,
    /// With the packs' answer that each was made from: another one is another question.
    known: Mutex<HashMap<Key, Narrowed>>,
}

/// The packs' decision, and what the engine left of it.
type Narrowed = (Arc<Decision>, Arc<Decision>);

impl Constraint {
    pub fn new(engine: impl Constrains + 'static) -> Constraint {
        Constraint { engine: Box::new(engine), known: Mutex::default() }
    }

    /// What is left of the packs' decision.
    pub fn narrow(&self, snapshot: &Snapshot, key: Key, packs: Arc<Decision>) -> Arc<Decision> {
        if !packs.is_allowed() {
            return packs;
        }
        let known = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((from, all)) = known().get(&key)
            && Arc::ptr_eq(from, &packs)
        {
            return Arc::clone(all);
        }
        let (all, lasts) = self.ask(snapshot, &key, &packs);
        if lasts == Lasts::Yes {
            let mut known = known();
            if known.len() >= REMEMBERED {
                known.clear();
            }
            known.insert(key, (packs, Arc::clone(&all)));
        }
        all
    }

    fn ask(&self, snapshot: &Snapshot, key: &Key, packs: &Arc<Decision>) -> (Arc<Decision>, Lasts) {
        let mut verdicts = packs.verdicts().to_vec();
        let (mut refused, mut lasts) = (false, Lasts::Yes);
        for (index, verdict) in verdicts.iter_mut().enumerate().filter(|(_, verdict)| verdict.allowed) {
            let place = match key.action {
                Action::Read => None,
                _ => snapshot.setting.locations.get(index).map(|facts| (index, &**facts)),
            };
            if let Some(objection) = self.engine.objection(&Asked::new(snapshot, key, place)) {
                *verdict = Verdict { rules: vec![objection.rule], ..Verdict::default() };
                refused = true;
                if objection.lasts == Lasts::No {
                    lasts = Lasts::No;
                }
            }
        }
        if !refused {
            return (Arc::clone(packs), lasts);
        }
        (Arc::new(packs.with_verdicts(verdicts)), lasts)
    }
}

impl<'a> Asked<'a> {
    fn new(snapshot: &'a Snapshot, key: &Key, place: Option<(usize, &'a LocationFacts)>) -> Asked<'a> {
        let codes = |set: CountrySet| set.iter().map(Country::code).collect();
        let arrives_in = place.map(|(_, facts)| facts.country).or(key.reader);
        let words = snapshot.compiled.words.list(WordKind::Mechanism);
        let kinds = arrives_in.map(|country| snapshot.mechanisms_for(key, country)).unwrap_or_default();
        let config::Operator { country, tags, sector, ciio, public_body, .. } = &snapshot.setting.operator;
        Asked {
            action: key.action.name(),
            classes: key.classes.iter().map(|class| class.name()).collect(),
            subjects: codes(key.subjects),
            scanned_completely: key.scanned_completely,
            first_write: key.first_write,
            held_in: codes(key.held_in),
            operator: AskedOperator {
                country: country.map(Country::code),
                sector: sector.as_deref(),
                tags,
                ciio: *ciio,
                public_body: *public_body,
            },
            mechanisms: kinds.into_iter().filter_map(|kind| words.get(kind)).map(|word| &**word).collect(),
            target: match place {
                Some((index, facts)) => AskedTarget::Location {
                    location: facts.id.as_str(),
                    country: facts.country.code(),
                    region: &facts.region,
                    provider: &facts.provider,
                    provider_owner: facts.provider_country.code(),
                    certs: facts.certifications.iter().map(String::as_str).collect(),
                    zones: facts.zones.iter().map(String::as_str).collect(),
                    at_home: key.at_home(index) == AtHome::Yes,
                },
                None => AskedTarget::Reader {
                    reader_country: key.reader.map_or("unknown", Country::code),
                    reader_entity: key.reader_entity.word(),
                },
            },
        }
    }
}
