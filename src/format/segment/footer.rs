//! The footer of an index file: all that must be known to read any part of a segment, in one blob.
//!
//! Format: `docs/format/segment.md`.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use arrow::datatypes::FieldRef;
use bytes::Bytes;
use parquet::arrow::arrow_reader::ArrowReaderMetadata;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_128;

use super::ids::{IdBlock, IdDirectory, IdRead};
use super::metadata;
use super::sums::BlockSums;
use super::vectors::VectorPages;
use crate::error::Result;
use crate::format::frame::{self, Cursor, ObjectKind, corrupt};
use crate::format::json;
use crate::index::{AttributeIndex, Indexed, Section, SparseIndex};
use crate::types::{AttrId, AttributeType, DocId, FooterRef, IdKind, Stats, limits};

/// Names of sections and parts. Those of one attribute end in its number.
pub(super) mod names {
    pub(in super::super) const IDS: &str = "ids";
    pub(in super::super) const CHECKS: &str = "checks.";
    pub(in super::super) const PARQUET: &str = "parquet";
    pub(in super::super) const PARQUET_SUMS: &str = "sums.parquet";
    pub(in super::super) const INDEX_SUMS: &str = "sums.index";
    pub(in super::super) const ID_DIRECTORY: &str = "ids.directory";
    pub(in super::super) const ID_FILTER: &str = "ids.filter";
    pub(in super::super) const PAGES: &str = "pages.";
    pub(in super::super) const PRESENT: &str = "present.";
    pub(in super::super) const ATTRIBUTE: &str = "attr.";
}

/// In which order the rows of a segment are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RowOrder {
    /// Ascending by id.
    Ids,
}

/// A range of bytes, written `[start, end]`.
type Span = (u64, u64);

/// The first thing in a footer: what is where, as JSON.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Head {
    pub(super) rows: u64,
    pub(super) row_order: RowOrder,
    pub(super) logical_bytes: u64,
    pub(super) id_kind: IdKind,
    pub(super) parquet_bytes: u64,
    /// Attributes by number.
    pub(super) columns: BTreeMap<AttrId, ColumnHead>,
    pub(super) stats: Stats,
    /// Parts of the index file before the footer.
    pub(super) sections: BTreeMap<String, Span>,
    /// Parts of the footer, counted from the end of this head.
    pub(super) parts: BTreeMap<String, Span>,
}

/// A column of the segment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ColumnHead {
    #[serde(rename = "type")]
    pub(super) kind: AttributeType,
    pub(super) nulls: u64,
}

/// An attribute's column in a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Which attribute.
    pub attr: AttrId,
    /// Its type when the segment was made; only `[]unknown` can have grown since.
    pub kind: AttributeType,
    /// Rows without a value.
    pub nulls: u64,
    /// Its place among the columns of the Parquet file.
    pub(super) root: usize,
    /// Its field in the layout of `rows`.
    pub(super) field: FieldRef,
}

/// Head and parts of a footer that is being made.
#[derive(Debug)]
pub(super) struct FooterDraft {
    pub(super) head: Head,
    pub(super) parts: Vec<u8>,
}

impl FooterDraft {
    pub(super) fn part(&mut self, name: String, bytes: &[u8]) {
        let start = self.parts.len() as u64;
        self.parts.extend_from_slice(bytes);
        let span = (start, self.parts.len() as u64);
        self.head.parts.insert(name, span);
    }

    /// Seals the footer and says where it lies in an index file of `offset` bytes so far.
    pub(super) fn seal(&self, offset: u64) -> Result<(Vec<u8>, FooterRef)> {
        let head = json::encode(&self.head)?;
        let mut payload = Vec::with_capacity(4 + head.len() + self.parts.len());
        payload.extend_from_slice(&(head.len() as u32).to_le_bytes());
        payload.extend_from_slice(&head);
        payload.extend_from_slice(&self.parts);
        let footer = frame::seal(ObjectKind::Footer, &payload);
        let place = FooterRef {
            offset,
            bytes: footer.len() as u64,
            hash: xxh3_128(&footer),
        };
        Ok((footer, place))
    }
}

/// A decoded footer: the way into both files of a segment.
#[derive(Debug, Clone)]
pub struct Footer {
    key: Arc<str>,
    rows: u32,
    row_order: RowOrder,
    logical_bytes: u64,
    stats: Stats,
    sections: BTreeMap<String, Span>,
    parquet_sums: BlockSums,
    index_sums: BlockSums,
    ids: IdDirectory,
    columns: Vec<Column>,
    id_field: FieldRef,
    vectors: Vec<VectorPages>,
    attributes: BTreeMap<AttrId, Arc<AttributeIndex>>,
    sparse: BTreeMap<AttrId, Arc<SparseIndex>>,
    parquet: ArrowReaderMetadata,
    parquet_part_bytes: usize,
}

