//! What a location lost without the gateway ends in the catalogue too: on the location's own word, and on nothing less.

use http::{Method, Request, Response, StatusCode};
use tower::ServiceExt;

use crate::body::Body;
use crate::gateway::testing::{OF_CHINA, PUBLIC, TestGateway};
use crate::log::Event;
use crate::placement::vanished::EFFECT;

const ENABLED: &str = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";

impl TestGateway {
    /// Removes something at a location, past the gateway.
    async fn expire(&self, location: &str, target: &str) {
        let location = self.gateway.locations.housekeeping(&location.parse().unwrap()).unwrap();
        let request = Request::delete(format!("/bucket/{target}")).body(Body::empty()).unwrap();
        assert_eq!(location.call(request).await.unwrap().status(), StatusCode::NO_CONTENT);
    }

    async fn count(&self) -> usize {
        let bucket = self.gateway.catalogue.bucket_handle("bucket");
        self.gateway.catalogue.count_in_bucket(bucket, 100).await.unwrap()
    }
}

#[tokio::test]
async fn a_read_that_finds_nothing_ends_the_placement_and_the_log_says_that_nobody_asked() {
    for method in [Method::GET, Method::HEAD] {
        let t = TestGateway::start().await;
        t.put("k", &[OF_CHINA], "text").await;
        let object = t.placement("k").await.unwrap().object;
        t.expire("cn-north", "k").await;
        for _ in 0..2 {
            let answer = t.send(method.clone(), "/bucket/k", &[], "").await;
            assert_eq!(answer.status, StatusCode::NOT_FOUND);
            assert_eq!(t.placement("k").await, None);
        }
        let history = t.gateway.catalogue.history(object, 10).await.unwrap();
        let ends: Vec<_> = history.iter().filter(|line| line.entry.event == Event::Delete).collect();
        let [end] = ends.as_slice() else { panic!("{} ends", ends.len()) };
        assert_eq!(end.entry.effect, EFFECT);
        assert_eq!(end.entry.from[0].location, "cn-north");
        assert!(end.receipt.origin.contains("/CN/"));
        t.stop().await;
    }
}

/// A proxy's 404, a bucket that is not there, a denial, a silence.
#[tokio::test]
async fn nothing_ends_on_less_than_the_locations_own_word() {
    let t = TestGateway::start().await;
    t.put("k", &[PUBLIC], "text").await;
    for (status, document) in [
        (404, "<html>not here</html>"),
        (404, "<Error><Code>NoSuchBucket</Code></Error>"),
        (403, "<Error><Code>NoSuchKey</Code></Error>"),
        (503, "<Error><Code>SlowDown</Code></Error>"),
    ] {
        t.script("eu-central", move |_, _| async move {
            let mut response = Response::new(Body::full(document));
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            Ok(response)
        });
        for method in [Method::GET, Method::HEAD] {
            assert!(!t.send(method, "/bucket/k", &[], "").await.status.is_success());
            assert!(t.placement("k").await.is_some(), "{document}");
        }
    }
    t.unscript("eu-central");
    assert_eq!(t.get("k").await.text(), "text");
    t.stop().await;
}

/// Between the location's first word and the end of the placement, somebody writes the key anew.
#[tokio::test]
async fn a_write_that_comes_in_between_is_not_ended() {
    let t = TestGateway::start().await;
    t.put("k", &[PUBLIC], "old").await;
    let old = t.placement("k").await.unwrap();
    t.expire("eu-central", "k").await;
    t.put("k", &[PUBLIC], "new").await;
    let handle = t.gateway.catalogue.object_handle("bucket", "k");
    let draft = crate::log::EntryDraft::new(Event::Delete, "DE".parse().unwrap());
    assert_eq!(t.gateway.catalogue.record_vanished(handle, old, draft).await.unwrap(), None);
    assert_eq!(t.get("k").await.text(), "new");
    t.stop().await;
}

#[tokio::test]
async fn when_a_version_is_gone_the_one_before_it_is_read() {
    let t = TestGateway::start().await;
    assert_eq!(t.send(Method::PUT, "/bucket?versioning", &[], ENABLED).await.status, StatusCode::OK);
    t.put("k", &[PUBLIC], "older").await;
    let newer = t.put("k", &[OF_CHINA], "newer").await.header("x-amz-version-id").to_owned();
    let at_location = t.placement("k").await.unwrap().version.unwrap();
    t.expire("cn-north", &format!("k?versionId={at_location}")).await;
    assert_eq!(t.get("k").await.text(), "older");
    let gone = t.get(&format!("k?versionId={newer}")).await;
    assert!(gone.status == StatusCode::NOT_FOUND && gone.text().contains("NoSuchVersion"), "{}", gone.text());
    assert_eq!(t.count().await, 1);
    t.stop().await;
}

