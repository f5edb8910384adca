//! Requests that no SDK would send: signed by hand, with every piece open to tampering, over a bare socket.
//!
//! The signature is computed here, from S3's documentation, and not by the code under test.

use std::time::{Duration, SystemTime};

use aws_lc_rs::{digest, hmac};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::gateway::{Gateway, PATIENCE};

pub const UNSIGNED: &str = "UNSIGNED-PAYLOAD";
pub const EMPTY_SHA256: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// A request in the making. What is changed before [`Raw::sign`] is signed, what is changed after is not.
#[derive(Clone)]
pub struct Raw {
    pub method: String,
    /// Path and query as they are sent, in S3's encoding.
    pub target: String,
    /// In the order of sending; `host` is the first.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub signing: Signing,
}

/// Who signs, where and when.
#[derive(Clone)]
pub struct Signing {
    pub access_key_id: String,
    pub secret: String,
    pub region: String,
    pub time: SystemTime,
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Raw {
    pub fn new(gateway: &Gateway, method: &str, target: &str) -> Raw {
        let host = gateway.endpoint.strip_prefix("http://").unwrap();
        let signing = Signing {
            access_key_id: gateway.access_key_id.clone(),
            secret: gateway.secret.clone(),
            region: "us-east-1".to_owned(),
            time: SystemTime::now(),
        };
        Raw {
            method: method.to_owned(),
            target: target.to_owned(),
            headers: vec![("host".to_owned(), host.to_owned())],
            body: Vec::new(),
            signing,
        }
    }

    pub fn header(mut self, name: &str, value: &str) -> Raw {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// A body, with its length; its hash is signed when [`Raw::sign`] is called with nothing else.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Raw {
        self.body = body.into();
        self.headers.push(("content-length".to_owned(), self.body.len().to_string()));
        self
    }

    pub fn at(mut self, time: SystemTime) -> Raw {
        self.signing.time = time;
        self
    }

    /// Signs all headers there are, and the hash of the body.
    pub fn sign(self) -> Raw {
        let hash = hex::encode(sha256(&self.body));
        self.sign_with(&hash)
    }

    /// Signs all headers there are, with this `x-amz-content-sha256`.
    pub fn sign_with(mut self, payload: &str) -> Raw {
        let timestamp = self.signing.timestamp();
        self.headers.push(("x-amz-date".to_owned(), timestamp));
        self.headers.push(("x-amz-content-sha256".to_owned(), payload.to_owned()));
        let (names, signature) = self.signature(payload);
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={}/{}, SignedHeaders={names}, Signature={}",
            self.signing.access_key_id,
            self.signing.scope(),
            hex::encode(signature)
        );
        self.headers.push(("authorization".to_owned(), authorization));
        self
    }

    /// Moves the signature into the query. Headers that are there are signed too.
    pub fn presign(self, seconds: u64) -> Raw {
        self.presign_for(&seconds.to_string())
    }

    /// [`Raw::presign`], for a time that need not be one.
    pub fn presign_for(mut self, seconds: &str) -> Raw {
        let separator = if self.target.contains('?') { '&' } else { '?' };
        let mut names: Vec<String> = self.headers.iter().map(|(name, _)| name.to_lowercase()).collect();
        names.sort();
        self.target.push_str(&format!(
            "{separator}X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={}&X-Amz-Date={}&X-Amz-Expires={seconds}\
             &X-Amz-SignedHeaders={}",
            encode(&format!("{}/{}", self.signing.access_key_id, self.signing.scope())),
            self.signing.timestamp(),
            encode(&names.join(";")),
        ));
        let (_, signature) = self.signature(UNSIGNED);
        self.target.push_str(&format!("&X-Amz-Signature={}", hex::encode(signature)));
        self
    }

