//! Attributes that become filterable once segments are there: answers stay, indexes come by themselves.

use std::collections::BTreeMap;

use super::tools::{by_year, copied, count_of, flush, from, orphans, view, write};
use super::*;
use crate::index::Indexed;
use crate::query::request::{Aggregate, Ask, Fold, GroupBy, Paging, Questions};
use crate::runtime::clock::sleep_ms;
use crate::store::fault::Point;
use crate::types::document::{AttributeSpec, DeleteByFilter, SchemaSpec};
use crate::types::{AttributeType, ScalarType, limits};

/// Longer than any step of what goes on in the background takes.
pub(super) const SETTLED_MS: u64 = 10_000;

/// An engine that does all work in the order of its tasks, and its clock.
pub(super) fn engine_at(bucket: &Arc<dyn Bucket>, seed: u64) -> (Engine, Arc<ManualClock>) {
    let mut world = world_on(Arc::clone(bucket), seed);
    let clock = Arc::new(ManualClock::new(Timestamp(1_700_000_000_000)));
    world.clock = Arc::clone(&clock) as Arc<dyn crate::types::Clock>;
    world.compute = Arc::new(ComputePool::inline());
    (Engine::new(world, EngineOptions::default()), clock)
}

/// Says whether filters may name `year`.
fn years(filterable: bool) -> SchemaSpec {
    let spec = AttributeSpec {
        filterable: Some(filterable),
        ..AttributeSpec::plain(AttributeType::Scalar(ScalarType::Int))
    };
    SchemaSpec {
        attributes: BTreeMap::from([("year".to_owned(), spec)]),
        ..SchemaSpec::default()
    }
}

async fn make_filterable(engine: &Engine) {
    let changed = engine.update_schema(&name(), years(true)).await;
    changed.expect("a commit");
}

/// Three segments without an index of `year`, one of which lost rows, and a tail that changes rows of another.
async fn library(engine: &Engine) {
    let mut first = upsert((0..60).map(|id| (id, 1_900 + id % 10)));
    first.schema = Some(years(false));
    write(engine, first).await;
    flush(engine).await;
    write(engine, upsert((60..120).map(|id| (id, 1_900 + id % 7)))).await;
    write(engine, delete(&[3, 4, 5])).await;
    flush(engine).await;
    write(engine, upsert((120..140).map(|id| (id, 1_950)))).await;
    flush(engine).await;
    write(engine, upsert([(61, 1_999), (200, 1_905)])).await;
    write(engine, delete(&[125])).await;
}

fn counts() -> Questions {
    let asked = Aggregate {
        folds: vec![("n".to_owned(), Fold::Count)],
        groups: vec![GroupBy {
            label: "year".to_owned(),
            attribute: "year".to_owned(),
            each: false,
        }],
        limit: 100,
        paging: Paging::Off,
        filter: None,
    };
    Questions {
        asks: vec![Ask::Totals(asked)],
        ..Questions::from(all())
    }
}

/// What queries that need the index say, as text.
async fn answers(engine: &Engine) -> String {
    let mut text = String::new();
    for query in [from(1_905), from(1_950), by_year(true, 25), all()] {
        let reply = engine.query(&name(), query).await.expect("a reply");
        text += &format!("{:?}\n", reply.rows);
    }
    let counted = engine.ask(&name(), &counts()).await.expect("a reply");
    text + &format!("{:?}", counted.found)
}

/// How many segments lack an index, by what their index files say.
async fn lacking(engine: &Engine) -> usize {
    let view = view(engine).await;
    let year = view.schema.get("year").expect("it is there");
    let mut lacking = 0;
    for reader in view.segments.iter() {
        let footer = reader.footer().await.expect("a footer");
        lacking += usize::from(matches!(footer.indexed(year.id), Indexed::Not));
    }
    assert_eq!(year.filterable && lacking > 0, view.lacks_index());
    lacking
}

