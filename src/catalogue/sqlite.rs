//! The embedded catalogue: one SQLite database in the data folder, for one gateway.
//!
//! One thread writes, in groups ([`writer`]); a few connections read. The database holds keyed hashes and sealed records:
//! no bucket, key, principal or address is in it in the clear. Not for several gateways: the folder is locked.
//!
//! The answers must be awaited on a tokio runtime with time enabled.

mod append;
mod buckets;
mod codec;
mod jobs;
mod reader;
mod rows;
mod schema;
mod settings;
mod versions;
mod writer;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future;
use rusqlite::Connection;
use tokio::sync::watch;

use self::buckets::KnownBuckets;
use self::jobs::{Created, State, Tx};
use self::reader::Readers;
pub use self::writer::Counters;
use self::writer::Writer;
use super::{
    Answer, Bucket, BucketHandle, Catalogue, CatalogueError, Claim, HistoryLine, Intent, Known, ObjectHandle,
    ObjectId, Placement, Receipt, Recorded, Residue, Resting, Setting, Stray, Verdict, Version, VersionAt,
    Versioning, Which, WriteRecord,
};
use crate::config;
use crate::log::entry::Opening;
use crate::log::keys::{KeyError, Keys, OnMissing};
use crate::log::tiles::{LogSource, LogSourceError, Signer, SignerError};
use crate::log::{EntryDraft, LogInfo};
use crate::names::{Country, LocationId};

/// What a catalogue is opened with.
#[derive(Debug, Clone)]
pub struct SqliteOptions {
    /// The data folder.
    pub data: PathBuf,
    /// Names the logs.
    pub node: config::Node,
    /// A bucket's names are sealed for the country of its home.
    pub countries: BTreeMap<LocationId, Country>,
    /// How long a change may take to become durable before its request is refused.
    pub durable_within: Duration,
}

impl SqliteOptions {
    pub fn of(config: &config::Config) -> Self {
        SqliteOptions {
            data: config.data.clone(),
            node: config.node.clone(),
            countries: config.locations.iter().map(|l| (l.id.clone(), l.country)).collect(),
            durable_within: Duration::from_secs(2),
        }
    }
}

