use std::sync::Arc;

use http::HeaderMap;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};

use super::{Fixture, request};
use crate::body::{Body, BoxError};
use crate::locations::{LocationError, PayloadHash};

#[tokio::test]
async fn an_object_comes_back_with_its_bytes_and_headers() {
    let store = Fixture::new().await;
    let put = store
        .send(
            "PUT",
            "/box/a/%E4%BD%A0%20b",
            &[
                ("content-type", "text/plain"),
                ("cache-control", "no-store"),
                ("content-encoding", "aws-chunked, gzip"),
                ("expires", "Wed, 21 Oct 2015 07:28:00 GMT"),
                ("x-amz-meta-colour", "green"),
                ("x-amz-tagging", "team=a%20b&data-class=personal.health"),
            ],
            "hello",
        )
        .await;
    assert_eq!(put.status, 200);
    assert_eq!(put.header("etag"), Some("\"5d41402abc4b2a76b9719d911017c592\""));
    let head = store.send("HEAD", "/box/a/%E4%BD%A0%20b", &[], "").await;
    assert!(head.body.is_empty());
    let get = store.send("GET", "/box/a/%e4%bd%a0%20b", &[], "").await;
    assert_eq!(get.text(), "hello");
    for reply in [&head, &get] {
        assert_eq!(reply.status, 200);
        assert_eq!(reply.header("content-type"), Some("text/plain"));
        assert_eq!(reply.header("cache-control"), Some("no-store"));
        assert_eq!(reply.header("content-encoding"), Some("gzip"));
        assert_eq!(reply.header("expires"), Some("Wed, 21 Oct 2015 07:28:00 GMT"));
        assert_eq!(reply.header("x-amz-meta-colour"), Some("green"));
        assert_eq!(reply.header("x-amz-tagging-count"), Some("2"));
        assert_eq!(reply.header("content-length"), Some("5"));
        assert_eq!(reply.header("accept-ranges"), Some("bytes"));
        assert!(reply.header("last-modified").unwrap().ends_with(" GMT"));
        assert!(reply.header("x-amz-request-id").is_some());
    }
}

#[tokio::test]
async fn an_empty_object_is_an_object() {
    let store = Fixture::new().await;
    store.put("empty", "").await;
    let get = store.send("GET", "/box/empty", &[], "").await;
    assert_eq!((get.status.as_u16(), get.header("content-length")), (200, Some("0")));
    assert_eq!(get.header("content-type"), Some("binary/octet-stream"));
    store.send("GET", "/box/empty", &[("range", "bytes=0-")], "").await.assert_error(416, "InvalidRange");
    let copy = store.send("PUT", "/box/copy", &[("x-amz-copy-source", "/box/empty")], "").await;
    assert_eq!(copy.status, 200, "{copy:?}");
    assert_eq!(store.send("GET", "/box/copy", &[], "").await.status, 200);
}

#[tokio::test]
async fn what_does_not_exist_is_said_to_be_missing() {
    let store = Fixture::new().await;
    store.send("GET", "/box/none", &[], "").await.assert_error(404, "NoSuchKey");
    store.send("GET", "/nobox/none", &[], "").await.assert_error(404, "NoSuchBucket");
    store.send("PUT", "/nobox/none", &[], "x").await.assert_error(404, "NoSuchBucket");
    store.send("DELETE", "/nobox/none", &[], "").await.assert_error(404, "NoSuchBucket");
    store.send("GET", "/nobox?list-type=2", &[], "").await.assert_error(404, "NoSuchBucket");
    store.send("GET", "/box/none?tagging", &[], "").await.assert_error(404, "NoSuchKey");
    store
        .send("GET", "/box/none?versionId=0000000000000001", &[], "")
        .await
        .assert_error(404, "NoSuchVersion");
    let head = store.send("HEAD", "/box/none", &[], "").await;
    assert_eq!((head.status.as_u16(), head.body.len()), (404, 0));
    store.settles_at(0).await;
}

