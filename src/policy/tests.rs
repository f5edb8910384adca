//! The policy room as a whole: shipped packs, properties of answers, time, reload, and messages.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, LazyLock};

use proptest::prelude::*;

use super::compiled::{Compiled, compile};
use super::explain::{ExplainRequest, explain};
use super::snapshot::{Setting, Snapshot};
use super::source::Sources;
use super::*;
use crate::config;
use crate::label::class::CLASSES;
use crate::label::{Coverage, DataClass};
use crate::locations::LocationFacts;

/// 2026-11-22, the packs' own date.
const TODAY: i64 = 1_795_305_600;

static SHIPPED: LazyLock<Arc<Compiled>> =
    LazyLock::new(|| Arc::new(compile(&PackSource::embedded().read().unwrap()).unwrap()));

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

fn mechanism(kind: &str) -> config::Mechanism {
    config::Mechanism {
        kind: kind.to_owned(),
        destinations: Vec::new(),
        classes: Vec::new(),
        valid_until: None,
        reference: None,
    }
}

fn ciio() -> config::Operator {
    config::Operator { ciio: true, ..config::Operator::default() }
}

static BUCKET: LazyLock<BucketName> = LazyLock::new(|| "bucket".parse().unwrap());
static APP: LazyLock<AppId> = LazyLock::new(|| "app".parse().unwrap());

fn question<'a>(action: Action, class: &[&str], subjects: &[&str]) -> Question<'a> {
    Question {
        action,
        classes: classes(class),
        subjects: countries(subjects),
        scanned_completely: true,
        bucket: &BUCKET,
        app: &APP,
        home: None,
        origin: None,
        held_in: CountrySet::EMPTY,
        reader: None,
    }
}

fn engine(operator: &config::Operator, mechanisms: &[config::Mechanism]) -> Engine {
    let clock = Box::new(|| TODAY);
    Engine::load_with_clock(PackSource::embedded(), world(), operator, mechanisms, clock).unwrap()
}

fn ids(set: &LocationSet) -> Vec<&str> {
    set.iter().map(|place| place.id.as_str()).collect()
}

mod packs {
    use super::*;

    #[test]
    fn every_case_of_the_shipped_packs_holds_and_every_rule_is_tested() {
        let report = cases::test(&PackSource::embedded()).unwrap();
        assert!(report.passed(), "{report}");
        assert!(report.untested.is_empty(), "{report}");
        assert!(report.results.len() > 100, "{report}");
    }

    #[test]
    fn losing_any_rule_makes_a_case_of_its_pack_fail() {
        let sources = PackSource::embedded().read().unwrap();
        let mut cases = cases::read_cases(&sources).unwrap();
        let mut unnoticed = Vec::new();
        for (index, lost) in SHIPPED.rules.iter().enumerate() {
            let id = lost.rule.id.to_string();
            let mut mutant = Compiled::clone(&SHIPPED);
            mutant.rules.remove(index);
            let mutant = Arc::new(mutant);
            // The cases that name the rule first: most mutants die at once.
            cases.sort_by_key(|(_, case)| !case.rules.contains(&id));
            let mut own = cases.iter().filter(|(pack, _)| **pack == *lost.rule.pack);
            if !own.any(|(_, case)| case.run(&mutant).unwrap().0.is_some()) {
                unnoticed.push(id);
            }
        }
        assert_eq!(unnoticed, Vec::<String>::new());
    }

