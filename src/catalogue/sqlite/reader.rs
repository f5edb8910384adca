//! Questions to the catalogue, each on a connection that is handed in, and the pool that hands them out.
//!
//! A reader sees what is committed and flushed, never what the writer has under way.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use rusqlite::{Connection, OptionalExtension, Row, Rows, params};

use super::codec::{
    self, BucketRecord, IntentRecord, Names, fixed, from_json, integer, parse, split, unsigned,
};
use super::rows::placement_row;
use super::schema::{self, first_row};
use super::{OpenError, unavailable};
use crate::catalogue::{
    Bucket, BucketHandle, CatalogueError, HistoryLine, Intent, ObjectHandle, ObjectId, Placement, Receipt,
    Residue, Resting, Verdict,
};
use crate::log::entry::{Entry, Opening};
use crate::log::keys::{DataKey, Fingerprint, KeyError, Keys, OnMissing, SealKey};
use crate::log::{LogInfo, MAX_ENTRIES_PER_CALL};
use crate::names::{Country, LocationId};

type Result<T> = std::result::Result<T, CatalogueError>;

/// A few connections. Whoever finds all of them in use waits for one.
pub struct Readers {
    connections: Vec<Mutex<Connection>>,
    turn: AtomicUsize,
}

const CONNECTIONS: usize = 4;

impl Readers {
    pub fn open(path: &Path, name_key: &Fingerprint) -> std::result::Result<Readers, OpenError> {
        let mut connections = Vec::with_capacity(CONNECTIONS);
        for _ in 0..CONNECTIONS {
            connections.push(Mutex::new(schema::open_for_reading(path, name_key)?));
        }
        Ok(Readers { connections, turn: AtomicUsize::new(0) })
    }

    pub fn with<T>(&self, ask: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        let turn = self.turn.fetch_add(1, Relaxed);
        let from_turn = self.connections.iter().cycle().skip(turn % CONNECTIONS).take(CONNECTIONS);
        for connection in from_turn.clone() {
            if let Ok(connection) = connection.try_lock() {
                return ask(&connection);
            }
        }
        match from_turn.clone().next() {
            Some(connection) => ask(&connection.lock().unwrap_or_else(PoisonError::into_inner)),
            None => Err(CatalogueError::Unavailable("it has no connection".to_owned())),
        }
    }
}

pub fn placement(db: &Connection, handle: ObjectHandle) -> Result<Option<Placement>> {
    let mut query = db
        .prepare_cached(
            "SELECT object, location, classes, subjects, coverage, evidence, etag, version, size, policy, rules,
                 obligations, placed_at, ord FROM placements WHERE handle = ?1",
        )
        .map_err(unavailable)?;
    let mut rows = query.query(params![handle.0]).map_err(unavailable)?;
    let row = rows.next().map_err(unavailable)?;
    row.map(placement_row).transpose()
}

/// Objects in the order of their rows, after that one.
pub fn resting(db: &Connection, after: i64, limit: usize) -> Result<Vec<Resting>> {
    let mut query = db
        .prepare_cached(
            "SELECT id, bucket, location, classes, subjects, coverage, size FROM placements
             WHERE id > ?1 ORDER BY id LIMIT ?2",
        )
        .map_err(unavailable)?;
    let mut rows = query.query(params![after, row_limit(limit)]).map_err(unavailable)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next().map_err(unavailable)? {
        found.push(Resting {
            row: number(row, 0)?,
            bucket: BucketHandle(fixed("bucket", blob(row, 1)?)?),
            location: parse("location", text(row, 2)?)?,
            classes: split("classes", text(row, 3)?)?,
            subjects: split("subjects", text(row, 4)?)?,
            coverage: codec::coverage_from(text(row, 5)?)?,
            size: unsigned("size", number(row, 6)?)?,
        });
    }
    Ok(found)
}

pub fn places(db: &Connection, handles: &[ObjectHandle]) -> Result<Vec<Option<(LocationId, String)>>> {
    let mut query =
        db.prepare_cached("SELECT location, etag FROM placements WHERE handle = ?1").map_err(unavailable)?;
    let mut places = Vec::with_capacity(handles.len());
    for handle in handles {
        let columns = |r: &Row<'_>| Ok((r.get::<_, String>(0)?, r.get(1)?));
        let found = query.query_row(params![handle.0], columns).optional().map_err(unavailable)?;
        let place = found.map(|(location, etag)| Ok((parse("location", &location)?, etag)));
        places.push(place.transpose()?);
    }
    Ok(places)
}

