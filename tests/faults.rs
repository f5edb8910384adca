//! What the gateway does when something beside it fails: disks, locations, clients. It fails closed, acknowledges
//! nothing that is not durable, and comes to rest by itself when the fault is over.

#[path = "support/faulty.rs"]
mod faulty;
#[path = "support/process.rs"]
mod process;

use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use faulty::{Fault, FaultyServer};
use process::{Answer, BASICS, Client, Gateway, Random, embedded, poll, read_answer, read_head, verify_log};
use tempfile::TempDir;

const CHINESE: (&str, &str) = ("x-amz-tagging", "data-class=personal&subject-country=CN");
const GERMAN: (&str, &str) = ("x-amz-tagging", "data-class=personal&subject-country=DE");
const ANYBODY: (&str, &str) = ("x-amz-tagging", "data-class=non_personal");

/// A folder with a configuration of these locations.
fn folder(locations: &[String]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("domicile.toml"), BASICS.to_owned() + &locations.concat()).unwrap();
    folder
}

fn china() -> String {
    embedded("cn-north", "CN", "cn-north-1")
}

fn germany() -> String {
    embedded("eu-central", "DE", "eu-central-1")
}

/// A gateway over two folders, with the bucket `box` at home in Germany.
fn two_disks() -> (TempDir, Gateway) {
    let folder = folder(&[china(), germany()]);
    let gateway = Gateway::start(folder.path());
    gateway.client().create_plain_bucket("box", "eu-central-1");
    (folder, gateway)
}

/// A gateway over a German folder and a Chinese S3 server, with the bucket `box` at home in Germany.
fn disk_and_server() -> (TempDir, FaultyServer, Gateway) {
    let server = FaultyServer::start();
    let folder = folder(&[server.location("cn-far", "CN", "cn-north-1"), germany()]);
    let gateway = Gateway::start(folder.path());
    gateway.client().create_plain_bucket("box", "eu-central-1");
    (folder, server, gateway)
}

fn put(client: Client, key: &str, label: (&str, &str), body: &[u8]) -> Answer {
    client.send("PUT", &format!("/box/{key}"), &[label], body).unwrap()
}

fn text(answer: &Answer) -> String {
    String::from_utf8_lossy(&answer.body).into_owned()
}

/// Files below a folder.
fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

#[test]
fn a_full_disk_refuses_the_object_and_keeps_serving() {
    let folder = folder(&[china(), germany()]);
    Gateway::start(folder.path()).client().create_plain_bucket("box", "eu-central-1");
    let gateway = Gateway::start_with_file_limit(folder.path(), 8 << 20);
    let client = gateway.client();
    let large = Random::new(1).words(9 << 20);
    let refused = put(client, "large", GERMAN, large.as_bytes());
    assert_eq!(refused.status, 503, "{}", text(&refused));
    assert_eq!(client.get("/box/large").status, 404);
    assert_eq!(put(client, "small", GERMAN, b"small").status, 200);
    assert_eq!(client.get("/box/small").body, b"small");
    gateway.settled();
    poll("the unfinished file to go", || {
        files(&folder.path().join("locations/eu-central/staging")).is_empty().then_some(())
    });
    gateway.stop();
    let gateway = Gateway::start(folder.path());
    assert_eq!(put(gateway.client(), "large", GERMAN, large.as_bytes()).status, 200);
    assert_eq!(gateway.client().get("/box/large").body, large.as_bytes());
}

#[test]
fn a_catalogue_that_cannot_grow_acknowledges_nothing_that_is_lost() {
    let folder = folder(&[china(), germany()]);
    Gateway::start(folder.path()).client().create_plain_bucket("box", "eu-central-1");
    // Room for the start and for some objects, and not for many.
    let gateway = Gateway::start_with_file_limit(folder.path(), 1 << 20);
    let client = gateway.client();
    let mut acknowledged = Vec::new();
    let mut refused = 0;
    for number in 0..400 {
        let key = format!("k{number}");
        let answer = put(client, &key, if number % 2 == 0 { CHINESE } else { GERMAN }, key.as_bytes());
        match answer.status {
            200 => acknowledged.push(key),
            503 => refused += 1,
            other => panic!("{other}: {}", text(&answer)),
        }
        if refused > 5 {
            break;
        }
    }
    assert!(refused > 5 && !acknowledged.is_empty(), "{} done, {refused} refused", acknowledged.len());
    gateway.kill();
    let gateway = Gateway::start(folder.path());
    gateway.settled();
    for key in &acknowledged {
        assert_eq!(gateway.client().get(&format!("/box/{key}")).body, key.as_bytes());
    }
    assert_eq!(put(gateway.client(), "after", GERMAN, b"after").status, 200);
    assert!(gateway.stop().success());
    verify_log(folder.path());
}

