//! A whole gateway for tests inside the crate: every room is the real one, requests are signed and go through the
//! stack, and the locations are embedded stores that do to a request what the test says.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use tempfile::TempDir;
use tower::ServiceExt;
use tower::util::BoxCloneSyncService;

use super::server::{Front, Peer};
use super::start::Running;
use super::{Gateway, stack};
use crate::body::{Body, BoxError};
use crate::catalogue::{HistoryLine, Placement};
use crate::config::{Config, Secret};
use crate::label::DataClass;
use crate::locations::registry::Locations;
use crate::locations::{LocationError, LocationService};
use crate::names::LocationId;
use crate::s3::sigv4::{Credentials, PayloadForSigning, Signer};

/// What a location answers.
pub type Answered = Result<Response<Body>, LocationError>;

/// What happens to a request on its way to a location: it gets the request and the store behind it.
type Script = Arc<dyn Fn(Request<Body>, LocationService) -> BoxFuture<'static, Answered> + Send + Sync>;

/// Locations in three countries, and one reader in a fourth.
const CONFIG: &str = r#"
    data = "."
    [node]
    name = "gw-1"
    domain = "example.org"
    country = "DE"
    [gateway]
    trusted-proxies = ["127.0.0.1/32"]
    [geo]
    on-site = ["127.0.0.0/8"]
    networks = { "198.51.100.0/24" = "US", "203.0.113.0/24" = "CN" }
    [[app]]
    id = "app"
    access-key-id = "AKIDAPP"
    secret-access-key = "secret"
    [[location]]
    id = "cn-north"
    country = "CN"
    region = "cn-north-1"
    provider = "test"
    type = "embedded"
    path = "cn"
    [[location]]
    id = "eu-central"
    country = "DE"
    region = "eu-central-1"
    provider = "test"
    type = "embedded"
    path = "eu"
    [[location]]
    id = "us-east"
    country = "US"
    region = "us-east-1"
    provider = "test"
    type = "embedded"
    path = "us"
"#;

/// Tags of an object that may rest in China only, and of one that may rest anywhere.
pub const OF_CHINA: (&str, &str) = ("x-amz-tagging", "data-class=personal.health&subject-country=CN");
pub const PUBLIC: (&str, &str) = ("x-amz-tagging", "data-class=non_personal");

pub struct TestGateway {
    pub gateway: Arc<Gateway>,
    running: Option<Running>,
    front: Front,
    scripts: Arc<Mutex<HashMap<LocationId, Script>>>,
    dir: TempDir,
}

/// An answer that was read to its end.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }
}

impl TestGateway {
    /// A gateway with the bucket `bucket`, whose home is the location in Germany.
    pub async fn start() -> TestGateway {
        TestGateway::start_in(tempfile::tempdir().unwrap(), |_| {}).await.unwrap()
    }

    /// As [`TestGateway::start`], in a folder that the test has filled, with a configuration that it changes.
    pub async fn start_in(dir: TempDir, change: impl FnOnce(&mut Config)) -> Result<TestGateway, BoxError> {
        let mut config = Config::parse(CONFIG, &dir.path().join("config.toml")).unwrap();
        change(&mut config);
        let scripts = Arc::new(Mutex::new(HashMap::<LocationId, Script>::new()));
        let for_services = scripts.clone();
        let open = move |configs: &[crate::config::Location]| {
            Ok(Locations::open(configs)?.behind(|id, store| {
                let (id, scripts) = (id.clone(), for_services.clone());
                BoxCloneSyncService::new(tower::service_fn(move |request: Request<Body>| {
                    let script = scripts.lock().unwrap().get(&id).cloned();
                    let store = store.clone();
                    async move {
                        match script {
                            Some(script) => script(request, store).await,
                            None => store.oneshot(request).await,
                        }
                    }
                }))
            }))
        };
        let running = Running::start_with(config, open).await?;
        let gateway = running.gateway.clone();
        let front = stack::build(&gateway);
        let this = TestGateway { gateway, running: Some(running), front, scripts, dir };
        let constraint = "<CreateBucketConfiguration><LocationConstraint>eu-central-1</LocationConstraint></CreateBucketConfiguration>";
        let created = this.send(Method::PUT, "/bucket", &[], constraint).await;
        assert!(matches!(created.status, StatusCode::OK | StatusCode::CONFLICT), "{}", created.text());
        Ok(this)
    }

