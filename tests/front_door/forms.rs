//! Uploads by HTML form, as browsers make them: signed by a policy, stored like any object.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use crate::app::{CN_RESIDENT_ID, bucket, clean_text, failed, get, keys};
use crate::support::gateway::Gateway;
use crate::support::raw::{Answer, Raw, exchange};

over_both_kinds_of_store!(
    a_form_is_stored_as_its_policy_says,
    a_large_file_is_streamed_and_must_end_the_form,
    a_file_goes_where_its_content_may_rest,
);

/// A form in the making.
struct Form<'a> {
    gateway: &'a Gateway,
    conditions: String,
    expiration: &'a str,
    fields: Vec<(String, String)>,
    file: Vec<u8>,
    /// Fields behind the file.
    after: Vec<(&'a str, &'a str)>,
    end: &'a str,
}

impl<'a> Form<'a> {
    /// A form for any key of `clinic` that begins with `in/`.
    fn new(gateway: &'a Gateway, key: &str, file: impl Into<Vec<u8>>) -> Form<'a> {
        Form {
            gateway,
            conditions: r#"{"bucket": "clinic"}, ["starts-with", "$key", "in/"]"#.to_owned(),
            expiration: "2999-01-01T00:00:00Z",
            fields: vec![("key".to_owned(), key.to_owned())],
            file: file.into(),
            after: Vec::new(),
            end: "--\r\n",
        }
    }

    fn field(mut self, name: &str, value: &str) -> Form<'a> {
        self.fields.push((name.to_owned(), value.to_owned()));
        self
    }

    fn allow(mut self, condition: &str) -> Form<'a> {
        self.conditions.push_str(&format!(", {condition}"));
        self
    }

    async fn send(&self) -> Answer {
        self.send_spoilt(|_| {}).await
    }

    /// `spoil` may change the fields after the policy was signed.
    async fn send_spoilt(&self, spoil: impl Fn(&mut Vec<(String, String)>)) -> Answer {
        let signing = Raw::new(self.gateway, "POST", "/clinic").signing;
        let credential = format!("{}/{}", signing.access_key_id, signing.scope());
        let date = signing.timestamp();
        let policy = format!(
            r#"{{"expiration": "{}", "conditions": [{}, {{"x-amz-algorithm": "AWS4-HMAC-SHA256"}},
               {{"x-amz-credential": "{credential}"}}, {{"x-amz-date": "{date}"}}]}}"#,
            self.expiration, self.conditions
        );
        let policy = BASE64_STANDARD.encode(policy);
        let mut fields = self.fields.clone();
        let mut add = |name: &str, value: String| fields.push((name.to_owned(), value));
        add("X-Amz-Algorithm", "AWS4-HMAC-SHA256".to_owned());
        add("X-Amz-Credential", credential);
        add("X-Amz-Date", date);
        add("X-Amz-Signature", hex::encode(signing.hmac(&policy)));
        add("Policy", policy);
        spoil(&mut fields);
        let mut body = Vec::new();
        for (name, value) in &fields {
            body.extend(
                format!("--b0\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n").bytes(),
            );
        }
        body.extend(
            b"--b0\r\nContent-Disposition: form-data; name=\"file\"; filename=\"scan 1.txt\"\r\n\r\n",
        );
        body.extend(&self.file);
        for (name, value) in &self.after {
            body.extend(
                format!("\r\n--b0\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}").bytes(),
            );
        }
        body.extend(format!("\r\n--b0{}", self.end).bytes());
        let address = self.gateway.endpoint.strip_prefix("http://").unwrap();
        let head = format!(
            "POST /clinic HTTP/1.1\r\nhost: {address}\r\ncontent-type: multipart/form-data; boundary=b0\r\n\
             content-length: {}\r\nconnection: close\r\n\r\n",
            body.len()
        );
        exchange(address, head.as_bytes(), &body).await.unwrap()
    }
}

