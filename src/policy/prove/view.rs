//! What one policy set says of every question: its rules as gates of the world's circuit.
//!
//! Everything that a strictly validated rule can speak of is finite here, so the encoding is exact. What has no exact
//! form (arithmetic, texts) is not encoded: the rule is named, and counted as if it stood in nobody's way, so that a
//! proof never rests on it.

use batsat::Lit;
use cedar_policy::pst::{BinaryOp, Clause, Expr, Literal, UnaryOp, Var};
use cedar_policy::{Effect, Policy};

use super::universe::Space;
use super::world::{ACTIONS, World};
use crate::label::DataClass;
use crate::names::Country;
use crate::policy::Action;
use crate::policy::compiled::{Compiled, Role};
use crate::policy::parts::{self, Demands};

/// One policy set over a world.
pub struct View<'a> {
    compiled: &'a Compiled,
    now: i64,
    facts: Facts,
    /// By position in the compiled set, those that are in force and encoded.
    pub rules: Vec<Encoded>,
    /// Ids of rules in force that have no exact form.
    pub opaque: Vec<String>,
}

pub struct Encoded {
    /// Position in the compiled set.
    pub index: usize,
    pub effect: Effect,
    pub holds: Lit,
}

/// What follows from what a question states.
struct Facts {
    classes: Vec<Lit>,
    labelled: Lit,
    regulated: Lit,
    first_write: Lit,
    sensitive_in: Vec<Lit>,
    subject_blocs: Vec<Lit>,
    place_blocs: Vec<Lit>,
    provider_blocs: Vec<Lit>,
    uncovered: Vec<Lit>,
    collected_in: Vec<Lit>,
    service_in: Vec<Lit>,
    under: Vec<Lit>,
}

/// A set of things, or one thing, as a bit for each that there is.
struct Members {
    /// `None`: the empty list, which has no kind.
    space: Option<Space>,
    bits: Vec<Lit>,
}

/// Under which name an expression is asked: a gate under the action of the question, a duty under its own.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    Gate,
    Duty,
}

/// Which rules are encoded.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Those that allow and refuse.
    Gates,
    WithDuties,
}

impl<'a> View<'a> {
    pub fn new(world: &mut World, compiled: &'a Compiled, now: i64, scope: Scope) -> View<'a> {
        let facts = Facts::new(world, compiled, now);
        let mut view = View { compiled, now, facts, rules: Vec::new(), opaque: Vec::new() };
        for (index, rule) in compiled.rules.iter().enumerate().filter(|(_, rule)| rule.in_force(now)) {
            let asked = match rule.role {
                Role::Gate | Role::Commit => Asked::Gate,
                Role::Duty(_) if scope == Scope::Gates => continue,
                Role::Duty(_) => Asked::Duty,
                // A ground decides nothing.
                Role::Ground => continue,
            };
            match view.policy(world, &rule.policy, asked) {
                Some(holds) => view.rules.push(Encoded { index, effect: rule.policy.effect(), holds }),
                None => {
                    view.opaque.push(rule.rule.id.to_string());
                    if rule.role == Role::Gate && rule.policy.effect() == Effect::Permit {
                        let holds = world.circuit.constant(true);
                        view.rules.push(Encoded { index, effect: Effect::Permit, holds });
                    }
                }
            }
        }
        view
    }

    pub fn now(&self) -> i64 {
        self.now
    }

    pub fn compiled(&self) -> &'a Compiled {
        self.compiled
    }

    /// Whether the object holds, or is presumed to hold, what a law may bind.
    pub fn regulated(&self) -> Lit {
        self.facts.regulated
    }

    /// The rules that may forbid the action of a question.
    pub fn forbids(&self) -> impl Iterator<Item = &Encoded> {
        self.of(|role| matches!(role, Role::Gate | Role::Commit), Effect::Forbid)
    }

    /// Whether something permits it: a rule, or that a set of copies needs no permit of its own.
    pub fn permitted(&self, world: &mut World) -> Lit {
        let permits: Vec<Lit> =
            self.of(|role| *role == Role::Gate, Effect::Permit).map(|rule| rule.holds).collect();
        let commits = world.action(Action::Commit);
        world.circuit.any(permits.into_iter().chain([commits]))
    }

