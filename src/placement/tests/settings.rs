//! Settings of buckets: alike at all locations, or at none.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use http::{Method, Response, StatusCode};
use tower::ServiceExt;

use crate::body::Body;
use crate::catalogue::Setting;
use crate::gateway::testing::{OF_CHINA, PUBLIC, TestGateway};

const RULE: &str = "<LifecycleConfiguration><Rule>one</Rule></LifecycleConfiguration>";
const OTHER: &str = "<LifecycleConfiguration><Rule>two</Rule></LifecycleConfiguration>";

/// What each location keeps under `?lifecycle`, as a location of another make would.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<HashMap<&'static str, String>>>);

impl Kept {
    /// `status` is what the location answers to a PUT; it keeps the document all the same when that says nothing.
    fn at(&self, t: &TestGateway, location: &'static str, status: u16) {
        let kept = self.clone();
        t.script(location, move |request, store| {
            let kept = kept.clone();
            async move {
                if request.uri().query() != Some("lifecycle") {
                    return store.oneshot(request).await;
                }
                let method = request.method().clone();
                let body = request.into_body().collect_limited(10_000).await.unwrap();
                let mut kept = kept.0.lock().unwrap();
                let (status, answer) = match method {
                    Method::GET => match kept.get(location) {
                        Some(document) => (200, document.clone()),
                        None => (404, "<Error><Code>NoSuchLifecycleConfiguration</Code></Error>".to_owned()),
                    },
                    Method::DELETE => {
                        kept.remove(location);
                        (204, String::new())
                    }
                    _ => {
                        let wanted = String::from_utf8(body.to_vec()).unwrap();
                        let refuses = wanted.contains("two") && status != 200;
                        if !refuses || status >= 500 && status != 501 {
                            kept.insert(location, wanted);
                        }
                        if refuses {
                            (status, "<Error><Code>Odd</Code><Message>no</Message></Error>".to_owned())
                        } else {
                            (200, String::new())
                        }
                    }
                };
                let mut response = Response::new(Body::full(answer));
                *response.status_mut() = StatusCode::from_u16(status).unwrap();
                Ok(response)
            }
        });
    }

    fn all(&self) -> Vec<Option<String>> {
        let kept = self.0.lock().unwrap();
        ["cn-north", "eu-central", "us-east"].map(|location| kept.get(location).cloned()).to_vec()
    }
}

async fn put(t: &TestGateway, document: &str) -> crate::gateway::testing::Answer {
    t.send(Method::PUT, "/bucket?lifecycle", &[], document.to_owned()).await
}

#[tokio::test]
async fn a_setting_goes_to_all_locations_and_away_from_all() {
    let t = TestGateway::start().await;
    let kept = Kept::default();
    for location in ["cn-north", "eu-central", "us-east"] {
        kept.at(&t, location, 200);
    }
    let none = t.send(Method::GET, "/bucket?lifecycle", &[], "").await;
    assert!(none.status == StatusCode::NOT_FOUND && none.text().contains("NoSuchLifecycleConfiguration"));
    assert_eq!(put(&t, RULE).await.status, StatusCode::OK);
    assert_eq!(kept.all(), vec![Some(RULE.to_owned()); 3]);
    assert_eq!(t.send(Method::GET, "/bucket?lifecycle", &[], "").await.text(), RULE);
    let gone = t.send(Method::DELETE, "/bucket?lifecycle", &[], "").await;
    assert_eq!(gone.status, StatusCode::NO_CONTENT);
    assert_eq!(kept.all(), vec![None; 3]);
    assert_eq!(put(&t, "<Other/>").await.status, StatusCode::BAD_REQUEST);
    assert_eq!(kept.all(), vec![None; 3]);
    t.stop().await;
}

