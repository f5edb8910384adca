//! Multipart uploads: pinned to a country when they begin, judged when they end.

use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};

use crate::app::{CN_RESIDENT_ID, bucket, clean_text, failed, get, keys, put, put_tagged};
use crate::support::gateway::{Gateway, LOCATIONS};
use crate::support::raw::Raw;

over_both_kinds_of_store!(
    parts_in_any_order_become_one_object,
    an_upload_that_is_aborted_leaves_nothing,
    a_part_can_be_copied_from_another_country,
    an_upload_goes_where_its_tags_say,
);

const LEAST: usize = 5 << 20;

async fn begin(client: &Client, key: &str) -> String {
    let answer = client.create_multipart_upload().bucket("clinic").key(key).send().await.unwrap();
    answer.upload_id().unwrap().to_owned()
}

async fn part(client: &Client, key: &str, id: &str, number: i32, body: impl Into<Vec<u8>>) -> CompletedPart {
    let body = ByteStream::from(body.into());
    let part = client.upload_part().bucket("clinic").key(key).upload_id(id).part_number(number).body(body);
    let answer = part.send().await.unwrap();
    CompletedPart::builder().part_number(number).e_tag(answer.e_tag().unwrap()).build()
}

fn these(parts: &[CompletedPart]) -> CompletedMultipartUpload {
    CompletedMultipartUpload::builder().set_parts(Some(parts.to_vec())).build()
}

async fn parts_in_any_order_become_one_object(gateway: Gateway) {
    let client = gateway.client();
    bucket(&client, "clinic").await;
    let id = begin(&client, "big").await;
    let third = part(&client, "big", &id, 3, "the end").await;
    let first = part(&client, "big", &id, 1, vec![b'a'; LEAST]).await;
    let second = part(&client, "big", &id, 2, vec![b'b'; LEAST]).await;

    let list = client.list_parts().bucket("clinic").key("big").upload_id(&id).send().await.unwrap();
    let mut numbers: Vec<_> = list.parts().iter().map(|part| part.part_number().unwrap()).collect();
    if !gateway.servers().is_empty() {
        // `s3s-fs` lists parts as its folder does.
        numbers.sort_unstable();
    }
    assert_eq!(numbers, [1, 2, 3]);
    assert_eq!(list.upload_id(), Some(id.as_str()));
    // Until it is complete, there is no object.
    failed(client.get_object().bucket("clinic").key("big").send().await).is(404, "NoSuchKey");
    assert!(keys(&client, "clinic").await.is_empty());

    let complete = client.complete_multipart_upload().bucket("clinic").key("big").upload_id(&id);
    let answer = complete.multipart_upload(these(&[first, second, third])).send().await.unwrap();
    assert!(answer.e_tag().is_some_and(|tag| tag.ends_with("-3\"")), "{answer:?}");
    let body = get(&client, "clinic", "big").await;
    assert_eq!(body.len(), 2 * LEAST + 7);
    assert_eq!((body[0], body[LEAST], &body[2 * LEAST..]), (b'a', b'b', &b"the end"[..]));
    assert_eq!(keys(&client, "clinic").await, ["big"]);
    let answer = gateway.whereis("clinic", "big");
    assert_eq!((&answer["location"], &answer["size"]), (&"us-east".into(), &(2 * LEAST + 7).into()));
}

async fn an_upload_that_is_aborted_leaves_nothing(gateway: Gateway) {
    let client = gateway.client();
    bucket(&client, "clinic").await;
    let id = begin(&client, "big").await;
    part(&client, "big", &id, 1, "a part that will never be an object").await;
    client.abort_multipart_upload().bucket("clinic").key("big").upload_id(&id).send().await.unwrap();
    let list = client.list_parts().bucket("clinic").key("big").upload_id(&id).send().await;
    if gateway.servers().is_empty() {
        failed(list).is(404, "NoSuchUpload");
    } else {
        // `s3s-fs` has an empty list for what it does not know.
        assert!(list.unwrap().parts().is_empty());
    }
    assert!(keys(&client, "clinic").await.is_empty());
    gateway.settled_disks_with(b"a part that will never be", &[]).await;
}

