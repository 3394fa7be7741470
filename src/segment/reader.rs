//! The way into one segment: its footer, read when it is not in memory, and finding rows by id.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{self, StreamExt, TryStreamExt};
use tokio::sync::Mutex;

use crate::error::{Error, ErrorKind, Result};
use crate::format::segment::{Footer, IdRead};
use crate::lsm::Segment;
use crate::runtime::ComputePool;
use crate::store::Bucket;
use crate::store::cache::{Admission, BlockCache, CachedFile, Purpose};
use crate::types::DocId;

/// Blocks of ids fetched at once: 64 KiB each, so a lookup of many ids holds 32 MiB at most.
const ID_BLOCKS_AT_ONCE: usize = 256;
/// Such fetches under way at once.
const ID_FETCHES_AT_ONCE: usize = 2;

/// Reads one segment. Its footer is kept by the cache, which may let it go between two uses.
#[derive(Clone)]
pub struct SegmentReader(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    bucket: Arc<dyn Bucket>,
    cache: Arc<BlockCache>,
    compute: Arc<ComputePool>,
    segment: Arc<Segment>,
    /// The name that the cache keeps the footer under.
    path: Arc<str>,
    /// Held while the footer is read.
    opening: Arc<Mutex<()>>,
    /// Whether it computes behind what somebody waits for.
    in_background: bool,
}

/// The footer, and the two files as the cache sees them.
pub(super) struct Opened {
    pub(super) footer: Arc<Footer>,
    parquet: Arc<CachedFile>,
    index: Arc<CachedFile>,
}

impl SegmentReader {
    /// Makes a reader; it asks for nothing until it is used.
    pub fn new(
        bucket: Arc<dyn Bucket>,
        cache: Arc<BlockCache>,
        compute: Arc<ComputePool>,
        segment: Arc<Segment>,
    ) -> Self {
        Self(Arc::new(Inner {
            bucket,
            cache,
            compute,
            path: segment.index.path.as_str().into(),
            segment,
            opening: Arc::default(),
            in_background: false,
        }))
    }

    /// The same reader for work that nobody waits for: it computes on the threads for that.
    pub fn in_background(&self) -> Self {
        Self(Arc::new(Inner {
            in_background: true,
            ..(*self.0).clone()
        }))
    }

    /// The segment as the state named it when this reader was made; its deletions may have grown since.
    pub fn segment(&self) -> &Arc<Segment> {
        &self.0.segment
    }

    /// Gives the footer: one ranged read where the cache does not have it.
    ///
    /// Callers at the same time share that read; after an error the next of them tries again. A footer
    /// whose hash is wrong is fetched once more. Errors: `Corrupted` naming the object; `Unavailable`
    /// with code `object_missing` where it is gone, or of the store. Cancel safe.
    pub async fn footer(&self) -> Result<Arc<Footer>> {
        Ok(Arc::clone(&self.opened().await?.footer))
    }

    /// Finds the rows of ids, in the order of the ids; `None` where the segment does not hold one.
    ///
    /// Ids outside the segment's range cost nothing, those that the filter rules out one footer at most.
    /// Errors: as `footer`, and of the cache. Cancel safe.
    pub async fn find(&self, ids: &[DocId]) -> Result<Vec<Option<u32>>> {
        let mut rows = vec![None; ids.len()];
        let (places, within): (Vec<usize>, Vec<DocId>) = ids
            .iter()
            .enumerate()
            .filter(|(_, id)| self.in_range(id))
            .map(|(at, id)| (at, id.clone()))
            .unzip();
        if within.is_empty() {
            return Ok(rows);
        }
        let opened = self.opened().await?;
        let footer = Arc::clone(&opened.footer);
        let (within, reads) = self
            .run(move || {
                let reads = footer.id_reads(&within);
                (Arc::new(within), reads)
            })
            .await?;
        let mut groups = Vec::with_capacity(reads.len().div_ceil(ID_BLOCKS_AT_ONCE));
        let mut reads = reads.into_iter().peekable();
        while reads.peek().is_some() {
            let group: Vec<IdRead> = reads.by_ref().take(ID_BLOCKS_AT_ONCE).collect();
            groups.push(group);
        }
        let mut found = stream::iter(groups)
            .map(|group| self.find_in(&opened, Arc::clone(&within), group))
            .buffered(ID_FETCHES_AT_ONCE);
        while let Some(group) = found.try_next().await? {
            for (at, row) in group {
                if let Some(slot) = places.get(at).and_then(|at| rows.get_mut(*at)) {
                    *slot = Some(row);
                }
            }
        }
        Ok(rows)
    }

