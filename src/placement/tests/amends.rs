//! Changes beside an object's bytes: tags are labels, and no label comes or goes unnoticed.

use http::{Method, StatusCode};
use tower::ServiceExt;

use crate::catalogue::Placement;
use crate::gateway::testing::{OF_CHINA, PUBLIC, TestGateway, answer_instead, class, lose_answer};
use crate::log::Event;
use crate::names::Country;
use crate::placement::settle;

fn tagging(tags: &[(&str, &str)]) -> String {
    let tags = tags.iter().map(|(key, value)| format!("<Tag><Key>{key}</Key><Value>{value}</Value></Tag>"));
    format!("<Tagging><TagSet>{}</TagSet></Tagging>", tags.collect::<String>())
}

const EUROPEAN: [(&str, &str); 2] = [("data-class", "personal"), ("subject-country", "DE")];

async fn tag(t: &TestGateway, tags: &[(&str, &str)]) -> crate::gateway::testing::Answer {
    t.send(Method::PUT, "/bucket/k?tagging", &[], tagging(tags)).await
}

fn is_european_and_personal(placement: &Placement) -> bool {
    placement.classes.contains(class("personal"))
        && placement.subjects.contains("DE".parse::<Country>().unwrap())
}

#[tokio::test]
async fn new_tags_are_new_labels_and_the_log_says_so() {
    let t = TestGateway::start().await;
    t.put("k", &[PUBLIC], "text").await;
    let before = t.placement("k").await.unwrap();
    let answer = tag(&t, &EUROPEAN).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    assert!(answer.header("x-domicile-labels").contains("personal"));
    assert!(!answer.header("x-domicile-receipt").is_empty());
    let after = t.placement("k").await.unwrap();
    assert!(is_european_and_personal(&after));
    assert!(after.classes.contains(class("non_personal")), "labels only add up");
    assert_eq!((&after.etag, after.size, after.object), (&before.etag, before.size, before.object));
    let last = t.history("k").await.pop().unwrap().entry;
    assert_eq!(last.event, Event::Write);
    assert!(last.classes.iter().any(|name| name == "personal"));
    assert!(t.get("k").await.text() == "text");
    assert!(t.send(Method::GET, "/bucket/k?tagging", &[], "").await.text().contains("subject-country"));
    t.stop().await;
}

#[tokio::test]
async fn tags_under_which_an_object_may_not_rest_where_it_does_are_refused_and_change_nothing() {
    let t = TestGateway::start().await;
    t.put("k", &[PUBLIC], "text").await;
    let before = t.placement("k").await.unwrap();
    let answer = tag(&t, &[("data-class", "personal.health"), ("subject-country", "CN")]).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN, "{}", answer.text());
    assert!(!answer.header("x-domicile-rule").is_empty());
    assert!(answer.text().contains("Upload the object again"), "{}", answer.text());
    assert_eq!(t.placement("k").await.unwrap(), before);
    assert!(!t.send(Method::GET, "/bucket/k?tagging", &[], "").await.text().contains("personal.health"));
    // The remedy is one.
    t.put("k", &[OF_CHINA], "text").await;
    assert_eq!(t.placement("k").await.unwrap().location.as_str(), "cn-north");
    t.stop().await;
}

#[tokio::test]
async fn tags_that_go_take_no_label_with_them() {
    let t = TestGateway::start().await;
    t.put("k", &[OF_CHINA], "text").await;
    let before = t.placement("k").await.unwrap();
    let answer = t.send(Method::DELETE, "/bucket/k?tagging", &[], "").await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT, "{}", answer.text());
    assert_eq!(tag(&t, &[("data-class", "non_personal")]).await.status, StatusCode::OK);
    let after = t.placement("k").await.unwrap();
    assert_eq!(after.location, before.location);
    assert!(after.classes.contains(class("personal.health")));
    t.stop().await;
}

