//! Policies as tests over sets of bits, which answer for all places at once.
//!
//! A snapshot fixes the operator, the locations and the time, so that most of a rule is known when it is loaded: what
//! does not depend on the object is put to Cedar once, place by place, and becomes a set of places. What depends on
//! the object is membership in a few finite sets. A rule that holds anything else is not approximated: Cedar's own
//! authorizer answers for it, place by place, and [`Program::slow`] names it.
//!
//! Cedar stays the oracle: [`super::asking`] asks it the same questions, and the tests compare the answers.

mod answer;
mod rule;

pub use answer::verdicts;

use std::collections::HashMap;
use std::sync::Arc;

use cedar_policy::{ActionConstraint, Authorizer, Effect, Policy, PolicySet, Request};

use super::asking::{AtHome, Facts};
use super::compiled::{CompiledRule, Role};
use super::entities::uid;
use super::manifest::WordKind;
use super::snapshot::{Snapshot, Target};
use super::{Action, PolicyError};
use crate::names::Country;

use rule::{Lowering, Test};

/// A set of up to 64 places.
pub(super) type Lanes = u64;

/// The rules that are in force for one action, over up to 64 places.
pub struct Program {
    /// The places that there are.
    all: Lanes,
    /// The places that need no permit.
    open: Lanes,
    gates: Vec<LoweredRule>,
    duties: Vec<LoweredRule>,
    grounds: Vec<LoweredRule>,
    by_country: HashMap<Country, Lanes>,
    /// For each configured mechanism, its kind and the places that it reaches.
    reach: Vec<(usize, Lanes)>,
    kinds: usize,
}

struct LoweredRule {
    /// Position in the compiled set.
    index: usize,
    effect: Effect,
    test: RuleTest,
}

enum RuleTest {
    Lowered(Test),
    /// For Cedar itself.
    Slow(Box<PolicySet>),
}

/// What a question looks like to a program.
pub struct Inputs<'a> {
    pub facts: &'a Facts,
    /// The place that is the bucket's home.
    pub home: Lanes,
    /// For each kind of mechanism, the places where it counts.
    pub mechanisms: Vec<Lanes>,
}

/// Which rules hold where.
pub struct Outcome {
    pub allowed: Lanes,
    /// Positions in the compiled set, with the places where they hold.
    pub permits: Vec<(usize, Lanes)>,
    pub forbids: Vec<(usize, Lanes)>,
    /// Places at which some rule could not be evaluated: they are refused.
    pub failed: Lanes,
}

impl Program {
    /// Lowers the rules for `action` over these places.
    pub fn compile(snapshot: &Snapshot, action: Action, targets: &[&Target]) -> Result<Program, PolicyError> {
        let mut by_country: HashMap<Country, Lanes> = HashMap::new();
        for (lane, target) in targets.iter().enumerate() {
            *by_country.entry(target.country).or_default() |= 1 << lane;
        }
        let all = if targets.len() >= 64 { Lanes::MAX } else { (1 << targets.len()) - 1 };
        let lowering = Lowering { snapshot, targets, by_country: &by_country };
        let lower = |wanted: fn(&Role) -> bool, action: &str| {
            let rules = snapshot.compiled.rules.iter().enumerate();
            let rules = rules.filter(|(_, rule)| wanted(&rule.role) && rule.in_force(snapshot.now));
            let rules = rules.filter(|(_, rule)| applies(&rule.policy, action));
            rules.map(|(index, rule)| lowering.rule(index, rule, action)).collect::<Result<Vec<_>, _>>()
        };
        let commits = action == Action::Commit;
        let mut gates = match commits {
            true => lower(|role| *role == Role::Commit, action.name())?,
            false => lower(|role| *role == Role::Gate, action.name())?,
        };
        // Permits first: where nothing is permitted, no prohibition needs to be looked at.
        gates.sort_by_key(|rule| rule.effect != Effect::Permit);
        let (duties, grounds) = match commits {
            true => (Vec::new(), Vec::new()),
            false => (
                lower(|role| matches!(role, Role::Duty(_)), "Oblige")?,
                lower(|role| *role == Role::Ground, "Ground")?,
            ),
        };
        let open = if commits { all } else { 0 };
        let reach = snapshot.scopes.iter().filter_map(|scope| {
            let kind = snapshot.kind(&scope.used.kind)?;
            let reached = by_country.iter().filter(|(country, _)| scope.reaches(**country));
            Some((kind, reached.fold(0, |lanes, (_, places)| lanes | places)))
        });
        let reach = reach.collect();
        let kinds = snapshot.compiled.words.list(WordKind::Mechanism).len();
        Ok(Program { all, open, gates, duties, grounds, by_country, reach, kinds })
    }