    #[test]
    fn every_pack_says_that_counsel_must_review_it() {
        for pack in &SHIPPED.packs {
            assert_eq!(pack.review, "Counsel must review this pack before enforcement.");
            assert_eq!(pack.as_of, "2026-11-22");
        }
    }

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
        let mut scc = mechanism("scc");
        scc.reference = Some("C-17".to_owned());
        let all = [scc, mechanism("tia"), mechanism("bcr"), mechanism("pi_certification")];
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
        let engine = Engine::load_with_clock(PackSource::embedded(), places, &ciio(), &[], clock).unwrap();
        let decision = engine.decide(&question(Action::Store, &["personal"], &["CN"])).unwrap();
        assert_eq!(ids(decision.allowed()), ["cn"]);
        assert_eq!(decision.allowed().len(), 1);
        assert!(decision.permit(&"cn".parse().unwrap()).is_some());
    }

    #[test]
    fn without_any_location_everything_is_refused() {
        let clock = Box::new(|| TODAY);
        let engine = Engine::load_with_clock(PackSource::embedded(), vec![], &ciio(), &[], clock).unwrap();
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
                let mut paper = mechanism(kind);
                paper.valid_until = until.map(str::to_owned);
                let clock = Box::new(|| TODAY);
                let error =
                    Engine::load_with_clock(PackSource::embedded(), places, &operator, &[paper], clock).err();
                error.unwrap().to_string()
            };
        let operator = config::Operator::default;
        let banker = config::Operator { sector: Some("banc".to_owned()), ..operator() };
        assert!(load(world(), operator(), "ssc", None).contains("it knows cac_security_assessment"));
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
        let mut paper = mechanism("cac_standard_contract");
        paper.valid_until = Some("2026-11-23T12:00:00Z".to_owned());
        let clock = {
            let now = Arc::clone(&now);
            Box::new(move || now.load(Ordering::Relaxed))
        };
        let operator = config::Operator::default();
        let engine =
            Engine::load_with_clock(PackSource::embedded(), world(), &operator, &[paper], clock).unwrap();
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
        let engine = Engine::load_with_clock(PackSource::embedded(), world(), &operator, &[], clock).unwrap();
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
            let setting = Setting {
                locations: places.into(),
                operator: config::Operator::default(),
                mechanisms: vec![],
            };
            let snapshot = Snapshot::new(compiled, Arc::new(setting), now).unwrap();
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
        let error = engine.reload(PackSource::directory(folder.path()), world(), &operator, &[]).unwrap_err();
        assert!(error.to_string().contains("Chnia"), "{error}");
        assert_eq!(engine.policy(), before);
        assert_eq!(engine.decide(&asked).unwrap().allowed().len(), 3);

        std::fs::write(&broken, text).unwrap();
        let after = engine.reload(PackSource::directory(folder.path()), world(), &operator, &[]).unwrap();
        assert_ne!(after, before);
        let decision = engine.decide(&asked).unwrap();
        assert_eq!(*decision.policy(), after);
        assert_eq!(ids(decision.allowed()), ["eu-central", "us-east"]);

        // Bad mechanisms are as bad as bad packs.
        assert!(engine.reload(PackSource::embedded(), world(), &operator, &[mechanism("nope")]).is_err());
        assert_eq!(engine.policy(), after);
    }
}

mod checking {
    use super::*;

    fn problems(path: &str, edit: impl Fn(&str) -> String) -> String {
        compile(&edited(path, edit)).err().expect("the packs should be refused").to_string()
    }

    #[test]
    fn the_shipped_packs_are_valid() {
        let report = check::check(&PackSource::embedded()).unwrap();
        assert!(report.is_usable());
        let text = report.to_string();
        assert!(text.contains("Counsel must review this pack"), "{text}");
        assert!(text.contains("rules in 4 packs are valid"), "{text}");
    }

