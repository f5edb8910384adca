//! Words and the operator as Cedar values.

use std::collections::{BTreeSet, HashSet};

use cedar_policy::{Entity, EntityId, EntityTypeName, EntityUid, RestrictedExpression};

use super::PolicyError;
use super::compiled::Compiled;
use super::manifest::WordKind;
use crate::config;
use crate::label::class::DataClass;
use crate::names::Country;

/// The enumerated words as Cedar values, made once.
pub struct Literals {
    countries: Vec<RestrictedExpression>,
    pub classes: Vec<RestrictedExpression>,
    pub blocs: Vec<RestrictedExpression>,
    pub mechanisms: Vec<RestrictedExpression>,
    pub attrs: Vec<RestrictedExpression>,
    pub regimes: Vec<RestrictedExpression>,
}

impl Literals {
    pub fn new(compiled: &Compiled) -> Result<Literals, PolicyError> {
        let all = |kind: &str, words: &mut dyn Iterator<Item = String>| {
            words.map(|word| literal(kind, &word)).collect::<Result<Vec<_>, _>>()
        };
        let words = |kind| compiled.words.list(kind).iter().map(|word| word.to_string());
        Ok(Literals {
            countries: all("Country", &mut Country::all().map(|country| country.code().to_owned()))?,
            classes: all("Class", &mut DataClass::all().map(|class| class.name().to_owned()))?,
            blocs: all("Bloc", &mut compiled.blocs.iter().map(|bloc| bloc.name.clone()))?,
            mechanisms: all("Mechanism", &mut words(WordKind::Mechanism))?,
            attrs: all("Attr", &mut words(WordKind::Attr))?,
            regimes: all("Regime", &mut compiled.regimes.iter().map(|regime| regime.name.clone()))?,
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
    let mut tags: BTreeSet<&str> = BTreeSet::new();
    for text in operator.tags.iter().chain(operator.sector.as_ref().filter(|sector| *sector != "other")) {
        tags.insert(compiled.words.word(WordKind::Tag, text)?);
    }
    let flags = [
        ("ciio", operator.ciio),
        ("government", operator.public_body),
        ("pi_volume_processor", operator.pi_volume_processor),
    ];
    tags.extend(flags.iter().filter(|(_, set)| *set).map(|(tag, _)| *tag));
    let tags = tags.into_iter().map(|tag| literal("Tag", tag)).collect::<Result<Vec<_>, _>>()?;
    let uid = uid("Operator", "operator")?;
    let counts = operator.counts;
    let number = |count: Option<u64>| {
        RestrictedExpression::new_long(count.and_then(|count| count.try_into().ok()).unwrap_or(i64::MAX))
    };
    let attributes = [
        ("countries", RestrictedExpression::new_set(operator.country.map(|country| words.country(country)))),
        ("tags", RestrictedExpression::new_set(tags)),
        ("people", number(counts.people)),
        ("sensitivePeople", number(counts.sensitive_people.or(counts.in_object))),
        ("sensitiveCounted", RestrictedExpression::new_bool(counts.sensitive_people.is_some())),
        ("usPersons", number(counts.us_persons)),
        ("dailyAccesses", number(counts.daily_accesses)),
    ];
    let attributes = attributes.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
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

pub fn schema_error(error: impl std::fmt::Display) -> PolicyError {
    PolicyError::Schema(error.to_string())
}
