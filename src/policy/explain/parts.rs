//! A rule taken apart: what must hold for it to apply, and the ways through it, in Cedar's own words.

use cedar_policy::{Policy, PolicyId, PolicySet};
use serde_json::{Value, json};

use crate::policy::PolicyError;
use crate::policy::asking::{Asking, AtHome};
use crate::policy::snapshot::Target;

/// One condition of a rule.
pub struct Part {
    /// As Cedar prints it.
    pub text: String,
    /// It alone, under the rule's id.
    policy: Policy,
}

impl Part {
    pub fn holds(&self, asking: &mut Asking<'_>, target: &Target, home: AtHome) -> Result<bool, PolicyError> {
        let set = PolicySet::from_policies([self.policy.clone()]).map_err(failed)?;
        Ok(!asking.satisfied(&set, target, home)?.is_empty())
    }
}

/// What must hold together: the `when` of a rule.
pub fn requirements(policy: &Policy) -> Result<Vec<Part>, PolicyError> {
    parts(policy, "when", "&&")
}

/// Of which one is enough: the `unless` of a rule.
pub fn exceptions(policy: &Policy) -> Result<Vec<Part>, PolicyError> {
    parts(policy, "unless", "||")
}

fn parts(policy: &Policy, clause: &str, joint: &str) -> Result<Vec<Part>, PolicyError> {
    let json = policy.to_json().map_err(failed)?;
    let mut bodies = Vec::new();
    for condition in json.get("conditions").and_then(Value::as_array).into_iter().flatten() {
        if condition.get("kind").and_then(Value::as_str) == Some(clause) {
            split(condition.get("body").unwrap_or(&Value::Null), joint, &mut bodies);
        }
    }
    bodies.into_iter().map(|body| part(policy, &json, body)).collect()
}

/// Flattens `a && (b && c)`, in the order of the text.
fn split<'a>(body: &'a Value, joint: &str, found: &mut Vec<&'a Value>) {
    match body.get(joint) {
        Some(sides) => {
            for side in ["left", "right"].iter().filter_map(|side| sides.get(side)) {
                split(side, joint, found);
            }
        }
        None => found.push(body),
    }
}

fn part(policy: &Policy, json: &Value, body: &Value) -> Result<Part, PolicyError> {
    let mut json = json.clone();
    if let Some(whole) = json.as_object_mut() {
        whole.insert("conditions".to_owned(), json!([{ "kind": "when", "body": body }]));
        whole.remove("annotations");
    }
    let policy = Policy::from_json(Some(PolicyId::new(policy.id())), json).map_err(failed)?;
    let whole = policy.to_string();
    let inner = whole.split_once("when {").and_then(|(_, rest)| rest.rsplit_once('}'));
    let text = inner.map_or(whole.as_str(), |(inner, _)| inner);
    Ok(Part { text: text.split_whitespace().collect::<Vec<_>>().join(" "), policy })
}

fn failed(error: impl std::fmt::Display) -> PolicyError {
    PolicyError::Question(error.to_string())
}
