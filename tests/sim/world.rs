//! What everything in one simulation shares: the seed's choices, virtual time, the trace, the counts.

use std::collections::BTreeMap;

use elacsym::runtime::tasks::Tasks;
use elacsym::types::Timestamp;
use parking_lot::Mutex;
use tokio::time::Instant;
use xxhash_rust::xxh3::Xxh3;

use crate::random::Random;

/// Wall time at which every simulation begins, milliseconds.
const BEGAN_AT_MS: i64 = 1_700_000_000_000;

/// One simulated world. All of it lives on one thread.
#[derive(Debug)]
pub(crate) struct World {
    random: Mutex<Random>,
    trace: Mutex<Trace>,
    counts: Mutex<BTreeMap<&'static str, u64>>,
    began: Instant,
    /// Faults strike only while this is set.
    stormy: Mutex<bool>,
    /// What travels between nodes and store: it goes on when a node dies.
    pub(crate) network: Tasks,
    /// What has been seen to be wrong while it ran.
    alarms: Mutex<Vec<String>>,
}

struct Trace {
    hash: Xxh3,
    n_events: u64,
    lines: Option<Vec<String>>,
}

impl std::fmt::Debug for Trace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Trace")
            .field("n_events", &self.n_events)
            .finish_non_exhaustive()
    }
}

impl World {
    /// Begins at virtual time 0; `keep_lines` keeps the trace's text and not only its hash.
    #[allow(
        clippy::disallowed_methods,
        reason = "the runtime's clock is paused: this is virtual time"
    )]
    pub(crate) fn new(seed: u64, keep_lines: bool) -> Self {
        Self {
            random: Mutex::new(Random::new(seed)),
            trace: Mutex::new(Trace {
                hash: Xxh3::new(),
                n_events: 0,
                lines: keep_lines.then(Vec::new),
            }),
            counts: Mutex::default(),
            began: Instant::now(),
            stormy: Mutex::new(false),
            network: Tasks::default(),
            alarms: Mutex::default(),
        }
    }

    /// Makes one choice.
    pub(crate) fn choose<T>(&self, choice: impl FnOnce(&mut Random) -> T) -> T {
        choice(&mut self.random.lock())
    }

    /// Virtual time since the beginning, milliseconds.
    pub(crate) fn now_ms(&self) -> u64 {
        self.began.elapsed().as_millis() as u64
    }

    /// Virtual wall time, `skew_ms` off.
    pub(crate) fn wall(&self, skew_ms: i64) -> Timestamp {
        Timestamp(BEGAN_AT_MS + self.now_ms() as i64 + skew_ms)
    }

    /// Records one event and gives its number: the order of all that happens.
    pub(crate) fn note(&self, event: std::fmt::Arguments<'_>) -> u64 {
        let mut trace = self.trace.lock();
        trace.n_events += 1;
        let line = format!("{:>6} {:>9} ms  {event}", trace.n_events, self.now_ms());
        trace.hash.update(line.as_bytes());
        if let Some(lines) = &mut trace.lines {
            lines.push(line);
        }
        trace.n_events
    }

    /// The hash of everything noted so far.
    pub(crate) fn trace_hash(&self) -> u128 {
        self.trace.lock().hash.digest128()
    }

    /// The trace's text, where it is kept.
    pub(crate) fn take_lines(&self) -> Vec<String> {
        self.trace.lock().lines.take().unwrap_or_default()
    }

    pub(crate) fn count(&self, what: &'static str) {
        self.count_many(what, 1);
    }

    pub(crate) fn count_many(&self, what: &'static str, n: u64) {
        *self.counts.lock().entry(what).or_default() += n;
    }

    pub(crate) fn counts(&self) -> BTreeMap<&'static str, u64> {
        self.counts.lock().clone()
    }

    pub(crate) fn set_stormy(&self, stormy: bool) {
        *self.stormy.lock() = stormy;
    }

    pub(crate) fn is_stormy(&self) -> bool {
        *self.stormy.lock()
    }

    /// Records something that must not be.
    pub(crate) fn alarm(&self, what: String) {
        self.note(format_args!("ALARM {what}"));
        self.alarms.lock().push(what);
    }

    pub(crate) fn alarms(&self) -> Vec<String> {
        self.alarms.lock().clone()
    }
}
