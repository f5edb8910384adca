//! `policy explain`: why an object may or may not go to a place, and what would have to be true.
//!
//! It asks the same snapshot machinery as requests do, with the operator and the mechanisms that the question
//! assumes. What would help is found by asking again with more, not read out of the rules' prose.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;

use super::decision::Verdict;
use super::manifest::WordKind;
use super::snapshot::{Key, Moment, Place, Setting, Snapshot};
use super::{Action, Engine, MechanismUse, PolicyError, Question, ReaderEntity, Rule};
use crate::config;
use crate::label::{ClassSet, Coverage};
use crate::names::{AppId, BucketName, Country, CountrySet, LocationId};

/// What to explain.
#[derive(Debug, Clone)]
pub struct ExplainRequest {
    pub action: Action,
    pub classes: ClassSet,
    pub subjects: CountrySet,
    pub coverage: Coverage,
    /// One location, or all of them.
    pub location: Option<LocationId>,
    /// For `Read`; `None` is unknown.
    pub reader: Option<Country>,
    /// The bucket's home location.
    pub home: Option<LocationId>,
    /// Countries that already hold a copy.
    pub held_in: CountrySet,
    /// Instead of the configured operator.
    pub operator: Option<config::Operator>,
    /// Beside the configured mechanisms.
    pub mechanisms: Vec<config::Mechanism>,
}

/// The answer, for people and as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// Hash of the policy set.
    pub policy: String,
    pub action: &'static str,
    pub places: Vec<PlaceAnswer>,
    /// Locations that are allowed, in configured order, also where only one was asked about.
    pub allowed: Vec<String>,
}

/// What holds for one place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PlaceAnswer {
    /// `us-east (US)`, `a reader in US`, `a reader in an unknown country`.
    pub place: String,
    pub allowed: bool,
    /// The permits if it is allowed, otherwise every prohibition that stands against it.
    pub rules: Vec<RuleAnswer>,
    pub obligations: Vec<String>,
    /// Mechanisms without which it would be refused.
    pub mechanisms: Vec<String>,
    /// Each would turn the refusal into a permission.
    pub would_be_allowed_with: Vec<Way>,
}

/// One rule, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RuleAnswer {
    pub id: String,
    pub law: String,
    pub article: String,
    pub explain: String,
    pub remedy: String,
    pub confidence: String,
    pub pack: String,
}

/// One thing that would help: mechanisms in force for the place, and copies that are already held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Way {
    pub mechanisms: Vec<String>,
    pub copies_in: Vec<String>,
}

/// Explains what the engine's policies say.
pub fn explain(engine: &Engine, request: &ExplainRequest) -> Result<Explanation, PolicyError> {
    let configured = engine.setting();
    let setting = Setting {
        locations: Arc::clone(&configured.locations),
        operator: request.operator.clone().unwrap_or_else(|| configured.operator.clone()),
        mechanisms: configured.mechanisms.iter().chain(&request.mechanisms).cloned().collect(),
        facts: configured.facts.clone(),
    };
    let snapshot = Snapshot::new(engine.compiled(), Arc::new(setting), Moment::Clock(engine.now()))?;
    for asked in [&request.location, &request.home].into_iter().flatten() {
        if snapshot.position(asked).is_none() {
            return Err(PolicyError::UnknownLocation(asked.clone()));
        }
    }
    let name = |_| PolicyError::Question("a placeholder name was refused".to_owned());
    let (bucket, app) =
        ("explain".parse::<BucketName>().map_err(name)?, "explain".parse::<AppId>().map_err(name)?);
    let key = snapshot.key(&Question {
        action: request.action,
        classes: request.classes,
        subjects: request.subjects,
        scanned_completely: request.coverage == Coverage::Complete,
        bucket: &bucket,
        app: &app,
        home: request.home.as_ref(),
        origin: None,
        held_in: request.held_in,
        reader: request.reader,
        reader_entity: ReaderEntity::Other,
        copies: Default::default(),
    });
    let decision = snapshot.evaluate(key)?;
    let mut places = Vec::new();
    if request.action == Action::Read {
        let place = match request.reader {
            Some(country) => format!("a reader in {country}"),
            None => "a reader in an unknown country".to_owned(),
        };
        if let Some(verdict) = decision.verdicts().first() {
            let mut answer = PlaceAnswer::new(place, verdict);
            if let (false, Some(country)) = (verdict.allowed, request.reader) {
                answer.would_be_allowed_with =
                    ways(&snapshot, key, Place::Reader(country), country, request)?;
            }
            places.push(answer);
        }
    } else {
        for (index, (facts, verdict)) in
            snapshot.setting.locations.iter().zip(decision.verdicts()).enumerate()
        {
            if request.location.as_ref().is_some_and(|asked| *asked != facts.id) {
                continue;
            }
            let mut answer = PlaceAnswer::new(format!("{} ({})", facts.id, facts.country), verdict);
            if !verdict.allowed {
                let place = Place::Location(index);
                answer.would_be_allowed_with = ways(&snapshot, key, place, facts.country, request)?;
            }
            places.push(answer);
        }
    }
    Ok(Explanation {
        policy: decision.policy().0.to_string(),
        action: request.action.name(),
        places,
        allowed: decision.allowed().iter().map(|place| format!("{} ({})", place.id, place.country)).collect(),
    })
}

/// How many alternatives are worth reading.
const MOST_WAYS: usize = 6;

