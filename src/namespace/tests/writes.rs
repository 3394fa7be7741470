//! Patches, conditions and writes by filter, on documents of the tail and of segments.

use super::*;
use crate::error::Error;
use crate::namespace::WriteLimits;
use crate::types::condition::{Condition, Template};
use crate::types::document::{DeleteByFilter, PatchByFilter, WriteOutcome};

mod limits;
mod older;
mod order;

type Shown = Vec<(u64, Vec<(String, Value)>)>;

fn text(value: &str) -> RawValue {
    RawValue::String(value.into())
}

fn document(id: i64, attributes: &[(&str, RawValue)]) -> Document {
    let attributes = attributes.iter();
    Document {
        id: RawValue::Int(id),
        attributes: attributes
            .map(|(name, value)| (Arc::from(*name), value.clone()))
            .collect(),
    }
}

fn patch(rows: Vec<Document>) -> WriteBatch {
    WriteBatch {
        patches: rows,
        has_patches: true,
        return_affected_ids: true,
        ..WriteBatch::default()
    }
}

fn compare(attribute: &str, op: CompareOp, value: i64) -> Filter {
    Filter::Compare {
        attribute: attribute.to_owned(),
        op,
        value: RawValue::Int(value),
    }
}

fn delete_where(filter: Filter) -> WriteBatch {
    WriteBatch {
        delete_by_filter: Some(DeleteByFilter {
            filter,
            allow_partial: false,
        }),
        return_affected_ids: true,
        ..WriteBatch::default()
    }
}

fn patch_where(filter: Filter, attributes: &[(&str, RawValue)]) -> WriteBatch {
    WriteBatch {
        patch_by_filter: Some(PatchByFilter {
            filter,
            attributes: document(0, attributes).attributes,
            allow_partial: false,
        }),
        return_affected_ids: true,
        ..WriteBatch::default()
    }
}

async fn write(engine: &Engine, batch: WriteBatch) -> WriteOutcome {
    let written = engine.write(&name(), batch, None).await;
    written.expect("a commit")
}

async fn refused(engine: &Engine, batch: WriteBatch) -> Error {
    let written = engine.write(&name(), batch, None).await;
    written.expect_err("a refusal")
}

fn number(id: &DocId) -> u64 {
    match id {
        DocId::Uint(id) => *id,
        other => panic!("an id of another kind: {other}"),
    }
}

/// Every document with every attribute.
async fn shown(engine: &Engine) -> Shown {
    let query = Query {
        include: Include::Everything,
        ..all()
    };
    let reply = engine.query(&name(), query).await.expect("a reply");
    let rows = reply.rows.iter().map(|row| {
        let attributes = row.attributes.iter();
        let attributes = attributes.map(|(name, value)| (name.to_string(), value.clone()));
        (number(&row.id), attributes.collect())
    });
    rows.collect()
}

fn vector(values: [f32; 2]) -> (String, Value) {
    ("vector".to_owned(), Value::Vector(values[..].into()))
}

fn year(value: i64) -> (String, Value) {
    ("year".to_owned(), Value::Int(value))
}

/// Ten documents, years 1900 to 1909, in the tail, in a segment, or some of them in each.
async fn libraries() -> Vec<(&'static str, Engine)> {
    libraries_with(WriteLimits::default()).await
}

async fn libraries_with(write_limits: WriteLimits) -> Vec<(&'static str, Engine)> {
    let mut engines = Vec::new();
    for place in ["tail", "segment", "both"] {
        let options = EngineOptions {
            write_limits,
            ..EngineOptions::default()
        };
        let engine = engine_with(memory(), 1, options);
        write(&engine, upsert((0..10).map(|id| (id, 1_900 + id)))).await;
        if place != "tail" {
            engine.flush(&name()).await.expect("a flush");
        }
        if place == "both" {
            write(
                &engine,
                upsert((0..10).step_by(2).map(|id| (id, 1_900 + id))),
            )
            .await;
        }
        engines.push((place, engine));
    }
    engines
}

