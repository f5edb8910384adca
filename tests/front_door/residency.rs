//! The reason for all of it: an object rests where its labels allow, and nowhere else, not even for a moment.

use aws_sdk_s3::primitives::ByteStream;

use crate::app::{CN_RESIDENT_ID, bucket, bucket_in, clean_text, failed, get, put, put_tagged};
use crate::support::gateway::Gateway;
use crate::support::raw::Raw;

over_both_kinds_of_store!(
    tags_send_an_object_to_its_country,
    a_refusal_names_its_rule_and_leaves_nothing,
    what_is_found_in_the_content_sends_an_object_to_its_country,
    what_is_found_late_is_stored_nowhere_and_goes_right_the_next_time,
);

async fn tags_send_an_object_to_its_country(gateway: Gateway) {
    let client = gateway.client();
    bucket(&client, "clinic").await;
    for (tags, location, labels) in [
        ("data-class=personal.health&subject-country=CN", "cn-north", "personal.health;CN"),
        ("data-class=personal.health&subject-country=DE", "eu-central", "personal.health;DE"),
        ("data-class=state.important&subject-country=CN", "cn-north", "state.important;CN"),
        ("data-class=non_personal", "us-east", "non_personal"),
        ("ward=3", "us-east", "unlabelled"),
        ("data-class=personal.gov_id&subject-country=IN", "in-west", "personal.gov_id;IN"),
    ] {
        let body = format!("an object with the tags {tags}");
        let put = Raw::new(&gateway, "PUT", "/clinic/o").header("x-amz-tagging", tags).body(body.clone());
        let answer = put.sign().send().await;
        assert_eq!(answer.status, 200, "{tags}: {}", answer.text());
        assert_eq!(answer.header("x-domicile-location"), Some(location), "{tags}");
        assert_eq!(answer.header("x-domicile-labels"), Some(labels), "{tags}");
        let receipt = answer.header("x-domicile-receipt").unwrap().to_owned();
        let found = gateway.whereis("clinic", "o");
        assert_eq!(found["location"], location, "{tags}");
        let last =
            found["history"].as_array().unwrap().iter().find(|line| line["receipt"] == receipt.as_str());
        assert_eq!(last.unwrap_or_else(|| panic!("no {receipt} in {found}"))["event"], "write");
        assert_eq!(get(&client, "clinic", "o").await, body.as_bytes());
        gateway.settled_disks_with(body.as_bytes(), &[location]).await;
    }
}

async fn a_refusal_names_its_rule_and_leaves_nothing(gateway: Gateway) {
    let client = gateway.client();
    bucket(&client, "clinic").await;
    let refused = |tags: &str, body: Vec<u8>| {
        let put = client.put_object().bucket("clinic").key("refused").tagging(tags);
        put.body(ByteStream::from(body)).send()
    };

    // Nobody has a place in Russia.
    let russian = failed(refused("data-class=personal&subject-country=RU", b"marker-ru".to_vec()).await);
    russian.is(403, "AccessDenied");
    assert_eq!(russian.rule.as_deref(), Some("RU-152-18-5"));
    for part in ["Federal Law 152-FZ", "Art. 18(5)", "Remedy: Use a location in RU"] {
        assert!(russian.message.contains(part), "{part}: {}", russian.message);
    }

    // Two laws that no place satisfies: both are named.
    let both = failed(refused("data-class=personal&subject-country=CN%20DE", b"marker-both".to_vec()).await);
    both.is(403, "AccessDenied");
    for part in ["CN-PIPL-38", "EU-GDPR-45", "Personal Information Protection Law", "GDPR"] {
        assert!(both.message.contains(part) || both.rule.as_deref() == Some(part), "{part}: {both:?}");
    }

    // Personal data of nobody knows whom.
    let nobody = failed(refused("data-class=personal", b"marker-nobody".to_vec()).await);
    nobody.is(403, "AccessDenied");
    assert_eq!(nobody.rule.as_deref(), Some("BASE-SUBJECT-UNKNOWN"));
    assert!(nobody.message.contains("subject-country"), "{}", nobody.message);

    // A large body gets the same answer, not a broken connection.
    let large = [&b"marker-large"[..], &clean_text(8 << 20)].concat();
    failed(refused("data-class=personal&subject-country=RU", large).await).is(403, "AccessDenied");

    failed(refused("data-class=personal.helth&subject-country=CN", b"marker-typo".to_vec()).await)
        .is(400, "InvalidTag");
    failed(refused("data-class=personal&subject-country=XX", b"marker-typo".to_vec()).await)
        .is(400, "InvalidTag");

    for marker in ["marker-ru", "marker-both", "marker-nobody", "marker-large", "marker-typo"] {
        assert_eq!(gateway.disks_with(marker.as_bytes()), [""; 0], "{marker}");
    }
    failed(client.head_object().bucket("clinic").key("refused").send().await).is(404, "NotFound");
    assert_eq!(refusals(gateway).await, 4);
}

