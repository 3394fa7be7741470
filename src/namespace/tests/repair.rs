//! Index files that are damaged: what needs them is answered from the documents, and they are built again by themselves.

use std::ops::Range;

use bytes::Bytes;
use serde_json::json;

use super::index_build::{SETTLED_MS, engine_at};
use super::json::{documents, schema};
use super::tools::{copied, count_of, flush, orphans, view, write};
use super::*;
use crate::format::segment::SUM_BLOCK_BYTES;
use crate::query::request::{Aggregate, Ask, Fold, GroupBy, Questions, ScoreExpr};
use crate::runtime::clock::sleep_ms;
use crate::store::fault::Point;
use crate::types::document::DeleteByFilter;

/// Rows of the first segment: its ids take more than a block of the file.
const ROWS: i64 = 8_000;

fn batch(ids: Range<i64>) -> WriteBatch {
    let rows = ids.map(|id| {
        let mut row = json!({
            "id": id,
            "year": id * 7 % 1_000,
            "title": format!("t{}", id * 31 % 4_001),
            "tags": [format!("a{}", id % 50), format!("b{}", id % 7)],
            "vector": [id as f64, 1.0],
        });
        // Some have no value: indexes list those beside the others.
        if id % 9 != 4 {
            row["words"] = json!({format!("w{}", id % 30): 1.0 + (id % 8) as f64, "all": 0.5});
            row["at"] = json!(id % 11);
        }
        row
    });
    let mut spec = schema(&[("words", "{}f16"), ("tags", "[]string")]);
    for attribute in spec.attributes.values_mut() {
        attribute.sparse_knn = matches!(attribute.kind, crate::types::AttributeType::Sparse);
    }
    WriteBatch {
        upserts: documents(&rows.collect()),
        has_upserts: true,
        distance_metric: Some(DistanceMetric::EuclideanSquared),
        schema: Some(spec),
        ..WriteBatch::default()
    }
}

/// Two segments and a tail that rewrites and deletes a few of the first rows of the first.
async fn library(bucket: &Arc<dyn Bucket>) -> Engine {
    let (engine, _) = engine_at(bucket, 1);
    write(&engine, batch(0..ROWS)).await;
    flush(&engine).await;
    write(&engine, batch(ROWS..ROWS + 40)).await;
    flush(&engine).await;
    write(&engine, batch(9_000..9_003)).await;
    write(&engine, delete(&[3, 5, 8])).await;
    engine.finish().await;
    engine
}

fn filtered(filter: serde_json::Value) -> Query {
    Query {
        filter: Some(crate::filter::parse(&filter).expect("a filter")),
        limit: 400,
        ..all()
    }
}

/// Queries that read every section of an index that queries read.
fn battery() -> Vec<Questions> {
    let by = |attribute: &str, descending| Query {
        rank_by: RankBy::Order(vec![crate::query::request::OrderKey {
            attribute: attribute.to_owned(),
            descending,
        }]),
        limit: 30,
        ..all()
    };
    let mut asked: Vec<Questions> = [
        filtered(json!(["year", "Gte", 980])),
        filtered(json!(["title", "Eq", "t400"])),
        filtered(json!(["title", "Gt", "t39"])),
        filtered(json!(["tags", "Contains", "b3"])),
        filtered(json!([
            "And",
            [["tags", "ContainsAny", ["a1", "a49"]], ["year", "Lt", 90]]
        ])),
        filtered(json!(["at", "Eq", null])),
        filtered(json!(["id", "In", [1, 5, 700, 7_990, 8_010, 9_001]])),
        filtered(json!(["Not", ["at", "In", [1, 2, 3]]])),
        by("year", true),
        by("title", false),
        by("at", true),
        all(),
    ]
    .map(Questions::from)
    .into();
    let words = [("w3", 1.0), ("w17", 0.25), ("all", 1.0)];
    let words = words.map(|(word, weight)| (Arc::from(word), RawValue::Float(weight)));
    asked.push(Questions::from(Query {
        rank_by: RankBy::Score(ScoreExpr::Sparse {
            attribute: "words".to_owned(),
            vector: RawValue::Object(words.into()),
        }),
        limit: 60,
        ..all()
    }));
    asked.push(Questions::from(Query {
        rank_by: RankBy::Vector {
            attribute: "vector".to_owned(),
            vector: RawValue::Numbers {
                values: vec![4_000.0, 1.0],
                integers: false,
            },
            exact: false,
        },
        limit: 20,
        ..filtered(json!(["tags", "Contains", "a7"]))
    }));
    let groups = ["at", "title"].map(|attribute| GroupBy {
        label: attribute.to_owned(),
        attribute: attribute.to_owned(),
        each: false,
    });
    asked.push(Questions {
        asks: vec![Ask::Totals(Aggregate {
            folds: vec![("n".to_owned(), Fold::Count)],
            groups: groups[..1].to_vec(),
            limit: 100,
            paging: Paging::Off,
            filter: None,
        })],
        ..Questions::from(all())
    });
    asked
}

