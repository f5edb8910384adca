//! The configuration file: TOML, parsed into checked types; unknown keys are refused.
//!
//! What is checked here can be checked without starting anything. Secrets have a type of their own
//! that does not print.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use ipnet::IpNet;
use serde::Deserialize;

use crate::label::class::DataClass;
use crate::names::{AppId, Country, LocationId, ReaderEntity};

/// The whole configuration.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Config {
    /// Folder of the catalogue, the placement log and the keys.
    pub data: PathBuf,
    #[serde(default)]
    pub gateway: Gateway,
    #[serde(default)]
    pub admin: Admin,
    pub node: Node,
    /// Who is accountable for the objects; policies ask about it.
    #[serde(default)]
    pub operator: Operator,
    #[serde(default, rename = "location")]
    pub locations: Vec<Location>,
    #[serde(default, rename = "app")]
    pub apps: Vec<App>,
    #[serde(default, rename = "mechanism")]
    pub mechanisms: Vec<Mechanism>,
    /// What is known of the objects of buckets beside their labels; the first that matches counts.
    #[serde(default)]
    pub facts: Vec<Facts>,
    #[serde(default)]
    pub label: Label,
    #[serde(default)]
    pub geo: Geo,
    #[serde(default)]
    pub policy: Policy,
}

/// The S3 listener and its limits.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Gateway {
    pub listen: SocketAddr,
    /// Domains below which the first label of `Host` is a bucket name (virtual-host style).
    pub domains: Vec<String>,
    /// The signing region for which a bucket needs no `LocationConstraint`; the locations' own regions are accepted too.
    pub region: String,
    pub tls: Option<Tls>,
    /// Peers whose `X-Forwarded-For` counts. Empty: nobody's does.
    pub trusted_proxies: Vec<IpNet>,
    /// How long a client may take to send its request headers.
    pub header_timeout_seconds: u64,
    /// How long a body may make no progress, either way.
    pub idle_timeout_seconds: u64,
    /// How long one request may take in all.
    pub total_timeout_seconds: u64,
    /// How long a shutdown waits for requests in flight.
    pub shutdown_timeout_seconds: u64,
    pub max_header_bytes: usize,
    /// Longest object body of one request; S3's own limit is 5 GiB.
    pub max_body_bytes: u64,
    pub max_concurrent_requests: usize,
    /// Largest difference between a request's date and ours; S3 allows 900 s.
    pub clock_skew_seconds: u64,
}

impl Default for Gateway {
    fn default() -> Self {
        Gateway {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            domains: Vec::new(),
            region: "us-east-1".to_owned(),
            tls: None,
            trusted_proxies: Vec::new(),
            header_timeout_seconds: 15,
            idle_timeout_seconds: 60,
            total_timeout_seconds: 6 * 3600,
            shutdown_timeout_seconds: 30,
            max_header_bytes: 64 * 1024,
            max_body_bytes: 5 << 30,
            max_concurrent_requests: 1024,
            clock_skew_seconds: 900,
        }
    }
}

impl Gateway {
    pub fn idle_timeout(&self) -> Duration {
        Duration::from_secs(self.idle_timeout_seconds)
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Tls {
    /// PEM file with the certificate chain, leaf first.
    pub certificate: PathBuf,
    /// PEM file with the private key.
    pub key: PathBuf,
}

/// The listener of health, readiness and metrics. Loopback unless somebody decides otherwise.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Admin {
    pub listen: SocketAddr,
}

impl Default for Admin {
    fn default() -> Self {
        Admin { listen: SocketAddr::from(([127, 0, 0, 1], 9090)) }
    }
}

/// This gateway itself: it names the placement log's origin.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Node {
    /// 1 to 63 of `a-z`, `0-9` and `-`.
    pub name: String,
    /// A domain that the operator owns. Witnesses see it: no customer names.
    pub domain: String,
    /// Where this node stands.
    pub country: Country,
}

/// The operator profile.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Operator {
    pub country: Option<Country>,
    /// What a law speaks of: `bank`, `telecom`, `health_provider`, ...
    pub tags: Vec<String>,
    /// One more tag: the line of business.
    pub sector: Option<String>,
    /// Notified as an operator of critical information infrastructure (CN CSL art. 33, CII Regulations 2021).
    pub ciio: bool,
    /// A state organ or a body that manages public affairs.
    pub public_body: bool,
    /// Processes personal information of at least as many people as the CAC has set (CN PIPL art. 40).
    pub pi_volume_processor: bool,
    pub counts: Counts,
}

