//! The first window of a body: read and scanned before a location is chosen.

use std::collections::VecDeque;

use bytes::Bytes;
use http_body_util::BodyExt;

use crate::body::{Body, BoxError};
use crate::label::scanner::Scanner;

/// The beginning of a body, and the rest of it.
pub struct Window {
    pub frames: VecDeque<Bytes>,
    pub rest: Body,
    /// Has seen all of `frames`.
    pub scanner: Scanner,
}

/// Reads up to `limit` bytes; a frame that crosses the limit is kept whole.
pub async fn read_window(mut body: Body, limit: usize) -> Result<Window, BoxError> {
    let mut scanner = Scanner::new();
    let mut frames = VecDeque::new();
    let mut read = 0;
    while read < limit {
        let Some(frame) = body.frame().await else { break };
        let Ok(bytes) = frame?.into_data() else { continue };
        if bytes.is_empty() {
            continue;
        }
        read += bytes.len();
        scanner.feed(&bytes);
        frames.push_back(bytes);
    }
    Ok(Window { frames, rest: body, scanner })
}
