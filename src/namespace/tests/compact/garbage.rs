//! Collecting garbage: what nothing refers to goes, and nothing else.

use super::*;
use crate::format::path;
use crate::lsm::entry::ClaimKind;
use crate::lsm::entry::Id16;
use crate::namespace::claims::Claimed;
use crate::namespace::{Collected, GarbageCollection};
use crate::store::fault::FaultRates;
use crate::types::WalSeq;

async fn collect(engine: &Engine) -> Collected {
    let collected = engine.collect(&name(), false).await;
    collected.expect("a pass")
}

/// An engine that merges and collects when it is asked to; states of the past can be had for so long.
fn keeping(
    bucket: &Arc<dyn Bucket>,
    seed: u64,
    history_ms: u64,
    claim_grace_ms: u64,
) -> (Engine, Arc<ManualClock>) {
    let mut world = world_on(Arc::clone(bucket), seed);
    // Long before any object is written, by the store's dates.
    let clock = Arc::new(ManualClock::new(Timestamp(0)));
    world.clock = Arc::clone(&clock) as Arc<dyn crate::types::Clock>;
    world.compute = Arc::new(ComputePool::inline());
    let options = EngineOptions {
        history_ms,
        compaction: Compaction {
            enabled: false,
            policy: POLICY,
            ..Compaction::default()
        },
        gc: GarbageCollection {
            enabled: false,
            claim_grace_ms,
            ..GarbageCollection::default()
        },
        ..EngineOptions::default()
    };
    (Engine::new(world, options), clock)
}

/// Checks that the files there are those that the newest state refers to.
async fn only_needed(bucket: &Arc<dyn Bucket>, engine: &Engine) {
    assert_eq!(orphans(bucket).await, Vec::<String>::new());
    let view = view(engine).await;
    let needed = view.state.objects().count();
    let there = count_of(&**bucket, "/seg/").await + count_of(&**bucket, "/dv/").await;
    assert_eq!(there, needed);
}

#[tokio::test]
async fn files_that_were_merged_go_in_one_pass_and_no_answer_changes() {
    let bucket = memory();
    let (writer, _) = keeping(&bucket, 1, 0, 0);
    library(&writer).await;
    let (reader, _) = keeping(&bucket, 2, 0, 0);
    let expected = answers(&writer).await;
    assert_eq!(answers(&reader).await, expected);
    let before = files_of(&*view(&reader).await);
    writer.compact(&name(), false).await.expect("a merge");
    let n_files = count_of(&*bucket, "/seg/").await;
    let told = writer.collect(&name(), true).await.expect("a dry run");
    assert!(
        before.iter().all(|file| told.keys.contains(file)),
        "{told:?}"
    );
    assert_eq!(count_of(&*bucket, "/seg/").await, n_files, "nothing went");
    let collected = collect(&writer).await;
    assert_eq!(collected, told);
    assert!(collected.bytes > 0);
    only_needed(&bucket, &writer).await;
    // The reader's view is of files that are gone.
    assert_eq!(answers(&reader).await, expected);
    assert_eq!(answers(&keeping(&bucket, 3, 0, 0).0).await, expected);
    let again = collect(&writer).await;
    assert_eq!(again, Collected::default());
}

#[tokio::test]
async fn files_of_states_of_the_past_stay_for_as_long_as_these_can_be_had() {
    let bucket = memory();
    let (writer, clock) = keeping(&bucket, 1, 1_000, 0);
    library(&writer).await;
    flush(&writer).await;
    let seq = view(&writer).await.seq;
    let expected = answers(&writer).await;
    let n_files = count_of(&*bucket, "/seg/").await;
    compact(&writer).await;
    let collected = collect(&writer).await;
    assert_eq!((collected.objects, collected.kept > 0), (0, true));
    assert!(count_of(&*bucket, "/seg/").await > n_files);
    let asked = |seed: u64| {
        let reader = keeping(&bucket, seed, 1_000, 0).0;
        let mut asked: crate::query::request::Questions = from(1_915).into();
        asked.as_of = Some(crate::query::request::AsOf {
            seq,
            namespace: None,
        });
        async move { reader.ask(&name(), &asked).await }
    };
    asked(2).await.expect("a state of the past");
    // Long after: the manifest that names them is old, and no other would come by itself.
    clock.advance_ms(1 << 50);
    let told = writer.collect(&name(), true).await.expect("a dry run");
    let collected = collect(&writer).await;
    assert!(collected.objects > 0, "{collected:?}");
    assert_eq!(told.objects, collected.objects);
    only_needed(&bucket, &writer).await;
    assert_eq!(answers(&writer).await, expected);
    let error = asked(3).await.expect_err("it is over");
    assert_eq!(error.code(), "state_not_retained");
}

