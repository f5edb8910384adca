mod crash;

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::mpsc;
use std::task::Poll;

use futures_util::future::join_all;
use tempfile::TempDir;

use super::*;
use crate::catalogue::conformance::{self, conformance, draft, intent, placement, settle, write};
use crate::log::Event;
use crate::log::entry::Entry;

conformance!(fresh());

fn options(data: &Path) -> SqliteOptions {
    SqliteOptions {
        data: data.to_owned(),
        node: config::Node {
            name: "gw-1".to_owned(),
            domain: "example.org".to_owned(),
            country: "DE".parse().unwrap(),
        },
        countries: BTreeMap::from([(conformance::id("cn-1"), "CN".parse().unwrap())]),
        // A test machine may be slow; the tests of slowness choose their own.
        durable_within: Duration::from_secs(60),
    }
}

fn fresh() -> (TempDir, SqliteCatalogue) {
    let dir = tempfile::tempdir().unwrap();
    let catalogue = SqliteCatalogue::open(options(dir.path())).unwrap();
    (dir, catalogue)
}

/// Keeps the writer busy until the sender is dropped; the answer comes once it is at work.
async fn hold(catalogue: &SqliteCatalogue) -> mpsc::Sender<()> {
    let (release, gate) = mpsc::channel::<()>();
    let (at_work, waiting) = mpsc::channel::<()>();
    let mut held = catalogue.write(move |_| {
        at_work.send(()).unwrap();
        let _ = gate.recv();
        Ok(())
    });
    // One poll queues the job.
    assert!(poll_once(&mut held).await.is_pending());
    waiting.recv().unwrap();
    release
}

fn poll_once<F: Future + Unpin>(future: &mut F) -> impl Future<Output = Poll<F::Output>> {
    future::poll_fn(|cx| Poll::Ready(Pin::new(&mut *future).poll(cx)))
}

#[tokio::test]
async fn a_walk_meets_every_object_once_page_by_page() {
    let (_dir, catalogue) = fresh();
    for n in 0..5 {
        write(&catalogue, &format!("key-{n}"), "cn-1", "CN", "etag").await;
    }
    let expected = placement("cn-1", "");
    let (mut after, mut met) = (i64::MIN, Vec::new());
    loop {
        let page = catalogue.resting(after, 2).unwrap();
        assert!(page.len() <= 2);
        let Some(last) = page.last() else { break };
        after = last.row;
        met.extend(page);
    }
    assert_eq!(met.len(), 5);
    for resting in met {
        assert_eq!((resting.location, resting.size), (expected.location.clone(), expected.size));
        assert_eq!((resting.classes, resting.subjects), (expected.classes, expected.subjects));
        assert_eq!(resting.coverage, expected.coverage);
    }
}

