//! Object operations: get, head, put, copy, delete, and the three of tagging.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use http_body::Body as _;
use rusqlite::Connection;

use super::attributes::{Attributes, Tags};
use super::blobs::{BlobHandle, Hold, NewBlob};
use super::conditions::{self, WriteCondition};
use super::digest::{Asserted, Kind, ObjectChecksum};
use super::error::{EmbeddedError, Failure};
use super::index::{Change, Readers};
use super::lock::Bypass;
use super::range::{self, Stretch};
use super::receive::receive;
use super::request::Call;
use super::rows::{self, NewObject, Object, Segment};
use super::versioning::{self, Deletion, Wanted};
use super::{Inner, download, time};
use crate::body::{Body, CollectError};
use crate::names::{BucketName, ObjectKey};
use crate::s3::checksum::{Algorithm, Hasher};
use crate::s3::error::{Code, S3Error};
use crate::s3::operation::{CopySource, OpError};
use crate::s3::xml::{self, Bound};

/// Bodies up to this are taken in before the bucket is looked up: the write does it anyhow.
const SMALL_BODY: u64 = 128 * 1024;
/// Ten tags of the greatest length, every character escaped, with their elements.
const MAX_TAGGING_BYTES: usize = 128 * 1024;
/// How often a read looks again because the object was overwritten under it.
const MAX_LOOKUPS: usize = 64;

type Answer = Result<Response<Body>, Failure>;

pub async fn get(store: &Inner, call: Call, key: ObjectKey) -> Answer {
    store
        .blocking(move |readers, blobs| {
            let claimed = readers.with(|connection| {
                claim(connection, blobs, &call.bucket, &key, call.version, |object| {
                    wanted(connection, &call, object)
                })
            })?;
            let Claimed { object, hold, segments, stretch } = claimed;
            let (from, to) = stretch.bounds(object.size);
            let body = download::open(blobs.clone(), hold, segments, from, to)?;
            Ok(read_response(&call, &object, stretch, body)?)
        })
        .await
}

pub async fn head(store: &Inner, call: Call, key: ObjectKey) -> Answer {
    store
        .read(move |connection| {
            let bucket = rows::bucket(connection, &call.bucket)?;
            let object = versioning::object(connection, bucket, &key, call.version)?;
            let stretch = wanted(connection, &call, &object)?;
            Ok(read_response(&call, &object, stretch, Body::empty())?)
        })
        .await
}

pub async fn put(store: &Inner, call: Call, key: ObjectKey, body: Body) -> Answer {
    let attributes = Attributes::from_headers(&call.headers)?;
    let asserted = Asserted::from_headers(&call.headers, call.sha256.as_deref())?;
    let condition = WriteCondition::from_headers(&call.headers)?;
    if body.size_hint().upper().is_none_or(|size| size > SMALL_BODY) {
        check_early(store, &call.bucket, &key, &condition).await?;
    }
    let received = receive(store.blobs.handle(), &call.headers, asserted, body).await?;
    let object = NewObject {
        etag: hex::encode(received.md5),
        modified: time::now(),
        attributes,
        checksum: received.checksum.clone(),
        segments: vec![(received.blob.id(), received.size)],
    };
    let etag = object.etag.clone();
    let name = write_object(store, call.bucket, key, condition, object, vec![received.blob]).await?;
    let mut response = Response::new(Body::empty());
    insert_version(response.headers_mut(), name.as_deref());
    insert(response.headers_mut(), header::ETAG, &format!("\"{etag}\""));
    insert_checksum(response.headers_mut(), received.checksum.as_ref());
    Ok(response)
}

