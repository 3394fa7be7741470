//! The body of a query.

use std::sync::Arc;

use serde_json::{Map, Value};
use xxhash_rust::xxh3::xxh3_64;

use super::aggregate::parse_aggregate;
use super::compute::parse_compute;
use super::fields::{Field, Shape, field, is_known, names};
use super::json::{
    invalid, malformed, parse_object, unknown_field, unknown_variant, unsupported, wrong_type,
};
use super::multi::parse_multi;
use super::rank::parse_rank;
use super::schema::parse_metric;
use crate::error::{Error, Result};
use crate::filter;
use crate::query::cursor::Cursor;
use crate::query::plan::Plan;
use crate::query::request::{
    AsOf, Ask, Consistency, Include, LimitPer, Paging, Query, Questions, RankBy,
};
use crate::runtime::Meter;
use crate::types::{WalSeq, limits};

/// The fields of a query.
pub(in crate::http) const FIELDS: [Field; 17] = [
    field(
        "rank_by",
        Shape::Named("RankBy"),
        "How rows are ordered; absent, with `filters`: by id.",
    ),
    field(
        "limit",
        Shape::Named("Limit"),
        "Most rows, or most groups; `limit` or `top_k` is needed for rows.",
    ),
    field("top_k", Shape::Count, "The same as `limit`, a number."),
    field("offset", Shape::Count, "Rows to skip."),
    field(
        "filters",
        Shape::Either(&[Shape::Named("Filter"), Shape::Text]),
        "Which rows; as text: \"year >= 1900 AND genre = 'sea'\".",
    ),
    field(
        "include_attributes",
        Shape::Either(&[Shape::Flag, Shape::List(&Shape::Text)]),
        "Which attributes come back; none if absent.",
    ),
    field(
        "exclude_attributes",
        Shape::List(&Shape::Text),
        "Everything but these comes back.",
    ),
    field(
        "compute_attributes",
        Shape::Map(&Shape::List(&Shape::Any)),
        "Values computed for each row: scores, or [attribute, \"VectorDist\", vector].",
    ),
    field(
        "aggregate_by",
        Shape::Map(&Shape::List(&Shape::Text)),
        "Numbers instead of rows: [\"Count\"] or [\"Sum\", attribute].",
    ),
    field(
        "group_by",
        Shape::List(&Shape::Either(&[
            Shape::Text,
            Shape::Map(&Shape::List(&Shape::Text)),
        ])),
        "Attributes that tell groups apart, or {alias: [\"ForEachUnique\", attribute]}.",
    ),
    field(
        "distance_metric",
        Shape::Named("DistanceMetric"),
        "Must be the namespace's.",
    ),
    field(
        "vector_encoding",
        Shape::Words(&["float", "base64"]),
        "How vectors come back.",
    ),
    field("consistency", Shape::Named("Consistency"), "Freshness."),
    field(
        "cursor",
        Shape::Either(&[Shape::Flag, Shape::Text]),
        "true for the first page, then each page's `next_cursor` for the one after it: all of one state.",
    ),
    field("as_of", Shape::Named("AsOf"), "A state of the past."),
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

/// The plans that a request can ask for: the names of [`Plan::ALL`].
pub(super) const PLANS: [&str; 3] = ["filter_first", "scan_first", "together"];

/// What the API has and this version refuses by name.
const LATER: [&str; 3] = ["rerank_by", "fusion", "explain"];

const CURSOR: &str = "cursor";

/// Staleness of `eventual` where the request names none, seconds.
const STALENESS_SECONDS: u64 = 60;

/// How vectors come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::http) enum VectorEncoding {
    /// JSON numbers in the shortest form that reads back as the same f32.
    #[default]
    Float,
    /// Base64 of little-endian f32.
    Base64,
}

/// The body of a query.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::http) struct QueryBody {
    /// What is asked.
    pub(in crate::http) asked: Questions,
    /// What the answer looks like.
    pub(in crate::http) form: AnswerForm,
}

