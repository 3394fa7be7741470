//! Pages of one state, on the node that began them and on any other; states of the past.

use super::tools::{by_year, count_of, flush, write};
use super::*;
use crate::lsm::Rotation;
use crate::query::cursor::Cursor;
use crate::query::reply::Answers;
use crate::query::request::{Aggregate, AsOf, Ask, Fold, GroupBy, Paging, Questions};
use crate::types::WalSeq;

fn page(query: Query, limit: usize, cursor: Option<Cursor>) -> Questions {
    let paging = match &cursor {
        None => Paging::First,
        Some(cursor) => Paging::After(Arc::clone(&cursor.place)),
    };
    Questions {
        as_of: cursor.map(|cursor| cursor.as_of()),
        ..Questions::from(Query {
            limit,
            paging,
            ..query
        })
    }
}

fn at(query: Query, seq: WalSeq) -> Questions {
    Questions {
        as_of: Some(AsOf {
            seq,
            namespace: None,
        }),
        ..Questions::from(query)
    }
}

fn ids(answers: Answers) -> Vec<u64> {
    let rows = crate::query::reply::Reply::from(answers).rows;
    let id = |row: crate::query::reply::Row| match row.id {
        DocId::Uint(id) => id,
        other => panic!("an id of another kind: {other}"),
    };
    rows.into_iter().map(id).collect()
}

/// Two segments, one of which lost rows, and a tail.
async fn library(engine: &Engine) {
    write(engine, upsert((0..40).map(|id| (id, 1_900 + id % 7)))).await;
    flush(engine).await;
    write(engine, upsert((30..60).map(|id| (id, 1_900 + id % 5)))).await;
    write(engine, delete(&[3, 33])).await;
    flush(engine).await;
    write(engine, upsert((55..70).map(|id| (id, 1_903)))).await;
}

/// Changes nearly everything, in the tail and in segments.
async fn change(engine: &Engine, step: i64) {
    write(engine, upsert((0..20).map(|id| (id * 3, 1_890 + step)))).await;
    write(engine, delete(&[step, step + 20, step + 50])).await;
    if step % 2 == 0 {
        flush(engine).await;
    }
}

#[tokio::test]
async fn pages_are_of_one_state_whatever_is_written_between_them() {
    for (query, limit) in [
        (by_year(false, 10_000), 7),
        (by_year(true, 10_000), 9),
        (all(), 16),
    ] {
        let bucket = memory();
        let (a, b) = (engine_on(Arc::clone(&bucket), 1), engine_on(bucket, 2));
        library(&a).await;
        let everything = a.ask(&name(), &query.clone().into()).await;
        let everything = ids(everything.expect("an answer"));
        let (mut found, mut cursor, mut step) = (Vec::new(), None, 0);
        loop {
            // Pages go on at any node.
            let reader = if step % 3 == 1 { &b } else { &a };
            let asked = page(query.clone(), limit, cursor);
            let mut answers = reader.ask(&name(), &asked).await.expect("a page");
            cursor = answers.next.take();
            let rows = ids(answers);
            assert_eq!(
                rows.len() == limit,
                cursor.is_some() || found.len() + limit == everything.len()
            );
            found.extend(rows);
            if cursor.is_none() {
                break;
            }
            change(&a, step).await;
            step += 1;
        }
        assert_eq!(found, everything);
        assert!(step > 3, "{step}");
    }
}

#[tokio::test]
async fn pages_of_groups_are_of_one_state() {
    let engine = engine_on(memory(), 1);
    library(&engine).await;
    let ask = |limit, cursor: Option<Cursor>, paging| Questions {
        as_of: cursor.map(|cursor| cursor.as_of()),
        asks: vec![Ask::Totals(Aggregate {
            folds: vec![("n".to_owned(), Fold::Count)],
            groups: vec![GroupBy {
                label: "year".to_owned(),
                attribute: "year".to_owned(),
                each: false,
            }],
            limit,
            paging,
            filter: None,
        })],
        ..Questions::from(all())
    };
    let groups = |answers: &Answers| match answers.found.as_slice() {
        [crate::query::reply::Found::Groups { groups, .. }] => groups.clone(),
        other => panic!("no groups: {other:?}"),
    };
    let everything = engine.ask(&name(), &ask(100, None, Paging::Off)).await;
    let everything = groups(&everything.expect("an answer"));
    assert!(everything.len() > 4, "{everything:?}");
    let (mut found, mut cursor, mut paging) = (Vec::new(), None, Paging::First);
    loop {
        let asked = ask(2, cursor, paging);
        let answers = engine.ask(&name(), &asked).await.expect("a page");
        found.extend(groups(&answers));
        cursor = answers.next;
        let Some(next) = &cursor else {
            break;
        };
        paging = Paging::After(Arc::clone(&next.place));
        change(&engine, 2).await;
    }
    assert_eq!(found, everything);
}

