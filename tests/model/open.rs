//! Opening: from the advisory head or the newest manifest, through the tail below it, to catching up.

use elacsym::lsm::{Advance, Entry, State};
use elacsym::types::WalSeq;
use elacsym::wal::Proof;

use crate::catch_up::advancing;
use crate::node::{Node, Phase, Why};
use crate::scenario::Mutation;
use crate::system::System;
use crate::world::{Manifest, Rows, World, batch_of};

impl System {
    pub fn open(&self, world: &World, node: &mut Node, why: Why, list: bool) {
        node.proof = Proof::default();
        let head = world.head.clone().filter(|_| !list);
        let list = head.is_none();
        let newest = || world.manifests.values().next_back().cloned();
        let Some(manifest) = head.or_else(newest) else {
            let (initial, rows) = &world.truth.states[0];
            let (machine, next) = Advance::begin(State::clone(initial));
            node.phase = advancing(machine, next, rows.clone(), why, None);
            return;
        };
        let rows = Rows {
            segments: manifest.segments,
            tail: Vec::new(),
        };
        let at = manifest.state.flushed_seq.0 + 1;
        if at > manifest.state.seq.0 || self.is(Mutation::OpenFromManifestSeq) {
            node.phase = after_tail(&manifest, rows, why, list);
        } else {
            node.phase = Phase::Tail {
                manifest,
                at,
                rows,
                why,
                list,
            };
        }
    }

    pub fn tail(&self, world: &mut World, node: &mut Node, phase: Phase) {
        let Phase::Tail {
            manifest,
            at,
            mut rows,
            why,
            list,
        } = phase
        else {
            return;
        };
        let name = manifest.state.slot_of(WalSeq(at));
        let Some(slot) = name.and_then(|name| world.slots.get(&name)) else {
            if list {
                check_reachable(world, manifest.state.seq.0);
            }
            node.phase = Phase::Open { why, list: true };
            return;
        };
        if let Entry::Write(write) = &slot.entry {
            rows.tail.push((at, batch_of(write.batch)));
        }
        node.phase = if at == manifest.state.seq.0 {
            after_tail(&manifest, rows, why, list)
        } else {
            Phase::Tail {
                manifest,
                at: at + 1,
                rows,
                why,
                list,
            }
        };
    }
}

/// Goes on from a manifest's state, once the rows below it are read.
fn after_tail(manifest: &Manifest, rows: Rows, why: Why, list: bool) -> Phase {
    let oldest = manifest.state.tail_anchor();
    let listed = list.then_some(manifest.state.seq.0);
    let (machine, next) = Advance::begin(manifest.state.clone());
    advancing(machine, next, rows, why, Some((oldest, listed)))
}

/// A manifest that was the newest of a complete list may fail only if a newer one has come.
pub fn check_reachable(world: &mut World, listed: u64) {
    if world.manifests.keys().next_back() == Some(&listed) {
        world.fail("S4 the newest manifest cannot be opened");
    }
}
