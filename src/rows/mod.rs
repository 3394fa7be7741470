//! Documents as Arrow record batches: the one layout used by the log, the tail and, later, segments.
//!
//! A batch has the column `id` first (UInt64, FixedSizeBinary(16) or Utf8, never null), then one column
//! per attribute in ascending attribute id, named `a{attr_id}`. Scalars: Utf8, Int64, UInt64, Float64,
//! FixedSizeBinary(16), Timestamp(Millisecond) without zone, Boolean, all nullable. Arrays: List of the
//! scalar, child `item`, nullable list, non-null elements. `[]unknown`: List of Null... stored as List of
//! Boolean, always empty. Vectors: FixedSizeList of non-null Float32, non-null.
//! Names live only in the schema; a column is found by its attribute's number.
//!
//! Must not know: IO, the log, JSON. Read `layout.rs` first.
