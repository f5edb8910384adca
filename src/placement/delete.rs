//! DeleteObject and DeleteObjects.

use std::sync::Arc;

use futures_util::StreamExt;
use http::{HeaderMap, Method, Response, StatusCode, header};

use super::conditions::same_etag;
use super::record::{self, set};
use super::settle::{self, is_unclear, settle_key};
use super::{buckets, forward};
use crate::body::Body;
use crate::catalogue::{Intent, IntentKind, Receipt};
use crate::gateway::Gateway;
use crate::gateway::call::Call;
use crate::gateway::failure::Failure;
use crate::label::Labels;
use crate::log::{DecisionFacts, Event};
use crate::names::ObjectKey;
use crate::s3::checksum::Subject;
use crate::s3::error::{Code, S3Error};
use crate::s3::xml::{self, DeleteEntry, DeleteFailure, DeleteOutcome, Deleted};

/// Largest DeleteObjects document: 1000 keys of 1024 bytes, each escaped at worst.
const MAX_DOCUMENT: usize = 8 << 20;
/// Keys of one request that are removed at the same time.
const AT_ONCE: usize = 16;

/// Deletes one object. A key that is not there is not an error (S3 API reference, DeleteObject).
pub async fn delete_object(gateway: Arc<Gateway>, call: Call) -> Result<Response<Body>, Failure> {
    buckets::existing(&gateway, &call).await?;
    if call.target.query.value("versionId").is_some_and(|version| version != "null") {
        // Without the version, another object than the one that was named would be deleted.
        return Err(no_versions());
    }
    let key = call.key()?.clone();
    let headers = forward::onward_headers(&call.parts);
    let call = Arc::new(call);
    match delete_key(&gateway, &call, &key, headers).await? {
        Removal::Gone(receipt) => {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::NO_CONTENT;
            if let Some(receipt) = receipt {
                set(response.headers_mut(), "x-domicile-receipt", &receipt.to_string());
            }
            Ok(response)
        }
        Removal::Refused(response) => Ok(response),
    }
}

/// Deletes up to 1000 objects; each key has a result of its own.
pub async fn delete_objects(
    gateway: Arc<Gateway>,
    call: Call,
    body: Body,
) -> Result<Response<Body>, Failure> {
    buckets::existing(&gateway, &call).await?;
    let document = super::read_document(&call, body, MAX_DOCUMENT, Subject::Body).await?;
    let delete = xml::parse_delete(&document, xml::Bound(MAX_DOCUMENT))?;
    let call = Arc::new(call);
    let results = futures_util::stream::iter(delete.objects)
        .map(|object| {
            let gateway = gateway.clone();
            let call = call.clone();
            async move {
                let result = match delete_listed(&gateway, &call, &object).await {
                    Ok(Removal::Gone(_)) => Ok(()),
                    Ok(Removal::Refused(response)) => Err(refusal(response).await),
                    Err(failure) => {
                        Err((failure.error.code.name().to_owned(), failure.error.message.to_string()))
                    }
                };
                (object.key.as_str().to_owned(), result)
            }
        })
        .buffered(AT_ONCE)
        .collect::<Vec<_>>()
        .await;
    let mut answer = DeleteOutcome::default();
    for (key, result) in results {
        match result {
            Ok(()) if delete.quiet => {}
            Ok(()) => answer.deleted.push(Deleted { key, ..Deleted::default() }),
            Err((code, message)) => {
                answer.failed.push(DeleteFailure { key, version: None, code, message });
            }
        }
    }
    Ok(super::xml_response(xml::delete_result(&answer)))
}

async fn delete_listed(
    gateway: &Arc<Gateway>,
    call: &Arc<Call>,
    object: &DeleteEntry,
) -> Result<Removal, Failure> {
    if object.version.as_deref().is_some_and(|version| version != "null") {
        return Err(no_versions());
    }
    if object.last_modified.is_some() || object.size.is_some() {
        let message = "Conditions on LastModifiedTime or Size are not implemented.";
        return Err(Failure::client(Code::NotImplemented, message));
    }
    let mut headers = HeaderMap::new();
    if let Some(etag) = &object.etag {
        let value = http::HeaderValue::from_str(etag).map_err(|_| {
            S3Error::new(Code::InvalidArgument, "An ETag of the document is not a header value.")
        })?;
        headers.insert(header::IF_MATCH, value);
    }
    delete_key(gateway, call, &object.key, headers).await
}

