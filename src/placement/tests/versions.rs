//! Versions of one key in several locations, with answers lost on their way.

use http::{Method, StatusCode};
use tower::ServiceExt;

use crate::catalogue::VersionKind;
use crate::gateway::testing::{
    Answer, OF_CHINA, PUBLIC, TestGateway, answer_instead, between, class, lose_answer,
};
use crate::log::Event;
use crate::placement::{residue, settle};
use crate::s3::xml::{VersionElement, VersionEntry, VersionsPage, parse_versions};

const VERSIONING: &str = "/bucket?versioning";

impl TestGateway {
    async fn versioned() -> TestGateway {
        let t = TestGateway::start().await;
        assert_eq!(t.keep_versions("Enabled").await.status, StatusCode::OK);
        t
    }

    async fn keep_versions(&self, status: &str) -> Answer {
        let document =
            format!("<VersioningConfiguration><Status>{status}</Status></VersioningConfiguration>");
        self.send(Method::PUT, VERSIONING, &[], document).await
    }

    /// The id of a new version.
    async fn add(&self, headers: &[(&str, &str)], body: &str) -> String {
        let answer = self.put("k", headers, body).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        answer.header("x-amz-version-id").to_owned()
    }

    async fn delete(&self, query: &str) -> Answer {
        let answer = self.send(Method::DELETE, &format!("/bucket/k{query}"), &[], "").await;
        assert_eq!(answer.status, StatusCode::NO_CONTENT, "{}", answer.text());
        answer
    }

    async fn version(&self, id: &str) -> Answer {
        self.get(&format!("k?versionId={id}")).await
    }

    async fn page(&self, query: &str) -> VersionsPage {
        let answer = self.send(Method::GET, &format!("/bucket?versions{query}"), &[], "").await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        parse_versions(&answer.body).ok().unwrap()
    }

    /// Ids of the versions of `k`, newest first; the newest one is the latest, and no other.
    async fn versions(&self) -> Vec<String> {
        let entries: Vec<VersionEntry> =
            self.page("").await.entries.into_iter().filter(|entry| entry.key == "k").collect();
        for (index, entry) in entries.iter().enumerate() {
            assert_eq!(entry.is_latest, index == 0);
        }
        entries.into_iter().map(|entry| entry.id).collect()
    }

    /// What a location itself has of `k`: a `-` for a delete marker, otherwise the size.
    async fn at(&self, location: &str) -> Vec<String> {
        let location = self.gateway.locations.housekeeping(&location.parse().unwrap()).unwrap();
        let request = http::Request::builder().uri("/bucket?versions&prefix=k");
        let response = location.call(request.body(crate::body::Body::empty()).unwrap()).await.unwrap();
        let document = response.into_body().collect_limited(1 << 20).await.unwrap();
        let entries = parse_versions(&document).ok().unwrap().entries;
        let line = |entry: VersionEntry| match entry.element {
            VersionElement::Version => entry.size.to_string(),
            VersionElement::DeleteMarker => "-".to_owned(),
        };
        entries.into_iter().map(line).collect()
    }
}

#[tokio::test]
async fn versions_of_one_key_rest_where_each_may_and_are_read_from_there() {
    let t = TestGateway::versioned().await;
    let ids = [t.add(&[OF_CHINA], "1").await, t.add(&[PUBLIC], "22").await, t.add(&[OF_CHINA], "333").await];
    assert_eq!(
        (t.at("cn-north").await, t.at("eu-central").await),
        (vec!["3".into(), "1".into()], vec!["2".into()])
    );
    let current = t.get("k").await;
    assert_eq!((current.text().as_str(), current.header("x-amz-version-id")), ("333", ids[2].as_str()));
    for (id, (body, location)) in
        ids.iter().zip([("1", "cn-north"), ("22", "eu-central"), ("333", "cn-north")])
    {
        let answer = t.version(id).await;
        assert_eq!((answer.status, answer.text().as_str()), (StatusCode::OK, body));
        assert_eq!(answer.header("x-amz-version-id"), id);
        assert_eq!(answer.header("x-domicile-location"), location);
    }
    assert_eq!(t.versions().await, [ids[2].clone(), ids[1].clone(), ids[0].clone()]);
    let list = t.send(Method::GET, "/bucket?list-type=2", &[], "").await.text();
    assert_eq!(list.matches("<Key>k</Key>").count(), 1);
    assert_eq!(between(&list, "<Size>", "</Size>"), "3");
    // Nothing was displaced, and every version has its entry.
    assert!(t.gateway.catalogue.residues(10).await.unwrap().is_empty());
    let writes = t.history("k").await.iter().filter(|line| line.entry.event == Event::Write).count();
    assert_eq!(writes, 3);
    t.stop().await;
}

