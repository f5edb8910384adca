//! Opaque tokens: where a list goes on, and which upload or version of which location a client means.
//!
//! A token is encrypted and authenticated (AES-256-GCM): object names and labels in it do not show in anybody's
//! access log, and one that was changed, cut, or taken to another bucket, key, prefix or app does not open.
//! So no table of uploads or lists is needed. Not for passwords or sessions: a token has no expiry.
//!
//! The key and nonce of each token are derived from its content (HMAC-SHA-256), as in a synthetic-IV scheme:
//! no nonce repeats for different contents, and the same upload has the same token whenever it is named.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::names::{AppId, BucketName, LocationId, ObjectKey};
use crate::s3::error::{Code, S3Error};

/// Longest caller's part of an upload token, in bytes.
pub const MAX_PINNED_BYTES: usize = 2048;
/// Longest upload id of a location, in bytes. S3 states no limit; those of known providers are below 300.
pub const MAX_UPLOAD_ID_BYTES: usize = 1024;
/// Longest version id of a location, in bytes (S3 user guide, "Working with object versions").
pub const MAX_VERSION_ID_BYTES: usize = 1024;
/// Longest text that is looked at as a token.
pub const MAX_TOKEN_CHARS: usize = 5 * 1024;

const VERSION: u8 = 1;
const SALT_LEN: usize = 16;
const TAG_LEN: usize = 16;
const HEAD_LEN: usize = 1 + SALT_LEN + NONCE_LEN;
const _: () = assert!(
    (HEAD_LEN + 6 + 63 + MAX_UPLOAD_ID_BYTES + MAX_PINNED_BYTES + TAG_LEN) * 4 / 3 + 2 <= MAX_TOKEN_CHARS
);

/// Makes and opens tokens. All nodes behind one endpoint hold the same key.
#[derive(Clone)]
pub struct Tokens {
    continuation: Keys,
    upload: Keys,
    version: Keys,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("<token keys>")
    }
}

/// The list that a continuation token belongs to.
#[derive(Clone, Copy)]
pub struct ListBinding<'a> {
    pub app: &'a AppId,
    pub bucket: &'a BucketName,
    pub prefix: &'a str,
    pub delimiter: Option<&'a str>,
}

/// What an upload id stands for.
#[derive(Clone, PartialEq, Eq)]
pub struct Upload {
    pub location: LocationId,
    /// The location's own upload id.
    pub id: String,
    /// The caller's own bytes, for example the labels that the upload was decided with.
    pub pinned: Vec<u8>,
}

impl std::fmt::Debug for Upload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Upload at {}", self.location)
    }
}

/// What a version id stands for. Not bound to an app: version ids are kept and handed on like keys, and whoever may use
/// the bucket may use them.
#[derive(Clone, PartialEq, Eq)]
pub struct VersionId {
    pub location: LocationId,
    /// The location's own version id.
    pub id: String,
    /// Place among the versions of its key: where a list goes on when the version itself has gone.
    pub order: u64,
}

impl std::fmt::Debug for VersionId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "VersionId at {}", self.location)
    }
}

/// Why there is no token, or none that counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Text that no version of this gateway made for this list.
    #[error("the continuation token is not one that this gateway gave for this list")]
    Continuation,
    /// Text that no version of this gateway made for this bucket and key.
    #[error("the upload id is not one that this gateway gave for this key, or the upload has ended")]
    Upload,
    /// Text that no version of this gateway made for this bucket and key.
    #[error("Invalid version id specified")]
    Version,
    #[error("{what} of {len} bytes does not fit into a token; the limit is {limit}")]
    TooLong { what: &'static str, len: usize, limit: usize },
    #[error("the token could not be encrypted")]
    Encrypt,
}

impl From<TokenError> for S3Error {
    fn from(error: TokenError) -> Self {
        let code = match error {
            TokenError::Continuation | TokenError::Version => Code::InvalidArgument,
            TokenError::Upload => Code::NoSuchUpload,
            TokenError::TooLong { .. } | TokenError::Encrypt => Code::InternalError,
        };
        S3Error::new(code, error.to_string())
    }
}

