//! Gives a query its meaning by asking the schema: every name found, every value typed, every rule kept.

use std::sync::Arc;

use super::compute::{self, BoundCompute};
use super::order::{self, BoundKey, BoundOrder, BoundPer, OrderBy};
use super::page::{self, PageKey};
use super::request::{Include, LimitPer, Paging, Query, RankBy};
use super::score::BoundScore;
use crate::error::{Error, Result};
use crate::filter::{self, BoundFilter, Target};
use crate::rows::raw;
use crate::types::document::RawValue;
use crate::types::{AttrId, AttributeType, DistanceMetric, NamespaceSchema, limits};

/// How a bound query ranks.
#[derive(Debug, Clone, PartialEq)]
pub enum BoundRank {
    /// Nearest vectors, ascending distance, then by id.
    Vector {
        /// The vector attribute.
        attribute: AttrId,
        /// The namespace's metric.
        metric: DistanceMetric,
        /// The query, finite, of the attribute's dimensions.
        vector: Vec<f32>,
        /// Whether exactness was asked for.
        exact: bool,
    },
    /// By attributes or a score, then by id.
    Order(Arc<BoundOrder>),
}

/// A query whose every part has been checked against a schema.
#[derive(Debug, Clone, PartialEq)]
pub struct BoundQuery {
    /// The ranking.
    pub rank: BoundRank,
    /// Most rows to return, 1 to 10,000.
    pub limit: usize,
    /// Rows to skip first; `offset + limit` is at most 10,000.
    pub offset: usize,
    /// Whether the rows are a page, so that the answer says where the next one begins.
    pub paged: bool,
    /// Whether it is not the first page.
    pub continues: bool,
    /// The filter; of a page what comes before it is left out by it.
    pub filter: Option<BoundFilter>,
    /// Attributes to return, sorted by name.
    pub include: Vec<(Arc<str>, AttrId)>,
    /// Values to compute, with their names in the answer.
    pub compute: Vec<(Arc<str>, BoundCompute)>,
}

impl BoundQuery {
    /// Whether a row takes no more than a distance or a few keys: neither filter nor score.
    pub fn costs_little_a_row(&self) -> bool {
        let scores = match &self.rank {
            BoundRank::Vector { .. } => false,
            BoundRank::Order(order) => matches!(order.by, OrderBy::Score(_)),
        };
        self.filter.is_none() && !scores
    }

    /// Whether rows come back with nothing but ids and what ranks them.
    pub fn is_bare(&self) -> bool {
        self.include.is_empty() && self.compute.is_empty()
    }

    /// How many rows must be found before the first `offset` are skipped: of a page one more, which tells whether it
    /// is the last.
    pub fn wanted(&self) -> usize {
        self.offset + self.limit + usize::from(self.paged)
    }
}

/// Binds a query. Errors: `InvalidRequest` for everything schema, limits or rules forbid.
pub fn bind(query: &Query, schema: &NamespaceSchema) -> Result<BoundQuery> {
    check_limits(query)?;
    let filter = query
        .filter
        .as_ref()
        .map(|filter| filter::bind(filter, schema))
        .transpose()?;
    let rank = bind_rank(query, schema)?;
    let filter = match query.paging.is_on() {
        true => page::narrow(filter, &query.paging, &page_keys(query, &rank, schema)?)?,
        false => filter,
    };
    Ok(BoundQuery {
        rank,
        limit: query.limit,
        offset: query.offset,
        paged: query.paging.is_on(),
        continues: matches!(query.paging, Paging::After(_)),
        filter,
        include: bind_include(&query.include, schema)?,
        compute: compute::bind(query, schema)?,
    })
}

fn check_limits(query: &Query) -> Result<()> {
    let most = limits::QUERY_LIMIT_MAX;
    if !(1..=most).contains(&query.limit) {
        return Err(Error::invalid(format!(
            "`limit`: expected 1 to {most}, found {}",
            query.limit
        )));
    }
    if query.offset.saturating_add(query.limit) > most {
        return Err(Error::invalid(format!(
            "`offset` + `limit`: expected at most {most}, found {} + {}",
            query.offset, query.limit
        )));
    }
    Ok(())
}

/// The keys that pages follow. Errors: `InvalidRequest` for an order that has no pages.
fn page_keys(query: &Query, rank: &BoundRank, schema: &NamespaceSchema) -> Result<Vec<PageKey>> {
    let BoundRank::Order(order) = rank else {
        return Err(no_pages("a ranking by vector"));
    };
    let OrderBy::Keys(keys) = &order.by else {
        return Err(no_pages("a score"));
    };
    if order.per.is_some() {
        return Err(no_pages("`limit.per`"));
    }
    if query.offset > 0 {
        return Err(no_pages("`offset`"));
    }
    let by_id = BoundKey {
        target: Target::Id,
        descending: false,
    };
    let keys = keys.iter().chain([&by_id]);
    keys.map(|key| PageKey::of(key.target, key.descending, schema))
        .collect()
}