#[test]
fn a_catalogue_that_was_deleted_under_the_gateway_takes_no_more_writes() {
    let (folder, gateway) = two_disks();
    let client = gateway.client();
    assert_eq!(put(client, "before", GERMAN, b"before").status, 200);
    for file in ["catalogue.sqlite", "catalogue.sqlite-wal", "catalogue.sqlite-shm"] {
        std::fs::remove_file(folder.path().join("data").join(file)).unwrap();
    }
    // What it wrote now would be gone with the process.
    let refused = put(client, "after", GERMAN, b"after");
    assert_eq!(refused.status, 503, "{}", text(&refused));
    assert_eq!(client.send("DELETE", "/box/before", &[], b"").unwrap().status, 503);
}

#[test]
fn a_dead_location_stops_its_own_objects_and_every_list_but_nothing_else() {
    let (_folder, mut server, gateway) = disk_and_server();
    let client = gateway.client();
    assert_eq!(put(client, "cn", CHINESE, b"zh").status, 200);
    assert_eq!(put(client, "de", GERMAN, b"de").status, 200);
    server.die();
    for (method, target) in
        [("GET", "/box/cn"), ("HEAD", "/box/cn"), ("DELETE", "/box/cn"), ("GET", "/box?list-type=2")]
    {
        let answer = client.send(method, target, &[], b"").unwrap();
        assert_eq!(answer.status, 503, "{method} {target}: {}", text(&answer));
    }
    // Never elsewhere, however often it is tried: health does not widen what is allowed.
    for _ in 0..8 {
        assert_eq!(put(client, "cn", CHINESE, b"again").status, 503);
    }
    assert_eq!(put(client, "de", GERMAN, b"de, again").status, 200);
    assert_eq!(client.get("/box/de").body, b"de, again");
    server.revive();
    assert_eq!(client.get("/box/cn").body, b"zh");
    assert_eq!(client.get("/box?list-type=2").elements("Key"), ["cn", "de"]);
    gateway.settled();
    assert_eq!(client.get("/box/cn").body, b"zh");
    assert_eq!(client.get("/box/de").body, b"de, again");
}

#[test]
fn a_move_out_of_a_dead_location_is_acknowledged_and_its_old_copy_stays_listed_until_it_is_removed() {
    let (folder, mut server, gateway) = disk_and_server();
    let client = gateway.client();
    assert_eq!(put(client, "k", CHINESE, b"old").status, 200);
    server.die();
    assert_eq!(put(client, "k", GERMAN, b"new").status, 200);
    assert_eq!(client.get("/box/k").body, b"new");
    assert_eq!(gateway.metric("domicile_residues"), 1);
    gateway.kill();
    server.revive();
    let gateway = Gateway::start(folder.path());
    gateway.settled();
    assert_eq!(gateway.client().get("/box/k").body, b"new");
    let history = gateway.locate("box", "k")["history"].clone();
    let events: Vec<_> =
        history.as_array().unwrap().iter().map(|line| line["event"].as_str().unwrap()).collect();
    assert_eq!(events, ["write", "write", "remove"]);
}

#[test]
fn an_error_of_the_location_is_the_answer_and_nothing_is_acknowledged() {
    let (_folder, server, gateway) = disk_and_server();
    let client = gateway.client();
    server.set(Fault::Refuse);
    assert_eq!(put(client, "k", CHINESE, b"never").status, 500);
    server.set(Fault::None);
    gateway.settled();
    assert_eq!(client.get("/box/k").status, 404);
    assert_eq!(client.get("/box?list-type=2").elements("Key"), [""; 0]);
}

