//! Filters, orders and groups over 1,000,000 documents of 8 attributes, warm, beside DuckDB over the very same Parquet files.
//!
//! A server process on a local directory takes the documents over HTTP and flushes them; DuckDB (in a Python process, as many
//! threads as the machine has) reads the segments' files. Questions alternate in rounds, and both must answer the same.
//! CPU time is all threads of the process. `ELACSYM_TEST_PEER_PYTHON` names a Python that has DuckDB (`benches/run` makes
//! one). Linux only: elsewhere it says so.

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
const TIMES_A_ROUND: usize = 10;
const NAMESPACE: &str = "catalogue";

/// The same question twice, and what the two answers must have in common.
struct Question {
    name: &'static str,
    asked: Value,
    sql: &'static str,
    /// The answer of the server in the form of rows.
    rows: fn(&Value) -> Vec<Vec<Value>>,
}

fn questions() -> Vec<Question> {
    let count = |filters: Value| json!({"aggregate_by": {"n": ["Count"]}, "filters": filters});
    let total = |answer: &Value| vec![vec![answer["aggregations"]["n"].clone()]];
    vec![
        Question {
            name: "count, a range of 1 %",
            asked: count(json!(["price", "Lt", 1_000])),
            sql: "select count(*) from docs where price < 1000",
            rows: total,
        },
        Question {
            name: "count, one value of 100",
            asked: count(json!(["shelf", "Eq", "shelf-42"])),
            sql: "select count(*) from docs where shelf = 'shelf-42'",
            rows: total,
        },
        Question {
            name: "count, a value and a range",
            asked: count(json!([
                "And",
                [["status", "Eq", "status-1"], ["year", "Gte", 2_000]]
            ])),
            sql: "select count(*) from docs where status = 'status-1' and year >= 2000",
            rows: total,
        },
        Question {
            name: "first 100 by price",
            asked: json!({"rank_by": ["price", "desc"], "limit": 100, "include_attributes": ["price"]}),
            sql: "select id, price from docs order by price desc, id limit 100",
            rows: |answer| pairs(&answer["rows"], ["id", "price"]),
        },
        Question {
            name: "count of each of 1,000 topics",
            asked: json!({"aggregate_by": {"n": ["Count"]}, "group_by": ["topic"], "limit": 10_000}),
            sql: "select topic, count(*) from docs group by topic order by topic",
            rows: |answer| pairs(&answer["aggregation_groups"], ["topic", "n"]),
        },
    ]
}

/// Two fields of each row.
fn pairs(rows: &Value, keys: [&str; 2]) -> Vec<Vec<Value>> {
    let rows = rows.as_array().cloned().unwrap_or_default();
    let pair = |row: Value| keys.map(|key| row[key].clone()).to_vec();
    rows.into_iter().map(pair).collect()
}

fn main() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(folder.path());
    if server.cpu().is_none() {
        println!("SKIPPED attributes: this system tells no CPU time by /proc");
        return;
    }
    let mut client = server.connect();
    let began = Instant::now();
    load(&mut client);
    println!(
        "loaded and flushed in {:.1} s",
        began.elapsed().as_secs_f64()
    );
    let mut peer = DuckDb::start(&segments(&folder.path().join("bucket")));
    println!(
        "milliseconds of CPU a question, median of {ROUNDS} rounds of {TIMES_A_ROUND} (least, most):"
    );
    for question in questions() {
        let path = format!("/v2/namespaces/{NAMESPACE}/query");
        let asked = request("POST", &path, &question.asked.to_string());
        let mut ask =
            || -> Value { serde_json::from_slice(&client.ask(&asked)).expect("an answer in JSON") };
        let found = (question.rows)(&ask());
        assert!(!found.is_empty(), "{}: no answer", question.name);
        if let Some(peer) = &mut peer {
            let (theirs, _) = peer.ask(question.sql, 1);
            assert_eq!(found, theirs, "{}", question.name);
        }
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let before = server.cpu().unwrap_or_default();
            for _ in 0..TIMES_A_ROUND {
                ask();
            }
            let spent = server.cpu().unwrap_or_default() - before;
            ours.push(spent.as_secs_f64() * 1e3 / TIMES_A_ROUND as f64);
            if let Some(peer) = &mut peer {
                theirs.push(peer.ask(question.sql, TIMES_A_ROUND).1);
            }
        }
        let mut line = format!("{:30} {}", question.name, text(&mut ours));
        if peer.is_some() {
            let theirs = text(&mut theirs)
                + &format!("; ratio {:.2}", ours[ROUNDS / 2] / theirs[ROUNDS / 2]);
            write!(line, "; DuckDB {theirs}").expect("text grows");
        }
        println!("{line}");
    }
}

/// Median, least and most; sorts them.
fn text(spent: &mut [f64]) -> String {
    spent.sort_by(f64::total_cmp);
    let (least, most) = (spent[0], spent[spent.len() - 1]);
    format!("{:.2} ({least:.2}, {most:.2})", spent[spent.len() / 2])
}

fn load(client: &mut Client) {
    let mut random = 7_u64;
    let mut next = |below: u64| {
        // Knuth's MMIX generator; its high bits are good enough to spread values.
        random = random.wrapping_mul(6_364_136_223_846_793_005);
        random = random.wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % below
    };
    for first in (0..ROWS).step_by(ROWS_A_REQUEST as usize) {
        let ids: Vec<u64> = (first..first + ROWS_A_REQUEST).collect();
        let mut column = |value: &dyn Fn(u64, u64) -> Value, below: u64| -> Vec<Value> {
            ids.iter().map(|id| value(*id, next(below))).collect()
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
        let body = json!({"upsert_columns": columns}).to_string();
        client.ask(&request(
            "POST",
            &format!("/v2/namespaces/{NAMESPACE}"),
            &body,
        ));
    }
    client.ask(&request(
        "POST",
        &format!("/v1/namespaces/{NAMESPACE}/flush"),
        "",
    ));
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
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peers/duckdb_files.py");
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

    /// The rows of an answer, and milliseconds of CPU that one of `times` took.
    fn ask(&mut self, sql: &str, times: usize) -> (Vec<Vec<Value>>, f64) {
        let order = json!({"sql": sql, "times": times});
        writeln!(self.questions, "{order}").expect("the peer reads");
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
