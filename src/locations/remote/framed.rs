//! A request body in `aws-chunked` framing, for the checksum that follows it.
//!
//! A client's trailing checksum is known when its last byte is, so it can only follow the content on the way on, too.
//! The form is `STREAMING-UNSIGNED-PAYLOAD-TRAILER`, as SDKs send it, in chunks of one size: so the length of the
//! whole is known before the first byte. Source: Amazon S3 API reference, "Signature calculations: transferring a
//! payload in multiple chunks".

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue};
use http_body::{Body as HttpBody, Frame, SizeHint};

use crate::body::{Body, BoxError};
use crate::s3::checksum::Algorithm;

/// At least 8 KiB, says S3; the last chunk alone may be shorter.
const CHUNK: u64 = 64 * 1024;

/// A body that ends with a trailer, framed.
pub(super) struct Framed {
    inner: Body,
    trailer: Algorithm,
    /// Content that no chunk header has announced yet.
    unannounced: u64,
    /// Content of the open chunk that has not come yet.
    open: u64,
    ready: VecDeque<Bytes>,
    /// Bytes that are still to be given, with all framing.
    remaining: u64,
    ended: bool,
}

/// Why a body could not be framed.
#[derive(Debug, thiserror::Error)]
#[error("the body ended without the checksum that its headers announce")]
pub(super) struct TrailerMissing;

impl Framed {
    /// The algorithm whose value the headers announce behind the body.
    pub(super) fn announced(headers: &HeaderMap) -> Option<Algorithm> {
        headers.get("x-amz-trailer")?.to_str().ok().and_then(|name| Algorithm::of_header(name.trim()))
    }

    /// `length` is that of the content of `inner`, which must not be empty.
    pub(super) fn new(inner: Body, length: u64, trailer: Algorithm) -> Framed {
        let remaining = framed_length(length, trailer);
        Framed {
            inner,
            trailer,
            unannounced: length,
            open: 0,
            ready: VecDeque::new(),
            remaining,
            ended: false,
        }
    }

    /// Bytes with all framing.
    pub(super) fn length(&self) -> u64 {
        self.remaining
    }

    /// Says in the headers what is sent.
    pub(super) fn describe(&self, headers: &mut HeaderMap) {
        const DECODED_LENGTH: HeaderName = HeaderName::from_static("x-amz-decoded-content-length");
        headers.insert(DECODED_LENGTH, HeaderValue::from(self.unannounced));
        headers.insert(CONTENT_LENGTH, HeaderValue::from(self.remaining));
        let mut encodings = b"aws-chunked".to_vec();
        for encoding in headers.get_all(CONTENT_ENCODING) {
            encodings.extend_from_slice(b",");
            encodings.extend_from_slice(encoding.as_bytes());
        }
        // Header values in a row, with commas, are a header value.
        if let Ok(value) = HeaderValue::from_bytes(&encodings) {
            headers.insert(CONTENT_ENCODING, value);
        }
    }

    /// Cuts a piece of content into chunks.
    fn push(&mut self, mut data: Bytes) {
        while data.has_remaining() {
            if self.open == 0 {
                self.open = self.unannounced.min(CHUNK);
                self.unannounced -= self.open;
                if self.open == 0 {
                    // Longer than announced: whoever counts what leaves sees it.
                    self.ready.push_back(data);
                    return;
                }
                self.ready.push_back(format!("{:x}\r\n", self.open).into());
            }
            let take = usize::try_from(self.open).unwrap_or(usize::MAX).min(data.len());
            self.ready.push_back(data.split_to(take));
            self.open -= take as u64;
            if self.open == 0 {
                self.ready.push_back(Bytes::from_static(b"\r\n"));
            }
        }
    }

    fn finish(&mut self, trailers: &HeaderMap) -> Result<(), TrailerMissing> {
        let name = self.trailer.header();
        let value = trailers.get(&name).and_then(|value| value.to_str().ok()).ok_or(TrailerMissing)?;
        self.ready.push_back(format!("0\r\n{name}:{value}\r\n\r\n").into());
        self.ended = true;
        Ok(())
    }
}

