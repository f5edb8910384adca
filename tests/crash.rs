//! `kill -9` at random points under a write load. After each restart every acknowledged object is there, byte for
//! byte, where the law of its label lets it be, and in the log; what was deleted stays deleted.
//!
//! Each worker owns its keys, so that it knows what every one of them may hold: the last acknowledged content, or
//! what a request without an answer would have left. An object's first line says its label, so that the
//! bytes themselves tell whether the catalogue speaks of them.

#[path = "support/process.rs"]
mod process;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use domicile::catalogue::sqlite::SqliteCatalogue;
use domicile::log::Event;
use domicile::log::entry::Entry;
use process::{BASICS, Client, Gateway, Random, embedded, verify_log};

const BUCKETS: [&str; 2] = ["ward-north", "ward-south"];
const WORKERS: usize = 5;
const KEYS: usize = 5;
const ROUNDS: u64 = 5;

/// A label, and where the law lets it rest among the locations of this test. `non_personal` goes anywhere.
struct Law {
    class: &'static str,
    subject: Option<&'static str>,
    allowed: &'static [&'static str],
}

const LAWS: [Law; 4] = [
    // PIPL art. 38: no ground for an export is configured.
    Law { class: "personal.health", subject: Some("CN"), allowed: &["cn-north"] },
    // GDPR art. 45: CN, IN and an uncertified US provider are not adequate.
    Law { class: "personal", subject: Some("DE"), allowed: &["eu-central"] },
    // No pack covers Indian law, so the data stays in India.
    Law { class: "personal.gov_id", subject: Some("IN"), allowed: &["in-west"] },
    Law { class: "non_personal", subject: None, allowed: &["cn-north", "eu-central", "us-east", "in-west"] },
];

impl Law {
    /// The tags that declare it.
    fn tagging(&self) -> String {
        let subject = self.subject.map(|subject| format!("&subject-country={subject}")).unwrap_or_default();
        format!("data-class={}{subject}", self.class)
    }

    /// The first line of its objects.
    fn marker(&self) -> String {
        format!("label {} {}\n", self.class, self.subject.unwrap_or("-"))
    }

    fn of(content: &[u8]) -> &'static Law {
        LAWS.iter().find(|law| content.starts_with(law.marker().as_bytes())).expect("a marker")
    }
}

#[test]
fn what_was_acknowledged_survives_kill_9_at_any_moment() {
    let folder = tempfile::tempdir().unwrap();
    let locations = [
        embedded("cn-north", "CN", "cn-north-1"),
        embedded("eu-central", "DE", "eu-central-1"),
        embedded("us-east", "US", "us-east-1"),
        embedded("in-west", "IN", "ap-south-1"),
    ];
    std::fs::write(folder.path().join("domicile.toml"), BASICS.to_owned() + &locations.concat()).unwrap();
    let mut gateway = Gateway::start(folder.path());
    gateway.client().create_plain_bucket(BUCKETS[0], "eu-central-1");
    gateway.client().create_plain_bucket(BUCKETS[1], "cn-north-1");

    let mut workers: Vec<Worker> = (0..WORKERS).map(Worker::new).collect();
    let mut moments = Random::new(7);
    for _ in 0..ROUNDS {
        let client = gateway.client();
        let before: usize = workers.iter().map(|worker| worker.receipts.len()).sum();
        std::thread::scope(|scope| {
            for worker in &mut workers {
                scope.spawn(move || worker.run(client));
            }
            std::thread::sleep(Duration::from_millis(500 + moments.below(2500)));
            gateway.kill();
        });
        let after: usize = workers.iter().map(|worker| worker.receipts.len()).sum();
        assert!(after > before, "the load must have written something");
        gateway = Gateway::start(folder.path());
        for worker in &mut workers {
            worker.check(gateway.client());
        }
        check_lists(gateway.client(), &workers);
    }

    gateway.settled();
    for worker in &workers {
        worker.check_placements(&gateway);
    }
    check_disks(folder.path());
    assert!(gateway.stop().success());
    verify_log(folder.path());
    check_receipts(folder.path(), &workers);
}

/// What one key may hold. `None` is no object.
#[derive(Default)]
struct Possible {
    acknowledged: Option<Vec<u8>>,
    /// Left by requests that got no clear answer since.
    unanswered: Vec<Option<Vec<u8>>>,
}

struct Worker {
    number: usize,
    random: Random,
    keys: BTreeMap<(&'static str, String), Possible>,
    receipts: Vec<(String, Event)>,
    written: u64,
}

/// What became of one change.
enum Outcome {
    Done,
    /// Refused: nothing was changed.
    Refused,
    /// Answered 5xx: it may have taken effect.
    Unclear,
    /// The gateway is gone: it may have taken effect, and this round is over.
    Gone,
}

impl Worker {
    fn new(number: usize) -> Worker {
        let names = (0..KEYS).map(|n| (BUCKETS[n % 2], format!("w{number}/k{n}")));
        Worker {
            number,
            random: Random::new(number as u64 + 1),
            keys: names.map(|name| (name, Possible::default())).collect(),
            receipts: Vec::new(),
            written: 0,
        }
    }

