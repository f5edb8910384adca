//! E-mail addresses, in the form that people write: a bounded part of RFC 5321, no quoted local parts.
//!
//! An address has no check digit. One needs a word beside it or a column name; five distinct ones need neither.
//! Addresses at the domains kept for examples never have enough company, but a word or a column name makes them count.

use super::context::{Header, Words};
use super::{AFTER, BEFORE, Candidate, Tally};

const WORDS: Words = Words::new(
    &[
        "e mail", "e mails", "mail", "mailto", "contact", "contacts", "kontakt", "courriel", "correo",
        "posta", "eposta", "poczta", "surel",
    ],
    &["邮箱", "邮件", "電郵", "郵件", "メール", "이메일", "почт", "Почт", "البريد", "ईमेल"],
);

/// Counts addresses.
#[derive(Clone, Default)]
pub struct Detector {
    pub addresses: Tally,
    /// Those at domains that RFC 2606 and their registries keep for examples and tests.
    pub examples: Tally,
}

impl Detector {
    const MAX_LOCAL: usize = 64;
    /// Shorter than RFC 5321 allows: longer names are not in use.
    const MAX_DOMAIN: usize = 128;
    const ENOUGH_ALONE: usize = 5;

    /// `sign` is the place of an `@`.
    pub fn look(&mut self, text: &[u8], sign: usize) {
        let Some(start) = local_start(text, sign) else { return };
        let Some(end) = domain_end(text, sign + 1) else { return };
        if !stands_in_text(text, start, end) {
            return;
        }
        let Some(candidate) = Candidate::new(text, start, end) else { return };
        let (Some(local), Some(domain)) = (text.get(start..sign), text.get(sign + 1..end)) else { return };
        let tally = match Kind::of(local, domain) {
            Kind::Address => &mut self.addresses,
            Kind::Example => &mut self.examples,
            Kind::Other => return,
        };
        tally.shaped += 1;
        tally.pass(&candidate, candidate.bytes().to_ascii_lowercase(), &WORDS);
    }

    /// More addresses would change neither labels nor evidence.
    pub fn has_seen_enough(&self) -> bool {
        self.addresses.distinct.is_full()
    }

    pub fn is_evident(&self, header: &Header) -> bool {
        self.addresses.distinct.count() >= Self::ENOUGH_ALONE
            || self.addresses.near_words
            || self.examples.near_words
            || (self.addresses.passed + self.examples.passed > 0 && header.names(&WORDS))
    }
}

/// Whether text is all around. Compressed and random bytes hold the form of an address once in some 30 MB, and five of
/// them are soon together; but hardly one has no control character near it.
fn stands_in_text(text: &[u8], start: usize, end: usize) -> bool {
    // Escape is what coloured logs hold.
    let control = |b: &u8| matches!(b, 0..=8 | 11 | 12 | 14..=26 | 28..=31 | 127);
    let before = text.get(start.saturating_sub(BEFORE)..start).unwrap_or_default();
    let after = text.get(end..text.len().min(end + AFTER)).unwrap_or_default();
    !before.iter().chain(after).any(control)
}

/// Where the local part before the `@` starts.
fn local_start(text: &[u8], sign: usize) -> Option<usize> {
    let allowed = |b: &u8| b.is_ascii_alphanumeric() || b"._+-'".contains(b);
    // One more than is allowed, so that a longer one is seen to be too long.
    let floor = sign.saturating_sub(Detector::MAX_LOCAL + 1);
    let behind = text.get(floor..sign)?;
    let length = behind.iter().rev().take_while(|b| allowed(b)).count();
    if length > Detector::MAX_LOCAL {
        return None;
    }
    let local = text.get(sign - length..sign)?;
    // Quotation marks, list bullets and the like may stand before it.
    let bare = local.iter().position(|b| b.is_ascii_alphanumeric() || *b == b'_')?;
    (local.last() != Some(&b'.')).then_some(sign - length + bare)
}

/// Where the domain ends that starts at `start`: labels with dots between them, the last one a name.
fn domain_end(text: &[u8], start: usize) -> Option<usize> {
    let ahead = text.get(start..text.len().min(start + Detector::MAX_DOMAIN + 1))?;
    let length = ahead.iter().take_while(|b| b.is_ascii_alphanumeric() || **b == b'.' || **b == b'-').count();
    if length > Detector::MAX_DOMAIN {
        return None;
    }
    // A full stop or a dash after it belongs to the sentence.
    let domain = ahead.get(..length)?;
    let length = domain.iter().rposition(u8::is_ascii_alphanumeric)? + 1;
    let domain = domain.get(..length)?;
    let mut labels = domain.split(|b| *b == b'.');
    if labels.clone().any(|label| label.is_empty() || label.len() > 63 || label.starts_with(b"-")) {
        return None;
    }
    let top = labels.next_back()?;
    labels.next_back()?;
    let is_name = (2..=24).contains(&top.len()) && top.iter().all(u8::is_ascii_alphabetic);
    (is_name || top.to_ascii_lowercase().starts_with(b"xn--")).then_some(start + length)
}

/// What has the form of an address.
enum Kind {
    /// Of a person, for all that can be seen.
    Address,
    /// At a domain where nobody lives.
    Example,
    /// A repository, a version, a file.
    Other,
}

