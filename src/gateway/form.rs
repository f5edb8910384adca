//! Uploads by HTML form: reads the fields, checks their policy and its signature, and hands the file on as the body of a
//! request whose headers are the fields. What passes is as [`Verified`] as a signed request.
//!
//! The file is streamed. Its length is not told, so it is worked out from the form's: of a small file when its end has been
//! seen, of a large one from what every client writes behind the last field; one that ends otherwise stores nothing.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, header};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;

use super::Gateway;
use super::call::Verified;
use super::failure::{Failure, body_failure};
use crate::body::{Body, BoxError};
use crate::s3::error::{Code, S3Error};
use crate::s3::form::{self, Fields, FileScan, FormError, FormParser, Policy, Progress};
use crate::s3::operation::{self, encode};
use crate::s3::sigv4::{FormClaim, SigError, VerifyContext};
use crate::s3::xml;

/// A file up to this may be followed by other fields.
const SMALL_FILE: usize = 64 << 10;

/// What a form asks for beside the object, as a request extension.
#[derive(Clone)]
pub struct Form {
    pub key: String,
    pub redirect: Option<String>,
    pub status: Option<String>,
}

/// Whether a request is a form that brings its signature inside. One with a query could name another operation.
pub fn is_form(parts: &Parts) -> bool {
    parts.method == Method::POST
        && parts.uri.query().is_none_or(str::is_empty)
        && !parts.headers.contains_key(header::AUTHORIZATION)
        && content_type(parts).is_some_and(|kind| form::boundary(kind).is_some())
}

/// Reads a form up to its file.
pub async fn open(
    gateway: &Gateway,
    context: &VerifyContext<'_>,
    mut parts: Parts,
    mut body: Body,
) -> Result<Verified<Request<Body>>, Failure> {
    if let Some(name) = parts.headers.keys().find(|name| name.as_str().starts_with("x-amz-")) {
        return Err(SigError::UnsignedHeader(name.to_string()).into());
    }
    let boundary = content_type(&parts).and_then(form::boundary).unwrap_or(Err(FormError::NotAForm))?;
    let bucket = operation::bucket(&parts.uri, &parts.headers, &gateway.hosts)?;
    let bucket = bucket.ok_or_else(|| S3Error::new(Code::MethodNotAllowed, "The form names no bucket."))?;
    let total = content_length(&parts.headers)?;

    let mut parser = FormParser::new(boundary);
    let mut read = 0;
    let (fields, begun, mut scan) = loop {
        let bytes = next(&mut body).await?.ok_or(FormError::NoFile)?;
        read += bytes.len() as u64;
        match parser.feed(&bytes)? {
            Progress::More(more) => parser = more,
            Progress::File { fields, begun, scan } => break (fields, begun, scan),
        }
    };
    let claim = claim(&fields)?;
    let identity = gateway.verifier.verify_form(&claim, context)?;
    let policy = Policy::parse(claim.policy)?;
    policy.check(&fields, bucket.as_str(), context.now)?;

    // The file, and how long it is.
    let expected = (total + begun.len() as u64).checked_sub(read + scan.closing_length());
    let mut data = VecDeque::new();
    let mut held = 0;
    let mut bytes = Some(begun);
    while let Some(more) = bytes {
        held += more.len();
        scan.feed(more, &mut data);
        if scan.has_ended() || held > SMALL_FILE {
            break;
        }
        bytes = next(&mut body).await?;
    }
    let length = match scan.has_ended() {
        true => data.iter().map(|bytes| bytes.len() as u64).sum(),
        false => expected.ok_or(FormError::Ending { limit: SMALL_FILE })?,
    };
    if let Some(range) = policy.length() {
        range.check(length)?;
    }

    let form = Form {
        key: fields.get("key").filter(|key| !key.is_empty()).ok_or(FormError::Missing("key"))?.to_owned(),
        redirect: fields.get("success_action_redirect").or(fields.get("redirect")).map(str::to_owned),
        status: fields.get("success_action_status").map(str::to_owned),
    };
    parts.headers = headers(&parts.headers, &fields)?;
    parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    parts.extensions.insert(form);
    let file = FormFile { source: body, scan, data, left: length };
    let body = if length == 0 && file.scan.has_ended() { Body::empty() } else { Body::new(file) };
    Ok(Verified { identity, inner: Request::from_parts(parts, body) })
}

