//! Documents that clients send, and those that the gateway sends on to locations.
//!
//! Elements that the gateway does not know are refused: a condition that nobody checks is a deletion that
//! nobody asked for.

use std::collections::BTreeSet;

use super::XmlError;
use super::tree::{self, Element};
use super::writer::document;
use crate::names::ObjectKey;
use crate::s3::tagging::{MAX_KEY, MAX_VALUE, MOST_TAGS};

/// Longest document, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bound(pub usize);

/// Most objects in one DeleteObjects request, and most parts in one upload (S3 user guide, "Multipart upload limits").
const MAX_OBJECTS: usize = 1000;
const MAX_PARTS: usize = 10_000;

/// The body of DeleteObjects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeleteRequest {
    pub objects: Vec<DeleteEntry>,
    /// Answer with failures only.
    pub quiet: bool,
}

#[derive(Clone, PartialEq, Eq)]
pub struct DeleteEntry {
    pub key: ObjectKey,
    pub version: Option<String>,
    /// Delete only if the object still has these, as the client wrote them.
    pub etag: Option<String>,
    pub last_modified: Option<String>,
    pub size: Option<String>,
}

impl std::fmt::Debug for DeleteEntry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("<object to delete>")
    }
}

/// The body of CompleteMultipartUpload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompleteRequest {
    /// In ascending order.
    pub parts: Vec<CompletedPart>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompletedPart {
    /// `1..=10000`
    pub number: u16,
    pub etag: String,
    /// Element names (`ChecksumCRC32`, ...) and values.
    pub checksums: Vec<(String, String)>,
}

/// One object tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tag {
    pub key: String,
    pub value: String,
}

/// Reads the body of CreateBucket: its `LocationConstraint`, if it has one.
pub fn parse_create_bucket(body: &[u8], bound: Bound) -> Result<Option<String>, XmlError> {
    if body.trim_ascii().is_empty() {
        return Ok(None);
    }
    let root = read(body, bound, 64)?.expect("CreateBucketConfiguration")?;
    for unsupported in ["Location", "Bucket", "Tags"] {
        if root.child(unsupported).is_some() {
            return Err(XmlError::Unsupported {
                element: unsupported,
                document: "CreateBucketConfiguration",
            });
        }
    }
    let fields = Fields::of(&root, "CreateBucketConfiguration", &["LocationConstraint"])?;
    let constraint = fields.text("LocationConstraint").map(str::trim).filter(|text| !text.is_empty());
    match constraint {
        Some(text) if text.len() > 63 || !text.bytes().all(|b| b.is_ascii_graphic()) => {
            Err(XmlError::Value("LocationConstraint"))
        }
        constraint => Ok(constraint.map(str::to_owned)),
    }
}

/// Reads the body of DeleteObjects: 1 to 1000 objects.
pub fn parse_delete(body: &[u8], bound: Bound) -> Result<DeleteRequest, XmlError> {
    let root = read(body, bound, 8 * MAX_OBJECTS)?.expect("Delete")?;
    let mut request = DeleteRequest { objects: Vec::new(), quiet: false };
    for child in &root.children {
        match child.name {
            "Object" => request.objects.push(delete_entry(child)?),
            "Quiet" => request.quiet = flag(&child.text).ok_or(XmlError::Value("Quiet"))?,
            _ => return Err(XmlError::Unexpected("Delete")),
        }
    }
    if request.objects.is_empty() || request.objects.len() > MAX_OBJECTS {
        return Err(XmlError::Count { what: "Object", limit: MAX_OBJECTS });
    }
    Ok(request)
}

fn delete_entry(object: &Element<'_>) -> Result<DeleteEntry, XmlError> {
    let fields = Fields::of(object, "Object", &["Key", "VersionId", "ETag", "LastModifiedTime", "Size"])?;
    let key = fields.text("Key").filter(|key| !key.is_empty()).ok_or(XmlError::Missing("Key"))?;
    let key: ObjectKey = key.parse().map_err(|_| XmlError::KeyTooLong)?;
    if key.leads_out_of_its_bucket() {
        return Err(XmlError::KeyLeadsOut);
    }
    let owned = |name: &str| fields.text(name).filter(|text| !text.is_empty()).map(str::to_owned);
    Ok(DeleteEntry {
        key,
        version: owned("VersionId"),
        etag: owned("ETag"),
        last_modified: owned("LastModifiedTime"),
        size: owned("Size"),
    })
}

