//! Scanning one segment exactly: the filter by indexes, what they do not tell in batches; then distances page by page
//! or keys of an order.

use std::sync::Arc;

use arrow::array::RecordBatch;
use futures::stream::TryStreamExt;

use super::choose::{Choice, Wanted, choose};
use super::lost::of_segment;
use super::merge::Ordered;
use super::source::{Part, Place};
use crate::error::Result;
use crate::filter::{self, BoundFilter, Columns, RowMask, Verdict};
use crate::format::segment::{Footer, RowOrder};
use crate::index::{Indexed, SparseTop, Top, TopKey};
use crate::query::bind::{BoundQuery, BoundRank};
use crate::query::order::{BoundOrder, OrderTop, cut};
use crate::query::plan::{HEADROOM, Plan};
use crate::query::topk::TopK;
use crate::rows::{self, sparse::Entry};
use crate::segment::{BatchRows, SegmentBatch, VectorPiece};
use crate::store::cache::Purpose;
use crate::types::{AttrId, DistanceMetric};
use crate::vector::PreparedQuery;

/// How often more rows are looked at in the order wanted, and how many more, before the filter goes first after all.
const SCANS_MAX: usize = 3;
const SCAN_GROWTH: usize = 8;

/// A mask that keeps fewer rows than one in this many is read row by row.
const SPARSE_ONE_IN: usize = 8;

/// The best rows of one segment.
#[derive(Debug)]
pub(super) enum Scanned {
    /// By distance, then row.
    Nearest { number: usize, best: TopK<u32> },
    /// Sorted.
    Ordered(Vec<Ordered>),
}

/// Scans a segment; `verdict` is what its stats say of the filter. Errors: of the reader, naming the
/// segment. Cancel safe.
pub(super) async fn scan(part: Part, verdict: Verdict, query: &BoundQuery) -> Result<Scanned> {
    let segment = Arc::clone(part.reader.segment());
    let scanned = scan_part(part, verdict, query).await;
    scanned.map_err(|error| of_segment(error, &segment))
}

async fn scan_part(mut part: Part, verdict: Verdict, query: &BoundQuery) -> Result<Scanned> {
    let filter = query.filter.as_ref().filter(|_| verdict != Verdict::Always);
    let filter = match filter {
        None => None,
        Some(filter) => {
            let choice = choose(&part, filter, Wanted::Rows(query), part.plan).await?;
            if let (Plan::ScanFirst, BoundRank::Order(order)) = (choice.plan, &query.rank)
                && let Some(found) =
                    scan_first(&part, filter, order, &choice, query.wanted()).await?
            {
                return Ok(Scanned::Ordered(found));
            }
            part.narrow(filter, choice.ahead()).await?
        }
    };
    match &query.rank {
        BoundRank::Vector {
            attribute,
            metric,
            vector,
            ..
        } => {
            let mask = match &filter {
                None => Arc::clone(&part.live),
                Some(filter) => Arc::new(matching(&part, filter).await?),
            };
            let wanted = query.wanted();
            let best = nearest(&part, *attribute, *metric, vector, &mask, wanted).await?;
            Ok(Scanned::Nearest {
                number: part.number,
                best,
            })
        }
        BoundRank::Order(order) => Ok(Scanned::Ordered(
            ordered(&part, filter.as_ref(), order, query.wanted()).await?,
        )),
    }
}

/// The live rows that a filter keeps.
async fn matching(part: &Part, filter: &BoundFilter) -> Result<RowMask> {
    let columns = columns_of(Some(filter));
    let live = Arc::clone(&part.live);
    let filter = filter.clone();
    let each = move |SegmentBatch { rows, batch }: SegmentBatch| {
        let kept = filter::eval(&filter, &batch);
        let kept = kept.iter().filter_map(|at| rows.number(at));
        Ok(kept
            .filter(|row| live.contains(*row as usize))
            .collect::<Vec<u32>>())
    };
    let mut mask = RowMask::none(part.live.len());
    let rows = sparse(&part.live);
    let (reader, attrs) = (&part.reader, columns.attrs());
    let batches = reader.columns(&attrs, columns.id, rows, &part.scan, each);
    let mut kept = batches.await?;
    while let Some(rows) = kept.try_next().await? {
        for row in rows {
            mask.set(row as usize, true);
        }
    }
    Ok(mask)
}

