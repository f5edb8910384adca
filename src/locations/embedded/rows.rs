//! The records of the index: buckets, objects, multipart uploads, and how they change together.
//!
//! Functions over a connection, run inside a transaction of `index`. Keys are blobs, so that SQLite orders them by
//! their UTF-8 bytes. What an object is listed with sits in `objects`, the rest in `versions`, so that listing is narrow.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::attributes::Attributes;
use super::blobs::{BlobId, Retired};
use super::digest::ObjectChecksum;
use super::error::{EmbeddedError, Failure};
use super::lock::BucketLock;
use super::versioning;
use crate::names::{BucketName, ObjectKey};
use crate::s3::error::{Code, S3Error};

pub fn create_tables(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(
        "BEGIN IMMEDIATE;
        CREATE TABLE IF NOT EXISTS buckets (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            name TEXT NOT NULL UNIQUE,
            created INTEGER NOT NULL
        ) STRICT;
        CREATE TABLE IF NOT EXISTS objects (
            bucket INTEGER NOT NULL,
            key BLOB NOT NULL,
            version INTEGER NOT NULL,
            size INTEGER NOT NULL,
            etag TEXT NOT NULL,
            modified INTEGER NOT NULL,
            PRIMARY KEY (bucket, key)
        ) STRICT, WITHOUT ROWID;
        -- Ids are never used twice: readers hold blobs by them.
        CREATE TABLE IF NOT EXISTS versions (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            headers BLOB NOT NULL,
            tags TEXT NOT NULL,
            checksum TEXT
        ) STRICT;
        CREATE TABLE IF NOT EXISTS segments (
            version INTEGER NOT NULL,
            number INTEGER NOT NULL,
            start INTEGER NOT NULL,
            size INTEGER NOT NULL,
            blob BLOB NOT NULL,
            PRIMARY KEY (version, number)
        ) STRICT, WITHOUT ROWID;
        CREATE UNIQUE INDEX IF NOT EXISTS segments_by_blob ON segments (blob);
        CREATE TABLE IF NOT EXISTS uploads (
            bucket INTEGER NOT NULL,
            key BLOB NOT NULL,
            id TEXT NOT NULL,
            headers BLOB NOT NULL,
            tags TEXT NOT NULL,
            checksum TEXT,
            created INTEGER NOT NULL,
            PRIMARY KEY (bucket, key, id)
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE IF NOT EXISTS parts (
            upload TEXT NOT NULL,
            number INTEGER NOT NULL,
            size INTEGER NOT NULL,
            etag TEXT NOT NULL,
            checksum TEXT,
            modified INTEGER NOT NULL,
            blob BLOB NOT NULL,
            PRIMARY KEY (upload, number)
        ) STRICT, WITHOUT ROWID;
        CREATE UNIQUE INDEX IF NOT EXISTS parts_by_blob ON parts (blob);
        -- Older versions, and delete markers. Objects have the version that everybody reads.
        CREATE TABLE IF NOT EXISTS history (
            bucket INTEGER NOT NULL,
            key BLOB NOT NULL,
            version INTEGER NOT NULL,
            is_null INTEGER NOT NULL,
            marker INTEGER NOT NULL,
            size INTEGER NOT NULL,
            etag TEXT NOT NULL,
            modified INTEGER NOT NULL,
            PRIMARY KEY (bucket, key, version DESC)
        ) STRICT, WITHOUT ROWID;
        COMMIT;",
    )?;
    // Format 1 kept no versions: all that it holds is of the version `null`.
    add_column(connection, "buckets", "versioning TEXT NOT NULL DEFAULT ''")?;
    add_column(connection, "objects", "is_null INTEGER NOT NULL DEFAULT 1")?;
    // Format 2 had no locks.
    for table in ["buckets", "versions", "uploads"] {
        add_column(connection, table, "object_lock TEXT NOT NULL DEFAULT ''")?;
    }
    Ok(())
}

/// Unless the table has it already.
fn add_column(connection: &Connection, table: &str, column: &str) -> rusqlite::Result<()> {
    let name = column.split(' ').next();
    let sql = "SELECT EXISTS (SELECT 1 FROM pragma_table_info(?1) WHERE name = ?2)";
    if connection.query_row(sql, params![table, name], |row| row.get(0))? {
        return Ok(());
    }
    connection.execute_batch(&format!("ALTER TABLE {table} ADD COLUMN {column}"))
}

/// The row id of a bucket.
pub type BucketRow = i64;

/// An object as the index knows it.
#[derive(Debug, Clone)]
pub struct Object {
    pub version: i64,
    /// What clients call the version; `None` in a bucket that never kept any.
    pub name: Option<String>,
    pub size: u64,
    /// Without its quotes.
    pub etag: String,
    /// Milliseconds since the Unix epoch.
    pub modified: i64,
    pub attributes: Attributes,
    pub checksum: Option<ObjectChecksum>,
}

impl Object {
    /// How many parts it was uploaded in; `None` for what came in one piece. The ETag says so (S3 API reference, "Object").
    pub fn parts_count(&self) -> Option<&str> {
        self.etag.rsplit_once('-').map(|(_, count)| count)
    }
}

/// An object about to become visible.
#[derive(Debug)]
pub struct NewObject {
    pub etag: String,
    pub modified: i64,
    pub attributes: Attributes,
    pub checksum: Option<ObjectChecksum>,
    /// Blobs with their sizes, in order.
    pub segments: Vec<(BlobId, u64)>,
}

/// A stretch of an object's bytes in one blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    pub blob: BlobId,
    /// Position of its first byte in the object.
    pub start: u64,
    pub size: u64,
}

