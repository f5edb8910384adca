//! The lock of the door: requests that were signed wrongly, or changed after they were signed.

use std::time::SystemTime;

use crate::app::{bucket, failed, get, keys, put};
use crate::support::gateway::{Gateway, PATIENCE, Stores};
use crate::support::raw::{Raw, ago, exchange};

async fn gateway() -> Gateway {
    let gateway = Gateway::demo().await;
    let client = gateway.client();
    bucket(&client, "clinic").await;
    put(&client, "clinic", "note", "stays").await;
    gateway
}

/// Nothing of all this has changed anything.
async fn unharmed(gateway: &Gateway) {
    let client = gateway.client();
    assert_eq!(keys(&client, "clinic").await, ["note"]);
    assert_eq!(get(&client, "clinic", "note").await, b"stays");
    assert_eq!(gateway.disks_with(b"smuggled"), [""; 0]);
}

#[tokio::test]
async fn a_request_signed_by_hand_is_as_good_as_any() {
    let gateway = gateway().await;
    let answer = Raw::new(&gateway, "GET", "/clinic/note").sign().send().await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "stays"));
    let answer = Raw::new(&gateway, "PUT", "/clinic/note").body("stays").sign().send().await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let answer = Raw::new(&gateway, "GET", "/clinic?list-type=2&prefix=no%2B%20").sign().send().await;
    assert_eq!(answer.element("KeyCount"), "0");
    unharmed(&gateway).await;
}

#[tokio::test]
async fn whoever_cannot_sign_gets_nothing() {
    let gateway = gateway().await;
    let put = || Raw::new(&gateway, "PUT", "/clinic/other").body("smuggled");
    put().send().await.refused(403, "AccessDenied");
    Raw::new(&gateway, "GET", "/clinic/note").send().await.refused(403, "AccessDenied");
    Raw::new(&gateway, "GET", "/").send().await.refused(403, "AccessDenied");

    let mut wrong = put();
    wrong.signing.secret.push('x');
    wrong.sign().send().await.refused(403, "SignatureDoesNotMatch");
    let mut unknown = put();
    unknown.signing.access_key_id = "AKIDNOBODY".to_owned();
    unknown.sign().send().await.refused(403, "InvalidAccessKeyId");

    let mut elsewhere = put();
    elsewhere.signing.region = "eu-west-9".to_owned();
    let answer = elsewhere.sign().send().await;
    answer.refused(400, "AuthorizationHeaderMalformed");
    assert_eq!(answer.element("Region"), "us-east-1");
    assert!(answer.element("Message").contains("us-east-1"), "{}", answer.text());

    for time in [ago(1000), SystemTime::now() + std::time::Duration::from_secs(1000)] {
        put().at(time).sign().send().await.refused(403, "RequestTimeTooSkewed");
    }
    put().at(ago(600)).header("x-amz-meta-a", "b").sign().send().await.header("etag").unwrap();
    gateway.client().delete_object().bucket("clinic").key("other").send().await.unwrap();

    let v2 = put().header("authorization", "AWS AKID:c2lnbmF0dXJl").send().await;
    v2.refused(400, "InvalidRequest");
    gateway.settled_disks_with(b"smuggled", &[]).await;
    unharmed(&gateway).await;
}

#[tokio::test]
async fn what_was_changed_after_it_was_signed_is_refused() {
    let gateway = gateway().await;
    let put =
        || Raw::new(&gateway, "PUT", "/clinic/other").header("x-amz-meta-a", "b").body("smuggled").sign();
    let mut changed = put();
    changed.target = "/clinic/note".to_owned();
    changed.send().await.refused(403, "SignatureDoesNotMatch");
    let mut changed = put();
    changed.target.push_str("?versionId=1");
    changed.send().await.refused(403, "SignatureDoesNotMatch");
    let mut changed = put();
    changed.method = "POST".to_owned();
    changed.send().await.refused(403, "SignatureDoesNotMatch");
    let mut changed = put();
    changed.headers[1].1 = "c".to_owned();
    changed.send().await.refused(403, "SignatureDoesNotMatch");
    let mut changed = put();
    changed.body = b"smaggled".to_vec();
    changed.send().await.refused(400, "XAmzContentSHA256Mismatch");
    let mut changed = put();
    changed.headers[0].1 = changed.headers[0].1.replace("127.0.0.1", "localhost");
    changed.send().await.refused(403, "SignatureDoesNotMatch");
    unharmed(&gateway).await;
}