    /// Frames the body in chunks with a signature each, as `STREAMING-AWS4-HMAC-SHA256-PAYLOAD` does; with `trailer`,
    /// as `-TRAILER` does. `spoil` may change a chunk after it was signed.
    pub fn sign_chunks(
        mut self,
        chunks: &[&[u8]],
        trailer: Option<(&str, &str)>,
        spoil: impl Fn(&mut Vec<u8>),
    ) -> Raw {
        let length: usize = chunks.iter().map(|chunk| chunk.len()).sum();
        let mut framed = 0;
        for chunk in chunks.iter().chain([&&b""[..]]) {
            framed += format!("{:x};chunk-signature=", chunk.len()).len() + 64 + 2;
            framed += if chunk.is_empty() { 0 } else { chunk.len() + 2 };
        }
        framed += 2;
        if let Some((name, value)) = trailer {
            framed += name.len() + value.len() + 3 + "x-amz-trailer-signature:".len() + 64 + 2;
            self = self.header("x-amz-trailer", name);
        }
        self = self
            .header("content-encoding", "aws-chunked")
            .header("x-amz-decoded-content-length", &length.to_string())
            .header("content-length", &framed.to_string());
        let form = match trailer {
            Some(_) => "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
            None => "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
        };
        self = self.sign_with(form);
        let authorization = &self.headers.last().unwrap().1;
        let mut previous = authorization.rsplit_once('=').unwrap().1.to_owned();
        let mut body = Vec::new();
        for chunk in chunks.iter().chain([&&b""[..]]) {
            previous = self.signing.chain("PAYLOAD", &previous, &[EMPTY_SHA256, &hex::encode(sha256(chunk))]);
            body.extend(format!("{:x};chunk-signature={previous}\r\n", chunk.len()).bytes());
            if !chunk.is_empty() {
                body.extend_from_slice(chunk);
                body.extend(b"\r\n");
            }
        }
        if let Some((name, value)) = trailer {
            let hash = hex::encode(sha256(format!("{name}:{value}\n").as_bytes()));
            let signature = self.signing.chain("TRAILER", &previous, &[&hash]);
            body.extend(format!("{name}:{value}\r\nx-amz-trailer-signature:{signature}\r\n").bytes());
        }
        body.extend(b"\r\n");
        assert_eq!(body.len(), framed);
        spoil(&mut body);
        self.body = body;
        self
    }

    /// Frames the body in one chunk without a signature, and a trailer: `STREAMING-UNSIGNED-PAYLOAD-TRAILER`.
    pub fn trail(mut self, data: &[u8], name: &str, value: &str) -> Raw {
        let mut body = format!("{:x}\r\n", data.len()).into_bytes();
        if !data.is_empty() {
            body.extend_from_slice(data);
            body.extend(b"\r\n0\r\n");
        }
        body.extend(format!("{name}:{value}\r\n\r\n").bytes());
        self = self
            .header("content-encoding", "aws-chunked")
            .header("x-amz-trailer", name)
            .header("x-amz-decoded-content-length", &data.len().to_string());
        self.body(body).sign_with("STREAMING-UNSIGNED-PAYLOAD-TRAILER")
    }

    /// The request's head, as bytes.
    pub fn head(&self) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.target);
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("connection: close\r\n\r\n");
        head.into_bytes()
    }

    pub async fn send(&self) -> Answer {
        let address = self.headers[0].1.clone();
        exchange(&address, &self.head(), &self.body).await.unwrap()
    }

    /// As the simplest clients do: all of the request is written before anything is read.
    pub async fn send_before_reading(&self) -> std::io::Result<Answer> {
        let address = self.headers[0].1.clone();
        let mut socket = TcpStream::connect(address).await?;
        socket.write_all(&[self.head(), self.body.clone()].concat()).await?;
        let mut bytes = Vec::new();
        tokio::time::timeout(PATIENCE, socket.read_to_end(&mut bytes))
            .await
            .map_err(std::io::Error::other)??;
        Answer::parse(&bytes).ok_or_else(|| std::io::Error::other("the answer is not HTTP"))
    }

    /// The names of the headers in the order of signing, and the signature over them.
    pub fn signature(&self, payload: &str) -> (String, [u8; 32]) {
        let (path, query) = self.target.split_once('?').unwrap_or((&self.target, ""));
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        let mut pairs: Vec<(&str, &str)> =
            pairs.map(|pair| pair.split_once('=').unwrap_or((pair, ""))).collect();
        pairs.sort();
        let pairs: Vec<String> = pairs.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
        let mut headers: Vec<(String, String)> =
            self.headers.iter().map(|(name, value)| (name.to_lowercase(), value.trim().to_owned())).collect();
        headers.sort();
        let names: Vec<&str> = headers.iter().map(|(name, _)| name.as_str()).collect();
        let names = names.join(";");
        let lines: String = headers.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
        let request = format!("{}\n{path}\n{}\n{lines}\n{names}\n{payload}", self.method, pairs.join("&"));
        let text = format!(
            "AWS4-HMAC-SHA256\n{}\n{}\n{}",
            self.signing.timestamp(),
            self.signing.scope(),
            hex::encode(sha256(request.as_bytes()))
        );
        (names, self.signing.hmac(&text))
    }
}