#[tokio::test]
async fn everything_queued_during_one_flush_is_in_the_next_one() {
    let (_dir, catalogue) = fresh();
    let release = hold(&catalogue).await;
    let before = catalogue.counters();
    let keys: Vec<String> = (0..64).map(|n| format!("key-{n}")).collect();
    let opened =
        keys.iter().map(|key| catalogue.open_intent(intent(&catalogue, key, placement("cn-1", ""), "CN")));
    let mut opened = Box::pin(join_all(opened));
    assert!(poll_once(&mut opened).await.is_pending());
    assert_eq!(catalogue.counters().queued, 64);
    drop(release);
    assert!(opened.await.into_iter().all(|intent| intent.is_ok()));
    let after = catalogue.counters();
    assert_eq!(after.commits - before.commits, 2, "the held one, and one for all 64");
    assert_eq!(after.largest_batch, 64);
    assert_eq!(after.queued, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sixty_four_writers_share_their_flushes() {
    let (_dir, catalogue) = fresh();
    let catalogue = Arc::new(catalogue);
    let writers = (0..64).map(|writer| {
        let catalogue = catalogue.clone();
        tokio::spawn(async move {
            for n in 0..8 {
                write(&*catalogue, &format!("key-{writer}-{n}"), "cn-1", "CN", "e").await;
            }
        })
    });
    for writer in join_all(writers).await {
        writer.unwrap();
    }
    let counters = catalogue.counters();
    assert_eq!(counters.jobs, 64 * 8 * 2);
    assert!(counters.commits * 4 < counters.jobs, "{counters:?}");
    assert_eq!(catalogue.logs().unwrap()[0].size, 64 * 8 + 1);
}

#[tokio::test]
async fn a_job_that_fails_fails_alone() {
    let (_dir, catalogue) = fresh();
    let release = hold(&catalogue).await;
    let one = catalogue.open_intent(intent(&catalogue, "one", placement("cn-1", ""), "CN"));
    // It has written a row by the time it fails, and opened a log whose row is undone with it.
    let bad = catalogue.write::<()>(|tx| {
        tx.record_event(&draft(Event::Refuse, "FR"))?;
        tx.open_intent(Intent { bucket: "lost".to_owned(), ..sample_intent() })?;
        Err(CatalogueError::Corrupt("on purpose".to_owned()))
    });
    let two = catalogue.record_event(draft(Event::Refuse, "FR"));
    let mut all = Box::pin(future::join3(one, bad, two));
    assert!(poll_once(&mut all).await.is_pending());
    drop(release);
    let (one, bad, two) = all.await;
    assert!(matches!(bad, Err(CatalogueError::Corrupt(_))));
    assert_eq!(catalogue.open_intents().await.unwrap(), [one.unwrap()]);
    assert_eq!(two.unwrap().index, 1);
    let logs = catalogue.logs().unwrap();
    assert_eq!((logs.len(), logs[0].size), (1, 2));
}

fn sample_intent() -> Intent {
    let (_dir, other) = fresh();
    intent(&other, "lost", placement("cn-1", ""), "CN")
}

#[tokio::test]
async fn a_commit_that_fails_fails_every_job_in_it_and_the_next_one_works() {
    let (_dir, catalogue) = fresh();
    let release = hold(&catalogue).await;
    let fine = catalogue.record_event(draft(Event::Refuse, "CN"));
    // A deferred constraint is what SQLite checks at COMMIT and not before.
    let fatal = catalogue.write(|tx| {
        tx.db
            .execute_batch(
                "CREATE TABLE parent(id INTEGER PRIMARY KEY);
                 CREATE TABLE child(id INTEGER REFERENCES parent(id) DEFERRABLE INITIALLY DEFERRED);
                 INSERT INTO child VALUES (1);",
            )
            .map_err(unavailable)
    });
    let mut both = Box::pin(future::join(fine, fatal));
    assert!(poll_once(&mut both).await.is_pending());
    drop(release);
    let (fine, fatal) = both.await;
    assert!(matches!(fine, Err(CatalogueError::Unavailable(_))), "{fine:?}");
    assert!(matches!(fatal, Err(CatalogueError::Unavailable(_))), "{fatal:?}");
    assert_eq!(catalogue.logs().unwrap(), []);
    assert_eq!(catalogue.counters().failed_commits, 1);
    // The log is opened anew, although its key was made by the transaction that was lost.
    assert_eq!(catalogue.record_event(draft(Event::Refuse, "CN")).await.unwrap().index, 1);
}

#[tokio::test]
async fn a_full_disk_refuses_writes_until_there_is_room() {
    let (_dir, catalogue) = fresh();
    write(&catalogue, "before", "cn-1", "CN", "e").await;
    limit_pages(&catalogue, "(SELECT page_count FROM pragma_page_count)").await;
    let mut refused = None;
    for n in 0..100 {
        let mut event = draft(Event::Refuse, "CN");
        event.decision.obligations = (0..60).map(|o| format!("obligation-{n}-{o}")).collect();
        if let Err(error) = catalogue.record_event(event).await {
            refused = Some(error);
            break;
        }
    }
    assert!(matches!(refused, Some(CatalogueError::Unavailable(_))), "{refused:?}");
    let size = catalogue.logs().unwrap()[0].size;
    limit_pages(&catalogue, "(SELECT 1000000)").await;
    assert_eq!(write(&catalogue, "after", "cn-1", "CN", "e").await.receipt.index, size);
    assert!(catalogue.find(catalogue.object_handle("bucket", "before")).await.unwrap().is_some());
}

/// Lets the database file grow to so many pages and no further.
async fn limit_pages(catalogue: &SqliteCatalogue, pages: &'static str) {
    let limited = catalogue.write(move |tx| {
        let number = |sql: &str| tx.db.query_row(sql, [], |row| row.get::<_, i64>(0)).map_err(unavailable);
        let pages = number(&format!("SELECT * FROM {pages}"))?;
        number(&format!("PRAGMA max_page_count = {pages}"))
    });
    limited.await.unwrap();
}

#[tokio::test]
async fn a_slow_commit_is_an_error_for_the_one_who_waits_but_still_lands() {
    let dir = tempfile::tempdir().unwrap();
    let durable_within = Duration::from_millis(20);
    let catalogue = SqliteCatalogue::open(SqliteOptions { durable_within, ..options(dir.path()) }).unwrap();
    let release = hold(&catalogue).await;
    let slow = catalogue.record_event(draft(Event::Refuse, "CN")).await;
    assert!(matches!(slow, Err(CatalogueError::TooSlow(20))), "{slow:?}");
    let mut committed = catalogue.committed();
    committed.mark_unchanged();
    drop(release);
    while catalogue.logs().unwrap().is_empty() {
        committed.changed().await.unwrap();
    }
    assert_eq!(catalogue.logs().unwrap()[0].size, 2);
}

#[tokio::test]
async fn a_full_queue_turns_the_next_change_away_at_once() {
    let (_dir, catalogue) = fresh();
    let release = hold(&catalogue).await;
    let mut waiting = Vec::new();
    let refused = loop {
        let mut next = catalogue.drop_intent(1);
        match poll_once(&mut next).await {
            Poll::Ready(answer) => break answer,
            Poll::Pending => waiting.push(next),
        }
        assert!(waiting.len() < 100_000);
    };
    assert!(matches!(refused, Err(CatalogueError::Unavailable(_))), "{refused:?}");
    drop(release);
    assert!(join_all(waiting).await.into_iter().all(|answer| answer.is_ok()));
}

#[tokio::test]
async fn a_change_whose_requester_left_is_still_made() {
    let (_dir, catalogue) = fresh();
    let release = hold(&catalogue).await;
    let mut abandoned = catalogue.record_event(draft(Event::Refuse, "CN"));
    assert!(poll_once(&mut abandoned).await.is_pending());
    drop(abandoned);
    drop(release);
    assert_eq!(catalogue.record_event(draft(Event::Refuse, "CN")).await.unwrap().index, 2);
}

#[tokio::test]
async fn only_one_opens_a_folder_for_writing() {
    let (dir, catalogue) = fresh();
    assert!(matches!(SqliteCatalogue::open(options(dir.path())), Err(OpenError::Locked { .. })));
    drop(catalogue);
    SqliteCatalogue::open(options(dir.path())).unwrap();
}

#[tokio::test]
async fn the_files_are_nobody_elses_to_read() {
    let (dir, catalogue) = fresh();
    write(&catalogue, "key", "cn-1", "CN", "e").await;
    let mut modes = BTreeMap::new();
    for entry in fs::read_dir(dir.path()).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        modes.insert(entry.file_name().into_string().unwrap(), mode);
    }
    assert_eq!(modes.remove(KEYS), Some(0o700));
    assert!(modes.len() >= 3 && modes.values().all(|mode| *mode == 0o600), "{modes:?}");
}

#[tokio::test]
async fn readers_work_beside_the_gateway_and_cannot_write() {
    let (dir, catalogue) = fresh();
    let written = write(&catalogue, "key", "cn-1", "CN", "e").await;
    let reader = SqliteCatalogue::open_read_only(dir.path()).unwrap();
    let handle = reader.object_handle("bucket", "key");
    assert_eq!(reader.find(handle).await.unwrap(), Some(written.placement.clone()));
    assert_eq!(reader.history(written.placement.object, 10).await.unwrap().len(), 1);
    let again = write(&catalogue, "key", "cn-1", "CN", "e2").await;
    assert_eq!(reader.find(handle).await.unwrap(), Some(again.placement));
    let refused = reader.record_event(draft(Event::Refuse, "CN")).await;
    assert!(matches!(refused, Err(CatalogueError::Unavailable(_))), "{refused:?}");
    drop(catalogue);
    let reader = SqliteCatalogue::open_read_only(dir.path()).unwrap();
    assert!(reader.find(handle).await.unwrap().is_some(), "also when no gateway runs");
    let nowhere = tempfile::tempdir().unwrap();
    assert!(matches!(SqliteCatalogue::open_read_only(nowhere.path()), Err(OpenError::NoCatalogue { .. })));
}

#[tokio::test]
async fn everything_is_there_after_a_restart() {
    let (dir, catalogue) = fresh();
    let written = write(&catalogue, "key", "de-1", "DE", "e1").await;
    let moved = write(&catalogue, "key", "cn-1", "CN", "e2").await;
    let open = catalogue.open_intent(intent(&catalogue, "open", placement("cn-1", ""), "CN")).await.unwrap();
    let logs = catalogue.logs().unwrap();
    drop(catalogue);
    let catalogue = SqliteCatalogue::open(options(dir.path())).unwrap();
    assert_eq!(catalogue.logs().unwrap(), logs);
    assert_eq!(catalogue.open_intents().await.unwrap(), [open]);
    assert_eq!(catalogue.residues(10).await.unwrap(), [moved.displaced.unwrap()]);
    let handle = catalogue.object_handle("bucket", "key");
    assert_eq!(catalogue.find(handle).await.unwrap(), Some(moved.placement));
    let next = write(&catalogue, "key", "de-1", "DE", "e3").await;
    assert_eq!(next.receipt.index, written.receipt.index + 1);
}

#[tokio::test]
async fn no_name_is_in_any_file_in_the_clear() {
    let (dir, catalogue) = fresh();
    let marked = |event| {
        let mut draft = draft(event, "DE");
        draft.sealed.bucket = Some("markerbucket".to_owned());
        draft.sealed.key = Some("markerkey".to_owned());
        draft.sealed.principal = Some("markerprincipal".to_owned());
        draft.sealed.address = Some("203.0.113.77".to_owned());
        draft
    };
    let open = async |location: &str| {
        let mut marked_intent = intent(&catalogue, "markerkey", placement(location, ""), "DE");
        marked_intent.bucket = "markerbucket".to_owned();
        marked_intent.draft = marked(Event::Write);
        catalogue.open_intent(marked_intent).await.unwrap()
    };
    for location in ["de-1", "de-2"] {
        let intent = open(location).await;
        catalogue.record_write(settle(intent, "e")).await.unwrap();
    }
    open("de-1").await;
    catalogue.record_event(marked(Event::Refuse)).await.unwrap();
    catalogue
        .create_bucket(Bucket {
            name: "markerbucket".to_owned(),
            home: None,
            constraint: None,
            subject: None,
            owner: "markerprincipal".to_owned(),
            created_at: 1,
            versioning: Default::default(),
            object_lock: Default::default(),
            places: None,
        })
        .await
        .unwrap();
    assert_eq!(catalogue.residues(9).await.unwrap()[0].key, "markerkey");
    assert_eq!(catalogue.open_intents().await.unwrap()[0].bucket, "markerbucket");
    let searched = search(dir.path());
    assert!(searched.iter().any(|path| path.ends_with("catalogue.sqlite-wal")), "{searched:?}");
    drop(catalogue);
    search(dir.path());
}

/// Looks for the markers in every file of a folder.
fn search(folder: &Path) -> Vec<PathBuf> {
    let mut searched = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            searched.extend(search(&path));
            continue;
        }
        let bytes = fs::read(&path).unwrap();
        for marker in ["markerbucket", "markerkey", "markerprincipal", "203.0.113.77"] {
            let found = memchr::memmem::find(&bytes, marker.as_bytes());
            assert_eq!(found, None, "{marker} in {}", path.display());
        }
        searched.push(path);
    }
    searched
}

