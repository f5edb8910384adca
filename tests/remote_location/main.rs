//! A remote location through its service: against real S3 servers that check signatures, and against bad ones.

mod bodies;
mod failing;
mod objects;
mod opening;
mod signatures;
#[path = "../support/mod.rs"]
mod support;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use domicile::body::Body;
use domicile::config::{AddressingStyle, RemoteS3, Secret};
use domicile::locations::LocationError;
use domicile::locations::remote::{RemoteLocation, Timeouts};
use http::{Method, Request, Response, StatusCode};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tower::ServiceExt;

use support::S3Server;

const HASTY: Timeouts = Timeouts {
    connect: Duration::from_millis(300),
    response_head: Duration::from_millis(300),
    body_idle: Duration::from_millis(300),
    credentials: Duration::from_millis(300),
    probe: Duration::from_millis(300),
};

fn config(endpoint: &str) -> RemoteS3 {
    RemoteS3 {
        endpoint: endpoint.to_owned(),
        bucket: "{bucket}".to_owned(),
        style: AddressingStyle::Path,
        access_key_id: Some(support::ACCESS_KEY_ID.to_owned()),
        secret_access_key: Some(Secret::new(support::SECRET_ACCESS_KEY)),
        profile: None,
        ca_certificates: None,
    }
}

fn open(config: &RemoteS3, timeouts: Timeouts) -> RemoteLocation {
    RemoteLocation::open_with("cn-north".parse().unwrap(), "cn-north-1", config, timeouts).unwrap()
}

fn location(server: &S3Server) -> RemoteLocation {
    open(&config(&server.endpoint()), Timeouts::default())
}

fn hasty(address: SocketAddr) -> RemoteLocation {
    open(&config(&format!("http://{address}")), HASTY)
}

fn request(method: Method, target: &str, body: impl Into<Bytes>) -> Request<Body> {
    Request::builder().method(method).uri(target).body(Body::full(body)).unwrap()
}

async fn send(location: &RemoteLocation, request: Request<Body>) -> Result<Response<Body>, LocationError> {
    location.service().oneshot(request).await
}

/// Status, headers and the whole body of an answer.
async fn ask(location: &RemoteLocation, request: Request<Body>) -> (StatusCode, http::HeaderMap, Bytes) {
    let (parts, body) = send(location, request).await.unwrap().into_parts();
    (parts.status, parts.headers, body.collect_limited(64 << 20).await.unwrap())
}

async fn get(location: &RemoteLocation, target: &str) -> (StatusCode, Bytes) {
    let (status, _, body) = ask(location, request(Method::GET, target, "")).await;
    (status, body)
}

async fn put(location: &RemoteLocation, target: &str, body: impl Into<Bytes>) -> StatusCode {
    ask(location, request(Method::PUT, target, body)).await.0
}

fn text_between<'a>(text: &'a str, before: &str, after: &str) -> &'a str {
    text.split_once(before).unwrap().1.split_once(after).unwrap().0
}

fn upload(length: usize, body: Body) -> Request<Body> {
    Request::put("/photos/cat").header("content-length", length).body(body).unwrap()
}

/// Accepts connections and treats each in its own way.
async fn raw_server<F, Fut>(behave: F) -> (SocketAddr, tokio::task::JoinHandle<()>)
where
    F: Fn(TcpStream) -> Fut + Send + 'static,
    Fut: Future<Output = io::Result<()>> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        let mut connections = tokio::task::JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            connections.spawn(behave(stream));
        }
    });
    (address, task)
}

async fn read_head(stream: &mut TcpStream) -> io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}
