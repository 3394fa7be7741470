//! Queries over flushed namespaces: what an answer says it covered, and objects that are gone.

use super::*;
use crate::error::Error;
use crate::store::Listed;

async fn flushed(bucket: &Arc<dyn Bucket>) -> Engine {
    let engine = engine_on(Arc::clone(bucket), 1);
    let books = (0..50).map(|id| (id, 1_900 + id));
    engine
        .write(&name(), upsert(books), None)
        .await
        .expect("a commit");
    engine.flush(&name()).await.expect("a flush");
    engine
}

fn whose_year(op: CompareOp, year: i64) -> Query {
    Query {
        filter: Some(Filter::Compare {
            attribute: "year".to_owned(),
            op,
            value: RawValue::Int(year),
        }),
        ..all()
    }
}

fn from(year: i64) -> Query {
    whose_year(CompareOp::Gte, year)
}

async fn files(bucket: &Arc<dyn Bucket>, end: &str) -> Vec<String> {
    let listed = bucket.list("", None, None).await.expect("a list");
    let keys = listed.into_iter().map(|Listed { key, .. }| key);
    keys.filter(|key| key.ends_with(end)).collect()
}

#[tokio::test]
async fn segment_of_few_values_is_passed_over_for_a_value_between_them() {
    let bucket = memory();
    let engine = engine_on(Arc::clone(&bucket), 1);
    let years = (1_i64..50).map(|id| (id, if id % 2 == 0 { 1_900 } else { 1_950 }));
    let written = engine.write(&name(), upsert(years), None).await;
    written.expect("a commit");
    engine.flush(&name()).await.expect("a flush");
    let counting = Arc::new(Counting::new(Arc::clone(&bucket)));
    let cold = engine_on(Arc::clone(&counting) as Arc<dyn Bucket>, 2);
    cold.query(&name(), from(2_000)).await.expect("a reply");
    for (year, expected, passed_over) in [(1_925, 0, true), (1_950, 25, false)] {
        let equal = whose_year(CompareOp::Eq, year);
        let before = counting.snapshot();
        let reply = cold.query(&name(), equal).await.expect("a reply");
        let cost = counting.snapshot() - before;
        assert_eq!(reply.rows.len(), expected, "{year}");
        let seen = reply.coverage;
        assert_eq!(seen.segments_pruned, u64::from(passed_over), "{year}");
        // Beyond the look for what is new.
        assert_eq!(cost.read_bytes < 1_000, passed_over, "{year}: {cost:?}");
    }
}

#[tokio::test]
async fn coverage_of_segments_and_tail_counts_each_live_row_once() {
    let bucket = memory();
    let engine = flushed(&bucket).await;
    let late = [(7, 2_000), (90, 2_001)];
    engine
        .write(&name(), upsert(late), None)
        .await
        .expect("a commit");
    engine
        .write(&name(), delete(&[1, 2]), None)
        .await
        .expect("a commit");
    let reply = engine.query(&name(), from(1_949)).await.expect("a reply");
    assert_eq!(reply.rows.len(), 3);
    let seen = reply.coverage;
    assert_eq!((seen.rows_total, seen.unindexed_rows), (49, 2));
    assert_eq!((seen.segments_searched, seen.segments_pruned), (1, 0));
    let reply = engine.query(&name(), from(1_990)).await.expect("a reply");
    assert_eq!(reply.rows.len(), 2);
    let seen = reply.coverage;
    assert_eq!((seen.segments_searched, seen.segments_pruned), (0, 1));

    // A node that has just come: what it read is counted as its query's.
    let counting = Arc::new(Counting::new(Arc::clone(&bucket)));
    let cold = engine_on(Arc::clone(&counting) as Arc<dyn Bucket>, 2);
    cold.query(&name(), from(1_990)).await.expect("a reply");
    let before = counting.snapshot();
    let seen = cold
        .query(&name(), from(1_949))
        .await
        .expect("a reply")
        .coverage;
    let cost = counting.snapshot() - before;
    assert_eq!(
        (seen.store_gets, seen.store_bytes),
        (cost.requests(), cost.read_bytes)
    );
    assert!(seen.store_bytes > 1_000, "{seen:?}");
}