#[tokio::test]
async fn patch_changes_what_it_names_and_keeps_the_rest() {
    for (place, engine) in libraries().await {
        let changes = patch(vec![
            document(3, &[("title", text("x"))]),
            document(99, &[("title", text("nobody"))]),
            document(4, &[("year", RawValue::Null)]),
            document(5, &[]),
            document(6, &[("year", RawValue::Int(7)), ("title", RawValue::Null)]),
        ]);
        let outcome = write(&engine, changes).await;
        assert_eq!(outcome.rows_patched, Some(4), "{place}");
        let ids: Vec<u64> = outcome.patched_ids.iter().map(number).collect();
        assert_eq!(ids, [3, 4, 5, 6], "{place}");
        for round in ["before a flush", "after it"] {
            let seen = shown(&engine).await;
            assert_eq!(seen.len(), 10, "{place} {round}");
            let title = ("title".to_owned(), Value::String("x".into()));
            assert_eq!(
                seen[3],
                (3, vec![title, vector([3.0, 1_903.0]), year(1_903)]),
                "{place} {round}"
            );
            assert_eq!(
                seen[4],
                (4, vec![vector([4.0, 1_904.0])]),
                "{place} {round}"
            );
            let same = (5, vec![vector([5.0, 1_905.0]), year(1_905)]);
            assert_eq!(seen[5], same, "{place} {round}");
            let changed = (6, vec![vector([6.0, 1_906.0]), year(7)]);
            assert_eq!(seen[6], changed, "{place} {round}");
            engine.flush(&name()).await.expect("a flush");
        }
    }
}

#[tokio::test]
async fn patch_that_does_not_fit_is_refused_whole() {
    for (place, engine) in libraries().await {
        let before = shown(&engine).await;
        let vectors = RawValue::Numbers {
            values: vec![1.0, 2.0],
            integers: true,
        };
        let mut twice = patch(vec![document(1, &[("year", RawValue::Int(1))])]);
        twice.deletes = vec![RawValue::Int(1)];
        for (batch, part) in [
            (
                patch(vec![document(1, &[("vector", vectors)])]),
                "patch row 0 (id 1): attribute `vector`: a vector cannot be patched",
            ),
            (
                patch(vec![
                    document(1, &[("year", RawValue::Int(1))]),
                    document(2, &[("year", text("x"))]),
                ]),
                "patch row 1 (id 2): attribute `year`",
            ),
            (twice, "id `1` occurs twice"),
        ] {
            let error = refused(&engine, batch).await;
            assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{place}: {error}");
            assert!(error.message().contains(part), "{place}: {error}");
        }
        assert_eq!(shown(&engine).await, before, "{place}");
    }
    let engine = engine_on(memory(), 1);
    let error = refused(&engine, patch(vec![document(1, &[])])).await;
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
}

#[tokio::test]
async fn patches_of_one_document_at_once_all_count() {
    for (place, engine) in libraries().await {
        let names: Vec<String> = (0..20).map(|n| format!("a{n:02}")).collect();
        let writes = names.iter().map(|attribute| {
            let changes = patch(vec![document(1, &[(attribute.as_str(), RawValue::Int(1))])]);
            write(&engine, changes)
        });
        futures::future::join_all(writes).await;
        let seen = shown(&engine).await;
        let found: Vec<&str> = seen[1].1.iter().map(|(name, _)| name.as_str()).collect();
        let mut expected: Vec<&str> = names.iter().map(String::as_str).collect();
        expected.extend(["vector", "year"]);
        assert_eq!(found, expected, "{place}");
    }
}

#[tokio::test]
async fn conditions_of_patches_and_deletes_skip_what_is_missing_or_fails_them() {
    for (place, engine) in libraries().await {
        let early = || Some(compare("year", CompareOp::Lt, 1_905).into());
        let mut changes = patch(
            [3, 4, 5, 6, 77]
                .map(|id| document(id, &[("title", text("early"))]))
                .to_vec(),
        );
        changes.patch_condition = early();
        let outcome = write(&engine, changes).await;
        let patched: Vec<u64> = outcome.patched_ids.iter().map(number).collect();
        assert_eq!(
            (outcome.rows_patched, patched),
            (Some(2), vec![3, 4]),
            "{place}"
        );
        let outcome = write(
            &engine,
            WriteBatch {
                delete_condition: early(),
                return_affected_ids: true,
                ..delete(&[0, 1, 8, 88])
            },
        )
        .await;
        let deleted: Vec<u64> = outcome.deleted_ids.iter().map(number).collect();
        assert_eq!(
            (outcome.rows_deleted, deleted),
            (Some(2), vec![0, 1]),
            "{place}"
        );
        let left: Vec<u64> = shown(&engine).await.iter().map(|row| row.0).collect();
        assert_eq!(left, [2, 3, 4, 5, 6, 7, 8, 9], "{place}");
    }
}

