//! Rows to the two files of a segment; what was written is read back before it is handed out.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;

use arrow::array::{Array, RecordBatch};
use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_128;

use super::columns::{self, ColumnRead};
use super::footer::{ColumnHead, Footer, FooterDraft, Head, RowOrder, names, section_name};
use super::sums::BlockSums;
use super::vectors::{Page, VectorPages};
use super::{ids, metadata, parquet, sort, stats};
use crate::error::{Error, Result};
use crate::index::{self, Indexed, Pages};
use crate::rows::{self, layout};
use crate::types::{
    AttrId, AttributeSchema, AttributeType, FooterRef, IdKind, NamespaceSchema, ObjectRef, Stats,
    VectorElement, limits,
};

/// The name that errors of a seal give to its files: they have no key yet.
const UNNAMED: &str = "segment being sealed";

/// The two files of a new segment, and what the log says about them.
#[derive(Debug, Clone)]
pub struct SealedSegment {
    /// The documents.
    pub parquet: Bytes,
    /// What is derived from them; the footer is its end.
    pub index: Bytes,
    /// Where the footer lies in the index file.
    pub footer: FooterRef,
    /// Rows.
    pub rows: u64,
    /// The bytes of all values, as `rows::logical_bytes` counts them.
    pub logical_bytes: u64,
    /// What it holds at a glance.
    pub stats: Stats,
    /// Attributes with values and without an index, ascending: filters could not name them.
    pub unindexed: Vec<AttrId>,
}

/// Names a file's bytes.
pub fn object_ref(path: String, bytes: &[u8]) -> ObjectRef {
    ObjectRef {
        path,
        bytes: bytes.len() as u64,
        hash: xxh3_128(bytes),
    }
}

/// Seals rows into a segment: at least one row, ids unique, in any order.
///
/// What was written is decoded again and compared with the rows, vectors byte for byte at the ranges that
/// the footer gives. Takes about three times the rows' memory, and as long as a write and a read of them.
/// Errors: `Internal` if ids repeat, there are no rows or too many, or the files do not read back;
/// `Corrupted` if a batch does not fit the schema.
pub fn seal(batches: &[RecordBatch], schema: &NamespaceSchema) -> Result<SealedSegment> {
    let chunks = sort::sorted(batches, schema)?;
    let file = Bytes::from(parquet::write(&chunks, schema)?);
    let derived = derive(&file, &chunks, schema)?;
    Ok(SealedSegment {
        parquet: file,
        index: derived.index,
        footer: derived.footer,
        rows: derived.rows,
        logical_bytes: derived.logical_bytes,
        stats: derived.stats,
        unindexed: derived.unindexed,
    })
}

/// All that follows from the documents of a segment.
#[derive(Debug)]
pub(super) struct Derived {
    pub(super) index: Bytes,
    pub(super) footer: FooterRef,
    pub(super) rows: u64,
    pub(super) logical_bytes: u64,
    pub(super) stats: Stats,
    pub(super) unindexed: Vec<AttrId>,
}

/// Makes the index file of a Parquet file and the rows that are in it, and reads both back.
pub(super) fn derive(
    file: &Bytes,
    chunks: &[RecordBatch],
    schema: &NamespaceSchema,
) -> Result<Derived> {
    let rows: u64 = chunks.iter().map(|chunk| chunk.num_rows() as u64).sum();
    let kind = schema.id_kind.unwrap_or(IdKind::Uint);
    let stats = stats::of(chunks, schema).filter(|_| rows <= limits::SEGMENT_ROWS_MAX);
    let Some(stats) = stats else {
        return Err(Error::internal(format!(
            "rows of a segment: expected 1 to {}, found {rows}",
            limits::SEGMENT_ROWS_MAX
        )));
    };
    let logical_bytes = chunks.iter().map(rows::logical_bytes).sum();
    let mut draft = FooterDraft {
        head: Head {
            rows,
            row_order: RowOrder::Ids,
            logical_bytes,
            id_kind: kind,
            parquet_bytes: file.len() as u64,
            columns: column_heads(chunks, schema),
            stats: stats.clone(),
            sections: BTreeMap::new(),
            parts: BTreeMap::new(),
        },
        parts: Vec::new(),
    };
    let tail = metadata::tail_start(UNNAMED, file)?;
    draft.part(
        names::PARQUET.to_owned(),
        part_of(file, tail..file.len() as u64)?,
    );
    draft.part(
        names::PARQUET_SUMS.to_owned(),
        &BlockSums::of(file).encode(),
    );

    let (mut index, directory) = ids::build(kind, chunks, 0);
    let span = (0, index.len() as u64);
    draft.head.sections.insert(names::IDS.to_owned(), span);
    draft.part(names::ID_DIRECTORY.to_owned(), &directory.encode());
    draft.part(names::ID_FILTER.to_owned(), &directory.filter.encode());
    for (_, attribute) in schema.vectors() {
        if let AttributeType::Vector { dims, element } = attribute.kind {
            let shape = (dims, element);
            add_vectors(&mut draft, &mut index, file, chunks, (attribute.id, shape))?;
        }
    }
    let mut unindexed = Vec::new();
    for (_, attribute) in layout::attributes_in_order(schema) {
        if !has_values(&draft.head, attribute.id) {
            continue;
        }
        let can_be_named = can_be_named(attribute.kind);
        if attribute.kind == AttributeType::Sparse || (can_be_named && attribute.filterable) {
            add_attribute(&mut draft, &mut index, chunks, attribute)?;
        } else if can_be_named {
            unindexed.push(attribute.id);
        }
    }
    draft.part(
        names::INDEX_SUMS.to_owned(),
        &BlockSums::of(&index).encode(),
    );
    let (footer, place) = draft.seal(index.len() as u64)?;
    index.extend_from_slice(&footer);
    let index = Bytes::from(index);
    prove((file, &index), chunks, &place)?;
    Ok(Derived {
        index,
        footer: place,
        rows,
        logical_bytes,
        stats,
        unindexed,
    })
}

