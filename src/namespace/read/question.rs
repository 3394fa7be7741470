//! The questions of a request and what a schema makes of them.

use std::sync::Arc;

use super::recall::BoundRecall;
use crate::error::{Error, Result};
use crate::query::order::OrderBy;
use crate::query::request::{Ask, Questions};
use crate::query::{self, BoundQuery, BoundRank, BoundTotals};
use crate::types::{NamespaceSchema, limits};

/// A question that the schema of a view has given its meaning.
pub(super) enum Bound {
    Rows(Arc<BoundQuery>),
    Totals(Arc<BoundTotals>),
    Recall(Arc<BoundRecall>),
}

impl Bound {
    fn of(ask: &Ask, schema: &NamespaceSchema) -> Result<Self> {
        Ok(match ask {
            Ask::Rows(query) => Self::Rows(Arc::new(query::bind(query, schema)?)),
            Ask::Totals(asked) => Self::Totals(Arc::new(BoundTotals::bind(asked, schema)?)),
            Ask::Recall(asked) => Self::Recall(Arc::new(BoundRecall::bind(asked, schema)?)),
        })
    }

    /// A word for it, for metrics.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Rows(query) => match &query.rank {
                BoundRank::Vector { .. } => "vector",
                BoundRank::Order(order) => match order.by {
                    OrderBy::Keys(_) => "order",
                    OrderBy::Score(_) => "score",
                },
            },
            Self::Totals(_) => "aggregate",
            Self::Recall(_) => "recall",
        }
    }
}

/// Gives all questions of a request their meaning.
///
/// Errors: `InvalidRequest` for none or too many, for more patterns together than one filter may have, and for
/// what each is refused for.
pub(super) fn bind_all(request: &Questions, schema: &NamespaceSchema) -> Result<Vec<Bound>> {
    let within = |what: &str, least: usize, most: usize, found: usize| match found {
        found if (least..=most).contains(&found) => Ok(()),
        _ => Err(Error::invalid(format!(
            "{what}: expected {least} to {most}, found {found}"
        ))),
    };
    within("`queries`", 1, limits::SUBQUERIES_MAX, request.asks.len())?;
    let patterns = request.asks.iter().map(Ask::patterns).sum();
    let most = limits::FILTER_PATTERNS_MAX;
    within("patterns of one request", 0, most, patterns)?;
    if let Some(fuse) = &request.fuse {
        query::fuse::check(fuse, request.asks.len())?;
        if !request.asks.iter().all(|ask| matches!(ask, Ask::Rows(_))) {
            return Err(Error::invalid("`rerank_by`: `aggregate_by` gives no rows"));
        }
    }
    let bound = request.asks.iter().enumerate().map(|(at, ask)| {
        let bound = Bound::of(ask, schema);
        bound.map_err(|error| match request.asks.len() {
            1 => error,
            _ => error.within(&format!("queries[{at}]")),
        })
    });
    bound.collect()
}
