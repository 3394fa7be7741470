//! State n: what slots 1..n mean. `apply` is the whole protocol's rules and nothing else.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::entry::{ClaimKind, Entry, Id16, KeyedRequest, SlotHeader};
use super::invariant;
use super::segment::{DeletionUpdate, IndexUpdate, Segment, SegmentId};
use super::settings;
use crate::error::{Error, Result};
use crate::types::settings::Settings;
use crate::types::{NamespaceSchema, Nonce, ObjectRef, SlotName, Timestamp, WalSeq, limits};

/// When a block is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Rotation {
    /// Slots of a block.
    pub slots_max: u32,
    /// Body bytes after which a block is closed.
    pub bytes_max: u64,
}

impl Default for Rotation {
    fn default() -> Self {
        Self {
            slots_max: limits::BLOCK_SLOTS_MAX,
            bytes_max: limits::BLOCK_BYTES_MAX,
        }
    }
}

/// A block of the log, from that of the first unflushed slot to the present one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Block {
    /// Its number.
    pub number: u64,
    /// The sequence of its head.
    pub first_seq: WalSeq,
    /// The nonce of its head.
    pub head_nonce: Nonce,
    /// Its slots so far.
    pub slots: u32,
    /// Its body bytes so far.
    pub bytes: u64,
}

/// A hold on a state.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PinState {
    /// The state held.
    pub at: WalSeq,
    /// Who holds it.
    pub owner: String,
}

/// Where a namespace is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Life {
    /// Serves.
    #[default]
    Live,
    /// Hidden; may come back.
    Dropped,
    /// Gone for good.
    Reaped,
}

/// What the slots up to `seq` mean.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// The last slot applied; 0 before the first.
    pub seq: WalSeq,
    /// The format level its readers must know.
    pub level: u32,
    /// When blocks close.
    pub rotation: Rotation,
    /// When it was created, by its creator's clock.
    pub created_at: Timestamp,
    /// The newest entry's writer's clock: for people.
    pub written_at: Timestamp,
    /// Where it is in its life.
    pub life: Life,
    /// The schema.
    pub schema: Arc<NamespaceSchema>,
    /// Settings of the namespace.
    pub config: BTreeMap<String, String>,
    /// Rows up to here live in segments.
    pub flushed_seq: WalSeq,
    /// Live segments, ascending by id.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub segments: Vec<Arc<Segment>>,
    /// Blocks from that of `flushed_seq + 1` to the present one; empty only before the first slot.
    pub blocks: Vec<Block>,
    /// Active claims by sequence.
    pub claims: BTreeMap<WalSeq, ClaimKind>,
    /// The segments that active claims to merge take, each of them in one.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub merging: BTreeMap<WalSeq, Vec<SegmentId>>,
    /// Pins by id.
    pub pins: BTreeMap<Id16, PinState>,
    /// Manifests that stay, besides the newest two.
    pub retained: BTreeSet<WalSeq>,
    /// Blocks below this number may be gone. Only rises.
    pub floor: u64,
    /// Ids of the batches of the newest entries that have one, oldest first.
    pub batches: VecDeque<(WalSeq, Id16)>,
    /// Every entry from here on that has a batch id is in `batches`.
    pub batches_from: WalSeq,
    /// Requests whose clients may repeat them, oldest first.
    pub keyed: VecDeque<(WalSeq, KeyedRequest)>,
}

/// What applying an entry did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Applied {
    /// The entry took effect.
    Effective,
    /// The entry is in the log, and means nothing: a late or lost commit.
    NoOp(&'static str),
}

/// What proves that no slot after a state has been deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Anchor {
    /// This block head must still carry this nonce.
    Head {
        /// The head.
        slot: SlotName,
        /// Its nonce when it was applied.
        nonce: Nonce,
    },
    /// No slot is known: there must be no manifest, since a truncated log always has one.
    NoManifest,
}

impl State {
    /// The state before the first slot.
    pub fn initial(rotation: Rotation) -> Self {
        Self {
            seq: WalSeq(0),
            level: 1,
            rotation,
            created_at: Timestamp(0),
            written_at: Timestamp(0),
            life: Life::Live,
            schema: Arc::default(),
            config: BTreeMap::new(),
            flushed_seq: WalSeq(0),
            segments: Vec::new(),
            blocks: Vec::new(),
            claims: BTreeMap::new(),
            merging: BTreeMap::new(),
            pins: BTreeMap::new(),
            retained: BTreeSet::new(),
            floor: 0,
            batches: VecDeque::new(),
            batches_from: WalSeq(1),
            keyed: VecDeque::new(),
        }
    }

