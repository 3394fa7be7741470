//! What others must learn of the tails here, and seeing to a namespace that was found due.
//!
//! An engine notes the namespaces that its own commits leave rows in the log of; whoever looks for work
//! (`src/background/`) takes the notes, tells the bucket, and comes back with namespaces to see to.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::handle::{Namespace, View};
use super::{Engine, TRIES_MAX, restless};
use crate::error::{Error, Result};
use crate::lsm::state::Life;
use crate::query::request::Consistency;
use crate::types::{NamespaceId, NamespaceName, Timestamp, WalSeq, limits};

/// Stands for "no rows wait" where a time is kept.
const NEVER: u64 = u64::MAX;

/// A namespace that a commit of this node left rows in the log of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirtyNote {
    /// Its name.
    pub name: NamespaceName,
    /// Since when its rows wait, milliseconds of this node's monotonic clock; before its start: negative.
    pub since_ms: i64,
    /// Where flushes had come to: once they come further, the note is void.
    pub flushed: WalSeq,
}

/// An open namespace, as this node knows it without asking the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenTail {
    /// Its name.
    pub name: NamespaceName,
    /// Where flushes have come to.
    pub flushed: WalSeq,
    /// Since when this node has known of rows that wait, monotonic milliseconds; `None` where none do.
    pub waits_since_ms: Option<u64>,
}

/// What came of seeing to a namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attended {
    /// There was nothing to flush, or no such namespace.
    Nothing,
    /// All of its rows are in segments.
    Flushed,
    /// It was flushed, and rows came meanwhile.
    FlushedInPart,
    /// This node flushes it already, or begins nothing new.
    Busy,
}

/// A namespace with rows that wait, as a strong look found it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// The incarnation.
    pub namespace: NamespaceId,
    /// Where flushes have come to.
    pub flushed: WalSeq,
    /// When the newest entry was written, by its writer's clock.
    pub written_at: Timestamp,
}

/// Notes that nobody has taken yet.
#[derive(Debug, Default)]
pub(crate) struct DirtyNotes {
    notes: Mutex<BTreeMap<NamespaceId, DirtyNote>>,
    added: Notify,
}

impl DirtyNotes {
    fn add(&self, id: NamespaceId, note: DirtyNote) {
        let mut notes = self.notes.lock();
        // What is beyond is only found later, by the sweep.
        if notes.len() < limits::DIRTY_NOTES_MAX || notes.contains_key(&id) {
            notes.insert(id, note);
            self.added.notify_one();
        }
    }
}

/// What a handle remembers for all this.
#[derive(Debug)]
pub(super) struct Waits {
    /// Since when rows wait, as this node knows; `NEVER` where none do.
    since_ms: AtomicU64,
    /// The flushed sequence after which they wait, plus one; 0 where none do. Views cannot tell it afterwards:
    /// they share what the tail has touched.
    after: AtomicU64,
    /// The flushed sequence for which a note was made, plus one.
    noted: AtomicU64,
}

impl Default for Waits {
    fn default() -> Self {
        Self {
            since_ms: AtomicU64::new(NEVER),
            after: AtomicU64::new(0),
            noted: AtomicU64::new(0),
        }
    }
}

/// For which flush rows of a view wait; `None` where none do.
fn waits_for(view: &View) -> Option<WalSeq> {
    (view.state.life == Life::Live && view.tail.is_touched()).then_some(view.state.flushed_seq)
}

impl Namespace {
    /// Keeps when rows began to wait, as views replace each other.
    pub(super) fn time_waiting(&self, view: &View) {
        let after = waits_for(view).map_or(0, |flushed| flushed.0.saturating_add(1));
        if self.waits.after.swap(after, Ordering::AcqRel) == after {
            return;
        }
        let since_ms = match after {
            0 => NEVER,
            _ => self.shared.clock.monotonic_ms(),
        };
        self.waits.since_ms.store(since_ms, Ordering::Release);
    }

    pub(super) fn waits_since_ms(&self) -> Option<u64> {
        let since_ms = self.waits.since_ms.load(Ordering::Acquire);
        (since_ms != NEVER).then_some(since_ms)
    }

    /// Notes, once a flush, that a commit of this node left rows in the log. Asks the store nothing.
    pub(super) fn note_dirty(&self, view: &View) {
        if let Some(flushed) = waits_for(view) {
            self.note_maybe_dirty(flushed);
        }
    }

    /// As `note_dirty`, where whether a commit left rows is not known.
    pub(super) fn note_maybe_dirty(&self, flushed: WalSeq) {
        let noted = flushed.0.saturating_add(1);
        if self.waits.noted.swap(noted, Ordering::AcqRel) == noted {
            return;
        }
        let now = self.shared.clock.monotonic_ms();
        let note = DirtyNote {
            name: self.name.clone(),
            since_ms: i64::try_from(now).unwrap_or(i64::MAX),
            flushed,
        };
        self.shared.dirty.add(self.id(), note);
    }
}

