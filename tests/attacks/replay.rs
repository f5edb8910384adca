//! Replay: requests that were signed well, sent again when or where they should not count any more.

use std::time::{Duration, SystemTime};

use crate::door::{Door, KEPT};
use crate::support::raw::{Raw, ago};

fn ahead(seconds: u64) -> SystemTime {
    SystemTime::now() + Duration::from_secs(seconds)
}

#[tokio::test]
async fn a_signature_in_the_header_counts_for_fifteen_minutes_either_way() {
    let mut door = Door::new().await;
    for time in
        [ago(1000), ago(86_400), ago(10 * 365 * 86_400), ahead(1000), ahead(86_400), ahead(5 * 365 * 86_400)]
    {
        door.put("/clinic/other").at(time).sign().send().await.refused(403, "RequestTimeTooSkewed");
        door.raw("DELETE", "/clinic/note").at(time).sign().send().await.refused(403, "RequestTimeTooSkewed");
    }
    door.nothing_forwarded();
    for time in [ago(600), ahead(600)] {
        assert_eq!(door.raw("GET", "/clinic/note").at(time).sign().send().await.text(), KEPT);
    }
    door.unchanged().await;
}

#[tokio::test]
async fn the_window_is_the_operators_to_narrow() {
    let mut door = Door::with("clock-skew-seconds = 60").await;
    door.put("/clinic/other").at(ago(300)).sign().send().await.refused(403, "RequestTimeTooSkewed");
    door.put("/clinic/other").at(ahead(300)).sign().send().await.refused(403, "RequestTimeTooSkewed");
    door.put("/clinic/other").at(ahead(300)).presign(60).send().await.refused(403, "AccessDenied");
    door.unharmed().await;
}

#[tokio::test]
async fn a_presigned_url_counts_from_its_date_to_its_end() {
    let mut door = Door::new().await;
    let ended = [ago(120), ago(1000), ago(86_400 * 8)];
    for time in ended {
        let answer = door.put("/clinic/other").at(time).presign(60).send().await;
        answer.refused(403, "AccessDenied");
        assert!(answer.element("Message").contains("expired"), "{}", answer.text());
    }
    for time in [ahead(1000), ahead(86_400)] {
        let answer = door.put("/clinic/other").at(time).presign(604_800).send().await;
        answer.refused(403, "AccessDenied");
        assert!(answer.element("Message").contains("not yet valid"), "{}", answer.text());
    }
    door.unharmed().await;
}

/// A date outside of what is signed would let a signature live for ever.
#[tokio::test]
async fn the_date_that_counts_is_the_date_that_was_signed() {
    let mut door = Door::new().await;
    let now = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
    let fresh = |raw: Raw| {
        let mut raw = raw;
        for (_, value) in raw.headers.iter_mut().filter(|(name, _)| name == "x-amz-date") {
            value.clone_from(&now);
        }
        raw
    };
    // Old, with a new date put in.
    fresh(door.put("/clinic/other").at(ago(3600)).sign()).send().await.refused(403, "SignatureDoesNotMatch");
    // Of another day: the key of the scope is another day's.
    let answer = fresh(door.put("/clinic/other").at(ago(2 * 86_400)).sign()).send().await;
    answer.refused(400, "AuthorizationHeaderMalformed");
    // `Date` beside a signed `x-amz-date` counts for nothing.
    let old = door.put("/clinic/other").at(ago(3600)).sign();
    let date = jiff::Timestamp::now().strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    old.header("date", &date).send().await.refused(403, "RequestTimeTooSkewed");
    for date in [
        "",
        "now",
        "20261301T000000Z",
        "20260101",
        "2026-01-01T00:00:00Z",
        "99991231T235959Z",
        "00000000T000000Z",
    ] {
        let mut raw = door.put("/clinic/other").sign();
        for (_, value) in raw.headers.iter_mut().filter(|(name, _)| name == "x-amz-date") {
            *value = date.to_owned();
        }
        let answer = raw.send().await;
        assert!(matches!(answer.status, 400 | 403), "{date}: {}", answer.text());
    }
    door.unharmed().await;
}

#[tokio::test]
async fn a_request_does_not_count_at_another_bucket_region_or_service() {
    let mut door = Door::new().await;
    let signed = door.neighbour("PUT", "/open-data/other").body("smuggled").sign();
    let other = Raw { target: "/clinic/other".to_owned(), ..signed.clone() };
    other.send().await.refused(403, "SignatureDoesNotMatch");
    for (from, to) in [("/us-east-1/", "/cn-north-1/"), ("/us-east-1/", "/eu-central-1/")] {
        let mut raw = signed.clone();
        let authorization = &mut raw.headers.last_mut().unwrap().1;
        *authorization = authorization.replace(from, to);
        raw.send().await.refused(403, "SignatureDoesNotMatch");
    }
    for (from, to) in
        [("/s3/", "/sts/"), ("/s3/", "/S3/"), ("aws4_request", "aws4_request2"), ("/us-east-1/", "//")]
    {
        let mut raw = signed.clone();
        let authorization = &mut raw.headers.last_mut().unwrap().1;
        *authorization = authorization.replace(from, to);
        raw.send().await.refused(400, "AuthorizationHeaderMalformed");
    }
    door.unharmed().await;
}
