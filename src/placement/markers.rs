//! Delete markers that a location made by itself: a lifecycle hides what it expires in a bucket that keeps versions.
//!
//! Such a marker is taken over when it is met in a list of versions, if it says the same to the gateway as it does at its location: it
//! hides what the catalogue has as the newest version. Any other is passed over, and goes with its bucket.

use http::{HeaderMap, Method, StatusCode};

use super::settle::settle_key;
use super::vanished::EFFECT;
use super::{forward, record, settle_versions, versions};
use crate::body::Body;
use crate::catalogue::{Intent, IntentKind, Placement, Version, VersionKind, Which, WriteRecord};
use crate::gateway::Gateway;
use crate::gateway::failure::Failure;
use crate::locations::Location;
use crate::log::{EntryDraft, Event};
use crate::names::{BucketName, ObjectKey};
use crate::s3::operation::encode;
use crate::s3::xml::{self, VersionElement, VersionEntry};

/// A page of 1000 versions, their keys and ids of the greatest length.
const MAX_PAGE_BYTES: usize = 16 << 20;

/// What became of a marker that the catalogue did not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Met {
    TakenOver,
    PassedOver,
}

/// Takes over a marker that a location lists as its newest version of a key.
pub async fn take_over(
    gateway: &Gateway,
    location: &Location,
    bucket: &BucketName,
    marker: &VersionEntry,
) -> Result<Met, Failure> {
    let key: ObjectKey = marker.key.parse()?;
    let handle = gateway.catalogue.object_handle(bucket.as_str(), key.as_str());
    if gateway.require_log().is_err() {
        return Ok(Met::PassedOver);
    }
    // A deletion whose answer was lost may have made it.
    settle_key(gateway, handle).await?;
    let _guard = gateway.key_locks.lock(handle).await;
    let id = &location.facts.id;
    let is_open = !gateway.catalogue.open_writes_of(handle).await?.is_empty();
    let residues = gateway.catalogue.residues_of(handle).await?;
    if is_open || residues.iter().any(|residue| residue.location == *id) {
        return Ok(Met::PassedOver);
    }
    let newest = gateway.catalogue.find_version(handle, Which::Newest).await?;
    let Some(Version { kind: VersionKind::Object, placement, .. }) = newest else {
        return Ok(Met::PassedOver);
    };
    let held = settle_versions::held(gateway, id, bucket, &key).await?;
    let [first, second, ..] = held.as_slice() else { return Ok(Met::PassedOver) };
    let hides_newest = first.id == marker.id
        && first.element == VersionElement::DeleteMarker
        && placement.location == *id
        && second.id == placement.version.as_deref().unwrap_or(versions::NULL);
    // Where versions are suspended, the marker took the place of the version `null`: that one is gone, not hidden.
    if !hides_newest || first.id == versions::NULL {
        return Ok(Met::PassedOver);
    }
    let facts = gateway.locations.facts(id)?;
    let mut draft = EntryDraft::new(Event::Delete, facts.country);
    draft.object = Some(placement.object);
    (draft.classes, draft.subjects) = (placement.classes, placement.subjects);
    EFFECT.clone_into(&mut draft.decision.effect);
    draft.from.push(record::place(&facts));
    draft.sealed.bucket = Some(bucket.to_string());
    draft.sealed.key = Some(key.as_str().to_owned());
    draft.sealed.version = Some(first.id.clone());
    let placement = Placement {
        etag: String::new(),
        version: Some(first.id.clone()),
        order: 0,
        size: 0,
        evidence: Vec::new(),
        placed_at: record::now_ms(),
        ..placement
    };
    let (bucket, key) = (bucket.to_string(), key.as_str().to_owned());
    let intent = Intent {
        id: 0,
        handle,
        bucket: bucket.clone(),
        key: key.clone(),
        kind: IntentKind::Delete,
        placement: placement.clone(),
        draft: draft.clone(),
        begun_at: record::now_ms(),
    };
    let opening = gateway.live_intents.opening(handle);
    let intent = gateway.live_intents.begin(gateway.catalogue.open_intent(intent).await?.id);
    drop(opening);
    let marker = WriteRecord { intent: intent.id(), handle, bucket, key, placement, draft };
    gateway.catalogue.record_marker(marker).await?;
    Ok(Met::TakenOver)
}

/// What a location has in a bucket that is to be deleted, and of which the catalogue knows nothing any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    Nothing,
    /// A version, or a marker that stays.
    Something,
}

/// Removes the markers that are all that a location has in a bucket: they hide nothing.
pub async fn clear(gateway: &Gateway, location: &Location, bucket: &BucketName) -> Result<Left, Failure> {
    loop {
        let request =
            forward::request(Method::GET, bucket, None, "versions", HeaderMap::new(), Body::empty())?;
        let response = location.call(request).await?;
        if response.status() != StatusCode::OK {
            return Ok(Left::Something);
        }
        let page = xml::parse_versions(&response.into_body().collect_limited(MAX_PAGE_BYTES).await?)?;
        if page.entries.is_empty() {
            return Ok(Left::Nothing);
        }
        for entry in page.entries {
            if entry.element == VersionElement::Version
                || remove(gateway, location, bucket, &entry).await? == Left::Something
            {
                return Ok(Left::Something);
            }
        }
    }
}

async fn remove(
    gateway: &Gateway,
    location: &Location,
    bucket: &BucketName,
    marker: &VersionEntry,
) -> Result<Left, Failure> {
    let key: ObjectKey = marker.key.parse()?;
    let handle = gateway.catalogue.object_handle(bucket.as_str(), key.as_str());
    // Not one that a client is just having made.
    let _guard = gateway.key_locks.lock(handle).await;
    if gateway.catalogue.find_version(handle, Which::Newest).await?.is_some() {
        return Ok(Left::Something);
    }
    let query = format!("versionId={}", encode(&marker.id));
    let request =
        forward::request(Method::DELETE, bucket, Some(&key), &query, HeaderMap::new(), Body::empty())?;
    let status = location.call(request).await?.status();
    Ok(if status.is_success() { Left::Nothing } else { Left::Something })
}
