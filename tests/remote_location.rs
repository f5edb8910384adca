//! A remote location through its service: against real S3 servers that check signatures, and against bad ones.

mod support;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use aws_lc_rs::digest;
use bytes::Bytes;
use domicile::body::{Body, BoxError};
use domicile::config::{AddressingStyle, RemoteS3, Secret};
use domicile::locations::remote::{RemoteError, RemoteLocation, RequestBodyError, Timeouts};
use domicile::locations::{LocationError, PayloadHash};
use domicile::s3::checksum::{Algorithm, Hasher};
use futures_util::stream;
use http::{Method, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tower::ServiceExt;

use support::{Listens, S3Server, Tls};

const HASTY: Timeouts = Timeouts {
    connect: Duration::from_millis(300),
    response_head: Duration::from_millis(300),
    body_idle: Duration::from_millis(300),
    credentials: Duration::from_millis(300),
    probe: Duration::from_millis(300),
};

fn config(endpoint: &str) -> RemoteS3 {
    RemoteS3 {
        endpoint: endpoint.to_owned(),
        bucket: "{bucket}".to_owned(),
        style: AddressingStyle::Path,
        access_key_id: Some(support::ACCESS_KEY_ID.to_owned()),
        secret_access_key: Some(Secret::new(support::SECRET_ACCESS_KEY)),
        profile: None,
        ca_certificates: None,
    }
}

fn open(config: &RemoteS3, timeouts: Timeouts) -> RemoteLocation {
    RemoteLocation::open_with("cn-north".parse().unwrap(), "cn-north-1", config, timeouts).unwrap()
}

fn location(server: &S3Server) -> RemoteLocation {
    open(&config(&server.endpoint()), Timeouts::default())
}

fn hasty(address: SocketAddr) -> RemoteLocation {
    open(&config(&format!("http://{address}")), HASTY)
}

fn request(method: Method, target: &str, body: impl Into<Bytes>) -> Request<Body> {
    Request::builder().method(method).uri(target).body(Body::full(body)).unwrap()
}

async fn send(location: &RemoteLocation, request: Request<Body>) -> Result<Response<Body>, LocationError> {
    location.service().oneshot(request).await
}

/// Status, headers and the whole body of an answer.
async fn ask(location: &RemoteLocation, request: Request<Body>) -> (StatusCode, http::HeaderMap, Bytes) {
    let (parts, body) = send(location, request).await.unwrap().into_parts();
    (parts.status, parts.headers, body.collect_limited(64 << 20).await.unwrap())
}

async fn get(location: &RemoteLocation, target: &str) -> (StatusCode, Bytes) {
    let (status, _, body) = ask(location, request(Method::GET, target, "")).await;
    (status, body)
}

async fn put(location: &RemoteLocation, target: &str, body: impl Into<Bytes>) -> StatusCode {
    ask(location, request(Method::PUT, target, body)).await.0
}

fn text_between<'a>(text: &'a str, before: &str, after: &str) -> &'a str {
    text.split_once(before).unwrap().1.split_once(after).unwrap().0
}

