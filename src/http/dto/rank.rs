//! The forms of `rank_by`; rank expressions are in `score.rs`.

use serde_json::Value;

use super::json::{clip, invalid, malformed, unsupported, wrong_type};
use super::score::{is_score, parse_score};
use crate::error::Result;
use crate::query::request::{OrderKey, RankBy};
use crate::types::document::RawValue;
use crate::types::limits;

const AT: &str = "rank_by";

/// Second elements that rank by text, or do not rank.
const LATER_RANKS: [&str; 2] = ["BM25", "VectorDist"];

/// Parses `rank_by`.
///
/// Errors: `Malformed` for unknown forms, `InvalidRequest` for forms of later versions, by name, and for
/// empty or oversized lists.
pub(super) fn parse_rank(value: &Value) -> Result<RankBy> {
    let Value::Array(parts) = value else {
        return Err(wrong_type(AT, value, "a sequence"));
    };
    match parts.as_slice() {
        [] => Err(invalid(AT, "empty list: expected at least one key")),
        [Value::Array(_), ..] => parse_keys(parts),
        [Value::String(attribute), Value::String(how), rest @ ..]
            if is_named(how, rest) || !is_score(parts) =>
        {
            parse_named(attribute, how, rest)
        }
        parts if is_score(parts) => parse_score(AT, value).map(RankBy::Score),
        _ => Err(unknown_form()),
    }
}

fn parse_named(attribute: &str, how: &str, rest: &[Value]) -> Result<RankBy> {
    match (how, rest) {
        ("ANN" | "kNN", [vector]) => Ok(RankBy::Vector {
            attribute: attribute.to_owned(),
            vector: parse_vector(AT, vector)?,
            exact: how == "kNN",
        }),
        ("asc" | "desc", []) => Ok(RankBy::Order(vec![OrderKey {
            attribute: attribute.to_owned(),
            descending: how == "desc",
        }])),
        _ if LATER_RANKS.contains(&how) => Err(unsupported(format!("`{AT}`: `{how}`"))),
        ("ANN" | "kNN" | "asc" | "desc", _) => {
            let message = format!("invalid length {}, expected {}", rest.len() + 2, arity(how));
            Err(malformed(AT, message))
        }
        _ => Err(malformed(
            AT,
            format!(
                "unknown ranking `{}`, expected `ANN`, `kNN`, `SparseKNN`, `asc` or `desc`",
                clip(how)
            ),
        )),
    }
}

/// Whether it is a ranking by one attribute, which may have the name of a function.
fn is_named(how: &str, rest: &[Value]) -> bool {
    match how {
        "asc" | "desc" => rest.is_empty(),
        "ANN" | "kNN" => rest.len() == 1,
        how => LATER_RANKS.contains(&how),
    }
}

fn arity(how: &str) -> &'static str {
    match how {
        "asc" | "desc" => "[attribute, direction]",
        _ => "[attribute, ranking, vector]",
    }
}

fn parse_keys(keys: &[Value]) -> Result<RankBy> {
    if keys.len() > limits::ORDER_KEYS_MAX {
        let message = format!(
            "too many keys: expected at most {}, found {}",
            limits::ORDER_KEYS_MAX,
            keys.len()
        );
        return Err(invalid(AT, message));
    }
    let parse_key = |key: &Value| match key.as_array().map(Vec::as_slice) {
        Some([Value::String(attribute), Value::String(direction)])
            if matches!(direction.as_str(), "asc" | "desc") =>
        {
            Ok(OrderKey {
                attribute: attribute.clone(),
                descending: direction == "desc",
            })
        }
        _ => Err(malformed(
            AT,
            "invalid key of an order: expected [attribute, \"asc\" or \"desc\"]",
        )),
    };
    keys.iter()
        .map(parse_key)
        .collect::<Result<_>>()
        .map(RankBy::Order)
}

/// Parses a query vector found at `at`: numbers, or base64.
pub(super) fn parse_vector(at: &str, value: &Value) -> Result<RawValue> {
    let parts = match value {
        Value::String(base64) => return Ok(RawValue::String(base64.as_str().into())),
        Value::Array(parts) => parts,
        other => return Err(wrong_type(at, other, "a vector")),
    };
    match parts.as_slice() {
        [] => return Err(invalid(at, "the query vector is empty")),
        [Value::String(name), ..] if name == "Embed" => {
            return Err(unsupported(format!("`{at}`: `Embed`")));
        }
        [Value::Array(_), ..] => {
            return Err(unsupported(format!("`{at}`: a list of vectors")));
        }
        long if long.len() > limits::VECTOR_DIMS_MAX => {
            let message = format!(
                "the query vector is too long: expected at most {} dimensions, found {}",
                limits::VECTOR_DIMS_MAX,
                long.len()
            );
            return Err(invalid(at, message));
        }
        _ => {}
    }
    let number = |part: &Value| {
        part.as_f64()
            .ok_or_else(|| wrong_type(at, part, "a number"))
    };
    Ok(RawValue::Numbers {
        values: parts.iter().map(number).collect::<Result<_>>()?,
        integers: parts.iter().all(|part| !part.is_f64()),
    })
}

fn unknown_form() -> crate::error::Error {
    malformed(
        AT,
        "unknown form: expected [attribute, \"ANN\" or \"kNN\", vector], [attribute, \"asc\" or \"desc\"] \
         or a list of such orders",
    )
}
