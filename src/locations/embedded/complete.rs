//! Completing a multipart upload: what the client names and claims, and the object that comes of it.

use rusqlite::{Connection, params};

use super::conditions::WriteCondition;
use super::digest::{self, Kind, ObjectChecksum};
use super::error::{EmbeddedError, Failure};
use super::index::Change;
use super::receive::MAX_BODY_BYTES;
use super::request::Call;
use super::rows::{self, NewObject};
use super::time;
use super::uploads::{MAX_PARTS, Part, Place, Plan};
use crate::s3::checksum::{Algorithm, Checksum, ChecksumError, Md5Hasher};
use crate::s3::error::{Code, S3Error};
use crate::s3::xml::CompletedPart;

/// All parts but the last have at least 5 MiB (S3 user guide, "Multipart upload limits").
const MIN_PART_BYTES: u64 = 5 << 20;

/// An object that was put together.
pub struct Assembled {
    pub etag: String,
    pub checksum: Option<ObjectChecksum>,
    /// What clients call the version.
    pub name: Option<String>,
}

/// Makes the object out of its parts, inside a transaction.
pub fn assemble(
    connection: &Connection,
    place: &Place,
    condition: &WriteCondition,
    wanted: Vec<CompletedPart>,
    claims: &Claims,
) -> Result<Change<Assembled>, Failure> {
    let upload = place.find(connection)?;
    let uploaded = Part::behind(connection, &place.upload, 0, MAX_PARTS)?;
    let parts = choose(uploaded, &wanted)?;
    let size = parts.iter().fold(0_u64, |sum, part| sum.saturating_add(part.size));
    if size > MAX_BODY_BYTES.saturating_mul(MAX_PARTS as u64) {
        return Err(S3Error::new(
            Code::EntityTooLarge,
            "Your proposed upload exceeds the maximum allowed size",
        )
        .into());
    }
    let etag = multipart_etag(&parts)?;
    let checksum = match upload.plan {
        None => None,
        Some(plan) => whole_checksum(plan, &parts)?,
    };
    claims.check(size, checksum.as_ref())?;
    if *condition != WriteCondition::None {
        let current = rows::find_object(connection, upload.bucket, &place.key)?;
        condition.check(current.as_ref(), &place.key)?;
    }
    for part in &parts {
        connection
            .prepare_cached("DELETE FROM parts WHERE upload = ?1 AND number = ?2")?
            .execute(params![place.upload.0, part.number])?;
    }
    let mut retired = vec![place.remove(connection)?];
    let object = NewObject {
        etag: etag.clone(),
        modified: time::now(),
        attributes: upload.attributes,
        checksum: checksum.clone(),
        segments: parts.iter().map(|part| (part.blob, part.size)).collect(),
    };
    let written = rows::put_object(connection, upload.bucket, &place.key, &object)?;
    retired.extend(written.retired);
    Ok(Change { answer: Assembled { etag, checksum, name: written.name }, retired })
}

/// Whether it is this part that the client means.
fn means(wanted: &CompletedPart, part: &Part) -> bool {
    wanted.etag.trim_matches('"') == part.etag
        && wanted.checksums.iter().all(|(element, value)| {
            part.checksum
                .as_ref()
                .is_some_and(|kept| kept.algorithm.element() == element && kept.value == *value)
        })
}

/// What the client says of the whole object.
pub struct Claims {
    size: Option<u64>,
    checksum: Option<(Algorithm, String)>,
    kind: Option<Kind>,
}

impl Claims {
    pub fn from_headers(call: &Call) -> Result<Claims, S3Error> {
        let size = match call.header("x-amz-mp-object-size") {
            None => None,
            Some(text) => Some(text.parse().map_err(|_| {
                S3Error::new(Code::InvalidRequest, "Value for x-amz-mp-object-size header is invalid.")
            })?),
        };
        let kind = call.header("x-amz-checksum-type").and_then(Kind::parse);
        let checksum = Algorithm::ALL.into_iter().find_map(|algorithm| {
            call.header(algorithm.header().as_str()).map(|value| (algorithm, value.to_owned()))
        });
        Ok(Claims { size, checksum, kind })
    }

    fn check(&self, size: u64, checksum: Option<&ObjectChecksum>) -> Result<(), S3Error> {
        if self.size.is_some_and(|claimed| claimed != size) {
            let message = "The provided 'x-amz-mp-object-size' header does not match what was computed.";
            return Err(S3Error::new(Code::InvalidRequest, message));
        }
        let Some(checksum) = checksum else { return Ok(()) };
        if self.kind.is_some_and(|claimed| claimed != checksum.kind) {
            let message = "The checksum type does not match that of the upload.";
            return Err(S3Error::new(Code::InvalidRequest, message));
        }
        match &self.checksum {
            Some((algorithm, value)) if *algorithm == checksum.algorithm && *value != checksum.value => {
                Err(ChecksumError::Mismatch(*algorithm).into())
            }
            _ => Ok(()),
        }
    }
}

/// The uploaded parts that the client names, checked.
fn choose(uploaded: Vec<Part>, wanted: &[CompletedPart]) -> Result<Vec<Part>, S3Error> {
    let mut uploaded = uploaded.into_iter();
    let mut chosen = Vec::with_capacity(wanted.len());
    for want in wanted {
        // Both are in ascending order.
        let part = uploaded.find(|part| part.number >= want.number);
        match part {
            Some(part) if part.number == want.number && means(want, &part) => chosen.push(part),
            _ => {
                let message = "One or more of the specified parts could not be found. The part might not have been uploaded, or the specified entity tag might not have matched the part's entity tag.";
                return Err(S3Error::new(Code::InvalidPart, message)
                    .detail("PartNumber", want.number.to_string())
                    .detail("ETag", want.etag.clone()));
            }
        }
    }
    let all_but_last = chosen.len().saturating_sub(1);
    if let Some(small) = chosen.iter().take(all_but_last).find(|part| part.size < MIN_PART_BYTES) {
        let message = "Your proposed upload is smaller than the minimum allowed size";
        return Err(S3Error::new(Code::EntityTooSmall, message)
            .detail("ProposedSize", small.size.to_string())
            .detail("MinSizeAllowed", MIN_PART_BYTES.to_string())
            .detail("PartNumber", small.number.to_string()));
    }
    Ok(chosen)
}

/// MD5 over the parts' MD5s, with their number.
fn multipart_etag(parts: &[Part]) -> Result<String, EmbeddedError> {
    let mut md5 = Md5Hasher::default();
    for part in parts {
        md5.update(&hex::decode(&part.etag).map_err(|_| EmbeddedError::Record("a part's ETag"))?);
    }
    Ok(format!("{}-{}", hex::encode(md5.finish()), parts.len()))
}

fn whole_checksum(plan: Plan, parts: &[Part]) -> Result<Option<ObjectChecksum>, Failure> {
    let mut sums = Vec::with_capacity(parts.len());
    for part in parts {
        let kept = part.checksum.as_ref().filter(|kept| kept.algorithm == plan.algorithm);
        let kept = kept.ok_or(EmbeddedError::Record("a part without its checksum"))?;
        let sum = Checksum::parse(plan.algorithm, kept.value.as_bytes());
        sums.push((sum.map_err(|_| EmbeddedError::Record("a part's checksum"))?, part.size));
    }
    Ok(digest::combine(plan.algorithm, plan.kind, &sums))
}
