//! One open namespace on this node: its log, its tail, and the view that readers take.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::sync::{Mutex as AsyncMutex, OnceCell};

use super::Shared;
use super::collect::Collector;
use super::compact::Compactor;
use super::deaths::Deaths;
use super::due::Waits;
use super::flush::Flusher;
use super::index_build::Builder;
use super::open;
use super::options::Compaction;
use super::read::Probe;
use super::write::CommitQueue;
use crate::error::{Error, ErrorKind, Result};
use crate::filter::RowMask;
use crate::format::{Slot, path};
use crate::lsm::{self, Applied, Entry, Segment, State, Tail, TailView};
use crate::segment::SegmentReader;
use crate::types::{NamespaceId, NamespaceName, NamespaceSchema, SlotName, WalSeq};
use crate::wal::{Advanced, Proof, Wal};

/// The log as this node knows it, and the rows it brought.
#[derive(Debug)]
pub(crate) struct Log {
    pub(crate) state: Arc<State>,
    pub(crate) tail: Tail,
    pub(crate) proof: Proof,
}

impl Log {
    /// Takes slots that were adopted.
    pub(crate) fn adopt(&mut self, state: Arc<State>, adopted: &[(Slot, Applied)]) -> Result<()> {
        self.state = state;
        let schema = &self.state.schema;
        let effective = adopted
            .iter()
            .filter(|(_, applied)| *applied == Applied::Effective);
        for (slot, _) in effective {
            match &slot.entry {
                Entry::Write(_) => self.tail.apply(
                    slot.header.seq,
                    slot.effects.upserts.as_ref(),
                    slot.effects.deletes.as_ref(),
                    schema,
                )?,
                Entry::Flush { up_to, .. } => self.tail.forget(*up_to, schema)?,
                _ => {}
            }
        }
        Ok(())
    }
}

/// What a reader sees: one state and its tail. Never changes once published, but that its proof is renewed.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) seq: WalSeq,
    pub(crate) schema: Arc<NamespaceSchema>,
    pub(crate) state: Arc<State>,
    pub(crate) tail: TailView,
    /// A reader for each live segment, in the order of the state.
    pub(crate) segments: Arc<[SegmentReader]>,
    /// The rows of each that this view sees: found out by the first who asks.
    pub(super) live_rows: OnceCell<Arc<[Arc<RowMask>]>>,
    /// Whether a segment lacks an index that the schema wants: found out by the first who asks.
    lacks_index: OnceLock<bool>,
    /// Whether segments are to be merged: found out by the first who asks.
    is_merge_due: OnceLock<bool>,
    /// How to ask whether it is still current.
    pub(crate) probe: lsm::Probe,
    /// The proof of this very state: a newer state's would let this view pass for current.
    proof: Mutex<Proof>,
}

impl View {
    /// The view of a log; readers of segments that `before` had are kept, with what they have learnt.
    pub(super) fn of(log: &Log, before: Option<&Self>, shared: &Shared) -> Self {
        let state = &log.state;
        let known: &[SegmentReader] = before.map_or(&[], |view| &view.segments);
        // Both ascend by id.
        let reader = |segment: &Arc<Segment>| match known
            .binary_search_by_key(&segment.id, |reader| reader.segment().id)
        {
            // The same files: an index may have been built since.
            Ok(at) if known[at].segment().index == segment.index => known[at].clone(),
            _ => shared.reader(segment),
        };
        Self {
            segments: state.segments.iter().map(reader).collect(),
            live_rows: OnceCell::new(),
            lacks_index: OnceLock::new(),
            is_merge_due: OnceLock::new(),
            seq: state.seq,
            schema: Arc::clone(&state.schema),
            state: Arc::clone(state),
            tail: log.tail.view(state.seq),
            probe: lsm::Probe::of(state),
            proof: Mutex::new(log.proof),
        }
    }

    /// Whether a segment lacks an index that the schema wants.
    pub(crate) fn lacks_index(&self) -> bool {
        *self
            .lacks_index
            .get_or_init(|| lsm::indexing::is_lacking(&self.state))
    }

    /// Whether segments are to be merged, by the policy of this node and the settings of the namespace.
    pub(crate) fn is_merge_due(&self, compaction: &Compaction) -> bool {
        *self.is_merge_due.get_or_init(|| {
            let of_namespace = compaction.of(&self.state.settings().merging);
            of_namespace.enabled && lsm::pick::is_due(&self.state, &of_namespace.policy)
        })
    }

