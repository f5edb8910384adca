//! Request smuggling: messages whose end two servers could see in different places.
//!
//! The body of each attack holds a second request, signed well. If the gateway and a proxy in front of it disagreed about
//! where the first one ends, one client's request would come to be sent in the name of another.

use crate::door::{Door, SMUGGLED, statuses};
use crate::support::raw::UNSIGNED;

/// A signed PUT whose framing headers are these lines, sent as that version of HTTP, with the deletion of `clinic/note`
/// behind its body.
async fn smuggle(door: &Door, version: &str, framing: &str, body: &str) -> String {
    let put = door.raw("PUT", "/clinic/other").sign_with(UNSIGNED);
    let mut message = format!("PUT /clinic/other {version}\r\n");
    for (name, value) in &put.headers {
        message.push_str(&format!("{name}: {value}\r\n"));
    }
    message.push_str(&format!("{framing}\r\n\r\n{body}"));
    let second = String::from_utf8(door.raw("DELETE", "/clinic/note").sign().head()).unwrap();
    door.wire((message + &second).as_bytes()).await
}

#[track_caller]
fn refused_once(what: &str, answer: &str) {
    let statuses = statuses(answer);
    assert!(matches!(statuses[..], [400 | 411 | 501]), "{what:?}: {answer}");
}

#[tokio::test]
async fn content_length_and_transfer_encoding_do_not_come_together() {
    let mut door = Door::new().await;
    let chunked = format!("8\r\n{SMUGGLED}\r\n0\r\n\r\n");
    for framing in [
        "content-length: 8\r\ntransfer-encoding: chunked",
        "transfer-encoding: chunked\r\ncontent-length: 8",
        "content-length: 0\r\ntransfer-encoding: chunked",
        "content-length: 18\r\ntransfer-encoding: chunked",
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\nContent-Length: 5",
    ] {
        refused_once(framing, &smuggle(&door, "HTTP/1.1", framing, &chunked).await);
    }
    door.unharmed().await;
}

/// The framing of the body is the same for every operation, and so is the answer.
#[tokio::test]
async fn a_read_cannot_hide_a_second_request_in_a_body_either() {
    let mut door = Door::new().await;
    let get = String::from_utf8(door.raw("GET", "/clinic/note").sign().head()).unwrap();
    let second = String::from_utf8(door.raw("DELETE", "/clinic/note").sign().head()).unwrap();
    for framing in [
        "content-length: 4\r\ntransfer-encoding: chunked",
        "transfer-encoding: chunked\r\ncontent-length: 4",
        "transfer-encoding: chunked",
    ] {
        let head = get.replace("connection: close\r\n", &format!("{framing}\r\n"));
        let answer = door.wire(format!("{head}0\r\n\r\n{second}").as_bytes()).await;
        assert_eq!(statuses(&answer).len(), 1, "{framing:?}: {answer}");
    }
    door.unchanged().await;
}

#[tokio::test]
async fn an_obscured_transfer_encoding_is_refused() {
    let mut door = Door::new().await;
    for framing in [
        "transfer-encoding: xchunked",
        "transfer-encoding: identity",
        "transfer-encoding: chunked, identity",
        "transfer-encoding: chunked\r\ntransfer-encoding: identity",
        "transfer-encoding: \"chunked\"",
        "transfer-encoding: chunked;q=1",
        "transfer-encoding: \x0bchunked",
        "transfer-encoding:\r\n chunked",
        "transfer-encoding : chunked",
        " transfer-encoding: chunked",
        "x: y\rtransfer-encoding: chunked",
        "transfer-encoding: chunked\r\ntransfer-encoding: chunked",
        "transfer-encoding: gzip, chunked",
        "transfer_encoding: chunked",
    ] {
        refused_once(
            framing,
            &smuggle(&door, "HTTP/1.1", framing, &format!("8\r\n{SMUGGLED}\r\n0\r\n\r\n")).await,
        );
    }
    door.unharmed().await;
}

#[tokio::test]
async fn a_length_is_one_plain_number() {
    let mut door = Door::new().await;
    for framing in [
        "content-length: 8\r\ncontent-length: 9",
        "content-length: 8, 9",
        "content-length: 8, 8",
        "content-length: +8",
        "content-length: -1",
        "content-length: 0x8",
        "content-length: 8 8",
        "content-length: 8.0",
        "content-length: 18446744073709551624",
        "content-length:",
        "content_length: 8",
        "content-length : 8",
    ] {
        refused_once(framing, &smuggle(&door, "HTTP/1.1", framing, SMUGGLED).await);
    }
    door.unharmed().await;
}

