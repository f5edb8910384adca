//! Failures become S3 error responses here, and nowhere else.

use std::convert::Infallible;
use std::sync::Arc;

use http::{Method, Request, Response};

use super::around::{Answer, Around};
use super::failure::{Blame, Failure};
use super::metrics::{BlameLabels, Metrics};
use super::trace::RequestId;
use crate::body::Body;
use crate::s3::error::Shape;

#[derive(Clone)]
pub struct Rescue {
    metrics: Arc<Metrics>,
}

impl Rescue {
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Rescue { metrics }
    }
}

impl Around for Rescue {
    type Below = Failure;
    type Error = Infallible;

    fn call<F>(&self, request: Request<Body>, rest: impl FnOnce(Request<Body>) -> F) -> Answer<Infallible>
    where
        F: Future<Output = Result<Response<Body>, Failure>> + Send + 'static,
    {
        let shape = if request.method() == Method::HEAD { Shape::Bodiless } else { Shape::Document };
        let id = request.extensions().get::<RequestId>().cloned().unwrap_or_default();
        let resource = request.uri().path().to_owned();
        let metrics = self.metrics.clone();
        let answer = rest(request);
        Box::pin(async move {
            Ok(match answer.await {
                Ok(response) => response,
                Err(failure) => {
                    report(&failure, &id);
                    metrics.failures.get_or_create(&BlameLabels { blame: failure.blame.name() }).inc();
                    failure.error.into_response(&resource, id.as_str(), shape)
                }
            })
        })
    }
}

/// The client's mistakes are the client's news; ours are an operator's.
fn report(failure: &Failure, id: &RequestId) {
    let code = failure.error.code.name();
    let cause = failure.cause.as_ref().map(ToString::to_string).unwrap_or_default();
    match failure.blame {
        Blame::Client => tracing::debug!(request = id.as_str(), code, cause, "request refused"),
        Blame::Policy => tracing::info!(request = id.as_str(), code, "refused by policy"),
        Blame::Location => tracing::warn!(request = id.as_str(), code, cause, "a location failed"),
        Blame::Gateway => tracing::error!(request = id.as_str(), code, cause, "the gateway failed"),
    }
}
