//! Bytes, sparse vectors and attributes that are dropped, wherever the documents lie.

use std::collections::BTreeMap;

use serde_json::json;

use super::json::{ask, documents, plain, schema, upsert_json};
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

fn drops(name: &str) -> SchemaSpec {
    SchemaSpec {
        drops: [name.to_owned()].into(),
        ..SchemaSpec::default()
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

/// Words of a document: some of twenty, other ones for each.
fn words(id: u64) -> Vec<(String, f32)> {
    let has = |word: &u64| (id * 7 + word * 13).is_multiple_of(5) && !id.is_multiple_of(11);
    let weight = |word: u64| ((id + word) % 9) as f32 / 4.0 - 0.25;
    let words = (0..20).filter(has);
    words
        .map(|word| (format!("w{word}"), weight(word)))
        .collect()
}

#[tokio::test]
async fn sparse_vectors_rank_by_their_dot_product_wherever_they_lie() {
    let bucket = memory();
    let engine = engine_on(Arc::clone(&bucket), 1);
    let of_words = |ids: std::ops::Range<u64>| {
        let of = ids.map(|id| {
            let words = words(id).into_iter();
            let words = words.map(|(word, weight)| (word, json!(weight)));
            json!({"id": id, "year": id, "s": serde_json::Value::Object(words.collect())})
        });
        with_schema(sparse_schema("s"), rows(of.collect()))
    };
    let query = [("w3", 2.0), ("w8", 0.5), ("w18", 1.25), ("none", 9.0)];
    let score = crate::query::request::ScoreExpr::Sparse {
        attribute: "s".to_owned(),
        vector: RawValue::Object(
            query
                .map(|(word, weight)| (word.into(), RawValue::Float(weight)))
                .into(),
        ),
    };
    let ask_score = async |engine: &Engine| {
        let query = Query {
            rank_by: RankBy::Score(score.clone()),
            limit: 12,
            ..all()
        };
        let rows = ask(engine, query).await.into_iter();
        let rows = rows.map(|row| match row.dist {
            Some(crate::query::reply::Dist::Score(score)) => (row.id, score),
            other => panic!("no score: {other:?}"),
        });
        rows.collect::<Vec<_>>()
    };
    let mut expected: Vec<(DocId, f64)> = (0..80)
        .map(|id| {
            let products = words(id).into_iter().map(|(word, weight)| {
                let asked = query.iter().find(|(asked, _)| *asked == word);
                f64::from(weight) * asked.map_or(0.0, |(_, asked)| *asked)
            });
            (DocId::Uint(id), products.sum())
        })
        .filter(|(_, score)| *score > 0.0)
        .collect();
    expected.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    expected.truncate(12);
    assert!(expected.len() == 12, "{}", expected.len());
    write(&engine, of_words(0..80)).await;
    assert_eq!(ask_score(&engine).await, expected, "tail");
    engine.flush(&name()).await.expect("a flush");
    assert_eq!(ask_score(&engine).await, expected, "segment");
    write(&engine, of_words(30..50)).await;
    assert_eq!(ask_score(&engine).await, expected, "both");
    let cold = engine_on(bucket, 2);
    assert_eq!(ask_score(&cold).await, expected, "cold");
}

#[tokio::test]
async fn dropped_attribute_is_gone_and_its_name_begins_anew() {
    let bucket = memory();
    let engine = engine_on(Arc::clone(&bucket), 1);
    let before = json!([{"id": 1, "a": 1, "b": "x"}, {"id": 2, "a": 2}]);
    write(&engine, rows(before)).await;
    engine.flush(&name()).await.expect("a flush");
    write(&engine, rows(json!([{"id": 3, "a": 3, "b": "y"}]))).await;
    // A node that knows the state before the drop.
    let other = engine_on(Arc::clone(&bucket), 2);
    assert_eq!(shown(&other).await.len(), 3);
    let old = engine.describe(&name()).await.expect("described").schema;

    let update = engine.update_schema(&name(), drops("a")).await;
    assert_eq!(update.expect("a commit").get("a"), None);
    let mut expected = Shown::from([
        (1, of(&[("b", text("x"))])),
        (2, of(&[])),
        (3, of(&[("b", text("y"))])),
    ]);
    assert_eq!(shown(&engine).await, expected);
    for query in [missing("a"), ordered("a")] {
        let message = query_refusal(&engine, query).await;
        assert!(message.contains("attribute `a` not found"), "{message}");
    }
    let only = Query {
        include: Include::Only(vec!["a".to_owned()]),
        ..all()
    };
    let message = query_refusal(&engine, only).await;
    assert!(message.contains("attribute `a` not found"), "{message}");

    // The other node binds its write to the newest state: `a` is new there, of whatever type.
    write(&other, rows(json!([{"id": 4, "a": "text"}]))).await;
    write(&other, patches(json!([{"id": 1, "a": "again"}]))).await;
    expected.insert(4, of(&[("a", text("text"))]));
    expected.insert(1, of(&[("a", text("again")), ("b", text("x"))]));
    let schema = engine.describe(&name()).await.expect("described").schema;
    let attr = |schema: &crate::types::NamespaceSchema| schema.get("a").map(|one| one.id);
    assert!(attr(&schema) > attr(&old), "a new number");
    let without = ask(&engine, missing("a")).await;
    assert_eq!(without.len(), 2, "old documents have no such attribute");
    everywhere(&bucket, &engine, &expected).await;

    // A drop and a new type in the request that writes of it; what is not there may be dropped.
    let batch = rows(json!([{"id": 5, "a": [1.5]}]));
    let spec = SchemaSpec {
        drops: ["a".to_owned(), "never".to_owned()].into(),
        ..SchemaSpec::default()
    };
    write(&engine, with_schema(spec, batch)).await;
    expected.insert(1, of(&[("b", text("x"))]));
    expected.insert(4, of(&[]));
    let list = Value::Array([Value::Float(1.5)].into());
    expected.insert(5, of(&[("a", list)]));
    everywhere(&bucket, &engine, &expected).await;
}

#[tokio::test]
async fn drop_between_writes_of_one_group_parts_what_was_before_from_what_is_after() {
    let bucket = memory();
    let engine = engine_on(Arc::clone(&bucket), 1);
    write(&engine, rows(json!([{"id": 1, "a": 1}]))).await;
    let name = name();
    let write = |batch: WriteBatch| engine.write(&name, batch, None);
    // The first is on its way alone; the rest wait for it and make one slot.
    let written = futures::join!(
        write(rows(json!([{"id": 2, "a": 2}]))),
        write(rows(json!([{"id": 3, "a": 3}]))),
        write(with_schema(drops("a"), rows(json!([{"id": 4}])))),
        write(rows(json!([{"id": 5, "a": "x"}]))),
        write(patches(json!([{"id": 1, "a": "y"}, {"id": 3, "a": "z"}]))),
    );
    let (first, second, third, fourth, fifth) = written;
    for outcome in [first, second, third, fourth, fifth] {
        outcome.expect("a commit");
    }
    let expected = Shown::from([
        (1, of(&[("a", text("y"))])),
        (2, of(&[])),
        (3, of(&[("a", text("z"))])),
        (4, of(&[])),
        (5, of(&[("a", text("x"))])),
    ]);
    everywhere(&bucket, &engine, &expected).await;
}

#[tokio::test]
async fn dropping_a_vector_is_refused() {
    let engine = engine_on(memory(), 1);
    write(&engine, upsert([(1, 1)])).await;
    let refused = engine.update_schema(&name(), drops("vector")).await;
    let error = refused.expect_err("a refusal");
    let part = "vector attribute `vector` cannot be dropped";
    assert!(error.message().contains(part), "{error}");
    let spec = SchemaSpec {
        attributes: [("vector".to_owned(), plain("[2]f16"))].into(),
        ..SchemaSpec::default()
    };
    let error = engine.update_schema(&name(), spec).await;
    let error = error.expect_err("a refusal");
    let part = "its type cannot change: expected [2]f32, found [2]f16";
    assert!(error.message().contains(part), "{error}");
}
