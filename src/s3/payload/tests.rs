//! Bodies that agree, bodies that do not, and how much of the latter anybody gets to see.

use std::collections::VecDeque;

use http_body_util::BodyExt;
use proptest::prelude::*;

use super::*;
use crate::s3::chunked::tests::{any_seed, encode};
use crate::s3::sigv4::Scheme;

/// A source of frames, which may break off.
struct Frames {
    frames: VecDeque<Result<Frame<Bytes>, BoxError>>,
}

impl Frames {
    fn of<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Body {
        let frames = pieces.into_iter().map(|piece| Ok(Frame::data(Bytes::copy_from_slice(piece)))).collect();
        Body::new(Frames { frames })
    }
}

impl HttpBody for Frames {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Poll::Ready(self.frames.pop_front())
    }
}

fn identity(payload: PayloadMode) -> Identity {
    Identity {
        app: "tests".parse().unwrap(),
        region: "us-east-1".to_owned(),
        scheme: Scheme::Header,
        payload,
        seed: any_seed(),
    }
}

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    pairs.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect()
}

fn wrap(body: Body, payload: PayloadMode, headers: &HeaderMap) -> Result<VerifiedBody, PayloadError> {
    VerifiedBody::new(body, headers, &identity(payload), Subject::Body, 1 << 20)
}

/// Reads to the end: the data that came out, and the error if there was one.
async fn drain(body: &mut VerifiedBody) -> (Vec<u8>, Option<PayloadError>) {
    let mut data = Vec::new();
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => data.extend_from_slice(&frame.into_data().unwrap_or_default()),
            Err(error) => {
                assert!(body.is_end_stream());
                assert!(body.frame().await.is_none(), "nothing comes after an error");
                return (data, Some(error));
            }
        }
    }
    assert!(body.is_end_stream());
    (data, None)
}

