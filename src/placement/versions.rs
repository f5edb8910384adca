//! Version ids: what clients call a version, which version a call means, and how its location is asked for it.
//!
//! The one place where a location's ids become the gateway's and back. A client's id is a sealed token of location and id;
//! the version `null` has the same name everywhere, for a key has one of it at most.

use http::{HeaderMap, HeaderName, HeaderValue};

use super::record::set;
use crate::catalogue::{ObjectHandle, Placement, Version, VersionAt, VersionKind, Which};
use crate::gateway::Gateway;
use crate::gateway::call::Call;
use crate::gateway::failure::Failure;
use crate::names::{BucketName, ObjectKey};
use crate::s3::error::{Code, S3Error};
use crate::s3::operation::encode;
use crate::s3::token::VersionId;

/// What S3 calls the version that was written while none were kept.
pub const NULL: &str = "null";
pub const VERSION_ID: &str = "x-amz-version-id";
const COPY_SOURCE_VERSION_ID: &str = "x-amz-copy-source-version-id";
const DELETE_MARKER: &str = "x-amz-delete-marker";

/// The version that a call names, if it names one.
pub fn named(gateway: &Gateway, call: &Call) -> Result<Option<Which>, Failure> {
    let Some(id) = call.target.query.value("versionId") else { return Ok(None) };
    open(gateway, call.bucket()?, call.key()?, id).map(Some)
}

/// The version that a client's id stands for.
pub fn open(gateway: &Gateway, bucket: &BucketName, key: &ObjectKey, id: &str) -> Result<Which, Failure> {
    if id == NULL {
        return Ok(Which::Null);
    }
    let VersionId { location, id, .. } = gateway.tokens.open_version(bucket, key, id)?;
    Ok(Which::Id(VersionAt { location, id: Some(id) }))
}

/// What clients call the version that a placement is about.
pub fn client_id(
    gateway: &Gateway,
    bucket: &BucketName,
    key: &ObjectKey,
    placement: &Placement,
) -> Result<String, Failure> {
    let Some(id) = placement.version.clone() else { return Ok(NULL.to_owned()) };
    let version = VersionId { location: placement.location.clone(), id, order: placement.order };
    Ok(gateway.tokens.seal_version(bucket, key, &version)?)
}

/// The placement of the version that is meant; the current object where none is named. A delete marker has one too.
pub async fn find(
    gateway: &Gateway,
    handle: ObjectHandle,
    which: Option<&Which>,
) -> Result<Option<Placement>, Failure> {
    match which {
        None => Ok(gateway.catalogue.find(handle).await?),
        Some(which) => {
            let version = gateway.catalogue.find_version(handle, which.clone()).await?;
            Ok(version.map(|version| version.placement))
        }
    }
}

/// The query of a call as the version's location gets it: always for this very version, so that no other one can answer.
pub fn query(call: &Call, placement: &Placement) -> String {
    let id = placement.version.as_deref().unwrap_or(NULL);
    let mut query = call.target.query.for_location(&[("versionId", id)]);
    if placement.version.is_some() && !call.target.query.contains("versionId") {
        if !query.is_empty() {
            query.push('&');
        }
        query.push_str(&only(placement));
    }
    query
}

/// The parameter that asks for the version of a placement; empty for the version `null`, which a location that never
/// kept versions does not know by that name.
pub fn only(placement: &Placement) -> String {
    placement.version.as_ref().map(|id| format!("versionId={}", encode(id))).unwrap_or_default()
}

/// Shows a location's answer about a version under the client's id for it.
pub fn show(
    gateway: &Gateway,
    bucket: &BucketName,
    key: &ObjectKey,
    placement: &Placement,
    headers: &mut HeaderMap,
) -> Result<(), Failure> {
    if headers.contains_key(VERSION_ID) {
        set(headers, VERSION_ID, &client_id(gateway, bucket, key, placement)?);
    }
    Ok(())
}

/// [`show`] for a version that was just written: its id is told even where the location left it out, and an id that names no
/// version is not.
pub fn show_written(
    gateway: &Gateway,
    call: &Call,
    written: &Placement,
    headers: &mut HeaderMap,
) -> Result<(), Failure> {
    if written.version.is_some() || headers.get(VERSION_ID).is_some_and(|id| id == NULL) {
        set(headers, VERSION_ID, &client_id(gateway, call.bucket()?, call.key()?, written)?);
    } else {
        headers.remove(VERSION_ID);
    }
    Ok(())
}

/// [`show`] for the source of a copy.
pub fn show_source(
    gateway: &Gateway,
    bucket: &BucketName,
    key: &ObjectKey,
    source: &Placement,
    headers: &mut HeaderMap,
) -> Result<(), Failure> {
    if source.version.is_some() || headers.get(COPY_SOURCE_VERSION_ID).is_some_and(|id| id == NULL) {
        set(headers, COPY_SOURCE_VERSION_ID, &client_id(gateway, bucket, key, source)?);
    } else {
        headers.remove(COPY_SOURCE_VERSION_ID);
    }
    Ok(())
}

/// Why there is nothing to read in a bucket that exists.
pub async fn missing(
    gateway: &Gateway,
    bucket: &BucketName,
    key: &ObjectKey,
    which: Option<&Which>,
) -> Result<Failure, Failure> {
    if which.is_some() {
        return Ok(Failure::client(Code::NoSuchVersion, "The specified version does not exist."));
    }
    let error = S3Error::new(Code::NoSuchKey, "The specified key does not exist.");
    let handle = gateway.catalogue.object_handle(bucket.as_str(), key.as_str());
    let newest = gateway.catalogue.find_version(handle, Which::Newest).await?;
    let Some(Version { kind: VersionKind::DeleteMarker, placement, .. }) = newest else {
        return Ok(error.into());
    };
    let id = client_id(gateway, bucket, key, &placement)?;
    let id = HeaderValue::from_str(&id).map_err(Failure::internal)?;
    let marked = error.header(HeaderName::from_static(DELETE_MARKER), HeaderValue::from_static("true"));
    Ok(marked.header(HeaderName::from_static(VERSION_ID), id).into())
}

/// A location's own id in an answer; `None` where it gave none, or `null`.
pub fn id_in(headers: &HeaderMap) -> Option<String> {
    super::header_text(headers, VERSION_ID).filter(|id| id != NULL && !id.is_empty())
}

/// Whether an answer to a deletion that named no version speaks of a delete marker that was made.
pub fn made_marker(headers: &HeaderMap) -> bool {
    let says_so =
        headers.get(DELETE_MARKER).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"true"));
    says_so || id_in(headers).is_some()
}

/// Says in an answer that it is about a delete marker.
pub fn mark(headers: &mut HeaderMap) {
    set(headers, DELETE_MARKER, "true");
}
