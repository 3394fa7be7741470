//! The model: which steps there are, and where each begins. Nodes run the machines of `elacsym::lsm`, and date
//! their proofs with `elacsym::wal::Proof`; a mutation changes what is done with them, never the machines.
//! What a step does in each phase of an operation is in the file of that phase.

use std::mem;

use elacsym::lsm::entry::{ClaimKind, Id16, KeyedRequest, WriteEntry};
use elacsym::lsm::{Anchor, AppendStep, Entry, State};
use elacsym::types::Timestamp;
use elacsym::wal::Proof;
use stateright::{Model, Property};

use crate::append::begin_append;
use crate::catch_up::begin_advance;
use crate::flush::put_manifest;
use crate::node::{Node, Op, Phase, Why};
use crate::probe::begin_probe;
use crate::scenario::{Mutation, Scenario};
use crate::world::World;

/// What the store does to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    None,
    /// It executes; the reply is lost.
    Lost,
    /// The reply is lost; it may execute later.
    Late,
    /// It executes, and may once more later.
    Twice,
    /// The advisory write after it is lost.
    NoHead,
}

/// A step of the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    Step(usize, Fault),
    Crash(usize),
    Land(usize),
    Tick,
}

/// A scenario, with or without a mutation.
#[derive(Debug, Clone)]
pub struct System {
    pub scenario: Scenario,
    pub mutation: Option<Mutation>,
}

/// A tick of the store's clock, milliseconds: a proof is fresh for one of them and not for two.
const TICK_MS: i64 = 200_000;

impl Model for System {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        vec![(self.scenario.build)()]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        if world.violation.is_some() {
            return;
        }
        for (index, node) in world.nodes.iter().enumerate() {
            let Some(op) = node.op() else { continue };
            actions.push(Action::Step(index, Fault::None));
            let creates = matches!(
                node.phase,
                Phase::Append {
                    next: AppendStep::Create { .. },
                    ..
                }
            ) || (node.phase == Phase::Ready && !node.closed);
            if matches!(op, Op::Write { .. }) && creates {
                let faults = [
                    (world.faults.lost, Fault::Lost),
                    (world.faults.late, Fault::Late),
                    (world.faults.twice, Fault::Twice),
                ];
                let left = faults.iter().filter(|(left, _)| *left > 0);
                actions.extend(left.map(|(_, fault)| Action::Step(index, *fault)));
            }
            if op == Op::Manifest && world.faults.heads > 0 {
                actions.push(Action::Step(index, Fault::NoHead));
            }
            if node.phase != Phase::Ready && world.faults.crashes > 0 {
                actions.push(Action::Crash(index));
            }
        }
        actions.extend((0..world.flights.len()).map(Action::Land));
        if world.faults.ticks > 0 {
            actions.push(Action::Tick);
        }
    }

    fn next_state(&self, last: &World, action: Action) -> Option<World> {
        let mut world = last.clone();
        match action {
            Action::Tick => {
                world.faults.ticks -= 1;
                world.now += 1;
            }
            Action::Land(index) => {
                let flight = world.flights.remove(index);
                world.create(&flight.slot, self.scenario.keep_batches);
            }
            Action::Crash(index) => {
                world.faults.crashes -= 1;
                let node = &mut world.nodes[index];
                node.phase = Phase::Ready;
                node.closed = true;
                if matches!(node.op(), Some(Op::Write { .. })) {
                    node.finish();
                }
            }
            Action::Step(index, fault) => {
                let mut node = world.nodes[index].clone();
                self.step(&mut world, &mut node, fault);
                world.nodes[index] = node;
            }
        }
        Some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("safe", |_, world: &World| world.violation.is_none()),
            Property::sometimes("everything is done and acknowledged", |_, world: &World| {
                world.nodes.iter().all(|node| {
                    node.op().is_none()
                        && node.script.iter().all(|op| match op {
                            Op::Write { batch, .. } => world.acked & crate::world::bit(*batch) != 0,
                            _ => true,
                        })
                })
            }),
        ]
    }
}

impl System {
    pub fn is(&self, mutation: Mutation) -> bool {
        self.mutation == Some(mutation)
    }

