//! One rule: from Cedar's syntax tree to a [`Test`], and what a test says of a question.

use std::collections::HashMap;

use cedar_policy::pst::{BinaryOp, Clause, Expr, Literal, UnaryOp, Var};
use cedar_policy::{
    Context, EvalResult, Expression, Policy, PrincipalConstraint, Request, ResourceConstraint,
    eval_expression,
};

use super::{Inputs, Lanes};
use crate::label::ClassSet;
use crate::label::class::DataClass;
use crate::names::{Country, CountrySet};
use crate::policy::entities::uid;
use crate::policy::manifest::WordKind;
use crate::policy::snapshot::{Snapshot, Target};

/// A condition over all places at once.
#[derive(Debug, Clone, PartialEq)]
pub enum Test {
    /// Known when it was loaded. Asking it about a place among `errors` is an error, as it is in Cedar.
    Places {
        holds: Lanes,
        errors: Lanes,
    },
    All(Vec<Test>),
    Any(Vec<Test>),
    Not(Box<Test>),
    Flag(Flag),
    AtHome,
    /// The kind of mechanism counts.
    Mechanism(usize),
    Countries(CountryVar, CountryTest),
    Classes(ClassTest),
    /// The subjects are in one of these blocs (positions, as bits).
    SubjectBlocs(u64),
    /// It is sensitive under one of these laws (positions, as bits).
    SensitiveIn(u64),
    /// It has one of these attributes (positions, as bits).
    Attrs(u128),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flag {
    Labelled,
    ScannedCompletely,
    Regulated,
    FirstWrite,
}

/// A set of countries that comes with the question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CountryVar {
    Subjects,
    Uncovered,
    Origin,
    HeldIn,
    CollectedIn,
    ServiceIn,
    Under,
    KeyCountries,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum CountryTest {
    Meets(CountrySet),
    Holds(CountrySet),
    IsWithin(CountrySet),
    Is(CountrySet),
    /// The country of the place is one of them.
    HoldsPlace,
    /// They are the country of the place and no other.
    IsPlace,
    /// None of them is another country than that of the place.
    IsWithinPlace,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ClassTest {
    Meets(ClassSet),
    Holds(ClassSet),
    IsWithin(ClassSet),
    Is(ClassSet),
}

impl Test {
    /// The places in `live` where it holds; bits outside of `live` mean nothing. A part is asked only about places
    /// where the parts before it leave the answer open, as Cedar does; places where it has none join `failed`.
    pub fn holds(
        &self,
        inputs: &Inputs<'_>,
        by_country: &HashMap<Country, Lanes>,
        live: Lanes,
        failed: &mut Lanes,
    ) -> Lanes {
        let everywhere = |holds: bool| if holds { Lanes::MAX } else { 0 };
        match self {
            Test::Places { holds, errors } => {
                *failed |= live & errors;
                *holds
            }
            Test::All(tests) => {
                let mut holds = live;
                for test in tests {
                    if holds == 0 {
                        break;
                    }
                    holds &= test.holds(inputs, by_country, holds, failed);
                }
                holds
            }
            Test::Any(tests) => {
                let mut holds = 0;
                for test in tests {
                    let open = live & !holds;
                    if open == 0 {
                        break;
                    }
                    holds |= test.holds(inputs, by_country, open, failed) & open;
                }
                holds
            }
            Test::Not(test) => !test.holds(inputs, by_country, live, failed),
            Test::Flag(flag) => everywhere(match flag {
                Flag::Labelled => inputs.facts.labelled,
                Flag::ScannedCompletely => inputs.facts.scanned_completely,
                Flag::Regulated => inputs.facts.regulated,
                Flag::FirstWrite => inputs.facts.first_write,
            }),
            Test::SensitiveIn(regimes) => everywhere(inputs.facts.sensitive_in & regimes != 0),
            Test::Attrs(attrs) => everywhere(inputs.facts.attrs & attrs != 0),
            Test::AtHome => inputs.home,
            Test::Mechanism(kind) => inputs.mechanisms.get(*kind).copied().unwrap_or(0),
            Test::SubjectBlocs(blocs) => {
                everywhere(inputs.facts.subject_blocs.iter().any(|bloc| *bloc < 64 && blocs >> bloc & 1 == 1))
            }
            Test::Classes(test) => everywhere(test.holds(inputs.facts.classes)),
            Test::Countries(var, test) => {
                let set = var.of(inputs);
                let place = |country: Country| by_country.get(&country).copied().unwrap_or(0);
                match test {
                    CountryTest::Meets(other) => everywhere(set.difference(*other) != set),
                    CountryTest::Holds(other) => everywhere(other.difference(set).is_empty()),
                    CountryTest::IsWithin(other) => everywhere(set.difference(*other).is_empty()),
                    CountryTest::Is(other) => everywhere(set == *other),
                    CountryTest::HoldsPlace => set.iter().fold(0, |lanes, country| lanes | place(country)),
                    CountryTest::IsPlace if set.len() != 1 => 0,
                    CountryTest::IsWithinPlace if set.is_empty() => Lanes::MAX,
                    CountryTest::IsWithinPlace if set.len() != 1 => 0,
                    CountryTest::IsPlace | CountryTest::IsWithinPlace => {
                        set.iter().fold(0, |lanes, country| lanes | place(country))
                    }
                }
            }
        }
    }
}

impl ClassTest {
    fn holds(self, classes: ClassSet) -> bool {
        match self {
            ClassTest::Meets(other) => classes.meets(other),
            ClassTest::Holds(other) => classes.union(other) == classes,
            ClassTest::IsWithin(other) => classes.union(other) == other,
            ClassTest::Is(other) => classes == other,
        }
    }
}

impl CountryVar {
    fn named(attribute: &str) -> Option<CountryVar> {
        Some(match attribute {
            "subjects" => CountryVar::Subjects,
            "uncoveredSubjects" => CountryVar::Uncovered,
            "origin" => CountryVar::Origin,
            "heldIn" => CountryVar::HeldIn,
            "collectedIn" => CountryVar::CollectedIn,
            "serviceIn" => CountryVar::ServiceIn,
            "under" => CountryVar::Under,
            "keyCountries" => CountryVar::KeyCountries,
            _ => return None,
        })
    }

    fn of(self, inputs: &Inputs<'_>) -> CountrySet {
        match self {
            CountryVar::Subjects => inputs.facts.subjects,
            CountryVar::Uncovered => inputs.facts.uncovered,
            CountryVar::Origin => inputs.facts.origin.into_iter().collect(),
            CountryVar::HeldIn => inputs.facts.held_in,
            CountryVar::CollectedIn => inputs.facts.collected_in,
            CountryVar::ServiceIn => inputs.facts.service_in,
            CountryVar::Under => inputs.facts.under,
            CountryVar::KeyCountries => inputs.facts.key_countries,
        }
    }
}

/// Lowers rules over given places.
pub struct Lowering<'a> {
    pub snapshot: &'a Snapshot,
    pub targets: &'a [&'a Target],
    pub by_country: &'a HashMap<Country, Lanes>,
}

