//! Paths that another server would read differently: as the name of another bucket, of another object, or of none.

use crate::door::{Door, KEPT, SMUGGLED, statuses};

/// Ways to write, below one's own bucket, a path to somebody else's object.
const WAYS_OUT: [&str; 22] = [
    "/open-data/../clinic/note",
    "/open-data/./../clinic/note",
    "/open-data/%2e%2e/clinic/note",
    "/open-data/%2E%2E/clinic/note",
    "/open-data/.%2e/clinic/note",
    "/open-data/..%2fclinic/note",
    "/open-data/..%2Fclinic%2Fnote",
    "/open-data/%2e%2e%2fclinic%2fnote",
    "/open-data/%252e%252e/clinic/note",
    "/open-data/..%5cclinic%5cnote",
    "/open-data/..\\clinic\\note",
    "/open-data/..;/clinic/note",
    "/open-data//../../clinic/note",
    "/open-data//clinic/note",
    "/open-data/x/../../clinic/note",
    "/open-data/%00/../clinic/note",
    "/open-data/note%00/../../clinic/note",
    "/open-data/note%0d%0aGET%20/clinic/note",
    "/open-data/%c0%ae%c0%ae/clinic/note",
    "/open-data/%uff0e%uff0e/clinic/note",
    "/open-data/..%ef%bc%8fclinic/note",
    "/open-data/note%3f/../../clinic/note",
];

/// Ways to write somebody else's bucket.
const OTHER_BUCKETS: [&str; 12] = [
    "//clinic/note",
    "/%2fclinic/note",
    "/./clinic/note",
    "/../clinic/note",
    "/%63linic/note",
    "/open-data%2f..%2fclinic/note",
    "/open-data%00clinic/note",
    "/open-data%5c..%5cclinic/note",
    "/clinic%2fnote",
    "/clinic;open-data/note",
    "/open-data@clinic/note",
    "/CLINIC/note",
];

#[tokio::test]
async fn no_spelling_of_a_path_leads_out_of_a_bucket() {
    let mut door = Door::new().await;
    for target in WAYS_OUT {
        for method in ["GET", "HEAD", "DELETE"] {
            let answer = door.neighbour(method, target).sign().send().await;
            let status = answer.status;
            // Most of these are keys like any other, and no object has them.
            assert!(matches!(status, 204 | 400 | 403 | 404), "{method} {target}: {status} {}", answer.text());
            assert!(!answer.text().contains(KEPT), "{method} {target}");
        }
    }
    for target in OTHER_BUCKETS {
        for method in ["GET", "PUT", "DELETE"] {
            let answer = door.neighbour(method, target).body(SMUGGLED).sign().send().await;
            let status = answer.status;
            assert!(matches!(status, 400 | 403 | 404 | 405), "{method} {target}: {status} {}", answer.text());
        }
    }
    door.unharmed().await;
}

/// What is stored below such a key is stored there and nowhere else: a location that normalised the path would break the
/// signature over it.
#[tokio::test]
async fn a_write_to_an_odd_key_touches_no_other_object() {
    let mut door = Door::new().await;
    for target in WAYS_OUT {
        let answer = door.neighbour("PUT", target).body("odd").sign().send().await;
        assert!(answer.status == 200 || answer.status >= 400, "{target}: {}", answer.text());
        for seen in door.forwarded() {
            assert!(seen.target.starts_with("/open-data/"), "{target} became {}", seen.target);
        }
        let clinic = door.raw("GET", "/clinic/note").sign().send().await;
        assert_eq!(clinic.text(), KEPT, "after {target}");
        if answer.status == 200 {
            let back = door.neighbour("GET", target).sign().send().await;
            assert_eq!(back.text(), "odd", "{target}");
            assert_eq!(door.neighbour("DELETE", target).sign().send().await.status, 204, "{target}");
        }
        door.unchanged().await;
    }
}

/// A signature is over one spelling of a path. What another spelling of it means is not what was signed.
#[tokio::test]
async fn a_signature_over_one_spelling_does_not_hold_for_another() {
    let mut door = Door::new().await;
    for (signed, sent) in [
        ("/open-data/clinic/note", "/open-data/../clinic/note"),
        ("/clinic/note", "/open-data/../clinic/note"),
        ("/open-data/../clinic/note", "/clinic/note"),
        ("/open-data/a/b", "/open-data/a//b"),
        ("/open-data/a/b", "/open-data/a/./b"),
        ("/open-data/a%2520b", "/open-data/a%20b"),
        ("/open-data/a%20b", "/open-data/a%2520b"),
        ("/open-data/a%20b", "/open-data/a+b"),
        ("/open-data/a%2Bb", "/open-data/a%20b"),
        ("/open-data/note", "/open-data/note/"),
        ("/open-data/note", "/open-data/NOTE"),
        ("/open-data/%C3%A9", "/open-data/e%CC%81"),
        ("/open-data/note", "/open-data/note%00"),
        ("/open-data/note", "/open-data/note?"),
        ("/open-data/o?tagging", "/open-data/o?tagging&tagging"),
        ("/open-data/o?a=b", "/open-data/o?a%3Db"),
        ("/open-data/o%3Ftagging", "/open-data/o?tagging"),
    ] {
        let mut raw = door.neighbour("PUT", signed).body(SMUGGLED).sign();
        raw.target = sent.to_owned();
        let answer = raw.send().await;
        if sent.ends_with('?') {
            // An empty query is no query (RFC 3986, section 3.4, read as S3 signs it).
            assert_eq!(answer.status, 200, "{}", answer.text());
            door.neighbour("PUT", "/open-data/note").body("open").sign().send().await;
            door.unchanged().await;
            continue;
        }
        assert!(matches!(answer.status, 400 | 403), "{signed} as {sent}: {}", answer.text());
    }
    door.unharmed().await;
}

/// S3 escapes `/` neither in signing nor in keys: the escaped and the bare form are the same key, and the location gets
/// the one form that all read alike.
#[tokio::test]
async fn a_location_gets_one_spelling_of_a_key_whatever_was_sent() {
    let mut door = Door::new().await;
    let answer = door.neighbour("PUT", "/open-data/a%2fb").body("odd").sign();
    // By hand: S3's canonical form has the slash bare.
    let mut raw = door.neighbour("PUT", "/open-data/a/b").body("odd").sign();
    raw.target.clone_from(&answer.target);
    let answer = raw.send().await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let targets: Vec<_> = door.forwarded().into_iter().map(|seen| seen.target).collect();
    assert!(targets.iter().all(|target| target.starts_with("/open-data/a/b")), "{targets:?}");
    assert_eq!(door.neighbour("GET", "/open-data/a/b").sign().send().await.text(), "odd");
    assert_eq!(door.neighbour("DELETE", "/open-data/a/b").sign().send().await.status, 204);
    door.unchanged().await;
}

#[tokio::test]
async fn bytes_that_no_path_may_have_end_the_connection() {
    let mut door = Door::new().await;
    let head = String::from_utf8(door.put("/clinic/other").sign().head()).unwrap();
    for path in
        ["/clinic/\0other", "/clinic/other\u{7f}", "/clinic/o ther", "/clinic/\tother", "/clinic/o\rther"]
    {
        let bytes = format!("{}{SMUGGLED}", head.replacen("/clinic/other", path, 1));
        let answer = door.wire(bytes.as_bytes()).await;
        let found = statuses(&answer);
        assert!(matches!(found[..], [400 | 403]), "{path:?}: {answer}");
    }
    door.unharmed().await;
}