    /// Looks into some blocks of ids; gives positions in the list of ids, and rows.
    async fn find_in(
        &self,
        opened: &Opened,
        ids: Arc<Vec<DocId>>,
        reads: Vec<IdRead>,
    ) -> Result<Vec<(usize, u32)>> {
        let ranges: Vec<Range<u64>> = reads.iter().map(|read| read.range.clone()).collect();
        let cache = &self.0.cache;
        let blocks = cache.read(&opened.index, &ranges, Admission::Keep).await?;
        let footer = Arc::clone(&opened.footer);
        let look = move || {
            let mut found = Vec::new();
            for (read, bytes) in reads.iter().zip(&blocks) {
                let block = footer.id_block(bytes)?;
                let candidates = read.ids.iter().filter_map(|at| Some((*at, ids.get(*at)?)));
                found.extend(candidates.filter_map(|(at, id)| Some((at, block.find(id)?))));
            }
            Ok(found)
        };
        self.run(look).await?
    }

    fn in_range(&self, id: &DocId) -> bool {
        let stats = &self.0.segment.stats;
        match (stats.id_min.to_id(), stats.id_max.to_id()) {
            (Some(min), Some(max)) => min <= *id && *id <= max,
            // Bounds that are no ids say nothing.
            _ => true,
        }
    }

    pub(super) async fn opened(&self) -> Result<Arc<Opened>> {
        let (cache, path) = (&self.0.cache, &self.0.path);
        if let Some(opened) = cache.decoded(path) {
            return Ok(opened);
        }
        let _turn = self.0.opening.lock().await;
        if let Some(opened) = cache.decoded(path) {
            return Ok(opened);
        }
        let opened = Arc::new(self.open().await?);
        let n_bytes = opened.footer.memory_bytes() as u64;
        cache.keep_decoded(path, Arc::clone(&opened), n_bytes);
        Ok(opened)
    }

    pub(super) fn cache(&self) -> &Arc<BlockCache> {
        &self.0.cache
    }

    pub(super) fn compute(&self) -> &Arc<ComputePool> {
        &self.0.compute
    }

