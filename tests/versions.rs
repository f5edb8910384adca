//! Requests that name a version where none are kept.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use aws_sdk_s3::Client;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::primitives::ByteStream;
use tempfile::TempDir;

struct Gateway {
    process: Child,
    _data: TempDir,
    client: Client,
}

impl Gateway {
    fn start() -> Gateway {
        let data = tempfile::tempdir().unwrap();
        let mut process = Command::new(env!("CARGO_BIN_EXE_domicile"))
            .args(["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--data"])
            .arg(data.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let endpoint = line.split("serves S3 at ").nth(1).unwrap().trim().to_owned();
        let credentials = std::fs::read_to_string(data.path().join("credentials")).unwrap();
        let value = |name: &str| {
            let line = credentials.lines().find(|line| line.starts_with(name)).unwrap();
            line.split_once(" = ").unwrap().1.to_owned()
        };
        let credentials =
            Credentials::new(value("aws_access_key_id"), value("aws_secret_access_key"), None, None, "test");
        let config = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .endpoint_url(endpoint)
            .credentials_provider(credentials)
            .force_path_style(true)
            .build();
        Gateway { process, _data: data, client: Client::from_conf(config) }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test]
async fn a_request_for_another_version_neither_deletes_nor_reads_the_object() {
    let gateway = Gateway::start();
    let client = &gateway.client;
    client.create_bucket().bucket("bucket").send().await.unwrap();
    let body = ByteStream::from_static(b"kept");
    client.put_object().bucket("bucket").key("key").body(body).send().await.unwrap();

    let refused = client.delete_object().bucket("bucket").key("key").version_id("other").send().await;
    assert_eq!(refused.unwrap_err().code(), Some("InvalidArgument"));
    let missing = client.get_object().bucket("bucket").key("key").version_id("other").send().await;
    assert_eq!(missing.unwrap_err().code(), Some("InvalidArgument"));

    let read = client.get_object().bucket("bucket").key("key").version_id("null").send().await.unwrap();
    assert_eq!(read.body.collect().await.unwrap().into_bytes(), "kept");
    client.delete_object().bucket("bucket").key("key").version_id("null").send().await.unwrap();
    let gone = client.get_object().bucket("bucket").key("key").send().await;
    assert_eq!(gone.unwrap_err().code(), Some("NoSuchKey"));
}
