//! Signature Version 4: what one verification costs, and how fast framed bodies are decoded.
//!
//! `aws_sigv4_sign` is AWS's own crate signing the same request: a verification does the same hashing, and less
//! of what surrounds it. The chunk decoder checks what the framing lets it check: every chunk's signature in the signed
//! form, nothing but the framing in the other (its checksum is the payload's business, `payload` measures it).

use std::hint::black_box;
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SignatureLocation,
    SigningSettings, UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;
use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use domicile::config::Secret;
use domicile::names::AppId;
use domicile::s3::checksum::{Algorithm, Hasher};
use domicile::s3::chunked::{Decoder, Framing};
use domicile::s3::sigv4::{ChunkSeed, KeyStore, SigningKey, Verifier, VerifyContext};
use http::Request;
use http::request::Parts;

const ACCESS_KEY_ID: &str = "AKIDBENCH";
const SECRET: &str = "a-secret-for-this-run-only";
const REGION: &str = "eu-central-1";
const URI: &str = "http://127.0.0.1:8080/bench/folder/an-object-of-usual-length.json";
/// What SDKs send beside the signature.
const HEADERS: [(&str, &str); 5] = [
    ("host", "127.0.0.1:8080"),
    ("content-type", "application/json"),
    ("x-amz-meta-origin", "unit 7"),
    ("x-amz-sdk-checksum-algorithm", "CRC32"),
    ("x-amz-tagging", "data-class=non_personal"),
];

fn verify(criterion: &mut Criterion) {
    let now = SystemTime::now();
    let regions = [REGION.to_owned()];
    let keys = OneKey { app: "bench".parse().expect("an app id"), secret: Secret::new(SECRET) };
    let context = VerifyContext { now, skew: Duration::from_secs(900), regions: &regions, keys: &keys };
    let verifier = Verifier::default();

    let mut group = criterion.benchmark_group("sigv4");
    for (name, location) in
        [("verify_header", SignatureLocation::Headers), ("verify_presigned", SignatureLocation::QueryParams)]
    {
        let parts = signed(now, location);
        verifier.verify(&parts, &context).expect("the oracle's signature is right");
        group.bench_function(name, |bencher| bencher.iter(|| verifier.verify(black_box(&parts), &context)));
    }
    let parts = signed(now, SignatureLocation::Headers);
    group.bench_function("verify_header_first_of_the_day", |bencher| {
        // A verifier that knows no key yet derives it: four HMACs more.
        bencher.iter(|| Verifier::default().verify(black_box(&parts), &context));
    });
    group.bench_function("aws_sigv4_sign", |bencher| {
        bencher.iter(|| oracle(black_box(now), SignatureLocation::Headers));
    });
    group.finish();
}

const BODY: usize = 8 << 20;
/// What the AWS SDKs cut a stream into.
const CHUNK: usize = 64 << 10;
/// As bodies arrive from a socket.
const FRAME: usize = 128 << 10;

fn decode(criterion: &mut Criterion) {
    let secret = Secret::new(SECRET);
    let key = SigningKey::derive(&secret, "20260101", REGION);
    let seed = ChunkSeed::new(key, [7; 32], "20260101/eu-central-1/s3/aws4_request", "20260101T000000Z");
    let unsigned = framed(None);
    let signed = framed(Some(&seed));

    let mut group = criterion.benchmark_group("chunks");
    group.throughput(Throughput::Bytes(BODY as u64));
    group.sample_size(20);
    group.bench_function("unsigned", |bencher| {
        bencher.iter(|| decoded(Framing::UnsignedTrailer, black_box(&unsigned)));
    });
    group.bench_function("signed", |bencher| {
        bencher.iter(|| decoded(Framing::Signed(seed.clone()), black_box(&signed)));
    });
    group.finish();

    let mut group = criterion.benchmark_group("checksum");
    group.throughput(Throughput::Bytes(BODY as u64));
    group.sample_size(20);
    let body = vec![b'x'; BODY];
    for algorithm in [Algorithm::Crc32, Algorithm::Crc64Nvme, Algorithm::Sha256] {
        group.bench_function(algorithm.header().as_str(), |bencher| {
            bencher.iter(|| {
                let mut hasher = Hasher::new(algorithm);
                hasher.update(black_box(&body));
                hasher.finish()
            });
        });
    }
    group.finish();
}

criterion_group!(benches, verify, decode);
criterion_main!(benches);

struct OneKey {
    app: AppId,
    secret: Secret,
}

impl KeyStore for OneKey {
    fn secret(&self, access_key_id: &str) -> Option<(&AppId, &Secret)> {
        (access_key_id == ACCESS_KEY_ID).then_some((&self.app, &self.secret))
    }
}

/// The request with AWS's own signature on it.
fn signed(now: SystemTime, location: SignatureLocation) -> Parts {
    let mut request = Request::builder().method("PUT").uri(URI);
    for (name, value) in HEADERS {
        request = request.header(name, value);
    }
    let mut request = request.body(()).expect("a request");
    oracle(now, location).apply_to_request_http1x(&mut request);
    request.into_parts().0
}

fn oracle(now: SystemTime, location: SignatureLocation) -> aws_sigv4::http_request::SigningInstructions {
    let mut settings = SigningSettings::default();
    settings.percent_encoding_mode = PercentEncodingMode::Single;
    settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
    settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
    settings.expires_in = (location == SignatureLocation::QueryParams).then_some(Duration::from_secs(3600));
    settings.signature_location = location;
    let identity = Credentials::new(ACCESS_KEY_ID, SECRET, None, None, "bench").into();
    let parameters = v4::SigningParams::builder()
        .identity(&identity)
        .region(REGION)
        .name("s3")
        .time(now)
        .settings(settings)
        .build()
        .expect("all parameters are there")
        .into();
    let request = SignableRequest::new("PUT", URI, HEADERS.into_iter(), SignableBody::UnsignedPayload)
        .expect("signable");
    sign(request, &parameters).expect("signed").into_parts().0
}

/// A body in chunks, with the signatures of `seed` if there is one, else with an empty trailer section.
fn framed(seed: Option<&ChunkSeed>) -> Bytes {
    let data = vec![b'x'; CHUNK];
    let mut out = Vec::with_capacity(BODY + BODY / 256);
    let mut previous = seed.map(ChunkSeed::signature).unwrap_or_default();
    let chunks = std::iter::repeat_n(&data[..], BODY / CHUNK).chain([&data[..0]]);
    for chunk in chunks {
        out.extend(format!("{:x}", chunk.len()).bytes());
        if let Some(seed) = seed {
            let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, chunk);
            previous = seed.chunk_signature(&previous, hash.as_ref().try_into().expect("32 bytes"));
            out.extend(format!(";chunk-signature={}", hex::encode(previous)).bytes());
        }
        out.extend(b"\r\n");
        if !chunk.is_empty() {
            out.extend_from_slice(chunk);
            out.extend(b"\r\n");
        }
    }
    out.extend(b"\r\n");
    out.into()
}

/// Decodes to the end; a flaw would end the run.
fn decoded(framing: Framing, body: &Bytes) -> usize {
    let mut decoder = Decoder::new(framing, BODY as u64);
    let mut events = 0;
    let mut at = 0;
    while at < body.len() {
        let end = (at + FRAME).min(body.len());
        let mut input = body.slice(at..end);
        while let Some(event) = decoder.next_event(&mut input).expect("well framed") {
            black_box(&event);
            events += 1;
        }
        at = end;
    }
    assert!(decoder.is_finished());
    events
}
