//! Filters, orders and groups over 1,000,000 documents of 8 attributes, warm, beside DuckDB over the very same Parquet files.
//!
//! A server process on a local directory takes the documents over HTTP and flushes them; DuckDB (in a Python process, as many
//! threads as the machine has) reads the segments' files. Questions alternate in rounds, and both must answer the same.
//! CPU time is all threads of the process. `ELACSYM_TEST_PEER_PYTHON` names a Python that has DuckDB (`benches/run` makes
//! one). No question is asked twice, so that no answer is remembered. Linux only: elsewhere it says so.

// Timing, real processes and plain sockets are what this bench is about.
#![allow(clippy::disallowed_methods)]

mod support;

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Instant;

use serde_json::{Value, json};
use support::{Client, Server, request};

const ROWS: u64 = 1_000_000;
const ROWS_A_REQUEST: u64 = 10_000;
const ROUNDS: usize = 5;
const TIMES_A_ROUND: usize = 40;
const CATALOGUE: &str = "catalogue";
const PASSAGES: &str = "passages";
const PASSAGES_ROWS: u64 = 100_000;
const DIMS: usize = 768;

/// The same question twice, and what the two answers must have in common.
struct Question {
    name: &'static str,
    namespace: &'static str,
    /// The n-th form of it, in JSON and in SQL.
    asked: fn(u64) -> Value,
    sql: fn(u64) -> String,
    /// The answer of the server in the form of rows.
    rows: fn(&Value) -> Vec<Vec<Value>>,
}

fn count(filters: &Value) -> Value {
    json!({"aggregate_by": {"n": ["Count"]}, "filters": filters})
}

fn questions() -> Vec<Question> {
    let total = |answer: &Value| vec![vec![answer["aggregations"]["n"].clone()]];
    vec![
        Question {
            name: "count, a range of 1 %",
            namespace: CATALOGUE,
            asked: |n| {
                count(&json!([
                    "And",
                    [["price", "Gte", n], ["price", "Lt", n + 1_000]]
                ]))
            },
            sql: |n| {
                format!(
                    "select count(*) from docs where price >= {n} and price < {}",
                    n + 1_000
                )
            },
            rows: total,
        },
        Question {
            name: "count, one value of 1,000",
            namespace: CATALOGUE,
            asked: |n| count(&json!(["topic", "Eq", format!("topic-{n}")])),
            sql: |n| format!("select count(*) from docs where topic = 'topic-{n}'"),
            rows: total,
        },
        Question {
            name: "count, a value and a range",
            namespace: CATALOGUE,
            asked: |n| {
                let user = format!("user-{}", 1_000 + n);
                count(&json!([
                    "And",
                    [["status", "Eq", "status-1"], ["user", "Lt", user]]
                ]))
            },
            sql: |n| {
                let user = 1_000 + n;
                format!(
                    "select count(*) from docs where status = 'status-1' and user < 'user-{user}'"
                )
            },
            rows: total,
        },
        Question {
            name: "first 100 by price, one shelf",
            namespace: CATALOGUE,
            asked: |n| {
                json!({
                    "rank_by": ["price", "desc"],
                    "filters": ["And", [["shelf", "Eq", "shelf-42"], ["price", "Lt", 99_000 - n]]],
                    "limit": 100,
                    "include_attributes": ["price"],
                })
            },
            sql: |n| {
                let below = 99_000 - n;
                format!(
                    "select id, price from docs where shelf = 'shelf-42' and price < {below} order by price desc, id limit 100"
                )
            },
            rows: |answer| pairs(&answer["rows"], ["id", "price"]),
        },
        Question {
            name: "first 100 by price",
            namespace: CATALOGUE,
            asked: |n| json!({"rank_by": ["price", "desc"], "limit": 100 + n, "include_attributes": ["price"]}),
            sql: |n| {
                format!(
                    "select id, price from docs order by price desc, id limit {}",
                    100 + n
                )
            },
            rows: |answer| pairs(&answer["rows"], ["id", "price"]),
        },
        Question {
            name: "count of each of 1,000 topics",
            namespace: CATALOGUE,
            asked: |n| json!({"aggregate_by": {"n": ["Count"]}, "group_by": ["topic"], "limit": 5_000 + n}),
            sql: |n| {
                let limit = 5_000 + n;
                format!(
                    "select topic, count(*) from docs group by topic order by topic limit {limit}"
                )
            },
            rows: |answer| pairs(&answer["aggregation_groups"], ["topic", "n"]),
        },
        Question {
            name: "nearest 10 of 0.1 %, exact",
            namespace: PASSAGES,
            asked: |n| {
                json!({
                    "rank_by": ["vector", "kNN", vector(1_000_000 + n)],
                    "filters": ["part", "Eq", n],
                    "limit": 10,
                })
            },
            sql: |n| {
                let vector = json!(vector(1_000_000 + n));
                format!(
                    "select id from docs where part = {n} order by list_distance(vector, {vector}::float[]), id limit 10"
                )
            },
            rows: |answer| {
                let rows = answer["rows"].as_array().cloned().unwrap_or_default();
                rows.into_iter()
                    .map(|row| vec![row["id"].clone()])
                    .collect()
            },
        },
    ]
}

