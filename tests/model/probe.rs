//! The strong read of an open node: the probe alone where nothing is new, else catching up.

use elacsym::lsm::{Probe, ProbeEvent, ProbeStep};
use elacsym::wal::Proof;

use crate::catch_up::begin_advance;
use crate::node::{Node, Phase, Why};
use crate::scenario::Mutation;
use crate::system::System;
use crate::world::{Batches, World};

impl System {
    pub fn probe(&self, world: &mut World, node: &mut Node, phase: Phase) {
        let Phase::Probe {
            machine,
            next,
            must,
            mut anchored_early,
            mut missing_at,
        } = phase
        else {
            return;
        };
        let next = match next {
            ProbeStep::ReadSlot { .. } if self.is(Mutation::AnchorFirst) && !anchored_early => {
                anchored_early = true;
                if self.anchor_holds(world, node.state.anchor()) {
                    next
                } else {
                    ProbeStep::Behind
                }
            }
            ProbeStep::ReadSlot { slot } if world.slots.contains_key(&slot) => {
                machine.step(ProbeEvent::Found)
            }
            ProbeStep::ReadSlot { .. } => {
                missing_at = self.date(world);
                let fresh = self.probe_is_fresh(world, node);
                machine.step(ProbeEvent::Missing { fresh })
            }
            ProbeStep::CheckAnchor(anchor) if self.anchor_holds(world, anchor) => {
                if self.is(Mutation::ProbeDatedByAnchor) {
                    missing_at = self.date(world);
                }
                node.proof.renew(missing_at);
                machine.step(ProbeEvent::AnchorHolds)
            }
            ProbeStep::CheckAnchor(_) => machine.step(ProbeEvent::AnchorBroken),
            ProbeStep::Current | ProbeStep::Behind => next,
        };
        match next {
            ProbeStep::Current => {
                world.check_read(&node.rows, must);
                node.finish();
            }
            ProbeStep::Behind => begin_advance(node, Why::Read(must)),
            next => {
                node.phase = Phase::Probe {
                    machine,
                    next,
                    must,
                    anchored_early,
                    missing_at,
                };
            }
        }
    }

    fn probe_is_fresh(&self, world: &World, node: &Node) -> bool {
        let exact = !self.is(Mutation::MissingIsCurrent) && !self.is(Mutation::AnchorFirst);
        let newest = |proof: Proof, other: &Node| proof.newer(other.proof);
        let proof = if self.is(Mutation::ProofOfNewerState) {
            world.nodes.iter().fold(node.proof, newest)
        } else {
            node.proof
        };
        let ends = !self.is(Mutation::ProofNeverEnds) || proof == Proof::default();
        !exact || !ends || self.is_fresh(world, proof)
    }
}

/// Starts a strong read that must contain these batches.
pub fn begin_probe(node: &mut Node, must: Batches) {
    let machine = Probe::of(&node.state);
    node.phase = Phase::Probe {
        machine,
        next: machine.begin(),
        must,
        anchored_early: false,
        missing_at: None,
    };
}