#[test]
fn bytes_that_a_location_kept_in_spite_of_its_error_are_found_and_labelled() {
    for fault in [Fault::DoneButError, Fault::DoneButBroken] {
        let (folder, server, gateway) = disk_and_server();
        let client = gateway.client();
        server.set(fault);
        assert!(put(client, "k", CHINESE, b"kept").status >= 500);
        server.set(Fault::None);
        gateway.settled();
        assert_eq!(client.get("/box/k").body, b"kept", "{fault:?}");
        let placement = gateway.locate("box", "k");
        assert_eq!(placement["location"], "cn-far");
        assert_eq!(placement["classes"], serde_json::json!(["personal"]));
        assert_eq!(placement["subjects"], serde_json::json!(["CN"]));
        assert!(gateway.stop().success());
        verify_log(folder.path());
    }
}

#[test]
fn a_deletion_that_a_location_did_in_spite_of_its_error_is_recorded() {
    for fault in [Fault::DoneButError, Fault::DoneButBroken] {
        let (_folder, server, gateway) = disk_and_server();
        let client = gateway.client();
        assert_eq!(put(client, "k", CHINESE, b"gone").status, 200);
        server.set(fault);
        assert!(client.send("DELETE", "/box/k", &[], b"").unwrap().status >= 500);
        server.set(Fault::None);
        gateway.settled();
        assert_eq!(client.get("/box/k").status, 404, "{fault:?}");
    }
}

#[test]
fn a_write_that_is_never_answered_stays_open_through_kill_9_and_is_settled_by_the_next_start() {
    let (folder, server, gateway) = disk_and_server();
    server.set(Fault::DoneButSilent);
    let mut waiting = gateway.client().begin("PUT", "/box/k", &[CHINESE], 6).unwrap();
    waiting.write_all(b"silent").unwrap();
    poll("the write to begin", || (gateway.metric("domicile_open_intents") == 1).then_some(()));
    assert_eq!(gateway.client().get("/box/k").status, 404, "nothing was acknowledged");
    // The server has done its part once it shows the object: ask it through a list of its own.
    poll("the server to have the bytes", || server.holds("box/k").then_some(()));
    gateway.kill();
    server.set(Fault::None);
    let gateway = Gateway::start(folder.path());
    gateway.settled();
    assert_eq!(gateway.client().get("/box/k").body, b"silent");
    assert_eq!(gateway.locate("box", "k")["history"][0]["event"], "recovered");
}

#[test]
fn a_lost_write_never_replaces_one_that_was_acknowledged_after_it() {
    let (_folder, server, gateway) = disk_and_server();
    let client = gateway.client();
    server.set(Fault::DoneButBroken);
    assert_eq!(put(client, "k", CHINESE, b"lost").status, 503);
    assert_eq!(put(client, "k", GERMAN, b"acknowledged").status, 200);
    server.set(Fault::None);
    gateway.settled();
    assert_eq!(client.get("/box/k").body, b"acknowledged");
    poll("the lost write's bytes to go", || (!server.holds("box/k")).then_some(()));
    assert_eq!(gateway.locate("box", "k")["location"], "eu-central");
}

#[test]
fn a_lost_write_does_not_come_back_after_an_acknowledged_deletion() {
    for earlier in [None, Some(GERMAN), Some(CHINESE)] {
        let (_folder, server, gateway) = disk_and_server();
        let client = gateway.client();
        if let Some(label) = earlier {
            assert_eq!(put(client, "k", label, b"earlier").status, 200);
        }
        server.set(Fault::DoneButBroken);
        assert_eq!(put(client, "k", CHINESE, b"lost").status, 503);
        server.set(Fault::None);
        assert_eq!(client.send("DELETE", "/box/k", &[], b"").unwrap().status, 204);
        assert_eq!(client.get("/box/k").status, 404);
        gateway.settled();
        assert_eq!(client.get("/box/k").status, 404, "after {earlier:?}");
        poll("the lost write's bytes to go", || (!server.holds("box/k")).then_some(()));
    }
}