/// `[year, Lt, {"$ref_new": "year"}]`.
#[derive(Debug)]
struct Newer(Vec<String>);

impl Template for Newer {
    fn references(&self) -> &[String] {
        &self.0
    }

    fn filter(&self, new: &dyn Fn(&str) -> RawValue) -> crate::error::Result<Filter> {
        Ok(Filter::Compare {
            attribute: "year".to_owned(),
            op: CompareOp::Lt,
            value: new("year"),
        })
    }
}

#[tokio::test]
async fn condition_that_refers_to_new_documents_compares_each_with_its_own() {
    for (place, engine) in libraries().await {
        let newer = || {
            Some(Condition::Referring(Arc::new(Newer(vec![
                "year".to_owned(),
            ]))))
        };
        let outcome = write(
            &engine,
            WriteBatch {
                upsert_condition: newer(),
                return_affected_ids: true,
                ..upsert([(0, 1_950), (1, 1_901), (2, 1_850), (20, 1_800)])
            },
        )
        .await;
        let ids: Vec<u64> = outcome.upserted_ids.iter().map(number).collect();
        assert_eq!(ids, [0, 20], "{place}");
        let year = |id: i64, year: i64| document(id, &[("year", RawValue::Int(year))]);
        let outcome = write(
            &engine,
            WriteBatch {
                patch_condition: newer(),
                ..patch(vec![year(3, 1_904), year(4, 1_904), document(5, &[])])
            },
        )
        .await;
        let ids: Vec<u64> = outcome.patched_ids.iter().map(number).collect();
        assert_eq!(ids, [3], "{place}");
        // Nothing is less than null, which is what a delete compares with.
        let outcome = write(
            &engine,
            WriteBatch {
                delete_condition: newer(),
                ..delete(&[7, 8])
            },
        )
        .await;
        assert_eq!(outcome.rows_deleted, Some(0), "{place}");
        let unknown = Newer(vec!["nothing".to_owned()]);
        let error = refused(
            &engine,
            WriteBatch {
                delete_condition: Some(Condition::Referring(Arc::new(unknown))),
                ..delete(&[7])
            },
        )
        .await;
        assert!(error.message().contains("`nothing` not found"), "{error}");
    }
}

#[tokio::test]
async fn condition_on_an_attribute_that_came_in_the_same_group_looks_at_flushed_documents() {
    let (_, engine) = libraries().await.remove(1);
    let mut declares = patch(vec![document(1, &[("state", RawValue::Int(1))])]);
    declares.return_affected_ids = false;
    let asks = WriteBatch {
        upsert_condition: Some(compare("state", CompareOp::Eq, 1).into()),
        ..upsert([(1, 1), (2, 2)])
    };
    // Sent together, so that they are one group more often than not; the order is that of the calls.
    let (_, asked) = futures::join!(write(&engine, declares), write(&engine, asks));
    assert_eq!(asked.rows_upserted, Some(1));
    let seen = rows(&engine).await;
    assert_eq!(seen[1..3], [(1, 1), (2, 1_902)]);
}

#[tokio::test]
async fn delete_by_filter_deletes_what_matches_and_tells_it_sorted() {
    for (place, engine) in libraries().await {
        let outcome = write(
            &engine,
            delete_where(compare("year", CompareOp::Gte, 1_904)),
        )
        .await;
        let ids: Vec<u64> = outcome.deleted_ids.iter().map(number).collect();
        assert_eq!(ids, [4, 5, 6, 7, 8, 9], "{place}");
        assert_eq!(
            (outcome.rows_deleted, outcome.rows_remaining),
            (Some(6), false)
        );
        let none = write(
            &engine,
            delete_where(compare("year", CompareOp::Gte, 1_904)),
        )
        .await;
        assert_eq!(none.rows_deleted, Some(0), "{place}");
        engine.flush(&name()).await.expect("a flush");
        assert_eq!(rows(&engine).await.len(), 4, "{place}");
    }
    let engine = engine_on(memory(), 1);
    let error = refused(&engine, delete_where(compare("x", CompareOp::Eq, 1))).await;
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
}

