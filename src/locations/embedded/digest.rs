//! Digests of stored bytes: the MD5 of the ETag, the five S3 checksums, and what the sender asserted of them.

use aws_lc_rs::digest as sha;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use crc_fast::CrcAlgorithm;
use http::HeaderMap;
use md5::{Digest as _, Md5};

use crate::s3::error::{Code, S3Error};

/// A checksum algorithm of S3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    Crc32,
    Crc32c,
    Crc64Nvme,
    Sha1,
    Sha256,
}

impl Algorithm {
    pub const ALL: [Algorithm; 5] =
        [Algorithm::Crc32, Algorithm::Crc32c, Algorithm::Crc64Nvme, Algorithm::Sha1, Algorithm::Sha256];

    pub fn name(self) -> &'static str {
        match self {
            Algorithm::Crc32 => "CRC32",
            Algorithm::Crc32c => "CRC32C",
            Algorithm::Crc64Nvme => "CRC64NVME",
            Algorithm::Sha1 => "SHA1",
            Algorithm::Sha256 => "SHA256",
        }
    }

    pub fn header(self) -> &'static str {
        match self {
            Algorithm::Crc32 => "x-amz-checksum-crc32",
            Algorithm::Crc32c => "x-amz-checksum-crc32c",
            Algorithm::Crc64Nvme => "x-amz-checksum-crc64nvme",
            Algorithm::Sha1 => "x-amz-checksum-sha1",
            Algorithm::Sha256 => "x-amz-checksum-sha256",
        }
    }

    /// The element of XML documents.
    pub fn element(self) -> &'static str {
        match self {
            Algorithm::Crc32 => "ChecksumCRC32",
            Algorithm::Crc32c => "ChecksumCRC32C",
            Algorithm::Crc64Nvme => "ChecksumCRC64NVME",
            Algorithm::Sha1 => "ChecksumSHA1",
            Algorithm::Sha256 => "ChecksumSHA256",
        }
    }

    pub fn parse(name: &str) -> Option<Algorithm> {
        Algorithm::ALL.into_iter().find(|algorithm| algorithm.name().eq_ignore_ascii_case(name))
    }

    /// How S3 sums up a multipart upload of which only the algorithm was said.
    pub fn default_kind(self) -> Kind {
        if self == Algorithm::Crc64Nvme { Kind::FullObject } else { Kind::Composite }
    }

    /// Whether the checksum of a whole follows from those of its parts.
    pub fn crc(self) -> Option<CrcAlgorithm> {
        match self {
            Algorithm::Crc32 => Some(CrcAlgorithm::Crc32IsoHdlc),
            Algorithm::Crc32c => Some(CrcAlgorithm::Crc32Iscsi),
            Algorithm::Crc64Nvme => Some(CrcAlgorithm::Crc64Nvme),
            Algorithm::Sha1 | Algorithm::Sha256 => None,
        }
    }

    pub fn length(self) -> usize {
        match self {
            Algorithm::Crc32 | Algorithm::Crc32c => 4,
            Algorithm::Crc64Nvme => 8,
            Algorithm::Sha1 => 20,
            Algorithm::Sha256 => 32,
        }
    }
}

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
}

/// A checksum that is kept with an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checksum {
    pub algorithm: Algorithm,
    pub kind: Kind,
    /// Base64, with `-N` behind it for a composite of N parts.
    pub value: String,
}

impl Checksum {
    pub fn of(algorithm: Algorithm, raw: &[u8]) -> Checksum {
        Checksum { algorithm, kind: Kind::FullObject, value: BASE64_STANDARD.encode(raw) }
    }

    /// The form of the index: `CRC32 FULL_OBJECT NhCmhg==`.
    pub fn to_record(&self) -> String {
        format!("{} {} {}", self.algorithm.name(), self.kind.name(), self.value)
    }

    pub fn from_record(record: &str) -> Option<Checksum> {
        let mut words = record.splitn(3, ' ');
        Some(Checksum {
            algorithm: Algorithm::parse(words.next()?)?,
            kind: Kind::parse(words.next()?)?,
            value: words.next()?.to_owned(),
        })
    }
}

/// What the sender says of the body, to be verified when the last byte is in.
#[derive(Debug, Clone, Default)]
pub struct Asserted {
    md5: Option<[u8; 16]>,
    /// The algorithm to compute, and the value if it is known already.
    checksum: Option<(Algorithm, Option<Vec<u8>>)>,
    /// Lower-case hex.
    sha256: Option<String>,
}

