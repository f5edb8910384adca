//! Settings of buckets.
//!
//! Cross-origin rules and tags are kept in the catalogue: the gateway carries them out itself. Encryption, lifecycle, object lock,
//! public access block and ownership controls are for locations to carry out: each gets the same document, or none keeps it. The
//! catalogue remembers it for locations that are added later.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};

use super::settle::is_unclear;
use super::{buckets, forward, read_document, xml_response};
use crate::body::Body;
use crate::catalogue::{ObjectHandle, ObjectLock, Setting};
use crate::gateway::Gateway;
use crate::gateway::call::Call;
use crate::gateway::failure::{Blame, Failure};
use crate::locations::Location;
use crate::names::BucketName;
use crate::s3::checksum::{Md5Hasher, Subject};
use crate::s3::error::{Code, S3Error};
use crate::s3::operation::Operation;
use crate::s3::payload::strip_framing;
use crate::s3::xml::{self, Bound};

/// Longest document; S3 takes 64 KiB of cross-origin rules, and lifecycles of 1000 short rules.
const MAX_DOCUMENT: usize = 512 << 10;
const MAX_KEPT: usize = 64 << 10;

/// GetBucketCors and GetBucketTagging.
pub async fn kept(gateway: Arc<Gateway>, call: Call) -> Result<Response<Body>, Failure> {
    buckets::existing(&gateway, &call).await?;
    let (setting, code, message) = match call.target.operation {
        Operation::GetBucketTagging => (Setting::Tagging, Code::NoSuchTagSet, "The TagSet does not exist"),
        _ => (Setting::Cors, Code::NoSuchCORSConfiguration, "The CORS configuration does not exist"),
    };
    let handle = gateway.catalogue.bucket_handle(call.bucket()?.as_str());
    let document = gateway.catalogue.setting(handle, setting).await?;
    Ok(xml_response(document.ok_or_else(|| S3Error::new(code, message))?))
}

/// PutBucketCors and PutBucketTagging.
pub async fn keep(gateway: Arc<Gateway>, call: Call, body: Body) -> Result<Response<Body>, Failure> {
    buckets::existing(&gateway, &call).await?;
    let document = read_document(&call, body, MAX_KEPT, Subject::Body).await?;
    let (setting, document, status) = match call.target.operation {
        Operation::PutBucketTagging => {
            let tags = xml::parse_bucket_tagging(&document, Bound(MAX_KEPT))?;
            (Setting::Tagging, xml::bucket_tagging(&tags), StatusCode::NO_CONTENT)
        }
        _ => {
            let rules = xml::parse_cors(&document, Bound(MAX_KEPT))?;
            (Setting::Cors, xml::cors_configuration(&rules), StatusCode::OK)
        }
    };
    let handle = gateway.catalogue.bucket_handle(call.bucket()?.as_str());
    gateway.catalogue.set_setting(handle, setting, Some(document)).await?;
    Ok(bare(status))
}

/// DeleteBucketCors and DeleteBucketTagging.
pub async fn forget(gateway: Arc<Gateway>, call: Call) -> Result<Response<Body>, Failure> {
    buckets::existing(&gateway, &call).await?;
    let setting = match call.target.operation {
        Operation::DeleteBucketTagging => Setting::Tagging,
        _ => Setting::Cors,
    };
    let handle = gateway.catalogue.bucket_handle(call.bucket()?.as_str());
    gateway.catalogue.set_setting(handle, setting, None).await?;
    Ok(bare(StatusCode::NO_CONTENT))
}

/// A setting that locations carry out, as the home location has it: they all have the same.
pub async fn of_locations(gateway: Arc<Gateway>, call: Call) -> Result<Response<Body>, Failure> {
    let bucket = buckets::existing(&gateway, &call).await?;
    let home = bucket.home.as_ref().or_else(|| gateway.locations.ids().next());
    let home = home.ok_or_else(|| Failure::internal("there is no location"))?;
    let headers = forward::onward_headers(&call.parts);
    let request = request(&call, Method::GET, headers, Bytes::new())?;
    Ok(gateway.locations.housekeeping(home)?.call(request).await?)
}

