//! What is said about an object rather than found in it: tags, rules, the bucket, the client's place.
//!
//! A source that names something unknown is refused, never skipped: a misspelt class must not leave
//! an object unlabelled.

mod rules;

use rules::Rule;

use super::class::CLASSES;
use super::{DataClass, Evidence, Label, Labels, Source};
use crate::config;
use crate::names::{AppId, BucketName, Country, ObjectKey};

/// The object tag that declares data classes.
pub const CLASS_TAG: &str = "data-class";
/// Another word for `non_personal` in that tag: what people call such data. No rule and no configuration knows it.
const PUBLIC: &str = "public";
/// The object tag that declares subject countries.
pub const SUBJECT_TAG: &str = "subject-country";

/// Why an object's labels, or the rules for them, cannot be read.
///
/// [`LabelError::Rule`], [`LabelError::RuleGlob`] and [`LabelError::RuleContentType`] are mistakes of the configuration.
/// All others are mistakes of a request, for the client as `InvalidTag`; they quote its tags, so they belong in
/// no log. Mistakes of the header itself are [`crate::s3::tagging::TaggingError`].
#[derive(Debug, thiserror::Error)]
pub enum LabelError {
    #[error("tag {CLASS_TAG}: `{value}` is not a data class{}", did_you_mean(.near))]
    UnknownClass { value: String, near: Vec<&'static str> },
    #[error(
        "tag {SUBJECT_TAG}: `{value}` is not an ISO 3166-1 alpha-2 country code{}",
        did_you_mean(.near)
    )]
    UnknownCountry { value: String, near: Vec<&'static str> },
    #[error("tag {0} names nothing: give it a value or leave it out")]
    EmptyTag(&'static str),
    #[error("label rule `{0}` adds nothing: give it classes or subjects")]
    Rule(String),
    #[error("label rule `{rule}`: {source}")]
    RuleGlob { rule: String, source: globset::Error },
    #[error("label rule `{rule}`: `{value}` is not a media type without parameters, or `type/*`")]
    RuleContentType { rule: String, value: String },
}

/// What is known about an object before its content is. Not printable: it is made of names.
#[derive(Clone, Copy)]
pub struct Facts<'a> {
    pub bucket: &'a BucketName,
    /// The country that the bucket's `LocationConstraint` declares.
    pub bucket_subject: Option<Country>,
    pub key: &'a ObjectKey,
    pub app: &'a AppId,
    pub content_type: Option<&'a str>,
    /// The object's own tags, as key and value.
    pub tags: &'a [(String, String)],
    pub client_country: Option<Country>,
}

/// Labels objects by what is said about them.
#[derive(Debug)]
pub struct Labeller {
    rules: Vec<Rule>,
}

impl Labeller {
    pub fn new(config: &config::Label) -> Result<Labeller, LabelError> {
        Ok(Labeller { rules: config.rules.iter().map(Rule::new).collect::<Result<_, _>>()? })
    }

    /// The labels that these tags give by themselves.
    pub fn tagged(&self, tags: &[(String, String)]) -> Result<Labels, LabelError> {
        let mut labels = Labels::default();
        for (key, value) in tags {
            add_tag(&mut labels, key, value)?;
        }
        Ok(labels)
    }

    /// The labels that tags, rules, bucket and client give, in this order. The bucket's country, or else the client's, is
    /// a default for "whom it is about": it counts only where no tag and no rule named a country.
    pub fn declared(&self, facts: &Facts<'_>) -> Result<Labels, LabelError> {
        let mut labels = self.tagged(facts.tags)?;
        for rule in self.rules.iter().filter(|rule| rule.matches(facts)) {
            rule.add_to(&mut labels);
        }
        if labels.subjects.is_empty() {
            let bucket = facts.bucket_subject.map(|country| Evidence {
                source: Source::Bucket,
                label: Label::Subject(country),
                detail: "the bucket's LocationConstraint".to_owned(),
            });
            let client = facts.client_country.map(|country| Evidence {
                source: Source::Geo,
                label: Label::Subject(country),
                detail: "the country of the client's address".to_owned(),
            });
            if let Some(default) = bucket.or(client) {
                labels.add(default);
            }
        }
        Ok(labels)
    }
}

/// Tag keys are compared without regard to case: S3 would keep `Data-Class` as another tag, and whoever wrote
/// it meant this one.
fn add_tag(labels: &mut Labels, key: &str, value: &str) -> Result<(), LabelError> {
    let tag = if key.eq_ignore_ascii_case(CLASS_TAG) {
        CLASS_TAG
    } else if key.eq_ignore_ascii_case(SUBJECT_TAG) {
        SUBJECT_TAG
    } else {
        return Ok(());
    };
    // Of the characters that S3 allows in a tag's value, those that no class and no country has.
    let mut names = value.split([' ', '+', '/', ':']).filter(|name| !name.is_empty()).peekable();
    if names.peek().is_none() {
        return Err(LabelError::EmptyTag(tag));
    }
    for name in names {
        let label = if tag == CLASS_TAG { parse_class(name) } else { parse_country(name) }?;
        let detail = if tag == CLASS_TAG && name.eq_ignore_ascii_case(PUBLIC) {
            format!("object tag {tag}, as {PUBLIC}")
        } else {
            format!("object tag {tag}")
        };
        labels.add(Evidence { source: Source::Tag, label, detail });
    }
    Ok(())
}

