//! Writes whose outcome nobody told us.

use http::{Method, Request, StatusCode};

use crate::body::Body;
use crate::gateway::testing::{OF_CHINA, PUBLIC, TestGateway, answer_instead, class, lose_answer};
use crate::label::Coverage;
use crate::log::Event;
use crate::placement::{residue, settle};

#[tokio::test]
async fn a_write_whose_answer_is_lost_is_recorded_with_its_labels() {
    let t = TestGateway::start().await;
    t.script("cn-north", lose_answer);
    assert_eq!(t.put("k", &[OF_CHINA], "text").await.status, StatusCode::SERVICE_UNAVAILABLE);
    t.unscript("cn-north");
    settle::sweep(&t.gateway).await;
    let placement = t.placement("k").await.unwrap();
    assert_eq!(placement.location.as_str(), "cn-north");
    assert!(placement.classes.contains(class("personal.health")));
    t.stop().await;
}

/// A server error says nothing about whether the write took effect.
#[tokio::test]
async fn a_write_that_landed_behind_a_server_error_is_recorded_with_its_labels() {
    for status in [500, 502, 503, 504] {
        let t = TestGateway::start().await;
        t.script("cn-north", move |request, store| answer_instead(status, request, store));
        assert_eq!(t.put("k", &[OF_CHINA], "text").await.status.as_u16(), status);
        t.unscript("cn-north");
        settle::sweep(&t.gateway).await;
        let placement = t.placement("k").await.expect("the bytes lie there");
        assert!(placement.classes.contains(class("personal.health")));
        t.stop().await;
    }
}

#[tokio::test]
async fn a_delete_that_landed_behind_a_server_error_is_recorded() {
    let t = TestGateway::start().await;
    t.put("k", &[PUBLIC], "text").await;
    t.script("eu-central", |request, store| answer_instead(503, request, store));
    let answer = t.send(Method::DELETE, "/bucket/k", &[], "").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    t.unscript("eu-central");
    settle::sweep(&t.gateway).await;
    assert_eq!(t.placement("k").await, None);
    t.stop().await;
}

/// The same bytes have the same ETag: that the location holds it does not say which write it was.
#[tokio::test]
async fn an_open_write_of_the_same_bytes_leaves_its_labels_behind() {
    let t = TestGateway::start().await;
    let home = [("x-amz-tagging", "data-class=personal&subject-country=CN")];
    assert_eq!(t.put("k", &home, "text").await.status, StatusCode::OK);
    t.script("cn-north", lose_answer);
    assert_eq!(t.put("k", &[OF_CHINA], "text").await.status, StatusCode::SERVICE_UNAVAILABLE);
    t.unscript("cn-north");
    settle::sweep(&t.gateway).await;
    let placement = t.placement("k").await.unwrap();
    assert!(placement.classes.contains(class("personal.health")), "{:?}", placement.classes);
    assert!(placement.classes.contains(class("personal")));
    t.stop().await;
}

/// Nobody was told that the older write happened, and somebody was told that the newer one did.
#[tokio::test]
async fn an_open_write_does_not_come_back_over_a_newer_acknowledged_one_elsewhere() {
    let t = TestGateway::start().await;
    t.script("cn-north", lose_answer);
    assert_eq!(t.put("k", &[OF_CHINA], "older").await.status, StatusCode::SERVICE_UNAVAILABLE);
    t.unscript("cn-north");
    assert_eq!(t.put("k", &[PUBLIC], "newer").await.status, StatusCode::OK);
    settle::sweep(&t.gateway).await;
    assert_eq!(t.get("k").await.text(), "newer");
    // What it left is residue, and its removal is in the log.
    residue::sweep(&t.gateway).await;
    assert!(!t.holds("cn-north", "k").await);
    assert!(t.gateway.catalogue.residues(10).await.unwrap().is_empty());
    assert!(t.history("k").await.iter().any(|line| line.entry.event == Event::Remove));
    t.stop().await;
}

/// What arrived is not what was scanned, so nobody can say that it was scanned to its end.
#[tokio::test]
async fn an_open_write_of_another_size_counts_as_scanned_in_part() {
    let t = TestGateway::start().await;
    t.script("cn-north", |request, store| {
        let (mut parts, _) = request.into_parts();
        parts.headers.remove("content-length");
        lose_answer(Request::from_parts(parts, Body::full("a good deal more")), store)
    });
    assert_eq!(t.put("k", &[OF_CHINA], "text").await.status, StatusCode::SERVICE_UNAVAILABLE);
    t.unscript("cn-north");
    settle::sweep(&t.gateway).await;
    let placement = t.placement("k").await.unwrap();
    assert_eq!((placement.size, placement.coverage), (16, Coverage::Partial));
    t.stop().await;
}

#[tokio::test]
async fn a_deleted_object_does_not_come_back_from_an_open_write() {
    let t = TestGateway::start().await;
    t.script("cn-north", lose_answer);
    assert_eq!(t.put("k", &[OF_CHINA], "text").await.status, StatusCode::SERVICE_UNAVAILABLE);
    t.unscript("cn-north");
    assert_eq!(t.send(Method::DELETE, "/bucket/k", &[], "").await.status, StatusCode::NO_CONTENT);
    settle::sweep(&t.gateway).await;
    assert_eq!(t.get("k").await.status, StatusCode::NOT_FOUND);
    assert!(!t.holds("cn-north", "k").await);
    t.stop().await;
}

/// The overwrite was not acknowledged, but it happened: the object is what it is now, with its labels.
#[tokio::test]
async fn a_read_settles_an_open_write_of_its_key_first() {
    let t = TestGateway::start().await;
    assert_eq!(t.put("k", &[OF_CHINA], "before").await.status, StatusCode::OK);
    t.script("cn-north", lose_answer);
    assert_eq!(t.put("k", &[OF_CHINA], "after").await.status, StatusCode::SERVICE_UNAVAILABLE);
    t.unscript("cn-north");
    let answer = t.get("k").await;
    assert_eq!((answer.status, answer.text().as_str()), (StatusCode::OK, "after"));
    t.stop().await;
}