/// Reads the body of CompleteMultipartUpload: 1 to 10,000 parts in ascending order. Whether a part may be named twice
/// is left to the location: some take the last one.
pub fn parse_complete(body: &[u8], bound: Bound) -> Result<CompleteRequest, XmlError> {
    let root = read(body, bound, 10 * MAX_PARTS)?.expect("CompleteMultipartUpload")?;
    let mut parts: Vec<CompletedPart> = Vec::new();
    for child in &root.children {
        if child.name != "Part" {
            return Err(XmlError::Unexpected("CompleteMultipartUpload"));
        }
        let part = completed_part(child)?;
        if parts.last().is_some_and(|last| last.number > part.number) {
            return Err(XmlError::PartOrder);
        }
        parts.push(part);
    }
    if parts.is_empty() || parts.len() > MAX_PARTS {
        return Err(XmlError::Count { what: "Part", limit: MAX_PARTS });
    }
    Ok(CompleteRequest { parts })
}

fn completed_part(part: &Element<'_>) -> Result<CompletedPart, XmlError> {
    let mut number = None;
    let mut etag = None;
    let mut checksums: Vec<(String, String)> = Vec::new();
    for child in &part.children {
        let text = child.text.trim();
        match child.name {
            "PartNumber" if number.is_some() => return Err(XmlError::Repeated("PartNumber")),
            "PartNumber" => number = Some(part_number(text).ok_or(XmlError::Value("PartNumber"))?),
            "ETag" if etag.is_some() => return Err(XmlError::Repeated("ETag")),
            "ETag" => etag = Some(text.to_owned()),
            name if name.starts_with("Checksum") => {
                if checksums.iter().any(|(known, _)| known == name) {
                    return Err(XmlError::Repeated("a checksum"));
                }
                checksums.push((name.to_owned(), text.to_owned()));
            }
            _ => return Err(XmlError::Unexpected("Part")),
        }
    }
    Ok(CompletedPart {
        number: number.ok_or(XmlError::Missing("PartNumber"))?,
        etag: etag.filter(|etag| !etag.is_empty()).ok_or(XmlError::Missing("ETag"))?,
        checksums,
    })
}

fn part_number(text: &str) -> Option<u16> {
    let number = text.parse().ok()?;
    (1..=MAX_PARTS).contains(&usize::from(number)).then_some(number)
}

/// Reads the body of PutObjectTagging (S3 user guide, "Categorizing your storage using tags").
pub fn parse_tagging(body: &[u8], bound: Bound) -> Result<Vec<Tag>, XmlError> {
    tags_of(body, bound, MOST_TAGS)
}

pub(super) fn tags_of(body: &[u8], bound: Bound, most: usize) -> Result<Vec<Tag>, XmlError> {
    let root = read(body, bound, 256)?.expect("Tagging")?;
    if root.children.iter().any(|child| child.name != "TagSet") {
        return Err(XmlError::Unexpected("Tagging"));
    }
    let set = root.child("TagSet").ok_or(XmlError::Missing("TagSet"))?;
    let mut tags = Vec::new();
    let mut keys = BTreeSet::new();
    for child in &set.children {
        if child.name != "Tag" {
            return Err(XmlError::Unexpected("TagSet"));
        }
        let fields = Fields::of(child, "Tag", &["Key", "Value"])?;
        let key = fields.text("Key").ok_or(XmlError::Missing("Key"))?;
        let value = fields.text("Value").ok_or(XmlError::Missing("Value"))?;
        if !(1..=MAX_KEY).contains(&key.chars().count())
            || value.chars().count() > MAX_VALUE
            || !keys.insert(key.to_owned())
        {
            return Err(XmlError::Tags);
        }
        tags.push(Tag { key: key.to_owned(), value: value.to_owned() });
    }
    if tags.len() > most { Err(XmlError::Tags) } else { Ok(tags) }
}

/// The body of RestoreObject: a copy of the object for a while, and nothing that would write it, or parts of it, elsewhere.
pub fn check_restore(body: &[u8], bound: Bound) -> Result<(), XmlError> {
    let root = read(body, bound, 64)?.expect("RestoreRequest")?;
    let elsewhere = ["OutputLocation", "SelectParameters", "Type"];
    match elsewhere.into_iter().find(|name| root.child(name).is_some()) {
        Some(name) => Err(XmlError::Unsupported { element: name, document: "RestoreRequest" }),
        None => Ok(()),
    }
}

/// The body of a CreateBucket request to a location.
pub fn create_bucket_configuration(constraint: &str) -> String {
    document("CreateBucketConfiguration", |writer| writer.text("LocationConstraint", constraint))
}

/// The body of a DeleteObjects request to a location.
pub fn write_delete(request: &DeleteRequest) -> String {
    document("Delete", |writer| {
        for object in &request.objects {
            writer.element("Object", |writer| {
                writer.text("Key", object.key.as_str());
                writer.optional("VersionId", object.version.as_deref());
                writer.optional("ETag", object.etag.as_deref());
                writer.optional("LastModifiedTime", object.last_modified.as_deref());
                writer.optional("Size", object.size.as_deref());
            });
        }
        writer.flag("Quiet", request.quiet);
    })
}

