//! Rows and sealed records: how the catalogue's types are written and read.
//!
//! Sets are kept as names, so that a row reads well in a SQLite shell and does not depend on bit positions.
//! What holds names of objects or people has a private mirror type here: the types themselves cannot be serialised by accident.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::str::FromStr;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::super::{
    Bucket, CatalogueError, Intent, IntentKind, ObjectHandle, ObjectId, ObjectLock, Placement, VersionKind,
    Versioning,
};
use crate::label::{ClassSet, Coverage, Evidence};
use crate::log::{DecisionFacts, EntryDraft, Place, SealedFacts};
use crate::names::{Country, CountrySet, LocationId};

/// The longest JSON text of one column or one sealed record.
const MAX_RECORD: usize = 256 << 10;

pub fn corrupt(what: &str) -> CatalogueError {
    CatalogueError::Corrupt(what.to_owned())
}

pub fn join<T: Display>(items: impl Iterator<Item = T>) -> String {
    items.map(|item| item.to_string()).collect::<Vec<_>>().join(",")
}

pub fn split<T: FromStr, C: FromIterator<T>>(what: &str, text: &str) -> Result<C, CatalogueError> {
    let parts = text.split(',').filter(|part| !part.is_empty());
    parts.map(|part| part.parse().map_err(|_| corrupt(what))).collect()
}

pub fn to_json<T: Serialize + ?Sized>(what: &'static str, value: &T) -> Result<String, CatalogueError> {
    let text = serde_json::to_string(value).map_err(|_| corrupt(what))?;
    limited(what, text.len(), MAX_RECORD).map(|()| text)
}

pub fn from_json<T: DeserializeOwned>(what: &str, bytes: &[u8]) -> Result<T, CatalogueError> {
    serde_json::from_slice(bytes).map_err(|_| corrupt(what))
}

pub fn limited(what: &'static str, bytes: usize, limit: usize) -> Result<(), CatalogueError> {
    if bytes > limit { Err(CatalogueError::TooLarge { what, bytes, limit }) } else { Ok(()) }
}

pub fn parse<T: FromStr>(what: &str, text: &str) -> Result<T, CatalogueError> {
    text.parse().map_err(|_| corrupt(what))
}

pub fn fixed<const N: usize>(what: &str, bytes: &[u8]) -> Result<[u8; N], CatalogueError> {
    bytes.try_into().map_err(|_| corrupt(what))
}

/// SQLite's integers are signed.
pub fn integer(what: &'static str, value: u64) -> Result<i64, CatalogueError> {
    i64::try_from(value).map_err(|_| corrupt(what))
}

pub fn unsigned(what: &str, value: i64) -> Result<u64, CatalogueError> {
    u64::try_from(value).map_err(|_| corrupt(what))
}

pub fn coverage_word(coverage: Coverage) -> &'static str {
    match coverage {
        Coverage::Partial => "partial",
        Coverage::Complete => "complete",
    }
}

pub fn coverage_from(word: &str) -> Result<Coverage, CatalogueError> {
    match word {
        "partial" => Ok(Coverage::Partial),
        "complete" => Ok(Coverage::Complete),
        _ => Err(corrupt("coverage")),
    }
}

pub fn versioning_word(versioning: Versioning) -> &'static str {
    match versioning {
        Versioning::Never => "never",
        Versioning::Partly => "partly",
        Versioning::Enabled => "enabled",
        Versioning::Suspended => "suspended",
    }
}

pub fn versioning_from(word: &str) -> Result<Versioning, CatalogueError> {
    match word {
        "never" => Ok(Versioning::Never),
        "partly" => Ok(Versioning::Partly),
        "enabled" => Ok(Versioning::Enabled),
        "suspended" => Ok(Versioning::Suspended),
        _ => Err(corrupt("versioning")),
    }
}

pub fn kind_word(kind: VersionKind) -> &'static str {
    match kind {
        VersionKind::Object => "object",
        VersionKind::DeleteMarker => "marker",
    }
}

pub fn kind_from(word: &str) -> Result<VersionKind, CatalogueError> {
    match word {
        "object" => Ok(VersionKind::Object),
        "marker" => Ok(VersionKind::DeleteMarker),
        _ => Err(corrupt("kind of version")),
    }
}