async fn a_part_can_be_copied_from_another_country(gateway: Gateway) {
    let client = gateway.client();
    bucket(&client, "clinic").await;
    let mut source = vec![b's'; LEAST];
    source.extend(b"and some more");
    put_tagged(&client, "clinic", "source", "data-class=non_personal", source.clone()).await;
    let german = "data-class=personal&subject-country=DE";
    let answer =
        client.create_multipart_upload().bucket("clinic").key("big").tagging(german).send().await.unwrap();
    let id = answer.upload_id().unwrap();
    let copy = |number| {
        let copy = client.upload_part_copy().bucket("clinic").key("big").upload_id(id);
        copy.part_number(number).copy_source("clinic/source")
    };
    let whole = copy(1).send().await.unwrap();
    let range = copy(2).copy_source_range("bytes=2-5").send().await.unwrap();
    let parts = [(1, &whole), (2, &range)].map(|(number, part)| {
        let tag = part.copy_part_result().unwrap().e_tag().unwrap();
        CompletedPart::builder().part_number(number).e_tag(tag).build()
    });
    let complete = client.complete_multipart_upload().bucket("clinic").key("big").upload_id(id);
    complete.multipart_upload(these(&parts)).send().await.unwrap();
    assert!(get(&client, "clinic", "big").await == [&source[..], b"ssss"].concat());
    assert_eq!(gateway.whereis("clinic", "big")["location"], "eu-central");
}

async fn an_upload_goes_where_its_tags_say(gateway: Gateway) {
    let client = gateway.client();
    bucket(&client, "clinic").await;
    for (country, home) in [("CN", "cn-north"), ("DE", "eu-central")] {
        let tags = format!("data-class=personal.health&subject-country={country}");
        let create = client.create_multipart_upload().bucket("clinic").key(country).tagging(tags);
        let id = create.send().await.unwrap().upload_id().unwrap().to_owned();
        let text = format!("record of a patient in {country}");
        let only = part(&client, country, &id, 1, text.clone()).await;
        let complete = client.complete_multipart_upload().bucket("clinic").key(country).upload_id(&id);
        complete.multipart_upload(these(&[only])).send().await.unwrap();
        let answer = gateway.whereis("clinic", country);
        assert_eq!(answer["location"], home);
        assert_eq!(answer["classes"][0], "personal.health");
        gateway.settled_disks_with(text.as_bytes(), &[home]).await;
    }
    let conflict = "data-class=personal.health&subject-country=CN%20DE";
    let refused =
        client.create_multipart_upload().bucket("clinic").key("both").tagging(conflict).send().await;
    let refused = failed(refused);
    refused.is(403, "AccessDenied");
    assert!(refused.rule.is_some());
}

#[tokio::test]
async fn an_upload_pinned_to_the_wrong_country_takes_no_such_part_and_the_next_one_is_pinned_right() {
    let gateway = Gateway::demo().await;
    let client = gateway.client();
    bucket(&client, "clinic").await;
    let id = begin(&client, "staff").await;
    part(&client, "staff", &id, 1, clean_text(LEAST)).await;
    let found = format!("name,id card\nWang,{CN_RESIDENT_ID}\n");
    let body = ByteStream::from(found.clone().into_bytes());
    let second = client.upload_part().bucket("clinic").key("staff").upload_id(&id).part_number(2).body(body);
    let refused = failed(second.send().await);
    refused.is(403, "AccessDenied");
    assert_eq!(refused.rule.as_deref(), Some("CN-PIPL-38"));
    assert!(refused.message.contains("Begin a new upload"), "{}", refused.message);
    assert_eq!(gateway.disks_with(CN_RESIDENT_ID.as_bytes()), [""; 0]);
    // The gateway has thrown it away: the parts may not rest there.
    let abort = client.abort_multipart_upload().bucket("clinic").key("staff").upload_id(&id).send().await;
    failed(abort).is(404, "NoSuchUpload");

    let id = begin(&client, "staff").await;
    let only = part(&client, "staff", &id, 1, found).await;
    let complete = client.complete_multipart_upload().bucket("clinic").key("staff").upload_id(&id);
    complete.multipart_upload(these(&[only])).send().await.unwrap();
    assert_eq!(gateway.whereis("clinic", "staff")["location"], "cn-north");
    gateway.settled_disks_with(CN_RESIDENT_ID.as_bytes(), &["cn-north"]).await;
}

