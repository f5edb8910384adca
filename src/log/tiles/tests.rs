use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use proptest::prelude::*;

use super::*;
use crate::log::merkle::{Tree, leaf_hash};

const ORIGIN: &str = "log.example.org/CN/gw-1/1";

/// Entries in memory, with a size that a test moves as it likes.
#[derive(Default)]
struct Memory {
    logs: Mutex<BTreeMap<String, Vec<Vec<u8>>>>,
    reads: AtomicU64,
}

impl Memory {
    fn with(origin: &str, size: u64) -> Arc<Self> {
        let memory = Memory::default();
        memory.set(origin, size, 0);
        Arc::new(memory)
    }

    fn set(&self, origin: &str, size: u64, salt: u64) {
        self.logs
            .lock()
            .unwrap()
            .insert(origin.to_owned(), (0..size).map(|index| entry(index, salt)).collect());
    }

    fn grow(&self, origin: &str, size: u64) {
        let mut logs = self.logs.lock().unwrap();
        let entries = logs.entry(origin.to_owned()).or_default();
        let held = entries.len() as u64;
        entries.extend((held..size).map(|index| entry(index, 0)));
    }
}

fn entry(index: u64, salt: u64) -> Vec<u8> {
    format!("{{\"ev\":\"write\",\"i\":{index},\"s\":{salt}}}").into_bytes()
}

impl LogSource for Memory {
    fn logs(&self) -> Result<Vec<LogInfo>, LogSourceError> {
        let info = |(origin, entries): (&String, &Vec<Vec<u8>>)| LogInfo {
            origin: origin.clone(),
            jurisdiction: "CN".parse().unwrap(),
            size: entries.len() as u64,
        };
        Ok(self.logs.lock().unwrap().iter().map(info).collect())
    }

    fn entries(&self, origin: &str, from: u64, to: u64) -> Result<Vec<Vec<u8>>, LogSourceError> {
        self.reads.fetch_add(to - from, Ordering::Relaxed);
        let logs = self.logs.lock().unwrap();
        let entries = logs.get(origin).ok_or_else(|| LogSourceError::UnknownLog(origin.to_owned()))?;
        Ok(entries[from as usize..to as usize].to_vec())
    }
}

struct Seeds(u8);

impl Signer for Seeds {
    fn seed(&self, _origin: &str) -> Result<[u8; 32], SignerError> {
        Ok([self.0; 32])
    }
}

fn open(dir: &Path, source: &Arc<Memory>) -> Result<Publisher, PublishError> {
    Publisher::open(dir, Arc::clone(source) as Arc<dyn LogSource>, Arc::new(Seeds(7)))
}

fn key() -> LogKey {
    LogKey::from_seed(ORIGIN.parse().unwrap(), &[7; 32]).unwrap()
}

fn head_on_disk(dir: &Path) -> Head {
    key().open(&fs::read(dir.join(ORIGIN).join("checkpoint")).unwrap()).unwrap()
}

fn expected_root(size: u64) -> [u8; 32] {
    let mut tree = Tree::new();
    (0..size).for_each(|index| tree.push(leaf_hash(&entry(index, 0)), |_| ()));
    tree.root()
}

/// Every file below a folder but partial tiles, locks and checkpoints, by relative path.
fn full_files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut open = vec![dir.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_dir() {
                open.push(entry.path());
            } else if !entry.path().to_string_lossy().contains(".p/") {
                let path = entry.path().strip_prefix(dir).unwrap().to_string_lossy().into_owned();
                found.insert(path, fs::read(entry.path()).unwrap());
            }
        }
    }
    found
}

#[test]
fn a_log_without_entries_is_not_published() {
    let dir = tempfile::tempdir().unwrap();
    let source = Memory::with(ORIGIN, 0);
    assert_eq!(open(dir.path(), &source).unwrap().run_once().unwrap(), []);
    assert!(!dir.path().join(ORIGIN).join("checkpoint").exists());
}

