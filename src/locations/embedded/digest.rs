//! Digests of stored objects: the MD5 of the ETag, the checksum that is kept, and what the sender asserted of them.
//!
//! Computing and parsing is [`crate::s3::checksum`]'s; here is what a store does with it.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::HeaderMap;

use crate::s3::checksum::{self, Algorithm, Checksum, ChecksumError, Hasher, Md5Hasher, Subject};
use crate::s3::error::{Code, S3Error};

/// What a checksum covers: all bytes, or the checksums of the parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    FullObject,
    Composite,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::FullObject => "FULL_OBJECT",
            Kind::Composite => "COMPOSITE",
        }
    }

    pub fn parse(name: &str) -> Option<Kind> {
        [Kind::FullObject, Kind::Composite].into_iter().find(|kind| kind.name() == name)
    }

    /// How S3 sums up a multipart upload of which only the algorithm was said.
    pub fn default_for(algorithm: Algorithm) -> Kind {
        if algorithm == Algorithm::Crc64Nvme { Kind::FullObject } else { Kind::Composite }
    }
}

/// A checksum that is kept with an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectChecksum {
    pub algorithm: Algorithm,
    pub kind: Kind,
    /// Base64, with `-N` behind it for a composite of N parts.
    pub value: String,
}

impl ObjectChecksum {
    /// The checksum of all of an object's bytes.
    pub fn of_bytes(checksum: Checksum) -> ObjectChecksum {
        let (algorithm, value) = (checksum.algorithm(), checksum.to_base64());
        ObjectChecksum { algorithm, kind: Kind::FullObject, value }
    }

    /// The form of the index: `CRC32 FULL_OBJECT NhCmhg==`.
    pub fn to_record(&self) -> String {
        format!("{} {} {}", self.algorithm.name(), self.kind.name(), self.value)
    }

    pub fn from_record(record: &str) -> Option<ObjectChecksum> {
        let mut words = record.splitn(3, ' ');
        Some(ObjectChecksum {
            algorithm: Algorithm::of_name(words.next()?)?,
            kind: Kind::parse(words.next()?)?,
            value: words.next()?.to_owned(),
        })
    }
}

/// What the sender says of the body, to be verified when the last byte is in.
#[derive(Debug, Clone, Default)]
pub struct Asserted {
    stated: checksum::Asserted,
    /// To be computed and kept, whether its value was stated or not.
    algorithm: Option<Algorithm>,
    /// Lower-case hex.
    sha256: Option<String>,
}

impl Asserted {
    /// Reads `Content-MD5`, `x-amz-checksum-*` and the headers that announce a checksum in the trailer.
    pub fn from_headers(headers: &HeaderMap, sha256: Option<&str>) -> Result<Asserted, S3Error> {
        let stated = checksum::Asserted::from_headers(headers, Subject::Body)?;
        let algorithm = stated.algorithm().or_else(|| requested(headers));
        Ok(Asserted { stated, algorithm, sha256: sha256.map(str::to_ascii_lowercase) })
    }

    /// Values that came behind the body.
    pub fn add_trailers(&mut self, trailers: &HeaderMap) -> Result<(), S3Error> {
        if let Some(algorithm) = self.algorithm
            && let Some(late) = trailers.get(algorithm.header())
        {
            self.stated.checksum = Some(Checksum::parse(algorithm, late.as_bytes())?);
        }
        Ok(())
    }

    /// Computes this algorithm even if the sender did not name one.
    pub fn or_compute(&mut self, algorithm: Option<Algorithm>) -> Result<(), S3Error> {
        match (algorithm, self.algorithm) {
            (Some(wanted), Some(named)) if wanted != named => Err(S3Error::new(
                Code::InvalidRequest,
                format!("Checksum Type mismatch occurred, expected checksum Type: {}", wanted.name()),
            )),
            (wanted, named) => {
                self.algorithm = named.or(wanted);
                Ok(())
            }
        }
    }

    pub fn digests(&self) -> Digests {
        let signed = self.sha256.is_some() && self.algorithm != Some(Algorithm::Sha256);
        Digests {
            md5: Md5Hasher::default(),
            checksum: self.algorithm.map(Hasher::new),
            sha256: signed.then(|| Hasher::new(Algorithm::Sha256)),
        }
    }

