//! Bucket operations: create, head, delete, and the three lists.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::{HeaderValue, Response, StatusCode, header};
use rusqlite::{Connection, params};

use super::error::Failure;
use super::index::Change;
use super::lock::BucketLock;
use super::request::Call;
use super::rows::{self, BucketRow};
use super::walk::{self, Bound, Entry, Last, Listing, Page};
use super::{Inner, time};
use crate::body::{Body, CollectError};
use crate::s3::error::{Code, S3Error};
use crate::s3::listing::Encoding;
use crate::s3::xml::{self, Writer};

const MAX_PAGE: usize = 1000;
/// A `LocationConstraint` document is far shorter.
const MAX_CONFIGURATION_BYTES: usize = 64 * 1024;

const OBJECTS_BEHIND: &str =
    "SELECT key, size, etag, modified FROM objects WHERE bucket = ?1 AND key >= ?2 ORDER BY key LIMIT ?3";
const UPLOADS_BEHIND: &str = "SELECT key, id, created FROM uploads
    WHERE bucket = ?1 AND (key, id) > (?2, ?3) ORDER BY key, id LIMIT ?4";

type Answer = Result<Response<Body>, Failure>;

pub async fn create(store: &Inner, call: Call, body: Body) -> Answer {
    // The gateway has judged the constraint; here it is only read to its end.
    if let Err(CollectError::Read(error)) = body.collect_limited(MAX_CONFIGURATION_BYTES).await {
        return Err(Failure::Body(error));
    }
    let location = format!("/{}", call.bucket);
    let lock = BucketLock::from_headers(&call.headers);
    let work = move |connection: &Connection| {
        rows::create_bucket(connection, &call.bucket, time::now(), lock)?;
        Ok(Change::new(()))
    };
    store.index.write(Vec::new(), work).await?;
    let mut response = Response::new(Body::empty());
    if let Ok(location) = HeaderValue::from_str(&location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

pub async fn head(store: &Inner, call: Call) -> Answer {
    store.read(move |connection| rows::bucket(connection, &call.bucket)).await?;
    Ok(Response::new(Body::empty()))
}

/// What this store does not carry out, no bucket has.
pub async fn no_setting(store: &Inner, call: Call, code: Code) -> Answer {
    head(store, call).await?;
    Err(S3Error::new(code, "The bucket has no such setting; the embedded store does not carry it out.")
        .into())
}

pub async fn delete_no_setting(store: &Inner, call: Call) -> Answer {
    head(store, call).await?;
    Ok(super::objects::no_content())
}

pub async fn delete(store: &Inner, call: Call) -> Answer {
    let work = move |connection: &Connection| {
        Ok(Change { answer: (), retired: rows::delete_bucket(connection, &call.bucket)? })
    };
    store.index.write(Vec::new(), work).await?;
    store.blobs.settled().await;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    Ok(response)
}

/// ListObjects, version 1.
pub async fn list(store: &Inner, call: Call) -> Answer {
    store.read(move |connection| list_v1(connection, &call)).await
}

/// ListObjectsV2.
pub async fn list_v2(store: &Inner, call: Call) -> Answer {
    store.read(move |connection| list_second(connection, &call)).await
}

pub async fn list_uploads(store: &Inner, call: Call) -> Answer {
    store.read(move |connection| uploads(connection, &call)).await
}

fn list_v1(connection: &Connection, call: &Call) -> Answer {
    let query = &call.query;
    let encoding = encoding(call)?;
    let (prefix, delimiter, marker) = (query.text("prefix"), query.text("delimiter"), query.text("marker"));
    let max = query.count("max-keys", MAX_PAGE)?;
    let from = (!marker.is_empty()).then(|| walk::after_marker(marker, prefix, delimiter));
    let page = objects(connection, call, Listing { prefix, delimiter, from, max })?;
    let document = xml::document("ListBucketResult", |writer| {
        writer
            .value("Name", &call.bucket)
            .value("Prefix", encoding.apply(prefix))
            .value("Marker", encoding.apply(marker))
            .value("MaxKeys", max)
            .value("IsTruncated", page.last.is_some());
        if !delimiter.is_empty() {
            writer.value("Delimiter", encoding.apply(delimiter));
        }
        // Without a delimiter the next marker is the last key, and S3 leaves it at that.
        if let Some(next) = last_name(&page).filter(|_| !delimiter.is_empty()) {
            writer.value("NextMarker", encoding.apply(&next));
        }
        contents(writer, &page, encoding);
    });
    Ok(xml::response(document))
}

fn list_second(connection: &Connection, call: &Call) -> Answer {
    let query = &call.query;
    let encoding = encoding(call)?;
    let (prefix, delimiter) = (query.text("prefix"), query.text("delimiter"));
    let start_after = query.text("start-after");
    let max = query.count("max-keys", MAX_PAGE)?;
    let from = match query.value("continuation-token") {
        Some(token) => Some(Bound::at(decode_token(token)?)),
        None if start_after.is_empty() => None,
        None => Some(walk::after_marker(start_after, prefix, delimiter)),
    };
    let page = objects(connection, call, Listing { prefix, delimiter, from, max })?;
    let document = xml::document("ListBucketResult", |writer| {
        writer
            .value("Name", &call.bucket)
            .value("Prefix", encoding.apply(prefix))
            .value("MaxKeys", max)
            .value("KeyCount", page.entries.len() + page.groups.len())
            .value("IsTruncated", page.last.is_some());
        if !delimiter.is_empty() {
            writer.value("Delimiter", encoding.apply(delimiter));
        }
        if let Some(token) = query.value("continuation-token") {
            writer.value("ContinuationToken", token);
        }
        if !start_after.is_empty() {
            writer.value("StartAfter", encoding.apply(start_after));
        }
        if let Some(bound) = page.resume() {
            writer.value("NextContinuationToken", BASE64_URL_SAFE_NO_PAD.encode(bound.key));
        }
        contents(writer, &page, encoding);
    });
    Ok(xml::response(document))
}

fn uploads(connection: &Connection, call: &Call) -> Answer {
    let query = &call.query;
    let encoding = encoding(call)?;
    let (prefix, delimiter) = (query.text("prefix"), query.text("delimiter"));
    let (key_marker, id_marker) = (query.text("key-marker"), query.text("upload-id-marker"));
    let max = query.count("max-uploads", MAX_PAGE)?;
    // Without a key marker the upload id marker is ignored (S3 API reference, ListMultipartUploads).
    let from = match (key_marker, id_marker) {
        ("", _) => None,
        (key, "") => Some(walk::after_marker(key, prefix, delimiter)),
        (key, id) => Some(Bound { key: key.as_bytes().to_vec(), id: id.to_owned() }),
    };
    let bucket = rows::bucket(connection, &call.bucket)?;
    let page = snapshot(connection, || {
        walk::walk(&Listing { prefix, delimiter, from, max }, |bound, n| {
            uploads_behind(connection, bucket, bound, n)
        })
    })?;
    let document = xml::document("ListMultipartUploadsResult", |writer| {
        writer
            .value("Bucket", &call.bucket)
            .value("KeyMarker", encoding.apply(key_marker))
            .value("UploadIdMarker", id_marker);
        if let Some(next) = last_name(&page) {
            writer.value("NextKeyMarker", encoding.apply(&next));
            let id = match page.last {
                Some(Last::Entry) => page.entries.last().map_or("", |upload| upload.id.as_str()),
                _ => "",
            };
            writer.value("NextUploadIdMarker", id);
        }
        writer
            .value("Prefix", encoding.apply(prefix))
            .value("MaxUploads", max)
            .value("IsTruncated", page.last.is_some());
        if !delimiter.is_empty() {
            writer.value("Delimiter", encoding.apply(delimiter));
        }
        encoding_type(writer, encoding);
        for upload in &page.entries {
            writer.element("Upload", |writer| {
                writer
                    .value("Key", encoding.apply(&upload.key))
                    .value("UploadId", &upload.id)
                    .value("StorageClass", "STANDARD")
                    .value("Initiated", time::iso_date(upload.created));
            });
        }
        groups(writer, &page, encoding);
    });
    Ok(xml::response(document))
}

struct ListedObject {
    key: String,
    size: u64,
    etag: String,
    modified: i64,
}

impl Entry for ListedObject {
    fn key(&self) -> &str {
        &self.key
    }

    fn behind(&self) -> Bound {
        Bound::behind(&self.key)
    }
}

struct ListedUpload {
    key: String,
    id: String,
    created: i64,
}

impl Entry for ListedUpload {
    fn key(&self) -> &str {
        &self.key
    }

    fn behind(&self) -> Bound {
        Bound { key: self.key.as_bytes().to_vec(), id: self.id.clone() }
    }
}

fn objects(
    connection: &Connection,
    call: &Call,
    listing: Listing<'_>,
) -> Result<Page<ListedObject>, Failure> {
    let bucket = rows::bucket(connection, &call.bucket)?;
    snapshot(connection, || walk::walk(&listing, |bound, n| objects_behind(connection, bucket, bound, n)))
}

/// Runs several queries on one state of the index.
pub fn snapshot<T>(connection: &Connection, work: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    let transaction = connection.unchecked_transaction()?;
    let found = work();
    transaction.finish()?;
    found
}

fn objects_behind(
    connection: &Connection,
    bucket: BucketRow,
    bound: &Bound,
    n: usize,
) -> Result<Vec<ListedObject>, Failure> {
    let mut statement = connection.prepare_cached(OBJECTS_BEHIND)?;
    let mut rows = statement.query(params![bucket, bound.key, rows::integer(n as u64)?])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(ListedObject {
            key: rows::key(row, 0)?,
            size: rows::size(row, 1)?,
            etag: row.get(2)?,
            modified: row.get(3)?,
        });
    }
    Ok(found)
}

fn uploads_behind(
    connection: &Connection,
    bucket: BucketRow,
    bound: &Bound,
    n: usize,
) -> Result<Vec<ListedUpload>, Failure> {
    let mut statement = connection.prepare_cached(UPLOADS_BEHIND)?;
    let mut rows = statement.query(params![bucket, bound.key, bound.id, rows::integer(n as u64)?])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(ListedUpload { key: rows::key(row, 0)?, id: row.get(1)?, created: row.get(2)? });
    }
    Ok(found)
}