#[tokio::test(start_paused = true)]
async fn attribute_made_filterable_is_indexed_by_itself_and_answers_stay() {
    let bucket = memory();
    let (engine, _) = engine_at(&bucket, 1);
    library(&engine).await;
    let refused = engine.query(&name(), from(1_950)).await;
    assert_eq!(
        refused.expect_err("no filter").kind(),
        ErrorKind::InvalidRequest
    );
    let (other, _) = engine_at(&bucket, 2);
    assert_eq!(lacking(&other).await, 3);
    // While another namespace has the turn, documents are read.
    let turns = (
        engine.shared.index_builds.acquire().await,
        other.shared.index_builds.acquire().await,
    );
    make_filterable(&engine).await;
    let before = answers(&engine).await;
    sleep_ms(SETTLED_MS).await;
    assert_eq!(lacking(&engine).await, 3);
    assert_eq!(answers(&other).await, before);
    drop(turns);
    sleep_ms(SETTLED_MS).await;
    assert_eq!(lacking(&engine).await, 0);
    for engine in [&engine, &other, &engine_at(&bucket, 3).0] {
        assert_eq!(answers(engine).await, before);
        assert_eq!(lacking(engine).await, 0);
    }
    let stats = &view(&engine).await.state.segments[2].stats;
    assert_eq!(stats.attributes.len(), 1, "it may be passed over");
    // Both engines were free at the same moment: a claim keeps one from the other's work.
    let files = count_of(&*bucket, ".idx").await;
    assert_eq!(files, 3 + 3);
    orphans(&bucket).await;
    let asked = Arc::new(Counting::new(Arc::clone(&bucket)));
    let (idle, _) = engine_at(&(Arc::clone(&asked) as Arc<dyn Bucket>), 4);
    answers(&idle).await;
    assert_eq!(asked.snapshot().create, 0, "nothing is left to do");
}

