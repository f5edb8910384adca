//! Why a signature was refused: one variant for each violation, and the S3 error that a client sees.
//!
//! No variant holds a secret, an expected signature, or the canonical request: a client that does not know
//! the secret must not learn from the answer how far it came.

use super::Scheme;
use crate::s3::error::{Code, S3Error};

/// Why a request was not taken as signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SigError {
    #[error("the request is not signed")]
    Anonymous,
    #[error("AWS Signature Version 2 is not supported; use AWS4-HMAC-SHA256")]
    SigV2,
    #[error("AWS Signature Version 4A (ECDSA) is not supported; use AWS4-HMAC-SHA256")]
    SigV4a,
    #[error("this authorization mechanism is not supported; use AWS4-HMAC-SHA256")]
    UnknownMechanism,
    #[error("only one of the Authorization header and the query parameters may carry a signature")]
    TwoMechanisms,
    #[error("the {} malformed: {flaw}", match .scheme {
        Scheme::Header => "authorization header is",
        Scheme::Presigned => "authorization query parameters are",
        Scheme::Form => "authorization fields of the form are",
    })]
    Malformed { scheme: Scheme, flaw: Flaw },
    #[error("the header `{0}` may come only once")]
    RepeatedHeader(&'static str),
    #[error("the request names no host")]
    MissingHost,
    #[error("the Host header and the request's authority name different hosts")]
    ConflictingHosts,
    #[error("a signed request needs a valid x-amz-date or Date header")]
    MissingDate,
    #[error("the date is neither YYYYMMDD'T'HHMMSS'Z' nor, in the Date header, RFC 1123")]
    BadDate,
    #[error("the difference between the request's time and the current time is too large")]
    TooSkewed,
    #[error("the request is not yet valid")]
    NotYetValid,
    #[error("Request has expired")]
    Expired,
    #[error("the request lacks the header x-amz-content-sha256")]
    MissingPayloadHash,
    #[error(
        "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-AWS4-HMAC-SHA256-PAYLOAD, \
         STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER, STREAMING-UNSIGNED-PAYLOAD-TRAILER or a SHA-256 in hex"
    )]
    BadPayloadHash,
    #[error("the header `{0}` was present in the request but was not signed")]
    UnsignedHeader(String),
    #[error("SignedHeaders names a header that the request does not have")]
    SignedHeaderAbsent,
    #[error("the session token is malformed, or is not that of this access key")]
    SessionToken,
    #[error("the session token has expired")]
    ExpiredToken,
    #[error("the access key id is not known, or is a temporary one and came without its session token")]
    UnknownAccessKey,
    #[error(
        "the signature that was calculated does not match the one provided; check the secret access key and \
         the signing method"
    )]
    Mismatch,
}

/// What is wrong with the parts of a signature.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    #[error("it cannot be read")]
    Syntax,
    #[error("`{0}` is missing")]
    Missing(&'static str),
    #[error("`{0}` comes twice")]
    Repeated(&'static str),
    #[error("the credential must have the form <access key id>/<YYYYMMDD>/<region>/s3/aws4_request")]
    Credential,
    #[error("the date of the credential is not the date of the request")]
    ScopeDate,
    #[error("the region of the credential is wrong; expecting `{expected}`")]
    Region { expected: String },
    #[error("the service of the credential must be `s3`")]
    Service,
    #[error("the credential must end with `aws4_request`")]
    Terminator,
    #[error("the signature must be 64 lower-case hex digits")]
    Signature,
    #[error("the signed headers must be lower-case names with `;` between them")]
    SignedHeaders,
    #[error("the signed headers must be sorted, and each may come once")]
    SignedHeadersOrder,
    #[error("the header `host` must be signed")]
    HostNotSigned,
    #[error("X-Amz-Expires must be a number of seconds from 1 to 604800")]
    Expires,
    #[error("X-Amz-Date must have the form YYYYMMDD'T'HHMMSS'Z'")]
    Date,
}

impl From<SigError> for S3Error {
    fn from(error: SigError) -> S3Error {
        let code = match &error {
            SigError::Anonymous
            | SigError::MissingDate
            | SigError::BadDate
            | SigError::NotYetValid
            | SigError::Expired
            | SigError::UnsignedHeader(_) => Code::AccessDenied,
            SigError::SigV2 | SigError::UnknownMechanism => Code::InvalidRequest,
            SigError::SigV4a => Code::NotImplemented,
            SigError::Malformed { scheme: Scheme::Header, .. } => Code::AuthorizationHeaderMalformed,
            SigError::Malformed { scheme: Scheme::Presigned, .. } => Code::AuthorizationQueryParametersError,
            SigError::Malformed { scheme: Scheme::Form, .. }
            | SigError::TwoMechanisms
            | SigError::BadPayloadHash => Code::InvalidArgument,
            SigError::RepeatedHeader(_)
            | SigError::MissingHost
            | SigError::ConflictingHosts
            | SigError::MissingPayloadHash => Code::InvalidRequest,
            SigError::TooSkewed => Code::RequestTimeTooSkewed,
            SigError::SessionToken => Code::InvalidToken,
            SigError::ExpiredToken => Code::ExpiredToken,
            SigError::UnknownAccessKey => Code::InvalidAccessKeyId,
            SigError::SignedHeaderAbsent | SigError::Mismatch => Code::SignatureDoesNotMatch,
        };
        let answer = S3Error::new(code, error.to_string());
        match error {
            SigError::Malformed { flaw: Flaw::Region { expected }, .. } => answer.detail("Region", expected),
            SigError::UnsignedHeader(name) => answer.detail("HeadersNotSigned", name),
            _ => answer,
        }
    }
}
