//! A scenario's own world: operator, papers, facts and place, made of the words of its line.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value;

use super::words::{ActionWord, MechanismWord, OneOrMany, Paper};
use super::{Scenario, ScenarioError};
use crate::config;
use crate::label::DataClass;
use crate::locations::LocationFacts;
use crate::names::{Country, CountrySet, LocationId, ReaderEntity};
use crate::policy::Action;
use crate::policy::compiled::Compiled;
use crate::policy::manifest::WordKind;
use crate::policy::mechanism::moment;
use crate::policy::snapshot::{Moment, Setting};

/// A scenario in the terms of the machinery.
pub struct Asked {
    pub setting: Setting,
    pub at: Moment,
    pub action: Action,
    pub classes: Vec<DataClass>,
    pub subjects: CountrySet,
    pub held_in: CountrySet,
    pub home: Option<LocationId>,
    pub reader: Option<Country>,
    pub reader_entity: ReaderEntity,
}

impl Asked {
    pub fn new(scenario: &Scenario, compiled: &Compiled, as_of: Option<i64>) -> Result<Asked, ScenarioError> {
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
        let Target { action, location, reader, reader_entity } = world.target(scenario)?;
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
                        self.mechanisms.push(config::Mechanism::of_kind(name));
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
                    self.mechanisms.push(config::Mechanism::of_kind(name));
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
            ..config::Mechanism::of_kind(&paper.kind)
        });
        Ok(())
    }

    fn target(&self, scenario: &Scenario) -> Result<Target, ScenarioError> {
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
            let reader_entity = target.reader_entity.unwrap_or_default();
            return Ok(Target { action, location: None, reader, reader_entity });
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
        let location = LocationFacts {
            id: "target".parse().map_err(|error| wrong("target", error))?,
            country,
            region: target.region.clone().unwrap_or_else(|| country.code().to_lowercase()),
            provider: "unnamed".to_owned(),
            provider_country: target.provider_owner.unwrap_or(country),
            certifications: target.certs.iter().map(str::to_owned).collect(),
            zones,
        };
        let location = Some(Arc::new(location));
        Ok(Target { action, location, reader: None, reader_entity: ReaderEntity::Other })
    }
}

/// What is done, and to where or to whom.
struct Target {
    action: Action,
    /// `None` of a read.
    location: Option<Arc<LocationFacts>>,
    reader: Option<Country>,
    reader_entity: ReaderEntity,
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

pub fn wrong(field: &str, problem: impl std::fmt::Display) -> ScenarioError {
    ScenarioError::Field { field: field.to_owned(), problem: problem.to_string() }
}
