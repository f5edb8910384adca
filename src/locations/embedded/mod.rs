//! The embedded store: a folder that stands for a disk in one country, spoken to as S3, in process.
//!
//! For one machine: tests, single-node setups, a branch office. What it promises is what a local disk can: an
//! acknowledged write survives `kill -9` and power loss, readers see an object whole or not at all, and a folder
//! belongs to one process. It does not replicate, and checks no signatures:
//! only the gateway above can reach it. A broken disk loses data.
//!
//! The folder: `format` (its version), `lock`, `index.db` (SQLite: what exists), `blobs/xx/` (one immutable file for
//! each body or part), `staging/` (files being written). A write is flushed under `blobs/` before the one
//! transaction that names it, and the file that it displaces is removed after that transaction. So a crash leaves
//! files without a row at worst, which the next start removes.
//!
//! The way of a request: `request` takes it apart, `buckets`, `objects` and `uploads` hold one function for
//! each operation, `receive` and `download` move the bytes.
#![allow(clippy::result_large_err, reason = "an S3Error is made once a request at most, where it ends")]

mod attributes;
mod blobs;
mod buckets;
mod complete;
mod conditions;
mod describe;
mod digest;
mod download;
mod error;
mod index;
mod list_versions;
mod lock;
mod objects;
mod range;
mod receive;
mod request;
mod rows;
mod time;
mod uploads;
mod versioning;
mod walk;

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use http::{HeaderValue, Method, Request, Response};
use rusqlite::Connection;
use tokio::task::spawn_blocking;
use tower::Service;
use tower::util::BoxCloneSyncService;

use blobs::{BlobHandle, Blobs};
use error::Failure;
use index::{Index, Readers};
use request::{Call, Operation};

pub use error::EmbeddedError;

use crate::body::Body;
use crate::locations::{LocationError, LocationService};
use crate::names::LocationId;
use crate::random;
use crate::s3::error::{Code, S3Error, Shape};

const FORMAT: &str = "domicile-embedded-store 3";
/// Are upgraded when they are opened; a version that knows no other refuses the folder from then on.
const FORMER_FORMATS: [&str; 2] = ["domicile-embedded-store 1", "domicile-embedded-store 2"];

/// An embedded store. The folder stays locked until it, its services and all downloads from it are gone.
#[derive(Clone)]
pub struct EmbeddedStore {
    inner: Arc<Inner>,
}

struct Inner {
    id: LocationId,
    damage: Damage,
    // In this order: the index's writer hands displaced blobs over until it has ended.
    index: Index,
    blobs: Blobs,
}

/// What the check at the start found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Damage {
    /// Objects or parts whose bytes are missing: something outside of this store removed them.
    pub missing_blobs: u64,
}

impl EmbeddedStore {
    /// Opens a folder, or makes it; takes it for this process alone, and clears what a crash left behind. Blocks for
    /// as long as it takes to compare the files with the index.
    pub fn open(id: LocationId, root: &Path) -> Result<EmbeddedStore, EmbeddedError> {
        blobs::private_folder(root).map_err(EmbeddedError::io("create the store's folder"))?;
        let lock = lock(root)?;
        check_format(root)?;
        let blobs = Blobs::open(root, lock)?;
        let index = Index::open(&root.join("index.db"), blobs.handle())?;
        let damage = sweep(&id, &index, &blobs)?;
        Ok(EmbeddedStore { inner: Arc::new(Inner { id, damage, index, blobs }) })
    }

    /// The store as a location. Every clone speaks to the same folder.
    pub fn service(&self) -> LocationService {
        BoxCloneSyncService::new(EmbeddedService { inner: Arc::clone(&self.inner) })
    }

    /// Whether the index answers and the folder takes writes. Blocks.
    pub fn ready(&self) -> Result<(), EmbeddedError> {
        let answer = self.inner.index.readers().with(|connection| {
            Ok(connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0))?)
        });
        match answer {
            Ok(_) => {}
            Err(Failure::Store(error) | Failure::Lost(error)) => return Err(error),
            Err(Failure::S3(_) | Failure::Body(_)) => return Err(EmbeddedError::Stopped),
        }
        self.inner.index.check_writer()?;
        self.inner.blobs.probe().map_err(EmbeddedError::io("write to the store's folder"))
    }

    /// What the check at the start found missing. Such objects answer 500; all others are served.
    pub fn damage(&self) -> Damage {
        self.inner.damage
    }
}