    pub(crate) fn proof(&self) -> Proof {
        *self.proof.lock()
    }

    /// Takes what a probe of this view has proven.
    pub(crate) fn renew(&self, proof: Proof) {
        let mut mine = self.proof.lock();
        *mine = mine.newer(proof);
    }
}

/// Where catching up led.
#[derive(Debug)]
pub(crate) struct CaughtUp {
    pub(crate) view: Arc<View>,
    /// Whether the log had been truncated under this node: what it knew of slots it lost is void then.
    pub(crate) reopened: bool,
}

/// One open namespace.
#[derive(Debug)]
pub(crate) struct Namespace {
    pub(crate) shared: Arc<Shared>,
    pub(crate) name: NamespaceName,
    pub(crate) wal: Wal,
    /// `None` after an outcome that could not be resolved: opened again from the bucket by the next one
    /// who needs it.
    pub(crate) log: AsyncMutex<Option<Log>>,
    view: ArcSwap<View>,
    pub(crate) queue: CommitQueue,
    pub(crate) probe: Probe,
    pub(crate) deaths: Deaths,
    pub(crate) flusher: Flusher,
    pub(crate) builder: Builder,
    pub(crate) compactor: Compactor,
    pub(crate) collector: Collector,
    pub(super) waits: Waits,
    /// The slot at which the log could not be read on: nothing is appended before it reads well.
    stopped: Mutex<Option<SlotName>>,
    /// When its view was last proven current, monotonic milliseconds.
    proven_at_ms: AtomicU64,
    used_at_ms: AtomicU64,
}

impl Namespace {
    /// Makes a handle around a log that was read or begun at some moment after `began_ms`.
    pub(crate) fn new(
        shared: Arc<Shared>,
        name: NamespaceName,
        wal: Wal,
        log: Log,
        began_ms: u64,
    ) -> Arc<Self> {
        let now = shared.clock.monotonic_ms();
        let namespace = Arc::new(Self {
            view: ArcSwap::from_pointee(View::of(&log, None, &shared)),
            log: AsyncMutex::new(Some(log)),
            queue: CommitQueue::default(),
            probe: Probe::default(),
            deaths: Deaths::default(),
            flusher: Flusher::default(),
            builder: Builder::default(),
            compactor: Compactor::default(),
            collector: Collector::default(),
            waits: Waits::default(),
            stopped: Mutex::default(),
            proven_at_ms: AtomicU64::new(began_ms),
            used_at_ms: AtomicU64::new(now),
            shared,
            name,
            wal,
        });
        let view = namespace.view();
        namespace.count_tail(0, 0, &view);
        namespace.time_waiting(&view);
        namespace.count_debt(&view);
        namespace
    }

    pub(crate) fn id(&self) -> NamespaceId {
        self.wal.id()
    }

    /// The view last published.
    pub(crate) fn view(&self) -> Arc<View> {
        self.view.load_full()
    }

    pub(crate) fn touch(&self) {
        let now = self.shared.clock.monotonic_ms();
        self.used_at_ms.store(now, Ordering::Relaxed);
    }

    pub(crate) fn used_at_ms(&self) -> u64 {
        self.used_at_ms.load(Ordering::Relaxed)
    }

    /// How long ago its view was proven current, milliseconds of this node's monotonic clock.
    pub(crate) fn staleness_ms(&self) -> u64 {
        let now = self.shared.clock.monotonic_ms();
        now.saturating_sub(self.proven_at_ms.load(Ordering::Acquire))
    }

    /// Records that the view was current at a moment after `began_ms`.
    pub(crate) fn prove(&self, began_ms: u64) {
        self.proven_at_ms.fetch_max(began_ms, Ordering::AcqRel);
    }

    /// Publishes what the log says now.
    pub(crate) fn publish(&self, log: &Log) -> Arc<View> {
        let before = self.view();
        let view = Arc::new(View::of(log, Some(&before), &self.shared));
        let old = self.view.swap(Arc::clone(&view));
        self.count_tail(old.tail.live_rows, old.tail.memory_bytes, &view);
        self.time_waiting(&view);
        if before.state.segments != view.state.segments {
            self.count_debt(&view);
        }
        view
    }

    fn count_tail(&self, old_rows: u64, old_bytes: u64, view: &View) {
        let gauges = &self.shared.metrics.namespace;
        let change = |new: u64, old: u64| new as i64 - old as i64;
        gauges.tail_rows.add(change(view.tail.live_rows, old_rows));
        gauges
            .tail_bytes
            .add(change(view.tail.memory_bytes, old_bytes));
    }

