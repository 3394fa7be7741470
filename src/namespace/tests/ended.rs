//! Deleted namespaces: they come back within the grace, and leave nothing but their tombstone after it.

use super::tools::{count_of, flush, orphans, write};
use super::*;
use crate::format::path;
use crate::lsm::Entry;
use crate::lsm::entry::Id16;
use crate::lsm::state::Life;
use crate::namespace::{GarbageCollection, Reaped};
use crate::store::StoreKind;
use crate::store::dated::Dated;
use crate::store::fault::FaultRates;
use crate::types::NamespaceId;

/// An engine that keeps deleted namespaces for so long, and does nothing by itself.
fn keeping(bucket: &Arc<dyn Bucket>, seed: u64, undelete_grace_ms: u64) -> Engine {
    let options = EngineOptions {
        history_ms: 0,
        gc: GarbageCollection {
            enabled: false,
            undelete_grace_ms,
            ..GarbageCollection::default()
        },
        ..EngineOptions::default()
    };
    engine_with(Arc::clone(bucket), seed, options)
}

/// Three documents, of which one is in a segment.
async fn library(engine: &Engine) -> NamespaceId {
    write(engine, upsert([(1, 10)])).await;
    flush(engine).await;
    write(engine, upsert([(2, 20), (3, 30)])).await;
    super::tools::handle(engine).await.id()
}

async fn reap(engine: &Engine) -> Reaped {
    engine.reap(false).await.expect("a round")
}

/// All keys of an incarnation.
async fn keys_of(bucket: &Arc<dyn Bucket>, id: NamespaceId) -> Vec<String> {
    let listed = bucket.list(&path::all_of(id), None, None).await;
    let listed = listed.expect("a listing");
    listed.into_iter().map(|object| object.key).collect()
}

#[tokio::test]
async fn namespace_deleted_by_mistake_comes_back_as_it_was() {
    let bucket = memory();
    let (a, b) = (keeping(&bucket, 1, u64::MAX), keeping(&bucket, 2, u64::MAX));
    library(&a).await;
    let expected = rows(&b).await;
    for (deleting, undeleting) in [(&a, &b), (&b, &a), (&a, &a)] {
        deleting.delete(&name()).await.expect("dropped");
        let error = undeleting.query(&name(), all()).await.expect_err("gone");
        assert_eq!(error.code(), "namespace_not_found");
        assert_eq!(reap(&a).await.waiting, 1);
        undeleting.undelete(&name()).await.expect("it is back");
        for engine in [&a, &b, &keeping(&bucket, 3, 0)] {
            assert_eq!(rows(engine).await, expected);
        }
        assert_eq!(orphans(&bucket).await, Vec::<String>::new());
        let page = a.list("", None, 10).await.expect("a page");
        assert_eq!(page.names, [name()]);
        // What was brought back is no more marked.
        let never = keeping(&bucket, 4, 0);
        assert_eq!(
            never.reap(true).await.expect("a dry run"),
            Reaped::default()
        );
        assert_eq!(reap(&never).await, Reaped::default());
        assert_eq!(rows(&a).await, expected);
    }
    write(&b, upsert([(4, 40)])).await;
    assert_eq!(rows(&a).await.len(), expected.len() + 1);
}

#[tokio::test]
async fn undelete_of_what_lives_or_never_was_changes_nothing() {
    let bucket = memory();
    let engine = keeping(&bucket, 1, u64::MAX);
    let error = engine.undelete(&name()).await.expect_err("it never was");
    assert_eq!(error.code(), "namespace_not_found");
    library(&engine).await;
    engine.delete(&name()).await.expect("dropped");
    write(&engine, upsert([(9, 90)])).await;
    let error = engine
        .undelete(&name())
        .await
        .expect_err("the name is taken");
    assert_eq!(
        (error.code(), error.kind()),
        ("namespace_exists", ErrorKind::Conflict)
    );
    assert_eq!(rows(&engine).await, [(9, 90)]);
}

