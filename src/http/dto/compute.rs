//! `compute_attributes`: values computed for each row of an answer.

use serde_json::{Map, Value};

use super::json::{clip, invalid, malformed, unsupported, wrong_type};
use super::query::given;
use super::rank::parse_vector;
use super::score::{is_score, parse_score};
use crate::error::Result;
use crate::query::request::Compute;
use crate::types::limits;

const AT: &str = "compute_attributes";

/// Parses what is computed, in the order of names.
///
/// Errors: `Malformed` for unknown forms, `InvalidRequest` for too many and for what makes no sense.
pub(super) fn parse_compute(fields: &Map<String, Value>) -> Result<Vec<(String, Compute)>> {
    let computed = match given(fields, AT) {
        None => return Ok(Vec::new()),
        Some(Value::Object(computed)) => computed,
        Some(other) => return Err(wrong_type(AT, other, "a map")),
    };
    if computed.len() > limits::COMPUTE_ATTRIBUTES_MAX {
        let message = format!(
            "expected at most {}, found {}",
            limits::COMPUTE_ATTRIBUTES_MAX,
            computed.len()
        );
        return Err(invalid(AT, message));
    }
    let computed = computed.iter().map(|(name, expr)| {
        let at = format!("{AT}.{}", clip(name));
        Ok((name.clone(), parse_one(&at, expr)?))
    });
    computed.collect()
}

fn parse_one(at: &str, value: &Value) -> Result<Compute> {
    let Value::Array(parts) = value else {
        return Err(wrong_type(at, value, "an expression"));
    };
    match parts.as_slice() {
        [Value::String(attribute), Value::String(how), vector] if how == "VectorDist" => {
            Ok(Compute::VectorDist {
                attribute: attribute.clone(),
                vector: parse_vector(at, vector)?,
            })
        }
        [Value::String(name), ..] if name == "Highlight" => {
            Err(unsupported(format!("`{at}`: `Highlight`")))
        }
        [Value::String(_), Value::String(how), ..] if how == "BM25" => {
            Err(unsupported(format!("`{at}`: `{how}`")))
        }
        [Value::String(_), Value::String(how), ..]
            if matches!(how.as_str(), "ANN" | "kNN" | "asc" | "desc") =>
        {
            let message =
                format!("`{how}` orders rows: expected `VectorDist` or a rank expression");
            Err(invalid(at, message))
        }
        parts if is_score(parts) => Ok(Compute::Score(parse_score(at, value)?)),
        _ => Err(malformed(
            at,
            "unknown form: expected [attribute, \"VectorDist\", vector] or a rank expression",
        )),
    }
}
