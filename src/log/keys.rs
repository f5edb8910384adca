//! Key files of one data folder, and the sealing of names.
//!
//! ```text
//! keys/name.key                root of the keyed hashes of names and of the request tokens
//! keys/<jurisdiction>.seal     wraps the data keys of one jurisdiction and seals its names
//! keys/<origin>.ed25519        signing seed of one log, `/` in the origin written as `_`
//! ```
//! Each file is 32 random bytes, made once, whole or not at all, and never overwritten. A key that should be there
//! and is not is an error: a new one in its place would orphan all that the old one covers.
//! Not here: who may read what is sealed, and the signatures themselves.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::{hkdf, hmac};

use crate::catalogue::{BucketHandle, ObjectHandle};
use crate::names::Country;
use crate::random;

/// What to do about a key that is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnMissing {
    /// Nothing depends on it yet: make it.
    Create,
    /// Something was written with it.
    Refuse,
}

/// Why a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("{path} is missing, and the catalogue was written with it: restore it from the backup")]
    Missing { path: PathBuf },
    #[error("{path} is not the key that the catalogue was written with: restore the right one")]
    Foreign { path: PathBuf },
    #[error("{path} must hold {KEY_LEN} bytes")]
    Length { path: PathBuf },
    #[error("{path} must be a plain file")]
    NotAFile { path: PathBuf },
    #[error("`{0}` cannot be the origin of a log")]
    Origin(String),
    #[error("cannot use {path}: {source}")]
    Io { path: PathBuf, source: io::Error },
    #[error("the cryptographic library refused to work")]
    Library,
    /// Sealed with another key, for another purpose, or changed since.
    #[error("a sealed record cannot be opened")]
    Sealed,
}

/// The keys of one data folder.
pub struct Keys {
    dir: PathBuf,
    handles: hmac::Key,
    token_key: [u8; KEY_LEN],
    fingerprint: Fingerprint,
    seals: Mutex<HashMap<Country, Arc<SealKey>>>,
}

/// Tells one key from another without saying anything about either.
pub type Fingerprint = [u8; 16];

const KEY_LEN: usize = 32;
const NAME_KEY: &str = "name.key";
const SEED_SUFFIX: &str = "ed25519";

impl Keys {
    /// Opens the folder of keys and reads the name key.
    pub fn open(dir: &Path, on_missing: OnMissing) -> Result<Keys, KeyError> {
        match (fs::symlink_metadata(dir), on_missing) {
            (Ok(_), _) => restrict(dir, 0o700)?,
            (Err(error), OnMissing::Create) if error.kind() == io::ErrorKind::NotFound => {
                let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
                made.map_err(|source| io_error(dir, source))?;
                sync_folder(dir.parent().unwrap_or(dir))?;
            }
            (Err(error), _) if error.kind() == io::ErrorKind::NotFound => {
                return Err(KeyError::Missing { path: dir.to_owned() });
            }
            (Err(source), _) => return Err(io_error(dir, source)),
        }
        let root = key_file(&dir.join(NAME_KEY), on_missing)?;
        Ok(Keys {
            dir: dir.to_owned(),
            handles: hmac::Key::new(hmac::HMAC_SHA256, &derive(&root, b"domicile v1 handles")?),
            token_key: derive(&root, b"domicile v1 request tokens")?,
            fingerprint: fingerprint(&root)?,
            seals: Mutex::new(HashMap::new()),
        })
    }