    /// Compares what came with what was asserted. The ETag's MD5, and the checksum to keep.
    pub fn verify(&self, digests: Digests) -> Result<([u8; 16], Option<ObjectChecksum>), S3Error> {
        let md5 = digests.md5.finish();
        if self.stated.content_md5.is_some_and(|asserted| asserted != md5) {
            return Err(ChecksumError::Md5Mismatch.into());
        }
        let checksum = digests.checksum.map(Hasher::finish);
        if let (Some(came), Some(asserted)) = (checksum, self.stated.checksum)
            && came != asserted
        {
            return Err(ChecksumError::Mismatch(asserted.algorithm()).into());
        }
        if let Some(asserted) = &self.sha256 {
            // Without a digest of its own, the signed hash is that of the checksum.
            let came = digests.sha256.map(Hasher::finish).or(checksum);
            if came.is_none_or(|came| hex::encode(came.as_bytes()) != *asserted) {
                return Err(ChecksumError::PayloadHashMismatch.into());
            }
        }
        Ok((md5, checksum.map(ObjectChecksum::of_bytes)))
    }
}

/// The digests of a body on its way in.
pub struct Digests {
    md5: Md5Hasher,
    checksum: Option<Hasher>,
    sha256: Option<Hasher>,
}

impl Digests {
    pub fn update(&mut self, bytes: &[u8]) {
        self.md5.update(bytes);
        if let Some(hasher) = &mut self.checksum {
            hasher.update(bytes);
        }
        if let Some(hasher) = &mut self.sha256 {
            hasher.update(bytes);
        }
    }
}

/// The checksum of an object from those of its parts, each with the part's size in bytes.
pub fn combine(algorithm: Algorithm, kind: Kind, parts: &[(Checksum, u64)]) -> Option<ObjectChecksum> {
    let value = match kind {
        Kind::Composite => {
            let mut hasher = Hasher::new(algorithm);
            for (part, _) in parts {
                hasher.update(part.as_bytes());
            }
            format!("{}-{}", hasher.finish().to_base64(), parts.len())
        }
        Kind::FullObject => {
            let crc = algorithm.crc()?;
            let mut parts = parts.iter();
            let mut whole = crc_number(&parts.next()?.0);
            for (part, size) in parts {
                whole = crc_fast::checksum_combine(crc, whole, crc_number(part), *size);
            }
            BASE64_STANDARD.encode(whole.to_be_bytes().get(8 - algorithm.length()..)?)
        }
    };
    Some(ObjectChecksum { algorithm, kind, value })
}

fn crc_number(checksum: &Checksum) -> u64 {
    checksum.as_bytes().iter().fold(0, |value, byte| (value << 8) | u64::from(*byte))
}

/// The algorithm that the store is asked to compute by itself. Names that are unknown here (SDKs also announce MD5)
/// leave nothing to keep.
fn requested(headers: &HeaderMap) -> Option<Algorithm> {
    Algorithm::of_name(headers.get("x-amz-sdk-checksum-algorithm")?.to_str().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(algorithm: Algorithm, bytes: &[u8]) -> Checksum {
        let mut hasher = Hasher::new(algorithm);
        hasher.update(bytes);
        hasher.finish()
    }

    #[test]
    fn the_sum_of_a_whole_follows_from_the_sums_of_its_parts() {
        let bytes: Vec<u8> = (0..100_000_u64).map(|n| (n * n / 3) as u8).collect();
        for algorithm in [Algorithm::Crc32, Algorithm::Crc32c, Algorithm::Crc64Nvme] {
            let whole = ObjectChecksum::of_bytes(sum(algorithm, &bytes));
            for cuts in [vec![], vec![1], vec![50_000, 70_001], vec![1, 2, 3, 99_999, 100_000]] {
                let mut parts = Vec::new();
                let mut start = 0;
                for end in cuts.into_iter().chain([bytes.len()]) {
                    let part = &bytes[start..end];
                    parts.push((sum(algorithm, part), part.len() as u64));
                    start = end;
                }
                assert_eq!(combine(algorithm, Kind::FullObject, &parts), Some(whole.clone()));
            }
        }
        assert_eq!(combine(Algorithm::Sha256, Kind::FullObject, &[(sum(Algorithm::Sha256, b"a"), 1)]), None);
    }

    #[test]
    fn a_composite_is_the_sum_of_the_sums_and_their_number() {
        let parts =
            [b"12345".as_slice(), b"6789"].map(|part| (sum(Algorithm::Sha1, part), part.len() as u64));
        let joined = [parts[0].0.as_bytes(), parts[1].0.as_bytes()].concat();
        let expected = format!("{}-2", sum(Algorithm::Sha1, &joined).to_base64());
        let composite = combine(Algorithm::Sha1, Kind::Composite, &parts).unwrap();
        assert_eq!((composite.kind, composite.value.as_str()), (Kind::Composite, expected.as_str()));
        assert_eq!(ObjectChecksum::from_record(&composite.to_record()), Some(composite));
    }
}
