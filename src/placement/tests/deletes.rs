//! Deletes: of what was named, on the conditions that were stated.

use http::{Method, StatusCode};
use tower::ServiceExt;

use crate::gateway::testing::{OF_CHINA, PUBLIC, TestGateway, refuse_deletes};

#[tokio::test]
async fn a_delete_that_names_a_version_does_not_delete_the_object() {
    let t = TestGateway::start().await;
    t.put("k", &[PUBLIC], "text").await;
    let answer = t.send(Method::DELETE, "/bucket/k?versionId=3", &[], "").await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert_eq!(t.get("k").await.status, StatusCode::OK);
    assert_eq!(
        t.send(Method::DELETE, "/bucket/k?versionId=null", &[], "").await.status,
        StatusCode::NO_CONTENT
    );
    assert_eq!(t.get("k").await.status, StatusCode::NOT_FOUND);
    t.stop().await;
}

/// A location that does not know conditional deletes passes over the header.
#[tokio::test]
async fn a_conditional_delete_holds_wherever_the_object_lies() {
    let t = TestGateway::start().await;
    let etag = t.put("k", &[PUBLIC], "text").await.header("etag").to_owned();
    t.script("eu-central", |mut request, store| {
        request.headers_mut().remove("if-match");
        store.oneshot(request)
    });
    let other = [("if-match", "\"other\"")];
    assert_eq!(t.send(Method::DELETE, "/bucket/k", &other, "").await.status, StatusCode::PRECONDITION_FAILED);
    assert_eq!(t.get("k").await.status, StatusCode::OK);
    let same = [("if-match", etag.as_str())];
    assert_eq!(t.send(Method::DELETE, "/bucket/k", &same, "").await.status, StatusCode::NO_CONTENT);
    t.stop().await;
}

#[tokio::test]
async fn an_object_that_is_absent_can_be_made_where_an_older_copy_still_lies() {
    let t = TestGateway::start().await;
    t.put("k", &[PUBLIC], "older").await;
    // It moves to China and is deleted there; the copy in Germany cannot be removed yet.
    t.script("eu-central", refuse_deletes);
    t.put("k", &[OF_CHINA], "moved").await;
    assert_eq!(t.send(Method::DELETE, "/bucket/k", &[], "").await.status, StatusCode::NO_CONTENT);
    assert!(t.holds("eu-central", "k").await);
    let absent = ("if-none-match", "*");
    let answer = t.put("k", &[PUBLIC, absent], "new").await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    assert_eq!(t.put("k", &[PUBLIC, absent], "again").await.status, StatusCode::PRECONDITION_FAILED);
    assert_eq!(t.get("k").await.text(), "new");
    t.stop().await;
}