pub fn find_bucket(connection: &Connection, name: &BucketName) -> Result<Option<BucketRow>, Failure> {
    let mut statement = connection.prepare_cached("SELECT id FROM buckets WHERE name = ?1")?;
    Ok(statement.query_row([name.as_str()], |row| row.get(0)).optional()?)
}

/// The bucket, or `NoSuchBucket`.
pub fn bucket(connection: &Connection, name: &BucketName) -> Result<BucketRow, Failure> {
    find_bucket(connection, name)?.ok_or_else(|| {
        S3Error::new(Code::NoSuchBucket, "The specified bucket does not exist")
            .detail("BucketName", name.as_str())
            .into()
    })
}

pub fn create_bucket(
    connection: &Connection,
    name: &BucketName,
    created: i64,
    lock: BucketLock,
) -> Result<(), Failure> {
    if find_bucket(connection, name)?.is_some() {
        let message = "Your previous request to create the named bucket succeeded and you already own it.";
        return Err(S3Error::new(Code::BucketAlreadyOwnedByYou, message)
            .detail("BucketName", name.as_str())
            .into());
    }
    connection
        .prepare_cached(
            "INSERT INTO buckets (name, created, object_lock, versioning) VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute(params![name.as_str(), created, lock.to_record(), versioning::word_beside(lock)])?;
    Ok(())
}

/// Deletes an empty bucket. Uploads that nobody completed go with it, as in S3.
pub fn delete_bucket(connection: &Connection, name: &BucketName) -> Result<Vec<Retired>, Failure> {
    let bucket = bucket(connection, name)?;
    let occupied: bool = connection
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM objects WHERE bucket = ?1)
             OR EXISTS (SELECT 1 FROM history WHERE bucket = ?1)",
        )?
        .query_row([bucket], |row| row.get(0))?;
    if occupied {
        return Err(S3Error::new(Code::BucketNotEmpty, "The bucket you tried to delete is not empty")
            .detail("BucketName", name.as_str())
            .into());
    }
    let uploads: Vec<String> = connection
        .prepare_cached("SELECT id FROM uploads WHERE bucket = ?1")?
        .query_map([bucket], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    let mut retired = Vec::new();
    for upload in uploads {
        retired.push(remove_parts(connection, &upload)?);
    }
    connection.prepare_cached("DELETE FROM uploads WHERE bucket = ?1")?.execute([bucket])?;
    connection.prepare_cached("DELETE FROM buckets WHERE id = ?1")?.execute([bucket])?;
    Ok(retired)
}

pub fn find_object(
    connection: &Connection,
    bucket: BucketRow,
    key: &ObjectKey,
) -> Result<Option<Object>, Failure> {
    let mut statement = connection.prepare_cached(
        "SELECT o.version, o.size, o.etag, o.modified, v.headers, v.tags, v.object_lock, v.checksum, o.is_null,
             b.versioning
         FROM objects o JOIN versions v ON v.id = o.version JOIN buckets b ON b.id = o.bucket
         WHERE o.bucket = ?1 AND o.key = ?2",
    )?;
    let mut rows = statement.query(params![bucket, key.as_str().as_bytes()])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let version = row.get(0)?;
    let keeps_versions = !row.get::<_, String>(9)?.is_empty();
    let name = keeps_versions.then_some(versioning::name(version, row.get(8)?));
    Ok(Some(Object {
        version,
        name,
        size: size(row, 1)?,
        etag: row.get(2)?,
        modified: row.get(3)?,
        attributes: attributes(row, 4)?,
        checksum: checksum(row, 7)?,
    }))
}

