//! HTTP and S3 at their edges: old clients, hasty ones, other ways to name a bucket, keys and bodies that are hardly any.

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart, EncodingType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::app::{bucket, get, put};
use crate::support::gateway::{Gateway, ON_SITE, PATIENCE, Stores};
use crate::support::raw::{Answer, Raw};

over_both_kinds_of_store!(an_upload_of_one_empty_part_is_an_empty_object, a_hint_of_an_sdk_decides_nothing);

async fn an_upload_of_one_empty_part_is_an_empty_object(gateway: Gateway) {
    let client = gateway.client();
    bucket(&client, "clinic").await;
    let upload = client.create_multipart_upload().bucket("clinic").key("empty").send().await.unwrap();
    let id = upload.upload_id().unwrap();
    let part = client.upload_part().bucket("clinic").key("empty").upload_id(id).part_number(1);
    let part = part.body(ByteStream::from_static(b"")).send().await.unwrap();
    let part = CompletedPart::builder().part_number(1).e_tag(part.e_tag().unwrap()).build();
    let parts = CompletedMultipartUpload::builder().parts(part).build();
    let complete = client.complete_multipart_upload().bucket("clinic").key("empty").upload_id(id);
    complete.multipart_upload(parts).send().await.unwrap();
    assert_eq!(get(&client, "clinic", "empty").await, b"");
    let head = client.head_object().bucket("clinic").key("empty").send().await.unwrap();
    assert_eq!(head.content_length(), Some(0));
}

async fn a_hint_of_an_sdk_decides_nothing(gateway: Gateway) {
    let client = gateway.client();
    bucket(&client, "clinic").await;
    let ask = |method: &str, target: &str, body: &str| Raw::new(&gateway, method, target).body(body).sign();
    let put = ask("PUT", "/clinic/note?x-id=DeleteObject", "text").send().await;
    assert_eq!(put.status, 200, "{}", put.text());
    let read = ask("GET", "/clinic/note?x-id=PutObject", "").send().await;
    assert_eq!((read.status, read.text().as_str()), (200, "text"));
    assert_eq!(ask("DELETE", "/clinic/note?x-id=GetObject", "").send().await.status, 204);
}

/// Sends bytes and reads until the connection ends.
async fn talk(gateway: &Gateway, bytes: &[u8]) -> Vec<u8> {
    let mut socket = TcpStream::connect(gateway.endpoint.strip_prefix("http://").unwrap()).await.unwrap();
    socket.write_all(bytes).await.unwrap();
    let mut heard = Vec::new();
    tokio::time::timeout(PATIENCE, socket.read_to_end(&mut heard)).await.unwrap().unwrap();
    heard
}

#[tokio::test]
async fn a_client_of_http_1_0_gets_its_answer_and_then_the_end_of_the_connection() {
    let gateway = Gateway::demo().await;
    let client = gateway.client();
    bucket(&client, "clinic").await;
    put(&client, "clinic", "note", "text").await;
    for target in ["/clinic/note", "/clinic?list-type=2", "/clinic/none"] {
        let head = String::from_utf8(Raw::new(&gateway, "GET", target).sign().head()).unwrap();
        let head = head.replace(" HTTP/1.1\r\n", " HTTP/1.0\r\n").replace("connection: close\r\n", "");
        let heard = talk(&gateway, head.as_bytes()).await;
        let answer = Answer::parse(&heard).unwrap();
        assert_eq!(answer.header("transfer-encoding"), None, "{target}");
        assert_eq!(answer.header("content-length"), Some(answer.body.len().to_string().as_str()), "{target}");
        assert_eq!(answer.status, if target.ends_with("none") { 404 } else { 200 });
    }
    let put = Raw::new(&gateway, "PUT", "/clinic/old").body("an old client's").sign();
    let head = String::from_utf8(put.head()).unwrap().replace(" HTTP/1.1\r\n", " HTTP/1.0\r\n");
    let heard = talk(&gateway, &[head.as_bytes(), &put.body].concat()).await;
    assert_eq!(Answer::parse(&heard).unwrap().status, 200);
    assert_eq!(get(&client, "clinic", "old").await, b"an old client's");
}

