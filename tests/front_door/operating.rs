//! Running it: it stops when it is told to, says how it is, and says nothing that it should not.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::app::{bucket, clean_text, failed, get, put, put_tagged};
use crate::support::gateway::{Gateway, ON_SITE, PATIENCE, Stores, eventually, run};
use crate::support::raw::{Answer, Raw, UNSIGNED};

#[tokio::test]
async fn a_stop_lets_an_upload_in_flight_finish() {
    let mut gateway = Gateway::demo().await;
    bucket(&gateway.client(), "clinic").await;
    let data = clean_text(3 << 20);
    let request = Raw::new(&gateway, "PUT", "/clinic/slow").body(data.clone()).sign_with(UNSIGNED);
    let address = gateway.endpoint.strip_prefix("http://").unwrap().to_owned();
    let mut socket = TcpStream::connect(&address).await.unwrap();
    socket.write_all(&[&request.head(), &data[..2 << 20]].concat()).await.unwrap();
    eventually("the upload to be under way", async || {
        gateway.admin_page("/metrics").await.1.contains("domicile_open_intents 1")
    })
    .await;

    gateway.signal("TERM");
    gateway.traced("requests in flight are being finished").await;
    // Nobody new is let in.
    eventually("the door to close", async || TcpStream::connect(&address).await.is_err()).await;
    socket.write_all(&data[2 << 20..]).await.unwrap();
    let mut answer = Vec::new();
    tokio::time::timeout(PATIENCE, socket.read_to_end(&mut answer)).await.unwrap().unwrap();
    assert_eq!(Answer::parse(&answer).unwrap().status, 200);
    assert_eq!(gateway.ended().await.code(), Some(0));

    let found = gateway.whereis("clinic", "slow");
    assert_eq!(found["size"], 3 << 20);
    let output = run(&["audit", "verify", "--data", gateway.data().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
}

#[tokio::test]
async fn the_admin_pages_say_how_it_is() {
    let gateway = Gateway::demo().await;
    let client = gateway.client();
    bucket(&client, "clinic").await;
    put_tagged(&client, "clinic", "record", "data-class=personal&subject-country=CN", "a record").await;
    let russian =
        client.put_object().bucket("clinic").key("r").tagging("data-class=personal&subject-country=RU");
    failed(russian.send().await).is(403, "AccessDenied");
    assert_eq!(gateway.admin_page("/healthz").await, (200, "ok\n".to_owned()));
    assert_eq!(gateway.admin_page("/readyz").await, (200, "ready\n".to_owned()));
    assert_eq!(gateway.admin_page("/clinic/record").await.0, 404);
    let (status, metrics) = gateway.admin_page("/metrics").await;
    assert_eq!(status, 200);
    for line in [
        "domicile_objects_stored_total{location=\"cn-north\"} 1",
        "domicile_refusals_total{rule=\"RU-152-18-5\"} 1",
        "domicile_location_healthy{location=\"eu-central\"} 1",
        "domicile_open_intents 0",
        "# EOF",
    ] {
        assert!(metrics.contains(line), "no `{line}` in {metrics}");
    }
    assert!(!metrics.contains("clinic") && !metrics.contains("record"), "names are personal: {metrics}");
    // The S3 door has no such pages.
    Raw::new(&gateway, "GET", "/metrics").send().await.refused(403, "AccessDenied");
}

#[tokio::test]
async fn no_name_stands_in_the_trace() {
    let gateway = Gateway::configured(Stores::Embedded, ON_SITE).await;
    let client = gateway.client();
    bucket(&client, "bucket-marker").await;
    put_tagged(
        &client,
        "bucket-marker",
        "key-marker",
        "data-class=personal&subject-country=CN&t=tag-marker",
        "x",
    )
    .await;
    get(&client, "bucket-marker", "key-marker").await;
    let put =
        client.put_object().bucket("bucket-marker").key("key-marker").metadata("meta-marker", "meta-marker");
    failed(put.tagging("data-class=tag-marker").send().await).is(400, "InvalidTag");
    failed(client.get_object().bucket("bucket-marker").key("key-marker-2").send().await).is(404, "NoSuchKey");
    failed(client.get_object().bucket("no-bucket-marker").key("key-marker").send().await)
        .is(404, "NoSuchBucket");
    let mut wrong = Raw::new(&gateway, "GET", "/bucket-marker/key-marker");
    wrong.signing.secret = "secret-marker".to_owned();
    wrong.sign().send().await.refused(403, "SignatureDoesNotMatch");
    Raw::new(&gateway, "GET", "/bucket-marker/key-marker").presign(100).send().await;
    gateway.traced("NoSuchBucket").await;
    let trace = gateway.trace();
    for name in
        ["marker", crate::support::gateway::APP_KEY, crate::support::gateway::APP_SECRET, "X-Amz-Signature"]
    {
        let line = trace.lines().find(|line| line.contains(name));
        assert_eq!(line, None, "{name}");
    }
}

#[tokio::test]
async fn a_location_that_is_down_fails_what_needs_it_and_nothing_else() {
    let gateway = Gateway::remote().await;
    let client = gateway.client();
    bucket(&client, "clinic").await;
    put_tagged(&client, "clinic", "record", "data-class=personal&subject-country=DE", "a record").await;
    gateway.servers()[0].stop().await;
    // What may rest only there rests nowhere.
    let chinese =
        client.put_object().bucket("clinic").key("c").tagging("data-class=personal&subject-country=CN");
    failed(chinese.send().await).is(503, "ServiceUnavailable");
    // A list without it would hide objects.
    failed(client.list_objects_v2().bucket("clinic").send().await).is(503, "ServiceUnavailable");
    assert_eq!(get(&client, "clinic", "record").await, b"a record");
    put(&client, "clinic", "note", "nothing of note").await;
    assert_eq!(gateway.admin_page("/readyz").await.0, 200);
}

#[tokio::test]
async fn a_reload_takes_good_policies_and_leaves_bad_ones() {
    let policies = tempfile::tempdir().unwrap();
    copy_folder("policies".as_ref(), policies.path());
    let more = format!("[policy]\ndirectory = \"{}\"\n{ON_SITE}", policies.path().display());
    let gateway = Gateway::configured(Stores::Embedded, &more).await;
    let client = gateway.client();
    bucket(&client, "clinic").await;
    let russian = || {
        let put = client.put_object().bucket("clinic").key("r");
        put.tagging("data-class=personal&subject-country=RU").send()
    };
    assert_eq!(failed(russian().await).rule.as_deref(), Some("RU-152-18-5"));

    let rules = policies.path().join("ru/10-residency.cedar");
    let good = std::fs::read_to_string(&rules).unwrap();
    std::fs::write(&rules, format!("{good}\nforbid (principal, action")).unwrap();
    gateway.signal("HUP");
    gateway.traced("the policies were not reloaded").await;
    assert_eq!(failed(russian().await).rule.as_deref(), Some("RU-152-18-5"));
    std::fs::remove_dir_all(policies.path().join("cn")).unwrap();
    put_tagged(&client, "clinic", "c", "data-class=personal&subject-country=CN", "a record").await;
    assert_eq!(gateway.whereis("clinic", "c")["location"], "cn-north");

    // Without the Russian and the Chinese pack their people's data stays in their countries all the same.
    std::fs::remove_dir_all(policies.path().join("ru")).unwrap();
    gateway.signal("HUP");
    gateway.traced("policies reloaded").await;
    assert_eq!(failed(russian().await).rule.as_deref(), Some("BASE-UNCOVERED"));
}

fn copy_folder(from: &std::path::Path, to: &std::path::Path) {
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            std::fs::create_dir(&target).unwrap();
            copy_folder(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
