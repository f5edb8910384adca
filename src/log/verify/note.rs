//! Verifier keys and checkpoints, as an auditor reads them (C2SP `signed-note`, `tlog-checkpoint`).

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// A log's public key under the log's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifierKey {
    pub name: String,
    id: [u8; 4],
    public: [u8; 32],
}

/// A checkpoint whose signatures have not been looked at yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    pub origin: String,
    pub size: u64,
    pub root: [u8; 32],
    signed: String,
    /// Name, key id and signature of each line.
    signatures: Vec<(String, Vec<u8>)>,
}

/// Why a key or a checkpoint is not one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    #[error("it is not of the form name+key id+base64 of an Ed25519 key")]
    KeyForm,
    #[error("its key id is not that of its name and key")]
    KeyId,
    #[error("it is not UTF-8, or holds control characters")]
    Encoding,
    #[error("no blank line separates its text from its signatures")]
    NoSignatures,
    #[error("its first line is not the name of a log")]
    Origin,
    #[error("its second line is not a number of entries")]
    Size,
    #[error("its third line is not the base64 of a 32-byte root")]
    Root,
    #[error("it has lines after the root")]
    Extension,
    #[error("a signature line is not of the form `\u{2014} name base64`")]
    SignatureLine,
}

/// What the signatures of a checkpoint are worth under a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signed {
    Valid,
    Missing,
    Invalid,
}

impl VerifierKey {
    /// Reads `name+hex(key id)+base64(0x01 || public key)`.
    pub fn parse(text: &str) -> Result<Self, NoteError> {
        let mut parts = text.trim_ascii().splitn(3, '+');
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(NoteError::KeyForm);
        };
        let typed = STANDARD.decode(key).map_err(|_| NoteError::KeyForm)?;
        let (Some((1, public)), true) = (typed.split_first(), is_name(name)) else {
            return Err(NoteError::KeyForm);
        };
        let public = public.try_into().map_err(|_| NoteError::KeyForm)?;
        let mut named = format!("{name}\n").into_bytes();
        named.extend_from_slice(&typed);
        let hash = digest(&SHA256, &named);
        let expected = hash.as_ref().first_chunk::<4>().ok_or(NoteError::KeyId)?;
        if hex::decode(id).ok().as_deref() != Some(expected) {
            return Err(NoteError::KeyId);
        }
        Ok(VerifierKey { name: name.to_owned(), id: *expected, public })
    }
}

impl Checkpoint {
    /// Reads the text and the signature lines.
    pub fn parse(bytes: &[u8]) -> Result<Self, NoteError> {
        let note = std::str::from_utf8(bytes).map_err(|_| NoteError::Encoding)?;
        if note.chars().any(|c| c.is_control() && c != '\n') {
            return Err(NoteError::Encoding);
        }
        let (text, signatures) = note.split_once("\n\n").ok_or(NoteError::NoSignatures)?;
        let mut lines = text.split('\n');
        let origin = lines.next().filter(|line| is_name(line)).ok_or(NoteError::Origin)?;
        let size = lines.next().and_then(decimal).ok_or(NoteError::Size)?;
        let root = lines.next().and_then(|line| STANDARD.decode(line).ok());
        let root = root.and_then(|bytes| bytes.try_into().ok()).ok_or(NoteError::Root)?;
        if lines.next().is_some() {
            return Err(NoteError::Extension);
        }
        let signatures = signatures.strip_suffix('\n').ok_or(NoteError::SignatureLine)?;
        let signatures = signatures
            .split('\n')
            .map(signature_line)
            .collect::<Option<_>>()
            .ok_or(NoteError::SignatureLine)?;
        Ok(Checkpoint { origin: origin.to_owned(), size, root, signed: format!("{text}\n"), signatures })
    }

    /// Looks for a signature of `key`. Lines of other names and keys are passed over, as the format asks.
    pub fn signed_by(&self, key: &VerifierKey) -> Signed {
        let mut found = Signed::Missing;
        for (name, signature) in &self.signatures {
            let Some((id, signature)) = signature.split_first_chunk::<4>() else { continue };
            if *name != key.name || *id != key.id {
                continue;
            }
            let public = UnparsedPublicKey::new(&ED25519, &key.public);
            match public.verify(self.signed.as_bytes(), signature) {
                Ok(()) => found = Signed::Valid,
                Err(_) => return Signed::Invalid,
            }
        }
        found
    }
}

fn signature_line(line: &str) -> Option<(String, Vec<u8>)> {
    let (name, signature) = line.strip_prefix("\u{2014} ")?.split_once(' ')?;
    let bytes = STANDARD.decode(signature).ok()?;
    (is_name(name) && bytes.len() > 4).then(|| (name.to_owned(), bytes))
}

/// Names of keys and logs have neither spaces nor `+` (signed-note, "Format").
fn is_name(text: &str) -> bool {
    (1..=1024).contains(&text.len()) && !text.chars().any(|c| c.is_whitespace() || c.is_control() || c == '+')
}

/// A decimal number in its only spelling.
fn decimal(text: &str) -> Option<u64> {
    let number: u64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

    fn parse(text: &str) -> Result<Checkpoint, NoteError> {
        Checkpoint::parse(text.as_bytes())
    }

    #[test]
    fn each_fault_of_a_checkpoint_has_its_name() {
        let line = "\u{2014} a AAAAAAAA\n";
        assert!(parse(&format!("a\n5\n{ROOT}\n\n{line}")).is_ok());
        for (text, error) in [
            (format!("a\n5\n{ROOT}\n"), NoteError::NoSignatures),
            (format!("a b\n5\n{ROOT}\n\n{line}"), NoteError::Origin),
            (format!("a\n05\n{ROOT}\n\n{line}"), NoteError::Size),
            (format!("a\n+5\n{ROOT}\n\n{line}"), NoteError::Size),
            (format!("a\n99999999999999999999\n{ROOT}\n\n{line}"), NoteError::Size),
            (format!("a\n5\nAAAA\n\n{line}"), NoteError::Root),
            (format!("a\n5\n{ROOT}\nmore\n\n{line}"), NoteError::Extension),
            (format!("a\n5\n{ROOT}\n\n"), NoteError::SignatureLine),
            (format!("a\n5\n{ROOT}\n\n- a AAAAAAAA\n"), NoteError::SignatureLine),
            (format!("a\n5\n{ROOT}\n\n{}", line.trim_end()), NoteError::SignatureLine),
            (format!("a\x1b\n5\n{ROOT}\n\n{line}"), NoteError::Encoding),
        ] {
            assert_eq!(parse(&text), Err(error), "{text:?}");
        }
    }

    #[test]
    fn the_example_key_of_the_signed_note_package_is_read_and_its_faults_are_named() {
        let good = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
        assert_eq!(VerifierKey::parse(good).unwrap().name, "PeterNeumann");
        for (text, error) in [
            ("", NoteError::KeyForm),
            ("PeterNeumann", NoteError::KeyForm),
            ("PeterNeumann+c74f20a4+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW", NoteError::KeyId),
            ("PeterNeumann+c74f20a3+AhpcQQ==", NoteError::KeyForm),
            ("Peter Neumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW", NoteError::KeyForm),
        ] {
            assert_eq!(VerifierKey::parse(text), Err(error), "{text:?}");
        }
    }
}
