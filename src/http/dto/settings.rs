//! Changes of a namespace's metadata: `read_only` and `pinning`.

use serde_json::Value;

use super::fields::{Field, Shape, field, names};
use super::json::{invalid, parse_object, unknown_field, wrong_type};
use crate::error::Result;
use crate::runtime::Meter;
use crate::types::settings::{Pinning, SettingsChange};

/// The fields of an update of metadata.
pub(in crate::http) const FIELDS: [Field; 2] = [
    field("read_only", Shape::Flag, "Whether writes are refused."),
    field(
        "pinning",
        Shape::Either(&[Shape::Flag, Shape::Map(&Shape::Count)]),
        "Kept and shown; `{\"replicas\": n}`, or null for none.",
    ),
];
const PINNING_FIELDS: [&str; 1] = ["replicas"];

/// Replicas where pinning does not say how many.
const REPLICAS: u32 = 1;

/// Parses the body of an update of metadata. Errors: `Malformed` for wrong shapes; `InvalidRequest` for fields
/// that are not known and for no replicas.
pub(in crate::http) fn parse_settings(body: &[u8], meter: &Meter) -> Result<SettingsChange> {
    let mut change = SettingsChange::default();
    for (name, value) in parse_object(body, meter)? {
        match (name.as_str(), value) {
            ("read_only", Value::Bool(read_only)) => change.read_only = Some(read_only),
            ("read_only", other) => return Err(wrong_type("read_only", &other, "a boolean")),
            ("pinning", value) => change.pinning = Some(parse_pinning(&value)?),
            _ => return Err(unknown_field(&name, &names(&FIELDS))),
        }
    }
    Ok(change)
}

fn parse_pinning(value: &Value) -> Result<Option<Pinning>> {
    let replicas = match value {
        Value::Null | Value::Bool(false) => return Ok(None),
        Value::Bool(true) => REPLICAS,
        Value::Object(fields) => {
            if let Some(name) = fields.keys().find(|name| *name != "replicas") {
                return Err(unknown_field(name, &PINNING_FIELDS));
            }
            match fields.get("replicas") {
                None => REPLICAS,
                Some(value) => parse_replicas(value)?,
            }
        }
        other => return Err(wrong_type("pinning", other, "a boolean, null or a map")),
    };
    Ok(Some(Pinning { replicas }))
}

fn parse_replicas(value: &Value) -> Result<u32> {
    let path = "pinning.replicas";
    let Some(number) = value.as_u64() else {
        return Err(wrong_type(path, value, "a positive integer"));
    };
    match u32::try_from(number) {
        Ok(replicas) if replicas > 0 => Ok(replicas),
        _ => Err(invalid(
            path,
            format!("expected 1 to {}, found {number}", u32::MAX),
        )),
    }
}
