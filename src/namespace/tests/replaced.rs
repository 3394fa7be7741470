//! Objects that vanish while a query reads them: replaced meanwhile, or lost.

use super::*;
use crate::format::deletions::INLINE_BYTES_MAX;
use crate::store::fault::{Pause, Point};

/// Enough rows that the bitmap of every second of them is an object of its own.
const ROWS: i64 = 2 * INLINE_BYTES_MAX as i64;

async fn bitmap(bucket: &Arc<dyn Bucket>) -> String {
    let listed = bucket.list("", None, None).await.expect("a list");
    let keys = listed.into_iter().map(|listed| listed.key);
    let bitmaps: Vec<String> = keys.filter(|key| key.ends_with(".dvs")).collect();
    let [bitmap] = bitmaps.as_slice() else {
        panic!("expected one bitmap: {bitmaps:?}");
    };
    bitmap.clone()
}

/// A segment of which every second row is gone.
pub(super) async fn halved(bucket: &Arc<dyn Bucket>) -> Engine {
    let engine = engine_on(Arc::clone(bucket), 1);
    let rows = (0..ROWS).map(|id| (id, id));
    engine
        .write(&name(), upsert(rows), None)
        .await
        .expect("a commit");
    engine.flush(&name()).await.expect("a flush");
    let odd: Vec<i64> = (0..ROWS).filter(|id| id % 2 == 1).collect();
    engine
        .write(&name(), delete(&odd), None)
        .await
        .expect("a commit");
    engine.flush(&name()).await.expect("a flush");
    engine
}

/// Deletes one more row, flushes, and takes the bitmap away that the state referred to before.
async fn replace_bitmap(engine: &Engine, bucket: &Arc<dyn Bucket>, id: i64) {
    let old = bitmap(bucket).await;
    engine
        .write(&name(), delete(&[id]), None)
        .await
        .expect("a commit");
    engine.flush(&name()).await.expect("a flush");
    bucket.delete(&old).await.expect("it is gone");
}

pub(super) struct Reader {
    faulty: Arc<Faulty>,
    counting: Arc<Counting>,
    pub(super) engine: Engine,
}

/// A reader whose requests can be stopped and are counted; it knows the namespace, but no segment of it.
pub(super) async fn reader(bucket: &Arc<dyn Bucket>) -> Reader {
    let faulty = Arc::new(Faulty::new(Arc::clone(bucket), FaultRates::default(), 0));
    let counting = Arc::new(Counting::new(Arc::clone(&faulty) as Arc<dyn Bucket>));
    let engine = engine_on(Arc::clone(&counting) as Arc<dyn Bucket>, 2);
    let found = engine.registry.find(&name()).await.expect("an answer");
    assert!(found.is_some());
    Reader {
        faulty,
        counting,
        engine,
    }
}

impl Reader {
    pub(super) fn stop(&self) -> Pause {
        self.faulty.pause(Point::BeforeGet, ".dvs")
    }
}

fn count() -> Query {
    Query { limit: 1, ..all() }
}

#[tokio::test]
async fn query_whose_bitmap_is_replaced_while_it_reads_answers_from_the_new_state() {
    for restarts in 1..=2_u64 {
        let bucket = memory();
        let writer = halved(&bucket).await;
        let reader = reader(&bucket).await;
        let before = reader.counting.snapshot();
        let replace = async {
            for restart in 1..=restarts {
                let pause = reader.stop();
                pause.reached().await;
                replace_bitmap(&writer, &bucket, 2 * restart as i64).await;
                pause.release();
            }
        };
        let name = name();
        let (reply, ()) = futures::join!(reader.engine.query(&name, count()), replace);
        let reply = reply.expect("an answer from the new state");
        let live = ROWS as u64 / 2 - restarts;
        assert_eq!(reply.coverage.rows_total, live, "{restarts} restarts");
        assert_eq!(reply.degraded, None);
        let cost = reader.counting.snapshot() - before;
        // The probe of two. Each restart: a bitmap in vain; a delete, a claim, a commit and perhaps a truncation
        // to adopt, the end, the anchor. Then the bitmap, the footer, a page of documents.
        let fixed = 2 + 1 + 1 + 1;
        let of_restarts = cost.requests() - fixed;
        let each = of_restarts / restarts;
        assert!(
            of_restarts.is_multiple_of(restarts) && (6..=7).contains(&each),
            "{restarts} restarts: {cost:?}"
        );
    }
}

#[tokio::test]
async fn query_whose_bitmap_is_replaced_a_third_time_is_unavailable() {
    let bucket = memory();
    let writer = halved(&bucket).await;
    let reader = reader(&bucket).await;
    let replace = async {
        for restart in 1..=3 {
            let pause = reader.stop();
            pause.reached().await;
            replace_bitmap(&writer, &bucket, 2 * restart).await;
            pause.release();
        }
    };
    let name = name();
    let (reply, ()) = futures::join!(reader.engine.query(&name, count()), replace);
    let error = reply.expect_err("no end of it");
    assert_eq!(
        (error.kind(), error.code()),
        (ErrorKind::Unavailable, "object_missing")
    );
    // The next query begins on the newest state.
    let reply = reader.engine.query(&name, count()).await.expect("a reply");
    assert_eq!(reply.coverage.rows_total, ROWS as u64 / 2 - 3);
}

#[tokio::test]
async fn eventual_query_whose_bitmap_was_replaced_answers_from_the_new_state() {
    let bucket = memory();
    let writer = halved(&bucket).await;
    let reader = reader(&bucket).await;
    replace_bitmap(&writer, &bucket, 2).await;
    let query = Query {
        consistency: Consistency::Eventual {
            max_staleness_seconds: 60,
        },
        ..count()
    };
    let reply = reader.engine.query(&name(), query).await.expect("a reply");
    assert_eq!(reply.coverage.rows_total, ROWS as u64 / 2 - 1);
}

#[tokio::test]
async fn bitmap_that_is_gone_and_referred_to_is_corrupted_for_queries_and_descriptions() {
    let bucket = memory();
    halved(&bucket).await;
    let reader = reader(&bucket).await;
    let gone = bitmap(&bucket).await;
    bucket.delete(&gone).await.expect("it is gone");
    let described = reader.engine.describe(&name()).await.map(drop);
    let asked = reader.engine.query(&name(), count()).await.map(drop);
    for error in [described, asked].map(|answer| answer.expect_err("lost")) {
        assert_eq!(error.code(), "data_corrupt");
        assert!(error.message().contains(&gone), "{error}");
    }
}

#[tokio::test]
async fn description_and_condition_go_on_where_a_bitmap_was_replaced() {
    let bucket = memory();
    let writer = halved(&bucket).await;
    let (counts, writes) = (reader(&bucket).await, reader(&bucket).await);
    let replace = async {
        let pauses = [counts.stop(), writes.stop()];
        for pause in &pauses {
            pause.reached().await;
        }
        replace_bitmap(&writer, &bucket, 2).await;
        for pause in &pauses {
            pause.release();
        }
    };
    let mut batch = upsert([(4, 9_999), (6, 9_999)]);
    batch.upsert_condition = Some(
        Filter::Compare {
            attribute: "year".to_owned(),
            op: CompareOp::Lt,
            value: RawValue::Int(5),
        }
        .into(),
    );
    let name = name();
    let (described, written, ()) = futures::join!(
        counts.engine.describe(&name),
        writes.engine.write(&name, batch, None),
        replace
    );
    assert_eq!(described.expect("described").rows, ROWS as u64 / 2 - 1);
    assert_eq!(written.expect("a commit").rows_upserted, Some(1));
}