fn content_type(parts: &Parts) -> Option<&str> {
    parts.headers.get(header::CONTENT_TYPE)?.to_str().ok()
}

fn content_length(headers: &HeaderMap) -> Result<u64, S3Error> {
    let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    length.ok_or_else(|| S3Error::new(Code::MissingContentLength, "A form needs a Content-Length."))
}

/// The next bytes of a body; `None` at its end.
async fn next(body: &mut Body) -> Result<Option<Bytes>, Failure> {
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.map_err(body_failure)?.into_data()
            && !data.is_empty()
        {
            return Ok(Some(data));
        }
    }
    Ok(None)
}

fn claim(fields: &Fields) -> Result<FormClaim<'_>, Failure> {
    // A form without a policy is an anonymous upload.
    let policy = fields.get("policy").ok_or(SigError::Anonymous)?;
    if fields.get("awsaccesskeyid").is_some() {
        return Err(SigError::SigV2.into());
    }
    let need = |name| fields.get(name).ok_or(FormError::Missing(name));
    Ok(FormClaim {
        algorithm: need("x-amz-algorithm")?,
        credential: need("x-amz-credential")?,
        date: need("x-amz-date")?,
        signature: need("x-amz-signature")?,
        token: fields.get("x-amz-security-token"),
        policy,
    })
}

/// The fields that speak of the object, as the headers of a PutObject; and of the request's own, those that say where it
/// came from.
fn headers(own: &HeaderMap, fields: &Fields) -> Result<HeaderMap, Failure> {
    let mut headers = HeaderMap::new();
    for name in ["host", "forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "origin"] {
        for value in own.get_all(name) {
            headers.append(HeaderName::from_static(name), value.clone());
        }
    }
    for (field, value) in fields.iter() {
        let (name, value) = match field {
            "acl" => ("x-amz-acl", value.to_owned()),
            "tagging" => ("x-amz-tagging", tagging(value)?),
            field if is_of_object(field) => (field, value.to_owned()),
            // What a location would make of these, nobody here has asked.
            field if field.starts_with("x-amz-") && !SIGNING.contains(&field) => {
                let message = "A field x-amz-* of the form is not one that this gateway knows.";
                return Err(Failure::client(Code::InvalidArgument, message));
            }
            _ => continue,
        };
        let invalid = || S3Error::new(Code::InvalidArgument, "A field of the form cannot be a header.");
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| invalid())?;
        let value = HeaderValue::from_bytes(value.as_bytes()).map_err(|_| invalid())?;
        headers.insert(name, value);
    }
    Ok(headers)
}

/// Fields that sign, and have been read.
const SIGNING: [&str; 5] =
    ["x-amz-algorithm", "x-amz-credential", "x-amz-date", "x-amz-signature", "x-amz-security-token"];

fn is_of_object(field: &str) -> bool {
    const NAMES: [&str; 8] = [
        "cache-control",
        "content-disposition",
        "content-encoding",
        "content-language",
        "content-md5",
        "content-type",
        "expires",
        "x-amz-storage-class",
    ];
    const STARTS: [&str; 6] = [
        "x-amz-checksum-",
        "x-amz-meta-",
        "x-amz-object-lock-",
        "x-amz-sdk-checksum-",
        "x-amz-server-side-encryption",
        "x-amz-website-redirect-location",
    ];
    NAMES.contains(&field) || STARTS.iter().any(|start| field.starts_with(start))
}

/// Tags come as a document here, and as a query in a header.
fn tagging(document: &str) -> Result<String, Failure> {
    let tags = xml::parse_tagging(document.as_bytes(), xml::Bound(document.len()))?;
    let pairs = tags.iter().map(|tag| format!("{}={}", encode(&tag.key), encode(&tag.value)));
    Ok(pairs.collect::<Vec<_>>().join("&"))
}

