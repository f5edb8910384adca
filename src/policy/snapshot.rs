//! A policy set tied to one operator, its locations and its mechanisms, for the span of time in which none of
//! them changes by itself.
//!
//! Cedar's own authorizer answers, once for each place. Its errors do not decide: a rule that cannot be
//! evaluated refuses everything. Mechanisms expire, memberships in blocs end and rules come into force, so a
//! snapshot knows until when it may be asked; its memo dies with it.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, OnceLock};

use cedar_policy::{
    Authorizer, Context, Entities, Entity, EntityId, EntityTypeName, EntityUid, PolicyId, PolicySet, Request,
    RestrictedExpression,
};

use super::compiled::{Compiled, Role};
use super::decision::{Decision, Verdict, default_deny, evaluation_error, extend};
use super::mechanism::{MechanismUse, Scope};
use super::memo::Memo;
use super::{Action, PolicyError, Question, Rule};
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
}

pub struct Snapshot {
    pub compiled: Arc<Compiled>,
    pub setting: Arc<Setting>,
    /// It answers for moments in `from..until`, in seconds since the Unix epoch.
    from: i64,
    until: i64,
    /// A moment inside of the span, never before the packs' own date.
    now: i64,
    gates: PolicySet,
    duties: PolicySet,
    /// Position of each rule in the compiled set.
    order: HashMap<PolicyId, usize>,
    scopes: Vec<Scope>,
    words: Literals,
    operator: (EntityUid, Entity),
    locations: Vec<Target>,
    /// Made when first asked about, by country.
    readers: Box<[OnceLock<Target>]>,
    /// Countries that no rule, bloc or mechanism tells apart.
    alike: Vec<CountrySet>,
    memo: Memo<Key, Decision>,
}

/// A question in packed form. Bucket and app are not in it: the schema does not show them to policies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key {
    action: Action,
    classes: ClassSet,
    subjects: CountrySet,
    held_in: CountrySet,
    home: Option<u16>,
    origin: Option<Country>,
    reader: Option<Country>,
    scanned_completely: bool,
}

/// One place that a question is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// By position in the configuration.
    Location(usize),
    Reader(Country),
}

/// Where bytes arrive.
struct Target {
    uid: EntityUid,
    country: Country,
    /// The target and the operator: all that a rule can reach.
    entities: Entities,
}

