use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::label::ClassSet;
use crate::log::DecisionFacts;
use crate::names::CountrySet;

#[test]
fn a_full_entry_has_the_bytes_that_the_format_prescribes() {
    let bytes = encode(&full_draft(), &stamp()).unwrap();
    assert_eq!(
        String::from_utf8(bytes).unwrap(),
        concat!(
            r#"{"cmt":"AwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwM","dec":{"effect":"allow","#,
            r#""mechanisms":["scc"],"obligations":["copy-in:RU"],"rules":["cn.pipl.40"]},"ev":"write","#,
            r#""from":[{"country":"DE","location":"eu-1","region":"eu-central-1"}],"#,
            r#""lbl":["personal","personal.health"],"n":"AgICAgICAgICAgICAgICAg","node":"gw-1","#,
            r#""oid":"AQEBAQEBAQEBAQEBAQEBAQ","pol":"abc","prev":7,"req":"r-1","sub":["CN","DE"],"#,
            r#""t":1790000000123,"to":[{"country":"CN","location":"cn-1","region":"cn-north-1"}],"v":1,"#,
            r#""xfer":"BAQEBAQEBAQEBAQEBAQEBA"}"#
        )
    );
}

#[test]
fn what_is_absent_is_left_out() {
    let draft = EntryDraft::new(Event::Heartbeat, cc("CN"));
    let stamp = Stamp { commitment: None, previous: None, ..stamp() };
    let text = String::from_utf8(encode(&draft, &stamp).unwrap()).unwrap();
    assert_eq!(
        text,
        r#"{"ev":"heartbeat","n":"AgICAgICAgICAgICAgICAg","node":"gw-1","t":1790000000123,"v":1}"#
    );
}

#[test]
fn an_entry_reads_back_as_what_was_written() {
    let entry = Entry::parse(&encode(&full_draft(), &stamp()).unwrap()).unwrap();
    assert_eq!(entry.event, Event::Write);
    assert_eq!(entry.object, Some(ObjectId([1; 16])));
    assert_eq!(entry.commitment, Some([3; 32]));
    assert_eq!(entry.transfer, Some([4; 16]));
    assert_eq!(entry.previous, Some(7));
    assert_eq!(entry.classes, ["personal", "personal.health"]);
    assert_eq!(entry.subjects, [cc("CN"), cc("DE")]);
    assert_eq!(entry.from, full_draft().from);
    assert_eq!(entry.to, full_draft().to);
    assert_eq!(entry.rules, ["cn.pipl.40"]);
}

#[test]
fn every_event_word_parses_back_to_itself() {
    for event in Event::ALL {
        assert_eq!(event.word().parse(), Ok(*event));
    }
    assert!("writ".parse::<Event>().is_err());
}

#[test]
fn no_name_shows_in_an_entry() {
    let mut draft = full_draft();
    draft.sealed = facts();
    let text = String::from_utf8(encode(&draft, &stamp()).unwrap()).unwrap();
    for name in ["secret-", "198.51.100.7"] {
        assert!(!text.contains(name), "{name}");
    }
}

#[test]
fn a_long_list_of_rules_is_cut_and_says_how_much() {
    let mut draft = full_draft();
    draft.decision.rules = (0..1000).map(|n| format!("rule-{n}")).collect();
    let entry = Entry::parse(&encode(&draft, &stamp()).unwrap()).unwrap();
    assert_eq!(entry.rules.len(), MAX_LIST);
    assert_eq!(entry.rules.last().unwrap(), "and 937 more");
}

#[test]
fn a_long_request_id_is_cut_at_a_character() {
    let mut draft = full_draft();
    draft.request = "é".repeat(5000);
    let entry = Entry::parse(&encode(&draft, &stamp()).unwrap()).unwrap();
    assert!(entry.request.len() <= MAX_TEXT_BYTES && entry.request.ends_with('…'));
}

#[test]
fn an_entry_that_no_bundle_can_hold_is_refused() {
    let mut draft = full_draft();
    draft.decision.rules = vec!["\u{1}".repeat(MAX_TEXT_BYTES); MAX_LIST];
    assert!(matches!(encode(&draft, &stamp()), Err(EntryError::TooLong(length)) if length > MAX_BYTES));
    draft = full_draft();
    draft.to = vec![draft.to[0].clone(); MAX_LIST + 1];
    assert_eq!(encode(&draft, &stamp()), Err(EntryError::TooManyPlaces(MAX_LIST + 1)));
}

#[test]
fn a_broken_entry_is_refused_with_its_reason() {
    let good = String::from_utf8(encode(&full_draft(), &stamp()).unwrap()).unwrap();
    let parse = |text: String| Entry::parse(text.as_bytes());
    assert_eq!(parse(good[1..].to_owned()), Err(EntryError::Malformed));
    assert_eq!(parse(good.replace("\"v\":1", "\"v\":2")), Err(EntryError::Version(2)));
    assert_eq!(parse(good.replace("\"write\"", "\"wrote\"")), Err(EntryError::Field("ev")));
    assert_eq!(parse(good.replace("AQEB", "AQ")), Err(EntryError::Field("oid")));
}

