//! Flushing: the tail becomes a segment, and the log it lay in may go.
//!
//! Claim, upload, commit. The claim's sequence names the uploads, so nobody else's objects are ever
//! touched; the commit applies only if the claim still stands and no other flush came first. Whatever
//! fails on the way leaves the rows where they were, in the log.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Mutex as AsyncMutex;

use super::deaths::Changed;
use super::handle::{Log, Namespace, View};
use super::write::Tried;
use crate::error::{Error, ErrorKind, Result};
use crate::format::segment::{self as codec, SealedSegment};
use crate::format::{Effects, deletions, path, wal::Body};
use crate::lsm::entry::ClaimKind;
use crate::lsm::{
    Applied, BitmapPlace, DeletionUpdate, Deletions, Entry, Segment, SegmentId, State,
};
use crate::runtime::clock::sleep_ms;
use crate::runtime::{FailPoint, failpoint};
use crate::store::{Resolved, StoreKind, create_once};
use crate::types::{ObjectRef, WalSeq, limits};

/// The longest that another flusher's claim is respected, milliseconds of this node's clock.
const PATIENCE_MS_MAX: u64 = 60_000;
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
    claims: Mutex<Claims>,
}

/// What this node knows of the claims of other flushers.
#[derive(Debug, Default)]
struct Claims {
    /// When each active one was first seen, monotonic milliseconds; `None` for this node's own that came to
    /// nothing.
    seen: BTreeMap<WalSeq, Option<u64>>,
    /// Where the last flush had come to when claims of others were last taken back.
    flushed: WalSeq,
    /// How often they were taken back without a flush since.
    in_vain: u32,
}

impl Claims {
    /// How long a claim is respected: longer each time that taking one back led to no flush, so that of
    /// slow flushers that take each other for dead one comes through.
    fn patience_ms(&self, base_ms: u64, flushed: WalSeq) -> u64 {
        let doublings = if flushed == self.flushed {
            self.in_vain.min(16)
        } else {
            0
        };
        base_ms
            .saturating_mul(1 << doublings)
            .min(PATIENCE_MS_MAX.max(base_ms))
    }

    /// Notes that claims of others are taken back.
    fn note_taken_back(&mut self, flushed: WalSeq) {
        if self.flushed != flushed {
            (self.flushed, self.in_vain) = (flushed, 0);
        }
        self.in_vain = self.in_vain.saturating_add(1);
    }
}

/// What came of a flush.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flushed {
    /// The tail up to this sequence is in segments now.
    Done(WalSeq),
    /// There was nothing to flush: all up to this sequence is.
    Nothing(WalSeq),
}

/// What stands in the way of a claim.
enum Claimed {
    /// The claim is ours; the view is the state it made.
    Ours(WalSeq, Arc<View>),
    /// There is nothing to flush.
    Nothing(WalSeq),
    /// Another flusher's claim is active and may be alive.
    Busy,
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

    /// Appends a claim, where there is something to flush and nobody else is at it.
    async fn claim(self: &Arc<Self>) -> Result<Claimed> {
        let mut slot = self.log.lock().await;
        for _ in 0..limits::LOST_SLOTS_MAX {
            let log = self.take_live_log(&mut slot).await?;
            let state = &log.state;
            let nothing = !log.tail.is_touched();
            let (flushed_seq, dead) = (state.flushed_seq, self.dead_claims(&log));
            *slot = Some(log);
            if nothing {
                return Ok(Claimed::Nothing(flushed_seq));
            }
            match dead {
                None => {
                    // The other flusher's commit is only seen by reading on.
                    self.catch_up(&mut slot).await?;
                    return Ok(Claimed::Busy);
                }
                Some(dead) => {
                    for claim in dead {
                        let entry = Entry::Abort { claim };
                        self.append_plain(&mut slot, entry).await?;
                    }
                }
            }
            let claiming = failpoint::reach(FailPoint::F1);
            if claiming.before().await.is_some() {
                return Err(Error::unavailable("failpoint f1"));
            }
            let claim = ClaimKind::Flush;
            let tried = self.append_plain(&mut slot, Entry::Claim { claim }).await?;
            if claiming.after().await.is_some() {
                return Err(Error::outcome_unknown("failpoint f1"));
            }
            match tried {
                Tried::Committed(seq, Applied::Effective) => {
                    return Ok(Claimed::Ours(seq, self.view()));
                }
                Tried::Committed(..) | Tried::Again => {}
            }
        }
        Err(Error::unavailable(format!(
            "namespace `{}` has faster writers elsewhere",
            self.name
        )))
    }

