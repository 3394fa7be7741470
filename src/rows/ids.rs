//! Document ids as an Arrow column and back.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, FixedSizeBinaryBuilder, StringBuilder, UInt32Array, UInt64Builder,
};
use arrow::compute;
use arrow::datatypes::{DataType, UInt64Type};
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::types::{DocId, IdKind};

/// Makes the id column of these ids, all of `kind`. Errors: `Internal` if one is of another kind.
pub fn id_array(kind: IdKind, ids: &[DocId]) -> Result<ArrayRef> {
    match kind {
        IdKind::Uint => {
            let mut builder = UInt64Builder::with_capacity(ids.len());
            for id in ids {
                match id {
                    DocId::Uint(id) => builder.append_value(*id),
                    other => return Err(wrong_kind(kind, other)),
                }
            }
            Ok(Arc::new(builder.finish()))
        }
        IdKind::Uuid => {
            let mut builder = FixedSizeBinaryBuilder::with_capacity(ids.len(), 16);
            for id in ids {
                match id {
                    DocId::Uuid(id) => builder.append_value(id.as_bytes()).map_err(|error| {
                        Error::internal("cannot store a uuid id").with_source(error)
                    })?,
                    other => return Err(wrong_kind(kind, other)),
                }
            }
            Ok(Arc::new(builder.finish()))
        }
        IdKind::String => {
            let mut builder = StringBuilder::with_capacity(ids.len(), ids.len() * 16);
            for id in ids {
                match id {
                    DocId::String(id) => builder.append_value(id),
                    other => return Err(wrong_kind(kind, other)),
                }
            }
            Ok(Arc::new(builder.finish()))
        }
    }
}

/// Copies an id column, so that it holds on to no buffer of the batch it came with.
///
/// Errors: `Internal` if it cannot be copied.
pub fn detached(ids: &ArrayRef) -> Result<ArrayRef> {
    let all = UInt32Array::from_iter_values(0..ids.len() as u32);
    compute::take(ids, &all, None)
        .map_err(|error| Error::internal("cannot copy an id column").with_source(error))
}

/// Reads one id.
///
/// Panics if `row` is out of range or the column is no id column (`layout::check` refuses such batches).
pub fn id_at(ids: &ArrayRef, row: usize) -> DocId {
    match ids.data_type() {
        DataType::UInt64 => DocId::Uint(ids.as_primitive::<UInt64Type>().value(row)),
        DataType::Utf8 => DocId::String(ids.as_string::<i32>().value(row).into()),
        _ => DocId::Uuid(uuid_of(ids.as_fixed_size_binary().value(row))),
    }
}

/// Reads all ids in row order. Panics like `id_at`.
pub fn ids_of(ids: &ArrayRef) -> Vec<DocId> {
    (0..ids.len()).map(|row| id_at(ids, row)).collect()
}

/// Makes a uuid of a 16-byte slot of a FixedSizeBinary(16) column.
pub(crate) fn uuid_of(bytes: &[u8]) -> Uuid {
    // The column's type fixes the width, so the nil uuid is never made here.
    Uuid::from_slice(bytes).unwrap_or_default()
}

fn wrong_kind(kind: IdKind, found: &DocId) -> Error {
    Error::internal(format!(
        "id column of kind {}: found `{found}` of kind {}",
        kind.name(),
        found.kind().name()
    ))
}
