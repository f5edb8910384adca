//! The request's id, its line in the trace, and its count in the metrics. No names: see the promises.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use http::{HeaderValue, Request, Response};

use super::around::{Answer, Around};
use super::metrics::{Metrics, RequestLabels};
use crate::body::Body;
use crate::random;

/// 16 upper-case hex digits, as S3 gives them.
#[derive(Debug, Clone, Default)]
pub struct RequestId(Arc<str>);

impl RequestId {
    fn random() -> RequestId {
        let mut text = String::with_capacity(16);
        for byte in random::bytes::<8>() {
            let _ = write!(text, "{byte:02X}");
        }
        RequestId(text.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Filled in by the stage that names the operation.
#[derive(Debug, Clone, Default)]
pub struct OperationName(Arc<OnceLock<&'static str>>);

impl OperationName {
    pub fn set(&self, name: &'static str) {
        let _ = self.0.set(name);
    }

    fn known(&self) -> &'static str {
        self.0.get().copied().unwrap_or("unknown")
    }
}

#[derive(Clone)]
pub struct Trace {
    metrics: Arc<Metrics>,
}

impl Trace {
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Trace { metrics }
    }
}

impl Around for Trace {
    type Below = Infallible;
    type Error = Infallible;

    fn call<F>(&self, mut request: Request<Body>, rest: impl FnOnce(Request<Body>) -> F) -> Answer<Infallible>
    where
        F: Future<Output = Result<Response<Body>, Infallible>> + Send + 'static,
    {
        let began = Instant::now();
        let id = RequestId::random();
        let operation = OperationName::default();
        request.extensions_mut().insert(id.clone());
        request.extensions_mut().insert(operation.clone());
        let metrics = self.metrics.clone();
        let in_flight = InFlight::enter(metrics.clone());
        let answer = rest(request);
        Box::pin(async move {
            let mut response = answer.await?;
            drop(in_flight);
            let seconds = began.elapsed().as_secs_f64();
            let status = response.status().as_u16();
            let operation = operation.known();
            metrics.requests.get_or_create(&RequestLabels { operation, status }).inc();
            metrics.duration.observe(seconds);
            if let Ok(value) = HeaderValue::from_str(id.as_str()) {
                // The location's own id would be of no use to whoever reads our log.
                response.headers_mut().insert("x-amz-request-id", value);
            }
            // For one in search of a fault: at the usual level a line a request would cost more than it tells. What
            // happened to whose object is in the placement log, how often in the metrics, and failures report themselves.
            tracing::debug!(request = id.as_str(), operation, status, seconds, "answered");
            Ok(response)
        })
    }
}

/// Counts down even when the client goes away in the middle.
struct InFlight(Arc<Metrics>);

impl InFlight {
    fn enter(metrics: Arc<Metrics>) -> InFlight {
        metrics.in_flight.inc();
        InFlight(metrics)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.dec();
    }
}
