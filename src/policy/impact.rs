//! What an edit of the policies would mean for objects that rest somewhere already.
//!
//! Each is asked about as if it were stored today, where it rests and as its only copy. Nothing is moved here.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::Serialize;

use super::compiled::compile;
use super::snapshot::{Moment, Setting, Snapshot};
use super::{Action, Copies, PackSource, PolicyError, Question, ReaderEntity};
use crate::label::ClassSet;
use crate::names::{BucketName, CountrySet, LocationId};

/// An object where it rests.
pub struct Object<'a> {
    pub bucket: &'a BucketName,
    pub home: Option<&'a LocationId>,
    pub location: &'a LocationId,
    pub classes: ClassSet,
    pub subjects: CountrySet,
    pub scanned_completely: bool,
    /// In bytes.
    pub size: u64,
}

/// A number of objects.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Amount {
    pub objects: u64,
    pub bytes: u64,
}

impl Amount {
    fn add(&mut self, size: u64) {
        self.objects += 1;
        self.bytes = self.bytes.saturating_add(size);
    }
}

/// What became of all objects.
#[derive(Debug, Default, Serialize)]
pub struct Impact {
    /// They may stay.
    pub stay: Amount,
    /// They would have to move, and by the old set they may stay.
    pub moves: Vec<Move>,
    /// No configured location may hold them, and by the old set they may stay.
    pub nowhere: Vec<Homeless>,
    /// Neither set lets them stay.
    pub out_of_place_already: Amount,
    /// They rest at a location that the configuration does not have.
    pub at_unknown_locations: Amount,
    /// What the moves would cost, at the price that was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost: Option<f64>,
}

#[derive(Debug, Serialize)]
pub struct Move {
    pub from: LocationId,
    /// The first configured location that may hold them.
    pub to: LocationId,
    #[serde(flatten)]
    pub amount: Amount,
}

#[derive(Debug, Serialize)]
pub struct Homeless {
    pub at: LocationId,
    #[serde(flatten)]
    pub amount: Amount,
}

/// Counts objects as they are added.
pub struct Counting {
    old: Snapshot,
    new: Snapshot,
    impact: Impact,
    moves: BTreeMap<(LocationId, LocationId), Amount>,
    nowhere: BTreeMap<LocationId, Amount>,
}

impl Counting {
    pub fn new(
        old: &PackSource,
        new: &PackSource,
        setting: Setting,
        now: i64,
    ) -> Result<Counting, PolicyError> {
        let setting = Arc::new(setting);
        let snapshot = |source: &PackSource| {
            let compiled = Arc::new(compile(&source.read()?).map_err(PolicyError::Invalid)?);
            Snapshot::new(compiled, Arc::clone(&setting), Moment::Clock(now))
        };
        Ok(Counting {
            old: snapshot(old)?,
            new: snapshot(new)?,
            impact: Impact::default(),
            moves: BTreeMap::new(),
            nowhere: BTreeMap::new(),
        })
    }

    pub fn add(&mut self, object: &Object<'_>) -> Result<(), PolicyError> {
        if self.new.position(object.location).is_none() {
            self.impact.at_unknown_locations.add(object.size);
            return Ok(());
        }
        let question = Question {
            action: Action::Store,
            classes: object.classes,
            subjects: object.subjects,
            scanned_completely: object.scanned_completely,
            bucket: Some(object.bucket),
            home: object.home,
            origin: None,
            held_in: CountrySet::EMPTY,
            reader: None,
            reader_entity: ReaderEntity::Other,
            copies: Copies::Complete,
        };
        let decision = self.new.answer(&self.new.key(&question))?;
        if decision.allowed().contains(object.location) {
            self.impact.stay.add(object.size);
            return Ok(());
        }
        let before = self.old.answer(&self.old.key(&question))?;
        if !before.allowed().contains(object.location) {
            self.impact.out_of_place_already.add(object.size);
            return Ok(());
        }
        match decision.allowed().iter().next() {
            Some(to) => {
                let way = (object.location.clone(), to.id.clone());
                self.moves.entry(way).or_default().add(object.size);
            }
            None => self.nowhere.entry(object.location.clone()).or_default().add(object.size),
        }
        Ok(())
    }

    /// `price` is what it costs to move a GiB.
    pub fn finish(self, price: Option<f64>) -> Impact {
        let moved: u64 = self.moves.values().map(|amount| amount.bytes).fold(0, u64::saturating_add);
        Impact {
            moves: self.moves.into_iter().map(|((from, to), amount)| Move { from, to, amount }).collect(),
            nowhere: self.nowhere.into_iter().map(|(at, amount)| Homeless { at, amount }).collect(),
            cost: price.map(|price| moved as f64 / GIB * price),
            ..self.impact
        }
    }
}

const GIB: f64 = (1_u64 << 30) as f64;

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} objects, {} bytes", self.objects, self.bytes)
    }
}

impl fmt::Display for Impact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Move { from, to, amount } in &self.moves {
            writeln!(f, "would move from {from} to {to}: {amount}")?;
        }
        for Homeless { at, amount } in &self.nowhere {
            writeln!(f, "at {at}, and no location may hold them: {amount}")?;
        }
        for (what, amount) in [
            ("out of place by the old set too", self.out_of_place_already),
            ("at locations that are not configured", self.at_unknown_locations),
        ] {
            if amount.objects > 0 {
                writeln!(f, "{what}: {amount}")?;
            }
        }
        if let Some(cost) = self.cost {
            writeln!(f, "cost of the moves: {cost:.2}")?;
        }
        write!(f, "may stay: {}", self.stay)
    }
}
