//! AWS's own examples, the `aws-sigv4` crate as an oracle, and attacks.

mod session;

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_credential_types::Credentials as SdkCredentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SignatureLocation,
    SigningSettings, UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;
use http::uri::PathAndQuery;
use http::{HeaderName, HeaderValue, Method, Request, Uri};
use proptest::prelude::*;

use super::*;
use crate::s3::error::{Code, S3Error};
use crate::s3::operation::ParsedQuery;

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
fn the_examples_of_the_s3_api_reference_verify() {
    let get = verify(&example_get()).unwrap();
    assert_eq!(get.app.as_str(), "tests");
    assert_eq!(get.scheme, Scheme::Header);
    assert_eq!(get.region, "us-east-1");
    assert_eq!(get.payload, PayloadMode::Sha256(sha256(b"")));

    let put = example(
        "PUT",
        "/test$file.text",
        &[
            ("Date", "Fri, 24 May 2013 00:00:00 GMT"),
            ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
            ("x-amz-content-sha256", "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072"),
        ],
        "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
        "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
    );
    assert_eq!(verify(&put).unwrap().payload, PayloadMode::Sha256(sha256(b"Welcome to Amazon S3.")));

    for (target, signature) in [
        ("/?lifecycle", "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"),
        ("/?max-keys=2&prefix=J", "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"),
    ] {
        let get = example(
            "GET",
            target,
            &[("x-amz-content-sha256", EMPTY_HASH)],
            "host;x-amz-content-sha256;x-amz-date",
            signature,
        );
        verify(&get).unwrap();
    }
}

#[test]
fn the_presigned_example_of_the_s3_api_reference_verifies() {
    let identity = verify(&example_presigned()).unwrap();
    assert_eq!(identity.scheme, Scheme::Presigned);
    assert_eq!(identity.payload, PayloadMode::Unsigned);
}

#[test]
fn the_seed_signatures_of_the_chunked_examples_verify() {
    let streaming = |mode, extra: &[(&str, &str)], signed, signature| {
        let authorization = authorization(signed, signature);
        let mut headers = vec![
            ("Host", "s3.amazonaws.com"),
            ("x-amz-date", "20130524T000000Z"),
            ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
            ("x-amz-content-sha256", mode),
            ("Content-Encoding", "aws-chunked"),
            ("x-amz-decoded-content-length", "66560"),
            ("Authorization", authorization.as_str()),
        ];
        headers.extend_from_slice(extra);
        verify(&request("PUT", "/examplebucket/chunkObject.txt", &headers)).unwrap()
    };
    let signed = streaming(
        "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
        &[("Content-Length", "66824")],
        "content-encoding;content-length;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;\
         x-amz-storage-class",
        "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9",
    );
    assert_eq!(signed.payload, PayloadMode::StreamingSigned);
    assert_eq!(
        hex::encode(signed.seed.chunk_signature(&signed.seed.signature(), &sha256(&[b'a'; 65536]))),
        "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648"
    );
    let trailer = streaming(
        "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
        &[("x-amz-trailer", "x-amz-checksum-crc32c")],
        "content-encoding;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;x-amz-storage-class;\
         x-amz-trailer",
        "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e",
    );
    assert_eq!(trailer.payload, PayloadMode::StreamingSignedTrailer);
}

