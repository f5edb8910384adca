//! Label rules of the configuration, checked and compiled.

use globset::{GlobBuilder, GlobMatcher};

use super::{Facts, LabelError};
use crate::config::LabelRule;
use crate::label::{Evidence, Label, Labels, Source};
use crate::names::AppId;

/// One rule: what an object must be, and what it is labelled then.
#[derive(Debug)]
pub(super) struct Rule {
    id: String,
    app: Option<AppId>,
    content_type: Option<ContentType>,
    bucket: Option<GlobMatcher>,
    key: Option<GlobMatcher>,
    labels: Vec<Label>,
}

impl Rule {
    pub(super) fn new(rule: &LabelRule) -> Result<Rule, LabelError> {
        let glob = |pattern: &Option<String>, segments: Segments| {
            pattern
                .as_deref()
                .map(|pattern| compile(pattern, segments))
                .transpose()
                .map_err(|source| LabelError::RuleGlob { rule: rule.id.clone(), source })
        };
        let content_type = rule.content_type.as_deref().map(|text| {
            ContentType::parse(text)
                .ok_or_else(|| LabelError::RuleContentType { rule: rule.id.clone(), value: text.to_owned() })
        });
        let classes = rule.classes.iter().copied().map(Label::Class);
        let labels: Vec<Label> = classes.chain(rule.subjects.iter().copied().map(Label::Subject)).collect();
        if labels.is_empty() {
            return Err(LabelError::Rule(rule.id.clone()));
        }
        Ok(Rule {
            id: rule.id.clone(),
            app: rule.app.clone(),
            content_type: content_type.transpose()?,
            bucket: glob(&rule.bucket, Segments::Flat)?,
            key: glob(&rule.key, Segments::Separated)?,
            labels,
        })
    }

    /// Whether all the conditions hold that the rule states; one without conditions matches everything.
    pub(super) fn matches(&self, facts: &Facts<'_>) -> bool {
        self.app.as_ref().is_none_or(|app| app == facts.app)
            && self.content_type.as_ref().is_none_or(|wanted| {
                facts.content_type.is_some_and(|content_type| wanted.matches(content_type))
            })
            && self.bucket.as_ref().is_none_or(|glob| glob.is_match(facts.bucket.as_str()))
            && self.key.as_ref().is_none_or(|glob| glob.is_match(facts.key.as_str()))
    }

    pub(super) fn add_to(&self, labels: &mut Labels) {
        for label in &self.labels {
            labels.add(Evidence {
                source: Source::Rule(self.id.clone()),
                label: *label,
                detail: "a label rule of the configuration".to_owned(),
            });
        }
    }
}

/// Whether `*` stops at `/`.
#[derive(Clone, Copy)]
enum Segments {
    Separated,
    Flat,
}

fn compile(pattern: &str, segments: Segments) -> Result<GlobMatcher, globset::Error> {
    let separated = matches!(segments, Segments::Separated);
    Ok(GlobBuilder::new(pattern).literal_separator(separated).build()?.compile_matcher())
}

/// A media type, or all of one kind.
#[derive(Debug)]
enum ContentType {
    Exactly(String),
    /// With the `/`: `image/`.
    Kind(String),
}

impl ContentType {
    fn parse(text: &str) -> Option<ContentType> {
        // RFC 9110, section 5.6.2, less the characters that no registered type has.
        let token = |part: &str| {
            !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&b))
        };
        let lower = text.to_ascii_lowercase();
        let (kind, subtype) = lower.split_once('/')?;
        match subtype {
            "*" if token(kind) => Some(ContentType::Kind(format!("{kind}/"))),
            subtype if token(kind) && token(subtype) => Some(ContentType::Exactly(lower)),
            _ => None,
        }
    }

    /// `header` is a `Content-Type` as it was sent, parameters and all.
    fn matches(&self, header: &str) -> bool {
        let essence = header.split(';').next().unwrap_or_default().trim();
        match self {
            ContentType::Exactly(wanted) => essence.eq_ignore_ascii_case(wanted),
            ContentType::Kind(wanted) => {
                essence.get(..wanted.len()).is_some_and(|kind| kind.eq_ignore_ascii_case(wanted))
            }
        }
    }
}
