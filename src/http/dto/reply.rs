//! Answers as JSON, written straight from borrowed rows.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, SecondsFormat};
use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Serialize, Serializer};

use super::query::{AnswerForm, VectorEncoding};
use crate::error::{Error, Result};
use crate::query::reply::{Answers, Coverage, Dist, Found, Group, Row, Total};
use crate::types::{DocId, Timestamp, Value};

/// The API bills no query for less, bytes.
const BILLED_BYTES_MIN: u64 = 256_000_000;

/// Bytes of an answer's head, before its rows.
const HEAD_BYTES: usize = 768;

struct QueryReply<'a> {
    answers: &'a Answers,
    form: AnswerForm,
    billing: Billing,
    performance: Performance,
}

impl Serialize for QueryReply<'_> {
    fn serialize<S: Serializer>(&self, out: S) -> std::result::Result<S::Ok, S::Error> {
        let mut map = out.serialize_map(None)?;
        let encoding = self.form.encoding;
        if self.form.is_multi {
            let views = self.answers.found.iter();
            let views: Vec<_> = views.map(|found| FoundView { found, encoding }).collect();
            map.serialize_entry("results", &views)?;
        } else {
            for found in &self.answers.found {
                found_entry(&mut map, found, encoding)?;
            }
        }
        if let Some(pages_of) = self.form.pages_of {
            let next = self.answers.next.as_ref();
            map.serialize_entry("next_cursor", &next.map(|next| next.to_text(pages_of)))?;
        }
        map.serialize_entry("billing", &self.billing)?;
        map.serialize_entry("performance", &self.performance)?;
        if let Some(degraded) = &self.answers.degraded {
            let view = DegradedView {
                segments: &degraded.segments,
                rows_missing: degraded.rows_missing,
            };
            map.serialize_entry("degraded", &view)?;
        }
        map.end()
    }
}

/// One answer among several.
struct FoundView<'a> {
    found: &'a Found,
    encoding: VectorEncoding,
}

impl Serialize for FoundView<'_> {
    fn serialize<S: Serializer>(&self, out: S) -> std::result::Result<S::Ok, S::Error> {
        let mut map = out.serialize_map(Some(1))?;
        found_entry(&mut map, self.found, self.encoding)?;
        map.end()
    }
}

/// Writes what one question found, under the name of its kind.
fn found_entry<M: SerializeMap>(
    map: &mut M,
    found: &Found,
    encoding: VectorEncoding,
) -> std::result::Result<(), M::Error> {
    match found {
        Found::Rows(rows) => map.serialize_entry("rows", &Rows { rows, encoding }),
        Found::Totals(totals) => map.serialize_entry("aggregations", &TotalsView(totals)),
        Found::Groups {
            keys,
            labels,
            groups,
        } => map.serialize_entry(
            "aggregation_groups",
            &GroupsView {
                keys,
                labels,
                groups,
            },
        ),
        // Both have answers of their own.
        Found::Recall(_) | Found::Plan(_) => Ok(()),
    }
}

#[derive(Serialize)]
struct DegradedView<'a> {
    segments: &'a [String],
    rows_missing: u64,
}

#[derive(Serialize)]
struct Billing {
    billable_logical_bytes_queried: u64,
    billable_logical_bytes_returned: u64,
}

#[derive(Serialize)]
struct Performance {
    cache_hit_ratio: f64,
    cache_temperature: &'static str,
    server_total_ms: u64,
    query_execution_ms: u64,
    exhaustive_search_count: u64,
    approx_namespace_size: u64,
    as_of_seq: u64,
    round_trips: u64,
    store_gets: u64,
    store_bytes: u64,
    unindexed_rows: u64,
    segments_searched: u64,
    segments_pruned: u64,
}

impl Performance {
    fn new(coverage: &Coverage, elapsed_ms: u64) -> Self {
        Self {
            cache_hit_ratio: hit_ratio(coverage),
            cache_temperature: match coverage.store_bytes {
                0 => "hot",
                bytes if bytes < coverage.bytes_total => "warm",
                _ => "cold",
            },
            server_total_ms: elapsed_ms.max(1),
            query_execution_ms: coverage.execution_us.div_ceil(1_000).max(1),
            exhaustive_search_count: coverage.unindexed_rows,
            approx_namespace_size: coverage.rows_total,
            as_of_seq: coverage.as_of_seq.0,
            round_trips: coverage.round_trips,
            store_gets: coverage.store_gets,
            store_bytes: coverage.store_bytes,
            unindexed_rows: coverage.unindexed_rows,
            segments_searched: coverage.segments_searched,
            segments_pruned: coverage.segments_pruned,
        }
    }
}

