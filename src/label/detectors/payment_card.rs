//! Payment card numbers (ISO/IEC 7812): a known issuer range, its length, and the Luhn check digit.
//!
//! About one random 16-digit number in 43 passes. So a number needs words beside it, or a column name and a
//! share above chance, or company: two distinct numbers, and a quarter of all that have the shape.
//!
//! Numbers that schemes publish for tests belong to nobody, so they are no company for each other. Beside a word, or under
//! a column name, they count: such a file is shaped like one of cards, and nothing says that the rest of it is not.

use super::context::{Header, Words};
use super::{Candidate, Tally};

const WORDS: Words = Words::new(
    &[
        "card",
        "cards",
        "card no",
        "card num",
        "card number",
        "card holder",
        "credit card",
        "credit",
        "debit",
        "pan",
        "visa",
        "mastercard",
        "amex",
        "american express",
        "maestro",
        "union pay",
        "jcb",
        "cvv",
        "cvc",
        "kreditkarte",
        "karte",
        "kartennummer",
        "carte",
        "carta",
        "cartao",
        "tarjeta",
        "kart",
        "kartu",
    ],
    &[
        "银行卡",
        "信用卡",
        "借记卡",
        "卡号",
        "卡號",
        "カード",
        "카드",
        "карт",
        "Карт",
        "КАРТ",
        "cartão",
        "بطاقة",
        "कार्ड",
    ],
);

/// Counts card numbers.
#[derive(Clone, Default)]
pub struct Detector {
    pub issued: Tally,
    /// The numbers published for tests. Chance does not hit them, so how many others have the shape is not asked.
    pub published: Tally,
}

impl Detector {
    /// A run of 13 to 19 digits.
    pub fn look(&mut self, text: &[u8], start: usize, digits: usize) {
        if let Some(candidate) = Candidate::new(text, start, start + digits).filter(Candidate::stands_alone) {
            self.issued.shaped += 1;
            self.judge(&candidate, candidate.bytes());
        }
    }

    /// A run of 4 or 6 digits that may be the first group of a number written with blanks or hyphens.
    pub fn look_at_groups(&mut self, text: &[u8], start: usize, digits: usize) {
        let Some(groups) = Groups::read(text, start, digits) else { return };
        let mut shaped = false;
        // The longest reading first: what follows a card number may be its expiry year or security code.
        for count in (2..=groups.count).rev() {
            let Some((candidate, number)) = groups.candidate(text, count) else { continue };
            if candidate.stands_alone() {
                if !shaped {
                    shaped = true;
                    self.issued.shaped += 1;
                }
                if self.judge(&candidate, number) {
                    break;
                }
            }
        }
    }

    pub fn is_evident(&self, header: &Header) -> bool {
        self.issued.near_words
            || self.published.near_words
            || (self.issued.distinct.count() >= 2 && self.issued.at_least_one_in(4))
            || ((self.issued.at_least_one_in(10) || self.published.passed > 0) && header.names(&WORDS))
    }

    /// A candidate that was counted among `issued.shaped`.
    fn judge(&mut self, candidate: &Candidate<'_>, number: &[u8]) -> bool {
        let passes = is_issued_range(number) && passes_luhn(number);
        if passes && TEST_NUMBERS.binary_search(&number).is_ok() {
            self.issued.shaped -= 1;
            self.published.shaped += 1;
            self.published.pass(candidate, number, &WORDS);
        } else if passes {
            self.issued.pass(candidate, number, &WORDS);
        }
        passes
    }
}

/// Groups of digits with one and the same separator between them.
struct Groups {
    digits: [u8; Groups::MAX_DIGITS],
    lengths: [usize; 5],
    count: usize,
    start: usize,
}

impl Groups {
    const MAX_DIGITS: usize = 19;

