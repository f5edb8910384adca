//! The tables, their version, and how a connection is set up.
//!
//! Tables have integer row ids with a separate index on the random handle, so that a lookup reads a narrow index
//! and one row whatever the number of objects. An entry's row id is `log << 40 | index`: the log's order is
//! the table's order, and an append touches its right edge only.

use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, OptionalExtension, Transaction, TransactionBehavior, params};

use super::{OpenError, settings};
use crate::log::keys::Fingerprint;

/// Changes with every change of the tables.
const VERSION: i64 = 3;
/// `DOMC`: tells `file(1)` and us that a database is ours.
const APPLICATION_ID: i64 = 0x444f_4d43;
/// How long a statement waits for another process that holds the database.
const BUSY: Duration = Duration::from_millis(1000);

/// Bits of an entry's row id that hold its index.
pub const INDEX_BITS: u32 = 40;
/// Row id of the entry 0 of a log; the next log begins where `first_row(log + 1)` is.
pub fn first_row(log: i64) -> i64 {
    log << INDEX_BITS
}

const TABLES: &str = "
CREATE TABLE meta(name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT;

-- Which seal keys this catalogue was written with.
CREATE TABLE seals(jurisdiction TEXT PRIMARY KEY, fingerprint BLOB NOT NULL) STRICT;

CREATE TABLE placements(
    id INTEGER PRIMARY KEY, handle BLOB NOT NULL UNIQUE, bucket BLOB NOT NULL, object BLOB NOT NULL,
    jurisdiction TEXT NOT NULL, location TEXT NOT NULL, classes TEXT NOT NULL, subjects TEXT NOT NULL,
    coverage TEXT NOT NULL, evidence TEXT NOT NULL, etag TEXT NOT NULL, version TEXT, size INTEGER NOT NULL,
    policy TEXT NOT NULL, rules TEXT NOT NULL, obligations TEXT NOT NULL, placed_at INTEGER NOT NULL
) STRICT;
CREATE INDEX placements_by_bucket ON placements(bucket);

-- AUTOINCREMENT: the id of a settled intent or a removed residue never comes back as another one.
CREATE TABLE intents(
    id INTEGER PRIMARY KEY AUTOINCREMENT, handle BLOB NOT NULL, object BLOB NOT NULL, location TEXT NOT NULL,
    jurisdiction TEXT NOT NULL, sealed BLOB NOT NULL
) STRICT;
CREATE INDEX intents_by_handle ON intents(handle);

CREATE TABLE residues(
    id INTEGER PRIMARY KEY AUTOINCREMENT, handle BLOB NOT NULL, object BLOB NOT NULL, jurisdiction TEXT NOT NULL,
    location TEXT NOT NULL, etag TEXT NOT NULL, version TEXT, transfer BLOB, since INTEGER NOT NULL,
    claimed_until INTEGER NOT NULL DEFAULT 0, sealed BLOB NOT NULL
) STRICT;
CREATE INDEX residues_by_handle ON residues(handle);

CREATE TABLE buckets(handle BLOB PRIMARY KEY, jurisdiction TEXT NOT NULL, sealed BLOB NOT NULL) STRICT;

CREATE TABLE logs(
    id INTEGER PRIMARY KEY, origin TEXT NOT NULL UNIQUE, domain TEXT NOT NULL, jurisdiction TEXT NOT NULL,
    node TEXT NOT NULL, epoch INTEGER NOT NULL, opened_at INTEGER NOT NULL
) STRICT;

CREATE TABLE entries(id INTEGER PRIMARY KEY, object BLOB, bytes BLOB NOT NULL) STRICT;
CREATE INDEX entries_by_object ON entries(object) WHERE object IS NOT NULL;

-- `id` is the entry's. `data_key` is the object's id, or the entry's nonce where there is no object.
CREATE TABLE sidecar(id INTEGER PRIMARY KEY, data_key BLOB NOT NULL, sealed BLOB NOT NULL) STRICT;
CREATE TABLE data_keys(
    id BLOB NOT NULL, jurisdiction TEXT NOT NULL, wrapped BLOB NOT NULL, PRIMARY KEY(id, jurisdiction)
) STRICT, WITHOUT ROWID;

CREATE TABLE verdicts(
    handle BLOB PRIMARY KEY, classes TEXT NOT NULL, subjects TEXT NOT NULL, until INTEGER NOT NULL
) STRICT;
CREATE INDEX verdicts_by_until ON verdicts(until);

-- For people with a SQLite shell.
CREATE VIEW log_entries AS
    SELECT logs.origin, entries.id & ((1 << 40) - 1) AS idx, CAST(entries.bytes AS TEXT) AS entry
    FROM entries JOIN logs ON logs.id = entries.id >> 40;
";

/// Format 2: versions of objects. `placements` has the version that everybody reads; older ones and delete markers are in
/// `versions`, and so is the newest one where it is a delete marker. `ord` counts the versions of a key.
const VERSIONS: &str = "
ALTER TABLE buckets ADD COLUMN versioning TEXT NOT NULL DEFAULT 'never';
ALTER TABLE placements ADD COLUMN ord INTEGER NOT NULL DEFAULT 1;
CREATE TABLE versions(
    id INTEGER PRIMARY KEY, handle BLOB NOT NULL, bucket BLOB NOT NULL, object BLOB NOT NULL,
    jurisdiction TEXT NOT NULL, location TEXT NOT NULL, classes TEXT NOT NULL, subjects TEXT NOT NULL,
    coverage TEXT NOT NULL, evidence TEXT NOT NULL, etag TEXT NOT NULL, version TEXT, size INTEGER NOT NULL,
    policy TEXT NOT NULL, rules TEXT NOT NULL, obligations TEXT NOT NULL, placed_at INTEGER NOT NULL,
    ord INTEGER NOT NULL, kind TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX versions_by_order ON versions(handle, ord);
CREATE INDEX versions_by_id ON versions(handle, location, version);
CREATE INDEX versions_by_bucket ON versions(bucket);
";

/// Format 3: where a bucket is with all its settings, as location ids; NULL where nobody kept account of it.
const PLACES: &str = "ALTER TABLE buckets ADD COLUMN places TEXT;";

/// The one connection that writes. Creates or checks the tables.
pub fn open_for_writing(path: &Path, name_key: &Fingerprint) -> Result<Connection, OpenError> {
    let mut db = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    db.busy_timeout(BUSY)?;
    db.set_prepared_statement_cache_capacity(64);
    plan_once(&db)?;
    // Before anything is written: a newer program's file must stay as it is.
    check_version(&db)?;
    db.pragma_update(None, "journal_mode", "WAL")?;
    db.pragma_update(None, "synchronous", "FULL")?;
    db.pragma_update(None, "foreign_keys", true)?;
    // What is deleted is overwritten: intents hold names, if sealed ones, and data keys must die when they are erased.
    db.pragma_update(None, "secure_delete", true)?;
    db.pragma_update(None, "cache_size", -65_536)?;
    db.pragma_update(None, "wal_autocheckpoint", 4096)?;
    db.pragma_update(None, "journal_size_limit", 64 << 20)?;
    let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    match check_version(&tx)? {
        0 => create(&tx, name_key)?,
        VERSION => {}
        older => upgrade(&tx, older)?,
    }
    check_name_key(&tx, name_key)?;
    tx.execute_batch(settings::TABLE)?;
    // A crash can leave commits that were written but not flushed. They are visible now, so make them durable now: a
    // checkpoint of the placement log must never cover what a power cut can still take away. Any commit does
    // that, for it flushes the whole write-ahead log.
    tx.execute("INSERT OR REPLACE INTO meta VALUES ('opened', CAST(unixepoch() AS BLOB))", [])?;
    tx.commit()?;
    Ok(db)
}

/// A connection that only reads; it may be in another process than the writer.
pub fn open_for_reading(path: &Path, name_key: &Fingerprint) -> Result<Connection, OpenError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags)?;
    db.busy_timeout(BUSY)?;
    db.set_prepared_statement_cache_capacity(64);
    plan_once(&db)?;
    db.pragma_update(None, "cache_size", -16_384)?;
    match check_version(&db)? {
        0 => return Err(OpenError::NoCatalogue { path: path.to_owned() }),
        VERSION => {}
        found => return Err(OpenError::Older { found, known: VERSION }),
    }
    check_name_key(&db, name_key)?;
    Ok(db)
}

