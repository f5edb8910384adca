//! The catalogue: where objects rest. Keyed by keyed hashes of names, so that it holds no names.
//!
//! One trait; a placement and its log entries are one transaction. The answers are durable when they return.

pub mod sqlite;

use futures_util::future::BoxFuture;

use crate::label::{ClassSet, Coverage, Evidence};
use crate::log::EntryDraft;
use crate::names::{Country, CountrySet, LocationId};

/// HMAC-SHA-256 of bucket and key under the catalogue's name key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectHandle(pub [u8; 32]);

/// HMAC-SHA-256 of a bucket name under the catalogue's name key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BucketHandle(pub [u8; 32]);

/// A random 128-bit id of an object, which the placement log shows instead of its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ObjectId(pub [u8; 16]);

/// Where an object rests, under which labels and which decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    pub object: ObjectId,
    pub location: LocationId,
    pub classes: ClassSet,
    pub subjects: CountrySet,
    pub coverage: Coverage,
    pub evidence: Vec<Evidence>,
    /// The location's ETag and version id of the write that this row labels.
    pub etag: String,
    pub version: Option<String>,
    pub size: u64,
    /// Hash of the policy set, and the ids of the rules that decided.
    pub policy: String,
    pub rules: Vec<String>,
    pub obligations: Vec<String>,
    /// Milliseconds since the Unix epoch.
    pub placed_at: u64,
}

/// A bucket as the gateway knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bucket {
    pub name: String,
    pub home: Option<LocationId>,
    /// The `LocationConstraint` that the creator sent: a label source.
    pub constraint: Option<String>,
    /// The country that the constraint declares as the subjects' country.
    pub subject: Option<Country>,
    pub owner: String,
    pub created_at: u64,
}

/// A write that was begun and has not been settled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intent {
    pub id: u64,
    pub handle: ObjectHandle,
    /// Names, so that a restart can ask the location; kept sealed.
    pub bucket: String,
    pub key: String,
    pub kind: IntentKind,
    /// What the placement would be; its `etag` and `size` are filled in from the location's answer.
    pub placement: Placement,
    pub draft: EntryDraft,
    pub begun_at: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IntentKind {
    Put,
    Copy,
    CompleteUpload,
    Delete,
}

/// A copy that still lies where the placement no longer says it should.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Residue {
    pub id: u64,
    pub object: ObjectId,
    pub handle: ObjectHandle,
    pub bucket: String,
    pub key: String,
    pub location: LocationId,
    pub etag: String,
    pub version: Option<String>,
    pub since: u64,
}

/// Proof of a durable log entry: the log's origin and the entry's index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    pub origin: String,
    pub index: u64,
}

impl std::fmt::Display for Receipt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{};{}", self.origin, self.index)
    }
}

/// The outcome of a recorded write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    pub receipt: Receipt,
    pub placement: Placement,
    /// What the write displaced elsewhere; already listed as residue.
    pub displaced: Option<Residue>,
}

/// A settled write, to be recorded.
#[derive(Debug, Clone)]
pub struct WriteRecord {
    pub intent: u64,
    pub handle: ObjectHandle,
    pub bucket: String,
    pub key: String,
    pub placement: Placement,
    pub draft: EntryDraft,
}

/// A catalogue that did not do what it was asked. The request is refused with 503.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CatalogueError {
    #[error("the catalogue cannot be used: {0}")]
    Unavailable(String),
    #[error("the catalogue did not become durable within {0} ms")]
    TooSlow(u64),
    #[error("the catalogue holds a record that cannot be read: {0}")]
    Corrupt(String),
}

pub type Answer<'a, T> = BoxFuture<'a, Result<T, CatalogueError>>;

/// Where objects rest. Every method that changes something returns when the change is durable.
pub trait Catalogue: Send + Sync {
    fn object_handle(&self, bucket: &str, key: &str) -> ObjectHandle;
    fn bucket_handle(&self, bucket: &str) -> BucketHandle;

    fn find(&self, handle: ObjectHandle) -> Answer<'_, Option<Placement>>;
    /// The location and ETag of many objects at once, in the order asked.
    fn find_many<'a>(&'a self, handles: &'a [ObjectHandle]) -> Answer<'a, Vec<Option<(LocationId, String)>>>;

    /// Durable before the first byte of a write leaves. Fills in `id`; takes over the object id of an existing placement.
    fn open_intent(&self, intent: Intent) -> Answer<'_, Intent>;
    /// The write did not happen; nothing else changes.
    fn drop_intent(&self, id: u64) -> Answer<'_, ()>;
    /// Intents that a crash or a lost location left open.
    fn open_intents(&self) -> Answer<'_, Vec<Intent>>;

    /// One transaction: placement, `write` entry, residue of what it displaces elsewhere, end of the intent.
    fn record_write(&self, write: WriteRecord) -> Answer<'_, Recorded>;
    /// One transaction: end of the placement, `delete` entry, end of the intent.
    fn record_delete(&self, intent: u64, handle: ObjectHandle, draft: EntryDraft) -> Answer<'_, Receipt>;
    /// An entry that changes no placement: a refusal, a read across a border, a policy change.
    fn record_event(&self, draft: EntryDraft) -> Answer<'_, Receipt>;

    fn residues(&self, limit: usize) -> Answer<'_, Vec<Residue>>;
    /// One transaction: end of the residue and its `remove` entry.
    fn record_removal(&self, residue: u64, draft: EntryDraft) -> Answer<'_, Receipt>;

    fn create_bucket(&self, bucket: Bucket) -> Answer<'_, bool>;
    fn find_bucket(&self, handle: BucketHandle) -> Answer<'_, Option<Bucket>>;
    fn delete_bucket(&self, handle: BucketHandle) -> Answer<'_, ()>;
    fn buckets(&self) -> Answer<'_, Vec<Bucket>>;
    /// Objects that the catalogue places in this bucket, up to `limit`.
    fn count_in_bucket(&self, handle: BucketHandle, limit: usize) -> Answer<'_, usize>;
}
