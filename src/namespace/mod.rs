//! The engine: namespaces that can be written, queried, listed, dropped.
//!
//! Owns: the write arrow (`write/mod.rs`), the read arrow (`read/mod.rs`), opening and naming.
//! Must not know: HTTP, JSON, status codes. Read `Engine` first.

pub mod bind;
mod claims;
mod clean;
mod collect;
mod compact;
mod deaths;
pub mod describe;
mod due;
mod flush;
pub mod fsck;
mod handle;
mod index_build;
mod lifecycle;
mod manifests;
mod name;
mod open;
mod options;
mod quarantine;
mod read;
mod reap;
mod registry;
mod repair;
mod rest;
mod stats;
#[cfg(test)]
mod tests;
mod upload;
mod writable;
mod write;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use bytes::Bytes;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::error::{Error, ErrorKind, Result};
use crate::format::{corrupt, path};
use crate::lsm::Segment;
use crate::lsm::state::Life;
use crate::manifest::{self, Written};
use crate::query::reply::{Answers, Reply};
use crate::query::request::{Consistency, Query, Questions};
use crate::rows::RowSum;
use crate::runtime::clock::within_ms;
use crate::runtime::compute::ComputePool;
use crate::runtime::shutdown::Shutdown;
use crate::runtime::tasks::Tasks;
use crate::segment::{SegmentReader, missing};
use crate::store::cache::{BlockCache, CacheLimits};
use crate::store::{Bucket, read_proved};
use crate::telemetry::metrics::Metrics;
use crate::types::document::{SchemaSpec, WriteBatch, WriteOutcome};
use crate::types::settings::SettingsChange;
use crate::types::{
    Clock, Entropy, NamespaceId, NamespaceName, NamespaceSchema, ObjectRef, WalSeq,
};
use crate::wal::Wal;

pub use collect::Collected;
pub use compact::Compacted;
pub use due::{Attended, DirtyNote, OpenTail, Waiting};
pub use flush::Flushed;
pub use options::{Compaction, EngineOptions, GarbageCollection, WriteLimits};
pub use reap::Reaped;

use describe::{Description, Health, NamespacePage};
use due::DirtyNotes;
use handle::{Namespace, View, not_found};
use quarantine::Quarantine;
use read::{Answer, Gone, PastViews, RESTARTS_MAX, is_missing};
use registry::Registry;
use repair::Rebuilt;
use writable::Writable;
use write::Request;

/// The share of the memory for tails that states of the past may take besides.
const PAST_SHARE: u64 = 8;

/// How often a name may be dropped and created again under one request.
const TRIES_MAX: u32 = 4;

/// Hashes of a request's `Idempotency-Key` and of its body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct IdempotencyKey {
    /// First 16 bytes of the key's SHA-256.
    pub key: u128,
    /// First 16 bytes of the body's SHA-256.
    pub body: u128,
}

/// The world an engine lives in.
#[derive(Debug, Clone)]
pub struct World {
    /// The store.
    pub bucket: Arc<dyn Bucket>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// CPU threads.
    pub compute: Arc<ComputePool>,
    /// Where numbers go.
    pub metrics: Arc<Metrics>,
}

/// What every namespace of an engine shares.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) bucket: Arc<dyn Bucket>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) compute: Arc<ComputePool>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) tasks: Tasks,
    pub(crate) writable: Writable,
    /// Namespaces that others must learn of.
    pub(crate) dirty: DirtyNotes,
    pub(crate) quarantine: Quarantine,
    pub(crate) options: EngineOptions,
    /// Turns of queries.
    turns: Semaphore,
    /// States of the past that answers have further pages of.
    past: PastViews,
    /// The turn to build indexes.
    index_builds: Semaphore,
    /// The turn to merge segments.
    compactions: Semaphore,
    /// The turn to collect garbage.
    collections: Semaphore,
    /// Whether what is left of dropped namespaces is being removed.
    reaping: AtomicBool,
    /// Blocks of segments.
    pub(crate) cache: Arc<BlockCache>,
    /// Triggered once the node drains: nothing new is begun in the background then.
    pub(crate) shutdown: Shutdown,
}

