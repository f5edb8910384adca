//! The words of a scenario's line, as they are written.

use serde::Deserialize;

use crate::names::{Country, ReaderEntity};

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OperatorWord {
    pub country: Option<Country>,
    #[serde(alias = "sectors")]
    pub sector: OneOrMany,
    pub ciio: bool,
    pub public_body: bool,
    pub tags: OneOrMany,
}

/// A word, several, or none.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(untagged)]
pub enum OneOrMany {
    #[default]
    None,
    One(String),
    Many(Vec<String>),
}

impl OneOrMany {
    pub fn iter(&self) -> impl Iterator<Item = &str> {
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
pub enum MechanismWord {
    Kind(String),
    Paper(Paper),
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Paper {
    #[serde(rename = "type")]
    pub kind: String,
    #[serde(default)]
    pub valid_until: Option<String>,
    /// Countries, blocs (`@EEA`), or `*`.
    #[serde(default)]
    pub destinations: OneOrMany,
    #[serde(default)]
    #[allow(dead_code, reason = "papers have numbers; nothing is decided by them")]
    pub reference: Option<String>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub enum ActionWord {
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
pub struct TargetWord {
    pub country: Option<Country>,
    pub region: Option<String>,
    pub zones: OneOrMany,
    pub certs: OneOrMany,
    pub provider_owner: Option<Country>,
    /// A country, or `unknown`.
    pub reader_country: Option<String>,
    pub reader_entity: Option<ReaderEntity>,
}
