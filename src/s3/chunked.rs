//! The `aws-chunked` framing, decoded: bytes in, events out, nothing copied but header lines.
//!
//! Sans I/O. Data of a signed chunk comes out as it arrives, before the chunk's signature can be checked:
//! whoever reads the events holds the latest data back until [`Event::End`], so that nothing unverified is ever
//! whole ([`super::payload`] does that). The decoder itself keeps at most one line ([`MAX_LINE`]) and the
//! trailers ([`MAX_TRAILER_BYTES`]).
//!
//! Stricter than HTTP's own chunking on purpose: CRLF only, no extension but `chunk-signature`, no white space,
//! and the data must be exactly as long as `x-amz-decoded-content-length` said. One exception: a trailer may end
//! with LF CRLF, because MinIO's client ends it so, and S3 takes it.
//!
//! Sources: S3 API reference, "Transferring Payload in Multiple Chunks" and "Including Trailing Headers".

use aws_lc_rs::digest;
use bytes::{Buf, Bytes};
use subtle::ConstantTimeEq;

use super::error::{Code, S3Error};
use super::sigv4::ChunkSeed;

/// Longest line before the data of a chunk, in bytes.
pub const MAX_LINE: usize = 1024;
/// Largest chunk: as large as an object of one request can be.
pub const MAX_CHUNK: u64 = 5 << 30;
/// Most bytes of all trailers together.
pub const MAX_TRAILER_BYTES: usize = 8 * 1024;
/// Most trailers, the signature included.
pub const MAX_TRAILERS: usize = 16;

const TRAILER_SIGNATURE: &str = "x-amz-trailer-signature";

/// What the decoder found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Payload, not empty. Of a signed chunk: not verified yet.
    Data(Bytes),
    /// The signature of the chunk that the last data belonged to agrees.
    ChunkVerified,
    /// The trailers, in order of arrival, names in lower case, without the signature; it agrees if there had to be one.
    Trailers(Vec<Trailer>),
    /// All of it was there and agreed. Whatever follows is an error.
    End,
}

/// One trailing header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trailer {
    pub name: String,
    pub value: String,
}

/// Which of the three framings a body has.
#[derive(Debug, Clone)]
pub enum Framing {
    /// `STREAMING-AWS4-HMAC-SHA256-PAYLOAD`
    Signed(ChunkSeed),
    /// `STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER`
    SignedTrailer(ChunkSeed),
    /// `STREAMING-UNSIGNED-PAYLOAD-TRAILER`
    UnsignedTrailer,
}

/// Decodes one body.
#[derive(Debug)]
pub struct Decoder {
    chain: Option<Chain>,
    has_trailers: bool,
    /// Bytes of payload that chunk headers may still announce.
    unannounced: u64,
    state: State,
    /// A line that is not complete yet.
    line: Vec<u8>,
    trailers: Vec<Trailer>,
    trailer_signature: Option<[u8; 32]>,
    trailer_bytes: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    ChunkLine,
    Data {
        remaining: u64,
    },
    ChunkDone,
    DataCr,
    DataLf,
    LastChunkDone,
    TrailerLine,
    /// A trailer ended with a bare LF: CRLF has to follow.
    TrailerCr,
    TrailerLf,
    TrailersDone,
    LastLine,
    Finish,
    Finished,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    CrLf,
    Lf,
}

/// The chain of chunk signatures.
struct Chain {
    seed: ChunkSeed,
    previous: [u8; 32],
    /// What the current chunk's header line says.
    stated: [u8; 32],
    hash: digest::Context,
}

impl Decoder {
    /// `decoded_length` is `x-amz-decoded-content-length`, in bytes.
    pub fn new(framing: Framing, decoded_length: u64) -> Decoder {
        let (chain, has_trailers) = match framing {
            Framing::Signed(seed) => (Some(Chain::new(seed)), false),
            Framing::SignedTrailer(seed) => (Some(Chain::new(seed)), true),
            Framing::UnsignedTrailer => (None, true),
        };
        Decoder {
            chain,
            has_trailers,
            unannounced: decoded_length,
            state: State::ChunkLine,
            line: Vec::new(),
            trailers: Vec::new(),
            trailer_signature: None,
            trailer_bytes: 0,
        }
    }