impl Tokens {
    /// `secret` must be 32 random bytes that are kept: with another secret, open uploads and lists are lost.
    pub fn new(secret: &[u8; 32]) -> Self {
        let root = hmac::Key::new(hmac::HMAC_SHA256, secret);
        Tokens {
            continuation: Keys::derive(&root, b"domicile continuation token"),
            upload: Keys::derive(&root, b"domicile upload token"),
            version: Keys::derive(&root, b"domicile version token"),
        }
    }

    /// `position` is the last key or common prefix that was given out.
    pub fn seal_continuation(&self, list: ListBinding<'_>, position: &str) -> Result<String, TokenError> {
        // A list's position is a key or a part of one.
        within("a list position", position.len(), ObjectKey::MAX_BYTES)?;
        self.continuation.seal(&list.bytes(), position.as_bytes())
    }

    pub fn open_continuation(&self, list: ListBinding<'_>, token: &str) -> Result<String, TokenError> {
        let payload = self.continuation.open(&list.bytes(), token).ok_or(TokenError::Continuation)?;
        String::from_utf8(payload).map_err(|_| TokenError::Continuation)
    }

    pub fn seal_upload(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        upload: &Upload,
    ) -> Result<String, TokenError> {
        within("the location's upload id", upload.id.len(), MAX_UPLOAD_ID_BYTES)?;
        within("what is pinned to the upload", upload.pinned.len(), MAX_PINNED_BYTES)?;
        let mut payload = Vec::new();
        put(&mut payload, upload.location.as_str().as_bytes());
        put(&mut payload, upload.id.as_bytes());
        put(&mut payload, &upload.pinned);
        self.upload.seal(&object_bytes(bucket, key), &payload)
    }

    pub fn open_upload(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        token: &str,
    ) -> Result<Upload, TokenError> {
        let payload = self.upload.open(&object_bytes(bucket, key), token).ok_or(TokenError::Upload)?;
        read_upload(&payload).ok_or(TokenError::Upload)
    }

    pub fn seal_version(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        version: &VersionId,
    ) -> Result<String, TokenError> {
        within("the location's version id", version.id.len(), MAX_VERSION_ID_BYTES)?;
        let mut payload = version.order.to_be_bytes().to_vec();
        put(&mut payload, version.location.as_str().as_bytes());
        payload.extend(version.id.as_bytes());
        self.version.seal(&object_bytes(bucket, key), &payload)
    }

    pub fn open_version(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        token: &str,
    ) -> Result<VersionId, TokenError> {
        let payload = self.version.open(&object_bytes(bucket, key), token).ok_or(TokenError::Version)?;
        read_version(&payload).ok_or(TokenError::Version)
    }
}

fn read_upload(mut payload: &[u8]) -> Option<Upload> {
    let location = std::str::from_utf8(take(&mut payload)?).ok()?.parse().ok()?;
    let id = std::str::from_utf8(take(&mut payload)?).ok()?.to_owned();
    let pinned = take(&mut payload)?.to_vec();
    payload.is_empty().then_some(Upload { location, id, pinned })
}

fn read_version(payload: &[u8]) -> Option<VersionId> {
    let (order, mut rest) = payload.split_first_chunk::<8>()?;
    let location = std::str::from_utf8(take(&mut rest)?).ok()?.parse().ok()?;
    let id = std::str::from_utf8(rest).ok()?.to_owned();
    Some(VersionId { location, id, order: u64::from_be_bytes(*order) })
}

impl ListBinding<'_> {
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        put(&mut bytes, self.app.as_str().as_bytes());
        put(&mut bytes, self.bucket.as_str().as_bytes());
        put(&mut bytes, self.prefix.as_bytes());
        match self.delimiter {
            None => bytes.push(0),
            Some(delimiter) => {
                bytes.push(1);
                put(&mut bytes, delimiter.as_bytes());
            }
        }
        bytes
    }
}