impl Footer {
    /// Decodes the footer that `place` names in the index file `key`, and proves it by its hash first.
    ///
    /// Errors: `Corrupted` if length or hash differ, and like `decode`.
    pub fn open(key: &str, place: &FooterRef, bytes: &[u8]) -> Result<Self> {
        if bytes.len() as u64 != place.bytes {
            return Err(corrupt(
                key,
                "length of the footer",
                place.bytes,
                bytes.len(),
            ));
        }
        let found = xxh3_128(bytes);
        if found != place.hash {
            return Err(corrupt(
                key,
                "hash of the footer",
                format_args!("{:032x}", place.hash),
                format_args!("{found:032x}"),
            ));
        }
        let footer = Self::decode(key, bytes)?;
        if footer.index_sums.bytes() != place.offset {
            return Err(corrupt(
                key,
                "offset of the footer",
                place.offset,
                footer.index_sums.bytes(),
            ));
        }
        Ok(footer)
    }

    /// Decodes a footer; its envelope proves the bytes before any of them is believed.
    ///
    /// Errors: `Corrupted` naming `key`; `Unavailable` for an unknown format.
    pub fn decode(key: &str, bytes: &[u8]) -> Result<Self> {
        let payload = frame::open(key, ObjectKind::Footer, bytes)?;
        let mut cursor = Cursor::new(key, payload);
        let head_bytes = cursor.u32()? as usize;
        let head: Head = json::decode(key, "head of the footer", cursor.bytes(head_bytes)?)?;
        let parts = Parts {
            key,
            spans: &head.parts,
            bytes: payload.get(4 + head_bytes..).unwrap_or_default(),
        };
        let rows = u32::try_from(head.rows)
            .ok()
            .filter(|rows| *rows > 0 && head.rows <= limits::SEGMENT_ROWS_MAX)
            .ok_or_else(|| corrupt(key, "rows", "1 to 2^31", head.rows))?;
        let ids = section(key, &head.sections, names::IDS)?;
        let tail = parts.get(names::PARQUET)?;
        let parquet = metadata::decode(key, head.parquet_bytes, Bytes::copy_from_slice(tail))?;
        let (id_field, columns) = metadata::columns(key, &parquet, &head)?;
        let index_bytes = head.sections.values().map(|span| span.1).max().unwrap_or(0);
        Ok(Self {
            key: key.into(),
            rows,
            row_order: head.row_order,
            logical_bytes: head.logical_bytes,
            parquet_sums: BlockSums::decode(
                key,
                head.parquet_bytes,
                parts.get(names::PARQUET_SUMS)?,
            )?,
            index_sums: BlockSums::decode(key, index_bytes, parts.get(names::INDEX_SUMS)?)?,
            ids: IdDirectory::decode(
                key,
                head.id_kind,
                ids,
                parts.get(names::ID_DIRECTORY)?,
                parts.get(names::ID_FILTER)?,
            )?,
            vectors: vectors(key, rows, &head, &parts)?,
            attributes: attributes(key, rows, &head, &parts)?,
            sparse: sparse(key, rows, &head, &parts)?,
            columns,
            id_field,
            parquet,
            parquet_part_bytes: tail.len(),
            stats: head.stats,
            sections: head.sections,
        })
    }

    /// Makes what reads the columns of a whole Parquet file that has no index file: it finds no id, no vector and
    /// nothing by an index. `head` has no parts. Errors: `Corrupted` naming `key` where columns are not those of the head.
    pub(super) fn bare(key: &str, file: &Bytes, head: Head) -> Result<Self> {
        let rows = u32::try_from(head.rows)
            .ok()
            .filter(|rows| *rows > 0 && head.rows <= limits::SEGMENT_ROWS_MAX)
            .ok_or_else(|| corrupt(key, "rows", "1 to 2^31", head.rows))?;
        let parquet = metadata::decode(key, file.len() as u64, file.clone())?;
        let (id_field, columns) = metadata::columns(key, &parquet, &head)?;
        Ok(Self {
            key: key.into(),
            rows,
            row_order: head.row_order,
            logical_bytes: head.logical_bytes,
            parquet_sums: BlockSums::of(&[]),
            index_sums: BlockSums::of(&[]),
            ids: IdDirectory::empty(head.id_kind),
            vectors: Vec::new(),
            attributes: BTreeMap::new(),
            sparse: BTreeMap::new(),
            columns,
            id_field,
            parquet,
            parquet_part_bytes: 0,
            stats: head.stats,
            sections: head.sections,
        })
    }

