//! The life of the policy set in a running gateway: taken up at the start, on a signal and when the files change,
//! kept, logged, and rolled back.
//!
//! A set takes effect in this order: it is read and checked whole, approved where that is asked for, written to the
//! kept sets, logged, and only then it answers. Whatever fails on the way leaves the old set in force.
//!
//! Files are watched by reading them again and comparing hashes, not by kernel events: a config map of Kubernetes
//! changes by a symbolic link's swap two levels up, network file systems tell nobody, and a folder that is removed
//! and made anew loses its watch. A policy folder is small; reading it each second costs next to nothing.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::metrics::{Metrics, OutcomeLabels};
use super::{Gateway, start};
use crate::body::BoxError;
use crate::config::Config;
use crate::log::{EntryDraft, Event};
use crate::policy::activation::require_approval;
use crate::policy::kept::{Cause, Kept, KeptError, Pin, Taken};
use crate::policy::shadow::{Outcome, Shadow};
use crate::policy::source::{Sources, read_configured};
use crate::policy::{Activation, Candidate, Decision, PackSource, PolicyError, PolicyHash, Question};

/// How often files and pin are looked at. A change counts when two looks in a row see the same.
const LOOK: Duration = Duration::from_secs(1);

/// What there is to know about the policy files, beside the set that answers.
pub struct Policies {
    kept: Kept,
    /// Held while a set is taken up, so that two changes do not overtake each other.
    turn: tokio::sync::Mutex<()>,
    state: Mutex<State>,
    /// A candidate beside the set that answers.
    shadow: Option<Shadow>,
}

struct State {
    /// What was seen when a set was last taken up, or tried.
    tried: Seen,
    /// Why the last try failed, in one line.
    problem: Option<String>,
    pin: Option<Pin>,
    /// Whether the configured files are another set than the one in force.
    differs: bool,
}

/// All that decides which set should be in force.
#[derive(Clone, PartialEq, Eq)]
struct Seen {
    /// The hash of the files and their activation record; or why there is none. `None` for the packs in the binary.
    files: Option<Result<(PolicyHash, Option<String>), String>>,
    pin: Result<Option<Pin>, String>,
    /// The hash of the candidate's files.
    shadow: Option<Result<PolicyHash, String>>,
}

/// A set that may take effect, and what will be said of it.
pub struct Coming {
    pub candidate: Candidate,
    pub change: Change,
    pin: Option<Pin>,
    seen: Seen,
}

/// A set that takes effect, as it is kept and logged.
#[derive(Clone)]
pub struct Change {
    set: PolicyHash,
    sources: Arc<Sources>,
    /// Who brings it into force.
    activation: Option<Activation>,
}

/// The set that should be in force: the one that was rolled back to, or the configured files. Creates nothing.
pub fn coming(config: &Config) -> Result<Coming, PolicyError> {
    let kept = Kept::of(&config.data);
    // Before the files are read: what changes in between is seen as a change later.
    let seen = Seen::now(config, &kept);
    let pin = kept.pinned().map_err(Box::new)?;
    let sources = match &pin {
        Some(pin) => kept.source(&pin.set).read()?,
        None => read_configured(&config.policy)?,
    };
    let candidate = Candidate::of(sources, start::setting(config))?;
    let set = candidate.policy().clone();
    if let Some(pin) = pin.as_ref().filter(|pin| pin.set != *set.0) {
        let altered = KeptError::Altered { name: pin.set.clone(), found: set.0.to_string() };
        return Err(Box::new(altered).into());
    }
    let activation = match &pin {
        Some(pin) => pin.activation.clone(),
        None => candidate.activation.clone(),
    };
    if config.policy.require_approval {
        require_approval(activation.as_ref(), &set)?;
    }
    // A record about other files says nothing about these.
    let activation = activation.filter(|record| record.is_about(&set));
    let change = Change { set, sources: Arc::clone(&candidate.sources), activation };
    Ok(Coming { candidate, change, pin, seen })
}

impl Seen {
    fn now(config: &Config, kept: &Kept) -> Seen {
        let hash = |source: PackSource| source.read().map(|files| files.hash()).map_err(|e| e.to_string());
        Seen {
            files: Seen::files(config),
            pin: kept.pinned().map_err(|error| error.to_string()),
            shadow: candidate_source(config).map(hash),
        }
    }

