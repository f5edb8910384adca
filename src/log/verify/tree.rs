//! RFC 6962 hashing for the verifier: leaves go in one by one, the root of any size comes out.

use aws_lc_rs::digest::{SHA256, digest};

/// A SHA-256 hash.
pub type Hash = [u8; 32];

/// The hash of an entry's bytes.
pub fn leaf(entry: &[u8]) -> Hash {
    let mut message = Vec::with_capacity(entry.len() + 1);
    message.push(0);
    message.extend_from_slice(entry);
    sha256(&message)
}

/// The hash of two neighbours.
pub fn parent(left: &Hash, right: &Hash) -> Hash {
    let mut message = [1; 65];
    message[1..33].copy_from_slice(left);
    message[33..].copy_from_slice(right);
    sha256(&message)
}

/// The root over hashes of equally large, complete subtrees.
pub fn root_of(hashes: &[Hash]) -> Hash {
    let mut frontier = Frontier::default();
    hashes.iter().for_each(|hash| frontier.push(*hash));
    frontier.root()
}

/// The complete subtrees that the leaves so far make up, the largest first: at most one for each bit of the count.
#[derive(Debug, Clone, Default)]
pub struct Frontier {
    count: u64,
    subtrees: Vec<Hash>,
}

impl Frontier {
    pub fn push(&mut self, leaf: Hash) {
        let mut hash = leaf;
        // Each trailing one bit of the count is a subtree that the new leaf completes to the next size.
        for _ in 0..self.count.trailing_ones() {
            if let Some(left) = self.subtrees.pop() {
                hash = parent(&left, &hash);
            }
        }
        self.subtrees.push(hash);
        self.count += 1;
    }

    pub fn count(&self) -> u64 {
        self.count
    }

    pub fn root(&self) -> Hash {
        let mut subtrees = self.subtrees.iter().rev();
        let Some(last) = subtrees.next() else { return sha256(&[]) };
        subtrees.fold(*last, |right, left| parent(left, &right))
    }
}

fn sha256(message: &[u8]) -> Hash {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, message).as_ref());
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition of RFC 6962, section 2.1, word for word.
    fn by_definition(leaves: &[Hash]) -> Hash {
        match leaves.len() {
            0 => sha256(&[]),
            1 => leaves[0],
            n => {
                let k = 1 << (usize::BITS - 1 - (n - 1).leading_zeros());
                parent(&by_definition(&leaves[..k]), &by_definition(&leaves[k..]))
            }
        }
    }

    #[test]
    fn the_frontier_gives_the_root_of_the_definition_at_every_size() {
        let leaves: Vec<Hash> = (0..300_u32).map(|index| leaf(&index.to_le_bytes())).collect();
        let mut frontier = Frontier::default();
        for size in 0..=300 {
            assert_eq!(frontier.root(), by_definition(&leaves[..size]), "size {size}");
            if let Some(leaf) = leaves.get(size) {
                frontier.push(*leaf);
            }
        }
    }

    /// Known answers of the certificate transparency test suites.
    #[test]
    fn the_published_vectors_hold() {
        let inputs: [&[u8]; 3] = [b"", b"\x00", b"\x10"];
        let mut frontier = Frontier::default();
        inputs.iter().for_each(|input| frontier.push(leaf(input)));
        assert_eq!(
            hex::encode(leaf(b"")),
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
        );
        assert_eq!(
            hex::encode(frontier.root()),
            "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77"
        );
    }
}
