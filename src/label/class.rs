//! Data classes: the fixed taxonomy that rules speak of, and sets of them.

use std::fmt;
use std::str::FromStr;
use std::sync::LazyLock;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// One data class of the taxonomy, for example `personal.health`. A rule on a parent matches its children.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DataClass(u8);

/// The taxonomy in the order of [`DataClass::index`]. Append only: recorded sets are bit positions.
pub const CLASSES: [&str; 44] = [
    "personal",
    "personal.sensitive",
    "personal.health",
    "personal.biometric",
    "personal.genetic",
    "personal.omic",
    "personal.belief",
    "personal.criminal_record",
    "personal.child",
    "personal.gov_id",
    "personal.location",
    "personal.location_precise",
    "personal.identifiers_combined",
    "personal.social_graph",
    "personal.social_security",
    "personal.education",
    "personal.restricted",
    "financial",
    "financial.personal",
    "financial.payment",
    "financial.credit",
    "financial.securities",
    "financial.insurance",
    "telecom.subscriber",
    "telecom.traffic",
    "telecom.content",
    "government",
    "government.tax_return",
    "government.criminal_justice",
    "government.civil_registry",
    "government.election",
    "government.finance",
    "state.important",
    "state.core",
    "state.cii",
    "industry.vehicle",
    "industry.geospatial",
    "industry.core_technology",
    "industry.export_controlled",
    "business.accounting",
    "business.audit_workpaper",
    "business.content",
    "ops.security_log",
    "non_personal",
];

/// A class that the taxonomy does not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a data class")]
pub struct UnknownClass(pub String);

impl DataClass {
    /// The class of that name, for constants: a name outside the taxonomy does not compile.
    pub(crate) const fn known(name: &'static str) -> DataClass {
        let mut index = 0;
        while index < CLASSES.len() {
            if same(CLASSES[index].as_bytes(), name.as_bytes()) {
                return DataClass(index as u8);
            }
            index += 1;
        }
        panic!("not a data class")
    }

    pub fn index(self) -> usize {
        usize::from(self.0)
    }

    pub fn name(self) -> &'static str {
        CLASSES[self.index()]
    }

    /// The classes above this one, nearest first; only those that the taxonomy names.
    pub fn ancestors(self) -> impl Iterator<Item = DataClass> {
        let mut name = self.name();
        std::iter::from_fn(move || {
            while let Some(dot) = name.rfind('.') {
                name = &name[..dot];
                if let Ok(parent) = name.parse() {
                    return Some(parent);
                }
            }
            None
        })
    }

    pub fn all() -> impl Iterator<Item = DataClass> {
        (0..CLASSES.len()).map(|index| DataClass(index as u8))
    }
}

/// `==` for byte strings, where traits cannot be called yet.
const fn same(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    let mut index = 0;
    while index < a.len() {
        if a[index] != b[index] {
            return false;
        }
        index += 1;
    }
    true
}

impl FromStr for DataClass {
    type Err = UnknownClass;

    fn from_str(text: &str) -> Result<Self, UnknownClass> {
        CLASSES
            .iter()
            .position(|name| *name == text)
            .map(|index| DataClass(index as u8))
            .ok_or_else(|| UnknownClass(text.chars().take(80).collect()))
    }
}

impl fmt::Display for DataClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Debug for DataClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl<'de> Deserialize<'de> for DataClass {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl Serialize for DataClass {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// A set of data classes as one bit for each.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct ClassSet(u64);

impl ClassSet {
    pub const EMPTY: ClassSet = ClassSet(0);

    /// Adds a class. Its ancestors are not added; see [`ClassSet::with_ancestors`].
    pub fn insert(&mut self, class: DataClass) {
        self.0 |= 1 << class.index();
    }

    pub fn contains(self, class: DataClass) -> bool {
        self.0 & (1 << class.index()) != 0
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    #[must_use]
    pub fn union(self, other: ClassSet) -> ClassSet {
        ClassSet(self.0 | other.0)
    }

    /// Whether the two have a class in common.
    pub fn meets(self, other: ClassSet) -> bool {
        self.0 & other.0 != 0
    }

    /// The set closed upwards, which is what policies see: `personal.health` is also `personal`.
    #[must_use]
    pub fn with_ancestors(self) -> ClassSet {
        static ABOVE: LazyLock<Vec<ClassSet>> =
            LazyLock::new(|| DataClass::all().map(|class| class.ancestors().collect()).collect());
        let above = self.iter().filter_map(|class| ABOVE.get(class.index()));
        above.fold(self, |closed, ancestors| closed.union(*ancestors))
    }

    /// Whether every class of `self` is one of `other`.
    pub fn is_subset(self, other: ClassSet) -> bool {
        self.0 & !other.0 == 0
    }

    /// One bit for each class, by [`DataClass::index`].
    pub fn bits(self) -> u64 {
        self.0
    }

    pub fn iter(self) -> impl Iterator<Item = DataClass> {
        let mut left = self.0;
        std::iter::from_fn(move || {
            let lowest = left.trailing_zeros() as usize;
            left &= left.wrapping_sub(1);
            // Only bits of classes are ever set.
            (lowest < CLASSES.len()).then_some(DataClass(lowest as u8))
        })
    }
}

impl FromIterator<DataClass> for ClassSet {
    fn from_iter<I: IntoIterator<Item = DataClass>>(classes: I) -> Self {
        let mut set = ClassSet::EMPTY;
        for class in classes {
            set.insert(class);
        }
        set
    }
}

impl fmt::Debug for ClassSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_class_counts_as_its_parents() {
        let health: DataClass = "personal.health".parse().unwrap();
        let closed = ClassSet::from_iter([health]).with_ancestors();
        assert!(closed.contains("personal".parse().unwrap()));
        assert!(!closed.contains("financial".parse().unwrap()));
    }

    #[test]
    fn a_word_outside_the_taxonomy_is_refused() {
        assert!("personal.shoe_size".parse::<DataClass>().is_err());
    }
}
