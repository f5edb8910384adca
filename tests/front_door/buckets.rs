//! Buckets: made everywhere, known by name and home, gone only when they are empty.

use crate::app::{bucket, bucket_in, failed, put};
use crate::support::gateway::Gateway;

over_both_kinds_of_store!(a_bucket_lives_from_create_to_delete, a_bucket_knows_its_home);

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

    failed(client.create_bucket().bucket("clinic").send().await).is(409, "BucketAlreadyOwnedByYou");
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

#[tokio::test]
async fn a_bucket_without_a_constraint_lives_where_its_client_signs_for() {
    let gateway = Gateway::demo().await;
    let client = gateway.client_with(aws_sdk_s3::config::retry::RetryConfig::disabled(), "eu-central-1");
    bucket(&client, "european").await;
    put(&client, "european", "note", "nothing of note").await;
    assert_eq!(gateway.whereis("european", "note")["location"], "eu-central");
}
