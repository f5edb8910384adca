//! The index of the embedded store: one SQLite database, one writer with group commit, a few readers.
//!
//! The writer thread takes what has queued up, runs it in one transaction, commits once and then answers all:
//! the next group gathers while this one is flushed, so there is no timer. What the records look like is the
//! business of `rows`; this module only carries work to connections.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};
use tokio::sync::{mpsc, oneshot};

use super::blobs::{BlobHandle, NewBlob, Retired};
use super::error::{EmbeddedError, Failure};
use super::rows;

const READERS: usize = 8;
const WAITING_WRITES: usize = 1024;
const LARGEST_GROUP: usize = 256;

/// The index of one folder.
pub struct Index {
    jobs: Option<mpsc::Sender<Job>>,
    writer: Option<JoinHandle<()>>,
    readers: Arc<Readers>,
    /// Set for good when a flush failed: the page cache may not hold what the disk does.
    failed: Arc<AtomicBool>,
}

/// What a piece of writing work did: its answer, and the blobs that no row names any more.
pub struct Change<T> {
    pub answer: T,
    pub retired: Vec<Retired>,
}

impl<T> Change<T> {
    pub fn new(answer: T) -> Self {
        Change { answer, retired: Vec::new() }
    }
}

/// Given the connection, or the reason why there is none to be had.
type Job = Box<dyn FnOnce(Result<&Connection, EmbeddedError>) -> Ran + Send>;
type Answer = Box<dyn FnOnce(Verdict) + Send>;

/// A job that has run inside a transaction which is not committed yet.
struct Ran {
    outcome: Outcome,
    retired: Vec<Retired>,
    answer: Answer,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Keep,
    Undo,
}

/// What became of the transaction.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Durable,
    /// Nothing of it took effect.
    RolledBack,
    /// The disk failed at the commit: it may be there after the next start, or not.
    Unknown,
}

impl Index {
    /// Opens or creates the index and starts its writer, which hands forgotten blobs to `blobs`.
    pub fn open(path: &Path, blobs: BlobHandle) -> Result<Index, EmbeddedError> {
        let writer = Connection::open(path)?;
        // `journal_mode` answers with a row; the others do not mind being asked the same way.
        writer.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
        writer.pragma_update(None, "synchronous", "FULL")?;
        writer.pragma_update(None, "foreign_keys", false)?;
        writer.set_prepared_statement_cache_capacity(64);
        rows::create_tables(&writer)?;
        let (jobs, queue) = mpsc::channel(WAITING_WRITES);
        let failed = Arc::new(AtomicBool::new(false));
        let writer = std::thread::Builder::new()
            .name("embedded-index".to_owned())
            .spawn({
                let failed = Arc::clone(&failed);
                move || Writer { connection: writer, blobs, failed }.run(queue)
            })
            .map_err(EmbeddedError::io("start a thread"))?;
        let readers =
            Arc::new(Readers { path: path.to_owned(), pool: Mutex::default(), freed: Condvar::new() });
        Ok(Index { jobs: Some(jobs), writer: Some(writer), readers, failed })
    }

    /// Read connections, for blocking tasks.
    pub fn readers(&self) -> Arc<Readers> {
        Arc::clone(&self.readers)
    }

    /// Whether writes are still taken.
    pub fn check_writer(&self) -> Result<(), EmbeddedError> {
        if self.failed.load(Ordering::Relaxed) {
            return Err(EmbeddedError::Failed);
        }
        match &self.jobs {
            Some(jobs) if !jobs.is_closed() => Ok(()),
            _ => Err(EmbeddedError::Stopped),
        }
    }

    /// Runs `work` in a transaction of its own or with others, and returns when it is durable. The blobs in `new`
    /// are kept if it is, and removed if nothing of it took effect. A caller that stops waiting changes nothing of that.
    pub async fn write<T, F>(&self, new: Vec<NewBlob>, work: F) -> Result<T, Failure>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<Change<T>, Failure> + Send + 'static,
    {
        let (sender, answer) = oneshot::channel();
        let job: Job = Box::new(move |connection| match connection.map_err(Failure::from).and_then(work) {
            Ok(Change { answer, retired }) => Ran {
                outcome: Outcome::Keep,
                retired,
                answer: Box::new(move |verdict| {
                    let _ = sender.send(match verdict {
                        Verdict::Durable => {
                            new.into_iter().for_each(NewBlob::keep);
                            Ok(answer)
                        }
                        Verdict::RolledBack => Err(Failure::Store(EmbeddedError::Failed)),
                        Verdict::Unknown => {
                            new.into_iter().for_each(NewBlob::keep);
                            Err(Failure::Lost(EmbeddedError::Failed))
                        }
                    });
                }),
            },
            Err(failure) => Ran {
                outcome: Outcome::Undo,
                retired: Vec::new(),
                answer: Box::new(move |_| {
                    drop(new);
                    let _ = sender.send(Err(failure));
                }),
            },
        });
        let jobs = self.jobs.as_ref().ok_or(EmbeddedError::Stopped)?;
        jobs.send(job).await.map_err(|_| EmbeddedError::Stopped)?;
        answer.await.map_err(|_| Failure::Lost(EmbeddedError::Stopped))?
    }
}