#[test]
fn a_commitment_is_over_the_salt_and_the_canonical_facts() {
    let opening = Opening { salt: [5; 32], facts: facts() };
    let mut committed = vec![5; 32];
    committed.extend_from_slice(
        concat!(
            r#"{"address":"198.51.100.7","approver":"secret-approver","author":"secret-author","#,
            r#""bucket":"secret-bucket","etag":"secret-etag","key":"secret-key","#,
            r#""principal":"secret-principal","reason":"secret-reason","version":"secret-version"}"#
        )
        .as_bytes(),
    );
    assert_eq!(opening.commitment(), digest::digest(&digest::SHA256, &committed).as_ref());
    assert_eq!(opening.to_bytes(), committed);
    assert_eq!(Opening::from_bytes(&committed).unwrap(), opening);
}

#[test]
fn two_openings_of_the_same_names_commit_differently() {
    let [one, two] = [Opening::new(facts()).unwrap(), Opening::new(facts()).unwrap()];
    assert_ne!(one.commitment(), two.commitment());
}

proptest! {
    #[test]
    fn the_bytes_equal_those_of_an_independent_canonical_writer(
        request in any::<String>(), rules in prop::collection::vec(any::<String>(), 0..5),
        effect in "allow|deny|", previous in prop::option::of(0u64..1 << 40), time in 0u64..1 << 48,
    ) {
        let mut draft = full_draft();
        draft.request = request;
        draft.decision = DecisionFacts { effect, rules, ..DecisionFacts::default() };
        let bytes = encode(&draft, &Stamp { previous, time, ..stamp() }).unwrap();
        let value: Value = serde_json::from_slice(&bytes).unwrap();
        prop_assert_eq!(&serde_json::to_vec(&Sorted::from(value)).unwrap(), &bytes);
        prop_assert!(Entry::parse(&bytes).is_ok());
    }

    #[test]
    fn openings_survive_any_text(key in any::<String>(), principal in prop::option::of(any::<String>())) {
        let opening = Opening { salt: [9; 32], facts: SealedFacts { key: Some(key), principal, ..facts() } };
        prop_assert_eq!(Opening::from_bytes(&opening.to_bytes()), Ok(opening));
    }

    #[test]
    fn arbitrary_bytes_never_panic_the_reader(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = Entry::parse(&bytes);
        let _ = Opening::from_bytes(&bytes);
    }
}

/// A value whose objects are sorted whatever `serde_json` was built with.
#[derive(serde::Serialize)]
#[serde(untagged)]
enum Sorted {
    Object(BTreeMap<String, Sorted>),
    List(Vec<Sorted>),
    Leaf(Value),
}

impl From<Value> for Sorted {
    fn from(value: Value) -> Self {
        match value {
            Value::Object(map) => {
                Sorted::Object(map.into_iter().map(|(key, value)| (key, value.into())).collect())
            }
            Value::Array(list) => Sorted::List(list.into_iter().map(Into::into).collect()),
            leaf => Sorted::Leaf(leaf),
        }
    }
}

fn cc(code: &str) -> Country {
    code.parse().unwrap()
}

fn stamp() -> Stamp<'static> {
    Stamp {
        node: "gw-1",
        time: 1_790_000_000_123,
        nonce: [2; 16],
        commitment: Some([3; 32]),
        previous: Some(7),
    }
}

fn full_draft() -> EntryDraft {
    let place = |location: &str, country, region: &str| Place {
        location: location.to_owned(),
        country: cc(country),
        region: region.to_owned(),
    };
    EntryDraft {
        object: Some(ObjectId([1; 16])),
        classes: ClassSet::from_iter(["personal.health", "personal"].map(|name| name.parse().unwrap())),
        subjects: CountrySet::from_iter([cc("DE"), cc("CN")]),
        decision: DecisionFacts {
            effect: "allow".to_owned(),
            rules: vec!["cn.pipl.40".to_owned()],
            obligations: vec!["copy-in:RU".to_owned()],
            mechanisms: vec!["scc".to_owned()],
            policy: "abc".to_owned(),
        },
        from: vec![place("eu-1", "DE", "eu-central-1")],
        to: vec![place("cn-1", "CN", "cn-north-1")],
        transfer: Some([4; 16]),
        request: "r-1".to_owned(),
        ..EntryDraft::new(Event::Write, cc("CN"))
    }
}

fn facts() -> SealedFacts {
    SealedFacts {
        bucket: Some("secret-bucket".to_owned()),
        key: Some("secret-key".to_owned()),
        version: Some("secret-version".to_owned()),
        etag: Some("secret-etag".to_owned()),
        principal: Some("secret-principal".to_owned()),
        address: Some("198.51.100.7".to_owned()),
        author: Some("secret-author".to_owned()),
        approver: Some("secret-approver".to_owned()),
        reason: Some("secret-reason".to_owned()),
    }
}
