//! `policy explain`: why an object may or may not go to a place, and what would have to be true.
//!
//! It asks the same snapshot machinery as requests do, with the operator and the mechanisms that the question
//! assumes. What would help is found by asking again with more, not read out of the rules' prose.

mod answer;
mod nearest;
mod parts;
mod ways;

use std::sync::Arc;

use cedar_policy::Effect;

pub use answer::{Explanation, MissingPermit, PlaceAnswer, RuleAnswer};
pub use nearest::Near;
pub use ways::Way;

use super::applies::Applicable;
use super::asking::{Asking, AtHome};
use super::compiled::{Compiled, Role};
use super::decision::Verdict;
use super::key::Key;
use super::scenario::{Scenario, ScenarioError, Table};
use super::snapshot::{Moment, Place, Setting, Snapshot, Target};
use super::{Action, Copies, Engine, PolicyError, Question, ReaderEntity, Rule};
use crate::config;
use crate::label::{ClassSet, Coverage};
use crate::names::{BucketName, Country, CountrySet, LocationId};

/// What to explain.
#[derive(Debug, Clone)]
pub struct ExplainRequest {
    pub action: Action,
    pub classes: ClassSet,
    pub subjects: CountrySet,
    pub coverage: Coverage,
    /// The bucket, whose configured facts then count; some other when absent.
    pub bucket: Option<BucketName>,
    /// One location, or all of them.
    pub location: Option<LocationId>,
    /// For `Read`; `None` is unknown.
    pub reader: Option<Country>,
    /// For `Read`: whose staff or systems read.
    pub reader_entity: ReaderEntity,
    /// The bucket's home location.
    pub home: Option<LocationId>,
    /// Countries that already hold a copy.
    pub held_in: CountrySet,
    /// Instead of the configured operator.
    pub operator: Option<config::Operator>,
    /// Beside the configured mechanisms.
    pub mechanisms: Vec<config::Mechanism>,
    /// As on that day, in seconds since the Unix epoch; now when absent.
    pub as_of: Option<i64>,
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
    let at = request.as_of.map_or_else(|| Moment::Clock(engine.now()), Moment::AsOf);
    let snapshot = Snapshot::new(engine.compiled(), Arc::new(setting), at)?;
    for asked in [&request.location, &request.home].into_iter().flatten() {
        if snapshot.position(asked).is_none() {
            return Err(PolicyError::UnknownLocation(asked.clone()));
        }
    }
    let key = snapshot.key(&Question {
        action: request.action,
        classes: request.classes,
        subjects: request.subjects,
        scanned_completely: request.coverage == Coverage::Complete,
        bucket: request.bucket.as_ref(),
        home: request.home.as_ref(),
        origin: None,
        held_in: request.held_in,
        reader: request.reader,
        reader_entity: request.reader_entity,
        // As a request is answered: the gateway keeps one copy of an object.
        copies: Copies::Complete,
    });
    let explainer = Explainer { snapshot: &snapshot, key, applicable: &Applicable::new(&snapshot.compiled)? };
    let decision = snapshot.evaluate(key)?;
    let mut places = Vec::new();
    for (place, index, verdict) in asked_places(&snapshot, &key, decision.verdicts()) {
        let facts = snapshot.setting.locations.get(index);
        let asked = request.location.as_ref();
        if request.action != Action::Read && asked.is_some_and(|id| facts.is_none_or(|facts| facts.id != *id))
        {
            continue;
        }
        places.push(explainer.place(place, verdict)?);
    }
    Ok(Explanation {
        about: None,
        policy: decision.policy().0.to_string(),
        action: request.action.name(),
        places,
        allowed: decision.allowed().iter().map(|place| format!("{} ({})", place.id, place.country)).collect(),
        nearest: nearest::nearest(&snapshot, &key, decision.allowed().iter()),
    })
}

/// Explains scenarios of a table.
pub struct Scenarios {
    table: Table,
    applicable: Applicable,
}

impl Scenarios {
    /// `as_of` is the day for scenarios that name none, in seconds since the Unix epoch.
    pub fn new(compiled: Arc<Compiled>, as_of: Option<i64>) -> Result<Scenarios, PolicyError> {
        Ok(Scenarios { applicable: Applicable::new(&compiled)?, table: Table::new(compiled, as_of)? })
    }

