//! Versions and delete markers, also over restarts and from a folder of the format before them.

use super::*;

const ENABLED: &str = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
const SUSPENDED: &str = "<VersioningConfiguration><Status>Suspended</Status></VersioningConfiguration>";

impl Fixture {
    async fn versioned() -> Fixture {
        let store = Fixture::new().await;
        store.keep_versions(ENABLED).await;
        store
    }

    async fn keep_versions(&self, document: &'static str) {
        assert_eq!(self.send("PUT", "/box?versioning", &[], document).await.status, 200);
    }

    async fn get(&self, uri: &str) -> Reply {
        self.send("GET", uri, &[], "").await
    }

    async fn delete(&self, uri: &str) -> Reply {
        let reply = self.send("DELETE", uri, &[], "").await;
        assert_eq!(reply.status, 204, "{reply:?}");
        reply
    }

    /// `key id` of what the list has, a `*` behind the latest and a `-` before a delete marker.
    async fn versions(&self, query: &str) -> Vec<String> {
        let reply = self.get(&format!("/box?versions{query}")).await;
        let page = crate::s3::xml::parse_versions(&reply.body).ok().unwrap();
        let line = |entry: crate::s3::xml::VersionEntry| {
            let marker = if entry.element == crate::s3::xml::VersionElement::DeleteMarker { "-" } else { "" };
            let latest = if entry.is_latest { "*" } else { "" };
            format!("{marker}{} {}{latest}", entry.key, entry.id)
        };
        page.entries.into_iter().map(line).chain(page.common_prefixes).collect()
    }
}

fn id(reply: &Reply) -> String {
    reply.header("x-amz-version-id").unwrap().to_owned()
}

#[tokio::test]
async fn every_write_makes_a_version_that_can_be_read_and_removed() {
    let store = Fixture::versioned().await;
    assert_eq!(store.get("/box?versioning").await.element("Status"), Some("Enabled"));
    let (one, two) = (id(&store.put("k", "one").await), id(&store.put("k", "two").await));
    let store = store.reopen();
    let current = store.get("/box/k").await;
    assert_eq!((current.text(), id(&current)), ("two", two.clone()));
    let older = store.get(&format!("/box/k?versionId={one}")).await;
    assert_eq!((older.text(), id(&older)), ("one", one.clone()));
    assert_eq!(store.versions("").await, [format!("k {two}*"), format!("k {one}")]);
    let removed = store.delete(&format!("/box/k?versionId={two}")).await;
    assert_eq!((id(&removed), removed.header("x-amz-delete-marker")), (two.clone(), None));
    assert_eq!(store.get("/box/k").await.text(), "one");
    store.get(&format!("/box/k?versionId={two}")).await.assert_error(404, "NoSuchVersion");
    store.delete(&format!("/box/k?versionId={two}")).await;
    store.delete(&format!("/box/k?versionId={one}")).await;
    store.get("/box/k").await.assert_error(404, "NoSuchKey");
    store.settles_at(0).await;
    assert_eq!(store.send("DELETE", "/box", &[], "").await.status, 204);
}

#[tokio::test]
async fn a_delete_marker_hides_an_object_until_it_is_removed() {
    let store = Fixture::versioned().await;
    let one = id(&store.put("k", "one").await);
    let deleted = store.delete("/box/k").await;
    assert_eq!(deleted.header("x-amz-delete-marker"), Some("true"));
    let marker = id(&deleted);
    let missing = store.get("/box/k").await;
    missing.assert_error(404, "NoSuchKey");
    assert_eq!((missing.header("x-amz-delete-marker"), id(&missing)), (Some("true"), marker.clone()));
    let not_readable = store.get(&format!("/box/k?versionId={marker}")).await;
    not_readable.assert_error(405, "MethodNotAllowed");
    assert_eq!(not_readable.header("allow"), Some("DELETE"));
    assert_eq!(store.get(&format!("/box/k?versionId={one}")).await.text(), "one");
    assert!(!store.get("/box?list-type=2").await.text().contains("<Key>"));
    assert_eq!(store.versions("").await, [format!("-k {marker}*"), format!("k {one}")]);
    store.send("DELETE", "/box", &[], "").await.assert_error(409, "BucketNotEmpty");
    let removed = store.delete(&format!("/box/k?versionId={marker}")).await;
    assert_eq!(removed.header("x-amz-delete-marker"), Some("true"));
    assert_eq!(store.get("/box/k").await.text(), "one");
}

#[tokio::test]
async fn what_was_written_before_and_after_versions_were_kept_is_the_version_null() {
    let store = Fixture::new().await;
    let plain = store.put("k", "before").await;
    assert_eq!(plain.header("x-amz-version-id"), None);
    assert_eq!(store.get("/box?versioning").await.element("Status"), None);
    assert_eq!(store.get("/box/k?versionId=null").await.text(), "before");
    assert_eq!(store.versions("").await, ["k null*"]);
    store.keep_versions(ENABLED).await;
    let one = id(&store.put("k", "one").await);
    assert_eq!(store.get("/box/k?versionId=null").await.text(), "before");
    store.keep_versions(SUSPENDED).await;
    assert_eq!(id(&store.put("k", "after").await), "null");
    assert_eq!(store.versions("").await, ["k null*".to_owned(), format!("k {one}")]);
    assert_eq!(store.get("/box/k?versionId=null").await.text(), "after");
    assert_eq!(id(&store.put("k", "again").await), "null");
    store.settles_at(2).await;
    let deleted = store.delete("/box/k").await;
    assert_eq!((id(&deleted).as_str(), deleted.header("x-amz-delete-marker")), ("null", Some("true")));
    assert_eq!(store.versions("").await, ["-k null*".to_owned(), format!("k {one}")]);
    store.settles_at(1).await;
    store.delete("/box/k?versionId=null").await;
    assert_eq!(store.get("/box/k").await.text(), "one");
}