pub async fn copy(store: &Inner, call: Call, key: ObjectKey) -> Answer {
    let condition = WriteCondition::from_headers(&call.headers)?;
    let request = CopyRequest::parse(&call, &key)?;
    let headers = call.headers;
    let Prepared { object, blobs, source } =
        store.blocking(move |readers, blobs| request.prepare(readers, blobs, &headers)).await?;
    let (etag, modified, checksum) = (object.etag.clone(), object.modified, object.checksum.clone());
    let name = write_object(store, call.bucket, key, condition, object, blobs).await?;
    let document = xml::document("CopyObjectResult", |writer| {
        writer.value("ETag", format!("\"{etag}\"")).value("LastModified", time::iso_date(modified));
        if let Some(checksum) = checksum {
            writer
                .value("ChecksumType", checksum.kind.name())
                .value(checksum.algorithm.element(), &checksum.value);
        }
    });
    let mut response = xml::response(document);
    insert_version(response.headers_mut(), name.as_deref());
    if let Some(value) = source.and_then(|name| HeaderValue::from_str(&name).ok()) {
        response.headers_mut().insert("x-amz-copy-source-version-id", value);
    }
    Ok(response)
}

pub async fn delete(store: &Inner, call: Call, key: ObjectKey) -> Answer {
    let condition = WriteCondition::from_headers(&call.headers)?;
    let work = move |connection: &Connection| {
        let bucket = rows::bucket(connection, &call.bucket)?;
        if condition != WriteCondition::None {
            let object = match call.version {
                Wanted::Current => rows::find_object(connection, bucket, &key)?,
                wanted => Some(versioning::object(connection, bucket, &key, wanted)?),
            };
            condition.check(object.as_ref(), &key)?;
        }
        let deletion = versioning::delete(connection, bucket, &key, call.version, Bypass::of(&call))?;
        Ok(Change { answer: (deletion.name, deletion.is_marker), retired: deletion.retired })
    };
    let (name, is_marker) = store.index.write(Vec::new(), work).await?;
    // Whoever hears of the deletion may rely on the bytes' being gone, but for downloads under way.
    store.blobs.settled().await;
    let mut response = no_content();
    Deletion::describe(name.as_deref(), is_marker, response.headers_mut());
    Ok(response)
}

pub async fn get_tagging(store: &Inner, call: Call, key: ObjectKey) -> Answer {
    store
        .read(move |connection| {
            let bucket = rows::bucket(connection, &call.bucket)?;
            let object = versioning::object(connection, bucket, &key, call.version)?;
            let document = xml::document("Tagging", |writer| {
                writer.element("TagSet", |writer| {
                    for (key, value) in object.attributes.tags.iter() {
                        writer.element("Tag", |writer| {
                            writer.value("Key", key).value("Value", value);
                        });
                    }
                });
            });
            let mut response = xml::response(document);
            insert_version(response.headers_mut(), object.name.as_deref());
            Ok(response)
        })
        .await
}

pub async fn put_tagging(store: &Inner, call: Call, key: ObjectKey, body: Body) -> Answer {
    let asserted = Asserted::from_headers(&call.headers, call.sha256.as_deref())?;
    let document = collect_document(body, MAX_TAGGING_BYTES, &asserted).await?;
    let tags = xml::parse_tagging(&document, Bound(MAX_TAGGING_BYTES))?;
    let tags = Tags::new(tags.into_iter().map(|tag| (tag.key, tag.value)).collect())?;
    let mut response = Response::new(Body::empty());
    let name = set_tags(store, call.bucket, key, call.version, tags).await?;
    insert_version(response.headers_mut(), name.as_deref());
    Ok(response)
}

pub async fn delete_tagging(store: &Inner, call: Call, key: ObjectKey) -> Answer {
    let name = set_tags(store, call.bucket, key, call.version, Tags::default()).await?;
    let mut response = no_content();
    insert_version(response.headers_mut(), name.as_deref());
    Ok(response)
}

async fn set_tags(
    store: &Inner,
    bucket: BucketName,
    key: ObjectKey,
    wanted: Wanted,
    tags: Tags,
) -> Result<Option<String>, Failure> {
    let work = move |connection: &Connection| {
        let bucket = rows::bucket(connection, &bucket)?;
        let object = versioning::object(connection, bucket, &key, wanted)?;
        rows::set_tags(connection, object.version, &tags.to_form())?;
        Ok(Change::new(object.name))
    };
    store.index.write(Vec::new(), work).await
}

