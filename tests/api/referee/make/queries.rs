//! Queries of a namespace.

use serde_json::{Value, json};

use super::Plan;
use super::faults;
use super::filters::filter;
use crate::referee::model::Model;
use crate::referee::seed::Seed;
use crate::referee::value::{Kind, Scalar};

/// A query; one in a dozen may have a fault.
pub(in crate::referee) fn query(seed: &mut Seed, plan: &Plan, model: &Model) -> Value {
    let mut body = json!({});
    let vectors = model.vectors();
    let filtered = seed.below(4) > 0;
    if filtered {
        let depth = seed.below(4);
        body["filters"] = filter(seed, plan, model, depth);
    }
    if seed.once_in(6) {
        totals(seed, model, &mut body);
        if model.exists && seed.once_in(8) {
            faults::spoil_totals(seed, plan, model, &mut body);
        }
        return body;
    }
    match seed.below(if vectors.is_empty() { 2 } else { 4 }) {
        0 if filtered => {}
        0 | 1 => body["rank_by"] = order(seed, model),
        _ => {
            let name = seed.pick(&vectors);
            let query = plan.vector(seed, model.attributes[&name].kind);
            let how = if filtered {
                seed.pick(&["ANN", "kNN"])
            } else {
                "ANN"
            };
            body["rank_by"] = json!([name, how, query]);
            if seed.once_in(3) {
                body["distance_metric"] = json!(model.metric);
            }
        }
    }
    let limit = seed.pick(&[1, 2, 3, 5, 10, 60, 1_000]);
    match seed.below(4) {
        0 => body["top_k"] = json!(limit),
        1 => body["limit"] = json!({"total": limit}),
        _ => body["limit"] = json!(limit),
    }
    if seed.once_in(3) {
        body["offset"] = json!(seed.pick(&[0, 1, 2, 7, 30, 9_000]));
    }
    attributes(seed, model, &mut body);
    if seed.once_in(4) {
        body["vector_encoding"] = json!(seed.pick(&["float", "base64"]));
    }
    match seed.below(8) {
        0 => body["consistency"] = json!({"level": "eventual"}),
        1 => body["consistency"] = json!({"level": "eventual", "max_staleness_seconds": 0}),
        2 => body["consistency"] = json!({"level": "strong"}),
        3 => body["consistency"] = json!({"level": "session", "min_seq": 1}),
        _ => {}
    }
    if model.exists && seed.once_in(12) {
        faults::spoil_query(seed, plan, model, &mut body);
    }
    body
}

fn order(seed: &mut Seed, model: &Model) -> Value {
    let attributes = model.attributes.iter();
    let orderable =
        attributes.filter(|(_, one)| one.filterable && matches!(one.kind, Kind::One(_)));
    let orderable = orderable.map(|(name, _)| name.as_str()).chain(["id"]);
    let orderable: Vec<&str> = orderable.collect();
    let key = |seed: &mut Seed| json!([seed.pick(&orderable), seed.pick(&["asc", "desc"])]);
    match seed.below(3) {
        0 => key(seed),
        _ => {
            let n_keys = 1 + seed.below(8);
            (0..n_keys).map(|_| key(seed)).collect()
        }
    }
}

fn totals(seed: &mut Seed, model: &Model, body: &mut Value) {
    let of_kind = |test: fn(Kind) -> bool| -> Vec<&str> {
        let attributes = model.attributes.iter();
        let fitting = attributes.filter(|(_, one)| test(one.kind));
        fitting.map(|(name, _)| name.as_str()).collect()
    };
    let filterable = |names: Vec<&'_ str>| -> Vec<String> {
        let names = names.into_iter();
        let names = names.filter(|name| model.attributes[*name].filterable);
        names.map(str::to_owned).collect()
    };
    let numeric =
        of_kind(|kind| matches!(kind, Kind::One(Scalar::Int | Scalar::Uint | Scalar::Float)));
    let mut folds = json!({"n": seed.pick(&[json!(["Count"]), json!(["Count", "id"])])});
    for (at, name) in seed.some(&numeric, 3).into_iter().enumerate() {
        folds[format!("sum {at}")] = json!(["Sum", name]);
    }
    body["aggregate_by"] = folds;
    if seed.once_in(3) {
        return;
    }
    let single = filterable(of_kind(|kind| matches!(kind, Kind::One(_))));
    let mut by: Vec<Value> = seed
        .some(&single, 2)
        .into_iter()
        .map(Value::String)
        .collect();
    let lists = filterable(of_kind(|kind| {
        matches!(kind, Kind::List(_) | Kind::ListOfUnknown)
    }));
    if !lists.is_empty() && seed.below(2) == 0 {
        by.insert(
            seed.below(by.len() + 1),
            json!({"each": ["ForEachUnique", seed.pick(&lists)]}),
        );
    }
    if !by.is_empty() && seed.below(2) == 0 {
        body[seed.pick(&["limit", "top_k"])] = json!(1 + seed.below(9));
    }
    body["group_by"] = json!(by);
}

fn attributes(seed: &mut Seed, model: &Model, body: &mut Value) {
    let names: Vec<&str> = model.attributes.keys().map(String::as_str).collect();
    match seed.below(6) {
        0 | 1 => body["include_attributes"] = json!(true),
        2 => body["include_attributes"] = json!(false),
        3 => body["include_attributes"] = json!(seed.some(&names, 5)),
        4 => {
            let mut unwanted = seed.some(&names, 5);
            unwanted.extend(seed.once_in(3).then_some("nope"));
            body["exclude_attributes"] = json!(unwanted);
        }
        _ => {}
    }
}