/// The body of a CompleteMultipartUpload request to a location.
pub fn write_complete(request: &CompleteRequest) -> String {
    document("CompleteMultipartUpload", |writer| {
        for part in &request.parts {
            writer.element("Part", |writer| {
                for (name, value) in &part.checksums {
                    writer.text(name, value);
                }
                writer.text("ETag", &part.etag);
                writer.number("PartNumber", usize::from(part.number));
            });
        }
    })
}

pub(super) fn read(body: &[u8], bound: Bound, max_elements: usize) -> Result<Element<'_>, XmlError> {
    if body.len() > bound.0 {
        return Err(XmlError::TooLong { limit: bound.0 });
    }
    tree::parse(body, max_elements)
}

/// An element's children, known by name and each there once.
pub(super) struct Fields<'e, 'a>(&'e Element<'a>);

impl<'e, 'a> Fields<'e, 'a> {
    pub(super) fn of(
        element: &'e Element<'a>,
        name: &'static str,
        known: &'static [&'static str],
    ) -> Result<Self, XmlError> {
        let mut seen = Vec::with_capacity(known.len());
        for child in &element.children {
            let field = known.iter().find(|field| **field == child.name).ok_or(XmlError::Unexpected(name))?;
            if seen.contains(&field) {
                return Err(XmlError::Repeated(field));
            }
            if !child.children.is_empty() {
                return Err(XmlError::Value(field));
            }
            seen.push(field);
        }
        Ok(Fields(element))
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.text_of(name)
    }
}

