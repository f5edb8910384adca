//! Cross-origin resource sharing: the rules of a bucket, and what they say to a browser.
//!
//! Sans I/O: rules in, headers out (S3 user guide, "Using cross-origin resource sharing"). Not for reading the rules' document:
//! that is [`super::xml::parse_cors`].

use http::{HeaderMap, HeaderName, HeaderValue, header};

/// The rules of a bucket; the first that fits decides.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CorsRules(pub Vec<CorsRule>);

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CorsRule {
    pub id: Option<String>,
    /// With at most one `*` each, as are the headers.
    pub origins: Vec<String>,
    pub methods: Vec<String>,
    pub headers: Vec<String>,
    pub exposed: Vec<String>,
    pub max_age: Option<u32>,
}

/// The methods that a rule may name.
pub const METHODS: [&str; 5] = ["GET", "PUT", "POST", "DELETE", "HEAD"];

/// What a browser asks before, or with, a request from another origin.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    pub origin: &'a str,
    pub method: &'a str,
    /// `Access-Control-Request-Headers`, as it came.
    pub headers: &'a str,
}

impl CorsRules {
    /// The headers that allow it; `None` where no rule does.
    pub fn allow(&self, asked: &Asked<'_>) -> Option<HeaderMap> {
        let wanted = || asked.headers.split(',').map(str::trim).filter(|name| !name.is_empty());
        let (rule, origin) = self.0.iter().find_map(|rule| {
            let origin = rule.origins.iter().find(|pattern| matches(pattern, asked.origin))?;
            let fits = rule.methods.iter().any(|method| method == asked.method)
                && wanted().all(|name| rule.allows_header(name));
            fits.then_some((rule, origin))
        })?;
        let mut headers = HeaderMap::new();
        let mut set = |name: HeaderName, text: &str| {
            if let Ok(value) = HeaderValue::from_str(text) {
                headers.insert(name, value);
            }
        };
        if origin == "*" {
            set(header::ACCESS_CONTROL_ALLOW_ORIGIN, "*");
        } else {
            set(header::ACCESS_CONTROL_ALLOW_ORIGIN, asked.origin);
            set(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, "true");
        }
        set(header::ACCESS_CONTROL_ALLOW_METHODS, &rule.methods.join(", "));
        let allowed: Vec<String> = wanted().map(str::to_ascii_lowercase).collect();
        if !allowed.is_empty() {
            set(header::ACCESS_CONTROL_ALLOW_HEADERS, &allowed.join(", "));
        }
        if !rule.exposed.is_empty() {
            set(header::ACCESS_CONTROL_EXPOSE_HEADERS, &rule.exposed.join(", "));
        }
        if let Some(seconds) = rule.max_age {
            set(header::ACCESS_CONTROL_MAX_AGE, &seconds.to_string());
        }
        set(header::VARY, "Origin, Access-Control-Request-Headers, Access-Control-Request-Method");
        Some(headers)
    }
}

impl CorsRule {
    fn allows_header(&self, name: &str) -> bool {
        let name = name.to_ascii_lowercase();
        self.headers.iter().any(|pattern| matches(&pattern.to_ascii_lowercase(), &name))
    }
}

/// Whether a text fits a pattern, in which one `*` stands for anything.
fn matches(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((start, end)) => {
            text.len() >= start.len() + end.len() && text.starts_with(start) && text.ends_with(end)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(origins: &[&str], methods: &[&str], headers: &[&str]) -> CorsRule {
        let own = |list: &[&str]| list.iter().map(ToString::to_string).collect();
        CorsRule {
            origins: own(origins),
            methods: own(methods),
            headers: own(headers),
            exposed: own(&["ETag"]),
            max_age: Some(30),
            id: None,
        }
    }

    fn ask<'a>(origin: &'a str, method: &'a str, headers: &'a str) -> Asked<'a> {
        Asked { origin, method, headers }
    }

    #[test]
    fn the_first_rule_that_fits_origin_method_and_headers_decides() {
        let rules = CorsRules(vec![
            rule(&["https://*.example.org"], &["GET", "PUT"], &["x-amz-*"]),
            rule(&["*"], &["GET"], &[]),
        ]);
        let one = rules.allow(&ask("https://a.example.org", "PUT", "X-Amz-Date, x-amz-tagging")).unwrap();
        assert_eq!(one["access-control-allow-origin"], "https://a.example.org");
        assert_eq!(one["access-control-allow-headers"], "x-amz-date, x-amz-tagging");
        assert_eq!(one["access-control-allow-methods"], "GET, PUT");
        assert_eq!(one["access-control-expose-headers"], "ETag");
        assert_eq!(one["access-control-max-age"], "30");
        assert_eq!(one["access-control-allow-credentials"], "true");
        let two = rules.allow(&ask("https://other.test", "GET", "")).unwrap();
        assert_eq!(two["access-control-allow-origin"], "*");
        assert!(!two.contains_key("access-control-allow-credentials"));
        for (origin, method, headers) in [
            ("https://other.test", "PUT", ""),
            ("https://other.test", "GET", "x-amz-date"),
            ("https://a.example.org", "PUT", "x-amz-date, authorization"),
            ("https://example.org", "PUT", ""),
            ("https://a.example.org", "DELETE", ""),
        ] {
            assert!(rules.allow(&ask(origin, method, headers)).is_none(), "{origin} {method} {headers}");
        }
    }

    #[test]
    fn an_origin_is_compared_as_it_is_written() {
        let rules = CorsRules(vec![rule(&["https://a*z"], &["GET"], &[])]);
        assert!(rules.allow(&ask("https://az", "GET", "")).is_some());
        assert!(rules.allow(&ask("https://a", "GET", "")).is_none());
        assert!(rules.allow(&ask("https://A-z", "GET", "")).is_none());
    }
}
