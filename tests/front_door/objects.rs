//! Single objects: what was put is what is read, whatever its key and headers are.

use std::collections::HashMap;

use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::primitives::ByteStream;

use crate::app::{bucket, clean_text, failed, get, keys, put, put_tagged};
use crate::support::ODD_KEYS;
use crate::support::gateway::{Gateway, PATIENCE};
use crate::support::raw::{Raw, exchange};

over_both_kinds_of_store!(
    an_object_lives_from_put_to_delete,
    a_range_is_a_part_of_the_object,
    headers_and_metadata_come_back,
    a_conditional_write_holds_its_condition,
    many_objects_are_deleted_at_once,
    a_presigned_url_puts_and_gets,
    a_stream_of_many_megabytes_arrives_whole,
);

async fn an_object_lives_from_put_to_delete(gateway: Gateway) {
    let client = gateway.client();
    bucket(&client, "clinic").await;
    failed(client.get_object().bucket("clinic").key("note").send().await).is(404, "NoSuchKey");
    failed(client.head_object().bucket("clinic").key("note").send().await).is(404, "NotFound");

    put(&client, "clinic", "note", "first").await;
    assert_eq!(get(&client, "clinic", "note").await, b"first");
    put(&client, "clinic", "note", "the second").await;
    assert_eq!(get(&client, "clinic", "note").await, b"the second");
    let head = client.head_object().bucket("clinic").key("note").send().await.unwrap();
    assert_eq!(head.content_length(), Some(10));
    assert_eq!(head.e_tag(), Some("\"3212eb1ca5254451d20dfc92428d2cbe\""));

    // An empty object is an object.
    put(&client, "clinic", "empty", "").await;
    assert_eq!(get(&client, "clinic", "empty").await, b"");
    assert_eq!(keys(&client, "clinic").await, ["empty", "note"]);

    client.delete_object().bucket("clinic").key("note").send().await.unwrap();
    failed(client.get_object().bucket("clinic").key("note").send().await).is(404, "NoSuchKey");
    // What is not there is deleted without a word.
    client.delete_object().bucket("clinic").key("note").send().await.unwrap();
    assert_eq!(keys(&client, "clinic").await, ["empty"]);
}

async fn a_range_is_a_part_of_the_object(gateway: Gateway) {
    let client = gateway.client();
    bucket(&client, "clinic").await;
    put(&client, "clinic", "digits", "0123456789").await;
    let read = |range: &str| client.get_object().bucket("clinic").key("digits").range(range).send();
    for (range, part, stated) in [
        ("bytes=0-0", "0", "bytes 0-0/10"),
        ("bytes=2-5", "2345", "bytes 2-5/10"),
        ("bytes=7-", "789", "bytes 7-9/10"),
        ("bytes=-3", "789", "bytes 7-9/10"),
        ("bytes=8-100", "89", "bytes 8-9/10"),
    ] {
        let answer = read(range).await.unwrap();
        assert_eq!(answer.content_range(), Some(stated), "{range}");
        assert_eq!(answer.body.collect().await.unwrap().to_vec(), part.as_bytes(), "{range}");
    }
    failed(read("bytes=10-").await).is(416, "InvalidRange");
}

async fn headers_and_metadata_come_back(gateway: Gateway) {
    let client = gateway.client();
    bucket(&client, "clinic").await;
    let metadata =
        HashMap::from([("ward".to_owned(), "3 b".to_owned()), ("empty-ward".to_owned(), "x".to_owned())]);
    client
        .put_object()
        .bucket("clinic")
        .key("scan")
        .set_metadata(Some(metadata.clone()))
        .content_type("image/x-scan; layer=2")
        .cache_control("max-age=60")
        .content_disposition("attachment; filename=\"a b.scan\"")
        .content_language("de")
        .content_encoding("identity")
        .body(ByteStream::from_static(b"scan"))
        .send()
        .await
        .unwrap();
    let answer = client.get_object().bucket("clinic").key("scan").send().await.unwrap();
    assert_eq!(answer.metadata(), Some(&metadata));
    assert_eq!(answer.content_type(), Some("image/x-scan; layer=2"));
    assert_eq!(answer.cache_control(), Some("max-age=60"));
    assert_eq!(answer.content_disposition(), Some("attachment; filename=\"a b.scan\""));
    assert_eq!(answer.content_language(), Some("de"));
    assert_eq!(answer.content_encoding(), Some("identity"));
    assert!(answer.last_modified().is_some());
    let head = client.head_object().bucket("clinic").key("scan").send().await.unwrap();
    assert_eq!(head.metadata(), Some(&metadata));
}

