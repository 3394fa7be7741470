//! What one query reads: a tail, segments, and which of their rows are visible, all of one state.

use std::ops::Range;
use std::sync::Arc;

use futures::future;

use super::unread::Unread;
use crate::error::Result;
use crate::filter::{BoundFilter, RowMask};
use crate::lsm::TailView;
use crate::namespace::Shared;
use crate::namespace::handle::View;
use crate::query::plan::Plan;
use crate::runtime::ComputePool;
use crate::segment::SegmentReader;
use crate::store::cache::{Purpose, ScanShare};
use crate::types::NamespaceSchema;

/// One state to read. Cloning shares it.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    pub(crate) schema: Arc<NamespaceSchema>,
    pub(crate) tail: TailView,
    pub(crate) segments: Arc<[SegmentReader]>,
    /// For each segment the rows that are visible.
    pub(crate) live: Arc<[Arc<RowMask>]>,
    pub(crate) compute: Arc<ComputePool>,
    /// What the scan of all segments may keep in the cache, bytes.
    pub(crate) scan_bytes: u64,
    /// How segments are to be searched, where it can be so.
    pub(crate) plan: Option<Plan>,
    /// The indexes that it is read without.
    pub(crate) unread: Arc<Unread>,
}

/// Where a row lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Place {
    Tail { chunk: usize, row: usize },
    Segment { segment: usize, row: u32 },
}

impl Source {
    pub(crate) fn of(view: &View, live: Arc<[Arc<RowMask>]>, shared: &Shared) -> Self {
        Self {
            schema: Arc::clone(&view.schema),
            tail: view.tail.clone(),
            segments: Arc::clone(&view.segments),
            live,
            compute: Arc::clone(&shared.compute),
            scan_bytes: shared.cache.scan_bytes(),
            plan: None,
            unread: Arc::default(),
        }
    }

    /// The same, searched by a plan where it can be so.
    pub(super) fn with_plan(mut self, plan: Option<Plan>) -> Self {
        self.plan = plan;
        self
    }

    /// The segments with their numbers and visible rows; each may keep all that a scan may.
    pub(super) fn parts(&self) -> Vec<Part> {
        let parts = self.segments.iter().zip(self.live.iter()).enumerate();
        parts
            .map(|(number, (reader, live))| Part {
                number,
                reader: reader.clone(),
                live: Arc::clone(live),
                scan: Purpose::Scan(ScanShare::new(self.scan_bytes)),
                plan: self.plan,
                unread: Arc::clone(&self.unread),
                compute: Arc::clone(&self.compute),
            })
            .collect()
    }

    /// Rows that are visible, in the tail and in segments.
    pub(super) fn live_rows(&self) -> u64 {
        let segments = self.live.iter().map(|live| live.count() as u64);
        self.tail.live_rows + segments.sum::<u64>()
    }

    /// Logical bytes of the visible rows; of a segment that lost rows, its share of them.
    pub(super) fn live_bytes(&self) -> u64 {
        let segments = self.segments.iter().zip(self.live.iter());
        let bytes = segments.map(|(reader, live)| {
            let segment = reader.segment();
            let bytes = u128::from(segment.logical_bytes) * live.count() as u128;
            // No more than all bytes where no more rows live than there are.
            u64::try_from(bytes / u128::from(segment.rows.max(1))).unwrap_or(u64::MAX)
        });
        self.tail.live_bytes.saturating_add(bytes.sum())
    }
}

/// One segment of a source.
#[derive(Debug, Clone)]
pub(super) struct Part {
    pub(super) number: usize,
    pub(super) reader: SegmentReader,
    /// The rows to look at: those that live, later those of them that a filter may match.
    pub(super) live: Arc<RowMask>,
    pub(super) scan: Purpose,
    /// How it is to be searched, where it can be so.
    pub(super) plan: Option<Plan>,
    pub(super) unread: Arc<Unread>,
    pub(super) compute: Arc<ComputePool>,
}

impl Part {
    /// Gives what was read of the index file; `None` where it cannot be read, and the documents are to be read instead.
    /// Errors: of the reading, where the documents do not tell, or are too many.
    pub(super) fn or_documents<T>(&self, read: Result<T>) -> Result<Option<T>> {
        self.unread.or_documents(self.reader.segment(), read)
    }

    /// Leaves out the rows that indexes know not to match a filter, and gives what of the filter is left to be
    /// evaluated for the others; fetches `ahead` meanwhile. Where the indexes cannot be read that is the whole filter.
    /// Errors: of the reader. Cancel safe.
    pub(super) async fn narrow(
        &mut self,
        filter: &BoundFilter,
        ahead: &[Range<u64>],
    ) -> Result<Option<BoundFilter>> {
        let (reader, scan) = (&self.reader, &self.scan);
        let fetch = async {
            match ahead {
                [] => Ok(()),
                ahead => reader.fetch_ahead(ahead, scan).await,
            }
        };
        let read = future::try_join(reader.select(filter, scan), fetch).await;
        let Some((selected, ())) = self.or_documents(read)? else {
            return Ok(Some(filter.clone()));
        };
        let mut rows = selected.rows.clone();
        rows.and(&self.live);
        self.live = Arc::new(rows);
        Ok(selected.rest.clone())
    }
}

/// Divides what a scan may keep among the segments that it looks into, by their sizes.
pub(super) fn divide<'a>(scan_bytes: u64, parts: impl Iterator<Item = &'a mut Part>) {
    let parts: Vec<&mut Part> = parts.collect();
    let bytes_of = |part: &Part| part.reader.segment().parquet.bytes;
    let all = parts.iter().map(|part| bytes_of(part));
    let all = all.fold(0, u64::saturating_add);
    for part in parts {
        let share = ScanShare::for_file(scan_bytes, bytes_of(part), all);
        part.scan = Purpose::Scan(share);
    }
}
