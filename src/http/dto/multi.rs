//! Several questions in one request: `queries`, and how their rows become one list.

use serde_json::{Map, Value};

use super::fields::{Field, Shape, field, is_known, required};
use super::json::{
    clip, invalid, malformed, unknown_field, unknown_variant, unsupported, wrong_type,
};
use super::query::{PLANS, given, parse_ask, parse_limit, unsigned};
use crate::error::{Error, Result};
use crate::query::request::{Ask, Consistency, Fuse, Paging};
use crate::types::limits;

const QUERIES: &str = "queries";
const RERANK: &str = "rerank_by";

/// What stands beside `queries`, for all of them, and `queries`.
pub(in crate::http) const FIELDS: [Field; 9] = [
    required(
        QUERIES,
        Shape::List(&Shape::Named("Query")),
        "1 to 16 queries of one state.",
    ),
    field(
        RERANK,
        Shape::List(&Shape::Any),
        "[\"RRF\"] or [\"RRF\", {\"rank_constant\": 60, \"weights\": [...]}]: makes the rows of all queries one list.",
    ),
    field("limit", Shape::Named("Limit"), "Most rows of that list."),
    field("offset", Shape::Count, "Rows of that list to skip."),
    field("consistency", Shape::Named("Consistency"), "Freshness."),
    field("as_of", Shape::Named("AsOf"), "A state of the past."),
    field(
        "vector_encoding",
        Shape::Words(&["float", "base64"]),
        "How vectors come back.",
    ),
    field(
        "allow_degraded",
        Shape::Flag,
        "Whether segments that cannot be read may be left out.",
    ),
    field(
        "plan",
        Shape::Words(&PLANS),
        "How segments are searched, for comparison; absent: whatever costs least.",
    ),
];

/// Added to each rank where the request names nothing.
const RANK_CONSTANT: f64 = 60.0;

/// Parses the questions of a request that has `queries`; they share freshness and `allow_degraded`.
///
/// Errors: as of one question, `InvalidRequest` for none, too many, and fields at the wrong level.
pub(super) fn parse_multi(
    fields: &Map<String, Value>,
    queries: &Value,
    consistency: Consistency,
    allow_degraded: bool,
) -> Result<(Vec<Ask>, Option<Fuse>)> {
    let no_pages = || invalid("cursor", format!("not expected with `{QUERIES}`"));
    if given(fields, "cursor").is_some() {
        return Err(no_pages());
    }
    for (name, value) in fields {
        if !is_known(&FIELDS, name) && !value.is_null() {
            let message = format!("`{}` belongs into the queries of `{QUERIES}`", clip(name));
            return Err(Error::invalid(message));
        }
    }
    let Value::Array(queries) = queries else {
        return Err(wrong_type(QUERIES, queries, "a sequence"));
    };
    if !(1..=limits::SUBQUERIES_MAX).contains(&queries.len()) {
        let (most, found) = (limits::SUBQUERIES_MAX, queries.len());
        return Err(invalid(
            QUERIES,
            format!("expected 1 to {most}, found {found}"),
        ));
    }
    let mut asks = Vec::with_capacity(queries.len());
    for (at, query) in queries.iter().enumerate() {
        let path = format!("{QUERIES}[{at}]");
        let Value::Object(query) = query else {
            return Err(wrong_type(&path, query, "a map"));
        };
        for name in [
            "consistency",
            "as_of",
            "vector_encoding",
            "allow_degraded",
            "plan",
            QUERIES,
            RERANK,
        ] {
            if given(query, name).is_some() {
                let message = format!("`{name}` belongs beside `{QUERIES}`, not into one");
                return Err(invalid(&path, message));
            }
        }
        if given(query, "cursor").is_some() {
            return Err(no_pages().within(&path));
        }
        let ask = parse_ask(query, consistency, allow_degraded, Paging::Off);
        asks.push(ask.map_err(|error| error.within(&path))?);
    }
    let fuse = parse_fuse(fields, &asks)?;
    Ok((asks, fuse))
}

