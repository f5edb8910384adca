//! Buckets with object lock: in all locations or not at all, and what is locked is neither removed nor said to be.

use http::{Method, StatusCode};
use tower::ServiceExt;

use crate::catalogue::Versioning;
use crate::gateway::testing::{Answer, OF_CHINA, PUBLIC, TestGateway, between};
use crate::log::Event;

const LOCKS: (&str, &str) = ("x-amz-bucket-object-lock-enabled", "true");
const BYPASS: (&str, &str) = ("x-amz-bypass-governance-retention", "true");
const UNTIL: (&str, &str) = ("x-amz-object-lock-retain-until-date", "2999-01-01T00:00:00Z");
const GOVERNED: (&str, &str) = ("x-amz-object-lock-mode", "GOVERNANCE");
const COMPLIED: (&str, &str) = ("x-amz-object-lock-mode", "COMPLIANCE");
const LOCATIONS: [&str; 3] = ["cn-north", "eu-central", "us-east"];

impl TestGateway {
    async fn locking() -> TestGateway {
        let t = TestGateway::start().await;
        let created = t.send(Method::PUT, "/safe", &[LOCKS], "").await;
        assert_eq!(created.status, StatusCode::OK, "{}", created.text());
        t
    }

    /// The id of a new version of `safe/k`.
    async fn store(&self, headers: &[(&str, &str)]) -> String {
        let answer = self.send(Method::PUT, "/safe/k", headers, "text").await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        answer.header("x-amz-version-id").to_owned()
    }

    async fn set_default(&self, rule: &str) -> Answer {
        let document = format!(
            "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled>{rule}</ObjectLockConfiguration>"
        );
        self.send(Method::PUT, "/safe?object-lock", &[], document).await
    }

