//! What the policies answered, and the permits that follow from it.
//!
//! A [`Decision`] is made by the engine and by nobody else, and a [`Permit`] or [`ReadPermit`] only by a decision
//! that allows it: whoever holds one proves that the policies were asked and said yes.

use std::fmt;
use std::sync::{Arc, LazyLock, OnceLock};

use super::compiled::{Compiled, Role};
use super::lower::{Places, Told, What, Words};
use super::mechanism::MechanismUse;
use super::{Action, Obligation, PolicyHash, Rule};
use crate::locations::LocationFacts;
use crate::names::{Country, LocationId};

/// The answer to one question.
///
/// What is allowed is known when it is made. The rules and duties behind it are put together when they are first asked
/// for: most answers are only looked at for the places.
pub struct Decision {
    frame: Arc<Frame>,
    action: Action,
    allowed: LocationSet,
    allows_any: bool,
    told: Told,
    reasons: OnceLock<Reasons>,
}

/// What all decisions of a snapshot have in common.
pub(super) struct Frame {
    pub compiled: Arc<Compiled>,
    pub locations: Arc<[Arc<LocationFacts>]>,
    /// As configured.
    pub mechanisms: Vec<MechanismUse>,
}

/// What stands behind a decision.
#[derive(Debug, PartialEq)]
struct Reasons {
    /// One for each location in configured order; a read has just one.
    verdicts: Box<[Verdict]>,
    rules: Vec<Arc<Rule>>,
    obligations: Vec<Obligation>,
    mechanisms: Vec<MechanismUse>,
}

/// The answer for one place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    pub allowed: bool,
    /// The permits if it is allowed, otherwise the prohibitions.
    pub rules: Vec<Arc<Rule>>,
    pub obligations: Vec<Obligation>,
    /// Rules that made the obligations due.
    pub duties: Vec<Arc<Rule>>,
    /// Provisions on which the permission rests.
    pub grounds: Vec<Arc<Rule>>,
    /// Mechanisms without which it would have been refused.
    pub mechanisms: Vec<MechanismUse>,
}

impl Verdict {
    /// Adds a duty that is due for bytes that arrive in `country`.
    pub fn owe(&mut self, rule: &Arc<Rule>, obligation: &Obligation, country: Country) {
        extend(&mut self.obligations, &[obligation.at(country)]);
        extend(&mut self.duties, std::slice::from_ref(rule));
    }

    /// Adds what stands behind another place that is allowed, too.
    pub fn join(&mut self, other: &Verdict) {
        extend(&mut self.rules, &other.rules);
        extend(&mut self.obligations, &other.obligations);
        extend(&mut self.duties, &other.duties);
        extend(&mut self.grounds, &other.grounds);
        extend(&mut self.mechanisms, &other.mechanisms);
    }
}

impl Reasons {
    fn new(verdicts: Vec<Verdict>) -> Reasons {
        let (mut rules, mut obligations, mut mechanisms) = (Vec::new(), Vec::new(), Vec::new());
        for verdict in &verdicts {
            extend(&mut rules, &verdict.rules);
            extend(&mut rules, &verdict.grounds);
            extend(&mut rules, &verdict.duties);
            extend(&mut obligations, &verdict.obligations);
            extend(&mut mechanisms, &verdict.mechanisms);
        }
        Reasons { verdicts: verdicts.into(), rules, obligations, mechanisms }
    }
}

impl PartialEq for Decision {
    /// The same policies said the same for the same reasons.
    fn eq(&self, other: &Self) -> bool {
        (self.policy(), self.action, self.allows_any) == (other.policy(), other.action, other.allows_any)
            && self.allowed == other.allowed
            && self.reasons() == other.reasons()
    }
}

impl fmt::Debug for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decision")
            .field("policy", self.policy())
            .field("action", &self.action)
            .field("allowed", &self.allowed)
            .field("reasons", self.reasons())
            .finish()
    }
}

