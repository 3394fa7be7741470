//! Queries that may do without what cannot be read: what they answer, and that nothing dead comes back.

use bytes::Bytes;

use super::*;
use crate::format::deletions::INLINE_BYTES_MAX;
use crate::query::reply::Reply;

/// Rows of the first segment: the bitmap of every second of them is an object of its own.
const ROWS: i64 = 2 * INLINE_BYTES_MAX as i64;

type Rows = Vec<(u64, i64)>;

/// Three segments and a tail. The first has a stored bitmap; the second rewrites rows of it; the tail deletes and
/// rewrites rows of all.
async fn library(bucket: &Arc<dyn Bucket>) -> Engine {
    let engine = engine_on(Arc::clone(bucket), 1);
    let write = async |batch| {
        engine.write(&name(), batch, None).await.expect("a commit");
    };
    let flush = async || {
        engine.flush(&name()).await.expect("a flush");
    };
    write(upsert((0..ROWS).map(|id| (id, 1)))).await;
    flush().await;
    let odd: Vec<i64> = (0..ROWS).filter(|id| id % 2 == 1).collect();
    write(delete(&odd)).await;
    write(upsert((0..20).map(|id| (2 * id, 2)))).await;
    write(upsert((0..20).map(|id| (ROWS + id, 2)))).await;
    flush().await;
    write(upsert((0..20).map(|id| (ROWS + 10 + id, 3)))).await;
    flush().await;
    write(upsert([
        (0, 4),
        (2, 4),
        (100, 4),
        (ROWS, 4),
        (ROWS + 15, 4),
    ]))
    .await;
    write(delete(&[4, 102, ROWS + 1, ROWS + 16, 9])).await;
    engine
}

fn rows_of(reply: &Reply) -> Rows {
    let row = |row: &crate::query::reply::Row| match (&row.id, row.attributes.as_slice()) {
        (DocId::Uint(id), [(_, Value::Int(year))]) => (*id, *year),
        other => panic!("another row: {other:?}"),
    };
    reply.rows.iter().map(row).collect()
}

fn may_lack() -> Query {
    Query {
        allow_degraded: true,
        ..all()
    }
}

async fn keys(bucket: &Arc<dyn Bucket>, end: &str) -> Vec<String> {
    let listed = bucket.list("", None, None).await.expect("a list");
    let keys = listed.into_iter().map(|listed| listed.key);
    keys.filter(|key| key.ends_with(end)).collect()
}

async fn get(bucket: &Arc<dyn Bucket>, key: &str) -> Bytes {
    let found = bucket.get(key).await.expect("it answers").into_bytes();
    found.expect("it is there")
}

/// What is done to an object.
#[derive(Debug, Clone, Copy)]
enum Harm {
    /// Every byte is another.
    Flipped,
    /// The last byte is another: of an index file, its footer.
    End,
    /// It is gone.
    Gone,
}

async fn harm(bucket: &Arc<dyn Bucket>, key: &str, how: Harm) -> Bytes {
    let whole = get(bucket, key).await;
    let mut bytes = whole.to_vec();
    match how {
        Harm::Flipped => bytes.iter_mut().for_each(|byte| *byte ^= 0x55),
        Harm::End => *bytes.last_mut().expect("it has bytes") ^= 1,
        Harm::Gone => {
            bucket.delete(key).await.expect("it is gone");
            return whole;
        }
    }
    bucket.put(key, bytes.into()).await.expect("a put");
    whole
}

/// The year that rows of each segment have, by its order: where a row lies is told by it.
fn home(segment: usize) -> i64 {
    segment as i64 + 1
}

