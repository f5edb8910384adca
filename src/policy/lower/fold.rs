//! A test with everything worked out that is known when it is loaded.
//!
//! What is left has negation at its leaves only, and no part that always or never holds.

use super::Lanes;
use super::rule::{ClassTest, CountryTest, CountryVar, Flag, Test};
use crate::label::ClassSet;
use crate::names::CountrySet;

/// What is left of a test.
#[derive(Debug, Clone, PartialEq)]
pub enum Node {
    Fixed { holds: Lanes, errors: Lanes },
    All(Vec<Node>),
    Any(Vec<Node>),
    Leaf(Leaf),
    Not(Leaf),
}

/// One question about the object.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Leaf {
    Flag(Flag),
    Regimes(u64),
    Attrs(u128),
    Classes(ClassTest),
    Countries(CountryVar, CountryTest),
    AtHome,
    /// Position among the mechanisms that are configured.
    Mechanism(usize),
}

/// What is known beside the places.
pub struct Folding<'a> {
    pub all: Lanes,
    /// The kinds of mechanism that are configured; no other ever counts.
    pub kinds: &'a [usize],
    /// The members of each bloc at the snapshot's moment.
    pub blocs: &'a [CountrySet],
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Sense {
    Plain,
    Negated,
}

impl Sense {
    fn turned(self) -> Sense {
        match self {
            Sense::Plain => Sense::Negated,
            Sense::Negated => Sense::Plain,
        }
    }
}

