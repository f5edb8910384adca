//! AWS Signature Version 4 in the form of S3, for requests that go to a location.
//!
//! The path is signed as it stands on the wire: encoded once, never normalised (`..` and `//` are part of keys).
//! It must be in the canonical encoding already, see [`push_encoded`]. Verification of what clients send is not here.
//! Source: Amazon S3 API reference, "Authenticating Requests (AWS Signature Version 4)".

use std::fmt::Write as _;
use std::time::SystemTime;

use arc_swap::ArcSwapOption;
use aws_credential_types::Credentials;
use aws_lc_rs::{digest, hmac};
use http::header::{AUTHORIZATION, HeaderName, HeaderValue};
use http::request::Parts;
use percent_encoding::percent_decode;

use crate::locations::PayloadHash;

/// SHA-256 of nothing.
pub(super) const EMPTY_SHA256: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const UNSIGNED_PAYLOAD: &str = "UNSIGNED-PAYLOAD";
const AMZ_DATE: HeaderName = HeaderName::from_static("x-amz-date");
const AMZ_CONTENT_SHA256: HeaderName = HeaderName::from_static("x-amz-content-sha256");
const AMZ_SECURITY_TOKEN: HeaderName = HeaderName::from_static("x-amz-security-token");

/// Signs for one region; keeps the signing key of the day.
pub(super) struct Signer {
    region: String,
    key: ArcSwapOption<DayKey>,
}

/// The derived key of one day, region and secret.
struct DayKey {
    day: String,
    credentials: Credentials,
    key: hmac::Key,
}

/// Why a request cannot be signed. The text names no value: each of them may be a secret.
#[derive(Debug, thiserror::Error)]
pub(super) enum SigningError {
    #[error("the access key id or session token has characters that a header cannot carry")]
    CredentialCharacters,
    #[error("the payload hash has characters that a header cannot carry")]
    PayloadHash,
    #[error("the clock is outside the years that a signature can name")]
    Clock,
}

impl Signer {
    pub(super) fn new(region: &str) -> Self {
        Signer { region: region.to_owned(), key: ArcSwapOption::empty() }
    }

    /// Replaces whatever signature the request has. `host` must be among its headers.
    pub(super) fn sign(
        &self,
        parts: &mut Parts,
        credentials: &Credentials,
        time: SystemTime,
        payload: &PayloadHash,
    ) -> Result<(), SigningError> {
        let stamp = timestamp(time)?;
        let day = stamp.get(..8).ok_or(SigningError::Clock)?;
        let payload = match payload {
            PayloadHash::Sha256(hex) => hex,
            PayloadHash::Unsigned => UNSIGNED_PAYLOAD,
        };

        parts.headers.remove(AUTHORIZATION);
        parts.headers.remove(AMZ_SECURITY_TOKEN);
        parts.headers.insert(AMZ_DATE, HeaderValue::from_str(&stamp).map_err(|_| SigningError::Clock)?);
        parts.headers.insert(
            AMZ_CONTENT_SHA256,
            HeaderValue::from_str(payload).map_err(|_| SigningError::PayloadHash)?,
        );
        if let Some(token) = credentials.session_token() {
            parts.headers.insert(AMZ_SECURITY_TOKEN, secret_value(token)?);
        }

        let mut signed: Vec<&HeaderName> = parts.headers.keys().filter(|name| is_signed(name)).collect();
        signed.sort_unstable_by_key(|name| name.as_str());
        let mut signed_names = String::with_capacity(256);
        for (n, name) in signed.iter().enumerate() {
            if n > 0 {
                signed_names.push(';');
            }
            signed_names.push_str(name.as_str());
        }

        let request = canonical_request(parts, &signed, &signed_names, payload);
        let hash = digest::digest(&digest::SHA256, &request);
        let scope = format!("{day}/{}/s3/aws4_request", self.region);
        let to_sign = format!("AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{}", hex::encode(hash.as_ref()));
        let signature = self.with_key(day, credentials, |key| hmac::sign(key, to_sign.as_bytes()));

        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={signed_names}, Signature={}",
            credentials.access_key_id(),
            hex::encode(signature.as_ref())
        );
        parts.headers.insert(AUTHORIZATION, secret_value(&authorization)?);
        Ok(())
    }

    /// Runs `sign` with the key of the day: four HMACs saved for all requests but the first.
    fn with_key(
        &self,
        day: &str,
        credentials: &Credentials,
        sign: impl FnOnce(&hmac::Key) -> hmac::Tag,
    ) -> hmac::Tag {
        if let Some(cached) = &*self.key.load()
            && cached.day == day
            && cached.credentials == *credentials
        {
            return sign(&cached.key);
        }
        let key = signing_key(credentials.secret_access_key(), day, &self.region);
        let tag = sign(&key);
        let fresh = DayKey { day: day.to_owned(), credentials: credentials.clone(), key };
        self.key.store(Some(fresh.into()));
        tag
    }
}

