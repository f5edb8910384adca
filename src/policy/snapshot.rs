//! A policy set tied to one operator, its locations and its mechanisms, for the span of time in which none of
//! them changes by itself.
//!
//! The lowered rules answer ([`super::lower`]), and Cedar's own authorizer where it is to be compared with them or a rule
//! has no lowered form. Its errors do not decide: a rule that cannot be evaluated refuses everything. Mechanisms expire, memberships in blocs end and rules come into force, so a
//! snapshot knows until when it may be asked; its memo dies with it.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use cedar_policy::{Context, Entities, EntityUid, PolicySet, Request, RestrictedExpression};

use super::alike::alike;
use super::asking::{Asking, AtHome, Facts};
use super::compiled::Compiled;
use super::decision::{Decision, Frame};
use super::declared::{Declared, Statement};
use super::entities::{Holder, schema_error, uid};
use super::key::Key;
use super::lower::{self, Programs, Site};
use super::manifest::WordKind;
use super::mechanism::Scope;
use super::memo::{Memo, Packed};
use super::oracle::Oracle;
use super::{Action, Copies, PolicyError, Question, ReaderEntity, Rule};
use crate::config;
use crate::label::ClassSet;
use crate::label::class::DataClass;
use crate::locations::LocationFacts;
use crate::names::{Country, CountrySet, LocationId};

/// What the operator has configured.
#[derive(Debug, Clone)]
pub struct Setting {
    pub locations: Arc<[Arc<LocationFacts>]>,
    pub operator: config::Operator,
    pub mechanisms: Vec<config::Mechanism>,
    /// The first that is about a bucket counts.
    pub facts: Vec<config::Facts>,
}

/// The moment for which policies are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// What a clock shows. One that stands before the packs' own date is wrong: it must not take laws out of force,
    /// so that date counts instead.
    Clock(i64),
    /// As on that day, also one long past.
    AsOf(i64),
}

/// One in so many decisions that are worked out is worked out by Cedar too, and compared: one in each second at most,
/// for it takes Cedar thousands of times as long, and clients choose how many questions are new.
const SAMPLE: u64 = if cfg!(debug_assertions) { 1 } else { 64 };
const SAMPLES_APART: Duration = if cfg!(debug_assertions) { Duration::ZERO } else { Duration::from_secs(1) };

pub struct Snapshot {
    pub compiled: Arc<Compiled>,
    pub setting: Arc<Setting>,
    /// It answers for moments in `from..until`, in seconds since the Unix epoch.
    from: i64,
    until: i64,
    /// A moment inside of the span, never before the packs' own date.
    pub now: i64,
    pub scopes: Vec<Scope>,
    pub holder: Holder,
    /// The locations, as rules see them.
    sites: Vec<Site>,
    statements: Vec<Statement>,
    /// The members of each bloc, now.
    blocs: Vec<CountrySet>,
    /// What all of its decisions have in common.
    frame: Arc<Frame>,
    /// Countries that no rule, bloc or mechanism tells apart; found when a reader is unknown.
    alike: OnceLock<Vec<CountrySet>>,
    /// For each action, when first asked about.
    programs: [OnceLock<Programs>; 7],
    /// When Cedar is first asked.
    oracle: OnceLock<Oracle>,
    /// How many decisions were worked out.
    worked_out: AtomicU64,
    /// When Cedar was last asked for the sake of comparison.
    compared: Mutex<Option<Instant>>,
    memo: Memo,
    /// A number for each location's id, to find one by.
    ids: Vec<u64>,
}

/// Tells most ids apart by their length and ends.
fn fingerprint(id: &LocationId) -> u64 {
    let bytes = id.as_str().as_bytes();
    let length = bytes.len() as u64;
    match (bytes.first_chunk::<8>(), bytes.last_chunk::<8>()) {
        (Some(first), Some(last)) => {
            u64::from_le_bytes(*first) ^ u64::from_le_bytes(*last).rotate_left(29) ^ length
        }
        _ => bytes.iter().fold(length, |word, byte| word << 8 | u64::from(*byte)),
    }
}

/// One place that a question is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// By position in the configuration.
    Location(usize),
    Reader(Country),
}

/// Where bytes arrive.
pub struct Target {
    pub uid: EntityUid,
    pub country: Country,
    /// The target and the operator: all that a rule can reach.
    pub entities: Entities,
}