impl Asserted {
    /// Reads `Content-MD5`, `x-amz-checksum-*` and the headers that announce a checksum in the trailer.
    pub fn from_headers(headers: &HeaderMap, sha256: Option<&str>) -> Result<Asserted, S3Error> {
        let md5 = match headers.get("content-md5") {
            None => None,
            Some(value) => Some(decode::<16>(value.as_bytes()).ok_or_else(|| {
                S3Error::new(Code::InvalidDigest, "The Content-MD5 you specified is not valid.")
            })?),
        };
        let mut checksum = None;
        for algorithm in Algorithm::ALL {
            let Some(value) = headers.get(algorithm.header()) else { continue };
            if checksum.is_some() {
                let message =
                    "Expecting a single x-amz-checksum- header. Multiple checksum types are not allowed.";
                return Err(S3Error::new(Code::InvalidRequest, message));
            }
            checksum = Some((algorithm, Some(parse_value(algorithm, value.as_bytes())?)));
        }
        let checksum = checksum.or_else(|| announced(headers).map(|algorithm| (algorithm, None)));
        Ok(Asserted { md5, checksum, sha256: sha256.map(str::to_ascii_lowercase) })
    }

    /// Values that came behind the body.
    pub fn add_trailers(&mut self, trailers: &HeaderMap) -> Result<(), S3Error> {
        if let Some((algorithm, value)) = &mut self.checksum
            && let Some(late) = trailers.get(algorithm.header())
        {
            *value = Some(parse_value(*algorithm, late.as_bytes())?);
        }
        Ok(())
    }

    /// Computes this algorithm even if the sender did not name one.
    pub fn or_compute(&mut self, algorithm: Option<Algorithm>) -> Result<(), S3Error> {
        match (algorithm, &self.checksum) {
            (Some(wanted), Some((named, _))) if wanted != *named => Err(S3Error::new(
                Code::InvalidRequest,
                format!("Checksum Type mismatch occurred, expected checksum Type: {}", wanted.name()),
            )),
            (Some(wanted), None) => {
                self.checksum = Some((wanted, None));
                Ok(())
            }
            _ => Ok(()),
        }
    }

    pub fn digests(&self) -> Digests {
        let algorithm = self.checksum.as_ref().map(|(algorithm, _)| *algorithm);
        let signed = self.sha256.is_some() && algorithm != Some(Algorithm::Sha256);
        Digests {
            md5: Md5::new(),
            checksum: algorithm.map(|algorithm| (algorithm, Running::new(algorithm))),
            sha256: signed.then(|| Running::new(Algorithm::Sha256)),
        }
    }

    /// Compares what came with what was asserted. The ETag's MD5, and the checksum to keep.
    pub fn verify(&self, digests: Digests) -> Result<([u8; 16], Option<Checksum>), S3Error> {
        let Digests { md5, checksum, sha256 } = digests;
        let md5: [u8; 16] = md5.finalize().into();
        if self.md5.is_some_and(|asserted| asserted != md5) {
            let message = "The Content-MD5 you specified did not match what we received.";
            return Err(S3Error::new(Code::BadDigest, message));
        }
        let checksum = checksum.map(|(algorithm, running)| (algorithm, running.finish()));
        if let (Some((algorithm, came)), Some((_, Some(asserted)))) = (&checksum, &self.checksum)
            && came != asserted
        {
            let message =
                format!("The {} you specified did not match the calculated checksum.", algorithm.name());
            return Err(S3Error::new(Code::BadDigest, message));
        }
        if let Some(asserted) = &self.sha256 {
            let came = match (&checksum, sha256) {
                (_, Some(running)) => hex::encode(running.finish()),
                (Some((_, raw)), None) => hex::encode(raw),
                (None, None) => String::new(),
            };
            if came != *asserted {
                let message = "The provided 'x-amz-content-sha256' header does not match what was computed.";
                return Err(S3Error::new(Code::XAmzContentSHA256Mismatch, message));
            }
        }
        Ok((md5, checksum.map(|(algorithm, raw)| Checksum::of(algorithm, &raw))))
    }
}

/// The digests of a body on its way in.
pub struct Digests {
    md5: Md5,
    checksum: Option<(Algorithm, Running)>,
    sha256: Option<Running>,
}

impl Digests {
    pub fn update(&mut self, bytes: &[u8]) {
        self.md5.update(bytes);
        if let Some((_, running)) = &mut self.checksum {
            running.update(bytes);
        }
        if let Some(running) = &mut self.sha256 {
            running.update(bytes);
        }
    }
}

/// A running checksum.
pub enum Running {
    Crc(Box<crc_fast::Digest>, usize),
    Sha(sha::Context),
}

