//! No byte rests where the law forbids it: after a random workload every byte of every file is read, in each
//! location's folder and in the gateway's own, and searched for what may not be there.
//!
//! Each object's content carries a marker over and over that says its class and country. Where each may be is
//! written down here by hand, from the laws; the policies are not asked.

#[path = "support/process.rs"]
mod process;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use process::{Answer, BASICS, Client, Gateway, Random, embedded, read_answer, trace_of, verify_log};

const LOCATIONS: [(&str, &str, &str); 5] = [
    ("cn-north", "CN", "cn-north-1"),
    ("eu-central", "DE", "eu-central-1"),
    ("us-east", "US", "us-east-1"),
    ("in-west", "IN", "ap-south-1"),
    ("ru-central", "RU", "ru-central-1"),
];
const BUCKETS: [(&str, &str); 2] =
    [("clinicarchivenorth", "eu-central-1"), ("clinicarchivesouth", "us-east-1")];
/// Part of every key, of metadata and of the name of a file that a client gave.
const KEY_MARK: &str = "patientmuellerlydia";
const META_MARK: &str = "wardsister";
const WINDOW: usize = 64 << 10;

/// Kinds of content, and where the law lets each rest. No transfer ground is configured.
struct Kind {
    mark: &'static str,
    tagging: &'static str,
    /// Empty: nowhere, so the write must be refused.
    allowed: &'static [&'static str],
}

const KINDS: [Kind; 9] = [
    // PIPL art. 38, CSL art. 39: personal information stays in China without a ground.
    Kind {
        mark: "MARKCHINESEHEALTH",
        tagging: "data-class=personal.health&subject-country=CN",
        allowed: &["cn-north"],
    },
    // DSL art. 31: important data leaves after a security assessment alone.
    Kind {
        mark: "MARKCHINESESTATE",
        tagging: "data-class=state.important&subject-country=CN",
        allowed: &["cn-north"],
    },
    // GDPR arts. 44-46: none of CN, US (not certified), IN, RU is adequate.
    Kind {
        mark: "MARKGERMANPERSON",
        tagging: "data-class=personal&subject-country=DE",
        allowed: &["eu-central"],
    },
    Kind {
        mark: "MARKFRENCHBELIEF",
        tagging: "data-class=personal.belief&subject-country=FR",
        allowed: &["eu-central"],
    },
    // 152-FZ art. 18(5): the first copy is in Russia; art. 12: no notification is on record.
    Kind {
        mark: "MARKRUSSIANCHILD",
        tagging: "data-class=personal.child&subject-country=RU",
        allowed: &["ru-central"],
    },
    // Aadhaar: identity numbers stay in India, whoever holds them.
    Kind {
        mark: "MARKINDIANIDENTITY",
        tagging: "data-class=personal.gov_id&subject-country=IN",
        allowed: &["in-west"],
    },
    Kind {
        // 22 CFR 120.54: nothing says that it is encrypted end to end.
        mark: "MARKAMERICANDRAWING",
        tagging: "data-class=industry.export_controlled&subject-country=US",
        allowed: &["us-east"],
    },
    // About people of two countries: what one law asks, the other forbids.
    Kind { mark: "MARKTWOCOUNTRIES", tagging: "data-class=personal&subject-country=CN/DE", allowed: &[] },
    // Nobody's people: personal data without a subject goes nowhere.
    Kind { mark: "MARKWITHOUTSUBJECT", tagging: "data-class=personal", allowed: &[] },
];
/// Binds nobody: it may be anywhere, and lures other content into its place by overwriting it.
const FREE: Kind = Kind {
    mark: "MARKFREETOGO",
    tagging: "data-class=non_personal",
    allowed: &["cn-north", "eu-central", "us-east", "in-west", "ru-central"],
};
/// Said to be free, and found to hold a Chinese identity number behind the first window.
const LATE_MARK: &str = "MARKFOUNDTOOLATE";

#[test]
fn no_byte_rests_where_the_law_forbids_it_and_no_name_is_in_catalogue_log_or_trace() {
    let folder = tempfile::tempdir().unwrap();
    let locations = LOCATIONS.map(|(id, country, region)| embedded(id, country, region)).concat();
    let config = format!("{BASICS}\n[label]\nwindow-bytes = {WINDOW}\n{locations}");
    std::fs::write(folder.path().join("domicile.toml"), config).unwrap();
    let gateway = Gateway::start(folder.path());
    for (bucket, region) in BUCKETS {
        gateway.client().create_plain_bucket(bucket, region);
    }
    let written: Vec<BTreeMap<String, &Kind>> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..4)
            .map(|number| {
                let client = gateway.client();
                scope.spawn(move || Worker::new(number, client).run(60))
            })
            .collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).collect()
    });
    late_findings(gateway.client());
    gateway.settled();
    for (target, kind) in written.iter().flatten() {
        let answer = gateway.client().get(target);
        assert!(String::from_utf8_lossy(&answer.body).contains(kind.mark), "{target} lost its content");
        assert!(kind.allowed.contains(&answer.header("x-domicile-location").unwrap()), "{}", kind.mark);
    }
    assert!(gateway.stop().success());
    verify_log(folder.path());
    search_locations(folder.path());
    search_own_files(folder.path());
}