/// A vector of small integers: distances are exact however they are summed.
fn vector(seed: u64) -> Vec<i8> {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    (0..DIMS).map(|_| random.below(200) as i8).collect()
}

/// Two fields of each row.
fn pairs(rows: &Value, keys: [&str; 2]) -> Vec<Vec<Value>> {
    let rows = rows.as_array().cloned().unwrap_or_default();
    let pair = |row: Value| keys.map(|key| row[key].clone()).to_vec();
    rows.into_iter().map(pair).collect()
}

fn main() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(folder.path(), &[]);
    if server.cpu().is_none() {
        println!("SKIPPED attributes: this system tells no CPU time by /proc");
        return;
    }
    let mut client = server.connect();
    let began = Instant::now();
    let bucket = folder.path().join("bucket");
    load_catalogue(&mut client);
    let catalogue = segments(&bucket);
    load_passages(&mut client);
    let mut passages = segments(&bucket);
    passages.retain(|file| !catalogue.contains(file));
    println!(
        "loaded and flushed in {:.1} s",
        began.elapsed().as_secs_f64()
    );
    println!(
        "milliseconds of CPU a question, median of {ROUNDS} rounds of {TIMES_A_ROUND} (least, most):"
    );
    let mut peer: (&str, Option<DuckDb>) = ("", None);
    for question in questions() {
        if peer.0 != question.namespace {
            let files = if question.namespace == PASSAGES {
                &passages
            } else {
                &catalogue
            };
            peer = (question.namespace, DuckDb::start(files));
        }
        compare(&question, &server, &mut client, &mut peer.1);
    }
}

fn compare(question: &Question, server: &Server, client: &mut Client, peer: &mut Option<DuckDb>) {
    let path = format!("/v2/namespaces/{}/query", question.namespace);
    let requests: Vec<_> = (0..(ROUNDS * TIMES_A_ROUND) as u64 + 1)
        .map(|n| request("POST", &path, &(question.asked)(n).to_string()))
        .collect();
    let (first, requests) = requests.split_first().expect("one at least");
    let answer = serde_json::from_slice(&client.ask(first)).expect("an answer in JSON");
    let found = (question.rows)(&answer);
    assert!(!found.is_empty(), "{}: no answer", question.name);
    if let Some(peer) = peer {
        let (theirs, _) = peer.ask(&[(question.sql)(0)]);
        assert_eq!(found, theirs, "{}", question.name);
    }
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for (round, requests) in requests.chunks(TIMES_A_ROUND).enumerate() {
        let before = server.cpu().unwrap_or_default();
        for request in requests {
            client.ask(request);
        }
        let spent = server.cpu().unwrap_or_default() - before;
        ours.push(spent.as_secs_f64() * 1e3 / TIMES_A_ROUND as f64);
        if let Some(peer) = peer {
            let first = (round * TIMES_A_ROUND) as u64 + 1;
            let asked = (first..).take(TIMES_A_ROUND).map(question.sql);
            theirs.push(peer.ask(&asked.collect::<Vec<_>>()).1);
        }
    }
    let mut line = format!("{:30} {}", question.name, text(&mut ours));
    if peer.is_some() {
        let theirs =
            text(&mut theirs) + &format!("; ratio {:.2}", ours[ROUNDS / 2] / theirs[ROUNDS / 2]);
        write!(line, "; DuckDB {theirs}").expect("text grows");
    }
    println!("{line}");
}

