//! PutObject. Reads like the way of a request: label, decide, place, forward, record, answer.

use std::sync::Arc;

use http::Response;

use super::conditions::Conditions;
use super::record::refuse;
use super::store::{Content, store};
use super::{buckets, forward, labels};
use crate::body::Body;
use crate::catalogue::IntentKind;
use crate::gateway::Gateway;
use crate::gateway::call::Call;
use crate::gateway::failure::Failure;
use crate::label::Coverage;
use crate::policy::Action;
use crate::s3::checksum::Subject;
use crate::s3::payload::{VerifiedBody, strip_framing};

/// Stores an object where its labels allow.
pub async fn put_object(gateway: Arc<Gateway>, call: Call, body: Body) -> Result<Response<Body>, Failure> {
    let bucket = buckets::existing(&gateway, &call).await?;
    let handle = gateway.catalogue.object_handle(call.bucket()?.as_str(), call.key()?.as_str());

    // What the client, the rules and earlier findings say: enough for many a refusal before a body is sent.
    let mut labels = labels::declared(&gateway, &call, &bucket)?;
    labels::add_remembered(&gateway, handle, &mut labels).await?;
    labels.coverage = Coverage::Complete;
    if !labels.is_unlabelled() {
        let decision = labels::decide(&gateway, &call, &bucket, &labels, Action::Store)?;
        if decision.allowed().is_empty() {
            let home = gateway.home_country(bucket.home.as_ref());
            return Err(refuse(&gateway, &call, &labels, &decision, home).await);
        }
    }

    // The content, verified as it comes in.
    let mut verified = VerifiedBody::new(
        body,
        &call.parts.headers,
        &call.identity,
        Subject::Body,
        gateway.config.gateway.max_body_bytes,
    )?;
    verified.settle_empty().await?;
    let mut headers = forward::onward_headers(&call.parts);
    strip_framing(&mut headers, call.identity.payload, verified.decoded_length());
    let content = Content {
        kind: IntentKind::Put,
        action: Action::Store,
        length: verified.decoded_length(),
        verdict: verified.verdict(),
        body: Body::new(verified),
        headers,
        payload: labels::payload_hash(&call.identity.payload),
        conditions: Conditions::of_write(&call.parts.headers)?,
        origin: None,
    };
    let stored = store(&gateway, Arc::new(call), bucket, labels, content).await?;
    Ok(stored.into_response())
}
