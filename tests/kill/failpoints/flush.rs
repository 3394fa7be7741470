//! Flushes while a failpoint waits in one, and after it has struck.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use super::stage::{Before, NAMESPACE, Stages, named};
use crate::client::Client;
use crate::kills::audit;
use crate::server::{Process, Server};
use elacsym::runtime::failpoint::VARIABLE;

/// Blocks go as soon as they may; a claim of the dead is soon taken back. Segments are merged all the time, and
/// what they were made of goes at once.
pub(super) const FLUSHING: [&str; 7] = [
    "retention.history_ms=0",
    "flush.keep_blocks=0",
    "flush.claim_patience_ms=200",
    "compaction.fan_in=2",
    "compaction.max_segments=2",
    "compaction.dead_rows=1",
    "gc.interval_ms=0",
];
/// An id of no journal: there is always something to flush.
const SPARE_ID: u64 = 1_000_000;
/// Flushes after which nothing of a truncated block is left.
const FLUSHES_TO_CLEAN: u64 = 3;

/// Asks one server for flushes until it is stopped.
#[derive(Debug)]
pub(super) struct Flusher {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<(), String>>>,
}

impl Flusher {
    pub(super) fn start(url: &str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let client = Client::new(url, NAMESPACE);
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || flush_until(&client, &stopped));
        let thread = Some(thread);
        Self { stop, thread }
    }

    /// Stops it. Every request was answered with 200 or 503, unless the server dies.
    pub(super) fn stop(mut self, dies: bool) {
        self.stop.store(true, Ordering::SeqCst);
        let thread = self.thread.take().expect("stopped once");
        match thread.join().expect("a flusher") {
            Ok(()) => {}
            Err(error) => assert!(dies, "unanswered by a living server: {error}"),
        }
    }
}

impl Drop for Flusher {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
    }
}

fn flush_until(client: &Client, stop: &AtomicBool) -> Result<(), String> {
    let mut value = 0;
    while !stop.load(Ordering::SeqCst) {
        value += 1;
        let written = client.try_write(&crate::client::upsert_body(&[(SPARE_ID, value)]));
        let flushed = written.and_then(|_| client.try_flush());
        let flushed = flushed.map_err(|error| error.to_string())?;
        assert!(matches!(flushed.status, 200 | 503), "{}", flushed.body);
    }
    Ok(())
}

/// Flushes work again, and what was truncated goes.
pub(super) fn flush_on(client: &Client, data: &Path, before: Before) {
    for value in 0..FLUSHES_TO_CLEAN {
        client.upsert(&[(SPARE_ID, value)]);
        let flushed = client.try_flush().expect("an answer");
        assert_eq!(flushed.status, 200, "{}", flushed.body);
        assert_eq!(flushed.body["triggered"], true, "{}", flushed.body);
    }
    // No other namespace here has segments.
    let segment = named(data, "/seg/").pop().expect("a segment");
    let own = segment.ancestors().nth(3).expect("a namespace");
    let block = own.join("wal/000000000000/").display().to_string();
    let left = named(data, &block).len();
    assert!(
        before != Before::Long || left == 0,
        "{left} slots of block 0"
    );
}

/// By the settings a server has by default.
#[test]
fn failpoint_claim_of_a_dead_node_holds_a_flush_up_for_seconds() {
    let stages = Stages::set_bare();
    let mut stage = stages.copy(Before::Small);
    let order = (VARIABLE, "f2=die-before@1");
    let armed = Process::start_with(stage.path(), &[order], &[]).serving();
    let client = Client::new(&armed.url, NAMESPACE);
    assert!(client.try_flush().is_err(), "it dies");
    drop(armed);
    let restarted = Process::start_with(stage.path(), &[], &["server.request_timeout_ms=20000"]);
    let restarted: Server = restarted.serving();
    let client = Client::new(&restarted.url, NAMESPACE);
    let flushed = client.try_flush().expect("an answer");
    assert_eq!(flushed.status, 200, "{}", flushed.body);
    assert_eq!(flushed.body["triggered"], true, "{}", flushed.body);
    audit(&client, &mut stage.journals, "flushed");
}