#[tokio::test]
async fn state_of_the_past_is_read_from_the_log_by_a_node_that_never_had_it() {
    let bucket = memory();
    let writer = engine_on(Arc::clone(&bucket), 1);
    let mut seen: Vec<(WalSeq, Vec<u64>)> = Vec::new();
    for step in 0..30_i64 {
        let seq = match step % 4 {
            3 => write(&writer, delete(&[step % 11])).await,
            _ => write(&writer, upsert([(step % 13, 1_900 + step)])).await,
        };
        let answers = writer.ask(&name(), &by_year(false, 10_000).into()).await;
        seen.push((seq, ids(answers.expect("an answer"))));
        if step % 9 == 8 {
            flush(&writer).await;
        }
    }
    // The newest first, so that states are not taken from what came before.
    let world = world_on(bucket, 2);
    let metrics = Arc::clone(&world.metrics);
    // A merge would make a state that is newer than all of them.
    let options = EngineOptions {
        compaction: Compaction {
            enabled: false,
            ..Compaction::default()
        },
        ..EngineOptions::default()
    };
    let reader = Engine::new(world, options);
    let opened = || metrics.query.past_states_total.get();
    for (seq, expected) in seen.iter().rev().chain(&seen) {
        let answers = reader.ask(&name(), &at(by_year(false, 10_000), *seq)).await;
        let answers = answers.expect("an answer");
        assert_eq!(answers.coverage.as_of_seq, *seq);
        assert_eq!(ids(answers), *expected, "at {seq}");
    }
    // Of the newest state there is no need; the others are read once, and kept.
    assert_eq!(opened(), seen.len() as u64 - 1);
    let future = reader.ask(&name(), &at(all(), WalSeq(9_999))).await;
    let error = future.expect_err("it is not there yet");
    assert_eq!(error.code(), "as_of_not_reached");
}

#[tokio::test]
async fn state_that_nobody_asks_for_is_let_go_and_read_again() {
    let mut world = world_on(memory(), 1);
    let clock = Arc::new(ManualClock::new(Timestamp(1_700_000_000_000)));
    world.clock = Arc::clone(&clock) as Arc<dyn crate::types::Clock>;
    let metrics = Arc::clone(&world.metrics);
    let engine = Engine::new(world, EngineOptions::default());
    library(&engine).await;
    let first = engine.ask(&name(), &page(all(), 10, None)).await;
    let cursor = first.expect("a page").next.expect("more follow");
    change(&engine, 1).await;
    let opened = || metrics.query.past_states_total.get();
    for (advance_ms, expected) in [(0, 0), (200_000, 0), (200_000, 0), (300_000, 1), (0, 1)] {
        clock.advance_ms(advance_ms);
        engine.close_idle(u64::MAX);
        let asked = page(all(), 10, Some(cursor.clone()));
        let rows = ids(engine.ask(&name(), &asked).await.expect("a page"));
        assert_eq!(rows, [11, 12, 13, 14, 15, 16, 17, 18, 19, 20]);
        assert_eq!(opened(), expected, "after {advance_ms} ms");
    }
}