impl Folding<'_> {
    pub fn fold(&self, test: &Test) -> Node {
        self.folded(test, Sense::Plain)
    }

    fn folded(&self, test: &Test, sense: Sense) -> Node {
        let leaf = |leaf: Leaf| match sense {
            Sense::Plain => Node::Leaf(leaf),
            Sense::Negated => Node::Not(leaf),
        };
        match (test, sense) {
            (Test::Places { holds, errors }, _) => {
                let holds = if sense == Sense::Plain { *holds } else { !*holds };
                Node::Fixed { holds: holds & !errors & self.all, errors: errors & self.all }
            }
            (Test::All(tests), Sense::Plain) | (Test::Any(tests), Sense::Negated) => {
                self.all_of(tests, sense)
            }
            (Test::Any(tests), Sense::Plain) | (Test::All(tests), Sense::Negated) => {
                self.any_of(tests, sense)
            }
            (Test::Not(test), _) => self.folded(test, sense.turned()),
            (Test::Flag(flag), _) => leaf(Leaf::Flag(*flag)),
            (Test::AtHome, _) => leaf(Leaf::AtHome),
            (Test::Mechanism(kind), _) => match self.kinds.iter().position(|known| known == kind) {
                Some(slot) => leaf(Leaf::Mechanism(slot)),
                None => self.folded(&Test::Places { holds: 0, errors: 0 }, sense),
            },
            (Test::Countries(var, test), _) => leaf(Leaf::Countries(*var, *test)),
            (Test::Classes(test), _) => leaf(Leaf::Classes(*test)),
            (Test::SubjectBlocs(bits), _) => {
                let members = self.blocs.iter().take(64).enumerate().filter(|(n, _)| bits >> n & 1 == 1);
                let members = members.fold(CountrySet::EMPTY, |all, (_, bloc)| all.union(*bloc));
                leaf(Leaf::Countries(CountryVar::Subjects, CountryTest::Meets(members)))
            }
            (Test::SensitiveIn(regimes), _) => leaf(Leaf::Regimes(*regimes)),
            (Test::Attrs(attrs), _) => leaf(Leaf::Attrs(*attrs)),
        }
    }

    fn all_of(&self, tests: &[Test], sense: Sense) -> Node {
        let mut parts: Vec<Node> = Vec::new();
        let mut add = |part: Node| match (parts.last_mut(), part) {
            // Asked only where everything before it holds.
            (Some(Node::Fixed { holds: 0, .. }), _) => {}
            (Some(Node::Fixed { holds, errors }), Node::Fixed { holds: more, errors: more_errors }) => {
                *errors |= *holds & more_errors;
                *holds &= more;
            }
            (_, part) => parts.push(part),
        };
        for test in tests {
            match self.folded(test, sense) {
                Node::All(inner) => inner.into_iter().for_each(&mut add),
                other => add(other),
            }
        }
        if parts.iter().any(Node::may_fail) {
            return only(parts).unwrap_or_else(Node::All);
        }
        let mut lanes = self.all;
        let mut rest: Vec<Node> = Vec::new();
        for part in parts {
            match (part, rest.iter_mut().find_map(Node::held_classes)) {
                (Node::Fixed { holds, .. }, _) => lanes &= holds,
                (Node::Leaf(Leaf::Classes(ClassTest::Holds(more))), Some(held)) => *held = held.union(more),
                (part, _) => rest.push(part),
            }
        }
        if lanes == 0 {
            return Node::Fixed { holds: 0, errors: 0 };
        }
        if lanes != self.all || rest.is_empty() {
            rest.push(Node::Fixed { holds: lanes, errors: 0 });
        }
        rest.sort_by_key(Node::cost);
        only(rest).unwrap_or_else(Node::All)
    }

    fn any_of(&self, tests: &[Test], sense: Sense) -> Node {
        let all = self.all;
        let mut parts: Vec<Node> = Vec::new();
        let mut add = |part: Node| match (parts.last_mut(), part) {
            (Some(Node::Fixed { holds, .. }), _) if *holds == all => {}
            (Some(Node::Fixed { holds, errors }), Node::Fixed { holds: more, errors: more_errors }) => {
                *errors |= more_errors & !*holds;
                *holds |= more;
            }
            (_, part) => parts.push(part),
        };
        for test in tests {
            match self.folded(test, sense) {
                Node::Any(inner) => inner.into_iter().for_each(&mut add),
                other => add(other),
            }
        }
        if parts.iter().any(Node::may_fail) {
            return only(parts).unwrap_or_else(Node::Any);
        }
        let mut lanes = 0;
        let mut rest: Vec<Node> = Vec::new();
        for part in parts {
            match part {
                Node::Fixed { holds, .. } => lanes |= holds,
                Node::Leaf(leaf) => {
                    let leaf = leaf.as_meeting();
                    if !rest.iter_mut().any(|known| known.takes_in(leaf)) {
                        rest.push(Node::Leaf(leaf));
                    }
                }
                part => rest.push(part),
            }
        }
        if lanes == self.all {
            return Node::Fixed { holds: lanes, errors: 0 };
        }
        if lanes != 0 || rest.is_empty() {
            rest.push(Node::Fixed { holds: lanes, errors: 0 });
        }
        rest.sort_by_key(Node::cost);
        only(rest).unwrap_or_else(Node::Any)
    }
}

/// The one part, or all of them back.
fn only(mut parts: Vec<Node>) -> Result<Node, Vec<Node>> {
    match parts.pop() {
        Some(part) if parts.is_empty() => Ok(part),
        Some(part) => {
            parts.push(part);
            Err(parts)
        }
        None => Err(parts),
    }
}

impl Node {
    /// Whether asking it can be an error somewhere.
    pub fn may_fail(&self) -> bool {
        match self {
            Node::Fixed { errors, .. } => *errors != 0,
            Node::All(parts) | Node::Any(parts) => parts.iter().any(Node::may_fail),
            Node::Leaf(_) | Node::Not(_) => false,
        }
    }

    pub fn never_holds(&self) -> bool {
        *self == Node::Fixed { holds: 0, errors: 0 }
    }

    /// What is cheap and answers for all places is asked first.
    fn cost(&self) -> u8 {
        match self {
            Node::Leaf(Leaf::AtHome | Leaf::Mechanism(_)) | Node::Not(Leaf::AtHome | Leaf::Mechanism(_)) => 2,
            Node::Leaf(leaf) | Node::Not(leaf) if leaf.is_about_places() => 3,
            Node::Leaf(_) | Node::Not(_) => 0,
            Node::Fixed { .. } => 1,
            Node::All(_) | Node::Any(_) => 4,
        }
    }