impl Snapshot {
    pub fn new(compiled: Arc<Compiled>, setting: Arc<Setting>, at: Moment) -> Result<Snapshot, PolicyError> {
        let scopes = setting
            .mechanisms
            .iter()
            .map(|mechanism| Scope::new(mechanism, &compiled.words))
            .collect::<Result<Vec<_>, _>>()?;
        let changes = scopes.iter().filter_map(|scope| scope.until);
        let changes = changes.chain(compiled.blocs.iter().flat_map(|bloc| bloc.changes()));
        let changes: BTreeSet<i64> = changes
            .chain(compiled.rules.iter().flat_map(|rule| rule.effective.into_iter().chain(rule.expires)))
            .collect();
        let now = match at {
            Moment::Clock(now) => now.max(compiled.as_of),
            Moment::AsOf(now) => now,
        };
        let statements = setting.facts.iter().map(|stated| Statement::new(stated, &compiled.words));
        let statements = statements.collect::<Result<Vec<_>, _>>()?;
        let from = changes.range(..=now).next_back().copied().unwrap_or(i64::MIN);
        let until = changes.range(now.saturating_add(1)..).next().copied().unwrap_or(i64::MAX);

        let sites = setting.locations.iter().enumerate();
        let sites = sites.map(|(index, facts)| {
            if setting.locations.iter().take(index).any(|other| other.id == facts.id) {
                return Err(PolicyError::DuplicateLocation(facts.id.clone()));
            }
            Site::location(index, facts, &compiled, now)
        });
        let frame = Frame {
            compiled: Arc::clone(&compiled),
            locations: Arc::clone(&setting.locations),
            mechanisms: scopes.iter().map(|scope| scope.used.clone()).collect(),
        };
        let snapshot = Snapshot {
            sites: sites.collect::<Result<_, _>>()?,
            holder: Holder::new(&setting.operator, &compiled.words)?,
            blocs: compiled.blocs.iter().map(|bloc| bloc.members(now)).collect(),
            frame: Arc::new(frame),
            alike: OnceLock::new(),
            programs: [const { OnceLock::new() }; 7],
            oracle: OnceLock::new(),
            worked_out: AtomicU64::new(0),
            compared: Mutex::new(None),
            memo: Memo::new(),
            ids: setting.locations.iter().map(|facts| fingerprint(&facts.id)).collect(),
            statements,
            compiled,
            setting,
            from,
            until,
            now,
            scopes,
        };
        if !snapshot.compiled.made.is_probed() {
            snapshot.probe()?;
            snapshot.compiled.made.set_probed();
        }
        Ok(snapshot)
    }

    /// Makes what every write needs, which is otherwise made when it is first asked for.
    pub fn warm(&self) -> Result<(), PolicyError> {
        self.oracle()?;
        self.programs(Action::Store, ReaderEntity::Other).map(|_| ())
    }

    /// What Cedar is asked with.
    pub fn oracle(&self) -> Result<&Oracle, PolicyError> {
        if let Some(oracle) = self.oracle.get() {
            return Ok(oracle);
        }
        let oracle = Oracle::new(&self.compiled, &self.holder, self.setting.locations.len(), self.now)?;
        Ok(self.oracle.get_or_init(|| oracle))
    }

    /// The members of each bloc, now.
    pub fn blocs(&self) -> &[CountrySet] {
        &self.blocs
    }

    /// Countries that no rule, bloc or mechanism tells apart.
    pub fn alike(&self) -> &[CountrySet] {
        self.alike.get_or_init(|| alike(&self.compiled, &self.scopes))
    }

    /// Whether it may be asked at this moment. A clock that stands before the packs' own date is wrong: it must
    /// not take laws out of force, so that date counts instead.
    pub fn is_valid_at(&self, now: i64) -> bool {
        (self.from..self.until).contains(&now.max(self.compiled.as_of))
    }

