//! Flushes: the tail becomes segments and nothing that a client can see changes.

use std::collections::BTreeMap;

use super::tools::{by_year, count_of};
use super::*;
use crate::lsm::Rotation;
use crate::namespace::{EngineOptions, Flushed};
use crate::runtime::clock::sleep_ms;
use crate::store::StoreKind;
use crate::store::dated::Dated;
use crate::types::limits;

/// What must be there, by id.
type Model = BTreeMap<u64, i64>;

fn expected(model: &Model) -> Vec<(u64, i64)> {
    model.iter().map(|(id, year)| (*id, *year)).collect()
}

/// Random writes from a seed: upserts over a small range of ids, some deletes.
async fn churn(engine: &Engine, model: &mut Model, seed: u64, steps: i64) {
    let mut random = seed;
    for step in 0..steps {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let id = (random >> 33) as i64 % 40;
        let batch = if step > 0 && (random >> 20).is_multiple_of(4) {
            model.remove(&(id as u64));
            delete(&[id])
        } else {
            let year = seed as i64 * 1_000 + step;
            model.insert(id as u64, year);
            upsert([(id, year)])
        };
        engine.write(&name(), batch, None).await.expect("a commit");
    }
}

/// Blocks of four slots, of which none is kept.
fn small_blocks() -> EngineOptions {
    EngineOptions {
        keep_blocks: 0,
        history_ms: 0,
        rotation: Rotation {
            slots_max: 4,
            ..Rotation::default()
        },
        ..EngineOptions::default()
    }
}

fn after_1950() -> Query {
    Query {
        filter: Some(Filter::Compare {
            attribute: "year".to_owned(),
            op: CompareOp::Gt,
            value: RawValue::Int(1_950),
        }),
        ..all()
    }
}

fn nearest(limit: usize) -> Query {
    Query {
        rank_by: RankBy::Vector {
            attribute: "vector".to_owned(),
            vector: RawValue::Numbers {
                values: vec![3.0, 1_900.0],
                integers: false,
            },
            exact: false,
        },
        limit,
        ..all()
    }
}

#[tokio::test]
async fn flush_changes_nothing_that_a_query_sees() {
    let bucket = memory();
    let (a, b) = (
        engine_on(Arc::clone(&bucket), 1),
        engine_on(Arc::clone(&bucket), 2),
    );
    let mut model = Model::new();
    for round in 1..=5_u64 {
        let writer = if round % 2 == 0 { &b } else { &a };
        churn(writer, &mut model, round, 30).await;
        let answers = |engine: Engine| async move {
            let mut answers = Vec::new();
            for query in [all(), after_1950(), nearest(5), by_year(true, 7)] {
                let reply = engine.query(&name(), query).await.expect("a reply");
                answers.push(reply.rows);
            }
            answers
        };
        let before = answers(a.clone()).await;
        let flushed = writer.flush(&name()).await.expect("a flush");
        assert!(matches!(flushed, Flushed::Done(_)), "round {round}");
        for engine in [&a, &b, &engine_on(Arc::clone(&bucket), 10 + round)] {
            assert_eq!(rows(engine).await, expected(&model), "round {round}");
            assert_eq!(answers(engine.clone()).await, before, "round {round}");
            let described = engine.describe(&name()).await.expect("described");
            assert_eq!(described.rows, model.len() as u64);
            assert_eq!(described.unindexed_rows, 0);
        }
        let again = a.flush(&name()).await.expect("a flush");
        assert!(matches!(again, Flushed::Nothing(_)), "round {round}");
    }
}

#[tokio::test]
async fn write_after_a_flush_supersedes_and_deletes_flushed_documents() {
    let bucket = memory();
    let engine = engine_on(Arc::clone(&bucket), 1);
    let ten = (1..=10).map(|id| (id, 1_900 + id));
    engine
        .write(&name(), upsert(ten), None)
        .await
        .expect("a commit");
    engine.flush(&name()).await.expect("a flush");
    engine
        .write(&name(), upsert([(3, 2_000)]), None)
        .await
        .expect("a commit");
    engine
        .write(&name(), delete(&[4, 77]), None)
        .await
        .expect("a commit");
    let mut model: Model = (1..=10).map(|id| (id, 1_900 + id as i64)).collect();
    model.insert(3, 2_000);
    model.remove(&4);
    assert_eq!(rows(&engine).await, expected(&model));
    assert_eq!(
        rows(&engine_on(Arc::clone(&bucket), 2)).await,
        expected(&model)
    );
    // The deletions are part of the next flush.
    engine.flush(&name()).await.expect("a flush");
    assert_eq!(rows(&engine).await, expected(&model));
    assert_eq!(rows(&engine_on(bucket, 3)).await, expected(&model));
}

