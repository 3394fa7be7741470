//! One seed from its first event to its verdict.

use std::collections::BTreeMap;
use std::sync::Arc;

use elacsym::background::BackgroundOptions;
use elacsym::lsm::Policy;
use elacsym::namespace::{Compaction, GarbageCollection};
use elacsym::query::request::Consistency;
use elacsym::runtime::clock::sleep_ms;
use elacsym::runtime::tasks::Tasks;
use elacsym::store::StoreKind;
use tokio::task::JoinSet;

use crate::client::{Client, DOCUMENTS, DROPPED, KEPT, NAMESPACES, Records};
use crate::fleet::Fleet;
use crate::history::Change;
use crate::laws;
use crate::ledger::{self, Keepers};
use crate::link::Faults;
use crate::node::{FlushOptions, LAST_TO_OPEN, NodeOptions};
use crate::objects;
use crate::shape::{batch_of, name_of};
use crate::store::{Broken, Store};
use crate::world::World;

/// Slots that fill a log's first block, so that some simulations cross into the next.
const PREFILL: u32 = 253;
/// Time for everything late to arrive, milliseconds.
const SETTLE_MS: u64 = 3_600_000;
/// The longest until the nodes have flushed everything by themselves, and how often that is looked at,
/// milliseconds: a stall, a sweep, the age of rows, and what failed before is tried again within an hour.
const REST_MS_MAX: u64 = 24 * HOUR_MS;
const LOOK_MS: u64 = HOUR_MS / 2;
/// An id that is deleted and never written.
const NOBODY: u64 = 900;

/// What one seed came to.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) violations: Vec<String>,
    pub(crate) trace_hash: u128,
    pub(crate) trace: Vec<String>,
    pub(crate) counts: BTreeMap<&'static str, u64>,
    pub(crate) virtual_ms: u64,
}

/// What a simulation is made of; all of it follows from the seed, but for controls of the checker.
#[derive(Debug, Clone, Copy)]
struct Plan {
    kind: StoreKind,
    node: NodeOptions,
    n_nodes: usize,
    n_clients: u64,
    /// Clients of the ledger; 0: there is none.
    n_keepers: u64,
    n_actions: u32,
    fills_block: bool,
    /// The longest time between two things that befall nodes, milliseconds; 0 for never.
    blows_ms: u64,
    /// The longest stall of a node, milliseconds.
    stalls_ms: u64,
    /// The longest a client does nothing, milliseconds; 0: none rests long.
    lull_ms: u64,
}

const HOUR_MS: u64 = 3_600_000;

impl Plan {
    fn of(world: &World, broken: Broken) -> Self {
        let calm = broken != Broken::No;
        world.choose(|random| {
            let per_thousand = [0, 10, 50, 200][random.below(4) as usize];
            let truncate = [0, 0, 20][random.below(3) as usize];
            // Without a grace for what is truncated, and with what makes truncations matter.
            let truncates = matches!(
                broken,
                Broken::StaleAnchors | Broken::DeletesUnflushed { .. }
            );
            let kind = match truncates {
                true => StoreKind::Local,
                false => [StoreKind::Http, StoreKind::Local][random.below(2) as usize],
            };
            let slow = random.below(4) == 0;
            let flush = FlushOptions {
                bytes: [400, 1_500, u64::MAX][random.below(3) as usize],
                slots: [3, 7, 20, u64::MAX][random.below(4) as usize],
                age_ms: [150, 2_000, 60_000, HOUR_MS][random.below(4) as usize],
                keep_blocks: [0, 0, 1, 4][random.below(4) as usize],
                history_ms: [0, 0, 5_000, 120_000][random.below(4) as usize],
                block_slots: match random.below(8) {
                    0 => 256,
                    1 => random.between(1, 3) as u32,
                    _ => random.between(4, 8) as u32,
                },
            };
            let compaction = Compaction {
                enabled: random.below(5) > 0,
                policy: Policy {
                    fan_in: random.between(2, 4) as usize,
                    max_segments: random.between(2, 6) as usize,
                    // A few documents, or many.
                    target_bytes: [400, 1 << 20][random.below(2) as usize],
                    dead_percent: [1, 20][random.below(2) as usize],
                    dead_rows: random.between(1, 3),
                    ..Policy::default()
                },
                ..Compaction::default()
            };
            let gc = GarbageCollection {
                enabled: random.below(5) > 0,
                interval_ms: [0, 5_000, 900_000][random.below(3) as usize],
                claim_grace_ms: [1_000, 60_000, HOUR_MS][random.below(3) as usize],
                undelete_grace_ms: [0, 10_000, 24 * HOUR_MS][random.below(3) as usize],
            };
            let faults = Faults {
                per_thousand: if calm { 0 } else { per_thousand },
                truncate: if calm { 0 } else { truncate },
            };
            Self {
                kind,
                node: NodeOptions {
                    faults,
                    retries: random.below(4) != 0,
                    always_check_anchor: random.below(4) == 0,
                    flush,
                    compaction,
                    gc,
                    background: BackgroundOptions {
                        find: true,
                        interval_ms: [30_000, 120_000][random.below(2) as usize],
                        sweep_ms: HOUR_MS,
                        reap_ms: gc.interval_ms,
                        idle_ms: [2_000, 600_000][random.below(2) as usize],
                        flush_age_ms: flush.age_ms,
                    },
                },
                n_nodes: random.between(2, 3) as usize,
                n_clients: random.between(3, 6),
                n_keepers: if calm { 0 } else { random.between(2, 4) },
                n_actions: random.between(8, 24) as u32,
                fills_block: flush.block_slots == 256 && random.below(3) == 0 && !calm,
                blows_ms: match (truncates, calm, slow) {
                    (true, ..) => 1_500,
                    (_, true, _) => 0,
                    (.., true) => HOUR_MS / 2,
                    _ => [0, 500, 1_500, 5_000][random.below(4) as usize],
                },
                stalls_ms: if slow { 3 * HOUR_MS } else { 600_000 },
                lull_ms: if slow { 3 * HOUR_MS } else { 0 },
            }
        })
    }
}