#[test]
fn a_checkpoint_is_signed_only_when_the_log_grew() {
    let dir = tempfile::tempdir().unwrap();
    let source = Memory::with(ORIGIN, 3);
    let mut publisher = open(dir.path(), &source).unwrap();
    let head = Head { size: 3, root: expected_root(3) };
    assert_eq!(publisher.run_once().unwrap(), [(ORIGIN.to_owned(), head)]);
    assert_eq!(head_on_disk(dir.path()), head);
    assert_eq!(publisher.run_once().unwrap(), []);
    let vkey = fs::read_to_string(dir.path().join(ORIGIN).join("vkey")).unwrap();
    assert_eq!(vkey.trim_end(), key().vkey());
}

#[test]
fn partial_tiles_stay_until_the_full_tile_exists() {
    let dir = tempfile::tempdir().unwrap();
    let source = Memory::with(ORIGIN, 10);
    let mut publisher = open(dir.path(), &source).unwrap();
    let log = dir.path().join(ORIGIN);
    publisher.run_once().unwrap();
    source.grow(ORIGIN, 20);
    publisher.run_once().unwrap();
    for partial in ["tile/0/000.p/10", "tile/0/000.p/20", "tile/entries/000.p/10", "tile/entries/000.p/20"] {
        assert!(log.join(partial).is_file(), "{partial}");
    }
    source.grow(ORIGIN, 300);
    publisher.run_once().unwrap();
    for full in
        ["tile/0/000", "tile/entries/000", "tile/0/001.p/44", "tile/entries/001.p/44", "tile/1/000.p/1"]
    {
        assert!(log.join(full).is_file(), "{full}");
    }
    assert!(!log.join("tile/0/000.p").exists());
    assert!(!log.join("tile/entries/000.p").exists());
}

#[test]
fn a_restart_reads_the_end_of_the_log_and_not_the_whole() {
    for size in [1, 255, 256, 257, 2_000, 65_536, 65_537] {
        let dir = tempfile::tempdir().unwrap();
        let source = Memory::with(ORIGIN, size);
        open(dir.path(), &source).unwrap().run_once().unwrap();
        source.reads.store(0, Ordering::Relaxed);
        let mut publisher = open(dir.path(), &source).unwrap();
        assert!(source.reads.load(Ordering::Relaxed) <= 256, "size {size}");
        source.grow(ORIGIN, size + 300);
        publisher.run_once().unwrap();
        if size < 65_536 {
            assert_eq!(head_on_disk(dir.path()), Head { size: size + 300, root: expected_root(size + 300) });
        }
        assert!(source.reads.load(Ordering::Relaxed) <= 256 + 256 + 300, "size {size}");
    }
}

#[test]
fn a_catalogue_that_was_rolled_back_is_refused_at_start() {
    let dir = tempfile::tempdir().unwrap();
    let source = Memory::with(ORIGIN, 300);
    open(dir.path(), &source).unwrap().run_once().unwrap();
    let before = full_files(dir.path());
    source.set(ORIGIN, 299, 0);
    let error = open(dir.path(), &source).map(|_| ()).unwrap_err();
    assert!(matches!(error, PublishError::RolledBack { published: 300, held: 299, .. }), "{error}");
    assert_eq!(full_files(dir.path()), before);
}

#[test]
fn a_catalogue_that_was_rolled_back_and_grew_again_is_refused_at_start() {
    for size in [300, 512, 400] {
        let dir = tempfile::tempdir().unwrap();
        let source = Memory::with(ORIGIN, 300);
        open(dir.path(), &source).unwrap().run_once().unwrap();
        source.set(ORIGIN, size, 1);
        let error = open(dir.path(), &source).map(|_| ()).unwrap_err();
        assert!(matches!(error, PublishError::Diverged { .. }), "{error}");
    }
}

#[test]
fn a_rollback_under_a_running_publisher_is_refused_for_good_and_other_logs_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let other = "log.example.org/DE/gw-1/1";
    let source = Memory::with(ORIGIN, 300);
    source.grow(other, 5);
    let mut publisher = open(dir.path(), &source).unwrap();
    publisher.run_once().unwrap();
    source.set(ORIGIN, 100, 0);
    source.grow(other, 6);
    let heads = publisher.run_once().unwrap();
    assert_eq!(
        heads.iter().map(|(origin, head)| (origin.as_str(), head.size)).collect::<Vec<_>>(),
        [(other, 6)]
    );
    let LogState::Refused(error) = &publisher.status()[ORIGIN] else { panic!("{:?}", publisher.status()) };
    assert!(matches!(**error, PublishError::RolledBack { .. }));
    source.grow(ORIGIN, 900);
    assert_eq!(publisher.run_once().unwrap(), []);
    assert_eq!(head_on_disk(dir.path()).size, 300);
}

