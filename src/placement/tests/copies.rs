//! Copies: the bytes that arrive are those that were labelled, and a border is crossed in both logs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::{Method, Request, StatusCode};
use tokio::sync::Notify;
use tower::ServiceExt;

use crate::body::Body;
use crate::gateway::testing::{OF_CHINA, PUBLIC, TestGateway, class};
use crate::log::Event;

const SOURCE: (&str, &str) = ("x-amz-copy-source", "bucket/source");

/// The source is public when the copy is decided, and a patient's record when the location copies.
#[tokio::test]
async fn a_source_that_is_overwritten_meanwhile_is_not_copied_under_its_old_labels() {
    let t = TestGateway::start().await;
    t.put("source", &[PUBLIC], "public").await;
    let overwritten = Arc::new(AtomicBool::new(false));
    t.script("eu-central", move |request, store| {
        let overwritten = overwritten.clone();
        async move {
            if request.headers().contains_key(SOURCE.0) && !overwritten.swap(true, Ordering::SeqCst) {
                let newer = Request::put("/bucket/source").body(Body::full("patient")).unwrap();
                assert_eq!(store.clone().oneshot(newer).await?.status(), StatusCode::OK);
            }
            store.oneshot(request).await
        }
    });
    let answer = t.put("copy", &[SOURCE], "").await;
    assert_eq!(answer.status, StatusCode::CONFLICT, "{}", answer.text());
    assert_eq!(t.placement("copy").await, None);
    assert!(!t.holds("eu-central", "copy").await);
    assert!(t.gateway.catalogue.open_intents().await.unwrap().is_empty());
    t.stop().await;
}

#[tokio::test]
async fn a_copy_keeps_the_labels_of_its_source_whatever_tags_replace_its_own() {
    let t = TestGateway::start().await;
    t.put("source", &[OF_CHINA], "patient").await;
    let replace = ("x-amz-tagging-directive", "REPLACE");
    let answer = t
        .put("copy", &[SOURCE, replace, ("x-amz-tagging", "data-class=personal&subject-country=CN")], "")
        .await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    assert!(t.placement("copy").await.unwrap().classes.contains(class("personal.health")));
    t.stop().await;
}

#[tokio::test]
async fn conditions_on_the_source_hold_for_a_copy_inside_a_location() {
    let t = TestGateway::start().await;
    let etag = t.put("source", &[PUBLIC], "public").await.header("etag").to_owned();
    let copy = |name, value: String| {
        let t = &t;
        async move { t.put("copy", &[SOURCE, (name, &value)], "").await.status }
    };
    let failed = StatusCode::PRECONDITION_FAILED;
    assert_eq!(copy("x-amz-copy-source-if-match", "\"other\"".to_owned()).await, failed);
    assert_eq!(copy("x-amz-copy-source-if-none-match", etag.clone()).await, failed);
    let past = "Sat, 01 Jan 2000 00:00:00 GMT".to_owned();
    assert_eq!(copy("x-amz-copy-source-if-unmodified-since", past.clone()).await, failed);
    assert_eq!(t.placement("copy").await, None);
    assert_eq!(copy("x-amz-copy-source-if-match", etag).await, StatusCode::OK);
    assert_eq!(copy("x-amz-copy-source-if-modified-since", past).await, StatusCode::OK);
    t.stop().await;
}

#[tokio::test]
async fn a_copy_across_a_border_is_told_in_both_logs_under_one_transfer() {
    let t = TestGateway::start().await;
    let constraint = "<CreateBucketConfiguration><LocationConstraint>us-east-1</LocationConstraint></CreateBucketConfiguration>";
    t.send(Method::PUT, "/american", &[], constraint).await;
    t.put("source", &[PUBLIC], "public").await;
    let answer = t.send(Method::PUT, "/american/copy", &[SOURCE], "").await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    assert_eq!(answer.header("x-domicile-location"), "us-east");
    let export = t.history("source").await.pop().unwrap();
    assert_eq!(export.entry.event, Event::Read);
    assert!(export.receipt.origin.contains("/DE/"));
    assert_eq!(
        (export.entry.from[0].location.as_str(), export.entry.to[0].location.as_str()),
        ("eu-central", "us-east")
    );
    let handle = t.gateway.catalogue.object_handle("american", "copy");
    let copy = t.gateway.catalogue.find(handle).await.unwrap().unwrap();
    let import = t.gateway.catalogue.history(copy.object, 10).await.unwrap().pop().unwrap();
    assert_eq!(import.entry.event, Event::Write);
    assert!(import.receipt.origin.contains("/US/"));
    assert_eq!(import.entry.from[0].location, "eu-central");
    assert!(export.entry.transfer.is_some());
    assert_eq!(export.entry.transfer, import.entry.transfer);
    t.stop().await;
}