/// Names of one object, as a residue keeps them.
#[derive(Serialize, Deserialize)]
pub struct Names {
    pub bucket: String,
    pub key: String,
}

#[derive(Serialize, Deserialize)]
pub struct BucketRecord {
    name: String,
    home: Option<LocationId>,
    constraint: Option<String>,
    subject: Option<Country>,
    owner: String,
    created_at: u64,
    #[serde(default)]
    object_lock: LockRecord,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum LockRecord {
    #[default]
    Without,
    Enabled,
}

impl From<Bucket> for BucketRecord {
    fn from(bucket: Bucket) -> Self {
        let Bucket { name, home, constraint, subject, owner, created_at, object_lock, .. } = bucket;
        let object_lock = match object_lock {
            ObjectLock::Without => LockRecord::Without,
            ObjectLock::Enabled => LockRecord::Enabled,
        };
        BucketRecord { name, home, constraint, subject, owner, created_at, object_lock }
    }
}

impl BucketRecord {
    /// With what stands beside the sealed record, because it changes.
    pub fn into_bucket(self, versioning: Versioning, places: Option<BTreeSet<LocationId>>) -> Bucket {
        let BucketRecord { name, home, constraint, subject, owner, created_at, object_lock } = self;
        let object_lock = match object_lock {
            LockRecord::Without => ObjectLock::Without,
            LockRecord::Enabled => ObjectLock::Enabled,
        };
        Bucket { name, home, constraint, subject, owner, created_at, versioning, object_lock, places }
    }
}

/// All of an intent but its ids.
#[derive(Serialize, Deserialize)]
pub struct IntentRecord {
    bucket: String,
    key: String,
    kind: Kind,
    placement: PlacementRecord,
    draft: DraftRecord,
    begun_at: u64,
}

impl From<&Intent> for IntentRecord {
    fn from(intent: &Intent) -> Self {
        IntentRecord {
            bucket: intent.bucket.clone(),
            key: intent.key.clone(),
            kind: intent.kind.into(),
            placement: (&intent.placement).into(),
            draft: (&intent.draft).into(),
            begun_at: intent.begun_at,
        }
    }
}

impl IntentRecord {
    pub fn into_intent(
        self,
        id: u64,
        handle: ObjectHandle,
        object: ObjectId,
    ) -> Result<Intent, CatalogueError> {
        Ok(Intent {
            id,
            handle,
            bucket: self.bucket,
            key: self.key,
            kind: self.kind.into(),
            placement: self.placement.into_placement(object)?,
            draft: self.draft.into_draft()?,
            begun_at: self.begun_at,
        })
    }
}

#[derive(Serialize, Deserialize)]
enum Kind {
    Put,
    Copy,
    CompleteUpload,
    Delete,
    DeleteVersion,
    Relabel,
}

impl From<IntentKind> for Kind {
    fn from(kind: IntentKind) -> Self {
        match kind {
            IntentKind::Put => Kind::Put,
            IntentKind::Copy => Kind::Copy,
            IntentKind::CompleteUpload => Kind::CompleteUpload,
            IntentKind::Delete => Kind::Delete,
            IntentKind::DeleteVersion => Kind::DeleteVersion,
            IntentKind::Relabel => Kind::Relabel,
        }
    }
}

impl From<Kind> for IntentKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Put => IntentKind::Put,
            Kind::Copy => IntentKind::Copy,
            Kind::CompleteUpload => IntentKind::CompleteUpload,
            Kind::Delete => IntentKind::Delete,
            Kind::DeleteVersion => IntentKind::DeleteVersion,
            Kind::Relabel => IntentKind::Relabel,
        }
    }
}

#[derive(Serialize, Deserialize)]
struct PlacementRecord {
    /// Of a version that there is already.
    #[serde(default)]
    order: u64,
    location: LocationId,
    classes: String,
    subjects: String,
    coverage: Coverage,
    evidence: Vec<Evidence>,
    etag: String,
    version: Option<String>,
    size: u64,
    policy: String,
    rules: Vec<String>,
    obligations: Vec<String>,
    placed_at: u64,
}

