//! Chooses one of the allowed locations. Never outside the allowed set, whatever is down.

use std::sync::Arc;

use crate::gateway::Gateway;
use crate::gateway::failure::{Blame, Failure};
use crate::names::LocationId;
use crate::policy::{Decision, Permit};

/// The bucket's home if it is allowed and healthy; else the first allowed and healthy one in the order of the
/// configuration; else the first allowed one, which then answers for itself.
pub fn choose(
    gateway: &Gateway,
    decision: &Arc<Decision>,
    home: Option<&LocationId>,
) -> Result<Permit, Failure> {
    let allowed: Vec<&LocationId> =
        gateway.locations.ids().filter(|id| decision.permit(id).is_some()).collect();
    let healthy = |id: &&LocationId| gateway.locations.is_healthy(id);
    let preferred = home.filter(|home| allowed.contains(home));
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
