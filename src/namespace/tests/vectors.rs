//! Several dense vectors in a document: written in both forms, searched by each, wherever they lie.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::json::{ask, everything, schema, upsert_json};
use super::*;
use crate::query::reply::{Dist, Row};
use crate::query::request::Compute;
use crate::vector::PreparedQuery;

/// The vector attributes of these tests: name, dimensions, type.
const VECTORS: [(&str, usize, &str); 6] = [
    ("vector", 3, "[3]f32"),
    ("image", 5, "[5]f32"),
    ("sound", 17, "[17]f32"),
    ("half", 33, "[33]f16"),
    ("byte", 16, "[16]i8"),
    ("one", 1, "[1]i8"),
];
const ROWS: u64 = 60;

/// A component: small whole numbers, which every width holds.
fn component(id: u64, attribute: usize, dim: usize) -> f32 {
    let mixed = (id * 31 + attribute as u64 * 17 + dim as u64 * 7) % 23;
    mixed as f32 - 11.0
}

fn stored(id: u64, attribute: usize) -> Vec<f32> {
    let dims = 0..VECTORS[attribute].1;
    dims.map(|dim| component(id, attribute, dim)).collect()
}

fn base64(values: &[f32]) -> String {
    let bytes: Vec<u8> = values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    STANDARD.encode(bytes)
}

/// Documents that give their vectors now as numbers, now as base64.
fn batch(ids: impl Iterator<Item = u64>) -> WriteBatch {
    let rows = ids.map(|id| {
        let mut row = json!({"id": id, "year": id});
        for (attribute, (name, ..)) in VECTORS.iter().enumerate() {
            let values = stored(id, attribute);
            row[*name] = match (id + attribute as u64).is_multiple_of(2) {
                true => json!(base64(&values)),
                false => json!(values),
            };
        }
        row
    });
    WriteBatch {
        schema: Some(schema(&VECTORS.map(|(name, _, kind)| (name, kind)))),
        ..upsert_json(&rows.collect(), Some(DistanceMetric::EuclideanSquared))
    }
}

fn nearest(attribute: &str, query: &[f32], exact: bool) -> Query {
    Query {
        rank_by: RankBy::Vector {
            attribute: attribute.to_owned(),
            vector: RawValue::String(base64(query).into()),
            exact,
        },
        limit: 7,
        filter: exact.then(everything),
        include: Include::Everything,
        ..all()
    }
}

/// By definition: distance, then id.
fn expected(attribute: usize, query: &[f32]) -> Vec<(f32, u64)> {
    let mut rows: Vec<(f32, u64)> = (0..ROWS)
        .map(|id| {
            let stored = stored(id, attribute);
            let squares = stored.iter().zip(query).map(|(a, b)| (a - b) * (a - b));
            (squares.sum(), id)
        })
        .collect();
    rows.sort_by(|a, b| a.partial_cmp(b).expect("numbers"));
    rows.truncate(7);
    rows
}

fn distance(row: &Row) -> f32 {
    match row.dist {
        Some(Dist::Distance(distance)) => distance,
        other => panic!("no distance: {other:?}"),
    }
}

async fn check(engine: &Engine, place: &str) {
    for (attribute, (name, dims, _)) in VECTORS.iter().enumerate() {
        let query: Vec<f32> = (0..*dims).map(|dim| dim as f32 - 1.5).collect();
        for exact in [false, true] {
            let rows = ask(engine, nearest(name, &query, exact)).await;
            let found: Vec<(f32, u64)> = rows
                .iter()
                .map(|row| match row.id {
                    DocId::Uint(id) => (distance(row), id),
                    ref other => panic!("an id of another kind: {other}"),
                })
                .collect();
            assert_eq!(found, expected(attribute, &query), "{place}: {name}");
            for (row, (_, id)) in rows.iter().zip(found) {
                for (attribute, (name, ..)) in VECTORS.iter().enumerate() {
                    let value = Value::Vector(stored(id, attribute).into());
                    let shown = row.attributes.iter().find(|(shown, _)| **shown == **name);
                    assert_eq!(
                        shown.map(|(_, value)| value),
                        Some(&value),
                        "{place}: {name}"
                    );
                }
            }
        }
    }
}

