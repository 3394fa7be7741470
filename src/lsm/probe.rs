//! The strong read's question: is the state that a view shows still the newest one?
//!
//! Read slot n+1; if it is missing, *then* the anchor: in parallel would not be exact. Where the store's own
//! clock proves that nothing can have been deleted yet, the missing slot alone answers.

use super::state::{Anchor, State};
use crate::types::SlotName;

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ProbeStep {
    /// Find out whether this slot is there.
    ReadSlot {
        /// Which.
        slot: SlotName,
    },
    /// Check this anchor, with a read that starts now.
    CheckAnchor(Anchor),
    /// Done: the state was the newest when the slot was missing.
    Current,
    /// Done: something is new, or the log was truncated under this node. Catch up.
    Behind,
}

/// What a store answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ProbeEvent {
    /// The slot is there.
    Found,
    /// The slot is not there. `fresh`: the store's own clock proves that no slot after *this* state can have
    /// been deleted yet, so that a missing slot was never written.
    Missing {
        /// See above.
        fresh: bool,
    },
    /// The anchor holds.
    AnchorHolds,
    /// The anchor is missing or different.
    AnchorBroken,
}

/// What a probe needs to know of a state. `Copy`: a view keeps it beside its rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Probe {
    next_slot: SlotName,
    anchor: Anchor,
}

impl Probe {
    /// The probe of a state.
    pub fn of(state: &State) -> Self {
        Self {
            next_slot: state.next_slot(),
            anchor: state.anchor(),
        }
    }

    /// The first step: to look for the slot after the state.
    pub fn begin(self) -> ProbeStep {
        ProbeStep::ReadSlot {
            slot: self.next_slot,
        }
    }

    /// Takes an answer and says what is next.
    pub fn step(self, event: ProbeEvent) -> ProbeStep {
        match event {
            ProbeEvent::Missing { fresh: true } | ProbeEvent::AnchorHolds => ProbeStep::Current,
            ProbeEvent::Missing { fresh: false } => ProbeStep::CheckAnchor(self.anchor),
            ProbeEvent::Found | ProbeEvent::AnchorBroken => ProbeStep::Behind,
        }
    }
}
