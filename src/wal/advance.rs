//! Catching up with the log: drives `lsm::Advance` against the bucket.

use super::{Proof, Wal};
use crate::error::Result;
use crate::format::Slot;
use crate::lsm::{Advance, AdvanceEvent, AdvanceStep, Applied, State};

/// Where catching up led.
#[derive(Debug)]
pub enum Advanced {
    /// The state was the newest at some moment after the call began.
    Current {
        /// It.
        state: Box<State>,
        /// The slots adopted on the way, with what each did.
        adopted: Vec<(Slot, Applied)>,
    },
    /// The log was truncated under this node: open again.
    Reopen,
}

impl Wal {
    /// Brings `state` up to the newest one. Costs one GET and one anchor read where nothing is new.
    ///
    /// Errors: `Unavailable`; `Corrupted` naming a damaged slot, which is never skipped. Cancel safe:
    /// nothing changes.
    pub async fn advance(&self, state: State, proof: Proof) -> Result<Advanced> {
        let (mut advance, mut step) = Advance::begin(state);
        let mut adopted = Vec::new();
        loop {
            step = match step {
                AdvanceStep::ReadSlot { slot } => match self.read_slot_dated(slot).await? {
                    (Some(slot), _) => {
                        let (applied, next) = advance.found(&slot.header, &slot.entry)?;
                        adopted.push((slot, applied));
                        next
                    }
                    // A missing object carries no store clock here, so the anchor is always read.
                    (None, date) => advance.step(AdvanceEvent::Missing {
                        fresh: self.may_skip_anchor && proof.is_fresh(date),
                    }),
                },
                AdvanceStep::CheckAnchor(anchor) => {
                    // No renewal: a proof is dated by the missing slot's reply, which carries no date here.
                    if self.anchor_holds(anchor).await? {
                        advance.step(AdvanceEvent::AnchorHolds)
                    } else {
                        advance.step(AdvanceEvent::AnchorBroken)
                    }
                }
                AdvanceStep::Current => {
                    return Ok(Advanced::Current {
                        state: Box::new(advance.into_state()),
                        adopted,
                    });
                }
                AdvanceStep::Reopen => return Ok(Advanced::Reopen),
            };
        }
    }
}
