//! One rule read from its policy: its annotations, and whether it is a gate, a duty, a ground or about sets of copies.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use cedar_policy::{Effect, Policy, PolicyId};

use super::{CompiledRule, Found, Role};
use crate::names::Country;
use crate::policy::mechanism::moment;
use crate::policy::source::{BASE, SourceFile};
use crate::policy::{Obligation, Rule, lint, parts};

const ANNOTATIONS: [&str; 7] = ["law", "article", "effective", "status", "confidence", "explain", "remedy"];
const OPTIONAL: [&str; 3] = ["expires", "part_of", "obligation"];
const STATUSES: [&str; 5] = ["in_force", "future", "draft", "abeyance", "not_commenced"];
const CONFIDENCES: [&str; 3] = ["high", "medium", "low"];
const GATES: [&str; 6] = ["Store", "Replicate", "Relocate", "Read", "Transfer", "AtRest"];

/// Reads the annotations and the role of one policy, and gives it its id.
pub fn read_rule(policy: Policy, pack: &str, file: &SourceFile, found: &mut Found) -> Option<CompiledRule> {
    let before = found.problems.len();
    let Some(id) = policy.annotation("id").filter(|id| valid_id(id)).map(str::to_owned) else {
        let head: String = policy.to_string().trim_start().chars().take(60).collect();
        let message = format!("a rule has no usable @id: {}", head.replace('\n', " "));
        let help = "add @id(\"...\") of A-Z, a-z, 0-9, `-`, `_` and `.`, for example @id(\"CN-CSL-39\")";
        found.add(file, None, None, message, Some(help.to_owned()));
        return None;
    };
    let mut words: BTreeMap<&str, Arc<str>> = BTreeMap::new();
    for name in ANNOTATIONS {
        match policy.annotation(name).filter(|text| !text.trim().is_empty()) {
            Some(text) => {
                words.insert(name, text.into());
            }
            None => found.at_id(
                file,
                &id,
                format!("the rule has no @{name}"),
                Some(format!("every rule needs @id and @{}", ANNOTATIONS.join(", @"))),
            ),
        }
    }
    for (name, allowed) in [("status", &STATUSES[..]), ("confidence", &CONFIDENCES[..])] {
        if let Some(word) = words.get(name).filter(|word| !allowed.contains(&&***word)) {
            let message = format!("@{name} is `{word}`");
            found.at_id(file, &id, message, Some(format!("use one of {}", allowed.join(", "))));
        }
    }
    let in_force = matches!(words.get("status").map(|s| &**s), Some("in_force" | "future"));
    let effective = words.get("effective").and_then(|date| {
        let moment = moment(date);
        if moment.is_none() {
            found.at_id(
                file,
                &id,
                format!("@effective is `{date}`"),
                Some("use a date, 2026-11-22".to_owned()),
            );
        }
        moment
    });
    let expires = policy.annotation("expires").and_then(|date| {
        let moment = moment(date);
        if moment.is_none() {
            let help = "use a date, 2027-03-31".to_owned();
            found.at_id(file, &id, format!("@expires is `{date}`"), Some(help));
        }
        moment
    });
    if let Some(word) = policy.annotations().map(|(name, _)| name).find(|name| !known_annotation(name)) {
        let help =
            format!("the annotations are @id, @{}, @{}", ANNOTATIONS.join(", @"), OPTIONAL.join(", @"));
        found.at_id(file, &id, format!("the annotation @{word} is not known"), Some(help));
    }
    if lint::arithmetic(&policy) {
        let message =
            "the rule calculates: arithmetic can overflow, and a rule that overflows does not forbid";
        let help = "compare a number of the operator with a literal";
        found.at_id(file, &id, message.to_owned(), Some(help.to_owned()));
    }
    let role = read_role(&policy, &id, pack, file, found);
    if found.problems.len() > before {
        return None;
    }
    let word = |name: &str| words.get(name).cloned().unwrap_or_else(|| "".into());
    let rule = Rule {
        id: id.as_str().into(),
        law: word("law"),
        article: word("article"),
        explain: word("explain"),
        remedy: word("remedy"),
        confidence: word("confidence"),
        pack: pack.into(),
        part_of: policy.annotation("part_of").map_or_else(|| id.as_str().into(), Arc::from),
    };
    Some(CompiledRule {
        rule: Arc::new(rule),
        policy: policy.new_id(PolicyId::new(&id)),
        form: OnceLock::new(),
        effective: effective.filter(|_| in_force),
        expires,
        role: role?,
        status: word("status"),
    })
}