#[tokio::test]
async fn an_unknown_class_or_a_bad_document_tags_nothing() {
    let t = TestGateway::start().await;
    t.put("k", &[PUBLIC], "text").await;
    let before = t.placement("k").await.unwrap();
    for (body, code) in [
        (tagging(&[("data-class", "persnal")]), "InvalidTag"),
        (tagging(&[("a", "1"), ("a", "2")]), "InvalidTag"),
        ("<Tagging>".to_owned(), "MalformedXML"),
        (String::new(), "MalformedXML"),
    ] {
        let answer = t.send(Method::PUT, "/bucket/k?tagging", &[], body).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST);
        assert!(answer.text().contains(code), "{}", answer.text());
    }
    let answer = t.send(Method::PUT, "/bucket/none?tagging", &[], tagging(&EUROPEAN)).await;
    assert!(answer.status == StatusCode::NOT_FOUND && answer.text().contains("NoSuchKey"));
    assert_eq!(t.placement("k").await.unwrap(), before);
    t.stop().await;
}

/// Whether the location took the tags cannot be told: the object has the labels of both outcomes.
#[tokio::test]
async fn tags_whose_answer_was_lost_count_as_labels_once_settled() {
    let t = TestGateway::start().await;
    t.put("k", &[PUBLIC], "text").await;
    t.script("eu-central", |request, store| async move {
        let tags = request.method() == Method::PUT;
        if tags { lose_answer(request, store).await } else { store.oneshot(request).await }
    });
    assert_eq!(tag(&t, &EUROPEAN).await.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(!is_european_and_personal(&t.placement("k").await.unwrap()));
    settle::sweep(&t.gateway).await;
    assert!(is_european_and_personal(&t.placement("k").await.unwrap()));
    assert_eq!(t.history("k").await.pop().unwrap().entry.event, Event::Recovered);
    assert!(t.gateway.catalogue.open_intents().await.unwrap().is_empty());
    t.stop().await;
}

#[tokio::test]
async fn tags_whose_answer_was_lost_do_not_label_the_bytes_that_came_after_them() {
    let t = TestGateway::start().await;
    t.put("k", &[PUBLIC], "text").await;
    t.script("eu-central", |request, store| async move {
        let tags = request.uri().query() == Some("tagging");
        if tags { lose_answer(request, store).await } else { store.oneshot(request).await }
    });
    assert_eq!(tag(&t, &EUROPEAN).await.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(t.put("k", &[PUBLIC], "bytes").await.status, StatusCode::OK);
    settle::sweep(&t.gateway).await;
    assert!(!is_european_and_personal(&t.placement("k").await.unwrap()));
    assert!(t.gateway.catalogue.open_intents().await.unwrap().is_empty());
    t.stop().await;
}

#[tokio::test]
async fn a_location_that_refuses_tags_leaves_the_labels_as_they_were() {
    let t = TestGateway::start().await;
    t.put("k", &[PUBLIC], "text").await;
    let before = t.placement("k").await.unwrap();
    t.script("eu-central", |request, store| async move {
        let tags = request.uri().query() == Some("tagging");
        if tags { answer_instead(501, request, store).await } else { store.oneshot(request).await }
    });
    assert_eq!(tag(&t, &EUROPEAN).await.status, StatusCode::NOT_IMPLEMENTED);
    assert_eq!(t.placement("k").await.unwrap(), before);
    assert!(t.gateway.catalogue.open_intents().await.unwrap().is_empty());
    t.stop().await;
}

#[tokio::test]
async fn bytes_that_somebody_wrote_past_the_gateway_get_no_labels_of_others() {
    let t = TestGateway::start().await;
    t.put("k", &[PUBLIC], "public").await;
    let location = t.gateway.locations.housekeeping(&"eu-central".parse().unwrap()).unwrap();
    let past = http::Request::put("/bucket/k").body(crate::body::Body::full("other")).unwrap();
    location.call(past).await.unwrap();
    assert_eq!(tag(&t, &EUROPEAN).await.status, StatusCode::CONFLICT);
    t.stop().await;
}

/// What the embedded store has no word for, a location of another make has: it gets the request as it came.
#[tokio::test]
async fn what_changes_no_label_goes_on_as_it_came_and_so_does_its_answer() {
    let t = TestGateway::start().await;
    t.put("k", &[PUBLIC], "text").await;
    t.script("eu-central", |request, store| async move {
        let query = request.uri().query().unwrap_or_default().to_owned();
        if !["retention", "legal-hold", "restore&x=1", "acl"].contains(&query.as_str()) {
            return store.oneshot(request).await;
        }
        let mut response = http::Response::new(crate::body::Body::empty());
        *response.status_mut() = StatusCode::ACCEPTED;
        let headers = response.headers_mut();
        headers.insert("x-query", query.parse().unwrap());
        headers.insert("x-method", request.method().as_str().parse().unwrap());
        if let Some(bypass) = request.headers().get("x-amz-bypass-governance-retention") {
            headers.insert("x-bypass", bypass.clone());
        }
        let body = request.into_body().collect_limited(1000).await.unwrap();
        headers.insert("x-length", body.len().into());
        Ok(response)
    });
    let bypass = ("x-amz-bypass-governance-retention", "true");
    let restore = "<RestoreRequest><Days>1</Days></RestoreRequest>";
    for (method, query, headers, body) in [
        (Method::PUT, "retention", &[bypass][..], "<Retention/>"),
        (Method::PUT, "legal-hold", &[], "<LegalHold/>"),
        (Method::POST, "restore&x=1", &[], restore),
        (Method::PUT, "acl", &[("x-amz-acl", "private")], ""),
        (Method::GET, "retention", &[], ""),
        (Method::GET, "legal-hold", &[], ""),
    ] {
        if query.contains("x=1") {
            // A name that nobody knows could be another operation at a location.
            let answer = t.send(method, &format!("/bucket/k?{query}"), headers, body).await;
            assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED);
            continue;
        }
        let answer = t.send(method.clone(), &format!("/bucket/k?{query}"), headers, body).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{method} {query}: {}", answer.text());
        assert_eq!((answer.header("x-query"), answer.header("x-method")), (query, method.as_str()));
        assert_eq!(answer.header("x-length"), body.len().to_string());
        assert_eq!(answer.header("x-bypass"), if headers.contains(&bypass) { "true" } else { "" });
        assert_eq!(answer.header("x-domicile-location"), "eu-central");
    }
    t.stop().await;
}

#[tokio::test]
async fn nobody_is_granted_anything_and_nothing_is_restored_elsewhere() {
    let t = TestGateway::start().await;
    t.put("k", &[PUBLIC], "text").await;
    for (method, query, headers, body) in [
        (Method::PUT, "acl", &[("x-amz-acl", "public-read")][..], ""),
        (Method::PUT, "acl", &[], PUBLIC_LIST),
        (Method::POST, "restore", &[], "<RestoreRequest><OutputLocation/></RestoreRequest>"),
        (Method::POST, "restore", &[], "<RestoreRequest><Type>SELECT</Type></RestoreRequest>"),
    ] {
        let answer = t.send(method, &format!("/bucket/k?{query}"), headers, body).await;
        assert_eq!(answer.status, StatusCode::NOT_IMPLEMENTED, "{query} {body}");
    }
    let answer = t.send(Method::PUT, "/bucket?acl", &[], PUBLIC_LIST).await;
    assert_eq!(answer.status, StatusCode::NOT_IMPLEMENTED);
    for path in ["/bucket?acl", "/bucket/k?acl"] {
        let malformed = t.send(Method::PUT, path, &[], "<AccessControlPolicy/>").await;
        assert!(malformed.text().contains("MalformedXML"), "{}", malformed.text());
        let of_another =
            PUBLIC_LIST.replace("<AccessControlList>", "<Owner><ID>web</ID></Owner><AccessControlList>");
        assert_eq!(t.send(Method::PUT, path, &[], of_another).await.status, StatusCode::FORBIDDEN);
        let both = t.send(Method::PUT, path, &[("x-amz-acl", "private")], PUBLIC_LIST).await;
        assert_eq!(both.status, StatusCode::BAD_REQUEST);
        let misspelt = t.send(Method::PUT, path, &[("x-amz-acl", "public-ready")], "").await;
        assert_eq!(misspelt.status, StatusCode::BAD_REQUEST);
    }
    assert_eq!(
        t.send(Method::PUT, "/bucket?acl", &[("x-amz-acl", "private")], "").await.status,
        StatusCode::OK
    );
    for target in ["/bucket?acl", "/bucket/k?acl"] {
        let nothing = t.send(Method::PUT, target, &[], "").await;
        assert_eq!(nothing.status, StatusCode::BAD_REQUEST);
        assert!(nothing.text().contains("MissingSecurityHeader"), "{}", nothing.text());
    }
    let acl = t.send(Method::GET, "/bucket?acl", &[], "").await;
    assert!(acl.text().contains("<ID>app</ID>") && acl.text().contains("FULL_CONTROL"), "{}", acl.text());
    t.stop().await;
}

const PUBLIC_LIST: &str = "<AccessControlPolicy><AccessControlList><Grant><Grantee><URI>http://acs.amazonaws.com/groups/global/AllUsers</URI></Grantee><Permission>READ</Permission></Grant></AccessControlList></AccessControlPolicy>";

/// The location knows its own account and no app. It hears of a list that gives the owner all as the canned one, and what it
/// says of its account is said of the owner.
#[tokio::test]
async fn the_access_control_list_of_an_object_can_be_read_and_put_back() {
    let t = TestGateway::start().await;
    t.put("k", &[PUBLIC], "text").await;
    t.script("eu-central", |request, store| async move {
        if request.uri().query() != Some("acl") {
            return store.oneshot(request).await;
        }
        if request.method() == Method::GET {
            return Ok(http::Response::new(crate::body::Body::full(crate::s3::xml::private_acl("4711"))));
        }
        assert_eq!(request.headers()["x-amz-acl"], "private");
        for about_the_document in ["content-md5", "content-type", "x-amz-checksum-crc32"] {
            assert!(!request.headers().contains_key(about_the_document), "{about_the_document}");
        }
        assert!(request.into_body().collect_limited(1000).await.unwrap().is_empty());
        Ok(http::Response::new(crate::body::Body::empty()))
    });
    let of_object = t.send(Method::GET, "/bucket/k?acl", &[], "").await;
    let of_bucket = t.send(Method::GET, "/bucket?acl", &[], "").await;
    assert_eq!(of_object.text(), of_bucket.text());
    assert!(of_object.text().contains("<ID>app</ID>"), "{}", of_object.text());
    for path in ["/bucket/k?acl", "/bucket?acl"] {
        let back = t.send(Method::PUT, path, &[("content-type", "text/xml")], of_object.text()).await;
        assert_eq!(back.status, StatusCode::OK, "{path}: {}", back.text());
    }
    t.stop().await;
}

/// Whether the labels would be those of the bytes that are there, nobody can say then.
#[tokio::test]
async fn a_location_that_does_not_tell_what_it_holds_is_to_blame_and_may_be_asked_again() {
    let t = TestGateway::start().await;
    t.put("k", &[PUBLIC], "text").await;
    t.script("eu-central", |request, store| async move {
        match *request.method() {
            Method::HEAD => answer_instead(500, request, store).await,
            _ => store.oneshot(request).await,
        }
    });
    let answer = tag(&t, &EUROPEAN).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{}", answer.text());
    assert!(answer.text().contains("does not tell what it holds"), "{}", answer.text());
    t.stop().await;
}

/// A location tells nothing about what is encrypted under the client's own key, but for its entry in a list.
#[tokio::test]
async fn what_is_encrypted_under_the_clients_own_key_can_be_tagged() {
    let t = TestGateway::start().await;
    t.put("k", &[PUBLIC], "text").await;
    t.put("k2", &[PUBLIC], "another").await;
    t.script("eu-central", |request, store| async move {
        match *request.method() {
            Method::HEAD => answer_instead(400, request, store).await,
            _ => store.oneshot(request).await,
        }
    });
    assert_eq!(tag(&t, &EUROPEAN).await.status, StatusCode::OK);
    assert!(is_european_and_personal(&t.placement("k").await.unwrap()));
    let answer = t.send(Method::GET, "/bucket/k?tagging", &[], "").await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    t.stop().await;
}
