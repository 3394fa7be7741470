//! Checks of stores in memory: clean, damaged, short of objects, with objects too many.

mod repair;

use std::sync::Arc;

use bytes::Bytes;

use super::*;
use crate::format::deletions;
use crate::format::references::Bitmap;
use crate::format::segment::object_ref;
use crate::lsm::{BitmapPlace, Deletions};
use crate::namespace::{Engine, EngineOptions, World};
use crate::query::request::{Consistency, Include, Paging, Query, RankBy};
use crate::runtime::{ComputePool, ManualClock, SeededEntropy};
use crate::store::object::ObjectBucket;
use crate::telemetry::Metrics;
use crate::types::document::{Document, RawValue, WriteBatch};
use crate::types::{Timestamp, WalSeq};

fn clock() -> Arc<dyn Clock> {
    Arc::new(ManualClock::new(Timestamp(1_700_000_000_000)))
}

fn entropy() -> Arc<dyn Entropy> {
    Arc::new(SeededEntropy::new(1))
}

fn name() -> NamespaceName {
    NamespaceName::parse("books").expect("a legal name")
}

fn upsert(ids: std::ops::Range<i64>) -> WriteBatch {
    let document = |id| Document {
        id: RawValue::Int(id),
        attributes: vec![(Arc::from("year"), RawValue::Int(id))],
    };
    WriteBatch {
        upserts: ids.map(document).collect(),
        has_upserts: true,
        ..WriteBatch::default()
    }
}

fn flushed_world(bucket: &Arc<dyn Bucket>) -> World {
    World {
        bucket: Arc::clone(bucket),
        clock: clock(),
        entropy: entropy(),
        compute: Arc::new(ComputePool::new(1).expect("threads start")),
        metrics: Arc::new(Metrics::new().expect("metric names are unique")),
    }
}

/// A store with a flushed namespace: two segments, a bitmap, a tail of two slots.
async fn flushed() -> (Arc<dyn Bucket>, Engine) {
    let bucket: Arc<dyn Bucket> = Arc::new(ObjectBucket::memory());
    let engine = Engine::new(flushed_world(&bucket), EngineOptions::default());
    for round in 0..2 {
        let batch = upsert(round * 5..round * 5 + 10);
        engine.write(&name(), batch, None).await.expect("a commit");
        engine.flush(&name()).await.expect("a flush");
    }
    for round in 0..2 {
        let batch = upsert(round..round + 1);
        engine.write(&name(), batch, None).await.expect("a commit");
    }
    engine.finish().await;
    let record = StoreRecord {
        store: NamespaceId(uuid::Uuid::from_u128(1)),
        conformance: 1,
    };
    let record = Bytes::from(record::encode(&record));
    bucket.put(path::STORE, record).await.expect("a put");
    (bucket, engine)
}

async fn run(bucket: &Arc<dyn Bucket>) -> (Checked, Vec<Finding>) {
    let mut found = Vec::new();
    let mut tell = |finding: &Finding| found.push(finding.clone());
    let done = check(Arc::clone(bucket), clock(), entropy(), None, &mut tell).await;
    (done.expect("the store answers"), found)
}

async fn keys(bucket: &Arc<dyn Bucket>, part: &str) -> Vec<String> {
    let listed = bucket.list("", None, None).await.expect("a listing");
    let keys = listed.into_iter().map(|object| object.key);
    keys.filter(|key| key.contains(part)).collect()
}

#[tokio::test]
async fn check_of_a_whole_store_finds_nothing_and_reads_everything() {
    let (bucket, _) = flushed().await;
    let (done, found) = run(&bucket).await;
    assert_eq!(found, []);
    let all = keys(&bucket, "").await.len() as u64;
    assert_eq!((done.namespaces, done.objects), (1, all));
}

#[tokio::test]
async fn check_counts_dirty_hints_and_calls_none_an_orphan() {
    let (bucket, _) = flushed().await;
    let key = |n| {
        path::dirty(path::DirtyKey {
            hour: 1,
            node: 2,
            n,
        })
    };
    let hint = dirty::DirtyHint {
        namespaces: vec![dirty::DirtyNamespace {
            namespace: NamespaceId(uuid::Uuid::from_u128(7)),
            name: name(),
            waited_ms: 0,
        }],
    };
    let whole = dirty::encode(&hint);
    let damaged = whole[..whole.len() - 1].to_vec();
    let strange = format!("{}strange", path::DIRTY);
    for (key, bytes) in [
        (key(0), whole),
        (key(1), damaged),
        (strange.clone(), vec![]),
    ] {
        bucket.put(&key, bytes.into()).await.expect("a put");
    }
    let (done, found) = run(&bucket).await;
    assert_eq!((done.dirty_hints, done.advisory, done.orphans), (3, 2, 0));
    assert!(done.is_clean());
    let named = found.iter().map(|finding| match finding {
        Finding::Advisory { object, .. } => object.clone(),
        other => panic!("{other:?}"),
    });
    assert_eq!(named.collect::<Vec<_>>(), [key(1), strange]);
}

