//! Rules as one flat piece of code, with an index that passes over most of them.
//!
//! A rule mostly demands that the law of some country binds the object and that it has one of some classes. The rules
//! that are worth a look are then found by joining a few words of bits; what else they ask is run as prefix code over
//! all places at once.

use cedar_policy::{Effect, PolicySet};

use super::Lanes;
use super::fold::{Leaf, Node};
use super::rule::{ClassTest, CountryTest, CountryVar, Flag};
use crate::label::ClassSet;
use crate::label::class::CLASSES;
use crate::names::{Country, CountrySet};
use crate::policy::asking::Facts;

/// Some rules of a program.
pub struct Code {
    ops: Vec<Op>,
    sets: Vec<CountrySet>,
    attrs: Vec<u128>,
    rules: Vec<Coded>,
    index: Index,
    /// The places of each country that has any.
    places: Vec<(Country, Lanes)>,
}

/// One rule.
pub struct Coded {
    /// Position in the compiled set.
    pub rule: u32,
    pub effect: Effect,
    start: Start,
}

enum Start {
    At(usize),
    /// Cedar has to be asked.
    Slow(Box<PolicySet>),
}

/// A rule before it is coded.
pub enum Source {
    Node(Node),
    Slow(Box<PolicySet>),
}

/// One step. Parts follow what they are parts of.
#[derive(Debug, Clone, Copy)]
enum Op {
    All {
        end: u32,
    },
    Any {
        end: u32,
    },
    /// The next step, turned round.
    Not,
    Places(Lanes),
    Fails {
        holds: Lanes,
        errors: Lanes,
    },
    Flag(Flag),
    Regimes(u64),
    Attrs(u32),
    Classes(ClassTest),
    /// The set holds this country.
    Has(CountryVar, Country),
    /// Compared with a set of the table.
    Meets(CountryVar, u32),
    Holds(CountryVar, u32),
    IsWithin(CountryVar, u32),
    Is(CountryVar, u32),
    HoldsPlace(CountryVar),
    IsPlace(CountryVar),
    IsWithinPlace(CountryVar),
    AtHome,
    Mechanism(u32),
}

/// What a question looks like to the code.
pub struct Inputs<'a> {
    pub facts: &'a Facts,
    pub origin: CountrySet,
    /// The place that is the bucket's home.
    pub home: Lanes,
    pub mechanisms: Slots,
}

/// The places where each configured kind of mechanism counts. Few operators hold more than a handful of kinds.
#[derive(Clone, Default)]
pub struct Slots {
    few: [Lanes; Slots::FEW],
    more: Vec<Lanes>,
}

impl Slots {
    const FEW: usize = 16;

    /// Nowhere, for so many kinds.
    pub fn new(count: usize) -> Slots {
        Slots { few: [0; Slots::FEW], more: vec![0; count.saturating_sub(Slots::FEW)] }
    }

    pub fn at(&self, slot: usize) -> Lanes {
        let lanes = self.few.get(slot).or_else(|| self.more.get(slot - Slots::FEW));
        lanes.copied().unwrap_or(0)
    }

    pub fn set(&mut self, slot: usize, lanes: Lanes) {
        if let Some(place) = self.few.get_mut(slot) {
            *place = lanes;
        } else if let Some(place) = self.more.get_mut(slot - Slots::FEW) {
            *place = lanes;
        }
    }
}

/// Which rules are worth a look.
struct Index {
    /// Words of bits, one bit for each rule.
    width: usize,
    /// Rules that demand no country.
    any_country: Vec<u64>,
    /// A row for each country that some rule demands, after an empty one.
    by_country: Vec<u64>,
    row_of: Vec<u16>,
    /// Rules that demand no class, and a row for each class.
    any_class: Vec<u64>,
    by_class: Vec<u64>,
}

impl Code {
    pub fn new(sources: Vec<(u32, Effect, Source)>, places: &[(Country, Lanes)]) -> Code {
        let mut code = Code {
            ops: Vec::new(),
            sets: Vec::new(),
            attrs: Vec::new(),
            rules: Vec::with_capacity(sources.len()),
            index: Index::new(sources.len()),
            places: places.to_vec(),
        };
        let here: CountrySet = places.iter().map(|(country, _)| *country).collect();
        for (number, (rule, effect, source)) in sources.into_iter().enumerate() {
            let start = match source {
                Source::Slow(policies) => {
                    code.index.add(number, None, None);
                    Start::Slow(policies)
                }
                Source::Node(node) => {
                    // Where it can fail, Cedar may come upon the failure before it comes upon what is demanded.
                    let sure = !node.may_fail();
                    let countries = node.demanded_countries(&here).filter(|_| sure);
                    code.index.add(number, countries, node.demanded_classes().filter(|_| sure));
                    let start = code.ops.len();
                    code.emit(&node);
                    Start::At(start)
                }
            };
            code.rules.push(Coded { rule, effect, start });
        }
        code
    }

