//! The canonical request: one byte string for all the ways to write the same request.
//!
//! S3's form: the path is percent-encoded once and never normalised (`//` and `..` are legal in keys).

use std::borrow::Cow;
use std::ops::Range;

use aws_lc_rs::digest;
use http::HeaderMap;

use super::auth::SignedHeaders;
use super::{Scheme, SigError};

/// All of the canonical request that comes after the path.
pub(super) struct Tail<'a> {
    pub(super) query: &'a str,
    pub(super) scheme: Scheme,
    pub(super) headers: &'a HeaderMap,
    pub(super) host: &'a [u8],
    pub(super) signed_headers: &'a SignedHeaders<'a>,
    pub(super) payload: &'a [u8],
}

/// Writes the lines after the path.
pub(super) fn tail(from: &Tail<'_>) -> Result<Vec<u8>, SigError> {
    let mut out = Vec::with_capacity(1024);
    push_query(&mut out, from.query, from.scheme);
    out.push(b'\n');
    for name in from.signed_headers.names() {
        out.extend_from_slice(name.as_bytes());
        out.push(b':');
        if *name == "host" {
            push_folded(&mut out, from.host);
        } else {
            let mut values = from.headers.get_all(*name).iter();
            push_folded(&mut out, values.next().ok_or(SigError::SignedHeaderAbsent)?.as_bytes());
            for value in values {
                out.push(b',');
                push_folded(&mut out, value.as_bytes());
            }
        }
        out.push(b'\n');
    }
    out.push(b'\n');
    out.extend_from_slice(from.signed_headers.as_str().as_bytes());
    out.push(b'\n');
    out.extend_from_slice(from.payload);
    Ok(out)
}

/// SHA-256 of the canonical request with this path.
pub(super) fn request_hash(method: &str, path: &[u8], tail: &[u8]) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    for piece in [method.as_bytes(), b"\n", path, b"\n", tail] {
        context.update(piece);
    }
    let mut hash = [0; 32];
    hash.copy_from_slice(context.finish().as_ref());
    hash
}

/// A path in S3's own encoding: decoded once, encoded once. Borrowed where it already is.
pub(crate) fn strict_path(path: &[u8]) -> Cow<'_, [u8]> {
    if path.is_empty() {
        return Cow::Borrowed(b"/");
    }
    if path.iter().all(|&byte| is_unreserved(byte) || byte == b'/') {
        return Cow::Borrowed(path);
    }
    let mut out = Vec::with_capacity(path.len() + 16);
    push_recoded(&mut out, path, |byte| is_unreserved(byte) || byte == b'/');
    if out == path { Cow::Borrowed(path) } else { Cow::Owned(out) }
}

/// Parameters in order of encoded name, then encoded value; the signature itself is not among them.
fn push_query(out: &mut Vec<u8>, query: &str, scheme: Scheme) {
    if query.is_empty() {
        return;
    }
    // All in one buffer; the order is then sorted by ranges of it.
    let mut text = Vec::with_capacity(query.len() * 2);
    let mut pairs: Vec<(Range<usize>, Range<usize>)> = Vec::new();
    for (name, value) in parameters(query) {
        let start = text.len();
        push_query_text(&mut text, name);
        let middle = text.len();
        if scheme == Scheme::Presigned && text.get(start..) == Some(b"X-Amz-Signature") {
            text.truncate(start);
            continue;
        }
        push_query_text(&mut text, value);
        pairs.push((start..middle, middle..text.len()));
    }
    let slice = |range: &Range<usize>| text.get(range.clone()).unwrap_or_default();
    pairs.sort_unstable_by(|a, b| (slice(&a.0), slice(&a.1)).cmp(&(slice(&b.0), slice(&b.1))));
    for (n, (name, value)) in pairs.iter().enumerate() {
        if n > 0 {
            out.push(b'&');
        }
        out.extend_from_slice(slice(name));
        out.push(b'=');
        out.extend_from_slice(slice(value));
    }
}