/// What an engine says to the battery: what was found, or the error.
async fn answers(engine: &Engine) -> Vec<Result<String, crate::error::Error>> {
    let mut said = Vec::new();
    for asked in battery() {
        let answer = engine.ask(&name(), &asked).await;
        said.push(answer.map(|answers| {
            assert!(answers.degraded.is_none());
            format!("{:?}", answers.found)
        }));
    }
    said
}

async fn whole_answers(engine: &Engine) -> Vec<String> {
    let said = answers(engine).await.into_iter();
    said.map(|one| one.expect("answered")).collect()
}

async fn object(bucket: &Arc<dyn Bucket>, key: &str) -> Bytes {
    let found = bucket.get(key).await.expect("it answers").into_bytes();
    found.expect("it is there")
}

/// The first segment's index file and its sections, the footer among them.
async fn sections(engine: &Engine) -> (String, Vec<(String, Range<u64>)>) {
    let view = view(engine).await;
    let reader = &view.segments[0];
    let footer = reader.footer().await.expect("a footer");
    let index = &reader.segment().index;
    let sections = footer.sections().iter();
    let mut found: Vec<_> = sections
        .map(|(name, (start, end))| (name.clone(), *start..*end))
        .filter(|(_, range)| !range.is_empty())
        .collect();
    found.push((
        "footer".to_owned(),
        reader.segment().footer.offset..index.bytes,
    ));
    (index.path.clone(), found)
}

/// Turns a bit of an object.
async fn flip(bucket: &Arc<dyn Bucket>, key: &str, at: u64) {
    let mut bytes = object(bucket, key).await.to_vec();
    bytes[at as usize] ^= 0x10;
    bucket.put(key, bytes.into()).await.expect("a put");
}

fn metric(engine: &Engine, name: &str) -> f64 {
    let text = engine.shared.metrics.render();
    let line = text.lines().find(|line| line.starts_with(name));
    let line = line.unwrap_or_else(|| panic!("no `{name}`"));
    line[name.len()..].trim().parse().expect("a number")
}

