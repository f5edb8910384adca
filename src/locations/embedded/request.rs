//! Taking a request apart: bucket, key, query, and which operation it is.

use http::{HeaderMap, Method};

use super::versioning::Wanted;
use crate::locations::PayloadHash;
use crate::names::{BucketName, ObjectKey};
use crate::s3::error::{Code, S3Error};
use crate::s3::operation::{OpError, ParsedQuery, path_style_names};

/// Query parameters that turn a request into another operation (S3 API reference).
const SUBRESOURCES: [&str; 39] = [
    "accelerate",
    "acl",
    "analytics",
    "append",
    "attributes",
    "cors",
    "delete",
    "encryption",
    "intelligent-tiering",
    "inventory",
    "legal-hold",
    "lifecycle",
    "location",
    "logging",
    "metadataConfiguration",
    "metadataTable",
    "metrics",
    "notification",
    "object-lock",
    "ownershipControls",
    "partNumber",
    "policy",
    "policyStatus",
    "publicAccessBlock",
    "renameObject",
    "replication",
    "requestPayment",
    "restore",
    "retention",
    "select",
    "select-type",
    "session",
    "tagging",
    "torrent",
    "uploadId",
    "uploads",
    "versioning",
    "versions",
    "website",
];

/// Request headers that ask for what this store does not do. Ignoring them would be a lie.
const UNSUPPORTED_HEADERS: [&str; 4] = [
    "x-amz-grant-",
    "x-amz-server-side-encryption",
    "x-amz-website-redirect-location",
    "x-amz-write-offset-bytes",
];

/// The operations of this store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    CreateBucket,
    HeadBucket,
    /// A setting that this store does not have: nothing is set, and nothing is there to delete.
    NoSetting(Code),
    DeleteNoSetting,
    DeleteBucket,
    ListObjects,
    ListObjectsV2,
    ListMultipartUploads,
    ListObjectVersions,
    GetBucketVersioning,
    PutBucketVersioning,
    GetObjectLockConfiguration,
    PutObjectLockConfiguration,
    PutObject(ObjectKey),
    CopyObject(ObjectKey),
    GetObject(ObjectKey),
    HeadObject(ObjectKey),
    DeleteObject(ObjectKey),
    GetObjectAcl(ObjectKey),
    PutObjectAcl(ObjectKey),
    GetObjectAttributes(ObjectKey),
    GetObjectTagging(ObjectKey),
    PutObjectTagging(ObjectKey),
    DeleteObjectTagging(ObjectKey),
    GetObjectRetention(ObjectKey),
    PutObjectRetention(ObjectKey),
    GetObjectLegalHold(ObjectKey),
    PutObjectLegalHold(ObjectKey),
    CreateMultipartUpload(ObjectKey),
    UploadPart(ObjectKey, UploadId),
    CompleteMultipartUpload(ObjectKey, UploadId),
    AbortMultipartUpload(ObjectKey, UploadId),
    ListParts(ObjectKey, UploadId),
}

/// The id of a multipart upload, as the client sent it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadId(pub String);

/// A request, taken apart.
#[derive(Debug)]
pub struct Call {
    pub operation: Operation,
    pub bucket: BucketName,
    /// Which version the request is about.
    pub version: Wanted,
    pub query: Query,
    pub headers: HeaderMap,
    /// Hex SHA-256 that the client signed for the payload.
    pub sha256: Option<String>,
}

impl Call {
    pub fn parse(parts: http::request::Parts) -> Result<Call, S3Error> {
        let query = Query(ParsedQuery::parse(parts.uri.query().unwrap_or_default())?);
        let (bucket, key) = path_style_names(parts.uri.path())?;
        let bucket = bucket.ok_or(OpError::BucketName)?;
        let operation = operation(&parts.method, key, &query, &parts.headers)?;
        refuse_unsupported(&operation, &parts.headers)?;
        let version = Wanted::parse(query.value("versionId"))?;
        let sha256 = match parts.extensions.get::<PayloadHash>() {
            Some(PayloadHash::Sha256(hash)) => Some(hash.to_string()),
            Some(PayloadHash::Unsigned) | None => None,
        };
        Ok(Call { operation, bucket, version, query, headers: parts.headers, sha256 })
    }

    /// A header's text. What is not ASCII counts as absent.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// The query, as this store's operations read it.
#[derive(Debug, Default)]
pub struct Query(ParsedQuery);

impl Query {
    pub fn value(&self, name: &str) -> Option<&str> {
        self.0.value(name)
    }

    /// An empty value is an absent one.
    pub fn text(&self, name: &str) -> &str {
        self.value(name).unwrap_or_default()
    }

    /// A count up to `most`, which is also the default.
    pub fn count(&self, name: &'static str, most: usize) -> Result<usize, S3Error> {
        let Some(text) = self.value(name).filter(|text| !text.is_empty()) else { return Ok(most) };
        match text.parse::<i32>() {
            Ok(count) if count >= 0 => Ok(usize::try_from(count).unwrap_or(most).min(most)),
            _ => Err(S3Error::new(
                Code::InvalidArgument,
                "Argument must be an integer between 0 and 2147483647",
            )
            .detail("ArgumentName", name)),
        }
    }

    pub fn part_number(&self) -> Result<u16, S3Error> {
        self.text("partNumber").parse().ok().filter(|number| (1..=10_000).contains(number)).ok_or_else(|| {
            let message = "Part number must be an integer between 1 and 10000, inclusive";
            S3Error::new(Code::InvalidArgument, message).detail("ArgumentName", "partNumber")
        })
    }