#[tokio::test]
async fn files_of_a_claim_stay_while_it_stands_and_go_once_it_is_given_up() {
    let bucket = memory();
    let (writer, _) = keeping(&bucket, 1, 0, u64::MAX);
    library(&writer).await;
    let namespace = handle(&writer).await;
    let claimed = namespace.claim(ClaimKind::Flush, |_| false).await;
    let Ok(Claimed::Ours(claim, view)) = claimed else {
        panic!("no claim");
    };
    let keys = [
        path::segment_parquet(namespace.id(), claim, 0),
        path::segment_parquet(namespace.id(), WalSeq(view.seq.0 + 50), 0),
        format!("{}strange", path::segment_prefix(namespace.id())),
    ];
    for key in &keys {
        bucket.put(key, "documents".into()).await.expect("a put");
    }
    let there = async |key: &str| {
        bucket
            .get(key)
            .await
            .expect("it answers")
            .into_bytes()
            .is_some()
    };
    for _ in 0..2 {
        let collected = collect(&writer).await;
        assert_eq!((collected.objects, collected.kept), (0, 1));
        assert!(there(&keys[0]).await);
    }
    let (other, _) = keeping(&bucket, 2, 0, 0);
    assert_eq!(
        collect(&other).await.objects,
        0,
        "the pass that gives it up"
    );
    let collected = collect(&other).await;
    assert_eq!(collected.keys, [keys[0].clone()]);
    // Of a claim to come, or nobody's.
    assert!(there(&keys[1]).await && there(&keys[2]).await);
    let entry = Entry::Flush {
        claim,
        base: view.state.flushed_seq,
        up_to: view.seq,
        segments: Vec::new(),
        deletions: Vec::new(),
    };
    let late = namespace.commit_claimed(claim, entry).await;
    assert!(late.expect("it answers").is_err(), "it was taken back");
}

#[tokio::test]
async fn pass_that_deletes_has_a_manifest_of_the_newest_state_written_first() {
    let bucket = memory();
    let (writer, _) = keeping(&bucket, 1, 0, 0);
    library(&writer).await;
    let namespace = handle(&writer).await;
    let claimed = namespace.claim(ClaimKind::Flush, |_| false).await;
    let Ok(Claimed::Ours(claim, _)) = claimed else {
        panic!("no claim");
    };
    let key = path::segment_parquet(namespace.id(), claim, 0);
    bucket.put(&key, "documents".into()).await.expect("a put");
    namespace.abort(ClaimKind::Flush, claim).await;
    let newest = async || namespace.manifests().await.expect("a listing")[0].0;
    let seq = view(&writer).await.seq;
    // No manifest names the object: none would have to be written for its sake.
    assert!(newest().await < seq);
    assert_eq!(collect(&writer).await.keys, [key]);
    // A node that slept may write one of a state before, and names what is gone.
    assert!(newest().await >= seq);
}

#[tokio::test]
async fn state_that_is_pinned_keeps_its_files_and_its_manifest_until_it_is_not() {
    let bucket = memory();
    let (writer, _) = keeping(&bucket, 1, 0, 0);
    library(&writer).await;
    flush(&writer).await;
    let namespace = handle(&writer).await;
    let pinned = Arc::clone(&namespace.view().state);
    namespace.put_manifest(&pinned).await;
    let append = async |entry: Entry| {
        let mut slot = namespace.log.lock().await;
        namespace
            .append_plain(&mut slot, entry)
            .await
            .expect("a commit");
    };
    let (id, owner) = (Id16(7), "a test".to_owned());
    append(Entry::Pin {
        id,
        at: pinned.seq,
        owner,
    })
    .await;
    writer.compact(&name(), false).await.expect("a merge");
    for _ in 0..3 {
        write(&writer, upsert([(900, 1)])).await;
        flush(&writer).await;
        collect(&writer).await;
    }
    for object in pinned.objects() {
        let found = bucket.get(&object.path).await.expect("it answers");
        assert!(found.into_bytes().is_some(), "{}", object.path);
    }
    let manifest = path::manifest(namespace.id(), pinned.seq);
    let found = bucket.get(&manifest).await.expect("it answers");
    assert!(found.into_bytes().is_some());
    append(Entry::Unpin { id }).await;
    assert!(collect(&writer).await.objects > 0);
    only_needed(&bucket, &writer).await;
}

