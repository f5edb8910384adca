//! Residue: copies that still lie where their placement no longer says they should. Removed, and the removal logged.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Method, StatusCode};

use super::settle::is_unclear;
use super::{forward, record, settle_versions};
use crate::body::Body;
use crate::catalogue::{Claim, Residue};
use crate::gateway::Gateway;
use crate::gateway::failure::{Blame, Failure};
use crate::locations::LocationError;
use crate::log::{DecisionFacts, EntryDraft, Event, SealedFacts};
use crate::names::{BucketName, ObjectKey};
use crate::s3::operation::encode;

/// How long an answer waits for the removal of what it displaced; the rest is done in the background.
const PROMPT: Duration = Duration::from_secs(2);
/// Most residue that one pass looks at.
const BATCH: usize = 1 << 16;
/// How long a location may take to remove one copy; no write of that key goes there meanwhile.
const REMOVAL_MS: u64 = 70_000;
/// A claim until a moment that is over.
const RELEASED: u64 = 0;

/// Tries to remove what was displaced before the answer goes out.
pub async fn remove_promptly(gateway: &Arc<Gateway>, residue: Residue) {
    let gateway = gateway.clone();
    // In a task of its own: a removal that takes longer goes on.
    let removal = tokio::spawn(async move { remove_or_tell(&gateway, &residue).await });
    let _ = tokio::time::timeout(PROMPT, removal).await;
}

/// One pass over all residue. Failures stay listed, for the next pass; a location that does not answer keeps no
/// other location's residue waiting.
pub async fn sweep(gateway: &Gateway) {
    let residues = match gateway.catalogue.residues(BATCH).await {
        Ok(residues) => residues,
        Err(error) => return tracing::warn!(%error, "cannot list residue"),
    };
    let mut silent = BTreeSet::new();
    for residue in residues {
        if !silent.contains(&residue.location) && remove_or_tell(gateway, &residue).await == Outcome::NoAnswer
        {
            silent.insert(residue.location);
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// Removed, or not to be removed now, or refused.
    Answered,
    NoAnswer,
}

async fn remove_or_tell(gateway: &Gateway, residue: &Residue) -> Outcome {
    match remove(gateway, residue).await {
        Ok(outcome) => outcome,
        Err(failure) => {
            let cause = failure.cause.map(|cause| cause.to_string()).unwrap_or_default();
            tracing::warn!(location = %residue.location, cause, "residue could not be removed yet");
            if failure.blame == Blame::Location { Outcome::NoAnswer } else { Outcome::Answered }
        }
    }
}

async fn remove(gateway: &Gateway, residue: &Residue) -> Result<Outcome, Failure> {
    // No write of this key can land while its lock is held, so nothing newer is removed.
    let _guard = gateway.key_locks.lock(residue.handle).await;
    let until = record::now_ms() + REMOVAL_MS;
    match gateway.catalogue.claim_removal(residue.id, until).await? {
        Claim::Granted => {}
        Claim::WriteUnderWay | Claim::Gone => return Ok(Outcome::Answered),
    }
    let facts = gateway.locations.facts(&residue.location)?;
    let bucket: BucketName = residue.bucket.parse()?;
    let key: ObjectKey = residue.key.parse()?;
    let queries = match queries(gateway, residue, &bucket, &key).await {
        Ok(queries) => queries,
        Err(failure) => {
            gateway.catalogue.claim_removal(residue.id, RELEASED).await?;
            return Err(failure);
        }
    };
    for query in queries {
        let request =
            forward::request(Method::DELETE, &bucket, Some(&key), &query, HeaderMap::new(), Body::empty())?;
        let response = match gateway.locations.housekeeping(&residue.location)?.call(request).await {
            Ok(response) => response,
            Err(error) => {
                // What never left cannot remove a later write. What was lost could, until the claim ends by itself.
                if !matches!(error, LocationError::Lost { .. }) {
                    gateway.catalogue.claim_removal(residue.id, RELEASED).await?;
                }
                return Err(error.into());
            }
        };
        let status = response.status();
        if !status.is_success() && status != StatusCode::NOT_FOUND {
            if !is_unclear(status) {
                gateway.catalogue.claim_removal(residue.id, RELEASED).await?;
            }
            return Err(Failure::internal(format!("the location answered {status}")));
        }
    }
    let draft = EntryDraft {
        event: Event::Remove,
        jurisdiction: facts.country,
        object: Some(residue.object),
        classes: Default::default(),
        subjects: Default::default(),
        decision: DecisionFacts::default(),
        from: vec![record::place(&facts)],
        to: Vec::new(),
        transfer: None,
        request: String::new(),
        sealed: SealedFacts {
            bucket: Some(residue.bucket.clone()),
            key: Some(residue.key.clone()),
            version: residue.version.clone(),
            etag: Some(residue.etag.clone()),
            ..SealedFacts::default()
        },
    };
    gateway.catalogue.record_removal(residue.id, draft).await?;
    gateway.metrics.removals.inc();
    Ok(Outcome::Answered)
}

/// The queries of the deletions that remove a residue: of one version, or of the object. What a write left of which nobody
/// knows the version, where versions are kept, is every version that the catalogue does not know; a deletion without an id
/// would hide the object and remove nothing.
async fn queries(
    gateway: &Gateway,
    residue: &Residue,
    bucket: &BucketName,
    key: &ObjectKey,
) -> Result<Vec<String>, Failure> {
    let by_id = |id: &String| format!("versionId={}", encode(id));
    if let Some(version) = &residue.version {
        return Ok(vec![by_id(version)]);
    }
    let known = gateway.catalogue.find_bucket(gateway.catalogue.bucket_handle(bucket.as_str())).await?;
    if !known.is_some_and(|bucket| bucket.versioning.keeps()) {
        return Ok(vec![String::new()]);
    }
    let unknown = settle_versions::unknown(gateway, &residue.location, residue.handle, bucket, key).await?;
    Ok(unknown.iter().map(by_id).collect())
}
