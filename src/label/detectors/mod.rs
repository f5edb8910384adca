//! Content detectors, one file a family: what a candidate must pass, which words beside it count, how
//! many it takes, and which labels follow.
//!
//! A detector sees a candidate with [`BEFORE`] and [`AFTER`] bytes around it and nothing else. So its
//! answer does not depend on how the stream was cut into chunks. Finding the candidates is the scanner's work.

pub mod cn_resident_id;
pub mod context;
pub mod email;
pub mod iban;
pub mod payment_card;

use std::collections::HashSet;
use std::hash::{BuildHasher, Hash, RandomState};

use context::Words;

/// How many bytes before a candidate's mark (first digit, or `@`) a detector may look at.
pub const BEFORE: usize = 128;
/// How many bytes from a candidate's mark on a detector may look at.
pub const AFTER: usize = 192;

/// A stretch of the stream that may be an identifier, with what lies around it.
#[derive(Clone, Copy)]
pub struct Candidate<'a> {
    text: &'a [u8],
    start: usize,
    end: usize,
}

impl<'a> Candidate<'a> {
    /// `None` when the stretch is not within the text.
    pub fn new(text: &'a [u8], start: usize, end: usize) -> Option<Self> {
        (start <= end && end <= text.len()).then_some(Candidate { text, start, end })
    }

    pub fn bytes(&self) -> &'a [u8] {
        self.text.get(self.start..self.end).unwrap_or_default()
    }

    /// Whether it is a word of its own: not a piece of a longer word or number, nor of a decimal fraction.
    pub fn stands_alone(&self) -> bool {
        let before = |n: usize| self.start.checked_sub(n).and_then(|at| self.text.get(at).copied());
        let after = |n: usize| self.text.get(self.end + n).copied();
        let part_of_word = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_alphanumeric());
        let digit = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_digit());
        let fraction = before(1) == Some(b'.') && digit(before(2));
        let whole_part = after(0) == Some(b'.') && digit(after(1));
        !part_of_word(before(1)) && !part_of_word(after(0)) && !fraction && !whole_part
    }

    /// Whether one of `words` stands within 48 bytes before it or 24 after it.
    pub fn is_near(&self, words: &Words) -> bool {
        words.occur(self.text, self.start.saturating_sub(48)..self.start)
            || words.occur(self.text, self.end..self.text.len().min(self.end + 24))
    }
}

/// Distinct values, counted up to a limit. Holds keyed hashes, never the values.
#[derive(Clone, Default)]
pub struct Distinct {
    key: RandomState,
    seen: HashSet<u64>,
}

impl Distinct {
    /// Where counting stops, so that memory stays constant.
    pub const LIMIT: usize = 256;

    pub fn add(&mut self, value: impl Hash) {
        if !self.is_full() {
            self.seen.insert(self.key.hash_one(value));
        }
    }

    pub fn count(&self) -> usize {
        self.seen.len()
    }

    pub fn is_full(&self) -> bool {
        self.count() >= Self::LIMIT
    }

    /// `1 distinct number`, `3 distinct numbers`, `at least 256 distinct numbers`.
    pub fn describe(&self, noun: &str, nouns: &str) -> String {
        match self.count() {
            1 => format!("1 distinct {noun}"),
            n if self.is_full() => format!("at least {n} distinct {nouns}"),
            n => format!("{n} distinct {nouns}"),
        }
    }
}

/// What a detector has counted so far.
#[derive(Clone, Default)]
pub struct Tally {
    /// Candidates of the right shape, valid or not: what chance has had to play with.
    pub shaped: u64,
    /// Those that passed every check.
    pub passed: u64,
    pub distinct: Distinct,
    /// Those of them that stand beside a word for what they would be.
    pub near_words: Distinct,
}

impl Tally {
    /// Counts a candidate that passed.
    pub fn pass(&mut self, candidate: &Candidate<'_>, value: impl Hash, words: &Words) {
        self.passed += 1;
        if !self.near_words.is_full() && candidate.is_near(words) {
            self.near_words.add(&value);
        }
        self.distinct.add(value);
    }

    /// Whether at least one in `n` candidates of the shape passed. The answer to chance: among many numbers that
    /// are something else, a known small share passes any check.
    pub fn at_least_one_in(&self, n: u64) -> bool {
        self.passed > 0 && self.passed.saturating_mul(n) >= self.shaped
    }
}
