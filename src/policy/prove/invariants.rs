//! `invariants.toml`: what must never be allowed, in Cedar.

use std::sync::Arc;

use cedar_policy::{Policy, PolicyId, PolicySet, Schema, ValidationMode, Validator};
use serde::Deserialize;

use crate::policy::manifest::TomlProblem;

/// A claim about a policy set.
#[derive(Debug, Clone)]
pub struct Invariant {
    pub name: Arc<str>,
    /// In plain words.
    pub says: Arc<str>,
    /// Packs without which it means nothing.
    pub needs: Vec<String>,
    /// The action, or group of actions, that it is about.
    pub action: Arc<str>,
    /// Holds for the questions that must never be allowed.
    pub policy: Policy,
}

/// The actions that an invariant can be about.
const ACTIONS: [&str; 7] = ["Transfer", "AtRest", "Store", "Replicate", "Relocate", "Read", "Commit"];

/// Reads a file of invariants. Each must be valid under the schema, as strictly as a rule.
pub fn parse(text: &str, schema: &Schema) -> Result<Vec<Invariant>, Vec<TomlProblem>> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct File {
        #[serde(default)]
        invariant: Vec<Entry>,
    }
    let file: File = toml::from_str(text).map_err(|error| vec![TomlProblem::from(error)])?;
    let (mut invariants, mut problems): (Vec<Invariant>, Vec<TomlProblem>) = (Vec::new(), Vec::new());
    for entry in file.invariant {
        let offset = text.find(&format!("name = \"{}\"", entry.name));
        let name = entry.name.clone();
        if invariants.iter().any(|known| *known.name == *name) {
            let message = format!("invariant `{name}` appears twice");
            problems.push(TomlProblem { message, offset });
            continue;
        }
        match entry.read(schema) {
            Ok(invariant) => invariants.push(invariant),
            Err(message) => {
                let message = format!("invariant `{name}`: {message}");
                problems.push(TomlProblem { message, offset });
            }
        }
    }
    if problems.is_empty() { Ok(invariants) } else { Err(problems) }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    says: String,
    #[serde(default)]
    needs: Vec<String>,
    #[allow(
        dead_code,
        reason = "there is one kind of invariant; its word makes a file read as what it says"
    )]
    never: Never,
    action: String,
    when: String,
    place: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Never {
    Allow,
}

impl Entry {
    fn read(self, schema: &Schema) -> Result<Invariant, String> {
        if !ACTIONS.contains(&self.action.as_str()) {
            return Err(format!("`{}` is not an action; use one of {}", self.action, ACTIONS.join(", ")));
        }
        let mut text = format!(
            "forbid (principal, action in Action::\"{}\", resource) when {{ {} }}",
            self.action, self.when
        );
        if let Some(place) = &self.place {
            text.push_str(&format!(" when {{ {place} }}"));
        }
        text.push(';');
        let policy = Policy::parse(Some(PolicyId::new(&self.name)), text).map_err(|error| whole(&error))?;
        let alone = PolicySet::from_policies([policy.clone()]).map_err(|error| whole(&error))?;
        let result = Validator::new(schema.clone()).validate_with_level(&alone, ValidationMode::Strict, 1);
        if let Some(error) = result.validation_errors().next() {
            return Err(error.to_string());
        }
        if let Some(warning) = result.validation_warnings().next() {
            return Err(warning.to_string());
        }
        Ok(Invariant {
            name: self.name.into(),
            says: self.says.into(),
            needs: self.needs,
            action: self.action.into(),
            policy,
        })
    }
}

/// An error with its causes, on one line.
fn whole(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}
