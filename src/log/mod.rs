//! The placement log: entries, tiles, checkpoints. One log for each jurisdiction, node and epoch.

pub mod checkpoint;
pub mod entry;
pub mod keys;
pub mod merkle;
pub mod tiles;
pub mod verify;

use crate::catalogue::ObjectId;
use crate::label::ClassSet;
use crate::names::{Country, CountrySet};

/// What happened. The words of the log's `ev` field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Event {
    Write,
    Delete,
    Read,
    Refuse,
    Remove,
    Policy,
    LogOpen,
    Recovered,
}

/// An entry before the log gives it its index, nonce, salt, time and predecessor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryDraft {
    pub event: Event,
    /// Which jurisdiction's log it belongs to.
    pub jurisdiction: Country,
    /// `None` for events that concern no object; filled in by the catalogue for writes.
    pub object: Option<ObjectId>,
    pub classes: ClassSet,
    pub subjects: CountrySet,
    pub decision: DecisionFacts,
    pub from: Vec<Place>,
    pub to: Vec<Place>,
    /// Shared by the entries of an exporter's and an importer's log.
    pub transfer: Option<[u8; 16]>,
    pub request: String,
    /// Goes into the sealed sidecar only, never into the entry.
    pub sealed: SealedFacts,
}

/// A location as entries show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub location: String,
    pub country: Country,
    pub region: String,
}

/// The decision as entries show it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DecisionFacts {
    /// `allow` or `deny`; empty where no policy was asked.
    pub effect: String,
    pub rules: Vec<String>,
    pub obligations: Vec<String>,
    pub mechanisms: Vec<String>,
    /// Hash of the policy set.
    pub policy: String,
}

/// Names: personal data.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct SealedFacts {
    pub bucket: Option<String>,
    pub key: Option<String>,
    pub version: Option<String>,
    pub etag: Option<String>,
    pub principal: Option<String>,
    pub address: Option<String>,
}

impl std::fmt::Debug for SealedFacts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("<sealed>")
    }
}
