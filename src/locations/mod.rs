//! Locations: where bytes can rest. Each is a tower service that speaks S3 over `http` types.
//!
//! A request to a location is an ordinary path-style S3 request (`/bucket/key?query`) in logical names,
//! without credentials; the location adds its own signature and names, and nothing else.

pub mod embedded;
pub mod health;
pub mod registry;
pub mod remote;

use std::collections::BTreeSet;
use std::sync::Arc;

use tower::util::BoxCloneSyncService;

use crate::body::{Body, BoxError};
use crate::names::{Country, LocationId};

/// The place itself, as policies see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocationFacts {
    pub id: LocationId,
    pub country: Country,
    pub region: String,
    pub provider: String,
    /// Whose law the provider answers to.
    pub provider_country: Country,
    pub certifications: BTreeSet<String>,
    /// Parts of the country with a law of their own.
    pub zones: BTreeSet<String>,
}

/// The service behind a location. Cheap to clone; one clone a request.
pub type LocationService = BoxCloneSyncService<http::Request<Body>, http::Response<Body>, LocationError>;

/// One location: what it is, and how to reach it.
#[derive(Clone)]
pub struct Location {
    pub facts: Arc<LocationFacts>,
    pub service: LocationService,
}

/// How the payload of a request to a location is vouched for, as a request extension.
/// Absent: the body is empty or sent as `UNSIGNED-PAYLOAD`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PayloadHash {
    /// Hex SHA-256 that the client signed: signed onward, so that the location checks it end to end.
    Sha256(Arc<str>),
    Unsigned,
}

/// A location that could not answer. An S3 error *response* is not one of these: it is the app's answer.
#[derive(Debug, thiserror::Error)]
pub enum LocationError {
    /// The request never left; another try cannot do harm.
    #[error("location {location} cannot be reached: {source}")]
    Unreachable { location: LocationId, source: BoxError },
    /// The request's own body failed (client gone, bad checksum, late finding): the location got an incomplete request.
    #[error("the request body ended early: {0}")]
    RequestBody(#[source] BoxError),
    /// It may or may not have taken effect.
    #[error("location {location} did not answer: {source}")]
    Lost { location: LocationId, source: BoxError },
    #[error("location {location} has no usable credentials: {source}")]
    Credentials { location: LocationId, source: BoxError },
}