    /// Whether the question is answered with yes.
    pub fn allowed(&self, world: &mut World) -> Lit {
        let permitted = self.permitted(world);
        let forbids: Vec<Lit> = self.forbids().map(|rule| !rule.holds).collect();
        world.circuit.all(forbids.into_iter().chain([permitted]))
    }

    fn of(&self, wanted: fn(&Role) -> bool, effect: Effect) -> impl Iterator<Item = &Encoded> {
        self.rules.iter().filter(move |rule| {
            rule.effect == effect && self.compiled.rules.get(rule.index).is_some_and(|r| wanted(&r.role))
        })
    }

    /// Whether the policy's scope and conditions hold.
    pub fn policy(&self, world: &mut World, policy: &Policy, asked: Asked) -> Option<Lit> {
        let Demands { kind, clauses } = Demands::of(policy)?;
        let mut demanded = Vec::new();
        if let Some(kind) = kind {
            demanded.push(is_kind(world, &kind)?);
        }
        if asked == Asked::Gate {
            demanded.push(scope(world, policy));
        }
        for clause in &clauses {
            demanded.push(match clause {
                Clause::When(condition) => self.condition(world, condition, asked)?,
                Clause::Unless(condition) => !self.condition(world, condition, asked)?,
            });
        }
        Some(world.circuit.all(demanded))
    }

    fn condition(&self, world: &mut World, expr: &Expr, asked: Asked) -> Option<Lit> {
        match expr {
            Expr::Literal(Literal::Bool(value)) => Some(world.circuit.constant(*value)),
            Expr::UnaryOp { op: UnaryOp::Not, expr } => Some(!self.condition(world, expr, asked)?),
            Expr::UnaryOp { op: UnaryOp::IsEmpty, expr } => {
                let set = self.members(world, expr)?;
                Some(!world.circuit.any(set.bits))
            }
            Expr::IfThenElse { cond, then_expr, else_expr } => {
                let condition = self.condition(world, cond, asked)?;
                let then = self.condition(world, then_expr, asked)?;
                let otherwise = self.condition(world, else_expr, asked)?;
                Some(world.circuit.choose(condition, then, otherwise))
            }
            Expr::Is { expr, entity_type, in_expr: None } => match **expr {
                Expr::Var(Var::Resource) => is_kind(world, &entity_type.to_string()),
                Expr::Var(Var::Principal) => {
                    Some(world.circuit.constant(entity_type.to_string() == "Operator"))
                }
                _ => None,
            },
            Expr::GetAttr { expr, attr } => self.flag(world, expr, attr),
            Expr::BinaryOp { op, left, right } => self.relation(world, *op, left, right, asked),
            _ => None,
        }
    }

    fn flag(&self, world: &World, of: &Expr, attr: &str) -> Option<Lit> {
        Some(match (of, attr) {
            (Expr::Var(Var::Context), "labelled") => self.facts.labelled,
            (Expr::Var(Var::Context), "scannedCompletely") => world.scanned,
            (Expr::Var(Var::Context), "regulated") => self.facts.regulated,
            (Expr::Var(Var::Context), "firstWrite") => self.facts.first_write,
            (Expr::Var(Var::Context), "atHome") => world.at_home,
            (Expr::Var(Var::Principal), "sensitiveCounted") => world.sensitive_counted,
            // The validator saw to it that a location is never asked; the world says that it has none.
            (Expr::Var(Var::Resource), "sameEntity") => world.same_entity,
            (Expr::Var(Var::Resource), "authority") => world.authority,
            _ => return None,
        })
    }

