//! Cleaning the log: what segments and the manifests that stay stand for need not be replayed again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;

use super::Shared;
use super::handle::Namespace;
use super::write::Tried;
use crate::error::{Error, Result};
use crate::format::path;
use crate::lsm::truncate::{self, MANIFESTS_KEPT};
use crate::lsm::{Entry, State};
use crate::runtime::{FailPoint, failpoint};
use crate::store::{GetOutcome, Listed, StoreKind};
use crate::types::{NamespaceId, SlotName, WalSeq};

/// How long slots stay after the truncation that gave them up, on stores that are reached over HTTP: by
/// the store's own clock, longer than any node trusts its proof. Milliseconds.
pub(super) const LOG_GRACE_MS: i64 = 60 * 60 * 1_000;
/// Floors closer together than this wait as one, milliseconds: bounds how many marks there are.
const FLOOR_STEP_MS: i64 = LOG_GRACE_MS / 60;
/// Manifests that are given up together where no block is: an entry for each would cost the log more than they take.
const MANIFESTS_AT_ONCE: usize = 8;

impl Namespace {
    /// Truncates the log as far as the manifests that stay allow, and deletes what may go. A failure is only
    /// told: the next flush goes on.
    pub(super) async fn clean_log(self: &Arc<Self>) {
        if let Err(error) = self.truncate_log(MANIFESTS_AT_ONCE).await {
            tracing::warn!(namespace = %self.name, error = %error.chain(), "log was not cleaned");
        }
    }

    /// Deletes what the grace, the history or a death kept when the namespace was last flushed; a namespace that is left
    /// alone is flushed no more. One request at most where there is nothing to do.
    pub(super) async fn clean_rest(self: &Arc<Self>, state: &State) -> Result<()> {
        let bucket = &*self.shared.bucket;
        let keep_blocks = self.shared.options.keep_blocks;
        let alone = std::slice::from_ref(state);
        if truncate::floor_below(alone, state, keep_blocks)
            .is_some_and(|floor| floor >= state.floor)
        {
            return self.truncate_log(MANIFESTS_AT_ONCE).await;
        }
        if state.floor == 0 {
            return Ok(());
        }
        let prefix = path::wal_prefix(self.id());
        let first = bucket.list(&prefix, None, Some(1)).await?;
        let first = first
            .first()
            .and_then(|listed| path::parse_slot(self.id(), &listed.key).ok());
        match first {
            Some(slot) if slot.block < state.floor => self.truncate_log(MANIFESTS_AT_ONCE).await,
            _ => Ok(()),
        }
    }

    /// As `clean_log`. Manifests are given up so many at once, at least: each time costs the log a slot.
    pub(super) async fn truncate_log(self: &Arc<Self>, at_once: usize) -> Result<()> {
        let listed = self.manifests().await?;
        let mut protected = Vec::with_capacity(MANIFESTS_KEPT + 1);
        for (seq, _) in &listed {
            protected.extend(self.readable(*seq).await?);
            if protected.len() == MANIFESTS_KEPT {
                break;
            }
        }
        let [newest, second] = protected.as_slice() else {
            return Ok(());
        };
        let (newest, second) = (newest.seq, second.seq);
        let mut retained = self.retained(&listed).await?;
        // Those between need nothing of the log that the oldest does not need.
        while let Some(oldest) = retained.last().filter(|oldest| **oldest < second) {
            if let Some(oldest) = self.readable(*oldest).await? {
                protected.push(oldest);
                break;
            }
            retained.pop();
        }
        let mut retained: BTreeSet<WalSeq> = retained.into_iter().collect();
        retained.extend([newest, second]);
        let before = listed.iter().map(|(seq, _)| *seq);
        let before = before.filter(|seq| *seq < second && !retained.contains(seq));
        let before: Vec<WalSeq> = before.collect();
        let floor = self.truncate(&protected, &retained, &before, at_once);
        let floor = floor.await?;
        self.delete_manifests(before.into_iter()).await?;
        match self.floor_past_grace(floor).await? {
            0 => Ok(()),
            past => self
                .shared
                .delete_blocks_below(self.id(), past)
                .await
                .map(drop),
        }
    }

