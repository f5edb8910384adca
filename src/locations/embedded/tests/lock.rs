//! Object lock: what may not be removed stays, whoever asks, also over a restart.

use super::*;

const LOCKS: (&str, &str) = ("x-amz-bucket-object-lock-enabled", "true");
const BYPASS: (&str, &str) = ("x-amz-bypass-governance-retention", "true");
const LATER: &str = "2999-01-01T00:00:00.000Z";
const EVEN_LATER: &str = "2999-06-01T00:00:00.000Z";

impl Fixture {
    /// A store whose bucket `safe` was created with object lock.
    async fn locking() -> Fixture {
        let store = Fixture::new().await;
        assert_eq!(store.send("PUT", "/safe", &[LOCKS], "").await.status, 200);
        store
    }

    /// The id of a new version of `safe/k`.
    async fn add(&self, headers: &[(&str, &str)]) -> String {
        let reply = self.send("PUT", "/safe/k", headers, "text").await;
        assert_eq!(reply.status, 200, "{reply:?}");
        reply.header("x-amz-version-id").unwrap().to_owned()
    }

    async fn remove(&self, id: &str, headers: &[(&str, &str)]) -> Reply {
        self.send("DELETE", &format!("/safe/k?versionId={id}"), headers, "").await
    }

    async fn retain(&self, id: &str, mode: &str, until: &str, headers: &[(&str, &str)]) -> Reply {
        let document =
            format!("<Retention><Mode>{mode}</Mode><RetainUntilDate>{until}</RetainUntilDate></Retention>");
        self.send("PUT", &format!("/safe/k?retention&versionId={id}"), headers, document).await
    }

    async fn set_default(&self, mode: &str, period: &str) -> Reply {
        let rule = format!("<Rule><DefaultRetention><Mode>{mode}</Mode>{period}</DefaultRetention></Rule>");
        let document = format!(
            "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled>{rule}</ObjectLockConfiguration>"
        );
        self.send("PUT", "/safe?object-lock", &[], document).await
    }
}

fn retained(mode: &'static str) -> [(&'static str, &'static str); 2] {
    [("x-amz-object-lock-mode", mode), ("x-amz-object-lock-retain-until-date", LATER)]
}

#[tokio::test]
async fn a_bucket_with_object_lock_keeps_versions_for_good() {
    let store = Fixture::locking().await;
    let versioning = store.send("GET", "/safe?versioning", &[], "").await;
    assert_eq!(versioning.element("Status"), Some("Enabled"));
    let suspended = "<VersioningConfiguration><Status>Suspended</Status></VersioningConfiguration>";
    store.send("PUT", "/safe?versioning", &[], suspended).await.assert_error(409, "InvalidBucketState");
    let lock = store.send("GET", "/safe?object-lock", &[], "").await;
    assert_eq!(lock.element("ObjectLockEnabled"), Some("Enabled"));
    // It is not to be had later.
    let none = store.send("GET", "/box?object-lock", &[], "").await;
    none.assert_error(404, "ObjectLockConfigurationNotFoundError");
    let enabled =
        "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled></ObjectLockConfiguration>";
    store.send("PUT", "/box?object-lock", &[], enabled).await.assert_error(409, "InvalidBucketState");
    let locked = store.send("PUT", "/box/k", &retained("GOVERNANCE"), "text").await;
    locked.assert_error(400, "InvalidRequest");
    store.put("k", "text").await;
    store.send("GET", "/box/k?retention", &[], "").await.assert_error(400, "InvalidRequest");
    let hold = "<LegalHold><Status>ON</Status></LegalHold>";
    store.send("PUT", "/box/k?legal-hold", &[], hold).await.assert_error(400, "InvalidRequest");
    store
        .send("POST", "/box/k?uploads", &retained("GOVERNANCE"), "")
        .await
        .assert_error(400, "InvalidRequest");
}

