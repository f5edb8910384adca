//! The prover against Cedar, the shipped invariants, and a witness for every shipped gate.

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};

use cedar_policy::PolicyId;

use super::prover::{Prover, applicable};
use super::witness::Witness;
use super::*;
use crate::config;
use crate::label::DataClass;
use crate::names::LocationId;
use crate::policy::Action;
use crate::policy::asking::Asking;
use crate::policy::check;
use crate::policy::compiled::Compiled;
use crate::policy::impact;

static SHIPPED: LazyLock<Arc<Compiled>> =
    LazyLock::new(|| Arc::new(compile(&PackSource::embedded().read().unwrap()).unwrap()));

fn shipped() -> Prover<'static> {
    Prover::new(&SHIPPED, SHIPPED.as_of, &SHIPPED.invariants, &[])
}

fn invariant(text: &str) -> Invariant {
    parse(text, &SHIPPED.schema).unwrap_or_else(|problems| panic!("{problems:?}")).remove(0)
}

#[test]
fn every_rule_of_the_packs_has_an_exact_form() {
    assert_eq!(shipped().view.opaque, Vec::<String>::new());
}

#[test]
fn every_shipped_invariant_holds_and_breaks_when_its_rules_are_taken_away() {
    let mut prover = shipped();
    let invariants = applicable(&SHIPPED);
    assert!(invariants.len() >= 15);
    for invariant in invariants {
        let mut without = BTreeSet::new();
        let mut rounds = 0;
        loop {
            let proof = prover.prove_without(&invariant, &without).unwrap();
            let Outcome::Proved { by } = &proof.outcome else {
                // The prover has put the example to Cedar.
                assert!(matches!(proof.outcome, Outcome::Refuted(_)), "{proof}");
                assert!(rounds > 0, "{proof}");
                break;
            };
            rounds += 1;
            if by.is_empty() {
                assert!(UNPERMITTED.contains(&&*invariant.name), "{proof}");
                break;
            }
            assert!(rounds < 12, "{proof} without {without:?}");
            let position = |id: &String| SHIPPED.rules.iter().position(|rule| *rule.rule.id == **id).unwrap();
            without.extend(by.iter().map(position));
        }
    }
}

/// Gates that never decide alone: others say the same and more.
const SHADOWED: &[(&str, &str)] = &[
    ("BASE-UNSCANNED", "no rule permits it either; the rule is there to be named"),
    ("BASE-SUBJECT-UNKNOWN", "no rule permits it either; the rule is there to be named"),
    ("CN-PIPL-38", "the provisions of CAC Order 16 spell out its grounds, by numbers of people"),
    ("CN-CBDF-8", "CN-PIPL-38 asks for the same grounds; it is there to name the band of numbers"),
    ("CN-DSL-31", "CN-CBDF-7 says the same of important data"),
    ("CN-PIPL-41", "CN-DSL-36 says the same of all data"),
    ("CN-HEALTH-2018", "CN-HEALTH-2014 says the same"),
    ("EU-ACCESS", "a read is a transfer: EU-GDPR-45; it is there to name the guidance on remote access"),
    ("GB-ACCESS", "a read is a transfer: GB-UKGDPR-45A"),
    ("KR-ACCESS", "a read is a transfer: KR-PIPA-28-8"),
    ("RU-ACCESS", "a read is a transfer: RU-152-12"),
    ("VN-D53-26-DOM-MOVE", "VN-CSL116-25-3-MOVE took its place and says the same"),
    ("VN-D53-26-DOM-COMMIT", "VN-CSL116-25-3-COMMIT took its place and says the same"),
];

/// Invariants that need no prohibition, because no permit is as wide.
const UNPERMITTED: [&str; 2] = ["unlabelled-unscanned-nowhere", "unknown-subject-nowhere"];

