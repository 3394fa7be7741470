//! The model: which steps there are, and what each does. Nodes run the machines of `elacsym::lsm`; a
//! mutation changes what is done with them, never the machines.

use std::mem;
use std::sync::Arc;

use elacsym::lsm::entry::{ClaimKind, Id16, KeyedRequest, WriteEntry};
use elacsym::lsm::state::BatchFate;
use elacsym::lsm::{
    Advance, AdvanceEvent, AdvanceStep, Anchor, Append, AppendEvent, AppendStep, Entry, State,
    truncate,
};
use elacsym::types::{Nonce, SlotName, WalSeq};
use stateright::{Model, Property};

use crate::node::{Node, Op, Phase, Why};
use crate::scenario::{Mutation, Scenario};
use crate::world::{Flight, Manifest, Rows, Slot, World, batch_of, header_after, trim};

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

/// For how many ticks after a proof the anchor may be skipped.
const FRESH_TICKS: u8 = 1;

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
    fn is(&self, mutation: Mutation) -> bool {
        self.mutation == Some(mutation)
    }

    fn step(&self, world: &mut World, node: &mut Node, fault: Fault) {
        if node.phase == Phase::Ready {
            self.start(world, node, fault);
        }
        match mem::replace(&mut node.phase, Phase::Ready) {
            Phase::Ready => {}
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
            Op::Read => begin_advance(node, Why::Read(world.acked)),
            Op::ColdRead => {}
            Op::Claim => {
                let claim = ClaimKind::Flush;
                begin_append(node, Entry::Claim { claim });
            }
            Op::Upload => {
                self.upload(world, node);
                node.finish();
            }
            Op::Flush => match (node.claim, node.uploaded) {
                (Some(claim), Some((base, up_to))) if node.state.claims.contains_key(&claim) => {
                    begin_append(node, Entry::Flush { claim, base, up_to });
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
                    begin_append(node, Entry::Truncate { floor, retained });
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
            rows_deleted: None,
            bytes_written: 1,
        });
        Entry::Write(WriteEntry {
            batch: Id16(u128::from(batch)),
            keyed: keyed.collect(),
            schema: None,
        })
    }

    fn upload(&self, world: &mut World, node: &mut Node) {
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

    fn floor(&self, world: &World, current: &State) -> Option<u64> {
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

    fn is_fresh(&self, world: &World, node: &Node) -> bool {
        self.scenario.fresh
            && node
                .proven
                .is_some_and(|proven| world.now - proven <= FRESH_TICKS)
    }

    fn anchor_holds(&self, world: &World, anchor: Anchor) -> bool {
        match anchor {
            _ if self.is(Mutation::NoAnchor) => true,
            Anchor::Head { slot, nonce } => world
                .slots
                .get(&slot)
                .is_some_and(|found| found.header.nonce == nonce),
            Anchor::NoManifest => self.is(Mutation::EmptyWithoutList) || world.manifests.is_empty(),
        }
    }

    fn append(&self, world: &mut World, node: &mut Node, phase: Phase, fault: Fault) {
        let Phase::Append {
            mut machine,
            next,
            entry,
            from,
            mut proven,
        } = phase
        else {
            return;
        };
        let event = match next {
            AppendStep::Create { nonce, .. } => {
                let event = self.create(world, node, &entry, nonce, fault);
                proven = matches!(event, AppendEvent::Created { .. }).then_some(world.now);
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
                        proven = Some(world.now);
                    }
                    let nonce = found.header.nonce;
                    AppendEvent::SlotFound { nonce }
                }
                None => AppendEvent::SlotMissing,
            },
            AppendStep::CheckAnchor(anchor) => {
                if self.is(Mutation::ProofDatedByAnchor) {
                    proven = Some(world.now);
                }
                let opens_block = node.state.next_slot().idx == 0;
                let skipped = self.is(Mutation::AnchorOfNewBlock) && opens_block;
                if skipped || self.anchor_holds(world, anchor) {
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
            AppendStep::Committed(nonce) => self.committed(world, node, &entry, nonce, proven),
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
                    proven,
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
        let fresh = self.is_fresh(world, node);
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

    fn committed(
        &self,
        world: &mut World,
        node: &mut Node,
        entry: &Entry,
        nonce: Nonce,
        proven: Option<u8>,
    ) {
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
        node.proven = proven.or(node.proven);
        node.finish();
    }

    fn advance(&self, world: &mut World, node: &mut Node, phase: Phase) {
        let Phase::Advance {
            mut machine,
            next,
            mut rows,
            why,
            opened,
            mut found,
            mut anchored_early,
            mut proven,
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
                        proven = Some(world.now);
                        let unproven = self.is(Mutation::MissingIsCurrent)
                            || self.is(Mutation::AnchorFirst)
                            || (self.is(Mutation::AdoptUnproven) && found > 0);
                        let fresh = unproven || (opened.is_none() && self.is_fresh(world, node));
                        machine.step(AdvanceEvent::Missing { fresh })
                    }
                }
            }
            AdvanceStep::CheckAnchor(anchor) => {
                if self.is(Mutation::ProofDatedByAnchor) {
                    proven = Some(world.now);
                }
                let anchor = match opened {
                    Some((oldest, _)) => oldest,
                    _ => anchor,
                };
                let event = if self.anchor_holds(world, anchor) {
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
                node.proven = proven;
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
                    proven,
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
                    let grace = if self.is(Mutation::NoGrace) {
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

    fn open(&self, world: &World, node: &mut Node, why: Why, list: bool) {
        node.proven = None;
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

    fn tail(&self, world: &mut World, node: &mut Node, phase: Phase) {
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

    fn delete(&self, world: &mut World, node: &mut Node, last: u64) {
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
        proven: None,
    };
}

fn begin_advance(node: &mut Node, why: Why) {
    let (machine, next) = Advance::begin(State::clone(&node.state));
    node.phase = advancing(machine, next, node.rows.clone(), why, None);
}

fn advancing(
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
        proven: None,
    }
}

/// Goes on from a manifest's state, once the rows below it are read.
fn after_tail(manifest: &Manifest, rows: Rows, why: Why, list: bool) -> Phase {
    let oldest = manifest.state.tail_anchor();
    let listed = list.then_some(manifest.state.seq.0);
    let (machine, next) = Advance::begin(manifest.state.clone());
    advancing(machine, next, rows, why, Some((oldest, listed)))
}

fn put_manifest(world: &mut World, node: &Node, fault: Fault) {
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

/// A manifest that was the newest of a complete list may fail only if a newer one has come.
fn check_reachable(world: &mut World, listed: u64) {
    if world.manifests.keys().next_back() == Some(&listed) {
        world.fail("S4 the newest manifest cannot be opened");
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
