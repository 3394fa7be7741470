//! The typed query: parsed, not yet bound to a schema.

use std::sync::Arc;

use super::plan::Plan;
use crate::types::document::RawValue;
use crate::types::filter::Filter;
use crate::types::{DistanceMetric, NamespaceId, WalSeq};

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
    /// By a score, highest first, then by id ascending.
    Score(ScoreExpr),
    /// No rank given, only filters: by id ascending.
    Id,
}

/// An expression that gives a row a score; none is ever negative.
#[derive(Debug, Clone, PartialEq)]
pub enum ScoreExpr {
    /// 1 where the filter matches, else 0.
    Filter(Filter),
    /// The dot product of a sparse vector attribute with a sparse vector; what is not above 0 is not found.
    Sparse {
        /// The attribute.
        attribute: String,
        /// The query: `Object`.
        vector: RawValue,
    },
    /// The value of a numeric attribute; of a datetime its milliseconds.
    Attribute(String),
    /// How far an attribute is from a value of its type; of datetimes in milliseconds.
    Dist {
        /// The attribute.
        attribute: String,
        /// The value.
        origin: RawValue,
    },
    /// The sum.
    Sum(Vec<ScoreExpr>),
    /// The largest, and no less than `floor`.
    Max {
        /// Clauses.
        clauses: Vec<ScoreExpr>,
        /// A number among them.
        floor: Option<f64>,
    },
    /// A clause times a weight, which is not negative.
    Product {
        /// The weight.
        weight: f64,
        /// The clause.
        clause: Box<ScoreExpr>,
    },
    /// `x^e / (x^e + m^e)`: grows from 0 towards 1.
    Saturate {
        /// What `x` is; below 0 it counts as 0.
        clause: Box<ScoreExpr>,
        /// `m` and `e`.
        curve: Curve,
    },
    /// `m^e / (x^e + m^e)`: falls from 1 towards 0.
    Decay {
        /// What `x` is.
        clause: Box<ScoreExpr>,
        /// `m` and `e`.
        curve: Curve,
    },
}

/// The shape of `Saturate` and `Decay`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Curve {
    /// Where the curve is at one half; above 0.
    pub midpoint: f64,
    /// Whether the midpoint was given as a duration, in milliseconds here.
    pub is_duration: bool,
    /// How steep it is; above 0.
    pub exponent: f64,
}

/// A value computed for each row of an answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Compute {
    /// The distance of a vector attribute from a vector, by the namespace's metric.
    VectorDist {
        /// The vector attribute's name.
        attribute: String,
        /// The vector, as in `RankBy::Vector`.
        vector: RawValue,
    },
    /// A score.
    Score(ScoreExpr),
}

/// How many rows of an answer may be alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitPer {
    /// Rows are alike where all of these are equal, or missing in both.
    pub attributes: Vec<String>,
    /// Most rows that are alike.
    pub limit: usize,
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

/// Whether a question is for one page of a longer answer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Paging {
    /// It is not.
    #[default]
    Off,
    /// The first page; the answer says how to go on.
    First,
    /// What comes after this place of the order: a key as the page before gave it.
    After(Arc<[u8]>),
}

impl Paging {
    /// Whether there are pages.
    pub fn is_on(&self) -> bool {
        *self != Self::Off
    }
}

/// A state of the past that is asked for by its place in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AsOf {
    /// The last entry that it knows.
    pub seq: WalSeq,
    /// Of which namespace: a name may mean another one by now. `None`: of the one that the name means.
    pub namespace: Option<NamespaceId>,
}

/// One query.
#[derive(Debug, Clone, PartialEq)]
pub struct Query {
    /// The ranking.
    pub rank_by: RankBy,
    /// Most rows to return, 1 to 10,000.
    pub limit: usize,
    /// How many of them may be alike.
    pub per: Option<LimitPer>,
    /// Rows to skip first.
    pub offset: usize,
    /// Whether the rows are a page of all that match.
    pub paging: Paging,
    /// The filter.
    pub filter: Option<Filter>,
    /// Attributes to return.
    pub include: Include,
    /// Values to compute, with their names in the answer.
    pub compute: Vec<(String, Compute)>,
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
    /// Whether the groups are a page of all.
    pub paging: Paging,
    /// Which rows count.
    pub filter: Option<Filter>,
}

/// How many of the true nearest rows are found, over some searches.
#[derive(Debug, Clone, PartialEq)]
pub struct Recall {
    /// How many searches; of vectors that documents have, picked by `seed`.
    pub searches: usize,
    /// One search by this vector attribute and vector instead.
    pub rank_by: Option<(String, RawValue)>,
    /// Rows of each search.
    pub top_k: usize,
    /// Which rows are searched.
    pub filter: Option<Filter>,
    /// Whether the true nearest rows come back.
    pub with_truth: bool,
    /// Picks the vectors.
    pub seed: u64,
}

