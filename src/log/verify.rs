//! Verifies published placement logs: `domicile audit verify`.
//!
//! For auditors, so it believes nothing: it shares no code with what writes the logs, reads every
//! entry and every tile, and computes every hash. It needs only the files, not the gateway. It does not show
//! that what was logged is what happened: for that, reconcile the log with the locations.

mod entry;
mod note;
mod report;
mod tree;
mod walk;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

pub use self::entry::EntryProblem;
pub use self::note::NoteError;
use self::note::{Checkpoint, Signed, VerifierKey};
pub use self::report::{KeyTrust, LogReport, Problem, Report, Verdict};

/// What to verify, and what the auditor brings along.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// A log's folder, or any folder above some logs.
    pub dir: PathBuf,
    /// Verifier keys that the auditor knows, `name+id+base64`, at most one for each log.
    /// A log without one is checked with the `vkey` file beside it, and the report says so.
    pub vkeys: Vec<String>,
    /// Checkpoints kept from earlier: the logs must have grown from them.
    pub old_checkpoints: Vec<PathBuf>,
}

/// Verifies every log below a folder. Always comes to an end, whatever lies there.
///
/// Reads the whole of each log. Memory stays at a few bundles (17 MB each at worst, usually some 100 KB),
/// and some 40 bytes for each object that a log speaks of.
pub fn verify(options: &Options) -> Report {
    let mut problems = Vec::new();
    let keys = given_keys(&options.vkeys, &mut problems);
    let older = older_checkpoints(&options.old_checkpoints, &mut problems);
    let folders = find_logs(&options.dir, &mut problems);
    if folders.is_empty() && problems.is_empty() {
        problems.push(Problem::NoLogs { path: options.dir.clone() });
    }
    let mut seen = BTreeSet::new();
    let logs: Vec<LogReport> = folders
        .into_iter()
        .map(|folder| {
            let mut report = LogReport::of(folder.clone());
            verify_log(&folder, &keys, &older, &mut report);
            if report.origin.as_ref().is_some_and(|origin| !seen.insert(origin.clone())) {
                report.add(Problem::SecondOfName);
            }
            report
        })
        .collect();
    let missing = |name: &&String| !seen.contains(*name);
    problems.extend(keys.keys().filter(missing).cloned().map(Problem::KeyWithoutLog));
    problems.extend(older.keys().filter(missing).cloned().map(Problem::OlderWithoutLog));
    Report::new(logs, problems)
}

/// A checkpoint or a key is far below this.
const LONGEST_NOTE: u64 = 64 * 1024;
/// Folders below the one given that are searched for logs.
const DEEPEST: usize = 16;

fn verify_log(
    folder: &Path,
    keys: &BTreeMap<String, VerifierKey>,
    older: &BTreeMap<String, Vec<Checkpoint>>,
    report: &mut LogReport,
) {
    let path = folder.join("checkpoint");
    let note = match walk::read_bounded(&path, LONGEST_NOTE) {
        Ok(Some(note)) => note,
        Ok(None) => return report.add(Problem::NoCheckpoint),
        Err(error) => return report.add(unreadable(&path, &error)),
    };
    let checkpoint = match Checkpoint::parse(&note) {
        Ok(checkpoint) => checkpoint,
        Err(reason) => return report.add(Problem::Checkpoint(reason)),
    };
    report.origin = Some(checkpoint.origin.clone());
    report.size = Some(checkpoint.size);
    report.root = Some(STANDARD.encode(checkpoint.root));

    let older = older.get(&checkpoint.origin).map_or(&[][..], Vec::as_slice);
    if let Some(key) = key_of(&checkpoint.origin, folder, keys, report) {
        match checkpoint.signed_by(&key) {
            Signed::Valid => (),
            Signed::Missing => report.add(Problem::NotSigned),
            Signed::Invalid => report.add(Problem::Signature),
        }
        for old in older.iter().filter(|old| old.signed_by(&key) != Signed::Valid) {
            report.add(Problem::OlderNotSigned { size: old.size });
        }
    }
    let mut roots: BTreeMap<u64, Vec<tree::Hash>> = BTreeMap::new();
    for old in older {
        if old.size > checkpoint.size {
            report.add(Problem::OlderAhead { older: old.size, size: checkpoint.size });
        } else {
            roots.entry(old.size).or_default().push(old.root);
        }
    }
    if checkpoint.size == 0 {
        return report.add(Problem::Empty);
    }
    walk::walk(folder, checkpoint.size, &checkpoint.root, &roots, report);
}

