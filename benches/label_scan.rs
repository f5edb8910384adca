//! How fast the content scanner is on one core: prose, customer records, JSON logs, random bytes; and what a small object
//! costs, scanned as the gateway does.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use domicile::label::Scanner;

const BYTES: usize = 8 << 20;
/// As bodies arrive from a socket.
const CHUNK: usize = 64 << 10;

fn scan(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("label_scan");
    group.throughput(Throughput::Bytes(BYTES as u64));
    for (name, text) in [("prose", prose()), ("csv", csv()), ("json_logs", json_logs()), ("random", random())]
    {
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let mut scanner = Scanner::new();
                for chunk in black_box(&text).chunks(CHUNK) {
                    scanner.feed(chunk);
                }
                black_box(scanner.finish())
            });
        });
    }
    group.finish();
}

/// One object of 1 KiB: all of it is in the first window, so it is asked for findings twice.
fn scan_small_object(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("label_scan_1_kib");
    for (name, text) in [("prose", prose()), ("csv", csv())] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let mut scanner = Scanner::new();
                scanner.feed(black_box(&text[..1024]));
                (scanner.findings_so_far(), scanner.finish())
            });
        });
    }
    group.finish();
}

criterion_group!(benches, scan, scan_small_object);
criterion_main!(benches);

/// A small generator with a fixed start, so that every run scans the same bytes (xorshift64, Marsaglia 2003).
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.roll() % limit
    }

    fn word(&mut self) -> &'static str {
        const WORDS: [&str; 16] = [
            "the", "harbour", "lay", "quiet", "under", "a", "sky", "of", "slate", "and", "nobody", "spoke",
            "until", "morning", "came", "again",
        ];
        WORDS[self.below(16) as usize]
    }
}

fn fill(mut line: impl FnMut(&mut Dice) -> String) -> Vec<u8> {
    let mut dice = Dice(0x2545_f491_4f6c_dd1d);
    let mut text = Vec::with_capacity(BYTES + 4096);
    while text.len() < BYTES {
        text.extend(line(&mut dice).bytes());
    }
    text.truncate(BYTES);
    text
}

fn prose() -> Vec<u8> {
    fill(|dice| (0..12).map(|_| dice.word()).collect::<Vec<_>>().join(" ") + ".\n")
}

/// Orders of customers: without a column of addresses or cards the scanner can never stop looking.
fn csv() -> Vec<u8> {
    fill(|dice| {
        format!(
            "{},{} {},+49 30 {},{}-{:02}-{:02},{:016},{}.{:02}\n",
            dice.below(10_000_000),
            dice.word(),
            dice.word(),
            dice.below(100_000_000),
            1950 + dice.below(70),
            1 + dice.below(12),
            1 + dice.below(28),
            dice.below(10_000_000_000_000_000),
            dice.below(10_000),
            dice.below(100)
        )
    })
}

fn json_logs() -> Vec<u8> {
    fill(|dice| {
        format!(
            "{{\"ts\":\"2026-{:02}-{:02}T{:02}:11:07.{:06}Z\",\"level\":\"info\",\"trace\":\"{:016x}{:016x}\",\"status\":{},\"ms\":{},\"path\":\"/{}/{}/{}\"}}\n",
            1 + dice.below(12),
            1 + dice.below(28),
            dice.below(24),
            dice.below(1_000_000),
            dice.roll(),
            dice.roll(),
            200 + dice.below(300),
            dice.below(10_000),
            dice.word(),
            dice.below(100_000),
            dice.word()
        )
    })
}

fn random() -> Vec<u8> {
    let mut dice = Dice(0x2545_f491_4f6c_dd1d);
    (0..BYTES / 8).flat_map(|_| dice.roll().to_le_bytes()).collect()
}
