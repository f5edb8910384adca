//! Shadow: a candidate set answers the live set's questions too, and the differences are told.
//!
//! A request pays for a clone of its question and never waits: the questions go through a bounded queue to a thread
//! of its own, and what does not fit is counted and forgotten. Whatever the candidate does, the live answer stands.
//! What is told holds no names: no bucket, no key, no app.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwapOption;
use serde::Serialize;
use serde_json::{Value, json};

use super::{Action, Decision, Engine, PackSource, PolicyHash, Question, ReaderEntity, Setting};
use crate::label::ClassSet;
use crate::names::{BucketName, Country, CountrySet, LocationId};
use crate::policy::Copies;

/// Questions that wait for the candidate. Beyond, they are dropped.
const QUEUE: usize = 1024;
/// Questions with different answers that are kept as examples.
const EXAMPLES: usize = 20;

/// How the candidate's answer stands to the live one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    Same,
    /// It allows a place, or the read, that the live set refuses.
    NewlyAllowed,
    /// It refuses a place, or the read, that the live set allows.
    NewlyRefused,
    /// It asks for other duties.
    Obligations,
    /// The same answer by other rules.
    OtherRule,
    /// It could not answer.
    Failed,
    /// It was not asked: the queue was full.
    Dropped,
}

impl Outcome {
    pub fn name(self) -> &'static str {
        match self {
            Outcome::Same => "same",
            Outcome::NewlyAllowed => "newly-allowed",
            Outcome::NewlyRefused => "newly-refused",
            Outcome::Obligations => "obligations",
            Outcome::OtherRule => "other-rule",
            Outcome::Failed => "failed",
            Outcome::Dropped => "dropped",
        }
    }
}

/// Told of each outcome, from whichever thread.
type Observer = Box<dyn Fn(Outcome) + Send + Sync>;

/// A candidate beside the live set. Its thread ends with it.
pub struct Shadow {
    queue: SyncSender<Asked>,
    shared: Arc<Shared>,
}

struct Shared {
    candidate: ArcSwapOption<Engine>,
    tally: Mutex<Tally>,
    dropped: AtomicU64,
    observer: Observer,
}

#[derive(Default)]
struct Tally {
    problem: Option<String>,
    compared: u64,
    outcomes: BTreeMap<Outcome, u64>,
    examples: Vec<Example>,
}

/// What was found since either set last changed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Report {
    /// Hash of the candidate; none while it cannot be used.
    pub candidate: Option<String>,
    /// Why it cannot be used.
    pub problem: Option<String>,
    /// Decisions that were put to it.
    pub compared: u64,
    /// Decisions that were not, for the queue was full.
    pub dropped: u64,
    /// By kind; a decision can differ in several ways.
    pub outcomes: BTreeMap<Outcome, u64>,
    /// Some questions with different answers, no two alike.
    pub examples: Vec<Example>,
}

/// A question whose answers differ.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Example {
    pub differs: Vec<Outcome>,
    /// As in the tables of `policy decide`.
    pub question: Value,
    pub live: Value,
    pub candidate: Value,
}

/// A question that outlives its request, and the live answer.
struct Asked {
    action: Action,
    classes: ClassSet,
    subjects: CountrySet,
    scanned_completely: bool,
    bucket: Option<BucketName>,
    home: Option<LocationId>,
    origin: Option<Country>,
    held_in: CountrySet,
    reader: Option<Country>,
    reader_entity: ReaderEntity,
    copies: Copies,
    live: Arc<Decision>,
}

impl Shadow {
    /// A shadow without a candidate yet; see [`Shadow::load`].
    pub fn new(observer: impl Fn(Outcome) + Send + Sync + 'static) -> std::io::Result<Shadow> {
        Shadow::with_queue(QUEUE, Box::new(observer))
    }

