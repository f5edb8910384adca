//! Settles writes that a crash or a silent location left open, by asking the location which bytes it kept.

use std::collections::BTreeMap;

use http::{HeaderMap, Method, StatusCode};

use super::conditions::same_etag;
use super::{forward, header_text, settle_versions, versions};
use crate::body::Body;
use crate::catalogue::{Intent, IntentKind, ObjectHandle, Placement, Stray, WriteRecord};
use crate::gateway::Gateway;
use crate::gateway::failure::{Blame, Failure};
use crate::label::Coverage;
use crate::log::Event;
use crate::names::{BucketName, LocationId, ObjectKey};
use crate::s3::operation::encode;
use crate::s3::xml;

/// One pass over the open intents that no request of this process is serving. Those that cannot be settled
/// now stay open.
pub async fn sweep(gateway: &Gateway) {
    let intents = match gateway.catalogue.open_intents().await {
        Ok(intents) => intents,
        Err(error) => return tracing::warn!(%error, "cannot list open intents"),
    };
    for ((_, location), intents) in by_place(gateway, intents) {
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
    for (id, location) in gateway.catalogue.open_writes_of(handle).await? {
        if kept != Some(&location) && !gateway.live_intents.is_live(id, handle).await {
            let (bucket, key) = (bucket.to_string(), key.as_str().to_owned());
            gateway.catalogue.give_up_intent(id, bucket, key).await?;
        }
    }
    Ok(())
}

/// Settles the open writes of one key, before something is said or done that depends on their outcome. `true` when
/// there were any.
pub async fn settle_key(gateway: &Gateway, handle: ObjectHandle) -> Result<bool, Failure> {
    let open = by_place(gateway, gateway.catalogue.open_intents_of(handle).await?);
    let any = !open.is_empty();
    for ((_, location), intents) in open {
        settle(gateway, &location, intents).await?;
    }
    Ok(any)
}

/// The intents that nobody is serving, by what has to be asked about them.
fn by_place(gateway: &Gateway, intents: Vec<Intent>) -> BTreeMap<(ObjectHandle, LocationId), Vec<Intent>> {
    let mut open: BTreeMap<_, Vec<Intent>> = BTreeMap::new();
    for intent in
        intents.into_iter().filter(|intent| !gateway.live_intents.may_be_live(intent.id, intent.handle))
    {
        open.entry((intent.handle, intent.placement.location.clone())).or_default().push(intent);
    }
    open
}

/// What a location holds now.
pub(super) struct Held {
    pub etag: String,
    pub version: Option<String>,
    pub size: u64,
}

/// Settles all open intents of one key at one location.
async fn settle(gateway: &Gateway, location: &LocationId, intents: Vec<Intent>) -> Result<(), Failure> {
    let Some(first) = intents.first() else { return Ok(()) };
    let handle = first.handle;
    let bucket: BucketName = first.bucket.parse()?;
    let key: ObjectKey = first.key.parse()?;
    let _guard = gateway.key_locks.lock(handle).await;
    let known = gateway.catalogue.find_bucket(gateway.catalogue.bucket_handle(bucket.as_str())).await?;
    let versioning = known.map(|bucket| bucket.versioning).unwrap_or_default();
    if versioning.keeps() {
        return settle_versions::settle(gateway, location, intents, versioning).await;
    }
    let held = held(gateway, location, &bucket, &key, "").await?;
    let placed = gateway.catalogue.find(handle).await?;
    let here = placed.as_ref().filter(|row| row.location == *location);
    let Some(held) = held else {
        // Nothing is there. A delete took effect; a write did not.
        for intent in intents {
            if is_delete(intent.kind) && here.is_some() {
                let mut draft = intent.draft;
                draft.event = Event::Recovered;
                gateway.catalogue.record_delete(intent.id, handle, draft).await?;
            } else {
                gateway.catalogue.drop_intent(intent.id).await?;
            }
        }
        return Ok(());
    };
    let (deletes, writes): (Vec<Intent>, Vec<Intent>) =
        intents.into_iter().partition(|intent| is_delete(intent.kind));
    for delete in deletes {
        gateway.catalogue.drop_intent(delete.id).await?;
    }
    // More labels for bytes that are no longer there concern nobody.
    let is_stale = |intent: &Intent| {
        intent.kind == IntentKind::Relabel && !same_etag(&intent.placement.etag, &held.etag)
    };
    let (stale, mut writes): (Vec<Intent>, Vec<Intent>) = writes.into_iter().partition(is_stale);
    for stale in stale {
        gateway.catalogue.drop_intent(stale.id).await?;
    }
    // The likeliest last: of the right size, then the latest.
    writes.sort_by_key(|intent| (intent.placement.size == held.size, intent.begun_at));
    if let Some(row) = here.filter(|row| same_etag(&row.etag, &held.etag)) {
        return same_bytes(gateway, row, held, writes).await;
    }
    if is_residue(gateway, handle, location, &held).await? {
        // The bytes are those of an earlier write, about to be removed: none of these took effect.
        for write in writes {
            gateway.catalogue.drop_intent(write.id).await?;
        }
        return Ok(());
    }
    let Some(landed) = writes.pop() else { return Ok(()) };
    // What was acknowledged after this write had begun must not be undone by it: nobody was told that it happened.
    if placed.as_ref().is_some_and(|row| row.location != *location && row.placed_at >= landed.begun_at) {
        for other in writes {
            gateway.catalogue.drop_intent(other.id).await?;
        }
        let Intent { id: intent, bucket, key, .. } = landed;
        let stray = Stray { intent, bucket, key, etag: held.etag, version: held.version };
        gateway.catalogue.record_stray(stray).await?;
        return Ok(());
    }
    recover(gateway, landed, writes, held, None).await
}

fn is_delete(kind: IntentKind) -> bool {
    matches!(kind, IntentKind::Delete | IntentKind::DeleteVersion)
}

/// The location holds the bytes of the placement. A write of the same bytes may have taken effect all the same, with
/// tags and metadata of its own; whether it did cannot be told, so the object has its labels too.
pub(super) async fn same_bytes(
    gateway: &Gateway,
    row: &Placement,
    held: Held,
    writes: Vec<Intent>,
) -> Result<(), Failure> {
    let adds = |write: &Intent| {
        let write_of_its_size = write.kind == IntentKind::CompleteUpload || write.placement.size == held.size;
        let (classes, subjects) = (write.placement.classes, write.placement.subjects);
        write_of_its_size
            && (row.classes.union(classes) != row.classes || row.subjects.union(subjects) != row.subjects)
    };
    let (mut adding, others): (Vec<Intent>, Vec<Intent>) = writes.into_iter().partition(adds);
    for other in others {
        gateway.catalogue.drop_intent(other.id).await?;
    }
    match adding.pop() {
        Some(last) => recover(gateway, last, adding, held, Some(row)).await,
        None => Ok(()),
    }
}

/// Records the write that landed. Where several could have, nobody can say whose bytes these are: they carry the
/// labels of all, and those of the placement that they may be instead.
pub(super) async fn recover(
    gateway: &Gateway,
    landed: Intent,
    others: Vec<Intent>,
    held: Held,
    instead: Option<&Placement>,
) -> Result<(), Failure> {
    let Intent { id, handle, bucket, key, kind, mut placement, mut draft, begun_at } = landed;
    for other in others.iter().map(|other| &other.placement).chain(instead) {
        placement.classes = placement.classes.union(other.classes);
        placement.subjects = placement.subjects.union(other.subjects);
        for evidence in &other.evidence {
            if !placement.evidence.contains(evidence) {
                placement.evidence.push(evidence.clone());
            }
        }
    }
    // What has another size than any write that was begun is not what the scanner saw.
    let size_is_known = kind != IntentKind::CompleteUpload;
    if size_is_known && placement.size != held.size {
        placement.coverage = Coverage::Partial;
    }
    placement.etag.clone_from(&held.etag);
    placement.version.clone_from(&held.version);
    placement.size = held.size;
    // Its place in the order of writes is where it began: it may be older than what was acknowledged since.
    placement.placed_at = begun_at;
    draft.event = Event::Recovered;
    draft.classes = placement.classes;
    draft.subjects = placement.subjects;
    draft.sealed.etag = Some(held.etag);
    draft.sealed.version = held.version;
    let write = WriteRecord { intent: id, handle, bucket, key, placement, draft };
    gateway.catalogue.record_write(write).await?;
    for other in others {
        gateway.catalogue.drop_intent(other.id).await?;
    }
    Ok(())
}

async fn is_residue(
    gateway: &Gateway,
    handle: ObjectHandle,
    location: &LocationId,
    held: &Held,
) -> Result<bool, Failure> {
    let residues = gateway.catalogue.residues_of(handle).await?;
    Ok(residues.iter().any(|residue| residue.location == *location && same_etag(&residue.etag, &held.etag)))
}

/// Whether an answer leaves open if the request took effect: a server's error is no refusal.
pub(super) fn is_unclear(status: StatusCode) -> bool {
    status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED
}

/// What a location holds under a key, or of it in one version: then `query` says which.
pub(super) async fn held(
    gateway: &Gateway,
    location: &LocationId,
    bucket: &BucketName,
    key: &ObjectKey,
    query: &str,
) -> Result<Option<Held>, Failure> {
    let request = forward::request(Method::HEAD, bucket, Some(key), query, HeaderMap::new(), Body::empty())?;
    let response = gateway.locations.housekeeping(location)?.call(request).await?;
    match response.status() {
        StatusCode::NOT_FOUND => Ok(None),
        // What is encrypted under the client's own key has no head without it; a list shows it all the same.
        StatusCode::BAD_REQUEST => listed(gateway, location, bucket, key).await,
        StatusCode::OK => {
            let headers = response.headers();
            Ok(Some(Held {
                etag: header_text(headers, "etag").unwrap_or_default(),
                version: versions::id_in(headers),
                size: header_text(headers, "content-length").and_then(|text| text.parse().ok()).unwrap_or(0),
            }))
        }
        status => Err(unanswered(location, status)),
    }
}

fn unanswered(location: &LocationId, status: StatusCode) -> Failure {
    Failure::unavailable(
        Blame::Location,
        "The location of this object does not tell what it holds. Try again.",
        format!("location {location} answered {status} when asked what it holds"),
    )
}

/// [`held`], as a list of the bucket says it: a key is the first of those that begin with it.
async fn listed(
    gateway: &Gateway,
    location: &LocationId,
    bucket: &BucketName,
    key: &ObjectKey,
) -> Result<Option<Held>, Failure> {
    let query = format!("list-type=2&max-keys=1&encoding-type=url&prefix={}", encode(key.as_str()));
    let request = forward::request(Method::GET, bucket, None, &query, HeaderMap::new(), Body::empty())?;
    let response = gateway.locations.housekeeping(location)?.call(request).await?;
    if response.status() != StatusCode::OK {
        return Err(unanswered(location, response.status()));
    }
    let page = xml::parse_list(&response.into_body().collect_limited(1 << 20).await?)?;
    let found = page.entries.into_iter().find(|entry| entry.key == key.as_str());
    Ok(found.map(|entry| Held { size: entry.size().unwrap_or(0), etag: entry.etag, version: None }))
}