/// The policy of each version's own labels counts, and not that of the current one.
#[tokio::test]
async fn a_reader_abroad_gets_the_versions_that_may_leave_and_no_others() {
    let t = TestGateway::versioned().await;
    let chinese = t.add(&[OF_CHINA], "text").await;
    let public = t.add(&[PUBLIC], "text").await;
    let from_us = |id: String| {
        let t = &t;
        async move {
            let abroad = [("x-forwarded-for", "198.51.100.7")];
            t.send(Method::GET, &format!("/bucket/k?versionId={id}"), &abroad, "").await.status
        }
    };
    assert_eq!(from_us(chinese).await, StatusCode::FORBIDDEN);
    assert_eq!(from_us(public).await, StatusCode::OK);
    t.stop().await;
}

#[tokio::test]
async fn what_is_current_after_a_removal_is_found_in_another_location() {
    let t = TestGateway::versioned().await;
    let one = t.add(&[OF_CHINA], "1").await;
    let two = t.add(&[PUBLIC], "22").await;
    let removed = t.delete(&format!("?versionId={two}")).await;
    assert_eq!(
        (removed.header("x-amz-version-id"), removed.header("x-amz-delete-marker")),
        (two.as_str(), "")
    );
    assert!(!removed.header("x-domicile-receipt").is_empty());
    assert_eq!(t.get("k").await.text(), "1");
    assert!(t.at("eu-central").await.is_empty());
    assert_eq!(t.version(&two).await.status, StatusCode::NOT_FOUND);
    // Twice is as once.
    assert_eq!(t.delete(&format!("?versionId={two}")).await.header("x-amz-version-id"), two);
    t.delete(&format!("?versionId={one}")).await;
    assert_eq!(t.get("k").await.status, StatusCode::NOT_FOUND);
    assert_eq!(t.send(Method::DELETE, "/bucket", &[], "").await.status, StatusCode::NO_CONTENT);
    t.stop().await;
}

#[tokio::test]
async fn a_delete_marker_hides_the_key_everywhere_and_its_removal_brings_the_object_back() {
    let t = TestGateway::versioned().await;
    let one = t.add(&[OF_CHINA], "1").await;
    let two = t.add(&[PUBLIC], "22").await;
    let deleted = t.delete("").await;
    assert_eq!(deleted.header("x-amz-delete-marker"), "true");
    let marker = deleted.header("x-amz-version-id").to_owned();
    let missing = t.get("k").await;
    assert_eq!((missing.status, missing.header("x-amz-delete-marker")), (StatusCode::NOT_FOUND, "true"));
    assert_eq!(missing.header("x-amz-version-id"), marker);
    assert!(missing.text().contains("NoSuchKey"));
    let head = t.send(Method::HEAD, "/bucket/k", &[], "").await;
    assert_eq!((head.status, head.header("x-amz-delete-marker")), (StatusCode::NOT_FOUND, "true"));
    for list in ["list-type=2", "list-type=1", "list-type=2&delimiter=/"] {
        assert!(!t.send(Method::GET, &format!("/bucket?{list}"), &[], "").await.text().contains("<Key>"));
    }
    let of_marker = t.version(&marker).await;
    assert_eq!(
        (of_marker.status, of_marker.header("x-amz-version-id")),
        (StatusCode::METHOD_NOT_ALLOWED, marker.as_str())
    );
    assert_eq!((t.version(&one).await.text(), t.version(&two).await.text()), ("1".into(), "22".into()));
    assert_eq!(t.versions().await, [marker.clone(), two.clone(), one.clone()]);
    assert_eq!(t.at("eu-central").await, ["-", "2"]);
    assert_eq!(t.send(Method::DELETE, "/bucket", &[], "").await.status, StatusCode::CONFLICT);
    let removed = t.delete(&format!("?versionId={marker}")).await;
    assert_eq!(removed.header("x-amz-delete-marker"), "true");
    assert_eq!(t.get("k").await.text(), "22");
    t.stop().await;
}