    fn emit(&mut self, node: &Node) {
        match node {
            Node::Fixed { holds, errors: 0 } => self.ops.push(Op::Places(*holds)),
            Node::Fixed { holds, errors } => self.ops.push(Op::Fails { holds: *holds, errors: *errors }),
            Node::Leaf(leaf) => self.emit_leaf(*leaf),
            Node::Not(leaf) => {
                self.ops.push(Op::Not);
                self.emit_leaf(*leaf);
            }
            Node::All(parts) | Node::Any(parts) => {
                let start = self.ops.len();
                self.ops.push(Op::Not);
                parts.iter().for_each(|part| self.emit(part));
                // The schema bounds nothing here, but a rule is far shorter than its text.
                let end = u32::try_from(self.ops.len()).unwrap_or(u32::MAX);
                if let Some(op) = self.ops.get_mut(start) {
                    *op = if matches!(node, Node::All(_)) { Op::All { end } } else { Op::Any { end } };
                }
            }
        }
    }

    fn emit_leaf(&mut self, leaf: Leaf) {
        let op = match leaf {
            Leaf::Flag(flag) => Op::Flag(flag),
            Leaf::Regimes(regimes) => Op::Regimes(regimes),
            Leaf::Attrs(attrs) => Op::Attrs(interned(&mut self.attrs, attrs)),
            Leaf::Classes(test) => Op::Classes(test),
            Leaf::AtHome => Op::AtHome,
            Leaf::Mechanism(slot) => Op::Mechanism(u32::try_from(slot).unwrap_or(u32::MAX)),
            Leaf::Countries(var, test) => match test {
                CountryTest::Meets(set) | CountryTest::Holds(set) if set.len() == 1 => {
                    match set.iter().next() {
                        Some(country) => Op::Has(var, country),
                        None => Op::Places(0),
                    }
                }
                CountryTest::Meets(set) => Op::Meets(var, interned(&mut self.sets, set)),
                CountryTest::Holds(set) => Op::Holds(var, interned(&mut self.sets, set)),
                CountryTest::IsWithin(set) => Op::IsWithin(var, interned(&mut self.sets, set)),
                CountryTest::Is(set) => Op::Is(var, interned(&mut self.sets, set)),
                CountryTest::HoldsPlace => Op::HoldsPlace(var),
                CountryTest::IsPlace => Op::IsPlace(var),
                CountryTest::IsWithinPlace => Op::IsWithinPlace(var),
            },
        };
        self.ops.push(op);
    }

    /// The rules that may hold, in order.
    pub fn candidates<'a>(&'a self, facts: &'a Facts) -> impl Iterator<Item = &'a Coded> {
        (0..self.index.width).flat_map(move |n| {
            let mut word = self.index.word(n, facts);
            std::iter::from_fn(move || {
                if word == 0 {
                    return None;
                }
                let bit = word.trailing_zeros() as usize;
                word &= word - 1;
                self.rules.get(64 * n + bit)
            })
        })
    }

    /// The places in `live` where the rule holds, and those where it cannot be evaluated. `slow` asks Cedar.
    pub fn holds(
        &self,
        rule: &Coded,
        inputs: &Inputs<'_>,
        live: Lanes,
        slow: impl FnOnce(&PolicySet) -> (Lanes, Lanes),
    ) -> (Lanes, Lanes) {
        match &rule.start {
            Start::At(start) => {
                let mut failed = 0;
                let holds = self.run(*start, inputs, live, &mut failed);
                (holds & !failed, failed)
            }
            Start::Slow(policies) => slow(policies),
        }
    }