#[test]
fn canonical_requests_are_those_of_the_aws_signing_test_suite() {
    let suite = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/sigv4/aws-suite");
    let mut cases = 0;
    for case in std::fs::read_dir(suite).unwrap() {
        let case = case.unwrap().path();
        let read = |file: &str| std::fs::read_to_string(case.join(file)).unwrap();
        let (signed, expected) = (read("header-signed-request.txt"), read("header-canonical-request.txt"));

        let mut lines = signed.lines();
        let first = lines.next().unwrap();
        let (method, target) = first.split_once(' ').unwrap();
        let target = target.trim_end_matches("HTTP/1.1").trim_end();
        let mut parts = Request::new(()).into_parts().0;
        parts.method = method.parse().unwrap();
        let mut uri = http::uri::Parts::default();
        uri.path_and_query = Some(PathAndQuery::try_from(target).unwrap());
        parts.uri = Uri::from_parts(uri).unwrap();
        for line in lines.take_while(|line| !line.is_empty()) {
            let (name, value) = line.split_once(':').unwrap();
            parts.headers.append(name.parse::<HeaderName>().unwrap(), value.trim().parse().unwrap());
        }
        let authorization = parts.headers["authorization"].to_str().unwrap();
        let signed = authorization.split_once("SignedHeaders=").unwrap().1.split_once(',').unwrap().0;
        let signed_headers = SignedHeaders::parse(signed).unwrap();

        let tail = canonical::tail(&canonical::Tail {
            query: parts.uri.query().unwrap_or(""),
            scheme: Scheme::Header,
            headers: &parts.headers,
            host: host(&parts).unwrap(),
            signed_headers: &signed_headers,
            payload: expected.lines().last().unwrap().as_bytes(),
        })
        .unwrap();
        let path = canonical::strict_path(parts.uri.path().as_bytes());
        let canonical = [method.as_bytes(), b"\n", &path, b"\n", &tail].concat();
        assert_eq!(String::from_utf8(canonical).unwrap(), expected, "{}", case.display());
        cases += 1;
    }
    assert!(cases >= 20, "only {cases} cases were found");
}

/// What an app could send: method, path, query and headers, all well-formed.
#[derive(Debug, Clone)]
struct Sent {
    method: Method,
    target: String,
    headers: Vec<(String, String)>,
}

fn sent() -> impl Strategy<Value = Sent> {
    let encoded = |text: String| {
        text.bytes()
            .map(|b| {
                if b.is_ascii_alphanumeric() || b"-._~".contains(&b) {
                    char::from(b).to_string()
                } else {
                    format!("%{b:02X}")
                }
            })
            .collect::<String>()
    };
    // An escaped slash is a slash to S3, and not to the oracle: a test of its own says so.
    let segment = "[ -~]{0,12}|\\PC{0,6}".prop_map(move |text| encoded(text.replace('/', "")));
    let parameter = ("\\PC{1,8}", proptest::option::of("\\PC{0,8}")).prop_map(move |(name, value)| {
        value.map_or(encoded(name.clone()), |value| format!("{}={}", encoded(name), encoded(value)))
    });
    let header = (
        prop_oneof![
            prop_oneof![
                Just("content-type"),
                Just("content-md5"),
                Just("content-encoding"),
                Just("range"),
                Just("if-none-match")
            ]
            .prop_map(str::to_owned),
            "x-amz-meta-[a-z][a-z0-9-]{0,6}",
            "x-amz-[b-c][a-z]{0,4}"
        ],
        "[!-~]([ -~]{0,20}[!-~])?",
    );
    (
        prop_oneof![Just(Method::GET), Just(Method::PUT), Just(Method::POST), Just(Method::DELETE)],
        proptest::collection::vec(segment, 0..5),
        proptest::collection::vec(parameter, 0..5),
        proptest::collection::vec(header, 0..5),
    )
        .prop_map(|(method, segments, parameters, mut headers)| {
            // A map keeps repeated values together; the oracle is told in that order.
            headers.sort_by(|a, b| a.0.cmp(&b.0));
            let mut target = format!("/{}", segments.join("/"));
            if !parameters.is_empty() {
                target = format!("{target}?{}", parameters.join("&"));
            }
            Sent { method, target, headers }
        })
}

fn unsigned(sent: &Sent) -> Parts {
    let mut parts = Request::new(()).into_parts().0;
    parts.method = sent.method.clone();
    parts.uri = format!("https://bucket.example.com:8443{}", sent.target).parse().unwrap();
    for (name, value) in &sent.headers {
        parts.headers.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
    }
    parts
}

