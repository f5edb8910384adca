//! What one decision costs: answered from memory, worked out, and by Cedar's own authorizer in the same run.
//!
//! `memoised` is one question again and again; `memoised_many` takes turns among 256 questions, as the traffic of
//! many apps does. `cold` is [`Engine::decide_anew`]: every location is asked about, and nothing is remembered.
//! `reasons` also puts the rules and duties behind the answer into words, which a request asks for once it writes.
//! `cedar` is [`Engine::decide_by_cedar`]. Each is taken with a few packs, with more, and with all that are shipped.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use domicile::config::Operator;
use domicile::label::ClassSet;
use domicile::label::class::DataClass;
use domicile::locations::LocationFacts;
use domicile::names::{BucketName, Country, CountrySet, LocationId};
use domicile::policy::{Action, Engine, PackSource, Question, Setting};

const COUNTRIES: [&str; 16] =
    ["CN", "DE", "US", "IN", "RU", "FR", "JP", "BR", "GB", "SG", "KR", "CA", "AU", "CH", "ZA", "MX"];

/// Packs that make up about so many rules with the base pack.
const SIZES: [(&str, &[&str]); 3] = [
    ("75", &["cn", "eu", "ru"]),
    (
        "300",
        &[
            "cn", "eu", "ru", "us", "in", "de", "gb", "hk", "ch", "fr", "jp", "kr", "au", "br", "ca", "sg",
            "vn", "tr", "sa", "ae",
        ],
    ),
    ("all", &[]),
];

fn decision(criterion: &mut Criterion) {
    let world = World::new();
    println!("rules | question | locations | cold ns | Cedar ns | ratio");
    for (size, packs) in SIZES {
        let source = PackSource {
            packs: packs.iter().map(|pack| (*pack).to_owned()).collect(),
            ..PackSource::embedded()
        };
        let begun = Instant::now();
        let engine = world.engine(&source, 16);
        let rules = engine.compiled().rule_ids().count();
        println!("{rules} rules loaded in {:?}", begun.elapsed());
        let id = |name: &str| BenchmarkId::new(name, format!("{size}_rules"));
        let questions = world.questions();
        let (_, one) = &questions[1];
        engine.decide(one).expect("the shipped packs answer");

        let mut group = criterion.benchmark_group("decision");
        group.measurement_time(Duration::from_secs(2)).warm_up_time(Duration::from_secs(1));
        group.bench_function(id("memoised"), |bencher| {
            bencher.iter(|| engine.decide(black_box(one)));
        });
        let many: Vec<Question<'_>> = world.many().collect();
        let mut turns = many.iter().cycle();
        group.bench_function(id("memoised_many"), |bencher| {
            bencher.iter(|| turns.next().map(|question| engine.decide(black_box(question))));
        });
        for (name, question) in &questions {
            group.bench_function(id(&format!("cold/{name}")), |bencher| {
                bencher.iter(|| engine.decide_anew(black_box(question)));
            });
        }
        group.bench_function(id("reasons/health_of_germans"), |bencher| {
            bencher.iter(|| engine.decide_anew(black_box(one)).map(|decision| decision.rules().len()));
        });
        group.finish();
        for (name, question) in &questions {
            let cold = median(2_000, || drop(black_box(engine.decide_anew(black_box(question)))));
            let cedar = median(9, || drop(black_box(engine.decide_by_cedar(black_box(question)))));
            println!("{rules} | {name} | 16 | {cold:.0} | {cedar:.0} | {:.0}", cedar / cold);
        }
    }
}

criterion_group!(benches, decision);
criterion_main!(benches);

/// Nanoseconds of the middle one of many runs.
fn median(times: usize, mut run: impl FnMut()) -> f64 {
    let mut taken: Vec<Duration> = (0..times)
        .map(|_| {
            let begun = Instant::now();
            run();
            begun.elapsed()
        })
        .collect();
    taken.sort();
    taken.get(times / 2).map_or(0.0, |taken| taken.as_nanos() as f64)
}

/// What questions are made of.
struct World {
    bucket: BucketName,
    home: LocationId,
    health: ClassSet,
    gov_id: ClassSet,
}

impl World {
    fn new() -> World {
        World {
            bucket: "bench".parse().expect("a bucket name"),
            home: location_id(1),
            health: classes("personal.health"),
            gov_id: classes("personal.gov_id"),
        }
    }

    fn engine(&self, source: &PackSource, locations: usize) -> Engine {
        let facts = COUNTRIES.iter().take(locations).enumerate().map(|(n, code)| {
            Arc::new(LocationFacts {
                id: location_id(n),
                country: country(code),
                region: format!("region-{n}"),
                provider: "bench".to_owned(),
                provider_country: country(code),
                certifications: Default::default(),
                zones: Default::default(),
            })
        });
        let setting = Setting {
            locations: facts.collect(),
            operator: Operator::default(),
            mechanisms: Vec::new(),
            facts: Vec::new(),
        };
        Engine::load(source, setting).expect("the shipped packs load")
    }

    fn questions(&self) -> Vec<(&'static str, Question<'_>)> {
        vec![
            ("unlabelled", self.question(&ClassSet::EMPTY, None, None)),
            ("health_of_germans", self.question(&self.health, Some("DE"), None)),
            ("gov_id_of_chinese", self.question(&self.gov_id, Some("CN"), None)),
            ("read_by_an_american", self.question(&self.health, Some("DE"), Some("US"))),
        ]
    }

    /// A write without a reader, a read with one.
    fn question(&self, classes: &ClassSet, subject: Option<&str>, reader: Option<&str>) -> Question<'_> {
        Question {
            action: if reader.is_some() { Action::Read } else { Action::Store },
            classes: *classes,
            subjects: subject.map(country).into_iter().collect(),
            scanned_completely: true,
            bucket: Some(&self.bucket),
            home: Some(&self.home),
            origin: None,
            held_in: reader.map_or(CountrySet::EMPTY, |_| [country("DE")].into_iter().collect()),
            reader: reader.map(country),
            reader_entity: Default::default(),
            copies: Default::default(),
        }
    }

    /// 256 different questions: every country of ours as the subject's, each with 16 sets of classes.
    fn many(&self) -> impl Iterator<Item = Question<'_>> {
        const CLASSES: [&str; 4] =
            ["personal.health", "personal.gov_id", "financial.payment", "non_personal"];
        COUNTRIES.iter().flat_map(move |code| {
            (0..16u8).map(move |mask| {
                let chosen = CLASSES.iter().enumerate().filter(|(n, _)| mask & (1 << n) != 0);
                let classes = chosen.map(|(_, name)| name.parse::<DataClass>().expect("a class")).collect();
                self.question(&classes, Some(code), None)
            })
        })
    }
}

fn location_id(n: usize) -> LocationId {
    format!("location-{n}").parse().expect("a location id")
}

fn country(code: &str) -> Country {
    code.parse().expect("a country")
}

fn classes(name: &str) -> ClassSet {
    [name.parse::<DataClass>().expect("a class")].into_iter().collect()
}
