//! Logs with a damaged slot, and manifests that are damaged: what is refused, what goes on, and that it recovers.

use bytes::Bytes;

use super::*;
use crate::format::wal::HEADER_BYTES;
use crate::namespace::NamespaceName;

async fn keys(bucket: &Arc<dyn Bucket>, part: &str) -> Vec<String> {
    let listed = bucket.list("", None, None).await.expect("a list");
    let keys = listed.into_iter().map(|listed| listed.key);
    keys.filter(|key| key.contains(part)).collect()
}

async fn get(bucket: &Arc<dyn Bucket>, key: &str) -> Bytes {
    let found = bucket.get(key).await.expect("it answers").into_bytes();
    found.expect("it is there")
}

async fn flip(bucket: &Arc<dyn Bucket>, key: &str, at: usize) -> Bytes {
    let whole = get(bucket, key).await;
    let mut bytes = whole.to_vec();
    bytes[at] ^= 1;
    bucket.put(key, bytes.into()).await.expect("a put");
    whole
}

fn eventual() -> Query {
    Query {
        consistency: Consistency::Eventual {
            max_staleness_seconds: 60,
        },
        ..all()
    }
}

async fn commit(engine: &Engine, id: i64, year: i64) {
    let written = engine.write(&name(), upsert([(id, year)]), None).await;
    written.expect("a commit");
}

/// An engine that knows the first slots of a log, and the newest slot of it, written by another.
async fn behind(bucket: &Arc<dyn Bucket>) -> (Engine, String) {
    let (old, other) = (
        engine_on(Arc::clone(bucket), 1),
        engine_on(Arc::clone(bucket), 2),
    );
    commit(&old, 1, 1_901).await;
    commit(&other, 2, 1_902).await;
    other.finish().await;
    let newest = keys(bucket, "/wal/").await.pop().expect("a slot");
    (old, newest)
}

fn assert_names(error: &crate::error::Error, slot: &str) {
    assert_eq!(error.code(), "data_corrupt", "{error:?}");
    assert!(error.message().contains(slot), "{error}");
    for wanted in ["object", "expected", "found"] {
        let there = error.details().iter().any(|(name, _)| *name == wanted);
        assert!(there, "no `{wanted}` in {error:?}");
    }
}

#[tokio::test]
async fn damaged_slot_stops_strong_reads_and_writes_and_changes_nothing() {
    for at in [20, HEADER_BYTES + 3] {
        for read_first in [true, false] {
            let bucket = memory();
            let (engine, slot) = behind(&bucket).await;
            let whole = flip(&bucket, &slot, at).await;
            let before = keys(&bucket, "/wal/").await;
            if read_first {
                let error = engine.query(&name(), all()).await.expect_err("not known");
                assert_names(&error, &slot);
            } else if at < HEADER_BYTES {
                // Whose slot it is cannot be known from a damaged header: the first write says so.
                let written = engine.write(&name(), upsert([(3, 1)]), None).await;
                let error = written.expect_err("not known");
                assert_eq!(error.kind(), ErrorKind::OutcomeUnknown, "{error:?}");
                assert!(error.message().contains(&slot), "{error}");
            }
            let session = Query {
                consistency: Consistency::Session {
                    min_seq: crate::types::WalSeq(9),
                },
                ..all()
            };
            for _ in 0..2 {
                let written = engine.write(&name(), upsert([(3, 1)]), None).await;
                assert_names(&written.expect_err("refused"), &slot);
                let error = engine.query(&name(), all()).await.expect_err("not known");
                assert_names(&error, &slot);
                let error = engine.flush(&name()).await.expect_err("refused");
                assert_names(&error, &slot);
                let error = engine.delete(&name()).await.expect_err("refused");
                assert_names(&error, &slot);
                let error = engine.query(&name(), session.clone()).await;
                assert_names(&error.expect_err("not reached"), &slot);
                // What this node knew is as old as it was.
                let reply = engine.query(&name(), eventual()).await.expect("a reply");
                assert_eq!(reply.rows.len(), 1);
            }
            assert_eq!(keys(&bucket, "/wal/").await, before, "nothing was added");
            let elsewhere = NamespaceName::parse("elsewhere").expect("a legal name");
            let written = engine.write(&elsewhere, upsert([(1, 1)]), None).await;
            written.expect("other namespaces are not concerned");

            // Gone is not the end of the log for whoever saw it.
            bucket.delete(&slot).await.expect("it is gone");
            let error = engine.query(&name(), all()).await.expect_err("not known");
            assert_names(&error, &slot);
            let written = engine.write(&name(), upsert([(3, 1)]), None).await;
            assert_names(&written.expect_err("refused"), &slot);

            bucket.put(&slot, whole).await.expect("it is restored");
            commit(&engine, 3, 1_903).await;
            let expected = [(1, 1_901), (2, 1_902), (3, 1_903)];
            assert_eq!(rows(&engine).await, expected, "byte {at}");
            assert_eq!(rows(&engine_on(bucket, 9)).await, expected);
        }
    }
}