    /// What a location itself answers to `GET /safe<query>`.
    async fn of_safe(&self, location: &str, query: &str) -> (StatusCode, String) {
        let location = self.gateway.locations.housekeeping(&location.parse().unwrap()).unwrap();
        let request = http::Request::get(format!("/safe{query}")).body(crate::body::Body::empty()).unwrap();
        let response = location.call(request).await.unwrap();
        let status = response.status();
        let body = response.into_body().collect_limited(1 << 20).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    async fn bucket(&self) -> Option<crate::catalogue::Bucket> {
        let handle = self.gateway.catalogue.bucket_handle("safe");
        self.gateway.catalogue.find_bucket(handle).await.unwrap()
    }
}

fn rule(inside: &str) -> String {
    format!("<Rule><DefaultRetention>{inside}</DefaultRetention></Rule>")
}

#[tokio::test]
async fn a_bucket_is_made_with_object_lock_in_every_location_and_keeps_versions_for_good() {
    let t = TestGateway::locking().await;
    assert_eq!(t.bucket().await.unwrap().versioning, Versioning::Enabled);
    for location in LOCATIONS {
        assert!(t.of_safe(location, "?object-lock").await.1.contains("<ObjectLockEnabled>Enabled<"));
        assert!(t.of_safe(location, "?versioning").await.1.contains("<Status>Enabled<"));
    }
    let versioning = |status: &str| {
        let document =
            format!("<VersioningConfiguration><Status>{status}</Status></VersioningConfiguration>");
        let t = &t;
        async move { t.send(Method::PUT, "/safe?versioning", &[], document).await }
    };
    assert_eq!(versioning("Enabled").await.status, StatusCode::OK);
    let suspended = versioning("Suspended").await;
    assert!(suspended.status == StatusCode::CONFLICT && suspended.text().contains("InvalidBucketState"));
    // The same bucket without lock is another one.
    assert_eq!(t.send(Method::PUT, "/safe", &[], "").await.status, StatusCode::CONFLICT);
    assert_eq!(t.send(Method::PUT, "/safe", &[LOCKS], "").await.status, StatusCode::OK);
    let unclear = t.send(Method::PUT, "/other", &[(LOCKS.0, "perhaps")], "").await;
    assert!(unclear.text().contains("InvalidArgument"), "{}", unclear.text());
    t.stop().await;
}

/// One location passes over the header, as servers do that do not know it; another one says that it knows none.
#[tokio::test]
async fn a_bucket_is_made_nowhere_when_one_location_cannot_lock() {
    for answers in [200, 501] {
        let t = TestGateway::start().await;
        t.script("us-east", move |mut request, store| async move {
            let asked = request.headers_mut().remove(LOCKS.0).is_some();
            if asked && answers == 501 {
                let mut response = http::Response::new(crate::body::Body::empty());
                *response.status_mut() = StatusCode::NOT_IMPLEMENTED;
                return Ok(response);
            }
            store.oneshot(request).await
        });
        let refused = t.send(Method::PUT, "/safe", &[LOCKS], "").await;
        assert_eq!(refused.status, StatusCode::NOT_IMPLEMENTED, "{}", refused.text());
        assert!(refused.text().contains("us-east"), "{}", refused.text());
        assert_eq!(t.bucket().await, None);
        for location in LOCATIONS {
            assert_eq!(t.of_safe(location, "").await.0, StatusCode::NOT_FOUND, "{location}");
        }
        t.unscript("us-east");
        assert_eq!(t.send(Method::PUT, "/safe", &[LOCKS], "").await.status, StatusCode::OK);
        t.stop().await;
    }
}

#[tokio::test]
async fn a_bucket_that_was_there_before_is_not_taken_away_with_what_was_made() {
    let t = TestGateway::start().await;
    let location = t.gateway.locations.housekeeping(&"cn-north".parse().unwrap()).unwrap();
    let before = http::Request::put("/safe").body(crate::body::Body::empty()).unwrap();
    location.call(before).await.unwrap();
    let refused = t.send(Method::PUT, "/safe", &[LOCKS], "").await;
    assert!(refused.text().contains("cn-north"), "{}", refused.text());
    assert_eq!(t.of_safe("cn-north", "").await.0, StatusCode::OK);
    assert_eq!(t.of_safe("eu-central", "").await.0, StatusCode::NOT_FOUND);
    t.stop().await;
}

#[tokio::test]
async fn a_default_retention_is_alike_everywhere_and_refused_in_the_words_of_a_location() {
    let t = TestGateway::locking().await;
    assert_eq!(t.set_default(&rule("<Mode>GOVERNANCE</Mode><Days>2</Days>")).await.status, StatusCode::OK);
    for location in LOCATIONS {
        assert!(t.of_safe(location, "?object-lock").await.1.contains("<Days>2</Days>"), "{location}");
    }
    let shown = t.send(Method::GET, "/safe?object-lock", &[], "").await;
    assert!(shown.text().contains("<Mode>GOVERNANCE</Mode>"), "{}", shown.text());
    for (inside, code) in [
        ("<Mode>GOVERNANCE</Mode><Days>0</Days>", "InvalidRetentionPeriod"),
        ("<Mode>other</Mode><Days>1</Days>", "MalformedXML"),
    ] {
        let refused = t.set_default(&rule(inside)).await;
        assert!(refused.text().contains(&format!("<Code>{code}</Code>")), "{}", refused.text());
    }
    // Where one location cannot, the others have what they had.
    t.script("us-east", |request, store| async move {
        if request.method() == Method::PUT && request.uri().query() == Some("object-lock") {
            let mut response = http::Response::new(crate::body::Body::empty());
            *response.status_mut() = StatusCode::NOT_IMPLEMENTED;
            return Ok(response);
        }
        store.oneshot(request).await
    });
    let refused = t.set_default(&rule("<Mode>GOVERNANCE</Mode><Days>9</Days>")).await;
    assert!(refused.text().contains("us-east"), "{}", refused.text());
    for location in LOCATIONS {
        assert!(t.of_safe(location, "?object-lock").await.1.contains("<Days>2</Days>"), "{location}");
    }
    // What no location may do behind the others' backs.
    let enabled =
        "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled></ObjectLockConfiguration>";
    let unlocked = t.send(Method::PUT, "/bucket?object-lock", &[], enabled).await;
    assert!(unlocked.text().contains("InvalidBucketState"), "{}", unlocked.text());
    let none = t.send(Method::GET, "/bucket?object-lock", &[], "").await;
    assert!(none.text().contains("ObjectLockConfigurationNotFoundError"), "{}", none.text());
    t.stop().await;
}

#[tokio::test]
async fn a_locked_version_is_not_removed_and_nothing_says_that_it_was() {
    let t = TestGateway::locking().await;
    let governed = t.store(&[OF_CHINA, GOVERNED, UNTIL]).await;
    let complied = t.store(&[PUBLIC, COMPLIED, UNTIL]).await;
    let handle = t.gateway.catalogue.object_handle("safe", "k");
    let object = t.gateway.catalogue.find(handle).await.unwrap().unwrap().object;
    let removal = |id: &str, headers: &'static [(&str, &str)]| {
        let (t, target) = (&t, format!("/safe/k?versionId={id}"));
        async move { t.send(Method::DELETE, &target, headers, "").await }
    };
    let before = t.gateway.catalogue.history(object, 100).await.unwrap().len();
    for refused in
        [removal(&governed, &[]).await, removal(&complied, &[]).await, removal(&complied, &[BYPASS]).await]
    {
        assert_eq!(refused.status, StatusCode::FORBIDDEN, "{}", refused.text());
        assert!(refused.text().contains("<Code>AccessDenied</Code>"));
    }
    let many = format!(
        "<Delete><Object><Key>k</Key><VersionId>{governed}</VersionId></Object><Object><Key>k</Key><VersionId>{complied}</VersionId></Object></Delete>"
    );
    let answer = t.send(Method::POST, "/safe?delete", &[], many.clone()).await.text();
    assert_eq!(answer.matches("<Code>AccessDenied</Code>").count(), 2, "{answer}");
    assert_eq!(t.gateway.catalogue.versions(handle).await.unwrap().len(), 2);
    assert_eq!(t.gateway.catalogue.history(object, 100).await.unwrap().len(), before);
    assert!(t.gateway.catalogue.open_intents().await.unwrap().is_empty());