fn known_annotation(name: &str) -> bool {
    name == "id" || ANNOTATIONS.contains(&name) || OPTIONAL.contains(&name)
}

fn valid_id(id: &str) -> bool {
    (1..=80).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
}

/// Tells gates from duties, and refuses what would be neither or both.
fn read_role(policy: &Policy, id: &str, pack: &str, file: &SourceFile, found: &mut Found) -> Option<Role> {
    let actions = parts::actions(policy).unwrap_or_default();
    let obligation = policy.annotation("obligation");
    let permits = policy.effect() == Effect::Permit;
    let mut refuse = |message: String, help: &str| {
        found.at_id(file, id, message, Some(help.to_owned()));
        None
    };
    if actions == ["Oblige"] {
        let Some(text) = obligation else {
            return refuse(
                "a rule on Oblige has no @obligation".to_owned(),
                "say what is due, for example @obligation(\"copy-in:RU\")",
            );
        };
        if !permits {
            return refuse("a rule on Oblige must be a permit".to_owned(), "each satisfied permit is a duty");
        }
        if !valid_obligation(text) {
            return refuse(format!("@obligation is `{text}`"), OBLIGATIONS);
        }
        return Some(Role::Duty(Obligation(text.into())));
    }
    if obligation.is_none() && actions == ["Ground"] {
        if !permits {
            return refuse(
                "a rule on Ground must be a permit".to_owned(),
                "each satisfied permit names a ground",
            );
        }
        return Some(Role::Ground);
    }
    if obligation.is_none() && actions == ["Commit"] {
        if permits {
            return refuse(
                "a rule on Commit must forbid".to_owned(),
                "say which set of copies is not enough",
            );
        }
        return Some(Role::Commit);
    }
    if actions.is_empty() || !actions.iter().all(|action| GATES.contains(&action.as_str())) {
        return refuse(
            "a rule must name the actions that it is about".to_owned(),
            "write `action in Action::\"Transfer\"` (or AtRest, Store, Replicate, Relocate, Read), or `action ==` Oblige, Ground or Commit",
        );
    }
    if obligation.is_some() {
        return refuse(
            "@obligation stands on a rule that is not about Oblige".to_owned(),
            "split the rule in two",
        );
    }
    if permits && pack != BASE {
        return refuse(
            "only the base pack may permit transfers: a permit of one law would stand in for the ground of another"
                .to_owned(),
            "write `forbid (...) when { ... } unless { the ground }`",
        );
    }
    Some(Role::Gate)
}

const OBLIGATIONS: &str = "use copy-in:<country or @bloc>, copy-lag:<country>:<ISO 8601 duration>, \
     delete-abroad:{target}:<duration>, retain:<duration>, retain-record:<duration> or record:<word>";

fn valid_obligation(text: &str) -> bool {
    let country = |text: &str| text.parse::<Country>().is_ok();
    let duration = |text: &str| text.starts_with('P') && text.parse::<jiff::Span>().is_ok();
    let word = |text: &str, more: &[u8]| {
        let letter = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || more.contains(&b);
        (1..=40).contains(&text.len()) && text.bytes().all(letter)
    };
    match text.split(':').collect::<Vec<_>>().as_slice() {
        ["copy-in", place] => {
            country(place) || place.strip_prefix('@').is_some_and(|bloc| word(&bloc.to_lowercase(), b"_"))
        }
        ["copy-lag", place, lag] => country(place) && duration(lag),
        ["delete-abroad", place, within] => (*place == "{target}" || country(place)) && duration(within),
        ["retain" | "retain-record", period] => duration(period),
        ["record", what] => word(what, b"_"),
        _ => false,
    }
}