/// Runs one seed on a thread of its own time.
pub(crate) fn simulate(seed: u64, broken: Broken, keep_trace: bool) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime starts");
    runtime.block_on(simulate_in(seed, broken, keep_trace))
}

async fn simulate_in(seed: u64, broken: Broken, keep_trace: bool) -> Outcome {
    let world = Arc::new(World::new(seed, keep_trace));
    let plan = Plan::of(&world, broken);
    world.note(format_args!("{plan:?}"));
    let store = Arc::new(Store::new(plan.kind, broken));
    let fleet = Fleet::start(
        Arc::clone(&world),
        Arc::clone(&store),
        plan.node,
        plan.stalls_ms,
        plan.n_nodes,
    );
    let records = Arc::new(Records::new(plan.node.faults.truncate > 0));
    if plan.fills_block {
        fill_block(&world, &fleet).await;
    }
    let keepers = Arc::new(Keepers {
        world: Arc::clone(&world),
        fleet: Arc::clone(&fleet),
        records: Arc::clone(&records),
        ledger: Arc::default(),
    });
    if plan.n_keepers > 0 {
        keepers.begin().await;
    }
    world.set_stormy(true);
    {
        let suffering = Tasks::default();
        if plan.blows_ms > 0 {
            suffering.spawn(Arc::clone(&fleet).suffer(plan.blows_ms));
        }
        work(&world, &fleet, &records, &keepers, plan).await;
        // Dropped here: what befalls the nodes ends with the work.
    }
    world.set_stormy(false);
    world.note(format_args!("the storm is over"));
    sleep_ms(SETTLE_MS).await;
    if broken == Broken::No {
        come_to_rest(&world, &store, &fleet).await;
    }
    conclude(&world, &store, &fleet, &records).await;
    if plan.n_keepers > 0 {
        keepers.conclude().await;
    }

    let mut violations = world.alarms();
    violations.extend(keepers.ledger.violations(&world));
    let histories = records.histories.lock();
    for (at, history) in histories.iter().enumerate() {
        violations.extend(laws::violations(NAMESPACES[at], history, at == KEPT));
    }
    Outcome {
        violations,
        trace_hash: world.trace_hash(),
        trace: world.take_lines(),
        counts: world.counts(),
        virtual_ms: world.now_ms(),
    }
}

async fn work(
    world: &Arc<World>,
    fleet: &Arc<Fleet>,
    records: &Arc<Records>,
    keepers: &Arc<Keepers>,
    plan: Plan,
) {
    let mut clients = JoinSet::new();
    for id in 0..plan.n_clients {
        let place = world.choose(|random| random.below(plan.n_nodes as u64)) as usize;
        let client = Client::new(format!("c{id}"), world, fleet, records, place);
        clients.spawn(client.run(plan.n_actions, plan.lull_ms));
    }
    for id in 0..plan.n_keepers {
        let place = world.choose(|random| random.below(plan.n_nodes as u64)) as usize;
        let keepers = Arc::clone(keepers);
        clients.spawn(keepers.run(id, place, plan.n_actions, plan.lull_ms));
    }
    while let Some(ended) = clients.join_next().await {
        ended.expect("no client panics");
    }
}

/// Brings the kept namespace's log close to the end of its first block.
async fn fill_block(world: &World, fleet: &Fleet) {
    let node = fleet.node_near(0).expect("all nodes live at the start");
    let name = name_of(KEPT);
    // Value 0 is nobody's: it is deleted at once.
    for change in [(0, Change::Put(0)), (0, Change::Delete)] {
        let written = node.engine.write(&name, batch_of(&[change]), None).await;
        written.expect("a calm store takes writes");
    }
    for _ in 0..PREFILL {
        let batch = batch_of(&[(NOBODY, Change::Delete)]);
        let written = node.engine.write(&name, batch, None).await;
        written.expect("a calm store takes writes");
    }
    world.count("block filled");
}

