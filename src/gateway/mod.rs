//! The gateway: everything that a request needs on its way, and the stack that leads it.

pub mod apps;
pub mod around;
pub mod authenticate;
pub mod authorise;
pub mod call;
pub mod cors;
pub mod dispatch;
pub mod failure;
pub mod form;
pub mod limit;
pub mod linger;
pub mod metrics;
pub mod name;
pub mod policies;
pub mod rescue;
pub mod server;
pub mod stack;
pub mod stage;
pub mod start;
#[cfg(test)]
pub(crate) mod testing;
pub mod timeouts;
pub mod trace;
pub mod writes;

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::catalogue::Catalogue;
use crate::config::Config;
use crate::geo::Geo;
use crate::label::sources::Labeller;
use crate::locations::registry::Locations;
use crate::log::tiles::{LogState, Status};
use crate::names::{Country, LocationId};
use crate::placement::intents::LiveIntents;
use crate::placement::keylock::KeyLocks;
use crate::policy::Engine;
use crate::s3::operation::VirtualHosts;
use crate::s3::sigv4::Verifier;
use crate::s3::token::Tokens;

use self::apps::Apps;
use self::failure::{Blame, Failure};
use self::metrics::{LocationLabels, Metrics};
use self::policies::Policies;
use self::writes::Writes;

/// Bodies whose first window is being held at the same time; the rest wait.
const WINDOWS: usize = 128;
/// How long a request waits for one of them.
const WINDOW_WAIT: std::time::Duration = std::time::Duration::from_secs(30);

/// One running gateway.
pub struct Gateway {
    pub config: Config,
    pub metrics: Arc<Metrics>,
    pub apps: Apps,
    pub verifier: Verifier,
    /// Signing regions that are accepted.
    pub regions: Vec<String>,
    pub hosts: VirtualHosts,
    pub geo: Geo,
    pub labeller: Labeller,
    pub engine: Engine,
    pub policies: Policies,
    pub catalogue: Arc<dyn Catalogue>,
    pub locations: Locations,
    pub tokens: Tokens,
    pub key_locks: Arc<KeyLocks>,
    pub live_intents: Arc<LiveIntents>,
    pub writes: Writes,
    pub log: watch::Receiver<Status>,
    windows: Arc<Semaphore>,
}

impl Gateway {
    /// Waits for leave to hold a window: memory for windows is bounded whatever clients do.
    pub async fn window_slot(&self) -> Result<OwnedSemaphorePermit, Failure> {
        let waiting = tokio::time::timeout(WINDOW_WAIT, self.windows.clone().acquire_owned()).await;
        match waiting {
            Ok(Ok(slot)) => Ok(slot),
            _ => Err(Failure::unavailable(
                Blame::Gateway,
                "Too many uploads begin at once. Try again.",
                "no window within the wait",
            )),
        }
    }

    /// The country whose log a bucket's own events belong to.
    pub fn home_country(&self, home: Option<&LocationId>) -> Country {
        home.and_then(|home| self.locations.facts(home).ok())
            .map_or(self.config.node.country, |facts| facts.country)
    }

    pub fn count_stored(&self, location: &LocationId) {
        self.metrics.stored.get_or_create(&LocationLabels { location: location.to_string() }).inc();
    }

    /// What keeps the gateway from serving, in words; nothing when it is ready.
    pub async fn readiness(&self) -> Result<(), Vec<String>> {
        let mut problems = Vec::new();
        if let Err(error) = self.catalogue.residues(1).await {
            problems.push(error.to_string());
        }
        if let Some(problem) = self.log_problem() {
            problems.push(format!("the placement log is not being published: {problem}"));
        }
        if !self.locations.ids().any(|id| self.locations.is_healthy(id)) {
            problems.push("no location is healthy".to_owned());
        }
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    /// Why some log is not being published.
    fn log_problem(&self) -> Option<String> {
        self.log.borrow().values().find_map(|state| match state {
            LogState::Published(_) => None,
            LogState::Delayed(error) | LogState::Refused(error) => Some(error.to_string()),
        })
    }

    /// A log that may never be signed again must not grow either: what cannot be proved is not acknowledged.
    pub fn require_log(&self) -> Result<(), Failure> {
        let refused = self.log.borrow().values().find_map(|state| match state {
            LogState::Refused(error) => Some(error.to_string()),
            LogState::Published(_) | LogState::Delayed(_) => None,
        });
        match refused {
            None => Ok(()),
            Some(problem) => Err(Failure::unavailable(
                Blame::Gateway,
                "The placement log cannot be continued. Nothing is stored until the operator has restored it.",
                problem,
            )),
        }
    }

    /// What an operator should know of, though the gateway is ready.
    pub fn notes(&self) -> Vec<String> {
        self.policies.notes()
    }

    /// Brings the gauges up to date before they are read.
    pub async fn refresh_metrics(&self) {
        for id in self.locations.ids() {
            let healthy = i64::from(self.locations.is_healthy(id));
            self.metrics
                .location_healthy
                .get_or_create(&LocationLabels { location: id.to_string() })
                .set(healthy);
        }
        if let Ok(residues) = self.catalogue.residues(10_000).await {
            self.metrics.residues.set(residues.len() as i64);
        }
        if let Ok(intents) = self.catalogue.open_intents().await {
            self.metrics.open_intents.set(intents.len() as i64);
        }
        self.metrics.policy_files_differ.set(i64::from(self.policies.differs()));
        self.metrics.log_healthy.set(i64::from(self.log_problem().is_none()));
        let status = self.log.borrow().clone();
        let published = status.values().map(|state| match state {
            LogState::Published(size) => *size,
            LogState::Delayed(_) | LogState::Refused(_) => 0,
        });
        self.metrics.log_entries.set(published.sum());
    }
}
