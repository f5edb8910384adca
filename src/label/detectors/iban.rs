//! International bank account numbers (ISO 13616): a country, its length, and the ISO 7064 MOD 97-10 check.
//!
//! One random token of the shape in a hundred passes and the shape itself is rare, so one is evidence alone.

use std::collections::BTreeSet;

use super::context::Words;
use super::{Candidate, Tally};
use crate::names::Country;

/// The check is enough: no words are looked for.
const WORDS: Words = Words::new(&[], &[]);

/// Counts account numbers and remembers their countries.
#[derive(Clone, Default)]
pub struct Detector {
    pub tally: Tally,
    pub countries: BTreeSet<Country>,
}

impl Detector {
    /// Longest account number of the registry.
    const MAX_LENGTH: usize = 34;

    /// A run of digits that starts after two capitals: these are the country, the digits' first two the check.
    pub fn look(&mut self, text: &[u8], first_digit: usize) {
        let Some(start) = first_digit.checked_sub(2) else { return };
        let Some(&[a, b]) = text.get(start..first_digit) else { return };
        let Some(length) = length_in([a, b]) else { return };
        let Some((number, end)) = read(text, start, length) else { return };
        let Some(candidate) = Candidate::new(text, start, end).filter(Candidate::stands_alone) else {
            return;
        };
        let Some(number) = number.get(..length) else { return };
        self.tally.shaped += 1;
        if remainder(number) == 1 {
            self.tally.pass(&candidate, number, &WORDS);
            // Kosovo has account numbers and no code in ISO 3166-1.
            self.countries
                .extend(std::str::from_utf8(&[a, b]).ok().and_then(|code| code.parse::<Country>().ok()));
        }
    }

    /// One in a hundred passes by chance, so one in ten is ten times that.
    pub fn is_evident(&self) -> bool {
        self.tally.at_least_one_in(10)
    }
}

/// Whether a run of digits follows two capitals.
pub fn may_start(text: &[u8], first_digit: usize) -> bool {
    let before = |n: usize| first_digit.checked_sub(n).and_then(|at| text.get(at));
    before(1).is_some_and(u8::is_ascii_uppercase) && before(2).is_some_and(u8::is_ascii_uppercase)
}

/// The number's characters, written together or in groups of four with single blanks, and where it ends.
fn read(text: &[u8], start: usize, length: usize) -> Option<([u8; Detector::MAX_LENGTH], usize)> {
    let grouped = text.get(start + 4) == Some(&b' ');
    let mut number = [0; Detector::MAX_LENGTH];
    let mut at = start;
    for (place, slot) in number.iter_mut().take(length).enumerate() {
        if grouped && place > 0 && place % 4 == 0 {
            if text.get(at) != Some(&b' ') {
                return None;
            }
            at += 1;
        }
        *slot = *text.get(at).filter(|b| b.is_ascii_uppercase() || b.is_ascii_digit())?;
        at += 1;
    }
    number.get(2..4)?.iter().all(u8::is_ascii_digit).then_some((number, at))
}

/// ISO 7064 MOD 97-10 over the number with its first four characters moved to the end; letters count 10 to 35.
fn remainder(number: &[u8]) -> u32 {
    let (head, tail) = number.split_at(number.len().min(4));
    tail.iter().chain(head).fold(0, |sum, character| match character {
        b'0'..=b'9' => (sum * 10 + u32::from(character - b'0')) % 97,
        _ => (sum * 100 + u32::from(character.wrapping_sub(b'A')) + 10) % 97,
    })
}

fn length_in(country: [u8; 2]) -> Option<usize> {
    let index = LENGTHS.binary_search_by_key(&country, |(code, _)| **code).ok()?;
    LENGTHS.get(index).map(|(_, length)| usize::from(*length))
}

