use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;
use crate::config;
use crate::label::class::CLASSES;
use crate::locations::LocationFacts;
use crate::names::CountrySet;
use crate::policy::compiled::compile;
use crate::policy::constraint::Constraint;
use crate::policy::key::Key;
use crate::policy::snapshot::{Moment, Snapshot};
use crate::policy::{Action, Copies, Decision, PackSource, Question, ReaderEntity, Setting};

const QUERY: &str = "data.domicile.allow";

/// The packs of one law, over places in three countries.
static WORLD: LazyLock<Snapshot> = LazyLock::new(|| {
    let place = |id: &str, country: &str| {
        Arc::new(LocationFacts {
            id: id.parse().unwrap(),
            country: country.parse().unwrap(),
            region: "r-1".to_owned(),
            provider: "test".to_owned(),
            provider_country: country.parse().unwrap(),
            certifications: Default::default(),
            zones: Default::default(),
        })
    };
    let packs = PackSource { directory: None, packs: vec!["cn".to_owned()] };
    let compiled = Arc::new(compile(&packs.read().unwrap()).unwrap());
    let now = compiled.as_of;
    let setting = Setting {
        locations: Arc::new([place("cn", "CN"), place("de", "DE"), place("us", "US")]),
        operator: config::Operator::default(),
        mechanisms: Vec::new(),
        facts: Vec::new(),
    };
    Snapshot::new(compiled, Arc::new(setting), Moment::AsOf(now)).unwrap()
});

fn rego(body: &str) -> Result<Rego, String> {
    Rego::new(&format!("package domicile\nimport rego.v1\n{body}\n"), QUERY)
}

fn key(action: Action, class: &str, subject: &str) -> Key {
    WORLD.key(&Question {
        action,
        classes: [class.parse().unwrap()].into_iter().collect(),
        subjects: [subject.parse().unwrap()].into_iter().collect(),
        scanned_completely: true,
        bucket: None,
        home: None,
        origin: None,
        held_in: CountrySet::EMPTY,
        reader: (action == Action::Read).then(|| "CN".parse().unwrap()),
        reader_entity: ReaderEntity::Other,
        copies: Copies::MayFollow,
    })
}

fn allowed(decision: &Decision) -> Vec<String> {
    decision.allowed().iter().map(|place| place.id.to_string()).collect()
}

/// Where public data may rest, and by which rule not.
fn under(body: &str) -> (Vec<String>, Vec<String>) {
    let key = key(Action::Store, "non_personal", "CN");
    let packs = WORLD.answer(&key).unwrap();
    assert_eq!(allowed(&packs), ["cn", "de", "us"]);
    let left = Constraint::new(rego(body).unwrap()).narrow(&WORLD, key, packs);
    let ids = left.rules().iter().filter(|rule| &*rule.pack == "rego").map(|rule| rule.id.to_string());
    (allowed(&left), ids.collect())
}

#[test]
fn a_policy_narrows_what_the_packs_allow_to_what_it_allows_too() {
    assert_eq!(under("allow := true"), (vec!["cn".into(), "de".into(), "us".into()], vec![]));
    let (left, rules) = under("default allow := false\nallow if input.target.country in {\"DE\", \"FR\"}");
    assert_eq!((left, rules), (vec!["de".to_owned()], vec!["REGO-DENY".to_owned()]));
    let (left, _) = under("default allow := false\nallow if \"non_personal\" in input.classes");
    assert_eq!(left.len(), 3, "it sees the labels");
}

#[test]
fn whatever_is_not_yes_is_no() {
    let cases = [
        ("allow if input.nothing", "REGO-UNDEFINED"),
        ("allow := \"yes\"", "REGO-ERROR"),
        ("allow := 1", "REGO-ERROR"),
        ("allow := false", "REGO-DENY"),
        ("allow := {\"reason\": \"because\"}", "REGO-ERROR"),
        // Two answers at once, when it is asked about something.
        ("allow := true if input.action\nallow := false if input.action", "REGO-ERROR"),
    ];
    for (body, rule) in cases {
        assert_eq!(under(body), (Vec::new(), vec![rule.to_owned()]), "{body}");
    }
}

