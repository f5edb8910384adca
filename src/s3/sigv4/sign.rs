//! Signing onward: a request head gets its location's signature.
//!
//! Only what a location needs to trust is signed (`host`, `content-type`, every `x-amz-*`), so that proxies on
//! the way may still add headers of their own.

use std::time::SystemTime;

use http::header::{AUTHORIZATION, CONTENT_TYPE, DATE, HOST, HeaderName, HeaderValue};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, Uri};

use super::auth::{Credential, SignedHeaders};
use super::canonical::{self, decode_parameter, parameters};
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

/// Takes a client's own signature off a request, from headers and query, and leaves every other byte of it.
pub fn strip_authentication(parts: &mut Parts) {
    for name in [AUTHORIZATION, X_AMZ_DATE, X_AMZ_CONTENT_SHA256, X_AMZ_SECURITY_TOKEN] {
        parts.headers.remove(name);
    }
    let Some(query) = parts.uri.query() else { return };
    let is_auth = |name: &str| {
        matches!(
            &*decode_parameter(name),
            b"X-Amz-Algorithm"
                | b"X-Amz-Credential"
                | b"X-Amz-Date"
                | b"X-Amz-Expires"
                | b"X-Amz-SignedHeaders"
                | b"X-Amz-Signature"
                | b"X-Amz-Content-Sha256"
                | b"X-Amz-Security-Token"
        )
    };
    if !parameters(query).any(|(name, _)| is_auth(name)) {
        return;
    }
    let kept: Vec<&str> = query
        .split('&')
        .filter(|pair| !is_auth(pair.split_once('=').map_or(*pair, |(name, _)| name)))
        .collect();
    let rest = kept.join("&");
    let path = parts.uri.path();
    let target = if rest.is_empty() { path.to_owned() } else { format!("{path}?{rest}") };
    // A part of a valid target is a valid target; were it not, the request would fail to sign, not to strip.
    if let Ok(target) = PathAndQuery::try_from(target) {
        replace_target(&mut parts.uri, target);
    }
}

fn headers_to_sign(headers: &HeaderMap) -> String {
    let mut names: Vec<&str> = headers
        .keys()
        .filter(|name| *name == HOST || *name == CONTENT_TYPE || name.as_str().starts_with("x-amz-"))
        .map(HeaderName::as_str)
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