#[tokio::test]
async fn uploads_under_way_are_listed_over_all_countries() {
    let gateway = Gateway::demo().await;
    let client = gateway.client();
    bucket(&client, "clinic").await;
    let mut begun = Vec::new();
    for (n, (_, country, _)) in LOCATIONS.iter().enumerate().take(3) {
        let key = format!("u/{n}");
        let tags = format!("data-class=personal&subject-country={country}");
        let create = client.create_multipart_upload().bucket("clinic").key(&key).tagging(tags);
        begun.push((key, create.send().await.unwrap().upload_id().unwrap().to_owned()));
    }
    let list = client.list_multipart_uploads().bucket("clinic").send().await.unwrap();
    let listed: Vec<_> = list
        .uploads()
        .iter()
        .map(|upload| (upload.key().unwrap().to_owned(), upload.upload_id().unwrap().to_owned()))
        .collect();
    assert_eq!(listed, begun);
    let folded = client.list_multipart_uploads().bucket("clinic").delimiter("/").send().await.unwrap();
    assert_eq!(folded.common_prefixes()[0].prefix(), Some("u/"));
    let page = client.list_multipart_uploads().bucket("clinic").max_uploads(2).send().await.unwrap();
    assert_eq!((page.uploads().len(), page.is_truncated()), (2, Some(true)));
    let rest = client
        .list_multipart_uploads()
        .bucket("clinic")
        .key_marker(page.next_key_marker().unwrap())
        .set_upload_id_marker(page.next_upload_id_marker().map(str::to_owned))
        .send()
        .await
        .unwrap();
    assert_eq!(rest.uploads()[0].key(), Some("u/2"));
    // An id that was listed ends its upload.
    for (key, id) in listed {
        client.abort_multipart_upload().bucket("clinic").key(key).upload_id(id).send().await.unwrap();
    }
    assert!(client.list_multipart_uploads().bucket("clinic").send().await.unwrap().uploads().is_empty());
}

#[tokio::test]
async fn a_forged_upload_id_is_no_upload() {
    let gateway = Gateway::demo().await;
    let client = gateway.client();
    bucket(&client, "clinic").await;
    put(&client, "clinic", "victim", "stays").await;
    let id = begin(&client, "big").await;
    let mut changed = id.clone();
    changed.replace_range(30..31, if &id[30..31] == "A" { "B" } else { "A" });
    for forged in ["x", &changed, &id[..id.len() - 1], "../../victim"] {
        let refused = client.list_parts().bucket("clinic").key("big").upload_id(forged).send().await;
        failed(refused).is(404, "NoSuchUpload");
        let target = format!("/clinic/big?partNumber=1&uploadId={}", crate::support::raw::encode(forged));
        Raw::new(&gateway, "PUT", &target).body("part").sign().send().await.refused(404, "NoSuchUpload");
        Raw::new(&gateway, "DELETE", &target.replace("partNumber=1&", ""))
            .sign()
            .send()
            .await
            .refused(404, "NoSuchUpload");
    }
    // An id is for its own key.
    let elsewhere =
        client.abort_multipart_upload().bucket("clinic").key("victim").upload_id(&id).send().await;
    failed(elsewhere).is(404, "NoSuchUpload");
    client.list_parts().bucket("clinic").key("big").upload_id(&id).send().await.unwrap();
}

#[tokio::test]
async fn a_list_of_parts_that_were_never_sent_completes_nothing() {
    let gateway = Gateway::demo().await;
    let client = gateway.client();
    bucket(&client, "clinic").await;
    let id = begin(&client, "big").await;
    let small = part(&client, "big", &id, 1, "small").await;
    let other = part(&client, "big", &id, 2, "smaller").await;
    let complete = |parts: &[CompletedPart]| {
        let complete = client.complete_multipart_upload().bucket("clinic").key("big").upload_id(&id);
        complete.multipart_upload(these(parts)).send()
    };
    let never = CompletedPart::builder().part_number(7).e_tag("\"0\"").build();
    failed(complete(&[never]).await).is(400, "InvalidPart");
    failed(complete(&[other.clone(), small.clone()]).await).is(400, "InvalidPartOrder");
    failed(complete(&[small, other]).await).is(400, "EntityTooSmall");
    failed(complete(&[]).await).is(400, "MalformedXML");
    failed(client.get_object().bucket("clinic").key("big").send().await).is(404, "NoSuchKey");
}