impl From<&Placement> for PlacementRecord {
    fn from(placement: &Placement) -> Self {
        PlacementRecord {
            order: placement.order,
            location: placement.location.clone(),
            classes: join(placement.classes.iter()),
            subjects: join(placement.subjects.iter()),
            coverage: placement.coverage,
            evidence: placement.evidence.clone(),
            etag: placement.etag.clone(),
            version: placement.version.clone(),
            size: placement.size,
            policy: placement.policy.clone(),
            rules: placement.rules.clone(),
            obligations: placement.obligations.clone(),
            placed_at: placement.placed_at,
        }
    }
}

impl PlacementRecord {
    fn into_placement(self, object: ObjectId) -> Result<Placement, CatalogueError> {
        Ok(Placement {
            object,
            location: self.location,
            classes: split("classes", &self.classes)?,
            subjects: split("subjects", &self.subjects)?,
            coverage: self.coverage,
            evidence: self.evidence,
            etag: self.etag,
            version: self.version,
            order: self.order,
            size: self.size,
            policy: self.policy,
            rules: self.rules,
            obligations: self.obligations,
            placed_at: self.placed_at,
        })
    }
}

#[derive(Serialize, Deserialize)]
struct DraftRecord {
    event: String,
    jurisdiction: Country,
    object: Option<[u8; 16]>,
    classes: String,
    subjects: String,
    effect: String,
    rules: Vec<String>,
    obligations: Vec<String>,
    mechanisms: Vec<String>,
    policy: String,
    from: Vec<PlaceRecord>,
    to: Vec<PlaceRecord>,
    transfer: Option<[u8; 16]>,
    request: String,
    sealed: FactsRecord,
}

impl From<&EntryDraft> for DraftRecord {
    fn from(draft: &EntryDraft) -> Self {
        let DecisionFacts { effect, rules, obligations, mechanisms, policy } = draft.decision.clone();
        DraftRecord {
            event: draft.event.word().to_owned(),
            jurisdiction: draft.jurisdiction,
            object: draft.object.map(|object| object.0),
            classes: join(draft.classes.iter()),
            subjects: join(draft.subjects.iter()),
            effect,
            rules,
            obligations,
            mechanisms,
            policy,
            from: draft.from.iter().cloned().map(Into::into).collect(),
            to: draft.to.iter().cloned().map(Into::into).collect(),
            transfer: draft.transfer,
            request: draft.request.clone(),
            sealed: draft.sealed.clone().into(),
        }
    }
}

impl DraftRecord {
    fn into_draft(self) -> Result<EntryDraft, CatalogueError> {
        let DraftRecord { effect, rules, obligations, mechanisms, policy, .. } = self;
        let classes: ClassSet = split("classes", &self.classes)?;
        let subjects: CountrySet = split("subjects", &self.subjects)?;
        Ok(EntryDraft {
            event: parse("event", &self.event)?,
            jurisdiction: self.jurisdiction,
            object: self.object.map(ObjectId),
            classes,
            subjects,
            decision: DecisionFacts { effect, rules, obligations, mechanisms, policy },
            from: self.from.into_iter().map(Into::into).collect(),
            to: self.to.into_iter().map(Into::into).collect(),
            transfer: self.transfer,
            request: self.request,
            sealed: self.sealed.into(),
        })
    }
}

#[derive(Serialize, Deserialize)]
struct PlaceRecord {
    location: String,
    country: Country,
    region: String,
}

impl From<Place> for PlaceRecord {
    fn from(place: Place) -> Self {
        PlaceRecord { location: place.location, country: place.country, region: place.region }
    }
}

impl From<PlaceRecord> for Place {
    fn from(record: PlaceRecord) -> Self {
        Place { location: record.location, country: record.country, region: record.region }
    }
}

#[derive(Serialize, Deserialize)]
struct FactsRecord {
    bucket: Option<String>,
    key: Option<String>,
    version: Option<String>,
    etag: Option<String>,
    principal: Option<String>,
    address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    author: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    approver: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

impl From<SealedFacts> for FactsRecord {
    fn from(facts: SealedFacts) -> Self {
        let SealedFacts { bucket, key, version, etag, principal, address, author, approver, reason } = facts;
        FactsRecord { bucket, key, version, etag, principal, address, author, approver, reason }
    }
}

impl From<FactsRecord> for SealedFacts {
    fn from(record: FactsRecord) -> Self {
        let FactsRecord { bucket, key, version, etag, principal, address, author, approver, reason } = record;
        SealedFacts { bucket, key, version, etag, principal, address, author, approver, reason }
    }
}
