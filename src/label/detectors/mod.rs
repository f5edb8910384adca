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
        let byte = |at: Option<usize>| at.and_then(|at| self.text.get(at)).copied().unwrap_or(b' ');
        let joins = |beside: u8, beyond: Option<usize>| {
            beside.is_ascii_alphanumeric() || (beside == b'.' && byte(beyond).is_ascii_digit())
        };
        !joins(byte(self.start.checked_sub(1)), self.start.checked_sub(2))
            && !joins(byte(Some(self.end)), Some(self.end + 1))
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
    /// Sorted.
    seen: Vec<u64>,
}

impl Distinct {
    /// Where counting stops, so that memory stays constant.
    pub const LIMIT: usize = 256;

    pub fn add(&mut self, value: impl Hash) {
        if self.is_full() {
            return;
        }
        let hash = self.key.hash_one(value);
        if let Err(place) = self.seen.binary_search(&hash) {
            self.seen.insert(place, hash);
        }
    }

    pub fn count(&self) -> usize {
        self.seen.len()
    }

    pub fn is_empty(&self) -> bool {
        self.seen.is_empty()
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
    /// Whether one of them stands beside a word for what it would be.
    pub near_words: bool,
}

impl Tally {
    /// Counts a candidate that passed.
    pub fn pass(&mut self, candidate: &Candidate<'_>, value: impl Hash, words: &Words) {
        self.passed += 1;
        self.near_words = self.near_words || candidate.is_near(words);
        self.distinct.add(value);
    }

    /// Whether at least one in `n` candidates of the shape passed. The answer to chance: among many numbers that
    /// are something else, a known small share passes any check.
    pub fn at_least_one_in(&self, n: u64) -> bool {
        self.passed > 0 && self.passed.saturating_mul(n) >= self.shaped
    }
}