#[tokio::test]
async fn patch_by_filter_patches_whole_documents_and_may_bring_an_attribute() {
    for (place, engine) in libraries().await {
        let changes = patch_where(
            compare("year", CompareOp::Lt, 1_903),
            &[("old", RawValue::Bool(true)), ("year", RawValue::Null)],
        );
        let outcome = write(&engine, changes).await;
        let ids: Vec<u64> = outcome.patched_ids.iter().map(number).collect();
        assert_eq!(ids, [0, 1, 2], "{place}");
        assert_eq!(outcome.rows_patched, Some(3), "{place}");
        for _ in 0..2 {
            let seen = shown(&engine).await;
            let old = ("old".to_owned(), Value::Bool(true));
            assert_eq!(seen[1], (1, vec![old, vector([1.0, 1_901.0])]), "{place}");
            assert_eq!(seen[3].1.len(), 2, "{place}");
            engine.flush(&name()).await.expect("a flush");
        }
    }
}

#[tokio::test]
async fn parts_of_one_request_apply_filters_first_and_deletes_before_patches() {
    for (place, engine) in libraries().await {
        let any = || Filter::And(Vec::new());
        let mut batch = delete_where(compare("year", CompareOp::Lt, 1_902));
        batch.patch_by_filter = patch_where(any(), &[("mark", RawValue::Int(1))]).patch_by_filter;
        // Deleted above: ignored. Patched above: as it is then.
        batch.patches = vec![
            document(0, &[("mark", RawValue::Int(9))]),
            document(5, &[("year", RawValue::Int(5))]),
        ];
        batch.patch_condition = Some(compare("mark", CompareOp::Eq, 1).into());
        batch.deletes = vec![RawValue::Int(9)];
        let inserted = upsert([(1, 2_001)]);
        batch.upserts = inserted.upserts;
        batch.upsert_condition = Some(Filter::Or(Vec::new()).into());
        let outcome = write(&engine, batch).await;
        assert_eq!(
            (
                outcome.rows_upserted,
                outcome.rows_patched,
                outcome.rows_deleted
            ),
            (Some(1), Some(9), Some(3)),
            "{place}"
        );
        let expected = [1, 2, 3, 4, 5, 6, 7, 8];
        let seen = shown(&engine).await;
        let ids: Vec<u64> = seen.iter().map(|row| row.0).collect();
        assert_eq!(ids, expected, "{place}");
        let mark = ("mark".to_owned(), Value::Int(1));
        assert_eq!(seen[0].1, [vector([1.0, 2_001.0]), year(2_001)], "{place}");
        assert_eq!(
            seen[4].1,
            [mark, vector([5.0, 1_905.0]), year(5)],
            "{place}"
        );
    }
}

#[tokio::test]
async fn create_namespace_says_whether_a_first_write_makes_one() {
    let id = |batch: WriteBatch| WriteBatch {
        schema: Some(crate::types::document::SchemaSpec {
            id_kind: Some(crate::types::IdKind::String),
            ..Default::default()
        }),
        ..batch
    };
    let says = |create, batch: WriteBatch| WriteBatch {
        create_namespace: Some(create),
        ..batch
    };
    let engine = engine_on(memory(), 1);
    let error = refused(&engine, says(false, upsert([(1, 1)]))).await;
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    let error = refused(&engine, says(true, upsert([(1, 1)]))).await;
    assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{error}");
    let error = refused(&engine, id(WriteBatch::default())).await;
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    write(&engine, says(true, id(WriteBatch::default()))).await;
    let described = engine.describe(&name()).await.expect("it is there");
    assert_eq!(described.schema.id_kind, Some(crate::types::IdKind::String));
    assert_eq!(described.rows, 0);
    write(&engine, says(false, id(WriteBatch::default()))).await;
}