#[tokio::test]
async fn a_location_that_does_not_take_a_setting_is_named_and_the_others_go_back() {
    for (status, answered) in [(501, 501), (400, 400), (503, 503)] {
        let t = TestGateway::start().await;
        let kept = Kept::default();
        kept.at(&t, "cn-north", 200);
        kept.at(&t, "eu-central", 200);
        kept.at(&t, "us-east", status);
        assert_eq!(put(&t, RULE).await.status, StatusCode::OK);
        let refused = put(&t, OTHER).await;
        assert_eq!(refused.status.as_u16(), answered, "{}", refused.text());
        if answered < 502 {
            assert!(refused.text().contains("us-east"), "{}", refused.text());
        }
        assert_eq!(kept.all(), vec![Some(RULE.to_owned()); 3], "{status}");
        t.stop().await;
    }
}

/// A gateway with the bucket `clinic`, which has a lifecycle; then one more location is added to its configuration.
#[tokio::test]
async fn a_location_that_is_added_takes_no_object_before_it_has_the_settings_of_the_others() {
    let kept = Kept::default();
    let t = TestGateway::start_in(tempfile::tempdir().unwrap(), |config| {
        config.locations.retain(|location| location.id.as_str() != "cn-north");
    })
    .await
    .unwrap();
    kept.at(&t, "eu-central", 200);
    kept.at(&t, "us-east", 200);
    assert_eq!(t.send(Method::PUT, "/clinic", &[], "").await.status, StatusCode::OK);
    let lifecycle = t.send(Method::PUT, "/clinic?lifecycle", &[], OTHER).await;
    assert_eq!(lifecycle.status, StatusCode::OK, "{}", lifecycle.text());
    let versioning = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
    assert_eq!(t.send(Method::PUT, "/clinic?versioning", &[], versioning).await.status, StatusCode::OK);
    let folder = t.stop_and_leave().await;

    let t = TestGateway::start_in(folder, |_| {}).await.unwrap();
    kept.at(&t, "eu-central", 200);
    kept.at(&t, "us-east", 200);
    kept.at(&t, "cn-north", 400);
    let put = || t.send(Method::PUT, "/clinic/k", &[OF_CHINA], "patient");
    let create = || t.send(Method::PUT, "/clinic", &[], "");
    let list = || t.send(Method::GET, "/clinic?list-type=2", &[], "");
    // Neither before the bucket is brought there, nor when that fails in the middle.
    for _ in 0..2 {
        let refused = put().await;
        assert_eq!(refused.status, StatusCode::CONFLICT, "{}", refused.text());
        assert!(refused.text().contains("cn-north"), "{}", refused.text());
        assert_eq!(t.send(Method::PUT, "/clinic/p", &[PUBLIC], "public").await.status, StatusCode::OK);
        assert_eq!(list().await.status, StatusCode::OK);
        let created = create().await;
        assert_eq!(created.status, StatusCode::BAD_REQUEST, "{}", created.text());
        assert!(created.text().contains("cn-north"), "{}", created.text());
    }
    kept.at(&t, "cn-north", 200);
    assert_eq!(create().await.status, StatusCode::OK);
    assert_eq!(kept.all(), vec![Some(OTHER.to_owned()); 3]);
    let stored = put().await;
    assert_eq!(stored.status, StatusCode::OK, "{}", stored.text());
    assert_eq!(stored.header("x-domicile-location"), "cn-north");
    assert!(!stored.header("x-amz-version-id").is_empty());

    // A setting that was taken away is not brought.
    assert_eq!(t.send(Method::DELETE, "/clinic?lifecycle", &[], "").await.status, StatusCode::NO_CONTENT);
    let handle = t.gateway.catalogue.bucket_handle("clinic");
    assert_eq!(t.gateway.catalogue.setting(handle, Setting::Lifecycle).await.unwrap(), None);
    t.stop().await;
}

