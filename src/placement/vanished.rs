//! What a location lost without the gateway: a lifecycle expired it, or somebody removed it past the gateway.
//!
//! The catalogue ends a placement on the location's own word alone, about this very version: a refusal that may be a proxy's, a bucket
//! that is not there, or a silence say nothing. The end is a `delete` in the log, whose effect says that nobody here asked for it.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};

use super::{forward, labels, record, versions};
use crate::body::Body;
use crate::catalogue::{BucketHandle, ObjectHandle, Placement};
use crate::gateway::Gateway;
use crate::gateway::call::Call;
use crate::gateway::failure::Failure;
use crate::log::{DecisionFacts, EntryDraft, Event};
use crate::names::{LocationId, ObjectKey};
use crate::s3::error::Code;
use crate::s3::operation::Operation;
use crate::s3::xml;

/// The effect of such an end, as the log has it.
pub const EFFECT: &str = "vanished";
/// Placements that are ended in one go.
const AT_ONCE: usize = 256;
const MAX_ERROR: usize = 64 << 10;
/// Of no object.
const NO_ETAG: &str = "\"none\"";

/// Whether bytes that a placement speaks of are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Vanished {
    /// They are not, and the catalogue has ended the placement.
    Ended,
    /// Nobody knows for certain that they are not.
    Unproved,
}

/// After a read that found nothing where the catalogue has an object. Reads of what else is kept about an object have other
/// reasons to find nothing.
pub async fn end_if_gone(
    gateway: &Gateway,
    call: &Call,
    handle: ObjectHandle,
    placement: &Placement,
) -> Result<Vanished, Failure> {
    let reads_it = matches!(call.target.operation, Operation::GetObject | Operation::HeadObject);
    if !reads_it || gateway.require_log().is_err() {
        return Ok(Vanished::Unproved);
    }
    // No write of the key lands between the location's word and the commit.
    let _guard = gateway.key_locks.lock(handle).await;
    if !is_gone(gateway, call, call.key()?, placement).await? {
        return Ok(Vanished::Unproved);
    }
    let draft = draft(gateway, call, Some(call.key()?), placement)?;
    let ended = gateway.catalogue.record_vanished(handle, placement.clone(), draft).await?;
    Ok(if ended.is_some() { Vanished::Ended } else { Vanished::Unproved })
}

/// Asks the location for the version in words of our own, and for an answer that has a document: what is there does not match, so
/// that none of its bytes come along.
async fn is_gone(
    gateway: &Gateway,
    call: &Call,
    key: &ObjectKey,
    placement: &Placement,
) -> Result<bool, Failure> {
    let only = versions::only(placement);
    let mut headers = HeaderMap::new();
    headers.insert(header::IF_MATCH, HeaderValue::from_static(NO_ETAG));
    headers.insert(header::RANGE, HeaderValue::from_static("bytes=0-0"));
    let request = forward::request(Method::GET, call.bucket()?, Some(key), &only, headers, Body::empty())?;
    let response = gateway.locations.housekeeping(&placement.location)?.call(request).await?;
    Ok(says_gone(response).await)
}

async fn says_gone(response: Response<Body>) -> bool {
    if response.status() != StatusCode::NOT_FOUND {
        return false;
    }
    let Ok(document) = response.into_body().collect_limited(MAX_ERROR).await else { return false };
    let code = xml::parse_error(&document).map(|error| error.code).unwrap_or_default();
    matches!(Code::named(&code), Some(Code::NoSuchKey | Code::NoSuchVersion))
}

/// Ends the placements of a bucket that is to be deleted, when every location in `empty` has said that it holds nothing in it: no
/// object, no version, no delete marker. Not of those at a location that did not say so.
pub async fn end_all(
    gateway: &Gateway,
    call: &Call,
    bucket: BucketHandle,
    empty: &BTreeSet<LocationId>,
) -> Result<Vanished, Failure> {
    loop {
        let placed = gateway.catalogue.placed_in(bucket, AT_ONCE).await?;
        if placed.is_empty() {
            return Ok(Vanished::Ended);
        }
        if placed.iter().any(|(_, placement)| !empty.contains(&placement.location)) {
            return Ok(Vanished::Unproved);
        }
        let ends = placed.into_iter().map(|(handle, placement)| async move {
            let draft = draft(gateway, call, None, &placement)?;
            // In turn with writes of the same key.
            let _guard = gateway.key_locks.lock(handle).await;
            Ok::<_, Failure>(gateway.catalogue.record_vanished(handle, placement, draft).await?)
        });
        let ended = join_all(ends).await.into_iter().collect::<Result<Vec<_>, Failure>>()?;
        if ended.iter().all(Option::is_none) {
            // Somebody is writing them.
            return Ok(Vanished::Unproved);
        }
    }
}

/// Nobody of those who may use the gateway did it, so the entry names no principal.
fn draft(
    gateway: &Gateway,
    call: &Call,
    key: Option<&ObjectKey>,
    placement: &Placement,
) -> Result<EntryDraft, Failure> {
    let facts = gateway.locations.facts(&placement.location)?;
    let labels = labels::of(placement);
    let decision = DecisionFacts { effect: EFFECT.to_owned(), ..DecisionFacts::default() };
    let mut draft = record::draft(call, Event::Delete, facts.country, &labels, decision);
    draft.from.push(record::place(&facts));
    draft.sealed.principal = None;
    draft.sealed.address = None;
    draft.sealed.key = key.map(|key| key.as_str().to_owned());
    draft.sealed.etag = Some(placement.etag.clone()).filter(|etag| !etag.is_empty());
    draft.sealed.version.clone_from(&placement.version);
    Ok(draft)
}
