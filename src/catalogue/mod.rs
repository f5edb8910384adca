//! The catalogue: where objects rest. Keyed by keyed hashes of names, so that it holds no names.
//!
//! One trait; a placement and its log entries are one transaction. The answers are durable when they return.

#[cfg(test)]
mod conformance;
pub mod sqlite;

use std::collections::BTreeSet;

use futures_util::future::BoxFuture;

use crate::label::{ClassSet, Coverage, Evidence};
use crate::log::EntryDraft;
use crate::log::entry::Entry;
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

impl ObjectId {
    /// A new id, for an object that the catalogue may not know yet.
    pub fn random() -> Self {
        ObjectId(crate::random::bytes())
    }
}

/// Where an object rests, under which labels and which decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    pub object: ObjectId,
    pub location: LocationId,
    pub classes: ClassSet,
    pub subjects: CountrySet,
    pub coverage: Coverage,
    pub evidence: Vec<Evidence>,
    /// The location's ETag and version id of the write that this row labels. Where versions are kept, `None` is the
    /// version that S3 calls `null`.
    pub etag: String,
    pub version: Option<String>,
    /// Place among the versions of its key, by commits: the newest has the greatest, the first has 1. 0 before it is recorded.
    pub order: u64,
    pub size: u64,
    /// Hash of the policy set, and the ids of the rules that decided.
    pub policy: String,
    pub rules: Vec<String>,
    pub obligations: Vec<String>,
    /// Milliseconds since the Unix epoch.
    pub placed_at: u64,
}

/// Where an object rests, without its name: for questions about all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resting {
    /// Where to go on from.
    pub row: i64,
    pub bucket: BucketHandle,
    pub location: LocationId,
    pub classes: ClassSet,
    pub subjects: CountrySet,
    pub coverage: Coverage,
    pub size: u64,
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
    pub versioning: Versioning,
    pub object_lock: ObjectLock,
    /// Where the bucket is, with all its settings. `None` where nobody kept account of it: then it is taken to be in all locations.
    pub places: Option<BTreeSet<LocationId>>,
}

impl Bucket {
    /// Whether an object of the bucket may be stored in a location.
    pub fn is_in(&self, location: &LocationId) -> bool {
        self.places.as_ref().is_none_or(|places| places.contains(location))
    }
}

/// Whether objects of a bucket can be locked. For ever what it was when the bucket was created.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ObjectLock {
    #[default]
    Without,
    Enabled,
}

/// Whether a bucket keeps the versions of its objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Versioning {
    #[default]
    Never,
    /// It was asked for, but not all locations have confirmed it. Clients are told `Never`; what a location that has
    /// begun to keep versions says of its answers counts.
    Partly,
    Enabled,
    Suspended,
}

impl Versioning {
    /// Whether an object of the bucket may have more than one version.
    pub fn keeps(self) -> bool {
        self != Versioning::Never
    }
}

/// A version of an object in a bucket that keeps them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    pub kind: VersionKind,
    pub is_latest: bool,
    /// Of a delete marker: where it rests, without ETag and size.
    pub placement: Placement,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VersionKind {
    Object,
    DeleteMarker,
}

/// Which version of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    Newest,
    /// The one that S3 calls `null`; there is one at most over all locations.
    Null,
    Id(VersionAt),
}

/// A version as its location knows it. `id` is `None` for the one that S3 calls `null`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionAt {
    pub location: LocationId,
    pub id: Option<String>,
}

impl From<VersionAt> for Which {
    fn from(at: VersionAt) -> Self {
        if at.id.is_some() { Which::Id(at) } else { Which::Null }
    }
}

/// What the catalogue says of a version that a location lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    pub kind: VersionKind,
    pub is_latest: bool,
    pub order: u64,
}

/// A setting of a bucket. The first two the gateway carries out itself; the others all locations do, and they are kept here for
/// a location that is added later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Setting {
    Cors,
    Tagging,
    Encryption,
    Lifecycle,
    ObjectLock,
    OwnershipControls,
    PublicAccessBlock,
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
    /// Of the object, or of its current version by a delete marker.
    Delete,
    /// Of the one version that the placement names.
    DeleteVersion,
    /// The same bytes get more labels.
    Relabel,
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

/// Whether the copy behind a residue may be removed now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// Yes, until the moment that was asked for: no write of that key to that location begins before it.
    Granted,
    /// A write of the same key to the same location is under way: a removal could hit the new bytes. Ask again later.
    WriteUnderWay,
    /// The residue is not listed any more: removed, or overwritten by a newer write.
    Gone,
}

