//! Rank expressions that are right for a namespace, and such that may not be.

use serde_json::{Value, json};

use super::filters::leaf;
use super::{Plan, scalar_value};
use crate::referee::model::Model;
use crate::referee::seed::Seed;
use crate::referee::value::{Kind, Scalar};

/// A score nested at most so deep.
pub(super) fn score(seed: &mut Seed, plan: &Plan, model: &Model, depth: usize) -> Value {
    let many = |seed: &mut Seed| -> Vec<Value> {
        let len = 1 + seed.below(3);
        (0..len)
            .map(|_| score(seed, plan, model, depth - 1))
            .collect()
    };
    match seed.below(if depth == 0 { 4 } else { 8 }) {
        0 => leaf(seed, plan, model),
        1 => sparse(seed, plan, model),
        2 | 3 => of_value(seed, plan, model),
        4 | 5 => json!(["Sum", many(seed)]),
        6 => {
            let mut parts = many(seed);
            if seed.below(2) == 0 {
                let at = seed.below(parts.len() + 1);
                parts.insert(at, json!(seed.pick(&[0.0, 0.5, 3.0])));
            }
            json!(["Max", parts])
        }
        _ => {
            let weight = json!(seed.pick(&[0.0, 0.5, 2.0, 10.0]));
            let clause = score(seed, plan, model, depth - 1);
            match seed.below(2) {
                0 => json!(["Product", weight, clause]),
                _ => json!(["Product", clause, weight]),
            }
        }
    }
}

/// The product with a sparse vector; a filter where there is none.
fn sparse(seed: &mut Seed, plan: &Plan, model: &Model) -> Value {
    let attributes = model.attributes.iter();
    let sparse = attributes.filter(|(_, one)| one.kind == Kind::Sparse);
    let sparse: Vec<&String> = sparse.map(|(name, _)| name).collect();
    if sparse.is_empty() {
        return leaf(seed, plan, model);
    }
    json!([seed.pick(&sparse), "SparseKNN", super::weights(seed)])
}

/// A score of an attribute's value; of a filter where there is no such attribute.
fn of_value(seed: &mut Seed, plan: &Plan, model: &Model) -> Value {
    let numeric: Vec<(&String, Scalar)> = model
        .attributes
        .iter()
        .filter_map(|(name, one)| match one.kind {
            Kind::One(kind @ (Scalar::Int | Scalar::Uint | Scalar::Float | Scalar::Time)) => {
                one.filterable.then_some((name, kind))
            }
            _ => None,
        })
        .collect();
    if numeric.is_empty() {
        return leaf(seed, plan, model);
    }
    let (name, kind) = seed.pick(&numeric);
    let value = json!(["Attribute", name]);
    let far = json!(["Dist", value, scalar_value(seed, kind)]);
    let midpoint = match kind {
        Scalar::Time if seed.below(2) == 0 => {
            json!(seed.pick(&["500ms", "30s", "5m", "6h", "7d", "520w"]))
        }
        _ => json!(seed.pick(&[0.5, 1.0, 2.0, 1e9])),
    };
    let curve = match seed.below(2) {
        0 => json!({"midpoint": midpoint}),
        _ => json!({"midpoint": midpoint, "exponent": seed.pick(&[0.5, 1.0, 2.0])}),
    };
    match seed.below(5) {
        0 => json!(["Saturate", value, curve]),
        1 => json!(["Decay", far, curve]),
        2 => json!(["Saturate", far, curve]),
        3 => far,
        _ if kind == Scalar::Uint => value,
        _ => json!(["Max", [0, value]]),
    }
}

/// Expressions that may be refused.
pub(super) fn wild(seed: &mut Seed, name: &str) -> Value {
    let value = json!(["Attribute", name]);
    seed.pick(&[
        json!(["Attribute", "nope"]),
        json!(["Product", -1, ["id", "NotEq", null]]),
        json!(["Product", 1, value]),
        json!(["Sum", [value]]),
        json!(["Max", [-1, value]]),
        json!(["Saturate", value, {"midpoint": 0}]),
        json!(["Saturate", ["id", "NotEq", null], {}]),
        json!(["Decay", value, {"midpoint": 1}]),
        json!(["Dist", value, "x"]),
        json!(["Saturate", ["id", "NotEq", null], {"midpoint": "6h"}]),
        json!(["Mean", [value]]),
        json!(["Sum", [["nope", "Eq", 1]]]),
        value,
    ])
}