/// Refuses a large upload before its bytes are taken in, where that can be known.
pub async fn check_early(
    store: &Inner,
    bucket: &BucketName,
    key: &ObjectKey,
    condition: &WriteCondition,
) -> Result<(), Failure> {
    let (bucket, key, condition) = (bucket.clone(), key.clone(), condition.clone());
    store
        .read(move |connection| {
            let bucket = rows::bucket(connection, &bucket)?;
            if condition == WriteCondition::None {
                return Ok(());
            }
            condition.check(rows::find_object(connection, bucket, &key)?.as_ref(), &key)
        })
        .await
}

async fn write_object(
    store: &Inner,
    bucket: BucketName,
    key: ObjectKey,
    condition: WriteCondition,
    object: NewObject,
    blobs: Vec<NewBlob>,
) -> Result<Option<String>, Failure> {
    let work = move |connection: &Connection| {
        let bucket = rows::bucket(connection, &bucket)?;
        if condition != WriteCondition::None {
            condition.check(rows::find_object(connection, bucket, &key)?.as_ref(), &key)?;
        }
        let written = rows::put_object(connection, bucket, &key, &object)?;
        Ok(Change { answer: written.name, retired: written.retired })
    };
    store.index.write(blobs, work).await
}

/// An object whose blobs cannot go while the hold lives.
struct Claimed {
    object: Object,
    hold: Hold,
    segments: Vec<Segment>,
    stretch: Stretch,
}

/// Looks an object up and holds its blobs. `inspect` checks conditions and says which bytes are wanted.
fn claim(
    connection: &Connection,
    blobs: &BlobHandle,
    bucket: &BucketName,
    key: &ObjectKey,
    version: Wanted,
    inspect: impl Fn(&Object) -> Result<Stretch, Failure>,
) -> Result<Claimed, Failure> {
    for _ in 0..MAX_LOOKUPS {
        let bucket = rows::bucket(connection, bucket)?;
        let object = versioning::object(connection, bucket, key, version)?;
        let stretch = inspect(&object)?;
        let (from, to) = stretch.bounds(object.size);
        let hold = blobs.hold(object.version);
        let segments = rows::segments(connection, object.version, from, to)?;
        // Still there after the hold and the segments: a removal can only come later, and will see the hold.
        if rows::version_exists(connection, object.version)? {
            return Ok(Claimed { object, hold, segments, stretch });
        }
    }
    Err(S3Error::new(Code::SlowDown, "The object is being overwritten too quickly. Please try again.").into())
}

/// Checks the conditions of a read, and says which bytes it wants.
fn wanted(connection: &Connection, call: &Call, object: &Object) -> Result<Stretch, Failure> {
    conditions::check_read(&call.headers, object)?;
    if call.query.value("partNumber").is_some() {
        let number = call.query.part_number()?;
        if call.headers.contains_key(header::RANGE) {
            let message = "Cannot specify both Range header and partNumber query parameter";
            return Err(S3Error::new(Code::InvalidRequest, message).into());
        }
        let part = rows::parts(connection, object.version)?.get(usize::from(number) - 1).copied();
        let (from, size) = part.ok_or_else(|| {
            S3Error::new(Code::InvalidPartNumber, "The requested partnumber is not satisfiable")
        })?;
        return Ok(if size == 0 { Stretch::Whole } else { Stretch::Part(from, from + size) });
    }
    if conditions::range_applies(&call.headers, object) {
        Ok(range::parse(call.header("range"), object.size)?)
    } else {
        Ok(Stretch::Whole)
    }
}

fn read_response(
    call: &Call,
    object: &Object,
    stretch: Stretch,
    body: Body,
) -> Result<Response<Body>, S3Error> {
    let (from, to) = stretch.bounds(object.size);
    let mut response = Response::new(body);
    describe(response.headers_mut(), call, object, stretch)?;
    insert(response.headers_mut(), header::CONTENT_LENGTH, &(to - from).to_string());
    if stretch != Stretch::Whole {
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        let range = format!("bytes {from}-{}/{}", to.saturating_sub(1), object.size);
        insert(response.headers_mut(), header::CONTENT_RANGE, &range);
    }
    Ok(response)
}