    fn files(config: &Config) -> Option<Result<(PolicyHash, Option<String>), String>> {
        if config.policy.directory.is_none() && config.policy.rego.is_none() {
            return None;
        }
        let read = read_configured(&config.policy);
        let seen = read.map(|sources| (sources.hash(), sources.activation.map(|file| file.text)));
        Some(seen.map_err(|error| error.to_string()))
    }

    /// Whether the configured files are another set than this one.
    fn differs(&self, set: &PolicyHash) -> bool {
        match &self.files {
            None => false,
            Some(Ok((hash, _))) => hash != set,
            Some(Err(_)) => true,
        }
    }
}

impl Policies {
    /// For a gateway that begins with this set.
    pub fn new(config: &Config, coming: &Coming, metrics: &Arc<Metrics>) -> std::io::Result<Policies> {
        let metrics = Arc::clone(metrics);
        let count = move |outcome: Outcome| {
            metrics.policy_shadow.get_or_create(&OutcomeLabels { outcome: outcome.name() }).inc();
        };
        let shadow = config.policy.shadow.is_some().then(|| Shadow::new(count)).transpose()?;
        let state = State {
            tried: coming.seen.clone(),
            problem: None,
            pin: coming.pin.clone(),
            differs: coming.seen.differs(coming.candidate.policy()),
        };
        let policies = Policies {
            kept: Kept::of(&config.data),
            turn: tokio::sync::Mutex::new(()),
            state: Mutex::new(state),
            shadow,
        };
        policies.load_shadow(config);
        Ok(policies)
    }

    /// The candidate that is asked beside the set in force, where one is configured.
    pub fn shadow(&self) -> Option<&Shadow> {
        self.shadow.as_ref()
    }

    /// Reads the candidate anew. One that is broken is told of and changes nothing else.
    fn load_shadow(&self, config: &Config) {
        let (Some(shadow), Some(source)) = (&self.shadow, candidate_source(config)) else { return };
        match shadow.load(&source, start::setting(config)) {
            Ok(set) => tracing::info!(policy = %set.0, "a candidate policy set is asked beside the live one"),
            Err(error) => tracing::error!(error, "the candidate policy set cannot be asked"),
        }
    }

    /// What an operator should know, though the gateway serves.
    pub fn notes(&self) -> Vec<String> {
        let state = self.state();
        let mut notes = Vec::new();
        if let Some(problem) = &state.problem {
            notes.push(format!("the policies were not reloaded, the old ones stay in force: {problem}"));
        }
        if let Some(pin) = &state.pin {
            let set = &pin.set;
            notes.push(format!(
                "policy set {set} was rolled back to; `domicile policy rollback --release` ends that"
            ));
        }
        if let Some(problem) = self.shadow.as_ref().and_then(|shadow| shadow.report().problem) {
            notes.push(format!("the candidate policy set cannot be asked: {}", one_line(&problem)));
        }
        if state.differs {
            notes.push("the policy files are not the set that is in force".to_owned());
        }
        notes
    }

