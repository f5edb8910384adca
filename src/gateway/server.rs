//! Sockets: accepts connections, speaks TLS and HTTP, and stops gracefully.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderValue, header};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tower::util::BoxCloneSyncService;

use super::linger::lingering;
use super::timeouts::TimedIo;
use crate::body::Body;
use crate::config;

/// The finished stack: it always answers.
pub type Front = BoxCloneSyncService<http::Request<Body>, http::Response<Body>, std::convert::Infallible>;

/// Who sent a request, as a request extension.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub SocketAddr);

/// Why a listener could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    #[error("cannot listen on {address}: {source}")]
    Listen { address: SocketAddr, source: std::io::Error },
    #[error("cannot use the TLS {what} {path}: {message}")]
    Tls { what: &'static str, path: String, message: String },
}

/// Limits of one connection.
#[derive(Debug, Clone)]
pub struct ConnectionLimits {
    pub header_timeout: Duration,
    pub idle_timeout: Duration,
    pub max_header_bytes: usize,
    pub shutdown_timeout: Duration,
    /// Connections at once; more wait in the listener's queue. Each holds a file descriptor, and catalogue and locations
    /// need some too.
    pub max_connections: usize,
}

/// Connections for each request that may be served at once: between requests, clients keep theirs open.
const CONNECTIONS_PER_REQUEST: usize = 4;

impl ConnectionLimits {
    pub fn of(config: &config::Gateway) -> Self {
        ConnectionLimits {
            header_timeout: Duration::from_secs(config.header_timeout_seconds),
            idle_timeout: config.idle_timeout(),
            max_header_bytes: config.max_header_bytes,
            shutdown_timeout: Duration::from_secs(config.shutdown_timeout_seconds),
            max_connections: config.max_concurrent_requests.saturating_mul(CONNECTIONS_PER_REQUEST),
        }
    }
}

/// A bound listener, not yet serving.
pub struct Server {
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    limits: ConnectionLimits,
}

impl Server {
    pub async fn bind(
        address: SocketAddr,
        tls: Option<&config::Tls>,
        limits: ConnectionLimits,
    ) -> Result<Server, ServerError> {
        let tls = tls.map(acceptor).transpose()?;
        let listener =
            TcpListener::bind(address).await.map_err(|source| ServerError::Listen { address, source })?;
        Ok(Server { listener, tls, limits })
    }

    /// The address that was bound, with the real port where 0 was asked.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `stop`, then lets requests in flight finish, for at most the shutdown timeout.
    pub async fn run(self, front: Front, stop: impl Future<Output = ()>) {
        let Server { listener, tls, limits } = self;
        let graceful = Arc::new(GracefulShutdown::new());
        let slots = Arc::new(Semaphore::new(limits.max_connections.min(Semaphore::MAX_PERMITS)));
        tokio::pin!(stop);
        loop {
            let next = async {
                // The semaphore is never closed.
                let slot = slots.clone().acquire_owned().await.ok();
                (slot, listener.accept().await)
            };
            let (slot, accepted) = tokio::select! {
                next = next => next,
                () = &mut stop => break,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let watcher = graceful.watcher();
                    let connection =
                        Connection { front: front.clone(), peer: Peer(peer), limits: limits.clone() };
                    let tls = tls.clone();
                    tokio::spawn(async move {
                        let _slot = slot;
                        connection.run(stream, tls, watcher).await;
                    });
                }
                Err(error) => {
                    // Out of file descriptors, for example: wait instead of spinning.
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
        drop(listener);
        let Some(graceful) = Arc::into_inner(graceful) else { return };
        if tokio::time::timeout(limits.shutdown_timeout, graceful.shutdown()).await.is_err() {
            tracing::warn!("requests were still in flight when the shutdown timeout ended");
        }
    }
}

struct Connection {
    front: Front,
    peer: Peer,
    limits: ConnectionLimits,
}

impl Connection {
    async fn run(
        self,
        stream: TcpStream,
        tls: Option<TlsAcceptor>,
        watcher: hyper_util::server::graceful::Watcher,
    ) {
        // Small answers must not wait for more data to be sent.
        let _ = stream.set_nodelay(true);
        let Some(tls) = tls else {
            // No protocol detection on plain sockets: it would wait without a limit for the first bytes.
            let builder = self.builder().http1_only();
            return self.serve(builder, stream, watcher).await;
        };
        let Ok(Ok(stream)) = tokio::time::timeout(self.limits.header_timeout, tls.accept(stream)).await
        else {
            return;
        };
        let builder = match stream.get_ref().1.alpn_protocol() {
            Some(b"h2") => self.builder().http2_only(),
            _ => self.builder().http1_only(),
        };
        self.serve(builder, stream, watcher).await;
    }

    fn builder(&self) -> Builder<TokioExecutor> {
        let mut builder = Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.header_timeout)
            .max_buf_size(self.limits.max_header_bytes.max(8192))
            .max_headers(256)
            .http2()
            .timer(TokioTimer::new())
            .max_header_list_size(u32::try_from(self.limits.max_header_bytes).unwrap_or(u32::MAX))
            .max_concurrent_streams(256)
            .keep_alive_interval(Some(self.limits.idle_timeout));
        builder
    }

    async fn serve<T>(
        self,
        builder: Builder<TokioExecutor>,
        stream: T,
        watcher: hyper_util::server::graceful::Watcher,
    ) where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Connection { front, peer, limits } = self;
        let service = hyper::service::service_fn(move |request: http::Request<hyper::body::Incoming>| {
            let may_end_elsewhere = may_end_elsewhere(request.headers());
            let mut request = lingering(request);
            request.extensions_mut().insert(peer);
            let answer = tower::ServiceExt::oneshot(front.clone(), request);
            async move {
                let mut response = answer.await?;
                if may_end_elsewhere {
                    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
                }
                Ok::<_, std::convert::Infallible>(response)
            }
        });
        let io = TokioIo::new(TimedIo::new(stream, limits.idle_timeout));
        let connection = builder.serve_connection(io, service).into_owned();
        if let Err(error) = watcher.watch(connection).await {
            tracing::debug!(%error, "a connection ended early");
        }
    }
}

