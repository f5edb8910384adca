//! Settings of buckets that no bucket here can have: bucket policies, websites, replication and the like.
//!
//! Making one is refused, see the table of operations. Asking for one gets S3's own answer for a bucket that never had
//! one, and taking it off succeeds: tools that look at all settings of a bucket go on from there.

use std::sync::Arc;

use http::{Response, StatusCode};

use super::{buckets, xml_response};
use crate::body::Body;
use crate::gateway::Gateway;
use crate::gateway::call::Call;
use crate::gateway::failure::Failure;
use crate::s3::error::Code;
use crate::s3::operation::Operation;
use crate::s3::xml::document;

/// What S3 says of a bucket without the setting that is asked for.
pub async fn get(gateway: Arc<Gateway>, call: Call) -> Result<Response<Body>, Failure> {
    buckets::existing(&gateway, &call).await?;
    let missing = |code, message: &'static str| Err(Failure::client(code, message));
    let empty = |root| Ok(xml_response(document(root, |_| {})));
    match call.target.operation {
        Operation::GetBucketPolicy => missing(Code::NoSuchBucketPolicy, "The bucket policy does not exist"),
        Operation::GetBucketReplication => missing(
            Code::ReplicationConfigurationNotFoundError,
            "The replication configuration was not found",
        ),
        Operation::GetBucketWebsite => missing(
            Code::NoSuchWebsiteConfiguration,
            "The specified bucket does not have a website configuration",
        ),
        Operation::GetBucketPolicyStatus => {
            Ok(xml_response(document("PolicyStatus", |writer| writer.flag("IsPublic", false))))
        }
        Operation::GetBucketRequestPayment => {
            let document =
                document("RequestPaymentConfiguration", |writer| writer.text("Payer", "BucketOwner"));
            Ok(xml_response(document))
        }
        Operation::GetBucketLogging => empty("BucketLoggingStatus"),
        Operation::GetBucketNotificationConfiguration => empty("NotificationConfiguration"),
        Operation::GetBucketAccelerateConfiguration => empty("AccelerateConfiguration"),
        other => Err(Failure::internal(format!("{} has no answer of its own", other.name()))),
    }
}

/// There is nothing to take off.
pub async fn delete(gateway: Arc<Gateway>, call: Call) -> Result<Response<Body>, Failure> {
    buckets::existing(&gateway, &call).await?;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    Ok(response)
}
