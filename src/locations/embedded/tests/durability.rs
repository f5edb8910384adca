use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::{EmbeddedStore, Fixture, open};
use crate::locations::embedded::EmbeddedError;
use crate::locations::embedded::error::Failure;
use crate::locations::embedded::index::Change;
use crate::locations::embedded::lock::BucketLock;
use crate::locations::embedded::rows;

#[tokio::test]
async fn a_restart_keeps_everything() {
    let store = Fixture::new().await;
    let headers = [("x-amz-meta-a", "1"), ("x-amz-tagging", "t=%40"), ("x-amz-checksum-crc32", "y/Q5Jg==")];
    assert_eq!(store.send("PUT", "/box/k", &headers, "123456789").await.status, 200);
    let id = {
        let reply = store.send("POST", "/box/m?uploads", &[], "").await;
        reply.element("UploadId").unwrap().to_owned()
    };
    store.send("PUT", &format!("/box/m?partNumber=1&uploadId={id}"), &[], "part").await;
    let before = store.send("GET", "/box/k", &[("x-amz-checksum-mode", "ENABLED")], "").await;
    let store = store.reopen();
    assert_eq!(store.store.damage().missing_blobs, 0);
    assert_eq!(before.text(), "123456789");
    let mut after = store.send("GET", "/box/k", &[("x-amz-checksum-mode", "ENABLED")], "").await;
    assert_eq!(after.body, before.body);
    let request_id = before.headers["x-amz-request-id"].clone();
    after.headers.insert("x-amz-request-id", request_id);
    assert_eq!(after.headers, before.headers);
    let parts = store.send("GET", &format!("/box/m?uploadId={id}"), &[], "").await;
    assert_eq!(parts.element("PartNumber"), Some("1"));
}

#[tokio::test]
async fn what_a_crash_leaves_behind_is_swept() {
    let store = Fixture::new().await;
    store.put("k", "kept").await;
    let root = store.folder.path().to_owned();
    fs::write(root.join("staging").join("00ff"), "torn").unwrap();
    // Renamed, but the crash came before the commit.
    fs::write(root.join("blobs/ab").join("ab".repeat(16)), "orphan").unwrap();
    fs::write(root.join("blobs/cd").join("not a blob"), "stray").unwrap();
    assert_eq!(store.files(), 4);
    let store = store.reopen();
    assert_eq!(store.files(), 1);
    assert_eq!(store.send("GET", "/box/k", &[], "").await.text(), "kept");
}

#[tokio::test]
async fn missing_bytes_are_reported_and_harm_no_other_object() {
    let store = Fixture::new().await;
    store.put("lost", "lost").await;
    let root = store.folder.path().to_owned();
    for shard in fs::read_dir(root.join("blobs")).unwrap() {
        for blob in fs::read_dir(shard.unwrap().path()).unwrap() {
            fs::remove_file(blob.unwrap().path()).unwrap();
        }
    }
    store.put("there", "there").await;
    let store = store.reopen();
    assert_eq!(store.store.damage().missing_blobs, 1);
    store.send("GET", "/box/lost", &[], "").await.assert_error(500, "InternalError");
    assert_eq!(store.send("GET", "/box/there", &[], "").await.text(), "there");
    // Writing it anew mends it.
    store.put("lost", "found").await;
    assert_eq!(store.send("GET", "/box/lost", &[], "").await.text(), "found");
}

#[tokio::test]
async fn a_cut_file_is_an_error_and_not_a_short_object() {
    let store = Fixture::new().await;
    store.put("k", "0123456789").await;
    for shard in fs::read_dir(store.folder.path().join("blobs")).unwrap() {
        for blob in fs::read_dir(shard.unwrap().path()).unwrap() {
            fs::write(blob.unwrap().path(), "0123").unwrap();
        }
    }
    store.send("GET", "/box/k", &[], "").await.assert_error(500, "InternalError");
}