    /// One scenario has one place. Where it is refused, countries near to the subjects are tried.
    pub fn explain(&self, scenario: &Scenario) -> Result<Explanation, ScenarioError> {
        let (snapshot, key) = self.table.question(scenario)?;
        let explainer = Explainer { snapshot: &snapshot, key, applicable: &self.applicable };
        // The reference semantics, as the table's own answers have it.
        let decision = snapshot.evaluate_by_cedar(key)?;
        let mut places = Vec::new();
        for (place, _, verdict) in asked_places(&snapshot, &key, decision.verdicts()) {
            places.push(explainer.place(place, verdict)?);
        }
        let refused = places.iter().any(|place| !place.allowed);
        Ok(Explanation {
            about: Some(format!("scenario {}", scenario.id)),
            policy: decision.policy().0.to_string(),
            action: key.action.name(),
            places,
            allowed: decision.allowed().iter().map(|place| place.country.to_string()).collect(),
            nearest: if refused { nearest::nearest_countries(&snapshot, &key)? } else { Vec::new() },
        })
    }
}

/// The places of a question, each with its position and its verdict; `None` is a reader in an unknown country.
fn asked_places<'a>(
    snapshot: &Snapshot,
    key: &Key,
    verdicts: &'a [Verdict],
) -> impl Iterator<Item = (Option<Place>, usize, &'a Verdict)> {
    let (action, reader, length) = (key.action, key.reader, snapshot.setting.locations.len());
    verdicts.iter().take(length.max(1)).enumerate().map(move |(index, verdict)| match (action, reader) {
        (Action::Read, country) => (country.map(Place::Reader), index, verdict),
        _ => (Some(Place::Location(index)), index, verdict),
    })
}

/// One question while its places are explained.
struct Explainer<'a> {
    snapshot: &'a Snapshot,
    key: Key,
    applicable: &'a Applicable,
}

impl Explainer<'_> {
    fn place(&self, place: Option<Place>, verdict: &Verdict) -> Result<PlaceAnswer, PolicyError> {
        let answers = |rules: &[Arc<Rule>]| -> Vec<RuleAnswer> {
            rules.iter().map(|rule| RuleAnswer::from(&**rule)).collect()
        };
        let mut answer = PlaceAnswer {
            place: self.name(place),
            allowed: verdict.allowed,
            rules: answers(&verdict.rules),
            met: Vec::new(),
            grounds: answers(&verdict.grounds),
            obligations: verdict.obligations.iter().map(|o| o.0.to_string()).collect(),
            duties: answers(&verdict.duties),
            mechanisms: verdict.mechanisms.iter().map(ToString::to_string).collect(),
            missing_permits: Vec::new(),
            would_be_allowed_with: Vec::new(),
        };
        let Some(place) = place else { return Ok(answer) };
        let (arrival, home) = self.snapshot.arrival(&self.key, place)?;
        if verdict.allowed {
            answer.met = answers(&self.applicable.met_at(self.snapshot, &self.key, arrival, home)?);
            return Ok(answer);
        }
        for rule in &mut answer.rules {
            let compiled = self.snapshot.compiled.rules.iter().find(|other| *other.rule.id == *rule.id);
            if let Some(compiled) = compiled {
                rule.unless =
                    parts::exceptions(&compiled.policy)?.into_iter().map(|part| part.text).collect();
            }
        }
        answer.missing_permits = self.missing_permits(arrival, home)?;
        answer.would_be_allowed_with = ways::ways(self.snapshot, self.key, place)?;
        Ok(answer)
    }

    fn name(&self, place: Option<Place>) -> String {
        match place {
            None => "a reader in an unknown country".to_owned(),
            Some(Place::Reader(country)) => format!("a reader in {country}"),
            Some(Place::Location(index)) => match self.snapshot.setting.locations.get(index) {
                Some(facts) => format!("{} ({})", facts.id, facts.country),
                None => "no location".to_owned(),
            },
        }
    }

    /// What each permit lacks; nothing when one of them applies, for then a prohibition refuses.
    fn missing_permits(&self, arrival: &Target, home: AtHome) -> Result<Vec<MissingPermit>, PolicyError> {
        // A set of copies needs no permit of its own.
        if self.key.action == Action::Commit {
            return Ok(Vec::new());
        }
        let mut asking = Asking::new(self.snapshot, &self.key);
        let mut missing = Vec::new();
        for rule in &self.snapshot.compiled.rules {
            let gate = rule.role == Role::Gate && rule.in_force(self.snapshot.now);
            if !gate || rule.policy.effect() != Effect::Permit {
                continue;
            }
            let mut lacks = Vec::new();
            for part in parts::requirements(&rule.policy)? {
                if !part.holds(&mut asking, arrival, home)? {
                    lacks.push(part.text);
                }
            }
            if lacks.is_empty() {
                return Ok(Vec::new());
            }
            let (id, explain) = (rule.rule.id.to_string(), rule.rule.explain.to_string());
            missing.push(MissingPermit { id, explain, lacks });
        }
        Ok(missing)
    }
}