    /// Packs a question.
    pub fn key(&self, question: &Question<'_>) -> Key {
        Key {
            action: question.action,
            classes: question.classes,
            subjects: question.subjects,
            held_in: question.held_in,
            home: question.home.and_then(|home| self.position(home)).and_then(|n| u16::try_from(n).ok()),
            origin: question.origin.filter(|_| self.compiled.asks_origin),
            reader: question.reader.filter(|_| question.action == Action::Read),
            reader_entity: match question.action {
                Action::Read => question.reader_entity,
                _ => ReaderEntity::Other,
            },
            scanned_completely: question.scanned_completely,
            first_write: question.action == Action::Store && question.held_in.is_empty(),
            copies: match question.action {
                Action::Read => Copies::MayFollow,
                _ => question.copies,
            },
            declared: self
                .statements
                .iter()
                .position(|statement| statement.is_about(question))
                .and_then(|position| u16::try_from(position).ok()),
        }
    }

    /// What was stated of the object beside its labels.
    pub fn declared(&self, key: &Key) -> Declared {
        let statement = key.declared.and_then(|position| self.statements.get(usize::from(position)));
        statement.map(|statement| statement.declared).unwrap_or_default()
    }

    /// The answer, from memory if it was given before.
    pub fn answer(&self, key: &Key) -> Result<Arc<Decision>, PolicyError> {
        let packed = key.packed();
        match self.memo.find(&packed) {
            Some(decision) => Ok(decision),
            None => self.work_out(*key, packed),
        }
    }

    #[cold]
    fn work_out(&self, key: Key, packed: Packed) -> Result<Arc<Decision>, PolicyError> {
        let decision = Arc::new(self.evaluate(key)?);
        if self.is_sampled() {
            self.compare(key, &decision)?;
        }
        self.memo.remember(packed, Arc::clone(&decision));
        Ok(decision)
    }

    /// Whether the decision that was just worked out is one of those that Cedar is asked about too.
    fn is_sampled(&self) -> bool {
        if !self.worked_out.fetch_add(1, Ordering::Relaxed).is_multiple_of(SAMPLE) {
            return false;
        }
        let mut compared = self.compared.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let is_due = compared.is_none_or(|last| now.duration_since(last) >= SAMPLES_APART);
        if is_due {
            *compared = Some(now);
        }
        is_due
    }

    /// Puts the same question to Cedar. Where the two differ nobody knows who is right, so nothing is allowed.
    fn compare(&self, key: Key, decision: &Decision) -> Result<(), PolicyError> {
        if self.evaluate_by_cedar(key)? == *decision {
            return Ok(());
        }
        tracing::error!(policy = %self.compiled.hash.0, "a lowered decision differs from Cedar's");
        Err(PolicyError::Disagreement)
    }

    /// The answer, worked out.
    pub fn evaluate(&self, key: Key) -> Result<Decision, PolicyError> {
        let told = lower::told(self, &key)?;
        Ok(Decision::new(Arc::clone(&self.frame), key.action, told))
    }

    /// The answer by Cedar's own authorizer: slow, and what [`Snapshot::evaluate`] is measured against.
    pub fn evaluate_by_cedar(&self, key: Key) -> Result<Decision, PolicyError> {
        let mut asking = Asking::new(self, &key);
        let verdicts = match key.action {
            Action::Read => vec![match key.reader {
                Some(country) => asking.verdict(self.reader(country, key.reader_entity)?, AtHome::No)?,
                None => asking.unknown_reader(&key)?,
            }],
            _ => {
                let mut verdicts = Vec::with_capacity(self.sites.len());
                for index in 0..self.sites.len() {
                    verdicts.push(asking.verdict(self.location(index)?, key.at_home(index))?);
                }
                verdicts
            }
        };
        Ok(Decision::of_verdicts(Arc::clone(&self.frame), key.action, verdicts))
    }

    /// The rules for an action over all of its places, lowered when they are first asked about. For reads there is
    /// one for each kind of reader.
    pub fn programs(&self, action: Action, reader: ReaderEntity) -> Result<&Programs, PolicyError> {
        let slot = match (action, reader) {
            (Action::Store, _) => &self.programs[0],
            (Action::Replicate, _) => &self.programs[1],
            (Action::Relocate, _) => &self.programs[2],
            (Action::Commit, _) => &self.programs[3],
            (Action::Read, ReaderEntity::Same) => &self.programs[4],
            (Action::Read, ReaderEntity::Other) => &self.programs[5],
            (Action::Read, ReaderEntity::Authority) => &self.programs[6],
        };
        if let Some(programs) = slot.get() {
            return Ok(programs);
        }
        let programs = match action {
            Action::Read => {
                let site = |country| Site::reader(country, reader, &self.compiled, self.now);
                Programs::compile(self, action, reader, &Country::all().map(site).collect::<Vec<_>>())?
            }
            _ => Programs::compile(self, action, reader, &self.sites)?,
        };
        Ok(slot.get_or_init(|| programs))
    }