    /// Whether a log was ever signed from this folder.
    pub fn has_signing_seeds(dir: &Path) -> Result<bool, KeyError> {
        let entries = match fs::read_dir(dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            other => other.map_err(|source| io_error(dir, source))?,
        };
        for entry in entries {
            let path = entry.map_err(|source| io_error(dir, source))?.path();
            if path.extension().is_some_and(|extension| extension == SEED_SUFFIX) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The key of the MACs in continuation tokens, upload ids and version ids.
    pub fn token_key(&self) -> [u8; 32] {
        self.token_key
    }

    /// Of the name key: a catalogue keeps it to notice a foreign one.
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    pub fn object_handle(&self, bucket: &str, key: &str) -> ObjectHandle {
        // The length keeps ("ab", "c") and ("a", "bc") apart.
        let length = (bucket.len() as u64).to_be_bytes();
        ObjectHandle(mac(&self.handles, &[b"object", &length, bucket.as_bytes(), key.as_bytes()]))
    }

    pub fn bucket_handle(&self, bucket: &str) -> BucketHandle {
        BucketHandle(mac(&self.handles, &[b"bucket", bucket.as_bytes()]))
    }

    /// The key that seals the names of one jurisdiction.
    pub fn seal_key(&self, jurisdiction: Country, on_missing: OnMissing) -> Result<Arc<SealKey>, KeyError> {
        let mut seals = self.seals.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(seal) = seals.get(&jurisdiction) {
            return Ok(seal.clone());
        }
        let path = self.dir.join(format!("{jurisdiction}.seal"));
        let bytes = key_file(&path, on_missing)?;
        let seal = SealKey {
            path,
            fingerprint: fingerprint(&bytes)?,
            records: hmac::Key::new(hmac::HMAC_SHA256, &derive(&bytes, b"domicile v1 sealed records")?),
        };
        let seal = Arc::new(seal);
        seals.insert(jurisdiction, seal.clone());
        Ok(seal)
    }

    /// The Ed25519 seed of a log that exists.
    pub fn signing_seed(&self, origin: &str) -> Result<[u8; 32], KeyError> {
        key_file(&self.seed_path(origin)?, OnMissing::Refuse)
    }

    /// For a log that is being opened; keeps the seed if a crash left one from an earlier try.
    pub fn create_signing_seed(&self, origin: &str) -> Result<(), KeyError> {
        key_file(&self.seed_path(origin)?, OnMissing::Create).map(drop)
    }

    fn seed_path(&self, origin: &str) -> Result<PathBuf, KeyError> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-./".contains(&b);
        let dotted = origin.split('/').any(|part| part.is_empty() || part.starts_with('.'));
        if origin.len() > 240 || dotted || !origin.bytes().all(plain) {
            return Err(KeyError::Origin(origin.chars().take(80).collect()));
        }
        Ok(self.dir.join(format!("{}.{SEED_SUFFIX}", origin.replace('/', "_"))))
    }
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("<keys>")
    }
}

/// Seals records of one jurisdiction under AES-256-GCM.
///
/// Each record has a key of its own, derived from 96 random bits, and 96 more bits of nonce, so that no number of
/// records wears the key out (the idea of XAES-256-GCM). A sealed record is `nonce (24) || ciphertext || tag (16)`.
pub struct SealKey {
    path: PathBuf,
    fingerprint: Fingerprint,
    records: hmac::Key,
}

impl SealKey {
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// Fails unless this is the key that the catalogue knows by `expected`.
    pub fn verify(&self, expected: &[u8]) -> Result<(), KeyError> {
        if self.fingerprint == expected { Ok(()) } else { Err(KeyError::Foreign { path: self.path.clone() }) }
    }

    /// `context` says what the record is and whose; it must be the same again to open it.
    pub fn seal(&self, context: &[&[u8]], plain: &[u8]) -> Result<Vec<u8>, KeyError> {
        let prefix: [u8; NONCE_LEN] = random::try_bytes().map_err(|_| KeyError::Library)?;
        let sealed = self.record_key(&prefix)?.seal(context, plain)?;
        Ok([prefix.as_slice(), &sealed].concat())
    }

    pub fn open(&self, context: &[&[u8]], sealed: &[u8]) -> Result<Vec<u8>, KeyError> {
        let (prefix, sealed) = sealed.split_first_chunk::<NONCE_LEN>().ok_or(KeyError::Sealed)?;
        self.record_key(prefix)?.open(context, sealed)
    }

    /// A new data key and its wrapping.
    pub fn new_data_key(&self, context: &[&[u8]]) -> Result<(DataKey, Vec<u8>), KeyError> {
        let bytes: [u8; KEY_LEN] = random::try_bytes().map_err(|_| KeyError::Library)?;
        Ok((DataKey::new(&bytes)?, self.seal(context, &bytes)?))
    }

    pub fn unwrap_data_key(&self, context: &[&[u8]], wrapped: &[u8]) -> Result<DataKey, KeyError> {
        DataKey::new(&self.open(context, wrapped)?)
    }