fn object_bytes(bucket: &BucketName, key: &ObjectKey) -> Vec<u8> {
    let mut bytes = Vec::new();
    put(&mut bytes, bucket.as_str().as_bytes());
    put(&mut bytes, key.as_str().as_bytes());
    bytes
}

/// The keys of one kind of token.
#[derive(Clone)]
struct Keys {
    /// Content to salt and nonce.
    synthesise: hmac::Key,
    /// Salt to the token's own encryption key.
    encrypt: hmac::Key,
}

impl Keys {
    fn derive(root: &hmac::Key, purpose: &[u8]) -> Self {
        let subkey = |use_of: u8| {
            let mut context = hmac::Context::with_key(root);
            context.update(purpose);
            context.update(&[VERSION, use_of]);
            hmac::Key::new(hmac::HMAC_SHA256, context.sign().as_ref())
        };
        Keys { synthesise: subkey(1), encrypt: subkey(2) }
    }

    fn seal(&self, binding: &[u8], payload: &[u8]) -> Result<String, TokenError> {
        let mut context = hmac::Context::with_key(&self.synthesise);
        let mut framed = Vec::with_capacity(binding.len() + 4);
        put(&mut framed, binding);
        context.update(&framed);
        context.update(payload);
        let synthetic = context.sign();
        let mut token = vec![VERSION];
        token.extend(synthetic.as_ref().iter().take(SALT_LEN + NONCE_LEN));
        let (key, nonce) = self.token_key(&token).ok_or(TokenError::Encrypt)?;
        let mut sealed = payload.to_vec();
        key.seal_in_place_append_tag(nonce, Aad::from(binding), &mut sealed)
            .map_err(|_| TokenError::Encrypt)?;
        token.extend(sealed);
        Ok(URL_SAFE_NO_PAD.encode(token))
    }

    fn open(&self, binding: &[u8], token: &str) -> Option<Vec<u8>> {
        if token.len() > MAX_TOKEN_CHARS {
            return None;
        }
        let token = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (head, sealed) = token.split_at_checked(HEAD_LEN)?;
        if head.first() != Some(&VERSION) {
            return None;
        }
        let (key, nonce) = self.token_key(head)?;
        let mut sealed = sealed.to_vec();
        // The tag is compared in constant time.
        let len = key.open_in_place(nonce, Aad::from(binding), &mut sealed).ok()?.len();
        sealed.truncate(len);
        Some(sealed)
    }

    /// The encryption key and nonce that a token's head (version, salt, nonce) calls for.
    fn token_key(&self, head: &[u8]) -> Option<(LessSafeKey, Nonce)> {
        let (salt, nonce) = head.split_at_checked(1 + SALT_LEN)?;
        let key = hmac::sign(&self.encrypt, salt);
        let key = UnboundKey::new(&AES_256_GCM, key.as_ref()).ok()?;
        Some((LessSafeKey::new(key), Nonce::try_assume_unique_for_key(nonce).ok()?))
    }
}

fn within(what: &'static str, len: usize, limit: usize) -> Result<(), TokenError> {
    if len <= limit { Ok(()) } else { Err(TokenError::TooLong { what, len, limit }) }
}

/// Length-prefixed, so that no two lists of fields share their bytes.
fn put(bytes: &mut Vec<u8>, field: &[u8]) {
    // 64-bit lengths: no field can be longer.
    bytes.extend((field.len() as u64).to_be_bytes());
    bytes.extend(field);
}