pub fn intents(db: &Connection, keys: &Keys) -> Result<Vec<Intent>> {
    let sql = "SELECT id, handle, object, jurisdiction, sealed FROM intents ORDER BY id";
    let mut query = db.prepare_cached(sql).map_err(unavailable)?;
    read_intents(query.query([]).map_err(unavailable)?, keys)
}

/// The open intents of one object.
pub fn intents_of(db: &Connection, keys: &Keys, handle: ObjectHandle) -> Result<Vec<Intent>> {
    let sql = "SELECT id, handle, object, jurisdiction, sealed FROM intents WHERE handle = ?1 ORDER BY id";
    let mut query = db.prepare_cached(sql).map_err(unavailable)?;
    read_intents(query.query(params![handle.0]).map_err(unavailable)?, keys)
}

fn read_intents(mut rows: Rows<'_>, keys: &Keys) -> Result<Vec<Intent>> {
    let mut intents = Vec::new();
    while let Some(row) = rows.next().map_err(unavailable)? {
        let handle = ObjectHandle(fixed("handle", blob(row, 1)?)?);
        let object = ObjectId(fixed("object id", blob(row, 2)?)?);
        let seal = seal_key(keys, parse("jurisdiction", text(row, 3)?)?)?;
        let plain = seal.open(&[b"intent", &handle.0], blob(row, 4)?).map_err(unreadable)?;
        let record: IntentRecord = from_json("intent", &plain)?;
        intents.push(record.into_intent(unsigned("intent id", number(row, 0)?)?, handle, object)?);
    }
    Ok(intents)
}

/// The open intents of one object and where they write, without opening their names.
pub fn writes_of(db: &Connection, handle: ObjectHandle) -> Result<Vec<(u64, LocationId)>> {
    let mut query = db
        .prepare_cached("SELECT id, location FROM intents WHERE handle = ?1 ORDER BY id")
        .map_err(unavailable)?;
    let mut rows = query.query(params![handle.0]).map_err(unavailable)?;
    let mut intents = Vec::new();
    while let Some(row) = rows.next().map_err(unavailable)? {
        intents.push((unsigned("intent id", number(row, 0)?)?, parse("location", text(row, 1)?)?));
    }
    Ok(intents)
}

const RESIDUE: &str =
    "SELECT id, handle, object, jurisdiction, location, etag, version, transfer, since, sealed FROM residues";

pub fn residues(db: &Connection, keys: &Keys, limit: usize) -> Result<Vec<Residue>> {
    let mut query = db.prepare_cached(&format!("{RESIDUE} ORDER BY id LIMIT ?1")).map_err(unavailable)?;
    residue_rows(query.query(params![row_limit(limit)]).map_err(unavailable)?, keys)
}

pub fn residues_of(db: &Connection, keys: &Keys, handle: ObjectHandle) -> Result<Vec<Residue>> {
    let mut query =
        db.prepare_cached(&format!("{RESIDUE} WHERE handle = ?1 ORDER BY id")).map_err(unavailable)?;
    residue_rows(query.query(params![handle.0]).map_err(unavailable)?, keys)
}

fn residue_rows(mut rows: Rows<'_>, keys: &Keys) -> Result<Vec<Residue>> {
    let mut residues = Vec::new();
    while let Some(row) = rows.next().map_err(unavailable)? {
        residues.push(residue_row(row, keys)?.0);
    }
    Ok(residues)
}

/// With the jurisdiction that it lies in, and the transfer that left it behind.
type ListedResidue = (Residue, Country, Option<[u8; 16]>);

pub fn residue(db: &Connection, keys: &Keys, id: i64) -> Result<Option<ListedResidue>> {
    let mut query = db.prepare_cached(&format!("{RESIDUE} WHERE id = ?1")).map_err(unavailable)?;
    let mut rows = query.query(params![id]).map_err(unavailable)?;
    rows.next().map_err(unavailable)?.map(|row| residue_row(row, keys)).transpose()
}

