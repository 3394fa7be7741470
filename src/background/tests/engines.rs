//! Nodes that share a store in memory and a virtual clock: what they find, what they ask.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use async_trait::async_trait;
use bytes::Bytes;

use super::{hint, name};
use crate::background::{Background, BackgroundOptions};
use crate::format::path::{self, DirtyKey};
use crate::format::{dirty, frame};
use crate::namespace::{Engine, EngineOptions, World};
use crate::query::request::{Consistency, Include, Paging, Query, RankBy};
use crate::runtime::clock::sleep_ms;
use crate::runtime::{ComputePool, SeededEntropy};
use crate::store::count::Counting;
use crate::store::object::ObjectBucket;
use crate::store::{Bucket, CreateOutcome, GetOutcome, Listed, StoreError, StoreKind};
use crate::telemetry::Metrics;
use crate::types::document::{Document, RawValue, WriteBatch};
use crate::types::{Clock, NamespaceName, Timestamp};

const MINUTE_MS: u64 = 60_000;
const HOUR_MS: u64 = 60 * MINUTE_MS;
const INTERVAL_MS: u64 = 10_000;
/// Age, the turn of the writer, the spread of the others, and a round or two.
const FOUND_MS: u64 = HOUR_MS + HOUR_MS / 16 + 5 * INTERVAL_MS;

const UP: u8 = 0;
const HINTS_DOWN: u8 = 1;
const ALL_DOWN: u8 = 2;

/// The runtime's own paused clock.
#[derive(Debug)]
struct VirtualClock {
    began: tokio::time::Instant,
}

impl VirtualClock {
    #[allow(
        clippy::disallowed_methods,
        reason = "the runtime's clock is paused: this is virtual time"
    )]
    fn start() -> Arc<dyn Clock> {
        Arc::new(Self {
            began: tokio::time::Instant::now(),
        })
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> Timestamp {
        Timestamp(1_700_000_000_000 + self.monotonic_ms() as i64)
    }

    fn monotonic_ms(&self) -> u64 {
        self.began.elapsed().as_millis() as u64
    }
}

/// A store of which nothing, the hints, or everything but creates fails; the age of objects is not told, so
/// that it is what each node sees.
#[derive(Debug)]
struct Store {
    inner: ObjectBucket,
    down: AtomicU8,
}

impl Store {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            inner: ObjectBucket::memory(),
            down: AtomicU8::new(UP),
        })
    }

    fn check(&self, operation: &'static str, key: &str) -> Result<(), StoreError> {
        match self.down.load(Ordering::SeqCst) {
            ALL_DOWN => Err(StoreError::determinate(operation, key, "down")),
            HINTS_DOWN if key.starts_with(path::DIRTY) => {
                Err(StoreError::determinate(operation, key, "down"))
            }
            _ => Ok(()),
        }
    }
}

#[async_trait]
impl Bucket for Store {
    async fn create(&self, key: &str, bytes: Bytes) -> Result<CreateOutcome, StoreError> {
        self.inner.create(key, bytes).await
    }

    async fn put(&self, key: &str, bytes: Bytes) -> Result<(), StoreError> {
        self.check("put", key)?;
        self.inner.put(key, bytes).await
    }

    async fn get(&self, key: &str) -> Result<GetOutcome, StoreError> {
        self.check("get", key)?;
        self.inner.get(key).await
    }

    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<GetOutcome, StoreError> {
        self.check("get_range", key)?;
        self.inner.get_range(key, range).await
    }

    async fn list(
        &self,
        prefix: &str,
        start_after: Option<&str>,
        limit: Option<usize>,
    ) -> Result<Vec<Listed>, StoreError> {
        self.check("list", prefix)?;
        let mut listed = self.inner.list(prefix, start_after, limit).await?;
        for one in &mut listed {
            one.last_modified = Timestamp(i64::MAX);
        }
        Ok(listed)
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.check("delete", key)?;
        self.inner.delete(key).await
    }

