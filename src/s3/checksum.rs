//! Checksums: what a client asserts about the bytes it sends, and computing the same.
//!
//! Sans I/O. Holding a body back until its checksum agrees is the work of [`super::payload`].
//!
//! Source: S3 user guide, "Checking object integrity"; the values are base64 of the big-endian checksum.

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use crc_fast::CrcAlgorithm;
use http::{HeaderMap, HeaderName, HeaderValue};
use md5::Digest as _;
use subtle::ConstantTimeEq;

use super::error::{Code, S3Error};

/// The checksum algorithms of S3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
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

    /// The header, or trailer, that carries a value of this algorithm.
    pub const fn header(self) -> HeaderName {
        HeaderName::from_static(match self {
            Algorithm::Crc32 => "x-amz-checksum-crc32",
            Algorithm::Crc32c => "x-amz-checksum-crc32c",
            Algorithm::Crc64Nvme => "x-amz-checksum-crc64nvme",
            Algorithm::Sha1 => "x-amz-checksum-sha1",
            Algorithm::Sha256 => "x-amz-checksum-sha256",
        })
    }

    /// The name in `x-amz-sdk-checksum-algorithm` and in documents.
    pub const fn name(self) -> &'static str {
        match self {
            Algorithm::Crc32 => "CRC32",
            Algorithm::Crc32c => "CRC32C",
            Algorithm::Crc64Nvme => "CRC64NVME",
            Algorithm::Sha1 => "SHA1",
            Algorithm::Sha256 => "SHA256",
        }
    }

    /// Bytes of a value.
    pub const fn length(self) -> usize {
        match self {
            Algorithm::Crc32 | Algorithm::Crc32c => 4,
            Algorithm::Crc64Nvme => 8,
            Algorithm::Sha1 => 20,
            Algorithm::Sha256 => 32,
        }
    }

    /// The element that carries a value in documents.
    pub const fn element(self) -> &'static str {
        match self {
            Algorithm::Crc32 => "ChecksumCRC32",
            Algorithm::Crc32c => "ChecksumCRC32C",
            Algorithm::Crc64Nvme => "ChecksumCRC64NVME",
            Algorithm::Sha1 => "ChecksumSHA1",
            Algorithm::Sha256 => "ChecksumSHA256",
        }
    }

    /// The CRC that it is; of those, the checksum of a whole follows from the ones of its parts.
    pub const fn crc(self) -> Option<CrcAlgorithm> {
        match self {
            Algorithm::Crc32 => Some(CrcAlgorithm::Crc32IsoHdlc),
            Algorithm::Crc32c => Some(CrcAlgorithm::Crc32Iscsi),
            Algorithm::Crc64Nvme => Some(CrcAlgorithm::Crc64Nvme),
            Algorithm::Sha1 | Algorithm::Sha256 => None,
        }
    }

    /// The algorithm of this name, in any case.
    pub fn of_name(name: &str) -> Option<Algorithm> {
        Algorithm::ALL.into_iter().find(|algorithm| algorithm.name().eq_ignore_ascii_case(name))
    }

    /// The algorithm whose header has this name, in any case.
    pub fn of_header(name: &str) -> Option<Algorithm> {
        Algorithm::ALL.into_iter().find(|algorithm| algorithm.header().as_str().eq_ignore_ascii_case(name))
    }
}

/// A checksum value.
#[derive(Clone, Copy)]
pub struct Checksum {
    algorithm: Algorithm,
    bytes: [u8; 32],
}

impl Checksum {
    /// Parses the base64 of a header or trailer.
    pub fn parse(algorithm: Algorithm, text: &[u8]) -> Result<Checksum, ChecksumError> {
        let mut checksum = Checksum { algorithm, bytes: [0; 32] };
        if decode_base64(text, &mut checksum.bytes) == Some(algorithm.length()) {
            Ok(checksum)
        } else {
            Err(ChecksumError::Malformed(algorithm))
        }
    }

    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The value, big-endian: [`Algorithm::length`] bytes.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.algorithm.length()).unwrap_or_default()
    }

    pub fn to_base64(&self) -> String {
        STANDARD.encode(self.as_bytes())
    }

    /// The one header, or trailer, that carries it.
    pub fn to_headers(&self) -> HeaderMap {
        // Base64 is made of what a header value may hold.
        let value = HeaderValue::from_str(&self.to_base64()).ok();
        value.map(|value| (self.algorithm.header(), value)).into_iter().collect()
    }
}

