//! Catching up with the log, and what a node does once it has.

use std::sync::Arc;

use elacsym::lsm::entry::Id16;
use elacsym::lsm::state::BatchFate;
use elacsym::lsm::{Advance, AdvanceEvent, AdvanceStep, Anchor, State};
use elacsym::types::{SlotName, WalSeq};

use crate::node::{Node, Op, Phase, Why};
use crate::open::check_reachable;
use crate::scenario::Mutation;
use crate::system::System;
use crate::world::{Rows, World, trim};

impl System {
    pub fn advance(&self, world: &mut World, node: &mut Node, phase: Phase) {
        let Phase::Advance {
            mut machine,
            next,
            mut rows,
            why,
            opened,
            mut found,
            mut anchored_early,
            mut missing_at,
        } = phase
        else {
            return;
        };
        let next = match next {
            AdvanceStep::ReadSlot { .. } if self.is(Mutation::AnchorFirst) && !anchored_early => {
                anchored_early = true;
                let anchor = opened.map_or(machine.tentative().anchor(), |(anchor, _)| anchor);
                if self.anchor_holds(world, anchor) {
                    next
                } else {
                    AdvanceStep::Reopen
                }
            }
            AdvanceStep::ReadSlot { slot } => {
                let slot = if self.is(Mutation::GuessedNames) && opened.is_none() {
                    guessed(&node.state, found)
                } else {
                    slot
                };
                match world.slots.get(&slot) {
                    Some(read) => {
                        found += 1;
                        match machine.found(&read.header, &read.entry) {
                            Ok((applied, next)) => {
                                let seq = read.header.seq.0;
                                rows.apply(&world.segments, seq, &read.entry, applied);
                                next
                            }
                            Err(_) => AdvanceStep::Reopen,
                        }
                    }
                    None => {
                        missing_at = self.date(world);
                        let unproven = self.is(Mutation::MissingIsCurrent)
                            || self.is(Mutation::AnchorFirst)
                            || (self.is(Mutation::AdoptUnproven) && found > 0);
                        let fresh = unproven || self.is_fresh(world, node.proof);
                        machine.step(AdvanceEvent::Missing { fresh })
                    }
                }
            }
            AdvanceStep::CheckAnchor(anchor) => {
                if self.is(Mutation::ProofDatedByAnchor) {
                    missing_at = self.date(world);
                }
                let anchor = match opened {
                    Some((oldest, _)) => oldest,
                    _ => anchor,
                };
                let event = if self.anchor_holds(world, anchor) {
                    node.proof.renew(missing_at);
                    AdvanceEvent::AnchorHolds
                } else {
                    AdvanceEvent::AnchorBroken
                };
                machine.step(event)
            }
            AdvanceStep::Current | AdvanceStep::Reopen => next,
        };
        match next {
            AdvanceStep::Current => {
                let mut state = machine.into_state();
                trim(&mut state, self.scenario.keep_batches);
                world.check_adopted(&state, &rows);
                node.state = Arc::new(state);
                node.rows = rows;
                node.closed = false;
                self.caught_up(world, node, why);
            }
            AdvanceStep::Reopen => {
                if let Some((_, Some(listed))) = opened {
                    check_reachable(world, listed);
                }
                // A lost slot says nothing of the batch if it lies in a void block: look it up.
                let why = match why {
                    Why::Retry if opened.is_none() && !self.is(Mutation::LostIsAbsent) => {
                        Why::LookUp(node.state.seq.next())
                    }
                    why => why,
                };
                let list = opened.is_some();
                node.phase = Phase::Open { why, list };
            }
            next => {
                node.phase = Phase::Advance {
                    machine,
                    next,
                    rows,
                    why,
                    opened,
                    found,
                    anchored_early,
                    missing_at,
                };
            }
        }
    }

    fn caught_up(&self, world: &mut World, node: &mut Node, why: Why) {
        match why {
            Why::Read(must) => {
                world.check_read(&node.rows, must);
                node.finish();
            }
            Why::Retry => {}
            Why::LookUp(from) => self.look_up(world, node, from),
            Why::Sweep => {
                let ripe = world.floors.iter().filter(|(floor, decided)| {
                    let grace = if self.is(Mutation::NoGrace) || self.is(Mutation::ReadWithoutGrace)
                    {
                        0
                    } else {
                        self.scenario.grace
                    };
                    *floor < node.state.floor && decided + grace <= world.now
                });
                match ripe.map(|(floor, _)| *floor).max() {
                    Some(last) => node.phase = Phase::Delete { last },
                    None => node.finish(),
                }
            }
        }
    }

    fn look_up(&self, world: &mut World, node: &mut Node, from: WalSeq) {
        let Some(Op::Write { batch, .. }) = node.op() else {
            return;
        };
        match node.state.find_batch(Id16(u128::from(batch)), from) {
            BatchFate::Committed(_) => {
                world.acknowledge(batch);
                node.finish();
            }
            BatchFate::Absent => {}
            BatchFate::Forgotten if self.is(Mutation::ForgottenIsAbsent) => {}
            BatchFate::Forgotten => node.finish(),
        }
    }
}

pub fn begin_advance(node: &mut Node, why: Why) {
    let (machine, next) = Advance::begin(State::clone(&node.state));
    node.phase = advancing(machine, next, node.rows.clone(), why, None);
}

pub fn advancing(
    machine: Advance,
    next: AdvanceStep,
    rows: Rows,
    why: Why,
    opened: Option<(Anchor, Option<u64>)>,
) -> Phase {
    Phase::Advance {
        machine,
        next,
        rows,
        why,
        opened,
        found: 0,
        anchored_early: false,
        missing_at: None,
    }
}

/// The name that a node would guess without reading what lies between.
fn guessed(state: &State, found: u8) -> SlotName {
    let next = state.next_slot();
    let idx = next.idx + u32::from(found);
    let slots_max = state.rotation.slots_max;
    SlotName {
        block: next.block + u64::from(idx / slots_max),
        idx: idx % slots_max,
    }
}
