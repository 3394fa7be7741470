//! Writes to a namespace.

use serde_json::{Map, Value, json};

use super::filters::filter;
use super::{Plan, faults};
use crate::referee::model::Model;
use crate::referee::seed::Seed;
use crate::referee::value::{Kind, Scalar};

/// A write; one in a dozen may have a fault.
pub(in crate::referee) fn write(seed: &mut Seed, plan: &Plan, model: &Model, step: usize) -> Value {
    let mut body = json!({});
    let first = model.docs.len() < 5;
    let mut ids = seed.shuffled(&plan.ids);
    let mut take = |seed: &mut Seed, most: usize| -> Vec<Value> {
        let wanted = 1 + seed.below(most);
        ids.split_off(ids.len().saturating_sub(wanted))
    };
    let upserting = first || seed.below(2) == 0;
    if upserting {
        let vectors_due = plan.vectors.iter().any(|column| column.from <= step);
        let with_vectors = !model.vectors().is_empty() || vectors_due;
        let ids = take(seed, if first { 30 } else { 8 });
        let rows: Vec<Value> = ids
            .into_iter()
            .map(|id| plan.document(seed, id, step, with_vectors))
            .collect();
        let brings = !rows.is_empty() && with_vectors && !plan.vectors.is_empty();
        if brings && (model.metric.is_none() || seed.once_in(3)) {
            body["distance_metric"] = json!(plan.metric);
        }
        let schema = plan.declarations(model, step, brings);
        if !schema.is_empty() {
            body["schema"] = json!(schema);
        }
        put(seed, &mut body, "upsert", rows);
        if seed.once_in(4) {
            body["upsert_condition"] = condition(seed, plan, model, true);
        }
    }
    if !first && seed.below(3) == 0 {
        let ids = take(seed, 6);
        let patches = patches(seed, plan, model, ids);
        put(seed, &mut body, "patch", patches);
        if seed.once_in(3) {
            body["patch_condition"] = condition(seed, plan, model, true);
        }
    }
    if !first && seed.below(3) == 0 {
        body["deletes"] = json!(take(seed, 4));
        if seed.once_in(3) {
            body["delete_condition"] = condition(seed, plan, model, false);
        }
    }
    if model.exists && seed.once_in(6) {
        let all = filter(seed, plan, model, 1);
        let few = json!(["And", [all, ["id", "In", seed.some(&plan.ids, 6)]]]);
        body["delete_by_filter"] = few;
    }
    if model.exists && seed.once_in(6) {
        let patch = patch(seed, plan, model);
        let filters = filter(seed, plan, model, 2);
        body["patch_by_filter"] = json!({"filters": filters, "patch": patch});
    }
    if body.as_object().is_none_or(Map::is_empty) {
        body["deletes"] = json!(take(seed, 2));
    }
    if seed.once_in(2) {
        body["return_affected_ids"] = json!(true);
    }
    if !first && seed.once_in(12) {
        faults::spoil_write(seed, plan, model, &mut body);
    }
    body
}

/// A change of the options of an attribute, or a new one.
pub(in crate::referee) fn schema_change(seed: &mut Seed, model: &Model) -> Value {
    let attributes = model.attributes.iter();
    let attributes: Vec<_> = attributes
        .filter(|(_, one)| one.kind.is_comparable() && one.kind != Kind::ListOfUnknown)
        .collect();
    if seed.once_in(6) {
        let names: Vec<&str> = model.attributes.keys().map(String::as_str).collect();
        let name = names.first().map_or("nope", |_| seed.pick(&names));
        return json!({name: {"drop": true}});
    }
    if attributes.is_empty() || seed.once_in(6) {
        let name = format!("new{}", seed.below(3));
        return json!({name: seed.pick(&["[]uuid", "int", "string"])});
    }
    let (name, attribute) = seed.pick(&attributes);
    let mut options = json!({"type": attribute.kind.name()});
    match seed.below(4) {
        0 => return json!({name: attribute.kind.name()}),
        // Long text may be there that could not have been written to a filterable attribute.
        1 => options["filterable"] = json!(attribute.filterable && seed.once_in(2)),
        2 => options["filterable"] = json!(true),
        _ => {
            let is_text = matches!(
                attribute.kind,
                Kind::One(Scalar::Text) | Kind::List(Scalar::Text)
            );
            let option = seed.pick(&["regex", "glob"]);
            options[option] = json!(is_text && seed.below(3) > 0);
        }
    }
    json!({name: options})
}

/// Puts documents into a body, as rows or as columns.
fn put(seed: &mut Seed, body: &mut Value, operation: &str, rows: Vec<Value>) {
    if rows.is_empty() || seed.below(3) > 0 {
        body[format!("{operation}_rows")] = json!(rows);
        return;
    }
    let names: std::collections::BTreeSet<&String> = rows
        .iter()
        .flat_map(|row| row.as_object().expect("a document").keys())
        .collect();
    let columns: Map<String, Value> = names
        .into_iter()
        .map(|name| {
            (
                name.clone(),
                rows.iter().map(|row| row[name].clone()).collect(),
            )
        })
        .collect();
    body[format!("{operation}_columns")] = json!(columns);
}

fn patches(seed: &mut Seed, plan: &Plan, model: &Model, ids: Vec<Value>) -> Vec<Value> {
    ids.into_iter()
        .map(|id| {
            let mut patch = patch(seed, plan, model);
            patch.insert("id".to_owned(), id);
            Value::Object(patch)
        })
        .collect()
}

/// New values for some attributes, null for some, seldom one that is new; those to declare are known.
fn patch(seed: &mut Seed, plan: &Plan, model: &Model) -> Map<String, Value> {
    let known = |name: &String| model.attributes.contains_key(name);
    let columns = plan.columns.iter();
    let columns: Vec<_> = columns
        .filter(|column| known(&column.name) || column.declared.is_none())
        .collect();
    let mut patch = Map::new();
    for column in seed.some(&columns, 4) {
        let value = match seed.below(4) {
            0 => Value::Null,
            _ => plan.value(seed, column),
        };
        patch.insert(column.name.clone(), value);
    }
    patch
}

/// A condition, perhaps with references to the new document. Deletes have none: theirs is null.
fn condition(seed: &mut Seed, plan: &Plan, model: &Model, referring: bool) -> Value {
    if seed.once_in(5) {
        return json!(["id", "Eq", null]);
    }
    let attributes: Vec<_> = model
        .attributes
        .iter()
        .filter(|(_, one)| one.filterable && !one.kind.is_vector())
        .filter(|(_, one)| one.kind != Kind::ListOfUnknown)
        .collect();
    if attributes.is_empty() || seed.below(2) == 0 {
        return filter(seed, plan, model, 1);
    }
    let (name, attribute) = seed.pick(&attributes);
    let ops: &[&str] = match attribute.kind {
        Kind::One(_) => &["Eq", "NotEq", "Lt", "Lte", "Gt", "Gte"],
        _ => &["Eq", "NotEq"],
    };
    let alike: Vec<_> = attributes
        .iter()
        .filter(|(_, other)| other.kind == attribute.kind)
        .collect();
    let (other, _) = seed.pick(&alike);
    let test = json!([name, seed.pick(ops), {"$ref_new": other}]);
    match seed.below(4) {
        0 => json!(["Not", test]),
        1 => json!(["Or", [test, filter(seed, plan, model, 0)]]),
        _ if referring => test,
        _ => json!(["And", [test]]),
    }
}