    fn with_queue(length: usize, observer: Observer) -> std::io::Result<Shadow> {
        let (queue, asked) = sync_channel(length);
        let shared = Arc::new(Shared {
            candidate: ArcSwapOption::empty(),
            tally: Mutex::default(),
            dropped: AtomicU64::new(0),
            observer,
        });
        let of_thread = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("policy-shadow".to_owned())
            .spawn(move || work(&asked, &of_thread))?;
        Ok(Shadow { queue, shared })
    }

    /// Takes a candidate, or says why it cannot be one, and begins to count anew.
    pub fn load(&self, source: &PackSource, setting: Setting) -> Result<PolicyHash, String> {
        let loaded = Engine::load(source, setting).map_err(|error| error.to_string());
        let mut tally = self.shared.tally();
        *tally = Tally { problem: loaded.as_ref().err().cloned(), ..Tally::default() };
        self.shared.dropped.store(0, Ordering::Relaxed);
        let hash = loaded.as_ref().map(Engine::policy).map_err(Clone::clone);
        self.shared.candidate.store(loaded.ok().map(Arc::new));
        hash
    }

    /// Puts a question that was decided to the candidate, some time.
    pub fn offer(&self, question: &Question<'_>, live: &Arc<Decision>) {
        if self.shared.candidate.load().is_none() {
            return;
        }
        if let Err(TrySendError::Full(_)) = self.queue.try_send(Asked::new(question, live)) {
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
            (self.shared.observer)(Outcome::Dropped);
        }
    }

    pub fn report(&self) -> Report {
        let candidate = self.shared.candidate.load();
        let tally = self.shared.tally();
        Report {
            candidate: candidate.as_ref().map(|engine| engine.policy().0.to_string()),
            problem: tally.problem.clone(),
            compared: tally.compared,
            dropped: self.shared.dropped.load(Ordering::Relaxed),
            outcomes: tally.outcomes.clone(),
            examples: tally.examples.clone(),
        }
    }
}

impl Shared {
    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn work(queue: &Receiver<Asked>, shared: &Shared) {
    // Ends when the sender is gone.
    while let Ok(asked) = queue.recv() {
        let Some(engine) = shared.candidate.load_full() else { continue };
        let answer = engine.decide(&asked.question());
        let outcomes = match &answer {
            Ok(candidate) => compare(&asked.live, candidate),
            Err(_) => vec![Outcome::Failed],
        };
        let mut tally = shared.tally();
        tally.compared += 1;
        for outcome in &outcomes {
            *tally.outcomes.entry(*outcome).or_default() += 1;
            (shared.observer)(*outcome);
        }
        let Ok(candidate) = answer else { continue };
        if outcomes != [Outcome::Same] && tally.examples.len() < EXAMPLES {
            let question = asked.told();
            if tally.examples.iter().all(|example| example.question != question) {
                let (live, candidate) = (told(&asked.live), told(&candidate));
                tally.examples.push(Example { differs: outcomes, question, live, candidate });
            }
        }
    }
}

/// In what ways the candidate's answer differs from the live one.
fn compare(live: &Decision, candidate: &Decision) -> Vec<Outcome> {
    let beyond = |one: &Decision, other: &Decision| match one.action() {
        Action::Read => one.is_allowed() && !other.is_allowed(),
        _ => one.allowed().iter().any(|place| !other.allowed().contains(&place.id)),
    };
    let mut found = Vec::new();
    if beyond(candidate, live) {
        found.push(Outcome::NewlyAllowed);
    }
    if beyond(live, candidate) {
        found.push(Outcome::NewlyRefused);
    }
    if sorted(live.obligations()) != sorted(candidate.obligations()) {
        found.push(Outcome::Obligations);
    }
    let ids = |decision: &Decision| sorted(decision.rules().iter().map(|rule| Arc::clone(&rule.id)));
    if found.is_empty() {
        found.push(if ids(live) == ids(candidate) { Outcome::Same } else { Outcome::OtherRule });
    }
    found
}

fn sorted<T: Ord>(items: impl IntoIterator<Item = T>) -> Vec<T> {
    let mut items: Vec<T> = items.into_iter().collect();
    items.sort();
    items
}

fn told(decision: &Decision) -> Value {
    let rules = decision.rules().iter().map(|rule| rule.id.to_string());
    let duties = decision.obligations().iter().map(|obligation| obligation.0.to_string());
    json!({
        "allowed": decision.is_allowed(),
        "locations": decision.allowed().iter().map(|place| place.id.to_string()).collect::<Vec<_>>(),
        "rules": rules.collect::<Vec<_>>(),
        "obligations": duties.collect::<Vec<_>>(),
    })
}

impl Asked {
    fn new(question: &Question<'_>, live: &Arc<Decision>) -> Asked {
        Asked {
            action: question.action,
            classes: question.classes,
            subjects: question.subjects,
            scanned_completely: question.scanned_completely,
            bucket: question.bucket.cloned(),
            home: question.home.cloned(),
            origin: question.origin,
            held_in: question.held_in,
            reader: question.reader,
            reader_entity: question.reader_entity,
            copies: question.copies,
            live: Arc::clone(live),
        }
    }

