//! The real binary as a child process on ports of its own, and a small S3 client that can stop anywhere.
//!
//! The client knows no SDK's repairs: one connection a request, no retries, so that a test sees each answer.
#![allow(dead_code)] // Each test binary uses its own part of this module.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings,
    UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;

const ACCESS_KEY_ID: &str = "AKIDTEST";
const SECRET_ACCESS_KEY: &str = "a-secret-for-tests-only";
/// Far beyond what any answer takes: a test that waits this long has found a hang.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// Everything of a configuration but its locations. Relative paths are in the configuration's folder.
pub const BASICS: &str = r#"
data = "data"

[node]
name = "gw-1"
domain = "tests.example"
country = "DE"

[geo]
on-site = ["127.0.0.0/8"]

[[app]]
id = "tests"
access-key-id = "AKIDTEST"
secret-access-key = "a-secret-for-tests-only"
"#;

/// A folder on this machine that stands for a disk in that country: `locations/<id>`.
pub fn embedded(id: &str, country: &str, region: &str) -> String {
    format!(
        "\n[[location]]\nid = \"{id}\"\ncountry = \"{country}\"\nregion = \"{region}\"\nprovider = \"tests\"\n\
         type = \"embedded\"\npath = \"locations/{id}\"\n"
    )
}

/// One gateway and the folder that it lives in.
pub struct Gateway {
    pub folder: PathBuf,
    pub s3: SocketAddr,
    pub admin: SocketAddr,
    child: Child,
}

impl Gateway {
    /// Starts over `folder`, where a configuration was written to `domicile.toml`.
    pub fn start(folder: &Path) -> Gateway {
        let mut command = Command::new(env!("CARGO_BIN_EXE_domicile"));
        command.args(serve_arguments(folder));
        Self::spawn(folder, command)
    }

    /// Starts with no file allowed to grow beyond so many bytes: to the process it is a disk that is full.
    pub fn start_with_file_limit(folder: &Path, bytes: u64) -> Gateway {
        let mut command = Command::new("sh");
        // A shell counts in blocks of 512 bytes. The signal is ignored so that a write fails instead.
        let script = format!("trap '' XFSZ; ulimit -f {}; exec \"$0\" \"$@\"", bytes / 512);
        command.args(["-c", &script, env!("CARGO_BIN_EXE_domicile")]).args(serve_arguments(folder));
        Self::spawn(folder, command)
    }

    fn spawn(folder: &Path, mut command: Command) -> Gateway {
        let trace = File::options().create(true).append(true).open(trace_of(folder)).unwrap();
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(trace).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut address_after = |phrase: &str| {
            for line in lines.by_ref().map_while(Result::ok) {
                if let Some((_, rest)) = line.split_once(phrase) {
                    return rest.split(['/', ',']).next().unwrap().parse().unwrap();
                }
            }
            let _ = child.wait();
            panic!("the gateway did not start: {}", std::fs::read_to_string(trace_of(folder)).unwrap());
        };
        let s3 = address_after("serves S3 at http://");
        let admin = address_after("metrics at http://");
        // Its output is read to the end: nobody should block on us.
        std::thread::spawn(move || lines.for_each(drop));
        Gateway { folder: folder.to_owned(), s3, admin, child }
    }

    pub fn client(&self) -> Client {
        Client { address: self.s3 }
    }

    /// `kill -9`.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to stop, and waits until it has.
    pub fn stop(mut self) -> ExitStatus {
        let asked = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap();
        assert!(asked.success());
        poll("the gateway to stop", || self.child.try_wait().unwrap())
    }

    /// The value of a metric without labels.
    pub fn metric(&self, name: &str) -> i64 {
        let text = self.admin_page("/metrics");
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no metric {name}")).parse().unwrap()
    }

    pub fn admin_page(&self, path: &str) -> String {
        let mut stream = connect(self.admin).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n", self.admin).unwrap();
        String::from_utf8(read_answer(&mut stream, "GET").unwrap().body).unwrap()
    }