    /// Computes, on the threads that this reader is for. Errors and cancel safety: as of the pool.
    pub(super) async fn run<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        match self.0.in_background {
            true => self.0.compute.run_background(work).await,
            false => self.0.compute.run(work).await,
        }
    }

    /// Fetches ranges of the Parquet file.
    pub(super) async fn parquet(
        &self,
        opened: &Opened,
        ranges: &[Range<u64>],
        purpose: &Purpose,
    ) -> Result<Vec<Bytes>> {
        let n_bytes = ranges.iter().map(|range| range.end - range.start).sum();
        let admission = purpose.admission(n_bytes);
        self.0.cache.read(&opened.parquet, ranges, admission).await
    }

    /// Fetches the blocks of the index file that ranges touch.
    pub(super) async fn index_blocks(
        &self,
        ranges: &[Range<u64>],
        purpose: &Purpose,
    ) -> Result<BTreeMap<u32, Bytes>> {
        let opened = self.opened().await?;
        let n_bytes = ranges.iter().map(|range| range.end - range.start).sum();
        let admission = purpose.admission(n_bytes);
        let cache = &self.0.cache;
        cache.read_blocks(&opened.index, ranges, admission).await
    }

    /// Fetches a range of the index file.
    pub(super) async fn index_bytes(&self, range: Range<u64>, purpose: &Purpose) -> Result<Bytes> {
        let opened = self.opened().await?;
        let admission = purpose.admission(range.end - range.start);
        let ranges = std::slice::from_ref(&range);
        let bytes = self.0.cache.read(&opened.index, ranges, admission).await?;
        let only = bytes.into_iter().next();
        only.ok_or_else(|| Error::internal("a read of one range gave none"))
    }

    /// Bytes that must be fetched to read ranges of the index file: what is not in memory.
    ///
    /// Errors: as `footer`; `TooLarge` for more than one read may ask. Cancel safe.
    pub async fn absent_bytes(&self, ranges: &[Range<u64>]) -> Result<u64> {
        let opened = self.opened().await?;
        self.0.cache.absent_bytes(&opened.index, ranges)
    }

    /// Fetches ranges of the index file into memory. Errors: as `footer` and of the cache. Cancel safe.
    pub async fn fetch_ahead(&self, ranges: &[Range<u64>], purpose: &Purpose) -> Result<()> {
        self.index_blocks(ranges, purpose).await.map(drop)
    }

    /// Names the index file in an error of what it holds.
    pub(super) fn of_index(&self, error: Error) -> Error {
        match error.kind() {
            ErrorKind::Corrupted => {
                let path = &self.0.segment.index.path;
                error
                    .within(&format!("object `{path}`"))
                    .with_detail("object", path)
            }
            _ => error,
        }
    }

    async fn open(&self) -> Result<Opened> {
        let opened = match self.open_once().await {
            Err(error) if error.kind() == ErrorKind::Corrupted => {
                tracing::warn!(
                    object = %self.0.segment.index.path,
                    error = %error.chain(),
                    "footer does not match its reference, it is fetched once more"
                );
                self.open_once().await
            }
            outcome => outcome,
        };
        opened.map_err(|error| match error.kind() {
            ErrorKind::Corrupted => error.with_detail("object", &self.0.segment.index.path),
            _ => error,
        })
    }

    async fn open_once(&self) -> Result<Opened> {
        let segment = &self.0.segment;
        let (path, place) = (&segment.index.path, segment.footer);
        let range = place.offset..place.offset.saturating_add(place.bytes);
        let fetched = self.0.bucket.get_range(path, range).await?;
        let bytes = fetched.into_bytes().ok_or_else(|| missing(path))?;
        let key = path.clone();
        let decode = move || Footer::open(&key, &place, &bytes);
        let footer = self.run(decode).await??;
        let expected = (segment.rows, segment.parquet.bytes);
        let found = (u64::from(footer.rows()), footer.parquet_sums().bytes());
        if expected != found {
            return Err(Error::corrupted(format!(
                "object `{path}` is not of its segment: expected {} rows and {} bytes of documents, found {} and {}",
                expected.0, expected.1, found.0, found.1
            )));
        }
        let parquet = CachedFile {
            path: segment.parquet.path.as_str().into(),
            bytes: segment.parquet.bytes,
            hash: segment.parquet.hash,
            sums: Arc::clone(footer.parquet_sums().sums()),
        };
        let index = CachedFile {
            path: path.as_str().into(),
            bytes: footer.index_sums().bytes(),
            hash: segment.index.hash,
            sums: Arc::clone(footer.index_sums().sums()),
        };
        Ok(Opened {
            footer: Arc::new(footer),
            parquet: Arc::new(parquet),
            index: Arc::new(index),
        })
    }
}

impl fmt::Debug for SegmentReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SegmentReader")
            .field("segment", &self.0.segment.id)
            .finish_non_exhaustive()
    }
}

/// Makes the error of an object that is gone; its code is `object_missing`.
pub fn missing(path: &str) -> Error {
    Error::new(
        ErrorKind::Unavailable,
        "object_missing",
        format!("object `{path}` is not there: it may have been replaced"),
    )
    .with_detail("object", path)
    .with_retry_after_ms(1_000)
}