#[tokio::test(start_paused = true)]
async fn index_that_a_dead_engine_left_is_built_by_the_next_that_is_asked() {
    let bucket = memory();
    let (first, _) = engine_at(&bucket, 1);
    library(&first).await;
    flush(&first).await;
    drop(first);
    for lost in ["the commit", "the upload"] {
        let bucket = copied(&bucket).await;
        let before = count_of(&*bucket, ".idx").await;
        // Creates of the schema, the claim, the index file, the commit.
        let from = if lost == "the commit" { 4 } else { 3 };
        let script = (from..90).map(|nth| (nth, CreateFault::Refuse));
        let faulty = Faulty::scripted(Arc::clone(&bucket), script);
        let (dead, _) = engine_at(&(Arc::new(faulty) as Arc<dyn Bucket>), 2);
        make_filterable(&dead).await;
        sleep_ms(SETTLED_MS).await;
        let uploads = usize::from(lost == "the commit");
        assert_eq!(count_of(&*bucket, ".idx").await, before + uploads, "{lost}");
        let expected = answers(&dead).await;
        drop(dead);
        let (next, clock) = engine_at(&bucket, 3);
        assert_eq!(answers(&next).await, expected);
        sleep_ms(SETTLED_MS).await;
        assert_eq!(lacking(&next).await, 4, "{lost}: the claim is respected");
        assert_eq!(
            orphans(&bucket).await.len(),
            0,
            "{lost}: it may be committed yet"
        );
        for _ in 0..3 {
            clock.advance_ms(limits::CLAIM_PATIENCE_MS);
            sleep_ms(SETTLED_MS).await;
        }
        assert_eq!(lacking(&next).await, 0, "{lost}");
        assert_eq!(answers(&next).await, expected, "{lost}");
        assert_eq!(answers(&engine_at(&bucket, 4).0).await, expected, "{lost}");
        // Manifests may refer to the first files still; nothing ever did to the one that was not committed.
        let found = orphans(&bucket).await;
        assert_eq!(found.len(), uploads, "{lost}: {found:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn build_with_a_fault_at_each_create_ends_and_changes_no_answer() {
    use CreateFault::{Duplicate, FalseExists, Late, Lose, LoseAnswer, Refuse};
    let bucket = memory();
    let (first, _) = engine_at(&bucket, 1);
    library(&first).await;
    let held = first.shared.index_builds.acquire().await;
    make_filterable(&first).await;
    let expected = answers(&first).await;
    drop(held);
    drop(first);
    // Creates: claim, index, commit of the first two segments.
    for nth in 1..=6 {
        for fault in [Refuse, Lose, LoseAnswer, Late, Duplicate, FalseExists] {
            let context = format!("create {nth} {fault:?}");
            let inner = copied(&bucket).await;
            let faulty = Arc::new(Faulty::scripted(Arc::clone(&inner), [(nth, fault)]));
            let (engine, clock) = engine_at(&(faulty.clone() as Arc<dyn Bucket>), 2);
            assert_eq!(answers(&engine).await, expected, "{context}");
            for _ in 0..3 {
                sleep_ms(SETTLED_MS).await;
                clock.advance_ms(10_000);
            }
            faulty.deliver_late().await;
            sleep_ms(SETTLED_MS).await;
            assert_eq!(lacking(&engine).await, 0, "{context}");
            assert_eq!(answers(&engine).await, expected, "{context}");
            assert_eq!(
                answers(&engine_at(&inner, 3).0).await,
                expected,
                "{context}"
            );
            orphans(&inner).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn flush_while_an_index_is_built_applies_as_the_build_does() {
    let bucket = memory();
    let faulty = Arc::new(Faulty::new(Arc::clone(&bucket), FaultRates::default(), 0));
    let (engine, _) = engine_at(&(faulty.clone() as Arc<dyn Bucket>), 1);
    library(&engine).await;
    let pause = faulty.pause(Point::BeforeCreate, ".idx");
    make_filterable(&engine).await;
    pause.reached().await;
    // Rows of the segment that is being built go, and a new segment comes.
    write(&engine, delete(&[0, 1, 2])).await;
    write(&engine, upsert([(10, 2_001), (300, 2_002)])).await;
    flush(&engine).await;
    let expected = answers(&engine).await;
    pause.release();
    sleep_ms(SETTLED_MS).await;
    assert_eq!(lacking(&engine).await, 0);
    assert_eq!(answers(&engine).await, expected);
    let state = Arc::clone(&view(&engine).await.state);
    assert_eq!(state.segments.len(), 4);
    assert_eq!(state.segments[0].deletions.generation, 2);
    assert!(state.claims.is_empty(), "{:?}", state.claims);
    assert_eq!(answers(&engine_at(&bucket, 2).0).await, expected);
    assert_eq!(orphans(&bucket).await, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn builds_of_two_engines_for_one_segment_come_to_one() {
    let bucket = memory();
    let faulty = Arc::new(Faulty::new(Arc::clone(&bucket), FaultRates::default(), 0));
    let (slow, slow_clock) = engine_at(&(faulty.clone() as Arc<dyn Bucket>), 1);
    library(&slow).await;
    let pause = faulty.pause(Point::AfterCreate, ".idx");
    make_filterable(&slow).await;
    pause.reached().await;
    // Taken for dead, though it is only slow.
    let (quick, clock) = engine_at(&bucket, 2);
    let expected = answers(&quick).await;
    sleep_ms(SETTLED_MS).await;
    clock.advance_ms(limits::CLAIM_PATIENCE_MS);
    sleep_ms(SETTLED_MS).await;
    assert_eq!(lacking(&quick).await, 0);
    pause.release();
    sleep_ms(SETTLED_MS).await;
    slow_clock.advance_ms(60_000);
    sleep_ms(SETTLED_MS).await;
    for engine in [&slow, &quick] {
        assert_eq!(lacking(engine).await, 0);
        assert_eq!(answers(engine).await, expected);
    }
    assert_eq!(
        orphans(&bucket).await.len(),
        1,
        "what the slow one uploaded"
    );
    assert_eq!(count_of(&*bucket, ".idx").await, 3 + 3 + 1);
}

#[tokio::test(start_paused = true)]
async fn attribute_that_goes_while_its_index_is_built_harms_nothing() {
    for drops in [true, false] {
        let bucket = memory();
        let faulty = Arc::new(Faulty::new(Arc::clone(&bucket), FaultRates::default(), 0));
        let (engine, _) = engine_at(&(faulty.clone() as Arc<dyn Bucket>), 1);
        library(&engine).await;
        let pause = faulty.pause(Point::BeforeCreate, ".idx");
        make_filterable(&engine).await;
        pause.reached().await;
        let change = match drops {
            true => SchemaSpec {
                drops: ["year".to_owned()].into(),
                ..SchemaSpec::default()
            },
            false => years(false),
        };
        let changed = engine.update_schema(&name(), change).await;
        changed.expect("a commit");
        pause.release();
        sleep_ms(SETTLED_MS).await;
        let state = Arc::clone(&view(&engine).await.state);
        let unindexed: Vec<usize> = state
            .segments
            .iter()
            .map(|one| one.unindexed.len())
            .collect();
        assert_eq!(
            unindexed,
            [0, 1, 1],
            "one was under way, the others are not wanted"
        );
        assert!(state.claims.is_empty());
        if drops {
            continue;
        }
        make_filterable(&engine).await;
        let expected = answers(&engine).await;
        sleep_ms(SETTLED_MS).await;
        assert_eq!(lacking(&engine).await, 0);
        assert_eq!(answers(&engine).await, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn damaged_documents_keep_their_segment_from_an_index_and_no_other() {
    let bucket = memory();
    let (writer, _) = engine_at(&bucket, 1);
    library(&writer).await;
    writer.finish().await;
    let listed = bucket.list("ns/", None, None).await.expect("a listing");
    let mut documents = listed
        .iter()
        .filter(|object| object.key.ends_with(".parquet"));
    let key = &documents.next().expect("documents").key;
    let whole = bucket.get(key).await.expect("it answers").into_bytes();
    let mut bytes = whole.expect("it is there").to_vec();
    bytes[40] ^= 1;
    bucket.put(key, bytes.into()).await.expect("a put");
    let (engine, clock) = engine_at(&bucket, 2);
    make_filterable(&engine).await;
    sleep_ms(SETTLED_MS).await;
    assert_eq!(lacking(&engine).await, 1);
    let slots = count_of(&*bucket, "/wal/").await;
    let failures = || engine.shared.metrics.index_build.failures_total.get();
    assert_eq!(failures(), 1);
    // Ten minutes of queries: tried again now and then, and nothing is claimed for it.
    for _ in 0..600 {
        view(&engine).await;
        sleep_ms(1_000).await;
        clock.advance_ms(1_000);
    }
    assert!((3..20).contains(&failures()), "{}", failures());
    assert_eq!(count_of(&*bucket, "/wal/").await, slots);
}

#[tokio::test(start_paused = true)]
async fn query_that_would_look_at_too_many_rows_one_by_one_is_refused_until_the_index_is_there() {
    let bucket = memory();
    let (engine, _) = engine_at(&bucket, 1);
    let most = limits::UNINDEXED_ROWS_MAX as i64;
    let document = |id: i64| Document {
        id: RawValue::Int(id),
        attributes: vec![(Arc::from("year"), RawValue::Int(id % 5))],
    };
    for ids in [0..most + 1, most + 1..most + 11] {
        let batch = WriteBatch {
            upserts: ids.map(document).collect(),
            has_upserts: true,
            schema: Some(years(false)),
            ..WriteBatch::default()
        };
        write(&engine, batch).await;
        flush(&engine).await;
    }
    let turn = engine.shared.index_builds.acquire().await;
    make_filterable(&engine).await;
    let by_filter = || WriteBatch {
        delete_by_filter: Some(DeleteByFilter {
            filter: from(4).filter.expect("a filter"),
            allow_partial: true,
        }),
        ..WriteBatch::default()
    };
    let few = |query| Query { limit: 3, ..query };
    let asked = async |engine: &Engine| {
        vec![
            engine.query(&name(), few(from(3))).await.map(drop),
            engine
                .query(&name(), few(by_year(true, 25)))
                .await
                .map(drop),
            engine.ask(&name(), &counts()).await.map(drop),
            engine.write(&name(), by_filter(), None).await.map(drop),
        ]
    };
    for refused in asked(&engine).await {
        let error = refused.expect_err("too many");
        assert_eq!(error.code(), "index_building");
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.retry_after_ms().is_some());
        let details = [("rows_indexed", "0"), ("rows", "200011")];
        let found = error
            .details()
            .iter()
            .map(|(name, fact)| (*name, fact.as_str()));
        assert_eq!(found.collect::<Vec<_>>(), details);
    }
    // What needs no index of it is answered.
    engine.query(&name(), few(all())).await.expect("a reply");
    let explained = Questions {
        explain: true,
        ..Questions::from(few(from(3)))
    };
    engine.ask(&name(), &explained).await.expect("a plan");
    // A row fewer is few enough.
    write(&engine, delete(&(0..11).collect::<Vec<_>>())).await;
    flush(&engine).await;
    engine.query(&name(), few(from(3))).await.expect("a reply");
    drop(turn);
    sleep_ms(SETTLED_MS).await;
    for answered in asked(&engine).await {
        answered.expect("answered");
    }
}
