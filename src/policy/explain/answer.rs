//! An explanation, for people and as JSON.

use std::collections::BTreeSet;
use std::fmt;

use serde::Serialize;

use super::nearest::Near;
use super::ways::Way;
use crate::policy::{Action, MechanismUse, Rule};

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// The object or the scenario that it is about, when it has a name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub about: Option<String>,
    /// Hash of the policy set.
    pub policy: String,
    pub action: &'static str,
    pub places: Vec<PlaceAnswer>,
    /// Locations that are allowed, in configured order, also where only one was asked about.
    pub allowed: Vec<String>,
    /// The same, or countries where none are configured: the nearest to the subjects first.
    pub nearest: Vec<Near>,
}

/// What holds for one place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PlaceAnswer {
    /// `us-east (US)`, `a reader in US`, `a reader in an unknown country`.
    pub place: String,
    pub allowed: bool,
    /// The permits if it is allowed, otherwise every prohibition that stands against it.
    pub rules: Vec<RuleAnswer>,
    /// Prohibitions that bind the object and are met here: where something is allowed, why the law lets it.
    pub met: Vec<RuleAnswer>,
    /// Provisions on which the permission rests.
    pub grounds: Vec<RuleAnswer>,
    pub obligations: Vec<String>,
    /// The rules that make the obligations due.
    pub duties: Vec<RuleAnswer>,
    /// Mechanisms without which it would be refused.
    pub mechanisms: Vec<String>,
    /// Permits that would carry it, and what is missing for each; empty where some permit applies.
    pub missing_permits: Vec<MissingPermit>,
    /// Each would turn the refusal into a permission.
    pub would_be_allowed_with: Vec<Way>,
}

/// One rule, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RuleAnswer {
    pub id: String,
    pub law: String,
    pub article: String,
    pub explain: String,
    pub remedy: String,
    pub confidence: String,
    pub pack: String,
    /// Where it refuses: the exceptions that it knows, in Cedar's words; one of them is enough.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unless: Vec<String>,
}

/// A permit that does not apply.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MissingPermit {
    pub id: String,
    pub explain: String,
    /// Conditions that do not hold, in Cedar's words.
    pub lacks: Vec<String>,
}

impl From<&Rule> for RuleAnswer {
    fn from(rule: &Rule) -> RuleAnswer {
        RuleAnswer {
            id: rule.id.to_string(),
            law: rule.law.to_string(),
            article: rule.article.to_string(),
            explain: rule.explain.to_string(),
            remedy: rule.remedy.to_string(),
            confidence: rule.confidence.to_string(),
            pack: rule.pack.to_string(),
            unless: Vec::new(),
        }
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(about) = &self.about {
            writeln!(f, "{about}")?;
        }
        let mut told = BTreeSet::new();
        for place in &self.places {
            place.write(f, &mut told)?;
            writeln!(f)?;
        }
        if self.action != Action::Read.name() && self.places.iter().any(|place| !place.allowed) {
            match self.allowed.as_slice() {
                [] if self.nearest.is_empty() => writeln!(f, "Nothing that was tried is allowed.")?,
                [] => {}
                allowed => writeln!(f, "Allowed: {}.", allowed.join(", "))?,
            }
            if !self.nearest.is_empty() {
                let near: Vec<String> = self.nearest.iter().map(ToString::to_string).collect();
                writeln!(f, "Nearest: {}.", near.join(", "))?;
            }
        }
        write!(f, "Policy set {}.", self.policy)
    }
}

impl PlaceAnswer {
    /// A rule that was `told` of another place is only named.
    fn write<'a>(&'a self, f: &mut fmt::Formatter<'_>, told: &mut BTreeSet<&'a str>) -> fmt::Result {
        write!(f, "{}: {}", self.place, if self.allowed { "allowed" } else { "refused" })?;
        for rule in &self.rules {
            write!(f, "\n  {} ({}, {})", rule.id, rule.law, rule.article)?;
            if !told.insert(&rule.id) {
                f.write_str(", as above")?;
                continue;
            }
            write!(f, "\n    {}", rule.explain)?;
            if rule.confidence != "high" {
                write!(f, "\n    The pack's confidence in this reading is {}.", rule.confidence)?;
            }
            if !self.allowed {
                write!(f, "\n    Remedy: {}", rule.remedy)?;
            }
            if let Some((first, more)) = rule.unless.split_first() {
                write!(f, "\n    It would not refuse if: {first}")?;
                for exception in more {
                    write!(f, "\n      or {exception}")?;
                }
            }
        }
        for rule in &self.met {
            write!(f, "\n  Binds and is met: {} ({}, {})", rule.id, rule.law, rule.article)?;
        }
        for rule in &self.grounds {
            write!(f, "\n  Rests on: {} ({}, {})\n    {}", rule.id, rule.law, rule.article, rule.explain)?;
        }
        for mechanism in &self.mechanisms {
            write!(f, "\n  Rests on the mechanism {mechanism}.")?;
        }
        for obligation in &self.obligations {
            write!(f, "\n  Due: {obligation}")?;
        }
        for rule in &self.duties {
            write!(f, "\n    by {} ({}, {})", rule.id, rule.law, rule.article)?;
        }
        for permit in &self.missing_permits {
            write!(f, "\n  No permit: {} would permit it, but not: {}", permit.id, permit.lacks.join("; "))?;
        }
        for way in &self.would_be_allowed_with {
            write!(f, "\n  Would be allowed with {way}.")?;
        }
        Ok(())
    }
}

impl fmt::Display for MechanismUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.reference {
            Some(reference) => write!(f, "{} ({reference})", self.kind),
            None => f.write_str(&self.kind),
        }
    }
}