    /// The place of slot `seq + 1`: every node derives the same one.
    pub fn next_slot(&self) -> SlotName {
        match self.blocks.last() {
            None => SlotName { block: 0, idx: 0 },
            Some(block) if self.is_full(block) => SlotName {
                block: block.number.saturating_add(1),
                idx: 0,
            },
            Some(block) => SlotName {
                block: block.number,
                idx: block.slots,
            },
        }
    }

    fn is_full(&self, block: &Block) -> bool {
        block.slots >= self.rotation.slots_max || block.bytes >= self.rotation.bytes_max
    }

    /// What must still hold, checked after a create or after the reads, for slots after this state to
    /// be genuine: the head of the block of *this* state, never of the next slot's.
    pub fn anchor(&self) -> Anchor {
        self.blocks
            .last()
            .map_or(Anchor::NoManifest, anchor_of_block)
    }

    /// The anchor for rows read from the log below this state: the head of the oldest block read.
    pub fn tail_anchor(&self) -> Anchor {
        self.blocks
            .first()
            .map_or(Anchor::NoManifest, anchor_of_block)
    }

    /// Where slot `seq` lies, for slots that the block table covers.
    pub fn slot_of(&self, seq: WalSeq) -> Option<SlotName> {
        let block = self
            .blocks
            .iter()
            .rev()
            .find(|block| block.first_seq <= seq)?;
        let idx = u32::try_from(seq.0 - block.first_seq.0).ok()?;
        (idx < block.slots).then_some(SlotName {
            block: block.number,
            idx,
        })
    }

    /// All objects that it refers to.
    pub fn objects(&self) -> impl Iterator<Item = &ObjectRef> {
        self.segments.iter().flat_map(|segment| segment.objects())
    }

    /// Its settings.
    pub fn settings(&self) -> Settings {
        settings::of_config(&self.config)
    }

    /// Whether a batch is known to be committed, known not to be at or after `from`, or beyond memory.
    pub fn find_batch(&self, id: Id16, from: WalSeq) -> BatchFate {
        if let Some((seq, _)) = self.batches.iter().rev().find(|(_, batch)| *batch == id) {
            BatchFate::Committed(*seq)
        } else if self.batches_from <= from {
            BatchFate::Absent
        } else {
            BatchFate::Forgotten
        }
    }

    /// Applies the entry of slot `seq + 1`.
    ///
    /// Errors: `Corrupted` if the slot is not the next one, or breaks a rule; the state must be discarded then.
    pub fn apply(&mut self, header: &SlotHeader, entry: &Entry) -> Result<Applied> {
        let expected = (self.seq.next(), self.next_slot());
        if (header.seq, header.slot) != expected {
            return Err(Error::corrupted(format!(
                "log slot out of place: expected seq {} at {}, found seq {} at {}",
                expected.0, expected.1, header.seq, header.slot
            )));
        }
        let before = self.clone_for_check();
        self.advance_position(header);
        let applied = self.apply_entry(header, entry);
        self.remember_batch(header.seq, entry);
        if let Err(violation) = invariant::check(self, before.as_ref()) {
            debug_assert!(false, "{violation}");
            return Err(Error::corrupted(violation));
        }
        Ok(applied)
    }

    /// Transitions are compared with the state before only where tests and models look.
    fn clone_for_check(&self) -> Option<Self> {
        cfg!(debug_assertions).then(|| self.clone())
    }

    fn advance_position(&mut self, header: &SlotHeader) {
        let opens_block = header.slot.idx == 0;
        if opens_block {
            self.blocks.push(Block {
                number: header.slot.block,
                first_seq: header.seq,
                head_nonce: header.nonce,
                slots: 0,
                bytes: 0,
            });
        }
        if let Some(block) = self.blocks.last_mut() {
            block.slots = block.slots.saturating_add(1);
            block.bytes = block.bytes.saturating_add(header.body_bytes);
        }
        self.seq = header.seq;
        self.written_at = header.written_at;
    }