fn residue_row(row: &Row<'_>, keys: &Keys) -> Result<ListedResidue> {
    let handle = ObjectHandle(fixed("handle", blob(row, 1)?)?);
    let jurisdiction = parse("jurisdiction", text(row, 3)?)?;
    let plain = seal_key(keys, jurisdiction)?.open(&[b"residue", &handle.0], blob(row, 9)?);
    let names: Names = from_json("residue", &plain.map_err(unreadable)?)?;
    let transfer: Option<Vec<u8>> = row.get(7).map_err(unavailable)?;
    let residue = Residue {
        id: unsigned("residue id", number(row, 0)?)?,
        object: ObjectId(fixed("object id", blob(row, 2)?)?),
        handle,
        bucket: names.bucket,
        key: names.key,
        location: parse("location", text(row, 4)?)?,
        etag: text(row, 5)?.to_owned(),
        version: row.get(6).map_err(unavailable)?,
        since: unsigned("since", number(row, 8)?)?,
    };
    Ok((residue, jurisdiction, transfer.map(|id| fixed("transfer", &id)).transpose()?))
}

pub fn bucket(db: &Connection, keys: &Keys, handle: BucketHandle) -> Result<Option<Bucket>> {
    let mut query = db
        .prepare_cached(
            "SELECT handle, jurisdiction, sealed, versioning, places FROM buckets WHERE handle = ?1",
        )
        .map_err(unavailable)?;
    let mut rows = query.query(params![handle.0]).map_err(unavailable)?;
    rows.next().map_err(unavailable)?.map(|row| bucket_row(row, keys)).transpose()
}

/// All of them, by name.
pub fn buckets(db: &Connection, keys: &Keys) -> Result<Vec<Bucket>> {
    let mut query = db
        .prepare_cached("SELECT handle, jurisdiction, sealed, versioning, places FROM buckets")
        .map_err(unavailable)?;
    let mut rows = query.query([]).map_err(unavailable)?;
    let mut buckets = Vec::new();
    while let Some(row) = rows.next().map_err(unavailable)? {
        buckets.push(bucket_row(row, keys)?);
    }
    buckets.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(buckets)
}

fn bucket_row(row: &Row<'_>, keys: &Keys) -> Result<Bucket> {
    let seal = seal_key(keys, parse("jurisdiction", text(row, 1)?)?)?;
    let plain = seal.open(&[b"bucket", blob(row, 0)?], blob(row, 2)?).map_err(unreadable)?;
    let versioning = codec::versioning_from(text(row, 3)?)?;
    let places: Option<String> = row.get(4).map_err(unavailable)?;
    let places = places.map(|places| codec::split("places", &places)).transpose()?;
    from_json::<BucketRecord>("bucket", &plain).map(|record| record.into_bucket(versioning, places))
}

pub fn placed_in(
    db: &Connection,
    bucket: BucketHandle,
    limit: usize,
) -> Result<Vec<(ObjectHandle, Placement)>> {
    let mut query = db
        .prepare_cached(
            "SELECT object, location, classes, subjects, coverage, evidence, etag, version, size, policy, rules,
                 obligations, placed_at, ord, handle FROM placements WHERE bucket = ?1
             UNION ALL SELECT object, location, classes, subjects, coverage, evidence, etag, version, size, policy,
                 rules, obligations, placed_at, ord, handle FROM versions WHERE bucket = ?1 LIMIT ?2",
        )
        .map_err(unavailable)?;
    let mut rows = query.query(params![bucket.0, row_limit(limit)]).map_err(unavailable)?;
    let mut placed = Vec::new();
    while let Some(row) = rows.next().map_err(unavailable)? {
        placed.push((ObjectHandle(fixed("handle", blob(row, 14)?)?), placement_row(row)?));
    }
    Ok(placed)
}

pub fn count_in_bucket(db: &Connection, handle: BucketHandle, limit: usize) -> Result<usize> {
    let count: i64 = db
        .prepare_cached(
            "SELECT count(*) FROM (SELECT 1 FROM placements WHERE bucket = ?1
                 UNION ALL SELECT 1 FROM versions WHERE bucket = ?1 LIMIT ?2)",
        )
        .and_then(|mut q| q.query_row(params![handle.0, row_limit(limit)], |row| row.get(0)))
        .map_err(unavailable)?;
    usize::try_from(count).map_err(|_| codec::corrupt("count"))
}