/// What `aws-sigv4`, set for S3, makes of a request.
fn oracle(parts: &Parts, location: SignatureLocation, body: SignableBody<'_>, token: Option<&str>) -> Parts {
    let mut settings = SigningSettings::default();
    settings.percent_encoding_mode = PercentEncodingMode::Single;
    settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
    settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
    if location == SignatureLocation::QueryParams {
        settings.expires_in = Some(Duration::from_secs(600));
    }
    settings.signature_location = location;
    let identity = SdkCredentials::new(ID, SECRET, token.map(str::to_owned), None, "tests").into();
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region("eu-west-1")
        .name("s3")
        .time(at(EXAMPLE_TIME))
        .settings(settings)
        .build()
        .unwrap();
    let headers = parts.headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap()));
    let signable = SignableRequest::new(parts.method.as_str(), parts.uri.to_string(), headers, body).unwrap();
    let (instructions, _) = sign(signable, &params.into()).unwrap().into_parts();
    let mut signed = Request::from_parts(parts.clone(), ());
    instructions.apply_to_request_http1x(&mut signed);
    let mut parts = signed.into_parts().0;
    // On the wire: origin form and a Host header.
    if !parts.headers.contains_key("host") {
        parts.headers.insert("host", HeaderValue::from_static("bucket.example.com:8443"));
    }
    parts
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn signing_onward_agrees_with_aws_sigv4(sent in sent(), unsigned_payload: bool, token in proptest::option::of("[!-~]{1,40}")) {
        let parts = unsigned(&sent);
        let (ours, theirs) = if unsigned_payload {
            (PayloadForSigning::Unsigned, SignableBody::UnsignedPayload)
        } else {
            (PayloadForSigning::Empty, SignableBody::Bytes(b""))
        };
        let expected = oracle(&parts, SignatureLocation::Headers, theirs, token.as_deref());
        let mut actual = parts;
        let token = token.map(Secret::new);
        let secret = Secret::new(SECRET);
        let credentials =
            Credentials { access_key_id: ID, secret: &secret, session_token: token.as_ref() };
        Signer::default().sign(&mut actual, &credentials, "eu-west-1", at(EXAMPLE_TIME), ours).unwrap();
        for name in ["host", "x-amz-date", "x-amz-content-sha256", "x-amz-security-token", "authorization"] {
            prop_assert_eq!(actual.headers.get(name), expected.headers.get(name), "{}", name);
        }
        prop_assert_eq!(actual.uri, expected.uri);
    }

    #[test]
    fn what_aws_sigv4_signs_verifies(sent in sent(), presigned: bool) {
        let location = if presigned { SignatureLocation::QueryParams } else { SignatureLocation::Headers };
        let signed = oracle(&unsigned(&sent), location, SignableBody::UnsignedPayload, None);
        let identity = verify(&signed).unwrap();
        prop_assert_eq!(identity.scheme, if presigned { Scheme::Presigned } else { Scheme::Header });
    }

    #[test]
    fn no_signed_part_can_be_changed(sent in sent(), presigned: bool, what in 0..5usize) {
        let location = if presigned { SignatureLocation::QueryParams } else { SignatureLocation::Headers };
        let mut signed = oracle(&unsigned(&sent), location, SignableBody::UnsignedPayload, None);
        let uri = signed.uri.to_string();
        match what {
            0 => signed.method = Method::PATCH,
            1 => signed.uri = uri.replacen(":8443/", ":8443/x", 1).parse().unwrap(),
            2 => {
                let mark = if uri.contains('?') { '&' } else { '?' };
                signed.uri = format!("{uri}{mark}versionId=1").parse().unwrap();
            }
            3 => {
                signed.uri = uri.replacen("bucket.", "other.", 1).parse().unwrap();
                signed.headers.insert("host", HeaderValue::from_static("other.example.com:8443"));
            }
            _ => {
                signed.headers.insert("x-amz-content-sha256", HeaderValue::from_static(EMPTY_HASH));
            }
        }
        prop_assert_eq!(verify(&signed).unwrap_err(), SigError::Mismatch);
    }

    #[test]
    fn arbitrary_heads_are_refused_without_a_panic(
        authorization in proptest::option::of("(AWS4-HMAC-SHA256 )?[ -~]{0,80}|AWS4-HMAC-SHA256 Credential=[ -~]{0,30}, ?SignedHeaders=[a-z;-]{0,20},Signature=[0-9a-f]{0,64}"),
        query in "([ -~&&[^#<>\"\\\\^`{|} ]]{0,20}|X-Amz-(Algorithm|Credential|Date|Expires|SignedHeaders|Signature)=[0-9A-Za-z%+/]{0,24}&){0,8}",
        headers in proptest::collection::vec(("host|date|x-amz-date|x-amz-content-sha256|x-amz-[a-z]{1,5}", proptest::collection::vec(32u8..=255, 0..30)), 0..6),
    ) {
        let mut parts = Request::new(()).into_parts().0;
        let Ok(uri) = format!("/{query}?{query}").parse() else { return Ok(()) };
        parts.uri = uri;
        if let Some(text) = &authorization {
            parts.headers.insert("authorization", text.parse().unwrap());
        }
        for (name, value) in headers {
            if let Ok(value) = HeaderValue::from_bytes(&value) {
                parts.headers.append(name.parse::<HeaderName>().unwrap(), value);
            }
        }
        let error = verify(&parts).unwrap_err();
        let answer = S3Error::from(error);
        prop_assert!(!answer.message.contains(SECRET));
    }
}

