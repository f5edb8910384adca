//! Conditional requests (RFC 9110, section 13), for reads, for writes, and for the source of a copy.

use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::error::Failure;
use super::rows::{self, Object};
use super::time;
use crate::names::ObjectKey;
use crate::s3::error::{Code, S3Error};

/// The names under which the four conditions come.
pub struct Names {
    if_match: HeaderName,
    if_none_match: HeaderName,
    if_modified_since: HeaderName,
    if_unmodified_since: HeaderName,
}

impl Names {
    pub fn of_request() -> Names {
        Names {
            if_match: header::IF_MATCH,
            if_none_match: header::IF_NONE_MATCH,
            if_modified_since: header::IF_MODIFIED_SINCE,
            if_unmodified_since: header::IF_UNMODIFIED_SINCE,
        }
    }

    pub fn of_copy_source() -> Names {
        let name = HeaderName::from_static;
        Names {
            if_match: name("x-amz-copy-source-if-match"),
            if_none_match: name("x-amz-copy-source-if-none-match"),
            if_modified_since: name("x-amz-copy-source-if-modified-since"),
            if_unmodified_since: name("x-amz-copy-source-if-unmodified-since"),
        }
    }
}

/// Checks the conditions of a read: 412, 304 or go on. A match outranks a date (RFC 9110, section 13.2.2).
pub fn check_read(headers: &HeaderMap, object: &Object) -> Result<(), S3Error> {
    match evaluate(headers, &Names::of_request(), object) {
        Verdict::Go => Ok(()),
        Verdict::Failed(condition) => Err(precondition_failed(condition)),
        Verdict::NotModified(_) => {
            let mut error = S3Error::new(Code::NotModified, "Not Modified");
            if let Ok(etag) = HeaderValue::from_str(&format!("\"{}\"", object.etag)) {
                error = error.header(header::ETAG, etag);
            }
            if let Ok(date) = HeaderValue::from_str(&time::http_date(object.modified)) {
                error = error.header(header::LAST_MODIFIED, date);
            }
            Err(error)
        }
    }
}

/// Checks the conditions on the source of a copy: there is no 304, everything unmet is 412.
pub fn check_copy_source(headers: &HeaderMap, object: &Object) -> Result<(), S3Error> {
    match evaluate(headers, &Names::of_copy_source(), object) {
        Verdict::Go => Ok(()),
        Verdict::Failed(condition) | Verdict::NotModified(condition) => Err(precondition_failed(condition)),
    }
}

/// Whether a range still applies (`If-Range`): an entity tag or a date that names what is there now.
pub fn range_applies(headers: &HeaderMap, object: &Object) -> bool {
    let Some(value) = headers.get(header::IF_RANGE) else { return true };
    let Ok(text) = value.to_str() else { return false };
    match time::parse_http_date(text) {
        Some(date) => date == object.modified.div_euclid(1000),
        None => !text.trim().starts_with("W/") && names_etag(text, &object.etag),
    }
}

/// The condition of a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WriteCondition {
    None,
    /// `If-None-Match: *`
    Absent,
    /// `If-Match`
    Matches(String),
}

impl WriteCondition {
    pub fn from_headers(headers: &HeaderMap) -> Result<WriteCondition, S3Error> {
        let text = |name| -> Result<Option<String>, S3Error> {
            let Some(value) = headers.get(name) else { return Ok(None) };
            let text = value
                .to_str()
                .map_err(|_| S3Error::new(Code::InvalidArgument, "A condition is not an entity tag."))?;
            Ok(Some(text.trim().to_owned()))
        };
        match (text(header::IF_MATCH)?, text(header::IF_NONE_MATCH)?) {
            (None, None) => Ok(WriteCondition::None),
            (None, Some(star)) if star == "*" => Ok(WriteCondition::Absent),
            (Some(etag), None) => Ok(WriteCondition::Matches(etag)),
            _ => Err(S3Error::new(
                Code::NotImplemented,
                "A write takes either If-Match or If-None-Match: *, not this condition.",
            )),
        }
    }

    /// To be checked in the transaction that writes.
    pub fn check(&self, current: Option<&Object>, key: &ObjectKey) -> Result<(), Failure> {
        match (self, current) {
            (WriteCondition::None, _) | (WriteCondition::Absent, None) => Ok(()),
            (WriteCondition::Absent, Some(_)) => Err(precondition_failed("If-None-Match").into()),
            (WriteCondition::Matches(_), None) => Err(rows::no_such_key(key).into()),
            (WriteCondition::Matches(etag), Some(object)) if names_etag(etag, &object.etag) => Ok(()),
            (WriteCondition::Matches(_), Some(_)) => Err(precondition_failed("If-Match").into()),
        }
    }
}

enum Verdict {
    Go,
    Failed(&'static str),
    NotModified(&'static str),
}

fn evaluate(headers: &HeaderMap, names: &Names, object: &Object) -> Verdict {
    let text = |name: &HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let date = |name: &HeaderName| text(name).and_then(time::parse_http_date);
    let modified = object.modified.div_euclid(1000);
    if let Some(value) = headers.get(&names.if_match) {
        if !value.to_str().is_ok_and(|list| names_etag(list, &object.etag)) {
            return Verdict::Failed("If-Match");
        }
    } else if date(&names.if_unmodified_since).is_some_and(|date| modified > date) {
        return Verdict::Failed("If-Unmodified-Since");
    }
    if let Some(list) = text(&names.if_none_match) {
        // Weak comparison here, strong comparison above (RFC 9110, section 8.8.3.2).
        let strong = list.replace("W/", "");
        if names_etag(&strong, &object.etag) {
            return Verdict::NotModified("If-None-Match");
        }
    } else if date(&names.if_modified_since).is_some_and(|date| modified <= date) {
        return Verdict::NotModified("If-Modified-Since");
    }
    Verdict::Go
}

/// Whether a list of entity tags, or `*`, names this one. Like S3, it also takes tags without their quotes.
fn names_etag(list: &str, etag: &str) -> bool {
    list.split(',').map(str::trim).any(|tag| tag == "*" || tag.trim_matches('"') == etag)
}

fn precondition_failed(condition: &'static str) -> S3Error {
    S3Error::new(Code::PreconditionFailed, "At least one of the pre-conditions you specified did not hold")
        .detail("Condition", condition)
}
