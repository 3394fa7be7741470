//! Making an engine of the settings, for a server or for a command that does the work of one.

use std::sync::Arc;

use super::wire::Parts;
use crate::config::{CompactionSettings, Freshness, GcSettings, Settings};
use crate::error::Result;
use crate::lsm::{Policy, Rotation};
use crate::namespace::{Compaction, EngineOptions, GarbageCollection, World, WriteLimits};
use crate::runtime::ComputePool;
use crate::runtime::memory::memory_bytes;

/// The world of an engine: the parts, and threads for its work.
pub(super) fn world(settings: &Settings, parts: &Parts) -> Result<World> {
    let compute = ComputePool::new(settings.compute.threads)?;
    let compute = compute.with_background(settings.compute.background_threads)?;
    Ok(World {
        bucket: Arc::clone(&parts.bucket),
        clock: Arc::clone(&parts.clock),
        entropy: Arc::clone(&parts.entropy),
        compute: Arc::new(compute),
        metrics: Arc::clone(&parts.metrics),
    })
}

fn compaction(settings: &CompactionSettings) -> Compaction {
    Compaction {
        enabled: settings.enabled,
        policy: Policy {
            fan_in: settings.fan_in,
            max_segments: settings.max_segments,
            target_bytes: settings.target_bytes,
            target_rows: settings.target_rows,
            dead_percent: settings.dead_percent,
            dead_rows: settings.dead_rows,
        },
        bytes_per_second: settings.bytes_per_second,
    }
}

fn garbage_collection(settings: &GcSettings) -> GarbageCollection {
    GarbageCollection {
        enabled: settings.enabled,
        interval_ms: settings.interval_ms,
        claim_grace_ms: settings.claim_grace_ms,
        undelete_grace_ms: settings.undelete_grace_ms,
    }
}

/// What the settings say to an engine.
pub(super) fn options(settings: &Settings) -> EngineOptions {
    EngineOptions {
        always_check_anchor: settings.wal.freshness == Freshness::AlwaysCheck,
        tail_slow_bytes: settings.tail.slow_bytes,
        tail_max_bytes: settings.tail.max_bytes,
        node_tail_bytes: settings.tail.node_bytes_of(memory_bytes()),
        flush_bytes: settings.flush.bytes,
        flush_slots: settings.flush.slots,
        flush_age_ms: settings.flush.age_ms,
        rotation: Rotation::default(),
        keep_blocks: settings.flush.keep_blocks,
        history_ms: settings.retention.history_ms,
        claim_patience_ms: settings.flush.claim_patience_ms,
        compaction: compaction(&settings.compaction),
        gc: garbage_collection(&settings.gc),
        open_namespaces_max: settings.background.open_namespaces_max,
        cache_bytes: settings.cache.memory_bytes_of(memory_bytes()),
        max_concurrent_queries: settings.query.max_concurrent,
        query_queue_ms: settings.query.max_queue_ms,
        write_limits: WriteLimits::default(),
    }
}
