//! The Merkle tree of RFC 6962, kept as its right edge, and the tiles that it fills as it grows.
//!
//! Pure arithmetic on hashes: no files, no signatures. The tree remembers at most 255 hashes for
//! each level of tiles, so it stays small however long the log is. It is the writer's tree; the
//! verifier has one of its own and shares nothing with this file.

use aws_lc_rs::digest::{Context, SHA256};

/// Hashes in a full tile; a full tile stands for this many times more leaves than the level below.
pub const TILE_WIDTH: usize = 256;

/// A SHA-256 hash of a leaf or of a subtree.
pub type Hash = [u8; 32];

/// The hash of an entry: `SHA-256(0x00 || entry)` (RFC 6962, section 2.1).
pub fn leaf_hash(entry: &[u8]) -> Hash {
    sha256(&[&[0x00], entry])
}

/// The hash of two subtrees: `SHA-256(0x01 || left || right)` (RFC 6962, section 2.1).
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    sha256(&[&[0x01], left, right])
}

/// A tile that has just become full.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FullTile {
    pub level: u8,
    pub index: u64,
    pub hashes: Vec<Hash>,
}

/// The right edge of a growing tree.
///
/// `edges[level]` holds the hashes of the tile at that level which is not full yet; each of them
/// stands for `256^level` leaves. A full tile leaves the edge and becomes one hash of the level above.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tree {
    size: u64,
    edges: Vec<Vec<Hash>>,
}

impl Tree {
    /// The tree without leaves.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes up a tree whose edge was read back; `None` where the widths do not fit the size.
    pub fn from_edges(size: u64, mut edges: Vec<Vec<Hash>>) -> Option<Self> {
        while edges.last().is_some_and(Vec::is_empty) {
            edges.pop();
        }
        let fits = (0..MAX_LEVELS).all(|level| {
            let width = edges.get(usize::from(level)).map_or(0, Vec::len);
            width as u64 == (size >> (8 * u32::from(level))) % TILE_WIDTH as u64
        });
        (fits && edges.len() <= usize::from(MAX_LEVELS)).then_some(Tree { size, edges })
    }

    /// Number of leaves.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The hashes of the unfinished tile of each level, from the leaves upward.
    pub fn edges(&self) -> &[Vec<Hash>] {
        &self.edges
    }

    /// Adds one leaf and hands every tile that it filled to `full`, from the leaves upward.
    pub fn push(&mut self, leaf: Hash, mut full: impl FnMut(FullTile)) {
        self.size += 1;
        let mut carry = leaf;
        for level in 0..MAX_LEVELS {
            let slot = usize::from(level);
            if self.edges.len() <= slot {
                self.edges.push(Vec::with_capacity(TILE_WIDTH));
            }
            let Some(edge) = self.edges.get_mut(slot) else { return };
            edge.push(carry);
            if edge.len() < TILE_WIDTH {
                return;
            }
            let hashes = std::mem::replace(edge, Vec::with_capacity(TILE_WIDTH));
            carry = perfect_root(&hashes);
            let index = (self.size >> (8 * (u32::from(level) + 1))).saturating_sub(1);
            full(FullTile { level, index, hashes });
        }
    }

    /// The root of the tree; that of the empty tree is the hash of nothing (RFC 6962, section 2.1).
    pub fn root(&self) -> Hash {
        let mut root: Option<Hash> = None;
        // The tree is a chain of perfect subtrees, the largest on the left. They are folded from the right.
        for edge in &self.edges {
            let mut rest = edge.as_slice();
            while !rest.is_empty() {
                let size = 1 << rest.len().trailing_zeros();
                let (left, subtree) = rest.split_at(rest.len() - size);
                let hash = perfect_root(subtree);
                root = Some(match &root {
                    Some(right) => node_hash(&hash, right),
                    None => hash,
                });
                rest = left;
            }
        }
        root.unwrap_or_else(|| sha256(&[]))
    }
}

/// The root of a perfect subtree, given its `2^n` lowest hashes.
pub fn perfect_root(hashes: &[Hash]) -> Hash {
    debug_assert!(hashes.len().is_power_of_two());
    let mut row = hashes.to_vec();
    while row.len() > 1 {
        row = row.as_chunks::<2>().0.iter().map(|[left, right]| node_hash(left, right)).collect();
    }
    row.first().copied().unwrap_or_default()
}