    fn apply_entry(&mut self, header: &SlotHeader, entry: &Entry) -> Applied {
        if self.life == Life::Reaped {
            return Applied::NoOp("the namespace is gone");
        }
        match entry {
            Entry::Init {
                created_at_ms,
                rotation,
            } => self.apply_init(header, *created_at_ms, *rotation),
            Entry::Write(write) => {
                if self.life != Life::Live {
                    return Applied::NoOp("the namespace is dropped");
                }
                if self.settings().read_only {
                    return Applied::NoOp("the namespace is read-only");
                }
                if let Some(schema) = &write.schema {
                    self.schema = Arc::clone(schema);
                }
                self.remember_keyed(header.seq, &write.keyed);
                Applied::Effective
            }
            Entry::Claim { claim, inputs } => self.apply_claim(header.seq, *claim, inputs),
            Entry::Abort { claim } => match self.end_claim(*claim) {
                Some(_) => Applied::Effective,
                None => Applied::NoOp("the claim is not active"),
            },
            Entry::Flush {
                claim,
                base,
                up_to,
                segments,
                deletions,
            } => self.apply_flush(*claim, *base, *up_to, segments, deletions),
            Entry::Compact {
                claim,
                inputs,
                outputs,
            } => self.apply_compact(*claim, inputs, outputs),
            Entry::IndexBuild { claim, built } => self.apply_build(*claim, built),
            Entry::Schema { schema, .. } => {
                if self.life != Life::Live {
                    return Applied::NoOp("the namespace is dropped");
                }
                if self.settings().read_only {
                    return Applied::NoOp("the namespace is read-only");
                }
                self.schema = Arc::clone(schema);
                Applied::Effective
            }
            Entry::Configure { settings, .. } => self.apply_configure(settings),
            Entry::Pin { id, at, owner } => self.apply_pin(header, *id, *at, owner),
            Entry::Unpin { id } => match self.pins.remove(id) {
                Some(_) => Applied::Effective,
                None => Applied::NoOp("there is no such pin"),
            },
            Entry::Truncate { floor, retained } => self.apply_truncate(*floor, retained),
            Entry::Drop { .. } => self.change_life(Life::Live, Life::Dropped),
            Entry::Undrop => self.change_life(Life::Dropped, Life::Live),
            Entry::Reap => self.change_life(Life::Dropped, Life::Reaped),
            Entry::SetLevel { level } => {
                self.level = self.level.max(*level);
                Applied::Effective
            }
        }
    }

    fn apply_init(
        &mut self,
        header: &SlotHeader,
        created_at_ms: i64,
        rotation: Option<Rotation>,
    ) -> Applied {
        if header.seq != WalSeq(1) {
            return Applied::NoOp("the namespace has begun already");
        }
        self.created_at = Timestamp(created_at_ms);
        self.rotation = rotation.unwrap_or(self.rotation);
        Applied::Effective
    }

    fn apply_configure(&mut self, settings: &BTreeMap<String, Option<String>>) -> Applied {
        if self.life != Life::Live {
            return Applied::NoOp("the namespace is dropped");
        }
        for (name, value) in settings {
            match value {
                Some(value) => self.config.insert(name.clone(), value.clone()),
                None => self.config.remove(name),
            };
        }
        Applied::Effective
    }

    /// Ends a claim; gives what it was for, if it was active.
    pub(super) fn end_claim(&mut self, claim: WalSeq) -> Option<ClaimKind> {
        self.merging.remove(&claim);
        self.claims.remove(&claim)
    }

    /// A flush that lost its claim or its base is a no-op, and its claim stays active, so that the
    /// flusher may rebase and try again under it.
    fn apply_flush(
        &mut self,
        claim: WalSeq,
        base: WalSeq,
        up_to: WalSeq,
        segments: &[Segment],
        deletions: &[DeletionUpdate],
    ) -> Applied {
        if self.claims.get(&claim) != Some(&ClaimKind::Flush) {
            return Applied::NoOp("the claim is not active");
        }
        if base != self.flushed_seq {
            return Applied::NoOp("another flush came first");
        }
        // The entry itself sits at `seq`: it can only cover rows that lie before it.
        if up_to <= self.flushed_seq || up_to >= self.seq {
            return Applied::NoOp("the flushed range does not lie in the tail");
        }
        let in_order = segments.windows(2).all(|pair| pair[0].id < pair[1].id);
        if !in_order || segments.iter().any(|segment| segment.id.claim != claim) {
            return Applied::NoOp("the segments are not the claim's own");
        }
        let Some(changed) = self.with_deletions(deletions) else {
            return Applied::NoOp("the deletions of a segment have changed");
        };
        self.segments = changed;
        self.segments.extend(segments.iter().cloned().map(Arc::new));
        self.segments.sort_unstable_by_key(|segment| segment.id);
        self.end_claim(claim);
        self.flushed_seq = up_to;
        let first_needed = self
            .blocks
            .iter()
            .rposition(|block| block.first_seq <= up_to.next())
            .unwrap_or(0);
        self.blocks.drain(..first_needed);
        Applied::Effective
    }

    /// The live segments with their deletions updated; `None` where one is gone or has changed.
    fn with_deletions(&self, updates: &[DeletionUpdate]) -> Option<Vec<Arc<Segment>>> {
        let mut segments = self.segments.clone();
        for update in updates {
            let at = self.segment_at(update.segment)?;
            let segment = Arc::make_mut(segments.get_mut(at)?);
            if segment.deletions.generation != update.base {
                return None;
            }
            segment.deletions.generation = update.base.checked_add(1)?;
            segment.deletions.rows = update.rows;
            segment.deletions.bitmap = update.bitmap.clone();
        }
        Some(segments)
    }