#[derive(Clone)]
struct EmbeddedService {
    inner: Arc<Inner>,
}

impl Service<Request<Body>> for EmbeddedService {
    type Response = Response<Body>;
    type Error = LocationError;
    type Future = BoxFuture<'static, Result<Response<Body>, LocationError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), LocationError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let inner = Arc::clone(&self.inner);
        Box::pin(async move { inner.serve(request).await })
    }
}

impl Inner {
    /// Answers one request; here, and only here, failures become answers.
    async fn serve(&self, request: Request<Body>) -> Result<Response<Body>, LocationError> {
        let (parts, body) = request.into_parts();
        let resource = parts.uri.path().to_owned();
        let shape = if parts.method == Method::HEAD { Shape::Bodiless } else { Shape::Document };
        let request_id = random_id().unwrap_or_default();
        let answer = match Call::parse(parts) {
            Ok(call) => self.dispatch(call, body).await,
            Err(error) => Err(error.into()),
        };
        let error = match answer {
            Ok(mut response) => {
                if let Ok(id) = HeaderValue::from_str(&request_id) {
                    response.headers_mut().insert("x-amz-request-id", id);
                }
                return Ok(response);
            }
            Err(Failure::S3(error)) => *error,
            Err(Failure::Body(source)) => return Err(LocationError::RequestBody(source)),
            Err(Failure::Lost(error)) => {
                return Err(LocationError::Lost { location: self.id.clone(), source: error.into() });
            }
            Err(Failure::Store(error)) => {
                tracing::error!(location = %self.id, %error, "the embedded store failed a request");
                fault(&error)
            }
        };
        Ok(error.into_response(&resource, &request_id, shape))
    }

    async fn dispatch(&self, mut call: Call, body: Body) -> Result<Response<Body>, Failure> {
        match std::mem::replace(&mut call.operation, Operation::HeadBucket) {
            Operation::CreateBucket => buckets::create(self, call, body).await,
            Operation::HeadBucket => buckets::head(self, call).await,
            Operation::NoSetting(code) => buckets::no_setting(self, call, code).await,
            Operation::DeleteNoSetting => buckets::delete_no_setting(self, call).await,
            Operation::DeleteBucket => buckets::delete(self, call).await,
            Operation::ListObjects => buckets::list(self, call).await,
            Operation::ListObjectsV2 => buckets::list_v2(self, call).await,
            Operation::ListMultipartUploads => buckets::list_uploads(self, call).await,
            Operation::ListObjectVersions => list_versions::list(self, call).await,
            Operation::GetBucketVersioning => versioning::get(self, call).await,
            Operation::PutBucketVersioning => versioning::put(self, call, body).await,
            Operation::GetObjectLockConfiguration => lock::get_configuration(self, call).await,
            Operation::PutObjectLockConfiguration => lock::put_configuration(self, call, body).await,
            Operation::PutObject(key) => objects::put(self, call, key, body).await,
            Operation::CopyObject(key) => objects::copy(self, call, key).await,
            Operation::GetObject(key) => objects::get(self, call, key).await,
            Operation::HeadObject(key) => objects::head(self, call, key).await,
            Operation::DeleteObject(key) => objects::delete(self, call, key).await,
            Operation::GetObjectAcl(key) => describe::acl(self, call, key).await,
            Operation::PutObjectAcl(key) => describe::put_acl(self, call, key).await,
            Operation::GetObjectAttributes(key) => describe::attributes(self, call, key).await,
            Operation::GetObjectTagging(key) => objects::get_tagging(self, call, key).await,
            Operation::PutObjectTagging(key) => objects::put_tagging(self, call, key, body).await,
            Operation::DeleteObjectTagging(key) => objects::delete_tagging(self, call, key).await,
            Operation::GetObjectRetention(key) => lock::get_retention(self, call, key).await,
            Operation::PutObjectRetention(key) => lock::put_retention(self, call, key, body).await,
            Operation::GetObjectLegalHold(key) => lock::get_hold(self, call, key).await,
            Operation::PutObjectLegalHold(key) => lock::put_hold(self, call, key, body).await,
            Operation::CreateMultipartUpload(key) => uploads::create(self, call, key).await,
            Operation::UploadPart(key, id) => uploads::upload_part(self, call, key, id, body).await,
            Operation::CompleteMultipartUpload(key, id) => uploads::complete(self, call, key, id, body).await,
            Operation::AbortMultipartUpload(key, id) => uploads::abort(self, call, key, id).await,
            Operation::ListParts(key, id) => uploads::list_parts(self, call, key, id).await,
        }
    }

