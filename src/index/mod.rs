//! Attribute indexes: what an index file keeps of each filterable attribute, and how filters, orders and groups are
//! answered from it without the documents.
//!
//! Owns: columns in row order, dictionaries of values, postings (which rows have a value), their encoding, their proof
//! and the reading of any part. Nothing here reads files: callers learn which bytes are wanted, fetch them, and hand
//! them in ([`Pages`]).
//!
//! Must not know: IO, caches, which rows are deleted. Read `attribute.rs` first, then `select.rs`; the page is
//! `docs/format/attributes.md`, the reasons are `docs/decisions/0005-attributes-have-sections-of-their-own.md`.
#![deny(clippy::unwrap_used, clippy::indexing_slicing)]

mod attribute;
mod beside;
mod block;
mod build;
mod column;
mod cursor;
mod dictionary;
mod estimate;
mod leaf;
mod names;
mod pack;
mod pages;
mod postings;
mod prove;
mod rule;
mod select;
mod sparse;
mod term;
#[cfg(test)]
mod tests;
mod top;
mod zone;

pub use attribute::{AttributeIndex, Section};
pub use beside::{Beside, Rows};
pub use block::{Block, Values};
pub use build::{AttributeDraft, build};
pub use column::{BLOCK_ROWS, Column, GROUP_ROWS, GroupEnds};
pub use dictionary::Dictionary;
pub use estimate::{Estimate, estimate};
pub use names::Names;
pub use pages::{Pages, Work};
pub use prove::prove;
pub use select::{Indexed, Lookup, Selection, Sources, split};
pub use sparse::{Scored, SparseDraft, SparseIndex, SparseTop, build_sparse, prove_sparse};
pub use term::value_of_number;
pub use top::{Top, TopKey};