/// Gives all locations a setting. Where one cannot take it, the others go back to what they had.
pub async fn at_locations(gateway: Arc<Gateway>, call: Call, body: Body) -> Result<Response<Body>, Failure> {
    buckets::existing(&gateway, &call).await?;
    let document = read_document(&call, body, MAX_DOCUMENT, Subject::Body).await?;
    let setting = setting(call.target.operation)?;
    xml::check_root(&document, Bound(MAX_DOCUMENT), setting.root)?;
    let mut headers = forward::onward_headers(&call.parts);
    strip_framing(&mut headers, call.identity.payload, document.len() as u64);
    headers.remove("x-amz-trailer");

    // In turn: of two settings at once, locations could keep a different one each.
    let _turn = gateway.key_locks.lock(turn(&gateway, &call)?).await;
    let bucket = buckets::existing(&gateway, &call).await?;
    if setting.name == Setting::ObjectLock && bucket.object_lock == ObjectLock::Without {
        // A location could lock the bucket nonetheless, and never unlock it when another one cannot.
        let message =
            "Object Lock configuration cannot be enabled on existing buckets. Create a bucket with it.";
        return Err(Failure::client(Code::InvalidBucketState, message));
    }
    let mut before = Vec::new();
    for location in gateway.locations.all() {
        before.push((location, Before::of(location, &call).await?));
    }
    for (n, (location, _)) in before.iter().enumerate() {
        let sent = location.call(request(&call, Method::PUT, headers.clone(), document.clone())?).await;
        let failure = match sent {
            Ok(response) if response.status().is_success() => continue,
            Ok(response) => refused(location, response).await,
            Err(error) => error.into(),
        };
        // The one that failed may have it all the same.
        for (location, before) in before.iter().take(n + 1) {
            if let Err(problem) = before.restore(location, &call).await {
                let cause = problem.cause.map(|cause| cause.to_string()).unwrap_or_default();
                tracing::warn!(location = %location.facts.id, cause, "a setting of a bucket could not be taken back");
            }
        }
        return Err(failure);
    }
    remember(&gateway, &call, setting.name, Some(&document)).await?;
    Ok(bare(StatusCode::OK))
}

/// Takes a setting from all locations. Can be repeated.
pub async fn off_locations(gateway: Arc<Gateway>, call: Call) -> Result<Response<Body>, Failure> {
    buckets::existing(&gateway, &call).await?;
    let _turn = gateway.key_locks.lock(turn(&gateway, &call)?).await;
    for location in gateway.locations.all() {
        let headers = forward::onward_headers(&call.parts);
        let response = location.call(request(&call, Method::DELETE, headers, Bytes::new())?).await?;
        if !response.status().is_success() && response.status() != StatusCode::NOT_FOUND {
            return Err(refused(location, response).await);
        }
    }
    remember(&gateway, &call, setting(call.target.operation)?.name, None).await?;
    Ok(bare(StatusCode::NO_CONTENT))
}

/// Gives a location that was added later what the others were given.
pub(super) async fn give(gateway: &Gateway, location: &Location, bucket: &BucketName) -> Result<(), Failure> {
    let handle = gateway.catalogue.bucket_handle(bucket.as_str());
    for LocationSetting { name, query, .. } in AT_LOCATIONS {
        let Some(document) = gateway.catalogue.setting(handle, *name).await? else { continue };
        let document = Bytes::from(document);
        let headers = with_md5(&document);
        let body = Body::full(document);
        let response =
            location.call(forward::request(Method::PUT, bucket, None, query, headers, body)?).await?;
        if !response.status().is_success() {
            return Err(refused(location, response).await);
        }
    }
    Ok(())
}

async fn remember(
    gateway: &Gateway,
    call: &Call,
    setting: Setting,
    document: Option<&Bytes>,
) -> Result<(), Failure> {
    let handle = gateway.catalogue.bucket_handle(call.bucket()?.as_str());
    // It has been read as XML, which is UTF-8.
    let document = document.map(|document| String::from_utf8_lossy(document).into_owned());
    Ok(gateway.catalogue.set_setting(handle, setting, document).await?)
}

/// Some locations take no setting without it (S3 API reference, PutObjectLockConfiguration).
fn with_md5(document: &[u8]) -> HeaderMap {
    let mut md5 = Md5Hasher::default();
    md5.update(document);
    let mut headers = HeaderMap::new();
    if let Ok(value) = HeaderValue::from_str(&STANDARD.encode(md5.finish())) {
        headers.insert("content-md5", value);
    }
    headers
}

/// What a location had before.
enum Before {
    Nothing,
    Document(Bytes),
}

impl Before {
    async fn of(location: &Location, call: &Call) -> Result<Before, Failure> {
        let response = location.call(request(call, Method::GET, HeaderMap::new(), Bytes::new())?).await?;
        match response.status() {
            StatusCode::OK => Ok(Before::Document(response.into_body().collect_limited(MAX_DOCUMENT).await?)),
            StatusCode::NOT_FOUND => Ok(Before::Nothing),
            _ => Err(refused(location, response).await),
        }
    }

