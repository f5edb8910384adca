//! Whatever carries a signature: what of it is believed, and when. What is about one way to carry it, or about one way
//! to tell that we are right, has a file of its own.

mod header;
mod onward;
mod oracle;
mod presigned;
mod session;
mod vectors;

use std::time::{Duration, UNIX_EPOCH};

use http::{HeaderValue, Request};

use super::*;
use crate::s3::error::{Code, S3Error};

const ID: &str = "AKIAIOSFODNN7EXAMPLE";
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
/// 2013-05-24T00:00:00Z, the moment of all examples in the S3 API reference.
const EXAMPLE_TIME: u64 = 1_369_353_600;
const EMPTY_HASH: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const DAY: u64 = 86_400;

struct OneKey {
    app: AppId,
    secret: Secret,
}

impl OneKey {
    fn new() -> OneKey {
        OneKey { app: "tests".parse().unwrap(), secret: Secret::new(SECRET) }
    }
}

impl KeyStore for OneKey {
    fn secret(&self, access_key_id: &str) -> Option<(&AppId, &Secret)> {
        (access_key_id == ID).then_some((&self.app, &self.secret))
    }
}

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

fn verify_at(seconds: u64, request: &Parts) -> Result<Identity, SigError> {
    verify_for(&["us-east-1".to_owned(), "eu-west-1".to_owned()], seconds, request)
}

fn verify_for(regions: &[String], seconds: u64, request: &Parts) -> Result<Identity, SigError> {
    let context =
        VerifyContext { now: at(seconds), skew: Duration::from_secs(900), regions, keys: &OneKey::new() };
    Verifier::default().verify(request, &context)
}

fn verify(request: &Parts) -> Result<Identity, SigError> {
    verify_at(EXAMPLE_TIME, request)
}

fn request(method: &str, target: &str, headers: &[(&str, &str)]) -> Parts {
    let mut builder = Request::builder().method(method).uri(target);
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    builder.body(()).unwrap().into_parts().0
}

fn authorization(signed: &str, signature: &str) -> String {
    format!(
        "AWS4-HMAC-SHA256 Credential={ID}/20130524/us-east-1/s3/aws4_request,\
         SignedHeaders={signed},Signature={signature}"
    )
}

/// An example of the API reference, "Signature Calculations for the Authorization Header".
fn example(method: &str, target: &str, headers: &[(&str, &str)], signed: &str, signature: &str) -> Parts {
    let authorization = authorization(signed, signature);
    let mut all = vec![
        ("Host", "examplebucket.s3.amazonaws.com"),
        ("x-amz-date", "20130524T000000Z"),
        ("Authorization", authorization.as_str()),
    ];
    all.extend_from_slice(headers);
    request(method, target, &all)
}

fn example_get() -> Parts {
    example(
        "GET",
        "/test.txt",
        &[("Range", "bytes=0-9"), ("x-amz-content-sha256", EMPTY_HASH)],
        "host;range;x-amz-content-sha256;x-amz-date",
        "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
    )
}

fn example_presigned() -> Parts {
    request(
        "GET",
        "/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2F\
         us-east-1%2Fs3%2Faws4_request&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host\
         &X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404",
        &[("Host", "examplebucket.s3.amazonaws.com")],
    )
}

#[test]
fn an_unsigned_amz_header_is_refused_by_name() {
    for mut parts in [example_get(), example_presigned()] {
        parts.headers.insert("x-amz-copy-source", HeaderValue::from_static("/secret/key"));
        let error = verify(&parts).unwrap_err();
        assert_eq!(error, SigError::UnsignedHeader("x-amz-copy-source".to_owned()));
        let answer = S3Error::from(error);
        assert_eq!(answer.code, Code::AccessDenied);
        assert_eq!(answer.details, [("HeadersNotSigned", "x-amz-copy-source".to_owned())]);
    }
}

