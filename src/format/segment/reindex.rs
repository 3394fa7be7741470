//! A new index file for a segment that lives already: the documents stay, all that is derived from them is made again.

use std::collections::BTreeMap;

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_128;

use super::columns::{self, ColumnRead};
use super::footer::{ColumnHead, Footer, Head, RowOrder};
use super::seal::derive;
use super::{kinds, metadata};
use crate::error::Result;
use crate::format::frame::corrupt;
use crate::lsm::Segment;
use crate::rows::layout;
use crate::types::{
    AttrId, AttributeSchema, AttributeType, FooterRef, IdKind, NamespaceSchema, ObjectRef, Stats,
};

/// A new index file, and what the log says about it.
#[derive(Debug, Clone)]
pub struct Reindexed {
    /// The file; the footer is its end.
    pub index: Bytes,
    /// Where the footer lies.
    pub footer: FooterRef,
    /// What the segment holds at a glance, attributes that are filterable now included.
    pub stats: Stats,
    /// Attributes with values and without an index, ascending.
    pub unindexed: Vec<AttrId>,
}

/// Makes a new index file of a segment, with the indexes that `schema` wants now, from its documents alone: no other
/// index file of it need be readable.
///
/// The documents are proved by their hash, read whole, and the new file is made from them as a seal makes one, and
/// read back as a seal reads it back. Takes about three times the rows' memory. Errors: `Corrupted` naming the
/// documents where they are not what `segment` says; `Internal` where the new file does not read back.
pub fn reindex(segment: &Segment, file: &Bytes, schema: &NamespaceSchema) -> Result<Reindexed> {
    prove_whole(&segment.parquet, file)?;
    let key = &segment.parquet.path;
    let parquet = metadata::decode(key, file.len() as u64, file.clone())?;
    let (id_kind, kinds) = kinds::of_columns(key, &parquet, schema)?;
    let columns = kinds.iter().map(|(attr, kind)| {
        let (kind, nulls) = (*kind, 0);
        (*attr, ColumnHead { kind, nulls })
    });
    let head = Head {
        rows: segment.rows,
        row_order: RowOrder::Ids,
        logical_bytes: segment.logical_bytes,
        id_kind,
        parquet_bytes: file.len() as u64,
        columns: columns.collect(),
        stats: segment.stats.clone(),
        sections: BTreeMap::new(),
        parts: BTreeMap::new(),
    };
    let documents = Footer::bare(key, file, head)?;
    let attrs: Vec<AttrId> = kinds.keys().copied().collect();
    let mut read = ColumnRead::new(&documents, &attrs, true, None)?;
    let chunks = columns::read_all(&mut read, file)?;
    let derived = derive(file, &chunks, &schema_of(id_kind, &kinds, schema))?;
    let expected = (segment.rows, segment.logical_bytes);
    let found = (derived.rows, derived.logical_bytes);
    if found != expected {
        let (expected, found) = (format!("{expected:?}"), format!("{found:?}"));
        return Err(corrupt(key, "rows and their bytes", expected, found));
    }
    Ok(Reindexed {
        index: derived.index,
        footer: derived.footer,
        stats: derived.stats,
        unindexed: derived.unindexed,
    })
}

/// Proves that bytes are the object that a reference names. Errors: `Corrupted` naming it.
pub fn prove_whole(object: &ObjectRef, bytes: &[u8]) -> Result<()> {
    let key = &object.path;
    if bytes.len() as u64 != object.bytes {
        return Err(corrupt(key, "length", object.bytes, bytes.len()));
    }
    let found = xxh3_128(bytes);
    if found != object.hash {
        let (expected, found) = (format!("{:032x}", object.hash), format!("{found:032x}"));
        return Err(corrupt(key, "hash", expected, found));
    }
    Ok(())
}

/// The schema of a segment's own columns; filters may name what they may name now, and nothing that was dropped
/// meanwhile.
fn schema_of(
    id_kind: IdKind,
    kinds: &BTreeMap<AttrId, AttributeType>,
    now: &NamespaceSchema,
) -> NamespaceSchema {
    let filterable = |attr: AttrId| {
        now.by_id(attr)
            .is_some_and(|attribute| attribute.filterable)
    };
    let attributes = kinds.iter().map(|(attr, kind)| {
        let attribute = AttributeSchema {
            id: *attr,
            kind: *kind,
            filterable: filterable(*attr),
            regex: false,
            glob: false,
        };
        (layout::column_name(*attr), attribute)
    });
    NamespaceSchema {
        id_kind: Some(id_kind),
        metric: now.metric,
        attributes: attributes.collect(),
        next_attr_id: now.next_attr_id,
    }
}
