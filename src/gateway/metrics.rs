//! All metrics, in one place. Stable: their names and labels change only with a note in the changelog.
//! No label carries a bucket, a key, an app or an address: names are personal data.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct RequestLabels {
    pub operation: &'static str,
    pub status: u16,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct BlameLabels {
    pub blame: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct RuleLabels {
    pub rule: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct LocationLabels {
    pub location: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct OutcomeLabels {
    pub outcome: &'static str,
}

/// The counters and gauges of one gateway.
pub struct Metrics {
    registry: Registry,
    pub requests: Family<RequestLabels, Counter>,
    pub failures: Family<BlameLabels, Counter>,
    pub refusals: Family<RuleLabels, Counter>,
    pub stored: Family<LocationLabels, Counter>,
    pub in_flight: Gauge,
    pub duration: Histogram,
    pub late_findings: Counter,
    pub removals: Counter,
    pub residues: Gauge,
    pub open_intents: Gauge,
    pub location_healthy: Family<LocationLabels, Gauge>,
    pub log_entries: Gauge<u64, AtomicU64>,
    pub log_healthy: Gauge,
    pub policy_reload_failures: Counter,
    pub policy_files_differ: Gauge,
    pub policy_shadow: Family<OutcomeLabels, Counter>,
}

impl Metrics {
    pub fn new() -> Metrics {
        let seconds = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0];
        let mut metrics = Metrics {
            registry: Registry::with_prefix("domicile"),
            requests: Family::default(),
            failures: Family::default(),
            refusals: Family::default(),
            stored: Family::default(),
            in_flight: Gauge::default(),
            duration: Histogram::new(seconds),
            late_findings: Counter::default(),
            removals: Counter::default(),
            residues: Gauge::default(),
            open_intents: Gauge::default(),
            location_healthy: Family::default(),
            log_entries: Gauge::default(),
            log_healthy: Gauge::default(),
            policy_reload_failures: Counter::default(),
            policy_files_differ: Gauge::default(),
            policy_shadow: Family::default(),
        };
        let r = &mut metrics.registry;
        r.register("requests", "S3 requests by operation and status", metrics.requests.clone());
        r.register("failures", "Requests that failed, by whose doing it was", metrics.failures.clone());
        r.register("refusals", "Requests that a residency rule refused", metrics.refusals.clone());
        r.register("objects_stored", "Objects placed, by location", metrics.stored.clone());
        r.register("in_flight_requests", "S3 requests being served now", metrics.in_flight.clone());
        r.register_with_unit(
            "request_duration",
            "Time to the response head",
            Unit::Seconds,
            metrics.duration.clone(),
        );
        r.register(
            "late_findings",
            "Writes stopped before their last byte by what their content turned out to be",
            metrics.late_findings.clone(),
        );
        r.register("residues_removed", "Displaced copies removed", metrics.removals.clone());
        r.register("residues", "Displaced copies not removed yet", metrics.residues.clone());
        r.register("open_intents", "Writes begun and not settled", metrics.open_intents.clone());
        r.register("location_healthy", "1 while a location answers", metrics.location_healthy.clone());
        r.register("log_entries", "Durable placement log entries", metrics.log_entries.clone());
        r.register("log_healthy", "1 while checkpoints are being published", metrics.log_healthy.clone());
        r.register(
            "policy_reload_failures",
            "Policy sets that could not take effect; the old one stayed in force",
            metrics.policy_reload_failures.clone(),
        );
        r.register(
            "policy_files_differ",
            "1 while the policy files are another set than the one in force",
            metrics.policy_files_differ.clone(),
        );
        r.register(
            "policy_shadow",
            "Decisions put to the candidate set, by how its answer stands to the live one",
            metrics.policy_shadow.clone(),
        );
        metrics
    }

    /// The OpenMetrics text.
    pub fn render(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = prometheus_client::encoding::text::encode(&mut text, &self.registry);
        text
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Metrics::new()
    }
}