/// The rows of a batch that live and that a filter keeps.
pub(super) fn kept(
    rows: &BatchRows,
    batch: &RecordBatch,
    live: &RowMask,
    filter: Option<&BoundFilter>,
) -> RowMask {
    let is_live = |at| {
        rows.number(at)
            .is_some_and(|row| live.contains(row as usize))
    };
    let mut mask = RowMask::from_fn(batch.num_rows(), is_live);
    if let Some(filter) = filter {
        mask.and(&filter::eval(filter, batch));
    }
    mask
}

/// The rows of a mask, where they are few enough to be read one by one.
pub(super) fn sparse(mask: &RowMask) -> Option<Arc<[u32]>> {
    let few = mask.count().saturating_mul(SPARSE_ONE_IN) < mask.len();
    few.then(|| {
        mask.iter()
            .filter_map(|row| u32::try_from(row).ok())
            .collect()
    })
}

/// The columns a filter looks at.
pub(super) fn columns_of(filter: Option<&BoundFilter>) -> Columns {
    let mut columns = Columns::default();
    if let Some(filter) = filter {
        filter.columns(&mut columns);
    }
    columns
}

/// The nearest of the rows in `mask`, by distance, then row.
async fn nearest(
    part: &Part,
    attribute: AttrId,
    metric: DistanceMetric,
    vector: &[f32],
    mask: &Arc<RowMask>,
    k: usize,
) -> Result<TopK<u32>> {
    let mut best = TopK::new(k);
    if mask.count() == 0 {
        return Ok(best);
    }
    let query = PreparedQuery::new(metric, vector);
    let rows = Arc::clone(mask);
    let each = move |pieces: &[VectorPiece]| {
        let mut best = TopK::new(k);
        for piece in pieces {
            nearest_of(&query, piece, &rows, &mut best);
        }
        Ok(best)
    };
    let reader = &part.reader;
    let windows = reader.vectors(attribute, vector.len(), mask, &part.scan, each);
    let mut windows = windows.await?;
    while let Some(window) = windows.try_next().await? {
        best.merge(window);
    }
    Ok(best)
}

fn nearest_of(query: &PreparedQuery, piece: &VectorPiece, mask: &RowMask, best: &mut TopK<u32>) {
    let dims = query.dims();
    let vectors = piece.vectors();
    let n_vectors = vectors.len() / dims.max(1);
    let rows = piece.rows().filter(|row| mask.contains(*row as usize));
    let wanted: Vec<(u32, usize)> = rows
        .filter_map(|row| Some((row, piece.at(row)?)))
        .filter(|(_, at)| *at < n_vectors)
        .collect();
    let mut offer = |row: u32, distance: f32| {
        // An equal distance may still win by its row.
        if best.threshold().is_none_or(|worst| distance <= worst) {
            best.push(distance, row);
        }
    };
    if wanted.len().saturating_mul(SPARSE_ONE_IN) < n_vectors {
        for (row, at) in wanted {
            offer(row, query.distance(&vectors[at * dims..(at + 1) * dims]));
        }
        return;
    }
    let mut distances = vec![0.0; n_vectors];
    query.distances(&vectors[..n_vectors * dims], &mut distances);
    for (row, at) in wanted {
        offer(row, distances[at]);
    }
}

/// The first `k` live rows that the filter keeps, in an order.
async fn ordered(
    part: &Part,
    filter: Option<&BoundFilter>,
    order: &Arc<BoundOrder>,
    k: usize,
) -> Result<Vec<Ordered>> {
    let first = match filter {
        None => first_rows(part, order, k).await?,
        Some(_) => None,
    };
    // The rows of one answer, however many there are beside them.
    let purpose = match first {
        Some(_) => &Purpose::Rows,
        None => &part.scan,
    };
    let rows = first.or_else(|| sparse(&part.live));
    read_ordered(part, filter, order, k, rows, purpose).await
}

/// Looks at rows in the order wanted, some at a time, until enough of them match; `None` where columns do not tell that
/// order, or too few match for it.
async fn scan_first(
    part: &Part,
    filter: &BoundFilter,
    order: &Arc<BoundOrder>,
    choice: &Choice,
    k: usize,
) -> Result<Option<Vec<Ordered>>> {
    let n_rows = part.live.count();
    let expected = k as f64 * HEADROOM / choice.known.share.max(f64::MIN_POSITIVE);
    // Saturates; a filter that none is expected to match begins with all.
    let mut count = (expected as usize).clamp(k, n_rows.max(k));
    for _ in 0..SCANS_MAX {
        let Some(rows) = first_rows(part, order, count).await? else {
            return Ok(None);
        };
        let found = read_ordered(part, Some(filter), order, k, Some(rows), &part.scan).await?;
        if found.len() == k || count >= n_rows {
            return Ok(Some(found));
        }
        count = count.saturating_mul(SCAN_GROWTH).min(n_rows);
    }
    Ok(None)
}

