//! Multipart uploads: create, upload a part, list the parts, complete, abort.
//!
//! A part is a blob of its own. Completing writes no bytes: the object becomes the list of its parts' blobs.

use http::{HeaderMap, HeaderValue, Response, header};
use rusqlite::{Connection, OptionalExtension, params};

use super::attributes::Attributes;
use super::blobs::{BlobId, Retired};
use super::complete::{Assembled, Claims, assemble};
use super::conditions::WriteCondition;
use super::digest::{Asserted, Kind, ObjectChecksum};
use super::error::{EmbeddedError, Failure};
use super::index::Change;
use super::lock::BucketLock;
use super::objects::{collect_document, insert, insert_checksum, insert_version, no_content};
use super::receive::{Received, receive};
use super::request::{Call, UploadId};
use super::rows::{self, BucketRow};
use super::{Inner, random_id, time};
use crate::body::Body;
use crate::names::{BucketName, ObjectKey};
use crate::s3::checksum::Algorithm;
use crate::s3::error::{Code, S3Error};
use crate::s3::listing::Encoding;
use crate::s3::operation::encode_path;
use crate::s3::xml::{self, Bound, XmlError};

pub const MAX_PARTS: usize = 10_000;
/// 10,000 parts with a SHA-256 each.
const MAX_COMPLETE_BYTES: usize = 4 << 20;
const MAX_PAGE: usize = 1000;

type Answer = Result<Response<Body>, Failure>;

