//! The documents of versions: whether a bucket keeps them, and the lists of them.

use super::acl::person;
use super::lists::{Names, common_prefixes, grouping, groups, is_truncated, text};
use super::requests::Bound;
use super::tree;
use super::writer::{Writer, document};
use super::{AnswerError, XmlError};
use crate::names::BucketName;
use crate::s3::listing::Encoding;

/// A page of 1000 versions with all the elements that they may have.
const MAX_LIST_ELEMENTS: usize = 64 * 1024;
const UNSUPPORTED_MFA: XmlError =
    XmlError::Unsupported { element: "MfaDelete", document: "VersioningConfiguration" };

/// What a client, or a location, says of a bucket's versions. `None` in answers: never asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VersioningStatus {
    Enabled,
    Suspended,
}

impl VersioningStatus {
    pub fn word(self) -> &'static str {
        match self {
            VersioningStatus::Enabled => "Enabled",
            VersioningStatus::Suspended => "Suspended",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [VersioningStatus::Enabled, VersioningStatus::Suspended].into_iter().find(|s| s.word() == text.trim())
    }
}

/// Reads the body of PutBucketVersioning. Deletions by multi-factor authentication are not to be had here.
pub fn parse_versioning(body: &[u8], bound: Bound) -> Result<VersioningStatus, XmlError> {
    if body.len() > bound.0 {
        return Err(XmlError::TooLong { limit: bound.0 });
    }
    let root = tree::parse(body, 16)?.expect("VersioningConfiguration")?;
    let mut status = None;
    for child in &root.children {
        match child.name {
            "Status" if status.is_some() => return Err(XmlError::Repeated("Status")),
            "Status" => status = Some(VersioningStatus::parse(&child.text).ok_or(XmlError::Value("Status"))?),
            "MfaDelete" | "MFADelete" if child.text.trim() == "Disabled" => {}
            "MfaDelete" | "MFADelete" => return Err(UNSUPPORTED_MFA),
            _ => return Err(XmlError::Unexpected("VersioningConfiguration")),
        }
    }
    status.ok_or(XmlError::Missing("Status"))
}

/// Reads a location's answer to GetBucketVersioning.
pub fn parse_versioning_answer(answer: &[u8]) -> Result<Option<VersioningStatus>, AnswerError> {
    let root = tree::parse(answer, 16)?.expect("VersioningConfiguration")?;
    match text(&root, "Status") {
        None => Ok(None),
        Some(status) => {
            Ok(Some(VersioningStatus::parse(&status).ok_or(AnswerError(XmlError::Value("Status")))?))
        }
    }
}

/// Writes a VersioningConfiguration: the answer to a client, or the request to a location.
pub fn versioning_configuration(status: Option<VersioningStatus>) -> String {
    document("VersioningConfiguration", |writer| {
        writer.optional("Status", status.map(VersioningStatus::word));
    })
}

/// A version or a delete marker, as a list has it.
#[derive(Clone, PartialEq, Eq)]
pub struct VersionEntry {
    pub key: String,
    pub id: String,
    pub element: VersionElement,
    pub is_latest: bool,
    /// Of a version, with its quotes.
    pub etag: String,
    pub size: u64,
    /// The XML inside but for `Key`, `VersionId`, `IsLatest` and `Owner`, as the location wrote it.
    pub rest: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VersionElement {
    Version,
    DeleteMarker,
}

impl VersionElement {
    fn name(self) -> &'static str {
        match self {
            VersionElement::Version => "Version",
            VersionElement::DeleteMarker => "DeleteMarker",
        }
    }
}

/// A page of versions, of one location or merged.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct VersionsPage {
    /// In the list's own order, versions and delete markers together.
    pub entries: Vec<VersionEntry>,
    pub common_prefixes: Vec<String>,
    pub is_truncated: bool,
    pub next_key_marker: Option<String>,
    pub next_version_id_marker: Option<String>,
}

/// What a client asks ListObjectVersions for.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct VersionsRequest {
    pub prefix: String,
    /// Never empty.
    pub delimiter: Option<String>,
    pub key_marker: String,
    pub version_id_marker: String,
    pub max_keys: usize,
    pub encoding: Encoding,
}

/// Reads a location's ListVersionsResult.
pub fn parse_versions(answer: &[u8]) -> Result<VersionsPage, AnswerError> {
    let root = tree::parse(answer, MAX_LIST_ELEMENTS)?;
    let root = match root.name {
        // As MinIO and older Ceph write it.
        "ListBucketVersionsResult" => root,
        _ => root.expect("ListVersionsResult")?,
    };
    let names = Names::of(&root);
    let mut page = VersionsPage { is_truncated: is_truncated(&root)?, ..VersionsPage::default() };
    for child in &root.children {
        let element = match child.name {
            "Version" => VersionElement::Version,
            "DeleteMarker" => VersionElement::DeleteMarker,
            _ => continue,
        };
        page.entries.push(VersionEntry {
            key: names.read(child, "Key")?,
            id: text(child, "VersionId").ok_or(XmlError::Missing("VersionId"))?,
            element,
            is_latest: child.text_of("IsLatest") == Some("true"),
            etag: text(child, "ETag").unwrap_or_default(),
            size: text(child, "Size").and_then(|size| size.parse().ok()).unwrap_or(0),
            rest: child.others(&["Key", "VersionId", "IsLatest", "Owner"]),
        });
    }
    page.common_prefixes = common_prefixes(&root, names)?;
    page.next_key_marker = names.marker(&root, "NextKeyMarker")?;
    page.next_version_id_marker = text(&root, "NextVersionIdMarker");
    Ok(page)
}