impl Snapshot {
    pub fn new(compiled: Arc<Compiled>, setting: Arc<Setting>, now: i64) -> Result<Snapshot, PolicyError> {
        let scopes = setting
            .mechanisms
            .iter()
            .map(|mechanism| Scope::new(mechanism, &compiled.words.mechanisms))
            .collect::<Result<Vec<_>, _>>()?;
        let changes = scopes.iter().filter_map(|scope| scope.until);
        let changes = changes.chain(compiled.blocs.iter().flat_map(|bloc| bloc.changes()));
        let changes: BTreeSet<i64> =
            changes.chain(compiled.rules.iter().filter_map(|rule| rule.effective)).collect();
        let now = now.max(compiled.as_of);
        let from = changes.range(..=now).next_back().copied().unwrap_or(i64::MIN);
        let until = changes.range(now.saturating_add(1)..).next().copied().unwrap_or(i64::MAX);

        let (mut gates, mut duties, mut order) = (PolicySet::new(), PolicySet::new(), HashMap::new());
        for (index, rule) in compiled.rules.iter().enumerate() {
            if rule.effective.is_some_and(|effective| effective <= now) {
                let set = if rule.role == Role::Gate { &mut gates } else { &mut duties };
                set.add(rule.policy.clone()).map_err(|error| PolicyError::Schema(error.to_string()))?;
            }
            order.insert(rule.policy.id().clone(), index);
        }

        let words = Literals::new(&compiled)?;
        let operator = operator_entity(&setting.operator, &compiled, &words)?;
        let mut snapshot = Snapshot {
            alike: alike(&compiled, &scopes),
            readers: Country::all().map(|_| OnceLock::new()).collect(),
            locations: Vec::with_capacity(setting.locations.len()),
            memo: Memo::new(),
            compiled,
            setting,
            from,
            until,
            now,
            gates,
            duties,
            order,
            scopes,
            words,
            operator,
        };
        for facts in Arc::clone(&snapshot.setting.locations).iter() {
            if snapshot.setting.locations.iter().filter(|other| other.id == facts.id).count() > 1 {
                return Err(PolicyError::DuplicateLocation(facts.id.clone()));
            }
            let target = snapshot.location_target(facts)?;
            snapshot.locations.push(target);
        }
        snapshot.probe()?;
        Ok(snapshot)
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
            scanned_completely: question.scanned_completely,
        }
    }

    /// The answer, from memory if it was given before.
    pub fn answer(&self, key: Key) -> Result<Arc<Decision>, PolicyError> {
        if let Some(decision) = self.memo.find(&key) {
            return Ok(decision);
        }
        let decision = Arc::new(self.evaluate(key)?);
        self.memo.remember(key, Arc::clone(&decision));
        Ok(decision)
    }

    /// The answer, worked out.
    pub fn evaluate(&self, key: Key) -> Result<Decision, PolicyError> {
        let facts = Facts::new(&key, self);
        let mut asking = Asking { snapshot: self, action: key.action, facts, contexts: Vec::new() };
        let verdicts = match key.action {
            Action::Read => vec![match key.reader {
                Some(country) => asking.verdict(self.reader(country)?, AtHome::No)?,
                None => asking.unknown_reader(&key)?,
            }],
            _ => {
                let mut verdicts = Vec::with_capacity(self.locations.len());
                for (index, target) in self.locations.iter().enumerate() {
                    let home = key.home.is_some_and(|home| usize::from(home) == index);
                    verdicts.push(asking.verdict(target, if home { AtHome::Yes } else { AtHome::No })?);
                }
                verdicts
            }
        };
        Ok(Decision::new(self.compiled.hash.clone(), key.action, &self.setting.locations, verdicts))
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
        let (target, home) = match place {
            Place::Reader(country) => (self.reader(country)?, AtHome::No),
            Place::Location(index) => {
                let target = self.locations.get(index);
                let home = key.home.is_some_and(|home| usize::from(home) == index);
                let target = target.ok_or_else(|| PolicyError::Question("no such location".to_owned()))?;
                (target, if home { AtHome::Yes } else { AtHome::No })
            }
        };
        let facts = Facts::new(&key, self);
        let mut asking = Asking { snapshot: self, action: key.action, facts, contexts: Vec::new() };
        Ok(asking.gate(target, kinds, home)?.0)
    }

    /// The mechanisms that are in force for this question in `country`, as positions in the schema.
    pub fn mechanisms_for(&self, key: &Key, country: Country) -> Vec<usize> {
        self.in_force(country, Facts::new(key, self).held)
    }

    pub fn position(&self, location: &LocationId) -> Option<usize> {
        self.setting.locations.iter().position(|place| place.id == *location)
    }

    fn location_target(&self, facts: &LocationFacts) -> Result<Target, PolicyError> {
        let known = &self.compiled.words.certs;
        let mut certs = Vec::with_capacity(facts.certifications.len());
        for word in &facts.certifications {
            if !known.contains(word) {
                return Err(PolicyError::UnknownCertification {
                    location: facts.id.clone(),
                    word: word.chars().take(80).collect(),
                    known: join(known.iter()),
                });
            }
            certs.push(literal("Cert", word)?);
        }
        let uid = uid("Location", facts.id.as_str())?;
        let attributes = HashMap::from([
            ("country".to_owned(), self.words.country(facts.country)),
            ("blocs".to_owned(), self.blocs_of(facts.country)),
            ("region".to_owned(), RestrictedExpression::new_string(facts.region.clone())),
            ("provider".to_owned(), RestrictedExpression::new_string(facts.provider.clone())),
            ("providerCountry".to_owned(), self.words.country(facts.provider_country)),
            ("providerBlocs".to_owned(), self.blocs_of(facts.provider_country)),
            ("certs".to_owned(), RestrictedExpression::new_set(certs)),
        ]);
        self.target(uid, facts.country, attributes)
    }

    fn reader(&self, country: Country) -> Result<&Target, PolicyError> {
        let slot = self
            .readers
            .get(country.index())
            .ok_or_else(|| PolicyError::Question("no such country".to_owned()))?;
        if let Some(target) = slot.get() {
            return Ok(target);
        }
        let attributes = HashMap::from([
            ("country".to_owned(), self.words.country(country)),
            ("blocs".to_owned(), self.blocs_of(country)),
        ]);
        let target = self.target(uid("Reader", country.code())?, country, attributes)?;
        Ok(slot.get_or_init(|| target))
    }

    fn target(
        &self,
        uid: EntityUid,
        country: Country,
        attributes: HashMap<String, RestrictedExpression>,
    ) -> Result<Target, PolicyError> {
        let entity = Entity::new(uid.clone(), attributes, HashSet::new()).map_err(schema_error)?;
        let entities =
            Entities::from_entities([entity, self.operator.1.clone()], Some(&self.compiled.schema))
                .map_err(schema_error)?;
        Ok(Target { uid, country, entities })
    }

    fn blocs_of(&self, country: Country) -> RestrictedExpression {
        let blocs = self.compiled.blocs.iter().zip(&self.words.blocs);
        let mine = blocs.filter(|(bloc, _)| bloc.contains(country, self.now)).map(|(_, word)| word.clone());
        RestrictedExpression::new_set(mine)
    }

    /// Which kinds of mechanisms count for these classes at a place in `country`, as positions in the schema.
    fn in_force(&self, country: Country, classes: ClassSet) -> Vec<usize> {
        let covering = self.scopes.iter().filter(|scope| scope.covers(country, classes, self.now));
        let kinds: BTreeSet<usize> = covering.filter_map(|scope| self.kind(&scope.used.kind)).collect();
        kinds.into_iter().collect()
    }

    fn kind(&self, word: &str) -> Option<usize> {
        self.compiled.words.mechanisms.iter().position(|known| **known == *word)
    }

    fn rules_of<'a>(&self, ids: impl Iterator<Item = &'a PolicyId>) -> Vec<usize> {
        let mut found: Vec<usize> = ids.filter_map(|id| self.order.get(id).copied()).collect();
        found.sort_unstable();
        found
    }

    /// Puts one question of each kind with the schema's own checks on, so that a schema which this version
    /// cannot fill is refused when it is loaded and not when a client asks.
    fn probe(&self) -> Result<(), PolicyError> {
        let facts = Facts::default();
        let reader = Country::all().next().map(|country| self.reader(country)).transpose()?;
        let targets = self.locations.iter().take(1).chain(reader);
        for target in targets {
            let at_rest = target.uid.type_name().basename() == "Location";
            let actions: &[&str] =
                if at_rest { &["Store", "Replicate", "Relocate", "Oblige"] } else { &["Read", "Oblige"] };
            for action in actions {
                let context = self.context(&facts, &[], AtHome::No)?;
                let action = uid("Action", action)?;
                let schema = Some(&self.compiled.schema);
                Request::new(self.operator.0.clone(), action, target.uid.clone(), context, schema)
                    .map_err(schema_error)?;
            }
        }
        Ok(())
    }

    fn context(&self, facts: &Facts, kinds: &[usize], home: AtHome) -> Result<Context, PolicyError> {
        let words = &self.words;
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
        let flag = RestrictedExpression::new_bool;
        let pairs = [
            ("classes", pick(&words.classes, &classes)),
            ("subjects", countries(facts.subjects)),
            ("subjectBlocs", pick(&words.blocs, &facts.subject_blocs)),
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

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AtHome {
    Yes,
    No,
}

/// What the policies are told about the object, apart from the place.
#[derive(Debug, Clone, Default)]
struct Facts {
    /// As labelled, with what is presumed: the classes that a mechanism must cover.
    held: ClassSet,
    /// Closed upwards.
    classes: ClassSet,
    subjects: CountrySet,
    subject_blocs: Vec<usize>,
    uncovered: CountrySet,
    labelled: bool,
    scanned_completely: bool,
    regulated: bool,
    origin: Option<Country>,
    held_in: CountrySet,
}

impl Facts {
    fn new(key: &Key, snapshot: &Snapshot) -> Facts {
        let labelled = !key.classes.is_empty();
        let mut held = key.classes;
        if !labelled && !key.scanned_completely {
            // Nobody knows what it is, so it is what binds most.
            held = DataClass::all().filter(|class| class.name() == "personal").collect();
        }
        let subject_blocs = snapshot.compiled.blocs.iter().enumerate();
        let subject_blocs = subject_blocs
            .filter(|(_, bloc)| key.subjects.iter().any(|country| bloc.contains(country, snapshot.now)))
            .map(|(index, _)| index);
        Facts {
            held,
            classes: held.with_ancestors(),
            subjects: key.subjects,
            subject_blocs: subject_blocs.collect(),
            uncovered: key.subjects.difference(snapshot.compiled.covers),
            labelled,
            scanned_completely: key.scanned_completely,
            regulated: held.iter().any(|class| class.name() != "non_personal"),
            origin: key.origin,
            held_in: key.held_in,
        }
    }
}

/// One question while it is put to many places; contexts are shared between places that see the same.
struct Asking<'a> {
    snapshot: &'a Snapshot,
    action: Action,
    facts: Facts,
    contexts: Vec<(Vec<usize>, AtHome, Context)>,
}

impl Asking<'_> {
    fn verdict(&mut self, target: &Target, home: AtHome) -> Result<Verdict, PolicyError> {
        let kinds = self.snapshot.in_force(target.country, self.facts.held);
        let (allowed, rules) = self.gate(target, &kinds, home)?;
        if !allowed {
            return Ok(Verdict { rules, ..Verdict::default() });
        }
        let mechanisms = self.needed(target, &kinds, home)?;
        let mut verdict = Verdict { allowed: true, rules, mechanisms, ..Verdict::default() };
        self.oblige(target, &kinds, home, &mut verdict)?;
        Ok(verdict)
    }

    /// An unknown reader may read what every country may read. Countries that nothing tells apart are asked once.
    fn unknown_reader(&mut self, key: &Key) -> Result<Verdict, PolicyError> {
        let named: CountrySet = key.subjects.union(key.held_in).iter().chain(key.origin).collect();
        let stand_ins = self.snapshot.alike.iter().filter_map(|group| group.difference(named).iter().next());
        let asked: Vec<Country> = stand_ins.chain(named.iter()).collect();
        let mut all = Verdict { allowed: true, ..Verdict::default() };
        for country in asked {
            let verdict = self.verdict(self.snapshot.reader(country)?, AtHome::No)?;
            if !verdict.allowed {
                return Ok(verdict);
            }
            extend(&mut all.rules, &verdict.rules);
            extend(&mut all.obligations, &verdict.obligations);
            extend(&mut all.duties, &verdict.duties);
            extend(&mut all.mechanisms, &verdict.mechanisms);
        }
        Ok(all)
    }

    fn gate(
        &mut self,
        target: &Target,
        kinds: &[usize],
        home: AtHome,
    ) -> Result<(bool, Vec<Arc<Rule>>), PolicyError> {
        let request = self.request(self.action.name(), target, kinds, home)?;
        let answer = Authorizer::new().is_authorized(&request, &self.snapshot.gates, &target.entities);
        if answer.diagnostics().errors().next().is_some() {
            return Ok((false, vec![Arc::new(evaluation_error())]));
        }
        let allowed = answer.decision() == cedar_policy::Decision::Allow;
        let rules = self.snapshot.rules_of(answer.diagnostics().reason());
        let mut rules: Vec<_> = rules
            .into_iter()
            .filter_map(|index| self.snapshot.compiled.rules.get(index))
            .map(|rule| Arc::clone(&rule.rule))
            .collect();
        if !allowed && rules.is_empty() {
            rules.push(Arc::new(default_deny()));
        }
        Ok((allowed, rules))
    }

    /// The mechanisms that carry an allowed place: as few as can be while it stays allowed.
    fn needed(
        &mut self,
        target: &Target,
        kinds: &[usize],
        home: AtHome,
    ) -> Result<Vec<MechanismUse>, PolicyError> {
        if kinds.is_empty() || self.gate(target, &[], home)?.0 {
            return Ok(Vec::new());
        }
        let mut needed = kinds.to_vec();
        for kind in kinds {
            let without: Vec<usize> = needed.iter().copied().filter(|other| other != kind).collect();
            if self.gate(target, &without, home)?.0 {
                needed = without;
            }
        }
        let (snapshot, held) = (self.snapshot, self.facts.held);
        let uses = needed.iter().filter_map(|kind| {
            let scopes = snapshot.scopes.iter();
            scopes
                .filter(|scope| scope.covers(target.country, held, snapshot.now))
                .find(|scope| snapshot.kind(&scope.used.kind) == Some(*kind))
                .map(|scope| scope.used.clone())
        });
        Ok(uses.collect())
    }

    fn oblige(
        &mut self,
        target: &Target,
        kinds: &[usize],
        home: AtHome,
        verdict: &mut Verdict,
    ) -> Result<(), PolicyError> {
        if self.snapshot.duties.is_empty() {
            return Ok(());
        }
        let request = self.request("Oblige", target, kinds, home)?;
        let answer = Authorizer::new().is_authorized(&request, &self.snapshot.duties, &target.entities);
        if answer.diagnostics().errors().next().is_some() {
            *verdict = Verdict { rules: vec![Arc::new(evaluation_error())], ..Verdict::default() };
            return Ok(());
        }
        for index in self.snapshot.rules_of(answer.diagnostics().reason()) {
            if let Some(rule) = self.snapshot.compiled.rules.get(index)
                && let Role::Duty(obligation) = &rule.role
            {
                extend(&mut verdict.obligations, std::slice::from_ref(obligation));
                extend(&mut verdict.duties, std::slice::from_ref(&rule.rule));
            }
        }
        Ok(())
    }

    fn request(
        &mut self,
        action: &str,
        target: &Target,
        kinds: &[usize],
        home: AtHome,
    ) -> Result<Request, PolicyError> {
        let known = self.contexts.iter().find(|(k, h, _)| k == kinds && *h == home);
        let context = match known {
            Some((_, _, context)) => context.clone(),
            None => {
                let context = self.snapshot.context(&self.facts, kinds, home)?;
                self.contexts.push((kinds.to_vec(), home, context.clone()));
                context
            }
        };
        let operator = self.snapshot.operator.0.clone();
        Request::new(operator, uid("Action", action)?, target.uid.clone(), context, None)
            .map_err(|error| PolicyError::Question(error.to_string()))
    }
}

