//! A real S3 server behind a location, that can be made to fail at the moments which hurt.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::TokioIo;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::task::{JoinHandle, JoinSet};

const ACCESS_KEY_ID: &str = "AKIDLOCATION";
const SECRET_ACCESS_KEY: &str = "a-secret-of-the-location";

/// What happens to requests that change an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    None,
    /// Answered 500, and nothing done.
    Refuse,
    /// Neither read nor answered.
    Stall,
    /// Done, and answered 500 all the same.
    DoneButError,
    /// Done, and the connection breaks before the answer.
    DoneButBroken,
    /// Done, and no answer ever comes.
    DoneButSilent,
}

/// The server. Ends when it is dropped.
pub struct FaultyServer {
    address: SocketAddr,
    service: S3Service,
    fault: Arc<Mutex<Fault>>,
    accepting: Option<JoinHandle<()>>,
    runtime: Runtime,
    root: TempDir,
}

impl FaultyServer {
    pub fn start() -> FaultyServer {
        let root = tempfile::tempdir().unwrap();
        let mut builder = S3ServiceBuilder::new(s3s_fs::FileSystem::new(root.path()).unwrap());
        builder.set_auth(SimpleAuth::from_single(ACCESS_KEY_ID, SECRET_ACCESS_KEY));
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let mut server = FaultyServer {
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            service: builder.build(),
            fault: Arc::new(Mutex::new(Fault::None)),
            accepting: None,
            runtime,
            root,
        };
        server.revive();
        server
    }

    pub fn set(&self, fault: Fault) {
        *self.fault.lock().unwrap() = fault;
    }

    /// Its port is closed, and so are its connections.
    pub fn die(&mut self) {
        if let Some(accepting) = self.accepting.take() {
            accepting.abort();
            // The listener is closed when the task has been dropped.
            let _ = self.runtime.block_on(accepting);
        }
    }

    /// It listens again, where it did before.
    pub fn revive(&mut self) {
        let listener = self.runtime.block_on(TcpListener::bind(self.address)).unwrap();
        self.address = listener.local_addr().unwrap();
        let accept = accept_all(listener, self.service.clone(), Arc::clone(&self.fault));
        self.accepting = Some(self.runtime.spawn(accept));
    }

    /// Whether the server keeps an object at `bucket/key`.
    pub fn holds(&self, path: &str) -> bool {
        self.root.path().join(path).exists()
    }

    /// Its part of a gateway's configuration.
    pub fn location(&self, id: &str, country: &str, region: &str) -> String {
        format!(
            "\n[[location]]\nid = \"{id}\"\ncountry = \"{country}\"\nregion = \"{region}\"\nprovider = \"tests\"\n\
             type = \"s3\"\nendpoint = \"http://{}\"\naccess-key-id = \"{ACCESS_KEY_ID}\"\n\
             secret-access-key = \"{SECRET_ACCESS_KEY}\"\n",
            self.address
        )
    }
}

async fn accept_all(listener: TcpListener, service: S3Service, fault: Arc<Mutex<Fault>>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let (service, fault) = (service.clone(), Arc::clone(&fault));
        connections.spawn(async move {
            let serve = service_fn(move |request| answer(service.clone(), Arc::clone(&fault), request));
            // A broken connection is what some faults are about.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), serve).await;
        });
    }
}

async fn answer(
    service: S3Service,
    fault: Arc<Mutex<Fault>>,
    request: Request<Incoming>,
) -> Result<Response<s3s::Body>, io::Error> {
    // Buckets have one segment in their path, objects more.
    let of_object = request.uri().path().trim_matches('/').contains('/');
    let changes = of_object && !matches!(*request.method(), Method::GET | Method::HEAD);
    let fault = if changes { *fault.lock().unwrap() } else { Fault::None };
    let error = || {
        let mut response =
            Response::new(s3s::Body::from("<Error><Code>InternalError</Code></Error>".to_owned()));
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        response
    };
    if fault == Fault::Refuse {
        return Ok(error());
    }
    if fault == Fault::Stall {
        return std::future::pending().await;
    }
    let done = Service::call(&service, request).await.map_err(|_| io::Error::other("the server failed"))?;
    match fault {
        Fault::None | Fault::Refuse | Fault::Stall => Ok(done),
        Fault::DoneButError => Ok(error()),
        Fault::DoneButBroken => Err(io::Error::other("broken on purpose")),
        Fault::DoneButSilent => std::future::pending().await,
    }
}
