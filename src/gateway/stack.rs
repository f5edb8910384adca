//! The way of a request, as a list. Read it from the top; each line says why the stage stands there.

use std::sync::Arc;

use tower::ServiceBuilder;
use tower::util::BoxCloneSyncService;

use super::Gateway;
use super::around::around;
use super::authenticate::Authenticate;
use super::authorise::Authorise;
use super::cors::Cors;
use super::dispatch::Dispatch;
use super::limit::Limit;
use super::name::NameOperation;
use super::rescue::Rescue;
use super::server::Front;
use super::stage::stage;
use super::trace::Trace;

/// Builds the stack that every connection shares.
pub fn build(gateway: &Arc<Gateway>) -> Front {
    BoxCloneSyncService::new(
        ServiceBuilder::new()
            // Gives the request its id, counts it and times it: whatever happens below is seen here.
            .layer(around(Trace::new(gateway.metrics.clone())))
            // Turns every failure below into an S3 error document. The one place that does.
            .layer(around(Rescue::new(gateway.metrics.clone())))
            // Bounds what is held at once, and how long: requests in flight, total time, idle bodies.
            .layer(around(Limit::new(&gateway.config.gateway)))
            // Answers browsers that ask ahead, without a signature, and tells them what they may show.
            .layer(around(Cors::new(gateway.clone())))
            // Checks the signature: nothing below trusts a header that was not signed.
            .layer(stage(Authenticate::new(gateway.clone())))
            // Names the operation, the bucket and the key, once and for all.
            .layer(stage(NameOperation::new(gateway.clone())))
            // May this app do this to this bucket?
            .layer(stage(Authorise::new(gateway.clone())))
            // Each verb goes its own way from here: label, decide, place, forward, record, answer.
            // `placement/put.rs` reads like that line; the others are shorter.
            .service(Dispatch::new(gateway.clone())),
    )
}
