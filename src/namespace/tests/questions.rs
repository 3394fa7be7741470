//! What a request sees: how fresh a state it may be, one state for all its questions, and recall over it.

use serde_json::json;

use super::json::{schema, upsert_json};
use super::replaced::{halved, reader};
use super::*;
use crate::query::reply::{Found, Group, Total};
use crate::query::request::{
    Aggregate, Ask, Fold, GroupBy, LimitPer, OrderKey, Paging, Questions, Recall,
};
use crate::types::WalSeq;

async fn write(engine: &Engine, id: i64) {
    let written = engine.write(&name(), upsert([(id, id)]), None).await;
    written.expect("a commit");
}

/// How many rows a read of all sees, of which state, and what it asks the store.
async fn read(
    engine: &Engine,
    counting: &Counting,
    consistency: Consistency,
) -> (usize, WalSeq, u64) {
    let before = counting.snapshot();
    let query = Query {
        consistency,
        ..all()
    };
    let reply = engine.query(&name(), query).await.expect("a reply");
    let spent = counting.snapshot() - before;
    (reply.rows.len(), reply.coverage.as_of_seq, spent.requests())
}

#[tokio::test]
async fn session_read_asks_the_store_only_until_it_knows_the_state_it_names() {
    let bucket = memory();
    let counting = Arc::new(Counting::new(Arc::clone(&bucket)));
    let writer = engine_on(bucket, 1);
    let other = engine_on(Arc::clone(&counting) as Arc<dyn Bucket>, 2);
    write(&writer, 1).await;
    let (_, known, _) = read(&other, &counting, Consistency::Strong).await;
    write(&writer, 2).await;
    let newest = writer.query(&name(), all()).await.expect("a reply");
    let newest = newest.coverage.as_of_seq;
    assert!(newest > known);

    let session = |min_seq| Consistency::Session { min_seq };
    let found = read(&other, &counting, session(known)).await;
    assert_eq!(found, (1, known, 0), "what it knows is enough");
    let (rows, seq, requests) = read(&other, &counting, session(newest)).await;
    assert_eq!((rows, seq), (2, newest), "its own write");
    assert!(requests > 0);
    let found = read(&other, &counting, session(newest)).await;
    assert_eq!(found, (2, newest, 0));
    let query = Query {
        consistency: session(WalSeq(newest.0 + 1)),
        ..all()
    };
    let refused = other.query(&name(), query).await.expect_err("the future");
    assert_eq!(refused.code(), "min_seq_not_reached");
}

#[tokio::test]
async fn eventual_read_asks_the_store_once_what_it_knows_is_too_old() {
    let bucket = memory();
    let counting = Arc::new(Counting::new(Arc::clone(&bucket)));
    let writer = engine_on(bucket, 1);
    let clock = Arc::new(ManualClock::new(Timestamp(1_700_000_000_000)));
    let world = World {
        clock: Arc::clone(&clock) as _,
        ..world_on(Arc::clone(&counting) as Arc<dyn Bucket>, 2)
    };
    let other = Engine::new(world, EngineOptions::default());
    write(&writer, 1).await;
    let (_, known, _) = read(&other, &counting, Consistency::Strong).await;
    write(&writer, 2).await;

    let eventual = Consistency::Eventual {
        max_staleness_seconds: 60,
    };
    clock.advance_ms(60_000);
    let found = read(&other, &counting, eventual).await;
    assert_eq!(found, (1, known, 0), "not too old yet");
    clock.advance_ms(1);
    let (rows, seq, requests) = read(&other, &counting, eventual).await;
    assert_eq!(rows, 2);
    assert!(seq > known && requests > 0);
}

#[tokio::test]
async fn questions_of_a_request_are_of_one_state_though_a_write_lands_between() {
    let bucket = memory();
    let writer = halved(&bucket).await;
    let reader = reader(&bucket).await;
    let strong = writer.query(&name(), all()).await.expect("a reply");
    let live = strong.rows.len();
    let count = Aggregate {
        folds: vec![("n".to_owned(), Fold::Count)],
        groups: Vec::new(),
        limit: 1,
        paging: Paging::Off,
        filter: None,
    };
    let asked = Questions {
        asks: vec![
            Ask::Rows(all()),
            Ask::Totals(count.clone()),
            Ask::Rows(all()),
            Ask::Totals(count),
        ],
        ..Questions::from(all())
    };
    // The state is chosen by then, and what it holds is not yet read.
    let lands_between = async {
        let pause = reader.stop();
        pause.reached().await;
        write(&writer, 1_000_001).await;
        pause.release();
    };
    let name = name();
    let (answers, ()) = futures::join!(reader.engine.ask(&name, &asked), lands_between);
    let answers = answers.expect("answers");
    assert_eq!(answers.coverage.as_of_seq, strong.coverage.as_of_seq);
    let counts = answers.found.into_iter().map(|found| match found {
        Found::Rows(rows) => rows.len(),
        Found::Totals(totals) => match totals.as_slice() {
            [(_, Total::Integer(count))] => usize::try_from(*count).expect("a small count"),
            other => panic!("other numbers: {other:?}"),
        },
        other => panic!("another answer: {other:?}"),
    });
    assert_eq!(counts.collect::<Vec<_>>(), [live; 4]);
}