/// The verdict and when it ends, if it has not by `now`.
pub fn verdict(db: &Connection, handle: ObjectHandle, now: u64) -> Result<Option<(Verdict, u64)>> {
    let columns = |r: &Row<'_>| Ok((r.get::<_, String>(0)?, r.get::<_, String>(1)?, r.get(2)?));
    let row = db
        .prepare_cached("SELECT classes, subjects, until FROM verdicts WHERE handle = ?1 AND until > ?2")
        .and_then(|mut q| {
            q.query_row(params![handle.0, i64::try_from(now).unwrap_or(i64::MAX)], columns).optional()
        })
        .map_err(unavailable)?;
    let Some((classes, subjects, until)) = row else { return Ok(None) };
    let verdict = Verdict { classes: split("classes", &classes)?, subjects: split("subjects", &subjects)? };
    Ok(Some((verdict, unsigned("until", until)?)))
}

/// Whether any verdict is remembered, expired or not.
pub fn has_verdicts(db: &Connection) -> Result<bool> {
    db.query_row("SELECT EXISTS(SELECT 1 FROM verdicts)", [], |row| row.get(0)).map_err(unavailable)
}

/// Each log has its own order, so the newest lines of each are read and then merged by time.
pub fn history(db: &Connection, object: ObjectId, limit: usize) -> Result<Vec<HistoryLine>> {
    let mut query = db
        .prepare_cached(
            "SELECT id, bytes FROM entries WHERE object = ?1 AND id >= ?2 AND id < ?3 ORDER BY id DESC LIMIT ?4",
        )
        .map_err(unavailable)?;
    let mut lines: Vec<HistoryLine> = Vec::new();
    for (log, info) in logs_by_id(db)? {
        let (first, end) = (first_row(log), first_row(log + 1));
        let mut rows = query.query(params![object.0, first, end, row_limit(limit)]).map_err(unavailable)?;
        while let Some(row) = rows.next().map_err(unavailable)? {
            let index = unsigned("index", number(row, 0)? - first)?;
            let entry = Entry::parse(blob(row, 1)?).map_err(|_| codec::corrupt("log entry"))?;
            let receipt = Receipt { origin: info.origin.clone(), index };
            lines.push(HistoryLine { receipt, entry });
        }
    }
    // The index settles what one millisecond holds within one log; between logs nothing does.
    lines.sort_by_key(|line| (line.entry.time, line.receipt.index));
    lines.drain(..lines.len().saturating_sub(limit));
    Ok(lines)
}

pub fn logs(db: &Connection) -> Result<Vec<LogInfo>> {
    Ok(logs_by_id(db)?.into_iter().map(|(_, info)| info).collect())
}

fn logs_by_id(db: &Connection) -> Result<Vec<(i64, LogInfo)>> {
    let mut query =
        db.prepare_cached("SELECT id, origin, jurisdiction FROM logs ORDER BY id").map_err(unavailable)?;
    let mut rows = query.query([]).map_err(unavailable)?;
    let mut logs = Vec::new();
    while let Some(row) = rows.next().map_err(unavailable)? {
        let id = number(row, 0)?;
        let next = last_row(db, id)?.map_or(0, |last| last + 1 - first_row(id));
        let jurisdiction = parse("jurisdiction", text(row, 2)?)?;
        let origin = text(row, 1)?.to_owned();
        logs.push((id, LogInfo { origin, jurisdiction, size: unsigned("size", next)? }));
    }
    Ok(logs)
}

pub fn entries(db: &Connection, origin: &str, from: u64, to: u64) -> Result<Vec<Vec<u8>>> {
    let Some(log) = log_id(db, origin)? else { return Ok(Vec::new()) };
    let to = to.min(from.saturating_add(MAX_ENTRIES_PER_CALL));
    let row = |index: u64| first_row(log) + integer_within_log(index);
    let mut query = db
        .prepare_cached("SELECT id, bytes FROM entries WHERE id >= ?1 AND id < ?2 ORDER BY id")
        .map_err(unavailable)?;
    let mut rows = query.query(params![row(from), row(to)]).map_err(unavailable)?;
    let mut entries = Vec::new();
    let mut expected = row(from);
    while let Some(found) = rows.next().map_err(unavailable)? {
        if number(found, 0)? != expected {
            return Err(codec::corrupt("a log with a gap"));
        }
        expected += 1;
        entries.push(blob(found, 1)?.to_owned());
    }
    Ok(entries)
}

