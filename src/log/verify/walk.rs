//! The walk over one log: every entry, every tile of every level, and the root.
//!
//! Bundles are read one after the other, so that memory does not grow with the log, but for the
//! history of objects (see [`History`]).

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::path::Path;

use super::entry::{self, History};
use super::report::{LogReport, Problem};
use super::tree::{self, Frontier, Hash};

/// Entries of a full bundle, hashes of a full tile.
const FULL: usize = 256;
/// 256 entries of the greatest length, each after two bytes of length.
const LONGEST_BUNDLE: u64 = (FULL as u64) * (2 + 65_535);

/// Checks a whole log of `size` entries against `root`, and against the roots that it had at older sizes.
pub fn walk(folder: &Path, size: u64, root: &Hash, older: &BTreeMap<u64, Vec<Hash>>, report: &mut LogReport) {
    let mut walk = Walk {
        folder,
        size,
        levels: Vec::new(),
        entries: Frontier::default(),
        history: History::default(),
        older,
        report,
    };
    walk.compare_with_older();
    for bundle in 0..size.div_ceil(FULL as u64) {
        if !walk.bundle(bundle) {
            walk.report.add(Problem::WalkEnded { index: bundle * FULL as u64 });
            return;
        }
    }
    walk.right_edge();
    if walk.entries.root() != *root {
        walk.report.add(Problem::Root);
    }
}

struct Walk<'a> {
    folder: &'a Path,
    size: u64,
    /// For each level, the hashes of its tile that is not complete yet.
    levels: Vec<Vec<Hash>>,
    /// The tree over the entries alone, without regard to any tile.
    entries: Frontier,
    history: History,
    older: &'a BTreeMap<u64, Vec<Hash>>,
    report: &'a mut LogReport,
}

