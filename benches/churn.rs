//! A million documents in batches of a thousand, of which three in ten replace others and one in ten is deleted later:
//! what merges and garbage cost, and what they leave.
//!
//! A server process on a local directory takes the batches over HTTP and flushes, merges and collects by itself. Answers are
//! compared with a plain map's before, during and after. Then the same documents are loaded into a namespace that
//! never saw another, to compare the bytes; and queries are timed while that is merged and while nothing goes on.

// Timing, real processes and plain sockets are what this bench is about.
#![allow(clippy::disallowed_methods)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::{Client, Server, request};

const NEW_ROWS: u64 = 1_000_000;
const NEW_A_BATCH: u64 = 700;
const REPLACED_A_BATCH: u64 = 300;
const DELETED_A_BATCH: u64 = 100;
const CHECK_EVERY: u64 = 100;
const TOPICS: u64 = 50;
const CHURNED: &str = "churned";
const FRESH: &str = "fresh";
const SETTLED: Duration = Duration::from_secs(300);

/// Small tails, so that there are many segments; nothing is kept of the past.
const SETTINGS: [&str; 4] = [
    "flush.bytes=4194304",
    "retention.history_ms=0",
    "gc.interval_ms=1000",
    "flush.keep_blocks=0",
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Document {
    topic: u64,
    price: u64,
}

fn main() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(folder.path(), &SETTINGS);
    let mut client = server.connect();
    let mut documents: BTreeMap<u64, Document> = BTreeMap::new();
    let (began, mut most) = (Instant::now(), 0);
    let mut random = Random(7);
    let mut rows_sent = 0;
    for batch in 0..NEW_ROWS.div_ceil(NEW_A_BATCH) {
        rows_sent += churn(&mut client, &mut documents, &mut random, batch);
        if batch % CHECK_EVERY == 0 {
            check(&mut client, CHURNED, &documents, &mut random);
            most = most.max(files(folder.path(), ".parquet").0);
        }
    }
    let loaded = began.elapsed();
    println!(
        "{rows_sent} rows and {} deletes in {:.1} s, {:.1} s of CPU, {} documents stay; {most} segments' files at most",
        NEW_ROWS.div_ceil(NEW_A_BATCH) * DELETED_A_BATCH,
        loaded.as_secs_f64(),
        server.cpu().unwrap_or_default().as_secs_f64(),
        documents.len()
    );
    post(&mut client, CHURNED, "flush");
    let settled = settle(folder.path());
    check(&mut client, CHURNED, &documents, &mut random);
    let (n_segments, bytes) = files(folder.path(), ".parquet");
    let (n_indexes, index_bytes) = files(folder.path(), ".idx");
    let (_, bitmap_bytes) = files(folder.path(), ".dvs");
    println!(
        "settled after {:.1} s: {n_segments} segments ({n_indexes} indexes), {bytes} + {index_bytes} + {bitmap_bytes} bytes",
        settled.as_secs_f64()
    );
    let metrics = metrics(&mut client);
    let told = |name: &str| metrics.get(name).copied().unwrap_or_default();
    let (read, written) = (
        told("elacsym_compaction_read_bytes_total"),
        told("elacsym_compaction_written_bytes_total"),
    );
    let seconds = told("elacsym_compaction_seconds_sum");
    println!(
        "{} merges read {:.0} MB and wrote {:.0} MB in {seconds:.1} s: {:.1} MB/s; {:.2} bytes merged a byte that stays",
        told("elacsym_compaction_merges_total"),
        read / 1e6,
        written / 1e6,
        (read + written) / 1e6 / seconds,
        written / (bytes + index_bytes) as f64
    );
    drop(client);
    drop(server);
    let orphans = collect_twice(folder.path());
    println!("{orphans} orphans after two passes");
    let churned = files(folder.path(), ".parquet").1
        + files(folder.path(), ".idx").1
        + files(folder.path(), ".dvs").1;

    let server = Server::start(folder.path(), &SETTINGS);
    let mut client = server.connect();
    check(&mut client, CHURNED, &documents, &mut random);
    load_fresh(&mut client, &documents);
    post(&mut client, FRESH, "flush");
    let under_merge = latency_while(&server, |client| {
        post(client, FRESH, "compact");
    });
    let idle = latency_while(&server, |_| std::thread::sleep(Duration::from_secs(10)));
    drop(client);
    drop(server);
    collect_twice(folder.path());
    let both = files(folder.path(), ".parquet").1
        + files(folder.path(), ".idx").1
        + files(folder.path(), ".dvs").1;
    let fresh = both - churned;
    println!(
        "{churned} bytes after churn, {fresh} bytes of a fresh build: ratio {:.2}",
        churned as f64 / fresh as f64
    );
    println!(
        "a filtered count beside a merge: p50 {:.2} ms, p95 {:.2} ms; idle: p50 {:.2} ms, p95 {:.2} ms; p95 ratio {:.2}",
        under_merge.0,
        under_merge.1,
        idle.0,
        idle.1,
        under_merge.1 / idle.1
    );
}

