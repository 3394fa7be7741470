//! Segment files in memory: verified blocks of 64 KiB, fetched once however many ask, and what was decoded
//! from them.
//!
//! Owns: which blocks are kept, which requests are made for the others, the proof of each block against
//! its file's checksums. Must not know: what a file holds, where its checksums stand, when it is deleted.
//! Read [`BlockCache::read`] first, then `coalesce.rs`, `flight.rs` and `fetch.rs`; `share.rs` for what a
//! scan may keep.
//!
//! Starts no task and no thread and reads no clock: a fetch is driven by the readers that wait for it, so
//! the same calls in the same order make the same requests in the same order.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::try_join_all;
use tokio::sync::Semaphore;

use super::Bucket;
use crate::error::Result;
use crate::runtime::MemoryBudget;
use crate::telemetry::metrics::CacheMetrics;
use crate::types::limits;

mod assemble;
pub mod coalesce;
mod decoded;
mod fetch;
mod flight;
mod memory;
mod share;
#[cfg(test)]
#[allow(clippy::single_range_in_vec_init, reason = "one range is asked for")]
mod tests;

use decoded::Decoded;
use flight::Flights;
use memory::MemoryTier;

pub use share::{Purpose, ScanShare};

/// A file of a segment as the cache sees it: immutable, named by its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CachedFile {
    /// Its key in the bucket.
    pub path: Arc<str>,
    /// The bytes from 0 that `sums` covers; what lies behind them cannot be read here.
    pub bytes: u64,
    /// xxh3-128 of the whole object: what its blocks are kept under.
    pub hash: u128,
    /// crc32c of each block of [`limits::FILE_BLOCK_BYTES`], the last one shorter.
    pub sums: Arc<[u32]>,
}

/// Whether blocks that had to be fetched stay in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// They stay, and push others out.
    Keep,
    /// They do not, unless somebody else who waits for them wants them kept.
    PassBy,
}

/// The bounds of a cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheLimits {
    /// Memory for blocks that stay, bytes, what it costs to keep them included.
    pub capacity_bytes: u64,
    /// Memory for decoded values that stay, bytes; or for one that is larger.
    pub decoded_bytes: u64,
    /// Memory for what filters were found to select, bytes; nothing of more than a quarter of it stays.
    pub selected_bytes: u64,
    /// What one scan may bring into the blocks that stay, bytes.
    pub scan_bytes: u64,
    /// Memory for requests that are under way, bytes; at least two of the largest request.
    pub in_flight_bytes: u64,
    /// Requests under way at once, at least 1.
    pub in_flight_gets: usize,
    /// Longest wait of a request for its turn and for memory, milliseconds each.
    pub wait_ms: u64,
}

impl CacheLimits {
    /// The bounds for `total_bytes` that stay: three sixteenths are for decoded values, one for what filters select, the
    /// rest for blocks, and half of those for one scan. Requests under way get a quarter on top, from 32 MiB to 256 MiB.
    pub fn of_total(total_bytes: u64) -> Self {
        let selected_bytes = total_bytes / 16;
        let decoded_bytes = 3 * selected_bytes;
        let capacity_bytes = total_bytes - decoded_bytes - selected_bytes;
        Self {
            capacity_bytes,
            decoded_bytes,
            selected_bytes,
            scan_bytes: capacity_bytes / 2,
            in_flight_bytes: (total_bytes / 4).clamp(32 << 20, 256 << 20),
            in_flight_gets: limits::CACHE_GETS_MAX,
            wait_ms: 30_000,
        }
    }
}

/// The blocks of all files of one bucket. Cloning shares them.
#[derive(Clone)]
pub struct BlockCache(Arc<Inner>);

/// What a fetch needs of the cache.
struct Inner {
    bucket: Arc<dyn Bucket>,
    memory: MemoryTier,
    decoded: Decoded,
    selected: Decoded,
    selected_bytes_max: u64,
    scan_bytes: u64,
    flights: Flights,
    gets: Arc<Semaphore>,
    budget: MemoryBudget,
    wait_ms: u64,
    metrics: CacheMetrics,
}

/// A block of a file's content, wherever the file lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct BlockKey {
    hash: u128,
    block: u32,
}

impl BlockCache {
    /// Makes an empty cache in front of a bucket.
    pub fn new(bucket: Arc<dyn Bucket>, limits: CacheLimits, metrics: CacheMetrics) -> Self {
        let least_bytes = 2 * limits::CACHE_GET_BYTES_MAX;
        Self(Arc::new(Inner {
            bucket,
            memory: MemoryTier::new(limits.capacity_bytes),
            decoded: Decoded::new(limits.decoded_bytes),
            selected: Decoded::new(limits.selected_bytes),
            selected_bytes_max: limits.selected_bytes / 4,
            scan_bytes: limits.scan_bytes,
            flights: Flights::default(),
            gets: Arc::new(Semaphore::new(limits.in_flight_gets.max(1))),
            budget: MemoryBudget::new(
                "block reads",
                limits.in_flight_bytes.max(least_bytes),
                limits.wait_ms,
            ),
            wait_ms: limits.wait_ms,
            metrics,
        }))
    }