/// With all faults over, the nodes must by themselves flush what anyone left, and strike out every hint.
async fn come_to_rest(world: &Arc<World>, store: &Arc<Store>, fleet: &Arc<Fleet>) {
    for _ in 0..REST_MS_MAX / LOOK_MS {
        if store.n_keys("dirty/") == 0 && unflushed(fleet).await.is_empty() {
            return;
        }
        sleep_ms(LOOK_MS).await;
    }
    world.alarm(format!(
        "{} dirty hints and rows of {:?} were left for {REST_MS_MAX} ms",
        store.n_keys("dirty/"),
        unflushed(fleet).await
    ));
}

/// Namespaces with rows in no segment, as a node sees them that does nothing by itself.
async fn unflushed(fleet: &Arc<Fleet>) -> Vec<&'static str> {
    let looker = fleet.idle_node("looker".to_owned());
    let mut unflushed = Vec::new();
    let names = NAMESPACES.into_iter().enumerate();
    let names = names.map(|(at, name)| (name, name_of(at)));
    for (shown, name) in names.chain([(ledger::NAME, ledger::name())]) {
        // One that was dropped has nothing to flush.
        if let Ok(described) = looker.engine.describe(&name).await
            && described.unindexed_rows > 0
        {
            unflushed.push(shown);
        }
    }
    unflushed
}

/// With all faults over, every node must serve, and all must agree with one that opens cold.
async fn conclude(
    world: &Arc<World>,
    store: &Arc<Store>,
    fleet: &Arc<Fleet>,
    records: &Arc<Records>,
) {
    for node in fleet.live_nodes() {
        world.count_many(
            "unknown commit",
            node.metrics.wal.unknown_outcomes_total.get(),
        );
        let finder = &node.metrics.finder;
        world.count_many("hint put", finder.hints_put_total.get());
        world.count_many("found flush", finder.flushes_total.get());
        let closed = node.metrics.namespace.closed_total.get();
        world.count_many("namespace closed", closed);
        world.count_many("lost slot", node.metrics.wal.lost_slots_total.get());
        world.count_many(
            "anchor failure",
            node.metrics.wal.anchor_failures_total.get(),
        );
        world.count_many("manifest", store.n_keys("/manifest/"));
        let diverged = node.metrics.wal.divergence_alarms_total.get();
        if diverged > 0 && !records.cuts() {
            world.alarm(format!(
                "{} found {diverged} diverging manifests",
                node.label
            ));
        }
    }
    let fresh = fleet.fresh_node(LAST_TO_OPEN.to_owned());
    let mut nodes = fleet.live_nodes();
    nodes.push(Arc::clone(&fresh));
    objects::check(world, store, &fresh).await;
    for namespace in [KEPT, DROPPED] {
        let mut states = Vec::new();
        for node in &nodes {
            let label = format!("auditor of {}", node.label);
            let mut auditor = Client::new(label, world, fleet, records, 0).only(node);
            states.push((node.label.clone(), auditor.audit(namespace).await));
        }
        let last = states.last().map(|(_, state)| state.clone());
        for (label, state) in &states {
            if Some(state) != last.as_ref() {
                world.alarm(format!(
                    "{label} ends with another `{}` than a fresh node: {state:?} and {last:?}",
                    NAMESPACES[namespace]
                ));
            }
        }
        for node in &nodes {
            let label = format!("last writer of {}", node.label);
            let mut writer = Client::new(label, world, fleet, records, 0).only(node);
            writer
                .must_write(namespace, namespace as u64 % DOCUMENTS)
                .await;
            writer.read_all(namespace, Consistency::Strong).await;
            if !writer.flush(namespace).await {
                let label = &node.label;
                world.alarm(format!("{label} could not flush after the storm"));
            }
            writer.audit(namespace).await;
            writer.must_filter(namespace).await;
        }
    }
    for node in &nodes {
        let rows = node.metrics.index_build.rows_total.get();
        world.count_many("index built later", rows);
        let compaction = &node.metrics.compaction;
        world.count_many("merges", compaction.merges_total.get());
        world.count_many("merges in vain", compaction.failures_total.get());
    }
    objects::check(world, store, &fresh).await;
    for node in &nodes {
        let gc = &node.metrics.gc;
        world.count_many("garbage deleted", gc.deleted_objects_total.get());
        world.count_many("collection failed", gc.failures_total.get());
        world.count_many("namespace reaped", gc.reaped_total.get());
    }
    if store.broken == Broken::No {
        // What merges had in hand is done, and no state of the past is kept any more.
        sleep_ms(SETTLE_MS).await;
        let sweeper = fleet.sweeping_node("sweeper".to_owned());
        for name in (0..NAMESPACES.len()).map(name_of).chain([ledger::name()]) {
            objects::sweep(world, store, &sweeper, &name).await;
        }
    }
    let (deleted, void) = store.truncation();
    let after = match store.kind {
        StoreKind::Http => "slot deleted after a grace",
        StoreKind::Local | StoreKind::Memory => "slot deleted at once",
    };
    world.count_many(after, deleted);
    world.count_many("void slot", void);
}