/// Why a catalogue cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("{path} is in use by another gateway")]
    Locked { path: PathBuf },
    #[error("there is no catalogue in {path}")]
    NoCatalogue { path: PathBuf },
    #[error(
        "there are signing keys in {path}, but no catalogue: restore it, or move the keys away to start anew"
    )]
    LostCatalogue { path: PathBuf },
    #[error("the catalogue has format {found}; this version knows {known}: use the newer version")]
    Newer { found: i64, known: i64 },
    #[error(
        "the catalogue has format {found}, this version reads {known}: start the gateway once to upgrade it"
    )]
    Older { found: i64, known: i64 },
    #[error("the file is a database of another program")]
    NotOurs,
    #[error("the catalogue was written with another name key: restore the right one")]
    ForeignNameKey,
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error("cannot use {path}: {source}")]
    Io { path: PathBuf, source: io::Error },
    #[error("the catalogue cannot be opened: {0}")]
    Database(#[from] rusqlite::Error),
    #[error("the catalogue cannot be read: {0}")]
    Unreadable(#[from] CatalogueError),
}

/// A catalogue in a folder.
pub struct SqliteCatalogue {
    keys: Arc<Keys>,
    readers: Arc<Readers>,
    buckets: Arc<KnownBuckets>,
    /// Whether there may be a verdict. Hardly ever is there one, and every write asks.
    verdicts: AtomicBool,
    mode: Mode,
}

enum Mode {
    /// Dropped in this order: the writer first, then the lock that keeps other writers out.
    Writing {
        writer: Writer,
        _lock: File,
    },
    ReadOnly {
        never: watch::Sender<u64>,
    },
}

const DATABASE: &str = "catalogue.sqlite";
const LOCK: &str = "catalogue.lock";
const KEYS: &str = "keys";

impl SqliteCatalogue {
    /// Opens the catalogue for the gateway, or makes it where there is none. Fails when another process has it, or
    /// when a key that it was written with is missing.
    pub fn open(options: SqliteOptions) -> Result<SqliteCatalogue, OpenError> {
        let SqliteOptions { data, node, countries, durable_within } = options;
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&data)
            .map_err(|source| OpenError::Io { path: data.clone(), source })?;
        let lock = lock(&data)?;
        let database = data.join(DATABASE);
        let keys = Arc::new(open_keys(&data, &database)?);
        let fingerprint = keys.fingerprint();
        if !database.exists() {
            // SQLite would make it for all to read; its other files take the mode of this one. Not for one that is
            // there: closing a second handle on it would end SQLite's own locks in this process.
            private_file(&database).map_err(|source| OpenError::Io { path: database.clone(), source })?;
        }
        let db = schema::open_for_writing(&database, &fingerprint)?;
        File::open(&data)
            .and_then(|folder| folder.sync_all())
            .map_err(|source| OpenError::Io { path: data.clone(), source })?;
        check_keys(&db, &keys, &node)?;
        let readers = Arc::new(Readers::open(&database, &fingerprint)?);
        let verdicts = readers.with(reader::has_verdicts)?.into();
        let buckets = Arc::new(KnownBuckets::default());
        let state = State::new(keys.clone(), node, countries, buckets.clone());
        let writer = Writer::start(db, state, durable_within)
            .map_err(|source| OpenError::Io { path: data.clone(), source })?;
        let mode = Mode::Writing { writer, _lock: lock };
        Ok(SqliteCatalogue { keys, readers, buckets, verdicts, mode })
    }

    /// Opens the catalogue of a data folder for questions only, also while a gateway is using it. Every change is refused.
    pub fn open_read_only(data: &Path) -> Result<SqliteCatalogue, OpenError> {
        let database = data.join(DATABASE);
        if !database.exists() {
            return Err(OpenError::NoCatalogue { path: data.to_owned() });
        }
        let keys = Keys::open(&data.join(KEYS), OnMissing::Refuse)?;
        let readers = Readers::open(&database, &keys.fingerprint())?;
        let mode = Mode::ReadOnly { never: watch::Sender::new(0) };
        Ok(SqliteCatalogue {
            keys: Arc::new(keys),
            readers: Arc::new(readers),
            buckets: Arc::default(),
            verdicts: true.into(),
            mode,
        })
    }

    pub fn keys(&self) -> &Arc<Keys> {
        &self.keys
    }

    /// Where objects rest, in the order of their rows, after that one: a walk over all of them.
    pub fn resting(&self, after: i64, limit: usize) -> Result<Vec<Resting>, CatalogueError> {
        self.readers.with(|db| reader::resting(db, after, limit))
    }

    /// For metrics; all zero when opened for questions only.
    pub fn counters(&self) -> Counters {
        match &self.mode {
            Mode::Writing { writer, .. } => writer.counters(),
            Mode::ReadOnly { .. } => Counters::default(),
        }
    }

    /// The names behind an entry's commitment; `None` where it has none or they have been erased.
    pub fn opening(&self, origin: &str, index: u64) -> Result<Option<Opening>, CatalogueError> {
        self.readers.with(|db| reader::opening(db, &self.keys, origin, index))
    }

    fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Tx<'_>) -> Result<T, CatalogueError> + Send + 'static,
    ) -> Answer<'_, T> {
        match &self.mode {
            Mode::Writing { writer, .. } => writer.submit(work),
            Mode::ReadOnly { .. } => {
                let refusal = CatalogueError::Unavailable("it was opened for reading only".to_owned());
                Box::pin(future::ready(Err(refusal)))
            }
        }
    }

    /// For questions of one row: a few microseconds, cheaper than another thread.
    fn read<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&Connection) -> Result<T, CatalogueError>,
    ) -> Answer<'_, T> {
        Box::pin(future::ready(self.readers.with(ask)))
    }

    /// For questions of many rows.
    fn read_many<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&Connection, &Keys) -> Result<T, CatalogueError> + Send + 'static,
    ) -> Answer<'_, T> {
        let (readers, keys) = (self.readers.clone(), self.keys.clone());
        Box::pin(async move {
            let asked = tokio::task::spawn_blocking(move || readers.with(|db| ask(db, &keys)));
            asked.await.unwrap_or_else(|_| Err(CatalogueError::Unavailable("a reader failed".to_owned())))
        })
    }
}

