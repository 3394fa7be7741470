//! What does a durable write cost over HTTP, beside the bare file operations it cannot do without, and
//! beside Qdrant's embedded engine, which has no network to cross?
//!
//! One process holds a server on a local directory and its clients, on loopback. Each figure is taken in
//! rounds that alternate with the references: write a small file, fsync, link it to its name, fsync the
//! folder; and Qdrant's upsert and flush. `ELACSYM_TEST_BENCH_DIR` names a folder on the disk to measure
//! (default: the working folder), `ELACSYM_TEST_PEER_PYTHON` a Python that has Qdrant (`benches/run`
//! makes one).

// Timing, a real folder and plain threads are what this bench is about.
#![allow(clippy::disallowed_methods)]

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use elacsym::access::Keyring;
use elacsym::config::ServerSettings;
use elacsym::http::{App, router, serve};
use elacsym::namespace::{Engine, EngineOptions, World};
use elacsym::runtime::{ComputePool, MemoryBudget, OsEntropy, SystemClock};
use elacsym::store::local::LocalBucket;
use elacsym::telemetry::Metrics;
use elacsym::types::{Clock, Entropy};

/// As the binary has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const DIMS: usize = 128;
const ROUNDS: usize = 5;
const SINGLES_A_ROUND: usize = 200;
const BATCHES_A_ROUND: usize = 20;
const BATCH_ROWS: usize = 1_000;
const WRITERS: usize = 64;
const WRITER_ROWS: usize = 400;

fn main() {
    let base = std::env::var("ELACSYM_TEST_BENCH_DIR").unwrap_or_else(|_| ".".to_owned());
    let folder = tempfile::tempdir_in(base).expect("a folder to measure on");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let url = runtime.block_on(start(&folder.path().join("bucket")));
    let raw = folder.path().join("raw");
    fs::create_dir(&raw).expect("a folder for the reference");

    let mut reference = Vec::new();
    let mut single = Vec::new();
    let (mut batch, mut batch_of_numbers) = (Vec::new(), Vec::new());
    let client = ureq::Agent::new_with_defaults();
    let mut qdrant = Qdrant::start(&folder.path().join("qdrant"));
    let (mut qdrant_single, mut qdrant_batch) = (Vec::new(), Vec::new());
    let mut next_id = 0;
    for namespace in ["singles", "batches", "numbers"] {
        write(&client, &url, namespace, &body(&mut next_id, 1, base64));
    }
    for round in 0..ROUNDS {
        for n in 0..SINGLES_A_ROUND {
            reference.push(timed(|| publish(&raw, round * SINGLES_A_ROUND + n)));
            let one = body(&mut next_id, 1, base64);
            single.push(timed(|| write(&client, &url, "singles", &one)));
        }
        for _ in 0..BATCHES_A_ROUND {
            let thousand = body(&mut next_id, BATCH_ROWS, base64);
            batch.push(timed(|| write(&client, &url, "batches", &thousand)));
            let thousand = body(&mut next_id, BATCH_ROWS, numbers);
            batch_of_numbers.push(timed(|| write(&client, &url, "numbers", &thousand)));
        }
        if let Some(qdrant) = &mut qdrant {
            qdrant_single.extend(qdrant.upserts(1, SINGLES_A_ROUND));
            qdrant_batch.extend(qdrant.upserts(BATCH_ROWS, BATCHES_A_ROUND));
        }
    }
    let bare = report("bare file, fsync, link, fsync folder", &mut reference);
    let one = report("one durable row", &mut single);
    let thousand = report("1,000 durable rows x 128, base64", &mut batch);
    let of_numbers = report("1,000 durable rows x 128, numbers", &mut batch_of_numbers);
    println!("one row / bare: {:.2}", ratio(one, bare));
    if qdrant.is_some() {
        let peer_one = report("one durable row, Qdrant in process", &mut qdrant_single);
        let peer_thousand = report("1,000 durable rows, Qdrant in process", &mut qdrant_batch);
        println!("one row / Qdrant: {:.2}", ratio(one, peer_one));
        println!(
            "1,000 rows / Qdrant: {:.2} as base64, {:.2} as numbers",
            ratio(thousand, peer_thousand),
            ratio(of_numbers, peer_thousand)
        );
    }

    let began = Instant::now();
    thread::scope(|scope| {
        for writer in 0..WRITERS {
            let url = &url;
            scope.spawn(move || {
                let client = ureq::Agent::new_with_defaults();
                let mut id = writer * WRITER_ROWS;
                for _ in 0..WRITER_ROWS {
                    write(&client, url, "shared", &body(&mut id, 1, base64));
                }
            });
        }
    });
    let rows = (WRITERS * WRITER_ROWS) as f64;
    let rate = rows / began.elapsed().as_secs_f64();
    println!("{WRITERS} single-row writers: {rate:.0} rows/s, clients included");
    println!(
        "one writer of bare files: {:.0} files/s",
        1.0 / bare.as_secs_f64()
    );
}

