//! Reading single values and whole vector columns out of a batch.

use arrow::array::{
    Array, AsArray, BooleanArray, FixedSizeBinaryArray, Float64Array, Int64Array, RecordBatch,
    StringArray, TimestampMillisecondArray, UInt64Array,
};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Float64Type, Int64Type, TimestampMillisecondType, UInt64Type};

use super::sparse::SparseColumn;
use super::vectors::VectorColumn;
use super::{ids, layout};
use crate::types::{AttrId, Timestamp, Value};

/// A column of scalars with its type resolved, to be read row by row.
#[derive(Debug, Clone, Copy)]
pub enum ScalarColumn<'a> {
    /// Text.
    String(&'a StringArray),
    /// Signed integers.
    Int(&'a Int64Array),
    /// Unsigned integers.
    Uint(&'a UInt64Array),
    /// Floats.
    Float(&'a Float64Array),
    /// UUIDs.
    Uuid(&'a FixedSizeBinaryArray),
    /// UTC milliseconds.
    Datetime(&'a TimestampMillisecondArray),
    /// Booleans.
    Bool(&'a BooleanArray),
}

impl<'a> ScalarColumn<'a> {
    /// Resolves a column; `None` if it holds lists or vectors.
    pub fn of(array: &'a dyn Array) -> Option<Self> {
        Some(match array.data_type() {
            DataType::Utf8 => Self::String(array.as_string_opt()?),
            DataType::Int64 => Self::Int(array.as_primitive_opt::<Int64Type>()?),
            DataType::UInt64 => Self::Uint(array.as_primitive_opt::<UInt64Type>()?),
            DataType::Float64 => Self::Float(array.as_primitive_opt::<Float64Type>()?),
            DataType::FixedSizeBinary(16) => Self::Uuid(array.as_fixed_size_binary_opt()?),
            DataType::Timestamp(..) => {
                Self::Datetime(array.as_primitive_opt::<TimestampMillisecondType>()?)
            }
            DataType::Boolean => Self::Bool(array.as_boolean_opt()?),
            _ => return None,
        })
    }

    /// The column as an Arrow array.
    pub fn array(self) -> &'a dyn Array {
        match self {
            Self::String(array) => array,
            Self::Int(array) => array,
            Self::Uint(array) => array,
            Self::Float(array) => array,
            Self::Uuid(array) => array,
            Self::Datetime(array) => array,
            Self::Bool(array) => array,
        }
    }

    /// Reads one value. Panics if `row` is out of range.
    pub fn value(self, row: usize) -> Value {
        if self.array().is_null(row) {
            return Value::Null;
        }
        match self {
            Self::String(array) => Value::String(array.value(row).into()),
            Self::Int(array) => Value::Int(array.value(row)),
            Self::Uint(array) => Value::Uint(array.value(row)),
            Self::Float(array) => Value::Float(array.value(row)),
            Self::Uuid(array) => Value::Uuid(ids::uuid_of(array.value(row))),
            Self::Datetime(array) => Value::Datetime(Timestamp(array.value(row))),
            Self::Bool(array) => Value::Bool(array.value(row)),
        }
    }
}

/// Reads one value of a row; a missing column reads as null. Panics if `row` is out of range.
pub fn value_at(batch: &RecordBatch, attr: AttrId, row: usize) -> Value {
    layout::column(batch, attr).map_or(Value::Null, |column| value_of(column.as_ref(), row))
}

/// Reads one value of a column. Panics if `row` is out of range.
pub fn value_of(column: &dyn Array, row: usize) -> Value {
    if column.is_null(row) {
        return Value::Null;
    }
    if let Some(list) = column.as_list_opt::<i32>() {
        let elements = list.value(row);
        let Some(elements) = ScalarColumn::of(elements.as_ref()) else {
            return Value::Null;
        };
        let count = elements.array().len();
        return Value::Array((0..count).map(|element| elements.value(element)).collect());
    }
    if let Some(bytes) = column.as_binary_opt::<i32>() {
        return Value::Bytes(bytes.value(row).into());
    }
    if let Some(sparse) = SparseColumn::of(column) {
        let entries = sparse.entries(row);
        return Value::Sparse(entries.map(|(dim, weight)| (dim.into(), weight)).collect());
    }
    if let Some(vectors) = VectorColumn::of(column) {
        let mut scratch = Vec::new();
        return Value::Vector(vectors.rows(row..row + 1, &mut scratch).into());
    }
    ScalarColumn::of(column).map_or(Value::Null, |scalar| scalar.value(row))
}

/// Gives a vector column; `None` if the batch has no such column.
///
/// Rows without a vector hold zeros here: ask `vector_nulls` which they are.
pub fn vectors(batch: &RecordBatch, attr: AttrId) -> Option<VectorColumn<'_>> {
    VectorColumn::of(layout::column(batch, attr)?.as_ref())
}

/// Says which rows of a vector column have no vector; `None` if all have one, or the column is missing.
pub fn vector_nulls(batch: &RecordBatch, attr: AttrId) -> Option<&NullBuffer> {
    layout::column(batch, attr)?
        .nulls()
        .filter(|nulls| nulls.null_count() > 0)
}
