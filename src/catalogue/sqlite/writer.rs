//! Group commit: one thread takes what is queued, runs each job in a savepoint, and commits all of it with one flush.
//!
//! There is no timer: while one flush runs, the next batch gathers. A job that fails leaves nothing behind and
//! fails alone; a commit that fails fails every job in it, and the thread lives on for the next batch.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::{oneshot, watch};

use super::jobs::{State, Tx};
use super::unavailable;
use crate::catalogue::{Answer, CatalogueError};

/// Jobs that may wait; the next one is turned away at once.
const QUEUE: usize = 8192;
/// The most jobs in one commit.
const BATCH: usize = 4096;

/// A handle on the writer thread. Dropping it waits for what is queued.
pub struct Writer {
    queue: Option<SyncSender<Box<dyn Job>>>,
    thread: Option<JoinHandle<()>>,
    shared: Arc<Shared>,
    durable_within: Duration,
}

/// Counters since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Commits that became durable, and the jobs in them.
    pub commits: u64,
    pub jobs: u64,
    /// Batches that were lost as a whole, for example to a full disk.
    pub failed_commits: u64,
    pub largest_batch: u64,
    /// Jobs that wait right now.
    pub queued: u64,
}

#[derive(Default)]
struct Shared {
    commits: AtomicU64,
    jobs: AtomicU64,
    failed_commits: AtomicU64,
    largest_batch: AtomicU64,
    queued: AtomicUsize,
    committed: watch::Sender<u64>,
}

impl Writer {
    pub fn start(db: Connection, state: State, durable_within: Duration) -> std::io::Result<Writer> {
        let (queue, jobs) = sync_channel(QUEUE);
        let shared = Arc::new(Shared::default());
        let for_thread = shared.clone();
        let thread = std::thread::Builder::new()
            .name("catalogue".to_owned())
            .spawn(move || run(&db, state, &jobs, &for_thread))?;
        Ok(Writer { queue: Some(queue), thread: Some(thread), shared, durable_within })
    }

    /// Queues `work` when the answer is first polled, and answers once its commit is durable. Work that was queued is done
    /// even if nobody waits for it any more: the bytes that it records lie at a location already.
    pub fn submit<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Tx<'_>) -> Result<T, CatalogueError> + Send + 'static,
    ) -> Answer<'_, T> {
        Box::pin(async move {
            let (reply, answer) = oneshot::channel();
            let job = Task { work: Some(work), outcome: None, reply };
            let queue = self.queue.as_ref().ok_or_else(stopped)?;
            self.shared.queued.fetch_add(1, Relaxed);
            if let Err(refused) = queue.try_send(Box::new(job)) {
                self.shared.queued.fetch_sub(1, Relaxed);
                return Err(match refused {
                    TrySendError::Full(_) => {
                        CatalogueError::Unavailable(format!("{QUEUE} changes are waiting already"))
                    }
                    TrySendError::Disconnected(_) => stopped(),
                });
            }
            match tokio::time::timeout(self.durable_within, answer).await {
                Ok(answer) => answer.unwrap_or_else(|_| Err(stopped())),
                Err(_) => {
                    let waited = u64::try_from(self.durable_within.as_millis()).unwrap_or(u64::MAX);
                    Err(CatalogueError::TooSlow(waited))
                }
            }
        })
    }

    pub fn counters(&self) -> Counters {
        Counters {
            commits: self.shared.commits.load(Relaxed),
            jobs: self.shared.jobs.load(Relaxed),
            failed_commits: self.shared.failed_commits.load(Relaxed),
            largest_batch: self.shared.largest_batch.load(Relaxed),
            queued: self.shared.queued.load(Relaxed) as u64,
        }
    }

    pub fn committed(&self) -> watch::Receiver<u64> {
        self.shared.committed.subscribe()
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            // A panic there has been reported; there is nothing left to save.
            let _ = thread.join();
        }
    }
}

fn stopped() -> CatalogueError {
    CatalogueError::Unavailable("its writer has stopped".to_owned())
}

