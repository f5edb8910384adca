//! What is known of objects beside their labels: where they were collected, why they are processed, who holds the keys.
//!
//! Nobody can read it off the bytes. The configuration states it for buckets, and a scenario for its one object.

use globset::{Glob, GlobMatcher};

use super::manifest::WordKind;
use super::words::Words;
use super::{PolicyError, Question};
use crate::config;
use crate::label::ClassSet;
use crate::names::{BucketName, Country, CountrySet};

/// Facts of one object. What is absent is unknown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Declared {
    pub collected_in: CountrySet,
    pub service_in: CountrySet,
    pub key_countries: CountrySet,
    /// Positions in the schema's enumeration, as bits.
    pub attrs: u128,
}

/// Facts for the objects of the buckets that a pattern matches.
#[derive(Debug, Clone)]
pub struct Statement {
    bucket: Option<GlobMatcher>,
    pub declared: Declared,
}

impl Statement {
    pub fn new(stated: &config::Facts, words: &Words) -> Result<Statement, PolicyError> {
        let bucket = match &stated.bucket {
            None => None,
            Some(pattern) => {
                let glob = Glob::new(pattern).map_err(|error| PolicyError::BucketPattern {
                    pattern: pattern.chars().take(80).collect(),
                    problem: error.kind().to_string(),
                })?;
                Some(glob.compile_matcher())
            }
        };
        let set = |countries: &[Country]| countries.iter().copied().collect();
        let declared = Declared {
            collected_in: set(&stated.collected_in),
            service_in: set(&stated.service_in),
            key_countries: set(&stated.key_countries),
            attrs: attrs(&stated.attrs, words)?,
        };
        Ok(Statement { bucket, declared })
    }

    pub fn is_about(&self, question: &Question<'_>) -> bool {
        self.bucket
            .as_ref()
            .is_none_or(|pattern| pattern.is_match(question.bucket.map_or("", BucketName::as_str)))
    }
}

/// Attributes as bits.
pub fn attrs(texts: &[String], words: &Words) -> Result<u128, PolicyError> {
    let mut bits = 0;
    for text in texts {
        let word = words.word(WordKind::Attr, text)?;
        // The compiler of packs refuses a schema with more of them than there are bits.
        let position = words.list(WordKind::Attr).iter().position(|known| known == word);
        bits |= position.and_then(|n| 1_u128.checked_shl(u32::try_from(n).ok()?)).unwrap_or_default();
    }
    Ok(bits)
}

/// The laws in whose sense data of these classes is sensitive, as bits.
pub fn sensitive_in(classes: ClassSet, regimes: &[super::manifest::Regime]) -> u64 {
    let meets = regimes.iter().enumerate().filter(|(_, regime)| classes.meets(regime.classes));
    meets.fold(0, |bits, (index, _)| bits | 1_u64.checked_shl(index as u32).unwrap_or_default())
}
