//! Presigned URLs: whoever holds one may do that one thing, once or many times, until it ends, and nothing else.

use crate::door::{Door, KEPT};
use crate::support::raw::{Raw, ago, encode};

#[tokio::test]
async fn a_presigned_url_takes_no_header_of_s3_that_it_did_not_sign() {
    let mut door = Door::new().await;
    for (name, value) in [
        ("x-amz-copy-source", "/clinic/note"),
        ("X-Amz-Copy-Source", "/clinic/note"),
        ("x-amz-tagging", "data-class=non_personal"),
        ("x-amz-acl", "public-read"),
        ("x-amz-meta-a", "b"),
        ("x-amz-date", "20260101T000000Z"),
        ("x-amz-grant-read", "id=1"),
        ("x-amz-storage-class", "GLACIER"),
        ("x-amz-decoded-content-length", "3"),
        ("x-amz-anything", "1"),
    ] {
        let answer = door.put("/clinic/other").presign(60).header(name, value).send().await;
        // `content-length` is signed too: a presigned URL is for one body of that length.
        answer.refused(403, "AccessDenied");
    }
    // The payload's hash is part of what is signed.
    let answer =
        door.put("/clinic/other").presign(60).header("x-amz-content-sha256", &"0".repeat(64)).send().await;
    answer.refused(403, "SignatureDoesNotMatch");
    door.unharmed().await;
}

#[tokio::test]
async fn a_presigned_url_takes_no_parameter_that_it_did_not_sign() {
    let mut door = Door::new().await;
    for more in [
        "&x-amz-copy-source=%2Fclinic%2Fnote",
        "&X-Amz-Copy-Source=%2Fclinic%2Fnote",
        "&x-amz-tagging=data-class%3Dnon_personal",
        "&x-amz-acl=public-read",
        "&tagging",
        "&acl",
        "&versionId=1",
        "&uploadId=1&partNumber=1",
        "&response-content-type=text%2Fhtml",
        "&a",
        "&X-Amz-Meta-A=b",
    ] {
        let mut put = door.put("/clinic/other").presign(60);
        put.target.push_str(more);
        put.send().await.refused(403, "SignatureDoesNotMatch");
    }
    // What signs may come once, or it would count as its first value here and as its last one there.
    let put = door.put("/clinic/other").presign(60);
    let query = put.target.split_once('?').unwrap().1.to_owned();
    for parameter in query.split('&') {
        let twice = Raw { target: format!("{}&{parameter}", put.target), ..put.clone() };
        twice.send().await.refused(400, "AuthorizationQueryParametersError");
        let name = parameter.split_once('=').unwrap().0;
        let shadowed = Raw { target: format!("/clinic/other?{name}=x&{query}"), ..put.clone() };
        shadowed.send().await.refused(400, "AuthorizationQueryParametersError");
        let escaped = Raw { target: format!("{}&%58{}=x", put.target, &name[1..]), ..put.clone() };
        escaped.send().await.refused(400, "AuthorizationQueryParametersError");
    }
    door.unharmed().await;
}

/// The holder of an app's key can sign what he likes. What would slip past the policies is refused all the same.
#[tokio::test]
async fn headers_in_the_query_do_not_pass_the_policies_even_when_they_are_signed() {
    let mut door = Door::new().await;
    for (parameter, status, code) in [
        ("x-amz-copy-source=%2Fclinic%2Fnote", 400, "InvalidArgument"),
        ("X-Amz-Copy-Source=%2Fclinic%2Fnote", 400, "InvalidArgument"),
        ("%78-amz-copy-source=%2Fclinic%2Fnote", 400, "InvalidArgument"),
        ("x-amz-copy-source-range=bytes%3D0-1", 400, "InvalidArgument"),
        ("X-Amz-Tagging=data-class%3Dnon_personal", 400, "InvalidArgument"),
        ("x-amz-tagging-directive=REPLACE", 400, "InvalidArgument"),
        ("x-amz-write-offset-bytes=0", 400, "InvalidArgument"),
        ("X-Amz-Acl=public-read", 501, "NotImplemented"),
        ("x-amz-grant-read=id%3D1", 501, "NotImplemented"),
    ] {
        let target = format!("/clinic/other?{parameter}");
        // Signers encode each name and value: an escaped letter is signed as that letter.
        let signed_as = Raw { target: target.replace("%78", "x"), ..door.put("/clinic/other") }.presign(60);
        let sent = Raw {
            target: signed_as.target.replace(
                "x-amz-copy-source",
                if parameter.starts_with('%') { "%78-amz-copy-source" } else { "x-amz-copy-source" },
            ),
            ..signed_as
        };
        sent.send().await.refused(status, code);
    }
    door.unharmed().await;
}

