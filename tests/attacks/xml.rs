//! XML bombs: documents that grow when they are read, or that are deep, wide or long; for every operation that takes one.

use aws_lc_rs::digest;
use base64::Engine as _;

use crate::door::Door;
use crate::support::raw::Raw;

/// Every operation with a document in its request, with the document's root. What is not implemented yet is refused
/// before it is read, and stays in this list so that it is tested from the day on which it is.
const TAKES_XML: [(&str, &str, &str); 27] = [
    ("PUT", "/another-bucket", "CreateBucketConfiguration"),
    ("POST", "/clinic?delete", "Delete"),
    ("POST", "/clinic/note?uploadId=UPLOAD", "CompleteMultipartUpload"),
    ("PUT", "/clinic/note?tagging", "Tagging"),
    ("PUT", "/clinic?tagging", "Tagging"),
    ("PUT", "/clinic?versioning", "VersioningConfiguration"),
    ("PUT", "/clinic?cors", "CORSConfiguration"),
    ("PUT", "/clinic?lifecycle", "LifecycleConfiguration"),
    ("PUT", "/clinic?encryption", "ServerSideEncryptionConfiguration"),
    ("PUT", "/clinic?object-lock", "ObjectLockConfiguration"),
    ("PUT", "/clinic?publicAccessBlock", "PublicAccessBlockConfiguration"),
    ("PUT", "/clinic?ownershipControls", "OwnershipControls"),
    ("PUT", "/clinic?requestPayment", "RequestPaymentConfiguration"),
    ("PUT", "/clinic?accelerate", "AccelerateConfiguration"),
    ("PUT", "/clinic?website", "WebsiteConfiguration"),
    ("PUT", "/clinic?notification", "NotificationConfiguration"),
    ("PUT", "/clinic?replication", "ReplicationConfiguration"),
    ("PUT", "/clinic?logging", "BucketLoggingStatus"),
    ("PUT", "/clinic?inventory&id=1", "InventoryConfiguration"),
    ("PUT", "/clinic?analytics&id=1", "AnalyticsConfiguration"),
    ("PUT", "/clinic?acl", "AccessControlPolicy"),
    ("PUT", "/clinic/note?acl", "AccessControlPolicy"),
    ("PUT", "/clinic/note?retention", "Retention"),
    ("PUT", "/clinic/note?legal-hold", "LegalHold"),
    ("POST", "/clinic/note?restore", "RestoreRequest"),
    ("POST", "/clinic/note?select&select-type=2", "SelectObjectContentRequest"),
    ("PUT", "/clinic/note?encryption", "ObjectEncryption"),
];

/// Documents with that root.
fn bombs(root: &str) -> Vec<(&'static str, String)> {
    let levels: String =
        (1..10).map(|n| format!("<!ENTITY l{n} \"{}\">", format!("&l{};", n - 1).repeat(10))).collect();
    vec![
        (
            "a billion laughs",
            format!("<!DOCTYPE x [<!ENTITY l0 \"lol\">{levels}]><{root}><Key>&l9;</Key></{root}>"),
        ),
        (
            "quadratic",
            format!(
                "<!DOCTYPE x [<!ENTITY a \"{}\">]><{root}><Key>{}</Key></{root}>",
                "a".repeat(5_000),
                "&a;".repeat(5_000)
            ),
        ),
        (
            "an external entity",
            format!(
                "<!DOCTYPE x [<!ENTITY a SYSTEM \"file:///etc/passwd\">]><{root}><Key>&a;</Key></{root}>"
            ),
        ),
        (
            "a parameter entity",
            format!("<!DOCTYPE x [<!ENTITY % a SYSTEM \"http://127.0.0.1:1/\"> %a;]><{root}/>"),
        ),
        ("an external subset", format!("<!DOCTYPE x SYSTEM \"http://127.0.0.1:1/x.dtd\"><{root}/>")),
        ("an unknown entity", format!("<{root}><Key>&a;</Key></{root}>")),
        ("a stylesheet", format!("<?xml-stylesheet href=\"http://127.0.0.1:1/\"?><{root}/>")),
        (
            "an inclusion",
            format!(
                "<{root} xmlns:xi=\"http://www.w3.org/2001/XInclude\"><xi:include href=\"file:///etc/passwd\"/></{root}>"
            ),
        ),
        ("deep", format!("<{root}>{}{}</{root}>", "<a>".repeat(5_000), "</a>".repeat(5_000))),
        ("deep and open", format!("<{root}>{}", "<a>".repeat(20_000))),
        ("wide", format!("<{root}>{}</{root}>", "<a/>".repeat(120_000))),
        (
            "wide in attributes",
            format!("<{root}{}/>", (0..5_000).map(|n| format!(" a{n}=\"\"")).collect::<String>()),
        ),
        ("another encoding", format!("<?xml version=\"1.0\" encoding=\"UTF-7\"?><{root}/>")),
        ("not UTF-8", format!("<?xml version=\"1.0\" encoding=\"UTF-16\"?><{root}/>")),
        ("another root", "<Nothing/>".to_owned()),
    ]
}

