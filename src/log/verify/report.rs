//! What a verification found, for people and for programs.

use std::fmt;
use std::path::PathBuf;

use serde::{Serialize, Serializer};

use super::entry::EntryProblem;
use super::note::NoteError;

/// The outcome for a log, or for all of them. The worst comes last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Everything was checked and holds.
    Ok,
    /// Something could not be checked.
    Unchecked,
    /// Something was checked and does not hold.
    Bad,
}

/// Everything that a verification found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    pub verdict: Verdict,
    pub logs: Vec<LogReport>,
    /// What concerns no single log: bad arguments, folders that cannot be read, logs that are missing.
    pub problems: Vec<Problem>,
}

/// What was found about one log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LogReport {
    pub verdict: Verdict,
    pub folder: PathBuf,
    /// From the checkpoint, if it could be read.
    pub origin: Option<String>,
    /// Entries that the checkpoint covers.
    pub size: Option<u64>,
    /// The checkpoint's root, in base64 as it stands there.
    pub root: Option<String>,
    pub key: KeyTrust,
    /// Entries and hash tiles that were read and hashed.
    pub entries: u64,
    pub tiles: u64,
    /// Sizes of older checkpoints that this log was shown to have grown from.
    pub grew_from: Vec<u64>,
    pub problems: Vec<Problem>,
    /// Problems beyond the first [`LogReport::LISTED`].
    pub unlisted: u64,
}

/// Where the key came from that the signature was checked with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyTrust {
    /// The auditor brought it.
    Given,
    /// It lay beside the checkpoint: whoever could write the one could write the other.
    Folder,
    /// There was none.
    None,
}

/// One thing that does not hold or could not be checked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    #[error("`{}` cannot be read: {reason}", shown(path))]
    Unreadable { path: PathBuf, reason: String },
    #[error("`{}` holds no log: there is no `checkpoint` in it or below it", shown(path))]
    NoLogs { path: PathBuf },
    #[error("a verifier key given cannot be used: {0}")]
    KeyGiven(NoteError),
    #[error("no log here has the name of the key given for `{0}`")]
    KeyWithoutLog(String),
    #[error("`{}` is no older checkpoint: {reason}", shown(path))]
    OlderForm { path: PathBuf, reason: NoteError },
    #[error("an older checkpoint of `{0}` was given, and that log is not here")]
    OlderWithoutLog(String),
    #[error("there is no key: give one with --vkey, or put a `vkey` file beside the checkpoint")]
    NoKey,
    #[error("the `vkey` file beside the checkpoint cannot be used: {0}")]
    KeyFile(NoteError),
    #[error("the `vkey` file is that of the log `{0}`: the checkpoint's name or the file was changed")]
    KeyOfOther(String),
    #[error("there are tiles but no checkpoint: it was removed, or never written")]
    NoCheckpoint,
    #[error("the checkpoint cannot be used: {0}")]
    Checkpoint(NoteError),
    #[error("the checkpoint has no signature by the key")]
    NotSigned,
    #[error("the checkpoint's signature does not verify: its text, its signature or the key was changed")]
    Signature,
    #[error("another folder holds a log of the same name; one name is one log")]
    SecondOfName,
    #[error("the checkpoint covers no entries; an empty log is never published")]
    Empty,
    #[error("{path}: the entry bundle is missing")]
    BundleMissing { path: String },
    #[error("{path}: the entry bundle ends within entry {index}")]
    BundleTruncated { path: String, index: u64 },
    #[error("{path}: the entry bundle goes on after its {width} entries")]
    BundleExcess { path: String, width: usize },
    #[error("{path}: the tile is missing")]
    TileMissing { path: String },
    #[error("{path}: the tile has {found} bytes; {expected} are right")]
    TileLength { path: String, found: u64, expected: u64 },
    #[error(
        "entry {index} was changed: {path} holds another hash for it, and the tile above agrees with that"
    )]
    EntryChanged { index: u64, path: String },
    #[error("{path}: hash {at} was changed: it is not that of what lies below it")]
    TileChanged { path: String, at: usize },
    #[error("{path}: hash {at} and entry {index} do not fit each other")]
    EntryOrTileChanged { path: String, at: usize, index: u64 },
    #[error("{path}: it is not the beginning of the tile that it was a part of")]
    PartialDiffers { path: String },
    #[error("the entries from {index} on could not be hashed, so that the root is unproven")]
    WalkEnded { index: u64 },
    #[error("the root over all entries is not the checkpoint's root")]
    Root,
    #[error("entry {index}: {reason}")]
    Entry { index: u64, reason: EntryProblem },
    #[error(
        "the older checkpoint of {size} entries is not signed by this log's key: one of the two was exchanged"
    )]
    OlderNotSigned { size: u64 },
    #[error("the log was rolled back: it has {size} entries, an older checkpoint has {older}")]
    OlderAhead { older: u64, size: u64 },
    #[error("the log was rewritten: its first {size} entries are not those of the older checkpoint")]
    OlderDiffers { size: u64 },
}