/// Lengths of the IBAN registry (SWIFT).
const LENGTHS: [(&[u8; 2], u8); 89] = [
    (b"AD", 24),
    (b"AE", 23),
    (b"AL", 28),
    (b"AT", 20),
    (b"AZ", 28),
    (b"BA", 20),
    (b"BE", 16),
    (b"BG", 22),
    (b"BH", 22),
    (b"BI", 27),
    (b"BR", 29),
    (b"BY", 28),
    (b"CH", 21),
    (b"CR", 22),
    (b"CY", 28),
    (b"CZ", 24),
    (b"DE", 22),
    (b"DJ", 27),
    (b"DK", 18),
    (b"DO", 28),
    (b"EE", 20),
    (b"EG", 29),
    (b"ES", 24),
    (b"FI", 18),
    (b"FK", 18),
    (b"FO", 18),
    (b"FR", 27),
    (b"GB", 22),
    (b"GE", 22),
    (b"GI", 23),
    (b"GL", 18),
    (b"GR", 27),
    (b"GT", 28),
    (b"HN", 28),
    (b"HR", 21),
    (b"HU", 28),
    (b"IE", 22),
    (b"IL", 23),
    (b"IQ", 23),
    (b"IS", 26),
    (b"IT", 27),
    (b"JO", 30),
    (b"KW", 30),
    (b"KZ", 20),
    (b"LB", 28),
    (b"LC", 32),
    (b"LI", 21),
    (b"LT", 20),
    (b"LU", 20),
    (b"LV", 21),
    (b"LY", 25),
    (b"MC", 27),
    (b"MD", 24),
    (b"ME", 22),
    (b"MK", 19),
    (b"MN", 20),
    (b"MR", 27),
    (b"MT", 31),
    (b"MU", 30),
    (b"NI", 28),
    (b"NL", 18),
    (b"NO", 15),
    (b"OM", 23),
    (b"PK", 24),
    (b"PL", 28),
    (b"PS", 29),
    (b"PT", 25),
    (b"QA", 29),
    (b"RO", 24),
    (b"RS", 22),
    (b"RU", 33),
    (b"SA", 24),
    (b"SC", 31),
    (b"SD", 18),
    (b"SE", 24),
    (b"SI", 19),
    (b"SK", 24),
    (b"SM", 27),
    (b"SO", 23),
    (b"ST", 25),
    (b"SV", 28),
    (b"TL", 23),
    (b"TN", 24),
    (b"TR", 26),
    (b"UA", 29),
    (b"VA", 22),
    (b"VG", 24),
    (b"XK", 20),
    (b"YE", 30),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn looks(text: &str) -> Detector {
        let mut detector = Detector::default();
        let bytes = text.as_bytes();
        for at in 0..bytes.len() {
            if bytes[at].is_ascii_digit() && may_start(bytes, at) {
                detector.look(bytes, at);
            }
        }
        detector
    }

    #[test]
    fn the_examples_of_the_registry_pass_and_name_their_country() {
        for (number, country) in [
            ("GB29NWBK60161331926819", "GB"),
            ("DE89 3704 0044 0532 0130 00", "DE"),
            ("NO9386011117947", "NO"),
            ("FR1420041010050500013M02606", "FR"),
            ("MT84MALT011000012345MTLCAST001S", "MT"),
            ("SA0380000000608010167519", "SA"),
            ("CH9300762011623852957", "CH"),
            ("NL91ABNA0417164300", "NL"),
            ("BR1800360305000010009795493C1", "BR"),
            ("LC55HEMM000100010012001200023015", "LC"),
        ] {
            let detector = looks(&format!("pay to {number}, please"));
            assert_eq!(detector.countries, BTreeSet::from([country.parse().unwrap()]), "{number}");
            assert!(detector.is_evident());
        }
    }

    #[test]
    fn a_wrong_check_length_country_or_grouping_fails() {
        for text in [
            "GB28NWBK60161331926819",
            "GB29NWBK6016133192681",
            "GB29NWBK601613319268190",
            "XX29NWBK60161331926819",
            "xGB29NWBK60161331926819",
            "DE89 370 40044 0532 0130 00",
            "DE",
            "DE8",
        ] {
            assert_eq!(looks(text).tally.passed, 0, "{text}");
        }
    }

    #[test]
    fn the_table_is_sorted_and_within_bounds() {
        assert!(LENGTHS.is_sorted_by_key(|(code, _)| *code));
        assert!(
            LENGTHS.iter().all(|(_, length)| (15..=Detector::MAX_LENGTH).contains(&usize::from(*length)))
        );
    }
}
