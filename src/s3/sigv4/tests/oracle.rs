//! The `aws-sigv4` crate as an oracle, on requests of all kinds.

use aws_credential_types::Credentials as SdkCredentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableRequest, SigningSettings, UriPathNormalizationMode,
    sign,
};
pub use aws_sigv4::http_request::{SignableBody, SignatureLocation};
use aws_sigv4::sign::v4;
use http::{HeaderName, Method, Request};
use proptest::prelude::*;

use super::*;

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
pub fn oracle(
    parts: &Parts,
    location: SignatureLocation,
    body: SignableBody<'_>,
    token: Option<&str>,
) -> Parts {
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
