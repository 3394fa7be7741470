//! Claims: who flushes, and when a flusher counts as dead.
//!
//! A claim only keeps two nodes from doing the same work. Taking back one of a flusher that lives costs that
//! flusher its work, never data: its commit applies only while its claim stands.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::handle::{Log, Namespace, View};
use super::write::Tried;
use crate::error::{Error, Result};
use crate::lsm::entry::ClaimKind;
use crate::lsm::{Applied, Entry};
use crate::runtime::{FailPoint, failpoint};
use crate::types::{WalSeq, limits};

/// The longest that another flusher's claim is respected, milliseconds of this node's clock.
pub(super) const PATIENCE_MS_MAX: u64 = 60_000;

/// What this node knows of the claims of other flushers.
#[derive(Debug, Default)]
pub(super) struct Claims {
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

/// What stands in the way of a claim.
pub(super) enum Claimed {
    /// The claim is ours; the view is the state it made.
    Ours(WalSeq, Arc<View>),
    /// There is nothing to flush.
    Nothing(WalSeq),
    /// Another flusher's claim is active and may be alive.
    Busy,
}

impl Namespace {
    /// Appends a claim, where there is something to flush and nobody else is at it.
    pub(super) async fn claim(self: &Arc<Self>) -> Result<Claimed> {
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

    /// Gives a claim up, as far as the store lets us; whoever flushes next does it otherwise.
    pub(super) async fn abort(self: &Arc<Self>, claim: WalSeq) {
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
