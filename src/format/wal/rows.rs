//! The rows of a slot: Arrow streams and raw vectors to frames and back.

use std::io::Cursor as IoCursor;
use std::panic::catch_unwind;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, Field, FieldRef, Schema};
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;

use super::{FRAME_DELETES, FRAME_ROWS, frame_of, push_frame};
use crate::error::{Error, Result};
use crate::format::frame::corrupt;
use crate::rows::vectors::VectorBuilder;
use crate::rows::{VectorColumn, layout};
use crate::types::{AttrId, VectorElement, limits};

/// Vectors go raw, so that they can be used without decompression; the rest goes as one Arrow stream.
pub(super) fn push_rows(out: &mut Vec<u8>, rows: &RecordBatch) -> Result<()> {
    let schema = rows.schema();
    // A vector column with gaps keeps them in the Arrow stream; it is rare and short-lived.
    let is_raw = |column: &ArrayRef| {
        matches!(column.data_type(), DataType::FixedSizeList(..)) && column.null_count() == 0
    };
    let rest: Vec<usize> = rows
        .columns()
        .iter()
        .enumerate()
        .filter(|(_, column)| !is_raw(column))
        .map(|(position, _)| position)
        .collect();
    let rest = rows.project(&rest).map_err(not_encodable)?;
    push_frame(out, FRAME_ROWS, 0, &ipc_bytes(&rest)?)?;
    for (field, column) in schema.fields().iter().zip(rows.columns()) {
        if is_raw(column) {
            let attr = attr_of(field.name()).ok_or_else(|| {
                Error::internal(format!("vector column `{}` has no number", field.name()))
            })?;
            let vectors = VectorColumn::of(column.as_ref())
                .ok_or_else(|| Error::internal("vector column does not hold vectors"))?;
            let bytes = vectors.bytes(0..vectors.len());
            push_frame(out, frame_of(vectors.element()), attr, &bytes)?;
        }
    }
    Ok(())
}

/// Adds a column of vectors: its attribute, the width and the bytes of its numbers.
pub(super) fn add_vectors(
    key: &str,
    rows: RecordBatch,
    (attr, element, bytes): (u32, VectorElement, &[u8]),
) -> Result<RecordBatch> {
    let (n, width) = (rows.num_rows(), element.bytes());
    let dims = bytes.len() / width / n.max(1);
    let fits = n > 0 && dims > 0 && dims * width * n == bytes.len();
    if !fits || dims > limits::VECTOR_DIMS_MAX {
        return Err(corrupt(
            key,
            "vector frame length",
            format_args!("a multiple of {width} x {n}"),
            bytes.len(),
        ));
    }
    let column = VectorBuilder::of_bytes(dims as u32, element, bytes)
        .map_err(|error| corrupt(key, "vectors", "a fixed size list", error))?;
    insert_column(key, rows, attr, column)
}

/// Puts a column where its attribute number says: after `id`, in ascending order.
fn insert_column(key: &str, rows: RecordBatch, attr: u32, column: ArrayRef) -> Result<RecordBatch> {
    let schema = rows.schema();
    let position = schema
        .fields()
        .iter()
        .position(|field| attr_of(field.name()).is_some_and(|other| other > attr))
        .unwrap_or(rows.num_columns());
    let mut fields: Vec<FieldRef> = schema.fields().iter().cloned().collect();
    let mut columns = rows.columns().to_vec();
    let field = layout::field_of(AttrId(attr), column.data_type().clone());
    fields.insert(position, Arc::new(field));
    columns.insert(position, column);
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
        .map_err(|error| corrupt(key, "rows", "columns of one length", error))
}

fn attr_of(column: &str) -> Option<u32> {
    layout::attr_of(column).map(|attr| attr.0)
}

fn ipc_bytes(batch: &RecordBatch) -> Result<Vec<u8>> {
    let mut writer = StreamWriter::try_new(Vec::new(), &batch.schema()).map_err(not_encodable)?;
    writer.write(batch).map_err(not_encodable)?;
    writer.into_inner().map_err(not_encodable)
}

/// Arrow's reader checks what it reads, but meets some malformed streams with a panic. The body's hash keeps
/// damage away from it; what is left is a stream made wrong on purpose, which must not take the task down.
pub(super) fn read_ipc(key: &str, bytes: &[u8]) -> Result<RecordBatch> {
    catch_unwind(|| read_ipc_stream(key, bytes)).unwrap_or_else(|_| {
        Err(corrupt(
            key,
            "rows",
            "one Arrow batch",
            "a malformed stream",
        ))
    })
}

fn read_ipc_stream(key: &str, bytes: &[u8]) -> Result<RecordBatch> {
    let broken = |error: &dyn std::fmt::Display| corrupt(key, "rows", "one Arrow batch", error);
    let mut reader =
        StreamReader::try_new(IoCursor::new(bytes), None).map_err(|error| broken(&error))?;
    let batch = match reader.next() {
        Some(batch) => batch.map_err(|error| broken(&error))?,
        None => return Err(broken(&"an empty stream")),
    };
    if reader.next().is_some() {
        return Err(broken(&"another batch after it"));
    }
    let n_read = reader.get_ref().position();
    if n_read != bytes.len() as u64 {
        return Err(corrupt(key, "end of the Arrow stream", bytes.len(), n_read));
    }
    if !batch.schema_ref().metadata().is_empty() {
        return Err(broken(&"metadata of its schema"));
    }
    if batch.num_rows() == 0 {
        return Err(corrupt(key, "rows", "1 or more", 0));
    }
    Ok(batch)
}

/// Encodes deleted ids.
pub(super) fn push_deletes(out: &mut Vec<u8>, ids: &ArrayRef) -> Result<()> {
    let field = delete_field(ids.data_type());
    let batch = RecordBatch::try_new(Arc::new(Schema::new(vec![field])), vec![ids.clone()])
        .map_err(not_encodable)?;
    push_frame(out, FRAME_DELETES, 0, &ipc_bytes(&batch)?)
}

/// Decodes deleted ids: one column, as `push_deletes` writes it.
pub(super) fn read_deletes(key: &str, bytes: &[u8]) -> Result<ArrayRef> {
    let batch = read_ipc(key, bytes)?;
    let (fields, columns) = (batch.schema_ref().fields(), batch.columns());
    match (fields.iter().as_slice(), columns) {
        ([field], [ids])
            if layout::id_kind_of(field.data_type()).is_some()
                && **field == delete_field(field.data_type())
                && ids.null_count() == 0 =>
        {
            Ok(ids.clone())
        }
        _ => Err(corrupt(
            key,
            "deleted ids",
            "the one column `id`, of an id's type, without nulls",
            format_args!("{} columns: {fields:?}", columns.len()),
        )),
    }
}

fn delete_field(ids: &DataType) -> Field {
    Field::new(layout::ID_COLUMN, ids.clone(), false)
}

pub(super) fn not_encodable(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::internal("rows do not encode").with_source(error)
}
