//! What must hold for any question.

use super::*;

/// A random operator with random papers, and one question.
#[derive(Debug, Clone)]
pub(super) struct Scene {
    operator: config::Operator,
    mechanisms: Vec<config::Mechanism>,
    pub(super) classes: ClassSet,
    pub(super) subjects: CountrySet,
    pub(super) held_in: CountrySet,
    pub(super) action: Action,
    pub(super) home: usize,
    pub(super) scanned_completely: bool,
}

const SUBJECTS: [&str; 7] = ["CN", "DE", "RU", "BR", "FR", "HK", "US"];

fn any_classes(least: usize) -> impl Strategy<Value = ClassSet> {
    // The classes that rules name are drawn more often than the others.
    let named = [
        "personal",
        "state.important",
        "state.core",
        "personal.genetic",
        "financial.payment",
        "non_personal",
    ];
    let class = prop_oneof![proptest::sample::select(named.to_vec()), proptest::sample::select(&CLASSES[..])];
    proptest::collection::vec(class, least..3).prop_map(|names| super::classes(&names))
}

fn any_subjects(least: usize) -> impl Strategy<Value = CountrySet> {
    proptest::collection::vec(proptest::sample::select(&SUBJECTS[..]), least..3)
        .prop_map(|codes| super::countries(&codes))
}

fn any_mechanisms() -> impl Strategy<Value = Vec<config::Mechanism>> {
    let words: Vec<String> = WORLD.words.list(WordKind::Mechanism).iter().map(ToString::to_string).collect();
    let one = (proptest::sample::select(words), any_subjects(0), proptest::option::of(any_classes(1)));
    let one = one.prop_map(|(kind, destinations, classes)| config::Mechanism {
        destinations: destinations.iter().collect(),
        classes: classes.iter().flat_map(|set| set.iter()).collect(),
        ..config::Mechanism::of_kind(&kind)
    });
    proptest::collection::vec(one, 0..4)
}

pub(super) fn any_scene(classes: usize, subjects: usize) -> impl Strategy<Value = Scene> {
    let sectors = [None, Some("bank"), Some("health_provider"), Some("automotive")];
    let operator = (any::<(bool, bool, bool)>(), proptest::sample::select(sectors.to_vec()));
    let actions = [Action::Store, Action::Replicate, Action::Relocate];
    (
        operator,
        any_mechanisms(),
        any_classes(classes),
        any_subjects(subjects),
        any_subjects(0),
        proptest::sample::select(actions.to_vec()),
        0..8usize,
        any::<bool>(),
    )
        .prop_map(|((flags, sector), mechanisms, classes, subjects, held_in, action, home, scanned)| {
            Scene {
                operator: config::Operator {
                    sector: sector.map(str::to_owned),
                    ciio: flags.0,
                    public_body: flags.1,
                    pi_volume_processor: flags.2,
                    ..config::Operator::default()
                },
                mechanisms,
                classes,
                subjects,
                held_in,
                action,
                home,
                scanned_completely: scanned,
            }
        })
}

impl Scene {
    pub(super) fn snapshot(&self) -> Snapshot {
        let told = setting(world(), &self.operator, &self.mechanisms);
        Snapshot::new(Arc::clone(&WORLD), Arc::new(told), Moment::Clock(TODAY)).unwrap()
    }

    fn ask(&self, snapshot: &Snapshot) -> Decision {
        let places = world();
        let home = places.get(self.home).map(|place| &place.id);
        snapshot
            .evaluate(snapshot.key(&Question {
                classes: self.classes,
                subjects: self.subjects,
                held_in: self.held_in,
                scanned_completely: self.scanned_completely,
                home,
                ..question(self.action, &[], &[])
            }))
            .unwrap()
    }

    fn allowed(&self, snapshot: &Snapshot) -> BTreeSet<String> {
        ids(self.ask(snapshot).allowed()).into_iter().map(str::to_owned).collect()
    }

