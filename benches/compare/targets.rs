//! What is measured: the backend itself, nginx before it, and Domicile before it.

use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;
use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings,
    UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;
use tempfile::TempDir;

use crate::Error;
use crate::load::Connection;
use crate::process::{Process, free_address};

pub const BUCKET: &str = "bench";
const REGION: &str = "eu-central-1";
const ACCESS_KEY_ID: &str = "AKIDBENCH";
const SECRET_ACCESS_KEY: &str = "a-secret-for-this-run-only";

/// Everything that runs. Ends when it is dropped.
pub struct Targets {
    targets: Vec<Target>,
    _backend: Process,
    _folder: TempDir,
}

/// One way to the backend.
pub struct Target {
    pub name: &'static str,
    pub address: SocketAddr,
    pub cases: Cases,
    auth: Auth,
    proxy: Option<Process>,
}

/// What a target is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cases {
    All,
    /// It treats downloads no different than another target does.
    Uploads,
}

#[derive(Clone, Copy)]
enum Auth {
    Anonymous,
    Signed,
}

impl Targets {
    pub async fn start() -> Result<Self, Error> {
        let folder = tempfile::tempdir()?;
        let mut backend = Command::new(std::env::current_exe()?);
        backend.arg("--be-the-backend");
        let (backend, port) = Process::start_with_port("the backend", &mut backend)?;
        let direct = SocketAddr::from(([127, 0, 0, 1], port));
        let mut targets = vec![Target {
            name: "(direct)",
            address: direct,
            cases: Cases::All,
            auth: Auth::Anonymous,
            proxy: None,
        }];
        for uploads in [Uploads::Streamed, Uploads::Spooled] {
            match nginx(direct, folder.path(), uploads) {
                Ok(target) => targets.push(target),
                Err(error) => eprintln!("without {}: {error}", uploads.name()),
            }
        }
        match domicile(direct, folder.path()).await {
            Ok(target) => targets.push(target),
            Err(error) => eprintln!("without domicile: {error}"),
        }
        Ok(Targets { targets, _backend: backend, _folder: folder })
    }

    pub fn all(&self) -> &[Target] {
        &self.targets
    }
}

impl Target {
    /// The head of a request, signed where that is asked for. S3 takes a signature for 15 minutes.
    pub fn request_head(
        &self,
        method: &str,
        path: &str,
        length: usize,
        headers: &[(&str, &str)],
    ) -> Result<String, Error> {
        let host = self.address.to_string();
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\ncontent-length: {length}\r\n");
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if let Auth::Signed = self.auth {
            for (name, value) in signature(method, &host, path, headers)? {
                head.push_str(&format!("{name}: {value}\r\n"));
            }
        }
        head.push_str("\r\n");
        Ok(head)
    }

    /// CPU time of the proxy so far; `None` when there is no proxy.
    pub fn cpu_seconds(&self) -> Result<Option<f64>, Error> {
        self.proxy.as_ref().map(Process::cpu_seconds).transpose()
    }
}

/// What nginx does with the body of a request.
#[derive(Clone, Copy)]
enum Uploads {
    /// Sent on as it comes, which is what a gateway does.
    Streamed,
    /// Received whole, in a file if it is long: the default of nginx.
    Spooled,
}

impl Uploads {
    fn name(self) -> &'static str {
        match self {
            Uploads::Streamed => "nginx",
            Uploads::Spooled => "nginx-spooling",
        }
    }

    fn cases(self) -> Cases {
        match self {
            Uploads::Streamed => Cases::All,
            Uploads::Spooled => Cases::Uploads,
        }
    }

    fn buffering(self) -> &'static str {
        match self {
            Uploads::Streamed => "off",
            Uploads::Spooled => "on",
        }
    }
}