/// The key to check a log with: the auditor's, or else the one in the folder.
fn key_of(
    origin: &str,
    folder: &Path,
    given: &BTreeMap<String, VerifierKey>,
    report: &mut LogReport,
) -> Option<VerifierKey> {
    if let Some(key) = given.get(origin) {
        report.key = KeyTrust::Given;
        return Some(key.clone());
    }
    let path = folder.join("vkey");
    let problem = match walk::read_bounded(&path, LONGEST_NOTE) {
        Ok(None) => Problem::NoKey,
        Err(error) => unreadable(&path, &error),
        Ok(Some(bytes)) => {
            let text = std::str::from_utf8(&bytes).map_err(|_| NoteError::Encoding);
            match text.and_then(VerifierKey::parse) {
                Ok(key) if key.name == origin => {
                    report.key = KeyTrust::Folder;
                    return Some(key);
                }
                Ok(key) => Problem::KeyOfOther(key.name),
                Err(reason) => Problem::KeyFile(reason),
            }
        }
    };
    report.add(problem);
    None
}

fn given_keys(texts: &[String], problems: &mut Vec<Problem>) -> BTreeMap<String, VerifierKey> {
    let mut keys = BTreeMap::new();
    for text in texts {
        match VerifierKey::parse(text) {
            Ok(key) => drop(keys.insert(key.name.clone(), key)),
            Err(reason) => problems.push(Problem::KeyGiven(reason)),
        }
    }
    keys
}

fn older_checkpoints(paths: &[PathBuf], problems: &mut Vec<Problem>) -> BTreeMap<String, Vec<Checkpoint>> {
    let mut older: BTreeMap<String, Vec<Checkpoint>> = BTreeMap::new();
    for path in paths {
        match walk::read_bounded(path, LONGEST_NOTE) {
            Ok(Some(note)) => match Checkpoint::parse(&note) {
                Ok(checkpoint) => older.entry(checkpoint.origin.clone()).or_default().push(checkpoint),
                Err(reason) => problems.push(Problem::OlderForm { path: path.clone(), reason }),
            },
            Ok(None) => problems.push(unreadable(path, &io::ErrorKind::NotFound.into())),
            Err(error) => problems.push(unreadable(path, &error)),
        }
    }
    older
}

/// Every folder that has a checkpoint, or tiles that lack one; in the order of their names.
fn find_logs(dir: &Path, problems: &mut Vec<Problem>) -> Vec<PathBuf> {
    let mut logs = Vec::new();
    let mut open = vec![(dir.to_owned(), 0)];
    while let Some((folder, depth)) = open.pop() {
        if folder.join("checkpoint").exists() || folder.join("tile").join("entries").is_dir() {
            logs.push(folder);
            continue;
        }
        if depth == DEEPEST {
            continue;
        }
        // Links are not followed: they could lead in circles.
        let listed = fs::read_dir(&folder).and_then(|entries| {
            for entry in entries {
                let entry = entry?;
                if entry.file_type()?.is_dir() {
                    open.push((entry.path(), depth + 1));
                }
            }
            Ok(())
        });
        if let Err(error) = listed {
            problems.push(unreadable(&folder, &error));
        }
    }
    logs.sort();
    logs
}

fn unreadable(path: &Path, error: &io::Error) -> Problem {
    Problem::Unreadable { path: path.to_owned(), reason: error.to_string() }
}
