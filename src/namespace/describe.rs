//! What the engine tells about a namespace and about itself: plain values for the edges.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::options::Compaction;
use crate::types::settings::Settings;
use crate::types::{NamespaceName, NamespaceSchema, Timestamp, WalSeq};

/// A namespace's metadata at one state.
#[derive(Debug, Clone)]
pub struct Description {
    /// Its schema.
    pub schema: Arc<NamespaceSchema>,
    /// Live documents.
    pub rows: u64,
    /// Logical bytes of the live documents.
    pub bytes: u64,
    /// Documents not yet in an indexed segment.
    pub unindexed_rows: u64,
    /// Their logical bytes.
    pub unindexed_bytes: u64,
    /// When it was created.
    pub created_at: Timestamp,
    /// When the newest entry was written, by its writer's clock.
    pub last_write_at: Timestamp,
    /// Its settings.
    pub settings: Settings,
    /// The newest sequence.
    pub seq: WalSeq,
}

/// What a namespace is made of at one state.
#[derive(Debug, Clone)]
pub struct Stats {
    /// The state.
    pub seq: WalSeq,
    /// Where flushes have come to.
    pub flushed_seq: WalSeq,
    /// Dimensions of each vector attribute.
    pub dimensions: BTreeMap<String, u32>,
    /// Its segments.
    pub segments: SegmentStats,
    /// Live rows in no segment.
    pub tail_rows: u64,
    /// Their logical bytes.
    pub tail_bytes: u64,
    /// Memory that the tail takes on this node.
    pub tail_memory_bytes: u64,
    /// Blocks of the log from that of the first row in no segment on, and their bytes.
    pub wal_blocks: (u64, u64),
    /// The first block that stays.
    pub floor: u64,
    /// Active claims, and what each is for.
    pub claims: Vec<(WalSeq, &'static str)>,
    /// Logical bytes that wait to be merged.
    pub debt_bytes: u64,
    /// When segments are merged, by this server's settings and the namespace's.
    pub compaction: Compaction,
}

/// What segments hold together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SegmentStats {
    /// How many.
    pub count: u64,
    /// Rows that live.
    pub rows: u64,
    /// Rows that are gone.
    pub deleted_rows: u64,
    /// Bytes of their documents' files.
    pub document_bytes: u64,
    /// Bytes of their index files.
    pub index_bytes: u64,
    /// Logical bytes of all rows.
    pub logical_bytes: u64,
    /// Those of each level.
    pub levels: BTreeMap<u32, LevelStats>,
}

/// The segments of one level: 0 up to 64 KiB, one more each time that one is `fan_in` times as large.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LevelStats {
    /// How many.
    pub segments: u64,
    /// Rows that committed deletions leave.
    pub rows: u64,
    /// About their logical bytes.
    pub logical_bytes: u64,
}

/// One page of namespace names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NamespacePage {
    /// Names in order.
    pub names: Vec<NamespaceName>,
    /// The name after which the next page starts; `None` on the last page.
    pub next_after: Option<NamespaceName>,
}

/// What `/health` shows.
#[derive(Debug, Clone, Default)]
pub struct Health {
    /// Whether the store answered a read just now.
    pub store_ok: bool,
    /// What it said when it did not.
    pub store_error: Option<String>,
    /// What the newest write met, if that was a failure and a probe meets one too.
    pub store_write_error: Option<String>,
    /// The store's URL, without secrets.
    pub store_url: String,
    /// Open namespaces.
    pub namespaces_open: u64,
    /// Rows and bytes in tails.
    pub tail_rows: u64,
    /// Bytes in tails.
    pub tail_bytes: u64,
    /// Commits whose anchor did not hold.
    pub anchor_failures: u64,
    /// Commits whose outcome stayed unknown.
    pub unknown_outcomes: u64,
    /// Manifests found with other bytes than their state has.
    pub divergence_alarms: u64,
    /// Objects that this node found damaged or lost since it started, 1,024 at most.
    pub quarantined_objects: u64,
}