async fn start(bucket: &Path) -> String {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let entropy: Arc<dyn Entropy> = Arc::new(OsEntropy);
    let metrics = Arc::new(Metrics::new().expect("metrics"));
    let compute = Arc::new(ComputePool::new(0).expect("threads"));
    let world = World {
        bucket: Arc::new(LocalBucket::open(bucket).await.expect("a bucket")),
        clock: Arc::clone(&clock),
        entropy: Arc::clone(&entropy),
        compute: Arc::clone(&compute),
        metrics: Arc::clone(&metrics),
    };
    let app = router(App {
        engine: Engine::new(world, EngineOptions::default()),
        keyring: Arc::new(Keyring::new(Vec::new())),
        metrics,
        budget: MemoryBudget::new("request bodies", 512 << 20, 1_000),
        compute,
        settings: Arc::new(ServerSettings::default()),
        clock,
        entropy,
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move { serve(listener, app, std::future::pending()).await });
    format!("http://{address}/v2/namespaces")
}

fn body(next_id: &mut usize, rows: usize, encode: fn(&[f32]) -> String) -> String {
    let rows: Vec<String> = (0..rows)
        .map(|_| {
            *next_id += 1;
            let vector: Vec<f32> = (0..DIMS)
                .map(|dim| ((*next_id * 31 + dim * 17) % 997) as f32 / 997.0)
                .collect();
            format!(r#"{{"id":{next_id},"vector":{}}}"#, encode(&vector))
        })
        .collect();
    let rows = rows.join(",");
    format!(r#"{{"distance_metric":"euclidean_squared","upsert_rows":[{rows}]}}"#)
}

/// A vector as the official clients send it.
fn base64(vector: &[f32]) -> String {
    let bytes: Vec<u8> = vector
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    format!("\"{}\"", STANDARD.encode(bytes))
}

/// A vector as people and other clients send it.
fn numbers(vector: &[f32]) -> String {
    let numbers: Vec<String> = vector.iter().map(f32::to_string).collect();
    format!("[{}]", numbers.join(","))
}

fn write(client: &ureq::Agent, url: &str, namespace: &str, body: &str) {
    let mut reply = client
        .post(format!("{url}/{namespace}"))
        .content_type("application/json")
        .send(body)
        .expect("an acknowledged write");
    reply.body_mut().read_to_vec().expect("a whole reply");
}

fn publish(folder: &Path, n: usize) {
    let temporary = folder.join("temporary");
    let mut file = File::create(&temporary).expect("a file");
    file.write_all(&[7; 1_024]).expect("written");
    file.sync_all().expect("synced");
    fs::hard_link(&temporary, folder.join(n.to_string())).expect("linked");
    File::open(folder)
        .expect("the folder")
        .sync_all()
        .expect("synced");
    fs::remove_file(&temporary).expect("removed");
}

fn timed(work: impl FnOnce()) -> Duration {
    let began = Instant::now();
    work();
    began.elapsed()
}

/// Prints p50 and p99, and returns p50.
fn report(what: &str, times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    let (p50, p99) = (times[times.len() / 2], times[times.len() * 99 / 100]);
    let ms = |time: Duration| time.as_secs_f64() * 1_000.0;
    println!("{what}: p50 {:.2} ms, p99 {:.2} ms", ms(p50), ms(p99));
    p50
}

fn ratio(time: Duration, reference: Duration) -> f64 {
    time.as_secs_f64() / reference.as_secs_f64()
}

/// Qdrant's embedded engine in a Python process of its own.
struct Qdrant {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Qdrant {
    /// Starts it on a folder; without a Python that has it, says so.
    fn start(folder: &Path) -> Option<Self> {
        let Ok(python) = std::env::var("ELACSYM_TEST_PEER_PYTHON") else {
            println!("SKIPPED qdrant: ELACSYM_TEST_PEER_PYTHON unset");
            return None;
        };
        fs::create_dir(folder).expect("a folder for the peer");
        let script = Path::new("benches/peers/qdrant.py");
        let mut child = Command::new(python)
            .arg(script)
            .arg(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the peer starts");
        let orders = child.stdin.take().expect("piped");
        let answers = BufReader::new(child.stdout.take().expect("piped"));
        Some(Self {
            child,
            orders,
            answers,
        })
    }

    /// Upserts and flushes `rows` rows, `times` times.
    fn upserts(&mut self, rows: usize, times: usize) -> Vec<Duration> {
        writeln!(self.orders, "{rows} {times}").expect("the peer reads");
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("the peer answers");
        let micros = line.split_whitespace();
        let taken: Vec<Duration> = micros
            .map(|micros| Duration::from_micros(micros.parse().expect("microseconds")))
            .collect();
        assert_eq!(taken.len(), times, "the peer's answer: {line}");
        taken
    }
}

impl Drop for Qdrant {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