/// Numbers that laws set thresholds on. One that is not stated counts as the highest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Counts {
    /// People whose personal data goes abroad in the period that a law counts (CN CBDF art. 7: since 1 January).
    pub people: Option<u64>,
    /// The same for sensitive data.
    pub sensitive_people: Option<u64>,
    /// US persons in the trailing twelve months (28 CFR 202.205).
    pub us_persons: Option<u64>,
    /// People whom the object itself is about, where that is known: as many, if it is sensitive.
    #[serde(skip)]
    pub in_object: Option<u64>,
    /// Accesses a day from the country of the law (TR Law 5651, additional art. 4).
    pub daily_accesses: Option<u64>,
}

/// What is known of objects beside their labels.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Facts {
    /// Glob of bucket names; absent: every bucket.
    pub bucket: Option<String>,
    /// Where the data was collected or generated; absent: in its subjects' countries.
    pub collected_in: Vec<Country>,
    /// Where the service is offered; absent: in its subjects' countries.
    pub service_in: Vec<Country>,
    /// Where the keys are held that can decrypt it.
    pub key_countries: Vec<Country>,
    /// Words of the policy schema, for example `legal_basis=contract`.
    pub attrs: Vec<String>,
}

/// One place where bytes can rest.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Location {
    pub id: LocationId,
    pub country: Country,
    /// The S3 region name of this location: buckets name it in `LocationConstraint`, remote requests are signed for it.
    pub region: String,
    pub provider: String,
    /// The country whose law the provider answers to; the location's own country when absent.
    pub provider_country: Option<Country>,
    #[serde(default)]
    pub certifications: BTreeSet<String>,
    /// Parts of the country with a law of their own that it is in, for example `CA-QC`.
    #[serde(default)]
    pub zones: BTreeSet<String>,
    #[serde(flatten)]
    pub store: Store,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Store {
    /// A folder on this machine that stands for a disk in that country.
    Embedded { path: PathBuf },
    /// An S3 endpoint.
    S3(RemoteS3),
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RemoteS3 {
    /// `https://host[:port]`, or `http://` for a trusted network.
    pub endpoint: String,
    /// Physical bucket name; `{bucket}` stands for the logical one. Bucket names are global at most providers.
    #[serde(default = "RemoteS3::same_name")]
    pub bucket: String,
    #[serde(default)]
    pub style: AddressingStyle,
    /// Credentials in this file; otherwise the standard AWS chain (environment, profile, web identity, ECS, IMDS).
    pub access_key_id: Option<String>,
    pub secret_access_key: Option<Secret>,
    /// Profile of the standard AWS chain.
    pub profile: Option<String>,
    /// PEM file with the certification authorities of the endpoint; the system's own when absent.
    pub ca_certificates: Option<PathBuf>,
}

impl RemoteS3 {
    fn same_name() -> String {
        "{bucket}".to_owned()
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AddressingStyle {
    #[default]
    Path,
    VirtualHost,
}

/// Who may sign requests, and what for.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct App {
    pub id: AppId,
    pub access_key_id: String,
    pub secret_access_key: Secret,
    /// Globs of bucket names.
    #[serde(default = "App::everything")]
    pub buckets: Vec<String>,
    #[serde(default)]
    pub access: Access,
    /// Who reads with these credentials; laws tell a company's own staff abroad from others.
    #[serde(default)]
    pub entity: ReaderEntity,
    /// Temporary credentials of the same app.
    #[serde(default, rename = "session")]
    pub sessions: Vec<Session>,
}

/// Credentials that hold for a while, with a token that goes along with every request.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Session {
    pub access_key_id: String,
    pub secret_access_key: Secret,
    pub session_token: Secret,
    /// RFC 3339 date-time from which on they do not count any more.
    #[serde(deserialize_with = "moment")]
    pub expires: SystemTime,
}

fn moment<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<SystemTime, D::Error> {
    let text = String::deserialize(deserializer)?;
    let moment: jiff::Timestamp = text.parse().map_err(|_| {
        serde::de::Error::custom("not a date-time of RFC 3339, for example 2026-11-23T12:00:00Z")
    })?;
    Ok(moment.into())
}

impl App {
    fn everything() -> Vec<String> {
        vec!["*".to_owned()]
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Access {
    Read,
    #[default]
    ReadWrite,
}

/// A legal ground for transfers, as the operator holds it on paper.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Mechanism {
    /// For example `scc`, `cac_security_assessment`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Countries that it covers as destinations; empty means any.
    #[serde(default)]
    pub destinations: Vec<Country>,
    /// Data classes that it covers; empty means any.
    #[serde(default)]
    pub classes: Vec<DataClass>,
    /// RFC 3339 date-time or date (then its first moment, UTC) at which it stops to count.
    pub valid_until: Option<String>,
    /// Filing, contract or certificate number.
    pub reference: Option<String>,
}

impl Mechanism {
    /// One without limits: for every destination and class, and without an end.
    pub fn of_kind(kind: &str) -> Mechanism {
        Mechanism {
            kind: kind.to_owned(),
            destinations: Vec::new(),
            classes: Vec::new(),
            valid_until: None,
            reference: None,
        }
    }
}

/// How objects get their labels.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Label {
    /// How many bytes are read and scanned before a location is chosen.
    pub window_bytes: usize,
    #[serde(rename = "rule")]
    pub rules: Vec<LabelRule>,
}

impl Default for Label {
    fn default() -> Self {
        Label { window_bytes: 1 << 20, rules: Vec::new() }
    }
}

/// Adds labels to every object that matches all the conditions which it states.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct LabelRule {
    pub id: String,
    /// Glob of bucket names.
    pub bucket: Option<String>,
    /// Glob of keys; `*` stays within one `/` segment, `**` does not.
    pub key: Option<String>,
    pub app: Option<AppId>,
    /// Media type without parameters, or `type/*`.
    pub content_type: Option<String>,
    #[serde(default)]
    pub classes: Vec<DataClass>,
    #[serde(default)]
    pub subjects: Vec<Country>,
}

