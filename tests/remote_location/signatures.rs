//! What is signed onward, and what of the client's own does not leave.

use aws_lc_rs::digest;
use bytes::Bytes;
use domicile::body::{Body, BoxError};
use domicile::config::{RemoteS3, Secret};
use domicile::locations::PayloadHash;
use domicile::locations::remote::Timeouts;
use domicile::s3::checksum::{Algorithm, Hasher};
use futures_util::stream;
use http::Method;
use http_body::Frame;
use http_body_util::StreamBody;

use crate::support::{Listens, S3Server};
use crate::{ask, config, get, location, open, request, send, upload};

#[tokio::test]
async fn a_wrong_secret_is_the_locations_own_refusal() {
    let server = S3Server::files(Listens::Http).await;
    server.create_bucket("photos");
    let wrong = RemoteS3 { secret_access_key: Some(Secret::new("wrong")), ..config(&server.endpoint()) };
    let (status, body) = get(&open(&wrong, Timeouts::default()), "/photos/cat").await;
    assert_eq!(status, 403);
    assert!(String::from_utf8_lossy(&body).contains("SignatureDoesNotMatch"));
}

#[tokio::test]
async fn a_payload_hash_that_the_client_signed_is_checked_by_the_location() {
    let server = S3Server::files(Listens::Http).await;
    server.create_bucket("photos");
    let location = location(&server);
    let hash = hex::encode(digest::digest(&digest::SHA256, b"miaow"));
    let vouched = |body: &'static str| {
        let mut request = request(Method::PUT, "/photos/cat", body);
        request.extensions_mut().insert(PayloadHash::Sha256(hash.as_str().into()));
        request
    };
    assert_eq!(ask(&location, vouched("miaow")).await.0, 200);
    assert_eq!(server.seen()[0].headers["x-amz-content-sha256"], hash.as_str());
    let refused = send(&location, vouched("woofs")).await;
    assert!(refused.is_err() || refused.is_ok_and(|answer| !answer.status().is_success()));
    assert_eq!(get(&location, "/photos/cat").await.1, "miaow");
}

#[tokio::test]
async fn a_checksum_behind_the_body_travels_on_behind_it() {
    let server = S3Server::files(Listens::Http).await;
    server.create_bucket("photos");
    let location = location(&server);
    let content = Bytes::from(vec![7; 200_000]);
    let mut hasher = Hasher::new(Algorithm::Crc32);
    hasher.update(&content);
    let trailers = Frame::trailers(hasher.finish().to_headers());
    let pieces = [content.slice(..70_000), content.slice(70_000..)].map(Frame::data);
    let frames = pieces.into_iter().chain([trailers]).map(Ok::<_, BoxError>);
    let mut sent = upload(content.len(), Body::new(StreamBody::new(stream::iter(frames))));
    sent.headers_mut().insert("x-amz-trailer", "x-amz-checksum-crc32".parse().unwrap());
    assert_eq!(ask(&location, sent).await.0, 200);
    assert!(get(&location, "/photos/cat").await.1 == content);
    let seen = &server.seen()[0].headers;
    assert_eq!(seen["x-amz-content-sha256"], "STREAMING-UNSIGNED-PAYLOAD-TRAILER");
    assert_eq!(seen["x-amz-decoded-content-length"], "200000");
}

#[tokio::test]
async fn the_clients_own_credentials_and_hop_headers_do_not_leave() {
    let server = S3Server::any_key().await;
    let location = location(&server);
    let target = "/photos/k?X-Amz-Algorithm=a&X-Amz-Credential=client&X-Amz-Signature=client";
    let mut sent = request(Method::PUT, target, "x");
    for (name, value) in [
        ("authorization", "AWS4-HMAC-SHA256 client"),
        ("x-amz-security-token", "client"),
        ("host", "gateway.example"),
        ("connection", "x-hop"),
        ("x-hop", "client"),
        ("expect", "100-continue"),
        ("te", "trailers"),
        ("x-unknown", "kept"),
        ("x-amz-meta-city", "kept"),
        ("user-agent", "kept"),
    ] {
        sent.headers_mut().append(name, value.parse().unwrap());
    }
    assert_eq!(ask(&location, sent).await.0, 200);
    let seen = &server.seen()[0];
    assert_eq!(seen.target, "/photos/k");
    assert!(!format!("{:?}", seen.headers).contains("client"), "{:?}", seen.headers);
    for name in ["expect", "te", "connection"] {
        assert!(!seen.headers.contains_key(name), "{name}");
    }
    for name in ["x-unknown", "x-amz-meta-city", "user-agent"] {
        assert_eq!(seen.headers[name], "kept");
    }
    assert_eq!(seen.headers["content-length"], "1");
    assert_eq!(seen.headers["host"], server.address.to_string().as_str());
}
