//! The embedded catalogue: looking up one placement among many, and whole writes with real flushes to disk.
//!
//! A write is what the gateway does for one PUT: an intent, then placement and log entry in one transaction, each awaited
//! until it is durable. `writes/64` shows group commit at work; how many changes shared one flush is printed beside.
//! `DOMICILE_BENCH_OBJECTS` sets how many placements the larger lookup has (100000).

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use domicile::catalogue::sqlite::{SqliteCatalogue, SqliteOptions};
use domicile::catalogue::{Catalogue, Intent, IntentKind, ObjectHandle, ObjectId, Placement, WriteRecord};
use domicile::config::Node;
use domicile::label::class::DataClass;
use domicile::label::{ClassSet, Coverage, Evidence, Label, Source};
use domicile::log::{EntryDraft, Event, Place};
use domicile::names::CountrySet;
use futures_util::FutureExt;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

const BUCKET: &str = "bench";
/// Writers that fill the catalogue before the lookups: as many as make large groups.
const FILLERS: usize = 1024;

fn lookup(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let many = std::env::var("DOMICILE_BENCH_OBJECTS").ok().and_then(|text| text.parse().ok());
    let mut group = criterion.benchmark_group("catalogue/lookup");
    for objects in [1000, many.unwrap_or(100_000)] {
        let folder = tempfile::tempdir().expect("a folder");
        let catalogue = open(folder.path());
        let begun = Instant::now();
        write_all(&runtime, &catalogue, FILLERS, objects);
        println!("{objects} objects written in {:.1} s", begun.elapsed().as_secs_f64());

        let mut turns = scattered(&catalogue, objects).into_iter().cycle();
        group.bench_function(BenchmarkId::new("found", objects), |bencher| {
            bencher.iter(|| {
                let found = find(&catalogue, turns.next().expect("it never ends"));
                assert!(black_box(found).is_some());
            });
        });
        let mut turns = (0..4096).map(|n| catalogue.object_handle("other", &key(n))).cycle();
        group.bench_function(BenchmarkId::new("unknown", objects), |bencher| {
            bencher.iter(|| {
                let found = find(&catalogue, turns.next().expect("it never ends"));
                assert!(black_box(found).is_none());
            });
        });
    }
    group.finish();
}

fn writes(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let mut group = criterion.benchmark_group("catalogue/writes");
    group.sample_size(10).warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(5));
    group.throughput(Throughput::Elements(1));
    for writers in [1, 64] {
        let folder = tempfile::tempdir().expect("a folder");
        let catalogue = open(folder.path());
        group.bench_function(BenchmarkId::from_parameter(writers), |bencher| {
            bencher.iter_custom(|writes| {
                // Few writes would not keep all writers busy; the time is that of one write all the same.
                let rounded = usize::try_from(writes).unwrap_or(usize::MAX).next_multiple_of(writers * 16);
                let begun = Instant::now();
                write_all(&runtime, &catalogue, writers, rounded);
                begun.elapsed().mul_f64(writes as f64 / rounded as f64)
            });
        });
        let counters = catalogue.counters();
        println!(
            "{writers} writers: {:.1} changes and {:.1} whole writes in one flush, at most {} changes; {} flushes",
            counters.jobs as f64 / counters.commits as f64,
            counters.jobs as f64 / 2.0 / counters.commits as f64,
            counters.largest_batch,
            counters.commits,
        );
    }
    group.finish();
}

criterion_group!(benches, lookup, writes);
criterion_main!(benches);

fn open(folder: &Path) -> Arc<SqliteCatalogue> {
    let options = SqliteOptions {
        data: folder.to_owned(),
        node: Node {
            name: "bench".to_owned(),
            domain: "bench.example".to_owned(),
            country: "DE".parse().expect("a country"),
        },
        countries: Default::default(),
        // A slow disk makes a slow measurement, not a failed one.
        durable_within: Duration::from_secs(60),
    };
    Arc::new(SqliteCatalogue::open(options).expect("an empty folder takes a catalogue"))
}

