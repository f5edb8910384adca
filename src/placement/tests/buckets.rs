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

/// What a lifecycle of the location does: it asks nobody.
async fn expire(t: &TestGateway, location: &str, key: &str) {
    let location = t.gateway.locations.housekeeping(&location.parse().unwrap()).unwrap();
    location.call(Request::delete(format!("/bucket/{key}")).body(Body::empty()).unwrap()).await.unwrap();
}

#[tokio::test]
async fn what_a_lifecycle_took_is_in_no_list_and_in_nobodys_way() {
    let t = TestGateway::start().await;
    for (key, tags) in [("a", PUBLIC), ("b", PUBLIC), ("c", OF_CHINA)] {
        t.put(key, &[tags], "text").await;
    }
    let absent = ("if-none-match", "*");
    assert_eq!(t.put("a", &[PUBLIC, absent], "text").await.status, StatusCode::PRECONDITION_FAILED);
    expire(&t, "eu-central", "a").await;
    expire(&t, "eu-central", "b").await;
    let gone = t.get("a").await;
    assert!(gone.status == StatusCode::NOT_FOUND && gone.text().contains("NoSuchKey"), "{}", gone.text());
    let list = t.send(Method::GET, "/bucket?list-type=2", &[], "").await.text();
    assert!(!list.contains("<Key>b</Key>") && list.contains("<Key>c</Key>"), "{list}");
    assert_eq!(t.put("b", &[PUBLIC, absent], "anew").await.status, StatusCode::OK);
    assert_eq!(t.get("b").await.text(), "anew");
    expire(&t, "eu-central", "b").await;
    assert_eq!(t.put("a", &[PUBLIC, absent], "anew").await.status, StatusCode::OK);
    assert_eq!(t.get("a").await.text(), "anew");

    // Deleted only when it is empty everywhere; then the log says of each what was gone.
    assert_eq!(t.send(Method::DELETE, "/bucket", &[], "").await.status, StatusCode::CONFLICT);
    expire(&t, "eu-central", "a").await;
    assert_eq!(t.send(Method::DELETE, "/bucket", &[], "").await.status, StatusCode::CONFLICT);
    expire(&t, "cn-north", "c").await;
    let object = t.placement("c").await.unwrap().object;
    assert_eq!(t.send(Method::DELETE, "/bucket", &[], "").await.status, StatusCode::NO_CONTENT);
    let history = t.gateway.catalogue.history(object, 10).await.unwrap();
    assert_eq!(history.last().unwrap().entry.event, crate::log::Event::Delete);
    for key in ["a", "b", "c"] {
        assert!(t.placement(key).await.is_none(), "{key}");
    }
    t.stop().await;
}

/// A location that has lost its bucket, or is not the right one, says nothing about the objects there.
#[tokio::test]
async fn a_bucket_is_not_taken_for_empty_on_the_word_of_a_location_that_does_not_have_it() {
    let t = TestGateway::start().await;
    t.put("k", &[PUBLIC], "text").await;
    t.script("eu-central", |request, store| async move {
        let mut answer = store.oneshot(request).await?;
        *answer.status_mut() = StatusCode::NOT_FOUND;
        Ok(answer)
    });
    assert_eq!(t.send(Method::DELETE, "/bucket", &[], "").await.status, StatusCode::CONFLICT);
    t.unscript("eu-central");
    assert_eq!(t.get("k").await.text(), "text");
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
