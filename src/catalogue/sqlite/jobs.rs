//! What each change does inside its transaction. All of it runs on the writer thread, one job at a time, so that a job sees
//! everything that was queued before it.
//!
//! How an entry gets into its log is in [`super::append`], and what differs where versions are kept in [`super::versions`].
//!
//! Rules that hold here and nowhere else:
//! - the last commit wins: a write replaces the placement whatever it was when the write began;
//! - an object keeps its random id over overwrites and moves, until it is deleted;
//! - a write to another location than before lists the old copy as residue, and a write to the location of a
//!   residue ends that residue, for its bytes are gone (not so for a residue that names another version).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::append::Log;
use super::buckets::KnownBuckets;
use super::codec::{self, IntentRecord, Names, fixed, integer, join, limited, to_json};
use super::rows::Owner;
use super::{reader, unavailable};
use crate::catalogue::{
    Bucket, BucketHandle, CatalogueError, Claim, Intent, ObjectHandle, ObjectId, Placement, Receipt,
    Recorded, Residue, Stray, Verdict, VersionKind, WriteRecord,
};
pub use crate::clock::now_ms as now;
use crate::config;
use crate::log::EntryDraft;
use crate::log::keys::{KeyError, Keys, OnMissing, SealKey};
use crate::names::{Country, LocationId, ObjectKey};

/// What the writer thread keeps between transactions.
pub struct State {
    pub keys: Arc<Keys>,
    pub node: config::Node,
    /// The countries of locations: a bucket's names are sealed for its home's country.
    pub countries: BTreeMap<LocationId, Country>,
    seals: HashMap<Country, Arc<SealKey>>,
    pub(super) logs: HashMap<Country, Log>,
    buckets: Arc<KnownBuckets>,
    pub(super) buckets_changed: bool,
}

impl State {
    pub fn new(
        keys: Arc<Keys>,
        node: config::Node,
        countries: BTreeMap<LocationId, Country>,
        buckets: Arc<KnownBuckets>,
    ) -> Self {
        let (seals, logs) = (HashMap::new(), HashMap::new());
        State { keys, node, countries, seals, logs, buckets, buckets_changed: false }
    }

    /// To be called between a commit and its answers.
    pub fn committed(&mut self) {
        if std::mem::take(&mut self.buckets_changed) {
            self.buckets.forget();
        }
    }

    /// After anything was undone: what is remembered may be of rows that are not there.
    pub fn forget(&mut self) {
        self.seals.clear();
        self.logs.clear();
    }
}

/// One open savepoint.
pub struct Tx<'a> {
    pub db: &'a Connection,
    pub state: &'a mut State,
}

pub type Result<T> = std::result::Result<T, CatalogueError>;

/// Longest ETag or version id (S3 API: a version id has at most 1024 bytes).
pub const MAX_ID: usize = 1024;
/// Longest name of a bucket or a principal.
pub const MAX_NAME: usize = 2048;
/// Expired verdicts that one new verdict sweeps out.
const SWEEP: i64 = 16;

