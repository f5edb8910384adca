//! What changes about an object whose bytes stay: tags, retention, legal hold, restore, access control list.
//!
//! Tags are labels. What new tags add is decided before the location hears of them; where the object may not rest
//! under its new labels, the tags are refused and nothing changes. Labels only add up: tags that go take none away.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response};

use super::conditions::same_etag;
use super::record::{self, answer_stored, refuse_place, set};
use super::settle::{held, is_unclear, settle_key};
use super::{buckets, forward, labels, read_document, versions};
use crate::body::Body;
use crate::catalogue::{Bucket, Intent, IntentKind, ObjectHandle, Placement, WriteRecord};
use crate::gateway::Gateway;
use crate::gateway::call::Call;
use crate::gateway::failure::Failure;
use crate::label::Labels;
use crate::locations::{LocationError, LocationFacts};
use crate::log::Event;
use crate::policy::{Action, Permit};
use crate::s3::checksum::Subject;
use crate::s3::error::{Code, S3Error};
use crate::s3::operation::Operation;
use crate::s3::payload::strip_framing;
use crate::s3::xml::{self, Bound};

/// The longest document of these operations: ten tags of the greatest length, every character escaped.
const MAX_DOCUMENT: usize = 128 << 10;

/// PutObjectTagging.
pub async fn put_tagging(gateway: Arc<Gateway>, call: Call, body: Body) -> Result<Response<Body>, Failure> {
    let (change, document) = Change::read(gateway, call, body).await?;
    let tags = xml::parse_tagging(&document, Bound(MAX_DOCUMENT))?;
    let tags: Vec<_> = tags.into_iter().map(|tag| (tag.key, tag.value)).collect();
    let declared = change.gateway.labeller.tagged(&tags)?;
    let (target, _guard) = change.target().await?;
    let Target { handle, placement, facts } = &target;
    let before = Labels { evidence: placement.evidence.clone(), ..labels::of(placement) };
    let mut labels = before.clone();
    for evidence in declared.evidence {
        labels.add(evidence);
    }
    if (labels.classes, labels.subjects) == (before.classes, before.subjects) {
        return change.forward(&target, &before, document).await;
    }

    // What else has been written under this key must be settled: these labels are for the bytes that the catalogue knows.
    let (gateway, call) = (&change.gateway, &change.call);
    let only = versions::only(placement);
    let held = held(gateway, &facts.id, call.bucket()?, call.key()?, &only).await?;
    if !held.is_some_and(|held| same_etag(&held.etag, &placement.etag)) {
        let message =
            "The object was changed at its location, past the gateway. Upload it again with these tags.";
        return Err(Failure::client(Code::OperationAborted, message));
    }
    let permit = change.permit(&target, &labels).await?;

    // The intent first: after a crash, or an answer that was lost, the object has the new labels whatever its tags are.
    let mut row = record::placement(&labels, &permit, placement.size);
    row.object = placement.object;
    row.etag.clone_from(&placement.etag);
    row.version.clone_from(&placement.version);
    row.order = placement.order;
    let mut draft = record::draft(call, Event::Write, facts.country, &labels, record::permitted(&permit));
    draft.to.push(record::place(facts));
    draft.sealed.etag = Some(row.etag.clone());
    draft.sealed.version.clone_from(&row.version);
    let intent = Intent {
        id: 0,
        handle: *handle,
        bucket: call.bucket()?.to_string(),
        key: call.key()?.as_str().to_owned(),
        kind: IntentKind::Relabel,
        placement: row.clone(),
        draft: draft.clone(),
        begun_at: record::now_ms(),
    };
    let opening = gateway.live_intents.opening(*handle);
    let intent = gateway.live_intents.begin(gateway.catalogue.open_intent(intent).await?.id);
    drop(opening);
    let request = change.request(&target, document)?;
    let response = match gateway.locations.storing(&permit)?.call(request).await {
        Ok(response) => response,
        Err(error @ LocationError::Lost { .. }) => return Err(error.into()),
        Err(error) => {
            gateway.catalogue.drop_intent(intent.id()).await?;
            return Err(error.into());
        }
    };
    if !response.status().is_success() {
        if !is_unclear(response.status()) {
            gateway.catalogue.drop_intent(intent.id()).await?;
        }
        return Ok(response);
    }
    let write = WriteRecord {
        intent: intent.id(),
        handle: *handle,
        bucket: call.bucket()?.to_string(),
        key: call.key()?.as_str().to_owned(),
        placement: row,
        draft,
    };
    let recorded = gateway.catalogue.record_write(write).await?;
    let mut response = response;
    versions::show(gateway, call.bucket()?, call.key()?, &recorded.placement, response.headers_mut())?;
    Ok(answer_stored(response, &recorded))
}

