//! Queries of a namespace.

use serde_json::{Value, json};

use super::Plan;
use super::faults;
use super::filters::filter;
use super::scores::score;
use crate::referee::model::Model;
use crate::referee::seed::Seed;
use crate::referee::value::{Kind, Scalar};

/// A request; one in a dozen may have a fault.
pub(in crate::referee) fn query(seed: &mut Seed, plan: &Plan, model: &Model) -> Value {
    let several = seed.once_in(10);
    let mut body = match several {
        true => self::several(seed, plan, model),
        false => one(seed, plan, model, true),
    };
    if seed.once_in(4) {
        body["vector_encoding"] = json!(seed.pick(&["float", "base64"]));
    }
    // How segments are searched never changes an answer.
    if seed.once_in(3) {
        let plans = [
            json!("filter_first"),
            json!("scan_first"),
            json!("together"),
        ];
        body["plan"] = seed.pick(&plans);
    }
    match seed.below(8) {
        0 => body["consistency"] = json!({"level": "eventual"}),
        1 => body["consistency"] = json!({"level": "eventual", "max_staleness_seconds": 0}),
        2 => body["consistency"] = json!({"level": "strong"}),
        3 => body["consistency"] = json!({"level": "session", "min_seq": 1}),
        _ => {}
    }
    if model.exists && seed.once_in(12) {
        match several {
            true => faults::spoil_several(seed, &mut body),
            false if !body["aggregate_by"].is_null() => {
                faults::spoil_totals(seed, plan, model, &mut body);
            }
            false => faults::spoil_query(seed, plan, model, &mut body),
        }
    }
    body
}

/// Several queries, perhaps to become one list. What near ties decide must not be told by ranks.
fn several(seed: &mut Seed, plan: &Plan, model: &Model) -> Value {
    let fused = seed.below(2) == 0;
    let n_queries = if fused { 2 } else { 1 } + seed.below(3);
    let exact = plan.whole && plan.metric != "cosine_distance";
    let mut queries = Vec::new();
    while queries.len() < n_queries {
        let query = one(seed, plan, model, !fused || exact);
        let rows = query["aggregate_by"].is_null() && query["compute_attributes"].is_null();
        if !fused || rows {
            queries.push(query);
        }
    }
    let mut body = json!({"queries": queries});
    if fused {
        let mut rerank = json!(["RRF"]);
        if seed.below(2) == 0 {
            let mut options = json!({});
            if seed.below(2) == 0 {
                options["rank_constant"] = json!(seed.pick(&[1.0, 10.0, 60.0]));
            }
            if seed.below(2) == 0 {
                let weights: Value = (0..n_queries).map(|at| json!(at + 1)).collect();
                options["weights"] = weights;
            }
            rerank = json!(["RRF", options]);
        }
        body["rerank_by"] = rerank;
        if seed.below(2) == 0 {
            body["limit"] = json!(1 + seed.below(20));
            if seed.below(2) == 0 {
                body["offset"] = json!(seed.below(5));
            }
        }
    }
    body
}

/// One question, without what is for all of a request.
fn one(seed: &mut Seed, plan: &Plan, model: &Model, with_vectors: bool) -> Value {
    let mut body = json!({});
    let mut vectors = model.vectors();
    vectors.retain(|_| with_vectors);
    let filtered = seed.below(4) > 0;
    if filtered {
        let depth = seed.below(4);
        body["filters"] = filter(seed, plan, model, depth);
    }
    if seed.once_in(6) {
        totals(seed, model, &mut body);
        return body;
    }
    let mut by_vector = false;
    match seed.below(if vectors.is_empty() { 3 } else { 5 }) {
        0 if filtered => {}
        0 | 1 => body["rank_by"] = order(seed, model),
        2 => body["rank_by"] = score(seed, plan, model, 3),
        _ => {
            let name = seed.pick(&vectors);
            let query = plan.vector(seed, model.attributes[&name].kind);
            let how = if filtered {
                seed.pick(&["ANN", "kNN"])
            } else {
                "ANN"
            };
            body["rank_by"] = json!([name, how, query]);
            by_vector = true;
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
    if !by_vector && body["include_attributes"] == true && seed.below(3) == 0 {
        alike(seed, model, &mut body, limit);
    }
    if seed.once_in(8) {
        let mut computed = json!({"own score": score(seed, plan, model, 2)});
        if !vectors.is_empty() {
            let name = seed.pick(&vectors);
            let query = plan.vector(seed, model.attributes[&name].kind);
            computed["far"] = json!([name, "VectorDist", query]);
        }
        body["compute_attributes"] = computed;
    }
    body
}

/// Lets only some rows be alike.
fn alike(seed: &mut Seed, model: &Model, body: &mut Value, limit: usize) {
    let attributes = model.attributes.iter();
    let single = attributes.filter(|(_, one)| one.filterable && matches!(one.kind, Kind::One(_)));
    let single: Vec<&str> = single.map(|(name, _)| name.as_str()).collect();
    let names = seed.some(&single, 2);
    if !names.is_empty() && !body["rank_by"].is_null() {
        body.as_object_mut().map(|body| body.remove("top_k"));
        let per = json!({"attributes": names, "limit": 1 + seed.below(3)});
        body["limit"] = json!({"total": limit, "per": per});
    }
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
