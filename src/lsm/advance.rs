//! Catching up with the log: read slots n+1.. until one is missing, then prove the old state's anchor.
//!
//! The way on of a strong read whose probe found something, and of a writer after a lost slot. Entries read are tentative until the anchor of the state *before* them, read
//! after the last of them, holds: a stale node could otherwise adopt a void block head left by another
//! stale writer and then trust it.

use super::entry::{Entry, SlotHeader};
use super::state::{Anchor, Applied, State};
use crate::error::Result;
use crate::types::{SlotName, WalSeq};

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AdvanceStep {
    /// Read this slot, whole.
    ReadSlot {
        /// Which.
        slot: SlotName,
    },
    /// Check this anchor, with a read that starts now, after the slot reads.
    CheckAnchor(Anchor),
    /// Done: the tentative state is the current one, as of the last missing slot, or the one asked for.
    Current,
    /// Done: this node slept past a truncation. Discard everything and open again.
    Reopen,
}

/// What a store answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AdvanceEvent {
    /// The slot is not there. `fresh`: the store's own clock proves that no slot after the last anchored
    /// state can have been deleted yet, so that a missing slot was never written.
    Missing {
        /// See above.
        fresh: bool,
    },
    /// The anchor holds.
    AnchorHolds,
    /// The anchor is missing or different.
    AnchorBroken,
}

/// A node on its way from a state to the newest one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Advance {
    old_anchor: Anchor,
    tentative: State,
    /// The last slot to be read.
    until: WalSeq,
}

impl Advance {
    /// Begins at `state`; the first step is to read the slot after it.
    pub fn begin(state: State) -> (Self, AdvanceStep) {
        Self::begin_until(state, WalSeq(u64::MAX))
    }

    /// Begins at `state`, and ends at the state of slot `until`, or before it where that slot is missing. From before
    /// the first slot it ends without an anchor: whoever asks must know that the log was never truncated.
    pub fn begin_until(state: State, until: WalSeq) -> (Self, AdvanceStep) {
        let advance = Self {
            old_anchor: state.anchor(),
            tentative: state,
            until,
        };
        let step = advance.read_next();
        (advance, step)
    }

    /// Takes a slot that was read and goes on to the next one.
    ///
    /// Errors: `Corrupted` if the slot is not the one asked for or breaks a rule.
    pub fn found(&mut self, header: &SlotHeader, entry: &Entry) -> Result<(Applied, AdvanceStep)> {
        let applied = self.tentative.apply(header, entry)?;
        Ok((applied, self.read_next()))
    }

    /// Takes any other answer.
    pub fn step(&mut self, event: AdvanceEvent) -> AdvanceStep {
        match event {
            AdvanceEvent::Missing { fresh: true } | AdvanceEvent::AnchorHolds => {
                AdvanceStep::Current
            }
            AdvanceEvent::Missing { fresh: false } => AdvanceStep::CheckAnchor(self.old_anchor),
            AdvanceEvent::AnchorBroken => AdvanceStep::Reopen,
        }
    }

    /// The state reached; to be adopted only after `Current`.
    pub fn into_state(self) -> State {
        self.tentative
    }

    /// The state reached so far, tentative.
    pub fn tentative(&self) -> &State {
        &self.tentative
    }

    fn read_next(&self) -> AdvanceStep {
        if self.tentative.seq >= self.until {
            return match self.old_anchor {
                Anchor::Head { .. } => AdvanceStep::CheckAnchor(self.old_anchor),
                Anchor::NoManifest => AdvanceStep::Current,
            };
        }
        AdvanceStep::ReadSlot {
            slot: self.tentative.next_slot(),
        }
    }
}