/// What a version carries besides its bytes.
pub fn describe_version(
    connection: &Connection,
    version: i64,
) -> Result<(Attributes, Option<ObjectChecksum>), Failure> {
    let mut statement = connection
        .prepare_cached("SELECT headers, tags, object_lock, checksum FROM versions WHERE id = ?1")?;
    let mut rows = statement.query([version])?;
    let row = rows.next()?.ok_or(EmbeddedError::Record("a version without its record"))?;
    Ok((attributes(row, 0)?, checksum(row, 3)?))
}

pub fn no_such_key(key: &ObjectKey) -> S3Error {
    S3Error::new(Code::NoSuchKey, "The specified key does not exist.").detail("Key", key.as_str())
}

/// Whether this version is still there.
pub fn version_exists(connection: &Connection, version: i64) -> Result<bool, Failure> {
    let mut statement = connection.prepare_cached("SELECT EXISTS (SELECT 1 FROM versions WHERE id = ?1)")?;
    Ok(statement.query_row([version], |row| row.get(0))?)
}

/// The segments that hold the bytes `from..to` of a version.
pub fn segments(connection: &Connection, version: i64, from: u64, to: u64) -> Result<Vec<Segment>, Failure> {
    let mut statement = connection.prepare_cached(
        "SELECT blob, start, size FROM segments WHERE version = ?1 AND start < ?3 AND start + size > ?2
         ORDER BY number",
    )?;
    let mut rows = statement.query(params![version, integer(from)?, integer(to)?])?;
    let mut segments = Vec::new();
    while let Some(row) = rows.next()? {
        segments.push(Segment { blob: BlobId(row.get(0)?), start: size(row, 1)?, size: size(row, 2)? });
    }
    Ok(segments)
}

/// The stretches that were uploaded as parts, in order: where each begins, and its length. One for what came in one piece.
pub fn parts(connection: &Connection, version: i64) -> Result<Vec<(u64, u64)>, Failure> {
    let mut statement =
        connection.prepare_cached("SELECT start, size FROM segments WHERE version = ?1 ORDER BY number")?;
    let mut rows = statement.query([version])?;
    let mut parts = Vec::new();
    while let Some(row) = rows.next()? {
        parts.push((size(row, 0)?, size(row, 1)?));
    }
    Ok(parts)
}

/// What a write did.
pub struct Written {
    pub retired: Vec<Retired>,
    /// What clients call the new version; `None` in a bucket that never kept any.
    pub name: Option<String>,
}

/// Makes an object visible, in the place of what was there or as a version in front of it.
pub fn put_object(
    connection: &Connection,
    bucket: BucketRow,
    key: &ObjectKey,
    object: &NewObject,
) -> Result<Written, Failure> {
    let lock = BucketLock::of(connection, bucket)?.give(object.attributes.lock)?;
    let (is_null, retired) = versioning::make_room(connection, bucket, key)?;
    connection
        .prepare_cached(
            "INSERT INTO versions (headers, tags, checksum, object_lock) VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute(params![
            object.attributes.to_record(),
            object.attributes.tags.to_form(),
            object.checksum.as_ref().map(ObjectChecksum::to_record),
            lock.to_record(),
        ])?;
    let version = connection.last_insert_rowid();
    let mut insert = connection.prepare_cached(
        "INSERT INTO segments (version, number, start, size, blob) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    let mut start = 0_u64;
    for (number, (blob, size)) in (1_i64..).zip(&object.segments) {
        insert.execute(params![version, number, integer(start)?, integer(*size)?, blob.0])?;
        start = start.checked_add(*size).ok_or(EmbeddedError::Record("object size"))?;
    }
    connection
        .prepare_cached(
            "INSERT INTO objects (bucket, key, version, size, etag, modified, is_null)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute(params![
            bucket,
            key.as_str().as_bytes(),
            version,
            integer(start)?,
            object.etag,
            object.modified,
            is_null
        ])?;
    let keeps_versions = versioning::status(connection, bucket)?.is_some();
    Ok(Written { retired, name: keeps_versions.then(|| versioning::name(version, is_null)) })
}