#[tokio::test]
async fn a_key_that_never_was_gets_a_marker_too() {
    let t = TestGateway::versioned().await;
    let marker = t.delete("").await;
    assert_eq!(marker.header("x-amz-delete-marker"), "true");
    assert_eq!(t.versions().await, [marker.header("x-amz-version-id")]);
    assert_eq!(t.at("eu-central").await, ["-"], "at the bucket's home");
    t.stop().await;
}

#[tokio::test]
async fn the_null_version_moves_with_its_labels_and_leaves_nothing_behind() {
    let t = TestGateway::start().await;
    assert_eq!(t.add(&[OF_CHINA], "1").await, "");
    t.keep_versions("Enabled").await;
    let two = t.add(&[PUBLIC], "22").await;
    assert_eq!(t.version("null").await.text(), "1");
    t.keep_versions("Suspended").await;
    assert_eq!(t.add(&[PUBLIC], "333").await, "null");
    residue::sweep(&t.gateway).await;
    assert!(t.at("cn-north").await.is_empty(), "the former version null has gone");
    assert_eq!(t.versions().await, ["null".to_owned(), two.clone()]);
    assert_eq!(t.version("null").await.text(), "333");
    assert_eq!(t.add(&[OF_CHINA], "4444").await, "null");
    residue::sweep(&t.gateway).await;
    assert_eq!((t.at("cn-north").await, t.at("eu-central").await), (vec!["4".into()], vec!["2".into()]));
    let deleted = t.delete("").await;
    assert_eq!((deleted.header("x-amz-version-id"), deleted.header("x-amz-delete-marker")), ("null", "true"));
    assert_eq!(t.at("cn-north").await, ["-"]);
    t.delete("?versionId=null").await;
    assert_eq!(t.get("k").await.text(), "22");
    t.stop().await;
}

#[tokio::test]
async fn a_version_id_counts_for_its_own_key_only() {
    let t = TestGateway::versioned().await;
    let id = t.add(&[PUBLIC], "text").await;
    assert_eq!(t.put("other", &[PUBLIC], "text").await.status, StatusCode::OK);
    let foreign = t.get(&format!("other?versionId={id}")).await;
    assert_eq!(foreign.status, StatusCode::BAD_REQUEST);
    assert!(foreign.text().contains("<Code>InvalidArgument</Code>"));
    for forged in ["0000000000000001", "", &id[1..], &format!("{id}A")] {
        assert_eq!(t.version(forged).await.status, StatusCode::BAD_REQUEST, "{forged}");
        let target = format!("/bucket/k?versionId={forged}");
        assert_eq!(t.send(Method::DELETE, &target, &[], "").await.status, StatusCode::BAD_REQUEST);
    }
    assert_eq!(t.get("k").await.text(), "text");
    t.stop().await;
}

#[tokio::test]
async fn many_versions_are_deleted_at_once_each_with_its_own_result() {
    let t = TestGateway::versioned().await;
    let one = t.add(&[OF_CHINA], "1").await;
    let two = t.add(&[PUBLIC], "22").await;
    let object =
        |key: &str, id: &str| format!("<Object><Key>{key}</Key><VersionId>{id}</VersionId></Object>");
    let document = format!(
        "<Delete>{}{}{}<Object><Key>new</Key></Object></Delete>",
        object("k", &two),
        object("other", &one),
        object("k", "null")
    );
    let answer = t.send(Method::POST, "/bucket?delete", &[("content-md5", &md5(&document))], document).await;
    let outcome = crate::s3::xml::parse_delete_result(&answer.body).ok().unwrap();
    assert_eq!(outcome.failed.len(), 1);
    assert_eq!((outcome.failed[0].key.as_str(), outcome.failed[0].code.as_str()), ("other", "NoSuchVersion"));
    let deleted: Vec<_> =
        outcome.deleted.iter().map(|d| (d.key.as_str(), d.version.as_deref(), d.marker.is_some())).collect();
    assert_eq!(deleted, [("k", Some(two.as_str()), false), ("k", Some("null"), false), ("new", None, true)]);
    assert_eq!(t.versions().await, [one]);
    t.stop().await;
}

