//! The modelled object store, and beside it the truth: what the log really says.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use elacsym::lsm::entry::{Id16, SlotHeader};
use elacsym::lsm::{Applied, Entry, State};
use elacsym::types::{Nonce, SlotName, Timestamp};

use crate::node::Node;

/// A set of batches, one bit each.
pub type Batches = u16;

/// The bit of a batch.
pub fn bit(batch: u8) -> Batches {
    1 << batch
}

/// The rows of a node: those in segments and, by sequence, those of the tail.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Rows {
    pub segments: Batches,
    pub tail: Vec<(u64, u8)>,
}

impl Rows {
    pub fn visible(&self) -> Batches {
        self.tail
            .iter()
            .fold(self.segments, |all, (_, batch)| all | bit(*batch))
    }

    /// Follows an entry that a state has applied.
    pub fn apply(&mut self, segments: &Segments, seq: u64, entry: &Entry, applied: Applied) {
        if applied != Applied::Effective {
            return;
        }
        match entry {
            Entry::Write(write) => self.tail.push((seq, batch_of(write.batch))),
            Entry::Flush { claim, up_to, .. } => {
                self.segments |= segments
                    .get(&(claim.0, up_to.0))
                    .copied()
                    .unwrap_or_default();
                self.tail.retain(|(seq, _)| *seq > up_to.0);
            }
            _ => {}
        }
    }
}

/// The batch number in a batch id.
pub fn batch_of(id: Id16) -> u8 {
    u8::try_from(id.0).expect("the model's batch ids are small")
}

/// Rows uploaded under a claim, up to a sequence.
pub type Segments = BTreeMap<(u64, u64), Batches>;

/// A slot object.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Slot {
    pub header: SlotHeader,
    pub entry: Entry,
}

/// A manifest: its state, and the rows that its segments hold.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Manifest {
    pub state: State,
    pub segments: Batches,
}

/// Every state of the real log, by sequence. It follows from the slots ever created, so the newest
/// state and the nonces say enough for a fingerprint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History {
    pub states: Vec<(Arc<State>, Rows)>,
    pub nonces: Vec<Nonce>,
}

impl Hash for History {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.nonces.hash(state);
        self.states.last().hash(state);
    }
}

/// Whatever may still go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Faults {
    /// Creates that execute, and whose reply is lost.
    pub lost: u8,
    /// Creates whose reply is lost and that execute late, or never.
    pub late: u8,
    /// Creates that execute now and once more later.
    pub twice: u8,
    /// Nodes that die.
    pub crashes: u8,
    /// Advisory writes that are lost.
    pub heads: u8,
    /// Ticks of the store's clock.
    pub ticks: u8,
}

/// A create request on its way.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Flight {
    pub slot: Slot,
    /// Whether it has made its slot once already.
    pub again: bool,
}

/// Everything: store, nodes, and what an observer knows.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct World {
    pub slots: BTreeMap<SlotName, Slot>,
    pub manifests: BTreeMap<u64, Arc<Manifest>>,
    pub head: Option<Arc<Manifest>>,
    pub segments: Segments,
    pub flights: Vec<Flight>,
    pub nodes: Vec<Node>,
    pub faults: Faults,
    /// The store's clock.
    pub now: u8,
    /// When each floor was decided, by the store's clock.
    pub floors: Vec<(u64, u8)>,
    /// Batches whose clients were told that they are committed.
    pub acked: Batches,
    pub truth: History,
    /// Claims that ended, committed or aborted.
    pub ended: BTreeSet<u64>,
    pub violation: Option<&'static str>,
}

impl World {
    pub fn new(initial: State) -> Self {
        Self {
            slots: BTreeMap::new(),
            manifests: BTreeMap::new(),
            head: None,
            segments: BTreeMap::new(),
            flights: Vec::new(),
            nodes: Vec::new(),
            faults: Faults::default(),
            now: 0,
            floors: Vec::new(),
            acked: 0,
            truth: History {
                states: vec![(Arc::new(initial), Rows::default())],
                nonces: Vec::new(),
            },
            ended: BTreeSet::new(),
            violation: None,
        }
    }

    pub fn fail(&mut self, violation: &'static str) {
        self.violation.get_or_insert(violation);
    }

