//! Two servers that flush, merge and collect garbage of one namespace all the time, each as if it were alone.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

use crate::client::Client;
use crate::journal::Journal;
use crate::kills::{FLUSHING, audit, nothing_else_is_left, setting};
use crate::random::Random;
use crate::server::{Process, sleep};

const NAMESPACE: &str = "beside";
const WRITERS_EACH: u64 = 2;
/// Seconds of the test command; `ELACSYM_TEST_BESIDE_SECONDS` asks for more.
const SECONDS: u64 = 5;
const AUDIT_EVERY: Duration = Duration::from_secs(1);

#[test]
fn two_servers_that_flush_merge_and_collect_at_once_waste_work_at_most() {
    let directory = TempDir::new().expect("a directory");
    let start = || Process::start_with(directory.path(), &[], &FLUSHING).serving();
    let servers = [start(), start()];
    let mut random = Random::new(7);
    let mut journals: Vec<Journal> = (0..2 * WRITERS_EACH)
        .map(|writer| Journal::new(writer, random.next()))
        .collect();
    let seconds = setting("ELACSYM_TEST_BESIDE_SECONDS", SECONDS);
    for _ in 0..seconds {
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            for (place, journal) in journals.iter_mut().enumerate() {
                let client = Client::new(&servers[place % 2].url, NAMESPACE);
                let stop = &stop;
                scope.spawn(move || journal.write_until_stopped(&client, stop));
            }
            for server in &servers {
                for operation in ["flush", "compact?if_needed=true", "compact"] {
                    let client = Client::new(&server.url, NAMESPACE);
                    let stop = &stop;
                    scope.spawn(move || ask_until_stopped(&client, operation, stop));
                }
            }
            sleep(AUDIT_EVERY);
            stop.store(true, Ordering::SeqCst);
        });
        for server in &servers {
            let client = Client::new(&server.url, NAMESPACE);
            audit(&client, &mut journals, "by one of the two");
        }
    }
    let acknowledged: u64 = journals
        .iter()
        .map(|journal| journal.acknowledgements)
        .sum();
    assert!(acknowledged > 0, "nothing was ever acknowledged");
    for (place, server) in servers.iter().enumerate() {
        let client = Client::new(&server.url, NAMESPACE);
        let metrics = client.get("/metrics").body;
        let metrics = metrics.as_str().expect("text");
        let told = |name: &str| {
            let line = metrics.lines().find_map(|line| line.strip_prefix(name));
            line.map_or("none", str::trim).to_owned()
        };
        println!(
            "server {place}: {} merges, {} in vain; {} flushes failed; {} objects collected in {} passes, {} failed",
            told("elacsym_compaction_merges_total"),
            told("elacsym_compaction_failures_total"),
            told("elacsym_flush_failures_total"),
            told("elacsym_gc_deleted_objects_total"),
            told("elacsym_gc_passes_total"),
            told("elacsym_gc_failures_total"),
        );
        let alarms = told("elacsym_divergence_alarms_total");
        assert_eq!(alarms, "0", "manifests of one state differ");
    }
    println!("{acknowledged} writes acknowledged in {seconds} s");
    drop(servers);
    nothing_else_is_left(directory.path(), 0);
    let last = start();
    let client = Client::new(&last.url, NAMESPACE);
    audit(&client, &mut journals, "after garbage was collected");
}

/// Asks for an operation until told to stop: it may come second, and is never refused otherwise.
fn ask_until_stopped(client: &Client, operation: &str, stop: &AtomicBool) {
    while !stop.load(Ordering::SeqCst) {
        let answer = client.operate(operation).expect("a living server answers");
        let fine = matches!(answer.status, 200 | 404 | 503);
        assert!(fine, "{operation}: {} {}", answer.status, answer.body);
    }
}
