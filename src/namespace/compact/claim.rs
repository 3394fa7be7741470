//! The claim to merge: what a state needs merged, taken so that nobody else takes it.

use std::sync::Arc;

use super::{Namespace, Wanted};
use crate::error::{Error, Result};
use crate::lsm::entry::ClaimKind;
use crate::lsm::{Applied, Entry, Job, State, pick};
use crate::namespace::handle::View;
use crate::namespace::write::Tried;
use crate::types::{WalSeq, limits};

/// What stands in the way of a merge.
pub(super) enum Claimed {
    /// The claim is ours: its sequence, the view of the state it made, what it takes.
    Ours(WalSeq, Arc<View>, Job),
    /// There is nothing to merge, or nothing that can be read.
    Nothing,
    /// What there is to merge is claimed by others who may be alive.
    Busy,
}

impl Namespace {
    /// Claims the merge that the newest state wants most. Claims of others whose work has taken too long are given up
    /// for them; what the rest of them take is left to them.
    pub(super) async fn claim_merge(self: &Arc<Self>, wanted: Wanted) -> Result<Claimed> {
        let skipped = self.unreadable();
        let pick = |state: &State| {
            let policy = self.merge_policy(state);
            match wanted {
                Wanted::Due => pick::pick(state, &policy, &skipped),
                Wanted::All => pick::pick_all(state, &policy, &skipped),
            }
        };
        let mut slot = self.log.lock().await;
        let mut caught_up = false;
        for _ in 0..limits::LOST_SLOTS_MAX {
            let log = self.take_live_log(&mut slot).await?;
            let state = Arc::clone(&log.state);
            let dead = self.dead_merges(&log.state);
            slot.replace(log);
            if let Some(claim) = dead.first().copied() {
                self.note_taken_back(ClaimKind::Compact, &state);
                self.append_plain(&mut slot, Entry::Abort { claim }).await?;
                continue;
            }
            let Some(job) = pick(&state) else {
                if !state.merging.is_empty() && !caught_up {
                    // The other's commit is only seen by reading on.
                    self.catch_up(&mut slot).await?;
                    caught_up = true;
                    continue;
                }
                return Ok(match state.merging.is_empty() {
                    true => Claimed::Nothing,
                    false => Claimed::Busy,
                });
            };
            let entry = Entry::Claim {
                claim: ClaimKind::Compact,
                inputs: job.inputs.clone(),
            };
            match self.append_plain(&mut slot, entry).await? {
                Tried::Committed(seq, Applied::Effective) => {
                    return Ok(Claimed::Ours(seq, self.view(), job));
                }
                Tried::Committed(..) | Tried::Again => {}
            }
        }
        Err(Error::unavailable(format!(
            "namespace `{}` has faster writers elsewhere",
            self.name
        )))
    }
}
