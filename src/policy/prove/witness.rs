//! One question in full, as the prover found it: in words, as a line for `policy decide`, and put to Cedar.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::world::COUNTS;
use crate::label::DataClass;
use crate::names::{Country, LocationId};
use crate::policy::compiled::Compiled;
use crate::policy::key::Key;
use crate::policy::manifest::WordKind;
use crate::policy::scenario::{Scenario, ScenarioError, question};
use crate::policy::snapshot::Snapshot;
use crate::policy::{Action, ReaderEntity};

/// A question that shows what a proof could not.
#[derive(Debug, Clone, PartialEq)]
pub struct Witness {
    pub action: Action,
    /// Seconds since the Unix epoch.
    pub now: i64,
    /// As labelled.
    pub classes: Vec<DataClass>,
    pub scanned: bool,
    pub subjects: Vec<Country>,
    pub collected_in: Vec<Country>,
    pub service_in: Vec<Country>,
    pub key_countries: Vec<Country>,
    pub held_in: Vec<Country>,
    pub origin: Option<Country>,
    pub mechanisms: Vec<Arc<str>>,
    pub attrs: Vec<Arc<str>>,
    pub established: Option<Country>,
    pub tags: Vec<Arc<str>>,
    /// In the order of [`COUNTS`].
    pub counts: [i64; COUNTS.len()],
    pub sensitive_counted: bool,
    pub spot: Spot,
}

/// Where the bytes arrive.
#[derive(Debug, Clone, PartialEq)]
pub enum Spot {
    Location {
        /// When it is a configured one.
        id: Option<LocationId>,
        country: Country,
        provider: Country,
        certs: Vec<Arc<str>>,
        zones: Vec<Arc<str>>,
        at_home: bool,
    },
    Reader {
        country: Country,
        entity: ReaderEntity,
    },
}

impl Witness {
    /// A line for `policy decide --jsonl`.
    pub fn scenario(&self, id: &str) -> Value {
        let codes =
            |countries: &[Country]| countries.iter().map(|country| country.code()).collect::<Vec<_>>();
        let [people, sensitive, us_persons, accesses] = self.counts;
        let mut attrs = self.attrs();
        for (name, value) in [("people", people), ("us_persons", us_persons), ("daily_accesses", accesses)] {
            attrs.insert(name.to_owned(), json!(value));
        }
        let mut line = Map::new();
        let mut put = |name: &str, value: Value| line.insert(name.to_owned(), value);
        put("id", json!(id));
        if let Ok(moment) = jiff::Timestamp::from_second(self.now) {
            put("as_of", json!(moment.to_string()));
        }
        put("operator", json!({ "country": self.established.map(Country::code), "tags": words(&self.tags) }));
        put("classes", json!(self.classes));
        put("subjects", json!(codes(&self.subjects)));
        for (name, countries) in [("collected_in", &self.collected_in), ("held_in", &self.held_in)] {
            if !countries.is_empty() {
                put(name, json!(codes(countries)));
            }
        }
        for (name, countries) in [("service_in", &self.service_in), ("key_countries", &self.key_countries)] {
            if !countries.is_empty() {
                attrs.insert(name.to_owned(), json!(codes(countries)));
            }
        }
        // People with sensitive data: counted by somebody, or as many as the object is about.
        if self.sensitive_counted {
            attrs.insert("sensitive_count".to_owned(), json!(sensitive));
        } else {
            put("subject_count", json!(sensitive));
        }
        if !self.mechanisms.is_empty() {
            put("mechanisms", json!(words(&self.mechanisms)));
        }
        if !self.scanned {
            put("scanned_completely", json!(false));
        }
        if let Some(origin) = self.origin {
            put("origin", json!(origin.code()));
        }
        put("action", json!(self.action.name()));
        match &self.spot {
            Spot::Location { country, provider, certs, zones, at_home, .. } => {
                put("at_home", json!(at_home));
                let mut target = json!({ "country": country.code(), "provider_owner": provider.code() });
                if !certs.is_empty() {
                    target["certs"] = json!(words(certs));
                }
                if !zones.is_empty() {
                    target["zones"] = json!(words(zones));
                }
                put("target", target);
            }
            Spot::Reader { country, entity } => {
                let target = json!({ "reader_country": country.code(), "reader_entity": entity.word() });
                put("target", target);
            }
        }
        put("attrs", json!(attrs));
        Value::Object(line)
    }