/// Whether somebody in front of us may see the end of this message elsewhere. If a chunked one had a `Content-Length` too,
/// that was passed over (RFC 9112, section 6.1), and there are servers to which `_` is `-`. What he takes for the next
/// request must not be taken from this connection.
fn may_end_elsewhere(headers: &HeaderMap) -> bool {
    headers.contains_key(header::TRANSFER_ENCODING)
        || headers.contains_key("transfer_encoding")
        || headers.contains_key("content_length")
}

/// Whether certificate and key can be read and fit each other.
pub fn check_tls(tls: &config::Tls) -> Result<(), ServerError> {
    acceptor(tls).map(drop)
}

fn acceptor(tls: &config::Tls) -> Result<TlsAcceptor, ServerError> {
    let fail = |what, path: &std::path::Path, message: String| ServerError::Tls {
        what,
        path: path.display().to_string(),
        message,
    };
    let chain = CertificateDer::pem_file_iter(&tls.certificate)
        .and_then(|certificates| certificates.collect::<Result<Vec<_>, _>>())
        .map_err(|error| fail("certificate", &tls.certificate, error.to_string()))?;
    let key =
        PrivateKeyDer::from_pem_file(&tls.key).map_err(|error| fail("key", &tls.key, error.to_string()))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut server = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| fail("certificate", &tls.certificate, error.to_string()))?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| fail("certificate", &tls.certificate, error.to_string()))?;
    server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(server)))
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::oneshot;

    use super::*;

    async fn ask(stream: &mut TcpStream) {
        stream.write_all(b"GET / HTTP/1.1\r\nhost: gateway\r\n\r\n").await.unwrap();
    }

    async fn hear(stream: &mut TcpStream) {
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            answer.push(stream.read_u8().await.unwrap());
        }
        assert!(answer.starts_with(b"HTTP/1.1 200"));
    }

    #[tokio::test]
    async fn a_connection_beyond_the_limit_waits_until_another_one_ends() {
        let config = config::Gateway::default();
        let limits = ConnectionLimits { max_connections: 1, ..ConnectionLimits::of(&config) };
        let server = Server::bind(SocketAddr::from(([127, 0, 0, 1], 0)), None, limits).await.unwrap();
        let address = server.address().unwrap();
        let peers = Arc::new(Mutex::new(Vec::new()));
        let seen = peers.clone();
        let front = Front::new(tower::service_fn(move |request: http::Request<Body>| {
            seen.lock().unwrap().push(request.extensions().get::<Peer>().unwrap().0);
            async { Ok(http::Response::new(Body::empty())) }
        }));
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = tokio::spawn(server.run(front, async { drop(stopped.await) }));

        let mut first = TcpStream::connect(address).await.unwrap();
        ask(&mut first).await;
        hear(&mut first).await;
        let mut second = TcpStream::connect(address).await.unwrap();
        ask(&mut second).await;
        for _ in 0..20 {
            ask(&mut first).await;
            hear(&mut first).await;
        }
        let one = first.local_addr().unwrap();
        drop(first);
        hear(&mut second).await;
        let peers = peers.lock().unwrap().clone();
        assert_eq!(peers.len(), 22);
        assert!(peers.iter().take(21).all(|peer| *peer == one), "the second was served beside the first");
        drop((second, stop));
        serving.await.unwrap();
    }
}