impl Drop for Index {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

struct Writer {
    connection: Connection,
    blobs: BlobHandle,
    failed: Arc<AtomicBool>,
}

impl Writer {
    fn run(mut self, mut queue: mpsc::Receiver<Job>) {
        while let Some(first) = queue.blocking_recv() {
            let mut group = vec![first];
            while group.len() < LARGEST_GROUP
                && let Ok(next) = queue.try_recv()
            {
                group.push(next);
            }
            self.settle(group);
        }
    }

    /// One transaction for the whole group; each job that fails is undone alone.
    fn settle(&mut self, group: Vec<Job>) {
        let mut done = Vec::with_capacity(group.len());
        if self.failed.load(Ordering::Relaxed) || self.connection.execute_batch("BEGIN IMMEDIATE").is_err() {
            for job in group {
                done.push(job(Err(EmbeddedError::Failed)));
            }
        } else {
            for job in group {
                done.push(self.attempt(job));
            }
        }
        let verdict = self.commit();
        if verdict == Verdict::Durable {
            for retired in done.iter_mut().flat_map(|ran| ran.retired.drain(..)) {
                self.blobs.retire(retired);
            }
        }
        for ran in done {
            (ran.answer)(verdict);
        }
    }

    fn attempt(&self, job: Job) -> Ran {
        // Where SQLite has given up the transaction, nothing further may run outside of it.
        if self.connection.is_autocommit() || self.connection.execute_batch("SAVEPOINT job").is_err() {
            return job(Err(EmbeddedError::Failed));
        }
        let mut ran = job(Ok(&self.connection));
        let end = match ran.outcome {
            Outcome::Keep => "RELEASE job",
            Outcome::Undo => "ROLLBACK TO job; RELEASE job",
        };
        if self.connection.execute_batch(end).is_err() {
            ran.retired.clear();
            let _ = self.connection.execute_batch("ROLLBACK");
        }
        ran
    }

    fn commit(&mut self) -> Verdict {
        if self.connection.is_autocommit() {
            return Verdict::RolledBack;
        }
        let Err(error) = self.connection.execute_batch("COMMIT") else { return Verdict::Durable };
        tracing::error!(%error, "the index of an embedded store could not commit");
        let _ = self.connection.execute_batch("ROLLBACK");
        // A full disk is found before the commit record is written; any other failure leaves its fate open.
        if error.sqlite_error_code() == Some(ErrorCode::DiskFull) {
            return Verdict::RolledBack;
        }
        self.failed.store(true, Ordering::Relaxed);
        Verdict::Unknown
    }
}

/// A few read-only connections, opened when first needed.
pub struct Readers {
    path: PathBuf,
    pool: Mutex<Pool>,
    freed: Condvar,
}

#[derive(Default)]
struct Pool {
    idle: Vec<Connection>,
    open: usize,
}

impl Readers {
    /// Runs `work` on a connection. Blocks, also while all connections are in use.
    pub fn with<T>(&self, work: impl FnOnce(&Connection) -> Result<T, Failure>) -> Result<T, Failure> {
        let lease = Lease { connection: Some(self.take()?), readers: self };
        match &lease.connection {
            Some(connection) => work(connection),
            None => Err(EmbeddedError::Stopped.into()),
        }
    }

    fn take(&self) -> Result<Connection, EmbeddedError> {
        let mut pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(connection) = pool.idle.pop() {
                return Ok(connection);
            }
            if pool.open < READERS {
                let connection = self.connect()?;
                pool.open += 1;
                return Ok(connection);
            }
            pool = self.freed.wait(pool).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn connect(&self) -> Result<Connection, EmbeddedError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.path, flags)?;
        connection.busy_timeout(Duration::from_secs(5))?;
        connection.set_prepared_statement_cache_capacity(32);
        Ok(connection)
    }
}

/// Gives the connection back also when the work panics.
struct Lease<'a> {
    connection: Option<Connection>,
    readers: &'a Readers,
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        let mut pool = self.readers.pool.lock().unwrap_or_else(PoisonError::into_inner);
        pool.idle.extend(self.connection.take());
        drop(pool);
        self.readers.freed.notify_one();
    }
}