impl Decision {
    pub(super) fn new(frame: Arc<Frame>, action: Action, told: Told) -> Decision {
        let places = Arc::clone(&frame.locations);
        let (allowed, allows_any) = match &told.places {
            Places::Locations => (told.allowed.clone(), !told.allowed.is_empty()),
            // A read arrives at no location.
            Places::Reader(country) => (Words::default(), told.allowed.has(country.index())),
            Places::Readers(_) => (Words::default(), true),
        };
        let allowed = LocationSet { places, bits: allowed };
        Decision { frame, action, allowed, allows_any, told, reasons: OnceLock::new() }
    }

    /// From verdicts that were reached place by place.
    pub(super) fn of_verdicts(frame: Arc<Frame>, action: Action, verdicts: Vec<Verdict>) -> Decision {
        let mut bits = Words::default();
        let allowing = verdicts.iter().enumerate().filter(|(_, verdict)| verdict.allowed);
        allowing.filter(|_| action != Action::Read).for_each(|(index, _)| bits.insert(index));
        Decision {
            action,
            allowed: LocationSet { places: Arc::clone(&frame.locations), bits },
            allows_any: verdicts.iter().any(|verdict| verdict.allowed),
            told: Told::default(),
            reasons: OnceLock::from(Reasons::new(verdicts)),
            frame,
        }
    }

    /// The same question, answered anew place by place.
    pub(super) fn with_verdicts(&self, verdicts: Vec<Verdict>) -> Decision {
        Decision::of_verdicts(Arc::clone(&self.frame), self.action, verdicts)
    }

    /// Hash of the policy set that answered.
    pub fn policy(&self) -> &PolicyHash {
        &self.frame.compiled.hash
    }

    pub fn action(&self) -> Action {
        self.action
    }

    /// The locations where the bytes may arrive. Empty for a read, which arrives at none.
    pub fn allowed(&self) -> &LocationSet {
        &self.allowed
    }

    /// Whether anything is allowed: some location, or the read.
    pub fn is_allowed(&self) -> bool {
        self.allows_any
    }

    /// Every rule that decided: permits of what is allowed, prohibitions of what is not, and duties.
    pub fn rules(&self) -> &[Arc<Rule>] {
        &self.reasons().rules
    }

    /// Duties that are due at any allowed place; [`Permit::obligations`] has those of one.
    pub fn obligations(&self) -> &[Obligation] {
        &self.reasons().obligations
    }

    /// Mechanisms that any allowed place depends on; [`Permit::mechanisms`] has those of one.
    pub fn mechanisms(&self) -> &[MechanismUse] {
        &self.reasons().mechanisms
    }

    /// The permit for one location, if the decision allows it.
    pub fn permit(self: &Arc<Self>, location: &LocationId) -> Option<Permit> {
        let index = self.allowed.position(location)?;
        self.allowed.has(index).then(|| Permit { decision: Arc::clone(self), index })
    }

    /// The permit for the reader, if this was a question about a read and it is allowed.
    pub fn read_permit(self: &Arc<Self>) -> Option<ReadPermit> {
        (self.action == Action::Read && self.is_allowed()).then(|| ReadPermit { decision: Arc::clone(self) })
    }

    /// Why nothing is allowed. `None` when something is.
    pub fn refusal(&self) -> Option<Refusal> {
        if self.is_allowed() {
            return None;
        }
        Some(Refusal::of(self.action, self.verdicts().iter()))
    }

    /// Why one location is refused. `None` when it is allowed or not configured.
    pub fn refusal_at(&self, location: &LocationId) -> Option<Refusal> {
        let verdict = self.verdict_at(location).filter(|verdict| !verdict.allowed)?;
        Some(Refusal::of(self.action, std::iter::once(verdict)))
    }

    pub(super) fn verdicts(&self) -> &[Verdict] {
        &self.reasons().verdicts
    }

    fn reasons(&self) -> &Reasons {
        self.reasons.get_or_init(|| {
            let verdicts = match &self.told.places {
                Places::Locations => {
                    let places = self.frame.locations.iter().enumerate();
                    places.map(|(index, facts)| self.verdict(index, facts.country)).collect()
                }
                Places::Reader(country) => vec![self.verdict(country.index(), *country)],
                Places::Readers(countries) => {
                    let mut all = Verdict { allowed: true, ..Verdict::default() };
                    for country in countries {
                        all.join(&self.verdict(country.index(), *country));
                    }
                    vec![all]
                }
            };
            Reasons::new(verdicts)
        })
    }