impl Tx<'_> {
    pub fn open_intent(&mut self, mut intent: Intent) -> Result<Intent> {
        check_names(&intent.bucket, &intent.key)?;
        check_placement(&intent.placement)?;
        let location = intent.placement.location.as_str();
        let claimed: Option<i64> = self
            .db
            .prepare_cached(
                "SELECT 1 FROM residues WHERE handle = ?1 AND location = ?2
                 AND (version IS NULL OR version = 'null') AND claimed_until > ?3 LIMIT 1",
            )
            .and_then(|mut q| {
                q.query_row(params![intent.handle.0, location, now_row()], |row| row.get(0)).optional()
            })
            .map_err(unavailable)?;
        if claimed.is_some() {
            return Err(CatalogueError::RemovalUnderWay);
        }
        if let Some(object) = self.object(intent.handle)? {
            intent.placement.object = object;
        }
        let jurisdiction = intent.draft.jurisdiction;
        let record = to_json("intent", &IntentRecord::from(&intent))?;
        let context: [&[u8]; 2] = [b"intent", &intent.handle.0];
        let sealed = self.seal_key(jurisdiction)?.seal(&context, record.as_bytes()).map_err(unusable)?;
        let object = intent.placement.object.0;
        self.db
            .prepare_cached(
                "INSERT INTO intents(handle, object, location, jurisdiction, sealed) VALUES (?1, ?2, ?3, ?4, ?5)",
            )
            .and_then(|mut q| {
                q.execute(params![intent.handle.0, object, location, jurisdiction.code(), sealed])
            })
            .map_err(unavailable)?;
        intent.id = codec::unsigned("intent id", self.db.last_insert_rowid())?;
        Ok(intent)
    }

    pub fn drop_intent(&mut self, id: u64) -> Result<()> {
        self.end_intent(id).map(drop)
    }

    pub fn give_up_intent(&mut self, id: u64, bucket: &str, key: &str) -> Result<()> {
        check_names(bucket, key)?;
        let Some(Ended { handle, object, location, jurisdiction }) = self.end_intent(id)? else {
            return Ok(());
        };
        // Its removal belongs to the history of the object that there is.
        let object = self.object(handle)?.unwrap_or(object);
        let left = Previous { object, jurisdiction, location, etag: String::new(), version: None };
        self.list_residue(handle, bucket, key, left, None).map(drop)
    }

    pub fn record_write(&mut self, write: WriteRecord) -> Result<Recorded> {
        check_names(&write.bucket, &write.key)?;
        check_placement(&write.placement)?;
        let WriteRecord { intent, handle, bucket, key, mut placement, mut draft } = write;
        let intended = self.end_intent(intent)?.ok_or(CatalogueError::Settled(intent))?;
        if intended.handle != handle || intended.location != placement.location {
            return Err(CatalogueError::OtherIntent(intent));
        }
        let bucket_handle = self.state.keys.bucket_handle(&bucket);
        if self.versioning(bucket_handle)?.keeps() {
            let write = WriteRecord { intent, handle, bucket, key, placement, draft };
            return self.add_version(VersionKind::Object, write, intended.object);
        }
        let previous = self.previous(handle)?;
        placement.object = previous.as_ref().map_or(intended.object, |previous| previous.object);
        draft.object = Some(placement.object);
        self.end_overwritten_residues(handle, &placement.location, placement.version.as_deref())?;
        placement.order = 1;
        let displaced = previous.filter(|previous| previous.location != placement.location);
        let displaced = match displaced {
            Some(previous) => {
                if previous.jurisdiction != draft.jurisdiction && draft.transfer.is_none() {
                    draft.transfer = Some(random()?);
                }
                Some(self.list_residue(handle, &bucket, &key, previous, draft.transfer)?)
            }
            None => None,
        };
        let owner = Owner { handle, bucket: bucket_handle, jurisdiction: draft.jurisdiction };
        self.upsert(owner, &placement)?;
        let receipt = self.append(&draft)?;
        Ok(Recorded { receipt, placement, displaced })
    }

    pub fn record_stray(&mut self, stray: Stray) -> Result<Residue> {
        check_names(&stray.bucket, &stray.key)?;
        limited("ETag", stray.etag.len(), MAX_ID)?;
        limited("version id", stray.version.as_ref().map_or(0, String::len), MAX_ID)?;
        let Stray { intent, bucket, key, etag, version } = stray;
        let Ended { handle, object, location, jurisdiction } =
            self.end_intent(intent)?.ok_or(CatalogueError::Settled(intent))?;
        let object = self.object(handle)?.unwrap_or(object);
        if self.versioning(self.state.keys.bucket_handle(&bucket))?.keeps() {
            // Beside the versions that there are, and over none of them.
            self.end_overwritten_version(handle, &location, version.as_deref())?;
        } else {
            if self.previous(handle)?.is_some_and(|current| current.location == location) {
                return Err(CatalogueError::OtherIntent(intent));
            }
            // What lay there before is what the write replaced.
            self.end_overwritten_residues(handle, &location, version.as_deref())?;
        }
        let left = Previous { object, jurisdiction, location, etag, version };
        self.list_residue(handle, &bucket, &key, left, None)
    }

    pub fn record_delete(
        &mut self,
        intent: u64,
        handle: ObjectHandle,
        mut draft: EntryDraft,
    ) -> Result<Receipt> {
        let intended = self.end_intent(intent)?.ok_or(CatalogueError::Settled(intent))?;
        if intended.handle != handle {
            return Err(CatalogueError::OtherIntent(intent));
        }
        let previous = self.previous(handle)?;
        draft.object = Some(previous.map_or(intended.object, |previous| previous.object));
        self.db
            .prepare_cached("DELETE FROM placements WHERE handle = ?1")
            .and_then(|mut q| q.execute(params![handle.0]))
            .map_err(unavailable)?;
        self.append(&draft)
    }

    pub fn record_vanished(
        &mut self,
        handle: ObjectHandle,
        placement: &Placement,
        mut draft: EntryDraft,
    ) -> Result<Option<Receipt>> {
        let writing: Option<i64> = self
            .db
            .prepare_cached("SELECT 1 FROM intents WHERE handle = ?1 LIMIT 1")
            .and_then(|mut q| q.query_row(params![handle.0], |row| row.get(0)).optional())
            .map_err(unavailable)?;
        if writing.is_some() {
            return Ok(None);
        }
        draft.object = Some(placement.object);
        let mut gone = 0;
        for table in ["placements", "versions"] {
            gone += self
                .db
                .prepare_cached(&format!(
                    "DELETE FROM {table} WHERE handle = ?1 AND object = ?2 AND location = ?3 AND etag = ?4
                     AND version IS ?5 AND ord = ?6"
                ))
                .map_err(unavailable)?
                .execute(params![
                    handle.0,
                    placement.object.0,
                    placement.location.as_str(),
                    placement.etag,
                    placement.version,
                    integer("order", placement.order)?,
                ])
                .map_err(unavailable)?;
        }
        if gone == 0 {
            return Ok(None);
        }
        self.promote_newest(handle)?;
        self.append(&draft).map(Some)
    }

    pub fn record_event(&mut self, draft: &EntryDraft) -> Result<Receipt> {
        self.append(draft)
    }

    pub fn claim_removal(&mut self, residue: u64, until: u64) -> Result<Claim> {
        let id = integer("residue id", residue)?;
        let row: Option<(Vec<u8>, String, Option<String>)> = self
            .db
            .prepare_cached("SELECT handle, location, version FROM residues WHERE id = ?1")
            .and_then(|mut q| q.query_row(params![id], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?))).optional())
            .map_err(unavailable)?;
        let Some((handle, location, version)) = row else { return Ok(Claim::Gone) };
        if version.is_none_or(|version| version == "null") {
            let writing: Option<i64> = self
                .db
                .prepare_cached("SELECT 1 FROM intents WHERE handle = ?1 AND location = ?2 LIMIT 1")
                .and_then(|mut q| q.query_row(params![handle, location], |row| row.get(0)).optional())
                .map_err(unavailable)?;
            if writing.is_some() {
                return Ok(Claim::WriteUnderWay);
            }
        }
        self.db
            .prepare_cached("UPDATE residues SET claimed_until = ?2 WHERE id = ?1")
            .and_then(|mut q| q.execute(params![id, i64::try_from(until).unwrap_or(i64::MAX)]))
            .map_err(unavailable)?;
        Ok(Claim::Granted)
    }

    pub fn record_removal(&mut self, residue: u64, mut draft: EntryDraft) -> Result<Receipt> {
        let id = integer("residue id", residue)?;
        let found = reader::residue(self.db, &self.state.keys, id)?;
        let (listed, jurisdiction, transfer) = found.ok_or(CatalogueError::NoResidue(residue))?;
        self.db
            .prepare_cached("DELETE FROM residues WHERE id = ?1")
            .and_then(|mut q| q.execute(params![id]))
            .map_err(unavailable)?;
        draft.object = Some(listed.object);
        // Names stay where they were: the removal is told in the log of the place that was cleared.
        draft.jurisdiction = jurisdiction;
        draft.transfer = draft.transfer.or(transfer);
        draft.sealed.bucket.get_or_insert(listed.bucket);
        draft.sealed.key.get_or_insert(listed.key);
        draft.sealed.etag.get_or_insert(listed.etag);
        draft.sealed.version = draft.sealed.version.take().or(listed.version);
        self.append(&draft)
    }

    /// Whether the bucket is new.
    pub fn create_bucket(&mut self, bucket: Bucket) -> Result<Created> {
        limited("bucket name", bucket.name.len(), MAX_NAME)?;
        let handle = self.state.keys.bucket_handle(&bucket.name);
        if reader::bucket(self.db, &self.state.keys, handle)?.is_some() {
            return Ok(Created::Existed);
        }
        let home = bucket.home.as_ref().and_then(|home| self.state.countries.get(home));
        let jurisdiction = home.copied().unwrap_or(self.state.node.country);
        let versioning = codec::versioning_word(bucket.versioning);
        let places = bucket.places.as_ref().map(|places| join(places.iter()));
        let record = to_json("bucket", &codec::BucketRecord::from(bucket))?;
        let context: [&[u8]; 2] = [b"bucket", &handle.0];
        let sealed = self.seal_key(jurisdiction)?.seal(&context, record.as_bytes()).map_err(unusable)?;
        self.db
            .prepare_cached(
                "INSERT INTO buckets(handle, jurisdiction, sealed, versioning, places) VALUES (?1, ?2, ?3, ?4, ?5)",
            )
            .and_then(|mut q| q.execute(params![handle.0, jurisdiction.code(), sealed, versioning, places]))
            .map_err(unavailable)?;
        Ok(Created::New)
    }

    pub fn set_places(&mut self, handle: BucketHandle, places: &BTreeSet<LocationId>) -> Result<()> {
        self.state.buckets_changed = true;
        self.db
            .prepare_cached("UPDATE buckets SET places = ?2 WHERE handle = ?1")
            .and_then(|mut q| q.execute(params![handle.0, join(places.iter())]))
            .map(drop)
            .map_err(unavailable)
    }

    pub fn delete_bucket(&mut self, handle: BucketHandle) -> Result<()> {
        self.state.buckets_changed = true;
        self.forget_settings(handle)?;
        self.db
            .prepare_cached("DELETE FROM buckets WHERE handle = ?1")
            .and_then(|mut q| q.execute(params![handle.0]))
            .map(drop)
            .map_err(unavailable)
    }

    pub fn remember_verdict(&mut self, handle: ObjectHandle, verdict: Verdict, until: u64) -> Result<()> {
        let now = now();
        let known = reader::verdict(self.db, handle, now)?;
        let (classes, subjects, until) = match known {
            Some((known, known_until)) => (
                known.classes.union(verdict.classes),
                known.subjects.union(verdict.subjects),
                until.max(known_until),
            ),
            None => (verdict.classes, verdict.subjects, until),
        };
        let until = i64::try_from(until).unwrap_or(i64::MAX);
        self.db
            .prepare_cached(
                "INSERT INTO verdicts(handle, classes, subjects, until) VALUES (?1, ?2, ?3, ?4) ON CONFLICT(handle)
                 DO UPDATE SET classes = excluded.classes, subjects = excluded.subjects, until = excluded.until",
            )
            .and_then(|mut q| {
                q.execute(params![handle.0, join(classes.iter()), join(subjects.iter()), until])
            })
            .map_err(unavailable)?;
        self.db
            .prepare_cached(
                "DELETE FROM verdicts WHERE rowid IN (SELECT rowid FROM verdicts WHERE until <= ?1 LIMIT ?2)",
            )
            .and_then(|mut q| q.execute(params![now_row(), SWEEP]))
            .map(drop)
            .map_err(unavailable)
    }
}

