//! Attributes of the rows of an answer, and of documents asked for by id.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::RecordBatch;
use futures::stream::{self, StreamExt, TryStreamExt};

use super::lost::of_segment;
use super::merge::{Found, Winner};
use super::source::{Place, Source};
use crate::error::{Error, Result};
use crate::filter::{Columns, RowMask};
use crate::namespace::handle::{Namespace, View};
use crate::query::bind::BoundQuery;
use crate::query::reply::Row;
use crate::rows;
use crate::segment::{SegmentBatch, SegmentReader};
use crate::store::cache::Purpose;
use crate::types::{AttrId, DocId, Value};

/// Rows of an answer that are weighed.
const WEIGHED_MAX: usize = 64;

/// Segments read at once.
const SEGMENTS_AT_ONCE: usize = 8;

/// Some rows of some segments.
#[derive(Debug, Default)]
pub(super) struct Fetched {
    batches: Vec<RecordBatch>,
    /// By segment and row: the batch, and where in it.
    rows: HashMap<(usize, u32), (usize, usize)>,
}

impl Fetched {
    /// The number of the batch that holds a row, and where in it.
    fn place(&self, segment: usize, row: u32) -> Result<(usize, usize)> {
        self.rows.get(&(segment, row)).copied().ok_or_else(|| {
            Error::internal(format!("row {row} of segment {segment} was not fetched"))
        })
    }

    /// The value of a row's attribute, where it was fetched.
    pub(super) fn value(&self, segment: usize, row: u32, attr: AttrId) -> Result<Value> {
        let (batch, at) = self.place(segment, row)?;
        Ok(rows::value_at(&self.batches[batch], attr, at))
    }

    /// The id of a row, where ids were fetched.
    pub(super) fn id(&self, segment: usize, row: u32) -> Result<DocId> {
        let (batch, at) = self.place(segment, row)?;
        Ok(rows::id_at(rows::id_column(&self.batches[batch]), at))
    }
}

/// Reads rows of segments, by number of the segment; one read of columns for each.
pub(super) async fn from_segments(
    source: &Source,
    wanted: BTreeMap<usize, Vec<u32>>,
    attrs: &[AttrId],
    with_id: bool,
) -> Result<Fetched> {
    let reads = wanted.into_iter().map(|(number, mut rows)| {
        rows.sort_unstable();
        rows.dedup();
        let reader = source.segments.get(number).cloned();
        async move {
            let reader =
                reader.ok_or_else(|| Error::internal(format!("segment {number} is not there")))?;
            let batches = read(&reader, rows, attrs, with_id).await?;
            Ok::<_, Error>((number, batches))
        }
    });
    let read: Vec<(usize, Vec<SegmentBatch>)> = stream::iter(reads)
        .buffered(SEGMENTS_AT_ONCE)
        .try_collect()
        .await?;
    let mut found = Fetched::default();
    for (number, batches) in read {
        for SegmentBatch { rows, batch } in batches {
            for at in 0..rows.len() {
                if let Some(row) = rows.number(at) {
                    let place = (found.batches.len(), at);
                    found.rows.insert((number, row), place);
                }
            }
            found.batches.push(batch);
        }
    }
    Ok(found)
}

async fn read(
    reader: &SegmentReader,
    rows: Vec<u32>,
    attrs: &[AttrId],
    with_id: bool,
) -> Result<Vec<SegmentBatch>> {
    let read = async {
        let batches = reader
            .columns(attrs, with_id, Some(rows.into()), &Purpose::Rows, Ok)
            .await?;
        batches.try_collect().await
    };
    let read: Result<_> = read.await;
    read.map_err(|error| of_segment(error, reader.segment()))
}

/// Makes the rows of an answer.
pub(super) async fn rows(
    source: &Source,
    query: &Arc<BoundQuery>,
    found: Found,
) -> Result<Vec<Row>> {
    let (winners, fetched) = match found {
        Found::Whole(winners, fetched) => (page(query, winners), fetched),
        Found::Ranked(winners) => {
            let winners = page(query, winners);
            let columns = wanted(query);
            let attrs = columns.attrs();
            // A value may be computed from nothing but the rows there are.
            let with_id = columns.id || (attrs.is_empty() && !query.compute.is_empty());
            let mut rows: BTreeMap<usize, Vec<u32>> = BTreeMap::new();
            for winner in &winners {
                if let Place::Segment { segment, row } = winner.place {
                    rows.entry(segment).or_default().push(row);
                }
            }
            let fetched = match attrs.is_empty() && !with_id {
                true => Fetched::default(),
                false => from_segments(source, rows, &attrs, with_id).await?,
            };
            (winners, fetched)
        }
    };
    let (source, query) = (source.clone(), Arc::clone(query));
    let compute = Arc::clone(&source.compute);
    let bytes = weight(&source, &query, &winners, &fetched)?;
    let work = move || made(&source, &query, &winners, &fetched);
    compute.run_sized(bytes, work).await?
}

/// How many bytes the rows of an answer are made from; many rows are not weighed one by one.
fn weight(
    source: &Source,
    query: &BoundQuery,
    winners: &[Winner],
    fetched: &Fetched,
) -> Result<u64> {
    // What a computed value costs has no small bound.
    if winners.len() > WEIGHED_MAX || !query.compute.is_empty() {
        return Ok(u64::MAX);
    }
    let weights = winners.iter().map(|winner| match winner.place {
        _ if query.is_bare() => Ok(0),
        Place::Tail { chunk, row } => Ok(rows::row_bytes(source.tail.chunks[chunk].rows(), row)),
        Place::Segment { segment, row } => {
            let (batch, at) = fetched.place(segment, row)?;
            Ok(rows::row_bytes(&fetched.batches[batch], at))
        }
    });
    weights.sum()
}