/// Refusals that the placement log holds, as its published tiles say.
async fn refusals(mut gateway: Gateway) -> usize {
    // The last checkpoint comes before the end.
    gateway.signal("TERM");
    assert!(gateway.ended().await.success());
    crate::moves::logged(&gateway).iter().filter(|event| *event == "refuse").count()
}

async fn what_is_found_in_the_content_sends_an_object_to_its_country(gateway: Gateway) {
    let client = gateway.client();
    bucket(&client, "clinic").await;
    put(&client, "clinic", "staff", format!("name,id card\nWang,{CN_RESIDENT_ID}\n")).await;
    let found = gateway.whereis("clinic", "staff");
    assert_eq!((&found["location"], &found["subjects"][0]), (&"cn-north".into(), &"CN".into()));
    assert!(found["evidence"].to_string().contains("{\"detector\":\"cn.ric18\"}"), "{found}");
    gateway.settled_disks_with(CN_RESIDENT_ID.as_bytes(), &["cn-north"]).await;
    // The same in an object that says that it holds nothing personal.
    put_tagged(&client, "clinic", "liar", "data-class=non_personal", format!("id card: {CN_RESIDENT_ID}"))
        .await;
    assert_eq!(gateway.whereis("clinic", "liar")["location"], "cn-north");
    // A number of the same shape that is nobody's.
    put(&client, "clinic", "parts", "id card: 110105194912310021").await;
    assert_eq!(gateway.whereis("clinic", "parts")["location"], "us-east");
}

async fn what_is_found_late_is_stored_nowhere_and_goes_right_the_next_time(gateway: Gateway) {
    let client = gateway.client();
    bucket(&client, "clinic").await;
    let mut text = [&b"marker-late\n"[..], &clean_text(3 << 20)].concat();
    text.extend(format!("\nid card: {CN_RESIDENT_ID}\n").bytes());
    text.extend(clean_text(1 << 20));
    let write =
        || client.put_object().bucket("clinic").key("late").body(ByteStream::from(text.clone())).send();
    let late = failed(write().await);
    late.is(503, "SlowDown");
    assert_eq!(late.rule.as_deref(), Some("CN-PIPL-38"));
    failed(client.head_object().bucket("clinic").key("late").send().await).is(404, "NotFound");
    gateway.settled_disks_with(CN_RESIDENT_ID.as_bytes(), &[]).await;
    gateway.settled_disks_with(b"marker-late", &[]).await;

    write().await.unwrap();
    assert_eq!(gateway.whereis("clinic", "late")["location"], "cn-north");
    gateway.settled_disks_with(b"marker-late", &["cn-north"]).await;
    assert!(get(&client, "clinic", "late").await == text);
    assert!(refusals(gateway).await == 1, "a late finding is a refusal of a place, and logged");
}

#[tokio::test]
async fn an_sdk_that_tries_again_by_itself_does_not_see_a_late_finding() {
    let gateway = Gateway::demo().await;
    let retrying = aws_sdk_s3::config::retry::RetryConfig::standard();
    let client = gateway.client_with(retrying, "us-east-1");
    bucket(&client, "clinic").await;
    let text = [clean_text(2 << 20), format!("\nid card: {CN_RESIDENT_ID}\n").into_bytes()].concat();
    put(&client, "clinic", "late", text).await;
    assert_eq!(gateway.whereis("clinic", "late")["location"], "cn-north");
}

#[tokio::test]
async fn a_bucket_says_whom_its_objects_are_about() {
    let gateway = Gateway::demo().await;
    let client = gateway.client();
    bucket_in(&client, "german", "eu-central-1").await;
    put_tagged(&client, "german", "record", "data-class=personal.health", "about somebody").await;
    let found = gateway.whereis("german", "record");
    assert_eq!((&found["location"], &found["subjects"][0]), (&"eu-central".into(), &"DE".into()));
    // A tag knows better.
    put_tagged(&client, "german", "guest", "data-class=personal.health&subject-country=CN", "about a guest")
        .await;
    assert_eq!(gateway.whereis("german", "guest")["location"], "cn-north");
}