impl Shared {
    pub(crate) fn wal(&self, id: NamespaceId) -> Wal {
        Wal::new(
            Arc::clone(&self.bucket),
            Arc::clone(&self.clock),
            Arc::clone(&self.entropy),
            id,
            self.options.always_check_anchor,
        )
    }

    /// A reader of a segment.
    pub(crate) fn reader(&self, segment: &Arc<Segment>) -> SegmentReader {
        SegmentReader::new(
            Arc::clone(&self.bucket),
            Arc::clone(&self.cache),
            Arc::clone(&self.compute),
            Arc::clone(segment),
        )
    }

    /// Reads a small object that the state refers to and decodes it; what is damaged is read once more.
    ///
    /// Errors: `Corrupted`; `Unavailable` with code `object_missing` where it is gone, or of the store.
    pub(crate) async fn read_whole<T: Send>(
        &self,
        file: &ObjectRef,
        decode: impl Fn(&[u8]) -> Result<T> + Send + Sync,
    ) -> Result<T> {
        let proved = |bytes: Bytes| {
            if bytes.len() as u64 == file.bytes {
                return decode(&bytes);
            }
            Err(corrupt(&file.path, "length", file.bytes, bytes.len()))
        };
        let read = read_proved(&file.path, || self.bucket.get(&file.path), proved);
        read.await?.found().ok_or_else(|| missing(&file.path))
    }
}

/// The engine of one node. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Engine {
    shared: Arc<Shared>,
    registry: Arc<Registry>,
}

impl Engine {
    /// Makes an engine; it asks the store nothing until it is used.
    pub fn new(world: World, options: EngineOptions) -> Self {
        let bucket = world.bucket;
        let cache_metrics = world.metrics.cache.clone();
        let shared = Arc::new(Shared {
            bucket: Arc::clone(&bucket),
            clock: world.clock,
            entropy: world.entropy,
            compute: world.compute,
            metrics: world.metrics,
            tasks: Tasks::default(),
            writable: Writable::default(),
            dirty: DirtyNotes::default(),
            quarantine: Quarantine::default(),
            cache: Arc::new(BlockCache::new(
                Arc::clone(&bucket),
                CacheLimits::of_total(options.cache_bytes),
                cache_metrics,
            )),
            shutdown: Shutdown::new(),
            turns: Semaphore::new(options.max_concurrent_queries),
            index_builds: Semaphore::new(1),
            past: PastViews::new(options.node_tail_bytes / PAST_SHARE),
            compactions: Semaphore::new(1),
            collections: Semaphore::new(1),
            reaping: AtomicBool::new(false),
            options,
        });
        Self {
            registry: Arc::new(Registry::new(Arc::clone(&shared))),
            shared,
        }
    }

    /// Writes: resolves once the request is durable and visible to every strong read.
    ///
    /// The first write with documents creates the namespace, unless it says otherwise. Errors: `InvalidRequest` (nothing changed),
    /// `NotFound` for a write without documents to a namespace that does not exist, `QuotaExceeded`,
    /// `Unavailable` (nothing changed), `OutcomeUnknown`. Cancel safe: the write may still happen.
    pub async fn write(
        &self,
        name: &NamespaceName,
        batch: WriteBatch,
        key: Option<IdempotencyKey>,
    ) -> Result<WriteOutcome> {
        let written = self.try_write(name, batch, key).await;
        self.shared.noted(written)
    }