    /// Takes from the front of `input` what makes the next event. `None`: all of it was taken and more is needed.
    pub fn next_event(&mut self, input: &mut Bytes) -> Result<Option<Event>, ChunkError> {
        loop {
            match self.state {
                State::ChunkLine => {
                    let Some(line) = self.take_line(input)? else { return Ok(None) };
                    self.start_chunk(&line)?;
                }
                State::Data { remaining } => {
                    if input.is_empty() {
                        return Ok(None);
                    }
                    let take = remaining.min(input.len() as u64);
                    let data = input.split_to(usize::try_from(take).unwrap_or(input.len()));
                    if let Some(chain) = &mut self.chain {
                        chain.hash.update(&data);
                    }
                    let remaining = remaining - take;
                    self.state = if remaining > 0 { State::Data { remaining } } else { State::ChunkDone };
                    return Ok(Some(Event::Data(data)));
                }
                State::ChunkDone => {
                    self.state = State::DataCr;
                    if let Some(chain) = &mut self.chain {
                        chain.verify_chunk()?;
                        return Ok(Some(Event::ChunkVerified));
                    }
                }
                State::DataCr => {
                    if !take_byte(input, b'\r')? {
                        return Ok(None);
                    }
                    self.state = State::DataLf;
                }
                State::DataLf => {
                    if !take_byte(input, b'\n')? {
                        return Ok(None);
                    }
                    self.state = State::ChunkLine;
                }
                State::LastChunkDone => {
                    self.state = if self.has_trailers { State::TrailerLine } else { State::LastLine };
                    if let Some(chain) = &mut self.chain {
                        chain.verify_chunk()?;
                        return Ok(Some(Event::ChunkVerified));
                    }
                }
                State::TrailerLine => {
                    let Some((line, ending)) = self.take_any_line(input)? else { return Ok(None) };
                    match ending {
                        Ending::CrLf if line.is_empty() => {
                            self.verify_trailers()?;
                            self.state = State::TrailersDone;
                        }
                        Ending::CrLf => self.take_trailer(&line)?,
                        Ending::Lf => {
                            self.take_trailer(&line)?;
                            self.state = State::TrailerCr;
                        }
                    }
                }
                State::TrailerCr => {
                    if !take_byte(input, b'\r')? {
                        return Ok(None);
                    }
                    self.state = State::TrailerLf;
                }
                State::TrailerLf => {
                    if !take_byte(input, b'\n')? {
                        return Ok(None);
                    }
                    self.state = State::TrailerLine;
                }
                State::TrailersDone => {
                    self.state = State::Finish;
                    return Ok(Some(Event::Trailers(std::mem::take(&mut self.trailers))));
                }
                State::LastLine => {
                    let Some(line) = self.take_line(input)? else { return Ok(None) };
                    if !line.is_empty() {
                        return Err(ChunkError::UnexpectedTrailer);
                    }
                    self.state = State::Finish;
                }
                State::Finish => {
                    self.state = State::Finished;
                    return Ok(Some(Event::End));
                }
                State::Finished if input.is_empty() => return Ok(None),
                State::Finished => return Err(ChunkError::DataAfterEnd),
            }
        }
    }

    /// Whether the input may end here.
    pub fn is_finished(&self) -> bool {
        self.state == State::Finished
    }

    /// The next line without its CRLF, once it is complete.
    fn take_line(&mut self, input: &mut Bytes) -> Result<Option<Bytes>, ChunkError> {
        match self.take_any_line(input)? {
            Some((_, Ending::Lf)) => Err(ChunkError::LineEnd),
            Some((line, Ending::CrLf)) => Ok(Some(line)),
            None => Ok(None),
        }
    }

    fn take_any_line(&mut self, input: &mut Bytes) -> Result<Option<(Bytes, Ending)>, ChunkError> {
        let end = memchr::memchr(b'\n', input);
        let piece = end.map_or(input.len(), |end| end + 1);
        if self.line.len() + piece > MAX_LINE {
            return Err(ChunkError::LineTooLong);
        }
        let mut line = match end {
            None => {
                self.line.extend_from_slice(input);
                input.clear();
                return Ok(None);
            }
            Some(_) if self.line.is_empty() => input.split_to(piece),
            Some(_) => {
                self.line.extend_from_slice(&input.split_to(piece));
                Bytes::from(std::mem::take(&mut self.line))
            }
        };
        let (ending, length) = if line.ends_with(b"\r\n") { (Ending::CrLf, 2) } else { (Ending::Lf, 1) };
        line.truncate(line.len() - length);
        if memchr::memchr(b'\r', &line).is_some() {
            return Err(ChunkError::LineEnd);
        }
        Ok(Some((line, ending)))
    }

