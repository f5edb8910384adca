//! What a crash or a silent location left open in a bucket that keeps versions.
//!
//! Nothing is overwritten here: what a lost write left is a version that the catalogue does not know. It is the newest of its key
//! if nothing was acknowledged since the write began; otherwise it is residue, and the version's id says what to remove.

use http::{HeaderMap, Method};

use super::conditions::same_etag;
use super::settle::{Held, recover, same_bytes};
use super::{forward, versions};
use crate::body::Body;
use crate::catalogue::{
    Intent, IntentKind, ObjectHandle, Placement, Stray, Version, VersionAt, VersionKind, Versioning,
    WriteRecord,
};
use crate::gateway::Gateway;
use crate::gateway::failure::Failure;
use crate::log::Event;
use crate::names::{BucketName, LocationId, ObjectKey};
use crate::s3::operation::encode;
use crate::s3::xml::{self, VersionElement, VersionEntry};

/// A page of 1000 versions, their keys and ids of the greatest length.
const MAX_PAGE_BYTES: usize = 16 << 20;

/// Settles all open intents of one key at one location. The key's lock is held.
pub(super) async fn settle(
    gateway: &Gateway,
    location: &LocationId,
    intents: Vec<Intent>,
    versioning: Versioning,
) -> Result<(), Failure> {
    let Some(first) = intents.first() else { return Ok(()) };
    let handle = first.handle;
    let (bucket, key) = (first.bucket.parse()?, first.key.parse()?);
    let held = held(gateway, location, &bucket, &key).await?;
    let rows = gateway.catalogue.versions(handle).await?;
    let mut open = Open { gateway, location, handle, unknown: Vec::new(), newest: None, rows };
    open.newest = held.first().map(|entry| entry.id.clone());
    open.unknown = open.unknown_of(&held).await?;
    let mut writes = Vec::new();
    for intent in intents {
        match intent.kind {
            IntentKind::Delete => open.settle_delete(intent, &held).await?,
            IntentKind::DeleteVersion => open.settle_removal(intent, &held).await?,
            IntentKind::Relabel => open.settle_relabel(intent, &held).await?,
            IntentKind::Put | IntentKind::Copy | IntentKind::CompleteUpload => writes.push(intent),
        }
    }
    open.settle_writes(writes, &held, versioning).await
}

/// The ids of versions that a location has of a key and the catalogue does not know. The key's lock is held, and no write
/// of it is open at this location.
pub(super) async fn unknown(
    gateway: &Gateway,
    location: &LocationId,
    handle: ObjectHandle,
    bucket: &BucketName,
    key: &ObjectKey,
) -> Result<Vec<String>, Failure> {
    let held = held(gateway, location, bucket, key).await?;
    let rows = gateway.catalogue.versions(handle).await?;
    let unknown = held.into_iter().filter(|entry| !is_known(&rows, location, entry));
    Ok(unknown.map(|entry| entry.id).collect())
}

/// All versions and delete markers that a location has of a key, newest first.
pub(super) async fn held(
    gateway: &Gateway,
    location: &LocationId,
    bucket: &BucketName,
    key: &ObjectKey,
) -> Result<Vec<VersionEntry>, Failure> {
    let mut found: Vec<VersionEntry> = Vec::new();
    let mut behind = String::new();
    loop {
        // The key itself is the first of all that begin with it.
        let query = format!("versions&encoding-type=url&prefix={}{behind}", encode(key.as_str()));
        let request = forward::request(Method::GET, bucket, None, &query, HeaderMap::new(), Body::empty())?;
        let response = gateway.locations.housekeeping(location)?.call(request).await?;
        if !response.status().is_success() {
            let status = response.status();
            return Err(Failure::internal(format!("the location answered {status} to a list of versions")));
        }
        let page = xml::parse_versions(&response.into_body().collect_limited(MAX_PAGE_BYTES).await?)?;
        let (listed, before) = (page.entries.len(), found.len());
        let id = page.next_version_id_marker.or(page.entries.last().map(|last| last.id.clone()));
        found.extend(page.entries.into_iter().filter(|entry| entry.key == key.as_str()));
        if !page.is_truncated || found.len() - before < listed.max(1) {
            return Ok(found);
        }
        let (key, id) = (encode(key.as_str()), encode(&id.unwrap_or_default()));
        behind = format!("&key-marker={key}&version-id-marker={id}");
    }
}

