//! Filters: JSON or text to tree, tree and schema to a bound filter, bound filter and rows to a bitmap, bound filter
//! and stats to whether rows must be looked at.
//!
//! Must not know: where rows are stored, who may see them. Read `eval.rs` first.

pub mod bind;
pub mod bound;
pub mod eval;
pub mod glob;
pub mod mask;
pub mod members;
pub mod parse;
pub mod pattern;
pub mod prune;
pub mod text;

pub use bind::bind;
pub use bound::{BoundFilter, Columns, Comparison, Target};
pub use eval::eval;
pub use mask::RowMask;
pub use members::Members;
pub use parse::{is_operator, parse, parse_at, raw};
pub use pattern::Pattern;
pub use prune::{Verdict, prune};
pub use text::parse_text;

#[cfg(test)]
mod tests;
