//! Publishes the placement log as files that anybody can check: entry bundles, tiles, checkpoints.
//!
//! Follows a source of durable entries from outside the request's path. A checkpoint is signed at most
//! once a second, never covers what the source does not hold durably, and never contradicts one that
//! was signed before: where that cannot be kept, the log is refused for good and says so.
//! What the files mean to an auditor is in `docs/placement-log.md`.

mod files;
mod follow;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

use self::files::Unsynced;
use self::follow::Followed;
pub use super::LogInfo;
use super::checkpoint::{CheckpointError, Head, LogKey, Origin};

/// Where entries come from. Shows durable entries only, and never changes one that it has shown.
pub trait LogSource: Send + Sync {
    fn logs(&self) -> Result<Vec<LogInfo>, LogSourceError>;
    /// The entries `from..to` of a log, in order.
    fn entries(&self, origin: &str, from: u64, to: u64) -> Result<Vec<Vec<u8>>, LogSourceError>;
}

/// Why a source did not give what it was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogSourceError {
    #[error("the entries of the placement log cannot be read: {0}")]
    Unavailable(String),
    #[error("there is no log `{0}`")]
    UnknownLog(String),
    #[error("the entries of the placement log are damaged: {0}")]
    Corrupt(String),
}

/// Where signing keys come from.
pub trait Signer: Send + Sync {
    /// The 32-byte Ed25519 seed of a log's key; always the same for one log.
    fn seed(&self, origin: &str) -> Result<[u8; 32], SignerError>;
}

/// Why there is no key for a log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SignerError(pub String);

/// Why a log was not published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    #[error(transparent)]
    Source(#[from] LogSourceError),
    #[error("log {origin}: its signing key cannot be used: {reason}")]
    Key { origin: String, reason: SignerError },
    #[error(transparent)]
    Name(#[from] CheckpointError),
    #[error(
        "log {origin} was rolled back: its last checkpoint covers {published} entries, the catalogue holds {held}. \
         It is not signed again; restore the catalogue's newest state or begin a new epoch"
    )]
    RolledBack { origin: String, published: u64, held: u64 },
    #[error(
        "log {origin}: the catalogue does not know it, but a checkpoint of it was published. \
         Restore the catalogue's newest state, or move the log's folder to where its auditors keep it"
    )]
    Vanished { origin: String },
    #[error(
        "log {origin}: the catalogue's entries from {from} on are not those that its last checkpoint covers. \
         It is not signed again; restore the catalogue or begin a new epoch"
    )]
    Diverged { origin: String, from: u64 },
    #[error("log {origin}: the checkpoint on disk is not one that it signed: {reason}")]
    ForeignCheckpoint { origin: String, reason: CheckpointError },
    #[error("log {origin}: another key signed it before; a log keeps its key for a whole epoch")]
    OtherKey { origin: String },
    #[error("log {origin}: an entry among {from} to {to} is longer than 65535 bytes")]
    EntryTooLong { origin: String, from: u64, to: u64 },
    #[error("`{}` is being published into by another process", dir.display())]
    InUse { dir: PathBuf },
    #[error("cannot {action} `{}`: {source}", path.display())]
    Io { action: &'static str, path: PathBuf, source: std::io::Error },
}

impl PublishError {
    /// Whether trying again is useless, because signing more would contradict what was signed before.
    pub fn is_final(&self) -> bool {
        matches!(
            self,
            PublishError::RolledBack { .. }
                | PublishError::Vanished { .. }
                | PublishError::Diverged { .. }
                | PublishError::ForeignCheckpoint { .. }
                | PublishError::OtherKey { .. }
        )
    }

    fn io(action: &'static str, path: &Path, source: std::io::Error) -> Self {
        PublishError::Io { action, path: path.to_owned(), source }
    }
}

/// How a log fares.
#[derive(Debug, Clone)]
pub enum LogState {
    /// Published up to this size.
    Published(u64),
    /// The last attempt failed; it is made again every second.
    Delayed(Arc<PublishError>),
    /// Never signed again by this process. Nothing more may be acknowledged for its jurisdiction.
    Refused(Arc<PublishError>),
}

/// The state of every log, by origin.
pub type Status = BTreeMap<String, LogState>;

/// Publishes all logs of a source into a folder.
pub struct Publisher {
    dir: PathBuf,
    source: Arc<dyn LogSource>,
    signer: Arc<dyn Signer>,
    followed: BTreeMap<String, Followed>,
    status: Status,
    /// Held for as long as the publisher lives: two of them must not sign into one folder.
    _lock: File,
}

