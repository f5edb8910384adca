//! `policy test`: the cases that packs bring along, each a question with the answer that its author expects.
//!
//! A case states its own world: one place, an operator, mechanisms. It does not depend on this gateway's
//! configuration, so that a pack can be tested where it is written.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::check::{Problem, Problems};
use super::compiled::{Compiled, compile};
use super::decision::Decision;
use super::key::Key;
use super::mechanism::moment;
use super::scenario::Table;
use super::snapshot::{Moment, Setting, Snapshot};
use super::source::{SourceFile, Sources};
use super::{Action, PackSource, PolicyError, Question, ReaderEntity, table};
use crate::config;
use crate::label::DataClass;
use crate::locations::LocationFacts;
use crate::names::Country;

/// What became of the cases of all packs.
#[derive(Debug, Serialize)]
pub struct TestReport {
    pub policy: String,
    pub results: Vec<CaseResult>,
    /// Rules that decided in no passed case: nobody would notice if they were lost.
    pub untested: Vec<String>,
}

#[derive(Debug, Serialize)]
pub struct CaseResult {
    pub pack: String,
    pub name: String,
    /// Why it failed; `None` when it passed.
    pub failure: Option<String>,
}

/// Runs the cases and the tables of scenarios of every pack of a source.
pub fn test(source: &PackSource) -> Result<TestReport, PolicyError> {
    let sources = source.read()?;
    let compiled = Arc::new(compile(&sources).map_err(PolicyError::Invalid)?);
    run(&sources, &compiled)
}

/// Runs what these packs bring along against a policy set.
pub(super) fn run(sources: &Sources, compiled: &Arc<Compiled>) -> Result<TestReport, PolicyError> {
    let mut results = Vec::new();
    let mut decided = BTreeSet::new();
    for (pack, case) in read_cases(sources)? {
        let (failure, rules) = case.run(compiled)?;
        if failure.is_none() {
            decided.extend(rules);
        }
        results.push(CaseResult { pack, name: case.name, failure });
    }
    let table = Table::new(Arc::clone(compiled), None)?;
    for (pack, file) in sources.packs.iter().filter_map(|pack| Some((&pack.name, pack.scenarios.as_ref()?))) {
        for (number, line) in file.text.lines().enumerate().filter(|(_, line)| table::is_scenario(line)) {
            let (name, failure) = match table::answer(&table, line.as_bytes()) {
                Err((id, problem)) => (id, Some(problem)),
                Ok((answer, None)) => (Some(answer.id), None),
                Ok((answer, Some(expect))) => {
                    let differences = table::differences(&answer, &expect);
                    if differences.is_empty() {
                        decided.extend(answer.rules);
                    }
                    (Some(answer.id), (!differences.is_empty()).then(|| differences.join("; ")))
                }
            };
            let line = format!("scenarios.jsonl line {}", number + 1);
            let name = name.map_or_else(|| line.clone(), |id| format!("{line}, {id}"));
            results.push(CaseResult { pack: pack.clone(), name, failure });
        }
    }
    let untested = compiled.rule_ids().map(ToString::to_string).filter(|id| !decided.contains(id));
    Ok(TestReport { policy: compiled.hash.0.to_string(), untested: untested.collect(), results })
}

impl TestReport {
    pub fn passed(&self) -> bool {
        self.results.iter().all(|result| result.failure.is_none())
    }
}

impl fmt::Display for TestReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let failed: Vec<_> = self.results.iter().filter(|result| result.failure.is_some()).collect();
        for result in &failed {
            let why = result.failure.as_deref().unwrap_or_default();
            writeln!(f, "FAILED {}: {}\n    {why}", result.pack, result.name)?;
        }
        for rule in &self.untested {
            writeln!(f, "untested: no passing case has {rule} decide")?;
        }
        write!(f, "{} cases, {} failed", self.results.len(), failed.len())
    }
}

/// One case as a pack writes it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Case {
    pub name: String,
    #[serde(default)]
    action: ActionWord,
    #[serde(default)]
    classes: Vec<DataClass>,
    #[serde(default)]
    subjects: Vec<Country>,
    #[serde(default)]
    operator: config::Operator,
    #[serde(default)]
    mechanisms: Vec<MechanismWord>,
    /// Country of the location; not for reads.
    location: Option<Country>,
    #[serde(default)]
    certifications: BTreeSet<String>,
    /// Parts of the location's country that it is in.
    #[serde(default)]
    zones: BTreeSet<String>,
    /// Whose law the location's provider answers to; the location's own country when absent.
    provider_country: Option<Country>,
    /// For reads: a country, or `unknown`.
    reader: Option<ReaderWord>,
    #[serde(default)]
    reader_entity: ReaderEntity,
    /// What is known of the object beside its labels.
    #[serde(default)]
    facts: config::Facts,
    /// The location is the bucket's home.
    #[serde(default)]
    at_home: bool,
    /// Whether the detectors saw every byte.
    #[serde(default = "scanned")]
    scanned_completely: bool,
    #[serde(default)]
    held_in: Vec<Country>,
    /// The day of the question; the pack's own when absent.
    date: Option<String>,
    expect: Expectation,
    /// Rules that must be among those that decided.
    #[serde(default)]
    pub rules: Vec<String>,
    /// Obligations that must be due, all of them and no others; not checked when absent.
    obligations: Option<BTreeSet<String>>,
}

