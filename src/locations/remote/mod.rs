//! A remote S3 endpoint as a location.
//!
//! A request comes in logical names and leaves in the names of the endpoint, signed with its credentials; its other
//! headers and its query keep their bytes, and both bodies are streamed. Whatever the endpoint answers is
//! the answer, errors too. Names inside response documents (`<Name>`, `<Bucket>`, `<Location>`) stay physical, and
//! so do redirects. Nothing is sent twice, but for a request that a pooled connection dropped before any of it was
//! written. Informational responses end here: `Expect` is settled before a location is asked.

mod address;
mod body;
mod connect;
mod credentials;
mod failure;
mod framed;
mod pool;

use std::path::Path;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use futures_util::future::BoxFuture;
use http::header::{CONTENT_LENGTH, EXPECT};
use http::{HeaderValue, Method, Request, Response, StatusCode, Version};
use http_body::Body as _;
use tokio::time::Instant;
use tower::Service;
use tower::util::BoxCloneSyncService;

pub use address::EndpointError;
pub use connect::TlsError;
pub use failure::RequestBodyError;

use self::address::{BucketNames, Endpoint};
use self::body::{Progress, ReceivedBody, SentBody, Stage};
use self::connect::{Connector, Uses};
use self::credentials::CredentialSource;
use self::failure::{LengthUnknown, TransportError};
use self::framed::Framed;
use self::pool::{DrivenBody, Limits, Pool, PoolError};
use super::health::Health;
use super::{LocationError, LocationService, PayloadHash};
use crate::body::{Body, BoxError};
use crate::config::{RemoteS3, Secret};
use crate::hop;
use crate::names::LocationId;
use crate::s3::sigv4::{self, PayloadForSigning, SignError, Signer};

/// Idle connections that are kept for the next requests, for each host.
const IDLE_CONNECTIONS: usize = 256;
/// Shorter than what S3 endpoints and the proxies before them commonly allow, so that we close first.
const IDLE_CONNECTION_TIMEOUT: Duration = Duration::from_secs(15);
/// Bytes that one connection reads ahead, and queues to write.
const CONNECTION_BUFFER: usize = 128 * 1024;

/// How long each stage of an exchange may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// Name resolution, TCP and TLS together.
    pub connect: Duration,
    /// From the last byte of the request to the head of the response.
    pub response_head: Duration,
    /// Without any progress of a body, either way.
    pub body_idle: Duration,
    /// For the credential chain to answer.
    pub credentials: Duration,
    /// For a whole probe.
    pub probe: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Timeouts {
            connect: Duration::from_secs(5),
            response_head: Duration::from_secs(60),
            body_idle: Duration::from_secs(60),
            credentials: Duration::from_secs(10),
            probe: Duration::from_secs(10),
        }
    }
}

/// Why a remote location cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    #[error("location {location}: {source}")]
    Endpoint { location: LocationId, source: EndpointError },
    #[error("location {location}: {source}")]
    Tls { location: LocationId, source: TlsError },
    #[error("location {location}: access-key-id and secret-access-key must be given together")]
    HalfCredentials { location: LocationId },
    #[error("location {location}: profile is for the AWS chain, and has no meaning beside access-key-id")]
    ProfileAndKey { location: LocationId },
}

/// A remote S3 endpoint. Cheap to clone; the clones share connections, credentials and health.
#[derive(Clone)]
pub struct RemoteLocation(Arc<Inner>);

struct Inner {
    id: LocationId,
    endpoint: Endpoint,
    credentials: CredentialSource,
    /// For which requests are signed.
    region: String,
    signer: Signer,
    pool: Arc<Pool>,
    timeouts: Timeouts,
    health: Arc<Health>,
}

impl RemoteLocation {
    /// Checks the configuration and reads the certification authorities. Talks to nobody.
    pub fn open(id: LocationId, region: &str, config: &RemoteS3) -> Result<Self, RemoteError> {
        Self::open_with(id, region, config, Timeouts::default())
    }