/// What an answer looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::http) struct AnswerForm {
    /// How vectors come back.
    pub(in crate::http) encoding: VectorEncoding,
    /// Whether it answers a list of questions (`queries`), so that it is one of answers.
    pub(in crate::http) is_multi: bool,
    /// Tells questions apart whose pages are not each other's; `None` where no pages are asked for.
    pub(in crate::http) pages_of: Option<u64>,
}

/// Parses the body of a query.
///
/// Errors: `InvalidRequest` if it is not JSON, makes no sense or asks for what this version lacks,
/// `Malformed` if its shape is wrong, what `meter` says where there is no memory for it.
pub(in crate::http) fn parse_query(body: &[u8], meter: &Meter) -> Result<QueryBody> {
    let fields = parse_object(body, meter)?;
    let consistency = parse_consistency(&fields)?;
    let allow_degraded = parse_flag(&fields, "allow_degraded")?;
    let queries = given(&fields, "queries");
    let paged = parse_paging(&fields)?;
    let as_of = parse_as_of(&fields, paged.cursor.as_ref())?;
    let (asks, fuse) = match queries {
        Some(queries) => parse_multi(&fields, queries, consistency, allow_degraded)?,
        None => {
            let ask = parse_ask(&fields, consistency, allow_degraded, paged.paging())?;
            (vec![ask], None)
        }
    };
    Ok(QueryBody {
        form: AnswerForm {
            encoding: parse_encoding(&fields)?,
            is_multi: queries.is_some(),
            pages_of: paged.pages_of,
        },
        asked: Questions {
            asks,
            fuse,
            explain: false,
            consistency,
            as_of,
            allow_degraded,
            plan: parse_plan(&fields)?,
        },
    })
}

fn parse_plan(fields: &Map<String, Value>) -> Result<Option<Plan>> {
    let Some(value) = given(fields, "plan") else {
        return Ok(None);
    };
    let Value::String(name) = value else {
        return Err(wrong_type("plan", value, "a string"));
    };
    let plan = Plan::parse(name).ok_or_else(|| unknown_variant("plan", name, &PLANS))?;
    Ok(Some(plan))
}

/// What `cursor` says.
#[derive(Debug, Default)]
struct Paged {
    /// The page asked for; `None` where it is the first one, or where there are no pages.
    cursor: Option<Cursor>,
    /// What the cursors of the question are told from others by, where there are pages.
    pages_of: Option<u64>,
}

impl Paged {
    fn paging(&self) -> Paging {
        match (&self.cursor, self.pages_of) {
            (Some(cursor), _) => Paging::After(Arc::clone(&cursor.place)),
            (None, Some(_)) => Paging::First,
            (None, None) => Paging::Off,
        }
    }
}

/// Parses `cursor`, of which `true` and a text ask for a page.
fn parse_paging(fields: &Map<String, Value>) -> Result<Paged> {
    let cursor = match given(fields, CURSOR) {
        None | Some(Value::Bool(false)) => return Ok(Paged::default()),
        Some(Value::Bool(true)) => None,
        Some(Value::String(text)) => Some(text),
        Some(other) => return Err(wrong_type(CURSOR, other, "true or a string")),
    };
    let pages_of = fingerprint(fields);
    let cursor = cursor
        .map(|text| Cursor::parse(text, pages_of))
        .transpose()?;
    Ok(Paged {
        cursor,
        pages_of: Some(pages_of),
    })
}

/// Of the fields that decide which rows there are and in which order: a cursor is of no other question.
fn fingerprint(fields: &Map<String, Value>) -> u64 {
    let names = ["rank_by", "filters", "aggregate_by", "group_by"];
    let asked = names.map(|name| given(fields, name));
    // What was read as JSON can be written as JSON.
    xxh3_64(&serde_json::to_vec(&asked).unwrap_or_default())
}