/// `20260822T101500Z`.
fn timestamp(time: SystemTime) -> Result<String, SigningError> {
    let time = jiff::Timestamp::try_from(time).map_err(|_| SigningError::Clock)?;
    let at = jiff::tz::Offset::UTC.to_datetime(time);
    if !(1970..=9999).contains(&at.year()) {
        return Err(SigningError::Clock);
    }
    Ok(format!(
        "{:04}{:02}{:02}T{:02}{:02}{:02}Z",
        at.year(),
        at.month(),
        at.day(),
        at.hour(),
        at.minute(),
        at.second()
    ))
}

fn signing_key(secret: &str, day: &str, region: &str) -> hmac::Key {
    let first = hmac::Key::new(hmac::HMAC_SHA256, format!("AWS4{secret}").as_bytes());
    [day, region, "s3", "aws4_request"].into_iter().fold(first, |key, part| {
        hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&key, part.as_bytes()).as_ref())
    })
}

fn secret_value(text: &str) -> Result<HeaderValue, SigningError> {
    let mut value = HeaderValue::from_str(text).map_err(|_| SigningError::CredentialCharacters)?;
    value.set_sensitive(true);
    Ok(value)
}

/// `host` and `x-amz-*` must be signed. The others change what is stored or returned, so they had better be;
/// what a proxy on the way may rewrite (`accept-encoding`, `user-agent`, `via`) must not be.
fn is_signed(name: &HeaderName) -> bool {
    let name = name.as_str();
    name.starts_with("x-amz-")
        || matches!(name, "host" | "content-type" | "content-md5" | "content-encoding" | "range")
        || name.starts_with("if-")
}

fn canonical_request(parts: &Parts, signed: &[&HeaderName], signed_names: &str, payload: &str) -> Vec<u8> {
    let mut text = Vec::with_capacity(1024);
    text.extend_from_slice(parts.method.as_str().as_bytes());
    text.push(b'\n');
    text.extend_from_slice(parts.uri.path().as_bytes());
    text.push(b'\n');
    text.extend_from_slice(canonical_query(parts.uri.query().unwrap_or_default()).as_bytes());
    text.push(b'\n');
    for name in signed {
        text.extend_from_slice(name.as_str().as_bytes());
        text.push(b':');
        for (n, value) in parts.headers.get_all(*name).iter().enumerate() {
            if n > 0 {
                text.push(b',');
            }
            push_trimmed(&mut text, value.as_bytes());
        }
        text.push(b'\n');
    }
    text.push(b'\n');
    text.extend_from_slice(signed_names.as_bytes());
    text.push(b'\n');
    text.extend_from_slice(payload.as_bytes());
    text
}

/// Pairs decoded, encoded strictly and sorted by name, then value. A `+` is read as a space, as servers do.
fn canonical_query(query: &str) -> String {
    if query.is_empty() {
        return String::new();
    }
    let encode = |text: &str| {
        let mut encoded = String::with_capacity(text.len() + 8);
        let spaced = text.replace('+', " ");
        percent_decode(spaced.as_bytes()).for_each(|byte| push_encoded(&mut encoded, byte));
        encoded
    };
    let mut pairs: Vec<(String, String)> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (encode(name), encode(value)))
        .collect();
    pairs.sort_unstable();
    let mut text = String::with_capacity(query.len() + 16);
    for (n, (name, value)) in pairs.iter().enumerate() {
        if n > 0 {
            text.push('&');
        }
        text.push_str(name);
        text.push('=');
        text.push_str(value);
    }
    text
}