#[tokio::test]
async fn lists_of_versions_page_by_key_and_version() {
    let store = Fixture::versioned().await;
    let mut expected = Vec::new();
    for key in ["a", "b/x", "b/y", "c"] {
        let ids =
            [id(&store.put(key, "1").await), id(&store.put(key, "2").await), id(&store.put(key, "3").await)];
        expected.extend(
            ids.iter()
                .rev()
                .enumerate()
                .map(|(index, id)| format!("{key} {id}{}", if index == 0 { "*" } else { "" })),
        );
    }
    assert_eq!(store.versions("").await, expected);
    for size in [1, 2, 5, 12] {
        let (mut found, mut from) = (Vec::new(), String::new());
        loop {
            let query = format!("&max-keys={size}{from}");
            found.extend(store.versions(&query).await);
            let reply = store.get(&format!("/box?versions{query}")).await;
            let (Some(key), Some(id)) =
                (reply.element("NextKeyMarker"), reply.element("NextVersionIdMarker"))
            else {
                break;
            };
            from = format!("&key-marker={key}&version-id-marker={id}");
        }
        assert_eq!(found, expected, "pages of {size}");
    }
    let rolled = store.versions("&delimiter=/&key-marker=a").await;
    assert_eq!(rolled, [&expected[9..], &["b/".to_owned()]].concat());
    assert_eq!(store.versions("&prefix=b/&key-marker=b/x").await, expected[6..9]);
    assert!(store.versions("&max-keys=0").await.is_empty());
}

#[tokio::test]
async fn tags_copies_and_uploads_are_of_one_version() {
    let store = Fixture::versioned().await;
    let one = id(&store.put("k", "one").await);
    store.put("k", "two").await;
    let tags = "<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>";
    let tagged = store.send("PUT", &format!("/box/k?tagging&versionId={one}"), &[], tags).await;
    assert_eq!(id(&tagged), one);
    assert!(!store.get("/box/k?tagging").await.text().contains("<Key>"));
    assert!(store.get(&format!("/box/k?tagging&versionId={one}")).await.text().contains("<Key>a</Key>"));
    // A copy of an older version over the object brings it back.
    let source = format!("box/k?versionId={one}");
    let copied = store.send("PUT", "/box/k", &[("x-amz-copy-source", &source)], "").await;
    assert_eq!(copied.status, 200, "{copied:?}");
    assert_eq!(copied.header("x-amz-copy-source-version-id"), Some(one.as_str()));
    assert_eq!(store.get("/box/k").await.text(), "one");
    assert_eq!(store.versions("").await.len(), 3);
    let upload = store.send("POST", "/box/k?uploads", &[], "").await.element("UploadId").unwrap().to_owned();
    let part = store.send("PUT", &format!("/box/k?partNumber=1&uploadId={upload}"), &[], "part").await;
    let etag = part.header("etag").unwrap();
    let complete = format!(
        "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{etag}</ETag></Part></CompleteMultipartUpload>"
    );
    let done = store.send("POST", &format!("/box/k?uploadId={upload}"), &[], complete).await;
    assert_eq!(store.get(&format!("/box/k?versionId={}", id(&done))).await.text(), "part");
    store.get("/box/k?versionId=0").await.assert_error(400, "InvalidArgument");
}

#[tokio::test]
async fn a_folder_of_the_first_format_is_upgraded_with_what_is_in_it() {
    let store = Fixture::new().await;
    store.put("k", "old").await;
    let Fixture { folder, store } = store;
    drop(store);
    let index = rusqlite::Connection::open(folder.path().join("index.db")).unwrap();
    let back = "ALTER TABLE objects DROP COLUMN is_null; ALTER TABLE buckets DROP COLUMN versioning; DROP TABLE history;
        ALTER TABLE buckets DROP COLUMN object_lock; ALTER TABLE versions DROP COLUMN object_lock;
        ALTER TABLE uploads DROP COLUMN object_lock;";
    index.execute_batch(back).unwrap();
    drop(index);
    std::fs::write(folder.path().join("format"), "domicile-embedded-store 1\n").unwrap();
    let store = Fixture { store: open(folder.path()), folder };
    assert_eq!(store.get("/box/k").await.text(), "old");
    store.keep_versions(ENABLED).await;
    store.put("k", "new").await;
    let store = store.reopen();
    assert_eq!(store.get("/box/k?versionId=null").await.text(), "old");
    assert_eq!(store.versions("").await.len(), 2);
    let format = std::fs::read_to_string(store.folder.path().join("format")).unwrap();
    assert_eq!(format.trim(), "domicile-embedded-store 3");
}