#[tokio::test]
async fn a_retained_version_is_not_removed_before_its_time() {
    let store = Fixture::locking().await;
    let governed = store.add(&retained("GOVERNANCE")).await;
    let complied = store.add(&retained("COMPLIANCE")).await;
    let store = store.reopen();
    let head = store.send("HEAD", &format!("/safe/k?versionId={complied}"), &[], "").await;
    assert_eq!(head.header("x-amz-object-lock-mode"), Some("COMPLIANCE"));
    assert_eq!(head.header("x-amz-object-lock-retain-until-date"), Some(LATER));
    for id in [&governed, &complied] {
        store.remove(id, &[]).await.assert_error(403, "AccessDenied");
    }
    store.remove(&complied, &[BYPASS]).await.assert_error(403, "AccessDenied");
    // A delete marker hides it and takes nothing away.
    let marker = store.send("DELETE", "/safe/k", &[], "").await;
    assert_eq!((marker.status.as_u16(), marker.header("x-amz-delete-marker")), (204, Some("true")));
    let marker = marker.header("x-amz-version-id").unwrap().to_owned();
    assert_eq!(store.remove(&marker, &[]).await.status, 204);
    assert_eq!(store.remove(&governed, &[BYPASS]).await.status, 204);
    let kept = store.send("GET", &format!("/safe/k?versionId={complied}"), &[], "").await;
    assert_eq!(kept.text(), "text");
    store.send("DELETE", "/safe", &[], "").await.assert_error(409, "BucketNotEmpty");
}

#[tokio::test]
async fn a_retention_is_extended_by_anybody_and_lifted_by_a_bypass_of_governance_alone() {
    let store = Fixture::locking().await;
    let id = store.add(&[]).await;
    let retention = format!("/safe/k?retention&versionId={id}");
    store.send("GET", &retention, &[], "").await.assert_error(404, "NoSuchObjectLockConfiguration");
    let past = store.retain(&id, "GOVERNANCE", "2001-01-01T00:00:00Z", &[]).await;
    past.assert_error(400, "InvalidArgument");
    store.retain(&id, "governance", LATER, &[]).await.assert_error(400, "MalformedXML");
    assert_eq!(store.retain(&id, "GOVERNANCE", LATER, &[]).await.status, 200);
    assert_eq!(store.retain(&id, "GOVERNANCE", EVEN_LATER, &[]).await.status, 200);
    store.retain(&id, "GOVERNANCE", LATER, &[]).await.assert_error(403, "AccessDenied");
    store.send("PUT", &retention, &[], "<Retention/>").await.assert_error(403, "AccessDenied");
    store.retain(&id, "COMPLIANCE", EVEN_LATER, &[]).await.assert_error(403, "AccessDenied");
    assert_eq!(store.send("PUT", &retention, &[BYPASS], "<Retention/>").await.status, 200);
    store.send("GET", &retention, &[], "").await.assert_error(404, "NoSuchObjectLockConfiguration");
    assert_eq!(store.retain(&id, "COMPLIANCE", LATER, &[]).await.status, 200);
    for (mode, until) in [("COMPLIANCE", "2998-01-01T00:00:00Z"), ("GOVERNANCE", EVEN_LATER)] {
        store.retain(&id, mode, until, &[BYPASS]).await.assert_error(403, "AccessDenied");
    }
    store.send("PUT", &retention, &[BYPASS], "<Retention/>").await.assert_error(403, "AccessDenied");
    assert_eq!(store.retain(&id, "COMPLIANCE", EVEN_LATER, &[]).await.status, 200);
    let shown = store.send("GET", &retention, &[], "").await;
    assert_eq!(shown.element("RetainUntilDate"), Some(EVEN_LATER));
    assert_eq!(shown.header("x-amz-version-id"), Some(id.as_str()));
}

