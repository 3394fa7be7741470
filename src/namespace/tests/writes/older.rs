//! Documents that are older than an attribute, and namespaces that are not there.

use super::*;
use crate::types::document::SchemaSpec;
use crate::types::filter::ListOp;

fn upsert_documents(rows: Vec<Document>) -> WriteBatch {
    WriteBatch {
        upserts: rows,
        has_upserts: true,
        ..WriteBatch::default()
    }
}

/// Documents 1 and 2 from before the attributes `tags`, with elements, and `vector`; 3 from after it.
async fn veterans() -> Vec<(&'static str, Engine)> {
    let mut engines = Vec::new();
    for place in ["tail", "segment", "both"] {
        let engine = engine_on(memory(), 1);
        let old = |id: i64| {
            let nothing = RawValue::Array(Vec::new());
            document(id, &[("n", RawValue::Int(id)), ("tags", nothing)])
        };
        write(&engine, upsert_documents(vec![old(1), old(2)])).await;
        if place == "segment" {
            engine.flush(&name()).await.expect("a flush");
        }
        let tags = RawValue::Array(vec![text("a")]);
        let numbers = RawValue::Numbers {
            values: vec![1.0, 2.0],
            integers: false,
        };
        let young = document(
            3,
            &[("n", RawValue::Int(3)), ("tags", tags), ("vector", numbers)],
        );
        let batch = WriteBatch {
            distance_metric: Some(DistanceMetric::EuclideanSquared),
            ..upsert_documents(vec![young])
        };
        write(&engine, batch).await;
        if place == "both" {
            engine.flush(&name()).await.expect("a flush");
            write(&engine, patch(vec![document(2, &[])])).await;
        }
        engines.push((place, engine));
    }
    engines
}

fn field(name: &str, value: Value) -> (String, Value) {
    (name.to_owned(), value)
}

#[tokio::test]
async fn patch_of_a_document_older_than_vectors_and_lists_keeps_what_it_has_not() {
    for (place, engine) in veterans().await {
        let changes = patch(vec![
            document(
                1,
                &[("n", RawValue::Int(10)), ("new", RawValue::Bool(true))],
            ),
            document(2, &[("tags", RawValue::Array(vec![text("b")]))]),
            document(3, &[("new", RawValue::Bool(false))]),
        ]);
        assert_eq!(
            write(&engine, changes).await.rows_patched,
            Some(3),
            "{place}"
        );
        for round in ["before a flush", "after it"] {
            let seen = shown(&engine).await;
            let list = |items: &[&str]| {
                let items = items.iter().map(|item| Value::String((*item).into()));
                Value::Array(items.collect::<Vec<_>>().into())
            };
            let first = [
                field("n", Value::Int(10)),
                field("new", Value::Bool(true)),
                field("tags", list(&[])),
            ];
            assert_eq!(seen[0], (1, first.to_vec()), "{place} {round}");
            let second = [field("n", Value::Int(2)), field("tags", list(&["b"]))];
            assert_eq!(seen[1], (2, second.to_vec()), "{place} {round}");
            let third = [
                field("n", Value::Int(3)),
                field("new", Value::Bool(false)),
                field("tags", list(&["a"])),
                vector([1.0, 2.0]),
            ];
            assert_eq!(seen[2], (3, third.to_vec()), "{place} {round}");
            engine.flush(&name()).await.expect("a flush");
        }
    }
}

#[tokio::test]
async fn condition_on_an_attribute_newer_than_the_document_finds_it_missing() {
    for (place, engine) in veterans().await {
        let contains = Filter::List {
            attribute: "tags".to_owned(),
            op: ListOp::Contains,
            value: text("a"),
        };
        write(
            &engine,
            patch(vec![document(3, &[("late", RawValue::Int(1))])]),
        )
        .await;
        let marks = || {
            let mark = |id| document(id, &[("mark", RawValue::Int(1))]);
            patch(vec![mark(1), mark(2), mark(3)])
        };
        for (condition, expected) in [
            (contains, vec![3]),
            (compare("late", CompareOp::Lt, 2), vec![1, 2, 3]),
            (compare("late", CompareOp::Gte, 1), vec![3]),
        ] {
            let batch = WriteBatch {
                patch_condition: Some(condition.clone().into()),
                ..marks()
            };
            let ids: Vec<u64> = write(&engine, batch)
                .await
                .patched_ids
                .iter()
                .map(number)
                .collect();
            assert_eq!(ids, expected, "{place} by id: {condition:?}");
            let batch = patch_where(condition.clone(), &[("mark", RawValue::Int(2))]);
            let ids: Vec<u64> = write(&engine, batch)
                .await
                .patched_ids
                .iter()
                .map(number)
                .collect();
            assert_eq!(ids, expected, "{place} by filter: {condition:?}");
        }
    }
}

#[tokio::test]
async fn operation_that_makes_no_namespace_finds_none() {
    let engine = engine_on(memory(), 1);
    let any = || Filter::And(Vec::new());
    for batch in [
        delete(&[1]),
        patch(vec![document(1, &[("year", RawValue::Int(1))])]),
        delete_where(any()),
        patch_where(any(), &[("year", RawValue::Int(1))]),
        WriteBatch {
            schema: Some(SchemaSpec::default()),
            ..WriteBatch::default()
        },
        WriteBatch {
            create_namespace: Some(false),
            ..upsert([(1, 1)])
        },
        WriteBatch {
            delete_condition: Some(any().into()),
            ..delete(&[1])
        },
    ] {
        let shape = format!("{batch:?}");
        let error = refused(&engine, batch).await;
        assert_eq!(error.code(), "namespace_not_found", "{error}: {shape}");
    }
    let page = engine.list("", None, 10).await.expect("a page");
    assert!(page.names.is_empty(), "{page:?}");
}