#[tokio::test]
async fn condition_looks_at_flushed_documents() {
    let bucket = memory();
    let engine = engine_on(Arc::clone(&bucket), 1);
    engine
        .write(&name(), upsert([(1, 1_990), (2, 1_991)]), None)
        .await
        .expect("a commit");
    engine.flush(&name()).await.expect("a flush");
    let cold = engine_on(bucket, 2);
    let conditional = |rows: [(i64, i64); 2]| {
        let mut batch = upsert(rows);
        batch.upsert_condition = Some(
            Filter::Compare {
                attribute: "year".to_owned(),
                op: CompareOp::Lt,
                value: RawValue::Int(1_991),
            }
            .into(),
        );
        batch
    };
    let outcome = cold
        .write(&name(), conditional([(1, 5), (2, 6)]), None)
        .await;
    assert_eq!(outcome.expect("a commit").rows_upserted, Some(1));
    assert_eq!(rows(&cold).await, [(1, 5), (2, 1_991)]);
    // Deleted in the tail, though a segment still has it: inserted without looking.
    cold.write(&name(), delete(&[2]), None)
        .await
        .expect("a commit");
    let outcome = cold
        .write(&name(), conditional([(1, 7), (2, 8)]), None)
        .await;
    assert_eq!(outcome.expect("a commit").rows_upserted, Some(2));
    assert_eq!(rows(&engine).await, [(1, 7), (2, 8)]);
}

#[tokio::test]
async fn condition_of_an_engine_that_opened_again_looks_at_what_was_flushed_meanwhile() {
    let bucket = memory();
    let (stale, writer) = (
        engine_on(Arc::clone(&bucket), 1),
        engine_on(Arc::clone(&bucket), 2),
    );
    let written = stale.write(&name(), upsert([(1, 1_990)]), None).await;
    written.expect("a commit");
    let written = writer.write(&name(), upsert([(2, 1_995)]), None).await;
    written.expect("a commit");
    writer.flush(&name()).await.expect("a flush");
    // What an append leaves behind whose outcome could not be resolved.
    let open = stale.registry.find(&name()).await.expect("an answer");
    *open.expect("it is open").log.lock().await = None;
    let mut batch = upsert([(1, 5), (2, 6)]);
    batch.upsert_condition = Some(
        Filter::Compare {
            attribute: "year".to_owned(),
            op: CompareOp::Lt,
            value: RawValue::Int(1_000),
        }
        .into(),
    );
    let outcome = stale.write(&name(), batch, None).await;
    assert_eq!(outcome.expect("a commit").rows_upserted, Some(0));
    assert_eq!(rows(&writer).await, [(1, 1_990), (2, 1_995)]);
}

#[tokio::test]
async fn open_after_a_flush_reads_no_row() {
    let bucket = memory();
    let engine = engine_on(Arc::clone(&bucket), 1);
    for id in 0..50 {
        engine
            .write(&name(), upsert([(id, id)]), None)
            .await
            .expect("a commit");
    }
    engine.flush(&name()).await.expect("a flush");
    engine.finish().await;
    let counting = Arc::new(Counting::new(Arc::clone(&bucket)));
    let cold = engine_on(counting.clone(), 2);
    let described = cold.describe(&name()).await.expect("described");
    assert_eq!(described.rows, 50);
    let counts = counting.snapshot();
    // Name and hint; the slots since the manifest and the next; anchors; the probe.
    assert!(counts.requests() <= 12, "{counts:?}");
    assert!(counts.read_bytes < 16 << 10, "{counts:?}");
}