/// A change and the one who waits for it.
trait Job: Send {
    fn run(&mut self, tx: &mut Tx<'_>) -> Ran;
    fn answer(self: Box<Self>, commit: Result<(), CatalogueError>);
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Ran {
    Well,
    /// Its savepoint is to be undone.
    Badly,
}

struct Task<T, F> {
    work: Option<F>,
    outcome: Option<Result<T, CatalogueError>>,
    reply: oneshot::Sender<Result<T, CatalogueError>>,
}

impl<T, F> Job for Task<T, F>
where
    T: Send,
    F: FnOnce(&mut Tx<'_>) -> Result<T, CatalogueError> + Send,
{
    fn run(&mut self, tx: &mut Tx<'_>) -> Ran {
        let outcome = self.work.take().map(|work| work(tx));
        let ran = if matches!(outcome, Some(Ok(_))) { Ran::Well } else { Ran::Badly };
        self.outcome = outcome;
        ran
    }

    fn answer(self: Box<Self>, commit: Result<(), CatalogueError>) {
        let outcome = match (self.outcome, commit) {
            // A job's own failure is the better reason, and it changed nothing either way.
            (Some(Err(own)), _) => Err(own),
            (Some(Ok(value)), Ok(())) => Ok(value),
            (_, Err(lost)) => Err(lost),
            (None, Ok(())) => Err(stopped()),
        };
        // Whoever asked may have gone away.
        let _ = self.reply.send(outcome);
    }
}

fn run(db: &Connection, mut state: State, jobs: &Receiver<Box<dyn Job>>, shared: &Shared) {
    let mut batch: Vec<Box<dyn Job>> = Vec::new();
    let files = Files::of(db);
    while let Ok(first) = jobs.recv() {
        batch.push(first);
        batch.extend(jobs.try_iter().take(BATCH - 1));
        shared.queued.fetch_sub(batch.len(), Relaxed);
        let size = batch.len() as u64;
        let commit = commit(db, &files, &mut state, &mut batch);
        state.committed();
        match &commit {
            Ok(()) => {
                shared.commits.fetch_add(1, Relaxed);
                shared.jobs.fetch_add(size, Relaxed);
                shared.largest_batch.fetch_max(size, Relaxed);
                shared.committed.send_modify(|number| *number += 1);
            }
            Err(error) => {
                shared.failed_commits.fetch_add(1, Relaxed);
                tracing::error!(jobs = size, %error, "a catalogue commit failed; its requests are refused");
            }
        }
        for job in batch.drain(..) {
            job.answer(commit.clone());
        }
    }
}

/// The files of the database, as they were when it was opened.
struct Files(Vec<(PathBuf, Option<FileId>)>);

type FileId = (u64, u64);

impl Files {
    fn of(db: &Connection) -> Files {
        let database = db.path().unwrap_or_default();
        let paths = [PathBuf::from(database), PathBuf::from(format!("{database}-wal"))];
        Files(paths.map(|path| (path.clone(), file_id(&path))).to_vec())
    }

    /// A process can write to files for long after their names are gone; what is written then ends with it.
    fn check(&self) -> Result<(), CatalogueError> {
        if self.0.iter().all(|(path, id)| id.is_some() && file_id(path) == *id) {
            return Ok(());
        }
        Err(CatalogueError::Unavailable("its files were removed or replaced under it".to_owned()))
    }
}

fn file_id(path: &Path) -> Option<FileId> {
    std::fs::metadata(path).ok().map(|file| (file.dev(), file.ino()))
}

fn commit(
    db: &Connection,
    files: &Files,
    state: &mut State,
    batch: &mut [Box<dyn Job>],
) -> Result<(), CatalogueError> {
    let outcome = files.check().and_then(|()| attempt(db, state, batch));
    if outcome.is_err() {
        state.forget();
        if !db.is_autocommit() {
            // If even this fails, the next BEGIN does, and its jobs are refused in turn.
            let _ = db.execute_batch("ROLLBACK");
        }
    }
    outcome
}

fn attempt(db: &Connection, state: &mut State, batch: &mut [Box<dyn Job>]) -> Result<(), CatalogueError> {
    let execute = |sql: &str| db.prepare_cached(sql)?.execute([]).map(drop);
    execute("BEGIN IMMEDIATE").map_err(unavailable)?;
    for job in batch {
        execute("SAVEPOINT job").map_err(unavailable)?;
        let ran = job.run(&mut Tx { db, state });
        if db.is_autocommit() {
            // SQLite undoes the whole transaction by itself on a full disk or an I/O error.
            return Err(CatalogueError::Unavailable("the database undid the transaction".to_owned()));
        }
        if ran == Ran::Badly {
            state.forget();
            execute("ROLLBACK TO job").map_err(unavailable)?;
        }
        execute("RELEASE job").map_err(unavailable)?;
    }
    execute("COMMIT").map_err(unavailable)
}