impl Walk<'_> {
    /// Takes in one bundle; `false` where neither it nor its tile gives the hashes to go on with.
    fn bundle(&mut self, bundle: u64) -> bool {
        let from = bundle * FULL as u64;
        let width = (self.size - from).min(FULL as u64) as usize;
        let bytes = self.read_bundle(bundle, width);
        let tile = self.read_tile(0, bundle, width);
        let mut rest = bytes.as_deref();
        let mut leaves = Vec::with_capacity(width);
        for (index, at) in (from..).zip(0..width) {
            let entry = rest.and_then(take_entry);
            let leaf = match (entry, &tile) {
                (Some((entry, after)), _) => {
                    rest = Some(after);
                    self.entry(index, entry);
                    tree::leaf(entry)
                }
                (None, tile) => {
                    if rest.take().is_some() {
                        let path = path("entries", bundle, width);
                        self.report.add(Problem::BundleTruncated { path, index });
                    }
                    self.history.lose(index);
                    let Some(hash) = tile.as_ref().and_then(|tile| tile.get(at)) else { return false };
                    *hash
                }
            };
            self.entries.push(leaf);
            self.compare_with_older();
            leaves.push(leaf);
        }
        // A bundle that has grown since the checkpoint was read may hold more.
        if rest.is_some_and(|rest| !rest.is_empty()) && self.bundle_is_exact(bundle, width) {
            self.report.add(Problem::BundleExcess { path: path("entries", bundle, width), width });
        }
        if let Some(bytes) = &bytes
            && width < FULL
        {
            self.older_partials("entries", bundle, width, |part| {
                end_of_entries(bytes, part).and_then(|end| bytes.get(..end))
            });
        }
        self.level(0, bundle, leaves, tile);
        true
    }

    fn entry(&mut self, index: u64, bytes: &[u8]) {
        self.report.entries += 1;
        let followed = match entry::read(bytes) {
            Ok(facts) => self.history.follow(index, &facts),
            Err(reason) => {
                self.history.lose(index);
                Err(reason)
            }
        };
        if let Err(reason) = followed {
            self.report.add(Problem::Entry { index, reason });
        }
    }

    fn compare_with_older(&mut self) {
        let size = self.entries.count();
        if let Some(roots) = self.older.get(&size) {
            let root = self.entries.root();
            if roots.iter().all(|older| *older == root) {
                self.report.grew_from.push(size);
            } else {
                self.report.add(Problem::OlderDiffers { size });
            }
        }
    }

    /// Compares computed hashes with the tile that publishes them, and carries a full tile upward.
    fn level(&mut self, level: u8, index: u64, computed: Vec<Hash>, published: Option<Vec<Hash>>) {
        let mut above = tree::root_of(&computed);
        if let Some(published) = published
            && let Some(at) = computed.iter().zip(&published).position(|(one, other)| one != other)
        {
            let path = path(&level.to_string(), index, computed.len());
            let first = index * FULL as u64 + at as u64;
            let of_published = tree::root_of(&published);
            // The tile above tells which of the two is the changed one. On the right edge there is none yet.
            let arbiter = if computed.len() == FULL { self.hash_above(level, index) } else { None };
            let problem = if level == 0 && arbiter == Some(of_published) {
                above = of_published;
                Problem::EntryChanged { index: first, path }
            } else if level == 0 && arbiter != Some(above) {
                Problem::EntryOrTileChanged { path, at, index: first }
            } else {
                Problem::TileChanged { path, at }
            };
            self.report.add(problem);
        }
        if computed.len() == FULL {
            self.carry(level + 1, above);
        } else {
            self.older_partials(&level.to_string(), index, computed.len(), |part| {
                computed.get(..part).map(<[Hash]>::as_flattened)
            });
        }
    }

    /// Adds the hash of a full tile to the level above it, and completes that one if it is the last.
    fn carry(&mut self, level: u8, hash: Hash) {
        let slot = usize::from(level);
        while self.levels.len() <= slot {
            self.levels.push(Vec::new());
        }
        let Some(row) = self.levels.get_mut(slot) else { return };
        row.push(hash);
        if row.len() == FULL {
            let computed = std::mem::take(row);
            let index = full_tiles(self.entries.count(), level).saturating_sub(1);
            let published = self.read_tile(level, index, FULL);
            self.level(level, index, computed, published);
        }
    }

    /// The tiles that stay unfinished at the end of the log.
    fn right_edge(&mut self) {
        for (level, computed) in (0_u8..).zip(std::mem::take(&mut self.levels)) {
            if !computed.is_empty() {
                let index = full_tiles(self.size, level);
                let published = self.read_tile(level, index, computed.len());
                self.level(level, index, computed, published);
            }
        }
    }

    /// The hash that the tile above publishes for a full tile, if there is one to be read.
    fn hash_above(&self, level: u8, index: u64) -> Option<Hash> {
        let count = full_tiles(self.size, level);
        let level = level + 1;
        let tile = index / FULL as u64;
        let width = (count - tile * FULL as u64).min(FULL as u64) as usize;
        let bytes = read_either(self.folder, &level.to_string(), tile, width, (FULL * 32) as u64).ok()??;
        bytes.as_chunks::<32>().0.get((index % FULL as u64) as usize).copied()
    }

    fn read_tile(&mut self, level: u8, index: u64, width: usize) -> Option<Vec<Hash>> {
        let kind = level.to_string();
        let path = path(&kind, index, width);
        let bytes = match read_either(self.folder, &kind, index, width, (FULL * 32) as u64) {
            Ok(bytes) => bytes,
            Err(error) => {
                self.unreadable(&path, &error);
                return None;
            }
        };
        let Some(bytes) = bytes else {
            self.report.add(Problem::TileMissing { path });
            return None;
        };
        self.report.tiles += 1;
        let (hashes, rest) = bytes.as_chunks::<32>();
        // A tile that has become full since the checkpoint was read begins with the part that was signed.
        let grown = hashes.len() == FULL && !self.folder.join(&path).is_file();
        if !rest.is_empty() || (hashes.len() != width && !grown) {
            let (found, expected) = (bytes.len() as u64, (width * 32) as u64);
            self.report.add(Problem::TileLength { path, found, expected });
            return None;
        }
        hashes.get(..width).map(<[Hash]>::to_vec)
    }

    fn read_bundle(&mut self, bundle: u64, width: usize) -> Option<Vec<u8>> {
        let path = path("entries", bundle, width);
        match read_either(self.folder, "entries", bundle, width, LONGEST_BUNDLE) {
            Ok(Some(bytes)) => return Some(bytes),
            Ok(None) => self.report.add(Problem::BundleMissing { path }),
            Err(error) => self.unreadable(&path, &error),
        }
        None
    }

    fn bundle_is_exact(&self, bundle: u64, width: usize) -> bool {
        self.folder.join(path("entries", bundle, width)).is_file()
    }

    /// Partial tiles of earlier checkpoints that still lie beside the last one must be beginnings of it.
    fn older_partials<'b>(
        &mut self,
        kind: &str,
        index: u64,
        width: usize,
        beginning: impl Fn(usize) -> Option<&'b [u8]>,
    ) {
        for part in 1..width {
            let path = path(kind, index, part);
            match read_bounded(&self.folder.join(&path), LONGEST_BUNDLE) {
                Ok(Some(bytes)) if beginning(part).is_some_and(|expected| expected != bytes) => {
                    self.report.add(Problem::PartialDiffers { path });
                }
                Ok(_) => (),
                Err(error) => self.unreadable(&path, &error),
            }
        }
    }

    fn unreadable(&mut self, path: &str, error: &io::Error) {
        let problem = Problem::Unreadable { path: self.folder.join(path), reason: error.to_string() };
        self.report.add(problem);
    }
}

