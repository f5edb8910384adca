//! Policies as tests over sets of bits, which answer for all places at once.
//!
//! A snapshot fixes the operator, the locations and the time, so that most of a rule is known when it is loaded: what
//! does not depend on the object is put to Cedar once, place by place, and becomes a set of places. What depends on
//! the object is membership in a few finite sets. A rule that holds anything else is not approximated: Cedar's own
//! authorizer answers for it, place by place, and [`Program::slow`] names it.
//!
//! Cedar stays the oracle: [`super::asking`] asks it the same questions, and the tests compare the answers.

mod answer;
mod code;
mod fixed;
mod fold;
mod form;
mod rule;

pub use answer::{Places, Told, What, Words, told};
pub use fixed::Site;
pub use form::{RuleForm, Vocabulary};

use std::sync::Arc;

use cedar_policy::{Authorizer, Effect, PolicySet, Request};

use super::asking::{AtHome, Facts};
use super::compiled::{CompiledRule, Role};
use super::entities::uid;
use super::snapshot::Snapshot;
use super::{Action, PolicyError, ReaderEntity};
use crate::names::{Country, CountrySet};

use code::{Code, Coded, Inputs, Slots, Source};
use fixed::Answers;
use fold::Folding;
use rule::Test;

/// A set of up to 64 places.
pub(super) type Lanes = u64;

/// The rules that are in force for one action, over up to 64 places.
pub struct Program {
    sites: Vec<Site>,
    /// The places that there are.
    all: Lanes,
    /// The places that need no permit.
    open: Lanes,
    rules: [Vec<LoweredRule>; 3],
    gates: Code,
    duties: Code,
    grounds: Code,
    /// The kinds of mechanism that are configured, in the schema's order.
    kinds: Vec<usize>,
    /// For each configured mechanism, the position of its kind among those, and the places that it reaches.
    reach: Vec<(usize, Lanes)>,
}

/// One rule over the places of a program.
struct LoweredRule {
    /// Position in the compiled set.
    index: usize,
    effect: Effect,
    /// `None` when Cedar has to be asked.
    test: Option<Test>,
}

/// Which rules hold where.
#[derive(Default)]
struct Outcome {
    allowed: Lanes,
    /// Positions in the compiled set, with the places where they hold.
    permits: Vec<(u32, Lanes)>,
    forbids: Vec<(u32, Lanes)>,
    /// Places at which some rule could not be evaluated: they are refused.
    failed: Lanes,
}

