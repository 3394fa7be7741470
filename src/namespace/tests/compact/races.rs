//! What happens between a merge's claim and its commit: writes, flushes, other merges, index builds.

use super::*;

/// An engine whose creates can be held up, and what holds them up.
fn held_up(bucket: &Arc<dyn Bucket>, seed: u64) -> (Engine, Arc<ManualClock>, Arc<Faulty>) {
    let faulty = Arc::new(Faulty::new(Arc::clone(bucket), FaultRates::default(), 0));
    let (engine, clock) = asked_by(&(faulty.clone() as Arc<dyn Bucket>), seed, POLICY);
    (engine, clock, faulty)
}

/// Four segments of ten rows each, 0 to 39.
async fn quarters(engine: &Engine) {
    for n in 0..4 {
        write(engine, upsert((0..10).map(|id| (n * 10 + id, 1_900 + id)))).await;
        flush(engine).await;
    }
}

async fn same_everywhere(bucket: &Arc<dyn Bucket>, engines: &[&Engine], expected: &str) {
    for engine in engines {
        assert_eq!(answers(engine).await, expected);
    }
    assert_eq!(answers(&asked_only(bucket, 99)).await, expected, "cold");
}

#[tokio::test(start_paused = true)]
async fn writes_while_segments_are_merged_are_seen_before_and_after() {
    let bucket = memory();
    let (engine, _, faulty) = held_up(&bucket, 1);
    let other = asked_only(&bucket, 2);
    quarters(&engine).await;
    let inputs = files_of(&*view(&engine).await);
    let pause = faulty.pause(Point::BeforeCreate, ".parquet");
    let meanwhile = async {
        pause.reached().await;
        write(&engine, delete(&[1, 11, 21, 31])).await;
        write(&other, upsert([(2, 2_000), (12, 2_001), (50, 2_002)])).await;
        let expected = answers(&engine).await;
        assert_eq!(answers(&other).await, expected);
        pause.release();
        expected
    };
    let (compacted, expected) = tokio::join!(compact(&engine), meanwhile);
    assert_eq!((compacted.segments_after, compacted.removed_rows), (1, 0));
    same_everywhere(&bucket, &[&engine, &other], &expected).await;
    let state = Arc::clone(&view(&engine).await.state);
    assert_eq!(
        (state.segments[0].rows, state.segments[0].deletions.rows),
        (40, 0)
    );
    flush(&other).await;
    same_everywhere(&bucket, &[&engine, &other], &expected).await;
    let state = Arc::clone(&view(&engine).await.state);
    assert_eq!(state.segments[0].deletions.rows, 6);
    only_orphans(&bucket, &inputs).await;
}