#[tokio::test]
async fn check_of_damaged_objects_names_each() {
    for part in [
        "/wal/",
        "/manifest/",
        ".parquet",
        ".idx",
        "/genesis",
        "STORE",
        "00000001",
    ] {
        let (bucket, _) = flushed().await;
        for key in keys(&bucket, part).await {
            let whole = bucket.get(&key).await.expect("it answers").into_bytes();
            let whole = whole.expect("it is there");
            let mut bytes = whole.to_vec();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 4;
            bucket.put(&key, bytes.into()).await.expect("a put");
            let (done, found) = run(&bucket).await;
            let named = found.iter().any(
                |finding| matches!(finding, Finding::Damaged { object, .. } if *object == key),
            );
            assert!(named && !done.is_clean(), "{key}: {found:?}");
            bucket.put(&key, whole).await.expect("a put");
        }
    }
}

#[tokio::test]
async fn check_of_missing_objects_names_each() {
    for part in [".parquet", ".idx", "/genesis", "STORE"] {
        let (bucket, _) = flushed().await;
        for key in keys(&bucket, part).await {
            let whole = bucket.get(&key).await.expect("it answers").into_bytes();
            bucket.delete(&key).await.expect("a delete");
            let (done, found) = run(&bucket).await;
            let missing = found.iter().any(
                |finding| matches!(finding, Finding::Missing { object, .. } if *object == key),
            );
            assert!(missing && !done.is_clean(), "{key}: {found:?}");
            let whole = whole.expect("it was there");
            bucket.put(&key, whole).await.expect("a put");
        }
    }
}

#[tokio::test]
async fn check_of_a_hole_in_the_log_names_the_slot() {
    let (bucket, _) = flushed().await;
    let slots = keys(&bucket, "/wal/").await;
    let hole = &slots[slots.len() - 2];
    bucket.delete(hole).await.expect("a delete");
    let (done, found) = run(&bucket).await;
    let missing =
        |finding: &Finding| matches!(finding, Finding::Missing { object, .. } if object == hole);
    assert!(found.iter().any(missing), "{found:?}");
    assert_eq!(done.damaged, 0, "{found:?}");
}

#[tokio::test]
async fn check_calls_uploads_of_an_ended_claim_orphans_and_stays_clean() {
    let (bucket, _) = flushed().await;
    let known = &keys(&bucket, ".parquet").await[0];
    let id = known.split('/').nth(1).expect("the id");
    let id = NamespaceId(id.parse().expect("an id"));
    // Sequence 1 is no claim that is active; 10,000 is of a claim that this check has not seen.
    let orphan = path::segment_index(id, WalSeq(1), 0);
    let newer = path::segment_index(id, WalSeq(10_000), 0);
    for key in [&orphan, &newer] {
        let bytes = Bytes::from_static(b"left");
        bucket.put(key, bytes).await.expect("a put");
    }
    let (done, found) = run(&bucket).await;
    let object = orphan;
    assert_eq!(found, [Finding::Orphan { object, bytes: 4 }]);
    assert!(done.is_clean() && done.orphan_bytes == 4);
}

#[tokio::test]
async fn check_calls_a_damaged_head_advisory_and_stays_clean() {
    let (bucket, _) = flushed().await;
    for key in [keys(&bucket, "/head").await, keys(&bucket, "~hint").await].concat() {
        let bytes = Bytes::from_static(b"nonsense");
        bucket.put(&key, bytes).await.expect("a put");
    }
    let (done, found) = run(&bucket).await;
    assert!(done.is_clean() && done.advisory == 2, "{found:?}");
}

#[tokio::test]
async fn check_of_an_unknown_name_is_not_found() {
    let (bucket, _) = flushed().await;
    let other = NamespaceName::parse("other").expect("a legal name");
    let error = check(bucket, clock(), entropy(), Some(&other), &mut |_| {}).await;
    assert_eq!(error.expect_err("none").code(), "namespace_not_found");
}

