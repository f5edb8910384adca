//! What ends a request early: the S3 error that the client sees, and for us alone where it came from.

use std::fmt;

use crate::body::{BoxError, CollectError};
use crate::catalogue::CatalogueError;
use crate::label::LabelError;
use crate::locations::LocationError;
use crate::names::NameError;
use crate::policy::PolicyError;
use crate::s3::checksum::ChecksumError;
use crate::s3::error::{Code, S3Error};
use crate::s3::form::FormError;
use crate::s3::listing::ListError;
use crate::s3::operation::OpError;
use crate::s3::payload::PayloadError;
use crate::s3::sigv4::SigError;
use crate::s3::tagging::TaggingError;
use crate::s3::token::TokenError;
use crate::s3::xml::{AnswerError, XmlError};

/// Whose doing a failure is: it sets the log level, and the `blame` label of the metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Blame {
    /// The request itself.
    Client,
    /// A residency policy.
    Policy,
    /// A location did not do its part.
    Location,
    /// This gateway.
    Gateway,
}

impl Blame {
    pub fn name(self) -> &'static str {
        match self {
            Blame::Client => "client",
            Blame::Policy => "policy",
            Blame::Location => "location",
            Blame::Gateway => "gateway",
        }
    }
}

/// A request that cannot be answered as asked.
#[derive(Debug)]
pub struct Failure {
    pub error: Box<S3Error>,
    pub blame: Blame,
    pub cause: Option<BoxError>,
}

impl Failure {
    pub fn client(code: Code, message: impl Into<std::borrow::Cow<'static, str>>) -> Self {
        S3Error::new(code, message).into()
    }

    /// A part of the gateway did not answer: the request is refused, and another try may succeed.
    pub fn unavailable(blame: Blame, message: &'static str, cause: impl Into<BoxError>) -> Self {
        Failure {
            error: Box::new(S3Error::new(Code::ServiceUnavailable, message)),
            blame,
            cause: Some(cause.into()),
        }
    }

    pub fn internal(cause: impl Into<BoxError>) -> Self {
        Failure {
            error: Box::new(S3Error::new(
                Code::InternalError,
                "The gateway met an error of its own. Nothing was changed.",
            )),
            blame: Blame::Gateway,
            cause: Some(cause.into()),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.error)
    }
}

impl From<S3Error> for Failure {
    fn from(error: S3Error) -> Self {
        // 501 is a server error by its number only: what the client asked for is not there to be had.
        let ours = error.status().is_server_error() && error.code != Code::NotImplemented;
        let blame = if ours { Blame::Gateway } else { Blame::Client };
        Failure { error: Box::new(error), blame, cause: None }
    }
}

macro_rules! client_errors {
    ($($error:ty),* $(,)?) => {$(
        impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                S3Error::from(error).into()
            }
        }
    )*};
}
client_errors!(
    SigError,
    FormError,
    OpError,
    PayloadError,
    ChecksumError,
    XmlError,
    TaggingError,
    AnswerError,
    ListError,
    TokenError
);

impl From<LabelError> for Failure {
    fn from(error: LabelError) -> Self {
        Failure::client(Code::InvalidTag, format!("The object's labels cannot be read: {error}."))
    }
}

impl From<NameError> for Failure {
    fn from(error: NameError) -> Self {
        let code = match error {
            NameError::KeyLength(length) if length > 0 => Code::KeyTooLongError,
            NameError::Bucket(_) => Code::InvalidBucketName,
            _ => Code::InvalidURI,
        };
        Failure::client(code, error.to_string())
    }
}

impl From<CollectError> for Failure {
    fn from(error: CollectError) -> Self {
        match error {
            CollectError::TooLong { .. } => {
                Failure::client(Code::MaxMessageLengthExceeded, error.to_string())
            }
            CollectError::Read(source) => body_failure(source),
        }
    }
}

impl From<CatalogueError> for Failure {
    fn from(error: CatalogueError) -> Self {
        if matches!(error, CatalogueError::RemovalUnderWay) {
            let message = "An older copy of this object is just being removed from where the new one would go. Try again.";
            return Failure::unavailable(Blame::Location, message, error);
        }
        Failure::unavailable(
            Blame::Gateway,
            "The placement catalogue does not answer. Nothing was acknowledged; try again.",
            error,
        )
    }
}

impl From<PolicyError> for Failure {
    fn from(error: PolicyError) -> Self {
        Failure::unavailable(
            Blame::Gateway,
            "The residency policies do not answer. Nothing was stored; try again.",
            error,
        )
    }
}

impl From<LocationError> for Failure {
    fn from(error: LocationError) -> Self {
        match error {
            LocationError::RequestBody(source) => body_failure(source),
            other => Failure::unavailable(
                Blame::Location,
                "The location of this object does not answer. Try again.",
                other,
            ),
        }
    }
}

/// A request body that failed: by its own check, by a stalled client, or by a client that went away.
pub fn body_failure(source: BoxError) -> Failure {
    let source = match source.downcast::<Failure>() {
        Ok(failure) => return *failure,
        Err(source) => source,
    };
    match source.downcast::<PayloadError>() {
        // What ended the source, for example the idle time-out, says more than that it ended.
        Ok(error) => match *error {
            PayloadError::Source(source) => body_failure(source),
            error => error.into(),
        },
        Err(source) => {
            let mut failure = Failure::client(
                Code::IncompleteBody,
                "The request body ended before the number of bytes that Content-Length names.",
            );
            failure.cause = Some(source);
            failure
        }
    }
}

impl std::error::Error for Failure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.cause.as_deref().map(|cause| cause as &(dyn std::error::Error + 'static))
    }
}
