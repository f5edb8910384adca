//! Resident identity numbers of mainland China: GB 11643-1999 (18 characters) and its 15-digit forerunner.
//!
//! The long form has a check digit, a birth date and an area: one random 18-digit number in ten thousand
//! passes, so it is evidence alone. The short form has no check digit: it counts only beside words for it.

use super::context::{Header, Words};
use super::{Candidate, Tally};

const WORDS: Words = Words::new(
    &[
        "id card",
        "identity card",
        "identity no",
        "identity number",
        "id no",
        "id number",
        "resident id",
        "citizen id",
        "national id",
        "sfz",
        "sfzh",
        "sfzhm",
        "shenfenzheng",
    ],
    &["身份证", "身分證", "身份證", "公民身份", "证件号", "證件號"],
);

/// Counts both forms.
#[derive(Clone, Default)]
pub struct Detector {
    pub long: Tally,
    pub short: Tally,
}

impl Detector {
    /// A run of 15, 17 or 18 digits. Answers whether it is an 18-character number that passes.
    pub fn look(&mut self, text: &[u8], start: usize, digits: usize) -> bool {
        let length = match digits {
            17 if matches!(text.get(start + 17), Some(b'X' | b'x')) => 18,
            15 | 18 => digits,
            _ => return false,
        };
        let Some(candidate) = Candidate::new(text, start, start + length).filter(Candidate::stands_alone)
        else {
            return false;
        };
        let number = candidate.bytes();
        let (tally, passes) = match length {
            18 => (&mut self.long, is_long_number(number)),
            _ => (&mut self.short, is_short_number(number)),
        };
        tally.shaped += 1;
        if passes {
            // The check character may be written in either case.
            tally.pass(&candidate, number.to_ascii_uppercase(), &WORDS);
        }
        passes && length == 18
    }

    /// One in ten thousand random numbers passes, so one in a thousand is ten times chance.
    pub fn long_is_evident(&self, header: &Header) -> bool {
        self.long.at_least_one_in(1000)
            || self.long.near_words
            || (self.long.passed > 0 && header.names(&WORDS))
    }

    /// Three in a hundred random numbers pass: only words count, or a column name and a share far above chance.
    pub fn short_is_evident(&self, header: &Header) -> bool {
        self.short.near_words || (self.short.at_least_one_in(4) && header.names(&WORDS))
    }
}

/// Whether 18 characters are a number of GB 11643-1999.
fn is_long_number(number: &[u8]) -> bool {
    const WEIGHTS: [u32; 17] = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2];
    const CHECKS: &[u8; 11] = b"10X98765432";
    let Some((check, digits)) = number.split_last() else { return false };
    let sum: u32 = digits.iter().zip(WEIGHTS).map(|(digit, weight)| value(*digit) * weight).sum();
    let century = number_at(number, 6, 2);
    is_area(number)
        && (century == 19 || century == 20)
        && is_date(number_at(number, 6, 4), number_at(number, 10, 2), number_at(number, 12, 2))
        && CHECKS.get(sum as usize % 11) == Some(&check.to_ascii_uppercase())
}

/// Whether 15 digits have the form of the numbers before 1999: all of them born in the twentieth century.
fn is_short_number(number: &[u8]) -> bool {
    is_area(number)
        && is_date(1900 + number_at(number, 6, 2), number_at(number, 8, 2), number_at(number, 10, 2))
}

/// The first two digits of GB/T 2260: provinces, and 81 to 83 of residence permits.
fn is_area(number: &[u8]) -> bool {
    matches!(
        number_at(number, 0, 2),
        11..=15 | 21..=23 | 31..=37 | 41..=46 | 50..=54 | 61..=65 | 71 | 81..=83
    )
}

fn is_date(year: u32, month: u32, day: u32) -> bool {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let days = match month {
        4 | 6 | 9 | 11 => 30,
        2 => 28 + u32::from(leap),
        1..=12 => 31,
        _ => 0,
    };
    (1..=days).contains(&day)
}

fn number_at(number: &[u8], at: usize, length: usize) -> u32 {
    number.iter().skip(at).take(length).fold(0, |sum, digit| sum * 10 + value(*digit))
}

fn value(digit: u8) -> u32 {
    u32::from(digit.wrapping_sub(b'0') & 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn looks(text: &str) -> Detector {
        let start = text.find(|c: char| c.is_ascii_digit()).unwrap();
        let digits = text[start..].bytes().take_while(u8::is_ascii_digit).count();
        let mut detector = Detector::default();
        detector.look(text.as_bytes(), start, digits);
        detector
    }

    #[test]
    fn the_example_of_the_standard_passes_in_either_case() {
        for number in ["11010519491231002X", "11010519491231002x"] {
            assert_eq!(looks(number).long.passed, 1, "{number}");
        }
    }

    #[test]
    fn nobody_who_was_born_before_1900_is_taken_for_living() {
        assert_eq!(looks("440524188001010014").long.passed, 0);
    }

    #[test]
    fn a_wrong_check_digit_date_or_area_fails() {
        for number in ["110105194912310021", "110105194902300024", "110105194913310025", "990105194912310021"]
        {
            assert_eq!(looks(number).long.passed, 0, "{number}");
        }
    }

    #[test]
    fn exactly_one_check_character_fits_each_number() {
        let fitting = b"0123456789X"
            .iter()
            .filter(|check| is_long_number(&[b"11010519491231002".as_slice(), &[**check]].concat()))
            .count();
        assert_eq!(fitting, 1);
    }

    #[test]
    fn a_number_within_a_longer_word_is_not_looked_at() {
        for text in ["a11010519491231002X", "11010519491231002Xa", "0.11010519491231002X"] {
            let mut detector = Detector::default();
            let start = text.find("1101").unwrap();
            detector.look(text.as_bytes(), start, 17);
            assert_eq!(detector.long.shaped, 0, "{text}");
        }
    }

    #[test]
    fn the_short_form_needs_words() {
        let none = Header::default();
        assert!(!looks("number 110105491231002").short_is_evident(&none));
        assert!(looks("身份证 110105491231002").short_is_evident(&none));
        assert!(looks("idCard=110105491231002").short_is_evident(&none));
        assert!(!looks("idCard=110105491331002").short_is_evident(&none));
    }

    #[test]
    fn leap_days_follow_the_calendar() {
        assert!(is_date(2000, 2, 29) && is_date(2024, 2, 29));
        assert!(
            !is_date(1900, 2, 29) && !is_date(2023, 2, 29) && !is_date(2023, 4, 31) && !is_date(2023, 1, 0)
        );
    }
}