fn md5(text: &str) -> String {
    use base64::Engine as _;
    let mut hasher = crate::s3::checksum::Md5Hasher::default();
    hasher.update(text.as_bytes());
    base64::prelude::BASE64_STANDARD.encode(hasher.finish())
}

#[tokio::test]
async fn an_older_version_is_copied_with_its_labels() {
    let t = TestGateway::versioned().await;
    let one = t.add(&[OF_CHINA], "1").await;
    let two = t.add(&[PUBLIC], "22").await;
    let source = format!("/bucket/k?versionId={one}");
    // Over itself, which brings it back, and to another key.
    for target in ["k", "copy"] {
        let copied = t.put(target, &[("x-amz-copy-source", &source)], "").await;
        assert_eq!(copied.status, StatusCode::OK, "{}", copied.text());
        assert_eq!(copied.header("x-amz-copy-source-version-id"), one);
        assert_eq!(copied.header("x-domicile-location"), "cn-north");
        let answer = t.get(target).await;
        assert_eq!(
            (answer.text().as_str(), answer.header("x-amz-version-id")),
            ("1", copied.header("x-amz-version-id"))
        );
    }
    assert_eq!(t.versions().await[1..], [two.clone(), one]);
    // Across countries the version is streamed.
    let constraint = "<CreateBucketConfiguration><LocationConstraint>us-east-1</LocationConstraint></CreateBucketConfiguration>";
    assert_eq!(t.send(Method::PUT, "/american", &[], constraint).await.status, StatusCode::OK);
    let of_two = format!("/bucket/k?versionId={two}");
    let copied = t.send(Method::PUT, "/american/k", &[("x-amz-copy-source", &of_two)], "").await;
    assert_eq!((copied.status, copied.header("x-domicile-location")), (StatusCode::OK, "us-east"));
    assert_eq!(copied.header("x-amz-copy-source-version-id"), two);
    assert_eq!(t.send(Method::GET, "/american/k", &[], "").await.text(), "22");
    let marker = t.delete("").await.header("x-amz-version-id").to_owned();
    let of_marker = format!("/bucket/k?versionId={marker}");
    let refused = t.put("copy", &[("x-amz-copy-source", &of_marker)], "").await;
    assert!(refused.text().contains("<Code>InvalidRequest</Code>"), "{}", refused.text());
    t.stop().await;
}

#[tokio::test]
async fn conditions_are_about_the_current_version() {
    let t = TestGateway::versioned().await;
    t.add(&[OF_CHINA], "1").await;
    let absent = ("if-none-match", "*");
    assert_eq!(t.put("k", &[PUBLIC, absent], "2").await.status, StatusCode::PRECONDITION_FAILED);
    t.delete("").await;
    assert_eq!(t.put("k", &[OF_CHINA, absent], "3").await.status, StatusCode::OK);
    let etag = t.get("k").await.header("etag").to_owned();
    assert_eq!(t.put("k", &[PUBLIC, ("if-match", &etag)], "4").await.status, StatusCode::OK);
    assert_eq!(t.put("k", &[PUBLIC, ("if-match", &etag)], "5").await.status, StatusCode::PRECONDITION_FAILED);
    assert_eq!(t.versions().await.len(), 4);
    t.stop().await;
}

#[tokio::test]
async fn tags_are_those_of_a_version_and_its_labels_add_up() {
    let t = TestGateway::versioned().await;
    let one = t.add(&[OF_CHINA], "1").await;
    t.add(&[PUBLIC], "22").await;
    let tags = t.get(&format!("k?tagging&versionId={one}")).await;
    assert!(tags.text().contains("personal.health") && tags.header("x-amz-version-id") == one);
    assert!(t.get("k?tagging").await.text().contains("non_personal"));
    let wider =
        "<Tagging><TagSet><Tag><Key>data-class</Key><Value>personal.gov_id</Value></Tag></TagSet></Tagging>";
    let target = format!("/bucket/k?tagging&versionId={one}");
    let answer = t.send(Method::PUT, &target, &[], wider).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    assert_eq!(answer.header("x-amz-version-id"), one);
    assert_eq!(t.get("k").await.text(), "22", "the newest version is still the newest");
    let labels = t.version(&one).await.header("x-domicile-labels").to_owned();
    assert!(labels.contains("personal.gov_id") && labels.contains("personal.health"), "{labels}");
    t.stop().await;
}

