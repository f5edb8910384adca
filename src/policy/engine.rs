//! The engine: the current snapshot, asked by every request and swapped as a whole.

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::{ArcSwap, Guard};

use super::compiled::{Compiled, compile_once};
use super::decision::Decision;
use super::prove;
use super::snapshot::{Moment, Setting, Snapshot};
use super::source::Sources;
use super::{Activation, PackSource, PolicyError, PolicyHash, Question};

/// Seconds since the Unix epoch.
type Clock = Box<dyn Fn() -> i64 + Send + Sync>;

/// Answers where objects may rest and be read.
pub struct Engine {
    current: ArcSwap<Snapshot>,
    /// Held while a snapshot is made because time has passed, so that it is made once.
    turning: Mutex<()>,
    clock: Clock,
}

impl Engine {
    /// Loads the packs and ties them to the configuration. On any problem there is no engine.
    pub fn load(source: &PackSource, setting: Setting) -> Result<Engine, PolicyError> {
        Engine::load_with_clock(source, setting, Box::new(system_clock))
    }

    /// As [`Engine::load`], at the times that `clock` tells (seconds since the Unix epoch).
    pub fn load_with_clock(
        source: &PackSource,
        setting: Setting,
        clock: Clock,
    ) -> Result<Engine, PolicyError> {
        let first = build(source, setting, clock())?;
        Ok(Engine { current: ArcSwap::from_pointee(first), turning: Mutex::new(()), clock })
    }

    /// An engine whose first answers are the candidate's.
    pub fn of(candidate: Candidate) -> Engine {
        let current = ArcSwap::from_pointee(candidate.snapshot);
        Engine { current, turning: Mutex::new(()), clock: Box::new(system_clock) }
    }

    /// Loads anew. The new policies answer from the moment this returns; on any problem the old ones stay, whole.
    /// Returns the hash of the policy set that now answers.
    pub fn reload(&self, source: &PackSource, setting: Setting) -> Result<PolicyHash, PolicyError> {
        let next = build(source, setting, (self.clock)())?;
        let hash = next.compiled.hash.clone();
        self.install(next);
        Ok(hash)
    }

    /// Lets a candidate answer from now on.
    pub fn take_up(&self, candidate: Candidate) {
        self.install(candidate.snapshot);
    }

    fn install(&self, next: Snapshot) {
        let _turn = self.turning.lock().unwrap_or_else(PoisonError::into_inner);
        self.current.store(Arc::new(next));
    }

    /// Answers for all locations at once, or for the reader.
    pub fn decide(&self, question: &Question<'_>) -> Result<Arc<Decision>, PolicyError> {
        let snapshot = self.snapshot()?;
        let key = snapshot.key(question);
        let packs = snapshot.answer(&key)?;
        Ok(match &snapshot.compiled.constraint {
            None => packs,
            Some(constraint) => constraint.narrow(&snapshot, key, packs),
        })
    }

    /// As [`Engine::decide`] by the packs alone, never from memory: for measurements.
    pub fn decide_anew(&self, question: &Question<'_>) -> Result<Decision, PolicyError> {
        let snapshot = self.snapshot()?;
        snapshot.evaluate(snapshot.key(question))
    }

    /// As [`Engine::decide_anew`], by Cedar's own authorizer: what it is measured against.
    pub fn decide_by_cedar(&self, question: &Question<'_>) -> Result<Decision, PolicyError> {
        let snapshot = self.snapshot()?;
        snapshot.evaluate_by_cedar(snapshot.key(question))
    }

    /// Ids of the rules that have no lowered form: Cedar evaluates them each time, which is slow.
    pub fn slow_rules(&self) -> Result<Vec<String>, PolicyError> {
        self.snapshot()?.slow_rules()
    }

    /// Hash of the policy set that answers now.
    pub fn policy(&self) -> PolicyHash {
        self.current.load().compiled.hash.clone()
    }

    /// The policy set that answers now.
    pub fn compiled(&self) -> Arc<Compiled> {
        Arc::clone(&self.current.load().compiled)
    }

    pub(super) fn setting(&self) -> Arc<Setting> {
        Arc::clone(&self.current.load().setting)
    }

    pub(super) fn now(&self) -> i64 {
        (self.clock)()
    }

    /// The snapshot for this moment; a new one when a mechanism, a membership or a rule changed by date.
    fn snapshot(&self) -> Result<Guard<Arc<Snapshot>>, PolicyError> {
        let now = (self.clock)();
        let snapshot = self.current.load();
        if snapshot.is_valid_at(now) {
            return Ok(snapshot);
        }
        let _turn = self.turning.lock().unwrap_or_else(PoisonError::into_inner);
        let snapshot = self.current.load();
        if !snapshot.is_valid_at(now) {
            let next = Snapshot::new(
                Arc::clone(&snapshot.compiled),
                Arc::clone(&snapshot.setting),
                Moment::Clock(now),
            )?;
            next.warm()?;
            self.current.store(Arc::new(next));
        }
        Ok(self.current.load())
    }
}

/// A policy set that could answer, and does not yet.
pub struct Candidate {
    snapshot: Snapshot,
    /// What it was made of.
    pub sources: Arc<Sources>,
    /// Who brings it into force, if the files say so.
    pub activation: Option<Activation>,
}

impl Candidate {
    /// Loads the packs, ties them to the configuration and asks them a first question. On any problem there is none.
    pub fn load(source: &PackSource, setting: Setting) -> Result<Candidate, PolicyError> {
        Candidate::of(source.read()?, setting)
    }

    /// As [`Candidate::load`], of files that were read already.
    pub fn of(sources: Sources, setting: Setting) -> Result<Candidate, PolicyError> {
        let activation = sources.activation.as_ref().map(|file| Activation::parse(&file.text)).transpose()?;
        let snapshot = snapshot(&sources, setting, system_clock())?;
        Ok(Candidate { snapshot, sources: Arc::new(sources), activation })
    }

    pub fn policy(&self) -> &PolicyHash {
        &self.snapshot.compiled.hash
    }

    /// As [`Engine::slow_rules`].
    pub fn slow_rules(&self) -> Result<Vec<String>, PolicyError> {
        self.snapshot.slow_rules()
    }
}

fn build(source: &PackSource, setting: Setting, now: i64) -> Result<Snapshot, PolicyError> {
    snapshot(&source.read()?, setting, now)
}

fn snapshot(sources: &Sources, setting: Setting, now: i64) -> Result<Snapshot, PolicyError> {
    let compiled = compile_once(sources).map_err(PolicyError::Invalid)?;
    let snapshot = Snapshot::new(compiled, Arc::new(setting), Moment::Clock(now))?;
    snapshot.warm()?;
    prove::at_load(&snapshot)?;
    Ok(snapshot)
}

/// The clock of the last tick: a few milliseconds late, and a fifth of the price. Each decision looks at it.
#[cfg(target_os = "linux")]
fn system_clock() -> i64 {
    rustix::time::clock_gettime(rustix::time::ClockId::RealtimeCoarse).tv_sec
}

#[cfg(not(target_os = "linux"))]
fn system_clock() -> i64 {
    use std::time::{SystemTime, UNIX_EPOCH};
    // Before 1970 no rule is in force, which refuses everything.
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(i64::MIN, |since| since.as_secs() as i64)
}