#[tokio::test]
async fn the_names_of_an_entry_open_to_what_it_commits_to() {
    let (_dir, catalogue) = fresh();
    let receipt = write(&catalogue, "key", "cn-1", "CN", "e").await.receipt;
    let opening = catalogue.opening(&receipt.origin, receipt.index).unwrap().unwrap();
    assert_eq!(opening.facts.key.as_deref(), Some("key"));
    let bytes = catalogue.entries(&receipt.origin, receipt.index, receipt.index + 1).unwrap().remove(0);
    assert_eq!(Entry::parse(&bytes).unwrap().commitment, Some(opening.commitment()));
    let refusal = catalogue.record_event(draft(Event::Refuse, "CN")).await.unwrap();
    let opening = catalogue.opening(&refusal.origin, refusal.index).unwrap().unwrap();
    assert_eq!(opening.facts.principal.as_deref(), Some("app"));
    assert_eq!(catalogue.opening(&refusal.origin, 0).unwrap(), None, "log.open names nobody");
    assert_eq!(catalogue.opening(&refusal.origin, u64::MAX).unwrap(), None);
    assert_eq!(catalogue.opening("nowhere", 1).unwrap(), None);
}

#[tokio::test]
async fn without_its_data_key_an_entry_stays_and_its_names_do_not_open() {
    let (_dir, catalogue) = fresh();
    let written = write(&catalogue, "key", "cn-1", "CN", "e").await;
    let object = written.placement.object.0;
    catalogue
        .write(move |tx| {
            tx.db.execute("DELETE FROM data_keys WHERE id = ?1", [object]).map(drop).map_err(unavailable)
        })
        .await
        .unwrap();
    let Receipt { origin, index } = written.receipt;
    assert_eq!(catalogue.opening(&origin, index).unwrap(), None);
    assert_eq!(catalogue.entries(&origin, index, index + 1).unwrap().len(), 1);
}

