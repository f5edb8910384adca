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
const OURS: [HeaderName; 4] = [header::HOST, header::EXPECT, header::CONTENT_LENGTH, header::FORWARDED];
const OURS_BY_NAME: [&str; 3] = ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"];

/// The client's headers, less those of this hop and of the client's own signature.
pub fn onward_headers(parts: &Parts) -> HeaderMap {
    let mut headers = parts.headers.clone();
    hop::strip(&mut headers);
    strip_authentication(&mut headers);
    for name in OURS {
        headers.remove(name);
    }
    for name in OURS_BY_NAME {
        headers.remove(name);
    }
    headers
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
            .body(())
            .unwrap()
            .into_parts();
        let headers = onward_headers(&parts);
        assert_eq!(headers.len(), 1);
        assert_eq!(headers["x-amz-some-future-feature"], "on");
    }
}
