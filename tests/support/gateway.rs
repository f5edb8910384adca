//! The real program, started for one test: on free ports, over a folder of its own, ended with the test.
//!
//! Not for what goes over the wire past an SDK: that is [`super::raw`].

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use tempfile::TempDir;

use super::{ACCESS_KEY_ID, Listens, S3Server, SECRET_ACCESS_KEY};

/// The locations of the built-in configuration; the configurations that tests write have the same.
pub const LOCATIONS: [(&str, &str, &str); 4] = [
    ("cn-north", "CN", "cn-north-1"),
    ("eu-central", "DE", "eu-central-1"),
    ("us-east", "US", "us-east-1"),
    ("in-west", "IN", "ap-south-1"),
];

pub const APP_KEY: &str = "AKIDAPP";
pub const APP_SECRET: &str = "a-secret-of-the-app";

/// How long anything here may take before a test gives up on it; machines are slow at times.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Where a configuration's locations are.
pub enum Stores {
    Embedded,
    /// S3 servers in this process, one a location.
    Servers(Vec<S3Server>),
}

/// A gateway that is running.
pub struct Gateway {
    child: Child,
    /// `http://127.0.0.1:port`
    pub endpoint: String,
    pub admin: String,
    pub access_key_id: String,
    pub secret: String,
    /// Holds `data`, `trace.log`, and `domicile.toml` where there is one.
    pub folder: TempDir,
    pub config: Option<PathBuf>,
    stores: Stores,
}

impl Gateway {
    /// The built-in configuration, as a newcomer starts it.
    pub async fn demo() -> Gateway {
        let folder = tempfile::tempdir().unwrap();
        let arguments = vec!["--data".to_owned(), folder.path().join("data").display().to_string()];
        let (child, endpoint, admin) = start(folder.path(), &arguments).await;
        let text = std::fs::read_to_string(folder.path().join("data/credentials")).unwrap();
        let value = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.trim_start_matches([' ', '=']).to_owned()
        };
        let (access_key_id, secret) = (value("aws_access_key_id"), value("aws_secret_access_key"));
        let stores = Stores::Embedded;
        Gateway { child, endpoint, admin, access_key_id, secret, folder, config: None, stores }
    }

    /// Locations behind S3 servers that somebody else wrote.
    pub async fn remote() -> Gateway {
        let mut servers = Vec::new();
        for _ in LOCATIONS {
            servers.push(S3Server::files(Listens::Http).await);
        }
        Self::configured(Stores::Servers(servers), ON_SITE).await
    }

    /// The usual locations, and `more` of the configuration.
    pub async fn configured(stores: Stores, more: &str) -> Gateway {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("domicile.toml");
        std::fs::write(&config, config_text(&stores, more)).unwrap();
        let arguments = vec!["--config".to_owned(), config.display().to_string()];
        let (child, endpoint, admin) = start(folder.path(), &arguments).await;
        let (access_key_id, secret) = (APP_KEY.to_owned(), APP_SECRET.to_owned());
        Gateway { child, endpoint, admin, access_key_id, secret, folder, config: Some(config), stores }
    }

    /// A client that is set up as applications set one up, but that does not try again by itself.
    pub fn client(&self) -> Client {
        self.client_with(RetryConfig::disabled(), "us-east-1")
    }

    pub fn client_with(&self, retries: RetryConfig, region: &str) -> Client {
        let credentials = Credentials::new(&self.access_key_id, &self.secret, None, None, "test");
        let config = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .credentials_provider(credentials)
            .region(Region::new(region.to_owned()))
            .endpoint_url(&self.endpoint)
            .force_path_style(true)
            .retry_config(retries)
            .build();
        Client::from_conf(config)
    }

    /// The S3 servers behind the locations; none over folders.
    pub fn servers(&self) -> &[S3Server] {
        match &self.stores {
            Stores::Embedded => &[],
            Stores::Servers(servers) => servers,
        }
    }

    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Runs another command of the program on this gateway's data.
    pub fn command(&self, arguments: &[&str]) -> Output {
        let mut arguments: Vec<String> = arguments.iter().map(|text| (*text).to_owned()).collect();
        match &self.config {
            Some(config) => arguments.extend(["--config".to_owned(), config.display().to_string()]),
            None => arguments.extend(["--data".to_owned(), self.data().display().to_string()]),
        }
        run(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// What `where --format json` says of an object.
    pub fn whereis(&self, bucket: &str, key: &str) -> serde_json::Value {
        let output = self.command(&["where", &format!("s3://{bucket}/{key}"), "--format", "json"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// The ids of the locations on whose disk `needle` lies, in any file.
    pub fn disks_with(&self, needle: &[u8]) -> Vec<&'static str> {
        let holds = |index: usize, id: &str| match &self.stores {
            Stores::Embedded => holds_bytes(&self.data().join("locations").join(id), needle),
            Stores::Servers(servers) => holds_bytes(servers[index].root.path(), needle),
        };
        let places = LOCATIONS.iter().enumerate();
        places.filter(|(index, (id, ..))| holds(*index, id)).map(|(_, (id, ..))| *id).collect()
    }

    /// As [`Gateway::disks_with`], once what is being removed has gone.
    pub async fn settled_disks_with(&self, needle: &[u8], expected: &[&str]) {
        let mut found = Vec::new();
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            found = self.disks_with(needle);
            if found == expected {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the bytes are on {found:?} and not on {expected:?}");
    }

    /// What the program wrote to its trace so far.
    pub fn trace(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("trace.log")).unwrap()
    }

    /// Waits until the trace says this.
    pub async fn traced(&self, text: &str) {
        eventually(&format!("`{text}` in the trace"), async || self.trace().contains(text)).await;
    }

    /// Body and status of a page of the admin listener.
    pub async fn admin_page(&self, path: &str) -> (u16, String) {
        page(&self.admin, path).await.unwrap()
    }

    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args([format!("-{name}"), self.child.id().to_string()]).status();
        assert!(status.unwrap().success());
    }

    /// Waits for the program to end by itself.
    pub async fn ended(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("the gateway did not end; its trace: {}", self.trace());
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // It may have ended already; otherwise a test's end is its end.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("trace of the gateway:\n{}", self.trace());
        }
    }
}

/// Everybody on this machine counts as a reader at the storage's own site.
pub const ON_SITE: &str = "[geo]\non-site = [\"127.0.0.0/8\"]\n";

/// A configuration over the usual locations.
pub fn config_text(stores: &Stores, more: &str) -> String {
    let mut text = format!(
        "data = \"data\"\n\n[node]\nname = \"gw-1\"\ndomain = \"test.domicile.example\"\ncountry = \"DE\"\n\n\
         [[app]]\nid = \"app\"\naccess-key-id = \"{APP_KEY}\"\nsecret-access-key = \"{APP_SECRET}\"\n\n{more}\n"
    );
    for (index, (id, country, region)) in LOCATIONS.iter().enumerate() {
        text.push_str(&format!(
            "\n[[location]]\nid = \"{id}\"\ncountry = \"{country}\"\nregion = \"{region}\"\nprovider = \"test\"\n"
        ));
        text.push_str(&match stores {
            Stores::Embedded => format!("type = \"embedded\"\npath = \"data/locations/{id}\"\n"),
            Stores::Servers(servers) => format!(
                "type = \"s3\"\nendpoint = \"{}\"\naccess-key-id = \"{ACCESS_KEY_ID}\"\nsecret-access-key = \
                 \"{SECRET_ACCESS_KEY}\"\n",
                servers[index].endpoint()
            ),
        });
    }
    text
}

/// Runs a command of the program to its end.
pub fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_domicile")).args(arguments).stdin(Stdio::null()).output().unwrap()
}

