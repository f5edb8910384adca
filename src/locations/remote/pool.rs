//! Kept connections to a location, each driven by the request that uses it.
//!
//! A pooled client usually gives every connection a task of its own, and hands each request and each piece of a body
//! from task to task. Here whoever uses a connection polls it, and nobody polls one that is idle: what became of it
//! meanwhile shows when it is taken again. A connection whose answer was not read to the end is closed.

use std::collections::HashMap;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::uri::{Authority, PathAndQuery};
use http::{Request, Response, Uri};
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use tokio::time::Instant;
use tower::Service;

use super::body::SentBody;
use super::connect::Connector;
use crate::body::BoxError;

type Connection = http1::Connection<<Connector as Service<Uri>>::Response, SentBody>;

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum PoolError {
    /// Nothing of the request has left.
    Unsent(BoxError),
    /// It may have arrived.
    Broken(hyper::Error),
}

/// The connections of one location.
pub(super) struct Pool {
    connector: Connector,
    builder: http1::Builder,
    limits: Limits,
    idle: Mutex<HashMap<Authority, Vec<Idle>>>,
}

/// How many idle connections are kept for each host, and for how long.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) most_idle: usize,
    pub(super) idle_for: Duration,
}

struct Idle {
    link: Link,
    since: Instant,
}

/// A connection and the way to put requests into it.
struct Link {
    sender: SendRequest<SentBody>,
    connection: Box<Connection>,
}

impl Pool {
    /// `buffer` is what one connection may read ahead, and queue to write, in bytes.
    pub(super) fn new(connector: Connector, buffer: usize, limits: Limits) -> Arc<Pool> {
        let mut builder = http1::Builder::new();
        builder.max_buf_size(buffer);
        Arc::new(Pool { connector, builder, limits, idle: Mutex::default() })
    }

    /// Sends a request with an absolute URI, and gives back its answer once the head is there.
    pub(super) async fn request(
        self: &Arc<Self>,
        mut request: Request<SentBody>,
    ) -> Result<Response<DrivenBody>, PoolError> {
        let target = request.uri().path_and_query().cloned();
        let target = target.unwrap_or_else(|| PathAndQuery::from_static("/"));
        let uri = std::mem::replace(request.uri_mut(), Uri::from(target));
        let authority = uri.authority().cloned().ok_or_else(|| PoolError::Unsent("no host".into()))?;

        while let Some(link) = self.take(&authority).await {
            match self.exchange(link, &authority, request).await {
                Ok(response) => return Ok(response),
                // The other side had closed it: nothing was sent, so the next one may have it.
                Err(Failed { unsent: Some(back), .. }) => request = *back,
                Err(Failed { error, unsent: None }) => return Err(PoolError::Broken(error)),
            }
        }
        let io = self.connector.clone().call(uri).await.map_err(PoolError::Unsent)?;
        let handshake = self.builder.handshake(io).await;
        let (sender, connection) = handshake.map_err(|error| PoolError::Unsent(error.into()))?;
        let link = Link { sender, connection: Box::new(connection) };
        self.exchange(link, &authority, request).await.map_err(|failed| match failed.unsent {
            Some(_) => PoolError::Unsent(failed.error.into()),
            None => PoolError::Broken(failed.error),
        })
    }

    async fn exchange(
        self: &Arc<Self>,
        mut link: Link,
        authority: &Authority,
        request: Request<SentBody>,
    ) -> Result<Response<DrivenBody>, Failed> {
        let mut answer = pin!(link.sender.try_send_request(request));
        let mut connection = Some(link.connection);
        let answered = std::future::poll_fn(|cx| {
            // A connection that has ended tells the request so when it is dropped.
            if connection.as_mut().is_some_and(|connection| Pin::new(connection).poll(cx).is_ready()) {
                connection = None;
            }
            answer.as_mut().poll(cx)
        });
        let response = answered.await.map_err(|mut failed| Failed {
            unsent: failed.take_message().map(Box::new),
            error: failed.into_error(),
        })?;
        let connection = connection.map(|connection| Link { sender: link.sender, connection });
        let user = connection.map(|link| User { link, pool: self.clone(), authority: authority.clone() });
        let (parts, incoming) = response.into_parts();
        let mut body = DrivenBody { incoming, user };
        if body.incoming.is_end_stream() {
            std::future::poll_fn(|cx| {
                body.give_back(cx);
                Poll::Ready(())
            })
            .await;
        }
        Ok(Response::from_parts(parts, body))
    }

