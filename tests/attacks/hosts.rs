//! Host confusion: a request that names one bucket to a proxy in front, and another one to the gateway.

use crate::door::{Door, KEPT, SMUGGLED, statuses};
use crate::support::raw::{Answer, Raw, exchange};

const DOMAINS: &str = "domains = [\"s3.test.example\"]";
const CLINIC: &str = "clinic.s3.test.example";
const OPEN: &str = "open-data.s3.test.example";

fn at(mut raw: Raw, host: &str) -> Raw {
    raw.headers[0].1 = host.to_owned();
    raw
}

async fn send(door: &Door, raw: &Raw) -> Answer {
    exchange(door.address(), &raw.head(), &raw.body).await.unwrap()
}

#[tokio::test]
async fn an_absolute_target_and_a_host_that_differ_are_refused() {
    let mut door = Door::with(DOMAINS).await;
    let agreeing = at(door.raw("GET", "/note"), CLINIC).sign();
    assert_eq!(send(&door, &agreeing).await.text(), KEPT);
    let mut absolute = agreeing.clone();
    absolute.target = format!("http://{CLINIC}/note");
    assert_eq!(send(&door, &absolute).await.text(), KEPT, "RFC 9112: a server must take the absolute form");
    door.unchanged().await;

    for (target, host) in [
        (format!("http://{CLINIC}/note"), OPEN),
        (format!("http://{OPEN}/note"), CLINIC),
        (format!("http://{CLINIC}:80/note"), CLINIC),
        (format!("http://{CLINIC}./note"), CLINIC),
        ("http://s3.test.example/clinic/note".to_owned(), CLINIC),
        (format!("http://user@{CLINIC}/note"), CLINIC),
        (format!("http://{OPEN}@{CLINIC}/note"), OPEN),
    ] {
        // Signed for the host that the header names, and for the one of the target.
        let mut raw = at(door.neighbour("GET", "/note"), host).sign();
        raw.target = target.clone();
        let answer = send(&door, &raw).await;
        assert_eq!(answer.status, 400, "{target} at {host}: {}", answer.text());
        let authority = target.strip_prefix("http://").unwrap().split('/').next().unwrap();
        let mut raw = at(door.neighbour("GET", "/note"), authority).sign();
        (raw.target, raw.headers[0].1) = (target.clone(), host.to_owned());
        let answer = send(&door, &raw).await;
        assert_eq!(answer.status, 400, "{target} at {host}: {}", answer.text());
    }
    door.unharmed().await;
}

#[tokio::test]
async fn there_is_one_host_and_it_is_a_host() {
    let mut door = Door::with(DOMAINS).await;
    let signed = at(door.put("/other"), OPEN).sign();
    let head = String::from_utf8(signed.head()).unwrap();
    let host_line = format!("host: {OPEN}\r\n");
    for hosts in [
        String::new(),
        "host:\r\n".to_owned(),
        format!("host: {OPEN}\r\nhost: {CLINIC}\r\n"),
        format!("host: {CLINIC}\r\nhost: {OPEN}\r\n"),
        format!("host: {OPEN}\r\nhost: {OPEN}\r\n"),
        format!("host: {OPEN}, {CLINIC}\r\n"),
        format!("host : {OPEN}\r\n"),
        format!("host: {OPEN}\r\n {CLINIC}\r\n"),
        format!("host: {OPEN}\0{CLINIC}\r\n"),
        format!("host: {OPEN}/clinic\r\n"),
        format!("host: {OPEN}?x\r\n"),
        format!("host: x@{OPEN}\r\n"),
        format!("host: {OPEN}:80:80\r\n"),
        format!("host: {OPEN}:port\r\n"),
    ] {
        let bytes = format!("{}{SMUGGLED}", head.replace(&host_line, &hosts));
        let answer = door.wire(bytes.as_bytes()).await;
        let statuses = statuses(&answer);
        assert!(matches!(statuses[..], [400 | 403]), "{hosts:?}: {answer}");
    }
    door.unharmed().await;
}

#[tokio::test]
async fn a_bucket_in_the_host_is_the_only_bucket_there_is() {
    let mut door = Door::with(DOMAINS).await;
    // The path below a bucket's host is a key, whatever it looks like.
    let answer = send(&door, &at(door.neighbour("GET", "/clinic/note"), OPEN).sign()).await;
    answer.refused(404, "NoSuchKey");
    for host in [
        CLINIC.to_owned(),
        CLINIC.to_uppercase(),
        format!("{CLINIC}."),
        format!("{CLINIC}:80"),
        format!("{CLINIC}.:80"),
        format!("{CLINIC}:"),
    ] {
        let answer = send(&door, &at(door.neighbour("GET", "/note"), &host).sign()).await;
        answer.refused(403, "AccessDenied");
        let answer = send(&door, &at(door.neighbour("PUT", "/other").body(SMUGGLED), &host).sign()).await;
        answer.refused(403, "AccessDenied");
    }
    for host in [
        format!("open-data.{CLINIC}"),
        format!("clinic%2e{OPEN}"),
        format!("clinic/{OPEN}"),
        format!("clinic#.{OPEN}"),
        format!("[{CLINIC}]"),
    ] {
        let answer = send(&door, &at(door.neighbour("GET", "/note"), &host).sign()).await;
        assert_eq!(answer.status / 100, 4, "{host}: {}", answer.text());
    }
    door.unharmed().await;
}

#[tokio::test]
async fn no_other_header_names_the_host() {
    let mut door = Door::with(DOMAINS).await;
    for (name, value) in [
        ("x-forwarded-host", CLINIC),
        ("x-host", CLINIC),
        ("x-original-host", CLINIC),
        ("forwarded", "host=clinic.s3.test.example"),
        ("x-forwarded-server", CLINIC),
        ("x-http-host-override", CLINIC),
    ] {
        let raw = at(door.neighbour("GET", "/missing"), OPEN).sign().header(name, value);
        send(&door, &raw).await.refused(404, "NoSuchKey");
    }
    door.unharmed().await;
}

#[tokio::test]
async fn targets_that_are_no_path_are_refused() {
    let mut door = Door::with(DOMAINS).await;
    for target in
        ["*", "clinic/note", "clinic.s3.test.example:443", "http://", "http:///note", "//", "?x", "/\u{1}"]
    {
        for method in ["GET", "PUT", "CONNECT", "OPTIONS", "TRACE"] {
            let head = String::from_utf8(door.raw(method, "/clinic/note").sign().head()).unwrap();
            let head = head.replacen("/clinic/note", target, 1);
            let answer = door.wire(head.as_bytes()).await;
            let found = statuses(&answer);
            assert!(matches!(found[..], [400..=405 | 501]), "{method} {target:?}: {answer}");
        }
    }
    door.unharmed().await;
}
