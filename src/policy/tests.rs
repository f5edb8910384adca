//! The policy room as a whole: shipped packs, properties of answers, time, reload, and messages.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, LazyLock};

use proptest::prelude::*;

use super::compiled::{Compiled, compile};
use super::explain::{ExplainRequest, explain};
use super::snapshot::{Moment, Setting, Snapshot};
use super::source::Sources;
use super::*;
use crate::config;
use crate::label::class::CLASSES;
use crate::label::{Coverage, DataClass};
use crate::locations::LocationFacts;

/// 2026-11-22, the packs' own date.
const TODAY: i64 = 1_795_305_600;

/// A small world of four packs, so that these tests speak of the machinery and not of the law as it stands.
static WORLD: LazyLock<Arc<Compiled>> =
    LazyLock::new(|| Arc::new(compile(&source().read().unwrap()).unwrap()));

fn source() -> PackSource {
    static FOLDER: LazyLock<tempfile::TempDir> = LazyLock::new(copy_of_packs);
    PackSource::directory(FOLDER.path())
}

fn country(code: &str) -> Country {
    code.parse().unwrap()
}

fn countries(codes: &[&str]) -> CountrySet {
    codes.iter().map(|code| country(code)).collect()
}

fn classes(names: &[&str]) -> ClassSet {
    names.iter().map(|name| name.parse::<DataClass>().unwrap()).collect()
}

fn location(id: &str, code: &str, certifications: &[&str]) -> Arc<LocationFacts> {
    Arc::new(LocationFacts {
        id: id.parse().unwrap(),
        country: country(code),
        region: id.to_owned(),
        provider: "provider".to_owned(),
        provider_country: country(code),
        certifications: certifications.iter().map(|c| (*c).to_owned()).collect(),
        zones: Default::default(),
    })
}

fn world() -> Vec<Arc<LocationFacts>> {
    vec![
        location("cn-north", "CN", &[]),
        location("hk", "HK", &[]),
        location("eu-central", "DE", &["iso27001"]),
        location("us-east", "US", &["dpf"]),
        location("ru-central", "RU", &[]),
        location("br", "BR", &[]),
        location("kz", "KZ", &[]),
    ]
}

fn ciio() -> config::Operator {
    config::Operator { ciio: true, ..config::Operator::default() }
}

fn question<'a>(action: Action, class: &[&str], subjects: &[&str]) -> Question<'a> {
    Question {
        action,
        classes: classes(class),
        subjects: countries(subjects),
        scanned_completely: true,
        bucket: None,
        home: None,
        origin: None,
        held_in: CountrySet::EMPTY,
        reader: None,
        reader_entity: ReaderEntity::Other,
        copies: Default::default(),
    }
}

fn setting(
    locations: Vec<Arc<LocationFacts>>,
    operator: &config::Operator,
    mechanisms: &[config::Mechanism],
) -> Setting {
    Setting {
        locations: locations.into(),
        operator: operator.clone(),
        mechanisms: mechanisms.to_vec(),
        facts: Vec::new(),
    }
}

fn engine(operator: &config::Operator, mechanisms: &[config::Mechanism]) -> Engine {
    let clock = Box::new(|| TODAY);
    Engine::load_with_clock(&source(), setting(world(), operator, mechanisms), clock).unwrap()
}

fn ids(set: &LocationSet) -> Vec<&str> {
    set.iter().map(|place| place.id.as_str()).collect()
}

mod packs {
    use super::*;

    #[test]
    fn a_failing_case_says_what_was_expected_and_what_decided() {
        let folder = copy_of_packs();
        let path = folder.path().join("eu/cases.toml");
        let more = "[[case]]\nname = \"wrong\"\nclasses = [\"personal\"]\nsubjects = [\"DE\"]\nlocation = \"SG\"\nexpect = \"allow\"\n";
        std::fs::write(&path, more).unwrap();
        let report = cases::test(&PackSource::directory(folder.path())).unwrap();
        assert!(!report.passed());
        let text = report.to_string();
        assert!(text.contains("FAILED eu: wrong"), "{text}");
        assert!(text.contains("expected allow, got deny; decided: EU-GDPR-45"), "{text}");
        assert!(text.contains("untested: no passing case has EU-ACCESS decide"), "{text}");
    }