#[test]
fn two_writers_of_one_key_leave_bytes_labels_and_etag_of_the_same_write() {
    let (_folder, gateway) = two_disks();
    let client = gateway.client();
    for round in 0..200 {
        let key = format!("k{}", round % 20);
        // Both in one country in every other round, and in two in the rest.
        let labels = if round % 2 == 0 { [CHINESE, GERMAN] } else { [GERMAN, ANYBODY] };
        let receipts = std::thread::scope(|scope| {
            let writers = labels.map(|label| {
                let key = &key;
                scope.spawn(move || {
                    put(client, key, label, format!("{} in round {round}", label.1).as_bytes())
                })
            });
            writers.map(|writer| writer.join().unwrap())
        });
        for answer in &receipts {
            assert_eq!(answer.status, 200, "{}", text(answer));
        }
        let found = client.get(&format!("/box/{key}"));
        let content = text(&found);
        let label = labels.iter().find(|label| content.starts_with(label.1)).unwrap();
        assert!(content.ends_with(&format!("in round {round}")), "{content}");
        let expected = if *label == ANYBODY { "non_personal" } else { "personal" };
        let labelled = found.header("x-domicile-labels").unwrap();
        assert!(labelled.starts_with(expected), "{labelled} for {content}");
        let subject = label.1.rsplit_once("country=").map_or("", |(_, country)| country);
        assert!(labelled.contains(subject), "{labelled} for {content}");
        let place = found.header("x-domicile-location").unwrap();
        assert_eq!(place, if *label == CHINESE { "cn-north" } else { "eu-central" }, "{content}");
        let answer = receipts.iter().find(|answer| answer.header("etag") == found.header("etag")).unwrap();
        assert_eq!(answer.header("x-domicile-location"), Some(place));
    }
    gateway.settled();
    for number in 0..20 {
        let key = format!("k{number}");
        let found = client.get(&format!("/box/{key}"));
        assert_eq!(gateway.locate("box", &key)["etag"].as_str(), found.header("etag"));
    }
    assert_eq!(client.get("/box?list-type=2").elements("Key").len(), 20);
}

#[test]
fn a_client_that_stops_half_way_leaves_no_object_and_no_file() {
    let (folder, gateway) = two_disks();
    let client = gateway.client();
    assert_eq!(put(client, "kept", GERMAN, b"as it was").status, 200);
    let body = Random::new(3).words(3 << 20);
    for key in ["new", "kept"] {
        for sent in [0, 1, 1 << 20, (3 << 20) - 1] {
            let target = format!("/box/{key}");
            let mut stream = client.begin("PUT", &target, &[GERMAN], body.len() as u64).unwrap();
            stream.write_all(&body.as_bytes()[..sent]).unwrap();
            drop(stream);
        }
    }
    let staging = folder.path().join("locations/eu-central/staging");
    gateway.settled();
    poll("unfinished files to go", || files(&staging).is_empty().then_some(()));
    assert_eq!(client.get("/box/new").status, 404);
    assert_eq!(client.get("/box/kept").body, b"as it was");
    assert_eq!(client.get("/box?list-type=2").elements("Key"), ["kept"]);
    assert_eq!(files(&folder.path().join("locations/eu-central/blobs")).len(), 1);
}

#[test]
fn a_slow_writer_of_a_key_holds_up_nobody_else() {
    let (_folder, gateway) = two_disks();
    let client = gateway.client();
    let mut slow = client.begin("PUT", "/box/k", &[GERMAN], 40).unwrap();
    for number in 0..39 {
        slow.write_all(b"s").unwrap();
        std::thread::sleep(Duration::from_millis(100));
        if number % 5 == 0 {
            // Would wait for as long as the slow one takes, which is until this loop ends: for ever.
            let quick = format!("quick {number}");
            assert_eq!(put(client, "k", CHINESE, quick.as_bytes()).status, 200);
            assert_eq!(text(&client.get("/box/k")), quick);
        }
    }
    slow.write_all(b"s").unwrap();
    let answer = read_answer(&mut slow, "PUT").unwrap();
    assert_eq!(answer.status, 200, "{}", text(&answer));
    assert_eq!(client.get("/box/k").body, [b's'; 40]);
    gateway.settled();
    assert_eq!(client.get("/box/k").header("x-domicile-location"), Some("eu-central"));
}