#[tokio::test(start_paused = true)]
async fn damage_of_any_section_of_an_index_changes_no_answer_and_is_mended_by_itself() {
    let origin = memory();
    let writer = library(&origin).await;
    let (first, _) = engine_at(&origin, 2);
    let expected = whole_answers(&first).await;
    let (key, sections) = sections(&writer).await;
    let names: Vec<&str> = sections.iter().map(|(name, _)| name.as_str()).collect();
    assert!(names.len() >= 10, "{names:?}");
    for (section, range) in &sections {
        let bucket = copied(&origin).await;
        let at = (range.start + range.end) / 2;
        flip(&bucket, &key, at).await;
        let (engine, _) = engine_at(&bucket, 3);
        let turn = engine.shared.index_builds.acquire().await;
        let case = format!("`{section}` at {at}");
        let may_fail = section == "footer" || at < SUM_BLOCK_BYTES as u64;
        let said = answers(&engine).await;
        let met = engine.shared.quarantine.objects() > 0;
        for (said, expected) in said.iter().zip(&expected) {
            match said {
                Ok(said) => assert!(said == expected, "{case}"),
                Err(error) => {
                    assert_eq!(error.code(), "data_corrupt", "{case}");
                    assert!(error.message().contains(&key), "{case}: {error}");
                    assert!(may_fail, "{case}: {error}");
                }
            }
        }
        // Nobody asks for the checksums of single vectors, nor for the ids of most rows.
        let is_read = !section.starts_with("checks.") && section != "ids";
        assert!(met || !is_read, "{case}");
        if is_read && section != "footer" && !may_fail {
            let without = metric(&engine, "elacsym_damaged_index_queries_total");
            assert!(without >= 1.0, "{case}");
        }
        assert_eq!(count_of(&*bucket, ".idx").await, 2, "{case}");
        drop(turn);
        sleep_ms(SETTLED_MS).await;
        assert_eq!(whole_answers(&engine).await, expected, "{case}");
        if met {
            assert_eq!(count_of(&*bucket, ".idx").await, 3, "{case}");
            assert_eq!(metric(&engine, "elacsym_index_repairs_total"), 1.0);
            let state = Arc::clone(&view(&engine).await.state);
            assert_ne!(state.segments[0].index.path, key, "{case}");
            assert!(state.claims.is_empty(), "{case}");
            assert_eq!(orphans(&bucket).await, [""; 0], "{case}");
        }
        let (next, _) = engine_at(&bucket, 4);
        assert_eq!(whole_answers(&next).await, expected, "{case}");
        // Writes and flushes look into all ids.
        write(&next, batch(0..20)).await;
        if met {
            flush(&next).await;
            assert_eq!(next.shared.quarantine.objects(), 0, "{case}");
        }
        next.finish().await;
        engine.finish().await;
    }
}

#[tokio::test(start_paused = true)]
async fn index_that_is_gone_or_short_is_built_again_and_writes_go_on() {
    let origin = memory();
    let writer = library(&origin).await;
    let expected = whole_answers(&engine_at(&origin, 2).0).await;
    let (key, _) = sections(&writer).await;
    for cut in [None, Some(0), Some(1), Some(70_000)] {
        let bucket = copied(&origin).await;
        let bytes = object(&bucket, &key).await;
        bucket.delete(&key).await.expect("it is gone");
        if let Some(kept) = cut {
            let part = bytes.slice(..kept);
            bucket.put(&key, part).await.expect("a put");
        }
        let (engine, _) = engine_at(&bucket, 3);
        // Met first by a write that looks for rows, not by a query.
        let by_filter = WriteBatch {
            delete_by_filter: Some(DeleteByFilter {
                filter: crate::filter::parse(&json!(["year", "Eq", -1])).expect("a filter"),
                allow_partial: false,
            }),
            ..WriteBatch::default()
        };
        let refused = engine.write(&name(), by_filter, None).await;
        let error = refused.expect_err("it cannot tell");
        assert_eq!(error.code(), "data_corrupt", "{cut:?}: {error}");
        sleep_ms(SETTLED_MS).await;
        assert_eq!(whole_answers(&engine).await, expected, "{cut:?}");
        flush(&engine).await;
        assert_eq!(whole_answers(&engine).await, expected, "{cut:?}");
        orphans(&bucket).await;
    }
}

