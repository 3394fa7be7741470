//! Metrics of a bucket: requests by operation and outcome, seconds and bytes by operation.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry};

use super::{Bucket, CreateOutcome, GetOutcome, Listed, StoreError, StoreKind};
use crate::error::{Error, Result};
use crate::types::Clock;

/// Upper bounds of the latency buckets, seconds: a local fsync to a slow cross-region reply.
const SECONDS_BUCKETS: [f64; 12] = [
    0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0,
];

/// The metric families of all stores of a process. Cloning shares them.
#[derive(Debug, Clone)]
pub struct StoreMetrics {
    requests: IntCounterVec,
    seconds: HistogramVec,
    bytes: IntCounterVec,
}

impl StoreMetrics {
    /// Makes the families and registers them.
    ///
    /// Errors: `Internal` where the registry has them already.
    pub fn register(registry: &Registry) -> Result<Self> {
        let metrics = Self::new().map_err(broken)?;
        for family in [&metrics.requests, &metrics.bytes] {
            registry
                .register(Box::new(family.clone()))
                .map_err(broken)?;
        }
        registry
            .register(Box::new(metrics.seconds.clone()))
            .map_err(broken)?;
        Ok(metrics)
    }

    fn new() -> prometheus::Result<Self> {
        Ok(Self {
            requests: IntCounterVec::new(
                Opts::new(
                    "elacsym_store_requests_total",
                    "Store requests by operation and outcome.",
                ),
                &["operation", "outcome"],
            )?,
            seconds: HistogramVec::new(
                HistogramOpts::new(
                    "elacsym_store_request_seconds",
                    "Time until a store request was answered, by operation.",
                )
                .buckets(SECONDS_BUCKETS.to_vec()),
                &["operation"],
            )?,
            bytes: IntCounterVec::new(
                Opts::new(
                    "elacsym_store_bytes_total",
                    "Object bytes moved to or from the store, by operation.",
                ),
                &["operation"],
            )?,
        })
    }
}

fn broken(error: prometheus::Error) -> Error {
    Error::internal("store metrics could not be registered").with_source(error)
}

/// A bucket that records what is asked of it.
#[derive(Debug, Clone)]
pub struct Instrumented {
    inner: Arc<dyn Bucket>,
    metrics: StoreMetrics,
    clock: Arc<dyn Clock>,
}

impl Instrumented {
    /// Wraps a bucket.
    pub fn new(inner: Arc<dyn Bucket>, metrics: StoreMetrics, clock: Arc<dyn Clock>) -> Self {
        Self {
            inner,
            metrics,
            clock,
        }
    }

    fn record(&self, operation: &'static str, started_ms: u64, outcome: &str, n_bytes: usize) {
        let spent_ms = self.clock.monotonic_ms().saturating_sub(started_ms);
        let metrics = &self.metrics;
        metrics
            .requests
            .with_label_values(&[operation, outcome])
            .inc();
        metrics
            .seconds
            .with_label_values(&[operation])
            .observe(spent_ms as f64 / 1_000.0);
        metrics
            .bytes
            .with_label_values(&[operation])
            .inc_by(n_bytes as u64);
    }

    fn record_fetch(
        &self,
        operation: &'static str,
        started_ms: u64,
        outcome: &Result<GetOutcome, StoreError>,
    ) {
        let (label, n_bytes) = match outcome {
            Ok(GetOutcome::Found(fetched)) => ("ok", fetched.bytes.len()),
            Ok(GetOutcome::Missing { .. }) => ("missing", 0),
            Err(error) => (label_of(error), 0),
        };
        self.record(operation, started_ms, label, n_bytes);
    }
}

fn label_of(error: &StoreError) -> &'static str {
    match error {
        StoreError::Determinate { .. } => "refused",
        StoreError::Indeterminate { .. } => "failed",
    }
}

fn label<T>(outcome: &Result<T, StoreError>) -> &'static str {
    match outcome {
        Ok(_) => "ok",
        Err(error) => label_of(error),
    }
}

#[async_trait]
impl Bucket for Instrumented {
    async fn create(&self, key: &str, bytes: Bytes) -> Result<CreateOutcome, StoreError> {
        let started_ms = self.clock.monotonic_ms();
        let n_bytes = bytes.len();
        let outcome = self.inner.create(key, bytes).await;
        let label = match &outcome {
            Ok(CreateOutcome::Created { .. }) => "created",
            Ok(CreateOutcome::Exists) => "exists",
            Ok(CreateOutcome::Unknown(_)) => "unknown",
            Err(error) => label_of(error),
        };
        self.record("create", started_ms, label, n_bytes);
        outcome
    }

    async fn put(&self, key: &str, bytes: Bytes) -> Result<(), StoreError> {
        let started_ms = self.clock.monotonic_ms();
        let n_bytes = bytes.len();
        let outcome = self.inner.put(key, bytes).await;
        self.record("put", started_ms, label(&outcome), n_bytes);
        outcome
    }

    async fn get(&self, key: &str) -> Result<GetOutcome, StoreError> {
        let started_ms = self.clock.monotonic_ms();
        let outcome = self.inner.get(key).await;
        self.record_fetch("get", started_ms, &outcome);
        outcome
    }

    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<GetOutcome, StoreError> {
        let started_ms = self.clock.monotonic_ms();
        let outcome = self.inner.get_range(key, range).await;
        self.record_fetch("get_range", started_ms, &outcome);
        outcome
    }

    async fn list(
        &self,
        prefix: &str,
        start_after: Option<&str>,
        limit: Option<usize>,
    ) -> Result<Vec<Listed>, StoreError> {
        let started_ms = self.clock.monotonic_ms();
        let outcome = self.inner.list(prefix, start_after, limit).await;
        self.record("list", started_ms, label(&outcome), 0);
        outcome
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        let started_ms = self.clock.monotonic_ms();
        let outcome = self.inner.delete(key).await;
        self.record("delete", started_ms, label(&outcome), 0);
        outcome
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
