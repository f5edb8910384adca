//! Checkpoints: the signed head of a log, as C2SP `tlog-checkpoint` and `signed-note` write it.
//!
//! Writes them, and reads the log's own back at start. It is the writer's side: whoever audits a
//! log uses [`crate::log::verify`], which has a parser of its own.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::merkle::Hash;

/// Type byte of a plain Ed25519 key in a signed note.
const ALGORITHM_ED25519: u8 = 0x01;

/// A longer checkpoint than this is not one of ours; ours have under 1 KiB.
pub const MAX_CHECKPOINT_BYTES: u64 = 64 * 1024;

/// Why an origin, a key or a checkpoint was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    #[error(
        "`{0}` cannot be a log's origin: 1 to 8 segments of a-z, A-Z, 0-9, `.`, `_` and `-`, joined by `/`"
    )]
    Origin(String),
    #[error("the signing seed is not an Ed25519 seed")]
    Seed,
    #[error("it is not a checkpoint: {0}")]
    Form(&'static str),
    #[error("it belongs to another log")]
    OtherOrigin,
    #[error("no signature by this log's key")]
    NotSigned,
    #[error("the signature by this log's key does not verify")]
    Signature,
}

/// The name of a log: `<domain>/<jurisdiction>/<node>/<epoch>`. Safe as a relative path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin(String);

impl Origin {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The parts between the slashes: the folders of the log's files.
    pub fn segments(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }
}

impl std::str::FromStr for Origin {
    type Err = CheckpointError;

    fn from_str(text: &str) -> Result<Self, CheckpointError> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
        let segment = |part: &str| {
            (1..=253).contains(&part.len()) && part.bytes().all(plain) && !part.bytes().all(|b| b == b'.')
        };
        if text.split('/').count() <= 8 && text.split('/').all(segment) {
            Ok(Origin(text.to_owned()))
        } else {
            Err(CheckpointError::Origin(text.chars().filter(|c| !c.is_control()).take(80).collect()))
        }
    }
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a checkpoint says: so many entries, under this root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    pub size: u64,
    pub root: Hash,
}

/// A log's signing key. Its name is the log's origin.
pub struct LogKey {
    origin: Origin,
    pair: Ed25519KeyPair,
}

impl LogKey {
    /// Makes the key of `origin` from its 32-byte seed.
    pub fn from_seed(origin: Origin, seed: &[u8; 32]) -> Result<Self, CheckpointError> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| CheckpointError::Seed)?;
        Ok(LogKey { origin, pair })
    }

    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The verifier key as auditors take it: `name+hex(key id)+base64(0x01 || public key)`.
    pub fn vkey(&self) -> String {
        format!("{}+{}+{}", self.origin, hex::encode(self.id()), STANDARD.encode(self.typed_public_key()))
    }

    /// The checkpoint file for `head`, signed. Ed25519 is deterministic: the same head gives the same bytes.
    pub fn sign(&self, head: Head) -> String {
        let text = text_of(&self.origin, head);
        let mut signature = self.id().to_vec();
        signature.extend_from_slice(self.pair.sign(text.as_bytes()).as_ref());
        format!("{text}\n\u{2014} {} {}\n", self.origin, STANDARD.encode(signature))
    }

    /// Reads back a checkpoint that this key signed. Signatures of others (witnesses) are passed over.
    pub fn open(&self, note: &[u8]) -> Result<Head, CheckpointError> {
        let note = std::str::from_utf8(note).map_err(|_| CheckpointError::Form("it is not UTF-8"))?;
        let (text, signatures) = note
            .split_once("\n\n")
            .ok_or(CheckpointError::Form("there is no blank line before the signatures"))?;
        let mut lines = text.split('\n');
        let (origin, size, root) = (lines.next(), lines.next(), lines.next());
        if origin != Some(self.origin.as_str()) {
            return Err(CheckpointError::OtherOrigin);
        }
        let size: u64 = size
            .and_then(|line| line.parse().ok())
            .ok_or(CheckpointError::Form("the size is not a number"))?;
        let root: Hash = root
            .and_then(|line| STANDARD.decode(line).ok())
            .and_then(|bytes| bytes.try_into().ok())
            .ok_or(CheckpointError::Form("the root is not 32 bytes of base64"))?;
        let head = Head { size, root };
        // Only the exact text that we would sign counts: no other spelling of a number, no extension lines.
        if text_of(&self.origin, head) != format!("{text}\n") {
            return Err(CheckpointError::Form("it is not in the form that this log writes"));
        }
        self.check(&format!("{text}\n"), signatures)?;
        Ok(head)
    }

    fn check(&self, text: &str, signatures: &str) -> Result<(), CheckpointError> {
        let prefix = format!("\u{2014} {} ", self.origin);
        let mine = signatures
            .lines()
            .filter_map(|line| STANDARD.decode(line.strip_prefix(&prefix)?).ok())
            .find_map(|bytes| bytes.strip_prefix(&self.id()).map(<[u8]>::to_vec))
            .ok_or(CheckpointError::NotSigned)?;
        UnparsedPublicKey::new(&ED25519, self.pair.public_key().as_ref())
            .verify(text.as_bytes(), &mine)
            .map_err(|_| CheckpointError::Signature)
    }

    /// The first four bytes of `SHA-256(name || 0x0A || 0x01 || public key)`.
    fn id(&self) -> [u8; 4] {
        let mut message = self.origin.as_str().as_bytes().to_vec();
        message.push(b'\n');
        message.extend_from_slice(&self.typed_public_key());
        let mut id = [0; 4];
        id.copy_from_slice(digest(&SHA256, &message).as_ref().split_at(4).0);
        id
    }

    fn typed_public_key(&self) -> Vec<u8> {
        let mut typed = vec![ALGORITHM_ED25519];
        typed.extend_from_slice(self.pair.public_key().as_ref());
        typed
    }
}

