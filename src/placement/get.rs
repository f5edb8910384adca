//! GetObject, HeadObject and the other reads of one object: from where the catalogue says it rests.

use std::sync::Arc;

use http::{HeaderMap, Response, StatusCode, header};

use super::conditions::same_etag;
use super::record::{self, decided, refuse, set};
use super::settle::{held, settle_key};
use super::vanished::{self, Vanished};
use super::{buckets, forward, labels, versions};
use crate::body::Body;
use crate::catalogue::{ObjectHandle, Placement, Which};
use crate::gateway::Gateway;
use crate::gateway::call::Call;
use crate::gateway::failure::Failure;
use crate::geo::ClientPlace;
use crate::label::Coverage;
use crate::log::Event;
use crate::s3::operation::Operation;
use crate::s3::xml;

const MAX_ACL: usize = 256 << 10;

/// GetObjectAcl: as the location has it, with the bucket's owner in the place of the location's account.
pub async fn acl(gateway: Arc<Gateway>, call: Call) -> Result<Response<Body>, Failure> {
    let owner = buckets::existing(&gateway, &call).await?.owner;
    let response = read_object(gateway, call).await?;
    if response.status() != StatusCode::OK {
        return Ok(response);
    }
    let (mut parts, body) = response.into_parts();
    let document = xml::show_owner(&body.collect_limited(MAX_ACL).await?, &owner)?;
    parts.headers.remove(header::CONTENT_LENGTH);
    Ok(Response::from_parts(parts, Body::full(document)))
}

/// Reads an object, its headers, or what else the location keeps about it.
pub async fn read_object(gateway: Arc<Gateway>, call: Call) -> Result<Response<Body>, Failure> {
    let handle = gateway.catalogue.object_handle(call.bucket()?.as_str(), call.key()?.as_str());
    let which = versions::named(&gateway, &call)?;
    let Some(placement) = versions::find(&gateway, handle, which.as_ref()).await? else {
        return settled_read(&gateway, &call, handle, which.as_ref()).await;
    };
    let response = fetch(&gateway, &call, &placement).await?;
    if is_of(&gateway, &call, response.status(), response.headers(), &placement).await? {
        return Ok(response);
    }
    settled_read(&gateway, &call, handle, which.as_ref()).await
}

/// The catalogue does not know the object, or the location's answer is not about the write that it labels. A write may
/// be just between its two commits, or its outcome unknown: wait for it, or find it out, and look again.
async fn settled_read(
    gateway: &Gateway,
    call: &Call,
    handle: ObjectHandle,
    which: Option<&Which>,
) -> Result<Response<Body>, Failure> {
    settle_key(gateway, handle).await?;
    drop(gateway.key_locks.lock(handle).await);
    let Some(placement) = versions::find(gateway, handle, which).await? else {
        return Err(missing(gateway, call, which).await);
    };
    let response = fetch(gateway, call, &placement).await?;
    // Nothing there is nothing to be cautious about.
    let is_gone = response.status() == StatusCode::NOT_FOUND;
    if is_gone && vanished::end_if_gone(gateway, call, handle, &placement).await? == Vanished::Ended {
        // Each turn of this ends a version.
        return Box::pin(settled_read(gateway, call, handle, which)).await;
    }
    if is_gone && which.is_none() && placement.version.is_some() {
        // The location speaks of a version, which the client did not.
        return Err(missing(gateway, call, which).await);
    }
    if is_gone || is_of(gateway, call, response.status(), response.headers(), &placement).await? {
        return Ok(response);
    }
    // Somebody wrote past the gateway. Nobody knows what these bytes are: the cautious branch.
    tracing::warn!(request = call.request.as_str(), "an object differs from its placement");
    let unknown = Placement {
        classes: Default::default(),
        subjects: Default::default(),
        coverage: Coverage::Partial,
        evidence: Vec::new(),
        ..placement
    };
    fetch(gateway, call, &unknown).await
}

async fn missing(gateway: &Gateway, call: &Call, which: Option<&Which>) -> Failure {
    let why = async {
        buckets::existing(gateway, call).await?;
        versions::missing(gateway, call.bucket()?, call.key()?, which).await
    };
    why.await.unwrap_or_else(|failure| failure)
}

/// Decides the read, logs it where it crosses a border, and forwards it.
async fn fetch(gateway: &Gateway, call: &Call, placement: &Placement) -> Result<Response<Body>, Failure> {
    let labels = labels::of(placement);
    let facts = gateway.locations.facts(&placement.location)?;
    let reader = match call.client.place {
        ClientPlace::Country(country) => Some(country),
        ClientPlace::OnSite => Some(facts.country),
        ClientPlace::Unknown => None,
    };
    let decision = labels::decide_read(gateway, call, placement, &labels, facts.country, reader)?;
    let Some(permit) = decision.read_permit() else {
        return Err(refuse(gateway, call, &labels, &decision, facts.country).await);
    };
    if reader != Some(facts.country) {
        // Bytes that cross a border, or may: durable before the first one leaves. Metadata and tags are such too.
        gateway.require_log()?;
        let mut draft = record::draft(call, Event::Read, facts.country, &labels, decided(&decision, "allow"));
        draft.object = Some(placement.object);
        draft.from.push(record::place(&facts));
        gateway.catalogue.record_event(draft).await?;
    }
    let location = gateway.locations.reading(&permit, &placement.location)?;
    let query = versions::query(call, placement);
    let headers = forward::onward_headers(&call.parts);
    let request = forward::request(
        call.parts.method.clone(),
        call.bucket()?,
        Some(call.key()?),
        &query,
        headers,
        Body::empty(),
    )?;
    let mut response = location.call(request).await?;
    versions::show(gateway, call.bucket()?, call.key()?, placement, response.headers_mut())?;
    set(response.headers_mut(), "x-domicile-location", placement.location.as_str());
    set(response.headers_mut(), "x-domicile-labels", &labels.to_string());
    Ok(response)
}

/// [`agrees`], also for answers that carry no ETag: then the location is asked what it holds.
async fn is_of(
    gateway: &Gateway,
    call: &Call,
    status: StatusCode,
    headers: &HeaderMap,
    placement: &Placement,
) -> Result<bool, Failure> {
    if !agrees(status, headers, placement) {
        return Ok(false);
    }
    let says_of_what = headers.contains_key(header::ETAG) || !status.is_success();
    if says_of_what || call.target.operation == Operation::HeadObject {
        return Ok(true);
    }
    let only = versions::only(placement);
    let held = held(gateway, &placement.location, call.bucket()?, call.key()?, &only).await?;
    Ok(held.is_some_and(|held| same_etag(&held.etag, &placement.etag)))
}

/// Whether an answer is about the write that `placement` labels. Answers that carry no ETag say nothing else.
fn agrees(status: StatusCode, headers: &HeaderMap, placement: &Placement) -> bool {
    match status {
        StatusCode::OK | StatusCode::PARTIAL_CONTENT | StatusCode::NOT_MODIFIED => {
            super::header_text(headers, "etag").is_none_or(|etag| same_etag(&etag, &placement.etag))
        }
        // The object was moved between the catalogue's answer and the location's.
        StatusCode::NOT_FOUND => false,
        _ => true,
    }
}
