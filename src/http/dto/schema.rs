//! The schema language of requests: a type by name, or an object of a type and its options.

use serde_json::{Map, Value};

use super::fields::{Field, Shape, field, names};
use super::json::{
    clip, invalid, malformed, parse_object, unknown_field, unknown_variant, unsupported, wrong_type,
};
use crate::error::{Error, Result};
use crate::runtime::Meter;
use crate::types::document::{AttributeSpec, SchemaSpec};
use crate::types::{AttributeType, DistanceMetric, IdKind, schema};

/// The options of an attribute.
pub(in crate::http) const OPTIONS: [Field; 10] = [
    field(
        "type",
        Shape::Text,
        "Such as string, []int, [128]f32, {}f16; needed with every option but `drop`.",
    ),
    field(
        "filterable",
        Shape::Flag,
        "Whether filters and orders may name it.",
    ),
    field(
        "ann",
        Shape::Either(&[Shape::Flag, Shape::Map(&Shape::Any)]),
        "For vectors: true, or {\"distance_metric\": ...}.",
    ),
    field(
        "full_text_search",
        Shape::Any,
        "Only false or null in this version.",
    ),
    field("regex", Shape::Flag, "Whether `Regex` may name it."),
    field("glob", Shape::Flag, "Whether globs may name it."),
    field("fuzzy", Shape::Any, "Only false or null in this version."),
    field(
        "sparse_knn",
        Shape::Map(&Shape::Text),
        "For sparse vectors: {\"distance_metric\": \"dot_product\"}.",
    ),
    field("embed", Shape::Any, "Only null in this version."),
    field("drop", Shape::Flag, "Removes the attribute; stands alone."),
];

/// Parses a map of attributes; `at` is the map's own path, empty for a whole body.
///
/// Errors: `Malformed` for wrong shapes and unknown types, `InvalidRequest` for what this version lacks.
pub(super) fn parse_schema(at: &str, value: &Value) -> Result<SchemaSpec> {
    let Value::Object(fields) = value else {
        return Err(wrong_type(at, value, "a map"));
    };
    let mut spec = SchemaSpec::default();
    for (name, config) in fields {
        let path = match at {
            "" => name.clone(),
            at => format!("{at}.{name}"),
        };
        if name == "id" {
            if is_drop(&path, config)? {
                return Err(invalid(&path, "`id` cannot be dropped"));
            }
            spec.id_kind = Some(parse_id_kind(&path, config)?);
            continue;
        }
        schema::validate_attribute_name(name)?;
        if is_drop(&path, config)? {
            spec.drops.insert(name.clone());
            continue;
        }
        spec.attributes
            .insert(name.clone(), parse_attribute(&path, config)?);
    }
    Ok(spec)
}

/// Parses the body of a schema update: the bare map of attributes. Errors: as [`parse_schema`].
pub(in crate::http) fn parse_schema_body(body: &[u8], meter: &Meter) -> Result<SchemaSpec> {
    parse_schema("", &Value::Object(parse_object(body, meter)?))
}

/// Parses the name of a metric. Errors: `Malformed`.
pub(super) fn parse_metric(path: &str, value: &Value) -> Result<DistanceMetric> {
    let Value::String(name) = value else {
        return Err(wrong_type(path, value, "a string"));
    };
    DistanceMetric::parse(name)
        .ok_or_else(|| unknown_variant(path, name, &DistanceMetric::ALL.map(DistanceMetric::name)))
}

fn parse_id_kind(path: &str, config: &Value) -> Result<IdKind> {
    let kinds = [IdKind::Uint, IdKind::Uuid, IdKind::String];
    let name = match config {
        Value::String(name) => name,
        Value::Object(options) => {
            type_name(path, options)?;
            check_options(path, options, false)?;
            for option in ["regex", "glob"] {
                if optional_bool(path, options, option)? == Some(true) {
                    return Err(invalid(path, format!("`{option}` is not for `id`")));
                }
            }
            type_name(path, options)?
        }
        _ => return Err(wrong_type(path, config, "a type name or a map")),
    };
    let known = kinds.into_iter().find(|kind| kind.name() == name);
    known.ok_or_else(|| {
        let message = format!(
            "invalid type of id: expected `uint`, `uuid` or `string`, found `{}`",
            clip(name)
        );
        invalid(path, message)
    })
}