/// The share of the namespace that did not have to be read from the store.
fn hit_ratio(coverage: &Coverage) -> f64 {
    if coverage.store_bytes == 0 {
        return 1.0;
    }
    let share = coverage.store_bytes as f64 / coverage.bytes_total.max(1) as f64;
    (1.0 - share).max(0.0)
}

/// Encodes the answer to a query; `is_multi` where it asked a list of questions. Errors: `Internal` if JSON cannot hold it, which its types exclude.
pub(in crate::http) fn encode_query(
    answers: &Answers,
    form: AnswerForm,
    elapsed_ms: u64,
) -> Result<Vec<u8>> {
    encode(&QueryReply {
        answers,
        form,
        billing: Billing {
            billable_logical_bytes_queried: answers.coverage.bytes_total.max(BILLED_BYTES_MIN),
            billable_logical_bytes_returned: answers.found.iter().map(found_bytes).sum(),
        },
        performance: Performance::new(&answers.coverage, elapsed_ms),
    })
}

/// Encodes any answer.
pub(in crate::http) fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(HEAD_BYTES);
    serde_json::to_writer(&mut bytes, value)
        .map_err(|error| Error::internal("the answer cannot be encoded").with_source(error))?;
    Ok(bytes)
}

/// Rows in order.
pub(super) struct Rows<'a> {
    pub(super) rows: &'a [Row],
    pub(super) encoding: VectorEncoding,
}

impl Serialize for Rows<'_> {
    fn serialize<S: Serializer>(&self, out: S) -> std::result::Result<S::Ok, S::Error> {
        let encoding = self.encoding;
        out.collect_seq(self.rows.iter().map(|row| RowView { row, encoding }))
    }
}

struct RowView<'a> {
    row: &'a Row,
    encoding: VectorEncoding,
}

impl Serialize for RowView<'_> {
    fn serialize<S: Serializer>(&self, out: S) -> std::result::Result<S::Ok, S::Error> {
        let mut map = out.serialize_map(None)?;
        map.serialize_entry("id", &IdView(&self.row.id))?;
        if let Some(dist) = self.row.dist {
            map.serialize_entry("$dist", &DistView(dist))?;
        }
        for (name, value) in &self.row.attributes {
            // The API leaves missing attributes out.
            if *value != Value::Null {
                let encoding = self.encoding;
                map.serialize_entry(&**name, &ValueView { value, encoding })?;
            }
        }
        for (name, dist) in &self.row.computed {
            map.serialize_entry(&**name, &DistView(*dist))?;
        }
        map.end()
    }
}

struct DistView(Dist);

impl Serialize for DistView {
    fn serialize<S: Serializer>(&self, out: S) -> std::result::Result<S::Ok, S::Error> {
        match self.0 {
            Dist::Distance(distance) => out.serialize_f32(distance),
            Dist::Score(score) => out.serialize_f64(score),
        }
    }
}

struct TotalsView<'a>(&'a [(Arc<str>, Total)]);

impl Serialize for TotalsView<'_> {
    fn serialize<S: Serializer>(&self, out: S) -> std::result::Result<S::Ok, S::Error> {
        let totals = self.0.iter();
        out.collect_map(totals.map(|(label, total)| (&**label, TotalView(*total))))
    }
}

struct TotalView(Total);

impl Serialize for TotalView {
    fn serialize<S: Serializer>(&self, out: S) -> std::result::Result<S::Ok, S::Error> {
        match self.0 {
            Total::Integer(total) => out.serialize_i128(total),
            Total::Float(total) => out.serialize_f64(total),
        }
    }
}

struct GroupsView<'a> {
    keys: &'a [Arc<str>],
    labels: &'a [Arc<str>],
    groups: &'a [Group],
}

impl Serialize for GroupsView<'_> {
    fn serialize<S: Serializer>(&self, out: S) -> std::result::Result<S::Ok, S::Error> {
        out.collect_seq(
            self.groups
                .iter()
                .map(|group| GroupView { all: self, group }),
        )
    }
}

struct GroupView<'a> {
    all: &'a GroupsView<'a>,
    group: &'a Group,
}

impl Serialize for GroupView<'_> {
    fn serialize<S: Serializer>(&self, out: S) -> std::result::Result<S::Ok, S::Error> {
        let mut map = out.serialize_map(None)?;
        for (name, value) in self.all.keys.iter().zip(&self.group.key) {
            let encoding = VectorEncoding::Float;
            map.serialize_entry(&**name, &ValueView { value, encoding })?;
        }
        for (label, total) in self.all.labels.iter().zip(&self.group.totals) {
            map.serialize_entry(&**label, &TotalView(*total))?;
        }
        map.end()
    }
}