#[test]
fn every_gate_in_force_has_a_question_that_it_alone_decides() {
    let mut prover = shipped();
    let base = |index: &usize| SHIPPED.rules.get(*index).is_some_and(|rule| *rule.rule.pack == *"base");
    let mut shadowed = Vec::new();
    for index in prover.gates() {
        let id = SHIPPED.rules[index].rule.id.to_string();
        let witness: Witness = match prover.decides_alone(index) {
            Ok(witness) => witness,
            Err(before) => {
                shadowed.push((id, before));
                continue;
            }
        };
        let (snapshot, key) = witness.question(&SHIPPED).unwrap();
        let (allowed, rules) = snapshot.gate_by_cedar(&key).unwrap();
        let ids: Vec<&str> = rules.iter().map(|rule| &*rule.id).collect();
        assert!(!allowed && ids == [id.as_str()], "{id}: {allowed} {ids:?}: {witness}");
        // Its lowered form says what Cedar says.
        let others = (0..SHIPPED.rules.len()).filter(|n| *n != index && !base(n)).collect();
        let (alone, alone_key) = witness.question(&Arc::new(SHIPPED.without(&others))).unwrap();
        assert_eq!(
            alone.evaluate(alone_key).unwrap(),
            alone.evaluate_by_cedar(alone_key).unwrap(),
            "{id}: {witness}"
        );
        // Without the rule the answer changes.
        let sets = &snapshot.oracle().unwrap().sets;
        let (target, home) = snapshot.only_place(&key).unwrap();
        let kinds = snapshot.mechanisms_for(&key, target.country);
        let mut rest = if key.action == Action::Commit { sets.commits.clone() } else { sets.gates.clone() };
        rest.remove_static(PolicyId::new(&id)).unwrap();
        let allowed = match key.action {
            Action::Commit => !snapshot.satisfies(&key, &rest).unwrap(),
            _ => Asking::new(&snapshot, &key).allowed_by(&rest, target, &kinds, home).unwrap(),
        };
        assert!(allowed, "{id}: {witness}");
    }
    let known: Vec<&str> = SHADOWED.iter().map(|(id, _)| *id).collect();
    let found: Vec<&str> = shadowed.iter().map(|(id, _)| id.as_str()).collect();
    assert_eq!(found, known, "{shadowed:#?}");
}

#[test]
fn the_prover_and_cedar_agree_on_random_questions() {
    let mut prover = shipped();
    let allowed = prover.view.allowed(&mut prover.world);
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    for round in 0..60 {
        let world = &prover.world;
        let pools = [
            &world.stated,
            &world.subjects,
            &world.collected_in,
            &world.held_in,
            &world.key_countries,
            &world.mechanisms,
            &world.attrs,
            &world.tags,
            &world.established,
            &world.place,
        ];
        let mut assumed = Vec::new();
        for pool in pools {
            if random(3) > 0 {
                assumed.push(pool[random(pool.len())]);
            }
        }
        for flag in [world.scanned, world.at_home, world.same_entity, world.authority] {
            if random(3) == 0 {
                assumed.push(flag);
            }
        }
        for wanted in [allowed, !allowed] {
            assumed.push(wanted);
            if let Some(witness) = prover.world.any_example(&assumed, SHIPPED.as_of) {
                let (snapshot, key) = witness.question(&SHIPPED).unwrap();
                let by_cedar = snapshot.gate_by_cedar(&key).unwrap().0;
                assert_eq!(by_cedar, wanted == allowed, "round {round}: {witness}");
            }
            assumed.pop();
        }
    }
}

#[test]
fn a_false_claim_is_refuted_with_an_example_that_holds_nothing_needless() {
    let claim = invariant(
        "[[invariant]]\nname = \"x\"\nsays = \"x\"\nnever = \"allow\"\naction = \"Store\"\n\
         when = 'context.subjects.contains(Country::\"DE\") && context.classes.contains(Class::\"personal\")'\n\
         place = 'resource.country == Country::\"SG\"'",
    );
    let mut prover = Prover::new(&SHIPPED, SHIPPED.as_of, std::slice::from_ref(&claim), &[]);
    let proof = prover.prove(&claim).unwrap();
    let Outcome::Refuted(example) = &proof.outcome else { panic!("{proof}") };
    assert_eq!(example.scenario["subjects"], serde_json::json!(["DE"]), "{proof}");
    assert_eq!(example.scenario["target"]["country"], "SG", "{proof}");
    assert_eq!(example.scenario["operator"]["tags"], serde_json::json!([]), "{proof}");
    assert!(example.scenario.get("held_in").is_none(), "{proof}");
    assert!(proof.to_string().contains("about people of DE to a location in SG"), "{proof}");
}

#[test]
fn an_invariant_with_a_mistake_is_refused_by_name() {
    let head = "[[invariant]]\nname = \"x\"\nsays = \"x\"\nnever = \"allow\"\n";
    for (rest, wanted) in [
        ("action = \"Fly\"\nwhen = 'true'", "`Fly` is not an action"),
        ("action = \"Store\"\nwhen = 'context.clases.isEmpty()'", "clases"),
        ("action = \"Store\"\nwhen = 'resource.country == Country::\"XX\"'", "XX"),
        ("action = \"Store\"\nwhen = 'context.labelled &&'", "invariant `x`"),
    ] {
        let problems = parse(&format!("{head}{rest}"), &SHIPPED.schema).unwrap_err();
        assert!(problems.iter().any(|problem| problem.message.contains(wanted)), "{problems:?}");
    }
}