impl Publisher {
    /// Takes up every log of the source and checks it against what was published before.
    ///
    /// An error means that the gateway must not start: a log was rolled back, its entries or key changed,
    /// or it cannot be told. The work is proportional to the end of each log, not to its length.
    pub fn open(
        dir: &Path,
        source: Arc<dyn LogSource>,
        signer: Arc<dyn Signer>,
    ) -> Result<Self, PublishError> {
        fs::create_dir_all(dir).map_err(|error| PublishError::io("create", dir, error))?;
        let lock = lock(dir)?;
        let mut publisher = Publisher {
            dir: dir.to_owned(),
            source,
            signer,
            followed: BTreeMap::new(),
            status: Status::new(),
            _lock: lock,
        };
        for info in publisher.source.logs()? {
            publisher.follow(&info)?;
        }
        if let Some(origin) = publisher.vanished()? {
            return Err(PublishError::Vanished { origin });
        }
        Ok(publisher)
    }

    /// Publishes what every log has more than its last checkpoint. Returns the new checkpoints by origin;
    /// what went wrong with one of them is in [`Publisher::status`], what stopped all of them is also the error.
    /// A log without entries is never published.
    pub fn run_once(&mut self) -> Result<Vec<(String, Head)>, Arc<PublishError>> {
        let source = Arc::clone(&self.source);
        let logs = match source.logs() {
            Ok(logs) => logs,
            Err(error) => {
                let all: Vec<String> = self.followed.keys().cloned().collect();
                return Err(self.delayed(all, error.into()));
            }
        };
        let mut unsynced = Unsynced::below(&self.dir);
        let mut staged = Vec::new();
        for info in &logs {
            if matches!(self.status.get(&info.origin), Some(LogState::Refused(_))) {
                continue;
            }
            let grown = self.follow(info).and_then(|followed| followed.stage(info, &*source, &mut unsynced));
            match grown {
                Ok(Some(tree)) => staged.push((info.origin.clone(), tree)),
                Ok(None) => self.recovered(&info.origin),
                Err(error) => self.failed(&info.origin, error),
            }
        }
        self.refuse_missing(&logs);
        if staged.is_empty() {
            return Ok(Vec::new());
        }
        // One sync for the files of all logs, and only then the heads that speak for them.
        if let Err(error) = unsynced.sync() {
            return Err(self.delayed(staged.into_iter().map(|(origin, _)| origin), error));
        }
        let mut heads = Vec::new();
        for (origin, tree) in staged {
            let Some(followed) = self.followed.get_mut(&origin) else { continue };
            match followed.publish(tree) {
                Ok(head) => {
                    self.status.insert(origin.clone(), LogState::Published(head.size));
                    heads.push((origin, head));
                }
                Err(error) => self.failed(&origin, error),
            }
        }
        Ok(heads)
    }

    /// How every log fares.
    pub fn status(&self) -> &Status {
        &self.status
    }

    /// Publishes every second on the runtime's blocking threads, until stopped.
    pub fn spawn(self) -> PublisherHandle {
        let (stop, stopped) = oneshot::channel();
        let (status, watched) = watch::channel(self.status.clone());
        PublisherHandle { stop, status: watched, task: tokio::spawn(follow_until(self, stopped, status)) }
    }

    /// The log, taken up from disk if this is the first that is heard of it.
    fn follow(&mut self, info: &LogInfo) -> Result<&Followed, PublishError> {
        if !self.followed.contains_key(&info.origin) {
            let origin: Origin = info.origin.parse()?;
            let seed = self
                .signer
                .seed(&info.origin)
                .map_err(|reason| PublishError::Key { origin: info.origin.clone(), reason })?;
            let key = LogKey::from_seed(origin, &seed)?;
            let followed = Followed::take_up(&self.dir, key, info, &*self.source)?;
            self.status.insert(info.origin.clone(), LogState::Published(followed.size()));
            self.followed.insert(info.origin.clone(), followed);
        }
        self.followed.get(&info.origin).ok_or_else(|| LogSourceError::UnknownLog(info.origin.clone()).into())
    }

    fn recovered(&mut self, origin: &str) {
        if let Some(followed) = self.followed.get(origin) {
            self.status.insert(origin.to_owned(), LogState::Published(followed.size()));
        }
    }

