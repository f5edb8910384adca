//! A body on its way to a location, scanned as it streams, whose last bytes wait for a verdict.
//!
//! Payload checks (signature, checksum, length) have been made by the body inside. What is added here:
//! every byte passes the scanner, and the last frame leaves only when the gate has opened: the labels of the
//! whole content are judged, the key's lock is held, the conditions of a conditional write still hold.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame, SizeHint};

use super::window::Frames;
use crate::body::{Body, BoxError};
use crate::label::scanner::{Findings, Scanner};

/// Decides, with the findings of the whole content, whether the last bytes may leave.
pub type Gate = Box<dyn FnOnce(Findings) -> BoxFuture<'static, Result<(), BoxError>> + Send>;

/// Where the verdict's own error is kept: on its way through an HTTP client an error loses its type.
pub type GateError = Arc<Mutex<Option<BoxError>>>;

/// See the module's description. It is never polled by a client when it is empty; then call [`HeldBody::open_now`].
pub struct HeldBody {
    window: Frames,
    rest: Body,
    scanner: Option<Scanner>,
    held: Option<Bytes>,
    remaining: u64,
    /// A checksum that follows the content, for the location to keep.
    trailers: Option<HeaderMap>,
    gate: GateState,
    error: GateError,
}

enum GateState {
    Closed(Gate),
    Opening(BoxFuture<'static, Result<(), BoxError>>),
    Open,
    Failed,
}

impl HeldBody {
    /// `window` has been scanned by `scanner` already; `length` is that of window and rest together.
    pub fn new(window: Frames, rest: Body, scanner: Scanner, length: u64, gate: Gate) -> HeldBody {
        HeldBody {
            window,
            rest,
            scanner: Some(scanner),
            held: None,
            remaining: length,
            trailers: None,
            gate: GateState::Closed(gate),
            error: GateError::default(),
        }
    }

    /// The slot in which an error of the gate or of the payload is found after the request failed.
    pub fn error_slot(&self) -> GateError {
        self.error.clone()
    }

    /// Opens the gate of an empty body, for which no frame would ever be asked.
    pub async fn open_now(&mut self) -> Result<(), BoxError> {
        std::future::poll_fn(|cx| self.poll_gate(cx)).await
    }

    fn poll_gate(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        loop {
            match std::mem::replace(&mut self.gate, GateState::Failed) {
                GateState::Closed(gate) => {
                    let findings = self.scanner.take().map(Scanner::finish).unwrap_or_default();
                    self.gate = GateState::Opening(gate(findings));
                }
                GateState::Opening(mut opening) => match opening.as_mut().poll(cx) {
                    Poll::Pending => {
                        self.gate = GateState::Opening(opening);
                        return Poll::Pending;
                    }
                    Poll::Ready(Ok(())) => self.gate = GateState::Open,
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                },
                GateState::Open => {
                    self.gate = GateState::Open;
                    return Poll::Ready(Ok(()));
                }
                GateState::Failed => return Poll::Ready(Err("the body was refused before".into())),
            }
        }
    }

    /// The next frame of window and rest, scanned.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BoxError>>> {
        if let Some(bytes) = self.window.pop_front() {
            return Poll::Ready(Some(Ok(bytes)));
        }
        loop {
            match ready!(Pin::new(&mut self.rest).poll_frame(cx)) {
                None => return Poll::Ready(None),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                Some(Ok(frame)) => {
                    let bytes = match frame.into_data() {
                        Ok(bytes) if bytes.is_empty() => continue,
                        Ok(bytes) => bytes,
                        Err(frame) => {
                            self.trailers = frame.into_trailers().ok();
                            continue;
                        }
                    };
                    if let Some(scanner) = &mut self.scanner {
                        scanner.feed(&bytes);
                    }
                    return Poll::Ready(Some(Ok(bytes)));
                }
            }
        }
    }

    /// Keeps the error where the request's owner finds it, and gives the client library a plain one.
    fn fail(&mut self, error: BoxError) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.gate = GateState::Failed;
        self.held = None;
        self.trailers = None;
        let text = error.to_string();
        *self.error.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
        Poll::Ready(Some(Err(text.into())))
    }
}

impl HttpBody for HeldBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        if this.remaining == 0 {
            return Poll::Ready(this.trailers.take().map(|trailers| Ok(Frame::trailers(trailers))));
        }
        loop {
            // All of the content is in hand, its last frame held: only the verdict is missing.
            if this.held.as_ref().is_some_and(|held| held.len() as u64 == this.remaining) {
                // The body inside verifies its payload when it is read to the end.
                match ready!(this.poll_next(cx)) {
                    None => {}
                    Some(Ok(_)) => return this.fail("the body is longer than it said".into()),
                    Some(Err(error)) => return this.fail(error),
                }
                if let Err(error) = ready!(this.poll_gate(cx)) {
                    return this.fail(error);
                }
                this.remaining = 0;
                return Poll::Ready(this.held.take().map(|bytes| Ok(Frame::data(bytes))));
            }
            match ready!(this.poll_next(cx)) {
                Some(Ok(bytes)) => {
                    let earlier = this.held.replace(bytes);
                    let sent = earlier.as_ref().map_or(0, |bytes| bytes.len() as u64);
                    this.remaining = this.remaining.saturating_sub(sent);
                    if this.held.as_ref().is_some_and(|held| held.len() as u64 > this.remaining) {
                        return this.fail("the body is longer than it said".into());
                    }
                    if let Some(earlier) = earlier {
                        return Poll::Ready(Some(Ok(Frame::data(earlier))));
                    }
                }
                Some(Err(error)) => return this.fail(error),
                None => return this.fail("the body is shorter than it said".into()),
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.remaining)
    }

    fn is_end_stream(&self) -> bool {
        self.remaining == 0 && self.trailers.is_none()
    }
}
