//! A bounded memory of answers: a table of small sets, each of which forgets one key when a further one comes.
//!
//! Sets, because two keys that are asked in turn must not drive each other out: an answer that has to be worked out
//! costs a thousand times more than one that is remembered.
//!
//! Clients choose parts of the keys, so the table never grows, and its seed is random. One table belongs to one
//! snapshot: an answer cannot outlive the policies, mechanisms or dates that it came from.

use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arc_swap::ArcSwapOption;

/// Number of sets; a power of two.
const SETS: usize = 512;
/// Keys in one set.
const WAYS: usize = 8;

pub struct Memo<K, V> {
    seed: u64,
    sets: Box<[[Slot<K, V>; WAYS]]>,
    /// Whose turn it is to be forgotten.
    turn: AtomicUsize,
}

type Slot<K, V> = ArcSwapOption<(K, Arc<V>)>;

impl<K: Eq + Hash, V> Memo<K, V> {
    pub fn new() -> Self {
        let sets = (0..SETS).map(|_| [const { ArcSwapOption::const_empty() }; WAYS]).collect();
        Memo { seed: RandomState::new().hash_one(0u8), sets, turn: AtomicUsize::new(0) }
    }

    pub fn find(&self, key: &K) -> Option<Arc<V>> {
        self.set(key)?.iter().find_map(|slot| {
            let entry = slot.load();
            let (found, value) = &**entry.as_ref()?;
            (found == key).then(|| Arc::clone(value))
        })
    }

    pub fn remember(&self, key: K, value: Arc<V>) {
        let Some(set) = self.set(&key) else { return };
        let same = |slot: &&Slot<K, V>| slot.load().as_ref().is_none_or(|entry| entry.0 == key);
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % WAYS;
        if let Some(slot) = set.iter().find(same).or(set.get(turn)) {
            slot.store(Some(Arc::new((key, value))));
        }
    }

    fn set(&self, key: &K) -> Option<&[Slot<K, V>; WAYS]> {
        let mut hasher = Mix(self.seed);
        key.hash(&mut hasher);
        let hash = hasher.finish() as usize;
        self.sets.get(hash & (SETS - 1))
    }
}

/// Multiply and fold: enough to spread keys over slots; an attacker does not know the seed.
struct Mix(u64);

impl Hasher for Mix {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.write_u64(u64::from_le_bytes(*word));
        }
        if !rest.is_empty() {
            self.write_u64(rest.iter().fold(1, |word, byte| word << 8 | u64::from(*byte)));
        }
    }

    // Without these, each number would come as bytes.
    fn write_u8(&mut self, number: u8) {
        self.write_u64(number.into());
    }

    fn write_u16(&mut self, number: u16) {
        self.write_u64(number.into());
    }

    fn write_u32(&mut self, number: u32) {
        self.write_u64(number.into());
    }

    fn write_usize(&mut self, number: usize) {
        self.write_u64(number as u64);
    }

    fn write_isize(&mut self, number: isize) {
        self.write_u64(number as u64);
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
        assert!(kept.len() <= SETS * WAYS);
        assert!(kept.len() > SETS * WAYS / 4, "keys are badly spread: {}", kept.len());
    }

    #[test]
    fn keys_that_are_asked_in_turn_do_not_drive_each_other_out() {
        let memo: Memo<(u64, [u64; 4]), u64> = Memo::new();
        for _ in 0..2 {
            for n in 0..256u64 {
                memo.remember((n, [n; 4]), Arc::new(n));
            }
        }
        let forgotten = (0..256u64).filter(|n| memo.find(&(*n, [*n; 4])).is_none()).count();
        assert_eq!(forgotten, 0);
    }
}
