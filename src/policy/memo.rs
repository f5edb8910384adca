//! A bounded memory of answers, one for each thread.
//!
//! A thread shares its answers with nobody, so that neither a lock nor a contended count stands between a request and
//! an answer that was given before. Clients choose parts of the keys: the table never grows, and its seed is random. An
//! entry names the snapshot that it came from, so an answer cannot outlive the policies, mechanisms or dates behind it;
//! the first answer of a newer snapshot empties the table, so that it does not keep old policies in memory either.

use std::cell::RefCell;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::decision::Decision;

/// Number of slots; a power of two. At some hundred bytes for each answer it is about a megabyte for a busy thread.
const SLOTS: usize = 4096;

/// How many slots a key can be in; a power of two.
const WAYS: usize = 4;

/// A question, packed.
pub type Packed = [u64; 10];

/// What one snapshot remembers.
pub struct Memo {
    /// No other snapshot of the process has it; newer ones have greater.
    generation: u64,
}

struct Entry {
    generation: u64,
    key: Packed,
    answer: Arc<Decision>,
}

/// A key has [`WAYS`] slots that it can be in, so that a few keys that are asked in turn do not drive each other out.
struct Table {
    seed: u64,
    newest: u64,
    /// Which of them is forgotten next.
    turn: usize,
    slots: Vec<Option<Entry>>,
}

thread_local! {
    static TABLE: RefCell<Table> = const { RefCell::new(Table::empty()) };
}

impl Memo {
    pub fn new() -> Memo {
        static GENERATIONS: AtomicU64 = AtomicU64::new(1);
        Memo { generation: GENERATIONS.fetch_add(1, Ordering::Relaxed) }
    }

    pub fn find(&self, key: &Packed) -> Option<Arc<Decision>> {
        TABLE.with_borrow(|table| {
            let first = table.position(key);
            let slots = table.slots.get(first..first + WAYS)?;
            let known = |entry: &&Entry| entry.generation == self.generation && same(&entry.key, key);
            slots.iter().flatten().find(known).map(|entry| Arc::clone(&entry.answer))
        })
    }

    pub fn remember(&self, key: Packed, answer: Arc<Decision>) {
        let entry = Entry { generation: self.generation, key, answer };
        let forgotten = TABLE.with_borrow_mut(|table| table.put(entry));
        // Outside of the table's own work: it may be the last to hold a whole policy set.
        drop(forgotten);
    }
}

impl Table {
    const fn empty() -> Table {
        Table { seed: 0, newest: 0, turn: 0, slots: Vec::new() }
    }

    /// Returns what it forgets.
    fn put(&mut self, entry: Entry) -> Vec<Option<Entry>> {
        let mut forgotten = Vec::new();
        if self.slots.is_empty() || entry.generation > self.newest {
            self.newest = self.newest.max(entry.generation);
            self.seed = RandomState::new().hash_one(0_u8);
            forgotten = std::mem::take(&mut self.slots);
            self.slots.resize_with(SLOTS, || None);
        }
        let first = self.position(&entry.key);
        let is_free = |position: &usize| match self.slots.get(*position) {
            Some(Some(known)) => known.key == entry.key || known.generation != entry.generation,
            _ => true,
        };
        self.turn = (self.turn + 1) % WAYS;
        let position = (first..first + WAYS).find(is_free).unwrap_or(first + self.turn);
        if let Some(slot) = self.slots.get_mut(position) {
            forgotten.push(slot.replace(entry));
        }
        forgotten
    }

    /// The first of a key's slots. Multiply and fold: enough to spread keys; an attacker does not know the seed.
    fn position(&self, key: &Packed) -> usize {
        let (pairs, _) = key.as_chunks::<2>();
        let mut mixed = self.seed;
        for (n, [one, other]) in (1_u64..).zip(pairs) {
            let one = one ^ self.seed ^ n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let other = other ^ self.seed.rotate_left(32) ^ 0xd6e8_feb8_6659_fd93;
            let product = u128::from(one) * u128::from(other);
            mixed = mixed.rotate_left(23) ^ (product as u64) ^ ((product >> 64) as u64);
        }
        let spread = mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (spread >> 32) as usize & (SLOTS - WAYS)
    }
}

/// Without a branch for each word, nor a call.
fn same(one: &Packed, other: &Packed) -> bool {
    one.iter().zip(other).fold(0, |differs, (one, other)| differs | (one ^ other)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(table: &Table, n: u64) -> usize {
        table.position(&[n, 0, 0, 0, 1, 0, 0, 0, 0, n])
    }

    #[test]
    fn keys_are_spread_over_all_sets_of_slots() {
        let table = Table { seed: 7, ..Table::empty() };
        let mut met = vec![0_u32; SLOTS / WAYS];
        for n in 0..SLOTS as u64 {
            met[position(&table, n) / WAYS] += 1;
        }
        // Four would be even; of random ones about one in fifty is missed.
        assert!(met.iter().filter(|times| **times == 0).count() < met.len() / 20);
        assert!(met.iter().all(|times| *times < 24));
    }

    #[test]
    fn another_seed_puts_keys_elsewhere() {
        let (one, other) = (Table { seed: 7, ..Table::empty() }, Table { seed: 8, ..Table::empty() });
        let same = (0..1000).filter(|n| position(&one, *n) == position(&other, *n)).count();
        assert!(same < 20, "{same}");
    }
}