    /// Claims of flushers that are taken for dead, to be aborted; `None` while one may be alive.
    fn dead_claims(&self, log: &Log) -> Option<Vec<WalSeq>> {
        let now = self.shared.clock.monotonic_ms();
        let active: Vec<WalSeq> = log
            .state
            .claims
            .iter()
            .filter(|(_, kind)| **kind == ClaimKind::Flush)
            .map(|(claim, _)| *claim)
            .collect();
        let mut claims = self.flusher.claims.lock();
        claims.seen.retain(|claim, _| active.contains(claim));
        for claim in &active {
            claims.seen.entry(*claim).or_insert(Some(now));
        }
        let flushed = log.state.flushed_seq;
        let patience_ms = claims.patience_ms(self.shared.options.claim_patience_ms, flushed);
        let mut of_others = claims.seen.values().flatten();
        if of_others.any(|first| now.saturating_sub(*first) < patience_ms) {
            return None;
        }
        if claims.seen.values().any(Option::is_some) {
            claims.note_taken_back(flushed);
        }
        Some(active)
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

    /// Seals the rows of a view's tail; `None` if no row lives.
    async fn seal(&self, view: &Arc<View>) -> Result<Option<SealedSegment>> {
        let view = Arc::clone(view);
        let work = move || {
            let rows = view.tail.visible()?;
            let n_rows: usize = rows.iter().map(|batch| batch.num_rows()).sum();
            match n_rows {
                0 => Ok(None),
                _ => codec::seal(&rows, &view.schema).map(Some),
            }
        };
        self.shared.compute.run(work).await?
    }

    async fn upload(&self, claim: WalSeq, n: u32, sealed: SealedSegment) -> Result<Segment> {
        let parquet = path::segment_parquet(self.id(), claim, n);
        let index = path::segment_index(self.id(), claim, n);
        let references = {
            let (parquet, index) = (parquet.clone(), index.clone());
            let (documents, derived) = (sealed.parquet.clone(), sealed.index.clone());
            let work = move || {
                (
                    codec::object_ref(parquet, &documents),
                    codec::object_ref(index, &derived),
                )
            };
            self.shared.compute.run(work).await?
        };
        self.put_new(&parquet, sealed.parquet).await?;
        let uploading = failpoint::reach(FailPoint::F2);
        if uploading.before().await.is_some() {
            return Err(Error::unavailable("failpoint f2"));
        }
        self.put_new(&index, sealed.index).await?;
        if uploading.after().await.is_some() {
            return Err(Error::outcome_unknown("failpoint f2"));
        }
        Ok(Segment {
            id: SegmentId { claim, n },
            parquet: references.0,
            index: references.1,
            footer: sealed.footer,
            rows: sealed.rows,
            logical_bytes: sealed.logical_bytes,
            stats: sealed.stats,
            deletions: Deletions::default(),
        })
    }

    async fn place_deletions(
        &self,
        claim: WalSeq,
        attempt: u32,
        changed: Changed,
    ) -> Result<DeletionUpdate> {
        let bitmap = deletions::encode(&changed.rows);
        let place = if bitmap.len() <= deletions::INLINE_BYTES_MAX {
            BitmapPlace::Inline(deletions::to_text(&bitmap))
        } else {
            let key = path::deletions(self.id(), claim, attempt);
            let object = Bytes::from(deletions::seal(&bitmap));
            let reference: ObjectRef = codec::object_ref(key.clone(), &object);
            self.put_new(&key, object).await?;
            BitmapPlace::Stored(reference)
        };
        Ok(DeletionUpdate {
            segment: changed.segment,
            base: changed.base,
            rows: changed.rows.len(),
            bitmap: place,
        })
    }

    /// Uploads an object that only this claim may write.
    async fn put_new(&self, key: &str, bytes: Bytes) -> Result<()> {
        let uploaded = create_once(&*self.shared.bucket, key, bytes).await?;
        match uploaded {
            Resolved::Ours => Ok(()),
            Resolved::Other(_) => Err(Error::corrupted(format!(
                "object `{key}` exists already: expected that only its claim writes it"
            ))),
        }
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

    /// Gives a claim up, as far as the store lets us; whoever flushes next does it otherwise.
    async fn abort(self: &Arc<Self>, claim: WalSeq) {
        self.flusher.claims.lock().seen.insert(claim, None);
        let mut slot = self.log.lock().await;
        let active = |log: &Log| log.state.claims.contains_key(&claim);
        for _ in 0..limits::LOST_SLOTS_MAX {
            let Ok(log) = self.take_live_log(&mut slot).await else {
                return;
            };
            let stands = active(&log);
            *slot = Some(log);
            if !stands {
                return;
            }
            match self.append_plain(&mut slot, Entry::Abort { claim }).await {
                Ok(Tried::Again) => {}
                Ok(Tried::Committed(..)) => return,
                Err(error) => {
                    tracing::warn!(namespace = %self.name, error = %error.chain(), "claim was not given up");
                    return;
                }
            }
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_doubles_until_a_flush_comes_through() {
        let mut claims = Claims::default();
        let of = |claims: &Claims, flushed| claims.patience_ms(5_000, WalSeq(flushed));
        assert_eq!(of(&claims, 0), 5_000);
        for expected in [10_000, 20_000, 40_000, 60_000, 60_000] {
            claims.note_taken_back(WalSeq(0));
            assert_eq!(of(&claims, 0), expected);
        }
        assert_eq!(of(&claims, 7), 5_000, "a flush came through");
        claims.note_taken_back(WalSeq(7));
        assert_eq!(of(&claims, 7), 10_000);
        assert_eq!(claims.patience_ms(90_000, WalSeq(7)), 90_000);
    }
}
