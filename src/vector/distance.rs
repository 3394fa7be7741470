//! Distances from one query to many rows.

use super::kernel::{self, Kernels};
use super::metric;
use crate::types::DistanceMetric;

/// Rows per call of a cosine kernel: their norms wait in an array of this length on the stack.
const COSINE_BLOCK_ROWS: usize = 256;

/// A query vector ready to be compared with many rows.
///
/// Components of the query and of every row must be finite; whoever parses vectors has refused the rest.
/// The distance of a row depends on the query and the row alone: it is bitwise the same however rows were
/// batched, wherever they lie in memory and whichever processor computes it, so that answers do not
/// change when data moves.
#[derive(Debug, Clone)]
pub struct PreparedQuery {
    metric: DistanceMetric,
    query: Box<[f32]>,
    /// Sum of squares by the same kernel as the rows', so that equal vectors are 0 apart under cosine.
    norm_squared: f32,
    kernels: &'static Kernels,
}

impl PreparedQuery {
    /// Prepares a query for the fastest kernels of this processor.
    pub fn new(metric: DistanceMetric, query: &[f32]) -> Self {
        Self::with_kernels(kernel::active(), metric, query)
    }

    /// Prepares a query for the kernels named; tests compare them, everything else calls [`Self::new`].
    pub fn with_kernels(kernels: &'static Kernels, metric: DistanceMetric, query: &[f32]) -> Self {
        let mut dot = [0.0];
        let mut norm_squared = [0.0];
        kernels.dot_and_norm(query, query, &mut dot, &mut norm_squared);
        Self {
            metric,
            query: query.into(),
            norm_squared: norm_squared[0],
            kernels,
        }
    }

    /// The metric.
    pub fn metric(&self) -> DistanceMetric {
        self.metric
    }

    /// The query's components, as given.
    pub fn query(&self) -> &[f32] {
        &self.query
    }

    /// Number of components.
    pub fn dims(&self) -> usize {
        self.query.len()
    }

    /// Computes the distance to one row of `dims` components.
    ///
    /// # Panics
    /// Where `row.len() != dims`; callers bind dimensions first.
    pub fn distance(&self, row: &[f32]) -> f32 {
        let mut out = [0.0];
        self.distances(row, &mut out);
        out[0]
    }

    /// Computes the distance to each row: `rows` is `[n, dims]`, row after row, `out` is `[n]`.
    ///
    /// # Panics
    /// Where `rows.len() != out.len() * dims`; callers bind dimensions first.
    pub fn distances(&self, rows: &[f32], out: &mut [f32]) {
        kernel::assert_shape(&self.query, rows, out);
        match self.metric {
            DistanceMetric::Cosine => self.cosine_distances(rows, out),
            DistanceMetric::EuclideanSquared => {
                self.kernels.l2_squared(&self.query, rows, out);
            }
            DistanceMetric::DotProduct => {
                self.kernels.dot(&self.query, rows, out);
                self.finish(rows, out, |_, dot| metric::dot_product(dot));
            }
        }
    }

    fn cosine_distances(&self, rows: &[f32], out: &mut [f32]) {
        let mut norms = [0.0; COSINE_BLOCK_ROWS];
        let mut rest = rows;
        for block_out in out.chunks_mut(COSINE_BLOCK_ROWS) {
            let block;
            (block, rest) = rest.split_at(block_out.len() * self.dims());
            let norms = &mut norms[..block_out.len()];
            self.kernels
                .dot_and_norm(&self.query, block, block_out, norms);
            self.finish(block, block_out, |row_idx, dot| {
                metric::cosine(dot, self.norm_squared, norms[row_idx])
            });
        }
    }

    /// Turns sums into distances in place; a row whose sum is unusable is computed by definition.
    fn finish(
        &self,
        rows: &[f32],
        sums: &mut [f32],
        distance_of: impl Fn(usize, f32) -> Option<f32>,
    ) {
        for (row_idx, slot) in sums.iter_mut().enumerate() {
            *slot = distance_of(row_idx, *slot).unwrap_or_else(|| {
                let start = row_idx * self.dims();
                let row = &rows[start..start + self.dims()];
                metric::by_definition(self.metric, &self.query, row)
            });
        }
    }
}
