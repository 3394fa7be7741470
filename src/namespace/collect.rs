//! Collecting garbage: files of segments and bitmaps that no state refers to any more are deleted.
//!
//! No clock says what is garbage. An object under a claim's number that a state does not refer to, though the claim had
//! ended by then, is referred to by no later state: only a commit adds references, to its own claim's objects and to what
//! lives already. So what the newest state has done with stays only for states of the past, which manifests tell:
//! whatever a manifest that is there names stays. A manifest may still be on its way, of a state long past, from a node
//! that has slept: so one of the newest state is there before anything is deleted, and the late one is no newest any
//! more. Collecting again, elsewhere or at the same time, does no harm.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::FutureExt;
use futures::stream::{self, StreamExt, TryStreamExt};

use super::handle::{Namespace, not_found};
use super::rest::Chore;
use crate::error::{Error, Result};
use crate::format::path;
use crate::format::references::{References, Standing};
use crate::lsm::state::Life;
use crate::lsm::truncate::{self, MANIFESTS_KEPT};
use crate::lsm::{Entry, State};
use crate::manifest::{self, Written};
use crate::runtime::{FailPoint, failpoint};
use crate::types::{ObjectRef, Timestamp, WalSeq};

/// Keys asked for in one listing request.
const KEYS_A_REQUEST: usize = 1_000;
/// Most objects that one pass deletes: bounds its memory. The next pass goes on.
const OBJECTS_A_PASS_MAX: usize = 10_000;
/// Manifests read, and objects deleted, at once.
const REQUESTS_AT_ONCE: usize = 8;
/// Between two passes at least, milliseconds, where the first left something.
const AGAIN_MS_MIN: u64 = 10_000;

/// What this node does about the garbage of a namespace.
#[derive(Debug, Default)]
pub(crate) struct Collector {
    chore: Chore,
    /// Whether there may be garbage that no pass has seen.
    asked: AtomicBool,
}

/// What a pass came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Collected {
    /// Objects deleted, or that would be.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Objects that only states of the past refer to, or claims that have not come to an end.
    pub kept: u64,
    /// The keys of the objects deleted, or that would be.
    pub keys: Vec<String>,
}

/// Objects that a state does not refer to.
#[derive(Debug, Default)]
struct Unreferenced {
    /// Those of claims that have ended, with their bytes.
    orphans: BTreeMap<String, u64>,
    /// The active claims of others, with when the newest object of each was written, and how many there are.
    pending: BTreeMap<WalSeq, (Timestamp, u64)>,
}

impl Namespace {
    /// Has garbage collected in a while: something was replaced just now.
    pub(super) fn consider_collection(self: &Arc<Self>) {
        let gc = &self.shared.options.gc;
        if !gc.enabled || self.shared.shutdown.is_triggered() {
            return;
        }
        self.collector.asked.store(true, Ordering::Release);
        if !self.collector.chore.is_running() {
            let now = self.shared.clock.monotonic_ms();
            let at = now.saturating_add(gc.interval_ms);
            self.collector.chore.rest.until(at);
            self.collect_soon();
        }
    }

    /// Has garbage collected now, or once a pass that failed has been left alone for long enough.
    pub(super) fn collect_soon(self: &Arc<Self>) {
        if self.shared.options.gc.enabled && !self.shared.shutdown.is_triggered() {
            self.take_up(
                |this| &this.collector.chore,
                |this| this.collect_in_turn().boxed(),
            );
        }
    }

    /// Makes one pass, after other namespaces of this node; `true` where another is to follow.
    async fn collect_in_turn(self: &Arc<Self>) -> bool {
        self.collector.asked.store(false, Ordering::Release);
        let shutdown = &self.shared.shutdown;
        let collected = tokio::select! {
            turn = self.shared.collections.acquire() => match turn {
                Ok(_turn) => self.collect(false).await,
                Err(_) => return false,
            },
            () = shutdown.triggered() => return false,
        };
        let now = self.shared.clock.monotonic_ms();
        let rest = &self.collector.chore.rest;
        let more = match collected {
            Ok(collected) => {
                rest.note_success();
                let again_ms = self.shared.options.gc.interval_ms.max(AGAIN_MS_MIN);
                rest.until(now.saturating_add(again_ms));
                collected.kept > 0 || self.collector.asked.load(Ordering::Acquire)
            }
            Err(error) if error.code() == "namespace_not_found" => false,
            Err(error) => {
                rest.note_failure(now);
                self.shared.metrics.gc.failures_total.inc();
                self.shared.note_damage(&error);
                tracing::warn!(namespace = %self.name, error = %error.chain(), "garbage was not collected");
                true
            }
        };
        self.collector
            .chore
            .end_step(more && !shutdown.is_triggered())
    }

