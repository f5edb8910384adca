//! DeleteObject and DeleteObjects.

use std::sync::Arc;

use futures_util::StreamExt;
use http::{HeaderMap, Method, Response, StatusCode, header};

use super::choose::choose;
use super::conditions::same_etag;
use super::intents::LiveIntent;
use super::keylock::KeyGuard;
use super::record::{self, refuse, set};
use super::settle::{self, is_unclear, settle_key};
use super::{buckets, forward, labels, residue, versions};
use crate::body::Body;
use crate::catalogue::{
    Bucket, Intent, IntentKind, ObjectHandle, Placement, Receipt, Version, VersionAt, VersionKind,
    Versioning, Which, WriteRecord,
};
use crate::gateway::Gateway;
use crate::gateway::call::Call;
use crate::gateway::failure::Failure;
use crate::label::Coverage;
use crate::log::{DecisionFacts, EntryDraft, Event};
use crate::names::{LocationId, ObjectKey};
use crate::policy::Action;
use crate::s3::checksum::Subject;
use crate::s3::error::{Code, S3Error};
use crate::s3::operation::encode;
use crate::s3::xml::{self, DeleteEntry, DeleteFailure, DeleteOutcome, Deleted};

/// Largest DeleteObjects document: 1000 keys of 1024 bytes, each escaped at worst.
const MAX_DOCUMENT: usize = 8 << 20;
/// Keys of one request that are removed at the same time.
const AT_ONCE: usize = 16;
/// Of DeleteObjects, about each of its objects (S3 API reference).
const BYPASS: &str = "x-amz-bypass-governance-retention";