#[tokio::test]
async fn bitmap_that_is_as_it_was_written_and_not_of_its_segment_is_damaged() {
    let bucket: Arc<dyn Bucket> = Arc::new(ObjectBucket::memory());
    let object = Bytes::from(deletions::seal(&deletions::encode(
        &[1, 5].into_iter().collect(),
    )));
    bucket.put("dv", object.clone()).await.expect("a put");
    for (rows, count, damaged) in [(6, 2, 0), (6, 3, 1), (5, 2, 1)] {
        let bitmap = Bitmap {
            deletions: Deletions {
                generation: 1,
                rows: count,
                bitmap: BitmapPlace::Stored(object_ref("dv".to_owned(), &object)),
            },
            rows,
            named_by: "manifest".to_owned(),
        };
        let mut checker = Checker {
            bucket: Arc::clone(&bucket),
            clock: clock(),
            entropy: entropy(),
            done: Checked::default(),
            markers: Markers::default(),
            only: false,
            tell: &mut |_| {},
        };
        let mut gone = Vec::new();
        let checked = checker.bitmap(&Survey::default(), &bitmap, &mut gone).await;
        checked.expect("the store answers");
        assert_eq!(checker.done.damaged, damaged, "{count} of {rows}");
        assert_eq!(gone, []);
    }
}

#[tokio::test]
async fn check_looks_at_the_end_of_a_dropped_namespace_and_says_what_it_skips() {
    let (bucket, engine) = flushed().await;
    engine.delete(&name()).await.expect("a drop");
    let (done, found) = run(&bucket).await;
    assert!(done.is_clean(), "{found:?}");
    assert_eq!((done.namespaces, done.dropped, done.skipped), (0, 1, 1));
    let [Finding::Skipped { object, why }] = found.as_slice() else {
        panic!("expected one prefix that is skipped: {found:?}");
    };
    assert!(
        object.ends_with("/seg/") && why.contains("dropped"),
        "{why}"
    );
    // Its log is read: damage in it is found.
    let slot = keys(&bucket, "/wal/").await.pop().expect("a slot");
    bucket
        .put(&slot, Bytes::from_static(b"torn"))
        .await
        .expect("a put");
    let (done, found) = run(&bucket).await;
    assert_eq!(done.damaged, 1, "{found:?}");
}

#[tokio::test]
async fn check_of_a_drop_that_the_log_does_not_know_names_the_record() {
    let (bucket, _) = flushed().await;
    let record = keys(&bucket, "00000001").await.remove(0);
    let bytes = bucket.get(&record).await.expect("it answers").into_bytes();
    let created = record::decode(&record, &bytes.expect("a record")).expect("a record");
    let crate::format::record::NameRecord::Created { namespace } = created else {
        panic!("the first record creates");
    };
    let dropped = crate::format::record::NameRecord::Dropped { namespace };
    let key = path::name_record(&name(), 2);
    let bytes = Bytes::from(record::encode(&dropped));
    bucket.put(&key, bytes).await.expect("a put");
    let (done, found) = run(&bucket).await;
    assert_eq!(done.damaged, 1, "{found:?}");
    let named =
        |finding: &Finding| matches!(finding, Finding::Damaged { object, .. } if *object == key);
    assert!(found.iter().any(named), "{found:?}");
}

#[tokio::test]
async fn check_tells_whether_marked_objects_are_still_damaged() {
    let (bucket, engine) = flushed().await;
    let key = keys(&bucket, ".parquet").await.remove(0);
    let whole = bucket.get(&key).await.expect("it answers").into_bytes();
    let whole = whole.expect("it is there");
    let bytes: Vec<u8> = whole.iter().map(|byte| !byte).collect();
    bucket.put(&key, bytes.into()).await.expect("a put");
    drop(engine);
    let engine = Engine::new(flushed_world(&bucket), EngineOptions::default());
    let all = Query {
        rank_by: RankBy::Id,
        limit: 100,
        per: None,
        offset: 0,
        paging: Paging::Off,
        filter: None,
        include: Include::Everything,
        compute: Vec::new(),
        distance_metric: None,
        consistency: Consistency::Strong,
        allow_degraded: false,
    };
    let answer = engine.query(&name(), all).await;
    assert_eq!(answer.expect_err("damaged").code(), "data_corrupt");
    engine.finish().await;
    let told = async || {
        let (done, found) = run(&bucket).await;
        let told = found.into_iter().find_map(|finding| match finding {
            Finding::Quarantined { object, now, .. } => Some((object, now)),
            _ => None,
        });
        (told, done.quarantined, done.mended, done.damaged)
    };
    let of = |now| Some((key.clone(), now));
    assert_eq!(told().await, (of(Marked::Damaged), 1, 0, 1));
    bucket.put(&key, whole).await.expect("a put");
    assert_eq!(told().await, (of(Marked::Whole), 1, 1, 0));
    let world = flushed_world(&bucket);
    let engine = Engine::new(world, EngineOptions::default());
    engine.delete(&name()).await.expect("a drop");
    assert_eq!(told().await, (of(Marked::Unreferenced), 1, 1, 0));
    let marker = path::quarantine(&key);
    bucket
        .put(&marker, Bytes::from_static(b"torn"))
        .await
        .expect("a put");
    let (done, _) = run(&bucket).await;
    assert_eq!((done.quarantined, done.advisory), (0, 1));
    assert!(done.is_clean());
}