#[tokio::test]
async fn namespace_past_its_grace_leaves_its_birth_and_its_end_and_the_name_is_free() {
    let bucket = memory();
    let (engine, stale) = (keeping(&bucket, 1, 0), keeping(&bucket, 2, 0));
    let id = library(&engine).await;
    assert_eq!(rows(&stale).await.len(), 3);
    engine.delete(&name()).await.expect("dropped");
    let n_keys = keys_of(&bucket, id).await.len() as u64;
    let told = engine.reap(true).await.expect("a dry run");
    assert_eq!((told.namespaces, told.objects), (1, n_keys - 1));
    assert_eq!(keys_of(&bucket, id).await.len() as u64, n_keys);
    let reaped = reap(&engine).await;
    // With the slot that its end took.
    assert_eq!((reaped.namespaces, reaped.objects), (1, n_keys));
    let left = keys_of(&bucket, id).await;
    assert_eq!(left.len(), 2, "{left:?}");
    assert!(left[0].ends_with("/genesis") && left[1].contains("/manifest/"));
    let error = engine.undelete(&name()).await.expect_err("it is over");
    assert_eq!(
        (error.code(), error.kind()),
        ("namespace_reaped", ErrorKind::Gone)
    );
    // Once nothing is left to do, its mark goes too.
    assert_eq!(reap(&engine).await, Reaped::default());
    assert_eq!(
        bucket
            .list(path::DROPPED, None, None)
            .await
            .expect("a listing"),
        []
    );
    let error = stale.query(&name(), all()).await.expect_err("gone");
    assert_eq!(error.code(), "namespace_not_found");
    // A writer that slept all the while writes to a new incarnation.
    write(&stale, upsert([(5, 50)])).await;
    assert_eq!(rows(&engine).await, [(5, 50)]);
    assert_eq!(orphans(&bucket).await, Vec::<String>::new());
}

#[tokio::test]
async fn writer_that_sleeps_through_the_end_is_never_acknowledged_by_what_is_gone() {
    let bucket = memory();
    let engine = keeping(&bucket, 1, 0);
    for round in 0..3 {
        let stale = keeping(&bucket, 10 + round, 0);
        let id = library(&engine).await;
        assert_eq!(rows(&stale).await.len(), 3);
        engine.delete(&name()).await.expect("dropped");
        reap(&engine).await;
        let id_of_stale = super::tools::handle(&stale).await.id();
        assert_eq!(id_of_stale, id, "it has not noticed");
        write(&stale, upsert([(7, round as i64)])).await;
        assert_eq!(rows(&engine).await, [(7, round as i64)], "round {round}");
        engine.delete(&name()).await.expect("dropped");
        reap(&engine).await;
        reap(&engine).await;
    }
}

#[tokio::test]
async fn reader_whose_files_went_with_the_namespace_is_told_that_it_is_gone() {
    let bucket = memory();
    let (engine, reader) = (keeping(&bucket, 1, 0), keeping(&bucket, 2, 0));
    library(&engine).await;
    flush(&engine).await;
    assert_eq!(
        reader.list("", None, 10).await.expect("a page").names,
        [name()]
    );
    // It has the view and none of the files.
    super::tools::handle(&reader).await;
    engine.delete(&name()).await.expect("dropped");
    reap(&engine).await;
    let eventual = Query {
        consistency: Consistency::Eventual {
            max_staleness_seconds: 600,
        },
        ..all()
    };
    let error = reader.query(&name(), eventual).await.expect_err("gone");
    assert_eq!(error.code(), "namespace_not_found", "{error}");
}

#[tokio::test]
async fn purged_namespace_goes_at_once_whatever_the_grace() {
    let bucket = memory();
    let mut options = EngineOptions::default();
    options.gc.undelete_grace_ms = u64::MAX;
    let engine = engine_with(Arc::clone(&bucket), 1, options);
    let id = library(&engine).await;
    engine.purge(&name()).await.expect("dropped");
    engine.finish().await;
    assert_eq!(keys_of(&bucket, id).await.len(), 2);
}