/// What a late finding said about an object whose write it aborted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    pub classes: ClassSet,
    pub subjects: CountrySet,
}

/// One log entry of an object's history, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryLine {
    pub receipt: Receipt,
    pub entry: Entry,
}

/// A settled write, to be recorded. A placement that has its `order` already is a version that there is, under new labels.
#[derive(Debug, Clone)]
pub struct WriteRecord {
    pub intent: u64,
    pub handle: ObjectHandle,
    pub bucket: String,
    pub key: String,
    pub placement: Placement,
    pub draft: EntryDraft,
}

/// An open write that landed, but after which a newer one was recorded elsewhere.
#[derive(Debug, Clone)]
pub struct Stray {
    pub intent: u64,
    pub bucket: String,
    pub key: String,
    /// Of what the write left at its location.
    pub etag: String,
    pub version: Option<String>,
}

/// A catalogue that did not do what it was asked. The request is refused with 503.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CatalogueError {
    #[error("the catalogue cannot be used: {0}")]
    Unavailable(String),
    /// The change was handed over and may still land; nobody was told that it did.
    #[error("the catalogue did not become durable within {0} ms")]
    TooSlow(u64),
    #[error("the catalogue holds a record that cannot be read: {0}")]
    Corrupt(String),
    /// The intent was dropped or settled before, so this write is no longer the catalogue's to record.
    #[error("write intent {0} is not open")]
    Settled(u64),
    /// A write must go where its intent said, or removals there would not know of it.
    #[error("write intent {0} was opened for another object or location")]
    OtherIntent(u64),
    #[error("residue {0} is not listed")]
    NoResidue(u64),
    /// The key is being removed from the very location that a write wants to use.
    #[error("the location is just being cleared of an older copy of this key; try again in a moment")]
    RemovalUnderWay,
    #[error("{what} has {bytes} bytes; the catalogue takes {limit}")]
    TooLarge { what: &'static str, bytes: usize, limit: usize },
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
    /// Fails with `RemovalUnderWay` while a removal of the same key from the same location is claimed.
    fn open_intent(&self, intent: Intent) -> Answer<'_, Intent>;
    /// The write did not happen; nothing else changes.
    fn drop_intent(&self, id: u64) -> Answer<'_, ()>;
    /// One transaction: the write will never count, and what it may have left at its location is listed as residue, of
    /// an unknown ETag. Nothing changes when the intent is not open any more. The names are those it was opened with.
    fn give_up_intent(&self, id: u64, bucket: String, key: String) -> Answer<'_, ()>;
    /// The open intents of one object, those of requests under way among them, and where they write.
    fn open_writes_of(&self, handle: ObjectHandle) -> Answer<'_, Vec<(u64, LocationId)>>;
    /// Intents that a crash or a lost location left open.
    fn open_intents(&self) -> Answer<'_, Vec<Intent>>;
    /// Those of one object.
    fn open_intents_of(&self, handle: ObjectHandle) -> Answer<'_, Vec<Intent>>;

    /// One transaction: placement, `write` entry, residue of what it displaces elsewhere, end of the intent. In a bucket
    /// that keeps versions, the version before it stays placed, unless both are the version `null`.
    /// Fails with `Settled` when the intent is not open any more, and with `OtherIntent` when it was opened for another
    /// object or location: a write that is redirected drops its intent and opens a new one. A residue of the same key at the location that the
    /// write went to is dropped, for the write replaced those bytes; unless it names another version, which still lies there.
    fn record_write(&self, write: WriteRecord) -> Answer<'_, Recorded>;
    /// One transaction: end of the intent, and its bytes as residue of the location that it was opened for. Fails with
    /// `Settled` like `record_write`, and with `OtherIntent` when the object is placed in that very location, where
    /// nothing can be stray.
    fn record_stray(&self, stray: Stray) -> Answer<'_, Residue>;
    /// One transaction: end of the placement, `delete` entry, end of the intent.
    fn record_delete(&self, intent: u64, handle: ObjectHandle, draft: EntryDraft) -> Answer<'_, Receipt>;
    /// One transaction: a delete marker becomes the newest version, `delete` entry, end of the intent. What the marker
    /// hides stays placed; only a `null` version that it replaces is gone, and residue where it lay elsewhere.
    fn record_marker(&self, marker: WriteRecord) -> Answer<'_, Recorded>;
    /// One transaction: end of one version, `delete` entry, end of the intent; the next older version is the newest
    /// then. That the version is not known (any more) is no error.
    fn record_version_removal(
        &self,
        intent: u64,
        handle: ObjectHandle,
        version: VersionAt,
        draft: EntryDraft,
    ) -> Answer<'_, Receipt>;
    /// One transaction: end of a version whose bytes are gone from their location without the gateway, and its `delete`
    /// entry; the next older version is the newest then. `None`, and no change, when the catalogue does not have this very version
    /// any more, or while an intent of the key is open: that may be about these bytes.
    fn record_vanished(
        &self,
        handle: ObjectHandle,
        placement: Placement,
        draft: EntryDraft,
    ) -> Answer<'_, Option<Receipt>>;
    /// A version, or a delete marker.
    fn find_version(&self, handle: ObjectHandle, which: Which) -> Answer<'_, Option<Version>>;
    /// What is known of versions that locations list, in the order asked.
    fn find_versions(&self, asked: Vec<(ObjectHandle, VersionAt)>) -> Answer<'_, Vec<Option<Known>>>;
    /// All versions of an object, newest first.
    fn versions(&self, handle: ObjectHandle) -> Answer<'_, Vec<Version>>;
    /// In each location that has one: the oldest version of the object that is not older than `order`.
    fn versions_from(&self, handle: ObjectHandle, order: u64) -> Answer<'_, Vec<VersionAt>>;

    /// An entry that changes no placement: a refusal, a read across a border, a policy change.
    fn record_event(&self, draft: EntryDraft) -> Answer<'_, Receipt>;

    fn residues(&self, limit: usize) -> Answer<'_, Vec<Residue>>;
    /// Those of one key.
    fn residues_of(&self, handle: ObjectHandle) -> Answer<'_, Vec<Residue>>;
    /// To be asked, and granted, before the bytes behind a residue are removed. `until` is in milliseconds since the Unix
    /// epoch; the removal must be over by then. A residue with a version id hinders no write and no write hinders it.
    fn claim_removal(&self, residue: u64, until: u64) -> Answer<'_, Claim>;
    /// One transaction: end of the residue and its `remove` entry, in the log of the place that was cleared. The
    /// object, the names and, after a move across a border, the transfer id are filled in from the residue.
    fn record_removal(&self, residue: u64, draft: EntryDraft) -> Answer<'_, Receipt>;

    fn create_bucket(&self, bucket: Bucket) -> Answer<'_, bool>;
    fn find_bucket(&self, handle: BucketHandle) -> Answer<'_, Option<Bucket>>;
    fn delete_bucket(&self, handle: BucketHandle) -> Answer<'_, ()>;
    fn set_versioning(&self, handle: BucketHandle, versioning: Versioning) -> Answer<'_, ()>;
    /// Keeps account of where a bucket is.
    fn set_places(&self, handle: BucketHandle, places: BTreeSet<LocationId>) -> Answer<'_, ()>;
    fn buckets(&self) -> Answer<'_, Vec<Bucket>>;
    /// Keeps a setting of a bucket, or forgets it. It ends with its bucket.
    fn set_setting(&self, bucket: BucketHandle, setting: Setting, document: Option<String>)
    -> Answer<'_, ()>;
    fn setting(&self, bucket: BucketHandle, setting: Setting) -> Answer<'_, Option<String>>;
    /// Up to `limit` objects, versions and delete markers of this bucket.
    fn placed_in(&self, bucket: BucketHandle, limit: usize) -> Answer<'_, Vec<(ObjectHandle, Placement)>>;
    /// Objects, versions and delete markers that the catalogue places in this bucket, up to `limit`.
    fn count_in_bucket(&self, handle: BucketHandle, limit: usize) -> Answer<'_, usize>;

    /// Remembers a late finding, so that the client's retry is placed by it. Adds to what is remembered already.
    /// `until` is in milliseconds since the Unix epoch.
    fn remember_verdict(&self, handle: ObjectHandle, verdict: Verdict, until: u64) -> Answer<'_, ()>;
    fn verdict(&self, handle: ObjectHandle) -> Answer<'_, Option<Verdict>>;

    /// The entries of an object in all logs that this catalogue keeps, by time, the newest `limit` of them.
    fn history(&self, object: ObjectId, limit: usize) -> Answer<'_, Vec<HistoryLine>>;
}
