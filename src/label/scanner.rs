//! The content scanner: a stream of bytes in, findings out.
//!
//! It copies the stream into blocks at fixed offsets, so that the answer does not depend on how the stream was cut.
//! In each block a fast pass finds marks (runs of digits, `@`); only there the detectors look. Time is linear in
//! the input, memory constant. It does not decompress, and it reads UTF-8 and what shares its ASCII half: UTF-16 and
//! containers are not looked into.

use std::fmt;
use std::ops::Range;

use super::detectors::context::Header;
use super::detectors::{AFTER, BEFORE, cn_resident_id, email, iban, payment_card};
use super::{DataClass, Evidence, Label, Labels, Source};

/// Scans one stream.
pub struct Scanner {
    /// [`BEFORE`] bytes that were looked at already (none in the first block), then bytes to look at.
    buffer: Vec<u8>,
    /// Where the bytes to look at start.
    fresh: usize,
    detectors: Detectors,
}

impl Scanner {
    /// How many bytes are looked at in one go.
    const BLOCK: usize = 16 * 1024;
    const CAPACITY: usize = BEFORE + Self::BLOCK + AFTER;

    pub fn new() -> Self {
        Scanner { buffer: Vec::with_capacity(Self::CAPACITY), fresh: 0, detectors: Detectors::default() }
    }

    /// Takes the next bytes of the stream, as many as there are.
    pub fn feed(&mut self, mut chunk: &[u8]) {
        while !chunk.is_empty() {
            let room = Self::CAPACITY - self.buffer.len();
            let (now, later) = chunk.split_at(room.min(chunk.len()));
            self.buffer.extend_from_slice(now);
            chunk = later;
            if self.buffer.len() == Self::CAPACITY {
                self.look_at_block();
            }
        }
    }

    /// What [`Scanner::finish`] would answer if the stream ended here. Costs a scan of up to one block: for one
    /// decision, not for every chunk.
    ///
    /// A later answer can lack a finding of an earlier one: two card numbers among three numbers are evidence, two among
    /// a thousand are chance.
    pub fn findings_so_far(&self) -> Findings {
        let mut detectors = self.detectors.clone();
        detectors.look(&self.buffer, self.fresh..self.buffer.len());
        detectors.findings()
    }

    /// Like [`Scanner::findings_so_far`] without the last block: cheap enough for every chunk of a long stream.
    pub fn settled_findings(&self) -> Findings {
        self.detectors.findings()
    }

    /// The stream has ended.
    pub fn finish(mut self) -> Findings {
        let end = self.buffer.len();
        self.detectors.look(&self.buffer, self.fresh..end);
        self.detectors.findings()
    }

    fn look_at_block(&mut self) {
        let end = Self::CAPACITY - AFTER;
        self.detectors.look(&self.buffer, self.fresh..end);
        self.buffer.copy_within(end - BEFORE.., 0);
        self.buffer.truncate(BEFORE + AFTER);
        self.fresh = BEFORE;
    }
}

impl Default for Scanner {
    fn default() -> Self {
        Scanner::new()
    }
}

/// Content is nobody's business: it says how much is there, not what.
impl fmt::Debug for Scanner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Scanner({} bytes pending)", self.buffer.len() - self.fresh)
    }
}

/// What the detectors found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings(Vec<Finding>);

/// What one detector found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The detector's id, for example `cn.ric18`.
    pub detector: &'static str,
    pub labels: Vec<Label>,
    /// A count in plain words, never content.
    pub detail: String,
}

impl Findings {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds the labels with their evidence. How much was scanned is for the caller to say in
    /// [`Labels::coverage`].
    pub fn apply(&self, labels: &mut Labels) {
        for finding in &self.0 {
            for label in &finding.labels {
                labels.add(Evidence {
                    source: Source::Detector(finding.detector.to_owned()),
                    label: *label,
                    detail: finding.detail.clone(),
                });
            }
        }
    }
}

/// All families, and what they counted.
#[derive(Clone, Default)]
struct Detectors {
    /// Read from the first block.
    header: Option<Header>,
    cn_resident_id: cn_resident_id::Detector,
    payment_card: payment_card::Detector,
    iban: iban::Detector,
    email: email::Detector,
}

