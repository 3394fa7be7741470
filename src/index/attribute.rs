//! The index of one attribute: which parts it has, and their directory.
//!
//! | values | column | dictionary and lists |
//! |---|---|---|
//! | single numbers, booleans, times | of the numbers | - |
//! | single texts, UUIDs | of places in the dictionary | yes |
//! | lists of anything | - | of their elements |
//!
//! Rows without a value are listed beside them where there are some and not all are.

use std::ops::Range;

use super::column::Column;
use super::cursor::{Reader, corrupt};
use super::dictionary::{Dictionary, StoredList};
use super::postings::ListForm;
use super::term;
use crate::error::Result;
use crate::types::{AttributeType, ScalarType};

/// A part of an attribute's index that is a section of the index file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Section {
    /// Numbers in row order.
    Column,
    /// Values in order.
    Dictionary,
    /// Rows of values that many rows have; of sparse vectors, of dimensions, with their weights.
    Lists,
    /// Rows without a value.
    Missing,
}

impl Section {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Column, Self::Dictionary, Self::Lists, Self::Missing];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Column => "column",
            Self::Dictionary => "dictionary",
            Self::Lists => "lists",
            Self::Missing => "missing",
        }
    }
}

/// The type of the values, and whether they are lists; `None` for a type that filters, orders and groups cannot name.
fn shape_of(kind: AttributeType) -> Option<(ScalarType, bool)> {
    match kind {
        AttributeType::Scalar(kind) => Some((kind, false)),
        AttributeType::Array(kind) => Some((kind, true)),
        _ => None,
    }
}

/// The directory of an attribute's index in one segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttributeIndex {
    /// The type of its values, or of the elements of its lists.
    pub kind: ScalarType,
    /// Whether its values are lists.
    pub is_list: bool,
    pub(super) n_rows: u32,
    pub(super) n_missing: u32,
    pub(super) column: Option<Column>,
    pub(super) dictionary: Option<Dictionary>,
    pub(super) missing: Option<StoredList>,
}

impl AttributeIndex {
    /// An index without its parts; `None` for a type that has none.
    pub(super) fn empty(kind: AttributeType, n_rows: u32, n_missing: u32) -> Option<Self> {
        let (kind, is_list) = shape_of(kind)?;
        Some(Self {
            kind,
            is_list,
            n_rows,
            n_missing,
            column: None,
            dictionary: None,
            missing: None,
        })
    }

    /// Rows of the segment.
    pub fn n_rows(&self) -> usize {
        self.n_rows as usize
    }

    /// The column in row order; lists have none.
    pub fn column(&self) -> Option<&Column> {
        self.column.as_ref()
    }

    /// The distinct values; single numbers have none.
    pub fn dictionary(&self) -> Option<&Dictionary> {
        self.dictionary.as_ref()
    }

    /// Whether it has this section.
    fn has(&self, section: Section) -> bool {
        match section {
            Section::Column => !self.is_list,
            Section::Dictionary | Section::Lists => self.is_list || !term::is_number(self.kind),
            Section::Missing => self.n_missing > 0 && self.n_missing < self.n_rows,
        }
    }

    /// Encodes the directory.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        if let Some(column) = &self.column {
            column.encode(&mut out);
        }
        if let Some(dictionary) = &self.dictionary {
            dictionary.encode(&mut out);
        }
        if let Some(missing) = &self.missing {
            out.push(u8::from(missing.form == ListForm::Roaring));
        }
        out
    }

    /// Decodes a directory: of an attribute of type `kind`, of which `n_missing` of `n_rows` rows have no value, in the
    /// sections that `place` finds. Errors: `Corrupted`.
    pub fn decode(
        kind: AttributeType,
        (n_rows, n_missing): (u32, u64),
        place: impl Fn(Section) -> Result<Range<u64>>,
        bytes: &[u8],
    ) -> Result<Self> {
        let n_missing = u32::try_from(n_missing)
            .ok()
            .filter(|n_missing| *n_missing <= n_rows)
            .ok_or_else(|| corrupt("rows without a value", n_rows, n_missing))?;
        let index = Self::empty(kind, n_rows, n_missing);
        let mut index = index.ok_or_else(|| corrupt("type", "one with an index", kind))?;
        let mut reader = Reader::new("directory of an attribute", bytes);
        if index.has(Section::Column) {
            let column = Column::decode(&mut reader, n_rows, place(Section::Column)?)?;
            index.column = Some(column);
        }
        if index.has(Section::Dictionary) {
            let (entries, lists) = (place(Section::Dictionary)?, place(Section::Lists)?);
            index.dictionary = Some(Dictionary::decode(&mut reader, entries, lists)?);
        }
        if index.has(Section::Missing) {
            let form = match reader.u8()? {
                0 => ListForm::Varints,
                1 => ListForm::Roaring,
                other => return Err(corrupt("form of a list", "0 or 1", other)),
            };
            index.missing = Some(StoredList {
                form,
                range: place(Section::Missing)?,
                count: n_missing,
            });
        }
        reader.end()?;
        Ok(index)
    }

    /// The bytes it takes in memory, about.
    pub fn memory_bytes(&self) -> usize {
        size_of::<Self>()
            + self.column.as_ref().map_or(0, Column::memory_bytes)
            + self.dictionary.as_ref().map_or(0, Dictionary::memory_bytes)
    }
}