    async fn try_write(
        &self,
        name: &NamespaceName,
        batch: WriteBatch,
        key: Option<IdempotencyKey>,
    ) -> Result<WriteOutcome> {
        let request = Request {
            batch: Arc::new(batch),
            key,
        };
        for _ in 0..TRIES_MAX {
            let namespace = match self.registry.find(name).await? {
                Some(open) => open,
                None => {
                    if !creates(&request.batch) {
                        return Err(not_found(name));
                    }
                    // What cannot be written must not create anything.
                    bind::bind(&NamespaceSchema::default(), &request.batch)?;
                    self.registry.find_or_create(name).await?
                }
            };
            match namespace.write(request.clone()).await {
                Err(error) if error.code() == "namespace_not_found" => {
                    self.registry.forget(&namespace);
                }
                outcome => return outcome.inspect_err(|error| namespace.consider_repair(error)),
            }
        }
        Err(restless(name))
    }

    /// Answers a query. Errors: `NotFound`, `InvalidRequest`, `Unavailable`, `Corrupted`. Cancel safe.
    pub async fn query(&self, name: &NamespaceName, query: Query) -> Result<Reply> {
        let answers = self.ask(name, &Questions::from(query)).await?;
        Ok(Reply::from(answers))
    }

    /// Answers all questions of a request, from one state. Errors and cancel safety: as `query`.
    pub async fn ask(&self, name: &NamespaceName, asked: &Questions) -> Result<Answers> {
        let _turn = self.turn().await?;
        for _ in 0..TRIES_MAX {
            let namespace = self.find(name).await?;
            let answer = namespace.ask(asked).await;
            match self.shared.noted(answer)? {
                Answer::Is(answers) => return Ok(answers),
                Answer::Dropped => self.registry.forget(&namespace),
            }
        }
        Err(restless(name))
    }

    /// Describes a namespace, strongly consistent. Errors: `NotFound`, `Unavailable`. Cancel safe.
    pub async fn describe(&self, name: &NamespaceName) -> Result<Description> {
        for _ in 0..TRIES_MAX {
            let namespace = self.find(name).await?;
            let counted = counted(&namespace).await;
            let counted = counted.inspect_err(|error| namespace.consider_repair(error));
            let (view, rows, bytes) = match self.shared.noted(counted)? {
                Answer::Is(counted) => counted,
                Answer::Dropped => {
                    self.registry.forget(&namespace);
                    continue;
                }
            };
            return Ok(Description {
                schema: Arc::clone(&view.schema),
                rows: view.tail.live_rows + rows,
                bytes: view.tail.live_bytes + bytes,
                unindexed_rows: view.tail.live_rows,
                unindexed_bytes: view.tail.live_bytes,
                created_at: view.state.created_at,
                last_write_at: view.state.written_at,
                settings: view.state.settings(),
                seq: view.seq,
            });
        }
        Err(restless(name))
    }

    /// Changes the schema alone and gives the whole of it. Errors: as `write`, and `NotFound`.
    pub async fn update_schema(
        &self,
        name: &NamespaceName,
        spec: SchemaSpec,
    ) -> Result<Arc<NamespaceSchema>> {
        let batch = WriteBatch {
            schema: Some(spec),
            ..WriteBatch::default()
        };
        self.write(name, batch, None).await?;
        Ok(self.describe(name).await?.schema)
    }

    /// Changes settings and gives the sequence from which they stand: no write that is acknowledged at a later
    /// one was evaluated under others.
    ///
    /// Errors: `NotFound`, `Unavailable`, `OutcomeUnknown`. Cancel safe: the change may still happen.
    pub async fn configure(&self, name: &NamespaceName, change: SettingsChange) -> Result<WalSeq> {
        for _ in 0..TRIES_MAX {
            let namespace = self.find(name).await?;
            let task = Arc::clone(&namespace);
            let configured = self.on_a_task(async move { task.configure(change).await });
            match configured.await {
                Err(error) if error.code() == "namespace_not_found" => {
                    self.registry.forget(&namespace);
                }
                outcome => return outcome,
            }
        }
        Err(restless(name))
    }

