use proptest::prelude::*;

use super::*;

fn scan(text: &[u8]) -> Findings {
    scan_in_pieces(text, &[text.len().max(1)])
}

fn scan_in_pieces(text: &[u8], sizes: &[usize]) -> Findings {
    let mut scanner = Scanner::new();
    let (mut rest, mut sizes) = (text, sizes.iter().cycle());
    while !rest.is_empty() {
        let size = (*sizes.next().unwrap()).clamp(1, rest.len());
        scanner.feed(&rest[..size]);
        rest = &rest[size..];
        assert!(scanner.plain.held.capacity() <= Stream::CAPACITY + BEFORE + WORD + AFTER);
    }
    scanner.finish()
}

fn labels(findings: &Findings) -> String {
    let mut labels = Labels::default();
    findings.apply(&mut labels);
    labels.to_string()
}

#[test]
fn each_family_gives_its_labels() {
    for (text, expected) in [
        ("id 11010519491231002X", "personal.gov_id;CN"),
        ("身份证号：110105491231002", "personal.gov_id;CN"),
        ("card 4539 5787 6362 1486", "financial.payment"),
        ("DE89 3704 0044 0532 0130 00", "personal,financial.personal;DE"),
        ("contact: li.wei@163.com", "personal"),
        ("Nothing to see here, 2024-05-06 12:34:56.", "unlabelled"),
        ("", "unlabelled"),
    ] {
        assert_eq!(labels(&scan(text.as_bytes())), expected, "{text}");
    }
}

#[test]
fn what_is_published_for_tests_and_examples_counts_where_the_real_thing_would_and_says_so() {
    for (text, expected, detail) in [
        ("card number: 4111111111111111", "financial.payment", "1 distinct number published for tests"),
        ("name,card\nLi,4111 1111 1111 1111\n", "financial.payment", "1 distinct number published for tests"),
        ("email: li.lei@example.com", "personal", "1 distinct address at example domains"),
        ("name,email\nLi,li.lei@example.com\n", "personal", "1 distinct address at example domains"),
    ] {
        let mut labels = Labels::default();
        scan(text.as_bytes()).apply(&mut labels);
        assert_eq!(labels.to_string(), expected, "{text}");
        assert!(labels.evidence[0].detail.starts_with(detail), "{:?}", labels.evidence);
    }
    let alone =
        "seen 4111111111111111 and 5555555555554444, a@example.com b@example.org c@x.test d@x.test e@x.test";
    assert_eq!(labels(&scan(alone.as_bytes())), "unlabelled");
}

#[test]
fn evidence_names_the_detector_and_a_count_and_no_content() {
    let mut labels = Labels::default();
    scan(b"11010519491231002X 11010519491231002x").apply(&mut labels);
    let evidence = labels.evidence.first().unwrap();
    assert_eq!(evidence.source, Source::Detector("cn.ric18".to_owned()));
    assert_eq!(evidence.detail, "1 distinct number passing GB 11643");
}

#[test]
fn a_column_name_counts_for_every_row() {
    let mut table = "name,remark,card_no\n".to_owned();
    for row in 0..200 {
        table += &format!("row {row},{},{:016}\n", "x".repeat(80), 9_000_000_000_000_000u64 + row);
    }
    assert_eq!(labels(&scan(table.as_bytes())), "unlabelled");
    for _ in 0..40 {
        table += &format!("row,{},4539578763621486\n", "x".repeat(80));
    }
    assert_eq!(labels(&scan(table.as_bytes())), "financial.payment");
}

#[test]
fn an_identifier_is_found_at_every_offset_around_the_ends_of_pieces() {
    for text in [
        "身份证 110105491231002",
        "card 4539-5787-6362-1486",
        "DE89 3704 0044 0532 0130 00",
        "mail a@firma.de",
    ] {
        for piece in [Stream::CAPACITY - 1, Stream::CAPACITY, Stream::CAPACITY + 1, 2 * Stream::BLOCK] {
            for before in (piece - 210)..(piece + 140) {
                let stream = [".".repeat(before), text.to_owned(), " ".repeat(500)].concat();
                assert!(!scan_in_pieces(stream.as_bytes(), &[piece]).is_empty(), "{text} at {before}");
            }
        }
    }
}