impl PartialEq for Checksum {
    fn eq(&self, other: &Checksum) -> bool {
        self.algorithm == other.algorithm && bool::from(self.bytes.ct_eq(&other.bytes))
    }
}

impl Eq for Checksum {}

impl std::fmt::Debug for Checksum {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.algorithm.name(), self.to_base64())
    }
}

/// Computes a checksum piece by piece.
#[derive(Clone)]
pub struct Hasher(State);

#[derive(Clone)]
enum State {
    /// Boxed: it is four times the size of the other.
    Crc(Algorithm, Box<crc_fast::Digest>),
    Sha(Algorithm, digest::Context),
}

impl Hasher {
    pub fn new(algorithm: Algorithm) -> Hasher {
        let sha = |kind| State::Sha(algorithm, digest::Context::new(kind));
        Hasher(match (algorithm.crc(), algorithm) {
            (Some(crc), _) => State::Crc(algorithm, Box::new(crc_fast::Digest::new(crc))),
            (None, Algorithm::Sha1) => sha(&digest::SHA1_FOR_LEGACY_USE_ONLY),
            (None, _) => sha(&digest::SHA256),
        })
    }

    pub fn update(&mut self, data: &[u8]) {
        match &mut self.0 {
            State::Crc(_, digest) => digest.update(data),
            State::Sha(_, context) => context.update(data),
        }
    }

    pub fn finish(self) -> Checksum {
        let (algorithm, value) = match self.0 {
            State::Crc(algorithm, digest) => {
                let value = digest.finalize().to_be_bytes();
                (algorithm, value.get(8 - algorithm.length()..).unwrap_or_default().to_vec())
            }
            State::Sha(algorithm, context) => (algorithm, context.finish().as_ref().to_vec()),
        };
        let mut bytes = [0; 32];
        for (to, from) in bytes.iter_mut().zip(value) {
            *to = from;
        }
        Checksum { algorithm, bytes }
    }
}

impl std::fmt::Debug for Hasher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hasher")
    }
}

/// Computes an MD5 piece by piece: for `Content-MD5` and entity tags, which S3 still has, and for nothing else.
#[derive(Clone, Default)]
pub struct Md5Hasher(md5::Md5);

impl Md5Hasher {
    pub fn update(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    pub fn finish(self) -> [u8; 16] {
        self.0.finalize().into()
    }
}

impl std::fmt::Debug for Md5Hasher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Md5Hasher")
    }
}

/// What the checksum headers of a request are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// The body of this very request.
    Body,
    /// An object that is assembled elsewhere (CompleteMultipartUpload): the values pass through unread.
    Object,
}

/// What a client asserted about the bytes of its request's body.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Asserted {
    pub checksum: Option<Checksum>,
    /// The algorithm whose value `x-amz-trailer` announces.
    pub trailer: Option<Algorithm>,
    pub content_md5: Option<[u8; 16]>,
}

impl Asserted {
    /// Collects the assertions of a request. Headers of algorithms that we do not know are the location's
    /// business; a trailer is not, because it is taken off here.
    pub fn from_headers(headers: &HeaderMap, subject: Subject) -> Result<Asserted, ChecksumError> {
        let mut asserted = Asserted { content_md5: content_md5(headers)?, ..Asserted::default() };
        for algorithm in Algorithm::ALL {
            for value in headers.get_all(algorithm.header()) {
                if subject == Subject::Object {
                    continue;
                }
                let checksum = Checksum::parse(algorithm, value.as_bytes())?;
                if asserted.checksum.replace(checksum).is_some() {
                    return Err(ChecksumError::SeveralChecksums);
                }
            }
        }
        asserted.trailer = trailer(headers)?;
        if asserted.checksum.is_some() && asserted.trailer.is_some() {
            return Err(ChecksumError::SeveralChecksums);
        }
        asserted.check_announced_algorithm(headers)?;
        Ok(asserted)
    }

    /// The algorithm that has to be computed.
    pub fn algorithm(&self) -> Option<Algorithm> {
        self.checksum.map(|checksum| checksum.algorithm()).or(self.trailer)
    }

