//! Invariants held against a policy set.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use batsat::Lit;
use cedar_policy::{Policy, PolicySet};
use serde::Serialize;
use serde_json::Value;

use super::invariants::Invariant;
use super::universe::Universe;
use super::view::{Asked, Scope, View, in_action};
use super::witness::Witness;
use super::world::World;
use crate::locations::LocationFacts;
use crate::policy::PolicyError;
use crate::policy::compiled::Compiled;
use crate::policy::scenario::ScenarioError;
use crate::policy::snapshot::Snapshot;

/// Why nothing could be proved at all.
#[derive(Debug, thiserror::Error)]
pub enum ProveError {
    #[error(transparent)]
    Policy(#[from] PolicyError),
    #[error("an example of the prover cannot be put to the policies: {0}")]
    Example(#[from] ScenarioError),
    #[error("invariant `{0}` holds something that has no exact form, such as arithmetic or texts")]
    Inexact(String),
    #[error("the prover and Cedar differ about an example of `{0}`; nothing is proved with this policy set")]
    Disagreement(String),
    #[error("{path}: {problem}")]
    Invariants { path: String, problem: String },
    #[error("--as-of `{0}` is not an RFC 3339 date")]
    AsOf(String),
}

/// What became of one invariant.
#[derive(Debug, Clone, Serialize)]
pub struct Proof {
    pub name: String,
    pub says: String,
    pub outcome: Outcome,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It holds for every question, because of these rules.
    Proved { by: Vec<String> },
    /// It does not hold for this one.
    Refuted(Box<Counterexample>),
    /// It hangs on rules that have no exact form.
    Undecided { rules: Vec<String> },
}

/// A question that is allowed and should not be; nothing in it can be left out.
#[derive(Debug, Clone, Serialize)]
pub struct Counterexample {
    pub words: String,
    /// A line for `policy decide`.
    pub scenario: Value,
}

impl Proof {
    pub fn holds(&self) -> bool {
        matches!(self.outcome, Outcome::Proved { .. })
    }
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.outcome {
            Outcome::Proved { by } => {
                write!(f, "proved     {}: {}", self.name, self.says)?;
                match by.as_slice() {
                    [] => f.write_str(
                        "
    because no rule permits it",
                    ),
                    by => write!(
                        f,
                        "
    by {}",
                        by.join(", ")
                    ),
                }
            }
            Outcome::Refuted(example) => {
                writeln!(f, "REFUTED    {}: {}", self.name, self.says)?;
                writeln!(f, "    allowed: {}", example.words)?;
                write!(f, "    {}", example.scenario)
            }
            Outcome::Undecided { rules } => {
                writeln!(f, "UNDECIDED  {}: {}", self.name, self.says)?;
                write!(f, "    it hangs on rules that have no exact form: {}", rules.join(", "))
            }
        }
    }
}

/// One policy set, ready to be asked about all questions at once.
pub struct Prover<'a> {
    pub world: World,
    pub view: View<'a>,
    compiled: Arc<Compiled>,
    permitted: Lit,
    /// Positions in the compiled set, and where each forbids.
    forbids: Vec<(usize, Lit)>,
}