fn find(catalogue: &SqliteCatalogue, handle: ObjectHandle) -> Option<Placement> {
    catalogue.find(handle).now_or_never().expect("lookups do not wait").expect("the catalogue answers")
}

/// So many whole writes of different objects, by so many writers at once.
fn write_all(runtime: &Runtime, catalogue: &Arc<SqliteCatalogue>, writers: usize, writes: usize) {
    runtime.block_on(async {
        let next = Arc::new(AtomicUsize::new(0));
        let mut tasks = JoinSet::new();
        for _ in 0..writers {
            let (catalogue, next) = (catalogue.clone(), next.clone());
            tasks.spawn(async move {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= writes {
                        return;
                    }
                    write(&catalogue, &key(number)).await;
                }
            });
        }
        while let Some(done) = tasks.join_next().await {
            done.expect("no writer fails");
        }
    });
}

/// What one PUT asks of the catalogue.
async fn write(catalogue: &SqliteCatalogue, key: &str) {
    let intent = catalogue.open_intent(intent(catalogue, key)).await.expect("the intent is durable");
    let write = WriteRecord {
        intent: intent.id,
        handle: intent.handle,
        bucket: intent.bucket,
        key: intent.key,
        placement: intent.placement,
        draft: intent.draft,
    };
    catalogue.record_write(write).await.expect("the write is durable");
}

fn intent(catalogue: &SqliteCatalogue, key: &str) -> Intent {
    let country = "DE".parse().expect("a country");
    let class: DataClass = "personal.health".parse().expect("a class");
    let mut draft = EntryDraft::new(Event::Write, country);
    draft.classes = ClassSet::from_iter([class]);
    draft.subjects = CountrySet::from_iter([country]);
    draft.decision.effect = "allow".to_owned();
    draft.decision.rules = vec!["eu.gdpr.44".to_owned(), "base.non-personal".to_owned()];
    draft.decision.policy = "5".repeat(64);
    draft.request = "0123456789ABCDEF".to_owned();
    draft.to = vec![Place { location: "de".to_owned(), country, region: "eu-central-1".to_owned() }];
    draft.sealed.bucket = Some(BUCKET.to_owned());
    draft.sealed.key = Some(key.to_owned());
    draft.sealed.principal = Some("bench".to_owned());
    draft.sealed.address = Some("127.0.0.1".to_owned());
    let placement = Placement {
        object: ObjectId::random(),
        location: "de".parse().expect("a location id"),
        classes: draft.classes,
        subjects: draft.subjects,
        coverage: Coverage::Complete,
        evidence: vec![Evidence {
            source: Source::Detector("icd-10".to_owned()),
            label: Label::Class(class),
            detail: "12 diagnosis codes".to_owned(),
        }],
        etag: "\"0123456789abcdef0123456789abcdef\"".to_owned(),
        version: None,
        order: 0,
        size: 1024,
        policy: draft.decision.policy.clone(),
        rules: draft.decision.rules.clone(),
        obligations: Vec::new(),
        placed_at: 1_790_000_000_000,
    };
    Intent {
        id: 0,
        handle: catalogue.object_handle(BUCKET, key),
        bucket: BUCKET.to_owned(),
        key: key.to_owned(),
        kind: IntentKind::Put,
        placement,
        draft,
        begun_at: 1_790_000_000_000,
    }
}

fn key(number: usize) -> String {
    format!("folder-{}/object-{number}.json", number % 100)
}

/// 4096 of the objects, in an order that no cache likes.
fn scattered(catalogue: &SqliteCatalogue, objects: usize) -> Vec<ObjectHandle> {
    const STRIDE: usize = 7_368_787;
    (0..4096).map(|n| catalogue.object_handle(BUCKET, &key(n * STRIDE % objects))).collect()
}
