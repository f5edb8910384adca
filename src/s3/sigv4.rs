//! AWS Signature Version 4: who signed a request and how its payload is vouched for, and signing onward.
//!
//! Sans I/O: request heads in, verdicts out. It says nothing about what an app may do, and it does not read
//! bodies ([`super::payload`] does, with the [`ChunkSeed`] from here).
//!
//! Two rules are stricter than the protocol, because a gateway signs again what it was given:
//! - every `x-amz-*` header that arrives must be signed (`x-amz-content-sha256` is bound by the canonical
//!   request itself), so that nobody can turn a signed PUT into a copy by adding a header to it;
//! - a header that the protocol reads once (`Host`, `Authorization`, `x-amz-date`, `x-amz-content-sha256`)
//!   must not come twice.
//!
//! Sources: S3 API reference, "Authenticating Requests (AWS Signature Version 4)".

mod auth;
mod canonical;
mod error;
mod form;
mod key;
mod sign;
mod time;

#[cfg(test)]
mod tests;

use std::time::{Duration, SystemTime};

use aws_lc_rs::digest;
use http::HeaderMap;
use http::request::Parts;
use subtle::ConstantTimeEq;

use auth::{Claim, Credential, SignedHeaders};

use crate::config::Secret;
use crate::names::AppId;

pub(crate) use canonical::strict_path;
pub use error::{Flaw, SigError};
pub use form::FormClaim;
pub use key::{ChunkSeed, SigningKey};
pub use sign::{
    Credentials, PayloadForSigning, SignError, Signer, is_signing_parameter, strip_authentication,
};

/// Verifies requests. Owns a bounded cache of signing keys; share one for the life of the process.
#[derive(Debug, Default)]
pub struct Verifier {
    keys: key::KeyCache,
}

/// What a verification depends on, beside the request.
#[derive(Clone, Copy)]
pub struct VerifyContext<'a> {
    pub now: SystemTime,
    /// Largest difference between the request's date and `now`, either way.
    pub skew: Duration,
    /// Signing regions that are accepted; the first is named to a client that used another.
    pub regions: &'a [String],
    pub keys: &'a dyn KeyStore,
}

/// Where the apps' secrets are.
pub trait KeyStore: Send + Sync {
    fn secret(&self, access_key_id: &str) -> Option<(&AppId, &Secret)>;

    /// Of an access key that is a temporary one.
    fn session(&self, _access_key_id: &str) -> Option<&Session> {
        None
    }
}

/// What makes an access key a temporary one.
#[derive(Debug, Clone)]
pub struct Session {
    pub token: Secret,
    /// From here on it does not count any more.
    pub expires: SystemTime,
}

/// Who signed a request, as [`Verifier::verify`] found it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Identity {
    pub app: AppId,
    pub region: String,
    pub scheme: Scheme,
    pub payload: PayloadMode,
    /// Where the chain of chunk signatures starts.
    pub seed: ChunkSeed,
}

/// Where the signature was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// In the `Authorization` header.
    Header,
    /// In the query: a presigned URL.
    Presigned,
    /// In the fields of a form, over its policy.
    Form,
}

/// How the payload is vouched for (`x-amz-content-sha256`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PayloadMode {
    /// `UNSIGNED-PAYLOAD`, and presigned URLs that say nothing else.
    Unsigned,
    /// The SHA-256 of the whole payload.
    Sha256([u8; 32]),
    /// `STREAMING-AWS4-HMAC-SHA256-PAYLOAD`: chunks with a signature each.
    StreamingSigned,
    /// `STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER`: the same, then signed trailers.
    StreamingSignedTrailer,
    /// `STREAMING-UNSIGNED-PAYLOAD-TRAILER`: chunks without signatures, then trailers.
    StreamingUnsignedTrailer,
}

impl PayloadMode {
    /// Whether the body is framed as `aws-chunked`.
    pub fn is_streaming(self) -> bool {
        !matches!(self, PayloadMode::Unsigned | PayloadMode::Sha256(_))
    }

    fn parse(value: &[u8]) -> Result<PayloadMode, SigError> {
        match value {
            b"UNSIGNED-PAYLOAD" => Ok(PayloadMode::Unsigned),
            b"STREAMING-AWS4-HMAC-SHA256-PAYLOAD" => Ok(PayloadMode::StreamingSigned),
            b"STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER" => Ok(PayloadMode::StreamingSignedTrailer),
            b"STREAMING-UNSIGNED-PAYLOAD-TRAILER" => Ok(PayloadMode::StreamingUnsignedTrailer),
            b"STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD"
            | b"STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD-TRAILER" => Err(SigError::SigV4a),
            _ => {
                let mut hash = [0; 32];
                hex::decode_to_slice(value, &mut hash).map_err(|_| SigError::BadPayloadHash)?;
                Ok(PayloadMode::Sha256(hash))
            }
        }
    }
}