    fn question(&self) -> Question<'_> {
        Question {
            action: self.action,
            classes: self.classes,
            subjects: self.subjects,
            scanned_completely: self.scanned_completely,
            bucket: self.bucket.as_ref(),
            home: self.home.as_ref(),
            origin: self.origin,
            held_in: self.held_in,
            reader: self.reader,
            reader_entity: self.reader_entity,
            copies: self.copies,
        }
    }

    /// In the words of a scenario; without the bucket.
    fn told(&self) -> Value {
        let codes = |set: CountrySet| set.iter().map(|country| country.code()).collect::<Vec<_>>();
        let mut told = json!({
            "action": self.action.name(),
            "classes": self.classes.iter().map(|class| class.name()).collect::<Vec<_>>(),
            "subjects": codes(self.subjects),
            "held_in": codes(self.held_in),
            "scanned_completely": self.scanned_completely,
            "home": self.home.as_ref().map(|home| home.to_string()),
        });
        if self.action == Action::Read
            && let Some(fields) = told.as_object_mut()
        {
            let entity = self.reader_entity.word();
            let reader = self.reader.map_or("unknown", |country| country.code());
            fields.insert("target".to_owned(), json!({ "reader_country": reader, "reader_entity": entity }));
        }
        told
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config;
    use crate::locations::LocationFacts;

    fn place(id: &str, country: &str) -> Arc<LocationFacts> {
        let country: Country = country.parse().unwrap();
        Arc::new(LocationFacts {
            id: id.parse().unwrap(),
            country,
            region: "r-1".to_owned(),
            provider: "test".to_owned(),
            provider_country: country,
            certifications: Default::default(),
            zones: Default::default(),
        })
    }

    fn setting() -> Setting {
        Setting {
            locations: Arc::new([place("cn", "CN"), place("us", "US")]),
            operator: config::Operator::default(),
            mechanisms: Vec::new(),
            facts: Vec::new(),
        }
    }

    fn packs(names: &[&str]) -> PackSource {
        PackSource { directory: None, packs: names.iter().map(|name| (*name).to_owned()).collect() }
    }

    fn ask(engine: &Engine, shadow: &Shadow, class: &str) {
        let bucket = "bucket-of-somebody".parse().unwrap();
        let question = Question {
            action: Action::Store,
            classes: [class.parse().unwrap()].into_iter().collect(),
            // About nobody in particular, what is public is the same under every law.
            subjects: match class {
                "non_personal" => CountrySet::EMPTY,
                _ => ["CN".parse().unwrap()].into_iter().collect(),
            },
            scanned_completely: true,
            bucket: Some(&bucket),
            home: None,
            origin: None,
            held_in: CountrySet::EMPTY,
            reader: None,
            reader_entity: ReaderEntity::Other,
            copies: Copies::MayFollow,
        };
        shadow.offer(&question, &engine.decide(&question).unwrap());
    }

    fn report_of(shadow: &Shadow, compared: u64) -> Report {
        for _ in 0..1200 {
            let report = shadow.report();
            if report.compared >= compared {
                return report;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("not {compared} within two minutes");
    }

    #[test]
    fn differences_are_counted_by_kind_and_told_without_names() {
        let live = Engine::load(&packs(&["cn"]), setting()).unwrap();
        let counted = Arc::new(Mutex::new(Vec::new()));
        let observer = Arc::clone(&counted);
        let shadow = Shadow::new(move |outcome| observer.lock().unwrap().push(outcome)).unwrap();
        // Nobody is asked while there is no candidate.
        ask(&live, &shadow, "personal");
        // Without the law of China, its people are people of no law: only at home, and by another rule.
        shadow.load(&packs(&["ru"]), setting()).unwrap();
        for class in ["state.core", "personal.health", "non_personal", "personal.health"] {
            ask(&live, &shadow, class);
        }
        let report = report_of(&shadow, 4);
        assert_eq!(report.compared, 4);
        assert_eq!(report.outcomes.get(&Outcome::Same), Some(&1), "{report:?}");
        assert!(report.outcomes.len() > 1, "{report:?}");
        assert_eq!(counted.lock().unwrap().len() as u64, report.outcomes.values().sum::<u64>());
        assert_eq!(report.examples.len(), 2, "the same question is told once: {report:?}");
        let text = serde_json::to_string(&report).unwrap();
        assert!(text.contains("personal.health") && !text.contains("somebody"), "{text}");
    }

    #[test]
    fn a_candidate_that_allows_more_or_less_is_told_apart() {
        let engine = |names: &[&str]| Engine::load(&packs(names), setting()).unwrap();
        let (loose, strict) = (engine(&["ru"]), engine(&["cn"]));
        let bucket = "bucket".parse().unwrap();
        let question = Question {
            action: Action::Read,
            classes: ["state.core".parse().unwrap()].into_iter().collect(),
            subjects: ["RU".parse().unwrap()].into_iter().collect(),
            scanned_completely: true,
            bucket: Some(&bucket),
            home: None,
            origin: None,
            held_in: ["RU".parse().unwrap()].into_iter().collect(),
            reader: Some("KZ".parse().unwrap()),
            reader_entity: ReaderEntity::Other,
            copies: Copies::MayFollow,
        };
        let (loose, strict) = (loose.decide(&question).unwrap(), strict.decide(&question).unwrap());
        assert!(loose.is_allowed() && !strict.is_allowed(), "{loose:?} {strict:?}");
        assert!(compare(&strict, &loose).contains(&Outcome::NewlyAllowed));
        assert!(compare(&loose, &strict).contains(&Outcome::NewlyRefused));
        assert_eq!(compare(&strict, &strict), [Outcome::Same]);
    }

    #[test]
    fn a_full_queue_drops_questions_and_a_broken_candidate_is_told() {
        let live = Engine::load(&packs(&["cn"]), setting()).unwrap();
        let shadow = Shadow::with_queue(1, Box::new(|_| {})).unwrap();
        shadow.load(&packs(&["cn"]), setting()).unwrap();
        {
            // The thread cannot count while this is held: it takes one question, and the queue holds another.
            let _held = shadow.shared.tally();
            for _ in 0..10 {
                ask(&live, &shadow, "personal");
            }
        }
        let dropped = shadow.report().dropped;
        assert!((8..=9).contains(&dropped), "{dropped}");
        let problem = shadow.load(&packs(&["nowhere"]), setting()).unwrap_err();
        let report = shadow.report();
        assert_eq!((report.candidate, report.problem), (None, Some(problem)));
    }
}