fn parse_fuse(fields: &Map<String, Value>, asks: &[Ask]) -> Result<Option<Fuse>> {
    let limit = match given(fields, "limit") {
        None => None,
        Some(Value::Object(parts)) => {
            if let Some(name) = parts.keys().find(|name| *name != "total") {
                return Err(unknown_field(name, &["total"]));
            }
            let total = parts
                .get("total")
                .ok_or_else(|| malformed("limit", "missing field `total`"))?;
            Some(parse_limit("limit.total", total)?)
        }
        Some(value) => Some(parse_limit("limit", value)?),
    };
    let offset = match given(fields, "offset") {
        None => None,
        Some(value) => Some(unsigned("offset", value)?),
    };
    let Some(rerank) = given(fields, RERANK) else {
        return match (limit, offset) {
            (None, None) => Ok(None),
            _ => Err(Error::invalid(format!(
                "`limit` and `offset` beside `{QUERIES}` need `{RERANK}`"
            ))),
        };
    };
    let options = match rerank {
        Value::Array(parts) => match parts.as_slice() {
            [Value::String(name)] if name == "RRF" => None,
            [Value::String(name), Value::Object(options)] if name == "RRF" => Some(options),
            [Value::String(name), ..] if name != "RRF" => {
                return Err(unknown_variant(RERANK, name, &["RRF"]));
            }
            _ => {
                return Err(malformed(
                    RERANK,
                    "unknown form: expected [\"RRF\"] or [\"RRF\", options]",
                ));
            }
        },
        Value::Object(_) => return Err(unsupported(format!("`{RERANK}` by a model"))),
        other => return Err(wrong_type(RERANK, other, "a sequence")),
    };
    let rows = asks.iter().map(|ask| match ask {
        Ask::Rows(query) => query.limit,
        Ask::Totals(_) | Ask::Recall(_) => 0,
    });
    let largest = rows.max().unwrap_or(0);
    let (rank_constant, weights) = parse_options(options, asks.len())?;
    if offset.is_some() && limit.is_none() {
        return Err(Error::invalid(format!(
            "`offset` beside `{QUERIES}` needs `limit`"
        )));
    }
    // The limit is at most 10,000; what reaches too far is refused where the lists are fused.
    Ok(Some(Fuse {
        rank_constant,
        weights,
        limit: limit.map_or(largest, |limit| limit as usize),
        offset: usize::try_from(offset.unwrap_or(0)).unwrap_or(usize::MAX),
    }))
}

fn parse_options(
    options: Option<&Map<String, Value>>,
    n_queries: usize,
) -> Result<(f64, Vec<f64>)> {
    let equal = vec![1.0; n_queries];
    let Some(options) = options else {
        return Ok((RANK_CONSTANT, equal));
    };
    for name in options.keys() {
        if !matches!(name.as_str(), "rank_constant" | "weights") {
            return Err(unknown_field(name, &["rank_constant", "weights"]));
        }
    }
    let number = |at: &str, value: &Value| {
        let number = value
            .as_f64()
            .ok_or_else(|| wrong_type(at, value, "a number"))?;
        match number > 0.0 {
            true => Ok(number),
            false => Err(invalid(
                at,
                format!("expected a number above 0, found {number}"),
            )),
        }
    };
    let rank_constant = match given(options, "rank_constant") {
        None => RANK_CONSTANT,
        Some(value) => number("rerank_by.rank_constant", value)?,
    };
    let weights = match given(options, "weights") {
        None => equal,
        Some(Value::Array(weights)) if weights.len() == n_queries => weights
            .iter()
            .map(|weight| number("rerank_by.weights", weight))
            .collect::<Result<_>>()?,
        Some(Value::Array(weights)) => {
            let message = format!("expected one a query, {n_queries}, found {}", weights.len());
            return Err(invalid("rerank_by.weights", message));
        }
        Some(other) => return Err(wrong_type("rerank_by.weights", other, "a sequence")),
    };
    Ok((rank_constant, weights))
}
