//! Buckets that keep versions, as an SDK sees them.

use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{BucketVersioningStatus, Delete, ObjectIdentifier, VersioningConfiguration};

use crate::app::{bucket, failed, get, keys, put, put_tagged};
use crate::support::gateway::{Gateway, run};

const CHINESE: &str = "data-class=personal.health&subject-country=CN";
const GERMAN: &str = "data-class=personal.health&subject-country=DE";

async fn keep_versions(client: &Client, bucket: &str, status: BucketVersioningStatus) {
    let configuration = VersioningConfiguration::builder().status(status).build();
    let request = client.put_bucket_versioning().bucket(bucket).versioning_configuration(configuration);
    request.send().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn versions_in_two_countries_are_one_history_for_an_app() {
    let mut gateway = Gateway::demo().await;
    let client = gateway.client();
    bucket(&client, "clinic").await;
    keep_versions(&client, "clinic", BucketVersioningStatus::Enabled).await;
    let status = client.get_bucket_versioning().bucket("clinic").send().await.unwrap();
    assert_eq!(status.status(), Some(&BucketVersioningStatus::Enabled));

    put_tagged(&client, "clinic", "record", CHINESE, "the first record").await;
    put_tagged(&client, "clinic", "record", GERMAN, "the second record").await;
    gateway.settled_disks_with(b"the first record", &["cn-north"]).await;
    gateway.settled_disks_with(b"the second record", &["eu-central"]).await;
    assert_eq!(get(&client, "clinic", "record").await, b"the second record");
    assert_eq!(keys(&client, "clinic").await, ["record"]);
    let list = client.list_object_versions().bucket("clinic").send().await.unwrap();
    let versions = list.versions();
    assert_eq!(versions.iter().map(|v| v.is_latest()).collect::<Vec<_>>(), [Some(true), Some(false)]);
    let older = versions[1].version_id().unwrap();
    let read = client.get_object().bucket("clinic").key("record").version_id(older).send().await.unwrap();
    assert_eq!(read.version_id(), Some(older));
    assert_eq!(read.body.collect().await.unwrap().into_bytes(), "the first record");

    let deleted = client.delete_object().bucket("clinic").key("record").send().await.unwrap();
    assert_eq!(deleted.delete_marker(), Some(true));
    assert!(keys(&client, "clinic").await.is_empty());
    failed(client.get_object().bucket("clinic").key("record").send().await).is(404, "NoSuchKey");
    failed(client.delete_bucket().bucket("clinic").send().await).is(409, "BucketNotEmpty");

    // As tools empty such a bucket: page by page, all that the page has.
    let mut pages = client.list_object_versions().bucket("clinic").max_keys(2).send().await.unwrap();
    loop {
        let versions = pages.versions().iter().map(|v| (v.key(), v.version_id()));
        let markers = pages.delete_markers().iter().map(|m| (m.key(), m.version_id()));
        let named = versions.chain(markers).map(|(key, id)| {
            ObjectIdentifier::builder()
                .key(key.unwrap())
                .set_version_id(id.map(str::to_owned))
                .build()
                .unwrap()
        });
        let delete = Delete::builder().set_objects(Some(named.collect())).build().unwrap();
        let done = client.delete_objects().bucket("clinic").delete(delete).send().await.unwrap();
        assert!(done.errors().is_empty());
        if pages.is_truncated() != Some(true) {
            break;
        }
        let next = client.list_object_versions().bucket("clinic").max_keys(2);
        let next = next.set_key_marker(pages.next_key_marker().map(str::to_owned));
        let next = next.set_version_id_marker(pages.next_version_id_marker().map(str::to_owned));
        pages = next.send().await.unwrap();
    }
    gateway.settled_disks_with(b"the first record", &[]).await;
    gateway.settled_disks_with(b"the second record", &[]).await;
    client.delete_bucket().bucket("clinic").send().await.unwrap();
    gateway.signal("TERM");
    assert!(gateway.ended().await.success());
    let output = run(&["audit", "verify", "--data", gateway.data().to_str().unwrap()]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn suspended_versions_go_on_as_the_version_null() {
    let gateway = Gateway::demo().await;
    let client = gateway.client();
    bucket(&client, "clinic").await;
    put(&client, "clinic", "note", "before").await;
    keep_versions(&client, "clinic", BucketVersioningStatus::Enabled).await;
    let body = ByteStream::from_static(b"during");
    let during = client.put_object().bucket("clinic").key("note").body(body).send().await.unwrap();
    keep_versions(&client, "clinic", BucketVersioningStatus::Suspended).await;
    let null = || client.get_object().bucket("clinic").key("note").version_id("null").send();
    assert_eq!(null().await.unwrap().body.collect().await.unwrap().into_bytes(), "before");
    let body = ByteStream::from_static(b"after");
    let after = client.put_object().bucket("clinic").key("note").body(body).send().await.unwrap();
    assert_eq!(after.version_id(), Some("null"));
    assert_eq!(null().await.unwrap().body.collect().await.unwrap().into_bytes(), "after");
    gateway.settled_disks_with(b"before", &[]).await;
    client.delete_object().bucket("clinic").key("note").version_id("null").send().await.unwrap();
    assert_eq!(get(&client, "clinic", "note").await, b"during");
    let head = client.head_object().bucket("clinic").key("note").send().await.unwrap();
    assert_eq!(head.version_id(), during.version_id());
}

/// `s3s-fs` keeps one version of each object.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_keeps_no_versions_where_a_location_cannot() {
    let gateway = Gateway::remote().await;
    let client = gateway.client();
    bucket(&client, "clinic").await;
    put(&client, "clinic", "note", "text").await;
    let configuration = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
    let refused = client.put_bucket_versioning().bucket("clinic").versioning_configuration(configuration);
    let refused = failed(refused.send().await);
    refused.is(501, "NotImplemented");
    assert!(refused.message.contains("cn-north"), "{}", refused.message);
    let status = client.get_bucket_versioning().bucket("clinic").send().await.unwrap();
    assert_eq!(status.status(), None);
    put(&client, "clinic", "note", "other text").await;
    assert_eq!(get(&client, "clinic", "note").await, b"other text");
    let list = client.list_object_versions().bucket("clinic").send().await.unwrap();
    assert_eq!(list.versions().len(), 1);
    assert_eq!(list.versions()[0].version_id(), Some("null"));
}