    fn record_key(&self, prefix: &[u8; NONCE_LEN]) -> Result<DataKey, KeyError> {
        DataKey::new(&mac(&self.records, &[prefix]))
    }
}

/// Seals the sidecar records of one object. Destroying its wrapping is erasure.
/// What it seals is `nonce (12) || ciphertext || tag (16)`.
pub struct DataKey(LessSafeKey);

impl DataKey {
    fn new(bytes: &[u8]) -> Result<Self, KeyError> {
        let key = UnboundKey::new(&AES_256_GCM, bytes).map_err(|_| KeyError::Library)?;
        Ok(DataKey(LessSafeKey::new(key)))
    }

    pub fn seal(&self, context: &[&[u8]], plain: &[u8]) -> Result<Vec<u8>, KeyError> {
        let nonce: [u8; NONCE_LEN] = random::try_bytes().map_err(|_| KeyError::Library)?;
        let mut text = plain.to_vec();
        let nonce_for_seal = Nonce::assume_unique_for_key(nonce);
        let sealed = self.0.seal_in_place_append_tag(nonce_for_seal, associated(context), &mut text);
        sealed.map_err(|_| KeyError::Library)?;
        Ok([nonce.as_slice(), &text].concat())
    }

    pub fn open(&self, context: &[&[u8]], sealed: &[u8]) -> Result<Vec<u8>, KeyError> {
        let (nonce, text) = sealed.split_first_chunk::<NONCE_LEN>().ok_or(KeyError::Sealed)?;
        let mut text = text.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let plain = self.0.open_in_place(nonce, associated(context), &mut text);
        plain.map(|plain| plain.to_vec()).map_err(|_| KeyError::Sealed)
    }
}

/// The parts with their lengths, so that no two contexts run together.
fn associated(context: &[&[u8]]) -> Aad<Vec<u8>> {
    let mut bytes = b"domicile v1".to_vec();
    for part in context {
        bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
        bytes.extend_from_slice(part);
    }
    Aad::from(bytes)
}

fn mac(key: &hmac::Key, parts: &[&[u8]]) -> [u8; 32] {
    let mut context = hmac::Context::with_key(key);
    for part in parts {
        context.update(part);
    }
    let tag = context.sign();
    let mut bytes = [0; 32];
    for (to, from) in bytes.iter_mut().zip(tag.as_ref()) {
        *to = *from;
    }
    bytes
}

/// HKDF-SHA-256 of a uniformly random key (RFC 5869, without a salt).
fn derive(root: &[u8; KEY_LEN], info: &[u8]) -> Result<[u8; KEY_LEN], KeyError> {
    let mut derived = [0; KEY_LEN];
    hkdf::Salt::new(hkdf::HKDF_SHA256, &[])
        .extract(root)
        .expand(&[info], hkdf::HKDF_SHA256)
        .and_then(|material| material.fill(&mut derived))
        .map_err(|_| KeyError::Library)?;
    Ok(derived)
}

fn fingerprint(key: &[u8; KEY_LEN]) -> Result<Fingerprint, KeyError> {
    let derived = derive(key, b"domicile v1 fingerprint")?;
    let (first, _) = derived.split_first_chunk().ok_or(KeyError::Library)?;
    Ok(*first)
}

fn key_file(path: &Path, on_missing: OnMissing) -> Result<[u8; KEY_LEN], KeyError> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if !metadata.is_file() => Err(KeyError::NotAFile { path: path.to_owned() }),
        Ok(_) => read_key(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => match on_missing {
            OnMissing::Create => create_key(path),
            OnMissing::Refuse => Err(KeyError::Missing { path: path.to_owned() }),
        },
        Err(source) => Err(io_error(path, source)),
    }
}

fn read_key(path: &Path) -> Result<[u8; KEY_LEN], KeyError> {
    restrict(path, 0o600)?;
    let mut bytes = Vec::with_capacity(KEY_LEN + 1);
    File::open(path)
        .and_then(|file| file.take(KEY_LEN as u64 + 1).read_to_end(&mut bytes))
        .map_err(|source| io_error(path, source))?;
    bytes.try_into().map_err(|_| KeyError::Length { path: path.to_owned() })
}

