//! The other answers: buckets, copies, uploads, deletions; read from locations and written for clients.

use super::acl::person;
use super::tree::{self, Element};
use super::writer::{Writer, document};
use super::{AnswerError, XmlError, requests};
use crate::clock::iso8601;
use crate::names::{BucketName, ObjectKey};

const MAX_SMALL_ELEMENTS: usize = 1024;
const MAX_DELETE_ELEMENTS: usize = 16 * 1024;

/// What a location answered with status 200: CopyObject and CompleteMultipartUpload may fail after it was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome<T> {
    Done(T),
    Failed(ErrorDocument),
}

/// A location's `Error` document.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ErrorDocument {
    pub code: String,
    pub message: String,
}

/// Reads an `Error` document.
pub fn parse_error(answer: &[u8]) -> Result<ErrorDocument, AnswerError> {
    Ok(error_document(&tree::parse(answer, MAX_SMALL_ELEMENTS)?.expect("Error")?)?)
}

/// What a copy made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyAnswer {
    pub etag: String,
    /// As the location wrote it.
    pub last_modified: String,
    /// Checksums and whatever else the location said, as it wrote it.
    pub rest: String,
}

/// Reads a location's answer to CopyObject.
pub fn parse_copy_result(answer: &[u8]) -> Result<Outcome<CopyAnswer>, AnswerError> {
    outcome(answer, "CopyObjectResult", |root| {
        Ok(CopyAnswer {
            etag: required(root, "ETag")?,
            last_modified: required(root, "LastModified")?,
            rest: root.others(&["ETag", "LastModified"]),
        })
    })
}

/// Writes a CopyObjectResult.
pub fn copy_result(copy: &CopyAnswer) -> String {
    copy_document("CopyObjectResult", copy)
}

/// Writes a CopyPartResult.
pub fn copy_part_result(copy: &CopyAnswer) -> String {
    copy_document("CopyPartResult", copy)
}

fn copy_document(root: &'static str, copy: &CopyAnswer) -> String {
    document(root, |writer| {
        writer.text("LastModified", &copy.last_modified);
        writer.text("ETag", &copy.etag);
        writer.raw(&copy.rest);
    })
}

/// What completing an upload made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompleteAnswer {
    /// Empty where the location did not know it yet, as Ceph does.
    pub etag: String,
    /// Checksums and whatever else the location said, as it wrote it; without its names for the object.
    pub rest: String,
}

/// Reads a location's answer to CompleteMultipartUpload.
pub fn parse_complete_result(answer: &[u8]) -> Result<Outcome<CompleteAnswer>, AnswerError> {
    outcome(answer, "CompleteMultipartUploadResult", |root| {
        Ok(CompleteAnswer {
            etag: root.text_of("ETag").ok_or(XmlError::Missing("ETag"))?.to_owned(),
            rest: root.others(&["Location", "Bucket", "Key", "ETag"]),
        })
    })
}

/// Writes a CompleteMultipartUploadResult. `url` is the object's URL at this gateway.
pub fn complete_result(url: &str, bucket: &BucketName, key: &ObjectKey, answer: &CompleteAnswer) -> String {
    document("CompleteMultipartUploadResult", |writer| {
        writer.text("Location", url);
        writer.text("Bucket", bucket.as_str());
        writer.text("Key", key.as_str());
        writer.text("ETag", &answer.etag);
        writer.raw(&answer.rest);
    })
}

/// Reads a location's answer to CreateMultipartUpload: its upload id.
pub fn parse_initiate_result(answer: &[u8]) -> Result<String, AnswerError> {
    let root = tree::parse(answer, MAX_SMALL_ELEMENTS)?.expect("InitiateMultipartUploadResult")?;
    Ok(required(&root, "UploadId")?)
}

/// Writes an InitiateMultipartUploadResult.
pub fn initiate_result(bucket: &BucketName, key: &ObjectKey, upload_id: &str) -> String {
    document("InitiateMultipartUploadResult", |writer| {
        writer.text("Bucket", bucket.as_str());
        writer.text("Key", key.as_str());
        writer.text("UploadId", upload_id);
    })
}

/// What became of the objects of a DeleteObjects request.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct DeleteOutcome {
    pub deleted: Vec<Deleted>,
    pub failed: Vec<DeleteFailure>,
}

#[derive(Clone, Default, PartialEq, Eq)]
pub struct Deleted {
    pub key: String,
    pub version: Option<String>,
    /// Version id of the delete marker that was made or removed.
    pub marker: Option<String>,
}

#[derive(Clone, Default, PartialEq, Eq)]
pub struct DeleteFailure {
    pub key: String,
    pub version: Option<String>,
    pub code: String,
    pub message: String,
}