/// One of the sets of the context.
#[derive(Clone, Copy)]
enum SetVar {
    Classes,
    Blocs,
    Mechanisms,
    Regimes,
    Attrs,
    Countries(CountryVar),
}

/// What a set is compared with.
enum Members {
    Words(Vec<String>),
    /// `[resource.country]`, or `resource.country` alone.
    Place,
}

impl Lowering<'_> {
    /// The rule as a test; `None` when it holds something that has no exact form here.
    pub fn policy(&self, policy: &Policy, action: &str) -> Option<Test> {
        let mut tests = Vec::new();
        match policy.principal_constraint() {
            PrincipalConstraint::Any => {}
            PrincipalConstraint::Is(kind) if kind == *self.snapshot.operator.0.type_name() => {}
            _ => return None,
        }
        match policy.resource_constraint() {
            ResourceConstraint::Any => {}
            ResourceConstraint::Is(kind) => {
                let lanes = self.targets.iter().enumerate();
                let holds = lanes.filter(|(_, target)| *target.uid.type_name() == kind);
                let holds = holds.fold(0, |lanes, (lane, _)| lanes | 1 << lane);
                tests.push(Test::Places { holds, errors: 0 });
            }
            _ => return None,
        }
        let tree = policy.to_pst().ok()?;
        for clause in tree.body().clauses() {
            tests.push(match clause {
                Clause::When(condition) => self.lower(condition, action)?,
                Clause::Unless(condition) => not(self.lower(condition, action)?),
            });
        }
        Some(all(tests))
    }

    fn lower(&self, expr: &Expr, action: &str) -> Option<Test> {
        match expr {
            Expr::BinaryOp { op: BinaryOp::And, left, right } => {
                return Some(all(vec![self.lower(left, action)?, self.lower(right, action)?]));
            }
            Expr::BinaryOp { op: BinaryOp::Or, left, right } => {
                return Some(any(vec![self.lower(left, action)?, self.lower(right, action)?]));
            }
            Expr::UnaryOp { op: UnaryOp::Not, expr } => return Some(not(self.lower(expr, action)?)),
            _ => {}
        }
        if !mentions_context(expr) {
            return self.constant(expr, action);
        }
        if let Expr::GetAttr { expr, attr } = expr
            && is_context(expr)
        {
            return Some(match attr.as_str() {
                "labelled" => Test::Flag(Flag::Labelled),
                "scannedCompletely" => Test::Flag(Flag::ScannedCompletely),
                "regulated" => Test::Flag(Flag::Regulated),
                "firstWrite" => Test::Flag(Flag::FirstWrite),
                "atHome" => Test::AtHome,
                _ => return None,
            });
        }
        match expr {
            Expr::UnaryOp { op: UnaryOp::IsEmpty, expr } => {
                self.compare(set_var(expr)?, Relation::IsWithin, &Members::Words(Vec::new()))
            }
            Expr::BinaryOp { op, left, right } => self.relation(*op, left, right),
            _ => None,
        }
    }

    fn relation(&self, op: BinaryOp, left: &Expr, right: &Expr) -> Option<Test> {
        let relation = match op {
            BinaryOp::Contains | BinaryOp::ContainsAll => Relation::Holds,
            BinaryOp::ContainsAny => Relation::Meets,
            BinaryOp::Eq => Relation::Is,
            BinaryOp::NotEq => return self.relation(BinaryOp::Eq, left, right).map(not),
            _ => return None,
        };
        if let Some(var) = set_var(left) {
            let members = if op == BinaryOp::Contains { single(right)? } else { listed(right)? };
            return self.compare(var, relation, &members);
        }
        // The set stands on the right: a list that holds all of it, meets it, or is it.
        let var = set_var(right)?;
        let members = listed(left)?;
        match op {
            BinaryOp::ContainsAll => self.compare(var, Relation::IsWithin, &members),
            BinaryOp::ContainsAny | BinaryOp::Eq => self.compare(var, relation, &members),
            _ => None,
        }
    }

    fn compare(&self, var: SetVar, relation: Relation, members: &Members) -> Option<Test> {
        match (var, members) {
            (SetVar::Countries(var), Members::Place) => Some(Test::Countries(
                var,
                match relation {
                    Relation::Holds | Relation::Meets => CountryTest::HoldsPlace,
                    Relation::Is => CountryTest::IsPlace,
                    Relation::IsWithin => CountryTest::IsWithinPlace,
                },
            )),
            (_, Members::Place) => None,
            (SetVar::Countries(var), Members::Words(words)) => {
                let other = words.iter().map(|w| w.parse().ok()).collect::<Option<CountrySet>>()?;
                Some(Test::Countries(
                    var,
                    match relation {
                        Relation::Meets => CountryTest::Meets(other),
                        Relation::Holds => CountryTest::Holds(other),
                        Relation::IsWithin => CountryTest::IsWithin(other),
                        Relation::Is => CountryTest::Is(other),
                    },
                ))
            }
            (SetVar::Classes, Members::Words(words)) => {
                let other =
                    words.iter().map(|w| w.parse::<DataClass>().ok()).collect::<Option<ClassSet>>()?;
                Some(Test::Classes(match relation {
                    Relation::Meets => ClassTest::Meets(other),
                    Relation::Holds => ClassTest::Holds(other),
                    Relation::IsWithin => ClassTest::IsWithin(other),
                    Relation::Is => ClassTest::Is(other),
                }))
            }
            (SetVar::Blocs, Members::Words(words)) => {
                let mut tests = Vec::new();
                for word in words {
                    let index = self.snapshot.compiled.blocs.iter().position(|bloc| bloc.name == *word)?;
                    tests.push(Test::SubjectBlocs(1_u64.checked_shl(u32::try_from(index).ok()?)?));
                }
                members_of(relation, tests)
            }
            (SetVar::Regimes, Members::Words(words)) => {
                let regimes = &self.snapshot.compiled.regimes;
                let bit = |word: &String| {
                    let position = regimes.iter().position(|regime| regime.name == *word)?;
                    Some(Test::SensitiveIn(1_u64.checked_shl(u32::try_from(position).ok()?)?))
                };
                members_of(relation, words.iter().map(bit).collect::<Option<_>>()?)
            }
            (SetVar::Attrs, Members::Words(words)) => {
                let known = self.snapshot.compiled.words.list(WordKind::Attr);
                let bit = |word: &String| {
                    let position = known.iter().position(|attr| **attr == **word)?;
                    Some(Test::Attrs(1_u128.checked_shl(u32::try_from(position).ok()?)?))
                };
                members_of(relation, words.iter().map(bit).collect::<Option<_>>()?)
            }
            (SetVar::Mechanisms, Members::Words(words)) => {
                let kinds = words.iter().map(|word| self.snapshot.kind(word));
                members_of(relation, kinds.map(|kind| kind.map(Test::Mechanism)).collect::<Option<_>>()?)
            }
        }
    }

    /// What does not depend on the object: the places where it holds, by Cedar's own word.
    fn constant(&self, expr: &Expr, action: &str) -> Option<Test> {
        if let Expr::BinaryOp { op: BinaryOp::Eq, left, right } = expr
            && is_place(left)
            && let Some(country) = word_of(right).and_then(|word| word.parse::<Country>().ok())
        {
            let holds = self.by_country.get(&country).copied().unwrap_or(0);
            return Some(Test::Places { holds, errors: 0 });
        }
        let expression: Expression = expr.to_string().parse().ok()?;
        let (mut holds, mut errors) = (0, 0);
        for (lane, target) in self.targets.iter().enumerate() {
            let operator = self.snapshot.operator.0.clone();
            let action = uid("Action", action).ok()?;
            let request = Request::new(operator, action, target.uid.clone(), Context::empty(), None).ok()?;
            match eval_expression(&request, &target.entities, &expression) {
                Ok(EvalResult::Bool(true)) => holds |= 1 << lane,
                Ok(EvalResult::Bool(false)) => {}
                Ok(_) => return None,
                Err(_) => errors |= 1 << lane,
            }
        }
        Some(Test::Places { holds, errors })
    }
}

