//! `policy decide`: scenarios of a table, each with its own world, and what the policies say of them.
//!
//! A scenario is one line of JSON that a lawyer can write: who stores what about whom where, on which papers. It does
//! not depend on this gateway's configuration. Its words are those of the schema and of `words.toml`; a word that is
//! neither is an error of that line. The reference semantics answers: Cedar's own authorizer.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::applies::Applicable;
use super::compiled::Compiled;
use super::decision::Verdict;
use super::manifest::WordKind;
use super::mechanism::moment;
use super::snapshot::{Key, Moment, Setting, Snapshot};
use super::{Action, PolicyError, Question, ReaderEntity};
use crate::config;
use crate::label::DataClass;
use crate::locations::LocationFacts;
use crate::names::{Country, CountrySet};

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

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct OperatorWord {
    country: Option<Country>,
    #[serde(alias = "sectors")]
    sector: OneOrMany,
    ciio: bool,
    public_body: bool,
    tags: OneOrMany,
}

/// A word, several, or none.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    #[default]
    None,
    One(String),
    Many(Vec<String>),
}

impl OneOrMany {
    fn iter(&self) -> impl Iterator<Item = &str> {
        let slice = match self {
            OneOrMany::None => &[],
            OneOrMany::One(one) => std::slice::from_ref(one),
            OneOrMany::Many(many) => many.as_slice(),
        };
        slice.iter().map(String::as_str)
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum MechanismWord {
    Kind(String),
    Paper(Paper),
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Paper {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    valid_until: Option<String>,
    /// Countries, blocs (`@EEA`), or `*`.
    #[serde(default)]
    destinations: OneOrMany,
    #[serde(default)]
    #[allow(dead_code, reason = "papers have numbers; nothing is decided by them")]
    reference: Option<String>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
enum ActionWord {
    #[default]
    #[serde(alias = "store")]
    Store,
    #[serde(alias = "replicate")]
    Replicate,
    #[serde(alias = "relocate")]
    Relocate,
    #[serde(alias = "read")]
    Read,
    #[serde(alias = "commit")]
    Commit,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct TargetWord {
    country: Option<Country>,
    region: Option<String>,
    zones: OneOrMany,
    certs: OneOrMany,
    provider_owner: Option<Country>,
    /// A country, or `unknown`.
    reader_country: Option<String>,
    reader_entity: Option<ReaderEntity>,
}

fn wrong(field: &str, problem: impl std::fmt::Display) -> ScenarioError {
    ScenarioError::Field { field: field.to_owned(), problem: problem.to_string() }
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

/// A scenario in the terms of the machinery.
struct Asked {
    setting: Setting,
    at: Moment,
    action: Action,
    classes: Vec<DataClass>,
    subjects: CountrySet,
    held_in: CountrySet,
    home: Option<crate::names::LocationId>,
    reader: Option<Country>,
    reader_entity: ReaderEntity,
}

impl Asked {
    fn new(scenario: &Scenario, compiled: &Compiled, as_of: Option<i64>) -> Result<Asked, ScenarioError> {
        let at = match (&scenario.as_of, as_of) {
            (Some(text), _) => {
                moment(text).ok_or_else(|| wrong("as_of", format!("`{text}` is not a date")))?
            }
            (None, Some(moment)) => moment,
            (None, None) => compiled.as_of,
        };
        let mut world = World::new(scenario, compiled)?;
        for words in [&scenario.subjects, &scenario.collected_in] {
            words.iter().for_each(|word| world.province(word));
        }
        for (name, value) in &scenario.attrs {
            world.attr(name, value)?;
        }
        for mechanism in &scenario.mechanisms {
            world.mechanism(mechanism, at)?;
        }
        let (action, location, reader, reader_entity) = world.target(scenario)?;
        let classes = scenario.classes.iter().map(|word| word.parse::<DataClass>());
        let classes = classes.collect::<Result<Vec<_>, _>>().map_err(|error| wrong("classes", error))?;
        Ok(Asked {
            home: location
                .as_ref()
                .filter(|_| scenario.at_home.unwrap_or(true))
                .map(|facts| facts.id.clone()),
            setting: Setting {
                locations: location.into_iter().collect(),
                operator: world.operator,
                mechanisms: world.mechanisms,
                facts: vec![world.facts],
            },
            at: Moment::AsOf(at),
            action,
            classes,
            subjects: countries("subjects", &scenario.subjects)?.into_iter().collect(),
            held_in: countries("held_in", &scenario.held_in)?.into_iter().collect(),
            reader,
            reader_entity,
        })
    }
}

/// The operator, the papers and the facts of a scenario while they are read.
struct World<'a> {
    compiled: &'a Compiled,
    operator: config::Operator,
    mechanisms: Vec<config::Mechanism>,
    facts: config::Facts,
}

impl World<'_> {
    fn new<'a>(scenario: &Scenario, compiled: &'a Compiled) -> Result<World<'a>, ScenarioError> {
        let stated = &scenario.operator;
        let tags = stated.sector.iter().chain(stated.tags.iter()).filter(|tag| *tag != "other");
        let tags: Vec<String> = tags.map(str::to_owned).collect();
        for tag in &tags {
            compiled.words.word(WordKind::Tag, tag).map_err(|error| wrong("operator", error))?;
        }
        Ok(World {
            compiled,
            operator: config::Operator {
                country: stated.country,
                tags,
                ciio: stated.ciio,
                public_body: stated.public_body,
                counts: config::Counts {
                    people: scenario.subject_count,
                    us_persons: scenario.subject_count,
                    in_object: scenario.subject_count,
                    ..config::Counts::default()
                },
                ..config::Operator::default()
            },
            mechanisms: Vec::new(),
            facts: config::Facts {
                collected_in: countries("collected_in", &scenario.collected_in)?,
                ..config::Facts::default()
            },
        })
    }

    /// A part of a country that is named in place of the country: its law binds the object.
    fn province(&mut self, word: &str) {
        let pair = format!("province={word}");
        if word.contains('-') && self.compiled.words.find(WordKind::Attr, &pair).is_some() {
            self.facts.attrs.push(pair);
        }
    }

    /// Takes one attribute in. Its value says what kind it is.
    fn attr(&mut self, name: &str, value: &Value) -> Result<(), ScenarioError> {
        let field = format!("attrs.{name}");
        let number = |value: &Value| value.as_u64().ok_or_else(|| wrong(&field, "a number from 0 is needed"));
        let places = |value: &Value| {
            let words = match value {
                Value::Array(many) => many.iter().map(|one| one.as_str().map(str::to_owned)).collect(),
                one => one.as_str().map(|one| vec![one.to_owned()]),
            };
            let words = words.ok_or_else(|| wrong(&field, "a country code is needed"))?;
            countries(&field, &OneOrMany::Many(words))
        };
        match name {
            "subject_count" | "people" => self.operator.counts.people = Some(number(value)?),
            "sensitive_count" | "sensitive_people" => {
                self.operator.counts.sensitive_people = Some(number(value)?);
            }
            "daily_accesses" => self.operator.counts.daily_accesses = Some(number(value)?),
            "us_persons" if value.is_number() => self.operator.counts.us_persons = Some(number(value)?),
            "service_in" | "service_country" => self.facts.service_in = places(value)?,
            "collected_in" | "generated_in" => self.facts.collected_in = places(value)?,
            "key_country" | "key_countries" => self.facts.key_countries = places(value)?,
            _ => return self.word(&field, name, value),
        }
        Ok(())
    }

    /// An attribute that is true or false, or that has one of a few values.
    fn word(&mut self, field: &str, name: &str, value: &Value) -> Result<(), ScenarioError> {
        let words = &self.compiled.words;
        match value {
            Value::Null => Ok(()),
            Value::Bool(set) => {
                if words.find(WordKind::Attr, name).is_some() {
                    if *set {
                        self.facts.attrs.push(name.to_owned());
                    }
                } else if words.find(WordKind::Mechanism, name).is_some() {
                    if *set {
                        self.mechanisms.push(plain(name));
                    }
                } else if words.find(WordKind::Tag, name).is_some() {
                    if *set {
                        self.operator.tags.push(name.to_owned());
                    }
                } else {
                    return Err(self.unknown(field, name));
                }
                Ok(())
            }
            Value::String(one) => {
                let pair = format!("{name}={one}");
                if words.find(WordKind::Attr, &pair).is_some() {
                    self.facts.attrs.push(pair);
                    return Ok(());
                }
                // A number, a date or a name stands for a paper that is there.
                if words.find(WordKind::Mechanism, name).is_some() {
                    self.mechanisms.push(plain(name));
                    return Ok(());
                }
                let kind = [WordKind::Attr];
                Err(wrong(field, format!("`{pair}` is not an attribute; {}", words.help(&kind, &pair))))
            }
            Value::Array(many) => many.iter().try_for_each(|one| self.word(field, name, one)),
            Value::Number(_) | Value::Object(_) => Err(self.unknown(field, name)),
        }
    }

    fn unknown(&self, field: &str, name: &str) -> ScenarioError {
        let kinds = [WordKind::Attr, WordKind::Mechanism];
        wrong(field, format!("`{name}` is not an attribute; {}", self.compiled.words.help(&kinds, name)))
    }

    fn mechanism(&mut self, word: &MechanismWord, at: i64) -> Result<(), ScenarioError> {
        let paper = match word {
            MechanismWord::Kind(kind) => Paper {
                kind: kind.clone(),
                valid_until: None,
                destinations: OneOrMany::None,
                reference: None,
            },
            MechanismWord::Paper(paper) => paper.clone(),
        };
        let words = &self.compiled.words;
        if words.find(WordKind::Mechanism, &paper.kind).is_none() {
            // Some tables list facts of the object beside the papers.
            if words.find(WordKind::Attr, &paper.kind).is_some() {
                self.facts.attrs.push(paper.kind);
                return Ok(());
            }
            let help = words.help(&[WordKind::Mechanism], &paper.kind);
            return Err(wrong("mechanisms", format!("`{}` is not a mechanism; {help}", paper.kind)));
        }
        let mut destinations = Vec::new();
        for place in paper.destinations.iter() {
            match place.strip_prefix('@') {
                _ if place == "*" => destinations.extend(Country::all()),
                Some(name) => {
                    let bloc = self.compiled.blocs.iter().find(|bloc| bloc.name.eq_ignore_ascii_case(name));
                    let bloc = bloc.ok_or_else(|| wrong("mechanisms", format!("`{place}` is not a bloc")))?;
                    destinations.extend(Country::all().filter(|country| bloc.contains(*country, at)));
                }
                None => destinations.push(place.parse().map_err(|error| wrong("mechanisms", error))?),
            }
        }
        self.mechanisms.push(config::Mechanism {
            valid_until: paper.valid_until.clone(),
            destinations,
            ..plain(&paper.kind)
        });
        Ok(())
    }

    #[allow(clippy::type_complexity)]
    fn target(
        &self,
        scenario: &Scenario,
    ) -> Result<(Action, Option<Arc<LocationFacts>>, Option<Country>, ReaderEntity), ScenarioError> {
        let target = &scenario.target;
        let action = match scenario.action {
            ActionWord::Store => Action::Store,
            ActionWord::Replicate => Action::Replicate,
            ActionWord::Relocate => Action::Relocate,
            ActionWord::Read => Action::Read,
            ActionWord::Commit => Action::Commit,
        };
        if action == Action::Read {
            let reader = match target.reader_country.as_deref() {
                None if target.country.is_some() => target.country,
                None => return Err(wrong("target", "a read needs `reader_country`, a country or `unknown`")),
                Some("unknown") => None,
                Some(code) => Some(code.parse().map_err(|error| wrong("target.reader_country", error))?),
            };
            return Ok((action, None, reader, target.reader_entity.unwrap_or_default()));
        }
        let Some(country) = target.country else {
            return Err(wrong("target", "this action needs `country`"));
        };
        if target.reader_country.is_some() || target.reader_entity.is_some() {
            return Err(wrong("target", "only a read has a reader"));
        }
        let words = &self.compiled.words;
        let mut zones: BTreeSet<String> = target.zones.iter().map(str::to_owned).collect();
        // A region may be a provider's own name for a place, which no law speaks of.
        zones.extend(target.region.clone().filter(|region| words.find(WordKind::Zone, region).is_some()));
        Ok((
            action,
            Some(Arc::new(LocationFacts {
                id: "target".parse().map_err(|error| wrong("target", error))?,
                country,
                region: target.region.clone().unwrap_or_else(|| country.code().to_lowercase()),
                provider: "unnamed".to_owned(),
                provider_country: target.provider_owner.unwrap_or(country),
                certifications: target.certs.iter().map(str::to_owned).collect(),
                zones,
            })),
            None,
            ReaderEntity::Other,
        ))
    }
}

fn plain(kind: &str) -> config::Mechanism {
    config::Mechanism {
        kind: kind.to_owned(),
        destinations: Vec::new(),
        classes: Vec::new(),
        valid_until: None,
        reference: None,
    }
}

/// Country codes; `unknown` is none.
fn countries(field: &str, words: &OneOrMany) -> Result<Vec<Country>, ScenarioError> {
    let known = words.iter().filter(|word| *word != "unknown");
    known.map(|word| country_of(word).parse().map_err(|error| wrong(field, error))).collect()
}

/// `CA-QC` (ISO 3166-2) lies in `CA`.
fn country_of(word: &str) -> &str {
    match word.split_once('-') {
        Some((country, part)) if country.len() == 2 && !part.is_empty() => country,
        _ => word,
    }
}
