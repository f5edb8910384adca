//! The TOML files of a policy folder: `pack.toml`, `blocs.toml`, `sensitive.toml` and `words.toml`.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::mechanism::moment;
use crate::label::{ClassSet, DataClass};
use crate::names::{Country, CountrySet};

/// `pack.toml`: what a pack is, whose law it covers, and how far to trust it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct PackManifest {
    pub name: String,
    pub title: String,
    pub version: String,
    /// The day on which the pack's author last looked at the law.
    pub as_of: String,
    pub laws: Vec<String>,
    /// Countries whose law it speaks for; a subject of any other country has no pack.
    pub covers: Vec<Country>,
    pub status: PackStatus,
    pub author: String,
    /// Who of the law has looked at it.
    #[serde(default)]
    pub reviewer: Option<String>,
    /// Who must look at it before it is enforced.
    pub review: String,
    pub sources: Vec<String>,
    /// Provisions that are known and that no rule of the pack enforces.
    #[serde(default)]
    pub not_enforced: Vec<NotEnforced>,
}

/// A provision that no rule enforces, and why.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NotEnforced {
    pub id: String,
    #[serde(default)]
    pub law: String,
    #[serde(default)]
    pub article: String,
    pub reason: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PackStatus {
    InForce,
    Draft,
}

impl PackManifest {
    pub fn parse(text: &str) -> Result<PackManifest, TomlProblem> {
        let manifest: PackManifest = toml::from_str(text).map_err(TomlProblem::from)?;
        match moment(&manifest.as_of) {
            Some(_) => Ok(manifest),
            None => Err(TomlProblem::plain(format!("as-of `{}` is not a date", manifest.as_of))),
        }
    }
}

/// A named, dated group of countries.
#[derive(Debug, Clone)]
pub struct Bloc {
    pub name: String,
    members: CountrySet,
    until: Vec<(Country, i64)>,
}

impl Bloc {
    /// Whether `country` belongs to it at this moment (seconds since the Unix epoch).
    pub fn contains(&self, country: Country, now: i64) -> bool {
        self.members.contains(country) && !self.until.iter().any(|(c, end)| *c == country && *end <= now)
    }

    /// Who belongs to it at this moment.
    pub fn members(&self, now: i64) -> CountrySet {
        self.members.iter().filter(|country| self.contains(*country, now)).collect()
    }

    /// The moments at which its membership changes.
    pub fn changes(&self) -> impl Iterator<Item = i64> + '_ {
        self.until.iter().map(|(_, end)| *end)
    }
}

/// Parses `blocs.toml`.
pub fn parse_blocs(text: &str) -> Result<Vec<Bloc>, TomlProblem> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct File {
        bloc: Vec<Entry>,
    }
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields, rename_all = "kebab-case")]
    struct Entry {
        name: String,
        as_of: String,
        members: Vec<Country>,
        #[serde(default)]
        until: BTreeMap<String, String>,
    }
    let file: File = toml::from_str(text).map_err(TomlProblem::from)?;
    let mut blocs: Vec<Bloc> = Vec::with_capacity(file.bloc.len());
    for entry in file.bloc {
        let name = entry.name;
        if blocs.iter().any(|bloc| bloc.name == name) {
            return Err(TomlProblem::plain(format!("bloc `{name}` appears twice")));
        }
        if moment(&entry.as_of).is_none() {
            return Err(TomlProblem::plain(format!("bloc `{name}`: as-of `{}` is not a date", entry.as_of)));
        }
        let members: CountrySet = entry.members.into_iter().collect();
        let mut until = Vec::with_capacity(entry.until.len());
        for (country, end) in entry.until {
            let member = country.parse::<Country>().ok().filter(|country| members.contains(*country));
            let (Some(country), Some(moment)) = (member, moment(&end)) else {
                return Err(TomlProblem::plain(format!(
                    "bloc `{name}`: until `{country} = {end}` must be a member and a date"
                )));
            };
            until.push((country, moment));
        }
        blocs.push(Bloc { name, members, until });
    }
    Ok(blocs)
}

/// What a law takes to be sensitive.
#[derive(Debug, Clone)]
pub struct Regime {
    pub name: String,
    pub classes: ClassSet,
}

/// Parses `sensitive.toml`.
pub fn parse_regimes(text: &str) -> Result<Vec<Regime>, TomlProblem> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct File {
        regime: Vec<Entry>,
    }
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Entry {
        name: String,
        #[allow(dead_code, reason = "for people: the law behind the list")]
        basis: String,
        classes: Vec<DataClass>,
    }
    let file: File = toml::from_str(text).map_err(TomlProblem::from)?;
    let mut regimes: Vec<Regime> = Vec::with_capacity(file.regime.len());
    for entry in file.regime {
        if regimes.iter().any(|regime| regime.name == entry.name) {
            return Err(TomlProblem::plain(format!("regime `{}` appears twice", entry.name)));
        }
        // What is called sensitive outright is sensitive under every law.
        let outright = DataClass::known("personal.sensitive");
        let classes = entry.classes.into_iter().chain([outright]).collect();
        regimes.push(Regime { name: entry.name, classes });
    }
    Ok(regimes)
}

/// Another spelling of a word of the schema.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Alias {
    pub kind: WordKind,
    pub word: String,
    pub same: Vec<String>,
}

/// Which enumeration of the schema a word belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WordKind {
    Mechanism,
    Attr,
    Cert,
    Tag,
    Zone,
}

/// Parses `words.toml`.
pub fn parse_aliases(text: &str) -> Result<Vec<Alias>, TomlProblem> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct File {
        #[serde(default)]
        alias: Vec<Alias>,
    }
    let file: File = toml::from_str(text).map_err(TomlProblem::from)?;
    Ok(file.alias)
}

/// What is wrong with a TOML file, and where.
#[derive(Debug)]
pub struct TomlProblem {
    pub message: String,
    /// Byte offset in the file, when the parser knows it.
    pub offset: Option<usize>,
}

impl TomlProblem {
    pub fn plain(message: String) -> TomlProblem {
        TomlProblem { message, offset: None }
    }
}

impl From<toml::de::Error> for TomlProblem {
    fn from(error: toml::de::Error) -> TomlProblem {
        TomlProblem { message: error.message().to_owned(), offset: error.span().map(|span| span.start) }
    }
}