/// Documents have the vector (id, id): deleted ones, and ones that the filter keeps out, lie among the others.
#[tokio::test]
async fn recall_searches_by_vectors_of_live_documents_for_those_the_filter_keeps() {
    let engine = engine_on(memory(), 1);
    let put = |ids: std::ops::Range<i64>| upsert(ids.map(|id| (id, id)));
    let steps = [
        put(0..20),
        delete(&[3, 4, 11]),
        put(20..40),
        delete(&[25, 39]),
    ];
    for (step, batch) in steps.into_iter().enumerate() {
        engine.write(&name(), batch, None).await.expect("a commit");
        if step == 0 {
            engine.flush(&name()).await.expect("a flush");
        }
    }
    let live: Vec<i64> = (0..40)
        .filter(|id| ![3, 4, 11, 25, 39].contains(id))
        .collect();
    let recall = Recall {
        searches: 1_000,
        rank_by: None,
        top_k: 3,
        filter: Some(Filter::Compare {
            attribute: "year".to_owned(),
            op: CompareOp::Gte,
            value: RawValue::Int(10),
        }),
        with_truth: true,
        seed: 5,
    };
    let asked = Questions {
        asks: vec![Ask::Recall(recall)],
        ..Questions::from(all())
    };
    let answers = engine.ask(&name(), &asked).await.expect("an answer");
    let [Found::Recall(report)] = answers.found.as_slice() else {
        panic!("another answer: {answers:?}");
    };
    let figures = (report.recall, report.exhaustive_count, report.ann_count);
    assert_eq!(figures, (1.0, 3.0, 3.0));
    let mut searched = Vec::new();
    for truth in report.truth.as_deref().expect("asked for") {
        let around = truth.vector[0] as i64;
        searched.push(around);
        let mut nearest: Vec<i64> = live.iter().copied().filter(|id| *id >= 10).collect();
        nearest.sort_by_key(|id| ((id - around).abs(), *id));
        nearest.truncate(3);
        let nearest: Vec<DocId> = nearest
            .iter()
            .map(|id| DocId::Uint(id.unsigned_abs()))
            .collect();
        let found: Vec<DocId> = truth.nearest.iter().map(|row| row.id.clone()).collect();
        assert_eq!(found, nearest, "around {around}");
    }
    searched.sort_unstable();
    assert_eq!(searched, live, "each live document's vector, once");
}

/// Asks before and after a flush.
async fn assert_found_in_tail_and_segment(engine: &Engine, query: &Query, expected: &[DocId]) {
    for place in ["tail", "segment"] {
        let reply = engine.query(&name(), query.clone()).await;
        let rows = reply.expect("a reply").rows;
        let ids: Vec<DocId> = rows.into_iter().map(|row| row.id).collect();
        assert_eq!(ids, expected, "{place}");
        engine.flush(&name()).await.expect("a flush");
    }
}

/// The first rows of every batch of a segment, and of every part of a tail, are alike: cut without the limit,
/// they would crowd out what comes after.
#[tokio::test]
async fn rows_alike_in_every_part_do_not_crowd_out_those_after() {
    const ALIKE: i64 = 16_000;
    let engine = engine_on(memory(), 1);
    for start in (0..ALIKE + 2_000).step_by(2_000) {
        let year = |id| if id < ALIKE { 0 } else { id };
        let rows = (start..start + 2_000).map(|id| (id, year(id)));
        let written = engine.write(&name(), upsert(rows), None).await;
        written.expect("a commit");
    }
    let query = Query {
        limit: 5,
        per: Some(LimitPer {
            attributes: vec!["year".to_owned()],
            limit: 2,
        }),
        ..all()
    };
    let expected = [0, 1, ALIKE, ALIKE + 1, ALIKE + 2].map(|id| DocId::Uint(id.unsigned_abs()));
    assert_found_in_tail_and_segment(&engine, &query, &expected).await;
}

/// Of all parts of a tail the nearest win, and among equally near ones the smallest ids.
#[tokio::test]
async fn nearest_rows_of_a_tail_of_several_parts_come_from_each_of_them() {
    const ROWS: i64 = 18_000;
    let engine = engine_on(memory(), 1);
    // Four rows lie at each place: one of every quarter.
    for start in (0..ROWS).step_by(2_000) {
        let rows = (start..start + 2_000).map(|id| (id, 7));
        let mut batch = upsert(rows);
        for (id, row) in (start..).zip(&mut batch.upserts) {
            row.attributes[1].1 = RawValue::Numbers {
                values: vec![(id % (ROWS / 4)) as f64, 0.0],
                integers: true,
            };
        }
        engine.write(&name(), batch, None).await.expect("a commit");
    }
    let query = Query {
        rank_by: RankBy::Vector {
            attribute: "vector".to_owned(),
            vector: RawValue::Numbers {
                values: vec![100.0, 0.0],
                integers: true,
            },
            exact: false,
        },
        limit: 7,
        include: Include::Nothing,
        ..all()
    };
    let expected = [100, 4_600, 9_100, 13_600, 99, 101, 4_599].map(DocId::Uint);
    assert_found_in_tail_and_segment(&engine, &query, &expected).await;
}

