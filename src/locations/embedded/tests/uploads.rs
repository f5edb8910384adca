use http_body_util::BodyExt;

use super::{Fixture, request};
use crate::body::Body;

const PART: usize = 5 << 20;

impl Fixture {
    async fn create(&self, key: &str, headers: &[(&str, &str)]) -> String {
        let reply = self.send("POST", &format!("/box/{key}?uploads"), headers, "").await;
        assert_eq!(reply.status, 200, "{reply:?}");
        reply.element("UploadId").unwrap().to_owned()
    }

    async fn part(&self, key: &str, id: &str, number: u16, body: impl Into<bytes::Bytes>) -> String {
        let uri = format!("/box/{key}?partNumber={number}&uploadId={id}");
        let reply = self.send("PUT", &uri, &[], body).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        reply.header("etag").unwrap().to_owned()
    }
}

fn document(parts: &[(u16, &str)]) -> String {
    let parts: String = parts
        .iter()
        .map(|(number, etag)| format!("<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>"))
        .collect();
    format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>")
}

#[tokio::test]
async fn parts_become_one_object_that_survives_its_deletion_under_a_download() {
    let store = Fixture::new().await;
    let headers = [("content-type", "text/plain"), ("x-amz-meta-a", "1"), ("x-amz-tagging", "t=1")];
    let id = store.create("k", &headers).await;
    // Uploaded twice, and one part that the client then leaves out.
    store.part("k", &id, 2, vec![9; 10]).await;
    let first = store.part("k", &id, 2, vec![1; PART]).await;
    store.part("k", &id, 3, vec![8; 10]).await;
    let second = store.part("k", &id, 7, vec![2; 300_000]).await;
    let list = store.send("GET", &format!("/box/k?uploadId={id}&max-parts=2"), &[], "").await;
    assert_eq!(list.element("IsTruncated"), Some("true"));
    assert_eq!(list.element("NextPartNumberMarker"), Some("3"));
    let list = store.send("GET", &format!("/box/k?uploadId={id}&part-number-marker=3"), &[], "").await;
    assert_eq!((list.element("IsTruncated"), list.element("PartNumber")), (Some("false"), Some("7")));
    assert_eq!(list.element("Size"), Some("300000"));

    let done = store
        .send("POST", &format!("/box/k?uploadId={id}"), &[], document(&[(2, &first), (7, &second)]))
        .await;
    assert_eq!(done.status, 200, "{done:?}");
    let etag = done.element("ETag").unwrap();
    assert!(etag.ends_with("-2&quot;"), "{etag}");
    store.settles_at(2).await;
    let store = store.reopen();

    let across = store.send("GET", "/box/k", &[("range", "bytes=5242878-5242881")], "").await;
    assert_eq!((across.status.as_u16(), &across.body[..]), (206, &[1, 1, 2, 2][..]));
    let response = store.request(request("GET", "/box/k", &[], Body::empty())).await.unwrap();
    assert_eq!(response.headers()["content-length"], (PART + 300_000).to_string().as_str());
    assert_eq!(response.headers()["x-amz-meta-a"], "1");
    assert_eq!(response.headers()["x-amz-tagging-count"], "1");
    let mut body = response.into_body();
    let begun = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(store.send("DELETE", "/box/k", &[], "").await.status, 204);
    let rest = body.collect().await.unwrap().to_bytes();
    assert_eq!(begun.len() + rest.len(), PART + 300_000);
    assert!(rest.ends_with(&[2; 300_000]) && rest[..rest.len() - 300_000].iter().all(|byte| *byte == 1));
    store.settles_at(0).await;
}

#[tokio::test]
async fn a_wrong_completion_changes_nothing() {
    let store = Fixture::new().await;
    let id = store.create("k", &[]).await;
    let (one, two) = (store.part("k", &id, 1, "small").await, store.part("k", &id, 2, "last").await);
    let uri = format!("/box/k?uploadId={id}");
    for (body, code) in [
        (document(&[(1, &one), (2, &two)]), "EntityTooSmall"),
        (document(&[(2, &two), (1, &one)]), "InvalidPartOrder"),
        (document(&[(1, &one), (1, &one)]), "InvalidPartOrder"),
        (document(&[(1, &two)]), "InvalidPart"),
        (document(&[(3, &one)]), "InvalidPart"),
        (document(&[]), "MalformedXML"),
        ("no xml".to_owned(), "MalformedXML"),
        (
            "<CompleteMultipartUpload><Part><PartNumber>-1</PartNumber></Part></CompleteMultipartUpload>"
                .to_owned(),
            "MalformedXML",
        ),
    ] {
        store.send("POST", &uri, &[], body).await.assert_error(400, code);
    }
    store
        .send("POST", &uri, &[("x-amz-mp-object-size", "9")], document(&[(1, &one)]))
        .await
        .assert_error(400, "InvalidRequest");
    store.send("GET", "/box/k", &[], "").await.assert_error(404, "NoSuchKey");
    store.settles_at(2).await;
    // Conditions are checked at the end.
    store.put("k", "there").await;
    let reply = store.send("POST", &uri, &[("if-none-match", "*")], document(&[(1, &one)])).await;
    reply.assert_error(412, "PreconditionFailed");
    // The last part may be small.
    assert_eq!(store.send("POST", &uri, &[], document(&[(1, &one)])).await.status, 200);
    assert_eq!(store.send("GET", "/box/k", &[], "").await.text(), "small");
    store.settles_at(1).await;
    store.send("POST", &uri, &[], document(&[(1, &one)])).await.assert_error(404, "NoSuchUpload");
}

