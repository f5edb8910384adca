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
    let told = setting(world(), &config::Operator::default(), &[config::Mechanism::of_kind("scc")]);
    let snapshot = Snapshot::new(Arc::clone(&WORLD), Arc::new(told), Moment::Clock(TODAY)).unwrap();
    assert_eq!(snapshot.slow_rules().unwrap(), Vec::<String>::new());
}

fn with_rules(conditions: &[&str]) -> Arc<Compiled> {
    let sources = edited("eu/10-chapter-v.cedar", |text| {
        let rule = text.split("// Making data viewable").next().unwrap();
        let annotations = rule.split("forbid (").next().unwrap();
        let added = conditions.iter().enumerate().map(|(n, condition)| {
            let id = if n == 0 { "X-ADDED".to_owned() } else { format!("X-ADDED-{n}") };
            let annotations = annotations.replace("EU-GDPR-45", &id);
            format!("{annotations}forbid (principal, action in Action::\"Transfer\", resource)\nwhen {{ {condition} }};\n")
        });
        format!("{text}\n{}", added.collect::<String>())
    });
    Arc::new(compile(&sources).unwrap())
}

fn with_rule(condition: &str) -> Snapshot {
    let told = setting(world(), &config::Operator::default(), &[]);
    Snapshot::new(with_rules(&[condition]), Arc::new(told), Moment::Clock(TODAY)).unwrap()
}

/// What a rule asks of the place and the operator is answered without Cedar, and must be what Cedar says.
#[test]
fn questions_about_the_place_and_the_operator_are_answered_as_cedar_answers_them() {
    let conditions = [
        "resource.country == Country::\"US\"",
        "Country::\"US\" != resource.country",
        "[Country::\"US\", Country::\"DE\"].contains(resource.country)",
        "resource.blocs.contains(Bloc::\"EEA\")",
        "resource.blocs.containsAny([Bloc::\"EEA\", Bloc::\"ru_adequate\"])",
        "resource.blocs.containsAll([Bloc::\"EEA\", Bloc::\"EU\"])",
        "!resource.blocs.isEmpty()",
        "resource is Location",
        "resource is Reader",
        "resource is Reader && resource.sameEntity",
        "resource is Reader && !resource.authority",
        "resource is Location && resource.providerCountry == Country::\"DE\"",
        "resource is Location && [Country::\"BR\", Country::\"DE\"].contains(resource.providerCountry)",
        "resource is Location && resource.providerBlocs.contains(Bloc::\"EU\")",
        "resource is Location && resource.certs.contains(Cert::\"dpf\")",
        "resource is Location && resource.certs.containsAny([Cert::\"dpf\", Cert::\"iso27001\"])",
        "resource is Location && resource.zones.isEmpty() && resource.certs.isEmpty()",
        "resource is Location && resource.region == \"br\"",
        "action == Action::\"Replicate\"",
        "action != Action::\"Read\"",
        "action in [Action::\"AtRest\"]",
        "principal.tags.contains(Tag::\"ciio\")",
        "principal.tags.containsAny([Tag::\"bank\", Tag::\"ciio\"])",
        "principal.tags.containsAll([Tag::\"bank\", Tag::\"ciio\"])",
        "principal.tags.isEmpty()",
        "principal.countries.isEmpty()",
        "principal.countries.contains(resource.country)",
        "principal.countries.containsAny([Country::\"CN\", Country::\"US\"])",
        "principal.countries == [Country::\"CN\"]",
        "principal.countries.containsAny(context.subjects) || principal.sensitiveCounted",
        "principal.people >= 1000",
        "1000 > principal.people",
        "principal.sensitivePeople <= 10",
        "principal.usPersons == 5",
        "principal.dailyAccesses > 9223372036854775806",
        "principal.people < 1000 && (context.labelled || resource.country == Country::\"CN\")",
    ];
    let compiled = with_rules(&conditions);
    let small = config::Operator {
        country: Some(country("CN")),
        sector: Some("bank".to_owned()),
        counts: config::Counts {
            people: Some(999),
            sensitive_people: Some(10),
            us_persons: Some(5),
            ..Default::default()
        },
        ..ciio()
    };
    for operator in [config::Operator::default(), ciio(), small] {
        let told = Arc::new(setting(world(), &operator, &[]));
        let snapshot = Snapshot::new(Arc::clone(&compiled), told, Moment::Clock(TODAY)).unwrap();
        // The one that compares two sets which are both open is Cedar's.
        assert_eq!(snapshot.slow_rules().unwrap(), ["X-ADDED-29"]);
        for (action, reader, reader_entity) in [
            (Action::Store, None, ReaderEntity::Other),
            (Action::Replicate, None, ReaderEntity::Other),
            (Action::Read, Some(country("DE")), ReaderEntity::Same),
            (Action::Read, Some(country("US")), ReaderEntity::Authority),
            (Action::Read, Some(country("KZ")), ReaderEntity::Other),
        ] {
            let asked = Question { reader, reader_entity, ..question(action, &["personal"], &["US"]) };
            let key = snapshot.key(&asked);
            assert_eq!(snapshot.evaluate(key).unwrap(), snapshot.evaluate_by_cedar(key).unwrap());
        }
    }
}

/// A place beyond the 64th is in another word of bits.
#[test]
fn places_beyond_the_first_sixty_four_are_answered_as_cedar_does() {
    let codes = ["CN", "DE", "US", "RU", "BR"];
    let places = (0..70).map(|n| location(&format!("place-{n}"), codes[n % codes.len()], &[]));
    let places: Vec<_> = places.collect();
    let told = setting(
        places.clone(),
        &ciio(),
        &[config::Mechanism::of_kind("scc"), config::Mechanism::of_kind("tia")],
    );
    let snapshot = Snapshot::new(Arc::clone(&WORLD), Arc::new(told), Moment::Clock(TODAY)).unwrap();
    for (class, subjects, home, copies) in [
        (&["personal"][..], &["DE"][..], None, Copies::MayFollow),
        (&["personal"], &["CN", "RU"], None, Copies::Complete),
        (&[], &[], Some(&places[66].id), Copies::MayFollow),
    ] {
        let asked = Question { home, copies, ..question(Action::Store, class, subjects) };
        let key = snapshot.key(&asked);
        assert_eq!(snapshot.evaluate(key).unwrap(), snapshot.evaluate_by_cedar(key).unwrap());
    }
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