    /// Ids of the rules that have no lowered form and are evaluated by Cedar each time, which is slow.
    pub fn slow_rules(&self) -> Result<Vec<String>, PolicyError> {
        let mut slow = BTreeSet::new();
        for action in [Action::Store, Action::Replicate, Action::Relocate, Action::Commit, Action::Read] {
            let programs = self.programs(action, ReaderEntity::Other)?.0.iter();
            slow.extend(programs.flat_map(|program| program.slow()));
        }
        let rules = slow.into_iter().filter_map(|index| self.compiled.rules.get(index));
        Ok(rules.map(|rule| rule.rule.id.to_string()).collect())
    }

    /// Whether it would be allowed at this place if exactly these mechanisms (positions in the schema) were in
    /// force and these countries held a copy.
    pub fn would_allow(
        &self,
        key: Key,
        place: Place,
        kinds: &[usize],
        held_in: CountrySet,
    ) -> Result<bool, PolicyError> {
        let key = Key { held_in, ..key };
        let (target, home) = self.arrival(&key, place)?;
        let mut asking = Asking::new(self, &key);
        Ok(asking.judge(target, kinds, home)?.0)
    }

    /// Whether the gates allow the one place of this question, by Cedar's own authorizer, and the rules that decided.
    pub fn gate_by_cedar(&self, key: &Key) -> Result<(bool, Vec<Arc<Rule>>), PolicyError> {
        let (target, home) = self.only_place(key)?;
        let kinds = self.mechanisms_for(key, target.country);
        Asking::new(self, key).gate(target, &kinds, home)
    }

    /// Whether any of these policies holds for the one place of this question, whatever they are for.
    pub fn satisfies(&self, key: &Key, policies: &PolicySet) -> Result<bool, PolicyError> {
        let (target, home) = self.only_place(key)?;
        Asking::new(self, key).holds(policies, target, home)
    }

    /// The one place of a question about the first location, or about a reader.
    pub fn only_place(&self, key: &Key) -> Result<(&Target, AtHome), PolicyError> {
        self.arrival(
            key,
            match (key.action, key.reader) {
                (Action::Read, Some(country)) => Place::Reader(country),
                _ => Place::Location(0),
            },
        )
    }

    /// Where bytes would arrive, and whether that is the bucket's home.
    pub fn arrival(&self, key: &Key, place: Place) -> Result<(&Target, AtHome), PolicyError> {
        let home = match place {
            Place::Reader(_) => AtHome::No,
            Place::Location(index) => key.at_home(index),
        };
        Ok((self.target(place, key.reader_entity)?, home))
    }

    /// The mechanisms that are in force for this question in `country`, as positions in the schema.
    pub fn mechanisms_for(&self, key: &Key, country: Country) -> Vec<usize> {
        self.in_force(country, Facts::new(key, self).held)
    }

    pub fn position(&self, location: &LocationId) -> Option<usize> {
        let wanted = fingerprint(location);
        let mut alike = self.ids.iter().enumerate().filter(|(_, id)| **id == wanted).map(|(index, _)| index);
        alike.find(|index| self.setting.locations.get(*index).is_some_and(|place| place.id == *location))
    }

    /// A location as Cedar sees it, by its position in the configuration.
    pub fn location(&self, index: usize) -> Result<&Target, PolicyError> {
        let facts = self.setting.locations.get(index);
        let facts = facts.ok_or_else(|| PolicyError::Question("no such location".to_owned()))?;
        self.oracle()?.location(index, facts, &self.compiled, self.now)
    }

    /// A reader as Cedar sees it.
    pub fn reader(&self, country: Country, entity: ReaderEntity) -> Result<&Target, PolicyError> {
        self.oracle()?.reader(country, entity, &self.compiled, self.now)
    }

