//! A question answered by programs: which rules hold where, for all places at once.
//!
//! Nothing is put into words here; a [`Decision`](crate::policy::Decision) does that when somebody reads it.

use super::{Asked, Code, Inputs, Lanes, Outcome, Program};
use crate::names::Country;
use crate::policy::asking::{Facts, unknown_readers};
use crate::policy::key::Key;
use crate::policy::snapshot::Snapshot;
use crate::policy::{Action, Copies, PolicyError};

/// The answer: which rules hold where.
#[derive(Debug, Clone, Default)]
pub struct Told {
    pub places: Places,
    /// The locations that are allowed, 64 in a word. For a read it says of the readers the same.
    pub allowed: Words,
    /// In the order of the rules for each kind and each 64 places.
    pub held: Vec<Held>,
}

/// What was asked about.
#[derive(Debug, Clone, Default)]
pub enum Places {
    #[default]
    Locations,
    /// The place that stands for one country's readers.
    Reader(Country),
    /// All of these must be allowed, and are.
    Readers(Vec<Country>),
}

/// Bits of places; up to 64 of them need no memory of their own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Words {
    first: Lanes,
    more: Vec<Lanes>,
}

impl Words {
    pub fn set(&mut self, word: usize, lanes: Lanes) {
        match word.checked_sub(1) {
            None => self.first = lanes,
            Some(word) => {
                if self.more.len() <= word {
                    self.more.resize(word + 1, 0);
                }
                if let Some(slot) = self.more.get_mut(word) {
                    *slot = lanes;
                }
            }
        }
    }

    pub fn insert(&mut self, place: usize) {
        self.set(place / 64, self.word(place / 64) | 1 << (place % 64));
    }

    pub fn has(&self, place: usize) -> bool {
        self.word(place / 64) >> (place % 64) & 1 == 1
    }

    pub fn is_empty(&self) -> bool {
        self.first == 0 && self.more.iter().all(|word| *word == 0)
    }

    pub fn len(&self) -> usize {
        let words = std::iter::once(&self.first).chain(&self.more);
        words.map(|word| word.count_ones() as usize).sum()
    }

    fn word(&self, word: usize) -> Lanes {
        let more = |word: usize| self.more.get(word).copied().unwrap_or(0);
        word.checked_sub(1).map_or(self.first, more)
    }
}

/// A rule, or a mechanism, and the places where it counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    pub what: What,
    /// Which 64 places.
    block: u16,
    /// Position of the rule in the compiled set, or of the mechanism in the configuration.
    pub index: u32,
    lanes: Lanes,
}

impl Held {
    pub fn is_at(&self, place: usize) -> bool {
        usize::from(self.block) == place / 64 && self.lanes >> (place % 64) & 1 == 1
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    Permit,
    Forbid,
    Duty,
    Ground,
    /// A mechanism without which it would have been refused.
    Mechanism,
    /// Some rule could not be evaluated.
    Failed,
}

/// Answers for all locations, or for the reader.
pub fn told(snapshot: &Snapshot, key: &Key) -> Result<Told, PolicyError> {
    let facts = Facts::new(key, snapshot);
    let programs = snapshot.programs(key.action, key.reader_entity)?;
    let gate = Asked { snapshot, action: key.action.name(), reader: key.reader_entity };
    let mut told =
        Told { places: Places::Locations, allowed: Words::default(), held: Vec::with_capacity(32) };
    if key.action != Action::Read {
        let commits = match (key.copies, key.action) {
            (Copies::MayFollow, _) | (_, Action::Commit) => None,
            (Copies::Complete, _) => Some(snapshot.programs(Action::Commit, key.reader_entity)?),
        };
        for (block, program) in programs.0.iter().enumerate() {
            let home = key.home.map(usize::from).filter(|home| home / 64 == block);
            let home = home.map_or(0, |home| 1 << (home % 64));
            let answering = Answering::new(program, gate, &facts, home);
            let missing = commits.and_then(|commits| commits.0.get(block)).map(|program| {
                let asked = Asked { action: Action::Commit.name(), ..gate };
                program.decide(&asked, &answering.inputs, Lanes::MAX)
            });
            answering.tell(block, Lanes::MAX, missing, &mut told);
        }
        return Ok(told);
    }

    let readers = match key.reader {
        Some(country) => vec![country],
        None => unknown_readers(snapshot, key),
    };
    for (block, program) in programs.0.iter().enumerate() {
        let mine = readers.iter().filter_map(|country| programs.of(country.index()));
        let live = mine.filter(|(of, ..)| *of == block).fold(0, |lanes, (_, _, lane)| lanes | lane);
        if live != 0 {
            Answering::new(program, gate, &facts, 0).tell(block, live, None, &mut told);
        }
    }
    let refused = readers.iter().find(|country| !told.allowed.has(country.index()));
    told.places = match refused.or(key.reader.as_ref()) {
        Some(country) => Places::Reader(*country),
        None => Places::Readers(readers),
    };
    Ok(told)
}

/// One question over up to 64 places.
struct Answering<'a> {
    program: &'a Program,
    gate: Asked<'a>,
    inputs: Inputs<'a>,
}