    /// Lists live namespaces in order, `limit` of them after `after`. Errors: `Unavailable`. Cancel safe.
    pub async fn list(
        &self,
        prefix: &str,
        after: Option<&NamespaceName>,
        limit: usize,
    ) -> Result<NamespacePage> {
        let page = name::list(&*self.shared.bucket, prefix, after, limit).await;
        self.shared.noted(page)
    }

    /// Does work that goes on although its caller goes away. Errors: the work's own; `OutcomeUnknown` where it
    /// did not end.
    async fn on_a_task<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        self.shared.tasks.spawn(async move {
            // Nobody waits for it if the caller has gone.
            let _ = sender.send(work.await);
        });
        let done = receiver
            .await
            .unwrap_or_else(|_| Err(Error::outcome_unknown("the work ended before it answered")));
        self.shared.noted(done)
    }

    /// Moves all that was acknowledged before this call into segments, and waits for it.
    ///
    /// Errors: `NotFound`, `Unavailable`, `OutcomeUnknown`; no document is lost in any case. Cancel safe:
    /// a flush that has begun goes on.
    pub async fn flush(&self, name: &NamespaceName) -> Result<Flushed> {
        let namespace = self.find(name).await?;
        self.on_a_task(async move { namespace.flush().await }).await
    }

    /// Builds an index file of a namespace again, by its key, where it is damaged and the newest state refers to it; whether
    /// it did. Errors: `Corrupted` naming documents that are damaged too, `NotFound`, `Unavailable`, `OutcomeUnknown`.
    pub async fn rebuild_index(&self, name: &NamespaceName, index: &str) -> Result<bool> {
        let (namespace, index) = (self.find(name).await?, index.to_owned());
        let rebuilt = async move { namespace.rebuild_index(&index).await };
        Ok(self.on_a_task(rebuilt).await? == Rebuilt::Done)
    }

    /// Sums all documents of a namespace, which reads all of them: no flush and no merge changes the sum. Errors: as `query`.
    pub async fn row_sum(&self, name: &NamespaceName) -> Result<(WalSeq, RowSum)> {
        let namespace = self.find(name).await?;
        let view = namespace.view_at(Consistency::Strong).await?;
        if view.state.life != Life::Live {
            return Err(not_found(name));
        }
        let summed = namespace.row_sum(&view).await;
        Ok((view.seq, self.shared.noted(summed)?))
    }

    /// Writes the manifest of a namespace's newest state, and with it the copies that save time. Errors: `NotFound`,
    /// `Unavailable`; `Corrupted` where the state cannot be read. Cancel safe: it may still be written.
    pub async fn write_manifest(&self, name: &NamespaceName) -> Result<()> {
        let namespace = self.find(name).await?;
        let view = namespace.view_at(Consistency::Strong).await?;
        if view.state.life != Life::Live {
            return Err(not_found(name));
        }
        let bucket = &*self.shared.bucket;
        let written = manifest::write(bucket, namespace.id(), &namespace.name, &view.state).await?;
        match written {
            Written::Done => Ok(()),
            Written::Diverged => Err(Error::corrupted(format!(
                "the manifest of namespace `{name}` at {} is there with other bytes",
                view.seq
            ))),
        }
    }

    /// Merges segments and lets rows go that are gone: what is due, or with all that was acknowledged before this call
    /// as much as there is; and waits for it.
    ///
    /// Errors: `NotFound`, `Unavailable`, `OutcomeUnknown`; `Corrupted` naming a damaged object; no document is lost in any
    /// case. Cancel safe: a merge that has begun goes on.
    pub async fn compact(&self, name: &NamespaceName, if_needed: bool) -> Result<Compacted> {
        let namespace = self.find(name).await?;
        self.on_a_task(async move { namespace.compact(if_needed).await })
            .await
    }

    /// Deletes what nothing refers to any more in a namespace, or with `dry_run` only tells of it.
    ///
    /// Errors: `NotFound`, `Unavailable`; `Corrupted` naming a manifest that cannot be read. Nothing that is needed is
    /// deleted in any case. Cancel safe: a pass that has begun goes on.
    pub async fn collect(&self, name: &NamespaceName, dry_run: bool) -> Result<Collected> {
        let namespace = self.find(name).await?;
        self.on_a_task(async move { namespace.collect(dry_run).await })
            .await
    }

    /// Whether it takes requests: not while it drains.
    pub fn ready(&self) -> bool {
        !self.shared.shutdown.is_triggered()
    }

    /// Makes `ready` false, so that load balancers send no more.
    pub fn drain(&self) {
        self.shared.shutdown.trigger();
    }

    /// Asks the store, and tells how this node is: one read, and a write where the newest one failed.
    pub async fn health(&self) -> Health {
        let asked = self.shared.bucket.get(path::STORE).await;
        let write_error = self.shared.writable.fault(&self.shared).await;
        let gauges = &self.shared.metrics.namespace;
        let wal = &self.shared.metrics.wal;
        Health {
            store_ok: asked.is_ok(),
            store_error: asked.err().map(|error| error.to_string()),
            store_write_error: write_error,
            store_url: self.shared.bucket.url().to_owned(),
            namespaces_open: gauges.open_namespaces.get().max(0) as u64,
            tail_rows: gauges.tail_rows.get().max(0) as u64,
            tail_bytes: gauges.tail_bytes.get().max(0) as u64,
            anchor_failures: wal.anchor_failures_total.get(),
            unknown_outcomes: wal.unknown_outcomes_total.get(),
            divergence_alarms: wal.divergence_alarms_total.get(),
            quarantined_objects: self.shared.quarantine.objects(),
        }
    }

    /// Drains, then waits for commits and background work that have begun; call it after the edges have
    /// stopped.
    pub async fn finish(&self) {
        self.drain();
        self.shared.tasks.join_all().await;
    }

    /// A turn to run one query. Errors: `Unavailable` after the longest wait.
    async fn turn(&self) -> Result<SemaphorePermit<'_>> {
        let options = &self.shared.options;
        match within_ms(options.query_queue_ms, self.shared.turns.acquire()).await {
            Some(Ok(turn)) => Ok(turn),
            _ => Err(Error::new(
                ErrorKind::Unavailable,
                "too_many_queries",
                format!(
                    "{} queries run already and none ended within {} ms",
                    options.max_concurrent_queries, options.query_queue_ms
                ),
            )
            .with_retry_after_ms(1_000)),
        }
    }

    async fn find(&self, name: &NamespaceName) -> Result<Arc<Namespace>> {
        let found = self.registry.find(name).await;
        self.shared.noted(found)?.ok_or_else(|| not_found(name))
    }
}

