//! Inverted lists of sparse vectors: for each dimension the rows that have it and their weights, from which the rows
//! with the highest products with a query are found.
//!
//! Owns: the lists' bytes, making them, their proof, the search. Dimensions lie in a dictionary as values of any
//! attribute do, with a list of another form.
//!
//! Must not know: IO, what else a rank expression may hold. Read `list.rs` first, then `top.rs`; the page is
//! `docs/format/sparse.md`.

mod build;
mod list;
mod open;
mod prove;
#[cfg(test)]
mod tests;
mod top;

use std::ops::Range;

pub use build::{SparseDraft, build_sparse};
pub use prove::prove_sparse;
pub use top::{Scored, SparseTop};

use super::attribute::Section;
use super::cursor::Reader;
use super::dictionary::Dictionary;
use crate::error::Result;

/// The directory of the lists of one attribute in one segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SparseIndex {
    n_rows: u32,
    dictionary: Dictionary,
}

impl SparseIndex {
    /// Rows of the segment.
    pub fn n_rows(&self) -> usize {
        self.n_rows as usize
    }

    /// Dimensions that any row has.
    pub fn n_dims(&self) -> u32 {
        self.dictionary.n_values()
    }

    /// Encodes the directory.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.dictionary.encode(&mut out);
        out
    }

    /// Decodes a directory: of a segment of `n_rows` rows, in the sections that `place` finds. Errors: `Corrupted`.
    pub fn decode(
        n_rows: u32,
        place: impl Fn(Section) -> Result<Range<u64>>,
        bytes: &[u8],
    ) -> Result<Self> {
        let mut reader = Reader::new("directory of an attribute", bytes);
        let (entries, lists) = (place(Section::Dictionary)?, place(Section::Lists)?);
        let dictionary = Dictionary::decode(&mut reader, entries, lists)?;
        reader.end()?;
        Ok(Self { n_rows, dictionary })
    }

    /// The bytes it takes in memory, about.
    pub fn memory_bytes(&self) -> usize {
        size_of::<Self>() + self.dictionary.memory_bytes()
    }
}