#[derive(Clone, Copy)]
enum Relation {
    Meets,
    Holds,
    IsWithin,
    Is,
}

/// A relation to sets whose members are tests of their own.
fn members_of(relation: Relation, tests: Vec<Test>) -> Option<Test> {
    match relation {
        Relation::Meets => Some(any(tests)),
        Relation::Holds => Some(all(tests)),
        // These would need the members that are not named, too.
        Relation::IsWithin | Relation::Is => None,
    }
}

fn all(tests: Vec<Test>) -> Test {
    let mut flat = Vec::new();
    for test in tests {
        match test {
            Test::All(inner) => flat.extend(inner),
            other => flat.push(other),
        }
    }
    if flat.len() == 1 { flat.remove(0) } else { Test::All(flat) }
}

fn any(tests: Vec<Test>) -> Test {
    let mut flat = Vec::new();
    for test in tests {
        match test {
            Test::Any(inner) => flat.extend(inner),
            other => flat.push(other),
        }
    }
    if flat.len() == 1 { flat.remove(0) } else { Test::Any(flat) }
}

fn not(test: Test) -> Test {
    match test {
        Test::Not(inner) => *inner,
        other => Test::Not(Box::new(other)),
    }
}

fn is_context(expr: &Expr) -> bool {
    matches!(expr, Expr::Var(Var::Context))
}

