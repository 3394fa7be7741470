//! Repeats what is safe to repeat: reads, listings, deletes and unconditional puts. Never a create.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use super::{Bucket, CreateOutcome, GetOutcome, Listed, StoreError, StoreKind};
use crate::runtime::clock::sleep_ms;
use crate::types::{Clock, Entropy};

/// How much patience an operation has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Most tries, the first one counted; at least 1.
    pub tries_max: u32,
    /// No further try starts after this many milliseconds.
    pub total_ms_max: u64,
    /// Longest wait before the second try, milliseconds; doubles with each try.
    pub backoff_ms_first: u64,
    /// Longest wait of all, milliseconds.
    pub backoff_ms_max: u64,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            tries_max: 4,
            total_ms_max: 15_000,
            backoff_ms_first: 50,
            backoff_ms_max: 2_000,
        }
    }
}

impl RetryPolicy {
    /// The wait after `n_failed` failures, milliseconds: anything from nothing to the doubled bound, so
    /// that many waiters do not come back together.
    pub fn backoff_ms(&self, n_failed: u32, random: u128) -> u64 {
        let doubled = self
            .backoff_ms_first
            .saturating_mul(1_u64 << n_failed.saturating_sub(1).min(32));
        let bound = doubled.min(self.backoff_ms_max);
        (random % (u128::from(bound) + 1)) as u64
    }
}

/// A bucket whose idempotent operations are tried again when the failure may pass.
#[derive(Debug, Clone)]
pub struct Retrying {
    inner: Arc<dyn Bucket>,
    policy: RetryPolicy,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

impl Retrying {
    /// Wraps a bucket.
    pub fn new(
        inner: Arc<dyn Bucket>,
        policy: RetryPolicy,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Self {
        Self {
            inner,
            policy,
            clock,
            entropy,
        }
    }

    async fn repeat<T, F>(&self, attempt: impl Fn() -> F + Send + Sync) -> Result<T, StoreError>
    where
        T: Send,
        F: Future<Output = Result<T, StoreError>> + Send,
    {
        let started = self.clock.monotonic_ms();
        let mut n_failed = 0;
        loop {
            let error = match attempt().await {
                Err(error) if error.may_pass() => error,
                decided => return decided,
            };
            n_failed += 1;
            let wait_ms = self.policy.backoff_ms(n_failed, self.entropy.next_u128());
            let spent_ms = self.clock.monotonic_ms().saturating_sub(started);
            let in_time = spent_ms.saturating_add(wait_ms) <= self.policy.total_ms_max;
            if n_failed >= self.policy.tries_max || !in_time {
                return Err(error);
            }
            if wait_ms > 0 {
                sleep_ms(wait_ms).await;
            }
        }
    }
}

#[async_trait]
impl Bucket for Retrying {
    async fn create(&self, key: &str, bytes: Bytes) -> Result<CreateOutcome, StoreError> {
        self.inner.create(key, bytes).await
    }

    async fn put(&self, key: &str, bytes: Bytes) -> Result<(), StoreError> {
        self.repeat(|| self.inner.put(key, bytes.clone())).await
    }

    async fn get(&self, key: &str) -> Result<GetOutcome, StoreError> {
        self.repeat(|| self.inner.get(key)).await
    }

    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<GetOutcome, StoreError> {
        self.repeat(|| self.inner.get_range(key, range.clone()))
            .await
    }

    async fn list(
        &self,
        prefix: &str,
        start_after: Option<&str>,
        limit: Option<usize>,
    ) -> Result<Vec<Listed>, StoreError> {
        self.repeat(|| self.inner.list(prefix, start_after, limit))
            .await
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.repeat(|| self.inner.delete(key)).await
    }

    async fn let_go(&self, key: &str) {
        self.inner.let_go(key).await;
    }

    fn kind(&self) -> StoreKind {
        self.inner.kind()
    }

    fn url(&self) -> &str {
        self.inner.url()
    }
}