    /// Waits until no write is open and no displaced copy is left.
    pub fn settled(&self) {
        poll("open writes to be settled and residue to be removed", || {
            let left = self.metric("domicile_open_intents") + self.metric("domicile_residues");
            (left == 0).then_some(())
        });
    }

    /// A value in KiB from the process's status, for example `VmHWM`.
    pub fn memory_kib(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// What `domicile where` says of an object, as JSON.
    pub fn locate(&self, bucket: &str, key: &str) -> serde_json::Value {
        let output = domicile(&self.folder, &["where", &format!("s3://{bucket}/{key}"), "--format", "json"]);
        assert!(output.status.success(), "{key}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a command of the binary over a folder's configuration.
pub fn domicile(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_domicile"));
    command.args(arguments).arg("--config").arg(folder.join("domicile.toml"));
    command.output().unwrap()
}

/// Walks the whole tree of every published log; fails the test on any flaw.
pub fn verify_log(folder: &Path) {
    let output = Command::new(env!("CARGO_BIN_EXE_domicile"))
        .args(["audit", "verify"])
        .arg(folder.join("data/log"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

/// Where the trace of all processes over a folder is kept.
pub fn trace_of(folder: &Path) -> PathBuf {
    folder.join("trace.txt")
}

fn serve_arguments(folder: &Path) -> Vec<String> {
    let config = folder.join("domicile.toml").display().to_string();
    let fixed = ["serve", "--config", &config, "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
    fixed.map(str::to_owned).to_vec()
}

/// Asks again and again, with a bound.
pub fn poll<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(begun.elapsed() < PATIENCE, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Sends signed requests, each over a connection of its own.
#[derive(Debug, Clone, Copy)]
pub struct Client {
    address: SocketAddr,
}

/// One whole answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The text inside the first XML element of that name.
    pub fn element(&self, name: &str) -> Option<String> {
        let text = String::from_utf8_lossy(&self.body);
        let (_, rest) = text.split_once(&format!("<{name}>"))?;
        Some(rest.split_once(&format!("</{name}>"))?.0.to_owned())
    }

    /// The text inside all XML elements of that name.
    pub fn elements(&self, name: &str) -> Vec<String> {
        let text = String::from_utf8_lossy(&self.body).into_owned();
        let (open, close) = (format!("<{name}>"), format!("</{name}>"));
        text.split(&open).skip(1).filter_map(|rest| Some(rest.split_once(&close)?.0.to_owned())).collect()
    }
}

impl Client {
    pub fn send(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<Answer> {
        let mut stream = self.begin(method, target, headers, body.len() as u64)?;
        // A refusal may come before the body has been taken; then the answer counts and not the broken pipe.
        let sent = stream.write_all(body);
        read_answer(&mut stream, method).map_err(|error| sent.err().unwrap_or(error))
    }

    pub fn get(&self, target: &str) -> Answer {
        self.send("GET", target, &[], b"").unwrap()
    }

    /// Creates a bucket whose home is the location of that region.
    pub fn create_bucket(&self, bucket: &str, region: &str) {
        let document = format!(
            "<CreateBucketConfiguration><LocationConstraint>{region}</LocationConstraint></CreateBucketConfiguration>"
        );
        let answer = self.send("PUT", &format!("/{bucket}"), &[], document.as_bytes()).unwrap();
        assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    }

    /// Creates a bucket whose home is the location of that region, without declaring whom its objects are about.
    pub fn create_plain_bucket(&self, bucket: &str, region: &str) {
        let mut stream = self.begin_in(region, "PUT", &format!("/{bucket}"), &[], 0).unwrap();
        assert_eq!(read_answer(&mut stream, "PUT").unwrap().status, 200);
    }

    /// Sends the head of a request and leaves the body to the caller.
    pub fn begin(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        length: u64,
    ) -> io::Result<TcpStream> {
        self.begin_in("us-east-1", method, target, headers, length)
    }

    fn begin_in(
        &self,
        region: &str,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        length: u64,
    ) -> io::Result<TcpStream> {
        let host = self.address.to_string();
        let mut head = format!(
            "{method} {target} HTTP/1.1\r\nhost: {host}\r\ncontent-length: {length}\r\nconnection: close\r\n"
        );
        let signed = signature(region, method, &host, target, headers);
        let own = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        for (name, value) in own.chain(signed) {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        let mut stream = connect(self.address)?;
        stream.write_all(head.as_bytes())?;
        Ok(stream)
    }
}

fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// The head of an answer; the stream stands at its body.
pub struct Head {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    reader: BufReader<TcpStream>,
    left: Option<u64>,
}

/// Reads the head of an answer that is then streamed.
pub fn read_head(stream: &mut TcpStream, method: &str) -> io::Result<Head> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let bad = || io::Error::other("not an HTTP answer");
    let status: u16 = line.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or_else(bad)?;
    let mut headers = Vec::new();
    loop {
        line.clear();
        if reader.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let left = match length {
        _ if method == "HEAD" || status == 204 || status == 304 => Some(0),
        Some((_, value)) => Some(value.parse().map_err(|_| bad())?),
        None => None,
    };
    Ok(Head { status, headers, reader, left })
}

impl Head {
    /// The next bytes of the body; none at its end. An answer without a length would be chunked, which only documents are.
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.left.ok_or_else(|| io::Error::other("the answer names no length"))?;
        if left == 0 {
            return Ok(0);
        }
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let read = self.reader.read(&mut buffer[..most])?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left = Some(left - read as u64);
        Ok(read)
    }
}

/// Reads a whole answer: by its length, or chunk by chunk.
pub fn read_answer(stream: &mut TcpStream, method: &str) -> io::Result<Answer> {
    let Head { status, headers, mut reader, left } = read_head(stream, method)?;
    let mut body = Vec::new();
    match left {
        Some(length) => {
            reader.take(length).read_to_end(&mut body)?;
            if (body.len() as u64) < length {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        None => loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let size = usize::from_str_radix(line.trim(), 16).map_err(|_| io::ErrorKind::UnexpectedEof)?;
            let mut chunk = vec![0; size + 2];
            reader.read_exact(&mut chunk)?;
            if size == 0 {
                break;
            }
            body.extend_from_slice(&chunk[..size]);
        },
    }
    Ok(Answer { status, headers, body })
}

/// The headers that sign a request whose payload is left to the transport.
fn signature(
    region: &str,
    method: &str,
    host: &str,
    target: &str,
    headers: &[(&str, &str)],
) -> Vec<(String, String)> {
    let mut settings = SigningSettings::default();
    settings.percent_encoding_mode = PercentEncodingMode::Single;
    settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
    settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
    let identity = Credentials::new(ACCESS_KEY_ID, SECRET_ACCESS_KEY, None, None, "tests").into();
    let parameters = v4::SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name("s3")
        .time(SystemTime::now())
        .settings(settings)
        .build()
        .unwrap()
        .into();
    let url = format!("http://{host}{target}");
    let all = std::iter::once(("host", host)).chain(headers.iter().copied());
    let request = SignableRequest::new(method, &url, all, SignableBody::UnsignedPayload).unwrap();
    let (instructions, _) = sign(request, &parameters).unwrap().into_parts();
    instructions.headers().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// A small generator of random numbers that repeats itself for the same seed.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        (self.next() >> 11) % end
    }

    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len() as u64) as usize]
    }

    /// Lower-case words, in which no detector finds anything.
    pub fn words(&mut self, bytes: usize) -> String {
        let mut text = String::with_capacity(bytes + 8);
        while text.len() < bytes {
            let word = self.next();
            let letters = 2 + (word & 7) as usize;
            let letter = |n: usize| char::from(b'a' + ((word >> (8 + 5 * n)) % 26) as u8);
            text.extend((0..letters).map(letter));
            text.push(if text.len() % 71 < 6 { '\n' } else { ' ' });
        }
        text.truncate(bytes);
        text
    }
}