/// The raw `name=value` pairs of a query, in order; a name alone has an empty value.
pub(super) fn parameters(query: &str) -> impl Iterator<Item = (&str, &str)> {
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

/// Decodes a parameter's name or value; `+` is a space there.
pub(super) fn decode_parameter(raw: &str) -> Cow<'_, [u8]> {
    if !raw.bytes().any(|byte| matches!(byte, b'%' | b'+')) {
        return Cow::Borrowed(raw.as_bytes());
    }
    let spaced: Vec<u8> = raw.bytes().map(|byte| if byte == b'+' { b' ' } else { byte }).collect();
    Cow::Owned(percent_encoding::percent_decode(&spaced).collect())
}

fn push_query_text(out: &mut Vec<u8>, raw: &str) {
    if raw.contains('+') {
        push_recoded(out, raw.replace('+', "%20").as_bytes(), is_unreserved);
    } else {
        push_recoded(out, raw.as_bytes(), is_unreserved);
    }
}

/// Decodes `raw` and encodes it again, leaving only `plain` bytes bare, with upper-case digits.
/// A `%` that starts no escape is a percent sign.
fn push_recoded(out: &mut Vec<u8>, raw: &[u8], plain: impl Fn(u8) -> bool) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for byte in percent_encoding::percent_decode(raw) {
        if plain(byte) {
            out.push(byte);
        } else {
            out.extend_from_slice(&[b'%', DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
        }
    }
}

/// Unreserved characters of RFC 3986.
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// A header value without spaces around it, and with one space for each run inside.
fn push_folded(out: &mut Vec<u8>, value: &[u8]) {
    let start = out.len();
    for &byte in value {
        if byte != b' ' || (out.len() > start && out.last() != Some(&b' ')) {
            out.push(byte);
        }
    }
    if out.len() > start && out.last() == Some(&b' ') {
        out.pop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(text: &str) -> String {
        let mut out = Vec::new();
        push_query(&mut out, text, Scheme::Header);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn parameters_are_sorted_by_encoded_name_then_value() {
        assert_eq!(query("b=2&a=2&a=1&acl"), "a=1&a=2&acl=&b=2");
        // `=` sorts before `-` as a separator would not: names are compared alone.
        assert_eq!(query("a-b=1&a=2"), "a=2&a-b=1");
        assert_eq!(query("%61=x%2fy&A=+"), "A=%20&a=x%2Fy");
        assert_eq!(query("a&&=&"), "=&a=");
    }

    #[test]
    fn the_signature_is_left_out_of_a_presigned_query_alone() {
        let mut out = Vec::new();
        push_query(&mut out, "X-Amz-Signature=ff&X-Amz-Date=d", Scheme::Presigned);
        assert_eq!(out, b"X-Amz-Date=d");
        assert_eq!(query("X-Amz-Signature=ff"), "X-Amz-Signature=ff");
    }

    #[test]
    fn a_path_is_encoded_once_and_never_normalised() {
        let strict = |path: &str| String::from_utf8(strict_path(path.as_bytes()).into_owned()).unwrap();
        assert_eq!(strict("/a//../b%20c"), "/a//../b%20c");
        assert_eq!(strict("/a(b)+c%e4"), "/a%28b%29%2Bc%E4");
        assert_eq!(strict("/100%/%zz"), "/100%25/%25zz");
        assert_eq!(strict(""), "/");
    }

    #[test]
    fn header_values_are_trimmed_and_folded() {
        let folded = |value: &[u8]| {
            let mut out = b"a ".to_vec();
            push_folded(&mut out, value);
            String::from_utf8(out.split_off(2)).unwrap()
        };
        assert_eq!(folded(b"  a   b  c "), "a b c");
        assert_eq!(folded(b"   "), "");
        assert_eq!(folded(b"a\tb"), "a\tb");
    }
}