async fn outcome(
    pieces: &[&[u8]],
    payload: PayloadMode,
    pairs: &[(&'static str, &str)],
) -> (Vec<u8>, Option<PayloadError>) {
    match wrap(Frames::of(pieces.iter().copied()), payload, &headers(pairs)) {
        Ok(mut body) => drain(&mut body).await,
        Err(error) => (Vec::new(), Some(error)),
    }
}

fn base64_of(algorithm: Algorithm, data: &[u8]) -> String {
    let mut hasher = Hasher::new(algorithm);
    hasher.update(data);
    hasher.finish().to_base64()
}

fn sha256(data: &[u8]) -> [u8; 32] {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    hasher.update(data);
    hasher.finish().as_bytes().try_into().unwrap()
}

#[tokio::test]
async fn a_plain_body_passes_with_everything_it_asserts() {
    let pieces: [&[u8]; 3] = [b"hello, ", b"", b"world"];
    for algorithm in Algorithm::ALL {
        let name = algorithm.header();
        let mut all = headers(&[("content-length", "12"), ("content-md5", "5NfxtO0uQtFYmPSyewGdpA==")]);
        all.insert(name, base64_of(algorithm, b"hello, world").parse().unwrap());
        let mut body = wrap(Frames::of(pieces), PayloadMode::Sha256(sha256(b"hello, world")), &all).unwrap();
        let verdict = body.verdict();
        assert_eq!(body.size_hint().exact(), Some(12));
        assert_eq!(body.decoded_length(), 12);
        assert!(verdict.verified().is_none());
        let (data, error) = drain(&mut body).await;
        assert!(error.is_none(), "{error:?}");
        assert_eq!(data, b"hello, world");
        let verified = verdict.verified().unwrap();
        assert_eq!((verified.length, verified.checksum.unwrap().algorithm()), (12, algorithm));
    }
}

#[tokio::test]
async fn the_size_hint_counts_down_to_zero() {
    let pieces: [&[u8]; 2] = [b"abc", b"de"];
    let mut body =
        wrap(Frames::of(pieces), PayloadMode::Unsigned, &headers(&[("content-length", "5")])).unwrap();
    body.frame().await.unwrap().unwrap();
    assert_eq!(body.size_hint().exact(), Some(2));
    body.frame().await.unwrap().unwrap();
    assert_eq!(body.size_hint().exact(), Some(0));
    assert!(body.is_end_stream());
}

#[tokio::test]
async fn a_wrong_assertion_costs_the_last_piece() {
    let pieces: [&[u8]; 3] = [b"one", b"two", b"three"];
    let other = base64_of(Algorithm::Crc32c, b"other");
    let cases: [(PayloadMode, (&'static str, &str), Code); 3] = [
        (PayloadMode::Sha256([7; 32]), ("x-other", ""), Code::XAmzContentSHA256Mismatch),
        (PayloadMode::Unsigned, ("content-md5", "1B2M2Y8AsgTpgAmY7PhCfg=="), Code::BadDigest),
        (PayloadMode::Unsigned, ("x-amz-checksum-crc32c", &other), Code::BadDigest),
    ];
    for (payload, header, code) in cases {
        let (data, error) = outcome(&pieces, payload, &[("content-length", "11"), header]).await;
        assert_eq!(data, b"onetwo", "the last piece is never released");
        assert_eq!(S3Error::from(error.unwrap()).code, code);
    }
}

#[tokio::test]
async fn the_length_must_be_the_one_announced() {
    let pieces: [&[u8]; 2] = [b"abc", b"def"];
    let with = |length: &'static str| async move {
        outcome(&pieces, PayloadMode::Unsigned, &[("content-length", length)]).await
    };
    let (data, error) = with("7").await;
    assert!(matches!(error, Some(PayloadError::Incomplete { expected: 7, received: 6 })));
    assert_eq!(data, b"abc");
    let (data, error) = with("5").await;
    assert!(matches!(error, Some(PayloadError::TooLong { expected: 5 })));
    assert_eq!(data, b"");
    assert!(matches!(with("+6").await.1, Some(PayloadError::MalformedLength)));
    assert!(matches!(with("99999999999999999999").await.1, Some(PayloadError::MalformedLength)));
    assert!(matches!(with("1048577").await.1, Some(PayloadError::TooLarge { max_bytes: 1_048_576 })));
}

#[tokio::test]
async fn a_body_without_a_length_is_refused_unless_there_is_none() {
    let (_, error) = outcome(&[b"abc"], PayloadMode::Unsigned, &[]).await;
    assert_eq!(S3Error::from(error.unwrap()).code, Code::MissingContentLength);
    let (_, error) =
        outcome(&[b"0\r\n\r\n"], PayloadMode::StreamingUnsignedTrailer, &[("content-length", "5")]).await;
    assert_eq!(S3Error::from(error.unwrap()).code, Code::MissingContentLength);
    let none = wrap(Body::empty(), PayloadMode::Unsigned, &HeaderMap::new()).unwrap();
    assert_eq!(none.size_hint().exact(), Some(0));
}

#[tokio::test]
async fn an_empty_body_is_judged_too() {
    let crc = [("content-length", "0"), ("x-amz-checksum-crc32", "AAAAAA==")];
    let body = wrap(Body::empty(), PayloadMode::Sha256(sha256(b"")), &headers(&crc)).unwrap();
    assert!(body.is_end_stream() && body.verdict().verified().is_some());
    let error = wrap(Body::empty(), PayloadMode::Sha256([0; 32]), &headers(&crc)).unwrap_err();
    assert_eq!(S3Error::from(error).code, Code::XAmzContentSHA256Mismatch);
    let bad = [("content-length", "0"), ("x-amz-checksum-crc32", "AAAAAQ==")];
    let error = wrap(Body::empty(), PayloadMode::Unsigned, &headers(&bad)).unwrap_err();
    assert_eq!(S3Error::from(error).code, Code::BadDigest);
}

#[tokio::test]
async fn an_empty_framed_body_is_judged_when_it_is_settled() {
    let seed = any_seed();
    let length = [("x-amz-decoded-content-length", "0")];
    let good = encode(Some(&seed), &[], None);
    let mut body = wrap(Frames::of([&good[..]]), PayloadMode::StreamingSigned, &headers(&length)).unwrap();
    assert!(!body.is_end_stream());
    body.settle_empty().await.unwrap();
    assert!(body.is_end_stream());

    let bad = String::from_utf8(good).unwrap().replace("signature=", "signature=0").replace("\r\n\r\n", "");
    let bad = format!("{}\r\n\r\n", &bad[..bad.len() - 1]);
    let mut body =
        wrap(Frames::of([bad.as_bytes()]), PayloadMode::StreamingSigned, &headers(&length)).unwrap();
    let error = body.settle_empty().await.unwrap_err();
    assert_eq!(S3Error::from(error).code, Code::SignatureDoesNotMatch);
}

#[tokio::test]
async fn settling_leaves_other_bodies_alone() {
    let mut body =
        wrap(Frames::of([&b"abc"[..]]), PayloadMode::Unsigned, &headers(&[("content-length", "3")])).unwrap();
    body.settle_empty().await.unwrap();
    assert_eq!(drain(&mut body).await.0, b"abc");
}

#[tokio::test]
async fn a_trailing_checksum_is_verified_and_handed_on() {
    let value = base64_of(Algorithm::Crc64Nvme, b"payload");
    let wire = encode(None, &[b"pay", b"load"], Some(&[("x-amz-checksum-crc64nvme", &value)]));
    let all = headers(&[
        ("x-amz-decoded-content-length", "7"),
        ("x-amz-trailer", "x-amz-checksum-crc64nvme"),
        ("x-amz-sdk-checksum-algorithm", "CRC64NVME"),
    ]);
    let mut body = wrap(Frames::of(wire.chunks(5)), PayloadMode::StreamingUnsignedTrailer, &all).unwrap();
    assert_eq!(body.checks.asserted.trailer, Some(Algorithm::Crc64Nvme));
    let verdict = body.verdict();
    let (data, error) = drain(&mut body).await;
    assert!(error.is_none(), "{error:?}");
    assert_eq!(data, b"payload");
    assert_eq!(verdict.verified().unwrap().checksum.unwrap().to_base64(), value);
    let mut settled = all.clone();
    strip_framing(&mut settled, PayloadMode::StreamingUnsignedTrailer, 7);
    verdict.settle_trailer(&mut settled);
    let expected = headers(&[
        ("content-length", "7"),
        ("x-amz-sdk-checksum-algorithm", "CRC64NVME"),
        ("x-amz-checksum-crc64nvme", &value),
    ]);
    assert_eq!(settled, expected);
}

#[tokio::test]
async fn a_trailing_checksum_comes_out_behind_the_last_piece_and_once_only() {
    let value = base64_of(Algorithm::Crc32, b"payload");
    let wire = encode(None, &[b"pay", b"load"], Some(&[("x-amz-checksum-crc32", &value)]));
    let all = headers(&[("x-amz-decoded-content-length", "7"), ("x-amz-trailer", "x-amz-checksum-crc32")]);
    let mut body = wrap(Frames::of(wire.chunks(5)), PayloadMode::StreamingUnsignedTrailer, &all).unwrap();
    let mut unsettled = all.clone();
    body.verdict().settle_trailer(&mut unsettled);
    assert_eq!(unsettled, all, "before the end there is nothing to settle");
    let mut data = Vec::new();
    let trailers = loop {
        assert!(!body.is_end_stream());
        match body.frame().await.unwrap().unwrap().into_data() {
            Ok(piece) => data.extend_from_slice(&piece),
            Err(frame) => break frame.into_trailers().unwrap(),
        }
    };
    assert_eq!(data, b"payload");
    assert_eq!(trailers, headers(&[("x-amz-checksum-crc32", &value)]));
    assert!(body.is_end_stream() && body.frame().await.is_none());
}

#[tokio::test]
async fn trailers_must_be_those_announced() {
    let good = base64_of(Algorithm::Crc32, b"abc");
    let announced = [("x-amz-decoded-content-length", "3"), ("x-amz-trailer", "x-amz-checksum-crc32")];
    let with = |pairs: Vec<(&'static str, &'static str)>, trailers: Vec<(&'static str, String)>| async move {
        let trailers: Vec<(&str, &str)> = trailers.iter().map(|(n, v)| (*n, v.as_str())).collect();
        let wire = encode(None, &[b"abc"], Some(&trailers));
        let (data, error) = outcome(&[&wire], PayloadMode::StreamingUnsignedTrailer, &pairs).await;
        assert!(data.is_empty() || error.is_none(), "a body of one piece that fails releases nothing");
        error.map(|error| S3Error::from(error).code)
    };
    let crc = "x-amz-checksum-crc32";
    assert_eq!(with(announced.to_vec(), vec![(crc, good.clone())]).await, None);
    assert_eq!(with(announced.to_vec(), vec![(crc, "AAAAAA==".to_owned())]).await, Some(Code::BadDigest));
    assert_eq!(with(announced.to_vec(), vec![(crc, "!".to_owned())]).await, Some(Code::InvalidRequest));
    assert_eq!(with(announced.to_vec(), vec![]).await, Some(Code::MalformedTrailerError));
    let more = vec![(crc, good.clone()), ("x-amz-meta-a", "1".to_owned())];
    assert_eq!(with(announced.to_vec(), more).await, Some(Code::MalformedTrailerError));
    let other = vec![("x-amz-checksum-crc32c", good.clone())];
    assert_eq!(with(announced.to_vec(), other).await, Some(Code::MalformedTrailerError));
    let unannounced = vec![("x-amz-decoded-content-length", "3")];
    assert_eq!(with(unannounced.clone(), vec![(crc, good)]).await, Some(Code::MalformedTrailerError));
    assert_eq!(with(unannounced, vec![]).await, None);
}

#[tokio::test]
async fn a_trailer_needs_a_framing_that_has_one() {
    let pairs = [("content-length", "3"), ("x-amz-trailer", "x-amz-checksum-crc32")];
    let (_, error) = outcome(&[b"abc"], PayloadMode::Unsigned, &pairs).await;
    assert!(matches!(error, Some(PayloadError::TrailerWithoutFraming)));
}

#[tokio::test]
async fn http_trailers_go_no_further() {
    let frames = VecDeque::from([
        Ok(Frame::data(Bytes::from_static(b"abc"))),
        Ok(Frame::trailers(headers(&[("x-amz-meta-a", "1")]))),
    ]);
    let body = Body::new(Frames { frames });
    let mut body = wrap(body, PayloadMode::Unsigned, &headers(&[("content-length", "3")])).unwrap();
    assert_eq!(drain(&mut body).await.0, b"abc");
}

#[tokio::test]
async fn a_source_that_breaks_off_releases_no_last_piece_and_says_nothing_of_itself() {
    let frames = VecDeque::from([
        Ok(Frame::data(Bytes::from_static(b"abc"))),
        Ok(Frame::data(Bytes::from_static(b"def"))),
        Err(BoxError::from("connection of 192.0.2.1 reset")),
    ]);
    let body = Body::new(Frames { frames });
    let mut body = wrap(body, PayloadMode::Unsigned, &headers(&[("content-length", "6")])).unwrap();
    let (data, error) = drain(&mut body).await;
    assert_eq!(data, b"abc");
    let answer = S3Error::from(error.unwrap());
    assert_eq!(answer.code, Code::IncompleteBody);
    assert!(!answer.message.contains("192.0.2.1"));
}

#[tokio::test]
async fn data_after_the_framing_is_refused() {
    let seed = any_seed();
    let mut wire = encode(Some(&seed), &[b"abc"], None);
    wire.extend(b"more");
    let pairs = [("x-amz-decoded-content-length", "3")];
    let (data, error) = outcome(&[&wire], PayloadMode::StreamingSigned, &pairs).await;
    assert!(data.is_empty());
    assert!(matches!(error, Some(PayloadError::Framing(ChunkError::DataAfterEnd))));
    wire.truncate(wire.len() - 4);
    let (data, error) = outcome(&[&wire, b"more"], PayloadMode::StreamingSigned, &pairs).await;
    assert!(data.is_empty());
    assert!(matches!(error, Some(PayloadError::Framing(ChunkError::DataAfterEnd))));
}

#[test]
fn stripping_takes_the_framing_and_nothing_else() {
    let mut framed = headers(&[
        ("content-encoding", "gzip, AWS-Chunked ,br"),
        ("content-length", "99"),
        ("transfer-encoding", "chunked"),
        ("x-amz-decoded-content-length", "7"),
        ("x-amz-trailer", "x-amz-checksum-crc32"),
        ("x-amz-sdk-checksum-algorithm", "CRC32"),
        ("x-amz-meta-a", "1"),
    ]);
    strip_framing(&mut framed, PayloadMode::StreamingUnsignedTrailer, 7);
    let expected = headers(&[
        ("content-encoding", "gzip,br"),
        ("content-length", "7"),
        ("x-amz-trailer", "x-amz-checksum-crc32"),
        ("x-amz-sdk-checksum-algorithm", "CRC32"),
        ("x-amz-meta-a", "1"),
    ]);
    assert_eq!(framed, expected);

    let mut framed = headers(&[
        ("content-encoding", "aws-chunked"),
        ("x-amz-decoded-content-length", "7"),
        ("x-amz-sdk-checksum-algorithm", "CRC32"),
        ("x-amz-checksum-crc32", "AAAAAA=="),
    ]);
    strip_framing(&mut framed, PayloadMode::StreamingSigned, 7);
    let expected = headers(&[
        ("content-length", "7"),
        ("x-amz-sdk-checksum-algorithm", "CRC32"),
        ("x-amz-checksum-crc32", "AAAAAA=="),
    ]);
    assert_eq!(framed, expected);

    let mut framed = HeaderMap::new();
    framed.append("content-encoding", "aws-chunked".parse().unwrap());
    framed.append("content-encoding", "zstd, x".parse().unwrap());
    strip_framing(&mut framed, PayloadMode::StreamingSigned, 0);
    assert_eq!(framed, headers(&[("content-encoding", "zstd, x"), ("content-length", "0")]));

    let mut plain = headers(&[("content-encoding", "aws-chunked"), ("content-length", "7")]);
    let before = plain.clone();
    strip_framing(&mut plain, PayloadMode::Unsigned, 7);
    assert_eq!(plain, before);
}

/// Runs a future that never waits for anything.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn a_tampered_signed_body_never_comes_out_whole(
        chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..60), 1..5),
        frame in 1..200usize,
        at: usize,
        bit in 0..8u32,
        trailer: bool,
    ) {
        let payload = chunks.concat();
        let value = base64_of(Algorithm::Crc32, &payload);
        let chunks: Vec<&[u8]> = chunks.iter().map(Vec::as_slice).collect();
        let trailers = [("x-amz-checksum-crc32", value.as_str())];
        let seed = any_seed();
        let mut wire = encode(Some(&seed), &chunks, trailer.then_some(&trailers[..]));
        let length = payload.len().to_string();
        let mut all = headers(&[("x-amz-decoded-content-length", &length)]);
        let mode = if trailer {
            all.insert("x-amz-trailer", "x-amz-checksum-crc32".parse().unwrap());
            PayloadMode::StreamingSignedTrailer
        } else {
            PayloadMode::StreamingSigned
        };
        let read = |wire: &[u8]| {
            let mut body = wrap(Frames::of(wire.chunks(frame)), mode, &all).unwrap();
            block_on(drain(&mut body))
        };
        let (data, error) = read(&wire);
        prop_assert!(error.is_none(), "{:?}", error);
        prop_assert_eq!(&data, &payload);

        let at = at % wire.len();
        wire[at] ^= 1 << bit;
        let (data, error) = read(&wire);
        if error.is_some() {
            prop_assert!(data.len() < payload.len(), "all {} bytes came out before the error", payload.len());
        } else {
            // A hex digit in the other case says the same.
            prop_assert_eq!(&data, &payload);
        }
    }

    #[test]
    fn frames_of_any_size_give_the_same_body(
        payload in proptest::collection::vec(any::<u8>(), 0..600),
        frame in 1..700usize,
    ) {
        let length = payload.len().to_string();
        let all = headers(&[("content-length", &length)]);
        let mut body =
            wrap(Frames::of(payload.chunks(frame)), PayloadMode::Sha256(sha256(&payload)), &all).unwrap();
        let (data, error) = block_on(drain(&mut body));
        prop_assert!(error.is_none());
        prop_assert_eq!(data, payload);
    }
}
