//! Exact distances between vectors, as fast as memory delivers them.
//!
//! Owns: what each metric means, the prepared query, the kernels and which of them this processor runs.
//! Must not know: documents, schemas, segments, files, threads; a vector here is a slice of `f32`.
//! Read first: `metric.rs` (the meaning), then [`PreparedQuery::distances`] (the one way in).

mod distance;
pub mod kernel;
mod metric;

pub use distance::PreparedQuery;

#[cfg(test)]
mod tests;
