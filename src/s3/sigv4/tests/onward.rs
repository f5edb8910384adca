//! Signing a request onward, to a location.

use http::HeaderName;

use super::*;
use crate::s3::operation::ParsedQuery;

#[test]
fn signing_onward_writes_the_path_in_strict_form_and_leaves_the_query() {
    let mut parts = request(
        "GET",
        "http://10.0.0.1:80/b/a(b)//../%7e%e4?prefix=a/b&x-id=Get",
        &[("x-amz-meta-a", "  1  2 ")],
    );
    let secret = Secret::new(SECRET);
    let credentials = Credentials { access_key_id: ID, secret: &secret, session_token: None };
    let signer = Signer::default();
    signer.sign(&mut parts, &credentials, "eu-west-1", at(EXAMPLE_TIME), PayloadForSigning::Empty).unwrap();
    assert_eq!(parts.uri, "http://10.0.0.1:80/b/a%28b%29//../~%E4?prefix=a/b&x-id=Get");
    assert_eq!(parts.headers["host"], "10.0.0.1");
    parts.uri = "/b/a%28b%29//../~%E4?prefix=a/b&x-id=Get".parse().unwrap();
    verify(&parts).unwrap();
}

#[test]
fn a_request_without_a_host_or_with_unusable_credentials_cannot_be_signed() {
    let secret = Secret::new(SECRET);
    let credentials = Credentials { access_key_id: ID, secret: &secret, session_token: None };
    let sign = |uri: &str, credentials| {
        Signer::default().sign(
            &mut request("GET", uri, &[]),
            credentials,
            "r",
            at(EXAMPLE_TIME),
            PayloadForSigning::Empty,
        )
    };
    assert_eq!(sign("/b/k", &credentials).unwrap_err(), SignError::NoHost);
    let bad = Credentials { access_key_id: "a\nb", ..credentials };
    assert_eq!(sign("http://h/b/k", &bad).unwrap_err(), SignError::Credentials);
    let bad = Secret::new("tok\r\nen");
    let bad = Credentials { session_token: Some(&bad), ..credentials };
    assert_eq!(sign("http://h/b/k", &bad).unwrap_err(), SignError::Credentials);
}

#[test]
fn a_clients_signature_is_taken_off_and_nothing_else() {
    let parts = example_presigned();
    let query = format!("versionId=1&&{}&a=%20+&acl", parts.uri.query().unwrap());
    let rest = |query: &str| ParsedQuery::parse(query).unwrap().for_location(&[]);
    assert_eq!(rest(&query), "versionId=1&a=%20+&acl");
    assert_eq!(rest(parts.uri.query().unwrap()), "");
    assert_eq!(rest("X%2DAmz-Signature=00&x-amz-content-sha256=00&x-amz-meta-a=1"), "x-amz-meta-a=1");

    let mut headers = example_get().headers;
    strip_authentication(&mut headers);
    let mut names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["host", "range"]);
}

fn signed_onward(headers: &[(&str, &str)], secret: &str, signer: &Signer) -> HeaderMap {
    let mut parts = request("PUT", "https://h/b/k", headers);
    let secret = Secret::new(secret);
    let credentials = Credentials { access_key_id: ID, secret: &secret, session_token: None };
    let payload = PayloadForSigning::Unsigned;
    signer.sign(&mut parts, &credentials, "eu-central-1", at(EXAMPLE_TIME), payload).unwrap();
    parts.headers
}

#[test]
fn a_repeated_header_is_signed_as_one_list() {
    let sign = |headers: &[(&str, &str)]| {
        signed_onward(headers, SECRET, &Signer::default())["authorization"].clone()
    };
    let twice = sign(&[("x-amz-meta-a", "1"), ("x-amz-meta-a", "2")]);
    assert_eq!(twice, sign(&[("x-amz-meta-a", "1,2")]));
    assert_ne!(twice, sign(&[("x-amz-meta-a", "2,1")]));
}

#[test]
fn an_old_signature_and_token_do_not_survive() {
    let old = [("authorization", "theirs"), ("x-amz-security-token", "theirs"), ("x-amz-date", "theirs")];
    let headers = signed_onward(&old, SECRET, &Signer::default());
    assert!(!format!("{headers:?}").contains("theirs"));
    assert!(headers.get("x-amz-security-token").is_none());
    assert!(headers["authorization"].is_sensitive());
}

#[test]
fn changed_credentials_are_used_at_once() {
    let signer = Signer::default();
    let signatures =
        ["one", "two", "one"].map(|secret| signed_onward(&[], secret, &signer)["authorization"].clone());
    assert_ne!(signatures[0], signatures[1]);
    assert_eq!(signatures[0], signatures[2]);
}
