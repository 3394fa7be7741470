//! Filters that are right for a namespace, and tests of any attribute by any operator with any operand.

use serde_json::{Value, json};

use super::{Plan, scalar_value};
use crate::referee::model::Model;
use crate::referee::pattern;
use crate::referee::seed::Seed;
use crate::referee::value::{Kind, Scalar};

/// A filter nested at most so deep.
pub(super) fn filter(seed: &mut Seed, plan: &Plan, model: &Model, depth: usize) -> Value {
    let many = |seed: &mut Seed| -> Value {
        let len = seed.below(4);
        (0..len)
            .map(|_| filter(seed, plan, model, depth - 1))
            .collect()
    };
    match seed.below(if depth == 0 { 3 } else { 6 }) {
        0..=2 => leaf(seed, plan, model),
        3 => json!(["And", many(seed)]),
        4 => json!(["Or", many(seed)]),
        _ => json!(["Not", filter(seed, plan, model, depth - 1)]),
    }
}

pub(super) fn leaf(seed: &mut Seed, plan: &Plan, model: &Model) -> Value {
    let attributes: Vec<_> = model
        .attributes
        .iter()
        .filter(|(_, one)| one.filterable || one.regex || one.glob)
        .collect();
    if attributes.is_empty() || seed.once_in(8) {
        return of_id(seed, plan, model);
    }
    let (name, attribute) = seed.pick(&attributes);
    let is_text = matches!(
        attribute.kind,
        Kind::One(Scalar::Text) | Kind::List(Scalar::Text)
    );
    if attribute.regex && (!attribute.filterable && !attribute.glob || seed.once_in(3)) {
        let at = seed.below(pattern::REGEXES.len());
        return json!([name, "Regex", pattern::REGEXES[at].0]);
    }
    if is_text && (!attribute.filterable || seed.once_in(4)) {
        let op = seed.pick(&["Glob", "NotGlob", "IGlob", "NotIGlob"]);
        return json!([name, op, seed.pick(&pattern::GLOBS)]);
    }
    if seed.once_in(7) {
        return json!([name, seed.pick(&["Eq", "NotEq"]), null]);
    }
    match attribute.kind {
        Kind::One(scalar) => of_scalar(seed, name, |seed| scalar_value(seed, scalar)),
        Kind::List(scalar) => of_list(seed, name, |seed| scalar_value(seed, scalar)),
        _ => json!([
            name,
            seed.pick(&["Eq", "NotEq", "ContainsAny", "In", "NotIn"]),
            []
        ]),
    }
}

fn of_id(seed: &mut Seed, plan: &Plan, model: &Model) -> Value {
    if model.id_kind == Some(Scalar::Text) && seed.once_in(5) {
        return json!(["id", seed.pick(&["Glob", "NotGlob"]), "id-1*"]);
    }
    of_scalar(seed, "id", |seed| seed.pick(&plan.ids))
}

fn of_scalar(seed: &mut Seed, name: &str, value: impl Fn(&mut Seed) -> Value) -> Value {
    match seed.below(4) {
        0 => {
            let len = seed.below(5);
            let values: Value = (0..len).map(|_| value(seed)).collect();
            json!([name, seed.pick(&["In", "NotIn"]), values])
        }
        1 => json!([name, seed.pick(&["Eq", "NotEq"]), value(seed)]),
        _ => {
            let operand = match seed.below(8) {
                0 => Value::Null,
                _ => value(seed),
            };
            json!([name, seed.pick(&["Lt", "Lte", "Gt", "Gte"]), operand])
        }
    }
}

fn of_list(seed: &mut Seed, name: &str, value: impl Fn(&mut Seed) -> Value) -> Value {
    let many = |seed: &mut Seed| -> Value {
        let len = seed.below(4);
        (0..len).map(|_| value(seed)).collect()
    };
    match seed.below(5) {
        0 => json!([name, seed.pick(&["Eq", "NotEq"]), many(seed)]),
        1 => json!([name, seed.pick(&["In", "NotIn"]), many(seed)]),
        2 => {
            let op = seed.pick(&["Contains", "NotContains", "In"]);
            json!([name, op, value(seed)])
        }
        3 => {
            let op = seed.pick(&["ContainsAny", "NotContainsAny"]);
            json!([name, op, many(seed)])
        }
        _ => {
            let op = seed.pick(&["AnyLt", "AnyLte", "AnyGt", "AnyGte"]);
            json!([name, op, value(seed)])
        }
    }
}

const OPERATORS: [&str; 22] = [
    "Eq",
    "NotEq",
    "Lt",
    "Lte",
    "Gt",
    "Gte",
    "In",
    "NotIn",
    "Contains",
    "NotContains",
    "ContainsAny",
    "NotContainsAny",
    "AnyLt",
    "AnyLte",
    "AnyGt",
    "AnyGte",
    "Glob",
    "NotGlob",
    "IGlob",
    "NotIGlob",
    "Regex",
    "Equals",
];

/// A test that may be refused, inside a filter that is not.
pub(super) fn wild(seed: &mut Seed, plan: &Plan, model: &Model) -> Value {
    // Of lists that never had an element, the API does not say what they may be asked.
    let known = model.attributes.iter();
    let known = known.filter(|(_, one)| one.kind != Kind::ListOfUnknown);
    let known = known.map(|(name, _)| name.as_str());
    let names: Vec<&str> = known.chain(["id", "nope"]).collect();
    let operands = [
        json!(null),
        json!(true),
        json!(1),
        json!(-1),
        json!(1.5),
        json!(u64::MAX),
        json!(""),
        json!("^a"),
        json!("["),
        json!("2024-03-02"),
        json!("a0000000-0000-4000-8000-000000000001"),
        json!([]),
        json!([1]),
        json!([1.5, 1]),
        json!(["a"]),
        json!([1, "a"]),
        json!([true, null]),
        json!([null]),
        json!([[1]]),
        json!({}),
    ];
    let test = json!([
        seed.pick(&names),
        seed.pick(&OPERATORS),
        seed.pick(&operands)
    ]);
    match seed.below(4) {
        0 => json!(["Not", test]),
        1 => json!(["And", [leaf(seed, plan, model), test]]),
        2 => json!(["Or", [leaf(seed, plan, model), test]]),
        _ => test,
    }
}
