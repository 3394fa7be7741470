//! Builders of columns and batches: one bound value, or null, per row and column.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryBuilder, BooleanBuilder, FixedSizeBinaryBuilder, Float64Builder, Int64Builder,
    ListArray, NullBufferBuilder, RecordBatch, StringBuilder, TimestampMillisecondBuilder,
    UInt64Builder,
};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, SchemaRef};
use arrow::error::ArrowError;

use super::sparse::SparseBuilder;
use super::vectors::VectorBuilder;
use super::{ids, layout};
use crate::error::{Error, ErrorKind, Result};
use crate::types::{
    AttrId, AttributeType, DocId, IdKind, NamespaceSchema, ScalarType, Timestamp, Value,
};

/// Builds one column of scalars.
#[derive(Debug)]
pub enum ScalarBuilder {
    /// Text.
    String(StringBuilder),
    /// Signed integers.
    Int(Int64Builder),
    /// Unsigned integers.
    Uint(UInt64Builder),
    /// Floats.
    Float(Float64Builder),
    /// UUIDs.
    Uuid(FixedSizeBinaryBuilder),
    /// UTC milliseconds.
    Datetime(TimestampMillisecondBuilder),
    /// Booleans.
    Bool(BooleanBuilder),
}

impl ScalarBuilder {
    /// Makes an empty column with room for `rows`.
    pub fn new(kind: ScalarType, rows: usize) -> Self {
        match kind {
            ScalarType::String => Self::String(StringBuilder::with_capacity(rows, 0)),
            ScalarType::Int => Self::Int(Int64Builder::with_capacity(rows)),
            ScalarType::Uint => Self::Uint(UInt64Builder::with_capacity(rows)),
            ScalarType::Float => Self::Float(Float64Builder::with_capacity(rows)),
            ScalarType::Uuid => Self::Uuid(FixedSizeBinaryBuilder::with_capacity(rows, 16)),
            ScalarType::Datetime => {
                Self::Datetime(TimestampMillisecondBuilder::with_capacity(rows))
            }
            ScalarType::Bool => Self::Bool(BooleanBuilder::with_capacity(rows)),
        }
    }

    /// Adds a null.
    pub fn push_null(&mut self) {
        match self {
            Self::String(builder) => builder.append_null(),
            Self::Int(builder) => builder.append_null(),
            Self::Uint(builder) => builder.append_null(),
            Self::Float(builder) => builder.append_null(),
            Self::Uuid(builder) => builder.append_null(),
            Self::Datetime(builder) => builder.append_null(),
            Self::Bool(builder) => builder.append_null(),
        }
    }

    /// Adds a value. Errors: `TooLarge` if a column's text would pass 2 GiB, `Internal` for a value of
    /// another type.
    pub fn push(&mut self, value: &Value) -> Result<()> {
        match (self, value) {
            (builder, Value::Null) => builder.push_null(),
            (Self::String(builder), Value::String(text)) => push_text(builder, text)?,
            (Self::Int(builder), Value::Int(value)) => builder.append_value(*value),
            (Self::Uint(builder), Value::Uint(value)) => builder.append_value(*value),
            (Self::Float(builder), Value::Float(value)) => builder.append_value(*value),
            (Self::Uuid(builder), Value::Uuid(value)) => {
                builder.append_value(value.as_bytes()).map_err(broken)?;
            }
            (Self::Datetime(builder), Value::Datetime(Timestamp(ms))) => builder.append_value(*ms),
            (Self::Bool(builder), Value::Bool(value)) => builder.append_value(*value),
            (_, other) => return Err(wrong_type(other)),
        }
        Ok(())
    }

    fn finish(self) -> ArrayRef {
        match self {
            Self::String(mut builder) => Arc::new(builder.finish()),
            Self::Int(mut builder) => Arc::new(builder.finish()),
            Self::Uint(mut builder) => Arc::new(builder.finish()),
            Self::Float(mut builder) => Arc::new(builder.finish()),
            Self::Uuid(mut builder) => Arc::new(builder.finish()),
            Self::Datetime(mut builder) => Arc::new(builder.finish()),
            Self::Bool(mut builder) => Arc::new(builder.finish()),
        }
    }
}

/// Builds one column of lists. Elements are pushed first, then the list is closed.
#[derive(Debug)]
pub struct ListBuilder {
    elements: ScalarBuilder,
    element_type: DataType,
    count: usize,
    offsets: Vec<i32>,
    nulls: NullBufferBuilder,
}