#[tokio::test]
async fn http_1_0_knows_no_chunks() {
    let mut door = Door::new().await;
    let body = format!("8\r\n{SMUGGLED}\r\n0\r\n\r\n");
    for framing in ["transfer-encoding: chunked", "connection: keep-alive\r\ntransfer-encoding: chunked"] {
        let answer = smuggle(&door, "HTTP/1.0", framing, &body).await;
        assert!(answer.starts_with("HTTP/1.0 400 ") || answer.starts_with("HTTP/1.1 400 "), "{answer}");
    }
    for version in ["HTTP/0.9", "HTTP/1.2", "HTTP/9.9", "HTTP/1.1 x", "http/1.1", "ICY/1.1"] {
        let answer = smuggle(&door, version, "content-length: 8", SMUGGLED).await;
        assert!(answer.starts_with("HTTP/1.") && answer[9..].starts_with("400 "), "{version}: {answer}");
    }
    door.unharmed().await;
}

#[tokio::test]
async fn chunks_that_can_be_read_in_two_ways_are_refused() {
    let mut door = Door::new().await;
    let long = "x".repeat(64 << 10);
    for chunks in [
        format!("8\n{SMUGGLED}\r\n0\r\n\r\n"),
        format!("0x8\r\n{SMUGGLED}\r\n0\r\n\r\n"),
        format!("+8\r\n{SMUGGLED}\r\n0\r\n\r\n"),
        format!("-8\r\n{SMUGGLED}\r\n0\r\n\r\n"),
        format!("10000000000000008\r\n{SMUGGLED}\r\n0\r\n\r\n"),
        format!("ffffffffffffffff\r\n{SMUGGLED}\r\n0\r\n\r\n"),
        format!("8{SMUGGLED}\r\n0\r\n\r\n"),
        format!("8\r\n{SMUGGLED}XX0\r\n\r\n"),
        format!("8;{long}\r\n{SMUGGLED}\r\n0\r\n\r\n"),
        format!("8;a=\"\n\r\n{SMUGGLED}\r\n0\r\n\r\n"),
        format!("8\r\n{SMUGGLED}\r\n0\r\nx-amz-copy-source: {long}\r\n\r\n"),
    ] {
        // Of a signed length, so that nothing but the chunks can be wrong with it.
        let put = door
            .raw("PUT", "/clinic/other")
            .header("x-amz-decoded-content-length", "4")
            .header("content-encoding", "aws-chunked")
            .header("x-amz-trailer", "x-amz-checksum-crc32")
            .header("transfer-encoding", "chunked")
            .sign_with("STREAMING-UNSIGNED-PAYLOAD-TRAILER");
        let head = String::from_utf8(put.head()).unwrap().replace("connection: close\r\n", "");
        let second = String::from_utf8(door.raw("DELETE", "/clinic/note").sign().head()).unwrap();
        let answer = door.wire(format!("{head}{chunks}{second}").as_bytes()).await;
        let found = statuses(&answer);
        // Where the framing broke in the middle of a body there may be no answer any more.
        assert!(found.len() <= 1 && found.iter().all(|status| *status == 400), "{chunks:.40?}: {answer}");
    }
    door.unharmed().await;
}

/// Trailers of HTTP's own are signed by nobody.
#[tokio::test]
async fn a_trailing_header_of_http_takes_no_effect() {
    let mut door = Door::new().await;
    for trailer in [
        "x-amz-copy-source: /clinic/note",
        "authorization: AWS4-HMAC-SHA256 x",
        "content-length: 0",
        "host: elsewhere",
    ] {
        let framed = "4\r\nkept\r\n0\r\nx-amz-checksum-crc32:+yhqBg==\r\n\r\n";
        let put = door
            .raw("PUT", "/open-data/other")
            .header("x-amz-decoded-content-length", "4")
            .header("content-encoding", "aws-chunked")
            .header("x-amz-trailer", "x-amz-checksum-crc32")
            .header("transfer-encoding", "chunked")
            .sign_with("STREAMING-UNSIGNED-PAYLOAD-TRAILER");
        let body = format!("{:x}\r\n{framed}\r\n0\r\n{trailer}\r\n\r\n", framed.len());
        let answer = door.wire(&[put.head(), body.into_bytes()].concat()).await;
        // Stored for what was signed, or refused: never for more than that.
        let stored = statuses(&answer) == [200];
        assert!(stored || statuses(&answer).iter().all(|status| status / 100 == 4), "{trailer}: {answer}");
        for seen in door.forwarded() {
            assert!(!seen.headers.contains_key("x-amz-copy-source"), "{trailer}");
            assert!(seen.target.starts_with("/open-data/other"), "{trailer}");
        }
        if stored {
            door.gateway.client().delete_object().bucket("open-data").key("other").send().await.unwrap();
        }
    }
    door.unchanged().await;
}
