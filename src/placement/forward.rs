//! The request as it goes on to a location: the client's own, less what was for us.

use http::header::{self, HeaderMap, HeaderName};
use http::request::Parts;
use http::{Method, Request, Uri};

use crate::body::Body;
use crate::names::{BucketName, ObjectKey};
use crate::s3::error::{Code, S3Error};
use crate::s3::operation::path_style_uri;

/// Headers that concern this hop or our own signature check, and not the object.
const OURS: [HeaderName; 10] = [
    header::HOST,
    header::AUTHORIZATION,
    header::EXPECT,
    header::CONNECTION,
    header::TRANSFER_ENCODING,
    header::TE,
    header::UPGRADE,
    header::PROXY_AUTHORIZATION,
    header::CONTENT_LENGTH,
    header::FORWARDED,
];
const OURS_BY_NAME: [&str; 8] = [
    "x-amz-date",
    "x-amz-security-token",
    "x-amz-content-sha256",
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-host",
    "keep-alive",
    "proxy-connection",
];

/// The client's headers, less [`OURS`].
pub fn onward_headers(parts: &Parts) -> HeaderMap {
    let mut headers = parts.headers.clone();
    for name in OURS {
        headers.remove(name);
    }
    for name in OURS_BY_NAME {
        headers.remove(name);
    }
    headers
}

/// The client's query, less a presigned signature.
pub fn onward_query(uri: &Uri) -> String {
    let query = uri.query().unwrap_or_default();
    if !query.contains("X-Amz-") {
        return query.to_owned();
    }
    const SIGNING: [&str; 7] = [
        "X-Amz-Algorithm",
        "X-Amz-Credential",
        "X-Amz-Date",
        "X-Amz-Expires",
        "X-Amz-SignedHeaders",
        "X-Amz-Signature",
        "X-Amz-Security-Token",
    ];
    query
        .split('&')
        .filter(|pair| !SIGNING.contains(&pair.split('=').next().unwrap_or_default()))
        .collect::<Vec<_>>()
        .join("&")
}

/// A request to a location, in logical names.
pub fn request(
    method: Method,
    bucket: &BucketName,
    key: Option<&ObjectKey>,
    query: &str,
    headers: HeaderMap,
    body: Body,
) -> Result<Request<Body>, S3Error> {
    let uri = path_style_uri(bucket, key, (!query.is_empty()).then_some(query)).map_err(|_| {
        S3Error::new(Code::InvalidURI, "The request's path and query are too long to be sent on.")
    })?;
    let mut request = Request::new(body);
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    *request.headers_mut() = headers;
    Ok(request)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_presigned_signature_stays_here_and_the_rest_of_the_query_goes_on() {
        let uri: Uri =
            "/b/k?response-content-type=a%2Fb&X-Amz-Signature=00&X-Amz-Date=d&partNumber=1".parse().unwrap();
        assert_eq!(onward_query(&uri), "response-content-type=a%2Fb&partNumber=1");
    }

    #[test]
    fn unknown_headers_travel_and_our_own_do_not() {
        let (parts, ()) = Request::builder()
            .header("x-amz-some-future-feature", "on")
            .header("authorization", "secret")
            .header("x-amz-date", "now")
            .body(())
            .unwrap()
            .into_parts();
        let headers = onward_headers(&parts);
        assert_eq!(headers.len(), 1);
        assert_eq!(headers["x-amz-some-future-feature"], "on");
    }
}
