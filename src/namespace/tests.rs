//! The engine on stores in memory: commits, reads, names, faults, request budgets.

mod lives;

use std::sync::Arc;

use super::{Compaction, Engine, EngineOptions, IdempotencyKey, World};
use crate::error::ErrorKind;
use crate::format::path;
use crate::query::request::{Consistency, Include, Paging, Query, RankBy};
use crate::runtime::{ComputePool, ManualClock, SeededEntropy};
use crate::store::Bucket;
use crate::store::count::{Counting, StoreCounts};
use crate::store::fault::{CreateFault, FaultRates, Faulty};
use crate::store::object::ObjectBucket;
use crate::telemetry::Metrics;
use crate::types::document::{Document, RawValue, WriteBatch};
use crate::types::filter::{CompareOp, Filter};
use crate::types::{DistanceMetric, DocId, NamespaceName, Timestamp, Value};

mod compact;
mod degraded;
mod ended;
mod fencing;
mod flush;
mod freshness;
mod index_build;
mod json;
mod marks;
mod opening;
mod pages;
mod questions;
mod repair;
mod replaced;
mod segments;
mod settings;
mod sparse;
mod stopped;
mod sum;
mod tools;
mod types;
mod vectors;
mod writes;

/// An engine that leaves segments as they are.
fn engine_on(bucket: Arc<dyn Bucket>, seed: u64) -> Engine {
    let compaction = Compaction {
        enabled: false,
        ..Compaction::default()
    };
    let options = EngineOptions {
        compaction,
        ..EngineOptions::default()
    };
    engine_with(bucket, seed, options)
}

fn engine_with(bucket: Arc<dyn Bucket>, seed: u64, options: EngineOptions) -> Engine {
    Engine::new(world_on(bucket, seed), options)
}

fn world_on(bucket: Arc<dyn Bucket>, seed: u64) -> World {
    World {
        bucket,
        clock: Arc::new(ManualClock::new(Timestamp(1_700_000_000_000))),
        entropy: Arc::new(SeededEntropy::new(seed)),
        compute: Arc::new(ComputePool::new(2).expect("threads start")),
        metrics: Arc::new(Metrics::new().expect("metric names are unique")),
    }
}

fn memory() -> Arc<dyn Bucket> {
    Arc::new(ObjectBucket::memory())
}

fn name() -> NamespaceName {
    NamespaceName::parse("books").expect("a legal name")
}

fn upsert(rows: impl IntoIterator<Item = (i64, i64)>) -> WriteBatch {
    let upserts = rows
        .into_iter()
        .map(|(id, year)| Document {
            id: RawValue::Int(id),
            attributes: vec![
                (Arc::from("year"), RawValue::Int(year)),
                (
                    Arc::from("vector"),
                    RawValue::Numbers {
                        values: vec![id as f64, year as f64],
                        integers: true,
                    },
                ),
            ],
        })
        .collect();
    WriteBatch {
        upserts,
        has_upserts: true,
        distance_metric: Some(DistanceMetric::EuclideanSquared),
        ..WriteBatch::default()
    }
}

fn delete(ids: &[i64]) -> WriteBatch {
    WriteBatch {
        deletes: ids.iter().map(|id| RawValue::Int(*id)).collect(),
        has_deletes: true,
        ..WriteBatch::default()
    }
}

fn all() -> Query {
    Query {
        rank_by: RankBy::Id,
        limit: 10_000,
        per: None,
        offset: 0,
        paging: Paging::Off,
        filter: None,
        include: Include::Only(vec!["year".to_owned()]),
        compute: Vec::new(),
        distance_metric: None,
        consistency: Consistency::Strong,
        allow_degraded: false,
    }
}

/// All (id, year) of a namespace, by id.
async fn rows(engine: &Engine) -> Vec<(u64, i64)> {
    let reply = engine.query(&name(), all()).await.expect("a reply");
    let row = |row: &crate::query::reply::Row| {
        let id = match row.id {
            DocId::Uint(id) => id,
            ref other => panic!("an id of another kind: {other}"),
        };
        match row.attributes.as_slice() {
            [(_, Value::Int(year))] => (id, *year),
            other => panic!("other attributes: {other:?}"),
        }
    };
    reply.rows.iter().map(row).collect()
}

#[tokio::test]
async fn write_acknowledged_is_seen_by_a_second_engine_at_once() {
    let bucket = memory();
    let (a, b) = (engine_on(Arc::clone(&bucket), 1), engine_on(bucket, 2));
    for round in 0..20 {
        let (writer, reader) = if round % 2 == 0 { (&a, &b) } else { (&b, &a) };
        let written = writer
            .write(&name(), upsert([(round, 1900 + round)]), None)
            .await;
        assert!(written.is_ok(), "round {round}: {written:?}");
        let seen = rows(reader).await;
        assert_eq!(seen.len() as i64, round + 1, "round {round}");
        assert_eq!(seen.last(), Some(&(round as u64, 1900 + round)));
    }
}