/// Parses `as_of`; a cursor names its state itself.
fn parse_as_of(fields: &Map<String, Value>, cursor: Option<&Cursor>) -> Result<Option<AsOf>> {
    const AT: &str = "as_of";
    let forms = match given(fields, AT) {
        None => return Ok(cursor.map(Cursor::as_of)),
        Some(_) if cursor.is_some() => {
            return Err(invalid(
                AT,
                "not expected with `cursor`, which names its state",
            ));
        }
        Some(Value::Object(forms)) => forms,
        Some(other) => return Err(wrong_type(AT, other, "a map")),
    };
    let mut found = None;
    for (name, value) in forms {
        match name.as_str() {
            "seq" => found = Some(WalSeq(unsigned("as_of.seq", value)?)),
            "timestamp" | "snapshot" => return Err(unsupported(format!("`{AT}.{name}`"))),
            _ => return Err(unknown_field(name, &["seq"])),
        }
    }
    let seq = found.ok_or_else(|| malformed(AT, "missing field `seq`"))?;
    Ok(Some(AsOf {
        seq,
        namespace: None,
    }))
}

/// Parses one question.
///
/// Errors: as of `parse_query`.
pub(super) fn parse_ask(
    fields: &Map<String, Value>,
    consistency: Consistency,
    allow_degraded: bool,
    paging: Paging,
) -> Result<Ask> {
    check_names(fields)?;
    if let Some(by) = given(fields, "aggregate_by") {
        return parse_aggregate(fields, by, paging).map(Ask::Totals);
    }
    if given(fields, "group_by").is_some() {
        return Err(invalid("group_by", "needs `aggregate_by`"));
    }
    let filter = given(fields, "filters").map(parse_filters).transpose()?;
    let rank_by = parse_ranking(fields, filter.is_some())?;
    let (limit, offset) = parse_window(fields)?;
    let compute = parse_compute(fields)?;
    let distance_metric = given(fields, "distance_metric")
        .map(|value| parse_metric("distance_metric", value))
        .transpose()?;
    if distance_metric.is_some() && !matches!(rank_by, RankBy::Vector { .. }) {
        return Err(invalid(
            "distance_metric",
            "expected only when ranking by a vector",
        ));
    }
    Ok(Ask::Rows(Query {
        rank_by,
        limit,
        per: parse_per(fields)?,
        offset,
        paging,
        filter,
        include: parse_include(fields)?,
        compute,
        distance_metric,
        consistency,
        allow_degraded,
    }))
}

/// A field that is there and not null.
pub(super) fn given<'a>(fields: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    fields.get(name).filter(|value| !value.is_null())
}

/// `limit.per`.
fn parse_per(fields: &Map<String, Value>) -> Result<Option<LimitPer>> {
    const AT: &str = "limit.per";
    let limit = fields.get("limit").and_then(Value::as_object);
    let per = match limit.and_then(|limit| given(limit, "per")) {
        None => return Ok(None),
        Some(Value::Object(per)) => per,
        Some(other) => return Err(wrong_type(AT, other, "a map")),
    };
    if let Some(name) = per
        .keys()
        .find(|name| !matches!(name.as_str(), "attributes" | "limit"))
    {
        return Err(unknown_field(name, &["attributes", "limit"]));
    }
    let field = |name: &str| {
        per.get(name)
            .ok_or_else(|| malformed(AT, format!("missing field `{name}`")))
    };
    let attributes = parse_names("limit.per.attributes", field("attributes")?, "a sequence")?;
    Ok(Some(LimitPer {
        attributes,
        // At most 10,000.
        limit: parse_limit("limit.per.limit", field("limit")?)? as usize,
    }))
}

fn check_names(fields: &Map<String, Value>) -> Result<()> {
    for (name, value) in fields {
        let off = matches!(value, Value::Null | Value::Bool(false));
        match name.as_str() {
            known if is_known(&FIELDS, known) => {}
            later if LATER.contains(&later) && off => {}
            later if LATER.contains(&later) => return Err(unsupported(format!("`{later}`"))),
            _ => {
                let known: Vec<&str> = names(&FIELDS).into_iter().chain(LATER).collect();
                return Err(unknown_field(name, &known));
            }
        }
    }
    Ok(())
}

