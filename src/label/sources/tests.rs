use super::*;
use crate::config::LabelRule;

/// What a test says about an object; the rest is plain.
struct Object<'a> {
    bucket: &'a str,
    key: &'a str,
    app: &'a str,
    content_type: Option<&'a str>,
    tags: &'a [(&'a str, &'a str)],
    bucket_subject: Option<&'a str>,
    client: Option<&'a str>,
}

const PLAIN: Object<'_> = Object {
    bucket: "bucket",
    key: "key",
    app: "app",
    content_type: None,
    tags: &[],
    bucket_subject: None,
    client: None,
};

fn label(rules: &[LabelRule], object: &Object<'_>) -> Result<Labels, LabelError> {
    let config = config::Label { rules: rules.to_vec(), ..Default::default() };
    let tags: Vec<(String, String)> =
        object.tags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let country = |code: Option<&str>| code.map(|code| code.parse().unwrap());
    Labeller::new(&config)?.declared(&Facts {
        bucket: &object.bucket.parse().unwrap(),
        bucket_subject: country(object.bucket_subject),
        key: &object.key.parse().unwrap(),
        app: &object.app.parse().unwrap(),
        content_type: object.content_type,
        tags: &tags,
        client_country: country(object.client),
    })
}

fn tagged(tags: &[(&str, &str)]) -> Result<Labels, LabelError> {
    label(&[], &Object { tags, ..PLAIN })
}

fn rule(conditions: &str) -> LabelRule {
    toml::from_str(&format!("id = 'r'\nclasses = ['personal.health']\n{conditions}")).unwrap()
}

#[test]
fn tags_declare_several_classes_and_countries_at_once() {
    for (classes, countries) in [
        ("personal.health financial", "cn de"),
        ("financial+personal.health", "DE/CN"),
        ("Personal.Health:FINANCIAL", "CN::de"),
    ] {
        let labels = tagged(&[("data-class", classes), ("Subject-Country", countries)]).unwrap();
        assert_eq!(labels.to_string(), "personal.health,financial;CN,DE");
        assert!(labels.evidence.iter().all(|evidence| evidence.source == Source::Tag));
    }
}

#[test]
fn other_tags_label_nothing() {
    let labels = tagged(&[("project", "personal.health"), ("data-classes", "x")]).unwrap();
    assert_eq!(labels, Labels::default());
}

#[test]
fn labels_only_add_up_so_non_personal_takes_nothing_away() {
    let labels = tagged(&[("data-class", "non_personal personal.health")]).unwrap();
    assert_eq!(labels.to_string(), "personal.health,non_personal");
}

#[test]
fn public_is_another_word_for_non_personal_and_the_evidence_says_that_it_was_used() {
    for value in ["public", "Public"] {
        let labels = tagged(&[("data-class", value)]).unwrap();
        assert_eq!(labels.to_string(), "non_personal");
        assert_eq!(labels.evidence[0].detail, "object tag data-class, as public");
    }
    assert_eq!(
        tagged(&[("data-class", "non_personal")]).unwrap().evidence[0].detail,
        "object tag data-class"
    );
    assert!(tagged(&[("subject-country", "public")]).is_err());
    assert!("public".parse::<DataClass>().is_err());
}

#[test]
fn each_suggestion_for_another_word_is_a_class_and_no_such_word_is_one() {
    for (words, classes) in OTHER_WORDS {
        assert!(classes.iter().all(|class| class.parse::<DataClass>().is_ok()), "{classes:?}");
        assert!(words.iter().all(|word| word.parse::<DataClass>().is_err() && *word != PUBLIC), "{words:?}");
    }
}

#[test]
fn an_unknown_class_or_country_is_refused_with_what_was_perhaps_meant() {
    for (tag, value, hint) in [
        ("data-class", "health", "did you mean personal.health"),
        ("data-class", "personal.helth", "did you mean personal.health"),
        ("data-class", "PII", "did you mean personal?"),
        ("data-class", "non-personal", "did you mean non_personal?"),
        ("data-class", "confidential", "did you mean personal or business.content or non_personal?"),
        ("data-class", "publik", "is not a data class"),
        ("data-class", "person", "did you mean personal or financial.personal?"),
        ("data-class", "personal xyzzy", "`xyzzy` is not a data class"),
        ("subject-country", "CHN", "did you mean CH or CN?"),
        ("subject-country", "uk", "did you mean GB?"),
        ("subject-country", "EU", "`EU` is not an ISO 3166-1"),
        ("subject-country", "CN,DE", "is not an ISO 3166-1"),
        ("data-class", " + ", "names nothing"),
        ("data-class", "", "names nothing"),
    ] {
        let error = tagged(&[(tag, value)]).unwrap_err().to_string();
        assert!(error.contains(hint), "{value}: {error}");
    }
}