#[tokio::test]
async fn what_is_not_offered_is_refused_and_not_ignored() {
    let store = Fixture::new().await;
    for (method, uri) in [
        ("GET", "/box?acl"),
        ("PUT", "/box?policy"),
        ("POST", "/box?delete"),
        ("POST", "/box/k?restore"),
        ("PATCH", "/box/k"),
        ("PUT", "/box/k?uploadId=x"),
    ] {
        store.send(method, uri, &[], "").await.assert_error(501, "NotImplemented");
    }
    for header in [
        ("x-amz-server-side-encryption", "aws:kms"),
        ("x-amz-storage-class", "GLACIER"),
        ("x-amz-acl", "public-read"),
        ("x-amz-grant-read", "id=1"),
        ("if-none-match", "\"abc\""),
    ] {
        store.send("PUT", "/box/k", &[header], "x").await.assert_error(501, "NotImplemented");
    }
    store.send("GET", "/b", &[], "").await.assert_error(400, "InvalidBucketName");
    store.send("GET", "/box/%ff", &[], "").await.assert_error(400, "InvalidURI");
    let long = format!("/box/{}", "k".repeat(1025));
    store.send("PUT", &long, &[], "x").await.assert_error(400, "KeyTooLongError");
}

#[tokio::test]
async fn ranges_follow_the_table() {
    let store = Fixture::new().await;
    store.put("k", "0123456789").await;
    for (range, status, body, content_range) in [
        ("bytes=0-0", 206, "0", Some("bytes 0-0/10")),
        ("bytes=2-5", 206, "2345", Some("bytes 2-5/10")),
        ("bytes=7-", 206, "789", Some("bytes 7-9/10")),
        ("bytes=-3", 206, "789", Some("bytes 7-9/10")),
        ("bytes=-99", 206, "0123456789", Some("bytes 0-9/10")),
        ("bytes=8-99999999999999999999999", 206, "89", Some("bytes 8-9/10")),
        ("bytes=5-2", 200, "0123456789", None),
        ("bytes=0-1,3-4", 200, "0123456789", None),
        ("bytes=-", 200, "0123456789", None),
        ("bytes=+1-2", 200, "0123456789", None),
        ("lines=1-2", 200, "0123456789", None),
    ] {
        let reply = store.send("GET", "/box/k", &[("range", range)], "").await;
        assert_eq!(reply.status, status, "{range}");
        assert_eq!(reply.text(), body, "{range}");
        assert_eq!(reply.header("content-range"), content_range, "{range}");
        let length = body.len().to_string();
        assert_eq!(reply.header("content-length"), Some(length.as_str()), "{range}");
    }
    for range in ["bytes=10-", "bytes=10-11", "bytes=-0"] {
        let reply = store.send("GET", "/box/k", &[("range", range)], "").await;
        reply.assert_error(416, "InvalidRange");
        assert_eq!(reply.header("content-range"), Some("bytes */10"));
    }
}

#[tokio::test]
async fn conditions_of_reads_follow_the_table() {
    let store = Fixture::new().await;
    let etag = store.put("k", "x").await.header("etag").unwrap().to_owned();
    let bare = etag.trim_matches('"').to_owned();
    let weak = format!("W/{etag}");
    let several = format!("\"other\", {etag}");
    let (past, future) = ("Wed, 21 Oct 2015 07:28:00 GMT", "Sun, 21 Oct 2091 07:28:00 GMT");
    let table: [(&[(&str, &str)], u16); 18] = [
        (&[("if-match", &etag)], 200),
        (&[("if-match", &bare)], 200),
        (&[("if-match", &several)], 200),
        (&[("if-match", "*")], 200),
        (&[("if-match", &weak)], 412),
        (&[("if-match", "\"other\"")], 412),
        (&[("if-none-match", &etag)], 304),
        (&[("if-none-match", &weak)], 304),
        (&[("if-none-match", "*")], 304),
        (&[("if-none-match", "\"other\"")], 200),
        (&[("if-modified-since", past)], 200),
        (&[("if-modified-since", future)], 304),
        (&[("if-modified-since", "yesterday")], 200),
        (&[("if-unmodified-since", past)], 412),
        (&[("if-unmodified-since", future)], 200),
        // A match outranks a date.
        (&[("if-match", &etag), ("if-unmodified-since", past)], 200),
        (&[("if-none-match", "\"other\""), ("if-modified-since", future)], 200),
        (&[("if-none-match", &etag), ("if-modified-since", past)], 304),
    ];
    for (headers, status) in table {
        for method in ["GET", "HEAD"] {
            let reply = store.send(method, "/box/k", headers, "").await;
            assert_eq!(reply.status, status, "{method} {headers:?}");
            if status == 304 {
                assert_eq!(reply.header("etag"), Some(etag.as_str()));
                assert!(reply.body.is_empty());
            }
        }
    }
    let range = ("range", "bytes=0-0");
    for (condition, status) in [(etag.as_str(), 206), ("\"other\"", 200), (past, 200)] {
        let reply = store.send("GET", "/box/k", &[range, ("if-range", condition)], "").await;
        assert_eq!(reply.status, status, "{condition}");
    }
}

