//! Connections to a location: TCP, TLS, their trust anchors, and one time limit over both.

use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use tokio::net::TcpStream;
use tower::Service;

use crate::body::BoxError;

/// Why there is no TLS for a location. Found at start.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("cannot read the certification authorities in {path}: {reason}")]
    Authorities { path: PathBuf, reason: String },
    #[error("{path} holds no certificate in PEM form")]
    NoAuthority { path: PathBuf },
    #[error(
        "this machine has no certification authorities (install ca-certificates, or set ca-certificates): {0}"
    )]
    NoSystemAuthorities(#[source] io::Error),
    #[error("TLS cannot be set up: {0}")]
    Setup(#[from] rustls::Error),
}

/// Connects within a time limit that covers name resolution, TCP and TLS.
#[derive(Clone)]
pub(super) struct Connector {
    inner: HttpsConnector<HttpConnector>,
    limit: Duration,
}

impl Connector {
    /// With the given authorities, or the system's. Without TLS none are needed, and none are read.
    pub(super) fn open(uses: Uses<'_>, limit: Duration) -> Result<Self, TlsError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let tls = match uses {
            Uses::PlainHttp => tls.with_root_certificates(RootCertStore::empty()),
            Uses::Authorities(path) => tls.with_root_certificates(authorities(path)?),
            Uses::SystemAuthorities => tls.with_native_roots().map_err(TlsError::NoSystemAuthorities)?,
        };
        let tls = tls.with_no_client_auth();
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(Duration::from_secs(60)));
        tcp.set_connect_timeout(Some(limit));
        let inner = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        Ok(Connector { inner, limit })
    }
}

/// What the endpoint's scheme and the configuration ask for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Uses<'a> {
    PlainHttp,
    Authorities(&'a Path),
    SystemAuthorities,
}

impl Service<Uri> for Connector {
    type Response = MaybeHttpsStream<TokioIo<TcpStream>>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connected = tokio::time::timeout(self.limit, self.inner.call(uri));
        Box::pin(async move { connected.await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))? })
    }
}

fn authorities(path: &Path) -> Result<RootCertStore, TlsError> {
    let unreadable = |reason: &dyn std::fmt::Display| TlsError::Authorities {
        path: path.to_owned(),
        reason: reason.to_string(),
    };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| unreadable(&error))? {
        let certificate = certificate.map_err(|error| unreadable(&error))?;
        roots.add(certificate).map_err(|error| unreadable(&error))?;
    }
    if roots.is_empty() { Err(TlsError::NoAuthority { path: path.to_owned() }) } else { Ok(roots) }
}