#[test]
fn a_long_unknown_value_is_cut_short_in_the_message() {
    let error = tagged(&[("data-class", &"ü".repeat(256))]).unwrap_err().to_string();
    assert!(error.chars().count() < 200, "{error}");
}

#[test]
fn a_rule_matches_when_all_its_conditions_hold() {
    let all =
        rule("bucket = 'clinic-*'\nkey = 'scans/*.dcm'\napp = 'pacs'\ncontent-type = 'application/dicom'");
    let fits = Object {
        bucket: "clinic-1",
        key: "scans/a.dcm",
        app: "pacs",
        content_type: Some("Application/DICOM; transfer-syntax=x"),
        ..PLAIN
    };
    let labelled = |object: &Object<'_>| !label(std::slice::from_ref(&all), object).unwrap().is_unlabelled();
    assert!(labelled(&fits));
    assert!(!labelled(&Object { bucket: "shop", ..fits }));
    assert!(!labelled(&Object { key: "scans/old/a.dcm", ..fits }));
    assert!(!labelled(&Object { app: "web", ..fits }));
    assert!(!labelled(&Object { content_type: Some("application/dicom+json"), ..fits }));
    assert!(!labelled(&Object { content_type: None, ..fits }));
}

#[test]
fn a_double_star_crosses_segments_and_a_kind_matches_all_its_types() {
    let deep = rule("key = 'scans/**/*.dcm'");
    for (key, fits) in
        [("scans/a/b/c.dcm", true), ("scans/c.dcm", true), ("other/c.dcm", false), ("scans/a\nb/c.dcm", true)]
    {
        assert_eq!(
            !label(std::slice::from_ref(&deep), &Object { key, ..PLAIN }).unwrap().is_unlabelled(),
            fits,
            "{key:?}"
        );
    }
    let images = rule("content-type = 'image/*'");
    for (content_type, fits) in
        [("image/png", true), ("IMAGE/x;y", true), ("imagex/png", false), ("ima", false)]
    {
        let object = Object { content_type: Some(content_type), ..PLAIN };
        assert_eq!(
            !label(std::slice::from_ref(&images), &object).unwrap().is_unlabelled(),
            fits,
            "{content_type}"
        );
    }
}

#[test]
fn mistakes_in_rules_are_found_at_load() {
    for (conditions, message) in [
        ("key = 'a[b'", "label rule `r`"),
        ("content-type = 'image'", "not a media type"),
        ("content-type = 'image/png; x=y'", "not a media type"),
        ("content-type = '*/*'", "not a media type"),
    ] {
        let error = label(&[rule(conditions)], &PLAIN).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }
    let idle: LabelRule = toml::from_str("id = 'idle'\nbucket = '*'").unwrap();
    assert!(matches!(label(&[idle], &PLAIN), Err(LabelError::Rule(id)) if id == "idle"));
}

#[test]
fn the_bucket_and_then_the_client_name_the_subject_only_by_default() {
    let both = Object { bucket_subject: Some("DE"), client: Some("FR"), ..PLAIN };
    let sources = |labels: Labels| labels.evidence.into_iter().map(|e| e.source).collect::<Vec<_>>();
    assert_eq!(sources(label(&[], &both).unwrap()), [Source::Bucket]);
    assert_eq!(sources(label(&[], &Object { bucket_subject: None, ..both }).unwrap()), [Source::Geo]);

    let by_tag = label(&[], &Object { tags: &[("subject-country", "CN")], ..both }).unwrap();
    assert_eq!(by_tag.to_string(), "unlabelled;CN");
    let by_rule: LabelRule = toml::from_str("id = 'r'\nsubjects = ['IN']").unwrap();
    assert_eq!(label(&[by_rule], &both).unwrap().to_string(), "unlabelled;IN");
}

#[test]
fn a_subject_without_a_class_leaves_an_object_unlabelled() {
    assert!(label(&[], &Object { client: Some("FR"), ..PLAIN }).unwrap().is_unlabelled());
}
