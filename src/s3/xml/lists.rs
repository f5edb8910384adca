//! The documents of lists: objects, uploads, parts.
//!
//! Names are decoded when a location wrote them with `encoding-type=url`, and encoded when the client asks for it.

use super::acl::person;
use super::tree::{self, Element};
use super::writer::{Writer, document};
use super::{AnswerError, XmlError, requests};
use crate::names::{BucketName, ObjectKey};
use crate::s3::listing::{Encoding, ListEntry, ListPage, ListRequest, ListVersion, OwnerField, Page};
use crate::s3::operation::{Plus, encode_path, percent_decode};

/// A page of 1000 entries with all the elements that they may have.
const MAX_LIST_ELEMENTS: usize = 64 * 1024;

/// Reads a location's ListBucketResult, of either version of the list.
pub fn parse_list(answer: &[u8]) -> Result<Page, AnswerError> {
    let root = tree::parse(answer, MAX_LIST_ELEMENTS)?.expect("ListBucketResult")?;
    let names = Names::of(&root);
    let mut page = Page { is_truncated: is_truncated(&root)?, ..Page::default() };
    page.next_token = text(&root, "NextContinuationToken");
    for contents in root.children_named("Contents") {
        page.entries.push(ListEntry {
            key: names.read(contents, "Key")?,
            etag: text(contents, "ETag").unwrap_or_default(),
            rest: contents.others(&["Key", "Owner"]),
        });
    }
    page.common_prefixes = common_prefixes(&root, names)?;
    Ok(page)
}

/// Writes the ListBucketResult of a merged page. `next_token` is the sealed [`ListPage::next`], for version 2; `owner` is the
/// bucket's.
pub fn list_result(
    bucket: &BucketName,
    owner: &str,
    request: &ListRequest,
    page: &ListPage,
    next_token: Option<&str>,
) -> String {
    let encoding = request.encoding;
    document("ListBucketResult", |writer| {
        writer.text("Name", bucket.as_str());
        writer.named("Prefix", &request.prefix, encoding);
        match request.version {
            ListVersion::V1 => {
                writer.named("Marker", request.marker.as_deref().unwrap_or_default(), encoding);
                // S3 gives it with a delimiter only: otherwise the last key is the marker. Here a page can also end
                // behind keys that it does not show.
                let last = page.entries.last().map(|entry| entry.key.as_str());
                if let Some(next) = &page.next
                    && (request.delimiter.is_some() || last != Some(next))
                {
                    writer.named("NextMarker", next, encoding);
                }
            }
            ListVersion::V2 => {
                if let Some(marker) = &request.marker {
                    writer.named("StartAfter", marker, encoding);
                }
                writer.optional("ContinuationToken", request.continuation_token.as_deref());
                writer.optional("NextContinuationToken", next_token);
                writer.number("KeyCount", page.entries.len() + page.common_prefixes.len());
            }
        }
        writer.number("MaxKeys", request.max_keys);
        grouping(writer, request.delimiter.as_deref(), encoding);
        writer.flag("IsTruncated", page.is_truncated);
        for entry in &page.entries {
            writer.element("Contents", |writer| {
                writer.named("Key", &entry.key, encoding);
                writer.raw(&entry.rest);
                if request.owner == OwnerField::Fetch {
                    person(writer, "Owner", owner);
                }
            });
        }
        groups(writer, &page.common_prefixes, encoding);
    })
}

/// What a client asks ListMultipartUploads for.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct UploadsRequest {
    pub prefix: String,
    pub delimiter: Option<String>,
    pub key_marker: String,
    pub upload_id_marker: String,
    pub max_uploads: usize,
    pub encoding: Encoding,
}

/// A page of uploads under way.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct UploadsPage {
    pub uploads: Vec<UploadEntry>,
    pub common_prefixes: Vec<String>,
    pub is_truncated: bool,
    pub next_key_marker: Option<String>,
    pub next_upload_id_marker: Option<String>,
}

