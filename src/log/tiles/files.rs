//! The files of a log: their names, writing them so that a crash leaves no half of one, reading them back.
//!
//! Paths are those of C2SP `tlog-tiles`. Nothing here knows what a hash means.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use super::PublishError;
use crate::log::merkle::{Hash, TILE_WIDTH};

/// Path of a hash tile, relative to the log's folder. `width` is 1 to 256.
pub fn tile_path(level: u8, index: u64, width: usize) -> String {
    format!("tile/{level}/{}", numbered(index, width))
}

/// Path of an entry bundle, relative to the log's folder. `width` is 1 to 256.
pub fn bundle_path(index: u64, width: usize) -> String {
    format!("tile/entries/{}", numbered(index, width))
}

/// Folder that holds the partial tiles of `index` below `kind` (a level, or `entries`).
pub fn partials_path(kind: &str, index: u64) -> String {
    format!("tile/{kind}/{}.p", grouped(index))
}

/// The bytes of an entry bundle: each entry after its length as a big-endian `u16`.
/// `None` where an entry is too long for that.
pub fn encode_bundle(entries: &[Vec<u8>]) -> Option<Vec<u8>> {
    let mut bundle = Vec::with_capacity(entries.iter().map(|entry| entry.len() + 2).sum());
    for entry in entries {
        bundle.extend_from_slice(&u16::try_from(entry.len()).ok()?.to_be_bytes());
        bundle.extend_from_slice(entry);
    }
    Some(bundle)
}

/// Reads a whole file if it is there and not longer than `limit`.
pub fn read_bounded(path: &Path, limit: u64) -> Result<Option<Vec<u8>>, PublishError> {
    let failed = |source| PublishError::io("read", path, source);
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > limit {
        return Err(failed(ErrorKind::FileTooLarge.into()));
    }
    Ok(Some(bytes))
}

/// Reads a hash tile of `width`; `None` where it is missing or has another length.
pub fn read_tile(
    folder: &Path,
    level: u8,
    index: u64,
    width: usize,
) -> Result<Option<Vec<Hash>>, PublishError> {
    let limit = (TILE_WIDTH * size_of::<Hash>()) as u64;
    let bytes = match read_bounded(&folder.join(tile_path(level, index, width)), limit) {
        Ok(bytes) => bytes.unwrap_or_default(),
        Err(PublishError::Io { source, .. }) if source.kind() == ErrorKind::FileTooLarge => return Ok(None),
        Err(error) => return Err(error),
    };
    let (hashes, rest) = bytes.as_chunks::<{ size_of::<Hash>() }>();
    Ok((rest.is_empty() && hashes.len() == width).then(|| hashes.to_vec()))
}

/// Writes a file and returns when it would survive a power cut.
pub fn write_durably(path: &Path, bytes: &[u8]) -> Result<(), PublishError> {
    let written = put(path, bytes)?;
    written.sync_all().map_err(|source| PublishError::io("sync", path, source))?;
    rename_into_place(path)?;
    sync_folder(path.parent().unwrap_or(Path::new(".")))
}

/// Files that were written and are not known to be durable yet.
#[derive(Debug)]
pub struct Unsynced {
    root: PathBuf,
    files: Vec<PathBuf>,
    folders: BTreeSet<PathBuf>,
}

impl Unsynced {
    /// Starts an empty list of files below `root`.
    pub fn below(root: &Path) -> Self {
        Unsynced { root: root.to_owned(), files: Vec::new(), folders: BTreeSet::new() }
    }

    /// Puts a file in its place at once; it is durable after [`Unsynced::sync`].
    pub fn write(&mut self, path: PathBuf, bytes: &[u8]) -> Result<(), PublishError> {
        put(&path, bytes)?;
        rename_into_place(&path)?;
        let folders = path.ancestors().skip(1).take_while(|folder| folder.starts_with(&self.root));
        self.folders.extend(folders.map(Path::to_owned));
        self.files.push(path);
        Ok(())
    }

    /// Makes all of them durable: one by one when they are few, with the whole file system when they are many.
    pub fn sync(self) -> Result<(), PublishError> {
        // A busy second fills some hundred tiles. One flush for all is then far cheaper than one for each.
        const FEW: usize = 16;
        if self.files.len() > FEW && sync_file_system(&self.root)? {
            return Ok(());
        }
        for path in &self.files {
            let synced = File::open(path).and_then(|file| file.sync_all());
            synced.map_err(|source| PublishError::io("sync", path, source))?;
        }
        self.folders.iter().try_for_each(|folder| sync_folder(folder))
    }
}