    fn relation(
        &self,
        world: &mut World,
        op: BinaryOp,
        left: &Expr,
        right: &Expr,
        asked: Asked,
    ) -> Option<Lit> {
        match op {
            BinaryOp::And | BinaryOp::Or => {
                let left = self.condition(world, left, asked)?;
                let right = self.condition(world, right, asked)?;
                return Some(match op {
                    BinaryOp::And => world.circuit.all([left, right]),
                    _ => world.circuit.any([left, right]),
                });
            }
            BinaryOp::NotEq => return Some(!self.relation(world, BinaryOp::Eq, left, right, asked)?),
            BinaryOp::Eq | BinaryOp::In if matches!(left, Expr::Var(Var::Action)) => {
                return named_actions(world, right, asked);
            }
            _ => {}
        }
        if let Some(answer) = compare_numbers(world, op, left, right) {
            return Some(answer);
        }
        if op == BinaryOp::Eq
            && let (Some(left), Some(right)) =
                (self.condition(world, left, asked), self.condition(world, right, asked))
        {
            return Some(world.circuit.same(left, right));
        }
        let mut left = self.members(world, left)?;
        let mut right = self.members(world, right)?;
        align(world, &mut left, &mut right)?;
        let pairs: Vec<(Lit, Lit)> = left.bits.into_iter().zip(right.bits).collect();
        let circuit = &mut world.circuit;
        let each = |circuit: &mut super::circuit::Circuit,
                    gate: fn(&mut super::circuit::Circuit, Lit, Lit) -> Lit| {
            pairs.iter().map(|(left, right)| gate(circuit, *left, *right)).collect::<Vec<Lit>>()
        };
        Some(match op {
            // One thing is a set of one member, so that these are about sets all the same.
            BinaryOp::Contains | BinaryOp::ContainsAny | BinaryOp::In => {
                let common = each(circuit, |circuit, left, right| circuit.both(left, right));
                circuit.any(common)
            }
            BinaryOp::ContainsAll => {
                let covered = each(circuit, |circuit, left, right| circuit.any([left, !right]));
                circuit.all(covered)
            }
            BinaryOp::Eq => {
                let same = each(circuit, |circuit, left, right| circuit.same(left, right));
                circuit.all(same)
            }
            _ => return None,
        })
    }

    /// A set, or one thing as a set of one.
    fn members(&self, world: &mut World, expr: &Expr) -> Option<Members> {
        let all = |space, bits: &Vec<Lit>| Some(Members { space: Some(space), bits: bits.clone() });
        let facts = &self.facts;
        match expr {
            Expr::Literal(Literal::EntityUID(uid)) => {
                let space = Space::named(&uid.ty.to_string())?;
                let position = world.universe.position(space, &uid.eid)?;
                let no = world.circuit.constant(false);
                let mut bits = vec![no; world.universe.words(space).len()];
                *bits.get_mut(position)? = !no;
                Some(Members { space: Some(space), bits })
            }
            Expr::Set(list) => {
                let mut set = Members { space: None, bits: Vec::new() };
                for member in list {
                    let mut one = self.members(world, member)?;
                    align(world, &mut set, &mut one)?;
                    set.space = set.space.or(one.space);
                    let pairs: Vec<(Lit, Lit)> = set.bits.into_iter().zip(one.bits).collect();
                    set.bits = pairs.into_iter().map(|(a, b)| world.circuit.any([a, b])).collect();
                }
                Some(set)
            }
            Expr::GetAttr { expr, attr } => match (&**expr, attr.as_str()) {
                (Expr::Var(Var::Context), "classes") => all(Space::Class, &facts.classes),
                (Expr::Var(Var::Context), "sensitiveIn") => all(Space::Regime, &facts.sensitive_in),
                (Expr::Var(Var::Context), "subjects") => all(Space::Country, &world.subjects),
                (Expr::Var(Var::Context), "subjectBlocs") => all(Space::Bloc, &facts.subject_blocs),
                (Expr::Var(Var::Context), "uncoveredSubjects") => all(Space::Country, &facts.uncovered),
                (Expr::Var(Var::Context), "collectedIn") => all(Space::Country, &facts.collected_in),
                (Expr::Var(Var::Context), "serviceIn") => all(Space::Country, &facts.service_in),
                (Expr::Var(Var::Context), "under") => all(Space::Country, &facts.under),
                (Expr::Var(Var::Context), "keyCountries") => all(Space::Country, &world.key_countries),
                (Expr::Var(Var::Context), "origin") => all(Space::Country, &world.origin),
                (Expr::Var(Var::Context), "heldIn") => all(Space::Country, &world.held_in),
                (Expr::Var(Var::Context), "mechanisms") => all(Space::Mechanism, &world.mechanisms),
                (Expr::Var(Var::Context), "attrs") => all(Space::Attr, &world.attrs),
                (Expr::Var(Var::Principal), "countries") => all(Space::Country, &world.established),
                (Expr::Var(Var::Principal), "tags") => all(Space::Tag, &world.tags),
                (Expr::Var(Var::Resource), "country") => all(Space::Country, &world.place),
                (Expr::Var(Var::Resource), "blocs") => all(Space::Bloc, &facts.place_blocs),
                (Expr::Var(Var::Resource), "providerCountry") => all(Space::Country, &world.provider),
                (Expr::Var(Var::Resource), "providerBlocs") => all(Space::Bloc, &facts.provider_blocs),
                (Expr::Var(Var::Resource), "certs") => all(Space::Cert, &world.certs),
                (Expr::Var(Var::Resource), "zones") => all(Space::Zone, &world.zones),
                _ => None,
            },
            _ => None,
        }
    }
}

