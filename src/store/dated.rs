//! A bucket in memory that tells the time as a store over HTTP does, by a clock that a test sets.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;

use super::{Bucket, CreateOutcome, Fetched, GetOutcome, Listed, StoreError, StoreKind};
use crate::types::Timestamp;

/// A bucket whose every reply carries a Date.
#[derive(Debug)]
pub(crate) struct Dated {
    inner: Arc<dyn Bucket>,
    now_ms: AtomicI64,
    kind: StoreKind,
    /// When each object was written last, by its clock.
    written: Mutex<BTreeMap<String, Timestamp>>,
}

impl Dated {
    /// Wraps a bucket; its clock starts at `now_ms` and stands until it is moved.
    pub(crate) fn new(inner: Arc<dyn Bucket>, kind: StoreKind, now_ms: i64) -> Self {
        Self {
            inner,
            now_ms: AtomicI64::new(now_ms),
            kind,
            written: Mutex::default(),
        }
    }

    /// Moves the clock on by so much, or back.
    pub(crate) fn pass_ms(&self, ms: i64) {
        self.now_ms.fetch_add(ms, Ordering::Relaxed);
    }

    fn note_written(&self, key: &str) {
        let now = Timestamp(self.now_ms.load(Ordering::Relaxed));
        self.written.lock().insert(key.to_owned(), now);
    }

    fn date(&self) -> Option<Timestamp> {
        Some(Timestamp(self.now_ms.load(Ordering::Relaxed)))
    }

    fn stamp(&self, outcome: GetOutcome) -> GetOutcome {
        let store_date = self.date();
        match outcome {
            GetOutcome::Found(Fetched { bytes, .. }) => {
                GetOutcome::Found(Fetched { bytes, store_date })
            }
            GetOutcome::Missing { .. } => GetOutcome::Missing { store_date },
        }
    }
}

#[async_trait]
impl Bucket for Dated {
    async fn create(&self, key: &str, bytes: Bytes) -> Result<CreateOutcome, StoreError> {
        Ok(match self.inner.create(key, bytes).await? {
            CreateOutcome::Created { .. } => {
                self.note_written(key);
                CreateOutcome::Created {
                    store_date: self.date(),
                }
            }
            other => other,
        })
    }

    async fn put(&self, key: &str, bytes: Bytes) -> Result<(), StoreError> {
        self.inner.put(key, bytes).await?;
        self.note_written(key);
        Ok(())
    }

    async fn get(&self, key: &str) -> Result<GetOutcome, StoreError> {
        Ok(self.stamp(self.inner.get(key).await?))
    }

    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<GetOutcome, StoreError> {
        Ok(self.stamp(self.inner.get_range(key, range).await?))
    }

    async fn list(
        &self,
        prefix: &str,
        start_after: Option<&str>,
        limit: Option<usize>,
    ) -> Result<Vec<Listed>, StoreError> {
        let mut listed = self.inner.list(prefix, start_after, limit).await?;
        let written = self.written.lock();
        for object in &mut listed {
            object.last_modified = *written.get(&object.key).unwrap_or(&object.last_modified);
        }
        Ok(listed)
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.inner.delete(key).await
    }

    fn kind(&self) -> StoreKind {
        self.kind
    }

    fn url(&self) -> &str {
        self.inner.url()
    }
}
