//! Tokens that the gateway gave out, forged, cut, or taken to where they do not belong.

use crate::door::{Door, SMUGGLED};
use crate::support::raw::encode;

/// All the ways to spoil a token that are tried.
fn spoiled(token: &str) -> Vec<String> {
    let mut all = vec![
        String::new(),
        "0".to_owned(),
        "../../clinic".to_owned(),
        "\u{0}".to_owned(),
        "é".to_owned(),
        format!("{token}A"),
        format!("{token}="),
        format!(" {token}"),
        token.to_lowercase(),
        token.chars().rev().collect(),
        token.repeat(2),
        "A".repeat(token.len()),
        "A".repeat(20_000),
    ];
    all.extend([1, 2, token.len() / 2, token.len() - 1].map(|length| token[..length].to_owned()));
    for at in (0..token.len()).step_by(token.len() / 16 + 1) {
        let mut forged = token.as_bytes().to_vec();
        forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
        all.push(String::from_utf8(forged).unwrap());
    }
    all.retain(|forged| forged != token);
    all
}

#[tokio::test]
async fn an_upload_id_opens_for_its_own_bucket_and_key_and_as_it_was_given() {
    let mut door = Door::new().await;
    let client = door.gateway.client();
    let id = client.create_multipart_upload().bucket("clinic").key("upload").send().await.unwrap();
    let id = id.upload_id().unwrap().to_owned();
    let complete = "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>\"e\"</ETag></Part></CompleteMultipartUpload>";
    door.unchanged().await;

    let mut ids: Vec<(String, String)> =
        spoiled(&id).into_iter().map(|forged| ("/clinic/upload".to_owned(), forged)).collect();
    for elsewhere in
        ["/clinic/note", "/clinic/upload/", "/clinic/uploa", "/open-data/upload", "/open-data/note"]
    {
        ids.push((elsewhere.to_owned(), id.clone()));
    }
    for (path, id) in ids {
        let id = encode(&id);
        let source = "/open-data/note";
        for raw in [
            door.raw("PUT", &format!("{path}?partNumber=1&uploadId={id}")).body(SMUGGLED),
            door.raw("PUT", &format!("{path}?partNumber=1&uploadId={id}"))
                .header("x-amz-copy-source", source),
            door.raw("POST", &format!("{path}?uploadId={id}")).body(complete),
            door.raw("GET", &format!("{path}?uploadId={id}")),
            door.raw("DELETE", &format!("{path}?uploadId={id}")),
        ] {
            let answer = raw.sign().send().await;
            let what = format!("{} for {path:.80}: {}", answer.status, answer.text());
            assert!(matches!(answer.status, 400 | 404), "{what}");
            assert!(
                ["NoSuchUpload", "InvalidArgument", "InvalidURI"].contains(&answer.element("Code").as_str()),
                "{what}"
            );
        }
    }
    door.unharmed().await;
    // It was not harmed by all this.
    client.abort_multipart_upload().bucket("clinic").key("upload").upload_id(id).send().await.unwrap();
}

#[tokio::test]
async fn a_continuation_token_opens_for_its_own_list_of_its_own_app() {
    let mut door = Door::new().await;
    let client = door.gateway.client();
    for key in ["p/1", "p/2", "p/3"] {
        client.put_object().bucket("open-data").key(key).body(b"open".to_vec().into()).send().await.unwrap();
    }
    let list = door.neighbour("GET", "/open-data?list-type=2&max-keys=1&prefix=p%2F").sign().send().await;
    let token = list.element("NextContinuationToken");
    for key in ["p/1", "p/2", "p/3"] {
        client.delete_object().bucket("open-data").key(key).send().await.unwrap();
    }
    door.unchanged().await;

    // An empty token starts the list, as it does in S3.
    for forged in spoiled(&token).into_iter().filter(|forged| !forged.is_empty()) {
        let target = format!("/open-data?continuation-token={}&list-type=2&prefix=p%2F", encode(&forged));
        let answer = door.neighbour("GET", &target).sign().send().await;
        assert_eq!(answer.status, 400, "{target:.100}: {}", answer.text());
    }
    let token = encode(&token);
    for target in [
        format!("/open-data?continuation-token={token}&list-type=2"),
        format!("/open-data?continuation-token={token}&list-type=2&prefix=p"),
        format!("/open-data?continuation-token={token}&delimiter=%2F&list-type=2&prefix=p%2F"),
        format!("/clinic?continuation-token={token}&list-type=2&prefix=p%2F"),
        // As the other app.
        format!("/open-data?continuation-token={token}&list-type=2&prefix=p%2F"),
    ] {
        let answer = door.raw("GET", &target).sign().send().await;
        answer.refused(400, "InvalidArgument");
    }
    door.unharmed().await;
    let own = format!("/open-data?continuation-token={token}&list-type=2&prefix=p%2F");
    assert_eq!(door.neighbour("GET", &own).sign().send().await.status, 200);
}

#[tokio::test]
async fn a_version_id_that_nobody_gave_reads_and_removes_nothing() {
    let mut door = Door::new().await;
    let mut forged: Vec<String> =
        ["1", "0", "-1", "latest", "../note", "null%00", "%00", "a/b", "é"].map(str::to_owned).to_vec();
    forged.push("A".repeat(64));
    forged.push("A".repeat(6_000));
    for id in forged {
        let id = encode(&id);
        for (method, target) in [
            ("GET", format!("/clinic/note?versionId={id}")),
            ("HEAD", format!("/clinic/note?versionId={id}")),
            ("DELETE", format!("/clinic/note?versionId={id}")),
            ("GET", format!("/clinic/note?tagging=&versionId={id}")),
        ] {
            let answer = door.raw(method, &target).sign().send().await;
            assert!(
                matches!(answer.status, 400 | 404 | 501),
                "{method} {target:.60}: {} {}",
                answer.status,
                answer.text()
            );
        }
        let source = format!("clinic/note?versionId={id}");
        let answer =
            door.raw("PUT", "/clinic/other").header("x-amz-copy-source", &source).sign().send().await;
        assert!(matches!(answer.status, 400 | 404 | 501), "{source:.60}: {}", answer.text());
    }
    door.unharmed().await;
}
