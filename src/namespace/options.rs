//! What an engine may be told, and how much one write may change.

use crate::lsm::{Policy, Rotation};
use crate::types::limits;
use crate::types::settings::Merging;

/// What an engine may be told.
#[derive(Debug, Clone)]
pub struct EngineOptions {
    /// Check the anchor of every commit and probe, also where the store's clock would allow to skip it.
    pub always_check_anchor: bool,
    /// Tail memory of one namespace from which writes are slowed down, bytes.
    pub tail_slow_bytes: u64,
    /// Tail memory of one namespace from which writes are refused, bytes.
    pub tail_max_bytes: u64,
    /// Tail memory of all namespaces from which idle ones are closed, bytes.
    pub node_tail_bytes: u64,
    /// Tail memory of one namespace from which it is flushed, bytes.
    pub flush_bytes: u64,
    /// Slots after the last flush from which a namespace is flushed; 0: by the kind of the store.
    pub flush_slots: u64,
    /// How long after a write a namespace is flushed at the latest, milliseconds.
    pub flush_age_ms: u64,
    /// When blocks of the logs of namespaces that this engine creates close.
    pub rotation: Rotation,
    /// Newest blocks of a log that stay although they are flushed: nodes that lag catch up by them.
    pub keep_blocks: u64,
    /// How long states of the past can be had, milliseconds.
    pub history_ms: u64,
    /// How long another node's claim to flush is respected at first, milliseconds of this node's clock. A
    /// wrong guess wastes that node's work, nothing else.
    pub claim_patience_ms: u64,
    /// When segments are merged.
    pub compaction: Compaction,
    /// When what nothing refers to is deleted.
    pub gc: GarbageCollection,
    /// Open namespaces from which idle ones are closed.
    pub open_namespaces_max: usize,
    /// Memory for blocks and footers of segments, bytes.
    pub cache_bytes: u64,
    /// Queries that run at once.
    pub max_concurrent_queries: usize,
    /// Longest wait of a query for its turn, milliseconds.
    pub query_queue_ms: u64,
    /// What one write may change.
    pub write_limits: WriteLimits,
}

/// When segments are merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compaction {
    /// Whether this node merges without being asked.
    pub enabled: bool,
    /// Which segments.
    pub policy: Policy,
    /// Most bytes that merges of this node read and write a second; 0 for as many as they can.
    pub bytes_per_second: u64,
}

impl Compaction {
    /// What it is for a namespace with these settings.
    pub fn of(self, merging: &Merging) -> Self {
        let Merging {
            enabled,
            max_segments,
            dead_rows,
            dead_percent,
        } = *merging;
        let policy = self.policy;
        Self {
            // A server that is not to merge does not, whatever the namespace wants.
            enabled: self.enabled && enabled.unwrap_or(true),
            policy: Policy {
                max_segments: max_segments.map_or(policy.max_segments, |most| most as usize),
                dead_rows: dead_rows.unwrap_or(policy.dead_rows),
                dead_percent: dead_percent.map_or(policy.dead_percent, u64::from),
                ..policy
            },
            ..self
        }
    }
}

impl Default for Compaction {
    fn default() -> Self {
        Self {
            enabled: true,
            policy: Policy::default(),
            bytes_per_second: 0,
        }
    }
}

/// When what nothing refers to is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GarbageCollection {
    /// Whether this node does so without being asked.
    pub enabled: bool,
    /// How long after something was replaced, and between two passes, milliseconds.
    pub interval_ms: u64,
    /// How long a claim may stand without a file of its being written, by the store's clock, milliseconds. A wrong
    /// guess wastes its worker's work, nothing else.
    pub claim_grace_ms: u64,
    /// How long a dropped namespace can be had back, by the store's clock, milliseconds.
    pub undelete_grace_ms: u64,
}

impl Default for GarbageCollection {
    fn default() -> Self {
        Self {
            enabled: true,
            interval_ms: limits::GC_INTERVAL_MS,
            claim_grace_ms: limits::GC_CLAIM_GRACE_MS,
            undelete_grace_ms: limits::UNDELETE_GRACE_MS,
        }
    }
}

/// How much one write may change of what is stored. Only tests set it lower.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WriteLimits {
    /// Most rows that one `delete_by_filter` deletes.
    pub delete_by_filter_rows: usize,
    /// Most rows that one `patch_by_filter` patches.
    pub patch_by_filter_rows: usize,
    /// Most bytes of stored documents that a group patches or looks at, and of what one by-filter write
    /// changes.
    pub stored_bytes: u64,
}

impl Default for WriteLimits {
    fn default() -> Self {
        Self {
            delete_by_filter_rows: limits::DELETE_BY_FILTER_ROWS_MAX,
            patch_by_filter_rows: limits::PATCH_BY_FILTER_ROWS_MAX,
            stored_bytes: limits::STORED_DOCUMENTS_BYTES_MAX,
        }
    }
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            always_check_anchor: false,
            tail_slow_bytes: limits::TAIL_BYTES_SLOW,
            tail_max_bytes: limits::TAIL_BYTES_MAX,
            node_tail_bytes: 4 * limits::TAIL_BYTES_MAX,
            flush_bytes: limits::FLUSH_BYTES,
            flush_slots: 0,
            flush_age_ms: limits::FLUSH_AGE_MS,
            rotation: Rotation::default(),
            keep_blocks: limits::KEEP_BLOCKS,
            history_ms: limits::HISTORY_MS,
            claim_patience_ms: limits::CLAIM_PATIENCE_MS,
            compaction: Compaction::default(),
            gc: GarbageCollection::default(),
            open_namespaces_max: limits::OPEN_NAMESPACES_MAX,
            cache_bytes: limits::TAIL_BYTES_MAX,
            max_concurrent_queries: 64,
            query_queue_ms: 800,
            write_limits: WriteLimits::default(),
        }
    }
}
