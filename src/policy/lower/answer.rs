//! A question answered by programs, in the words in which Cedar's authorizer would answer it.

use std::sync::Arc;

use super::{Asked, Inputs, Lanes, Outcome, Program};
use crate::policy::asking::{Facts, unknown_readers};
use crate::policy::decision::{Verdict, default_deny, evaluation_error, extend};
use crate::policy::mechanism::MechanismUse;
use crate::policy::snapshot::{Key, Snapshot, Target};
use crate::policy::{Action, Copies, PolicyError, Rule};

/// The verdicts for a question: one for each location, or one for the reader.
pub fn verdicts(snapshot: &Snapshot, key: &Key) -> Result<Vec<Verdict>, PolicyError> {
    let facts = Facts::new(key, snapshot);
    let programs = snapshot.programs(key.action, key.reader_entity)?;
    let targets = snapshot.targets(key.action, key.reader_entity)?;
    if key.action != Action::Read {
        let mut verdicts = Vec::with_capacity(targets.len());
        for (range, program) in &programs.0 {
            let home = key.home.map_or(0, |home| lane_in(range, usize::from(home)));
            let some = targets.get(range.clone()).unwrap_or_default();
            let answering = Answering::new(snapshot, program, some, key.action, &facts, home);
            let missing = match (key.copies, key.action) {
                (Copies::MayFollow, _) | (_, Action::Commit) => None,
                (Copies::Complete, _) => {
                    let commits = snapshot.programs(Action::Commit, key.reader_entity)?;
                    let commit =
                        commits.0.iter().find(|(other, _)| other == range).map(|(_, program)| program);
                    let asked = Asked { snapshot, action: Action::Commit.name(), targets: some };
                    commit.map(|program| program.decide(&asked, &answering.inputs, Lanes::MAX))
                }
            };
            answering.verdicts(Lanes::MAX, missing.as_ref(), &mut verdicts);
        }
        return Ok(verdicts);
    }
    let one = |index: usize| {
        let (range, program) = programs
            .0
            .iter()
            .find(|(range, _)| range.contains(&index))
            .ok_or_else(|| PolicyError::Question("no such country".to_owned()))?;
        let some = targets.get(range.clone()).unwrap_or_default();
        let mut verdicts = Vec::new();
        Answering::new(snapshot, program, some, key.action, &facts, 0).verdicts(
            lane_in(range, index),
            None,
            &mut verdicts,
        );
        verdicts.pop().ok_or_else(|| PolicyError::Question("no such country".to_owned()))
    };
    if let Some(reader) = key.reader {
        return Ok(vec![one(reader.index())?]);
    }
    let mut all = Verdict { allowed: true, ..Verdict::default() };
    for country in unknown_readers(snapshot, key) {
        let verdict = one(country.index())?;
        if !verdict.allowed {
            return Ok(vec![verdict]);
        }
        extend(&mut all.rules, &verdict.rules);
        extend(&mut all.obligations, &verdict.obligations);
        extend(&mut all.duties, &verdict.duties);
        extend(&mut all.grounds, &verdict.grounds);
        extend(&mut all.mechanisms, &verdict.mechanisms);
    }
    Ok(vec![all])
}

fn lane_in(range: &std::ops::Range<usize>, index: usize) -> Lanes {
    if range.contains(&index) { 1 << (index - range.start) } else { 0 }
}

/// One question over up to 64 places.
struct Answering<'a> {
    snapshot: &'a Snapshot,
    program: &'a Program,
    targets: &'a [&'a Target],
    gate: Asked<'a>,
    inputs: Inputs<'a>,
}