#[tokio::test]
async fn vectors_of_several_attributes_are_searched_by_each_wherever_they_lie() {
    let bucket = memory();
    let engine = engine_on(Arc::clone(&bucket), 1);
    let write = async |ids: std::ops::Range<u64>| {
        let written = engine.write(&name(), batch(ids), None).await;
        written.expect("a commit");
    };
    write(0..ROWS).await;
    check(&engine, "tail").await;
    check(&engine_on(Arc::clone(&bucket), 2), "replayed log").await;
    engine.flush(&name()).await.expect("a flush");
    check(&engine, "segment").await;
    write(20..40).await;
    check(&engine, "both").await;
    check(&engine_on(Arc::clone(&bucket), 3), "both, cold").await;
    engine.flush(&name()).await.expect("a flush");
    check(&engine_on(bucket, 4), "two segments, cold").await;
}

#[tokio::test]
async fn vectors_are_fixed_by_their_first_write_and_in_every_row() {
    let engine = engine_on(memory(), 1);
    engine
        .write(&name(), batch(0..3), None)
        .await
        .expect("a commit");
    let mut whole = json!({"id": 9});
    for (attribute, (name, ..)) in VECTORS.iter().enumerate() {
        whole[*name] = json!(stored(9, attribute));
    }
    let with = |attribute: &str, value: serde_json::Value| {
        let mut row = whole.clone();
        row[attribute] = value;
        row
    };
    let mut without = whole.clone();
    without.as_object_mut().expect("an object").remove("image");
    for (row, part) in [
        (without, "attribute `image`"),
        (with("image", json!(null)), "attribute `image`"),
        (with("image", json!([1.0, 2.0])), "attribute `image`"),
        (with("sound", json!(base64(&[1.0; 3]))), "attribute `sound`"),
        (with("sound", json!("&")), "attribute `sound`"),
        (with("vector", json!(["a", 1, 2])), "attribute `vector`"),
        (
            with("half", json!(vec![65_520.0; 33])),
            "attribute `half`: expected numbers that round to finite 16-bit floats, found 65520 at position 0",
        ),
        (
            with("half", json!(base64(&[-7e4; 33]))),
            "found -70000 at position 0",
        ),
        (
            with("half", json!(base64(&[f32::NAN; 33]))),
            "found NaN at position 0",
        ),
        (
            with("one", json!([0.5])),
            "attribute `one`: expected whole numbers from -128 to 127, found 0.5 at position 0",
        ),
        (with("one", json!([128])), "found 128 at position 0"),
        (
            with("one", json!(base64(&[-129.0]))),
            "found -129 at position 0",
        ),
        (
            with("one", json!([1.000_000_000_1])),
            "found 1.0000000001 at position 0",
        ),
    ] {
        let write = upsert_json(&json!([row]), None);
        let written = engine.write(&name(), write, None).await;
        let error = written.expect_err("a refusal");
        assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{row}");
        assert!(error.message().contains(part), "{row}: {error}");
    }
    let new = WriteBatch {
        schema: Some(schema(&[("other", "[2]f32")])),
        ..upsert_json(&json!([with("other", json!([1, 2]))]), None)
    };
    let error = engine
        .write(&name(), new, None)
        .await
        .expect_err("a refusal");
    assert!(
        error.message().contains("vector attribute `other`"),
        "{error}"
    );
    let write = upsert_json(&json!([whole]), None);
    let written = engine.write(&name(), write, None).await;
    written.expect("a whole document");
}

#[tokio::test]
async fn vectors_of_more_attributes_than_allowed_are_refused() {
    let engine = engine_on(memory(), 1);
    for (n_vectors, fits) in [(9, false), (8, true)] {
        let names: Vec<String> = (0..n_vectors).map(|at| format!("v{at}")).collect();
        let types: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "[1]f32")).collect();
        let mut row = json!({"id": 1});
        for name in &names {
            row[name] = json!([0.5]);
        }
        let write = WriteBatch {
            schema: Some(schema(&types)),
            ..upsert_json(&json!([row]), Some(DistanceMetric::Cosine))
        };
        let written = engine.write(&name(), write, None).await;
        assert_eq!(written.is_ok(), fits, "{n_vectors}: {written:?}");
    }
}

