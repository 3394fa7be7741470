//! Gives a rank expression its meaning by asking the schema.

use super::{BoundScore, Node, Origin};
use crate::error::{Error, Result};
use crate::filter;
use crate::query::order::not_found;
use crate::query::request::{Curve, ScoreExpr};
use crate::rows::raw;
use crate::types::document::RawValue;
use crate::types::{AttrId, AttributeType, NamespaceSchema, ScalarType, Value};

/// What an expression's values are, as far as rules ask.
#[derive(Debug, Clone, Copy)]
struct Nature {
    /// Whether they can be below 0.
    signed: bool,
    /// Whether they are milliseconds.
    is_time: bool,
}

impl BoundScore {
    /// Binds a rank expression.
    ///
    /// Errors: `InvalidRequest` for an attribute that is unknown or not numeric, for scores that could be negative,
    /// for an origin of another type, for a duration that is not of times, and for what a filter refuses.
    pub fn bind(expr: &ScoreExpr, schema: &NamespaceSchema) -> Result<Self> {
        let (root, nature) = bind(expr, schema)?;
        not_negative(nature, "rank_by")?;
        Ok(Self { root })
    }
}

/// Recursion is as deep as the expression, which parsing bounds.
fn bind(expr: &ScoreExpr, schema: &NamespaceSchema) -> Result<(Node, Nature)> {
    const PLAIN: Nature = Nature {
        signed: false,
        is_time: false,
    };
    Ok(match expr {
        ScoreExpr::Filter(filter) => (Node::Filter(filter::bind(filter, schema)?), PLAIN),
        ScoreExpr::Sparse { attribute, vector } => (bind_sparse(attribute, vector, schema)?, PLAIN),
        ScoreExpr::Attribute(name) => {
            let (attr, kind) = numeric(name, schema)?;
            let nature = Nature {
                signed: kind != ScalarType::Uint,
                is_time: kind == ScalarType::Datetime,
            };
            (Node::Attribute(attr), nature)
        }
        ScoreExpr::Dist { attribute, origin } => {
            let (attr, kind) = numeric(attribute, schema)?;
            let nature = Nature {
                signed: false,
                is_time: kind == ScalarType::Datetime,
            };
            (
                Node::Dist(attr, bind_origin(attribute, kind, origin)?),
                nature,
            )
        }
        ScoreExpr::Sum(clauses) => {
            let (clauses, nature) = bind_all(clauses, schema)?;
            not_negative(nature, "Sum")?;
            (Node::Sum(clauses), nature)
        }
        ScoreExpr::Max { clauses, floor } => {
            let (clauses, mut nature) = bind_all(clauses, schema)?;
            nature.signed &= floor.is_none();
            (Node::Max(clauses, *floor), nature)
        }
        ScoreExpr::Product { weight, clause } => {
            let (clause, nature) = bind(clause, schema)?;
            not_negative(nature, "Product")?;
            (Node::Product(*weight, Box::new(clause)), PLAIN)
        }
        ScoreExpr::Saturate { clause, curve } => {
            let (clause, nature) = bind(clause, schema)?;
            check_midpoint(*curve, nature, "Saturate")?;
            (Node::Saturate(Box::new(clause), *curve), PLAIN)
        }
        ScoreExpr::Decay { clause, curve } => {
            let (clause, nature) = bind(clause, schema)?;
            not_negative(nature, "Decay")?;
            check_midpoint(*curve, nature, "Decay")?;
            (Node::Decay(Box::new(clause), *curve), PLAIN)
        }
    })
}

fn bind_sparse(name: &str, vector: &RawValue, schema: &NamespaceSchema) -> Result<Node> {
    let attribute = schema.get(name).ok_or_else(|| not_found(name))?;
    if attribute.kind != AttributeType::Sparse {
        return Err(Error::invalid(format!(
            "cannot rank by attribute `{name}`: expected a sparse vector, found {}",
            attribute.kind
        )));
    }
    let query = raw::sparse_query(vector).map_err(|mismatch| {
        Error::invalid(format!(
            "query vector for attribute `{name}`: {}",
            mismatch.describe()
        ))
    })?;
    Ok(Node::Sparse(attribute.id, query.into()))
}

fn bind_all(clauses: &[ScoreExpr], schema: &NamespaceSchema) -> Result<(Vec<Node>, Nature)> {
    let mut all = Nature {
        signed: false,
        is_time: !clauses.is_empty(),
    };
    let mut nodes = Vec::with_capacity(clauses.len());
    for clause in clauses {
        let (node, nature) = bind(clause, schema)?;
        all.signed |= nature.signed;
        all.is_time &= nature.is_time;
        nodes.push(node);
    }
    Ok((nodes, all))
}

fn not_negative(nature: Nature, what: &str) -> Result<()> {
    if !nature.signed {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "`{what}`: scores must not be negative: put attributes of type int, float or datetime into `Saturate` \
         or into `Max` with 0, as in [\"Max\", [0, [\"Attribute\", ...]]]"
    )))
}

fn check_midpoint(curve: Curve, nature: Nature, what: &str) -> Result<()> {
    match curve.is_duration && !nature.is_time {
        false => Ok(()),
        true => Err(Error::invalid(format!(
            "`{what}`: a midpoint that is a duration needs a datetime attribute"
        ))),
    }
}

fn numeric(name: &str, schema: &NamespaceSchema) -> Result<(AttrId, ScalarType)> {
    let refused = |kind: &str| {
        Error::invalid(format!(
            "cannot rank by attribute `{name}` of type {kind}: expected int, uint, float or datetime"
        ))
    };
    if name == "id" {
        return Err(refused("id"));
    }
    let attribute = schema.get(name).ok_or_else(|| not_found(name))?;
    match attribute.kind {
        AttributeType::Scalar(
            kind @ (ScalarType::Int | ScalarType::Uint | ScalarType::Float | ScalarType::Datetime),
        ) => Ok((attribute.id, kind)),
        other => Err(refused(&other.to_string())),
    }
}

fn bind_origin(name: &str, kind: ScalarType, origin: &RawValue) -> Result<Origin> {
    let value = raw::scalar(kind, origin).map_err(|mismatch| {
        Error::invalid(format!(
            "`Dist` from attribute `{name}`: {}",
            mismatch.describe()
        ))
    })?;
    Ok(match value {
        Value::Int(value) => Origin::Integer(i128::from(value)),
        Value::Uint(value) => Origin::Integer(i128::from(value)),
        Value::Datetime(time) => Origin::Integer(i128::from(time.0)),
        Value::Float(value) => Origin::Float(value),
        other => {
            return Err(Error::internal(format!(
                "the origin of `{name}` is no number: {other:?}"
            )));
        }
    })
}
