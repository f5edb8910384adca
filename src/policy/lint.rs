//! Remarks on rules that are valid and yet not what their author can have meant: for `policy check`.
//!
//! The quick ones read the rules. The deep ones ask the prover about all questions at once, which takes a moment.

use std::collections::BTreeSet;
use std::sync::Arc;

use cedar_policy::Policy;
use cedar_policy::pst::{BinaryOp, Clause, Expr, Literal, UnaryOp, Var};

use super::check::Problem;
use super::compiled::{Compiled, line_and_column};
use super::mechanism::Scope;
use super::prove::{Standing, standings, unused};
use super::snapshot::Setting;
use super::source::Sources;
use crate::label::DataClass;
use crate::names::Country;

/// What can be seen by reading.
pub(super) fn quick(sources: &Sources, compiled: &Compiled) -> Vec<Problem> {
    let mut remarks = Vec::new();
    let mut classes: BTreeSet<String> = BTreeSet::new();
    let mut blocs: BTreeSet<String> = BTreeSet::new();
    let mut countries: BTreeSet<Country> = BTreeSet::new();
    for rule in &compiled.rules {
        each(&rule.policy, &mut |expr| match expr {
            Expr::Literal(Literal::EntityUID(uid)) => match uid.ty.to_string().as_str() {
                "Class" => {
                    classes.insert(uid.eid.to_string());
                }
                "Bloc" => {
                    blocs.insert(uid.eid.to_string());
                }
                "Country" => countries.extend(uid.eid.parse::<Country>()),
                _ => {}
            },
            Expr::BinaryOp { op: BinaryOp::Eq, left, right } if is_subjects(left) || is_subjects(right) => {
                let message =
                    "`context.subjects == [...]` is false as soon as the object is about one country more";
                let help = "`context.subjects.contains(...)` asks whether a country is among them";
                remarks.push(at_rule(sources, &rule.rule.id, message.to_owned(), Some(help.to_owned())));
            }
            _ => {}
        });
    }
    for regime in &compiled.regimes {
        classes.extend(regime.classes.iter().map(|class| class.name().to_owned()));
    }
    for class in DataClass::all() {
        // What binds a class binds those below it.
        let bound = classes.contains(class.name()) || class.ancestors().any(|up| classes.contains(up.name()));
        if !bound {
            let message = format!("no rule speaks of the class `{class}`: only the base pack binds it");
            remarks.push(general(&sources.schema.path, message));
        }
    }
    for pack in &compiled.packs {
        for country in &pack.covers {
            let named = countries.contains(country)
                || compiled
                    .blocs
                    .iter()
                    .any(|bloc| blocs.contains(&bloc.name) && bloc.contains(*country, compiled.as_of));
            if !named {
                let message = format!(
                    "the pack covers {country}, and no rule names it: data about its people may go anywhere"
                );
                remarks.push(general(&format!("{}/pack.toml", pack.name), message));
            }
        }
    }
    remarks
}

/// What the prover finds: rules that can never hold, and rules that never decide alone.
pub(super) fn deep(sources: &Sources, compiled: &Arc<Compiled>) -> Vec<Problem> {
    let remark = |(index, standing): (usize, Standing)| {
        let rule = compiled.rules.get(index)?;
        let (message, help) = match standing {
            Standing::Decides => return None,
            Standing::Never => (
                "no object, operator and place can make this rule hold".to_owned(),
                "look for conditions that exclude each other, or for a word that is never set".to_owned(),
            ),
            Standing::Shadowed { by } if by.is_empty() => (
                "nothing that this rule refuses is permitted by any rule".to_owned(),
                "removing it changes no decision, only which rules are named".to_owned(),
            ),
            Standing::Shadowed { by } => (
                format!("whatever this rule refuses, other rules refuse too: {}", by.join(", ")),
                "removing it changes no decision, only which rules are named".to_owned(),
            ),
        };
        Some(at_rule(sources, &rule.rule.id, message, Some(help)))
    };
    standings(compiled).into_iter().filter_map(remark).collect()
}

/// What is of no use in a configuration: mechanisms that have expired, locations that nothing may use.
pub(super) fn configured(compiled: &Arc<Compiled>, setting: &Setting, now: i64) -> Vec<Problem> {
    let mut remarks = Vec::new();
    for mechanism in &setting.mechanisms {
        match Scope::new(mechanism, &compiled.words) {
            Ok(scope) if scope.until.is_some_and(|end| end <= now) => {
                let until = mechanism.valid_until.as_deref().unwrap_or_default();
                let message =
                    format!("the mechanism `{}` has expired: it was valid until {until}", mechanism.kind);
                remarks.push(general("configuration", message));
            }
            Ok(_) => {}
            Err(error) => remarks.push(general("configuration", error.to_string())),
        }
    }
    for location in unused(compiled, setting, now) {
        let message = format!(
            "no personal or designated data of any country may ever be stored at the location {location}"
        );
        remarks.push(general("configuration", message));
    }
    remarks
}

/// Arithmetic can overflow, and Cedar skips a rule that it cannot evaluate.
pub(super) fn arithmetic(policy: &Policy) -> bool {
    let mut found = false;
    each(policy, &mut |expr| {
        found |= matches!(
            expr,
            Expr::BinaryOp { op: BinaryOp::Add | BinaryOp::Sub | BinaryOp::Mul, .. }
                | Expr::UnaryOp { op: UnaryOp::Neg, .. }
        );
    });
    found
}

fn is_subjects(expr: &Expr) -> bool {
    matches!(expr, Expr::GetAttr { expr, attr } if attr == "subjects" && matches!(**expr, Expr::Var(Var::Context)))
}

/// Calls `note` with every expression in the conditions of a policy.
fn each(policy: &Policy, note: &mut impl FnMut(&Expr)) {
    let Ok(tree) = policy.to_pst() else { return };
    for clause in tree.body().clauses() {
        let (Clause::When(condition) | Clause::Unless(condition)) = clause;
        walk(condition, note);
    }
}

fn walk(expr: &Expr, note: &mut impl FnMut(&Expr)) {
    note(expr);
    match expr {
        Expr::UnaryOp { expr, .. } | Expr::GetAttr { expr, .. } | Expr::HasAttr { expr, .. } => {
            walk(expr, note)
        }
        Expr::BinaryOp { left, right, .. } => {
            walk(left, note);
            walk(right, note);
        }
        Expr::Is { expr, in_expr, .. } => {
            walk(expr, note);
            in_expr.iter().for_each(|expr| walk(expr, note));
        }
        Expr::IfThenElse { cond, then_expr, else_expr } => {
            [cond, then_expr, else_expr].into_iter().for_each(|expr| walk(expr, note));
        }
        Expr::Set(members) => members.iter().for_each(|member| walk(member, note)),
        // The others hold no expression that a rule of this schema could have.
        _ => {}
    }
}

fn general(file: &str, message: String) -> Problem {
    Problem { file: file.to_owned(), place: None, rule: None, message, help: None }
}

fn at_rule(sources: &Sources, id: &str, message: String, help: Option<String>) -> Problem {
    let wanted = format!("@id(\"{id}\")");
    let files = sources.packs.iter().flat_map(|pack| &pack.policies);
    let found = files.filter_map(|file| Some((file, file.text.find(&wanted)?))).next();
    let (file, place) = match found {
        Some((file, offset)) => (file.path.clone(), Some(line_and_column(&file.text, offset))),
        None => (String::new(), None),
    };
    let file = if sources.root.is_empty() { file } else { format!("{}/{file}", sources.root) };
    Problem { file, place, rule: Some(id.to_owned()), message, help }
}
