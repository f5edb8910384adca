//! What there is to tell apart: the words of the schema, the countries, and the numbers that rules compare with.
//!
//! Rules name some countries and blocs; all others look alike to them. So a group of countries that no rule, bloc or
//! pack tells apart is represented by two of its members: one that may be the place itself, and one that is not. That
//! loses nothing, because a rule can compare countries with literals and with the country of the place only.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use cedar_policy::Policy;
use cedar_policy::pst::{Clause, Expr, Literal};

use crate::label::DataClass;
use crate::locations::LocationFacts;
use crate::names::{Country, CountrySet};
use crate::policy::compiled::Compiled;
use crate::policy::manifest::WordKind;

/// The kinds of things that sets hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Space {
    Country,
    Class,
    Bloc,
    Regime,
    Mechanism,
    Attr,
    Tag,
    Cert,
    Zone,
}

impl Space {
    /// The kind that an entity type of the schema stands for.
    pub fn named(entity_type: &str) -> Option<Space> {
        Some(match entity_type {
            "Country" => Space::Country,
            "Class" => Space::Class,
            "Bloc" => Space::Bloc,
            "Regime" => Space::Regime,
            "Mechanism" => Space::Mechanism,
            "Attr" => Space::Attr,
            "Tag" => Space::Tag,
            "Cert" => Space::Cert,
            "Zone" => Space::Zone,
            _ => return None,
        })
    }
}

pub struct Universe {
    pub countries: Vec<Country>,
    words: HashMap<Space, Vec<Arc<str>>>,
    positions: HashMap<(Space, Arc<str>), usize>,
    /// Ascending, all above zero: a number may be at least each of them.
    pub thresholds: Vec<i64>,
}

impl Universe {
    /// `sets` with the moments for which they are asked; `more` is what is asked about them.
    pub fn new(sets: &[(&Compiled, i64)], more: &[&Policy], places: &[Arc<LocationFacts>]) -> Universe {
        let mut named: CountrySet = sets.iter().flat_map(|(set, _)| set.named.iter()).collect();
        for place in places {
            named.insert(place.country);
            named.insert(place.provider_country);
        }
        let mut numbers = BTreeSet::new();
        let mut note = |literal: &Literal| match literal {
            Literal::Long(number) => numbers.extend([*number, number.saturating_add(1)]),
            Literal::EntityUID(uid) => {
                if let Ok(country) = uid.eid.parse() {
                    named.insert(country);
                }
            }
            _ => {}
        };
        let rules = sets.iter().flat_map(|(set, _)| set.rules.iter().map(|rule| &rule.policy));
        for tree in rules.chain(more.iter().copied()).filter_map(|policy| policy.to_pst().ok()) {
            for clause in tree.body().clauses() {
                let (Clause::When(condition) | Clause::Unless(condition)) = clause;
                literals(condition, &mut note);
            }
        }

        let mut words: HashMap<Space, Vec<Arc<str>>> = HashMap::new();
        let countries = representatives(sets, named);
        let mut add = |space: Space, word: &str| {
            let list = words.entry(space).or_default();
            if !list.iter().any(|known| **known == *word) {
                list.push(word.into());
            }
        };
        countries.iter().for_each(|country| add(Space::Country, country.code()));
        DataClass::all().for_each(|class| add(Space::Class, class.name()));
        for (set, _) in sets {
            set.blocs.iter().for_each(|bloc| add(Space::Bloc, &bloc.name));
            set.regimes.iter().for_each(|regime| add(Space::Regime, &regime.name));
            for (space, kind) in [
                (Space::Mechanism, WordKind::Mechanism),
                (Space::Attr, WordKind::Attr),
                (Space::Tag, WordKind::Tag),
                (Space::Cert, WordKind::Cert),
                (Space::Zone, WordKind::Zone),
            ] {
                set.words.list(kind).iter().for_each(|word| add(space, word));
            }
        }
        let lists = words.iter();
        let positions = lists.flat_map(|(space, list)| {
            list.iter().enumerate().map(|(position, word)| ((*space, Arc::clone(word)), position))
        });
        let thresholds = numbers.into_iter().filter(|number| *number > 0).collect();
        Universe { countries, positions: positions.collect(), words, thresholds }
    }

    pub fn words(&self, space: Space) -> &[Arc<str>] {
        self.words.get(&space).map_or(&[], Vec::as_slice)
    }

    pub fn position(&self, space: Space, word: &str) -> Option<usize> {
        self.positions.get(&(space, Arc::from(word))).copied()
    }
}

/// Calls `note` with every literal of an expression.
fn literals(expr: &Expr, note: &mut impl FnMut(&Literal)) {
    match expr {
        Expr::Literal(literal) => note(literal),
        Expr::UnaryOp { expr, .. }
        | Expr::GetAttr { expr, .. }
        | Expr::HasAttr { expr, .. }
        | Expr::Like { expr, .. } => literals(expr, note),
        Expr::BinaryOp { left, right, .. } => {
            literals(left, note);
            literals(right, note);
        }
        Expr::Is { expr, in_expr, .. } => {
            literals(expr, note);
            in_expr.iter().for_each(|expr| literals(expr, note));
        }
        Expr::IfThenElse { cond, then_expr, else_expr } => {
            [cond, then_expr, else_expr].into_iter().for_each(|expr| literals(expr, note));
        }
        Expr::Set(members) => members.iter().for_each(|member| literals(member, note)),
        // These have no place in a rule that can be encoded.
        _ => {}
    }
}

/// Every country that is named, and two of each group that nothing tells apart.
fn representatives(sets: &[(&Compiled, i64)], named: CountrySet) -> Vec<Country> {
    let mut groups: HashMap<Vec<bool>, usize> = HashMap::new();
    let likeness = |country: Country| {
        let of = sets.iter().flat_map(|(set, now)| {
            let blocs = set.blocs.iter().map(|bloc| bloc.contains(country, *now));
            blocs.chain([set.covers.contains(country)])
        });
        of.collect::<Vec<bool>>()
    };
    let chosen = Country::all().filter(|country| {
        if named.contains(*country) {
            return true;
        }
        let members = groups.entry(likeness(*country)).or_default();
        *members += 1;
        *members <= 2
    });
    chosen.collect()
}