impl Catalogue for SqliteCatalogue {
    fn object_handle(&self, bucket: &str, key: &str) -> ObjectHandle {
        self.keys.object_handle(bucket, key)
    }

    fn bucket_handle(&self, bucket: &str) -> BucketHandle {
        self.keys.bucket_handle(bucket)
    }

    fn find(&self, handle: ObjectHandle) -> Answer<'_, Option<Placement>> {
        self.read(|db| reader::placement(db, handle))
    }

    fn find_many<'a>(&'a self, handles: &'a [ObjectHandle]) -> Answer<'a, Vec<Option<(LocationId, String)>>> {
        let handles = handles.to_vec();
        self.read_many(move |db, _| reader::places(db, &handles))
    }

    fn open_intent(&self, intent: Intent) -> Answer<'_, Intent> {
        self.write(move |tx| tx.open_intent(intent))
    }

    fn drop_intent(&self, id: u64) -> Answer<'_, ()> {
        self.write(move |tx| tx.drop_intent(id))
    }

    fn give_up_intent(&self, id: u64, bucket: String, key: String) -> Answer<'_, ()> {
        self.write(move |tx| tx.give_up_intent(id, &bucket, &key))
    }

    fn open_writes_of(&self, handle: ObjectHandle) -> Answer<'_, Vec<(u64, LocationId)>> {
        self.read(|db| reader::writes_of(db, handle))
    }

    fn open_intents(&self) -> Answer<'_, Vec<Intent>> {
        self.read_many(reader::intents)
    }

    fn open_intents_of(&self, handle: ObjectHandle) -> Answer<'_, Vec<Intent>> {
        self.read(|db| reader::intents_of(db, &self.keys, handle))
    }

    fn record_write(&self, write: WriteRecord) -> Answer<'_, Recorded> {
        self.write(move |tx| tx.record_write(write))
    }

    fn record_stray(&self, stray: Stray) -> Answer<'_, Residue> {
        self.write(move |tx| tx.record_stray(stray))
    }

    fn record_delete(&self, intent: u64, handle: ObjectHandle, draft: EntryDraft) -> Answer<'_, Receipt> {
        self.write(move |tx| tx.record_delete(intent, handle, draft))
    }

    fn record_marker(&self, marker: WriteRecord) -> Answer<'_, Recorded> {
        self.write(move |tx| tx.record_marker(marker))
    }

    fn record_version_removal(
        &self,
        intent: u64,
        handle: ObjectHandle,
        version: VersionAt,
        draft: EntryDraft,
    ) -> Answer<'_, Receipt> {
        self.write(move |tx| tx.record_version_removal(intent, handle, &version, draft))
    }

    fn record_vanished(
        &self,
        handle: ObjectHandle,
        placement: Placement,
        draft: EntryDraft,
    ) -> Answer<'_, Option<Receipt>> {
        self.write(move |tx| tx.record_vanished(handle, &placement, draft))
    }

    fn placed_in(&self, bucket: BucketHandle, limit: usize) -> Answer<'_, Vec<(ObjectHandle, Placement)>> {
        self.read_many(move |db, _| reader::placed_in(db, bucket, limit))
    }

    fn find_version(&self, handle: ObjectHandle, which: Which) -> Answer<'_, Option<Version>> {
        self.read(|db| versions::find(db, handle, &which))
    }

    fn find_versions(&self, asked: Vec<(ObjectHandle, VersionAt)>) -> Answer<'_, Vec<Option<Known>>> {
        self.read_many(move |db, _| versions::known(db, &asked))
    }

    fn versions(&self, handle: ObjectHandle) -> Answer<'_, Vec<Version>> {
        self.read_many(move |db, _| versions::all(db, handle))
    }

    fn versions_from(&self, handle: ObjectHandle, order: u64) -> Answer<'_, Vec<VersionAt>> {
        self.read_many(move |db, _| versions::from(db, handle, order))
    }

    fn record_event(&self, draft: EntryDraft) -> Answer<'_, Receipt> {
        self.write(move |tx| tx.record_event(&draft))
    }

    fn residues(&self, limit: usize) -> Answer<'_, Vec<Residue>> {
        self.read_many(move |db, keys| reader::residues(db, keys, limit))
    }

    fn residues_of(&self, handle: ObjectHandle) -> Answer<'_, Vec<Residue>> {
        self.read_many(move |db, keys| reader::residues_of(db, keys, handle))
    }

    fn claim_removal(&self, residue: u64, until: u64) -> Answer<'_, Claim> {
        self.write(move |tx| tx.claim_removal(residue, until))
    }

    fn record_removal(&self, residue: u64, draft: EntryDraft) -> Answer<'_, Receipt> {
        self.write(move |tx| tx.record_removal(residue, draft))
    }

    fn create_bucket(&self, bucket: Bucket) -> Answer<'_, bool> {
        self.write(move |tx| tx.create_bucket(bucket).map(|created| created == Created::New))
    }

    fn find_bucket(&self, handle: BucketHandle) -> Answer<'_, Option<Bucket>> {
        let read = || self.readers.with(|db| reader::bucket(db, &self.keys, handle));
        let found = match &self.mode {
            Mode::Writing { .. } => self.buckets.find(handle, read),
            // Another process may be changing them.
            Mode::ReadOnly { .. } => read(),
        };
        Box::pin(future::ready(found))
    }

    fn delete_bucket(&self, handle: BucketHandle) -> Answer<'_, ()> {
        self.write(move |tx| tx.delete_bucket(handle))
    }

    fn set_versioning(&self, handle: BucketHandle, versioning: Versioning) -> Answer<'_, ()> {
        self.write(move |tx| tx.set_versioning(handle, versioning))
    }

    fn set_places(&self, handle: BucketHandle, places: BTreeSet<LocationId>) -> Answer<'_, ()> {
        self.write(move |tx| tx.set_places(handle, &places))
    }

    fn buckets(&self) -> Answer<'_, Vec<Bucket>> {
        self.read_many(reader::buckets)
    }

    fn set_setting(
        &self,
        bucket: BucketHandle,
        setting: Setting,
        document: Option<String>,
    ) -> Answer<'_, ()> {
        self.write(move |tx| tx.set_setting(bucket, setting, document.as_deref()))
    }

    fn setting(&self, bucket: BucketHandle, setting: Setting) -> Answer<'_, Option<String>> {
        self.read(|db| settings::find(db, &self.keys, bucket, setting))
    }

    fn count_in_bucket(&self, handle: BucketHandle, limit: usize) -> Answer<'_, usize> {
        self.read_many(move |db, _| reader::count_in_bucket(db, handle, limit))
    }

    fn remember_verdict(&self, handle: ObjectHandle, verdict: Verdict, until: u64) -> Answer<'_, ()> {
        // Before it is queued: whoever asks after it was acknowledged has to look.
        self.verdicts.store(true, Ordering::Release);
        self.write(move |tx| tx.remember_verdict(handle, verdict, until))
    }

    fn verdict(&self, handle: ObjectHandle) -> Answer<'_, Option<Verdict>> {
        if !self.verdicts.load(Ordering::Acquire) {
            return Box::pin(future::ready(Ok(None)));
        }
        self.read(|db| Ok(reader::verdict(db, handle, jobs::now())?.map(|(verdict, _)| verdict)))
    }

    fn history(&self, object: ObjectId, limit: usize) -> Answer<'_, Vec<HistoryLine>> {
        self.read_many(move |db, _| reader::history(db, object, limit))
    }
}

