use std::sync::Arc;

use prometheus::{Encoder, Registry, TextEncoder};

use super::super::count::{Counting, RequestCounter, StoreCounts};
use super::super::dated::Dated;
use super::super::fault::{CreateFault, FaultRates, Faulty};
use super::super::instrument::{Instrumented, StoreMetrics};
use super::super::retry::{RetryPolicy, Retrying};
use super::super::{Bucket, CreateOutcome, GetOutcome, StoreError, StoreKind};
use super::{Counted, Ticking, create, memory, text};
use crate::types::Timestamp;

const IMPATIENT: RetryPolicy = RetryPolicy {
    tries_max: 3,
    total_ms_max: 10_000,
    backoff_ms_first: 0,
    backoff_ms_max: 0,
};

/// A counting bucket that fails as told, and the same with retries around it.
fn failing(rates: FaultRates, policy: RetryPolicy) -> (Arc<Counting>, Retrying) {
    let faulty = Arc::new(Faulty::new(memory(), rates, 7));
    let counting = Arc::new(Counting::new(faulty));
    let (clock, entropy) = (Arc::new(Ticking::default()), Arc::new(Counted::default()));
    let retrying = Retrying::new(counting.clone(), policy, clock, entropy);
    (counting, retrying)
}

const LOSING: FaultRates = FaultRates {
    refuse: 0,
    lose: 1_000,
    lose_answer: 0,
    late: 0,
    duplicate: 0,
    truncate: 0,
};

#[tokio::test]
async fn retry_of_idempotent_operations_ends_at_the_budget() {
    let (counting, retrying) = failing(LOSING, IMPATIENT);
    assert!(retrying.get("k").await.is_err());
    assert!(retrying.get_range("k", 0..1).await.is_err());
    assert!(retrying.list("", None, None).await.is_err());
    assert!(retrying.delete("k").await.is_err());
    assert!(retrying.put("k", text("x")).await.is_err());
    let counts = counting.snapshot();
    assert_eq!(
        [
            counts.get,
            counts.get_range,
            counts.list,
            counts.delete,
            counts.put
        ],
        [3; 5]
    );
}

#[tokio::test]
async fn retry_of_create_never_happens() {
    let (counting, retrying) = failing(LOSING, IMPATIENT);
    let outcome = create(&retrying, "k", "x").await;
    assert!(matches!(outcome, CreateOutcome::Unknown(_)));
    assert_eq!(counting.snapshot().create, 1);
}

#[tokio::test]
async fn retry_of_a_refusal_never_happens() {
    let refusing = FaultRates {
        refuse: 1_000,
        ..FaultRates::default()
    };
    let (counting, retrying) = failing(refusing, IMPATIENT);
    let error = retrying.get("k").await.expect_err("it is refused");
    assert!(matches!(error, StoreError::Determinate { .. }));
    assert_eq!(counting.snapshot().get, 1);
}

#[tokio::test]
async fn retry_out_of_time_stops_before_the_tries_are_used_up() {
    // The clock advances 5 ms a look: the second failure is seen at 10 ms.
    let hasty = RetryPolicy {
        tries_max: 100,
        total_ms_max: 9,
        ..IMPATIENT
    };
    let (counting, retrying) = failing(LOSING, hasty);
    assert!(retrying.get("k").await.is_err());
    assert_eq!(counting.snapshot().get, 2);
}

#[tokio::test]
async fn retry_after_lost_answers_succeeds() {
    let shaky = FaultRates {
        lose: 400,
        ..FaultRates::default()
    };
    let policy = RetryPolicy {
        tries_max: 30,
        ..IMPATIENT
    };
    let (counting, retrying) = failing(shaky, policy);
    for _ in 0..20 {
        retrying.get("k").await.expect("some try gets through");
    }
    assert!(counting.snapshot().get > 20);
}

#[test]
fn backoff_grows_to_its_bound_and_is_jittered() {
    let policy = RetryPolicy::default();
    let bounds = [(1, 50), (2, 100), (3, 200), (7, 2_000), (60, 2_000)];
    for (n_failed, bound) in bounds {
        assert_eq!(policy.backoff_ms(n_failed, bound), bound as u64);
        assert_eq!(policy.backoff_ms(n_failed, bound + 1), 0);
    }
}

