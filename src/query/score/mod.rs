//! Scores of rows: expressions over attributes and filters, evaluated a batch at a time.
//!
//! A row has a score, and is *found* or not: a filter finds what it matches, a sparse vector what it has a product
//! above 0 with, an attribute finds every row, a sum or
//! a maximum what one of its clauses finds; a number in a maximum finds none. Rows not found are in no answer.
//! A missing value scores 0 whatever is made of it, but within a `Max` with a number it counts as that number.

mod bind;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use arrow::array::RecordBatch;

use super::request::Curve;
use crate::filter::{self, BoundFilter, Columns, RowMask};
use crate::rows::{self, ScalarColumn, SparseColumn, sparse};
use crate::types::AttrId;

/// A value that a distance is measured from, of the attribute's type.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Origin {
    /// Of integers and milliseconds.
    Integer(i128),
    Float(f64),
}

#[derive(Debug, Clone, PartialEq)]
enum Node {
    Filter(BoundFilter),
    /// The query, ascending by name.
    Sparse(AttrId, Arc<[sparse::Entry]>),
    Attribute(AttrId),
    Dist(AttrId, Origin),
    Sum(Vec<Node>),
    Max(Vec<Node>, Option<f64>),
    Product(f64, Box<Node>),
    Saturate(Box<Node>, Curve),
    Decay(Box<Node>, Curve),
}

/// A rank expression that a schema has given its meaning.
#[derive(Debug, Clone, PartialEq)]
pub struct BoundScore {
    root: Node,
}

/// The scores of a batch's rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Scores {
    /// One a row, finite and not negative.
    pub values: Vec<f64>,
    /// Which rows are found.
    pub found: RowMask,
}

/// Scores on their way: a missing one is NaN, which nothing else ever is.
struct Column {
    values: Vec<f64>,
    found: RowMask,
}

impl BoundScore {
    /// Adds the columns that it looks at.
    pub fn columns(&self, into: &mut Columns) {
        self.root.columns(into);
    }

    /// The attribute and the query, ascending by name, of a score that is one product of sparse vectors and nothing else:
    /// as [`SparseColumn::dot`] makes it, where that is above 0.
    pub fn sparse(&self) -> Option<(AttrId, &Arc<[sparse::Entry]>)> {
        match &self.root {
            Node::Sparse(attr, query) => Some((*attr, query)),
            _ => None,
        }
    }

    /// Scores every row of a batch; a column that it does not have is missing everywhere.
    pub fn eval(&self, batch: &RecordBatch) -> Scores {
        let Column { mut values, found } = self.root.eval(batch);
        for value in &mut values {
            // An overflow stays a number that JSON can hold.
            *value = if value.is_nan() {
                0.0
            } else {
                value.min(f64::MAX)
            };
        }
        Scores { values, found }
    }
}

impl Node {
    fn columns(&self, into: &mut Columns) {
        match self {
            Self::Filter(filter) => filter.columns(into),
            Self::Sparse(attr, _) | Self::Attribute(attr) | Self::Dist(attr, _) => {
                into.attrs.insert(*attr);
            }
            Self::Sum(clauses) | Self::Max(clauses, _) => {
                clauses.iter().for_each(|clause| clause.columns(into));
            }
            Self::Product(_, clause) | Self::Saturate(clause, _) | Self::Decay(clause, _) => {
                clause.columns(into);
            }
        }
    }

    /// Whether it looks at values of attributes, so that a score of 0 is one like any other.
    fn is_of_values(&self) -> bool {
        match self {
            Self::Filter(_) | Self::Sparse(..) => false,
            Self::Attribute(_) | Self::Dist(..) => true,
            Self::Sum(clauses) | Self::Max(clauses, _) => clauses.iter().any(Self::is_of_values),
            Self::Product(_, clause) | Self::Saturate(clause, _) | Self::Decay(clause, _) => {
                clause.is_of_values()
            }
        }
    }

