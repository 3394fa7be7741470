//! A node: a script of operations, what it believes, and where it is in the present operation.

use std::sync::Arc;

use elacsym::lsm::{
    Advance, AdvanceStep, Anchor, Append, AppendStep, Entry, Probe, ProbeStep, State,
};
use elacsym::types::{Nonce, Timestamp, WalSeq};
use elacsym::wal::Proof;

use crate::world::{Batches, Manifest, Rows};

/// One thing a node does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Op {
    /// Writes a batch, with so many conditional inserts of one id in it.
    Write { batch: u8, inserts: u8 },
    /// A strong read.
    Read,
    /// A strong read by a node that has to open first, from the advisory head if there is one.
    ColdRead,
    /// Claims a flush.
    Claim,
    /// Uploads the segment of the claim.
    Upload,
    /// Commits what was uploaded.
    Flush,
    /// Ends the oldest active claim.
    Abort,
    /// Writes the manifest of the present state.
    Manifest,
    /// Appends the truncation that the manifests allow.
    Truncate,
    /// Deletes what a truncation released.
    Delete,
}

/// Why a node catches up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Why {
    /// To answer a read that must contain these.
    Read(Batches),
    /// To append again.
    Retry,
    /// To find out whether its batch was committed, at or after this sequence.
    LookUp(WalSeq),
    /// To know what may be deleted.
    Sweep,
}

/// Where a node is. Its size does not matter: worlds are few in memory beside their fingerprints.
#[allow(clippy::large_enum_variant)]
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Between operations.
    Ready,
    /// Appending.
    Append {
        machine: Append,
        next: AppendStep,
        entry: Entry,
        from: WalSeq,
        /// The store's clock when it said `Created`.
        created_at: Option<Timestamp>,
    },
    /// Asking whether the state is still the newest.
    Probe {
        machine: Probe,
        next: ProbeStep,
        /// What the read must contain.
        must: Batches,
        anchored_early: bool,
        /// The store's clock when it said that there is no slot.
        missing_at: Option<Timestamp>,
    },
    /// Catching up.
    Advance {
        machine: Advance,
        next: AdvanceStep,
        rows: Rows,
        why: Why,
        /// The anchor of the oldest slot read, where the node is opening.
        opened: Option<(Anchor, Option<u64>)>,
        found: u8,
        anchored_early: bool,
        /// The store's clock when it said that there is no slot.
        missing_at: Option<Timestamp>,
    },
    /// Has to open: from the head, or from the newest manifest of the list.
    Open { why: Why, list: bool },
    /// Reads the tail below a manifest, from this sequence.
    Tail {
        manifest: Arc<Manifest>,
        at: u64,
        rows: Rows,
        why: Why,
        list: bool,
    },
    /// Deletes blocks up to and including this one.
    Delete { last: u64 },
}

/// A node.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Node {
    pub script: Arc<[Op]>,
    /// The next operation of the script.
    pub at: usize,
    pub id: u8,
    pub state: Arc<State>,
    pub rows: Rows,
    pub phase: Phase,
    pub nonces: u8,
    /// The last anchored proof of the state or of one before it.
    pub proof: Proof,
    pub claim: Option<WalSeq>,
    /// `base` and `up_to` of what was uploaded.
    pub uploaded: Option<(WalSeq, WalSeq)>,
    /// Whether the node must open before its next operation.
    pub closed: bool,
    /// The entry of a truncation that lost its slot: it is not computed again.
    pub truncation: Option<Entry>,
}

impl Node {
    /// A node that knows `state`.
    pub fn new(id: u8, script: &[Op], state: Arc<State>, rows: Rows) -> Self {
        Self {
            script: script.into(),
            at: 0,
            id,
            state,
            rows,
            phase: Phase::Ready,
            nonces: 0,
            proof: Proof::default(),
            claim: None,
            uploaded: None,
            closed: false,
            truncation: None,
        }
    }

    pub fn op(&self) -> Option<Op> {
        self.script.get(self.at).copied()
    }

    /// A nonce that nobody ever had.
    pub fn fresh_nonce(&mut self) -> Nonce {
        self.nonces += 1;
        Nonce(u128::from(self.id) * 100 + u128::from(self.nonces))
    }

    /// Ends the present operation.
    pub fn finish(&mut self) {
        self.at += 1;
        self.phase = Phase::Ready;
        self.truncation = None;
    }
}