impl Verifier {
    /// Checks the signature of a request head as it was received. Cheap refusals come first, the secret last.
    pub fn verify(&self, parts: &Parts, context: &VerifyContext<'_>) -> Result<Identity, SigError> {
        let claim = Claim::of(parts)?;
        let malformed = |flaw| SigError::Malformed { scheme: claim.scheme, flaw };

        let credential = Credential::parse(&claim.credential).map_err(malformed)?;
        let signed_headers = SignedHeaders::parse(&claim.signed_headers).map_err(malformed)?;
        let signature = parse_signature(claim.signature.as_bytes()).map_err(malformed)?;

        let moment = claim.moment(&parts.headers)?;
        if moment.date() != credential.date {
            return Err(malformed(Flaw::ScopeDate));
        }
        claim.check_freshness(&moment, context)?;
        if !context.regions.iter().any(|region| region == credential.region) {
            let expected = context.regions.first().cloned().unwrap_or_default();
            return Err(malformed(Flaw::Region { expected }));
        }

        signed_headers.cover(&parts.headers)?;
        let host = host(parts)?;
        let payload_value = payload_value(&claim, &parts.headers)?;
        let payload = PayloadMode::parse(payload_value)?;

        let (app, secret) =
            context.keys.secret(credential.access_key_id).ok_or(SigError::UnknownAccessKey)?;
        let session = pair(context.keys.session(credential.access_key_id), claim.token(&parts.headers)?)?;
        let key = self.keys.key(&credential, secret);

        let tail = canonical::tail(&canonical::Tail {
            query: parts.uri.query().unwrap_or(""),
            scheme: claim.scheme,
            headers: &parts.headers,
            host,
            signed_headers: &signed_headers,
            payload: payload_value,
        })?;
        let agrees = |path: &[u8]| {
            let hash = canonical::request_hash(parts.method.as_str(), path, &tail);
            let expected = key.request_signature(moment.as_str(), credential.scope, &hash);
            bool::from(expected.ct_eq(&signature))
        };
        // Clients that leave reserved characters bare have signed either what they sent or its strict form.
        let sent = parts.uri.path().as_bytes();
        let strict = canonical::strict_path(sent);
        if !agrees(&strict) && (*strict == *sent || !agrees(sent)) {
            return Err(SigError::Mismatch);
        }
        // Last: whoever does not know the secret learns nothing about the token.
        check_session(session, context.now)?;

        Ok(Identity {
            app: app.clone(),
            region: credential.region.to_owned(),
            scheme: claim.scheme,
            payload,
            seed: ChunkSeed::new(key, signature, credential.scope, moment.as_str()),
        })
    }
}

/// A temporary key goes with a token, and no other key does.
fn pair<'a>(
    session: Option<&'a Session>,
    token: Option<&'a [u8]>,
) -> Result<Option<(&'a Session, &'a [u8])>, SigError> {
    match (session, token) {
        (None, None) => Ok(None),
        (None, Some(_)) => Err(SigError::SessionToken),
        // As S3 has it: without its token, a temporary key is none.
        (Some(_), None) => Err(SigError::UnknownAccessKey),
        (Some(session), Some(token)) => Ok(Some((session, token))),
    }
}

fn check_session(session: Option<(&Session, &[u8])>, now: SystemTime) -> Result<(), SigError> {
    let Some((session, token)) = session else { return Ok(()) };
    if !bool::from(session.token.expose().as_bytes().ct_eq(token)) {
        return Err(SigError::SessionToken);
    }
    if now >= session.expires { Err(SigError::ExpiredToken) } else { Ok(()) }
}

fn parse_signature(text: &[u8]) -> Result<[u8; 32], Flaw> {
    if text.iter().any(u8::is_ascii_uppercase) {
        return Err(Flaw::Signature);
    }
    let mut signature = [0; 32];
    hex::decode_to_slice(text, &mut signature).map_err(|_| Flaw::Signature)?;
    Ok(signature)
}

/// The host that the client named: `Host`, or `:authority` in HTTP/2. Two that differ are refused.
fn host(parts: &Parts) -> Result<&[u8], SigError> {
    let authority = parts.uri.authority().map(|authority| authority.as_str().as_bytes());
    match (single(&parts.headers, "host")?, authority) {
        (Some(host), Some(authority)) if !host.eq_ignore_ascii_case(authority) => {
            Err(SigError::ConflictingHosts)
        }
        (Some(host), _) => Ok(host),
        (None, Some(authority)) => Ok(authority),
        (None, None) => Err(SigError::MissingHost),
    }
}

/// The last line of the canonical request, as the client stated it.
fn payload_value<'a>(claim: &'a Claim<'_>, headers: &'a HeaderMap) -> Result<&'a [u8], SigError> {
    match (single(headers, "x-amz-content-sha256")?, claim.scheme) {
        (Some(value), _) => Ok(value),
        (None, Scheme::Header | Scheme::Form) => Err(SigError::MissingPayloadHash),
        (None, Scheme::Presigned) => {
            Ok(claim.payload_parameter.as_deref().unwrap_or("UNSIGNED-PAYLOAD").as_bytes())
        }
    }
}

/// The value of a header that may come once.
fn single<'a>(headers: &'a HeaderMap, name: &'static str) -> Result<Option<&'a [u8]>, SigError> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    match values.next() {
        Some(_) => Err(SigError::RepeatedHeader(name)),
        None => Ok(first.map(|value| value.as_bytes())),
    }
}

fn sha256(data: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, data).as_ref());
    hash
}

/// Lower-case hex of 32 bytes, without an allocation.
fn hex32(bytes: &[u8; 32]) -> [u8; 64] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = [0; 64];
    for (pair, byte) in text.chunks_exact_mut(2).zip(bytes) {
        pair.copy_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }
    text
}
