//! Words and the operator as Cedar values.

use std::collections::{HashMap, HashSet};

use cedar_policy::{Entity, EntityId, EntityTypeName, EntityUid, RestrictedExpression};

use super::PolicyError;
use super::compiled::Compiled;
use crate::config;
use crate::label::class::DataClass;
use crate::names::Country;

/// The enumerated words as Cedar values, made once.
pub struct Literals {
    countries: Vec<RestrictedExpression>,
    pub classes: Vec<RestrictedExpression>,
    pub blocs: Vec<RestrictedExpression>,
    pub mechanisms: Vec<RestrictedExpression>,
}

impl Literals {
    pub fn new(compiled: &Compiled) -> Result<Literals, PolicyError> {
        let all = |kind: &str, words: &mut dyn Iterator<Item = String>| {
            words.map(|word| literal(kind, &word)).collect::<Result<Vec<_>, _>>()
        };
        Ok(Literals {
            countries: all("Country", &mut Country::all().map(|country| country.code().to_owned()))?,
            classes: all("Class", &mut DataClass::all().map(|class| class.name().to_owned()))?,
            blocs: all("Bloc", &mut compiled.blocs.iter().map(|bloc| bloc.name.clone()))?,
            mechanisms: all("Mechanism", &mut compiled.words.mechanisms.iter().map(|word| word.to_string()))?,
        })
    }

    pub fn country(&self, country: Country) -> RestrictedExpression {
        // The table has an entry for each country.
        self.countries[country.index()].clone()
    }
}

pub fn operator_entity(
    operator: &config::Operator,
    compiled: &Compiled,
    words: &Literals,
) -> Result<(EntityUid, Entity), PolicyError> {
    let mut sectors = Vec::new();
    if let Some(word) = &operator.sector {
        if !compiled.words.sectors.contains(word) {
            return Err(PolicyError::UnknownSector {
                word: word.chars().take(80).collect(),
                known: join(compiled.words.sectors.iter()),
            });
        }
        sectors.push(literal("Sector", word)?);
    }
    let uid = uid("Operator", "operator")?;
    let flag = RestrictedExpression::new_bool;
    let attributes = HashMap::from([
        (
            "countries".to_owned(),
            RestrictedExpression::new_set(operator.country.map(|country| words.country(country))),
        ),
        ("sectors".to_owned(), RestrictedExpression::new_set(sectors)),
        ("ciio".to_owned(), flag(operator.ciio)),
        ("publicBody".to_owned(), flag(operator.public_body)),
        ("piVolumeProcessor".to_owned(), flag(operator.pi_volume_processor)),
    ]);
    let entity = Entity::new(uid.clone(), attributes, HashSet::new()).map_err(schema_error)?;
    Ok((uid, entity))
}

pub fn uid(kind: &str, id: &str) -> Result<EntityUid, PolicyError> {
    let kind: EntityTypeName =
        kind.parse().map_err(|_| PolicyError::Schema(format!("no entity type {kind}")))?;
    Ok(EntityUid::from_type_name_and_id(kind, EntityId::new(id)))
}

pub fn literal(kind: &str, word: &str) -> Result<RestrictedExpression, PolicyError> {
    Ok(RestrictedExpression::new_entity_uid(uid(kind, word)?))
}

pub fn join<'a>(words: impl Iterator<Item = &'a String>) -> String {
    words.map(String::as_str).collect::<Vec<_>>().join(", ")
}

pub fn schema_error(error: impl std::fmt::Display) -> PolicyError {
    PolicyError::Schema(error.to_string())
}