#[tokio::test]
async fn flushes_of_two_engines_at_once_both_end_and_lose_nothing() {
    let bucket = memory();
    let (a, b) = (
        engine_on(Arc::clone(&bucket), 1),
        engine_on(Arc::clone(&bucket), 2),
    );
    let mut model = Model::new();
    for round in 1..=10 {
        churn(&a, &mut model, round, 5).await;
        churn(&b, &mut model, 100 + round, 5).await;
        let (one, other) = (name(), name());
        let (one, other) = tokio::join!(a.flush(&one), b.flush(&other));
        for flushed in [one, other] {
            let fine = |code: &str| code == "flush_superseded";
            assert!(
                flushed
                    .as_ref()
                    .err()
                    .is_none_or(|error| fine(error.code())),
                "{flushed:?}"
            );
        }
        assert_eq!(rows(&a).await, expected(&model), "round {round}");
        assert_eq!(rows(&b).await, expected(&model), "round {round}");
    }
    assert_eq!(rows(&engine_on(bucket, 3)).await, expected(&model));
}

#[tokio::test]
async fn log_of_flushed_blocks_is_truncated_and_a_lagging_engine_opens_again() {
    let bucket = memory();
    let without_history = EngineOptions {
        history_ms: 0,
        ..EngineOptions::default()
    };
    let (writer, lagging) = (
        engine_with(Arc::clone(&bucket), 1, without_history),
        engine_on(Arc::clone(&bucket), 2),
    );
    let mut model = Model::new();
    churn(&writer, &mut model, 1, 10).await;
    assert_eq!(rows(&lagging).await, expected(&model));
    for round in 2..=6 {
        churn(&writer, &mut model, round, 300).await;
        writer.flush(&name()).await.expect("a flush");
    }
    writer.finish().await;
    let slots = count_of(&*bucket, "/wal/").await;
    assert!(slots < 4 * 256, "{slots} slots are left of more than 1,500");
    let manifests = count_of(&*bucket, "/manifest/").await;
    assert!(
        (2..=4).contains(&manifests),
        "{manifests} manifests are left"
    );
    assert_eq!(rows(&lagging).await, expected(&model));
    lagging
        .write(&name(), upsert([(1, 1)]), None)
        .await
        .expect("a commit");
    model.insert(1, 1);
    assert_eq!(rows(&writer).await, expected(&model));
    assert_eq!(rows(&engine_on(bucket, 3)).await, expected(&model));
}

#[tokio::test]
async fn log_of_a_busy_namespace_is_truncated_an_hour_behind_over_http() {
    let dated = Arc::new(Dated::new(memory(), StoreKind::Http, 1_700_000_000_000));
    let bucket = Arc::clone(&dated) as Arc<dyn Bucket>;
    let options = small_blocks();
    let mut model = Model::new();
    let mut slots_at = Vec::new();
    // Two hours and a half of a flush every ten minutes, each of which raises the floor, and each by another
    // engine: none stays for as long as the grace.
    for round in 0..15 {
        let engine = engine_with(Arc::clone(&bucket), round + 1, options.clone());
        churn(&engine, &mut model, round, 8).await;
        engine.flush(&name()).await.expect("a flush");
        slots_at.push(count_of(&*bucket, "/wal/").await);
        dated.pass_ms(600_000);
    }
    let is_whole = slots_at[..7].windows(2).all(|pair| pair[0] < pair[1]);
    assert!(is_whole, "slots went before the hour: {slots_at:?}");
    let (last, most) = (slots_at[14], slots_at.iter().max());
    assert!(last < 130, "{last} slots are left, {most:?} at most");
    let marks = count_of(&*bucket, "/floor/").await;
    assert!(marks <= 8, "marks below the one that counts are gone");
    assert_eq!(rows(&engine_on(bucket, 2)).await, expected(&model));
}

