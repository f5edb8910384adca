//! The questions that can be asked, as one circuit: every operator, object, place and action at once.
//!
//! What a question states is an input; what follows from it is derived where rules are encoded. What cannot be
//! together, such as two countries of one place, is demanded not to be.

use std::sync::Arc;

use batsat::Lit;

use super::circuit::{Circuit, Model};
use super::universe::{Space, Universe};
use super::witness::{Spot, Witness};
use crate::label::DataClass;
use crate::locations::LocationFacts;
use crate::names::Country;
use crate::policy::{Action, ReaderEntity};

/// The actions in the order in which witnesses are looked for.
pub const ACTIONS: [Action; 5] =
    [Action::Store, Action::Replicate, Action::Relocate, Action::Read, Action::Commit];

/// The numbers of an operator, by their names in the schema.
pub const COUNTS: [&str; 4] = ["people", "sensitivePeople", "usPersons", "dailyAccesses"];

pub struct World {
    pub circuit: Circuit,
    pub universe: Universe,
    actions: Vec<Lit>,
    /// As labelled; nothing is presumed yet.
    pub stated: Vec<Lit>,
    pub scanned: Lit,
    pub at_home: Lit,
    pub subjects: Vec<Lit>,
    /// As declared; empty when nobody said.
    pub collected_in: Vec<Lit>,
    pub service_in: Vec<Lit>,
    pub key_countries: Vec<Lit>,
    pub held_in: Vec<Lit>,
    pub origin: Vec<Lit>,
    pub mechanisms: Vec<Lit>,
    pub attrs: Vec<Lit>,
    /// Where the operator is established.
    pub established: Vec<Lit>,
    pub tags: Vec<Lit>,
    pub sensitive_counted: Lit,
    /// For each of [`COUNTS`], whether it is at least each threshold.
    at_least: Vec<Vec<Lit>>,
    pub place: Vec<Lit>,
    pub provider: Vec<Lit>,
    pub certs: Vec<Lit>,
    pub zones: Vec<Lit>,
    pub same_entity: Lit,
    pub authority: Lit,
    places: Vec<(Arc<LocationFacts>, Lit)>,
    /// What a simple example would be like: the first is the most wanted.
    simple: Vec<Lit>,
}

impl World {
    /// `places` are the configured locations; with none of them any location can be.
    pub fn new(universe: Universe, places: &[Arc<LocationFacts>]) -> World {
        let mut circuit = Circuit::new();
        let count = |space| universe.words(space).len();
        let countries = universe.countries.len();
        let actions = circuit.inputs(ACTIONS.len());
        circuit.demand_any(&actions);
        circuit.demand_at_most_one(&actions);
        let at_least = COUNTS.iter().map(|_| circuit.inputs(universe.thresholds.len())).collect();
        let mut world = World {
            stated: circuit.inputs(count(Space::Class)),
            scanned: circuit.input(),
            at_home: circuit.input(),
            subjects: circuit.inputs(countries),
            collected_in: circuit.inputs(countries),
            service_in: circuit.inputs(countries),
            key_countries: circuit.inputs(countries),
            held_in: circuit.inputs(countries),
            origin: circuit.inputs(countries),
            mechanisms: circuit.inputs(count(Space::Mechanism)),
            attrs: circuit.inputs(count(Space::Attr)),
            established: circuit.inputs(countries),
            tags: circuit.inputs(count(Space::Tag)),
            sensitive_counted: circuit.input(),
            place: circuit.inputs(countries),
            provider: circuit.inputs(countries),
            certs: circuit.inputs(count(Space::Cert)),
            zones: circuit.inputs(count(Space::Zone)),
            same_entity: circuit.input(),
            authority: circuit.input(),
            places: Vec::new(),
            simple: Vec::new(),
            at_least,
            actions,
            universe,
            circuit,
        };
        world.constrain();
        world.configure(places);
        world.simple = world.simplicity();
        world
    }