/// An id as JSON: a number, or text.
pub(super) struct IdView<'a>(pub(super) &'a DocId);

impl Serialize for IdView<'_> {
    fn serialize<S: Serializer>(&self, out: S) -> std::result::Result<S::Ok, S::Error> {
        match self.0 {
            DocId::Uint(id) => out.serialize_u64(*id),
            DocId::Uuid(id) => out.collect_str(&id.as_hyphenated()),
            DocId::String(id) => out.serialize_str(id),
        }
    }
}

struct ValueView<'a> {
    value: &'a Value,
    encoding: VectorEncoding,
}

impl Serialize for ValueView<'_> {
    fn serialize<S: Serializer>(&self, out: S) -> std::result::Result<S::Ok, S::Error> {
        match self.value {
            Value::Null => out.serialize_unit(),
            Value::Bool(value) => out.serialize_bool(*value),
            Value::Int(value) => out.serialize_i64(*value),
            Value::Uint(value) => out.serialize_u64(*value),
            Value::Float(value) => out.serialize_f64(*value),
            Value::Datetime(time) => out.serialize_str(&nanoseconds(*time)),
            Value::Uuid(id) => out.collect_str(&id.as_hyphenated()),
            Value::String(text) => out.serialize_str(text),
            Value::Bytes(bytes) => out.serialize_str(&STANDARD.encode(bytes)),
            Value::Sparse(entries) => {
                out.collect_map(entries.iter().map(|(dim, weight)| (&**dim, weight)))
            }
            Value::Array(values) => {
                let encoding = self.encoding;
                out.collect_seq(values.iter().map(|value| ValueView { value, encoding }))
            }
            Value::Vector(numbers) => match self.encoding {
                VectorEncoding::Float => {
                    let mut list = out.serialize_seq(Some(numbers.len()))?;
                    for number in numbers.iter() {
                        list.serialize_element(number)?;
                    }
                    list.end()
                }
                VectorEncoding::Base64 => {
                    let bytes: Vec<u8> = numbers
                        .iter()
                        .flat_map(|number| number.to_le_bytes())
                        .collect();
                    out.serialize_str(&STANDARD.encode(bytes))
                }
            },
        }
    }
}

/// `2024-03-02T00:00:00.000000000Z`; the bare number of milliseconds beyond the calendar.
fn nanoseconds(time: Timestamp) -> String {
    DateTime::from_timestamp_millis(time.0).map_or_else(
        || time.0.to_string(),
        |time| time.to_rfc3339_opts(SecondsFormat::Nanos, true),
    )
}

/// Logical bytes of what one question found; a number has 8.
fn found_bytes(found: &Found) -> u64 {
    match found {
        Found::Rows(rows) => rows.iter().map(row_bytes).sum(),
        Found::Totals(totals) => 8 * totals.len() as u64,
        Found::Groups { groups, .. } => {
            let bytes = groups.iter().map(|group| {
                group.key.iter().map(value_bytes).sum::<u64>() + 8 * group.totals.len() as u64
            });
            bytes.sum()
        }
        Found::Recall(_) | Found::Plan(_) => 0,
    }
}

/// Logical bytes of a row, as billed: the id, 4 of a distance or score, and the attributes that came back.
fn row_bytes(row: &Row) -> u64 {
    let id = match &row.id {
        DocId::Uint(_) => 8,
        DocId::Uuid(_) => 16,
        DocId::String(id) => id.len() as u64,
    };
    let values = row.attributes.iter().map(|(_, value)| value_bytes(value));
    let dist = if row.dist.is_some() { 4 } else { 0 };
    id + dist + values.sum::<u64>() + 8 * row.computed.len() as u64
}

fn value_bytes(value: &Value) -> u64 {
    match value {
        Value::Null => 0,
        Value::Bool(_) => 1,
        Value::Int(_) | Value::Uint(_) | Value::Float(_) | Value::Datetime(_) => 8,
        Value::Uuid(_) => 16,
        Value::String(text) => text.len() as u64,
        Value::Bytes(bytes) => bytes.len() as u64,
        Value::Sparse(entries) => entries.iter().map(|(dim, _)| dim.len() as u64 + 2).sum(),
        Value::Array(values) => values.iter().map(value_bytes).sum(),
        Value::Vector(numbers) => 4 * numbers.len() as u64,
    }
}