#[tokio::test]
async fn counts_by_operation_and_bytes_add_up() {
    let bucket = Counting::new(memory());
    create(&bucket, "k", "12345").await;
    let before = bucket.snapshot();
    bucket.get("k").await.expect("it answers");
    bucket.get_range("k", 1..3).await.expect("it answers");
    bucket.get("missing").await.expect("it answers");
    let spent = bucket.snapshot() - before;
    let expected = StoreCounts {
        get: 2,
        get_range: 1,
        read_bytes: 7,
        ..StoreCounts::default()
    };
    assert_eq!(spent, expected);
    assert_eq!(spent.requests(), 3);
    assert_eq!(before.written_bytes, 5);
}

#[tokio::test]
async fn counts_of_two_requests_are_kept_apart() {
    let bucket = Arc::new(Counting::new(memory()));
    let (one, two) = (RequestCounter::default(), RequestCounter::default());
    let reads = |n: usize| {
        let bucket = bucket.clone();
        async move {
            for _ in 0..n {
                bucket.get("k").await.expect("it answers");
                tokio::task::yield_now().await;
            }
            RequestCounter::current().map(|counter| counter.snapshot().get)
        }
    };
    let inside = tokio::join!(one.scope(reads(2)), two.scope(reads(5)));
    assert_eq!(inside, (Some(2), Some(5)));
    assert_eq!(reads(1).await, None);
    assert_eq!((one.snapshot().get, two.snapshot().get), (2, 5));
    assert_eq!(bucket.snapshot().get, 8);
}

#[tokio::test]
async fn metrics_name_operation_and_outcome() {
    let registry = Registry::new();
    let metrics = StoreMetrics::register(&registry).expect("a new registry");
    assert!(StoreMetrics::register(&registry).is_err());
    let faulty = Faulty::scripted(memory(), [(3, CreateFault::Lose), (4, CreateFault::Refuse)]);
    let bucket = Instrumented::new(Arc::new(faulty), metrics, Arc::new(Ticking::default()));
    for key in ["k", "k", "l", "m"] {
        // The fourth is refused.
        let _ = bucket.create(key, text("12345")).await;
    }
    bucket.get("k").await.expect("it answers");
    bucket.get("missing").await.expect("it answers");
    let mut page = Vec::new();
    TextEncoder::new()
        .encode(&registry.gather(), &mut page)
        .expect("it encodes");
    let page = String::from_utf8(page).expect("text");
    for line in [
        "elacsym_store_requests_total{operation=\"create\",outcome=\"created\"} 1",
        "elacsym_store_requests_total{operation=\"create\",outcome=\"exists\"} 1",
        "elacsym_store_requests_total{operation=\"create\",outcome=\"unknown\"} 1",
        "elacsym_store_requests_total{operation=\"create\",outcome=\"refused\"} 1",
        "elacsym_store_requests_total{operation=\"get\",outcome=\"missing\"} 1",
        "elacsym_store_request_seconds_count{operation=\"create\"} 4",
        "elacsym_store_request_seconds_sum{operation=\"get\"} 0.01",
        "elacsym_store_bytes_total{operation=\"get\"} 5",
        "elacsym_store_bytes_total{operation=\"create\"} 20",
    ] {
        assert!(
            page.lines().any(|found| found == line),
            "no `{line}` in\n{page}"
        );
    }
}

#[tokio::test]
async fn decorators_keep_the_date_of_a_missing_object() {
    let dated = || -> Arc<dyn Bucket> {
        Arc::new(Dated::new(memory(), StoreKind::Http, 1_700_000_000_000))
    };
    let clock = || Arc::new(Ticking::default());
    let metrics = StoreMetrics::register(&Registry::new()).expect("a new registry");
    let decorated: [Arc<dyn Bucket>; 4] = [
        Arc::new(Retrying::new(
            dated(),
            IMPATIENT,
            clock(),
            Arc::new(Counted::default()),
        )),
        Arc::new(Counting::new(dated())),
        Arc::new(Instrumented::new(dated(), metrics, clock())),
        Arc::new(Faulty::new(dated(), FaultRates::default(), 1)),
    ];
    for bucket in decorated {
        for outcome in [bucket.get("k").await, bucket.get_range("k", 0..4).await] {
            let GetOutcome::Missing { store_date } = outcome.expect("it answers") else {
                panic!("{bucket:?}: expected nothing");
            };
            let expected = Some(Timestamp(1_700_000_000_000));
            assert_eq!(store_date, expected, "{bucket:?}");
        }
    }
}
