//! A request body that ends only if everything its client asserted about it is true.
//!
//! [`VerifiedBody`] takes `aws-chunked` framing off, counts, hashes, and **holds the latest piece of data back
//! until the verdict is in**: the length, the signed SHA-256, the chunk signatures, Content-MD5 and the checksum in
//! a header or trailer. On a bad verdict the reader gets an error instead of the last piece, so that whoever
//! stores the bytes never has all of them. It does not scan contents and does not decide anything.
//!
//! A checksum that came in a trailer comes out as one, behind the last piece: it is part of what the client asked to
//! be stored.
//!
//! An empty body needs care: HTTP clients do not poll a body of length 0. Unframed, it is judged in
//! [`VerifiedBody::new`]; framed, call [`VerifiedBody::settle_empty`] before passing it on.

use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue, TRANSFER_ENCODING};
use http_body::{Body as HttpBody, Frame, SizeHint};
use subtle::ConstantTimeEq;

use super::checksum::{Algorithm, Asserted, Checksum, ChecksumError, Hasher, Md5Hasher, Subject};
use super::chunked::{ChunkError, Decoder, Event, Framing, Trailer};
use super::error::{Code, S3Error};
use super::sigv4::{Identity, PayloadMode};
use crate::body::{Body, BoxError};

const DECODED_LENGTH: HeaderName = HeaderName::from_static("x-amz-decoded-content-length");
const TRAILER: HeaderName = HeaderName::from_static("x-amz-trailer");

/// The body of a signed request, decoded and verified as it streams.
#[derive(Debug)]
pub struct VerifiedBody {
    source: Body,
    /// Framed bytes that are not decoded yet.
    input: Bytes,
    decoder: Option<Decoder>,
    checks: Checks,
    trailers: Vec<Trailer>,
    /// The decoded length, as announced.
    length: u64,
    received: u64,
    released: u64,
    held: Option<Bytes>,
    progress: Progress,
    /// The verified checksum of an announced trailer, until it follows the last piece as a trailer frame.
    trailing: Option<Checksum>,
    verdict: Verdict,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    Reading,
    /// The verdict is out, good or bad; nothing is read any more.
    Done,
}

/// What a body turned out to be, once it passed. Cheap to clone; filled in before the last piece is released.
#[derive(Debug, Clone, Default)]
pub struct Verdict(Arc<OnceLock<Verified>>);

impl Verdict {
    /// `None` until all of the body was read and passed.
    pub fn verified(&self) -> Option<&Verified> {
        self.0.get()
    }

    /// Puts the checksum of a trailer among the headers, if it is known already: a short body is read to its end
    /// before any of it goes on. Otherwise the headers go on announcing a trailer.
    pub fn settle_trailer(&self, headers: &mut HeaderMap) {
        if let (Some(verified), true) = (self.verified(), headers.contains_key(TRAILER)) {
            headers.remove(TRAILER);
            headers.extend(verified.checksum.map(|checksum| checksum.to_headers()).unwrap_or_default());
        }
    }
}

/// Facts about a body that passed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// Bytes of payload.
    pub length: u64,
    /// The checksum that the client sent, in a header or a trailer.
    pub checksum: Option<Checksum>,
}