impl SqliteCatalogue {
    /// All logs that this catalogue holds, oldest first.
    pub fn logs(&self) -> Result<Vec<LogInfo>, CatalogueError> {
        self.readers.with(reader::logs)
    }

    /// The bytes of the entries `from..to` in order. Fewer when the log ends before `to`, or after
    /// [`crate::log::MAX_ENTRIES_PER_CALL`]; none for an unknown origin.
    pub fn entries(&self, origin: &str, from: u64, to: u64) -> Result<Vec<Vec<u8>>, CatalogueError> {
        self.readers.with(|db| reader::entries(db, origin, from, to))
    }

    /// Changes after each commit; its value is a running number, not a log size.
    pub fn committed(&self) -> watch::Receiver<u64> {
        match &self.mode {
            Mode::Writing { writer, .. } => writer.committed(),
            Mode::ReadOnly { never } => never.subscribe(),
        }
    }
}

/// An entry that shows here has been flushed, so a checkpoint may cover it.
impl LogSource for SqliteCatalogue {
    fn logs(&self) -> Result<Vec<LogInfo>, LogSourceError> {
        Ok(SqliteCatalogue::logs(self)?)
    }

    fn entries(&self, origin: &str, from: u64, to: u64) -> Result<Vec<Vec<u8>>, LogSourceError> {
        let mut entries = Vec::new();
        let mut next = from;
        while next < to {
            let some = SqliteCatalogue::entries(self, origin, next, to)?;
            if some.is_empty() {
                break;
            }
            next += some.len() as u64;
            entries.extend(some);
        }
        Ok(entries)
    }
}