#[tokio::test]
async fn log_of_a_namespace_that_ended_stays_over_http_until_no_node_trusts_its_proof() {
    let dated = Arc::new(Dated::new(memory(), StoreKind::Http, 1_700_000_000_000));
    let bucket = Arc::clone(&dated) as Arc<dyn Bucket>;
    let engine = keeping(&bucket, 1, 1_000);
    let id = library(&engine).await;
    engine.delete(&name()).await.expect("dropped");
    assert_eq!(reap(&engine).await.waiting, 1, "within the grace");
    dated.pass_ms(1_000);
    assert!(reap(&engine).await.objects > 0);
    assert_eq!(count_of(&*bucket, "/seg/").await, 0);
    let slots = count_of(&*bucket, "/wal/").await;
    assert!(slots > 0, "the log is gone too soon");
    dated.pass_ms(59 * 60 * 1_000);
    assert_eq!(reap(&engine).await.waiting, 1);
    assert_eq!(count_of(&*bucket, "/wal/").await, slots);
    dated.pass_ms(60 * 1_000);
    assert_eq!(reap(&engine).await.objects, slots as u64);
    assert_eq!(keys_of(&bucket, id).await.len(), 2);
    assert_eq!(reap(&engine).await, Reaped::default());
}

#[tokio::test]
async fn namespace_that_was_half_brought_back_ends_after_all() {
    let bucket = memory();
    let engine = keeping(&bucket, 1, 0);
    let id = library(&engine).await;
    engine.delete(&name()).await.expect("dropped");
    let half = engine.registry.open_incarnation(&name(), id).await;
    let half = half.expect("it opens");
    let undropped = half.commit_alone(Life::Dropped, |_| Entry::Undrop).await;
    undropped.expect("a commit");
    // Nothing names it: it ends again, and what is left of it goes.
    assert_eq!(reap(&engine).await.waiting, 1);
    assert_eq!(reap(&engine).await.namespaces, 1);
    assert_eq!(keys_of(&bucket, id).await.len(), 2);
}

#[tokio::test]
async fn namespace_that_is_pinned_stays_until_it_is_not() {
    let bucket = memory();
    let engine = keeping(&bucket, 1, 0);
    let id = library(&engine).await;
    let namespace = super::tools::handle(&engine).await;
    let pin = Entry::Pin {
        id: Id16(7),
        at: namespace.view().seq,
        owner: "a test".to_owned(),
    };
    let pinned = namespace.commit_alone(Life::Live, |_| pin.clone()).await;
    pinned.expect("a commit");
    engine.delete(&name()).await.expect("dropped");
    let n_keys = keys_of(&bucket, id).await.len();
    assert_eq!(reap(&engine).await.waiting, 1);
    assert_eq!(keys_of(&bucket, id).await.len(), n_keys);
    let ended = engine.registry.open_incarnation(&name(), id).await;
    let unpin = |_| Entry::Unpin { id: Id16(7) };
    let unpinned = ended
        .expect("it opens")
        .commit_alone(Life::Dropped, unpin)
        .await;
    unpinned.expect("a commit");
    assert_eq!(reap(&engine).await.namespaces, 1);
    assert_eq!(keys_of(&bucket, id).await.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn ends_and_returns_on_a_store_that_fails_come_out_whole() {
    let mut returned = 0;
    for seed in 0..40 {
        let inner = memory();
        let calm = keeping(&inner, 1, u64::MAX);
        let id = library(&calm).await;
        let expected = rows(&calm).await;
        let faulty = Faulty::new(Arc::clone(&inner), FaultRates::network(), seed);
        let faulty: Arc<dyn Bucket> = Arc::new(faulty);
        let engine = keeping(&faulty, 2, u64::MAX);
        let _ = engine.delete(&name()).await;
        for _ in 0..4 {
            let _ = engine.undelete(&name()).await;
        }
        // Whatever they said: it is there as it was, or it can be brought back so.
        match calm.query(&name(), all()).await {
            Ok(_) => returned += 1,
            Err(error) => {
                assert_eq!(error.code(), "namespace_not_found", "seed {seed}: {error}");
                calm.undelete(&name()).await.expect("it comes back");
            }
        }
        assert_eq!(rows(&calm).await, expected, "seed {seed}");
        orphans(&inner).await;
        calm.delete(&name()).await.expect("dropped");
        let reaper = keeping(&faulty, 3, 0);
        for _ in 0..6 {
            let _ = reaper.reap(false).await;
        }
        let last = keeping(&inner, 4, 0);
        for _ in 0..2 {
            reap(&last).await;
        }
        assert_eq!(keys_of(&inner, id).await.len(), 2, "seed {seed}");
        write(&last, upsert([(1, 1)])).await;
        assert_eq!(rows(&last).await, [(1, 1)]);
    }
    assert!(returned > 10, "{returned} of 40 came back at once");
}
