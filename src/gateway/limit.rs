//! Bounds on what clients can make the gateway hold: requests at once, their total time, idle bodies.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{HeaderMap, Request, Response};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::around::{Answer, Around};
use super::failure::Failure;
use super::timeouts::IdleBody;
use crate::body::Body;
use crate::config;
use crate::s3::error::Code;

#[derive(Clone)]
pub struct Limit {
    slots: Arc<Semaphore>,
    total: Duration,
    idle: Duration,
    header_bytes: usize,
}

impl Limit {
    pub fn new(config: &config::Gateway) -> Self {
        Limit {
            slots: Arc::new(Semaphore::new(config.max_concurrent_requests)),
            total: Duration::from_secs(config.total_timeout_seconds),
            idle: config.idle_timeout(),
            header_bytes: config.max_header_bytes,
        }
    }
}

impl Around for Limit {
    type Below = Failure;
    type Error = Failure;

    fn call<F>(&self, request: Request<Body>, rest: impl FnOnce(Request<Body>) -> F) -> Answer<Failure>
    where
        F: Future<Output = Result<Response<Body>, Failure>> + Send + 'static,
    {
        let Ok(slot) = self.slots.clone().try_acquire_owned() else {
            return Box::pin(std::future::ready(Err(Failure::client(
                Code::SlowDown,
                "The gateway serves as many requests as it may at once. Try again.",
            ))));
        };
        if header_bytes(request.headers()) > self.header_bytes {
            return Box::pin(std::future::ready(Err(Failure::client(
                Code::RequestHeaderSectionTooLarge,
                "The request's headers are longer than the gateway takes.",
            ))));
        }
        let idle = self.idle;
        let deadline = Instant::now() + self.total;
        let answer = rest(request.map(|body| Body::new(IdleBody::new(body, idle, deadline))));
        Box::pin(async move {
            let response = tokio::time::timeout_at(deadline, answer).await.map_err(|_| {
                Failure::client(
                    Code::RequestTimeout,
                    "The request took longer than the gateway's total timeout.",
                )
            })??;
            // The slot is held until the body has been sent: that is what costs memory.
            Ok(response.map(|body| Body::new(Slotted { body, _slot: slot })))
        })
    }
}

/// Names and values. The server's own limit is on its buffer, which takes up to twice as much as it should.
fn header_bytes(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum()
}

/// A response body that gives its slot back when it ends.
struct Slotted {
    body: Body,
    _slot: tokio::sync::OwnedSemaphorePermit,
}

impl http_body::Body for Slotted {
    type Data = bytes::Bytes;
    type Error = crate::body::BoxError;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Self::Data>, Self::Error>>> {
        std::pin::Pin::new(&mut self.body).poll_frame(cx)
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
}