/// Moves what can be moved without waiting, until nothing has moved for a while.
fn until_it_stalls(
    streams: &mut [TcpStream],
    mut step: impl FnMut(usize, &mut TcpStream) -> std::io::Result<usize>,
) {
    let mut quiet = 0;
    while quiet < 40 {
        let mut moved = 0;
        for (n, stream) in streams.iter_mut().enumerate() {
            loop {
                match step(n, stream) {
                    Ok(0) => break,
                    Ok(bytes) => moved += bytes,
                    Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break,
                    Err(error) => panic!("{error}"),
                }
            }
        }
        quiet = if moved == 0 { quiet + 1 } else { 0 };
        std::thread::sleep(Duration::from_millis(25));
    }
}

#[test]
fn a_body_in_flight_holds_its_window_and_little_more_however_slow_the_other_side_is() {
    const BODIES: usize = 48;
    const WINDOW_KIB: u64 = 1 << 10;
    const MORE_KIB: u64 = 256;
    /// What a process of so many connections needs beside bodies.
    const REST_KIB: u64 = 16 << 10;
    let (_folder, server, gateway) = disk_and_server();
    let client = gateway.client();
    let body = Random::new(7).words(16 << 20);
    assert_eq!(put(client, "large", CHINESE, body.as_bytes()).status, 200);
    let before = gateway.memory_kib("VmHWM");
    let grown = || gateway.memory_kib("VmHWM") - before;

    // Readers that take nothing.
    let begin = |method: &str, key: &str, length: u64| {
        let stream = client.begin(method, &format!("/box/{key}"), &[CHINESE], length).unwrap();
        stream.set_nonblocking(true).unwrap();
        stream
    };
    let readers: Vec<_> = (0..BODIES).map(|_| client.begin("GET", "/box/large", &[], 0).unwrap()).collect();
    for mut reader in &readers {
        let mut head = [0; 12];
        std::io::Read::read_exact(&mut reader, &mut head).unwrap();
        assert_eq!(&head, b"HTTP/1.1 200");
    }
    let for_reads = grown();
    assert!(for_reads < BODIES as u64 * MORE_KIB + REST_KIB, "{for_reads} KiB for {BODIES} reads");
    drop(readers);

    // Writers whose location takes nothing: they send for as long as anybody takes what they send.
    server.set(Fault::Stall);
    let mut sent = [0; BODIES];
    let mut writers: Vec<_> =
        (0..BODIES).map(|n| begin("PUT", &format!("k{n}"), body.len() as u64)).collect();
    until_it_stalls(&mut writers, |n, stream| {
        let written = stream.write(&body.as_bytes()[sent[n]..])?;
        sent[n] += written;
        Ok(written)
    });
    let for_writes = grown();
    let bound = BODIES as u64 * (WINDOW_KIB + MORE_KIB) + REST_KIB;
    println!("{for_reads} KiB for {BODIES} reads, {for_writes} KiB for as many writes; the bound is {bound}");
    assert!(for_writes < bound, "{for_writes} KiB for {BODIES} writes");
}

#[test]
fn a_large_object_passes_both_ways_in_constant_memory() {
    const CHUNK: usize = 1 << 20;
    const CHUNKS: usize = 200;
    let (_folder, gateway) = two_disks();
    let client = gateway.client();
    assert_eq!(put(client, "small", GERMAN, b"warm").status, 200);
    let before = gateway.memory_kib("VmHWM");
    let chunk = Random::new(5).words(CHUNK);
    let mut stream = client.begin("PUT", "/box/large", &[GERMAN], (CHUNK * CHUNKS) as u64).unwrap();
    for _ in 0..CHUNKS {
        stream.write_all(chunk.as_bytes()).unwrap();
    }
    let answer = read_answer(&mut stream, "PUT").unwrap();
    assert_eq!(answer.status, 200, "{}", text(&answer));
    let mut stream = client.begin("GET", "/box/large", &[], 0).unwrap();
    let mut head = read_head(&mut stream, "GET").unwrap();
    assert_eq!(head.status, 200);
    let mut buffer = vec![0; CHUNK];
    let mut at = 0;
    loop {
        let read = head.read(&mut buffer).unwrap();
        if read == 0 {
            break;
        }
        for byte in &buffer[..read] {
            assert!(*byte == chunk.as_bytes()[at % CHUNK], "byte {at} differs");
            at += 1;
        }
    }
    assert_eq!(at, CHUNK * CHUNKS);
    let growth = gateway.memory_kib("VmHWM") - before;
    assert!(growth < 64 << 10, "{growth} KiB more than before");
}