fn no_pages(what: &str) -> Error {
    Error::invalid(format!(
        "`cursor` needs an order by attributes or ids: not expected with {what}"
    ))
}

fn bind_rank(query: &Query, schema: &NamespaceSchema) -> Result<BoundRank> {
    let by_vector = matches!(query.rank_by, RankBy::Vector { .. });
    if query.distance_metric.is_some() && !by_vector {
        return Err(Error::invalid(
            "`distance_metric` needs a ranking by vector",
        ));
    }
    let per = query.per.as_ref().map(|per| bind_per(per, query, schema));
    let per = per.transpose()?;
    let by = match &query.rank_by {
        RankBy::Id => OrderBy::Keys(Vec::new()),
        RankBy::Order(keys) => OrderBy::Keys(order::bind_order(keys, schema)?),
        RankBy::Score(expr) => OrderBy::Score(BoundScore::bind(expr, schema)?),
        RankBy::Vector {
            attribute,
            vector,
            exact,
        } => {
            if *exact && query.filter.is_none() {
                return Err(Error::invalid("`kNN` needs `filters`"));
            }
            if per.is_some() {
                return Err(Error::invalid(
                    "`limit.per` needs an order by attributes or a score, not by a vector",
                ));
            }
            let (attribute, vector) = bind_vector(schema, attribute, vector)?;
            return Ok(BoundRank::Vector {
                attribute,
                metric: bind_metric(query.distance_metric, schema)?,
                vector,
                exact: *exact,
            });
        }
    };
    Ok(BoundRank::Order(Arc::new(BoundOrder { by, per })))
}

fn bind_per(per: &LimitPer, query: &Query, schema: &NamespaceSchema) -> Result<BoundPer> {
    let bound = BoundPer::bind(per, schema)?;
    for name in &per.attributes {
        let comes_back = match &query.include {
            Include::Nothing => false,
            Include::Everything => true,
            Include::Only(names) => names.contains(name),
            Include::Except(names) => !names.contains(name),
        };
        if !comes_back {
            return Err(Error::invalid(format!(
                "`limit.per`: attribute `{name}` must be among those that come back"
            )));
        }
    }
    Ok(bound)
}

/// Finds a vector attribute and checks a query vector for it.
pub fn bind_vector(
    schema: &NamespaceSchema,
    name: &str,
    raw_vector: &RawValue,
) -> Result<(AttrId, Vec<f32>)> {
    let attribute = schema.get(name).ok_or_else(|| order::not_found(name))?;
    let AttributeType::Vector { dims, .. } = attribute.kind else {
        return Err(Error::invalid(format!(
            "cannot rank by attribute `{name}`: expected a vector, found {}",
            attribute.kind
        )));
    };
    let mut vector = Vec::new();
    raw::vector(raw_vector, &mut vector).map_err(|mismatch| {
        Error::invalid(format!(
            "query vector for attribute `{name}`: {}",
            mismatch.describe()
        ))
    })?;
    if vector.len() != dims as usize {
        return Err(Error::invalid(format!(
            "query vector for attribute `{name}`: expected {dims} dimensions, found {}",
            vector.len()
        )));
    }
    Ok((attribute.id, vector))
}

/// The namespace's metric, which one that is asked for must equal.
pub(super) fn bind_metric(
    asked: Option<DistanceMetric>,
    schema: &NamespaceSchema,
) -> Result<DistanceMetric> {
    let metric = schema
        .metric
        .ok_or_else(|| Error::internal("a vector attribute without a distance metric"))?;
    match asked {
        Some(asked) if asked != metric => Err(Error::invalid(format!(
            "`distance_metric`: expected {}, found {}",
            metric.name(),
            asked.name()
        ))),
        _ => Ok(metric),
    }
}

/// Resolves which attributes come back, sorted by name. Naming `id` changes nothing: it always does.
fn bind_include(include: &Include, schema: &NamespaceSchema) -> Result<Vec<(Arc<str>, AttrId)>> {
    let all = || {
        schema
            .attributes
            .iter()
            .map(|(name, attribute)| (Arc::from(name.as_str()), attribute.id))
    };
    match include {
        Include::Nothing => Ok(Vec::new()),
        Include::Everything => Ok(all().collect()),
        Include::Except(names) if names.iter().any(|name| name == "id") => Err(Error::invalid(
            "`exclude_attributes`: `id` always comes back",
        )),
        Include::Except(names) => Ok(all()
            .filter(|(name, _)| names.iter().all(|other| **other != **name))
            .collect()),
        Include::Only(names) => {
            let mut found = names
                .iter()
                .filter(|name| *name != "id")
                .map(|name| {
                    let attribute = schema.get(name).ok_or_else(|| order::not_found(name))?;
                    Ok((Arc::from(name.as_str()), attribute.id))
                })
                .collect::<Result<Vec<(Arc<str>, AttrId)>>>()?;
            found.sort();
            found.dedup();
            Ok(found)
        }
    }
}

#[cfg(test)]
mod tests;