#[test]
fn a_signature_counts_only_near_its_time() {
    let get = example_get();
    for (now, expected) in [
        (EXAMPLE_TIME - 900, None),
        (EXAMPLE_TIME + 900, None),
        (EXAMPLE_TIME - 901, Some(SigError::TooSkewed)),
        (EXAMPLE_TIME + 901, Some(SigError::TooSkewed)),
        (EXAMPLE_TIME + 400 * DAY, Some(SigError::TooSkewed)),
        (0, Some(SigError::TooSkewed)),
    ] {
        assert_eq!(verify_at(now, &get).err(), expected, "at {now}");
    }
    let presigned = example_presigned();
    for (now, expected) in [
        (EXAMPLE_TIME - 900, None),
        (EXAMPLE_TIME + DAY, None),
        (EXAMPLE_TIME - 901, Some(SigError::NotYetValid)),
        (EXAMPLE_TIME + DAY + 1, Some(SigError::Expired)),
    ] {
        assert_eq!(verify_at(now, &presigned).err(), expected, "at {now}");
    }
}

#[test]
fn other_mechanisms_are_named_in_their_refusal() {
    let with = |authorization: &str| {
        let mut parts = example_get();
        parts.headers.insert("authorization", authorization.parse().unwrap());
        verify(&parts).unwrap_err()
    };
    assert_eq!(with("AWS AKIAIOSFODNN7EXAMPLE:frJIUN8DYpKDtOLCwo//yllqDzg="), SigError::SigV2);
    assert_eq!(with("AWS4-ECDSA-P256-SHA256 Credential=a"), SigError::SigV4a);
    assert_eq!(with("Bearer abc"), SigError::UnknownMechanism);
    assert_eq!(with(""), SigError::UnknownMechanism);
    let host = [("host", "h")];
    assert_eq!(verify(&request("GET", "/k?acl", &host)).unwrap_err(), SigError::Anonymous);
    let v2 = request("GET", "/k?AWSAccessKeyId=a&Expires=1&Signature=b", &host);
    assert_eq!(verify(&v2).unwrap_err(), SigError::SigV2);
    let mut both = example_get();
    both.uri = example_presigned().uri;
    assert_eq!(verify(&both).unwrap_err(), SigError::TwoMechanisms);
}

#[test]
fn session_tokens_are_refused_wherever_they_are() {
    let mut parts = example_get();
    parts.headers.insert("x-amz-security-token", HeaderValue::from_static("t"));
    assert_eq!(verify(&parts).unwrap_err(), SigError::UnsignedHeader("x-amz-security-token".to_owned()));
    let mut parts = example_presigned();
    parts.uri = format!("{}&X-Amz-Security-Token=t", parts.uri).parse().unwrap();
    assert_eq!(verify(&parts).unwrap_err(), SigError::SessionToken);
}

#[test]
fn an_unknown_access_key_is_not_a_bad_signature() {
    let mut parts = example_get();
    let other = parts.headers["authorization"].to_str().unwrap().replace(ID, "AKIAOTHER");
    parts.headers.insert("authorization", other.parse().unwrap());
    let error = verify(&parts).unwrap_err();
    assert_eq!(error, SigError::UnknownAccessKey);
    assert_eq!(S3Error::from(error).code, Code::InvalidAccessKeyId);
}

#[test]
fn a_rotated_secret_is_not_served_from_the_cache() {
    let verifier = Verifier::default();
    let regions = ["us-east-1".to_owned()];
    let mut keys = OneKey::new();
    let verify = |keys: &OneKey| {
        let context =
            VerifyContext { now: at(EXAMPLE_TIME), skew: Duration::from_secs(900), regions: &regions, keys };
        verifier.verify(&example_get(), &context).map(drop)
    };
    assert_eq!(verify(&keys), Ok(()));
    assert_eq!(verify(&keys), Ok(()));
    keys.secret = Secret::new("rotated");
    assert_eq!(verify(&keys), Err(SigError::Mismatch));
    assert_eq!(verifier.keys.len(), 1);
}

#[test]
fn the_cache_of_keys_is_bounded() {
    let cache = key::KeyCache::default();
    let secret = Secret::new("s");
    for n in 0..key::KeyCache::MAX_KEYS + 10 {
        let text = format!("AK{n}/20130524/r/s3/aws4_request");
        cache.key(&Credential::parse(&text).unwrap(), &secret);
    }
    assert!(cache.len() <= key::KeyCache::MAX_KEYS);
}

#[test]
fn keys_and_secrets_do_not_print() {
    let identity = verify(&example_get()).unwrap();
    let text = format!("{identity:?}");
    assert!(text.contains("<chunk seed>") && !text.contains(SECRET), "{text}");
}
