//! What each rule and each location is good for, over all questions.

use std::sync::Arc;

use batsat::Lit;

use super::prover::Prover;
use super::universe::Space;
use crate::names::LocationId;
use crate::policy::Action;
use crate::policy::compiled::Compiled;
use crate::policy::manifest::WordKind;
use crate::policy::mechanism::Scope;
use crate::policy::snapshot::Setting;

/// What a prohibition is good for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Some question it alone refuses.
    Decides,
    /// Whatever it refuses, these refuse too.
    Shadowed { by: Vec<String> },
    /// No question makes it hold.
    Never,
}

/// The prohibitions in force on the packs' own day, as positions in the compiled set.
pub fn standings(compiled: &Arc<Compiled>) -> Vec<(usize, Standing)> {
    let mut prover = Prover::new(compiled, compiled.as_of, &[], &[]);
    let mut standings = Vec::new();
    for index in prover.gates() {
        let standing = match prover.decides_alone(index) {
            Ok(_) => Standing::Decides,
            Err(_) if !prover.can_hold(index) => Standing::Never,
            Err(by) => Standing::Shadowed { by },
        };
        standings.push((index, standing));
    }
    standings
}

/// Configured locations where this operator may never store anything that a law binds, on its papers of today.
pub fn unused(compiled: &Arc<Compiled>, setting: &Setting, now: i64) -> Vec<LocationId> {
    let mut unused = Vec::new();
    for location in setting.locations.iter() {
        // A world of its own for each: in it there is one place.
        let mut prover = Prover::new(compiled, now, &[], std::slice::from_ref(location));
        let world = &mut prover.world;
        let mut assumed = vec![world.action(Action::Store), prover.view.regulated()];
        let held: Vec<usize> = setting
            .mechanisms
            .iter()
            .filter_map(|mechanism| Scope::new(mechanism, &compiled.words).ok())
            .filter(|scope| scope.reaches(location.country) && scope.until.is_none_or(|end| now < end))
            .filter_map(|scope| compiled.words.find(WordKind::Mechanism, &scope.used.kind))
            .collect();
        let papers = world.mechanisms.iter().enumerate().filter(|(kind, _)| !held.contains(kind));
        assumed.extend(papers.map(|(_, lit)| !*lit));
        // The gateway keeps one copy of an object: what may be stored only beside another never comes.
        assumed.extend(world.held_in.iter().map(|lit| !*lit));
        let stated = setting.operator.tags.iter().chain(setting.operator.sector.as_ref());
        let stated: Vec<usize> = stated.filter_map(|tag| compiled.words.find(WordKind::Tag, tag)).collect();
        let flags = [
            ("ciio", setting.operator.ciio),
            ("government", setting.operator.public_body),
            ("pi_volume_processor", setting.operator.pi_volume_processor),
        ];
        let words = world.universe.words(Space::Tag).iter().enumerate().zip(&world.tags);
        let tags = words.map(|((position, word), lit)| {
            let flagged = flags.iter().any(|(flag, set)| *set && **word == **flag);
            lit.apply_sign(flagged || stated.contains(&position))
        });
        assumed.extend(tags.collect::<Vec<Lit>>());
        assumed.push(prover.view.allowed(&mut prover.world));
        if prover.world.circuit.solve(&assumed).is_none() {
            unused.push(location.id.clone());
        }
    }
    unused
}
