//! AWS's example body, framing that must be refused, and properties over random bodies and splits.

use proptest::prelude::*;

use super::*;
use crate::config::Secret;
use crate::s3::sigv4::SigningKey;

const SCOPE: &str = "20130524/us-east-1/s3/aws4_request";

/// The seed of the examples in the S3 API reference, with this request signature.
pub(crate) fn example_seed(signature: &str) -> ChunkSeed {
    let secret = Secret::new("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY");
    let key = SigningKey::derive(&secret, "20130524", "us-east-1");
    ChunkSeed::new(key, parse_signature(signature.as_bytes()).unwrap(), SCOPE, "20130524T000000Z")
}

pub(crate) fn any_seed() -> ChunkSeed {
    example_seed(&"ab".repeat(32))
}

/// Frames `chunks` as a client does: signed if there is a seed, with a trailer section if there are trailers.
pub(crate) fn encode(
    seed: Option<&ChunkSeed>,
    chunks: &[&[u8]],
    trailers: Option<&[(&str, &str)]>,
) -> Vec<u8> {
    let sha256 = |data: &[u8]| {
        let mut hash = digest::Context::new(&digest::SHA256);
        hash.update(data);
        finish(hash)
    };
    let mut out = Vec::new();
    let mut previous = seed.map(ChunkSeed::signature).unwrap_or_default();
    let last: [&[u8]; 1] = [b""];
    for chunk in chunks.iter().filter(|chunk| !chunk.is_empty()).chain(&last) {
        out.extend(format!("{:x}", chunk.len()).bytes());
        if let Some(seed) = seed {
            previous = seed.chunk_signature(&previous, &sha256(chunk));
            out.extend(format!(";chunk-signature={}", hex::encode(previous)).bytes());
        }
        out.extend(b"\r\n");
        if !chunk.is_empty() {
            out.extend_from_slice(chunk);
            out.extend(b"\r\n");
        }
    }
    if let Some(trailers) = trailers {
        let mut canonical = String::new();
        for (name, value) in trailers {
            out.extend(format!("{name}:{value}\r\n").bytes());
            canonical.push_str(&format!("{name}:{value}\n"));
        }
        if let Some(seed) = seed {
            let signature = seed.trailer_signature(&previous, &sha256(canonical.as_bytes()));
            out.extend(format!("x-amz-trailer-signature:{}\r\n", hex::encode(signature)).bytes());
        }
    }
    out.extend(b"\r\n");
    out
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Decoded {
    data: Vec<u8>,
    chunks: usize,
    trailers: Option<Vec<Trailer>>,
}

/// Feeds the pieces one after another, and the end.
fn decode<'a>(
    framing: Framing,
    length: u64,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> (Decoded, Result<(), ChunkError>) {
    let mut decoder = Decoder::new(framing, length);
    let mut decoded = Decoded::default();
    for piece in pieces {
        let mut input = Bytes::copy_from_slice(piece);
        loop {
            match decoder.next_event(&mut input) {
                Ok(Some(Event::Data(data))) => {
                    assert!(!data.is_empty());
                    decoded.data.extend_from_slice(&data);
                }
                Ok(Some(Event::ChunkVerified)) => decoded.chunks += 1,
                Ok(Some(Event::Trailers(trailers))) => decoded.trailers = Some(trailers),
                Ok(Some(Event::End)) => assert!(decoder.is_finished()),
                Ok(None) => break,
                Err(error) => return (decoded, Err(error)),
            }
        }
        assert!(input.is_empty());
    }
    (decoded, if decoder.is_finished() { Ok(()) } else { Err(ChunkError::Truncated) })
}

fn unsigned(length: u64, body: &str) -> Result<Decoded, ChunkError> {
    let (decoded, result) = decode(Framing::UnsignedTrailer, length, [body.as_bytes()]);
    result.map(|()| decoded)
}

#[test]
fn the_chunked_example_of_the_s3_api_reference_decodes() {
    let mut body = Vec::new();
    for (header, length) in [
        ("10000;chunk-signature=ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648", 65536),
        ("400;chunk-signature=0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497", 1024),
        ("0;chunk-signature=b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9", 0),
    ] {
        body.extend(header.bytes());
        body.extend(b"\r\n");
        body.extend(vec![b'a'; length]);
        body.extend(b"\r\n");
    }
    assert_eq!(body.len(), 66824);
    let seed = example_seed("4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9");
    let (decoded, result) = decode(Framing::Signed(seed), 66560, [&body[..]]);
    assert_eq!(result, Ok(()));
    assert_eq!(decoded, Decoded { data: vec![b'a'; 66560], chunks: 3, trailers: None });
}

#[test]
fn the_trailer_example_of_the_s3_api_reference_decodes() {
    let mut body = Vec::new();
    for (header, length) in [
        ("10000;chunk-signature=b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2", 65536),
        ("400;chunk-signature=1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7", 1024),
    ] {
        body.extend(header.bytes());
        body.extend(b"\r\n");
        body.extend(vec![b'a'; length]);
        body.extend(b"\r\n");
    }
    body.extend(
        b"0;chunk-signature=2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992\r\n\
          x-amz-checksum-crc32c:sOO8/Q==\r\n\
          x-amz-trailer-signature:d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435\r\n\r\n",
    );
    let seed = example_seed("106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e");
    let (decoded, result) = decode(Framing::SignedTrailer(seed), 66560, [&body[..]]);
    assert_eq!(result, Ok(()));
    let trailer = Trailer { name: "x-amz-checksum-crc32c".to_owned(), value: "sOO8/Q==".to_owned() };
    assert_eq!(decoded.trailers, Some(vec![trailer]));
}

#[test]
fn an_empty_payload_is_one_empty_chunk() {
    assert_eq!(unsigned(0, "0\r\n\r\n").unwrap().trailers, Some(vec![]));
    let seed = any_seed();
    let body = encode(Some(&seed), &[], None);
    let (decoded, result) = decode(Framing::Signed(seed), 0, [&body[..]]);
    assert_eq!((decoded.chunks, result), (1, Ok(())));
}

#[test]
fn trailer_names_are_lowered_and_values_trimmed() {
    let decoded = unsigned(1, "1\r\na\r\n0\r\nX-Amz-Checksum-Crc32:  6LeLNQ== \r\n\r\n").unwrap();
    let trailer = Trailer { name: "x-amz-checksum-crc32".to_owned(), value: "6LeLNQ==".to_owned() };
    assert_eq!(decoded.trailers, Some(vec![trailer]));
}

#[test]
fn a_trailer_may_end_as_the_client_of_minio_ends_it() {
    let expected = Some(vec![Trailer { name: "a".to_owned(), value: "1".to_owned() }]);
    assert_eq!(unsigned(0, "0\r\na:1\n\r\n\r\n").unwrap().trailers, expected);
    let seed = any_seed();
    let whole = String::from_utf8(encode(Some(&seed), &[], Some(&[("a", "1")]))).unwrap();
    let minio = whole.replace("a:1\r\n", "a:1\n\r\n");
    for pieces in [1, minio.len()] {
        let (decoded, result) =
            decode(Framing::SignedTrailer(seed.clone()), 0, minio.as_bytes().chunks(pieces));
        assert_eq!((decoded.trailers, result), (expected.clone(), Ok(())));
    }
}

#[test]
fn every_breach_of_the_framing_has_its_own_reason() {
    use ChunkError::{
        DataAfterEnd, Extension, LineEnd, LineTooLong, Size, TooLittleData, TooManyTrailers, TooMuchData,
        TrailerMalformed, Truncated,
    };
    let long_line = "0".repeat(2000);
    let many: String = (0..17).map(|n| format!("x-{n}:1\r\n")).collect();
    let many = format!("0\r\n{many}\r\n");
    let wide: String = (0..10).map(|n| format!("x-{n}:{}\r\n", "a".repeat(900))).collect();
    let wide = format!("0\r\n{wide}\r\n");
    for (length, body, expected) in [
        (1, "1\na\r\n0\r\n\r\n", LineEnd),
        (1, "1\r\r\na\r\n0\r\n\r\n", LineEnd),
        (1, "1\r\nab\r\n0\r\n\r\n", LineEnd),
        (1, "1\r\na\n0\r\n\r\n", LineEnd),
        (1, "1\r\na\rX0\r\n\r\n", LineEnd),
        (0, "0\r\na:1\n\r\n", Truncated),
        (0, "0\r\na:1\nb:2\r\n\r\n", LineEnd),
        (0, "0\r\na:1\n\n\r\n", LineEnd),
        (0, "0\r\n\n\r\n", TrailerMalformed),
        (1, "\r\na\r\n", Size),
        (1, " 1\r\na\r\n0\r\n\r\n", Size),
        (1, "+1\r\na\r\n0\r\n\r\n", Size),
        (1, "0x1\r\na\r\n0\r\n\r\n", Size),
        (1, "00000000000000001\r\na\r\n0\r\n\r\n", Size),
        (u64::MAX, "140000001\r\n", Size),
        (u64::MAX, "ffffffffffffffff\r\n", Size),
        (1, "1;name=value\r\na\r\n0\r\n\r\n", Extension),
        (1, "1;\r\na\r\n0\r\n\r\n", Extension),
        (1, "2\r\nab\r\n0\r\n\r\n", TooMuchData),
        (1, "1\r\na\r\n1\r\nb\r\n0\r\n\r\n", TooMuchData),
        (2, "1\r\na\r\n0\r\n\r\n", TooLittleData),
        (1, "1\r\na\r\n0\r\n", Truncated),
        (1, "1\r\na", Truncated),
        (1, "", Truncated),
        (1, "1\r\na\r\n0\r\n\r\nx", DataAfterEnd),
        (1, "1\r\na\r\n0\r\nno colon\r\n\r\n", TrailerMalformed),
        (1, "1\r\na\r\n0\r\n:1\r\n\r\n", TrailerMalformed),
        (1, "1\r\na\r\n0\r\na b:1\r\n\r\n", TrailerMalformed),
        (1, "1\r\na\r\n0\r\na:1\r\nA:2\r\n\r\n", TrailerMalformed),
        (1, "1\r\na\r\n0\r\na:\u{1}\r\n\r\n", TrailerMalformed),
        (1, "1\r\na\r\n0\r\nx-amz-trailer-signature:00\r\n\r\n", TrailerMalformed),
        (0, &many, TooManyTrailers),
        (0, &wide, TooManyTrailers),
        (1, &long_line, LineTooLong),
    ] {
        assert_eq!(unsigned(length, body), Err(expected), "{:?}", &body[..body.len().min(60)]);
    }
}

#[test]
fn signed_framing_needs_all_of_its_signatures() {
    let seed = any_seed();
    let signed = |body: &str| decode(Framing::Signed(seed.clone()), 0, [body.as_bytes()]).1;
    assert_eq!(signed("0\r\n\r\n"), Err(ChunkError::SignatureMissing));
    assert_eq!(signed("0;chunk-signature=ab\r\n\r\n"), Err(ChunkError::SignatureMalformed));
    assert_eq!(signed("0;chunk-sig=ab\r\n\r\n"), Err(ChunkError::Extension));
    assert_eq!(signed(&format!("0;chunk-signature={}\r\n\r\n", "00".repeat(32))), Err(ChunkError::Signature));

    let body = encode(Some(&seed), &[], None);
    let with_trailer = [body.strip_suffix(b"\r\n").unwrap(), b"a:1\r\n\r\n"].concat();
    let decode = |framing, body: &[u8]| decode(framing, 0, [body]).1;
    assert_eq!(decode(Framing::Signed(seed.clone()), &with_trailer), Err(ChunkError::UnexpectedTrailer));
    let trailing = || Framing::SignedTrailer(seed.clone());
    assert_eq!(decode(trailing(), &with_trailer), Err(ChunkError::TrailerSignatureMissing));

    let whole = String::from_utf8(encode(Some(&seed), &[], Some(&[("a", "1")]))).unwrap();
    assert_eq!(decode(trailing(), whole.as_bytes()), Ok(()));
    assert_eq!(decode(trailing(), whole.replace("a:1", "a:2").as_bytes()), Err(ChunkError::TrailerSignature));
    let after = whole.replace("\r\n\r\n", "\r\nb:2\r\n\r\n");
    assert_eq!(decode(trailing(), after.as_bytes()), Err(ChunkError::TrailerAfterSignature));
}

#[test]
fn chunks_cannot_be_reordered_dropped_or_repeated() {
    let seed = any_seed();
    let body = encode(Some(&seed), &[b"aaaa", b"bbbb"], None);
    let chunk = body.len() - encode(Some(&seed), &[b"aaaa"], None).len();
    let (first, rest) = body.split_at(chunk);
    let (second, last) = rest.split_at(chunk);
    let decode =
        |length, pieces: &[&[u8]]| decode(Framing::Signed(seed.clone()), length, pieces.iter().copied()).1;
    assert_eq!(decode(8, &[first, second, last]), Ok(()));
    assert_eq!(decode(8, &[second, first, last]), Err(ChunkError::Signature));
    assert_eq!(decode(4, &[first, last]), Err(ChunkError::Signature));
    assert_eq!(decode(12, &[first, first, second, last]), Err(ChunkError::Signature));
}

#[test]
fn data_is_passed_on_without_a_copy() {
    let mut input = Bytes::from(encode(None, &[b"payload"], Some(&[])));
    let range = input.as_ptr_range();
    let mut decoder = Decoder::new(Framing::UnsignedTrailer, 7);
    let Ok(Some(Event::Data(data))) = decoder.next_event(&mut input) else { panic!("no data") };
    assert!(range.contains(&data.as_ptr()));
}

/// A body in some framing, its payload, and where its wire form is cut.
fn bodies() -> impl Strategy<Value = (Vec<Vec<u8>>, usize, Vec<usize>)> {
    (
        proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..80), 0..5),
        0..3usize,
        proptest::collection::vec(0..2000usize, 0..40),
    )
}