#[tokio::test]
async fn plan_over_dead_rows_tells_them_from_live_ones() {
    let engine = engine_on(memory(), 1);
    let steps = [
        upsert((0..10).map(|id| (id, 1))),
        // Each kills a row of the segment, and the later ones kill some of the tail too.
        upsert((0..3).map(|id| (id, 2))),
        upsert([(1, 3)]),
        delete(&[2, 5]),
    ];
    for (step, batch) in steps.into_iter().enumerate() {
        engine.write(&name(), batch, None).await.expect("a commit");
        if step == 0 {
            engine.flush(&name()).await.expect("a flush");
        }
    }
    let asked = Questions {
        explain: true,
        plan: None,
        ..Questions::from(all())
    };
    let answers = engine.ask(&name(), &asked).await.expect("an answer");
    let [Found::Plan(plan)] = answers.found.as_slice() else {
        panic!("another answer: {answers:?}");
    };
    for part in [
        "8 rows live, 1 segments, 4 rows in the tail of which 2 are live",
        "6 of 10 rows live, no row needs the filter",
    ] {
        assert!(plan.contains(part), "{part}: {plan}");
    }
    let described = engine.describe(&name()).await.expect("it is there");
    assert_eq!((described.rows, described.unindexed_rows), (8, 2));
    let coverage = answers.coverage;
    assert_eq!((coverage.rows_total, coverage.unindexed_rows), (8, 2));
    // A row takes 24 bytes: its id, its year and two numbers of 32 bits.
    let bytes = (described.bytes, described.unindexed_bytes);
    assert_eq!((bytes, coverage.bytes_total), ((8 * 24, 2 * 24), 8 * 24));
}

/// A segment of several batches: the first of them hold rows enough, and none of the last.
#[tokio::test]
async fn last_rows_by_id_that_a_filter_keeps_are_of_the_last_batch() {
    const ROWS: i64 = 18_000;
    let engine = engine_on(memory(), 1);
    for start in (0..ROWS).step_by(6_000) {
        let rows = (start..start + 6_000).map(|id| (id, id % 3));
        let written = engine.write(&name(), upsert(rows), None).await;
        written.expect("a commit");
    }
    engine.flush(&name()).await.expect("a flush");
    let query = Query {
        rank_by: RankBy::Order(vec![OrderKey {
            attribute: "id".to_owned(),
            descending: true,
        }]),
        filter: Some(Filter::Compare {
            attribute: "year".to_owned(),
            op: CompareOp::Eq,
            value: RawValue::Int(0),
        }),
        limit: 3,
        ..all()
    };
    let reply = engine.query(&name(), query).await.expect("a reply");
    let ids: Vec<DocId> = reply.rows.into_iter().map(|row| row.id).collect();
    assert_eq!(ids, [17_997, 17_994, 17_991].map(DocId::Uint));
}

/// Zero is one key however it is signed: as a value, as an element, and twice in one list.
#[tokio::test]
async fn groups_of_zeros_of_either_sign_are_one() {
    let engine = engine_on(memory(), 1);
    let rows = json!([
        {"id": 1, "f": 0.0, "l": [-0.0, 0.0]},
        {"id": 2, "f": -0.0, "l": [0.0]},
        {"id": 3, "f": -0.0, "l": [-0.0]},
    ]);
    let batch = WriteBatch {
        schema: Some(schema(&[("f", "float"), ("l", "[]float")])),
        ..upsert_json(&rows, None)
    };
    engine.write(&name(), batch, None).await.expect("a commit");
    for place in ["tail", "segment"] {
        for (attribute, each) in [("f", false), ("l", true)] {
            let asked = Aggregate {
                folds: vec![("n".to_owned(), Fold::Count)],
                groups: vec![GroupBy {
                    label: attribute.to_owned(),
                    attribute: attribute.to_owned(),
                    each,
                }],
                limit: 10,
                paging: Paging::Off,
                filter: None,
            };
            let asked = Questions {
                asks: vec![Ask::Totals(asked)],
                ..Questions::from(all())
            };
            let answers = engine.ask(&name(), &asked).await.expect("an answer");
            let [Found::Groups { groups, .. }] = answers.found.as_slice() else {
                panic!("another answer: {answers:?}");
            };
            let group = Group {
                key: vec![Value::Float(0.0)],
                totals: vec![Total::Integer(3)],
            };
            assert_eq!(*groups, [group], "{place}: {attribute}");
        }
        engine.flush(&name()).await.expect("a flush");
    }
}
