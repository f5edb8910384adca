//! What one decision costs: answered from memory, and worked out anew by Cedar, over the shipped packs.
//!
//! `memoised` is one question again and again; `memoised_many` takes turns among 256 questions, as the traffic of
//! many apps does. `cold` is [`Engine::decide_anew`]: every location is asked about, and nothing is remembered.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use domicile::config::Operator;
use domicile::label::ClassSet;
use domicile::label::class::DataClass;
use domicile::locations::LocationFacts;
use domicile::names::{AppId, BucketName, Country, CountrySet, LocationId};
use domicile::policy::{Action, Engine, PackSource, Question, Setting};

const COUNTRIES: [&str; 16] =
    ["CN", "DE", "US", "IN", "RU", "FR", "JP", "BR", "GB", "SG", "KR", "CA", "AU", "CH", "ZA", "MX"];

fn decision(criterion: &mut Criterion) {
    let world = World::new();
    for locations in [4, 16] {
        let engine = world.engine(locations);
        let one = world.question(&world.health, Some("DE"), None);
        engine.decide(&one).expect("the shipped packs answer");

        let mut group = criterion.benchmark_group("decision/memoised");
        group.bench_function(BenchmarkId::from_parameter(locations), |bencher| {
            bencher.iter(|| engine.decide(black_box(&one)));
        });
        group.finish();

        let many: Vec<Question<'_>> = world.many().collect();
        let mut turns = many.iter().cycle();
        let mut group = criterion.benchmark_group("decision/memoised_many");
        group.bench_function(BenchmarkId::from_parameter(locations), |bencher| {
            bencher.iter(|| turns.next().map(|question| engine.decide(black_box(question))));
        });
        group.finish();

        let mut group = criterion.benchmark_group("decision/cold");
        group.sample_size(10);
        for (name, question) in [
            ("unlabelled", world.question(&ClassSet::EMPTY, None, None)),
            ("health_of_germans", one.clone()),
            ("gov_id_of_chinese", world.question(&world.gov_id, Some("CN"), None)),
            ("read_by_an_american", world.question(&world.health, Some("DE"), Some("US"))),
        ] {
            group.bench_function(BenchmarkId::new(name, locations), |bencher| {
                bencher.iter(|| engine.decide_anew(black_box(&question)));
            });
        }
        group.finish();
    }
}

criterion_group!(benches, decision);
criterion_main!(benches);

/// What questions are made of.
struct World {
    bucket: BucketName,
    app: AppId,
    home: LocationId,
    health: ClassSet,
    gov_id: ClassSet,
}

impl World {
    fn new() -> World {
        World {
            bucket: "bench".parse().expect("a bucket name"),
            app: "bench".parse().expect("an app id"),
            home: location_id(1),
            health: classes("personal.health"),
            gov_id: classes("personal.gov_id"),
        }
    }

    fn engine(&self, locations: usize) -> Engine {
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
        Engine::load(&PackSource::embedded(), setting).expect("the shipped packs load")
    }

    /// A write without a reader, a read with one.
    fn question(&self, classes: &ClassSet, subject: Option<&str>, reader: Option<&str>) -> Question<'_> {
        Question {
            action: if reader.is_some() { Action::Read } else { Action::Store },
            classes: *classes,
            subjects: subject.map(country).into_iter().collect(),
            scanned_completely: true,
            bucket: &self.bucket,
            app: &self.app,
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