fn parse_attribute(path: &str, config: &Value) -> Result<AttributeSpec> {
    match config {
        Value::String(name) => Ok(AttributeSpec {
            // The bare type resets what can be asked of its text.
            regex: Some(false),
            glob: Some(false),
            ..AttributeSpec::plain(parse_type(path, name)?)
        }),
        Value::Object(options) => parse_options(path, options),
        _ => Err(wrong_type(path, config, "a type name or a map")),
    }
}

fn parse_options(path: &str, options: &Map<String, Value>) -> Result<AttributeSpec> {
    let kind = parse_type(path, type_name(path, options)?)?;
    check_options(path, options, kind.is_vector())?;
    let filterable = optional_bool(path, options, "filterable")?;
    if filterable == Some(true) && !kind.may_filter() {
        return Err(invalid(path, format!("`filterable` is not for {kind}")));
    }
    let regex = optional_bool(path, options, "regex")?;
    let glob = optional_bool(path, options, "glob")?;
    let metric = parse_ann(path, kind, options.get("ann"))?;
    Ok(AttributeSpec {
        filterable,
        regex,
        glob,
        metric,
        sparse_knn: parse_sparse(path, kind, options.get("sparse_knn"))?,
        ..AttributeSpec::plain(kind)
    })
}

/// Whether it is `{"drop": true}`. Errors: `Malformed` for other than a boolean, `InvalidRequest` beside
/// other options.
fn is_drop(path: &str, config: &Value) -> Result<bool> {
    let Value::Object(options) = config else {
        return Ok(false);
    };
    let drops = optional_bool(path, options, "drop")? == Some(true);
    match options.keys().find(|option| *option != "drop") {
        Some(other) if drops => Err(invalid(
            path,
            format!("`drop` stands alone, found `{}`", clip(other)),
        )),
        _ => Ok(drops),
    }
}

fn type_name<'a>(path: &str, options: &'a Map<String, Value>) -> Result<&'a str> {
    match options.get("type") {
        Some(Value::String(name)) => Ok(name),
        Some(other) => Err(wrong_type(&format!("{path}.type"), other, "a string")),
        None => Err(malformed(path, "missing field `type`")),
    }
}

/// Refuses options that nobody knows, and by name those that a later version will.
fn check_options(path: &str, options: &Map<String, Value>, is_vector: bool) -> Result<()> {
    for (name, value) in options {
        let off = matches!(value, Value::Null | Value::Bool(false));
        let asked = match name.as_str() {
            "type" | "filterable" | "drop" | "regex" | "glob" | "sparse_knn" => false,
            "ann" => off && is_vector && !value.is_null(),
            "full_text_search" => match value {
                Value::Null | Value::Bool(_) | Value::Object(_) => !off,
                other => {
                    return Err(wrong_type(
                        &format!("{path}.{name}"),
                        other,
                        "a boolean or a map",
                    ));
                }
            },
            "fuzzy" => optional_bool(path, options, name)? == Some(true),
            "embed" => !off,
            _ => return Err(unknown_field(name, &names(&OPTIONS))),
        };
        if asked {
            return Err(unsupported(format!("`{path}`: `{name}: {}`", brief(value))));
        }
    }
    Ok(())
}

fn brief(value: &Value) -> &'static str {
    match value {
        Value::Bool(true) => "true",
        Value::Bool(false) => "false",
        Value::Object(_) => "{..}",
        Value::Null | Value::Number(_) | Value::String(_) | Value::Array(_) => "..",
    }
}

