//! Buckets and lists over locations that do not all have the bucket; and a gateway that stops.

use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request, StatusCode};
use tokio::sync::Notify;
use tower::ServiceExt;

use crate::body::Body;
use crate::gateway::testing::{OF_CHINA, PUBLIC, TestGateway};

#[tokio::test]
async fn a_location_without_the_bucket_hides_nothing_and_fails_no_list() {
    let t = TestGateway::start().await;
    t.put("k", &[PUBLIC], "text").await;
    let location = t.gateway.locations.housekeeping(&"us-east".parse().unwrap()).unwrap();
    location.call(Request::delete("/bucket").body(Body::empty()).unwrap()).await.unwrap();
    let list = t.send(Method::GET, "/bucket?list-type=2", &[], "").await;
    assert_eq!(list.status, StatusCode::OK, "{}", list.text());
    assert!(list.text().contains("<Key>k</Key>"));
    assert_eq!(t.send(Method::GET, "/bucket?uploads", &[], "").await.status, StatusCode::OK);
    t.stop().await;
}

#[tokio::test]
async fn a_bucket_that_turns_out_not_empty_stays_whole() {
    let t = TestGateway::start().await;
    // A write lands in the last location after all were asked.
    t.script("us-east", |request, store| async move {
        if request.method() == Method::DELETE && request.uri().path() == "/bucket" {
            let late = Request::put("/bucket/late").body(Body::full("text")).unwrap();
            store.clone().oneshot(late).await?;
        }
        store.oneshot(request).await
    });
    let answer = t.send(Method::DELETE, "/bucket", &[], "").await;
    assert_eq!(answer.status, StatusCode::CONFLICT, "{}", answer.text());
    for tags in [PUBLIC, OF_CHINA] {
        assert_eq!(t.put("k", &[tags], "text").await.status, StatusCode::OK);
    }
    t.stop().await;
}

#[tokio::test]
async fn a_stop_waits_for_the_write_of_a_client_that_went_away() {
    let t = TestGateway::start().await;
    let (arrived, release) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (here, go) = (arrived.clone(), release.clone());
    t.script("cn-north", move |request, store| {
        let (here, go) = (here.clone(), go.clone());
        async move {
            let answer = store.oneshot(request).await;
            here.notify_one();
            go.notified().await;
            answer
        }
    });
    tokio::select! {
        answer = t.put("k", &[OF_CHINA], "text") => panic!("answered {}", answer.status),
        // The client goes away here.
        () = arrived.notified() => {}
    }
    let gateway = t.gateway.clone();
    let stopping = t.stop();
    tokio::pin!(stopping);
    // However long it takes: while the write is held, there is no end of it to wait for.
    tokio::select! {
        () = &mut stopping => panic!("stopped with a write under way"),
        () = tokio::time::sleep(Duration::from_millis(500)) => release.notify_one(),
    }
    stopping.await;
    let handle = gateway.catalogue.object_handle("bucket", "k");
    assert!(gateway.catalogue.find(handle).await.unwrap().is_some());
}