#[test]
fn reserved_characters_left_bare_may_be_signed_as_sent_or_in_strict_form() {
    let mut bare = unsigned(&Sent { method: Method::GET, target: "/a(b)+c=d!".to_owned(), headers: vec![] });
    // `aws-sigv4` signs the path as it stands.
    let as_sent = oracle(&bare, SignatureLocation::Headers, SignableBody::UnsignedPayload, None);
    verify(&as_sent).unwrap();

    bare.uri = "https://bucket.example.com:8443/a%28b%29%2Bc%3Dd%21".parse().unwrap();
    let mut strict = oracle(&bare, SignatureLocation::Headers, SignableBody::UnsignedPayload, None);
    strict.uri = as_sent.uri.clone();
    verify(&strict).unwrap();
}

#[test]
fn an_escaped_slash_is_a_slash() {
    let at = |path: &str| unsigned(&Sent { method: Method::GET, target: path.to_owned(), headers: vec![] });
    let plain = oracle(&at("/a/b"), SignatureLocation::Headers, SignableBody::UnsignedPayload, None);
    let mut escaped = plain.clone();
    escaped.uri = at("/a%2Fb").uri;
    verify(&escaped).unwrap();
    escaped.uri = at("/a%252Fb").uri;
    assert_eq!(verify(&escaped).unwrap_err(), SigError::Mismatch);
}

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
fn each_flaw_of_a_presigned_url_has_its_own_reason() {
    let whole = example_presigned().uri.to_string();
    let cases = [
        (whole.replace("Expires=86400", "Expires=0"), Flaw::Expires),
        (whole.replace("Expires=86400", "Expires=604801"), Flaw::Expires),
        (whole.replace("Expires=86400", "Expires=%2B60"), Flaw::Expires),
        (whole.replace("&X-Amz-Expires=86400", ""), Flaw::Missing("X-Amz-Expires")),
        (whole.replace("Date=20130524T", "Date=2013-05-24T"), Flaw::Date),
        (whole.replace("SignedHeaders=host", "SignedHeaders=x-amz-a"), Flaw::HostNotSigned),
        (whole.replace("us-east-1", "mars-1"), Flaw::Region { expected: "us-east-1".to_owned() }),
        (format!("{whole}&X-Amz-Expires=1"), Flaw::Repeated("X-Amz-Expires")),
        (format!("{whole}&X-Amz-Signat%75re=1"), Flaw::Repeated("X-Amz-Signature")),
        (whole.replace("X-Amz-Algorithm=AWS4-HMAC-SHA256&", ""), Flaw::Missing("X-Amz-Algorithm")),
        (whole.replace("Credential=", "Credential=%ff"), Flaw::Syntax),
    ];
    for (target, flaw) in cases {
        let parts = request("GET", &target, &[("host", "examplebucket.s3.amazonaws.com")]);
        let error = verify(&parts).unwrap_err();
        assert_eq!(error, SigError::Malformed { scheme: Scheme::Presigned, flaw }, "{target}");
        assert_eq!(S3Error::from(error).code, Code::AuthorizationQueryParametersError);
    }
}

#[test]
fn parameters_added_to_a_presigned_url_break_it() {
    let whole = example_presigned().uri.to_string();
    for extra in ["&versionId=1", "&x-amz-acl=public-read", "&x-amz-signature=1"] {
        let parts = request("GET", &format!("{whole}{extra}"), &[("host", "examplebucket.s3.amazonaws.com")]);
        assert_eq!(verify(&parts).unwrap_err(), SigError::Mismatch, "{extra}");
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
