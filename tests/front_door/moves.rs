//! An overwrite that changes the labels moves the object, and the log shows it.

use std::path::Path;

use crate::app::{bucket, get, keys, put_tagged};
use crate::support::gateway::{Gateway, eventually, run};

over_both_kinds_of_store!(an_overwrite_with_other_labels_moves_the_object);

const CHINESE: &str = "data-class=personal.health&subject-country=CN";
const GERMAN: &str = "data-class=personal.health&subject-country=DE";

async fn an_overwrite_with_other_labels_moves_the_object(mut gateway: Gateway) {
    let client = gateway.client();
    bucket(&client, "clinic").await;
    put_tagged(&client, "clinic", "record", CHINESE, "the first record").await;
    gateway.settled_disks_with(b"the first record", &["cn-north"]).await;
    put_tagged(&client, "clinic", "record", GERMAN, "the second record").await;
    assert_eq!(get(&client, "clinic", "record").await, b"the second record");
    gateway.settled_disks_with(b"the second record", &["eu-central"]).await;
    gateway.settled_disks_with(b"the first record", &[]).await;
    assert_eq!(keys(&client, "clinic").await, ["record"]);

    let history = || {
        let found = gateway.whereis("clinic", "record");
        let lines = found["history"].as_array().unwrap().clone();
        lines.iter().map(|line| line["event"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let expected = ["write", "write", "remove"];
    eventually("the removal in the history", async || history() == expected).await;

    // And back again, with the same bytes as before.
    put_tagged(&client, "clinic", "record", CHINESE, "the first record").await;
    gateway.settled_disks_with(b"the first record", &["cn-north"]).await;
    gateway.settled_disks_with(b"the second record", &[]).await;
    assert_eq!(get(&client, "clinic", "record").await, b"the first record");
    client.delete_object().bucket("clinic").key("record").send().await.unwrap();
    gateway.settled_disks_with(b"the first record", &[]).await;

    gateway.signal("TERM");
    assert!(gateway.ended().await.success());
    let mut events = logged(&gateway);
    events.retain(|event| event != "policy" && event != "log.open");
    events.sort_unstable();
    assert_eq!(events, ["delete", "remove", "remove", "write", "write", "write"]);
    let output = run(&["audit", "verify", "--data", gateway.data().to_str().unwrap()]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

/// The event of every entry that the published tiles hold.
pub fn logged(gateway: &Gateway) -> Vec<String> {
    let mut events = Vec::new();
    read_tiles(&gateway.data().join("log"), &mut events);
    events
}

fn read_tiles(folder: &Path, events: &mut Vec<String>) {
    // A tile that grows is a new file; the widest one holds what the others do.
    let mut widest: Option<(u32, std::path::PathBuf)> = None;
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            read_tiles(&path, events);
        } else if folder.extension().is_some_and(|extension| extension == "p")
            && folder.components().any(|part| part.as_os_str() == "entries")
            && let Some(width) = path.file_name().and_then(|name| name.to_str()?.parse().ok())
            && widest.as_ref().is_none_or(|(known, _)| *known < width)
        {
            widest = Some((width, path));
        }
    }
    let Some((_, path)) = widest else { return };
    let mut rest = std::fs::read(path).unwrap();
    // Each entry stands behind its length, in two bytes (C2SP tlog-tiles).
    while let [high, low, ..] = rest[..] {
        let length = usize::from(u16::from_be_bytes([high, low]));
        let entry: serde_json::Value = serde_json::from_slice(&rest[2..2 + length]).unwrap();
        events.push(entry["ev"].as_str().unwrap().to_owned());
        rest.drain(..2 + length);
    }
}
