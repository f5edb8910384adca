//! Countries that policies cannot tell apart: what holds of one reader's country holds of all that are like it.

use std::collections::HashMap;

use super::compiled::Compiled;
use super::mechanism::Scope;
use crate::names::{Country, CountrySet};

/// Groups of countries that no rule's literal, no bloc and no mechanism tells apart.
pub fn alike(compiled: &Compiled, scopes: &[Scope]) -> Vec<CountrySet> {
    let mut groups: HashMap<Likeness, CountrySet> = HashMap::new();
    for country in Country::all() {
        let named = compiled.named.contains(country).then_some(country);
        // A membership that ends is not the same as one that stays, so the moments of change are asked about.
        let blocs = compiled.blocs.iter().map(|bloc| {
            let moments = std::iter::once(i64::MIN).chain(bloc.changes());
            moments.map(|moment| bloc.contains(country, moment)).collect::<Vec<_>>()
        });
        let reached = scopes.iter().map(|scope| scope.reaches(country));
        let likeness = Likeness { named, blocs: blocs.collect(), reached: reached.collect() };
        groups.entry(likeness).or_default().insert(country);
    }
    let mut groups: Vec<CountrySet> = groups.into_values().collect();
    groups.sort_by_key(|group| std::cmp::Reverse(group.len()));
    groups
}

/// What tells countries apart.
#[derive(PartialEq, Eq, Hash)]
struct Likeness {
    /// A country that a rule names is like no other.
    named: Option<Country>,
    /// Membership in each bloc, before and after each of its changes.
    blocs: Vec<Vec<bool>>,
    /// Which mechanisms reach it.
    reached: Vec<bool>,
}
