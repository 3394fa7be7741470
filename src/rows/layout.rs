//! How a namespace's schema becomes an Arrow schema, and how a column is found again.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef, TimeUnit};

use super::sparse;
use crate::error::{Error, Result};
use crate::types::{
    AttrId, AttributeSchema, AttributeType, IdKind, NamespaceSchema, ScalarType, VectorElement,
};

/// The name of the id column, always the first.
pub const ID_COLUMN: &str = "id";
/// The name of a list's child field.
pub const ITEM_FIELD: &str = "item";
/// The metadata key under which a field's permanent number is kept: 0 for the id, else attribute id + 1.
pub const FIELD_ID_KEY: &str = "PARQUET:field_id";

/// Names an attribute's column: `a{attr_id}`.
pub fn column_name(attr: AttrId) -> String {
    format!("a{}", attr.0)
}

/// Parses a column's name back; `None` for anything `column_name` does not write.
pub fn attr_of(name: &str) -> Option<AttrId> {
    let digits = name.strip_prefix('a')?;
    let canonical = !digits.is_empty()
        && digits.bytes().all(|byte| byte.is_ascii_digit())
        && (digits == "0" || !digits.starts_with('0'));
    digits.parse().ok().filter(|_| canonical).map(AttrId)
}

/// Gives the Arrow type of an id column.
pub fn id_type(kind: IdKind) -> DataType {
    match kind {
        IdKind::Uint => DataType::UInt64,
        IdKind::Uuid => DataType::FixedSizeBinary(16),
        IdKind::String => DataType::Utf8,
    }
}

/// Gives the id kind of an Arrow type; `None` if ids are never stored so.
pub fn id_kind_of(data_type: &DataType) -> Option<IdKind> {
    [IdKind::Uint, IdKind::Uuid, IdKind::String]
        .into_iter()
        .find(|kind| id_type(*kind) == *data_type)
}

/// Gives the Arrow type of a scalar.
pub fn scalar_type(kind: ScalarType) -> DataType {
    match kind {
        ScalarType::String => DataType::Utf8,
        ScalarType::Int => DataType::Int64,
        ScalarType::Uint => DataType::UInt64,
        ScalarType::Float => DataType::Float64,
        ScalarType::Uuid => DataType::FixedSizeBinary(16),
        ScalarType::Datetime => DataType::Timestamp(TimeUnit::Millisecond, None),
        ScalarType::Bool => DataType::Boolean,
    }
}

/// Gives the Arrow type of a vector's numbers.
pub fn element_type(element: VectorElement) -> DataType {
    match element {
        VectorElement::F32 => DataType::Float32,
        VectorElement::F16 => DataType::Float16,
        VectorElement::I8 => DataType::Int8,
    }
}

/// Gives the child field of a list or a vector.
pub fn item_field(data_type: DataType) -> FieldRef {
    Arc::new(Field::new(ITEM_FIELD, data_type, false))
}

/// Gives the Arrow type of an attribute.
pub fn attribute_type(kind: AttributeType) -> DataType {
    match kind {
        AttributeType::Scalar(scalar) => scalar_type(scalar),
        AttributeType::Array(element) => DataType::List(item_field(scalar_type(element))),
        AttributeType::ArrayUnknown => DataType::List(item_field(DataType::Boolean)),
        AttributeType::Bytes => DataType::Binary,
        AttributeType::Sparse => sparse::data_type(),
        AttributeType::Vector { dims, element } => {
            // Dims are at most 10,752; a larger number could only be built in memory, never parsed.
            let dims = i32::try_from(dims).unwrap_or(i32::MAX);
            DataType::FixedSizeList(item_field(element_type(element)), dims)
        }
    }
}

/// Gives the field of an attribute. Vectors are nullable too: rows written before a namespace had
/// vectors carry none.
pub fn attribute_field(attribute: &AttributeSchema) -> Field {
    field_of(attribute.id, attribute_type(attribute.kind))
}

/// Gives the field of an attribute's column of this Arrow type.
pub fn field_of(attr: AttrId, data_type: DataType) -> Field {
    Field::new(column_name(attr), data_type, true).with_metadata(field_id(u64::from(attr.0) + 1))
}

