//! HTTP/2: pseudo-headers and names that would be another request, were it written down as HTTP/1.1.
//!
//! Frames are made by hand: no client library would send these.

use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::pki_types::pem::PemObject;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::door::{FEW_PACKS, KEPT, SMUGGLED};
use crate::support::gateway::{Gateway, LOCATIONS, ON_SITE, PATIENCE, Stores};
use crate::support::raw::{Raw, Signing};
use crate::support::{Listens, S3Server};

const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const GOAWAY: u8 = 7;

/// What came of a request.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Success,
    Refused,
    /// The stream or the connection was ended without an answer.
    Ended,
}

struct Door {
    gateway: Gateway,
    address: String,
    tls: TlsConnector,
}

/// Names and values in the order of sending.
type Fields = Vec<(String, String)>;

impl Door {
    async fn open() -> Door {
        let folder = tempfile::tempdir().unwrap();
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate =
            rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
        let (certificate_file, key_file) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
        std::fs::write(&certificate_file, certificate.pem()).unwrap();
        std::fs::write(&key_file, key.serialize_pem()).unwrap();
        let mut servers = Vec::new();
        for _ in LOCATIONS {
            servers.push(S3Server::files(Listens::Http).await);
        }
        let more = format!(
            "[gateway.tls]\ncertificate = \"{}\"\nkey = \"{}\"\n\n{ON_SITE}\n{FEW_PACKS}",
            certificate_file.display(),
            key_file.display()
        );
        let gateway = Gateway::configured(Stores::Servers(servers), &more).await;

        let mut roots = rustls::RootCertStore::empty();
        roots.add(rustls::pki_types::CertificateDer::from_pem_file(&certificate_file).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let address = gateway.endpoint.strip_prefix("https://").unwrap().to_owned();
        let door = Door { gateway, address, tls: TlsConnector::from(Arc::new(config)) };
        for (target, body) in [("/clinic", ""), ("/clinic/note", KEPT)] {
            assert_eq!(door.send(&door.signed("PUT", target, body, &[]), body).await, Outcome::Success);
        }
        door
    }

    /// The fields of a signed request, pseudo-headers first.
    fn signed(&self, method: &str, target: &str, body: &str, more: &[(&str, &str)]) -> Fields {
        let raw = Raw {
            method: method.to_owned(),
            target: target.to_owned(),
            headers: vec![("host".to_owned(), self.address.clone())],
            body: Vec::new(),
            signing: Signing {
                access_key_id: self.gateway.access_key_id.clone(),
                secret: self.gateway.secret.clone(),
                region: "us-east-1".to_owned(),
                time: std::time::SystemTime::now(),
            },
        };
        let raw = more.iter().fold(raw, |raw, (name, value)| raw.header(name, value)).body(body).sign();
        let pseudo =
            [(":method", method), (":scheme", "https"), (":authority", &self.address), (":path", target)];
        let pseudo = pseudo.map(|(name, value)| (name.to_owned(), value.to_owned()));
        pseudo.into_iter().chain(raw.headers.into_iter().skip(1)).collect()
    }

    async fn connect(&self) -> TlsStream<TcpStream> {
        let socket = TcpStream::connect(&self.address).await.unwrap();
        let mut stream = self.tls.connect(ServerName::try_from("localhost").unwrap(), socket).await.unwrap();
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
        stream.write_all(&frame(4, 0, 0, &[])).await.unwrap();
        stream
    }

    async fn send(&self, fields: &Fields, body: &str) -> Outcome {
        let mut stream = self.connect().await;
        let mut block = Vec::new();
        for (name, value) in fields {
            // A literal that is not indexed, with a new name (RFC 7541, section 6.2.2).
            block.push(0);
            string(&mut block, name);
            string(&mut block, value);
        }
        let mut bytes = frame(HEADERS, 4, 1, &block);
        bytes.extend(frame(0, 1, 1, body.as_bytes()));
        // It may have ended the connection before it took all.
        let _ = stream.write_all(&bytes).await;
        timeout(PATIENCE, outcome(&mut stream)).await.expect("an answer or an end")
    }

    /// Nothing but reading and writing what the fixture did has reached a location.
    #[track_caller]
    fn nothing_forwarded(&self) {
        for seen in self.gateway.servers().iter().flat_map(S3Server::seen) {
            let (target, ours) =
                (seen.target.split('?').next().unwrap().to_owned(), ["/clinic", "/clinic/", "/clinic/note"]);
            assert!(ours.contains(&target.as_str()) && seen.method != "DELETE", "{} {target}", seen.method);
            assert!(!seen.headers.contains_key("x-amz-copy-source"));
        }
        assert_eq!(self.gateway.disks_with(SMUGGLED.as_bytes()), [""; 0]);
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Not Huffman-coded; the length with a prefix of seven bits (RFC 7541, section 5).
fn string(block: &mut Vec<u8>, text: &str) {
    match text.len() {
        short @ 0..127 => block.push(u8::try_from(short).unwrap()),
        mut rest => {
            block.push(127);
            rest -= 127;
            while rest >= 128 {
                block.push(u8::try_from(rest % 128).unwrap() | 128);
                rest /= 128;
            }
            block.push(u8::try_from(rest).unwrap());
        }
    }
    block.extend(text.bytes());
}

async fn outcome(stream: &mut TlsStream<TcpStream>) -> Outcome {
    loop {
        let mut head = [0; 9];
        if stream.read_exact(&mut head).await.is_err() {
            return Outcome::Ended;
        }
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        if stream.read_exact(&mut payload).await.is_err() {
            return Outcome::Ended;
        }
        match head[3] {
            // `:status` comes first: 200, 204 and 206 are in the static table (RFC 7541, appendix A).
            HEADERS if matches!(payload[0], 0x88..=0x8a) => return Outcome::Success,
            HEADERS => return Outcome::Refused,
            RST_STREAM | GOAWAY => return Outcome::Ended,
            _ => {}
        }
    }
}

#[tokio::test]
async fn no_pseudo_header_or_name_becomes_another_request() {
    let door = Door::open().await;
    assert_eq!(door.send(&door.signed("GET", "/clinic/note", "", &[]), "").await, Outcome::Success);
    assert_eq!(door.send(&door.signed("GET", "/clinic/missing", "", &[]), "").await, Outcome::Refused);

    let put = || door.signed("PUT", "/clinic/other", SMUGGLED, &[]);
    let with = |name: &str, value: &str| {
        let mut fields = put();
        fields.push((name.to_owned(), value.to_owned()));
        fields
    };
    let instead = |pseudo: &str, value: &str| {
        let mut fields = put();
        fields.iter_mut().find(|(name, _)| name == pseudo).unwrap().1 = value.to_owned();
        fields
    };
    let without = |pseudo: &str| -> Fields { put().into_iter().filter(|(name, _)| name != pseudo).collect() };
    let twice = |pseudo: &str, value: &str| {
        let mut fields = put();
        fields.insert(0, (pseudo.to_owned(), value.to_owned()));
        fields
    };
    let attacks: Vec<(&str, Fields)> = vec![
        ("another host beside the authority", with("host", "elsewhere.example")),
        ("another authority than was signed", instead(":authority", "elsewhere.example")),
        ("an authority with a user", instead(":authority", &format!("user@{}", door.address))),
        ("no authority and no host", without(":authority")),
        ("no path", without(":path")),
        ("no method", without(":method")),
        ("an empty path", instead(":path", "")),
        ("a path without a slash", instead(":path", "clinic/other")),
        ("a path that is a URL", instead(":path", "https://elsewhere.example/clinic/other")),
        (
            "a path with a line end",
            instead(":path", "/clinic/other HTTP/1.1\r\nx-amz-copy-source: /clinic/note\r\nx: "),
        ),
        ("a method with a line end", instead(":method", "PUT /clinic/other HTTP/1.1\r\nx: ")),
        ("two methods", twice(":method", "DELETE")),
        ("two paths", twice(":path", "/clinic/note")),
        ("two authorities", twice(":authority", "elsewhere.example")),
        ("a pseudo-header behind the headers", with(":path", "/clinic/note")),
        ("an unknown pseudo-header", twice(":host", "elsewhere.example")),
        ("a status in a request", twice(":status", "200")),
        ("an extended CONNECT", twice(":protocol", "websocket")),
        ("transfer-encoding", with("transfer-encoding", "chunked")),
        ("connection", with("connection", "x-amz-content-sha256")),
        ("upgrade", with("upgrade", "h2c")),
        ("te", with("te", "gzip")),
        ("a name in upper case", with("X-Amz-Copy-Source", "/clinic/note")),
        ("an unsigned copy source", with("x-amz-copy-source", "/clinic/note")),
        ("a name with a colon", with("x-a: b\r\nx-amz-copy-source", "/clinic/note")),
        ("a name with a blank", with("x-amz-copy-source ", "/clinic/note")),
        ("an empty name", with("", "x")),
        ("a value with a line end", with("x-a", "b\r\nx-amz-copy-source: /clinic/note")),
        ("a value with a NUL", with("x-a", "b\0c")),
        ("another length", with("content-length", "3")),
    ];
    for (what, fields) in attacks {
        assert_ne!(door.send(&fields, SMUGGLED).await, Outcome::Success, "{what}");
        door.nothing_forwarded();
    }
    // Lengths that are not those of the body.
    for length in ["0", "7", "9", "18446744073709551615"] {
        let mut fields = put();
        fields.iter_mut().find(|(name, _)| name == "content-length").unwrap().1 = length.to_owned();
        assert_ne!(door.send(&fields, SMUGGLED).await, Outcome::Success, "a length of {length}");
    }
    assert_eq!(door.send(&door.signed("GET", "/clinic/note", "", &[]), "").await, Outcome::Success);
    door.gateway.settled_disks_with(SMUGGLED.as_bytes(), &[]).await;
}
