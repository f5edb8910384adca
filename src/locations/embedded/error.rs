//! What can go wrong in the embedded store, and how it is answered.

use std::io;

use crate::body::BoxError;
use crate::s3::error::S3Error;
use crate::s3::xml::XmlError;

/// A fault of the store itself. No variant carries a bucket name or a key.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    #[error("cannot {what}: {source}")]
    Io { what: &'static str, source: io::Error },
    #[error("the folder is in use by another process; one folder belongs to one gateway")]
    InUse,
    #[error("the folder has format `{found}`, this version reads up to `{known}`: use a newer version")]
    Format { found: String, known: &'static str },
    #[error("the index failed: {0}")]
    Index(#[from] rusqlite::Error),
    #[error("an index record cannot be read: {0}")]
    Record(&'static str),
    #[error("an object's bytes are missing or shorter than the index says")]
    Damaged,
    #[error("the index failed to reach the disk; it takes no writes until the store is opened again")]
    Failed,
    #[error("the store is shutting down")]
    Stopped,
}

impl EmbeddedError {
    /// For `map_err`: an I/O error with what was attempted.
    pub(super) fn io(what: &'static str) -> impl FnOnce(io::Error) -> EmbeddedError {
        move |source| EmbeddedError::Io { what, source }
    }
}

/// Why one request was not done.
#[derive(Debug)]
pub(super) enum Failure {
    /// An S3 error: the app's answer.
    S3(Box<S3Error>),
    /// The request's own body failed; nothing was stored.
    Body(BoxError),
    /// A fault of the store, before anything took effect.
    Store(EmbeddedError),
    /// A fault of the store at the commit: it may or may not have taken effect.
    Lost(EmbeddedError),
}

impl From<S3Error> for Failure {
    fn from(error: S3Error) -> Self {
        Failure::S3(Box::new(error))
    }
}

impl From<XmlError> for Failure {
    fn from(error: XmlError) -> Self {
        Failure::from(S3Error::from(error))
    }
}

impl From<EmbeddedError> for Failure {
    fn from(error: EmbeddedError) -> Self {
        Failure::Store(error)
    }
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Failure::Store(EmbeddedError::Index(error))
    }
}