    /// The question as a policy set takes it.
    pub fn question(&self, compiled: &Arc<Compiled>) -> Result<(Snapshot, Key), ScenarioError> {
        let unreadable = |error: serde_json::Error| ScenarioError::Field {
            field: "example".to_owned(),
            problem: error.to_string(),
        };
        let scenario: Scenario = serde_json::from_value(self.scenario("example")).map_err(unreadable)?;
        question(&scenario, compiled, Some(self.now))
    }

    /// The same question without the words that a policy set does not know.
    pub fn known_to(&self, compiled: &Compiled) -> Witness {
        let known = |kind: WordKind, list: &[Arc<str>]| -> Vec<Arc<str>> {
            list.iter().filter(|word| compiled.words.find(kind, word).is_some()).cloned().collect()
        };
        let spot = match &self.spot {
            Spot::Location { id, country, provider, certs, zones, at_home } => Spot::Location {
                id: id.clone(),
                country: *country,
                provider: *provider,
                certs: known(WordKind::Cert, certs),
                zones: known(WordKind::Zone, zones),
                at_home: *at_home,
            },
            reader => reader.clone(),
        };
        Witness {
            mechanisms: known(WordKind::Mechanism, &self.mechanisms),
            attrs: known(WordKind::Attr, &self.attrs),
            tags: known(WordKind::Tag, &self.tags),
            spot,
            ..self.clone()
        }
    }

    /// Attributes by name: those with values are lists.
    fn attrs(&self) -> Map<String, Value> {
        let mut lists: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        let mut attrs = Map::new();
        for attr in &self.attrs {
            match attr.split_once('=') {
                Some((name, value)) => lists.entry(name).or_default().push(value),
                None => {
                    attrs.insert(attr.to_string(), json!(true));
                }
            }
        }
        attrs.extend(lists.into_iter().map(|(name, values)| (name.to_owned(), json!(values))));
        attrs
    }
}

fn words(list: &[Arc<str>]) -> Vec<&str> {
    list.iter().map(|word| &**word).collect()
}

impl fmt::Display for Witness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let codes = |countries: &[Country]| {
            let list = countries.iter().map(|country| country.code());
            list.collect::<Vec<_>>().join(", ")
        };
        write!(f, "{} of ", self.action.name())?;
        match (self.classes.as_slice(), self.scanned) {
            ([], true) => f.write_str("what nobody labelled")?,
            ([], false) => f.write_str("what nobody labelled and was not scanned to its end")?,
            (classes, _) => {
                let names: Vec<_> = classes.iter().map(|class| class.name()).collect();
                f.write_str(&names.join(" + "))?;
            }
        }
        match self.subjects.as_slice() {
            [] => f.write_str(" about unknown subjects")?,
            subjects => write!(f, " about people of {}", codes(subjects))?,
        }
        match &self.spot {
            Spot::Location { id, country, provider, certs, zones, at_home } => {
                match id {
                    Some(id) => write!(f, " to location {id} in {country}")?,
                    None => write!(f, " to a location in {country}")?,
                }
                if provider != country {
                    write!(f, " of a provider from {provider}")?;
                }
                for (name, list) in [("certified for", certs), ("in the zones", zones)] {
                    if !list.is_empty() {
                        write!(f, ", {name} {}", words(list).join(", "))?;
                    }
                }
                if !at_home {
                    f.write_str(", not the bucket's home")?;
                }
            }
            Spot::Reader { country, entity } => match entity {
                ReaderEntity::Same => write!(f, " by the operator's own staff in {country}")?,
                ReaderEntity::Other => write!(f, " by others in {country}")?,
                ReaderEntity::Authority => write!(f, " by an authority of {country}")?,
            },
        }
        match self.established {
            Some(country) => write!(f, "; the operator is established in {country}")?,
            None => f.write_str("; the operator does not say where it is established")?,
        }
        if !self.tags.is_empty() {
            write!(f, " and is {}", words(&self.tags).join(", "))?;
        }
        for (name, list) in [
            ("collected in", &self.collected_in),
            ("for a service in", &self.service_in),
            ("keys in", &self.key_countries),
            ("copies held in", &self.held_in),
        ] {
            if !list.is_empty() {
                write!(f, "; {name} {}", codes(list))?;
            }
        }
        if let Some(origin) = self.origin {
            write!(f, "; the client is in {origin}")?;
        }
        for (name, list) in [("mechanisms", &self.mechanisms), ("attributes", &self.attrs)] {
            if !list.is_empty() {
                write!(f, "; {name} {}", words(list).join(", "))?;
            }
        }
        for (name, count) in COUNTS.iter().zip(self.counts).filter(|(_, count)| *count > 0) {
            write!(f, "; {name} {count}")?;
        }
        if self.sensitive_counted {
            f.write_str("; people with sensitive data were counted")?;
        }
        Ok(())
    }
}