    pub fn open_with(
        id: LocationId,
        region: &str,
        config: &RemoteS3,
        timeouts: Timeouts,
    ) -> Result<Self, RemoteError> {
        let endpoint = Endpoint::parse(config)
            .map_err(|source| RemoteError::Endpoint { location: id.clone(), source })?;
        let uses = match &config.ca_certificates {
            _ if !endpoint.is_tls() => Uses::PlainHttp,
            Some(path) => Uses::Authorities(Path::new(path)),
            None => Uses::SystemAuthorities,
        };
        let connector = Connector::open(uses, timeouts.connect)
            .map_err(|source| RemoteError::Tls { location: id.clone(), source })?;
        let credentials = match (&config.access_key_id, &config.secret_access_key, &config.profile) {
            (Some(_), Some(_), Some(_)) => return Err(RemoteError::ProfileAndKey { location: id }),
            (Some(key_id), Some(secret), None) => CredentialSource::fixed(key_id, secret.expose()),
            (None, None, profile) => {
                CredentialSource::chain(profile.as_deref(), region, timeouts.credentials)
            }
            _ => return Err(RemoteError::HalfCredentials { location: id }),
        };
        let limits = Limits { most_idle: IDLE_CONNECTIONS, idle_for: IDLE_CONNECTION_TIMEOUT };
        let pool = Pool::new(connector, CONNECTION_BUFFER, limits);
        let (region, signer) = (region.to_owned(), Signer::default());
        let health = Arc::new(Health::new());
        let inner = Inner { id, endpoint, credentials, region, signer, pool, timeouts, health };
        Ok(RemoteLocation(Arc::new(inner)))
    }

    pub fn service(&self) -> LocationService {
        BoxCloneSyncService::new(self.clone())
    }

    pub fn health(&self) -> Arc<Health> {
        Arc::clone(&self.0.health)
    }

    /// Asks for the list of buckets. Any answer but a server error counts: a refusal comes from a live endpoint.
    pub async fn probe(&self) -> Result<(), LocationError> {
        let lost =
            |error: TransportError| LocationError::Lost { location: self.0.id.clone(), source: error.into() };
        let limit = self.0.timeouts.probe;
        let response = tokio::time::timeout(limit, self.0.send(Request::new(Body::empty()))).await;
        let Ok(response) = response else {
            self.0.health.failed();
            return Err(lost(TransportError::NoResponse(limit)));
        };
        match response?.status() {
            status if status.is_server_error() => Err(lost(TransportError::ServerError(status.as_u16()))),
            _ => Ok(()),
        }
    }
}

impl std::fmt::Debug for RemoteLocation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RemoteLocation({})", self.0.id)
    }
}

impl Service<Request<Body>> for RemoteLocation {
    type Response = Response<Body>;
    type Error = LocationError;
    type Future = BoxFuture<'static, Result<Response<Body>, LocationError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), LocationError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let inner = Arc::clone(&self.0);
        Box::pin(async move { inner.send(request).await })
    }
}

impl Inner {
    /// One exchange. What the request itself did wrong says nothing about the location's health.
    async fn send(&self, request: Request<Body>) -> Result<Response<Body>, LocationError> {
        let now = SystemTime::now();
        let credentials = self.credentials.usable(now).await.map_err(|error| {
            self.health.failed();
            self.no_credentials(error)
        })?;
        let (request, names) = self.prepare(request, &credentials, now).await?;
        let progress = request.body().progress();
        let answer = self.watch(request, &progress).await;
        match &answer {
            Ok(response) if is_sick(response.status()) => self.health.failed(),
            Ok(_) => self.health.succeeded(),
            Err(LocationError::RequestBody(_)) => {}
            Err(_) => self.health.failed(),
        }

        let (mut parts, incoming) = answer?.into_parts();
        hop::strip(&mut parts.headers);
        address::restore_location(&mut parts.headers, &names);
        let body = if incoming.is_end_stream() {
            Body::empty()
        } else {
            let idle = self.timeouts.body_idle;
            Body::new(ReceivedBody::new(incoming, idle, self.id.clone(), Arc::clone(&self.health)))
        };
        Ok(Response::from_parts(parts, body))
    }

