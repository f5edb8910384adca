//! Words and the operator as Cedar values.

use std::collections::{BTreeSet, HashSet};
use std::sync::{Arc, LazyLock};

use cedar_policy::{Entity, EntityId, EntityTypeName, EntityUid, RestrictedExpression};

use super::PolicyError;
use super::compiled::Compiled;
use super::manifest::WordKind;
use super::words::Words;
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

/// Who is accountable, in the words of the schema.
#[derive(Debug, Clone)]
pub struct Holder {
    pub country: Option<Country>,
    pub tags: BTreeSet<Arc<str>>,
    pub people: i64,
    pub sensitive_people: i64,
    pub sensitive_counted: bool,
    pub us_persons: i64,
    pub daily_accesses: i64,
}

impl Holder {
    pub fn new(operator: &config::Operator, words: &Words) -> Result<Holder, PolicyError> {
        let mut tags: BTreeSet<Arc<str>> = BTreeSet::new();
        for text in operator.tags.iter().chain(operator.sector.as_ref().filter(|sector| *sector != "other")) {
            tags.insert(Arc::clone(words.word(WordKind::Tag, text)?));
        }
        let flags = [
            ("ciio", operator.ciio),
            ("government", operator.public_body),
            ("pi_volume_processor", operator.pi_volume_processor),
        ];
        tags.extend(flags.iter().filter(|(_, set)| *set).map(|(tag, _)| Arc::from(*tag)));
        let counts = operator.counts;
        // A number that nobody stated counts as much as can be.
        let number = |count: Option<u64>| count.and_then(|count| count.try_into().ok()).unwrap_or(i64::MAX);
        Ok(Holder {
            country: operator.country,
            tags,
            people: number(counts.people),
            sensitive_people: number(counts.sensitive_people.or(counts.in_object)),
            sensitive_counted: counts.sensitive_people.is_some(),
            us_persons: number(counts.us_persons),
            daily_accesses: number(counts.daily_accesses),
        })
    }
}

pub fn operator_entity(holder: &Holder, words: &Literals) -> Result<(EntityUid, Entity), PolicyError> {
    let tags = holder.tags.iter().map(|tag| literal("Tag", tag)).collect::<Result<Vec<_>, _>>()?;
    let uid = uid("Operator", "operator")?;
    let number = RestrictedExpression::new_long;
    let attributes = [
        ("countries", RestrictedExpression::new_set(holder.country.map(|country| words.country(country)))),
        ("tags", RestrictedExpression::new_set(tags)),
        ("people", number(holder.people)),
        ("sensitivePeople", number(holder.sensitive_people)),
        ("sensitiveCounted", RestrictedExpression::new_bool(holder.sensitive_counted)),
        ("usPersons", number(holder.us_persons)),
        ("dailyAccesses", number(holder.daily_accesses)),
    ];
    let attributes = attributes.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let entity = Entity::new(uid.clone(), attributes, HashSet::new()).map_err(schema_error)?;
    Ok((uid, entity))
}

/// The entity types of the schema.
const KINDS: [&str; 13] = [
    "Action",
    "Attr",
    "Bloc",
    "Cert",
    "Class",
    "Country",
    "Location",
    "Mechanism",
    "Operator",
    "Reader",
    "Regime",
    "Tag",
    "Zone",
];

pub fn uid(kind: &str, id: &str) -> Result<EntityUid, PolicyError> {
    // Cedar runs its whole parser over each name, which costs more than all else that is done with a word.
    static PARSED: LazyLock<Vec<(&str, EntityTypeName)>> =
        LazyLock::new(|| KINDS.iter().filter_map(|kind| Some((*kind, kind.parse().ok()?))).collect());
    let parsed = PARSED.iter().find(|(known, _)| *known == kind).map(|(_, parsed)| parsed.clone());
    let kind = parsed.ok_or_else(|| PolicyError::Schema(format!("no entity type {kind}")))?;
    Ok(EntityUid::from_type_name_and_id(kind, EntityId::new(id)))
}

pub fn literal(kind: &str, word: &str) -> Result<RestrictedExpression, PolicyError> {
    Ok(RestrictedExpression::new_entity_uid(uid(kind, word)?))
}

pub fn schema_error(error: impl std::fmt::Display) -> PolicyError {
    PolicyError::Schema(error.to_string())
}
