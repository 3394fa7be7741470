//! Asking whether a state is still the newest: drives `lsm::Probe` against the bucket.

use super::{Proof, Wal};
use crate::error::Result;
use crate::format::{path, wal as codec};
use crate::lsm::{Probe, ProbeEvent, ProbeStep};
use crate::store::GetOutcome;

/// What a probe found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probed {
    /// The state was the newest at some moment after the call began.
    Current {
        /// The proof of that state, renewed where the anchor was read.
        proof: Proof,
    },
    /// Something is new, or the log was truncated under this node: catch up.
    Behind,
}

impl Wal {
    /// Asks whether the state of `probe` is still the newest. `proof` must be of that state or of one before
    /// it. Costs one GET where the store's clock says that the proof is fresh, else one more for the anchor.
    ///
    /// Errors: `Unavailable`; `Corrupted` naming a damaged block head. Cancel safe: nothing changes.
    pub async fn probe(&self, probe: Probe, mut proof: Proof) -> Result<Probed> {
        let mut missing_date = None;
        let mut step = probe.begin();
        loop {
            let event = match step {
                ProbeStep::ReadSlot { slot } => {
                    let key = path::slot(self.id, slot);
                    let header = 0..codec::HEADER_BYTES as u64;
                    match self.bucket.get_range(&key, header).await? {
                        GetOutcome::Found(_) => ProbeEvent::Found,
                        GetOutcome::Missing { store_date } => {
                            missing_date = store_date;
                            let fresh = self.is_fresh(proof, store_date);
                            ProbeEvent::Missing { fresh }
                        }
                    }
                }
                ProbeStep::CheckAnchor(anchor) => {
                    if self.anchor_holds(anchor).await? {
                        proof.renew(missing_date);
                        ProbeEvent::AnchorHolds
                    } else {
                        ProbeEvent::AnchorBroken
                    }
                }
                ProbeStep::Current => return Ok(Probed::Current { proof }),
                ProbeStep::Behind => return Ok(Probed::Behind),
            };
            step = probe.step(event);
        }
    }
}