/// What an entry's commitment commits to; `None` where it commits to nothing or has been erased.
pub fn opening(db: &Connection, keys: &Keys, origin: &str, index: u64) -> Result<Option<Opening>> {
    let Some(log) = log_id(db, origin)? else { return Ok(None) };
    let columns = |r: &Row<'_>| Ok((r.get(0)?, r.get(1)?, r.get(2)?));
    let row: Option<(String, Vec<u8>, Vec<u8>)> = db
        .prepare_cached(
            "SELECT logs.jurisdiction, sidecar.data_key, sidecar.sealed
             FROM sidecar JOIN logs ON logs.id = ?2 WHERE sidecar.id = ?1",
        )
        .and_then(|mut q| {
            q.query_row(params![first_row(log) + integer_within_log(index), log], columns).optional()
        })
        .map_err(unavailable)?;
    let Some((jurisdiction, key_id, sealed)) = row else { return Ok(None) };
    let jurisdiction = parse("jurisdiction", &jurisdiction)?;
    let key_id = fixed("data key id", &key_id)?;
    let Some(key) = data_key(db, &*seal_key(keys, jurisdiction)?, &key_id, jurisdiction)? else {
        return Ok(None);
    };
    let context = sidecar_context(origin, index, &key_id);
    let context: Vec<&[u8]> = context.iter().map(Vec::as_slice).collect();
    let plain = key.open(&context, &sealed).map_err(unreadable)?;
    Opening::from_bytes(&plain).map(Some).map_err(|_| codec::corrupt("sidecar"))
}

/// Row id of the newest entry of a log.
pub fn last_row(db: &Connection, log: i64) -> Result<Option<i64>> {
    db.prepare_cached("SELECT max(id) FROM entries WHERE id >= ?1 AND id < ?2")
        .and_then(|mut q| q.query_row(params![first_row(log), first_row(log + 1)], |row| row.get(0)))
        .map_err(unavailable)
}

pub fn data_key(
    db: &Connection,
    seal: &SealKey,
    id: &[u8; 16],
    jurisdiction: Country,
) -> Result<Option<DataKey>> {
    let wrapped: Option<Vec<u8>> = db
        .prepare_cached("SELECT wrapped FROM data_keys WHERE id = ?1 AND jurisdiction = ?2")
        .and_then(|mut q| q.query_row(params![id, jurisdiction.code()], |row| row.get(0)).optional())
        .map_err(unavailable)?;
    let context = data_key_context(id, jurisdiction);
    wrapped.map(|wrapped| seal.unwrap_data_key(&context, &wrapped).map_err(unreadable)).transpose()
}

pub fn data_key_context(id: &[u8; 16], jurisdiction: Country) -> [&[u8]; 3] {
    [b"data key", id, jurisdiction.code().as_bytes()]
}

/// A sidecar record opens only as what belongs to this entry of this log.
pub fn sidecar_context(origin: &str, index: u64, key_id: &[u8; 16]) -> [Vec<u8>; 4] {
    [b"sidecar".to_vec(), origin.as_bytes().to_vec(), index.to_be_bytes().to_vec(), key_id.to_vec()]
}

fn log_id(db: &Connection, origin: &str) -> Result<Option<i64>> {
    db.prepare_cached("SELECT id FROM logs WHERE origin = ?1")
        .and_then(|mut q| q.query_row(params![origin], |row| row.get(0)).optional())
        .map_err(unavailable)
}

/// Beyond the last possible index stands for "the end of the log".
fn integer_within_log(index: u64) -> i64 {
    integer("index", index).map_or(first_row(1), |index| index.min(first_row(1)))
}

fn row_limit(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

pub fn seal_key(keys: &Keys, jurisdiction: Country) -> Result<std::sync::Arc<SealKey>> {
    let seal = keys.seal_key(jurisdiction, OnMissing::Refuse);
    seal.map_err(|error| CatalogueError::Unavailable(error.to_string()))
}

pub fn unreadable(error: KeyError) -> CatalogueError {
    CatalogueError::Corrupt(error.to_string())
}

pub fn text<'a>(row: &'a Row<'_>, column: usize) -> Result<&'a str> {
    let value = row.get_ref(column).map_err(unavailable)?;
    value.as_str().map_err(|_| codec::corrupt("text column"))
}

pub fn blob<'a>(row: &'a Row<'_>, column: usize) -> Result<&'a [u8]> {
    let value = row.get_ref(column).map_err(unavailable)?;
    value.as_blob().map_err(|_| codec::corrupt("binary column"))
}

pub fn number(row: &Row<'_>, column: usize) -> Result<i64> {
    row.get(column).map_err(unavailable)
}
