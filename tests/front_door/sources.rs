//! Where labels come from beside tags, and where readers are: rules, and a country database.

use crate::app::{bucket, bucket_in, get, put, put_tagged};
use crate::support::gateway::{Gateway, Stores};
use crate::support::raw::Raw;

#[path = "../support/mmdb.rs"]
#[allow(dead_code)]
mod mmdb;

const RULES: &str = r#"
[[label.rule]]
id = "lab"
bucket = "clinic*"
key = "lab/**"
classes = ["personal.health"]
subjects = ["CN"]

[[label.rule]]
id = "scans"
content-type = "image/*"
classes = ["personal.biometric"]
subjects = ["DE"]

[geo]
on-site = ["127.0.0.0/8"]
"#;

#[tokio::test]
async fn rules_label_what_they_match() {
    let gateway = Gateway::configured(Stores::Embedded, RULES).await;
    let client = gateway.client();
    bucket(&client, "clinic").await;
    bucket(&client, "other").await;
    put(&client, "clinic", "lab/2026/1", "a result").await;
    put(&client, "clinic", "laboratory", "no result").await;
    put(&client, "other", "lab/1", "no result").await;
    let scan = client.put_object().bucket("other").key("scan").content_type("image/x-scan; layer=1");
    scan.send().await.unwrap();
    for (bucket, key, location, rule) in [
        ("clinic", "lab/2026/1", "cn-north", Some("lab")),
        ("clinic", "laboratory", "us-east", None),
        ("other", "lab/1", "us-east", None),
        ("other", "scan", "eu-central", Some("scans")),
    ] {
        let found = gateway.whereis(bucket, key);
        assert_eq!(found["location"], location, "{bucket}/{key}");
        assert_eq!(
            found["evidence"].to_string().contains(&format!("\"{}\"", rule.unwrap_or("rule"))),
            rule.is_some(),
            "{found}"
        );
    }
}

/// A gateway behind a proxy on this machine, with a database that knows two networks.
async fn behind_a_proxy(more: &str) -> Gateway {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("country.mmdb");
    let database = mmdb::country_database(&[
        ("203.0.113.0/24", "DE"),
        ("198.51.100.0/24", "CN"),
        ("192.0.2.0/24", "US"),
    ]);
    std::fs::write(&path, database).unwrap();
    let config = format!("[geo]\ndatabase = \"{}\"\n\n{more}", path.display());
    // The database is read once, at the start.
    Gateway::configured(Stores::Embedded, &config).await
}

const TRUSTED: &str = "[gateway]\ntrusted-proxies = [\"127.0.0.0/8\"]\n";

async fn put_from(gateway: &Gateway, address: &str, key: &str, tags: &str) -> crate::support::raw::Answer {
    let put = Raw::new(gateway, "PUT", &format!("/clinic/{key}"))
        .header("x-amz-tagging", tags)
        .body("a record")
        .sign();
    put.header("x-forwarded-for", address).send().await
}

async fn get_from(gateway: &Gateway, address: &str, key: &str) -> crate::support::raw::Answer {
    let get = Raw::new(gateway, "GET", &format!("/clinic/{key}")).sign();
    get.header("x-forwarded-for", address).send().await
}

#[tokio::test]
async fn a_clients_country_says_whom_the_data_is_about_when_nothing_else_does() {
    let gateway = behind_a_proxy(TRUSTED).await;
    bucket(&gateway.client(), "clinic").await;
    for (address, location) in [("198.51.100.7", "cn-north"), ("203.0.113.7", "eu-central")] {
        let answer = put_from(&gateway, address, "record", "data-class=personal.health").await;
        assert_eq!(answer.header("x-domicile-location"), Some(location), "{}", answer.text());
    }
    // What stands before the last proxy's own entry, anybody may have written.
    let answer =
        put_from(&gateway, "198.51.100.7, 203.0.113.7", "record", "data-class=personal.health").await;
    assert_eq!(answer.header("x-domicile-location"), Some("eu-central"));
    // An address that nobody knows has no country, and data about nobody knows whom goes nowhere.
    for unknown in ["100.64.0.1", "unknown", ""] {
        let answer = put_from(&gateway, unknown, "record", "data-class=personal.health").await;
        answer.refused(403, "AccessDenied");
        assert_eq!(answer.header("x-domicile-rule"), Some("BASE-SUBJECT-UNKNOWN"));
    }
}

