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

macro_rules! events {
    ($($(#[$doc:meta])* $name:ident $word:literal),* $(,)?) => {
        /// What happened. The words of the log's `ev` field.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Event { $($(#[$doc])* $name),* }

        impl Event {
            pub const ALL: &[Event] = &[$(Event::$name),*];

            /// The word of the format, for example `move.start`.
            pub fn word(self) -> &'static str {
                match self { $(Event::$name => $word),* }
            }
        }
    };
}

events! {
    Write "write",
    Delete "delete",
    Read "read",
    Refuse "refuse",
    MoveStart "move.start",
    MoveCommit "move.commit",
    /// Displaced bytes were removed.
    Remove "remove",
    Policy "policy",
    Location "location",
    Waiver "waiver",
    BreakGlass "break-glass",
    FindingOpen "finding.open",
    FindingClose "finding.close",
    Erase "erase",
    LogOpen "log.open",
    LogClose "log.close",
    Heartbeat "heartbeat",
    /// A write that a crash or a lost answer left open, settled later.
    Recovered "recovered",
}

/// A word that the format does not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an event of the placement log")]
pub struct UnknownEvent(pub String);

impl std::str::FromStr for Event {
    type Err = UnknownEvent;

    fn from_str(text: &str) -> Result<Self, UnknownEvent> {
        let known = Event::ALL.iter().copied().find(|event| event.word() == text);
        known.ok_or_else(|| UnknownEvent(text.chars().take(80).collect()))
    }
}

impl std::fmt::Display for Event {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.word())
    }
}

/// One log as its readers see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogInfo {
    pub origin: String,
    pub jurisdiction: Country,
    /// How many entries are durable: their indexes are `0..size`.
    pub size: u64,
}

/// The most entries that are read from the catalogue at once.
pub const MAX_ENTRIES_PER_CALL: u64 = 4096;

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

impl EntryDraft {
    /// A draft that says nothing yet beyond what happened and where it is logged.
    pub fn new(event: Event, jurisdiction: Country) -> Self {
        EntryDraft {
            event,
            jurisdiction,
            object: None,
            classes: ClassSet::EMPTY,
            subjects: CountrySet::EMPTY,
            decision: DecisionFacts::default(),
            from: Vec::new(),
            to: Vec::new(),
            transfer: None,
            request: String::new(),
            sealed: SealedFacts::default(),
        }
    }
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
    /// Of a policy set that took effect: who wrote it, who approved it, and why.
    pub author: Option<String>,
    pub approver: Option<String>,
    pub reason: Option<String>,
}

impl SealedFacts {
    pub fn is_empty(&self) -> bool {
        *self == SealedFacts::default()
    }
}

impl std::fmt::Debug for SealedFacts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("<sealed>")
    }
}