impl Detectors {
    /// Fewest digits, in a word of 64 bytes and the next, for a closer look. Every resident id and card number has at
    /// least 13; an IBAN of the countries that allow letters throughout could have fewer, and in practice has more.
    const FEWEST_DIGITS: u32 = 7;

    /// Looks at the marks in `range`; around them, at all of `text`.
    fn look(&mut self, text: &[u8], range: Range<usize>) {
        if self.header.is_none() && !text.is_empty() {
            self.header = Some(Header::read(text));
        }
        self.look_at_signs(text, range.clone());
        self.look_at_digits(text, range);
    }

    fn look_at_signs(&mut self, text: &[u8], range: Range<usize>) {
        let start = range.start;
        for sign in memchr::memchr_iter(b'@', text.get(range).unwrap_or_default()) {
            if self.email.has_seen_enough() {
                return;
            }
            self.email.look(text, start + sign);
        }
    }

    fn look_at_digits(&mut self, text: &[u8], range: Range<usize>) {
        let mut here = bits_from(text, range.start, digit_bits);
        let mut after_digit =
            range.start.checked_sub(1).and_then(|at| text.get(at)).is_some_and(u8::is_ascii_digit);
        for word in range.step_by(64) {
            let next = bits_from(text, word + 64, digit_bits);
            if here.count_ones() + next.count_ones() >= Self::FEWEST_DIGITS {
                let digits = u128::from(next) << 64 | u128::from(here);
                let starts = here & !(here << 1 | u64::from(after_digit));
                let mut marks = starts & (long_or_grouped(digits) | after_capitals(text, word, digits));
                while marks != 0 {
                    let offset = marks.trailing_zeros();
                    marks &= marks - 1;
                    self.look_at_run(
                        text,
                        word + offset as usize,
                        (digits >> offset).trailing_ones() as usize,
                    );
                }
            }
            after_digit = here >> 63 != 0;
            here = next;
        }
    }

    /// A run of digits that no digit precedes; runs of more than 64 may be cut short.
    fn look_at_run(&mut self, text: &[u8], start: usize, digits: usize) {
        if (13..=19).contains(&digits) {
            let is_resident_id = self.cn_resident_id.look(text, start, digits);
            // What passes the stricter check is not counted as the other thing too.
            if !is_resident_id {
                self.payment_card.look(text, start, digits);
            }
        } else if digits == 4 || digits == 6 {
            self.payment_card.look_at_groups(text, start, digits);
        }
        if digits >= 2 && iban::may_start(text, start) {
            self.iban.look(text, start);
        }
    }

    fn findings(&self) -> Findings {
        const GOV_ID: DataClass = DataClass::known("personal.gov_id");
        const PAYMENT: DataClass = DataClass::known("financial.payment");
        const ACCOUNT: DataClass = DataClass::known("financial.personal");
        const PERSONAL: DataClass = DataClass::known("personal");

        let none = Header::default();
        let header = self.header.as_ref().unwrap_or(&none);
        let numbers = |distinct: &super::detectors::Distinct| distinct.describe("number", "numbers");
        let in_china = || {
            let subject = "CN".parse().ok().map(Label::Subject);
            [Some(Label::Class(GOV_ID)), subject].into_iter().flatten().collect()
        };
        let mut findings = Vec::new();

        let long = &self.cn_resident_id.long;
        if self.cn_resident_id.long_is_evident(header) {
            findings.push(Finding {
                detector: "cn.ric18",
                labels: in_china(),
                detail: format!("{} passing GB 11643", numbers(&long.distinct)),
            });
        }
        let short = &self.cn_resident_id.short;
        if self.cn_resident_id.short_is_evident(header) {
            findings.push(Finding {
                detector: "cn.ric15",
                labels: in_china(),
                detail: format!(
                    "{} of the 15-digit form of resident ids, beside words for them",
                    numbers(&short.distinct)
                ),
            });
        }
        if self.payment_card.is_evident(header) {
            findings.push(Finding {
                detector: "pci.pan",
                labels: vec![Label::Class(PAYMENT)],
                detail: format!(
                    "{} of card issuers' ranges passing Luhn",
                    numbers(&self.payment_card.0.distinct)
                ),
            });
        }
        if self.iban.is_evident() {
            let subjects = self.iban.countries.iter().copied().map(Label::Subject);
            findings.push(Finding {
                detector: "iso.iban",
                labels: std::iter::once(Label::Class(ACCOUNT)).chain(subjects).collect(),
                detail: format!(
                    "{} passing ISO 7064 MOD 97-10",
                    self.iban.tally.distinct.describe("account number", "account numbers")
                ),
            });
        }
        if self.email.is_evident(header) {
            findings.push(Finding {
                detector: "email",
                labels: vec![Label::Class(PERSONAL)],
                detail: self.email.0.distinct.describe("address", "addresses"),
            });
        }
        Findings(findings)
    }
}

