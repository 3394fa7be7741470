//! Gives a query its meaning by asking the schema: every name found, every value typed, every rule kept.

use std::sync::Arc;

use super::order::{self, BoundKey};
use super::request::{Consistency, Include, Query, RankBy};
use crate::error::{Error, Result};
use crate::filter::{self, BoundFilter};
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
    /// By these keys, then by id; without keys by id alone.
    Order(Vec<BoundKey>),
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
    /// The filter.
    pub filter: Option<BoundFilter>,
    /// Attributes to return, sorted by name.
    pub include: Vec<(Arc<str>, AttrId)>,
    /// Freshness.
    pub consistency: Consistency,
}

impl BoundQuery {
    /// How many rows must be found before the first `offset` are skipped.
    pub fn wanted(&self) -> usize {
        self.offset + self.limit
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
    Ok(BoundQuery {
        rank: bind_rank(query, schema)?,
        limit: query.limit,
        offset: query.offset,
        filter,
        include: bind_include(&query.include, schema)?,
        consistency: query.consistency,
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

fn bind_rank(query: &Query, schema: &NamespaceSchema) -> Result<BoundRank> {
    if let (Some(_), RankBy::Order(_) | RankBy::Id) = (query.distance_metric, &query.rank_by) {
        return Err(Error::invalid(
            "`distance_metric` needs a ranking by vector",
        ));
    }
    match &query.rank_by {
        RankBy::Id => Ok(BoundRank::Order(Vec::new())),
        RankBy::Order(keys) => Ok(BoundRank::Order(order::bind_order(keys, schema)?)),
        RankBy::Vector {
            attribute,
            vector,
            exact,
        } => {
            if *exact && query.filter.is_none() {
                return Err(Error::invalid("`kNN` needs `filters`"));
            }
            bind_vector(query, schema, attribute, vector, *exact)
        }
    }
}

fn bind_vector(
    query: &Query,
    schema: &NamespaceSchema,
    name: &str,
    raw_vector: &RawValue,
    exact: bool,
) -> Result<BoundRank> {
    let attribute = schema.get(name).ok_or_else(|| order::not_found(name))?;
    let AttributeType::Vector { dims } = attribute.kind else {
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
    let metric = schema.metric.ok_or_else(|| {
        Error::internal(format!(
            "vector attribute `{name}` without a distance metric"
        ))
    })?;
    match query.distance_metric {
        Some(asked) if asked != metric => Err(Error::invalid(format!(
            "`distance_metric`: expected {}, found {}",
            metric.name(),
            asked.name()
        ))),
        _ => Ok(BoundRank::Vector {
            attribute: attribute.id,
            metric,
            vector,
            exact,
        }),
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