/// The name appears only when the bytes are on the disk, and never in place of another file:
/// a link, unlike a rename, fails where there is one.
fn create_key(path: &Path) -> Result<[u8; KEY_LEN], KeyError> {
    let key: [u8; KEY_LEN] = random::try_bytes().map_err(|_| KeyError::Library)?;
    let mut draft = path.as_os_str().to_owned();
    draft.push(".new");
    let draft = PathBuf::from(draft);
    let write = || {
        match fs::remove_file(&draft) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
        file.write_all(&key)?;
        file.sync_all()?;
        fs::hard_link(&draft, path)?;
        fs::remove_file(&draft)
    };
    write().map_err(|source| io_error(path, source))?;
    sync_folder(path.parent().unwrap_or(Path::new(".")))?;
    Ok(key)
}

/// Takes away what others may do with a file or folder, for example after a restore.
fn restrict(path: &Path, mode: u32) -> Result<(), KeyError> {
    let found = fs::metadata(path).map_err(|source| io_error(path, source))?.mode();
    if found & 0o077 == 0 {
        return Ok(());
    }
    tracing::warn!(path = %path.display(), "key material was open to other users; closing it");
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(|source| io_error(path, source))
}

fn sync_folder(path: &Path) -> Result<(), KeyError> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    File::open(path).and_then(|folder| folder.sync_all()).map_err(|source| io_error(path, source))
}

