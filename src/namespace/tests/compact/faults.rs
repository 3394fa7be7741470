//! Merges on a store that fails, and of segments that are damaged.

use super::*;

#[tokio::test(start_paused = true)]
async fn merge_with_a_fault_at_each_create_ends_and_changes_no_answer() {
    use CreateFault::{Duplicate, FalseExists, Late, Lose, LoseAnswer, Refuse};
    let bucket = memory();
    let first = asked_only(&bucket, 1);
    library(&first).await;
    let expected = answers(&first).await;
    drop(first);
    // Creates: claim, documents, index, commit, manifest; then those of the second merge.
    for nth in 1..=10 {
        for fault in [Refuse, Lose, LoseAnswer, Late, Duplicate, FalseExists] {
            let context = format!("create {nth} {fault:?}");
            let inner = copied(&bucket).await;
            let faulty = Arc::new(Faulty::scripted(Arc::clone(&inner), [(nth, fault)]));
            let (engine, clock) = by_itself(&(faulty.clone() as Arc<dyn Bucket>), 2);
            assert_eq!(answers(&engine).await, expected, "{context}");
            for _ in 0..4 {
                sleep_ms(SETTLED_MS).await;
                clock.advance_ms(10_000);
            }
            faulty.deliver_late().await;
            sleep_ms(SETTLED_MS).await;
            assert_eq!(segments(&engine).await.len(), 1, "{context}");
            assert_eq!(answers(&engine).await, expected, "{context}");
            assert_eq!(answers(&asked_only(&inner, 3)).await, expected, "{context}");
            assert!(view(&engine).await.state.claims.is_empty(), "{context}");
            orphans(&inner).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn claim_of_an_engine_that_died_in_a_merge_is_taken_back() {
    let bucket = memory();
    let first = asked_only(&bucket, 1);
    library(&first).await;
    drop(first);
    for lost in [2, 3, 4] {
        let bucket = copied(&bucket).await;
        let script = (lost..90).map(|nth| (nth, CreateFault::Refuse));
        let faulty = Faulty::scripted(Arc::clone(&bucket), script);
        let (dead, _) = by_itself(&(Arc::new(faulty) as Arc<dyn Bucket>), 2);
        let expected = answers(&dead).await;
        sleep_ms(SETTLED_MS).await;
        assert_eq!(answers(&dead).await, expected);
        drop(dead);
        let (next, clock) = by_itself(&bucket, 3);
        assert_eq!(answers(&next).await, expected);
        assert_eq!(view(&next).await.state.merging.len(), 1, "create {lost}");
        for _ in 0..4 {
            sleep_ms(SETTLED_MS).await;
            clock.advance_ms(limits::CLAIM_PATIENCE_MS);
        }
        assert_eq!(segments(&next).await.len(), 1, "create {lost}");
        assert_eq!(answers(&next).await, expected);
        assert_eq!(answers(&asked_only(&bucket, 4)).await, expected);
        orphans(&bucket).await;
    }
}

async fn damage(bucket: &Arc<dyn Bucket>, key: &str, at: usize) {
    let whole = bucket.get(key).await.expect("it answers").into_bytes();
    let mut bytes = whole.expect("it is there").to_vec();
    bytes[at] ^= 1;
    bucket.put(key, bytes.into()).await.expect("a put");
}

#[tokio::test(start_paused = true)]
async fn segment_that_is_damaged_is_named_and_the_others_are_merged_without_it() {
    let bucket = memory();
    let writer = asked_only(&bucket, 1);
    for n in 0..5 {
        write(&writer, upsert((0..10).map(|id| (n * 10 + id, id)))).await;
        flush(&writer).await;
    }
    let bad = view(&writer).await.state.segments[1].clone();
    drop(writer);
    damage(&bucket, &bad.parquet.path, 40).await;
    let (engine, clock) = by_itself(&bucket, 2);
    let wanted = view(&engine).await;
    assert_eq!(wanted.state.segments.len(), 5);
    for _ in 0..3 {
        sleep_ms(SETTLED_MS).await;
        clock.advance_ms(2_000);
    }
    let state = Arc::clone(&view(&engine).await.state);
    let left: Vec<SegmentId> = state.segments.iter().map(|one| one.id).collect();
    assert_eq!((left.len(), left[0]), (2, bad.id));
    assert!(state.claims.is_empty());
    assert_eq!(state.segments[1].rows, 40);
    let metrics = &engine.shared.metrics.compaction;
    assert_eq!(metrics.failures_total.get(), 1);
    // Told by name where it is asked for, and nothing is lost.
    let error = engine.compact(&name(), false).await;
    assert!(
        error.is_ok(),
        "the damaged one is left out for a while: {error:?}"
    );
    clock.advance_ms(DAMAGED_LONG_MS);
    let error = engine.compact(&name(), false).await.expect_err("damaged");
    assert_eq!(error.kind(), ErrorKind::Corrupted);
    assert!(error.message().contains(&bad.parquet.path), "{error}");
    damage(&bucket, &bad.parquet.path, 40).await;
    assert_eq!(rows(&asked_only(&bucket, 3)).await.len(), 50);
    clock.advance_ms(DAMAGED_LONG_MS);
    let whole = engine.compact(&name(), false).await.expect("a merge");
    assert_eq!(whole.segments_after, 1);
    assert_eq!(rows(&asked_only(&bucket, 4)).await.len(), 50);
    orphans(&bucket).await;
}

/// Longer than a damaged segment is left out.
const DAMAGED_LONG_MS: u64 = 11 * 60 * 1_000;

#[tokio::test(start_paused = true)]
async fn merge_that_always_fails_is_tried_ever_more_seldom() {
    let bucket = memory();
    let first = asked_only(&bucket, 1);
    library(&first).await;
    let expected = answers(&first).await;
    drop(first);
    let slots = count_of(&*bucket, "/wal/").await;
    let script = (1..10_000).map(|nth| (nth, CreateFault::Refuse));
    let faulty = Arc::new(Faulty::scripted(Arc::clone(&bucket), script));
    let (engine, clock) = by_itself(&(faulty as Arc<dyn Bucket>), 2);
    for _ in 0..600 {
        view(&engine).await;
        sleep_ms(1_000).await;
        clock.advance_ms(1_000);
    }
    let failures = engine.shared.metrics.compaction.failures_total.get();
    assert!((3..20).contains(&failures), "{failures}");
    assert_eq!(count_of(&*bucket, "/wal/").await, slots);
    assert_eq!(answers(&engine).await, expected);
}

#[tokio::test(start_paused = true)]
async fn engine_that_drains_ends_its_merge_and_gives_its_claim_up() {
    let bucket = memory();
    let faulty = Arc::new(Faulty::new(Arc::clone(&bucket), FaultRates::default(), 0));
    let policy = Policy {
        target_rows: 40,
        ..POLICY
    };
    let (engine, _) = asked_by(&(faulty.clone() as Arc<dyn Bucket>), 1, policy);
    library(&engine).await;
    let expected = answers(&engine).await;
    let pause = faulty.pause(Point::AfterCreate, ".idx");
    let meanwhile = async {
        pause.reached().await;
        engine.drain();
        pause.release();
    };
    let books = name();
    let (merged, ()) = tokio::join!(engine.compact(&books, false), meanwhile);
    // A flush went before it, which had the first of the files.
    assert!(merged.is_err(), "{merged:?}");
    engine.finish().await;
    let next = asked_only(&bucket, 2);
    assert_eq!(answers(&next).await, expected);
    assert!(view(&next).await.state.claims.is_empty());
    orphans(&bucket).await;
}
