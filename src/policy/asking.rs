//! One question put to Cedar, place by place.
//!
//! Cedar skips a rule that it cannot evaluate; here any such error refuses the place.

use std::sync::Arc;

use cedar_policy::{Authorizer, Context, PolicySet, Request};

use super::compiled::Role;
use super::decision::{Verdict, default_deny, evaluation_error, extend};
use super::declared::sensitive_in;
use super::entities::uid;
use super::key::Key;
use super::mechanism::MechanismUse;
use super::snapshot::{Snapshot, Target};
use super::{Action, Copies, PolicyError, Rule};
use crate::label::ClassSet;
use crate::label::class::DataClass;
use crate::names::{Country, CountrySet};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AtHome {
    Yes,
    No,
}

const PERSONAL: DataClass = DataClass::known("personal");
const NON_PERSONAL: DataClass = DataClass::known("non_personal");

/// What the policies are told about the object, apart from the place.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// As labelled, with what is presumed: the classes that a mechanism must cover.
    pub held: ClassSet,
    /// Closed upwards.
    pub classes: ClassSet,
    pub subjects: CountrySet,
    pub uncovered: CountrySet,
    pub labelled: bool,
    pub scanned_completely: bool,
    pub regulated: bool,
    pub origin: Option<Country>,
    pub held_in: CountrySet,
    /// Positions of laws, as bits.
    pub sensitive_in: u64,
    pub collected_in: CountrySet,
    pub service_in: CountrySet,
    pub under: CountrySet,
    pub key_countries: CountrySet,
    pub first_write: bool,
    /// Positions of attributes, as bits.
    pub attrs: u128,
}

impl Facts {
    pub fn new(key: &Key, snapshot: &Snapshot) -> Facts {
        let labelled = !key.classes.is_empty();
        let mut held = key.classes;
        if !labelled && !key.scanned_completely {
            // Nobody knows what it is, so it is what binds most.
            held.insert(PERSONAL);
        }
        let declared = snapshot.declared(key);
        let or_subjects = |stated: CountrySet| if stated.is_empty() { key.subjects } else { stated };
        Facts {
            sensitive_in: sensitive_in(held, &snapshot.compiled.regimes),
            collected_in: or_subjects(declared.collected_in),
            service_in: or_subjects(declared.service_in),
            under: key.subjects.union(declared.collected_in),
            key_countries: declared.key_countries,
            first_write: key.first_write,
            attrs: declared.attrs,
            held,
            classes: held.with_ancestors(),
            subjects: key.subjects,
            uncovered: key.subjects.difference(snapshot.compiled.covers),
            labelled,
            scanned_completely: key.scanned_completely,
            regulated: !held.is_subset([NON_PERSONAL].into_iter().collect()),
            origin: key.origin,
            held_in: key.held_in,
        }
    }
}

/// The countries that stand for all when the reader's is not known.
pub fn unknown_readers(snapshot: &Snapshot, key: &Key) -> Vec<Country> {
    // These a rule can tell from others by comparing them with the resource's country.
    let operator = snapshot.setting.operator.country;
    let named = key.subjects.union(key.held_in);
    let declared = snapshot.declared(key);
    let named = named.union(declared.collected_in).union(declared.service_in).union(declared.key_countries);
    let named: CountrySet = named.iter().chain(key.origin).chain(operator).collect();
    let stand_ins = snapshot.alike().iter().filter_map(|group| group.difference(named).iter().next());
    stand_ins.chain(named.iter()).collect()
}

/// One question while it is put to many places; contexts are shared between places that see the same.
pub struct Asking<'a> {
    snapshot: &'a Snapshot,
    action: Action,
    copies: Copies,
    facts: Facts,
    contexts: Vec<(Vec<usize>, AtHome, Context)>,
}