fn id_field(data_type: DataType) -> Field {
    Field::new(ID_COLUMN, data_type, false).with_metadata(field_id(0))
}

/// Lists a schema's attributes in the order of their columns, ascending by id.
pub fn attributes_in_order(schema: &NamespaceSchema) -> Vec<(&str, &AttributeSchema)> {
    let mut attributes: Vec<_> = schema
        .attributes
        .iter()
        .map(|(name, attribute)| (name.as_str(), attribute))
        .collect();
    attributes.sort_by_key(|(_, attribute)| attribute.id);
    attributes
}

/// Gives the Arrow schema of a namespace. A namespace whose id kind is not known yet has no rows; its
/// id column is written as `UInt64`.
pub fn arrow_schema(schema: &NamespaceSchema) -> SchemaRef {
    let kind = schema.id_kind.unwrap_or(IdKind::Uint);
    let id = id_field(id_type(kind));
    let attributes = attributes_in_order(schema)
        .into_iter()
        .map(|(_, attribute)| attribute_field(attribute));
    Arc::new(Schema::new(
        std::iter::once(id).chain(attributes).collect::<Vec<_>>(),
    ))
}

/// Finds an attribute's column; `None` if the batch has none, which reads as all null.
///
/// Columns are in ascending attribute id after the id column, as `check` makes sure of.
pub fn column(batch: &RecordBatch, attr: AttrId) -> Option<&ArrayRef> {
    let schema = batch.schema_ref();
    let fields = schema.fields().get(1..)?;
    let position = fields
        .binary_search_by_key(&Some(attr), |field| attr_of(field.name()))
        .ok()?;
    batch.columns().get(position + 1)
}

/// Gives the id column.
///
/// Panics if the batch has no columns, which no checked or built batch is.
pub fn id_column(batch: &RecordBatch) -> &ArrayRef {
    batch
        .columns()
        .first()
        .expect("a batch of rows has an id column")
}

/// Checks that a batch read from outside keeps the layout: the id column first, of a legal type and
/// without nulls, then attribute columns in ascending id, of legal types, each field with just the number and
/// nullability that `arrow_schema` gives it. Errors: `Corrupted`.
pub fn check(batch: &RecordBatch) -> Result<()> {
    let fields = batch.schema_ref().fields();
    let (Some(id), Some(ids)) = (fields.first(), batch.columns().first()) else {
        return Err(Error::corrupted("batch of rows without columns"));
    };
    let is_id = id_kind_of(id.data_type()).is_some() && **id == id_field(id.data_type().clone());
    if !is_id || ids.null_count() > 0 {
        return Err(Error::corrupted(format!(
            "first column of a batch of rows: expected `{ID_COLUMN}` without nulls, found `{}` of type {}",
            id.name(),
            id.data_type()
        )));
    }
    let mut last = None;
    for field in &fields[1..] {
        let attr = attr_of(field.name());
        let is_own = attr.is_some_and(|attr| **field == field_of(attr, field.data_type().clone()));
        if !is_own || attr <= last || !legal_type(field.data_type()) {
            return Err(Error::corrupted(format!(
                "column `{}` of type {} does not belong into a batch of rows at its place",
                field.name(),
                field.data_type()
            )));
        }
        last = attr;
    }
    Ok(())
}

fn legal_type(data_type: &DataType) -> bool {
    let scalar = |wanted: &DataType| {
        ScalarType::ALL
            .into_iter()
            .any(|kind| scalar_type(kind) == *wanted)
    };
    match data_type {
        DataType::Binary => true,
        DataType::Map(..) => *data_type == sparse::data_type(),
        DataType::List(item) => {
            *item == item_field(item.data_type().clone()) && scalar(item.data_type())
        }
        DataType::FixedSizeList(item, dims) => {
            let mut elements = VectorElement::ALL.into_iter();
            *dims > 0 && elements.any(|element| *item == item_field(element_type(element)))
        }
        other => scalar(other),
    }
}

fn field_id(number: u64) -> HashMap<String, String> {
    HashMap::from([(FIELD_ID_KEY.to_owned(), number.to_string())])
}
