//! `kill -9` in the middle of writing.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use super::*;

const FOLDER: &str = "DOMICILE_CRASH_TEST_FOLDER";
const TASKS: usize = 16;

/// Runs itself as a child that writes and reports what was acknowledged, kills it in the middle, and checks what is left.
#[test]
fn every_acknowledged_write_survives_a_kill() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        write_until_killed(Path::new(&folder));
    }
    let dir = tempfile::tempdir().unwrap();
    let mut latest: HashMap<usize, u64> = HashMap::new();
    for round in 0..4_u64 {
        let acks = kill_after(dir.path(), 40 + 137 * round as usize);
        let catalogue = SqliteCatalogue::open(options(dir.path())).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        for ack in &acks {
            let newest = latest.entry(ack.task).or_default();
            *newest = (*newest).max(ack.number);
            let entry = catalogue.entries(&ack.origin, ack.index, ack.index + 1).unwrap().remove(0);
            let entry = Entry::parse(&entry).unwrap();
            assert_eq!(entry.request, format!("{}-{}", ack.task, ack.number));
        }
        for (task, acknowledged) in &mut latest {
            let handle = catalogue.object_handle("bucket", &format!("key-{task}"));
            let found = runtime.block_on(catalogue.find(handle)).unwrap().unwrap();
            let number: u64 = found.etag.parse().unwrap();
            // The one write in flight may have landed without an answer.
            assert!((*acknowledged..=*acknowledged + 1).contains(&number), "{number} {acknowledged}");
            let history = runtime.block_on(catalogue.history(found.object, 1)).unwrap();
            let expected = format!("{task}-{number}");
            assert_eq!(history[0].entry.request, expected, "placement and entry are one transaction");
            *acknowledged = number;
        }
        for log in catalogue.logs().unwrap() {
            let mut read = 0;
            while read < log.size {
                let entries = catalogue.entries(&log.origin, read, log.size).unwrap();
                assert!(!entries.is_empty(), "a gap at {read} of {}", log.size);
                read += entries.len() as u64;
            }
        }
        let open = runtime.block_on(catalogue.open_intents()).unwrap();
        assert!(open.len() <= TASKS * (round as usize + 1), "{}", open.len());
    }
}

struct Ack {
    task: usize,
    number: u64,
    origin: String,
    index: u64,
}

fn kill_after(folder: &Path, wanted: usize) -> Vec<Ack> {
    let test = "catalogue::sqlite::tests::crash::every_acknowledged_write_survives_a_kill";
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut acks = Vec::new();
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        let Some(ack) = line.strip_prefix("ack ").and_then(|line| line.strip_suffix(" end")) else {
            continue;
        };
        let parts: Vec<&str> = ack.split(' ').collect();
        acks.push(Ack {
            task: parts[0].parse().unwrap(),
            number: parts[1].parse().unwrap(),
            origin: parts[2].to_owned(),
            index: parts[3].parse().unwrap(),
        });
        if acks.len() == wanted {
            // SIGKILL. What it had printed by then was acknowledged too, so the pipe is read to its end.
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    assert!(acks.len() >= wanted, "the child ended by itself after {}", acks.len());
    acks
}

/// Each task writes one key again and again, and moves it between two countries.
fn write_until_killed(folder: &Path) -> ! {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap();
    let catalogue = Arc::new(SqliteCatalogue::open(options(folder)).unwrap());
    runtime.block_on(async {
        for task in 0..TASKS {
            let catalogue = catalogue.clone();
            tokio::spawn(async move {
                let key = format!("key-{task}");
                let known = catalogue.find(catalogue.object_handle("bucket", &key)).await.unwrap();
                let mut number: u64 = known.map_or(0, |known| known.etag.parse().unwrap());
                loop {
                    number += 1;
                    let (location, country) =
                        if number.is_multiple_of(3) { ("de-1", "DE") } else { ("cn-1", "CN") };
                    let mut wanted = intent(&*catalogue, &key, placement(location, ""), country);
                    wanted.draft.request = format!("{task}-{number}");
                    let opened = catalogue.open_intent(wanted).await.unwrap();
                    let recorded = catalogue.record_write(settle(opened, &number.to_string())).await.unwrap();
                    let Receipt { origin, index } = recorded.receipt;
                    let mut out = std::io::stdout().lock();
                    writeln!(out, "\nack {task} {number} {origin} {index} end").unwrap();
                    out.flush().unwrap();
                }
            });
        }
        // Not for ever, should nobody kill it.
        tokio::time::sleep(Duration::from_secs(60)).await;
    });
    std::process::exit(1)
}