#[test]
fn a_log_that_the_catalogue_forgot_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let source = Memory::with(ORIGIN, 3);
    let mut publisher = open(dir.path(), &source).unwrap();
    publisher.run_once().unwrap();
    source.logs.lock().unwrap().clear();
    publisher.run_once().unwrap();
    assert!(matches!(&publisher.status()[ORIGIN], LogState::Refused(_)));
    drop(publisher);
    let error = open(dir.path(), &source).map(|_| ()).unwrap_err();
    assert!(matches!(&error, PublishError::Vanished { origin } if origin == ORIGIN), "{error}");
}

#[test]
fn a_forged_checkpoint_and_a_changed_key_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let source = Memory::with(ORIGIN, 3);
    open(dir.path(), &source).unwrap().run_once().unwrap();
    let error = Publisher::open(dir.path(), source.clone(), Arc::new(Seeds(8))).map(|_| ()).unwrap_err();
    assert!(matches!(error, PublishError::OtherKey { .. }), "{error}");

    let path = dir.path().join(ORIGIN).join("checkpoint");
    let forged = fs::read_to_string(&path).unwrap().replacen("\n3\n", "\n2\n", 1);
    fs::write(&path, forged).unwrap();
    let error = open(dir.path(), &source).map(|_| ()).unwrap_err();
    assert!(
        matches!(error, PublishError::ForeignCheckpoint { reason: CheckpointError::Signature, .. }),
        "{error}"
    );
}

#[test]
fn files_at_the_end_that_a_crash_damaged_are_written_again_from_the_catalogue() {
    for damaged in ["tile/0/001.p/44", "tile/entries/001.p/44", "tile/1/000.p/1"] {
        let dir = tempfile::tempdir().unwrap();
        let source = Memory::with(ORIGIN, 300);
        open(dir.path(), &source).unwrap().run_once().unwrap();
        let path = dir.path().join(ORIGIN).join(damaged);
        let whole = fs::read(&path).unwrap();
        fs::write(&path, b"").unwrap();
        open(dir.path(), &source).unwrap();
        assert_eq!(fs::read(&path).unwrap(), whole, "{damaged}");
    }
}

#[test]
fn what_lies_on_disk_beyond_the_checkpoint_is_written_again() {
    let dir = tempfile::tempdir().unwrap();
    let source = Memory::with(ORIGIN, 10);
    let mut publisher = open(dir.path(), &source).unwrap();
    publisher.run_once().unwrap();
    let torn = dir.path().join(ORIGIN).join("tile/0/000.p/20");
    fs::write(&torn, b"torn").unwrap();
    source.grow(ORIGIN, 20);
    publisher.run_once().unwrap();
    assert_eq!(fs::read(torn).unwrap().len(), 20 * 32);
}

#[test]
fn two_publishers_cannot_share_a_folder() {
    let dir = tempfile::tempdir().unwrap();
    let source = Memory::with(ORIGIN, 1);
    let _first = open(dir.path(), &source).unwrap();
    assert!(matches!(open(dir.path(), &source), Err(PublishError::InUse { .. })));
}

#[test]
fn an_origin_that_would_leave_the_folder_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let source = Memory::with("../../elsewhere", 1);
    assert!(matches!(open(dir.path(), &source), Err(PublishError::Name(CheckpointError::Origin(_)))));
}

#[test]
fn an_entry_that_no_bundle_can_hold_delays_its_log() {
    let dir = tempfile::tempdir().unwrap();
    let source = Memory::with(ORIGIN, 0);
    source.logs.lock().unwrap().get_mut(ORIGIN).unwrap().push(vec![b'x'; 65_536]);
    let mut publisher = open(dir.path(), &source).unwrap();
    publisher.run_once().unwrap();
    assert!(matches!(&publisher.status()[ORIGIN], LogState::Delayed(error)
        if matches!(**error, PublishError::EntryTooLong { .. })));
}

