//! Locations that answer late, badly, in part or not at all.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use domicile::body::{Body, BoxError};
use domicile::locations::LocationError;
use futures_util::stream;
use http::{Method, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::{ask, hasty, put, raw_server, read_head, request, send, text_between, upload};

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
