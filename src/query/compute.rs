//! Values computed for the rows of an answer: `compute_attributes`.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::RecordBatch;

use super::bind::{bind_metric, bind_vector};
use super::reply::Dist;
use super::request::{Compute, Query};
use super::score::BoundScore;
use crate::error::{Error, Result};
use crate::filter::Columns;
use crate::rows;
use crate::types::schema::validate_attribute_name;
use crate::types::{AttrId, DistanceMetric, NamespaceSchema, limits};
use crate::vector::PreparedQuery;

/// A value to compute, bound to a schema.
#[derive(Debug, Clone, PartialEq)]
pub enum BoundCompute {
    /// The distance of a vector attribute from a vector.
    VectorDist {
        /// The vector attribute.
        attribute: AttrId,
        /// The namespace's metric.
        metric: DistanceMetric,
        /// The vector, of the attribute's dimensions.
        vector: Vec<f32>,
    },
    /// A score.
    Score(BoundScore),
}

/// Binds what a query computes.
///
/// Errors: `InvalidRequest` for too many, for a name that is none, is there twice or is an attribute's, and for
/// what a vector or an expression is refused for.
pub(super) fn bind(
    query: &Query,
    schema: &NamespaceSchema,
) -> Result<Vec<(Arc<str>, BoundCompute)>> {
    if query.compute.len() > limits::COMPUTE_ATTRIBUTES_MAX {
        return Err(Error::invalid(format!(
            "`compute_attributes`: expected at most {}, found {}",
            limits::COMPUTE_ATTRIBUTES_MAX,
            query.compute.len()
        )));
    }
    let mut names = BTreeSet::new();
    let bound = query.compute.iter().map(|(name, compute)| {
        validate_attribute_name(name)?;
        if schema.get(name).is_some() || !names.insert(name) {
            return Err(Error::invalid(format!(
                "`compute_attributes`: `{name}` is the name of an attribute already"
            )));
        }
        let bound = match compute {
            Compute::Score(expr) => BoundCompute::Score(BoundScore::bind(expr, schema)?),
            Compute::VectorDist { attribute, vector } => {
                let (attribute, vector) = bind_vector(schema, attribute, vector)?;
                let metric = bind_metric(None, schema)?;
                BoundCompute::VectorDist {
                    attribute,
                    metric,
                    vector,
                }
            }
        };
        Ok((Arc::from(name.as_str()), bound))
    });
    bound.collect()
}

impl BoundCompute {
    /// Adds the columns that it looks at.
    pub fn columns(&self, into: &mut Columns) {
        match self {
            Self::VectorDist { attribute, .. } => {
                into.attrs.insert(*attribute);
            }
            Self::Score(score) => score.columns(into),
        }
    }

    /// Computes the value of every row of a batch; `None` for a row without the vector.
    pub fn eval(&self, batch: &RecordBatch) -> Vec<Option<Dist>> {
        match self {
            Self::Score(score) => {
                let scores = score.eval(batch);
                // A row that a clause does not find has its score all the same: 0, mostly.
                scores
                    .values
                    .into_iter()
                    .map(|value| Some(Dist::Score(value)))
                    .collect()
            }
            Self::VectorDist {
                attribute,
                metric,
                vector,
            } => {
                let Some(vectors) = rows::vectors(batch, *attribute) else {
                    return vec![None; batch.num_rows()];
                };
                let absent = rows::vector_nulls(batch, *attribute);
                let query = PreparedQuery::new(*metric, vector);
                let mut scratch = Vec::new();
                let distances = (0..vectors.len()).map(|row| {
                    let is_absent = absent.is_some_and(|nulls| nulls.is_null(row));
                    let vector = vectors.rows(row..row + 1, &mut scratch);
                    // Both are of the attribute's dimensions.
                    let distance = || Dist::Distance(query.distance(vector));
                    (!is_absent && vector.len() == query.dims()).then(distance)
                });
                distances.collect()
            }
        }
    }
}
