//! Rows to Parquet columns and back: names that people read outside, numbers inside.
//!
//! Format: `docs/format/segment.md`.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, FixedSizeBinaryArray, FixedSizeListArray, Float16Array, Float32Array,
    Int8Array, ListArray, RecordBatch,
};
use arrow::buffer::{Buffer, NullBuffer, ScalarBuffer};
use arrow::datatypes::{
    DataType, Field, FieldRef, Float16Type, Float32Type, Int8Type, Schema, SchemaRef,
};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;

use crate::error::{Error, Result};
use crate::rows::{layout, sparse};
use crate::types::{AttributeType, NamespaceSchema, VectorElement};

/// Rows of a page: a scattered read decodes this many for each row it wants.
const PAGE_ROWS: usize = 1_024;
/// Most rows of a row group.
const GROUP_ROWS_MAX: usize = 128 << 10;
/// A page of vectors holds about this many bytes.
const VECTOR_PAGE_BYTES: usize = 256 << 10;
/// Larger than any page of vectors, so that rows alone end one.
const VECTOR_PAGE_BYTES_MAX: usize = 16 << 20;
/// A dictionary past this is given up: a scattered read fetches it whole.
const DICTIONARY_BYTES_MAX: usize = 64 << 10;
/// A good trade of size against time.
const ZSTD_LEVEL: i32 = 3;
/// The name that the Parquet specification gives to the elements of a list.
const ELEMENT_FIELD: &str = "element";
/// The names that it gives to the parts of a map.
const MAP_NAMES: sparse::MapNames = ["key_value", "key", "value"];

/// Writes chunks of aligned rows as one Parquet file.
pub(super) fn write(chunks: &[RecordBatch], schema: &NamespaceSchema) -> Result<Vec<u8>> {
    let outside = outside_schema(schema)?;
    let properties = properties(schema)?;
    let mut writer = ArrowWriter::try_new(Vec::new(), Arc::clone(&outside), Some(properties))
        .map_err(unwritten)?;
    for chunk in chunks {
        let columns = chunk
            .columns()
            .iter()
            .zip(outside.fields())
            .map(|(column, field)| with_field(column, field))
            .collect::<Result<Vec<_>>>()?;
        let batch = RecordBatch::try_new(Arc::clone(&outside), columns)
            .map_err(|error| Error::internal("cannot lay out a segment").with_source(error))?;
        writer.write(&batch).map_err(unwritten)?;
    }
    writer.into_inner().map_err(unwritten)
}

fn unwritten(error: ParquetError) -> Error {
    Error::internal("cannot write a segment").with_source(error)
}

/// The columns as the file names them: attributes by name, the id as `id`, field ids as inside.
fn outside_schema(schema: &NamespaceSchema) -> Result<SchemaRef> {
    let inside = layout::arrow_schema(schema);
    let names = layout::attributes_in_order(schema);
    let names = std::iter::once(layout::ID_COLUMN).chain(names.iter().map(|(name, _)| *name));
    let fields: Vec<FieldRef> = inside
        .fields()
        .iter()
        .zip(names)
        .map(|(field, name)| {
            Arc::new(
                Field::new(name, outside_type(field.data_type()), field.is_nullable())
                    .with_metadata(field.metadata().clone()),
            )
        })
        .collect();
    if schema.next_attr_id > i32::MAX as u32 {
        return Err(Error::internal(format!(
            "attribute numbers up to {}: a field id of Parquet has 31 bits",
            schema.next_attr_id
        )));
    }
    Ok(Arc::new(Schema::new(fields)))
}

pub(super) fn outside_type(inside: &DataType) -> DataType {
    let element = |item: &FieldRef| Arc::new(item.as_ref().clone().with_name(ELEMENT_FIELD));
    match inside {
        DataType::List(item) => DataType::List(element(item)),
        // Parquet would take four bytes for each number of 8 bits.
        DataType::FixedSizeList(item, dims) if *item.data_type() == DataType::Int8 => {
            DataType::FixedSizeBinary(*dims)
        }
        DataType::FixedSizeList(item, dims) => DataType::FixedSizeList(element(item), *dims),
        DataType::Map(..) => sparse::map_type(MAP_NAMES),
        other => other.clone(),
    }
}