fn contents(writer: &mut Writer, page: &Page<ListedObject>, encoding: Encoding) {
    encoding_type(writer, encoding);
    for object in &page.entries {
        writer.element("Contents", |writer| {
            writer
                .value("Key", encoding.apply(&object.key))
                .value("LastModified", time::iso_date(object.modified))
                .value("ETag", format!("\"{}\"", object.etag))
                .value("Size", object.size)
                .value("StorageClass", "STANDARD");
        });
    }
    groups(writer, page, encoding);
}

fn groups<T>(writer: &mut Writer, page: &Page<T>, encoding: Encoding) {
    for group in &page.groups {
        writer.element("CommonPrefixes", |writer| {
            writer.value("Prefix", encoding.apply(group));
        });
    }
}

fn encoding_type(writer: &mut Writer, encoding: Encoding) {
    if encoding == Encoding::Url {
        writer.value("EncodingType", "url");
    }
}

pub fn encoding(call: &Call) -> Result<Encoding, S3Error> {
    match call.query.text("encoding-type") {
        "" => Ok(Encoding::Plain),
        "url" => Ok(Encoding::Url),
        _ => Err(S3Error::new(Code::InvalidArgument, "Invalid Encoding Method specified in Request")
            .detail("ArgumentName", "encoding-type")),
    }
}

fn decode_token(token: &str) -> Result<Vec<u8>, S3Error> {
    BASE64_URL_SAFE_NO_PAD.decode(token).ok().filter(|key| !key.is_empty()).ok_or_else(|| {
        S3Error::new(Code::InvalidArgument, "The continuation token provided is incorrect")
            .detail("ArgumentName", "continuation-token")
    })
}

/// The key or group that a truncated page ended with.
fn last_name<T: Entry>(page: &Page<T>) -> Option<String> {
    match page.last.as_ref()? {
        Last::Group(group) => Some(group.clone()),
        Last::Entry => page.entries.last().map(|entry| entry.key().to_owned()),
    }
}

#[cfg(test)]
#[path = "tests/listing.rs"]
mod tests;
