//! Merges of segments: answers stay, rows that are gone leave, whatever comes in between.

use std::collections::BTreeMap;

use super::tools::{by_year, copied, count_of, flush, from, handle, orphans, view, write};
use super::*;
use crate::lsm::pick::Policy;
use crate::lsm::{Entry, SegmentId};
use crate::namespace::compact::Compacted;
use crate::namespace::handle::View;
use crate::runtime::clock::sleep_ms;
use crate::store::fault::Point;
use crate::types::document::{AttributeSpec, SchemaSpec};
use crate::types::settings::{MergingChange, SettingsChange};
use crate::types::{AttributeType, ScalarType, limits};

mod faults;
mod garbage;
mod races;

/// Longer than any step of what goes on in the background takes.
const SETTLED_MS: u64 = 10_000;

/// Merges four segments of a size, and more than six of any.
const POLICY: Policy = Policy {
    fan_in: 4,
    max_segments: 6,
    target_bytes: 1 << 20,
    target_rows: 100_000,
    dead_percent: 20,
    dead_rows: 10,
};

/// An engine that does all work in the order of its tasks, and its clock.
fn engine_at(
    bucket: &Arc<dyn Bucket>,
    seed: u64,
    compaction: Compaction,
) -> (Engine, Arc<ManualClock>) {
    let mut world = world_on(Arc::clone(bucket), seed);
    let clock = Arc::new(ManualClock::new(Timestamp(1_700_000_000_000)));
    world.clock = Arc::clone(&clock) as Arc<dyn crate::types::Clock>;
    world.compute = Arc::new(ComputePool::inline());
    let options = EngineOptions {
        history_ms: 0,
        compaction,
        ..EngineOptions::default()
    };
    (Engine::new(world, options), clock)
}

/// An engine that merges when it is asked to.
fn asked_only(bucket: &Arc<dyn Bucket>, seed: u64) -> Engine {
    asked_by(bucket, seed, POLICY).0
}

fn asked_by(bucket: &Arc<dyn Bucket>, seed: u64, policy: Policy) -> (Engine, Arc<ManualClock>) {
    let compaction = Compaction {
        enabled: false,
        policy,
        ..Compaction::default()
    };
    engine_at(bucket, seed, compaction)
}

/// An engine that merges by itself.
fn by_itself(bucket: &Arc<dyn Bucket>, seed: u64) -> (Engine, Arc<ManualClock>) {
    let compaction = Compaction {
        enabled: true,
        policy: POLICY,
        ..Compaction::default()
    };
    engine_at(bucket, seed, compaction)
}

async fn compact(engine: &Engine) -> Compacted {
    let compacted = engine.compact(&name(), true).await;
    compacted.expect("a merge")
}

/// Four segments, the first three of which lost rows, and a tail that deletes, replaces and adds.
async fn library(engine: &Engine) {
    write(engine, upsert((0..60).map(|id| (id, 1_900 + id % 10)))).await;
    flush(engine).await;
    write(engine, upsert((40..100).map(|id| (id, 1_910 + id % 7)))).await;
    flush(engine).await;
    write(engine, delete(&[3, 4, 5, 41, 99])).await;
    write(engine, upsert((100..120).map(|id| (id, 1_950)))).await;
    flush(engine).await;
    write(engine, upsert([(5, 1_960), (110, 1_961)])).await;
    write(engine, upsert((120..140).map(|id| (id, 1_970)))).await;
    flush(engine).await;
    write(engine, upsert([(61, 1_999), (200, 1_905), (7, 1_907)])).await;
    write(engine, delete(&[125, 0, 119])).await;
}

/// What queries say, as text.
async fn answers(engine: &Engine) -> String {
    let mut text = String::new();
    for query in [from(1_915), from(1_950), by_year(true, 25), all()] {
        let reply = engine.query(&name(), query).await.expect("a reply");
        text += &format!("{:?}\n", reply.rows);
    }
    let told = engine.describe(&name()).await.expect("a description");
    text + &format!("{} rows", told.rows)
}

async fn segments(engine: &Engine) -> Vec<SegmentId> {
    let view = view(engine).await;
    view.state.segments.iter().map(|one| one.id).collect()
}

/// The files of the segments of a view.
fn files_of(view: &View) -> Vec<String> {
    let segments = view.state.segments.iter();
    let files = segments.flat_map(|one| [one.parquet.path.clone(), one.index.path.clone()]);
    files.collect()
}

/// Checks the store: nothing is damaged, and of these files alone some are orphans.
async fn only_orphans(bucket: &Arc<dyn Bucket>, known: &[String]) {
    let found = orphans(bucket).await;
    let strange: Vec<_> = found.iter().filter(|key| !known.contains(key)).collect();
    assert!(strange.is_empty(), "{strange:?}");
}