/// nginx as a plain pass-through: HTTP/1.1 and kept connections on both sides, and no log.
fn nginx(backend: SocketAddr, folder: &Path, uploads: Uploads) -> Result<Target, Error> {
    let address = free_address()?;
    let root = std::fs::metadata("/proc/self")?.uid() == 0;
    let folder = folder.join(uploads.name());
    std::fs::create_dir(&folder)?;
    let user = if root { "user root;" } else { "" };
    let (place, buffering) = (folder.display(), uploads.buffering());
    let text = format!(
        "{user}
daemon off;
worker_processes 2;
pid {place}/pid;
error_log {place}/error.log;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    tcp_nodelay on;
    keepalive_requests 1000000;
    client_max_body_size 0;
    client_body_temp_path {place}/body;
    proxy_temp_path {place}/proxy;
    fastcgi_temp_path {place}/fastcgi;
    uwsgi_temp_path {place}/uwsgi;
    scgi_temp_path {place}/scgi;
    upstream backend {{ server {backend}; keepalive 64; keepalive_requests 1000000; }}
    server {{
        listen {address};
        location / {{
            proxy_pass http://backend;
            proxy_http_version 1.1;
            proxy_set_header Connection \"\";
            proxy_request_buffering {buffering};
            proxy_max_temp_file_size 0;
        }}
    }}
}}
"
    );
    let config = folder.join("nginx.conf");
    std::fs::write(&config, text)?;
    let mut command = Command::new("nginx");
    command.arg("-p").arg(&folder).arg("-e").arg(folder.join("error.log")).arg("-c").arg(&config);
    let mut process = Process::start("nginx", &mut command)?;
    process.wait_for(address)?;
    Ok(Target {
        name: uploads.name(),
        address,
        cases: uploads.cases(),
        auth: Auth::Anonymous,
        proxy: Some(process),
    })
}

/// The gateway with everything on, and the objects that GETs will ask for.
async fn domicile(backend: SocketAddr, folder: &Path) -> Result<Target, Error> {
    let address = free_address()?;
    let admin = free_address()?;
    let folder = folder.join("domicile");
    std::fs::create_dir(&folder)?;
    let text = format!(
        "data = \"data\"

[gateway]
listen = \"{address}\"

[admin]
listen = \"{admin}\"

[node]
name = \"bench\"
domain = \"bench.example\"
country = \"DE\"

[[location]]
id = \"de\"
country = \"DE\"
region = \"{REGION}\"
provider = \"bench\"
type = \"s3\"
endpoint = \"http://{backend}\"
access-key-id = \"AKIDBACKEND\"
secret-access-key = \"not-checked\"

[[app]]
id = \"bench\"
access-key-id = \"{ACCESS_KEY_ID}\"
secret-access-key = \"{SECRET_ACCESS_KEY}\"

[geo.networks]
\"127.0.0.0/8\" = \"DE\"
"
    );
    let config = folder.join("domicile.toml");
    std::fs::write(&config, text)?;
    domicile::config::Config::load(&config)?;
    let mut command = Command::new(env!("CARGO_BIN_EXE_domicile"));
    // At its usual log level; nobody reads along, but a file takes it.
    command.arg("serve").arg("--config").arg(&config).env_remove("DOMICILE_LOG");
    command.stderr(std::fs::File::create(folder.join("trace"))?);
    let mut process = Process::start("domicile", &mut command)?;
    process.wait_for(address)?;
    let target =
        Target { name: "domicile", address, cases: Cases::All, auth: Auth::Signed, proxy: Some(process) };

    let constraint = format!(
        "<CreateBucketConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
         <LocationConstraint>{REGION}</LocationConstraint></CreateBucketConfiguration>"
    );
    let mut connection = Connection::open(address).await?;
    let head = target.request_head("PUT", &format!("/{BUCKET}"), constraint.len(), &[])?;
    connection.exchange(head.as_bytes(), constraint.as_bytes(), None).await?;
    for (_, size, connections, _) in crate::CASES {
        for number in 0..connections {
            let body = vec![b' '; size];
            let head = target.request_head("PUT", &format!("/{BUCKET}/{size}/{number}"), size, &[])?;
            connection.exchange(head.as_bytes(), &body, None).await?;
        }
    }
    Ok(target)
}

/// The headers of a SigV4 signature over `UNSIGNED-PAYLOAD`.
fn signature(
    method: &str,
    host: &str,
    path: &str,
    headers: &[(&str, &str)],
) -> Result<Vec<(String, String)>, Error> {
    let mut settings = SigningSettings::default();
    settings.percent_encoding_mode = PercentEncodingMode::Single;
    settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
    settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
    let identity = Credentials::new(ACCESS_KEY_ID, SECRET_ACCESS_KEY, None, None, "bench").into();
    let parameters = v4::SigningParams::builder()
        .identity(&identity)
        .region(REGION)
        .name("s3")
        .time(SystemTime::now())
        .settings(settings)
        .build()?
        .into();
    let uri = format!("http://{host}{path}");
    let headers = headers.iter().copied().chain([("host", host)]);
    let request = SignableRequest::new(method, uri, headers, SignableBody::UnsignedPayload)?;
    let (instructions, _) = sign(request, &parameters)?.into_parts();
    Ok(instructions.headers().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
}
