//! What `policy explain` says.

use super::*;

fn request(class: &[&str], subjects: &[&str]) -> ExplainRequest {
    ExplainRequest {
        action: Action::Store,
        classes: classes(class),
        subjects: countries(subjects),
        coverage: Coverage::Complete,
        bucket: None,
        location: None,
        reader: None,
        reader_entity: ReaderEntity::Other,
        home: None,
        held_in: CountrySet::EMPTY,
        operator: None,
        mechanisms: Vec::new(),
        as_of: None,
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
        with.mechanisms = way.mechanisms.iter().map(|kind| config::Mechanism::of_kind(kind)).collect();
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

#[test]
fn what_is_allowed_names_the_prohibitions_that_bind_and_are_met() {
    let engine = engine(&config::Operator::default(), &[config::Mechanism::of_kind("cac_standard_contract")]);
    let mut asked = request(&["personal"], &["CN"]);
    asked.location = Some("us-east".parse().unwrap());
    let explanation = explain(&engine, &asked).unwrap();
    let place = &explanation.places[0];
    assert!(place.allowed, "{explanation}");
    assert!(place.met.iter().any(|rule| rule.id == "CN-PIPL-38"), "{explanation}");
    assert!(explanation.to_string().contains("Binds and is met: CN-PIPL-38 ("), "{explanation}");
    assert_eq!(place.mechanisms, ["cac_standard_contract"]);
}

#[test]
fn a_refusal_names_the_exceptions_of_its_rule_and_the_nearest_allowed_place() {
    let engine = engine(&config::Operator::default(), &[]);
    let mut asked = request(&["personal"], &["DE"]);
    asked.location = Some("hk".parse().unwrap());
    let explanation = explain(&engine, &asked).unwrap();
    let rule = &explanation.places[0].rules[0];
    assert_eq!(rule.id, "EU-GDPR-45");
    assert_eq!(rule.unless[0], "resource.blocs.contains(Bloc::\"EEA\")", "{explanation}");
    assert_eq!(explanation.nearest[0].place, "eu-central (DE)");
    assert_eq!(explanation.nearest[0].because, "a country that the data is about");
}

#[test]
fn a_rule_that_refuses_many_places_is_told_once_and_named_for_each() {
    let engine = engine(&config::Operator::default(), &[]);
    let text = explain(&engine, &request(&["personal"], &["CN"])).unwrap().to_string();
    assert_eq!(text.matches("Remedy: ").count(), 1, "{text}");
    assert!(text.matches("CN-PIPL-38 (").count() > 3, "{text}");
    assert!(text.contains(", as above"), "{text}");
}

#[test]
fn default_deny_says_which_condition_of_each_permit_is_missing() {
    // Without the prohibitions that usually answer first.
    let sources = edited("base/10-base.cedar", |text| {
        text.split("// Unlabelled data rests nowhere").next().unwrap().to_owned()
    });
    let compiled = Arc::new(compile(&sources).unwrap());
    let scenarios = super::super::explain::Scenarios::new(compiled, None).unwrap();
    let scenario: super::super::scenario::Scenario = serde_json::from_str(
        r#"{"id": "nobody", "classes": ["personal"], "action": "Store", "target": {"country": "DE"}}"#,
    )
    .unwrap();
    let explanation = scenarios.explain(&scenario).unwrap();
    let missing = &explanation.places[0].missing_permits;
    assert_eq!(explanation.places[0].rules[0].id, "BASE-DEFAULT-DENY");
    let regulated = missing.iter().find(|permit| permit.id == "BASE-REGULATED").unwrap();
    assert_eq!(regulated.lacks, ["!context.subjects.isEmpty()"], "{explanation}");
}

#[test]
fn a_scenario_that_is_refused_is_told_the_countries_that_would_do() {
    let scenarios = super::super::explain::Scenarios::new(Arc::clone(&WORLD), None).unwrap();
    let scenario: super::super::scenario::Scenario = serde_json::from_str(
        r#"{"id": "de-1", "classes": ["personal"], "subjects": ["DE"], "action": "Store", "target": {"country": "US"}}"#,
    )
    .unwrap();
    let explanation = scenarios.explain(&scenario).unwrap();
    assert!(!explanation.places[0].allowed);
    assert_eq!(explanation.nearest[0].place, "DE");
    assert_eq!(explanation.nearest[1].because, "in EU with a country that the data is about");
    let ways = &explanation.places[0].would_be_allowed_with;
    assert_eq!(ways[0].mechanisms, ["public_instrument"], "{explanation}");
    assert!(explanation.to_string().starts_with("scenario de-1\n"), "{explanation}");
}

#[test]
fn a_place_where_the_law_wants_a_copy_elsewhere_is_refused_as_a_write_is() {
    let folder = copy_of_packs();
    let rule = r#"
// People in Germany have a copy of what is personal in Germany.
@id("DE-COPY-COMMIT")
@law("Test Act")
@article("Art. 1")
@effective("2020-01-01")
@status("in_force")
@confidence("high")
@explain("Personal data about people in Germany has a copy in Germany.")
@remedy("Keep a copy in a location in DE.")
forbid (principal, action == Action::"Commit", resource)
when { context.subjects.contains(Country::"DE") }
unless { resource.country == Country::"DE" || context.heldIn.contains(Country::"DE") };
"#;
    std::fs::write(folder.path().join("eu/60-commit.cedar"), rule).unwrap();
    let clock = Box::new(|| TODAY);
    let setting = setting(world(), &config::Operator::default(), &[config::Mechanism::of_kind("scc")]);
    let engine = Engine::load_with_clock(&PackSource::directory(folder.path()), setting, clock).unwrap();

    let mut asked = request(&["personal"], &["DE"]);
    asked.location = Some("us-east".parse().unwrap());
    let explanation = explain(&engine, &asked).unwrap();
    let place = &explanation.places[0];
    assert!(!place.allowed, "{explanation}");
    assert_eq!(place.rules[0].id, "DE-COPY-COMMIT");
    assert_eq!(place.would_be_allowed_with.len(), 1, "{explanation}");
    assert_eq!(place.would_be_allowed_with[0].copies_in, ["DE"], "{explanation}");
    assert!(place.would_be_allowed_with[0].mechanisms.is_empty(), "{explanation}");
    asked.held_in = countries(&["DE"]);
    assert!(explain(&engine, &asked).unwrap().places[0].allowed);
}
