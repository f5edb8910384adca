//! Residency policies: from labels to the locations that may hold an object, with the rules that decided.

use std::sync::Arc;

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
}

/// What a decision demands beyond "allowed", for example `copy-in:RU`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Obligation(pub Arc<str>);
