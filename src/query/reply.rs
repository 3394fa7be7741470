//! What a query answers: typed rows and what the answer covered and cost.

use std::sync::Arc;

use crate::types::{DocId, Value, WalSeq};

/// One row of an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The document's id.
    pub id: DocId,
    /// Distance, absent when ordering by attribute.
    pub dist: Option<f32>,
    /// The attributes asked for that the row has, sorted by name; never `Value::Null`.
    pub attributes: Vec<(Arc<str>, Value)>,
}

/// What an answer covered and cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Coverage {
    /// The state the answer is of.
    pub as_of_seq: WalSeq,
    /// Live documents in the namespace at that state.
    pub rows_total: u64,
    /// Live documents that are in no segment yet.
    pub unindexed_rows: u64,
    /// Logical bytes of the live documents at that state; of a segment that lost rows, its share of them.
    pub bytes_total: u64,
    /// Segments looked into.
    pub segments_searched: u64,
    /// Segments skipped: by statistics, or because no row of them lives.
    pub segments_pruned: u64,
    /// Sequential waves of store requests, at least; those of segments count as one.
    pub round_trips: u64,
    /// Store reads.
    pub store_gets: u64,
    /// Bytes read from the store.
    pub store_bytes: u64,
    /// Time computing, microseconds.
    pub execution_us: u64,
}

/// What an answer had to leave out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Degraded {
    /// The segments, ascending: claim and number.
    pub segments: Vec<String>,
    /// At most so many documents are in them and in none of the rows.
    pub rows_missing: u64,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Reply {
    /// Winners in order.
    pub rows: Vec<Row>,
    /// What it covered and cost.
    pub coverage: Coverage,
    /// What could not be read; `None` where nothing is missing.
    pub degraded: Option<Degraded>,
}