/// Reads a location's DeleteResult.
pub fn parse_delete_result(answer: &[u8]) -> Result<DeleteOutcome, AnswerError> {
    let root = tree::parse(answer, MAX_DELETE_ELEMENTS)?.expect("DeleteResult")?;
    let mut outcome = DeleteOutcome::default();
    for child in &root.children {
        match child.name {
            "Deleted" => {
                let is_marker = requests::flag(child.text_of("DeleteMarker").unwrap_or_default())
                    .ok_or(XmlError::Value("DeleteMarker"))?;
                outcome.deleted.push(Deleted {
                    key: required(child, "Key")?,
                    version: optional(child, "VersionId"),
                    marker: optional(child, "DeleteMarkerVersionId").filter(|_| is_marker),
                });
            }
            "Error" => outcome.failed.push(DeleteFailure {
                key: required(child, "Key")?,
                version: optional(child, "VersionId"),
                code: required(child, "Code")?,
                message: optional(child, "Message").unwrap_or_default(),
            }),
            _ => {}
        }
    }
    Ok(outcome)
}

/// Writes a DeleteResult; for a quiet request leave `deleted` empty.
pub fn delete_result(outcome: &DeleteOutcome) -> String {
    document("DeleteResult", |writer| {
        for deleted in &outcome.deleted {
            writer.element("Deleted", |writer| {
                writer.text("Key", &deleted.key);
                writer.optional("VersionId", deleted.version.as_deref());
                if let Some(marker) = &deleted.marker {
                    writer.flag("DeleteMarker", true);
                    writer.text("DeleteMarkerVersionId", marker);
                }
            });
        }
        for failure in &outcome.failed {
            writer.element("Error", |writer| {
                writer.text("Key", &failure.key);
                writer.optional("VersionId", failure.version.as_deref());
                writer.text("Code", &failure.code);
                writer.text("Message", &failure.message);
            });
        }
    })
}

/// What ListBuckets answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketList<'a> {
    /// The owner's id and name, for which S3 shows an account.
    pub owner: &'a str,
    pub buckets: Vec<BucketEntry<'a>>,
    /// The `prefix` that was asked for.
    pub prefix: Option<&'a str>,
    /// `Some` when there are more buckets.
    pub next_token: Option<&'a str>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketEntry<'a> {
    pub name: &'a str,
    /// Milliseconds since the Unix epoch.
    pub created_at: u64,
    pub region: Option<&'a str>,
}

/// Writes a ListAllMyBucketsResult.
pub fn list_buckets_result(list: &BucketList<'_>) -> String {
    document("ListAllMyBucketsResult", |writer| {
        person(writer, "Owner", list.owner);
        writer
            .element("Buckets", |writer| list.buckets.iter().for_each(|bucket| bucket_entry(writer, bucket)));
        writer.optional("Prefix", list.prefix);
        writer.optional("ContinuationToken", list.next_token);
    })
}

fn bucket_entry(writer: &mut Writer, bucket: &BucketEntry<'_>) {
    writer.element("Bucket", |writer| {
        writer.text("Name", bucket.name);
        writer.text("CreationDate", &iso8601(bucket.created_at));
        writer.optional("BucketRegion", bucket.region);
    });
}

/// Writes the answer to GetBucketLocation. S3 says nothing for `us-east-1`.
pub fn location_constraint(region: Option<&str>) -> String {
    let region = region.filter(|region| *region != "us-east-1").unwrap_or_default();
    document("LocationConstraint", |writer| writer.characters(region))
}

/// Writes the answer to an upload by form that asked for one.
pub fn post_response(location: &str, bucket: &BucketName, key: &ObjectKey, etag: &str) -> String {
    document("PostResponse", |writer| {
        writer.text("Location", location);
        writer.text("Bucket", bucket.as_str());
        writer.text("Key", key.as_str());
        writer.text("ETag", etag);
    })
}