async fn a_conditional_write_holds_its_condition(gateway: Gateway) {
    let client = gateway.client();
    bucket(&client, "clinic").await;
    let write = || client.put_object().bucket("clinic").key("once").body(ByteStream::from_static(b"new"));
    failed(write().if_match("\"0\"").send().await).is(404, "NoSuchKey");
    let first = write().if_none_match("*").send().await.unwrap();
    failed(write().if_none_match("*").send().await).is(412, "PreconditionFailed");
    failed(write().if_match("\"0\"").send().await).is(412, "PreconditionFailed");
    write().if_match(first.e_tag().unwrap()).send().await.unwrap();
    assert_eq!(get(&client, "clinic", "once").await, b"new");
}

async fn many_objects_are_deleted_at_once(gateway: Gateway) {
    use aws_sdk_s3::types::{Delete, ObjectIdentifier};
    let client = gateway.client();
    bucket(&client, "clinic").await;
    put(&client, "clinic", "a", "1").await;
    put_tagged(&client, "clinic", "b", "data-class=personal&subject-country=CN", "2").await;
    put_tagged(&client, "clinic", "c/d", "data-class=personal&subject-country=DE", "3").await;
    put(&client, "clinic", "kept", "4").await;
    let named = |keys: &[&str]| -> Vec<ObjectIdentifier> {
        keys.iter().map(|key| ObjectIdentifier::builder().key(*key).build().unwrap()).collect()
    };
    let delete = Delete::builder().set_objects(Some(named(&["a", "b", "c/d", "never-was"]))).build().unwrap();
    let answer = client.delete_objects().bucket("clinic").delete(delete).send().await.unwrap();
    assert!(answer.errors().is_empty(), "{answer:?}");
    let mut deleted: Vec<_> = answer.deleted().iter().map(|gone| gone.key().unwrap()).collect();
    deleted.sort_unstable();
    assert_eq!(deleted, ["a", "b", "c/d", "never-was"]);
    assert_eq!(keys(&client, "clinic").await, ["kept"]);

    let quiet = Delete::builder().set_objects(Some(named(&["kept"]))).quiet(true).build().unwrap();
    let answer = client.delete_objects().bucket("clinic").delete(quiet).send().await.unwrap();
    assert!(answer.deleted().is_empty() && answer.errors().is_empty());
    assert!(keys(&client, "clinic").await.is_empty());
}

async fn a_presigned_url_puts_and_gets(gateway: Gateway) {
    let client = gateway.client();
    bucket(&client, "clinic").await;
    let soon = || PresigningConfig::expires_in(PATIENCE).unwrap();
    let address = gateway.endpoint.strip_prefix("http://").unwrap();
    let ask = async |presigned: aws_sdk_s3::presigning::PresignedRequest, body: &[u8]| {
        let target = presigned.uri().strip_prefix(&gateway.endpoint).unwrap();
        let mut head = format!("{} {target} HTTP/1.1\r\nhost: {address}\r\n", presigned.method());
        for (name, value) in presigned.headers().filter(|(name, _)| *name != "content-length") {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str(&format!("content-length: {}\r\nconnection: close\r\n\r\n", body.len()));
        exchange(address, head.as_bytes(), body).await.unwrap()
    };
    let put = client.put_object().bucket("clinic").key("by link").presigned(soon()).await.unwrap();
    let answer = ask(put, b"sent by link").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let read = client.get_object().bucket("clinic").key("by link").presigned(soon()).await.unwrap();
    let answer = ask(read, b"").await;
    assert_eq!((answer.status, answer.body.as_slice()), (200, &b"sent by link"[..]));
    // The signature in the query went no further than the gateway.
    assert_eq!(answer.header("x-domicile-location"), Some("us-east"));
}

async fn a_stream_of_many_megabytes_arrives_whole(gateway: Gateway) {
    let client = gateway.client();
    bucket(&client, "clinic").await;
    let mut body = clean_text(9 << 20);
    body.extend(b"the end");
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &body).unwrap();
    // A file is sent as a stream, with its checksum behind it.
    let stream = ByteStream::from_path(file.path()).await.unwrap();
    client.put_object().bucket("clinic").key("big").body(stream).send().await.unwrap();
    assert!(get(&client, "clinic", "big").await == body);
}

#[tokio::test]
async fn a_conditional_read_answers_as_its_condition_says() {
    let gateway = Gateway::demo().await;
    let client = gateway.client();
    bucket(&client, "clinic").await;
    put(&client, "clinic", "note", "first").await;
    let read = || client.get_object().bucket("clinic").key("note");
    let tag = read().send().await.unwrap().e_tag().unwrap().to_owned();
    read().if_match(&tag).send().await.unwrap();
    read().if_none_match("\"0\"").send().await.unwrap();
    failed(read().if_match("\"0\"").send().await).is(412, "PreconditionFailed");
    assert_eq!(failed(read().if_none_match(&tag).send().await).status, 304);
    let past = aws_sdk_s3::primitives::DateTime::from_secs(1_000_000_000);
    read().if_modified_since(past).send().await.unwrap();
    failed(read().if_unmodified_since(past).send().await).is(412, "PreconditionFailed");
    let head = client.head_object().bucket("clinic").key("note").if_none_match(&tag).send().await;
    assert_eq!(failed(head).status, 304);
}

