//! One rule, read from Cedar's syntax tree once for all operators, places and dates.
//!
//! What depends on the object becomes a [`Test`] straight away. What depends on the place or the operator stays open
//! as [`Fixed`] until a snapshot says which they are.

use std::sync::Arc;

use cedar_policy::pst::{BinaryOp, Clause, Expr, Literal, UnaryOp, Var};
use cedar_policy::{Expression, Policy};

use super::fixed::{Fixed, FixedSet, Number};
use super::rule::{ClassTest, CountryTest, CountryVar, Flag, Test};
use crate::label::ClassSet;
use crate::label::class::DataClass;
use crate::names::{Country, CountrySet};
use crate::policy::manifest::{Bloc, Regime, WordKind};
use crate::policy::parts::{self, Demands};
use crate::policy::words::Words;

/// A condition over the object, the place and the operator.
#[derive(Debug, Clone)]
pub enum Form {
    All(Vec<Form>),
    Any(Vec<Form>),
    Not(Box<Form>),
    Object(Test),
    Fixed(Fixed),
}

/// A rule as it was read.
#[derive(Debug, Clone)]
pub struct RuleForm {
    /// As [`parts::actions`] has them.
    actions: Option<Vec<String>>,
    /// `None` when it holds something that has no exact form here.
    pub condition: Option<Form>,
}

impl RuleForm {
    pub fn read(policy: &Policy, vocabulary: &Vocabulary<'_>) -> RuleForm {
        RuleForm { actions: parts::actions(policy), condition: vocabulary.condition(policy) }
    }

    /// Whether the scope names this action or a group that it is in.
    pub fn applies(&self, action: &str) -> bool {
        self.actions.as_ref().is_none_or(|names| names.iter().any(|name| parts::names_action(name, action)))
    }
}

/// The words of a compiled set, whose positions stand for them.
pub struct Vocabulary<'a> {
    pub words: &'a Words,
    pub blocs: &'a [Bloc],
    pub regimes: &'a [Regime],
}

/// A set that a condition asks about.
#[derive(Clone, Copy)]
enum SetVar {
    Classes,
    Blocs,
    Mechanisms,
    Regimes,
    Attrs,
    Countries(CountryVar),
    Fixed(FixedSet),
    /// Of the operator: one, or none.
    Established,
}

/// What a set is compared with.
enum Members {
    Words(Vec<String>),
    /// `[resource.country]`, or `resource.country` alone.
    Place,
}

#[derive(Clone, Copy)]
enum Relation {
    Meets,
    Holds,
    IsWithin,
    Is,
}