/// Reads rows, or all, and gives the first `k` that live and match, in an order.
async fn read_ordered(
    part: &Part,
    filter: Option<&BoundFilter>,
    order: &Arc<BoundOrder>,
    k: usize,
    rows: Option<Arc<[u32]>>,
    purpose: &Purpose,
) -> Result<Vec<Ordered>> {
    let by_id = order.by_id();
    let mut columns = columns_of(filter);
    order.columns(&mut columns);
    let (live, filter) = (Arc::clone(&part.live), filter.cloned());
    let (number, per) = (part.number, order.per.clone());
    let order = Arc::clone(order);
    let each = move |SegmentBatch { rows, batch }: SegmentBatch| {
        let mask = kept(&rows, &batch, &live, filter.as_ref());
        let mut top = OrderTop::new(Arc::clone(&order), k);
        top.offer_rows(number, &batch, &mask);
        let ids = rows::id_column(&batch);
        let best = top.into_sorted().into_iter().filter_map(|ranked| {
            let place = Place::Segment {
                segment: number,
                row: rows.number(ranked.row)?,
            };
            Some(Ordered {
                key: ranked.key,
                place,
                id: rows::id_at(ids, ranked.row),
                alike: ranked.alike,
            })
        });
        Ok(best.collect::<Vec<_>>())
    };
    let mut best: Vec<Ordered> = Vec::new();
    let (reader, attrs) = (&part.reader, columns.attrs());
    let batches = reader.columns(&attrs, true, rows, purpose, each);
    let mut batches = batches.await?;
    while let Some(more) = batches.try_next().await? {
        best.extend(more);
        cut(&mut best, k, per.as_ref(), Ordered::alike);
        // What is still to come has larger ids.
        if by_id == Some(false) && best.len() == k {
            break;
        }
    }
    Ok(best)
}

/// The first `k` live rows in an order, ascending by number, where that is known without a look at them.
async fn first_rows(part: &Part, order: &BoundOrder, k: usize) -> Result<Option<Arc<[u32]>>> {
    let footer = part.reader.footer().await?;
    // Rows are in the order of ids, so an order that begins with the id is known without its keys.
    let RowOrder::Ids = footer.row_order();
    let by_id = |descending| Ok(Some(ends(&part.live, k, descending)));
    if let Some(descending) = order.by_id() {
        return by_id(descending);
    }
    if let Some((attr, query)) = order.by_sparse() {
        return first_by_lists(part, &footer, (attr, query), k).await;
    }
    let Some(keys) = order.by_columns(&|attr| footer.indexed(attr)) else {
        return Ok(None);
    };
    match keys.first() {
        None => return by_id(false),
        Some(TopKey::Row { descending }) => return by_id(*descending),
        Some(TopKey::Column { .. }) => {}
    }
    let Some(top) = Top::new(keys, Arc::clone(&part.live), k) else {
        return Ok(None);
    };
    let read = part.reader.run_rounds(top, &part.scan).await;
    let Some(mut rows) = part.or_documents(read)? else {
        return Ok(None);
    };
    rows.sort_unstable();
    Ok(Some(rows.into()))
}

/// The live rows with the `k` highest products with a sparse vector, ascending by number, where lists tell.
async fn first_by_lists(
    part: &Part,
    footer: &Footer,
    (attr, query): (AttrId, &Arc<[Entry]>),
    k: usize,
) -> Result<Option<Arc<[u32]>>> {
    let Some(index) = footer.sparse(attr) else {
        let absent = matches!(footer.indexed(attr), Indexed::Absent);
        return Ok(absent.then(|| Arc::from([])));
    };
    let (index, query) = (Arc::clone(index), Arc::clone(query));
    let top = SparseTop::new(index, query, Arc::clone(&part.live), k);
    let read = part.reader.run_rounds(top, &part.scan).await;
    let Some(scored) = part.or_documents(read)? else {
        return Ok(None);
    };
    let mut rows: Vec<u32> = scored.iter().map(|scored| scored.row).collect();
    rows.sort_unstable();
    Ok(Some(rows.into()))
}

/// The first `k` rows of a mask, or the last.
fn ends(mask: &RowMask, k: usize, last: bool) -> Arc<[u32]> {
    let skipped = match last {
        true => mask.count().saturating_sub(k),
        false => 0,
    };
    let rows = mask.iter().filter_map(|row| u32::try_from(row).ok());
    rows.skip(skipped).take(k).collect()
}
