//! Compaction: segments are merged, and rows that are gone leave.
//!
//! Owns: when this node merges (`mod.rs`), the claim (`claim.rs`), reading, merging and uploading (`merge.rs`), the commit
//! (`commit.rs`). Must not know: which segments are worth it (`lsm::pick`), the order of rows (`format::segment`).
//!
//! Claim, read, seal, upload, commit. The claim takes its inputs, so that no two workers merge one segment. The commit
//! applies only while the claim stands and no input lost a row that the outputs do not know; where one did, because a flush came
//! in between, the outputs are committed again with those rows in deletions of their own. Inputs stay in the bucket: views
//! and older states read them. Whatever fails on the way leaves the inputs where they were.

mod claim;
mod commit;
mod merge;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::FutureExt;
use parking_lot::Mutex;

use self::claim::Claimed;
use super::claims::Claims;
use super::handle::{Namespace, View};
use super::read::{is_missing, segment_in};
use super::rest::Chore;
use crate::error::{Error, ErrorKind, Result};
use crate::lsm::entry::ClaimKind;
use crate::lsm::pick::{self, Reason};
use crate::lsm::state::Life;
use crate::lsm::{Policy, SegmentId, State};

/// How long segments that somebody else has claimed are left to him before the next look, at least, milliseconds.
const LOOK_AGAIN_MS: u64 = 1_000;
/// How long a segment that could not be read is left out of merges, milliseconds.
const DAMAGED_MS: u64 = 10 * 60 * 1_000;
/// Merges that one request to merge all may make: more than halve the segments each.
const ASKED_MERGES_MAX: usize = 1_000;

/// What this node does about merging segments of a namespace.
#[derive(Debug, Default)]
pub(crate) struct Compactor {
    chore: Chore,
    pub(super) claims: Mutex<Claims>,
    /// Segments that could not be read, and until when they are left out: the others are merged without them.
    damaged: Mutex<BTreeMap<SegmentId, u64>>,
    /// What was last told of the bytes that wait to be merged.
    debt: AtomicU64,
}

/// Which merges are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    /// Those that are due.
    Due,
    /// All that leave fewer segments or no dead rows.
    All,
}

/// What came of looking for a merge.
#[derive(Debug)]
enum Merged {
    /// One was made.
    Done { reason: Reason, removed: u64 },
    /// There is nothing to merge, or nothing that is free.
    Nothing,
    /// What there is to merge is claimed by others, who may be alive.
    Busy,
}

/// What came of a request to merge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compacted {
    /// Why segments were merged: the first reason; `None` where none was.
    pub reason: Option<&'static str>,
    /// Rows that were gone and have left.
    pub removed_rows: u64,
    /// Segments before it.
    pub segments_before: u64,
    /// Segments after it.
    pub segments_after: u64,
    /// How long it took, milliseconds.
    pub duration_ms: u64,
}

impl Compactor {
    /// Has merges take a segment again that could not be read.
    pub(super) fn forget_damaged(&self, segment: SegmentId) {
        self.damaged.lock().remove(&segment);
    }
}

impl Namespace {
    /// Sees to it that segments of a view are merged where that is due, unless that is under way already.
    pub(super) fn consider_compaction(self: &Arc<Self>, view: &View) {
        let compaction = &self.shared.options.compaction;
        if view.state.life != Life::Live || self.shared.shutdown.is_triggered() {
            return;
        }
        if view.is_merge_due(compaction) {
            self.take_up(
                |this| &this.compactor.chore,
                |this| this.merge_in_turn().boxed(),
            );
        }
    }

    /// As `consider_compaction`, for a view that somebody reads: whoever flushed it merges it first, unless he has died.
    pub(super) fn consider_compaction_later(self: &Arc<Self>, view: &View) {
        let compaction = &self.shared.options.compaction;
        if self.compactor.chore.is_running() || !view.is_merge_due(compaction) {
            return;
        }
        let now = self.shared.clock.monotonic_ms();
        let wait_ms = self.shared.options.claim_patience_ms.max(LOOK_AGAIN_MS);
        if self.compactor.chore.rest.left_ms(now) < wait_ms {
            self.compactor.chore.rest.until(now.saturating_add(wait_ms));
        }
        self.consider_compaction(view);
    }

    /// Makes one merge, after other namespaces of this node; `true` where more may be due.
    async fn merge_in_turn(self: &Arc<Self>) -> bool {
        let shutdown = &self.shared.shutdown;
        let compaction = &self.shared.options.compaction;
        if !self.view().is_merge_due(compaction) {
            // Done by somebody else meanwhile.
            return self.compactor.chore.end_step(false);
        }
        let merged = tokio::select! {
            // One at a time on a node: each takes a few times a whole segment's memory.
            turn = self.shared.compactions.acquire() => match turn {
                Ok(_turn) => self.merge_next(Wanted::Due).await,
                Err(_) => return false,
            },
            () = shutdown.triggered() => return false,
        };
        let mut gone = false;
        match merged {
            Ok(Merged::Done { .. }) => self.compactor.chore.rest.note_success(),
            // What is due all the same is claimed, or cannot be read: it is looked at again.
            Ok(Merged::Nothing | Merged::Busy) => {
                let now = self.shared.clock.monotonic_ms();
                let again_ms = self.shared.options.claim_patience_ms.max(LOOK_AGAIN_MS);
                self.compactor
                    .chore
                    .rest
                    .until(now.saturating_add(again_ms));
            }
            Err(error) if error.code() == "namespace_not_found" => gone = true,
            Err(error) => self.note_merge_failure(&error),
        }
        // What became due meanwhile is for the same task.
        let is_over = gone || shutdown.is_triggered() || !self.view().is_merge_due(compaction);
        self.compactor.chore.end_step(!is_over)
    }

