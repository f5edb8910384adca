//! The load: connections that each repeat one request, written beforehand, and read the answer to its end.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::targets::Target;
use crate::{Error, Method};

/// No single answer may take longer.
const PATIENCE: Duration = Duration::from_secs(30);

pub struct Load<'a> {
    pub target: &'a Target,
    pub method: Method,
    pub size: usize,
    pub connections: usize,
}

/// One run of a load.
#[derive(Debug, Clone)]
pub struct Measured {
    pub requests: usize,
    pub seconds: f64,
    /// What the proxy's processes used meanwhile; `None` when there is no proxy.
    pub proxy_seconds: Option<f64>,
}

impl Load<'_> {
    /// Sends so many requests in all.
    pub async fn run(&self, requests: usize) -> Result<Measured, Error> {
        let left = Arc::new(AtomicUsize::new(requests));
        let body: Arc<[u8]> = match self.method {
            Method::Get => Arc::new([]),
            Method::Put | Method::PutTagged => prose(self.size).into(),
        };
        let expected = match self.method {
            Method::Get => Some(self.size),
            Method::Put | Method::PutTagged => None,
        };
        let mut connections = tokio::task::JoinSet::new();
        let begun = Instant::now();
        for number in 0..self.connections {
            let path = format!("/{}/{}/{number}", crate::targets::BUCKET, self.size);
            let head =
                self.target.request_head(self.method.verb(), &path, body.len(), self.method.headers())?;
            let (address, left, body) = (self.target.address, Arc::clone(&left), Arc::clone(&body));
            connections.spawn(async move {
                let mut connection = Connection::open(address).await?;
                while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1)).is_ok() {
                    let answer = connection.exchange(head.as_bytes(), &body, expected);
                    tokio::time::timeout(PATIENCE, answer).await.map_err(|_| "no answer in time")??;
                }
                Ok::<(), Error>(())
            });
        }
        while let Some(outcome) = connections.join_next().await {
            outcome??;
        }
        Ok(Measured { requests, seconds: begun.elapsed().as_secs_f64(), proxy_seconds: None })
    }
}

/// One keep-alive connection that knows just enough HTTP/1.1, so that the load costs little itself.
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    pub async fn open(address: std::net::SocketAddr) -> Result<Self, Error> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Connection { stream, buffer: vec![0; 256 * 1024] })
    }

    /// Sends one request and reads its whole answer, which must be a success.
    pub async fn exchange(&mut self, head: &[u8], body: &[u8], expected: Option<usize>) -> Result<(), Error> {
        if body.len() <= 16 * 1024 {
            self.stream.write_all(&[head, body].concat()).await?;
        } else {
            self.stream.write_all(head).await?;
            self.stream.write_all(body).await?;
        }
        let (head_length, mut filled) = self.read_head().await?;
        let head = std::str::from_utf8(&self.buffer[..head_length])?;
        if !head.starts_with("HTTP/1.1 2") {
            let shown = String::from_utf8_lossy(&self.buffer[..filled]).into_owned();
            return Err(format!("not a success: {shown}").into());
        }
        let length =
            header(head, "content-length").ok_or("an answer without content-length")?.parse::<usize>()?;
        if expected.is_some_and(|expected| expected != length) {
            return Err(format!("{length} bytes instead of {expected:?}").into());
        }
        filled -= head_length;
        while filled < length {
            match self.stream.read(&mut self.buffer).await? {
                0 => return Err("the connection closed within an answer".into()),
                n => filled += n,
            }
        }
        if filled > length { Err("more bytes than announced".into()) } else { Ok(()) }
    }

    /// The length of the head, and how many bytes are in the buffer.
    async fn read_head(&mut self) -> Result<(usize, usize), Error> {
        let mut filled = 0;
        loop {
            match self.stream.read(&mut self.buffer[filled..]).await? {
                0 => return Err("the connection closed before an answer".into()),
                n => filled += n,
            }
            let end = memchr::memmem::find(&self.buffer[..filled], b"\r\n\r\n");
            if let Some(end) = end {
                return Ok((end + 4, filled));
            }
            if filled == self.buffer.len() {
                return Err("an answer whose head never ends".into());
            }
        }
    }
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(found, _)| found.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim())
}

/// Plain text without anything that a detector looks for, so that every byte is scanned and none is found.
fn prose(length: usize) -> Vec<u8> {
    const WORDS: [&str; 12] =
        ["river", "stone", "of", "the", "quiet", "evening", "and", "a", "lantern", "under", "old", "trees"];
    let mut text = Vec::with_capacity(length + 16);
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    while text.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        text.extend_from_slice(WORDS[(state % 12) as usize].as_bytes());
        text.push(if state.is_multiple_of(17) { b'\n' } else { b' ' });
    }
    text.truncate(length);
    text
}
