//! ListObjectVersions: all versions and delete markers, by key and newest first.

use http::Response;
use rusqlite::{Connection, params};

use super::buckets::{encoding, snapshot};
use super::describe::OWNER;
use super::error::Failure;
use super::request::Call;
use super::rows::{self, BucketRow};
use super::versioning::{VersionRow, Wanted};
use super::walk::{self, Bound, Entry, Last, Listing};
use super::{Inner, time};
use crate::body::Body;
use crate::s3::xml::{self, VersionElement, VersionEntry, VersionsPage, VersionsRequest, Writer};

const MAX_PAGE: usize = 1000;

/// Behind a key and version, or all of a key for the version `i64::MAX`. A current object is the newest of its key; a
/// delete marker is the latest where nothing is current and nothing is newer.
const BEHIND: &str = "
    SELECT key, version, is_null, 0 AS marker, size, etag, modified, 1 AS latest FROM objects
        WHERE bucket = ?1 AND key >= ?2 AND (key > ?2 OR version < ?3)
    UNION ALL
    SELECT key, version, is_null, marker, size, etag, modified,
            NOT EXISTS (SELECT 1 FROM objects o WHERE o.bucket = h.bucket AND o.key = h.key)
            AND version = (SELECT max(version) FROM history m WHERE m.bucket = h.bucket AND m.key = h.key)
        FROM history h WHERE bucket = ?1 AND key >= ?2 AND (key > ?2 OR version < ?3)
    ORDER BY key, version DESC LIMIT ?4";

pub async fn list(store: &Inner, call: Call) -> Result<Response<Body>, Failure> {
    store.read(move |connection| page(connection, &call)).await
}

fn page(connection: &Connection, call: &Call) -> Result<Response<Body>, Failure> {
    let query = &call.query;
    let text = |name: &str| query.text(name).to_owned();
    let request = VersionsRequest {
        prefix: text("prefix"),
        delimiter: Some(text("delimiter")).filter(|delimiter| !delimiter.is_empty()),
        key_marker: text("key-marker"),
        version_id_marker: text("version-id-marker"),
        max_keys: query.count("max-keys", MAX_PAGE)?,
        encoding: encoding(call)?,
    };
    let bucket = rows::bucket(connection, &call.bucket)?;
    let listing = Listing {
        prefix: &request.prefix,
        delimiter: request.delimiter.as_deref().unwrap_or_default(),
        from: start(connection, bucket, &request)?,
        max: request.max_keys,
    };
    let page =
        snapshot(connection, || walk::walk(&listing, |bound, n| behind(connection, bucket, bound, n)))?;
    let mut answer = VersionsPage { is_truncated: page.last.is_some(), ..VersionsPage::default() };
    match &page.last {
        Some(Last::Group(group)) => answer.next_key_marker = Some(group.clone()),
        Some(Last::Entry) => {
            let last = page.entries.last();
            answer.next_key_marker = last.map(|last| last.key.clone());
            answer.next_version_id_marker = last.map(|last| last.row.name());
        }
        None => {}
    }
    answer.entries = page.entries.into_iter().map(Listed::into_entry).collect();
    answer.common_prefixes = page.groups;
    Ok(xml::response(xml::versions_result(&call.bucket, OWNER, &request, &answer)))
}

fn start(
    connection: &Connection,
    bucket: BucketRow,
    request: &VersionsRequest,
) -> Result<Option<Bound>, Failure> {
    let (key, marker) = (request.key_marker.as_str(), request.version_id_marker.as_str());
    let delimiter = request.delimiter.as_deref().unwrap_or_default();
    if key.is_empty() {
        return Ok(None);
    }
    let version = match Wanted::parse(Some(marker).filter(|marker| !marker.is_empty()))? {
        Wanted::Current => None,
        Wanted::Id(id) => Some(id),
        Wanted::Null => connection
            .prepare_cached(
                "SELECT max(version) FROM (
                     SELECT version FROM objects WHERE bucket = ?1 AND key = ?2 AND is_null
                     UNION ALL SELECT version FROM history WHERE bucket = ?1 AND key = ?2 AND is_null)",
            )?
            .query_row(params![bucket, key.as_bytes()], |row| row.get(0))?,
    };
    Ok(Some(match version {
        None => walk::after_marker(key, &request.prefix, delimiter),
        Some(version) => Bound { key: key.as_bytes().to_vec(), id: rank(version) },
    }))
}

struct Listed {
    key: String,
    row: VersionRow,
    is_latest: bool,
}

impl Entry for Listed {
    fn key(&self) -> &str {
        &self.key
    }

    fn behind(&self) -> Bound {
        Bound { key: self.key.as_bytes().to_vec(), id: rank(self.row.version) }
    }
}

/// Newer versions stand before older ones, so the order of bounds is the reverse of that of ids.
fn rank(version: i64) -> String {
    format!("{:016x}", i64::MAX - version)
}

fn unrank(id: &str) -> i64 {
    i64::from_str_radix(id, 16).map_or(i64::MAX, |rank| i64::MAX - rank)
}

impl Listed {
    fn into_entry(self) -> VersionEntry {
        let Listed { key, row, is_latest } = self;
        let mut rest = Writer::fragment();
        rest.value("LastModified", time::iso_date(row.modified));
        if !row.is_marker {
            rest.value("ETag", format!("\"{}\"", row.etag))
                .value("Size", row.size)
                .value("StorageClass", "STANDARD");
        }
        VersionEntry {
            id: row.name(),
            element: if row.is_marker { VersionElement::DeleteMarker } else { VersionElement::Version },
            is_latest,
            etag: String::new(),
            size: row.size,
            key,
            rest: rest.finish(),
        }
    }
}

fn behind(
    connection: &Connection,
    bucket: BucketRow,
    bound: &Bound,
    n: usize,
) -> Result<Vec<Listed>, Failure> {
    let mut statement = connection.prepare_cached(BEHIND)?;
    let mut rows =
        statement.query(params![bucket, bound.key, unrank(&bound.id), rows::integer(n as u64)?])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(Listed {
            key: rows::key(row, 0)?,
            row: VersionRow::read(row, 1)?,
            is_latest: row.get(7)?,
        });
    }
    Ok(found)
}