    /// Runs work on a read connection, off the async threads. It must not touch large files: connections are few.
    async fn read<T, F>(&self, work: F) -> Result<T, Failure>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, Failure> + Send + 'static,
    {
        self.blocking(move |readers, _| readers.with(work)).await
    }

    /// Runs work on index and files, off the async threads.
    async fn blocking<T, F>(&self, work: F) -> Result<T, Failure>
    where
        T: Send + 'static,
        F: FnOnce(&Readers, &BlobHandle) -> Result<T, Failure> + Send + 'static,
    {
        let (readers, blobs) = (self.index.readers(), self.blobs.handle());
        spawn_blocking(move || work(&readers, &blobs)).await.map_err(|_| EmbeddedError::Stopped)?
    }
}

/// A fault before anything took effect. The cause goes to the operator's log; it is none of the app's business.
fn fault(error: &EmbeddedError) -> S3Error {
    match error {
        EmbeddedError::Damaged | EmbeddedError::Record(_) => {
            S3Error::new(Code::InternalError, "The stored object is damaged. Ask the operator to restore it.")
        }
        EmbeddedError::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
            S3Error::new(Code::ServiceUnavailable, "The location's disk is full; nothing was changed.")
        }
        _ => {
            S3Error::new(Code::ServiceUnavailable, "The location cannot serve this now; nothing was changed.")
        }
    }
}

fn random_id() -> Result<String, EmbeddedError> {
    let id = random::try_bytes::<16>().map_err(io::Error::other);
    id.map(hex::encode).map_err(EmbeddedError::io("draw a random id"))
}

fn lock(root: &Path) -> Result<File, EmbeddedError> {
    let what = "lock the store's folder";
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(root.join("lock"))
        .map_err(EmbeddedError::io(what))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(EmbeddedError::InUse),
        Err(TryLockError::Error(source)) => Err(EmbeddedError::Io { what, source }),
    }
}

/// Writes the format into a new folder, and refuses any but our own in an old one.
fn check_format(root: &Path) -> Result<(), EmbeddedError> {
    let path = root.join("format");
    match fs::read_to_string(&path) {
        Ok(found) if found.trim() == FORMAT => Ok(()),
        Ok(found) if FORMER_FORMATS.contains(&found.trim()) => {
            write_format(root, &path).map_err(EmbeddedError::io("write the store's format"))
        }
        Ok(found) => {
            let found = found.trim().chars().take(80).collect();
            Err(EmbeddedError::Format { found, known: FORMAT })
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            write_format(root, &path).map_err(EmbeddedError::io("write the store's format"))
        }
        Err(source) => Err(EmbeddedError::Io { what: "read the store's format", source }),
    }
}

fn write_format(root: &Path, path: &Path) -> io::Result<()> {
    let draft = root.join("format.new");
    let mut file = File::create(&draft)?;
    file.write_all(format!("{FORMAT}\n").as_bytes())?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    blobs::sync_folder(root)
}

/// Removes blobs that no row names, and counts rows whose blob is missing. One of 256 folders at a time is in memory.
fn sweep(id: &LocationId, index: &Index, blobs: &Blobs) -> Result<Damage, EmbeddedError> {
    let mut damage = Damage::default();
    let mut removed = 0;
    for shard in 0..=u8::MAX {
        let known = index.readers().with(|connection| Ok(rows::blobs_of_shard(connection, shard)?));
        let known = match known {
            Ok(known) => known,
            Err(Failure::Store(error) | Failure::Lost(error)) => return Err(error),
            Err(Failure::S3(_) | Failure::Body(_)) => return Err(EmbeddedError::Stopped),
        };
        let swept =
            blobs.sweep(shard, known).map_err(EmbeddedError::io("compare the blobs with the index"))?;
        removed += swept.removed;
        damage.missing_blobs += swept.missing;
    }
    if removed > 0 {
        tracing::info!(location = %id, removed, "removed blobs that an interrupted write or removal left behind");
    }
    if damage.missing_blobs > 0 {
        let missing = damage.missing_blobs;
        tracing::error!(location = %id, missing, "bytes of stored objects are missing from the disk");
    }
    Ok(damage)
}

#[cfg(test)]
mod tests;