    /// Writes until the gateway is gone.
    fn run(&mut self, client: Client) {
        loop {
            let names: Vec<_> = self.keys.keys().cloned().collect();
            let (bucket, key) = self.random.pick(&names).clone();
            let target = format!("/{bucket}/{key}");
            let (content, outcome) = match self.random.below(10) {
                0..=4 => self.put(client, &target),
                5 | 6 => self.upload(client, &target),
                7 => (None, self.change(client, "DELETE", &target, &[], b"", Event::Delete)),
                _ => match self.copy(client, &target, &names) {
                    Some(done) => done,
                    None => continue,
                },
            };
            let possible = self.keys.entry((bucket, key)).or_default();
            match outcome {
                Outcome::Done => *possible = Possible { acknowledged: content, unanswered: Vec::new() },
                Outcome::Refused => {}
                Outcome::Unclear => possible.unanswered.push(content),
                Outcome::Gone => return possible.unanswered.push(content),
            }
        }
    }

    fn content(&mut self) -> (&'static Law, Vec<u8>) {
        let law = self.random.pick(&LAWS);
        self.written += 1;
        let size = *self.random.pick(&[0, 200, 5000, 300 << 10]);
        let filler = self.random.words(size);
        // Digits of their own could look like an identity number.
        let unique =
            format!("written as {} of worker {}\n", letters(self.written), letters(self.number as u64));
        (law, (law.marker() + &unique + &filler).into_bytes())
    }

    fn put(&mut self, client: Client, target: &str) -> (Option<Vec<u8>>, Outcome) {
        let (law, content) = self.content();
        let tagging = law.tagging();
        let headers = [("x-amz-tagging", tagging.as_str())];
        let outcome = self.change(client, "PUT", target, &headers, &content, Event::Write);
        (Some(content), outcome)
    }

    fn upload(&mut self, client: Client, target: &str) -> (Option<Vec<u8>>, Outcome) {
        let (law, content) = self.content();
        let tagging = law.tagging();
        let headers = [("x-amz-tagging", tagging.as_str())];
        // Nothing of these two steps is an object: without an answer they change nothing.
        let Ok(created) = client.send("POST", &format!("{target}?uploads="), &headers, b"") else {
            return (None, Outcome::Gone).refused_if_alive(client);
        };
        let Some(id) = created.element("UploadId") else { return (None, Outcome::Refused) };
        let part = client.send("PUT", &format!("{target}?partNumber=1&uploadId={id}"), &[], &content);
        let Ok(part) = part else { return (None, Outcome::Gone).refused_if_alive(client) };
        let Some(etag) = part.header("etag") else { return (None, Outcome::Refused) };
        let document = format!(
            "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{}</ETag></Part></CompleteMultipartUpload>",
            etag.replace('"', "&quot;")
        );
        let target = format!("{target}?uploadId={id}");
        let outcome = self.change(client, "POST", &target, &[], document.as_bytes(), Event::Write);
        (Some(content), outcome)
    }