#[tokio::test]
async fn requests_that_are_sent_ahead_are_answered_in_their_order() {
    let gateway = Gateway::demo().await;
    let client = gateway.client();
    bucket(&client, "clinic").await;
    let staying = |raw: &Raw| String::from_utf8(raw.head()).unwrap().replace("connection: close\r\n", "");
    let mut ahead = Vec::new();
    for n in 0..10 {
        let put = Raw::new(&gateway, "PUT", &format!("/clinic/{n}")).body(format!("number {n}")).sign();
        ahead.extend(staying(&put).bytes());
        ahead.extend(&put.body);
        ahead.extend(staying(&Raw::new(&gateway, "GET", &format!("/clinic/{n}")).sign()).bytes());
    }
    ahead.extend(Raw::new(&gateway, "HEAD", "/clinic/9").sign().head());
    let heard = talk(&gateway, &ahead).await;
    let text = String::from_utf8(heard).unwrap();
    assert_eq!(text.matches("HTTP/1.1 200 OK\r\n").count(), 21, "{text}");
    let places: Vec<_> = (0..10).map(|n| text.find(&format!("number {n}")).unwrap()).collect();
    assert!(places.is_sorted(), "{text}");
}

#[tokio::test]
async fn a_bucket_can_be_named_by_the_host() {
    let more = format!("{ON_SITE}[gateway]\ndomains = [\"s3.example.test\"]\n");
    let gateway = Gateway::configured(Stores::Embedded, &more).await;
    let client = gateway.client();
    bucket(&client, "clinic").await;
    let address = gateway.endpoint.strip_prefix("http://").unwrap();
    let at = async |method: &str, host: &str, target: &str, body: &str| {
        let mut raw = Raw::new(&gateway, method, target);
        raw.headers[0].1 = host.to_owned();
        let raw = raw.body(body).sign();
        crate::support::raw::exchange(address, &raw.head(), &raw.body).await.unwrap()
    };
    let put = at("PUT", "clinic.s3.example.test", "/a//%2e%2e/b", "by host").await;
    assert_eq!(put.status, 200, "{}", put.text());
    assert_eq!(get(&client, "clinic", "a//../b").await, b"by host");
    for host in ["clinic.s3.example.test", "CLINIC.S3.example.test:8080", "clinic.s3.example.test."] {
        let read = at("GET", host, "/a//../b", "").await;
        assert_eq!((read.status, read.text().as_str()), (200, "by host"), "{host}");
    }
    let list = at("GET", "clinic.s3.example.test", "/?list-type=2", "").await;
    assert!(list.text().contains("<Key>a//../b</Key>"), "{}", list.text());
    // The domain itself, and any other, are path style.
    for host in ["s3.example.test", "other.test"] {
        assert_eq!(at("GET", host, "/clinic/a//../b", "").await.text(), "by host", "{host}");
    }
    at("GET", "nowhere.s3.example.test", "/a", "").await.refused(404, "NoSuchBucket");
}

#[tokio::test]
async fn a_key_of_characters_that_no_document_can_carry_is_a_key() {
    let gateway = Gateway::demo().await;
    let client = gateway.client();
    bucket(&client, "clinic").await;
    let mut odd: Vec<String> = (1..0x20).map(|byte: u8| format!("c{}", char::from(byte))).collect();
    let scalars = [
        "\u{7f}",
        "\u{85}",
        "\u{a0}",
        "\u{301}e",
        "\u{200b}",
        "\u{2028}",
        "\u{fffe}",
        "\u{fffd}",
        "\u{10ffff}",
    ];
    // An SDK takes a key of blanks alone for none.
    odd.extend(scalars.map(|scalar| format!("c{scalar}")));
    odd.push("\u{10348}".repeat(256));
    for key in &odd {
        put(&client, "clinic", key, key.as_bytes()).await;
    }
    for key in &odd {
        assert_eq!(get(&client, "clinic", key).await, key.as_bytes(), "{key:?}");
    }
    odd.sort_unstable();
    let list =
        client.list_objects_v2().bucket("clinic").encoding_type(EncodingType::Url).send().await.unwrap();
    let listed: Vec<String> = list
        .contents()
        .iter()
        .map(|object| {
            let key = object.key().unwrap().replace('+', " ");
            percent_encoding::percent_decode_str(&key).decode_utf8().unwrap().into_owned()
        })
        .collect();
    assert_eq!(listed, odd);
    for key in &odd {
        client.delete_object().bucket("clinic").key(key).send().await.unwrap();
    }
    let list = client.list_objects_v2().bucket("clinic").send().await.unwrap();
    assert!(list.contents().is_empty());
}
