//! A node: an engine of its own, a clock that may be wrong, and a gate that stalls or kills it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use elacsym::background::{Background, BackgroundOptions};
use elacsym::lsm::Rotation;
use elacsym::namespace::{
    Compaction, Engine, EngineOptions, GarbageCollection, World as EngineWorld,
};
use elacsym::runtime::{ComputePool, SeededEntropy};
use elacsym::store::Bucket;
use elacsym::store::retry::{RetryPolicy, Retrying};
use elacsym::telemetry::Metrics;
use elacsym::types::{Clock, Timestamp};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::ledger;
use crate::link::{Faults, Link};
use crate::store::Store;
use crate::world::World;

/// The node that opens everything anew when all is over.
pub(crate) const LAST_TO_OPEN: &str = "fresh";

/// Whether a node's process gets on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pulse {
    Runs,
    Stalls,
    Dead,
}

/// Everything a node sends and hears passes here. Those who wait go on in the order they came.
#[derive(Debug)]
pub(crate) struct Gate {
    pulse: Mutex<Pulse>,
    changed: Notify,
}

impl Gate {
    fn new() -> Self {
        Self {
            pulse: Mutex::new(Pulse::Runs),
            changed: Notify::new(),
        }
    }

    /// Waits until the node runs; for ever if it is dead: a dead process takes no further step.
    pub(crate) async fn pass(&self) {
        if !self.pass_or_dead().await {
            std::future::pending::<()>().await;
        }
    }

    /// Waits until the node runs: `true`, or has died: `false`.
    pub(crate) async fn pass_or_dead(&self) -> bool {
        self.wait_for(|pulse| pulse != Pulse::Stalls).await == Pulse::Runs
    }

    /// Waits until the node is dead.
    pub(crate) async fn dead(&self) {
        self.wait_for(|pulse| pulse == Pulse::Dead).await;
    }

    async fn wait_for(&self, wanted: impl Fn(Pulse) -> bool + Send) -> Pulse {
        loop {
            let changed = self.changed.notified();
            let pulse = *self.pulse.lock();
            if wanted(pulse) {
                return pulse;
            }
            changed.await;
        }
    }

    pub(crate) fn stall(&self) {
        self.change(Pulse::Runs, Pulse::Stalls);
    }

    pub(crate) fn resume(&self) {
        self.change(Pulse::Stalls, Pulse::Runs);
    }

    fn kill(&self) {
        self.change(Pulse::Stalls, Pulse::Dead);
        self.change(Pulse::Runs, Pulse::Dead);
    }

    fn change(&self, from: Pulse, to: Pulse) {
        {
            let mut pulse = self.pulse.lock();
            if *pulse != from {
                return;
            }
            *pulse = to;
        }
        self.changed.notify_waiters();
    }
}

/// A node's clocks: wall time with an offset that jumps, monotonic time since its start.
#[derive(Debug)]
pub(crate) struct NodeClock {
    world: Arc<World>,
    started_ms: u64,
    skew_ms: AtomicI64,
}

impl NodeClock {
    pub(crate) fn jump_to(&self, skew_ms: i64) {
        self.skew_ms.store(skew_ms, Ordering::SeqCst);
    }
}

impl Clock for NodeClock {
    fn now(&self) -> Timestamp {
        self.world.wall(self.skew_ms.load(Ordering::SeqCst))
    }

    fn monotonic_ms(&self) -> u64 {
        self.world.now_ms() - self.started_ms
    }
}

/// How the nodes of a simulation are made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NodeOptions {
    pub(crate) faults: Faults,
    /// Whether a layer repeats idempotent requests, as the server's does.
    pub(crate) retries: bool,
    pub(crate) always_check_anchor: bool,
    pub(crate) flush: FlushOptions,
    pub(crate) compaction: Compaction,
    pub(crate) gc: GarbageCollection,
    pub(crate) background: BackgroundOptions,
}

/// When nodes flush and what stays of the log.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FlushOptions {
    pub(crate) bytes: u64,
    pub(crate) slots: u64,
    pub(crate) age_ms: u64,
    pub(crate) keep_blocks: u64,
    pub(crate) history_ms: u64,
    /// Slots of a block.
    pub(crate) block_slots: u32,
}

/// One life of one node.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) label: String,
    pub(crate) gate: Arc<Gate>,
    pub(crate) clock: Arc<NodeClock>,
    pub(crate) engine: Engine,
    /// Ends with the node.
    _background: Background,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) bucket: Arc<dyn Bucket>,
    pub(crate) entropy: Arc<SeededEntropy>,
}

impl Node {
    pub(crate) fn start(
        world: &Arc<World>,
        store: &Arc<Store>,
        options: NodeOptions,
        label: String,
    ) -> Arc<Self> {
        let gate = Arc::new(Gate::new());
        let clock = Arc::new(NodeClock {
            world: Arc::clone(world),
            started_ms: world.now_ms(),
            skew_ms: AtomicI64::new(0),
        });
        let entropy = Arc::new(SeededEntropy::new(world.choose(|random| random.next())));
        let link: Arc<dyn Bucket> = Arc::new(Link {
            world: Arc::clone(world),
            store: Arc::clone(store),
            gate: Arc::clone(&gate),
            faults: options.faults,
            label: label.clone(),
        });
        let clock_of_layers: Arc<dyn Clock> = Arc::clone(&clock) as _;
        let bucket: Arc<dyn Bucket> = if options.retries {
            let policy = RetryPolicy::default();
            let entropy = Arc::clone(&entropy) as _;
            Arc::new(Retrying::new(link, policy, clock_of_layers, entropy))
        } else {
            link
        };
        let metrics = Arc::new(Metrics::new().expect("metric names are unique"));
        let its_world = EngineWorld {
            bucket: Arc::clone(&bucket),
            clock: Arc::clone(&clock) as _,
            entropy: Arc::clone(&entropy) as _,
            compute: Arc::new(ComputePool::inline()),
            metrics: Arc::clone(&metrics),
        };
        let engine = Engine::new(
            its_world.clone(),
            EngineOptions {
                always_check_anchor: options.always_check_anchor,
                flush_bytes: options.flush.bytes,
                flush_slots: options.flush.slots,
                flush_age_ms: options.flush.age_ms,
                keep_blocks: options.flush.keep_blocks,
                history_ms: options.flush.history_ms,
                compaction: options.compaction,
                gc: options.gc,
                rotation: Rotation {
                    slots_max: options.flush.block_slots,
                    ..Rotation::default()
                },
                write_limits: ledger::write_limits(),
                ..EngineOptions::default()
            },
        );
        let background = Background::start(engine.clone(), its_world, options.background);
        world.note(format_args!("{label} starts"));
        Arc::new(Self {
            label,
            gate,
            clock,
            engine,
            _background: background,
            metrics,
            bucket,
            entropy,
        })
    }

    /// Ends it where it stands: no task of it takes another step that anyone could see. What it has sent
    /// is on its way and arrives.
    pub(crate) fn crash(&self, world: &World) {
        world.note(format_args!("{} dies", self.label));
        self.gate.kill();
    }
}
