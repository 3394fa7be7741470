//! Flushing: the tail becomes a segment, and the log it lay in may go.
//!
//! Claim, upload, commit. The claim's sequence names the uploads, so nobody else's objects are ever
//! touched; the commit applies only if the claim still stands and no other flush came first. Whatever
//! fails on the way leaves the rows where they were, in the log.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use tokio::sync::Mutex as AsyncMutex;

use super::claims::{Claimed, Claims, PATIENCE_MS_MAX};
use super::handle::{Log, Namespace, View};
use super::rest::Rest;
use super::write::Tried;
use crate::error::{Error, ErrorKind, Result};
use crate::format::{Effects, wal::Body};
use crate::lsm::entry::ClaimKind;
use crate::lsm::{Applied, Entry, State};
use crate::runtime::clock::sleep_ms;
use crate::runtime::{FailPoint, failpoint};
use crate::store::StoreKind;
use crate::types::{WalSeq, limits};

/// How often a caller that waits for another flusher looks again, milliseconds.
const LOOK_AGAIN_MS: u64 = 100;
/// How often merges may come between a flush and its commit: each costs the log a slot, and no rows are sent again.
const REBASES_MAX: u32 = 8;

/// What this node does about flushing a namespace.
#[derive(Debug, Default)]
pub(crate) struct Flusher {
    /// Held while a flush of this node runs.
    running: AsyncMutex<()>,
    /// Whether a background flush is under way or asked for.
    asked: AtomicBool,
    /// Whether a flush by age is set.
    timed: AtomicBool,
    /// How long one that failed is left alone.
    rest: Rest,
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

    /// Notes how a flush ended.
    fn note_flush(&self, flushed: &Result<Flushed>) {
        let rest = &self.flusher.rest;
        let Err(error) = flushed else {
            return rest.note_success();
        };
        rest.note_failure(self.shared.clock.monotonic_ms());
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
                let now = namespace.shared.clock.monotonic_ms();
                wait_ms = namespace.flusher.rest.left_ms(now);
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
        let flushed = self.flush_all().await;
        // Which rows are gone cannot be told without the ids of each segment.
        flushed.inspect_err(|error| self.consider_repair(error))
    }

    async fn flush_all(self: &Arc<Self>) -> Result<Flushed> {
        let began_ms = self.shared.clock.monotonic_ms();
        let waits = 2 * PATIENCE_MS_MAX / LOOK_AGAIN_MS;
        // What cannot be read would fail the flush after its claim, and cost the log two slots.
        let view = self.view();
        self.changed_segments(&view, view.seq).await?;
        for _ in 0..waits {
            match self
                .claim(ClaimKind::Flush, |log| !log.tail.is_touched())
                .await?
            {
                Claimed::Nothing(seq) => return Ok(Flushed::Nothing(seq)),
                Claimed::Busy => sleep_ms(LOOK_AGAIN_MS).await,
                Claimed::Ours(claim, view) => {
                    let flushed = match self.flush_under(claim, &view).await {
                        Ok(flushed) => flushed,
                        Err(error) => {
                            self.abort(ClaimKind::Flush, claim).await;
                            return Err(error);
                        }
                    };
                    let elapsed_ms = self.shared.clock.monotonic_ms().saturating_sub(began_ms);
                    let metrics = &self.shared.metrics.flush;
                    metrics.seconds.observe(elapsed_ms as f64 / 1_000.0);
                    self.clean_log().await;
                    self.consider_collection();
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
        let mut changed = self.changed_segments(view, view.seq).await?;
        let sealed = self.seal(view).await?;
        let mut segments = Vec::new();
        if let Some(sealed) = sealed {
            segments.push(self.upload(claim, 0, sealed, FailPoint::F2).await?);
        }
        let rows: u64 = segments.iter().map(|segment| segment.rows).sum();
        let (mut attempt, mut seen) = (0, Arc::clone(view));
        let mut last = "it was not tried";
        for _ in 0..REBASES_MAX {
            let mut deletions = Vec::with_capacity(changed.len());
            for changed in changed {
                // No name is ever written with two contents.
                deletions.push(self.place_deletions(claim, attempt, changed).await?);
                attempt += 1;
            }
            let entry = Entry::Flush {
                claim,
                base: view.state.flushed_seq,
                up_to: view.seq,
                segments: segments.clone(),
                deletions,
            };
            match self.commit_claimed(claim, entry).await? {
                Ok(state) => {
                    tracing::debug!(namespace = %self.name, up_to = view.seq.0, rows, "flushed");
                    self.shared.metrics.flush.rows_total.inc_by(rows);
                    self.put_manifest(&state).await;
                    return Ok(Flushed::Done(view.seq));
                }
                Err(reason) => last = reason,
            }
            // Segments that rows were deleted of have been merged meanwhile: only what is said of segments changes.
            let newest = self.view();
            let stands = newest.state.claims.contains_key(&claim);
            let is_first = newest.state.flushed_seq == view.state.flushed_seq;
            if !stands || !is_first || newest.state.segments == seen.state.segments {
                break;
            }
            changed = self.changed_segments(&newest, view.seq).await?;
            seen = newest;
        }
        Err(superseded(&self.name, last))
    }

    /// Appends the commit of what was claimed; gives the state it made, or why it came to nothing.
    pub(super) async fn commit_claimed(
        self: &Arc<Self>,
        claim: WalSeq,
        entry: Entry,
    ) -> Result<std::result::Result<Arc<State>, &'static str>> {
        let mut slot = self.log.lock().await;
        for _ in 0..limits::LOST_SLOTS_MAX {
            let log = self.take_live_log(&mut slot).await?;
            let stands = log.state.claims.contains_key(&claim);
            *slot = Some(log);
            if !stands {
                return Ok(Err("its claim was taken back"));
            }
            match self.append_plain(&mut slot, entry.clone()).await? {
                Tried::Committed(_, Applied::Effective) => {
                    let log = self.take_log(&mut slot).await?;
                    let state = Arc::clone(&log.state);
                    *slot = Some(log);
                    return Ok(Ok(state));
                }
                Tried::Committed(_, Applied::NoOp(reason)) => return Ok(Err(reason)),
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
        let appending = encloses(&entry).map(failpoint::reach);
        if let Some(appending) = &appending
            && appending.before().await.is_some()
        {
            return Err(Error::unavailable("failpoint before an append"));
        }
        let effects = Effects::default();
        let body = Body::encode(&entry, &effects)?;
        let tried = self.append(slot, None, entry, effects, &body).await?;
        if let Some(appending) = &appending
            && appending.after().await.is_some()
        {
            return Err(Error::outcome_unknown("failpoint after an append"));
        }
        Ok(tried)
    }
}

/// The failpoint that encloses the append of an entry.
fn encloses(entry: &Entry) -> Option<FailPoint> {
    match entry {
        Entry::Claim { claim, .. } => match claim {
            ClaimKind::Flush => Some(FailPoint::F1),
            ClaimKind::Compact => Some(FailPoint::K1),
            ClaimKind::Write | ClaimKind::IndexBuild => None,
        },
        Entry::Flush { .. } => Some(FailPoint::F3),
        Entry::Compact { .. } => Some(FailPoint::K3),
        Entry::Truncate { .. } => Some(FailPoint::T1),
        _ => None,
    }
}

fn superseded(name: &crate::types::NamespaceName, reason: &str) -> Error {
    Error::new(
        ErrorKind::Unavailable,
        "flush_superseded",
        format!("the flush of namespace `{name}` came to nothing: {reason}"),
    )
}
