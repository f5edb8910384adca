//! The documents against an independent implementation of S3's shapes.

use s3s::dto;
use s3s::xml::{Deserialize, Deserializer, Serialize, Serializer};

use super::*;
use crate::s3::listing::{Encoding, ListPage, ListRequest, ListVersion};

fn theirs(value: &impl Serialize) -> Vec<u8> {
    let mut xml = Vec::new();
    let mut serializer = Serializer::new(&mut xml);
    serializer.decl().unwrap();
    value.serialize(&mut serializer).unwrap();
    xml
}

fn read_by_them<T: for<'xml> Deserialize<'xml>>(xml: &str) -> T {
    let mut deserializer = Deserializer::new(xml.as_bytes());
    let value = T::deserialize(&mut deserializer).unwrap();
    deserializer.expect_eof().unwrap();
    value
}

#[test]
fn their_list_is_our_page_and_survives_our_writer() {
    let object = |key: &str| dto::Object {
        key: Some(key.to_owned()),
        e_tag: Some(dto::ETag::Strong("e".to_owned())),
        size: Some(3),
        owner: Some(dto::Owner { id: Some("o".to_owned()), display_name: None }),
        ..dto::Object::default()
    };
    let list = dto::ListObjectsV2Output {
        contents: Some(vec![object("a & b"), object("é\n\t")]),
        common_prefixes: Some(vec![dto::CommonPrefix { prefix: Some("p/".to_owned()) }]),
        is_truncated: Some(true),
        next_continuation_token: Some("t".to_owned()),
        ..dto::ListObjectsV2Output::default()
    };
    let page = parse_list(&theirs(&list)).ok().unwrap();
    let keys: Vec<_> = page.entries.iter().map(|entry| (entry.key.as_str(), entry.etag.as_str())).collect();
    assert_eq!(keys, [("a & b", "\"e\""), ("é\n\t", "\"e\"")]);
    assert_eq!((page.common_prefixes.as_slice(), page.is_truncated), (&["p/".to_owned()][..], true));
    assert_eq!(page.next_token.as_deref(), Some("t"));

    let request = ListRequest { version: ListVersion::V2, encoding: Encoding::Url, ..ListRequest::probe("") };
    let merged = ListPage {
        entries: page.entries.clone(),
        common_prefixes: page.common_prefixes.clone(),
        ..ListPage::default()
    };
    let again = list_result(&"photos".parse().unwrap(), "app", &request, &merged, None);
    let again = parse_list(again.as_bytes()).ok().unwrap();
    assert!(again.entries == page.entries);
}

#[test]
fn their_answers_to_uploads_and_copies_are_read() {
    let created = dto::CreateMultipartUploadOutput {
        bucket: Some("physical".to_owned()),
        key: Some("k".to_owned()),
        upload_id: Some("u".to_owned()),
        ..dto::CreateMultipartUploadOutput::default()
    };
    assert_eq!(parse_initiate_result(&theirs(&created)), Ok("u".to_owned()));

    let completed = dto::CompleteMultipartUploadOutput {
        bucket: Some("physical".to_owned()),
        e_tag: Some(dto::ETag::Strong("e-1".to_owned())),
        checksum_crc32: Some("AA==".to_owned()),
        ..dto::CompleteMultipartUploadOutput::default()
    };
    let expected =
        CompleteAnswer { etag: "\"e-1\"".to_owned(), rest: "<ChecksumCRC32>AA==</ChecksumCRC32>".to_owned() };
    assert_eq!(parse_complete_result(&theirs(&completed)), Ok(Outcome::Done(expected)));

    let copied = dto::CopyObjectResult {
        e_tag: Some(dto::ETag::Strong("e".to_owned())),
        last_modified: Some(std::time::SystemTime::UNIX_EPOCH.into()),
        ..dto::CopyObjectResult::default()
    };
    let Ok(Outcome::Done(copy)) = parse_copy_result(&theirs(&copied)) else { panic!("not read") };
    assert_eq!(copy.etag, "\"e\"");
    let back: dto::CopyObjectResult = read_by_them(&copy_result(&copy));
    assert_eq!(back, copied);

    let uploads = dto::ListMultipartUploadsOutput {
        is_truncated: Some(false),
        uploads: Some(vec![dto::MultipartUpload {
            key: Some("k".to_owned()),
            upload_id: Some("u".to_owned()),
            ..dto::MultipartUpload::default()
        }]),
        ..dto::ListMultipartUploadsOutput::default()
    };
    let page = parse_uploads(&theirs(&uploads)).ok().unwrap();
    assert_eq!((page.uploads[0].key.as_str(), page.uploads[0].upload_id.as_str()), ("k", "u"));
}

#[test]
fn their_answer_to_a_deletion_is_read() {
    let result = dto::DeleteObjectsOutput {
        deleted: Some(vec![dto::DeletedObject {
            key: Some("a".to_owned()),
            ..dto::DeletedObject::default()
        }]),
        errors: Some(vec![dto::Error {
            key: Some("b".to_owned()),
            code: Some("AccessDenied".to_owned()),
            message: None,
            version_id: None,
        }]),
        ..dto::DeleteObjectsOutput::default()
    };
    let outcome = parse_delete_result(&theirs(&result)).ok().unwrap();
    assert_eq!((outcome.deleted[0].key.as_str(), outcome.failed[0].code.as_str()), ("a", "AccessDenied"));
}

#[test]
fn they_read_our_requests_and_we_read_theirs() {
    let ours = DeleteRequest {
        objects: vec![DeleteEntry {
            key: "a&\u{e9}".parse().unwrap(),
            version: Some("v".to_owned()),
            etag: None,
            last_modified: None,
            size: None,
        }],
        quiet: true,
    };
    let read: dto::Delete = read_by_them(&write_delete(&ours));
    assert_eq!((read.objects[0].key.as_str(), read.quiet), ("a&é", Some(true)));
    assert_eq!(parse_delete(&theirs(&read), Bound(4096)), Ok(ours));

    let ours = CompleteRequest {
        parts: vec![CompletedPart {
            number: 7,
            etag: "\"e\"".to_owned(),
            checksums: vec![("ChecksumCRC64NVME".to_owned(), "AA==".to_owned())],
        }],
    };
    let read: dto::CompletedMultipartUpload = read_by_them(&write_complete(&ours));
    let parts = read.parts.clone().unwrap();
    assert_eq!((parts[0].part_number, parts[0].checksum_crc64nvme.as_deref()), (Some(7), Some("AA==")));
    assert_eq!(parse_complete(&theirs(&read), Bound(4096)), Ok(ours));

    let read: dto::CreateBucketConfiguration = read_by_them(&create_bucket_configuration("cn-north-1"));
    assert_eq!(parse_create_bucket(&theirs(&read), Bound(4096)), Ok(Some("cn-north-1".to_owned())));
}

#[test]
fn they_read_our_answers_about_buckets() {
    let list = BucketList {
        owner: "web",
        buckets: vec![BucketEntry { name: "photos", created_at: 1000, region: None }],
        prefix: None,
        next_token: None,
    };
    let read: dto::ListBucketsOutput = read_by_them(&list_buckets_result(&list));
    assert_eq!(read.buckets.unwrap()[0].name.as_deref(), Some("photos"));
    let read: dto::GetBucketLocationOutput = read_by_them(&location_constraint(Some("eu-central-1")));
    assert_eq!(read.location_constraint.unwrap().as_str(), "eu-central-1");
}