    /// A place as Cedar sees it.
    pub fn target(&self, place: Place, reader: ReaderEntity) -> Result<&Target, PolicyError> {
        match place {
            Place::Location(index) => self.location(index),
            Place::Reader(country) => self.reader(country, reader),
        }
    }

    /// Which kinds of mechanisms count for these classes at a place in `country`, as positions in the schema.
    pub fn in_force(&self, country: Country, classes: ClassSet) -> Vec<usize> {
        let covering = self.scopes.iter().filter(|scope| scope.covers(country, classes, self.now));
        let kinds: BTreeSet<usize> = covering.filter_map(|scope| self.kind(&scope.used.kind)).collect();
        kinds.into_iter().collect()
    }

    pub fn kind(&self, word: &str) -> Option<usize> {
        self.compiled.words.find(WordKind::Mechanism, word)
    }

    /// Puts one question of each kind with the schema's own checks on, so that a schema which this version
    /// cannot fill is refused when it is loaded and not when a client asks.
    fn probe(&self) -> Result<(), PolicyError> {
        let facts = Facts::default();
        let reader =
            Country::all().next().map(|country| self.reader(country, ReaderEntity::Other)).transpose()?;
        let location = if self.sites.is_empty() { None } else { Some(self.location(0)?) };
        for target in location.into_iter().chain(reader) {
            let at_rest = target.uid.type_name().basename() == "Location";
            let actions: &[&str] = match at_rest {
                true => &["Store", "Replicate", "Relocate", "Commit", "Oblige", "Ground"],
                false => &["Read", "Oblige", "Ground"],
            };
            for action in actions {
                let context = self.context(&facts, &[], AtHome::No)?;
                let action = uid("Action", action)?;
                let schema = Some(&self.compiled.schema);
                Request::new(self.oracle()?.operator.clone(), action, target.uid.clone(), context, schema)
                    .map_err(schema_error)?;
            }
        }
        Ok(())
    }

    pub fn context(&self, facts: &Facts, kinds: &[usize], home: AtHome) -> Result<Context, PolicyError> {
        let words = self.compiled.literals()?;
        let countries = |set: CountrySet| {
            RestrictedExpression::new_set(
                set.iter().map(|country| words.country(country)).collect::<Vec<_>>(),
            )
        };
        let pick = |from: &[RestrictedExpression], which: &[usize]| {
            RestrictedExpression::new_set(
                which.iter().filter_map(|n| from.get(*n)).cloned().collect::<Vec<_>>(),
            )
        };
        let classes: Vec<usize> = facts.classes.iter().map(DataClass::index).collect();
        let subject_blocs = self.blocs.iter().enumerate();
        let subject_blocs = subject_blocs.filter(|(_, members)| members.meets(&facts.subjects));
        let subject_blocs: Vec<usize> = subject_blocs.map(|(index, _)| index).collect();
        let flag = RestrictedExpression::new_bool;
        let bits =
            |bits: u128, length: usize| (0..length).filter(move |n| bits >> n & 1 == 1).collect::<Vec<_>>();
        let pairs = [
            ("sensitiveIn", pick(&words.regimes, &bits(facts.sensitive_in.into(), words.regimes.len()))),
            ("collectedIn", countries(facts.collected_in)),
            ("serviceIn", countries(facts.service_in)),
            ("under", countries(facts.under)),
            ("keyCountries", countries(facts.key_countries)),
            ("firstWrite", flag(facts.first_write)),
            ("attrs", pick(&words.attrs, &bits(facts.attrs, words.attrs.len().min(128)))),
            ("classes", pick(&words.classes, &classes)),
            ("subjects", countries(facts.subjects)),
            ("subjectBlocs", pick(&words.blocs, &subject_blocs)),
            ("uncoveredSubjects", countries(facts.uncovered)),
            ("labelled", flag(facts.labelled)),
            ("scannedCompletely", flag(facts.scanned_completely)),
            ("regulated", flag(facts.regulated)),
            ("origin", countries(facts.origin.into_iter().collect())),
            ("heldIn", countries(facts.held_in)),
            ("mechanisms", pick(&words.mechanisms, kinds)),
            ("atHome", flag(home == AtHome::Yes)),
        ];
        Context::from_pairs(pairs.map(|(name, value)| (name.to_owned(), value)))
            .map_err(|error| PolicyError::Question(error.to_string()))
    }
}
