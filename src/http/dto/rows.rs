//! Documents in both forms, rows and columns, and lists of ids: straight into typed documents.

use std::fmt;

use serde::Deserializer;
use serde::de::{DeserializeSeed, MapAccess, SeqAccess, Unexpected, Visitor};

use super::json::{HEAP_BYTES, Scope, Step, expected, room, shape};
use super::value::{AnyRaw, Name, Names};
use crate::error::{Error, Result};
use crate::types::document::{Document, RawValue};

/// A name's place among the known ones, beyond its text.
const NAME_BYTES: usize = 4 * size_of::<(Name, Name, usize)>() + HEAP_BYTES;

const ID: &str = "an id: an unsigned integer or a string";

type Parsed<T, E> = std::result::Result<T, E>;

/// Reads `upsert_rows`; `None` for null.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rows<'a> {
    pub(super) scope: &'a Scope<'a>,
    pub(super) names: &'a Names,
}

impl<'de> DeserializeSeed<'de> for Rows<'_> {
    type Value = Option<Vec<Document>>;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Parsed<Self::Value, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Rows<'_> {
    type Value = Option<Vec<Document>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a sequence")
    }

    fn visit_unit<E>(self) -> Parsed<Self::Value, E> {
        Ok(None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Parsed<Self::Value, A::Error> {
        let mut documents = Vec::new();
        loop {
            let row = Row {
                rows: self,
                row_idx: documents.len(),
            };
            let step = Step::Index(row.row_idx);
            match self.scope.within(step, || seq.next_element_seed(row))? {
                Some(document) => self.scope.push(&mut documents, document)?,
                None => return Ok(Some(documents)),
            }
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Row<'a> {
    rows: Rows<'a>,
    row_idx: usize,
}

impl<'de> DeserializeSeed<'de> for Row<'_> {
    type Value = Document;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Parsed<Document, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Row<'_> {
    type Value = Document;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Parsed<Document, A::Error> {
        let scope = self.rows.scope;
        let mut id = None;
        let mut attributes = Vec::new();
        while let Some(name) = map.next_key_seed(Key {
            rows: self.rows,
            row_idx: self.row_idx,
        })? {
            let step = Step::Field(Name::clone(&name));
            let value = scope.within(step, || {
                let value = map.next_value_seed(AnyRaw(scope))?;
                if &*name == "id" {
                    check_id(&value)?;
                }
                Ok(value)
            })?;
            match &*name {
                "id" => id = Some(value),
                _ => scope.push(&mut attributes, (name, value))?,
            }
        }
        let missing = || Error::invalid("missing `id`: expected an unsigned integer or a string");
        let id = scope.lift(id.ok_or_else(missing))?;
        scope.seal(&mut attributes);
        Ok(Document { id, attributes })
    }
}

/// An attribute's name as a key of a row.
#[derive(Debug, Clone, Copy)]
struct Key<'a> {
    rows: Rows<'a>,
    row_idx: usize,
}

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = Name;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Parsed<Name, D::Error> {
        reader.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = Name;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an attribute name")
    }

    fn visit_str<E: serde::de::Error>(self, name: &str) -> Parsed<Name, E> {
        let (scope, names) = (self.rows.scope, self.rows.names);
        let n_known = names.len();
        let shared = scope.lift(names.intern(name, self.row_idx))?;
        if names.len() > n_known {
            scope.charge(name.len() + NAME_BYTES)?;
        }
        Ok(shared)
    }
}

/// 422 unless the value has the shape of an id; its kind and range are checked against the schema later.
fn check_id<E: serde::de::Error>(value: &RawValue) -> Parsed<(), E> {
    let found = match value {
        RawValue::Int(_) | RawValue::Uint(_) | RawValue::String(_) => return Ok(()),
        RawValue::Null => Unexpected::Unit,
        RawValue::Bool(value) => Unexpected::Bool(*value),
        RawValue::Float(value) => Unexpected::Float(*value),
        RawValue::Numbers { .. } | RawValue::Array(_) => Unexpected::Seq,
        RawValue::Object(_) => Unexpected::Map,
    };
    Err(expected(found, ID))
}

