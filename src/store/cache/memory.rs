//! The blocks that stay in memory, and which of them go first.

use std::fmt;

use bytes::Bytes;
use foyer_memory::{Cache, CacheBuilder, S3FifoConfig};

use super::BlockKey;

/// What keeping one block costs beside its bytes: its record, its place in the index, its allocation.
const ENTRY_OVERHEAD_BYTES: usize = 256;

/// A part has a lock of its own: small enough that readers seldom meet, large enough for a fair choice of
/// what goes.
const SHARD_BYTES_MIN: usize = 64 << 20;

const SHARDS_MAX: usize = 16;

/// Verified blocks, bounded in bytes. What is seen once goes before what is seen twice (S3-FIFO), so that
/// a scan does not empty it.
///
/// Only `get` and `insert` of the crate are used: they run on the caller's thread, with a hash that is the
/// same in every run, so what is kept depends on the calls alone.
pub(super) struct MemoryTier {
    blocks: Cache<BlockKey, Bytes>,
    shard_bytes: usize,
}

impl MemoryTier {
    pub(super) fn new(capacity_bytes: u64) -> Self {
        let capacity = usize::try_from(capacity_bytes).unwrap_or(usize::MAX);
        let n_shards = (capacity / SHARD_BYTES_MIN).clamp(1, SHARDS_MAX);
        let blocks = CacheBuilder::new(capacity)
            .with_name("elacsym")
            .with_shards(n_shards)
            .with_eviction_config(S3FifoConfig::default())
            .with_weighter(|_: &BlockKey, bytes: &Bytes| weight(bytes))
            .build();
        Self {
            blocks,
            shard_bytes: capacity / n_shards,
        }
    }

    pub(super) fn get(&self, key: &BlockKey) -> Option<Bytes> {
        self.blocks.get(key).map(|entry| entry.value().clone())
    }

    /// Whether a block is there; asking changes nothing.
    pub(super) fn contains(&self, key: &BlockKey) -> bool {
        self.blocks.contains(key)
    }

    /// Keeps a block, which must be an allocation of its own: a slice would keep what it was cut from.
    pub(super) fn insert(&self, key: BlockKey, bytes: Bytes) {
        // One that is larger than its part would push out everything and still be above the bound.
        if weight(&bytes) <= self.shard_bytes {
            drop(self.blocks.insert(key, bytes));
        }
    }

    pub(super) fn used_bytes(&self) -> u64 {
        self.blocks.usage() as u64
    }
}

fn weight(bytes: &Bytes) -> usize {
    bytes.len() + ENTRY_OVERHEAD_BYTES
}

impl fmt::Debug for MemoryTier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryTier")
            .field("used_bytes", &self.used_bytes())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(block: u32) -> BlockKey {
        BlockKey { hash: 1, block }
    }

    fn block(of: u8) -> Bytes {
        Bytes::from(vec![of; 64 << 10])
    }

    #[test]
    fn insert_beyond_capacity_keeps_the_bound_and_what_was_read_again() {
        let capacity_bytes = 1 << 20;
        let tier = MemoryTier::new(capacity_bytes);
        tier.insert(key(0), block(0));
        for n in 1..200 {
            assert!(tier.get(&key(0)).is_some(), "lost after {n} blocks");
            tier.insert(key(n), block(n as u8));
            assert!(tier.used_bytes() <= capacity_bytes, "{}", tier.used_bytes());
        }
        let n_kept = (0..200).filter(|n| tier.get(&key(*n)).is_some()).count();
        assert_eq!(n_kept, 15, "as many as fit");
    }

    #[test]
    fn insert_of_a_block_above_the_capacity_keeps_nothing() {
        let tier = MemoryTier::new(64 << 10);
        tier.insert(key(0), block(0));
        assert!(tier.get(&key(0)).is_none());
        assert_eq!(tier.used_bytes(), 0);
    }

    #[test]
    fn same_calls_keep_the_same_blocks() {
        let kept = || {
            let tier = MemoryTier::new(192 << 20);
            for n in 0..6_000 {
                tier.insert(key(n), Bytes::from(vec![0; 60_000]));
                tier.get(&key(n / 3));
            }
            let kept = (0..6_000).filter(|n| tier.get(&key(*n)).is_some());
            kept.collect::<Vec<_>>()
        };
        let first = kept();
        assert!(first.len() > 3_000, "found {}", first.len());
        assert_eq!(first, kept());
    }
}
