//! Buckets: made everywhere, known by name and home, gone only when they are empty.

use crate::app::{bucket, bucket_in, failed, put};
use crate::support::gateway::Gateway;
use crate::support::raw::{Raw, exchange};

over_both_kinds_of_store!(
    a_bucket_lives_from_create_to_delete,
    a_bucket_knows_its_home,
    tags_and_cross_origin_rules_of_a_bucket_are_kept,
    a_browser_asks_ahead_without_a_signature,
    buckets_are_listed_by_pages,
    settings_that_no_bucket_has_are_told_as_s3_tells_them,
);

async fn a_bucket_lives_from_create_to_delete(gateway: Gateway) {
    let client = gateway.client();
    failed(client.head_bucket().bucket("clinic").send().await).is(404, "NotFound");
    bucket(&client, "clinic").await;
    bucket(&client, "archive").await;
    client.head_bucket().bucket("clinic").send().await.unwrap();

    let list = client.list_buckets().send().await.unwrap();
    let names: Vec<_> = list.buckets().iter().map(|bucket| bucket.name().unwrap()).collect();
    assert_eq!(names, ["archive", "clinic"]);
    assert!(list.buckets().iter().all(|bucket| bucket.creation_date().is_some()));

    // In us-east-1 an owner may create a bucket again (S3 API reference, CreateBucket).
    client.create_bucket().bucket("clinic").send().await.unwrap();
    put(&client, "clinic", "a/record", "blood group 0").await;
    failed(client.delete_bucket().bucket("clinic").send().await).is(409, "BucketNotEmpty");
    client.delete_object().bucket("clinic").key("a/record").send().await.unwrap();
    client.delete_bucket().bucket("clinic").send().await.unwrap();
    failed(client.head_bucket().bucket("clinic").send().await).is(404, "NotFound");
    failed(client.delete_bucket().bucket("clinic").send().await).is(404, "NoSuchBucket");
    failed(client.list_objects_v2().bucket("clinic").send().await).is(404, "NoSuchBucket");
    failed(client.get_object().bucket("clinic").key("a/record").send().await).is(404, "NoSuchBucket");

    // The name is free again.
    bucket_in(&client, "clinic", "eu-central-1").await;
    failed(client.put_object().bucket("nowhere").key("k").send().await).is(404, "NoSuchBucket");
}

async fn a_bucket_knows_its_home(gateway: Gateway) {
    let client = gateway.client();
    bucket(&client, "plain").await;
    bucket_in(&client, "german", "eu-central-1").await;
    bucket_in(&client, "by-id", "in-west").await;

    let location = |name: &str| client.get_bucket_location().bucket(name).send();
    let none = location("plain").await.unwrap();
    assert!(none.location_constraint().is_none_or(|named| named.as_str().is_empty()));
    let named = location("german").await.unwrap();
    assert_eq!(named.location_constraint().unwrap().as_str(), "eu-central-1");
    let head = client.head_bucket().bucket("german").send().await.unwrap();
    assert_eq!(head.bucket_region(), Some("eu-central-1"));

    // What nobody labelled stays at home.
    for (name, home) in [("plain", "us-east"), ("german", "eu-central"), ("by-id", "in-west")] {
        put(&client, name, "note", "nothing of note").await;
        assert_eq!(gateway.whereis(name, "note")["location"], home);
    }

    let elsewhere = aws_sdk_s3::types::CreateBucketConfiguration::builder()
        .location_constraint("ru-central-1".into())
        .build();
    let refused =
        client.create_bucket().bucket("russian").create_bucket_configuration(elsewhere).send().await;
    let refused = failed(refused);
    refused.is(400, "InvalidLocationConstraint");
    assert!(refused.message.contains("cn-north (cn-north-1)"), "{}", refused.message);
}