    fn step(&self, world: &mut World, node: &mut Node, fault: Fault) {
        if node.phase == Phase::Ready {
            self.start(world, node, fault);
        }
        match mem::replace(&mut node.phase, Phase::Ready) {
            Phase::Ready => {}
            phase @ Phase::Probe { .. } => self.probe(world, node, phase),
            phase @ Phase::Append { .. } => self.append(world, node, phase, fault),
            phase @ Phase::Advance { .. } => self.advance(world, node, phase),
            Phase::Open { why, list } => self.open(world, node, why, list),
            phase @ Phase::Tail { .. } => self.tail(world, node, phase),
            Phase::Delete { last } => self.delete(world, node, last),
        }
    }

    fn start(&self, world: &mut World, node: &mut Node, fault: Fault) {
        let Some(op) = node.op() else { return };
        if node.closed || op == Op::ColdRead {
            let why = match op {
                Op::Read | Op::ColdRead => Why::Read(world.acked),
                _ => Why::Retry,
            };
            node.phase = Phase::Open { why, list: false };
            return;
        }
        if let Some(entry) = node.truncation.clone() {
            return begin_append(node, entry);
        }
        match op {
            Op::Write { batch, inserts } => {
                let entry = self.write_entry(&node.state, batch, inserts);
                begin_append(node, entry);
            }
            Op::Read => begin_probe(node, world.acked),
            Op::ColdRead => {}
            Op::Claim => {
                let (claim, inputs) = (ClaimKind::Flush, Vec::new());
                begin_append(node, Entry::Claim { claim, inputs });
            }
            Op::Upload => {
                self.upload(world, node);
                node.finish();
            }
            Op::Flush => match (node.claim, node.uploaded) {
                (Some(claim), Some((base, up_to))) if node.state.claims.contains_key(&claim) => {
                    let entry = Entry::Flush {
                        claim,
                        base,
                        up_to,
                        segments: Vec::new(),
                        deletions: Vec::new(),
                    };
                    begin_append(node, entry);
                }
                _ => node.finish(),
            },
            Op::Abort => match node.state.claims.keys().next().copied() {
                Some(claim) => begin_append(node, Entry::Abort { claim }),
                None => node.finish(),
            },
            Op::Manifest => {
                put_manifest(world, node, fault);
                node.finish();
            }
            Op::Truncate => match self.floor(world, &node.state) {
                Some(floor) => {
                    let retained = Vec::new();
                    begin_append(
                        node,
                        Entry::Truncate {
                            floor: Some(floor),
                            retained,
                        },
                    );
                }
                None => node.finish(),
            },
            Op::Delete => begin_advance(node, Why::Sweep),
        }
    }

    fn write_entry(&self, state: &State, batch: u8, inserts: u8) -> Entry {
        let winners = match (
            state.keyed.is_empty(),
            self.is(Mutation::GroupEvaluatedAtOnce),
        ) {
            (false, _) => 0,
            (true, true) => inserts,
            (true, false) => inserts.min(1),
        };
        let keyed = (0..winners).map(|_| KeyedRequest {
            key: Id16(1),
            body: Id16(1),
            rows_upserted: Some(1),
            rows_patched: None,
            rows_deleted: None,
            rows_remaining: false,
            bytes_written: 1,
        });
        Entry::Write(WriteEntry {
            batch: Id16(u128::from(batch)),
            keyed: keyed.collect(),
            schema: None,
        })
    }

    /// What the store's clock says now.
    pub fn date(&self, world: &World) -> Option<Timestamp> {
        Some(Timestamp(i64::from(world.now) * TICK_MS))
    }

    /// Whether a reply of now may stand without an anchor check.
    pub fn is_fresh(&self, world: &World, proof: Proof) -> bool {
        self.scenario.fresh && proof.is_fresh(self.date(world))
    }

    pub fn anchor_holds(&self, world: &World, anchor: Anchor) -> bool {
        match anchor {
            _ if self.is(Mutation::NoAnchor) => true,
            Anchor::Head { slot, nonce } => world
                .slots
                .get(&slot)
                .is_some_and(|found| found.header.nonce == nonce),
            Anchor::NoManifest => self.is(Mutation::EmptyWithoutList) || world.manifests.is_empty(),
        }
    }
}