/// The base pack and that of Uzbekistan, with one file edited.
fn folder(edit: impl Fn(&str, String) -> String) -> tempfile::TempDir {
    let sources = PackSource { directory: None, packs: vec!["uz".to_owned()] }.read().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let shared = [sources.schema, sources.blocs, sources.sensitive, sources.words];
    let packs = sources.packs.into_iter();
    let packs = packs.flat_map(|pack| pack.policies.into_iter().chain(pack.cases).chain([pack.manifest]));
    for file in shared.into_iter().chain(sources.invariants).chain(packs) {
        let path = folder.path().join(&file.path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, edit(&file.path, file.text)).unwrap();
    }
    folder
}

fn unchanged() -> tempfile::TempDir {
    folder(|_, text| text)
}

const RESIDENCY: &str = "uz/10-residency.cedar";

/// A weakened copy: banks may take biometrics abroad.
fn weakened() -> tempfile::TempDir {
    folder(|path, text| match path {
        RESIDENCY => text.replacen(
            "resource.country == Country::\"UZ\"",
            "(resource.country == Country::\"UZ\" || principal.tags.contains(Tag::\"bank\"))",
            1,
        ),
        _ => text,
    })
}

/// One more rule in the pack of Uzbekistan.
fn with_rule(condition: &str) -> tempfile::TempDir {
    with_rule_on(Action::Store, condition)
}

fn with_rule_on(action: Action, condition: &str) -> tempfile::TempDir {
    folder(|path, text| match path {
        RESIDENCY => {
            let head = text.split("forbid (").next().unwrap().replace("\"UZ-PDL-27-1\"", "\"X-ADDED\"");
            let rule = format!(
                "forbid (principal, action == Action::\"{}\", resource)\nwhen {{ {condition} }};\n",
                action.name()
            );
            format!("{text}\n{head}{rule}")
        }
        _ => text,
    })
}

fn at(folder: &tempfile::TempDir) -> PackSource {
    PackSource::directory(folder.path())
}

#[test]
fn a_weakened_pack_is_refuted_with_the_hole_as_its_example() {
    let report = prove(&at(&weakened()), None, None, &[]).unwrap();
    let failed: Vec<&Proof> = report.proofs.iter().filter(|proof| !proof.holds()).collect();
    let [proof] = failed.as_slice() else { panic!("{report}") };
    let Outcome::Refuted(example) = &proof.outcome else { panic!("{proof}") };
    assert_eq!(proof.name, "uz-biometrics-stay");
    assert_eq!(example.scenario["operator"]["tags"], serde_json::json!(["bank"]), "{proof}");
    // The line is one that `policy decide` allows.
    let line = example.scenario.to_string();
    let mut out = Vec::new();
    crate::policy::table::decide(&at(&weakened()), None, line.as_bytes(), &mut out, &mut Vec::new()).unwrap();
    let answer: serde_json::Value = serde_json::from_slice(&out).unwrap();
    assert_ne!(answer["decision"], "deny", "{answer}");
    assert!(prove(&at(&unchanged()), None, None, &[]).unwrap().all_hold());
}

#[test]
fn a_base_pack_that_permits_too_much_is_refuted() {
    let wide = folder(|_, text| {
        let text = text.replace("context.regulated && !context.subjects.isEmpty() }", "context.regulated }");
        text.replace("context.subjects.isEmpty() }", "context.subjects.isEmpty() && context.firstWrite }")
    });
    let report = prove(&at(&wide), None, None, &[]).unwrap();
    let failed = report.proofs.iter().filter(|proof| !proof.holds());
    let failed: Vec<&str> = failed.map(|proof| proof.name.as_str()).collect();
    assert_eq!(failed, UNPERMITTED, "{report}");
}

fn one_location(code: &str) -> crate::policy::Setting {
    let country: crate::names::Country = code.parse().unwrap();
    crate::policy::Setting {
        locations: vec![Arc::new(LocationFacts {
            id: "here".parse().unwrap(),
            country,
            region: "here".to_owned(),
            provider: "provider".to_owned(),
            provider_country: country,
            certifications: Default::default(),
            zones: Default::default(),
        })]
        .into(),
        operator: Default::default(),
        mechanisms: Vec::new(),
        facts: Vec::new(),
    }
}