#[tokio::test]
async fn conditional_writes_hold_what_they_promise() {
    let store = Fixture::new().await;
    let absent = [("if-none-match", "*")];
    let etag = store.send("PUT", "/box/k", &absent, "one").await.header("etag").unwrap().to_owned();
    store.send("PUT", "/box/k", &absent, "two").await.assert_error(412, "PreconditionFailed");
    store
        .send("PUT", "/box/k", &[("if-match", "\"x\"")], "two")
        .await
        .assert_error(412, "PreconditionFailed");
    store.send("PUT", "/box/none", &[("if-match", &etag)], "two").await.assert_error(404, "NoSuchKey");
    assert_eq!(store.send("GET", "/box/k", &[], "").await.text(), "one");
    assert_eq!(store.send("PUT", "/box/k", &[("if-match", &etag)], "two").await.status, 200);
    store.send("DELETE", "/box/k", &[("if-match", &etag)], "").await.assert_error(412, "PreconditionFailed");
    assert_eq!(store.send("GET", "/box/k", &[], "").await.text(), "two");
    store.settles_at(1).await;
}

#[tokio::test]
async fn only_one_of_many_creators_wins() {
    let store = Fixture::new().await;
    let tries = (0..16).map(|n| {
        let store = &store;
        async move { store.send("PUT", "/box/k", &[("if-none-match", "*")], format!("{n}")).await.status }
    });
    let statuses = futures_util::future::join_all(tries).await;
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
    assert!(statuses.iter().all(|status| *status == 200 || *status == 412), "{statuses:?}");
    store.settles_at(1).await;
}

#[tokio::test]
async fn responses_can_be_overridden() {
    let store = Fixture::new().await;
    store.put("k", "x").await;
    let uri = "/box/k?response-content-type=text%2Fx&response-content-disposition=attachment&response-expires=0\
               &response-cache-control=a&response-content-language=de&response-content-encoding=z&x-id=GetObject";
    let reply = store.send("GET", uri, &[], "").await;
    for (name, value) in [
        ("content-type", "text/x"),
        ("content-disposition", "attachment"),
        ("expires", "0"),
        ("cache-control", "a"),
        ("content-language", "de"),
        ("content-encoding", "z"),
    ] {
        assert_eq!(reply.header(name), Some(value));
    }
    let reply = store.send("GET", "/box/k?response-expires=%0a", &[], "").await;
    reply.assert_error(400, "InvalidArgument");
}

/// Sums of "123456789": the check values of the CRC catalogue, and those of sha1sum and sha256sum.
const CHECKSUMS: [(&str, &str); 5] = [
    ("crc32", "y/Q5Jg=="),
    ("crc32c", "4waSgw=="),
    ("crc64nvme", "rosUhgp5mIg="),
    ("sha1", "98O8HYCOBHMq32eZZczDTKeuNEE="),
    ("sha256", "FeKw08M4keuw8e9gnsQZQgwg4yDOlMZfvIwzEkSOsiU="),
];

#[tokio::test]
async fn checksums_are_verified_kept_and_returned() {
    let store = Fixture::new().await;
    for (name, value) in CHECKSUMS {
        let header = format!("x-amz-checksum-{name}");
        let uri = format!("/box/{name}");
        let put = store.send("PUT", &uri, &[(&header, value)], "123456789").await;
        assert_eq!(put.status, 200, "{put:?}");
        assert_eq!(put.header(&header), Some(value));
        assert_eq!(put.header("x-amz-checksum-type"), Some("FULL_OBJECT"));
        let get = store.send("HEAD", &uri, &[("x-amz-checksum-mode", "ENABLED")], "").await;
        assert_eq!(get.header(&header), Some(value));
        assert_eq!(store.send("HEAD", &uri, &[], "").await.header(&header), None);
        let part = [("x-amz-checksum-mode", "ENABLED"), ("range", "bytes=0-1")];
        assert_eq!(store.send("GET", &uri, &part, "").await.header(&header), None);
        store.send("PUT", &uri, &[(&header, value)], "12345678X").await.assert_error(400, "BadDigest");
        store.send("PUT", &uri, &[(&header, "!")], "123456789").await.assert_error(400, "InvalidRequest");
        // Computed when only the algorithm is said.
        let put = store.send("PUT", &uri, &[("x-amz-sdk-checksum-algorithm", name)], "123456789").await;
        assert_eq!(put.header(&header), Some(value));
    }
    let two = [("x-amz-checksum-crc32", "y/Q5Jg=="), ("x-amz-checksum-crc32c", "4waSgw==")];
    store.send("PUT", "/box/two", &two, "123456789").await.assert_error(400, "InvalidRequest");
    store.settles_at(5).await;
}

