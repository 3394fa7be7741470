//! Sparse vectors: maps from a dimension's name to its weight, stored as 16-bit floats.

use std::sync::{Arc, LazyLock};

use arrow::array::{
    Array, ArrayRef, AsArray, Float16Array, MapArray, NullBufferBuilder, StringArray,
    StringBuilder, StructArray,
};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Float16Type};
use half::f16;

use crate::error::{Error, Result};

/// One entry: the name of a dimension and its weight.
pub type Entry = (Arc<str>, f32);

/// The names of the parts of a map: all entries, the key of one, its value.
pub type MapNames = [&'static str; 3];

/// As rows name them.
pub const NAMES: MapNames = ["entries", "keys", "values"];

static DATA_TYPE: LazyLock<DataType> = LazyLock::new(|| map_type(NAMES));

/// The Arrow type of a column of sparse vectors whose parts have these names.
pub fn map_type([entries, key, value]: MapNames) -> DataType {
    let parts = Fields::from(vec![
        Field::new(key, DataType::Utf8, false),
        Field::new(value, DataType::Float16, false),
    ]);
    let entries = Field::new(entries, DataType::Struct(parts), false);
    DataType::Map(Arc::new(entries), false)
}

/// The Arrow type of a column of sparse vectors in the layout of rows.
pub fn data_type() -> DataType {
    DATA_TYPE.clone()
}

/// The same column under a map's field whose parts have other names. Values are shared, not copied; `None` if
/// the column is of another type.
pub fn renamed(column: &dyn Array, entries: &FieldRef) -> Option<ArrayRef> {
    let map = column.as_map_opt()?;
    let DataType::Struct(parts) = entries.data_type() else {
        return None;
    };
    let values = vec![Arc::clone(map.keys()), Arc::clone(map.values())];
    let rows = StructArray::try_new(parts.clone(), values, None).ok()?;
    let (offsets, nulls) = (map.offsets().clone(), map.nulls().cloned());
    let map = MapArray::try_new(Arc::clone(entries), offsets, rows, nulls, false).ok()?;
    Some(Arc::new(map))
}

/// A column of sparse vectors with its type resolved, to be read row by row.
#[derive(Debug, Clone, Copy)]
pub struct SparseColumn<'a> {
    map: &'a MapArray,
    dims: &'a StringArray,
    weights: &'a Float16Array,
}

impl<'a> SparseColumn<'a> {
    /// Resolves a column; `None` if it holds anything else.
    pub fn of(array: &'a dyn Array) -> Option<Self> {
        let map = array.as_map_opt()?;
        Some(Self {
            map,
            dims: map.keys().as_string_opt()?,
            weights: map.values().as_primitive_opt::<Float16Type>()?,
        })
    }

    /// Whether a row has no sparse vector.
    pub fn is_null(&self, row: usize) -> bool {
        self.map.is_null(row)
    }

    /// The entries of a row, ascending by the bytes of their names. Panics if `row` is out of range.
    pub fn entries(self, row: usize) -> impl Iterator<Item = (&'a str, f32)> {
        let offsets = self.map.value_offsets();
        let end = |at: usize| usize::try_from(offsets[at]).unwrap_or(0);
        let entries = end(row)..end(row + 1);
        entries.map(move |at| (self.dims.value(at), self.weights.value(at).to_f32()))
    }
}

impl SparseColumn<'_> {
    /// The dot product of a row's sparse vector with a query, ascending by name as it is; in `f64`, so that the
    /// sum of what both may hold stays finite. Panics if `row` is out of range.
    pub fn dot(self, row: usize, query: &[Entry]) -> f64 {
        let mut query = query.iter().peekable();
        let mut sum = 0.0;
        for (dim, weight) in self.entries(row) {
            while query.next_if(|(asked, _)| **asked < *dim).is_some() {}
            if let Some((_, asked)) = query.next_if(|(asked, _)| **asked == *dim) {
                sum += f64::from(weight) * f64::from(*asked);
            }
        }
        sum
    }
}

/// Builds one column of sparse vectors.
#[derive(Debug)]
pub struct SparseBuilder {
    dims: StringBuilder,
    weights: Vec<f16>,
    offsets: Vec<i32>,
    nulls: NullBufferBuilder,
}

impl SparseBuilder {
    /// Makes an empty column with room for `rows`.
    pub fn new(rows: usize) -> Self {
        Self {
            dims: StringBuilder::new(),
            weights: Vec::new(),
            offsets: vec![0],
            nulls: NullBufferBuilder::new(rows),
        }
    }

    /// Adds a sparse vector: entries ascending by name, each once, weights that 16-bit floats hold.
    ///
    /// Errors: `TooLarge` if the column would pass 2 GiB.
    pub fn push(&mut self, entries: &[Entry]) -> Result<()> {
        for (dim, weight) in entries {
            super::build::push_text(&mut self.dims, dim)?;
            self.weights.push(f16::from_f32(*weight));
        }
        let end =
            i32::try_from(self.weights.len()).map_err(|_| super::build::column_too_large())?;
        self.offsets.push(end);
        self.nulls.append_non_null();
        Ok(())
    }

    pub(super) fn push_null(&mut self) {
        let end = self.offsets.last().copied().unwrap_or(0);
        self.offsets.push(end);
        self.nulls.append_null();
    }

    pub(super) fn finish(mut self) -> Result<ArrayRef> {
        let broken = |error| Error::internal("cannot build a column of maps").with_source(error);
        let DataType::Map(field, ordered) = data_type() else {
            return Err(Error::internal("sparse vectors are no maps"));
        };
        let DataType::Struct(parts) = field.data_type() else {
            return Err(Error::internal("sparse vectors have no entries"));
        };
        let values: Vec<ArrayRef> = vec![
            Arc::new(self.dims.finish()),
            Arc::new(Float16Array::new(self.weights.into(), None)),
        ];
        let entries = StructArray::try_new(parts.clone(), values, None).map_err(broken)?;
        let offsets = OffsetBuffer::new(ScalarBuffer::from(self.offsets));
        let map = MapArray::try_new(field, offsets, entries, self.nulls.finish(), ordered);
        Ok(Arc::new(map.map_err(broken)?))
    }
}
