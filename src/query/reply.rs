//! What a query answers: typed rows and what the answer covered and cost.

use std::sync::Arc;

use super::cursor::Cursor;
use crate::types::{DocId, Value, WalSeq};

/// What ranks a row, or is computed for it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Dist {
    /// A distance of vectors: smaller is nearer.
    Distance(f32),
    /// A score: larger is better; finite.
    Score(f64),
}

/// One row of an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The document's id.
    pub id: DocId,
    /// Distance or score, absent when ordering by attribute.
    pub dist: Option<Dist>,
    /// The attributes asked for that the row has, sorted by name; never `Value::Null`.
    pub attributes: Vec<(Arc<str>, Value)>,
    /// The values computed for it, in the order asked for; of a row without the vector there is none.
    pub computed: Vec<(Arc<str>, Dist)>,
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

/// A number over rows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Total {
    /// A count, or an exact sum of integers.
    Integer(i128),
    /// A sum of floats.
    Float(f64),
}

/// One group of rows: its key, `Value::Null` where missing, and its numbers, in the order asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// The values that make it.
    pub key: Vec<Value>,
    /// Its numbers.
    pub totals: Vec<Total>,
}

/// One search and the rows that are truly nearest.
#[derive(Debug, Clone, PartialEq)]
pub struct Truth {
    /// The vector searched for.
    pub vector: Vec<f32>,
    /// The nearest rows, nearest first, with the vector attribute.
    pub nearest: Vec<Row>,
}

/// How good searches were.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RecallReport {
    /// The share of the true nearest rows that was found, 0 to 1, averaged over the searches; 1 without any.
    pub recall: f64,
    /// Rows that an exact search found, averaged.
    pub exhaustive_count: f64,
    /// Rows that a search as it is by default found, averaged.
    pub ann_count: f64,
    /// Each search; only if asked for.
    pub truth: Option<Vec<Truth>>,
}

/// What one question found.
#[derive(Debug, Clone, PartialEq)]
pub enum Found {
    /// Winners in order.
    Rows(Vec<Row>),
    /// Numbers over all rows, with their names.
    Totals(Vec<(Arc<str>, Total)>),
    /// Numbers of each group, by ascending key.
    Groups {
        /// Names of the parts of a key.
        keys: Arc<[Arc<str>]>,
        /// Names of the numbers.
        labels: Arc<[Arc<str>]>,
        /// The groups.
        groups: Vec<Group>,
    },
    /// How good searches are.
    Recall(RecallReport),
    /// How the request would be answered.
    Plan(String),
}

impl Found {
    /// Its rows; none where it is numbers.
    pub fn into_rows(self) -> Vec<Row> {
        match self {
            Self::Rows(rows) => rows,
            Self::Totals(_) | Self::Groups { .. } | Self::Recall(_) | Self::Plan(_) => Vec::new(),
        }
    }
}

/// The answers to all questions of a request, of one state.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Answers {
    /// One for each question, in order.
    pub found: Vec<Found>,
    /// What they covered and cost together.
    pub coverage: Coverage,
    /// What could not be read; `None` where nothing is missing.
    pub degraded: Option<Degraded>,
    /// Where the next page begins; `None` where there is none, or where the question was for no page.
    pub next: Option<Cursor>,
}

impl From<Reply> for Answers {
    fn from(reply: Reply) -> Self {
        Self {
            found: vec![Found::Rows(reply.rows)],
            coverage: reply.coverage,
            degraded: reply.degraded,
            next: None,
        }
    }
}

impl From<Answers> for Reply {
    /// The rows of the first question.
    fn from(answers: Answers) -> Self {
        let rows = answers.found.into_iter().next().map(Found::into_rows);
        let rows = rows.unwrap_or_default();
        Self {
            rows,
            coverage: answers.coverage,
            degraded: answers.degraded,
        }
    }
}
