//! Headers that nobody signed, that come twice, that are folded, or that another server reads as other headers.

use crate::door::{Door, KEPT, SMUGGLED};
use crate::support::raw::Raw;

#[tokio::test]
async fn no_unsigned_header_of_s3_takes_effect() {
    let mut door = Door::new().await;
    for (name, value) in [
        ("x-amz-copy-source", "/clinic/note"),
        ("X-AMZ-Copy-Source", "clinic/note"),
        ("x-amz-copy-source-range", "bytes=0-1"),
        ("x-amz-tagging", "data-class=non_personal"),
        ("x-amz-tagging-directive", "REPLACE"),
        ("x-amz-metadata-directive", "REPLACE"),
        ("x-amz-meta-owner", "somebody"),
        ("x-amz-storage-class", "GLACIER"),
        ("x-amz-server-side-encryption-customer-key", "AAAA"),
        ("x-amz-bypass-governance-retention", "true"),
        ("x-amz-mfa", "1 1"),
        ("x-amz-decoded-content-length", "1"),
        ("x-amz-trailer", "x-amz-checksum-crc32"),
        ("x-amz-sdk-checksum-algorithm", "CRC32"),
        ("x-amz-website-redirect-location", "http://elsewhere.example"),
        ("x-amz-expected-bucket-owner", "1"),
        ("x-amz-something-new", "1"),
    ] {
        for (method, target) in
            [("PUT", "/clinic/other"), ("GET", "/clinic/note"), ("DELETE", "/clinic/note")]
        {
            let raw = door.raw(method, target).body(SMUGGLED).sign().header(name, value);
            let answer = raw.send().await;
            answer.refused(403, "AccessDenied");
            assert_eq!(answer.header("content-type"), Some("application/xml"));
        }
    }
    door.unharmed().await;
}

#[tokio::test]
async fn a_session_token_cannot_be_slipped_under_a_signature() {
    let mut door = Door::new().await;
    for name in ["x-amz-security-token", "X-Amz-Security-Token", "x-amz-s3session-token"] {
        let answer = door.put("/clinic/other").sign().header(name, "another's session").send().await;
        assert!([400, 403].contains(&answer.status), "{name}: {}", answer.text());
        let answer = door.put("/clinic/other").presign(60).header(name, "another's session").send().await;
        assert!([400, 403].contains(&answer.status), "{name}: {}", answer.text());
    }
    let mut presigned = door.put("/clinic/other").presign(60);
    presigned.target.push_str("&X-Amz-Security-Token=another");
    let answer = presigned.send().await;
    assert!([400, 403].contains(&answer.status), "{}", answer.text());
    door.unharmed().await;
}

/// Some servers, Ceph's among them, turn `-` and `_` in names of headers into the same character.
#[tokio::test]
async fn a_header_that_is_one_of_s3_only_when_underscores_are_dashes_is_refused() {
    let mut door = Door::new().await;
    for name in
        ["x_amz_copy_source", "x-amz_copy_source", "x-amz-copy_source", "X_Amz-Tagging", "x_amz_meta_a"]
    {
        for signed in [true, false] {
            let put = door.put("/clinic/other");
            let raw = if signed {
                put.header(name, "/clinic/note").sign()
            } else {
                put.sign().header(name, "/clinic/note")
            };
            let answer = raw.send().await;
            assert_eq!(answer.status / 100, 4, "{name}: {}", answer.text());
            assert!(["InvalidArgument", "AccessDenied"].contains(&answer.element("Code").as_str()), "{name}");
        }
    }
    door.unharmed().await;

    // Apps do have `_` in the names of their own metadata, and that is theirs.
    let client = door.gateway.client();
    let put = client.put_object().bucket("clinic").key("mine").metadata("my_key", "kept").send().await;
    put.unwrap();
    let head = client.head_object().bucket("clinic").key("mine").send().await.unwrap();
    assert_eq!(head.metadata().unwrap()["my_key"], "kept");
    client.delete_object().bucket("clinic").key("mine").send().await.unwrap();
}

