//! Published logs through the front door: what the publisher writes, the verifier and verifiers that
//! we did not write accept; whatever is changed afterwards, they refuse.

mod published;

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};

use domicile::log::tiles::Publisher;
use domicile::log::verify::{EntryProblem, KeyTrust, NoteError, Options, Problem, Report, Verdict, verify};
use proptest::prelude::*;

use published::{Entries, Log, Seed, copy, entry, oid};

const ORIGIN: &str = "log.example.org/CN/gw-1/1";

#[test]
fn logs_of_every_awkward_size_hold_and_fit_all_their_older_checkpoints() {
    let log = Log::new();
    let mut older = Vec::new();
    for size in [1, 2, 255, 256, 257, 4097] {
        log.publish(size);
        assert_good(&log.verify_with(&older), size);
        older.push(log.keep_checkpoint());
    }
    for size in [65_535, 65_536, 65_537, 70_000] {
        log.publish(size);
        older.push(log.keep_checkpoint());
        log.is_accepted_by_foreign_code();
    }
    let report = log.verify_with(&older);
    assert_good(&report, 70_000);
    assert_eq!(report.logs[0].entries, 70_000);
    assert_eq!(report.logs[0].tiles, 274 + 2 + 1);
    assert_eq!(report.logs[0].grew_from, [1, 2, 255, 256, 257, 4097, 65_535, 65_536, 65_537, 70_000]);
}

#[test]
fn a_log_that_ends_with_a_full_tile_of_the_second_level_holds() {
    let log = Log::of(65_536);
    assert_good(&log.verify(), 65_536);
}

#[test]
fn a_log_that_has_grown_since_its_checkpoint_was_read_still_holds() {
    let log = Log::of(200);
    let checkpoint = fs::read(log.path("checkpoint")).unwrap();
    log.publish(300);
    assert!(!log.path("tile/0/000.p").exists());
    fs::write(log.path("checkpoint"), checkpoint).unwrap();
    assert_good(&log.verify(), 200);
}

#[test]
fn many_logs_below_one_folder_are_all_checked() {
    let log = Log::of(3);
    let other = "log.example.org/DE/gw-1/1";
    log.source.grow(other, 5);
    log.publisher().run_once().unwrap();
    let report = verify(&Options { dir: log.dir.path().to_owned(), ..Options::default() });
    assert_eq!(report.exit_code(), 0);
    let sizes: Vec<_> =
        report.logs.iter().map(|log| (log.origin.as_deref().unwrap(), log.size.unwrap())).collect();
    assert_eq!(sizes, [(ORIGIN, 3), (other, 5)]);
}

#[test]
fn a_key_from_the_folder_is_called_weaker_and_a_key_that_was_given_is_not() {
    let log = Log::of(3);
    let report = verify(&Options { dir: log.dir.path().to_owned(), ..Options::default() });
    assert_eq!(report.logs[0].key, KeyTrust::Folder);
    assert!(report.to_string().contains("weaker"));
    assert_eq!(log.verify().logs[0].key, KeyTrust::Given);
    assert!(!log.verify().to_string().contains("weaker"));
}

#[test]
fn one_flipped_bit_in_an_entry_is_found_and_the_entry_named() {
    let log = Log::of(1000);
    // The second byte of the nonce of some entry in the second bundle: the entry stays well-formed.
    let bundle = fs::read(log.path("tile/entries/001")).unwrap();
    let at = find(&bundle, b"\"n\":\"") + 6;
    log.flip("tile/entries/001", at);
    let report = log.verify();
    assert_eq!(report.exit_code(), 1);
    assert_eq!(
        report.logs[0].problems,
        [Problem::EntryChanged { index: 256, path: "tile/0/001".to_owned() }, Problem::Root]
    );
    assert!(report.to_string().contains("bad: entry 256 was changed"), "{report}");

    // On the right edge nothing stands above the tile, so that either may be the changed one.
    let log = Log::of(1000);
    let bundle = fs::read(log.path("tile/entries/003.p/232")).unwrap();
    log.flip("tile/entries/003.p/232", find(&bundle, b"\"n\":\"") + 6);
    let path = "tile/0/003.p/232".to_owned();
    assert_eq!(log.problems(), [Problem::EntryOrTileChanged { path, at: 0, index: 768 }, Problem::Root]);
}