/// Levels of tiles that a 64-bit tree size can reach.
const MAX_LEVELS: u8 = 8;

fn sha256(parts: &[&[u8]]) -> Hash {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(part);
    }
    let mut hash = [0; 32];
    hash.copy_from_slice(context.finish().as_ref());
    hash
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tlog_tiles::{Error, HashReader};

    use super::*;

    /// The stored hashes of the sumdb layout, computed by `tlog_tiles` alone.
    #[derive(Default)]
    struct Oracle {
        hashes: Vec<tlog_tiles::Hash>,
        size: u64,
    }

    impl HashReader for Oracle {
        fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<tlog_tiles::Hash>, Error> {
            Ok(indexes.iter().map(|index| self.hashes[*index as usize]).collect())
        }
    }

    impl Oracle {
        fn push(&mut self, entry: &[u8]) {
            let new = tlog_tiles::stored_hashes(self.size, entry, self).unwrap();
            self.hashes.extend(new);
            self.size += 1;
        }

        fn root(&self, size: u64) -> Hash {
            tlog_tiles::tree_hash(size, self).unwrap().0
        }
    }

    #[test]
    fn the_empty_tree_has_the_root_that_the_rfc_gives() {
        assert_eq!(
            hex::encode(Tree::new().root()),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
    }

    #[test]
    fn roots_at_every_small_size_equal_the_oracle_s() {
        let (mut tree, mut oracle) = (Tree::new(), Oracle::default());
        for size in 1..=600_u64 {
            let entry = size.to_be_bytes();
            tree.push(leaf_hash(&entry), |_| ());
            oracle.push(&entry);
            assert_eq!(tree.root(), oracle.root(size), "size {size}");
        }
    }

    #[test]
    fn roots_and_tiles_around_the_second_level_equal_the_oracle_s() {
        let checked = [1, 2, 255, 256, 257, 4097, 65_535, 65_536, 65_537, 70_000];
        let (mut tree, mut oracle) = (Tree::new(), Oracle::default());
        let mut tiles = Vec::new();
        for size in 1..=70_000_u64 {
            let entry = size.to_be_bytes();
            tree.push(leaf_hash(&entry), |tile| tiles.push(tile));
            oracle.push(&entry);
            if checked.contains(&size) {
                assert_eq!(tree.root(), oracle.root(size), "size {size}");
            }
        }
        assert_eq!(tiles.len(), 273 + 1);
        for tile in &tiles {
            let expected =
                tlog_tiles::Tile::new(8, tile.level, tile.index, 256, false).read_data(&oracle).unwrap();
            assert_eq!(tile.hashes.concat(), expected, "tile/{}/{}", tile.level, tile.index);
        }
        for (level, edge) in tree.edges().iter().enumerate() {
            let index = tree.size() >> (8 * (level + 1));
            let tile = tlog_tiles::Tile::new(8, level as u8, index, edge.len() as u32, false);
            assert_eq!(edge.concat(), tile.read_data(&oracle).unwrap(), "edge of level {level}");
        }
    }

    #[test]
    fn an_edge_of_the_wrong_width_is_refused() {
        let hash = leaf_hash(b"x");
        assert!(Tree::from_edges(2, vec![vec![hash]]).is_none());
        assert!(Tree::from_edges(256, vec![vec![hash]]).is_none());
        assert!(Tree::from_edges(1, vec![vec![hash], vec![hash]]).is_none());
        assert!(Tree::from_edges(256, vec![vec![], vec![hash]]).is_some());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn a_tree_taken_up_from_its_edges_grows_as_if_it_had_never_stopped(cut in 1..1500_u64, more in 0..700_u64) {
            let mut whole = Tree::new();
            for index in 0..cut {
                whole.push(leaf_hash(&index.to_be_bytes()), |_| ());
            }
            let mut resumed = Tree::from_edges(cut, whole.edges().to_vec()).unwrap();
            for index in cut..cut + more {
                let leaf = leaf_hash(&index.to_be_bytes());
                let (mut one, mut two) = (Vec::new(), Vec::new());
                whole.push(leaf, |tile| one.push(tile));
                resumed.push(leaf, |tile| two.push(tile));
                prop_assert_eq!(one, two);
            }
            prop_assert_eq!(whole.root(), resumed.root());
        }
    }
}