/// The headers of a read.
fn describe(headers: &mut HeaderMap, call: &Call, object: &Object, range: Stretch) -> Result<(), S3Error> {
    headers.extend(object.attributes.headers.clone());
    headers.entry(header::CONTENT_TYPE).or_insert(HeaderValue::from_static("binary/octet-stream"));
    insert(headers, header::ETAG, &format!("\"{}\"", object.etag));
    insert(headers, header::LAST_MODIFIED, &time::http_date(object.modified));
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    insert_version(headers, object.name.as_deref());
    if let Some(count) = object.parts_count().filter(|_| call.query.value("partNumber").is_some()) {
        insert(headers, HeaderName::from_static("x-amz-mp-parts-count"), count);
    }
    object.attributes.lock.describe(headers);
    let tags = object.attributes.tags.len();
    if tags > 0 {
        headers.insert("x-amz-tagging-count", HeaderValue::from(tags));
    }
    let wants_checksum =
        call.header("x-amz-checksum-mode").is_some_and(|mode| mode.eq_ignore_ascii_case("ENABLED"));
    if wants_checksum && range == Stretch::Whole {
        insert_checksum(headers, object.checksum.as_ref());
    }
    let overrides = [
        ("response-content-type", header::CONTENT_TYPE),
        ("response-content-language", header::CONTENT_LANGUAGE),
        ("response-expires", header::EXPIRES),
        ("response-cache-control", header::CACHE_CONTROL),
        ("response-content-disposition", header::CONTENT_DISPOSITION),
        ("response-content-encoding", header::CONTENT_ENCODING),
    ];
    for (parameter, name) in overrides {
        let Some(value) = call.query.value(parameter) else { continue };
        let value = HeaderValue::from_str(value).map_err(|_| {
            S3Error::new(Code::InvalidArgument, "Header value cannot be represented.")
                .detail("ArgumentName", parameter)
        })?;
        headers.insert(name, value);
    }
    Ok(())
}

pub fn insert_checksum(headers: &mut HeaderMap, checksum: Option<&ObjectChecksum>) {
    let Some(checksum) = checksum else { return };
    if let Ok(value) = HeaderValue::from_str(&checksum.value) {
        headers.insert(checksum.algorithm.header(), value);
        headers.insert("x-amz-checksum-type", HeaderValue::from_static(checksum.kind.name()));
    }
}

/// What clients call the version that an answer is about.
pub fn insert_version(headers: &mut HeaderMap, name: Option<&str>) {
    if let Some(name) = name {
        insert(headers, versioning::VERSION_ID, name);
    }
}

pub fn insert(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

pub fn no_content() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

/// Reads a small document and compares it with what its sender asserted of it.
pub async fn collect_document(body: Body, limit: usize, asserted: &Asserted) -> Result<Bytes, Failure> {
    let document = body.collect_limited(limit).await.map_err(|error| match error {
        CollectError::Read(error) => Failure::Body(error),
        CollectError::TooLong { .. } => {
            S3Error::new(Code::MalformedXML, "The XML you provided is longer than this operation allows")
                .into()
        }
    })?;
    let mut digests = asserted.digests();
    digests.update(&document);
    asserted.verify(digests)?;
    Ok(document)
}

/// Whether a copy keeps what the source has or takes what the request says.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Directive {
    Copy,
    Replace,
}

impl Directive {
    fn parse(call: &Call, name: &'static str) -> Result<Directive, S3Error> {
        match call.header(name) {
            None | Some("COPY") => Ok(Directive::Copy),
            Some("REPLACE") => Ok(Directive::Replace),
            Some(_) => {
                Err(S3Error::new(Code::InvalidArgument, "Unknown directive.").detail("ArgumentName", name))
            }
        }
    }
}

/// A copy, ready to be written.
struct Prepared {
    object: NewObject,
    blobs: Vec<NewBlob>,
    /// What clients call the version that was copied.
    source: Option<String>,
}