#[tokio::test]
async fn a_legal_hold_holds_until_it_is_lifted() {
    let store = Fixture::locking().await;
    let id = store.add(&[("x-amz-object-lock-legal-hold", "ON")]).await;
    store.remove(&id, &[BYPASS]).await.assert_error(403, "AccessDenied");
    let hold = "/safe/k?legal-hold";
    assert_eq!(store.send("GET", hold, &[], "").await.element("Status"), Some("ON"));
    let wrong = "<LegalHold><Status>maybe</Status></LegalHold>";
    store.send("PUT", hold, &[], wrong).await.assert_error(400, "MalformedXML");
    let off = "<LegalHold><Status>OFF</Status></LegalHold>";
    assert_eq!(store.send("PUT", hold, &[], off).await.status, 200);
    let head = store.send("HEAD", "/safe/k", &[], "").await;
    assert_eq!(head.header("x-amz-object-lock-legal-hold"), Some("OFF"));
    assert_eq!(store.remove(&id, &[]).await.status, 204);
    for headers in [
        &[("x-amz-object-lock-legal-hold", "on")][..],
        &[("x-amz-object-lock-mode", "GOVERNANCE")],
        &[("x-amz-object-lock-mode", "GOVERNANCE"), ("x-amz-object-lock-retain-until-date", "soon")],
        &[("x-amz-object-lock-mode", "NONE"), ("x-amz-object-lock-retain-until-date", LATER)],
    ] {
        store.send("PUT", "/safe/k", headers, "text").await.assert_error(400, "InvalidArgument");
    }
}

/// However it is written; a copy takes no lock over from its source.
#[tokio::test]
async fn a_default_retention_is_given_to_every_new_version_that_has_none() {
    let store = Fixture::locking().await;
    let before = store.add(&[("x-amz-object-lock-legal-hold", "ON")]).await;
    store.set_default("GOVERNANCE", "<Days>0</Days>").await.assert_error(400, "InvalidRetentionPeriod");
    let both = store.set_default("GOVERNANCE", "<Days>1</Days><Years>1</Years>").await;
    both.assert_error(400, "MalformedXML");
    assert_eq!(store.set_default("GOVERNANCE", "<Days>3</Days>").await.status, 200);
    let shown = store.send("GET", "/safe?object-lock", &[], "").await;
    assert_eq!((shown.element("Mode"), shown.element("Days")), (Some("GOVERNANCE"), Some("3")));
    let mode = |reply: &Reply| reply.header("x-amz-object-lock-mode").map(str::to_owned);
    let plain = store.add(&[]).await;
    let own = store.add(&retained("COMPLIANCE")).await;
    let source = format!("safe/k?versionId={before}");
    let copied = store.send("PUT", "/safe/k", &[("x-amz-copy-source", &source)], "").await;
    let copied = copied.header("x-amz-version-id").unwrap().to_owned();
    let upload = store.send("POST", "/safe/k?uploads", &[("x-amz-object-lock-legal-hold", "ON")], "").await;
    let upload = upload.element("UploadId").unwrap().to_owned();
    let part = store.send("PUT", &format!("/safe/k?partNumber=1&uploadId={upload}"), &[], "part").await;
    let etag = part.header("etag").unwrap();
    let complete = format!(
        "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{etag}</ETag></Part></CompleteMultipartUpload>"
    );
    let done = store.send("POST", &format!("/safe/k?uploadId={upload}"), &[], complete).await;
    let uploaded = done.header("x-amz-version-id").unwrap().to_owned();
    for (id, expected, hold) in [
        (before, None, Some("ON")),
        (plain, Some("GOVERNANCE"), None),
        (own, Some("COMPLIANCE"), None),
        (copied, Some("GOVERNANCE"), None),
        (uploaded, Some("GOVERNANCE"), Some("ON")),
    ] {
        let head = store.send("HEAD", &format!("/safe/k?versionId={id}"), &[], "").await;
        assert_eq!(mode(&head).as_deref(), expected);
        assert_eq!(head.header("x-amz-object-lock-legal-hold"), hold);
        store.remove(&id, &[]).await.assert_error(403, "AccessDenied");
    }
}
