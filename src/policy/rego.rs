//! A policy of OPA's language Rego beside the packs.
//!
//! It answers `true`, or an object with `allow` and perhaps `reason`. Whatever else it does refuses: `false`, no answer,
//! an error, or too long a time.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use regorus::utils::limits::ExecutionTimerConfig;
use regorus::{Engine, LimitError, Value};
use serde::Deserialize;

use super::Rule;
use super::constraint::{Asked, Constrains, Lasts, Objection};

/// The longest time that one question may take.
const LIMIT: Duration = Duration::from_secs(1);
/// Steps between two looks at the clock.
const CHECK_INTERVAL: NonZeroU32 = NonZeroU32::new(64).unwrap();

/// A prepared policy, and the rule of it that is asked.
pub struct Rego {
    engine: Engine,
    query: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Answer {
    Plain(bool),
    Explained { allow: bool, reason: Option<String> },
}

impl Rego {
    /// Prepares a policy, or says why it cannot be asked.
    pub fn new(text: &str, query: &str) -> Result<Rego, String> {
        let mut engine = Engine::new();
        engine.set_execution_timer_config(ExecutionTimerConfig {
            limit: LIMIT,
            check_interval: CHECK_INTERVAL,
        });
        engine
            .add_policy(super::source::REGO.to_owned(), text.to_owned())
            .map_err(|error| error.to_string())?;
        // A first question shows that there is such a rule; what it answers to nothing does not matter.
        engine.set_input(Value::new_object());
        engine.eval_rule(query.to_owned()).map_err(|error| {
            format!("`{query}` cannot be asked; name a rule, for example data.domicile.allow: {error}")
        })?;
        Ok(Rego { engine, query: query.to_owned() })
    }

    fn objection_of(&self, id: &str, explain: &str, lasts: Lasts) -> Option<Objection> {
        let rule = Rule {
            id: id.into(),
            law: "Rego policy of the operator".into(),
            article: self.query.as_str().into(),
            explain: explain.into(),
            remedy: "Ask the administrator of the Rego policy.".into(),
            confidence: "high".into(),
            pack: "rego".into(),
            part_of: id.into(),
        };
        Some(Objection { rule: Arc::new(rule), lasts })
    }

    fn ask(&self, asked: &Asked<'_>) -> Result<Value, Failure> {
        let failed = |error: &dyn std::fmt::Display| Failure::Failed(error.to_string());
        let input = serde_json::to_string(asked).map_err(|error| failed(&error))?;
        let mut engine = self.engine.clone();
        engine.set_input(Value::from_json_str(&input).map_err(|error| failed(&error))?);
        engine.eval_rule(self.query.clone()).map_err(|error| match error.downcast_ref::<LimitError>() {
            Some(LimitError::TimeLimitExceeded { .. }) => Failure::TookTooLong,
            _ => failed(&error),
        })
    }
}

/// Why there is no answer.
enum Failure {
    TookTooLong,
    Failed(String),
}

impl Constrains for Rego {
    fn objection(&self, asked: &Asked<'_>) -> Option<Objection> {
        let value = match self.ask(asked) {
            Ok(value) => value,
            Err(Failure::TookTooLong) => {
                tracing::error!("the Rego policy took too long");
                return self.objection_of("REGO-TIME", "The Rego policy took too long.", Lasts::No);
            }
            Err(Failure::Failed(error)) => {
                tracing::error!(error, "the Rego policy could not be evaluated");
                return self.objection_of("REGO-ERROR", "The Rego policy failed.", Lasts::No);
            }
        };
        if value == Value::Undefined {
            return self.objection_of("REGO-UNDEFINED", "The Rego policy gave no answer.", Lasts::Yes);
        }
        let answer = value.to_json_str().ok().and_then(|text| serde_json::from_str(&text).ok());
        match answer {
            Some(Answer::Plain(true) | Answer::Explained { allow: true, .. }) => None,
            Some(Answer::Plain(false)) => {
                self.objection_of("REGO-DENY", "The Rego policy refuses it.", Lasts::Yes)
            }
            Some(Answer::Explained { reason, .. }) => {
                let reason = reason.unwrap_or_else(|| "The Rego policy refuses it.".to_owned());
                self.objection_of("REGO-DENY", &reason, Lasts::Yes)
            }
            None => {
                self.objection_of("REGO-ERROR", "The Rego policy answered neither yes nor no.", Lasts::Yes)
            }
        }
    }
}

#[cfg(test)]
mod tests;