#[tokio::test]
async fn log_of_many_blocks_opens_equal_on_a_cold_engine() {
    let bucket = memory();
    let warm = engine_on(Arc::clone(&bucket), 1);
    for step in 0..600_i64 {
        let batch = match step % 3 {
            2 => delete(&[step % 50]),
            _ => upsert([(step % 50, step)]),
        };
        warm.write(&name(), batch, None).await.expect("a commit");
    }
    warm.finish().await;
    let manifests = bucket.list("ns/", None, None).await.expect("a listing");
    let n_manifests = manifests
        .iter()
        .filter(|object| object.key.contains("/manifest/"))
        .count();
    assert_eq!(n_manifests, 2, "one for each block opened after the first");
    let cold = engine_on(Arc::clone(&bucket), 2);
    assert_eq!(rows(&cold).await, rows(&warm).await);

    // Without its advisory objects it opens the same, only slower.
    for object in &manifests {
        if object.key.ends_with("/head") {
            bucket.delete(&object.key).await.expect("deleted");
        }
    }
    bucket
        .delete(&path::name_hint(&name()))
        .await
        .expect("deleted");
    assert_eq!(rows(&engine_on(bucket, 3)).await, rows(&warm).await);
}

#[tokio::test]
async fn concurrent_writes_share_commits_and_all_apply() {
    let bucket = Arc::new(Counting::new(memory()));
    let engine = engine_on(bucket.clone(), 1);
    engine
        .write(&name(), upsert([(0, 0)]), None)
        .await
        .expect("a commit");
    let before = bucket.snapshot();
    let writes = (1..=64).map(|id| {
        let engine = engine.clone();
        async move { engine.write(&name(), upsert([(id, id)]), None).await }
    });
    for outcome in futures::future::join_all(writes).await {
        outcome.expect("a commit");
    }
    let creates = (bucket.snapshot() - before).create;
    assert!(creates <= 8, "64 writes took {creates} commits");
    assert_eq!(rows(&engine).await.len(), 65);
}

#[tokio::test]
async fn insert_only_writes_of_one_id_apply_once() {
    let bucket = memory();
    let (a, b) = (engine_on(Arc::clone(&bucket), 1), engine_on(bucket, 2));
    a.write(&name(), upsert([(0, 0)]), None)
        .await
        .expect("a commit");
    let writes = (1..=64_i64).map(|year| {
        let engine = if year % 2 == 0 { a.clone() } else { b.clone() };
        async move {
            let mut batch = upsert([(7, year)]);
            batch.upsert_condition = Some(
                Filter::Compare {
                    attribute: "id".to_owned(),
                    op: CompareOp::Eq,
                    value: RawValue::Null,
                }
                .into(),
            );
            (
                year,
                engine.write(&name(), batch, None).await.expect("a commit"),
            )
        }
    });
    let outcomes = futures::future::join_all(writes).await;
    let applied: Vec<i64> = outcomes
        .iter()
        .filter(|(_, outcome)| outcome.rows_upserted == Some(1))
        .map(|(year, _)| *year)
        .collect();
    assert_eq!(applied.len(), 1, "{applied:?}");
    assert_eq!(rows(&a).await[1], (7, applied[0]));
    assert_eq!(rows(&b).await[1], (7, applied[0]));
}

#[tokio::test]
async fn write_with_a_fault_at_each_create_tells_the_truth() {
    use CreateFault::{Duplicate, FalseExists, Late, Lose, LoseAnswer, Refuse};
    // Creates of a first write: birth record, first slot, name, the write itself; then one more write.
    for nth in 1..=5 {
        for fault in [Refuse, Lose, LoseAnswer, Late, Duplicate, FalseExists] {
            let inner = memory();
            let faulty: Arc<dyn Bucket> =
                Arc::new(Faulty::scripted(Arc::clone(&inner), [(nth, fault)]));
            let engine = engine_on(faulty, 1);
            let mut expected = Vec::new();
            let mut possible = Vec::new();
            for id in 1..=3_i64 {
                match engine.write(&name(), upsert([(id, id)]), None).await {
                    Ok(_) => expected.push((id as u64, id)),
                    Err(error) if error.kind() == ErrorKind::OutcomeUnknown => {
                        possible.push((id as u64, id));
                    }
                    Err(error) => assert_eq!(
                        error.kind(),
                        ErrorKind::Unavailable,
                        "create {nth} {fault:?}: {error}"
                    ),
                }
            }
            let found = rows(&engine_on(inner, 2)).await;
            let context = format!("create {nth} {fault:?}: {found:?}");
            assert!(
                expected.iter().all(|row| found.contains(row)),
                "lost: {context}"
            );
            let legal = |row| expected.contains(row) || possible.contains(row);
            assert!(found.iter().all(legal), "phantom: {context}");
            assert!(
                expected.len() >= 2,
                "one fault failed two writes: {context}"
            );
        }
    }
}

