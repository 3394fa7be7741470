//! The fresh form of commits and strong reads: one request while the store's clock vouches for the proof.

use std::pin::pin;
use std::sync::Arc;

use futures::future::{Either, select};

use super::{engine_on, engine_with, memory, name, rows, upsert};
use crate::namespace::{Engine, EngineOptions};
use crate::store::count::Counting;
use crate::store::dated::Dated;
use crate::store::fault::{FaultRates, Faulty, Point};
use crate::store::{Bucket, StoreKind};

const BEGIN_MS: i64 = 1_700_000_000_000;
const SECOND_MS: i64 = 1_000;
const MINUTE_MS: i64 = 60 * SECOND_MS;

/// A store with a clock, counted, and its parts.
struct Store {
    dated: Arc<Dated>,
    faulty: Arc<Faulty>,
    counting: Arc<Counting>,
}

impl Store {
    fn of(kind: StoreKind) -> Self {
        let dated = Arc::new(Dated::new(memory(), kind, BEGIN_MS));
        let quiet = FaultRates::default();
        let faulty = Arc::new(Faulty::new(Arc::clone(&dated) as Arc<dyn Bucket>, quiet, 1));
        let counting = Arc::new(Counting::new(Arc::clone(&faulty) as Arc<dyn Bucket>));
        Self {
            dated,
            faulty,
            counting,
        }
    }

    fn engine(&self, seed: u64) -> Engine {
        engine_on(Arc::clone(&self.counting) as Arc<dyn Bucket>, seed)
    }

    fn pass_ms(&self, ms: i64) {
        self.dated.pass_ms(ms);
    }

    /// Requests of one strong read: header reads, all.
    async fn read_cost(&self, engine: &Engine) -> (u64, u64) {
        let before = self.counting.snapshot();
        rows(engine).await;
        let spent = self.counting.snapshot() - before;
        (spent.get_range, spent.requests())
    }

    /// Requests of one commit: creates, header reads, all.
    async fn commit_cost(&self, engine: &Engine, id: i64) -> (u64, u64, u64) {
        let before = self.counting.snapshot();
        write(engine, id).await;
        let spent = self.counting.snapshot() - before;
        (spent.create, spent.get_range, spent.requests())
    }
}

async fn write(engine: &Engine, id: i64) {
    engine
        .write(&name(), upsert([(id, id)]), None)
        .await
        .expect("a commit");
}

/// Runs a read beside what must happen in the middle of it; a read that ends without it fails the test.
async fn beside<T>(read: impl Future<Output = T>, middle: impl Future<Output = ()>) -> T {
    let (mut read, mut middle) = (pin!(read), pin!(middle));
    match select(&mut middle, &mut read).await {
        Either::Left(((), _)) => read.await,
        Either::Right(_) => panic!("the read ended without its pause"),
    }
}

const ONE: (u64, u64) = (1, 1);
const TWO: (u64, u64) = (2, 2);

#[tokio::test]
async fn strong_read_within_five_minutes_of_a_proof_costs_one_request() {
    let store = Store::of(StoreKind::Http);
    let engine = store.engine(1);
    write(&engine, 1).await;
    assert_eq!(
        store.read_cost(&engine).await,
        ONE,
        "the creation is a proof"
    );
    store.pass_ms(5 * MINUTE_MS - 1);
    assert_eq!(store.read_cost(&engine).await, ONE, "the last moment");
    store.pass_ms(1);
    assert_eq!(store.read_cost(&engine).await, TWO, "slot, then anchor");
    assert_eq!(store.read_cost(&engine).await, ONE, "a probe is a proof");
    store.pass_ms(5 * MINUTE_MS);
    assert_eq!(store.read_cost(&engine).await, TWO, "a skip was none");
    store.pass_ms(-SECOND_MS);
    assert_eq!(store.read_cost(&engine).await, TWO, "a clock that ran back");
}

