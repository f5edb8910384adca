//! What is told about an object without its bytes: GetObjectAttributes, and the access control list, which is always the
//! same here: only the gateway reaches this store.

use http::{Response, header};

use super::error::Failure;
use super::objects::{insert, insert_version};
use super::request::Call;
use super::rows::{self, Object};
use super::{Inner, conditions, time, versioning};
use crate::body::Body;
use crate::names::ObjectKey;
use crate::s3::error::{Code, S3Error};
use crate::s3::xml::{self, Writer};

const MAX_PARTS: usize = 1000;
pub(super) const OWNER: &str = "gateway";

type Answer = Result<Response<Body>, Failure>;

pub async fn attributes(store: &Inner, call: Call, key: ObjectKey) -> Answer {
    let wanted = Wanted::of(&call)?;
    store
        .read(move |connection| {
            let bucket = rows::bucket(connection, &call.bucket)?;
            let object = versioning::object(connection, bucket, &key, call.version)?;
            conditions::check_read(&call.headers, &object)?;
            let parts = match object.parts_count() {
                Some(_) if wanted.parts => rows::parts(connection, object.version)?,
                _ => Vec::new(),
            };
            let mut response = xml::response(wanted.document(&object, &parts));
            insert(response.headers_mut(), header::LAST_MODIFIED, &time::http_date(object.modified));
            insert_version(response.headers_mut(), object.name.as_deref());
            Ok(response)
        })
        .await
}

pub async fn acl(store: &Inner, call: Call, key: ObjectKey) -> Answer {
    find(store, call, key).await?;
    Ok(xml::response(xml::private_acl(OWNER)))
}

/// Of the canned lists, only those that change nothing come this far.
pub async fn put_acl(store: &Inner, call: Call, key: ObjectKey) -> Answer {
    if !call.headers.contains_key("x-amz-acl") {
        let message = "Your request was missing a required header";
        return Err(S3Error::new(Code::MissingSecurityHeader, message)
            .detail("MissingHeaderName", "x-amz-acl")
            .into());
    }
    find(store, call, key).await?;
    Ok(Response::new(Body::empty()))
}

async fn find(store: &Inner, call: Call, key: ObjectKey) -> Result<Object, Failure> {
    store
        .read(move |connection| {
            let bucket = rows::bucket(connection, &call.bucket)?;
            versioning::object(connection, bucket, &key, call.version)
        })
        .await
}

/// The attributes that `x-amz-object-attributes` names.
struct Wanted {
    etag: bool,
    checksum: bool,
    parts: bool,
    class: bool,
    size: bool,
    max_parts: usize,
    marker: usize,
}

impl Wanted {
    fn of(call: &Call) -> Result<Wanted, S3Error> {
        let invalid = |message: &'static str| S3Error::new(Code::InvalidArgument, message);
        let mut names = Vec::new();
        for value in call.headers.get_all("x-amz-object-attributes") {
            let text = value.to_str().map_err(|_| invalid("Invalid attribute name specified."))?;
            names.extend(text.split(',').map(str::trim).filter(|name| !name.is_empty()));
        }
        if names.is_empty() {
            return Err(invalid("The x-amz-object-attributes header specifying the attributes is missing."));
        }
        let known = ["ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize"];
        if names.iter().any(|name| !known.contains(name)) {
            return Err(invalid("Invalid attribute name specified."));
        }
        let number = |name, default| match call.header(name) {
            None => Ok(default),
            Some(text) => {
                text.parse::<u32>().map(|n| n as usize).map_err(|_| invalid("A count is not a number."))
            }
        };
        let has = |name| names.contains(&name);
        Ok(Wanted {
            etag: has("ETag"),
            checksum: has("Checksum"),
            parts: has("ObjectParts"),
            class: has("StorageClass"),
            size: has("ObjectSize"),
            max_parts: number("x-amz-max-parts", MAX_PARTS)?.min(MAX_PARTS),
            marker: number("x-amz-part-number-marker", 0)?,
        })
    }

    fn document(&self, object: &Object, parts: &[(u64, u64)]) -> String {
        xml::document("GetObjectAttributesResponse", |writer| {
            if self.etag {
                writer.text("ETag", &object.etag);
            }
            if let Some(checksum) = object.checksum.as_ref().filter(|_| self.checksum) {
                writer.element("Checksum", |writer| {
                    writer
                        .value(checksum.algorithm.element(), &checksum.value)
                        .value("ChecksumType", checksum.kind.name());
                });
            }
            if !parts.is_empty() {
                writer.element("ObjectParts", |writer| self.page(writer, parts));
            }
            if self.class {
                writer.text("StorageClass", "STANDARD");
            }
            if self.size {
                writer.value("ObjectSize", object.size);
            }
        })
    }

    fn page(&self, writer: &mut Writer, parts: &[(u64, u64)]) {
        let shown = || parts.iter().zip(1_usize..).skip(self.marker).take(self.max_parts);
        let next = shown().last().map_or(self.marker, |(_, number)| number);
        writer
            .value("PartsCount", parts.len())
            .value("PartNumberMarker", self.marker)
            .value("NextPartNumberMarker", next)
            .value("MaxParts", self.max_parts)
            .value("IsTruncated", next < parts.len());
        for ((_, size), number) in shown() {
            writer.element("Part", |writer| {
                writer.value("PartNumber", number).value("Size", size);
            });
        }
    }
}
