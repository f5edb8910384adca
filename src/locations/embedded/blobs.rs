//! The files of the embedded store: one immutable file for each blob, and when it may go.
//!
//! A blob is written in `staging/`, flushed, and renamed to `blobs/xx/`; only then may an index row name it.
//! It is removed after the commit that forgot it, and not before the last download of its version has ended.
//! This module knows nothing of buckets and keys.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use tokio::sync::oneshot;

use super::error::EmbeddedError;

use crate::random;

/// How many removals may wait before the index writer waits for them.
const MAX_WAITING_REMOVALS: usize = 4096;

/// The random id of a blob, which is also its file name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BlobId(pub [u8; 16]);

impl BlobId {
    fn random() -> io::Result<BlobId> {
        random::try_bytes().map(BlobId).map_err(io::Error::other)
    }

    fn parse(name: &str) -> Option<BlobId> {
        let mut id = [0; 16];
        hex::decode_to_slice(name, &mut id).ok()?;
        (hex::encode(id) == name).then_some(BlobId(id))
    }

    /// Which of the 256 folders holds it.
    fn shard(self) -> u8 {
        self.0[0]
    }
}

/// The blobs of one folder, and the thread that removes those that no row names any more.
pub struct Blobs {
    shared: Arc<Shared>,
    reaper: Option<JoinHandle<()>>,
}

struct Shared {
    root: PathBuf,
    state: Mutex<State>,
    changed: Condvar,
    /// Locked for as long as anything of this store lives, downloads included.
    _lock: File,
}

#[derive(Default)]
struct State {
    holds: HashMap<i64, Held>,
    chores: VecDeque<Chore>,
    closed: bool,
}

#[derive(Default)]
struct Held {
    readers: usize,
    /// Blobs of this version that go when the last reader does.
    doomed: Vec<BlobId>,
}

enum Chore {
    Remove(PathBuf),
    /// Everything queued before this is done.
    Report(oneshot::Sender<()>),
}

/// What a commit forgot: blobs to remove. `version` is absent for parts, which nobody can read.
#[derive(Debug, Default)]
pub struct Retired {
    pub version: Option<i64>,
    pub blobs: Vec<BlobId>,
}

impl Blobs {
    /// Makes the folders, empties `staging/` and starts the remover. `lock` is the folder's lock, held.
    pub fn open(root: &Path, lock: File) -> Result<Blobs, EmbeddedError> {
        let make = EmbeddedError::io("create the store's folders");
        make_folders(root).map_err(make)?;
        let sweep = EmbeddedError::io("empty the staging folder");
        empty(&root.join("staging")).map_err(sweep)?;
        let shared = Arc::new(Shared {
            root: root.to_owned(),
            state: Mutex::default(),
            changed: Condvar::new(),
            _lock: lock,
        });
        let reaper = std::thread::Builder::new()
            .name("embedded-reaper".to_owned())
            .spawn({
                let shared = Arc::clone(&shared);
                move || shared.reap()
            })
            .map_err(EmbeddedError::io("start a thread"))?;
        Ok(Blobs { shared, reaper: Some(reaper) })
    }

    /// Compares one shard with the ids that the index knows: removes what is unknown, and counts what is missing.
    pub fn sweep(&self, shard: u8, mut known: HashSet<BlobId>) -> io::Result<Swept> {
        let mut swept = Swept::default();
        for entry in fs::read_dir(self.shared.shard_path(shard))? {
            let entry = entry?;
            let name = entry.file_name();
            let is_known = name.to_str().and_then(BlobId::parse).is_some_and(|id| known.remove(&id));
            if !is_known {
                fs::remove_file(entry.path())?;
                swept.removed += 1;
            }
        }
        swept.missing = known.len() as u64;
        Ok(swept)
    }

    /// A new file in `staging/`. Blocks.
    pub fn stage(&self) -> io::Result<Staged> {
        self.handle().stage()
    }

    /// What writing tasks carry, so that they need not hold the whole store.
    pub fn handle(&self) -> BlobHandle {
        BlobHandle(Arc::clone(&self.shared))
    }

    /// Proves that the folder takes writes. Blocks.
    pub fn probe(&self) -> io::Result<()> {
        let mut staged = self.stage()?;
        staged.write(b"ready?")?;
        staged.file.sync_data()?;
        staged.discard()
    }

    /// Returns when every removal that was queued before is done.
    pub async fn settled(&self) {
        let (sender, done) = oneshot::channel();
        self.shared.push(Chore::Report(sender));
        let _ = done.await;
    }
}

impl Drop for Blobs {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.changed.notify_all();
        if let Some(reaper) = self.reaper.take() {
            let _ = reaper.join();
        }
    }
}

/// What a sweep of one shard found.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Swept {
    /// Files without a row, removed.
    pub removed: u64,
    /// Rows without a file.
    pub missing: u64,
}

/// Access to the files, cheap to clone.
#[derive(Clone)]
pub struct BlobHandle(Arc<Shared>);

impl BlobHandle {
    pub fn stage(&self) -> io::Result<Staged> {
        let id = BlobId::random()?;
        let path = self.0.root.join("staging").join(hex::encode(id.0));
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        Ok(Staged { file, blob: NewBlob { shared: Arc::clone(&self.0), id, path, armed: true } })
    }

    pub fn open(&self, id: BlobId) -> io::Result<File> {
        File::open(self.0.blob_path(id))
    }