/// The enumerated words as Cedar values, made once.
struct Literals {
    countries: Vec<RestrictedExpression>,
    classes: Vec<RestrictedExpression>,
    blocs: Vec<RestrictedExpression>,
    mechanisms: Vec<RestrictedExpression>,
}

impl Literals {
    fn new(compiled: &Compiled) -> Result<Literals, PolicyError> {
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

    fn country(&self, country: Country) -> RestrictedExpression {
        // The table has an entry for each country.
        self.countries[country.index()].clone()
    }
}

fn operator_entity(
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

/// Groups of countries that no rule's literal, no bloc and no mechanism tells apart.
fn alike(compiled: &Compiled, scopes: &[Scope]) -> Vec<CountrySet> {
    let mut groups: HashMap<(Option<Country>, Vec<Vec<i64>>, Vec<bool>), CountrySet> = HashMap::new();
    for country in Country::all() {
        let named = compiled.named.contains(country).then_some(country);
        // A membership that ends is not the same as one that stays, so the moments of change are asked about.
        let blocs = compiled.blocs.iter().map(|bloc| {
            let moments = std::iter::once(i64::MIN).chain(bloc.changes());
            moments.map(|moment| i64::from(bloc.contains(country, moment))).collect()
        });
        let reached = scopes.iter().map(|scope| scope.reaches(country));
        groups.entry((named, blocs.collect(), reached.collect())).or_default().insert(country);
    }
    let mut groups: Vec<CountrySet> = groups.into_values().collect();
    groups.sort_by_key(|group| std::cmp::Reverse(group.len()));
    groups
}

fn uid(kind: &str, id: &str) -> Result<EntityUid, PolicyError> {
    let kind: EntityTypeName =
        kind.parse().map_err(|_| PolicyError::Schema(format!("no entity type {kind}")))?;
    Ok(EntityUid::from_type_name_and_id(kind, EntityId::new(id)))
}

fn literal(kind: &str, word: &str) -> Result<RestrictedExpression, PolicyError> {
    Ok(RestrictedExpression::new_entity_uid(uid(kind, word)?))
}

fn join<'a>(words: impl Iterator<Item = &'a String>) -> String {
    words.map(String::as_str).collect::<Vec<_>>().join(", ")
}

fn schema_error(error: impl std::fmt::Display) -> PolicyError {
    PolicyError::Schema(error.to_string())
}