#[tokio::test(start_paused = true)]
async fn merge_changes_no_answer_on_any_engine() {
    let bucket = memory();
    let (engine, other) = (asked_only(&bucket, 1), asked_only(&bucket, 2));
    library(&engine).await;
    let expected = answers(&engine).await;
    assert_eq!(answers(&other).await, expected);
    let old = view(&other).await;
    let inputs = files_of(&old);
    let old_live = handle(&other).await.live_rows(&old).await.expect("rows");

    let compacted = compact(&engine).await;
    assert_eq!(compacted.reason, Some("deleted_rows"), "then the sizes");
    assert_eq!(
        (compacted.segments_before, compacted.segments_after),
        (4, 1)
    );
    let gone: u64 = old
        .state
        .segments
        .iter()
        .map(|one| one.deletions.rows)
        .sum();
    assert_eq!((compacted.removed_rows, gone), (26, 26));

    for engine in [&engine, &other, &asked_only(&bucket, 3)] {
        assert_eq!(answers(engine).await, expected);
        assert_eq!(segments(engine).await.len(), 1);
    }
    // Whoever still reads an older view finds its files, and the same rows.
    let handle = handle(&other).await;
    assert_eq!(handle.live_rows(&old).await.expect("rows"), old_live);
    let fresh = handle.live_rows_without(&old, &Default::default()).await;
    assert_eq!(fresh.expect("rows"), old_live);
    only_orphans(&bucket, &inputs).await;
    assert_eq!(compact(&engine).await.reason, None, "nothing is left to do");

    // What the tail killed dies in the output with the next flush.
    flush(&other).await;
    for engine in [&engine, &other, &asked_only(&bucket, 4)] {
        assert_eq!(answers(engine).await, expected);
    }
    let state = Arc::clone(&view(&engine).await.state);
    assert_eq!(state.segments[0].deletions.rows, 5, "125, 0, 119 and 61, 7");
    orphans(&bucket).await;
}

#[tokio::test(start_paused = true)]
async fn namespace_that_wants_no_merges_has_none_until_that_is_left_to_its_servers() {
    let bucket = memory();
    let (engine, _) = by_itself(&bucket, 1);
    let merging = |enabled: Option<bool>, max_segments: Option<u32>| SettingsChange {
        merging: MergingChange {
            enabled: Some(enabled),
            max_segments: Some(max_segments),
            ..MergingChange::default()
        },
        ..SettingsChange::default()
    };
    write(&engine, upsert([(0, 0)])).await;
    let change = merging(Some(false), None);
    engine.configure(&name(), change).await.expect("a change");
    for id in 1..20 {
        write(&engine, upsert([(id, id)])).await;
        flush(&engine).await;
        sleep_ms(SETTLED_MS).await;
    }
    assert_eq!(segments(&engine).await.len(), 19);
    let stats = engine.stats(&name()).await.expect("an answer");
    assert_eq!((stats.compaction.enabled, stats.segments.rows), (false, 20));
    let change = merging(None, Some(2));
    engine.configure(&name(), change).await.expect("a change");
    write(&engine, upsert([(20, 20)])).await;
    flush(&engine).await;
    sleep_ms(SETTLED_MS).await;
    let left = segments(&engine).await.len();
    assert!(left <= 2, "{left} segments");
    assert_eq!(rows(&engine).await.len(), 21);
    // A server that is not to merge does not, whatever the namespace wants.
    let stats = asked_only(&bucket, 2).stats(&name()).await;
    assert!(!stats.expect("an answer").compaction.enabled);
}

#[tokio::test(start_paused = true)]
async fn merges_come_by_themselves_and_keep_segments_few() {
    let bucket = memory();
    let (engine, _) = by_itself(&bucket, 1);
    let mut expected = BTreeMap::new();
    for round in 0..60_i64 {
        let wrote: Vec<(i64, i64)> = (0..5).map(|n| ((round * 7 + n * 13) % 90, round)).collect();
        expected.extend(wrote.iter().map(|(id, year)| (*id as u64, *year)));
        write(&engine, upsert(wrote)).await;
        if round % 3 == 0 {
            write(&engine, delete(&[round % 90])).await;
            expected.remove(&((round % 90) as u64));
        }
        flush(&engine).await;
        let found = rows(&engine).await;
        let wanted: Vec<(u64, i64)> = expected.iter().map(|(id, year)| (*id, *year)).collect();
        assert_eq!(found, wanted, "round {round}");
        sleep_ms(SETTLED_MS).await;
        let n_segments = segments(&engine).await.len();
        assert!(n_segments <= 6, "{n_segments} segments after round {round}");
    }
    let metrics = &engine.shared.metrics.compaction;
    assert_eq!(metrics.failures_total.get(), 0);
    let merges = metrics.merges_total.get();
    assert!((10..=60).contains(&merges), "{merges} merges");
    assert_eq!(metrics.debt_bytes.get(), 0, "all of it is done");
    assert!(metrics.read_bytes_total.get() > 0 && metrics.written_bytes_total.get() > 0);
    let expected: Vec<(u64, i64)> = expected.into_iter().collect();
    assert_eq!(rows(&asked_only(&bucket, 2)).await, expected);
    orphans(&bucket).await;
}

