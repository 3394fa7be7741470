use std::sync::Arc;

use super::super::fault::{CreateFault, FaultRates, Faulty, Point};
use super::super::{Bucket, CreateOutcome};
use super::{body, create, memory, text};

#[tokio::test]
async fn script_decides_what_happens_to_each_create() {
    let cases = [
        (CreateFault::None, "created", true),
        (CreateFault::Refuse, "refused", false),
        (CreateFault::Lose, "unknown", false),
        (CreateFault::LoseAnswer, "unknown", true),
        (CreateFault::Late, "unknown", false),
        (CreateFault::Duplicate, "exists", true),
        (CreateFault::FalseExists, "exists", false),
    ];
    for (fault, expected, is_there) in cases {
        let inner = memory();
        let bucket = Faulty::scripted(inner.clone(), [(2, fault)]);
        create(&bucket, "first", "1").await;
        let told = match bucket.create("k", text("x")).await {
            Ok(CreateOutcome::Created { .. }) => "created",
            Ok(CreateOutcome::Exists) => "exists",
            Ok(CreateOutcome::Unknown(_)) => "unknown",
            Err(_) => "refused",
        };
        let found = body(inner.as_ref(), "k").await.is_some();
        assert_eq!((told, found), (expected, is_there), "{fault:?}");
        assert_eq!(bucket.n_creates(), 2);
    }
}

#[tokio::test]
async fn late_create_happens_when_delivered_and_never_when_dropped() {
    for delivered in [true, false] {
        let inner = memory();
        let bucket = Faulty::scripted(inner.clone(), [(1, CreateFault::Late)]);
        create(&bucket, "k", "late").await;
        assert_eq!(body(inner.as_ref(), "k").await, None);
        if !delivered {
            bucket.drop_late();
        }
        bucket.deliver_late().await;
        assert_eq!(body(inner.as_ref(), "k").await.is_some(), delivered);
    }
}

#[tokio::test]
async fn late_create_happens_during_a_later_operation() {
    let inner = memory();
    let bucket = Faulty::scripted(inner.clone(), [(1, CreateFault::Late)]);
    create(&bucket, "k", "late").await;
    for _ in 0..64 {
        bucket.get("other").await.expect("it answers");
    }
    assert_eq!(body(inner.as_ref(), "k").await, Some(text("late")));
}

#[tokio::test]
async fn faults_of_one_seed_are_the_same_again() {
    async fn trace(seed: u64) -> Vec<String> {
        let bucket = Faulty::new(memory(), FaultRates::network(), seed);
        let mut trace = Vec::new();
        for n in 0..200 {
            let key = format!("k{}", n % 50);
            trace.push(format!("{:?}", bucket.create(&key, text("x")).await));
            trace.push(format!("{:?}", bucket.get(&key).await));
        }
        trace
    }
    assert_eq!(trace(3).await, trace(3).await);
    assert_ne!(trace(3).await, trace(4).await);
}

#[tokio::test]
async fn truncated_body_is_shorter() {
    let rates = FaultRates {
        truncate: 1_000,
        ..FaultRates::default()
    };
    let bucket = Faulty::new(memory(), rates, 1);
    create(&bucket, "k", "0123456789").await;
    let found = body(&bucket, "k").await.expect("it is there");
    assert!(found.len() < 10 && b"0123456789".starts_with(&found));
}

#[tokio::test]
async fn pause_holds_one_operation_until_released() {
    let bucket = Arc::new(Faulty::new(memory(), FaultRates::default(), 1));
    let pause = bucket.pause(Point::AfterCreate, "slot");
    #[allow(clippy::disallowed_methods)] // joined below
    let writer = tokio::spawn({
        let bucket = bucket.clone();
        async move { create(bucket.as_ref(), "slot/1", "x").await }
    });
    pause.reached().await;
    assert!(!writer.is_finished());
    assert_eq!(body(bucket.as_ref(), "slot/1").await, Some(text("x")));
    pause.release();
    let outcome = writer.await.expect("it ends");
    assert!(matches!(outcome, CreateOutcome::Created { .. }));
    // A second operation passes.
    create(bucket.as_ref(), "slot/2", "y").await;
}
