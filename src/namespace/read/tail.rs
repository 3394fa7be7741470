//! Scanning the tail's chunks on the compute pool, in parallel, exactly.

use std::sync::Arc;

use super::merge::Ordered;
use super::source::{Place, Source};
use crate::error::{Error, Result};
use crate::filter::{self, BoundFilter, RowMask};
use crate::lsm::{Chunk, TailView};
use crate::query::bind::{BoundQuery, BoundRank};
use crate::query::order::{BoundOrder, OrderTop, cut};
use crate::query::topk::TopK;
use crate::rows;
use crate::types::{AttrId, DistanceMetric, DocId, WalSeq};
use crate::vector::PreparedQuery;

/// Rows from which a scan is worth splitting among threads.
const ROWS_A_PART_MIN: usize = 8_192;
/// Rows whose vectors are converted at once: those of a block stay in the processor's cache.
const ROWS_A_BLOCK: usize = 256;
/// A mask that keeps fewer rows than one in this many is scanned row by row.
const SPARSE_ONE_IN: usize = 8;

/// Scans the tail of a source. Errors: `Corrupted` if rows do not fit their schema.
pub(super) async fn scan(source: &Source, query: &Arc<BoundQuery>) -> Result<Partial> {
    let parts = split(&source.tail, source.compute.n_threads());
    let mut jobs: Vec<_> = parts
        .into_iter()
        .map(|part| {
            let (source, query) = (source.clone(), Arc::clone(query));
            move || scan_part(&source, &query, part)
        })
        .collect();
    if jobs.len() == 1
        && let Some(job) = jobs.pop()
    {
        // What filters and scores cost a row has no small bound: they never run where others wait.
        let bytes = match query.costs_little_a_row() {
            true => source.tail.memory_bytes,
            false => u64::MAX,
        };
        return source.compute.run_sized(bytes, job).await?;
    }
    let mut partials = source.compute.run_many(jobs).await?.into_iter();
    let first = partials
        .next()
        .ok_or_else(|| Error::internal("a scan has no parts"))??;
    partials.try_fold(first, |merged, partial| {
        partial.map(|partial| merged.merge(partial))
    })
}

/// Runs of chunks of about equal rows, one a thread.
pub(super) fn split(tail: &TailView, n_threads: usize) -> Vec<std::ops::Range<usize>> {
    let n_rows: usize = tail.chunks.iter().map(|chunk| chunk.len()).sum();
    let n_parts = (n_rows / ROWS_A_PART_MIN).clamp(1, n_threads.max(1));
    let rows_a_part = n_rows.div_ceil(n_parts).max(1);
    let mut parts = Vec::with_capacity(n_parts);
    let (mut start, mut rows) = (0, 0);
    for (chunk, next) in tail.chunks.iter().zip(1..) {
        rows += chunk.len();
        if rows >= rows_a_part {
            parts.push(start..next);
            (start, rows) = (next, 0);
        }
    }
    if start < tail.chunks.len() || parts.is_empty() {
        parts.push(start..tail.chunks.len());
    }
    parts
}

/// The best rows of some chunks.
pub(super) enum Partial {
    Nearest(TopK<(DocId, Place)>),
    Ordered {
        best: Vec<Ordered>,
        k: usize,
        order: Arc<BoundOrder>,
    },
}

impl Partial {
    fn merge(self, other: Self) -> Self {
        match (self, other) {
            (Self::Nearest(mut best), Self::Nearest(others)) => {
                best.merge(others);
                Self::Nearest(best)
            }
            (Self::Ordered { mut best, k, order }, Self::Ordered { best: others, .. }) => {
                best.extend(others);
                cut(&mut best, k, order.per.as_ref(), Ordered::alike);
                Self::Ordered { best, k, order }
            }
            // Both come from one query, so they are of one kind.
            (kept, _) => kept,
        }
    }
}

