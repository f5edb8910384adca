//! Temporary credentials: a key, a secret and a token, for a while.

use super::oracle::{SignableBody, SignatureLocation, oracle};
use super::*;

const TOKEN: &str = "FwoGZXIvYXdzEXAMPLE//token+with/signs==";
const EXPIRES: u64 = EXAMPLE_TIME + 3600;

struct Temporary {
    app: AppId,
    secret: Secret,
    session: Session,
}

impl KeyStore for Temporary {
    fn secret(&self, access_key_id: &str) -> Option<(&AppId, &Secret)> {
        (access_key_id == ID).then_some((&self.app, &self.secret))
    }

    fn session(&self, access_key_id: &str) -> Option<&Session> {
        (access_key_id == ID).then_some(&self.session)
    }
}

fn verify_temporary(seconds: u64, request: &Parts) -> Result<Identity, SigError> {
    let session = Session { token: Secret::new(TOKEN), expires: at(EXPIRES) };
    let keys = Temporary { app: "tests".parse().unwrap(), secret: Secret::new(SECRET), session };
    let regions = ["eu-west-1".to_owned()];
    let skew = Duration::from_secs(900);
    Verifier::default()
        .verify(request, &VerifyContext { now: at(seconds), skew, regions: &regions, keys: &keys })
}

fn signed(location: SignatureLocation, token: Option<&str>) -> Parts {
    let request = request("GET", "https://bucket.example.com:8443/a%20key?x-id=GetObject", &[]);
    let body = match location {
        SignatureLocation::Headers => SignableBody::Bytes(b""),
        _ => SignableBody::UnsignedPayload,
    };
    oracle(&request, location, body, token)
}

#[test]
fn a_token_is_taken_in_a_header_and_in_a_presigned_url() {
    for location in [SignatureLocation::Headers, SignatureLocation::QueryParams] {
        let identity = verify_temporary(EXAMPLE_TIME, &signed(location, Some(TOKEN))).unwrap();
        assert_eq!(identity.app.as_str(), "tests");
    }
}

#[test]
fn a_wrong_missing_or_expired_token_is_refused_as_s3_does() {
    let code = |error: SigError| S3Error::from(error).code;
    for location in [SignatureLocation::Headers, SignatureLocation::QueryParams] {
        for wrong in ["another", "FwoGZXIvYXdzEXAMPLE//token+with/signs=", ""] {
            let error = verify_temporary(EXAMPLE_TIME, &signed(location, Some(wrong))).unwrap_err();
            assert_eq!((&error, code(error.clone())), (&SigError::SessionToken, Code::InvalidToken));
        }
        let error = verify_temporary(EXAMPLE_TIME, &signed(location, None)).unwrap_err();
        assert_eq!((&error, code(error.clone())), (&SigError::UnknownAccessKey, Code::InvalidAccessKeyId));
        // A key that is no temporary one has no token.
        assert_eq!(
            verify_for(&["eu-west-1".to_owned()], EXAMPLE_TIME, &signed(location, Some(TOKEN))).unwrap_err(),
            SigError::SessionToken
        );
    }
    let early = signed(SignatureLocation::QueryParams, Some(TOKEN));
    let session = Session { token: Secret::new(TOKEN), expires: at(EXAMPLE_TIME + 1) };
    let keys = Temporary { app: "tests".parse().unwrap(), secret: Secret::new(SECRET), session };
    let verify = |seconds| {
        let regions = ["eu-west-1".to_owned()];
        let skew = Duration::from_secs(900);
        let context = VerifyContext { now: at(seconds), skew, regions: &regions, keys: &keys };
        Verifier::default().verify(&early, &context).map(drop)
    };
    assert_eq!(verify(EXAMPLE_TIME), Ok(()));
    assert_eq!(verify(EXAMPLE_TIME + 1), Err(SigError::ExpiredToken));
    assert_eq!(code(SigError::ExpiredToken), Code::ExpiredToken);
}

#[test]
fn a_token_counts_only_as_it_was_signed() {
    let mut header = signed(SignatureLocation::Headers, Some("another"));
    header.headers.insert("x-amz-security-token", HeaderValue::from_static(TOKEN));
    assert_eq!(verify_temporary(EXAMPLE_TIME, &header).unwrap_err(), SigError::Mismatch);
    let mut unsigned = signed(SignatureLocation::Headers, None);
    unsigned.headers.insert("x-amz-security-token", HeaderValue::from_static(TOKEN));
    assert!(matches!(verify_temporary(EXAMPLE_TIME, &unsigned).unwrap_err(), SigError::UnsignedHeader(_)));
    let mut query = signed(SignatureLocation::QueryParams, None);
    query.uri = format!("{}&X-Amz-Security-Token=x", query.uri).parse().unwrap();
    assert_eq!(verify_temporary(EXAMPLE_TIME, &query).unwrap_err(), SigError::Mismatch);
    let mut twice = signed(SignatureLocation::QueryParams, Some(TOKEN));
    twice.uri = format!("{}&X-Amz-Security-Token=x", twice.uri).parse().unwrap();
    assert!(matches!(verify_temporary(EXAMPLE_TIME, &twice).unwrap_err(), SigError::Malformed { .. }));
}