#[derive(Clone, PartialEq, Eq)]
pub struct UploadEntry {
    pub key: String,
    pub upload_id: String,
    /// The XML inside `Upload` but for `Key`, `UploadId` and those whose it is, as the location wrote it.
    pub rest: String,
}

/// Reads a location's ListMultipartUploadsResult.
pub fn parse_uploads(answer: &[u8]) -> Result<UploadsPage, AnswerError> {
    let root = tree::parse(answer, MAX_LIST_ELEMENTS)?.expect("ListMultipartUploadsResult")?;
    let names = Names::of(&root);
    let mut page = UploadsPage { is_truncated: is_truncated(&root)?, ..UploadsPage::default() };
    for upload in root.children_named("Upload") {
        page.uploads.push(UploadEntry {
            key: names.read(upload, "Key")?,
            upload_id: text(upload, "UploadId").ok_or(XmlError::Missing("UploadId"))?,
            rest: upload.others(&["Key", "UploadId", "Initiator", "Owner"]),
        });
    }
    page.common_prefixes = common_prefixes(&root, names)?;
    page.next_key_marker = names.marker(&root, "NextKeyMarker")?;
    page.next_upload_id_marker = text(&root, "NextUploadIdMarker");
    Ok(page)
}

/// Writes a ListMultipartUploadsResult. `owner` is the bucket's.
pub fn uploads_result(
    bucket: &BucketName,
    owner: &str,
    request: &UploadsRequest,
    page: &UploadsPage,
) -> String {
    let encoding = request.encoding;
    document("ListMultipartUploadsResult", |writer| {
        writer.text("Bucket", bucket.as_str());
        writer.named("KeyMarker", &request.key_marker, encoding);
        writer.text("UploadIdMarker", &request.upload_id_marker);
        if let Some(marker) = &page.next_key_marker {
            writer.named("NextKeyMarker", marker, encoding);
        }
        writer.optional("NextUploadIdMarker", page.next_upload_id_marker.as_deref());
        writer.named("Prefix", &request.prefix, encoding);
        grouping(writer, request.delimiter.as_deref(), encoding);
        writer.number("MaxUploads", request.max_uploads);
        writer.flag("IsTruncated", page.is_truncated);
        for upload in &page.uploads {
            writer.element("Upload", |writer| {
                writer.named("Key", &upload.key, encoding);
                writer.text("UploadId", &upload.upload_id);
                person(writer, "Initiator", owner);
                person(writer, "Owner", owner);
                writer.raw(&upload.rest);
            });
        }
        groups(writer, &page.common_prefixes, encoding);
    })
}

/// A location's ListPartsResult with the names that the client knows, the bucket's owner among them; all else as the location
/// wrote it.
pub fn rewrite_parts(
    answer: &[u8],
    bucket: &BucketName,
    key: &ObjectKey,
    upload_id: &str,
    owner: &str,
) -> Result<String, AnswerError> {
    let root = tree::parse(answer, MAX_LIST_ELEMENTS)?.expect("ListPartsResult")?;
    let names = Names::of(&root);
    Ok(document("ListPartsResult", |writer| {
        writer.text("Bucket", bucket.as_str());
        match names.0 {
            Encoding::Plain => writer.text("Key", key.as_str()),
            Encoding::Url => writer.text("Key", &encode_path(key.as_str())),
        }
        writer.text("UploadId", upload_id);
        person(writer, "Initiator", owner);
        person(writer, "Owner", owner);
        writer.raw(&root.others(&["Bucket", "Key", "UploadId", "Initiator", "Owner"]));
    }))
}

/// How names are written in a location's document.
#[derive(Clone, Copy)]
pub(super) struct Names(Encoding);

