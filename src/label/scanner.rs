//! The content scanner: a stream of bytes in, findings out.
//!
//! A fast pass finds marks (runs of digits, `@`) in words of 64 bytes at fixed offsets of the stream; only there the
//! detectors look, and only so far around. So the answer does not depend on how the stream was cut. Long pieces are looked at
//! where they are; short ones, and what lies about the ends of long ones, are put together in a small buffer. Time is
//! linear in the input, memory constant. It does not decompress, and containers are not looked into.

mod bits;
mod utf16;

use std::cell::OnceCell;
use std::fmt;
use std::ops::Range;

use bits::{capitals_from, digits_from};
use utf16::Utf16;

use super::detectors::context::Header;
use super::detectors::{AFTER, BEFORE, Distinct, cn_resident_id, email, iban, payment_card};
use super::{DataClass, Evidence, Label, Labels, Source};

/// Scans one stream.
#[derive(Default)]
pub struct Scanner {
    /// The bytes as they are: UTF-8, and what shares its ASCII half.
    plain: Stream,
    /// The same bytes read as UTF-16, when they begin with its mark. Not instead of the others: two bytes
    /// must not be enough to hide what follows.
    wide: Utf16,
    /// What was answered since the last bytes came in.
    so_far: OnceCell<Findings>,
}

impl Scanner {
    pub fn new() -> Self {
        Scanner::default()
    }

    /// Takes the next bytes of the stream, as many as there are.
    pub fn feed(&mut self, chunk: &[u8]) {
        self.so_far.take();
        self.plain.feed(chunk);
        self.wide.feed(chunk);
    }

    /// What [`Scanner::finish`] would answer if the stream ended here. Costs a look at up to 8 KiB, and
    /// nothing more when [`Scanner::finish`] follows: for one decision, not for every chunk.
    ///
    /// A later answer can lack a finding of an earlier one: two card numbers among three numbers are evidence, two among
    /// a thousand are chance. Who decides twice adds the labels of both answers.
    pub fn findings_so_far(&self) -> Findings {
        let look = || self.plain.clone_detectors_at_end().findings().and(self.wide.findings_so_far());
        self.so_far.get_or_init(look).clone()
    }

    /// Like [`Scanner::findings_so_far`] without the bytes that wait for company: cheap enough for every chunk of a long
    /// stream.
    pub fn settled_findings(&self) -> Findings {
        self.plain.detectors.findings().and(self.wide.settled_findings())
    }

    /// The stream has ended.
    pub fn finish(self) -> Findings {
        match self.so_far.into_inner() {
            Some(findings) => findings,
            None => self.plain.finish().and(self.wide.finish()),
        }
    }
}

/// Content is nobody's business: it says how much is there, not what.
impl fmt::Debug for Scanner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Scanner({} bytes pending)", self.plain.held.len() - self.plain.fresh)
    }
}

/// One reading of a stream.
#[derive(Default)]
struct Stream {
    /// Up to [`BEFORE`] bytes that were looked at already, then bytes to look at. Fewer than [`Stream::CAPACITY`]
    /// between two calls.
    held: Vec<u8>,
    /// Where the bytes to look at start: a multiple of [`WORD`] from the stream's start.
    fresh: usize,
    detectors: Detectors,
}

/// How many bytes the fast pass judges at once.
const WORD: usize = 64;

impl Stream {
    /// How many bytes are held at most. The column names are read from as many at the start of the stream.
    const CAPACITY: usize = 8 * 1024;
    /// How many bytes of a long piece are looked at in one go: all families find them in the first cache.
    const BLOCK: usize = 16 * 1024;

    fn feed(&mut self, mut chunk: &[u8]) {
        if self.detectors.header.is_none() {
            match chunk.get(..Self::CAPACITY) {
                Some(start) if self.held.is_empty() => self.detectors.read_header(start),
                _ => {
                    chunk = self.hold(chunk);
                    if self.held.len() < Self::CAPACITY {
                        return;
                    }
                    self.detectors.read_header(&self.held);
                }
            }
        }
        if chunk.len() >= Self::CAPACITY {
            return self.look_in_place(chunk);
        }
        loop {
            chunk = self.hold(chunk);
            if self.held.len() < Self::CAPACITY {
                return;
            }
            self.look_at_held();
        }
    }