#[tokio::test]
async fn md5_signed_hash_and_length_are_verified() {
    let store = Fixture::new().await;
    let md5 = ("content-md5", "XUFAKrxLKna5cZ2REBfFkg==");
    assert_eq!(store.send("PUT", "/box/k", &[md5], "hello").await.status, 200);
    store.send("PUT", "/box/k", &[md5], "hellO").await.assert_error(400, "BadDigest");
    store.send("PUT", "/box/k", &[("content-md5", "abc")], "hello").await.assert_error(400, "InvalidDigest");
    for length in ["4", "6"] {
        let reply = store.send("PUT", "/box/k", &[("content-length", length)], "hello").await;
        reply.assert_error(400, "IncompleteBody");
    }
    let huge = [("content-length", "5368709121")];
    store.send("PUT", "/box/k", &huge, "hello").await.assert_error(400, "EntityTooLarge");
    for (hash, status) in
        [("2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824", 200), ("00", 400)]
    {
        let mut request = request("PUT", "/box/k", &[], Body::full("hello"));
        request.extensions_mut().insert(PayloadHash::Sha256(Arc::from(hash)));
        assert_eq!(store.request(request).await.unwrap().status(), status);
    }
    store.settles_at(1).await;
}

#[tokio::test]
async fn a_checksum_behind_the_body_counts() {
    let store = Fixture::new().await;
    for (value, status) in [("y/Q5Jg==", 200), ("AAAAAA==", 400)] {
        let mut trailers = HeaderMap::new();
        trailers.insert("x-amz-checksum-crc32", value.parse().unwrap());
        let frames = [Frame::data("123456789".into()), Frame::trailers(trailers)].map(Ok::<_, BoxError>);
        let body = Body::new(StreamBody::new(futures_util::stream::iter(frames)));
        let headers = [("x-amz-trailer", "x-amz-checksum-crc32")];
        let response = store.request(request("PUT", "/box/k", &headers, body)).await.unwrap();
        assert_eq!(response.status(), status);
    }
    store.settles_at(1).await;
}

#[tokio::test]
async fn a_body_that_fails_leaves_nothing_behind() {
    let store = Fixture::new().await;
    for chunks in [0, 1, 5] {
        let data = (0..chunks).map(|_| Ok(Frame::data(vec![7; 100_000].into())));
        let failure = std::iter::once(Err::<_, BoxError>("the client is gone".into()));
        let body = Body::new(StreamBody::new(futures_util::stream::iter(data.chain(failure))));
        let failed = store.request(request("PUT", "/box/k", &[], body)).await;
        assert!(matches!(failed, Err(LocationError::RequestBody(_))), "{failed:?}");
        assert_eq!(store.files(), 0);
    }
    store.send("GET", "/box/k", &[], "").await.assert_error(404, "NoSuchKey");
}

#[tokio::test]
async fn a_request_that_is_given_up_leaves_nothing_behind() {
    let store = Fixture::new().await;
    let first = futures_util::stream::iter([Ok::<_, BoxError>(Frame::data(vec![7; 300_000].into()))]);
    let body =
        Body::new(StreamBody::new(futures_util::StreamExt::chain(first, futures_util::stream::pending())));
    let call = store.request(request("PUT", "/box/k", &[], body));
    let given_up = tokio::time::timeout(std::time::Duration::from_millis(50), call).await;
    assert!(given_up.is_err());
    store.settles_at(0).await;
}

#[tokio::test]
async fn metadata_has_a_limit() {
    let store = Fixture::new().await;
    let (fits, too_long) = ("v".repeat(2045), "v".repeat(2046));
    assert_eq!(store.send("PUT", "/box/k", &[("x-amz-meta-abc", &fits)], "x").await.status, 200);
    let reply = store.send("PUT", "/box/k", &[("x-amz-meta-abc", &too_long)], "x").await;
    reply.assert_error(400, "MetadataTooLarge");
}