async fn settings_that_no_bucket_has_are_told_as_s3_tells_them(gateway: Gateway) {
    use aws_sdk_s3::types::Payer;
    let client = gateway.client();
    bucket(&client, "clinic").await;
    failed(client.get_bucket_policy().bucket("clinic").send().await).is(404, "NoSuchBucketPolicy");
    failed(client.get_bucket_website().bucket("clinic").send().await).is(404, "NoSuchWebsiteConfiguration");
    failed(client.get_bucket_replication().bucket("clinic").send().await)
        .is(404, "ReplicationConfigurationNotFoundError");
    let status = client.get_bucket_policy_status().bucket("clinic").send().await.unwrap();
    assert_eq!(status.policy_status().unwrap().is_public(), Some(false));
    let payment = client.get_bucket_request_payment().bucket("clinic").send().await.unwrap();
    assert_eq!(payment.payer(), Some(&Payer::BucketOwner));
    let logging = client.get_bucket_logging().bucket("clinic").send().await.unwrap();
    assert!(logging.logging_enabled().is_none());
    let events = client.get_bucket_notification_configuration().bucket("clinic").send().await.unwrap();
    assert!(events.queue_configurations().is_empty() && events.event_bridge_configuration().is_none());
    let speed = client.get_bucket_accelerate_configuration().bucket("clinic").send().await.unwrap();
    assert_eq!(speed.status(), None);

    client.delete_bucket_policy().bucket("clinic").send().await.unwrap();
    client.delete_bucket_website().bucket("clinic").send().await.unwrap();
    client.delete_bucket_replication().bucket("clinic").send().await.unwrap();
    failed(client.put_bucket_policy().bucket("clinic").policy("{}").send().await).is(501, "NotImplemented");
    failed(client.get_bucket_policy().bucket("nowhere").send().await).is(404, "NoSuchBucket");
    failed(client.delete_bucket_policy().bucket("nowhere").send().await).is(404, "NoSuchBucket");
}

#[tokio::test]
async fn a_bucket_without_a_constraint_lives_where_its_client_signs_for() {
    let gateway = Gateway::demo().await;
    let client = gateway.client_with(aws_sdk_s3::config::retry::RetryConfig::disabled(), "eu-central-1");
    bucket(&client, "european").await;
    put(&client, "european", "note", "nothing of note").await;
    assert_eq!(gateway.whereis("european", "note")["location"], "eu-central");
}

async fn tags_and_cross_origin_rules_of_a_bucket_are_kept(gateway: Gateway) {
    use aws_sdk_s3::types::{CorsConfiguration, CorsRule, Tag, Tagging};
    let client = gateway.client();
    bucket(&client, "clinic").await;
    failed(client.get_bucket_tagging().bucket("clinic").send().await).is(404, "NoSuchTagSet");
    let tags = (0..20).map(|n| Tag::builder().key(format!("k{n}")).value("v & w").build().unwrap());
    let tagging = Tagging::builder().set_tag_set(Some(tags.collect())).build().unwrap();
    client.put_bucket_tagging().bucket("clinic").tagging(tagging.clone()).send().await.unwrap();
    let kept = client.get_bucket_tagging().bucket("clinic").send().await.unwrap();
    assert_eq!(kept.tag_set(), tagging.tag_set());
    client.delete_bucket_tagging().bucket("clinic").send().await.unwrap();
    failed(client.get_bucket_tagging().bucket("clinic").send().await).is(404, "NoSuchTagSet");

    failed(client.get_bucket_cors().bucket("clinic").send().await).is(404, "NoSuchCORSConfiguration");
    let rule = CorsRule::builder().allowed_origins("https://*.example.org").allowed_methods("PUT");
    let rule = rule.allowed_headers("*").max_age_seconds(60).id("one").build().unwrap();
    let cors = CorsConfiguration::builder().cors_rules(rule.clone()).build().unwrap();
    client.put_bucket_cors().bucket("clinic").cors_configuration(cors.clone()).send().await.unwrap();
    let kept = client.get_bucket_cors().bucket("clinic").send().await.unwrap();
    assert_eq!(kept.cors_rules(), [rule]);
    client.delete_bucket_cors().bucket("clinic").send().await.unwrap();
    failed(client.get_bucket_cors().bucket("clinic").send().await).is(404, "NoSuchCORSConfiguration");

    // They end with their bucket.
    client.put_bucket_cors().bucket("clinic").cors_configuration(cors).send().await.unwrap();
    client.delete_bucket().bucket("clinic").send().await.unwrap();
    bucket(&client, "clinic").await;
    failed(client.get_bucket_cors().bucket("clinic").send().await).is(404, "NoSuchCORSConfiguration");
    failed(client.get_bucket_cors().bucket("nowhere").send().await).is(404, "NoSuchBucket");
}