// === Objects ===

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
    let keys = [
        "a//b",
        "/",
        "//",
        ".",
        "..",
        "a/../b",
        "a/./b",
        "a+b",
        "a b",
        "a%20b",
        "%",
        "100%",
        "a=b&c;d",
        "?",
        "a?b#c",
        "北京/ü",
        "😀",
        "a'(b)*!",
        "~tilde-_.",
        "back\\slash",
        "\"quoted\"",
        "<xml>&amp;",
        "tab\tnew\nline",
        &long,
    ];
    for key in keys {
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

// === Signatures ===

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

// === Bodies that fail ===

fn frames(
    frames: Vec<Result<Bytes, BoxError>>,
) -> StreamBody<impl stream::Stream<Item = Result<Frame<Bytes>, BoxError>>> {
    StreamBody::new(stream::iter(frames.into_iter().map(|frame| frame.map(Frame::data))))
}

fn upload(length: usize, body: Body) -> Request<Body> {
    Request::put("/photos/cat").header("content-length", length).body(body).unwrap()
}

#[tokio::test]
async fn a_body_that_fails_on_the_way_leaves_no_object() {
    let server = S3Server::files(Listens::Http).await;
    server.create_bucket("photos");
    let location = location(&server);
    let chunk = Bytes::from(vec![7; 100_000]);
    for at_end in [false, true] {
        let mut parts: Vec<Result<Bytes, BoxError>> = vec![Ok(chunk.clone()), Ok(chunk.clone())];
        let length = if at_end { 200_000 } else { 300_000 };
        parts.push(Err(io::Error::other("late finding").into()));
        let error = send(&location, upload(length, Body::new(frames(parts)))).await.unwrap_err();
        let LocationError::RequestBody(cause) = error else { panic!("{error:?}") };
        assert_eq!(cause.downcast_ref::<io::Error>().unwrap().to_string(), "late finding");
        assert_eq!(get(&location, "/photos/cat").await.0, 404);
    }
    assert!(location.health().is_healthy(), "the client's failures are not the location's");
}

#[tokio::test]
async fn a_body_that_is_not_as_long_as_announced_leaves_no_object() {
    let server = S3Server::files(Listens::Http).await;
    server.create_bucket("photos");
    let location = location(&server);
    for (length, expected) in [(4, RequestBodyError::Long), (6, RequestBodyError::Short { missing: 1 })] {
        let body = Body::new(frames(vec![Ok("mi".into()), Ok("aow".into())]));
        let error = send(&location, upload(length, body)).await.unwrap_err();
        let LocationError::RequestBody(cause) = error else { panic!("{error:?}") };
        assert_eq!(cause.downcast_ref(), Some(&expected));
        assert_eq!(get(&location, "/photos/cat").await.0, 404);
    }
    let unknown = Request::put("/photos/cat").body(Body::new(frames(vec![Ok("miaow".into())]))).unwrap();
    assert!(matches!(send(&location, unknown).await, Err(LocationError::Unreachable { .. })));
}

#[tokio::test]
async fn a_client_that_stops_sending_is_not_the_locations_failure() {
    let server = S3Server::files(Listens::Http).await;
    server.create_bucket("photos");
    let location = open(&config(&server.endpoint()), HASTY);
    let stalled = stream::unfold(0, |turn| async move {
        match turn {
            0 => Some((Ok::<_, BoxError>(Frame::data(Bytes::from_static(b"mi"))), 1)),
            _ => std::future::pending().await,
        }
    });
    let error = send(&location, upload(5, Body::new(StreamBody::new(stalled)))).await.unwrap_err();
    let LocationError::RequestBody(cause) = error else { panic!("{error:?}") };
    assert!(matches!(cause.downcast_ref(), Some(RequestBodyError::Stalled(_))));
    assert!(!server.object("photos/cat").exists());
}

#[tokio::test]
async fn a_request_that_cannot_be_addressed_says_nothing_about_the_location() {
    let server = S3Server::any_key().await;
    let location = location(&server);
    for _ in 0..20 {
        let error = send(&location, request(Method::GET, "/Not-A-Bucket/cat", "")).await.unwrap_err();
        assert!(matches!(error, LocationError::Unreachable { .. }));
        assert!(!format!("{error} {error:?}").contains("Not-A-Bucket"));
    }
    assert!(location.health().is_healthy());
    assert!(server.seen().is_empty());
}

// === Locations that fail ===

/// Accepts connections and treats each in its own way.
async fn raw_server<F, Fut>(behave: F) -> (SocketAddr, tokio::task::JoinHandle<()>)
where
    F: Fn(TcpStream) -> Fut + Send + 'static,
    Fut: Future<Output = io::Result<()>> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        let mut connections = tokio::task::JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            connections.spawn(behave(stream));
        }
    });
    (address, task)
}

async fn read_head(stream: &mut TcpStream) -> io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

#[tokio::test]
async fn a_port_that_nobody_listens_on_is_unreachable_and_soon_unhealthy() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let location = hasty(free);
    for _ in 0..5 {
        assert!(location.health().is_healthy());
        let error = send(&location, request(Method::PUT, "/photos/cat", "x")).await.unwrap_err();
        assert!(matches!(error, LocationError::Unreachable { .. }), "{error:?}");
        assert!(error.to_string().contains("connection refused"), "{error}");
    }
    assert!(!location.health().is_healthy());
    assert!(location.probe().await.is_err());
}

#[tokio::test]
async fn a_location_that_never_answers_is_lost_within_the_time_limit() {
    let (address, _task) = raw_server(|mut stream| async move {
        let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
        Ok(())
    })
    .await;
    let location = hasty(address);
    for body in ["", "miaow"] {
        let begun = Instant::now();
        let error = send(&location, request(Method::PUT, "/photos/cat", body)).await.unwrap_err();
        assert!(matches!(error, LocationError::Lost { .. }), "{error:?}");
        assert!(error.to_string().contains("no response head"), "{error}");
        assert!(begun.elapsed() < Duration::from_secs(5));
    }
    assert!(matches!(location.probe().await, Err(LocationError::Lost { .. })));
}

#[tokio::test]
async fn a_location_that_breaks_off_is_lost_not_unreachable() {
    let (address, _task) =
        raw_server(|mut stream| async move { read_head(&mut stream).await.map(drop) }).await;
    let error = send(&hasty(address), request(Method::GET, "/photos/cat", "")).await.unwrap_err();
    assert!(matches!(error, LocationError::Lost { .. }), "{error:?}");
}