pub async fn create(store: &Inner, call: Call, key: ObjectKey) -> Answer {
    let attributes = Attributes::from_headers(&call.headers)?;
    let plan = Plan::from_headers(&call)?;
    let id = random_id()?;
    let document = xml::document("InitiateMultipartUploadResult", |writer| {
        writer.value("Bucket", &call.bucket).value("Key", key.as_str()).value("UploadId", &id);
    });
    let mut response = xml::response(document);
    if let Some(plan) = plan {
        let headers = response.headers_mut();
        headers.insert("x-amz-checksum-algorithm", HeaderValue::from_static(plan.algorithm.name()));
        headers.insert("x-amz-checksum-type", HeaderValue::from_static(plan.kind.name()));
    }
    let work = move |connection: &Connection| {
        let bucket = rows::bucket(connection, &call.bucket)?;
        // Only checked here: a default retention runs from the end of the upload on.
        BucketLock::of(connection, bucket)?.give(attributes.lock)?;
        connection
            .prepare_cached(
                "INSERT INTO uploads (bucket, key, id, headers, tags, checksum, created, object_lock)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            )?
            .execute(params![
                bucket,
                key.as_str().as_bytes(),
                id,
                attributes.to_record(),
                attributes.tags.to_form(),
                plan.map(Plan::to_record),
                time::now(),
                attributes.lock.to_record(),
            ])?;
        Ok(Change::new(()))
    };
    store.index.write(Vec::new(), work).await?;
    Ok(response)
}

pub async fn upload_part(store: &Inner, call: Call, key: ObjectKey, upload: UploadId, body: Body) -> Answer {
    let number = call.query.part_number()?;
    let mut asserted = Asserted::from_headers(&call.headers, call.sha256.as_deref())?;
    let place = Place { bucket: call.bucket.clone(), key, upload };
    let plan = store
        .read({
            let place = place.clone();
            move |connection| Ok(place.find(connection)?.plan)
        })
        .await?;
    asserted.or_compute(plan.map(|plan| plan.algorithm))?;
    let received = receive(store.blobs.handle(), &call.headers, asserted, body).await?;
    let Received { blob, size, md5, checksum } = received;
    let part = Part {
        number,
        size,
        etag: hex::encode(md5),
        checksum: checksum.clone(),
        modified: time::now(),
        blob: blob.id(),
    };
    let etag = part.etag.clone();
    store.index.write(vec![blob], move |connection| part.insert(connection, &place)).await?;
    let mut response = Response::new(Body::empty());
    insert(response.headers_mut(), header::ETAG, &format!("\"{etag}\""));
    insert_checksum(response.headers_mut(), checksum.as_ref());
    response.headers_mut().remove("x-amz-checksum-type");
    Ok(response)
}

pub async fn complete(store: &Inner, call: Call, key: ObjectKey, upload: UploadId, body: Body) -> Answer {
    let condition = WriteCondition::from_headers(&call.headers)?;
    // `x-amz-checksum-*` speaks of the object here and not of this document.
    let mut document_headers = HeaderMap::new();
    if let Some(md5) = call.headers.get("content-md5") {
        document_headers.insert("content-md5", md5.clone());
    }
    let asserted = Asserted::from_headers(&document_headers, call.sha256.as_deref())?;
    let document = collect_document(body, MAX_COMPLETE_BYTES, &asserted).await?;
    let wanted = xml::parse_complete(&document, Bound(MAX_COMPLETE_BYTES))?.parts;
    if !wanted.is_sorted_by(|one, next| one.number < next.number) {
        return Err(XmlError::PartOrder.into());
    }
    let claims = Claims::from_headers(&call)?;
    let place = Place { bucket: call.bucket, key, upload };
    let location = place.location();
    let (bucket, key) = (place.bucket.clone(), place.key.clone());
    let Assembled { etag, checksum, name } = store
        .index
        .write(Vec::new(), move |connection| assemble(connection, &place, &condition, wanted, &claims))
        .await?;
    let document = xml::document("CompleteMultipartUploadResult", |writer| {
        writer
            .value("Location", location)
            .value("Bucket", bucket)
            .value("Key", key.as_str())
            .value("ETag", format!("\"{etag}\""));
        if let Some(checksum) = checksum {
            writer
                .value(checksum.algorithm.element(), &checksum.value)
                .value("ChecksumType", checksum.kind.name());
        }
    });
    let mut response = xml::response(document);
    insert_version(response.headers_mut(), name.as_deref());
    Ok(response)
}

pub async fn abort(store: &Inner, call: Call, key: ObjectKey, upload: UploadId) -> Answer {
    let place = Place { bucket: call.bucket, key, upload };
    let work = move |connection: &Connection| {
        place.find(connection)?;
        Ok(Change { answer: (), retired: vec![place.remove(connection)?] })
    };
    store.index.write(Vec::new(), work).await?;
    store.blobs.settled().await;
    Ok(no_content())
}

pub async fn list_parts(store: &Inner, call: Call, key: ObjectKey, upload: UploadId) -> Answer {
    let place = Place { bucket: call.bucket.clone(), key, upload };
    store.read(move |connection| parts_page(connection, &call, &place)).await
}

fn parts_page(connection: &Connection, call: &Call, place: &Place) -> Answer {
    let max = call.query.count("max-parts", MAX_PAGE)?;
    let marker = call.query.count("part-number-marker", MAX_PARTS)?;
    // Absent, the marker is before the first part, not the greatest that a count allows.
    let marker = if call.query.text("part-number-marker").is_empty() { 0 } else { marker };
    let encoding = if call.query.text("encoding-type") == "url" { Encoding::Url } else { Encoding::Plain };
    let upload = place.find(connection)?;
    let mut parts = Part::behind(connection, &place.upload, marker, max + 1)?;
    let truncated = max > 0 && parts.len() > max;
    parts.truncate(max);
    let document = xml::document("ListPartsResult", |writer| {
        writer
            .value("Bucket", &place.bucket)
            .value("Key", encoding.apply(place.key.as_str()))
            .value("UploadId", &place.upload.0)
            .value("StorageClass", "STANDARD")
            .value("PartNumberMarker", marker)
            .value("MaxParts", max)
            .value("IsTruncated", truncated);
        if truncated && let Some(last) = parts.last() {
            writer.value("NextPartNumberMarker", last.number);
        }
        if let Some(plan) = upload.plan {
            writer.value("ChecksumAlgorithm", plan.algorithm.name()).value("ChecksumType", plan.kind.name());
        }
        for part in parts {
            writer.element("Part", |writer| {
                writer
                    .value("PartNumber", part.number)
                    .value("LastModified", time::iso_date(part.modified))
                    .value("ETag", format!("\"{}\"", part.etag))
                    .value("Size", part.size);
                if let Some(checksum) = part.checksum {
                    writer.value(checksum.algorithm.element(), checksum.value);
                }
            });
        }
    });
    Ok(xml::response(document))
}

/// Which checksum the finished object gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    pub algorithm: Algorithm,
    pub kind: Kind,
}

impl Plan {
    fn from_headers(call: &Call) -> Result<Option<Plan>, S3Error> {
        let invalid = |message: &'static str| S3Error::new(Code::InvalidRequest, message);
        let kind = match call.header("x-amz-checksum-type") {
            None => None,
            Some(name) => Some(
                Kind::parse(name)
                    .ok_or_else(|| invalid("Value for x-amz-checksum-type header is invalid."))?,
            ),
        };
        let Some(name) = call.header("x-amz-checksum-algorithm") else {
            return match kind {
                None => Ok(None),
                Some(_) => Err(invalid(
                    "The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header.",
                )),
            };
        };
        let algorithm =
            Algorithm::of_name(name).ok_or_else(|| invalid("Checksum algorithm provided is unsupported."))?;
        let kind = kind.unwrap_or(Kind::default_for(algorithm));
        match (algorithm, kind) {
            (Algorithm::Crc64Nvme, Kind::Composite)
            | (Algorithm::Sha1 | Algorithm::Sha256, Kind::FullObject) => {
                Err(invalid("The checksum type cannot be used with this checksum algorithm."))
            }
            _ => Ok(Some(Plan { algorithm, kind })),
        }
    }

