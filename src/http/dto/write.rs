//! The body of a write.

use std::fmt;

use serde::Deserializer;
use serde::de::{DeserializeSeed, MapAccess, Visitor};
use serde_json::Value;

use super::by_filter::parse_patch_by_filter;
use super::condition::parse_condition;
use super::fields::{Field, Shape, field, is_known, names};
use super::json::{self, Scope, Seen, Step, unknown_field, unsupported, wrong_type};
use super::rows::{Cells, Columns, Rows};
use super::schema::{parse_metric, parse_schema};
use super::value::{Name, Names};
use crate::error::{Error, Result};
use crate::filter;
use crate::runtime::Meter;
use crate::types::document::{DeleteByFilter, Document, WriteBatch};

/// The fields of a write.
pub(in crate::http) const FIELDS: [Field; 17] = [
    field(
        "upsert_rows",
        Shape::List(&Shape::Named("Document")),
        "Documents, each replaced whole.",
    ),
    field(
        "upsert_columns",
        Shape::Named("Columns"),
        "The same by columns.",
    ),
    field(
        "patch_rows",
        Shape::List(&Shape::Named("Document")),
        "Changes to documents that are there.",
    ),
    field(
        "patch_columns",
        Shape::Named("Columns"),
        "The same by columns.",
    ),
    field(
        "deletes",
        Shape::List(&Shape::Named("Id")),
        "Ids to delete.",
    ),
    field(
        "delete_by_filter",
        Shape::Named("Filter"),
        "Deletes what it matches, before everything else.",
    ),
    field(
        "delete_by_filter_allow_partial",
        Shape::Flag,
        "Whether to delete as many as may be where more match.",
    ),
    field(
        "patch_by_filter",
        Shape::Named("PatchByFilter"),
        "Patches what it matches, after `delete_by_filter`.",
    ),
    field(
        "patch_by_filter_allow_partial",
        Shape::Flag,
        "Whether to patch as many as may be where more match.",
    ),
    field(
        "schema",
        Shape::Named("Schema"),
        "Types and options of attributes.",
    ),
    field(
        "distance_metric",
        Shape::Named("DistanceMetric"),
        "Needed with the first vectors, then fixed.",
    ),
    field(
        "upsert_condition",
        Shape::Named("Filter"),
        "Upserts apply where it holds, or where there is no document.",
    ),
    field(
        "patch_condition",
        Shape::Named("Filter"),
        "Patches by id apply where it holds.",
    ),
    field(
        "delete_condition",
        Shape::Named("Filter"),
        "Deletes by id apply where it holds.",
    ),
    field(
        "create_namespace",
        Shape::Flag,
        "true: makes it even without documents; false: never makes it.",
    ),
    field(
        "return_affected_ids",
        Shape::Flag,
        "Adds the ids that were upserted, patched and deleted.",
    ),
    field("disable_backpressure", Shape::Flag, "No effect."),
];

/// What the API has and this version refuses by name.
const LATER: [&str; 5] = [
    "copy_from_namespace",
    "branch_from_namespace",
    "encryption",
    "sharding",
    "ttl_seconds",
];

type Parsed<T, E> = std::result::Result<T, E>;

/// Parses the body of a write.
///
/// Rows never become a tree of JSON values: a vector's numbers go where they will stay. Errors:
/// `InvalidRequest` if it is not JSON, makes no sense or asks for what this version lacks, `Malformed` if
/// its shape is wrong, what `meter` says where there is no memory for it.
pub(in crate::http) fn parse_write(body: &[u8], meter: &Meter) -> Result<WriteBatch> {
    let scope = Scope::new(meter);
    // Each operation counts its rows by itself, and tells a name twice in a row by their number.
    let (upserted, patched) = (Names::default(), Names::default());
    let rows = |names| Rows {
        scope: &scope,
        names,
    };
    let reader = Body {
        upserts: rows(&upserted),
        patches: rows(&patched),
    };
    let fields = json::parse(body, &scope, reader)?;
    check(fields, body.len())
}

#[derive(Debug, Default)]
struct Fields {
    upsert_rows: Option<Vec<Document>>,
    upsert_columns: Option<Vec<Document>>,
    patch_rows: Option<Vec<Document>>,
    patch_columns: Option<Vec<Document>>,
    batch: WriteBatch,
    delete_allow_partial: bool,
    patch_allow_partial: bool,
}

/// What is wrong only once all fields are known.
fn check(fields: Fields, body_bytes: usize) -> Result<WriteBatch> {
    let mut batch = fields.batch;
    let upserts = one_form("upsert", fields.upsert_rows, fields.upsert_columns)?;
    let patches = one_form("patch", fields.patch_rows, fields.patch_columns)?;
    batch.has_upserts = upserts.is_some();
    batch.upserts = upserts.unwrap_or_default();
    batch.has_patches = patches.is_some();
    batch.patches = patches.unwrap_or_default();
    batch.bytes = body_bytes;
    if let Some(delete) = &mut batch.delete_by_filter {
        delete.allow_partial = fields.delete_allow_partial;
    }
    if let Some(patch) = &mut batch.patch_by_filter {
        patch.allow_partial = fields.patch_allow_partial;
    }
    for (condition, present, name, needed) in [
        (
            &batch.upsert_condition,
            batch.has_upserts,
            "upsert_condition",
            "`upsert_rows` or `upsert_columns`",
        ),
        (
            &batch.patch_condition,
            batch.has_patches,
            "patch_condition",
            "`patch_rows` or `patch_columns`",
        ),
        (
            &batch.delete_condition,
            batch.has_deletes,
            "delete_condition",
            "`deletes`",
        ),
    ] {
        if condition.is_some() && !present {
            return Err(Error::invalid(format!("`{name}` without {needed}")));
        }
    }
    let any = batch.is_upserting() || batch.is_patching() || batch.is_deleting();
    if !any && batch.schema.is_none() {
        return Err(Error::invalid(
            "the write does nothing: expected `upsert_rows`, `patch_rows`, `deletes`, `schema` or another operation",
        ));
    }
    Ok(batch)
}

