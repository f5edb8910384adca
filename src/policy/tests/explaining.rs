//! What `policy explain` says.

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
