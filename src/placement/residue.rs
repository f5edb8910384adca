//! Residue: copies that still lie where their placement no longer says they should. Removed, and the removal logged.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Method, StatusCode};

use super::{forward, record};
use crate::body::Body;
use crate::catalogue::{Claim, Residue};
use crate::gateway::Gateway;
use crate::gateway::failure::Failure;
use crate::log::{DecisionFacts, EntryDraft, Event, SealedFacts};
use crate::names::{BucketName, ObjectKey};

/// How long an answer waits for the removal of what it displaced; the rest is done in the background.
const PROMPT: Duration = Duration::from_secs(2);
const BATCH: usize = 256;
/// How long a location may take to remove one copy; no write of that key goes there meanwhile.
const REMOVAL_MS: u64 = 70_000;

/// Tries to remove what was displaced before the answer goes out.
pub async fn remove_promptly(gateway: &Arc<Gateway>) {
    let gateway = gateway.clone();
    // In a task of its own: a removal that takes longer goes on.
    let removal = tokio::spawn(async move { sweep(&gateway).await });
    let _ = tokio::time::timeout(PROMPT, removal).await;
}

/// One pass over all residue. Failures stay listed, for the next pass.
pub async fn sweep(gateway: &Gateway) {
    let residues = match gateway.catalogue.residues(BATCH).await {
        Ok(residues) => residues,
        Err(error) => return tracing::warn!(%error, "cannot list residue"),
    };
    for residue in residues {
        if let Err(failure) = remove(gateway, &residue).await {
            let cause = failure.cause.map(|cause| cause.to_string()).unwrap_or_default();
            tracing::warn!(location = %residue.location, cause, "residue could not be removed yet");
        }
    }
}

async fn remove(gateway: &Gateway, residue: &Residue) -> Result<(), Failure> {
    // No write of this key can land while its lock is held, so nothing newer is removed.
    let _guard = gateway.key_locks.lock(residue.handle).await;
    let until = record::now_ms() + REMOVAL_MS;
    match gateway.catalogue.claim_removal(residue.id, until).await? {
        Claim::Granted => {}
        Claim::WriteUnderWay | Claim::Gone => return Ok(()),
    }
    let facts = gateway.locations.facts(&residue.location)?;
    let bucket: BucketName = residue.bucket.parse()?;
    let key: ObjectKey = residue.key.parse()?;
    let query = residue.version.as_ref().map(|version| format!("versionId={version}")).unwrap_or_default();
    let request =
        forward::request(Method::DELETE, &bucket, Some(&key), &query, HeaderMap::new(), Body::empty())?;
    let response = gateway.locations.housekeeping(&residue.location)?.call(request).await?;
    if !response.status().is_success() && response.status() != StatusCode::NOT_FOUND {
        return Err(Failure::internal(format!("the location answered {}", response.status())));
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
            principal: None,
            address: None,
        },
    };
    gateway.catalogue.record_removal(residue.id, draft).await?;
    gateway.metrics.removals.inc();
    Ok(())
}