    /// What was told of one place, in the words in which Cedar's authorizer would answer.
    fn verdict(&self, place: usize, country: Country) -> Verdict {
        let refused = |rules| Verdict { rules, ..Verdict::default() };
        let here = |what: What| {
            let held = self.told.held.iter().filter(move |held| held.what == what && held.is_at(place));
            let mut here: Vec<usize> = held.map(|held| held.index as usize).collect();
            if what != What::Mechanism {
                here.sort_unstable();
            }
            here
        };
        let compiled =
            |what: What| here(what).into_iter().filter_map(|index| self.frame.compiled.rules.get(index));
        let rules = |what: What| compiled(what).map(|rule| Arc::clone(&rule.rule)).collect::<Vec<_>>();
        if !here(What::Failed).is_empty() {
            return refused(vec![evaluation_error()]);
        }
        if !self.told.allowed.has(place) {
            let mut rules = rules(What::Forbid);
            if rules.is_empty() {
                rules.push(default_deny());
            }
            return refused(rules);
        }
        let mechanisms = here(What::Mechanism).into_iter();
        let mut verdict = Verdict {
            allowed: true,
            rules: rules(What::Permit),
            grounds: rules(What::Ground),
            mechanisms: mechanisms.filter_map(|index| self.frame.mechanisms.get(index)).cloned().collect(),
            ..Verdict::default()
        };
        for rule in compiled(What::Duty) {
            if let Role::Duty(obligation) = &rule.role {
                verdict.owe(&rule.rule, obligation, country);
            }
        }
        verdict
    }

    fn verdict_at(&self, location: &LocationId) -> Option<&Verdict> {
        if self.action == Action::Read {
            return None;
        }
        self.verdicts().get(self.allowed.position(location)?)
    }
}

/// Adds what is not there yet, keeping the order.
pub(super) fn extend<T: Clone + PartialEq>(list: &mut Vec<T>, more: &[T]) {
    for item in more {
        if !list.contains(item) {
            list.push(item.clone());
        }
    }
}

/// A subset of the configured locations; any number of them.
#[derive(Clone)]
pub struct LocationSet {
    places: Arc<[Arc<LocationFacts>]>,
    bits: Words,
}

impl LocationSet {
    fn has(&self, index: usize) -> bool {
        self.bits.has(index)
    }

    fn position(&self, location: &LocationId) -> Option<usize> {
        self.places.iter().position(|place| place.id == *location)
    }

    pub fn contains(&self, location: &LocationId) -> bool {
        self.position(location).is_some_and(|index| self.has(index))
    }

    pub fn is_empty(&self) -> bool {
        self.bits.is_empty()
    }

    pub fn len(&self) -> usize {
        self.bits.len()
    }

    /// The members in configured order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<LocationFacts>> {
        self.places.iter().enumerate().filter(|(index, _)| self.has(*index)).map(|(_, place)| place)
    }
}

impl PartialEq for LocationSet {
    fn eq(&self, other: &Self) -> bool {
        self.iter().map(|place| &place.id).eq(other.iter().map(|place| &place.id))
    }
}

impl Eq for LocationSet {}

impl fmt::Debug for LocationSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().map(|place| &place.id)).finish()
    }
}

/// Proof that a decision allows bytes to arrive at one location.
#[derive(Debug, Clone)]
pub struct Permit {
    decision: Arc<Decision>,
    index: usize,
}

impl Permit {
    pub fn decision(&self) -> &Arc<Decision> {
        &self.decision
    }

    pub fn location(&self) -> &LocationFacts {
        // A permit is made only for an index of the set that it was found in.
        &self.decision.allowed.places[self.index]
    }

    /// Duties that are due when the bytes arrive there.
    pub fn obligations(&self) -> &[Obligation] {
        self.decision.verdicts().get(self.index).map_or(&[], |verdict| &verdict.obligations)
    }