    // The bypass of many is that of each.
    let answer = t.send(Method::POST, "/safe?delete", &[BYPASS], many).await.text();
    assert_eq!(answer.matches("<Code>AccessDenied</Code>").count(), 1, "{answer}");
    assert!(between(&answer, "<Deleted>", "</Deleted>").contains(&governed));
    assert_eq!(t.gateway.catalogue.versions(handle).await.unwrap().len(), 1);
    let history = t.gateway.catalogue.history(object, 100).await.unwrap();
    assert_eq!(history.iter().filter(|line| line.entry.event == Event::Delete).count(), 1);
    assert_eq!(t.send(Method::DELETE, "/safe", &[], "").await.status, StatusCode::CONFLICT);
    t.stop().await;
}

/// A write that must go elsewhere makes a version there; the locked one stays where it is.
#[tokio::test]
async fn a_locked_version_is_neither_moved_nor_replaced() {
    let t = TestGateway::locking().await;
    let locked = t.store(&[PUBLIC, COMPLIED, UNTIL]).await;
    let newer = t.store(&[OF_CHINA]).await;
    let read = |id: String| {
        let t = &t;
        async move { t.send(Method::GET, &format!("/safe/k?versionId={id}"), &[], "").await }
    };
    let kept = read(locked.clone()).await;
    assert_eq!(kept.header("x-amz-object-lock-mode"), "COMPLIANCE");
    assert_ne!(kept.header("x-domicile-location"), read(newer).await.header("x-domicile-location"));
    assert!(t.gateway.catalogue.residues(10).await.unwrap().is_empty());
    // Tags under which it might not stay are refused.
    let tags = "<Tagging><TagSet><Tag><Key>data-class</Key><Value>personal.health</Value></Tag>\
                <Tag><Key>subject-country</Key><Value>CN</Value></Tag></TagSet></Tagging>";
    let refused = t.send(Method::PUT, &format!("/safe/k?tagging&versionId={locked}"), &[], tags).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN, "{}", refused.text());
    assert_eq!(read(locked).await.text(), "text");
    t.stop().await;
}