/// Flushes the file system below `root`; `false` where the platform cannot.
#[cfg(target_os = "linux")]
fn sync_file_system(root: &Path) -> Result<bool, PublishError> {
    let failed = |source| PublishError::io("sync", root, source);
    rustix::fs::syncfs(File::open(root).map_err(failed)?).map_err(|errno| failed(errno.into()))?;
    Ok(true)
}

/// Flushes the file system below `root`; `false` where the platform cannot.
#[cfg(not(target_os = "linux"))]
fn sync_file_system(_root: &Path) -> Result<bool, PublishError> {
    Ok(false)
}

fn sync_folder(folder: &Path) -> Result<(), PublishError> {
    let synced = File::open(folder).and_then(|file| file.sync_all());
    synced.map_err(|source| PublishError::io("sync", folder, source))
}

/// Writes the bytes beside where they will go.
fn put(path: &Path, bytes: &[u8]) -> Result<File, PublishError> {
    let failed = |source| PublishError::io("write", path, source);
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    let mut file = File::create(beside(path)).map_err(failed)?;
    file.write_all(bytes).map_err(failed)?;
    Ok(file)
}

fn rename_into_place(path: &Path) -> Result<(), PublishError> {
    fs::rename(beside(path), path).map_err(|source| PublishError::io("rename", path, source))
}

fn beside(path: &Path) -> PathBuf {
    path.with_added_extension("tmp")
}

fn numbered(index: u64, width: usize) -> String {
    if width == TILE_WIDTH { grouped(index) } else { format!("{}.p/{width}", grouped(index)) }
}

/// Groups of three digits, all but the last with an `x`: `1234067` is `x001/x234/067`.
fn grouped(index: u64) -> String {
    let mut path = format!("{:03}", index % 1000);
    let mut rest = index / 1000;
    while rest > 0 {
        path = format!("x{:03}/{path}", rest % 1000);
        rest /= 1000;
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_those_of_the_specification() {
        assert_eq!(tile_path(0, 0, 256), "tile/0/000");
        assert_eq!(tile_path(2, 1_234_067, 256), "tile/2/x001/x234/067");
        assert_eq!(tile_path(0, 273, 112), "tile/0/273.p/112");
        assert_eq!(tile_path(7, u64::MAX >> 8, 1), "tile/7/x072/x057/x594/x037/x927/935.p/1");
        assert_eq!(bundle_path(1000, 256), "tile/entries/x001/000");
        assert_eq!(bundle_path(999, 3), "tile/entries/999.p/3");
        assert_eq!(partials_path("entries", 999), "tile/entries/999.p");
    }

    #[test]
    fn a_bundle_is_each_entry_after_its_length() {
        assert_eq!(encode_bundle(&[b"ab".to_vec(), vec![]]).unwrap(), b"\x00\x02ab\x00\x00");
        assert_eq!(encode_bundle(&[vec![b'x'; 65_535]]).unwrap().len(), 65_537);
        assert!(encode_bundle(&[vec![b'x'; 65_536]]).is_none());
    }

    #[test]
    fn few_and_many_files_are_written_and_synced() {
        for count in [1, 40] {
            let dir = tempfile::tempdir().unwrap();
            let mut unsynced = Unsynced::below(dir.path());
            for index in 0..count {
                unsynced.write(dir.path().join(tile_path(0, index, 256)), b"bytes").unwrap();
            }
            unsynced.sync().unwrap();
            for index in 0..count {
                assert_eq!(fs::read(dir.path().join(tile_path(0, index, 256))).unwrap(), b"bytes");
            }
            assert_eq!(fs::read_dir(dir.path().join("tile/0")).unwrap().count(), count as usize);
        }
    }

    #[test]
    fn a_file_that_is_too_long_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("checkpoint");
        write_durably(&path, &[0; 11]).unwrap();
        assert!(read_bounded(&path, 10).is_err());
        assert_eq!(read_bounded(&path, 11).unwrap().unwrap().len(), 11);
        assert!(read_bounded(&dir.path().join("missing"), 10).unwrap().is_none());
    }
}
