//! Multipart uploads: parts lie only where they may, and an upload's labels are all of its parts'.

use http::{Method, StatusCode};
use tower::ServiceExt;

use crate::gateway::testing::{TestGateway, between};

/// A resident id with a right check digit, beside words that say what it is.
const RESIDENT_ID: &str = "resident id number: 11010519491231002X\n";

async fn begin(t: &TestGateway) -> String {
    // Without a constraint: nobody says whom its objects are about.
    assert_eq!(t.send(Method::PUT, "/plain", &[], "").await.status, StatusCode::OK);
    let answer = t.send(Method::POST, "/plain/k?uploads", &[], "").await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    between(&answer.text(), "<UploadId>", "</UploadId>")
}

/// An upload that has its one part: where it is completed, and with which document.
async fn with_one_part(t: &TestGateway) -> (String, String) {
    let id = begin(t).await;
    let part = t.send(Method::PUT, &format!("/plain/k?partNumber=1&uploadId={id}"), &[], "harmless").await;
    let document = format!(
        "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{}</ETag></Part></CompleteMultipartUpload>",
        part.header("etag")
    );
    (format!("/plain/k?uploadId={id}"), document)
}

#[tokio::test]
async fn parts_of_an_upload_that_turned_out_misplaced_are_thrown_away() {
    let t = TestGateway::start().await;
    let id = begin(&t).await;
    let part = |number: u32| format!("/plain/k?partNumber={number}&uploadId={id}");
    assert_eq!(t.send(Method::PUT, &part(1), &[], "harmless").await.status, StatusCode::OK);
    let answer = t.send(Method::PUT, &part(2), &[], RESIDENT_ID).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN, "{}", answer.text());
    let parts = t.send(Method::GET, &format!("/plain/k?uploadId={id}"), &[], "").await;
    assert_eq!(parts.status, StatusCode::NOT_FOUND, "{}", parts.text());
    // A new upload of the same key goes to the right place.
    let again = t.send(Method::POST, "/plain/k?uploads", &[], "").await;
    assert_eq!(again.header("x-domicile-location"), "cn-north");
    t.stop().await;
}

#[tokio::test]
async fn a_completed_upload_tells_the_names_that_its_client_knows() {
    let t = TestGateway::start().await;
    let (upload, document) = with_one_part(&t).await;
    t.script("us-east", |request, store| async move {
        let completes = request.method() == Method::POST;
        let response = store.oneshot(request).await?;
        if !completes {
            return Ok(response);
        }
        let (mut parts, body) = response.into_parts();
        let text = String::from_utf8(body.collect_limited(1 << 16).await.unwrap().to_vec()).unwrap();
        parts.headers.remove("content-length");
        let physical = text.replace("<Bucket>plain<", "<Bucket>acme-physical<");
        Ok(http::Response::from_parts(parts, crate::body::Body::full(physical)))
    });
    let answer = t.send(Method::POST, &upload, &[], document).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    assert!(answer.text().contains("<Bucket>plain</Bucket>"), "{}", answer.text());
    assert!(!answer.text().contains("acme-physical"), "{}", answer.text());
    assert_eq!(t.send(Method::GET, "/plain/k", &[], "").await.text(), "harmless");
    t.stop().await;
}

/// Ceph answers with an empty ETag, and tells it when it is asked afterwards.
#[tokio::test]
async fn a_location_that_completes_without_an_etag_is_asked_for_it() {
    let t = TestGateway::start().await;
    let (upload, document) = with_one_part(&t).await;
    t.script("us-east", |request, store| async move {
        let completes = request.method() == Method::POST;
        let response = store.oneshot(request).await?;
        if !completes {
            return Ok(response);
        }
        let answer = "<CompleteMultipartUploadResult><ETag></ETag></CompleteMultipartUploadResult>";
        Ok(http::Response::new(crate::body::Body::full(answer)))
    });
    let done = t.send(Method::POST, &upload, &[], document).await;
    assert_eq!(done.status, StatusCode::OK, "{}", done.text());
    let read = t.send(Method::GET, "/plain/k", &[], "").await;
    assert_eq!(read.text(), "harmless");
    assert_eq!(between(&done.text(), "<ETag>", "</ETag>").replace("&quot;", "\""), read.header("etag"));
    t.stop().await;
}
