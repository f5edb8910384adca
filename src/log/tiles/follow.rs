//! One log being published: taken up where it was left, grown, and signed.
//!
//! The order is what matters here: entry bundles and tiles first, then a sync, then the checkpoint,
//! and only then are partial tiles removed. A crash between any two steps leaves a log that verifies.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::files::{self, Unsynced};
use super::{LogInfo, LogSource, LogSourceError, PublishError};
use crate::log::checkpoint::{Head, LogKey, MAX_CHECKPOINT_BYTES};
use crate::log::merkle::{Hash, TILE_WIDTH, Tree, leaf_hash, perfect_root};

/// Most entries that one checkpoint adds, so that a long backlog is published in steps.
const MAX_STEP: u64 = 1 << 16;

/// A log, and how far it is published.
#[derive(Debug)]
pub struct Followed {
    folder: PathBuf,
    key: LogKey,
    tree: Tree,
}

/// A grown tree whose files are written and wait for the sync and the checkpoint.
#[derive(Debug)]
pub struct Staged {
    tree: Tree,
}

impl Followed {
    /// Takes up a log where its last checkpoint left it.
    ///
    /// Reads the right edge of the tree and the last bundle, not the whole log. The edge must hash to the signed root
    /// and the source must still hold the entries below it. Where files of the edge are damaged or gone, they are
    /// written again from the source, if the source's entries give the signed root.
    pub fn take_up(
        dir: &Path,
        key: LogKey,
        info: &LogInfo,
        source: &dyn LogSource,
    ) -> Result<Self, PublishError> {
        let folder = key.origin().segments().fold(dir.to_owned(), |folder, segment| folder.join(segment));
        let mut followed = Followed { folder, key, tree: Tree::new() };
        followed.claim_key()?;
        let Some(head) = followed.published()? else { return Ok(followed) };
        if info.size < head.size {
            return Err(followed.rolled_back(head.size, info.size));
        }
        match followed.read_edges(head.size)? {
            Some(tree) if tree.root() == head.root && followed.last_bundle_is_whole(&tree, source)? => {
                followed.tree = tree;
            }
            _ => followed.restore(head, dir, source)?,
        }
        Ok(followed)
    }

    pub fn size(&self) -> u64 {
        self.tree.size()
    }

    /// Writes the bundles and tiles of what the source has more than the checkpoint; `None` if that is nothing.
    pub fn stage(
        &self,
        info: &LogInfo,
        source: &dyn LogSource,
        unsynced: &mut Unsynced,
    ) -> Result<Option<Staged>, PublishError> {
        if info.size < self.size() {
            return Err(self.rolled_back(self.size(), info.size));
        }
        if info.size == self.size() {
            return Ok(None);
        }
        let target = info.size.min(self.size() + MAX_STEP);
        Ok(Some(Staged { tree: self.grow(&self.tree, target, source, unsynced)? }))
    }

    /// Signs and publishes a staged tree. Its files must be durable.
    pub fn publish(&mut self, staged: Staged) -> Result<Head, PublishError> {
        let head = Head { size: staged.tree.size(), root: staged.tree.root() };
        files::write_durably(&self.folder.join("checkpoint"), self.key.sign(head).as_bytes())?;
        let before = self.size();
        self.tree = staged.tree;
        self.remove_outgrown_partials(before);
        Ok(head)
    }

    /// Adds entries up to `target` to a copy of `tree` and writes every bundle and tile that this changes.
    fn grow(
        &self,
        tree: &Tree,
        target: u64,
        source: &dyn LogSource,
        unsynced: &mut Unsynced,
    ) -> Result<Tree, PublishError> {
        let before = tree.size();
        let mut tree = tree.clone();
        while tree.size() < target {
            let bundle = tree.size() / TILE_WIDTH as u64;
            let from = bundle * TILE_WIDTH as u64;
            let to = target.min(from + TILE_WIDTH as u64);
            let entries = self.entries(source, from, to)?;
            let bytes = self.encode(&entries, from)?;
            let leaves: Vec<Hash> = entries.iter().map(|entry| leaf_hash(entry)).collect();
            // The start of the bundle is published already. It is read again for the new bundle file, and must be the same.
            let known = tree.edges().first().map_or(&[][..], Vec::as_slice);
            let new = leaves.strip_prefix(known).ok_or_else(|| self.diverged(from))?.to_vec();
            unsynced.write(self.folder.join(files::bundle_path(bundle, entries.len())), &bytes)?;
            for leaf in new {
                let mut full = Vec::new();
                tree.push(leaf, |tile| full.push(tile));
                for tile in full {
                    let path = files::tile_path(tile.level, tile.index, tile.hashes.len());
                    unsynced.write(self.folder.join(path), tile.hashes.as_flattened())?;
                }
            }
        }
        for (level, edge) in (0_u8..).zip(tree.edges()) {
            let shift = 8 * u32::from(level);
            let unchanged = before >> shift == tree.size() >> shift;
            if !edge.is_empty() && !unchanged {
                let index = (tree.size() >> shift) / TILE_WIDTH as u64;
                let path = files::tile_path(level, index, edge.len());
                unsynced.write(self.folder.join(path), edge.as_flattened())?;
            }
        }
        Ok(tree)
    }