/// What became of a bucket that was to be created.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Created {
    New,
    Existed,
}

/// What an intent was opened for.
pub(super) struct Ended {
    pub handle: ObjectHandle,
    pub object: ObjectId,
    pub location: LocationId,
    jurisdiction: Country,
}

/// What a placement row says that the next change of the object needs.
pub(super) struct Previous {
    pub object: ObjectId,
    pub jurisdiction: Country,
    pub location: LocationId,
    pub etag: String,
    pub version: Option<String>,
}

impl Tx<'_> {
    pub(super) fn previous(&self, handle: ObjectHandle) -> Result<Option<Previous>> {
        type Columns = (Vec<u8>, String, String, String, Option<String>);
        let columns = |r: &Row<'_>| Ok((r.get(0)?, r.get(1)?, r.get(2)?, r.get(3)?, r.get(4)?));
        let row: Option<Columns> = self
            .db
            .prepare_cached(
                "SELECT object, jurisdiction, location, etag, version FROM placements WHERE handle = ?1",
            )
            .and_then(|mut q| q.query_row(params![handle.0], columns).optional())
            .map_err(unavailable)?;
        let Some((object, jurisdiction, location, etag, version)) = row else { return Ok(None) };
        Ok(Some(Previous {
            object: ObjectId(fixed("object id", &object)?),
            jurisdiction: codec::parse("jurisdiction", &jurisdiction)?,
            location: codec::parse("location", &location)?,
            etag,
            version,
        }))
    }

    /// `None` when it is not open.
    pub(super) fn end_intent(&self, id: u64) -> Result<Option<Ended>> {
        let columns = |r: &Row<'_>| Ok((r.get(0)?, r.get(1)?, r.get(2)?, r.get(3)?));
        let row: Option<(Vec<u8>, Vec<u8>, String, String)> = self
            .db
            .prepare_cached(
                "DELETE FROM intents WHERE id = ?1 RETURNING handle, object, location, jurisdiction",
            )
            .and_then(|mut q| q.query_row(params![i64::try_from(id).unwrap_or(-1)], columns).optional())
            .map_err(unavailable)?;
        let Some((handle, object, location, jurisdiction)) = row else { return Ok(None) };
        Ok(Some(Ended {
            handle: ObjectHandle(fixed("handle", &handle)?),
            object: ObjectId(fixed("object id", &object)?),
            location: codec::parse("location", &location)?,
            jurisdiction: codec::parse("jurisdiction", &jurisdiction)?,
        }))
    }

    fn end_overwritten_residues(
        &self,
        handle: ObjectHandle,
        location: &LocationId,
        version: Option<&str>,
    ) -> Result<()> {
        self.db
            .prepare_cached(
                "DELETE FROM residues WHERE handle = ?1 AND location = ?2 AND (version IS NULL OR version IS ?3)",
            )
            .and_then(|mut q| q.execute(params![handle.0, location.as_str(), version]))
            .map(drop)
            .map_err(unavailable)
    }

    pub(super) fn list_residue(
        &mut self,
        handle: ObjectHandle,
        bucket: &str,
        key: &str,
        previous: Previous,
        transfer: Option<[u8; 16]>,
    ) -> Result<Residue> {
        let since = now();
        let names = to_json("names", &Names { bucket: bucket.to_owned(), key: key.to_owned() })?;
        let context: [&[u8]; 2] = [b"residue", &handle.0];
        let seal = self.seal_key(previous.jurisdiction)?;
        let sealed = seal.seal(&context, names.as_bytes()).map_err(unusable)?;
        self.db
            .prepare_cached(
                "INSERT INTO residues(handle, object, jurisdiction, location, etag, version, transfer, since, sealed)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            )
            .and_then(|mut q| {
                q.execute(params![
                    handle.0,
                    previous.object.0,
                    previous.jurisdiction.code(),
                    previous.location.as_str(),
                    previous.etag,
                    previous.version,
                    transfer,
                    since as i64,
                    sealed
                ])
            })
            .map_err(unavailable)?;
        Ok(Residue {
            id: codec::unsigned("residue id", self.db.last_insert_rowid())?,
            object: previous.object,
            handle,
            bucket: bucket.to_owned(),
            key: key.to_owned(),
            location: previous.location,
            etag: previous.etag,
            version: previous.version,
            since,
        })
    }

    /// The seal key of a jurisdiction: a new one where this catalogue has never used one, otherwise the same one.
    pub fn seal_key(&mut self, jurisdiction: Country) -> Result<Arc<SealKey>> {
        if let Some(seal) = self.state.seals.get(&jurisdiction) {
            return Ok(seal.clone());
        }
        let known: Option<Vec<u8>> = self
            .db
            .prepare_cached("SELECT fingerprint FROM seals WHERE jurisdiction = ?1")
            .and_then(|mut q| q.query_row(params![jurisdiction.code()], |row| row.get(0)).optional())
            .map_err(unavailable)?;
        let on_missing = if known.is_some() { OnMissing::Refuse } else { OnMissing::Create };
        let seal = self.state.keys.seal_key(jurisdiction, on_missing).map_err(unusable)?;
        match known {
            Some(fingerprint) => seal.verify(&fingerprint).map_err(unusable)?,
            None => {
                let sql = "INSERT INTO seals(jurisdiction, fingerprint) VALUES (?1, ?2)";
                let inserted = self.db.execute(sql, params![jurisdiction.code(), seal.fingerprint()]);
                inserted.map_err(unavailable)?;
            }
        }
        self.state.seals.insert(jurisdiction, seal.clone());
        Ok(seal)
    }
}

pub(super) fn check_names(bucket: &str, key: &str) -> Result<()> {
    limited("bucket name", bucket.len(), MAX_NAME)?;
    limited("object key", key.len(), ObjectKey::MAX_BYTES)
}

pub(super) fn check_placement(placement: &Placement) -> Result<()> {
    limited("ETag", placement.etag.len(), MAX_ID)?;
    limited("version id", placement.version.as_ref().map_or(0, String::len), MAX_ID)?;
    limited("policy hash", placement.policy.len(), MAX_ID)
}

pub fn now_row() -> i64 {
    now() as i64
}

pub fn random<const N: usize>() -> Result<[u8; N]> {
    crate::random::try_bytes().map_err(|error| CatalogueError::Unavailable(error.to_string()))
}

pub fn unusable(error: KeyError) -> CatalogueError {
    CatalogueError::Unavailable(error.to_string())
}
