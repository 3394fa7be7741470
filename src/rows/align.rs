//! Bringing batches written under older schemas to a newer one, joining and selecting rows.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, ListArray, RecordBatch, UInt32Array, new_empty_array, new_null_array,
};
use arrow::buffer::OffsetBuffer;
use arrow::compute;
use arrow::datatypes::DataType;
use arrow::error::ArrowError;

use super::layout;
use super::vectors::VectorBuilder;
use crate::error::{Error, Result};
use crate::types::{AttributeSchema, AttributeType, NamespaceSchema};

/// Gives the batch the columns of a schema: missing ones are null, those of dropped attributes go, and
/// lists whose element type was not known become empty lists of the type now known.
///
/// A batch that fits already is returned as it is (its columns are shared). Errors: `Corrupted` if a
/// column has a type the schema cannot have grown from.
pub fn align(batch: &RecordBatch, schema: &NamespaceSchema) -> Result<RecordBatch> {
    let target = layout::arrow_schema(schema);
    if *batch.schema_ref() == target {
        return Ok(batch.clone());
    }
    let ids = layout::id_column(batch);
    let id_type = target.field(0).data_type();
    let mut columns = vec![if ids.data_type() == id_type {
        Arc::clone(ids)
    } else if ids.is_empty() {
        // No rows, so nothing says that their ids were of another kind.
        new_empty_array(id_type)
    } else {
        return Err(Error::corrupted(format!(
            "id column: expected {id_type}, found {}",
            ids.data_type()
        )));
    }];
    for (name, attribute) in layout::attributes_in_order(schema) {
        columns.push(match layout::column(batch, attribute.id) {
            Some(column) => retype(column, name, attribute)?,
            None => null_column(attribute, batch.num_rows())?,
        });
    }
    RecordBatch::try_new(target, columns).map_err(broken)
}

/// Joins batches, each aligned to the schema first; no batches give an empty one.
/// Errors: like `align`, and `Internal` if a joined column would pass 2 GiB.
pub fn concat(batches: &[RecordBatch], schema: &NamespaceSchema) -> Result<RecordBatch> {
    let target = layout::arrow_schema(schema);
    let aligned = batches
        .iter()
        .map(|batch| align(batch, schema))
        .collect::<Result<Vec<_>>>()?;
    if let [only] = aligned.as_slice() {
        return Ok(only.clone());
    }
    compute::concat_batches(&target, &aligned).map_err(broken)
}

/// Copies the named rows, in the order named. Errors: `Internal` if a row is out of range.
pub fn take_rows(batch: &RecordBatch, rows: &[u32]) -> Result<RecordBatch> {
    if let Some(row) = rows.iter().find(|row| **row as usize >= batch.num_rows()) {
        return Err(Error::internal(format!(
            "row {row} of a batch of {} rows",
            batch.num_rows()
        )));
    }
    let rows = UInt32Array::from(rows.to_vec());
    compute::take_record_batch(batch, &rows).map_err(broken)
}

fn retype(column: &ArrayRef, name: &str, attribute: &AttributeSchema) -> Result<ArrayRef> {
    let wanted = layout::attribute_type(attribute.kind);
    if *column.data_type() == wanted {
        return Ok(Arc::clone(column));
    }
    let mismatch = || {
        Error::corrupted(format!(
            "attribute `{name}`: expected a column of {wanted}, found {}",
            column.data_type()
        ))
    };
    let (DataType::List(item), Some(list)) = (&wanted, column.as_list_opt::<i32>()) else {
        return Err(mismatch());
    };
    let offsets = list.value_offsets();
    if list.value_type() != DataType::Boolean || offsets.first() != offsets.last() {
        return Err(mismatch());
    }
    let empty = ListArray::try_new(
        Arc::clone(item),
        OffsetBuffer::new_zeroed(list.len()),
        new_empty_array(item.data_type()),
        list.nulls().cloned(),
    );
    Ok(Arc::new(empty.map_err(broken)?))
}

fn null_column(attribute: &AttributeSchema, rows: usize) -> Result<ArrayRef> {
    match attribute.kind {
        // The child must stay without nulls, so that a vector column is one plain slice.
        AttributeType::Vector { dims, element } => VectorBuilder::nulls(dims, element, rows),
        kind => Ok(new_null_array(&layout::attribute_type(kind), rows)),
    }
}

fn broken(error: ArrowError) -> Error {
    Error::internal("cannot rearrange a batch of rows").with_source(error)
}
