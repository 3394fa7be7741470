//! Columns of some rows or all, in windows: a few are fetched ahead while one is decoded.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::RecordBatch;
use futures::stream::{self, BoxStream, StreamExt};

use super::reader::{Opened, SegmentReader};
use crate::error::{Error, Result};
use crate::format::segment::{ColumnRead, ColumnStep};
use crate::store::cache::Purpose;
use crate::types::AttrId;

/// Decompressed bytes of one window, about: what one decoder holds.
const WINDOW_BYTES: u64 = 8 << 20;
/// Windows under way at once.
const WINDOWS_AT_ONCE: usize = 3;
/// Rows of a page: a window is made of whole ones, so that none is decoded twice.
const PAGE_ROWS: u32 = 1_024;
/// Most rows of one window.
const WINDOW_ROWS_MAX: u32 = 128 << 10;

/// The numbers of the rows of a batch, ascending.
#[derive(Debug, Clone)]
pub enum BatchRows {
    /// A run.
    Run(Range<u32>),
    /// A part of a list.
    List(Arc<[u32]>, Range<usize>),
}

impl BatchRows {
    /// The number of rows.
    pub fn len(&self) -> usize {
        match self {
            Self::Run(run) => run.len(),
            Self::List(_, part) => part.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number in the segment of the batch's row `at`.
    pub fn number(&self, at: usize) -> Option<u32> {
        match self {
            Self::Run(run) => {
                let number = run.start.checked_add(u32::try_from(at).ok()?)?;
                (number < run.end).then_some(number)
            }
            Self::List(list, part) => list.get(part.clone())?.get(at).copied(),
        }
    }

    /// Takes the next `count` rows off the front, fewer at the end.
    fn split(&mut self, count: usize) -> Self {
        let count = count.min(self.len());
        match self {
            Self::Run(run) => {
                // No more than the run has, which is counted in u32.
                let middle = run.start + count as u32;
                let front = run.start..middle;
                run.start = middle;
                Self::Run(front)
            }
            Self::List(list, part) => {
                let middle = part.start + count;
                let front = part.start..middle;
                part.start = middle;
                Self::List(Arc::clone(list), front)
            }
        }
    }

    fn to_vec(&self) -> Vec<u32> {
        match self {
            Self::Run(run) => run.clone().collect(),
            Self::List(list, part) => list.get(part.clone()).unwrap_or_default().to_vec(),
        }
    }
}

/// Some rows of a segment, in the layout of `rows`.
#[derive(Debug, Clone)]
pub struct SegmentBatch {
    /// Which rows.
    pub rows: BatchRows,
    /// Their columns: first `id`, or `format::segment::ROW_COLUMN` where ids were not asked for. Attributes
    /// that the segment does not have are missing, which reads as null.
    pub batch: RecordBatch,
}

impl SegmentReader {
    /// Reads attributes of `rows` (ascending), or of all rows, and hands each batch to `each` on the compute
    /// pool; the results come in the order of the rows. `purpose` decides what stays in the cache.
    ///
    /// A few windows of about 8 MiB are in flight, whatever the segment's size. Errors: as `footer` and of
    /// the cache; `Corrupted` naming the object if it does not decode; what `each` gives. Cancel safe: drop
    /// the stream.
    pub async fn columns<T, F>(
        &self,
        attrs: &[AttrId],
        with_id: bool,
        rows: Option<Arc<[u32]>>,
        purpose: &Purpose,
        each: F,
    ) -> Result<BoxStream<'static, Result<T>>>
    where
        T: Send + 'static,
        F: Fn(SegmentBatch) -> Result<T> + Send + Sync + 'static,
    {
        let opened = self.opened().await?;
        let n_rows = opened.footer.rows();
        let rows = match rows {
            None => BatchRows::Run(0..n_rows),
            Some(rows) => BatchRows::List(Arc::clone(&rows), 0..rows.len()),
        };
        let bytes = opened.footer.column_bytes(attrs, with_id);
        let windows = windows(rows, bytes / u64::from(n_rows.max(1)));
        let (reader, each) = (self.clone(), Arc::new(each));
        let (attrs, purpose): (Arc<[AttrId]>, Purpose) = (attrs.into(), purpose.clone());
        let results = stream::iter(windows)
            .map(move |rows| {
                let (reader, opened) = (reader.clone(), Arc::clone(&opened));
                let (attrs, each) = (Arc::clone(&attrs), Arc::clone(&each));
                let purpose = purpose.clone();
                async move {
                    let columns = (&*attrs, with_id);
                    reader.window(&opened, columns, rows, &purpose, each).await
                }
            })
            .buffered(WINDOWS_AT_ONCE)
            .flat_map(|window| match window {
                Ok(results) => stream::iter(results.into_iter().map(Ok).collect::<Vec<_>>()),
                Err(error) => stream::iter(vec![Err(error)]),
            });
        Ok(results.boxed())
    }

    /// Reads one window. Decoding and `each` run on the compute pool, fetching here.
    async fn window<T, F>(
        &self,
        opened: &Opened,
        (attrs, with_id): (&[AttrId], bool),
        rows: BatchRows,
        purpose: &Purpose,
        each: Arc<F>,
    ) -> Result<Vec<T>>
    where
        T: Send + 'static,
        F: Fn(SegmentBatch) -> Result<T> + Send + Sync + 'static,
    {
        let numbers = rows.to_vec();
        let mut window = Window {
            read: ColumnRead::new(&opened.footer, attrs, with_id, Some(&numbers))?,
            rows,
            results: Vec::new(),
        };
        loop {
            let each = Arc::clone(&each);
            let decode = move || {
                let need = window.decode(&*each)?;
                Ok::<_, Error>((window, need))
            };
            let need;
            (window, need) = self.run(decode).await??;
            let Some(ranges) = need else {
                return Ok(window.results);
            };
            let bytes = self.parquet(opened, &ranges, purpose).await?;
            window.read.feed(ranges, bytes)?;
        }
    }
}

/// A window that is being read.
struct Window<T> {
    read: ColumnRead,
    /// The rows that are still to come.
    rows: BatchRows,
    results: Vec<T>,
}

impl<T> Window<T> {
    /// Decodes what is there; gives the ranges that are needed to go on, `None` at the end.
    fn decode(
        &mut self,
        each: impl Fn(SegmentBatch) -> Result<T>,
    ) -> Result<Option<Vec<Range<u64>>>> {
        loop {
            match self.read.step()? {
                ColumnStep::Batch(batch) => {
                    let rows = self.rows.split(batch.num_rows());
                    self.results.push(each(SegmentBatch { rows, batch })?);
                }
                ColumnStep::Need(ranges) => return Ok(Some(ranges)),
                ColumnStep::Done => return Ok(None),
            }
        }
    }
}

/// Cuts rows into windows of whole pages whose columns take about `WINDOW_BYTES`.
fn windows(mut rows: BatchRows, row_bytes: u64) -> Vec<BatchRows> {
    let page_bytes = row_bytes.max(1).saturating_mul(u64::from(PAGE_ROWS));
    let pages_max = u64::from(WINDOW_ROWS_MAX / PAGE_ROWS);
    let pages = (WINDOW_BYTES / page_bytes).clamp(1, pages_max) as u32;
    let mut windows = Vec::new();
    while !rows.is_empty() {
        let count = match &rows {
            BatchRows::Run(run) => {
                let end = (run.start / PAGE_ROWS + pages).saturating_mul(PAGE_ROWS);
                end.min(run.end) - run.start
            }
            BatchRows::List(list, part) => in_pages(list.get(part.clone()).unwrap_or(&[]), pages),
        };
        windows.push(rows.split(count as usize));
    }
    windows
}

/// How many of these rows lie in the first `pages` pages that they touch; at least one.
fn in_pages(rows: &[u32], pages: u32) -> u32 {
    let (mut touched, mut last) = (0, None);
    let mut count = 0;
    for row in rows {
        let page = row / PAGE_ROWS;
        if last != Some(page) {
            if touched == pages {
                break;
            }
            touched += 1;
            last = Some(page);
        }
        count += 1;
    }
    count.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_of_all_rows_are_whole_pages_that_cover_each_row_once() {
        let found: Vec<Vec<u32>> = windows(BatchRows::Run(0..5_000), 4_096)
            .iter()
            .map(BatchRows::to_vec)
            .collect();
        assert_eq!(
            found.iter().map(Vec::len).collect::<Vec<_>>(),
            [2_048, 2_048, 904]
        );
        assert_eq!(found.concat(), (0..5_000).collect::<Vec<_>>());
    }

    #[test]
    fn windows_of_scattered_rows_count_the_pages_they_touch() {
        let rows: Arc<[u32]> = (0..10).map(|at| at * 700).collect();
        let found: Vec<Vec<u32>> = windows(BatchRows::List(Arc::clone(&rows), 0..10), 4_096)
            .iter()
            .map(BatchRows::to_vec)
            .collect();
        assert_eq!(found[0], [0, 700, 1_400]);
        assert_eq!(found.concat(), rows.to_vec());
        // Values larger than a window: one page at a time.
        assert_eq!(windows(BatchRows::List(rows, 0..10), 1 << 30).len(), 7);
    }
}