    fn kind(&self) -> StoreKind {
        StoreKind::Memory
    }

    fn url(&self) -> &str {
        "memory://"
    }
}

/// One node. Dropping it ends it where it stands, as a death does.
struct Node {
    engine: Engine,
    background: Background,
    asked: Arc<Counting>,
    metrics: Arc<Metrics>,
}

fn node(store: &Arc<Store>, seed: u64) -> Node {
    node_with(store, seed, BackgroundOptions::default())
}

fn node_with(store: &Arc<Store>, seed: u64, options: BackgroundOptions) -> Node {
    let asked = Arc::new(Counting::new(Arc::clone(store) as _));
    let metrics = Arc::new(Metrics::new().expect("metric names are unique"));
    let world = World {
        bucket: Arc::clone(&asked) as _,
        clock: VirtualClock::start(),
        entropy: Arc::new(SeededEntropy::new(seed)),
        compute: Arc::new(ComputePool::inline()),
        metrics: Arc::clone(&metrics),
    };
    let engine = Engine::new(world.clone(), EngineOptions::default());
    Node {
        background: Background::start(engine.clone(), world, options),
        engine,
        asked,
        metrics,
    }
}

impl Node {
    async fn write(&self, id: i64) {
        self.write_to(&name(), id).await;
    }

    async fn write_to(&self, name: &NamespaceName, id: i64) {
        let batch = WriteBatch {
            upserts: vec![Document {
                id: RawValue::Int(id),
                attributes: vec![(Arc::from("v"), RawValue::Int(id))],
            }],
            has_upserts: true,
            ..WriteBatch::default()
        };
        let written = self.engine.write(name, batch, None).await;
        written.expect("a commit");
    }

    /// Rows, and those of them that are in no segment.
    async fn rows(&self) -> (u64, u64) {
        let described = self.engine.describe(&name()).await.expect("described");
        (described.rows, described.unindexed_rows)
    }

    async fn query(&self, consistency: Consistency) -> u64 {
        let query = Query {
            rank_by: RankBy::Id,
            limit: 100,
            per: None,
            offset: 0,
            paging: Paging::Off,
            filter: None,
            include: Include::Everything,
            compute: Vec::new(),
            distance_metric: None,
            consistency,
            allow_degraded: false,
        };
        let reply = self.engine.query(&name(), query).await.expect("a reply");
        reply.coverage.unindexed_rows
    }

    fn flushes(&self) -> u64 {
        self.metrics.finder.flushes_total.get()
    }

    fn open(&self) -> i64 {
        self.metrics.namespace.open_namespaces.get()
    }
}

async fn hints(store: &Store) -> Vec<String> {
    let listed = store.inner.list(path::DIRTY, None, None).await;
    let listed = listed.expect("a listing");
    listed.into_iter().map(|listed| listed.key).collect()
}

fn key(n: u64) -> String {
    path::dirty(DirtyKey {
        hour: 1,
        node: 2,
        n,
    })
}

#[tokio::test(start_paused = true)]
async fn tail_of_a_dead_writer_is_flushed_by_a_node_that_was_asked_nothing() {
    let store = Store::new();
    let writer = node(&store, 1);
    let other = node(&store, 2);
    writer.write(1).await;
    sleep_ms(1).await;
    assert_eq!(hints(&store).await.len(), 1, "told at once");
    writer.write(2).await;
    drop(writer);
    sleep_ms(HOUR_MS).await;
    assert_eq!((other.flushes(), other.open()), (0, 0), "not due");
    assert_eq!(hints(&store).await.len(), 1);
    sleep_ms(FOUND_MS - HOUR_MS).await;
    assert_eq!(other.flushes(), 1);
    assert_eq!(hints(&store).await, [""; 0]);
    assert_eq!(node(&store, 3).rows().await, (2, 0));
}

