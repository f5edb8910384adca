//! Checks signatures. What passes is a [`Verified`] request.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::Request;

use super::Gateway;
use super::call::Verified;
use super::failure::Failure;
use super::form;
use super::stage::Stage;
use crate::body::Body;
use crate::s3::sigv4::VerifyContext;

pub struct Authenticate {
    gateway: Arc<Gateway>,
}

impl Authenticate {
    pub fn new(gateway: Arc<Gateway>) -> Self {
        Authenticate { gateway }
    }
}

impl Stage<Request<Body>> for Authenticate {
    type Out = Verified<Request<Body>>;

    async fn pass(&self, request: Request<Body>) -> Result<Self::Out, Failure> {
        let (parts, body) = request.into_parts();
        let gateway = &self.gateway;
        let context = VerifyContext {
            now: SystemTime::now(),
            skew: Duration::from_secs(gateway.config.gateway.clock_skew_seconds),
            regions: &gateway.regions,
            keys: &gateway.apps,
        };
        if form::is_form(&parts) {
            return form::open(gateway, &context, parts, body).await;
        }
        let identity = gateway.verifier.verify(&parts, &context)?;
        Ok(Verified { identity, inner: Request::from_parts(parts, body) })
    }
}