    /// Writes all files again from the source, provided that its entries are those that were signed.
    fn restore(&mut self, head: Head, dir: &Path, source: &dyn LogSource) -> Result<(), PublishError> {
        tracing::warn!(
            log = %self.key.origin(), size = head.size,
            "files at the end of a published log are damaged or missing; writing the log again from the catalogue"
        );
        // First without writing: should the roots differ, what lies on disk is evidence and stays as it is.
        let mut tree = Tree::new();
        while tree.size() < head.size {
            let from = tree.size();
            let to = head.size.min(from + TILE_WIDTH as u64);
            for entry in self.entries(source, from, to)? {
                tree.push(leaf_hash(&entry), |_| ());
            }
        }
        if tree.root() != head.root {
            return Err(self.diverged(0));
        }
        let mut unsynced = Unsynced::below(dir);
        self.tree = self.grow(&Tree::new(), head.size, source, &mut unsynced)?;
        unsynced.sync()
    }

    /// The head that this log signed last, if it has one.
    fn published(&self) -> Result<Option<Head>, PublishError> {
        let Some(note) = files::read_bounded(&self.folder.join("checkpoint"), MAX_CHECKPOINT_BYTES)? else {
            return Ok(None);
        };
        let head = self.key.open(&note).map_err(|reason| PublishError::ForeignCheckpoint {
            origin: self.key.origin().to_string(),
            reason,
        })?;
        Ok(Some(head))
    }

    /// Reads the last tile of each level; `None` where one is missing or does not fit the one above it.
    fn read_edges(&self, size: u64) -> Result<Option<Tree>, PublishError> {
        let mut edges = Vec::new();
        let mut full_below: Option<Hash> = None;
        let mut count = size;
        for level in 0_u8.. {
            let Some(last) = count.checked_sub(1) else { break };
            let width = (last % TILE_WIDTH as u64) as usize + 1;
            let Some(hashes) = files::read_tile(&self.folder, level, last / TILE_WIDTH as u64, width)? else {
                return Ok(None);
            };
            if full_below.is_some_and(|root| hashes.last() != Some(&root)) {
                return Ok(None);
            }
            if width == TILE_WIDTH {
                full_below = Some(perfect_root(&hashes));
                edges.push(Vec::new());
            } else {
                full_below = None;
                edges.push(hashes);
            }
            count /= TILE_WIDTH as u64;
        }
        Ok(Tree::from_edges(size, edges))
    }

    /// Whether the last bundle on disk is what the source holds. Entries that are not those of the tree are an error.
    fn last_bundle_is_whole(&self, tree: &Tree, source: &dyn LogSource) -> Result<bool, PublishError> {
        let Some(last) = tree.size().checked_sub(1) else { return Ok(true) };
        let bundle = last / TILE_WIDTH as u64;
        let width = (last % TILE_WIDTH as u64) as usize + 1;
        let from = bundle * TILE_WIDTH as u64;
        let entries = self.entries(source, from, tree.size())?;
        let hashes = files::read_tile(&self.folder, 0, bundle, width)?;
        if hashes != Some(entries.iter().map(|entry| leaf_hash(entry)).collect()) {
            return Err(self.diverged(from));
        }
        let expected = self.encode(&entries, from)?;
        let path = self.folder.join(files::bundle_path(bundle, width));
        Ok(files::read_bounded(&path, expected.len() as u64).is_ok_and(|found| found == Some(expected)))
    }

    fn entries(&self, source: &dyn LogSource, from: u64, to: u64) -> Result<Vec<Vec<u8>>, PublishError> {
        let entries = source.entries(self.key.origin().as_str(), from, to)?;
        if entries.len() as u64 != to - from {
            return Err(PublishError::Source(LogSourceError::Corrupt(format!(
                "{} entries where {from} to {to} were asked for",
                entries.len()
            ))));
        }
        Ok(entries)
    }

    fn encode(&self, entries: &[Vec<u8>], from: u64) -> Result<Vec<u8>, PublishError> {
        files::encode_bundle(entries).ok_or_else(|| PublishError::EntryTooLong {
            origin: self.key.origin().to_string(),
            from,
            to: from + entries.len() as u64,
        })
    }

    /// Puts the verifier key beside the checkpoint, and refuses to sign where another key did before.
    fn claim_key(&self) -> Result<(), PublishError> {
        let path = self.folder.join("vkey");
        let vkey = format!("{}\n", self.key.vkey());
        match files::read_bounded(&path, MAX_CHECKPOINT_BYTES)? {
            Some(found) if found == vkey.as_bytes() => Ok(()),
            Some(_) => Err(PublishError::OtherKey { origin: self.key.origin().to_string() }),
            None => files::write_durably(&path, vkey.as_bytes()),
        }
    }

    /// Removes the partial tiles of tiles that have become full since the log had `before` entries.
    fn remove_outgrown_partials(&self, before: u64) {
        let remove = |kind: &str, index: u64| {
            let folder = self.folder.join(files::partials_path(kind, index));
            // They are only in the way of tidiness; readers and the next start do without.
            match fs::remove_dir_all(&folder) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    tracing::debug!(log = %self.key.origin(), %error, "old partial tiles could not be removed");
                }
                _ => (),
            }
        };
        let (mut old, mut new) = (before, self.size());
        for level in 0_u8.. {
            if new == 0 {
                break;
            }
            let index = old / TILE_WIDTH as u64;
            if !old.is_multiple_of(TILE_WIDTH as u64) && new / TILE_WIDTH as u64 > index {
                remove(&level.to_string(), index);
                if level == 0 {
                    remove("entries", index);
                }
            }
            old /= TILE_WIDTH as u64;
            new /= TILE_WIDTH as u64;
        }
    }

    fn rolled_back(&self, published: u64, held: u64) -> PublishError {
        PublishError::RolledBack { origin: self.key.origin().to_string(), published, held }
    }

    fn diverged(&self, from: u64) -> PublishError {
        PublishError::Diverged { origin: self.key.origin().to_string(), from }
    }
}