/// Works on keys of its own.
struct Worker {
    number: usize,
    client: Client,
    random: Random,
    held: BTreeMap<String, &'static Kind>,
}

impl Worker {
    fn new(number: usize, client: Client) -> Worker {
        Worker { number, client, random: Random::new(number as u64 + 11), held: BTreeMap::new() }
    }

    /// Returns what its keys hold in the end.
    fn run(mut self, steps: usize) -> BTreeMap<String, &'static Kind> {
        for step in 0..steps {
            let bucket = self.random.pick(&BUCKETS).0;
            let target = format!("/{bucket}/{KEY_MARK}/{}-{}", self.number, self.random.below(6));
            let kind = match self.random.below(5) {
                0 => &FREE,
                _ => self.random.pick(&KINDS),
            };
            match step % 8 {
                0..=2 => self.put(&target, kind),
                3 => self.upload(&target, kind),
                4 => self.copy(&target),
                5 => self.break_off(&target, kind),
                6 => self.abort(&target, kind),
                _ => self.delete(&target),
            }
        }
        self.held
    }

    /// Larger and smaller than the window that is scanned before a location is chosen.
    fn content(&mut self, kind: &Kind) -> Vec<u8> {
        let size = *self.random.pick(&[100, 3000, WINDOW, 3 * WINDOW]);
        let mut content = Vec::with_capacity(size + 100);
        while content.len() < size {
            content.extend_from_slice(kind.mark.as_bytes());
            content.push(b' ');
            content.extend_from_slice(self.random.words(200).as_bytes());
        }
        content
    }

    fn expect(&mut self, target: &str, kind: &'static Kind, answer: &Answer) {
        if kind.allowed.is_empty() {
            assert_eq!(answer.status, 403, "{}: {}", kind.mark, String::from_utf8_lossy(&answer.body));
            assert!(answer.header("x-domicile-rule").is_some());
        } else {
            assert_eq!(answer.status, 200, "{}: {}", kind.mark, String::from_utf8_lossy(&answer.body));
            self.held.insert(target.to_owned(), kind);
        }
    }

    fn put(&mut self, target: &str, kind: &'static Kind) {
        let content = self.content(kind);
        let headers = [("x-amz-tagging", kind.tagging), ("x-amz-meta-author", META_MARK)];
        let answer = self.client.send("PUT", target, &headers, &content).unwrap();
        self.expect(target, kind, &answer);
    }

    fn create(&mut self, target: &str, kind: &'static Kind) -> Option<String> {
        let headers = [("x-amz-tagging", kind.tagging), ("x-amz-meta-author", META_MARK)];
        let answer = self.client.send("POST", &format!("{target}?uploads="), &headers, b"").unwrap();
        if kind.allowed.is_empty() {
            assert_eq!(answer.status, 403);
            return None;
        }
        assert!(kind.allowed.contains(&answer.header("x-domicile-location").unwrap()));
        Some(answer.element("UploadId").unwrap())
    }

    fn upload(&mut self, target: &str, kind: &'static Kind) {
        let Some(id) = self.create(target, kind) else { return };
        let content = self.content(kind);
        let part = format!("{target}?partNumber=1&uploadId={id}");
        let part = self.client.send("PUT", &part, &[], &content).unwrap();
        assert_eq!(part.status, 200);
        let document = format!(
            "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{}</ETag></Part></CompleteMultipartUpload>",
            part.header("etag").unwrap().replace('"', "&quot;")
        );
        let target_of_upload = format!("{target}?uploadId={id}");
        let answer = self.client.send("POST", &target_of_upload, &[], document.as_bytes()).unwrap();
        self.expect(target, kind, &answer);
    }

    /// The copy holds what its source holds, wherever it is asked to be.
    fn copy(&mut self, target: &str) {
        let sources: Vec<_> = self.held.iter().map(|(source, kind)| (source.clone(), *kind)).collect();
        if sources.is_empty() {
            return;
        }
        let (source, kind) = self.random.pick(&sources).clone();
        if source == target {
            return;
        }
        let answer = self.client.send("PUT", target, &[("x-amz-copy-source", &source)], b"").unwrap();
        self.expect(target, kind, &answer);
    }

    /// A client that goes away in the middle of a body.
    fn break_off(&mut self, target: &str, kind: &'static Kind) {
        let content = self.content(kind);
        let headers = [("x-amz-tagging", kind.tagging)];
        let mut stream = self.client.begin("PUT", target, &headers, content.len() as u64).unwrap();
        // A refusal may have closed the connection already.
        let _ = stream.write_all(&content[..content.len() / 2]);
    }

    fn abort(&mut self, target: &str, kind: &'static Kind) {
        let Some(id) = self.create(target, kind) else { return };
        let content = self.content(kind);
        let part = format!("{target}?partNumber=1&uploadId={id}");
        assert_eq!(self.client.send("PUT", &part, &[], &content).unwrap().status, 200);
        // Every other upload is left as it is.
        if self.random.below(2) == 0 {
            let aborted = self.client.send("DELETE", &format!("{target}?uploadId={id}"), &[], b"").unwrap();
            assert_eq!(aborted.status, 204);
        }
    }

    fn delete(&mut self, target: &str) {
        assert_eq!(self.client.send("DELETE", target, &[], b"").unwrap().status, 204);
        self.held.remove(target);
    }
}