fn scanned() -> bool {
    true
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum ActionWord {
    #[default]
    Store,
    Replicate,
    Relocate,
    Read,
    Commit,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Expectation {
    Allow,
    Deny,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum MechanismWord {
    Kind(String),
    Whole(config::Mechanism),
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(untagged)]
enum ReaderWord {
    Country(Country),
    Unknown(UnknownWord),
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum UnknownWord {
    Unknown,
}

/// The cases of all packs, each with its pack's name.
pub(super) fn read_cases(sources: &Sources) -> Result<Vec<(String, Case)>, PolicyError> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct File {
        #[serde(default)]
        case: Vec<Case>,
    }
    let mut cases = Vec::new();
    for pack in &sources.packs {
        let Some(file) = &pack.cases else { continue };
        let parsed: File =
            toml::from_str(&file.text).map_err(|error| invalid(&sources.root, file, &error))?;
        cases.extend(parsed.case.into_iter().map(|case| (pack.name.clone(), case)));
    }
    Ok(cases)
}

fn invalid(root: &str, file: &SourceFile, error: &toml::de::Error) -> PolicyError {
    let before = error.span().and_then(|span| file.text.get(..span.start)).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |rest| rest.chars().count()) + 1;
    PolicyError::Invalid(Problems(vec![Problem {
        file: if root.is_empty() { file.path.clone() } else { format!("{root}/{}", file.path) },
        place: Some((line, column)),
        rule: None,
        message: error.message().to_owned(),
        help: None,
    }]))
}

impl Case {
    /// Asks the question; returns what is wrong with the answer, and the rules that decided.
    pub fn run(&self, compiled: &Arc<Compiled>) -> Result<(Option<String>, Vec<String>), PolicyError> {
        match self.question(compiled)? {
            Err(wrong) => Ok((Some(wrong), Vec::new())),
            // The reference semantics; the lowered rules are held against it elsewhere.
            Ok((snapshot, key)) => Ok(self.judge(&snapshot.evaluate_by_cedar(key)?)),
        }
    }

    /// The case's world and its question; or what is wrong with the case itself.
    pub fn question(&self, compiled: &Arc<Compiled>) -> Result<Result<(Snapshot, Key), String>, PolicyError> {
        let wrong = |message: &str| Ok(Err(message.to_owned()));
        let action = match self.action {
            ActionWord::Store => Action::Store,
            ActionWord::Replicate => Action::Replicate,
            ActionWord::Relocate => Action::Relocate,
            ActionWord::Read => Action::Read,
            ActionWord::Commit => Action::Commit,
        };
        let reader = match (action, self.reader, self.location) {
            (Action::Read, Some(ReaderWord::Country(country)), None) => Some(country),
            (Action::Read, Some(ReaderWord::Unknown(UnknownWord::Unknown)), None) => None,
            (Action::Read, ..) => return wrong("a read needs `reader`, and no `location`"),
            (_, None, Some(_)) => None,
            _ => return wrong("this action needs `location`, and no `reader`"),
        };
        let now = match self.date.as_deref().map(moment) {
            None => compiled.as_of,
            Some(Some(moment)) => moment,
            Some(None) => return wrong("`date` is not an RFC 3339 date"),
        };
        let Ok(id) = "here".parse() else { return wrong("the case's own location has no valid name") };
        let facts = self.location.map(|country| {
            Arc::new(LocationFacts {
                id,
                country,
                region: "region".to_owned(),
                provider: "provider".to_owned(),
                provider_country: self.provider_country.unwrap_or(country),
                certifications: self.certifications.clone(),
                zones: self.zones.clone(),
            })
        });
        let setting = Setting {
            locations: facts.iter().cloned().collect(),
            operator: self.operator.clone(),
            mechanisms: self.mechanisms.iter().map(MechanismWord::mechanism).collect(),
            facts: vec![self.facts.clone()],
        };
        let snapshot = Snapshot::new(Arc::clone(compiled), Arc::new(setting), Moment::AsOf(now))?;
        let key = snapshot.key(&Question {
            action,
            classes: self.classes.iter().copied().collect(),
            subjects: self.subjects.iter().copied().collect(),
            scanned_completely: self.scanned_completely,
            bucket: None,
            home: facts.as_ref().filter(|_| self.at_home).map(|facts| &facts.id),
            origin: None,
            held_in: self.held_in.iter().copied().collect(),
            reader,
            reader_entity: self.reader_entity,
            copies: Default::default(),
        });
        Ok(Ok((snapshot, key)))
    }

    fn judge(&self, decision: &Decision) -> (Option<String>, Vec<String>) {
        let rules: Vec<String> = decision.rules().iter().map(|rule| rule.id.to_string()).collect();
        let said = if decision.is_allowed() { Expectation::Allow } else { Expectation::Deny };
        let mut failures = Vec::new();
        if said != self.expect {
            failures.push(format!("expected {}, got {}", self.expect, said));
        }
        let missing: Vec<_> = self.rules.iter().filter(|rule| !rules.contains(rule)).cloned().collect();
        if !missing.is_empty() {
            failures.push(format!("{} did not decide", missing.join(", ")));
        }
        let due: BTreeSet<String> = decision.obligations().iter().map(|o| o.0.to_string()).collect();
        if let Some(expected) = self.obligations.as_ref().filter(|expected| **expected != due) {
            failures.push(format!("expected the obligations {expected:?}, got {due:?}"));
        }
        if failures.is_empty() {
            return (None, rules);
        }
        failures.push(format!(
            "decided: {}",
            if rules.is_empty() { "nothing".to_owned() } else { rules.join(", ") }
        ));
        (Some(failures.join("; ")), rules)
    }
}

impl MechanismWord {
    fn mechanism(&self) -> config::Mechanism {
        match self {
            MechanismWord::Whole(mechanism) => mechanism.clone(),
            MechanismWord::Kind(kind) => config::Mechanism::of_kind(kind),
        }
    }
}

impl fmt::Display for Expectation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Expectation::Allow => "allow",
            Expectation::Deny => "deny",
        })
    }
}