#[tokio::test(start_paused = true)]
async fn flush_that_meets_a_damaged_footer_works_once_the_index_is_built_again() {
    let bucket = memory();
    let writer = library(&bucket).await;
    let (key, sections) = sections(&writer).await;
    flip(
        &bucket,
        &key,
        sections.last().expect("a footer").1.start + 90,
    )
    .await;
    let (engine, _) = engine_at(&bucket, 3);
    let error = engine.flush(&name()).await.expect_err("a damaged footer");
    assert_eq!(error.code(), "data_corrupt", "{error}");
    sleep_ms(SETTLED_MS).await;
    flush(&engine).await;
    engine.finish().await;
    // A few flushes later no state that is kept refers to it.
    let no_history = EngineOptions {
        history_ms: 0,
        ..EngineOptions::default()
    };
    let later = engine_with(Arc::clone(&bucket), 4, no_history);
    for id in 100..104 {
        write(&later, delete(&[id])).await;
        flush(&later).await;
    }
    let collected = later.collect(&name(), false).await.expect("a pass");
    assert!(collected.keys.contains(&key), "{collected:?}");
    later.finish().await;
    assert_eq!(orphans(&bucket).await, Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn index_whose_documents_are_damaged_too_costs_no_slot_and_no_endless_work() {
    let bucket = memory();
    let writer = library(&bucket).await;
    let (key, sections) = sections(&writer).await;
    let documents = view(&writer).await.state.segments[0].parquet.path.clone();
    flip(
        &bucket,
        &key,
        sections.last().expect("a footer").1.start + 90,
    )
    .await;
    flip(&bucket, &documents, 4_000).await;
    let (engine, clock) = engine_at(&bucket, 3);
    let slots = count_of(&*bucket, "/wal/").await;
    for _ in 0..600 {
        let error = engine.query(&name(), all()).await.expect_err("damaged");
        assert_eq!(error.code(), "data_corrupt");
        sleep_ms(1_000).await;
        clock.advance_ms(1_000);
    }
    let failures = metric(&engine, "elacsym_index_build_failures_total");
    assert!((3.0..20.0).contains(&failures), "{failures}");
    assert_eq!(count_of(&*bucket, "/wal/").await, slots);
    assert_eq!(count_of(&*bucket, ".idx").await, 2);
    assert_eq!(engine.shared.quarantine.objects(), 2, "both are told");
}

#[tokio::test(start_paused = true)]
async fn index_that_reads_well_again_is_left_as_it_is() {
    let bucket = memory();
    let writer = library(&bucket).await;
    let expected = whole_answers(&engine_at(&bucket, 2).0).await;
    let (key, sections) = sections(&writer).await;
    let whole = object(&bucket, &key).await;
    flip(
        &bucket,
        &key,
        sections.last().expect("a footer").1.start + 90,
    )
    .await;
    let (engine, _) = engine_at(&bucket, 3);
    let turn = engine.shared.index_builds.acquire().await;
    engine.query(&name(), all()).await.expect_err("damaged");
    bucket.put(&key, whole).await.expect("a put");
    let slots = count_of(&*bucket, "/wal/").await;
    drop(turn);
    sleep_ms(SETTLED_MS).await;
    assert_eq!(whole_answers(&engine).await, expected);
    assert_eq!(count_of(&*bucket, ".idx").await, 2);
    assert_eq!(count_of(&*bucket, "/wal/").await, slots);
    let failures = metric(&engine, "elacsym_index_build_failures_total");
    assert_eq!(failures, 0.0);
}

#[tokio::test(start_paused = true)]
async fn repair_by_two_engines_while_rows_go_comes_to_one_index() {
    let inner = memory();
    let writer = library(&inner).await;
    let (key, sections) = sections(&writer).await;
    let (_, column) = &sections[1];
    flip(&inner, &key, column.end - 1).await;
    let faulty = Arc::new(Faulty::new(Arc::clone(&inner), FaultRates::default(), 0));
    let (slow, _) = engine_at(&(faulty.clone() as Arc<dyn Bucket>), 3);
    let pause = faulty.pause(Point::BeforeCreate, ".idx");
    answers(&slow).await;
    pause.reached().await;
    let (quick, _) = engine_at(&inner, 4);
    let before = whole_answers(&quick).await;
    sleep_ms(SETTLED_MS).await;
    assert_eq!(count_of(&*inner, ".idx").await, 2, "the claim is respected");
    write(&quick, delete(&[7_900])).await;
    let after = whole_answers(&quick).await;
    assert_ne!(before, after);
    pause.release();
    sleep_ms(2 * SETTLED_MS).await;
    for engine in [&slow, &quick, &engine_at(&inner, 5).0] {
        assert_eq!(whole_answers(engine).await, after);
    }
    assert_eq!(count_of(&*inner, ".idx").await, 3);
    flush(&quick).await;
    assert_eq!(whole_answers(&slow).await, after);
    orphans(&inner).await;
}