fn optional_bool(path: &str, options: &Map<String, Value>, name: &str) -> Result<Option<bool>> {
    match options.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Bool(value)) => Ok(Some(*value)),
        Some(other) => Err(wrong_type(&format!("{path}.{name}"), other, "a boolean")),
    }
}

fn parse_ann(
    path: &str,
    kind: AttributeType,
    ann: Option<&Value>,
) -> Result<Option<DistanceMetric>> {
    let at = format!("{path}.ann");
    let options = match ann {
        None | Some(Value::Null | Value::Bool(false)) => return Ok(None),
        Some(Value::Bool(true) | Value::Object(_)) if !kind.is_vector() => {
            let message = format!("expected a vector type such as [128]f32, found `{kind}`");
            return Err(invalid(&at, message));
        }
        Some(Value::Bool(true)) => return Ok(None),
        Some(Value::Object(options)) => options,
        Some(other) => return Err(wrong_type(&at, other, "a boolean or a map")),
    };
    let mut metric = None;
    for (name, value) in options {
        match name.as_str() {
            "distance_metric" if value.is_null() => {}
            "distance_metric" => {
                metric = Some(parse_metric(&format!("{at}.distance_metric"), value)?);
            }
            "late_interaction" if matches!(value, Value::Null | Value::Bool(false)) => {}
            "late_interaction" => return Err(unsupported(format!("`{at}.late_interaction`"))),
            _ => {
                return Err(unknown_field(
                    name,
                    &["distance_metric", "late_interaction"],
                ));
            }
        }
    }
    Ok(metric)
}

/// Whether `sparse_knn` is there. Errors: `InvalidRequest` for a type that is no sparse vector, `Malformed` for
/// another shape or another metric than the dot product.
fn parse_sparse(path: &str, kind: AttributeType, sparse: Option<&Value>) -> Result<bool> {
    let at = format!("{path}.sparse_knn");
    let options = match sparse {
        None | Some(Value::Null) => return Ok(false),
        Some(Value::Object(options)) => options,
        Some(other) => return Err(wrong_type(&at, other, "a map")),
    };
    if kind != AttributeType::Sparse {
        let message = format!("expected type {{}}f16, found `{kind}`");
        return Err(invalid(&at, message));
    }
    if let Some(other) = options.keys().find(|name| *name != "distance_metric") {
        return Err(unknown_field(other, &["distance_metric"]));
    }
    let at = format!("{at}.distance_metric");
    match options.get("distance_metric") {
        Some(Value::String(metric)) if metric == DistanceMetric::DotProduct.name() => Ok(true),
        Some(Value::String(metric)) => Err(unknown_variant(
            &at,
            metric,
            &[DistanceMetric::DotProduct.name()],
        )),
        Some(other) => Err(wrong_type(&at, other, "a string")),
        None => Err(malformed(&at, "missing field `distance_metric`")),
    }
}

fn parse_type(path: &str, name: &str) -> Result<AttributeType> {
    if let Some(kind) =
        AttributeType::parse(name).filter(|kind| *kind != AttributeType::ArrayUnknown)
    {
        return Ok(kind);
    }
    if is_later_type(name) {
        return Err(unsupported(format!("`{path}`: type `{}`", clip(name))));
    }
    Err(unknown_type(path, name))
}

fn is_later_type(name: &str) -> bool {
    let dense = name.strip_prefix("[]").unwrap_or(name);
    let element = dense
        .strip_prefix('[')
        .and_then(|rest| rest.split_once(']'))
        .filter(|(dims, _)| dims.parse::<u32>().is_ok())
        .map(|(_, element)| element);
    let nested = dense.len() != name.len();
    nested && element.is_some()
}

fn unknown_type(path: &str, name: &str) -> Error {
    let message = format!(
        "unknown type `{}`: expected string, int, uint, float, uuid, datetime, bool, one of them after `[]`, bytes, {{}}f16, \
         or a vector such as [128]f32, [128]f16 or [128]i8 of 1 to {} dimensions",
        clip(name),
        crate::types::limits::VECTOR_DIMS_MAX
    );
    malformed(path, message)
}
