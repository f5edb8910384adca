//! `policy diff`: what an edit of the policies changes, over all questions at once and on tables.
//!
//! For each rule that refused something, one question that nothing refuses any more; for each rule that refuses
//! something new, one that was allowed; and the duties that come and go. Each example is put to both sets in Cedar.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::BufRead;
use std::path::Path;
use std::sync::Arc;

use batsat::Lit;
use serde::Serialize;

use super::prover::{Counterexample, ProveError};
use super::universe::Universe;
use super::view::{Scope, View};
use super::witness::Witness;
use super::world::World;
use crate::locations::LocationFacts;
use crate::policy::cases::read_cases;
use crate::policy::compiled::{Compiled, Role, compile};
use crate::policy::mechanism::moment;
use crate::policy::scenario::{Scenario, question};
use crate::policy::table::is_scenario;
use crate::policy::{PackSource, PolicyError};

/// What is compared, and on what.
pub struct Asked<'a> {
    pub old: &'a PackSource,
    pub new: &'a PackSource,
    pub as_of: Option<&'a str>,
    /// Tables of scenarios.
    pub tables: &'a [std::path::PathBuf],
    /// With none, any location can be.
    pub places: &'a [Arc<LocationFacts>],
}

#[derive(Debug, Serialize)]
pub struct Report {
    /// Hashes of the policy sets.
    pub old: String,
    pub new: String,
    pub changes: Vec<Change>,
    /// Cases of the packs and lines of the tables that are answered otherwise.
    pub decisions: Vec<DecisionChange>,
    /// Cases and lines that only one of the sets can be asked.
    pub not_compared: Vec<String>,
    /// Rules that have no exact form: an edit of them shows on tables only.
    pub undecided: Vec<String>,
}

/// A kind of question that is answered otherwise, with an example.
#[derive(Debug, Serialize)]
pub struct Change {
    pub effect: Effect,
    /// The rules that refuse the example, in the set that refuses it; or that make the duty due.
    pub rules: Vec<String>,
    pub duty: Option<String>,
    pub example: Counterexample,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    NewlyAllowed,
    NewlyRefused,
    NewlyDue,
    NoLongerDue,
}

#[derive(Debug, Serialize)]
pub struct DecisionChange {
    pub name: String,
    pub old: String,
    pub new: String,
}

/// What an edit means to who reviews it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Same,
    /// Something is allowed that was not, or a duty is gone.
    Looser,
    /// It changes something, and nothing becomes looser.
    Stricter,
}

impl Report {
    pub fn verdict(&self) -> Verdict {
        let looser = |change: &Change| matches!(change.effect, Effect::NewlyAllowed | Effect::NoLongerDue);
        if self.changes.iter().any(looser) || self.decisions.iter().any(|change| change.old == "deny") {
            return Verdict::Looser;
        }
        match self.changes.is_empty() && self.decisions.is_empty() {
            true => Verdict::Same,
            false => Verdict::Stricter,
        }
    }
}

pub fn diff(asked: &Asked<'_>) -> Result<Report, ProveError> {
    let (old_files, new_files) = (asked.old.read()?, asked.new.read()?);
    let old = Arc::new(compile(&old_files).map_err(PolicyError::Invalid)?);
    let new = Arc::new(compile(&new_files).map_err(PolicyError::Invalid)?);
    let as_of = match asked.as_of {
        None => None,
        Some(text) => Some(moment(text).ok_or_else(|| ProveError::AsOf(text.to_owned()))?),
    };
    // Both are asked about one day: otherwise a rule that comes into force between them would count as an edit.
    let now = as_of.unwrap_or_else(|| old.as_of.max(new.as_of));
    let mut search = Search::new(&old, &new, now, asked.places);
    let mut changes = search.permissions()?;
    changes.extend(search.duties()?);
    let undecided: BTreeSet<String> = search.old.opaque.iter().chain(&search.new.opaque).cloned().collect();
    let mut tables = Tables { decisions: Vec::new(), not_compared: Vec::new() };
    let mut names = BTreeSet::new();
    for (pack, case) in read_cases(&new_files)?.into_iter().chain(read_cases(&old_files)?) {
        let name = format!("{pack}: {}", case.name);
        if !names.insert(name.clone()) {
            continue;
        }
        let answer = |compiled: &Arc<Compiled>| {
            let (snapshot, key) = case.question(compiled).ok()?.ok()?;
            Some(spoken(&snapshot.evaluate_by_cedar(key).ok()?))
        };
        tables.compare(name, answer(&old), answer(&new));
    }
    for path in asked.tables {
        tables.file(path, &search)?;
    }
    Ok(Report {
        old: old.hash.0.to_string(),
        new: new.hash.0.to_string(),
        changes,
        decisions: tables.decisions,
        not_compared: tables.not_compared,
        undecided: undecided.into_iter().collect(),
    })
}