    pub fn differs(&self) -> bool {
        self.state().differs
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Gateway {
    /// Asks the policies in force; and, without waiting, the candidate beside them.
    pub fn decide(&self, question: &Question<'_>) -> Result<Arc<Decision>, PolicyError> {
        let decision = self.engine.decide(question)?;
        if let Some(shadow) = &self.policies.shadow {
            shadow.offer(question, &decision);
        }
        Ok(decision)
    }

    /// Reads the policies anew, all or nothing, and logs which set is in force now.
    pub async fn reload_policies(self: &Arc<Self>) -> Result<PolicyHash, BoxError> {
        let _turn = self.policies.turn.lock().await;
        let this = Arc::clone(self);
        let seen = tokio::task::spawn_blocking(move || Seen::now(&this.config, &this.policies.kept)).await?;
        let result = self.take_up().await;
        self.reload_shadow().await;
        let mut state = self.policies.state();
        state.tried = seen;
        state.differs = state.tried.differs(&self.engine.policy());
        match &result {
            Ok(_) => state.problem = None,
            Err(error) => {
                self.metrics.policy_reload_failures.inc();
                state.problem = Some(one_line(&error.to_string()));
            }
        }
        result
    }

    async fn reload_shadow(self: &Arc<Self>) {
        let this = Arc::clone(self);
        if let Err(error) = tokio::task::spawn_blocking(move || this.policies.load_shadow(&this.config)).await
        {
            tracing::error!(%error, "the candidate policy set was not read");
        }
    }

    async fn take_up(self: &Arc<Self>) -> Result<PolicyHash, BoxError> {
        let this = Arc::clone(self);
        let load = move || {
            let coming = coming(&this.config)?;
            warn_of(&coming.candidate.slow_rules()?);
            Ok::<_, PolicyError>(coming)
        };
        let coming = tokio::task::spawn_blocking(load).await??;
        let cause = match (&self.policies.state().pin, &coming.pin) {
            (None, Some(_)) => Cause::Rollback,
            (Some(before), Some(now)) if before != now => Cause::Rollback,
            (Some(_), None) => Cause::Release,
            _ => Cause::Reload,
        };
        self.record_policy(&coming.change, cause).await?;
        self.engine.take_up(coming.candidate);
        self.policies.state().pin = coming.pin;
        Ok(coming.change.set)
    }

    /// Keeps the files of a set and logs that it takes effect. Until this has returned it must not answer.
    pub async fn record_policy(&self, change: &Change, cause: Cause) -> Result<(), BoxError> {
        let taken = Taken {
            at: jiff::Timestamp::now().to_string(),
            set: change.set.0.to_string(),
            cause,
            activation: change.activation.clone(),
        };
        let (kept, set, sources) = (self.policies.kept.clone(), change.set.clone(), change.sources.clone());
        tokio::task::spawn_blocking(move || {
            kept.keep(&set, &sources)?;
            kept.note(&taken)
        })
        .await??;
        let mut draft = EntryDraft::new(Event::Policy, self.config.node.country);
        draft.decision.policy = change.set.0.to_string();
        // Names of people: for the sealed record, never for the entry.
        if let Some(Activation { author, approver, reason, .. }) = change.activation.clone() {
            draft.sealed.author = Some(author);
            draft.sealed.approver = Some(approver);
            draft.sealed.reason = Some(reason);
        }
        self.catalogue.record_event(draft).await?;
        Ok(())
    }

    /// As [`Gateway::reload_policies`], for whoever cannot be answered: the gateway's own log says how it went.
    pub async fn reload_policies_and_tell(self: &Arc<Self>) {
        match self.reload_policies().await {
            Ok(set) => tracing::info!(policy = %set.0, "policies reloaded"),
            Err(error) => {
                tracing::error!(error, "the policies were not reloaded; the old ones stay in force")
            }
        }
    }
}

/// Rules that cost time at every question.
pub fn warn_of(slow_rules: &[String]) {
    for rule in slow_rules {
        tracing::warn!(
            rule,
            "this rule has no lowered form and is evaluated by Cedar each time, which is slow"
        );
    }
}

/// Takes up what changes in the policy folder, where that is configured, and every roll back.
pub async fn watch(gateway: Arc<Gateway>, mut stopped: watch::Receiver<bool>) {
    let mut before = None;
    loop {
        tokio::select! {
            _ = stopped.wait_for(|stopped| *stopped) => return,
            () = tokio::time::sleep(LOOK) => {}
        }
        let this = Arc::clone(&gateway);
        let look = move || Seen::now(&this.config, &this.policies.kept);
        let Ok(now) = tokio::task::spawn_blocking(look).await else { continue };
        let settled = before.as_ref() == Some(&now);
        let (changed, candidate) = {
            let mut state = gateway.policies.state();
            state.differs = now.differs(&gateway.engine.policy());
            let files = gateway.config.policy.watch && now.files != state.tried.files;
            let candidate = settled && gateway.config.policy.watch && now.shadow != state.tried.shadow;
            if candidate {
                state.tried.shadow = now.shadow.clone();
            }
            (files || now.pin != state.tried.pin, candidate)
        };
        before = Some(now);
        if settled && changed {
            gateway.reload_policies_and_tell().await;
        } else if candidate {
            gateway.reload_shadow().await;
        }
    }
}

/// Where the candidate's files are; the same packs of them count.
fn candidate_source(config: &Config) -> Option<PackSource> {
    let directory = config.policy.shadow.clone()?;
    Some(PackSource { directory: Some(directory), ..PackSource::from(&config.policy) })
}

fn one_line(text: &str) -> String {
    let mut lines = text.lines().filter(|line| !line.trim().is_empty());
    let first = lines.by_ref().take(2).collect::<Vec<_>>().join(" ");
    match lines.next() {
        None => first,
        Some(_) => format!("{first} (more in the gateway's log)"),
    }
}

#[cfg(test)]
mod tests;
