//! Reads away what a client is still sending when it has been answered early, within bounds: a connection that is
//! closed on unread bytes is reset, and the answer is lost with it. Most clients read nothing before they have
//! written all.
//!
//! A client that waits for `100 Continue` sends nothing before the body is asked for, so nothing is asked of it here.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, header};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;

use crate::body::{Body, BoxError};

const MAX_BYTES: usize = 64 << 20;
const MAX_TIME: Duration = Duration::from_secs(10);

/// The request with a body that lingers.
pub fn lingering(request: Request<Incoming>) -> Request<Body> {
    let asked = !request.headers().contains_key(header::EXPECT);
    request.map(|body| match body.is_end_stream() {
        true => Body::from(body),
        false => Body::new(Lingering { body: Some(body), asked }),
    })
}

/// A body whose rest is read away, behind, when nobody wants it any more.
struct Lingering {
    /// `None` when its end was seen.
    body: Option<Incoming>,
    /// Whether its client sends without, or after, `100 Continue`.
    asked: bool,
}

impl HttpBody for Lingering {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.asked = true;
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let frame = Pin::new(body).poll_frame(context);
        if matches!(frame, Poll::Ready(None | Some(Err(_)))) {
            self.body = None;
        }
        frame.map_err(Into::into)
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), HttpBody::size_hint)
    }
}

impl Drop for Lingering {
    fn drop(&mut self) {
        let Some(mut body) = self.body.take().filter(|body| self.asked && !body.is_end_stream()) else {
            return;
        };
        // Without a runtime there is no connection either.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(tokio::time::timeout(MAX_TIME, async move {
            let mut read = 0;
            while let Some(Ok(frame)) = body.frame().await {
                read += frame.data_ref().map_or(0, Bytes::len);
                if read > MAX_BYTES {
                    return;
                }
            }
        }));
    }
}