/// One byte in the encoding that SigV4 calls `UriEncode`: all but the unreserved of RFC 3986, in upper-case hex.
pub(super) fn push_encoded(text: &mut String, byte: u8) {
    match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => text.push(char::from(byte)),
        _ => {
            // Writing to a String cannot fail.
            let _ = write!(text, "%{byte:02X}");
        }
    }
}

/// Without blanks at both ends, and with one space for each run of them.
fn push_trimmed(text: &mut Vec<u8>, value: &[u8]) {
    let words = value.split(|b| matches!(b, b' ' | b'\t')).filter(|word| !word.is_empty());
    for (n, word) in words.enumerate() {
        if n > 0 {
            text.push(b' ');
        }
        text.extend_from_slice(word);
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use aws_sigv4::http_request::{
        PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings,
        UriPathNormalizationMode, sign,
    };
    use aws_sigv4::sign::v4;

    use super::*;

    /// What the SDK's own signer says to a request that carries exactly the headers of ours.
    fn oracle(parts: &Parts, credentials: &Credentials, time: SystemTime, payload: &str) -> String {
        let mut settings = SigningSettings::default();
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        settings.excluded_headers = None;
        let identity = credentials.clone().into();
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region("cn-north-1")
            .name("s3")
            .time(time)
            .settings(settings)
            .build()
            .unwrap()
            .into();
        let headers: Vec<(&str, &str)> = parts
            .headers
            .iter()
            .filter(|(name, _)| is_signed(name) && !name.as_str().starts_with("x-amz-date"))
            .filter(|(name, _)| **name != AMZ_CONTENT_SHA256 && **name != AMZ_SECURITY_TOKEN)
            .map(|(name, value)| (name.as_str(), std::str::from_utf8(value.as_bytes()).unwrap()))
            .collect();
        let body = match payload {
            UNSIGNED_PAYLOAD => SignableBody::UnsignedPayload,
            hash => SignableBody::Precomputed(hash.to_owned()),
        };
        let uri = format!("http://{}{}", parts.headers["host"].to_str().unwrap(), parts.uri);
        let request = SignableRequest::new(parts.method.as_str(), uri, headers.into_iter(), body).unwrap();
        let (instructions, _) = sign(request, &params).unwrap().into_parts();
        let authorization =
            instructions.headers().find(|(name, _)| name.eq_ignore_ascii_case("authorization"));
        authorization.unwrap().1.to_owned()
    }

    fn parts(method: &str, target: &str, headers: &[(&str, &str)]) -> Parts {
        let mut builder = http::Request::builder().method(method).uri(target);
        for (name, value) in headers {
            builder = builder.header(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        builder.body(()).unwrap().into_parts().0
    }

    fn key(token: Option<&str>) -> Credentials {
        Credentials::new("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG", token.map(str::to_owned), None, "test")
    }

    #[test]
    fn the_signature_is_the_one_that_the_sdk_makes() {
        const HOST: (&str, &str) = ("host", "s3.example.com:9000");
        let hash = "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072";
        type Case = (&'static str, &'static str, &'static [(&'static str, &'static str)]);
        let cases: &[Case] = &[
            ("GET", "/bucket/key", &[HOST]),
            ("GET", "/", &[HOST]),
            (
                "PUT",
                "/bucket/a//b/../c%20d%2B%25",
                &[HOST, ("content-type", "text/plain"), ("content-md5", "x==")],
            ),
            ("GET", "/bucket?list-type=2&prefix=a%2Fb&delimiter=%2F&max-keys=7", &[HOST]),
            ("GET", "/bucket/key?versionId=3%2F4&acl&tagging=", &[HOST, ("range", "bytes=0-9")]),
            ("GET", "/bucket?b=2&a=1&b=1&a-b=3&%C3%A9=%E2%82%AC", &[HOST]),
            (
                "PUT",
                "/bucket/%E5%8C%97%E4%BA%AC",
                &[HOST, ("x-amz-meta-city", "北京"), ("x-amz-acl", "  a   b ")],
            ),
            (
                "PUT",
                "/b/k",
                &[HOST, ("x-amz-meta-b", "1"), ("x-amz-meta-a", "2"), ("user-agent", "not signed")],
            ),
            ("PUT", "/b/k", &[HOST, ("if-none-match", "*"), ("content-encoding", "gzip")]),
        ];
        let signer = Signer::new("cn-north-1");
        for (method, target, headers) in cases {
            for (days, token) in [(0, None), (0, Some("to/ken==")), (1, None), (20_000, None)] {
                for payload in [PayloadHash::Unsigned, PayloadHash::Sha256(hash.into())] {
                    let time = UNIX_EPOCH + Duration::from_secs(days * 86_400 + 3_723);
                    let credentials = key(token);
                    let mut ours = parts(method, target, headers);
                    signer.sign(&mut ours, &credentials, time, &payload).unwrap();
                    let text = if payload == PayloadHash::Unsigned { UNSIGNED_PAYLOAD } else { hash };
                    let theirs = oracle(&ours, &credentials, time, text);
                    assert_eq!(ours.headers["authorization"], theirs, "{method} {target} {days} {token:?}");
                }
            }
        }
    }

    #[test]
    fn a_repeated_header_is_signed_as_one_list() {
        let signer = Signer::new("eu-central-1");
        let time = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let sign = |headers: &[(&str, &str)]| {
            let mut parts = parts("PUT", "/b/k", headers);
            signer.sign(&mut parts, &key(None), time, &PayloadHash::Unsigned).unwrap();
            parts.headers["authorization"].clone()
        };
        let twice = sign(&[("host", "h"), ("x-amz-meta-a", "1"), ("x-amz-meta-a", "2")]);
        assert_eq!(twice, sign(&[("host", "h"), ("x-amz-meta-a", "1,2")]));
        assert_ne!(twice, sign(&[("host", "h"), ("x-amz-meta-a", "2,1")]));
    }

    #[test]
    fn an_old_signature_and_token_do_not_survive() {
        let old = [("host", "h"), ("authorization", "theirs"), ("x-amz-security-token", "theirs")];
        let mut parts = parts("GET", "/b/k", &old);
        Signer::new("r").sign(&mut parts, &key(None), UNIX_EPOCH, &PayloadHash::Unsigned).unwrap();
        assert!(!format!("{:?}", parts.headers).contains("theirs"));
        assert!(parts.headers.get("x-amz-security-token").is_none());
        assert!(parts.headers["authorization"].is_sensitive());
    }

    #[test]
    fn changed_credentials_are_used_at_once() {
        let signer = Signer::new("r");
        let mut signatures = Vec::new();
        for secret in ["one", "two", "one"] {
            let mut parts = parts("GET", "/b/k", &[("host", "h")]);
            let credentials = Credentials::new("same-id", secret, None, None, "test");
            signer.sign(&mut parts, &credentials, UNIX_EPOCH, &PayloadHash::Unsigned).unwrap();
            signatures.push(parts.headers["authorization"].clone());
        }
        assert_ne!(signatures[0], signatures[1]);
        assert_eq!(signatures[0], signatures[2]);
    }

    #[test]
    fn a_credential_that_no_header_can_carry_is_refused_without_printing_it() {
        let credentials = Credentials::new("id\nwith-break", "secret", None, None, "test");
        let mut parts = parts("GET", "/b/k", &[("host", "h")]);
        let error = Signer::new("r").sign(&mut parts, &credentials, UNIX_EPOCH, &PayloadHash::Unsigned);
        let error = error.unwrap_err();
        assert!(matches!(error, SigningError::CredentialCharacters));
        assert!(!format!("{error} {error:?}").contains("with-break"));
    }
}