/// The smallest additions that would turn a refusal: single mechanisms, else pairs, else one larger set; each first
/// with the copies as they are, then with a copy held in every subject country.
fn ways(
    snapshot: &Snapshot,
    key: Key,
    place: Place,
    country: Country,
    request: &ExplainRequest,
) -> Result<Vec<Way>, PolicyError> {
    let words = snapshot.compiled.words.list(WordKind::Mechanism);
    let in_force = snapshot.mechanisms_for(&key, country);
    let others: Vec<usize> = (0..words.len()).filter(|kind| !in_force.contains(kind)).collect();
    let more_copies = request.held_in.union(request.subjects);
    for held_in in [request.held_in, more_copies] {
        let helps = |added: &[usize]| {
            let kinds: Vec<usize> = in_force.iter().chain(added).copied().collect();
            snapshot.would_allow(key, place, &kinds, held_in)
        };
        if !helps(&others)? {
            continue;
        }
        let sets = smallest(&others, &helps)?;
        let copies_in: Vec<String> =
            held_in.difference(request.held_in).iter().map(|c| c.to_string()).collect();
        let word = |kind: &usize| words.get(*kind).map(ToString::to_string);
        let ways = sets.iter().map(|set| Way {
            mechanisms: set.iter().filter_map(word).collect(),
            copies_in: copies_in.clone(),
        });
        return Ok(ways.collect());
    }
    Ok(Vec::new())
}

/// The smallest subsets of `all` that help; `all` itself does.
fn smallest(
    all: &[usize],
    helps: &impl Fn(&[usize]) -> Result<bool, PolicyError>,
) -> Result<Vec<Vec<usize>>, PolicyError> {
    if helps(&[])? {
        return Ok(vec![Vec::new()]);
    }
    let singles = all.iter().map(|one| vec![*one]);
    let mut sets = helpful(singles, helps)?;
    if sets.is_empty() {
        let pairs =
            all.iter().enumerate().flat_map(|(n, one)| all.iter().skip(n + 1).map(|two| vec![*one, *two]));
        sets = helpful(pairs, helps)?;
    }
    if sets.is_empty() {
        let mut set = all.to_vec();
        for kind in all {
            let without: Vec<usize> = set.iter().copied().filter(|other| other != kind).collect();
            if helps(&without)? {
                set = without;
            }
        }
        sets.push(set);
    }
    Ok(sets)
}

fn helpful(
    sets: impl Iterator<Item = Vec<usize>>,
    helps: &impl Fn(&[usize]) -> Result<bool, PolicyError>,
) -> Result<Vec<Vec<usize>>, PolicyError> {
    let mut found = Vec::new();
    for set in sets {
        if found.len() < MOST_WAYS && helps(&set)? {
            found.push(set);
        }
    }
    Ok(found)
}

impl PlaceAnswer {
    fn new(place: String, verdict: &Verdict) -> PlaceAnswer {
        PlaceAnswer {
            place,
            allowed: verdict.allowed,
            rules: verdict.rules.iter().map(|rule| RuleAnswer::from(&**rule)).collect(),
            obligations: verdict.obligations.iter().map(|o| o.0.to_string()).collect(),
            mechanisms: verdict.mechanisms.iter().map(ToString::to_string).collect(),
            would_be_allowed_with: Vec::new(),
        }
    }
}

impl From<&Rule> for RuleAnswer {
    fn from(rule: &Rule) -> RuleAnswer {
        RuleAnswer {
            id: rule.id.to_string(),
            law: rule.law.to_string(),
            article: rule.article.to_string(),
            explain: rule.explain.to_string(),
            remedy: rule.remedy.to_string(),
            confidence: rule.confidence.to_string(),
            pack: rule.pack.to_string(),
        }
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for place in &self.places {
            writeln!(f, "{place}")?;
        }
        if self.action != Action::Read.name() && self.places.iter().any(|place| !place.allowed) {
            match self.allowed.as_slice() {
                [] => writeln!(f, "No configured location is allowed.")?,
                allowed => writeln!(f, "Allowed: {}.", allowed.join(", "))?,
            }
        }
        write!(f, "Policy set {}.", self.policy)
    }
}

impl fmt::Display for PlaceAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, if self.allowed { "allowed" } else { "refused" })?;
        for rule in &self.rules {
            write!(f, "\n  {} ({}, {})\n    {}", rule.id, rule.law, rule.article, rule.explain)?;
            if rule.confidence != "high" {
                write!(f, "\n    The pack's confidence in this reading is {}.", rule.confidence)?;
            }
            if !self.allowed {
                write!(f, "\n    Remedy: {}", rule.remedy)?;
            }
        }
        for mechanism in &self.mechanisms {
            write!(f, "\n  Rests on the mechanism {mechanism}.")?;
        }
        for obligation in &self.obligations {
            write!(f, "\n  Due: {obligation}")?;
        }
        for way in &self.would_be_allowed_with {
            write!(f, "\n  Would be allowed with {way}.")?;
        }
        Ok(())
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mechanisms =
            self.mechanisms.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(" and ");
        let copies = self.copies_in.join(" and ");
        match (mechanisms.is_empty(), copies.is_empty()) {
            (false, true) => write!(f, "{mechanisms} in force for this place"),
            (true, _) => write!(f, "a copy already held in {copies}"),
            (false, false) => {
                write!(f, "{mechanisms} in force for this place and a copy already held in {copies}")
            }
        }
    }
}

impl fmt::Display for MechanismUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.reference {
            Some(reference) => write!(f, "{} ({reference})", self.kind),
            None => f.write_str(&self.kind),
        }
    }
}