impl<'a> Answering<'a> {
    fn new(program: &'a Program, gate: Asked<'a>, facts: &'a Facts, home: Lanes) -> Self {
        let mechanisms = program.mechanisms(gate.snapshot, facts);
        let origin = facts.origin.into_iter().collect();
        Answering { program, gate, inputs: Inputs { facts, origin, home, mechanisms } }
    }

    /// Adds what holds at the places in `live`. `copies` says where a copy elsewhere would be missing.
    fn tell(&self, block: usize, live: Lanes, copies: Option<Outcome>, told: &mut Told) {
        let mut outcome = self.program.decide(&self.gate, &self.inputs, live);
        if let Some(copies) = copies {
            let allowed = outcome.allowed;
            outcome.allowed &= copies.allowed;
            outcome.failed |= copies.failed & allowed;
            // They are told only where nothing else stands against the place.
            let missing = copies.forbids.iter().map(|(index, lanes)| (*index, lanes & allowed));
            outcome.forbids.extend(missing.filter(|(_, lanes)| *lanes != 0));
        }
        // More locations than that are not configured.
        let block_number = u16::try_from(block).unwrap_or(u16::MAX);
        let mut hold = |what: What, index: u32, lanes: Lanes| {
            if lanes != 0 {
                told.held.push(Held { what, block: block_number, index, lanes });
            }
        };
        outcome.permits.iter().for_each(|(index, lanes)| hold(What::Permit, *index, *lanes));
        outcome.forbids.iter().for_each(|(index, lanes)| hold(What::Forbid, *index, *lanes));
        let mut failed = outcome.failed;
        for (what, action, code) in
            [(What::Duty, "Oblige", &self.program.duties), (What::Ground, "Ground", &self.program.grounds)]
        {
            failed |= self.satisfied(action, code, outcome.allowed, |index, lanes| hold(what, index, lanes));
        }
        let allowed = outcome.allowed & !failed;
        self.needed(allowed, |index, lanes| hold(What::Mechanism, index, lanes));
        hold(What::Failed, 0, failed);
        told.allowed.set(block, allowed);
    }

    fn satisfied(&self, action: &str, code: &Code, live: Lanes, found: impl FnMut(u32, Lanes)) -> Lanes {
        let asked = Asked { action, ..self.gate };
        self.program.satisfied(code, &asked, &self.inputs, live, found)
    }

    /// The mechanisms that carry an allowed place: as few as can be while it stays allowed. One kind after the other
    /// is taken away, at all places at once, and stays away where that changes nothing.
    fn needed(&self, allowed: Lanes, mut found: impl FnMut(u32, Lanes)) {
        let kinds = 0..self.program.kinds.len();
        let mut carried =
            allowed & kinds.clone().fold(0, |lanes, slot| lanes | self.inputs.mechanisms.at(slot));
        if carried == 0 {
            return;
        }
        let mut without = Inputs { mechanisms: Default::default(), ..self.inputs };
        carried &= !self.program.allows(&self.gate, &without, carried);
        if carried == 0 {
            return;
        }
        without.mechanisms = self.inputs.mechanisms.clone();
        for slot in kinds.clone() {
            let here = without.mechanisms.at(slot);
            let tried = here & carried;
            if tried != 0 {
                without.mechanisms.set(slot, here & !tried);
                let still = self.program.allows(&self.gate, &without, tried);
                without.mechanisms.set(slot, here & !still);
            }
        }
        let snapshot = self.gate.snapshot;
        for slot in kinds {
            // The first that is configured and covers the place is the one that is named.
            let mut open = without.mechanisms.at(slot) & carried;
            let scopes = snapshot.scopes.iter().zip(&self.program.reach).zip(0_u32..);
            for ((scope, (of, reach)), index) in scopes {
                if *of == slot && scope.counts_for(self.inputs.facts.held, snapshot.now) {
                    found(index, open & reach);
                    open &= !reach;
                }
            }
        }
    }
}
