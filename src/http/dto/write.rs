//! The body of a write, and its answer.

use std::fmt;

use serde::de::{DeserializeSeed, MapAccess, Visitor};
use serde::{Deserializer, Serialize};
use serde_json::Value;

use super::json::{self, Scope, Seen, Step, unknown_field, unsupported, wrong_type};
use super::reply::IdView;
use super::rows::{Cells, Columns, Rows};
use super::schema::{parse_metric, parse_schema};
use super::value::{Name, Names};
use crate::error::{Error, Result};
use crate::filter;
use crate::runtime::Meter;
use crate::types::document::{Document, WriteBatch, WriteOutcome};

/// What this version understands.
const SERVED: [&str; 8] = [
    "upsert_rows",
    "upsert_columns",
    "deletes",
    "schema",
    "distance_metric",
    "upsert_condition",
    "return_affected_ids",
    "disable_backpressure",
];

/// What the API has and this version refuses by name.
const LATER: [&str; 14] = [
    "patch_rows",
    "patch_columns",
    "delete_by_filter",
    "patch_by_filter",
    "delete_by_filter_allow_partial",
    "patch_by_filter_allow_partial",
    "patch_condition",
    "delete_condition",
    "create_namespace",
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
    let names = Names::default();
    let rows = Rows {
        scope: &scope,
        names: &names,
    };
    let fields = json::parse(body, &scope, Body { rows })?;
    check(fields, body.len())
}

#[derive(Debug, Default)]
struct Fields {
    rows: Option<Vec<Document>>,
    columns: Option<Vec<Document>>,
    batch: WriteBatch,
}

/// What is wrong only once all fields are known.
fn check(fields: Fields, body_bytes: usize) -> Result<WriteBatch> {
    let mut batch = fields.batch;
    let upserts = match (fields.rows, fields.columns) {
        (Some(_), Some(_)) => {
            return Err(Error::invalid(
                "expected `upsert_rows` or `upsert_columns`, found both",
            ));
        }
        (rows, columns) => rows.or(columns),
    };
    batch.has_upserts = upserts.is_some();
    batch.upserts = upserts.unwrap_or_default();
    batch.bytes = body_bytes;
    if batch.upsert_condition.is_some() && !batch.has_upserts {
        return Err(Error::invalid(
            "`upsert_condition` without `upsert_rows` or `upsert_columns`",
        ));
    }
    if !batch.has_upserts && !batch.has_deletes && batch.schema.is_none() {
        return Err(Error::invalid(
            "the write does nothing: expected `upsert_rows`, `upsert_columns`, `deletes` or `schema`",
        ));
    }
    Ok(batch)
}

#[derive(Debug, Clone, Copy)]
struct Body<'a> {
    rows: Rows<'a>,
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
        let scope = self.rows.scope;
        let mut fields = Fields::default();
        let mut seen = Seen::default();
        while let Some(name) = map.next_key::<String>()? {
            seen.note(scope, &name)?;
            match name.as_str() {
                "upsert_rows" => {
                    let step = Step::Field(Name::from("upsert_rows"));
                    fields.rows = scope.within(step, || map.next_value_seed(self.rows))?;
                }
                "upsert_columns" => {
                    let step = Step::Field(Name::from("upsert_columns"));
                    let columns = Columns(self.rows);
                    fields.columns = scope.within(step, || map.next_value_seed(columns))?;
                }
                "deletes" => {
                    let step = Step::Field(Name::from("deletes"));
                    let cells = Cells { scope, ids: true };
                    let deletes = scope.within(step, || map.next_value_seed(cells))?;
                    fields.batch.has_deletes = deletes.is_some();
                    fields.batch.deletes = deletes.unwrap_or_default();
                }
                known if SERVED.contains(&known) || LATER.contains(&known) => {
                    let value = json::next_tree(scope, &mut map)?;
                    scope.lift(set_small(&mut fields.batch, known, &value))?;
                }
                _ => return Err(scope.refuse(unknown_write_field(&name))),
            }
        }
        Ok(fields)
    }
}

