//! Every policy set that was in force, by the hash of its files, and the one that was rolled back to.
//!
//! `<data>/policies/<hash>/` is a policy folder like any other: `policy diff`, `policy check` and people can read it.
//! `history.jsonl` beside them says when each took effect; the placement log says the same, provably. `pinned.toml`
//! names the set that stays in force whatever the configured files say, until it is released.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::activation::{self, Activation};
use super::source::Sources;
use super::{PackSource, PolicyError, PolicyHash};

const PINNED: &str = "pinned.toml";
const HISTORY: &str = "history.jsonl";
/// Many small files are made durable by several threads: each waits for the disk, not for the processor.
const SYNC_THREADS: usize = 8;

/// The folder of kept sets.
#[derive(Debug, Clone)]
pub struct Kept {
    root: PathBuf,
}

/// Why a kept set cannot be written, read or used.
#[derive(Debug, thiserror::Error)]
pub enum KeptError {
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: io::Error },
    #[error("{path}: {message}")]
    Unreadable { path: PathBuf, message: String },
    #[error(
        "`{0}` is not the hash of a policy set that was in force here; `domicile policy rollback` lists them"
    )]
    Unknown(String),
    #[error("`{0}` is the beginning of more than one hash")]
    Ambiguous(String),
    #[error(
        "the kept policy set {name} has other content than its name says (it is {found}): restore the folder, or `domicile policy rollback --release`"
    )]
    Altered { name: String, found: String },
}

/// The set that stays in force until it is released.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Pin {
    pub set: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activation: Option<Activation>,
}

/// Why a set took effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    Start,
    Reload,
    Rollback,
    /// A roll back was ended.
    Release,
}

impl Cause {
    pub fn word(self) -> &'static str {
        match self {
            Cause::Start => "start",
            Cause::Reload => "reload",
            Cause::Rollback => "rollback",
            Cause::Release => "release",
        }
    }
}

/// One moment at which a set took effect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taken {
    /// RFC 3339, UTC.
    pub at: String,
    pub set: String,
    pub cause: Cause,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activation: Option<Activation>,
}

impl Kept {
    /// Of the gateway with this data folder. Creates nothing.
    pub fn of(data: &Path) -> Kept {
        Kept { root: data.join("policies") }
    }

    /// Writes the files of a set, durable when this returns. A set that is there already stays as it is.
    pub fn keep(&self, set: &PolicyHash, sources: &Sources) -> Result<(), KeptError> {
        let place = self.root.join(&*set.0);
        if self.holds(set) {
            return Ok(());
        }
        self.make_root()?;
        let beside = self.root.join(format!(".{}.new", set.0));
        for stale in [&beside, &place] {
            if stale.exists() {
                fs::remove_dir_all(stale).map_err(io_error(stale))?;
            }
        }
        let mut paths = vec![beside.clone()];
        folder(&beside)?;
        for file in sources.files() {
            let path = beside.join(&file.path);
            if let Some(parent) = path.parent().filter(|parent| !parent.exists()) {
                folder(parent)?;
                paths.push(parent.to_owned());
            }
            fs::write(&path, &file.text).map_err(io_error(&path))?;
            paths.push(path);
        }
        sync_all(&paths)?;
        fs::rename(&beside, &place).map_err(io_error(&place))?;
        sync(&self.root)
    }

    /// Whether a set is kept, and kept whole.
    fn holds(&self, set: &PolicyHash) -> bool {
        let place = self.root.join(&*set.0);
        place.is_dir() && PackSource::directory(place).read().is_ok_and(|found| found.hash() == *set)
    }

    /// Where a set is read from, by its hash.
    pub fn source(&self, set: &str) -> PackSource {
        PackSource::directory(self.root.join(set))
    }

