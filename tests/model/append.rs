//! The append of an entry, step by step: what the store answers, and what a commit does to its node.

use std::sync::Arc;

use elacsym::lsm::{Append, AppendEvent, AppendStep, Entry, State};
use elacsym::types::Nonce;

use crate::catch_up::begin_advance;
use crate::node::{Node, Phase, Why};
use crate::scenario::Mutation;
use crate::system::{Fault, System};
use crate::world::{Flight, Slot, World, batch_of, header_after, trim};

impl System {
    pub fn append(&self, world: &mut World, node: &mut Node, phase: Phase, fault: Fault) {
        let Phase::Append {
            mut machine,
            next,
            entry,
            from,
            mut created_at,
        } = phase
        else {
            return;
        };
        let event = match next {
            AppendStep::Create { nonce, .. } => {
                let event = self.create(world, node, &entry, nonce, fault);
                created_at = match event {
                    AppendEvent::Created { .. } => self.date(world),
                    _ => None,
                };
                match event {
                    AppendEvent::Unknown if self.is(Mutation::MoveOnUnknown) => {
                        return begin_advance(node, Why::Retry);
                    }
                    AppendEvent::Exists if self.is(Mutation::ExistsIsLost) => {
                        return begin_advance(node, Why::Retry);
                    }
                    AppendEvent::Exists if self.is(Mutation::ExistsIsMine) => {
                        AppendEvent::SlotFound { nonce }
                    }
                    event => event,
                }
            }
            AppendStep::ReadSlot { slot } => match world.slots.get(&slot) {
                Some(found) => {
                    if self.is(Mutation::ProofDatedByReadBack) {
                        created_at = self.date(world);
                    }
                    let nonce = found.header.nonce;
                    AppendEvent::SlotFound { nonce }
                }
                None => AppendEvent::SlotMissing,
            },
            AppendStep::CheckAnchor(anchor) => {
                if self.is(Mutation::ProofDatedByAnchor) {
                    created_at = self.date(world);
                }
                let opens_block = node.state.next_slot().idx == 0;
                let skipped = self.is(Mutation::AnchorOfNewBlock) && opens_block;
                if skipped || self.anchor_holds(world, anchor) {
                    node.proof.renew(created_at);
                    AppendEvent::AnchorHolds
                } else {
                    AppendEvent::AnchorBroken
                }
            }
            _ => return,
        };
        let fresh_nonce = match event {
            AppendEvent::SlotMissing if !self.is(Mutation::SameNonce) => node.fresh_nonce(),
            _ => Nonce(u128::from(node.id) * 100 + u128::from(node.nonces)),
        };
        match machine.step(event, fresh_nonce) {
            AppendStep::Committed(nonce) => self.committed(world, node, &entry, nonce),
            AppendStep::Lost => {
                let stale = self.is(Mutation::NoReevaluation);
                if stale || matches!(entry, Entry::Truncate { .. }) {
                    node.truncation = Some(entry);
                }
                begin_advance(node, Why::Retry);
            }
            AppendStep::Reopen => {
                let why = if self.is(Mutation::NoLookUp) {
                    Why::Retry
                } else {
                    Why::LookUp(from)
                };
                node.phase = Phase::Open { why, list: false };
            }
            AppendStep::GiveUp => {
                node.closed = true;
                node.finish();
            }
            next => {
                node.phase = Phase::Append {
                    machine,
                    next,
                    entry,
                    from,
                    created_at,
                }
            }
        }
    }

    fn create(
        &self,
        world: &mut World,
        node: &Node,
        entry: &Entry,
        nonce: Nonce,
        fault: Fault,
    ) -> AppendEvent {
        let keep = self.scenario.keep_batches;
        let header = header_after(&node.state, entry, nonce, self.scenario.large);
        let entry = entry.clone();
        let slot = Slot { header, entry };
        let fresh = self.is_fresh(world, node.proof);
        match fault {
            Fault::Late => {
                world.faults.late -= 1;
                world.flights.push(Flight { slot, again: false });
                AppendEvent::Unknown
            }
            Fault::Lost => {
                world.faults.lost -= 1;
                world.create(&slot, keep);
                AppendEvent::Unknown
            }
            Fault::Twice => {
                world.faults.twice -= 1;
                let created = world.create(&slot, keep);
                world.flights.push(Flight { slot, again: true });
                if created {
                    AppendEvent::Created { fresh }
                } else {
                    AppendEvent::Exists
                }
            }
            Fault::None | Fault::NoHead => {
                if world.create(&slot, keep) {
                    AppendEvent::Created { fresh }
                } else {
                    AppendEvent::Exists
                }
            }
        }
    }

    fn committed(&self, world: &mut World, node: &mut Node, entry: &Entry, nonce: Nonce) {
        if let Entry::Write(write) = entry {
            world.acknowledge(batch_of(write.batch));
        } else if !world.truth.nonces.contains(&nonce) {
            world.fail("S6 a void slot was taken for a commit");
        }
        let mut state = State::clone(&node.state);
        let header = header_after(&state, entry, nonce, self.scenario.large);
        match state.apply(&header, entry) {
            Ok(applied) => node
                .rows
                .apply(&world.segments, header.seq.0, entry, applied),
            Err(_) => world.fail("S2 a committed slot does not follow its state"),
        }
        trim(&mut state, self.scenario.keep_batches);
        world.check_adopted(&state, &node.rows);
        if matches!(entry, Entry::Claim { .. }) {
            node.claim = Some(state.seq);
        }
        node.state = Arc::new(state);
        node.finish();
    }
}

/// Starts to append an entry after the state that a node knows.
pub fn begin_append(node: &mut Node, entry: Entry) {
    let nonce = node.fresh_nonce();
    let (machine, next) = Append::begin(&node.state, nonce);
    let from = node.state.seq.next();
    node.phase = Phase::Append {
        machine,
        next,
        entry,
        from,
        created_at: None,
    };
}