fn has_values(head: &Head, attr: AttrId) -> bool {
    let column = head.columns.get(&attr);
    column.is_some_and(|column| column.nulls < head.rows)
}

/// Whether there are indexes of attributes of a type; lists that were only ever empty have no type yet.
fn can_be_named(kind: AttributeType) -> bool {
    match kind {
        AttributeType::Scalar(_) | AttributeType::Array(_) => true,
        AttributeType::ArrayUnknown
        | AttributeType::Bytes
        | AttributeType::Sparse
        | AttributeType::Vector { .. } => false,
    }
}

fn column_heads(chunks: &[RecordBatch], schema: &NamespaceSchema) -> BTreeMap<AttrId, ColumnHead> {
    let attributes = layout::attributes_in_order(schema).into_iter();
    attributes
        .map(|(_, attribute)| {
            let columns = chunks
                .iter()
                .filter_map(|chunk| layout::column(chunk, attribute.id));
            let head = ColumnHead {
                kind: attribute.kind,
                nulls: columns.map(|column| column.null_count() as u64).sum(),
            };
            (attribute.id, head)
        })
        .collect()
}

/// Finds a vector column's values in the written file, checks each and adds what the footer keeps of them.
fn add_vectors(
    draft: &mut FooterDraft,
    index: &mut Vec<u8>,
    file: &Bytes,
    chunks: &[RecordBatch],
    (attr, shape): (AttrId, (u32, VectorElement)),
) -> Result<()> {
    let decoded = metadata::decode(UNNAMED, file.len() as u64, file.clone())?;
    let root = draft.head.columns.range(..attr).count() + 1;
    let places = metadata::pages(UNNAMED, decoded.metadata(), attr, root)?;
    let mut vectors = chunks.iter().flat_map(|chunk| vectors_of(chunk, attr));
    let mut present = vec![0_u64; draft.head.rows.div_ceil(64) as usize];
    let (mut pages, mut value, mut checks) = (Vec::new(), 0_u32, Vec::new());
    for place in places {
        let mut expected: Vec<u8> = Vec::new();
        let first_value = value;
        for row in place.rows.clone() {
            let vector = vectors.next().ok_or_else(|| unproved("pages of vectors"))?;
            let Some(vector) = vector else {
                continue;
            };
            let start = expected.len();
            expected.extend_from_slice(&vector);
            let bytes = expected.get(start..).unwrap_or_default();
            checks.extend_from_slice(&crc32c::crc32c(bytes).to_le_bytes());
            if let Some(word) = present.get_mut((row / 64) as usize) {
                *word |= 1 << (row % 64);
            }
            value += 1;
        }
        let values_at = place.end.saturating_sub(expected.len() as u64);
        if part_of(file, values_at..place.end)? != expected {
            return Err(unproved("bytes of vectors"));
        }
        pages.push(Page {
            first_row: place.rows.start,
            first_value,
            values_at,
        });
    }
    if vectors.next().is_some() {
        return Err(unproved("pages of vectors"));
    }
    let start = index.len() as u64;
    index.extend_from_slice(&checks);
    let checks = start..index.len() as u64;
    let rows = draft.head.rows as u32;
    let present = (value != rows).then_some(present);
    let pages = VectorPages::new(attr, shape, rows, pages, present, checks);
    let span = (pages.checks().start, pages.checks().end);
    let name = format!("{}{}", names::CHECKS, attr.0);
    draft.head.sections.insert(name, span);
    draft.part(format!("{}{}", names::PAGES, attr.0), &pages.encode_pages());
    if let Some(present) = pages.encode_present() {
        draft.part(format!("{}{}", names::PRESENT, attr.0), &present);
    }
    Ok(())
}