/// Everything else that changes no label: DeleteObjectTagging, PutObjectRetention, PutObjectLegalHold, PutObjectAcl,
/// RestoreObject. Forwarded to where the object rests, in turn with its writes.
pub async fn amend(gateway: Arc<Gateway>, call: Call, body: Body) -> Result<Response<Body>, Failure> {
    let (mut change, mut document) = Change::read(gateway, call, body).await?;
    match change.call.target.operation {
        // A canned list comes in a header, and was judged with the other headers.
        Operation::PutObjectAcl if !document.is_empty() => {
            buckets::check_acl(&document, &change.bucket.owner, &change.call)?;
            // The owner has another name at the location, where this means the same.
            let headers = &mut change.call.parts.headers;
            headers.insert("x-amz-acl", HeaderValue::from_static("private"));
            forget_document(headers);
            document = Bytes::new();
        }
        Operation::RestoreObject => xml::check_restore(&document, Bound(MAX_DOCUMENT))?,
        _ => {}
    }
    let (target, _guard) = change.target().await?;
    let labels = labels::of(&target.placement);
    change.forward(&target, &labels, document).await
}

/// Takes off what was said about a document that does not travel.
fn forget_document(headers: &mut HeaderMap) {
    let about_it = |name: &HeaderName| {
        let name = name.as_str();
        matches!(name, "content-type" | "content-md5" | "content-encoding" | "x-amz-trailer")
            || name.starts_with("x-amz-checksum-")
            || name.starts_with("x-amz-sdk-checksum-")
    };
    let names: Vec<HeaderName> = headers.keys().filter(|name| about_it(name)).cloned().collect();
    for name in names {
        headers.remove(name);
    }
}

/// A change to one object, its document verified.
struct Change {
    gateway: Arc<Gateway>,
    call: Call,
    bucket: Bucket,
}

/// The object that is to be changed, and where it rests.
struct Target {
    handle: ObjectHandle,
    placement: Placement,
    facts: Arc<LocationFacts>,
}

impl Change {
    async fn read(gateway: Arc<Gateway>, call: Call, body: Body) -> Result<(Change, Bytes), Failure> {
        let bucket = buckets::existing(&gateway, &call).await?;
        let document = read_document(&call, body, MAX_DOCUMENT, Subject::Body).await?;
        Ok((Change { gateway, call, bucket }, document))
    }

    /// The object as the catalogue knows it, and its key's turn: no write of the key comes in between.
    async fn target(&self) -> Result<(Target, super::keylock::KeyGuard), Failure> {
        let Change { gateway, call, .. } = self;
        let handle = gateway.catalogue.object_handle(call.bucket()?.as_str(), call.key()?.as_str());
        settle_key(gateway, handle).await?;
        let guard = gateway.key_locks.lock(handle).await;
        let which = versions::named(gateway, call)?;
        let Some(placement) = versions::find(gateway, handle, which.as_ref()).await? else {
            return Err(versions::missing(gateway, call.bucket()?, call.key()?, which.as_ref()).await?);
        };
        let facts = gateway.locations.facts(&placement.location)?;
        Ok((Target { handle, placement, facts }, guard))
    }

    /// Leave to keep the object where it rests, under these labels; or the refusal.
    async fn permit(&self, target: &Target, labels: &Labels) -> Result<Permit, Failure> {
        let Change { gateway, call, bucket } = self;
        let location = &target.facts.id;
        let held_in = [target.facts.country].into_iter().collect();
        let decision = labels::decide_held(gateway, call, bucket, labels, Action::Store, held_in)?;
        if let Some(permit) = decision.permit(location) {
            return Ok(permit);
        }
        let home = gateway.home_country(bucket.home.as_ref());
        let why = decision.refusal_at(location).map(|refusal| refusal.message).unwrap_or_default();
        let message = format!(
            "With these tags the object may not rest where it does. Nothing was changed. Upload the object again with \
             these tags: it will go to a location that is allowed, if there is one. {why}"
        );
        let answer = S3Error::new(Code::AccessDenied, message);
        Err(refuse_place(gateway, call, labels, &decision, location, home, answer).await)
    }

    async fn forward(
        &self,
        target: &Target,
        labels: &Labels,
        document: Bytes,
    ) -> Result<Response<Body>, Failure> {
        let location = self.gateway.locations.housekeeping(&target.facts.id)?;
        let mut response = location.call(self.request(target, document)?).await?;
        versions::show(
            &self.gateway,
            self.call.bucket()?,
            self.call.key()?,
            &target.placement,
            response.headers_mut(),
        )?;
        set(response.headers_mut(), "x-domicile-location", target.facts.id.as_str());
        set(response.headers_mut(), "x-domicile-labels", &labels.to_string());
        Ok(response)
    }

    fn request(&self, target: &Target, document: Bytes) -> Result<http::Request<Body>, Failure> {
        let call = &self.call;
        let mut headers: HeaderMap = forward::onward_headers(&call.parts);
        strip_framing(&mut headers, call.identity.payload, document.len() as u64);
        // It was about the document, which has been verified.
        headers.remove("x-amz-trailer");
        let method = call.parts.method.clone();
        let query = versions::query(call, &target.placement);
        let body = Body::full(document);
        Ok(forward::request(method, call.bucket()?, Some(call.key()?), &query, headers, body)?)
    }
}