impl Kind {
    fn of(local: &[u8], domain: &[u8]) -> Kind {
        const RESERVED: [&[u8]; 4] = [b"example", b"test", b"invalid", b"localhost"];
        const FILES: [&[u8]; 16] = [
            b"png", b"jpg", b"jpeg", b"gif", b"svg", b"webp", b"bmp", b"css", b"js", b"mjs", b"json",
            b"html", b"xml", b"txt", b"pdf", b"dll",
        ];
        let is = |label: Option<&[u8]>, names: &[&[u8]]| {
            label.is_some_and(|label| names.iter().any(|name| label.eq_ignore_ascii_case(name)))
        };
        let numeric = |label: Option<&[u8]>| label.is_some_and(|label| label.iter().all(u8::is_ascii_digit));
        let mut from_the_end = domain.rsplit(|b| *b == b'.');
        let (top, second) = (from_the_end.next(), from_the_end.next());
        let mut from_the_start = domain.split(|b| *b == b'.');
        let (first, next) = (from_the_start.next(), from_the_start.next());

        let version = numeric(first) && numeric(next);
        let example = is(second, &[b"example"]) && is(top, &[b"com", b"org", b"net", b"edu"]);
        if version || is(top, &FILES) || local.eq_ignore_ascii_case(b"git") {
            Kind::Other
        } else if example || is(top, &RESERVED) {
            Kind::Example
        } else {
            Kind::Address
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn looks(text: &str) -> Detector {
        let mut detector = Detector::default();
        for (at, _) in text.match_indices('@') {
            detector.look(text.as_bytes(), at);
        }
        detector
    }

    #[test]
    fn addresses_are_found_where_people_write_them() {
        for text in [
            "li.wei@163.com",
            "<a@b.de>",
            "\"anna+tag@mail.example-shop.co.uk\"",
            "write to x_y@firma.de.",
            "mailto:o'neil@corp.ie?subject=x",
            "用户a1@qq.com，",
            "q@xn--fiqs8s.xn--fiqz9s",
        ] {
            assert_eq!(looks(text).addresses.distinct.count(), 1, "{text}");
        }
    }

    #[test]
    fn what_stands_among_bytes_that_are_no_text_is_left_out() {
        assert_eq!(looks("\u{1}\u{2}x@y.de\u{3}").addresses.distinct.count(), 0);
        assert_eq!(looks("name\tx@y.de\r\n").addresses.distinct.count(), 1);
    }

    #[test]
    fn what_only_looks_like_an_address_is_left_out() {
        for text in [
            "git@github.com:x/y",
            "git@git.example.com:x/y",
            "lodash@4.17.21",
            "pkg@1.2.3-beta.rc",
            "icon@2x.png",
            "@media",
            "a@b",
            "a@b.c",
            "a.@b.de",
            "a@.de",
            "a@b..de",
            "a@-b.de",
            "@",
            "a@",
        ] {
            let detector = looks(text);
            assert_eq!((detector.addresses.passed, detector.examples.passed), (0, 0), "{text}");
        }
    }

    #[test]
    fn addresses_at_example_domains_are_no_company_but_count_beside_a_word_or_under_a_column_name() {
        let none = Header::default();
        let many: String = (0..20).map(|n| format!("user{n}@example.com x{n}@host.test\n")).collect();
        assert!(!looks(&many).is_evident(&none));
        assert!(looks(&many).is_evident(&Header::read(b"id,e-mail\n1,user1@example.com\n")));
        for domain in
            ["example.com", "mail.EXAMPLE.org", "example.net", "example.edu", "shop.example", "a.localhost"]
        {
            assert!(!looks(&format!("seen li.lei@{domain}")).is_evident(&none), "{domain}");
            assert!(looks(&format!("email: li.lei@{domain}")).is_evident(&none), "{domain}");
        }
        assert!(!looks("email: git@git.example.com").is_evident(&none));
    }

    #[test]
    fn parts_beyond_the_limits_are_not_addresses() {
        assert_eq!(looks(&format!("{}@firma.de", "a".repeat(64))).addresses.passed, 1);
        assert_eq!(looks(&format!("{}@firma.de", "a".repeat(65))).addresses.passed, 0);
        assert_eq!(looks(&format!("a@{}de", "b.".repeat(63))).addresses.passed, 1);
        assert_eq!(looks(&format!("a@{}de", "b.".repeat(64))).addresses.passed, 0);
        assert_eq!(looks(&format!("a@{}.de", "b".repeat(64))).addresses.passed, 0);
    }

    #[test]
    fn one_address_needs_a_word_and_five_need_none() {
        let none = Header::default();
        assert!(!looks("seen: a@firma.de").is_evident(&none));
        assert!(!looks("a@mail.ru b@mail.ru").is_evident(&none));
        assert!(looks("邮箱 a@firma.de").is_evident(&none));
        assert!(looks("{\"userEmail\": \"a@firma.de\"}").is_evident(&none));
        assert!(looks("a@firma.de").is_evident(&Header::read(b"name,e-mail\nx,a@firma.de\n")));
        assert!(!looks("a@firma.de A@FIRMA.DE a@firma.de a@firma.de a@firma.de").is_evident(&none));
        assert!(looks("a@firma.de b@firma.de c@firma.de d@firma.de e@firma.de").is_evident(&none));
    }
}