    /// The log, opened again from the bucket where it had to be discarded.
    pub(crate) async fn take_log(&self, slot: &mut Option<Log>) -> Result<Log> {
        match slot.take() {
            Some(mut log) => {
                let view = self.view();
                if view.seq == log.state.seq {
                    // A probe may have proven the state meanwhile.
                    log.proof = log.proof.newer(view.proof());
                }
                Ok(log)
            }
            None => {
                let log = self.open_again().await?;
                // Whoever decides by this log reads flushed documents through the view: it must not be older.
                self.publish(&log);
                Ok(log)
            }
        }
    }

    /// Catches up with the bucket and publishes. On an error the log is discarded, not half changed.
    pub(crate) async fn catch_up(&self, slot: &mut Option<Log>) -> Result<CaughtUp> {
        let mut reopened = false;
        let began_ms = self.shared.clock.monotonic_ms();
        let mut log = self.take_log(slot).await?;
        // The state and rows of `log` stay whole until everything has been read.
        let advanced = match self.wal.advance((*log.state).clone(), log.proof).await {
            Ok(advanced) => advanced,
            Err(error) => {
                *slot = Some(log);
                self.note_stop(&error);
                return Err(error);
            }
        };
        match advanced {
            Advanced::Current {
                state,
                adopted,
                proof,
            } => {
                if let Err(error) = self.go_on(&state) {
                    *slot = Some(log);
                    return Err(error);
                }
                log.adopt(Arc::from(state), &adopted)?;
                log.proof = proof;
            }
            Advanced::Reopen => {
                self.shared.metrics.wal.anchor_failures_total.inc();
                log = self.open_again().await?;
                reopened = true;
            }
        }
        let view = self.publish(&log);
        *slot = Some(log);
        self.prove(began_ms);
        Ok(CaughtUp { view, reopened })
    }

    /// Opens the log anew.
    pub(crate) async fn open_again(&self) -> Result<Log> {
        let opened = open::open_log(&self.shared, &self.wal, None).await;
        let log = opened.inspect_err(|error| self.note_stop(error))?;
        self.go_on(&log.state)?;
        Ok(log)
    }

    /// Whether the log has a slot that could not be read. Whoever wants to know what is newest, or to append,
    /// must catch up first.
    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.lock().is_some()
    }

    /// Remembers the slot that an error names, if it is damage of one.
    fn note_stop(&self, error: &Error) {
        if error.kind() != ErrorKind::Corrupted {
            return;
        }
        let object = error.details().iter().find(|(name, _)| *name == "object");
        let slot = object.and_then(|(_, key)| path::parse_slot(self.id(), key).ok());
        if let Some(slot) = slot {
            let mut stopped = self.stopped.lock();
            *stopped = (*stopped).max(Some(slot));
        }
    }

    /// Goes on at a state that was read just now. A slot that was damaged and is not there any more is no end
    /// of the log: it is not written anew. Errors: `Corrupted` naming it.
    fn go_on(&self, state: &State) -> Result<()> {
        let mut stopped = self.stopped.lock();
        match *stopped {
            Some(slot) if slot >= state.next_slot() => {
                let key = path::slot(self.id(), slot);
                Err(Error::corrupted(format!(
                    "object `{key}` is missing: expected the slot that was damaged, found none"
                ))
                .with_detail("object", key)
                .with_detail("expected", "the slot that was damaged")
                .with_detail("found", "none"))
            }
            _ => {
                *stopped = None;
                Ok(())
            }
        }
    }

    /// Locks the log and catches up.
    pub(crate) async fn refresh(&self) -> Result<Arc<View>> {
        let mut slot = self.log.lock().await;
        Ok(self.catch_up(&mut slot).await?.view)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let view = self.view.load();
        let gauges = &self.shared.metrics.namespace;
        gauges.tail_rows.sub(view.tail.live_rows as i64);
        gauges.tail_bytes.sub(view.tail.memory_bytes as i64);
        self.set_debt(0);
    }
}

/// The answer to anything asked of a namespace that does not exist.
pub(crate) fn not_found(name: &NamespaceName) -> Error {
    Error::new(
        ErrorKind::NotFound,
        "namespace_not_found",
        format!("namespace `{name}` was not found"),
    )
    .with_detail("namespace", name)
}