fn scan_part(source: &Source, query: &BoundQuery, part: std::ops::Range<usize>) -> Result<Partial> {
    let chunks = &source.tail.chunks;
    match &query.rank {
        BoundRank::Vector {
            attribute,
            metric,
            vector,
            ..
        } => {
            let mut scan = VectorScan::new(*attribute, *metric, vector, query.wanted());
            for chunk in part {
                let candidate = &chunks[chunk];
                let mask = visible(candidate, source, query.filter.as_ref())?;
                scan.chunk(chunk, candidate, &mask)?;
            }
            Ok(Partial::Nearest(scan.best))
        }
        BoundRank::Order(order) => {
            let mut top = OrderTop::new(Arc::clone(order), query.wanted());
            for chunk in part {
                let candidate = &chunks[chunk];
                let mask = visible(candidate, source, query.filter.as_ref())?;
                let batch = rows::align(candidate.rows(), &source.schema)?;
                top.offer_rows(chunk, &batch, &mask);
            }
            let best = top.into_sorted().into_iter().map(|ranked| Ordered {
                id: rows::id_at(rows::id_column(chunks[ranked.batch].rows()), ranked.row),
                key: ranked.key,
                place: Place::Tail {
                    chunk: ranked.batch,
                    row: ranked.row,
                },
                alike: ranked.alike,
            });
            Ok(Partial::Ordered {
                best: best.collect(),
                k: query.wanted(),
                order: Arc::clone(order),
            })
        }
    }
}

/// The rows of a chunk that the view sees and the filter keeps: one mask, before anything else.
pub(super) fn visible(
    chunk: &Chunk,
    source: &Source,
    filter: Option<&BoundFilter>,
) -> Result<RowMask> {
    let mut mask = live(chunk, source.tail.seq);
    if let Some(filter) = filter {
        mask.and(&filter::eval(
            filter,
            &rows::align(chunk.rows(), &source.schema)?,
        ));
    }
    Ok(mask)
}

fn live(chunk: &Chunk, seq: WalSeq) -> RowMask {
    RowMask::from_fn(chunk.len(), |row| chunk.is_visible(row, seq))
}

/// Exact nearest rows.
struct VectorScan {
    attribute: AttrId,
    query: PreparedQuery,
    best: TopK<(DocId, Place)>,
    distances: Vec<f32>,
    /// Vectors of other widths as f32.
    scratch: Vec<f32>,
}

impl VectorScan {
    fn new(attribute: AttrId, metric: DistanceMetric, vector: &[f32], k: usize) -> Self {
        Self {
            attribute,
            query: PreparedQuery::new(metric, vector),
            best: TopK::new(k),
            distances: Vec::new(),
            scratch: Vec::new(),
        }
    }

    fn chunk(&mut self, position: usize, chunk: &Chunk, mask: &RowMask) -> Result<()> {
        let matches = mask.count();
        if matches == 0 {
            return Ok(());
        }
        // Rows written before the attribute existed have no vector and cannot match.
        let Some(vectors) = rows::vectors(chunk.rows(), self.attribute) else {
            return Ok(());
        };
        let absent = rows::vector_nulls(chunk.rows(), self.attribute);
        let dims = self.query.dims();
        if vectors.dims() != dims || vectors.len() != chunk.len() {
            return Err(Error::corrupted(format!(
                "vectors of a chunk: expected {} of {dims} dimensions, found {} of {}",
                chunk.len(),
                vectors.len(),
                vectors.dims()
            )));
        }
        let sparse = matches * SPARSE_ONE_IN < chunk.len();
        if !sparse {
            self.distances.resize(chunk.len(), 0.0);
            let blocks = self.distances.chunks_mut(ROWS_A_BLOCK);
            for (start, distances) in (0..).step_by(ROWS_A_BLOCK).zip(blocks) {
                let block = vectors.rows(start..start + distances.len(), &mut self.scratch);
                self.query.distances(block, distances);
            }
        }
        for row in mask.iter() {
            if absent.is_some_and(|nulls| nulls.is_null(row)) {
                continue;
            }
            let distance = if sparse {
                let vector = vectors.rows(row..row + 1, &mut self.scratch);
                self.query.distance(vector)
            } else {
                self.distances[row]
            };
            // An equal distance may still win by its id.
            if self.best.threshold().is_none_or(|worst| distance <= worst) {
                let id = rows::id_at(rows::id_column(chunk.rows()), row);
                let place = Place::Tail {
                    chunk: position,
                    row,
                };
                self.best.push(distance, (id, place));
            }
        }
        Ok(())
    }
}
