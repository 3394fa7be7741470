//! Documents become one batch of rows in the layout of the grown schema.

use std::collections::BTreeMap;

use arrow::array::RecordBatch;

use super::UPSERT;
use super::infer::{at, mismatch, place};
use crate::error::{Error, Result};
use crate::rows::Given;
use crate::rows::build::{ColumnBuilder, ColumnKind, RowsBuilder, push_bytes};
use crate::rows::layout;
use crate::rows::raw::{self, Mismatch};
use crate::types::document::{Document, RawValue};
use crate::types::{AttrId, AttributeType, DocId, NamespaceSchema, RowMap, Value, limits};

/// One attribute as rows are built: where it goes and what it may hold.
#[derive(Debug, Clone, Copy)]
struct Slot {
    attr: AttrId,
    position: usize,
    kind: AttributeType,
    filterable: bool,
}

/// Why a value cannot be stored.
enum Refusal {
    /// It has not the attribute's type.
    Mismatch(Mismatch),
    /// It is too large, or a bug.
    Other(Error),
}

impl From<Mismatch> for Refusal {
    fn from(mismatch: Mismatch) -> Self {
        Self::Mismatch(mismatch)
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

/// Builds the rows of documents whose ids are bound already and whose attributes are all in the schema.
pub(super) fn build(
    schema: &NamespaceSchema,
    documents: &[Document],
    ids: Vec<DocId>,
) -> Result<(Vec<DocId>, RecordBatch)> {
    build_rows(schema, UPSERT, documents, ids, None)
}

/// As `build`, of patches: also says which attributes each names, and asks for no vector.
pub(super) fn build_patches(
    schema: &NamespaceSchema,
    what: &str,
    patches: &[Document],
    ids: Vec<DocId>,
) -> Result<(Vec<DocId>, RecordBatch, Vec<Given>)> {
    let mut given = BTreeMap::new();
    let (ids, rows) = build_rows(schema, what, patches, ids, Some(&mut given))?;
    let given = given.into_iter();
    let given = given.map(|(attr, rows)| Given { attr, rows }).collect();
    Ok((ids, rows, given))
}

/// `given`: where to note which rows name which attribute; whole documents are not noted.
fn build_rows(
    schema: &NamespaceSchema,
    what: &str,
    documents: &[Document],
    ids: Vec<DocId>,
    mut given: Option<&mut BTreeMap<AttrId, Vec<u32>>>,
) -> Result<(Vec<DocId>, RecordBatch)> {
    let slots: RowMap<&str, Slot> = layout::attributes_in_order(schema)
        .into_iter()
        .enumerate()
        .map(|(position, (name, attribute))| {
            let slot = Slot {
                attr: attribute.id,
                position,
                kind: attribute.kind,
                filterable: attribute.filterable,
            };
            (name, slot)
        })
        .collect();
    let vectors: Vec<(&str, usize)> = schema
        .vectors()
        .into_iter()
        .filter(|_| given.is_none())
        .filter_map(|(name, _)| Some((name, slots.get(name)?.position)))
        .collect();
    let mut rows = RowsBuilder::new(schema, documents.len());
    let mut scratch = Vec::new();
    for (row, (document, id)) in documents.iter().zip(ids).enumerate() {
        let mut bytes = id_bytes(&id);
        for (name, value) in &document.attributes {
            let Some(slot) = slots.get(name.as_ref()) else {
                // Only nulls name attributes that inference did not add.
                continue;
            };
            let column = rows
                .column(slot.position)
                .ok_or_else(|| Error::internal("a column for every attribute"))?;
            if column.len() > row {
                let error = Error::invalid(format!("attribute `{name}` occurs twice"));
                return Err(at(what, row, document, &error));
            }
            if let Some(given) = &mut given {
                given.entry(slot.attr).or_default().push(row as u32);
            }
            bytes += push(column, *slot, value, &mut scratch).map_err(|refusal| match refusal {
                Refusal::Mismatch(found) => mismatch(what, row, document, name, &found),
                Refusal::Other(error) => {
                    let text = format!("attribute `{name}`: {}", error.message());
                    at(
                        what,
                        row,
                        document,
                        &Error::new(error.kind(), error.code(), text),
                    )
                }
            })?;
        }
        for (name, position) in &vectors {
            let missing = rows
                .column(*position)
                .is_none_or(|column| column.len() == row);
            if missing {
                let found = no_vector(slots[name].kind);
                return Err(mismatch(what, row, document, name, &found));
            }
        }
        if bytes > limits::DOCUMENT_BYTES_MAX {
            return Err(Error::invalid(format!(
                "{}: a document has at most {} bytes, found {bytes}",
                place(what, row, document),
                limits::DOCUMENT_BYTES_MAX
            )));
        }
        rows.end_row(id);
    }
    rows.finish()
}

/// Adds one cell; returns its logical bytes.
fn push(
    column: &mut ColumnBuilder,
    slot: Slot,
    value: &RawValue,
    scratch: &mut Vec<f32>,
) -> Result<usize, Refusal> {
    if *value == RawValue::Null {
        if slot.kind.is_vector() {
            return Err(no_vector(slot.kind).into());
        }
        column.push_null();
        return Ok(0);
    }
    let mut bytes = 0;
    column.push_with::<Refusal>(|kind| match (kind, slot.kind) {
        (ColumnKind::Scalar(builder), AttributeType::Scalar(scalar)) => {
            let value = raw::scalar(scalar, value)?;
            bytes = scalar_bytes(&value);
            check_size(bytes, bytes, slot.filterable)?;
            Ok(builder.push(&value)?)
        }
        (ColumnKind::List(builder), AttributeType::Array(element)) => {
            let push = |item: Value| -> Result<(), Refusal> {
                let item_bytes = scalar_bytes(&item);
                bytes += item_bytes;
                check_size(item_bytes, bytes, slot.filterable)?;
                Ok(builder.push_element(&item)?)
            };
            raw::elements(element, value, push, Refusal::from)?;
            Ok(builder.close()?)
        }
        (ColumnKind::List(builder), AttributeType::ArrayUnknown) => match raw::list_len(value) {
            Some(0) => Ok(builder.close()?),
            // A list with elements would have given the attribute its type.
            _ => Err(Mismatch::new(slot.kind.to_string(), raw::show(value)).into()),
        },
        (ColumnKind::Bytes(builder), AttributeType::Bytes) => {
            let value = raw::bytes(value)?;
            bytes = value.len();
            check_size(bytes, bytes, slot.filterable)?;
            Ok(push_bytes(builder, &value)?)
        }
        (ColumnKind::Sparse(builder), AttributeType::Sparse) => {
            let entries = raw::sparse(value)?;
            bytes = entries.iter().map(|(name, _)| name.len() + 2).sum();
            check_size(bytes, bytes, slot.filterable)?;
            Ok(builder.push(&entries)?)
        }
        (ColumnKind::Vector(builder), AttributeType::Vector { dims, element }) => {
            raw::vector_of(element, value, scratch)?;
            if scratch.len() != dims as usize {
                let found = format!("a vector of {} dimensions", scratch.len());
                return Err(Mismatch::new(slot.kind.to_string(), found).into());
            }
            bytes = scratch.len() * element.bytes();
            Ok(builder.push(scratch)?)
        }
        _ => Err(Error::internal("a column of its attribute's type").into()),
    })?;
    Ok(bytes)
}

fn no_vector(kind: AttributeType) -> Mismatch {
    Mismatch::new(format!("{kind}: every row carries every vector"), "nothing")
}

fn check_size(element: usize, total: usize, filterable: bool) -> Result<(), Error> {
    if filterable && element > limits::FILTERABLE_VALUE_BYTES_MAX {
        return Err(Error::invalid(format!(
            "a filterable value has at most {} bytes, found {element}",
            limits::FILTERABLE_VALUE_BYTES_MAX
        )));
    }
    if total > limits::ATTRIBUTE_VALUE_BYTES_MAX {
        return Err(Error::invalid(format!(
            "a value has at most {} bytes, found {total}",
            limits::ATTRIBUTE_VALUE_BYTES_MAX
        )));
    }
    Ok(())
}

fn scalar_bytes(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::Bool(_) => 1,
        Value::Uuid(_) => 16,
        _ => 8,
    }
}

fn id_bytes(id: &DocId) -> usize {
    match id {
        DocId::Uint(_) => 8,
        DocId::Uuid(_) => 16,
        DocId::String(text) => text.len(),
    }
}
