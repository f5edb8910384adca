//! Bodies: every form that S3 knows is taken, and one that is not what it says never becomes an object.

use base64::Engine as _;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::app::{bucket, clean_text, get, keys, put};
use crate::support::gateway::{Gateway, PATIENCE, eventually};
use crate::support::raw::{Answer, Raw, UNSIGNED, sha256};

async fn gateway() -> Gateway {
    let gateway = Gateway::demo().await;
    bucket(&gateway.client(), "clinic").await;
    gateway
}

fn base64(bytes: impl AsRef<[u8]>) -> String {
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

fn crc32(data: &[u8]) -> String {
    let crc = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32IsoHdlc, data);
    base64(u32::try_from(crc).unwrap().to_be_bytes())
}

fn put_request(gateway: &Gateway) -> Raw {
    Raw::new(gateway, "PUT", "/clinic/o")
}

/// Nothing was stored, and none of the bytes lie anywhere.
async fn nothing_stored(gateway: &Gateway) {
    assert!(keys(&gateway.client(), "clinic").await.is_empty());
    gateway.settled_disks_with(b"smuggled", &[]).await;
}

#[tokio::test]
async fn every_form_of_a_body_is_taken() {
    let gateway = gateway().await;
    let client = gateway.client();
    let data = clean_text(200_000);
    let chunks: Vec<&[u8]> = data.chunks(65_536).collect();
    let plain = put_request(&gateway).body(data.clone());
    let forms = [
        ("by its hash", plain.clone().sign()),
        ("unsigned", plain.sign_with(UNSIGNED)),
        ("in signed chunks", put_request(&gateway).sign_chunks(&chunks, None, |_| {})),
        (
            "in signed chunks with a trailer",
            put_request(&gateway).sign_chunks(&chunks, Some(("x-amz-checksum-crc32", &crc32(&data))), |_| {}),
        ),
        (
            "unsigned with a trailer",
            put_request(&gateway).trail(&data, "x-amz-checksum-crc32", &crc32(&data)),
        ),
        (
            "unsigned with a trailer of SHA-256",
            put_request(&gateway).trail(&data, "x-amz-checksum-sha256", &base64(sha256(&data))),
        ),
    ];
    for (form, request) in forms {
        let answer = request.send().await;
        assert_eq!(answer.status, 200, "{form}: {}", answer.text());
        assert!(get(&client, "clinic", "o").await == data, "{form}");
        client.delete_object().bucket("clinic").key("o").send().await.unwrap();
    }
    // The framing is taken off: what was framed and empty is empty.
    let empty = put_request(&gateway).trail(b"", "x-amz-checksum-crc32", &crc32(b"")).send().await;
    assert_eq!(empty.status, 200, "{}", empty.text());
    assert_eq!(get(&client, "clinic", "o").await, b"");
    let head = client.head_object().bucket("clinic").key("o").send().await.unwrap();
    assert!(head.content_encoding().is_none_or(str::is_empty));
}

#[tokio::test]
async fn a_chunk_with_a_bad_signature_makes_no_object() {
    let gateway = gateway().await;
    let data = [b"smuggled".repeat(10_000), b"the last".to_vec()].concat();
    let chunks: Vec<&[u8]> = data.chunks(16_384).collect();
    let last = |body: &mut Vec<u8>| {
        let at = memchr::memmem::rfind(body, b"the last").unwrap();
        body[at] = b'T';
    };
    put_request(&gateway).sign_chunks(&chunks, None, last).send().await.refused(403, "SignatureDoesNotMatch");
    let trailer = ("x-amz-checksum-crc32", crc32(&data));
    let of_trailer = |body: &mut Vec<u8>| {
        let at = body.len() - 6;
        body[at] = if body[at] == b'0' { b'1' } else { b'0' };
    };
    let request = put_request(&gateway).sign_chunks(&chunks, Some((trailer.0, &trailer.1)), of_trailer);
    request.send().await.refused(403, "SignatureDoesNotMatch");
    // Cut off after a chunk that was signed well.
    let cut = |body: &mut Vec<u8>| {
        let end = memchr::memmem::rfind(body, b"0;chunk-signature").unwrap();
        let length = body.len();
        body.truncate(end);
        body.resize(length, b'\n');
    };
    let answer = put_request(&gateway).sign_chunks(&chunks, None, cut).send().await;
    assert_eq!(answer.status / 100, 4, "{}", answer.text());
    nothing_stored(&gateway).await;
}

