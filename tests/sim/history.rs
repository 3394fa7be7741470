//! What clients asked and heard, in the one order of events: all that the checker may know.

use std::collections::BTreeMap;

use elacsym::types::WalSeq;

/// A document's value; each is written by one request only, so that a read names its writer.
pub(crate) type Written = u64;

/// What a request does to one document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    Put(Written),
    /// If there is none.
    Insert(Written),
    /// If there is none or the present one is lower.
    PutOver(Written, Written),
    /// If there is none or the present one is the second.
    PutFor(Written, Written),
    Delete,
}

impl Change {
    /// What it makes of a document; `None` where its condition does not hold.
    pub(crate) fn of(self, current: Option<Written>) -> Option<Option<Written>> {
        match (self, current) {
            (Self::Put(new), _)
            | (Self::Insert(new) | Self::PutOver(new, _) | Self::PutFor(new, _), None) => {
                Some(Some(new))
            }
            (Self::Delete, _) => Some(None),
            (Self::Insert(_), Some(_)) => None,
            (Self::PutOver(new, limit), Some(old)) => (old < limit).then_some(Some(new)),
            (Self::PutFor(new, wanted), Some(old)) => (old == wanted).then_some(Some(new)),
        }
    }

    pub(crate) fn value(self) -> Option<Written> {
        match self {
            Self::Put(new) | Self::Insert(new) | Self::PutOver(new, _) | Self::PutFor(new, _) => {
                Some(new)
            }
            Self::Delete => None,
        }
    }
}

/// What was heard of one operation on one document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heard {
    /// A strong read found this.
    Read(Option<Written>),
    /// The change was acknowledged; whether its condition held.
    Done { change: Change, applied: bool },
    /// Nobody knows whether the change happened, or will.
    Unknown(Change),
}

/// One operation on one document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Operation {
    /// The number of the event at which it was sent.
    pub(crate) sent: u64,
    /// The number of the event at which its answer came; `u64::MAX` for none.
    pub(crate) answered: u64,
    pub(crate) heard: Heard,
}

/// An acknowledged write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ack {
    pub(crate) seq: WalSeq,
    pub(crate) answered_ms: u64,
    /// Documents and what the request made of them.
    pub(crate) made: Vec<(u64, Option<Written>)>,
}

/// A whole namespace as one read saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) by: String,
    pub(crate) sent_ms: u64,
    pub(crate) as_of: WalSeq,
    /// How stale it may be, milliseconds; `None` for no promise in time.
    pub(crate) staleness_ms: Option<u64>,
    /// The least sequence that was asked for.
    pub(crate) min_seq: WalSeq,
    pub(crate) rows: BTreeMap<u64, Written>,
}

/// The history of one namespace.
#[derive(Debug, Default)]
pub(crate) struct History {
    /// Operations by document.
    pub(crate) operations: BTreeMap<u64, Vec<Operation>>,
    pub(crate) acks: Vec<Ack>,
    pub(crate) seen: Vec<Seen>,
}

impl History {
    pub(crate) fn add(&mut self, document: u64, operation: Operation) {
        self.operations.entry(document).or_default().push(operation);
    }

    /// Changes of a document that may have happened at any sequence.
    pub(crate) fn unknown_changes(&self, document: u64) -> impl Iterator<Item = Change> + '_ {
        let operations = self.operations.get(&document);
        operations
            .into_iter()
            .flatten()
            .filter_map(|operation| match operation.heard {
                Heard::Unknown(change) => Some(change),
                Heard::Read(_) | Heard::Done { .. } => None,
            })
    }
}
