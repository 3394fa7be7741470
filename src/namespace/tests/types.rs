//! Bytes and sparse vectors, wherever the documents lie.

use std::collections::BTreeMap;

use serde_json::json;

use super::json::{ask, documents, schema, upsert_json};
use super::*;
use crate::query::request::OrderKey;
use crate::types::document::SchemaSpec;

/// What a strong read shows: attributes by id.
type Shown = BTreeMap<u64, BTreeMap<String, Value>>;

async fn shown(engine: &Engine) -> Shown {
    let query = Query {
        include: Include::Everything,
        ..all()
    };
    let rows = ask(engine, query).await.into_iter().map(|row| {
        let id = match row.id {
            DocId::Uint(id) => id,
            other => panic!("an id of another kind: {other}"),
        };
        let attributes = row.attributes.into_iter();
        let attributes = attributes.map(|(name, value)| (name.to_string(), value));
        (id, attributes.collect())
    });
    rows.collect()
}

async fn write(engine: &Engine, batch: WriteBatch) {
    let written = engine.write(&name(), batch, None).await;
    written.expect("a commit");
}

async fn refusal(engine: &Engine, batch: WriteBatch) -> String {
    let written = engine.write(&name(), batch, None).await;
    let error = written.expect_err("a refusal");
    assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{error}");
    error.message().to_owned()
}

async fn query_refusal(engine: &Engine, query: Query) -> String {
    let error = engine.query(&name(), query).await.expect_err("a refusal");
    assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{error}");
    error.message().to_owned()
}

fn rows(rows: serde_json::Value) -> WriteBatch {
    upsert_json(&rows, None)
}

fn patches(rows: serde_json::Value) -> WriteBatch {
    WriteBatch {
        patches: documents(&rows),
        has_patches: true,
        ..WriteBatch::default()
    }
}

fn with_schema(spec: SchemaSpec, batch: WriteBatch) -> WriteBatch {
    WriteBatch {
        schema: Some(spec),
        ..batch
    }
}

fn missing(attribute: &str) -> Query {
    Query {
        filter: Some(Filter::Compare {
            attribute: attribute.to_owned(),
            op: CompareOp::Eq,
            value: RawValue::Null,
        }),
        include: Include::Nothing,
        ..all()
    }
}

fn ordered(attribute: &str) -> Query {
    Query {
        rank_by: RankBy::Order(vec![OrderKey {
            attribute: attribute.to_owned(),
            descending: false,
        }]),
        ..all()
    }
}

fn of(attributes: &[(&str, Value)]) -> BTreeMap<String, Value> {
    let attributes = attributes.iter();
    attributes
        .map(|(name, value)| ((*name).to_owned(), value.clone()))
        .collect()
}

fn text(text: &str) -> Value {
    Value::String(text.into())
}

/// Checks the same on the engine, on one that replays the log, after a flush and on one that opens then.
async fn everywhere(bucket: &Arc<dyn Bucket>, engine: &Engine, expected: &Shown) {
    assert_eq!(shown(engine).await, *expected, "tail");
    let cold = engine_on(Arc::clone(bucket), 71);
    assert_eq!(shown(&cold).await, *expected, "replayed");
    engine.flush(&name()).await.expect("a flush");
    assert_eq!(shown(engine).await, *expected, "segment");
    let cold = engine_on(Arc::clone(bucket), 72);
    assert_eq!(shown(&cold).await, *expected, "segment, cold");
}

#[tokio::test]
async fn bytes_come_back_and_are_no_filter_nor_order() {
    let bucket = memory();
    let engine = engine_on(Arc::clone(&bucket), 1);
    let declared = schema(&[("b", "bytes")]);
    let batch = json!([{"id": 1, "b": "AP8="}, {"id": 2, "b": ""}, {"id": 3, "b": null}, {"id": 4, "b": "AP8"}]);
    write(&engine, with_schema(declared, rows(batch))).await;
    write(&engine, patches(json!([{"id": 3, "b": "AQ=="}]))).await;
    let bytes = |bytes: &[u8]| of(&[("b", Value::Bytes(bytes.into()))]);
    let mut expected = Shown::from([
        (1, bytes(&[0, 255])),
        (2, bytes(&[])),
        (3, bytes(&[1])),
        (4, bytes(&[0, 255])),
    ]);
    everywhere(&bucket, &engine, &expected).await;
    write(
        &engine,
        patches(json!([{"id": 1, "b": null}, {"id": 2, "b": "//8="}])),
    )
    .await;
    expected.insert(1, of(&[]));
    expected.insert(2, bytes(&[255, 255]));
    everywhere(&bucket, &engine, &expected).await;

    let message = query_refusal(&engine, missing("b")).await;
    assert!(message.contains("not filterable"), "{message}");
    let message = query_refusal(&engine, ordered("b")).await;
    assert!(message.contains("of type bytes"), "{message}");
    for (value, part) in [
        (json!(5), "expected bytes as base64 text, found integer 5"),
        (json!("A"), "expected bytes as base64 text"),
        (
            json!("A&=="),
            "expected bytes as base64 text, found text with",
        ),
        (json!([1, 2]), "expected bytes as base64 text, found array"),
    ] {
        let message = refusal(&engine, rows(json!([{"id": 9, "b": value}]))).await;
        assert!(message.contains(part), "{message}");
    }
}

