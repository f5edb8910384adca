//! An S3 store in memory that takes every key as it is: what a file system cannot.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use s3s::dto::{
    DeleteObjectInput, DeleteObjectOutput, GetObjectInput, GetObjectOutput, PutObjectInput, PutObjectOutput,
    StreamingBlob,
};
use s3s::{S3, S3Request, S3Response, S3Result, s3_error};

#[derive(Default)]
pub struct KeyStore(Mutex<HashMap<(String, String), Bytes>>);

impl KeyStore {
    fn objects(&self) -> std::sync::MutexGuard<'_, HashMap<(String, String), Bytes>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl S3 for KeyStore {
    fn put_object<'a, 'b>(
        &'a self,
        request: S3Request<PutObjectInput>,
    ) -> BoxFuture<'b, S3Result<S3Response<PutObjectOutput>>>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(async move {
            let input = request.input;
            let mut object = BytesMut::new();
            if let Some(mut body) = input.body {
                while let Some(chunk) = body.next().await {
                    object.extend_from_slice(&chunk.map_err(|_| s3_error!(IncompleteBody))?);
                }
            }
            self.objects().insert((input.bucket, input.key), object.freeze());
            Ok(S3Response::new(PutObjectOutput::default()))
        })
    }

    fn get_object<'a, 'b>(
        &'a self,
        request: S3Request<GetObjectInput>,
    ) -> BoxFuture<'b, S3Result<S3Response<GetObjectOutput>>>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(async move {
            let name = (request.input.bucket, request.input.key);
            let object = self.objects().get(&name).cloned().ok_or_else(|| s3_error!(NoSuchKey))?;
            let output = GetObjectOutput {
                content_length: Some(object.len() as i64),
                body: Some(StreamingBlob::from(s3s::Body::from(object))),
                ..GetObjectOutput::default()
            };
            Ok(S3Response::new(output))
        })
    }

    fn delete_object<'a, 'b>(
        &'a self,
        request: S3Request<DeleteObjectInput>,
    ) -> BoxFuture<'b, S3Result<S3Response<DeleteObjectOutput>>>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(async move {
            self.objects().remove(&(request.input.bucket, request.input.key));
            Ok(S3Response::new(DeleteObjectOutput::default()))
        })
    }
}