impl VerifiedBody {
    /// Wraps the body of a request. `headers` are the request's own, with the framing still in them; `max_bytes`
    /// bounds the decoded length. Refuses at once what can be refused without reading.
    pub fn new(
        body: Body,
        headers: &HeaderMap,
        identity: &Identity,
        subject: Subject,
        max_bytes: u64,
    ) -> Result<VerifiedBody, PayloadError> {
        let asserted = Asserted::from_headers(headers, subject)?;
        let framing = match identity.payload {
            PayloadMode::Unsigned | PayloadMode::Sha256(_) => None,
            PayloadMode::StreamingSigned => Some(Framing::Signed(identity.seed.clone())),
            PayloadMode::StreamingSignedTrailer => Some(Framing::SignedTrailer(identity.seed.clone())),
            PayloadMode::StreamingUnsignedTrailer => Some(Framing::UnsignedTrailer),
        };
        if asserted.trailer.is_some() && matches!(framing, None | Some(Framing::Signed(_))) {
            return Err(PayloadError::TrailerWithoutFraming);
        }
        let decoded = length_header(headers, &DECODED_LENGTH)?;
        let length = if framing.is_some() {
            decoded
        } else {
            length_header(headers, &CONTENT_LENGTH)?.or_else(|| body.size_hint().exact())
        };
        let length = length.ok_or(PayloadError::MissingLength)?;
        // Servers that look at this header alone would take the body for another one.
        if decoded.is_some_and(|decoded| decoded != length) {
            return Err(PayloadError::LengthsDiffer);
        }
        if length > max_bytes {
            return Err(PayloadError::TooLarge { max_bytes });
        }
        let mut verified = VerifiedBody {
            source: body,
            input: Bytes::new(),
            decoder: framing.map(|framing| Decoder::new(framing, length)),
            checks: Checks::new(&asserted, identity.payload),
            trailers: Vec::new(),
            length,
            received: 0,
            released: 0,
            held: None,
            progress: Progress::Reading,
            trailing: None,
            verdict: Verdict::default(),
        };
        if verified.decoder.is_none() && verified.source.is_end_stream() {
            verified.judge()?;
        }
        Ok(verified)
    }

    /// Bytes of payload, without framing.
    pub fn decoded_length(&self) -> u64 {
        self.length
    }

    /// A handle to read, later, what was verified.
    pub fn verdict(&self) -> Verdict {
        self.verdict.clone()
    }

    /// Reads a body of length 0 to its verdict; does nothing for others.
    pub async fn settle_empty(&mut self) -> Result<(), PayloadError> {
        if self.length == 0 {
            while let Some(frame) =
                std::future::poll_fn(|context| Pin::new(&mut *self).poll_frame(context)).await
            {
                frame?;
            }
        }
        Ok(())
    }