    /// The rules that Cedar has to evaluate, as positions in the compiled set.
    pub fn slow(&self) -> impl Iterator<Item = usize> {
        let rules = self.gates.iter().chain(&self.duties).chain(&self.grounds);
        rules.filter(|rule| matches!(rule.test, RuleTest::Slow(_))).map(|rule| rule.index)
    }

    /// The mechanisms that count for these facts, place by place.
    pub fn mechanisms(&self, snapshot: &Snapshot, facts: &Facts) -> Vec<Lanes> {
        let mut lanes = vec![0; self.kinds];
        for (scope, (kind, reach)) in snapshot.scopes.iter().zip(&self.reach) {
            if scope.counts_for(facts.held, snapshot.now)
                && let Some(places) = lanes.get_mut(*kind)
            {
                *places |= reach;
            }
        }
        lanes
    }

    /// The gates' answer for the places in `live`.
    pub fn decide(&self, asked: &Asked<'_>, inputs: &Inputs<'_>, live: Lanes) -> Outcome {
        let mut outcome = Outcome { allowed: 0, permits: Vec::new(), forbids: Vec::new(), failed: 0 };
        let live = live & self.all;
        for rule in &self.gates {
            let (holds, failed) = self.test(rule, asked, inputs, live);
            outcome.failed |= failed;
            if holds == 0 {
                continue;
            }
            match rule.effect {
                Effect::Permit => outcome.permits.push((rule.index, holds)),
                Effect::Forbid => outcome.forbids.push((rule.index, holds)),
            }
        }
        let union = |rules: &[(usize, Lanes)]| rules.iter().fold(0, |lanes, (_, places)| lanes | places);
        outcome.allowed = (self.open | union(&outcome.permits)) & !union(&outcome.forbids) & !outcome.failed;
        outcome
    }

    /// Whether the gates allow anything; without saying why.
    pub fn allows(&self, asked: &Asked<'_>, inputs: &Inputs<'_>, live: Lanes) -> Lanes {
        let mut permitted = self.open;
        let mut open = live & self.all;
        for rule in &self.gates {
            let (holds, failed) = self.test(rule, asked, inputs, open);
            open &= !failed;
            match rule.effect {
                Effect::Permit => permitted |= holds,
                Effect::Forbid => open &= permitted & !holds,
            }
            if open == 0 {
                return 0;
            }
        }
        open & permitted
    }

    /// The duties that are due at the places in `live`, and the places where that could not be found out.
    pub fn duties(
        &self,
        asked: &Asked<'_>,
        inputs: &Inputs<'_>,
        live: Lanes,
    ) -> (Vec<(usize, Lanes)>, Lanes) {
        self.satisfied(&self.duties, asked, inputs, live)
    }

    /// The same for the grounds on which what is allowed rests.
    pub fn grounds(
        &self,
        asked: &Asked<'_>,
        inputs: &Inputs<'_>,
        live: Lanes,
    ) -> (Vec<(usize, Lanes)>, Lanes) {
        self.satisfied(&self.grounds, asked, inputs, live)
    }

    fn satisfied(
        &self,
        rules: &[LoweredRule],
        asked: &Asked<'_>,
        inputs: &Inputs<'_>,
        live: Lanes,
    ) -> (Vec<(usize, Lanes)>, Lanes) {
        let mut due = Vec::new();
        let mut all_failed = 0;
        for rule in rules {
            let (holds, failed) = self.test(rule, asked, inputs, live & self.all);
            all_failed |= failed;
            if holds != 0 {
                due.push((rule.index, holds));
            }
        }
        (due, all_failed)
    }