impl ListBuilder {
    fn new(element: ScalarType, rows: usize) -> Self {
        let mut offsets = Vec::with_capacity(rows + 1);
        offsets.push(0);
        Self {
            elements: ScalarBuilder::new(element, rows),
            element_type: layout::scalar_type(element),
            count: 0,
            offsets,
            nulls: NullBufferBuilder::new(rows),
        }
    }

    /// Adds an element to the open list. Errors: like `ScalarBuilder::push`, and `Internal` for a null.
    pub fn push_element(&mut self, value: &Value) -> Result<()> {
        if *value == Value::Null {
            return Err(wrong_type(value));
        }
        self.elements.push(value)?;
        self.count += 1;
        Ok(())
    }

    /// Closes the open list: it becomes the value of the next row.
    pub fn close(&mut self) -> Result<()> {
        let end = i32::try_from(self.count).map_err(|_| column_too_large())?;
        self.offsets.push(end);
        self.nulls.append_non_null();
        Ok(())
    }

    fn push_null(&mut self) {
        let end = self.offsets.last().copied().unwrap_or(0);
        self.offsets.push(end);
        self.nulls.append_null();
    }

    fn finish(mut self) -> Result<ArrayRef> {
        let list = ListArray::try_new(
            layout::item_field(self.element_type),
            OffsetBuffer::new(ScalarBuffer::from(self.offsets)),
            self.elements.finish(),
            self.nulls.finish(),
        );
        Ok(Arc::new(list.map_err(broken)?))
    }
}

/// What a column is built with.
#[derive(Debug)]
pub enum ColumnKind {
    /// Scalars.
    Scalar(ScalarBuilder),
    /// Lists.
    List(ListBuilder),
    /// Bytes.
    Bytes(BinaryBuilder),
    /// Sparse vectors.
    Sparse(SparseBuilder),
    /// Vectors.
    Vector(VectorBuilder),
}

/// Builds one attribute's column.
#[derive(Debug)]
pub struct ColumnBuilder {
    rows: usize,
    kind: ColumnKind,
}

impl ColumnBuilder {
    /// Makes an empty column with room for `rows`.
    pub fn new(kind: AttributeType, rows: usize) -> Self {
        let kind = match kind {
            AttributeType::Scalar(scalar) => ColumnKind::Scalar(ScalarBuilder::new(scalar, rows)),
            AttributeType::Array(element) => ColumnKind::List(ListBuilder::new(element, rows)),
            AttributeType::ArrayUnknown => {
                ColumnKind::List(ListBuilder::new(ScalarType::Bool, rows))
            }
            AttributeType::Bytes => ColumnKind::Bytes(BinaryBuilder::with_capacity(rows, 0)),
            AttributeType::Sparse => ColumnKind::Sparse(SparseBuilder::new(rows)),
            AttributeType::Vector { dims, element } => {
                ColumnKind::Vector(VectorBuilder::new(dims, element, rows))
            }
        };
        Self { rows: 0, kind }
    }

    /// Rows so far.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Adds one row by what `fill` pushes: exactly one value, list or vector.
    pub fn push_with<E>(
        &mut self,
        fill: impl FnOnce(&mut ColumnKind) -> Result<(), E>,
    ) -> Result<(), E> {
        fill(&mut self.kind)?;
        self.rows += 1;
        Ok(())
    }

    /// Adds a null row.
    pub fn push_null(&mut self) {
        match &mut self.kind {
            ColumnKind::Scalar(builder) => builder.push_null(),
            ColumnKind::List(builder) => builder.push_null(),
            ColumnKind::Bytes(builder) => builder.append_null(),
            ColumnKind::Sparse(builder) => builder.push_null(),
            ColumnKind::Vector(builder) => builder.push_null(),
        }
        self.rows += 1;
    }

    /// Adds a row. Errors: `Internal` for a value of another type, `TooLarge` over 2 GiB of one column.
    pub fn push(&mut self, value: &Value) -> Result<()> {
        if *value == Value::Null {
            self.push_null();
            return Ok(());
        }
        self.push_with(|kind| match (kind, value) {
            (ColumnKind::Scalar(builder), value) => builder.push(value),
            (ColumnKind::List(builder), Value::Array(elements)) => {
                for element in elements.iter() {
                    builder.push_element(element)?;
                }
                builder.close()
            }
            (ColumnKind::Bytes(builder), Value::Bytes(bytes)) => push_bytes(builder, bytes),
            (ColumnKind::Sparse(builder), Value::Sparse(entries)) => builder.push(entries),
            (ColumnKind::Vector(builder), Value::Vector(vector)) => builder.push(vector),
            (_, other) => Err(wrong_type(other)),
        })
    }