    /// Rows stay as they are, so that deletions of the segment may change meanwhile; an index file that came first
    /// makes this one a no-op.
    fn apply_build(&mut self, claim: WalSeq, built: &IndexUpdate) -> Applied {
        if self.claims.get(&claim) != Some(&ClaimKind::IndexBuild) {
            return Applied::NoOp("the claim is not active");
        }
        let at = self.segment_at(built.segment);
        let Some(live) = at.and_then(|at| self.segments.get_mut(at)) else {
            return Applied::NoOp("the segment does not live");
        };
        if live.index.path != built.base {
            return Applied::NoOp("the segment has another index by now");
        }
        let segment = Arc::make_mut(live);
        segment.index = built.index.clone();
        segment.footer = built.footer;
        segment.stats = built.stats.clone();
        segment.unindexed.clone_from(&built.unindexed);
        self.end_claim(claim);
        Applied::Effective
    }

    fn segment_at(&self, id: SegmentId) -> Option<usize> {
        self.segments
            .binary_search_by_key(&id, |segment| segment.id)
            .ok()
    }

    /// A live segment.
    pub fn segment(&self, id: SegmentId) -> Option<&Arc<Segment>> {
        self.segments.get(self.segment_at(id)?)
    }

    /// A state can be pinned only while its objects surely live: the state just before this entry, a
    /// retained one, or one that is pinned already.
    fn apply_pin(&mut self, header: &SlotHeader, id: Id16, at: WalSeq, owner: &str) -> Applied {
        let held = at.next() == header.seq
            || self.retained.contains(&at)
            || self.pins.values().any(|pin| pin.at == at);
        if !held || self.pins.contains_key(&id) {
            return Applied::NoOp("the state is not retained");
        }
        let owner = owner.to_owned();
        self.pins.insert(id, PinState { at, owner });
        Applied::Effective
    }

    fn apply_truncate(&mut self, floor: Option<u64>, retained: &[WalSeq]) -> Applied {
        let oldest_needed = self.blocks.first().map_or(0, |block| block.number);
        if floor.is_some_and(|floor| floor >= oldest_needed) {
            return Applied::NoOp("the blocks are still needed");
        }
        // What was given up once stays given up, whoever lists it again: its manifest may be gone.
        let may_stay = |seq: &WalSeq| *seq < self.seq && self.retains(*seq);
        let retained: BTreeSet<WalSeq> = retained.iter().copied().filter(may_stay).collect();
        if retained.last() < self.retained.last() {
            return Applied::NoOp("a newer truncation came first");
        }
        // `floor` names the last block that goes; the state keeps the first that stays. It only rises:
        // a stale truncation is harmless.
        if let Some(floor) = floor {
            self.floor = self.floor.max(floor.saturating_add(1));
        }
        self.retained = retained;
        Applied::Effective
    }

    /// Whether no truncation has given up the manifest of the state at `seq`.
    pub fn retains(&self, seq: WalSeq) -> bool {
        let newest = self.retained.last();
        newest.is_none_or(|newest| seq > *newest) || self.retained.contains(&seq)
    }

    /// Whether the manifest of the state at `seq` may be deleted: no state to come retains it, or can pin it.
    pub fn has_given_up(&self, seq: WalSeq) -> bool {
        !self.retains(seq) && !self.pins.values().any(|pin| pin.at == seq)
    }

    fn change_life(&mut self, from: Life, to: Life) -> Applied {
        if self.life != from {
            return Applied::NoOp("the namespace is not in the state this changes");
        }
        self.life = to;
        Applied::Effective
    }

    fn remember_batch(&mut self, seq: WalSeq, entry: &Entry) {
        let Some(batch) = entry.batch() else { return };
        self.batches.push_back((seq, batch));
        while self.batches.len() > limits::BATCH_IDS_KEPT {
            self.batches.pop_front();
            self.batches_from = self.batches.front().map_or(seq, |(first, _)| *first);
        }
    }

    fn remember_keyed(&mut self, seq: WalSeq, keyed: &[KeyedRequest]) {
        self.keyed
            .extend(keyed.iter().map(|request| (seq, request.clone())));
        let surplus = self.keyed.len().saturating_sub(limits::KEYED_REQUESTS_KEPT);
        self.keyed.drain(..surplus);
    }
}

fn anchor_of_block(block: &Block) -> Anchor {
    Anchor::Head {
        slot: SlotName {
            block: block.number,
            idx: 0,
        },
        nonce: block.head_nonce,
    }
}

/// What a state knows of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BatchFate {
    /// It is in the log, at this sequence.
    Committed(WalSeq),
    /// It is certainly not in the log.
    Absent,
    /// The state does not remember far enough back to tell.
    Forgotten,
}
