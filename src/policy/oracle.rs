//! What Cedar's own authorizer is asked with: the policies that are in force, and the entities.
//!
//! Lowered rules answer requests; this is for the comparison with them, for rules that have no lowered form, and for
//! people. So it is made when it is first needed, and what does not depend on the operator is kept with the compiled
//! set for all of its snapshots.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use cedar_policy::{Entities, Entity, EntityUid, PolicyId, PolicySet, RestrictedExpression};

use super::compiled::{Compiled, Role};
use super::entities::{Holder, Literals, literal, operator_entity, schema_error, uid};
use super::manifest::WordKind;
use super::snapshot::Target;
use super::{PolicyError, ReaderEntity};
use crate::locations::LocationFacts;
use crate::names::Country;

/// Cedar's view of one snapshot.
pub struct Oracle {
    pub sets: Arc<Sets>,
    pub operator: EntityUid,
    literals: Arc<Literals>,
    /// The operator and the actions: what every target's entities have in common.
    common: Entities,
    /// Made when first asked about, as are the readers: by country, once for each kind of reader.
    locations: Box<[OnceLock<Target>]>,
    readers: Box<[OnceLock<Target>]>,
}

/// The policies that are in force, by what they are for.
pub struct Sets {
    pub gates: PolicySet,
    pub duties: PolicySet,
    pub grounds: PolicySet,
    pub commits: PolicySet,
    /// Position of each rule in the compiled set.
    order: HashMap<PolicyId, usize>,
}

/// What is made once for a compiled set.
#[derive(Default)]
pub struct Made {
    literals: OnceLock<Arc<Literals>>,
    actions: OnceLock<Entities>,
    /// That questions fit the schema was tried.
    probed: OnceLock<()>,
    /// By which rules are in force; few dates are asked about at the same time.
    sets: Mutex<Vec<(Vec<bool>, Arc<Sets>)>>,
}

/// How many sets of rules in force are kept.
const MOST_SETS: usize = 4;

impl Clone for Made {
    /// Without the sets of policies: whoever copies a compiled set may change its rules.
    fn clone(&self) -> Made {
        Made {
            literals: self.literals.clone(),
            actions: self.actions.clone(),
            probed: self.probed.clone(),
            sets: Mutex::default(),
        }
    }
}

impl Made {
    pub fn is_probed(&self) -> bool {
        self.probed.get().is_some()
    }

    pub fn set_probed(&self) {
        // Whoever came first found the same.
        let _ = self.probed.set(());
    }
}

impl Compiled {
    pub(super) fn literals(&self) -> Result<Arc<Literals>, PolicyError> {
        if let Some(literals) = self.made.literals.get() {
            return Ok(Arc::clone(literals));
        }
        let literals = Arc::new(Literals::new(self)?);
        Ok(Arc::clone(self.made.literals.get_or_init(|| literals)))
    }

    fn actions(&self) -> Result<&Entities, PolicyError> {
        if let Some(actions) = self.made.actions.get() {
            return Ok(actions);
        }
        let actions = Entities::from_entities([], Some(&self.schema)).map_err(schema_error)?;
        Ok(self.made.actions.get_or_init(|| actions))
    }

    fn sets(&self, now: i64) -> Result<Arc<Sets>, PolicyError> {
        let in_force: Vec<bool> = self.rules.iter().map(|rule| rule.in_force(now)).collect();
        let mut kept = self.made.sets.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, sets)) = kept.iter().find(|(rules, _)| *rules == in_force) {
            return Ok(Arc::clone(sets));
        }
        let sets = Arc::new(Sets::new(self, now)?);
        if kept.len() == MOST_SETS {
            kept.remove(0);
        }
        kept.push((in_force, Arc::clone(&sets)));
        Ok(sets)
    }
}

impl Sets {
    fn new(compiled: &Compiled, now: i64) -> Result<Sets, PolicyError> {
        let (mut gates, mut duties) = (PolicySet::new(), PolicySet::new());
        let (mut grounds, mut commits, mut order) = (PolicySet::new(), PolicySet::new(), HashMap::new());
        for (index, rule) in compiled.rules.iter().enumerate() {
            if rule.in_force(now) {
                let set = match rule.role {
                    Role::Gate => &mut gates,
                    Role::Duty(_) => &mut duties,
                    Role::Ground => &mut grounds,
                    Role::Commit => &mut commits,
                };
                set.add(rule.policy.clone()).map_err(|error| PolicyError::Schema(error.to_string()))?;
            }
            order.insert(rule.policy.id().clone(), index);
        }
        Ok(Sets { gates, duties, grounds, commits, order })
    }