    fn constrain(&mut self) {
        for lits in [&self.place, &self.provider] {
            self.circuit.demand_any(lits);
        }
        for lits in [&self.place, &self.provider, &self.origin, &self.established] {
            self.circuit.demand_at_most_one(lits);
        }
        for bands in &self.at_least {
            for pair in bands.windows(2) {
                if let [lower, higher] = pair {
                    self.circuit.demand_any(&[!*higher, *lower]);
                }
            }
        }
        let read = self.action(Action::Read);
        self.circuit.demand_any(&[!self.same_entity, !self.authority]);
        // What a reader has not, no location has, and the other way round.
        for lit in [self.same_entity, self.authority] {
            self.circuit.demand_any(&[read, !lit]);
        }
        let of_locations = self.certs.iter().chain(&self.zones).chain([&self.at_home]);
        for lit in of_locations.copied().collect::<Vec<_>>() {
            self.circuit.demand_any(&[!read, !lit]);
        }
        for (place, provider) in self.place.iter().zip(&self.provider) {
            self.circuit.demand_any(&[!read, !*place, *provider]);
        }
    }

    fn configure(&mut self, places: &[Arc<LocationFacts>]) {
        for facts in places {
            let here = |space, word: &str, position| self.universe.position(space, word) == Some(position);
            let mut parts = Vec::new();
            for (position, country) in self.universe.countries.iter().enumerate() {
                if *country == facts.country {
                    parts.extend(self.place.get(position));
                }
                if *country == facts.provider_country {
                    parts.extend(self.provider.get(position));
                }
            }
            for (position, cert) in self.certs.iter().enumerate() {
                let has = facts.certifications.iter().any(|word| here(Space::Cert, word, position));
                parts.push(cert.apply_sign(has));
            }
            for (position, zone) in self.zones.iter().enumerate() {
                let has = facts.zones.iter().any(|word| here(Space::Zone, word, position));
                parts.push(zone.apply_sign(has));
            }
            let is_it = self.circuit.all(parts);
            self.places.push((Arc::clone(facts), is_it));
        }
        if self.places.is_empty() {
            self.constrain_zones();
        } else {
            let some = self.places.iter().map(|(_, is_it)| *is_it).chain([self.action(Action::Read)]);
            let some: Vec<Lit> = some.collect();
            self.circuit.demand_any(&some);
        }
    }

    /// A part of a country is in that country.
    fn constrain_zones(&mut self) {
        for (word, zone) in self.universe.words(Space::Zone).iter().zip(&self.zones) {
            let country = word.split('-').next().unwrap_or_default();
            if let Some(position) = self.universe.position(Space::Country, country)
                && let Some(place) = self.place.get(position)
            {
                self.circuit.demand_any(&[!*zone, *place]);
            }
        }
    }

    /// Whether this is what is done.
    pub fn action(&self, action: Action) -> Lit {
        let position = ACTIONS.iter().position(|known| *known == action);
        position.and_then(|n| self.actions.get(n)).copied().unwrap_or(self.circuit.constant(false))
    }

    /// Whether the number of that name is at least `number`.
    pub fn at_least(&self, name: &str, number: i64) -> Option<Lit> {
        let bands = self.at_least.get(COUNTS.iter().position(|known| *known == name)?)?;
        if number <= 0 {
            return Some(self.circuit.constant(true));
        }
        let position = self.universe.thresholds.binary_search(&number).ok()?;
        bands.get(position).copied()
    }

    /// What a simple example would be like: an object that is labelled and scanned, a provider at home, few words.
    fn simplicity(&mut self) -> Vec<Lit> {
        let mut simple = vec![self.scanned, !self.authority];
        let mut same_provider = Vec::new();
        for (place, provider) in self.place.iter().zip(&self.provider) {
            let both = self.circuit.both(*place, *provider);
            same_provider.push(both);
        }
        simple.push(self.circuit.any(same_provider));
        let labelled = self.circuit.any(self.stated.clone());
        simple.push(labelled);
        let rare = [&self.mechanisms, &self.attrs, &self.tags, &self.zones, &self.certs];
        simple.extend(rare.into_iter().flatten().map(|lit| !*lit));
        let sets = [
            &self.collected_in,
            &self.service_in,
            &self.key_countries,
            &self.held_in,
            &self.origin,
            &self.established,
            &self.stated,
            &self.subjects,
        ];
        simple.extend(sets.into_iter().flatten().map(|lit| !*lit));
        simple.push(self.at_home);
        simple.push(!self.sensitive_counted);
        // From the highest down, so that a number becomes as small as can be.
        simple.extend(self.at_least.iter().flat_map(|bands| bands.iter().rev()).map(|lit| !*lit));
        simple
    }