/// Where clients are.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Geo {
    /// A country database in MaxMind DB format.
    pub database: Option<PathBuf>,
    /// Own networks and the country they are in; they come before the database.
    pub networks: BTreeMap<IpNet, Country>,
    /// Networks at the storage's own site: a reader there is counted in the country of the location that it reads.
    pub on_site: Vec<IpNet>,
}

/// Where the residency policies come from.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Policy {
    /// Folder of policy packs; the packs that were shipped with this version when absent.
    pub directory: Option<PathBuf>,
    /// Names of packs to load; all when empty.
    pub packs: Vec<String>,
    /// Whether changes of the folder's files are taken up without a signal.
    pub watch: bool,
    /// Whether a set takes effect only when a second person has approved exactly these files.
    pub require_approval: bool,
    /// Folder of a candidate set that is asked beside the one in force, and decides nothing.
    pub shadow: Option<PathBuf>,
    /// A Rego policy that can refuse what the packs allow.
    pub rego: Option<Rego>,
}

/// A policy of OPA's language.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Rego {
    pub file: PathBuf,
    /// The rule that is asked.
    #[serde(default = "Rego::default_query")]
    pub query: String,
}

impl Rego {
    fn default_query() -> String {
        "data.domicile.allow".to_owned()
    }
}

impl Default for Policy {
    fn default() -> Self {
        Policy {
            directory: None,
            packs: Vec::new(),
            watch: true,
            require_approval: false,
            shadow: None,
            rego: None,
        }
    }
}

/// A secret that never prints.
#[derive(Clone, Deserialize, PartialEq, Eq)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Secret(text.into())
    }

    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read {path}: {source}")]
    Read { path: PathBuf, source: std::io::Error },
    /// With the line rather than its text, which can hold a secret.
    #[error("{path}{}: {message}", .line.map(|line| format!(", line {line}")).unwrap_or_default())]
    Parse { path: PathBuf, line: Option<usize>, message: String },
    #[error("{path}: {message}")]
    Invalid { path: PathBuf, message: String },
}

impl Config {
    /// Reads and checks a configuration file. Relative paths in it are relative to the file's folder.
    pub fn load(path: &Path) -> Result<Config, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        Config::parse(&text, path)
    }

    /// Parses and checks configuration text; `path` is named in errors and anchors relative paths.
    pub fn parse(text: &str, path: &Path) -> Result<Config, ConfigError> {
        let mut config: Config = toml::from_str(text).map_err(|error| ConfigError::Parse {
            path: path.to_owned(),
            line: error
                .span()
                .and_then(|span| text.get(..span.start))
                .map(|before| before.matches('\n').count() + 1),
            message: error.message().to_owned(),
        })?;
        let base = path.parent().unwrap_or(Path::new(""));
        config.anchor(base);
        config.check().map_err(|message| ConfigError::Invalid { path: path.to_owned(), message })?;
        Ok(config)
    }
}