/// `resource.country`
fn is_place(expr: &Expr) -> bool {
    matches!(expr, Expr::GetAttr { expr, attr } if attr == "country" && matches!(**expr, Expr::Var(Var::Resource)))
}

fn set_var(expr: &Expr) -> Option<SetVar> {
    let Expr::GetAttr { expr, attr } = expr else { return None };
    if !is_context(expr) {
        return None;
    }
    match attr.as_str() {
        "classes" => Some(SetVar::Classes),
        "subjectBlocs" => Some(SetVar::Blocs),
        "mechanisms" => Some(SetVar::Mechanisms),
        "sensitiveIn" => Some(SetVar::Regimes),
        "attrs" => Some(SetVar::Attrs),
        other => CountryVar::named(other).map(SetVar::Countries),
    }
}

fn word_of(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Literal(Literal::EntityUID(uid)) => Some(uid.eid.to_string()),
        _ => None,
    }
}

/// The one member that `contains` asks about.
fn single(expr: &Expr) -> Option<Members> {
    if is_place(expr) {
        return Some(Members::Place);
    }
    Some(Members::Words(vec![word_of(expr)?]))
}

/// A list of literals, or `[resource.country]`.
fn listed(expr: &Expr) -> Option<Members> {
    let Expr::Set(members) = expr else { return None };
    if let [only] = members.as_slice()
        && is_place(only)
    {
        return Some(Members::Place);
    }
    members.iter().map(|member| word_of(member)).collect::<Option<Vec<_>>>().map(Members::Words)
}

/// Whether the object has any part in it. What this does not know is taken to have.
fn mentions_context(expr: &Expr) -> bool {
    match expr {
        Expr::Literal(_) => false,
        Expr::Var(var) => matches!(var, Var::Context),
        Expr::UnaryOp { expr, .. } | Expr::GetAttr { expr, .. } | Expr::HasAttr { expr, .. } => {
            mentions_context(expr)
        }
        Expr::BinaryOp { left, right, .. } => mentions_context(left) || mentions_context(right),
        Expr::Is { expr, in_expr, .. } => {
            mentions_context(expr) || in_expr.as_ref().is_some_and(|expr| mentions_context(expr))
        }
        Expr::Set(members) => members.iter().any(|member| mentions_context(member)),
        _ => true,
    }
}
