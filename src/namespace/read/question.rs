//! The questions of a request and what a schema makes of them.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::recall::BoundRecall;
use super::segment::columns_of;
use crate::error::{Error, Result};
use crate::filter::Columns;
use crate::lsm::indexing;
use crate::namespace::handle::View;
use crate::query::order::OrderBy;
use crate::query::request::{Ask, Questions};
use crate::query::{self, BoundQuery, BoundRank, BoundTotals};
use crate::types::{AttrId, NamespaceSchema, limits};

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

    /// The attributes whose indexes it is answered from, where segments have them: of its filter, of the keys of its
    /// order and of its groups. Sums, scores and limits of alike rows read what passes the filter in any case.
    fn indexed_attributes(&self) -> BTreeSet<AttrId> {
        let (filter, mut needed) = match self {
            Self::Rows(query) => {
                let mut columns = Columns::default();
                if let BoundRank::Order(order) = &query.rank
                    && order.per.is_none()
                    && let OrderBy::Keys(keys) = &order.by
                {
                    keys.iter().for_each(|key| columns.add(key.target));
                }
                (query.filter.as_ref(), columns.attrs)
            }
            Self::Totals(totals) => (totals.filter.as_ref(), totals.group_attributes().collect()),
            Self::Recall(asked) => (asked.filter(), BTreeSet::new()),
        };
        needed.extend(columns_of(filter).attrs);
        needed
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

/// Permits each question of a request to read what it needs of segments that lack an index for it.
///
/// Errors: `Unavailable` with code `index_building`, of the first that may not.
pub(super) fn permit(bound: &[Bound], view: &View) -> Result<()> {
    if !view.lacks_index() {
        return Ok(());
    }
    let permit =
        |bound: &Bound| indexing::permit(&view.state, &view.schema, &bound.indexed_attributes());
    bound.iter().try_for_each(permit)
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
    let clauses = request.asks.iter().map(Ask::clauses).sum();
    let most = limits::REQUEST_CLAUSES_MAX;
    within("clauses of scores in one request", 0, most, clauses)?;
    if let Some(fuse) = &request.fuse {
        query::fuse::check(fuse, request.asks.len())?;
        if !request.asks.iter().all(|ask| matches!(ask, Ask::Rows(_))) {
            return Err(Error::invalid("`rerank_by`: `aggregate_by` gives no rows"));
        }
    }
    if request.asks.len() > 1 && request.asks.iter().any(|ask| ask.paging().is_on()) {
        return Err(Error::invalid(
            "`cursor` is for one query: not expected in `queries`",
        ));
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

#[cfg(test)]
mod tests {
    use super::bind_all;
    use crate::query::request::{
        Compute, Consistency, Include, Paging, Query, Questions, RankBy, ScoreExpr,
    };
    use crate::types::{AttributeType, NamespaceSchema, ScalarType};

    /// A query that computes sums of so many clauses, the sums included.
    fn computing(clauses: &[usize]) -> Query {
        let sum = |clauses: &usize| {
            let one = ScoreExpr::Attribute("u".to_owned());
            Compute::Score(ScoreExpr::Sum(vec![one; clauses - 1]))
        };
        let sums = clauses.iter().map(sum);
        Query {
            rank_by: RankBy::Id,
            limit: 1,
            per: None,
            offset: 0,
            paging: Paging::Off,
            filter: None,
            include: Include::Nothing,
            compute: (0..).map(|n: u32| format!("c{n}")).zip(sums).collect(),
            distance_metric: None,
            consistency: Consistency::Strong,
            allow_degraded: false,
        }
    }

    #[test]
    fn clauses_of_all_scores_of_a_request_are_bounded() {
        let mut schema = NamespaceSchema::default();
        let kind = AttributeType::Scalar(ScalarType::Uint);
        schema.add("u", kind, true).expect("legal");
        let most = Questions::from(computing(&[256; 4]));
        assert_eq!(bind_all(&most, &schema).expect("binds").len(), 1);
        let found = bind_all(&Questions::from(computing(&[205; 5])), &schema);
        let error = found.err().expect("refused");
        let expected = "clauses of scores in one request: expected 0 to 1024, found 1025";
        assert!(error.message().contains(expected), "{error}");
    }
}