fn outcome<T>(
    answer: &[u8],
    root_name: &'static str,
    read: impl FnOnce(&Element<'_>) -> Result<T, XmlError>,
) -> Result<Outcome<T>, AnswerError> {
    let root = tree::parse(answer, MAX_SMALL_ELEMENTS)?;
    if root.name == "Error" {
        return Ok(Outcome::Failed(error_document(&root)?));
    }
    Ok(Outcome::Done(read(&root.expect(root_name)?)?))
}

fn error_document(root: &Element<'_>) -> Result<ErrorDocument, XmlError> {
    let message = optional(root, "Message").unwrap_or_default();
    Ok(ErrorDocument { code: required(root, "Code")?, message })
}

fn required(element: &Element<'_>, name: &'static str) -> Result<String, XmlError> {
    optional(element, name).ok_or(XmlError::Missing(name))
}

fn optional(element: &Element<'_>, name: &str) -> Option<String> {
    element.text_of(name).filter(|text| !text.is_empty()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket() -> BucketName {
        "photos".parse().unwrap()
    }

    #[test]
    fn a_copy_is_read_and_written_with_what_else_the_location_said() {
        let answer = "<CopyObjectResult><LastModified>2026-11-23T03:32:42.000Z</LastModified><ETag>\"e\"</ETag><ChecksumCRC32>AA==</ChecksumCRC32></CopyObjectResult>";
        let Ok(Outcome::Done(copy)) = parse_copy_result(answer.as_bytes()) else { panic!("not read") };
        assert_eq!(
            (copy.etag.as_str(), copy.rest.as_str()),
            ("\"e\"", "<ChecksumCRC32>AA==</ChecksumCRC32>")
        );
        assert_eq!(parse_copy_result(copy_result(&copy).as_bytes()), Ok(Outcome::Done(copy)));
    }

    #[test]
    fn an_error_behind_a_status_of_200_is_an_error() {
        let answer = "\n  <?xml version=\"1.0\"?><Error><Code>InternalError</Code><Message>try again</Message></Error>";
        let failed = ErrorDocument { code: "InternalError".to_owned(), message: "try again".to_owned() };
        assert_eq!(parse_complete_result(answer.as_bytes()), Ok(Outcome::Failed(failed.clone())));
        assert_eq!(parse_copy_result(answer.as_bytes()), Ok(Outcome::Failed(failed.clone())));
        assert_eq!(parse_error(answer.as_bytes()), Ok(failed));
        assert_eq!(parse_error(b"<Error/>"), Err(AnswerError(XmlError::Missing("Code"))));
    }

    #[test]
    fn a_completed_upload_shows_the_clients_names_only() {
        let answer = "<CompleteMultipartUploadResult><Location>http://physical/x</Location><Bucket>physical</Bucket><Key>x</Key><ETag>\"e-2\"</ETag><ChecksumType>FULL_OBJECT</ChecksumType></CompleteMultipartUploadResult>";
        let Ok(Outcome::Done(done)) = parse_complete_result(answer.as_bytes()) else { panic!("not read") };
        let xml = complete_result("https://g/photos/a%26b", &bucket(), &"a&b".parse().unwrap(), &done);
        assert!(xml.ends_with("<Location>https://g/photos/a%26b</Location><Bucket>photos</Bucket><Key>a&amp;b</Key><ETag>&quot;e-2&quot;</ETag><ChecksumType>FULL_OBJECT</ChecksumType></CompleteMultipartUploadResult>"), "{xml}");
        assert!(!xml.contains("physical"));
        let empty = parse_complete_result(b"<CompleteMultipartUploadResult/>");
        assert_eq!(empty, Err(AnswerError(XmlError::Missing("ETag"))));
        let unknown = b"<CompleteMultipartUploadResult><ETag></ETag></CompleteMultipartUploadResult>";
        assert!(matches!(parse_complete_result(unknown), Ok(Outcome::Done(done)) if done.etag.is_empty()));
    }

    #[test]
    fn an_upload_id_is_read_and_written() {
        let xml = initiate_result(&bucket(), &"a<b".parse().unwrap(), "id&1");
        assert_eq!(parse_initiate_result(xml.as_bytes()), Ok("id&1".to_owned()));
        assert!(xml.contains("<Key>a&lt;b</Key>"), "{xml}");
        assert!(parse_initiate_result(b"<InitiateMultipartUploadResult/>").is_err());
    }

    #[test]
    fn deletions_are_read_and_written() {
        let outcome = DeleteOutcome {
            deleted: vec![
                Deleted { key: "a\r".to_owned(), ..Deleted::default() },
                Deleted { key: "b".to_owned(), version: Some("v".to_owned()), marker: Some("m".to_owned()) },
            ],
            failed: vec![DeleteFailure {
                key: "c".to_owned(),
                code: "AccessDenied".to_owned(),
                message: "no".to_owned(),
                version: None,
            }],
        };
        let xml = delete_result(&outcome);
        assert!(parse_delete_result(xml.as_bytes()).ok().unwrap() == outcome, "{xml}");
        assert!(parse_delete_result(b"<DeleteResult><Error><Key>k</Key></Error></DeleteResult>").is_err());
    }

    #[test]
    fn buckets_are_written_as_sdks_expect_them() {
        let xml = list_buckets_result(&BucketList {
            owner: "web",
            buckets: vec![BucketEntry { name: "photos", created_at: 0, region: Some("cn-north-1") }],
            prefix: None,
            next_token: None,
        });
        assert!(xml.ends_with("<Owner><ID>web</ID><DisplayName>web</DisplayName></Owner><Buckets><Bucket><Name>photos</Name><CreationDate>1970-01-01T00:00:00.000Z</CreationDate><BucketRegion>cn-north-1</BucketRegion></Bucket></Buckets></ListAllMyBucketsResult>"), "{xml}");
    }

    #[test]
    fn a_buckets_location_is_the_text_of_the_root() {
        let xml = location_constraint(Some("eu-central-1"));
        assert!(xml.ends_with("<LocationConstraint xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">eu-central-1</LocationConstraint>"), "{xml}");
        for region in [None, Some("us-east-1")] {
            assert!(location_constraint(region).ends_with("2006-03-01/\"></LocationConstraint>"));
        }
    }
}
