//! The enumerated words of the schema, found by any of their spellings.
//!
//! Laws, contracts and tables write one thing in several ways. Every spelling that is accepted stands in the schema
//! or in `words.toml`; anything else is an error with a suggestion, never a guess.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::PolicyError;
use super::manifest::{Alias, WordKind};

#[derive(Debug, Clone, Default)]
pub struct Words {
    lists: HashMap<WordKind, Vec<Arc<str>>>,
    /// By normal form; positions in the list.
    spellings: HashMap<(WordKind, String), usize>,
    pub blocs: BTreeSet<String>,
    pub regimes: BTreeSet<String>,
}

impl Words {
    pub fn new(
        lists: impl IntoIterator<Item = (WordKind, Vec<String>)>,
        blocs: Vec<String>,
        regimes: Vec<String>,
    ) -> Words {
        let mut words = Words {
            blocs: blocs.into_iter().collect(),
            regimes: regimes.into_iter().collect(),
            ..Words::default()
        };
        for (kind, list) in lists {
            for (position, word) in list.iter().enumerate() {
                words.spellings.insert((kind, normal(word)), position);
            }
            words.lists.insert(kind, list.into_iter().map(Arc::from).collect());
        }
        words
    }

    /// Takes other spellings in; or says which one cannot be.
    pub fn add(&mut self, alias: &Alias) -> Result<(), String> {
        let Some(position) = self.list(alias.kind).iter().position(|word| **word == *alias.word) else {
            return Err(format!("`{}` is not a {} of the schema", alias.word, alias.kind));
        };
        for same in &alias.same {
            match self.spellings.insert((alias.kind, normal(same)), position) {
                Some(other) if other != position => {
                    return Err(format!("`{same}` already means another {}", alias.kind));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// All words of a kind, in the order of the schema.
    pub fn list(&self, kind: WordKind) -> &[Arc<str>] {
        self.lists.get(&kind).map_or(&[], Vec::as_slice)
    }

    /// The position of the word that `text` spells.
    pub fn find(&self, kind: WordKind, text: &str) -> Option<usize> {
        self.spellings.get(&(kind, normal(text))).copied()
    }

    /// The word that `text` spells.
    pub fn word(&self, kind: WordKind, text: &str) -> Result<&Arc<str>, PolicyError> {
        let found = self.find(kind, text).and_then(|position| self.list(kind).get(position));
        found.ok_or_else(|| PolicyError::UnknownWord {
            kind,
            word: text.chars().take(80).collect(),
            help: self.help(&[kind], text),
        })
    }

    /// What to write instead.
    pub fn help(&self, kinds: &[WordKind], text: &str) -> String {
        let wanted = normal(text);
        let known = self.spellings.keys().filter(|(kind, _)| kinds.contains(kind)).map(|(_, word)| word);
        let mut near: Vec<(usize, &String)> =
            known.map(|word| (distance(&wanted, word), word)).filter(|(far, _)| *far <= 3).collect();
        near.sort();
        match near.first() {
            Some((_, word)) => format!("did you mean `{word}`?"),
            None => {
                let all = kinds.iter().flat_map(|kind| self.list(*kind));
                format!("it is one of {}", all.map(|word| &**word).collect::<Vec<_>>().join(", "))
            }
        }
    }
}

/// Spaces, hyphens and case do not tell words apart.
fn normal(text: &str) -> String {
    let flat = text.trim().chars().take(200);
    flat.map(|c| if c == ' ' || c == '-' { '_' } else { c.to_ascii_lowercase() }).collect()
}

/// How many letters must be put in, left out or changed.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (slot, b) in row.iter_mut().skip(1).zip(&other) {
            let here = (diagonal + usize::from(a != *b)).min(left + 1).min(*slot + 1);
            diagonal = *slot;
            *slot = here;
            left = here;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

impl std::fmt::Display for WordKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            WordKind::Mechanism => "mechanism",
            WordKind::Attr => "attribute",
            WordKind::Cert => "certification",
            WordKind::Tag => "operator tag",
            WordKind::Zone => "zone",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words() -> Words {
        let mut words = Words::new(
            [(WordKind::Tag, vec!["bank".to_owned(), "insurer".to_owned()])],
            Vec::new(),
            Vec::new(),
        );
        let alias =
            Alias { kind: WordKind::Tag, word: "insurer".to_owned(), same: vec!["insurance".to_owned()] };
        words.add(&alias).unwrap();
        words
    }

    #[test]
    fn every_spelling_leads_to_its_word() {
        for text in ["insurer", "Insurance", " INSURER "] {
            assert_eq!(&**words().word(WordKind::Tag, text).unwrap(), "insurer");
        }
    }

    #[test]
    fn an_unknown_word_is_an_error_that_suggests_the_nearest() {
        let error = words().word(WordKind::Tag, "bnak").unwrap_err().to_string();
        assert!(error.contains("did you mean `bank`?"), "{error}");
        let error = words().word(WordKind::Tag, "lighthouse").unwrap_err().to_string();
        assert!(error.contains("bank, insurer"), "{error}");
        assert!(words().word(WordKind::Cert, "bank").is_err());
    }

    #[test]
    fn a_spelling_cannot_mean_two_words_and_cannot_mean_none() {
        let alias = |word: &str, same: &str| Alias {
            kind: WordKind::Tag,
            word: word.to_owned(),
            same: vec![same.to_owned()],
        };
        assert!(words().add(&alias("bank", "insurance")).is_err());
        assert!(words().add(&alias("lighthouse", "tower")).is_err());
    }

    #[test]
    fn distance_counts_letters() {
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("same", "same"), 0);
    }
}
