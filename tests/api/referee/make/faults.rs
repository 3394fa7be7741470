//! One thing that may be wrong with a request. Whether it is, and what follows, the referee knows.

use serde_json::{Value, json};

use super::filters::wild;
use super::{METRICS, Plan, scores};
use crate::referee::model::Model;
use crate::referee::seed::Seed;

/// Spoils a query.
pub(super) fn spoil_query(seed: &mut Seed, plan: &Plan, model: &Model, body: &mut Value) {
    if seed.below(2) == 0 {
        body["filters"] = wild(seed, plan, model);
        return;
    }
    let names: Vec<&str> = model.attributes.keys().map(String::as_str).collect();
    let name = names.first().map_or("id", |_| seed.pick(&names));
    match seed.below(9) {
        8 => {
            remove(body, "compute_attributes");
            body[seed.pick(&["rank_by", "rank_by", "compute_attributes"])] = json!({});
            let wrong = scores::wild(seed, name);
            match body["rank_by"] == json!({}) {
                true => {
                    remove(body, "distance_metric");
                    body["rank_by"] = wrong;
                }
                false => body["compute_attributes"] = json!({"own score": wrong}),
            }
        }
        0 => {
            let limits = [
                json!(0),
                json!(null),
                json!(-1),
                json!(1.5),
                json!("x"),
                json!(10_001),
                json!({}),
            ];
            remove(body, "top_k");
            remove(body, "offset");
            body["limit"] = seed.pick(&limits);
        }
        1 => body["offset"] = seed.pick(&[json!(-1), json!(10_000), json!("x"), json!(1.5)]),
        2 => match seed.below(2) {
            0 => {
                remove(body, "limit");
                remove(body, "top_k");
            }
            _ => (body["limit"], body["top_k"]) = (json!(1), json!(1)),
        },
        3 => {
            let wrong = [
                json!([]),
                json!("id"),
                json!([name, "asc"]),
                json!([[name, "desc"], ["id", "asc"]]),
                json!(["nope", "asc"]),
                json!(["id", "up"]),
                json!([["id"]]),
                json!(vec![["id", "asc"]; 9]),
                json!([name, "ANN", [1, 2]]),
                json!(["nope", "ANN", [1]]),
                json!([name, "kNN", [0.5]]),
                json!([name, "ANN", []]),
                json!([name, "ANN", "?"]),
            ];
            body["rank_by"] = seed.pick(&wrong);
        }
        4 => {
            remove(body, "exclude_attributes");
            body["include_attributes"] = seed.pick(&[json!("x"), json!(["nope"]), json!([1])]);
        }
        5 => {
            remove(body, "include_attributes");
            body["exclude_attributes"] = seed.pick(&[json!("x"), json!(["id"]), json!(true)]);
        }
        6 => {
            let metrics = [METRICS[0], METRICS[1], METRICS[2], "manhattan"];
            body["distance_metric"] = json!(seed.pick(&metrics));
        }
        _ => {
            let (field, value) = seed.pick(&[
                ("vector_encoding", json!("hex")),
                ("consistency", json!("strong")),
                ("consistency", json!({"level": "x"})),
                ("consistency", json!({})),
                ("nope", json!(1)),
                ("exclude_attributes", json!([])),
                ("include_attributes", json!([])),
            ]);
            body[field] = value;
        }
    }
}

/// Spoils a query for numbers.
pub(super) fn spoil_totals(seed: &mut Seed, plan: &Plan, model: &Model, body: &mut Value) {
    let names: Vec<&str> = model.attributes.keys().map(String::as_str).collect();
    let name = names.first().map_or("nope", |_| seed.pick(&names));
    let many: serde_json::Map<String, Value> = (0..9)
        .map(|at| (at.to_string(), json!(["Count"])))
        .collect();
    let (field, value) = match seed.below(12) {
        0 => ("aggregate_by", json!({"x": ["Sum", name]})),
        1 => ("aggregate_by", json!({"x": ["Sum", "nope"]})),
        2 => ("aggregate_by", json!({"x": ["Mean", name]})),
        3 => ("aggregate_by", json!(many)),
        4 => ("group_by", json!([name])),
        5 => ("group_by", json!([{"e": ["ForEachUnique", name]}])),
        6 => ("group_by", json!(["id"])),
        7 => ("group_by", json!([name, name])),
        8 => ("group_by", json!([{"n": ["ForEachUnique", name]}])),
        9 => (
            "group_by",
            json!([{"e": ["ForEachUnique", name]}, {"f": ["ForEachUnique", name]}]),
        ),
        10 => ("filters", wild(seed, plan, model)),
        _ => ("top_k", json!(3)),
    };
    body[field] = value;
}