impl Names {
    /// As the document says it; but some servers say back what they were asked for, and encode nothing. A name that no
    /// encoding would have left as it is gives them away.
    pub(super) fn of(root: &Element<'_>) -> Self {
        let says_so = root.text_of("EncodingType") == Some("url");
        let mut names = root.children.iter().flat_map(|child| {
            let name = if child.name == "CommonPrefixes" { "Prefix" } else { "Key" };
            child.children.iter().filter(move |field| field.name == name)
        });
        let is_encoded = |name: &Element<'_>| name.text.bytes().all(|byte| byte.is_ascii_graphic());
        Names(if says_so && names.all(is_encoded) { Encoding::Url } else { Encoding::Plain })
    }

    pub(super) fn read(self, element: &Element<'_>, name: &'static str) -> Result<String, XmlError> {
        let text = element.text_of(name).ok_or(XmlError::Missing(name))?;
        match self.0 {
            Encoding::Plain => Ok(text.to_owned()),
            // Some write a space as `+`, as in forms; all write a plus as `%2B`.
            Encoding::Url => percent_decode(text, Plus::Space).map_err(|_| XmlError::Value(name)),
        }
    }

    /// Where the next page begins. Some write it empty when there is none.
    pub(super) fn marker(self, root: &Element<'_>, name: &'static str) -> Result<Option<String>, XmlError> {
        let marker = root.child(name).map(|_| self.read(root, name)).transpose()?;
        Ok(marker.filter(|marker| !marker.is_empty()))
    }
}

/// By what keys are grouped, and how names are written.
pub(super) fn grouping(writer: &mut Writer, delimiter: Option<&str>, encoding: Encoding) {
    if let Some(delimiter) = delimiter {
        writer.named("Delimiter", delimiter, encoding);
    }
    if encoding == Encoding::Url {
        writer.text("EncodingType", "url");
    }
}

pub(super) fn groups(writer: &mut Writer, common_prefixes: &[String], encoding: Encoding) {
    for prefix in common_prefixes {
        writer.element("CommonPrefixes", |writer| writer.named("Prefix", prefix, encoding));
    }
}

pub(super) fn common_prefixes(root: &Element<'_>, names: Names) -> Result<Vec<String>, XmlError> {
    let groups = root.children_named("CommonPrefixes");
    let prefixes = groups.flat_map(|group| group.children_named("Prefix"));
    prefixes
        .map(|prefix| match names.0 {
            Encoding::Plain => Ok(prefix.text.to_string()),
            Encoding::Url => percent_decode(&prefix.text, Plus::Space).map_err(|_| XmlError::Value("Prefix")),
        })
        .collect()
}

/// A list that does not say whether it goes on could hide objects.
pub(super) fn is_truncated(root: &Element<'_>) -> Result<bool, XmlError> {
    let text = root.text_of("IsTruncated").ok_or(XmlError::Missing("IsTruncated"))?;
    requests::flag(text).filter(|_| !text.trim().is_empty()).ok_or(XmlError::Value("IsTruncated"))
}

