//! The two bodies of an exchange with a location, watched but neither copied nor collected.
//!
//! [`SentBody`] keeps what ended it, so that a failure of the client is told from one of the location, holds the
//! body to its announced length, and lets the last bytes go only when the body says that it is complete: a check
//! that fails at the very end still keeps the object from coming to be. [`ReceivedBody`] fails when the location stops sending; a slow reader is not a failure.

use std::pin::Pin;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::time::{Instant, Sleep};

use super::failure::{RequestBodyError, TransportError};
use super::pool::DrivenBody;
use crate::body::{Body, BoxError};
use crate::locations::LocationError;
use crate::locations::health::Health;
use crate::names::LocationId;

/// A request body on its way out.
pub(super) struct SentBody {
    inner: Body,
    /// Bytes of the announced length that the inner body has not given yet.
    missing: u64,
    /// The bytes that complete the length, until the inner body has ended.
    held: Option<Bytes>,
    progress: Arc<Progress>,
}

/// How far a request body has come, seen from outside the connection that sends it.
pub(super) struct Progress {
    begun: Instant,
    /// Milliseconds after `begun` of the last change.
    changed: AtomicU64,
    stage: AtomicU8,
    failure: Mutex<Option<BoxError>>,
}

/// Whom a request body waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Stage {
    /// The connection has to take the next bytes.
    Location = 0,
    /// The client has to send the next bytes.
    Client = 1,
    /// All bytes were handed to the connection.
    Sent = 2,
}

impl SentBody {
    /// `length` is what `Content-Length` announces.
    pub(super) fn new(inner: Body, length: u64) -> Self {
        let stage = if length == 0 { Stage::Sent } else { Stage::Location };
        let progress = Progress {
            begun: Instant::now(),
            changed: AtomicU64::new(0),
            stage: AtomicU8::new(stage as u8),
            failure: Mutex::new(None),
        };
        SentBody { inner, missing: length, held: None, progress: Arc::new(progress) }
    }

    pub(super) fn progress(&self) -> Arc<Progress> {
        Arc::clone(&self.progress)
    }

    fn fail(&self, error: BoxError) -> Poll<Option<Result<Frame<Bytes>, BodyFailed>>> {
        *self.progress.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
        Poll::Ready(Some(Err(BodyFailed)))
    }
}

/// Stands for the error that [`Progress::take_failure`] gives.
#[derive(Debug, thiserror::Error)]
#[error("the request body failed")]
pub(super) struct BodyFailed;

impl HttpBody for SentBody {
    type Data = Bytes;
    type Error = BodyFailed;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyFailed>>> {
        if self.is_end_stream() {
            return Poll::Ready(None);
        }
        loop {
            return match Pin::new(&mut self.inner).poll_frame(cx) {
                Poll::Pending => {
                    self.progress.wait_for(Stage::Client);
                    Poll::Pending
                }
                Poll::Ready(Some(Ok(frame))) => {
                    // Trailers have no place after a Content-Length.
                    let Ok(data) = frame.into_data() else { continue };
                    let Some(missing) = self.missing.checked_sub(data.len() as u64) else {
                        return self.fail(RequestBodyError::Long.into());
                    };
                    if missing == 0 {
                        if !data.is_empty() {
                            self.missing = 0;
                            self.held = Some(data);
                        }
                        continue;
                    }
                    self.missing = missing;
                    self.progress.advance(Stage::Location);
                    Poll::Ready(Some(Ok(Frame::data(data))))
                }
                Poll::Ready(Some(Err(error))) => self.fail(error),
                Poll::Ready(None) if self.missing > 0 => {
                    let missing = self.missing;
                    self.fail(RequestBodyError::Short { missing }.into())
                }
                Poll::Ready(None) => {
                    self.progress.advance(Stage::Sent);
                    Poll::Ready(self.held.take().map(|data| Ok(Frame::data(data))))
                }
            };
        }
    }

    fn is_end_stream(&self) -> bool {
        self.missing == 0 && self.held.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.missing + self.held.as_ref().map_or(0, |data| data.len() as u64))
    }
}

/// Reads a body that was announced as empty to its end, which may hold a verdict too.
pub(super) async fn finish_empty(mut body: Body, idle: Duration) -> Result<(), BoxError> {
    while !body.is_end_stream() {
        match tokio::time::timeout(idle, body.frame()).await {
            Err(_) => return Err(RequestBodyError::Stalled(idle).into()),
            Ok(None) => break,
            Ok(Some(frame)) => {
                if frame?.into_data().is_ok_and(|data| !data.is_empty()) {
                    return Err(RequestBodyError::Long.into());
                }
            }
        }
    }
    Ok(())
}

impl Progress {
    pub(super) fn stage(&self) -> Stage {
        match self.stage.load(Ordering::Acquire) {
            0 => Stage::Location,
            1 => Stage::Client,
            _ => Stage::Sent,
        }
    }

    pub(super) fn last_change(&self) -> Instant {
        self.begun + Duration::from_millis(self.changed.load(Ordering::Relaxed))
    }

    /// What ended the body, if something did. Can be taken once.
    pub(super) fn take_failure(&self) -> Option<BoxError> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// A spurious poll is no progress: the clock moves only when the body turns to wait.
    fn wait_for(&self, stage: Stage) {
        if self.stage.load(Ordering::Relaxed) != stage as u8 {
            self.advance(stage);
        }
    }

    fn advance(&self, stage: Stage) {
        let millis = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.changed.store(millis, Ordering::Relaxed);
        self.stage.store(stage as u8, Ordering::Release);
    }
}