/// Looks again and again until it is so.
pub async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < deadline, "still waiting for {what}");
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
}

/// Starts `serve` and waits until it is ready.
async fn start(folder: &Path, arguments: &[String]) -> (Child, String, String) {
    let trace = File::create(folder.join("trace.log")).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_domicile"))
        .arg("serve")
        .args(arguments)
        .args(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"])
        .env("DOMICILE_LOG", "debug")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(trace)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let announced = tokio::task::spawn_blocking(move || {
        let (mut endpoint, mut admin) = (None, None);
        for line in lines.by_ref() {
            let line = line.unwrap();
            if let Some((_, rest)) = line.split_once("serves S3 at ") {
                endpoint = Some(rest.to_owned());
            }
            if let Some((_, rest)) = line.split_once("metrics at ") {
                admin = Some(rest.split_once("/healthz").unwrap().0.to_owned());
                break;
            }
        }
        // Nobody may find the pipe full or closed.
        std::thread::spawn(move || lines.for_each(drop));
        (endpoint, admin)
    });
    let (Some(endpoint), Some(admin)) = announced.await.unwrap() else {
        let status = child.wait().unwrap();
        panic!("no start ({status}): {}", std::fs::read_to_string(folder.join("trace.log")).unwrap());
    };
    eventually("the gateway to be ready", async || {
        page(&admin, "/readyz").await.is_ok_and(|(status, _)| status == 200)
    })
    .await;
    (child, endpoint, admin)
}

async fn page(base: &str, path: &str) -> std::io::Result<(u16, String)> {
    let address = base.strip_prefix("http://").unwrap();
    let head = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    let answer = super::raw::exchange(address, head.as_bytes(), b"").await?;
    Ok((answer.status, String::from_utf8(answer.body).unwrap()))
}

/// Whether some file below `folder` holds these bytes.
pub fn holds_bytes(folder: &Path, needle: &[u8]) -> bool {
    // What vanishes while it is looked at is not there.
    let Ok(entries) = std::fs::read_dir(folder) else { return false };
    entries.flatten().any(|entry| {
        let path = entry.path();
        if path.is_dir() {
            return holds_bytes(&path, needle);
        }
        std::fs::read(&path).is_ok_and(|bytes| memchr::memmem::find(&bytes, needle).is_some())
    })
}
