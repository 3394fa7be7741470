//! Counts requests and bytes: of a whole bucket, and of the request that is being served.
//!
//! A request's share is handed down with the task: `RequestCounter::scope` wraps the request's future,
//! and every `Counting` bucket used inside it adds to that counter too. A spawned task is outside of
//! the scope unless it is wrapped again with `RequestCounter::current`.

use std::ops::{Range, Sub};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;

use super::{Bucket, CreateOutcome, GetOutcome, Listed, StoreError, StoreKind};

/// Requests by operation, and bytes; `later - earlier` is what happened in between.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StoreCounts {
    /// Creates asked.
    pub create: u64,
    /// Unconditional puts asked.
    pub put: u64,
    /// Whole objects asked.
    pub get: u64,
    /// Ranges asked.
    pub get_range: u64,
    /// Listings asked; a long one is several requests on the wire.
    pub list: u64,
    /// Deletes asked.
    pub delete: u64,
    /// Body bytes received.
    pub read_bytes: u64,
    /// Body bytes sent, whatever became of them.
    pub written_bytes: u64,
}

impl StoreCounts {
    /// All requests together.
    pub fn requests(&self) -> u64 {
        self.create + self.put + self.get + self.get_range + self.list + self.delete
    }
}

impl Sub for StoreCounts {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self {
            create: self.create.saturating_sub(earlier.create),
            put: self.put.saturating_sub(earlier.put),
            get: self.get.saturating_sub(earlier.get),
            get_range: self.get_range.saturating_sub(earlier.get_range),
            list: self.list.saturating_sub(earlier.list),
            delete: self.delete.saturating_sub(earlier.delete),
            read_bytes: self.read_bytes.saturating_sub(earlier.read_bytes),
            written_bytes: self.written_bytes.saturating_sub(earlier.written_bytes),
        }
    }
}

#[derive(Debug, Default)]
struct Cells {
    create: AtomicU64,
    put: AtomicU64,
    get: AtomicU64,
    get_range: AtomicU64,
    list: AtomicU64,
    delete: AtomicU64,
    read_bytes: AtomicU64,
    written_bytes: AtomicU64,
}

/// A counter shared by everything one request (or one bucket) does. Cloning shares it.
#[derive(Debug, Clone, Default)]
pub struct RequestCounter(Arc<Cells>);

tokio::task_local! {
    static CURRENT: RequestCounter;
}

impl RequestCounter {
    /// Runs a future so that the store requests it makes are counted here.
    pub async fn scope<F: Future>(&self, future: F) -> F::Output {
        CURRENT.scope(self.clone(), future).await
    }

    /// The counter of the request being served, where there is one; hand it to spawned tasks.
    pub fn current() -> Option<Self> {
        CURRENT.try_with(Self::clone).ok()
    }

    /// What was counted so far.
    pub fn snapshot(&self) -> StoreCounts {
        let read = |cell: &AtomicU64| cell.load(Ordering::Relaxed);
        StoreCounts {
            create: read(&self.0.create),
            put: read(&self.0.put),
            get: read(&self.0.get),
            get_range: read(&self.0.get_range),
            list: read(&self.0.list),
            delete: read(&self.0.delete),
            read_bytes: read(&self.0.read_bytes),
            written_bytes: read(&self.0.written_bytes),
        }
    }
}

/// A bucket that counts what is asked of it.
#[derive(Debug, Clone)]
pub struct Counting {
    inner: Arc<dyn Bucket>,
    total: RequestCounter,
}

impl Counting {
    /// Wraps a bucket.
    pub fn new(inner: Arc<dyn Bucket>) -> Self {
        Self {
            inner,
            total: RequestCounter::default(),
        }
    }

    /// What was asked so far, by everybody.
    pub fn snapshot(&self) -> StoreCounts {
        self.total.snapshot()
    }

    fn add(&self, cell: impl Fn(&Cells) -> &AtomicU64, n: u64) {
        cell(&self.total.0).fetch_add(n, Ordering::Relaxed);
        // Outside of a request there is nobody else to tell.
        let _ = CURRENT.try_with(|current| cell(&current.0).fetch_add(n, Ordering::Relaxed));
    }

    fn received(&self, outcome: GetOutcome) -> GetOutcome {
        outcome.map_bytes(|bytes| {
            self.add(|cells| &cells.read_bytes, bytes.len() as u64);
            bytes
        })
    }
}

#[async_trait]
impl Bucket for Counting {
    async fn create(&self, key: &str, bytes: Bytes) -> Result<CreateOutcome, StoreError> {
        self.add(|cells| &cells.create, 1);
        self.add(|cells| &cells.written_bytes, bytes.len() as u64);
        self.inner.create(key, bytes).await
    }

    async fn put(&self, key: &str, bytes: Bytes) -> Result<(), StoreError> {
        self.add(|cells| &cells.put, 1);
        self.add(|cells| &cells.written_bytes, bytes.len() as u64);
        self.inner.put(key, bytes).await
    }

    async fn get(&self, key: &str) -> Result<GetOutcome, StoreError> {
        self.add(|cells| &cells.get, 1);
        let outcome = self.inner.get(key).await?;
        Ok(self.received(outcome))
    }

    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<GetOutcome, StoreError> {
        self.add(|cells| &cells.get_range, 1);
        let outcome = self.inner.get_range(key, range).await?;
        Ok(self.received(outcome))
    }

    async fn list(
        &self,
        prefix: &str,
        start_after: Option<&str>,
        limit: Option<usize>,
    ) -> Result<Vec<Listed>, StoreError> {
        self.add(|cells| &cells.list, 1);
        self.inner.list(prefix, start_after, limit).await
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.add(|cells| &cells.delete, 1);
        self.inner.delete(key).await
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