#[test]
fn a_folder_belongs_to_one_store_at_a_time() {
    let folder = tempfile::TempDir::new().unwrap();
    let store = open(folder.path());
    let mode = fs::metadata(folder.path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    let second = EmbeddedStore::open("de-test".parse().unwrap(), folder.path());
    assert!(matches!(second, Err(EmbeddedError::InUse)));
    // A service keeps the folder too.
    let service = store.service();
    drop(store);
    let second = EmbeddedStore::open("de-test".parse().unwrap(), folder.path());
    assert!(matches!(second, Err(EmbeddedError::InUse)));
    drop(service);
    open(folder.path());
}

#[test]
fn a_folder_of_another_format_is_left_alone() {
    let folder = tempfile::TempDir::new().unwrap();
    drop(open(folder.path()));
    for format in ["domicile-embedded-store 4", "", "something else"] {
        fs::write(folder.path().join("format"), format).unwrap();
        fs::write(folder.path().join("staging/file"), "theirs").unwrap();
        let opened = EmbeddedStore::open("de-test".parse().unwrap(), folder.path());
        assert!(matches!(opened, Err(EmbeddedError::Format { found, .. }) if found == format));
        assert!(folder.path().join("staging/file").exists());
    }
}

#[tokio::test]
async fn a_folder_that_takes_no_writes_refuses_them_and_says_so() {
    let store = Fixture::new().await;
    store.put("k", "old").await;
    store.store.ready().unwrap();
    let staging = store.folder.path().join("staging");
    fs::remove_dir(&staging).unwrap();
    assert!(matches!(store.store.ready(), Err(EmbeddedError::Io { .. })));
    store.send("PUT", "/box/k", &[], "new").await.assert_error(503, "ServiceUnavailable");
    assert_eq!(store.send("GET", "/box/k", &[], "").await.text(), "old");
    fs::create_dir(&staging).unwrap();
    store.store.ready().unwrap();
    store.put("k", "new").await;
    store.settles_at(1).await;
}

#[tokio::test]
async fn a_failing_write_is_undone_alone() {
    let store = Fixture::new().await;
    let index = &store.store.inner.index;
    let write = |name: &'static str, outcome: Result<(), Failure>| {
        index.write(Vec::new(), move |connection| {
            rows::create_bucket(connection, &name.parse().unwrap(), 0, BucketLock::Without)?;
            outcome.map(Change::new)
        })
    };
    let broken = || Err(Failure::Store(EmbeddedError::Damaged));
    // Queued together, so that they share a transaction.
    let (one, two, three) =
        tokio::join!(write("one", Ok(())), write("two", broken()), write("three", Ok(())));
    assert!(one.is_ok() && two.is_err() && three.is_ok());
    let store = store.reopen();
    for (name, status) in [("one", 200), ("two", 404), ("three", 200)] {
        assert_eq!(store.send("HEAD", &format!("/{name}"), &[], "").await.status, status, "{name}");
    }
}

#[tokio::test]
async fn a_full_index_refuses_and_keeps_what_it_acknowledged() {
    let store = Fixture::new().await;
    let index = &store.store.inner.index;
    let limit = |pages: u32| {
        index.write(Vec::new(), move |connection| {
            connection.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))?;
            Ok(Change::new(()))
        })
    };
    // No fewer pages than there are: from here on it is full.
    limit(1).await.unwrap();
    let large = "v".repeat(2000);
    let headers = [("x-amz-meta-a", large.as_str())];
    let mut acknowledged = Vec::new();
    for n in 0..40 {
        let (one, two) = (format!("/box/{n}"), format!("/box/{n}b"));
        let replies =
            tokio::join!(store.send("PUT", &one, &headers, "x"), store.send("PUT", &two, &headers, "x"));
        for (reply, uri) in [(replies.0, one), (replies.1, two)] {
            match reply.status.as_u16() {
                200 => acknowledged.push(uri),
                _ => reply.assert_error(503, "ServiceUnavailable"),
            }
        }
    }
    assert!(acknowledged.len() < 80, "the index was never full");
    store.settles_at(acknowledged.len()).await;
    limit(1 << 30).await.unwrap();
    store.put("after", "x").await;
    store.store.ready().unwrap();
    let store = store.reopen();
    assert_eq!(store.files(), acknowledged.len() + 1);
    for uri in acknowledged {
        assert_eq!(store.send("GET", &uri, &[], "").await.text(), "x");
    }
}

/// Content says who wrote it and how long it is: one byte value throughout, and the length is its square.
fn self_describing(writer: u8) -> Vec<u8> {
    vec![writer; usize::from(writer) * usize::from(writer) * 100]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn overwrites_never_tear_a_read() {
    let store = std::sync::Arc::new(Fixture::new().await);
    store.send("PUT", "/box/k", &[], self_describing(1)).await;
    let mut tasks = tokio::task::JoinSet::new();
    for writer in 40..46_u8 {
        let store = std::sync::Arc::clone(&store);
        tasks.spawn(async move {
            for round in 0..6 {
                if round == 3 {
                    let reply = store.send("DELETE", "/box/k", &[], "").await;
                    assert_eq!(reply.status, 204);
                }
                let reply = store.send("PUT", "/box/k", &[], self_describing(writer)).await;
                assert_eq!(reply.status, 200);
            }
            HashSet::new()
        });
    }
    for _ in 0..6 {
        let store = std::sync::Arc::clone(&store);
        tasks.spawn(async move {
            let mut seen = HashSet::new();
            for _ in 0..30 {
                let reply = store.send("GET", "/box/k", &[], "").await;
                if reply.status == 404 {
                    continue;
                }
                assert_eq!(reply.status, 200, "{reply:?}");
                let writer = reply.body[0];
                assert!(reply.body == self_describing(writer), "a torn read");
                seen.insert(writer);
            }
            seen
        });
    }
    let mut seen = HashSet::new();
    while let Some(done) = tasks.join_next().await {
        seen.extend(done.unwrap());
    }
    assert!(!seen.is_empty());
    store.settles_at(1).await;
}
