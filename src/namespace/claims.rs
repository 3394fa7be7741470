//! Claims: who flushes, merges or builds an index, and when such a worker counts as dead.
//!
//! A claim only keeps two nodes from doing the same work. Taking back one of a worker that lives costs it
//! its work, never data: its commit applies only while its claim stands.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::handle::{Log, Namespace, View};
use super::write::Tried;
use crate::error::{Error, Result};
use crate::lsm::entry::ClaimKind;
use crate::lsm::{Applied, Entry, State, indexing};
use crate::types::{WalSeq, limits};

/// The longest that another worker's claim is respected, milliseconds of this node's clock.
pub(super) const PATIENCE_MS_MAX: u64 = 60_000;
/// How fast the slowest worker is believed to merge, bytes a millisecond: 2 MiB a second.
const MERGED_BYTES_A_MS: u64 = 2 << 10;
/// How often the patience with merges doubles at most, as merges are taken back.
const MERGE_DOUBLINGS_MAX: u32 = 4;

/// What this node knows of the claims of others for one kind of work.
#[derive(Debug, Default)]
pub(super) struct Claims {
    /// When each active one was first seen, monotonic milliseconds; `None` for this node's own that came to
    /// nothing.
    seen: BTreeMap<WalSeq, Option<u64>>,
    /// How far the work had come when claims of others were last taken back.
    progress: u64,
    /// How often they were taken back without progress since.
    in_vain: u32,
}

impl Claims {
    /// How long a claim is respected: longer each time that taking one back led to no progress, so that of
    /// slow workers that take each other for dead one comes through.
    fn patience_ms(&self, base_ms: u64, progress: u64) -> u64 {
        let doublings = if progress == self.progress {
            self.in_vain.min(16)
        } else {
            0
        };
        base_ms
            .saturating_mul(1 << doublings)
            .min(PATIENCE_MS_MAX.max(base_ms))
    }

    /// Notes that claims of others are taken back.
    fn note_taken_back(&mut self, progress: u64) {
        if self.progress != progress {
            (self.progress, self.in_vain) = (progress, 0);
        }
        self.in_vain = self.in_vain.saturating_add(1);
    }
}

/// How far the work that a claim is for has come: any number that changes when it comes further.
fn progress(kind: ClaimKind, state: &State) -> u64 {
    match kind {
        ClaimKind::Flush | ClaimKind::Write => state.flushed_seq.0,
        ClaimKind::IndexBuild => indexing::lacking(state).count() as u64,
        // Nothing tells: flushes change all that merges change.
        ClaimKind::Compact => 0,
    }
}

/// What stands in the way of a claim.
pub(super) enum Claimed {
    /// The claim is ours; the view is the state it made.
    Ours(WalSeq, Arc<View>),
    /// There is nothing to do; flushes have come to here.
    Nothing(WalSeq),
    /// Another worker's claim is active and may be alive.
    Busy,
}