#[tokio::test]
async fn query_with_a_damaged_segment_is_an_error_unless_it_allows_to_lack_its_rows() {
    let bucket = memory();
    let writer = library(&bucket).await;
    let whole = rows_of(&writer.query(&name(), may_lack()).await.expect("a reply"));
    assert_eq!(whole, rows(&writer).await);
    let documents = keys(&bucket, ".parquet").await;
    let indexes = keys(&bucket, ".idx").await;
    let bitmaps = keys(&bucket, ".dvs").await;
    assert_eq!((documents.len(), indexes.len(), bitmaps.len()), (3, 3, 1));
    let numbered = |keys: &[String]| keys.iter().cloned().enumerate().collect::<Vec<_>>();
    let mut objects = [numbered(&documents), numbered(&indexes)].concat();
    objects.push((0, bitmaps[0].clone()));
    for (segment, key) in objects {
        for how in [Harm::Flipped, Harm::End, Harm::Gone] {
            let case = format!("{key}: {how:?}");
            let bytes = harm(&bucket, &key, how).await;
            let engine = engine_on(Arc::clone(&bucket), 7);
            // Index files are not built again meanwhile.
            let _turn = engine.shared.index_builds.acquire().await;
            let refused = engine.query(&name(), all()).await;
            let may_be_whole = key.ends_with(".parquet") && matches!(how, Harm::End);
            if may_be_whole && let Ok(reply) = &refused {
                // The end of the documents is a footer that the index file has too: it is not read.
                assert_eq!(rows_of(reply), whole, "{case}");
                bucket.put(&key, bytes).await.expect("a put");
                continue;
            }
            let error = refused.expect_err(&case);
            assert_eq!(error.code(), "data_corrupt", "{case}: {error:?}");
            assert!(error.message().contains(&key), "{case}: {error}");
            for _ in 0..2 {
                let reply = engine.query(&name(), may_lack()).await.expect(&case);
                let expected: Rows = whole
                    .iter()
                    .filter(|(_, year)| *year != home(segment))
                    .copied()
                    .collect();
                assert_eq!(rows_of(&reply), expected, "{case}");
                let degraded = reply.degraded.expect("it says so");
                assert_eq!(degraded.segments.len(), 1, "{case}");
                let missing = (whole.len() - expected.len()) as u64;
                assert!(degraded.rows_missing >= missing, "{case}: {degraded:?}");
                assert_eq!(reply.coverage.rows_total, expected.len() as u64, "{case}");
            }
            bucket.put(&key, bytes).await.expect("a put");
            // It goes on by itself once the object is right again.
            let reply = engine.query(&name(), may_lack()).await.expect(&case);
            assert_eq!(
                (rows_of(&reply), reply.degraded),
                (whole.clone(), None),
                "{case}"
            );
            assert_eq!(rows(&engine).await, whole, "{case}");
            engine.finish().await;
        }
    }
}

#[tokio::test]
async fn query_with_all_segments_damaged_answers_from_the_tail() {
    let bucket = memory();
    library(&bucket).await;
    for key in keys(&bucket, ".idx").await {
        harm(&bucket, &key, Harm::Gone).await;
    }
    let engine = engine_on(bucket, 7);
    let _turn = engine.shared.index_builds.acquire().await;
    let reply = engine.query(&name(), may_lack()).await.expect("a reply");
    let ids = [0, 2, 100, ROWS, ROWS + 15];
    let expected: Rows = ids.iter().map(|id| (*id as u64, 4)).collect();
    assert_eq!(rows_of(&reply), expected);
    let degraded = reply.degraded.expect("it says so");
    assert_eq!(degraded.segments.len(), 3);
    assert_eq!(degraded.rows_missing, ROWS as u64 / 2 - 20 + 30 + 20);
    let metrics = engine.shared.metrics.render();
    assert!(
        metrics.contains("elacsym_degraded_queries_total 1"),
        "{metrics}"
    );
}

#[tokio::test]
async fn flush_of_a_namespace_with_a_damaged_segment_fails_and_loses_nothing() {
    let bucket = memory();
    library(&bucket).await;
    let key = &keys(&bucket, ".idx").await[1];
    let bytes = harm(&bucket, key, Harm::Flipped).await;
    let engine = engine_on(Arc::clone(&bucket), 7);
    let _turn = engine.shared.index_builds.acquire().await;
    let reply = engine.query(&name(), may_lack()).await.expect("a reply");
    assert!(reply.degraded.is_some());
    // What the tail deletes in it cannot be known: a flush must not forget that.
    let error = engine.flush(&name()).await.expect_err("it cannot be read");
    assert_eq!(error.code(), "data_corrupt");
    bucket.put(key, bytes).await.expect("a put");
    let before = rows(&engine).await;
    engine.flush(&name()).await.expect("a flush");
    assert_eq!(rows(&engine).await, before);
    assert_eq!(rows(&engine_on(bucket, 8)).await, before);
}