#[tokio::test]
async fn state_beyond_the_log_is_gone_and_says_so() {
    let bucket = memory();
    let options = EngineOptions {
        keep_blocks: 0,
        // The log is for the requests to write.
        compaction: Compaction {
            enabled: false,
            ..Compaction::default()
        },
        history_ms: 0,
        rotation: Rotation {
            slots_max: 4,
            ..Rotation::default()
        },
        ..EngineOptions::default()
    };
    let writer = engine_with(Arc::clone(&bucket), 1, options);
    library(&writer).await;
    let first = writer.ask(&name(), &page(all(), 10, None)).await;
    let cursor = first.expect("a page").next.expect("more follow");
    for step in 0..12 {
        change(&writer, step).await;
    }
    // Who has the state in memory still answers.
    let asked = page(all(), 10, Some(cursor));
    let rows = ids(writer.ask(&name(), &asked).await.expect("a page"));
    assert_eq!(rows.first(), Some(&11));
    let reader = engine_on(bucket, 2);
    let error = reader.ask(&name(), &asked).await.expect_err("truncated");
    assert_eq!(error.code(), "state_not_retained");
    assert_eq!(error.kind(), ErrorKind::Gone);
}

#[tokio::test]
async fn log_of_the_history_stays_and_goes_with_the_next_look_once_that_is_over() {
    let bucket = memory();
    let mut world = world_on(Arc::clone(&bucket), 1);
    // Long before any object is written, by the store's dates.
    let clock = Arc::new(ManualClock::new(Timestamp(0)));
    world.clock = Arc::clone(&clock) as Arc<dyn crate::types::Clock>;
    let options = EngineOptions {
        keep_blocks: 0,
        // The log is for the requests to write.
        compaction: Compaction {
            enabled: false,
            ..Compaction::default()
        },
        rotation: Rotation {
            slots_max: 4,
            ..Rotation::default()
        },
        ..EngineOptions::default()
    };
    let writer = Engine::new(world, options);
    library(&writer).await;
    let seq = write(&writer, upsert([(1, 1_850)])).await;
    let before = ids(writer.ask(&name(), &all().into()).await.expect("an answer"));
    for step in 0..9 {
        change(&writer, step).await;
    }
    let slots = async || count_of(&*bucket, "/wal/").await;
    let n_slots = slots().await;
    let past = |seed| {
        let reader = engine_on(Arc::clone(&bucket), seed);
        async move { reader.ask(&name(), &at(all(), seq)).await }
    };
    assert_eq!(ids(past(2).await.expect("it is kept")), before);
    writer.look_for_waiting(&name()).await.expect("a look");
    assert_eq!(slots().await, n_slots, "nothing may go yet");
    // Long after.
    clock.advance_ms(1 << 50);
    writer.look_for_waiting(&name()).await.expect("a look");
    assert!(slots().await < n_slots / 2, "of {n_slots}");
    let error = past(3).await.expect_err("it is over");
    assert_eq!(error.code(), "state_not_retained");
}

#[tokio::test]
async fn cursor_of_a_namespace_that_was_dropped_is_gone_also_under_the_same_name() {
    let bucket = memory();
    let (a, b) = (engine_on(Arc::clone(&bucket), 1), engine_on(bucket, 2));
    library(&a).await;
    let first = b.ask(&name(), &page(all(), 10, None)).await;
    let cursor = first.expect("a page").next.expect("more follow");
    a.delete(&name()).await.expect("dropped");
    let asked = page(all(), 10, Some(cursor));
    let error = a.ask(&name(), &asked).await.expect_err("dropped");
    assert_eq!(error.code(), "namespace_not_found");
    library(&a).await;
    for engine in [&a, &b] {
        let error = engine.ask(&name(), &asked).await.expect_err("another one");
        assert_eq!(error.code(), "state_not_retained");
    }
    // And one of the new incarnation is none of the old one, which `b` still holds open.
    let first = a.ask(&name(), &page(all(), 10, None)).await;
    let cursor = first.expect("a page").next.expect("more follow");
    let c = engine_on(memory(), 3);
    library(&c).await;
    let error = c.ask(&name(), &page(all(), 10, Some(cursor.clone()))).await;
    assert_eq!(error.expect_err("another one").code(), "state_not_retained");
    let rows = b.ask(&name(), &page(all(), 10, Some(cursor))).await;
    assert_eq!(ids(rows.expect("a page")).len(), 10);
}