    /// The whole hash of the one set whose hash begins so.
    pub fn find(&self, beginning: &str) -> Result<PolicyHash, KeptError> {
        let unknown = || KeptError::Unknown(beginning.to_owned());
        if beginning.is_empty() || !beginning.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(unknown());
        }
        let entries = match fs::read_dir(&self.root) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(unknown()),
            other => other.map_err(io_error(&self.root))?,
        };
        let mut found = None;
        for entry in entries {
            let name = entry.map_err(io_error(&self.root))?.file_name();
            let Some(name) = name.to_str().filter(|name| name.starts_with(beginning)) else { continue };
            if found.replace(PolicyHash(name.into())).is_some() {
                return Err(KeptError::Ambiguous(beginning.to_owned()));
            }
        }
        found.ok_or_else(unknown)
    }

    /// Adds to the history that a set took effect, unless its last line says so already.
    pub fn note(&self, taken: &Taken) -> Result<(), KeptError> {
        let last = self.history()?.pop();
        if last.is_some_and(|last| last.set == taken.set && last.activation == taken.activation) {
            return Ok(());
        }
        self.make_root()?;
        let path = self.root.join(HISTORY);
        let line = serde_json::to_string(taken)
            .map_err(|error| KeptError::Unreadable { path: path.clone(), message: error.to_string() })?;
        let mut file =
            OpenOptions::new().create(true).append(true).mode(0o600).open(&path).map_err(io_error(&path))?;
        // The line end first: a line that a crash cut short must not swallow this one.
        file.write_all(format!("\n{line}").as_bytes())
            .and_then(|()| file.sync_all())
            .map_err(io_error(&path))?;
        sync(&self.root)
    }

    /// When which set took effect, oldest first. Lines that a crash cut short are passed over.
    pub fn history(&self) -> Result<Vec<Taken>, KeptError> {
        let text = read(&self.root.join(HISTORY))?.unwrap_or_default();
        Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
    }

    /// The set that was rolled back to.
    pub fn pinned(&self) -> Result<Option<Pin>, KeptError> {
        let path = self.root.join(PINNED);
        let Some(text) = read(&path)? else { return Ok(None) };
        let pin: Pin = toml::from_str(&text).map_err(|error| KeptError::Unreadable {
            path: path.clone(),
            message: error.message().to_owned(),
        })?;
        if pin.set.is_empty() || !pin.set.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(KeptError::Unreadable { path, message: "`set` is not a hash".to_owned() });
        }
        Ok(Some(pin))
    }

    /// Keeps a set in force, over restarts too, until [`Kept::release`].
    pub fn pin(&self, pin: &Pin) -> Result<(), KeptError> {
        let path = self.root.join(PINNED);
        let text = toml::to_string(pin)
            .map_err(|error| KeptError::Unreadable { path: path.clone(), message: error.to_string() })?;
        self.make_root()?;
        replace(&path, &text)
    }

    /// Ends a roll back; the configured files count again. Returns whether there was one.
    pub fn release(&self) -> Result<bool, KeptError> {
        let path = self.root.join(PINNED);
        match fs::remove_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            removed => {
                removed.map_err(io_error(&path))?;
                sync(&self.root)?;
                Ok(true)
            }
        }
    }

    fn make_root(&self) -> Result<(), KeptError> {
        if self.root.is_dir() {
            return Ok(());
        }
        folder(&self.root)?;
        self.root.parent().map_or(Ok(()), sync)
    }
}

/// Writes an activation record into a policy folder; complete or not there at all, whatever happens in between.
pub fn write_activation(directory: &Path, record: &Activation) -> Result<(), PolicyError> {
    let path = directory.join(activation::FILE);
    let text = record.to_toml()?;
    replace(&path, &text).map_err(|error| PolicyError::Kept(error.into()))
}

fn replace(path: &Path, text: &str) -> Result<(), KeptError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    // Hidden, so that a watcher of the folder does not take it for a part of the set.
    let beside = path.with_file_name(format!(".{name}.new"));
    let failed = io_error(&beside);
    let options = OpenOptions::new().write(true).create(true).truncate(true).mode(0o640).open(&beside);
    options
        .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()))
        .map_err(failed)?;
    fs::rename(&beside, path).map_err(io_error(path))?;
    path.parent().map_or(Ok(()), sync)
}

fn read(path: &Path) -> Result<Option<String>, KeptError> {
    match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        other => other.map(Some).map_err(io_error(path)),
    }
}

fn folder(path: &Path) -> Result<(), KeptError> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(io_error(path))
}

fn sync(path: &Path) -> Result<(), KeptError> {
    File::open(path).and_then(|file| file.sync_all()).map_err(io_error(path))
}