#[tokio::test]
async fn log_of_a_namespace_left_alone_is_deleted_by_a_later_look() {
    let dated = Arc::new(Dated::new(memory(), StoreKind::Http, 1_700_000_000_000));
    let bucket = Arc::clone(&dated) as Arc<dyn Bucket>;
    let options = small_blocks();
    let mut model = Model::new();
    let writer = engine_with(Arc::clone(&bucket), 1, options.clone());
    for round in 0..3 {
        churn(&writer, &mut model, round, 8).await;
        writer.flush(&name()).await.expect("a flush");
    }
    writer.finish().await;
    let slots = async || count_of(&*bucket, "/wal/").await;
    let loaded = slots().await;
    // What is none of ours stops nothing.
    let listed = bucket.list("ns/", None, None).await.expect("a listing");
    let head = listed
        .iter()
        .find_map(|object| object.key.strip_suffix("/head"));
    let strange = format!("{}/floor/tmp", head.expect("a namespace"));
    bucket
        .put(&strange, bytes::Bytes::new())
        .await
        .expect("a put");
    let looker = engine_with(Arc::clone(&bucket), 2, options);
    let look = async || looker.look_for_waiting(&name()).await.expect("a look");
    assert_eq!(look().await, None);
    assert!(slots().await >= loaded, "not within the hour");
    // The floors of one minute share the mark of the first, so the last has to wait twice.
    for _ in 0..2 {
        dated.pass_ms(2 * 60 * 60 * 1_000);
        assert_eq!(look().await, None);
    }
    let left = slots().await;
    assert!(left <= 16, "{left} slots are left of {loaded}");
    assert_eq!(rows(&engine_on(bucket.clone(), 3)).await, expected(&model));
}

#[tokio::test(start_paused = true)]
async fn flush_that_cannot_succeed_lets_the_log_grow_no_more() {
    let bucket = memory();
    let writer = engine_on(Arc::clone(&bucket), 1);
    writer
        .write(&name(), upsert([(1, 1), (2, 2)]), None)
        .await
        .expect("a commit");
    writer.flush(&name()).await.expect("a flush");
    writer.finish().await;
    let listed = bucket.list("ns/", None, None).await.expect("a listing");
    let index = listed.iter().find(|object| object.key.ends_with(".idx"));
    let index = &index.expect("an index file").key;
    bucket
        .put(index, bytes::Bytes::from_static(b"damaged"))
        .await
        .expect("a put");
    let mut world = world_on(Arc::clone(&bucket), 2);
    let clock = Arc::new(ManualClock::new(Timestamp(1_700_000_000_000)));
    world.clock = Arc::clone(&clock) as Arc<dyn crate::types::Clock>;
    world.compute = Arc::new(ComputePool::inline());
    let metrics = Arc::clone(&world.metrics);
    let options = EngineOptions {
        flush_bytes: 1,
        ..EngineOptions::default()
    };
    let engine = Engine::new(world, options);
    // The index file is not built again meanwhile.
    let _turn = engine.shared.index_builds.acquire().await;
    engine
        .write(&name(), upsert([(1, 10)]), None)
        .await
        .expect("a commit");
    let slots = async || count_of(&*bucket, "/wal/").await;
    let written = slots().await;
    // Ten minutes, in each second of which somebody asks for a flush.
    for _ in 0..600 {
        engine
            .write(&name(), delete(&[77]), None)
            .await
            .expect("a commit");
        sleep_ms(1_000).await;
        clock.advance_ms(1_000);
    }
    assert_eq!(slots().await, written + 600, "no slot but the writes'");
    let failures = metrics.flush.failures_total.get();
    assert!((2..20).contains(&failures), "{failures} attempts");
}

#[tokio::test(start_paused = true)]
async fn idle_namespace_is_flushed_once_and_then_asks_nothing() {
    let bucket = Arc::new(Counting::new(memory()));
    let mut world = world_on(bucket.clone(), 1);
    world.compute = Arc::new(ComputePool::inline());
    let engine = Engine::new(world, EngineOptions::default());
    engine
        .write(&name(), upsert([(1, 1)]), None)
        .await
        .expect("a commit");
    let written = bucket.snapshot();
    sleep_ms(limits::FLUSH_AGE_MS - 1).await;
    assert_eq!(bucket.snapshot(), written, "not yet");
    sleep_ms(1_000).await;
    // Claim, documents, index, commit, manifest.
    assert_eq!((bucket.snapshot() - written).create, 5);
    let flushed = bucket.snapshot();
    sleep_ms(24 * 60 * 60 * 1_000).await;
    assert_eq!(bucket.snapshot(), flushed, "idle");
    assert_eq!(rows(&engine).await, [(1, 1)]);
}