impl Program {
    /// Lowers the rules for `action` over these places.
    fn compile(
        snapshot: &Snapshot,
        action: Action,
        reader: ReaderEntity,
        sites: Vec<Site>,
    ) -> Result<Program, PolicyError> {
        let mut places: Vec<(Country, Lanes)> = Vec::new();
        for (lane, site) in sites.iter().enumerate() {
            match places.iter_mut().find(|(country, _)| *country == site.country) {
                Some((_, lanes)) => *lanes |= 1 << lane,
                None => places.push((site.country, 1 << lane)),
            }
        }
        let all = if sites.len() >= 64 { Lanes::MAX } else { (1 << sites.len()) - 1 };
        let lower = |wanted: fn(&Role) -> bool, action: &str| {
            let answers = Answers::new(snapshot, action, reader);
            let rules = snapshot.compiled.rules.iter().enumerate();
            let rules = rules.filter(|(_, rule)| wanted(&rule.role) && rule.in_force(snapshot.now));
            let rules = rules.map(|(index, rule)| (index, rule, rule.form(&snapshot.compiled)));
            let rules = rules.filter(|(_, _, form)| form.applies(action));
            let lowered = rules.map(|(index, rule, form)| LoweredRule {
                index,
                effect: rule.policy.effect(),
                test: form.condition.as_ref().map(|form| Test::new(form, &answers, &sites)),
            });
            lowered.collect::<Vec<_>>()
        };
        let commits = action == Action::Commit;
        let mut gates = match commits {
            true => lower(|role| *role == Role::Commit, action.name()),
            false => lower(|role| *role == Role::Gate, action.name()),
        };
        // Permits first: where nothing is permitted, no prohibition needs to be looked at.
        gates.sort_by_key(|rule| rule.effect != Effect::Permit);
        let (duties, grounds) = match commits {
            true => (Vec::new(), Vec::new()),
            false => (
                lower(|role| matches!(role, Role::Duty(_)), "Oblige"),
                lower(|role| *role == Role::Ground, "Ground"),
            ),
        };

        let of_scope = |scope: &super::mechanism::Scope| snapshot.kind(&scope.used.kind);
        let mut kinds: Vec<usize> = snapshot.scopes.iter().filter_map(of_scope).collect();
        kinds.sort_unstable();
        kinds.dedup();
        let reach = snapshot.scopes.iter().map(|scope| {
            let kind = of_scope(scope);
            let slot = kinds.iter().position(|known| Some(*known) == kind).unwrap_or(usize::MAX);
            let reached = places.iter().filter(|(country, _)| scope.reaches(*country));
            (slot, reached.fold(0, |lanes, (_, places)| lanes | places))
        });
        let reach = reach.collect();

        let blocs: Vec<CountrySet> = snapshot.blocs().to_vec();
        let folding = Folding { all, kinds: &kinds, blocs: &blocs };
        let code = |rules: &[LoweredRule]| -> Result<Code, PolicyError> {
            let mut sources = Vec::with_capacity(rules.len());
            for rule in rules {
                let source = match &rule.test {
                    None => Source::Slow(Box::new(alone(snapshot.compiled.rules.get(rule.index))?)),
                    Some(test) => match folding.fold(test) {
                        // It is for other operators, or for other places.
                        node if node.never_holds() => continue,
                        node => Source::Node(node),
                    },
                };
                sources.push((u32::try_from(rule.index).unwrap_or(u32::MAX), rule.effect, source));
            }
            Ok(Code::new(sources, &places))
        };
        Ok(Program {
            all,
            open: if commits { all } else { 0 },
            gates: code(&gates)?,
            duties: code(&duties)?,
            grounds: code(&grounds)?,
            rules: [gates, duties, grounds],
            kinds,
            reach,
            sites,
        })
    }

    /// The rules that Cedar has to evaluate, as positions in the compiled set.
    pub fn slow(&self) -> impl Iterator<Item = usize> {
        self.rules.iter().flatten().filter(|rule| rule.test.is_none()).map(|rule| rule.index)
    }

    /// The mechanisms that count for these facts, place by place.
    fn mechanisms(&self, snapshot: &Snapshot, facts: &Facts) -> Slots {
        let mut slots = Slots::new(self.kinds.len());
        for (scope, (slot, reach)) in snapshot.scopes.iter().zip(&self.reach) {
            if scope.counts_for(facts.held, snapshot.now) {
                slots.set(*slot, slots.at(*slot) | reach);
            }
        }
        slots
    }

    /// The gates' answer for the places in `live`.
    fn decide(&self, asked: &Asked<'_>, inputs: &Inputs<'_>, live: Lanes) -> Outcome {
        let live = live & self.all;
        let mut outcome = Outcome::default();
        let (mut permitted, mut forbidden) = (self.open & live, 0);
        for rule in self.gates.candidates(inputs.facts) {
            let (holds, failed) = self.holds(&self.gates, rule, asked, inputs, live);
            outcome.failed |= failed;
            match rule.effect {
                _ if holds == 0 => {}
                Effect::Permit => {
                    permitted |= holds;
                    outcome.permits.push((rule.rule, holds));
                }
                Effect::Forbid => {
                    forbidden |= holds;
                    outcome.forbids.push((rule.rule, holds));
                }
            }
        }
        outcome.allowed = permitted & !forbidden & !outcome.failed;
        outcome
    }

