//! Tests of the store: the laws on every backend and decorator, and what each file promises.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use super::object::ObjectBucket;
use super::{Bucket, CreateOutcome};
use crate::types::{Clock, Entropy, Timestamp};

mod decorators;
mod faults;
mod laws;
mod local;
mod opening;
mod resolving;

/// Counts up: fresh on every draw, the same in every run.
#[derive(Debug, Default)]
struct Counted(AtomicU64);

impl Entropy for Counted {
    fn next_u128(&self) -> u128 {
        u128::from(self.0.fetch_add(1, Ordering::Relaxed))
    }
}

/// Advances by 5 ms each time somebody looks.
#[derive(Debug, Default)]
struct Ticking(AtomicU64);

impl Clock for Ticking {
    fn now(&self) -> Timestamp {
        Timestamp(0)
    }
    fn monotonic_ms(&self) -> u64 {
        self.0.fetch_add(5, Ordering::Relaxed)
    }
}

fn memory() -> Arc<dyn Bucket> {
    Arc::new(ObjectBucket::memory())
}

fn text(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

async fn body(bucket: &dyn Bucket, key: &str) -> Option<Bytes> {
    let fetched = bucket.get(key).await.expect("the store answers");
    fetched.into_bytes()
}

async fn create(bucket: &dyn Bucket, key: &str, bytes: &'static str) -> CreateOutcome {
    let outcome = bucket.create(key, text(bytes)).await;
    outcome.expect("the store answers")
}
