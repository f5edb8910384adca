//! Which gates bind a question and are met: what an allowed answer had to satisfy.
//!
//! A gate forbids `when` a law binds `unless` its ground is there. Without its `unless` it says whether the law binds.

use std::sync::Arc;

use cedar_policy::{Effect, Policy, PolicyId};

use super::asking::{Asking, AtHome};
use super::compiled::{Compiled, Role};
use super::key::Key;
use super::snapshot::{Snapshot, Target};
use super::{Action, PolicyError, Rule};

/// The gates of a policy set without their `unless`.
pub struct Applicable {
    /// With the position of the rule in the compiled set.
    conditions: Vec<(usize, Policy)>,
}

impl Applicable {
    pub fn new(compiled: &Compiled) -> Result<Applicable, PolicyError> {
        let mut conditions = Vec::new();
        for (index, rule) in compiled.rules.iter().enumerate() {
            if rule.role == Role::Gate && rule.policy.effect() == Effect::Forbid {
                conditions.push((index, condition(&rule.policy)?));
            }
        }
        Ok(Applicable { conditions })
    }

    /// The gates that bind at the first place that is asked about.
    pub fn met(&self, snapshot: &Snapshot, key: &Key) -> Result<Vec<Arc<Rule>>, PolicyError> {
        let is_nowhere = match key.action {
            // A reader in an unknown country is one in any country.
            Action::Read => key.reader.is_none(),
            _ => snapshot.setting.locations.is_empty(),
        };
        if is_nowhere {
            return Ok(Vec::new());
        }
        let (target, home) = snapshot.only_place(key)?;
        self.met_at(snapshot, key, target, home)
    }

    /// The gates that bind at one place.
    pub fn met_at(
        &self,
        snapshot: &Snapshot,
        key: &Key,
        target: &Target,
        home: AtHome,
    ) -> Result<Vec<Arc<Rule>>, PolicyError> {
        let in_force = self.conditions.iter().filter(|(index, _)| {
            snapshot.compiled.rules.get(*index).is_some_and(|rule| rule.in_force(snapshot.now))
        });
        let policies = cedar_policy::PolicySet::from_policies(in_force.map(|(_, policy)| policy.clone()))
            .map_err(|error| PolicyError::Schema(error.to_string()))?;
        let held = Asking::new(snapshot, key).satisfied(&policies, target, home)?;
        let rules = held.into_iter().filter_map(|index| snapshot.compiled.rules.get(index));
        Ok(rules.map(|rule| Arc::clone(&rule.rule)).collect())
    }
}

/// The policy without its `unless` clauses, under the same id.
fn condition(policy: &Policy) -> Result<Policy, PolicyError> {
    let failed = |error: String| PolicyError::Schema(error);
    let mut json = policy.to_json().map_err(|error| failed(error.to_string()))?;
    if let Some(conditions) = json.get_mut("conditions").and_then(|list| list.as_array_mut()) {
        conditions.retain(|clause| clause.get("kind").and_then(|kind| kind.as_str()) != Some("unless"));
    }
    let id = PolicyId::new(policy.id());
    Policy::from_json(Some(id), json).map_err(|error| failed(error.to_string()))
}