#[tokio::test]
async fn a_wrong_checksum_makes_no_object() {
    let gateway = gateway().await;
    let data = b"smuggled".repeat(10_000);
    let wrong = crc32(b"something else");
    let in_header = put_request(&gateway).header("x-amz-checksum-crc32", &wrong).body(data.clone()).sign();
    in_header.send().await.refused(400, "BadDigest");
    let in_trailer = put_request(&gateway).trail(&data, "x-amz-checksum-crc32", &wrong);
    in_trailer.send().await.refused(400, "BadDigest");
    let signed = put_request(&gateway).sign_chunks(&[&data], Some(("x-amz-checksum-crc32", &wrong)), |_| {});
    signed.send().await.refused(400, "BadDigest");
    let md5 = put_request(&gateway).header("content-md5", &base64([7; 16])).body(data.clone()).sign();
    md5.send().await.refused(400, "BadDigest");
    let malformed = put_request(&gateway).header("content-md5", "not base64").body(data.clone()).sign();
    malformed.send().await.refused(400, "InvalidDigest");
    // Announced, and not there.
    let mut missing = put_request(&gateway).trail(&data, "x-amz-checksum-crc32", &crc32(&data));
    let end = memchr::memmem::rfind(&missing.body, b"x-amz-checksum").unwrap();
    let length = missing.body.len();
    missing.body.truncate(end);
    missing.body.extend(b"\r\n");
    missing.body.resize(length, b' ');
    assert_eq!(missing.send().await.status / 100, 4);
    nothing_stored(&gateway).await;
}

#[tokio::test]
async fn a_body_that_ends_early_makes_no_object() {
    let gateway = gateway().await;
    for declared in [80_001, 2 << 20] {
        let mut request = put_request(&gateway).body(b"smuggled".repeat(10_000));
        request.headers.last_mut().unwrap().1 = declared.to_string();
        let request = request.sign_with(UNSIGNED);
        let address = request.headers[0].1.clone();
        let mut socket = TcpStream::connect(address).await.unwrap();
        socket.write_all(&[request.head(), request.body].concat()).await.unwrap();
        socket.shutdown().await.unwrap();
        let mut answer = Vec::new();
        // The client has gone half way; whether it hears an answer is its own matter.
        let _ = tokio::time::timeout(PATIENCE, socket.read_to_end(&mut answer)).await.unwrap();
        if let Some(answer) = Answer::parse(&answer) {
            answer.refused(400, "IncompleteBody");
        }
    }
    eventually("the uploads to end", async || {
        gateway.admin_page("/metrics").await.1.contains("domicile_open_intents 0")
    })
    .await;
    nothing_stored(&gateway).await;
    // A body of unknown length is refused before it is read.
    let request = put_request(&gateway).header("transfer-encoding", "chunked").sign_with(UNSIGNED);
    request.send().await.refused(411, "MissingContentLength");
}

#[tokio::test]
async fn a_client_that_waits_for_100_continue_sends_no_body_that_would_be_refused() {
    let gateway = gateway().await;
    let russian = "data-class=personal&subject-country=RU";
    let request = |tags: &str| {
        let put = put_request(&gateway).header("x-amz-tagging", tags).header("expect", "100-continue");
        put.body(clean_text(300_000)).sign_with(UNSIGNED)
    };
    let address = gateway.endpoint.strip_prefix("http://").unwrap();

    let refused = request(russian);
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.write_all(&refused.head()).await.unwrap();
    let mut bytes = Vec::new();
    tokio::time::timeout(PATIENCE, socket.read_to_end(&mut bytes)).await.unwrap().unwrap();
    assert!(bytes.starts_with(b"HTTP/1.1 403 "), "{}", String::from_utf8_lossy(&bytes));
    Answer::parse(&bytes).unwrap().refused(403, "AccessDenied");

    let welcome = request("data-class=personal&subject-country=CN");
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.write_all(&welcome.head()).await.unwrap();
    let mut first = [0; 25];
    tokio::time::timeout(PATIENCE, socket.read_exact(&mut first)).await.unwrap().unwrap();
    assert_eq!(&first, b"HTTP/1.1 100 Continue\r\n\r\n");
    socket.write_all(&welcome.body).await.unwrap();
    let mut bytes = Vec::new();
    tokio::time::timeout(PATIENCE, socket.read_to_end(&mut bytes)).await.unwrap().unwrap();
    let answer = Answer::parse(&bytes).unwrap();
    assert_eq!((answer.status, answer.header("x-domicile-location")), (200, Some("cn-north")));
}

