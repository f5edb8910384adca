//! AWS's own examples: of the S3 API reference, and of the signing test suite.

use std::path::Path;

use http::uri::PathAndQuery;
use http::{HeaderName, Request, Uri};

use super::*;

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