#[tokio::test]
async fn tags_are_set_read_and_deleted() {
    let store = Fixture::new().await;
    store.put("k", "x").await;
    let document = "<Tagging xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><TagSet><Tag><Key>a</Key>\
                    <Value>1 &amp;amp</Value></Tag></TagSet></Tagging>";
    store.send("PUT", "/box/k?tagging", &[], document).await.assert_error(400, "InvalidTag");
    let document = document.replace("&amp;amp", "@2");
    assert_eq!(store.send("PUT", "/box/k?tagging", &[], document).await.status, 200);
    let reply = store.send("GET", "/box/k?tagging", &[], "").await;
    assert_eq!((reply.element("Key"), reply.element("Value")), (Some("a"), Some("1 @2")));
    assert_eq!(store.send("GET", "/box/k", &[], "").await.header("x-amz-tagging-count"), Some("1"));
    assert_eq!(store.send("DELETE", "/box/k?tagging", &[], "").await.status, 204);
    let reply = store.send("GET", "/box/k?tagging", &[], "").await;
    assert_eq!((reply.status.as_u16(), reply.element("Key")), (200, None));
    for wrong in [
        "",
        "<Tagging>",
        "<Tagging/>",
        "\u{1}",
        "<Tagging><TagSet><Tag><Key>a</Key></Tag></TagSet></Tagging>",
    ] {
        store.send("PUT", "/box/k?tagging", &[], wrong).await.assert_error(400, "MalformedXML");
    }
    let long = "<".repeat(200_000);
    store.send("PUT", "/box/k?tagging", &[], long).await.assert_error(400, "MalformedXML");
}

#[tokio::test]
async fn tags_have_limits() {
    let store = Fixture::new().await;
    let ten: Vec<String> = (0..10).map(|n| format!("k{n}=v")).collect();
    let (ten, eleven) = (ten.join("&"), format!("{}&z=1", ten.join("&")));
    let (key, value) = (format!("{}=v", "k".repeat(128)), format!("k={}", "v".repeat(256)));
    for good in [ten.as_str(), &key, &value, "a=", "a", "k=%E4%BD%A0", ""] {
        let reply = store.send("PUT", "/box/k", &[("x-amz-tagging", good)], "x").await;
        assert_eq!(reply.status, 200, "{good}");
    }
    for bad in
        [eleven.as_str(), &format!("k{key}"), &format!("{value}v"), "a=1&a=2", "=1", "a=%00", "a=%ff", "a=<"]
    {
        store.send("PUT", "/box/k", &[("x-amz-tagging", bad)], "x").await.assert_error(400, "InvalidTag");
    }
}

#[tokio::test]
async fn a_copy_takes_what_it_is_told_to() {
    let store = Fixture::new().await;
    let headers = [
        ("content-type", "text/plain"),
        ("x-amz-meta-a", "1"),
        ("x-amz-tagging", "t=1"),
        ("x-amz-checksum-crc32", "y/Q5Jg=="),
    ];
    assert_eq!(store.send("PUT", "/box/from%20here", &headers, "123456789").await.status, 200);
    let source = ("x-amz-copy-source", "box/from%20here?versionId=null");
    let copy = store.send("PUT", "/box/to", &[source], "").await;
    assert_eq!(copy.status, 200);
    assert_eq!(copy.element("ETag"), Some("&quot;25f9e794323b453885f5181f1b624d0b&quot;"));
    assert_eq!(copy.element("ChecksumCRC32"), Some("y/Q5Jg=="));
    // The copy stands on its own.
    assert_eq!(store.send("DELETE", "/box/from%20here", &[], "").await.status, 204);
    let get = store.send("GET", "/box/to", &[], "").await;
    assert_eq!(get.text(), "123456789");
    assert_eq!((get.header("x-amz-meta-a"), get.header("x-amz-tagging-count")), (Some("1"), Some("1")));

    let replace = [
        ("x-amz-copy-source", "/box/to"),
        ("x-amz-metadata-directive", "REPLACE"),
        ("x-amz-tagging-directive", "REPLACE"),
        ("x-amz-meta-b", "2"),
        ("x-amz-checksum-algorithm", "SHA1"),
    ];
    let copy = store.send("PUT", "/box/to", &replace, "").await;
    assert_eq!(copy.element("ChecksumSHA1"), Some("98O8HYCOBHMq32eZZczDTKeuNEE="));
    let get = store.send("GET", "/box/to", &[], "").await;
    assert_eq!(get.text(), "123456789");
    assert_eq!((get.header("x-amz-meta-a"), get.header("x-amz-meta-b")), (None, Some("2")));
    assert_eq!(
        (get.header("x-amz-tagging-count"), get.header("content-type")),
        (None, Some("binary/octet-stream"))
    );
    store.settles_at(1).await;
}