    /// Deletes what nothing refers to, or with `dry_run` only tells of it.
    ///
    /// Claims whose files have been waiting for longer than the grace are given up for their workers: their files go in
    /// the next pass. Errors: `NotFound`; `Unavailable`; `Corrupted` naming a manifest that cannot be read: what it
    /// needs is not known then. Cancel safe: nothing that is needed is deleted in any case.
    pub(crate) async fn collect(self: &Arc<Self>, dry_run: bool) -> Result<Collected> {
        let state = Arc::clone(&self.current_view().await?.state);
        if state.life != Life::Live {
            return Err(not_found(&self.name));
        }
        let Unreferenced {
            mut orphans,
            pending,
        } = self.unreferenced(&state).await?;
        let mut kept: u64 = pending.values().map(|(_, objects)| objects).sum();
        if !dry_run {
            self.clean_rest(&state).await?;
            self.give_up_claims(&state, &pending).await?;
        }
        if !orphans.is_empty() {
            let before = orphans.len();
            let named_by = match dry_run {
                true => self.manifests_kept(&state).await?,
                false => {
                    self.renew_manifests(&orphans).await?;
                    self.manifests().await?
                }
            };
            self.leave_named(named_by, &mut orphans).await?;
            kept += (before - orphans.len()) as u64;
        }
        let collected = Collected {
            objects: orphans.len() as u64,
            bytes: orphans.values().sum(),
            kept,
            keys: orphans.into_keys().collect(),
        };
        if !dry_run {
            if !collected.keys.is_empty() {
                self.ensure_manifest(&state).await?;
            }
            self.delete_all(&collected.keys).await?;
            let metrics = &self.shared.metrics.gc;
            metrics.passes_total.inc();
            metrics.deleted_objects_total.inc_by(collected.objects);
            metrics.deleted_bytes_total.inc_by(collected.bytes);
        }
        Ok(collected)
    }

    /// Lists what is there besides what a state refers to, which must have been the newest when this is called.
    async fn unreferenced(&self, state: &State) -> Result<Unreferenced> {
        let mut references = References::default();
        references.add_state("the newest state", state)?;
        let mut found = Unreferenced::default();
        for prefix in [
            path::segment_prefix(self.id()),
            path::deletions_prefix(self.id()),
        ] {
            let mut start_after: Option<String> = None;
            while found.orphans.len() < OBJECTS_A_PASS_MAX {
                let bucket = &self.shared.bucket;
                let listed = bucket.list(&prefix, start_after.as_deref(), Some(KEYS_A_REQUEST));
                let listed = listed.await?;
                start_after = listed.last().map(|last| last.key.clone());
                let is_last = listed.len() < KEYS_A_REQUEST;
                for object in listed {
                    match references.standing(self.id(), state, &object.key) {
                        Standing::Orphan => {
                            found.orphans.insert(object.key, object.size_bytes);
                        }
                        Standing::Pending(claim) => {
                            let written = (object.last_modified, 0);
                            let of_claim = found.pending.entry(claim).or_insert(written);
                            of_claim.0 = of_claim.0.max(object.last_modified);
                            of_claim.1 += 1;
                        }
                        Standing::Referenced | Standing::Newer | Standing::Strange => {}
                    }
                }
                if is_last {
                    break;
                }
            }
        }
        Ok(found)
    }

    /// Gives up claims under which nothing has been written for as long as the grace.
    async fn give_up_claims(
        self: &Arc<Self>,
        state: &State,
        pending: &BTreeMap<WalSeq, (Timestamp, u64)>,
    ) -> Result<()> {
        if pending.is_empty() {
            return Ok(());
        }
        let now = self.store_time_or_own().await?;
        let grace_ms = self.shared.options.gc.claim_grace_ms;
        for (claim, (written, _)) in pending {
            let age_ms = u64::try_from(now.0.saturating_sub(written.0)).unwrap_or(0);
            if let Some(kind) = state.claims.get(claim).filter(|_| age_ms >= grace_ms) {
                tracing::info!(namespace = %self.name, %claim, age_ms, "claim is given up for its worker");
                self.abort(*kind, *claim).await;
            }
        }
        Ok(())
    }

    /// Sees to it that none of the newest two manifests names an orphan, unless the history needs them: where a namespace
    /// is left alone, no others would come. Then lets go of manifests that are not needed.
    async fn renew_manifests(self: &Arc<Self>, orphans: &BTreeMap<String, u64>) -> Result<()> {
        for _ in 0..MANIFESTS_KEPT {
            let listed = self.manifests().await?;
            let now = self.store_time_or_own().await?;
            let history_ms = self.shared.options.history_ms;
            if truncate::n_young(&listed, now, history_ms) > 0 {
                break;
            }
            let mut is_named = false;
            for (seq, _) in listed.iter().take(MANIFESTS_KEPT) {
                // One that is damaged may name anything, and another is wanted in its place.
                let state = self.readable(*seq).await?;
                is_named |= state.is_none_or(|state| names_any(&state, orphans));
            }
            if !is_named {
                break;
            }
            self.put_another_manifest(listed, now).await?;
        }
        self.truncate_log(1).await
    }