#[test]
fn one_flipped_bit_in_a_tile_of_any_level_is_found_and_the_tile_named() {
    for (tile, at, expected) in [
        ("tile/0/002", 5, Problem::TileChanged { path: "tile/0/002".to_owned(), at: 5 }),
        (
            "tile/0/256.p/44",
            43,
            Problem::EntryOrTileChanged { path: "tile/0/256.p/44".to_owned(), at: 43, index: 65_579 },
        ),
        ("tile/1/000", 255, Problem::TileChanged { path: "tile/1/000".to_owned(), at: 255 }),
        ("tile/2/000.p/1", 0, Problem::TileChanged { path: "tile/2/000.p/1".to_owned(), at: 0 }),
    ] {
        let log = big_log();
        log.flip(tile, at * 32 + 31);
        assert_eq!(log.problems(), [expected], "{tile}");
    }
}

#[test]
fn a_changed_checkpoint_is_refused_wherever_it_was_changed() {
    let log = Log::of(20);
    let original = fs::read(log.path("checkpoint")).unwrap();
    for at in 0..original.len() {
        let mut bytes = original.clone();
        bytes[at] ^= 1;
        fs::write(log.path("checkpoint"), &bytes).unwrap();
        assert_eq!(log.verify().exit_code(), 1, "byte {at}");
    }

    let text = String::from_utf8(original.clone()).unwrap();
    fs::write(log.path("checkpoint"), text.replacen("\n20\n", "\n19\n", 1)).unwrap();
    assert!(log.problems().contains(&Problem::Signature));
    let unsigned = format!("{}\n\n\u{2014} witness.example AAAAAAAA\n", text.split("\n\n").next().unwrap());
    fs::write(log.path("checkpoint"), unsigned).unwrap();
    assert_eq!(log.problems(), [Problem::NotSigned]);
    let mut signature = original.clone();
    signature[original.len() - 20] ^= 1;
    fs::write(log.path("checkpoint"), signature).unwrap();
    assert_eq!(log.problems(), [Problem::Signature]);
    fs::write(log.path("checkpoint"), b"").unwrap();
    assert_eq!(log.problems(), [Problem::Checkpoint(NoteError::NoSignatures)]);
}

#[test]
fn truncated_and_missing_files_are_named() {
    let bundle = || "tile/entries/001".to_owned();
    let log = Log::of(1000);
    let whole = fs::read(log.path(&bundle())).unwrap();
    fs::write(log.path(&bundle()), &whole[..whole.len() - 1]).unwrap();
    assert_eq!(log.problems(), [Problem::BundleTruncated { path: bundle(), index: 511 }]);
    fs::write(log.path(&bundle()), [whole.as_slice(), b"\0"].concat()).unwrap();
    assert_eq!(log.problems(), [Problem::BundleExcess { path: bundle(), width: 256 }]);
    fs::remove_file(log.path(&bundle())).unwrap();
    assert_eq!(log.problems(), [Problem::BundleMissing { path: bundle() }]);
    fs::remove_file(log.path("tile/0/001")).unwrap();
    let missing = Problem::TileMissing { path: "tile/0/001".to_owned() };
    assert_eq!(
        log.problems(),
        [Problem::BundleMissing { path: bundle() }, missing.clone(), Problem::WalkEnded { index: 256 }]
    );

    let log = Log::of(1000);
    fs::remove_file(log.path("tile/0/001")).unwrap();
    assert_eq!(log.problems(), [missing]);
    let log = Log::of(1000);
    fs::write(log.path("tile/1/000.p/3"), [0; 95]).unwrap();
    let path = "tile/1/000.p/3".to_owned();
    assert_eq!(log.problems(), [Problem::TileLength { path, found: 95, expected: 96 }]);
    let log = Log::of(1000);
    fs::remove_file(log.path("checkpoint")).unwrap();
    assert_eq!(log.problems(), [Problem::NoCheckpoint]);
}

#[test]
fn an_old_partial_tile_that_was_changed_is_found() {
    let log = Log::of(10);
    log.publish(20);
    log.flip("tile/0/000.p/10", 0);
    log.flip("tile/entries/000.p/10", 9);
    let changed = |path: &str| Problem::PartialDiffers { path: path.to_owned() };
    assert_eq!(log.problems(), [changed("tile/entries/000.p/10"), changed("tile/0/000.p/10")]);
}