    /// Mechanisms that this location depends on.
    pub fn mechanisms(&self) -> &[MechanismUse] {
        self.decision.verdicts().get(self.index).map_or(&[], |verdict| &verdict.mechanisms)
    }

    /// The rules behind it: permits, then the grounds it rests on, then duties.
    pub fn rules(&self) -> impl Iterator<Item = &Arc<Rule>> {
        self.decision
            .verdicts()
            .get(self.index)
            .into_iter()
            .flat_map(|v| v.rules.iter().chain(&v.grounds).chain(&v.duties))
    }
}

/// Proof that a decision allows bytes to leave towards the reader that was asked about.
#[derive(Debug, Clone)]
pub struct ReadPermit {
    decision: Arc<Decision>,
}

impl ReadPermit {
    pub fn decision(&self) -> &Arc<Decision> {
        &self.decision
    }
}

/// Why nothing is allowed, in words for the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The rule that refuses most places.
    pub rule: Arc<Rule>,
    /// Every rule that refuses some place, the first being [`Refusal::rule`].
    pub rules: Vec<Arc<Rule>>,
    /// Names each rule with its citation, its explanation and its remedy.
    pub message: String,
    /// The first rule's remedy.
    pub remedy: Arc<str>,
}

impl Refusal {
    fn of<'a>(action: Action, verdicts: impl Iterator<Item = &'a Verdict>) -> Refusal {
        let mut counted: Vec<(usize, Arc<Rule>)> = Vec::new();
        for rule in verdicts.flat_map(|verdict| &verdict.rules) {
            match counted.iter_mut().find(|(_, seen)| seen.id == rule.id) {
                Some((count, _)) => *count += 1,
                None => counted.push((1, Arc::clone(rule))),
            }
        }
        // Stable: among equals the order of the packs stays.
        counted.sort_by_key(|(count, _)| std::cmp::Reverse(*count));
        let mut rules: Vec<_> = counted.into_iter().map(|(_, rule)| rule).collect();
        if rules.is_empty() {
            rules.push(Arc::new(no_location()));
        }
        let rule = Arc::clone(&rules[0]);
        Refusal { message: message(action, &rules), remedy: Arc::clone(&rule.remedy), rule, rules }
    }
}

fn message(action: Action, rules: &[Arc<Rule>]) -> String {
    let mut text = match action {
        Action::Read => "This object may not be read from here.".to_owned(),
        _ => "This object may not be placed here.".to_owned(),
    };
    if rules.len() > 1 {
        text.push_str(&format!(" {} rules stand against it, and all of them must be met.", rules.len()));
    }
    for rule in rules {
        text.push_str(&format!(" {}: {} Remedy: {}", rule.citation(), rule.explain, rule.remedy));
    }
    text
}

/// For a refusal that no prohibition made: no permit applied.
pub(super) fn default_deny() -> Arc<Rule> {
    static RULE: LazyLock<Arc<Rule>> = LazyLock::new(|| {
        Arc::new(own_rule(
            "BASE-DEFAULT-DENY",
            "default deny",
            "No permit of the base pack applies, and what is not permitted is refused.",
            "Label the object: tags `data-class` and `subject-country`.",
        ))
    });
    Arc::clone(&RULE)
}

/// For a rule that could not be evaluated: Cedar would skip it, we refuse.
pub(super) fn evaluation_error() -> Arc<Rule> {
    static RULE: LazyLock<Arc<Rule>> = LazyLock::new(|| {
        Arc::new(own_rule(
            "BASE-EVALUATION-ERROR",
            "fail closed",
            "A rule could not be evaluated, so nothing is allowed.",
            "Ask the administrator to run `domicile policy check`.",
        ))
    });
    Arc::clone(&RULE)
}

fn no_location() -> Rule {
    own_rule("BASE-NO-LOCATION", "fail closed", "No location is configured.", "Configure a location.")
}

fn own_rule(id: &str, article: &str, explain: &str, remedy: &str) -> Rule {
    Rule {
        id: id.into(),
        law: "Domicile base pack".into(),
        article: article.into(),
        explain: explain.into(),
        remedy: remedy.into(),
        confidence: "high".into(),
        pack: super::source::BASE.into(),
        part_of: id.into(),
    }
}