    async fn restore(&self, location: &Location, call: &Call) -> Result<(), Failure> {
        let request = match self {
            Before::Nothing => request(call, Method::DELETE, HeaderMap::new(), Bytes::new())?,
            Before::Document(document) => request(call, Method::PUT, with_md5(document), document.clone())?,
        };
        let status = location.call(request).await?.status();
        if status.is_success() || status == StatusCode::NOT_FOUND {
            return Ok(());
        }
        Err(Failure::internal(format!("location {} answered {status}", location.facts.id)))
    }
}

/// The refusal of one location, by name and in its own words.
async fn refused(location: &Location, response: Response<Body>) -> Failure {
    let status = response.status();
    let document = response.into_body().collect_limited(MAX_KEPT).await.unwrap_or_default();
    let error = xml::parse_error(&document).unwrap_or_default();
    if is_unclear(status) {
        return Failure::unavailable(
            Blame::Location,
            "A location of this bucket does not answer, and all of them must. Send the request again.",
            format!("location {} answered {status} {}", location.facts.id, error.code),
        );
    }
    let code = code_of(status, &error.code);
    let id = &location.facts.id;
    let message = format!(
        "Location {id} does not take it ({} {}), and a bucket's settings are alike in all its locations. Nothing was \
         changed. It said: {}",
        status.as_u16(),
        error.code,
        error.message
    );
    Failure::client(code, message)
}

/// The location's own code, as far as the gateway knows it: what is wrong with a document is the same everywhere.
fn code_of(status: StatusCode, name: &str) -> Code {
    match status {
        StatusCode::NOT_IMPLEMENTED | StatusCode::METHOD_NOT_ALLOWED => Code::NotImplemented,
        _ => Code::named(name).filter(|code| code.status() == status).unwrap_or(Code::InvalidRequest),
    }
}

fn request(
    call: &Call,
    method: Method,
    headers: HeaderMap,
    document: Bytes,
) -> Result<http::Request<Body>, Failure> {
    let query = call.target.query.for_location(&[]);
    Ok(forward::request(method, call.bucket()?, None, &query, headers, Body::full(document))?)
}

/// A setting that locations carry out.
#[derive(Debug)]
struct LocationSetting {
    name: Setting,
    /// What a request about it names.
    query: &'static str,
    /// The root element of its document.
    root: &'static str,
}

const AT_LOCATIONS: &[LocationSetting] = &[
    LocationSetting {
        name: Setting::Encryption,
        query: "encryption",
        root: "ServerSideEncryptionConfiguration",
    },
    LocationSetting { name: Setting::Lifecycle, query: "lifecycle", root: "LifecycleConfiguration" },
    LocationSetting { name: Setting::ObjectLock, query: "object-lock", root: "ObjectLockConfiguration" },
    LocationSetting {
        name: Setting::OwnershipControls,
        query: "ownershipControls",
        root: "OwnershipControls",
    },
    LocationSetting {
        name: Setting::PublicAccessBlock,
        query: "publicAccessBlock",
        root: "PublicAccessBlockConfiguration",
    },
];

/// Which setting an operation puts or deletes.
fn setting(operation: Operation) -> Result<&'static LocationSetting, Failure> {
    let name = match operation {
        Operation::PutBucketEncryption | Operation::DeleteBucketEncryption => Setting::Encryption,
        Operation::PutBucketLifecycleConfiguration | Operation::DeleteBucketLifecycle => Setting::Lifecycle,
        Operation::PutObjectLockConfiguration => Setting::ObjectLock,
        Operation::PutBucketOwnershipControls | Operation::DeleteBucketOwnershipControls => {
            Setting::OwnershipControls
        }
        Operation::PutPublicAccessBlock | Operation::DeletePublicAccessBlock => Setting::PublicAccessBlock,
        other => return Err(Failure::internal(format!("{other} is about no setting of locations"))),
    };
    let known = AT_LOCATIONS.iter().find(|setting| setting.name == name);
    known.ok_or_else(|| Failure::internal("a setting of locations is not in their table"))
}

/// The lock of all that is set on one bucket: no object has a handle like it.
pub(super) fn turn(gateway: &Gateway, call: &Call) -> Result<ObjectHandle, Failure> {
    let name = format!("{}\n", call.bucket()?);
    Ok(gateway.catalogue.object_handle(&name, ""))
}

fn bare(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_keeps_the_code_of_the_location_that_refuses() {
        for code in [Code::InvalidArgument, Code::MalformedXML, Code::AccessDenied] {
            assert_eq!(code_of(code.status(), code.name()), code);
        }
        assert_eq!(code_of(StatusCode::BAD_REQUEST, "SomethingNew"), Code::InvalidRequest);
        assert_eq!(code_of(StatusCode::CONFLICT, "InvalidArgument"), Code::InvalidRequest);
        assert_eq!(code_of(StatusCode::METHOD_NOT_ALLOWED, ""), Code::NotImplemented);
    }
}