/// Gives the empty list the size of what it is compared with. `None` when they are of two kinds.
fn align(world: &World, one: &mut Members, other: &mut Members) -> Option<()> {
    let no = world.circuit.constant(false);
    match (one.space, other.space) {
        (None, Some(_)) => one.bits.resize(other.bits.len(), no),
        (Some(_), None) => other.bits.resize(one.bits.len(), no),
        (a, b) if a != b => return None,
        _ => {}
    }
    Some(())
}

impl Facts {
    fn new(world: &mut World, compiled: &Compiled, now: i64) -> Facts {
        let labelled = world.circuit.any(world.stated.clone());
        let unknown = world.circuit.all([!labelled, !world.scanned]);
        let mut held = Vec::new();
        for (class, stated) in DataClass::all().zip(world.stated.clone()) {
            // Nobody knows what it is, so it is what binds most.
            let presumed = class.name() == "personal";
            held.push(if presumed { world.circuit.any([stated, unknown]) } else { stated });
        }
        let mut classes = Vec::new();
        for class in DataClass::all() {
            let below = DataClass::all().zip(&held);
            let below = below.filter(|(other, _)| *other == class || other.ancestors().any(|up| up == class));
            let below: Vec<Lit> = below.map(|(_, lit)| *lit).collect();
            classes.push(world.circuit.any(below));
        }
        let regulated = DataClass::all().zip(&held).filter(|(class, _)| class.name() != "non_personal");
        let regulated: Vec<Lit> = regulated.map(|(_, lit)| *lit).collect();
        let mut sensitive_in = Vec::new();
        for word in world.universe.words(Space::Regime).to_vec() {
            let regime = compiled.regimes.iter().find(|regime| regime.name == *word);
            let held = DataClass::all().zip(&held);
            let held = held.filter(|(class, _)| regime.is_some_and(|regime| regime.classes.contains(*class)));
            let held: Vec<Lit> = held.map(|(_, lit)| *lit).collect();
            sensitive_in.push(world.circuit.any(held));
        }
        let nothing_held = !world.circuit.any(world.held_in.clone());
        let store = world.action(Action::Store);
        Facts {
            labelled,
            regulated: world.circuit.any(regulated),
            first_write: world.circuit.both(store, nothing_held),
            sensitive_in,
            subject_blocs: blocs(world, compiled, now, |world| &world.subjects),
            place_blocs: blocs(world, compiled, now, |world| &world.place),
            provider_blocs: blocs(world, compiled, now, |world| &world.provider),
            uncovered: pairs(world, |world, position, country: Country| {
                let subject = world.subjects.get(position).copied();
                subject
                    .filter(|_| !compiled.covers.contains(country))
                    .unwrap_or(world.circuit.constant(false))
            }),
            collected_in: or_subjects(world, |world| &world.collected_in),
            service_in: or_subjects(world, |world| &world.service_in),
            under: either(world),
            classes,
        }
    }
}

fn pairs(world: &World, bit: impl Fn(&World, usize, Country) -> Lit) -> Vec<Lit> {
    let countries = world.universe.countries.iter().enumerate();
    countries.map(|(position, country)| bit(world, position, *country)).collect()
}

