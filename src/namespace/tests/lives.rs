//! Beginnings and ends: opens that take long, drops that meet faults or another incarnation.

use super::*;
use crate::store::fault::Point;

#[tokio::test]
async fn drop_through_a_handle_of_an_ended_incarnation_drops_the_new_one() {
    let bucket = memory();
    let (a, b) = (engine_on(Arc::clone(&bucket), 1), engine_on(bucket, 2));
    a.write(&name(), upsert([(1, 1)]), None)
        .await
        .expect("a commit");
    assert_eq!(rows(&b).await, [(1, 1)]);
    a.delete(&name()).await.expect("dropped");
    a.write(&name(), upsert([(2, 2)]), None)
        .await
        .expect("made again");
    b.delete(&name())
        .await
        .expect("the new one is there to drop");
    let gone = a.query(&name(), all()).await.expect_err("gone");
    assert_eq!(gone.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn eventual_read_counts_staleness_from_the_beginning_of_a_slow_open() {
    let bucket = memory();
    let writer = engine_on(Arc::clone(&bucket), 1);
    writer
        .write(&name(), upsert([(1, 1)]), None)
        .await
        .expect("a commit");
    let faulty = Arc::new(Faulty::scripted(bucket, []));
    let clock = Arc::new(ManualClock::new(Timestamp(0)));
    let world = World {
        bucket: Arc::clone(&faulty) as _,
        clock: Arc::clone(&clock) as _,
        entropy: Arc::new(SeededEntropy::new(2)),
        compute: Arc::new(ComputePool::inline()),
        metrics: Arc::new(Metrics::new().expect("metric names are unique")),
    };
    let reader = Engine::new(world, EngineOptions::default());
    let eventual = || Query {
        consistency: Consistency::Eventual {
            max_staleness_seconds: 5,
        },
        ..all()
    };
    // The open lists manifests twice: first for the newest, last for the anchor of the slots it read.
    let first = faulty.pause(Point::BeforeList, "/manifest/");
    let last = faulty.pause(Point::BeforeList, "/manifest/");
    first.release();
    let books = name();
    let (opened, ()) = futures::join!(reader.query(&books, eventual()), async {
        last.reached().await;
        let written = writer.write(&name(), upsert([(2, 2)]), None).await;
        written.expect("a commit that the open has not read");
        clock.advance_ms(10_000);
        last.release();
    });
    opened.expect("an answer");
    let reply = reader.query(&name(), eventual()).await.expect("an answer");
    assert_eq!(
        reply.rows.len(),
        2,
        "acknowledged ten seconds before the open ended"
    );
}