#[tokio::test]
async fn a_copy_that_cannot_be_is_refused() {
    let store = Fixture::new().await;
    let etag = store.put("k", "x").await.header("etag").unwrap().to_owned();
    let past = "Wed, 21 Oct 2015 07:28:00 GMT";
    let source = ("x-amz-copy-source", "box/k");
    for (headers, status, code) in [
        (vec![source], 400, "InvalidRequest"),
        (vec![("x-amz-copy-source", "box/none")], 404, "NoSuchKey"),
        (vec![("x-amz-copy-source", "nobox/none")], 404, "NoSuchBucket"),
        (vec![("x-amz-copy-source", "box")], 400, "InvalidArgument"),
        (vec![("x-amz-copy-source", "box/k?versionId=00000000000000ff")], 404, "NoSuchVersion"),
        (vec![source, ("x-amz-metadata-directive", "MERGE")], 400, "InvalidArgument"),
        (
            vec![source, ("x-amz-checksum-algorithm", "MD6"), ("x-amz-metadata-directive", "REPLACE")],
            400,
            "InvalidRequest",
        ),
    ] {
        store.send("PUT", "/box/k", &headers, "").await.assert_error(status, code);
    }
    for condition in [
        ("x-amz-copy-source-if-match", "\"other\""),
        ("x-amz-copy-source-if-none-match", etag.as_str()),
        ("x-amz-copy-source-if-unmodified-since", past),
        ("x-amz-copy-source-if-modified-since", "Sun, 21 Oct 2091 07:28:00 GMT"),
    ] {
        let reply = store.send("PUT", "/box/to", &[source, condition], "").await;
        reply.assert_error(412, "PreconditionFailed");
    }
    let met = [source, ("x-amz-copy-source-if-match", etag.as_str()), ("if-none-match", "*")];
    assert_eq!(store.send("PUT", "/box/to", &met, "").await.status, 200);
    store.send("PUT", "/box/to", &met, "").await.assert_error(412, "PreconditionFailed");
    store.settles_at(2).await;
}

#[tokio::test]
async fn deleting_is_idempotent_and_removes_the_file_before_it_answers() {
    let store = Fixture::new().await;
    store.put("k", "x").await;
    assert_eq!(store.files(), 1);
    for _ in 0..2 {
        assert_eq!(store.send("DELETE", "/box/k", &[], "").await.status, 204);
        assert_eq!(store.files(), 0);
    }
}

#[tokio::test]
async fn buckets_are_made_found_and_deleted_when_empty() {
    let store = Fixture::new().await;
    store.send("PUT", "/box", &[], "").await.assert_error(409, "BucketAlreadyOwnedByYou");
    assert_eq!(store.send("HEAD", "/box/", &[], "").await.status, 200);
    assert_eq!(store.send("HEAD", "/nobox", &[], "").await.status, 404);
    store.put("k", "x").await;
    store.send("DELETE", "/box", &[], "").await.assert_error(409, "BucketNotEmpty");
    store.send("DELETE", "/box/k", &[], "").await;
    assert_eq!(store.send("DELETE", "/box", &[], "").await.status, 204);
    store.send("DELETE", "/box", &[], "").await.assert_error(404, "NoSuchBucket");
    assert_eq!(store.send("HEAD", "/box", &[], "").await.status, 404);
}

#[tokio::test]
async fn a_large_object_streams_in_frames_of_bounded_size() {
    let store = Fixture::new().await;
    let content: Vec<u8> = (0..700_001_u32).map(|n| (n / 7) as u8).collect();
    let reply = store.send("PUT", "/box/k", &[], content.clone()).await;
    assert_eq!(reply.status, 200);
    let response =
        store.request(request("GET", "/box/k", &[("range", "bytes=3-")], Body::empty())).await.unwrap();
    let mut body = response.into_body();
    let mut back = Vec::new();
    while let Some(frame) = body.frame().await {
        let data = frame.unwrap().into_data().unwrap();
        assert!(data.len() <= 256 * 1024);
        back.extend_from_slice(&data);
    }
    assert!(back == content[3..]);
}
