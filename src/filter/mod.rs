//! Filters: JSON to tree, tree and schema to a bound filter, bound filter and rows to a bitmap.
//!
//! Must not know: where rows are stored, who may see them. Read `eval.rs` first.

pub mod bind;
pub mod bound;
pub mod eval;
pub mod mask;
pub mod parse;

pub use bind::bind;
pub use bound::{BoundFilter, Comparison, Members, Target};
pub use eval::eval;
pub use mask::RowMask;
pub use parse::{is_operator, parse, parse_at, raw};

#[cfg(test)]
mod tests;
