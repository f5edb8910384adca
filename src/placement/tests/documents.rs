//! What concerns one object is forwarded, not re-modelled: no document is read for it.

use http::{Method, StatusCode};

use crate::gateway::testing::{PUBLIC, TestGateway};
use crate::s3::xml::documents_read;

/// All of a test's gateway runs on the test's own thread, on which documents are counted.
#[tokio::test]
async fn no_document_is_read_for_an_operation_on_one_object() {
    let t = TestGateway::start().await;
    let before = documents_read();
    assert!(before > 0, "the bucket was created with a document");
    assert_eq!(t.put("k", &[PUBLIC], "text").await.status, StatusCode::OK);
    assert_eq!(t.get("k").await.status, StatusCode::OK);
    for (method, target) in [
        (Method::HEAD, "/bucket/k"),
        (Method::GET, "/bucket/k?tagging"),
        (Method::GET, "/bucket/k?attributes"),
        (Method::GET, "/bucket/missing"),
        (Method::PUT, "/bucket/k"),
        (Method::DELETE, "/bucket/k"),
    ] {
        t.send(method.clone(), target, &[("x-amz-object-attributes", "ETag"), PUBLIC], "").await;
        assert_eq!(documents_read(), before, "{method} {target}");
    }
    t.send(Method::GET, "/bucket?list-type=2", &[], "").await;
    assert!(documents_read() > before, "a list is merged from documents");
    t.stop().await;
}
