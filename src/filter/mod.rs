//! Filters: JSON to tree, tree and schema to a bound filter, bound filter and rows to a bitmap.
//!
//! Must not know: where rows are stored, who may see them. Read `eval.rs` first.