    /// The groups from `start` on, as many as a card number could have.
    fn read(text: &[u8], start: usize, first: usize) -> Option<Groups> {
        let separator = *text.get(start + first)?;
        if separator != b' ' && separator != b'-' {
            return None;
        }
        let mut groups = Groups { digits: [0; Self::MAX_DIGITS], lengths: [0; 5], count: 0, start };
        let (mut at, mut filled) = (start, 0);
        for length in &mut groups.lengths {
            let rest = text.get(at..)?;
            let digits = rest.iter().take(Self::MAX_DIGITS + 1).take_while(|b| b.is_ascii_digit()).count();
            let Some(free) = groups.digits.get_mut(filled..filled + digits).filter(|_| digits > 0) else {
                break;
            };
            free.copy_from_slice(rest.get(..digits)?);
            *length = digits;
            groups.count += 1;
            filled += digits;
            at += digits;
            if text.get(at) != Some(&separator) {
                break;
            }
            at += 1;
        }
        (groups.count >= 2).then_some(groups)
    }

    /// The first `count` groups, when cards are written so.
    fn candidate<'a, 'b>(&'b self, text: &'a [u8], count: usize) -> Option<(Candidate<'a>, &'b [u8])> {
        let lengths = self.lengths.get(..count)?;
        let written_so = match lengths {
            [4, 4, 4, last] => (1..=4).contains(last),
            [4, 4, 4, 4, last] => (1..=3).contains(last),
            [4, 6, 4 | 5] | [6, 13] => true,
            _ => false,
        };
        if !written_so {
            return None;
        }
        let digits: usize = lengths.iter().sum();
        let end = self.start + digits + count - 1;
        Some((Candidate::new(text, self.start, end)?, self.digits.get(..digits)?))
    }
}

/// Whether the leading digits belong to a card scheme that issues numbers of this length.
fn is_issued_range(number: &[u8]) -> bool {
    let prefix =
        number.iter().take(4).fold(0, |sum, digit| sum * 10 + usize::from(digit.wrapping_sub(b'0') & 15));
    ISSUED.get(prefix).is_some_and(|lengths| lengths.checked_shr(number.len() as u32).unwrap_or(0) & 1 != 0)
}

/// For each four leading digits, the lengths of the numbers that are issued: a bit for each.
static ISSUED: [u32; 10_000] = {
    let (mut table, mut prefix) = ([0; 10_000], 0);
    while prefix < table.len() {
        table[prefix] = issued_lengths(prefix);
        prefix += 1;
    }
    table
};

const fn issued_lengths(prefix: usize) -> u32 {
    const fn from(first: u32, last: u32) -> u32 {
        (1 << (last + 1)) - (1 << first)
    }
    match prefix {
        // Mir; Mastercard
        2200..=2204 => from(16, 19),
        2221..=2720 => from(16, 16),
        // Diners Club
        3000..=3059 | 3095 | 3800..=3999 => from(14, 14),
        3600..=3699 => from(14, 19),
        // American Express
        3400..=3499 | 3700..=3799 => from(15, 15),
        // JCB
        3528..=3589 => from(16, 19),
        // Visa
        4000..=4999 => from(13, 13) | from(16, 16) | from(19, 19),
        // Maestro; Verve
        5018 | 5020 | 5038 | 5893 | 6304 | 6759 | 6761..=6763 => from(13, 19),
        5060..=5061 => from(16, 16) | from(18, 19),
        // RuPay
        5080..=5089 | 8200..=8299 => from(16, 16),
        // Mastercard
        5100..=5599 => from(16, 16),
        // Discover, and RuPay
        6011 => from(16, 19),
        6000..=6099 => from(16, 16),
        6440..=6599 => from(16, 19),
        // UnionPay
        6200..=6299 | 8100..=8171 => from(16, 19),
        // Troy
        9792 => from(16, 16),
        _ => 0,
    }
}

/// ISO/IEC 7812-1, annex B.
fn passes_luhn(number: &[u8]) -> bool {
    /// The digits of twice a digit, added up.
    const DOUBLED: [u32; 16] = [0, 2, 4, 6, 8, 1, 3, 5, 7, 9, 0, 0, 0, 0, 0, 0];
    let sum = number.rchunks(2).fold(0, |sum, pair| match pair {
        [double, single] => sum + DOUBLED[usize::from(double & 15)] + u32::from(single & 15),
        [single] => sum + u32::from(single & 15),
        _ => sum,
    });
    sum.is_multiple_of(10)
}