    /// Finds the footer at the end of an index file and decodes it, for those who hold no reference to it;
    /// `None` if it does not lie wholly in `end`, the last bytes of the file.
    ///
    /// Errors: like `decode`.
    pub fn find(key: &str, end: &[u8]) -> Result<Option<Self>> {
        let mut starts = end.windows(frame::MAGIC.len()).enumerate().rev();
        let footer = starts.find_map(|(at, magic)| {
            let footer = end.get(at..).filter(|_| magic == frame::MAGIC)?;
            frame::is_whole(ObjectKind::Footer, footer).then_some(footer)
        });
        footer.map(|footer| Self::decode(key, footer)).transpose()
    }

    /// The key of the index file it came from.
    pub fn key(&self) -> &Arc<str> {
        &self.key
    }

    /// Rows of the segment, deleted ones included.
    pub fn rows(&self) -> u32 {
        self.rows
    }

    /// In which order they are.
    pub fn row_order(&self) -> RowOrder {
        self.row_order
    }

    /// The bytes of all values, as `rows::logical_bytes` counts them.
    pub fn logical_bytes(&self) -> u64 {
        self.logical_bytes
    }

    /// What the segment holds at a glance.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// The kind of its ids.
    pub fn id_kind(&self) -> IdKind {
        self.ids.kind
    }

    /// Checksums of the whole Parquet file.
    pub fn parquet_sums(&self) -> &BlockSums {
        &self.parquet_sums
    }

    /// Checksums of the index file up to where the footer starts.
    pub fn index_sums(&self) -> &BlockSums {
        &self.index_sums
    }

    /// Its attributes, ascending.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// Finds an attribute's column; `None` if no row can have a value.
    pub fn column(&self, attr: AttrId) -> Option<&Column> {
        let at = self
            .columns
            .binary_search_by_key(&attr, |column| column.attr);
        self.columns.get(at.ok()?)
    }

    /// The bytes that these columns, with or without the ids, take once decompressed: how much of them to
    /// read at once.
    pub fn column_bytes(&self, attrs: &[AttrId], with_id: bool) -> u64 {
        let ids = with_id.then_some(0);
        let columns = attrs.iter().filter_map(|attr| self.column(*attr));
        let roots: Vec<usize> = ids
            .into_iter()
            .chain(columns.map(|column| column.root))
            .collect();
        metadata::uncompressed_bytes(self.parquet.metadata(), &roots)
    }

    /// Where a named section of the index file lies.
    pub fn section(&self, name: &str) -> Option<Range<u64>> {
        self.sections.get(name).map(|span| span.0..span.1)
    }

    /// All sections of the index file: where each begins and ends.
    pub fn sections(&self) -> &BTreeMap<String, (u64, u64)> {
        &self.sections
    }

    /// Finds the pages of a vector attribute; `None` if the segment has no such column.
    pub fn vector_pages(&self, attr: AttrId) -> Option<&VectorPages> {
        self.vectors.iter().find(|pages| pages.attr() == attr)
    }

    /// Says what the segment has of an attribute for filters.
    pub fn indexed(&self, attr: AttrId) -> Indexed {
        match (self.attributes.get(&attr), self.column(attr)) {
            (Some(index), _) => Indexed::By(Arc::clone(index)),
            (None, Some(column)) if column.nulls < u64::from(self.rows) => Indexed::Not,
            (None, _) => Indexed::Absent,
        }
    }

    /// The inverted lists of an attribute of sparse vectors, if the segment has them.
    pub fn sparse(&self, attr: AttrId) -> Option<&Arc<SparseIndex>> {
        self.sparse.get(&attr)
    }

    /// Whether an id may be in the segment; `false` is certain.
    pub fn may_contain(&self, id: &DocId) -> bool {
        self.ids.may_contain(id)
    }

    /// Lists the id blocks to read from the index file to look these ids up, by offset, each once. Ids that
    /// the filter rules out are in none. Ids may be in any order.
    pub fn id_reads(&self, ids: &[DocId]) -> Vec<IdRead> {
        self.ids.reads(ids)
    }

    /// The id block in which ids before this one end, where rows are in the order of ids; `None` if there are none.
    pub fn id_block_before(&self, id: &DocId) -> Option<Range<u64>> {
        self.ids.block_before(id)
    }

    /// Decodes an id block from the bytes of an `IdRead`. Errors: like `IdBlock::decode`.
    pub fn id_block<'a>(&'a self, bytes: &'a [u8]) -> Result<IdBlock<'a>> {
        IdBlock::decode(&self.key, self.ids.kind, u64::from(self.rows), bytes)
    }

