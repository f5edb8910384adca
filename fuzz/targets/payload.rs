//! Whole bodies with trailers: the last piece comes out only when everything that was asserted is true.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use domicile::body::Body;
use domicile::config::Secret;
use domicile::names::AppId;
use domicile::s3::checksum::{Algorithm, Hasher, Subject};
use domicile::s3::payload::{VerifiedBody, strip_framing};
use domicile::s3::sigv4::{
    Credentials, Identity, KeyStore, PayloadForSigning, Signer, Verifier, VerifyContext,
};
use http::{HeaderMap, HeaderValue, Request};
use http_body::Body as _;

const ALGORITHMS: [Algorithm; 5] =
    [Algorithm::Crc32, Algorithm::Crc32c, Algorithm::Crc64Nvme, Algorithm::Sha1, Algorithm::Sha256];

/// Whether the body passed. The first byte chooses the checksum and whether it comes in a trailer, the second one is the
/// length.
pub fn run(data: &[u8]) -> bool {
    let [choice, length, body @ ..] = data else { return false };
    let is_framed = choice & 1 == 0;
    let algorithm = ALGORITHMS[usize::from(choice >> 1) % ALGORITHMS.len()];
    let mut headers = HeaderMap::new();
    if is_framed {
        headers.insert("x-amz-decoded-content-length", HeaderValue::from(u64::from(*length)));
        headers.insert("content-encoding", HeaderValue::from_static("gzip, aws-chunked"));
        headers.insert("x-amz-trailer", HeaderValue::from_name(algorithm.header().clone()));
    } else {
        headers.insert("content-length", HeaderValue::from(u64::from(*length)));
    }
    let payload =
        if is_framed { PayloadForSigning::UnsignedWithTrailer } else { PayloadForSigning::Unsigned };
    let identity = identity(payload);
    let source = Body::full(Bytes::copy_from_slice(body));
    let Ok(verified) = VerifiedBody::new(source, &headers, &identity, Subject::Body, 1 << 20) else {
        return false;
    };
    let verdict = verified.verdict();
    let Some(decoded) = read(verified) else {
        assert!(verdict.verified().is_none(), "a body that failed was called good");
        return false;
    };
    assert_eq!(decoded.len(), usize::from(*length));
    let found = verdict.verified().map(|facts| (facts.length, facts.checksum));
    let (length, checksum) = found.unwrap_or_default();
    assert_eq!(length, decoded.len() as u64);
    if is_framed {
        let mut hasher = Hasher::new(algorithm);
        hasher.update(&decoded);
        assert_eq!(checksum, Some(hasher.finish()), "the checksum is not that of the data");
    } else {
        assert_eq!(decoded, body);
    }
    strip_framing(&mut headers, identity.payload, length);
    assert!(!headers.contains_key("x-amz-decoded-content-length"));
    true
}

/// The data, if all of it came.
fn read(mut body: VerifiedBody) -> Option<Vec<u8>> {
    let mut context = Context::from_waker(Waker::noop());
    let mut data = Vec::new();
    loop {
        match Pin::new(&mut body).poll_frame(&mut context) {
            Poll::Pending => panic!("nothing is waited for"),
            Poll::Ready(None) => return Some(data),
            Poll::Ready(Some(Err(error))) => {
                let _ = domicile::s3::error::S3Error::from(error);
                return None;
            }
            Poll::Ready(Some(Ok(frame))) => {
                if let Ok(bytes) = frame.into_data() {
                    data.extend_from_slice(&bytes);
                }
            }
        }
    }
}

struct OneKey(AppId, Secret);

impl KeyStore for OneKey {
    fn secret(&self, _: &str) -> Option<(&AppId, &Secret)> {
        Some((&self.0, &self.1))
    }
}

fn identity(payload: PayloadForSigning<'_>) -> Identity {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_369_353_600);
    let keys = OneKey("fuzz".parse().expect("an app's name"), Secret::new("secret"));
    let credentials = Credentials { access_key_id: "AKID", secret: &keys.1, session_token: None };
    let request = Request::builder().method("PUT").uri("http://gateway.example/b/k").body(());
    let mut parts = request.expect("a request").into_parts().0;
    Signer::default().sign(&mut parts, &credentials, "us-east-1", now, payload).expect("a signature");
    let regions = ["us-east-1".to_owned()];
    let context = VerifyContext { now, skew: Duration::from_secs(1), regions: &regions, keys: &keys };
    Verifier::default().verify(&parts, &context).expect("our own signature")
}