    /// `<hex size>` or `<hex size>;chunk-signature=<64 hex digits>`.
    fn start_chunk(&mut self, line: &[u8]) -> Result<(), ChunkError> {
        let semicolon = memchr::memchr(b';', line);
        let (size, extension) = match semicolon.and_then(|at| line.split_at_checked(at)) {
            Some((size, extension)) => (size, Some(extension)),
            None => (line, None),
        };
        let size = parse_size(size)?;
        match (&mut self.chain, extension) {
            (None, None) => {}
            (None, Some(_)) => return Err(ChunkError::Extension),
            (Some(_), None) => return Err(ChunkError::SignatureMissing),
            (Some(chain), Some(extension)) => {
                let signature = extension.strip_prefix(b";chunk-signature=").ok_or(ChunkError::Extension)?;
                chain.stated = parse_signature(signature)?;
                chain.hash = digest::Context::new(&digest::SHA256);
            }
        }
        self.unannounced = self.unannounced.checked_sub(size).ok_or(ChunkError::TooMuchData)?;
        self.state = match size {
            0 if self.unannounced > 0 => return Err(ChunkError::TooLittleData),
            0 => State::LastChunkDone,
            remaining => State::Data { remaining },
        };
        Ok(())
    }

    /// `name:value`
    fn take_trailer(&mut self, line: &[u8]) -> Result<(), ChunkError> {
        self.trailer_bytes += line.len() + 2;
        if self.trailer_bytes > MAX_TRAILER_BYTES || self.trailers.len() >= MAX_TRAILERS {
            return Err(ChunkError::TooManyTrailers);
        }
        if self.trailer_signature.is_some() {
            return Err(ChunkError::TrailerAfterSignature);
        }
        let line = std::str::from_utf8(line).map_err(|_| ChunkError::TrailerMalformed)?;
        let (name, value) = line.split_once(':').ok_or(ChunkError::TrailerMalformed)?;
        let token = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        if name.is_empty() || !name.bytes().all(token) || value.bytes().any(|byte| byte.is_ascii_control()) {
            return Err(ChunkError::TrailerMalformed);
        }
        let (name, value) = (name.to_ascii_lowercase(), value.trim_matches(' ').to_owned());
        if name == TRAILER_SIGNATURE {
            if self.chain.is_none() {
                return Err(ChunkError::TrailerMalformed);
            }
            self.trailer_signature = Some(parse_signature(value.as_bytes())?);
        } else if self.trailers.iter().any(|trailer| trailer.name == name) {
            return Err(ChunkError::TrailerMalformed);
        } else {
            self.trailers.push(Trailer { name, value });
        }
        Ok(())
    }

    fn verify_trailers(&mut self) -> Result<(), ChunkError> {
        let Some(chain) = &self.chain else { return Ok(()) };
        let stated = self.trailer_signature.ok_or(ChunkError::TrailerSignatureMissing)?;
        let mut hash = digest::Context::new(&digest::SHA256);
        // Signers sort them; with one checksum in them there is seldom an order at all.
        let mut sorted: Vec<&Trailer> = self.trailers.iter().collect();
        sorted.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        for trailer in sorted {
            for piece in [&trailer.name, ":", &trailer.value, "\n"] {
                hash.update(piece.as_bytes());
            }
        }
        let expected = chain.seed.trailer_signature(&chain.previous, &finish(hash));
        if bool::from(expected.ct_eq(&stated)) { Ok(()) } else { Err(ChunkError::TrailerSignature) }
    }
}

impl Chain {
    fn new(seed: ChunkSeed) -> Chain {
        let previous = seed.signature();
        Chain { seed, previous, stated: [0; 32], hash: digest::Context::new(&digest::SHA256) }
    }

