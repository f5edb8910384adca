//! Names the operation, the bucket and the key, from a verified request.

use std::sync::Arc;

use http::Request;

use super::Gateway;
use super::call::{Named, Verified};
use super::failure::Failure;
use super::stage::Stage;
use super::trace::OperationName;
use crate::body::Body;
use crate::s3::operation;

pub struct NameOperation {
    gateway: Arc<Gateway>,
}

impl NameOperation {
    pub fn new(gateway: Arc<Gateway>) -> Self {
        NameOperation { gateway }
    }
}

impl Stage<Verified<Request<Body>>> for NameOperation {
    type Out = Named;

    async fn pass(&self, request: Verified<Request<Body>>) -> Result<Named, Failure> {
        let Verified { identity, inner } = request;
        let (parts, body) = inner.into_parts();
        let target = operation::parse(&parts.method, &parts.uri, &parts.headers, &self.gateway.hosts)?;
        if let Some(name) = parts.extensions.get::<OperationName>() {
            name.set(target.operation.name());
        }
        Ok(Named { identity, target, parts, body })
    }
}