async fn a_form_is_stored_as_its_policy_says(gateway: Gateway) {
    let client = gateway.client();
    bucket(&client, "clinic").await;
    let form = Form::new(&gateway, "in/${filename}", "the scan")
        .allow(r#"["starts-with", "$content-type", "text/"], {"x-amz-meta-ward": "3 b"}"#)
        .field("Content-Type", "text/x-scan")
        .field("x-amz-meta-ward", "3 b")
        .field("x-ignore-this", "1");
    let answer = form.send().await;
    assert_eq!(answer.status, 204, "{}", answer.text());
    assert!(answer.header("location").unwrap().ends_with("/clinic/in/scan%201.txt"));
    assert_eq!(answer.header("x-domicile-location"), Some("us-east"));
    assert!(answer.header("x-domicile-receipt").is_some());
    let stored = client.get_object().bucket("clinic").key("in/scan 1.txt").send().await.unwrap();
    assert_eq!(stored.content_type(), Some("text/x-scan"));
    assert_eq!(stored.metadata().unwrap()["ward"], "3 b");
    assert_eq!(answer.header("etag"), stored.e_tag());
    assert_eq!(stored.body.collect().await.unwrap().to_vec(), b"the scan");

    // What the browser is told.
    let told = |status: &'static str| {
        Form::new(&gateway, "in/told", "x")
            .allow(r#"["starts-with", "$success_action_status", ""]"#)
            .field("success_action_status", status)
    };
    assert_eq!(told("200").send().await.status, 200);
    assert_eq!(told("404").send().await.status, 204);
    let created = told("201").send().await;
    assert_eq!((created.status, created.element("Key").as_str()), (201, "in/told"));
    let sent_on = Form::new(&gateway, "in/told", "x")
        .allow(r#"{"success_action_redirect": "https://app.test/done"}"#)
        .field("success_action_redirect", "https://app.test/done")
        .send()
        .await;
    assert_eq!(sent_on.status, 303);
    let target = sent_on.header("location").unwrap();
    assert!(target.starts_with("https://app.test/done?bucket=clinic&key=in%2Ftold&etag=%22"), "{target}");

    // An empty file is a file; a small one may have fields behind it.
    assert_eq!(Form::new(&gateway, "in/empty", "").send().await.status, 204);
    assert_eq!(get(&client, "clinic", "in/empty").await, b"");
    let mut form = Form::new(&gateway, "in/small", "small");
    form.after = vec![("submit", "Upload")];
    assert_eq!(form.send().await.status, 204);
    assert_eq!(get(&client, "clinic", "in/small").await, b"small");
}

async fn a_large_file_is_streamed_and_must_end_the_form(gateway: Gateway) {
    let client = gateway.client();
    bucket(&client, "clinic").await;
    let mut file = clean_text(3 << 20);
    file.extend(b"\r\n--b\r\n--b1 the end");
    assert_eq!(Form::new(&gateway, "in/large", file.clone()).send().await.status, 204);
    assert!(get(&client, "clinic", "in/large").await == file);
    // How long it is cannot be foreseen.
    let mut form = Form::new(&gateway, "in/other", file.clone());
    form.after = vec![("submit", "Upload")];
    form.send().await.refused(400, "MalformedPOSTRequest");
    let mut form = Form::new(&gateway, "in/other", file);
    form.end = "--";
    form.send().await.refused(400, "MalformedPOSTRequest");
    assert_eq!(keys(&client, "clinic").await, ["in/large"]);
}

async fn a_file_goes_where_its_content_may_rest(gateway: Gateway) {
    let client = gateway.client();
    bucket(&client, "clinic").await;
    let found = Form::new(&gateway, "in/patient", format!("id {CN_RESIDENT_ID}\n")).send().await;
    assert_eq!(found.status, 204, "{}", found.text());
    assert_eq!(gateway.whereis("clinic", "in/patient")["location"], "cn-north");
    let tags = "<Tagging><TagSet><Tag><Key>data-class</Key><Value>personal</Value></Tag>\
                <Tag><Key>subject-country</Key><Value>DE</Value></Tag></TagSet></Tagging>";
    let tagged = |tags: &str| {
        Form::new(&gateway, "in/tagged", "text")
            .allow(r#"["starts-with", "$tagging", ""]"#)
            .field("tagging", tags)
    };
    assert_eq!(tagged(tags).send().await.header("x-domicile-location"), Some("eu-central"));
    tagged(&tags.replace("personal", "persnal")).send().await.refused(400, "InvalidTag");
}

#[tokio::test]
async fn a_form_that_its_policy_does_not_allow_stores_nothing() {
    let gateway = Gateway::demo().await;
    let client = gateway.client();
    bucket(&client, "clinic").await;
    bucket(&client, "other").await;
    let form = |key: &str| Form::new(&gateway, key, "smuggled");
    form("out/a").send().await.refused(403, "AccessDenied");
    form("in/../../other/a").send().await.refused(400, "InvalidURI");
    form("in/a").field("acl", "private").send().await.refused(403, "AccessDenied");
    form("in/a").allow(r#"{"x-amz-meta-a": "1"}"#).send().await.refused(403, "AccessDenied");
    form("in/a").allow(r#"["content-length-range", 9, 100]"#).send().await.refused(400, "EntityTooSmall");
    form("in/a").allow(r#"["content-length-range", 0, 7]"#).send().await.refused(400, "EntityTooLarge");
    form("in/a").allow(r#"["like", "$key", "x"]"#).send().await.refused(400, "InvalidPolicyDocument");
    let mut elsewhere = form("in/a");
    elsewhere.conditions = elsewhere.conditions.replace("clinic", "other");
    elsewhere.send().await.refused(403, "AccessDenied");
    let mut nobodys = form("in/a");
    nobodys.conditions = nobodys.conditions.replace(r#"{"bucket": "clinic"}, "#, "");
    nobodys.send().await.refused(403, "AccessDenied");
    let mut late = form("in/a");
    late.expiration = "2020-01-01T00:00:00Z";
    late.send().await.refused(403, "AccessDenied");
    // A copy or a grant in the clothes of a field.
    let copy =
        form("in/a").allow(r#"{"x-amz-copy-source": "/other/k"}"#).field("x-amz-copy-source", "/other/k");
    copy.send().await.refused(400, "InvalidArgument");
    let public = form("in/a").allow(r#"{"acl": "public-read"}"#).field("acl", "public-read");
    public.send().await.refused(501, "NotImplemented");

    // And what was changed after it was signed.
    let set = |name: &'static str, value: &'static str| {
        move |fields: &mut Vec<(String, String)>| {
            fields.iter_mut().find(|field| field.0 == name).unwrap().1 = value.to_owned();
        }
    };
    let good = form("in/a");
    good.send_spoilt(set("key", "out/a")).await.refused(403, "AccessDenied");
    good.send_spoilt(set("X-Amz-Signature", &"0".repeat(64).leak()[..]))
        .await
        .refused(403, "SignatureDoesNotMatch");
    good.send_spoilt(set("X-Amz-Signature", "short")).await.refused(400, "InvalidArgument");
    good.send_spoilt(set("X-Amz-Date", "20200101T000000Z")).await.refused(400, "InvalidArgument");
    good.send_spoilt(set("X-Amz-Credential", "NOBODY/20200101/us-east-1/s3/aws4_request"))
        .await
        .refused(400, "InvalidArgument");
    let other = BASE64_STANDARD
        .encode(r#"{"expiration": "2999-01-01T00:00:00Z", "conditions": [{"bucket": "clinic"}]}"#);
    let other: &'static str = other.leak();
    good.send_spoilt(set("Policy", other)).await.refused(403, "SignatureDoesNotMatch");
    let without =
        |name: &'static str| move |fields: &mut Vec<(String, String)>| fields.retain(|field| field.0 != name);
    good.send_spoilt(without("Policy")).await.refused(403, "AccessDenied");
    good.send_spoilt(without("X-Amz-Signature")).await.refused(400, "InvalidArgument");
    good.send_spoilt(without("key")).await.refused(403, "AccessDenied");
    let twice = |fields: &mut Vec<(String, String)>| fields.push(("KEY".to_owned(), "in/b".to_owned()));
    good.send_spoilt(twice).await.refused(400, "InvalidArgument");

    assert!(keys(&client, "clinic").await.is_empty());
    assert_eq!(gateway.disks_with(b"smuggled"), [""; 0]);
    failed(client.get_object().bucket("clinic").key("in/a").send().await).is(404, "NoSuchKey");
}

/// A policy signs an upload to a bucket and nothing else, wherever the form is sent.
#[tokio::test]
async fn a_form_is_no_key_to_another_operation() {
    let gateway = Gateway::demo().await;
    let client = gateway.client();
    bucket(&client, "clinic").await;
    let address = gateway.endpoint.strip_prefix("http://").unwrap();
    for (target, status) in
        [("/clinic?delete", 403), ("/clinic?uploads", 403), ("/", 405), ("/clinic/key", 405)]
    {
        let body = "--b0\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\nx\r\n--b0--\r\n";
        let head = format!(
            "POST {target} HTTP/1.1\r\nhost: {address}\r\ncontent-type: multipart/form-data; boundary=b0\r\n\
             content-length: {}\r\nconnection: close\r\n\r\n",
            body.len()
        );
        let answer = exchange(address, head.as_bytes(), body.as_bytes()).await.unwrap();
        assert!([403, status].contains(&answer.status), "{target}: {}", answer.text());
    }
    // A form that is signed in its header says nothing about its fields.
    let signed = Raw::new(&gateway, "POST", "/clinic")
        .header("content-type", "multipart/form-data; boundary=b0")
        .body("--b0--\r\n")
        .sign();
    signed.send().await.refused(400, "InvalidRequest");
}
