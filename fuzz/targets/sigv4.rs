//! Signatures: a request's head, as it came over the wire, is verified, named, and signed onward.

use std::time::{Duration, SystemTime};

use domicile::config::Secret;
use domicile::names::AppId;
use domicile::s3::sigv4::{Credentials, KeyStore, PayloadForSigning, Signer, Verifier, VerifyContext};
use http::Request;
use http::request::Parts;

/// The credentials and the day of the examples in AWS's documentation, which are in the corpus.
const ACCESS_KEY_ID: &str = "AKIAIOSFODNN7EXAMPLE";
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
const REGION: &str = "us-east-1";
const THAT_DAY: Duration = Duration::from_secs(1_369_353_600);

/// Whether the head is of a request that was signed well.
pub fn run(data: &[u8]) -> bool {
    let Some(parts) = head(data) else { return false };
    let verifier = Verifier::default();
    let accepted = verify(&verifier, &parts);
    if accepted {
        // Nothing of S3's own is believed without being signed.
        let signed = signed_headers(&parts);
        for name in parts.headers.keys().map(http::HeaderName::as_str) {
            let is_bound = !name.starts_with("x-amz-") || name == "x-amz-content-sha256";
            assert!(is_bound || signed.contains(name), "an unsigned header of S3 was accepted");
        }
    }
    signs_onward(&verifier, parts);
    accepted
}

/// Lines of `METHOD target`, then `name: value`.
fn head(data: &[u8]) -> Option<Parts> {
    let mut lines = data.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let first = std::str::from_utf8(lines.next()?).ok()?;
    let (method, target) = first.split_once(' ')?;
    let mut request = Request::builder().method(method).uri(target);
    for line in lines.take_while(|line| !line.is_empty()) {
        let at = line.iter().position(|byte| *byte == b':')?;
        let (name, value) = line.split_at(at);
        request = request.header(name, value[1..].trim_ascii());
    }
    Some(request.body(()).ok()?.into_parts().0)
}

struct OneKey {
    app: AppId,
    secret: Secret,
}

impl KeyStore for OneKey {
    fn secret(&self, access_key_id: &str) -> Option<(&AppId, &Secret)> {
        (access_key_id == ACCESS_KEY_ID).then_some((&self.app, &self.secret))
    }
}

fn verify(verifier: &Verifier, parts: &Parts) -> bool {
    let Ok(app) = "fuzz".parse() else { return false };
    let keys = OneKey { app, secret: Secret::new(SECRET) };
    let context = VerifyContext {
        now: SystemTime::UNIX_EPOCH + THAT_DAY,
        skew: Duration::from_secs(900),
        regions: &[REGION.to_owned()],
        keys: &keys,
    };
    match verifier.verify(parts, &context) {
        Ok(identity) => identity.app == keys.app && identity.region == REGION,
        Err(error) => {
            let _ = domicile::s3::error::S3Error::from(error).to_xml("/", "id");
            false
        }
    }
}

/// What the signature says that it covers, wherever it stands.
fn signed_headers(parts: &Parts) -> String {
    let header = parts.headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let query = parts.uri.query().unwrap_or_default().replace("%3B", ";").replace("%3b", ";");
    format!("{header} {query}")
}

/// Whatever we sign, we accept.
fn signs_onward(verifier: &Verifier, mut parts: Parts) {
    let query = parts.uri.query().unwrap_or_default();
    let speaks_of_signing =
        query.contains(['%', '+']) || query.contains("Amz") || query.contains("AWSAccess");
    let Some(path) = parts.uri.path_and_query().filter(|_| !speaks_of_signing) else { return };
    if path.as_str() == "*" {
        return;
    }
    let Ok(uri) = format!("http://gateway.example{path}").parse() else { return };
    parts.uri = uri;
    for name in ["x-amz-security-token", "x-amz-s3session-token"] {
        parts.headers.remove(name);
    }
    let secret = Secret::new(SECRET);
    let credentials = Credentials { access_key_id: ACCESS_KEY_ID, secret: &secret, session_token: None };
    let time = SystemTime::UNIX_EPOCH + THAT_DAY;
    if Signer::default().sign(&mut parts, &credentials, REGION, time, PayloadForSigning::Unsigned).is_ok() {
        assert!(verify(verifier, &parts), "our own signature was refused");
        // For this very request.
        parts.headers.insert("x-amz-meta-added", http::HeaderValue::from_static("1"));
        assert!(!verify(verifier, &parts), "a header was added to a signed request");
    }
}
