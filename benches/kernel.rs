//! How near does exact top-10 over 100,000 x 128 `f32` come to merely reading the same bytes?
//!
//! Both run in this process on the same rows, 51.2 MB, more than most last-level caches hold. Besides
//! the criterion report it prints read time over search time per metric, on one thread and on two:
//! at 1.00 arithmetic adds nothing. Reading leaves the fetching ahead to the hardware, the kernels ask
//! for it themselves, so that the ratio may pass 1.

// Timing is what a bench is for.
#![allow(clippy::disallowed_methods)]

use std::hint::black_box;
use std::thread;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use elacsym::query::topk::TopK;
use elacsym::types::DistanceMetric;
use elacsym::vector::{PreparedQuery, kernel};

const ROWS: usize = 100_000;
const DIMS: usize = 128;
const K: usize = 10;
/// Rows per batch of distances: the distances stay in the nearest cache.
const BATCH_ROWS: usize = 1_024;
/// Runs per side of the printed ratio; the median of each side counts.
const RATIO_RUNS: usize = 31;

/// Numbers evenly spread over -1 to 1 from a fixed seed (splitmix64).
fn numbers(seed: u64, n: usize) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    };
    (0..n)
        .map(|_| (next() >> 40) as f32 / (1_u64 << 23) as f32 - 1.0)
        .collect()
}

fn search(query: &PreparedQuery, rows: &[f32], row_idx_first: u64) -> TopK<u64> {
    let mut topk = TopK::new(K);
    let mut distances = [0.0; BATCH_ROWS];
    let mut row_idx = row_idx_first;
    for batch in rows.chunks(BATCH_ROWS * DIMS) {
        let distances = &mut distances[..batch.len() / DIMS];
        query.distances(batch, distances);
        for distance in distances {
            if topk
                .threshold()
                .is_none_or(|farthest| *distance <= farthest)
            {
                topk.push(*distance, row_idx);
            }
            row_idx += 1;
        }
    }
    topk
}

/// Reads every component into enough independent sums that only memory can hold it up.
fn read(rows: &[f32]) -> u64 {
    let (blocks, tail) = rows.as_chunks::<64>();
    let mut sums = [0_u32; 64];
    for block in blocks {
        for (sum, component) in sums.iter_mut().zip(block) {
            *sum = sum.wrapping_add(component.to_bits());
        }
    }
    sums.iter()
        .chain(&[tail.len() as u32])
        .map(|sum| u64::from(*sum))
        .sum()
}

/// Splits rows evenly over threads and returns each thread's result.
fn split<T: Send>(rows: &[f32], threads: usize, work: impl Fn(&[f32], u64) -> T + Sync) -> Vec<T> {
    if threads == 1 {
        return vec![work(rows, 0)];
    }
    let rows_each = (rows.len() / DIMS).div_ceil(threads);
    thread::scope(|scope| {
        let work = &work;
        let parts = rows.chunks(rows_each * DIMS).zip(0_u64..);
        let running: Vec<_> = parts
            .map(|(part, part_idx)| scope.spawn(move || work(part, part_idx * rows_each as u64)))
            .collect();
        running
            .into_iter()
            .map(|part| part.join().expect("no part panics"))
            .collect()
    })
}

fn search_split(query: &PreparedQuery, rows: &[f32], threads: usize) -> Vec<(f32, u64)> {
    let mut merged = TopK::new(K);
    for part in split(rows, threads, |part, row_idx_first| {
        search(query, part, row_idx_first)
    }) {
        merged.merge(part);
    }
    merged.into_sorted()
}

fn read_split(rows: &[f32], threads: usize) -> u64 {
    split(rows, threads, |part, _| read(part)).into_iter().sum()
}

fn seconds<T>(work: impl FnOnce() -> T) -> f64 {
    let start = Instant::now();
    black_box(work());
    start.elapsed().as_secs_f64()
}

fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}

/// Prints read time over search time, the two sides run in turn so that they share the weather.
fn print_ratio(query: &PreparedQuery, rows: &[f32], threads: usize) {
    let (mut reads, mut searches) = (Vec::new(), Vec::new());
    for _ in 0..RATIO_RUNS {
        reads.push(seconds(|| read_split(black_box(rows), threads)));
        searches.push(seconds(|| search_split(query, black_box(rows), threads)));
    }
    let gb_per_s = |seconds: f64| size_of_val(rows) as f64 / seconds / 1e9;
    let (read, search) = (median(reads), median(searches));
    println!(
        "ratio {:.2} metric={} kernels={} threads={threads} search_ms={:.3} search_gb_per_s={:.1} read_gb_per_s={:.1}",
        read / search,
        query.metric().name(),
        kernel::selected(),
        search * 1e3,
        gb_per_s(search),
        gb_per_s(read),
    );
}

fn exact_top_10(criterion: &mut Criterion) {
    let rows = numbers(1, ROWS * DIMS);
    let query = numbers(2, DIMS);
    let mut group = criterion.benchmark_group("exact_top_10_100k_x_128");
    group.throughput(Throughput::Bytes(size_of_val(rows.as_slice()) as u64));
    group
        .sample_size(10)
        .warm_up_time(Duration::from_millis(200));
    group.measurement_time(Duration::from_secs(1));
    for threads in [1, 2] {
        group.bench_function(BenchmarkId::new("read", threads), |bencher| {
            bencher.iter(|| read_split(black_box(&rows), threads));
        });
        for metric in DistanceMetric::ALL {
            let query = PreparedQuery::new(metric, &query);
            group.bench_function(BenchmarkId::new(metric.name(), threads), |bencher| {
                bencher.iter(|| search_split(&query, black_box(&rows), threads));
            });
            print_ratio(&query, &rows, threads);
        }
    }
    group.finish();
}

criterion_group!(benches, exact_top_10);
criterion_main!(benches);
