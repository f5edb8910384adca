//! S3 error responses: the codes of the API reference and the XML that carries them.
//!
//! A room has an error type of its own; it becomes an [`S3Error`] at the door and nowhere else.

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use crate::body::Body;

/// An error as an S3 client sees it.
#[derive(Debug, Clone)]
pub struct S3Error {
    pub code: Code,
    pub message: Cow<'static, str>,
    /// Extra elements of the XML document, for example `Region`.
    pub details: Vec<(&'static str, String)>,
    /// Extra response headers, for example `x-domicile-rule`.
    pub headers: HeaderMap,
}

impl S3Error {
    pub fn new(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        S3Error { code, message: message.into(), details: Vec::new(), headers: HeaderMap::new() }
    }

    #[must_use]
    pub fn detail(mut self, element: &'static str, value: impl Into<String>) -> Self {
        self.details.push((element, value.into()));
        self
    }

    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    pub fn status(&self) -> StatusCode {
        self.code.status()
    }

    /// The whole response. `resource` is the request's own path, which only the client itself sees;
    /// `bodiless` is for answers to HEAD and for 304, which carry no document.
    pub fn into_response(self, resource: &str, request_id: &str, shape: Shape) -> http::Response<Body> {
        let status = self.status();
        let body = match shape {
            Shape::Document if status != StatusCode::NOT_MODIFIED => {
                Body::full(self.to_xml(resource, request_id))
            }
            _ => Body::empty(),
        };
        let mut response = http::Response::new(body);
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.extend(self.headers);
        if let Ok(id) = HeaderValue::from_str(request_id) {
            headers.insert("x-amz-request-id", id);
        }
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/xml"));
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.entry(header::RETRY_AFTER).or_insert(HeaderValue::from_static("1"));
        }
        response
    }

    /// The error document (S3 API reference, "REST error responses").
    pub fn to_xml(&self, resource: &str, request_id: &str) -> String {
        let escape = |text: &str| quick_xml::escape::escape(printable(text)).into_owned();
        let mut xml = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{}</Code><Message>{}</Message>",
            self.code.name(),
            escape(&self.message)
        );
        for (element, value) in &self.details {
            xml.push_str(&format!("<{element}>{}</{element}>", escape(value)));
        }
        xml.push_str(&format!(
            "<Resource>{}</Resource><RequestId>{}</RequestId></Error>",
            escape(resource),
            escape(request_id)
        ));
        xml
    }
}

/// Whether an error answer carries its XML document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    Document,
    Bodiless,
}

impl std::fmt::Display for S3Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.code.name(), self.message)
    }
}

impl std::error::Error for S3Error {}

/// Replaces what XML 1.0 cannot carry, so that a hostile key cannot break the document.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() && !matches!(c, '\t' | '\n' | '\r') { '\u{fffd}' } else { c })
        .collect()
}

macro_rules! codes {
    ($($name:ident $status:literal),* $(,)?) => {
        /// An S3 error code (S3 API reference, "List of error codes").
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Code { $($name),* }

        impl Code {
            pub fn name(self) -> &'static str {
                match self { $(Code::$name => stringify!($name)),* }
            }

            /// The code of that name, where it is one that the gateway knows.
            pub fn named(name: &str) -> Option<Code> {
                match name { $(stringify!($name) => Some(Code::$name),)* _ => None }
            }

            pub fn status(self) -> StatusCode {
                let status: u16 = match self { $(Code::$name => $status),* };
                StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
            }
        }
    };
}

codes! {
    AccessDenied 403,
    AccessForbidden 403,
    AuthorizationHeaderMalformed 400,
    AuthorizationQueryParametersError 400,
    BadDigest 400,
    BadRequest 400,
    BucketAlreadyExists 409,
    BucketAlreadyOwnedByYou 409,
    BucketNotEmpty 409,
    EntityTooLarge 400,
    EntityTooSmall 400,
    ExpiredToken 400,
    IllegalLocationConstraintException 400,
    IncompleteBody 400,
    InternalError 500,
    InvalidAccessKeyId 403,
    InvalidArgument 400,
    InvalidBucketName 400,
    InvalidBucketState 409,
    InvalidDigest 400,
    InvalidLocationConstraint 400,
    InvalidPart 400,
    InvalidPartNumber 416,
    InvalidPartOrder 400,
    InvalidPolicyDocument 400,
    InvalidRange 416,
    InvalidRequest 400,
    InvalidRetentionPeriod 400,
    InvalidTag 400,
    InvalidToken 400,
    InvalidURI 400,
    KeyTooLongError 400,
    MalformedPOSTRequest 400,
    MalformedTrailerError 400,
    MalformedXML 400,
    MaxMessageLengthExceeded 400,
    MaxPostPreDataLengthExceeded 400,
    MetadataTooLarge 400,
    MethodNotAllowed 405,
    MissingContentLength 411,
    MissingSecurityHeader 400,
    NoSuchBucket 404,
    NoSuchBucketPolicy 404,
    NoSuchCORSConfiguration 404,
    NoSuchKey 404,
    NoSuchLifecycleConfiguration 404,
    NoSuchObjectLockConfiguration 404,
    NoSuchPublicAccessBlockConfiguration 404,
    NoSuchTagSet 404,
    NoSuchUpload 404,
    NoSuchVersion 404,
    NoSuchWebsiteConfiguration 404,
    NotImplemented 501,
    NotModified 304,
    ObjectLockConfigurationNotFoundError 404,
    OperationAborted 409,
    OwnershipControlsNotFoundError 404,
    PreconditionFailed 412,
    ReplicationConfigurationNotFoundError 404,
    RequestHeaderSectionTooLarge 400,
    RequestTimeout 400,
    RequestTimeTooSkewed 403,
    ServerSideEncryptionConfigurationNotFoundError 404,
    ServiceUnavailable 503,
    SignatureDoesNotMatch 403,
    SlowDown 503,
    TooManyBuckets 400,
    XAmzContentSHA256Mismatch 400,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_survives_hostile_text() {
        let error = S3Error::new(Code::NoSuchKey, "no <such> & key \u{1}");
        let xml = error.to_xml("/b/<script>\u{0}", "r");
        assert!(xml.contains("no &lt;such&gt; &amp; key \u{fffd}"), "{xml}");
        assert!(!xml.contains("<script>"));
    }

    #[test]
    fn a_head_request_gets_no_document() {
        let response = S3Error::new(Code::NoSuchKey, "gone").into_response("/b/k", "r", Shape::Bodiless);
        assert_eq!(response.status(), 404);
        assert!(http_body::Body::is_end_stream(response.body()));
    }
}
