//! Time limits on slow peers: a body that makes no progress, and a socket that takes no bytes.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep, sleep_until};

use super::failure::Failure;
use crate::body::{Body, BoxError};
use crate::s3::error::Code;

/// Fails a request body with `RequestTimeout` when no frame comes for `idle`, or when it has not ended by its deadline:
/// a write outlives its answer, so whoever sends a byte now and then would hold it for as long as he likes.
pub struct IdleBody {
    inner: Body,
    idle: Duration,
    deadline: Instant,
    timer: Option<Pin<Box<Sleep>>>,
}

impl IdleBody {
    pub fn new(inner: Body, idle: Duration, deadline: Instant) -> Self {
        IdleBody { inner, idle, deadline, timer: None }
    }
}

impl HttpBody for IdleBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        match Pin::new(&mut this.inner).poll_frame(cx) {
            Poll::Ready(frame) => {
                this.timer = None;
                Poll::Ready(frame)
            }
            Poll::Pending => {
                let until = this.deadline.min(Instant::now() + this.idle);
                let timer = this.timer.get_or_insert_with(|| Box::pin(sleep_until(until)));
                if timer.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
                let message = if Instant::now() < this.deadline {
                    "The request body made no progress within the idle timeout."
                } else {
                    "The request took longer than the gateway's total timeout."
                };
                Poll::Ready(Some(Err(Box::new(Failure::client(Code::RequestTimeout, message)))))
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }
}

/// A socket whose writes fail when the peer takes nothing for `idle`: a reader that stopped reading must not
/// hold a request's memory for ever.
pub struct TimedIo<T> {
    inner: T,
    idle: Duration,
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<T> TimedIo<T> {
    pub fn new(inner: T, idle: Duration) -> Self {
        TimedIo { inner, idle, stalled: None }
    }

    fn watch<R>(&mut self, cx: &mut Context<'_>, result: Poll<io::Result<R>>) -> Poll<io::Result<R>> {
        if result.is_ready() {
            self.stalled = None;
            return result;
        }
        let idle = self.idle;
        let timer = self.stalled.get_or_insert_with(|| Box::pin(sleep(idle)));
        if timer.deadline() <= Instant::now() || timer.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the peer takes no bytes")));
        }
        Poll::Pending
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for TimedIo<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for TimedIo<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.watch(cx, result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        self.watch(cx, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.inner).poll_flush(cx);
        self.watch(cx, result)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.inner).poll_shutdown(cx);
        self.watch(cx, result)
    }
}