#[test]
fn a_rolled_back_a_rewritten_and_a_vanished_log_are_found_with_an_older_checkpoint() {
    let log = Log::of(300);
    let older = vec![log.keep_checkpoint()];

    let rolled_back = Log::of(200);
    let report = rolled_back.verify_with(&older);
    assert_eq!(report.logs[0].problems, [Problem::OlderAhead { older: 300, size: 200 }]);
    assert_eq!(report.exit_code(), 1);

    let rewritten = Log::new();
    rewritten.source.replace(ORIGIN, vec![entry(0, 1), entry(1, 1)]);
    rewritten.publish(400);
    assert_good(&rewritten.verify(), 400);
    let report = rewritten.verify_with(&older);
    assert_eq!(report.logs[0].problems, [Problem::OlderDiffers { size: 300 }]);

    let other_key = Log::signed_by(9, 400);
    let report = other_key.verify_with(&older);
    assert_eq!(report.logs[0].problems, [Problem::OlderNotSigned { size: 300 }]);

    let elsewhere = Log::new();
    elsewhere.source.grow("log.example.org/DE/gw-1/1", 3);
    elsewhere.publisher().run_once().unwrap();
    let options =
        Options { dir: elsewhere.dir.path().to_owned(), old_checkpoints: older, ..Options::default() };
    let report = verify(&options);
    assert_eq!(report.problems, [Problem::OlderWithoutLog(ORIGIN.to_owned())]);
    assert_eq!(report.exit_code(), 1);
}

#[test]
fn a_log_signed_by_another_key_than_the_auditor_s_is_refused() {
    let (log, forged) = (Log::of(3), Log::signed_by(9, 3));
    let dir = forged.dir.path().to_owned();
    let report = verify(&Options { dir: dir.clone(), vkeys: vec![log.vkey()], ..Options::default() });
    assert_eq!(report.logs[0].problems, [Problem::NotSigned]);
    assert_eq!(report.exit_code(), 1);
    assert_eq!(verify(&Options { dir, ..Options::default() }).exit_code(), 0);
}

#[test]
fn what_cannot_be_checked_is_not_called_good() {
    let log = Log::of(3);
    let dir = || log.dir.path().to_owned();
    let empty = tempfile::tempdir().unwrap();
    for (options, why) in [
        (Options { dir: empty.path().to_owned(), ..Options::default() }, "holds no log"),
        (Options { dir: empty.path().join("missing"), ..Options::default() }, "cannot be read"),
        (Options { dir: log.path("vkey"), ..Options::default() }, "cannot be read"),
        (
            Options { dir: dir(), vkeys: vec!["nonsense".to_owned()], ..Options::default() },
            "key given cannot be used",
        ),
        (Options { dir: dir(), vkeys: vec![other_vkey()], ..Options::default() }, "no log here has the name"),
        (
            Options { dir: dir(), old_checkpoints: vec![dir().join("none")], ..Options::default() },
            "cannot be read",
        ),
        (
            Options { dir: dir(), old_checkpoints: vec![log.path("vkey")], ..Options::default() },
            "no older checkpoint",
        ),
    ] {
        let report = verify(&options);
        assert_eq!(report.exit_code(), 2, "{report}");
        assert!(report.to_string().contains(why), "{report}");
    }
    fs::remove_file(log.path("vkey")).unwrap();
    let report = verify(&Options { dir: dir(), ..Options::default() });
    assert_eq!(report.logs[0].problems, [Problem::NoKey]);
    assert_eq!(report.exit_code(), 2);
}

