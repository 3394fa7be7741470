//! Types of attributes nothing declared, from the first value that has one.

use crate::error::{Error, Result};
use crate::rows::raw::{self, Mismatch};
use crate::types::document::{Document, RawValue};
use crate::types::{AttributeType, NamespaceSchema, RowSet, VectorElement, schema};

/// The one name that is inferred as a vector.
const VECTOR: &str = "vector";

/// Adds the attributes of the documents which the schema does not know, and the element type of lists
/// that were empty so far. Later values that do not fit are found when rows are built.
///
/// `what`: how messages call the documents.
pub(super) fn infer(grown: &mut NamespaceSchema, what: &str, documents: &[Document]) -> Result<()> {
    // Names that need no further look: most cells of a request end at this set.
    let known: Vec<String> = grown
        .attributes
        .iter()
        .filter(|(_, attribute)| attribute.kind != AttributeType::ArrayUnknown)
        .map(|(name, _)| name.clone())
        .collect();
    let mut settled: RowSet<&str> = known.iter().map(String::as_str).collect();
    for (row, document) in documents.iter().enumerate() {
        for (name, value) in &document.attributes {
            let name = name.as_ref();
            if settled.contains(name) {
                continue;
            }
            schema::validate_attribute_name(name)
                .map_err(|error| at(what, row, document, &error))?;
            if *value == RawValue::Null {
                continue;
            }
            let before = grown.get(name).map(|attribute| attribute.kind);
            let kind = kind_of(name, value, before.is_some())
                .map_err(|found| mismatch(what, row, document, name, &found))?;
            match (before, kind) {
                (None, kind) => {
                    grown
                        .add(name, kind, true)
                        .map_err(|error| at(what, row, document, &error))?;
                }
                (Some(AttributeType::ArrayUnknown), AttributeType::Array(_)) => {
                    if let Some(attribute) = grown.attributes.get_mut(name) {
                        attribute.kind = kind;
                    }
                }
                (Some(_), _) => {}
            }
            if kind != AttributeType::ArrayUnknown {
                settled.insert(name);
            }
        }
    }
    Ok(())
}

fn kind_of(name: &str, value: &RawValue, list_known: bool) -> Result<AttributeType, Mismatch> {
    if name == VECTOR && !list_known {
        let mut values = Vec::new();
        raw::vector(value, &mut values)?;
        // `raw::vector` bounds the length far below this type's range.
        let dims = u32::try_from(values.len()).unwrap_or(u32::MAX);
        return Ok(AttributeType::Vector {
            dims,
            element: VectorElement::F32,
        });
    }
    if let Some(kind) = raw::infer_scalar(value) {
        return Ok(AttributeType::Scalar(kind));
    }
    let found = match value {
        RawValue::Numbers { values, .. } if values.is_empty() => {
            return Ok(AttributeType::ArrayUnknown);
        }
        RawValue::Numbers { integers, .. } => raw::infer_scalar(&if *integers {
            RawValue::Int(0)
        } else {
            RawValue::Float(0.0)
        }),
        RawValue::Array(items) => match items.first() {
            None => return Ok(AttributeType::ArrayUnknown),
            Some(first) => raw::infer_scalar(first),
        },
        _ => None,
    };
    found.map(AttributeType::Array).ok_or_else(|| {
        let found = match value {
            RawValue::Array(items) => items.first().map_or("array", RawValue::type_name),
            other => other.type_name(),
        };
        let found = match value {
            RawValue::Array(_) => format!("array of {found}"),
            _ => found.to_owned(),
        };
        let expected = "a string, number, bool or list of one of them, or a declared type";
        Mismatch::new(expected, found)
    })
}

/// Says where an error happened.
pub(super) fn at(what: &str, row: usize, document: &Document, error: &Error) -> Error {
    Error::new(
        error.kind(),
        error.code(),
        format!("{}: {}", place(what, row, document), error.message()),
    )
}

/// Says which attribute of which row does not fit.
pub(super) fn mismatch(
    what: &str,
    row: usize,
    document: &Document,
    name: &str,
    found: &Mismatch,
) -> Error {
    let name: String = name.chars().take(200).collect();
    Error::invalid(format!(
        "{}: attribute `{name}`: {}",
        place(what, row, document),
        found.describe()
    ))
}

/// Names a row by index and id.
pub(super) fn place(what: &str, row: usize, document: &Document) -> String {
    match &document.id {
        RawValue::Int(id) => format!("{what} {row} (id {id})"),
        RawValue::Uint(id) => format!("{what} {row} (id {id})"),
        RawValue::String(id) => format!("{what} {row} (id `{id}`)"),
        // The one patch of a filter has none.
        RawValue::Null => what.to_owned(),
        _ => format!("{what} {row}"),
    }
}
