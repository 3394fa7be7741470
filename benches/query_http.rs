//! What do HTTP and JSON cost a server for each query? CPU time of a server process, read from the kernel, over many
//! queries of a namespace with one document, so that the search itself is next to nothing.
//!
//! Queries alternate in rounds with `GET /livez`, what HTTP alone costs, and with the same queries asked of an engine in
//! this process, without HTTP and JSON. Once one connection asks one query at a time, so that the server goes to sleep and
//! wakes up for each; once sixteen connections each have a query open, as under load. Eventual reads ask the store
//! nothing; strong ones look for the next slot of the log. Linux only: elsewhere it says so.

// Timing, real processes and plain sockets are what this bench is about.
#![allow(clippy::disallowed_methods)]

mod support;

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use elacsym::namespace::{Engine, EngineOptions, World};
use elacsym::query::request::{Consistency, Include, Paging, Query, RankBy};
use elacsym::runtime::{ComputePool, OsEntropy, SystemClock};
use elacsym::store::local::LocalBucket;
use elacsym::telemetry::Metrics;
use elacsym::types::document::RawValue;
use elacsym::types::{Clock, NamespaceName};

use support::{Client, Server, cpu_of, request};

const ROUNDS: usize = 5;
const REQUESTS_A_ROUND: usize = 16_000;
/// Connections with a request open at the same time.
const OPEN: [usize; 2] = [1, 16];

fn main() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(folder.path(), &[]);
    let Some(_) = server.cpu() else {
        println!("SKIPPED query_http: this system tells no CPU time by /proc");
        return;
    };
    for (namespace, dims) in [("d128", 128), ("d768", 768)] {
        let row = format!(
            r#"{{"upsert_rows":[{{"id":1,"vector":{}}}],"distance_metric":"cosine_distance"}}"#,
            numbers(dims)
        );
        server.connect().ask(&request(
            "POST",
            &format!("/v2/namespaces/{namespace}"),
            &row,
        ));
    }
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let engine = runtime.block_on(engine(&folder.path().join("bucket")));
    let query = |vector: &str, level: &str| {
        format!(
            r#"{{"rank_by":["vector","ANN",{vector}],"limit":10,"consistency":{{"level":"{level}"}}}}"#
        )
    };
    let ask = |dims: usize, vector: &str, level: &str| {
        let path = format!("/v2/namespaces/d{dims}/query");
        request("POST", &path, &query(vector, level))
    };
    let cases = [
        ("GET /livez", request("GET", "/livez", "")),
        (
            "128 dims as base64, eventual",
            ask(128, &base64(128), "eventual"),
        ),
        (
            "768 dims as numbers, eventual",
            ask(768, &numbers(768), "eventual"),
        ),
        (
            "768 dims as base64, eventual",
            ask(768, &base64(768), "eventual"),
        ),
        (
            "128 dims as base64, strong",
            ask(128, &base64(128), "strong"),
        ),
    ];
    let mut clients: Vec<Client> = (0..OPEN[1]).map(|_| server.connect()).collect();
    let mut spent = [(); OPEN.len()].map(|()| vec![Vec::new(); cases.len()]);
    let mut alone = [Vec::new(), Vec::new()];
    for round in 0..=ROUNDS {
        for (open, spent) in OPEN.into_iter().zip(&mut spent) {
            for ((_, request), spent) in cases.iter().zip(spent) {
                let before = server.cpu().unwrap_or_default();
                for _ in 0..REQUESTS_A_ROUND / open {
                    for client in &mut clients[..open] {
                        client.send(request);
                    }
                    for client in &mut clients[..open] {
                        client.receive();
                    }
                }
                let each = (server.cpu().unwrap_or_default() - before).as_secs_f64() * 1e6
                    / REQUESTS_A_ROUND as f64;
                // The first round warms up.
                if round > 0 {
                    spent.push(each);
                }
            }
        }
        for (dims, spent) in [128, 768].into_iter().zip(&mut alone) {
            let before = cpu_of("self").unwrap_or_default();
            let asked = eventual(dims);
            let name = NamespaceName::parse(&format!("d{dims}")).expect("a name");
            for _ in 0..REQUESTS_A_ROUND {
                let reply = runtime.block_on(engine.query(&name, asked.clone()));
                assert_eq!(reply.expect("an answer").rows.len(), 1);
            }
            let each = (cpu_of("self").unwrap_or_default() - before).as_secs_f64() * 1e6
                / REQUESTS_A_ROUND as f64;
            if round > 0 {
                spent.push(each);
            }
        }
    }
    let middle = |spent: &mut Vec<f64>| {
        spent.sort_by(f64::total_cmp);
        spent[ROUNDS / 2]
    };
    println!("CPU a request, microseconds, median of {ROUNDS} rounds (least, most):");
    let alone = alone.map(|mut spent| middle(&mut spent));
    for (open, spent) in OPEN.into_iter().zip(&mut spent) {
        println!("{open} open at a time:");
        let middles: Vec<f64> = spent.iter_mut().map(middle).collect();
        for ((name, _), (spent, middle)) in cases.iter().zip(spent.iter().zip(&middles)) {
            let (least, most) = (spent[0], spent[ROUNDS - 1]);
            println!("  {name:32} {middle:6.1} ({least:.1}, {most:.1})");
        }
        println!(
            "  HTTP and JSON: {:.1} at 128 dims as base64, {:.1} at 768 dims as numbers",
            middles[1] - alone[0],
            middles[2] - alone[1]
        );
    }
    println!(
        "engine alone, eventual: {:.1} at 128 dims, {:.1} at 768 dims",
        alone[0], alone[1]
    );
}

/// An engine of this process over the server's bucket.
async fn engine(bucket: &std::path::Path) -> Engine {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let world = World {
        bucket: Arc::new(LocalBucket::open(bucket).await.expect("a bucket")),
        clock,
        entropy: Arc::new(OsEntropy),
        compute: Arc::new(ComputePool::new(0).expect("threads")),
        metrics: Arc::new(Metrics::new().expect("metrics")),
    };
    Engine::new(world, EngineOptions::default())
}

fn eventual(dims: usize) -> Query {
    Query {
        rank_by: RankBy::Vector {
            attribute: "vector".to_owned(),
            vector: RawValue::Numbers {
                values: values(dims).into_iter().map(f64::from).collect(),
                integers: false,
            },
            exact: false,
        },
        limit: 10,
        per: None,
        offset: 0,
        paging: Paging::Off,
        filter: None,
        include: Include::Nothing,
        compute: Vec::new(),
        distance_metric: None,
        consistency: Consistency::Eventual {
            max_staleness_seconds: 3_600,
        },
        allow_degraded: false,
    }
}

fn values(dims: usize) -> Vec<f32> {
    (0..dims)
        .map(|at| ((at * 7919 % 1000) as f32).mul_add(0.001, -0.4567))
        .collect()
}

fn numbers(dims: usize) -> String {
    format!("{:?}", values(dims))
}

fn base64(dims: usize) -> String {
    let bytes: Vec<u8> = values(dims)
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    format!("\"{}\"", STANDARD.encode(bytes))
}