/// Whoever names a version wants that one gone, and not the object that everybody reads.
fn no_versions() -> Failure {
    Failure::client(Code::NotImplemented, "Deleting a version by its id is not implemented.")
}

/// A location's refusal to delete one of many, in its own words where it has some.
async fn refusal(response: Response<Body>) -> (String, String) {
    let status = response.status().as_u16();
    let document = response.into_body().collect_limited(64 << 10).await.unwrap_or_default();
    match xml::parse_error(&document) {
        Ok(error) => (error.code, error.message),
        Err(_) => {
            let code = Code::OperationAborted.name().to_owned();
            (code, format!("The object's location refused with status {status}."))
        }
    }
}

enum Removal {
    /// Not there any more; with a receipt where there was something to delete.
    Gone(Option<Receipt>),
    /// The location's own refusal, for example of a conditional or locked delete.
    Refused(Response<Body>),
}

async fn delete_key(
    gateway: &Arc<Gateway>,
    call: &Arc<Call>,
    key: &ObjectKey,
    headers: HeaderMap,
) -> Result<Removal, Failure> {
    let bucket = call.bucket()?;
    let handle = gateway.catalogue.object_handle(bucket.as_str(), key.as_str());
    if gateway.catalogue.find(handle).await?.is_none() {
        // A write whose answer was lost may have made it: a delete must not be overtaken by finding that out.
        settle_key(gateway, handle).await?;
    }
    // Held over the location's answer and the commit: a write of this key comes before or after, never between.
    let _guard = gateway.key_locks.lock(handle).await;
    let placement = gateway.catalogue.find(handle).await?;
    let kept = placement.as_ref().map(|placement| &placement.location);
    settle::give_up_others(gateway, handle, bucket, key, kept).await?;
    let Some(placement) = placement else {
        if headers.contains_key(header::IF_MATCH) {
            return Err(Failure::client(Code::NoSuchKey, "The specified key does not exist."));
        }
        return Ok(Removal::Gone(None));
    };
    // Not every location knows conditional deletes; one that does not would delete.
    if let Some(wanted) = headers.get(header::IF_MATCH) {
        let wanted = wanted.to_str().unwrap_or_default();
        if wanted.trim() != "*" && !wanted.split(',').any(|etag| same_etag(etag, &placement.etag)) {
            let message = "At least one of the pre-conditions you specified did not hold.";
            return Err(Failure::client(Code::PreconditionFailed, message));
        }
    }
    let facts = gateway.locations.facts(&placement.location)?;
    let labels = Labels {
        classes: placement.classes,
        subjects: placement.subjects,
        coverage: placement.coverage,
        evidence: Vec::new(),
    };
    let mut draft = record::draft(call, Event::Delete, facts.country, &labels, DecisionFacts::default());
    draft.object = Some(placement.object);
    draft.from.push(record::place(&facts));
    draft.sealed.key = Some(key.as_str().to_owned());
    draft.sealed.etag = Some(placement.etag.clone());
    let intent = Intent {
        id: 0,
        handle,
        bucket: bucket.to_string(),
        key: key.as_str().to_owned(),
        kind: IntentKind::Delete,
        placement,
        draft: draft.clone(),
        begun_at: record::now_ms(),
    };
    let opening = gateway.live_intents.opening(handle);
    let intent = gateway.live_intents.begin(gateway.catalogue.open_intent(intent).await?.id);
    drop(opening);
    let request = forward::request(Method::DELETE, bucket, Some(key), "", headers, Body::empty())?;
    let response = gateway.locations.housekeeping(&facts.id)?.call(request).await?;
    if response.status().is_success() || response.status() == StatusCode::NOT_FOUND {
        let receipt = gateway.catalogue.record_delete(intent.id(), handle, draft).await?;
        return Ok(Removal::Gone(Some(receipt)));
    }
    if !is_unclear(response.status()) {
        gateway.catalogue.drop_intent(intent.id()).await?;
    }
    Ok(Removal::Refused(response))
}
