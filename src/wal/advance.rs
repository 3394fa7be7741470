//! Catching up with the log: drives `lsm::Advance` against the bucket.

use super::{Proof, ReadSlot, Wal};
use crate::error::Result;
use crate::format::Slot;
use crate::lsm::{Advance, AdvanceEvent, AdvanceStep, Applied, State};
use crate::types::WalSeq;

/// Where catching up led.
#[derive(Debug)]
pub enum Advanced {
    /// The state was the newest at some moment after the call began, or is the one asked for.
    Current {
        /// It.
        state: Box<State>,
        /// The slots adopted on the way, with what each did.
        adopted: Vec<(Slot, Applied)>,
        /// The proof of the state reached, renewed where the anchor was read.
        proof: Proof,
    },
    /// The log was truncated under this node: open again.
    Reopen,
}

impl Wal {
    /// Brings `state` up to the newest one. `proof` must be of it or of a state before it. Costs a GET for
    /// each slot adopted, one for the first that is missing, and one for the anchor unless the store's clock
    /// says that the proof is fresh.
    ///
    /// Errors: `Unavailable`; `Corrupted` naming a damaged slot, which is never skipped. Cancel safe:
    /// nothing changes.
    pub async fn advance(&self, state: State, proof: Proof) -> Result<Advanced> {
        self.run(Advance::begin(state), proof).await
    }

    /// As `advance`, but no further than to the state of slot `until`.
    pub async fn advance_until(&self, state: State, until: WalSeq) -> Result<Advanced> {
        let advance = Advance::begin_until(state, until);
        self.run(advance, Proof::default()).await
    }

    async fn run(
        &self,
        (mut advance, mut step): (Advance, AdvanceStep),
        mut proof: Proof,
    ) -> Result<Advanced> {
        let mut adopted = Vec::new();
        let mut missing_date = None;
        loop {
            step = match step {
                AdvanceStep::ReadSlot { slot } => match self.find_slot(slot).await? {
                    ReadSlot::Found(slot) => {
                        let (applied, next) = advance.found(&slot.header, &slot.entry)?;
                        adopted.push((*slot, applied));
                        next
                    }
                    ReadSlot::Missing { store_date } => {
                        missing_date = store_date;
                        let fresh = self.is_fresh(proof, store_date);
                        advance.step(AdvanceEvent::Missing { fresh })
                    }
                },
                AdvanceStep::CheckAnchor(anchor) => {
                    if self.anchor_holds(anchor).await? {
                        proof.renew(missing_date);
                        advance.step(AdvanceEvent::AnchorHolds)
                    } else {
                        advance.step(AdvanceEvent::AnchorBroken)
                    }
                }
                AdvanceStep::Current => {
                    return Ok(Advanced::Current {
                        state: Box::new(advance.into_state()),
                        adopted,
                        proof,
                    });
                }
                AdvanceStep::Reopen => return Ok(Advanced::Reopen),
            };
        }
    }
}