    fn poll_held(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Bytes>, PayloadError>> {
        while self.progress == Progress::Reading {
            match ready!(self.poll_data(context))? {
                Some(data) => {
                    self.received = self.received.saturating_add(data.len() as u64);
                    if self.received > self.length {
                        return Poll::Ready(Err(PayloadError::TooLong { expected: self.length }));
                    }
                    self.checks.update(&data);
                    if let Some(previous) = self.held.replace(data) {
                        return Poll::Ready(Ok(Some(previous)));
                    }
                }
                None => self.judge()?,
            }
        }
        Poll::Ready(Ok(self.held.take()))
    }

    /// The next decoded, non-empty data; `None` at the end of a complete body.
    fn poll_data(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Bytes>, PayloadError>> {
        loop {
            if let Some(decoder) = &mut self.decoder {
                match decoder.next_event(&mut self.input)? {
                    Some(Event::Data(data)) => return Poll::Ready(Ok(Some(data))),
                    Some(Event::Trailers(trailers)) => {
                        self.trailers = trailers;
                        continue;
                    }
                    Some(Event::ChunkVerified | Event::End) => continue,
                    None => {}
                }
            }
            let frame = ready!(Pin::new(&mut self.source).poll_frame(context));
            let Some(frame) = frame.transpose().map_err(PayloadError::Source)? else {
                let complete = self.decoder.as_ref().is_none_or(Decoder::is_finished);
                return Poll::Ready(if complete { Ok(None) } else { Err(ChunkError::Truncated.into()) });
            };
            // HTTP's own trailers are not signed by anyone: they go no further.
            let Ok(data) = frame.into_data() else { continue };
            if self.decoder.is_some() {
                self.input = data;
            } else if !data.is_empty() {
                return Poll::Ready(Ok(Some(data)));
            }
        }
    }

    fn judge(&mut self) -> Result<(), PayloadError> {
        if self.received != self.length {
            return Err(PayloadError::Incomplete { expected: self.length, received: self.received });
        }
        let checksum = self.checks.finish(&self.trailers)?;
        self.progress = Progress::Done;
        self.trailing = checksum.filter(|_| self.checks.asserted.trailer.is_some());
        // Set once: there is one verdict.
        let _ = self.verdict.0.set(Verified { length: self.length, checksum });
        Ok(())
    }
}

impl HttpBody for VerifiedBody {
    type Data = Bytes;
    type Error = PayloadError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, PayloadError>>> {
        let this = self.get_mut();
        Poll::Ready(match ready!(this.poll_held(context)) {
            Ok(None) => this.trailing.take().map(|checksum| Ok(Frame::trailers(checksum.to_headers()))),
            Ok(Some(data)) => {
                this.released += data.len() as u64;
                Some(Ok(Frame::data(data)))
            }
            Err(error) => {
                this.progress = Progress::Done;
                this.held = None;
                this.trailing = None;
                Some(Err(error))
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.progress == Progress::Done && self.held.is_none() && self.trailing.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.length - self.released)
    }
}

/// The running computations over the payload.
#[derive(Debug)]
struct Checks {
    asserted: Asserted,
    checksum: Option<Hasher>,
    md5: Option<(Md5Hasher, [u8; 16])>,
    sha256: Option<(Hasher, [u8; 32])>,
}

impl Checks {
    fn new(asserted: &Asserted, payload: PayloadMode) -> Checks {
        Checks {
            asserted: *asserted,
            checksum: asserted.algorithm().map(Hasher::new),
            md5: asserted.content_md5.map(|expected| (Md5Hasher::default(), expected)),
            sha256: match payload {
                PayloadMode::Sha256(expected) => Some((Hasher::new(Algorithm::Sha256), expected)),
                _ => None,
            },
        }
    }

    fn update(&mut self, data: &[u8]) {
        if let Some(hasher) = &mut self.checksum {
            hasher.update(data);
        }
        if let Some((hasher, _)) = &mut self.md5 {
            hasher.update(data);
        }
        if let Some((hasher, _)) = &mut self.sha256 {
            hasher.update(data);
        }
    }

    /// Compares everything; gives back the checksum that the client sent.
    fn finish(&mut self, trailers: &[Trailer]) -> Result<Option<Checksum>, PayloadError> {
        if let Some((hasher, expected)) = self.sha256.take()
            && !bool::from(hasher.finish().as_bytes().ct_eq(&expected))
        {
            return Err(ChecksumError::PayloadHashMismatch.into());
        }
        if let Some((hasher, expected)) = self.md5.take()
            && !bool::from(hasher.finish().ct_eq(&expected))
        {
            return Err(ChecksumError::Md5Mismatch.into());
        }
        let sent = self.sent_checksum(trailers)?;
        if let (Some(hasher), Some(sent)) = (self.checksum.take(), sent)
            && hasher.finish() != sent
        {
            return Err(ChecksumError::Mismatch(sent.algorithm()).into());
        }
        Ok(sent)
    }

    /// The checksum from the header, or from the trailer that was announced, which then must be there alone.
    fn sent_checksum(&self, trailers: &[Trailer]) -> Result<Option<Checksum>, PayloadError> {
        match (self.asserted.trailer, trailers) {
            (None, []) => Ok(self.asserted.checksum),
            (Some(algorithm), [trailer]) if Algorithm::of_header(&trailer.name) == Some(algorithm) => {
                Ok(Some(Checksum::parse(algorithm, trailer.value.as_bytes())?))
            }
            (Some(_), []) => Err(PayloadError::TrailerMissing),
            _ => Err(PayloadError::TrailerNotAnnounced),
        }
    }
}

/// Turns a client's headers into those of the decoded body: takes away what speaks of the framing, and states
/// the length. Nothing else changes for a body that was not framed. What `x-amz-trailer` announces
/// stays announced: [`VerifiedBody`] ends with it as a trailer frame, see also [`Verdict::settle_trailer`].
pub fn strip_framing(headers: &mut HeaderMap, payload: PayloadMode, decoded_length: u64) {
    headers.insert(CONTENT_LENGTH, HeaderValue::from(decoded_length));
    headers.remove(DECODED_LENGTH);
    if !payload.is_streaming() {
        return;
    }
    headers.remove(TRANSFER_ENCODING);
    let encodings: Vec<HeaderValue> = headers.get_all(CONTENT_ENCODING).iter().cloned().collect();
    headers.remove(CONTENT_ENCODING);
    for encoding in encodings {
        let is_framing = |token: &&[u8]| token.trim_ascii().eq_ignore_ascii_case(b"aws-chunked");
        let tokens: Vec<&[u8]> = encoding.as_bytes().split(|&byte| byte == b',').collect();
        if !tokens.iter().any(is_framing) {
            headers.append(CONTENT_ENCODING, encoding);
            continue;
        }
        let rest: Vec<&[u8]> = tokens
            .into_iter()
            .filter(|token| !is_framing(token))
            .map(<[u8]>::trim_ascii)
            .filter(|token| !token.is_empty())
            .collect();
        // Pieces of a header value make a header value.
        if !rest.is_empty()
            && let Ok(value) = HeaderValue::from_bytes(&rest.join(&b","[..]))
        {
            headers.append(CONTENT_ENCODING, value);
        }
    }
}

fn length_header(headers: &HeaderMap, name: &HeaderName) -> Result<Option<u64>, PayloadError> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() || !value.as_bytes().iter().all(u8::is_ascii_digit) {
        return Err(PayloadError::MalformedLength);
    }
    let length = value.to_str().ok().and_then(|text| text.parse().ok());
    length.map(Some).ok_or(PayloadError::MalformedLength)
}

/// Why a body was refused.
#[derive(Debug, thiserror::Error)]
pub enum PayloadError {
    #[error("the request needs a Content-Length, or x-amz-decoded-content-length if its body is framed")]
    MissingLength,
    #[error("the length of the body is not stated as one decimal number")]
    MalformedLength,
    #[error("x-amz-decoded-content-length is not the length of this body, which has no framing")]
    LengthsDiffer,
    #[error("the body is longer than the {max_bytes} bytes that one request may carry")]
    TooLarge { max_bytes: u64 },
    #[error("the body has more than the {expected} bytes that were announced")]
    TooLong { expected: u64 },
    #[error("the body has {received} bytes; {expected} were announced")]
    Incomplete { expected: u64, received: u64 },
    #[error("x-amz-trailer needs an x-amz-content-sha256 that announces a trailer")]
    TrailerWithoutFraming,
    #[error("the trailer that x-amz-trailer announced is missing")]
    TrailerMissing,
    #[error("the body has a trailer that x-amz-trailer does not announce")]
    TrailerNotAnnounced,
    #[error(transparent)]
    Framing(#[from] ChunkError),
    #[error(transparent)]
    Checksum(#[from] ChecksumError),
    #[error("the body could not be read to its end: {0}")]
    Source(#[source] BoxError),
}

impl From<PayloadError> for S3Error {
    fn from(error: PayloadError) -> S3Error {
        let code = match error {
            PayloadError::Framing(error) => return error.into(),
            PayloadError::Checksum(error) => return error.into(),
            // What the connection said is for the log, not for the client.
            PayloadError::Source(_) => {
                return S3Error::new(Code::IncompleteBody, "the body could not be read to its end");
            }
            PayloadError::MissingLength => Code::MissingContentLength,
            PayloadError::MalformedLength | PayloadError::LengthsDiffer => Code::InvalidArgument,
            PayloadError::TooLarge { .. } => Code::EntityTooLarge,
            PayloadError::Incomplete { .. } => Code::IncompleteBody,
            PayloadError::TooLong { .. } | PayloadError::TrailerWithoutFraming => Code::InvalidRequest,
            PayloadError::TrailerMissing | PayloadError::TrailerNotAnnounced => Code::MalformedTrailerError,
        };
        S3Error::new(code, error.to_string())
    }
}

#[cfg(test)]
mod tests;