#[tokio::test]
async fn tags_are_read_where_the_object_rests() {
    let gateway = Gateway::demo().await;
    let client = gateway.client();
    bucket(&client, "clinic").await;
    put_tagged(&client, "clinic", "note", "data-class=personal&subject-country=CN&ward=3%20b", "first").await;
    let tags = client.get_object_tagging().bucket("clinic").key("note").send().await.unwrap();
    let mut tags: Vec<_> = tags.tag_set().iter().map(|tag| (tag.key(), tag.value())).collect();
    tags.sort_unstable();
    assert_eq!(tags, [("data-class", "personal"), ("subject-country", "CN"), ("ward", "3 b")]);
    // They change like any others, and with them the labels: but those only add up.
    let ward = aws_sdk_s3::types::Tag::builder().key("ward").value("4").build().unwrap();
    let tagging = aws_sdk_s3::types::Tagging::builder().tag_set(ward).build().unwrap();
    client.put_object_tagging().bucket("clinic").key("note").tagging(tagging).send().await.unwrap();
    let tags = client.get_object_tagging().bucket("clinic").key("note").send().await.unwrap();
    assert_eq!(tags.tag_set().len(), 1);
    client.delete_object_tagging().bucket("clinic").key("note").send().await.unwrap();
    let tags = client.get_object_tagging().bucket("clinic").key("note").send().await.unwrap();
    assert!(tags.tag_set().is_empty());
    assert_eq!(gateway.whereis("clinic", "note")["location"], "cn-north");
}

#[tokio::test]
async fn a_part_of_an_object_is_read_by_its_number_and_its_attributes_are_told() {
    use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart, ObjectAttributes};
    let gateway = Gateway::demo().await;
    let client = gateway.client();
    bucket(&client, "clinic").await;
    let upload = client.create_multipart_upload().bucket("clinic").key("big").send().await.unwrap();
    let id = upload.upload_id().unwrap();
    let bodies = [clean_text(5 << 20), b"the end".to_vec()];
    let mut parts = Vec::new();
    for (number, body) in (1..).zip(&bodies) {
        let body = ByteStream::from(body.clone());
        let part =
            client.upload_part().bucket("clinic").key("big").upload_id(id).part_number(number).body(body);
        let etag = part.send().await.unwrap().e_tag().unwrap().to_owned();
        parts.push(CompletedPart::builder().part_number(number).e_tag(etag).build());
    }
    let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
    let complete = client.complete_multipart_upload().bucket("clinic").key("big").upload_id(id);
    complete.multipart_upload(parts).send().await.unwrap();

    let read = |number| client.get_object().bucket("clinic").key("big").part_number(number).send();
    let last = read(2).await.unwrap();
    assert_eq!((last.parts_count(), last.content_length()), (Some(2), Some(7)));
    assert_eq!(last.content_range(), Some("bytes 5242880-5242886/5242887"));
    assert_eq!(last.body.collect().await.unwrap().to_vec(), b"the end");
    assert_eq!(read(1).await.unwrap().content_length(), Some(5 << 20));
    failed(read(3).await).is(416, "InvalidPartNumber");
    let head = client.head_object().bucket("clinic").key("big").part_number(2).send().await.unwrap();
    assert_eq!((head.parts_count(), head.content_length()), (Some(2), Some(7)));

    let attributes = client
        .get_object_attributes()
        .bucket("clinic")
        .key("big")
        .object_attributes(ObjectAttributes::Etag)
        .object_attributes(ObjectAttributes::ObjectSize)
        .object_attributes(ObjectAttributes::ObjectParts)
        .object_attributes(ObjectAttributes::StorageClass)
        .send()
        .await
        .unwrap();
    assert_eq!(attributes.object_size(), Some((5 << 20) + 7));
    assert!(attributes.e_tag().unwrap().ends_with("-2"));
    let parts = attributes.object_parts().unwrap();
    assert_eq!(parts.total_parts_count(), Some(2));
    assert_eq!(parts.parts()[1].size(), Some(7));

    // What came in one piece has one part.
    put(&client, "clinic", "note", "text").await;
    let read = |number| client.get_object().bucket("clinic").key("note").part_number(number).send();
    let only = read(1).await.unwrap();
    assert_eq!((only.parts_count(), only.content_range()), (None, Some("bytes 0-3/4")));
    failed(read(2).await).is(416, "InvalidPartNumber");
    put(&client, "clinic", "empty", "").await;
    let empty = client.get_object().bucket("clinic").key("empty").part_number(1).send().await.unwrap();
    assert_eq!(empty.content_length(), Some(0));
}

