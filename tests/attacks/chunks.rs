//! The framing of S3's own inside a body: sizes, extensions, trailers and lengths that lie.

use crate::door::{Door, SMUGGLED};
use crate::support::raw::{Raw, UNSIGNED};

const UNSIGNED_TRAILER: &str = "STREAMING-UNSIGNED-PAYLOAD-TRAILER";
/// The CRC-32 of [`SMUGGLED`].
const CRC: &str = "x-amz-checksum-crc32:aAiUTQ==";

/// A write of this framed body, which should decode to that many bytes.
fn framed(door: &Door, decoded: &str, body: impl Into<Vec<u8>>) -> Raw {
    door.raw("PUT", "/clinic/other")
        .header("content-encoding", "aws-chunked")
        .header("x-amz-trailer", "x-amz-checksum-crc32")
        .header("x-amz-decoded-content-length", decoded)
        .body(body)
        .sign_with(UNSIGNED_TRAILER)
}

#[tokio::test]
async fn a_framed_body_that_is_right_is_stored() {
    let mut door = Door::new().await;
    let body = format!("8\r\n{SMUGGLED}\r\n0\r\n{CRC}\r\n\r\n");
    let answer = framed(&door, "8", body).send().await;
    assert_eq!(answer.status, 200, "what the other tests spoil: {}", answer.text());
    door.gateway.client().delete_object().bucket("clinic").key("other").send().await.unwrap();
    door.gateway.settled_disks_with(SMUGGLED.as_bytes(), &[]).await;
    door.unchanged().await;
}

#[tokio::test]
async fn a_chunk_has_a_plain_size_and_no_extension() {
    let mut door = Door::new().await;
    let signature = "0".repeat(64);
    let long = "x".repeat(2000);
    for line in [
        "8;evil=1",
        "8;",
        "8;chunk-signature=",
        &format!("8;chunk-signature={signature}"),
        &format!("8;{long}"),
        &format!("{}8", "0".repeat(2000)),
        "00000000000000008",
        "0x8",
        "+8",
        "-8",
        " 8",
        "8 ",
        "8\t",
        "",
        "g",
        "ffffffffffffffff",
        "10000000000000008",
        "8\r",
        "8\n",
    ] {
        let body = format!("{line}\r\n{SMUGGLED}\r\n0\r\n{CRC}\r\n\r\n");
        framed(&door, "8", body).send().await.refused(400, "InvalidRequest");
    }
    // Lines that end with LF alone end for one reader and not for another.
    for body in [
        format!("8\n{SMUGGLED}\r\n0\r\n{CRC}\r\n\r\n"),
        format!("8\r\n{SMUGGLED}\n0\r\n{CRC}\r\n\r\n"),
        format!("8\r\n{SMUGGLED}\r\n0\n{CRC}\r\n\r\n"),
        format!("8\r\n{SMUGGLED}0\r\n{CRC}\r\n\r\n"),
        format!("8\r\n{SMUGGLED}\r\n0\r\n{CRC}\r\n\r\nmore"),
    ] {
        framed(&door, "8", body).send().await.refused(400, "InvalidRequest");
    }
    door.unharmed().await;
}

#[tokio::test]
async fn a_signed_chunk_has_its_signature_and_nothing_else() {
    let mut door = Door::new().await;
    let spoiled = |door: &Door, from: &'static str, to: &'static str| {
        door.raw("PUT", "/clinic/other").sign_chunks(&[SMUGGLED.as_bytes()], None, move |body| {
            let text = String::from_utf8(std::mem::take(body)).unwrap();
            let length = text.len();
            *body = text.replacen(from, to, 1).into_bytes();
            body.resize(length, b' ');
        })
    };
    for (from, to) in [
        ("8;chunk-signature=", "8;a=b;chunk-signature="),
        ("8;chunk-signature=", "8;Chunk-Signature="),
        ("8;chunk-signature=", "8; chunk-signature="),
        ("8;chunk-signature=", "8,chunk-signature="),
        ("8;chunk-signature=", "8;chunk-signatur="),
        ("8;chunk-signature=", "7;chunk-signature="),
        ("8;chunk-signature=", "9;chunk-signature="),
        ("0;chunk-signature=", "8;chunk-signature="),
    ] {
        let answer = spoiled(&door, from, to).send().await;
        assert!(matches!(answer.status, 400 | 403), "{from} to {to}: {}", answer.text());
    }
    // Chunks that are each signed well, in another order.
    let (one, two) = (b"smuggled in two".as_slice(), b"pieces smuggled".as_slice());
    let swapped = door.raw("PUT", "/clinic/other").sign_chunks(&[one, two], None, |body| {
        let at = |needle: &[u8]| memchr::memmem::find(body, needle).unwrap();
        let (first, second, end) = (0, at(one) + one.len() + 2, at(b"0;chunk"));
        *body = [&body[second..end], &body[first..second], &body[end..]].concat();
    });
    swapped.send().await.refused(403, "SignatureDoesNotMatch");
    door.unharmed().await;
}

