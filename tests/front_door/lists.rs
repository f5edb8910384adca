//! Lists: one list of what rests in many countries.

use aws_sdk_s3::Client;

use crate::app::{bucket, failed, keys, put, put_tagged};
use crate::support::gateway::Gateway;
use crate::support::raw::Raw;

over_both_kinds_of_store!(
    a_list_shows_all_countries_in_one_order,
    a_list_by_pages_shows_every_key_once,
    a_delimiter_folds_what_shares_a_prefix,
    the_first_version_lists_too,
);

/// Keys whose objects rest in three countries.
const SPREAD: [(&str, &str); 7] =
    [("a/1", "CN"), ("a/2", "DE"), ("b", "CN"), ("c/x/1", "US"), ("c/y", "DE"), ("d", "US"), ("e/z", "CN")];

async fn spread(client: &Client) {
    bucket(client, "clinic").await;
    for (key, country) in SPREAD {
        put_tagged(client, "clinic", key, &format!("data-class=personal&subject-country={country}"), key)
            .await;
    }
}

async fn a_list_shows_all_countries_in_one_order(gateway: Gateway) {
    let client = gateway.client();
    spread(&client).await;
    let list = client.list_objects_v2().bucket("clinic").fetch_owner(true).send().await.unwrap();
    let all: Vec<_> = SPREAD.iter().map(|(key, _)| *key).collect();
    assert_eq!(list.contents().iter().map(|object| object.key().unwrap()).collect::<Vec<_>>(), all);
    assert_eq!((list.key_count(), list.is_truncated()), (Some(7), Some(false)));
    for object in list.contents() {
        assert_eq!(object.size(), Some(object.key().unwrap().len() as i64));
        assert!(object.last_modified().is_some());
        // `s3s-fs` lists no ETags.
        let tagged = object.e_tag().is_some_and(|tag| tag.len() == 34);
        assert!(tagged || !gateway.servers().is_empty());
    }
    let list = client.list_objects_v2().bucket("clinic").start_after("b").send().await.unwrap();
    assert_eq!(list.contents()[0].key(), Some("c/x/1"));
    let list = client.list_objects_v2().bucket("clinic").prefix("c/").send().await.unwrap();
    assert_eq!(
        list.contents().iter().map(|object| object.key().unwrap()).collect::<Vec<_>>(),
        ["c/x/1", "c/y"]
    );
    let list = client.list_objects_v2().bucket("clinic").prefix("nothing").send().await.unwrap();
    assert_eq!((list.contents().len(), list.key_count()), (0, Some(0)));
}

async fn a_list_by_pages_shows_every_key_once(gateway: Gateway) {
    let client = gateway.client();
    spread(&client).await;
    for size in 1..=4 {
        let mut pages = client.list_objects_v2().bucket("clinic").into_paginator().page_size(size).send();
        let mut seen = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.unwrap();
            assert!(page.contents().len() <= size as usize);
            seen.extend(page.contents().iter().map(|object| object.key().unwrap().to_owned()));
        }
        assert_eq!(seen, SPREAD.map(|(key, _)| key), "pages of {size}");
    }
}

async fn a_delimiter_folds_what_shares_a_prefix(gateway: Gateway) {
    let client = gateway.client();
    spread(&client).await;
    for size in [1, 2, 1000] {
        let mut token = None;
        let mut seen = Vec::new();
        loop {
            let page = client
                .list_objects_v2()
                .bucket("clinic")
                .delimiter("/")
                .max_keys(size)
                .set_continuation_token(token)
                .send()
                .await
                .unwrap();
            seen.extend(page.common_prefixes().iter().map(|prefix| prefix.prefix().unwrap().to_owned()));
            seen.extend(page.contents().iter().map(|object| object.key().unwrap().to_owned()));
            token = page.next_continuation_token().map(str::to_owned);
            assert_eq!(token.is_some(), page.is_truncated() == Some(true));
            if token.is_none() {
                break;
            }
        }
        seen.sort_unstable();
        assert_eq!(seen, ["a/", "b", "c/", "d", "e/"], "pages of {size}");
    }
    let below = client.list_objects_v2().bucket("clinic").delimiter("/").prefix("c/").send().await.unwrap();
    assert_eq!(below.common_prefixes()[0].prefix(), Some("c/x/"));
    assert_eq!(below.contents()[0].key(), Some("c/y"));

    // A prefix is gone with the last object below it.
    client.delete_object().bucket("clinic").key("e/z").send().await.unwrap();
    let page = client.list_objects_v2().bucket("clinic").delimiter("/").send().await.unwrap();
    assert_eq!(page.common_prefixes().len(), 2);
}

async fn the_first_version_lists_too(gateway: Gateway) {
    let client = gateway.client();
    spread(&client).await;
    let first = client.list_objects().bucket("clinic").max_keys(3).send().await.unwrap();
    assert_eq!(first.is_truncated(), Some(true));
    let last = first.contents().last().unwrap().key().unwrap();
    let rest = client.list_objects().bucket("clinic").marker(last).send().await.unwrap();
    assert_eq!(
        rest.contents().iter().map(|object| object.key().unwrap()).collect::<Vec<_>>(),
        ["c/x/1", "c/y", "d", "e/z"]
    );
    let folded = client.list_objects().bucket("clinic").delimiter("/").max_keys(2).send().await.unwrap();
    assert_eq!(folded.next_marker(), Some("b"));
}

#[tokio::test]
async fn a_list_hides_what_was_put_past_the_gateway() {
    let gateway = Gateway::remote().await;
    let client = gateway.client();
    bucket(&client, "clinic").await;
    put(&client, "clinic", "known", "by the gateway").await;
    for server in gateway.servers() {
        std::fs::write(server.object("clinic/stray"), "by somebody else").unwrap();
    }
    assert_eq!(keys(&client, "clinic").await, ["known"]);
    failed(client.get_object().bucket("clinic").key("stray").send().await).is(404, "NoSuchKey");
    failed(client.delete_bucket().bucket("clinic").send().await).is(409, "BucketNotEmpty");
}

#[tokio::test]
async fn a_forged_token_lists_nothing() {
    let gateway = Gateway::demo().await;
    let client = gateway.client();
    spread(&client).await;
    let page = client.list_objects_v2().bucket("clinic").max_keys(1).send().await.unwrap();
    let token = page.next_continuation_token().unwrap().to_owned();
    let mut changed = token.clone();
    changed.replace_range(20..21, if &token[20..21] == "A" { "B" } else { "A" });
    for forged in ["x", &changed, &token[1..]] {
        let target = format!("/clinic?continuation-token={forged}&list-type=2");
        Raw::new(&gateway, "GET", &target).sign().send().await.refused(400, "InvalidArgument");
    }
    // A token is for its own list.
    bucket(&client, "other").await;
    let elsewhere = client.list_objects_v2().bucket("other").continuation_token(&token).send().await;
    failed(elsewhere).is(400, "InvalidArgument");
    let otherwise =
        client.list_objects_v2().bucket("clinic").prefix("c/").continuation_token(&token).send().await;
    failed(otherwise).is(400, "InvalidArgument");
}
