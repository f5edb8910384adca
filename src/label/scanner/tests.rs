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
        assert!(scanner.buffer.len() <= Scanner::CAPACITY);
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
        ("DE89 3704 0044 0532 0130 00", "financial.personal;DE"),
        ("contact: li.wei@163.com", "personal"),
        ("Nothing to see here, 2024-05-06 12:34:56.", "unlabelled"),
        ("", "unlabelled"),
    ] {
        assert_eq!(labels(&scan(text.as_bytes())), expected, "{text}");
    }
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
fn an_identifier_is_found_at_every_offset_around_the_ends_of_blocks() {
    for text in [
        "身份证 110105491231002",
        "card 4539-5787-6362-1486",
        "DE89 3704 0044 0532 0130 00",
        "mail a@firma.de",
    ] {
        for end_of_block in [Scanner::BLOCK + BEFORE, 2 * Scanner::BLOCK + BEFORE] {
            for before in (end_of_block - 70)..(end_of_block + 20) {
                let stream = [".".repeat(before), text.to_owned(), ".".repeat(50)].concat();
                assert!(!scan(stream.as_bytes()).is_empty(), "{text} at {before}");
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
fn hostile_streams_are_scanned_in_bounded_memory() {
    for piece in ["1", "@", "a@", "4111 ", "DE89", "1-", "a.", "\u{ff11}", "1101054912", "a@b.de,"] {
        let stream = piece.repeat(300_000 / piece.len());
        scan_in_pieces(stream.as_bytes(), &[1000, 1, 7777]);
    }
}

#[test]
fn the_bits_of_a_class_are_those_of_each_byte() {
    for shift in 0..4u8 {
        let word: [u8; 64] = std::array::from_fn(|n| n as u8 + 64 * shift);
        let slow = |is: fn(&u8) -> bool| word.iter().rev().fold(0u64, |bits, b| bits << 1 | u64::from(is(b)));
        assert_eq!(digit_bits(&word), slow(u8::is_ascii_digit));
        assert_eq!(capital_bits(&word), slow(u8::is_ascii_uppercase));
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
        (0usize..9000).prop_map(|n| vec![b'.'; n]),
    ];
    proptest::collection::vec(piece, 0..20).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn findings_do_not_depend_on_how_the_stream_was_cut(
        stream in streams(),
        sizes in proptest::collection::vec(1usize..5000, 1..20),
    ) {
        prop_assert_eq!(scan_in_pieces(&stream, &sizes), scan(&stream));
    }

    #[test]
    fn no_stream_makes_the_scanner_panic(stream in proptest::collection::vec(any::<u8>(), 0..2000)) {
        scan(&stream);
    }
}
