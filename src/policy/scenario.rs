//! `policy decide`: scenarios of a table, each with its own world, and what the policies say of them.
//!
//! A scenario is one line of JSON that a lawyer can write: who stores what about whom where, on which papers. It does
//! not depend on this gateway's configuration. Its words are those of the schema and of `words.toml`; a word that is
//! neither is an error of that line. The reference semantics answers: Cedar's own authorizer.

mod words;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::applies::Applicable;
use super::compiled::Compiled;
use super::decision::Verdict;
use super::key::Key;
use super::snapshot::Snapshot;
use super::{PolicyError, Question};
use crate::names::Country;
use words::{ActionWord, MechanismWord, OneOrMany, OperatorWord, TargetWord};
use world::{Asked, wrong};

/// One line of a table.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    pub id: String,
    /// The day of the question.
    #[serde(default)]
    pub as_of: Option<String>,
    #[serde(default)]
    operator: OperatorWord,
    #[serde(default)]
    classes: OneOrMany,
    /// Countries, or `unknown`.
    #[serde(default)]
    subjects: OneOrMany,
    #[serde(default)]
    collected_in: OneOrMany,
    #[serde(default)]
    subject_count: Option<u64>,
    #[serde(default)]
    attrs: BTreeMap<String, Value>,
    #[serde(default)]
    mechanisms: Vec<MechanismWord>,
    #[serde(default)]
    held_in: OneOrMany,
    #[serde(default)]
    first_write: Option<bool>,
    /// Whether what the object holds is known to its end; it is when nobody says otherwise.
    #[serde(default)]
    scanned_completely: Option<bool>,
    /// Whether the target is the bucket's home; it is when nobody says otherwise.
    #[serde(default)]
    at_home: Option<bool>,
    /// Where the client is.
    #[serde(default)]
    origin: Option<Country>,
    #[serde(default)]
    action: ActionWord,
    target: TargetWord,
    /// What the table's author expects.
    #[serde(default)]
    pub expect: Option<Expected>,
    /// For people.
    #[serde(default)]
    #[allow(
        dead_code,
        reason = "a remark of the table's author is kept beside the scenario and asks nothing"
    )]
    note: Option<String>,
}

/// What a scenario is expected to give.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expected {
    pub decision: Option<Word>,
    /// These must be among the rules that decided.
    #[serde(default)]
    pub rules: Vec<String>,
    /// Exactly these must be due.
    pub obligations: Option<BTreeSet<String>>,
}

/// The answer to one scenario.
#[derive(Debug, Clone, Serialize)]
pub struct Answer {
    pub id: String,
    pub decision: Word,
    /// What is due for copies of the bytes.
    pub obligations: Vec<String>,
    /// The provisions that decided: those that refuse; or those that bind and are met, and the grounds.
    pub rules: Vec<String>,
    pub explain: String,
    /// Periods to keep and papers to file: due, and no condition of the placement.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub records: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Word {
    Allow,
    Deny,
    AllowWithObligation,
}

impl std::fmt::Display for Word {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Word::Allow => "allow",
            Word::Deny => "deny",
            Word::AllowWithObligation => "allow_with_obligation",
        })
    }
}

/// Why a scenario cannot be asked.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    #[error("{field}: {problem}")]
    Field { field: String, problem: String },
    #[error(transparent)]
    Policy(#[from] PolicyError),
}

/// Answers scenarios with one policy set.
pub struct Table {
    compiled: Arc<Compiled>,
    applicable: Applicable,
    as_of: Option<i64>,
}

impl Table {
    /// `as_of` is the day for scenarios that name none.
    pub fn new(compiled: Arc<Compiled>, as_of: Option<i64>) -> Result<Table, PolicyError> {
        Ok(Table { applicable: Applicable::new(&compiled)?, compiled, as_of })
    }

    pub fn decide(&self, scenario: &Scenario) -> Result<Answer, ScenarioError> {
        let (snapshot, key) = self.question(scenario)?;
        let decision = snapshot.evaluate_by_cedar(key)?;
        let Some(verdict) = decision.verdicts().first() else {
            return Err(wrong("target", "nothing was asked"));
        };
        let met = if verdict.allowed { self.applicable.met(&snapshot, &key)? } else { Vec::new() };
        Ok(answer(&scenario.id, verdict, &met))
    }

    /// The scenario's world and its question.
    pub(super) fn question(&self, scenario: &Scenario) -> Result<(Snapshot, Key), ScenarioError> {
        question(scenario, &self.compiled, self.as_of)
    }
}

/// A scenario's world and its question. `as_of` is the day when it names none.
pub(super) fn question(
    scenario: &Scenario,
    compiled: &Arc<Compiled>,
    as_of: Option<i64>,
) -> Result<(Snapshot, Key), ScenarioError> {
    let asked = Asked::new(scenario, compiled, as_of)?;
    let snapshot = Snapshot::new(Arc::clone(compiled), Arc::new(asked.setting), asked.at)?;
    let question = Question {
        action: asked.action,
        classes: asked.classes.iter().copied().collect(),
        subjects: asked.subjects,
        // A scenario says what the object holds: nothing in it is left to find.
        scanned_completely: scenario.scanned_completely.unwrap_or(true),
        bucket: None,
        home: asked.home.as_ref(),
        origin: scenario.origin,
        held_in: asked.held_in,
        reader: asked.reader,
        reader_entity: asked.reader_entity,
        copies: Default::default(),
    };
    let mut key = snapshot.key(&question);
    key.first_write = scenario.first_write.unwrap_or(key.first_write);
    Ok((snapshot, key))
}

fn answer(id: &str, verdict: &Verdict, met: &[Arc<super::Rule>]) -> Answer {
    let all = verdict.obligations.iter();
    let (obligations, records): (Vec<_>, Vec<_>) = all.partition(|obligation| obligation.concerns_copies());
    let text = |list: Vec<&super::Obligation>| list.into_iter().map(|o| o.0.to_string()).collect::<Vec<_>>();
    let copy_duty = |rule: &&Arc<super::Rule>| verdict.duties.iter().any(|duty| duty.id == rule.id);
    let decided: Vec<&Arc<super::Rule>> = match verdict.allowed {
        false => verdict.rules.iter().collect(),
        true => {
            let duties = verdict.duties.iter().filter(copy_duty);
            duties.chain(&verdict.grounds).chain(met).chain(&verdict.rules).collect()
        }
    };
    let mut rules: Vec<String> = Vec::new();
    let mut explain = Vec::new();
    for rule in &decided {
        for id in [&rule.part_of, &rule.id] {
            if !rules.iter().any(|known| *known == **id) {
                rules.push(id.to_string());
            }
        }
        explain.push(format!("{}: {}", rule.citation(), rule.explain));
        if !verdict.allowed {
            explain.push(format!("Remedy: {}", rule.remedy));
        }
    }
    Answer {
        id: id.to_owned(),
        decision: match (verdict.allowed, obligations.is_empty()) {
            (false, _) => Word::Deny,
            (true, true) => Word::Allow,
            (true, false) => Word::AllowWithObligation,
        },
        obligations: text(obligations),
        records: text(records),
        rules,
        explain: explain.join(" "),
    }
}