    fn check_announced_algorithm(&self, headers: &HeaderMap) -> Result<(), ChecksumError> {
        let Some(value) = headers.get("x-amz-sdk-checksum-algorithm") else { return Ok(()) };
        let agrees =
            |algorithm: Algorithm| value.as_bytes().eq_ignore_ascii_case(algorithm.name().as_bytes());
        match self.algorithm() {
            Some(algorithm) if !agrees(algorithm) => Err(ChecksumError::AlgorithmMismatch),
            _ => Ok(()),
        }
    }
}

fn content_md5(headers: &HeaderMap) -> Result<Option<[u8; 16]>, ChecksumError> {
    let mut values = headers.get_all("content-md5").iter();
    let Some(value) = values.next() else { return Ok(None) };
    let mut md5 = [0; 16];
    if values.next().is_some() || decode_base64(value.as_bytes(), &mut md5) != Some(16) {
        return Err(ChecksumError::MalformedMd5);
    }
    Ok(Some(md5))
}

/// `x-amz-trailer` names at most one header, and that of a checksum that we can compute.
fn trailer(headers: &HeaderMap) -> Result<Option<Algorithm>, ChecksumError> {
    let mut found = None;
    for value in headers.get_all("x-amz-trailer") {
        for name in value.as_bytes().split(|&byte| byte == b',') {
            let algorithm = std::str::from_utf8(name)
                .ok()
                .and_then(|name| Algorithm::of_header(name.trim()))
                .ok_or(ChecksumError::UnsupportedTrailer)?;
            if found.replace(algorithm).is_some() {
                return Err(ChecksumError::SeveralChecksums);
            }
        }
    }
    Ok(found)
}

/// Decodes into `out` and says how many bytes there were; `None` when it is not base64 or too long.
fn decode_base64(text: &[u8], out: &mut [u8]) -> Option<usize> {
    // The decoder wants room for whole groups of three bytes.
    let mut room = [0; 48];
    if text.len() > 44 {
        return None;
    }
    let length = STANDARD.decode_slice(text, &mut room).ok()?;
    out.get_mut(..length)?.copy_from_slice(room.get(..length)?);
    Some(length)
}

/// Why an assertion about bytes was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChecksumError {
    #[error("the value of {} is not the base64 of a {} checksum", .0.header(), .0.name())]
    Malformed(Algorithm),
    #[error("the Content-MD5 that was specified is not the base64 of an MD5")]
    MalformedMd5,
    #[error("expecting a single x-amz-checksum- header or trailer; several checksums are not allowed")]
    SeveralChecksums,
    #[error("x-amz-sdk-checksum-algorithm does not match the x-amz-checksum- header or x-amz-trailer")]
    AlgorithmMismatch,
    #[error("the value specified in x-amz-trailer is not supported: name one x-amz-checksum- header")]
    UnsupportedTrailer,
    #[error("the {} that was specified did not match the calculated checksum", .0.name())]
    Mismatch(Algorithm),
    #[error("the Content-MD5 that was specified did not match what was received")]
    Md5Mismatch,
    #[error("the x-amz-content-sha256 that was specified did not match what was computed")]
    PayloadHashMismatch,
}