fn parse_class(text: &str) -> Result<Label, LabelError> {
    const NON_PERSONAL: DataClass = DataClass::known("non_personal");
    let lower = text.to_ascii_lowercase();
    if lower == PUBLIC {
        return Ok(Label::Class(NON_PERSONAL));
    }
    lower
        .parse::<DataClass>()
        .map(Label::Class)
        .map_err(|_| LabelError::UnknownClass { value: shorten(text), near: classes_near(&lower) })
}

fn parse_country(text: &str) -> Result<Label, LabelError> {
    let upper = text.to_ascii_uppercase();
    upper
        .parse::<Country>()
        .map(Label::Subject)
        .map_err(|_| LabelError::UnknownCountry { value: shorten(text), near: countries_near(&upper) })
}

const MOST_SUGGESTIONS: usize = 3;

/// Classes that other words for them suggest; otherwise those of which the whole name, or its last part, is at most two
/// edits away.
fn classes_near(text: &str) -> Vec<&'static str> {
    if text.len() > 64 {
        return Vec::new();
    }
    if let Some((_, classes)) = OTHER_WORDS.iter().find(|(words, _)| words.contains(&text)) {
        return classes.to_vec();
    }
    let mut near: Vec<(usize, &str)> = CLASSES
        .iter()
        .filter_map(|class| {
            let leaf = class.rsplit('.').next().unwrap_or(class);
            let edits = edits_between(text, class).min(edits_between(text, leaf));
            (edits <= 2).then_some((edits, *class))
        })
        .collect();
    near.sort_by_key(|(edits, _)| *edits);
    near.into_iter().take(MOST_SUGGESTIONS).map(|(_, class)| class).collect()
}

/// Words in use for what the taxonomy calls otherwise. They are no names of classes: most say less, or something else
/// (how secret data is), and whoever wrote one must choose.
const OTHER_WORDS: [(&[&str], &[&str]); 10] = [
    (&["pii", "pi", "personal_data", "personal-data", "gdpr", "pipl"], &["personal"]),
    (&["phi", "medical", "patient", "hipaa"], &["personal.health"]),
    (&["ssn", "passport", "id_card", "national_id", "nid"], &["personal.gov_id"]),
    (&["gps", "geolocation"], &["personal.location", "personal.location_precise"]),
    (&["child", "children", "minor", "minors"], &["personal.child"]),
    (&["pci", "pan", "card", "cardholder", "payment_card"], &["financial.payment"]),
    (&["bank", "bank_account", "banking", "iban", "salary"], &["financial.personal"]),
    (&["accounting", "invoice", "invoices"], &["business.accounting"]),
    (
        &["open", "opendata", "open_data", "anonymous", "anonymised", "anonymized", "unclassified", "none"],
        &["non_personal"],
    ),
    (&["internal", "confidential", "secret", "private"], &["personal", "business.content", "non_personal"]),
];

/// Alpha-2 codes that share the first letter and whose second one follows: `CHN` could be `CH` or `CN`.
fn countries_near(text: &str) -> Vec<&'static str> {
    if text == "UK" {
        return vec!["GB"];
    }
    let mut letters = text.bytes();
    let first = letters.next();
    let rest: Vec<u8> = letters.take(2).collect();
    let fits = |code: &&str| {
        let mut code = code.bytes();
        code.next() == first && code.next().is_some_and(|second| rest.contains(&second))
    };
    Country::all().map(Country::code).filter(fits).take(MOST_SUGGESTIONS).collect()
}

/// Levenshtein distance in bytes.
fn edits_between(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (n, x) in a.bytes().enumerate() {
        let mut diagonal = n;
        let mut left = n + 1;
        if let Some(first) = row.first_mut() {
            *first = left;
        }
        for (above, y) in row.iter_mut().skip(1).zip(b.bytes()) {
            let here = (diagonal + usize::from(x != y)).min(*above + 1).min(left + 1);
            diagonal = std::mem::replace(above, here);
            left = here;
        }
    }
    row.last().copied().unwrap_or_default()
}

fn did_you_mean(near: &[&str]) -> String {
    match near {
        [] => String::new(),
        near => format!("; did you mean {}?", near.join(" or ")),
    }
}

fn shorten(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
mod tests;