#[tokio::test]
async fn an_upload_makes_a_version() {
    let t = TestGateway::versioned().await;
    let one = t.add(&[PUBLIC], "1").await;
    let created = t.send(Method::POST, "/bucket/k?uploads", &[OF_CHINA], "").await.text();
    let upload = between(&created, "<UploadId>", "</UploadId>");
    let part = t.send(Method::PUT, &format!("/bucket/k?partNumber=1&uploadId={upload}"), &[], "part").await;
    let etag = part.header("etag");
    let document = format!(
        "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{etag}</ETag></Part></CompleteMultipartUpload>"
    );
    let done = t.send(Method::POST, &format!("/bucket/k?uploadId={upload}"), &[], document).await;
    assert_eq!(t.versions().await, [done.header("x-amz-version-id"), one.as_str()]);
    assert_eq!(t.version(done.header("x-amz-version-id")).await.text(), "part");
    t.stop().await;
}

#[tokio::test]
async fn lists_go_on_in_the_middle_of_a_key_also_when_the_marker_has_gone() {
    let t = TestGateway::versioned().await;
    let mut expected = Vec::new();
    for key in ["a", "b/x", "b/y", "c"] {
        let mut ids = Vec::new();
        for tags in [OF_CHINA, PUBLIC, PUBLIC, OF_CHINA] {
            ids.insert(0, t.put(key, &[tags], "text").await.header("x-amz-version-id").to_owned());
        }
        expected.extend(ids.into_iter().map(|id| (key.to_owned(), id)));
    }
    let names = |page: &VersionsPage| -> Vec<(String, String)> {
        page.entries.iter().map(|entry| (entry.key.clone(), entry.id.clone())).collect()
    };
    let next = |page: &VersionsPage| {
        let key = page.next_key_marker.as_deref().unwrap_or_default();
        let id = page.next_version_id_marker.as_deref().unwrap_or_default();
        format!("&key-marker={key}&version-id-marker={id}")
    };
    for size in [1, 3, 7, 16] {
        let (mut found, mut from) = (Vec::new(), String::new());
        loop {
            let page = t.page(&format!("&max-keys={size}{from}")).await;
            assert!(page.entries.len() <= size);
            found.extend(names(&page));
            from = next(&page);
            if !page.is_truncated {
                break;
            }
        }
        assert_eq!(found, expected, "pages of {size}");
    }
    let rolled = t.page("&delimiter=/&max-keys=5").await;
    assert_eq!(
        (names(&rolled), rolled.common_prefixes.clone()),
        (expected[..4].to_vec(), vec!["b/".to_owned()])
    );
    let behind = t.page(&format!("&delimiter=/&key-marker={}", rolled.next_key_marker.unwrap())).await;
    assert_eq!(names(&behind), expected[12..]);
    let with_prefix = t.page("&prefix=b/&key-marker=b/x").await;
    assert_eq!(names(&with_prefix), expected[8..12]);
    let none = t.page("&max-keys=0").await;
    assert!(none.entries.is_empty() && !none.is_truncated);
    // Page by page, each deleted before the next one is asked for, as tools empty a bucket.
    let mut from = String::new();
    loop {
        let page = t.page(&format!("&max-keys=3{from}")).await;
        for (key, id) in names(&page) {
            let target = format!("/bucket/{key}?versionId={id}");
            assert_eq!(t.send(Method::DELETE, &target, &[], "").await.status, StatusCode::NO_CONTENT);
        }
        from = next(&page);
        if !page.is_truncated {
            break;
        }
    }
    assert!(t.page("").await.entries.is_empty());
    let refused = t.send(Method::GET, "/bucket?versions&version-id-marker=x", &[], "").await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
    t.stop().await;
}