/// Parses `filters`: the API's form, or ours as text.
pub(super) fn parse_filters(value: &Value) -> Result<crate::types::filter::Filter> {
    match value {
        Value::String(text) => filter::parse_text(text),
        _ => filter::parse(value),
    }
}

fn parse_ranking(fields: &Map<String, Value>, filtered: bool) -> Result<RankBy> {
    let Some(value) = given(fields, "rank_by") else {
        if filtered {
            return Ok(RankBy::Id);
        }
        return Err(Error::invalid(
            "the query asks nothing: expected `rank_by`, `aggregate_by` or `filters`",
        ));
    };
    let rank_by = parse_rank(value)?;
    if matches!(rank_by, RankBy::Vector { exact: true, .. }) && !filtered {
        return Err(invalid("rank_by", "`kNN` needs `filters`; `ANN` does not"));
    }
    Ok(rank_by)
}

fn parse_window(fields: &Map<String, Value>) -> Result<(usize, usize)> {
    let limit =
        parse_limit_of(fields)?.ok_or_else(|| Error::invalid("missing `limit` (or `top_k`)"))?;
    let offset = match given(fields, "offset") {
        None => 0,
        Some(value) => unsigned("offset", value)?,
    };
    if offset.saturating_add(limit as u64) > limits::QUERY_LIMIT_MAX as u64 {
        return Err(Error::invalid(format!(
            "`offset` and `limit` reach too far: expected a sum of at most {}, found {offset} and {limit}",
            limits::QUERY_LIMIT_MAX
        )));
    }
    // At most 10,000 by the line above.
    Ok((limit, offset as usize))
}

/// `limit` or `top_k`; `None` where neither is there.
pub(super) fn parse_limit_of(fields: &Map<String, Value>) -> Result<Option<usize>> {
    let limit = match (fields.get("limit"), fields.get("top_k")) {
        (Some(_), Some(_)) => {
            return Err(Error::invalid("expected `limit` or `top_k`, found both"));
        }
        (Some(Value::Object(parts)), None) => parse_limit_parts(parts)?,
        (Some(value), None) => parse_limit("limit", value)?,
        (None, Some(value)) => parse_limit("top_k", value)?,
        (None, None) => return Ok(None),
    };
    // At most 10,000.
    Ok(Some(limit as usize))
}

fn parse_limit_parts(parts: &Map<String, Value>) -> Result<u64> {
    for name in parts.keys() {
        match name.as_str() {
            "total" | "per" => {}
            _ => return Err(unknown_field(name, &["total", "per"])),
        }
    }
    let total = parts
        .get("total")
        .ok_or_else(|| malformed("limit", "missing field `total`"))?;
    parse_limit("limit.total", total)
}

pub(super) fn parse_limit(path: &str, value: &Value) -> Result<u64> {
    if value.is_null() {
        return Err(invalid(path, "expected 1 to 10000, found null"));
    }
    let limit = unsigned(path, value)?;
    if (1..=limits::QUERY_LIMIT_MAX as u64).contains(&limit) {
        return Ok(limit);
    }
    let message = format!("expected 1 to {}, found {limit}", limits::QUERY_LIMIT_MAX);
    Err(invalid(path, message))
}

pub(super) fn unsigned(path: &str, value: &Value) -> Result<u64> {
    value
        .as_u64()
        .ok_or_else(|| wrong_type(path, value, "an unsigned integer"))
}