impl std::fmt::Debug for LogKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "<signing key of {}>", self.origin)
    }
}

/// The signed text: origin, size and root, a line each.
fn text_of(origin: &Origin, head: Head) -> String {
    format!("{origin}\n{}\n{}\n", head.size, STANDARD.encode(head.root))
}

#[cfg(test)]
mod tests {
    use signed_note::{Note, StandardVerifier, VerifierList};

    use super::*;

    fn key(seed: u8) -> LogKey {
        LogKey::from_seed("log.example.org/CN/gw-1/1".parse().unwrap(), &[seed; 32]).unwrap()
    }

    const HEAD: Head = Head { size: 70_000, root: [7; 32] };

    #[test]
    fn the_signed_note_crate_accepts_our_checkpoint_under_our_vkey() {
        let key = key(1);
        let checkpoint = key.sign(HEAD);
        let verifiers = VerifierList::new(vec![Box::new(StandardVerifier::new(&key.vkey()).unwrap())]);
        let note = Note::from_bytes(checkpoint.as_bytes()).unwrap();
        let (verified, unknown) = note.verify(&verifiers).unwrap();
        assert_eq!((verified.len(), unknown.len()), (1, 0));

        let parsed = tlog_tiles::Checkpoint::from_bytes(note.text()).unwrap();
        assert_eq!(parsed.origin(), "log.example.org/CN/gw-1/1");
        assert_eq!(parsed.size(), 70_000);
        assert_eq!(parsed.hash().0, [7; 32]);
        assert_eq!(parsed.extension(), "");
    }

    #[test]
    fn the_signed_note_crate_refuses_every_flipped_bit() {
        let key = key(1);
        let checkpoint = key.sign(Head { size: 1, root: [7; 32] });
        let verifiers = VerifierList::new(vec![Box::new(StandardVerifier::new(&key.vkey()).unwrap())]);
        for at in 0..checkpoint.len() {
            let mut bytes = checkpoint.clone().into_bytes();
            bytes[at] ^= 1;
            let accepted = Note::from_bytes(&bytes).is_ok_and(|note| note.verify(&verifiers).is_ok());
            assert!(!accepted, "byte {at}");
            assert!(key.open(&bytes).is_err(), "byte {at}");
        }
    }

    #[test]
    fn a_checkpoint_reads_back_and_other_signers_are_passed_over() {
        let checkpoint = format!("{}\u{2014} witness.example AAAAAAAA\n", key(1).sign(HEAD));
        assert_eq!(key(1).open(checkpoint.as_bytes()), Ok(HEAD));
    }

    #[test]
    fn a_checkpoint_of_another_key_or_another_log_is_refused() {
        assert_eq!(key(2).open(key(1).sign(HEAD).as_bytes()), Err(CheckpointError::NotSigned));
        let other = LogKey::from_seed("log.example.org/DE/gw-1/1".parse().unwrap(), &[1; 32]).unwrap();
        assert_eq!(other.open(key(1).sign(HEAD).as_bytes()), Err(CheckpointError::OtherOrigin));
    }

    #[test]
    fn text_that_is_no_checkpoint_is_an_error_and_never_a_panic() {
        let signed = key(1).sign(HEAD);
        for cut in 0..signed.len() {
            let whole_but_the_newline = cut == signed.len() - 1;
            assert_eq!(key(1).open(&signed.as_bytes()[..cut]).is_ok(), whole_but_the_newline, "cut at {cut}");
        }
        for text in ["", "\n\n", "a\n\n\n", "log.example.org/CN/gw-1/1\n+5\nAA==\n\n\u{2014} x y\n"] {
            assert!(key(1).open(text.as_bytes()).is_err(), "{text:?}");
        }
    }

    #[test]
    fn an_origin_is_a_safe_relative_path() {
        for good in ["a", "log.example.org/CN/gw-1/1", "a/b/c/d/e/f/g/h"] {
            assert!(good.parse::<Origin>().is_ok(), "{good}");
        }
        for bad in
            ["", "/", "a//b", "/a", "a/", "a/../b", "a/.", "a b", "a+b", "a\nb", "a/b/c/d/e/f/g/h/i", "é"]
        {
            assert!(bad.parse::<Origin>().is_err(), "{bad}");
        }
    }
}