pub(super) fn text(element: &Element<'_>, name: &str) -> Option<String> {
    element.text_of(name).filter(|text| !text.is_empty()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket() -> BucketName {
        "photos".parse().unwrap()
    }

    fn request(version: ListVersion, encoding: Encoding) -> ListRequest {
        ListRequest { version, encoding, delimiter: Some("/".to_owned()), ..ListRequest::probe("a ") }
    }

    fn entry(key: &str, rest: &str) -> ListEntry {
        ListEntry { key: key.to_owned(), etag: "\"e\"".to_owned(), rest: rest.to_owned() }
    }

    #[test]
    fn a_locations_list_is_read_and_unknown_elements_are_kept() {
        let answer = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>b</Name><Prefix/><KeyCount>2</KeyCount><EncodingType>url</EncodingType><IsTruncated>true</IsTruncated><NextContinuationToken>t=</NextContinuationToken><Contents><Key>a+b%2Bc/%01</Key><LastModified>2026-11-23T03:32:42.000Z</LastModified><ETag>&quot;e&quot;</ETag><Size>3</Size><Novelty><Of>2027</Of></Novelty></Contents><CommonPrefixes><Prefix>d%C3%A9/</Prefix></CommonPrefixes></ListBucketResult>";
        let page = parse_list(answer.as_bytes()).ok().unwrap();
        assert_eq!(page.entries[0].key, "a b+c/\u{1}");
        assert_eq!(page.entries[0].etag, "\"e\"");
        assert_eq!(
            page.entries[0].rest,
            "<LastModified>2026-11-23T03:32:42.000Z</LastModified><ETag>&quot;e&quot;</ETag><Size>3</Size><Novelty><Of>2027</Of></Novelty>"
        );
        assert_eq!(page.common_prefixes, ["dé/"]);
        assert!(page.is_truncated);
        assert_eq!(page.next_token.as_deref(), Some("t="));
    }

    #[test]
    fn names_stay_as_they_are_where_a_location_does_not_encode() {
        let answer = "<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>a+b%20c</Key></Contents></ListBucketResult>";
        assert_eq!(parse_list(answer.as_bytes()).ok().unwrap().entries[0].key, "a+b%20c");
    }

    #[test]
    fn names_stay_as_they_are_where_a_location_says_that_it_encodes_and_does_not() {
        for plain in ["a +b", "é+", "\n+"] {
            let answer = format!(
                "<ListBucketResult><EncodingType>url</EncodingType><IsTruncated>false</IsTruncated><Contents><Key>{plain}</Key></Contents><Contents><Key>c+%20</Key></Contents></ListBucketResult>"
            );
            let page = parse_list(answer.as_bytes()).ok().unwrap();
            let keys: Vec<_> = page.entries.iter().map(|entry| entry.key.as_str()).collect();
            assert_eq!(keys, [plain, "c+%20"]);
            let group = answer.replace("Contents>", "CommonPrefixes>").replace("Key>", "Prefix>");
            assert_eq!(parse_list(group.as_bytes()).ok().unwrap().common_prefixes, [plain, "c+%20"]);
        }
    }

    #[test]
    fn a_list_that_does_not_say_whether_it_goes_on_is_refused() {
        for (answer, cause) in [
            ("<ListBucketResult/>", XmlError::Missing("IsTruncated")),
            ("<ListBucketResult><IsTruncated/></ListBucketResult>", XmlError::Value("IsTruncated")),
            ("<Error><Code>x</Code></Error>", XmlError::Root("ListBucketResult")),
            (
                "<ListBucketResult><IsTruncated>false</IsTruncated><Contents/></ListBucketResult>",
                XmlError::Missing("Key"),
            ),
            (
                "<ListBucketResult><EncodingType>url</EncodingType><IsTruncated>false</IsTruncated><Contents><Key>%zz</Key></Contents></ListBucketResult>",
                XmlError::Value("Key"),
            ),
        ] {
            assert_eq!(parse_list(answer.as_bytes()).err(), Some(AnswerError(cause)), "{answer}");
        }
    }

    #[test]
    fn the_second_version_is_written_with_its_tokens() {
        let page = ListPage {
            entries: vec![entry("a <é>", "<Size>1</Size>")],
            common_prefixes: vec!["a b/".to_owned()],
            is_truncated: true,
            next: Some("a b/".to_owned()),
        };
        let xml =
            list_result(&bucket(), "app", &request(ListVersion::V2, Encoding::Plain), &page, Some("tok"));
        assert_eq!(
            xml,
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>photos</Name><Prefix>a </Prefix><NextContinuationToken>tok</NextContinuationToken><KeyCount>2</KeyCount><MaxKeys>1</MaxKeys><Delimiter>/</Delimiter><IsTruncated>true</IsTruncated><Contents><Key>a &lt;é&gt;</Key><Size>1</Size></Contents><CommonPrefixes><Prefix>a b/</Prefix></CommonPrefixes></ListBucketResult>"
        );
    }

    #[test]
    fn the_first_version_is_written_with_markers_and_encoded_on_demand() {
        let page = ListPage {
            entries: vec![entry("a +\u{1}", "")],
            is_truncated: true,
            next: Some("a +\u{1}".to_owned()),
            ..ListPage::default()
        };
        let mut request = request(ListVersion::V1, Encoding::Url);
        let xml = list_result(&bucket(), "app", &request, &page, None);
        assert!(
            xml.contains("<Prefix>a%20</Prefix><Marker></Marker><NextMarker>a%20%2B%01</NextMarker>"),
            "{xml}"
        );
        assert!(
            xml.contains("<EncodingType>url</EncodingType>") && xml.contains("<Key>a%20%2B%01</Key>"),
            "{xml}"
        );
        request.delimiter = None;
        assert!(!list_result(&bucket(), "app", &request, &page, None).contains("NextMarker"));
    }

    #[test]
    fn what_is_written_is_read_back_the_same() {
        let keys = ["a", "a b", "a+b%20", "é/文", "x\u{1}\r\n\t&<>\"'", "\u{ffff}"];
        for encoding in [Encoding::Plain, Encoding::Url] {
            let entries: Vec<_> = keys.iter().map(|key| entry(key, "<ETag>&quot;e&quot;</ETag>")).collect();
            let page = ListPage { entries, common_prefixes: vec!["p +/".to_owned()], ..ListPage::default() };
            let request = ListRequest { owner: OwnerField::Fetch, ..request(ListVersion::V2, encoding) };
            let back =
                parse_list(list_result(&bucket(), "app", &request, &page, None).as_bytes()).ok().unwrap();
            assert!(back.entries == page.entries && back.common_prefixes == page.common_prefixes);
        }
    }

    #[test]
    fn uploads_are_read_and_written() {
        let request = UploadsRequest { max_uploads: 5, encoding: Encoding::Url, ..UploadsRequest::default() };
        let page = UploadsPage {
            uploads: vec![UploadEntry {
                key: "a b".to_owned(),
                upload_id: "2~x".to_owned(),
                rest: "<Initiated>2026-11-23T03:32:42.000Z</Initiated>".to_owned(),
            }],
            common_prefixes: vec!["c/".to_owned()],
            is_truncated: true,
            next_key_marker: Some("a b".to_owned()),
            next_upload_id_marker: Some("2~x".to_owned()),
        };
        let xml = uploads_result(&bucket(), "app", &request, &page);
        assert!(xml.contains("<NextKeyMarker>a%20b</NextKeyMarker>"), "{xml}");
        assert!(parse_uploads(xml.as_bytes()).ok().unwrap() == page);
        let nameless = "<ListMultipartUploadsResult><IsTruncated>false</IsTruncated><Upload><Key>k</Key></Upload></ListMultipartUploadsResult>";
        assert_eq!(
            parse_uploads(nameless.as_bytes()).err(),
            Some(AnswerError(XmlError::Missing("UploadId")))
        );
    }

    #[test]
    fn parts_get_the_clients_names() {
        let answer = "<ListPartsResult xmlns=\"x\"><Bucket>physical</Bucket><Key>k</Key><UploadId>theirs</UploadId><Owner><ID>acct</ID></Owner><IsTruncated>false</IsTruncated><Part><PartNumber>1</PartNumber><ETag>\"e\"</ETag></Part></ListPartsResult>";
        let xml =
            rewrite_parts(answer.as_bytes(), &bucket(), &"a&b".parse().unwrap(), "ours", "app").unwrap();
        assert!(xml.ends_with("<Bucket>photos</Bucket><Key>a&amp;b</Key><UploadId>ours</UploadId><Initiator><ID>app</ID><DisplayName>app</DisplayName></Initiator><Owner><ID>app</ID><DisplayName>app</DisplayName></Owner><IsTruncated>false</IsTruncated><Part><PartNumber>1</PartNumber><ETag>\"e\"</ETag></Part></ListPartsResult>"), "{xml}");
        assert!(!xml.contains("physical") && !xml.contains("theirs") && !xml.contains("acct"));
    }
}