    /// New blobs with the bytes of existing ones, as hard links: blobs never change, so they can share their bytes.
    pub fn duplicate(&self, sources: &[BlobId]) -> io::Result<Vec<NewBlob>> {
        let mut copies = Vec::with_capacity(sources.len());
        let mut linked = BTreeSet::new();
        for source in sources {
            let id = BlobId::random()?;
            let path = self.0.blob_path(id);
            match fs::hard_link(self.0.blob_path(*source), &path) {
                Ok(()) => {
                    linked.insert(id.shard());
                    copies.push(NewBlob { shared: Arc::clone(&self.0), id, path, armed: true });
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(error),
                // No links here, or too many of this file: the bytes themselves.
                Err(_) => {
                    let mut staged = self.stage()?;
                    io::copy(&mut self.open(*source)?, &mut staged.file)?;
                    copies.push(staged.seal()?);
                }
            }
        }
        for shard in linked {
            sync_folder(&self.0.shard_path(shard))?;
        }
        Ok(copies)
    }

    /// Keeps the blobs of a version from being removed until the hold is dropped. The caller looks the version up
    /// (again) afterwards: a version that is still there then cannot go under the hold.
    pub fn hold(&self, version: i64) -> Hold {
        self.0.lock().holds.entry(version).or_default().readers += 1;
        Hold { shared: Arc::clone(&self.0), version }
    }

    /// Queues what a commit forgot for removal. Blocks while the queue is full.
    pub fn retire(&self, retired: Retired) {
        let mut state = self.0.lock();
        if let Some(held) = retired.version.and_then(|version| state.holds.get_mut(&version)) {
            held.doomed.extend(retired.blobs);
            return;
        }
        while state.chores.len() >= MAX_WAITING_REMOVALS && !state.closed {
            state = self.0.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        for id in retired.blobs {
            state.chores.push_back(Chore::Remove(self.0.blob_path(id)));
        }
        drop(state);
        self.0.changed.notify_all();
    }
}

/// A blob that is being written.
pub struct Staged {
    file: File,
    blob: NewBlob,
}

impl Staged {
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)
    }

    /// Makes bytes and name durable. The flush of the target folder is enough: a name that a crash leaves
    /// behind in `staging/` is swept at the next start. Blocks.
    pub fn seal(self) -> io::Result<NewBlob> {
        let Staged { file, mut blob } = self;
        file.sync_data()?;
        let target = blob.shared.blob_path(blob.id);
        fs::rename(&blob.path, &target)?;
        blob.path = target;
        sync_folder(&blob.shared.shard_path(blob.id.shard()))?;
        Ok(blob)
    }

    /// Removes it here and now, where dropping it would leave that to the remover.
    pub fn discard(self) -> io::Result<()> {
        self.blob.discard()
    }
}

/// A blob that no committed row names yet: dropped, it is removed.
pub struct NewBlob {
    shared: Arc<Shared>,
    id: BlobId,
    path: PathBuf,
    armed: bool,
}

impl NewBlob {
    pub fn id(&self) -> BlobId {
        self.id
    }

    /// A row names it now, or may.
    pub fn keep(mut self) {
        self.armed = false;
    }

    pub fn discard(mut self) -> io::Result<()> {
        self.armed = false;
        fs::remove_file(&self.path)
    }
}

impl Drop for NewBlob {
    fn drop(&mut self) {
        if self.armed {
            self.shared.push(Chore::Remove(std::mem::take(&mut self.path)));
        }
    }
}

/// A reader's claim on the blobs of one version.
pub struct Hold {
    shared: Arc<Shared>,
    version: i64,
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        let Some(held) = state.holds.get_mut(&self.version) else { return };
        held.readers -= 1;
        if held.readers > 0 {
            return;
        }
        let doomed = state.holds.remove(&self.version).map(|held| held.doomed).unwrap_or_default();
        drop(state);
        for id in doomed {
            self.shared.push(Chore::Remove(self.shared.blob_path(id)));
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Never waits: it runs in destructors.
    fn push(&self, chore: Chore) {
        let mut state = self.lock();
        if state.closed {
            drop(state);
            chore.run();
        } else {
            state.chores.push_back(chore);
            drop(state);
            self.changed.notify_all();
        }
    }

    fn reap(&self) {
        let mut state = self.lock();
        loop {
            if let Some(chore) = state.chores.pop_front() {
                drop(state);
                self.changed.notify_all();
                chore.run();
                state = self.lock();
            } else if state.closed {
                return;
            } else {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }

    fn shard_path(&self, shard: u8) -> PathBuf {
        self.root.join("blobs").join(format!("{shard:02x}"))
    }

    fn blob_path(&self, id: BlobId) -> PathBuf {
        self.shard_path(id.shard()).join(hex::encode(id.0))
    }
}

impl Chore {
    fn run(self) {
        match self {
            Chore::Remove(path) => match fs::remove_file(&path) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    tracing::warn!(%error, "a blob could not be removed; the next start tries again")
                }
            },
            Chore::Report(sender) => {
                let _ = sender.send(());
            }
        }
    }
}

/// Makes a folder that only its owner can enter, or makes an existing one so.
pub fn private_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o700))
}

pub fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

fn make_folders(root: &Path) -> io::Result<()> {
    private_folder(&root.join("staging"))?;
    let blobs = root.join("blobs");
    private_folder(&blobs)?;
    for shard in 0..=u8::MAX {
        let path = blobs.join(format!("{shard:02x}"));
        if !path.is_dir() {
            DirBuilder::new().mode(0o700).create(path)?;
        }
    }
    sync_folder(&blobs)?;
    sync_folder(root)
}

fn empty(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        fs::remove_file(entry?.path())?;
    }
    Ok(())
}