#[tokio::test]
async fn a_canned_list_that_grants_nothing_is_taken_and_told() {
    use aws_sdk_s3::types::{AccessControlPolicy, BucketCannedAcl, ObjectCannedAcl, Permission};
    let gateway = Gateway::demo().await;
    let client = gateway.client();
    bucket(&client, "clinic").await;
    put(&client, "clinic", "note", "text").await;
    let list = |acl| client.put_object_acl().bucket("clinic").key("note").acl(acl).send();
    list(ObjectCannedAcl::Private).await.unwrap();
    failed(list(ObjectCannedAcl::PublicRead).await).is(501, "NotImplemented");
    let acl = client.get_object_acl().bucket("clinic").key("note").send().await.unwrap();
    assert_eq!(acl.grants().len(), 1);
    assert_eq!(acl.grants()[0].permission(), Some(&Permission::FullControl));
    let owner = acl.owner().unwrap().clone();
    let again = AccessControlPolicy::builder().set_owner(acl.owner).set_grants(acl.grants).build();
    client
        .put_object_acl()
        .bucket("clinic")
        .key("note")
        .access_control_policy(again.clone())
        .send()
        .await
        .unwrap();
    client.put_bucket_acl().bucket("clinic").acl(BucketCannedAcl::Private).send().await.unwrap();
    client.put_bucket_acl().bucket("clinic").access_control_policy(again).send().await.unwrap();
    let acl = client.get_bucket_acl().bucket("clinic").send().await.unwrap();
    assert_eq!(acl.owner().unwrap().id(), acl.grants()[0].grantee().unwrap().id());
    assert_eq!(acl.owner(), Some(&owner));
}

/// Whichever account a location keeps them under, to an app what is in its bucket is the bucket's owner's.
#[tokio::test]
async fn everything_in_a_bucket_has_the_buckets_owner() {
    let gateway = Gateway::demo().await;
    let client = gateway.client();
    bucket(&client, "clinic").await;
    put(&client, "clinic", "note", "text").await;
    let upload = client.create_multipart_upload().bucket("clinic").key("long").send().await.unwrap();
    let owner = client.get_bucket_acl().bucket("clinic").send().await.unwrap().owner;
    assert_eq!(client.list_buckets().send().await.unwrap().owner, owner);

    let first = client.list_objects().bucket("clinic").send().await.unwrap();
    assert_eq!(first.contents()[0].owner(), owner.as_ref());
    let second = client.list_objects_v2().bucket("clinic").send().await.unwrap();
    assert_eq!(second.contents()[0].owner(), None);
    let second = client.list_objects_v2().bucket("clinic").fetch_owner(true).send().await.unwrap();
    assert_eq!(second.contents()[0].owner(), owner.as_ref());
    let versions = client.list_object_versions().bucket("clinic").send().await.unwrap();
    assert_eq!(versions.versions()[0].owner(), owner.as_ref());
    let uploads = client.list_multipart_uploads().bucket("clinic").send().await.unwrap();
    assert_eq!(uploads.uploads()[0].owner(), owner.as_ref());
    let parts = client
        .list_parts()
        .bucket("clinic")
        .key("long")
        .set_upload_id(upload.upload_id)
        .send()
        .await
        .unwrap();
    assert_eq!(parts.owner(), owner.as_ref());
    assert_eq!(parts.initiator().unwrap().id(), owner.unwrap().id());
}

#[tokio::test]
async fn every_key_is_a_key() {
    let gateway = Gateway::demo().await;
    let client = gateway.client();
    bucket(&client, "clinic").await;
    let long = "k".repeat(1024);
    let mut odd: Vec<&str> = ODD_KEYS.into_iter().chain(["/leading", "a/", &long]).collect();
    for key in &odd {
        put(&client, "clinic", key, format!("object {key}")).await;
    }
    for key in &odd {
        assert_eq!(get(&client, "clinic", key).await, format!("object {key}").into_bytes(), "{key}");
        client.head_object().bucket("clinic").key(*key).send().await.unwrap();
    }
    odd.sort_unstable();
    assert_eq!(keys(&client, "clinic").await, odd);
    for key in &odd {
        assert_eq!(gateway.whereis("clinic", key)["location"], "us-east", "{key}");
        client.delete_object().bucket("clinic").key(*key).send().await.unwrap();
    }
    assert!(keys(&client, "clinic").await.is_empty());
    // An SDK takes this one for none.
    for method in ["PUT", "GET", "DELETE"] {
        let answer = Raw::new(&gateway, method, "/clinic/%20").sign().send().await;
        assert_eq!(answer.status / 100, 2, "{method}: {}", answer.text());
    }
    let too_long = "k".repeat(1025);
    failed(client.put_object().bucket("clinic").key(too_long).send().await).is(400, "KeyTooLongError");
}