    fn test(
        &self,
        rule: &LoweredRule,
        asked: &Asked<'_>,
        inputs: &Inputs<'_>,
        live: Lanes,
    ) -> (Lanes, Lanes) {
        match &rule.test {
            RuleTest::Lowered(test) => {
                let mut failed = 0;
                let holds = test.holds(inputs, &self.by_country, live, &mut failed);
                (holds & live & !failed, failed)
            }
            RuleTest::Slow(policies) => asked.cedar(policies, inputs, live),
        }
    }
}

/// What Cedar needs to be asked about a rule that was not lowered.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    pub snapshot: &'a Snapshot,
    pub action: &'a str,
    pub targets: &'a [&'a Target],
}

impl Asked<'_> {
    /// The places in `live` where the rule holds, and those where it cannot be evaluated.
    fn cedar(&self, policies: &PolicySet, inputs: &Inputs<'_>, live: Lanes) -> (Lanes, Lanes) {
        let (mut holds, mut failed) = (0, 0);
        for (lane, target) in self.targets.iter().enumerate().filter(|(lane, _)| live >> lane & 1 == 1) {
            match self.one(policies, inputs, lane, target) {
                Ok(true) => holds |= 1 << lane,
                Ok(false) => {}
                Err(_) => failed |= 1 << lane,
            }
        }
        (holds, failed)
    }

    fn one(
        &self,
        policies: &PolicySet,
        inputs: &Inputs<'_>,
        lane: usize,
        target: &Target,
    ) -> Result<bool, PolicyError> {
        let at = |lanes: Lanes| lanes >> lane & 1 == 1;
        let in_force = inputs.mechanisms.iter().enumerate().filter(|(_, lanes)| at(**lanes));
        let kinds: Vec<usize> = in_force.map(|(kind, _)| kind).collect();
        let home = if at(inputs.home) { AtHome::Yes } else { AtHome::No };
        let context = self.snapshot.context(inputs.facts, &kinds, home)?;
        let operator = self.snapshot.operator.0.clone();
        let request = Request::new(operator, uid("Action", self.action)?, target.uid.clone(), context, None)
            .map_err(|error| PolicyError::Question(error.to_string()))?;
        let answer = Authorizer::new().is_authorized(&request, policies, &target.entities);
        match answer.diagnostics().errors().next() {
            Some(error) => Err(PolicyError::Question(error.to_string())),
            None => Ok(answer.diagnostics().reason().next().is_some()),
        }
    }
}

impl Lowering<'_> {
    fn rule(&self, index: usize, rule: &CompiledRule, action: &str) -> Result<LoweredRule, PolicyError> {
        let test = match self.policy(&rule.policy, action) {
            Some(test) => RuleTest::Lowered(test),
            None => {
                let mut alone = PolicySet::new();
                alone.add(rule.policy.clone()).map_err(|error| PolicyError::Schema(error.to_string()))?;
                RuleTest::Slow(Box::new(alone))
            }
        };
        Ok(LoweredRule { index, effect: rule.policy.effect(), test })
    }
}

/// Whether a policy's scope names this action or a group that it is in.
fn applies(policy: &Policy, action: &str) -> bool {
    let names = |name: &str| match name {
        "Transfer" => matches!(action, "Store" | "Replicate" | "Relocate" | "Read"),
        "AtRest" => matches!(action, "Store" | "Replicate" | "Relocate"),
        other => other == action,
    };
    match policy.action_constraint() {
        ActionConstraint::Any => true,
        ActionConstraint::Eq(uid) => uid.id().unescaped() == action,
        ActionConstraint::In(uids) => uids.iter().any(|uid| names(uid.id().unescaped())),
    }
}

/// Programs over any number of places, 64 at a time.
pub struct Programs(pub Vec<(std::ops::Range<usize>, Arc<Program>)>);

impl Programs {
    pub fn compile(
        snapshot: &Snapshot,
        action: Action,
        targets: &[&Target],
    ) -> Result<Programs, PolicyError> {
        let mut programs = Vec::new();
        for start in (0..targets.len()).step_by(64) {
            let range = start..targets.len().min(start + 64);
            let some = targets.get(range.clone()).unwrap_or_default();
            programs.push((range, Arc::new(Program::compile(snapshot, action, some)?)));
        }
        Ok(Programs(programs))
    }
}
