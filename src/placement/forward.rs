//! The request as it goes on to a location: the client's own, less what was for us.

use http::header::{self, HeaderMap, HeaderName};
use http::request::Parts;
use http::{Method, Request};

use crate::body::Body;
use crate::hop;
use crate::names::{BucketName, ObjectKey};
use crate::s3::error::{Code, S3Error};
use crate::s3::operation::path_style_uri;
use crate::s3::sigv4::strip_authentication;

/// What spoke of this hop's addressing and framing; a location gets its own.
const OURS: [HeaderName; 5] =
    [header::HOST, header::EXPECT, header::CONTENT_LENGTH, header::FORWARDED, header::VIA];

/// What nobody signed and some servers take for the request itself, or for its sender: in front of the location it would
/// have another request done than the one that was decided, and say where the client is.
const FOR_OTHERS: [&str; 9] = [
    "cf-connecting-ip",
    "true-client-ip",
    "x-client-ip",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-original-uri",
    "x-original-url",
    "x-rewrite-url",
];

/// The client's headers, less those of this hop and of the client's own signature.
pub fn onward_headers(parts: &Parts) -> HeaderMap {
    let mut headers = parts.headers.clone();
    hop::strip(&mut headers);
    strip_authentication(&mut headers);
    for name in OURS {
        headers.remove(name);
    }
    let misread: Vec<HeaderName> =
        headers.keys().filter(|name| may_be_misread(name.as_str())).cloned().collect();
    for name in misread {
        headers.remove(name);
    }
    headers
}

/// Names with `_` in them are others' names with `-` to some servers. In those of metadata they are the app's own.
fn may_be_misread(name: &str) -> bool {
    name.starts_with("x-forwarded-")
        || name.starts_with("x-real-ip")
        || FOR_OTHERS.contains(&name)
        || (name.contains('_') && !name.starts_with("x-amz-meta-"))
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
    fn unknown_headers_travel_and_our_own_do_not() {
        let (parts, ()) = Request::builder()
            .header("x-amz-some-future-feature", "on")
            .header("authorization", "secret")
            .header("x-amz-date", "now")
            .header("connection", "close, x-of-this-hop")
            .header("x-of-this-hop", "1")
            .header("x-http-method-override", "DELETE")
            .header("x-forwarded-port", "1")
            .header("x_amz_copy_source", "a/b")
            .body(())
            .unwrap()
            .into_parts();
        let headers = onward_headers(&parts);
        assert_eq!(headers.len(), 1);
        assert_eq!(headers["x-amz-some-future-feature"], "on");
    }
}