#[test]
fn a_set_that_breaks_an_invariant_is_not_loaded_and_leaves_the_old_one_in_force() {
    let clock = || Box::new(|| 1_795_305_600_i64);
    let load = |folder: &tempfile::TempDir, code| {
        crate::policy::Engine::load_with_clock(&at(folder), one_location(code), clock())
    };
    let (good, weak) = (unchanged(), weakened());
    let engine = load(&good, "DE").unwrap();
    let before = engine.policy();
    let error = engine.reload(&at(&weak), one_location("DE")).unwrap_err();
    assert!(matches!(&error, PolicyError::Unproved(text) if text.contains("uz-biometrics-stay")), "{error}");
    assert_eq!(engine.policy(), before);
    assert!(load(&weak, "DE").is_err());
    // Where nothing can rest abroad, nothing is broken.
    assert!(load(&weak, "UZ").is_ok());
}

fn compare(old: &tempfile::TempDir, new: &tempfile::TempDir) -> diff::Report {
    let (old, new) = (at(old), at(new));
    diff::diff(&diff::Asked { old: &old, new: &new, as_of: None, tables: &[], places: &[] }).unwrap()
}

#[test]
fn a_diff_shows_what_an_edit_opens_and_what_it_closes() {
    let (good, weak) = (unchanged(), weakened());
    let same = compare(&good, &good);
    assert_eq!(same.verdict(), diff::Verdict::Same, "{same}");
    let opened = compare(&good, &weak);
    assert_eq!(opened.verdict(), diff::Verdict::Looser, "{opened}");
    assert!(opened.changes.iter().all(|change| change.effect == diff::Effect::NewlyAllowed), "{opened}");
    assert_eq!(opened.changes[0].rules, ["UZ-PDL-27-1"], "{opened}");
    let closed = compare(&weak, &good);
    assert_eq!(closed.verdict(), diff::Verdict::Stricter, "{closed}");
    assert!(closed.changes.iter().all(|change| change.effect == diff::Effect::NewlyRefused), "{closed}");
}

#[test]
fn a_diff_shows_duties_that_go_and_cases_that_are_decided_otherwise() {
    let less = folder(|path, text| match path.starts_with("uz/") && path.ends_with("50-grounds.cedar") {
        true => text,
        false => text.replace("\"UZ-PDL-27-1-X\")", "\"UZ-PDL-27-1-Y\")"),
    });
    let renamed = compare(&unchanged(), &less);
    // Another name for a rule decides nothing otherwise.
    assert_eq!(renamed.verdict(), diff::Verdict::Same, "{renamed}");
    let stricter = with_rule("context.classes.contains(Class::\"personal\")");
    let report = compare(&unchanged(), &stricter);
    assert_eq!(report.verdict(), diff::Verdict::Stricter, "{report}");
    assert!(!report.decisions.is_empty(), "{report}");
    assert!(report.decisions.iter().all(|change| change.new == "deny"), "{report}");
}