/// Content that its sender calls free, or says nothing about, and that turns out to be about people in China.
fn late_findings(client: Client) {
    let mut random = Random::new(99);
    let mut content = Vec::new();
    while content.len() < 4 * WINDOW {
        content.extend_from_slice(LATE_MARK.as_bytes());
        content.push(b' ');
        content.extend_from_slice(random.words(400).as_bytes());
    }
    // A resident identity number with its check digit (GB 11643), behind the first window.
    for _ in 0..20 {
        content.extend_from_slice("\n身份证号码: 11010519491231002X\n".as_bytes());
    }
    for (bucket, _) in BUCKETS {
        let target = format!("/{bucket}/{KEY_MARK}/late");
        let headers = [("x-amz-tagging", "data-class=non_personal&subject-country=CN")];
        let first = client.send("PUT", &target, &headers, &content).unwrap();
        assert_eq!(first.status, 503, "{}", String::from_utf8_lossy(&first.body));
        assert_eq!(client.get(&target).status, 404, "nothing was stored");
        let again = client.send("PUT", &target, &headers, &content).unwrap();
        assert_eq!(again.status, 200, "{}", String::from_utf8_lossy(&again.body));
        assert_eq!(again.header("x-domicile-location"), Some("cn-north"));
        // And a client that never sends the end of it.
        let target = format!("/{bucket}/{KEY_MARK}/late-and-broken");
        let mut stream = client.begin("PUT", &target, &headers, content.len() as u64 + 1).unwrap();
        stream.write_all(&content).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        if let Ok(answer) = read_answer(&mut stream, "PUT") {
            assert!(!answer.is_success());
        }
    }
}

/// All files below a folder, with their bytes. `/proc` and the like are not among them.
fn read_all(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(read_all(&path));
        } else {
            found.push((path.clone(), std::fs::read(&path).unwrap()));
        }
    }
    found
}

fn holds(bytes: &[u8], mark: &str) -> bool {
    memchr::memmem::find(bytes, mark.as_bytes()).is_some()
}

fn search_locations(folder: &Path) {
    for (id, _, _) in LOCATIONS {
        let files = read_all(&folder.join("locations").join(id));
        for (path, bytes) in &files {
            for kind in KINDS.iter().filter(|kind| !kind.allowed.contains(&id)) {
                assert!(!holds(bytes, kind.mark), "{} in {}", kind.mark, path.display());
            }
            if id != "cn-north" {
                assert!(!holds(bytes, LATE_MARK), "{LATE_MARK} in {}", path.display());
            }
        }
        // The search would find it: what may be here is here.
        for kind in KINDS.iter().filter(|kind| kind.allowed == [id]) {
            assert!(files.iter().any(|(_, bytes)| holds(bytes, kind.mark)), "{} is not in {id}", kind.mark);
        }
    }
}

/// The gateway's own files stand in one country and speak of objects in all: no content and no names are in them.
fn search_own_files(folder: &Path) {
    let mut files = read_all(&folder.join("data"));
    assert!(files.iter().any(|(path, _)| path.ends_with("catalogue.sqlite")));
    assert!(files.iter().any(|(path, _)| path.ends_with("checkpoint")));
    let trace = trace_of(folder);
    files.push((trace.clone(), std::fs::read(&trace).unwrap()));
    let names = [KEY_MARK, META_MARK, LATE_MARK, FREE.mark, BUCKETS[0].0, BUCKETS[1].0];
    for (path, bytes) in &files {
        for mark in KINDS.iter().map(|kind| kind.mark).chain(names) {
            assert!(!holds(bytes, mark), "{mark} in {}", path.display());
        }
    }
}