impl<'a> Answering<'a> {
    fn new(
        snapshot: &'a Snapshot,
        program: &'a Program,
        targets: &'a [&'a Target],
        action: Action,
        facts: &'a Facts,
        home: Lanes,
    ) -> Self {
        let mechanisms = program.mechanisms(snapshot, facts);
        let gate = Asked { snapshot, action: action.name(), targets };
        Answering { snapshot, program, targets, gate, inputs: Inputs { facts, home, mechanisms } }
    }

    /// Adds the verdicts of the places in `live`, in order. `copies` says where a copy elsewhere would be missing.
    fn verdicts(&self, live: Lanes, copies: Option<&Outcome>, verdicts: &mut Vec<Verdict>) {
        let mut outcome = self.program.decide(&self.gate, &self.inputs, live);
        if let Some(copies) = copies {
            let allowed = outcome.allowed;
            outcome.allowed &= copies.allowed;
            outcome.failed |= copies.failed & allowed;
            // They are told only where nothing else stands against the place.
            let told = copies.forbids.iter().map(|(index, lanes)| (*index, lanes & allowed));
            outcome.forbids.extend(told.filter(|(_, lanes)| *lanes != 0));
        }
        let oblige = Asked { action: "Oblige", ..self.gate };
        let (due, undecided) = self.program.duties(&oblige, &self.inputs, outcome.allowed);
        let ground = Asked { action: "Ground", ..self.gate };
        let (grounds, more_undecided) = self.program.grounds(&ground, &self.inputs, outcome.allowed);
        let undecided = undecided | more_undecided;
        for lane in (0..self.targets.len()).filter(|lane| live >> lane & 1 == 1) {
            verdicts.push(self.verdict(lane, &outcome, &due, &grounds, undecided));
        }
    }

    fn verdict(
        &self,
        lane: usize,
        outcome: &Outcome,
        due: &[(usize, Lanes)],
        grounds: &[(usize, Lanes)],
        undecided: Lanes,
    ) -> Verdict {
        let at = |lanes: Lanes| lanes >> lane & 1 == 1;
        let refused = |rules| Verdict { rules, ..Verdict::default() };
        if at(outcome.failed) || (at(outcome.allowed) && at(undecided)) {
            return refused(vec![Arc::new(evaluation_error())]);
        }
        if !at(outcome.allowed) {
            let mut rules = self.rules(lane, &outcome.forbids);
            if rules.is_empty() {
                rules.push(Arc::new(default_deny()));
            }
            return refused(rules);
        }
        let mut verdict = Verdict {
            allowed: true,
            rules: self.rules(lane, &outcome.permits),
            grounds: self.rules(lane, grounds),
            mechanisms: self.needed(lane),
            ..Verdict::default()
        };
        for (index, _) in due.iter().filter(|(_, lanes)| at(*lanes)) {
            if let (Some((rule, obligation)), Some(target)) =
                (self.snapshot.duty(*index), self.targets.get(lane))
            {
                verdict.owe(rule, obligation, target.country);
            }
        }
        verdict
    }

    fn rules(&self, lane: usize, held: &[(usize, Lanes)]) -> Vec<Arc<Rule>> {
        let mut here: Vec<usize> =
            held.iter().filter(|(_, lanes)| lanes >> lane & 1 == 1).map(|(index, _)| *index).collect();
        here.sort_unstable();
        here.iter()
            .filter_map(|index| self.snapshot.compiled.rules.get(*index))
            .map(|r| Arc::clone(&r.rule))
            .collect()
    }

    /// The mechanisms that carry an allowed place: as few as can be while it stays allowed.
    fn needed(&self, lane: usize) -> Vec<MechanismUse> {
        let place: Lanes = 1 << lane;
        let counts = self.inputs.mechanisms.iter().enumerate().filter(|(_, lanes)| **lanes & place != 0);
        let kinds: Vec<usize> = counts.map(|(kind, _)| kind).collect();
        if kinds.is_empty() || self.allows(place, &[]) {
            return Vec::new();
        }
        let mut needed = kinds.clone();
        for kind in &kinds {
            let without: Vec<usize> = needed.iter().copied().filter(|other| other != kind).collect();
            if self.allows(place, &without) {
                needed = without;
            }
        }
        let Some(target) = self.targets.get(lane) else { return Vec::new() };
        let uses = needed.iter().filter_map(|kind| {
            self.snapshot
                .scopes
                .iter()
                .filter(|scope| scope.covers(target.country, self.inputs.facts.held, self.snapshot.now))
                .find(|scope| self.snapshot.kind(&scope.used.kind) == Some(*kind))
                .map(|scope| scope.used.clone())
        });
        uses.collect()
    }

    /// Whether a place would be allowed if only these mechanisms counted there.
    fn allows(&self, place: Lanes, kinds: &[usize]) -> bool {
        let mechanisms =
            (0..self.inputs.mechanisms.len()).map(|kind| if kinds.contains(&kind) { place } else { 0 });
        let inputs = Inputs { mechanisms: mechanisms.collect(), ..self.inputs };
        self.program.allows(&self.gate, &inputs, place) != 0
    }
}