    /// The positions of these rules, in order.
    pub fn positions<'a>(&self, ids: impl Iterator<Item = &'a PolicyId>) -> Vec<usize> {
        let mut found: Vec<usize> = ids.filter_map(|id| self.order.get(id).copied()).collect();
        found.sort_unstable();
        found
    }
}

impl Oracle {
    pub fn new(
        compiled: &Compiled,
        holder: &Holder,
        locations: usize,
        now: i64,
    ) -> Result<Oracle, PolicyError> {
        let literals = compiled.literals()?;
        let (uid, operator) = operator_entity(holder, &literals)?;
        // That the operator fits the schema is probed once; its words were looked up.
        let schema = (!compiled.made.is_probed()).then_some(&compiled.schema);
        let common = compiled.actions()?.clone().add_entities([operator], schema).map_err(schema_error)?;
        let slots = |count: usize| (0..count).map(|_| OnceLock::new()).collect();
        Ok(Oracle {
            sets: compiled.sets(now)?,
            operator: uid,
            literals,
            common,
            locations: slots(locations),
            readers: slots(3 * Country::COUNT),
        })
    }

    pub fn location(
        &self,
        index: usize,
        facts: &LocationFacts,
        compiled: &Compiled,
        now: i64,
    ) -> Result<&Target, PolicyError> {
        let slot = self.locations.get(index).ok_or_else(no_place)?;
        if let Some(target) = slot.get() {
            return Ok(target);
        }
        let words = |entity: &str, kind: WordKind, texts: &mut dyn Iterator<Item = &String>| {
            texts
                .map(|text| literal(entity, compiled.words.word(kind, text)?))
                .collect::<Result<Vec<_>, PolicyError>>()
        };
        let certs = words("Cert", WordKind::Cert, &mut facts.certifications.iter())?;
        let zones = words("Zone", WordKind::Zone, &mut facts.zones.iter())?;
        let blocs = |country| self.blocs_of(country, compiled, now);
        let attributes = HashMap::from([
            ("country".to_owned(), self.literals.country(facts.country)),
            ("blocs".to_owned(), blocs(facts.country)),
            ("region".to_owned(), RestrictedExpression::new_string(facts.region.clone())),
            ("provider".to_owned(), RestrictedExpression::new_string(facts.provider.clone())),
            ("providerCountry".to_owned(), self.literals.country(facts.provider_country)),
            ("providerBlocs".to_owned(), blocs(facts.provider_country)),
            ("certs".to_owned(), RestrictedExpression::new_set(certs)),
            ("zones".to_owned(), RestrictedExpression::new_set(zones)),
        ]);
        let target = self.target(uid("Location", facts.id.as_str())?, facts.country, attributes, compiled)?;
        Ok(slot.get_or_init(|| target))
    }

    pub fn reader(
        &self,
        country: Country,
        entity: ReaderEntity,
        compiled: &Compiled,
        now: i64,
    ) -> Result<&Target, PolicyError> {
        let kind = match entity {
            ReaderEntity::Same => 0,
            ReaderEntity::Other => 1,
            ReaderEntity::Authority => 2,
        };
        let slot = self.readers.get(kind * Country::COUNT + country.index()).ok_or_else(no_place)?;
        if let Some(target) = slot.get() {
            return Ok(target);
        }
        let flag = |set: bool| RestrictedExpression::new_bool(set);
        let attributes = HashMap::from([
            ("country".to_owned(), self.literals.country(country)),
            ("blocs".to_owned(), self.blocs_of(country, compiled, now)),
            ("sameEntity".to_owned(), flag(entity == ReaderEntity::Same)),
            ("authority".to_owned(), flag(entity == ReaderEntity::Authority)),
        ]);
        let target = self.target(uid("Reader", country.code())?, country, attributes, compiled)?;
        Ok(slot.get_or_init(|| target))
    }

    fn target(
        &self,
        uid: EntityUid,
        country: Country,
        attributes: HashMap<String, RestrictedExpression>,
        compiled: &Compiled,
    ) -> Result<Target, PolicyError> {
        let entity = Entity::new(uid.clone(), attributes, HashSet::new()).map_err(schema_error)?;
        let schema = (!compiled.made.is_probed()).then_some(&compiled.schema);
        let entities = self.common.clone().add_entities([entity], schema).map_err(schema_error)?;
        Ok(Target { uid, country, entities })
    }

    fn blocs_of(&self, country: Country, compiled: &Compiled, now: i64) -> RestrictedExpression {
        let blocs = compiled.blocs.iter().zip(&self.literals.blocs);
        let mine = blocs.filter(|(bloc, _)| bloc.contains(country, now)).map(|(_, word)| word.clone());
        RestrictedExpression::new_set(mine)
    }
}

fn no_place() -> PolicyError {
    PolicyError::Question("no such place".to_owned())
}