impl Running {
    pub fn new(algorithm: Algorithm) -> Running {
        match (algorithm.crc(), algorithm) {
            (Some(crc), _) => Running::Crc(Box::new(crc_fast::Digest::new(crc)), algorithm.length()),
            (None, Algorithm::Sha1) => Running::Sha(sha::Context::new(&sha::SHA1_FOR_LEGACY_USE_ONLY)),
            (None, _) => Running::Sha(sha::Context::new(&sha::SHA256)),
        }
    }

    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Running::Crc(digest, _) => digest.update(bytes),
            Running::Sha(context) => context.update(bytes),
        }
    }

    /// Big-endian, as S3 writes it.
    pub fn finish(self) -> Vec<u8> {
        match self {
            Running::Crc(digest, length) => crc_bytes(digest.finalize(), length),
            Running::Sha(context) => context.finish().as_ref().to_vec(),
        }
    }
}

/// The checksum of an object from those of its parts, each with the part's size in bytes.
pub fn combine(algorithm: Algorithm, kind: Kind, parts: &[(Vec<u8>, u64)]) -> Option<Checksum> {
    match kind {
        Kind::Composite => {
            let mut running = Running::new(algorithm);
            for (raw, _) in parts {
                running.update(raw);
            }
            let value = format!("{}-{}", BASE64_STANDARD.encode(running.finish()), parts.len());
            Some(Checksum { algorithm, kind, value })
        }
        Kind::FullObject => {
            let crc = algorithm.crc()?;
            let mut parts = parts.iter();
            let mut whole = crc_number(&parts.next()?.0);
            for (raw, size) in parts {
                whole = crc_fast::checksum_combine(crc, whole, crc_number(raw), *size);
            }
            Some(Checksum::of(algorithm, &crc_bytes(whole, algorithm.length())))
        }
    }
}

fn crc_bytes(value: u64, length: usize) -> Vec<u8> {
    value.to_be_bytes().into_iter().skip(8 - length).collect()
}

fn crc_number(raw: &[u8]) -> u64 {
    raw.iter().fold(0, |value, byte| (value << 8) | u64::from(*byte))
}

/// Decodes the base64 value of a checksum and checks its length.
pub fn parse_value(algorithm: Algorithm, value: &[u8]) -> Result<Vec<u8>, S3Error> {
    BASE64_STANDARD.decode(value).ok().filter(|raw| raw.len() == algorithm.length()).ok_or_else(|| {
        S3Error::new(Code::InvalidRequest, format!("Value for {} header is invalid.", algorithm.header()))
    })
}

/// The algorithm of a checksum that comes behind the body, or that the store is asked to compute. Names that are
/// unknown here (SDKs also announce MD5) leave nothing to keep.
fn announced(headers: &HeaderMap) -> Option<Algorithm> {
    if let Some(name) = headers.get("x-amz-sdk-checksum-algorithm") {
        return Algorithm::parse(name.to_str().ok()?);
    }
    let trailer = headers.get("x-amz-trailer")?.to_str().ok()?;
    trailer.split(',').find_map(|name| {
        Algorithm::ALL.into_iter().find(|algorithm| algorithm.header().eq_ignore_ascii_case(name.trim()))
    })
}

fn decode<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    BASE64_STANDARD.decode(text).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(algorithm: Algorithm, bytes: &[u8]) -> Vec<u8> {
        let mut running = Running::new(algorithm);
        running.update(bytes);
        running.finish()
    }

    #[test]
    fn the_sum_of_a_whole_follows_from_the_sums_of_its_parts() {
        let bytes: Vec<u8> = (0..100_000_u64).map(|n| (n * n / 3) as u8).collect();
        for algorithm in [Algorithm::Crc32, Algorithm::Crc32c, Algorithm::Crc64Nvme] {
            let whole = Checksum::of(algorithm, &sum(algorithm, &bytes));
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
        assert_eq!(combine(Algorithm::Sha256, Kind::FullObject, &[(vec![0; 32], 1)]), None);
    }

    #[test]
    fn a_composite_is_the_sum_of_the_sums_and_their_number() {
        let parts =
            [b"12345".as_slice(), b"6789"].map(|part| (sum(Algorithm::Sha1, part), part.len() as u64));
        let joined = [parts[0].0.as_slice(), &parts[1].0].concat();
        let expected = format!("{}-2", BASE64_STANDARD.encode(sum(Algorithm::Sha1, &joined)));
        let composite = combine(Algorithm::Sha1, Kind::Composite, &parts).unwrap();
        assert_eq!((composite.kind, composite.value.as_str()), (Kind::Composite, expected.as_str()));
        assert_eq!(Checksum::from_record(&composite.to_record()), Some(composite));
    }
}
