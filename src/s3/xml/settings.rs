//! Documents that are settings of buckets: cross-origin rules, tags, and those that only locations understand.

use std::collections::BTreeSet;

use super::requests::{Bound, Tag, read, tags_of};
use super::writer::document;
use super::{AnswerError, XmlError};
use crate::s3::cors::{CorsRule, CorsRules, METHODS};

/// Most rules of a bucket (S3 user guide, "CORS configuration").
const MAX_RULES: usize = 100;
const MAX_ID: usize = 255;
/// Most tags of a bucket (S3 user guide, "Using cost allocation S3 bucket tags").
const MAX_TAGS: usize = 50;
const MAX_ELEMENTS: usize = 8192;

/// Reads a CORSConfiguration.
pub fn parse_cors(body: &[u8], bound: Bound) -> Result<CorsRules, XmlError> {
    let root = read(body, bound, MAX_ELEMENTS)?.expect("CORSConfiguration")?;
    let mut rules = Vec::new();
    let mut ids = BTreeSet::new();
    for element in &root.children {
        if element.name != "CORSRule" {
            return Err(XmlError::Unexpected("CORSConfiguration"));
        }
        let mut rule = CorsRule::default();
        for field in &element.children {
            let text = field.text.trim().to_owned();
            if !field.children.is_empty() {
                return Err(XmlError::Unexpected("CORSRule"));
            }
            match field.name {
                "ID" if rule.id.is_some() => return Err(XmlError::Repeated("ID")),
                "ID" if text.len() > MAX_ID || !ids.insert(text.clone()) => {
                    return Err(XmlError::Value("ID"));
                }
                "ID" => rule.id = Some(text),
                "AllowedOrigin" => rule.origins.push(pattern("AllowedOrigin", text)?),
                "AllowedMethod" if !METHODS.contains(&text.as_str()) => {
                    return Err(XmlError::Value("AllowedMethod"));
                }
                "AllowedMethod" => rule.methods.push(text),
                "AllowedHeader" => rule.headers.push(pattern("AllowedHeader", text)?),
                "ExposeHeader" if !is_token(&text) => return Err(XmlError::Value("ExposeHeader")),
                "ExposeHeader" => rule.exposed.push(text),
                "MaxAgeSeconds" if rule.max_age.is_some() => return Err(XmlError::Repeated("MaxAgeSeconds")),
                "MaxAgeSeconds" => {
                    rule.max_age = Some(text.parse().map_err(|_| XmlError::Value("MaxAgeSeconds"))?);
                }
                _ => return Err(XmlError::Unexpected("CORSRule")),
            }
        }
        if rule.origins.is_empty() {
            return Err(XmlError::Missing("AllowedOrigin"));
        }
        if rule.methods.is_empty() {
            return Err(XmlError::Missing("AllowedMethod"));
        }
        rules.push(rule);
    }
    match rules.len() {
        1..=MAX_RULES => Ok(CorsRules(rules)),
        _ => Err(XmlError::Count { what: "CORSRule", limit: MAX_RULES }),
    }
}

/// At most one `*`, and nothing that a header cannot carry.
fn pattern(name: &'static str, text: String) -> Result<String, XmlError> {
    let fits =
        !text.is_empty() && text.matches('*').count() <= 1 && text.bytes().all(|b| b.is_ascii_graphic());
    if fits { Ok(text) } else { Err(XmlError::Value(name)) }
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

/// Reads rules that were kept.
pub fn kept_cors(kept: &str) -> Result<CorsRules, AnswerError> {
    Ok(parse_cors(kept.as_bytes(), Bound(kept.len()))?)
}

/// Writes a CORSConfiguration.
pub fn cors_configuration(rules: &CorsRules) -> String {
    document("CORSConfiguration", |writer| {
        for rule in &rules.0 {
            writer.element("CORSRule", |writer| {
                writer.optional("ID", rule.id.as_deref());
                let lists = [
                    ("AllowedHeader", &rule.headers),
                    ("AllowedMethod", &rule.methods),
                    ("AllowedOrigin", &rule.origins),
                    ("ExposeHeader", &rule.exposed),
                ];
                for (name, list) in lists {
                    list.iter().for_each(|text| writer.text(name, text));
                }
                if let Some(seconds) = rule.max_age {
                    writer.value("MaxAgeSeconds", seconds);
                }
            });
        }
    })
}

/// Reads the tags of a bucket.
pub fn parse_bucket_tagging(body: &[u8], bound: Bound) -> Result<Vec<Tag>, XmlError> {
    tags_of(body, bound, MAX_TAGS)
}

/// Writes the tags of a bucket.
pub fn bucket_tagging(tags: &[Tag]) -> String {
    document("Tagging", |writer| {
        writer.element("TagSet", |writer| {
            for tag in tags {
                writer.element("Tag", |writer| {
                    writer.text("Key", &tag.key);
                    writer.text("Value", &tag.value);
                });
            }
        });
    })
}

/// Checks that a document is one of these, and well-formed; what it says is for locations to judge.
pub fn check_root(body: &[u8], bound: Bound, root: &'static str) -> Result<(), XmlError> {
    read(body, bound, MAX_ELEMENTS)?.expect(root).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUND: Bound = Bound(64 << 10);

    fn cors(rule: &str) -> Result<CorsRules, XmlError> {
        parse_cors(
            format!("<CORSConfiguration><CORSRule>{rule}</CORSRule></CORSConfiguration>").as_bytes(),
            BOUND,
        )
    }

    #[test]
    fn rules_come_back_as_they_were_written() {
        let rules = cors(
            "<ID>one</ID><AllowedOrigin>https://*.example.org</AllowedOrigin><AllowedOrigin>*</AllowedOrigin>\
             <AllowedMethod>GET</AllowedMethod><AllowedMethod>PUT</AllowedMethod><AllowedHeader>*</AllowedHeader>\
             <ExposeHeader>ETag</ExposeHeader><MaxAgeSeconds>3000</MaxAgeSeconds>",
        )
        .unwrap();
        assert_eq!(rules.0[0].origins, ["https://*.example.org", "*"]);
        assert_eq!(rules.0[0].max_age, Some(3000));
        assert_eq!(kept_cors(&cors_configuration(&rules)).unwrap(), rules);
    }

    #[test]
    fn a_rule_that_cannot_be_carried_out_is_refused() {
        let (origin, method) = ("<AllowedOrigin>*</AllowedOrigin>", "<AllowedMethod>GET</AllowedMethod>");
        for (rule, error) in [
            (origin.to_owned(), XmlError::Missing("AllowedMethod")),
            (method.to_owned(), XmlError::Missing("AllowedOrigin")),
            (format!("{origin}<AllowedMethod>PATCH</AllowedMethod>"), XmlError::Value("AllowedMethod")),
            (format!("{method}<AllowedOrigin>h*t*</AllowedOrigin>"), XmlError::Value("AllowedOrigin")),
            (format!("{method}<AllowedOrigin>a\nb</AllowedOrigin>"), XmlError::Value("AllowedOrigin")),
            (format!("{origin}{method}<ExposeHeader>a: b</ExposeHeader>"), XmlError::Value("ExposeHeader")),
            (format!("{origin}{method}<MaxAgeSeconds>-1</MaxAgeSeconds>"), XmlError::Value("MaxAgeSeconds")),
            (format!("{origin}{method}<Other/>"), XmlError::Unexpected("CORSRule")),
        ] {
            assert_eq!(cors(&rule), Err(error), "{rule}");
        }
        assert!(parse_cors(b"<CORSConfiguration/>", BOUND).is_err());
    }
}