#[tokio::test]
async fn a_bucket_whose_versions_are_all_gone_can_be_deleted() {
    let t = TestGateway::start().await;
    assert_eq!(t.send(Method::PUT, "/bucket?versioning", &[], ENABLED).await.status, StatusCode::OK);
    t.put("k", &[PUBLIC], "one").await;
    let first = t.placement("k").await.unwrap().version.unwrap();
    t.put("k", &[PUBLIC], "two").await;
    let second = t.placement("k").await.unwrap().version.unwrap();
    t.put("c", &[OF_CHINA], "three").await;
    let third = t.placement("c").await.unwrap().version.unwrap();
    let marker = t.send(Method::DELETE, "/bucket/k", &[], "").await;
    assert_eq!(marker.header("x-amz-delete-marker"), "true");
    let handle = t.gateway.catalogue.object_handle("bucket", "k");
    let marker = t.gateway.catalogue.versions(handle).await.unwrap().remove(0).placement.version.unwrap();
    assert_eq!(t.count().await, 4);
    for (location, target) in [
        ("eu-central", format!("k?versionId={first}")),
        ("eu-central", format!("k?versionId={second}")),
        ("cn-north", format!("c?versionId={third}")),
        ("eu-central", format!("k?versionId={marker}")),
    ] {
        let answer = t.send(Method::DELETE, "/bucket", &[], "").await;
        assert_eq!(answer.status, StatusCode::CONFLICT, "{}", answer.text());
        assert_eq!(t.count().await, 4);
        t.expire(location, &target).await;
    }
    let answer = t.send(Method::DELETE, "/bucket", &[], "").await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT, "{}", answer.text());
    assert_eq!(t.count().await, 0);
    t.stop().await;
}

/// As a lifecycle makes them in a bucket that keeps versions.
#[tokio::test]
async fn a_delete_marker_that_a_location_made_hides_the_object_once_it_is_listed() {
    let t = TestGateway::start().await;
    assert_eq!(t.send(Method::PUT, "/bucket?versioning", &[], ENABLED).await.status, StatusCode::OK);
    t.put("k", &[PUBLIC], "text").await;
    t.put("moved", &[PUBLIC], "before").await;
    t.put("moved", &[OF_CHINA], "after").await;
    t.expire("eu-central", "k").await;
    // Here it hides an older version, and says nothing about the newest.
    t.expire("eu-central", "moved").await;
    let list = || async { t.send(Method::GET, "/bucket?versions", &[], "").await.text() };
    for _ in 0..2 {
        let listed = list().await;
        assert_eq!(listed.matches("<DeleteMarker>").count(), 1, "{listed}");
        assert_eq!(listed.matches("<IsLatest>true</IsLatest>").count(), 2, "{listed}");
        assert_eq!(listed.matches("<Version>").count(), 3, "{listed}");
    }
    let hidden = t.get("k").await;
    assert_eq!((hidden.status, hidden.header("x-amz-delete-marker")), (StatusCode::NOT_FOUND, "true"));
    assert_eq!(t.get("moved").await.text(), "after");
    let handle = t.gateway.catalogue.object_handle("bucket", "k");
    let object = t.gateway.catalogue.versions(handle).await.unwrap().remove(0).placement.object;
    let history = t.gateway.catalogue.history(object, 10).await.unwrap();
    assert_eq!(history.last().unwrap().entry.effect, EFFECT);
    assert!(t.gateway.catalogue.open_intents().await.unwrap().is_empty());

    // What the gateway knows is deleted; the marker that it does not know goes with the bucket.
    let entries = crate::s3::xml::parse_versions(list().await.as_bytes()).ok().unwrap().entries;
    assert_eq!(t.send(Method::DELETE, "/bucket", &[], "").await.status, StatusCode::CONFLICT);
    for entry in entries {
        let target = format!("/bucket/{}?versionId={}", entry.key, entry.id);
        assert_eq!(t.send(Method::DELETE, &target, &[], "").await.status, StatusCode::NO_CONTENT);
    }
    let deleted = t.send(Method::DELETE, "/bucket", &[], "").await;
    assert_eq!(deleted.status, StatusCode::NO_CONTENT, "{}", deleted.text());
    t.stop().await;
}

/// What is being written may be what seems to be gone.
#[tokio::test]
async fn a_bucket_in_which_a_write_is_open_is_not_taken_for_empty() {
    let t = TestGateway::start().await;
    t.put("k", &[PUBLIC], "text").await;
    t.expire("eu-central", "k").await;
    t.script("eu-central", |request, store| async move {
        if request.method() == Method::PUT {
            return crate::gateway::testing::lose_answer(request, store).await;
        }
        store.oneshot(request).await
    });
    assert_eq!(t.put("k", &[PUBLIC], "lost").await.status, StatusCode::SERVICE_UNAVAILABLE);
    t.expire("eu-central", "k").await;
    assert_eq!(t.send(Method::DELETE, "/bucket", &[], "").await.status, StatusCode::CONFLICT);
    assert!(t.placement("k").await.is_some());
    t.stop().await;
}