#[tokio::test(start_paused = true)]
async fn flush_that_comes_before_a_commit_moves_its_deletions_into_the_output() {
    // Files of the first output: before and after each, and once for each of two flushes.
    for (point, part) in [
        (Point::BeforeCreate, ".parquet"),
        (Point::AfterCreate, ".parquet"),
        (Point::AfterCreate, ".idx"),
    ] {
        for same_engine in [true, false] {
            let bucket = memory();
            let (engine, _, faulty) = held_up(&bucket, 1);
            let other = asked_only(&bucket, 2);
            quarters(&engine).await;
            let inputs = files_of(&*view(&engine).await);
            let pause = faulty.pause(point, part);
            let by = if same_engine { &engine } else { &other };
            let meanwhile = async {
                pause.reached().await;
                write(by, delete(&[1, 11])).await;
                flush(by).await;
                write(by, upsert([(2, 2_000), (12, 2_001), (50, 2_002)])).await;
                flush(by).await;
                write(by, delete(&[3, 50])).await;
                let expected = answers(by).await;
                pause.release();
                expected
            };
            let (compacted, expected) = tokio::join!(compact(&engine), meanwhile);
            assert_eq!(compacted.reason, Some("similar_sizes"));
            same_everywhere(&bucket, &[&engine, &other], &expected).await;
            let state = Arc::clone(&view(&engine).await.state);
            assert!(state.claims.is_empty() && state.merging.is_empty());
            let shape: Vec<(u64, u64)> = state
                .segments
                .iter()
                .map(|one| (one.rows, one.deletions.rows))
                .collect();
            assert_eq!(shape, [(40, 4), (3, 0)], "{part} {same_engine}");
            flush(&engine).await;
            same_everywhere(&bucket, &[&engine, &other], &expected).await;
            only_orphans(&bucket, &inputs).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn flush_that_leaves_no_row_of_an_output_leaves_no_output() {
    let bucket = memory();
    let (engine, _, faulty) = held_up(&bucket, 1);
    quarters(&engine).await;
    let pause = faulty.pause(Point::AfterCreate, ".idx");
    let meanwhile = async {
        pause.reached().await;
        write(&engine, delete(&(0..40).collect::<Vec<_>>())).await;
        write(&engine, upsert([(70, 1)])).await;
        flush(&engine).await;
        pause.release();
    };
    let (compacted, ()) = tokio::join!(compact(&engine), meanwhile);
    assert_eq!(compacted.segments_after, 1);
    assert_eq!(rows(&asked_only(&bucket, 2)).await, [(70, 1)]);
    assert_eq!(rows(&engine).await, [(70, 1)]);
    let left = orphans(&bucket).await;
    assert!(left.len() >= 2, "the output at least: {left:?}");
}

#[tokio::test(start_paused = true)]
async fn flush_whose_segments_are_merged_away_says_it_of_the_output_and_sends_no_row_twice() {
    for same_engine in [true, false] {
        let bucket = memory();
        let (engine, _, faulty) = held_up(&bucket, 1);
        let other = asked_only(&bucket, 2);
        quarters(&engine).await;
        let inputs = files_of(&*view(&engine).await);
        write(&engine, delete(&[1, 11])).await;
        write(&engine, upsert([(2, 2_000), (12, 2_001), (50, 2_002)])).await;
        let files = count_of(&*bucket, ".parquet").await;
        // Its claim is there, and it has found out which segments lost rows.
        let pause = faulty.pause(Point::BeforeCreate, ".parquet");
        let by = if same_engine { &engine } else { &other };
        let meanwhile = async {
            pause.reached().await;
            let compacted = compact(by).await;
            assert_eq!(compacted.segments_after, 1);
            // Not of this flush.
            write(by, delete(&[3, 13])).await;
            let expected = answers(by).await;
            pause.release();
            expected
        };
        let books = name();
        let (flushed, expected) = tokio::join!(engine.flush(&books), meanwhile);
        flushed.expect("a flush");
        same_everywhere(&bucket, &[&engine, &other], &expected).await;
        let state = Arc::clone(&view(&engine).await.state);
        let shape: Vec<(u64, u64)> = state
            .segments
            .iter()
            .map(|one| (one.rows, one.deletions.rows))
            .collect();
        // The flush claimed first.
        assert_eq!(shape, [(3, 0), (40, 4)]);
        assert!(state.claims.is_empty());
        let made = count_of(&*bucket, ".parquet").await - files;
        assert_eq!(made, 2, "one of the merge, one of the flush");
        flush(&other).await;
        same_everywhere(&bucket, &[&engine, &other], &expected).await;
        only_orphans(&bucket, &inputs).await;
    }
}

#[tokio::test(start_paused = true)]
async fn segments_that_one_engine_merges_are_left_to_it_until_it_counts_as_dead() {
    let bucket = memory();
    let (slow, _, faulty) = held_up(&bucket, 1);
    quarters(&slow).await;
    let expected = answers(&slow).await;
    let (quick, clock) = asked_by(&bucket, 2, POLICY);
    let pause = faulty.pause(Point::AfterCreate, ".parquet");
    let meanwhile = async {
        pause.reached().await;
        let busy = quick.compact(&name(), true).await.expect_err("claimed");
        assert_eq!(busy.kind(), ErrorKind::Unavailable);
        // Others are merged beside it.
        for n in 4..8 {
            write(&quick, upsert((0..10).map(|id| (n * 10 + id, n)))).await;
            flush(&quick).await;
        }
        let _ = quick.compact(&name(), true).await;
        assert_eq!(segments(&quick).await.len(), 5, "four are being merged");
        clock.advance_ms(limits::CLAIM_PATIENCE_MS);
        compact(&quick).await;
        assert!(segments(&quick).await.len() <= 2);
        pause.release();
        answers(&quick).await
    };
    let books = name();
    let (in_vain, grown) = tokio::join!(slow.compact(&books, true), meanwhile);
    let error = in_vain.expect_err("its claim is gone");
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert_ne!(expected, grown);
    same_everywhere(&bucket, &[&slow, &quick], &grown).await;
    assert!(view(&slow).await.state.claims.is_empty());
    let left = orphans(&bucket).await;
    assert!(left.len() >= 2, "what the slow one uploaded: {left:?}");
}

#[tokio::test(start_paused = true)]
async fn merge_whose_claim_is_given_up_changes_nothing() {
    let bucket = memory();
    let (engine, _, faulty) = held_up(&bucket, 1);
    quarters(&engine).await;
    let expected = answers(&engine).await;
    let before = segments(&engine).await;
    let pause = faulty.pause(Point::AfterCreate, ".idx");
    let meanwhile = async {
        pause.reached().await;
        let handle = handle(&engine).await;
        let claim = *view(&engine)
            .await
            .state
            .merging
            .keys()
            .next()
            .expect("a claim");
        let mut slot = handle.log.lock().await;
        let abort = Entry::Abort { claim };
        handle
            .append_plain(&mut slot, abort)
            .await
            .expect("a commit");
        drop(slot);
        pause.release();
    };
    let books = name();
    let (in_vain, ()) = tokio::join!(engine.compact(&books, true), meanwhile);
    assert!(in_vain.is_err());
    assert_eq!(segments(&engine).await, before);
    same_everywhere(&bucket, &[&engine], &expected).await;
    assert_eq!(orphans(&bucket).await.len(), 2);
    assert_eq!(
        compact(&engine).await.segments_after,
        1,
        "it may be tried again"
    );
}

#[tokio::test(start_paused = true)]
async fn index_that_is_built_while_its_segment_is_merged_comes_to_nothing_and_the_other_way_round()
{
    for merge_first in [true, false] {
        let bucket = memory();
        let (engine, _, faulty) = held_up(&bucket, 1);
        let mut first = upsert((0..10).map(|id| (id, id)));
        first.schema = Some(years(Some(false)));
        write(&engine, first).await;
        flush(&engine).await;
        for n in 1..4 {
            write(&engine, upsert((0..10).map(|id| (n * 10 + id, id)))).await;
            flush(&engine).await;
        }
        if merge_first {
            // The build is under way, the merge commits before it.
            let pause = faulty.pause(Point::BeforeCreate, ".idx");
            let changed = engine.update_schema(&name(), years(Some(true))).await;
            changed.expect("a commit");
            pause.reached().await;
            compact(&engine).await;
            pause.release();
        } else {
            // The merge is under way, the builds commit before it.
            let pause = faulty.pause(Point::BeforeCreate, ".parquet");
            let other = asked_only(&bucket, 2);
            let meanwhile = async {
                pause.reached().await;
                let changed = other.update_schema(&name(), years(Some(true))).await;
                changed.expect("a commit");
                sleep_ms(SETTLED_MS).await;
                assert!(!view(&other).await.lacks_index());
                pause.release();
            };
            tokio::join!(compact(&engine), meanwhile);
        }
        sleep_ms(SETTLED_MS).await;
        let expected = answers(&engine).await;
        let merged = view(&engine).await;
        assert_eq!(merged.state.segments.len(), 1);
        assert!(!merged.lacks_index(), "merge first: {merge_first}");
        assert!(merged.state.claims.is_empty());
        assert_eq!(engine.shared.metrics.index_build.failures_total.get(), 0);
        let found = engine.query(&name(), from(7)).await.expect("a reply");
        assert_eq!(found.rows.len(), 12);
        same_everywhere(&bucket, &[&engine], &expected).await;
        orphans(&bucket).await;
    }
}

#[tokio::test(start_paused = true)]
async fn attribute_that_is_dropped_while_its_segments_are_merged_harms_nothing() {
    let bucket = memory();
    let (engine, _, faulty) = held_up(&bucket, 1);
    quarters(&engine).await;
    let pause = faulty.pause(Point::BeforeCreate, ".parquet");
    let meanwhile = async {
        pause.reached().await;
        let dropped = engine.update_schema(&name(), years(None)).await;
        dropped.expect("a commit");
        write(&engine, upsert([(77, 7)])).await;
        pause.release();
    };
    let (compacted, ()) = tokio::join!(compact(&engine), meanwhile);
    assert_eq!(compacted.segments_after, 1);
    for engine in [&engine, &asked_only(&bucket, 2)] {
        let reply = engine.query(&name(), all()).await.expect("a reply");
        let found: Vec<usize> = reply.rows.iter().map(|row| row.attributes.len()).collect();
        assert_eq!(found.len(), 41);
        assert_eq!(
            found.iter().sum::<usize>(),
            1,
            "of a new attribute of the name"
        );
    }
}