/// An answer in one line: two that differ in it differ to a reader.
fn spoken(decision: &crate::policy::Decision) -> String {
    if !decision.is_allowed() {
        return "deny".to_owned();
    }
    let duties: Vec<&str> = decision.obligations().iter().map(|duty| &*duty.0).collect();
    if duties.is_empty() { "allow".to_owned() } else { format!("allow, due: {}", duties.join(", ")) }
}

struct Tables {
    decisions: Vec<DecisionChange>,
    not_compared: Vec<String>,
}

impl Tables {
    fn compare(&mut self, name: String, old: Option<String>, new: Option<String>) {
        match (old, new) {
            (Some(old), Some(new)) if old != new => self.decisions.push(DecisionChange { name, old, new }),
            (Some(_), Some(_)) => {}
            _ => self.not_compared.push(name),
        }
    }

    fn file(&mut self, path: &Path, search: &Search<'_>) -> Result<(), ProveError> {
        let wrong = |problem: String| ProveError::Invariants { path: path.display().to_string(), problem };
        let file = std::fs::File::open(path).map_err(|error| wrong(error.to_string()))?;
        for (number, line) in std::io::BufReader::new(file).lines().enumerate() {
            let line = line.map_err(|error| wrong(error.to_string()))?;
            if !is_scenario(&line) {
                continue;
            }
            let scenario: Scenario = serde_json::from_str(&line)
                .map_err(|error| wrong(format!("line {}: {error}", number + 1)))?;
            let answer = |compiled: &Arc<Compiled>| {
                let (snapshot, key) = question(&scenario, compiled, Some(search.now)).ok()?;
                Some(spoken(&snapshot.evaluate_by_cedar(key).ok()?))
            };
            let name = format!("{}: {}", path.display(), scenario.id);
            self.compare(name, answer(search.old_set), answer(search.new_set));
        }
        Ok(())
    }
}

/// Both sets over one world.
struct Search<'a> {
    world: World,
    now: i64,
    old: View<'a>,
    new: View<'a>,
    old_set: &'a Arc<Compiled>,
    new_set: &'a Arc<Compiled>,
}

impl<'a> Search<'a> {
    fn new(
        old: &'a Arc<Compiled>,
        new: &'a Arc<Compiled>,
        now: i64,
        places: &[Arc<LocationFacts>],
    ) -> Search<'a> {
        let mut world = World::new(Universe::new(&[(old, now), (new, now)], &[], places), places);
        Search {
            old: View::new(&mut world, old, now, Scope::WithDuties),
            new: View::new(&mut world, new, now, Scope::WithDuties),
            world,
            now,
            old_set: old,
            new_set: new,
        }
    }

    /// What is newly allowed, for each rule that refused it; and what is newly refused.
    fn permissions(&mut self) -> Result<Vec<Change>, ProveError> {
        let old = self.old.allowed(&mut self.world);
        let new = self.new.allowed(&mut self.world);
        let refused_by = |view: &View<'_>| view.forbids().map(|rule| rule.holds).collect::<Vec<Lit>>();
        let (old_forbids, new_forbids) = (refused_by(&self.old), refused_by(&self.new));
        let mut changes = Vec::new();
        for (effect, forbids, both) in [
            (Effect::NewlyAllowed, old_forbids, [new, !old]),
            (Effect::NewlyRefused, new_forbids, [old, !new]),
        ] {
            // What no rule permits is refused by none.
            let unnamed: Vec<Lit> = forbids.iter().map(|holds| !*holds).chain(both).collect();
            let named = forbids.iter().map(|holds| vec![*holds, both[0], both[1]]);
            for assumed in named.chain([unnamed]) {
                let Some(witness) = self.world.example(&assumed, self.now) else { continue };
                let (was, is) = (self.answer(&witness, Side::Old)?, self.answer(&witness, Side::New)?);
                let (refusing, expected) = match effect {
                    Effect::NewlyAllowed => (&was.1, (false, true)),
                    _ => (&is.1, (true, false)),
                };
                if (was.0, is.0) != expected {
                    self.disagreed("an edit")?;
                    continue;
                }
                let change = Change {
                    effect,
                    rules: refusing.clone(),
                    duty: None,
                    example: example(&witness, effect),
                };
                changes.push(change);
            }
        }
        Ok(changes)
    }

    /// The duties that come and go where both sets allow.
    fn duties(&mut self) -> Result<Vec<Change>, ProveError> {
        let old_allows = self.old.allowed(&mut self.world);
        let new_allows = self.new.allowed(&mut self.world);
        let (old, new) = (due(&mut self.world, &self.old), due(&mut self.world, &self.new));
        let none = self.world.circuit.constant(false);
        let texts: BTreeSet<String> = old.keys().chain(new.keys()).cloned().collect();
        let commits = self.world.action(crate::policy::Action::Commit);
        let mut changes = Vec::new();
        for text in texts {
            let (was, old_rules) = old.get(&text).cloned().unwrap_or((none, Vec::new()));
            let (is, new_rules) = new.get(&text).cloned().unwrap_or((none, Vec::new()));
            for (effect, both, rules) in
                [(Effect::NewlyDue, [!was, is], &new_rules), (Effect::NoLongerDue, [was, !is], &old_rules)]
            {
                let assumed = [both[0], both[1], old_allows, new_allows, !commits];
                let Some(witness) = self.world.example(&assumed, self.now) else { continue };
                changes.push(Change {
                    effect,
                    rules: rules.clone(),
                    duty: Some(text.clone()),
                    example: example(&witness, effect),
                });
            }
        }
        Ok(changes)
    }

    /// Whether Cedar allows it, and the rules that decided.
    fn answer(&self, witness: &Witness, side: Side) -> Result<(bool, Vec<String>), ProveError> {
        let compiled = match side {
            Side::Old => self.old_set,
            Side::New => self.new_set,
        };
        let (snapshot, key) = witness.known_to(compiled).question(compiled)?;
        let (allowed, rules) = snapshot.gate_by_cedar(&key)?;
        Ok((allowed, rules.iter().map(|rule| rule.id.to_string()).collect()))
    }

    fn disagreed(&self, about: &str) -> Result<(), ProveError> {
        // A rule without an exact form may well answer otherwise; without any, nobody knows who is right.
        match self.old.opaque.is_empty() && self.new.opaque.is_empty() {
            true => Err(ProveError::Disagreement(about.to_owned())),
            false => Ok(()),
        }
    }
}

