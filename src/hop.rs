//! Headers that concern one connection and not the message: they end where the connection does.

use http::HeaderMap;
use http::header::{CONNECTION, HeaderName};

/// RFC 9110, section 7.6.1, and what older clients and proxies send.
const OF_ONE_HOP: [&str; 8] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "transfer-encoding",
    "upgrade",
];

/// Removes the headers of one hop, and those that `Connection` names.
///
/// `Connection` itself is signed by nobody, so it does not take away what says what is to be stored or read: with
/// it, whoever stands between a client and us could drop a retention or a condition from a signed request.
pub(crate) fn strip(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|list| list.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .filter(|name| !is_of_the_object(name))
        .collect();
    for name in named {
        headers.remove(name);
    }
    for name in OF_ONE_HOP {
        headers.remove(name);
    }
}

fn is_of_the_object(name: &HeaderName) -> bool {
    let name = name.as_str();
    matches!(name, "host" | "range" | "cache-control" | "expires" | "etag" | "last-modified")
        || ["x-amz-", "content-", "if-"].iter().any(|start| name.starts_with(start))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn stripped(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        strip(&mut headers);
        headers
    }

    #[test]
    fn headers_of_one_hop_are_removed_and_all_others_are_kept() {
        let headers = stripped(&[
            ("connection", "close, X-Private"),
            ("connection", "x-other"),
            ("x-private", "1"),
            ("x-other", "1"),
            ("keep-alive", "timeout=5"),
            ("te", "trailers"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("proxy-authorization", "Basic x"),
            ("proxy-connection", "keep-alive"),
            ("x-amz-meta-a", "kept"),
            ("x-never-heard-of", "kept"),
            ("etag", "kept"),
        ]);
        assert_eq!(headers.len(), 3, "{headers:?}");
        assert!(headers.values().all(|value| value == "kept"));
    }

    #[test]
    fn a_connection_header_cannot_take_away_what_is_about_the_object() {
        let headers = stripped(&[
            ("connection", "x-amz-object-lock-mode, If-None-Match, range, content-type"),
            ("x-amz-object-lock-mode", "COMPLIANCE"),
            ("if-none-match", "*"),
            ("range", "bytes=0-1"),
            ("content-type", "text/plain"),
        ]);
        assert_eq!(headers.len(), 4, "{headers:?}");
    }
}