    /// An example under which all of `assumed` holds, with nothing in it that could be left out.
    pub fn example(&mut self, assumed: &[Lit], now: i64) -> Option<Witness> {
        let mut model = self.circuit.solve(assumed)?;
        let mut fixed = assumed.to_vec();
        let (had, wanting): (Vec<Lit>, Vec<Lit>) = self.simple.iter().partition(|lit| model.is(**lit));
        fixed.extend(had);
        // The place may be any; the first one is kept, so that the example does not wander.
        for lit in wanting {
            fixed.push(lit);
            match self.circuit.solve(&fixed) {
                Some(better) => model = better,
                None => {
                    fixed.pop();
                }
            }
        }
        self.witness(&model, now)
    }

    /// An example under which all of `assumed` holds; there may be more in it than is needed.
    pub fn any_example(&mut self, assumed: &[Lit], now: i64) -> Option<Witness> {
        let model = self.circuit.solve(assumed)?;
        self.witness(&model, now)
    }

    /// What a model says, in words.
    fn witness(&self, model: &Model, now: i64) -> Option<Witness> {
        let words = |space: Space, lits: &[Lit]| -> Vec<Arc<str>> {
            let list = self.universe.words(space).iter().zip(lits);
            list.filter(|(_, lit)| model.is(**lit)).map(|(word, _)| Arc::clone(word)).collect()
        };
        let countries = |lits: &[Lit]| -> Vec<Country> {
            let list = self.universe.countries.iter().zip(lits);
            list.filter(|(_, lit)| model.is(**lit)).map(|(country, _)| *country).collect()
        };
        let one = |lits: &[Lit]| countries(lits).first().copied();
        let action = ACTIONS.iter().copied().find(|action| model.is(self.action(*action)));
        let action = action.unwrap_or(Action::Store);
        let count = |bands: &Vec<Lit>| {
            let passed = self.universe.thresholds.iter().zip(bands).filter(|(_, lit)| model.is(**lit));
            passed.map(|(number, _)| *number).next_back().unwrap_or(0)
        };
        let mut counts = [0; COUNTS.len()];
        for (slot, bands) in counts.iter_mut().zip(&self.at_least) {
            *slot = count(bands);
        }
        // A place has one country: the solver was told so.
        let country = one(&self.place)?;
        Some(Witness {
            action,
            now,
            classes: DataClass::all()
                .zip(&self.stated)
                .filter(|(_, lit)| model.is(**lit))
                .map(|(class, _)| class)
                .collect(),
            scanned: model.is(self.scanned),
            subjects: countries(&self.subjects),
            collected_in: countries(&self.collected_in),
            service_in: countries(&self.service_in),
            key_countries: countries(&self.key_countries),
            held_in: countries(&self.held_in),
            origin: one(&self.origin),
            mechanisms: words(Space::Mechanism, &self.mechanisms),
            attrs: words(Space::Attr, &self.attrs),
            established: one(&self.established),
            tags: words(Space::Tag, &self.tags),
            counts,
            sensitive_counted: model.is(self.sensitive_counted),
            spot: match action {
                Action::Read => Spot::Reader {
                    country,
                    entity: match (model.is(self.same_entity), model.is(self.authority)) {
                        (true, _) => ReaderEntity::Same,
                        (false, true) => ReaderEntity::Authority,
                        (false, false) => ReaderEntity::Other,
                    },
                },
                _ => Spot::Location {
                    id: self
                        .places
                        .iter()
                        .find(|(_, is_it)| model.is(*is_it))
                        .map(|(facts, _)| facts.id.clone()),
                    country,
                    provider: one(&self.provider).unwrap_or(country),
                    certs: words(Space::Cert, &self.certs),
                    zones: words(Space::Zone, &self.zones),
                    at_home: model.is(self.at_home),
                },
            },
        })
    }
}