    fn failed(&mut self, origin: &str, error: PublishError) {
        let state = if error.is_final() {
            tracing::error!(log = origin, %error, "the placement log is refused");
            LogState::Refused(Arc::new(error))
        } else {
            if !matches!(self.status.get(origin), Some(LogState::Delayed(_))) {
                tracing::warn!(log = origin, %error, "the placement log could not be published; trying again");
            }
            LogState::Delayed(Arc::new(error))
        };
        self.status.insert(origin.to_owned(), state);
    }

    fn delayed(&mut self, logs: impl IntoIterator<Item = String>, error: PublishError) -> Arc<PublishError> {
        let error = Arc::new(error);
        for origin in logs {
            if !matches!(self.status.get(&origin), Some(LogState::Refused(_))) {
                self.status.insert(origin, LogState::Delayed(Arc::clone(&error)));
            }
        }
        error
    }

    /// A log that was there and is gone from the source has lost all its entries.
    fn refuse_missing(&mut self, logs: &[LogInfo]) {
        let gone: Vec<(String, u64)> = self
            .followed
            .iter()
            .filter(|(origin, _)| !logs.iter().any(|info| info.origin == **origin))
            .filter(|(origin, _)| !matches!(self.status.get(*origin), Some(LogState::Refused(_))))
            .map(|(origin, followed)| (origin.clone(), followed.size()))
            .collect();
        for (origin, published) in gone {
            let error = PublishError::RolledBack { origin: origin.clone(), published, held: 0 };
            self.failed(&origin, error);
        }
    }

    /// A log that has a checkpoint in the folder and is unknown to the source.
    fn vanished(&self) -> Result<Option<String>, PublishError> {
        /// As many segments as an origin can have.
        const DEEPEST: usize = 8;
        let mut open = vec![(self.dir.clone(), Vec::<String>::new())];
        while let Some((folder, segments)) = open.pop() {
            if folder.join("checkpoint").is_file() {
                let origin = segments.join("/");
                if !self.followed.contains_key(&origin) {
                    return Ok(Some(origin));
                }
                continue;
            }
            if segments.len() == DEEPEST || folder.join("vkey").is_file() {
                continue;
            }
            let failed = |error| PublishError::io("list", &folder, error);
            for entry in fs::read_dir(&folder).map_err(failed)? {
                let entry = entry.map_err(failed)?;
                if entry.file_type().map_err(failed)?.is_dir() {
                    let name = entry.file_name().to_string_lossy().into_owned();
                    open.push((entry.path(), [segments.as_slice(), &[name]].concat()));
                }
            }
        }
        Ok(None)
    }
}

/// A publisher at work.
#[derive(Debug)]
pub struct PublisherHandle {
    stop: oneshot::Sender<()>,
    status: watch::Receiver<Status>,
    task: JoinHandle<()>,
}

impl PublisherHandle {
    /// The state of every log after the last attempt; changes are awaited on the receiver.
    /// The channel closes when the publisher has ended, which it does by itself only if it crashed.
    pub fn status(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }

    /// Publishes a last time and ends. A backlog of more than 65536 entries goes on after the next start.
    /// Does not return while a disk hangs: the caller sets a limit.
    pub async fn stop(self) {
        // Both fail only if the task is gone already, and then there is nothing left to stop.
        let _ = self.stop.send(());
        let _ = self.task.await;
    }
}

/// How often a checkpoint may be signed.
const PERIOD: Duration = Duration::from_secs(1);

async fn follow_until(
    mut publisher: Publisher,
    mut stopped: oneshot::Receiver<()>,
    status: watch::Sender<Status>,
) {
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut failing = false;
    loop {
        let last = tokio::select! {
            _ = ticks.tick() => false,
            _ = &mut stopped => true,
        };
        let pass = tokio::task::spawn_blocking(move || {
            let result = publisher.run_once();
            (publisher, result)
        });
        let result;
        (publisher, result) = match pass.await {
            Ok(done) => done,
            Err(error) => {
                tracing::error!(%error, "the publisher of the placement log has ended; no more checkpoints are signed");
                return;
            }
        };
        if let Err(error) = &result
            && !failing
        {
            tracing::warn!(%error, "the placement log could not be published; trying again");
        }
        failing = result.is_err();
        status.send_replace(publisher.status().clone());
        if last {
            return;
        }
    }
}

fn lock(dir: &Path) -> Result<File, PublishError> {
    let path = dir.join(".publisher.lock");
    let file = File::create(&path).map_err(|error| PublishError::io("create", &path, error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(PublishError::InUse { dir: dir.to_owned() }),
        Err(TryLockError::Error(error)) => Err(PublishError::io("lock", &path, error)),
    }
}