    /// The places in `live` that the gates allow; without saying why.
    fn allows(&self, asked: &Asked<'_>, inputs: &Inputs<'_>, live: Lanes) -> Lanes {
        let mut open = live & self.all;
        let mut permitted = self.open;
        for rule in self.gates.candidates(inputs.facts) {
            let (holds, failed) = self.holds(&self.gates, rule, asked, inputs, open);
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

    /// The rules of one kind that hold at the places in `live`, and the places where that could not be found out.
    fn satisfied(
        &self,
        code: &Code,
        asked: &Asked<'_>,
        inputs: &Inputs<'_>,
        live: Lanes,
        mut found: impl FnMut(u32, Lanes),
    ) -> Lanes {
        let mut all_failed = 0;
        if live == 0 {
            return 0;
        }
        for rule in code.candidates(inputs.facts) {
            let (holds, failed) = self.holds(code, rule, asked, inputs, live & self.all);
            all_failed |= failed;
            if holds != 0 {
                found(rule.rule, holds);
            }
        }
        all_failed
    }

    fn holds(
        &self,
        code: &Code,
        rule: &Coded,
        asked: &Asked<'_>,
        inputs: &Inputs<'_>,
        live: Lanes,
    ) -> (Lanes, Lanes) {
        code.holds(rule, inputs, live, |policies| self.cedar(policies, asked, inputs, live))
    }

    /// The places in `live` where a rule that has no lowered form holds, and those where it cannot be evaluated.
    fn cedar(
        &self,
        policies: &PolicySet,
        asked: &Asked<'_>,
        inputs: &Inputs<'_>,
        live: Lanes,
    ) -> (Lanes, Lanes) {
        let (mut holds, mut failed) = (0, 0);
        for (lane, site) in self.sites.iter().enumerate().filter(|(lane, _)| live >> lane & 1 == 1) {
            match self.ask(policies, asked, inputs, lane, site) {
                Ok(true) => holds |= 1 << lane,
                Ok(false) => {}
                Err(_) => failed |= 1 << lane,
            }
        }
        (holds, failed)
    }

    fn ask(
        &self,
        policies: &PolicySet,
        asked: &Asked<'_>,
        inputs: &Inputs<'_>,
        lane: usize,
        site: &Site,
    ) -> Result<bool, PolicyError> {
        let at = |lanes: Lanes| lanes >> lane & 1 == 1;
        let in_force = self.kinds.iter().enumerate().filter(|(slot, _)| at(inputs.mechanisms.at(*slot)));
        let kinds: Vec<usize> = in_force.map(|(_, kind)| *kind).collect();
        let home = if at(inputs.home) { AtHome::Yes } else { AtHome::No };
        let context = asked.snapshot.context(inputs.facts, &kinds, home)?;
        let target = asked.snapshot.target(site.place, asked.reader)?;
        let operator = asked.snapshot.oracle()?.operator.clone();
        let request = Request::new(operator, uid("Action", asked.action)?, target.uid.clone(), context, None)
            .map_err(|error| PolicyError::Question(error.to_string()))?;
        let answer = Authorizer::new().is_authorized(&request, policies, &target.entities);
        match answer.diagnostics().errors().next() {
            Some(error) => Err(PolicyError::Question(error.to_string())),
            None => Ok(answer.diagnostics().reason().next().is_some()),
        }
    }
}

/// What Cedar needs to be asked about a rule that was not lowered.
#[derive(Clone, Copy)]
struct Asked<'a> {
    snapshot: &'a Snapshot,
    action: &'a str,
    reader: ReaderEntity,
}

/// A set of this rule and no other.
fn alone(rule: Option<&CompiledRule>) -> Result<PolicySet, PolicyError> {
    PolicySet::from_policies(rule.map(|rule| rule.policy.clone()))
        .map_err(|error| PolicyError::Schema(error.to_string()))
}

/// Programs over any number of places, 64 at a time.
pub struct Programs(pub Vec<Arc<Program>>);

impl Programs {
    pub fn compile(
        snapshot: &Snapshot,
        action: Action,
        reader: ReaderEntity,
        sites: &[Site],
    ) -> Result<Programs, PolicyError> {
        let programs = sites
            .chunks(64)
            .map(|some| Program::compile(snapshot, action, reader, some.to_vec()).map(Arc::new));
        programs.collect::<Result<_, _>>().map(Programs)
    }

    /// The program of a place, and the place's lane in it.
    fn of(&self, index: usize) -> Option<(usize, &Program, Lanes)> {
        let program = self.0.get(index / 64)?;
        Some((index / 64, program, 1 << (index % 64)))
    }
}
