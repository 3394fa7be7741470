//! An actor: a script of operations, the state it knows, and how far it has come in the present operation.

use std::collections::BTreeSet;
use std::sync::Arc;

use elacsym::lsm::{DeletionUpdate, Segment, SegmentId};
use elacsym::types::WalSeq;

use super::files::{Gone, Key, Row};
use super::world::Held;

/// One thing an actor does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Op {
    /// Writes and deletes documents.
    Write { puts: u8, deletes: u8 },
    /// Flushes the tail.
    Flush,
    /// Merges what `lsm::pick` says.
    Merge,
    /// Builds the index of the first segment anew.
    Build,
    /// Writes the manifest of the state it knows.
    Manifest,
    /// Ends the oldest active claim, whatever its worker is doing.
    Abort,
    /// Pins the state it knows: its manifest first.
    Pin,
    /// Pins the oldest state that is retained.
    PinRetained,
    /// Lets the oldest pin go.
    Unpin,
    /// Collects garbage.
    Collect,
}

/// A segment that a merge takes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Input {
    pub segment: SegmentId,
    /// The generation of its deletions that is known, and these.
    pub generation: u32,
    pub gone: Gone,
    pub rows: Arc<[Row]>,
}

/// How far an operation has come. Its size does not matter: worlds are few in memory beside their fingerprints.
#[allow(clippy::large_enum_variant)]
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Work {
    /// Not begun.
    Idle,
    /// Claimed, nothing uploaded.
    Claimed(WalSeq),
    /// The rows of a flush are uploaded, its deletions not.
    Rows {
        claim: WalSeq,
        base: WalSeq,
        up_to: WalSeq,
        segments: Vec<Segment>,
        attempt: u32,
    },
    /// All of a flush is uploaded.
    Flush {
        claim: WalSeq,
        base: WalSeq,
        up_to: WalSeq,
        segments: Vec<Segment>,
        deletions: Vec<DeletionUpdate>,
        attempt: u32,
    },
    /// The output of a merge is uploaded, what died meanwhile not.
    Merged {
        claim: WalSeq,
        inputs: Vec<Input>,
        output: Arc<[Row]>,
        attempt: u32,
    },
    /// All of a merge is uploaded.
    Compact {
        claim: WalSeq,
        inputs: Vec<Input>,
        output: Arc<[Row]>,
        attempt: u32,
        segment: Option<Segment>,
    },
    /// A new index is uploaded.
    Built(WalSeq, SegmentId),
    /// The manifest of the state of this sequence is written.
    Pinning(WalSeq),
    /// Has read the newest state to collect by.
    Fresh(Held),
    /// Knows which objects may go, by this state.
    Candidates { of: Held, keys: BTreeSet<Key> },
    /// Has written the manifest of that state.
    Written { of: Held, keys: BTreeSet<Key> },
    /// Has listed the manifests.
    Listed {
        keys: BTreeSet<Key>,
        listed: Vec<u64>,
    },
    /// Has appended a truncation where one was due; these manifests go.
    Dropping {
        keys: BTreeSet<Key>,
        manifests: Vec<u64>,
    },
    /// These objects go.
    Deleting(Vec<Key>),
}

/// An actor.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Actor {
    pub script: Arc<[Op]>,
    pub at: usize,
    pub state: Held,
    pub work: Work,
}

impl Actor {
    pub fn new(script: &[Op], state: Held) -> Self {
        Self {
            script: script.into(),
            at: 0,
            state,
            work: Work::Idle,
        }
    }

    pub fn op(&self) -> Option<Op> {
        self.script.get(self.at).copied()
    }

    /// Ends the present operation.
    pub fn finish(&mut self) {
        self.at += 1;
        self.work = Work::Idle;
    }
}