    /// Appends a truncation where blocks may go, or enough manifests; gives the first block that stays.
    async fn truncate(
        self: &Arc<Self>,
        protected: &[State],
        retained: &BTreeSet<WalSeq>,
        before: &[WalSeq],
        at_once: usize,
    ) -> Result<u64> {
        let mut slot = self.log.lock().await;
        let log = self.take_live_log(&mut slot).await?;
        let (state, keep_blocks) = (Arc::clone(&log.state), self.shared.options.keep_blocks);
        *slot = Some(log);
        let floor = truncate::floor_below(protected, &state, keep_blocks);
        let floor = floor.filter(|floor| *floor >= state.floor);
        let n_given_up = before.iter().filter(|seq| state.retains(**seq)).count();
        if floor.is_none() && n_given_up < at_once {
            return Ok(state.floor);
        }
        let retained = retained.iter().copied().collect();
        let entry = Entry::Truncate { floor, retained };
        match self.append_plain(&mut slot, entry).await? {
            // The next flush tries again.
            Tried::Again => Ok(state.floor),
            Tried::Committed(..) => Ok(self.view().state.floor),
        }
    }

    /// The highest floor that has stood for the grace; 0 where none has. `floor` is the present one.
    ///
    /// Since when a floor has stood is said by its mark, which is named by the store's clock: no node has to
    /// stay, or to keep the namespace open, for as long as the grace. A floor that rises must not make the ones
    /// below it wait again, or a busy log would never shrink: each has a mark.
    async fn floor_past_grace(&self, floor: u64) -> Result<u64> {
        let bucket = &*self.shared.bucket;
        if bucket.kind() != StoreKind::Http || floor == 0 {
            return Ok(floor);
        }
        // After the floor was decided: no mark is older than its floor.
        let Some(now) = self.store_time().await? else {
            return Ok(0);
        };
        let prefix = path::floor_prefix(self.id());
        let listed = bucket.list(&prefix, None, None).await?;
        let mark = |listed: Listed| match path::parse_floor(self.id(), &listed.key) {
            Ok((mark, since)) => Some((mark, now.0.saturating_sub(since.0), listed.key)),
            Err(error) => self.passed_over(&error),
        };
        let marks: Vec<(u64, i64, String)> = listed.into_iter().filter_map(mark).collect();
        let newest = marks.last();
        if newest.is_none_or(|(newest, age_ms, _)| *newest < floor && *age_ms >= FLOOR_STEP_MS) {
            // One that comes to nothing is made after the next flush.
            let key = path::floor(self.id(), floor, now);
            bucket.create(&key, Bytes::new()).await?;
        }
        let standing =
            |(mark, age_ms, _): &&(u64, i64, String)| *mark <= floor && *age_ms >= LOG_GRACE_MS;
        let past = marks.iter().rev().find(standing);
        let past = past.map_or(0, |(mark, ..)| *mark);
        for (_, _, key) in marks.iter().filter(|(mark, ..)| *mark < past) {
            bucket.delete(key).await?;
        }
        Ok(past)
    }
}

impl Shared {
    /// Deletes blocks in ascending order; in a block the head first, confirmed gone before the rest: a head
    /// that still stands proves that no later slot has been deleted. Gives how many slots were deleted.
    pub(super) async fn delete_blocks_below(&self, id: NamespaceId, floor: u64) -> Result<u64> {
        let bucket = &*self.bucket;
        let prefix = path::wal_prefix(id);
        let mut blocks: BTreeMap<u64, Vec<String>> = BTreeMap::new();
        for listed in bucket.list(&prefix, None, None).await? {
            let slot = match path::parse_slot(id, &listed.key) {
                Ok(slot) => slot,
                Err(error) => {
                    tracing::warn!(namespace_id = %id, error = %error.chain(), "object is passed over");
                    continue;
                }
            };
            if slot.block >= floor {
                break;
            }
            blocks.entry(slot.block).or_default().push(listed.key);
        }
        let mut n_deleted = 0;
        for (block, keys) in blocks {
            let head = path::slot(id, SlotName { block, idx: 0 });
            bucket.delete(&head).await?;
            if let GetOutcome::Found(_) = bucket.get_range(&head, 0..1).await? {
                return Ok(n_deleted);
            }
            let deleting = failpoint::reach(FailPoint::T2);
            if deleting.before().await.is_some() {
                return Err(Error::unavailable("failpoint t2"));
            }
            for key in keys.iter().filter(|key| **key != head) {
                bucket.delete(key).await?;
            }
            n_deleted += keys.len() as u64;
            if deleting.after().await.is_some() {
                return Err(Error::outcome_unknown("failpoint t2"));
            }
        }
        Ok(n_deleted)
    }
}