impl Vocabulary<'_> {
    fn condition(&self, policy: &Policy) -> Option<Form> {
        let Demands { kind, clauses } = Demands::of(policy)?;
        let mut forms = Vec::new();
        if let Some(kind) = kind {
            forms.push(Form::Fixed(Fixed::kind(&kind)?));
        }
        for clause in &clauses {
            forms.push(match clause {
                Clause::When(condition) => self.read(condition)?,
                Clause::Unless(condition) => Form::Not(Box::new(self.read(condition)?)),
            });
        }
        Some(Form::All(forms))
    }

    fn read(&self, expr: &Expr) -> Option<Form> {
        match expr {
            Expr::BinaryOp { op: BinaryOp::And, left, right } => {
                return Some(Form::All(vec![self.read(left)?, self.read(right)?]));
            }
            Expr::BinaryOp { op: BinaryOp::Or, left, right } => {
                return Some(Form::Any(vec![self.read(left)?, self.read(right)?]));
            }
            Expr::UnaryOp { op: UnaryOp::Not, expr } => {
                return Some(Form::Not(Box::new(self.read(expr)?)));
            }
            _ => {}
        }
        if let Some(form) = self.simple(expr) {
            return Some(form);
        }
        if mentions_context(expr) {
            return None;
        }
        // Cedar evaluates it once for each place, when there are places.
        let expression: Expression = expr.to_string().parse().ok()?;
        Some(Form::Fixed(Fixed::Cedar(Arc::new(expression))))
    }

    fn simple(&self, expr: &Expr) -> Option<Form> {
        match expr {
            Expr::Literal(Literal::Bool(value)) => Some(Form::Fixed(Fixed::Known(*value))),
            Expr::GetAttr { expr, attr } => match **expr {
                Expr::Var(Var::Context) => Some(Form::Object(match attr.as_str() {
                    "labelled" => Test::Flag(Flag::Labelled),
                    "scannedCompletely" => Test::Flag(Flag::ScannedCompletely),
                    "regulated" => Test::Flag(Flag::Regulated),
                    "firstWrite" => Test::Flag(Flag::FirstWrite),
                    "atHome" => Test::AtHome,
                    _ => return None,
                })),
                Expr::Var(Var::Resource) => match attr.as_str() {
                    "sameEntity" => Some(Form::Fixed(Fixed::SameEntity)),
                    "authority" => Some(Form::Fixed(Fixed::Authority)),
                    _ => None,
                },
                Expr::Var(Var::Principal) if attr == "sensitiveCounted" => {
                    Some(Form::Fixed(Fixed::SensitiveCounted))
                }
                _ => None,
            },
            Expr::Is { expr, entity_type, in_expr: None } if matches!(**expr, Expr::Var(Var::Resource)) => {
                Some(Form::Fixed(Fixed::kind(&entity_type.0.to_string())?))
            }
            Expr::UnaryOp { op: UnaryOp::IsEmpty, expr } => {
                self.compare(set_var(expr)?, Relation::IsWithin, &Members::Words(Vec::new()))
            }
            Expr::BinaryOp { op, left, right } => {
                self.place(*op, left, right).or_else(|| number(*op, left, right)).or_else(|| {
                    let not_equal = *op == BinaryOp::NotEq;
                    let form = self.relation(if not_equal { BinaryOp::Eq } else { *op }, left, right)?;
                    Some(if not_equal { Form::Not(Box::new(form)) } else { form })
                })
            }
            _ => None,
        }
    }

    /// Which country the place or its provider is of, and which action it is.
    fn place(&self, op: BinaryOp, left: &Expr, right: &Expr) -> Option<Form> {
        let is = |set: CountrySet, expr: &Expr| -> Option<Form> {
            Some(Form::Fixed(match of_resource(expr)? {
                "country" => Fixed::Country(set),
                "providerCountry" => Fixed::ProviderCountry(set),
                _ => return None,
            }))
        };
        match op {
            BinaryOp::Eq | BinaryOp::NotEq => {
                let (asked, word) = match (word_of(left), word_of(right)) {
                    (Some(word), None) => (right, word),
                    (None, Some(word)) => (left, word),
                    _ => return None,
                };
                let form = match asked {
                    Expr::Var(Var::Action) => Form::Fixed(Fixed::Action(word)),
                    _ => is(word.parse::<Country>().ok().into_iter().collect(), asked)?,
                };
                Some(if op == BinaryOp::NotEq { Form::Not(Box::new(form)) } else { form })
            }
            BinaryOp::Contains => match listed(left)? {
                Members::Words(words) => is(country_set(&words)?, right),
                Members::Place => None,
            },
            _ => None,
        }
    }

    fn relation(&self, op: BinaryOp, left: &Expr, right: &Expr) -> Option<Form> {
        let relation = match op {
            BinaryOp::Contains | BinaryOp::ContainsAll => Relation::Holds,
            BinaryOp::ContainsAny => Relation::Meets,
            BinaryOp::Eq => Relation::Is,
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

    fn compare(&self, var: SetVar, relation: Relation, members: &Members) -> Option<Form> {
        let words = match members {
            Members::Words(words) => words,
            Members::Place => {
                let test = match relation {
                    Relation::Holds | Relation::Meets => CountryTest::HoldsPlace,
                    Relation::Is => CountryTest::IsPlace,
                    Relation::IsWithin => CountryTest::IsWithinPlace,
                };
                return match var {
                    SetVar::Countries(var) => Some(Form::Object(Test::Countries(var, test))),
                    SetVar::Established => Some(Form::Fixed(Fixed::Established(test))),
                    _ => None,
                };
            }
        };
        let position = |list: &[Arc<str>], word: &String| list.iter().position(|known| **known == **word);
        match var {
            SetVar::Countries(var) => {
                let test = country_test(relation, country_set(words)?);
                Some(Form::Object(Test::Countries(var, test)))
            }
            SetVar::Established => {
                Some(Form::Fixed(Fixed::Established(country_test(relation, country_set(words)?))))
            }
            SetVar::Classes => {
                let other =
                    words.iter().map(|w| w.parse::<DataClass>().ok()).collect::<Option<ClassSet>>()?;
                Some(Form::Object(Test::Classes(match relation {
                    Relation::Meets => ClassTest::Meets(other),
                    Relation::Holds => ClassTest::Holds(other),
                    Relation::IsWithin => ClassTest::IsWithin(other),
                    Relation::Is => ClassTest::Is(other),
                })))
            }
            SetVar::Blocs => {
                let bit = |word: &String| {
                    let index = self.blocs.iter().position(|bloc| bloc.name == *word)?;
                    Some(Test::SubjectBlocs(1_u64.checked_shl(u32::try_from(index).ok()?)?))
                };
                members_of(relation, words.iter().map(bit).collect::<Option<_>>()?)
            }
            SetVar::Regimes => {
                let bit = |word: &String| {
                    let index = self.regimes.iter().position(|regime| regime.name == *word)?;
                    Some(Test::SensitiveIn(1_u64.checked_shl(u32::try_from(index).ok()?)?))
                };
                members_of(relation, words.iter().map(bit).collect::<Option<_>>()?)
            }
            SetVar::Attrs => {
                let known = self.words.list(WordKind::Attr);
                let bit = |word: &String| {
                    let index = position(known, word)?;
                    Some(Test::Attrs(1_u128.checked_shl(u32::try_from(index).ok()?)?))
                };
                members_of(relation, words.iter().map(bit).collect::<Option<_>>()?)
            }
            SetVar::Mechanisms => {
                let kinds = words.iter().map(|word| self.words.find(WordKind::Mechanism, word));
                members_of(relation, kinds.map(|kind| kind.map(Test::Mechanism)).collect::<Option<_>>()?)
            }
            SetVar::Fixed(set) => {
                let known: Vec<&str> = match set {
                    FixedSet::Blocs | FixedSet::ProviderBlocs => {
                        self.blocs.iter().map(|bloc| bloc.name.as_str()).collect()
                    }
                    FixedSet::Certs => self.words.list(WordKind::Cert).iter().map(|word| &**word).collect(),
                    FixedSet::Zones => self.words.list(WordKind::Zone).iter().map(|word| &**word).collect(),
                    FixedSet::Tags => self.words.list(WordKind::Tag).iter().map(|word| &**word).collect(),
                };
                if known.len() > 128 {
                    return None;
                }
                let bit = |word: &String| {
                    let index = known.iter().position(|known| known == word)?;
                    1_u128.checked_shl(u32::try_from(index).ok()?)
                };
                let other = words.iter().map(bit).try_fold(0, |bits, bit| Some(bits | bit?))?;
                Some(Form::Fixed(match relation {
                    Relation::Meets => Fixed::Meets(set, other),
                    Relation::Holds => Fixed::Holds(set, other),
                    Relation::IsWithin if other == 0 => Fixed::IsEmpty(set),
                    Relation::IsWithin | Relation::Is => return None,
                }))
            }
        }
    }
}

fn country_test(relation: Relation, other: CountrySet) -> CountryTest {
    match relation {
        Relation::Meets => CountryTest::Meets(other),
        Relation::Holds => CountryTest::Holds(other),
        Relation::IsWithin => CountryTest::IsWithin(other),
        Relation::Is => CountryTest::Is(other),
    }
}

/// A relation to sets whose members are tests of their own.
fn members_of(relation: Relation, tests: Vec<Test>) -> Option<Form> {
    let forms = tests.into_iter().map(Form::Object).collect();
    match relation {
        Relation::Meets => Some(Form::Any(forms)),
        Relation::Holds => Some(Form::All(forms)),
        // These would need the members that are not named, too.
        Relation::IsWithin | Relation::Is => None,
    }
}

/// `principal.people >= 1000000`, either way round.
fn number(op: BinaryOp, left: &Expr, right: &Expr) -> Option<Form> {
    let attr = |expr: &Expr| match expr {
        Expr::GetAttr { expr, attr } if matches!(**expr, Expr::Var(Var::Principal)) => {
            Number::named(attr.as_str())
        }
        _ => None,
    };
    let long = |expr: &Expr| match expr {
        Expr::Literal(Literal::Long(long)) => Some(*long),
        _ => None,
    };
    let (number, op, long) = match (attr(left), long(right)) {
        (Some(number), Some(long)) => (number, op, long),
        _ => (attr(right)?, parts::mirrored(op), long(left)?),
    };
    let (bounds, negated) = match op {
        BinaryOp::GreaterEq => (long..=i64::MAX, false),
        BinaryOp::LessEq => (i64::MIN..=long, false),
        BinaryOp::Less => (long..=i64::MAX, true),
        BinaryOp::Greater => (i64::MIN..=long, true),
        BinaryOp::Eq => (long..=long, false),
        BinaryOp::NotEq => (long..=long, true),
        _ => return None,
    };
    let within = Form::Fixed(Fixed::Within(number, bounds));
    Some(if negated { Form::Not(Box::new(within)) } else { within })
}

fn set_var(expr: &Expr) -> Option<SetVar> {
    let Expr::GetAttr { expr, attr } = expr else { return None };
    match (&**expr, attr.as_str()) {
        (Expr::Var(Var::Context), "classes") => Some(SetVar::Classes),
        (Expr::Var(Var::Context), "subjectBlocs") => Some(SetVar::Blocs),
        (Expr::Var(Var::Context), "mechanisms") => Some(SetVar::Mechanisms),
        (Expr::Var(Var::Context), "sensitiveIn") => Some(SetVar::Regimes),
        (Expr::Var(Var::Context), "attrs") => Some(SetVar::Attrs),
        (Expr::Var(Var::Context), other) => CountryVar::named(other).map(SetVar::Countries),
        (Expr::Var(Var::Resource), "blocs") => Some(SetVar::Fixed(FixedSet::Blocs)),
        (Expr::Var(Var::Resource), "providerBlocs") => Some(SetVar::Fixed(FixedSet::ProviderBlocs)),
        (Expr::Var(Var::Resource), "certs") => Some(SetVar::Fixed(FixedSet::Certs)),
        (Expr::Var(Var::Resource), "zones") => Some(SetVar::Fixed(FixedSet::Zones)),
        (Expr::Var(Var::Principal), "tags") => Some(SetVar::Fixed(FixedSet::Tags)),
        (Expr::Var(Var::Principal), "countries") => Some(SetVar::Established),
        _ => None,
    }
}

/// The attribute of the resource that is asked about.
fn of_resource(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::GetAttr { expr, attr } if matches!(**expr, Expr::Var(Var::Resource)) => Some(attr.as_str()),
        _ => None,
    }
}

/// `resource.country`
fn is_place(expr: &Expr) -> bool {
    of_resource(expr) == Some("country")
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

fn country_set(words: &[String]) -> Option<CountrySet> {
    words.iter().map(|word| word.parse::<Country>().ok()).collect()
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