    fn held_classes(&mut self) -> Option<&mut ClassSet> {
        match self {
            Node::Leaf(Leaf::Classes(ClassTest::Holds(held))) => Some(held),
            _ => None,
        }
    }

    /// Makes one question of two, if one can ask both.
    fn takes_in(&mut self, more: Leaf) -> bool {
        let Node::Leaf(mine) = self else { return false };
        match (mine, more) {
            (Leaf::Attrs(mine), Leaf::Attrs(more)) => *mine |= more,
            (Leaf::Regimes(mine), Leaf::Regimes(more)) => *mine |= more,
            (Leaf::Classes(ClassTest::Meets(mine)), Leaf::Classes(ClassTest::Meets(more))) => {
                *mine = mine.union(more);
            }
            (
                Leaf::Countries(var, CountryTest::Meets(mine)),
                Leaf::Countries(other, CountryTest::Meets(more)),
            ) if *var == other => *mine = mine.union(more),
            _ => return false,
        }
        true
    }

    /// A set of countries that must meet those whose law binds the object, where the test demands one.
    pub fn demanded_countries(&self, places: &CountrySet) -> Option<CountrySet> {
        match self {
            Node::Leaf(Leaf::Countries(var, test)) => {
                // Whatever is in one of these is in `under`, too.
                let bound = matches!(
                    var,
                    CountryVar::Subjects
                        | CountryVar::Uncovered
                        | CountryVar::CollectedIn
                        | CountryVar::Under
                );
                match test {
                    _ if !bound => None,
                    CountryTest::Meets(other) => Some(*other),
                    CountryTest::Holds(other) | CountryTest::Is(other) => {
                        other.iter().next().map(|one| [one].into_iter().collect())
                    }
                    CountryTest::HoldsPlace | CountryTest::IsPlace => Some(*places),
                    CountryTest::IsWithin(_) | CountryTest::IsWithinPlace => None,
                }
            }
            Node::All(parts) => {
                let demanded = parts.iter().filter_map(|part| part.demanded_countries(places));
                demanded.min_by_key(CountrySet::len)
            }
            Node::Any(parts) => parts
                .iter()
                .try_fold(CountrySet::EMPTY, |all, part| Some(all.union(part.demanded_countries(places)?))),
            Node::Fixed { .. } | Node::Leaf(_) | Node::Not(_) => None,
        }
    }

    /// A set of classes of which the object must have one, where the test demands it.
    pub fn demanded_classes(&self) -> Option<ClassSet> {
        match self {
            Node::Leaf(Leaf::Classes(test)) => match test {
                ClassTest::Meets(other) => Some(*other),
                ClassTest::Holds(other) | ClassTest::Is(other) => {
                    // Parents stand before their children: the last is the narrowest.
                    other.iter().last().map(|one| [one].into_iter().collect())
                }
                ClassTest::IsWithin(_) => None,
            },
            Node::All(parts) => {
                let demanded = parts.iter().filter_map(Node::demanded_classes);
                demanded.min_by_key(|classes| classes.bits().count_ones())
            }
            Node::Any(parts) => {
                parts.iter().try_fold(ClassSet::EMPTY, |all, part| Some(all.union(part.demanded_classes()?)))
            }
            Node::Fixed { .. } | Node::Leaf(_) | Node::Not(_) => None,
        }
    }
}

impl Leaf {
    fn is_about_places(self) -> bool {
        matches!(
            self,
            Leaf::Countries(_, CountryTest::HoldsPlace | CountryTest::IsPlace | CountryTest::IsWithinPlace)
        )
    }

    /// A set that holds one member meets it.
    fn as_meeting(self) -> Leaf {
        match self {
            Leaf::Classes(ClassTest::Holds(one)) if one.bits().count_ones() == 1 => {
                Leaf::Classes(ClassTest::Meets(one))
            }
            Leaf::Countries(var, CountryTest::Holds(one)) if one.len() == 1 => {
                Leaf::Countries(var, CountryTest::Meets(one))
            }
            other => other,
        }
    }
}