    /// The bytes it takes in memory, about.
    pub fn memory_bytes(&self) -> usize {
        // Decoded Parquet metadata takes a few times its bytes.
        size_of::<Self>()
            + self
                .parquet
                .metadata()
                .memory_size()
                .max(self.parquet_part_bytes)
            + (self.parquet_sums.sums().len() + self.index_sums.sums().len()) * 4
            + self.ids.memory_bytes()
            + self
                .vectors
                .iter()
                .map(VectorPages::memory_bytes)
                .sum::<usize>()
            + self
                .attributes
                .values()
                .map(|index| index.memory_bytes())
                .sum::<usize>()
            + self
                .sparse
                .values()
                .map(|index| index.memory_bytes())
                .sum::<usize>()
            + self.columns.len() * (size_of::<Column>() + 256)
            + self.stats.attributes.len() * 256
    }

    pub(super) fn parquet(&self) -> &ArrowReaderMetadata {
        &self.parquet
    }

    pub(super) fn id_field(&self) -> &FieldRef {
        &self.id_field
    }

    /// Rows of one batch of a read.
    pub(super) fn batch_rows(&self) -> usize {
        super::batch_rows(self.logical_bytes)
    }
}

fn vectors(key: &str, rows: u32, head: &Head, parts: &Parts<'_>) -> Result<Vec<VectorPages>> {
    let vectors = head
        .columns
        .iter()
        .filter_map(|(attr, column)| match column.kind {
            AttributeType::Vector { dims, element } => Some((*attr, (dims, element))),
            _ => None,
        });
    vectors
        .map(|(attr, shape)| {
            let pages = parts.get(&format!("{}{}", names::PAGES, attr.0))?;
            let present = format!("{}{}", names::PRESENT, attr.0);
            let present = match head.parts.contains_key(&present) {
                true => Some(parts.get(&present)?),
                false => None,
            };
            let checks = section(key, &head.sections, &format!("{}{}", names::CHECKS, attr.0))?;
            let shape = (attr, shape, rows);
            VectorPages::decode(key, shape, pages, present, checks, head.parquet_bytes)
        })
        .collect()
}

fn attributes(
    key: &str,
    rows: u32,
    head: &Head,
    parts: &Parts<'_>,
) -> Result<BTreeMap<AttrId, Arc<AttributeIndex>>> {
    let mut found = BTreeMap::new();
    for (attr, column) in &head.columns {
        let name = format!("{}{}", names::ATTRIBUTE, attr.0);
        if column.kind == AttributeType::Sparse || !head.parts.contains_key(&name) {
            continue;
        }
        let place = |part: Section| section(key, &head.sections, &section_name(*attr, part));
        let counts = (rows, column.nulls);
        let index = AttributeIndex::decode(column.kind, counts, place, parts.get(&name)?);
        let index = index.map_err(|error| error.within(&format!("object `{key}`, `{name}`")))?;
        found.insert(*attr, Arc::new(index));
    }
    Ok(found)
}

fn sparse(
    key: &str,
    rows: u32,
    head: &Head,
    parts: &Parts<'_>,
) -> Result<BTreeMap<AttrId, Arc<SparseIndex>>> {
    let mut found = BTreeMap::new();
    for (attr, column) in &head.columns {
        let name = format!("{}{}", names::ATTRIBUTE, attr.0);
        if column.kind != AttributeType::Sparse || !head.parts.contains_key(&name) {
            continue;
        }
        let place = |part: Section| section(key, &head.sections, &section_name(*attr, part));
        let index = SparseIndex::decode(rows, place, parts.get(&name)?);
        let index = index.map_err(|error| error.within(&format!("object `{key}`, `{name}`")))?;
        found.insert(*attr, Arc::new(index));
    }
    Ok(found)
}

/// The name of a section of an attribute's index.
pub(super) fn section_name(attr: AttrId, section: Section) -> String {
    format!("{}{}.{}", names::ATTRIBUTE, attr.0, section.name())
}

fn section(key: &str, sections: &BTreeMap<String, Span>, name: &str) -> Result<Range<u64>> {
    match sections.get(name) {
        Some((start, end)) if start <= end => Ok(*start..*end),
        other => Err(corrupt(
            key,
            &format!("section `{name}`"),
            "a range",
            format_args!("{other:?}"),
        )),
    }
}

/// The binary parts behind the head.
struct Parts<'a> {
    key: &'a str,
    spans: &'a BTreeMap<String, Span>,
    bytes: &'a [u8],
}

impl<'a> Parts<'a> {
    fn get(&self, name: &str) -> Result<&'a [u8]> {
        let span = self.spans.get(name);
        let part = span.and_then(|(start, end)| {
            let (start, end) = (usize::try_from(*start).ok()?, usize::try_from(*end).ok()?);
            self.bytes.get(start..end)
        });
        part.ok_or_else(|| {
            let expected = format!("a range of {} bytes", self.bytes.len());
            corrupt(
                self.key,
                &format!("part `{name}`"),
                expected,
                format_args!("{span:?}"),
            )
        })
    }
}