/// A statement keeps its plan whatever is bound to it. Otherwise SQLite compiles each statement that may use a partial index anew
/// for every value, which is a seventh of the work of a write.
fn plan_once(db: &Connection) -> rusqlite::Result<()> {
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map(drop)
}

/// 0 for an empty file.
fn check_version(db: &Connection) -> Result<i64, OpenError> {
    let pragma = |name: &str| db.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let (version, application) = (pragma("user_version")?, pragma("application_id")?);
    match version {
        found if found > VERSION && application == APPLICATION_ID => {
            Err(OpenError::Newer { found, known: VERSION })
        }
        0 if application == 0 => {
            let tables =
                db.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0))?;
            if tables == 0 { Ok(0) } else { Err(OpenError::NotOurs) }
        }
        1..=VERSION if application == APPLICATION_ID => Ok(version),
        _ => Err(OpenError::NotOurs),
    }
}

fn create(tx: &Transaction<'_>, name_key: &Fingerprint) -> Result<(), OpenError> {
    tx.execute_batch(TABLES)?;
    tx.execute_batch(VERSIONS)?;
    tx.execute_batch(PLACES)?;
    tx.execute("INSERT INTO meta VALUES ('name-key', ?1)", params![name_key])?;
    tx.pragma_update(None, "application_id", APPLICATION_ID)?;
    tx.pragma_update(None, "user_version", VERSION)?;
    Ok(())
}