#[test]
fn its_reason_is_what_the_client_reads() {
    let key = key(Action::Store, "non_personal", "CN");
    let policy = rego("allow := {\"allow\": false, \"reason\": \"Not before the audit.\"}").unwrap();
    let left = Constraint::new(policy).narrow(&WORLD, key, WORLD.answer(&key).unwrap());
    let refusal = left.refusal().unwrap();
    assert_eq!(&*refusal.rule.id, "REGO-DENY");
    assert!(refusal.message.contains("Not before the audit."), "{}", refusal.message);
    assert_eq!(left.policy(), &WORLD.compiled.hash);
}

#[test]
fn a_policy_that_takes_too_long_refuses_and_is_asked_again() {
    let endless = "allow if {
        input.action == \"Read\"
        some i in numbers.range(1, 9000)
        some j in numbers.range(1, 9000)
        i * j < 0
    }";
    let policy = rego(endless).unwrap();
    let asked = Constraint::new(policy);
    let key = key(Action::Read, "non_personal", "CN");
    let left = asked.narrow(&WORLD, key, WORLD.answer(&key).unwrap());
    assert_eq!(&*left.refusal().unwrap().rule.id, "REGO-TIME");
    let again = asked.narrow(&WORLD, key, WORLD.answer(&key).unwrap());
    assert!(!Arc::ptr_eq(&left, &again), "a failure was remembered");
}

#[test]
fn an_answer_is_remembered_with_the_packs_answer_that_it_narrows() {
    let asked = Constraint::new(rego("allow if input.target.country == \"CN\"").unwrap());
    let key = key(Action::Store, "non_personal", "CN");
    let packs = Arc::new(WORLD.evaluate(key).unwrap());
    let first = asked.narrow(&WORLD, key, Arc::clone(&packs));
    assert!(Arc::ptr_eq(&first, &asked.narrow(&WORLD, key, packs)));
    let other = asked.narrow(&WORLD, key, Arc::new(WORLD.evaluate(key).unwrap()));
    assert!(!Arc::ptr_eq(&first, &other));
    assert_eq!(first, other);
}

#[test]
fn a_policy_that_cannot_be_asked_is_refused_when_it_is_read() {
    assert!(rego("allow if {").is_err());
    let other = Rego::new("package other\nimport rego.v1\nallow := true\n", QUERY).err().unwrap();
    assert!(other.contains("data.domicile.allow"), "{other}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn no_policy_allows_what_the_packs_refuse(
        field in prop::sample::select(vec![
            "input.action", "input.target.country", "input.target.reader_country", "input.classes[_]",
            "input.subjects[_]", "input.first_write", "input.operator.ciio",
        ]),
        value in prop::sample::select(vec!["\"Store\"", "\"CN\"", "\"DE\"", "\"personal\"", "true", "false"]),
        compare in prop::sample::select(vec!["==", "!="]),
        class in prop::sample::select(CLASSES.to_vec()),
        subject in prop::sample::select(vec!["CN", "DE", "RU"]),
        action in prop::sample::select(vec![Action::Store, Action::Replicate, Action::Relocate, Action::Read]),
    ) {
        let key = key(action, class, subject);
        let packs = WORLD.answer(&key).unwrap();
        let policy = rego(&format!("allow if {field} {compare} {value}")).unwrap();
        let left = Constraint::new(policy).narrow(&WORLD, key, Arc::clone(&packs));
        let before = allowed(&packs);
        prop_assert!(allowed(&left).iter().all(|place| before.contains(place)));
        prop_assert!(packs.is_allowed() || !left.is_allowed());
        let duties = packs.obligations();
        prop_assert!(left.obligations().iter().all(|duty| duties.contains(duty)));
    }
}