impl<'a> Asking<'a> {
    pub fn new(snapshot: &'a Snapshot, key: &Key) -> Asking<'a> {
        let facts = Facts::new(key, snapshot);
        Asking { snapshot, action: key.action, copies: key.copies, facts, contexts: Vec::new() }
    }

    pub fn verdict(&mut self, target: &Target, home: AtHome) -> Result<Verdict, PolicyError> {
        let kinds = self.snapshot.in_force(target.country, self.facts.held);
        let (allowed, rules) = self.judge(target, &kinds, home)?;
        if !allowed {
            return Ok(Verdict { rules, ..Verdict::default() });
        }
        let mechanisms = self.needed(target, &kinds, home)?;
        let mut verdict = Verdict { allowed: true, rules, mechanisms, ..Verdict::default() };
        self.oblige(target, &kinds, home, &mut verdict)?;
        Ok(verdict)
    }

    /// An unknown reader may read what every country may read. Countries that nothing tells apart are asked once.
    pub fn unknown_reader(&mut self, key: &Key) -> Result<Verdict, PolicyError> {
        let mut all = Verdict { allowed: true, ..Verdict::default() };
        for country in unknown_readers(self.snapshot, key) {
            let verdict = self.verdict(self.snapshot.reader(country, key.reader_entity)?, AtHome::No)?;
            if !verdict.allowed {
                return Ok(verdict);
            }
            all.join(&verdict);
        }
        Ok(all)
    }

    /// Whether the bytes may arrive, and whether the copies are then all that must be, where no other follows.
    pub fn judge(
        &mut self,
        target: &Target,
        kinds: &[usize],
        home: AtHome,
    ) -> Result<(bool, Vec<Arc<Rule>>), PolicyError> {
        let (allowed, rules) = self.gate(target, kinds, home)?;
        if allowed && self.copies == Copies::Complete {
            let (enough, missing) = self.commit(target, kinds, home)?;
            if !enough {
                return Ok((false, missing));
            }
        }
        Ok((allowed, rules))
    }

    /// Whether the bytes may arrive.
    pub fn gate(
        &mut self,
        target: &Target,
        kinds: &[usize],
        home: AtHome,
    ) -> Result<(bool, Vec<Arc<Rule>>), PolicyError> {
        let request = self.request(self.action.name(), target, kinds, home)?;
        let sets = &self.snapshot.oracle()?.sets;
        let gates = if self.action == Action::Commit { &sets.commits } else { &sets.gates };
        let answer = Authorizer::new().is_authorized(&request, gates, &target.entities);
        if answer.diagnostics().errors().next().is_some() {
            return Ok((false, vec![evaluation_error()]));
        }
        // A set of copies needs no permit of its own: each copy has one.
        let allowed = match self.action {
            Action::Commit => answer.diagnostics().reason().next().is_none(),
            _ => answer.decision() == cedar_policy::Decision::Allow,
        };
        let rules = sets.positions(answer.diagnostics().reason());
        let mut rules: Vec<_> = rules
            .into_iter()
            .filter_map(|index| self.snapshot.compiled.rules.get(index))
            .map(|rule| Arc::clone(&rule.rule))
            .collect();
        if !allowed && rules.is_empty() {
            rules.push(default_deny());
        }
        Ok((allowed, rules))
    }

    /// Whether the copy at this place, with those that are held, is all that must be.
    fn commit(
        &mut self,
        target: &Target,
        kinds: &[usize],
        home: AtHome,
    ) -> Result<(bool, Vec<Arc<Rule>>), PolicyError> {
        let action = std::mem::replace(&mut self.action, Action::Commit);
        let answer = self.gate(target, kinds, home);
        self.action = action;
        answer
    }

    /// The mechanisms that carry an allowed place: as few as can be while it stays allowed.
    fn needed(
        &mut self,
        target: &Target,
        kinds: &[usize],
        home: AtHome,
    ) -> Result<Vec<MechanismUse>, PolicyError> {
        if kinds.is_empty() || self.gate(target, &[], home)?.0 {
            return Ok(Vec::new());
        }
        let mut needed = kinds.to_vec();
        for kind in kinds {
            let without: Vec<usize> = needed.iter().copied().filter(|other| other != kind).collect();
            if self.gate(target, &without, home)?.0 {
                needed = without;
            }
        }
        let (snapshot, held) = (self.snapshot, self.facts.held);
        let uses = needed.iter().filter_map(|kind| {
            let scopes = snapshot.scopes.iter();
            scopes
                .filter(|scope| scope.covers(target.country, held, snapshot.now))
                .find(|scope| snapshot.kind(&scope.used.kind) == Some(*kind))
                .map(|scope| scope.used.clone())
        });
        Ok(uses.collect())
    }

    fn oblige(
        &mut self,
        target: &Target,
        kinds: &[usize],
        home: AtHome,
        verdict: &mut Verdict,
    ) -> Result<(), PolicyError> {
        if self.action == Action::Commit {
            return Ok(());
        }
        let snapshot = self.snapshot;
        let sets = &snapshot.oracle()?.sets;
        for (action, asked) in [("Oblige", &sets.duties), ("Ground", &sets.grounds)] {
            if asked.is_empty() {
                continue;
            }
            let request = self.request(action, target, kinds, home)?;
            let answer = Authorizer::new().is_authorized(&request, asked, &target.entities);
            if answer.diagnostics().errors().next().is_some() {
                *verdict = Verdict { rules: vec![evaluation_error()], ..Verdict::default() };
                return Ok(());
            }
            for index in sets.positions(answer.diagnostics().reason()) {
                let Some(rule) = snapshot.compiled.rules.get(index) else { continue };
                match &rule.role {
                    Role::Duty(obligation) => verdict.owe(&rule.rule, obligation, target.country),
                    _ => extend(&mut verdict.grounds, std::slice::from_ref(&rule.rule)),
                }
            }
        }
        Ok(())
    }

    /// Positions of the rules that hold, of policies that are none of the snapshot's sets.
    pub fn satisfied(
        &mut self,
        policies: &PolicySet,
        target: &Target,
        home: AtHome,
    ) -> Result<Vec<usize>, PolicyError> {
        let kinds = self.snapshot.in_force(target.country, self.facts.held);
        let request = self.request(self.action.name(), target, &kinds, home)?;
        let answer = Authorizer::new().is_authorized(&request, policies, &target.entities);
        match answer.diagnostics().errors().next() {
            Some(error) => Err(PolicyError::Question(error.to_string())),
            None => Ok(self.snapshot.oracle()?.sets.positions(answer.diagnostics().reason())),
        }
    }

    /// Whether any of these policies holds, whatever they are for.
    pub fn holds(
        &mut self,
        policies: &PolicySet,
        target: &Target,
        home: AtHome,
    ) -> Result<bool, PolicyError> {
        let kinds = self.snapshot.in_force(target.country, self.facts.held);
        let request = self.request(self.action.name(), target, &kinds, home)?;
        let answer = Authorizer::new().is_authorized(&request, policies, &target.entities);
        match answer.diagnostics().errors().next() {
            Some(error) => Err(PolicyError::Question(error.to_string())),
            None => Ok(answer.diagnostics().reason().next().is_some()),
        }
    }

    /// Whether these gates allow it, with exactly these mechanisms in force.
    pub fn allowed_by(
        &mut self,
        gates: &PolicySet,
        target: &Target,
        kinds: &[usize],
        home: AtHome,
    ) -> Result<bool, PolicyError> {
        let request = self.request(self.action.name(), target, kinds, home)?;
        let answer = Authorizer::new().is_authorized(&request, gates, &target.entities);
        let sound = answer.diagnostics().errors().next().is_none();
        Ok(sound && answer.decision() == cedar_policy::Decision::Allow)
    }

    fn request(
        &mut self,
        action: &str,
        target: &Target,
        kinds: &[usize],
        home: AtHome,
    ) -> Result<Request, PolicyError> {
        let known = self.contexts.iter().find(|(k, h, _)| k == kinds && *h == home);
        let context = match known {
            Some((_, _, context)) => context.clone(),
            None => {
                let context = self.snapshot.context(&self.facts, kinds, home)?;
                self.contexts.push((kinds.to_vec(), home, context.clone()));
                context
            }
        };
        let operator = self.snapshot.oracle()?.operator.clone();
        Request::new(operator, uid("Action", action)?, target.uid.clone(), context, None)
            .map_err(|error| PolicyError::Question(error.to_string()))
    }
}
