//! What would turn a refusal: the smallest sets of mechanisms, and copies that would have to be held first.
//!
//! It is found by asking again with more, never read out of prose. Only mechanisms are tried that a rule names which
//! stands in the way; the answer is then put to all rules, so nothing is promised that does not help.

use std::collections::BTreeSet;

use cedar_policy::{Effect, PolicySet};
use serde::Serialize;

use crate::policy::asking::Asking;
use crate::policy::compiled::Role;
use crate::policy::key::Key;
use crate::policy::manifest::WordKind;
use crate::policy::snapshot::{Place, Snapshot};
use crate::policy::{PolicyError, Rule};

/// How many alternatives are worth reading.
const MOST_WAYS: usize = 6;

/// The longest list of mechanisms of which pairs are tried.
const MOST_PAIRED: usize = 40;

/// One thing that would help: mechanisms in force for the place, and copies that are already held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Way {
    pub mechanisms: Vec<String>,
    pub copies_in: Vec<String>,
}

/// The smallest additions that would turn a refusal: single mechanisms, else pairs, else one larger set; each first
/// with the copies as they are, then with a copy held in every subject country.
pub fn ways(snapshot: &Snapshot, key: Key, place: Place) -> Result<Vec<Way>, PolicyError> {
    let words = snapshot.compiled.words.list(WordKind::Mechanism);
    let (arrival, _) = snapshot.arrival(&key, place)?;
    let in_force = snapshot.mechanisms_for(&key, arrival.country);
    let more_copies = key.held_in.union(key.subjects);
    for held_in in [key.held_in, more_copies] {
        let mut asked = key;
        asked.held_in = held_in;
        let in_the_way = InTheWay::new(snapshot, asked, place, &in_force)?;
        let others: Vec<usize> =
            in_the_way.named.iter().copied().filter(|kind| !in_force.contains(kind)).collect();
        let with = |added: &[usize]| -> Vec<usize> { in_force.iter().chain(added).copied().collect() };
        let helps = |added: &[usize]| in_the_way.passes(snapshot, asked, place, &with(added));
        if !helps(&others)? {
            continue;
        }
        let copies_in: Vec<String> = held_in.difference(key.held_in).iter().map(|c| c.to_string()).collect();
        let mut ways = Vec::new();
        for set in smallest(&others, &helps)? {
            if snapshot.would_allow(key, place, &with(&set), held_in)? {
                let word = |kind: &usize| words.get(*kind).map(ToString::to_string);
                ways.push(Way {
                    mechanisms: set.iter().filter_map(word).collect(),
                    copies_in: copies_in.clone(),
                });
            }
        }
        if !ways.is_empty() {
            return Ok(ways);
        }
    }
    Ok(Vec::new())
}

/// The rules that refuse, with all permits: few enough to be asked many times.
struct InTheWay {
    gates: PolicySet,
    /// Mechanisms that they name, as positions in the schema.
    named: BTreeSet<usize>,
}

impl InTheWay {
    fn new(snapshot: &Snapshot, key: Key, place: Place, in_force: &[usize]) -> Result<InTheWay, PolicyError> {
        let (arrival, home) = snapshot.arrival(&key, place)?;
        let (_, refusing) = Asking::new(snapshot, &key).gate(arrival, in_force, home)?;
        let refuses = |rule: &Rule| refusing.iter().any(|other| other.id == rule.id);
        let mut named = BTreeSet::new();
        let mut gates = PolicySet::new();
        for rule in &snapshot.compiled.rules {
            let permits = rule.policy.effect() == Effect::Permit;
            let gate = rule.role == Role::Gate && rule.in_force(snapshot.now);
            if !gate || (!permits && !refuses(&rule.rule)) {
                continue;
            }
            gates.add(rule.policy.clone()).map_err(|error| PolicyError::Schema(error.to_string()))?;
            let literals = rule.policy.entity_literals();
            let mechanisms = literals.iter().filter(|uid| uid.type_name().basename() == "Mechanism");
            named.extend(mechanisms.filter_map(|uid| snapshot.kind(uid.id().unescaped())));
        }
        Ok(InTheWay { gates, named })
    }

    fn passes(
        &self,
        snapshot: &Snapshot,
        key: Key,
        place: Place,
        kinds: &[usize],
    ) -> Result<bool, PolicyError> {
        let (arrival, home) = snapshot.arrival(&key, place)?;
        Asking::new(snapshot, &key).allowed_by(&self.gates, arrival, kinds, home)
    }
}

/// The smallest subsets of `all` that help; `all` itself does.
fn smallest(
    all: &[usize],
    helps: &impl Fn(&[usize]) -> Result<bool, PolicyError>,
) -> Result<Vec<Vec<usize>>, PolicyError> {
    if helps(&[])? {
        return Ok(vec![Vec::new()]);
    }
    let singles = all.iter().map(|one| vec![*one]);
    let mut sets = helpful(singles, helps)?;
    if sets.is_empty() && all.len() <= MOST_PAIRED {
        let pairs =
            all.iter().enumerate().flat_map(|(n, one)| all.iter().skip(n + 1).map(|two| vec![*one, *two]));
        sets = helpful(pairs, helps)?;
    }
    if sets.is_empty() {
        let mut set = all.to_vec();
        for kind in all {
            let without: Vec<usize> = set.iter().copied().filter(|other| other != kind).collect();
            if helps(&without)? {
                set = without;
            }
        }
        sets.push(set);
    }
    Ok(sets)
}

fn helpful(
    sets: impl Iterator<Item = Vec<usize>>,
    helps: &impl Fn(&[usize]) -> Result<bool, PolicyError>,
) -> Result<Vec<Vec<usize>>, PolicyError> {
    let mut found = Vec::new();
    for set in sets {
        if found.len() < MOST_WAYS && helps(&set)? {
            found.push(set);
        }
    }
    Ok(found)
}

impl std::fmt::Display for Way {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mechanisms =
            self.mechanisms.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(" and ");
        let copies = self.copies_in.join(" and ");
        match (mechanisms.is_empty(), copies.is_empty()) {
            (false, true) => write!(f, "{mechanisms} in force for this place"),
            (true, _) => write!(f, "a copy already held in {copies}"),
            (false, false) => {
                write!(f, "{mechanisms} in force for this place and a copy already held in {copies}")
            }
        }
    }
}
