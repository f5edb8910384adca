//! Versions: which one a request means, and how a write or a deletion treats those that there are.
//!
//! `objects` has the version that everybody reads, so that lists stay narrow; older ones and delete markers are in
//! `history`, and so is the newest one where it is a delete marker. A version's id is its row id, which is never used
//! twice and grows with every write; what was written while none were kept is also called `null`.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::blobs::Retired;
use super::digest::Asserted;
use super::error::Failure;
use super::index::Change;
use super::lock::{BucketLock, Bypass};
use super::objects::collect_document;
use super::request::Call;
use super::rows::{self, BucketRow, Object};
use super::{Inner, time};
use crate::body::Body;
use crate::names::ObjectKey;
use crate::s3::error::{Code, S3Error};
use crate::s3::xml::{self, Bound, VersioningStatus};

const MAX_DOCUMENT: usize = 16 * 1024;
pub const NULL: &str = "null";
pub const VERSION_ID: HeaderName = HeaderName::from_static("x-amz-version-id");
const DELETE_MARKER: HeaderName = HeaderName::from_static("x-amz-delete-marker");

/// The version that a request means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    Current,
    Null,
    Id(i64),
}

impl Wanted {
    pub fn parse(text: Option<&str>) -> Result<Wanted, S3Error> {
        match text {
            None => Ok(Wanted::Current),
            Some(NULL) => Ok(Wanted::Null),
            Some(text) => id(text).map(Wanted::Id).ok_or_else(|| {
                S3Error::new(Code::InvalidArgument, "Invalid version id specified")
                    .detail("ArgumentName", "versionId")
            }),
        }
    }
}

/// A version id as clients see it.
pub fn name(version: i64, is_null: bool) -> String {
    if is_null { NULL.to_owned() } else { format!("{version:016x}") }
}

fn id(name: &str) -> Option<i64> {
    let id = i64::from_str_radix(name, 16).ok()?;
    (self::name(id, false) == name).then_some(id)
}

/// PutBucketVersioning.
pub async fn put(store: &Inner, call: Call, body: Body) -> Result<Response<Body>, Failure> {
    let asserted = Asserted::from_headers(&call.headers, call.sha256.as_deref())?;
    let document: Bytes = collect_document(body, MAX_DOCUMENT, &asserted).await?;
    let status = xml::parse_versioning(&document, Bound(MAX_DOCUMENT))?;
    let work = move |connection: &Connection| {
        let bucket = rows::bucket(connection, &call.bucket)?;
        let locks = BucketLock::of(connection, bucket)? != BucketLock::Without;
        if locks && status != VersioningStatus::Enabled {
            let message = "An Object Lock configuration is present on this bucket, so the versioning state cannot be changed.";
            return Err(S3Error::new(Code::InvalidBucketState, message).into());
        }
        connection
            .prepare_cached("UPDATE buckets SET versioning = ?2 WHERE id = ?1")?
            .execute(params![bucket, status.word()])?;
        Ok(Change::new(()))
    };
    store.index.write(Vec::new(), work).await?;
    Ok(Response::new(Body::empty()))
}

/// GetBucketVersioning.
pub async fn get(store: &Inner, call: Call) -> Result<Response<Body>, Failure> {
    store
        .read(move |connection| {
            let bucket = rows::bucket(connection, &call.bucket)?;
            Ok(xml::response(xml::versioning_configuration(status(connection, bucket)?)))
        })
        .await
}

/// What `versioning` is in a new bucket: what can be locked is a version.
pub fn word_beside(lock: BucketLock) -> &'static str {
    match lock {
        BucketLock::Without => "",
        BucketLock::Enabled(_) => VersioningStatus::Enabled.word(),
    }
}

/// `None` where versions were never kept.
pub fn status(connection: &Connection, bucket: BucketRow) -> Result<Option<VersioningStatus>, Failure> {
    let word: String = connection
        .prepare_cached("SELECT versioning FROM buckets WHERE id = ?1")?
        .query_row([bucket], |row| row.get(0))?;
    let known = [VersioningStatus::Enabled, VersioningStatus::Suspended];
    Ok(known.into_iter().find(|status| status.word() == word))
}

