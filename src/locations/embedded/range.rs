//! The `Range` header: one range of bytes, as S3 takes it.

use http::{HeaderValue, header};

use crate::s3::error::{Code, S3Error};

/// Which bytes of an object are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stretch {
    Whole,
    /// From the first to behind the last; never empty.
    Part(u64, u64),
}

impl Stretch {
    pub fn bounds(self, size: u64) -> (u64, u64) {
        match self {
            Stretch::Whole => (0, size),
            Stretch::Part(from, to) => (from, to),
        }
    }
}

/// Reads a range for an object of `size` bytes. What is not one well-formed range of bytes is ignored (RFC 9110,
/// section 14.2), as S3 does with several ranges; one that covers nothing is `InvalidRange`.
pub fn parse(header: Option<&str>, size: u64) -> Result<Stretch, S3Error> {
    let Some((first, last)) = header.and_then(split) else { return Ok(Stretch::Whole) };
    let (from, to) = match (first, last) {
        (Some(first), Some(last)) if first > last => return Ok(Stretch::Whole),
        (Some(first), Some(last)) => (first, last.saturating_add(1).min(size)),
        (Some(first), None) => (first, size),
        (None, Some(suffix)) => (size.saturating_sub(suffix), size),
        (None, None) => return Ok(Stretch::Whole),
    };
    if from < to { Ok(Stretch::Part(from, to)) } else { Err(unsatisfiable(header.unwrap_or_default(), size)) }
}

/// `bytes=a-b`, `bytes=a-`, `bytes=-n`.
fn split(header: &str) -> Option<(Option<u64>, Option<u64>)> {
    let (unit, range) = header.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    let (first, last) = range.trim().split_once('-')?;
    Some((number(first)?, number(last)?))
}

/// Digits only; more of them than fit mean "to the end". The outer `None` is not a number.
fn number(text: &str) -> Option<Option<u64>> {
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some((!text.is_empty()).then(|| text.parse().unwrap_or(u64::MAX)))
}

fn unsatisfiable(header: &str, size: u64) -> S3Error {
    let mut error = S3Error::new(Code::InvalidRange, "The requested range is not satisfiable")
        .detail("RangeRequested", header)
        .detail("ActualObjectSize", size.to_string());
    if let Ok(value) = HeaderValue::from_str(&format!("bytes */{size}")) {
        error = error.header(header::CONTENT_RANGE, value);
    }
    error
}
