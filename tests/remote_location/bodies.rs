//! Bodies that fail on the way: they leave no object, and are told from a location's failure.

use std::io;

use bytes::Bytes;
use domicile::body::{Body, BoxError};
use domicile::locations::LocationError;
use domicile::locations::remote::RequestBodyError;
use futures_util::stream;
use http::{Method, Request};
use http_body::Frame;
use http_body_util::StreamBody;

use crate::support::{Listens, S3Server};
use crate::{HASTY, config, get, location, open, request, send, upload};

fn frames(
    frames: Vec<Result<Bytes, BoxError>>,
) -> StreamBody<impl stream::Stream<Item = Result<Frame<Bytes>, BoxError>>> {
    StreamBody::new(stream::iter(frames.into_iter().map(|frame| frame.map(Frame::data))))
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
