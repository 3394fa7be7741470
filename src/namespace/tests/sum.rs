//! The sum over all documents: writes change it, where documents lie does not.

use serde_json::{Value as Json, json};

use super::json::{schema, upsert_json};
use super::tools::{flush, handle, view, write};
use super::*;
use crate::rows::RowSum;
use crate::types::Entropy;

async fn sum(engine: &Engine) -> RowSum {
    let view = view(engine).await;
    let sum = handle(engine).await.row_sum(&view).await;
    sum.expect("all is readable")
}

/// A document of a number, of one of three generations, with values of all kinds or without.
fn document(id: u64, generation: u64) -> Json {
    let mut row = json!({
        "id": id,
        "year": generation,
        "vector": [id as f64, generation as f64],
    });
    if !id.is_multiple_of(3) {
        row["title"] = json!(format!("t{id}.{generation}"));
        row["tags"] = json!(["a", format!("b{}", id % 4)]);
    }
    if id % 4 > 1 {
        row["ratio"] = json!(0.5 + id as f64);
        row["words"] = json!({"x": 0.5, format!("w{id}"): 2.0});
        row["is"] = json!(id % 8 > 3);
    }
    row
}

fn batch(rows: Vec<Json>) -> WriteBatch {
    let mut spec = schema(&[("words", "{}f16"), ("tags", "[]string"), ("is", "bool")]);
    for attribute in spec.attributes.values_mut() {
        attribute.sparse_knn = attribute.kind == crate::types::AttributeType::Sparse;
    }
    WriteBatch {
        schema: Some(spec),
        ..upsert_json(&Json::Array(rows), Some(DistanceMetric::EuclideanSquared))
    }
}

#[tokio::test]
async fn sum_over_all_documents_changes_with_writes_and_with_nothing_else() {
    for seed in 0..12_u64 {
        let bucket = memory();
        let engine = engine_on(Arc::clone(&bucket), seed + 1);
        let chance = SeededEntropy::new(seed);
        let below = |end: u64| chance.next_u128() as u64 % end;
        let mut model: std::collections::BTreeMap<u64, u64> = std::collections::BTreeMap::new();
        let first = (0..20).map(|id| document(id, 0)).collect();
        write(&engine, batch(first)).await;
        model.extend((0..20).map(|id| (id, 0)));
        let mut before = sum(&engine).await;
        for step in 0..40 {
            let context = format!("seed {seed}, step {step}");
            match below(5) {
                0 | 1 => {
                    let ids: std::collections::BTreeSet<u64> =
                        (0..1 + below(6)).map(|_| below(40)).collect();
                    let generation = below(3);
                    let rows = ids.iter().map(|id| document(*id, generation));
                    write(&engine, batch(rows.collect())).await;
                    let old = model.clone();
                    model.extend(ids.into_iter().map(|id| (id, generation)));
                    let now = sum(&engine).await;
                    assert_eq!(now == before, model == old, "{context}");
                    before = now;
                }
                2 => {
                    let id = below(40);
                    write(&engine, delete(&[id as i64])).await;
                    let was_there = model.remove(&id).is_some();
                    let now = sum(&engine).await;
                    assert_eq!(now != before, was_there, "{context}");
                    before = now;
                }
                3 => flush(&engine).await,
                _ => {
                    let merged = engine.compact(&name(), false).await;
                    merged.expect("a merge or none");
                }
            }
            assert_eq!(sum(&engine).await, before, "{context}");
            assert_eq!(before.rows, model.len() as u64, "{context}");
        }
        // The same documents, written at once.
        let other = engine_on(memory(), 77);
        let rows = model
            .iter()
            .map(|(id, generation)| document(*id, *generation));
        let spec = batch((0..20).map(|id| document(id, 0)).collect());
        write(&other, spec).await;
        let ids: Vec<i64> = (0..20).collect();
        write(&other, delete(&ids)).await;
        write(&other, batch(rows.collect())).await;
        assert_eq!(sum(&other).await, before, "seed {seed}");
        let next = engine_on(bucket, 99);
        assert_eq!(sum(&next).await, before, "seed {seed}");
    }
}