/// Median, least and most; sorts them.
fn text(spent: &mut [f64]) -> String {
    spent.sort_by(f64::total_cmp);
    let (least, most) = (spent[0], spent[spent.len() - 1]);
    format!("{:.2} ({least:.2}, {most:.2})", spent[spent.len() / 2])
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

fn load_catalogue(client: &mut Client) {
    let mut random = Random(7);
    for first in (0..ROWS).step_by(ROWS_A_REQUEST as usize) {
        let ids: Vec<u64> = (first..first + ROWS_A_REQUEST).collect();
        let mut column = |value: &dyn Fn(u64, u64) -> Value, below: u64| -> Vec<Value> {
            ids.iter()
                .map(|id| value(*id, random.below(below)))
                .collect()
        };
        let named = |name: &'static str| move |_: u64, n: u64| json!(format!("{name}-{n}"));
        let columns = json!({
            "id": ids,
            "topic": column(&named("topic"), 1_000),
            "shelf": column(&named("shelf"), 100),
            "status": column(&named("status"), 5),
            "user": column(&named("user"), 200_000),
            "year": column(&|_, n| json!(1_900 + n), 126),
            "price": column(&|_, n| json!(n as f64 / 1_000.0 + 0.0005), 100_000_000),
            "sold": column(&|_, n| json!(n == 0), 2),
            "seen": column(&|id, n| json!(id * 1_000 + n), 60_000),
        });
        write(client, CATALOGUE, &json!({"upsert_columns": columns}));
    }
    flush(client, CATALOGUE);
}

/// Vectors, each in one of 1,000 parts.
fn load_passages(client: &mut Client) {
    for first in (0..PASSAGES_ROWS).step_by(1_000) {
        let ids: Vec<u64> = (first..first + 1_000).collect();
        let columns = json!({
            "id": ids,
            "part": ids.iter().map(|id| id * 7_919 % 1_000).collect::<Vec<_>>(),
            "vector": ids.iter().map(|id| vector(*id)).collect::<Vec<_>>(),
        });
        let schema = json!({"vector": format!("[{DIMS}]f32")});
        let body = json!({
            "upsert_columns": columns,
            "distance_metric": "euclidean_squared",
            "schema": schema,
        });
        write(client, PASSAGES, &body);
    }
    flush(client, PASSAGES);
}

fn write(client: &mut Client, namespace: &str, body: &Value) {
    let path = format!("/v2/namespaces/{namespace}");
    client.ask(&request("POST", &path, &body.to_string()));
}

fn flush(client: &mut Client, namespace: &str) {
    let path = format!("/v1/namespaces/{namespace}/flush");
    client.ask(&request("POST", &path, ""));
}

/// The Parquet files of all segments.
fn segments(bucket: &Path) -> Vec<PathBuf> {
    let mut folders = vec![bucket.to_owned()];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "parquet") {
                files.push(path);
            }
        }
    }
    files
}

/// DuckDB in a Python process of its own.
struct DuckDb {
    child: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl DuckDb {
    /// Starts it over files; without a Python that has it, says so.
    fn start(files: &[PathBuf]) -> Option<Self> {
        let Ok(python) = std::env::var("ELACSYM_TEST_PEER_PYTHON") else {
            println!("SKIPPED duckdb: ELACSYM_TEST_PEER_PYTHON unset");
            return None;
        };
        let script = Path::new("benches/peers/duckdb_files.py");
        let mut child = Command::new(python)
            .arg(script)
            .args(files)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the peer starts");
        let questions = child.stdin.take().expect("piped");
        let answers = BufReader::new(child.stdout.take().expect("piped"));
        Some(Self {
            child,
            questions,
            answers,
        })
    }

    /// The rows of the last answer, and milliseconds of CPU that one took.
    fn ask(&mut self, questions: &[String]) -> (Vec<Vec<Value>>, f64) {
        writeln!(self.questions, "{}", json!(questions)).expect("the peer reads");
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("the peer answers");
        let answer: Value = serde_json::from_str(&line).expect("an answer in JSON");
        let rows = answer["rows"].as_array().expect("rows").iter();
        let rows = rows.map(|row| row.as_array().cloned().unwrap_or_default());
        let cpu_ms = answer["cpu_ms"].as_f64().expect("a time");
        (rows.collect(), cpu_ms)
    }
}

impl Drop for DuckDb {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
