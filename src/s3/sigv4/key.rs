//! Signing keys: derivation, a bounded cache of them, and the chain of chunk signatures.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use aws_lc_rs::hmac;

use super::auth::Credential;
use super::{hex32, sha256};
use crate::config::Secret;

/// A key that is good for one access key, day, region and service. It does not print.
#[derive(Clone)]
pub struct SigningKey(Arc<hmac::Key>);

impl SigningKey {
    /// Four HMACs (S3 API reference, "Calculate signature"); `date` is `YYYYMMDD`.
    pub fn derive(secret: &Secret, date: &str, region: &str) -> SigningKey {
        let first = [b"AWS4", secret.expose().as_bytes()].concat();
        let step =
            |key: &[u8], data: &str| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), data.as_bytes());
        let key = step(&first, date);
        let key = step(key.as_ref(), region);
        let key = step(key.as_ref(), "s3");
        let key = step(key.as_ref(), "aws4_request");
        SigningKey(Arc::new(hmac::Key::new(hmac::HMAC_SHA256, key.as_ref())))
    }

    /// The signature of a canonical request, given its hash.
    pub(super) fn request_signature(&self, timestamp: &str, scope: &str, hash: &[u8; 32]) -> [u8; 32] {
        self.sign_lines(&[b"AWS4-HMAC-SHA256", timestamp.as_bytes(), scope.as_bytes(), &hex32(hash)])
    }

    /// The signature of a form's policy, in base64 as it was sent.
    pub(super) fn policy_signature(&self, policy: &[u8]) -> [u8; 32] {
        self.sign_lines(&[policy])
    }

    fn sign_lines(&self, lines: &[&[u8]]) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.0);
        for (n, line) in lines.iter().enumerate() {
            if n > 0 {
                context.update(b"\n");
            }
            context.update(line);
        }
        let mut signature = [0; 32];
        signature.copy_from_slice(context.sign().as_ref());
        signature
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("<signing key>")
    }
}

/// Derived keys by `access key id/date/region`. Dates are checked before, so few keys are ever current;
/// a full cache starts again.
#[derive(Debug, Default)]
pub(super) struct KeyCache {
    keys: RwLock<HashMap<Box<str>, (Secret, SigningKey)>>,
}

impl KeyCache {
    pub(super) const MAX_KEYS: usize = 4096;

    /// The key of a credential; `secret` is what its access key has now, so a rotated secret is a new key.
    pub(super) fn key(&self, credential: &Credential<'_>, secret: &Secret) -> SigningKey {
        {
            let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
            if let Some((known, key)) = keys.get(credential.key_name)
                && known == secret
            {
                return key.clone();
            }
        }
        let key = SigningKey::derive(secret, credential.date, credential.region);
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        if keys.len() >= Self::MAX_KEYS {
            keys.clear();
        }
        keys.insert(credential.key_name.into(), (secret.clone(), key.clone()));
        key
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.keys.read().unwrap().len()
    }
}

/// The start of a chain of chunk signatures: the request's own signature and what signed it.
#[derive(Clone)]
pub struct ChunkSeed {
    key: SigningKey,
    signature: [u8; 32],
    /// `date/region/s3/aws4_request`
    scope: Arc<str>,
    /// `20130524T000000Z`
    timestamp: Arc<str>,
}

impl ChunkSeed {
    pub fn new(key: SigningKey, signature: [u8; 32], scope: &str, timestamp: &str) -> ChunkSeed {
        ChunkSeed { key, signature, scope: scope.into(), timestamp: timestamp.into() }
    }

    /// The signature that the first chunk continues.
    pub fn signature(&self) -> [u8; 32] {
        self.signature
    }

    /// The signature of a chunk that follows `previous`, given the SHA-256 of its data.
    pub fn chunk_signature(&self, previous: &[u8; 32], data: &[u8; 32]) -> [u8; 32] {
        self.sign("AWS4-HMAC-SHA256-PAYLOAD", previous, &[&hex32(&sha256(b"")), &hex32(data)])
    }

    /// The signature of the trailers, given the SHA-256 of their `name:value\n` lines.
    pub fn trailer_signature(&self, previous: &[u8; 32], trailers: &[u8; 32]) -> [u8; 32] {
        self.sign("AWS4-HMAC-SHA256-TRAILER", previous, &[&hex32(trailers)])
    }

    fn sign(&self, algorithm: &str, previous: &[u8; 32], hashes: &[&[u8; 64]]) -> [u8; 32] {
        let previous = hex32(previous);
        let mut lines: Vec<&[u8]> =
            vec![algorithm.as_bytes(), self.timestamp.as_bytes(), self.scope.as_bytes(), &previous];
        lines.extend(hashes.iter().map(|hash| hash.as_slice()));
        self.key.sign_lines(&lines)
    }
}

impl std::fmt::Debug for ChunkSeed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("<chunk seed>")
    }
}
