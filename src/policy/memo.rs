//! A bounded memory of answers: a direct-mapped table that forgets the older of two keys in one slot.
//!
//! Clients choose parts of the keys, so the table never grows, and its seed is random. One table belongs to one
//! snapshot: an answer cannot outlive the policies, mechanisms or dates that it came from.

use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::sync::Arc;

use arc_swap::ArcSwapOption;

/// Number of slots; a power of two.
const SLOTS: usize = 4096;

pub struct Memo<K, V> {
    seed: u64,
    slots: Box<[Slot<K, V>]>,
}

type Slot<K, V> = ArcSwapOption<(K, Arc<V>)>;

impl<K: Eq + Hash, V> Memo<K, V> {
    pub fn new() -> Self {
        let slots = (0..SLOTS).map(|_| ArcSwapOption::const_empty()).collect();
        Memo { seed: RandomState::new().hash_one(0u8), slots }
    }

    pub fn find(&self, key: &K) -> Option<Arc<V>> {
        let entry = self.slot(key)?.load();
        let (found, value) = &**entry.as_ref()?;
        (found == key).then(|| Arc::clone(value))
    }

    pub fn remember(&self, key: K, value: Arc<V>) {
        if let Some(slot) = self.slot(&key) {
            slot.store(Some(Arc::new((key, value))));
        }
    }

    fn slot(&self, key: &K) -> Option<&Slot<K, V>> {
        let mut hasher = Mix(self.seed);
        key.hash(&mut hasher);
        let hash = hasher.finish() as usize;
        self.slots.get(hash & (SLOTS - 1))
    }
}

/// Multiply and fold: enough to spread keys over slots; an attacker does not know the seed.
struct Mix(u64);

impl Hasher for Mix {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            if let Some(head) = word.get_mut(..chunk.len()) {
                head.copy_from_slice(chunk);
            }
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u64(&mut self, word: u64) {
        let product = u128::from(self.0 ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = (product as u64) ^ ((product >> 64) as u64).rotate_left(23);
    }

    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_is_found_and_nothing_else() {
        let memo: Memo<(u64, [u64; 4]), u64> = Memo::new();
        for n in 0..100_000u64 {
            memo.remember((n, [n; 4]), Arc::new(n));
            assert_eq!(memo.find(&(n, [n; 4])).as_deref(), Some(&n));
        }
        let found = (0..200_000u64).filter_map(|n| memo.find(&(n, [n; 4])).map(|v| (n, v)));
        let kept: Vec<_> = found.inspect(|(n, value)| assert_eq!(**value, *n)).collect();
        assert!(kept.len() <= SLOTS);
        assert!(kept.len() > SLOTS / 4, "keys are badly spread: {}", kept.len());
    }
}