#[test]
fn the_findings_so_far_are_those_of_a_stream_that_ends_there() {
    let stream = [". ".repeat(20_000), "card 4539578763621486".to_owned(), " .".repeat(20_000)].concat();
    let mut scanner = Scanner::new();
    for (n, piece) in stream.as_bytes().chunks(1000).enumerate() {
        scanner.feed(piece);
        let seen = stream.len().min((n + 1) * 1000);
        assert_eq!(scanner.findings_so_far(), scan(&stream.as_bytes()[..seen]));
    }
    assert_eq!(scanner.settled_findings(), scanner.finish());
}

#[test]
fn a_small_object_takes_a_small_buffer_and_is_looked_at_once() {
    let object = b"card 4539578763621486 ".repeat(40);
    let mut scanner = Scanner::new();
    scanner.feed(&object);
    assert!(scanner.plain.held.capacity() < 1024);
    let so_far = scanner.findings_so_far();
    assert_eq!(scanner.so_far.get(), Some(&so_far));
    scanner.feed(b"");
    scanner.feed(b"contact: li.wei@163.com");
    assert_eq!(scanner.so_far.get(), None);
    assert_eq!(labels(&scanner.finish()), "personal,financial.payment");
}

#[test]
fn an_account_number_with_few_digits_is_found() {
    assert_eq!(labels(&scan(b"MT31MALT01100ABCDEFGHIJKLMNOPQR")), "unlabelled");
    let number = with_check_digits("MT", "MALTABCDEABCDEFGHIJKLMNOPQR");
    assert_eq!(labels(&scan(number.as_bytes())), "personal,financial.personal;MT");
}

/// The account number whose check digits fit (ISO 7064: those that make the remainder 1), by trial.
fn with_check_digits(country: &str, account: &str) -> String {
    let remainder = |check: u32| {
        format!("{account}{country}{check:02}").chars().fold(0, |sum, character| {
            let value = character.to_digit(36).unwrap();
            (sum * if value < 10 { 10 } else { 100 } + value) % 97
        })
    };
    let check = (2..99).find(|check| remainder(*check) == 1).unwrap();
    format!("{country}{check:02}{account}")
}

#[test]
fn hostile_streams_are_scanned_in_bounded_memory() {
    for piece in ["1", "@", "a@", "4111 ", "DE89", "1-", "a.", "\u{ff11}", "1101054912", "a@b.de,"] {
        let stream = piece.repeat(300_000 / piece.len());
        scan_in_pieces(stream.as_bytes(), &[1000, 1, 7777]);
    }
}

/// Streams of what the detectors look for, of near misses, and of filler that moves them about.
fn streams() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(b"11010519491231002X ".to_vec()),
        Just("身份证 110105491231002,".as_bytes().to_vec()),
        Just(b"4539-5787-6362-1486 ".to_vec()),
        Just(b"4716108999716531\n".to_vec()),
        Just(b"card=".to_vec()),
        Just(b"DE89 3704 0044 0532 0130 00 ".to_vec()),
        Just(b"GB29NWBK60161331926819;".to_vec()),
        "[a-z]{1,3}@[a-z]{2,5}\\.(de|cn) ".prop_map(String::into_bytes),
        "[0-9]{1,40}[ -]?".prop_map(String::into_bytes),
        proptest::collection::vec(any::<u8>(), 0..200),
        Just(b"card 4111 1111 1111 1111 li@example.com ".to_vec()),
        (0usize..9000).prop_map(|n| vec![b'.'; n]),
    ];
    proptest::collection::vec(piece, 0..20).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn findings_do_not_depend_on_how_the_stream_was_cut(
        stream in streams(),
        sizes in proptest::collection::vec(prop_oneof![1usize..300, 1usize..40_000], 1..20),
    ) {
        prop_assert_eq!(scan_in_pieces(&stream, &sizes), scan(&stream));
    }

    #[test]
    fn no_stream_makes_the_scanner_panic(stream in proptest::collection::vec(any::<u8>(), 0..2000)) {
        scan(&stream);
    }
}
