//! Copies: inside a country and across, always with the labels of their source.

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart, MetadataDirective, TaggingDirective};

use crate::app::{CN_RESIDENT_ID, bucket, bucket_in, clean_text, failed, get, put, put_tagged};
use crate::support::gateway::Gateway;

over_both_kinds_of_store!(a_copy_holds_what_its_source_holds, a_copy_goes_no_further_than_its_source_may);

async fn a_copy_holds_what_its_source_holds(gateway: Gateway) {
    let client = gateway.client();
    bucket(&client, "clinic").await;
    bucket_in(&client, "european", "eu-central-1").await;
    client
        .put_object()
        .bucket("clinic")
        .key("note")
        .metadata("ward", "3")
        .content_type("text/x-note")
        .body(ByteStream::from_static(b"nothing of note"))
        .send()
        .await
        .unwrap();

    // Inside its location.
    let copy = client.copy_object().bucket("clinic").key("copy of a note").copy_source("clinic/note");
    let answer = copy.send().await.unwrap();
    assert!(answer.copy_object_result().unwrap().e_tag().is_some());
    assert_eq!(get(&client, "clinic", "copy of a note").await, b"nothing of note");

    // Across locations: an unlabelled copy lives at its own bucket's home.
    let copy =
        client.copy_object().bucket("european").key("note").copy_source("/clinic/copy%20of%20a%20note");
    copy.send().await.unwrap();
    assert_eq!(gateway.whereis("european", "note")["location"], "eu-central");
    let read = client.get_object().bucket("european").key("note").send().await.unwrap();
    assert_eq!(read.metadata().unwrap()["ward"], "3");
    assert_eq!(read.content_type(), Some("text/x-note"));
    assert_eq!(read.body.collect().await.unwrap().to_vec(), b"nothing of note");

    // With metadata of its own.
    let copy = client.copy_object().bucket("european").key("other").copy_source("clinic/note");
    copy.metadata_directive(MetadataDirective::Replace).metadata("ward", "4").send().await.unwrap();
    let read = client.head_object().bucket("european").key("other").send().await.unwrap();
    assert_eq!(read.metadata().unwrap()["ward"], "4");

    failed(client.copy_object().bucket("clinic").key("x").copy_source("clinic/never-was").send().await)
        .is(404, "NoSuchKey");
}

async fn a_copy_goes_no_further_than_its_source_may(gateway: Gateway) {
    let client = gateway.client();
    bucket(&client, "clinic").await;
    bucket_in(&client, "european", "eu-central-1").await;
    put_tagged(&client, "clinic", "record", "data-class=personal.health&subject-country=CN", "copied record")
        .await;
    // Without tags of its own the copy is still about a person in China.
    let copy = client.copy_object().bucket("clinic").key("copy").copy_source("clinic/record");
    copy.tagging_directive(TaggingDirective::Replace).send().await.unwrap();
    let answer = gateway.whereis("clinic", "copy");
    assert_eq!((&answer["location"], &answer["classes"][0]), (&"cn-north".into(), &"personal.health".into()));

    // Nor does a bucket at home elsewhere make it about somebody else.
    client.copy_object().bucket("european").key("copy").copy_source("clinic/record").send().await.unwrap();
    let answer = gateway.whereis("european", "copy");
    assert_eq!((&answer["location"], &answer["subjects"]), (&"cn-north".into(), &serde_json::json!(["CN"])));

    // Whom else the copy is said to be about counts too: two laws, and no place for both.
    let refused = client.copy_object().bucket("european").key("both").copy_source("clinic/record");
    let tags = "data-class=personal&subject-country=DE";
    let refused = failed(refused.tagging_directive(TaggingDirective::Replace).tagging(tags).send().await);
    refused.is(403, "AccessDenied");
    assert!(refused.message.contains("Personal Information Protection Law"), "{refused:?}");
    gateway.settled_disks_with(b"copied record", &["cn-north"]).await;
    failed(client.head_object().bucket("european").key("both").send().await).is(404, "NotFound");
}

#[tokio::test]
async fn what_a_copy_turns_out_to_hold_steers_the_next_try() {
    let gateway = Gateway::demo().await;
    let client = gateway.client();
    bucket(&client, "clinic").await;
    let second = gateway.client_with(aws_sdk_s3::config::retry::RetryConfig::disabled(), "eu-central-1");
    bucket(&second, "european").await;

    // Cut in two, a number is seen in neither part; in the copy it is whole.
    let mut text = clean_text(5 << 20);
    text.extend(format!("\nid card: {CN_RESIDENT_ID}\n").bytes());
    let middle = text.len() - 10;
    let create = client.create_multipart_upload().bucket("clinic").key("cut").send().await.unwrap();
    let id = create.upload_id().unwrap();
    let mut parts = Vec::new();
    for (number, half) in [(1, &text[..middle]), (2, &text[middle..])] {
        let part = client.upload_part().bucket("clinic").key("cut").upload_id(id).part_number(number);
        let tag = part.body(ByteStream::from(half.to_vec())).send().await.unwrap();
        parts.push(CompletedPart::builder().part_number(number).e_tag(tag.e_tag().unwrap()).build());
    }
    let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
    let complete = client.complete_multipart_upload().bucket("clinic").key("cut").upload_id(id);
    complete.multipart_upload(parts).send().await.unwrap();
    assert_eq!(gateway.whereis("clinic", "cut")["location"], "us-east");

    let copy = || second.copy_object().bucket("european").key("copy").copy_source("clinic/cut").send();
    failed(copy().await).is(503, "SlowDown");
    copy().await.unwrap();
    assert_eq!(gateway.whereis("european", "copy")["location"], "cn-north");
}

/// Not over `s3s-fs`, which knows no conditions on reads.
#[tokio::test]
async fn a_copy_holds_the_conditions_on_its_source() {
    let gateway = Gateway::demo().await;
    let client = gateway.client();
    bucket(&client, "clinic").await;
    bucket_in(&client, "european", "eu-central-1").await;
    put(&client, "clinic", "note", "nothing of note").await;
    for to in ["clinic", "european"] {
        let copy = || client.copy_object().bucket(to).key("copy").copy_source("clinic/note");
        failed(copy().copy_source_if_match("\"0\"").send().await).is(412, "PreconditionFailed");
        let tag = client.head_object().bucket("clinic").key("note").send().await.unwrap();
        let tag = tag.e_tag().unwrap();
        failed(copy().copy_source_if_none_match(tag).send().await).is(412, "PreconditionFailed");
        copy().copy_source_if_match(tag).send().await.unwrap();
        assert_eq!(get(&client, to, "copy").await, b"nothing of note");
    }
}

#[tokio::test]
async fn tags_travel_with_a_copy_across_countries() {
    let gateway = Gateway::demo().await;
    let client = gateway.client();
    bucket(&client, "clinic").await;
    bucket_in(&client, "chinese", "cn-north-1").await;
    put_tagged(&client, "clinic", "note", "data-class=non_personal&ward=3%20b", "nothing of note").await;
    assert_eq!(gateway.whereis("clinic", "note")["location"], "us-east");
    client.copy_object().bucket("chinese").key("note").copy_source("clinic/note").send().await.unwrap();
    assert_eq!(gateway.whereis("chinese", "note")["location"], "cn-north");
    let tags = client.get_object_tagging().bucket("chinese").key("note").send().await.unwrap();
    assert!(tags.tag_set().iter().any(|tag| (tag.key(), tag.value()) == ("ward", "3 b")));
    put(&client, "clinic", "note", "overwritten").await;
    assert_eq!(get(&client, "chinese", "note").await, b"nothing of note");
}