/// One question of a request.
#[derive(Debug, Clone, PartialEq)]
pub enum Ask {
    /// Rows in some order. Freshness and `allow_degraded` are those of the request.
    Rows(Query),
    /// Numbers over rows.
    Totals(Aggregate),
    /// How good searches are.
    Recall(Recall),
}

/// How the rows of several questions become one list: reciprocal rank fusion (Cormack, Clarke and Buettcher, 2009).
///
/// A row scores the sum, over the questions that found it, of `weight / (rank_constant + rank)`; ranks begin at 1.
#[derive(Debug, Clone, PartialEq)]
pub struct Fuse {
    /// Added to each rank; above 0.
    pub rank_constant: f64,
    /// One for each question, above 0.
    pub weights: Vec<f64>,
    /// Most rows to return.
    pub limit: usize,
    /// Rows to skip first; `offset + limit` is at most 10,000.
    pub offset: usize,
}

/// All that one request asks of one state.
#[derive(Debug, Clone, PartialEq)]
pub struct Questions {
    /// 1 to 16 questions.
    pub asks: Vec<Ask>,
    /// Whether their rows become one list; all questions are for rows then.
    pub fuse: Option<Fuse>,
    /// Whether to tell how they would be answered, instead of answering.
    pub explain: bool,
    /// Freshness; where `as_of` is given, of what is known of the namespace's newest state.
    pub consistency: Consistency,
    /// The state that is asked; `None` for one as fresh as `consistency` says.
    pub as_of: Option<AsOf>,
    /// Whether an answer may leave out segments that cannot be read, and then says so.
    pub allow_degraded: bool,
    /// How segments are searched, where it can be so; `None` for what costs least.
    pub plan: Option<Plan>,
}

impl ScoreExpr {
    /// The clauses directly below.
    fn children(&self) -> &[ScoreExpr] {
        match self {
            Self::Filter(_) | Self::Sparse { .. } | Self::Attribute(_) | Self::Dist { .. } => &[],
            Self::Sum(clauses) | Self::Max { clauses, .. } => clauses,
            Self::Product { clause, .. }
            | Self::Saturate { clause, .. }
            | Self::Decay { clause, .. } => std::slice::from_ref(clause),
        }
    }

    /// How many clauses it has, itself included.
    fn clauses(&self) -> usize {
        let below = self.children().iter().map(Self::clauses);
        1 + below.sum::<usize>()
    }

    /// How many patterns its filters have.
    fn patterns(&self) -> usize {
        match self {
            Self::Filter(filter) => filter.patterns(),
            other => other.children().iter().map(Self::patterns).sum(),
        }
    }
}

impl Ask {
    /// Whether it is for a page of a longer answer.
    pub fn paging(&self) -> &Paging {
        match self {
            Self::Rows(query) => &query.paging,
            Self::Totals(asked) => &asked.paging,
            Self::Recall(_) => &Paging::Off,
        }
    }

    /// The scores it ranks by or computes.
    fn scores(&self) -> Vec<&ScoreExpr> {
        let Self::Rows(query) = self else {
            return Vec::new();
        };
        let mut scores = Vec::new();
        if let RankBy::Score(score) = &query.rank_by {
            scores.push(score);
        }
        scores.extend(
            query
                .compute
                .iter()
                .filter_map(|(_, compute)| match compute {
                    Compute::Score(score) => Some(score),
                    Compute::VectorDist { .. } => None,
                }),
        );
        scores
    }

    /// How many clauses its scores have.
    pub fn clauses(&self) -> usize {
        self.scores().into_iter().map(ScoreExpr::clauses).sum()
    }

    /// How many patterns it asks to be matched.
    pub fn patterns(&self) -> usize {
        let filter = match self {
            Self::Rows(query) => &query.filter,
            Self::Totals(asked) => &asked.filter,
            Self::Recall(asked) => &asked.filter,
        };
        let scores = self.scores().into_iter().map(ScoreExpr::patterns);
        filter.as_ref().map_or(0, Filter::patterns) + scores.sum::<usize>()
    }
}

impl From<Query> for Questions {
    fn from(query: Query) -> Self {
        Self {
            consistency: query.consistency,
            as_of: None,
            allow_degraded: query.allow_degraded,
            asks: vec![Ask::Rows(query)],
            fuse: None,
            explain: false,
            plan: None,
        }
    }
}