    #[test]
    fn a_case_with_an_unknown_field_is_an_error_with_its_line() {
        let folder = copy_of_packs();
        std::fs::write(folder.path().join("eu/cases.toml"), "\n[[case]]\nname = \"x\"\nexpct = \"allow\"\n")
            .unwrap();
        let error = cases::test(&PackSource::directory(folder.path())).unwrap_err().to_string();
        assert!(error.contains("eu/cases.toml:4:1"), "{error}");
    }
}

mod answers {
    use super::*;

    #[test]
    fn a_permit_is_given_for_an_allowed_location_only() {
        let engine = engine(&ciio(), &[]);
        let decision = engine.decide(&question(Action::Store, &["personal"], &["CN"])).unwrap();
        assert_eq!(ids(decision.allowed()), ["cn-north"]);
        let permit = decision.permit(&"cn-north".parse().unwrap()).unwrap();
        assert_eq!(permit.location().country, country("CN"));
        assert_eq!(permit.obligations(), [Obligation("copy-in:CN".into())]);
        assert!(permit.rules().any(|rule| &*rule.id == "BASE-REGULATED"));
        assert!(decision.permit(&"us-east".parse().unwrap()).is_none());
        assert!(decision.permit(&"nowhere".parse().unwrap()).is_none());
        assert!(decision.read_permit().is_none());
        assert!(decision.refusal().is_none());
        let refusal = decision.refusal_at(&"us-east".parse().unwrap()).unwrap();
        assert_eq!(&*refusal.rule.id, "CN-CSL-39");
        assert!(decision.rules().iter().any(|rule| &*rule.id == "CN-CSL-39"));
    }

    #[test]
    fn a_read_is_permitted_by_a_read_permit_and_never_places_anything() {
        let engine = engine(&config::Operator::default(), &[]);
        let mut read = question(Action::Read, &["personal"], &["DE"]);
        read.reader = Some(country("FR"));
        let decision = engine.decide(&read).unwrap();
        assert!(decision.read_permit().is_some());
        assert!(decision.allowed().is_empty());
        assert!(decision.permit(&"eu-central".parse().unwrap()).is_none());
        read.reader = Some(country("US"));
        let decision = engine.decide(&read).unwrap();
        assert!(decision.read_permit().is_none());
        assert_eq!(&*decision.refusal().unwrap().rule.id, "EU-GDPR-45");
    }

    #[test]
    fn a_refusal_names_every_regime_that_conflicts_with_citation_and_remedy() {
        let engine = engine(&ciio(), &[]);
        let decision = engine.decide(&question(Action::Store, &["personal"], &["CN", "RU", "DE"])).unwrap();
        let refusal = decision.refusal().unwrap();
        for part in
            ["CN-CSL-39", "Art. 39", "RU-152-18-5", "Art. 18(5)", "EU-GDPR-45", "Use a location in RU"]
        {
            assert!(refusal.message.contains(part), "{part} is not in {}", refusal.message);
        }
        assert_eq!(refusal.remedy, refusal.rule.remedy);
    }

    #[test]
    fn without_labels_and_home_the_refusal_says_how_to_label() {
        let engine = engine(&config::Operator::default(), &[]);
        let decision = engine.decide(&question(Action::Store, &[], &[])).unwrap();
        let refusal = decision.refusal().unwrap();
        assert_eq!(&*refusal.rule.id, "BASE-UNLABELLED-HOME");
        assert!(refusal.message.contains("data-class"), "{}", refusal.message);
    }