fn md5(document: &str) -> String {
    base64::engine::general_purpose::STANDARD.encode(<md5::Md5 as md5::Digest>::digest(document))
}

async fn send(door: &Door, method: &str, target: &str, document: &str) -> crate::support::raw::Answer {
    let raw = door.raw(method, target).header("content-md5", &md5(document)).body(document);
    raw.sign().send().await
}

/// What one object's or bucket's location keeps goes there as it came: nothing here reads it. The location was asked
/// for what it keeps before it was told anything else.
fn only_unread_documents_went_on(door: &Door) {
    const UNREAD: [&str; 7] = [
        "retention",
        "legal-hold",
        "restore",
        "lifecycle",
        "encryption",
        "publicAccessBlock",
        "ownershipControls",
    ];
    for seen in door.forwarded() {
        let query = seen.target.split_once('?').map(|(_, query)| query).unwrap_or_default();
        assert!(UNREAD.contains(&query), "forwarded: {} {}", seen.method, seen.target);
    }
}

#[tokio::test]
async fn no_operation_reads_a_document_that_could_grow() {
    let mut door = Door::new().await;
    let upload =
        door.gateway.client().create_multipart_upload().bucket("clinic").key("note").send().await.unwrap();
    let upload = upload.upload_id().unwrap().to_owned();
    door.unchanged().await;
    let mut read = 0;
    for (method, target, root) in TAKES_XML {
        let target = target.replace("UPLOAD", &upload);
        for (what, document) in bombs(root) {
            let answer = send(&door, method, &target, &document).await;
            if answer.status == 501 {
                break;
            }
            read += 1;
            if (answer.status, &*answer.element("Code")) == (409, "InvalidBucketState") {
                // It is an ObjectLockConfiguration that names nothing outside of itself, and this bucket can have none.
                assert!(what == "an inclusion" && target.ends_with("?object-lock"), "{what} to {target}");
                continue;
            }
            assert_eq!(answer.status, 400, "{what} to {method} {target}: {}", answer.text());
            // What is longer than any document of its operation is not even read.
            let is_long = document.len() > 64 << 10;
            let code = answer.element("Code");
            assert!(
                code == "MalformedXML"
                    || (is_long && matches!(&*code, "EntityTooLarge" | "MaxMessageLengthExceeded")),
                "{what} to {method} {target}: {}",
                answer.text()
            );
            assert!(!answer.text().contains("root:"), "{what} reached out");
        }
    }
    assert!(read >= 3 * bombs("").len(), "at least three operations take documents");
    only_unread_documents_went_on(&door);
    door.unchanged().await;
}

#[tokio::test]
async fn a_document_has_a_longest_size_for_every_operation() {
    let mut door = Door::new().await;
    for (method, target, root) in TAKES_XML {
        if send(&door, method, target, "<Nothing/>").await.status == 501 {
            continue;
        }
        let document = format!("<{root}>{}</{root}>", " ".repeat(9 << 20));
        let answer = send(&door, method, target, &document).await;
        assert!(matches!(answer.status, 400 | 404 | 501), "{method} {target}: {}", answer.text());
    }
    only_unread_documents_went_on(&door);
    door.unchanged().await;
}

/// The length that was announced is not what memory is taken for.
#[tokio::test]
async fn a_document_that_is_announced_and_not_sent_holds_nothing() {
    let mut door = Door::new().await;
    for length in ["18446744073709551615", "9223372036854775807", "1099511627776"] {
        let raw = Raw { body: b"<Delete/>".to_vec(), ..door.raw("POST", "/clinic?delete") };
        let hash = hex::encode(digest::digest(&digest::SHA256, b"<Delete/>").as_ref());
        let raw = raw.header("content-length", length).sign_with(&hash);
        let answer = raw.send().await;
        assert!(matches!(answer.status, 400 | 431), "{length}: {} {}", answer.status, answer.text());
    }
    door.unharmed().await;
}