#[tokio::test]
async fn a_log_source_serves_exactly_what_is_durable() {
    let (_dir, catalogue) = fresh();
    let mut committed = catalogue.committed();
    let first = write(&catalogue, "key", "cn-1", "CN", "e").await.receipt;
    assert!(committed.has_changed().unwrap());
    committed.mark_unchanged();
    assert_eq!(first.origin, "example.org/CN/gw-1/1");
    let cn = "CN".parse().unwrap();
    let info = LogInfo { origin: first.origin.clone(), jurisdiction: cn, size: 2 };
    assert_eq!(catalogue.logs().unwrap(), [info]);
    let entries = catalogue.entries(&first.origin, 0, u64::MAX).unwrap();
    let events: Vec<_> = entries.iter().map(|bytes| Entry::parse(bytes).unwrap().event).collect();
    assert_eq!(events, [Event::LogOpen, Event::Write]);
    assert_eq!(catalogue.entries(&first.origin, 1, 2).unwrap(), entries[1..]);
    assert_eq!(catalogue.entries(&first.origin, 2, 9).unwrap(), Vec::<Vec<u8>>::new());
    assert_eq!(catalogue.entries(&first.origin, u64::MAX, 0).unwrap(), Vec::<Vec<u8>>::new());
    assert_eq!(catalogue.entries("nowhere", 0, 9).unwrap(), Vec::<Vec<u8>>::new());
    assert!(!committed.has_changed().unwrap());
    catalogue.keys().signing_seed(&first.origin).unwrap();
}