struct CopyRequest {
    bucket: BucketName,
    key: ObjectKey,
    version: Wanted,
    metadata: Directive,
    tagging: Directive,
    attributes: Attributes,
    algorithm: Option<Algorithm>,
}

impl CopyRequest {
    fn parse(call: &Call, target: &ObjectKey) -> Result<CopyRequest, S3Error> {
        let source = call.headers.get("x-amz-copy-source").ok_or(OpError::CopySource)?;
        let CopySource { bucket, key, version } = CopySource::parse(source.as_bytes())?;
        let version = Wanted::parse(version.as_deref())?;
        let metadata = Directive::parse(call, "x-amz-metadata-directive")?;
        let tagging = Directive::parse(call, "x-amz-tagging-directive")?;
        let changes = metadata == Directive::Replace || tagging == Directive::Replace;
        if bucket == call.bucket && key == *target && !changes && version == Wanted::Current {
            let message = "This copy request is illegal because it is trying to copy an object to itself without changing the object's metadata, storage class, website redirect location or encryption attributes.";
            return Err(S3Error::new(Code::InvalidRequest, message));
        }
        let algorithm = match call.header("x-amz-checksum-algorithm") {
            None => None,
            Some(name) => Some(Algorithm::of_name(name).ok_or_else(|| {
                S3Error::new(Code::InvalidRequest, "Checksum algorithm provided is unsupported.")
            })?),
        };
        let attributes = Attributes::from_headers(&call.headers)?;
        Ok(CopyRequest { bucket, key, version, metadata, tagging, attributes, algorithm })
    }

    /// Gives the source's bytes new names, ready for the write. The ETag stays that of the source. Blocks.
    fn prepare(
        self,
        readers: &Readers,
        blobs: &BlobHandle,
        headers: &HeaderMap,
    ) -> Result<Prepared, Failure> {
        let claimed = readers.with(|connection| {
            claim(connection, blobs, &self.bucket, &self.key, self.version, |object| {
                conditions::check_copy_source(headers, object)?;
                Ok(Stretch::Whole)
            })
        })?;
        let Claimed { object, segments, hold, .. } = claimed;
        let read = || EmbeddedError::io("read the source of a copy");
        let checksum = match (self.algorithm, object.checksum) {
            (Some(wanted), kept)
                if kept.as_ref().is_none_or(|kept| {
                    kept.algorithm != wanted || (kept.kind == Kind::Composite && wanted.crc().is_none())
                }) =>
            {
                Some(checksum_of(blobs, &segments, wanted).map_err(read())?)
            }
            (_, kept) => kept,
        };
        let sources: Vec<_> = segments.iter().map(|segment| segment.blob).collect();
        let copies = blobs.duplicate(&sources).map_err(EmbeddedError::io("copy an object's bytes"))?;
        drop(hold);
        // A lock is not copied: the new version gets its own.
        let mut attributes = Attributes { lock: self.attributes.lock, ..object.attributes };
        if self.metadata == Directive::Replace {
            attributes.headers = self.attributes.headers;
        }
        if self.tagging == Directive::Replace {
            attributes.tags = self.attributes.tags;
        }
        let segments =
            copies.iter().map(NewBlob::id).zip(segments.iter().map(|segment| segment.size)).collect();
        let modified = time::now();
        let source = object.name;
        let object = NewObject { etag: object.etag, modified, attributes, checksum, segments };
        Ok(Prepared { object, blobs: copies, source })
    }
}

/// Reads all bytes for a checksum that is not known yet. Blocks.
fn checksum_of(
    blobs: &BlobHandle,
    segments: &[Segment],
    algorithm: Algorithm,
) -> std::io::Result<ObjectChecksum> {
    use std::io::Read;
    let mut hasher = Hasher::new(algorithm);
    let mut buffer = vec![0; 128 * 1024];
    for segment in segments {
        let mut file = blobs.open(segment.blob)?;
        loop {
            let read = file.read(&mut buffer)?;
            let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else { break };
            hasher.update(bytes);
        }
    }
    Ok(ObjectChecksum::of_bytes(hasher.finish()))
}