    fn to_record(self) -> String {
        format!("{} {}", self.algorithm.name(), self.kind.name())
    }

    fn from_record(record: &str) -> Option<Plan> {
        let (algorithm, kind) = record.split_once(' ')?;
        Some(Plan { algorithm: Algorithm::of_name(algorithm)?, kind: Kind::parse(kind)? })
    }
}

/// Which upload is meant.
#[derive(Debug, Clone)]
pub struct Place {
    pub bucket: BucketName,
    pub key: ObjectKey,
    pub upload: UploadId,
}

/// What the index knows of an upload.
pub struct Upload {
    pub bucket: BucketRow,
    pub attributes: Attributes,
    pub plan: Option<Plan>,
}

impl Place {
    pub fn find(&self, connection: &Connection) -> Result<Upload, Failure> {
        let bucket = rows::bucket(connection, &self.bucket)?;
        let mut statement = connection.prepare_cached(
            "SELECT headers, tags, object_lock, checksum FROM uploads WHERE bucket = ?1 AND key = ?2 AND id = ?3",
        )?;
        let mut found = statement.query(params![bucket, self.key.as_str().as_bytes(), self.upload.0])?;
        let Some(row) = found.next()? else { return Err(no_such_upload(&self.upload).into()) };
        let record: Option<String> = row.get(3)?;
        let plan = match record {
            None => None,
            Some(record) => Some(Plan::from_record(&record).ok_or(EmbeddedError::Record("a checksum type"))?),
        };
        Ok(Upload { bucket, attributes: rows::attributes(row, 0)?, plan })
    }

    /// Forgets the upload with all its parts that no object has taken over.
    pub fn remove(&self, connection: &Connection) -> Result<Retired, Failure> {
        let bucket = rows::bucket(connection, &self.bucket)?;
        connection
            .prepare_cached("DELETE FROM uploads WHERE bucket = ?1 AND key = ?2 AND id = ?3")?
            .execute(params![bucket, self.key.as_str().as_bytes(), self.upload.0])?;
        rows::remove_parts(connection, &self.upload.0)
    }

    fn location(&self) -> String {
        format!("/{}/{}", self.bucket, encode_path(self.key.as_str()))
    }
}

/// One part, as it was uploaded last.
#[derive(Debug, Clone)]
pub struct Part {
    pub number: u16,
    pub size: u64,
    pub etag: String,
    pub checksum: Option<ObjectChecksum>,
    pub modified: i64,
    pub blob: BlobId,
}

impl Part {
    /// Takes the place of an earlier part of the same number.
    fn insert(self, connection: &Connection, place: &Place) -> Result<Change<()>, Failure> {
        place.find(connection)?;
        let displaced: Option<[u8; 16]> = connection
            .prepare_cached("DELETE FROM parts WHERE upload = ?1 AND number = ?2 RETURNING blob")?
            .query_row(params![place.upload.0, self.number], |row| row.get(0))
            .optional()?;
        connection
            .prepare_cached(
                "INSERT INTO parts (upload, number, size, etag, checksum, modified, blob)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            )?
            .execute(params![
                place.upload.0,
                self.number,
                rows::integer(self.size)?,
                self.etag,
                self.checksum.as_ref().map(ObjectChecksum::to_record),
                self.modified,
                self.blob.0,
            ])?;
        let blobs = displaced.map(BlobId).into_iter().collect();
        Ok(Change { answer: (), retired: vec![Retired { version: None, blobs }] })
    }

    /// Parts with a number above `marker`, in order.
    pub fn behind(
        connection: &Connection,
        upload: &UploadId,
        marker: usize,
        limit: usize,
    ) -> Result<Vec<Part>, Failure> {
        let mut statement = connection.prepare_cached(
            "SELECT number, size, etag, checksum, modified, blob FROM parts
             WHERE upload = ?1 AND number > ?2 ORDER BY number LIMIT ?3",
        )?;
        let mut found = statement.query(params![
            upload.0,
            rows::integer(marker as u64)?,
            rows::integer(limit as u64)?
        ])?;
        let mut parts = Vec::new();
        while let Some(row) = found.next()? {
            parts.push(Part {
                number: row.get(0)?,
                size: rows::size(row, 1)?,
                etag: row.get(2)?,
                checksum: rows::checksum(row, 3)?,
                modified: row.get(4)?,
                blob: BlobId(row.get(5)?),
            });
        }
        Ok(parts)
    }
}

fn no_such_upload(upload: &UploadId) -> S3Error {
    let message = "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed.";
    S3Error::new(Code::NoSuchUpload, message).detail("UploadId", upload.0.clone())
}