impl Namespace {
    /// Appends a claim, where the work is not done and nobody else is at it.
    pub(super) async fn claim(
        self: &Arc<Self>,
        kind: ClaimKind,
        is_done: impl Fn(&Log) -> bool,
    ) -> Result<Claimed> {
        let mut slot = self.log.lock().await;
        for _ in 0..limits::LOST_SLOTS_MAX {
            let log = self.take_live_log(&mut slot).await?;
            let nothing = is_done(&log);
            let (flushed_seq, dead) = (log.state.flushed_seq, self.dead_claims(kind, &log));
            *slot = Some(log);
            if nothing {
                return Ok(Claimed::Nothing(flushed_seq));
            }
            match dead {
                None => {
                    // The other's commit is only seen by reading on.
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
            let entry = Entry::Claim {
                claim: kind,
                inputs: Vec::new(),
            };
            match self.append_plain(&mut slot, entry).await? {
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

    /// Whether somebody else who may be alive has claimed this work; what that has come to meanwhile is read.
    pub(super) async fn is_claimed(self: &Arc<Self>, kind: ClaimKind) -> Result<bool> {
        let mut slot = self.log.lock().await;
        let log = self.take_live_log(&mut slot).await?;
        let is_claimed = self.unless_alive(kind, &log).is_none();
        *slot = Some(log);
        if is_claimed {
            self.catch_up(&mut slot).await?;
        }
        Ok(is_claimed)
    }

    fn claims_of(&self, kind: ClaimKind) -> &Mutex<Claims> {
        match kind {
            ClaimKind::Flush | ClaimKind::Write => &self.flusher.claims,
            ClaimKind::IndexBuild => &self.builder.claims,
            ClaimKind::Compact => &self.compactor.claims,
        }
    }

    /// Claims of workers that are taken for dead, to be aborted; `None` while one may be alive.
    fn dead_claims(&self, kind: ClaimKind, log: &Log) -> Option<Vec<WalSeq>> {
        let active = self.unless_alive(kind, log)?;
        self.note_taken_back(kind, &log.state);
        Some(active)
    }

    /// Claims to merge whose workers are taken for dead. A merge is respected for longer the more it takes.
    pub(super) fn dead_merges(&self, state: &State) -> Vec<WalSeq> {
        let now = self.shared.clock.monotonic_ms();
        let mut claims = self.compactor.claims.lock();
        claims
            .seen
            .retain(|claim, _| state.merging.contains_key(claim));
        let mut dead = Vec::new();
        for (claim, taken) in &state.merging {
            let first = *claims.seen.entry(*claim).or_insert(Some(now));
            let taken = taken.iter().filter_map(|id| state.segment(*id));
            let bytes: u64 = taken.map(|segment| segment.live_bytes()).sum();
            let work_ms = bytes / MERGED_BYTES_A_MS;
            let base_ms = self
                .shared
                .options
                .claim_patience_ms
                .saturating_add(work_ms);
            let patience_ms = base_ms.saturating_mul(1 << claims.in_vain.min(MERGE_DOUBLINGS_MAX));
            match first {
                Some(first) if now.saturating_sub(first) < patience_ms => {}
                _ => dead.push(*claim),
            }
        }
        dead
    }

    /// Notes that claims of others are taken back.
    pub(super) fn note_taken_back(&self, kind: ClaimKind, state: &State) {
        let mut claims = self.claims_of(kind).lock();
        if claims.seen.values().any(Option::is_some) {
            claims.note_taken_back(progress(kind, state));
        }
    }

    /// The active claims; `None` while a worker behind one may be alive.
    fn unless_alive(&self, kind: ClaimKind, log: &Log) -> Option<Vec<WalSeq>> {
        let now = self.shared.clock.monotonic_ms();
        let active: Vec<WalSeq> = log
            .state
            .claims
            .iter()
            .filter(|(_, of)| **of == kind)
            .map(|(claim, _)| *claim)
            .collect();
        let mut claims = self.claims_of(kind).lock();
        claims.seen.retain(|claim, _| active.contains(claim));
        for claim in &active {
            claims.seen.entry(*claim).or_insert(Some(now));
        }
        if active.is_empty() {
            return Some(active);
        }
        let progress = progress(kind, &log.state);
        let patience_ms = claims.patience_ms(self.shared.options.claim_patience_ms, progress);
        let mut of_others = claims.seen.values().flatten();
        let is_alive = of_others.any(|first| now.saturating_sub(*first) < patience_ms);
        (!is_alive).then_some(active)
    }

    /// Gives a claim up, as far as the store lets us; whoever does that work next does it otherwise.
    pub(super) async fn abort(self: &Arc<Self>, kind: ClaimKind, claim: WalSeq) {
        self.claims_of(kind).lock().seen.insert(claim, None);
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_doubles_until_a_flush_comes_through() {
        let mut claims = Claims::default();
        let of = |claims: &Claims, flushed: u64| claims.patience_ms(5_000, flushed);
        assert_eq!(of(&claims, 0), 5_000);
        for expected in [10_000, 20_000, 40_000, 60_000, 60_000] {
            claims.note_taken_back(0);
            assert_eq!(of(&claims, 0), expected);
        }
        assert_eq!(of(&claims, 7), 5_000, "a flush came through");
        claims.note_taken_back(7);
        assert_eq!(of(&claims, 7), 10_000);
        assert_eq!(claims.patience_ms(90_000, 7), 90_000);
    }
}