fn properties(schema: &NamespaceSchema) -> Result<WriterProperties> {
    let zstd = Compression::ZSTD(ZstdLevel::try_new(ZSTD_LEVEL).map_err(unwritten)?);
    let mut properties = WriterProperties::builder()
        .set_created_by("elacsym".to_owned())
        .set_compression(zstd)
        .set_max_row_group_row_count(Some(GROUP_ROWS_MAX))
        .set_write_batch_size(PAGE_ROWS)
        .set_data_page_row_count_limit(PAGE_ROWS)
        .set_dictionary_page_size_limit(DICTIONARY_BYTES_MAX)
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_column_dictionary_enabled(ColumnPath::from(layout::ID_COLUMN), false);
    for (name, attribute) in schema.vectors() {
        let AttributeType::Vector { dims, element } = attribute.kind else {
            continue;
        };
        let rows = VECTOR_PAGE_BYTES / (dims.max(1) as usize * element.bytes());
        let path = || {
            let parts: &[&str] = match element {
                VectorElement::F32 | VectorElement::F16 => &[name, "list", ELEMENT_FIELD],
                VectorElement::I8 => &[name],
            };
            ColumnPath::new(parts.iter().map(|part| (*part).to_owned()).collect())
        };
        properties = properties
            .set_column_compression(path(), Compression::UNCOMPRESSED)
            .set_column_encoding(path(), Encoding::PLAIN)
            .set_column_dictionary_enabled(path(), false)
            .set_column_statistics_enabled(path(), EnabledStatistics::None)
            .set_column_data_page_row_count_limit(path(), rows.clamp(1, PAGE_ROWS))
            .set_column_data_page_size_limit(path(), VECTOR_PAGE_BYTES_MAX);
    }
    Ok(properties.build())
}

/// The same column under a field whose element has another name. Values are shared, not copied.
///
/// Vectors come out with a child without nulls, however a reader padded them. Errors: `Corrupted` if the
/// column is of another type.
pub(super) fn with_field(column: &ArrayRef, field: &Field) -> Result<ArrayRef> {
    let strange = || {
        Error::corrupted(format!(
            "column `{}`: expected {}, found {}",
            field.name(),
            field.data_type(),
            column.data_type()
        ))
    };
    match field.data_type() {
        DataType::List(item) => {
            let list = column.as_list_opt::<i32>().ok_or_else(strange)?;
            let (offsets, values) = (list.offsets().clone(), Arc::clone(list.values()));
            ListArray::try_new(Arc::clone(item), offsets, values, list.nulls().cloned())
                .map(|list| Arc::new(list) as ArrayRef)
                .map_err(|error| strange().with_source(error))
        }
        DataType::Map(entries, _) => sparse::renamed(column, entries).ok_or_else(strange),
        DataType::FixedSizeBinary(dims) if column.as_fixed_size_list_opt().is_some() => {
            let list = column.as_fixed_size_list();
            let values = list.values().as_primitive_opt::<Int8Type>();
            let bytes = values.ok_or_else(strange)?.values().inner().clone();
            FixedSizeBinaryArray::try_new(*dims, bytes, list.nulls().cloned())
                .map(|list| Arc::new(list) as ArrayRef)
                .map_err(|error| strange().with_source(error))
        }
        DataType::FixedSizeList(item, dims) => {
            let (values, nulls) = numbers(column, item).ok_or_else(strange)?;
            FixedSizeListArray::try_new(Arc::clone(item), *dims, values, nulls)
                .map(|list| Arc::new(list) as ArrayRef)
                .map_err(|error| strange().with_source(error))
        }
        other if other == column.data_type() => Ok(Arc::clone(column)),
        _ => Err(strange()),
    }
}

/// The bytes of rows of one length, zeros under nulls.
fn zeroed(bytes: &[u8], nulls: &NullBuffer) -> Buffer {
    let mut bytes = bytes.to_vec();
    let row_bytes = bytes.len() / nulls.len().max(1);
    let rows = bytes.chunks_exact_mut(row_bytes.max(1)).zip(nulls);
    for (row, _) in rows.filter(|(_, is_valid)| !is_valid) {
        row.fill(0);
    }
    Buffer::from(bytes)
}

/// The numbers of a column of vectors, none of them null, and which rows have no vector.
fn numbers(column: &ArrayRef, item: &FieldRef) -> Option<(ArrayRef, Option<NullBuffer>)> {
    if *item.data_type() == DataType::Int8
        && let Some(binary) = column.as_fixed_size_binary_opt()
    {
        let nulls = binary.nulls().filter(|nulls| nulls.null_count() > 0);
        let bytes = match nulls {
            None => binary.values().clone(),
            // Under a null the reader leaves whatever it read last.
            Some(nulls) => zeroed(binary.values(), nulls),
        };
        let values = ScalarBuffer::<i8>::from(bytes);
        return Some((Arc::new(Int8Array::new(values, None)), nulls.cloned()));
    }
    let list = column.as_fixed_size_list_opt()?;
    let values: ArrayRef = match item.data_type() {
        DataType::Float32 => {
            let values = list.values().as_primitive_opt::<Float32Type>()?;
            Arc::new(Float32Array::new(values.values().clone(), None))
        }
        DataType::Float16 => {
            let values = list.values().as_primitive_opt::<Float16Type>()?;
            Arc::new(Float16Array::new(values.values().clone(), None))
        }
        _ => {
            let values = list.values().as_primitive_opt::<Int8Type>()?;
            Arc::new(Int8Array::new(values.values().clone(), None))
        }
    };
    Some((values, list.nulls().cloned()))
}
