//! Settles writes that a crash or a silent location left open, by asking the location which bytes it kept.

use std::collections::BTreeMap;

use http::{HeaderMap, Method, StatusCode};

use super::{forward, header_text, record};
use crate::body::Body;
use crate::catalogue::{Intent, IntentKind, ObjectHandle, WriteRecord};
use crate::gateway::Gateway;
use crate::gateway::failure::Failure;
use crate::log::Event;
use crate::names::{BucketName, LocationId, ObjectKey};

/// One pass over the open intents that no request of this process is serving. Those that cannot be settled
/// now stay open.
pub async fn sweep(gateway: &Gateway) {
    let intents = match gateway.catalogue.open_intents().await {
        Ok(intents) => intents,
        Err(error) => return tracing::warn!(%error, "cannot list open intents"),
    };
    let mut open: BTreeMap<(ObjectHandle, LocationId), Vec<Intent>> = BTreeMap::new();
    for intent in intents.into_iter().filter(|intent| !gateway.live_intents.contains(intent.id)) {
        open.entry((intent.handle, intent.placement.location.clone())).or_default().push(intent);
    }
    for ((_, location), intents) in open {
        if let Err(failure) = settle(gateway, &location, intents).await {
            let cause = failure.cause.map(|cause| cause.to_string()).unwrap_or_default();
            tracing::warn!(%location, cause, "a write could not be settled yet");
        }
    }
}

/// Gives up writes of a key that began earlier, got lost, and are not settled yet, at all locations but `kept`. Called
/// with the key's lock held, before a newer write or a deletion is acknowledged: were they found and recorded
/// afterwards, they would undo it. What they may have left behind is listed as residue.
pub async fn give_up_others(
    gateway: &Gateway,
    handle: ObjectHandle,
    bucket: &BucketName,
    key: &ObjectKey,
    kept: Option<&LocationId>,
) -> Result<(), Failure> {
    for (id, location) in gateway.catalogue.open_intents_of(handle).await? {
        if kept != Some(&location) && !gateway.live_intents.contains(id) {
            let (bucket, key) = (bucket.to_string(), key.as_str().to_owned());
            gateway.catalogue.give_up_intent(id, bucket, key).await?;
        }
    }
    Ok(())
}

/// What the location holds now.
struct Held {
    etag: String,
    version: Option<String>,
    size: u64,
}

/// Settles all open intents of one key at one location.
async fn settle(gateway: &Gateway, location: &LocationId, mut intents: Vec<Intent>) -> Result<(), Failure> {
    let Some(first) = intents.first() else { return Ok(()) };
    let handle = first.handle;
    let bucket: BucketName = first.bucket.parse()?;
    let key: ObjectKey = first.key.parse()?;
    let _guard = gateway.key_locks.lock(handle).await;
    let held = held(gateway, location, &bucket, &key).await?;
    let current = gateway.catalogue.find(handle).await?.filter(|row| row.location == *location);
    let Some(held) = held else {
        // Nothing is there. A delete took effect; a write did not.
        for intent in intents {
            if intent.kind == IntentKind::Delete && current.is_some() {
                let mut draft = intent.draft;
                draft.event = Event::Recovered;
                gateway.catalogue.record_delete(intent.id, handle, draft).await?;
            } else {
                gateway.catalogue.drop_intent(intent.id).await?;
            }
        }
        return Ok(());
    };
    let known = current.as_ref().is_some_and(|row| row.etag == held.etag)
        || gateway.catalogue.residues(usize::MAX).await?.iter().any(|residue| {
            residue.handle == handle && residue.location == *location && residue.etag == held.etag
        });
    intents.sort_by_key(|intent| (intent.placement.size == held.size, intent.begun_at));
    let landed = intents.iter().rposition(|intent| intent.kind != IntentKind::Delete);
    if known || landed.is_none() {
        // The bytes are those of an earlier write: none of these took effect.
        for intent in intents {
            gateway.catalogue.drop_intent(intent.id).await?;
        }
        return Ok(());
    }
    let Some(intent) = landed.map(|index| intents.remove(index)) else { return Ok(()) };
    let mut placement = intent.placement;
    let mut draft = intent.draft;
    // Where several writes were open, nobody can say whose bytes these are: they carry the labels of all.
    for other in &intents {
        placement.classes = placement.classes.union(other.placement.classes);
        placement.subjects = placement.subjects.union(other.placement.subjects);
        gateway.catalogue.drop_intent(other.id).await?;
    }
    placement.etag.clone_from(&held.etag);
    placement.version.clone_from(&held.version);
    placement.size = held.size;
    placement.placed_at = record::now_ms();
    draft.event = Event::Recovered;
    draft.classes = placement.classes;
    draft.subjects = placement.subjects;
    draft.sealed.etag = Some(held.etag);
    draft.sealed.version = held.version;
    let write =
        WriteRecord { intent: intent.id, handle, bucket: intent.bucket, key: intent.key, placement, draft };
    gateway.catalogue.record_write(write).await?;
    Ok(())
}

async fn held(
    gateway: &Gateway,
    location: &LocationId,
    bucket: &BucketName,
    key: &ObjectKey,
) -> Result<Option<Held>, Failure> {
    let request = forward::request(Method::HEAD, bucket, Some(key), "", HeaderMap::new(), Body::empty())?;
    let response = gateway.locations.housekeeping(location)?.call(request).await?;
    match response.status() {
        StatusCode::NOT_FOUND => Ok(None),
        StatusCode::OK => {
            let headers = response.headers();
            Ok(Some(Held {
                etag: header_text(headers, "etag").unwrap_or_default(),
                version: header_text(headers, "x-amz-version-id"),
                size: header_text(headers, "content-length").and_then(|text| text.parse().ok()).unwrap_or(0),
            }))
        }
        status => Err(Failure::internal(format!("the location answered {status} to HEAD"))),
    }
}