#[tokio::test]
async fn a_large_body_that_is_refused_at_its_head_still_hears_why() {
    let gateway = gateway().await;
    let large = || put_request(&gateway).body(clean_text(12 << 20));
    let mut wrong = large();
    wrong.signing.secret.push('x');
    let tags = large().header("x-amz-tagging", "data-class=personal&subject-country=RU");
    let mut nowhere = large();
    nowhere.target = "/nowhere/o".to_owned();
    for (request, status, code) in [
        (wrong, 403, "SignatureDoesNotMatch"),
        (tags, 403, "AccessDenied"),
        (nowhere, 404, "NoSuchBucket"),
        (large().header("content-md5", "x"), 400, "InvalidDigest"),
    ] {
        let answer = request.sign_with(UNSIGNED).send_before_reading().await;
        answer.unwrap_or_else(|error| panic!("{code}: {error}")).refused(status, code);
    }
}

#[tokio::test]
async fn what_no_document_of_s3_looks_like_is_refused() {
    let gateway = gateway().await;
    let client = gateway.client();
    put(&client, "clinic", "victim", "stays").await;
    let delete = |document: String| {
        let md5 = base64(<md5::Md5 as md5::Digest>::digest(&document));
        Raw::new(&gateway, "POST", "/clinic?delete").header("content-md5", &md5).body(document).sign()
    };
    let bomb = "<!DOCTYPE x [<!ENTITY a \"aaaaaaaaaa\"><!ENTITY b \"&a;&a;&a;&a;&a;&a;&a;&a;\">]>\
                <Delete><Object><Key>&b;</Key></Object></Delete>";
    let external = "<!DOCTYPE x [<!ENTITY a SYSTEM \"file:///etc/passwd\">]><Delete><Object><Key>&a;</Key></Object></Delete>";
    let many = format!("<Delete>{}</Delete>", "<Object><Key>victim</Key></Object>".repeat(1001));
    let deep = format!("<Delete>{}", "<a>".repeat(100_000));
    for document in
        [bomb, external, &many, &deep, "", "not XML", "<Delete/>", "<Delete><Object></Object></Delete>"]
    {
        let answer = delete(document.to_owned()).send().await;
        answer.refused(400, "MalformedXML");
    }
    let huge = format!("<Delete>{}</Delete>", " ".repeat(9 << 20));
    assert_eq!(delete(huge).send().await.status, 400);
    assert_eq!(get(&client, "clinic", "victim").await, b"stays");
}

#[tokio::test]
async fn what_the_gateway_does_not_know_it_does_not_do() {
    let gateway = gateway().await;
    put(&gateway.client(), "clinic", "o", "stays").await;
    for (method, target) in [
        ("PUT", "/clinic?policy"),
        ("GET", "/clinic?some-future-thing"),
        ("PUT", "/clinic?website"),
        ("PUT", "/clinic?notification"),
        ("PUT", "/clinic?logging"),
        ("POST", "/clinic/o?select&select-type=2"),
        ("PUT", "/clinic/o?some-future-thing"),
        ("GET", "/clinic/o?some-future-thing"),
    ] {
        let answer = Raw::new(&gateway, method, target).sign().send().await;
        answer.refused(501, "NotImplemented");
        assert_eq!(answer.header("content-type"), Some("application/xml"), "{target}");
        assert_eq!(answer.element("RequestId"), answer.header("x-amz-request-id").unwrap());
    }
    // Nothing of this is a fault of the gateway, for which somebody would be woken up.
    let (_, metrics) = gateway.admin_page("/metrics").await;
    assert!(metrics.contains("blame=\"client\"") && !metrics.contains("blame=\"gateway\""), "{metrics}");
    let long =
        |bytes| Raw::new(&gateway, "GET", "/clinic/o").header("x-amz-meta-long", &"x".repeat(bytes)).sign();
    assert_eq!(long(60_000).send().await.status, 200);
    long(66_000).send().await.refused(400, "RequestHeaderSectionTooLarge");
    assert!(matches!(long(2_000_000).send().await.status, 400 | 431));
    let broken = Raw::new(&gateway, "GET", "/clinic/%ff").sign().send().await;
    broken.refused(400, "InvalidURI");
    let not_a_name = Raw::new(&gateway, "GET", "/No_Bucket/o").sign().send().await;
    not_a_name.refused(400, "InvalidBucketName");
    assert_eq!(get(&gateway.client(), "clinic", "o").await, b"stays");
}