/// Forgets the current version of an object, if there is one.
pub fn remove_object(
    connection: &Connection,
    bucket: BucketRow,
    key: &ObjectKey,
) -> Result<Vec<Retired>, Failure> {
    let version: Option<i64> = connection
        .prepare_cached("DELETE FROM objects WHERE bucket = ?1 AND key = ?2 RETURNING version")?
        .query_row(params![bucket, key.as_str().as_bytes()], |row| row.get(0))
        .optional()?;
    match version {
        None => Ok(Vec::new()),
        Some(version) => Ok(vec![remove_version(connection, version)?]),
    }
}

/// Forgets what belongs to a version that no key has any more.
pub fn remove_version(connection: &Connection, version: i64) -> Result<Retired, Failure> {
    let blobs = connection
        .prepare_cached("DELETE FROM segments WHERE version = ?1 RETURNING blob")?
        .query_map([version], |row| row.get(0).map(BlobId))?
        .collect::<Result<_, _>>()?;
    connection.prepare_cached("DELETE FROM versions WHERE id = ?1")?.execute([version])?;
    Ok(Retired { version: Some(version), blobs })
}

pub fn set_tags(connection: &Connection, version: i64, tags: &str) -> Result<(), Failure> {
    connection
        .prepare_cached("UPDATE versions SET tags = ?2 WHERE id = ?1")?
        .execute(params![version, tags])?;
    Ok(())
}

/// Removes the parts of an upload, and the upload's claim on their blobs.
pub fn remove_parts(connection: &Connection, upload: &str) -> Result<Retired, Failure> {
    let blobs = connection
        .prepare_cached("DELETE FROM parts WHERE upload = ?1 RETURNING blob")?
        .query_map([upload], |row| row.get(0).map(BlobId))?
        .collect::<Result<_, _>>()?;
    Ok(Retired { version: None, blobs })
}

/// All blobs of one of the 256 folders that some row names.
pub fn blobs_of_shard(
    connection: &Connection,
    shard: u8,
) -> Result<std::collections::HashSet<BlobId>, EmbeddedError> {
    let (mut low, mut high) = ([0_u8; 16], [0xff_u8; 16]);
    low[0] = shard;
    high[0] = shard;
    let mut statement = connection.prepare_cached(
        "SELECT blob FROM segments WHERE blob BETWEEN ?1 AND ?2
         UNION ALL SELECT blob FROM parts WHERE blob BETWEEN ?1 AND ?2",
    )?;
    let blobs = statement.query_map(params![low, high], |row| row.get(0).map(BlobId))?;
    Ok(blobs.collect::<Result<_, _>>()?)
}

/// A count of bytes or of milliseconds, as SQLite holds it.
pub fn integer(value: u64) -> Result<i64, EmbeddedError> {
    i64::try_from(value).map_err(|_| EmbeddedError::Record("a size beyond 2^63"))
}

pub fn size(row: &Row<'_>, column: usize) -> Result<u64, Failure> {
    let value: i64 = row.get(column)?;
    Ok(u64::try_from(value).map_err(|_| EmbeddedError::Record("a negative size"))?)
}

pub fn key(row: &Row<'_>, column: usize) -> Result<String, Failure> {
    let bytes: Vec<u8> = row.get(column)?;
    Ok(String::from_utf8(bytes).map_err(|_| EmbeddedError::Record("a key that is not UTF-8"))?)
}

/// Headers in `column`, tags and lock in those behind it.
pub fn attributes(row: &Row<'_>, column: usize) -> Result<Attributes, Failure> {
    let headers: Vec<u8> = row.get(column)?;
    let tags: String = row.get(column + 1)?;
    let lock: String = row.get(column + 2)?;
    let attributes = Attributes::from_record(&headers, &tags, &lock);
    Ok(attributes.ok_or(EmbeddedError::Record("headers, tags or lock"))?)
}

pub fn checksum(row: &Row<'_>, column: usize) -> Result<Option<ObjectChecksum>, Failure> {
    let record: Option<String> = row.get(column)?;
    match record {
        None => Ok(None),
        Some(record) => {
            Ok(Some(ObjectChecksum::from_record(&record).ok_or(EmbeddedError::Record("a checksum"))?))
        }
    }
}