impl Signing {
    pub fn timestamp(&self) -> String {
        jiff::Timestamp::try_from(self.time).unwrap().strftime("%Y%m%dT%H%M%SZ").to_string()
    }

    pub fn scope(&self) -> String {
        format!("{}/{}/s3/aws4_request", &self.timestamp()[..8], self.region)
    }

    fn chain(&self, what: &str, previous: &str, hashes: &[&str]) -> String {
        let (timestamp, scope) = (self.timestamp(), self.scope());
        let text =
            format!("AWS4-HMAC-SHA256-{what}\n{timestamp}\n{scope}\n{previous}\n{}", hashes.join("\n"));
        hex::encode(self.hmac(&text))
    }

    /// The signature of a text, as `AWS4-HMAC-SHA256` has it.
    pub fn hmac(&self, text: &str) -> [u8; 32] {
        let mut key = format!("AWS4{}", self.secret).into_bytes();
        for step in [&self.timestamp()[..8], &self.region, "s3", "aws4_request", text] {
            key = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), step.as_bytes()).as_ref().to_vec();
        }
        key.try_into().unwrap()
    }
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The text of the first element of this name.
    pub fn element(&self, name: &str) -> String {
        let text = self.text();
        let rest = text.split_once(&format!("<{name}>")).unwrap_or_else(|| panic!("no {name} in {self:?}")).1;
        rest.split_once("</").unwrap().0.to_owned()
    }

    /// Status and code of an error.
    #[track_caller]
    pub fn refused(&self, status: u16, code: &str) {
        assert_eq!((self.status, self.element("Code").as_str()), (status, code), "{}", self.text());
    }
}

/// Sends a request and reads the answer to the end of the connection.
pub async fn exchange(address: &str, head: &[u8], body: &[u8]) -> std::io::Result<Answer> {
    let socket = TcpStream::connect(address).await?;
    let (mut reading, mut writing) = socket.into_split();
    let message = [head, body].concat();
    // An answer may come before the body has been taken, and what comes after it need not be.
    let sending = tokio::spawn(async move {
        let _ = writing.write_all(&message).await;
        writing
    });
    let mut bytes = Vec::new();
    let read = tokio::time::timeout(PATIENCE, reading.read_to_end(&mut bytes)).await;
    sending.abort();
    read.map_err(|_| std::io::Error::other("no answer in time"))??;
    Answer::parse(&bytes).ok_or_else(|| std::io::Error::other("the answer is not HTTP"))
}

impl Answer {
    /// Of a response that is complete; informational ones before it are passed over.
    pub fn parse(bytes: &[u8]) -> Option<Answer> {
        let end = memchr::memmem::find(bytes, b"\r\n\r\n")?;
        let head = std::str::from_utf8(&bytes[..end]).ok()?;
        let mut lines = head.split("\r\n");
        let status: u16 = lines.next()?.split(' ').nth(1)?.parse().ok()?;
        let rest = &bytes[end + 4..];
        if status < 200 {
            return Answer::parse(rest);
        }
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()))
            .collect();
        let mut answer = Answer { status, headers, body: rest.to_vec() };
        if answer.header("transfer-encoding") == Some("chunked") {
            answer.body = unchunk(rest)?;
        }
        Some(answer)
    }
}

fn unchunk(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = memchr::memmem::find(rest, b"\r\n")?;
        let length = usize::from_str_radix(std::str::from_utf8(&rest[..line]).ok()?, 16).ok()?;
        rest = &rest[line + 2..];
        if length == 0 {
            return Some(body);
        }
        body.extend_from_slice(rest.get(..length)?);
        rest = rest.get(length + 2..)?;
    }
}

/// Percent-encodes all but what S3 leaves bare.
pub fn encode(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            other => format!("%{other:02X}"),
        })
        .collect()
}

pub fn sha256(data: &[u8]) -> [u8; 32] {
    digest::digest(&digest::SHA256, data).as_ref().try_into().unwrap()
}

/// Earlier than now.
pub fn ago(seconds: u64) -> SystemTime {
    SystemTime::now() - Duration::from_secs(seconds)
}