#[tokio::test]
async fn random_store_faults_lose_and_double_nothing() {
    for seed in 0..20 {
        let inner = memory();
        let faulty: Arc<dyn Bucket> =
            Arc::new(Faulty::new(Arc::clone(&inner), FaultRates::network(), seed));
        let engines = [
            engine_on(Arc::clone(&faulty), 2 * seed + 1),
            engine_on(faulty, 2 * seed + 2),
        ];
        let mut legal: Vec<Vec<i64>> = vec![vec![]; 8];
        for step in 0..60_i64 {
            let id = step % 8;
            let engine = &engines[(step % 3 % 2) as usize];
            match engine.write(&name(), upsert([(id, step)]), None).await {
                Ok(_) => legal[id as usize] = vec![step],
                Err(error) if error.kind() == ErrorKind::OutcomeUnknown => {
                    legal[id as usize].push(step);
                }
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Unavailable, "seed {seed}: {error}")
                }
            }
        }
        for (id, year) in rows(&engine_on(inner, 1_000 + seed)).await {
            let legal = &legal[id as usize];
            assert!(
                legal.contains(&year),
                "seed {seed}: id {id} is {year}, legal {legal:?}"
            );
        }
    }
}

#[tokio::test]
async fn repeated_request_with_its_key_gives_the_first_outcome_on_any_engine() {
    let bucket = memory();
    let (a, b) = (engine_on(Arc::clone(&bucket), 1), engine_on(bucket, 2));
    let key = |body| Some(IdempotencyKey { key: 9, body });
    let first = a
        .write(&name(), upsert([(1, 1)]), key(1))
        .await
        .expect("a commit");
    b.write(&name(), upsert([(1, 2)]), None)
        .await
        .expect("a commit");
    let again = b
        .write(&name(), upsert([(1, 1)]), key(1))
        .await
        .expect("a repetition");
    assert_eq!((again.seq, again.rows_upserted), (first.seq, Some(1)));
    assert_eq!(rows(&a).await, [(1, 2)], "the repetition wrote nothing");
    let other = b
        .write(&name(), upsert([(1, 3)]), key(2))
        .await
        .expect_err("refused");
    assert_eq!(other.code(), "idempotency_key_reused");
}

#[tokio::test]
async fn delete_and_recreate_is_seen_by_an_engine_that_holds_the_old_incarnation() {
    let bucket = memory();
    let (a, b) = (engine_on(Arc::clone(&bucket), 1), engine_on(bucket, 2));
    a.write(&name(), upsert([(1, 1)]), None)
        .await
        .expect("a commit");
    assert_eq!(rows(&b).await, [(1, 1)]);
    a.delete(&name()).await.expect("a drop");
    let gone = b.query(&name(), all()).await.expect_err("gone");
    assert_eq!(gone.kind(), ErrorKind::NotFound);
    b.write(&name(), upsert([(2, 2)]), None)
        .await
        .expect("a new incarnation");
    assert_eq!(rows(&a).await, [(2, 2)]);
    a.write(&name(), upsert([(3, 3)]), None)
        .await
        .expect("a commit");
    assert_eq!(rows(&b).await, [(2, 2), (3, 3)]);
    let page = a.list("", None, 10).await.expect("a page");
    assert_eq!(page.names, [name()]);
}

#[tokio::test]
async fn store_requests_of_each_operation_keep_to_their_budget() {
    let bucket = Arc::new(Counting::new(memory()));
    let engine = engine_on(bucket.clone(), 1);
    engine
        .write(&name(), upsert([(1, 1)]), None)
        .await
        .expect("a commit");

    let before = bucket.snapshot();
    engine
        .write(&name(), upsert([(2, 2)]), None)
        .await
        .expect("a commit");
    let commit = bucket.snapshot() - before;
    assert_eq!(
        (commit.create, commit.get_range, commit.requests()),
        (1, 1, 2)
    );

    let before = bucket.snapshot();
    rows(&engine).await;
    let probe = bucket.snapshot() - before;
    assert_eq!(
        (probe.get_range, probe.requests()),
        (2, 2),
        "slot, then anchor"
    );

    let before = bucket.snapshot();
    let query = Query {
        consistency: Consistency::Eventual {
            max_staleness_seconds: 60,
        },
        ..all()
    };
    engine.query(&name(), query).await.expect("a reply");
    let none = StoreCounts::default();
    assert_eq!(
        bucket.snapshot() - before,
        none,
        "an eventual read asks nothing"
    );
}

