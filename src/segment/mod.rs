//! Segments in a store: any part of their two files, fetched through the block cache and proved.
//!
//! Owns: when the footer is fetched and kept, which bytes are asked for together, how many are in flight.
//! Must not know: the log, which rows are live, what a query wants. Read `reader.rs` first; what the bytes
//! mean is `format/segment`.

mod columns;
mod ids;
mod reader;
mod select;
mod vectors;

pub use columns::{BatchRows, SegmentBatch};
pub use ids::is_of_ids;
pub use reader::{SegmentReader, missing};
pub use select::Selected;
pub use vectors::VectorPiece;

#[cfg(test)]
pub(crate) mod tests;