#[tokio::test(start_paused = true)]
async fn merge_that_a_dead_engine_left_is_made_by_the_next_that_opens_the_namespace() {
    let bucket = memory();
    let first = asked_only(&bucket, 1);
    library(&first).await;
    drop(first);
    let (next, _) = by_itself(&bucket, 2);
    let expected = answers(&next).await;
    sleep_ms(SETTLED_MS).await;
    assert_eq!(segments(&next).await.len(), 1);
    assert_eq!(answers(&next).await, expected);
}

#[tokio::test(start_paused = true)]
async fn engine_that_only_reads_merges_what_a_dead_one_left() {
    let bucket = memory();
    let writer = asked_only(&bucket, 1);
    write(&writer, upsert([(0, 0)])).await;
    let (reader, clock) = by_itself(&bucket, 2);
    rows(&reader).await;
    library(&writer).await;
    drop(writer);
    sleep_ms(SETTLED_MS).await;
    assert_eq!(reader.shared.metrics.compaction.merges_total.get(), 0);
    let expected = answers(&reader).await;
    assert!(segments(&reader).await.len() >= 4, "not at once");
    for _ in 0..2 {
        clock.advance_ms(limits::CLAIM_PATIENCE_MS);
        sleep_ms(SETTLED_MS).await;
    }
    assert_eq!(segments(&reader).await.len(), 1);
    assert_eq!(answers(&reader).await, expected);
    assert_eq!(answers(&asked_only(&bucket, 3)).await, expected);
}

#[tokio::test(start_paused = true)]
async fn segments_without_a_live_row_just_leave() {
    let bucket = memory();
    let engine = asked_only(&bucket, 1);
    write(&engine, upsert((0..5).map(|id| (id, id)))).await;
    flush(&engine).await;
    write(&engine, upsert((10..15).map(|id| (id, id)))).await;
    flush(&engine).await;
    write(&engine, upsert([(20, 20)])).await;
    write(&engine, delete(&[0, 1, 2, 3, 4, 10, 11, 12, 13, 14])).await;
    flush(&engine).await;
    let files = count_of(&*bucket, "/seg/").await;
    let compacted = compact(&engine).await;
    assert_eq!(compacted.reason, Some("deleted_rows"));
    assert_eq!((compacted.removed_rows, compacted.segments_after), (10, 1));
    assert_eq!(
        count_of(&*bucket, "/seg/").await,
        files,
        "nothing was written"
    );
    // The last one too, and the namespace is empty.
    write(&engine, delete(&[20])).await;
    flush(&engine).await;
    compact(&engine).await;
    assert_eq!(segments(&engine).await, []);
    for engine in [&engine, &asked_only(&bucket, 2)] {
        assert_eq!(rows(engine).await, []);
    }
    write(&engine, upsert([(1, 1)])).await;
    flush(&engine).await;
    assert_eq!(rows(&asked_only(&bucket, 3)).await, [(1, 1)]);
    orphans(&bucket).await;
}

#[tokio::test(start_paused = true)]
async fn segment_is_written_anew_alone_once_a_fifth_of_it_is_gone() {
    let bucket = memory();
    let engine = asked_only(&bucket, 1);
    write(&engine, upsert((0..100).map(|id| (id, id)))).await;
    flush(&engine).await;
    write(&engine, delete(&(0..19).collect::<Vec<_>>())).await;
    flush(&engine).await;
    assert_eq!(compact(&engine).await.reason, None);
    write(&engine, delete(&[50])).await;
    flush(&engine).await;
    let compacted = compact(&engine).await;
    assert_eq!(
        (compacted.reason, compacted.removed_rows),
        (Some("deleted_rows"), 20)
    );
    let state = Arc::clone(&view(&engine).await.state);
    assert_eq!(
        (state.segments[0].rows, state.segments[0].deletions.rows),
        (80, 0)
    );
    assert_eq!(rows(&asked_only(&bucket, 2)).await.len(), 80);
}