    pub fn newest(&self) -> &(Arc<State>, Rows) {
        self.truth
            .states
            .last()
            .expect("the initial state is always there")
    }

    /// The slot of a sequence, while it is there.
    pub fn slot(&self, seq: u64) -> Option<&Slot> {
        self.slots.values().find(|slot| slot.header.seq.0 == seq)
    }

    /// Puts a slot if it is absent; says whether it was.
    pub fn create(&mut self, slot: &Slot, keep_batches: usize) -> bool {
        if self.slots.contains_key(&slot.header.slot) {
            return false;
        }
        self.slots.insert(slot.header.slot, slot.clone());
        if slot.header.slot == self.newest().0.next_slot() {
            self.extend_truth(slot, keep_batches);
        }
        true
    }

    fn extend_truth(&mut self, slot: &Slot, keep_batches: usize) {
        let (state, mut rows) = self.newest().clone();
        let mut next = State::clone(&state);
        let Ok(applied) = next.apply(&slot.header, &slot.entry) else {
            return self.fail("S2 a slot does not follow the log");
        };
        if let Some(batch) = slot.entry.batch()
            && self
                .truth
                .states
                .iter()
                .any(|(_, rows)| rows.visible() & bit(batch_of(batch)) != 0)
        {
            self.fail("S10 a batch is in the log twice");
        }
        if next.keyed.len() > 1 {
            self.fail("S7 two inserts of one id succeeded");
        }
        self.follow_claims(slot, applied);
        rows.apply(&self.segments, slot.header.seq.0, &slot.entry, applied);
        trim(&mut next, keep_batches);
        self.truth.nonces.push(slot.header.nonce);
        self.truth.states.push((Arc::new(next), rows));
    }

    fn follow_claims(&mut self, slot: &Slot, applied: Applied) {
        if applied != Applied::Effective {
            return;
        }
        match &slot.entry {
            Entry::Flush { claim, .. }
            | Entry::Compact { claim, .. }
            | Entry::IndexBuild { claim, .. }
            | Entry::Abort { claim } => {
                let is_first = self.ended.insert(claim.0);
                if !is_first {
                    self.fail("S5 a claim ended twice");
                }
            }
            Entry::Truncate {
                floor: Some(floor), ..
            } => self.floors.push((*floor, self.now)),
            _ => {}
        }
    }

    /// Compares what a node believes with what the log says.
    pub fn check_adopted(&mut self, state: &State, rows: &Rows) {
        let seq = usize::try_from(state.seq.0).expect("sequences are small");
        match self.truth.states.get(seq) {
            Some((real, _)) if **real != *state => self.fail("S2 nodes disagree on the log"),
            Some((_, real)) if real.visible() != rows.visible() => {
                self.fail("S1 a state lacks rows of the log");
            }
            Some(_) => {}
            None => self.fail("S2 a node is ahead of the log"),
        }
    }

    /// Answers a strong read.
    pub fn check_read(&mut self, rows: &Rows, must: Batches) {
        if rows.visible() & must != must {
            self.fail("S3 a strong read lacks an acked write");
        }
    }

    /// Tells a client that its batch is committed.
    pub fn acknowledge(&mut self, batch: u8) {
        if self.newest().1.visible() & bit(batch) == 0 {
            self.fail("S6 a void slot was acknowledged");
        }
        self.acked |= bit(batch);
    }
}

/// Forgets batch ids as the state does, only sooner: the bound is compiled in, and too large for a model.
pub fn trim(state: &mut State, keep: usize) {
    while state.batches.len() > keep {
        state.batches.pop_front();
        state.batches_from = state.batches.front().map_or(state.seq, |(first, _)| *first);
    }
}

/// The header of a slot after `state`.
pub fn header_after(state: &State, entry: &Entry, nonce: Nonce, large: Batches) -> SlotHeader {
    let is_large = entry
        .batch()
        .is_some_and(|batch| large & bit(batch_of(batch)) != 0);
    SlotHeader {
        seq: state.seq.next(),
        slot: state.next_slot(),
        nonce,
        written_at: Timestamp(0),
        body_bytes: if is_large { 100 } else { 1 },
    }
}
