//! `policy prove`: what a policy set says of all questions at once.
//!
//! Rules are finite conditions over finite sets, so "is there any object, operator, place and paper for which this is
//! allowed" is a question for a SAT solver. [`universe`] says what there is to tell apart, [`world`] what can be asked,
//! [`view`] what a policy set answers, [`circuit`] speaks to the solver. Nothing that the solver finds is believed:
//! each example is put to Cedar itself, and one that Cedar answers otherwise is an error.

mod circuit;
pub mod diff;
mod invariants;
mod prover;
mod standing;
#[cfg(test)]
mod tests;
mod universe;
mod view;
mod witness;
mod world;

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;

pub use invariants::{Invariant, parse};
pub use prover::{Counterexample, Outcome, Proof, ProveError, at_load};
pub(super) use standing::{Standing, standings, unused};

use super::compiled::compile;
use super::mechanism::moment;
use super::{PackSource, PolicyError};
use crate::locations::LocationFacts;
use prover::{Prover, applicable};

/// What became of all invariants.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Hash of the policy set.
    pub policy: String,
    pub proofs: Vec<Proof>,
}

/// Proves the invariants of a policy set, and those of `file`. With no places, any location can be.
pub fn prove(
    source: &PackSource,
    file: Option<&Path>,
    as_of: Option<&str>,
    places: &[Arc<LocationFacts>],
) -> Result<Report, ProveError> {
    let compiled = Arc::new(compile(&source.read()?).map_err(PolicyError::Invalid)?);
    let now = match as_of {
        None => compiled.as_of,
        Some(text) => moment(text).ok_or_else(|| ProveError::AsOf(text.to_owned()))?,
    };
    let mut invariants = applicable(&compiled);
    if let Some(path) = file {
        let wrong = |problem: String| ProveError::Invariants { path: path.display().to_string(), problem };
        let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
        let more = parse(&text, &compiled.schema).map_err(|problems| {
            let all: Vec<String> = problems.into_iter().map(|problem| problem.message).collect();
            wrong(all.join("\n"))
        })?;
        // A file's own invariants stand for those of the same name.
        invariants.retain(|known| !more.iter().any(|other| other.name == known.name));
        invariants.extend(more);
    }
    let mut prover = Prover::new(&compiled, now, &invariants, places);
    let proofs = invariants.iter().map(|invariant| prover.prove(invariant)).collect::<Result<_, _>>()?;
    Ok(Report { policy: compiled.hash.0.to_string(), proofs })
}

impl Report {
    pub fn all_hold(&self) -> bool {
        self.proofs.iter().all(Proof::holds)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for proof in &self.proofs {
            writeln!(f, "{proof}")?;
        }
        let held = self.proofs.iter().filter(|proof| proof.holds()).count();
        write!(f, "{held} of {} invariants hold; policy set {}", self.proofs.len(), self.policy)
    }
}
