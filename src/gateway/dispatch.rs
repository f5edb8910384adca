//! Sends each operation to its verb in `placement`.

use std::future::ready;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use http::Response;
use tower::Service;

use super::Gateway;
use super::call::Call;
use super::failure::Failure;
use crate::body::Body;
use crate::placement::{
    amend, buckets, copy, delete, get, list, list_versions, multipart, post, put, settings, unset, versioning,
};
use crate::s3::error::{Code, S3Error};
use crate::s3::operation::Operation;

#[derive(Clone)]
pub struct Dispatch {
    gateway: Arc<Gateway>,
}

impl Dispatch {
    pub fn new(gateway: Arc<Gateway>) -> Self {
        Dispatch { gateway }
    }
}

impl Service<(Call, Body)> for Dispatch {
    type Response = Response<Body>;
    type Error = Failure;
    type Future = Answer;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, (call, body): (Call, Body)) -> Self::Future {
        let gateway = self.gateway.clone();
        let access = call.target.operation.access();
        let answer = answer(gateway.clone(), call, body);
        if access.is_read_only() {
            return answer;
        }
        // A write runs to its end even when the client goes away in the middle: what a location has taken is
        // recorded, or undone.
        let task = tokio::spawn(async move {
            let _write = gateway.writes.begin();
            answer.await
        });
        Box::pin(async move { task.await.unwrap_or_else(|error| Err(Failure::internal(error))) })
    }
}

type Answer = BoxFuture<'static, Result<Response<Body>, Failure>>;

/// Each verb in a box of its own: in one future for all of them a read would be moved about as the largest of them.
fn answer(gateway: Arc<Gateway>, call: Call, body: Body) -> Answer {
    use Operation as Op;
    if !call.target.operation.access().is_read_only()
        && let Err(failure) = gateway.require_log()
    {
        return Box::pin(ready(Err(failure)));
    }
    match call.target.operation {
        Op::ListBuckets => Box::pin(buckets::list(gateway, call)),
        Op::CreateBucket => Box::pin(buckets::create(gateway, call, body)),
        Op::HeadBucket => Box::pin(buckets::head(gateway, call)),
        Op::DeleteBucket => Box::pin(buckets::delete(gateway, call)),
        Op::GetBucketLocation => Box::pin(buckets::location(gateway, call)),
        Op::GetBucketCors | Op::GetBucketTagging => Box::pin(settings::kept(gateway, call)),
        Op::PutBucketCors | Op::PutBucketTagging => Box::pin(settings::keep(gateway, call, body)),
        Op::DeleteBucketCors | Op::DeleteBucketTagging => Box::pin(settings::forget(gateway, call)),
        Op::GetBucketEncryption
        | Op::GetBucketLifecycleConfiguration
        | Op::GetObjectLockConfiguration
        | Op::GetPublicAccessBlock
        | Op::GetBucketOwnershipControls => Box::pin(settings::of_locations(gateway, call)),
        Op::PutBucketEncryption
        | Op::PutBucketLifecycleConfiguration
        | Op::PutObjectLockConfiguration
        | Op::PutPublicAccessBlock
        | Op::PutBucketOwnershipControls => Box::pin(settings::at_locations(gateway, call, body)),
        Op::DeleteBucketEncryption
        | Op::DeleteBucketLifecycle
        | Op::DeletePublicAccessBlock
        | Op::DeleteBucketOwnershipControls => Box::pin(settings::off_locations(gateway, call)),
        Op::GetBucketPolicy
        | Op::GetBucketPolicyStatus
        | Op::GetBucketReplication
        | Op::GetBucketNotificationConfiguration
        | Op::GetBucketLogging
        | Op::GetBucketAccelerateConfiguration
        | Op::GetBucketRequestPayment
        | Op::GetBucketWebsite => Box::pin(unset::get(gateway, call)),
        Op::DeleteBucketPolicy | Op::DeleteBucketReplication | Op::DeleteBucketWebsite => {
            Box::pin(unset::delete(gateway, call))
        }
        Op::GetBucketAcl => Box::pin(buckets::acl(gateway, call)),
        Op::PutBucketAcl => Box::pin(buckets::put_acl(gateway, call, body)),
        Op::GetBucketVersioning => Box::pin(versioning::get(gateway, call)),
        Op::PutBucketVersioning => Box::pin(versioning::put(gateway, call, body)),
        Op::ListObjects | Op::ListObjectsV2 => Box::pin(list::objects(gateway, call)),
        Op::ListObjectVersions => Box::pin(list_versions::list(gateway, call)),
        Op::ListMultipartUploads => Box::pin(list::uploads(gateway, call)),
        Op::DeleteObjects => Box::pin(delete::delete_objects(gateway, call, body)),
        Op::PutObject => Box::pin(put::put_object(gateway, call, body)),
        Op::PostObject => Box::pin(post::post_object(gateway, call, body)),
        Op::GetObject
        | Op::HeadObject
        | Op::GetObjectAttributes
        | Op::GetObjectTagging
        | Op::GetObjectLegalHold
        | Op::GetObjectRetention => Box::pin(get::read_object(gateway, call)),
        Op::GetObjectAcl => Box::pin(get::acl(gateway, call)),
        Op::PutObjectTagging => Box::pin(amend::put_tagging(gateway, call, body)),
        Op::DeleteObjectTagging
        | Op::PutObjectAcl
        | Op::PutObjectLegalHold
        | Op::PutObjectRetention
        | Op::RestoreObject => Box::pin(amend::amend(gateway, call, body)),
        Op::DeleteObject => Box::pin(delete::delete_object(gateway, call)),
        Op::CopyObject => Box::pin(copy::copy_object(gateway, call)),
        Op::CreateMultipartUpload => Box::pin(multipart::create(gateway, call)),
        Op::UploadPart => Box::pin(multipart::upload_part(gateway, call, body)),
        Op::UploadPartCopy => Box::pin(multipart::upload_part_copy(gateway, call)),
        Op::CompleteMultipartUpload => Box::pin(multipart::complete(gateway, call, body)),
        Op::AbortMultipartUpload => Box::pin(multipart::abort(gateway, call)),
        Op::ListParts => Box::pin(multipart::list_parts(gateway, call)),
        other => {
            let message = "is not implemented by this gateway; docs/operations.md says why.";
            let error = S3Error::new(Code::NotImplemented, format!("{} {message}", other.name()));
            Box::pin(ready(Err(error.into())))
        }
    }
}