#[tokio::test]
async fn the_length_before_and_after_the_framing_agree() {
    let mut door = Door::new().await;
    let body = || format!("8\r\n{SMUGGLED}\r\n0\r\n{CRC}\r\n\r\n");
    for (decoded, status, code) in [
        ("7", 400, "InvalidRequest"),
        ("0", 400, "InvalidRequest"),
        ("9", 400, "IncompleteBody"),
        ("8000", 400, "IncompleteBody"),
        ("-8", 400, "InvalidArgument"),
        ("+8", 400, "InvalidArgument"),
        ("8.0", 400, "InvalidArgument"),
        ("0x8", 400, "InvalidArgument"),
        ("8,8", 400, "InvalidArgument"),
        ("", 400, "InvalidArgument"),
        ("18446744073709551616", 400, "InvalidArgument"),
        ("18446744073709551615", 400, "EntityTooLarge"),
        ("5368709121", 400, "EntityTooLarge"),
    ] {
        framed(&door, decoded, body()).send().await.refused(status, code);
    }
    // Cut off anywhere.
    for length in [1, 3, 7, 11, 13, 15, 30, body().len() - 2] {
        let cut = body()[..length].to_owned();
        let answer = framed(&door, "8", cut).send().await;
        assert_eq!(answer.status, 400, "{length}: {}", answer.text());
    }
    door.unharmed().await;
}

/// Servers that look for `x-amz-decoded-content-length` alone would take a body for another length than it has.
#[tokio::test]
async fn a_decoded_length_of_a_body_without_framing_is_not_believed() {
    let mut door = Door::new().await;
    for decoded in ["3", "0", "9", "-1", "x"] {
        let raw =
            door.raw("PUT", "/clinic/other").header("x-amz-decoded-content-length", decoded).body(SMUGGLED);
        for payload in [raw.clone().sign(), raw.sign_with(UNSIGNED)] {
            let answer = payload.send().await;
            assert_eq!(
                (answer.status, answer.element("Code")),
                (400, "InvalidArgument".to_owned()),
                "{decoded}"
            );
        }
    }
    door.unharmed().await;
    let same =
        door.raw("PUT", "/clinic/same").header("x-amz-decoded-content-length", "4").body("same").sign();
    assert_eq!(same.send().await.status, 200);
    let forwarded = door.forwarded();
    assert!(!forwarded.is_empty());
    assert!(forwarded.iter().all(|seen| !seen.headers.contains_key("x-amz-decoded-content-length")));
    door.gateway.client().delete_object().bucket("clinic").key("same").send().await.unwrap();
    door.unchanged().await;
}

#[tokio::test]
async fn trailers_are_few_short_and_announced() {
    let mut door = Door::new().await;
    let long = "x".repeat(1100);
    let many: String = (0..20).map(|n| format!("x-amz-meta-{n}:1\r\n")).collect();
    let wide: String = (0..15).map(|n| format!("x-amz-meta-{n}:{}\r\n", "y".repeat(900))).collect();
    for (trailers, code) in [
        (String::new(), "MalformedTrailerError"),
        ("x-amz-checksum-sha1:AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n".to_owned(), "MalformedTrailerError"),
        (format!("{CRC}\r\n{CRC}\r\n"), "MalformedTrailerError"),
        (format!("{CRC}\r\nx-amz-tagging:data-class=non_personal\r\n"), "MalformedTrailerError"),
        (format!("{CRC}\r\nx-amz-copy-source:/clinic/note\r\n"), "MalformedTrailerError"),
        (format!("{CRC}\r\nx-amz-trailer-signature:{}\r\n", "0".repeat(64)), "MalformedTrailerError"),
        (format!("{many}{CRC}\r\n"), "MalformedTrailerError"),
        (format!("{wide}{CRC}\r\n"), "MalformedTrailerError"),
        (format!("x-amz-meta-a:{long}\r\n{CRC}\r\n"), "InvalidRequest"),
        (format!("{}:1\r\n", "n".repeat(1100)), "InvalidRequest"),
        (format!(" {CRC}\r\n"), "MalformedTrailerError"),
        (format!("x-amz-meta-a:1\r\n folded\r\n{CRC}\r\n"), "MalformedTrailerError"),
        ("x-amz-checksum-crc32\r\n".to_owned(), "MalformedTrailerError"),
        (":\r\n".to_owned(), "MalformedTrailerError"),
        (format!("{CRC}\0\r\n"), "MalformedTrailerError"),
    ] {
        let body = format!("8\r\n{SMUGGLED}\r\n0\r\n{trailers}\r\n");
        let answer = framed(&door, "8", body).send().await;
        assert_eq!(
            (answer.status, answer.element("Code").as_str()),
            (400, code),
            "{trailers:.60}: {}",
            answer.text()
        );
    }
    for announced in [
        "x-amz-tagging",
        "x-amz-copy-source",
        "authorization",
        "content-length",
        "x-amz-checksum-md5",
        "",
        "x-amz-checksum-crc32,x-amz-tagging",
    ] {
        let raw = door
            .raw("PUT", "/clinic/other")
            .header("content-encoding", "aws-chunked")
            .header("x-amz-trailer", announced)
            .header("x-amz-decoded-content-length", "8")
            .body(format!("8\r\n{SMUGGLED}\r\n0\r\n{announced}:1\r\n\r\n"))
            .sign_with(UNSIGNED_TRAILER);
        let answer = raw.send().await;
        assert_eq!(answer.status, 400, "{announced}: {}", answer.text());
    }
    door.unharmed().await;
}

/// The frame is never larger than what may be stored, and a lying chunk header reserves no memory.
#[tokio::test]
async fn a_chunk_that_announces_gigabytes_costs_nothing() {
    let mut door = Door::new().await;
    for size in ["140000000", "13fffffff", "7fffffff"] {
        let body = format!("{size}\r\n{SMUGGLED}\r\n0\r\n{CRC}\r\n\r\n");
        let answer = framed(&door, "5368709120", body).send().await;
        assert_eq!(answer.status, 400, "{size}: {}", answer.text());
        assert_eq!(answer.element("Code"), "IncompleteBody", "{size}");
    }
    door.unharmed().await;
}
