//! Reads away what a refused client is still sending, within bounds, so that it gets to read the refusal:
//! a connection closed on unread bytes is reset, and the answer is lost with it.

use std::time::Duration;

use http_body_util::BodyExt;

use crate::body::Body;

const MAX_BYTES: usize = 64 << 20;
const MAX_TIME: Duration = Duration::from_secs(10);

/// Drains in the background.
pub fn drain(mut body: Body) {
    if http_body::Body::is_end_stream(&body) {
        return;
    }
    tokio::spawn(tokio::time::timeout(MAX_TIME, async move {
        let mut read = 0;
        while let Some(Ok(frame)) = body.frame().await {
            read += frame.data_ref().map_or(0, bytes::Bytes::len);
            if read > MAX_BYTES {
                return;
            }
        }
    }));
}
