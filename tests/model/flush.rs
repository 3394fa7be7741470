//! What a flusher does: uploads, manifests, the floor of a truncation, and its deletions.

use std::sync::Arc;

use elacsym::lsm::{State, truncate};
use elacsym::types::SlotName;

use crate::node::{Node, Phase};
use crate::scenario::Mutation;
use crate::system::{Fault, System};
use crate::world::{Manifest, World};

impl System {
    pub fn upload(&self, world: &mut World, node: &mut Node) {
        let Some(claim) = node.claim else { return };
        let mut up_to = node.state.seq;
        if self.is(Mutation::FlushBeyondApplied) {
            up_to = up_to.next();
        }
        world
            .segments
            .insert((claim.0, up_to.0), node.rows.visible());
        node.uploaded = Some((node.state.flushed_seq, up_to));
    }

    pub fn floor(&self, world: &World, current: &State) -> Option<u64> {
        let newest_two = world.manifests.values().rev().take(2);
        let protected: Vec<State> = newest_two.map(|manifest| manifest.state.clone()).collect();
        if self.is(Mutation::TruncateAboveManifest) {
            return truncate::floor_below(std::slice::from_ref(current), current, 0);
        }
        if self.is(Mutation::TruncateAboveFlushed) {
            let own_blocks = protected.iter().filter_map(|state| state.blocks.last());
            return own_blocks.map(|block| block.number).min()?.checked_sub(1);
        }
        truncate::floor_below(&protected, current, 0)
    }

    pub fn delete(&self, world: &mut World, node: &mut Node, last: u64) {
        let mut doomed = world
            .slots
            .keys()
            .copied()
            .filter(|slot| slot.block <= last);
        let first = if self.is(Mutation::NewestBlockFirst) {
            let blocks: Vec<SlotName> = doomed.collect();
            let newest = blocks.iter().map(|slot| slot.block).max();
            blocks.into_iter().find(|slot| Some(slot.block) == newest)
        } else {
            doomed.next()
        };
        let Some(first) = first else {
            return node.finish();
        };
        let slot = if self.is(Mutation::TailFirst) {
            let in_block = world.slots.keys().copied();
            in_block
                .filter(|slot| slot.block == first.block)
                .max()
                .unwrap_or(first)
        } else {
            first
        };
        world.slots.remove(&slot);
        if !self.is(Mutation::DuplicateBeyondGrace) {
            // The grace is longer than the store may take to execute a request once more.
            world.flights.retain(|flight| !flight.again);
        }
        node.phase = Phase::Delete { last };
    }
}

pub fn put_manifest(world: &mut World, node: &Node, fault: Fault) {
    let manifest = Arc::new(Manifest {
        state: State::clone(&node.state),
        segments: node.rows.segments,
    });
    let seq = node.state.seq.0;
    match world.manifests.get(&seq) {
        Some(there) if *there != manifest => world.fail("S9 two manifests of one state differ"),
        Some(_) => {}
        None => {
            world.manifests.insert(seq, Arc::clone(&manifest));
        }
    }
    if fault == Fault::NoHead {
        world.faults.heads -= 1;
    } else {
        world.head = Some(manifest);
    }
}
