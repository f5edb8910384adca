//! All locations of a gateway, in the order of the configuration.
//!
//! Bytes of objects go out only through [`Locations::storing`] and [`Locations::reading`], which want the
//! policies' permit: that no byte reaches a location without a decision is checked by the compiler.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

#[cfg(test)]
use super::LocationService;
use super::embedded::{EmbeddedError, EmbeddedStore};
use super::health::Health;
use super::remote::{RemoteError, RemoteLocation};
use super::{Location, LocationError, LocationFacts};
use crate::body::Body;
use crate::config::{self, Store};
use crate::gateway::failure::Failure;
use crate::names::{Country, LocationId};
use crate::policy::{Permit, ReadPermit};

/// The locations.
pub struct Locations {
    order: Vec<LocationId>,
    by_id: HashMap<LocationId, Entry>,
}

struct Entry {
    location: Location,
    health: Arc<Health>,
    /// Its answers name versions, of which it keeps none.
    is_versionless: AtomicBool,
}

/// A location that cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("location {id}: {source}")]
    Embedded { id: LocationId, source: EmbeddedError },
    #[error(transparent)]
    Remote(#[from] RemoteError),
}

impl Locations {
    /// Opens all locations. Remote ones are not contacted yet.
    pub fn open(configs: &[config::Location]) -> Result<Locations, OpenError> {
        let mut locations = Locations { order: Vec::new(), by_id: HashMap::new() };
        for config in configs {
            let (service, health) = match &config.store {
                Store::Embedded { path } => {
                    let store = EmbeddedStore::open(config.id.clone(), path)
                        .map_err(|source| OpenError::Embedded { id: config.id.clone(), source })?;
                    (store.service(), Arc::new(Health::new()))
                }
                Store::S3(remote) => {
                    let remote = RemoteLocation::open(config.id.clone(), &config.region, remote)?;
                    (remote.service(), remote.health())
                }
            };
            let location = Location { facts: facts(config), service };
            locations.order.push(config.id.clone());
            locations.by_id.insert(
                config.id.clone(),
                Entry { location, health, is_versionless: AtomicBool::new(false) },
            );
        }
        Ok(locations)
    }

    /// The same locations, each behind a service of the test's own.
    #[cfg(test)]
    pub fn behind(mut self, service: impl Fn(&LocationId, LocationService) -> LocationService) -> Self {
        for (id, entry) in &mut self.by_id {
            entry.location.service = service(id, entry.location.service.clone());
        }
        self
    }

    /// Where an object may be stored: by permit alone.
    pub fn storing(&self, permit: &Permit) -> Result<&Location, Failure> {
        self.location(&permit.location().id)
    }

    /// Where an object is read from: by permit alone.
    pub fn reading(&self, _permit: &ReadPermit, id: &LocationId) -> Result<&Location, Failure> {
        self.location(id)
    }

    /// The source of a copy: its bytes leave through the decision over the destination.
    pub fn source_of_copy(&self, id: &LocationId) -> Result<&Location, Failure> {
        self.location(id)
    }

    /// Requests that carry no object's bytes in or out: removals, lists, heads.
    pub fn housekeeping(&self, id: &LocationId) -> Result<&Location, Failure> {
        self.location(id)
    }

    fn location(&self, id: &LocationId) -> Result<&Location, Failure> {
        self.by_id.get(id).map(|entry| &entry.location).ok_or_else(|| unknown(id))
    }

    pub fn facts(&self, id: &LocationId) -> Result<Arc<LocationFacts>, Failure> {
        self.location(id).map(|location| location.facts.clone())
    }

    /// All of them, for what concerns every location of a bucket.
    pub fn all(&self) -> impl Iterator<Item = &Location> {
        self.order.iter().filter_map(|id| self.by_id.get(id)).map(|entry| &entry.location)
    }

    pub fn ids(&self) -> impl Iterator<Item = &LocationId> {
        self.order.iter()
    }

    pub fn is_healthy(&self, id: &LocationId) -> bool {
        self.by_id.get(id).is_some_and(|entry| entry.health.is_healthy())
    }

    /// Whether it was found to name versions in its answers of which it keeps none.
    pub fn is_versionless(&self, id: &LocationId) -> bool {
        self.by_id.get(id).is_some_and(|entry| entry.is_versionless.load(Ordering::Relaxed))
    }

    pub fn found_versionless(&self, id: &LocationId) {
        if let Some(entry) = self.by_id.get(id) {
            entry.is_versionless.store(true, Ordering::Relaxed);
        }
    }

    /// Whether some location is in this country.
    pub fn is_in(&self, country: Country) -> bool {
        self.all().any(|location| location.facts.country == country)
    }

    /// The location that a `LocationConstraint` or a signing region names.
    pub fn by_region_or_id(&self, name: &str) -> Option<&Location> {
        self.all()
            .find(|location| location.facts.id.as_str() == name)
            .or_else(|| self.all().find(|location| location.facts.region == name))
    }

    /// `cn-north (cn-north-1), ...`, for messages.
    pub fn regions(&self) -> String {
        let named = self.all().map(|location| format!("{} ({})", location.facts.id, location.facts.region));
        named.collect::<Vec<_>>().join(", ")
    }
}

/// Checks what the configuration says of each location. Contacts none, and makes no folder.
pub fn check(configs: &[config::Location]) -> Result<(), OpenError> {
    for config in configs {
        if let Store::S3(remote) = &config.store {
            RemoteLocation::open(config.id.clone(), &config.region, remote)?;
        }
    }
    Ok(())
}

/// What policies see of a configured location.
pub fn facts(config: &config::Location) -> Arc<LocationFacts> {
    Arc::new(LocationFacts {
        id: config.id.clone(),
        country: config.country,
        region: config.region.clone(),
        provider: config.provider.clone(),
        provider_country: config.provider_country.unwrap_or(config.country),
        certifications: config.certifications.clone(),
        zones: config.zones.clone(),
    })
}

/// A placement can name a location that the configuration has lost.
fn unknown(id: &LocationId) -> Failure {
    LocationError::Unreachable { location: id.clone(), source: "it is not in the configuration".into() }
        .into()
}

impl Location {
    /// Sends one request.
    pub async fn call(&self, request: http::Request<Body>) -> Result<http::Response<Body>, LocationError> {
        tower::ServiceExt::oneshot(self.service.clone(), request).await
    }
}