/// Adds the index of an attribute that filters may name, or that has sparse vectors.
fn add_attribute(
    draft: &mut FooterDraft,
    index: &mut Vec<u8>,
    chunks: &[RecordBatch],
    attribute: &AttributeSchema,
) -> Result<()> {
    let attr = attribute.id;
    let start = index.len() as u64;
    let made = match attribute.kind {
        AttributeType::Sparse => {
            let made = index::build_sparse(chunks, attr, start)?;
            made.map(|made| (made.sections, made.index.encode()))
        }
        kind => {
            let made = index::build(chunks, attr, kind, start)?;
            made.map(|made| (made.sections, made.index.encode()))
        }
    };
    let Some((sections, directory)) = made else {
        return Ok(());
    };
    for (section, bytes) in sections {
        let start = index.len() as u64;
        index.extend_from_slice(&bytes);
        let span = (start, index.len() as u64);
        draft
            .head
            .sections
            .insert(section_name(attr, section), span);
    }
    let name = format!("{}{}", names::ATTRIBUTE, attr.0);
    draft.part(name, &directory);
    Ok(())
}

/// The bytes of the vectors of a chunk, row by row; `None` for a row without one.
fn vectors_of(chunk: &RecordBatch, attr: AttrId) -> impl Iterator<Item = Option<Cow<'_, [u8]>>> {
    let nulls = rows::vector_nulls(chunk, attr);
    let vectors = rows::vectors(chunk, attr).into_iter();
    vectors.flat_map(move |vectors| {
        (0..vectors.len()).map(move |row| {
            let has = nulls.is_none_or(|nulls| nulls.is_valid(row));
            has.then(|| vectors.bytes(row..row + 1))
        })
    })
}

/// Reads the whole segment back and compares it with the rows.
fn prove((file, index): (&Bytes, &Bytes), chunks: &[RecordBatch], place: &FooterRef) -> Result<()> {
    let footer = part_of(index, place.offset..index.len() as u64)?;
    let footer = Footer::open(UNNAMED, place, footer)?;
    let pages = Pages::whole(index);
    for column in footer.columns() {
        if let Indexed::By(made) = footer.indexed(column.attr) {
            index::prove(&made, chunks, column.attr, &pages)?;
        }
        if let Some(made) = footer.sparse(column.attr) {
            index::prove_sparse(made, chunks, column.attr, &pages)?;
        }
    }
    let attrs: Vec<AttrId> = footer.columns().iter().map(|column| column.attr).collect();
    let mut read = ColumnRead::new(&footer, &attrs, true, None)?;
    let batches = columns::read_all(&mut read, file)?;
    let mut expected = chunks.iter();
    let mut rest: Option<RecordBatch> = None;
    for mut found in batches {
        while found.num_rows() > 0 {
            let chunk = match rest.take() {
                Some(rest) => rest,
                None => expected.next().ok_or_else(|| unproved("rows"))?.clone(),
            };
            let count = found.num_rows().min(chunk.num_rows());
            if found.slice(0, count) != chunk.slice(0, count) {
                return Err(unproved("rows"));
            }
            found = found.slice(count, found.num_rows() - count);
            rest = (count < chunk.num_rows()).then(|| chunk.slice(count, chunk.num_rows() - count));
        }
    }
    match rest.is_none() && expected.next().is_none() {
        true => Ok(()),
        false => Err(unproved("rows")),
    }
}

fn part_of(file: &Bytes, range: Range<u64>) -> Result<&[u8]> {
    let start = usize::try_from(range.start).ok();
    let end = usize::try_from(range.end).ok();
    start
        .zip(end)
        .and_then(|(start, end)| file.get(start..end))
        .ok_or_else(|| unproved("length of the file"))
}

fn unproved(what: &str) -> Error {
    Error::internal(format!(
        "a sealed segment does not read back: {what}: expected what was written, found other"
    ))
}
