//! A location that the configuration gets later, through the front door.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{
    DefaultRetention, ObjectLockConfiguration, ObjectLockEnabled, ObjectLockMode, ObjectLockRetentionMode,
    ObjectLockRule,
};

const BASE: &str = r#"
data = "data"
[gateway]
listen = "127.0.0.1:0"
[admin]
listen = "127.0.0.1:0"
[node]
name = "gw-1"
domain = "log.example.org"
country = "DE"
[geo]
on-site = ["127.0.0.0/8"]
[[app]]
id = "app"
access-key-id = "AKIDEXAMPLE"
secret-access-key = "secret"
[[location]]
id = "frankfurt"
country = "DE"
region = "eu-central-1"
provider = "example"
type = "embedded"
path = "frankfurt"
"#;

const LATER: &str = r#"
[[location]]
id = "beijing"
country = "CN"
region = "cn-north-1"
provider = "example"
type = "embedded"
path = "beijing"
"#;

struct Gateway {
    process: Child,
    client: Client,
}

impl Gateway {
    fn start(folder: &Path, configuration: &str) -> Gateway {
        let file = folder.join("domicile.toml");
        std::fs::write(&file, configuration).unwrap();
        let mut process = Command::new(env!("CARGO_BIN_EXE_domicile"))
            .args(["serve", "--config"])
            .arg(file)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let endpoint = line.split("serves S3 at ").nth(1).unwrap().trim().to_owned();
        let config = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .retry_config(RetryConfig::disabled())
            .region(Region::new("us-east-1"))
            .endpoint_url(endpoint)
            .credentials_provider(Credentials::new("AKIDEXAMPLE", "secret", None, None, "test"))
            .force_path_style(true)
            .build();
        Gateway { process, client: Client::from_conf(config) }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test]
async fn creating_a_bucket_again_brings_it_to_a_location_that_was_added_since() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = Gateway::start(folder.path(), BASE);
    gateway.client.create_bucket().bucket("clinic").send().await.unwrap();
    drop(gateway);

    let gateway = Gateway::start(folder.path(), &format!("{BASE}{LATER}"));
    let client = &gateway.client;
    // The new location has no such bucket, so nothing is placed there that a list could hide.
    let list = client.list_objects_v2().bucket("clinic").send().await.unwrap();
    assert!(list.contents().is_empty());

    let put = || {
        let tags = "data-class=personal&subject-country=CN";
        let body = ByteStream::from_static(b"kept in China");
        client.put_object().bucket("clinic").key("record").tagging(tags).body(body).send()
    };
    let refused = put().await.unwrap_err();
    assert!(format!("{refused:?}").contains("location beijing"), "{refused:?}");

    client.create_bucket().bucket("clinic").send().await.unwrap();
    put().await.unwrap();
    let list = client.list_objects_v2().bucket("clinic").send().await.unwrap();
    assert_eq!(list.contents().len(), 1);
}

#[tokio::test]
async fn objects_are_locked_in_a_location_that_was_added_since_as_they_are_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = Gateway::start(folder.path(), BASE);
    let lock = gateway.client.create_bucket().bucket("archive").object_lock_enabled_for_bucket(true);
    lock.send().await.unwrap();
    let retention = DefaultRetention::builder().mode(ObjectLockRetentionMode::Governance).days(30).build();
    let configuration = ObjectLockConfiguration::builder()
        .object_lock_enabled(ObjectLockEnabled::Enabled)
        .rule(ObjectLockRule::builder().default_retention(retention).build())
        .build();
    gateway
        .client
        .put_object_lock_configuration()
        .bucket("archive")
        .object_lock_configuration(configuration)
        .send()
        .await
        .unwrap();
    drop(gateway);

    let gateway = Gateway::start(folder.path(), &format!("{BASE}{LATER}"));
    let client = &gateway.client;
    let create = || client.create_bucket().bucket("archive").object_lock_enabled_for_bucket(true).send();
    create().await.unwrap();
    let stored = client
        .put_object()
        .bucket("archive")
        .key("record")
        .tagging("data-class=personal&subject-country=CN")
        .body(ByteStream::from_static(b"kept in China"))
        .send()
        .await
        .unwrap();
    let version = stored.version_id().unwrap();
    let head = client.head_object().bucket("archive").key("record").send().await.unwrap();
    assert_eq!(head.object_lock_mode(), Some(&ObjectLockMode::Governance));
    let delete = || client.delete_object().bucket("archive").key("record").version_id(version);
    let denied = delete().send().await.unwrap_err().into_service_error();
    assert_eq!(denied.meta().code(), Some("AccessDenied"));
    delete().bypass_governance_retention(true).send().await.unwrap();
}