#[tokio::test]
async fn a_bucket_that_a_location_lost_is_brought_there_again() {
    let t = TestGateway::start().await;
    t.put("k", &[PUBLIC], "text").await;
    let location = t.gateway.locations.housekeeping(&"cn-north".parse().unwrap()).unwrap();
    let lost = http::Request::delete("/bucket").body(Body::empty()).unwrap();
    assert_eq!(location.call(lost).await.unwrap().status(), StatusCode::NO_CONTENT);
    assert!(!t.put("c", &[OF_CHINA], "patient").await.status.is_success());
    assert_eq!(t.send(Method::PUT, "/bucket", &[], "").await.status, StatusCode::OK);
    assert_eq!(t.put("c", &[OF_CHINA], "patient").await.status, StatusCode::OK);
    t.stop().await;
}

#[tokio::test]
async fn an_embedded_store_has_no_such_setting_and_takes_none() {
    let t = TestGateway::start().await;
    for (name, document, code) in [
        ("lifecycle", RULE, "NoSuchLifecycleConfiguration"),
        (
            "encryption",
            "<ServerSideEncryptionConfiguration/>",
            "ServerSideEncryptionConfigurationNotFoundError",
        ),
        ("publicAccessBlock", "<PublicAccessBlockConfiguration/>", "NoSuchPublicAccessBlockConfiguration"),
        ("ownershipControls", "<OwnershipControls/>", "OwnershipControlsNotFoundError"),
    ] {
        let target = format!("/bucket?{name}");
        let put = t.send(Method::PUT, &target, &[], document).await;
        assert_eq!(put.status, StatusCode::NOT_IMPLEMENTED, "{}", put.text());
        assert!(put.text().contains("cn-north"), "{}", put.text());
        let get = t.send(Method::GET, &target, &[], "").await;
        assert!(get.status == StatusCode::NOT_FOUND && get.text().contains(code), "{}", get.text());
        assert_eq!(t.send(Method::DELETE, &target, &[], "").await.status, StatusCode::NO_CONTENT);
        let elsewhere = t.send(Method::GET, &format!("/nowhere?{name}"), &[], "").await;
        assert!(elsewhere.text().contains("NoSuchBucket"));
    }
    t.stop().await;
}

/// Other methods that carry a name of no browser's own are not asked for ahead; what a location says of origins is dropped.
#[tokio::test]
async fn what_browsers_may_show_is_for_the_gateways_rules_to_say() {
    let t = TestGateway::start().await;
    t.put("k", &[PUBLIC], "text").await;
    t.script("eu-central", |request, store| async move {
        let mut response = store.oneshot(request).await?;
        response.headers_mut().insert("access-control-allow-origin", "*".parse().unwrap());
        Ok(response)
    });
    let from = [("origin", "https://app.example.org")];
    let get = || t.send(Method::GET, "/bucket/k", &from, "");
    assert_eq!(get().await.header("access-control-allow-origin"), "");
    let rules = "<CORSConfiguration><CORSRule><AllowedOrigin>https://*.example.org</AllowedOrigin>\
                 <AllowedMethod>GET</AllowedMethod><ExposeHeader>ETag</ExposeHeader></CORSRule></CORSConfiguration>";
    assert_eq!(t.send(Method::PUT, "/bucket?cors", &[], rules).await.status, StatusCode::OK);
    let answer = get().await;
    assert_eq!(answer.header("access-control-allow-origin"), "https://app.example.org");
    assert_eq!(answer.header("access-control-expose-headers"), "ETag");
    // Also of an error, which a page could not read otherwise.
    let missing = t.send(Method::GET, "/bucket/none", &from, "").await;
    assert_eq!(missing.status, StatusCode::NOT_FOUND);
    assert_eq!(missing.header("access-control-allow-origin"), "https://app.example.org");
    let other = t.send(Method::GET, "/bucket/k", &[("origin", "https://evil.test")], "").await;
    assert_eq!(other.header("access-control-allow-origin"), "");
    let put = t.send(Method::PUT, "/bucket/k", &[from[0], PUBLIC], "text").await;
    assert_eq!(put.header("access-control-allow-origin"), "");
    t.stop().await;
}