/// The client's own key for the source goes along however the source is read, and its key for the copy too.
#[tokio::test]
async fn a_copy_across_borders_reads_its_source_with_the_clients_key_for_it() {
    let t = TestGateway::start().await;
    t.put("k", &[PUBLIC], "text").await;
    t.script("eu-central", |mut request, store| async move {
        let key = "x-amz-server-side-encryption-customer-key";
        if request.method() == http::Method::GET
            && request.uri().path() == "/bucket/k"
            && request.uri().query().is_none()
        {
            assert_eq!(request.headers_mut().remove(key).unwrap(), "source");
        }
        store.oneshot(request).await
    });
    t.script("cn-north", |mut request, store| async move {
        let headers = request.headers_mut();
        assert!(headers.keys().all(|name| !name.as_str().starts_with("x-amz-copy-source")));
        if let Some(key) = headers.remove("x-amz-server-side-encryption-customer-key") {
            assert_eq!(key, "target");
            headers.insert("x-amz-meta-keyed", key);
        }
        store.oneshot(request).await
    });
    let headers = [
        ("x-amz-copy-source", "/bucket/k"),
        ("x-amz-copy-source-server-side-encryption-customer-key", "source"),
        ("x-amz-server-side-encryption-customer-key", "target"),
        ("x-amz-tagging-directive", "REPLACE"),
        ("x-amz-tagging", "data-class=state.important&subject-country=CN"),
    ];
    let copied = t.send(http::Method::PUT, "/bucket/copy", &headers, "").await;
    assert_eq!(copied.status, http::StatusCode::OK, "{}", copied.text());
    assert_eq!(copied.header("x-domicile-location"), "cn-north");
    assert_eq!(t.get("copy").await.header("x-amz-meta-keyed"), "target");
    t.stop().await;
}

/// The source gets its tags when the copy has been judged, and the location has not copied yet.
#[tokio::test]
async fn a_copy_has_the_labels_of_the_tags_that_it_carries() {
    let t = TestGateway::start().await;
    t.put("source", &[PUBLIC], "text").await;
    let (arrived, release) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (here, go) = (arrived.clone(), release.clone());
    t.script("eu-central", move |request, store| {
        let (here, go) = (here.clone(), go.clone());
        async move {
            if request.headers().contains_key(SOURCE.0) {
                here.notify_one();
                go.notified().await;
            }
            store.oneshot(request).await
        }
    });
    let tag = async {
        arrived.notified().await;
        let tags = "<Tagging><TagSet><Tag><Key>data-class</Key><Value>personal</Value></Tag>\
                    <Tag><Key>subject-country</Key><Value>DE</Value></Tag></TagSet></Tagging>";
        let tagged = t.send(Method::PUT, "/bucket/source?tagging", &[], tags).await;
        release.notify_one();
        tagged
    };
    let (copied, tagged) = tokio::join!(t.put("copy", &[SOURCE], ""), tag);
    assert_eq!(tagged.status, StatusCode::OK, "{}", tagged.text());
    assert_eq!(copied.status, StatusCode::OK, "{}", copied.text());
    assert!(t.send(Method::GET, "/bucket/copy?tagging", &[], "").await.text().contains("personal"));
    let copy = t.placement("copy").await.unwrap();
    assert!(copy.classes.contains(class("personal")) && copy.subjects.contains("DE".parse().unwrap()));
    let entry = t.history("copy").await.pop().unwrap().entry;
    assert!(entry.classes.iter().any(|class| class == "personal"), "{:?}", entry.classes);
    assert!(t.gateway.catalogue.open_intents().await.unwrap().is_empty());
    t.stop().await;
}
