//! Residency policies: from labels to the locations that may hold an object, with the rules that decided.
//!
//! [`source`] finds the pack files, [`compiled`] makes one checked policy set of them, [`snapshot`] ties it to
//! this operator's locations and mechanisms for a span of time, and [`Engine`] answers from the current one.
//! [`decision`] is what comes out: a [`Decision`], and the permits that the rest of the gateway needs to move a
//! byte. [`check`], [`cases`] and [`explain`] are the same machinery for people.
//!
//! Not here: where labels come from, and which of the allowed locations is chosen.

pub mod activation;
mod alike;
mod applies;
mod asking;
pub mod cases;
pub mod check;
pub mod compiled;
pub mod constraint;
pub mod coverage;
pub mod decision;
mod declared;
mod engine;
mod entities;
pub mod explain;
pub mod formatting;
pub mod impact;
pub mod kept;
mod key;
mod lint;
mod lower;
mod manifest;
mod mechanism;
mod memo;
mod oracle;
mod parts;
pub mod prove;
mod rego;
pub mod scenario;
pub mod shadow;
mod snapshot;
pub mod source;
pub mod table;
pub mod template;
#[cfg(test)]
mod tests;
mod words;

use std::sync::Arc;

pub use activation::Activation;
pub use decision::{Decision, LocationSet, Permit, ReadPermit, Refusal};
pub use engine::{Candidate, Engine};
pub use manifest::WordKind;
pub use mechanism::{MechanismUse, moment};
pub use snapshot::Setting;

pub use crate::names::ReaderEntity;
pub use source::PackSource;

use crate::label::ClassSet;
use crate::names::{BucketName, Country, CountrySet, LocationId};

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
    /// The chosen set of copies stands for an object; those held already are among them.
    Commit,
}

impl Action {
    /// The word for it in policies, cases and the command line's JSON.
    pub fn name(self) -> &'static str {
        match self {
            Action::Store => "Store",
            Action::Replicate => "Replicate",
            Action::Relocate => "Relocate",
            Action::Read => "Read",
            Action::Commit => "Commit",
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
    /// `None` where no bucket in particular is asked about.
    pub bucket: Option<&'a BucketName>,
    /// The bucket's home location, if it has one.
    pub home: Option<&'a LocationId>,
    /// Where the client is, if that is known.
    pub origin: Option<Country>,
    /// Countries that already hold a durable copy.
    pub held_in: CountrySet,
    /// For `Read`: the reader's country; `None` is unknown.
    pub reader: Option<Country>,
    /// For `Read`: whose staff or systems read.
    pub reader_entity: ReaderEntity,
    pub copies: Copies,
}

/// Whether copies beside the one that is asked about will follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Copies {
    /// Others follow: what they must be is an obligation.
    #[default]
    MayFollow,
    /// None follow: a place where a copy elsewhere would still be missing is refused (`Commit`).
    Complete,
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
    /// The provision that it carries out; a provision may take several rules.
    pub part_of: Arc<str>,
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

impl Obligation {
    /// As it is due for bytes that arrive in `country`: `{target}` stands for that country.
    pub fn at(&self, country: Country) -> Obligation {
        if !self.0.contains(TARGET) {
            return self.clone();
        }
        Obligation(self.0.replace(TARGET, country.code()).into())
    }

    /// Whether it concerns where copies rest. The others are about keeping, and about papers.
    pub fn concerns_copies(&self) -> bool {
        ["copy-in:", "copy-lag:", "delete-abroad:"].iter().any(|verb| self.0.starts_with(verb))
    }
}

const TARGET: &str = "{target}";

/// Why the policies could not be loaded or asked. Whatever it is, nothing is allowed.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    #[error("cannot read policies at {path}: {source}")]
    Read { path: String, source: std::io::Error },
    #[error("cannot write {path}: {source}")]
    Write { path: String, source: std::io::Error },
    #[error("{path}: {message}")]
    Layout { path: String, message: String },
    #[error("the policies cannot be used:\n{0}")]
    Invalid(check::Problems),
    #[error("`{word}` is not a {kind} that the policy schema knows; {help}")]
    UnknownWord { kind: WordKind, word: String, help: String },
    #[error("facts: bucket pattern `{pattern}`: {problem}")]
    BucketPattern { pattern: String, problem: String },
    #[error("location {location}: {problem}")]
    Location { location: LocationId, problem: Box<PolicyError> },
    #[error("mechanism `{kind}`: valid-until `{text}` is not an RFC 3339 date or date-time")]
    MechanismDate { kind: String, text: String },
    #[error("location {0} appears twice")]
    DuplicateLocation(LocationId),
    #[error("the policy schema does not fit this version: {0}")]
    Schema(String),
    #[error("a question could not be put to the policies: {0}")]
    Question(String),
    #[error("a lowered rule answered otherwise than Cedar; nothing is decided with this policy set")]
    Disagreement,
    #[error("the policies do not keep their invariants:\n{0}")]
    Unproved(String),
    #[error(transparent)]
    Activation(#[from] activation::ActivationError),
    #[error(transparent)]
    Kept(#[from] Box<kept::KeptError>),
    #[error("`{0}` is not a configured location")]
    UnknownLocation(LocationId),
}
