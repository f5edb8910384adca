//! Signing onward: a request head gets its location's signature.
//!
//! What changes what a location stores or returns is signed (`host`, every `x-amz-*`, content type, conditions,
//! ranges); what a proxy on the way may rewrite (`accept-encoding`, `user-agent`, `via`) is not.

use std::time::SystemTime;

use http::header::{AUTHORIZATION, DATE, HOST, HeaderName, HeaderValue};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, Uri};

use super::auth::{Credential, SignedHeaders};
use super::canonical;
use super::key::KeyCache;
use super::time::Moment;
use super::{Scheme, hex32};
use crate::config::Secret;

const X_AMZ_DATE: HeaderName = HeaderName::from_static("x-amz-date");
const X_AMZ_CONTENT_SHA256: HeaderName = HeaderName::from_static("x-amz-content-sha256");
const X_AMZ_SECURITY_TOKEN: HeaderName = HeaderName::from_static("x-amz-security-token");

/// Signs requests. Owns a bounded cache of signing keys; share one for each set of credentials.
#[derive(Debug, Default)]
pub struct Signer {
    keys: KeyCache,
}

/// Whom to sign as.
#[derive(Debug, Clone, Copy)]
pub struct Credentials<'a> {
    pub access_key_id: &'a str,
    pub secret: &'a Secret,
    pub session_token: Option<&'a Secret>,
}

/// How the payload is vouched for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PayloadForSigning<'a> {
    /// The transport has to protect it.
    Unsigned,
    /// So is this one, in `aws-chunked` framing with a trailer.
    UnsignedWithTrailer,
    /// Lower-case hex SHA-256 of the payload.
    Sha256(&'a str),
    /// No payload: the SHA-256 of nothing.
    Empty,
}

/// Why a request could not be signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    #[error("the request's URI names no host")]
    NoHost,
    #[error("the request's path cannot be written in S3's encoding")]
    Path,
    #[error("the credentials hold characters that no header can carry")]
    Credentials,
    #[error("the payload hash or the signature cannot be a header value")]
    HeaderValue,
    #[error("the time cannot be written as an ISO 8601 date")]
    Time,
}

impl Signer {
    /// Sets `host`, `x-amz-date`, `x-amz-content-sha256`, `x-amz-security-token` and `authorization`, and takes
    /// away what an earlier signature left of them. The path is rewritten in S3's strict encoding where it was
    /// not: a location that decodes and encodes it again must come to the same signature.
    pub fn sign(
        &self,
        parts: &mut Parts,
        credentials: &Credentials<'_>,
        region: &str,
        time: SystemTime,
        payload: PayloadForSigning<'_>,
    ) -> Result<(), SignError> {
        let moment = Moment::from_system(time).ok_or(SignError::Time)?;
        write_strict_path(&mut parts.uri)?;
        let host = host_of(&parts.uri)?;
        let payload = match payload {
            PayloadForSigning::Unsigned => "UNSIGNED-PAYLOAD",
            PayloadForSigning::UnsignedWithTrailer => "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
            PayloadForSigning::Sha256(hash) => hash,
            PayloadForSigning::Empty => "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        };
        let value = |text: &str, error| HeaderValue::from_str(text).map_err(|_| error);
        let headers = &mut parts.headers;
        headers.insert(HOST, value(&host, SignError::NoHost)?);
        headers.insert(X_AMZ_DATE, value(moment.as_str(), SignError::Time)?);
        headers.insert(X_AMZ_CONTENT_SHA256, value(payload, SignError::HeaderValue)?);
        match credentials.session_token {
            Some(token) => {
                let mut token = value(token.expose(), SignError::Credentials)?;
                token.set_sensitive(true);
                headers.insert(X_AMZ_SECURITY_TOKEN, token);
            }
            None => {
                headers.remove(X_AMZ_SECURITY_TOKEN);
            }
        }
        headers.remove(DATE);
        headers.remove(AUTHORIZATION);

        let list = headers_to_sign(headers);
        let signed_headers = SignedHeaders::parse(&list).map_err(|_| SignError::HeaderValue)?;
        let credential_text =
            format!("{}/{}/{region}/s3/aws4_request", credentials.access_key_id, moment.date());
        let credential = Credential::parse(&credential_text).map_err(|_| SignError::Credentials)?;
        let key = self.keys.key(&credential, credentials.secret);

        let tail = canonical::tail(&canonical::Tail {
            query: parts.uri.query().unwrap_or(""),
            scheme: Scheme::Header,
            headers,
            host: host.as_bytes(),
            signed_headers: &signed_headers,
            payload: payload.as_bytes(),
        })
        .map_err(|_| SignError::HeaderValue)?;
        let hash = canonical::request_hash(parts.method.as_str(), parts.uri.path().as_bytes(), &tail);
        let signature = key.request_signature(moment.as_str(), credential.scope, &hash);

        let text = hex32(&signature);
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={credential_text}, SignedHeaders={list}, Signature={}",
            String::from_utf8_lossy(&text)
        );
        let mut authorization = value(&authorization, SignError::Credentials)?;
        authorization.set_sensitive(true);
        parts.headers.insert(AUTHORIZATION, authorization);
        Ok(())
    }
}

