//! A layer around all that comes after it: it sees the plain request on its way in and the answer on its way out.
//!
//! Where a stage ([`super::stage`]) proves something and hands it on, these prove nothing; they watch, bound or amend.

use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use http::{Request, Response};
use tower::{Layer, Service};

use crate::body::Body;

pub type Answer<E> = BoxFuture<'static, Result<Response<Body>, E>>;

/// What is done around the rest of the stack.
pub trait Around: Clone {
    /// How the rest of the stack fails.
    type Below;
    /// How it fails with this around it.
    type Error;

    /// `rest` is the rest of the stack. It need not be called.
    fn call<F>(&self, request: Request<Body>, rest: impl FnOnce(Request<Body>) -> F) -> Answer<Self::Error>
    where
        F: Future<Output = Result<Response<Body>, Self::Below>> + Send + 'static;
}

/// The tower layer of it.
#[derive(Clone)]
pub struct AroundLayer<A>(A);

/// Makes a layer of it.
pub fn around<A: Around>(around: A) -> AroundLayer<A> {
    AroundLayer(around)
}

impl<A: Around, S> Layer<S> for AroundLayer<A> {
    type Service = Surrounded<A, S>;

    fn layer(&self, inner: S) -> Surrounded<A, S> {
        Surrounded { around: self.0.clone(), inner }
    }
}

/// The rest of the stack with something around it.
#[derive(Clone)]
pub struct Surrounded<A, S> {
    around: A,
    inner: S,
}

impl<A, S> Service<Request<Body>> for Surrounded<A, S>
where
    A: Around,
    S: Service<Request<Body>, Response = Response<Body>, Error = A::Below>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = A::Error;
    type Future = Answer<A::Error>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), A::Error>> {
        // One that will never be ready fails its call instead, where its failure can be told.
        self.inner.poll_ready(cx).map(|_| Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Answer<A::Error> {
        let inner = &mut self.inner;
        self.around.call(request, |request| inner.call(request))
    }
}
