//! The first window of a body: read and scanned before a location is chosen.
//!
//! Windows are memory, so their number is bounded; and clients are slow, so none of them may hold one for long. A body's
//! first [`FREE`] bytes need no slot, a client that sends too slowly is decided on what it has sent so far, and a slot is
//! given back as soon as its window has left for the location.

use std::collections::VecDeque;
use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout_at};

use crate::body::Body;
use crate::gateway::Gateway;
use crate::gateway::failure::{Failure, body_failure};
use crate::label::scanner::Scanner;

/// Bytes that every request may hold: together they are bounded by the number of requests.
const FREE: usize = 64 << 10;
/// How long a slot may be held before its window is full.
const PATIENCE: Duration = Duration::from_secs(10);

/// The beginning of a body, and the rest of it.
pub struct Window {
    pub frames: Frames,
    pub rest: Body,
    /// Has seen all of `frames`.
    pub scanner: Scanner,
}

/// What was read of a body, and the slot that it takes.
#[derive(Default)]
pub struct Frames {
    frames: VecDeque<Bytes>,
    slot: Option<OwnedSemaphorePermit>,
}

impl Frames {
    pub fn pop_front(&mut self) -> Option<Bytes> {
        let frame = self.frames.pop_front();
        if self.frames.is_empty() {
            self.slot = None;
        }
        frame
    }
}

/// Reads the first window, or less of it from a slow client.
pub async fn read_window(gateway: &Gateway, body: Body) -> Result<Window, Failure> {
    read(body, gateway.config.label.window_bytes, PATIENCE, || gateway.window_slot()).await
}

/// Reads up to `limit` bytes; a frame that crosses the limit is kept whole.
async fn read<F>(
    mut body: Body,
    limit: usize,
    patience: Duration,
    slot: impl Fn() -> F,
) -> Result<Window, Failure>
where
    F: Future<Output = Result<OwnedSemaphorePermit, Failure>>,
{
    let mut scanner = Scanner::new();
    let mut frames = Frames::default();
    let mut deadline = None;
    let mut read = 0;
    while read < limit {
        if read >= FREE && frames.slot.is_none() {
            frames.slot = Some(slot().await?);
            deadline = Some(Instant::now() + patience);
        }
        let frame = match deadline {
            None => body.frame().await,
            Some(deadline) => match timeout_at(deadline, body.frame()).await {
                Ok(frame) => frame,
                Err(_) => break,
            },
        };
        let Some(frame) = frame else { break };
        let Ok(bytes) = frame.map_err(body_failure)?.into_data() else { continue };
        if bytes.is_empty() {
            continue;
        }
        read += bytes.len();
        scanner.feed(&bytes);
        frames.frames.push_back(bytes);
    }
    Ok(Window { frames, rest: body, scanner })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::{StreamExt, stream};
    use http_body::Frame;
    use http_body_util::StreamBody;
    use tokio::sync::Semaphore;

    use super::*;
    use crate::body::BoxError;

    /// Some frames, and then nothing, for ever.
    fn stalling(frames: Vec<usize>) -> Body {
        let frames =
            frames.into_iter().map(|length| Ok::<_, BoxError>(Frame::data(Bytes::from(vec![b'a'; length]))));
        Body::new(StreamBody::new(stream::iter(frames).chain(stream::pending())))
    }

    fn slots(
        asked: &Arc<AtomicUsize>,
        slots: &Arc<Semaphore>,
    ) -> impl Fn() -> futures_util::future::BoxFuture<'static, Result<OwnedSemaphorePermit, Failure>> {
        let (asked, slots) = (asked.clone(), slots.clone());
        move || {
            asked.fetch_add(1, Ordering::SeqCst);
            let slots = slots.clone();
            Box::pin(async move { Ok(slots.acquire_owned().await.unwrap()) })
        }
    }

    #[tokio::test]
    async fn a_client_that_stalls_is_decided_on_what_it_sent_and_gives_its_slot_back() {
        let (asked, all) = (Arc::default(), Arc::new(Semaphore::new(1)));
        let body = stalling(vec![FREE, 1000]);
        let mut window = read(body, 1 << 20, Duration::from_millis(1), slots(&asked, &all)).await.unwrap();
        assert_eq!(asked.load(Ordering::SeqCst), 1);
        assert_eq!(all.available_permits(), 0);
        assert_eq!(window.frames.pop_front().unwrap().len(), FREE);
        assert_eq!(all.available_permits(), 0);
        assert_eq!(window.frames.pop_front().unwrap().len(), 1000);
        assert_eq!(all.available_permits(), 1);
    }

    #[tokio::test]
    async fn a_small_body_waits_for_no_slot() {
        let (asked, none) = (Arc::default(), Arc::new(Semaphore::new(0)));
        let body = Body::full(vec![b'a'; FREE - 1]);
        let mut window = read(body, 1 << 20, Duration::from_millis(1), slots(&asked, &none)).await.unwrap();
        assert_eq!(window.frames.pop_front().unwrap().len(), FREE - 1);
        assert_eq!(asked.load(Ordering::SeqCst), 0);
    }
}
