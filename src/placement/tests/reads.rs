//! Reads: what leaves is what was labelled, and a border is crossed with a record or not at all.

use http::{HeaderValue, Method, Request, StatusCode, header};
use tower::ServiceExt;

use crate::body::Body;
use crate::gateway::testing::{OF_CHINA, PUBLIC, TestGateway};
use crate::log::Event;

const FROM_AMERICA: (&str, &str) = ("x-forwarded-for", "198.51.100.7");

#[tokio::test]
async fn an_object_stays_readable_however_its_location_writes_the_etag() {
    for write in [|etag: &str| etag.trim_matches('"').to_owned(), |etag: &str| format!("W/{etag}")] {
        let t = TestGateway::start().await;
        t.put("k", &[PUBLIC], "text").await;
        t.script("eu-central", move |request, store| async move {
            let mut response = store.oneshot(request).await?;
            if let Some(etag) = response.headers_mut().get_mut(header::ETAG) {
                *etag = HeaderValue::from_str(&write(etag.to_str().unwrap())).unwrap();
            }
            Ok(response)
        });
        let answer = t.get("k").await;
        assert_eq!((answer.status, answer.text().as_str()), (StatusCode::OK, "text"));
        t.stop().await;
    }
}

#[tokio::test]
async fn a_location_that_gives_no_etag_with_its_answer_is_asked_for_it() {
    let t = TestGateway::start().await;
    t.script("eu-central", |request, store| async move {
        let writes = request.method() == Method::PUT;
        let mut response = store.oneshot(request).await?;
        if writes {
            response.headers_mut().remove(header::ETAG);
        }
        Ok(response)
    });
    assert_eq!(t.put("k", &[PUBLIC], "text").await.status, StatusCode::OK);
    assert!(!t.placement("k").await.unwrap().etag.is_empty());
    assert_eq!(t.get("k").await.status, StatusCode::OK);
    t.stop().await;
}

#[tokio::test]
async fn bytes_that_somebody_wrote_past_the_gateway_do_not_leave_under_the_old_labels() {
    let t = TestGateway::start().await;
    t.put("k", &[PUBLIC], "public").await;
    let location = t.gateway.locations.housekeeping(&"eu-central".parse().unwrap()).unwrap();
    let past = Request::put("/bucket/k").header("x-amz-tagging", "name=li-lei").body(Body::full("other"));
    location.call(past.unwrap()).await.unwrap();
    for target in ["/bucket/k", "/bucket/k?tagging"] {
        let answer = t.send(Method::GET, target, &[], "").await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{target}: {}", answer.text());
        assert!(!answer.text().contains("li-lei"));
    }
    t.stop().await;
}

#[tokio::test]
async fn every_answer_about_an_object_that_crosses_a_border_is_logged() {
    let t = TestGateway::start().await;
    t.put("k", &[PUBLIC, ("x-amz-meta-name", "li-lei")], "public").await;
    for (method, target) in
        [(Method::GET, "/bucket/k"), (Method::HEAD, "/bucket/k"), (Method::GET, "/bucket/k?tagging")]
    {
        let before = t.history("k").await.len();
        let answer = t.send(method, target, &[FROM_AMERICA], "").await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        let history = t.history("k").await;
        assert_eq!(history.len(), before + 1);
        assert_eq!(history.last().unwrap().entry.event, Event::Read);
        // A reader at the site of the object crosses none.
        assert_eq!(t.get("k").await.status, StatusCode::OK);
        assert_eq!(t.history("k").await.len(), before + 1);
    }
    t.stop().await;
}

#[tokio::test]
async fn what_may_not_leave_the_country_is_refused_to_a_reader_abroad() {
    let t = TestGateway::start().await;
    t.put("k", &[OF_CHINA], "patient").await;
    for method in [Method::GET, Method::HEAD] {
        let answer = t.send(method, "/bucket/k", &[FROM_AMERICA], "").await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN);
        assert!(!answer.text().contains("patient"));
    }
    t.stop().await;
}
