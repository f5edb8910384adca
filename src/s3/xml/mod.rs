//! The XML documents of S3: what clients send, what locations answer, and what the gateway says to both.
//!
//! Documents are read with bounds on bytes, depth and elements; document type declarations and entities other than
//! XML's own five are refused, so nothing expands. What the gateway does not know in a location's list is kept as it was
//! written. Error documents of the gateway itself are in [`crate::s3::error`].

mod acl;
mod answers;
mod lists;
mod lock;
mod requests;
mod settings;
mod tree;
mod versions;
mod writer;

pub use acl::{Grants, parse_acl, private_acl, show_owner};
pub use answers::{
    BucketEntry, BucketList, CompleteAnswer, CopyAnswer, DeleteFailure, DeleteOutcome, Deleted,
    ErrorDocument, Outcome, complete_result, copy_part_result, copy_result, delete_result, initiate_result,
    list_buckets_result, location_constraint, parse_complete_result, parse_copy_result, parse_delete_result,
    parse_error, parse_initiate_result, post_response,
};
pub use lists::{
    UploadEntry, UploadsPage, UploadsRequest, list_result, parse_list, parse_uploads, rewrite_parts,
    uploads_result,
};
pub use lock::{
    DefaultRetention, LegalHold, Period, Retention, RetentionMode, legal_hold, lock_configuration,
    parse_legal_hold, parse_lock_answer, parse_lock_configuration, parse_retention, parse_until, retention,
};
pub use requests::{
    Bound, CompleteRequest, CompletedPart, DeleteEntry, DeleteRequest, Tag, check_restore,
    create_bucket_configuration, parse_complete, parse_create_bucket, parse_delete, parse_tagging,
    write_complete, write_delete,
};
pub use settings::{
    bucket_tagging, check_root, cors_configuration, kept_cors, parse_bucket_tagging, parse_cors,
};
pub use versions::{
    VersionElement, VersionEntry, VersioningStatus, VersionsPage, VersionsRequest, parse_versioning,
    parse_versioning_answer, parse_versions, versioning_configuration, versions_result,
};
pub use writer::{Writer, document};

use http::{HeaderValue, Response, header};

use crate::body::Body;
use crate::s3::error::{Code, S3Error};

/// The namespace of all S3 documents.
pub const NAMESPACE: &str = "http://s3.amazonaws.com/doc/2006-03-01/";

/// A 200 with this document.
pub fn response(document: String) -> Response<Body> {
    let mut response = Response::new(Body::full(document));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    response
}

/// Why a client's document was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum XmlError {
    #[error("the document is longer than {limit} bytes")]
    TooLong { limit: usize },
    #[error("the document is not UTF-8")]
    Encoding,
    #[error("the document is not well-formed XML")]
    Syntax,
    #[error("document type declarations and processing instructions are not allowed")]
    Doctype,
    #[error("the document uses an entity other than those of XML itself")]
    Entity,
    #[error("elements are nested deeper than {limit}")]
    TooDeep { limit: usize },
    #[error("the document has more than {limit} elements")]
    TooManyElements { limit: usize },
    #[error("the document has another root element than {0}")]
    Root(&'static str),
    #[error("the document has an element that is not expected in {0}")]
    Unexpected(&'static str),
    #[error("{0} is missing")]
    Missing(&'static str),
    #[error("{0} appears twice")]
    Repeated(&'static str),
    #[error("{0} does not have a valid value")]
    Value(&'static str),
    #[error("at least one {what} and at most {limit} are allowed")]
    Count { what: &'static str, limit: usize },
    #[error("an object key is longer than 1024 bytes of UTF-8")]
    KeyTooLong,
    #[error("the relative elements (`..`) of an object key lead out of its bucket")]
    KeyLeadsOut,
    #[error("parts must be listed in ascending order of PartNumber")]
    PartOrder,
    #[error(
        "tags: at most 10 (50 of a bucket), keys of 1 to 128 characters that differ, values of at most 256 characters"
    )]
    Tags,
    #[error("a default retention is of at least one day, and of 100 years at most")]
    RetentionPeriod,
    #[error("{element} in {document} is not implemented by this gateway")]
    Unsupported { element: &'static str, document: &'static str },
}

impl From<XmlError> for S3Error {
    fn from(error: XmlError) -> Self {
        let code = match error {
            XmlError::TooLong { .. } => Code::MaxMessageLengthExceeded,
            XmlError::KeyTooLong => Code::KeyTooLongError,
            XmlError::KeyLeadsOut => Code::InvalidURI,
            XmlError::PartOrder => Code::InvalidPartOrder,
            XmlError::Tags => Code::InvalidTag,
            XmlError::RetentionPeriod => Code::InvalidRetentionPeriod,
            XmlError::Unsupported { .. } => Code::NotImplemented,
            _ => Code::MalformedXML,
        };
        S3Error::new(code, error.to_string())
    }
}

/// A location's document that cannot be read: not the client's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a location's answer cannot be read: {0}")]
pub struct AnswerError(#[from] pub XmlError);

impl From<AnswerError> for S3Error {
    fn from(error: AnswerError) -> Self {
        S3Error::new(Code::ServiceUnavailable, error.to_string())
    }
}

/// How many documents this thread has read.
#[cfg(test)]
pub(crate) fn documents_read() -> usize {
    tree::READ.get()
}

#[cfg(test)]
mod tests;