fn io_error(path: &Path, source: io::Error) -> KeyError {
    KeyError::Io { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let keys = dir.path().join("keys");
        (dir, keys)
    }

    fn cc(code: &str) -> Country {
        code.parse().unwrap()
    }

    #[test]
    fn keys_are_private_and_the_same_after_a_restart() {
        let (_dir, path) = folder();
        let first = Keys::open(&path, OnMissing::Create).unwrap();
        let seal = first.seal_key(cc("CN"), OnMissing::Create).unwrap();
        first.create_signing_seed("example.org/CN/gw-1/1").unwrap();
        let second = Keys::open(&path, OnMissing::Refuse).unwrap();
        assert_eq!(first.token_key(), second.token_key());
        assert_eq!(first.object_handle("bucket", "key"), second.object_handle("bucket", "key"));
        second.seal_key(cc("CN"), OnMissing::Refuse).unwrap().verify(&seal.fingerprint()).unwrap();
        let seed = first.signing_seed("example.org/CN/gw-1/1").unwrap();
        first.create_signing_seed("example.org/CN/gw-1/1").unwrap();
        assert_eq!(second.signing_seed("example.org/CN/gw-1/1").unwrap(), seed);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o700);
        let mut names: Vec<_> = Vec::new();
        for entry in fs::read_dir(&path).unwrap() {
            let entry = entry.unwrap();
            assert_eq!(entry.metadata().unwrap().mode() & 0o777, 0o600);
            names.push(entry.file_name().into_string().unwrap());
        }
        names.sort();
        assert_eq!(names, ["CN.seal", "example.org_CN_gw-1_1.ed25519", "name.key"]);
    }

    #[test]
    fn a_missing_key_is_an_error_where_something_depends_on_it() {
        let (_dir, path) = folder();
        assert!(matches!(Keys::open(&path, OnMissing::Refuse), Err(KeyError::Missing { .. })));
        let keys = Keys::open(&path, OnMissing::Create).unwrap();
        assert!(matches!(keys.seal_key(cc("CN"), OnMissing::Refuse), Err(KeyError::Missing { .. })));
        assert!(matches!(keys.signing_seed("example.org/CN/gw/1"), Err(KeyError::Missing { .. })));
        fs::remove_file(path.join("name.key")).unwrap();
        assert!(matches!(Keys::open(&path, OnMissing::Refuse), Err(KeyError::Missing { .. })));
    }

    #[test]
    fn a_damaged_key_file_is_refused_and_left_alone() {
        let (_dir, path) = folder();
        Keys::open(&path, OnMissing::Create).unwrap();
        fs::write(path.join("name.key"), [1; 31]).unwrap();
        assert!(matches!(Keys::open(&path, OnMissing::Create), Err(KeyError::Length { .. })));
        assert_eq!(fs::read(path.join("name.key")).unwrap(), [1; 31]);
        fs::remove_file(path.join("name.key")).unwrap();
        std::os::unix::fs::symlink("elsewhere", path.join("name.key")).unwrap();
        assert!(matches!(Keys::open(&path, OnMissing::Create), Err(KeyError::NotAFile { .. })));
    }

    #[test]
    fn a_key_that_was_left_half_made_is_made_again() {
        let (_dir, path) = folder();
        fs::create_dir(&path).unwrap();
        fs::write(path.join("name.key.new"), [1; 7]).unwrap();
        let keys = Keys::open(&path, OnMissing::Create).unwrap();
        assert_eq!(Keys::open(&path, OnMissing::Refuse).unwrap().fingerprint(), keys.fingerprint());
        assert!(!path.join("name.key.new").exists());
    }

    #[test]
    fn a_key_that_others_could_read_is_closed_to_them() {
        let (_dir, path) = folder();
        Keys::open(&path, OnMissing::Create).unwrap();
        fs::set_permissions(path.join("name.key"), fs::Permissions::from_mode(0o644)).unwrap();
        Keys::open(&path, OnMissing::Refuse).unwrap();
        assert_eq!(fs::metadata(path.join("name.key")).unwrap().mode() & 0o777, 0o600);
    }

    #[test]
    fn an_origin_cannot_lead_out_of_the_folder() {
        let (_dir, path) = folder();
        let keys = Keys::open(&path, OnMissing::Create).unwrap();
        for origin in ["", "/", "../x", "a/../b", "a//b", "a b", "a\0b", &"a".repeat(241)] {
            assert!(matches!(keys.create_signing_seed(origin), Err(KeyError::Origin(_))), "{origin}");
        }
    }

    #[test]
    fn handles_of_different_names_differ() {
        let (_dir, path) = folder();
        let keys = Keys::open(&path, OnMissing::Create).unwrap();
        assert_ne!(keys.object_handle("ab", "c"), keys.object_handle("a", "bc"));
        assert_ne!(keys.bucket_handle("abc").0, keys.object_handle("abc", "").0);
        let (_other_dir, other_path) = folder();
        let other = Keys::open(&other_path, OnMissing::Create).unwrap();
        assert_ne!(keys.object_handle("ab", "c"), other.object_handle("ab", "c"));
    }

    #[test]
    fn a_sealed_record_opens_only_as_what_it_was_sealed_as() {
        let (_dir, path) = folder();
        let keys = Keys::open(&path, OnMissing::Create).unwrap();
        let seal = keys.seal_key(cc("CN"), OnMissing::Create).unwrap();
        let sealed = seal.seal(&[b"intent", b"1"], b"names").unwrap();
        assert_eq!(seal.open(&[b"intent", b"1"], &sealed).unwrap(), b"names");
        assert!(matches!(seal.open(&[b"intent1", b""], &sealed), Err(KeyError::Sealed)));
        let other = keys.seal_key(cc("DE"), OnMissing::Create).unwrap();
        assert!(matches!(other.open(&[b"intent", b"1"], &sealed), Err(KeyError::Sealed)));
        assert!(matches!(other.verify(&seal.fingerprint()), Err(KeyError::Foreign { .. })));
        for position in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[position] ^= 1;
            assert!(matches!(seal.open(&[b"intent", b"1"], &changed), Err(KeyError::Sealed)));
            assert!(seal.open(&[b"intent", b"1"], &sealed[..position]).is_err());
        }
    }

    #[test]
    fn a_data_key_survives_its_wrapping() {
        let (_dir, path) = folder();
        let keys = Keys::open(&path, OnMissing::Create).unwrap();
        let seal = keys.seal_key(cc("CN"), OnMissing::Create).unwrap();
        let (key, wrapped) = seal.new_data_key(&[b"oid"]).unwrap();
        let sealed = key.seal(&[b"entry 1"], b"facts").unwrap();
        let again = seal.unwrap_data_key(&[b"oid"], &wrapped).unwrap();
        assert_eq!(again.open(&[b"entry 1"], &sealed).unwrap(), b"facts");
        assert!(matches!(again.open(&[b"entry 2"], &sealed), Err(KeyError::Sealed)));
        assert!(seal.unwrap_data_key(&[b"other"], &wrapped).is_err());
    }
}