#[tokio::test]
async fn an_aborted_upload_is_gone_with_its_parts() {
    let store = Fixture::new().await;
    let id = store.create("k", &[]).await;
    store.part("k", &id, 1, "x").await;
    store.send("DELETE", "/box/other?uploadId=x", &[], "").await.assert_error(404, "NoSuchUpload");
    let uri = format!("/box/k?uploadId={id}");
    assert_eq!(store.send("DELETE", &uri, &[], "").await.status, 204);
    assert_eq!(store.files(), 0);
    store.send("DELETE", &uri, &[], "").await.assert_error(404, "NoSuchUpload");
    store.send("GET", &uri, &[], "").await.assert_error(404, "NoSuchUpload");
    let part = format!("/box/k?partNumber=1&uploadId={id}");
    store.send("PUT", &part, &[], "x").await.assert_error(404, "NoSuchUpload");
    for number in ["0", "10001", "x", ""] {
        let part = format!("/box/k?partNumber={number}&uploadId={id}");
        store.send("PUT", &part, &[], "x").await.assert_error(400, "InvalidArgument");
    }
    assert_eq!(store.files(), 0);
}

#[tokio::test]
async fn a_deleted_bucket_takes_its_open_uploads_along() {
    let store = Fixture::new().await;
    let id = store.create("k", &[]).await;
    store.part("k", &id, 1, "x").await;
    assert_eq!(store.send("DELETE", "/box", &[], "").await.status, 204);
    assert_eq!(store.files(), 0);
}

#[tokio::test]
async fn uploads_are_listed_by_key_and_id() {
    let store = Fixture::new().await;
    let mut ids = [store.create("b", &[]).await, store.create("b", &[]).await];
    ids.sort();
    store.create("a/1", &[]).await;
    store.create("a/2", &[]).await;
    let page = store.send("GET", "/box?uploads&delimiter=/&max-uploads=1", &[], "").await;
    assert_eq!((page.element("NextKeyMarker"), page.element("IsTruncated")), (Some("a/"), Some("true")));
    let page = store.send("GET", "/box?uploads&delimiter=/&max-uploads=1&key-marker=a/", &[], "").await;
    assert_eq!(page.element("UploadId"), Some(ids[0].as_str()));
    let next = page.element("NextUploadIdMarker").unwrap();
    assert_eq!(next, ids[0]);
    let page =
        store.send("GET", &format!("/box?uploads&key-marker=b&upload-id-marker={next}"), &[], "").await;
    assert_eq!(page.element("UploadId"), Some(ids[1].as_str()));
    assert_eq!(page.element("IsTruncated"), Some("false"));
    let page = store.send("GET", "/box?uploads&prefix=a/2", &[], "").await;
    assert_eq!((page.element("Key"), page.text().matches("<Upload>").count()), (Some("a/2"), 1));
}

#[tokio::test]
async fn checksums_of_parts_make_that_of_the_object() {
    let store = Fixture::new().await;
    // The sum of one part alone is known: that of "123456789".
    for (algorithm, kind, part, whole) in [
        ("CRC32", "FULL_OBJECT", "y/Q5Jg==", "y/Q5Jg=="),
        ("CRC64NVME", "FULL_OBJECT", "rosUhgp5mIg=", "rosUhgp5mIg="),
        ("SHA256", "COMPOSITE", "FeKw08M4keuw8e9gnsQZQgwg4yDOlMZfvIwzEkSOsiU=", ""),
    ] {
        let id = store
            .create("k", &[("x-amz-checksum-algorithm", algorithm), ("x-amz-checksum-type", kind)])
            .await;
        let header = format!("x-amz-checksum-{}", algorithm.to_ascii_lowercase());
        let uri = format!("/box/k?partNumber=1&uploadId={id}");
        let uploaded = store.send("PUT", &uri, &[], "123456789").await;
        assert_eq!(uploaded.header(&header), Some(part));
        let etag = uploaded.header("etag").unwrap();
        let element = format!("Checksum{algorithm}");
        let named = |sum: &str| {
            document(&[(1, etag)]).replace("</Part>", &format!("<{element}>{sum}</{element}></Part>"))
        };
        let uri = format!("/box/k?uploadId={id}");
        store.send("POST", &uri, &[], named("AAAA")).await.assert_error(400, "InvalidPart");
        if kind == "FULL_OBJECT" {
            let wrong = store.send("POST", &uri, &[(&header, "AAAAAA==")], named(part)).await;
            wrong.assert_error(400, "BadDigest");
        }
        let done = store.send("POST", &uri, &[], named(part)).await;
        assert_eq!(done.element("ChecksumType"), Some(kind), "{done:?}");
        let sum = done.element(&element).unwrap();
        if kind == "FULL_OBJECT" {
            assert_eq!(sum, whole);
        } else {
            assert!(sum.ends_with("-1"));
        }
        let head = store.send("HEAD", "/box/k", &[("x-amz-checksum-mode", "ENABLED")], "").await;
        assert_eq!(head.header(&header), Some(sum));
        assert_eq!(head.header("x-amz-checksum-type"), Some(kind));
    }
    for (algorithm, kind) in
        [("SHA1", "FULL_OBJECT"), ("CRC64NVME", "COMPOSITE"), ("MD6", "COMPOSITE"), ("CRC32", "HALF")]
    {
        let headers = [("x-amz-checksum-algorithm", algorithm), ("x-amz-checksum-type", kind)];
        store.send("POST", "/box/k?uploads", &headers, "").await.assert_error(400, "InvalidRequest");
    }
}