    /// Copies what there is room for, and answers the rest.
    fn hold<'a>(&mut self, chunk: &'a [u8]) -> &'a [u8] {
        let room = Self::CAPACITY - self.held.len();
        let (now, later) = chunk.split_at(room.min(chunk.len()));
        // A small object gets a small buffer; one that grows gets all of it at once.
        if !self.held.is_empty() && self.held.len() + now.len() > self.held.capacity() {
            self.held.reserve_exact(room);
        }
        self.held.extend_from_slice(now);
        later
    }

    /// Looks at what has [`AFTER`] bytes after it.
    fn look_at_held(&mut self) {
        let end = self.fresh + whole_words(self.held.len().saturating_sub(self.fresh + AFTER));
        self.detectors.look(&self.held, self.fresh..end);
        let known = end.saturating_sub(BEFORE);
        self.held.drain(..known);
        self.fresh = end - known;
    }

    /// Looks at a long piece without copying it, but for its ends.
    fn look_in_place(&mut self, chunk: &[u8]) {
        let mut start = 0;
        if !self.held.is_empty() {
            self.look_at_held();
            // From `start` on, the piece itself has all that may be looked at before a mark.
            let pending = self.held.len() - self.fresh;
            start = (pending + BEFORE).next_multiple_of(WORD) - pending;
            let end = self.held.len() + start;
            self.held.extend_from_slice(chunk.get(..start + AFTER).unwrap_or(chunk));
            self.detectors.look(&self.held, self.fresh..end);
        }
        let end = start + whole_words(chunk.len().saturating_sub(start + AFTER));
        for block in (start..end).step_by(Self::BLOCK) {
            self.detectors.look(chunk, block..end.min(block + Self::BLOCK));
        }
        self.held.clear();
        self.held.extend_from_slice(chunk.get(end - BEFORE..).unwrap_or_default());
        self.fresh = BEFORE;
    }

    /// What the detectors would have counted if the stream ended here.
    fn clone_detectors_at_end(&self) -> Detectors {
        let mut detectors = self.detectors.clone();
        detectors.look_at_end(&self.held, self.fresh);
        detectors
    }

    fn finish(mut self) -> Findings {
        self.detectors.look_at_end(&self.held, self.fresh);
        self.detectors.findings()
    }
}

fn whole_words(bytes: usize) -> usize {
    bytes / WORD * WORD
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

    /// These and `others`.
    fn and(mut self, others: Findings) -> Findings {
        self.0.extend(others.0);
        self
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
    /// Read from the start of the stream.
    header: Option<Header>,
    cn_resident_id: cn_resident_id::Detector,
    payment_card: payment_card::Detector,
    iban: iban::Detector,
    email: email::Detector,
}

impl Detectors {
    fn read_header(&mut self, start_of_stream: &[u8]) {
        self.header = Some(Header::read(start_of_stream));
    }

    /// Looks at the marks in `range`; around them, at all of `text`.
    fn look(&mut self, text: &[u8], range: Range<usize>) {
        self.look_at_signs(text, range.clone());
        self.look_at_digits(text, range);
    }

    /// Looks at the last bytes of a stream, from `fresh` on.
    fn look_at_end(&mut self, text: &[u8], fresh: usize) {
        if self.header.is_none() {
            self.read_header(text);
        }
        self.look(text, fresh..text.len());
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
        let mut here = digits_from(text, range.start);
        let mut after_digit =
            range.start.checked_sub(1).and_then(|at| text.get(at)).is_some_and(u8::is_ascii_digit);
        for word in range.step_by(WORD) {
            let next = digits_from(text, word + WORD);
            // Whatever is looked for starts with two digits.
            let pairs = here & !(here << 1 | u64::from(after_digit)) & (here >> 1 | next << 63);
            if pairs != 0 {
                let digits = u128::from(next) << 64 | u128::from(here);
                let mut marks = pairs & (long_or_grouped(digits) | after_capitals(text, word));
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
            let is_resident_id =
                matches!(digits, 15 | 17 | 18) && self.cn_resident_id.look(text, start, digits);
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
        let numbers = |distinct: &Distinct| distinct.describe("number", "numbers");
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
            let payment_card::Detector { issued, published } = &self.payment_card;
            findings.push(Finding {
                detector: "pci.pan",
                labels: vec![Label::Class(PAYMENT)],
                detail: if issued.distinct.is_empty() {
                    format!(
                        "{} published for tests, where a card's would stand",
                        numbers(&published.distinct)
                    )
                } else {
                    format!("{} of card issuers' ranges passing Luhn", numbers(&issued.distinct))
                },
            });
        }
        if self.iban.is_evident() {
            let subjects = self.iban.countries.iter().copied().map(Label::Subject);
            findings.push(Finding {
                detector: "iso.iban",
                labels: [ACCOUNT, PERSONAL].into_iter().map(Label::Class).chain(subjects).collect(),
                detail: format!(
                    "{} passing ISO 7064 MOD 97-10",
                    self.iban.tally.distinct.describe("account number", "account numbers")
                ),
            });
        }
        if self.email.is_evident(header) {
            let email::Detector { addresses, examples } = &self.email;
            findings.push(Finding {
                detector: "email",
                labels: vec![Label::Class(PERSONAL)],
                detail: if addresses.distinct.is_empty() {
                    let addresses = examples.distinct.describe("address", "addresses");
                    format!("{addresses} at example domains, where a person's would stand")
                } else {
                    addresses.distinct.describe("address", "addresses")
                },
            });
        }
        Findings(findings)
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

/// Those bytes of a word that may follow two capitals. In the first two places, where the capitals are in the word
/// before, it answers yes.
fn after_capitals(text: &[u8], word: usize) -> u64 {
    let capitals = capitals_from(text, word);
    (capitals << 1 | 1) & (capitals << 2 | 3)
}

#[cfg(test)]
mod tests;