/// A response body on its way in.
pub(super) struct ReceivedBody {
    inner: DrivenBody,
    idle: Duration,
    /// Since when the reader waits; `None` while it does not.
    waiting_since: Option<Instant>,
    /// Made when the reader first has to wait.
    timer: Option<Pin<Box<Sleep>>>,
    location: LocationId,
    health: Arc<Health>,
}

impl ReceivedBody {
    pub(super) fn new(inner: DrivenBody, idle: Duration, location: LocationId, health: Arc<Health>) -> Self {
        ReceivedBody { inner, idle, waiting_since: None, timer: None, location, health }
    }

    fn fail(&self, error: TransportError) -> LocationError {
        self.health.failed();
        LocationError::Lost { location: self.location.clone(), source: error.into() }
    }

    /// Whether the location has kept the reader waiting for too long.
    fn poll_overdue(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let deadline = *self.waiting_since.get_or_insert_with(Instant::now) + self.idle;
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        // The timer may still stand at the deadline of an earlier wait; moving it only when it fires is cheaper.
        while timer.as_mut().poll(cx).is_ready() {
            if Instant::now() >= deadline {
                return Poll::Ready(());
            }
            timer.as_mut().reset(deadline);
        }
        Poll::Pending
    }
}

impl HttpBody for ReceivedBody {
    type Data = Bytes;
    type Error = LocationError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, LocationError>>> {
        match Pin::new(&mut self.inner).poll_frame(cx) {
            Poll::Ready(frame) => {
                self.waiting_since = None;
                Poll::Ready(
                    frame.map(|frame| frame.map_err(|error| self.fail(TransportError::from_chain(&error)))),
                )
            }
            Poll::Pending => self.poll_overdue(cx).map(|()| {
                let idle = self.idle;
                Some(Err(self.fail(TransportError::ResponseStalled(idle))))
            }),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;
    use http_body_util::StreamBody;

    use super::*;

    fn body(chunks: Vec<Result<&'static [u8], &'static str>>) -> Body {
        let frames = chunks.into_iter().map(|chunk| match chunk {
            Ok(data) => Ok(Frame::data(Bytes::from_static(data))),
            Err(text) => Err(BoxError::from(text)),
        });
        Body::new(StreamBody::new(stream::iter(frames)))
    }

    async fn read(mut body: SentBody) -> (usize, Option<BoxError>) {
        let (mut length, progress) = (0, body.progress());
        while let Some(Ok(frame)) = body.frame().await {
            length += frame.data_ref().map_or(0, Bytes::len);
        }
        (length, progress.take_failure())
    }

    #[tokio::test]
    async fn a_body_of_the_announced_length_passes_and_is_seen_as_sent_with_its_last_byte() {
        let mut sent = SentBody::new(body(vec![Ok(b"abc"), Ok(b""), Ok(b"de"), Ok(b"")]), 5);
        let progress = sent.progress();
        assert_eq!(progress.stage(), Stage::Location);
        for _ in 0..3 {
            sent.frame().await.unwrap().unwrap();
        }
        assert_eq!(progress.stage(), Stage::Sent);
        assert!(sent.is_end_stream() && sent.frame().await.is_none());
    }

    #[tokio::test]
    async fn a_body_that_ends_early_or_goes_on_is_a_failure_of_the_request() {
        let (_, failure) = read(SentBody::new(body(vec![Ok(b"abc")]), 5)).await;
        assert_eq!(failure.unwrap().downcast_ref(), Some(&RequestBodyError::Short { missing: 2 }));
        let (length, failure) = read(SentBody::new(body(vec![Ok(b"abc"), Ok(b"defg")]), 5)).await;
        assert_eq!(failure.unwrap().downcast_ref(), Some(&RequestBodyError::Long));
        assert_eq!(length, 3, "nothing of the frame that is too long may leave");
    }

    #[tokio::test]
    async fn the_own_error_of_a_body_is_kept_as_it_is() {
        let (length, failure) = read(SentBody::new(body(vec![Ok(b"abc"), Err("late finding")]), 5)).await;
        assert_eq!((length, failure.unwrap().to_string().as_str()), (3, "late finding"));
    }

    #[tokio::test]
    async fn the_last_bytes_stay_here_when_the_body_fails_at_its_very_end() {
        let (length, failure) =
            read(SentBody::new(body(vec![Ok(b"abc"), Ok(b"de"), Err("bad checksum")]), 5)).await;
        assert_eq!((length, failure.unwrap().to_string().as_str()), (3, "bad checksum"));
        let (length, failure) = read(SentBody::new(body(vec![Ok(b"abc"), Ok(b"de"), Ok(b"f")]), 5)).await;
        assert_eq!(failure.unwrap().downcast_ref(), Some(&RequestBodyError::Long));
        assert_eq!(length, 3);
    }

    #[tokio::test]
    async fn an_empty_body_may_fail_too() {
        let idle = Duration::from_secs(1);
        assert!(finish_empty(body(vec![Ok(b"")]), idle).await.is_ok());
        assert!(finish_empty(body(vec![Err("bad trailer")]), idle).await.is_err());
        assert!(finish_empty(body(vec![Ok(b"x")]), idle).await.is_err());
        let never = Body::new(StreamBody::new(stream::pending::<Result<Frame<Bytes>, BoxError>>()));
        let stalled = finish_empty(never, Duration::from_millis(10)).await.unwrap_err();
        assert!(matches!(stalled.downcast_ref(), Some(RequestBodyError::Stalled(_))));
    }

    #[test]
    fn an_empty_body_is_sent_from_the_start() {
        let sent = SentBody::new(Body::empty(), 0);
        assert!(sent.is_end_stream());
        assert_eq!(sent.progress().stage(), Stage::Sent);
    }
}
