//! Cleaning the log: what segments and two durable manifests stand for need not be replayed again.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::handle::Namespace;
use super::write::Tried;
use crate::error::{Error, Result};
use crate::format::path;
use crate::lsm::{Entry, State, truncate};
use crate::manifest;
use crate::runtime::{FailPoint, failpoint};
use crate::store::{GetOutcome, Listed, StoreKind};
use crate::types::{SlotName, Timestamp, WalSeq};

/// How long slots stay after the truncation that gave them up, on stores that are reached over HTTP: by
/// the store's own clock, longer than any node trusts its proof. Milliseconds.
const LOG_GRACE_MS: i64 = 60 * 60 * 1_000;
/// Floors closer together than this wait as one, milliseconds: bounds how many marks there are.
const FLOOR_STEP_MS: i64 = LOG_GRACE_MS / 60;
/// Manifests that always stay.
const MANIFESTS_KEPT: usize = 2;

impl Namespace {
    /// Truncates the log as far as two durable manifests allow, and deletes what may go. A failure is only
    /// told: the next flush goes on.
    pub(super) async fn clean_log(self: &Arc<Self>) {
        if let Err(error) = self.truncate_log().await {
            tracing::warn!(namespace = %self.name, error = %error.chain(), "log was not cleaned");
        }
    }

    /// Deletes what the grace kept when the namespace was last flushed; a namespace that is left alone is flushed
    /// no more. One request where there is nothing to do.
    pub(super) async fn clean_rest(self: &Arc<Self>, state: &State) -> Result<()> {
        let bucket = &*self.shared.bucket;
        if bucket.kind() != StoreKind::Http || state.floor == 0 {
            return Ok(());
        }
        let prefix = path::wal_prefix(self.id());
        let first = bucket.list(&prefix, None, Some(1)).await?;
        let first = first
            .first()
            .and_then(|listed| path::parse_slot(self.id(), &listed.key).ok());
        match first {
            Some(slot) if slot.block < state.floor => self.truncate_log().await,
            _ => Ok(()),
        }
    }

    async fn truncate_log(self: &Arc<Self>) -> Result<()> {
        let bucket = &*self.shared.bucket;
        let found = manifest::load_newest_of(bucket, self.id(), MANIFESTS_KEPT).await?;
        for damage in &found.damaged {
            self.shared.note_damage(damage);
        }
        let kept = found.states;
        if kept.len() < MANIFESTS_KEPT {
            return Ok(());
        }
        let floor = self.raise_floor(&kept).await?;
        self.delete_manifests(&kept).await?;
        match self.floor_past_grace(floor).await? {
            0 => Ok(()),
            past => self.delete_blocks_below(past).await,
        }
    }

    /// Appends a truncation where one is due; gives the first block that stays.
    async fn raise_floor(self: &Arc<Self>, kept: &[State]) -> Result<u64> {
        let mut slot = self.log.lock().await;
        let log = self.take_live_log(&mut slot).await?;
        let (state, keep_blocks) = (Arc::clone(&log.state), self.shared.options.keep_blocks);
        *slot = Some(log);
        let retained: Vec<WalSeq> = kept.iter().map(|state| state.seq).collect();
        match truncate::floor_below(kept, &state, keep_blocks) {
            Some(floor) if floor >= state.floor => {
                let truncating = failpoint::reach(FailPoint::T1);
                if truncating.before().await.is_some() {
                    return Err(Error::unavailable("failpoint t1"));
                }
                let entry = Entry::Truncate { floor, retained };
                let tried = self.append_plain(&mut slot, entry).await?;
                if truncating.after().await.is_some() {
                    return Err(Error::outcome_unknown("failpoint t1"));
                }
                match tried {
                    // The next flush tries again.
                    Tried::Again => Ok(state.floor),
                    Tried::Committed(..) => Ok(self.view().state.floor),
                }
            }
            _ => Ok(state.floor),
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

    /// Tells of an object that is none of ours: it stays, and the others go all the same.
    fn passed_over<T>(&self, error: &Error) -> Option<T> {
        tracing::warn!(namespace = %self.name, error = %error.chain(), "object is passed over");
        None
    }

    /// The store's own clock.
    async fn store_time(&self) -> Result<Option<Timestamp>> {
        let answer = self.shared.bucket.get_range(path::STORE, 0..1).await?;
        Ok(match answer {
            GetOutcome::Found(found) => found.store_date,
            GetOutcome::Missing { store_date } => store_date,
        })
    }

    /// Deletes blocks in ascending order; in a block the head first, confirmed gone before the rest: a head
    /// that still stands proves that no later slot has been deleted.
    async fn delete_blocks_below(&self, floor: u64) -> Result<()> {
        let bucket = &*self.shared.bucket;
        let prefix = path::wal_prefix(self.id());
        let mut blocks: BTreeMap<u64, Vec<String>> = BTreeMap::new();
        for listed in bucket.list(&prefix, None, None).await? {
            let slot = match path::parse_slot(self.id(), &listed.key) {
                Ok(slot) => slot,
                Err(error) => {
                    self.passed_over::<()>(&error);
                    continue;
                }
            };
            if slot.block >= floor {
                break;
            }
            blocks.entry(slot.block).or_default().push(listed.key);
        }
        for (block, keys) in blocks {
            let head = path::slot(self.id(), SlotName { block, idx: 0 });
            bucket.delete(&head).await?;
            if let GetOutcome::Found(_) = bucket.get_range(&head, 0..1).await? {
                return Ok(());
            }
            let deleting = failpoint::reach(FailPoint::T2);
            if deleting.before().await.is_some() {
                return Err(Error::unavailable("failpoint t2"));
            }
            for key in keys.iter().filter(|key| **key != head) {
                bucket.delete(key).await?;
            }
            if deleting.after().await.is_some() {
                return Err(Error::outcome_unknown("failpoint t2"));
            }
        }
        Ok(())
    }

    /// Deletes manifests that no applied truncation retains any more.
    async fn delete_manifests(&self, kept: &[State]) -> Result<()> {
        let bucket = &*self.shared.bucket;
        let oldest = kept.iter().map(|state| state.seq).min();
        let state = Arc::clone(&self.view().state);
        let pinned = |seq| state.pins.values().any(|pin| pin.at == seq);
        for listed in bucket
            .list(&path::manifest_prefix(self.id()), None, None)
            .await?
        {
            let seq = match path::parse_manifest(self.id(), &listed.key) {
                Ok(seq) => seq,
                Err(error) => {
                    self.passed_over::<()>(&error);
                    continue;
                }
            };
            if oldest.is_some_and(|oldest| seq < oldest)
                && !state.retained.contains(&seq)
                && !pinned(seq)
            {
                bucket.delete(&listed.key).await?;
            }
        }
        Ok(())
    }
}