#[tokio::test]
async fn eventual_read_behind_a_damaged_slot_ends_with_its_staleness() {
    let bucket = memory();
    let clock = Arc::new(ManualClock::new(Timestamp(1_700_000_000_000)));
    let world = World {
        clock: Arc::clone(&clock) as Arc<dyn crate::types::Clock>,
        ..world_on(Arc::clone(&bucket), 5)
    };
    behind(&bucket).await;
    let engine = Engine::new(world, EngineOptions::default());
    assert_eq!(rows(&engine).await.len(), 2);
    commit(&engine_on(Arc::clone(&bucket), 6), 3, 1_903).await;
    let slot = keys(&bucket, "/wal/").await.pop().expect("a slot");
    flip(&bucket, &slot, HEADER_BYTES).await;
    engine.query(&name(), all()).await.expect_err("not known");
    clock.advance_ms(59_000);
    let reply = engine.query(&name(), eventual()).await.expect("a reply");
    assert_eq!(reply.rows.len(), 2);
    clock.advance_ms(2_000);
    let error = engine.query(&name(), eventual()).await;
    assert_names(&error.expect_err("too old"), &slot);
}

#[tokio::test]
async fn slot_that_arrives_wrong_once_is_read_again() {
    let bucket = memory();
    behind(&bucket).await;
    for fault in [
        crate::store::fault::ReadFault::Flip(HEADER_BYTES),
        crate::store::fault::ReadFault::Truncate(30),
    ] {
        for n in 1..12 {
            let faulty = Faulty::new(Arc::clone(&bucket), FaultRates::default(), 0);
            faulty.script_reads([(n, fault)]);
            let engine = engine_on(Arc::new(faulty), 3);
            assert_eq!(rows(&engine).await.len(), 2, "read {n}: {fault:?}");
        }
    }
}

/// Three flushes: two manifests and the copy of the newest, without a hint. Gives what is there.
async fn manifests(bucket: &Arc<dyn Bucket>) -> (Vec<String>, Vec<(u64, i64)>) {
    let engine = engine_on(Arc::clone(bucket), 1);
    for round in 0..3 {
        commit(&engine, round, 1_900 + round).await;
        engine.flush(&name()).await.expect("a flush");
    }
    commit(&engine, 9, 1_909).await;
    engine.finish().await;
    let expected = rows(&engine).await;
    for hint in keys(bucket, "~hint").await {
        bucket.delete(&hint).await.expect("it is gone");
    }
    (keys(bucket, "/manifest/").await, expected)
}