    fn read(&self, snapshot: &Snapshot, reader: Option<Country>) -> bool {
        let key = snapshot.key(&Question {
            classes: self.classes,
            subjects: self.subjects,
            held_in: self.held_in,
            scanned_completely: self.scanned_completely,
            reader,
            ..question(Action::Read, &[], &[])
        });
        snapshot.evaluate(key).unwrap().is_allowed()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn another_class_on_a_labelled_object_never_widens_the_answer(scene in any_scene(1, 0), more in any_classes(1)) {
        let snapshot = scene.snapshot();
        let wider = Scene { classes: scene.classes.union(more), ..scene.clone() };
        prop_assert!(wider.allowed(&snapshot).is_subset(&scene.allowed(&snapshot)));
    }

    #[test]
    fn another_subject_beside_a_known_one_never_widens_the_answer(scene in any_scene(0, 1), more in any_subjects(1)) {
        let snapshot = scene.snapshot();
        let wider = Scene { subjects: scene.subjects.union(more), ..scene.clone() };
        prop_assert!(wider.allowed(&snapshot).is_subset(&scene.allowed(&snapshot)));
    }

    #[test]
    fn what_was_scanned_in_part_is_never_freer_than_what_was_scanned_to_its_end(scene in any_scene(0, 0)) {
        let snapshot = scene.snapshot();
        let partial = Scene { scanned_completely: false, ..scene.clone() };
        let complete = Scene { scanned_completely: true, ..scene };
        prop_assert!(partial.allowed(&snapshot).is_subset(&complete.allowed(&snapshot)));
        let us = Some(country("US"));
        prop_assert!(!partial.read(&snapshot, us) || complete.read(&snapshot, us));
    }

    #[test]
    fn an_unknown_reader_is_never_freer_than_a_known_one(scene in any_scene(0, 0), known in 0..Country::COUNT) {
        let snapshot = scene.snapshot();
        let known = Country::all().nth(known);
        prop_assert!(!scene.read(&snapshot, None) || scene.read(&snapshot, known));
    }

    #[test]
    fn what_is_remembered_is_what_would_be_worked_out(scene in any_scene(0, 0)) {
        let snapshot = scene.snapshot();
        let key = snapshot.key(&Question {
            classes: scene.classes,
            subjects: scene.subjects,
            held_in: scene.held_in,
            scanned_completely: scene.scanned_completely,
            ..question(scene.action, &[], &[])
        });
        let first = snapshot.answer(&key).unwrap();
        let second = snapshot.answer(&key).unwrap();
        prop_assert!(Arc::ptr_eq(&first, &second));
        let fresh = snapshot.evaluate(key).unwrap();
        prop_assert_eq!(fresh.verdicts(), second.verdicts());
        prop_assert_eq!(fresh.allowed(), second.allowed());
    }

    #[test]
    fn an_answer_always_has_rules_and_a_refusal_names_a_remedy(scene in any_scene(0, 0)) {
        let decision = scene.ask(&scene.snapshot());
        prop_assert!(!decision.rules().is_empty());
        if let Some(refusal) = decision.refusal() {
            prop_assert!(refusal.message.contains(&*refusal.rule.id) && !refusal.remedy.is_empty());
        }
    }
}

#[test]
fn an_unknown_reader_is_as_free_as_the_least_free_of_all_countries() {
    // A deny-list rule is the trap: "unknown" is on no list.
    let sources = edited("eu/10-chapter-v.cedar", |text| {
        let rule = text.split("// Making data viewable").next().unwrap();
        let annotations = rule.split("forbid (").next().unwrap().replace("EU-GDPR-45", "X-DENY-LIST");
        let deny = "forbid (principal, action == Action::\"Read\", resource)\n\
                    when { context.classes.contains(Class::\"business.content\") && resource.country == Country::\"KP\" };";
        format!("{text}\n{annotations}{deny}\n")
    });
    let told = setting(world(), &config::Operator::default(), &[]);
    let snapshot =
        Snapshot::new(Arc::new(compile(&sources).unwrap()), Arc::new(told), Moment::Clock(TODAY)).unwrap();
    let read = |reader: Option<&str>| {
        let asked = Question {
            reader: reader.map(country),
            ..question(Action::Read, &["business.content"], &["DE"])
        };
        snapshot.evaluate(snapshot.key(&asked)).unwrap().is_allowed()
    };
    assert!(read(Some("US")));
    assert!(!read(Some("KP")));
    assert!(!read(None));
}