/// The bytes of the file, up to the boundary behind it. Ends well only where its length was foreseen.
struct FormFile {
    source: Body,
    scan: FileScan,
    data: VecDeque<Bytes>,
    /// Bytes that are still to come.
    left: u64,
}

impl HttpBody for FormFile {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        let fail = |error: S3Error| Poll::Ready(Some(Err(BoxError::from(Failure::from(error)))));
        let unforeseen = || FormError::Ending { limit: SMALL_FILE }.into();
        loop {
            if let Some(bytes) = this.data.pop_front() {
                let Some(left) = this.left.checked_sub(bytes.len() as u64) else { return fail(unforeseen()) };
                this.left = left;
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
            if this.scan.has_ended() {
                if this.left > 0 {
                    return fail(unforeseen());
                }
                return Poll::Ready(None);
            }
            let Some(frame) = ready!(Pin::new(&mut this.source).poll_frame(cx)) else {
                let message = "The form ended before its closing boundary.";
                return fail(S3Error::new(Code::IncompleteBody, message));
            };
            match frame {
                Ok(frame) => {
                    if let Ok(bytes) = frame.into_data() {
                        this.scan.feed(bytes, &mut this.data);
                    }
                }
                Err(error) => return Poll::Ready(Some(Err(error))),
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }

    fn is_end_stream(&self) -> bool {
        // The end of the source must be seen even when nothing is left.
        self.left == 0 && self.scan.has_ended() && self.data.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_names_no_other_operation() {
        let parts = |method: &str, target: &str, headers: &[(&str, &str)]| {
            let mut request = Request::builder().method(method).uri(target);
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            request.body(()).unwrap().into_parts().0
        };
        let form = ("content-type", "multipart/form-data; boundary=b");
        assert!(is_form(&parts("POST", "/bucket", &[form])));
        assert!(is_form(&parts("POST", "/bucket?", &[form])));
        assert!(!is_form(&parts("POST", "/bucket?delete", &[form])));
        assert!(!is_form(&parts("POST", "/bucket", &[form, ("authorization", "x")])));
        assert!(!is_form(&parts("PUT", "/bucket/k", &[form])));
        assert!(!is_form(&parts("POST", "/bucket", &[("content-type", "text/xml")])));
    }

    #[test]
    fn fields_become_headers_and_what_would_be_another_request_is_refused() {
        let fields = |pairs: &[(&str, &str)]| {
            let mut fields = Fields::default();
            for (name, value) in pairs {
                fields.add(name, (*value).to_owned()).unwrap();
            }
            fields
        };
        let own = HeaderMap::from_iter([
            (header::HOST, HeaderValue::from_static("h")),
            (header::CONTENT_TYPE, HeaderValue::from_static("multipart/form-data")),
            (header::IF_NONE_MATCH, HeaderValue::from_static("*")),
        ]);
        let tags = "<Tagging><TagSet><Tag><Key>data-class</Key><Value>a b</Value></Tag></TagSet></Tagging>";
        let made = headers(
            &own,
            &fields(&[
                ("Content-Type", "image/png"),
                ("x-amz-meta-a", "ü"),
                ("tagging", tags),
                ("acl", "private"),
                ("x-amz-date", "now"),
                ("other", "1"),
            ]),
        )
        .unwrap();
        assert_eq!(made.len(), 5);
        assert_eq!(made["content-type"], "image/png");
        assert_eq!(made["x-amz-tagging"], "data-class=a%20b");
        assert_eq!(made["x-amz-meta-a"].as_bytes(), "ü".as_bytes());
        for field in ["x-amz-copy-source", "x-amz-write-offset-bytes", "x-amz-new"] {
            assert!(headers(&own, &fields(&[(field, "/bucket/k")])).is_err(), "{field}");
        }
        assert!(headers(&own, &fields(&[("content-type", "a\nb")])).is_err());
    }
}
