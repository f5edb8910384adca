//! A stage of the stack: takes what the stage before it proved, and hands on more, or ends the request.

use std::future::Future;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use tower::{Layer, Service, ServiceExt};

use super::failure::Failure;

/// Turns `In` into what the next stage takes.
pub trait Stage<In>: Send + Sync + 'static {
    type Out: Send + 'static;

    fn pass(&self, input: In) -> impl Future<Output = Result<Self::Out, Failure>> + Send;
}

/// The tower layer of a stage.
pub struct StageLayer<T>(Arc<T>);

/// Makes a layer of a stage.
pub fn stage<T>(stage: T) -> StageLayer<T> {
    StageLayer(Arc::new(stage))
}

impl<T> Clone for StageLayer<T> {
    fn clone(&self) -> Self {
        StageLayer(self.0.clone())
    }
}

impl<T, S> Layer<S> for StageLayer<T> {
    type Service = Staged<T, S>;

    fn layer(&self, inner: S) -> Staged<T, S> {
        Staged { stage: self.0.clone(), inner }
    }
}

/// A stage and what comes after it.
pub struct Staged<T, S> {
    stage: Arc<T>,
    inner: S,
}

impl<T, S: Clone> Clone for Staged<T, S> {
    fn clone(&self) -> Self {
        Staged { stage: self.stage.clone(), inner: self.inner.clone() }
    }
}

impl<In, T, S> Service<In> for Staged<T, S>
where
    In: Send + 'static,
    T: Stage<In>,
    S: Service<T::Out, Error = Failure> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = S::Response;
    type Error = Failure;
    type Future = BoxFuture<'static, Result<S::Response, Failure>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, input: In) -> Self::Future {
        let Staged { stage, inner } = self.clone();
        Box::pin(async move {
            let output = stage.pass(input).await?;
            inner.oneshot(output).await
        })
    }
}