#[tokio::test]
async fn the_life_of_a_presigned_url_is_one_to_604800_seconds() {
    let mut door = Door::new().await;
    for seconds in [
        "0",
        "-1",
        "-604800",
        "604801",
        "99999999999999999999",
        "9223372036854775808",
        "1e3",
        "%2B60",
        "60%20",
        "%2060",
        "60.5",
        "0x60",
        "",
        "%00",
    ] {
        let answer = door.put("/clinic/other").presign_for(seconds).send().await;
        answer.refused(400, "AuthorizationQueryParametersError");
    }
    let mut without = door.put("/clinic/other").presign(60);
    without.target = without.target.replace("&X-Amz-Expires=60", "");
    without.send().await.refused(400, "AuthorizationQueryParametersError");
    door.nothing_forwarded();
    let longest = door.raw("GET", "/clinic/note").at(ago(3000)).presign(604_800).send().await;
    assert_eq!(longest.text(), KEPT);
    door.unchanged().await;
}

#[tokio::test]
async fn a_presigned_url_is_for_one_method_one_object_and_one_host() {
    let mut door = Door::new().await;
    let get = door.raw("GET", "/clinic/note").presign(600);
    for method in ["PUT", "DELETE", "POST"] {
        let other = Raw { method: method.to_owned(), ..get.clone() };
        other.send().await.refused(403, "SignatureDoesNotMatch");
    }
    let head = Raw { method: "HEAD".to_owned(), ..get.clone() }.send().await;
    assert_eq!(head.status, 403);
    for (from, to) in
        [("/clinic/", "/open-data/"), ("/note", "/other"), ("/note", "/note/"), ("/clinic/", "//clinic/")]
    {
        let other = Raw { target: get.target.replacen(from, to, 1), ..get.clone() };
        assert!(matches!(other.send().await.status, 400 | 403), "{to}");
    }
    let mut elsewhere = get.clone();
    elsewhere.headers[0].1 = elsewhere.headers[0].1.replace("127.0.0.1", "localhost");
    elsewhere.send().await.refused(403, "SignatureDoesNotMatch");
    // Another app's key id, with this signature.
    let other = Raw {
        target: get.target.replace(&encode(&door.gateway.access_key_id), "AKIDNEIGHBOUR"),
        ..get.clone()
    };
    other.send().await.refused(403, "SignatureDoesNotMatch");
    door.unharmed().await;
}

#[tokio::test]
async fn a_signature_moved_between_header_and_query_is_worth_nothing() {
    let mut door = Door::new().await;
    let signed = door.put("/clinic/other").sign();
    let value = |raw: &Raw, name: &str| {
        raw.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone()).unwrap()
    };
    let authorization = value(&signed, "authorization");
    let part = |name: &str| {
        let rest = authorization.split_once(&format!("{name}=")).unwrap().1;
        encode(rest.split(',').next().unwrap())
    };
    let moved = format!(
        "/clinic/other?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={}&X-Amz-Date={}&X-Amz-Expires=600\
         &X-Amz-SignedHeaders={}&X-Amz-Signature={}",
        part("Credential"),
        value(&signed, "x-amz-date"),
        part("SignedHeaders"),
        part("Signature"),
    );
    let mut raw = Raw { target: moved, ..signed.clone() };
    raw.headers.retain(|(name, _)| name != "authorization");
    raw.send().await.refused(403, "SignatureDoesNotMatch");

    let presigned = door.put("/clinic/other").presign(600);
    let query = presigned.target.split_once('?').unwrap().1;
    let part = |name: &str| {
        query
            .split_once(&format!("{name}="))
            .unwrap()
            .1
            .split('&')
            .next()
            .unwrap()
            .replace("%2F", "/")
            .replace("%3B", ";")
    };
    let authorization = format!(
        "AWS4-HMAC-SHA256 Credential={}, SignedHeaders={}, Signature={}",
        part("X-Amz-Credential"),
        part("X-Amz-SignedHeaders"),
        part("X-Amz-Signature")
    );
    let raw = door.put("/clinic/other").header("authorization", &authorization);
    let date = jiff::Timestamp::try_from(raw.signing.time).unwrap();
    let raw = raw.header("date", &date.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string());
    let answer = raw.header("x-amz-content-sha256", "UNSIGNED-PAYLOAD").send().await;
    answer.refused(403, "SignatureDoesNotMatch");
    door.unharmed().await;
}
