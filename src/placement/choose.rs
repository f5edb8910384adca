//! Chooses one of the allowed locations. Never outside the allowed set, whatever is down.

use std::sync::Arc;

use crate::catalogue::Bucket;
use crate::gateway::Gateway;
use crate::gateway::failure::{Blame, Failure};
use crate::names::LocationId;
use crate::policy::{Decision, Permit};
use crate::s3::error::Code;

/// Among those where the bucket is with all its settings: the bucket's home if it is allowed and healthy; else the first
/// allowed and healthy one in the order of the configuration; else the first allowed one, which then answers for itself.
pub fn choose(gateway: &Gateway, decision: &Arc<Decision>, bucket: &Bucket) -> Result<Permit, Failure> {
    let permitted = || gateway.locations.ids().filter(|id| decision.permit(id).is_some());
    let allowed: Vec<&LocationId> = permitted().filter(|id| bucket.is_in(id)).collect();
    if allowed.is_empty()
        && let Some(without) = permitted().next()
    {
        return Err(not_there(without));
    }
    let healthy = |id: &&LocationId| gateway.locations.is_healthy(id);
    let preferred = bucket.home.as_ref().filter(|home| allowed.contains(home));
    let chosen = preferred
        .filter(healthy)
        .or_else(|| allowed.iter().copied().find(healthy))
        .or(preferred)
        .or(allowed.first().copied());
    chosen.and_then(|id| decision.permit(id)).ok_or_else(|| {
        Failure::unavailable(
            Blame::Gateway,
            "No location is configured that may hold this object.",
            "empty choice",
        )
    })
}

/// The refusal of a write to a location that was added after the bucket was made.
fn not_there(location: &LocationId) -> Failure {
    let message = format!(
        "The object may rest in location {location} only, and the bucket is not there yet with all its settings. \
         Create the bucket again, then send this again."
    );
    Failure::client(Code::OperationAborted, message)
}