fn sync_all(paths: &[PathBuf]) -> Result<(), KeptError> {
    let share = paths.len().div_ceil(SYNC_THREADS).max(1);
    std::thread::scope(|scope| {
        let threads: Vec<_> = paths
            .chunks(share)
            .map(|some| scope.spawn(move || some.iter().try_for_each(|path| sync(path))))
            .collect();
        threads.into_iter().try_for_each(|thread| match thread.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    })
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> KeptError + use<> {
    let path = path.to_owned();
    move |source| KeptError::Io { path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shipped() -> Sources {
        PackSource { directory: None, packs: vec!["ru".to_owned()] }.read().unwrap()
    }

    fn taken(set: &str, cause: Cause) -> Taken {
        Taken { at: "2026-11-23T08:00:00Z".to_owned(), set: set.to_owned(), cause, activation: None }
    }

    #[test]
    fn a_kept_set_is_a_policy_folder_with_the_same_hash() {
        let data = tempfile::tempdir().unwrap();
        let (kept, sources) = (Kept::of(data.path()), shipped());
        kept.keep(&sources.hash(), &sources).unwrap();
        let found = kept.find(sources.hash().0.get(..12).unwrap()).unwrap();
        assert_eq!(found, sources.hash());
        assert_eq!(kept.source(&found.0).read().unwrap().hash(), sources.hash());
    }

    #[test]
    fn a_kept_set_that_was_damaged_is_written_anew() {
        let data = tempfile::tempdir().unwrap();
        let (kept, sources) = (Kept::of(data.path()), shipped());
        kept.keep(&sources.hash(), &sources).unwrap();
        fs::remove_dir_all(data.path().join("policies").join(&*sources.hash().0).join("ru")).unwrap();
        kept.keep(&sources.hash(), &sources).unwrap();
        assert_eq!(kept.source(&sources.hash().0).read().unwrap().hash(), sources.hash());
    }

    #[test]
    fn only_the_hash_of_a_kept_set_finds_one() {
        let data = tempfile::tempdir().unwrap();
        let (kept, sources) = (Kept::of(data.path()), shipped());
        assert!(matches!(kept.find("ab"), Err(KeptError::Unknown(_))));
        kept.keep(&sources.hash(), &sources).unwrap();
        for wrong in ["", "..", "../x", "history", "zz"] {
            assert!(matches!(kept.find(wrong), Err(KeptError::Unknown(_))), "{wrong}");
        }
        fs::create_dir(data.path().join("policies/abc1")).unwrap();
        fs::create_dir(data.path().join("policies/abc2")).unwrap();
        assert!(matches!(kept.find("abc"), Err(KeptError::Ambiguous(_))));
    }

    #[test]
    fn the_history_holds_each_change_once_and_survives_a_line_cut_short() {
        let data = tempfile::tempdir().unwrap();
        let kept = Kept::of(data.path());
        kept.note(&taken("aa", Cause::Start)).unwrap();
        kept.note(&taken("aa", Cause::Start)).unwrap();
        let path = data.path().join("policies").join(HISTORY);
        OpenOptions::new().append(true).open(path).unwrap().write_all(b"\n{\"at\":\"20").unwrap();
        kept.note(&taken("bb", Cause::Reload)).unwrap();
        kept.note(&taken("aa", Cause::Rollback)).unwrap();
        let told: Vec<_> = kept.history().unwrap().into_iter().map(|t| (t.set, t.cause)).collect();
        let told: Vec<_> = told.iter().map(|(set, cause)| (set.as_str(), *cause)).collect();
        assert_eq!(told, [("aa", Cause::Start), ("bb", Cause::Reload), ("aa", Cause::Rollback)]);
    }

    #[test]
    fn a_pin_stays_until_it_is_released() {
        let data = tempfile::tempdir().unwrap();
        let kept = Kept::of(data.path());
        assert_eq!(kept.pinned().unwrap(), None);
        let activation = Activation {
            author: "Ada".to_owned(),
            approver: "Grace".to_owned(),
            reason: "too strict".to_owned(),
            date: "2026-11-23".to_owned(),
            set: Some("ab12".to_owned()),
        };
        let pin = Pin { set: "ab12".to_owned(), activation: Some(activation) };
        kept.pin(&pin).unwrap();
        assert_eq!(kept.pinned().unwrap(), Some(pin));
        assert!(kept.release().unwrap());
        assert!(!kept.release().unwrap());
        assert_eq!(kept.pinned().unwrap(), None);
    }

    #[test]
    fn a_pin_that_cannot_be_read_is_an_error_and_not_no_pin() {
        let data = tempfile::tempdir().unwrap();
        fs::create_dir(data.path().join("policies")).unwrap();
        for text in ["set = 3", "set = \"../../etc\"", "nonsense"] {
            fs::write(data.path().join("policies").join(PINNED), text).unwrap();
            assert!(Kept::of(data.path()).pinned().is_err(), "{text}");
        }
    }
}