/// One batch; gives how many rows it sent.
fn churn(
    client: &mut Client,
    documents: &mut BTreeMap<u64, Document>,
    random: &mut Random,
    batch: u64,
) -> u64 {
    let first = batch * NEW_A_BATCH;
    let mut wrote: BTreeMap<u64, Document> = BTreeMap::new();
    let new = (first..first + NEW_A_BATCH).collect::<Vec<_>>();
    let replaced = (0..REPLACED_A_BATCH).map(|_| random.below(first.max(1)));
    for id in new.into_iter().chain(replaced.collect::<Vec<_>>()) {
        let document = Document {
            topic: random.below(TOPICS),
            price: random.below(100_000),
        };
        wrote.insert(id, document);
    }
    let deleted: BTreeSet<u64> = (0..DELETED_A_BATCH)
        .map(|_| random.below(first.max(1)))
        .filter(|id| !wrote.contains_key(id))
        .collect();
    let deleted: Vec<u64> = deleted.into_iter().collect();
    let rows = wrote.len() as u64;
    write(client, CHURNED, &wrote, &deleted);
    documents.extend(wrote);
    for id in &deleted {
        documents.remove(id);
    }
    rows
}

fn write(client: &mut Client, namespace: &str, rows: &BTreeMap<u64, Document>, deletes: &[u64]) {
    let column = |value: &dyn Fn(u64, Document) -> Value| -> Vec<Value> {
        rows.iter().map(|(id, row)| value(*id, *row)).collect()
    };
    let body = json!({
        "upsert_columns": {
            "id": column(&|id, _| json!(id)),
            "topic": column(&|_, row| json!(format!("topic-{}", row.topic))),
            "price": column(&|_, row| json!(row.price)),
            "title": column(&|id, row| json!(format!("the title of document {id} at {}", row.price))),
            "vector": column(&|id, row| json!(vector(id ^ (row.price << 20)))),
        },
        "deletes": deletes,
        "distance_metric": "euclidean_squared",
        "schema": {"title": {"type": "string", "filterable": false}},
    });
    client.ask(&request(
        "POST",
        &format!("/v2/namespaces/{namespace}"),
        &body.to_string(),
    ));
}

/// A vector of small integers.
fn vector(seed: u64) -> Vec<i8> {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    (0..32).map(|_| random.below(200) as i8).collect()
}

fn load_fresh(client: &mut Client, documents: &BTreeMap<u64, Document>) {
    let all: Vec<(u64, Document)> = documents.iter().map(|(id, row)| (*id, *row)).collect();
    for part in all.chunks(5_000) {
        write(client, FRESH, &part.iter().copied().collect(), &[]);
    }
}

/// Compares counts, sums, groups and documents with those of the map.
fn check(
    client: &mut Client,
    namespace: &str,
    documents: &BTreeMap<u64, Document>,
    random: &mut Random,
) {
    let low = random.below(90_000);
    let range = json!([
        "And",
        [["price", "Gte", low], ["price", "Lt", low + 10_000]]
    ]);
    let within = |row: &&Document| (low..low + 10_000).contains(&row.price);
    let answer = query(
        client,
        namespace,
        &json!({"aggregate_by": {"n": ["Count"], "sum": ["Sum", "price"]}, "filters": range}),
    );
    let found = &answer["aggregations"];
    let matching: Vec<&Document> = documents.values().filter(within).collect();
    let sum: u64 = matching.iter().map(|row| row.price).sum();
    assert_eq!(found["n"], json!(matching.len()), "count in {namespace}");
    if !matching.is_empty() {
        assert_eq!(found["sum"], json!(sum), "sum in {namespace}");
    }
    let answer = query(
        client,
        namespace,
        &json!({"aggregate_by": {"n": ["Count"]}, "group_by": ["topic"], "limit": 1_000}),
    );
    let mut expected: BTreeMap<String, u64> = BTreeMap::new();
    for row in documents.values() {
        *expected.entry(format!("topic-{}", row.topic)).or_default() += 1;
    }
    let groups = answer["aggregation_groups"].as_array().cloned();
    let found: BTreeMap<String, u64> = groups
        .unwrap_or_default()
        .iter()
        .map(|group| {
            let topic = group["topic"].as_str().unwrap_or_default().to_owned();
            (topic, group["n"].as_u64().unwrap_or_default())
        })
        .collect();
    assert_eq!(found, expected, "groups in {namespace}");
    let last = documents.last_key_value().map_or(1, |(id, _)| id + 1);
    let ids: Vec<u64> = (0..100).map(|_| random.below(last)).collect();
    let answer = query(
        client,
        namespace,
        &json!({
            "rank_by": ["id", "asc"],
            "filters": ["id", "In", ids],
            "limit": 1_000,
            "include_attributes": ["price", "topic"],
        }),
    );
    let rows = answer["rows"].as_array().cloned().unwrap_or_default();
    let found: Vec<(u64, u64)> = rows
        .iter()
        .filter_map(|row| Some((row["id"].as_u64()?, row["price"].as_u64()?)))
        .collect();
    let mut ids = ids;
    ids.sort_unstable();
    ids.dedup();
    let expected: Vec<(u64, u64)> = ids
        .iter()
        .filter_map(|id| Some((*id, documents.get(id)?.price)))
        .collect();
    assert_eq!(found, expected, "documents in {namespace}");
}