    fn eval(&self, batch: &RecordBatch) -> Column {
        let n_rows = batch.num_rows();
        match self {
            Self::Filter(filter) => {
                let found = filter::eval(filter, batch);
                let mut values = vec![0.0; n_rows];
                found.iter().for_each(|row| values[row] = 1.0);
                Column { values, found }
            }
            Self::Sparse(attr, query) => products(batch, *attr, query),
            Self::Attribute(attr) => Column {
                values: numbers(batch, *attr, |value| value as f64, |value| value),
                found: RowMask::all(n_rows),
            },
            Self::Dist(attr, origin) => Column {
                values: distances(batch, *attr, *origin),
                found: RowMask::all(n_rows),
            },
            // A missing one adds nothing; where all are, so is the sum.
            Self::Sum(clauses) => fold(clauses, batch, None, |sum, more| match sum.is_nan() {
                true => more,
                false => sum + if more.is_nan() { 0.0 } else { more },
            }),
            // `max` prefers a number over NaN.
            Self::Max(clauses, floor) => fold(clauses, batch, *floor, f64::max),
            Self::Product(weight, clause) => {
                let mut column = clause.eval(batch);
                if *weight == 0.0 && !clause.is_of_values() {
                    column.found = RowMask::none(n_rows);
                }
                column.map(|value| match *weight == 0.0 {
                    true => 0.0,
                    false => weight * value,
                })
            }
            Self::Saturate(clause, curve) => clause.eval(batch).map(|value| {
                let ratio = curve.midpoint / value.max(0.0);
                match value.is_nan() {
                    true => value,
                    false => 1.0 / (1.0 + ratio.powf(curve.exponent)),
                }
            }),
            Self::Decay(clause, curve) => clause
                .eval(batch)
                .map(|value| 1.0 / (1.0 + (value / curve.midpoint).powf(curve.exponent))),
        }
    }
}

impl Column {
    fn map(mut self, each: impl Fn(f64) -> f64) -> Self {
        self.values
            .iter_mut()
            .for_each(|value| *value = each(*value));
        self
    }
}

fn fold(
    clauses: &[Node],
    batch: &RecordBatch,
    first: Option<f64>,
    join: impl Fn(f64, f64) -> f64,
) -> Column {
    let mut all = Column {
        values: vec![first.unwrap_or(f64::NAN); batch.num_rows()],
        found: RowMask::none(batch.num_rows()),
    };
    for clause in clauses {
        let column = clause.eval(batch);
        all.found.or(&column.found);
        for (value, more) in all.values.iter_mut().zip(column.values) {
            *value = join(*value, more);
        }
    }
    all
}

/// Dot products with a sparse vector; what is not above 0 is not found, so that no score is negative.
fn products(batch: &RecordBatch, attr: AttrId, query: &[sparse::Entry]) -> Column {
    let n_rows = batch.num_rows();
    let column = rows::column(batch, attr).and_then(|column| SparseColumn::of(column.as_ref()));
    let product = |row: usize| {
        let column = column.filter(|column| !column.is_null(row));
        column.map_or(0.0, |column| column.dot(row, query).max(0.0))
    };
    let values: Vec<f64> = (0..n_rows).map(product).collect();
    let found = RowMask::from_fn(n_rows, |row| values[row] > 0.0);
    Column { values, found }
}

fn distances(batch: &RecordBatch, attr: AttrId, origin: Origin) -> Vec<f64> {
    match origin {
        Origin::Integer(origin) => numbers(
            batch,
            attr,
            |value| (value - origin).unsigned_abs() as f64,
            |value| (value - origin as f64).abs(),
        ),
        Origin::Float(origin) => numbers(
            batch,
            attr,
            |value| (value as f64 - origin).abs(),
            |value| (value - origin).abs(),
        ),
    }
}

/// What is made of each value of a numeric column; NaN where it is missing.
fn numbers(
    batch: &RecordBatch,
    attr: AttrId,
    of_integer: impl Fn(i128) -> f64,
    of_float: impl Fn(f64) -> f64,
) -> Vec<f64> {
    let n_rows = batch.num_rows();
    let column = rows::column(batch, attr).and_then(|column| ScalarColumn::of(column.as_ref()));
    let value = |row: usize| match column {
        Some(ScalarColumn::Int(array)) => of_integer(i128::from(array.value(row))),
        Some(ScalarColumn::Uint(array)) => of_integer(i128::from(array.value(row))),
        Some(ScalarColumn::Datetime(array)) => of_integer(i128::from(array.value(row))),
        Some(ScalarColumn::Float(array)) => of_float(array.value(row)),
        // Binding lets no other type through.
        _ => f64::NAN,
    };
    let is_missing = |row: usize| column.is_none_or(|column| column.array().is_null(row));
    (0..n_rows)
        .map(|row| match is_missing(row) {
            true => f64::NAN,
            false => value(row),
        })
        .collect()
}