    #[test]
    fn mistakes_are_told_with_file_line_column_and_a_suggestion() {
        let eu = "eu/10-chapter-v.cedar";
        for (path, from, to, expected) in [
            (
                eu,
                "context.classes.contains",
                "context.clases.contains",
                &["eu/10-chapter-v.cedar:", "`classes`"][..],
            ),
            (eu, "Bloc::\"EEA\"", "Bloc::\"EAE\"", &["EU-GDPR-45", "EEA"]),
            (eu, "forbid (principal", "forbit (principal", &["eu/10-chapter-v.cedar:16:"]),
            (
                eu,
                "@law(\"GDPR (EU) 2016/679\")\n",
                "",
                &["eu/10-chapter-v.cedar:7:1: EU-GDPR-45: the rule has no @law"],
            ),
            (eu, "@id(\"EU-GDPR-45\")\n", "", &["a rule has no usable @id"]),
            (eu, "\"EU-ACCESS\"", "\"CN-ACCESS\"", &["already used in cn/90-duties.cedar"]),
            (eu, "@confidence(\"high\")", "@confidence(\"sure\")", &["use one of high, medium, low"]),
            (eu, "@status(\"in_force\")", "@status(\"live\")", &["abeyance"]),
            (eu, "@effective(\"2018-05-25\")", "@effective(\"May 2018\")", &["May 2018"]),
            (eu, "record:cross_border_read", "tell somebody", &["copy-in:<country>"]),
            (eu, "@obligation(\"record:cross_border_read\")", "", &["no @obligation"]),
            (eu, "action in Action::\"Transfer\"", "action", &["must name the actions"]),
            (
                eu,
                "forbid (principal, action in Action::\"Transfer\"",
                "permit (principal, action in Action::\"Transfer\"",
                &["only the base pack may permit"],
            ),
            (
                eu,
                "principal, action in",
                "principal == ?principal, action in",
                &["templates are not supported"],
            ),
            (eu, "resource is Location &&", "", &["certs"]),
            (
                eu,
                "context.classes.contains(Class::\"personal\") }\nunless {\n",
                "context.subjects == context.classes }\nunless {\n",
                &["EU-GDPR-45"],
            ),
            ("eu/pack.toml", "\"AT\"", "\"XX\"", &["eu/pack.toml:", "XX"]),
            ("eu/pack.toml", "name = \"eu\"", "name = \"europe\"", &["its folder is `eu`"]),
            ("eu/pack.toml", "2026-11-22", "soon", &["soon"]),
            (
                "blocs.toml",
                "name = \"EEA\"",
                "name = \"EUR\"",
                &["`EUR` is not in the schema", "`EEA` has no list"],
            ),
            ("blocs.toml", "GB = \"2031-12-27\"", "FR = \"2031-12-27\"", &["must be a member"]),
            ("schema.cedarschema", "\"ZM\", \"ZW\"", "\"ZM\"", &["every code of ISO 3166-1"]),
            ("schema.cedarschema", "\"personal.omic\", ", "", &["every data class"]),
            ("schema.cedarschema", "entity Country", "entty Country", &["schema.cedarschema:4:"]),
        ] {
            let found = problems(path, |text| {
                assert!(text.contains(from), "{from} is not in {path}");
                text.replace(from, to)
            });
            for part in expected {
                assert!(found.contains(part), "{path}: {from} -> {to}: {part} is not in\n{found}");
            }
        }
    }

    #[test]
    fn one_mistake_is_told_once() {
        let found = problems("eu/10-chapter-v.cedar", |text| {
            text.replacen("context.subjectBlocs", "context.subjectBlocks", 1)
        });
        assert_eq!(found.matches("subjectBlocks").count(), 1, "{found}");
    }

    #[test]
    fn a_schema_that_this_version_cannot_fill_is_refused_when_loading() {
        let sources = edited("schema.cedarschema", |text| {
            text.replace("atHome: Bool,", "atHome: Bool,\n  moonPhase: Long,")
        });
        let setting = Setting {
            locations: world().into(),
            operator: config::Operator::default(),
            mechanisms: Vec::new(),
        };
        let error =
            Snapshot::new(Arc::new(compile(&sources).unwrap()), Arc::new(setting), TODAY).err().unwrap();
        assert!(matches!(error, PolicyError::Schema(_)), "{error}");
    }

