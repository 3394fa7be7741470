//! The copy of the Parquet file's own footer: decoded, and held against what our footer says.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use arrow::datatypes::FieldRef;
use bytes::Bytes;
use parquet::DecodeResult;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::errors::ParquetError;
use parquet::file::metadata::{
    ColumnChunkMetaData, PageIndexPolicy, ParquetMetaData, ParquetMetaDataPushDecoder,
};
use parquet::file::page_index::offset_index::PageLocation;

use super::footer::{Column, Head};
use super::parquet::outside_type;
use crate::error::Result;
use crate::format::frame::corrupt;
use crate::rows::layout;
use crate::types::{AttrId, AttributeSchema};

/// A page of a column: its rows, and its bytes with its header.
#[derive(Debug, Clone)]
pub(super) struct PagePlace {
    pub(super) rows: Range<u32>,
    pub(super) end: u64,
}

/// Where the end of a Parquet file starts that has all of its metadata: the indexes of pages, the footer.
///
/// Errors: `Corrupted` if the file is no Parquet file.
pub(super) fn tail_start(key: &str, file: &Bytes) -> Result<u64> {
    let metadata = decode(key, file.len() as u64, file.clone())?;
    let columns = metadata
        .metadata()
        .row_groups()
        .iter()
        .flat_map(|group| group.columns());
    let starts = columns.filter_map(|column| {
        let offsets = column.offset_index_range().map(|range| range.start);
        let bounds = column.column_index_range().map(|range| range.start);
        offsets.into_iter().chain(bounds).min()
    });
    starts
        .min()
        .ok_or_else(|| corrupt(key, "index of pages", "one", "none"))
}

/// Decodes the end of a Parquet file of `file_bytes`. The caller has proved the bytes.
pub(super) fn decode(key: &str, file_bytes: u64, tail: Bytes) -> Result<ArrowReaderMetadata> {
    let undecoded = |error: ParquetError| {
        corrupt(
            key,
            "metadata of Parquet",
            "a footer with an index of pages",
            error,
        )
    };
    let start = file_bytes
        .checked_sub(tail.len() as u64)
        .ok_or_else(|| corrupt(key, "metadata of Parquet", file_bytes, tail.len()))?;
    let mut decoder = ParquetMetaDataPushDecoder::try_new(file_bytes)
        .map_err(undecoded)?
        .with_offset_index_policy(PageIndexPolicy::Required)
        .with_column_index_policy(PageIndexPolicy::Skip);
    decoder
        .push_range(start..file_bytes, tail)
        .map_err(undecoded)?;
    match decoder.try_decode().map_err(undecoded)? {
        DecodeResult::Data(metadata) => {
            if !metadata.row_groups().iter().enumerate().all(|(at, group)| {
                let pages = metadata.page_index_for_row_group(at);
                let mut columns = group.columns().iter().enumerate();
                columns.all(|(leaf, column)| {
                    let places = pages.page_locations(leaf);
                    places.is_some_and(|places| {
                        in_order(file_bytes, group.num_rows(), column, places)
                    })
                })
            }) {
                return Err(corrupt(key, "index of pages", "pages in order", "others"));
            }
            ArrowReaderMetadata::try_new(Arc::new(metadata), ArrowReaderOptions::new())
                .map_err(undecoded)
        }
        DecodeResult::NeedsData(ranges) => Err(corrupt(
            key,
            "metadata of Parquet",
            format_args!("all from offset {start}"),
            format_args!("a need for {ranges:?}"),
        )),
        DecodeResult::Finished => Err(corrupt(key, "metadata of Parquet", "some", "none")),
    }
}

/// Whether the pages of a column lie in its bytes, these in the file, and the rows are all covered: the
/// reader of pages counts on it.
fn in_order(
    file_bytes: u64,
    rows: i64,
    column: &ColumnChunkMetaData,
    places: &[PageLocation],
) -> bool {
    let data = column.data_page_offset();
    let start = column.dictionary_page_offset().unwrap_or(data);
    let end = start.saturating_add(column.compressed_size());
    let fits = u64::try_from(end).is_ok_and(|end| end <= file_bytes);
    let (mut at, mut row) = (data, -1);
    let first_is_zero = places
        .first()
        .is_some_and(|first| first.first_row_index == 0);
    let mut in_order = places.iter().map(|place| {
        let after = place.first_row_index > row && place.offset >= at;
        row = place.first_row_index;
        at = place
            .offset
            .saturating_add(i64::from(place.compressed_page_size));
        after && place.compressed_page_size > 0 && at <= end
    });
    let in_order = in_order.all(|in_order| in_order);
    fits && 0 <= start && start <= data && first_is_zero && in_order && row < rows
}

