//! Signatures in the Authorization header, and what they must cover.

use super::*;

#[test]
fn the_name_of_unsigned_metadata_stays_out_of_the_answer() {
    let mut parts = example_get();
    parts.headers.insert("x-amz-meta-patient-jones", HeaderValue::from_static("1"));
    assert_eq!(verify(&parts).unwrap_err(), SigError::UnsignedHeader("x-amz-meta-*".to_owned()));
}

#[test]
fn headers_that_are_read_once_must_not_come_twice() {
    for name in ["host", "authorization", "x-amz-date", "x-amz-content-sha256"] {
        let mut parts = example_get();
        let value = parts.headers[name].clone();
        parts.headers.append(name, value);
        assert_eq!(verify(&parts).unwrap_err(), SigError::RepeatedHeader(name));
    }
}

#[test]
fn a_signed_header_cannot_be_repeated_or_removed() {
    let mut parts = example_get();
    parts.headers.append("range", HeaderValue::from_static("bytes=5-"));
    assert_eq!(verify(&parts).unwrap_err(), SigError::Mismatch);
    let mut parts = example_get();
    parts.headers.remove("range");
    assert_eq!(verify(&parts).unwrap_err(), SigError::SignedHeaderAbsent);
}

#[test]
fn the_authority_of_http_2_is_the_host_and_must_not_contradict_it() {
    let mut parts = example_get();
    parts.uri = "https://examplebucket.s3.amazonaws.com/test.txt".parse().unwrap();
    verify(&parts).unwrap();
    parts.headers.remove("host");
    verify(&parts).unwrap();
    parts.uri = "https://other.s3.amazonaws.com/test.txt".parse().unwrap();
    assert_eq!(verify(&parts).unwrap_err(), SigError::Mismatch);
    parts.headers.insert("host", HeaderValue::from_static("examplebucket.s3.amazonaws.com"));
    assert_eq!(verify(&parts).unwrap_err(), SigError::ConflictingHosts);
    let mut parts = example_get();
    parts.headers.remove("host");
    assert_eq!(verify(&parts).unwrap_err(), SigError::MissingHost);
}

#[test]
fn a_date_header_stands_in_for_x_amz_date() {
    let secret = Secret::new(SECRET);
    let key = SigningKey::derive(&secret, "20130524", "us-east-1");
    let canonical =
        format!("GET\n/k\n\ndate:Fri, 24 May 2013 00:00:00 GMT\nhost:h\n\ndate;host\n{EMPTY_HASH}");
    let signature = key.request_signature(
        "20130524T000000Z",
        "20130524/us-east-1/s3/aws4_request",
        &sha256(canonical.as_bytes()),
    );
    let authorization = authorization("date;host", &hex::encode(signature));
    let mut parts = request(
        "GET",
        "/k",
        &[
            ("host", "h"),
            ("date", "Fri, 24 May 2013 00:00:00 GMT"),
            ("x-amz-content-sha256", EMPTY_HASH),
            ("authorization", &authorization),
        ],
    );
    verify(&parts).unwrap();
    parts.headers.insert("date", HeaderValue::from_static("Fri, 24 May 2013 00:00:01 GMT"));
    assert_eq!(verify(&parts).unwrap_err(), SigError::Mismatch);
    parts.headers.insert("date", HeaderValue::from_static("now"));
    assert_eq!(verify(&parts).unwrap_err(), SigError::BadDate);
    parts.headers.remove("date");
    assert_eq!(verify(&parts).unwrap_err(), SigError::MissingDate);
}

#[test]
fn each_flaw_of_an_authorization_header_has_its_own_reason() {
    let signature = "0".repeat(64);
    let full = |credential: &str, signed: &str, signature: &str| {
        format!("AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={signed}, Signature={signature}")
    };
    let scope = |rest: &str| full(&format!("{ID}/{rest}"), "host", &signature);
    let signed = |signed: &str| full(&format!("{ID}/20130524/us-east-1/s3/aws4_request"), signed, &signature);
    let cases = [
        ("AWS4-HMAC-SHA256".to_owned(), Flaw::Syntax),
        ("AWS4-HMAC-SHA256 Credential=a".to_owned(), Flaw::Missing("SignedHeaders")),
        ("AWS4-HMAC-SHA256 Signature=a, SignedHeaders=host".to_owned(), Flaw::Missing("Credential")),
        ("AWS4-HMAC-SHA256 Credential=a, SignedHeaders=host".to_owned(), Flaw::Missing("Signature")),
        (format!("{}, Signature={signature}", signed("host")), Flaw::Repeated("Signature")),
        (format!("{}, Extra=1", signed("host")), Flaw::Syntax),
        (scope("20130524/us-east-1/s3"), Flaw::Credential),
        (scope("20130524//s3/aws4_request"), Flaw::Credential),
        (scope("20130524/us-east-1/ec2/aws4_request"), Flaw::Service),
        (scope("20130524/us-east-1/s3/aws5_request"), Flaw::Terminator),
        (scope("20130523/us-east-1/s3/aws4_request"), Flaw::ScopeDate),
        (scope("20130524/mars-1/s3/aws4_request"), Flaw::Region { expected: "us-east-1".to_owned() }),
        (signed("x-amz-date;host"), Flaw::SignedHeadersOrder),
        (signed("host;host"), Flaw::SignedHeadersOrder),
        (signed("Host"), Flaw::SignedHeaders),
        (signed("host;"), Flaw::SignedHeaders),
        (signed(""), Flaw::SignedHeaders),
        (signed("x-amz-date"), Flaw::HostNotSigned),
        (full(&format!("{ID}/20130524/us-east-1/s3/aws4_request"), "host", "abc"), Flaw::Signature),
        (full(&format!("{ID}/20130524/us-east-1/s3/aws4_request"), "host", &"A".repeat(64)), Flaw::Signature),
    ];
    for (authorization, flaw) in cases {
        let mut parts = example_get();
        parts.headers.insert("authorization", authorization.parse().unwrap());
        let error = verify(&parts).unwrap_err();
        assert_eq!(error, SigError::Malformed { scheme: Scheme::Header, flaw }, "{authorization}");
        assert_eq!(S3Error::from(error).code, Code::AuthorizationHeaderMalformed);
    }
}

#[test]
fn a_wrong_region_names_the_right_one() {
    let error = verify_for(&["cn-north-1".to_owned()], EXAMPLE_TIME, &example_get()).unwrap_err();
    let answer = S3Error::from(error);
    assert_eq!(answer.details, [("Region", "cn-north-1".to_owned())]);
}

#[test]
fn the_payload_must_be_vouched_for_in_a_known_way() {
    let with = |value: Option<&'static str>| {
        let mut parts = example_get();
        match value {
            Some(value) => parts.headers.insert("x-amz-content-sha256", HeaderValue::from_static(value)),
            None => parts.headers.remove("x-amz-content-sha256"),
        };
        verify(&parts).unwrap_err()
    };
    assert_eq!(with(None), SigError::MissingPayloadHash);
    assert_eq!(with(Some("required")), SigError::BadPayloadHash);
    assert_eq!(with(Some("STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD")), SigError::SigV4a);
    assert_eq!(with(Some("UNSIGNED-PAYLOAD")), SigError::Mismatch);
}
