//! What a slot says.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::merge::MergeInput;
use super::segment::{DeletionUpdate, IndexUpdate, Segment, SegmentId};
use super::state::Rotation;
use crate::types::sequence::hex16;
use crate::types::{NamespaceSchema, Nonce, SlotName, Timestamp, WalSeq};

/// The facts about a slot that are not its entry: where it lies, whose it is, how large.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SlotHeader {
    /// Its sequence.
    pub seq: WalSeq,
    /// Its place, a function of the state before it.
    pub slot: SlotName,
    /// The nonce of the create request that made it.
    pub nonce: Nonce,
    /// The writer's wall clock: for people, never for decisions.
    pub written_at: Timestamp,
    /// Bytes of the body.
    pub body_bytes: u64,
}

/// A 16-byte id: of a batch, a pin, an idempotency key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Id16(#[serde(with = "hex16")] pub u128);

/// A request inside a write entry that its client may repeat.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct KeyedRequest {
    /// Hash of its `Idempotency-Key`.
    pub key: Id16,
    /// Hash of its body: the same key with another body is refused.
    pub body: Id16,
    /// Rows upserted, if it had upserts.
    pub rows_upserted: Option<u64>,
    /// Rows patched, if it had patches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows_patched: Option<u64>,
    /// Ids deleted, if it had deletes.
    pub rows_deleted: Option<u64>,
    /// Whether its filters matched more rows than it could change.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub rows_remaining: bool,
    /// Logical bytes written.
    pub bytes_written: u64,
}

/// A group of write requests that commit together. The rows lie beside it in the slot.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct WriteEntry {
    /// Lets the writer find its own batch when an anchor did not hold.
    pub batch: Id16,
    /// Requests that asked to be remembered.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keyed: Vec<KeyedRequest>,
    /// The whole schema after this entry, where it grew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<Arc<NamespaceSchema>>,
}

/// Why somebody claims the right to upload objects under a sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClaimKind {
    /// To turn a prefix of the tail into segments.
    Flush,
    /// To upload the parts of one large write.
    Write,
    /// To give one segment a new index file.
    IndexBuild,
    /// To merge segments into fewer, or to leave deleted rows behind.
    Compact,
}

/// What a slot says. Kind numbers are permanent; `format::wal` has the table, with the kinds that are
/// reserved for later versions and refused by this one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Entry {
    /// The first entry of a namespace.
    Init {
        /// When it was created, by its creator's clock.
        created_at_ms: i64,
        /// When its blocks close, where not as usual: its creator decides for all.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rotation: Option<Rotation>,
    },
    /// Documents written and deleted.
    Write(WriteEntry),
    /// Authorises uploads under this entry's sequence, until it is committed or aborted.
    Claim {
        /// What for.
        claim: ClaimKind,
        /// The segments that a merge takes, ascending; none for other work.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        inputs: Vec<SegmentId>,
    },
    /// Ends a claim: a late commit of it is a no-op.
    Abort {
        /// Sequence of the claim.
        claim: WalSeq,
    },
    /// Rows up to `up_to` now live in segments.
    Flush {
        /// Sequence of the claim.
        claim: WalSeq,
        /// The `flushed_seq` it was built on.
        base: WalSeq,
        /// The new `flushed_seq`.
        up_to: WalSeq,
        /// The segments that hold the rows of the range that still lived at `up_to`, if any did.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        segments: Vec<Segment>,
        /// Rows of older segments that entries of the range deleted or superseded.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        deletions: Vec<DeletionUpdate>,
    },
    /// The live rows of some segments now live in others.
    Compact {
        /// Sequence of the claim.
        claim: WalSeq,
        /// The segments that leave: those that the claim named.
        inputs: Vec<MergeInput>,
        /// The segments that come, if any row lived.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        outputs: Vec<Segment>,
    },
    /// A segment has another index file now.
    IndexBuild {
        /// Sequence of the claim.
        claim: WalSeq,
        /// The file, and what it replaces.
        built: Box<IndexUpdate>,
    },
    /// Changes the schema alone.
    Schema {
        /// Lets its writer find it when an anchor did not hold.
        batch: Id16,
        /// The whole schema after this entry.
        schema: Arc<NamespaceSchema>,
    },
    /// Changes settings of the namespace, all at once.
    Configure {
        /// Lets its writer find it when an anchor did not hold.
        batch: Id16,
        /// New values by name; `None` removes one.
        settings: BTreeMap<String, Option<String>>,
    },
    /// Holds a state's objects.
    Pin {
        /// Its id.
        id: Id16,
        /// The state held.
        at: WalSeq,
        /// Who holds it.
        owner: String,
    },
    /// Ends a pin.
    Unpin {
        /// Its id.
        id: Id16,
    },
    /// Blocks up to and including `floor` may be deleted, and manifests older than the newest in `retained` that are
    /// not in it.
    Truncate {
        /// The last block that goes; none where only manifests go.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        floor: Option<u64>,
        /// Manifests that stay.
        retained: Vec<WalSeq>,
    },
    /// Hides the namespace.
    Drop {
        /// Lets its writer find it when an anchor did not hold.
        batch: Id16,
    },
    /// Brings a dropped namespace back.
    Undrop,
    /// Ends a dropped namespace for good.
    Reap,
    /// Raises the format level that readers must know.
    SetLevel {
        /// The level.
        level: u32,
    },
}

impl Entry {
    /// The id by which its writer can find it again, where it has one.
    pub fn batch(&self) -> Option<Id16> {
        match self {
            Self::Write(write) => Some(write.batch),
            Self::Schema { batch, .. } | Self::Configure { batch, .. } | Self::Drop { batch } => {
                Some(*batch)
            }
            Self::Init { .. }
            | Self::Claim { .. }
            | Self::Abort { .. }
            | Self::Flush { .. }
            | Self::Compact { .. }
            | Self::IndexBuild { .. }
            | Self::Pin { .. }
            | Self::Unpin { .. }
            | Self::Truncate { .. }
            | Self::Undrop
            | Self::Reap
            | Self::SetLevel { .. } => None,
        }
    }
}
