//! What is checked when a location is opened or probed: its configuration, its certificate, its life.

use std::sync::Arc;

use domicile::config::{RemoteS3, Secret};
use domicile::locations::LocationError;
use domicile::locations::remote::{RemoteError, RemoteLocation, Timeouts};
use http::Method;
use tokio::io::AsyncWriteExt;

use crate::support::{Listens, S3Server, Tls};
use crate::{HASTY, config, get, hasty, location, open, put, raw_server, read_head, request, send};

#[tokio::test]
async fn a_probe_finds_a_live_endpoint_even_when_it_refuses() {
    let server = S3Server::files(Listens::Http).await;
    location(&server).probe().await.unwrap();
    let wrong = RemoteS3 { secret_access_key: Some(Secret::new("wrong")), ..config(&server.endpoint()) };
    open(&wrong, HASTY).probe().await.unwrap();
    let (address, _task) = raw_server(|mut stream| async move {
        read_head(&mut stream).await?;
        stream.write_all(b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n").await
    })
    .await;
    assert!(matches!(hasty(address).probe().await, Err(LocationError::Lost { .. })));
}

#[tokio::test]
async fn tls_is_trusted_by_the_configured_authority_and_by_no_other() {
    let tls = Tls::for_name("localhost");
    let server = S3Server::files(Listens::Https(Arc::clone(&tls.server))).await;
    server.create_bucket("photos");
    let endpoint = format!("https://localhost:{}", server.address.port());
    let trusting = RemoteS3 { ca_certificates: Some(tls.authorities()), ..config(&endpoint) };
    let location = open(&trusting, Timeouts::default());
    assert_eq!(put(&location, "/photos/cat", vec![1; 3 << 20]).await, 200);
    assert_eq!(get(&location, "/photos/cat").await.1.len(), 3 << 20);

    let other = Tls::for_name("localhost");
    let strange = RemoteS3 { ca_certificates: Some(other.authorities()), ..config(&endpoint) };
    let error = send(&open(&strange, HASTY), request(Method::GET, "/photos/cat", "")).await.unwrap_err();
    assert!(matches!(error, LocationError::Unreachable { .. }), "{error:?}");
    assert!(error.to_string().contains("TLS"), "{error}");
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused_without_quoting_names() {
    let tls = Tls::for_name("other.example");
    let server = S3Server::files(Listens::Https(Arc::clone(&tls.server))).await;
    let endpoint = format!("https://localhost:{}", server.address.port());
    let config = RemoteS3 { ca_certificates: Some(tls.authorities()), ..config(&endpoint) };
    let error = send(&open(&config, HASTY), request(Method::GET, "/photos/cat", "")).await.unwrap_err();
    let text = format!("{error} {error:?}");
    assert!(text.contains("not valid for the name"), "{text}");
    assert!(!text.contains("other.example") && !text.contains("localhost"), "{text}");
}

#[test]
fn what_cannot_work_is_refused_when_it_is_opened() {
    let open = |config: RemoteS3| RemoteLocation::open("cn-north".parse().unwrap(), "cn-north-1", &config);
    let good = config("https://s3.example.com");
    let half = RemoteS3 { secret_access_key: None, ..good.clone() };
    assert!(matches!(open(half), Err(RemoteError::HalfCredentials { .. })));
    let both = RemoteS3 { profile: Some("p".into()), ..good.clone() };
    assert!(matches!(open(both), Err(RemoteError::ProfileAndKey { .. })));
    let url = RemoteS3 { endpoint: "s3.example.com".into(), ..good.clone() };
    assert!(matches!(open(url), Err(RemoteError::Endpoint { .. })));
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in [("absent", None), ("empty", Some("")), ("text", Some("not a certificate"))] {
        let path = folder.path().join(name);
        if let Some(content) = content {
            std::fs::write(&path, content).unwrap();
        }
        let config = RemoteS3 { ca_certificates: Some(path), ..good.clone() };
        assert!(matches!(open(config), Err(RemoteError::Tls { .. })), "{name}");
    }
}

/// Outside a runtime nothing can be asked: opening with the AWS chain contacts nobody.
#[test]
fn opening_without_keys_asks_nobody_for_credentials() {
    let chain = RemoteS3 { access_key_id: None, secret_access_key: None, ..config("http://127.0.0.1:1") };
    open(&chain, HASTY);
}