    #[test]
    fn arbitrary_text_in_place_of_a_file_never_panics() {
        let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(24));
        let paths = ["eu/10-chapter-v.cedar", "eu/pack.toml", "blocs.toml", "schema.cedarschema"];
        let text = "[ -~\n\u{e9}]{0,120}";
        runner
            .run(&(text, 0..paths.len()), |(text, n)| {
                let _ = compile(&edited(paths[n], |_| text.clone()));
                Ok(())
            })
            .unwrap();
    }
}

mod explaining {
    use super::*;

    fn request(class: &[&str], subjects: &[&str]) -> ExplainRequest {
        ExplainRequest {
            action: Action::Store,
            classes: classes(class),
            subjects: countries(subjects),
            coverage: Coverage::Complete,
            location: None,
            reader: None,
            home: None,
            held_in: CountrySet::EMPTY,
            operator: None,
            mechanisms: Vec::new(),
        }
    }

    #[test]
    fn a_ciio_is_told_why_its_data_stays_and_what_would_have_to_be_true() {
        let engine = engine(&config::Operator::default(), &[]);
        let mut asked = request(&["personal"], &["CN"]);
        asked.operator = Some(ciio());
        asked.location = Some("us-east".parse().unwrap());
        let explanation = explain(&engine, &asked).unwrap();
        let place = &explanation.places[0];
        assert!(!place.allowed);
        assert_eq!(place.rules[0].id, "CN-CSL-39");
        assert_eq!(place.would_be_allowed_with[0].mechanisms, ["cac_security_assessment"]);
        assert_eq!(place.would_be_allowed_with[0].copies_in, ["CN"]);
        assert_eq!(explanation.allowed, ["cn-north (CN)"]);
        let text = explanation.to_string();
        for part in ["us-east (US): refused", "CN-CSL-39 (Cybersecurity Law", "Allowed: cn-north (CN)."] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
        let json = serde_json::to_value(&explanation).unwrap();
        assert_eq!(json["places"][0]["rules"][0]["confidence"], "high");
    }

    #[test]
    fn what_is_said_to_help_does_help() {
        let engine = engine(&config::Operator::default(), &[]);
        let mut asked = request(&["personal"], &["DE", "CN"]);
        asked.location = Some("hk".parse().unwrap());
        let explanation = explain(&engine, &asked).unwrap();
        let ways = &explanation.places[0].would_be_allowed_with;
        assert!(!ways.is_empty());
        for way in ways {
            let mut with = asked.clone();
            with.mechanisms = way.mechanisms.iter().map(|kind| mechanism(kind)).collect();
            with.held_in = way.copies_in.iter().map(|code| country(code)).collect();
            assert!(explain(&engine, &with).unwrap().places[0].allowed, "{way}");
        }
    }

    #[test]
    fn nothing_is_promised_where_no_mechanism_helps() {
        let engine = engine(&config::Operator::default(), &[]);
        let mut asked = request(&["state.core"], &["CN"]);
        asked.location = Some("us-east".parse().unwrap());
        let explanation = explain(&engine, &asked).unwrap();
        assert!(explanation.places[0].would_be_allowed_with.is_empty());
        assert!(explanation.to_string().contains("confidence in this reading is medium"), "{explanation}");
    }

    #[test]
    fn a_read_is_explained_for_known_and_unknown_readers() {
        let engine = engine(&config::Operator::default(), &[]);
        let mut asked = request(&["personal"], &["RU"]);
        asked.action = Action::Read;
        asked.held_in = countries(&["RU"]);
        let text = explain(&engine, &asked).unwrap().to_string();
        assert!(text.contains("a reader in an unknown country: refused"), "{text}");
        asked.reader = Some(country("KZ"));
        let text = explain(&engine, &asked).unwrap().to_string();
        assert!(text.contains("`rkn_notification_id` and `recipient_assessment` in force"), "{text}");
    }