/// Pairs the columns of the file with those of the head: by field id, which never changes.
pub(super) fn columns(
    key: &str,
    parquet: &ArrowReaderMetadata,
    head: &Head,
) -> Result<(FieldRef, Vec<Column>)> {
    let rows = parquet.metadata().file_metadata().num_rows();
    if u64::try_from(rows).ok() != Some(head.rows) {
        return Err(corrupt(key, "rows of the Parquet file", head.rows, rows));
    }
    let fields = parquet.schema().fields();
    let id_type = layout::id_type(head.id_kind);
    let id = fields.first().filter(|field| {
        field_id(field) == Some(0) && *field.data_type() == id_type && !field.is_nullable()
    });
    let strange = |what: &str| corrupt(key, "columns of the Parquet file", what, "others");
    let id_field = id.ok_or_else(|| strange("ids first"))?;
    if fields.len() != head.columns.len() + 1 {
        return Err(strange("one for each attribute"));
    }
    let mut columns = Vec::with_capacity(head.columns.len());
    let mut seen = BTreeSet::new();
    for ((attr, column), (root, field)) in
        head.columns.iter().zip(fields.iter().enumerate().skip(1))
    {
        let inside = layout::attribute_field(&AttributeSchema {
            id: *attr,
            kind: column.kind,
            filterable: false,
            regex: false,
            glob: false,
        });
        let fits = field_id(field) == Some(u64::from(attr.0) + 1)
            && *field.data_type() == outside_type(inside.data_type())
            && seen.insert(*attr);
        if !fits {
            return Err(strange(&format!(
                "attribute {} of type {}",
                attr.0, column.kind
            )));
        }
        columns.push(Column {
            attr: *attr,
            kind: column.kind,
            nulls: column.nulls,
            root,
            field: Arc::new(inside),
        });
    }
    let id_field = id_field.as_ref().clone().with_name(layout::ID_COLUMN);
    Ok((Arc::new(id_field), columns))
}

pub(super) fn field_id(field: &FieldRef) -> Option<u64> {
    field.metadata().get(layout::FIELD_ID_KEY)?.parse().ok()
}

/// The bytes of some root columns in all row groups, decompressed.
pub(super) fn uncompressed_bytes(metadata: &ParquetMetaData, roots: &[usize]) -> u64 {
    let schema = metadata.file_metadata().schema_descr();
    let groups = metadata.row_groups().iter();
    let columns = groups.flat_map(|group| group.columns().iter().enumerate());
    columns
        .filter(|(leaf, _)| {
            *leaf < schema.num_columns() && roots.contains(&schema.get_column_root_idx(*leaf))
        })
        .map(|(_, column)| u64::try_from(column.uncompressed_size()).unwrap_or(0))
        .fold(0, u64::saturating_add)
}

/// Lists the pages of a column that has one leaf, in the order of rows.
///
/// Errors: `Corrupted` if there is no such column, or the index of pages does not cover all rows.
pub(super) fn pages(
    key: &str,
    metadata: &ParquetMetaData,
    attr: AttrId,
    root: usize,
) -> Result<Vec<PagePlace>> {
    let strange = || {
        corrupt(
            key,
            &format!("pages of attribute {}", attr.0),
            "all rows",
            "others",
        )
    };
    let schema = metadata.file_metadata().schema_descr();
    let leaf = (0..schema.num_columns())
        .find(|leaf| schema.get_column_root_idx(*leaf) == root)
        .ok_or_else(strange)?;
    let mut pages = Vec::new();
    let mut before = 0_u32;
    for (at, group) in metadata.row_groups().iter().enumerate() {
        let index = metadata.page_index_for_row_group(at);
        let places = index.page_locations(leaf).ok_or_else(strange)?;
        let rows = u32::try_from(group.num_rows()).map_err(|_| strange())?;
        for (at, place) in places.iter().enumerate() {
            let next = places.get(at + 1).map(|next| next.first_row_index);
            let first = u32::try_from(place.first_row_index).map_err(|_| strange())?;
            let last = next
                .map_or(Ok(rows), u32::try_from)
                .map_err(|_| strange())?;
            let end = place.offset + i64::from(place.compressed_page_size);
            pages.push(PagePlace {
                rows: before + first..before + last,
                end: u64::try_from(end).map_err(|_| strange())?,
            });
        }
        before = before.checked_add(rows).ok_or_else(strange)?;
    }
    Ok(pages)
}
