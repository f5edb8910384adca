//! What can go wrong between us and a location, in words that are safe to log.
//!
//! Errors of the layers below may quote host names (which hold bucket names in virtual-host style), so none is
//! passed on as it is: each is read for its kind and dropped.

use std::error::Error;
use std::io;
use std::time::Duration;

use rustls::CertificateError;

/// A failed exchange with a location.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum TransportError {
    #[error("TLS: {0}")]
    Tls(String),
    #[error("{0}")]
    Io(String),
    #[error("HTTP: {0}")]
    Http(String),
    #[error("the location took none of the request body for {0:?}")]
    Stalled(Duration),
    #[error("the location sent no response head for {0:?}")]
    NoResponse(Duration),
    #[error("the location answered with status {0}")]
    ServerError(u16),
    #[error("the location sent nothing of the response body for {0:?}")]
    ResponseStalled(Duration),
}

/// A request body that is not what was announced, or that stopped coming.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RequestBodyError {
    #[error("it ended {missing} bytes before its announced length")]
    Short { missing: u64 },
    #[error("it is longer than announced")]
    Long,
    #[error("nothing of it came for {0:?}")]
    Stalled(Duration),
}

/// A request without a length: S3 takes no chunked transfer encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the length of the request body is not known")]
pub(super) struct LengthUnknown;

impl TransportError {
    /// Finds the cause that says most, without names.
    pub(super) fn from_chain(error: &(dyn Error + 'static)) -> Self {
        let mut next = Some(error);
        let mut found = None;
        while let Some(error) = next {
            if let Some(tls) = error.downcast_ref::<rustls::Error>() {
                return TransportError::Tls(describe_tls(tls));
            } else if let Some(io) = error.downcast_ref::<io::Error>() {
                found = Some(TransportError::Io(describe_io(io)));
                // An `io::Error` hides what it wraps from `source`.
                next = io.get_ref().map(|wrapped| wrapped as _);
            } else {
                if let Some(http) = error.downcast_ref::<hyper::Error>() {
                    found = Some(TransportError::Http(describe_http(http)));
                }
                next = error.source();
            }
        }
        found.unwrap_or_else(|| TransportError::Io("the connection failed".to_owned()))
    }
}

fn describe_tls(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => "the certificate is not valid for the name of the endpoint".to_owned(),
        rustls::Error::InvalidCertificate(CertificateError::Other(_)) => {
            "the certificate is invalid".to_owned()
        }
        rustls::Error::Other(_) => "the handshake failed".to_owned(),
        error => error.to_string(),
    }
}

/// The kind only; the resolver's own errors have none that std names.
fn describe_io(error: &io::Error) -> String {
    match (error.raw_os_error(), error.kind()) {
        (None, io::ErrorKind::Other) => {
            "the endpoint's name does not resolve, or the connection failed".to_owned()
        }
        (_, kind) => kind.to_string(),
    }
}

fn describe_http(error: &hyper::Error) -> String {
    if error.is_incomplete_message() {
        "the connection closed before the message was complete".to_owned()
    } else if error.is_parse() {
        "the location did not answer in HTTP/1.1".to_owned()
    } else if error.is_timeout() {
        "timed out".to_owned()
    } else if error.is_canceled() {
        "the connection closed before the request was sent".to_owned()
    } else {
        "the connection failed".to_owned()
    }
}