#[tokio::test]
async fn flush_with_a_fault_at_each_create_loses_nothing() {
    use CreateFault::{Duplicate, FalseExists, Late, Lose, LoseAnswer, Refuse};
    // Creates: birth record, first slot, name, two writes, then claim, documents, index, commit, manifest.
    for nth in 6..=10 {
        for fault in [Refuse, Lose, LoseAnswer, Late, Duplicate, FalseExists] {
            let inner = memory();
            let faulty: Arc<dyn Bucket> =
                Arc::new(Faulty::scripted(Arc::clone(&inner), [(nth, fault)]));
            let engine = engine_on(faulty, 1);
            engine
                .write(&name(), upsert([(1, 1), (2, 2)]), None)
                .await
                .expect("a commit");
            engine
                .write(&name(), upsert([(2, 3)]), None)
                .await
                .expect("a commit");
            let context = format!("create {nth} {fault:?}");
            let flushed = engine.flush(&name()).await;
            let after = rows(&engine_on(Arc::clone(&inner), 2)).await;
            assert_eq!(after, [(1, 1), (2, 3)], "{context}: {flushed:?}");
            engine
                .write(&name(), delete(&[1]), None)
                .await
                .expect("a commit");
            let second = engine.flush(&name()).await;
            assert!(second.is_ok(), "{context}: {flushed:?}, then {second:?}");
            assert_eq!(rows(&engine).await, [(2, 3)], "{context}");
            assert_eq!(rows(&engine_on(inner, 3)).await, [(2, 3)], "{context}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn full_tail_of_a_restarted_engine_is_flushed_and_takes_writes_again() {
    let bucket = memory();
    let writer = engine_on(Arc::clone(&bucket), 1);
    writer
        .write(&name(), upsert([(1, 1), (2, 2)]), None)
        .await
        .expect("a commit");
    let mut world = world_on(Arc::clone(&bucket), 2);
    world.compute = Arc::new(ComputePool::inline());
    let options = EngineOptions {
        tail_slow_bytes: 1,
        tail_max_bytes: 1,
        ..EngineOptions::default()
    };
    let restarted = Engine::new(world, options);
    let refused = restarted.write(&name(), delete(&[1]), None).await;
    assert_eq!(refused.expect_err("full").code(), "tail_full");
    sleep_ms(1_000).await;
    restarted
        .write(&name(), delete(&[1]), None)
        .await
        .expect("a commit");
    assert_eq!(rows(&restarted).await, [(2, 2)]);
}

#[tokio::test(start_paused = true)]
async fn claim_of_a_dead_flusher_is_taken_back_after_its_patience() {
    // Creates: birth record, first slot, name, write, claim; the documents never come, nor the abort.
    let inner = memory();
    let script = (6..30).map(|nth| (nth, CreateFault::Refuse));
    let faulty: Arc<dyn Bucket> = Arc::new(Faulty::scripted(Arc::clone(&inner), script));
    let dead = engine_on(faulty, 1);
    dead.write(&name(), upsert([(1, 1)]), None)
        .await
        .expect("a commit");
    assert!(dead.flush(&name()).await.is_err());
    let clock = Arc::new(ManualClock::new(Timestamp(1_700_000_000_000)));
    let mut world = world_on(Arc::clone(&inner), 2);
    world.clock = Arc::clone(&clock) as Arc<dyn crate::types::Clock>;
    world.compute = Arc::new(ComputePool::inline());
    let engine = Engine::new(world, EngineOptions::default());
    let books = name();
    let flushing = engine.flush(&books);
    let passing = async {
        sleep_ms(1_000).await;
        clock.advance_ms(limits::CLAIM_PATIENCE_MS - 1);
        sleep_ms(1_000).await;
        let described = engine.describe(&books).await.expect("described");
        assert_eq!(described.unindexed_rows, 1, "the claim is respected");
        clock.advance_ms(1);
    };
    let (flushed, ()) = tokio::join!(flushing, passing);
    assert!(matches!(flushed, Ok(Flushed::Done(_))), "{flushed:?}");
    assert_eq!(rows(&engine_on(inner, 3)).await, [(1, 1)]);
}