/// Reads a list of values of one column, or of ids where `ids`; `None` for null.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cells<'a> {
    pub(super) scope: &'a Scope<'a>,
    pub(super) ids: bool,
}

impl<'de> DeserializeSeed<'de> for Cells<'_> {
    type Value = Option<Vec<RawValue>>;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Parsed<Self::Value, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Cells<'_> {
    type Value = Option<Vec<RawValue>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a sequence")
    }

    fn visit_unit<E>(self) -> Parsed<Self::Value, E> {
        Ok(None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Parsed<Self::Value, A::Error> {
        let mut cells = Vec::new();
        loop {
            let next = self.scope.within(Step::Index(cells.len()), || {
                let next = seq.next_element_seed(AnyRaw(self.scope))?;
                if let Some(cell) = next.as_ref().filter(|_| self.ids) {
                    check_id(cell)?;
                }
                Ok(next)
            })?;
            match next {
                Some(cell) => self.scope.push(&mut cells, cell)?,
                None => return Ok(Some(cells)),
            }
        }
    }
}

/// Reads `upsert_columns` into documents; `None` for null.
#[derive(Debug, Clone, Copy)]
pub(super) struct Columns<'a>(pub(super) Rows<'a>);

impl<'de> DeserializeSeed<'de> for Columns<'_> {
    type Value = Option<Vec<Document>>;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Parsed<Self::Value, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Columns<'_> {
    type Value = Option<Vec<Document>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map")
    }

    fn visit_unit<E>(self) -> Parsed<Self::Value, E> {
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Parsed<Self::Value, A::Error> {
        let scope = self.0.scope;
        let mut ids = None;
        let mut columns = Vec::new();
        while let Some(name) = map.next_key_seed(Key {
            rows: self.0,
            // No row's number: a request with both forms is refused for that, not for a name twice.
            row_idx: usize::MAX - 1,
        })? {
            let cells = Cells {
                scope,
                ids: &*name == "id",
            };
            let step = Step::Field(Name::clone(&name));
            let column = scope.within(step, || {
                map.next_value_seed(cells)?
                    .ok_or_else(|| shape("invalid type: null, expected a sequence"))
            })?;
            match &*name {
                "id" => ids = Some(column),
                _ => scope.push(&mut columns, (name, column))?,
            }
        }
        let ids: Vec<RawValue> = scope.lift(whole(ids, &columns))?;
        scope.charge(documents_room(ids.len(), columns.len()))?;
        Ok(Some(transpose(ids, columns)))
    }
}

/// The ids. Errors: `InvalidRequest` without them or where a column is longer or shorter than they are.
fn whole(ids: Option<Vec<RawValue>>, columns: &[(Name, Vec<RawValue>)]) -> Result<Vec<RawValue>> {
    let ids = ids.ok_or_else(|| Error::invalid("missing column `id`"))?;
    let differs = |(_, column): &&(Name, Vec<RawValue>)| column.len() != ids.len();
    match columns.iter().find(differs) {
        None => Ok(ids),
        Some((name, column)) => Err(Error::invalid(format!(
            "columns differ in length: expected {} values as in `id`, found {} in `{name}`",
            ids.len(),
            column.len()
        ))),
    }
}

/// Memory of this many documents of this many attributes, without their values.
fn documents_room(n_documents: usize, n_attributes: usize) -> usize {
    let attributes = room::<(Name, RawValue)>(n_attributes);
    room::<Document>(n_documents).saturating_add(n_documents.saturating_mul(attributes))
}

/// Turns columns as long as the ids into documents.
fn transpose(ids: Vec<RawValue>, columns: Vec<(Name, Vec<RawValue>)>) -> Vec<Document> {
    let mut documents: Vec<Document> = ids
        .into_iter()
        .map(|id| Document {
            id,
            attributes: Vec::with_capacity(columns.len()),
        })
        .collect();
    for (name, column) in columns {
        for (document, value) in documents.iter_mut().zip(column) {
            document.attributes.push((Name::clone(&name), value));
        }
    }
    documents
}
