//! Objects, their uploads and their keys go there and back.

use domicile::config::RemoteS3;
use domicile::locations::remote::Timeouts;
use http::{Method, StatusCode};

use crate::support::{Listens, ODD_KEYS, S3Server};
use crate::{ask, config, get, location, open, put, request, text_between};

#[tokio::test]
async fn an_object_goes_there_and_back() {
    let server = S3Server::files(Listens::Http).await;
    server.create_bucket("photos");
    let location = location(&server);
    assert_eq!(put(&location, "/photos/a/cat.txt", "miaow, miaow").await, 200);

    let (status, headers, body) = ask(&location, request(Method::GET, "/photos/a/cat.txt", "")).await;
    assert_eq!((status, &body[..]), (StatusCode::OK, &b"miaow, miaow"[..]));
    assert!(headers.contains_key("etag"));

    let (status, headers, body) = ask(&location, request(Method::HEAD, "/photos/a/cat.txt", "")).await;
    assert_eq!((status, body.len()), (StatusCode::OK, 0));
    assert_eq!(headers["content-length"], "12");

    let mut range = request(Method::GET, "/photos/a/cat.txt", "");
    range.headers_mut().insert("range", "bytes=0-4".parse().unwrap());
    let (status, headers, body) = ask(&location, range).await;
    assert_eq!((status, &body[..]), (StatusCode::PARTIAL_CONTENT, &b"miaow"[..]));
    assert_eq!(headers["content-range"], "bytes 0-4/12");

    let (status, body) = get(&location, "/photos?list-type=2&prefix=a%2F").await;
    assert_eq!(status, 200);
    assert!(String::from_utf8_lossy(&body).contains("<Key>a/cat.txt</Key>"));

    assert_eq!(ask(&location, request(Method::DELETE, "/photos/a/cat.txt", "")).await.0, 204);
    let (status, body) = get(&location, "/photos/a/cat.txt").await;
    assert_eq!(status, 404);
    assert!(String::from_utf8_lossy(&body).contains("NoSuchKey"));
    assert!(location.health().is_healthy());
}

#[tokio::test]
async fn a_multipart_upload_becomes_one_object() {
    let server = S3Server::files(Listens::Http).await;
    server.create_bucket("photos");
    let location = location(&server);
    let (status, _, body) = ask(&location, request(Method::POST, "/photos/big?uploads", "")).await;
    assert_eq!(status, 200);
    let created = String::from_utf8(body.to_vec()).unwrap();
    let id = text_between(&created, "<UploadId>", "</UploadId>");

    let mut parts = String::new();
    for number in 1..=2 {
        let target = format!("/photos/big?partNumber={number}&uploadId={id}");
        let body = vec![b'0' + number; 5 << 20];
        let (status, headers, _) = ask(&location, request(Method::PUT, &target, body)).await;
        assert_eq!(status, 200);
        let etag = headers["etag"].to_str().unwrap();
        parts.push_str(&format!("<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>"));
    }
    let document = format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>");
    let complete = request(Method::POST, &format!("/photos/big?uploadId={id}"), document);
    assert_eq!(ask(&location, complete).await.0, 200);
    let (_, object) = get(&location, "/photos/big").await;
    assert_eq!((object.len(), object[0], object[10 * (1 << 20) - 1]), (10 << 20, b'1', b'2'));
}

#[tokio::test]
async fn every_key_arrives_as_it_is() {
    let server = S3Server::any_key().await;
    let location = location(&server);
    let long = "k".repeat(1024);
    for key in ODD_KEYS.into_iter().chain(["tab\tnew\nline", &long]) {
        let mut target = "/photos/".to_owned();
        for byte in key.bytes() {
            target.push_str(&format!("%{byte:02x}"));
        }
        assert_eq!(put(&location, &target, format!("object {key}")).await, 200, "{key}");
        let (status, body) = get(&location, &target).await;
        assert_eq!((status, body), (StatusCode::OK, format!("object {key}").into()), "{key}");
    }
}

#[tokio::test]
async fn a_bucket_is_renamed_by_the_template() {
    let server = S3Server::files(Listens::Http).await;
    let location = open(
        &RemoteS3 { bucket: "acme-{bucket}-cn".into(), ..config(&server.endpoint()) },
        Timeouts::default(),
    );
    let (status, headers, _) = ask(&location, request(Method::PUT, "/photos", "")).await;
    assert_eq!(status, 200);
    assert!(headers.get("location").is_none_or(|value| value == "/photos"), "{headers:?}");
    assert_eq!(put(&location, "/photos/cat", "miaow").await, 200);
    assert_eq!(std::fs::read(server.object("acme-photos-cn/cat")).unwrap(), b"miaow");

    let mut copy = request(Method::PUT, "/photos/copy", "");
    copy.headers_mut().insert("x-amz-copy-source", "/photos/cat".parse().unwrap());
    assert_eq!(ask(&location, copy).await.0, 200);
    assert_eq!(std::fs::read(server.object("acme-photos-cn/copy")).unwrap(), b"miaow");
}