/// One bit for each of the 64 bytes from `start` on, as `class` sets them; bytes beyond the text count as zero bytes.
fn bits_from(text: &[u8], start: usize, class: fn(&[u8; 64]) -> u64) -> u64 {
    let rest = text.get(start..).unwrap_or_default();
    match rest.first_chunk::<64>() {
        Some(word) => class(word),
        None => {
            let mut word = [0; 64];
            for (slot, byte) in word.iter_mut().zip(rest) {
                *slot = *byte;
            }
            class(&word)
        }
    }
}

/// Of the digits that start a run: those of at least 13 in a row, and those of a group of 4 or 6, any one byte, and at
/// least 4 more. Dates and times, the most frequent digits of all, are neither.
fn long_or_grouped(digits: u128) -> u64 {
    let two = digits & digits >> 1;
    let four = two & two >> 2;
    let six = four & two >> 4;
    let thirteen = six & six >> 6 & digits >> 12;
    let grouped = four & !(digits >> 4) & four >> 5 | six & !(digits >> 6) & four >> 7;
    (thirteen | grouped) as u64
}

/// Of the digits that start a run: those of at least two that may follow two capitals. In the first two places, where the
/// capitals are in the word before, it answers yes.
fn after_capitals(text: &[u8], word: usize, digits: u128) -> u64 {
    let capitals = bits_from(text, word, capital_bits);
    (digits & digits >> 1) as u64 & (capitals << 1 | 1) & (capitals << 2 | 3)
}

/// Set where the byte is an ASCII digit: `byte ^ '0'` is at most 9 for digits alone.
#[inline]
fn digit_bits(word: &[u8; 64]) -> u64 {
    lanes(word, |bytes| {
        let value = bytes ^ (EACH * 0x30);
        // Adding 0x76 carries into the top bit from 10 on; a byte's own top bit rules it out as well.
        !(((value & !HIGH) + EACH * 0x76) | value)
    })
}

/// Set where the byte is one of `A` to `Z`.
#[inline]
fn capital_bits(word: &[u8; 64]) -> u64 {
    lanes(word, |bytes| {
        let low = bytes & !HIGH;
        let from_a = low + EACH * (0x80 - 0x41);
        let beyond_z = low + EACH * (0x80 - 0x5b);
        from_a & !beyond_z & !bytes
    })
}

const EACH: u64 = 0x0101_0101_0101_0101;
/// The top bit of each byte.
const HIGH: u64 = 0x80 * EACH;

/// Eight bytes at a time within a `u64`, without branches: `class` answers in the top bit of each byte.
#[inline]
fn lanes(word: &[u8; 64], class: impl Fn(u64) -> u64) -> u64 {
    let mut bits = 0;
    // Byte `b` of lane `l` goes to bit `l` of byte `b`...
    for (lane, bytes) in word.as_chunks::<8>().0.iter().enumerate() {
        bits |= (class(u64::from_le_bytes(*bytes)) & HIGH) >> (7 - lane);
    }
    // ...and from there to bit `b` of byte `l`: an 8 by 8 matrix of bits turned over its diagonal.
    for (distance, mask) in [(7, 0x00aa_00aa_00aa_00aa), (14, 0x0000_cccc_0000_cccc), (28, 0xf0f0_f0f0)] {
        let swap = (bits ^ (bits >> distance)) & mask;
        bits ^= swap ^ (swap << distance);
    }
    bits
}

#[cfg(test)]
mod tests;