    /// The parameters that choose the operation.
    fn subresources(&self) -> Vec<&str> {
        let mut found: Vec<&str> =
            self.0.iter().map(|(name, _)| name).filter(|name| SUBRESOURCES.contains(name)).collect();
        found.sort_unstable();
        found.dedup();
        found
    }
}

fn operation(
    method: &Method,
    key: Option<ObjectKey>,
    query: &Query,
    headers: &HeaderMap,
) -> Result<Operation, S3Error> {
    let subresources = query.subresources();
    let upload = || UploadId(query.text("uploadId").to_owned());
    let copies = headers.contains_key("x-amz-copy-source");
    let Some(key) = key else {
        return match (method.as_str(), subresources.as_slice()) {
            ("PUT", []) => Ok(Operation::CreateBucket),
            ("HEAD", []) => Ok(Operation::HeadBucket),
            ("DELETE", []) => Ok(Operation::DeleteBucket),
            ("GET", []) if query.value("list-type") == Some("2") => Ok(Operation::ListObjectsV2),
            ("GET", []) => Ok(Operation::ListObjects),
            ("GET", [setting]) if no_setting(setting).is_some() => {
                Ok(no_setting(setting).map_or(Operation::HeadBucket, Operation::NoSetting))
            }
            ("DELETE", [setting]) if no_setting(setting).is_some() => Ok(Operation::DeleteNoSetting),
            ("GET", ["uploads"]) => Ok(Operation::ListMultipartUploads),
            ("GET", ["versions"]) => Ok(Operation::ListObjectVersions),
            ("GET", ["versioning"]) => Ok(Operation::GetBucketVersioning),
            ("PUT", ["versioning"]) => Ok(Operation::PutBucketVersioning),
            ("GET", ["object-lock"]) => Ok(Operation::GetObjectLockConfiguration),
            ("PUT", ["object-lock"]) => Ok(Operation::PutObjectLockConfiguration),
            _ => Err(not_implemented()),
        };
    };
    match (method.as_str(), subresources.as_slice()) {
        ("PUT", []) if copies => Ok(Operation::CopyObject(key)),
        ("PUT", []) => Ok(Operation::PutObject(key)),
        ("GET", [] | ["partNumber"]) => Ok(Operation::GetObject(key)),
        ("HEAD", [] | ["partNumber"]) => Ok(Operation::HeadObject(key)),
        ("GET", ["acl"]) => Ok(Operation::GetObjectAcl(key)),
        ("PUT", ["acl"]) => Ok(Operation::PutObjectAcl(key)),
        ("GET", ["attributes"]) => Ok(Operation::GetObjectAttributes(key)),
        ("DELETE", []) => Ok(Operation::DeleteObject(key)),
        ("GET", ["tagging"]) => Ok(Operation::GetObjectTagging(key)),
        ("PUT", ["tagging"]) => Ok(Operation::PutObjectTagging(key)),
        ("DELETE", ["tagging"]) => Ok(Operation::DeleteObjectTagging(key)),
        ("GET", ["retention"]) => Ok(Operation::GetObjectRetention(key)),
        ("PUT", ["retention"]) => Ok(Operation::PutObjectRetention(key)),
        ("GET", ["legal-hold"]) => Ok(Operation::GetObjectLegalHold(key)),
        ("PUT", ["legal-hold"]) => Ok(Operation::PutObjectLegalHold(key)),
        ("POST", ["uploads"]) => Ok(Operation::CreateMultipartUpload(key)),
        ("PUT", ["partNumber", "uploadId"]) if !copies => Ok(Operation::UploadPart(key, upload())),
        ("POST", ["uploadId"]) => Ok(Operation::CompleteMultipartUpload(key, upload())),
        ("DELETE", ["uploadId"]) => Ok(Operation::AbortMultipartUpload(key, upload())),
        ("GET", ["uploadId"]) => Ok(Operation::ListParts(key, upload())),
        _ => Err(not_implemented()),
    }
}

/// How S3 says that a bucket has no such setting.
fn no_setting(name: &str) -> Option<Code> {
    match name {
        "encryption" => Some(Code::ServerSideEncryptionConfigurationNotFoundError),
        "lifecycle" => Some(Code::NoSuchLifecycleConfiguration),
        "publicAccessBlock" => Some(Code::NoSuchPublicAccessBlockConfiguration),
        "ownershipControls" => Some(Code::OwnershipControlsNotFoundError),
        _ => None,
    }
}

fn refuse_unsupported(operation: &Operation, headers: &HeaderMap) -> Result<(), S3Error> {
    let writes = matches!(
        operation,
        Operation::PutObject(_)
            | Operation::CopyObject(_)
            | Operation::CreateMultipartUpload(_)
            | Operation::PutObjectAcl(_)
    );
    if !writes {
        return Ok(());
    }
    let unsupported =
        headers.keys().any(|name| UNSUPPORTED_HEADERS.iter().any(|known| name.as_str().starts_with(known)));
    let other_class = headers.get("x-amz-storage-class").is_some_and(|class| class != "STANDARD");
    // What everybody who can reach an object can do with it is decided in the gateway; these two ask for no more.
    let other_acl =
        headers.get("x-amz-acl").is_some_and(|acl| acl != "private" && acl != "bucket-owner-full-control");
    if unsupported || other_class || other_acl { Err(not_implemented()) } else { Ok(()) }
}

fn not_implemented() -> S3Error {
    let message = "A header, parameter or method you provided implies functionality that the embedded store does not implement";
    S3Error::new(Code::NotImplemented, message)
}
