//! The only commit: put slot n+1 if it is absent, resolve what happened, prove it by the anchor.
//!
//! A machine without IO: it is told what a store answered and says what to ask next. The server and the
//! model drive this same code.

use super::state::{Anchor, State};
use crate::types::{Nonce, SlotName};

/// How often one question is asked again before the outcome is given up as unknown.
const TRIES_MAX: u32 = 8;

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AppendStep {
    /// Put this slot if absent, once, carrying this nonce.
    Create {
        /// Where.
        slot: SlotName,
        /// The nonce, fresh in this request.
        nonce: Nonce,
    },
    /// Read the header of this slot.
    ReadSlot {
        /// Which.
        slot: SlotName,
    },
    /// Check this anchor, with a read that starts now.
    CheckAnchor(Anchor),
    /// Done: the entry is slot n+1, and every later strong read sees it.
    Committed(Nonce),
    /// Done: the slot holds another writer's entry. Catch up under the advance rule. If that holds, the
    /// batch is certainly not in the log: evaluate again, append again. If it ends in a reopen, the slot
    /// may have been a void one over our own truncated commit: look the batch up by its id.
    Lost,
    /// Done: this node slept past a truncation and the outcome is unknown. Discard the state, open
    /// again, look the batch up by its id.
    Reopen,
    /// Done: the outcome is unknown and stays so.
    GiveUp,
}

/// What a store answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AppendEvent {
    /// The create happened. `fresh`: the store's own clock proves that no slot after the last anchored
    /// state can have been deleted yet.
    Created {
        /// See above.
        fresh: bool,
    },
    /// The create was refused since the name exists, as far as the store says.
    Exists,
    /// The create has no clear outcome.
    Unknown,
    /// The slot was read and carries this nonce.
    SlotFound {
        /// The nonce.
        nonce: Nonce,
    },
    /// The slot is not there.
    SlotMissing,
    /// The slot could not be read.
    SlotUnread,
    /// The anchor holds.
    AnchorHolds,
    /// The anchor is missing or different.
    AnchorBroken,
    /// The anchor could not be read.
    AnchorUnread,
}

/// One batch on its way into slot n+1.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Append {
    slot: SlotName,
    anchor: Anchor,
    nonces: Vec<Nonce>,
    mine: Option<Nonce>,
    tries: u32,
}

impl Append {
    /// Begins to append after `state`; the first step is to create with `nonce`.
    pub fn begin(state: &State, nonce: Nonce) -> (Self, AppendStep) {
        let append = Self {
            slot: state.next_slot(),
            // The head of the block of state n, also when slot n+1 opens a new block.
            anchor: state.anchor(),
            nonces: vec![nonce],
            mine: None,
            tries: 0,
        };
        let step = AppendStep::Create {
            slot: append.slot,
            nonce,
        };
        (append, step)
    }

    /// Takes what happened and says what is next; `fresh_nonce` is used only if a create is repeated.
    pub fn step(&mut self, event: AppendEvent, fresh_nonce: Nonce) -> AppendStep {
        match event {
            AppendEvent::Created { fresh } => {
                self.mine = self.nonces.last().copied();
                self.prove(fresh)
            }
            AppendEvent::Exists | AppendEvent::Unknown => AppendStep::ReadSlot { slot: self.slot },
            AppendEvent::SlotFound { nonce } if self.nonces.contains(&nonce) => {
                self.mine = Some(nonce);
                self.prove(false)
            }
            AppendEvent::SlotFound { .. } => AppendStep::Lost,
            AppendEvent::SlotMissing => {
                // The same slot, the same body, a fresh nonce: never another slot while this one's
                // outcome is open, and never a nonce twice, since a repeat could revive a deleted head
                // that somebody trusts.
                if !self.may_try() {
                    return AppendStep::GiveUp;
                }
                self.nonces.push(fresh_nonce);
                AppendStep::Create {
                    slot: self.slot,
                    nonce: fresh_nonce,
                }
            }
            AppendEvent::SlotUnread => {
                if !self.may_try() {
                    return AppendStep::GiveUp;
                }
                AppendStep::ReadSlot { slot: self.slot }
            }
            AppendEvent::AnchorHolds => match self.mine {
                Some(nonce) => AppendStep::Committed(nonce),
                None => AppendStep::GiveUp,
            },
            AppendEvent::AnchorBroken => AppendStep::Reopen,
            AppendEvent::AnchorUnread => {
                if !self.may_try() {
                    return AppendStep::GiveUp;
                }
                AppendStep::CheckAnchor(self.anchor)
            }
        }
    }

    fn prove(&self, fresh: bool) -> AppendStep {
        match (fresh, self.mine) {
            (true, Some(nonce)) => AppendStep::Committed(nonce),
            _ => AppendStep::CheckAnchor(self.anchor),
        }
    }

    fn may_try(&mut self) -> bool {
        self.tries += 1;
        self.tries <= TRIES_MAX
    }
}