    /// The connection that was used last and is still open.
    async fn take(&self, authority: &Authority) -> Option<Link> {
        std::future::poll_fn(|cx| {
            loop {
                let Some(mut idle) = self.pop(authority) else { return Poll::Ready(None) };
                // Polled at last: a connection that the other side has closed says so now.
                let open = idle.since.elapsed() < self.limits.idle_for
                    && Pin::new(&mut idle.link.connection).poll(cx).is_pending()
                    && idle.link.sender.is_ready();
                if open {
                    return Poll::Ready(Some(idle.link));
                }
            }
        })
        .await
    }

    fn pop(&self, authority: &Authority) -> Option<Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).get_mut(authority)?.pop()
    }

    fn put(self: &Arc<Self>, authority: Authority, link: Link) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.is_empty() {
            // Whatever is kept from here on is also closed when nobody comes for it.
            tokio::spawn(close_idle(Arc::downgrade(self), self.limits.idle_for));
        }
        let kept = idle.entry(authority).or_default();
        if kept.len() < self.limits.most_idle {
            kept.push(Idle { link, since: Instant::now() });
        }
    }

    /// Closes what has been idle for too long; whether any is left.
    fn sweep(&self) -> bool {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|_, kept| {
            kept.retain(|idle| idle.since.elapsed() < self.limits.idle_for);
            !kept.is_empty()
        });
        !idle.is_empty()
    }
}

/// Runs while connections are kept, or might soon be again.
async fn close_idle(pool: std::sync::Weak<Pool>, period: Duration) {
    loop {
        tokio::time::sleep(period).await;
        if !pool.upgrade().is_some_and(|pool| pool.sweep()) {
            return;
        }
    }
}

/// A request that found no answer; with the request itself, if none of it was sent.
struct Failed {
    error: hyper::Error,
    unsent: Option<Box<Request<SentBody>>>,
}

/// A response body that drives the connection it comes from, and gives it back at its end.
pub(super) struct DrivenBody {
    incoming: Incoming,
    /// `None` when the connection was given back, or has ended.
    user: Option<User>,
}

struct User {
    link: Link,
    pool: Arc<Pool>,
    authority: Authority,
}

impl DrivenBody {
    fn drive(&mut self, cx: &mut Context<'_>) {
        let ended = |user: &mut User| Pin::new(&mut user.link.connection).poll(cx).is_ready();
        if self.user.as_mut().is_some_and(ended) {
            self.user = None;
        }
    }

    /// At the end of the answer: the next request may have the connection, unless it is still busy with this one.
    fn give_back(&mut self, cx: &mut Context<'_>) {
        self.drive(cx);
        if let Some(User { link, pool, authority }) = self.user.take()
            && link.sender.is_ready()
        {
            pool.put(authority, link);
        }
    }
}

impl HttpBody for DrivenBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        self.drive(cx);
        let mut frame = Pin::new(&mut self.incoming).poll_frame(cx);
        if frame.is_pending() && self.user.is_some() {
            // Having been asked for the next piece, the connection may have it at once.
            self.drive(cx);
            frame = Pin::new(&mut self.incoming).poll_frame(cx);
        }
        match &frame {
            Poll::Ready(Some(Err(_))) => self.user = None,
            Poll::Ready(None) => self.give_back(cx),
            Poll::Ready(Some(Ok(_))) if self.incoming.is_end_stream() => self.give_back(cx),
            Poll::Ready(Some(Ok(_))) | Poll::Pending => {}
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