#[tokio::test]
async fn manifest_that_cannot_be_read_keeps_everything_until_it_is_given_up() {
    let bucket = memory();
    let (writer, clock) = keeping(&bucket, 1, 1_000, 0);
    library(&writer).await;
    let expected = answers(&writer).await;
    let listed = handle(&writer).await.manifests().await.expect("a listing");
    let key = path::manifest(handle(&writer).await.id(), listed[1].0);
    compact(&writer).await;
    let n_files = count_of(&*bucket, "/seg/").await;
    bucket.put(&key, "nonsense".into()).await.expect("a put");
    let error = writer.collect(&name(), false).await.expect_err("damage");
    assert_eq!(error.kind(), ErrorKind::Corrupted);
    assert!(error.message().contains(&key), "{error}");
    assert_eq!(count_of(&*bucket, "/seg/").await, n_files);
    clock.advance_ms(1 << 50);
    assert!(collect(&writer).await.objects > 0);
    only_needed(&bucket, &writer).await;
    assert_eq!(answers(&writer).await, expected);
}

#[tokio::test]
async fn pass_by_itself_follows_a_merge_after_the_interval() {
    let bucket = memory();
    let mut world = world_on(Arc::clone(&bucket), 1);
    world.clock = Arc::new(ManualClock::new(Timestamp(0)));
    let options = EngineOptions {
        history_ms: 0,
        gc: GarbageCollection {
            interval_ms: 0,
            ..GarbageCollection::default()
        },
        compaction: Compaction {
            enabled: false,
            policy: POLICY,
            ..Compaction::default()
        },
        ..EngineOptions::default()
    };
    let engine = Engine::new(world, options);
    library(&engine).await;
    compact(&engine).await;
    engine.finish().await;
    only_needed(&bucket, &asked_only(&bucket, 2)).await;
}

#[tokio::test(start_paused = true)]
async fn passes_on_a_store_that_fails_delete_nothing_that_is_needed() {
    let bucket = memory();
    let (first, _) = keeping(&bucket, 1, 0, 0);
    library(&first).await;
    let expected = answers(&first).await;
    first.compact(&name(), false).await.expect("a merge");
    drop(first);
    for seed in 0..40 {
        let inner = copied(&bucket).await;
        let faulty = Faulty::new(Arc::clone(&inner), FaultRates::network(), seed);
        let (engine, _) = keeping(&(Arc::new(faulty) as Arc<dyn Bucket>), 2, 0, 0);
        for _ in 0..6 {
            // It may fail: what counts is what it leaves.
            let _ = engine.collect(&name(), false).await;
            orphans(&inner).await;
        }
        let (calm, _) = keeping(&inner, 3, 0, 0);
        assert_eq!(answers(&calm).await, expected, "seed {seed}");
        for _ in 0..2 {
            collect(&calm).await;
        }
        only_needed(&inner, &calm).await;
    }
}

#[tokio::test]
async fn any_order_of_work_on_two_engines_keeps_what_is_needed_and_leaves_nothing_else() {
    for seed in 1..8_u64 {
        let bucket = memory();
        let engines = [keeping(&bucket, 1, 0, 0).0, keeping(&bucket, 2, 0, 0).0];
        let mut model: BTreeMap<u64, i64> = BTreeMap::new();
        let mut random = seed;
        model.insert(0, -1);
        write(&engines[0], upsert([(0, -1)])).await;
        for step in 0..90 {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let (engine, pick) = (&engines[(random >> 40) as usize % 2], (random >> 50) % 8);
            let id = (random >> 33) as i64 % 30;
            match pick {
                0..4 => {
                    model.insert(id as u64, step);
                    write(engine, upsert([(id, step)])).await;
                }
                4 => {
                    model.remove(&(id as u64));
                    write(engine, delete(&[id])).await;
                }
                5 => flush(engine).await,
                6 => {
                    compact(engine).await;
                }
                _ => {
                    collect(engine).await;
                }
            }
            let found = rows(&engines[(random >> 41) as usize % 2]).await;
            let expected: Vec<_> = model.iter().map(|(id, year)| (*id, *year)).collect();
            assert_eq!(found, expected, "seed {seed}, step {step}");
        }
        orphans(&bucket).await;
        collect(&engines[0]).await;
        collect(&engines[1]).await;
        only_needed(&bucket, &engines[0]).await;
    }
}
