//! The query of a request: parsed once, with the raw bytes kept for the way to a location.

use std::ops::Range;

use super::OpError;
use super::path::{Plus, encode, percent_decode};
use crate::s3::sigv4::is_signing_parameter;

/// A parsed query. Order, raw bytes and unknown parameters are kept.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ParsedQuery {
    raw: String,
    parameters: Vec<Parameter>,
}

#[derive(Clone, PartialEq, Eq)]
struct Parameter {
    name: String,
    value: String,
    raw: Range<usize>,
}

impl std::fmt::Debug for ParsedQuery {
    /// Values can hold object names, and an unknown name can be anything: personal data.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "<query of {} parameters>", self.parameters.len())
    }
}

impl ParsedQuery {
    /// Parses the query of a URI. `+` in it stands for a space, as it does at S3.
    pub fn parse(raw: &str) -> Result<Self, OpError> {
        let mut parameters = Vec::new();
        let mut start = 0;
        for pair in raw.split('&') {
            let end = start + pair.len();
            if !pair.is_empty() {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                parameters.push(Parameter {
                    name: percent_decode(name, Plus::Space)?,
                    value: percent_decode(value, Plus::Space)?,
                    raw: start..end,
                });
            }
            start = end + 1;
        }
        Ok(ParsedQuery { raw: raw.to_owned(), parameters })
    }

    /// The decoded value of the first parameter of that name; empty when it came without one.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|p| p.name == name).map(|p| p.value.as_str())
    }

    pub fn contains(&self, name: &str) -> bool {
        self.value(name).is_some()
    }

    /// Decoded names and values in the client's order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.parameters.iter().map(|p| (p.name.as_str(), p.value.as_str()))
    }

    /// The query for a location: the client's raw bytes, without what signed the request, and with the
    /// values of the named parameters replaced, for example `[("uploadId", "the location's own")]`.
    pub fn for_location(&self, replace: &[(&str, &str)]) -> String {
        let mut query = String::with_capacity(self.raw.len());
        for parameter in &self.parameters {
            if is_signing_parameter(&parameter.name) {
                continue;
            }
            if !query.is_empty() {
                query.push('&');
            }
            match replace.iter().find(|(name, _)| *name == parameter.name) {
                Some((name, value)) => {
                    query.push_str(name);
                    query.push('=');
                    query.push_str(&encode(value));
                }
                None => query.push_str(self.raw.get(parameter.raw.clone()).unwrap_or_default()),
            }
        }
        query
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_values_are_decoded_once() {
        let query = ParsedQuery::parse("prefix=a%2520b+c&%61cl&&max-keys=").unwrap();
        assert_eq!(query.value("prefix"), Some("a%20b c"));
        assert_eq!(query.value("acl"), Some(""));
        assert_eq!(query.value("max-keys"), Some(""));
        assert_eq!(query.value("delimiter"), None);
    }

    #[test]
    fn a_broken_escape_is_refused() {
        for raw in ["a=%", "a=%2", "a=%zz", "%ff", "a=%c3%28"] {
            assert_eq!(ParsedQuery::parse(raw), Err(OpError::InvalidUri), "{raw}");
        }
    }

    #[test]
    fn a_location_gets_the_raw_bytes_without_the_clients_signature() {
        let query = ParsedQuery::parse(
            "X-Amz-Algorithm=AWS4-HMAC-SHA256&partNumber=1&X-Amz-Signature=00&uploadId=ours%2B&z=%7e&response-expires=a+b",
        )
        .unwrap();
        assert_eq!(
            query.for_location(&[("uploadId", "a/b+c")]),
            "partNumber=1&uploadId=a%2Fb%2Bc&z=%7e&response-expires=a+b"
        );
    }

    #[test]
    fn values_do_not_print() {
        let query = ParsedQuery::parse("prefix=li-lei").unwrap();
        assert!(!format!("{query:?}").contains("li-lei"));
    }
}