/// Writes a ListVersionsResult. `owner` is the bucket's.
pub fn versions_result(
    bucket: &BucketName,
    owner: &str,
    request: &VersionsRequest,
    page: &VersionsPage,
) -> String {
    let encoding = request.encoding;
    document("ListVersionsResult", |writer| {
        writer.text("Name", bucket.as_str());
        writer.named("Prefix", &request.prefix, encoding);
        writer.named("KeyMarker", &request.key_marker, encoding);
        writer.text("VersionIdMarker", &request.version_id_marker);
        if let Some(marker) = &page.next_key_marker {
            writer.named("NextKeyMarker", marker, encoding);
        }
        writer.optional("NextVersionIdMarker", page.next_version_id_marker.as_deref());
        writer.number("MaxKeys", request.max_keys);
        grouping(writer, request.delimiter.as_deref(), encoding);
        writer.flag("IsTruncated", page.is_truncated);
        for entry in &page.entries {
            writer.element(entry.element.name(), |writer: &mut Writer| {
                writer.named("Key", &entry.key, encoding);
                writer.text("VersionId", &entry.id);
                writer.flag("IsLatest", entry.is_latest);
                person(writer, "Owner", owner);
                writer.raw(&entry.rest);
            });
        }
        groups(writer, &page.common_prefixes, encoding);
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versioning_is_read_and_written_and_nothing_unknown_is_passed_over() {
        for status in [VersioningStatus::Enabled, VersioningStatus::Suspended] {
            let document = versioning_configuration(Some(status));
            assert_eq!(parse_versioning(document.as_bytes(), Bound(1024)), Ok(status));
            assert_eq!(parse_versioning_answer(document.as_bytes()), Ok(Some(status)));
        }
        let never = versioning_configuration(None);
        assert!(never.ends_with("2006-03-01/\"></VersioningConfiguration>"));
        assert_eq!(parse_versioning_answer(never.as_bytes()), Ok(None));
        let of = |inside: &str| {
            let document = format!("<VersioningConfiguration>{inside}</VersioningConfiguration>");
            parse_versioning(document.as_bytes(), Bound(1024))
        };
        assert_eq!(of(""), Err(XmlError::Missing("Status")));
        assert_eq!(of("<Status>On</Status>"), Err(XmlError::Value("Status")));
        assert_eq!(of("<Status>Enabled</Status><Status>Enabled</Status>"), Err(XmlError::Repeated("Status")));
        let with_mfa = |mfa: &str| of(&format!("<Status>Enabled</Status><MfaDelete>{mfa}</MfaDelete>"));
        assert_eq!(with_mfa("Disabled"), Ok(VersioningStatus::Enabled));
        assert_eq!(with_mfa("Enabled"), Err(UNSUPPORTED_MFA));
        assert_eq!(of("<Novelty/>"), Err(XmlError::Unexpected("VersioningConfiguration")));
    }

    #[test]
    fn versions_and_markers_are_read_in_their_order_and_written_the_same() {
        let answer = "<ListVersionsResult><Name>b</Name><EncodingType>url</EncodingType><IsTruncated>true</IsTruncated><NextKeyMarker>a%2Bb</NextKeyMarker><NextVersionIdMarker>v1</NextVersionIdMarker><DeleteMarker><Key>a%2Bb</Key><VersionId>m</VersionId><IsLatest>true</IsLatest><LastModified>t</LastModified></DeleteMarker><Version><Key>a%2Bb</Key><VersionId>v1</VersionId><IsLatest>false</IsLatest><ETag>&quot;e&quot;</ETag><Size>3</Size></Version><CommonPrefixes><Prefix>c/</Prefix></CommonPrefixes></ListVersionsResult>";
        let page = parse_versions(answer.as_bytes()).ok().unwrap();
        let found: Vec<_> = page.entries.iter().map(|e| (e.key.as_str(), e.id.as_str(), e.element)).collect();
        assert_eq!(
            found,
            [("a+b", "m", VersionElement::DeleteMarker), ("a+b", "v1", VersionElement::Version)]
        );
        assert_eq!((page.entries[1].etag.as_str(), page.entries[1].size), ("\"e\"", 3));
        assert_eq!(page.next_key_marker.as_deref(), Some("a+b"));
        let request = VersionsRequest { max_keys: 2, ..VersionsRequest::default() };
        let written = versions_result(&"photos".parse().unwrap(), "app", &request, &page);
        assert!(parse_versions(written.as_bytes()).ok().unwrap() == page, "{written}");
        let broken = answer.replace("<VersionId>m</VersionId>", "");
        assert_eq!(
            parse_versions(broken.as_bytes()).err(),
            Some(AnswerError(XmlError::Missing("VersionId")))
        );
    }
}
