//! Failures become S3 error responses here, and nowhere else.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use http::{Method, Request, Response};
use tower::{Layer, Service};

use super::failure::{Blame, Failure};
use super::metrics::{BlameLabels, Metrics};
use super::trace::RequestId;
use crate::body::Body;
use crate::s3::error::Shape;

#[derive(Clone)]
pub struct RescueLayer {
    metrics: Arc<Metrics>,
}

impl RescueLayer {
    pub fn new(metrics: Arc<Metrics>) -> Self {
        RescueLayer { metrics }
    }
}

impl<S> Layer<S> for RescueLayer {
    type Service = Rescue<S>;

    fn layer(&self, inner: S) -> Rescue<S> {
        Rescue { inner, metrics: self.metrics.clone() }
    }
}

#[derive(Clone)]
pub struct Rescue<S> {
    inner: S,
    metrics: Arc<Metrics>,
}

impl<S> Service<Request<Body>> for Rescue<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Failure>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // The stages below are always ready; one that was not would fail its call instead.
        let _ = self.inner.poll_ready(cx);
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let shape = if request.method() == Method::HEAD { Shape::Bodiless } else { Shape::Document };
        let id = request.extensions().get::<RequestId>().cloned().unwrap_or_default();
        let resource = request.uri().path().to_owned();
        let metrics = self.metrics.clone();
        let answer = self.inner.call(request);
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