#[tokio::test]
async fn a_bucket_that_never_kept_versions_lists_its_objects_as_null() {
    let t = TestGateway::start().await;
    t.add(&[OF_CHINA], "1").await;
    t.put("l", &[PUBLIC], "2").await;
    let page = t.page("").await;
    let found: Vec<_> = page.entries.iter().map(|e| (e.key.as_str(), e.id.as_str(), e.is_latest)).collect();
    assert_eq!(found, [("k", "null", true), ("l", "null", true)]);
    assert!(!t.send(Method::GET, VERSIONING, &[], "").await.text().contains("Status"));
    t.stop().await;
}

#[tokio::test]
async fn a_location_that_does_not_answer_fails_the_list() {
    let t = TestGateway::versioned().await;
    t.add(&[PUBLIC], "1").await;
    t.script("us-east", |request, store| answer_instead(500, request, store));
    let answer = t.send(Method::GET, "/bucket?versions", &[], "").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    t.stop().await;
}

#[tokio::test]
async fn versions_are_kept_everywhere_or_the_location_that_cannot_is_named() {
    let t = TestGateway::start().await;
    t.script("us-east", |request, store| answer_instead(501, request, store));
    let refused = t.keep_versions("Enabled").await;
    assert_eq!(refused.status, StatusCode::NOT_IMPLEMENTED);
    assert!(refused.text().contains("us-east"), "{}", refused.text());
    assert!(t.add(&[PUBLIC], "1").await.is_empty(), "nothing was changed anywhere");
    // It can be asked, but not told: what is enabled by then is put back, and a repetition brings all along.
    t.script("us-east", |request, store| async move {
        match *request.method() {
            Method::PUT => answer_instead(503, request, store).await,
            _ => tower::ServiceExt::oneshot(store, request).await,
        }
    });
    assert_eq!(t.keep_versions("Enabled").await.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(!t.send(Method::GET, VERSIONING, &[], "").await.text().contains("Status"));
    t.unscript("us-east");
    assert_eq!(t.put("k", &[PUBLIC], "22").await.status, StatusCode::OK);
    assert_eq!(t.delete("").await.status, StatusCode::NO_CONTENT);
    assert_eq!(t.get("k").await.status, StatusCode::NOT_FOUND);
    assert_eq!(t.keep_versions("Enabled").await.status, StatusCode::OK);
    assert!(t.send(Method::GET, VERSIONING, &[], "").await.text().contains("<Status>Enabled</Status>"));
    assert!(!t.add(&[PUBLIC], "333").await.is_empty());
    t.stop().await;
}

#[tokio::test]
async fn a_version_whose_answer_was_lost_is_recorded_with_its_labels() {
    let t = TestGateway::versioned().await;
    let one = t.add(&[OF_CHINA], "1").await;
    t.script("cn-north", lose_answer);
    assert_eq!(t.put("k", &[OF_CHINA], "22").await.status, StatusCode::SERVICE_UNAVAILABLE);
    t.unscript("cn-north");
    settle::sweep(&t.gateway).await;
    let current = t.get("k").await;
    assert_eq!(current.text(), "22");
    assert_eq!(t.versions().await, [current.header("x-amz-version-id"), one.as_str()]);
    assert!(t.placement("k").await.unwrap().classes.contains(class("personal.health")));
    t.stop().await;
}

/// Nobody was told that the older write happened, and somebody was told that the newer one did.
#[tokio::test]
async fn a_lost_version_does_not_come_over_a_newer_acknowledged_one() {
    for newer in [PUBLIC, OF_CHINA] {
        let t = TestGateway::versioned().await;
        t.script("cn-north", lose_answer);
        assert_eq!(t.put("k", &[OF_CHINA], "1").await.status, StatusCode::SERVICE_UNAVAILABLE);
        t.unscript("cn-north");
        let two = t.add(&[newer], "22").await;
        settle::sweep(&t.gateway).await;
        residue::sweep(&t.gateway).await;
        assert_eq!(t.get("k").await.text(), "22");
        assert_eq!(t.versions().await, [two]);
        assert!(!t.at("cn-north").await.contains(&"1".to_owned()), "what it left has been removed");
        assert!(t.gateway.catalogue.residues(10).await.unwrap().is_empty());
        assert!(t.history("k").await.iter().any(|line| line.entry.event == Event::Remove));
        t.stop().await;
    }
}

#[tokio::test]
async fn a_lost_marker_and_a_lost_removal_are_found_out() {
    let t = TestGateway::versioned().await;
    let one = t.add(&[PUBLIC], "1").await;
    t.script("eu-central", lose_answer);
    let lost = t.send(Method::DELETE, "/bucket/k", &[], "").await;
    assert_eq!(lost.status, StatusCode::SERVICE_UNAVAILABLE);
    t.unscript("eu-central");
    settle::sweep(&t.gateway).await;
    assert_eq!(t.get("k").await.header("x-amz-delete-marker"), "true");
    let ids = t.versions().await;
    assert_eq!(ids.len(), 2);
    let newest = crate::catalogue::Which::Newest;
    let handle = t.gateway.catalogue.object_handle("bucket", "k");
    let newest = t.gateway.catalogue.find_version(handle, newest).await.unwrap().unwrap();
    assert_eq!(newest.kind, VersionKind::DeleteMarker);
    // The marker goes, and nobody hears of it.
    t.script("eu-central", |request, store| answer_instead(503, request, store));
    let target = format!("/bucket/k?versionId={}", ids[0]);
    assert_eq!(t.send(Method::DELETE, &target, &[], "").await.status, StatusCode::SERVICE_UNAVAILABLE);
    t.unscript("eu-central");
    settle::sweep(&t.gateway).await;
    assert_eq!(t.get("k").await.text(), "1");
    assert_eq!(t.versions().await, [one]);
    t.stop().await;
}

/// As Garage does: an id in the answer to each write, and no version that goes by it.
#[tokio::test]
async fn a_location_that_names_versions_and_keeps_none_is_taken_for_what_it_is() {
    let t = TestGateway::start().await;
    t.script("eu-central", |request, store| async move {
        let is_write = request.method() == Method::PUT && request.uri().query().is_none();
        assert!(!request.uri().query().unwrap_or_default().contains("versionId"), "{}", request.uri());
        let source =
            request.headers().get("x-amz-copy-source").map(|source| source.to_str().unwrap().to_owned());
        assert!(!source.unwrap_or_default().contains("versionId"), "a copy of a version");
        let mut response = store.oneshot(request).await?;
        if is_write && response.status().is_success() {
            let headers = response.headers_mut();
            headers.insert("x-amz-version-id", "0c8c79a9af23c57c".parse().unwrap());
            headers.insert("x-amz-copy-source-version-id", "e1aebe6d98c65142".parse().unwrap());
        }
        Ok(response)
    });
    let put = t.put("k", &[PUBLIC], "one").await;
    assert_eq!((put.status, put.header("x-amz-version-id")), (StatusCode::OK, ""), "{}", put.text());
    assert_eq!(t.placement("k").await.unwrap().version, None);
    let copy = t.put("copy", &[("x-amz-copy-source", "bucket/k"), PUBLIC], "").await;
    assert_eq!(copy.status, StatusCode::OK, "{}", copy.text());
    for name in ["x-amz-version-id", "x-amz-copy-source-version-id"] {
        assert_eq!(copy.header(name), "", "{name}");
    }
    assert_eq!(&t.get("copy").await.body[..], b"one");
    t.put("k", &[OF_CHINA], "two").await;
    assert_eq!(&t.get("k").await.body[..], b"two");
    assert_eq!(t.delete("").await.status, StatusCode::NO_CONTENT);
}

/// Somebody else had the location keep versions: then its ids are of versions, and whoever asks names them.
#[tokio::test]
async fn versions_that_nobody_asked_for_are_known_by_their_ids() {
    let t = TestGateway::start().await;
    let keep = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
    let at = t.gateway.locations.all().find(|location| location.facts.id.as_str() == "eu-central").unwrap();
    let request = crate::placement::forward::request(
        Method::PUT,
        &"bucket".parse().unwrap(),
        None,
        "versioning",
        http::HeaderMap::new(),
        crate::body::Body::full(keep),
    );
    assert_eq!(at.call(request.unwrap()).await.unwrap().status(), StatusCode::OK);
    assert_eq!(t.put("k", &[PUBLIC], "one").await.status, StatusCode::OK);
    assert!(t.placement("k").await.unwrap().version.is_some());
    assert_eq!(&t.get("k").await.body[..], b"one");
}
