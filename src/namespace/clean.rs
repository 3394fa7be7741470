//! Cleaning the log: what segments and the manifests that stay stand for need not be replayed again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;

use super::handle::Namespace;
use super::write::Tried;
use crate::error::{Error, ErrorKind, Result};
use crate::format::path;
use crate::lsm::truncate::{self, MANIFESTS_KEPT};
use crate::lsm::{Entry, State};
use crate::manifest;
use crate::runtime::{FailPoint, failpoint};
use crate::store::{GetOutcome, Listed, StoreKind};
use crate::types::{SlotName, Timestamp, WalSeq};

/// How long slots stay after the truncation that gave them up, on stores that are reached over HTTP: by
/// the store's own clock, longer than any node trusts its proof. Milliseconds.
const LOG_GRACE_MS: i64 = 60 * 60 * 1_000;
/// Floors closer together than this wait as one, milliseconds: bounds how many marks there are.
const FLOOR_STEP_MS: i64 = LOG_GRACE_MS / 60;

impl Namespace {
    /// Truncates the log as far as the manifests that stay allow, and deletes what may go. A failure is only
    /// told: the next flush goes on.
    pub(super) async fn clean_log(self: &Arc<Self>) {
        if let Err(error) = self.truncate_log().await {
            tracing::warn!(namespace = %self.name, error = %error.chain(), "log was not cleaned");
        }
    }

    /// Deletes what the grace or the history kept when the namespace was last flushed; a namespace that is left alone
    /// is flushed no more. One request at most where there is nothing to do.
    pub(super) async fn clean_rest(self: &Arc<Self>, state: &State) -> Result<()> {
        let bucket = &*self.shared.bucket;
        let keep_blocks = self.shared.options.keep_blocks;
        let alone = std::slice::from_ref(state);
        if truncate::floor_below(alone, state, keep_blocks)
            .is_some_and(|floor| floor >= state.floor)
        {
            return self.truncate_log().await;
        }
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
        let floor = self.raise_floor(&protected, &retained).await?;
        let before = listed.iter().map(|(seq, _)| *seq);
        let before = before.filter(|seq| *seq < second && !retained.contains(seq));
        self.delete_manifests(before).await?;
        match self.floor_past_grace(floor).await? {
            0 => Ok(()),
            past => self.delete_blocks_below(past).await,
        }
    }

    /// All manifests there are, with when each was written, newest first.
    async fn manifests(&self) -> Result<Vec<(WalSeq, Timestamp)>> {
        let prefix = path::manifest_prefix(self.id());
        let listed = self.shared.bucket.list(&prefix, None, None).await?;
        let manifest = |listed: Listed| match path::parse_manifest(self.id(), &listed.key) {
            Ok(seq) => Some((seq, listed.last_modified)),
            Err(error) => self.passed_over(&error),
        };
        Ok(listed.into_iter().filter_map(manifest).collect())
    }

    /// Which of these manifests stay for the history.
    async fn retained(&self, listed: &[(WalSeq, Timestamp)]) -> Result<Vec<WalSeq>> {
        let history_ms = self.shared.options.history_ms;
        let now = match history_ms {
            0 => None,
            _ => self.store_time().await?,
        };
        let now = now.unwrap_or_else(|| self.shared.clock.now());
        Ok(truncate::retained(listed, now, history_ms))
    }

    /// The state of a manifest; `None` where it is gone or damaged.
    async fn readable(&self, seq: WalSeq) -> Result<Option<State>> {
        match manifest::load_at(&*self.shared.bucket, self.id(), seq).await {
            Err(error) if error.kind() == ErrorKind::Corrupted => {
                self.shared.note_damage(&error);
                Ok(None)
            }
            loaded => loaded,
        }
    }

    /// Appends a truncation where one is due; gives the first block that stays.
    async fn raise_floor(
        self: &Arc<Self>,
        protected: &[State],
        retained: &BTreeSet<WalSeq>,
    ) -> Result<u64> {
        let mut slot = self.log.lock().await;
        let log = self.take_live_log(&mut slot).await?;
        let (state, keep_blocks) = (Arc::clone(&log.state), self.shared.options.keep_blocks);
        *slot = Some(log);
        match truncate::floor_below(protected, &state, keep_blocks) {
            Some(floor) if floor >= state.floor => {
                let retained = retained.iter().copied().collect();
                let entry = Entry::Truncate { floor, retained };
                match self.append_plain(&mut slot, entry).await? {
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

    /// Deletes those of some manifests that no applied truncation retains any more.
    async fn delete_manifests(&self, seqs: impl Iterator<Item = WalSeq>) -> Result<()> {
        let state = Arc::clone(&self.view().state);
        let pinned = |seq| state.pins.values().any(|pin| pin.at == seq);
        for seq in seqs.filter(|seq| !state.retained.contains(seq) && !pinned(*seq)) {
            let key = path::manifest(self.id(), seq);
            self.shared.bucket.delete(&key).await?;
        }
        Ok(())
    }
}