#[tokio::test]
async fn damaged_slot_is_named_and_never_skipped() {
    let bucket = memory();
    let engine = engine_on(Arc::clone(&bucket), 1);
    for id in 1..=3 {
        engine
            .write(&name(), upsert([(id, id)]), None)
            .await
            .expect("a commit");
    }
    let slots = bucket.list("ns/", None, None).await.expect("a listing");
    let slot = slots
        .iter()
        .find(|object| object.key.ends_with("/wal/000000000000/002"))
        .expect("the third slot");
    let whole = bucket
        .get(&slot.key)
        .await
        .expect("a read")
        .into_bytes()
        .expect("the slot");
    for position in [0, 40, 127, 128, whole.len() - 1] {
        let mut damaged = whole.to_vec();
        damaged[position] ^= 0x10;
        bucket.put(&slot.key, damaged.into()).await.expect("a put");
        let error = engine_on(Arc::clone(&bucket), 2)
            .query(&name(), all())
            .await
            .expect_err("damage is an error");
        assert_eq!(
            error.kind(),
            ErrorKind::Corrupted,
            "byte {position}: {error}"
        );
        assert!(
            error.message().contains(&slot.key),
            "byte {position}: {error}"
        );
    }
    bucket.put(&slot.key, whole).await.expect("a put");
    assert_eq!(rows(&engine_on(bucket, 3)).await.len(), 3);
}

#[tokio::test]
async fn refused_first_write_creates_nothing() {
    let bucket = memory();
    let engine = engine_on(Arc::clone(&bucket), 1);
    let mut batch = upsert([(1, 1)]);
    batch.distance_metric = None;
    let error = engine
        .write(&name(), batch, None)
        .await
        .expect_err("no metric");
    assert_eq!(error.kind(), ErrorKind::InvalidRequest);
    let missing = engine
        .write(&name(), delete(&[1]), None)
        .await
        .expect_err("no namespace");
    assert_eq!(missing.kind(), ErrorKind::NotFound);
    assert_eq!(bucket.list("", None, None).await.expect("a listing"), []);
}

#[tokio::test]
async fn listing_gives_live_names_in_pages() {
    let engine = engine_on(memory(), 1);
    for n in 0..7 {
        let name = NamespaceName::parse(&format!("n{n}")).expect("a legal name");
        engine
            .write(&name, upsert([(1, 1)]), None)
            .await
            .expect("a commit");
    }
    engine
        .delete(&NamespaceName::parse("n3").expect("a legal name"))
        .await
        .expect("a drop");
    let mut seen = Vec::new();
    let mut after = None;
    loop {
        let page = engine.list("n", after.as_ref(), 2).await.expect("a page");
        assert!(page.names.len() <= 2);
        seen.extend(page.names.iter().map(ToString::to_string));
        after = page.next_after;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(seen, ["n0", "n1", "n2", "n4", "n5", "n6"]);
}

#[tokio::test]
async fn query_without_a_free_turn_is_refused_after_its_wait() {
    let world = World {
        bucket: memory(),
        clock: Arc::new(ManualClock::new(Timestamp(0))),
        entropy: Arc::new(SeededEntropy::new(1)),
        compute: Arc::new(ComputePool::new(1).expect("threads start")),
        metrics: Arc::new(Metrics::new().expect("metric names are unique")),
    };
    let options = EngineOptions {
        max_concurrent_queries: 0,
        query_queue_ms: 1,
        ..EngineOptions::default()
    };
    let error = Engine::new(world, options)
        .query(&name(), all())
        .await
        .expect_err("no turn");
    assert_eq!(error.code(), "too_many_queries");
}

#[tokio::test]
async fn names_of_every_legal_form_can_be_written_on_a_local_directory() {
    let folder = tempfile::tempdir().expect("a folder");
    let bucket = crate::store::local::LocalBucket::open(folder.path())
        .await
        .expect("a bucket");
    let engine = engine_on(Arc::new(bucket), 1);
    for text in [".tmp-1", "...", "-", "_a.B-9", "0"] {
        let name = NamespaceName::parse(text).expect("a legal name");
        let written = engine.write(&name, upsert([(1, 1)]), None).await;
        assert!(written.is_ok(), "`{text}`: {written:?}");
    }
    let page = engine.list("", None, 10).await.expect("a page");
    assert_eq!(page.names.len(), 5);
}
