use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use prometheus::Registry;

use super::super::conformance::{self, LAWS};
use super::super::count::Counting;
use super::super::fault::{FaultRates, Faulty};
use super::super::instrument::{Instrumented, StoreMetrics};
use super::super::local::LocalBucket;
use super::super::retry::{RetryPolicy, Retrying};
use super::super::{Bucket, CreateOutcome, GetOutcome, Listed, StoreError, StoreKind};
use super::{Counted, Ticking, memory};

async fn assert_lawful(bucket: &dyn Bucket) {
    let verdict = conformance::check(bucket, &Counted::default()).await;
    assert_eq!(verdict, Ok(()));
    let left = bucket.list("", None, None).await.expect("it lists");
    assert_eq!(left, [], "scratch objects were left behind");
}

#[tokio::test]
async fn laws_on_memory_hold() {
    assert_lawful(memory().as_ref()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn laws_on_local_hold() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let bucket = LocalBucket::open(dir.path()).await.expect("it opens");
    assert_lawful(&bucket).await;
}

#[tokio::test]
async fn laws_on_each_decorator_hold() {
    let clock = Arc::new(Ticking::default());
    let entropy = Arc::new(Counted::default());
    let metrics = StoreMetrics::register(&Registry::new()).expect("a new registry");
    let decorated: [Arc<dyn Bucket>; 4] = [
        Arc::new(Retrying::new(
            memory(),
            RetryPolicy::default(),
            clock.clone(),
            entropy,
        )),
        Arc::new(Counting::new(memory())),
        Arc::new(Instrumented::new(memory(), metrics, clock)),
        Arc::new(Faulty::new(memory(), FaultRates::default(), 1)),
    ];
    for bucket in decorated {
        assert_lawful(bucket.as_ref()).await;
    }
}

/// Which law a bucket breaks on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Vice {
    /// Looks first and writes later.
    CheckThenWrite,
    /// Overwrites on create.
    CreateOverwrites,
    /// Lists nothing new.
    ForgetsOneKey,
    /// Lists in reverse.
    ListsBackwards,
    /// Starts at the key itself.
    StartsAtKey,
    /// Answers a range with the whole object.
    IgnoresRange,
    /// Fails on a missing key.
    DeleteFails,
    /// Keeps the old bytes.
    PutKeeps,
}

#[derive(Debug)]
struct Broken {
    inner: Arc<dyn Bucket>,
    vice: Vice,
}

#[async_trait]
impl Bucket for Broken {
    async fn create(&self, key: &str, bytes: Bytes) -> Result<CreateOutcome, StoreError> {
        let created = Ok(CreateOutcome::Created { store_date: None });
        match self.vice {
            Vice::CheckThenWrite => {
                if !self.inner.get(key).await?.is_missing() {
                    return Ok(CreateOutcome::Exists);
                }
                tokio::task::yield_now().await;
                self.inner.put(key, bytes).await?;
                created
            }
            Vice::CreateOverwrites => {
                self.inner.put(key, bytes).await?;
                created
            }
            _ => self.inner.create(key, bytes).await,
        }
    }
    async fn put(&self, key: &str, bytes: Bytes) -> Result<(), StoreError> {
        if self.vice == Vice::PutKeeps {
            return self.inner.create(key, bytes).await.map(|_| ());
        }
        self.inner.put(key, bytes).await
    }
    async fn get(&self, key: &str) -> Result<GetOutcome, StoreError> {
        self.inner.get(key).await
    }
    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<GetOutcome, StoreError> {
        if self.vice == Vice::IgnoresRange {
            return self.inner.get(key).await;
        }
        self.inner.get_range(key, range).await
    }
    async fn list(
        &self,
        prefix: &str,
        start_after: Option<&str>,
        limit: Option<usize>,
    ) -> Result<Vec<Listed>, StoreError> {
        let start = match self.vice {
            Vice::StartsAtKey => start_after.map(|key| key[..key.len() - 1].to_owned()),
            _ => start_after.map(str::to_owned),
        };
        let mut rows = self.inner.list(prefix, start.as_deref(), limit).await?;
        match self.vice {
            Vice::ForgetsOneKey => drop(rows.pop()),
            Vice::ListsBackwards => rows.reverse(),
            _ => {}
        }
        Ok(rows)
    }
    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        if self.vice == Vice::DeleteFails && self.inner.get(key).await?.is_missing() {
            return Err(StoreError::determinate("delete", key, "no such key"));
        }
        self.inner.delete(key).await
    }
    fn kind(&self) -> StoreKind {
        StoreKind::Memory
    }
    fn url(&self) -> &str {
        "broken://"
    }
}

#[tokio::test]
async fn laws_on_broken_bucket_name_the_broken_law() {
    let cases = [
        (Vice::CheckThenWrite, "create_race"),
        (Vice::CreateOverwrites, "create_twice"),
        (Vice::ForgetsOneKey, "list_complete"),
        (Vice::ListsBackwards, "list_complete"),
        (Vice::StartsAtKey, "list_start_after"),
        (Vice::IgnoresRange, "ranges"),
        (Vice::DeleteFails, "delete_missing"),
        (Vice::PutKeeps, "put_overwrites"),
    ];
    for (vice, law) in cases {
        let inner = memory();
        let bucket = Broken { inner, vice };
        let violation = conformance::check(&bucket, &Counted::default())
            .await
            .expect_err("a broken bucket must be refused");
        assert_eq!(violation.law, law, "{vice:?}: {violation}");
        assert!(LAWS.iter().any(|(name, _)| *name == law));
    }
}

#[tokio::test]
async fn laws_under_network_faults_never_see_two_winners() {
    for seed in 0..20 {
        let bucket = Faulty::new(memory(), FaultRates::network(), seed);
        let verdict = conformance::check(&bucket, &Counted::default()).await;
        // Faults may cost an answer, but not the race.
        if let Err(violation) = verdict {
            // No winner at all is legal here: a duplicated create tells its own winner Exists.
            let no_winner = violation.found.starts_with("\"0 of");
            let two_winners = violation.expected.contains("exactly one") && !no_winner;
            assert!(!two_winners, "seed {seed}: {violation}");
        }
    }
}
