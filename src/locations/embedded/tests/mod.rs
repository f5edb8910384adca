//! The store through its service, as the gateway uses it. The lists have their own file beside `buckets`.

mod durability;
mod lock;
mod objects;
mod uploads;
mod versions;

use std::path::Path;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use tempfile::TempDir;
use tower::ServiceExt;

use super::EmbeddedStore;
use crate::body::Body;
use crate::locations::LocationError;

/// A store in a folder of its own, with one bucket `box`.
struct Fixture {
    folder: TempDir,
    store: EmbeddedStore,
}

#[derive(Debug)]
struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Fixture {
    async fn new() -> Fixture {
        let folder = TempDir::new().unwrap();
        let store = open(folder.path());
        let fixture = Fixture { folder, store };
        assert_eq!(fixture.send("PUT", "/box", &[], "").await.status, 200);
        fixture
    }

    /// The same folder, as after a restart.
    fn reopen(self) -> Fixture {
        let Fixture { folder, store } = self;
        drop(store);
        let store = open(folder.path());
        Fixture { folder, store }
    }

    async fn request(&self, request: Request<Body>) -> Result<http::Response<Body>, LocationError> {
        self.store.service().oneshot(request).await
    }

    async fn send(&self, method: &str, uri: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Reply {
        let response = self.request(request(method, uri, headers, Body::full(body))).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Reply { status: parts.status, headers: parts.headers, body }
    }

    async fn put(&self, key: &str, body: &'static str) -> Reply {
        let reply = self.send("PUT", &format!("/box/{key}"), &[], body).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        reply
    }

    /// Files below `staging` and `blobs`.
    fn files(&self) -> usize {
        count_files(&self.folder.path().join("staging")) + count_files(&self.folder.path().join("blobs"))
    }

    /// Waits until the remover is through and this many files are left.
    async fn settles_at(&self, files: usize) {
        for _ in 0..100 {
            self.store.inner.blobs.settled().await;
            if self.files() == files {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        assert_eq!(self.files(), files);
    }
}

impl Reply {
    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// The text of the first element of this name.
    fn element(&self, name: &str) -> Option<&str> {
        let (_, rest) = self.text().split_once(&format!("<{name}>"))?;
        Some(rest.split_once(&format!("</{name}>"))?.0)
    }

    #[track_caller]
    fn assert_error(&self, status: u16, code: &str) {
        assert_eq!((self.status.as_u16(), self.element("Code")), (status, Some(code)), "{self:?}");
    }
}

fn open(folder: &Path) -> EmbeddedStore {
    EmbeddedStore::open("de-test".parse().unwrap(), folder).unwrap()
}

fn request(method: &str, uri: &str, headers: &[(&str, &str)], body: Body) -> Request<Body> {
    let mut builder = Request::builder().method(method).uri(uri);
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    builder.body(body).unwrap()
}

fn count_files(folder: &Path) -> usize {
    std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() { count_files(&entry.path()) } else { 1 }
        })
        .sum()
}