    fn verify_chunk(&mut self) -> Result<(), ChunkError> {
        let hash = std::mem::replace(&mut self.hash, digest::Context::new(&digest::SHA256));
        let expected = self.seed.chunk_signature(&self.previous, &finish(hash));
        if !bool::from(expected.ct_eq(&self.stated)) {
            return Err(ChunkError::Signature);
        }
        self.previous = expected;
        Ok(())
    }
}

impl std::fmt::Debug for Chain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Chain")
    }
}

fn finish(hash: digest::Context) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(hash.finish().as_ref());
    bytes
}

fn take_byte(input: &mut Bytes, expected: u8) -> Result<bool, ChunkError> {
    match input.first() {
        None => Ok(false),
        Some(&byte) if byte == expected => {
            input.advance(1);
            Ok(true)
        }
        Some(_) => Err(ChunkError::LineEnd),
    }
}

fn parse_size(digits: &[u8]) -> Result<u64, ChunkError> {
    if digits.is_empty() || digits.len() > 16 {
        return Err(ChunkError::Size);
    }
    let size = digits.iter().try_fold(0u64, |size, &digit| {
        let digit = char::from(digit).to_digit(16).ok_or(ChunkError::Size)?;
        Ok(size << 4 | u64::from(digit))
    })?;
    if size > MAX_CHUNK { Err(ChunkError::Size) } else { Ok(size) }
}

fn parse_signature(digits: &[u8]) -> Result<[u8; 32], ChunkError> {
    let mut signature = [0; 32];
    hex::decode_to_slice(digits, &mut signature).map_err(|_| ChunkError::SignatureMalformed)?;
    Ok(signature)
}

/// What is wrong with a framed body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChunkError {
    #[error("a chunk's header line is longer than {MAX_LINE} bytes")]
    LineTooLong,
    #[error("a line of the aws-chunked framing does not end with CRLF")]
    LineEnd,
    #[error("a chunk's size must be 1 to 16 hex digits, and at most {MAX_CHUNK} bytes")]
    Size,
    #[error("a chunk has an extension other than chunk-signature, or one where none belongs")]
    Extension,
    #[error("a chunk has no chunk-signature")]
    SignatureMissing,
    #[error("a signature in the body is not 64 hex digits")]
    SignatureMalformed,
    #[error("a chunk's signature does not match its data")]
    Signature,
    #[error("the chunks hold more data than x-amz-decoded-content-length says")]
    TooMuchData,
    #[error("the chunks hold less data than x-amz-decoded-content-length says")]
    TooLittleData,
    #[error("there is a trailer where x-amz-content-sha256 announced none")]
    UnexpectedTrailer,
    #[error("a trailer must be one line `name:value`, and each name may come once")]
    TrailerMalformed,
    #[error("the trailers are more than {MAX_TRAILERS}, or longer than {MAX_TRAILER_BYTES} bytes")]
    TooManyTrailers,
    #[error("a trailer follows the trailers' signature")]
    TrailerAfterSignature,
    #[error("the trailers have no x-amz-trailer-signature")]
    TrailerSignatureMissing,
    #[error("the signature of the trailers does not match them")]
    TrailerSignature,
    #[error("the body ended in the middle of the aws-chunked framing")]
    Truncated,
    #[error("data follows the end of the aws-chunked framing")]
    DataAfterEnd,
}

impl From<ChunkError> for S3Error {
    fn from(error: ChunkError) -> S3Error {
        let code = match error {
            ChunkError::Signature | ChunkError::TrailerSignature => Code::SignatureDoesNotMatch,
            ChunkError::SignatureMissing | ChunkError::TrailerSignatureMissing => Code::AccessDenied,
            ChunkError::Truncated | ChunkError::TooLittleData => Code::IncompleteBody,
            ChunkError::UnexpectedTrailer
            | ChunkError::TrailerMalformed
            | ChunkError::TooManyTrailers
            | ChunkError::TrailerAfterSignature => Code::MalformedTrailerError,
            ChunkError::LineTooLong
            | ChunkError::LineEnd
            | ChunkError::Size
            | ChunkError::Extension
            | ChunkError::SignatureMalformed
            | ChunkError::TooMuchData
            | ChunkError::DataAfterEnd => Code::InvalidRequest,
        };
        S3Error::new(code, error.to_string())
    }
}

#[cfg(test)]
pub(crate) mod tests;