/// Deletes one object. A key that is not there is not an error (S3 API reference, DeleteObject).
pub async fn delete_object(gateway: Arc<Gateway>, call: Call) -> Result<Response<Body>, Failure> {
    let bucket = buckets::existing(&gateway, &call).await?;
    let which = versions::named(&gateway, &call)?;
    let key = call.key()?.clone();
    let headers = forward::onward_headers(&call.parts);
    let call = Arc::new(call);
    match delete_key(&gateway, &call, &bucket, &key, which.as_ref(), headers).await? {
        Removal::Gone(gone) => {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::NO_CONTENT;
            let headers = response.headers_mut();
            if let Some(receipt) = gone.receipt {
                set(headers, "x-domicile-receipt", &receipt.to_string());
            }
            // That nothing was there is a success too, and names what was asked for.
            let named = call.target.query.value("versionId").filter(|_| bucket.versioning.keeps());
            if let Some(version) = gone.version.as_deref().or(named) {
                set(headers, versions::VERSION_ID, version);
            }
            if gone.kind == VersionKind::DeleteMarker {
                versions::mark(headers);
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
    let bucket = Arc::new(buckets::existing(&gateway, &call).await?);
    let document = super::read_document(&call, body, MAX_DOCUMENT, Subject::Body).await?;
    let delete = xml::parse_delete(&document, xml::Bound(MAX_DOCUMENT))?;
    let call = Arc::new(call);
    let results = futures_util::stream::iter(delete.objects)
        .map(|object| {
            let gateway = gateway.clone();
            let call = call.clone();
            let bucket = bucket.clone();
            async move {
                let result = match delete_listed(&gateway, &call, &bucket, &object).await {
                    Ok(Removal::Gone(gone)) => Ok(gone),
                    Ok(Removal::Refused(response)) => Err(refusal(response).await),
                    Err(failure) => {
                        Err((failure.error.code.name().to_owned(), failure.error.message.to_string()))
                    }
                };
                (object, result)
            }
        })
        .buffered(AT_ONCE)
        .collect::<Vec<_>>()
        .await;
    let mut answer = DeleteOutcome::default();
    for (object, result) in results {
        let (key, version) = (object.key.as_str().to_owned(), object.version);
        match result {
            Ok(_) if delete.quiet => {}
            Ok(gone) => {
                let marker = gone.version.filter(|_| gone.kind == VersionKind::DeleteMarker);
                answer.deleted.push(Deleted { key, version, marker });
            }
            Err((code, message)) => answer.failed.push(DeleteFailure { key, version, code, message }),
        }
    }
    Ok(super::xml_response(xml::delete_result(&answer)))
}

async fn delete_listed(
    gateway: &Arc<Gateway>,
    call: &Arc<Call>,
    bucket: &Bucket,
    object: &DeleteEntry,
) -> Result<Removal, Failure> {
    let which = match &object.version {
        None => None,
        Some(id) => Some(
            versions::open(gateway, call.bucket()?, &object.key, id)
                .map_err(|_| S3Error::new(Code::NoSuchVersion, "The specified version does not exist."))?,
        ),
    };
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
    if let Some(bypass) = call.parts.headers.get(BYPASS) {
        headers.insert(BYPASS, bypass.clone());
    }
    delete_key(gateway, call, bucket, &object.key, which.as_ref(), headers).await
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
    Gone(Gone),
    /// The location's own refusal, for example of a conditional or locked delete.
    Refused(Response<Body>),
}

/// What is not there any more, or hidden.
struct Gone {
    /// Where there was something to delete.
    receipt: Option<Receipt>,
    /// Of the version that was removed, or of the delete marker that was made, as clients know it.
    version: Option<String>,
    /// What was removed; a delete marker also when one was made.
    kind: VersionKind,
}

const NOTHING: Removal = Removal::Gone(Gone { receipt: None, version: None, kind: VersionKind::Object });

async fn delete_key(
    gateway: &Arc<Gateway>,
    call: &Arc<Call>,
    bucket: &Bucket,
    key: &ObjectKey,
    which: Option<&Which>,
    headers: HeaderMap,
) -> Result<Removal, Failure> {
    let handle = gateway.catalogue.object_handle(call.bucket()?.as_str(), key.as_str());
    if versions::find(gateway, handle, which).await?.is_none() {
        // A write whose answer was lost may have made it: a delete must not be overtaken by finding that out.
        settle_key(gateway, handle).await?;
    }
    // Held over the location's answer and the commit: a write of this key comes before or after, never between.
    let guard = gateway.key_locks.lock(handle).await;
    let deletion = Deletion { gateway, call, bucket, key, handle };
    match which {
        // There is one version only.
        None | Some(Which::Null) if !bucket.versioning.keeps() => deletion.of_object(headers).await,
        None => deletion.by_marker(headers, guard).await,
        Some(which) => deletion.of_version(which, headers).await,
    }
}

/// What every way of deleting a key needs to know. The key's lock is held.
struct Deletion<'a> {
    gateway: &'a Arc<Gateway>,
    call: &'a Arc<Call>,
    bucket: &'a Bucket,
    key: &'a ObjectKey,
    handle: ObjectHandle,
}

impl Deletion<'_> {
    /// Where no versions are kept.
    async fn of_object(&self, headers: HeaderMap) -> Result<Removal, Failure> {
        let placement = self.gateway.catalogue.find(self.handle).await?;
        self.give_up_others(placement.as_ref().map(|placement| &placement.location)).await?;
        check_etag(&headers, placement.as_ref())?;
        let Some(placement) = placement else { return Ok(NOTHING) };
        let (intent, draft) = self.begin(IntentKind::Delete, placement.clone()).await?;
        let (intent, response) = match self.send(intent, &placement.location, "", headers).await? {
            Sent::Done(intent, response) => (intent, response),
            Sent::Refused(response) => return Ok(Removal::Refused(response)),
        };
        drop(response);
        let receipt = self.gateway.catalogue.record_delete(intent.id(), self.handle, draft).await?;
        Ok(Removal::Gone(Gone { receipt: Some(receipt), version: None, kind: VersionKind::Object }))
    }

    /// Hides the object under a delete marker, which rests where what it hides does.
    async fn by_marker(&self, headers: HeaderMap, guard: KeyGuard) -> Result<Removal, Failure> {
        let newest = self.gateway.catalogue.find_version(self.handle, Which::Newest).await?;
        let current = newest.as_ref().filter(|newest| newest.kind == VersionKind::Object);
        check_etag(&headers, current.map(|current| &current.placement))?;
        let marker = match newest {
            Some(newest) => self.marker_beside(newest.placement).await?,
            None => self.marker_of_nothing().await?,
        };
        self.give_up_others(Some(&marker.location)).await?;
        let (intent, mut draft) = self.begin(IntentKind::Delete, marker.clone()).await?;
        let (intent, response) = match self.send(intent, &marker.location, "", headers).await? {
            Sent::Done(intent, response) => (intent, response),
            Sent::Refused(response) => return Ok(Removal::Refused(response)),
        };
        if !versions::made_marker(response.headers()) {
            // The location keeps no versions (yet): what it had under the key has gone.
            let at = VersionAt { location: marker.location, id: None };
            let recorded =
                self.gateway.catalogue.record_version_removal(intent.id(), self.handle, at, draft).await?;
            return Ok(Removal::Gone(Gone {
                receipt: Some(recorded),
                version: None,
                kind: VersionKind::Object,
            }));
        }
        let marker = Placement { version: versions::id_in(response.headers()), ..marker };
        draft.sealed.version.clone_from(&marker.version);
        let record = WriteRecord {
            intent: intent.id(),
            handle: self.handle,
            bucket: self.bucket.name.clone(),
            key: self.key.as_str().to_owned(),
            placement: marker,
            draft,
        };
        let recorded = self.gateway.catalogue.record_marker(record).await?;
        drop(guard);
        if let Some(residue) = recorded.displaced {
            residue::remove_promptly(self.gateway, residue).await;
        }
        let name = versions::client_id(self.gateway, self.call.bucket()?, self.key, &recorded.placement)?;
        Ok(Removal::Gone(Gone {
            receipt: Some(recorded.receipt),
            version: Some(name),
            kind: VersionKind::DeleteMarker,
        }))
    }

    /// A marker for a key that there is. Where versions are suspended it takes the place of the version `null`, so it
    /// rests there, and the location removes that version with it.
    async fn marker_beside(&self, newest: Placement) -> Result<Placement, Failure> {
        let replaced = match self.bucket.versioning {
            Versioning::Suspended => self.gateway.catalogue.find_version(self.handle, Which::Null).await?,
            _ => None,
        };
        let location = replaced.map_or(newest.location.clone(), |null| null.placement.location);
        Ok(Placement {
            location,
            etag: String::new(),
            version: None,
            order: 0,
            size: 0,
            evidence: Vec::new(),
            placed_at: record::now_ms(),
            ..newest
        })
    }

    /// A marker for a key that nobody knows: all that it holds is the key's name, and it goes where an object of
    /// that name might.
    async fn marker_of_nothing(&self) -> Result<Placement, Failure> {
        let Deletion { gateway, call, bucket, .. } = self;
        let mut labels = labels::declared_of_key(gateway, call, bucket, self.key)?;
        labels.coverage = Coverage::Complete;
        let decision = labels::decide(gateway, call, bucket, &labels, Action::Store)?;
        if decision.allowed().is_empty() {
            let home = gateway.home_country(bucket.home.as_ref());
            return Err(refuse(gateway, call, &labels, &decision, home).await);
        }
        let permit = choose(gateway, &decision, bucket)?;
        Ok(record::placement(&labels, &permit, 0))
    }

    /// Removes one version for good. The next older one is current then, wherever it rests.
    async fn of_version(&self, which: &Which, headers: HeaderMap) -> Result<Removal, Failure> {
        let version = self.gateway.catalogue.find_version(self.handle, which.clone()).await?;
        let Some(Version { kind, placement, .. }) = version else { return Ok(NOTHING) };
        check_etag(&headers, Some(&placement))?;
        let name = versions::client_id(self.gateway, self.call.bucket()?, self.key, &placement)?;
        let query = format!("versionId={}", encode(placement.version.as_deref().unwrap_or(versions::NULL)));
        let (intent, draft) = self.begin(IntentKind::DeleteVersion, placement.clone()).await?;
        let intent = match self.send(intent, &placement.location, &query, headers).await? {
            Sent::Done(intent, _) => intent,
            Sent::Refused(response) => return Ok(Removal::Refused(response)),
        };
        let at = VersionAt { location: placement.location, id: placement.version };
        let receipt =
            self.gateway.catalogue.record_version_removal(intent.id(), self.handle, at, draft).await?;
        Ok(Removal::Gone(Gone { receipt: Some(receipt), version: Some(name), kind }))
    }

    async fn give_up_others(&self, kept: Option<&LocationId>) -> Result<(), Failure> {
        settle::give_up_others(self.gateway, self.handle, self.call.bucket()?, self.key, kept).await
    }

    /// Opens the intent of a deletion, with the entry that will tell of it.
    async fn begin(
        &self,
        kind: IntentKind,
        placement: Placement,
    ) -> Result<(LiveIntent, EntryDraft), Failure> {
        let facts = self.gateway.locations.facts(&placement.location)?;
        let labels = labels::of(&placement);
        let none = DecisionFacts::default();
        let mut draft = record::draft(self.call, Event::Delete, facts.country, &labels, none);
        draft.object = Some(placement.object);
        draft.from.push(record::place(&facts));
        draft.sealed.key = Some(self.key.as_str().to_owned());
        draft.sealed.etag = Some(placement.etag.clone()).filter(|etag| !etag.is_empty());
        draft.sealed.version.clone_from(&placement.version);
        let intent = Intent {
            id: 0,
            handle: self.handle,
            bucket: self.bucket.name.clone(),
            key: self.key.as_str().to_owned(),
            kind,
            placement,
            draft: draft.clone(),
            begun_at: record::now_ms(),
        };
        let _opening = self.gateway.live_intents.opening(self.handle);
        let intent = self.gateway.catalogue.open_intent(intent).await?;
        Ok((self.gateway.live_intents.begin(intent.id), draft))
    }

    /// Has the location delete. That it knows nothing of the kind is as good.
    async fn send(
        &self,
        intent: LiveIntent,
        location: &LocationId,
        query: &str,
        headers: HeaderMap,
    ) -> Result<Sent, Failure> {
        let bucket = self.call.bucket()?;
        let request =
            forward::request(Method::DELETE, bucket, Some(self.key), query, headers, Body::empty())?;
        let response = self.gateway.locations.housekeeping(location)?.call(request).await?;
        if response.status().is_success() || response.status() == StatusCode::NOT_FOUND {
            return Ok(Sent::Done(intent, response));
        }
        if !is_unclear(response.status()) {
            self.gateway.catalogue.drop_intent(intent.id()).await?;
        }
        Ok(Sent::Refused(response))
    }
}

enum Sent {
    Done(LiveIntent, Response<Body>),
    Refused(Response<Body>),
}

/// Not every location knows conditional deletes; one that does not would delete.
fn check_etag(headers: &HeaderMap, placement: Option<&Placement>) -> Result<(), Failure> {
    let Some(wanted) = headers.get(header::IF_MATCH) else { return Ok(()) };
    let Some(placement) = placement else {
        return Err(Failure::client(Code::NoSuchKey, "The specified key does not exist."));
    };
    let wanted = wanted.to_str().unwrap_or_default();
    if wanted.trim() == "*" || wanted.split(',').any(|etag| same_etag(etag, &placement.etag)) {
        return Ok(());
    }
    let message = "At least one of the pre-conditions you specified did not hold.";
    Err(Failure::client(Code::PreconditionFailed, message))
}
