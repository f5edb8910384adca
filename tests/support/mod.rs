//! Servers that integration tests put behind a location: real S3 servers in this process, on loopback.
//!
//! Each checks signatures, listens on a port of its own, and ends when it is dropped.
#![allow(dead_code)] // Each test binary uses its own part of this module.

pub mod gateway;
pub mod keys;
pub mod raw;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use s3s::S3;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

pub const ACCESS_KEY_ID: &str = "AKIDLOCATION";
pub const SECRET_ACCESS_KEY: &str = "a-secret-of-the-location";

/// Keys that some server or library on the way could take for others.
pub const ODD_KEYS: [&str; 22] = [
    "a//b",
    "/",
    "//",
    ".",
    "..",
    "a/../b",
    "a/./b",
    "a+b",
    "a b",
    "a%20b",
    "%",
    "100%",
    "a=b&c;d",
    "?",
    "a?b#c",
    "北京/ü",
    "😀",
    "a'(b)*!",
    "~tilde-_.",
    "back\\slash",
    "\"quoted\"",
    "<xml>&amp;",
];

/// What one request looked like when it arrived.
#[derive(Debug, Clone)]
pub struct Seen {
    pub method: http::Method,
    pub target: String,
    pub headers: http::HeaderMap,
}

/// An S3 server that is running.
pub struct S3Server {
    pub address: SocketAddr,
    /// The folder behind an `s3s-fs` server: one folder a bucket, one file an object.
    pub root: TempDir,
    seen: Arc<Mutex<Vec<Seen>>>,
    task: JoinHandle<()>,
}

/// How a server listens.
pub enum Listens {
    Http,
    Https(Arc<rustls::ServerConfig>),
}

impl S3Server {
    /// Objects as files.
    pub async fn files(listens: Listens) -> Self {
        let root = tempfile::tempdir().unwrap();
        let store = s3s_fs::FileSystem::new(root.path()).unwrap();
        Self::start(store, root, listens).await
    }

    /// Objects in memory, under any key whatsoever; only PUT, GET and DELETE of objects.
    pub async fn any_key() -> Self {
        Self::start(keys::KeyStore::default(), tempfile::tempdir().unwrap(), Listens::Http).await
    }

    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn create_bucket(&self, name: &str) {
        std::fs::create_dir(self.root.path().join(name)).unwrap();
    }

    pub fn object(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    /// The requests so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// Lets nobody in any more, and ends what is under way.
    pub async fn stop(&self) {
        self.task.abort();
        while !self.task.is_finished() {
            tokio::task::yield_now().await;
        }
    }

    async fn start(store: impl S3, root: TempDir, listens: Listens) -> Self {
        let mut builder = S3ServiceBuilder::new(store);
        builder.set_auth(SimpleAuth::from_single(ACCESS_KEY_ID, SECRET_ACCESS_KEY));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let accept = accept_all(listener, builder.build(), Arc::clone(&seen), listens);
        S3Server { address, root, seen, task: tokio::spawn(accept) }
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept_all(
    listener: TcpListener,
    service: S3Service,
    seen: Arc<Mutex<Vec<Seen>>>,
    listens: Listens,
) {
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let (service, seen) = (service.clone(), Arc::clone(&seen));
        match &listens {
            Listens::Http => {
                connections.spawn(serve(stream, service, seen));
            }
            Listens::Https(config) => {
                let acceptor = TlsAcceptor::from(Arc::clone(config));
                connections.spawn(async move {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        serve(stream, service, seen).await;
                    }
                });
            }
        }
    }
}

async fn serve<S>(stream: S, service: S3Service, seen: Arc<Mutex<Vec<Seen>>>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let recording = hyper::service::service_fn(move |request: http::Request<hyper::body::Incoming>| {
        let arrived = Seen {
            method: request.method().clone(),
            target: request.uri().to_string(),
            headers: request.headers().clone(),
        };
        seen.lock().unwrap().push(arrived);
        hyper::service::Service::call(&service, request)
    });
    // A client that goes away in the middle is what some tests are about.
    let _ = auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), recording).await;
}

/// A certification authority made for one test, with a certificate for the given name.
pub struct Tls {
    pub server: Arc<rustls::ServerConfig>,
    folder: TempDir,
}

impl Tls {
    pub fn for_name(name: &str) -> Self {
        use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
        let ca_key = KeyPair::generate().unwrap();
        let mut ca_params = CertificateParams::new(Vec::new()).unwrap();
        ca_params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = ca_params.self_signed(&ca_key).unwrap();
        let issuer = Issuer::new(ca_params, ca_key);
        let key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();

        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), ca.pem()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let server = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![leaf.der().clone()], key.serialize_der().try_into().unwrap())
            .unwrap();
        Tls { server: Arc::new(server), folder }
    }

    /// PEM file with the authority.
    pub fn authorities(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }
}