/// How many tiles of a level a log of `size` entries has filled.
fn full_tiles(size: u64, level: u8) -> u64 {
    size.checked_shr(8 * (u32::from(level) + 1)).unwrap_or(0)
}

/// The first entry of a bundle and what follows it.
fn take_entry(bundle: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bundle.split_first_chunk::<2>()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
}

/// Where the first `count` entries of a bundle end.
fn end_of_entries(bundle: &[u8], count: usize) -> Option<usize> {
    let mut rest = bundle;
    for _ in 0..count {
        rest = take_entry(rest)?.1;
    }
    Some(bundle.len() - rest.len())
}

/// Reads a tile or bundle of `width`; a partial one that is gone may have become full meanwhile.
fn read_either(
    folder: &Path,
    kind: &str,
    index: u64,
    width: usize,
    limit: u64,
) -> io::Result<Option<Vec<u8>>> {
    match read_bounded(&folder.join(path(kind, index, width)), limit)? {
        None if width < FULL => read_bounded(&folder.join(path(kind, index, FULL)), limit),
        found => Ok(found),
    }
}

/// Reads a regular file of at most `limit` bytes; `None` where there is none.
pub fn read_bounded(path: &Path, limit: u64) -> io::Result<Option<Vec<u8>>> {
    // A pipe or a device in its place would hang the audit.
    match fs::metadata(path) {
        Ok(found) if !found.is_file() => return Err(io::Error::other("it is not a regular file")),
        Ok(found) if found.len() > limit => return Err(ErrorKind::FileTooLarge.into()),
        Ok(_) => (),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(limit).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

/// Where the specification puts a tile (`kind` is its level) or a bundle (`entries`), below the log's folder.
fn path(kind: &str, index: u64, width: usize) -> String {
    let digits = format!("{index:03}");
    let first = (digits.len() - 1) % 3 + 1;
    let mut path = format!("tile/{kind}");
    let padded = format!("{}{digits}", "0".repeat(3 - first));
    let groups = padded.len() / 3;
    for (group, three) in padded.as_bytes().as_chunks::<3>().0.iter().enumerate() {
        path.push_str(if group + 1 < groups { "/x" } else { "/" });
        path.extend(three.iter().map(|digit| char::from(*digit)));
    }
    if width < FULL {
        path.push_str(&format!(".p/{width}"));
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_those_of_the_specification() {
        assert_eq!(path("0", 0, 256), "tile/0/000");
        assert_eq!(path("entries", 999, 255), "tile/entries/999.p/255");
        assert_eq!(path("1", 1000, 256), "tile/1/x001/000");
        assert_eq!(path("2", 1_234_067, 1), "tile/2/x001/x234/067.p/1");
    }

    #[test]
    fn entries_are_taken_only_whole() {
        assert_eq!(take_entry(b"\x00\x02abc"), Some((&b"ab"[..], &b"c"[..])));
        for cut in [&b""[..], b"\x00", b"\x00\x02a"] {
            assert_eq!(take_entry(cut), None);
        }
        assert_eq!(end_of_entries(b"\x00\x01a\x00\x00rest", 2), Some(5));
    }
}