#[tokio::test(start_paused = true)]
async fn all_that_is_asked_for_leaves_one_segment_and_no_dead_row() {
    let bucket = memory();
    let engine = asked_only(&bucket, 1);
    for n in 0..3 {
        write(&engine, upsert((0..10).map(|id| (n * 10 + id, n)))).await;
        flush(&engine).await;
    }
    write(&engine, delete(&[5, 15])).await;
    assert_eq!(compact(&engine).await.reason, None, "nothing is due");
    let compacted = engine.compact(&name(), false).await.expect("a merge");
    assert_eq!(compacted.reason, Some("asked"));
    assert_eq!((compacted.removed_rows, compacted.segments_after), (2, 1));
    assert_eq!(rows(&engine).await.len(), 28);
    let again = engine.compact(&name(), false).await.expect("an answer");
    assert_eq!((again.reason, again.segments_before), (None, 1));
    let missing = NamespaceName::parse("missing").expect("a legal name");
    let refused = engine.compact(&missing, false).await.expect_err("none");
    assert_eq!(refused.kind(), ErrorKind::NotFound);
}

#[tokio::test(start_paused = true)]
async fn merge_into_several_segments_cuts_them_by_id() {
    let bucket = memory();
    let policy = Policy {
        fan_in: 8,
        target_rows: 40,
        ..POLICY
    };
    let (engine, _) = asked_by(&bucket, 1, policy);
    library(&engine).await;
    let expected = answers(&engine).await;
    let compacted = engine.compact(&name(), false).await.expect("a merge");
    assert!(compacted.segments_after >= 3, "{compacted:?}");
    for engine in [&engine, &asked_only(&bucket, 2)] {
        assert_eq!(answers(engine).await, expected);
    }
    let state = Arc::clone(&view(&engine).await.state);
    let stats = state.segments.iter().map(|one| &one.stats);
    let mut bounds: Vec<(DocId, DocId)> = stats
        .map(|stats| {
            (
                stats.id_min.to_id().expect("an id"),
                stats.id_max.to_id().expect("an id"),
            )
        })
        .collect();
    bounds.sort();
    assert!(
        bounds.windows(2).all(|pair| pair[0].1 < pair[1].0),
        "{bounds:?}"
    );
    assert!(
        state
            .segments
            .iter()
            .all(|one| one.deletions.rows == 0 && one.rows <= 80)
    );
    orphans(&bucket).await;
}

/// Says whether filters may name `year`, or drops it.
fn years(filterable: Option<bool>) -> SchemaSpec {
    let Some(filterable) = filterable else {
        return SchemaSpec {
            drops: ["year".to_owned()].into(),
            ..SchemaSpec::default()
        };
    };
    let spec = AttributeSpec {
        filterable: Some(filterable),
        ..AttributeSpec::plain(AttributeType::Scalar(ScalarType::Int))
    };
    SchemaSpec {
        attributes: BTreeMap::from([("year".to_owned(), spec)]),
        ..SchemaSpec::default()
    }
}

#[tokio::test(start_paused = true)]
async fn merge_has_the_indexes_that_are_wanted_now_and_no_attribute_that_was_dropped() {
    for dropped in [false, true] {
        let bucket = memory();
        let engine = asked_only(&bucket, 1);
        let mut first = upsert((0..10).map(|id| (id, id)));
        first.schema = Some(years(Some(false)));
        write(&engine, first).await;
        flush(&engine).await;
        for n in 1..4 {
            write(&engine, upsert((0..10).map(|id| (n * 10 + id, id)))).await;
            flush(&engine).await;
        }
        let old = view(&engine).await;
        let year = old.schema.get("year").expect("it is there").id;
        assert!(old.state.segments.iter().all(|one| one.unindexed == [year]));
        // While indexes are not built one by one.
        let turn = engine.shared.index_builds.acquire().await;
        let change = years((!dropped).then_some(true));
        engine
            .update_schema(&name(), change)
            .await
            .expect("a commit");
        compact(&engine).await;
        let merged = view(&engine).await;
        assert_eq!(merged.state.segments.len(), 1);
        assert_eq!(merged.state.segments[0].unindexed, []);
        assert!(!merged.lacks_index());
        let footer = merged.segments[0].footer().await.expect("a footer");
        let has_column = footer.columns().iter().any(|column| column.attr == year);
        assert_eq!(has_column, !dropped);
        if !dropped {
            let found = engine.query(&name(), from(7)).await.expect("a reply");
            assert_eq!(found.rows.len(), 12);
        }
        drop(turn);
        orphans(&bucket).await;
    }
}