#[tokio::test]
async fn something_that_is_no_http_server_is_lost_and_not_quoted() {
    let (address, _task) =
        raw_server(|mut stream| async move { stream.write_all(b"SSH-2.0-secret\r\n\r\n").await }).await;
    let error = send(&hasty(address), request(Method::GET, "/photos/cat", "")).await.unwrap_err();
    assert!(!format!("{error} {error:?}").contains("secret"));
}

#[tokio::test]
async fn a_location_that_takes_no_bytes_holds_the_sender_back_and_is_given_up() {
    let (address, _task) = raw_server(|mut stream| async move {
        read_head(&mut stream).await?;
        std::future::pending::<()>().await;
        Ok(())
    })
    .await;
    let given = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&given);
    let chunk = Bytes::from(vec![0; 64 * 1024]);
    let endless = stream::repeat_with(move || {
        counter.fetch_add(64 * 1024, Ordering::Relaxed);
        Ok::<_, BoxError>(Frame::data(chunk.clone()))
    });
    let error =
        send(&hasty(address), upload(1 << 30, Body::new(StreamBody::new(endless)))).await.unwrap_err();
    assert!(matches!(error, LocationError::Lost { .. }), "{error:?}");
    assert!(error.to_string().contains("took none of the request body"), "{error}");
    assert!(given.load(Ordering::Relaxed) < 64 << 20, "read far ahead of what was taken");
}

#[tokio::test]
async fn a_reader_that_is_slow_holds_the_location_back_and_is_never_given_up() {
    let sent = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&sent);
    const LENGTH: usize = 96 << 20;
    let (address, _task) = raw_server(move |mut stream| {
        let counter = Arc::clone(&counter);
        async move {
            read_head(&mut stream).await?;
            stream
                .write_all(format!("HTTP/1.1 200 OK\r\ncontent-length: {LENGTH}\r\n\r\n").as_bytes())
                .await?;
            let chunk = vec![1; 64 * 1024];
            while counter.load(Ordering::Relaxed) < LENGTH {
                stream.write_all(&chunk).await?;
                counter.fetch_add(chunk.len(), Ordering::Relaxed);
            }
            Ok(())
        }
    })
    .await;
    let mut body = send(&hasty(address), request(Method::GET, "/photos/cat", "")).await.unwrap().into_body();
    // Longer than the time limits, which are for the location and not for the reader.
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert!(sent.load(Ordering::Relaxed) < LENGTH / 2, "read far ahead of what was asked for");
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        length += frame.unwrap().into_data().unwrap().len();
    }
    assert_eq!(length, LENGTH);
}

#[tokio::test]
async fn a_response_that_stops_or_breaks_off_is_an_error_never_a_short_object() {
    for ends in [true, false] {
        let (address, _task) = raw_server(move |mut stream| async move {
            read_head(&mut stream).await?;
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nmiaow").await?;
            if !ends {
                std::future::pending::<()>().await;
            }
            Ok(())
        })
        .await;
        let body = send(&hasty(address), request(Method::GET, "/photos/cat", "")).await.unwrap().into_body();
        let error = body.collect().await.unwrap_err();
        assert!(matches!(error.downcast_ref(), Some(LocationError::Lost { .. })), "{error:?}");
    }
}

