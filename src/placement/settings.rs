//! Settings of buckets.
//!
//! Cross-origin rules and tags are kept in the catalogue: the gateway carries them out itself. Encryption, lifecycle, public
//! access block and ownership controls are for locations to carry out: each gets the same document, or none keeps it.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method, Response, StatusCode};

use super::settle::is_unclear;
use super::{buckets, forward, read_document, xml_response};
use crate::body::Body;
use crate::catalogue::{ObjectHandle, Setting};
use crate::gateway::Gateway;
use crate::gateway::call::Call;
use crate::gateway::failure::{Blame, Failure};
use crate::locations::Location;
use crate::s3::checksum::Subject;
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
    xml::check_root(&document, Bound(MAX_DOCUMENT), root(call.target.operation))?;
    let mut headers = forward::onward_headers(&call.parts);
    strip_framing(&mut headers, call.identity.payload, document.len() as u64);
    headers.remove("x-amz-trailer");

    // In turn: of two settings at once, locations could keep a different one each.
    let _turn = gateway.key_locks.lock(turn(&gateway, &call)?).await;
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
    Ok(bare(StatusCode::NO_CONTENT))
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
            Before::Document(document) => request(call, Method::PUT, HeaderMap::new(), document.clone())?,
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

/// The root element of a setting's document.
fn root(operation: Operation) -> &'static str {
    match operation {
        Operation::PutBucketLifecycleConfiguration => "LifecycleConfiguration",
        Operation::PutPublicAccessBlock => "PublicAccessBlockConfiguration",
        Operation::PutBucketOwnershipControls => "OwnershipControls",
        _ => "ServerSideEncryptionConfiguration",
    }
}

/// The lock of one setting of one bucket: no object has a handle like it.
pub(super) fn turn(gateway: &Gateway, call: &Call) -> Result<ObjectHandle, Failure> {
    let name = format!("{}\n{}", call.bucket()?, call.target.query.for_location(&[]));
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