/// Takes a client's own signature off a request's headers. The part of it in a query goes with
/// [`is_signing_parameter`].
pub fn strip_authentication(headers: &mut HeaderMap) {
    for name in [AUTHORIZATION, X_AMZ_DATE, X_AMZ_CONTENT_SHA256, X_AMZ_SECURITY_TOKEN] {
        headers.remove(name);
    }
}

/// Whether a query parameter of this decoded name signs a request: a location gets a signature of its own, and refuses two.
pub fn is_signing_parameter(name: &str) -> bool {
    const NAMES: [&str; 8] = [
        "x-amz-algorithm",
        "x-amz-content-sha256",
        "x-amz-credential",
        "x-amz-date",
        "x-amz-expires",
        "x-amz-security-token",
        "x-amz-signature",
        "x-amz-signedheaders",
    ];
    NAMES.iter().any(|known| name.eq_ignore_ascii_case(known))
}

fn headers_to_sign(headers: &HeaderMap) -> String {
    let mut names: Vec<&str> = headers
        .keys()
        .map(HeaderName::as_str)
        .filter(|name| {
            matches!(*name, "host" | "content-type" | "content-md5" | "content-encoding" | "range")
                || name.starts_with("x-amz-")
                || name.starts_with("if-")
        })
        .collect();
    names.sort_unstable();
    names.join(";")
}

/// The `Host` header for a URI: without user information, and without the scheme's own port.
fn host_of(uri: &Uri) -> Result<String, SignError> {
    let host = uri.host().filter(|host| !host.is_empty()).ok_or(SignError::NoHost)?;
    Ok(match (uri.port_u16(), uri.scheme_str()) {
        (None, _) | (Some(443), Some("https")) | (Some(80), Some("http")) => host.to_owned(),
        (Some(port), _) => format!("{host}:{port}"),
    })
}

fn write_strict_path(uri: &mut Uri) -> Result<(), SignError> {
    let sent = uri.path().as_bytes();
    let strict = canonical::strict_path(sent);
    if *strict == *sent {
        return Ok(());
    }
    let mut target = strict.into_owned();
    if let Some(query) = uri.query() {
        target.push(b'?');
        target.extend_from_slice(query.as_bytes());
    }
    let target = PathAndQuery::try_from(target).map_err(|_| SignError::Path)?;
    replace_target(uri, target);
    Ok(())
}

fn replace_target(uri: &mut Uri, target: PathAndQuery) {
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(target);
    if let Ok(new) = Uri::from_parts(parts) {
        *uri = new;
    }
}