    #[test]
    fn mechanisms_are_named_where_a_place_depends_on_them_and_nowhere_else() {
        let mut scc = config::Mechanism::of_kind("scc");
        scc.reference = Some("C-17".to_owned());
        let all = [
            scc,
            config::Mechanism::of_kind("tia"),
            config::Mechanism::of_kind("bcr"),
            config::Mechanism::of_kind("pi_certification"),
        ];
        let engine = engine(&config::Operator::default(), &all);
        let decision = engine.decide(&question(Action::Store, &["personal"], &["DE"])).unwrap();
        let used = |id: &str| {
            let permit = decision.permit(&id.parse().unwrap()).unwrap();
            permit.mechanisms().iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(used("eu-central"), Vec::<String>::new());
        assert_eq!(used("us-east"), Vec::<String>::new());
        let hk = used("hk");
        assert_eq!(hk.len(), 2, "{hk:?}");
        assert!(hk.contains(&"tia".to_owned()), "{hk:?}");
    }

    #[test]
    fn any_number_of_locations_is_answered() {
        let mut places: Vec<_> = (0..129).map(|n| location(&format!("us-{n}"), "US", &[])).collect();
        places.push(location("cn", "CN", &[]));
        let clock = Box::new(|| TODAY);
        let engine = Engine::load_with_clock(&source(), setting(places, &ciio(), &[]), clock).unwrap();
        let decision = engine.decide(&question(Action::Store, &["personal"], &["CN"])).unwrap();
        assert_eq!(ids(decision.allowed()), ["cn"]);
        assert_eq!(decision.allowed().len(), 1);
        assert!(decision.permit(&"cn".parse().unwrap()).is_some());
    }

    #[test]
    fn without_any_location_everything_is_refused() {
        let clock = Box::new(|| TODAY);
        let engine = Engine::load_with_clock(&source(), setting(vec![], &ciio(), &[]), clock).unwrap();
        let decision = engine.decide(&question(Action::Store, &["non_personal"], &[])).unwrap();
        assert_eq!(&*decision.refusal().unwrap().rule.id, "BASE-NO-LOCATION");
    }

    #[test]
    fn a_home_that_is_not_configured_is_no_home() {
        let engine = engine(&config::Operator::default(), &[]);
        let (known, unknown) = ("br".parse().unwrap(), "gone".parse().unwrap());
        let mut asked = question(Action::Store, &[], &[]);
        asked.home = Some(&known);
        assert_eq!(ids(engine.decide(&asked).unwrap().allowed()), ["br"]);
        asked.home = Some(&unknown);
        assert!(engine.decide(&asked).unwrap().allowed().is_empty());
    }

    #[test]
    fn words_that_the_schema_does_not_know_are_refused_when_loading() {
        let load =
            |places: Vec<Arc<LocationFacts>>, operator: config::Operator, kind: &str, until: Option<&str>| {
                let mut paper = config::Mechanism::of_kind(kind);
                paper.valid_until = until.map(str::to_owned);
                let clock = Box::new(|| TODAY);
                let error =
                    Engine::load_with_clock(&source(), setting(places, &operator, &[paper]), clock).err();
                error.unwrap().to_string()
            };
        let operator = config::Operator::default;
        let banker = config::Operator { sector: Some("banc".to_owned()), ..operator() };
        assert!(load(world(), operator(), "ssc", None).contains("did you mean `scc`?"));
        assert!(load(world(), operator(), "scc", Some("next year")).contains("not an RFC 3339 date"));
        assert!(load(world(), banker, "scc", None).contains("`banc`"));
        let bad = vec![location("a", "US", &["dfp"])];
        assert!(load(bad, operator(), "scc", None).contains("`dfp` is not a certification"));
        let twice = vec![location("a", "US", &[]), location("a", "CN", &[])];
        assert!(load(twice, operator(), "scc", None).contains("location a appears twice"));
    }
}

mod time_and_reload {
    use super::*;

    #[test]
    fn a_mechanism_stops_counting_at_its_hour_though_its_answer_was_remembered() {
        let now = Arc::new(AtomicI64::new(TODAY));
        let mut paper = config::Mechanism::of_kind("cac_standard_contract");
        paper.valid_until = Some("2026-11-23T12:00:00Z".to_owned());
        let clock = {
            let now = Arc::clone(&now);
            Box::new(move || now.load(Ordering::Relaxed))
        };
        let operator = config::Operator::default();
        let engine =
            Engine::load_with_clock(&source(), setting(world(), &operator, &[paper]), clock).unwrap();
        let asked = question(Action::Store, &["personal"], &["CN"]);
        assert_eq!(engine.decide(&asked).unwrap().allowed().len(), 7);
        now.store(TODAY + 129_599, Ordering::Relaxed);
        assert_eq!(engine.decide(&asked).unwrap().allowed().len(), 7);
        now.store(TODAY + 129_600, Ordering::Relaxed);
        assert_eq!(ids(engine.decide(&asked).unwrap().allowed()), ["cn-north"]);
        // A clock that is set back is believed, but not past the packs' own date.
        now.store(TODAY, Ordering::Relaxed);
        assert_eq!(engine.decide(&asked).unwrap().allowed().len(), 7);
    }