/// The version that is wanted; or the error that S3 has for its being a delete marker, or not there.
pub fn object(
    connection: &Connection,
    bucket: BucketRow,
    key: &ObjectKey,
    wanted: Wanted,
) -> Result<Object, Failure> {
    let current = rows::find_object(connection, bucket, key)?;
    if let Some(current) = current.as_ref().filter(|current| is_wanted(current, wanted)) {
        return Ok(current.clone());
    }
    if wanted == Wanted::Current {
        let error = rows::no_such_key(key);
        return Err(match newest(connection, bucket, key)?.filter(|newest| newest.is_marker) {
            Some(marker) => about_marker(error, &marker).into(),
            None => error.into(),
        });
    }
    let Some(older) = find_older(connection, bucket, key, wanted)? else {
        let error = S3Error::new(Code::NoSuchVersion, "The specified version does not exist.");
        return Err(error.detail("Key", key.as_str()).into());
    };
    if older.is_marker {
        let message = "The specified method is not allowed against this resource.";
        let mut error = about_marker(S3Error::new(Code::MethodNotAllowed, message), &older);
        for (header, value) in
            [(http::header::ALLOW, "DELETE"), (http::header::LAST_MODIFIED, &time::http_date(older.modified))]
        {
            if let Ok(value) = HeaderValue::from_str(value) {
                error = error.header(header, value);
            }
        }
        return Err(error.into());
    }
    let object = rows::describe_version(connection, older.version)?;
    Ok(Object {
        version: older.version,
        name: Some(older.name()),
        size: older.size,
        etag: older.etag,
        modified: older.modified,
        attributes: object.0,
        checksum: object.1,
    })
}

fn is_wanted(current: &Object, wanted: Wanted) -> bool {
    match wanted {
        Wanted::Current => true,
        // Where versions were never kept, everything is the version `null`.
        Wanted::Null => current.name.as_deref().is_none_or(|name| name == NULL),
        Wanted::Id(id) => current.version == id && current.name.as_deref().is_some_and(|name| name != NULL),
    }
}

fn about_marker(error: S3Error, marker: &VersionRow) -> S3Error {
    let error = error.header(DELETE_MARKER, HeaderValue::from_static("true"));
    match HeaderValue::from_str(&marker.name()) {
        Ok(id) => error.header(VERSION_ID, id),
        Err(_) => error,
    }
}

/// A version or a delete marker, as a row says it.
pub struct VersionRow {
    pub version: i64,
    is_null: bool,
    pub is_marker: bool,
    pub size: u64,
    pub etag: String,
    pub modified: i64,
}

impl VersionRow {
    /// From six columns, `first` and those behind it: the fields in their order.
    pub fn read(row: &Row<'_>, first: usize) -> Result<VersionRow, Failure> {
        Ok(VersionRow {
            version: row.get(first)?,
            is_null: row.get(first + 1)?,
            is_marker: row.get(first + 2)?,
            size: rows::size(row, first + 3)?,
            etag: row.get(first + 4)?,
            modified: row.get(first + 5)?,
        })
    }

    pub fn name(&self) -> String {
        name(self.version, self.is_null)
    }
}

