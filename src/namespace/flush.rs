//! Flushing: the tail becomes a segment, and the log it lay in may go.
//!
//! Claim, upload, commit. The claim's sequence names the uploads, so nobody else's objects are ever
//! touched; the commit applies only if the claim still stands and no other flush came first. Whatever
//! fails on the way leaves the rows where they were, in the log.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::Mutex as AsyncMutex;

use super::claims::{Claimed, Claims, PATIENCE_MS_MAX};
use super::handle::{Log, Namespace, View};
use super::write::Tried;
use crate::error::{Error, ErrorKind, Result};
use crate::format::{Effects, wal::Body};
use crate::lsm::{Applied, Entry, State};
use crate::runtime::clock::sleep_ms;
use crate::runtime::{FailPoint, failpoint};
use crate::store::StoreKind;
use crate::types::{WalSeq, limits};

/// How often a caller that waits for another flusher looks again, milliseconds.
const LOOK_AGAIN_MS: u64 = 100;
/// How long a flush that failed is left alone, milliseconds: twice as long after each further failure. Each
/// may cost the log two slots.
const RETRY_MS: u64 = 1_000;
const RETRY_MS_MAX: u64 = 10 * 60 * 1_000;

/// What this node does about flushing a namespace.
#[derive(Debug, Default)]
pub(crate) struct Flusher {
    /// Held while a flush of this node runs.
    running: AsyncMutex<()>,
    /// Whether a background flush is under way or asked for.
    asked: AtomicBool,
    /// Whether a flush by age is set.
    timed: AtomicBool,
    /// Before when none is begun in the background: the last one failed. Monotonic milliseconds.
    not_before_ms: AtomicU64,
    /// Failures since the last that did not.
    failures: AtomicU32,
    pub(super) claims: Mutex<Claims>,
}

/// What came of a flush.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flushed {
    /// The tail up to this sequence is in segments now.
    Done(WalSeq),
    /// There was nothing to flush: all up to this sequence is.
    Nothing(WalSeq),
}

impl Namespace {
    /// Flushes if the tail has grown enough, or sees to it that it is flushed when it is old enough.
    pub(super) fn consider_flush(self: &Arc<Self>, view: &View) {
        if view.seq == view.state.flushed_seq || self.shared.shutdown.is_triggered() {
            return;
        }
        let options = &self.shared.options;
        let slots = view.seq.0.saturating_sub(view.state.flushed_seq.0);
        let slots_max = match (options.flush_slots, self.shared.bucket.kind()) {
            (0, StoreKind::Http) => limits::FLUSH_SLOTS_HTTP,
            (0, StoreKind::Local | StoreKind::Memory) => limits::FLUSH_SLOTS_LOCAL,
            (slots, _) => slots,
        };
        if view.tail.memory_bytes >= options.flush_bytes || slots >= slots_max {
            self.flush_soon();
        } else if view.tail.is_touched() {
            self.flush_by_age();
        }
    }

    /// Has the tail flushed for its size, unless that is asked for already; a while after a failure.
    pub(super) fn flush_soon(self: &Arc<Self>) {
        if !self.flusher.asked.swap(true, Ordering::AcqRel) {
            self.flush_after(0, |flusher| &flusher.asked);
        }
    }

    /// Until a flush may be begun in the background, milliseconds.
    fn flush_rests_ms(&self) -> u64 {
        let not_before_ms = self.flusher.not_before_ms.load(Ordering::Acquire);
        not_before_ms.saturating_sub(self.shared.clock.monotonic_ms())
    }

    /// Notes how a flush ended.
    fn note_flush(&self, flushed: &Result<Flushed>) {
        let flusher = &self.flusher;
        let Err(error) = flushed else {
            flusher.failures.store(0, Ordering::Release);
            return;
        };
        let failures = flusher.failures.fetch_add(1, Ordering::AcqRel);
        let rest_ms = RETRY_MS
            .saturating_mul(1 << failures.min(16))
            .min(RETRY_MS_MAX);
        let now = self.shared.clock.monotonic_ms();
        flusher
            .not_before_ms
            .store(now.saturating_add(rest_ms), Ordering::Release);
        self.shared.metrics.flush.failures_total.inc();
        self.shared.note_damage(error);
        tracing::warn!(namespace = %self.name, error = %error.chain(), "flush failed");
    }

    /// Has the tail flushed when it is old enough, unless that is set already.
    fn flush_by_age(self: &Arc<Self>) {
        if !self.flusher.timed.swap(true, Ordering::AcqRel) {
            self.flush_after(self.shared.options.flush_age_ms, |flusher| &flusher.timed);
        }
    }

    /// Starts a background flush after a while, and clears what says that it was asked for.
    fn flush_after(self: &Arc<Self>, after_ms: u64, asked: fn(&Flusher) -> &AtomicBool) {
        let namespace = Arc::downgrade(self);
        let shutdown = self.shared.shutdown.clone();
        self.shared.tasks.spawn(async move {
            let mut wait_ms = after_ms;
            loop {
                if wait_ms > 0 {
                    tokio::select! {
                        () = sleep_ms(wait_ms) => {}
                        () = shutdown.triggered() => return,
                    }
                }
                // A handle that was closed meanwhile has nothing to flush that its next owner has not.
                let Some(namespace) = namespace.upgrade() else {
                    return;
                };
                wait_ms = namespace.flush_rests_ms();
                if wait_ms == 0 {
                    asked(&namespace.flusher).store(false, Ordering::Release);
                    return namespace.flush_in_background().await;
                }
            }
        });
    }

