//! Whether a location answers, learnt from the requests that it gets anyway.
//!
//! Placement prefers healthy locations among the *allowed* ones; health never widens that set. A location
//! that failed several times in a row counts as unhealthy for a while, longer each time, and is then tried again.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The health of one location. Shared, and updated without a lock.
#[derive(Debug)]
pub struct Health {
    base: Instant,
    /// Failures since the last success.
    failures: AtomicU32,
    /// Milliseconds after `base` until which the location counts as unhealthy.
    shunned_until: AtomicU64,
}

impl Health {
    /// This many failures in a row make a location unhealthy.
    pub const TOLERATED: u32 = 5;
    /// How long the first time; it doubles with each further failure.
    pub const FIRST_PAUSE: Duration = Duration::from_secs(1);
    /// And how long at most.
    pub const LONGEST_PAUSE: Duration = Duration::from_secs(60);

    pub fn new() -> Self {
        Health { base: Instant::now(), failures: AtomicU32::new(0), shunned_until: AtomicU64::new(0) }
    }

    pub fn is_healthy(&self) -> bool {
        self.is_healthy_at(Instant::now())
    }

    /// The location answered.
    pub fn succeeded(&self) {
        // Read before write: the usual case leaves the cache line shared between cores.
        if self.failures.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Relaxed);
            self.shunned_until.store(0, Ordering::Relaxed);
        }
    }

    /// The location did not answer, or said that it cannot.
    pub fn failed(&self) {
        self.failed_at(Instant::now());
    }

    fn is_healthy_at(&self, now: Instant) -> bool {
        let until = self.shunned_until.load(Ordering::Relaxed);
        until == 0 || self.millis(now) >= until
    }

    fn failed_at(&self, now: Instant) {
        let before = self
            .failures
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| Some(n.saturating_add(1)))
            .unwrap_or_default();
        let Some(excess) = (before.saturating_add(1)).checked_sub(Self::TOLERATED) else { return };
        let pause = Self::FIRST_PAUSE.saturating_mul(1 << excess.min(16)).min(Self::LONGEST_PAUSE);
        self.shunned_until.store(self.millis(now + pause), Ordering::Relaxed);
    }

    fn millis(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.base).as_millis()).unwrap_or(u64::MAX)
    }
}

impl Default for Health {
    fn default() -> Self {
        Health::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fail(health: &Health, times: u32, now: Instant) {
        for _ in 0..times {
            health.failed_at(now);
        }
    }

    #[test]
    fn a_few_failures_are_tolerated_and_more_are_not() {
        let (health, now) = (Health::new(), Instant::now());
        fail(&health, Health::TOLERATED - 1, now);
        assert!(health.is_healthy_at(now));
        fail(&health, 1, now);
        assert!(!health.is_healthy_at(now));
    }

    #[test]
    fn an_unhealthy_location_is_tried_again_and_shunned_for_longer_if_it_fails_again() {
        let (health, now) = (Health::new(), Instant::now());
        fail(&health, Health::TOLERATED, now);
        let later = now + Health::FIRST_PAUSE + Duration::from_millis(1);
        assert!(health.is_healthy_at(later));
        fail(&health, 1, later);
        assert!(!health.is_healthy_at(later + Health::FIRST_PAUSE));
        assert!(health.is_healthy_at(later + Health::FIRST_PAUSE * 2 + Duration::from_millis(1)));
    }

    #[test]
    fn the_pause_has_an_upper_bound() {
        let (health, now) = (Health::new(), Instant::now());
        fail(&health, 1000, now);
        assert!(!health.is_healthy_at(now + Health::LONGEST_PAUSE - Duration::from_secs(1)));
        assert!(health.is_healthy_at(now + Health::LONGEST_PAUSE + Duration::from_millis(1)));
    }

    #[test]
    fn one_answer_makes_a_location_healthy_again() {
        let (health, now) = (Health::new(), Instant::now());
        fail(&health, 20, now);
        health.succeeded();
        assert!(health.is_healthy_at(now));
        fail(&health, Health::TOLERATED - 1, now);
        assert!(health.is_healthy_at(now));
    }
}