fn unknown_write_field(name: &str) -> Error {
    let known: Vec<&str> = SERVED.into_iter().chain(LATER).collect();
    unknown_field(name, &known)
}

/// Sets one of the fields that are not documents. Null is the same as absent.
fn set_small(batch: &mut WriteBatch, name: &str, value: &Value) -> Result<()> {
    if value.is_null() {
        return Ok(());
    }
    match name {
        "schema" => batch.schema = Some(parse_schema("schema", value)?),
        "distance_metric" => batch.distance_metric = Some(parse_metric("distance_metric", value)?),
        "upsert_condition" => {
            refuse_references(value)?;
            batch.upsert_condition = Some(filter::parse_at(name, value)?);
        }
        "return_affected_ids" => batch.return_affected_ids = boolean(name, value)?,
        // Only accepted: writes are slowed down by the size of the tail, whatever the caller wishes.
        "disable_backpressure" => drop(boolean(name, value)?),
        "delete_by_filter_allow_partial" | "patch_by_filter_allow_partial"
            if !boolean(name, value)? => {}
        "encryption" if *value == serde_json::json!({"mode": "default"}) => {}
        _ => return Err(unsupported(format!("`{name}`"))),
    }
    Ok(())
}

fn boolean(name: &str, value: &Value) -> Result<bool> {
    value
        .as_bool()
        .ok_or_else(|| wrong_type(name, value, "a boolean"))
}

/// `{"$ref_new": attribute}` compares with the new document, which this version cannot. The nesting is
/// bounded by that of the body.
fn refuse_references(value: &Value) -> Result<()> {
    match value {
        Value::Object(fields) if fields.contains_key("$ref_new") => {
            Err(unsupported("`$ref_new` in `upsert_condition`"))
        }
        Value::Array(values) => values.iter().try_for_each(refuse_references),
        Value::Object(fields) => fields.values().try_for_each(refuse_references),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
    }
}

#[derive(Serialize)]
struct WriteReply<'a> {
    status: &'static str,
    message: &'static str,
    rows_affected: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    rows_upserted: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rows_deleted: Option<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    upserted_ids: Vec<IdView<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    deleted_ids: Vec<IdView<'a>>,
    seq: u64,
    billing: WriteBilling,
    performance: WritePerformance,
}

#[derive(Serialize)]
struct WriteBilling {
    billable_logical_bytes_written: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    query: Option<NoQuery>,
}

#[derive(Serialize, Default)]
struct NoQuery {
    billable_logical_bytes_queried: u64,
    billable_logical_bytes_returned: u64,
}

#[derive(Serialize)]
struct WritePerformance {
    server_total_ms: u64,
}

/// Encodes the answer to a write. `conditional`: whether it had a condition, which counts as a query.
///
/// Errors: `Internal` if JSON cannot hold it, which its types exclude.
pub(in crate::http) fn encode_write(
    outcome: &WriteOutcome,
    conditional: bool,
    elapsed_ms: u64,
) -> Result<Vec<u8>> {
    let message = match (outcome.rows_upserted, outcome.rows_deleted) {
        (Some(_), None) => "documents upserted",
        (None, Some(_)) => "documents deleted",
        (Some(_), Some(_)) => "documents upserted and deleted",
        (None, None) => "schema updated",
    };
    super::reply::encode(&WriteReply {
        status: "OK",
        message,
        rows_affected: outcome.rows_upserted.unwrap_or(0) + outcome.rows_deleted.unwrap_or(0),
        rows_upserted: outcome.rows_upserted,
        rows_deleted: outcome.rows_deleted,
        upserted_ids: outcome.upserted_ids.iter().map(IdView).collect(),
        deleted_ids: outcome.deleted_ids.iter().map(IdView).collect(),
        seq: outcome.seq.0,
        billing: WriteBilling {
            billable_logical_bytes_written: outcome.bytes_written,
            query: conditional.then(NoQuery::default),
        },
        performance: WritePerformance {
            server_total_ms: elapsed_ms.max(1),
        },
    })
}