impl From<CatalogueError> for LogSourceError {
    fn from(error: CatalogueError) -> Self {
        match error {
            CatalogueError::Corrupt(_) => LogSourceError::Corrupt(error.to_string()),
            other => LogSourceError::Unavailable(other.to_string()),
        }
    }
}

impl Signer for Keys {
    fn seed(&self, origin: &str) -> Result<[u8; 32], SignerError> {
        self.signing_seed(origin).map_err(|error| SignerError(error.to_string()))
    }
}

fn lock(data: &Path) -> Result<File, OpenError> {
    let path = data.join(LOCK);
    let file = private_file(&path).map_err(|source| OpenError::Io { path: path.clone(), source })?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::Locked { path: data.to_owned() }),
        Err(TryLockError::Error(source)) => Err(OpenError::Io { path, source }),
    }
}

fn private_file(path: &Path) -> io::Result<File> {
    fs::OpenOptions::new().create(true).append(true).mode(0o600).open(path)
}

/// Keys are made before the database is, so a database without its name key has lost it.
fn open_keys(data: &Path, database: &Path) -> Result<Keys, OpenError> {
    let folder = data.join(KEYS);
    if database.exists() {
        return Ok(Keys::open(&folder, OnMissing::Refuse)?);
    }
    if Keys::has_signing_seeds(&folder)? {
        // A new log under a key that has signed another one would be a fork of it.
        return Err(OpenError::LostCatalogue { path: data.to_owned() });
    }
    Ok(Keys::open(&folder, OnMissing::Create)?)
}

/// Better at the start than at the first request: every key that the catalogue was written with is there.
fn check_keys(db: &Connection, keys: &Keys, node: &config::Node) -> Result<(), OpenError> {
    let mut seals = db.prepare("SELECT jurisdiction, fingerprint FROM seals")?;
    let mut rows = seals.query([])?;
    while let Some(row) = rows.next()? {
        let jurisdiction = codec::parse("jurisdiction", &row.get::<_, String>(0)?)?;
        keys.seal_key(jurisdiction, OnMissing::Refuse)?.verify(&row.get::<_, Vec<u8>>(1)?)?;
    }
    let mut logs = db.prepare("SELECT origin FROM logs WHERE domain = ?1 AND node = ?2")?;
    let mut rows = logs.query((&node.domain, &node.name))?;
    while let Some(row) = rows.next()? {
        keys.signing_seed(&row.get::<_, String>(0)?)?;
    }
    Ok(())
}

/// SQLite's reasons name statements and files, never values.
fn unavailable(error: rusqlite::Error) -> CatalogueError {
    CatalogueError::Unavailable(error.to_string())
}

#[cfg(test)]
mod tests;