    /// Reads byte ranges of a file, in the order asked; each is proved by the checksums of its blocks.
    ///
    /// Blocks in memory are used, blocks that somebody fetches right now are waited for, the others are
    /// fetched: neighbours in one request ([`coalesce`]). A block that does not match its checksum is
    /// fetched once more.
    ///
    /// Requests are counted for the caller whose read began them (`store::count`). Several callers may
    /// share a request, and then share its error.
    ///
    /// Errors: `Corrupted` where a block is wrong twice, or where `file` or a range makes no sense;
    /// `Unavailable` with code `object_missing` where the object is gone (refresh the state and look
    /// again), `store_unavailable` where the store fails, `unavailable` where no memory came free;
    /// `TooLarge` for more than [`limits::CACHE_READ_BYTES_MAX`] at once.
    ///
    /// Cancel safe: other readers of the same blocks go on with the requests that this one began. Poll it
    /// to its end or drop it: one that is kept without being polled may hold the turn of a request.
    pub async fn read(
        &self,
        file: &CachedFile,
        ranges: &[Range<u64>],
        admission: Admission,
    ) -> Result<Vec<Bytes>> {
        let found = self.read_blocks(file, ranges, admission).await?;
        assemble::cut(file, ranges, &found)
    }

    /// Reads the blocks that byte ranges of a file touch, whole, by their numbers; nothing is copied.
    ///
    /// Errors and cancel safety: as [`BlockCache::read`].
    pub async fn read_blocks(
        &self,
        file: &CachedFile,
        ranges: &[Range<u64>],
        admission: Admission,
    ) -> Result<BTreeMap<u32, Bytes>> {
        let wanted = assemble::wanted_blocks(file, ranges)?;
        let mut found = BTreeMap::new();
        let mut absent = Vec::new();
        for block in wanted {
            match self.0.memory.get(&file.key(block)) {
                Some(bytes) => {
                    found.insert(block, bytes);
                }
                None => absent.push(block),
            }
        }
        if absent.is_empty() {
            self.0.metrics.observe_read(found.len(), 0, 0);
        } else {
            let waits = flight::join_or_start(&self.0, file, &absent, admission, &mut found);
            let pieces = try_join_all(waits).await;
            for piece in pieces.map_err(|error| error.duplicate())? {
                found.extend(piece.iter().cloned());
            }
        }
        Ok(found)
    }

    /// Bytes of the blocks that ranges of a file touch and that are not in memory.
    ///
    /// Errors: `Corrupted` and `TooLarge` as of [`BlockCache::read`].
    pub fn absent_bytes(&self, file: &CachedFile, ranges: &[Range<u64>]) -> Result<u64> {
        let wanted = assemble::wanted_blocks(file, ranges)?.into_iter();
        let absent = wanted.filter(|block| !self.0.memory.contains(&file.key(*block)));
        let bytes = absent.map(|block| file.range_of(&(block..block + 1)));
        Ok(bytes.map(|range| range.end - range.start).sum())
    }

    /// What one query's scan may bring in, bytes: the rest is for the blocks of others, whatever it reads.
    pub fn scan_bytes(&self) -> u64 {
        self.0.scan_bytes
    }

    /// Gives what was decoded from the object at `path` and kept.
    pub fn decoded<T: Any + Send + Sync>(&self, path: &str) -> Option<Arc<T>> {
        let found = self.0.decoded.get(path)?;
        self.0.metrics.hit_footers.inc();
        Some(found)
    }

    /// Keeps what was decoded from the object at `path`, which takes `bytes`, until others push it out.
    pub fn keep_decoded<T: Any + Send + Sync>(&self, path: &Arc<str>, value: Arc<T>, bytes: u64) {
        self.0.metrics.missed_footers.inc();
        self.0.decoded.insert(path, value, bytes);
        let used_bytes = self.0.decoded.used_bytes();
        self.0.metrics.footer_bytes.set(used_bytes as i64);
    }

    /// Gives what was found for a filter over an object and kept; `key` names both.
    pub fn selected<T: Any + Send + Sync>(&self, key: &str) -> Option<Arc<T>> {
        let found = self.0.selected.get(key);
        self.0.metrics.observe_selection(found.is_some());
        found
    }

    /// Keeps what was found for a filter, which takes `bytes`, until others push it out; not if it is large.
    pub fn keep_selected<T: Any + Send + Sync>(&self, key: &str, value: Arc<T>, bytes: u64) {
        if bytes <= self.0.selected_bytes_max {
            self.0.selected.insert(&key.into(), value, bytes);
            let used_bytes = self.0.selected.used_bytes();
            self.0.metrics.selection_bytes.set(used_bytes as i64);
        }
    }

    /// Bytes that blocks take in memory, what it costs to keep them included.
    pub fn used_bytes(&self) -> u64 {
        self.0.memory.used_bytes()
    }
}

impl fmt::Debug for BlockCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockCache")
            .field("bucket", &self.0.bucket.url())
            .field("used_bytes", &self.used_bytes())
            .finish_non_exhaustive()
    }
}

impl CachedFile {
    fn key(&self, block: u32) -> BlockKey {
        BlockKey {
            hash: self.hash,
            block,
        }
    }

    /// The bytes of a run of blocks, cut where the file ends.
    fn range_of(&self, blocks: &Range<u32>) -> Range<u64> {
        let at = |block: u32| (u64::from(block) * limits::FILE_BLOCK_BYTES).min(self.bytes);
        at(blocks.start)..at(blocks.end)
    }
}