fn framed(kind: usize, chunks: &[Vec<u8>]) -> (Framing, Vec<u8>) {
    let chunks: Vec<&[u8]> = chunks.iter().map(Vec::as_slice).collect();
    let seed = any_seed();
    let trailers: &[(&str, &str)] = &[("x-amz-checksum-crc32", "AAAAAA==")];
    match kind {
        0 => (Framing::UnsignedTrailer, encode(None, &chunks, Some(trailers))),
        1 => (Framing::Signed(seed.clone()), encode(Some(&seed), &chunks, None)),
        _ => (Framing::SignedTrailer(seed.clone()), encode(Some(&seed), &chunks, Some(trailers))),
    }
}

fn cut<'a>(body: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let mut at: Vec<usize> = cuts.iter().map(|cut| cut % (body.len() + 1)).collect();
    at.extend([0, body.len()]);
    at.sort_unstable();
    at.windows(2).map(|pair| &body[pair[0]..pair[1]]).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn the_way_the_input_is_split_does_not_matter((chunks, kind, cuts) in bodies()) {
        let payload = chunks.concat();
        let (framing, body) = framed(kind, &chunks);
        let (whole, result) = decode(framing.clone(), payload.len() as u64, [&body[..]]);
        prop_assert_eq!(result, Ok(()));
        prop_assert_eq!(&whole.data, &payload);
        let (split, result) = decode(framing.clone(), payload.len() as u64, cut(&body, &cuts));
        prop_assert_eq!(result, Ok(()));
        prop_assert_eq!(&split, &whole);
        let (bytes, result) = decode(framing, payload.len() as u64, body.chunks(1));
        prop_assert_eq!(result, Ok(()));
        prop_assert_eq!(&bytes, &whole);
    }

    #[test]
    fn a_flipped_bit_anywhere_in_a_signed_body_is_refused((chunks, kind, cuts) in bodies(), at: usize, bit in 0..8u32) {
        let payload = chunks.concat();
        let (framing, mut body) = framed(1 + kind % 2, &chunks);
        let (original, _) = decode(framing.clone(), payload.len() as u64, [&body[..]]);
        let at = at % body.len();
        body[at] ^= 1 << bit;
        let (decoded, result) = decode(framing, payload.len() as u64, cut(&body, &cuts));
        // The hex digits of sizes and signatures, and the names of trailers, mean the same in either case.
        let same = body[at].is_ascii_alphabetic() && bit == 5 && decoded == original;
        prop_assert!(result.is_err() || same, "byte {} is now {:?}", at, char::from(body[at]));
    }

    #[test]
    fn a_body_that_is_cut_short_is_refused((chunks, kind, cuts) in bodies(), at: usize) {
        let payload = chunks.concat();
        let (framing, body) = framed(kind, &chunks);
        let body = &body[..at % body.len()];
        let (decoded, result) = decode(framing, payload.len() as u64, cut(body, &cuts));
        prop_assert_eq!(result, Err(ChunkError::Truncated));
        prop_assert!(payload.starts_with(&decoded.data));
    }

    #[test]
    fn arbitrary_bytes_do_no_harm(body in proptest::collection::vec(any::<u8>(), 0..400), length: u64, kind in 0..3usize, prefix in "[0-9a-f]{0,3}(;chunk-signature=([0-9a-f]{64})?)?\r?\n?") {
        let framing = framed(kind, &[]).0;
        let body = [prefix.as_bytes(), &body].concat();
        let (decoded, _) = decode(framing, length, [&body[..]]);
        prop_assert!(decoded.data.len() as u64 <= length);
        prop_assert!(decoded.data.len() <= body.len());
    }
}
