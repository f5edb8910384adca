//! Sends each operation to its verb in `placement`.

use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use http::Response;
use tower::Service;

use super::Gateway;
use super::call::Call;
use super::failure::Failure;
use crate::body::Body;
use crate::placement::{buckets, copy, delete, get, list, multipart, put};
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
    type Future = BoxFuture<'static, Result<Response<Body>, Failure>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, (call, body): (Call, Body)) -> Self::Future {
        let gateway = self.gateway.clone();
        let access = call.target.operation.access();
        let answer = answer(gateway.clone(), call, body);
        if access.is_read_only() {
            return Box::pin(answer);
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

async fn answer(gateway: Arc<Gateway>, call: Call, body: Body) -> Result<Response<Body>, Failure> {
    use Operation as Op;
    if !call.target.operation.access().is_read_only() {
        gateway.require_log()?;
    }
    match call.target.operation {
        Op::ListBuckets => buckets::list(gateway, call).await,
        Op::CreateBucket => buckets::create(gateway, call, body).await,
        Op::HeadBucket => buckets::head(gateway, call).await,
        Op::DeleteBucket => buckets::delete(gateway, call).await,
        Op::GetBucketLocation => buckets::location(gateway, call).await,
        Op::GetBucketVersioning => buckets::versioning(gateway, call).await,
        Op::ListObjects | Op::ListObjectsV2 => list::objects(gateway, call).await,
        Op::ListMultipartUploads => list::uploads(gateway, call).await,
        Op::DeleteObjects => delete::delete_objects(gateway, call, body).await,
        Op::PutObject => put::put_object(gateway, call, body).await,
        Op::GetObject | Op::HeadObject | Op::GetObjectAttributes | Op::GetObjectTagging => {
            get::read_object(gateway, call).await
        }
        Op::DeleteObject => delete::delete_object(gateway, call).await,
        Op::CopyObject => copy::copy_object(gateway, call).await,
        Op::CreateMultipartUpload => multipart::create(gateway, call).await,
        Op::UploadPart => multipart::upload_part(gateway, call, body).await,
        Op::UploadPartCopy => multipart::upload_part_copy(gateway, call).await,
        Op::CompleteMultipartUpload => multipart::complete(gateway, call, body).await,
        Op::AbortMultipartUpload => multipart::abort(gateway, call).await,
        Op::ListParts => multipart::list_parts(gateway, call).await,
        other => Err(S3Error::new(
            Code::NotImplemented,
            format!("{} is not implemented by this gateway; docs/operations.md says why.", other.name()),
        )
        .into()),
    }
}