#[tokio::test]
async fn a_header_that_takes_effect_must_be_signed() {
    let gateway = gateway().await;
    for (name, value) in [
        ("x-amz-copy-source", "/clinic/note"),
        ("x-amz-tagging", "data-class=non_personal"),
        ("x-amz-meta-ward", "3"),
        ("x-amz-acl", "public-read"),
        ("x-amz-decoded-content-length", "8"),
        ("X-AMZ-Website-Redirect-Location", "http://elsewhere.example"),
    ] {
        let put = Raw::new(&gateway, "PUT", "/clinic/other").body("smuggled").sign().header(name, value);
        let answer = put.send().await;
        answer.refused(403, "AccessDenied");
        assert!(!answer.text().contains("ward"), "names of metadata are the app's own: {}", answer.text());
    }
    // The same in a query is no header.
    for target in ["/clinic/other?x-amz-copy-source=%2Fclinic%2Fnote", "/clinic/other?x-amz-tagging=a%3Db"] {
        Raw::new(&gateway, "PUT", target)
            .body("smuggled")
            .sign()
            .send()
            .await
            .refused(400, "InvalidArgument");
    }
    unharmed(&gateway).await;
}

#[tokio::test]
async fn a_header_that_comes_twice_is_refused() {
    let gateway = gateway().await;
    let put = || Raw::new(&gateway, "PUT", "/clinic/other").body("smuggled").sign();
    for (name, value) in [
        ("x-amz-date", "20260101T000000Z"),
        ("x-amz-content-sha256", "UNSIGNED-PAYLOAD"),
        ("authorization", "AWS4-HMAC-SHA256 x"),
        ("host", "elsewhere.example"),
    ] {
        let answer = put().header(name, value).send().await;
        assert_eq!(answer.status / 100, 4, "{name}: {}", answer.text());
    }
    // What frames the message may not be stated twice either: proxies disagree about which one counts.
    for (name, value) in [("content-length", "3"), ("transfer-encoding", "chunked")] {
        let answer = put().header(name, value).send().await;
        assert_eq!(answer.status / 100, 4, "{name}: {}", answer.text());
    }
    unharmed(&gateway).await;
}

#[tokio::test]
async fn a_presigned_url_ends_and_carries_nothing_more() {
    let gateway = gateway().await;
    let get = |seconds| Raw::new(&gateway, "GET", "/clinic/note").at(ago(100)).presign(seconds);
    assert_eq!(get(200).send().await.text(), "stays");
    get(50).send().await.refused(403, "AccessDenied");
    get(604_801).send().await.refused(400, "AuthorizationQueryParametersError");

    let mut longer = get(50);
    longer.target = longer.target.replace("Expires=50", "Expires=5000");
    longer.send().await.refused(403, "SignatureDoesNotMatch");
    let mut other = get(200);
    other.target = other.target.replace("/note", "/other");
    other.send().await.refused(403, "SignatureDoesNotMatch");
    let mut more = get(200);
    more.target.push_str("&response-content-type=text%2Fhtml");
    more.send().await.refused(403, "SignatureDoesNotMatch");

    let put = || Raw::new(&gateway, "PUT", "/clinic/other").presign(100);
    for (name, value) in
        [("x-amz-copy-source", "/clinic/note"), ("x-amz-tagging", "a=b"), ("x-amz-acl", "private")]
    {
        put().header(name, value).body("smuggled").send().await.refused(403, "AccessDenied");
    }
    let both = Raw { headers: put().sign().headers, ..put() };
    both.send().await.refused(400, "InvalidArgument");
    unharmed(&gateway).await;
}