fn parse_include(fields: &Map<String, Value>) -> Result<Include> {
    let include = given(fields, "include_attributes");
    let exclude = given(fields, "exclude_attributes");
    match (include, exclude) {
        (Some(_), Some(_)) => Err(Error::invalid(
            "expected `include_attributes` or `exclude_attributes`, found both",
        )),
        (None, None) | (Some(Value::Bool(false)), None) => Ok(Include::Nothing),
        (Some(Value::Bool(true)), None) => Ok(Include::Everything),
        (Some(value), None) => {
            let mut names = parse_names("include_attributes", value, "a boolean or a sequence")?;
            // The id always comes back.
            names.retain(|name| name != "id");
            Ok(Include::Only(names))
        }
        (None, Some(value)) => {
            let names = parse_names("exclude_attributes", value, "a sequence")?;
            if names.iter().any(|name| name == "id") {
                return Err(invalid("exclude_attributes", "`id` cannot be excluded"));
            }
            Ok(Include::Except(names))
        }
    }
}

/// Names in order, each once.
fn parse_names(path: &str, value: &Value, expected: &str) -> Result<Vec<String>> {
    let Value::Array(parts) = value else {
        return Err(wrong_type(path, value, expected));
    };
    if parts.len() > limits::ATTRIBUTES_MAX {
        let message = format!(
            "too many names: expected at most {}, found {}",
            limits::ATTRIBUTES_MAX,
            parts.len()
        );
        return Err(invalid(path, message));
    }
    let mut names = Vec::with_capacity(parts.len());
    let mut seen = std::collections::BTreeSet::new();
    for part in parts {
        let name = part
            .as_str()
            .ok_or_else(|| wrong_type(path, part, "a string"))?;
        if seen.insert(name) {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}

fn parse_encoding(fields: &Map<String, Value>) -> Result<VectorEncoding> {
    match given(fields, "vector_encoding") {
        None => Ok(VectorEncoding::Float),
        Some(Value::String(name)) => match name.as_str() {
            "float" => Ok(VectorEncoding::Float),
            "base64" => Ok(VectorEncoding::Base64),
            other => Err(unknown_variant(
                "vector_encoding",
                other,
                &["float", "base64"],
            )),
        },
        Some(other) => Err(wrong_type("vector_encoding", other, "a string")),
    }
}

/// A field that is true or false, and false where it is absent.
pub(super) fn parse_flag(fields: &Map<String, Value>, name: &str) -> Result<bool> {
    match given(fields, name) {
        None => Ok(false),
        Some(Value::Bool(flag)) => Ok(*flag),
        Some(other) => Err(wrong_type(name, other, "a boolean")),
    }
}

fn parse_consistency(fields: &Map<String, Value>) -> Result<Consistency> {
    let at = "consistency";
    let options = match given(fields, at) {
        None => return Ok(Consistency::Strong),
        Some(Value::Object(options)) => options,
        Some(other) => return Err(wrong_type(at, other, "struct Consistency")),
    };
    let level = match given(options, "level") {
        Some(Value::String(level)) => level.as_str(),
        Some(other) => return Err(wrong_type("consistency.level", other, "a string")),
        // The clients' types leave it open.
        None => "strong",
    };
    let (consistency, own_field) = match level {
        "strong" => (Consistency::Strong, "level"),
        "eventual" => {
            let max_staleness_seconds = match given(options, "max_staleness_seconds") {
                None => STALENESS_SECONDS,
                Some(value) => unsigned("consistency.max_staleness_seconds", value)?,
            };
            let level = Consistency::Eventual {
                max_staleness_seconds,
            };
            (level, "max_staleness_seconds")
        }
        "session" => {
            let value = options
                .get("min_seq")
                .ok_or_else(|| malformed(at, "missing field `min_seq`"))?;
            let min_seq = WalSeq(unsigned("consistency.min_seq", value)?);
            (Consistency::Session { min_seq }, "min_seq")
        }
        // `session` is ours; the sentence is the API's.
        other => {
            return Err(unknown_variant(
                "consistency.level",
                other,
                &["strong", "eventual"],
            ));
        }
    };
    for (name, value) in options {
        if name != "level" && name != own_field && !value.is_null() {
            let message = format!(
                "unknown field `{}` of level `{level}`",
                super::json::clip(name)
            );
            return Err(invalid(at, message));
        }
    }
    Ok(consistency)
}