fn take<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (len, rest) = bytes.split_first_chunk::<8>()?;
    let (field, rest) = rest.split_at_checked(usize::try_from(u64::from_be_bytes(*len)).ok()?)?;
    *bytes = rest;
    Some(field)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens() -> Tokens {
        Tokens::new(&[7; 32])
    }

    fn upload() -> Upload {
        Upload {
            location: "cn-north".parse().unwrap(),
            id: "2~abc/+=".to_owned(),
            pinned: b"labels".to_vec(),
        }
    }

    fn seal(bucket: &str, key: &str, upload: &Upload) -> Result<String, TokenError> {
        tokens().seal_upload(&bucket.parse().unwrap(), &key.parse().unwrap(), upload)
    }

    fn open(bucket: &str, key: &str, token: &str) -> Result<Upload, TokenError> {
        tokens().open_upload(&bucket.parse().unwrap(), &key.parse().unwrap(), token)
    }

    #[test]
    fn an_upload_comes_back_as_it_was_sealed() {
        let token = seal("photos", "a/b", &upload()).unwrap();
        assert_eq!(open("photos", "a/b", &token), Ok(upload()));
        assert!(token.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'), "{token}");
    }

    #[test]
    fn the_same_upload_has_the_same_token_and_others_have_others() {
        let token = seal("photos", "a/b", &upload()).unwrap();
        assert_eq!(seal("photos", "a/b", &upload()).unwrap(), token);
        assert_ne!(seal("photos", "a/c", &upload()).unwrap()[..38], token[..38]);
        let other = Upload { pinned: b"Labels".to_vec(), ..upload() };
        assert_ne!(seal("photos", "a/b", &other).unwrap()[..38], token[..38]);
    }

    #[test]
    fn a_token_taken_to_another_bucket_or_key_does_not_open() {
        let token = seal("photos", "a/b", &upload()).unwrap();
        assert_eq!(open("photos2", "a/b", &token), Err(TokenError::Upload));
        assert_eq!(open("photos", "a/c", &token), Err(TokenError::Upload));
        let other = Tokens::new(&[8; 32]);
        let opened = other.open_upload(&"photos".parse().unwrap(), &"a/b".parse().unwrap(), &token);
        assert_eq!(opened, Err(TokenError::Upload));
    }

    #[test]
    fn a_version_id_opens_for_its_own_key_only_and_is_no_upload_id() {
        let version = VersionId { location: "cn-north".parse().unwrap(), id: "v/1".to_owned(), order: 7 };
        let (bucket, key): (BucketName, ObjectKey) = ("photos".parse().unwrap(), "a/b".parse().unwrap());
        let token = tokens().seal_version(&bucket, &key, &version).unwrap();
        assert_eq!(tokens().seal_version(&bucket, &key, &version).unwrap(), token);
        assert_eq!(tokens().open_version(&bucket, &key, &token), Ok(version.clone()));
        let (other_bucket, other_key) = ("photos2".parse().unwrap(), "a/c".parse().unwrap());
        assert_eq!(tokens().open_version(&other_bucket, &key, &token), Err(TokenError::Version));
        assert_eq!(tokens().open_version(&bucket, &other_key, &token), Err(TokenError::Version));
        assert_eq!(Tokens::new(&[8; 32]).open_version(&bucket, &key, &token), Err(TokenError::Version));
        for text in ["", "null", "v/1", &token[1..], &seal("photos", "a/b", &upload()).unwrap()] {
            assert_eq!(tokens().open_version(&bucket, &key, text), Err(TokenError::Version), "{text}");
        }
        assert_eq!(open("photos", "a/b", &token), Err(TokenError::Upload));
        let longest = VersionId { id: "v".repeat(MAX_VERSION_ID_BYTES), ..version };
        let token = tokens().seal_version(&bucket, &key, &longest).unwrap();
        assert_eq!(tokens().open_version(&bucket, &key, &token), Ok(longest));
    }

    #[test]
    fn every_changed_bit_and_every_cut_is_noticed() {
        let token = seal("photos", "a/b", &upload()).unwrap();
        let bytes = URL_SAFE_NO_PAD.decode(&token).unwrap();
        for index in 0..bytes.len() {
            let mut forged = bytes.clone();
            forged[index] ^= 1;
            assert_eq!(open("photos", "a/b", &URL_SAFE_NO_PAD.encode(&forged)), Err(TokenError::Upload));
            assert_eq!(
                open("photos", "a/b", &URL_SAFE_NO_PAD.encode(&bytes[..index])),
                Err(TokenError::Upload)
            );
        }
        for text in ["", "2~xyz", "a b", &format!("{token}="), &format!("{token}A"), &"A".repeat(1 << 20)] {
            assert_eq!(open("photos", "a/b", text), Err(TokenError::Upload));
        }
    }

    #[test]
    fn a_token_shows_nothing_of_what_is_in_it() {
        let secret = Upload { pinned: b"personal.health".to_vec(), ..upload() };
        let bytes = URL_SAFE_NO_PAD.decode(seal("photos", "a/b", &secret).unwrap()).unwrap();
        let shows = |needle: &[u8]| bytes.windows(needle.len()).any(|window| window == needle);
        assert!(!shows(b"personal") && !shows(b"cn-north") && !shows(b"2~abc"));
        assert!(!format!("{secret:?}").contains("2~abc"));
    }

    #[test]
    fn what_is_too_long_is_refused_and_the_longest_fits() {
        let longest = Upload {
            location: "a".repeat(63).parse().unwrap(),
            id: "i".repeat(MAX_UPLOAD_ID_BYTES),
            pinned: vec![0; MAX_PINNED_BYTES],
        };
        let token = seal("photos", "a", &longest).unwrap();
        assert_eq!(open("photos", "a", &token), Ok(longest.clone()));
        let pinned = Upload { pinned: vec![0; MAX_PINNED_BYTES + 1], ..longest.clone() };
        assert!(matches!(seal("photos", "a", &pinned), Err(TokenError::TooLong { .. })));
        let id = Upload { id: "i".repeat(MAX_UPLOAD_ID_BYTES + 1), ..longest };
        assert!(matches!(seal("photos", "a", &id), Err(TokenError::TooLong { .. })));
    }

    #[test]
    fn a_continuation_token_opens_for_its_own_list_only() {
        let (app, other_app): (AppId, AppId) = ("web".parse().unwrap(), "etl".parse().unwrap());
        let (bucket, other_bucket) = ("photos".parse().unwrap(), "videos".parse().unwrap());
        let list = ListBinding { app: &app, bucket: &bucket, prefix: "a/", delimiter: Some("/") };
        let token = tokens().seal_continuation(list, "a/李雷").unwrap();
        assert_eq!(tokens().open_continuation(list, &token), Ok("a/李雷".to_owned()));
        for wrong in [
            ListBinding { app: &other_app, ..list },
            ListBinding { bucket: &other_bucket, ..list },
            ListBinding { prefix: "a", ..list },
            ListBinding { delimiter: None, ..list },
            ListBinding { delimiter: Some(""), ..list },
        ] {
            assert_eq!(tokens().open_continuation(wrong, &token), Err(TokenError::Continuation));
        }
        let as_upload = tokens().open_upload(&bucket, &"a/".parse().unwrap(), &token);
        assert_eq!(as_upload, Err(TokenError::Upload));
    }

    #[test]
    fn fields_cannot_flow_into_each_other() {
        let app = "web".parse().unwrap();
        let bucket = "photos".parse().unwrap();
        let list = |prefix, delimiter| ListBinding { app: &app, bucket: &bucket, prefix, delimiter };
        assert_ne!(list("ab", Some("c")).bytes(), list("a", Some("bc")).bytes());
        assert_ne!(list("", None).bytes(), list("\0", None).bytes());
    }

    #[test]
    fn refusals_become_the_codes_that_clients_know() {
        assert_eq!(S3Error::from(TokenError::Upload).code, Code::NoSuchUpload);
        assert_eq!(S3Error::from(TokenError::Continuation).code, Code::InvalidArgument);
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics_or_opens(text in "[A-Za-z0-9_=+/-]{0,200}") {
            proptest::prop_assert_eq!(open("photos", "a", &text), Err(TokenError::Upload));
        }
    }
}