impl<'a> Prover<'a> {
    /// `asked` is what will be asked of it. With no places, any location can be.
    pub fn new(
        compiled: &'a Arc<Compiled>,
        now: i64,
        asked: &[Invariant],
        places: &[Arc<LocationFacts>],
    ) -> Prover<'a> {
        let more: Vec<&Policy> = asked.iter().map(|invariant| &invariant.policy).collect();
        let universe = Universe::new(&[(compiled, now)], &more, places);
        let mut world = World::new(universe, places);
        let view = View::new(&mut world, compiled, now, Scope::Gates);
        let permitted = view.permitted(&mut world);
        let forbids = view.forbids().map(|rule| (rule.index, rule.holds)).collect();
        Prover { world, view, compiled: Arc::clone(compiled), permitted, forbids }
    }

    /// Positions of the rules that may forbid.
    pub fn gates(&self) -> Vec<usize> {
        self.forbids.iter().map(|(index, _)| *index).collect()
    }

    pub fn prove(&mut self, invariant: &Invariant) -> Result<Proof, ProveError> {
        self.prove_without(invariant, &BTreeSet::new())
    }

    /// The same as if the rules at these positions were not there.
    pub fn prove_without(
        &mut self,
        invariant: &Invariant,
        without: &BTreeSet<usize>,
    ) -> Result<Proof, ProveError> {
        let name = || invariant.name.to_string();
        let proof = |outcome| Proof { name: name(), says: invariant.says.to_string(), outcome };
        let bad = self.view.policy(&mut self.world, &invariant.policy, Asked::Gate);
        let bad = bad.ok_or_else(|| ProveError::Inexact(name()))?;
        let mut by = BTreeSet::new();
        for action in in_action(&self.world, &invariant.action) {
            let mut assumed = vec![action, bad, self.permitted];
            let gates = self.forbids.iter().filter(|(index, _)| !without.contains(index));
            assumed.extend(gates.map(|(_, holds)| !*holds));
            let Some(witness) = self.world.example(&assumed, self.view.now()) else {
                let conflict = self.world.circuit.conflict();
                by.extend(
                    self.forbids
                        .iter()
                        .filter(|(_, holds)| conflict.contains(&!*holds))
                        .map(|(index, _)| *index),
                );
                continue;
            };
            if self.is_confirmed(invariant, &witness, without)? {
                return Ok(proof(Outcome::Refuted(Box::new(Counterexample {
                    words: witness.to_string(),
                    scenario: witness.scenario(&invariant.name),
                }))));
            }
            if self.view.opaque.is_empty() {
                return Err(ProveError::Disagreement(name()));
            }
            return Ok(proof(Outcome::Undecided { rules: self.view.opaque.clone() }));
        }
        Ok(proof(Outcome::Proved { by: self.ids(by) }))
    }

    /// A question that the rule at this position alone refuses; otherwise the rules that stand before it, and none when
    /// it can never hold.
    pub fn decides_alone(&mut self, index: usize) -> Result<Witness, Vec<String>> {
        let mut assumed = vec![self.permitted];
        for (other, holds) in &self.forbids {
            assumed.push(holds.apply_sign(*other == index));
        }
        if let Some(witness) = self.world.any_example(&assumed, self.view.now()) {
            return Ok(witness);
        }
        let conflict = self.world.circuit.conflict();
        let before =
            self.forbids.iter().filter(|(other, holds)| *other != index && conflict.contains(&!*holds));
        let before = before.map(|(other, _)| *other).collect();
        Err(self.ids(before))
    }

    /// Whether any question makes the rule at this position hold.
    pub fn can_hold(&mut self, index: usize) -> bool {
        let rule = self.view.rules.iter().find(|rule| rule.index == index).map(|rule| rule.holds);
        rule.is_some_and(|holds| self.world.circuit.solve(&[holds]).is_some())
    }

    /// Whether Cedar allows the example and finds the invariant's condition in it; and the lowered rules do not differ.
    fn is_confirmed(
        &self,
        invariant: &Invariant,
        witness: &Witness,
        without: &BTreeSet<usize>,
    ) -> Result<bool, ProveError> {
        let compiled = match without.is_empty() {
            true => Arc::clone(&self.compiled),
            false => Arc::new(self.compiled.without(without)),
        };
        let (snapshot, key) = witness.question(&compiled)?;
        let alone = PolicySet::from_policies([invariant.policy.clone()])
            .map_err(|error| PolicyError::Schema(error.to_string()))?;
        let by_cedar = snapshot.evaluate_by_cedar(key)?;
        if snapshot.evaluate(key)? != by_cedar {
            return Err(PolicyError::Disagreement.into());
        }
        Ok(by_cedar.is_allowed() && snapshot.satisfies(&key, &alone)?)
    }

    fn ids(&self, rules: BTreeSet<usize>) -> Vec<String> {
        let rules = rules.into_iter().filter_map(|index| self.compiled.rules.get(index));
        rules.map(|rule| rule.rule.id.to_string()).collect()
    }
}

/// The invariants of a policy set that its packs are there for.
pub fn applicable(compiled: &Compiled) -> Vec<Invariant> {
    let loaded = |name: &String| compiled.packs.iter().any(|pack| pack.name == *name);
    compiled.invariants.iter().filter(|invariant| invariant.needs.iter().all(loaded)).cloned().collect()
}

/// Refuses a policy set that does not keep its own invariants at the configured locations.
pub fn at_load(snapshot: &Snapshot) -> Result<(), PolicyError> {
    let invariants = applicable(&snapshot.compiled);
    if invariants.is_empty() {
        return Ok(());
    }
    let mut prover = Prover::new(&snapshot.compiled, snapshot.now, &invariants, &snapshot.setting.locations);
    let mut broken = Vec::new();
    for invariant in &invariants {
        match prover.prove(invariant) {
            Ok(proof) if proof.holds() => {}
            Ok(proof) => broken.push(proof.to_string()),
            Err(error) => broken.push(error.to_string()),
        }
    }
    if broken.is_empty() { Ok(()) } else { Err(PolicyError::Unproved(broken.join("\n"))) }
}