#[tokio::test]
async fn damaged_newest_manifest_is_replaced_by_its_copy() {
    let bucket = memory();
    let (manifests, expected) = manifests(&bucket).await;
    assert!(manifests.len() >= 2, "{manifests:?}");
    let cost = async |bucket: &Arc<dyn Bucket>| {
        let counting = Arc::new(Counting::new(Arc::clone(bucket)));
        let engine = engine_on(Arc::clone(&counting) as Arc<dyn Bucket>, 4);
        engine.describe(&name()).await.expect("it opens");
        let cost = counting.snapshot();
        assert_eq!(rows(&engine).await, expected);
        engine.finish().await;
        cost.get
    };
    let whole = cost(&bucket).await;
    flip(&bucket, &manifests[0], 100).await;
    // The manifest once more, the one before it, and the copy: no more of the log than before.
    assert_eq!(cost(&bucket).await, whole + 3);
    let marks = keys(&bucket, path::QUARANTINE).await;
    assert_eq!(marks, [path::quarantine(&manifests[0])]);
}

#[tokio::test]
async fn damaged_newest_manifest_without_its_copy_is_replaced_by_an_older_one_and_the_log() {
    for gone in [true, false] {
        let bucket = memory();
        let (manifests, expected) = manifests(&bucket).await;
        flip(&bucket, &manifests[0], 100).await;
        let head = keys(&bucket, "/head").await.remove(0);
        match gone {
            true => bucket.delete(&head).await.expect("it is gone"),
            false => drop(flip(&bucket, &head, 100).await),
        }
        let engine = engine_on(Arc::clone(&bucket), 4);
        assert_eq!(rows(&engine).await, expected);
        commit(&engine, 10, 1_910).await;
        for round in 0..3 {
            commit(&engine, 11, 1_911 + round).await;
            engine.flush(&name()).await.expect("a flush");
        }
        let mut expected = expected;
        expected.extend([(10, 1_910), (11, 1_913)]);
        assert_eq!(rows(&engine_on(bucket, 5)).await, expected);
    }
}

#[tokio::test]
async fn copy_of_another_namespaces_manifest_is_passed_over() {
    let bucket = memory();
    let (manifests, expected) = manifests(&bucket).await;
    let other = engine_on(Arc::clone(&bucket), 8);
    let elsewhere = NamespaceName::parse("elsewhere").expect("a legal name");
    for round in 0..9 {
        let written = other.write(&elsewhere, upsert([(round, 1)]), None).await;
        written.expect("a commit");
        other.flush(&elsewhere).await.expect("a flush");
    }
    other.finish().await;
    let id = |key: &str| key.split('/').nth(1).map(str::to_owned);
    let mine = id(&manifests[0]);
    let heads = keys(&bucket, "/head").await;
    let (mine, theirs): (Vec<_>, Vec<_>) = heads.into_iter().partition(|key| id(key) == mine);
    let bytes = get(&bucket, &theirs[0]).await;
    bucket.put(&mine[0], bytes).await.expect("a put");
    flip(&bucket, &manifests[0], 100).await;
    assert_eq!(rows(&engine_on(Arc::clone(&bucket), 4)).await, expected);
    // And a whole state that is of no log here.
    let head = get(&bucket, &theirs[0]).await;
    let seq = crate::format::manifest::decode("head", None, &head)
        .expect("a state")
        .seq;
    let id: uuid::Uuid = mine[0]
        .split('/')
        .nth(1)
        .expect("an id")
        .parse()
        .expect("an id");
    let id = crate::types::NamespaceId(id);
    bucket
        .put(&path::manifest(id, seq), head)
        .await
        .expect("a put");
    let engine = engine_on(Arc::clone(&bucket), 4);
    assert_eq!(rows(&engine).await, expected);
    engine.finish().await;
    let mark = path::quarantine(&path::manifest(id, seq));
    assert!(keys(&bucket, path::QUARANTINE).await.contains(&mark));
}

#[tokio::test]
async fn manifests_that_are_all_damaged_are_an_error_that_names_the_newest() {
    let bucket = memory();
    let (manifests, _) = manifests(&bucket).await;
    for key in manifests.iter().chain(&keys(&bucket, "/head").await) {
        flip(&bucket, key, 100).await;
    }
    let engine = engine_on(Arc::clone(&bucket), 4);
    let error = engine.query(&name(), all()).await.expect_err("damaged");
    assert_names(&error, &manifests[0]);
}
