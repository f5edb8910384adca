//! From a configuration to a running gateway, and back to rest.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;

use super::apps::Apps;
use super::metrics::Metrics;
use super::policies::{self, Policies};
use super::{Gateway, WINDOWS};
use crate::body::BoxError;
use crate::catalogue::sqlite::{SqliteCatalogue, SqliteOptions};
use crate::config::{self, Config};
use crate::geo::Geo;
use crate::label::sources::Labeller;
use crate::locations::registry::{self, Locations, OpenError};
use crate::log::tiles::{Publisher, PublisherHandle};
use crate::placement::{residue, settle};
use crate::policy::kept::Cause;
use crate::policy::{Engine, PackSource, Setting};
use crate::s3::operation::VirtualHosts;
use crate::s3::sigv4::Verifier;
use crate::s3::token::Tokens;

/// How often residue and open writes are looked at again.
const SWEEP: Duration = Duration::from_secs(5);
/// How long a start waits for open writes to be settled before it serves; the rest goes on behind.
const SETTLE_AT_START: Duration = Duration::from_secs(20);

/// A gateway with the work that goes on behind its requests.
pub struct Running {
    pub gateway: Arc<Gateway>,
    publisher: PublisherHandle,
    stop: watch::Sender<bool>,
    sweeper: JoinHandle<()>,
    watcher: JoinHandle<()>,
}

impl Running {
    /// Opens everything, settles what a crash left open, and starts the background work.
    pub async fn start(config: Config) -> Result<Running, BoxError> {
        Running::start_with(config, Locations::open).await
    }

    /// [`Running::start`], with locations that `open` opens.
    pub(super) async fn start_with(
        config: Config,
        open: impl FnOnce(&[config::Location]) -> Result<Locations, OpenError>,
    ) -> Result<Running, BoxError> {
        let apps = Apps::new(&config.apps)?;
        let labeller = Labeller::new(&config.label)?;
        let geo = Geo::open(&config.geo, &config.gateway.trusted_proxies)?;
        let coming = policies::coming(&config)?;
        let metrics = Arc::new(Metrics::new());
        let policies = Policies::new(&config, &coming, &metrics)?;
        let engine = Engine::of(coming.candidate);
        policies::warn_of(&engine.slow_rules()?);
        let catalogue = Arc::new(SqliteCatalogue::open(SqliteOptions::of(&config))?);
        let locations = open(&config.locations)?;
        let publisher =
            Publisher::open(&log_folder(&config.data), catalogue.clone(), catalogue.keys().clone())?.spawn();
        let mut regions = BTreeSet::from([config.gateway.region.clone()]);
        regions.extend(config.locations.iter().map(|location| location.region.clone()));
        let gateway = Arc::new(Gateway {
            metrics,
            apps,
            verifier: Verifier::default(),
            regions: ordered(&config.gateway.region, regions),
            hosts: VirtualHosts::new(&config.gateway.domains),
            geo,
            labeller,
            engine,
            policies,
            tokens: Tokens::new(&catalogue.keys().token_key()),
            catalogue: catalogue.clone(),
            locations,
            key_locks: Arc::default(),
            live_intents: Arc::default(),
            writes: Default::default(),
            log: publisher.status(),
            windows: Arc::new(Semaphore::new(WINDOWS)),
            config,
        });
        if tokio::time::timeout(SETTLE_AT_START, settle::sweep(&gateway)).await.is_err() {
            tracing::warn!("some writes that were open could not be settled yet; trying on");
        }
        gateway.record_policy(&coming.change, Cause::Start).await?;
        let (stop, stopped) = watch::channel(false);
        let sweeper = tokio::spawn(sweep(gateway.clone(), stopped.clone()));
        let watcher = tokio::spawn(policies::watch(gateway.clone(), stopped));
        Ok(Running { gateway, publisher, stop, sweeper, watcher })
    }

    /// Lets the writes of clients that went away come to their end, ends the background work, and publishes what is
    /// left to publish.
    pub async fn stop(self) {
        let patience = Duration::from_secs(self.gateway.config.gateway.shutdown_timeout_seconds);
        if tokio::time::timeout(patience, self.gateway.writes.finished()).await.is_err() {
            tracing::warn!(
                "writes were still under way when the shutdown timeout ended; the next start settles them"
            );
        }
        let _ = self.stop.send(true);
        if let Err(error) = self.sweeper.await {
            tracing::error!(%error, "the background sweep ended badly");
        }
        if let Err(error) = self.watcher.await {
            tracing::error!(%error, "the watch over the policies ended badly");
        }
        self.publisher.stop().await;
    }
}

async fn sweep(gateway: Arc<Gateway>, mut stopped: watch::Receiver<bool>) {
    loop {
        tokio::select! {
            _ = stopped.wait_for(|stopped| *stopped) => return,
            () = tokio::time::sleep(SWEEP) => {}
        }
        settle::sweep(&gateway).await;
        residue::sweep(&gateway).await;
    }
}

/// Checks everything that a configuration names, and starts nothing.
pub fn check(config: &Config) -> Result<(), BoxError> {
    Apps::new(&config.apps)?;
    Labeller::new(&config.label)?;
    Geo::open(&config.geo, &config.gateway.trusted_proxies)?;
    policies::coming(config)?;
    registry::check(&config.locations)?;
    if let Some(tls) = &config.gateway.tls {
        super::server::check_tls(tls)?;
    }
    Ok(())
}

/// The engine over the configured packs and locations.
pub fn engine(config: &Config) -> Result<Engine, BoxError> {
    Ok(Engine::load(&PackSource::from(&config.policy), setting(config))?)
}

/// What policies are told of this operator.
pub fn setting(config: &Config) -> Setting {
    Setting {
        locations: config.locations.iter().map(registry::facts).collect(),
        operator: config.operator.clone(),
        mechanisms: config.mechanisms.clone(),
        facts: config.facts.clone(),
    }
}

/// Where the placement log is published.
pub fn log_folder(data: &Path) -> std::path::PathBuf {
    data.join("log")
}

/// The gateway's own region first: it is the one that errors name.
fn ordered(first: &str, regions: BTreeSet<String>) -> Vec<String> {
    let rest = regions.into_iter().filter(|region| region != first);
    std::iter::once(first.to_owned()).chain(rest).collect()
}