    /// Ends the column. Errors: `Internal` if Arrow refuses it.
    pub fn finish(self) -> Result<ArrayRef> {
        match self.kind {
            ColumnKind::Scalar(builder) => Ok(builder.finish()),
            ColumnKind::List(builder) => builder.finish(),
            ColumnKind::Bytes(mut builder) => Ok(Arc::new(builder.finish())),
            ColumnKind::Sparse(builder) => builder.finish(),
            ColumnKind::Vector(builder) => builder.finish(),
        }
    }
}

/// Builds a batch of rows of one schema.
#[derive(Debug)]
pub struct RowsBuilder {
    schema: SchemaRef,
    id_kind: IdKind,
    ids: Vec<DocId>,
    attrs: Vec<AttrId>,
    columns: Vec<ColumnBuilder>,
}

impl RowsBuilder {
    /// Makes an empty batch with room for `rows`.
    pub fn new(schema: &NamespaceSchema, rows: usize) -> Self {
        let attributes = layout::attributes_in_order(schema);
        Self {
            schema: layout::arrow_schema(schema),
            id_kind: schema.id_kind.unwrap_or(IdKind::Uint),
            ids: Vec::with_capacity(rows),
            attrs: attributes.iter().map(|(_, one)| one.id).collect(),
            columns: attributes
                .iter()
                .map(|(_, one)| ColumnBuilder::new(one.kind, rows))
                .collect(),
        }
    }

    /// Finds the position of an attribute's column.
    pub fn position(&self, attr: AttrId) -> Option<usize> {
        self.attrs.binary_search(&attr).ok()
    }

    /// The column at a position of this row, to push at most one value to before `end_row`.
    pub fn column(&mut self, position: usize) -> Option<&mut ColumnBuilder> {
        self.columns.get_mut(position)
    }

    /// Rows ended so far.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Ends a row: columns that got no value get null.
    pub fn end_row(&mut self, id: DocId) {
        self.ids.push(id);
        for column in &mut self.columns {
            if column.rows < self.ids.len() {
                column.push_null();
            }
        }
    }

    /// Adds a whole row; attributes not named are null. Errors: `Internal` for an attribute the schema
    /// has not, twice the same, or a value of another type.
    pub fn push_row(&mut self, id: DocId, attributes: &[(AttrId, Value)]) -> Result<()> {
        for (attr, value) in attributes {
            let row = self.ids.len();
            let column = self
                .position(*attr)
                .and_then(|position| self.columns.get_mut(position))
                .filter(|column| column.rows == row)
                .ok_or_else(|| {
                    Error::internal(format!("no free column for attribute {}", attr.0))
                })?;
            column.push(value)?;
        }
        self.end_row(id);
        Ok(())
    }

    /// Ends the batch. Errors: `Internal` for an id of another kind, or if Arrow refuses it.
    pub fn finish(self) -> Result<(Vec<DocId>, RecordBatch)> {
        let mut columns = vec![ids::id_array(self.id_kind, &self.ids)?];
        for column in self.columns {
            columns.push(column.finish()?);
        }
        let batch = RecordBatch::try_new(self.schema, columns).map_err(broken)?;
        Ok((self.ids, batch))
    }
}

pub(super) fn push_text(builder: &mut StringBuilder, text: &str) -> Result<()> {
    let bytes = builder.values_slice().len().saturating_add(text.len());
    if i32::try_from(bytes).is_err() {
        return Err(column_too_large());
    }
    builder.append_value(text);
    Ok(())
}

/// Adds bytes to a column. Errors: `TooLarge` if the column would pass 2 GiB.
pub fn push_bytes(builder: &mut BinaryBuilder, bytes: &[u8]) -> Result<()> {
    let total = builder.values_slice().len().saturating_add(bytes.len());
    if i32::try_from(total).is_err() {
        return Err(column_too_large());
    }
    builder.append_value(bytes);
    Ok(())
}

pub(super) fn column_too_large() -> Error {
    Error::new(
        ErrorKind::TooLarge,
        "too_large",
        "one attribute's values in one batch exceed 2 GiB",
    )
}

fn wrong_type(found: &Value) -> Error {
    Error::internal(format!("value does not fit its column: found {found:?}"))
}

fn broken(error: ArrowError) -> Error {
    Error::internal("cannot build a batch of rows").with_source(error)
}