#[tokio::test]
async fn an_app_stays_in_its_own_buckets() {
    let reader = "[[app]]\nid = \"reader\"\naccess-key-id = \"AKIDREADER\"\nsecret-access-key = \"s\"\n\
                  buckets = [\"open-*\"]\naccess = \"read\"\n";
    let more = format!("{reader}\n{}", crate::support::gateway::ON_SITE);
    let gateway = Gateway::configured(crate::support::gateway::Stores::Embedded, &more).await;
    let client = gateway.client();
    for name in ["open-data", "clinic"] {
        bucket(&client, name).await;
        put(&client, name, "note", "stays").await;
    }
    let as_reader = |method: &str, target: &str| {
        let mut raw = Raw::new(&gateway, method, target);
        (raw.signing.access_key_id, raw.signing.secret) = ("AKIDREADER".to_owned(), "s".to_owned());
        raw
    };
    assert_eq!(as_reader("GET", "/open-data/note").sign().send().await.text(), "stays");
    as_reader("GET", "/clinic/note").sign().send().await.refused(403, "AccessDenied");
    as_reader("GET", "/clinic?list-type=2").sign().send().await.refused(403, "AccessDenied");
    as_reader("PUT", "/open-data/note").body("smuggled").sign().send().await.refused(403, "AccessDenied");
    as_reader("DELETE", "/open-data/note").sign().send().await.refused(403, "AccessDenied");
    let buckets = as_reader("GET", "/").sign().send().await.text();
    assert!(buckets.contains("open-data") && !buckets.contains("clinic"), "{buckets}");
    assert_eq!(get(&client, "open-data", "note").await, b"stays");
}

#[tokio::test]
async fn temporary_credentials_count_with_their_token_and_until_they_expire() {
    const SESSIONS: &str = r#"
        [[app.session]]
        access-key-id = "ASIANOW"
        secret-access-key = "a-secret-for-a-while"
        session-token = "a+token/of==the=session"
        expires = "2999-01-01T00:00:00Z"
        [[app.session]]
        access-key-id = "ASIATHEN"
        secret-access-key = "a-secret-for-a-while"
        session-token = "a+token/of==the=session"
        expires = "2020-01-01T00:00:00Z"
    "#;
    let gateway = Gateway::configured(Stores::Embedded, SESSIONS).await;
    let client = |id: &str, token: Option<&str>| {
        let credentials = aws_sdk_s3::config::Credentials::new(
            id,
            "a-secret-for-a-while",
            token.map(str::to_owned),
            None,
            "test",
        );
        let config = gateway.client().config().to_builder().credentials_provider(credentials).build();
        aws_sdk_s3::Client::from_conf(config)
    };
    const TOKEN: Option<&str> = Some("a+token/of==the=session");
    let now = client("ASIANOW", TOKEN);
    bucket(&now, "clinic").await;
    put(&now, "clinic", "note", "text").await;
    // It is the app that writes: its own key reads the same.
    assert_eq!(get(&gateway.client(), "clinic", "note").await, b"text");
    let soon = aws_sdk_s3::presigning::PresigningConfig::expires_in(PATIENCE).unwrap();
    let link = now.get_object().bucket("clinic").key("note").presigned(soon).await.unwrap();
    let address = gateway.endpoint.strip_prefix("http://").unwrap();
    let target = link.uri().strip_prefix(&gateway.endpoint).unwrap();
    let head = format!("GET {target} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    let answer = exchange(address, head.as_bytes(), b"").await.unwrap();
    assert_eq!((answer.status, answer.text().as_str()), (200, "text"));

    let read = async |client: aws_sdk_s3::Client| {
        failed(client.get_object().bucket("clinic").key("note").send().await)
    };
    read(client("ASIANOW", Some("another"))).await.is(400, "InvalidToken");
    read(client("ASIANOW", None)).await.is(403, "InvalidAccessKeyId");
    read(client("ASIATHEN", TOKEN)).await.is(400, "ExpiredToken");
    read(client("ASIANEVER", TOKEN)).await.is(403, "InvalidAccessKeyId");
}