#[test]
fn entries_that_break_the_format_are_found_in_a_log_that_is_otherwise_whole() {
    let log = Log::new();
    let entries = [
        br#"{"ev":"write"}"#.to_vec(),
        br#"{"ev":"write","dec":1}"#.to_vec(),
        format!(r#"{{"ev":"write","oid":"{}","prev":1}}"#, oid(1)).into_bytes(),
        br#"{"ev":"policy","prev":1}"#.to_vec(),
    ];
    log.source.replace(ORIGIN, entries.to_vec());
    log.publisher().run_once().unwrap();
    let problems = log.problems();
    assert_eq!(problems.len(), 3, "{problems:?}");
    assert_eq!(problems[0], Problem::Entry { index: 0, reason: EntryProblem::NotOpened });
    assert!(problems[1].to_string().contains("ascending"), "{}", problems[1]);
    // Entry 2 points at one that could not be read: no second finding for the same fault.
    assert_eq!(problems[2], Problem::Entry { index: 3, reason: EntryProblem::PreviousOfNothing });
}

#[test]
fn thousands_of_faults_are_counted_and_not_all_listed() {
    let log = Log::new();
    let entries = (0..1000).map(|index| format!("entry {index}").into_bytes()).collect();
    log.source.replace(ORIGIN, entries);
    log.publisher().run_once().unwrap();
    let report = log.verify();
    assert_eq!((report.logs[0].problems.len(), report.logs[0].unlisted), (100, 900));
    assert!(report.to_string().contains("and 900 more problems"));
}

#[test]
fn a_checkpoint_that_claims_more_than_there_is_ends_the_walk_at_once() {
    let log = Log::of(3);
    let text = fs::read_to_string(log.path("checkpoint")).unwrap();
    fs::write(log.path("checkpoint"), text.replacen("\n3\n", "\n18446744073709551615\n", 1)).unwrap();
    assert!(log.problems().contains(&Problem::WalkEnded { index: 0 }));
}

#[test]
fn the_json_report_says_the_same_as_the_text() {
    let log = Log::of(300);
    log.flip("tile/0/000", 0);
    let report = log.verify();
    let json: serde_json::Value = serde_json::from_str(&report.to_json()).unwrap();
    assert_eq!(json["verdict"], "bad");
    assert_eq!(json["logs"][0]["origin"], ORIGIN);
    assert_eq!(json["logs"][0]["size"], 300);
    assert_eq!(json["logs"][0]["key"], "given");
    let message = json["logs"][0]["problems"][0]["message"].as_str().unwrap();
    assert!(report.to_string().contains(message));
    assert_eq!(json["logs"][0]["problems"][0]["verdict"], "bad");
}

#[cfg(unix)]
#[test]
fn folders_that_lead_in_circles_and_files_that_are_none_end_in_a_report() {
    let log = Log::of(300);
    let domain = log.dir.path().join("log.example.org");
    std::os::unix::fs::symlink(&domain, domain.join("again")).unwrap();
    assert_good(&log.verify(), 300);

    fs::remove_file(log.path("tile/0/000")).unwrap();
    fs::create_dir(log.path("tile/0/000")).unwrap();
    let report = log.verify();
    assert_eq!(report.exit_code(), 2, "{report}");
    assert!(report.to_string().contains("not a regular file"), "{report}");
}

/// Leaves logs where the scripts of `tests/oracles` find them.
#[test]
fn logs_for_the_oracles_are_written() {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("placement-logs");
    if dir.exists() {
        fs::remove_dir_all(&dir).unwrap();
    }
    let source = Arc::new(Entries::default());
    let sizes = [1, 2, 255, 256, 257, 65_535, 65_536, 65_537, 70_000];
    for size in sizes {
        source.grow(&format!("log.example.org/CN/gw-{size}/1"), size);
    }
    let mut publisher = Publisher::open(&dir, source, Arc::new(Seed(7))).unwrap();
    publisher.run_once().unwrap();
    publisher.run_once().unwrap();
    assert_eq!(publisher.status().len(), sizes.len());
    let report = verify(&Options { dir: dir.join("log.example.org/CN/gw-65537"), ..Options::default() });
    assert_good(&report, 65_537);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]
    #[test]
    fn logs_of_any_size_published_in_any_steps_hold(steps in proptest::collection::vec(1..600_u64, 1..5)) {
        let log = Log::new();
        let mut older = Vec::new();
        let mut size = 0;
        for step in steps {
            size += step;
            log.publish(size);
            older.push(log.keep_checkpoint());
        }
        let report = log.verify_with(&older);
        prop_assert_eq!(report.exit_code(), 0, "{}", report);
        prop_assert_eq!(report.logs[0].grew_from.len(), older.len());
        log.is_accepted_by_foreign_code();
    }

    #[test]
    fn a_flipped_bit_anywhere_in_any_file_that_counts_is_found(file in 0..7_usize, at in any::<prop::sample::Index>(), bit in 0..8_u32) {
        let log = Log::of(600);
        let files = ["checkpoint", "tile/0/000", "tile/0/002.p/88", "tile/1/000.p/2", "tile/entries/000",
            "tile/entries/001", "tile/entries/002.p/88"];
        let path = log.path(files[file]);
        let mut bytes = fs::read(&path).unwrap();
        let at = at.index(bytes.len());
        bytes[at] ^= 1_u8 << bit;
        fs::write(&path, bytes).unwrap();
        prop_assert_eq!(log.verify().verdict, Verdict::Bad, "{} byte {}", files[file], at);
    }
}

/// A log with a third level of tiles, without the cost of its first 65536 entries for each test that changes it.
fn big_log() -> Log {
    static TEMPLATE: Mutex<Option<Log>> = Mutex::new(None);
    let mut template = TEMPLATE.lock().unwrap();
    let template = template.get_or_insert_with(|| Log::of(65_580));
    let log = Log::new();
    copy(template.dir.path(), log.dir.path());
    log
}

fn assert_good(report: &Report, size: u64) {
    assert_eq!(report.exit_code(), 0, "{report}");
    assert_eq!(report.logs[0].size, Some(size));
    assert_eq!(report.logs[0].verdict, Verdict::Ok);
}

fn find(haystack: &[u8], needle: &[u8]) -> usize {
    haystack.windows(needle.len()).position(|window| window == needle).unwrap()
}

/// The example key of the signed-note documentation.
fn other_vkey() -> String {
    "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW".to_owned()
}