    /// From now on, `script` gets every request to a location.
    pub fn script<F>(
        &self,
        location: &str,
        script: impl Fn(Request<Body>, LocationService) -> F + Send + Sync + 'static,
    ) where
        F: Future<Output = Answered> + Send + 'static,
    {
        let script: Script = Arc::new(move |request, store| Box::pin(script(request, store)));
        self.scripts.lock().unwrap().insert(location.parse().unwrap(), script);
    }

    /// The location does as it is asked again.
    pub fn unscript(&self, location: &str) {
        self.scripts.lock().unwrap().remove(&location.parse::<LocationId>().unwrap());
    }

    /// One signed request, and its whole answer.
    pub async fn send(
        &self,
        method: Method,
        target: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Answer {
        let body = Body::full(body.into());
        let length = http_body::Body::size_hint(&body).exact().unwrap();
        self.send_body(method, target, headers, body, length).await
    }

    pub async fn send_body(
        &self,
        method: Method,
        target: &str,
        headers: &[(&str, &str)],
        body: Body,
        length: u64,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(format!("http://gateway{target}"));
        request = request.header("content-length", length);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (mut parts, body) = request.body(body).unwrap().into_parts();
        let secret = Secret::new("secret");
        let credentials = Credentials { access_key_id: "AKIDAPP", secret: &secret, session_token: None };
        let payload = PayloadForSigning::Unsigned;
        Signer::default().sign(&mut parts, &credentials, "us-east-1", SystemTime::now(), payload).unwrap();
        parts.extensions.insert(Peer(SocketAddr::from(([127, 0, 0, 1], 1))));
        let Ok(response) = self.front.clone().oneshot(Request::from_parts(parts, body)).await;
        let (parts, body) = response.into_parts();
        let body = body.collect_limited(64 << 20).await.unwrap();
        Answer { status: parts.status, headers: parts.headers, body }
    }

    pub async fn put(&self, key: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        self.send(Method::PUT, &format!("/bucket/{key}"), headers, body.to_owned()).await
    }

    pub async fn get(&self, key: &str) -> Answer {
        self.send(Method::GET, &format!("/bucket/{key}"), &[], "").await
    }

    /// What the catalogue says of a key of `bucket`.
    pub async fn placement(&self, key: &str) -> Option<Placement> {
        let handle = self.gateway.catalogue.object_handle("bucket", key);
        self.gateway.catalogue.find(handle).await.unwrap()
    }

    pub async fn history(&self, key: &str) -> Vec<HistoryLine> {
        let placement = self.placement(key).await.unwrap();
        self.gateway.catalogue.history(placement.object, 100).await.unwrap()
    }

    /// Whether a location itself has an object, whatever the catalogue says.
    pub async fn holds(&self, location: &str, key: &str) -> bool {
        let uri = format!("/bucket/{key}");
        let request = Request::builder().method(Method::HEAD).uri(uri).body(Body::empty()).unwrap();
        let location = self.gateway.locations.housekeeping(&location.parse().unwrap()).unwrap();
        location.call(request).await.unwrap().status() == StatusCode::OK
    }

    pub async fn stop(self) {
        self.stop_and_leave().await;
    }

    /// Stops, and leaves the folder for another start.
    pub async fn stop_and_leave(mut self) -> TempDir {
        if let Some(running) = self.running.take() {
            running.stop().await;
        }
        self.dir
    }

    /// The folder that the configuration's relative paths are in.
    pub fn folder(&self) -> &std::path::Path {
        self.dir.path()
    }
}

pub fn class(name: &str) -> DataClass {
    name.parse().unwrap()
}

/// Lets a location do what it was asked, and loses its answer.
pub async fn lose_answer(request: Request<Body>, store: LocationService) -> Answered {
    store.oneshot(request).await?;
    Err(LocationError::Lost { location: "lost".parse().unwrap(), source: "the connection broke".into() })
}

/// Lets a location do what it was asked, and answers with a status of the test's own.
pub async fn answer_instead(status: u16, request: Request<Body>, store: LocationService) -> Answered {
    store.oneshot(request).await?;
    let mut response = Response::new(Body::full("<Error><Code>InternalError</Code></Error>"));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    Ok(response)
}

/// Fails every removal of an object, and nothing else.
pub async fn refuse_deletes(request: Request<Body>, store: LocationService) -> Answered {
    if request.method() != Method::DELETE {
        return store.oneshot(request).await;
    }
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::FORBIDDEN;
    Ok(response)
}

/// The text between two marks.
pub fn between(text: &str, start: &str, end: &str) -> String {
    let (_, rest) = text.split_once(start).unwrap();
    rest.split_once(end).unwrap().0.to_owned()
}