    #[test]
    fn a_clock_before_the_packs_date_takes_no_law_out_of_force() {
        let clock = Box::new(|| 0);
        let operator = config::Operator::default();
        let engine = Engine::load_with_clock(&source(), setting(world(), &operator, &[]), clock).unwrap();
        let decision = engine.decide(&question(Action::Store, &["personal"], &["CN"])).unwrap();
        assert_eq!(ids(decision.allowed()), ["cn-north"]);
    }

    #[test]
    fn a_rule_in_abeyance_does_not_decide_and_a_future_one_decides_from_its_day() {
        let day = |status: &str, date: &str, now: i64| {
            let sources = edited("eu/10-chapter-v.cedar", |text| {
                text.replace(
                    "@effective(\"2018-05-25\")\n@status(\"in_force\")",
                    &format!("@effective(\"{date}\")\n@status(\"{status}\")"),
                )
            });
            let compiled = Arc::new(compile(&sources).unwrap());
            let places = vec![location("sg", "SG", &[])];
            let told = setting(places, &config::Operator::default(), &[]);
            let snapshot = Snapshot::new(compiled, Arc::new(told), Moment::Clock(now)).unwrap();
            let asked = question(Action::Store, &["personal"], &["DE"]);
            snapshot.evaluate(snapshot.key(&asked)).unwrap().is_allowed()
        };
        assert!(!day("in_force", "2018-05-25", TODAY));
        assert!(day("abeyance", "2018-05-25", TODAY));
        assert!(day("future", "2026-11-24", TODAY));
        assert!(!day("future", "2026-11-24", TODAY + 2 * 86_400));
    }

    #[test]
    fn a_reload_takes_effect_whole_or_not_at_all() {
        let operator = config::Operator::default();
        let engine = engine(&operator, &[]);
        let (before, asked) = (engine.policy(), question(Action::Store, &["personal"], &["DE"]));
        assert_eq!(ids(engine.decide(&asked).unwrap().allowed()), ["eu-central", "us-east", "br"]);

        let folder = copy_of_packs();
        let broken = folder.path().join("cn/20-export.cedar");
        let text = std::fs::read_to_string(&broken).unwrap();
        let blocs = folder.path().join("blocs.toml");
        let changed = std::fs::read_to_string(&blocs).unwrap().replace("\"BR\", \"CH\"", "\"CH\"");
        std::fs::write(&blocs, changed).unwrap();
        std::fs::write(&broken, text.replace("Country::\"CN\"", "Country::\"Chnia\"")).unwrap();
        let error = engine
            .reload(&PackSource::directory(folder.path()), setting(world(), &operator, &[]))
            .unwrap_err();
        assert!(error.to_string().contains("Chnia"), "{error}");
        assert_eq!(engine.policy(), before);
        assert_eq!(engine.decide(&asked).unwrap().allowed().len(), 3);

        std::fs::write(&broken, text).unwrap();
        let after =
            engine.reload(&PackSource::directory(folder.path()), setting(world(), &operator, &[])).unwrap();
        assert_ne!(after, before);
        let decision = engine.decide(&asked).unwrap();
        assert_eq!(*decision.policy(), after);
        assert_eq!(ids(decision.allowed()), ["eu-central", "us-east"]);

        // Bad mechanisms are as bad as bad packs.
        assert!(
            engine
                .reload(&source(), setting(world(), &operator, &[config::Mechanism::of_kind("nope")]))
                .is_err()
        );
        assert_eq!(engine.policy(), after);
    }
}

mod checking;

mod explaining;

mod lowering;
mod properties;
mod shipped;

/// The small world with one file changed.
fn edited(path: &str, edit: impl Fn(&str) -> String) -> Sources {
    let mut files = world_files();
    let changed = edit(&files[path]);
    files.insert(path.to_owned(), changed);
    Sources::arrange(String::new(), files).unwrap()
}

/// The packs of the small world, with the shipped schema and lists.
fn world_files() -> BTreeMap<String, String> {
    let sources = PackSource::embedded().read().unwrap();
    let shared = [sources.schema, sources.blocs, sources.sensitive, sources.words];
    let mut files: BTreeMap<String, String> = shared.into_iter().map(|file| (file.path, file.text)).collect();
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/policy/tests/world");
    for pack in std::fs::read_dir(&root).unwrap() {
        for file in std::fs::read_dir(pack.unwrap().path()).unwrap() {
            let path = file.unwrap().path();
            let name = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
            files.insert(name, std::fs::read_to_string(&path).unwrap());
        }
    }
    files
}

fn copy_of_packs() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (path, text) in world_files() {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    folder
}