#[tokio::test]
async fn a_lost_or_foreign_key_is_noticed_at_the_start() {
    let (dir, catalogue) = fresh();
    write(&catalogue, "key", "cn-1", "CN", "e").await;
    drop(catalogue);
    let keys = dir.path().join(KEYS);
    for name in ["name.key", "CN.seal", "example.org_CN_gw-1_1.ed25519"] {
        let kept = fs::read(keys.join(name)).unwrap();
        fs::remove_file(keys.join(name)).unwrap();
        let refused = SqliteCatalogue::open(options(dir.path())).map(drop);
        assert!(matches!(refused, Err(OpenError::Key(KeyError::Missing { .. }))), "{name}: {refused:?}");
        assert!(!keys.join(name).exists(), "{name} was made anew");
        fs::write(keys.join(name), kept).unwrap();
    }
    for (name, own) in [("name.key", "name"), ("CN.seal", "seal")] {
        let kept = fs::read(keys.join(name)).unwrap();
        fs::write(keys.join(name), [7; 32]).unwrap();
        match SqliteCatalogue::open(options(dir.path())).map(drop) {
            Err(OpenError::ForeignNameKey) if own == "name" => {}
            Err(OpenError::Key(KeyError::Foreign { .. })) if own == "seal" => {}
            other => panic!("{name}: {other:?}"),
        }
        fs::write(keys.join(name), kept).unwrap();
    }
    SqliteCatalogue::open(options(dir.path())).unwrap();
}

#[tokio::test]
async fn a_lost_database_is_not_replaced_by_an_empty_one() {
    let (dir, catalogue) = fresh();
    write(&catalogue, "key", "cn-1", "CN", "e").await;
    drop(catalogue);
    fs::remove_file(dir.path().join(DATABASE)).unwrap();
    let refused = SqliteCatalogue::open(options(dir.path())).map(drop);
    assert!(matches!(refused, Err(OpenError::LostCatalogue { .. })), "{refused:?}");
}

#[test]
fn a_file_of_a_newer_version_or_another_program_is_left_alone() {
    let (dir, catalogue) = fresh();
    drop(catalogue);
    let path = dir.path().join(DATABASE);
    let change = |sql: &str| Connection::open(&path).unwrap().execute_batch(sql).unwrap();
    change("PRAGMA user_version = 4");
    let refused = SqliteCatalogue::open(options(dir.path())).map(drop);
    assert!(matches!(refused, Err(OpenError::Newer { found: 4, known: 3 })), "{refused:?}");
    change("PRAGMA application_id = 1");
    let refused = SqliteCatalogue::open(options(dir.path())).map(drop);
    assert!(matches!(refused, Err(OpenError::NotOurs)), "{refused:?}");
    change("PRAGMA user_version = 0; PRAGMA application_id = 0");
    let refused = SqliteCatalogue::open(options(dir.path())).map(drop);
    assert!(matches!(refused, Err(OpenError::NotOurs)), "{refused:?}");
    fs::write(&path, "not a database, but long enough to look at").unwrap();
    let refused = SqliteCatalogue::open(options(dir.path())).map(drop);
    assert!(matches!(refused, Err(OpenError::Database(_))), "{refused:?}");
}
