//! Flushers that stall: what others commit meanwhile is kept, and what they commit late means nothing.

use super::*;
use crate::namespace::Flushed;
use crate::store::fault::{Pause, Point};
use crate::types::{Clock, limits};

/// Two engines on one bucket; the first has written documents 1 and 2 and stands still in its flush, at the
/// next create whose key contains `at`.
struct Stalled {
    bucket: Arc<dyn Bucket>,
    first: Arc<Engine>,
    flushing: tokio::task::JoinHandle<crate::error::Result<Flushed>>,
    pause: Pause,
    other: Engine,
    /// The clock of the other.
    clock: Arc<ManualClock>,
}

async fn stalled_at(at: &str) -> Stalled {
    let bucket = memory();
    let faulty = Arc::new(Faulty::scripted(Arc::clone(&bucket), []));
    // Threads would leave this task idle, and idle time passes at once.
    let inline = |bucket, seed| World {
        compute: Arc::new(ComputePool::inline()),
        ..world_on(bucket, seed)
    };
    let world = inline(Arc::clone(&faulty) as Arc<dyn Bucket>, 1);
    let first = Arc::new(Engine::new(world, EngineOptions::default()));
    first
        .write(&name(), upsert([(1, 1), (2, 2)]), None)
        .await
        .expect("a commit");
    let pause = faulty.pause(Point::BeforeCreate, at);
    let flusher = Arc::clone(&first);
    // A task, so that the flush stands still while this test goes on.
    #[allow(clippy::disallowed_methods)]
    let flushing = tokio::spawn(async move { flusher.flush(&name()).await });
    pause.reached().await;
    let clock = Arc::new(ManualClock::new(Timestamp(1_700_000_000_000)));
    let world = World {
        clock: Arc::clone(&clock) as Arc<dyn Clock>,
        ..inline(Arc::clone(&bucket), 2)
    };
    Stalled {
        bucket,
        first,
        flushing,
        pause,
        other: Engine::new(world, EngineOptions::default()),
        clock,
    }
}

impl Stalled {
    /// The other node takes the claim for dead and flushes.
    async fn flush_by_other(&self) {
        let books = name();
        let flushing = self.other.flush(&books);
        let passing = async {
            // The other has to see the claim before its patience can end.
            while self.other.describe(&books).await.is_err() {}
            tokio::task::yield_now().await;
            self.clock.advance_ms(limits::CLAIM_PATIENCE_MS);
        };
        let (flushed, ()) = tokio::join!(flushing, passing);
        assert!(matches!(flushed, Ok(Flushed::Done(_))), "{flushed:?}");
    }

    /// Lets the first go on, and gives what its flush came to.
    async fn wake(&mut self) -> crate::error::Result<Flushed> {
        self.pause.release();
        (&mut self.flushing).await.expect("no panic")
    }

    async fn assert_rows(&self, expected: &[(u64, i64)]) {
        assert_eq!(rows(&self.first).await, expected, "the first");
        assert_eq!(rows(&self.other).await, expected, "the other");
        let cold = engine_on(Arc::clone(&self.bucket), 3);
        assert_eq!(rows(&cold).await, expected, "a cold one");
    }
}

/// Places where a flusher may stall: before its documents, its index, and its commit (claim: slot 3).
const STAGES: [&str; 3] = [".parquet", ".idx", "/wal/000000000000/003"];

#[tokio::test(start_paused = true)]
async fn flusher_that_wakes_after_others_flushed_commits_nothing() {
    for at in STAGES {
        let mut stalled = stalled_at(at).await;
        stalled.flush_by_other().await;
        let other = &stalled.other;
        other
            .write(&name(), upsert([(2, 20), (3, 3)]), None)
            .await
            .expect("a commit");
        other
            .write(&name(), delete(&[1]), None)
            .await
            .expect("a commit");
        let late = stalled.wake().await;
        let code = late.as_ref().err().map(|error| error.code());
        assert_eq!(code, Some("flush_superseded"), "{at}: {late:?}");
        stalled.assert_rows(&[(2, 20), (3, 3)]).await;
        stalled.first.flush(&name()).await.expect("a flush");
        stalled.assert_rows(&[(2, 20), (3, 3)]).await;
    }
}

// In real time: paused, an idle moment would bring the flush by age.
#[tokio::test]
async fn rows_written_while_a_flush_uploads_stay_in_the_log_and_open_again() {
    for at in STAGES {
        let mut stalled = stalled_at(at).await;
        for (id, year) in [(2, 20), (3, 3), (4, 4)] {
            let batch = upsert([(id, year)]);
            stalled
                .other
                .write(&name(), batch, None)
                .await
                .expect("a commit");
        }
        stalled
            .other
            .write(&name(), delete(&[1, 4]), None)
            .await
            .expect("a commit");
        let flushed = stalled.wake().await;
        assert!(matches!(flushed, Ok(Flushed::Done(_))), "{at}: {flushed:?}");
        stalled.assert_rows(&[(2, 20), (3, 3)]).await;
        let described = stalled.other.describe(&name()).await.expect("described");
        assert!(
            described.unindexed_rows > 0,
            "{at}: the later rows are in the log"
        );
    }
}