fn find_older(
    connection: &Connection,
    bucket: BucketRow,
    key: &ObjectKey,
    wanted: Wanted,
) -> Result<Option<VersionRow>, Failure> {
    let (condition, id) = match wanted {
        Wanted::Current => ("?3 IS NULL", None),
        Wanted::Null => ("is_null AND ?3 IS NULL", None),
        Wanted::Id(id) => ("NOT is_null AND version = ?3", Some(id)),
    };
    let sql = format!(
        "SELECT version, is_null, marker, size, etag, modified FROM history
         WHERE bucket = ?1 AND key = ?2 AND {condition} ORDER BY version DESC LIMIT 1"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let mut found = statement.query(params![bucket, key.as_str().as_bytes(), id])?;
    found.next()?.map(|row| VersionRow::read(row, 0)).transpose()
}

/// The newest row of `history`.
fn newest(
    connection: &Connection,
    bucket: BucketRow,
    key: &ObjectKey,
) -> Result<Option<VersionRow>, Failure> {
    find_older(connection, bucket, key, Wanted::Current)
}

/// Makes room for a new version of a key: what it replaces goes, what it follows is kept. Whether the new one is a
/// version `null`.
pub fn make_room(
    connection: &Connection,
    bucket: BucketRow,
    key: &ObjectKey,
) -> Result<(bool, Vec<Retired>), Failure> {
    let status = status(connection, bucket)?;
    let retired = match status {
        Some(VersioningStatus::Enabled) => Vec::new(),
        Some(VersioningStatus::Suspended) => {
            remove(connection, bucket, key, Wanted::Null, Bypass::Nothing)?.retired
        }
        None => rows::remove_object(connection, bucket, key)?,
    };
    if status.is_some() {
        connection
            .prepare_cached(
                "INSERT INTO history (bucket, key, version, is_null, marker, size, etag, modified)
                 SELECT bucket, key, version, is_null, 0, size, etag, modified FROM objects
                 WHERE bucket = ?1 AND key = ?2",
            )?
            .execute(params![bucket, key.as_str().as_bytes()])?;
        connection
            .prepare_cached("DELETE FROM objects WHERE bucket = ?1 AND key = ?2")?
            .execute(params![bucket, key.as_str().as_bytes()])?;
    }
    Ok((status != Some(VersioningStatus::Enabled), retired))
}

/// What a deletion did.
#[derive(Default)]
pub struct Deletion {
    pub retired: Vec<Retired>,
    /// The id of the version that was removed, or of the delete marker that was made.
    pub name: Option<String>,
    pub is_marker: bool,
}

impl Deletion {
    /// What the client is told of it.
    pub fn describe(name: Option<&str>, is_marker: bool, headers: &mut HeaderMap) {
        if let Some(name) = name.and_then(|name| HeaderValue::from_str(name).ok()) {
            headers.insert(VERSION_ID, name);
        }
        if is_marker {
            headers.insert(DELETE_MARKER, HeaderValue::from_static("true"));
        }
    }
}

/// DeleteObject: removes one version, or hides the object under a delete marker, or removes the object where versions
/// were never kept.
pub fn delete(
    connection: &Connection,
    bucket: BucketRow,
    key: &ObjectKey,
    wanted: Wanted,
    bypass: Bypass,
) -> Result<Deletion, Failure> {
    if wanted != Wanted::Current {
        return remove(connection, bucket, key, wanted, bypass);
    }
    let status = status(connection, bucket)?;
    let (is_null, retired) = make_room(connection, bucket, key)?;
    if status.is_none() {
        return Ok(Deletion { retired, ..Deletion::default() });
    }
    connection
        .prepare_cached("INSERT INTO versions (headers, tags, checksum) VALUES (x'', '', NULL)")?
        .execute([])?;
    let version = connection.last_insert_rowid();
    connection
        .prepare_cached(
            "INSERT INTO history (bucket, key, version, is_null, marker, size, etag, modified)
             VALUES (?1, ?2, ?3, ?4, 1, 0, '', ?5)",
        )?
        .execute(params![bucket, key.as_str().as_bytes(), version, is_null, time::now()])?;
    Ok(Deletion { retired, name: Some(name(version, is_null)), is_marker: true })
}

/// Removes one version, unless it is locked. The next older one is current then, if it is no delete marker.
fn remove(
    connection: &Connection,
    bucket: BucketRow,
    key: &ObjectKey,
    wanted: Wanted,
    bypass: Bypass,
) -> Result<Deletion, Failure> {
    let named = match wanted {
        Wanted::Id(id) => Some(name(id, false)),
        _ => Some(NULL.to_owned()),
    };
    let current = rows::find_object(connection, bucket, key)?;
    let mut deletion = Deletion { name: named, ..Deletion::default() };
    if let Some(current) = current.filter(|current| is_wanted(current, wanted)) {
        current.attributes.lock.check_removal(bypass)?;
        deletion.retired = rows::remove_object(connection, bucket, key)?;
    } else if let Some(older) = find_older(connection, bucket, key, wanted)? {
        rows::describe_version(connection, older.version)?.0.lock.check_removal(bypass)?;
        connection
            .prepare_cached("DELETE FROM history WHERE bucket = ?1 AND key = ?2 AND version = ?3")?
            .execute(params![bucket, key.as_str().as_bytes(), older.version])?;
        deletion.retired = vec![rows::remove_version(connection, older.version)?];
        deletion.is_marker = older.is_marker;
    }
    promote(connection, bucket, key)?;
    Ok(deletion)
}

fn promote(connection: &Connection, bucket: BucketRow, key: &ObjectKey) -> Result<(), Failure> {
    let Some(newest) = newest(connection, bucket, key)?.filter(|newest| !newest.is_marker) else {
        return Ok(());
    };
    let is_taken: Option<i64> = connection
        .prepare_cached("SELECT version FROM objects WHERE bucket = ?1 AND key = ?2")?
        .query_row(params![bucket, key.as_str().as_bytes()], |row| row.get(0))
        .optional()?;
    if is_taken.is_some() {
        return Ok(());
    }
    connection
        .prepare_cached(
            "INSERT INTO objects (bucket, key, version, size, etag, modified, is_null)
             SELECT bucket, key, version, size, etag, modified, is_null FROM history
             WHERE bucket = ?1 AND key = ?2 AND version = ?3",
        )?
        .execute(params![bucket, key.as_str().as_bytes(), newest.version])?;
    connection
        .prepare_cached("DELETE FROM history WHERE bucket = ?1 AND key = ?2 AND version = ?3")?
        .execute(params![bucket, key.as_str().as_bytes(), newest.version])?;
    Ok(())
}