#[test]
fn a_disk_that_fails_delays_the_checkpoint_and_nothing_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let source = Memory::with(ORIGIN, 3);
    let mut publisher = open(dir.path(), &source).unwrap();
    publisher.run_once().unwrap();
    // A file where a folder must be fails every write below it, for root too.
    let tiles = dir.path().join(ORIGIN).join("tile/0");
    fs::rename(&tiles, tiles.with_extension("away")).unwrap();
    fs::write(&tiles, b"").unwrap();
    source.grow(ORIGIN, 9);
    assert_eq!(publisher.run_once().unwrap(), []);
    assert!(matches!(&publisher.status()[ORIGIN], LogState::Delayed(error)
        if matches!(**error, PublishError::Io { .. })));
    assert_eq!(head_on_disk(dir.path()).size, 3);

    fs::remove_file(&tiles).unwrap();
    fs::rename(tiles.with_extension("away"), &tiles).unwrap();
    assert_eq!(
        publisher.run_once().unwrap(),
        [(ORIGIN.to_owned(), Head { size: 9, root: expected_root(9) })]
    );
    assert!(matches!(&publisher.status()[ORIGIN], LogState::Published(9)));
}

#[test]
fn a_source_that_does_not_answer_delays_every_log() {
    struct Broken;
    impl LogSource for Broken {
        fn logs(&self) -> Result<Vec<LogInfo>, LogSourceError> {
            Err(LogSourceError::Unavailable("the disk is gone".to_owned()))
        }
        fn entries(&self, _: &str, _: u64, _: u64) -> Result<Vec<Vec<u8>>, LogSourceError> {
            Err(LogSourceError::Unavailable("the disk is gone".to_owned()))
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let mut publisher = open(dir.path(), &Memory::with(ORIGIN, 3)).unwrap();
    publisher.source = Arc::new(Broken);
    let error = publisher.run_once().unwrap_err();
    assert!(matches!(*error, PublishError::Source(LogSourceError::Unavailable(_))), "{error}");
    assert!(matches!(&publisher.status()[ORIGIN], LogState::Delayed(_)));
}

#[test]
fn a_source_that_gives_fewer_entries_than_it_promised_is_not_signed() {
    struct Short(Arc<Memory>);
    impl LogSource for Short {
        fn logs(&self) -> Result<Vec<LogInfo>, LogSourceError> {
            self.0.logs()
        }
        fn entries(&self, origin: &str, from: u64, to: u64) -> Result<Vec<Vec<u8>>, LogSourceError> {
            self.0.entries(origin, from, to - 1)
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let source = Arc::new(Short(Memory::with(ORIGIN, 3)));
    let mut publisher = Publisher::open(dir.path(), source, Arc::new(Seeds(7))).unwrap();
    assert_eq!(publisher.run_once().unwrap(), []);
    assert!(matches!(&publisher.status()[ORIGIN], LogState::Delayed(_)));
}

#[tokio::test]
async fn stopping_publishes_a_last_time() {
    let dir = tempfile::tempdir().unwrap();
    let source = Memory::with(ORIGIN, 3);
    let handle = open(dir.path(), &source).unwrap().spawn();
    let mut status = handle.status();
    status.changed().await.unwrap();
    assert!(matches!(status.borrow()[ORIGIN], LogState::Published(3)));
    source.grow(ORIGIN, 4);
    handle.stop().await;
    assert_eq!(head_on_disk(dir.path()), Head { size: 4, root: expected_root(4) });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn growing_in_any_steps_gives_the_same_log_as_at_once(
        steps in proptest::collection::vec((1..400_u64, proptest::bool::ANY), 1..8),
    ) {
        let (stepped, at_once) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let source = Memory::with(ORIGIN, 0);
        let mut publisher = open(stepped.path(), &source).unwrap();
        let mut size = 0;
        for (step, restart) in steps {
            size += step;
            source.grow(ORIGIN, size);
            publisher.run_once().unwrap();
            if restart {
                drop(publisher);
                publisher = open(stepped.path(), &source).unwrap();
            }
        }
        open(at_once.path(), &source).unwrap().run_once().unwrap();
        prop_assert_eq!(full_files(stepped.path()), full_files(at_once.path()));
        prop_assert_eq!(head_on_disk(stepped.path()), Head { size, root: expected_root(size) });
    }
}