#[tokio::test(start_paused = true)]
async fn hint_of_a_writer_goes_when_it_has_flushed_and_comes_with_the_next_rows() {
    let store = Store::new();
    let writer = node(&store, 1);
    let other = node(&store, 2);
    writer.write(1).await;
    sleep_ms(MINUTE_MS).await;
    let first = hints(&store).await;
    assert_eq!(first.len(), 1);
    writer.engine.flush(&name()).await.expect("a flush");
    sleep_ms(INTERVAL_MS).await;
    assert_eq!(hints(&store).await, [""; 0]);
    writer.write(2).await;
    sleep_ms(INTERVAL_MS).await;
    let second = hints(&store).await;
    assert_eq!(second.len(), 1);
    assert_ne!(first, second);
    // The writer's own timer comes first, and nobody else opens anything.
    sleep_ms(FOUND_MS).await;
    assert_eq!(hints(&store).await, [""; 0]);
    assert_eq!((writer.flushes(), other.flushes(), other.open()), (0, 0, 0));
    assert_eq!(node(&store, 3).rows().await, (2, 0));
}

#[tokio::test(start_paused = true)]
async fn writer_that_goes_on_after_its_flush_has_a_hint_of_its_new_rows() {
    let store = Store::new();
    let writer = node(&store, 1);
    writer.write(1).await;
    sleep_ms(MINUTE_MS).await;
    let old = hints(&store).await;
    let elsewhere = node(&store, 2);
    elsewhere.engine.flush(&name()).await.expect("a flush");
    writer.write(2).await;
    sleep_ms(2 * INTERVAL_MS).await;
    let new = hints(&store).await;
    assert!(new.len() == 1 && new != old, "{old:?}, then {new:?}");
    drop(writer);
    sleep_ms(FOUND_MS).await;
    assert_eq!(elsewhere.flushes(), 1);
    assert_eq!(hints(&store).await, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn many_writes_make_a_hint_every_half_interval_at_most() {
    let store = Store::new();
    let writer = node(&store, 1);
    for n in 0..100_i64 {
        let name = NamespaceName::parse(&format!("n{n}")).expect("a legal name");
        writer.write_to(&name, 1).await;
        sleep_ms(300).await;
    }
    sleep_ms(INTERVAL_MS).await;
    let puts = writer.metrics.finder.hints_put_total.get();
    assert!((6..=8).contains(&puts), "{puts} hints in half a minute");
    assert_eq!(hints(&store).await.len(), 1, "one takes the other's place");
    let key = hints(&store).await.remove(0);
    let bytes = store.inner.get(&key).await.expect("an answer").into_bytes();
    let hint = dirty::decode(&key, &bytes.expect("it is there")).expect("a hint");
    assert_eq!(hint.namespaces.len(), 100);
}

#[tokio::test(start_paused = true)]
async fn idle_node_lists_once_an_interval_and_an_idle_namespace_asks_nothing() {
    let store = Store::new();
    let node = node(&store, 1);
    node.write(1).await;
    node.engine.flush(&name()).await.expect("a flush");
    sleep_ms(MINUTE_MS).await;
    assert_eq!(node.open(), 1);
    let before = node.asked.snapshot();
    let rounds = 30;
    sleep_ms(rounds * INTERVAL_MS).await;
    let asked = node.asked.snapshot() - before;
    // And once in a while it looks for namespaces that were deleted.
    assert!((rounds..=rounds + 1).contains(&asked.list), "{asked:?}");
    assert_eq!(asked.requests(), asked.list);
}

#[tokio::test(start_paused = true)]
async fn node_that_does_not_look_leaves_hints_and_asks_nothing_else() {
    let store = Store::new();
    let options = BackgroundOptions {
        find: false,
        ..BackgroundOptions::default()
    };
    let writer = node_with(&store, 1, options);
    writer.write(1).await;
    let written = writer.asked.snapshot();
    sleep_ms(MINUTE_MS).await;
    assert_eq!(writer.asked.snapshot().put, 1);
    let asked = writer.asked.snapshot() - written;
    assert!(asked.requests() <= 1, "{asked:?}");
    drop(writer);
    let finder = node(&store, 2);
    sleep_ms(FOUND_MS).await;
    assert_eq!(finder.flushes(), 1);
}

#[tokio::test(start_paused = true)]
async fn lost_hint_is_made_again_by_the_sweep() {
    let store = Store::new();
    let writer = node(&store, 1);
    writer.write(1).await;
    sleep_ms(1).await;
    drop(writer);
    for key in hints(&store).await {
        store.inner.delete(&key).await.expect("deleted");
    }
    let other = node(&store, 2);
    sleep_ms(24 * HOUR_MS + FOUND_MS).await;
    assert_eq!(other.flushes(), 1);
    assert_eq!(hints(&store).await, [""; 0]);
    assert_eq!(other.rows().await, (1, 0));
}

#[tokio::test(start_paused = true)]
async fn reader_that_holds_old_rows_flushes_them_without_a_hint() {
    let store = Store::new();
    let no_sweep = BackgroundOptions {
        sweep_ms: 0,
        ..BackgroundOptions::default()
    };
    let writer = node_with(&store, 1, no_sweep);
    writer.write(1).await;
    sleep_ms(1).await;
    drop(writer);
    for key in hints(&store).await {
        store.inner.delete(&key).await.expect("deleted");
    }
    let reader = node_with(&store, 2, no_sweep);
    assert_eq!(reader.query(Consistency::Strong).await, 1);
    sleep_ms(FOUND_MS).await;
    assert_eq!(reader.flushes(), 1);
    assert_eq!(reader.query(Consistency::Strong).await, 0);
}

#[tokio::test(start_paused = true)]
async fn damaged_hint_is_told_and_deleted_and_one_of_a_newer_version_stays() {
    let store = Store::new();
    let good = dirty::encode(&hint([7]));
    let mut damaged = good.clone();
    *damaged.last_mut().expect("bytes") ^= 1;
    let mut newer = good.clone();
    newer[10] = 9;
    let crc = crc32c::crc32c(&newer[..60]).to_le_bytes();
    newer[60..64].copy_from_slice(&crc);
    let huge = frame::seal(frame::ObjectKind::Dirty, &vec![b' '; 1 << 20]);
    let strange = format!("{}strange", path::DIRTY);
    let objects = [
        (key(1), damaged),
        (key(2), newer),
        (key(3), huge),
        (key(4), Vec::new()),
        (key(5), good),
        (strange.clone(), b"?".to_vec()),
    ];
    for (key, bytes) in objects {
        store.inner.put(&key, bytes.into()).await.expect("put");
    }
    let node = node(&store, 1);
    sleep_ms(5 * INTERVAL_MS).await;
    assert_eq!(hints(&store).await, [key(2), key(5), strange.clone()]);
    let told = node.metrics.finder.hints_damaged_total.get();
    assert_eq!(told, 5, "each once");
    // A hint of a namespace that is not there.
    sleep_ms(FOUND_MS).await;
    assert_eq!(hints(&store).await, [key(2), strange]);
    assert_eq!(node.metrics.finder.hints_damaged_total.get(), 5);
    assert_eq!(node.metrics.finder.failures_total.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn two_nodes_that_find_at_once_make_one_segment() {
    let store = Store::new();
    let writer = node(&store, 1);
    writer.write(1).await;
    sleep_ms(1).await;
    drop(writer);
    // The same chances: both come at the same time.
    let nodes = [node(&store, 2), node(&store, 2)];
    sleep_ms(FOUND_MS).await;
    assert!(nodes.iter().all(|node| node.open() == 1), "both looked");
    assert_eq!(hints(&store).await, [""; 0]);
    let keys = store.inner.list("ns/", None, None).await.expect("listed");
    let segments = keys.iter().filter(|one| one.key.ends_with(".parquet"));
    assert_eq!(segments.count(), 1);
    for node in nodes {
        assert_eq!(node.rows().await, (1, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn store_that_fails_is_asked_again_and_the_loop_lives() {
    let store = Store::new();
    let writer = node(&store, 1);
    store.down.store(ALL_DOWN, Ordering::SeqCst);
    sleep_ms(MINUTE_MS).await;
    store.down.store(HINTS_DOWN, Ordering::SeqCst);
    writer.write(1).await;
    sleep_ms(MINUTE_MS).await;
    assert_eq!(hints(&store).await, [""; 0]);
    store.down.store(UP, Ordering::SeqCst);
    sleep_ms(INTERVAL_MS).await;
    assert_eq!(hints(&store).await.len(), 1, "told late");
    drop(writer);
    let other = node(&store, 2);
    sleep_ms(HOUR_MS - MINUTE_MS).await;
    // Down when it is due, and for long.
    store.down.store(ALL_DOWN, Ordering::SeqCst);
    sleep_ms(3 * HOUR_MS).await;
    assert!(other.metrics.finder.failures_total.get() > 100);
    assert_eq!(other.flushes(), 0);
    store.down.store(UP, Ordering::SeqCst);
    sleep_ms(HOUR_MS + 3 * INTERVAL_MS).await;
    assert_eq!(other.flushes(), 1);
    assert_eq!(hints(&store).await, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn dropped_namespace_needs_no_hint() {
    let store = Store::new();
    let writer = node(&store, 1);
    writer.write(1).await;
    sleep_ms(MINUTE_MS).await;
    assert_eq!(hints(&store).await.len(), 1);
    writer.engine.delete(&name()).await.expect("dropped");
    sleep_ms(FOUND_MS).await;
    assert_eq!(hints(&store).await, [""; 0]);
    assert_eq!(writer.flushes(), 0);
}

#[tokio::test(start_paused = true)]
async fn idle_namespace_is_closed_and_opens_equal() {
    let store = Store::new();
    let node = node(&store, 1);
    node.write(1).await;
    sleep_ms(30 * MINUTE_MS).await;
    assert_eq!(node.open(), 1, "rows wait for their flush");
    node.engine.flush(&name()).await.expect("a flush");
    sleep_ms(9 * MINUTE_MS).await;
    assert_eq!(node.open(), 1);
    sleep_ms(2 * MINUTE_MS).await;
    assert_eq!(node.open(), 0);
    assert_eq!(node.metrics.namespace.closed_total.get(), 1);
    assert_eq!(node.metrics.namespace.tail_bytes.get(), 0);
    node.write(2).await;
    assert_eq!(node.rows().await, (2, 1));
    // In use: not idle.
    node.engine.flush(&name()).await.expect("a flush");
    for _ in 0..30 {
        sleep_ms(MINUTE_MS).await;
        node.query(Consistency::Strong).await;
    }
    assert_eq!(node.open(), 1);
}

#[tokio::test(start_paused = true)]
async fn stopped_node_tells_of_its_last_rows() {
    let store = Store::new();
    let node = node(&store, 1);
    node.write(1).await;
    sleep_ms(1).await;
    let other = NamespaceName::parse("other").expect("a legal name");
    node.write_to(&other, 1).await;
    node.engine.finish().await;
    node.background.finish().await;
    let mut named = Vec::new();
    for key in hints(&store).await {
        let bytes = store.inner.get(&key).await.expect("an answer").into_bytes();
        let hint = dirty::decode(&key, &bytes.expect("there")).expect("a hint");
        named.extend(hint.namespaces.into_iter().map(|one| one.name));
    }
    assert!(
        named.contains(&name()) && named.contains(&other),
        "{named:?}"
    );
    let asked = node.asked.snapshot();
    sleep_ms(HOUR_MS).await;
    assert_eq!(node.asked.snapshot(), asked, "it has ended");
}