fn query(client: &mut Client, namespace: &str, body: &Value) -> Value {
    let path = format!("/v2/namespaces/{namespace}/query");
    let answer = client.ask(&request("POST", &path, &body.to_string()));
    serde_json::from_slice(&answer).expect("an answer in JSON")
}

fn post(client: &mut Client, namespace: &str, operation: &str) {
    let path = format!("/v1/namespaces/{namespace}/{operation}");
    client.ask(&request("POST", &path, ""));
}

/// Waits until no file comes or goes any more.
fn settle(folder: &Path) -> Duration {
    let began = Instant::now();
    let look = || [".parquet", ".idx", ".dvs"].map(|end| files(folder, end));
    let (mut seen, mut since) = (look(), Instant::now());
    while since.elapsed() < Duration::from_secs(6) {
        assert!(began.elapsed() < SETTLED, "it does not settle");
        std::thread::sleep(Duration::from_millis(100));
        let now = look();
        if now != seen {
            (seen, since) = (now, Instant::now());
        }
    }
    since - began
}

/// Collects by the command, twice; gives how many orphans a check finds then.
fn collect_twice(folder: &Path) -> usize {
    let url = format!("file://{}", folder.join("bucket").display());
    let run = |command: &str| {
        let mut command_line = Command::new(env!("CARGO_BIN_EXE_elacsym"));
        command_line.args([command, "--storage-url", &url]);
        command_line.args(SETTINGS.iter().flat_map(|setting| ["--set", setting]));
        command_line.args(["--set", "gc.claim_grace_ms=0"]);
        let ended = command_line.output().expect("the command starts");
        assert!(ended.status.success(), "{command}: {ended:?}");
        String::from_utf8_lossy(&ended.stdout).into_owned()
    };
    run("gc");
    run("gc");
    let said = run("fsck");
    said.lines()
        .filter(|line| line.starts_with("orphan"))
        .count()
}

/// How many files end so, and their bytes.
fn files(folder: &Path, end: &str) -> (u64, u64) {
    let mut folders = vec![folder.join("bucket")];
    let mut found = (0, 0);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            match entry.metadata() {
                Ok(meta) if meta.is_dir() => folders.push(entry.path()),
                Ok(meta) if name.ends_with(end) => {
                    found = (found.0 + 1, found.1 + meta.len());
                }
                _ => {}
            }
        }
    }
    found
}

fn metrics(client: &mut Client) -> BTreeMap<String, f64> {
    let text = client.ask(&request("GET", "/metrics", ""));
    String::from_utf8_lossy(&text)
        .lines()
        .filter_map(|line| line.split_once(' '))
        .filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?)))
        .collect()
}

/// Median and 95th percentile of a query, milliseconds, asked again and again while something goes on.
fn latency_while(server: &Server, work: impl FnOnce(&mut Client) + Send) -> (f64, f64) {
    let over = AtomicBool::new(false);
    let mut taken: Vec<f64> = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            work(&mut server.connect());
            over.store(true, Ordering::Release);
        });
        let mut client = server.connect();
        let mut n = 0;
        while !over.load(Ordering::Acquire) {
            n += 1;
            let low = n * 7_919 % 90_000;
            let range = json!(["And", [["price", "Gte", low], ["price", "Lt", low + 1_000]]]);
            let asked = json!({"aggregate_by": {"n": ["Count"]}, "filters": range});
            let began = Instant::now();
            query(&mut client, CHURNED, &asked);
            taken.push(began.elapsed().as_secs_f64() * 1e3);
            std::thread::sleep(Duration::from_millis(5));
        }
    });
    taken.sort_by(f64::total_cmp);
    let at = |share: f64| taken[((taken.len() - 1) as f64 * share) as usize];
    (at(0.5), at(0.95))
}

/// Knuth's MMIX generator; its high bits are good enough to spread values.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005);
        self.0 = self.0.wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}