/// Tells how an attempt ended, also where its task is dropped or panics: its place must not stay taken.
struct EndedOnce<F: FnOnce(Result<Attended>)>(Option<F>);

impl<F: FnOnce(Result<Attended>)> EndedOnce<F> {
    fn tell(mut self, attended: Result<Attended>) {
        if let Some(ended) = self.0.take() {
            ended(attended);
        }
    }
}

impl<F: FnOnce(Result<Attended>)> Drop for EndedOnce<F> {
    fn drop(&mut self) {
        if let Some(ended) = self.0.take() {
            ended(Err(Error::internal("seeing to a namespace broke off")));
        }
    }
}

impl Engine {
    /// Resolves once a commit has left rows behind that no note told of. Cancel safe.
    pub async fn dirtied(&self) {
        self.shared.dirty.added.notified().await;
    }

    /// Takes the notes made since the last call.
    pub fn take_dirty_notes(&self) -> BTreeMap<NamespaceId, DirtyNote> {
        std::mem::take(&mut *self.shared.dirty.notes.lock())
    }

    /// All open namespaces, from memory.
    pub fn open_tails(&self) -> BTreeMap<NamespaceId, OpenTail> {
        let open = self.registry.all();
        let tail = |namespace: &Arc<Namespace>| OpenTail {
            name: namespace.name.clone(),
            flushed: namespace.view().state.flushed_seq,
            waits_since_ms: namespace.waits_since_ms(),
        };
        open.iter()
            .map(|namespace| (namespace.id(), tail(namespace)))
            .collect()
    }

    /// Closes namespaces that nobody has used for `idle_ms` and that have nothing to flush; how many.
    /// Opening one again costs a few requests: nothing local is durable.
    pub fn close_idle(&self, idle_ms: u64) -> u64 {
        self.shared.past.expire(self.shared.clock.monotonic_ms());
        self.registry.close_idle(idle_ms)
    }

    /// Flushes one incarnation if it has rows in no segment, and tells `ended` what came of it. It runs on a
    /// task of this engine, which `finish` waits for.
    pub fn attend(
        &self,
        name: NamespaceName,
        id: NamespaceId,
        ended: impl FnOnce(Result<Attended>) + Send + 'static,
    ) {
        let engine = self.clone();
        let ended = EndedOnce(Some(ended));
        self.shared
            .tasks
            .spawn(async move { ended.tell(engine.attend_now(&name, id).await) });
    }

    async fn attend_now(&self, name: &NamespaceName, id: NamespaceId) -> Result<Attended> {
        for _ in 0..TRIES_MAX {
            if !self.ready() {
                return Ok(Attended::Busy);
            }
            let Some(namespace) = self.registry.find(name).await? else {
                return Ok(Attended::Nothing);
            };
            // Strong: what this node remembers may have been flushed elsewhere, or be a dropped incarnation.
            let view = namespace.view_at(Consistency::Strong).await?;
            if view.state.life != Life::Live {
                self.registry.forget(&namespace);
                continue;
            }
            namespace.consider_index_build(&view);
            namespace.consider_compaction(&view);
            if namespace.id() != id || waits_for(&view).is_none() {
                return Ok(Attended::Nothing);
            }
            if !namespace.flush_unless_running().await? {
                return Ok(Attended::Busy);
            }
            self.shared.metrics.finder.flushes_total.inc();
            return Ok(match waits_for(&namespace.view()) {
                None => Attended::Flushed,
                Some(_) => Attended::FlushedInPart,
            });
        }
        Err(restless(name))
    }

    /// Looks, strongly, whether a namespace has rows in no segment, and deletes what is left of its log where it
    /// has none; indexes that it lacks are built meanwhile, and garbage is collected; one that is not open is not kept
    /// open.
    ///
    /// Errors: `Unavailable`; `Corrupted`. Cancel safe.
    pub async fn look_for_waiting(&self, name: &NamespaceName) -> Result<Option<Waiting>> {
        let Some(namespace) = self.registry.peek(name).await? else {
            return Ok(None);
        };
        let view = namespace.view_at(Consistency::Strong).await?;
        namespace.consider_index_build(&view);
        namespace.consider_compaction(&view);
        if view.state.life == Life::Live && waits_for(&view).is_none() {
            namespace.clean_rest(&view.state).await?;
        }
        namespace.collect_soon();
        Ok(waits_for(&view).map(|flushed| Waiting {
            namespace: namespace.id(),
            flushed,
            written_at: view.state.written_at,
        }))
    }
}
