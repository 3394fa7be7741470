//! Documents as Arrow record batches: the one layout used by the log, the tail and, later, segments.
//!
//! A batch has the column `id` first (UInt64, FixedSizeBinary(16) or Utf8, never null), then one column
//! per attribute in ascending attribute id, named `a{attr_id}`. Scalars: Utf8, Int64, UInt64, Float64,
//! FixedSizeBinary(16), Timestamp(Millisecond) without zone, Boolean, all nullable. Arrays: List of the
//! scalar, child `item`, nullable list, non-null elements. `[]unknown`: List of Boolean,
//! always empty. Bytes: Binary, nullable. Sparse vectors: Map of non-null
//! Utf8 to non-null Float16, nullable, keys ascending. Vectors: FixedSizeList of non-null Float32, Float16 or Int8, null (over zeros)
//! only in rows older than the vector attribute.
//! Names live only in the schema; a column is found by its attribute's number.
//!
//! Must not know: IO, the log, JSON. Read `layout.rs` first.

pub mod align;
pub mod build;
pub mod cell;
pub mod ids;
pub mod layout;
pub mod overlay;
pub mod raw;
pub mod size;
pub mod sparse;
pub mod sum;
pub mod vectors;

pub use align::{align, concat, take_rows};
pub use build::RowsBuilder;
pub use cell::{ScalarColumn, value_at, value_of, vector_nulls, vectors};
pub use ids::{detached, id_array, id_at, ids_of};
pub use layout::{arrow_schema, column, id_column};
pub use overlay::{Given, overlay};
pub use size::{logical_bytes, memory_bytes, row_bytes};
pub use sparse::SparseColumn;
pub use sum::RowSum;
pub use vectors::VectorColumn;