#[tokio::test]
async fn query_of_an_object_that_the_newest_state_refers_to_and_is_gone_is_corrupted() {
    for end in [".parquet", ".idx"] {
        let bucket = memory();
        drop(flushed(&bucket).await);
        let paths = files(&bucket, end).await;
        let [path] = paths.as_slice() else {
            panic!("one segment: {paths:?}");
        };
        bucket.delete(path).await.expect("it is gone");
        let counting = Arc::new(Counting::new(Arc::clone(&bucket)));
        let cold = engine_on(Arc::clone(&counting) as Arc<dyn Bucket>, 2);
        cold.query(&name(), from(3_000))
            .await
            .expect("no segment can match");
        let before = counting.snapshot();
        let error: Error = cold.query(&name(), all()).await.expect_err("rows are gone");
        assert_eq!(error.kind(), ErrorKind::Corrupted, "{error:?}");
        assert!(error.message().contains(path.as_str()), "{error:?}");
        let named = error.details().iter().any(|(name, _)| *name == "segment");
        assert!(named, "{error:?}");
        // The probe and the refresh, of two each; the footer, and the documents where there is one. A state that
        // refers to the object still is asked once.
        let footer = u64::from(end == ".parquet");
        let cost = counting.snapshot() - before;
        assert_eq!(
            cost.get + cost.get_range,
            2 + 2 + 1 + footer,
            "{end}: {cost:?}"
        );
    }
}

#[tokio::test]
async fn condition_looks_at_documents_in_segments() {
    let bucket = memory();
    drop(flushed(&bucket).await);
    let engine = engine_on(bucket, 2);
    let newer = |year: i64| WriteBatch {
        upsert_condition: Some(
            Filter::Compare {
                attribute: "year".to_owned(),
                op: CompareOp::Lt,
                value: RawValue::Int(1_905),
            }
            .into(),
        ),
        ..upsert((0..10).map(|id| (id, year + id)))
    };
    let written = engine
        .write(&name(), newer(2_000), None)
        .await
        .expect("a commit");
    assert_eq!(written.rows_upserted, Some(5));
    let years: Vec<i64> = rows(&engine)
        .await
        .iter()
        .take(10)
        .map(|row| row.1)
        .collect();
    assert_eq!(years[..5], [2_000, 2_001, 2_002, 2_003, 2_004]);
    assert_eq!(years[5..], [1_905, 1_906, 1_907, 1_908, 1_909]);
}

/// The three nearest, without attributes: a scan of the vectors.
fn nearest() -> Query {
    Query {
        rank_by: RankBy::Vector {
            attribute: "vector".to_owned(),
            vector: RawValue::Numbers {
                values: vec![5.0, 1.0],
                integers: false,
            },
            exact: false,
        },
        limit: 3,
        include: Include::Nothing,
        ..all()
    }
}

#[tokio::test]
async fn scan_above_the_cache_costs_the_same_each_time_and_leaves_what_rows_were_read_by() {
    let bucket = memory();
    let writer = engine_on(Arc::clone(&bucket), 1);
    for n in 0..4 {
        let rows = upsert((0..20_000).map(|row| (n * 20_000 + row, row)));
        let written = writer.write(&name(), rows, None).await;
        written.expect("a commit");
        writer.flush(&name()).await.expect("a flush");
    }
    writer.finish().await;
    let first_rows = Query { limit: 5, ..all() };
    // All of it fits, or only the blocks that rows are read by.
    for (cache_bytes, fits) in [(8 << 20, true), (1_400 << 10, false)] {
        let counting = Arc::new(Counting::new(Arc::clone(&bucket)));
        let options = EngineOptions {
            cache_bytes,
            ..EngineOptions::default()
        };
        let engine = engine_with(Arc::clone(&counting) as Arc<dyn Bucket>, 2, options);
        let cost = async |query: &Query| {
            let before = counting.snapshot();
            let reply = engine.query(&name(), query.clone()).await;
            reply.expect("a reply");
            counting.snapshot() - before
        };
        cost(&nearest()).await;
        cost(&first_rows).await;
        let second = cost(&nearest()).await;
        let used = engine.shared.cache.used_bytes();
        for _ in 0..6 {
            let again = cost(&nearest()).await;
            assert_eq!(again.read_bytes, second.read_bytes, "{cache_bytes}");
            assert_eq!(engine.shared.cache.used_bytes(), used, "{cache_bytes}");
            let rows = cost(&first_rows).await;
            assert_eq!(rows.requests(), 2, "{cache_bytes}: a probe: {rows:?}");
        }
        assert_eq!(second.requests() == 2, fits, "{cache_bytes}: {second:?}");
        assert!(used <= cache_bytes, "{used}");
    }
}
