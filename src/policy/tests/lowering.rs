//! The lowered rules against Cedar's own authorizer.

use super::properties::{Scene, any_scene};
use super::*;

fn reading(scene: &Scene, reader: Option<Country>) -> Question<'static> {
    Question {
        classes: scene.classes,
        subjects: scene.subjects,
        held_in: scene.held_in,
        scanned_completely: scene.scanned_completely,
        reader,
        ..question(Action::Read, &[], &[])
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn the_lowered_rules_answer_as_cedar_does(scene in any_scene(0, 0), reader in 0..Country::COUNT) {
        let snapshot = scene.snapshot();
        let places = world();
        let storing = Question {
            home: places.get(scene.home).map(|place| &place.id),
            ..reading(&scene, None)
        };
        let storing = snapshot.key(&Question { action: scene.action, ..storing });
        prop_assert_eq!(snapshot.evaluate(storing).unwrap(), snapshot.evaluate_by_cedar(storing).unwrap());
        for reader in [None, Country::all().nth(reader)] {
            let read = snapshot.key(&reading(&scene, reader));
            prop_assert_eq!(snapshot.evaluate(read).unwrap(), snapshot.evaluate_by_cedar(read).unwrap());
        }
    }
}

/// Random questions hardly ever meet a rule's own ground; the packs' cases do, one for each rule at least.
#[test]
fn every_case_of_the_packs_is_answered_as_cedar_does() {
    let sources = source().read().unwrap();
    for (pack, case) in cases::read_cases(&sources).unwrap() {
        let (snapshot, key) = case.question(&WORLD).unwrap().unwrap();
        assert_eq!(
            snapshot.evaluate(key).unwrap(),
            snapshot.evaluate_by_cedar(key).unwrap(),
            "{pack}: {}",
            case.name
        );
    }
}

#[test]
fn nothing_in_the_packs_is_left_to_cedar() {
    let told = setting(world(), &config::Operator::default(), &[mechanism("scc")]);
    let snapshot = Snapshot::new(Arc::clone(&WORLD), Arc::new(told), Moment::Clock(TODAY)).unwrap();
    assert_eq!(snapshot.slow_rules().unwrap(), Vec::<String>::new());
}

fn with_rule(condition: &str) -> Snapshot {
    let sources = edited("eu/10-chapter-v.cedar", |text| {
        let rule = text.split("// Making data viewable").next().unwrap();
        let annotations = rule.split("forbid (").next().unwrap().replace("EU-GDPR-45", "X-ADDED");
        format!(
            "{text}\n{annotations}forbid (principal, action in Action::\"Transfer\", resource)\nwhen {{ {condition} }};\n"
        )
    });
    let told = setting(world(), &config::Operator::default(), &[]);
    Snapshot::new(Arc::new(compile(&sources).unwrap()), Arc::new(told), Moment::Clock(TODAY)).unwrap()
}

#[test]
fn sets_and_places_are_compared_as_cedar_compares_them() {
    for condition in [
        "context.subjects.contains(resource.country)",
        "context.subjects == [resource.country]",
        "[resource.country].containsAll(context.subjects)",
        "context.subjects.containsAll([resource.country])",
        "context.subjects.containsAny([Country::\"CN\", Country::\"US\"])",
        "[Country::\"CN\", Country::\"DE\"].containsAll(context.subjects)",
        "context.subjects != [Country::\"CN\"]",
        "context.classes.containsAny([Class::\"personal.health\", Class::\"state.core\"])",
        "[Class::\"personal\", Class::\"personal.health\"].containsAll(context.classes)",
        "context.subjectBlocs.containsAny([Bloc::\"EEA\", Bloc::\"ru_adequate\"])",
        "!(context.heldIn.isEmpty() || context.heldIn.contains(resource.country))",
        "action == Action::\"Replicate\" && context.labelled",
    ] {
        let snapshot = with_rule(condition);
        assert_eq!(snapshot.slow_rules().unwrap(), Vec::<String>::new(), "{condition}");
        for action in [Action::Store, Action::Replicate] {
            for subjects in [&[][..], &["CN"], &["US"], &["DE", "CN"], &["BR"]] {
                for class in [&["personal"][..], &["personal.health"], &["non_personal"], &[]] {
                    let asked = Question { held_in: countries(&["US"]), ..question(action, class, subjects) };
                    let key = snapshot.key(&asked);
                    assert_eq!(
                        snapshot.evaluate(key).unwrap(),
                        snapshot.evaluate_by_cedar(key).unwrap(),
                        "{condition} {subjects:?} {class:?}"
                    );
                }
            }
        }
    }
}

#[test]
fn what_has_no_exact_form_is_answered_by_cedar_and_named() {
    for condition in [
        "context.mechanisms.isEmpty()",
        "resource.blocs == context.subjectBlocs",
        "if context.labelled then resource.country == Country::\"US\" else false",
    ] {
        let snapshot = with_rule(condition);
        assert_eq!(snapshot.slow_rules().unwrap(), ["X-ADDED"], "{condition}");
        for subjects in [&["CN"][..], &["DE"], &["BR"]] {
            let key = snapshot.key(&question(Action::Store, &["personal"], subjects));
            assert_eq!(
                snapshot.evaluate(key).unwrap(),
                snapshot.evaluate_by_cedar(key).unwrap(),
                "{condition} {subjects:?}"
            );
        }
    }
}