fn sparse(entries: &[(&str, f32)]) -> Value {
    let entries = entries.iter();
    Value::Sparse(
        entries
            .map(|(dim, weight)| ((*dim).into(), *weight))
            .collect(),
    )
}

fn sparse_schema(name: &str) -> SchemaSpec {
    let mut spec = schema(&[(name, "{}f16")]);
    spec.attributes.get_mut(name).expect("declared").sparse_knn = true;
    spec
}

#[tokio::test]
async fn sparse_vectors_come_back_sorted_and_rounded_and_are_no_filter_nor_order() {
    let bucket = memory();
    let engine = engine_on(Arc::clone(&bucket), 1);
    let message = refusal(
        &engine,
        with_schema(schema(&[("s", "{}f16")]), rows(json!([{"id": 1}]))),
    )
    .await;
    assert!(message.contains("needs `sparse_knn`"), "{message}");
    let batch = json!([
        {"id": 1, "s": {"z": 1, "a": 0.1, "": -2.5}}, {"id": 2, "s": {}}, {"id": 3}, {"id": 4, "s": {"é": 65504}}
    ]);
    write(&engine, with_schema(sparse_schema("s"), rows(batch))).await;
    write(&engine, patches(json!([{"id": 3, "s": {"b": 2, "c": 0}}]))).await;
    let tenth = 0.099_975_586;
    let mut expected = Shown::from([
        (
            1,
            of(&[("s", sparse(&[("", -2.5), ("a", tenth), ("z", 1.0)]))]),
        ),
        (2, of(&[("s", sparse(&[]))])),
        (3, of(&[("s", sparse(&[("b", 2.0), ("c", 0.0)]))])),
        (4, of(&[("s", sparse(&[("é", 65_504.0)]))])),
    ]);
    everywhere(&bucket, &engine, &expected).await;
    write(
        &engine,
        patches(json!([{"id": 1, "s": null}, {"id": 2, "s": {"y": 3}}])),
    )
    .await;
    // A bare type says nothing new of what is there.
    write(
        &engine,
        with_schema(
            schema(&[("s", "{}f16")]),
            rows(json!([{"id": 5, "s": {"w": 1}}])),
        ),
    )
    .await;
    expected.insert(1, of(&[]));
    expected.insert(2, of(&[("s", sparse(&[("y", 3.0)]))]));
    expected.insert(5, of(&[("s", sparse(&[("w", 1.0)]))]));
    everywhere(&bucket, &engine, &expected).await;

    let message = query_refusal(&engine, missing("s")).await;
    assert!(message.contains("not filterable"), "{message}");
    let message = query_refusal(&engine, ordered("s")).await;
    assert!(message.contains("of type {}f16"), "{message}");
    let many = |n: usize| {
        let entries = (0..n).map(|at| (at.to_string(), json!(1)));
        serde_json::Value::Object(entries.collect())
    };
    for (value, part) in [
        (json!(5), "expected an object of numbers"),
        (json!([1, 2]), "expected an object of numbers"),
        (json!({"a": "x"}), "found string `x` under `a`"),
        (json!({"a": null}), "found null under `a`"),
        (
            json!({"a": 65_520}),
            "round to finite 16-bit floats, found 65520 under `a`",
        ),
        (json!({"a": 1e300}), "found inf under `a`"),
        (many(1_025), "expected at most 1024 entries, found more"),
    ] {
        let message = refusal(&engine, rows(json!([{"id": 9, "s": value}]))).await;
        assert!(message.contains(part), "{message}");
    }
    write(&engine, rows(json!([{"id": 9, "s": many(1_024)}]))).await;
    let message = refusal(&engine, rows(json!([{"id": 9, "other": {"a": 1}}]))).await;
    assert!(message.contains("found object"), "{message}");
}