#[tokio::test]
async fn what_another_server_could_take_for_the_request_itself_is_not_passed_on() {
    let mut door = Door::new().await;
    let raw = [
        ("x-http-method-override", "DELETE"),
        ("x-http-method", "DELETE"),
        ("x-method-override", "DELETE"),
        ("x-original-url", "/open-data/note"),
        ("x-rewrite-url", "/open-data/note"),
        ("x-original-uri", "/open-data/note"),
        ("x-forwarded-for", "192.0.2.1"),
        ("x-forwarded-host", "open-data.example"),
        ("x-forwarded-port", "1"),
        ("x-forwarded-prefix", "/open-data"),
        ("x-real-ip", "192.0.2.1"),
        ("true-client-ip", "192.0.2.1"),
        ("forwarded", "for=192.0.2.1;host=open-data.example"),
        ("via", "1.1 somebody"),
        ("x_unknown", "1"),
        ("if_match", "*"),
        ("x-unknown", "kept"),
    ]
    .into_iter()
    .fold(door.raw("GET", "/clinic/note").sign(), |raw, (name, value)| raw.header(name, value));
    let answer = raw.send().await;
    assert_eq!((answer.status, answer.text().as_str()), (200, KEPT));
    let forwarded = door.forwarded();
    assert_eq!(forwarded.len(), 1);
    assert_eq!(forwarded[0].method, "GET");
    let names: Vec<_> = forwarded[0].headers.keys().map(http::HeaderName::as_str).collect();
    for name in &names {
        assert!(
            ["host", "authorization", "x-amz-date", "x-amz-content-sha256", "x-unknown", "content-length"]
                .contains(name),
            "{name} was passed on"
        );
    }
    assert!(names.contains(&"x-unknown"), "what is merely not known is passed on");
    // The same in the query decides nothing either, and a write with such a name is refused.
    for target in [
        "/clinic/note?_method=DELETE",
        "/clinic/note?method=DELETE",
        "/clinic/note?x-http-method-override=DELETE",
    ] {
        let answer = door.raw("GET", target).sign().send().await;
        assert_eq!(answer.text(), KEPT, "{target}");
    }
    door.unchanged().await;
}

#[tokio::test]
async fn a_header_that_was_signed_twice_is_still_ambiguous() {
    let mut door = Door::new().await;
    for (name, first, second) in [
        ("x-amz-copy-source", "/open-data/note", "/clinic/note"),
        ("x-amz-tagging", "data-class=non_personal", "data-class=personal&subject-country=CN"),
        ("x-amz-decoded-content-length", "8", "9"),
        ("x-amz-storage-class", "STANDARD", "GLACIER"),
        ("content-type", "text/plain", "text/html"),
    ] {
        let put = || Raw { body: SMUGGLED.into(), ..door.raw("PUT", "/clinic/other") };
        let twice = put().header(name, first).header(name, second).header("content-length", "8");
        // Signers join the values of a repeated header in order: one line `name:first,second`.
        let joined = put().header(name, &format!("{first},{second}")).header("content-length", "8").sign();
        let mut raw = joined.clone();
        let at = raw.headers.iter().position(|(known, _)| known == name).unwrap();
        raw.headers.splice(at..=at, twice.headers.iter().filter(|(known, _)| known == name).cloned());
        let answer = raw.send().await;
        assert_eq!(answer.status / 100, 4, "{name}: {}", answer.text());
        assert_eq!(answer.element("Code"), "InvalidArgument", "{name}: {}", answer.text());
    }
    door.unharmed().await;
}

#[tokio::test]
async fn folded_and_malformed_header_lines_are_refused() {
    let mut door = Door::new().await;
    for line in [
        // Obsolete line folding: one header to one server, two to another.
        "x-folded: a\r\n x-amz-copy-source: /clinic/note",
        "x-folded: a\r\n\tx-amz-copy-source: /clinic/note",
        " x-amz-copy-source: /clinic/note",
        // Blanks around the name.
        "x-amz-copy-source : /clinic/note",
        "x-amz-copy-source\t: /clinic/note",
        "x-amz-copy source: /clinic/note",
        // Characters that end a line, or a string, elsewhere.
        "x-a: b\rx-amz-copy-source: /clinic/note",
        "x-a: b\0x-amz-copy-source: /clinic/note",
        "x-a\0b: c",
        "x-a",
        ": b",
    ] {
        let mut head = String::from_utf8(door.put("/clinic/other").sign().head()).unwrap();
        head.insert_str(head.find("\r\n").unwrap() + 2, &format!("{line}\r\n"));
        let answer = door.wire(format!("{head}{SMUGGLED}").as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{line:?}: {answer}");
    }
    door.unharmed().await;
}

#[tokio::test]
async fn a_connection_header_cannot_take_a_condition_away() {
    let mut door = Door::new().await;
    let put = door.put("/clinic/note").header("if-none-match", "*").sign();
    let answer = put.header("connection", "if-none-match, x-amz-content-sha256, authorization").send().await;
    answer.refused(412, "PreconditionFailed");
    // Whether the object is there still, the location has been asked; and nothing else.
    let forwarded = door.forwarded();
    assert!(forwarded.iter().all(|seen| seen.method == "HEAD"), "{} requests went on", forwarded.len());
    door.unchanged().await;
}