/// Numbers that schemes and payment providers publish for tests, sorted. Nobody owns them.
const TEST_NUMBERS: [&[u8]; 30] = [
    b"2222420000001113",
    b"2223000048400011",
    b"2223003122003222",
    b"30569309025904",
    b"3530111333300000",
    b"3566002020360505",
    b"36227206271667",
    b"371449635398431",
    b"374245455400126",
    b"378282246310005",
    b"378734493671000",
    b"38520000023237",
    b"4000000000000002",
    b"4000056655665556",
    b"4012888888881881",
    b"4111111111111111",
    b"4222222222222",
    b"4242424242424242",
    b"4263982640269299",
    b"4917484589897107",
    b"4917610000000000",
    b"5105105105105100",
    b"5200828282828210",
    b"5425233430109903",
    b"5555555555554444",
    b"6011000990139424",
    b"6011111111111117",
    b"6011601160116611",
    b"6200000000000005",
    b"6304000000000000",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn looks(text: &str) -> Detector {
        let mut detector = Detector::default();
        let bytes = text.as_bytes();
        let mut at = 0;
        while at < bytes.len() {
            let digits = bytes[at..].iter().take_while(|b| b.is_ascii_digit()).count();
            match digits {
                13..=19 => detector.look(bytes, at, digits),
                4 | 6 => detector.look_at_groups(bytes, at, digits),
                _ => {}
            }
            at += digits.max(1);
        }
        detector
    }

    fn passed(text: &str) -> usize {
        looks(text).issued.distinct.count()
    }

    #[test]
    fn a_number_passes_in_each_way_that_cards_are_written() {
        for text in [
            "4539578763621486",
            "4539 5787 6362 1486",
            "4539-5787-6362-1486",
            "qty 2 4539 5787 6362 1486 123",
        ] {
            assert_eq!(passed(text), 1, "{text}");
        }
    }

    #[test]
    fn mixed_separators_wrong_groups_and_wrong_check_digits_fail() {
        for text in [
            "4539 5787-6362 1486",
            "4539  5787 6362 1486",
            "45395 787 6362 1486",
            "4539578763621487",
            "0.4539578763621486",
        ] {
            assert_eq!(passed(text), 0, "{text}");
        }
    }

    #[test]
    fn published_test_numbers_are_numbers_of_cards_in_the_order_that_the_search_needs() {
        assert!(TEST_NUMBERS.is_sorted());
        for number in TEST_NUMBERS {
            assert!(passes_luhn(number) && is_issued_range(number), "{}", String::from_utf8_lossy(number));
        }
    }

    #[test]
    fn published_test_numbers_are_no_company_but_count_beside_a_word_or_under_a_column_name() {
        let none = Header::default();
        let all: String =
            TEST_NUMBERS.iter().map(|number| format!("{}\n", String::from_utf8_lossy(number))).collect();
        assert!(!looks(&all).is_evident(&none));
        assert!(looks(&all).is_evident(&Header::read(b"card\n4111111111111111\n")));
        for text in
            ["card number: 4111111111111111", "4111 1111 1111 1111 visa", "{\"pan\":\"378282246310005\"}"]
        {
            assert!(looks(text).is_evident(&none), "{text}");
        }
    }

    #[test]
    fn published_test_numbers_do_not_thin_out_those_of_cards() {
        let tests = "4111111111111111\n".repeat(100);
        let detector = looks(&format!("{tests}4539578763621486\n4716108999716531\n"));
        assert!(detector.is_evident(&Header::default()));
        assert_eq!((detector.issued.shaped, detector.published.shaped), (2, 100));
    }

    #[test]
    fn one_number_needs_a_word_and_two_need_none() {
        let none = Header::default();
        assert!(!looks("reference 4539578763621486").is_evident(&none));
        assert!(looks("cardNumber: 4539578763621486").is_evident(&none));
        assert!(looks("银行卡号4539578763621486").is_evident(&none));
        assert!(looks("4539578763621486 4716108999716531").is_evident(&none));
        assert!(!looks("4539578763621486\n4539578763621486").is_evident(&none));
    }

    #[test]
    fn chance_passes_among_many_order_numbers_are_not_evidence() {
        let orders: String =
            (0..5000u64).map(|n| format!("{}\n", 4_000_000_000_000_000 + n * 7_919_777)).collect();
        let detector = looks(&orders);
        assert!(detector.issued.distinct.count() >= 200, "about one in ten passes Luhn");
        assert!(!detector.is_evident(&Header::default()));
    }
}