fn remarks(condition: &str) -> String {
    let report = check::check_for(&at(&with_rule(condition)), check::Depth::Deep, None).unwrap();
    assert!(report.is_usable(), "{report}");
    let of_rule = report.remarks.0.iter().filter(|remark| remark.rule.as_deref() == Some("X-ADDED"));
    of_rule.map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_check_remarks_on_rules_that_cannot_be_meant() {
    for (condition, expected) in [
        ("context.labelled && context.classes.isEmpty()", "can make this rule hold"),
        (
            "context.classes.contains(Class::\"personal\") && context.subjects.isEmpty()",
            "is permitted by any",
        ),
        (
            "context.under.contains(Country::\"UZ\") && context.classes.contains(Class::\"personal.biometric\") && resource.country == Country::\"DE\"",
            "other rules refuse too: UZ-PDL-27-1",
        ),
        ("context.subjects == [Country::\"UZ\"]", "one country more"),
    ] {
        let text = remarks(condition);
        assert!(text.contains(expected) && text.contains("uz/10-residency.cedar:"), "{condition}: {text}");
    }
    assert_eq!(remarks("context.classes.contains(Class::\"personal\")"), "");
}

#[test]
fn a_check_remarks_on_papers_that_ended_and_places_that_are_of_no_use() {
    let now = 1_795_305_600;
    let mut setting = one_location("UZ");
    for (kind, valid_until) in [("scc", Some("2025-06-30")), ("consent", Some("2099-06-30")), ("bcr", None)] {
        let valid_until = valid_until.map(str::to_owned);
        setting.mechanisms.push(config::Mechanism { valid_until, ..config::Mechanism::of_kind(kind) });
    }
    let remarks = |condition: &str| {
        let folder = with_rule(condition);
        let report = check::check_for(&at(&folder), check::Depth::Quick, Some((&setting, now))).unwrap();
        let remarks = report.remarks.0.iter().filter(|remark| remark.file == "configuration");
        remarks.map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    let ended = "the mechanism `scc` has expired: it was valid until 2025-06-30";
    let text = remarks("context.classes.contains(Class::\"state.core\")");
    assert!(text.ends_with(ended) && text.lines().count() == 1, "{text}");
    // What may be stored beside a copy abroad alone is never stored by a gateway that keeps one.
    let text = remarks("resource.country == Country::\"UZ\" && !context.heldIn.contains(Country::\"KZ\")");
    let of_no_use = "no personal or designated data of any country may ever be stored at the location here";
    assert!(text.contains(ended) && text.ends_with(of_no_use), "{text}");
}

#[test]
fn a_rule_that_calculates_is_refused() {
    let folder = with_rule("principal.people * 2 > 10");
    let problems = compile(&at(&folder).read().unwrap()).err().unwrap().to_string();
    assert!(problems.contains("X-ADDED: the rule calculates"), "{problems}");
}

#[test]
fn an_edit_is_told_by_the_objects_that_it_would_move() {
    let new = with_rule("resource.country == Country::\"UZ\" && context.labelled");
    let (de, uz): (LocationId, LocationId) = ("de".parse().unwrap(), "uz".parse().unwrap());
    let impact = impact_of(
        &new,
        &[
            (&uz, "non_personal", None),
            (&uz, "personal.biometric", Some("UZ")),
            (&de, "personal.biometric", Some("UZ")),
            (&de, "non_personal", None),
        ],
    );
    let one = impact::Amount { objects: 1, bytes: GIB };
    assert_eq!(impact.stay, one, "{impact}");
    assert_eq!(impact.out_of_place_already, one, "{impact}");
    let [moved] = impact.moves.as_slice() else { panic!("{impact}") };
    assert_eq!((&moved.from, &moved.to, moved.amount), (&uz, &de, one));
    let [homeless] = impact.nowhere.as_slice() else { panic!("{impact}") };
    assert_eq!((&homeless.at, homeless.amount), (&uz, one));
    assert_eq!(impact.cost, Some(0.09));
}

#[test]
fn an_object_that_the_law_wants_a_copy_of_elsewhere_does_not_stay_as_the_only_one() {
    let copy_in_uz = "resource.country != Country::\"UZ\" && !context.heldIn.contains(Country::\"UZ\")";
    let new = with_rule_on(Action::Commit, copy_in_uz);
    let (de, uz): (LocationId, LocationId) = ("de".parse().unwrap(), "uz".parse().unwrap());
    let impact = impact_of(&new, &[(&de, "non_personal", None)]);
    let [moved] = impact.moves.as_slice() else { panic!("{impact}") };
    assert_eq!((&moved.from, &moved.to), (&de, &uz));
}

const GIB: u64 = 1 << 30;

/// What an edit means for objects of one GiB each, in Germany and Uzbekistan: where, of which class, about whom.
fn impact_of(new: &tempfile::TempDir, objects: &[(&LocationId, &str, Option<&str>)]) -> impact::Impact {
    let home = |code: &str| {
        let facts = one_location(code).locations.first().map(|facts| (**facts).clone()).unwrap();
        Arc::new(LocationFacts { id: code.to_lowercase().parse().unwrap(), ..facts })
    };
    let setting =
        crate::policy::Setting { locations: vec![home("DE"), home("UZ")].into(), ..one_location("DE") };
    let mut counting = impact::Counting::new(&at(&unchanged()), &at(new), setting, 1_795_305_600).unwrap();
    for (location, class, subject) in objects {
        let object = impact::Object {
            bucket: &"bucket".parse().unwrap(),
            home: None,
            location,
            classes: [class.parse::<DataClass>().unwrap()].into_iter().collect(),
            subjects: subject.iter().map(|code| code.parse().unwrap()).collect(),
            scanned_completely: true,
            size: GIB,
        };
        counting.add(&object).unwrap();
    }
    counting.finish(Some(0.09))
}
