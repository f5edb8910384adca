//! A location that the configuration gets later, through the front door.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_s3::primitives::ByteStream;

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

    client.create_bucket().bucket("clinic").send().await.unwrap();
    client
        .put_object()
        .bucket("clinic")
        .key("record")
        .tagging("data-class=personal&subject-country=CN")
        .body(ByteStream::from_static(b"kept in China"))
        .send()
        .await
        .unwrap();
    let list = client.list_objects_v2().bucket("clinic").send().await.unwrap();
    assert_eq!(list.contents().len(), 1);
}