impl Config {
    fn anchor(&mut self, base: &Path) {
        let mut paths: Vec<&mut PathBuf> = vec![&mut self.data];
        if let Some(tls) = &mut self.gateway.tls {
            paths.extend([&mut tls.certificate, &mut tls.key]);
        }
        paths.extend(self.geo.database.as_mut());
        paths.extend(self.policy.directory.as_mut());
        paths.extend(self.policy.shadow.as_mut());
        paths.extend(self.policy.rego.as_mut().map(|rego| &mut rego.file));
        for location in &mut self.locations {
            match &mut location.store {
                Store::Embedded { path } => paths.push(path),
                Store::S3(remote) => paths.extend(remote.ca_certificates.as_mut()),
            }
        }
        for path in paths {
            if path.is_relative() {
                *path = base.join(&*path);
            }
        }
    }

    /// What serde cannot see: emptiness, duplicates, ranges, references.
    fn check(&self) -> Result<(), String> {
        if self.locations.is_empty() {
            return Err("no [[location]]: there is nowhere to store anything".to_owned());
        }
        unique("location id", self.locations.iter().map(|l| l.id.as_str()))?;
        let sessions = || self.apps.iter().flat_map(|app| app.sessions.iter().map(move |own| (app, own)));
        let keys = self.apps.iter().map(|app| (app, &app.access_key_id, &app.secret_access_key));
        let temporary = sessions().map(|(app, own)| (app, &own.access_key_id, &own.secret_access_key));
        let keys: Vec<_> = keys.chain(temporary).collect();
        unique("access-key-id", keys.iter().map(|(_, id, _)| id.as_str()))?;
        // An empty secret is one that everybody knows; an id with a `/` cannot be told from the scope behind it.
        for (app, id, secret) in keys {
            if id.is_empty() || !id.bytes().all(|b| b.is_ascii_graphic() && !b"/,=".contains(&b)) {
                return Err(format!(
                    "app {}: access-key-id must be printable ASCII without blanks, `/`, `,` and `=`",
                    app.id
                ));
            }
            if secret.expose().is_empty() {
                return Err(format!("app {}: secret-access-key is empty", app.id));
            }
        }
        // What no header can carry would never be presented.
        for (app, session) in sessions() {
            let token = session.session_token.expose();
            if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
                return Err(format!("app {}: session-token must be printable ASCII without blanks", app.id));
            }
        }
        let folders = self.locations.iter().filter_map(|location| match &location.store {
            Store::Embedded { path } => path.to_str(),
            Store::S3(_) => None,
        });
        unique("path of an embedded location", folders)?;
        unique("app id", self.apps.iter().map(|a| a.id.as_str()))?;
        unique("label rule id", self.label.rules.iter().map(|r| r.id.as_str()))?;
        let name = &self.node.name;
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if name.is_empty() || name.len() > 63 || !name.bytes().all(plain) {
            return Err(format!("node.name `{name}` must be 1 to 63 of a-z, 0-9 and `-`"));
        }
        if self.node.domain.is_empty() || !self.node.domain.bytes().all(|b| plain(b) || b == b'.') {
            return Err(format!("node.domain `{}` must be a lower-case domain name", self.node.domain));
        }
        for location in &self.locations {
            if location.region.is_empty() || !location.region.bytes().all(plain) {
                return Err(format!(
                    "location {}: region `{}` must be of a-z, 0-9 and `-`",
                    location.id, location.region
                ));
            }
        }
        let within = |name: &str, value: u64, low: u64, high: u64| {
            if (low..=high).contains(&value) {
                Ok(())
            } else {
                Err(format!("{name} = {value} is outside {low} to {high}"))
            }
        };
        let gateway = &self.gateway;
        within("gateway.header-timeout-seconds", gateway.header_timeout_seconds, 1, 300)?;
        within("gateway.idle-timeout-seconds", gateway.idle_timeout_seconds, 1, 3600)?;
        within("gateway.total-timeout-seconds", gateway.total_timeout_seconds, 1, 7 * 86400)?;
        within("gateway.shutdown-timeout-seconds", gateway.shutdown_timeout_seconds, 0, 3600)?;
        within("gateway.clock-skew-seconds", gateway.clock_skew_seconds, 1, 900)?;
        within("gateway.max-header-bytes", gateway.max_header_bytes as u64, 8192, 1 << 20)?;
        within("gateway.max-body-bytes", gateway.max_body_bytes, 1, 5 << 40)?;
        within("gateway.max-concurrent-requests", gateway.max_concurrent_requests as u64, 1, 1 << 20)?;
        within("label.window-bytes", self.label.window_bytes as u64, 4096, 64 << 20)
    }
}

fn unique<'a>(what: &str, names: impl Iterator<Item = &'a str>) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    for name in names {
        if !seen.insert(name) {
            return Err(format!("{what} `{name}` appears twice"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