/// The blocs that countries of a set are in.
fn blocs(world: &mut World, compiled: &Compiled, now: i64, of: fn(&World) -> &Vec<Lit>) -> Vec<Lit> {
    let mut bits = Vec::new();
    for word in world.universe.words(Space::Bloc).to_vec() {
        let bloc = compiled.blocs.iter().find(|bloc| bloc.name == *word);
        let members = world.universe.countries.iter().zip(of(world));
        let members = members.filter(|(country, _)| bloc.is_some_and(|bloc| bloc.contains(**country, now)));
        let members: Vec<Lit> = members.map(|(_, lit)| *lit).collect();
        bits.push(world.circuit.any(members));
    }
    bits
}

/// What was stated, or the subjects' countries where nothing was.
fn or_subjects(world: &mut World, stated: fn(&World) -> &Vec<Lit>) -> Vec<Lit> {
    let stated = stated(world).clone();
    let said = world.circuit.any(stated.clone());
    let both: Vec<(Lit, Lit)> = stated.into_iter().zip(world.subjects.clone()).collect();
    both.into_iter().map(|(stated, subject)| world.circuit.choose(said, stated, subject)).collect()
}

/// The countries of the subjects and those where it is stated to have been collected.
fn either(world: &mut World) -> Vec<Lit> {
    let both: Vec<(Lit, Lit)> =
        world.subjects.iter().copied().zip(world.collected_in.iter().copied()).collect();
    both.into_iter().map(|(subject, collected)| world.circuit.any([subject, collected])).collect()
}

fn is_kind(world: &World, kind: &str) -> Option<Lit> {
    match kind {
        "Reader" => Some(world.action(Action::Read)),
        "Location" => Some(!world.action(Action::Read)),
        _ => None,
    }
}

/// Whether a gate's scope names the action of the question, or a group that it is in.
fn scope(world: &mut World, policy: &Policy) -> Lit {
    let Some(names) = parts::actions(policy) else { return world.circuit.constant(true) };
    let within: Vec<Lit> = names.iter().flat_map(|name| in_action(world, name)).collect();
    world.circuit.any(within)
}

/// The actions that a name stands for.
pub fn in_action(world: &World, name: &str) -> Vec<Lit> {
    let meant = ACTIONS.iter().filter(|action| parts::names_action(name, action.name()));
    meant.map(|action| world.action(*action)).collect()
}

/// `action == Action::"..."` and `action in [...]` in a condition.
fn named_actions(world: &mut World, right: &Expr, asked: Asked) -> Option<Lit> {
    let list: Vec<&Expr> = match right {
        Expr::Set(list) => list.iter().map(|member| &**member).collect(),
        one => vec![one],
    };
    let mut within = Vec::new();
    for one in list {
        let Expr::Literal(Literal::EntityUID(uid)) = one else { return None };
        within.extend(in_action(world, &uid.eid));
    }
    // A duty is asked under an action of its own, which is none of these.
    if asked == Asked::Duty {
        return Some(world.circuit.constant(false));
    }
    Some(world.circuit.any(within))
}

/// A number of the operator against a literal.
fn compare_numbers(world: &World, op: BinaryOp, left: &Expr, right: &Expr) -> Option<Lit> {
    let number = |expr: &Expr| match expr {
        Expr::Literal(Literal::Long(number)) => Some(*number),
        _ => None,
    };
    let (name, op, number) = match (left, right) {
        (Expr::GetAttr { expr, attr }, other) if matches!(**expr, Expr::Var(Var::Principal)) => {
            (attr, op, number(other)?)
        }
        (other, Expr::GetAttr { expr, attr }) if matches!(**expr, Expr::Var(Var::Principal)) => {
            (attr, parts::mirrored(op), number(other)?)
        }
        _ => return None,
    };
    let above = number.saturating_add(1);
    Some(match op {
        BinaryOp::GreaterEq => world.at_least(name, number)?,
        BinaryOp::Greater => world.at_least(name, above)?,
        BinaryOp::Less => !world.at_least(name, number)?,
        BinaryOp::LessEq => !world.at_least(name, above)?,
        _ => return None,
    })
}