/// An `xs:boolean`.
pub(super) fn flag(text: &str) -> Option<bool> {
    match text.trim() {
        "true" | "1" => Some(true),
        "false" | "0" | "" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUND: Bound = Bound(1 << 20);

    fn delete(inner: &str) -> Result<DeleteRequest, XmlError> {
        parse_delete(
            format!("<Delete xmlns=\"{}\">{inner}</Delete>", super::super::NAMESPACE).as_bytes(),
            BOUND,
        )
    }

    fn complete(inner: &str) -> Result<CompleteRequest, XmlError> {
        parse_complete(
            format!("<CompleteMultipartUpload>{inner}</CompleteMultipartUpload>").as_bytes(),
            BOUND,
        )
    }

    #[test]
    fn a_location_constraint_is_read_and_an_empty_body_has_none() {
        let parse = |text: &str| parse_create_bucket(text.as_bytes(), BOUND);
        let written = create_bucket_configuration("cn-north-1");
        assert_eq!(parse(&written), Ok(Some("cn-north-1".to_owned())));
        assert_eq!(parse(" \n"), Ok(None));
        assert_eq!(parse("<CreateBucketConfiguration/>"), Ok(None));
        assert_eq!(parse("<Other/>"), Err(XmlError::Root("CreateBucketConfiguration")));
        let tags = "<CreateBucketConfiguration><Tags/></CreateBucketConfiguration>";
        assert_eq!(
            parse(tags),
            Err(XmlError::Unsupported { element: "Tags", document: "CreateBucketConfiguration" })
        );
        let long = format!(
            "<CreateBucketConfiguration><LocationConstraint>{}</LocationConstraint></CreateBucketConfiguration>",
            "x".repeat(64)
        );
        assert_eq!(parse(&long), Err(XmlError::Value("LocationConstraint")));
    }

    #[test]
    fn a_delete_is_read_with_its_versions_and_conditions() {
        let request = delete(
            "<Object><Key>a &amp; b&#x1;</Key><VersionId>v</VersionId></Object>\n<Quiet>true</Quiet><Object><Key> c</Key><ETag>\"e\"</ETag></Object>",
        )
        .unwrap();
        assert!(request.quiet);
        assert_eq!(request.objects[0].key.as_str(), "a & b\u{1}");
        assert_eq!(request.objects[0].version.as_deref(), Some("v"));
        assert_eq!(request.objects[1].key.as_str(), " c");
        assert_eq!(request.objects[1].etag.as_deref(), Some("\"e\""));
    }

    #[test]
    fn what_a_delete_does_not_say_clearly_is_refused() {
        let object = "<Object><Key>k</Key></Object>";
        assert_eq!(delete(""), Err(XmlError::Count { what: "Object", limit: 1000 }));
        assert!(delete(&object.repeat(1000)).is_ok());
        assert_eq!(delete(&object.repeat(1001)), Err(XmlError::Count { what: "Object", limit: 1000 }));
        assert_eq!(delete("<Object><Key/></Object>"), Err(XmlError::Missing("Key")));
        assert_eq!(delete("<Object><Key>a</Key><Key>b</Key></Object>"), Err(XmlError::Repeated("Key")));
        assert_eq!(delete("<Object><Key>a</Key><IfOlder/></Object>"), Err(XmlError::Unexpected("Object")));
        assert_eq!(delete("<Object><Key><b/></Key></Object>"), Err(XmlError::Value("Key")));
        assert_eq!(delete("<Quiet>perhaps</Quiet>"), Err(XmlError::Value("Quiet")));
        assert_eq!(delete("<Object><Key>../b/k</Key></Object>"), Err(XmlError::KeyLeadsOut));
        let long = format!("<Object><Key>{}</Key></Object>", "k".repeat(1025));
        assert_eq!(delete(&long), Err(XmlError::KeyTooLong));
        assert_eq!(parse_delete(&[b' '; 100], Bound(99)), Err(XmlError::TooLong { limit: 99 }));
    }

    #[test]
    fn parts_are_read_with_their_checksums() {
        let request = complete(
            "<Part><PartNumber>1</PartNumber><ETag>&quot;a&quot;</ETag><ChecksumCRC64NVME>x=</ChecksumCRC64NVME></Part><Part><ETag>b</ETag><PartNumber>10000</PartNumber></Part>",
        )
        .unwrap();
        assert_eq!(request.parts[0].etag, "\"a\"");
        assert_eq!(request.parts[0].checksums, [("ChecksumCRC64NVME".to_owned(), "x=".to_owned())]);
        assert_eq!(request.parts[1].number, 10_000);
        assert_eq!(parse_complete(write_complete(&request).as_bytes(), BOUND), Ok(request));
    }

    #[test]
    fn parts_out_of_order_or_out_of_range_are_refused() {
        let part = |number: &str| format!("<Part><PartNumber>{number}</PartNumber><ETag>e</ETag></Part>");
        assert_eq!(complete(""), Err(XmlError::Count { what: "Part", limit: 10_000 }));
        assert_eq!(complete(&(part("2") + &part("1"))), Err(XmlError::PartOrder));
        assert_eq!(complete(&(part("2") + &part("2"))).map(|request| request.parts.len()), Ok(2));
        for number in ["0", "10001", "65537", "-1", "x", ""] {
            assert_eq!(complete(&part(number)), Err(XmlError::Value("PartNumber")), "{number}");
        }
        assert_eq!(complete("<Part><PartNumber>1</PartNumber></Part>"), Err(XmlError::Missing("ETag")));
        assert_eq!(complete("<Piece/>"), Err(XmlError::Unexpected("CompleteMultipartUpload")));
        let all: String = (1..=10_000).map(|number| part(&number.to_string())).collect();
        assert_eq!(complete(&all).map(|request| request.parts.len()), Ok(10_000));
    }

    #[test]
    fn tags_are_read_within_the_limits_of_s3() {
        let tagging = |inner: &str| {
            parse_tagging(format!("<Tagging><TagSet>{inner}</TagSet></Tagging>").as_bytes(), BOUND)
        };
        let tag = |key: &str, value: &str| format!("<Tag><Key>{key}</Key><Value>{value}</Value></Tag>");
        let tags = tagging(&tag("data-class", "personal.health")).unwrap();
        assert_eq!(tags, [Tag { key: "data-class".to_owned(), value: "personal.health".to_owned() }]);
        assert_eq!(tagging(""), Ok(Vec::new()));
        assert_eq!(tagging(&(tag("a", "1") + &tag("a", "2"))), Err(XmlError::Tags));
        assert_eq!(tagging(&tag("", "1")), Err(XmlError::Tags));
        assert_eq!(tagging(&tag("a", &"é".repeat(257))), Err(XmlError::Tags));
        let eleven: String = (0..11).map(|n| tag(&n.to_string(), "")).collect();
        assert_eq!(tagging(&eleven), Err(XmlError::Tags));
        assert_eq!(parse_tagging(b"<Tagging/>", BOUND), Err(XmlError::Missing("TagSet")));
    }

    #[test]
    fn refusals_have_the_codes_of_s3() {
        use crate::s3::error::{Code, S3Error};
        assert_eq!(S3Error::from(XmlError::Syntax).code, Code::MalformedXML);
        assert_eq!(S3Error::from(XmlError::PartOrder).code, Code::InvalidPartOrder);
        assert_eq!(S3Error::from(XmlError::TooLong { limit: 1 }).code, Code::MaxMessageLengthExceeded);
    }

    proptest::proptest! {
        #[test]
        fn a_delete_comes_back_as_it_was_written(
            keys in proptest::collection::vec("[^\0]{1,30}", 1..20),
            quiet in proptest::bool::ANY,
        ) {
            let objects = keys.iter().map(|key| DeleteEntry {
                key: key.parse().unwrap(), version: None, etag: None, last_modified: None, size: None,
            }).collect();
            let request = DeleteRequest { objects, quiet };
            proptest::prop_assert_eq!(parse_delete(write_delete(&request).as_bytes(), BOUND), Ok(request));
        }
    }
}