#[tokio::test]
async fn vectors_are_rounded_where_stored_and_queries_are_not() {
    let bucket = memory();
    let engine = engine_on(Arc::clone(&bucket), 1);
    // Between 1 and the next f16, 1 + 2^-10, and a little above the middle.
    let rows = json!([{"id": 1, "v": [1.0]}, {"id": 2, "v": [1.000_5]}]);
    let write = WriteBatch {
        schema: Some(schema(&[("v", "[1]f16")])),
        ..upsert_json(&rows, Some(DistanceMetric::EuclideanSquared))
    };
    engine.write(&name(), write, None).await.expect("a commit");
    for place in ["tail", "segment"] {
        let rows = ask(&engine, nearest("v", &[1.000_5], false)).await;
        let shown: Vec<_> = rows.iter().map(|row| row.attributes[0].1.clone()).collect();
        let vector = |value: f32| Value::Vector([value].into());
        let next = 1.0 + 1.0 / 1_024.0;
        assert_eq!(shown, [vector(next), vector(1.0)], "{place}");
        let apart: Vec<f32> = rows.iter().map(distance).collect();
        let squared = |apart: f32| apart * apart;
        let expected = [squared(next - 1.000_5), squared(1.000_5 - 1.0)];
        assert_eq!(apart, expected, "{place}: the query as given");
        engine.flush(&name()).await.expect("a flush");
    }
}

/// The products of these numbers round: another kernel, or another order of adding up, gives other bits.
#[tokio::test]
async fn distance_of_a_row_is_one_number_whether_ranked_or_computed_wherever_it_lies() {
    const DIMS: u64 = 37;
    let vector = |id: u64| -> Vec<f32> {
        let component = |dim| ((id * 131 + dim * 71) % 997) as f32 / 499.0 - 1.0;
        (0..DIMS).map(component).collect()
    };
    let asked = vector(1_000_003);
    for metric in DistanceMetric::ALL {
        let engine = engine_on(memory(), 1);
        let write = async |ids: std::ops::Range<u64>| {
            let row = |id| json!({"id": id, "year": id % 16, "v": vector(id)});
            let batch = WriteBatch {
                schema: Some(schema(&[("v", "[37]f32")])),
                ..upsert_json(&ids.map(row).collect(), Some(metric))
            };
            engine.write(&name(), batch, None).await.expect("a commit");
        };
        write(0..160).await;
        engine.flush(&name()).await.expect("a flush");
        write(160..320).await;
        // One row in 16 is compared by itself, all rows are compared in blocks.
        let few = Filter::Compare {
            attribute: "year".to_owned(),
            op: CompareOp::Eq,
            value: RawValue::Int(3),
        };
        let expected = PreparedQuery::new(metric, &asked);
        for (filter, n_rows) in [(None, 320), (Some(few), 20)] {
            let query = Query {
                filter,
                limit: 1_000,
                compute: vec![(
                    "again".to_owned(),
                    Compute::VectorDist {
                        attribute: "v".to_owned(),
                        vector: RawValue::String(base64(&asked).into()),
                    },
                )],
                ..nearest("v", &asked, false)
            };
            let rows = ask(&engine, query).await;
            assert_eq!(rows.len(), n_rows);
            for row in rows {
                let DocId::Uint(id) = row.id else {
                    panic!("an id of another kind: {}", row.id);
                };
                let expected = expected.distance(&vector(id)).to_bits();
                assert_eq!(distance(&row).to_bits(), expected, "{metric:?}: {id}");
                match row.computed.as_slice() {
                    [(_, Dist::Distance(again))] => {
                        assert_eq!(again.to_bits(), expected, "{metric:?}: {id}, computed");
                    }
                    other => panic!("other values: {other:?}"),
                }
            }
        }
    }
}