    /// Writes a manifest of the newest state, which an entry of its own makes newer than all that have one.
    async fn put_another_manifest(
        self: &Arc<Self>,
        mut listed: Vec<(WalSeq, Timestamp)>,
        now: Timestamp,
    ) -> Result<()> {
        let state = {
            let mut slot = self.log.lock().await;
            let log = self.take_live_log(&mut slot).await?;
            let next = log.state.seq.next();
            *slot = Some(log);
            // As it will be once this manifest is there.
            listed.insert(0, (next, now));
            let mut retained = truncate::retained(&listed, now, self.shared.options.history_ms);
            retained.retain(|seq| *seq != next);
            let entry = Entry::Truncate {
                floor: None,
                retained,
            };
            self.append_plain(&mut slot, entry).await?;
            Arc::clone(&self.view().state)
        };
        self.put_manifest(&state).await;
        Ok(())
    }

    /// Sees to it that there is a manifest of this state or of a later one.
    async fn ensure_manifest(&self, state: &State) -> Result<()> {
        let newest = self.manifests().await?.first().map(|(seq, _)| *seq);
        if newest >= Some(state.seq) {
            return Ok(());
        }
        let bucket = &*self.shared.bucket;
        match manifest::write(bucket, self.id(), &self.name, state).await? {
            Written::Done => Ok(()),
            Written::Diverged => {
                self.shared.metrics.wal.divergence_alarms_total.inc();
                let key = path::manifest(self.id(), state.seq);
                Err(Error::corrupted(format!(
                    "object `{key}` differs from the state it stands for"
                ))
                .with_detail("object", key))
            }
        }
    }

    /// The manifests that `renew_manifests` would leave of those there are.
    async fn manifests_kept(&self, state: &State) -> Result<Vec<(WalSeq, Timestamp)>> {
        let mut listed = self.manifests().await?;
        let now = self.store_time_or_own().await?;
        let history_ms = self.shared.options.history_ms;
        let n_young = truncate::n_young(&listed, now, history_ms);
        // Those that would be new stand in front.
        let n_new = match (n_young, history_ms) {
            (0, 0) => MANIFESTS_KEPT,
            (0, _) => 1,
            _ => 0,
        };
        let new = (1..=n_new as u64)
            .rev()
            .map(|n| (WalSeq(state.seq.0 + n), now));
        let all: Vec<_> = new.chain(listed.iter().copied()).collect();
        let retained = truncate::retained(&all, now, history_ms);
        let pinned = |seq: &WalSeq| state.pins.values().any(|pin| pin.at == *seq);
        listed.retain(|(seq, _)| retained.contains(seq) || pinned(seq));
        Ok(listed)
    }

    /// Takes out what a manifest names.
    async fn leave_named(
        &self,
        listed: Vec<(WalSeq, Timestamp)>,
        orphans: &mut BTreeMap<String, u64>,
    ) -> Result<()> {
        let (bucket, id) = (&*self.shared.bucket, self.id());
        let mut states = stream::iter(listed)
            .map(|(seq, _)| manifest::load_at(bucket, id, seq))
            .buffered(REQUESTS_AT_ONCE);
        while let Some(state) = states.next().await {
            // One that is gone by now was given up.
            for object in state?.iter().flat_map(State::objects) {
                orphans.remove(&object.path);
            }
        }
        Ok(())
    }

    async fn delete_all(&self, keys: &[String]) -> Result<()> {
        stream::iter(keys.to_vec())
            .map(|key| self.delete_orphan(key))
            .buffer_unordered(REQUESTS_AT_ONCE)
            .try_collect()
            .await
    }

    async fn delete_orphan(&self, key: String) -> Result<()> {
        let deleting = failpoint::reach(FailPoint::G1);
        if deleting.before().await.is_some() {
            return Err(Error::unavailable("failpoint g1"));
        }
        self.shared.bucket.delete(&key).await?;
        match deleting.after().await {
            Some(_) => Err(Error::outcome_unknown("failpoint g1")),
            None => Ok(()),
        }
    }
}

fn names_any(state: &State, orphans: &BTreeMap<String, u64>) -> bool {
    state
        .objects()
        .any(|object: &ObjectRef| orphans.contains_key(&object.path))
}
