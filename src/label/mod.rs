//! Labels: what an object holds and whom it is about, each with the evidence for it.
//!
//! Labels only add up: a source can add a class or a subject country, none can take one away.

pub mod class;
mod detectors;
pub mod scanner;
pub mod sources;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use class::{ClassSet, DataClass};
pub use scanner::Scanner;
pub use sources::LabelError;

use crate::names::{Country, CountrySet};

/// The labels of one object.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Labels {
    pub classes: ClassSet,
    pub subjects: CountrySet,
    pub coverage: Coverage,
    pub evidence: Vec<Evidence>,
}

/// How much of the content the detectors have seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Coverage {
    /// Not to the end, or not at all.
    #[default]
    Partial,
    /// Every byte.
    Complete,
}

/// One reason for one label.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    pub source: Source,
    pub label: Label,
    /// In plain words, without content, names or addresses: it goes into the placement log.
    pub detail: String,
}

/// What a piece of evidence asserts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Label {
    Class(DataClass),
    Subject(Country),
}

/// Where a label came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// The object's own tags.
    Tag,
    /// The bucket's `LocationConstraint`.
    Bucket,
    /// A rule of the configuration, by id.
    Rule(String),
    /// The country of the client's address.
    Geo,
    /// The source of a copy.
    Copy,
    /// What an earlier upload of the same object turned out to hold.
    Earlier,
    /// A content detector, by id.
    Detector(String),
}

impl Labels {
    /// Adds one label with its evidence; the same evidence is kept once.
    pub fn add(&mut self, evidence: Evidence) {
        match evidence.label {
            Label::Class(class) => self.classes.insert(class),
            Label::Subject(country) => self.subjects.insert(country),
        }
        if !self.evidence.contains(&evidence) {
            self.evidence.push(evidence);
        }
    }

    /// Nobody and nothing said what the object holds.
    pub fn is_unlabelled(&self) -> bool {
        self.classes.is_empty()
    }
}

/// `personal.health: object tag` and the like, for people.
impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.label {
            Label::Class(class) => write!(f, "{class}")?,
            Label::Subject(country) => write!(f, "{country}")?,
        }
        match &self.source {
            Source::Tag => f.write_str(" by the object's tags")?,
            Source::Bucket => f.write_str(" by the bucket's LocationConstraint")?,
            Source::Rule(id) => write!(f, " by rule {id}")?,
            Source::Geo => f.write_str(" by the client's country")?,
            Source::Copy => f.write_str(" by the copy's source")?,
            Source::Earlier => f.write_str(" by an earlier upload")?,
            Source::Detector(id) => write!(f, " by detector {id}")?,
        }
        if self.detail.is_empty() { Ok(()) } else { write!(f, ": {}", self.detail) }
    }
}

/// `personal.health,personal;CN,DE`: the form of the `x-domicile-labels` header. `unlabelled` when there is no class.
impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_unlabelled() {
            f.write_str("unlabelled")?;
        }
        for (n, class) in self.classes.iter().enumerate() {
            write!(f, "{}{class}", if n == 0 { "" } else { "," })?;
        }
        for (n, country) in self.subjects.iter().enumerate() {
            write!(f, "{}{country}", if n == 0 { ";" } else { "," })?;
        }
        Ok(())
    }
}