async fn a_browser_asks_ahead_without_a_signature(gateway: Gateway) {
    let client = gateway.client();
    bucket(&client, "clinic").await;
    let address = gateway.endpoint.strip_prefix("http://").unwrap();
    let ask = async |target: &str, origin: &str, method: &str, headers: &str| {
        let head = format!(
            "OPTIONS {target} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\norigin: {origin}\r\n\
             access-control-request-method: {method}\r\naccess-control-request-headers: {headers}\r\n\r\n"
        );
        exchange(address, head.as_bytes(), b"").await.unwrap()
    };
    const APP: &str = "https://app.example.org";
    ask("/clinic/k", APP, "PUT", "").await.refused(403, "AccessForbidden");
    let rules = "<CORSConfiguration><CORSRule><AllowedOrigin>https://*.example.org</AllowedOrigin>\
                 <AllowedMethod>PUT</AllowedMethod><AllowedHeader>x-amz-*</AllowedHeader>\
                 <MaxAgeSeconds>60</MaxAgeSeconds></CORSRule></CORSConfiguration>";
    assert_eq!(Raw::new(&gateway, "PUT", "/clinic?cors").body(rules).sign().send().await.status, 200);
    let allowed = ask("/clinic/a%20k?partNumber=1&uploadId=x", APP, "PUT", "x-amz-date,X-Amz-Tagging").await;
    assert_eq!(allowed.status, 200, "{}", allowed.text());
    assert_eq!(allowed.header("access-control-allow-origin"), Some(APP));
    assert_eq!(allowed.header("access-control-allow-methods"), Some("PUT"));
    assert_eq!(allowed.header("access-control-allow-headers"), Some("x-amz-date, x-amz-tagging"));
    assert_eq!(allowed.header("access-control-max-age"), Some("60"));
    ask("/clinic/k", APP, "GET", "").await.refused(403, "AccessForbidden");
    ask("/clinic/k", APP, "PUT", "authorization").await.refused(403, "AccessForbidden");
    ask("/clinic/k", "https://evil.test", "PUT", "").await.refused(403, "AccessForbidden");
    // Whether there is such a bucket is not told.
    ask("/nowhere/k", APP, "PUT", "").await.refused(403, "AccessForbidden");
    let bare = format!("OPTIONS /clinic/k HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    exchange(address, bare.as_bytes(), b"").await.unwrap().refused(400, "BadRequest");
    // And nothing but a preflight goes without a signature.
    let get =
        format!("GET /clinic/k HTTP/1.1\r\nhost: {address}\r\norigin: {APP}\r\nconnection: close\r\n\r\n");
    exchange(address, get.as_bytes(), b"").await.unwrap().refused(403, "AccessDenied");
}

async fn buckets_are_listed_by_pages(gateway: Gateway) {
    let client = gateway.client();
    for name in ["b-one", "a-one", "b-two", "b-three", "c-one"] {
        bucket(&client, name).await;
    }
    let mut names = Vec::new();
    let mut token = None;
    loop {
        let page = client.list_buckets().prefix("b-").max_buckets(2).set_continuation_token(token);
        let page = page.send().await.unwrap();
        assert!(page.buckets().len() <= 2);
        names.extend(page.buckets().iter().map(|bucket| bucket.name().unwrap().to_owned()));
        token = page.continuation_token().map(str::to_owned);
        if token.is_none() {
            break;
        }
    }
    assert_eq!(names, ["b-one", "b-three", "b-two"]);
    let none = client.list_buckets().max_buckets(0).send().await;
    failed(none).is(400, "InvalidArgument");
}