#[tokio::test]
async fn a_connection_that_was_closed_while_idle_costs_no_request() {
    let (address, _task) = raw_server(|mut stream| async move {
        let head = read_head(&mut stream).await?;
        let length: usize = text_between(&head, "content-length: ", "\r\n").parse().unwrap();
        stream.read_exact(&mut vec![0; length]).await?;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await
    })
    .await;
    let location = hasty(address);
    for _ in 0..5 {
        assert_eq!(put(&location, "/photos/cat", "miaow").await, 200);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn an_answer_is_passed_on_as_it_is() {
    for (answer, status, body) in [
        ("HTTP/1.1 304 Not Modified\r\netag: \"e\"\r\n\r\n", 304, ""),
        ("HTTP/1.1 412 Precondition Failed\r\nx-new: 1\r\ncontent-length: 2\r\n\r\nno", 412, "no"),
        ("HTTP/1.1 503 Slow Down\r\ntransfer-encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n", 503, "no"),
        ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", 200, "ok"),
        ("HTTP/1.1 307 Temporary Redirect\r\nlocation: https://x/\r\ncontent-length: 0\r\n\r\n", 307, ""),
    ] {
        let (address, _task) = raw_server(move |mut stream| async move {
            read_head(&mut stream).await?;
            stream.write_all(answer.as_bytes()).await
        })
        .await;
        let (got, headers, content) = ask(&hasty(address), request(Method::GET, "/photos/cat", "")).await;
        assert_eq!((got.as_u16(), &content[..]), (status, body.as_bytes()), "{answer}");
        assert!(!headers.contains_key("transfer-encoding"));
        assert_eq!(headers.contains_key("x-new"), answer.contains("x-new"));
    }
}

#[tokio::test]
async fn an_answer_before_the_end_of_the_body_is_the_answer() {
    let (address, _task) = raw_server(|mut stream| async move {
        read_head(&mut stream).await?;
        stream.write_all(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno").await?;
        tokio::io::copy(&mut stream, &mut tokio::io::sink()).await.map(drop)
    })
    .await;
    let endless = stream::repeat_with(|| Ok::<_, BoxError>(Frame::data(Bytes::from_static(&[0; 1024]))));
    let (status, _, body) = ask(&hasty(address), upload(1 << 30, Body::new(StreamBody::new(endless)))).await;
    assert_eq!((status, &body[..]), (StatusCode::FORBIDDEN, &b"no"[..]));
}

// === Health, TLS, opening ===

#[tokio::test]
async fn a_probe_finds_a_live_endpoint_even_when_it_refuses() {
    let server = S3Server::files(Listens::Http).await;
    location(&server).probe().await.unwrap();
    let wrong = RemoteS3 { secret_access_key: Some(Secret::new("wrong")), ..config(&server.endpoint()) };
    open(&wrong, HASTY).probe().await.unwrap();
    let (address, _task) = raw_server(|mut stream| async move {
        read_head(&mut stream).await?;
        stream.write_all(b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n").await
    })
    .await;
    assert!(matches!(hasty(address).probe().await, Err(LocationError::Lost { .. })));
}

#[tokio::test]
async fn tls_is_trusted_by_the_configured_authority_and_by_no_other() {
    let tls = Tls::for_name("localhost");
    let server = S3Server::files(Listens::Https(Arc::clone(&tls.server))).await;
    server.create_bucket("photos");
    let endpoint = format!("https://localhost:{}", server.address.port());
    let trusting = RemoteS3 { ca_certificates: Some(tls.authorities()), ..config(&endpoint) };
    let location = open(&trusting, Timeouts::default());
    assert_eq!(put(&location, "/photos/cat", vec![1; 3 << 20]).await, 200);
    assert_eq!(get(&location, "/photos/cat").await.1.len(), 3 << 20);

    let other = Tls::for_name("localhost");
    let strange = RemoteS3 { ca_certificates: Some(other.authorities()), ..config(&endpoint) };
    let error = send(&open(&strange, HASTY), request(Method::GET, "/photos/cat", "")).await.unwrap_err();
    assert!(matches!(error, LocationError::Unreachable { .. }), "{error:?}");
    assert!(error.to_string().contains("TLS"), "{error}");
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused_without_quoting_names() {
    let tls = Tls::for_name("other.example");
    let server = S3Server::files(Listens::Https(Arc::clone(&tls.server))).await;
    let endpoint = format!("https://localhost:{}", server.address.port());
    let config = RemoteS3 { ca_certificates: Some(tls.authorities()), ..config(&endpoint) };
    let error = send(&open(&config, HASTY), request(Method::GET, "/photos/cat", "")).await.unwrap_err();
    let text = format!("{error} {error:?}");
    assert!(text.contains("not valid for the name"), "{text}");
    assert!(!text.contains("other.example") && !text.contains("localhost"), "{text}");
}

#[test]
fn what_cannot_work_is_refused_when_it_is_opened() {
    let open = |config: RemoteS3| RemoteLocation::open("cn-north".parse().unwrap(), "cn-north-1", &config);
    let good = config("https://s3.example.com");
    let half = RemoteS3 { secret_access_key: None, ..good.clone() };
    assert!(matches!(open(half), Err(RemoteError::HalfCredentials { .. })));
    let both = RemoteS3 { profile: Some("p".into()), ..good.clone() };
    assert!(matches!(open(both), Err(RemoteError::ProfileAndKey { .. })));
    let url = RemoteS3 { endpoint: "s3.example.com".into(), ..good.clone() };
    assert!(matches!(open(url), Err(RemoteError::Endpoint { .. })));
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in [("absent", None), ("empty", Some("")), ("text", Some("not a certificate"))] {
        let path = folder.path().join(name);
        if let Some(content) = content {
            std::fs::write(&path, content).unwrap();
        }
        let config = RemoteS3 { ca_certificates: Some(path), ..good.clone() };
        assert!(matches!(open(config), Err(RemoteError::Tls { .. })), "{name}");
    }
}

/// Outside a runtime nothing can be asked: opening with the AWS chain contacts nobody.
#[test]
fn opening_without_keys_asks_nobody_for_credentials() {
    let chain = RemoteS3 { access_key_id: None, secret_access_key: None, ..config("http://127.0.0.1:1") };
    open(&chain, HASTY);
}