#[derive(Clone, Copy)]
enum Side {
    Old,
    New,
}

/// Each duty, when it is due and by which rules.
fn due(world: &mut World, view: &View<'_>) -> BTreeMap<String, (Lit, Vec<String>)> {
    let mut duties: BTreeMap<String, (Vec<Lit>, Vec<String>)> = BTreeMap::new();
    for encoded in &view.rules {
        let Some(rule) = view.compiled().rules.get(encoded.index) else { continue };
        if let Role::Duty(obligation) = &rule.role {
            let (lits, ids) = duties.entry(obligation.0.to_string()).or_default();
            lits.push(encoded.holds);
            ids.push(rule.rule.id.to_string());
        }
    }
    duties.into_iter().map(|(text, (lits, ids))| (text, (world.circuit.any(lits), ids))).collect()
}

fn example(witness: &Witness, effect: Effect) -> Counterexample {
    Counterexample { words: witness.to_string(), scenario: witness.scenario(effect.word()) }
}

impl Effect {
    fn word(self) -> &'static str {
        match self {
            Effect::NewlyAllowed => "newly-allowed",
            Effect::NewlyRefused => "newly-refused",
            Effect::NewlyDue => "newly-due",
            Effect::NoLongerDue => "no-longer-due",
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let by = match self.rules.is_empty() {
            true => "no permit".to_owned(),
            false => self.rules.join(", "),
        };
        match (self.effect, &self.duty) {
            (Effect::NewlyAllowed, _) => writeln!(f, "NEWLY ALLOWED, refused by {by} before")?,
            (Effect::NewlyRefused, _) => writeln!(f, "newly refused, by {by}")?,
            (effect, duty) => {
                let duty = duty.as_deref().unwrap_or_default();
                let word = if effect == Effect::NewlyDue { "newly due" } else { "NO LONGER DUE" };
                writeln!(f, "{word}: {duty} ({by})")?;
            }
        }
        write!(f, "    {}\n    {}", self.example.words, self.example.scenario)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for change in &self.changes {
            writeln!(f, "{change}")?;
        }
        for change in &self.decisions {
            writeln!(f, "decided otherwise: {}: {} -> {}", change.name, change.old, change.new)?;
        }
        for name in &self.not_compared {
            writeln!(f, "not compared, because one of the sets cannot be asked: {name}")?;
        }
        for rule in &self.undecided {
            writeln!(f, "{rule} has no exact form: what an edit of it changes shows on tables only")?;
        }
        let verdict = match self.verdict() {
            Verdict::Same => "no question is answered otherwise",
            Verdict::Looser => "the new set is looser somewhere",
            Verdict::Stricter => "the new set is nowhere looser",
        };
        write!(f, "{verdict}; policy sets {} -> {}", self.old, self.new)
    }
}
