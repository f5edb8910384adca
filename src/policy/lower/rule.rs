//! One rule over given places: a condition on the object, with everything else filled in.

use super::Lanes;
use super::fixed::{Answers, Site};
use super::form::Form;
use crate::label::ClassSet;
use crate::names::CountrySet;

/// A condition over all places at once.
#[derive(Debug, Clone, PartialEq)]
pub enum Test {
    /// Known when it was loaded. Asking it about a place among `errors` is an error, as it is in Cedar.
    Places {
        holds: Lanes,
        errors: Lanes,
    },
    All(Vec<Test>),
    Any(Vec<Test>),
    Not(Box<Test>),
    Flag(Flag),
    AtHome,
    /// The kind of mechanism counts.
    Mechanism(usize),
    Countries(CountryVar, CountryTest),
    Classes(ClassTest),
    /// The subjects are in one of these blocs (positions, as bits).
    SubjectBlocs(u64),
    /// It is sensitive under one of these laws (positions, as bits).
    SensitiveIn(u64),
    /// It has one of these attributes (positions, as bits).
    Attrs(u128),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flag {
    Labelled,
    ScannedCompletely,
    Regulated,
    FirstWrite,
}

/// A set of countries that comes with the question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CountryVar {
    Subjects,
    Uncovered,
    Origin,
    HeldIn,
    CollectedIn,
    ServiceIn,
    Under,
    KeyCountries,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum CountryTest {
    Meets(CountrySet),
    Holds(CountrySet),
    IsWithin(CountrySet),
    Is(CountrySet),
    /// The country of the place is one of them.
    HoldsPlace,
    /// They are the country of the place and no other.
    IsPlace,
    /// None of them is another country than that of the place.
    IsWithinPlace,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ClassTest {
    Meets(ClassSet),
    Holds(ClassSet),
    IsWithin(ClassSet),
    Is(ClassSet),
}

impl Test {
    /// The condition over these places. All and any keep the order of the rule, in which a part is asked only about
    /// places where the parts before it leave the answer open, as Cedar does.
    pub fn new(form: &Form, answers: &Answers<'_>, sites: &[Site]) -> Test {
        let parts = |forms: &[Form]| forms.iter().map(|form| Test::new(form, answers, sites)).collect();
        match form {
            Form::All(forms) => Test::All(parts(forms)),
            Form::Any(forms) => Test::Any(parts(forms)),
            Form::Not(form) => Test::Not(Box::new(Test::new(form, answers, sites))),
            Form::Object(test) => test.clone(),
            Form::Fixed(fixed) => {
                let (holds, errors) = answers.places(fixed, sites);
                Test::Places { holds, errors }
            }
        }
    }
}

impl ClassTest {
    pub fn holds(self, classes: ClassSet) -> bool {
        match self {
            ClassTest::Meets(other) => classes.meets(other),
            ClassTest::Holds(other) => other.is_subset(classes),
            ClassTest::IsWithin(other) => classes.is_subset(other),
            ClassTest::Is(other) => classes == other,
        }
    }
}

impl CountryVar {
    pub fn named(attribute: &str) -> Option<CountryVar> {
        Some(match attribute {
            "subjects" => CountryVar::Subjects,
            "uncoveredSubjects" => CountryVar::Uncovered,
            "origin" => CountryVar::Origin,
            "heldIn" => CountryVar::HeldIn,
            "collectedIn" => CountryVar::CollectedIn,
            "serviceIn" => CountryVar::ServiceIn,
            "under" => CountryVar::Under,
            "keyCountries" => CountryVar::KeyCountries,
            _ => return None,
        })
    }
}
