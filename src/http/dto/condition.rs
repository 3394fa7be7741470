//! Conditions of writes, and the places in them that `{"$ref_new": attribute}` keeps for new values.

use std::sync::Arc;

use serde_json::{Map, Number, Value};

use super::json::wrong_type;
use crate::error::{Error, Result};
use crate::filter;
use crate::types::condition::{Condition, Template};
use crate::types::document::RawValue;
use crate::types::filter::Filter;

const REF_NEW: &str = "$ref_new";

/// Operators whose operand is a list: one that the new document has not is an empty list for them.
const OF_LISTS: [&str; 4] = ["In", "NotIn", "ContainsAny", "NotContainsAny"];

/// Parses a condition found under `root`. Errors: as `filter::parse_at`, and `Malformed` for a `$ref_new`
/// that names no attribute.
pub(super) fn parse_condition(root: &str, json: &Value) -> Result<Condition> {
    let mut references = Vec::new();
    collect(root, json, &mut references)?;
    if references.is_empty() {
        return Ok(filter::parse_at(root, json)?.into());
    }
    let template = RefNew {
        root: root.to_owned(),
        json: json.clone(),
        references,
    };
    // Any text will do: this only looks at the shape.
    template.fill(&|_, of_list| match of_list {
        true => Value::Array(Vec::new()),
        false => Value::String(String::new()),
    })?;
    Ok(Condition::Referring(Arc::new(template)))
}

/// A filter in its JSON form with references in it. Nesting is bounded by that of the body.
#[derive(Debug)]
struct RefNew {
    root: String,
    json: Value,
    references: Vec<String>,
}

impl RefNew {
    fn fill(&self, new: &dyn Fn(&str, bool) -> Value) -> Result<Filter> {
        filter::parse_at(&self.root, &filled(&self.json, false, new))
    }
}

impl Template for RefNew {
    fn references(&self) -> &[String] {
        &self.references
    }

    fn filter(&self, new: &dyn Fn(&str) -> RawValue) -> Result<Filter> {
        self.fill(&|name, of_list| match new(name) {
            RawValue::Null if of_list => Value::Array(Vec::new()),
            value => json_of(&value),
        })
    }
}

/// The attribute that a reference names; `None` for what is no reference.
fn reference<'a>(root: &str, fields: &'a Map<String, Value>) -> Result<Option<&'a str>> {
    let Some(name) = fields.get(REF_NEW) else {
        return Ok(None);
    };
    match (name, fields.len()) {
        (Value::String(name), 1) => Ok(Some(name)),
        (Value::String(_), n) => Err(Error::malformed(format!(
            "`{root}`: expected `{REF_NEW}` alone, found {n} fields"
        ))),
        (other, _) => Err(wrong_type(
            &format!("{root}: {REF_NEW}"),
            other,
            "the name of an attribute",
        )),
    }
}

fn collect(root: &str, json: &Value, found: &mut Vec<String>) -> Result<()> {
    match json {
        Value::Array(items) => items.iter().try_for_each(|item| collect(root, item, found)),
        Value::Object(fields) => {
            if let Some(name) = reference(root, fields)?
                && !found.iter().any(|known| known == name)
            {
                found.push(name.to_owned());
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

fn filled(json: &Value, of_list: bool, new: &dyn Fn(&str, bool) -> Value) -> Value {
    match json {
        Value::Array(items) => {
            let takes_list = match items.get(1) {
                Some(Value::String(op)) => OF_LISTS.contains(&op.as_str()),
                _ => false,
            };
            let items = items.iter().enumerate();
            let items = items.map(|(at, item)| filled(item, takes_list && at == 2, new));
            Value::Array(items.collect())
        }
        Value::Object(fields) => match fields.get(REF_NEW) {
            Some(Value::String(name)) => new(name, of_list),
            _ => json.clone(),
        },
        _ => json.clone(),
    }
}

fn json_of(value: &RawValue) -> Value {
    let float = |value: f64| Number::from_f64(value).map_or(Value::Null, Value::Number);
    match value {
        RawValue::Null => Value::Null,
        RawValue::Bool(value) => Value::Bool(*value),
        RawValue::Int(value) => Value::from(*value),
        RawValue::Uint(value) => Value::from(*value),
        RawValue::Float(value) => float(*value),
        RawValue::String(text) => Value::String(text.to_string()),
        RawValue::Numbers { values, integers } => {
            let number = |value: &f64| match integers {
                true if *value < 0.0 => Value::from(*value as i64),
                true => Value::from(*value as u64),
                false => float(*value),
            };
            Value::Array(values.iter().map(number).collect())
        }
        RawValue::Array(items) => Value::Array(items.iter().map(json_of).collect()),
        RawValue::Object(entries) => {
            let entries = entries.iter();
            Value::Object(
                entries
                    .map(|(name, value)| (name.to_string(), json_of(value)))
                    .collect(),
            )
        }
    }
}
