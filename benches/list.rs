//! A merged list of 1000 keys over four locations, beside each location's own list.
//!
//! The locations are S3 servers of somebody else (`s3s-fs`) in this process. `of_the_slowest_location` is what a client
//! would wait for without a gateway: the list that the gateway asks that location for. Where each location has a machine
//! of its own, four of them answer as soon as one; here they share the cores, with the gateway and the client too.
//! `of_all_locations_at_once` is what that alone costs: a client that asks the four itself, at the same time.
//! `sans_io` is the gateway's own part: reading four documents, merging them, writing one.

use std::hint::black_box;
use std::time::{Duration, Instant};

use aws_sdk_s3::Client;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use criterion::{Criterion, criterion_group, criterion_main};
use domicile::s3::listing::{Candidate, ListEntry, ListPage, ListRequest, Merge, Step, Verdict};
use domicile::s3::xml;
use tokio::runtime::Runtime;

#[path = "../tests/support/mod.rs"]
mod support;

use support::gateway::{Gateway, LOCATIONS};
use support::{ACCESS_KEY_ID, SECRET_ACCESS_KEY};

const KEYS: usize = 1000;

fn over_the_wire(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let gateway = runtime.block_on(filled());
    let merged = gateway.client();
    let own: Vec<Client> = gateway.servers().iter().map(|server| direct(&server.endpoint())).collect();

    // Which is the slowest is found out first, by the best of some lists each.
    let best = own.iter().map(|client| {
        let times = (0..5).map(|_| {
            let begun = Instant::now();
            runtime.block_on(list(client));
            begun.elapsed()
        });
        times.min().unwrap_or_default()
    });
    let slowest = best.enumerate().max_by_key(|(_, time)| *time).map_or(0, |(index, _)| index);

    let mut group = criterion.benchmark_group("list_of_1000_keys");
    group.sample_size(30).measurement_time(Duration::from_secs(8));
    group.bench_function("of_the_slowest_location", |bencher| {
        bencher.iter(|| runtime.block_on(list(&own[slowest])));
    });
    group.bench_function("of_all_locations_at_once", |bencher| {
        bencher.iter(|| runtime.block_on(futures_util::future::join_all(own.iter().map(list))));
    });
    group.bench_function("merged_over_4_locations", |bencher| {
        bencher.iter(|| assert_eq!(runtime.block_on(list(&merged)), KEYS));
    });
    group.finish();
}

fn sans_io(criterion: &mut Criterion) {
    let documents: Vec<String> = (0..4).map(own_document).collect();
    let mut group = criterion.benchmark_group("list_of_1000_keys");
    group.bench_function("sans_io", |bencher| {
        bencher.iter(|| merge(black_box(&documents)).len());
    });
    group.finish();
}

criterion_group!(benches, over_the_wire, sans_io);
criterion_main!(benches);

/// A gateway with 250 keys in each of its four locations, of every fourth name each.
async fn filled() -> Gateway {
    let gateway = Gateway::remote().await;
    let client = gateway.client();
    client.create_bucket().bucket("bench").send().await.expect("a bucket");
    let countries = LOCATIONS.map(|(_, country, _)| country);
    for n in 0..KEYS {
        let country = countries[n % countries.len()];
        let put = client.put_object().bucket("bench").key(key(n));
        let put = put.tagging(format!("data-class=personal.health&subject-country={country}"));
        put.body(b"x".to_vec().into()).send().await.expect("an object");
    }
    for server in gateway.servers() {
        assert_eq!(list(&direct(&server.endpoint())).await, KEYS / LOCATIONS.len(), "evenly spread");
    }
    gateway
}

fn key(n: usize) -> String {
    format!("records/2026/{n:06}.json")
}

fn direct(endpoint: &str) -> Client {
    let credentials = Credentials::new(ACCESS_KEY_ID, SECRET_ACCESS_KEY, None, None, "bench");
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .credentials_provider(credentials)
        .region(Region::new("us-east-1"))
        .endpoint_url(endpoint)
        .force_path_style(true)
        .build();
    Client::from_conf(config)
}

async fn list(client: &Client) -> usize {
    client.list_objects_v2().bucket("bench").send().await.expect("a list").contents().len()
}

/// What the location of that number answers: every fourth key.
fn own_document(location: usize) -> String {
    let entry = |n| ListEntry {
        key: key(n),
        etag: "\"9dd4e461268c8034f5c8564e155c67a6\"".to_owned(),
        rest: "<LastModified>2026-11-23T06:00:00.000Z</LastModified><Size>1</Size>".to_owned(),
    };
    let entries = (location..KEYS).step_by(4).map(entry).collect();
    let page = ListPage { entries, ..ListPage::default() };
    let request = ListRequest { max_keys: KEYS, ..ListRequest::probe("") };
    xml::list_result(&"bench".parse().expect("a bucket"), "app", &request, &page, None)
}

fn merge(documents: &[String]) -> String {
    let request = ListRequest { max_keys: KEYS, ..ListRequest::probe("") };
    let mut merge = Merge::new(&request, documents.len());
    loop {
        let verdicts: Vec<Verdict> = match merge.step().expect("lists in order") {
            Step::Done(page) => {
                return xml::list_result(&"bench".parse().expect("a bucket"), "app", &request, &page, None);
            }
            Step::Fetch(asked) => {
                for (location, _) in asked {
                    let page = xml::parse_list(documents[location].as_bytes()).expect("a list");
                    merge.feed(location, page).expect("a list in order");
                }
                continue;
            }
            Step::Check(candidates) => candidates.iter().map(holder).collect(),
        };
        merge.settle(&verdicts).expect("as many verdicts");
    }
}

fn holder(candidate: &Candidate) -> Verdict {
    match candidate {
        Candidate::Object { copies, .. } => {
            copies.first().map_or(Verdict::Hidden, |(at, _)| Verdict::Visible(*at))
        }
        Candidate::Prefix { .. } => Verdict::Hidden,
    }
}