    #[test]
    fn a_location_that_is_not_configured_is_an_error() {
        let engine = engine(&config::Operator::default(), &[]);
        let mut asked = request(&["personal"], &["CN"]);
        asked.location = Some("mars".parse().unwrap());
        assert!(matches!(explain(&engine, &asked), Err(PolicyError::UnknownLocation(_))));
    }
}

mod properties {
    use super::*;

    /// A random operator with random papers, and one question.
    #[derive(Debug, Clone)]
    struct Scene {
        operator: config::Operator,
        mechanisms: Vec<config::Mechanism>,
        classes: ClassSet,
        subjects: CountrySet,
        held_in: CountrySet,
        action: Action,
        home: usize,
        scanned_completely: bool,
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
        let class =
            prop_oneof![proptest::sample::select(named.to_vec()), proptest::sample::select(&CLASSES[..])];
        proptest::collection::vec(class, least..3).prop_map(|names| super::classes(&names))
    }

    fn any_subjects(least: usize) -> impl Strategy<Value = CountrySet> {
        proptest::collection::vec(proptest::sample::select(&SUBJECTS[..]), least..3)
            .prop_map(|codes| super::countries(&codes))
    }

    fn any_mechanisms() -> impl Strategy<Value = Vec<config::Mechanism>> {
        let words: Vec<String> = SHIPPED.words.mechanisms.iter().map(ToString::to_string).collect();
        let one = (proptest::sample::select(words), any_subjects(0), proptest::option::of(any_classes(1)));
        let one = one.prop_map(|(kind, destinations, classes)| config::Mechanism {
            destinations: destinations.iter().collect(),
            classes: classes.iter().flat_map(|set| set.iter()).collect(),
            ..mechanism(&kind)
        });
        proptest::collection::vec(one, 0..4)
    }

    fn any_scene(classes: usize, subjects: usize) -> impl Strategy<Value = Scene> {
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
            .prop_map(
                |((flags, sector), mechanisms, classes, subjects, held_in, action, home, scanned)| Scene {
                    operator: config::Operator {
                        country: None,
                        sector: sector.map(str::to_owned),
                        ciio: flags.0,
                        public_body: flags.1,
                        pi_volume_processor: flags.2,
                    },
                    mechanisms,
                    classes,
                    subjects,
                    held_in,
                    action,
                    home,
                    scanned_completely: scanned,
                },
            )
    }

    impl Scene {
        fn snapshot(&self) -> Snapshot {
            let setting = Setting {
                locations: world().into(),
                operator: self.operator.clone(),
                mechanisms: self.mechanisms.clone(),
            };
            Snapshot::new(Arc::clone(&SHIPPED), Arc::new(setting), TODAY).unwrap()
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
            let first = snapshot.answer(key).unwrap();
            let second = snapshot.answer(key).unwrap();
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
        let setting = Setting {
            locations: world().into(),
            operator: config::Operator::default(),
            mechanisms: Vec::new(),
        };
        let snapshot = Snapshot::new(Arc::new(compile(&sources).unwrap()), Arc::new(setting), TODAY).unwrap();
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
}

/// The shipped sources with one file changed.
fn edited(path: &str, edit: impl Fn(&str) -> String) -> Sources {
    let mut files = shipped_files();
    let changed = edit(&files[path]);
    files.insert(path.to_owned(), changed);
    Sources::arrange(String::new(), files).unwrap()
}

fn shipped_files() -> BTreeMap<String, String> {
    let sources = PackSource::embedded().read().unwrap();
    let mut files = BTreeMap::new();
    let packs = sources
        .packs
        .into_iter()
        .flat_map(|pack| std::iter::once(pack.manifest).chain(pack.policies).chain(pack.cases));
    for file in packs.chain([sources.schema, sources.blocs]) {
        files.insert(file.path, file.text);
    }
    files
}

fn copy_of_packs() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (path, text) in shipped_files() {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    folder
}
