//! What bodies are refused and how, what their memory is counted as, and answers to the byte.

mod aggregate;
mod encode;
mod memory;
mod numbers;
mod parse;
mod parse_pages;
mod parse_query;
mod parse_rank;

use super::{query, schema, write};
use crate::error::Result;
use crate::query::request::{Ask, Query};
use crate::runtime::{MemoryBudget, Meter};
use crate::types::document::{SchemaSpec, WriteBatch};

/// A count that no body of these tests reaches the end of.
pub(super) fn meter() -> Meter {
    const MUCH: u64 = 1 << 40;
    Meter::new(MemoryBudget::new("tests", MUCH, 0), 0, MUCH)
}

fn parse_write(body: &[u8]) -> Result<WriteBatch> {
    write::parse_write(body, &meter())
}

fn parse_query(body: &[u8]) -> Result<(Query, query::VectorEncoding)> {
    let body = query::parse_query(body, &meter())?;
    match body.asked.asks.as_slice() {
        [Ask::Rows(query)] => Ok((query.clone(), body.form.encoding)),
        other => panic!("one question for rows, not {other:?}"),
    }
}

fn parse_schema_body(body: &[u8]) -> Result<SchemaSpec> {
    schema::parse_schema_body(body, &meter())
}