    /// The places in `live` where the part at this step holds. It is asked only about places where the parts before
    /// it leave the answer open, as Cedar does; places where it has no answer join `failed`.
    fn run(&self, at: usize, inputs: &Inputs<'_>, live: Lanes, failed: &mut Lanes) -> Lanes {
        let everywhere = |holds: bool| if holds { live } else { 0 };
        let set = |n: u32| self.sets.get(n as usize).copied().unwrap_or_default();
        let facts = inputs.facts;
        let Some(op) = self.ops.get(at) else {
            *failed |= live;
            return 0;
        };
        match *op {
            Op::All { end } => {
                let (mut holds, mut at) = (live, at + 1);
                while at < end as usize && holds != 0 {
                    holds = self.run(at, inputs, holds, failed);
                    at = self.after(at);
                }
                holds
            }
            Op::Any { end } => {
                let (mut open, mut at) = (live, at + 1);
                while at < end as usize && open != 0 {
                    open &= !self.run(at, inputs, open, failed);
                    at = self.after(at);
                }
                live & !open
            }
            Op::Not => live & !self.run(at + 1, inputs, live, failed),
            Op::Places(holds) => live & holds,
            Op::Fails { holds, errors } => {
                *failed |= live & errors;
                live & holds
            }
            Op::Flag(flag) => everywhere(match flag {
                Flag::Labelled => facts.labelled,
                Flag::ScannedCompletely => facts.scanned_completely,
                Flag::Regulated => facts.regulated,
                Flag::FirstWrite => facts.first_write,
            }),
            Op::Regimes(regimes) => everywhere(facts.sensitive_in & regimes != 0),
            Op::Attrs(n) => {
                everywhere(self.attrs.get(n as usize).is_some_and(|attrs| facts.attrs & attrs != 0))
            }
            Op::Classes(test) => everywhere(test.holds(facts.classes)),
            Op::Has(var, country) => everywhere(inputs.countries(var).contains(country)),
            Op::Meets(var, n) => everywhere(inputs.countries(var).meets(&set(n))),
            Op::Holds(var, n) => everywhere(set(n).is_subset(inputs.countries(var))),
            Op::IsWithin(var, n) => everywhere(inputs.countries(var).is_subset(&set(n))),
            Op::Is(var, n) => everywhere(*inputs.countries(var) == set(n)),
            Op::HoldsPlace(var) => live & self.places_in(inputs.countries(var)),
            Op::IsPlace(var) => match inputs.countries(var) {
                set if set.len() == 1 => live & self.places_in(set),
                _ => 0,
            },
            Op::IsWithinPlace(var) => match inputs.countries(var) {
                set if set.is_empty() => live,
                set if set.len() == 1 => live & self.places_in(set),
                _ => 0,
            },
            Op::AtHome => live & inputs.home,
            Op::Mechanism(slot) => live & inputs.mechanisms.at(slot as usize),
        }
    }

    /// The step after the part that begins here.
    fn after(&self, at: usize) -> usize {
        match self.ops.get(at) {
            Some(Op::All { end } | Op::Any { end }) => *end as usize,
            Some(Op::Not) => self.after(at + 1),
            _ => at + 1,
        }
    }

    fn places_in(&self, countries: &CountrySet) -> Lanes {
        let inside = self.places.iter().filter(|(country, _)| countries.contains(*country));
        inside.fold(0, |lanes, (_, places)| lanes | places)
    }
}

impl Inputs<'_> {
    fn countries(&self, var: CountryVar) -> &CountrySet {
        match var {
            CountryVar::Subjects => &self.facts.subjects,
            CountryVar::Uncovered => &self.facts.uncovered,
            CountryVar::Origin => &self.origin,
            CountryVar::HeldIn => &self.facts.held_in,
            CountryVar::CollectedIn => &self.facts.collected_in,
            CountryVar::ServiceIn => &self.facts.service_in,
            CountryVar::Under => &self.facts.under,
            CountryVar::KeyCountries => &self.facts.key_countries,
        }
    }
}

impl Index {
    fn new(rules: usize) -> Index {
        let width = rules.div_ceil(64);
        Index {
            width,
            any_country: vec![0; width],
            by_country: vec![0; width],
            row_of: vec![0; Country::COUNT],
            any_class: vec![0; width],
            by_class: vec![0; width * CLASSES.len()],
        }
    }

    fn add(&mut self, number: usize, countries: Option<CountrySet>, classes: Option<ClassSet>) {
        let (word, bit) = (number / 64, 1 << (number % 64));
        let put = |list: &mut Vec<u64>, row: usize| {
            if let Some(slot) = list.get_mut(row * self.width + word) {
                *slot |= bit;
            }
        };
        match countries {
            None => put(&mut self.any_country, 0),
            Some(countries) => {
                for country in countries.iter() {
                    let Some(row) = self.row_of.get_mut(country.index()) else { continue };
                    if *row == 0 {
                        // There are fewer countries than rows could be numbered.
                        *row = u16::try_from(self.by_country.len() / self.width).unwrap_or(0);
                        self.by_country.resize(self.by_country.len() + self.width, 0);
                    }
                    put(&mut self.by_country, usize::from(*row));
                }
            }
        }
        match classes {
            None => put(&mut self.any_class, 0),
            Some(classes) => classes.iter().for_each(|class| put(&mut self.by_class, class.index())),
        }
    }

    /// The rules 64 * n and on that are worth a look.
    fn word(&self, n: usize, facts: &Facts) -> u64 {
        let at = |list: &[u64], row: usize| list.get(row * self.width + n).copied().unwrap_or(0);
        let mut countries = at(&self.any_country, 0);
        for country in facts.under.iter() {
            let row = self.row_of.get(country.index()).copied().unwrap_or(0);
            countries |= at(&self.by_country, usize::from(row));
        }
        let mut classes = at(&self.any_class, 0);
        for class in facts.classes.iter() {
            classes |= at(&self.by_class, class.index());
        }
        countries & classes
    }
}

/// The position of a value in a table, which it joins if it is not there yet.
fn interned<T: PartialEq>(table: &mut Vec<T>, value: T) -> u32 {
    let position = table.iter().position(|known| *known == value).unwrap_or_else(|| {
        table.push(value);
        table.len() - 1
    });
    u32::try_from(position).unwrap_or(u32::MAX)
}