impl From<ChecksumError> for S3Error {
    fn from(error: ChecksumError) -> S3Error {
        let code = match error {
            ChecksumError::MalformedMd5 => Code::InvalidDigest,
            ChecksumError::Malformed(_)
            | ChecksumError::SeveralChecksums
            | ChecksumError::AlgorithmMismatch
            | ChecksumError::UnsupportedTrailer => Code::InvalidRequest,
            ChecksumError::Mismatch(_) | ChecksumError::Md5Mismatch => Code::BadDigest,
            ChecksumError::PayloadHashMismatch => Code::XAmzContentSHA256Mismatch,
        };
        S3Error::new(code, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Check values of the CRC catalogue and of FIPS 180, for `123456789`.
    const KNOWN: [(Algorithm, &str); 5] = [
        (Algorithm::Crc32, "cbf43926"),
        (Algorithm::Crc32c, "e3069283"),
        (Algorithm::Crc64Nvme, "ae8b14860a799888"),
        (Algorithm::Sha1, "f7c3bc1d808e04732adf679965ccc34ca7ae3441"),
        (Algorithm::Sha256, "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225"),
    ];

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    #[test]
    fn every_algorithm_gives_its_published_check_value_however_the_input_is_split() {
        for (algorithm, expected) in KNOWN {
            for split in 0..=9 {
                let (head, tail) = b"123456789".split_at(split);
                let mut hasher = Hasher::new(algorithm);
                hasher.update(head);
                hasher.update(tail);
                let checksum = hasher.finish();
                assert_eq!(hex::encode(checksum.as_bytes()), expected, "{algorithm:?} split at {split}");
                let again = Checksum::parse(algorithm, checksum.to_base64().as_bytes()).unwrap();
                assert_eq!(again, checksum);
            }
        }
    }

    #[test]
    fn an_md5_is_the_one_of_rfc_1321() {
        let mut hasher = Md5Hasher::default();
        hasher.update(b"message ");
        hasher.update(b"digest");
        assert_eq!(hex::encode(hasher.finish()), "f96b697d7cb7938d525a2f31aaf161d0");
    }

    #[test]
    fn one_checksum_header_is_collected() {
        let asserted =
            Asserted::from_headers(&headers(&[("x-amz-checksum-crc32", "y/Q5Jg==")]), Subject::Body).unwrap();
        assert_eq!(asserted.algorithm(), Some(Algorithm::Crc32));
        assert_eq!(asserted.checksum.unwrap().as_bytes(), [0xcb, 0xf4, 0x39, 0x26]);
    }

    #[test]
    fn a_checksum_of_the_whole_object_is_not_one_of_the_body() {
        let complete = headers(&[("x-amz-checksum-crc32", "y/Q5Jg==-3")]);
        assert_eq!(Asserted::from_headers(&complete, Subject::Object), Ok(Asserted::default()));
        assert_eq!(
            Asserted::from_headers(&complete, Subject::Body),
            Err(ChecksumError::Malformed(Algorithm::Crc32))
        );
    }

    #[test]
    fn contradictory_and_malformed_assertions_are_refused() {
        use ChecksumError::{
            AlgorithmMismatch, Malformed, MalformedMd5, SeveralChecksums, UnsupportedTrailer,
        };
        let crc = ("x-amz-checksum-crc32", "y/Q5Jg==");
        let long = "A".repeat(100_000);
        let cases: Vec<(Vec<(&'static str, &str)>, ChecksumError)> = vec![
            (vec![crc, ("x-amz-checksum-crc32c", "4waSgw==")], SeveralChecksums),
            (vec![crc, crc], SeveralChecksums),
            (vec![crc, ("x-amz-trailer", "x-amz-checksum-crc32")], SeveralChecksums),
            (vec![("x-amz-trailer", "x-amz-checksum-crc32,x-amz-checksum-sha1")], SeveralChecksums),
            (vec![("x-amz-trailer", "x-amz-meta-a")], UnsupportedTrailer),
            (vec![("x-amz-trailer", "")], UnsupportedTrailer),
            (vec![crc, ("x-amz-sdk-checksum-algorithm", "SHA256")], AlgorithmMismatch),
            (
                vec![("x-amz-trailer", "x-amz-checksum-crc32"), ("x-amz-sdk-checksum-algorithm", "CRC32C")],
                AlgorithmMismatch,
            ),
            (vec![("x-amz-checksum-crc32", "y/Q5Jg")], Malformed(Algorithm::Crc32)),
            (vec![("x-amz-checksum-crc64nvme", "y/Q5Jg==")], Malformed(Algorithm::Crc64Nvme)),
            (vec![("x-amz-checksum-sha256", &long)], Malformed(Algorithm::Sha256)),
            (vec![("content-md5", "AAAA")], MalformedMd5),
            (vec![("content-md5", "not base64!")], MalformedMd5),
        ];
        for (pairs, expected) in cases {
            assert_eq!(
                Asserted::from_headers(&headers(&pairs), Subject::Body),
                Err(expected),
                "{:?}",
                pairs[0].0
            );
        }
    }

    #[test]
    fn agreeing_announcements_and_unknown_algorithms_pass() {
        let fine = headers(&[
            ("x-amz-trailer", "X-Amz-Checksum-Crc64nvme"),
            ("x-amz-sdk-checksum-algorithm", "crc64nvme"),
            ("x-amz-checksum-xxhash64", "AAAAAAAAAAA="),
            ("x-amz-checksum-type", "FULL_OBJECT"),
            ("content-md5", "1B2M2Y8AsgTpgAmY7PhCfg=="),
        ]);
        let asserted = Asserted::from_headers(&fine, Subject::Body).unwrap();
        assert_eq!(asserted.trailer, Some(Algorithm::Crc64Nvme));
        assert_eq!(asserted.content_md5, Some(Md5Hasher::default().finish()));
    }
}