/// The documents of an operation, which come as rows or as columns.
fn one_form(
    operation: &str,
    rows: Option<Vec<Document>>,
    columns: Option<Vec<Document>>,
) -> Result<Option<Vec<Document>>> {
    match (rows, columns) {
        (Some(_), Some(_)) => Err(Error::invalid(format!(
            "expected `{operation}_rows` or `{operation}_columns`, found both"
        ))),
        (rows, columns) => Ok(rows.or(columns)),
    }
}

#[derive(Debug, Clone, Copy)]
struct Body<'a> {
    upserts: Rows<'a>,
    patches: Rows<'a>,
}

impl<'de> DeserializeSeed<'de> for Body<'_> {
    type Value = Fields;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Parsed<Fields, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Body<'_> {
    type Value = Fields;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Parsed<Fields, A::Error> {
        let scope = self.upserts.scope;
        let mut fields = Fields::default();
        let mut seen = Seen::default();
        while let Some(name) = map.next_key::<String>()? {
            seen.note(scope, &name)?;
            match name.as_str() {
                "upsert_rows" => fields.upsert_rows = rows(&name, self.upserts, &mut map)?,
                "patch_rows" => fields.patch_rows = rows(&name, self.patches, &mut map)?,
                "upsert_columns" => {
                    fields.upsert_columns = columns(&name, self.upserts, &mut map)?;
                }
                "patch_columns" => fields.patch_columns = columns(&name, self.patches, &mut map)?,
                "deletes" => {
                    let step = Step::Field(Name::from("deletes"));
                    let cells = Cells { scope, ids: true };
                    let deletes = scope.within(step, || map.next_value_seed(cells))?;
                    fields.batch.has_deletes = deletes.is_some();
                    fields.batch.deletes = deletes.unwrap_or_default();
                }
                known if is_known(&FIELDS, known) || LATER.contains(&known) => {
                    let value = json::next_tree(scope, &mut map)?;
                    scope.lift(set_small(&mut fields, known, &value))?;
                }
                _ => return Err(scope.refuse(unknown_write_field(&name))),
            }
        }
        Ok(fields)
    }
}

fn rows<'de, A: MapAccess<'de>>(
    name: &str,
    rows: Rows<'_>,
    map: &mut A,
) -> Parsed<Option<Vec<Document>>, A::Error> {
    let step = Step::Field(Name::from(name));
    rows.scope.within(step, || map.next_value_seed(rows))
}

fn columns<'de, A: MapAccess<'de>>(
    name: &str,
    rows: Rows<'_>,
    map: &mut A,
) -> Parsed<Option<Vec<Document>>, A::Error> {
    let step = Step::Field(Name::from(name));
    rows.scope
        .within(step, || map.next_value_seed(Columns(rows)))
}

fn unknown_write_field(name: &str) -> Error {
    let known: Vec<&str> = names(&FIELDS).into_iter().chain(LATER).collect();
    unknown_field(name, &known)
}

/// Sets one of the fields that are not documents. Null is the same as absent.
fn set_small(fields: &mut Fields, name: &str, value: &Value) -> Result<()> {
    if value.is_null() {
        return Ok(());
    }
    let batch = &mut fields.batch;
    match name {
        "schema" => batch.schema = Some(parse_schema("schema", value)?),
        "distance_metric" => batch.distance_metric = Some(parse_metric("distance_metric", value)?),
        "upsert_condition" => batch.upsert_condition = Some(parse_condition(name, value)?),
        "patch_condition" => batch.patch_condition = Some(parse_condition(name, value)?),
        "delete_condition" => batch.delete_condition = Some(parse_condition(name, value)?),
        "delete_by_filter" => {
            batch.delete_by_filter = Some(DeleteByFilter {
                filter: filter::parse_at(name, value)?,
                allow_partial: false,
            });
        }
        "patch_by_filter" => batch.patch_by_filter = Some(parse_patch_by_filter(name, value)?),
        "delete_by_filter_allow_partial" => fields.delete_allow_partial = boolean(name, value)?,
        "patch_by_filter_allow_partial" => fields.patch_allow_partial = boolean(name, value)?,
        "create_namespace" => batch.create_namespace = Some(boolean(name, value)?),
        "return_affected_ids" => batch.return_affected_ids = boolean(name, value)?,
        // Only accepted: writes are slowed down by the size of the tail, whatever the caller wishes.
        "disable_backpressure" => drop(boolean(name, value)?),
        "encryption" if *value == serde_json::json!({"mode": "default"}) => {}
        "copy_from_namespace" | "branch_from_namespace" => return Err(Error::not_supported(name)),
        _ => return Err(unsupported(format!("`{name}`"))),
    }
    Ok(())
}

fn boolean(name: &str, value: &Value) -> Result<bool> {
    value
        .as_bool()
        .ok_or_else(|| wrong_type(name, value, "a boolean"))
}