#[tokio::test]
async fn commit_and_strong_read_renew_one_proof() {
    let store = Store::of(StoreKind::Http);
    let engine = store.engine(1);
    write(&engine, 1).await;
    assert_eq!(store.commit_cost(&engine, 2).await, (1, 0, 1), "fresh");
    store.pass_ms(5 * MINUTE_MS);
    assert_eq!(store.commit_cost(&engine, 3).await, (1, 1, 2), "anchored");
    assert_eq!(store.read_cost(&engine).await, ONE, "by the commit's proof");
    store.pass_ms(5 * MINUTE_MS);
    assert_eq!(store.read_cost(&engine).await, TWO);
    let commit = store.commit_cost(&engine, 4).await;
    assert_eq!(commit, (1, 0, 1), "by the probe's proof");
    store.pass_ms(5 * MINUTE_MS);
    assert_eq!(store.commit_cost(&engine, 5).await, (1, 1, 2));
}

#[tokio::test]
async fn open_and_adoption_date_the_proof() {
    let store = Store::of(StoreKind::Http);
    let (writer, reader) = (store.engine(1), store.engine(2));
    write(&writer, 1).await;
    rows(&reader).await;
    assert_eq!(store.read_cost(&reader).await, ONE, "the open is a proof");
    store.pass_ms(5 * MINUTE_MS);
    write(&writer, 2).await;
    // Probe: found. Catching up: the slot, the missing one, the anchor.
    let before = store.counting.snapshot();
    rows(&reader).await;
    let spent = store.counting.snapshot() - before;
    assert_eq!((spent.get_range, spent.get), (2, 2));
    assert_eq!(store.read_cost(&reader).await, ONE, "adopting is a proof");
}

#[tokio::test]
async fn strong_read_on_a_store_that_cannot_vouch_costs_two_requests() {
    for kind in [StoreKind::Memory, StoreKind::Local] {
        let store = Store::of(kind);
        let engine = store.engine(1);
        write(&engine, 1).await;
        assert_eq!(store.commit_cost(&engine, 2).await, (1, 1, 2), "{kind:?}");
        for _ in 0..3 {
            assert_eq!(store.read_cost(&engine).await, TWO, "{kind:?}");
        }
    }
    let store = Store::of(StoreKind::Http);
    let options = EngineOptions {
        always_check_anchor: true,
        ..EngineOptions::default()
    };
    let engine = engine_with(Arc::clone(&store.counting) as Arc<dyn Bucket>, 1, options);
    write(&engine, 1).await;
    assert_eq!(store.read_cost(&engine).await, TWO, "told to check always");
}

#[tokio::test]
async fn proof_is_dated_by_the_missing_slot_and_not_by_the_anchor() {
    let store = Store::of(StoreKind::Http);
    let engine = store.engine(1);
    write(&engine, 1).await;
    store.pass_ms(10 * MINUTE_MS);
    let pause = store
        .faulty
        .pause(Point::BeforeGet, "/wal/000000000000/000");
    let slow_anchor = async {
        pause.reached().await;
        store.pass_ms(3 * MINUTE_MS);
        pause.release();
    };
    beside(rows(&engine), slow_anchor).await;
    store.pass_ms(3 * MINUTE_MS);
    assert_eq!(store.read_cost(&engine).await, TWO);
}

/// A proof of slot n+1 must not vouch for a view that ends at n: the slot after it may be gone already.
#[tokio::test]
async fn strong_read_of_an_older_view_does_not_borrow_a_newer_proof() {
    let store = Store::of(StoreKind::Http);
    let engine = store.engine(1);
    write(&engine, 1).await;
    store.pass_ms(10 * MINUTE_MS);
    let pause = store
        .faulty
        .pause(Point::BeforeGet, "/wal/000000000000/002");
    let reader = engine.clone();
    let read = async move { reader.query(&name(), super::all()).await };
    let truncated_meanwhile = async {
        pause.reached().await;
        write(&engine, 2).await;
        let slots = store
            .dated
            .list("ns/", None, None)
            .await
            .expect("a listing");
        for slot in slots.iter().filter(|slot| slot.key.contains("/wal/")) {
            store.dated.delete(&slot.key).await.expect("deleted");
        }
        pause.release();
    };
    let read = beside(read, truncated_meanwhile).await;
    let reply = read.expect("a reply");
    let seen = (reply.coverage.as_of_seq.0, reply.rows.len());
    assert_eq!(seen, (3, 2), "the acknowledged write must be seen");
}