    /// The request as it will leave: addressed, of a known length, signed.
    async fn prepare(
        &self,
        request: Request<Body>,
        credentials: &Credentials,
        now: SystemTime,
    ) -> Result<(Request<SentBody>, BucketNames), LocationError> {
        let (mut parts, mut body) = request.into_parts();
        let vouched = parts.extensions.remove::<PayloadHash>();
        parts.extensions.clear();
        parts.version = Version::HTTP_11;
        hop::strip(&mut parts.headers);
        parts.headers.remove(EXPECT);
        let mut length = settle_length(&mut parts, &body).map_err(|e| self.unsent(e))?;
        let trailer = Framed::announced(&parts.headers).filter(|_| length > 0);
        if let Some(trailer) = trailer {
            let framed = Framed::new(body, length, trailer);
            length = framed.length();
            framed.describe(&mut parts.headers);
            body = Body::new(framed);
        }
        let names = self.endpoint.address(&mut parts).map_err(|e| self.unsent(e))?;
        let payload = match &vouched {
            _ if trailer.is_some() => PayloadForSigning::UnsignedWithTrailer,
            Some(PayloadHash::Sha256(hash)) => PayloadForSigning::Sha256(hash),
            Some(PayloadHash::Unsigned) => PayloadForSigning::Unsigned,
            None if length == 0 => PayloadForSigning::Empty,
            None => PayloadForSigning::Unsigned,
        };
        self.sign(&mut parts, credentials, now, payload).map_err(|e| self.no_credentials(e))?;
        if length == 0 {
            let finished = body::finish_empty(body, self.timeouts.body_idle).await;
            finished.map_err(LocationError::RequestBody)?;
            body = Body::empty();
        }
        Ok((Request::from_parts(parts, SentBody::new(body, length)), names))
    }

    fn sign(
        &self,
        parts: &mut http::request::Parts,
        credentials: &Credentials,
        now: SystemTime,
        payload: PayloadForSigning<'_>,
    ) -> Result<(), SignError> {
        let secret = Secret::new(credentials.secret_access_key());
        let session_token = credentials.session_token().map(Secret::new);
        let credentials = sigv4::Credentials {
            access_key_id: credentials.access_key_id(),
            secret: &secret,
            session_token: session_token.as_ref(),
        };
        self.signer.sign(parts, &credentials, &self.region, now, payload)
    }

    /// Waits for the head of the response as long as something moves.
    async fn watch(
        &self,
        request: Request<SentBody>,
        progress: &Progress,
    ) -> Result<Response<DrivenBody>, LocationError> {
        let Timeouts { response_head, body_idle, .. } = self.timeouts;
        let shortest = response_head.min(body_idle);
        let response = self.pool.request(request);
        let timer = tokio::time::sleep(shortest);
        tokio::pin!(response, timer);
        loop {
            tokio::select! {
                biased;
                answer = &mut response => return answer.map_err(|error| self.classify(error, progress)),
                () = &mut timer => {}
            }
            let stage = progress.stage();
            let deadline =
                progress.last_change() + if stage == Stage::Sent { response_head } else { body_idle };
            let now = Instant::now();
            if now < deadline {
                timer.as_mut().reset(deadline.min(now + shortest));
                continue;
            }
            return Err(match stage {
                Stage::Client => LocationError::RequestBody(RequestBodyError::Stalled(body_idle).into()),
                Stage::Location => self.lost(TransportError::Stalled(body_idle)),
                Stage::Sent => self.lost(TransportError::NoResponse(response_head)),
            });
        }
    }

    fn classify(&self, error: PoolError, progress: &Progress) -> LocationError {
        if let Some(failure) = progress.take_failure() {
            return LocationError::RequestBody(failure);
        }
        match error {
            PoolError::Unsent(error) => self.unsent(TransportError::from_chain(&*error)),
            PoolError::Broken(error) => self.lost(TransportError::from_chain(&error)),
        }
    }

    fn unsent(&self, error: impl Into<BoxError>) -> LocationError {
        LocationError::Unreachable { location: self.id.clone(), source: error.into() }
    }

    fn lost(&self, error: TransportError) -> LocationError {
        LocationError::Lost { location: self.id.clone(), source: error.into() }
    }

    fn no_credentials(&self, error: impl Into<BoxError>) -> LocationError {
        LocationError::Credentials { location: self.id.clone(), source: error.into() }
    }
}

/// Answers that speak of the endpoint rather than of the request. `501` is about the request.
fn is_sick(status: StatusCode) -> bool {
    matches!(status.as_u16(), 500 | 502 | 503 | 504)
}

/// Announces the body's length, which is the body's own word where it has one.
fn settle_length(parts: &mut http::request::Parts, body: &Body) -> Result<u64, LengthUnknown> {
    let announced = parts
        .headers
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.parse().ok());
    let length: u64 = body.size_hint().exact().or(announced).ok_or(LengthUnknown)?;
    let bodiless = !matches!(parts.method, Method::PUT | Method::POST | Method::PATCH);
    if length == 0 && bodiless {
        parts.headers.remove(CONTENT_LENGTH);
    } else {
        parts.headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    Ok(length)
}