impl HttpBody for Framed {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        loop {
            if let Some(bytes) = this.ready.pop_front() {
                this.remaining = this.remaining.saturating_sub(bytes.len() as u64);
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
            if this.ended {
                return Poll::Ready(None);
            }
            let Some(frame) = ready!(Pin::new(&mut this.inner).poll_frame(cx)).transpose()? else {
                return Poll::Ready(Some(Err(TrailerMissing.into())));
            };
            match frame.into_data() {
                Ok(data) => this.push(data),
                Err(frame) => {
                    if let Ok(trailers) = frame.into_trailers() {
                        this.finish(&trailers)?;
                    }
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ended && self.ready.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.remaining)
    }
}

fn framed_length(content: u64, trailer: Algorithm) -> u64 {
    let chunk = |length: u64| format!("{length:x}\r\n").len() as u64 + length + 2;
    let last = match content % CHUNK {
        0 => 0,
        length => chunk(length),
    };
    let base64 = trailer.length().div_ceil(3) * 4;
    let end = "0\r\n".len() + trailer.header().as_str().len() + ":".len() + base64 + "\r\n\r\n".len();
    content / CHUNK * chunk(CHUNK) + last + end as u64
}

#[cfg(test)]
mod tests {
    use futures_util::stream;
    use http_body_util::{BodyExt, StreamBody};

    use super::*;
    use crate::s3::checksum::Hasher;

    fn framed(content: &[u8], piece: usize, trailer: Algorithm, trailers: HeaderMap) -> Framed {
        let mut frames: Vec<Result<Frame<Bytes>, BoxError>> =
            content.chunks(piece).map(|piece| Ok(Frame::data(Bytes::copy_from_slice(piece)))).collect();
        frames.push(Ok(Frame::trailers(trailers)));
        Framed::new(Body::new(StreamBody::new(stream::iter(frames))), content.len() as u64, trailer)
    }

    fn checksum(content: &[u8], algorithm: Algorithm) -> HeaderMap {
        let mut hasher = Hasher::new(algorithm);
        hasher.update(content);
        hasher.finish().to_headers()
    }

    #[tokio::test]
    async fn the_framing_is_that_of_the_reference_and_as_long_as_announced() {
        let body = framed(b"123456789", 4, Algorithm::Crc32, checksum(b"123456789", Algorithm::Crc32));
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        body.describe(&mut headers);
        assert_eq!(headers["content-encoding"], "aws-chunked,gzip");
        assert_eq!(headers["x-amz-decoded-content-length"], "9");
        let wire = body.collect().await.unwrap().to_bytes();
        assert_eq!(&wire[..], b"9\r\n123456789\r\n0\r\nx-amz-checksum-crc32:y/Q5Jg==\r\n\r\n");
        assert_eq!(headers["content-length"], wire.len().to_string().as_str());
    }

    #[tokio::test]
    async fn every_length_and_cut_gives_the_announced_length_and_the_content_back() {
        let chunk = CHUNK as usize;
        for length in [1, 15, 16, 8191, chunk - 1, chunk, chunk + 1, 2 * chunk, 3 * chunk + 7] {
            let content: Vec<u8> = (0..length).map(|n| n as u8).collect();
            for (algorithm, piece) in Algorithm::ALL.into_iter().zip([1000, chunk, 70_000, 333, usize::MAX]) {
                let body = framed(&content, piece, algorithm, checksum(&content, algorithm));
                let announced = body.length();
                let wire = body.collect().await.unwrap().to_bytes();
                assert_eq!(wire.len() as u64, announced, "{length} bytes, {algorithm:?}");
                assert_eq!(unframed(&wire), content, "{length} bytes, {algorithm:?}");
            }
        }
    }

    #[tokio::test]
    async fn a_body_without_the_announced_checksum_does_not_end_well() {
        let body = framed(b"abc", 3, Algorithm::Sha1, checksum(b"abc", Algorithm::Crc32));
        assert!(body.collect().await.unwrap_err().is::<TrailerMissing>());
    }

    fn unframed(mut wire: &[u8]) -> Vec<u8> {
        let mut content = Vec::new();
        loop {
            let end = wire.windows(2).position(|two| two == b"\r\n").unwrap();
            let size = usize::from_str_radix(std::str::from_utf8(&wire[..end]).unwrap(), 16).unwrap();
            if size == 0 {
                return content;
            }
            content.extend_from_slice(&wire[end + 2..end + 2 + size]);
            assert_eq!(&wire[end + 2 + size..end + 4 + size], b"\r\n");
            wire = &wire[end + 4 + size..];
        }
    }
}