/// In the transaction that opens the database, so that a crash leaves the old format or the new one.
fn upgrade(tx: &Transaction<'_>, older: i64) -> Result<(), OpenError> {
    if older < 2 {
        tx.execute_batch(VERSIONS)?;
    }
    tx.execute_batch(PLACES)?;
    tx.pragma_update(None, "user_version", VERSION)?;
    Ok(())
}

/// With another name key every object would seem unknown.
fn check_name_key(db: &Connection, name_key: &Fingerprint) -> Result<(), OpenError> {
    let query = "SELECT value FROM meta WHERE name = 'name-key'";
    let known: Option<Vec<u8>> = db.query_row(query, [], |row| row.get(0)).optional()?;
    if known.as_deref() == Some(name_key.as_slice()) { Ok(()) } else { Err(OpenError::ForeignNameKey) }
}

#[cfg(test)]
mod tests {
    use rusqlite::StatementStatus;

    use super::*;

    #[test]
    fn a_database_of_an_earlier_format_is_brought_to_this_one_with_what_is_in_it() {
        for format in 1..VERSION {
            upgrades(format);
        }
    }

    fn upgrades(format: i64) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("db");
        {
            let mut old = Connection::open(&path).unwrap();
            let tx = old.transaction().unwrap();
            tx.execute_batch(TABLES).unwrap();
            if format > 1 {
                tx.execute_batch(VERSIONS).unwrap();
            }
            tx.execute("INSERT INTO meta VALUES ('name-key', ?1)", params![[7u8; 16]]).unwrap();
            let bucket = "INSERT INTO buckets(handle, jurisdiction, sealed) VALUES (x'00', 'DE', x'01')";
            tx.execute(bucket, []).unwrap();
            tx.pragma_update(None, "application_id", APPLICATION_ID).unwrap();
            tx.pragma_update(None, "user_version", format).unwrap();
            tx.commit().unwrap();
        }
        let only_reading = open_for_reading(&path, &[7; 16]);
        assert!(matches!(only_reading, Err(OpenError::Older { found, known: VERSION }) if found == format));
        for _ in 0..2 {
            let db = open_for_writing(&path, &[7; 16]).unwrap();
            let versioning =
                db.query_row("SELECT versioning FROM buckets", [], |row| row.get::<_, String>(0));
            assert_eq!(versioning.unwrap(), "never");
            let places =
                db.query_row("SELECT places FROM buckets", [], |row| row.get::<_, Option<String>>(0));
            assert_eq!(places.unwrap(), None);
            let versions = db.query_row("SELECT count(*) FROM versions", [], |row| row.get::<_, i64>(0));
            assert_eq!(versions.unwrap(), 0);
        }
        open_for_reading(&path, &[7; 16]).unwrap();
    }

    #[test]
    fn statements_are_compiled_once() {
        let folder = tempfile::tempdir().unwrap();
        let db = open_for_writing(&folder.path().join("db"), &[7; 16]).unwrap();
        let sql =
            "SELECT id FROM entries WHERE object = ?1 AND id >= ?2 AND id < ?3 ORDER BY id DESC LIMIT 1";
        for object in 0..3u8 {
            let mut statement = db.prepare_cached(sql).unwrap();
            assert!(!statement.exists(params![[object; 16], first_row(1), first_row(2)]).unwrap());
            assert_eq!(statement.get_status(StatementStatus::RePrepare), 0);
        }
    }
}