/// The columns that the rows of an answer are made from.
pub(super) fn wanted(query: &BoundQuery) -> Columns {
    let mut columns = Columns::default();
    columns
        .attrs
        .extend(query.include.iter().map(|(_, attr)| *attr));
    for (_, compute) in &query.compute {
        compute.columns(&mut columns);
    }
    columns
}

fn page(query: &BoundQuery, winners: Vec<Winner>) -> Vec<Winner> {
    let page = winners.into_iter().skip(query.offset);
    page.take(query.limit).collect()
}

fn made(
    source: &Source,
    query: &BoundQuery,
    winners: &[Winner],
    fetched: &Fetched,
) -> Result<Vec<Row>> {
    let mut rows = Vec::with_capacity(winners.len());
    // By the batch a winner lies in: which winner, and where it lies there.
    let mut places: BTreeMap<(bool, usize), Vec<(usize, u32)>> = BTreeMap::new();
    for (at, winner) in winners.iter().enumerate() {
        let attributes = match winner.place {
            _ if query.is_bare() => Vec::new(),
            Place::Tail { chunk, row } => {
                // A chunk has far fewer rows than a u32 counts.
                places
                    .entry((true, chunk))
                    .or_default()
                    .push((at, row as u32));
                included(query, source.tail.chunks[chunk].rows(), row)
            }
            Place::Segment { segment, row } => {
                let (number, row) = fetched.place(segment, row)?;
                places
                    .entry((false, number))
                    .or_default()
                    .push((at, row as u32));
                included(query, &fetched.batches[number], row)
            }
        };
        rows.push(Row {
            id: winner.id.clone(),
            dist: winner.dist,
            attributes,
            computed: Vec::new(),
        });
    }
    if query.compute.is_empty() {
        return Ok(rows);
    }
    for ((in_tail, number), places) in places {
        let chosen: Vec<u32> = places.iter().map(|(_, row)| *row).collect();
        let batch = match in_tail {
            true => rows::align(source.tail.chunks[number].rows(), &source.schema)?,
            false => fetched.batches[number].clone(),
        };
        let batch = rows::take_rows(&batch, &chosen)?;
        for (name, compute) in &query.compute {
            for ((at, _), value) in places.iter().zip(compute.eval(&batch)) {
                rows[*at]
                    .computed
                    .extend(value.map(|value| (Arc::clone(name), value)));
            }
        }
    }
    Ok(rows)
}

fn included(query: &BoundQuery, batch: &RecordBatch, row: usize) -> Vec<(Arc<str>, Value)> {
    let values = query
        .include
        .iter()
        .map(|(name, attr)| (Arc::clone(name), rows::value_at(batch, *attr, row)));
    values.filter(|(_, value)| *value != Value::Null).collect()
}

impl Namespace {
    /// Finds the documents of ids that the segments of a view hold, with these attributes. Errors: of the
    /// readers. Cancel safe.
    pub(in crate::namespace) async fn documents(
        &self,
        view: &View,
        ids: &[DocId],
        attrs: &[AttrId],
    ) -> Result<HashMap<DocId, RecordBatch>> {
        if view.segments.is_empty() {
            return Ok(HashMap::new());
        }
        let live = self.live_rows(view).await?;
        documents(&view.segments, &live, ids, attrs).await
    }
}

/// Finds the live documents of ids in segments: for each a batch of one row with `id` and those of `attrs`
/// that its segment has (the others read as null). An id that no segment holds alive is left out.
///
/// `live` says for each segment which rows are visible. Errors: of the readers. Cancel safe.
pub(super) async fn documents(
    segments: &[SegmentReader],
    live: &[Arc<RowMask>],
    ids: &[DocId],
    attrs: &[AttrId],
) -> Result<HashMap<DocId, RecordBatch>> {
    let (ids, attrs): (Arc<[DocId]>, Arc<[AttrId]>) = (ids.into(), attrs.into());
    let reads: Vec<_> = segments
        .iter()
        .zip(live)
        .map(|(reader, live)| {
            let (ids, attrs) = (Arc::clone(&ids), Arc::clone(&attrs));
            documents_of(reader.clone(), Arc::clone(live), ids, attrs)
        })
        .collect();
    let read: Vec<Vec<SegmentBatch>> = stream::iter(reads)
        .buffered(SEGMENTS_AT_ONCE)
        .try_collect()
        .await?;
    let mut documents = HashMap::new();
    for SegmentBatch { batch, .. } in read.into_iter().flatten() {
        for row in 0..batch.num_rows() {
            let id = rows::id_at(rows::id_column(&batch), row);
            documents.insert(id, batch.slice(row, 1));
        }
    }
    Ok(documents)
}

async fn documents_of(
    reader: SegmentReader,
    live: Arc<RowMask>,
    ids: Arc<[DocId]>,
    attrs: Arc<[AttrId]>,
) -> Result<Vec<SegmentBatch>> {
    let found = reader.find(&ids).await;
    let found = found.map_err(|error| of_segment(error, reader.segment()))?;
    let found = found.into_iter().flatten();
    let mut rows: Vec<u32> = found.filter(|row| live.contains(*row as usize)).collect();
    rows.sort_unstable();
    rows.dedup();
    match rows.is_empty() {
        true => Ok(Vec::new()),
        false => read(&reader, rows, &attrs, true).await,
    }
}
