//! What is asked, as small and flat as it can be: what a decision is remembered under.

use super::asking::AtHome;
use super::memo::Packed;
use super::{Action, Copies, ReaderEntity};
use crate::label::ClassSet;
use crate::names::{Country, CountrySet};

/// A question in packed form. Its bucket is not in it, for policies do not see it: only what was stated of its objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key {
    pub action: Action,
    pub classes: ClassSet,
    pub subjects: CountrySet,
    pub held_in: CountrySet,
    pub home: Option<u16>,
    pub origin: Option<Country>,
    pub reader: Option<Country>,
    pub reader_entity: ReaderEntity,
    pub scanned_completely: bool,
    pub first_write: bool,
    pub copies: Copies,
    /// Position of the statement that is about the object.
    pub declared: Option<u16>,
}

impl Key {
    /// Everything in a few words: two keys are equal when these are.
    pub fn packed(&self) -> Packed {
        let country = |country: Option<Country>| country.map_or(0, |country| country.index() as u64 + 1);
        let position = |position: Option<u16>| position.map_or(0, |position| u64::from(position) + 1);
        let action = match self.action {
            Action::Store => 0,
            Action::Replicate => 1,
            Action::Relocate => 2,
            Action::Read => 3,
            Action::Commit => 4,
        };
        let entity = match self.reader_entity {
            ReaderEntity::Same => 0,
            ReaderEntity::Other => 1,
            ReaderEntity::Authority => 2,
        };
        // Each with its width in bits; together they fit a word.
        let fields = [
            (position(self.home), 17),
            (position(self.declared), 17),
            (country(self.origin), 8),
            (country(self.reader), 8),
            (action, 3),
            (entity, 2),
            (u64::from(self.copies == Copies::Complete), 1),
            (u64::from(self.scanned_completely), 1),
            (u64::from(self.first_write), 1),
        ];
        let rest = fields.into_iter().fold(0, |word, (value, width)| word << width | value);
        let ([a, b, c, d], [e, f, g, h]) = (self.subjects.bits(), self.held_in.bits());
        [self.classes.bits(), a, b, c, d, e, f, g, h, rest]
    }

    /// Whether the location at this position is the bucket's home.
    pub fn at_home(&self, location: usize) -> AtHome {
        match self.home {
            Some(home) if usize::from(home) == location => AtHome::Yes,
            _ => AtHome::No,
        }
    }
}