/// Spoils several queries at once.
pub(super) fn spoil_several(seed: &mut Seed, body: &mut Value) {
    let (field, value) = seed.pick(&[
        ("queries", json!([])),
        ("queries", json!({})),
        (
            "queries",
            json!([{"rank_by": ["id", "asc"]}, {"rank_by": ["id", "asc"], "limit": 1}]),
        ),
        (
            "queries",
            json!(vec![json!({"rank_by": ["id", "asc"], "limit": 1}); 17]),
        ),
        ("rerank_by", json!(["RRF", {"weights": [1]}])),
        ("rerank_by", json!(["RRF", {"rank_constant": 0}])),
        ("rerank_by", json!(["Mean"])),
        ("limit", json!(0)),
        ("filters", json!(["id", "NotEq", null])),
    ]);
    remove(body, "limit");
    remove(body, "offset");
    let plain = json!({"rank_by": ["id", "asc"], "limit": 1});
    body["queries"] = json!([plain, plain]);
    body[field] = value;
}

/// Spoils a write.
pub(super) fn spoil_write(seed: &mut Seed, plan: &Plan, model: &Model, body: &mut Value) {
    let names: Vec<&str> = model.attributes.keys().map(String::as_str).collect();
    let name = names.first().map_or("nope", |_| seed.pick(&names));
    let fresh = || json!({"id": plan.ids[plan.ids.len() - 1]});
    match seed.below(12) {
        0 => {
            remove(body, "upsert_columns");
            body["upsert_rows"] = fresh();
        }
        1 => {
            // One id twice, or rows and columns at once.
            let id = &plan.ids[0];
            body["deletes"] = json!([id, id]);
        }
        2 => body["patch_rows"] = json!([fresh(), fresh()]),
        3 => {
            let values = [
                json!(true),
                json!(1),
                json!(-1),
                json!(0.5),
                json!("x"),
                json!("l".repeat(4_097)),
                json!([]),
                json!([1]),
                json!(["x"]),
                json!([1.5]),
                json!([true]),
            ];
            let mut patch = fresh();
            patch[name] = seed.pick(&values);
            remove(body, "patch_columns");
            remove(body, "deletes");
            remove(body, "delete_condition");
            remove(body, "upsert_rows");
            remove(body, "upsert_columns");
            remove(body, "upsert_condition");
            body["patch_rows"] = json!([patch]);
        }
        4 => body["delete_by_filter"] = wild(seed, plan, model),
        5 => {
            // A lone condition is wrong already.
            let (condition, operations) = seed.pick(&[
                ("upsert_condition", ["upsert_rows", "upsert_columns"]),
                ("patch_condition", ["patch_rows", "patch_columns"]),
                ("delete_condition", ["deletes", "deletes"]),
            ]);
            let lone = operations.iter().all(|name| body[*name].is_null());
            body[condition] = match lone {
                true => json!(["id", "Eq", null]),
                false => wild(seed, plan, model),
            };
        }
        6 => body["distance_metric"] = json!(seed.pick(&["manhattan", METRICS[0], METRICS[1]])),
        7 => {
            let types = [
                "string", "int", "[]int", "[3]f32", "decimal", "[0]f32", "uuid",
            ];
            body["schema"] = json!({name: seed.pick(&types)});
        }
        8 => {
            let schemas = [
                json!({"$x": "int"}),
                json!({"y": {}}),
                json!({"y": {"type": "int", "regex": true}}),
                json!([]),
                json!({"y": {"type": "string", "filterable": "yes"}}),
                json!({"id": "int"}),
                json!({"y": 1}),
                json!({"y": {"type": "int", "ann": true}}),
            ];
            body["schema"] = seed.pick(&schemas);
        }
        9 => {
            let ids = [
                json!([-1]),
                json!(["x".repeat(65)]),
                json!(["x"]),
                json!([7]),
                json!(7),
            ];
            body["deletes"] = seed.pick(&ids);
        }
        10 => {
            let id = &plan.ids[0];
            remove(body, "upsert_rows");
            let columns = [
                json!({"id": [id], "a": [1, 2]}),
                json!({"id": 1}),
                json!([]),
            ];
            body["upsert_columns"] = seed.pick(&columns);
        }
        _ => {
            let patches = [
                json!({"filters": ["id", "NotEq", null], "patch": {"id": 1}}),
                json!({"filters": ["id", "NotEq", null]}),
                json!({"filters": ["nope", "Eq", 1], "patch": {}}),
                json!({"filters": ["id", "Same", 1], "patch": {}}),
                json!([]),
            ];
            body["patch_by_filter"] = seed.pick(&patches);
        }
    }
}

fn remove(body: &mut Value, field: &str) {
    if let Some(body) = body.as_object_mut() {
        body.remove(field);
    }
}