#[tokio::test]
async fn a_forwarded_address_counts_only_from_a_configured_proxy() {
    let gateway = behind_a_proxy("").await;
    bucket(&gateway.client(), "clinic").await;
    let answer = put_from(&gateway, "198.51.100.7", "record", "data-class=personal.health").await;
    answer.refused(403, "AccessDenied");
    assert_eq!(answer.header("x-domicile-rule"), Some("BASE-SUBJECT-UNKNOWN"));
}

#[tokio::test]
async fn a_read_from_abroad_is_decided_and_logged() {
    let mechanism =
        "[[mechanism]]\ntype = \"cac_security_assessment\"\ndestinations = [\"US\"]\nreference = \"CAC-1\"\n";
    let mut gateway = behind_a_proxy(&format!("{TRUSTED}\n{mechanism}")).await;
    // The assessment covers a copy in the US too; at home it is in China.
    bucket_in(&gateway.client(), "clinic", "cn-north-1").await;
    let tags = "data-class=personal.health&subject-country=CN";
    let answer = put_from(&gateway, "198.51.100.7", "record", tags).await;
    assert_eq!(answer.header("x-domicile-location"), Some("cn-north"), "{}", answer.text());

    assert_eq!(get_from(&gateway, "198.51.100.9", "record").await.text(), "a record");
    for abroad in ["203.0.113.7", "100.64.0.1"] {
        let answer = get_from(&gateway, abroad, "record").await;
        answer.refused(403, "AccessDenied");
        assert_eq!(answer.header("x-domicile-rule"), Some("CN-PIPL-38"), "{abroad}");
        assert!(!answer.text().contains("a record"));
        let head = Raw::new(&gateway, "HEAD", "/clinic/record")
            .sign()
            .header("x-forwarded-for", abroad)
            .send()
            .await;
        assert_eq!((head.status, head.body.len()), (403, 0), "{abroad}");
    }
    // Whom the assessment covers may read, and the log says so.
    assert_eq!(get_from(&gateway, "192.0.2.7", "record").await.text(), "a record");

    gateway.signal("TERM");
    assert!(gateway.ended().await.success());
    let count = |wanted: &str| crate::moves::logged(&gateway).iter().filter(|event| *event == wanted).count();
    assert_eq!((count("read"), count("refuse")), (1, 4));
}

#[tokio::test]
async fn a_copy_made_from_abroad_stays_where_its_source_may_rest() {
    let gateway = behind_a_proxy(TRUSTED).await;
    bucket(&gateway.client(), "clinic").await;
    put_from(&gateway, "198.51.100.7", "record", "data-class=personal.health&subject-country=CN").await;
    // The copy stays in China, and nobody abroad sees a byte of it.
    let copy = Raw::new(&gateway, "PUT", "/clinic/copy").header("x-amz-copy-source", "clinic/record").sign();
    let answer = copy.header("x-forwarded-for", "203.0.113.7").send().await;
    assert_eq!(answer.header("x-domicile-location"), Some("cn-north"), "{}", answer.text());
    get_from(&gateway, "203.0.113.7", "copy").await.refused(403, "AccessDenied");
}

#[tokio::test]
async fn what_no_law_binds_is_read_from_anywhere() {
    let gateway = behind_a_proxy(TRUSTED).await;
    let client = gateway.client();
    bucket(&client, "clinic").await;
    put(&client, "clinic", "note", "nothing of note").await;
    assert_eq!(get(&client, "clinic", "note").await, b"nothing of note");
    assert_eq!(get_from(&gateway, "198.51.100.7", "note").await.text(), "nothing of note");
    put_tagged(&client, "clinic", "public", "data-class=non_personal", "for all").await;
    assert_eq!(get_from(&gateway, "203.0.113.7", "public").await.text(), "for all");
}
