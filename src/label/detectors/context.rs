//! Words beside a candidate, and column names above it, that say what a number is.

use std::ops::Range;

use memchr::memmem;

/// Words of one meaning.
pub struct Words {
    /// In lower-case ASCII. Found in any case, as whole words or as parts of a `camelCase` or `snake_case` name; a blank
    /// stands for one of ` `, `_`, `-`, or nothing.
    latin: &'static [&'static str],
    /// In other scripts, found anywhere as they are written here.
    other: &'static [&'static str],
    /// The low five bits, which both cases share, of the letters that the latin words start with: a bit for each.
    firsts: u32,
}

impl Words {
    pub const fn new(latin: &'static [&'static str], other: &'static [&'static str]) -> Words {
        let (mut firsts, mut word) = (0, 0);
        while word < latin.len() {
            if let Some(first) = latin[word].as_bytes().first() {
                firsts |= 1 << (*first & 31);
            }
            word += 1;
        }
        Words { latin, other, firsts }
    }

    /// Whether one of the words lies within `range` of `text`.
    pub fn occur(&self, text: &[u8], range: Range<usize>) -> bool {
        let Some(stretch) = text.get(range.clone()) else { return false };
        // Most places fail at the first letter, for all words at once.
        let latin = range.clone().zip(stretch).any(|(at, first)| {
            self.firsts >> (first & 31) & 1 != 0
                && starts_word(text, at)
                && self.latin.iter().filter(|word| word.as_bytes().first() == Some(&(first | 32))).any(
                    |word| {
                        match_length(stretch.get(at - range.start..).unwrap_or_default(), word.as_bytes())
                            .is_some_and(|length| ends_word(text, at + length))
                    },
                )
        });
        latin
            || (!stretch.is_ascii()
                && self.other.iter().any(|word| memmem::find(stretch, word.as_bytes()).is_some()))
    }
}

/// A letter after no letter, or an upper-case one after a lower-case one. Not after `@`: that is a host name.
fn starts_word(text: &[u8], at: usize) -> bool {
    let Some(first) = text.get(at).filter(|b| b.is_ascii_alphabetic()) else { return false };
    match at.checked_sub(1).and_then(|before| text.get(before)) {
        Some(b'@') => false,
        Some(b) if b.is_ascii_alphabetic() => b.is_ascii_lowercase() && first.is_ascii_uppercase(),
        _ => true,
    }
}

/// `at` is the byte after a word. Not before `.` and a letter: that is a host name too.
fn ends_word(text: &[u8], at: usize) -> bool {
    let last = at.checked_sub(1).and_then(|last| text.get(last));
    match text.get(at) {
        Some(b'.') => !text.get(at + 1).is_some_and(u8::is_ascii_alphabetic),
        Some(b) if b.is_ascii_alphabetic() => {
            b.is_ascii_uppercase() && last.is_some_and(u8::is_ascii_lowercase)
        }
        _ => true,
    }
}

/// How many bytes of `text` the word takes up, if it starts there.
fn match_length(text: &[u8], word: &[u8]) -> Option<usize> {
    let mut at = 0;
    for letter in word {
        let here = text.get(at);
        if *letter == b' ' {
            at += usize::from(here.is_some_and(|b| b" _-".contains(b)));
        } else if here.is_some_and(|b| b.eq_ignore_ascii_case(letter)) {
            at += 1;
        } else {
            return None;
        }
    }
    Some(at)
}

/// The line of column names at the top of delimited text. Empty for anything else.
#[derive(Clone, Default)]
pub struct Header(Vec<u8>);

impl Header {
    /// Longest line that is taken for column names.
    const MAX_BYTES: usize = 4096;
    /// Longest name of a single column.
    const MAX_NAME_BYTES: usize = 64;

    /// Reads it from the start of a stream. Text counts as delimited when its second line has as many delimiters as
    /// its first, or when the first is one short name.
    pub fn read(text: &[u8]) -> Header {
        let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
        let Some((first, rest)) = split_line(text) else { return Header::default() };
        let second = split_line(rest).map_or(rest, |(line, _)| line);
        let json = matches!(first.trim_ascii_start().first(), Some(b'{' | b'['));
        if json || first.len() > Self::MAX_BYTES {
            return Header::default();
        }
        let columns = |line: &[u8]| {
            [b',', b';', b'\t', b'|'].map(|delimiter| memchr::memchr_iter(delimiter, line).count())
        };
        let (above, below) = (columns(first), columns(second));
        let table = above.iter().zip(below).any(|(above, below)| *above > 0 && below >= *above);
        let list = above == [0; 4] && first.len() <= Self::MAX_NAME_BYTES;
        Header(if table || list { first.to_vec() } else { Vec::new() })
    }

    pub fn names(&self, words: &Words) -> bool {
        words.occur(&self.0, 0..self.0.len())
    }
}

/// The first line, and what comes after its end.
fn split_line(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = memchr::memchr(b'\n', text)?;
    Some((text.get(..end)?, text.get(end + 1..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAIL: Words = Words::new(&["e mail", "mail"], &["邮箱"]);

    fn occurs(text: &str) -> bool {
        MAIL.occur(text.as_bytes(), 0..text.len())
    }

    #[test]
    fn a_word_is_found_in_the_ways_that_fields_are_named() {
        for text in [
            "email",
            "E-Mail:",
            "e_mail",
            "user_email=",
            "userEmail",
            "EMAIL_ADDRESS",
            "emailAddress",
            "邮箱",
        ] {
            assert!(occurs(text), "{text}");
        }
    }

    #[test]
    fn a_piece_of_another_word_or_of_a_host_name_is_not_a_word() {
        for text in ["gmail", "blackmailer", "mail.example.net", "a@mail", "female", "emailaddress", ""] {
            assert!(!occurs(text), "{text}");
        }
    }

    #[test]
    fn a_word_must_lie_within_the_range_but_its_ends_are_judged_by_what_is_around() {
        assert!(!MAIL.occur(b"blackmail", 5..9));
        assert!(!MAIL.occur(b"my mail", 0..6));
        assert!(MAIL.occur(b"my mail", 3..7));
    }

    #[test]
    fn the_first_line_of_a_table_names_its_columns_and_the_first_line_of_prose_does_not() {
        assert!(Header::read(b"name,e-mail\nx,y\n").names(&MAIL));
        assert!(Header::read(b"\xef\xbb\xbfemail\nx\n").names(&MAIL));
        assert!(
            !Header::read(
                b"Write us by mail, or call; we answer within some days of any week that has days\nPlease.\n"
            )
            .names(&MAIL)
        );
        assert!(!Header::read(b"{\"email\":1,\"b\":2}\n{\"email\":1,\"b\":2}\n").names(&MAIL));
        assert!(!Header::read(b"email").names(&MAIL));
    }
}