/// Whether a write makes the namespace where there is none: it brings documents, or says so.
fn creates(batch: &WriteBatch) -> bool {
    batch.create_namespace.unwrap_or(!batch.upserts.is_empty())
}

/// The newest view of a namespace, the rows in its segments and their bytes.
async fn counted(namespace: &Arc<Namespace>) -> Result<Answer<(Arc<View>, u64, u64)>> {
    let mut view = namespace.view_at(Consistency::Strong).await?;
    for _ in 0..RESTARTS_MAX {
        if view.state.life != Life::Live {
            return Ok(Answer::Dropped);
        }
        match namespace.live_totals(&view).await {
            Ok((rows, bytes)) => return Ok(Answer::Is((view, rows, bytes))),
            Err(error) if is_missing(&error) => match namespace.gone(error).await? {
                Gone::Replaced(newest) => view = newest,
                Gone::Lost(damage) => return Err(damage),
            },
            Err(error) => return Err(error),
        }
    }
    let (rows, bytes) = namespace.live_totals(&view).await?;
    Ok(Answer::Is((view, rows, bytes)))
}

fn restless(name: &NamespaceName) -> Error {
    Error::unavailable(format!(
        "namespace `{name}` was dropped and created {TRIES_MAX} times meanwhile"
    ))
    .with_retry_after_ms(1_000)
}
