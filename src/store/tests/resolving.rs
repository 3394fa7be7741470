use super::super::fault::{CreateFault, FaultRates, Faulty};
use super::super::{Resolved, create_once};
use super::{body, create, memory, text};
use crate::error::ErrorKind;

#[tokio::test]
async fn create_once_under_each_fault_is_ours() {
    for fault in [
        CreateFault::None,
        CreateFault::Lose,
        CreateFault::LoseAnswer,
        CreateFault::Late,
        CreateFault::Duplicate,
        CreateFault::FalseExists,
    ] {
        let inner = memory();
        let bucket = Faulty::scripted(inner.clone(), [(1, fault)]);
        let resolved = create_once(&bucket, "k", text("ours")).await;
        assert_eq!(resolved.expect("it resolves"), Resolved::Ours, "{fault:?}");
        assert_eq!(body(inner.as_ref(), "k").await, Some(text("ours")));
    }
}

#[tokio::test]
async fn create_once_after_another_gives_the_others_bytes() {
    for fault in [CreateFault::None, CreateFault::Lose, CreateFault::Duplicate] {
        let inner = memory();
        create(inner.as_ref(), "k", "theirs").await;
        let bucket = Faulty::scripted(inner, [(1, fault)]);
        let resolved = create_once(&bucket, "k", text("ours")).await;
        let resolved = resolved.expect("it resolves");
        assert_eq!(resolved, Resolved::Other(text("theirs")), "{fault:?}");
    }
}

#[tokio::test]
async fn create_once_refused_at_first_is_unavailable() {
    let bucket = Faulty::scripted(memory(), [(1, CreateFault::Refuse)]);
    let error = create_once(&bucket, "k", text("ours")).await;
    let error = error.expect_err("it is refused");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(body(&bucket, "k").await, None);
}

#[tokio::test]
async fn create_once_refused_after_doubt_is_outcome_unknown() {
    let script = [(1, CreateFault::Lose), (2, CreateFault::Refuse)];
    let bucket = Faulty::scripted(memory(), script);
    let error = create_once(&bucket, "k", text("ours")).await;
    let error = error.expect_err("nobody knows");
    assert_eq!(error.kind(), ErrorKind::OutcomeUnknown);
}

#[tokio::test]
async fn create_once_never_answered_gives_up_after_bounded_tries() {
    let script = (1..=100).map(|n| (n, CreateFault::Lose));
    let bucket = Faulty::scripted(memory(), script);
    let error = create_once(&bucket, "k", text("ours")).await;
    let error = error.expect_err("nobody knows");
    assert_eq!(error.kind(), ErrorKind::OutcomeUnknown);
    assert_eq!(bucket.n_creates(), 5);
}

#[tokio::test]
async fn create_once_by_many_under_faults_has_one_owner() {
    for seed in 0..50 {
        let inner = memory();
        let bucket = Faulty::new(inner.clone(), FaultRates::network(), seed);
        let one = create_once(&bucket, "k", text("one")).await;
        let two = create_once(&bucket, "k", text("two")).await;
        bucket.deliver_late().await;
        let held = body(inner.as_ref(), "k").await;
        for (mine, resolved) in [("one", one), ("two", two)] {
            match resolved {
                Ok(Resolved::Ours) => assert_eq!(held, Some(text(mine)), "seed {seed}"),
                Ok(Resolved::Other(other)) => assert_eq!(held, Some(other), "seed {seed}"),
                Err(error) if error.kind() == ErrorKind::Unavailable => {
                    assert_ne!(held, Some(text(mine)), "seed {seed}");
                }
                Err(error) => assert_eq!(error.kind(), ErrorKind::OutcomeUnknown),
            }
        }
    }
}
