//! Residency policies: from labels to the locations that may hold an object, with the rules that decided.
//!
//! [`source`] finds the pack files, [`compiled`] makes one checked policy set of them, [`snapshot`] ties it to
//! this operator's locations and mechanisms for a span of time, and [`Engine`] answers from the current one.
//! [`decision`] is what comes out: a [`Decision`], and the permits that the rest of the gateway needs to move a
//! byte. [`check`], [`cases`] and [`explain`] are the same machinery for people.
//!
//! Not here: where labels come from, and which of the allowed locations is chosen.

mod asking;
pub mod cases;
pub mod check;
pub mod compiled;
pub mod decision;
mod engine;
mod entities;
pub mod explain;
mod lower;
mod manifest;
mod mechanism;
mod memo;
mod snapshot;
pub mod source;
#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use decision::{Decision, LocationSet, Permit, ReadPermit, Refusal};
pub use engine::Engine;
pub use mechanism::MechanismUse;
pub use source::PackSource;

use crate::label::ClassSet;
use crate::names::{AppId, BucketName, Country, CountrySet, LocationId};

/// What is asked of the policies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// First arrival of bytes at a location.
    Store,
    /// A further copy.
    Replicate,
    /// A move.
    Relocate,
    /// Bytes leave a location towards a reader.
    Read,
}

impl Action {
    /// The word for it in policies, cases and the command line's JSON.
    pub fn name(self) -> &'static str {
        match self {
            Action::Store => "Store",
            Action::Replicate => "Replicate",
            Action::Relocate => "Relocate",
            Action::Read => "Read",
        }
    }
}

/// One question: may these bytes arrive there?
#[derive(Debug, Clone)]
pub struct Question<'a> {
    pub action: Action,
    pub classes: ClassSet,
    pub subjects: CountrySet,
    /// Whether the content is known to its end; see [`crate::label::Coverage`].
    pub scanned_completely: bool,
    pub bucket: &'a BucketName,
    pub app: &'a AppId,
    /// The bucket's home location, if it has one.
    pub home: Option<&'a LocationId>,
    /// Where the client is, if that is known.
    pub origin: Option<Country>,
    /// Countries that already hold a durable copy.
    pub held_in: CountrySet,
    /// For `Read`: the reader's country; `None` is unknown.
    pub reader: Option<Country>,
}

/// SHA-256 of a policy set with its schema, in lower-case hex.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PolicyHash(pub Arc<str>);

/// One rule that took part in a decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    pub id: Arc<str>,
    pub law: Arc<str>,
    pub article: Arc<str>,
    /// In plain words.
    pub explain: Arc<str>,
    /// What a person can do when this rule refuses.
    pub remedy: Arc<str>,
    /// How sure the pack's author is of the law behind it: `high`, `medium` or `low`.
    pub confidence: Arc<str>,
    /// The pack that it came from.
    pub pack: Arc<str>,
}

impl Rule {
    /// `CN-CSL-39 (Cybersecurity Law, Art. 39)`.
    pub fn citation(&self) -> String {
        format!("{} ({}, {})", self.id, self.law, self.article)
    }
}

/// What a decision demands beyond "allowed", for example `copy-in:RU`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Obligation(pub Arc<str>);

/// Why the policies could not be loaded or asked. Whatever it is, nothing is allowed.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    #[error("cannot read policies at {path}: {source}")]
    Read { path: String, source: std::io::Error },
    #[error("{path}: {message}")]
    Layout { path: String, message: String },
    #[error("the policies cannot be used:\n{0}")]
    Invalid(check::Problems),
    #[error(
        "location {location}: `{word}` is not a certification that the policy schema knows; it knows {known}"
    )]
    UnknownCertification { location: LocationId, word: String, known: String },
    #[error("mechanism `{word}` is not one that the policy schema knows; it knows {known}")]
    UnknownMechanism { word: String, known: String },
    #[error("mechanism `{kind}`: valid-until `{text}` is not an RFC 3339 date or date-time")]
    MechanismDate { kind: String, text: String },
    #[error("operator.sector `{word}` is not one that the policy schema knows; it knows {known}")]
    UnknownSector { word: String, known: String },
    #[error("location {0} appears twice")]
    DuplicateLocation(LocationId),
    #[error("the policy schema does not fit this version: {0}")]
    Schema(String),
    #[error("a question could not be put to the policies: {0}")]
    Question(String),
    #[error("a lowered rule answered otherwise than Cedar; nothing is decided with this policy set")]
    Disagreement,
    #[error("`{0}` is not a configured location")]
    UnknownLocation(LocationId),
}