    async fn flush_in_background(self: &Arc<Self>) {
        // One that runs already may have begun before the newest rows came: they are timed below.
        if let Err(error) = self.flush_unless_running().await
            && error.code() == "namespace_not_found"
        {
            return;
        }
        // What came meanwhile is considered again; what failed is tried again when it is old enough.
        let view = self.view();
        if view.seq > view.state.flushed_seq && view.tail.is_touched() {
            self.flush_by_age();
        }
    }

    /// Flushes, unless a flush of this node runs: `false`. A failure is told here.
    pub(super) async fn flush_unless_running(self: &Arc<Self>) -> Result<bool> {
        let Ok(_running) = self.flusher.running.try_lock() else {
            return Ok(false);
        };
        let flushed = self.flush_once().await;
        if !matches!(&flushed, Err(error) if error.code() == "namespace_not_found") {
            self.note_flush(&flushed);
        }
        flushed.map(|_| true)
    }

    /// Flushes all that was acknowledged before this call, and waits for it.
    ///
    /// Errors: `NotFound`, `Unavailable`, `OutcomeUnknown`: the rows are safe in either case. Cancel safe:
    /// run on a task of its own, a flush that has begun goes on.
    pub(crate) async fn flush(self: &Arc<Self>) -> Result<Flushed> {
        self.current_view().await?;
        let _running = self.flusher.running.lock().await;
        self.flush_once().await
    }

    async fn flush_once(self: &Arc<Self>) -> Result<Flushed> {
        let began_ms = self.shared.clock.monotonic_ms();
        let waits = 2 * PATIENCE_MS_MAX / LOOK_AGAIN_MS;
        // What cannot be read would fail the flush after its claim, and cost the log two slots.
        self.changed_segments(&self.view()).await?;
        for _ in 0..waits {
            match self.claim().await? {
                Claimed::Nothing(seq) => return Ok(Flushed::Nothing(seq)),
                Claimed::Busy => sleep_ms(LOOK_AGAIN_MS).await,
                Claimed::Ours(claim, view) => {
                    let flushed = match self.flush_under(claim, &view).await {
                        Ok(flushed) => flushed,
                        Err(error) => {
                            self.abort(claim).await;
                            return Err(error);
                        }
                    };
                    let elapsed_ms = self.shared.clock.monotonic_ms().saturating_sub(began_ms);
                    let metrics = &self.shared.metrics.flush;
                    metrics.seconds.observe(elapsed_ms as f64 / 1_000.0);
                    self.clean_log().await;
                    return Ok(flushed);
                }
            }
        }
        Err(Error::unavailable(format!(
            "namespace `{}` is being flushed by another node",
            self.name
        ))
        .with_retry_after_ms(5_000))
    }

    /// Builds, uploads and commits what a claim covers: all rows of its view.
    async fn flush_under(self: &Arc<Self>, claim: WalSeq, view: &Arc<View>) -> Result<Flushed> {
        let changed = self.changed_segments(view).await?;
        let sealed = self.seal(view).await?;
        let mut segments = Vec::new();
        if let Some(sealed) = sealed {
            segments.push(self.upload(claim, 0, sealed).await?);
        }
        let mut updates = Vec::with_capacity(changed.len());
        for (attempt, changed) in changed.into_iter().enumerate() {
            updates.push(self.place_deletions(claim, attempt as u32, changed).await?);
        }
        let rows: u64 = segments.iter().map(|segment| segment.rows).sum();
        let entry = Entry::Flush {
            claim,
            base: view.state.flushed_seq,
            up_to: view.seq,
            segments,
            deletions: updates,
        };
        let state = self.commit_flush(claim, entry).await?;
        tracing::debug!(namespace = %self.name, up_to = view.seq.0, rows, "flushed");
        self.shared.metrics.flush.rows_total.inc_by(rows);
        self.put_manifest(&state).await;
        Ok(Flushed::Done(view.seq))
    }

    /// Appends the commit of a flush; gives the state it made.
    async fn commit_flush(self: &Arc<Self>, claim: WalSeq, entry: Entry) -> Result<Arc<State>> {
        let mut slot = self.log.lock().await;
        for _ in 0..limits::LOST_SLOTS_MAX {
            let log = self.take_live_log(&mut slot).await?;
            let stands = log.state.claims.contains_key(&claim);
            *slot = Some(log);
            if !stands {
                return Err(superseded(&self.name, "its claim was taken back"));
            }
            let committing = failpoint::reach(FailPoint::F3);
            if committing.before().await.is_some() {
                return Err(Error::unavailable("failpoint f3"));
            }
            let tried = self.append_plain(&mut slot, entry.clone()).await?;
            if committing.after().await.is_some() {
                return Err(Error::outcome_unknown("failpoint f3"));
            }
            match tried {
                Tried::Committed(_, Applied::Effective) => {
                    let log = self.take_log(&mut slot).await?;
                    let state = Arc::clone(&log.state);
                    *slot = Some(log);
                    return Ok(state);
                }
                Tried::Committed(_, Applied::NoOp(reason)) => {
                    return Err(superseded(&self.name, reason));
                }
                Tried::Again => {}
            }
        }
        Err(Error::unavailable(format!(
            "namespace `{}` has faster writers elsewhere",
            self.name
        )))
    }

    /// Appends an entry that has no rows and that nobody needs to find again.
    pub(super) async fn append_plain(
        self: &Arc<Self>,
        slot: &mut Option<Log>,
        entry: Entry,
    ) -> Result<Tried> {
        let effects = Effects::default();
        let body = Body::encode(&entry, &effects)?;
        self.append(slot, None, entry, effects, &body).await
    }
}

fn superseded(name: &crate::types::NamespaceName, reason: &str) -> Error {
    Error::new(
        ErrorKind::Unavailable,
        "flush_superseded",
        format!("the flush of namespace `{name}` came to nothing: {reason}"),
    )
}
