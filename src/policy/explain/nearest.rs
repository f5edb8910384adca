//! Where the object may rest instead: the nearest to the people or the state that it is about.

use std::sync::Arc;

use serde::Serialize;

use crate::locations::LocationFacts;
use crate::names::{Country, CountrySet};
use crate::policy::key::Key;
use crate::policy::manifest::Bloc;
use crate::policy::snapshot::{Moment, Setting, Snapshot};
use crate::policy::{Action, PolicyError};

/// How many alternatives are worth reading.
const MOST_PLACES: usize = 8;

/// How many countries are tried where no locations are configured.
const MOST_TRIED: usize = 64;

/// An allowed place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Near {
    /// `eu-central (DE)`, or just the country.
    pub place: String,
    /// Why it is near.
    pub because: String,
}

/// Allowed locations, those of the subjects' own countries first, then those that share a group with them.
pub fn nearest<'a>(
    snapshot: &Snapshot,
    key: &Key,
    allowed: impl Iterator<Item = &'a Arc<LocationFacts>>,
) -> Vec<Near> {
    let named = |facts: &LocationFacts| format!("{} ({})", facts.id, facts.country);
    rank(snapshot, key, allowed.map(|facts| (named(facts), facts.country)))
}

/// Countries in which a plain location would be allowed: of the subjects, of those who hold it, and of their groups.
pub fn nearest_countries(snapshot: &Snapshot, key: &Key) -> Result<Vec<Near>, PolicyError> {
    if key.action == Action::Read {
        return Ok(Vec::new());
    }
    let declared = snapshot.declared(key);
    let known = key.subjects.union(declared.collected_in).union(key.held_in);
    let known: CountrySet = known.iter().chain(snapshot.setting.operator.country).collect();
    let blocs = snapshot.compiled.blocs.iter();
    let shared = blocs.filter(|bloc| key.subjects.iter().any(|country| bloc.contains(country, snapshot.now)));
    let members: CountrySet = shared
        .flat_map(|bloc| Country::all().filter(|country| bloc.contains(*country, snapshot.now)))
        .collect();
    let others = members.difference(known);
    let tried = known.iter().chain(others.iter()).take(MOST_TRIED);
    let mut locations = Vec::new();
    for country in tried {
        let id = country.code().to_lowercase();
        locations.push(Arc::new(LocationFacts {
            id: id.parse().map_err(|_| PolicyError::Question(format!("`{id}` is no location's name")))?,
            country,
            region: id,
            provider: "unnamed".to_owned(),
            provider_country: country,
            certifications: Default::default(),
            zones: Default::default(),
        }));
    }
    let setting = Setting { locations: locations.into(), ..Setting::clone(&snapshot.setting) };
    let world = Snapshot::new(Arc::clone(&snapshot.compiled), Arc::new(setting), Moment::AsOf(snapshot.now))?;
    let mut asked = *key;
    asked.home = None;
    let decision = world.evaluate(asked)?;
    let allowed = decision.allowed().iter().map(|facts| (facts.country.to_string(), facts.country));
    Ok(rank(snapshot, key, allowed))
}

fn rank(snapshot: &Snapshot, key: &Key, allowed: impl Iterator<Item = (String, Country)>) -> Vec<Near> {
    let members = |bloc: &Bloc| Country::all().filter(|c| bloc.contains(*c, snapshot.now)).count();
    let mut found: Vec<((usize, usize), Near)> = allowed
        .map(|(place, country)| {
            let shared = snapshot.compiled.blocs.iter().filter(|bloc| {
                let within = |country| bloc.contains(country, snapshot.now);
                within(country) && key.subjects.iter().any(within)
            });
            // The closest group says most.
            let shared = shared.map(|bloc| (members(bloc), bloc)).min_by_key(|(size, _)| *size);
            let (rank, because) = match shared {
                _ if key.subjects.contains(country) => {
                    ((0, 0), "a country that the data is about".to_owned())
                }
                _ if key.held_in.contains(country) => {
                    ((1, 0), "a country that already holds a copy".to_owned())
                }
                Some((size, bloc)) => {
                    ((2, size), format!("in {} with a country that the data is about", bloc.name))
                }
                None => ((3, 0), "allowed".to_owned()),
            };
            (rank, Near { place, because })
        })
        .collect();
    // Stable: among equals the configured order stays.
    found.sort_by_key(|(rank, _)| *rank);
    found.into_iter().map(|(_, near)| near).take(MOST_PLACES).collect()
}

impl std::fmt::Display for Near {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.place, self.because)
    }
}
