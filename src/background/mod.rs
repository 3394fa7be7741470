//! The background of a node: it tells the bucket of rows it leaves in the log, finds what others left, closes
//! what nobody uses.
//!
//! Owns: the loop that does so, and what it remembers. Must not know: how a flush works, slots, HTTP. One LIST
//! a round and none a namespace; all of it is advisory: a hint that is lost, stale or read by two nodes costs
//! time or a request, never data. Read `finder.rs` first; `book.rs` and `board.rs` decide, and ask nothing.

mod board;
mod book;
mod finder;
mod sweep;
#[cfg(test)]
mod tests;

use crate::namespace::{Engine, World};
use crate::runtime::Shutdown;
use crate::runtime::tasks::Tasks;
use crate::types::limits;
use finder::Finder;

/// What the background may be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackgroundOptions {
    /// Whether this node looks for what others left. It leaves hints either way.
    pub find: bool,
    /// Between two rounds, milliseconds. Hints are put twice as often at most.
    pub interval_ms: u64,
    /// Between two sweeps over all names, milliseconds; 0 for never.
    pub sweep_ms: u64,
    /// Between two looks for dropped namespaces to remove, milliseconds.
    pub reap_ms: u64,
    /// Without use for so long, a namespace with nothing to flush is closed, milliseconds; 0 for never.
    pub idle_ms: u64,
    /// How old rows may become before they are flushed, milliseconds: the engine's own.
    pub flush_age_ms: u64,
}

impl Default for BackgroundOptions {
    fn default() -> Self {
        Self {
            find: true,
            interval_ms: limits::FIND_INTERVAL_MS,
            sweep_ms: limits::SWEEP_MS,
            reap_ms: limits::GC_INTERVAL_MS,
            idle_ms: limits::IDLE_MS,
            flush_age_ms: limits::FLUSH_AGE_MS,
        }
    }
}

/// The background of one engine. It stops where it stands when this is dropped.
#[derive(Debug)]
pub struct Background {
    stop: Shutdown,
    tasks: Tasks,
}

impl Background {
    /// Starts the loop. Needs a tokio runtime.
    pub fn start(engine: Engine, world: World, options: BackgroundOptions) -> Self {
        let (stop, tasks) = (Shutdown::new(), Tasks::default());
        let finder = Finder::new(engine, world, options);
        tasks.spawn(finder.run(stop.clone()));
        Self { stop, tasks }
    }

    /// Ends the loop, after it has told the bucket of the last rows left; call it after the engine's `finish`.
    pub async fn finish(&self) {
        self.stop.trigger();
        self.tasks.join_all().await;
    }
}
