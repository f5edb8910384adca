//! What `policy check` says about broken packs.

use super::*;

fn problems(path: &str, edit: impl Fn(&str) -> String) -> String {
    compile(&edited(path, edit)).err().expect("the packs should be refused").to_string()
}

#[test]
fn the_shipped_packs_are_valid() {
    let report = check::check(&source()).unwrap();
    assert!(report.is_usable());
    let text = report.to_string();
    assert!(text.contains("Counsel must review this pack"), "{text}");
    assert!(text.contains("rules in 4 packs are valid"), "{text}");
    assert!(text.contains("    3 permits, 4 gates. Counsel must review"), "{text}");
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
        (eu, "forbid (principal", "forbit (principal", &["eu/10-chapter-v.cedar:15:1:"]),
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
        (eu, "record:cross_border_read", "tell somebody", &["copy-in:<country or @bloc>"]),
        (eu, "@obligation(\"record:cross_border_read\")", "", &["no @obligation"]),
        (eu, "action in Action::\"Transfer\"", "action", &["must name the actions"]),
        (
            eu,
            "forbid (principal, action in Action::\"Transfer\"",
            "permit (principal, action in Action::\"Transfer\"",
            &["only the base pack may permit"],
        ),
        (eu, "principal, action in", "principal == ?principal, action in", &["templates are not supported"]),
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
        ("schema.cedarschema", "entity Country", "entty Country", &["schema.cedarschema:7:1:"]),
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
fn a_mistake_in_the_cases_is_told_too() {
    let folder = copy_of_packs();
    std::fs::write(folder.path().join("ru/cases.toml"), "[[case]]\nname = 7\n").unwrap();
    let report = check::check(&PackSource::directory(folder.path())).unwrap();
    assert!(!report.is_usable());
    assert!(report.to_string().contains("ru/cases.toml:2:8"), "{report}");
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
    let told = setting(world(), &config::Operator::default(), &[]);
    let error = Snapshot::new(Arc::new(compile(&sources).unwrap()), Arc::new(told), Moment::Clock(TODAY))
        .err()
        .unwrap();
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