fn is_known(rows: &[Version], location: &LocationId, entry: &VersionEntry) -> bool {
    rows.iter().any(|Version { kind, placement, .. }| {
        let same_kind = match entry.element {
            VersionElement::Version => {
                *kind == VersionKind::Object && same_etag(&placement.etag, &entry.etag)
            }
            VersionElement::DeleteMarker => *kind == VersionKind::DeleteMarker,
        };
        same_kind && placement.location == *location && id_of(placement) == entry.id
    })
}

fn id_of(placement: &Placement) -> &str {
    placement.version.as_deref().unwrap_or(versions::NULL)
}

fn id_from(entry: &VersionEntry) -> Option<String> {
    Some(entry.id.clone()).filter(|id| id != versions::NULL)
}

/// What is open of one key at one location.
struct Open<'a> {
    gateway: &'a Gateway,
    location: &'a LocationId,
    handle: ObjectHandle,
    /// Newest first; what an intent turned out to have left is taken out.
    unknown: Vec<VersionEntry>,
    /// Id of the newest version that the location has.
    newest: Option<String>,
    /// What the catalogue knows of the key, newest first.
    rows: Vec<Version>,
}

impl Open<'_> {
    async fn unknown_of(&self, held: &[VersionEntry]) -> Result<Vec<VersionEntry>, Failure> {
        let residues = self.gateway.catalogue.residues_of(self.handle).await?;
        let is_residue = |entry: &VersionEntry| {
            residues.iter().any(|residue| {
                residue.location == *self.location
                    && residue.version.as_deref() == Some(&entry.id)
                    && (residue.etag.is_empty() || same_etag(&residue.etag, &entry.etag))
            })
        };
        let unknown =
            held.iter().filter(|entry| !is_known(&self.rows, self.location, entry) && !is_residue(entry));
        Ok(unknown.cloned().collect())
    }

    /// Whether a version that a lost request left may become the newest: it is the newest of its location, and nothing that
    /// was acknowledged since the request began would be undone.
    fn counts(&self, entry: &VersionEntry, begun_at: u64) -> bool {
        let overtaken = self.rows.first().is_some_and(|newest| newest.placement.placed_at >= begun_at);
        self.newest.as_ref() == Some(&entry.id) && !overtaken
    }

    async fn settle_delete(&mut self, intent: Intent, held: &[VersionEntry]) -> Result<(), Failure> {
        let marker = self.unknown.iter().position(|entry| entry.element == VersionElement::DeleteMarker);
        if let Some(marker) = marker.map(|index| self.unknown.remove(index)) {
            if !self.counts(&marker, intent.begun_at) {
                return self.stray(intent, &marker).await;
            }
            let Intent { id, handle, bucket, key, placement, mut draft, begun_at, .. } = intent;
            draft.event = Event::Recovered;
            draft.sealed.version = id_from(&marker);
            let placement =
                Placement { version: id_from(&marker), placed_at: begun_at, order: 0, ..placement };
            let record = WriteRecord { intent: id, handle, bucket, key, placement, draft };
            self.gateway.catalogue.record_marker(record).await?;
            return Ok(());
        }
        // A location that keeps no versions (yet) has removed what it had.
        let null = self.rows.iter().find(|row| row.placement.version.is_none());
        let was_here = null.is_some_and(|row| row.placement.location == *self.location);
        if was_here && !held.iter().any(|entry| entry.id == versions::NULL) {
            return self.removed(intent, None).await;
        }
        Ok(self.gateway.catalogue.drop_intent(intent.id).await?)
    }

    async fn settle_removal(&self, intent: Intent, held: &[VersionEntry]) -> Result<(), Failure> {
        if held.iter().any(|entry| entry.id == id_of(&intent.placement)) {
            return Ok(self.gateway.catalogue.drop_intent(intent.id).await?);
        }
        let id = intent.placement.version.clone();
        self.removed(intent, id).await
    }

    async fn removed(&self, intent: Intent, id: Option<String>) -> Result<(), Failure> {
        let mut draft = intent.draft;
        draft.event = Event::Recovered;
        let at = VersionAt { location: self.location.clone(), id };
        self.gateway.catalogue.record_version_removal(intent.id, self.handle, at, draft).await?;
        Ok(())
    }

    /// Whether the location took the new tags cannot be told; the labels are those of both.
    async fn settle_relabel(&self, intent: Intent, held: &[VersionEntry]) -> Result<(), Failure> {
        let is_there = held.iter().any(|entry| {
            entry.id == id_of(&intent.placement) && same_etag(&entry.etag, &intent.placement.etag)
        });
        if !is_there {
            return Ok(self.gateway.catalogue.drop_intent(intent.id).await?);
        }
        let Intent { id, handle, bucket, key, mut placement, mut draft, .. } = intent;
        if let Some(row) = self.rows.iter().find(|row| row.placement.order == placement.order) {
            placement.classes = placement.classes.union(row.placement.classes);
            placement.subjects = placement.subjects.union(row.placement.subjects);
        }
        (draft.classes, draft.subjects) = (placement.classes, placement.subjects);
        draft.event = Event::Recovered;
        let record = WriteRecord { intent: id, handle, bucket, key, placement, draft };
        self.gateway.catalogue.record_write(record).await?;
        Ok(())
    }

    async fn settle_writes(
        &mut self,
        mut writes: Vec<Intent>,
        held: &[VersionEntry],
        versioning: Versioning,
    ) -> Result<(), Failure> {
        let mut left = self.unknown.iter().filter(|entry| entry.element == VersionElement::Version);
        let Some(newest) = left.next() else { return self.nothing_left(writes, held, versioning).await };
        let older: Vec<&VersionEntry> = left.collect();
        // Nobody can say which write left which version: each has the labels of all.
        let all = writes.clone();
        let mut likeliest = |entry: &VersionEntry| {
            writes.sort_by_key(|intent| (intent.placement.size == entry.size, intent.begun_at));
            writes.pop()
        };
        let Some(landed) = likeliest(newest) else { return Ok(()) };
        for entry in older {
            if let Some(intent) = likeliest(entry) {
                self.stray(intent, entry).await?;
            }
        }
        if !self.counts(newest, landed.begun_at) {
            for other in writes {
                self.gateway.catalogue.drop_intent(other.id).await?;
            }
            return self.stray(landed, newest).await;
        }
        let others = all.into_iter().filter(|intent| intent.id != landed.id).collect();
        let found = Held { etag: newest.etag.clone(), version: id_from(newest), size: newest.size };
        recover(self.gateway, landed, others, found, None).await
    }

    /// No write left a version of its own. Where versions are suspended, one may have written the same bytes over the version
    /// `null` all the same.
    async fn nothing_left(
        &self,
        writes: Vec<Intent>,
        held: &[VersionEntry],
        versioning: Versioning,
    ) -> Result<(), Failure> {
        let newest = self.rows.first().filter(|row| {
            row.kind == VersionKind::Object
                && row.placement.version.is_none()
                && row.placement.location == *self.location
        });
        let null = held.first().filter(|entry| entry.id == versions::NULL);
        if let (Some(row), Some(null), true) = (newest, null, versioning != Versioning::Enabled) {
            let found = Held { etag: null.etag.clone(), version: None, size: null.size };
            return same_bytes(self.gateway, &row.placement, found, writes).await;
        }
        for write in writes {
            self.gateway.catalogue.drop_intent(write.id).await?;
        }
        Ok(())
    }

    async fn stray(&self, intent: Intent, entry: &VersionEntry) -> Result<(), Failure> {
        let Intent { id: intent, bucket, key, .. } = intent;
        let version = Some(entry.id.clone());
        let stray = Stray { intent, bucket, key, etag: entry.etag.clone(), version };
        self.gateway.catalogue.record_stray(stray).await?;
        Ok(())
    }
}
