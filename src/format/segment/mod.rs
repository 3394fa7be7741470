//! Segments: the two immutable files of a set of rows, and how any part of them is found and proved.
//!
//! Owns: `.parquet` (the documents), `.idx` (what is derived from them) and its footer. Rows are numbered
//! once: row r of the Parquet file is row r everywhere. Nothing here reads: callers ask which bytes are
//! needed, fetch them, check them against the sums of the footer, and hand them in.
//!
//! Must not know: IO, caches, which rows are deleted. Read `footer.rs` first, then `seal.rs`; the page is
//! `docs/format/segment.md`.

mod check;
pub mod columns;
mod footer;
mod ids;
mod kinds;
mod merge;
mod metadata;
mod parquet;
mod reindex;
mod seal;
mod sort;
mod stats;
mod sums;
#[cfg(test)]
mod tests;
mod vectors;

pub use check::FileCheck;
pub use columns::{ColumnRead, ColumnStep, ROW_COLUMN};
pub use footer::{Column, Footer, RowOrder};
pub use ids::{ID_BLOCK_BYTES_MAX, IdBlock, IdRead};
pub use merge::{MergePart, MergeSource, plan_merge};
pub use reindex::{Reindexed, prove_whole, reindex};
pub use seal::{SealedSegment, object_ref, seal};
pub use sums::{BlockSums, SUM_BLOCK_BYTES};
pub use vectors::{VectorPage, VectorPages};

pub use crate::types::{AttributeStats, Bound, FooterRef, ObjectRef, Stats};

/// Rows of one batch, where the segment is small enough that no column of a batch can pass 2 GiB.
const BATCH_ROWS: usize = 4_096;
/// Rows of one batch otherwise: with 8 MiB a value, still below 2 GiB.
const BATCH_ROWS_LARGE: usize = 128;
/// A segment of fewer logical bytes is small.
const SMALL_BYTES: u64 = 1 << 30;

fn batch_rows(logical_bytes: u64) -> usize {
    match logical_bytes < SMALL_BYTES {
        true => BATCH_ROWS,
        false => BATCH_ROWS_LARGE,
    }
}
