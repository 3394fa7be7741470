//! The typed query: parsed, not yet bound to a schema.

use crate::types::document::RawValue;
use crate::types::filter::Filter;
use crate::types::{DistanceMetric, WalSeq};

/// How a query is to be ranked.
#[derive(Debug, Clone, PartialEq)]
pub enum RankBy {
    /// Nearest vectors, ascending distance. `exact` is `kNN`, else `ANN` (both exact in this version).
    Vector {
        /// The vector attribute's name.
        attribute: String,
        /// The query: `Numbers`, or `String` holding base64 of little-endian f32.
        vector: RawValue,
        /// Whether `kNN` was asked for; it needs a filter.
        exact: bool,
    },
    /// By attributes or `id`, then by id ascending.
    Order(Vec<OrderKey>),
    /// No rank given, only filters: by id ascending.
    Id,
}

/// One key of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderKey {
    /// Attribute name, or `id`.
    pub attribute: String,
    /// Descending; missing values come first in ascending, last in descending order.
    pub descending: bool,
}

/// Which attributes come back with each row; the id always does.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Include {
    /// None.
    #[default]
    Nothing,
    /// All, vectors included.
    Everything,
    /// These; an unknown name is an error.
    Only(Vec<String>),
    /// All but these; unknown names are ignored.
    Except(Vec<String>),
}

/// How fresh an answer must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Consistency {
    /// Sees every write acknowledged before the request arrived.
    #[default]
    Strong,
    /// At most this stale, by this node's monotonic clock, seconds.
    Eventual {
        /// Oldest acceptable probe, seconds.
        max_staleness_seconds: u64,
    },
    /// Sees at least this sequence.
    Session {
        /// The sequence a write reply gave.
        min_seq: WalSeq,
    },
}

/// One query.
#[derive(Debug, Clone, PartialEq)]
pub struct Query {
    /// The ranking.
    pub rank_by: RankBy,
    /// Most rows to return, 1 to 10,000.
    pub limit: usize,
    /// Rows to skip first.
    pub offset: usize,
    /// The filter.
    pub filter: Option<Filter>,
    /// Attributes to return.
    pub include: Include,
    /// `distance_metric`, which must equal the namespace's.
    pub distance_metric: Option<DistanceMetric>,
    /// Freshness.
    pub consistency: Consistency,
    /// Whether an answer may leave out segments that cannot be read, and then says so.
    pub allow_degraded: bool,
}

/// What is computed over rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fold {
    /// The number of rows.
    Count,
    /// The sum of an attribute's values; missing ones are skipped.
    Sum(String),
}

/// One part of what tells groups apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupBy {
    /// Its name in the answer.
    pub label: String,
    /// The attribute.
    pub attribute: String,
    /// Whether each distinct element of a list is a value of its own (`ForEachUnique`).
    pub each: bool,
}

/// Numbers over rows, of all or of each group.
#[derive(Debug, Clone, PartialEq)]
pub struct Aggregate {
    /// What is computed, with its name in the answer; 1 to 8.
    pub folds: Vec<(String, Fold)>,
    /// What tells groups apart; none makes one group of all rows.
    pub groups: Vec<GroupBy>,
    /// Most groups to return, 1 to 10,000; the first by their keys.
    pub limit: usize,
    /// Which rows count.
    pub filter: Option<Filter>,
}

/// One question of a request.
#[derive(Debug, Clone, PartialEq)]
pub enum Ask {
    /// Rows in some order. Freshness and `allow_degraded` are those of the request.
    Rows(Query),
    /// Numbers over rows.
    Totals(Aggregate),
}

/// All that one request asks of one state.
#[derive(Debug, Clone, PartialEq)]
pub struct Questions {
    /// 1 to 16 questions.
    pub asks: Vec<Ask>,
    /// Freshness.
    pub consistency: Consistency,
    /// Whether an answer may leave out segments that cannot be read, and then says so.
    pub allow_degraded: bool,
}

impl From<Query> for Questions {
    fn from(query: Query) -> Self {
        Self {
            consistency: query.consistency,
            allow_degraded: query.allow_degraded,
            asks: vec![Ask::Rows(query)],
        }
    }
}
