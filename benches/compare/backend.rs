//! A backend that costs nearly nothing: objects whose length stands in their key, and uploads that are swallowed.
//!
//! It looks enough like S3 for a gateway: an ETag that stays, lengths, and dates. It checks no signature.

use std::convert::Infallible;
use std::io::Write;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use crate::Error;

/// Runs until it is killed; prints its port as the first line.
pub fn run() -> Result<(), Error> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("{}", listener.local_addr()?.port());
        std::io::stdout().flush()?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer)));
        }
    })
}

async fn answer(request: Request<Incoming>) -> Result<Response<Zeros>, Infallible> {
    let (parts, mut body) = request.into_parts();
    while let Some(Ok(_)) = http_body_util::BodyExt::frame(&mut body).await {}
    let object = length_in_key(parts.uri.path());
    let (status, length) = match (parts.method, object) {
        (Method::GET | Method::HEAD, Some(length)) => (StatusCode::OK, length),
        (Method::GET | Method::HEAD, None) => (StatusCode::NOT_FOUND, 0),
        (Method::DELETE, _) => (StatusCode::NO_CONTENT, 0),
        _ => (StatusCode::OK, 0),
    };
    let response = Response::builder()
        .status(status)
        .header("etag", "\"0123456789abcdef0123456789abcdef\"")
        .header("last-modified", "Thu, 01 Jan 2026 00:00:00 GMT")
        .body(Zeros(length));
    Ok(response.unwrap_or_else(|_| Response::new(Zeros(0))))
}

/// `/bucket/65536/anything` is an object of 65536 bytes.
fn length_in_key(path: &str) -> Option<u64> {
    path.split('/').nth(2)?.parse().ok()
}

/// So many zero bytes, from one static buffer.
struct Zeros(u64);

const CHUNK: &[u8] = &[0; 256 * 1024];

impl Body for Zeros {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let length = self.0.min(CHUNK.len() as u64);
        if length == 0 {
            return Poll::Ready(None);
        }
        self.0 -= length;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(CHUNK).slice(..length as usize)))))
    }

    fn is_end_stream(&self) -> bool {
        self.0 == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0)
    }
}