impl Report {
    /// 0: all logs hold. 1: one does not. 2: something could not be checked.
    pub fn exit_code(&self) -> u8 {
        match self.verdict {
            Verdict::Ok => 0,
            Verdict::Bad => 1,
            Verdict::Unchecked => 2,
        }
    }

    /// The report as JSON.
    pub fn to_json(&self) -> String {
        // Nothing in it can fail to be JSON but a folder whose name is not UTF-8.
        serde_json::to_string_pretty(self).unwrap_or_else(|error| {
            serde_json::json!({ "verdict": "unchecked", "error": error.to_string() }).to_string()
        })
    }

    pub(super) fn new(logs: Vec<LogReport>, problems: Vec<Problem>) -> Self {
        let of_problems = problems.iter().map(Problem::verdict);
        let verdict =
            logs.iter().map(|log| log.verdict).chain(of_problems).max().unwrap_or(Verdict::Unchecked);
        Report { verdict, logs, problems }
    }
}

/// A line for each log and each problem.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in &self.problems {
            writeln!(f, "{}: {problem}", problem.verdict())?;
        }
        for log in &self.logs {
            write!(f, "{log}")?;
        }
        Ok(())
    }
}

impl LogReport {
    /// Problems of one log that are listed; the others are counted.
    pub const LISTED: usize = 100;

    pub(super) fn of(folder: PathBuf) -> Self {
        LogReport {
            verdict: Verdict::Ok,
            folder,
            origin: None,
            size: None,
            root: None,
            key: KeyTrust::None,
            entries: 0,
            tiles: 0,
            grew_from: Vec::new(),
            problems: Vec::new(),
            unlisted: 0,
        }
    }

    pub(super) fn add(&mut self, problem: Problem) {
        self.verdict = self.verdict.max(problem.verdict());
        if self.problems.len() < Self::LISTED {
            self.problems.push(problem);
        } else {
            self.unlisted += 1;
        }
    }
}

impl fmt::Display for LogReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.origin.clone().unwrap_or_else(|| shown(&self.folder));
        write!(f, "{}: log {name}", self.verdict)?;
        if let (Some(size), Some(root)) = (self.size, &self.root) {
            write!(f, ", {size} entries, root {root}")?;
        }
        writeln!(f)?;
        for size in &self.grew_from {
            writeln!(f, "  it grew from the older checkpoint of {size} entries without a change to them")?;
        }
        if self.key == KeyTrust::Folder {
            writeln!(
                f,
                "  note: the key was read from the log's own folder. That is weaker: it shows that the files fit each \
                 other, not who signed them. Give the key that you know with --vkey"
            )?;
        }
        for problem in &self.problems {
            writeln!(f, "  {}: {problem}", problem.verdict())?;
        }
        if self.unlisted > 0 {
            writeln!(f, "  and {} more problems", self.unlisted)?;
        }
        Ok(())
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Verdict::Ok => "ok",
            Verdict::Unchecked => "unchecked",
            Verdict::Bad => "bad",
        })
    }
}

impl Problem {
    /// Whether it is evidence against the log, or only something that could not be checked.
    pub fn verdict(&self) -> Verdict {
        match self {
            Problem::Unreadable { .. }
            | Problem::NoLogs { .. }
            | Problem::KeyGiven(_)
            | Problem::KeyWithoutLog(_)
            | Problem::OlderForm { .. }
            | Problem::NoKey
            | Problem::KeyFile(_) => Verdict::Unchecked,
            _ => Verdict::Bad,
        }
    }
}

impl Serialize for Problem {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Line {
            verdict: Verdict,
            message: String,
        }
        Line { verdict: self.verdict(), message: self.to_string() }.serialize(serializer)
    }
}

/// A path that cannot steer a terminal.
fn shown(path: &std::path::Path) -> String {
    path.to_string_lossy().chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