    /// Copies another of the worker's keys, if it is known what that holds.
    fn copy(
        &mut self,
        client: Client,
        target: &str,
        names: &[(&'static str, String)],
    ) -> Option<(Option<Vec<u8>>, Outcome)> {
        let (bucket, key) = self.random.pick(names);
        let source = format!("/{bucket}/{key}");
        let possible = self.keys.get(&(*bucket, key.clone()))?;
        if source == target || !possible.unanswered.is_empty() {
            return None;
        }
        let content = possible.acknowledged.clone()?;
        let headers = [("x-amz-copy-source", source.as_str())];
        let outcome = self.change(client, "PUT", target, &headers, b"", Event::Write);
        Some((Some(content), outcome))
    }

    fn change(
        &mut self,
        client: Client,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
        event: Event,
    ) -> Outcome {
        match client.send(method, target, headers, body) {
            Err(_) => Outcome::Gone,
            Ok(answer) if answer.is_success() => {
                // A deletion of nothing has no entry.
                let receipt = answer.header("x-domicile-receipt").map(str::to_owned);
                assert!(receipt.is_some() || event == Event::Delete, "a write without a receipt");
                self.receipts.extend(receipt.map(|receipt| (receipt, event)));
                Outcome::Done
            }
            Ok(answer) if answer.status >= 500 => Outcome::Unclear,
            Ok(answer) => panic!("{}: {}", answer.status, String::from_utf8_lossy(&answer.body)),
        }
    }

    /// Each key holds what it may hold; from here on it is known what that is.
    fn check(&mut self, client: Client) {
        for ((bucket, key), possible) in &mut self.keys {
            let answer = client.get(&format!("/{bucket}/{key}"));
            let found = match answer.status {
                200 => Some(answer.body.clone()),
                404 => None,
                other => panic!("{bucket}/{key}: {other} {}", String::from_utf8_lossy(&answer.body)),
            };
            let fits = found == possible.acknowledged || possible.unanswered.contains(&found);
            assert!(fits, "{bucket}/{key} holds {:?}", found.map(|body| first_lines(&body)));
            if let Some(content) = &found {
                let law = Law::of(content);
                let location = answer.header("x-domicile-location").unwrap();
                assert!(law.allowed.contains(&location), "{} in {location}", law.class);
            }
            *possible = Possible { acknowledged: found, unanswered: Vec::new() };
        }
    }

    /// The catalogue speaks of the bytes that are there.
    fn check_placements(&self, gateway: &Gateway) {
        for ((bucket, key), possible) in &self.keys {
            let Some(content) = &possible.acknowledged else { continue };
            let law = Law::of(content);
            let placement = gateway.locate(bucket, key);
            let location = placement["location"].as_str().unwrap();
            assert!(law.allowed.contains(&location), "{} in {location}", law.class);
            assert_eq!(placement["classes"], serde_json::json!([law.class]), "{bucket}/{key}");
            assert_eq!(
                placement["subjects"],
                serde_json::json!(Vec::from_iter(law.subject)),
                "{bucket}/{key}"
            );
            assert_eq!(placement["size"], content.len(), "{bucket}/{key}");
            // A copy across a border is told in the history of its source, too.
            let mut changes = placement["history"].as_array().unwrap().iter();
            let last = changes.rfind(|line| !["remove", "read"].contains(&line["event"].as_str().unwrap()));
            assert!(["write", "recovered"].contains(&last.unwrap()["event"].as_str().unwrap()));
        }
    }
}

/// A step that is no change: without an answer, either the gateway is gone or nothing was changed.
trait NoChange {
    fn refused_if_alive(self, client: Client) -> Self;
}

impl NoChange for (Option<Vec<u8>>, Outcome) {
    fn refused_if_alive(self, client: Client) -> Self {
        match client.send("HEAD", &format!("/{}", BUCKETS[0]), &[], b"") {
            Ok(_) => (self.0, Outcome::Refused),
            Err(_) => self,
        }
    }
}

fn check_lists(client: Client, workers: &[Worker]) {
    for bucket in BUCKETS {
        let listed = client.get(&format!("/{bucket}?list-type=2")).elements("Key");
        let held = workers.iter().flat_map(|worker| &worker.keys);
        let mut expected: Vec<String> = held
            .filter(|((b, _), possible)| *b == bucket && possible.acknowledged.is_some())
            .map(|((_, key), _)| key.clone())
            .collect();
        expected.sort();
        assert_eq!(listed, expected, "{bucket}");
    }
}

/// Nothing rests where its own first line says that it may not, and nothing is left half written.
fn check_disks(folder: &Path) {
    for location in ["cn-north", "eu-central", "us-east", "in-west"] {
        let root = folder.join("locations").join(location);
        let staged: Vec<_> = std::fs::read_dir(root.join("staging")).unwrap().collect();
        assert!(staged.is_empty(), "{location} has {staged:?}");
        for shard in std::fs::read_dir(root.join("blobs")).unwrap() {
            for blob in std::fs::read_dir(shard.unwrap().path()).unwrap() {
                let content = std::fs::read(blob.unwrap().path()).unwrap();
                let law = Law::of(&content);
                assert!(law.allowed.contains(&location), "{} in {location}", law.class);
            }
        }
    }
}

/// Every receipt that a client got names an entry of the log that says the same.
fn check_receipts(folder: &Path, workers: &[Worker]) {
    let catalogue = SqliteCatalogue::open_read_only(&folder.join("data")).unwrap();
    for (receipt, event) in workers.iter().flat_map(|worker| &worker.receipts) {
        let (origin, index) = receipt.split_once(';').unwrap();
        let index: u64 = index.parse().unwrap();
        let entries = catalogue.entries(origin, index, index + 1).unwrap();
        let entry = Entry::parse(entries.first().expect("an acknowledged write is in the log")).unwrap();
        assert_eq!(entry.event, *event);
        let checkpoint = folder.join("data/log").join(origin).join("checkpoint");
        let text = std::fs::read_to_string(&checkpoint).unwrap();
        let size: u64 = text.lines().nth(1).unwrap().parse().unwrap();
        assert!(size > index, "the checkpoint of {origin} ends at {size}");
    }
}

fn first_lines(content: &[u8]) -> String {
    String::from_utf8_lossy(content).lines().take(2).collect::<Vec<_>>().join(" / ")
}

/// A number in letters.
fn letters(number: u64) -> String {
    number.to_string().bytes().map(|digit| char::from(b'a' + digit - b'0')).collect()
}