    fn note_merge_failure(&self, error: &Error) {
        if self.shared.shutdown.is_triggered() {
            return;
        }
        let now = self.shared.clock.monotonic_ms();
        self.compactor.chore.rest.note_failure(now);
        self.shared.metrics.compaction.failures_total.inc();
        self.shared.note_damage(error);
        tracing::warn!(namespace = %self.name, error = %error.chain(), "segments were not merged");
    }

    /// Merges what is due, or all there is, and waits for it.
    ///
    /// Errors: `NotFound`, `Unavailable`, `OutcomeUnknown`; `Corrupted` naming a damaged object. No document is lost in any
    /// case. Cancel safe: run on a task of its own, a merge that has begun goes on.
    pub(crate) async fn compact(self: &Arc<Self>, if_needed: bool) -> Result<Compacted> {
        let began_ms = self.shared.clock.monotonic_ms();
        let wanted = match if_needed {
            true => Wanted::Due,
            false => Wanted::All,
        };
        if !if_needed {
            // Rows in the log that are gone leave with what they replaced.
            self.flush().await?;
        }
        let before = self.current_view().await?.state.segments.len() as u64;
        let (mut reason, mut removed_rows) = (None, 0);
        for _ in 0..ASKED_MERGES_MAX {
            let merged = {
                let turn = self.shared.compactions.acquire().await;
                let _turn = turn.map_err(|_| Error::unavailable("the server is shutting down"))?;
                self.merge_next(wanted).await
            };
            match merged {
                Ok(Merged::Done {
                    reason: why,
                    removed,
                }) => {
                    reason = reason.or(Some(why.name()));
                    removed_rows += removed;
                }
                Ok(Merged::Nothing) => break,
                Ok(Merged::Busy) => {
                    return Err(Error::unavailable(format!(
                        "segments of namespace `{}` are being merged by another node",
                        self.name
                    ))
                    .with_retry_after_ms(5_000));
                }
                Err(error) => {
                    self.note_merge_failure(&error);
                    return Err(error);
                }
            }
        }
        let now = self.shared.clock.monotonic_ms();
        Ok(Compacted {
            reason,
            removed_rows,
            segments_before: before,
            segments_after: self.view().state.segments.len() as u64,
            duration_ms: now.saturating_sub(began_ms),
        })
    }

    /// Makes the merge that is wanted most.
    async fn merge_next(self: &Arc<Self>, wanted: Wanted) -> Result<Merged> {
        let began_ms = self.shared.clock.monotonic_ms();
        let (claim, view, job) = match self.claim_merge(wanted).await? {
            Claimed::Ours(claim, view, job) => (claim, view, job),
            Claimed::Nothing => return Ok(Merged::Nothing),
            Claimed::Busy => return Ok(Merged::Busy),
        };
        let removed = match self.merge_under(claim, &view, &job).await {
            Ok(removed) => removed,
            Err(error) => {
                self.note_unreadable(&error, &view);
                self.consider_repair(&error);
                self.abort(ClaimKind::Compact, claim).await;
                return Err(error);
            }
        };
        let elapsed_ms = self.shared.clock.monotonic_ms().saturating_sub(began_ms);
        let metrics = &self.shared.metrics.compaction;
        metrics.merges_total.inc();
        metrics.seconds.observe(elapsed_ms as f64 / 1_000.0);
        let (namespace, inputs) = (&self.name, job.inputs.len());
        tracing::debug!(%namespace, inputs, reason = job.reason.name(), removed, "segments merged");
        Ok(Merged::Done {
            reason: job.reason,
            removed,
        })
    }

    /// Leaves a segment that cannot be read out of the next merges.
    fn note_unreadable(&self, error: &Error, view: &View) {
        let unreadable = error.kind() == ErrorKind::Corrupted || is_missing(error);
        if let Some(segment) = segment_in(error, view).filter(|_| unreadable) {
            let until = self.shared.clock.monotonic_ms().saturating_add(DAMAGED_MS);
            self.compactor.damaged.lock().insert(segment, until);
        }
    }

    /// Segments that are left out because they could not be read.
    fn unreadable(&self) -> BTreeSet<SegmentId> {
        let now = self.shared.clock.monotonic_ms();
        let mut damaged = self.compactor.damaged.lock();
        damaged.retain(|_, until| *until > now);
        damaged.keys().copied().collect()
    }

    /// Tells how many bytes wait to be merged, and how many segments there are where that has changed.
    pub(super) fn count_debt(&self, view: &View) {
        let debt = match view.state.life {
            Life::Live => pick::debt(&view.state, &self.merge_policy(&view.state)),
            Life::Dropped | Life::Reaped => 0,
        };
        self.set_debt(debt);
    }

    /// When segments of a state are merged: as this node says, but for what the namespace says.
    pub(super) fn merge_policy(&self, state: &State) -> Policy {
        let compaction = self.shared.options.compaction;
        compaction.of(&state.settings().merging).policy
    }

    /// Tells that so many bytes wait.
    pub(super) fn set_debt(&self, debt: u64) {
        let before = self.compactor.debt.swap(debt, Ordering::AcqRel);
        let gauge = &self.shared.metrics.compaction.debt_bytes;
        gauge.add(debt as i64 - before as i64);
    }
}

/// A merge that came to nothing.
fn in_vain(namespace: &Namespace, reason: &str) -> Error {
    Error::unavailable(format!(
        "segments of namespace `{}` were merged in vain: {reason}",
        namespace.name
    ))
}
