//! Building the parts that every command shares: the runtime, the store with its decorators.

use std::sync::Arc;

use bytes::Bytes;
use uuid::Uuid;

use crate::config::{Secret, Settings, StorageSettings};
use crate::error::{Error, ErrorKind, Result};
use crate::format::path;
use crate::format::record::{self, StoreRecord};
use crate::runtime::{OsEntropy, SystemClock};
use crate::store::instrument::{Instrumented, StoreMetrics};
use crate::store::retry::{RetryPolicy, Retrying};
use crate::store::{Bucket, StoreOptions, conformance, count::Counting, create_once, open, probe};
use crate::telemetry::Metrics;
use crate::types::{Clock, Entropy, NamespaceId};

/// Version of the law list that a store must have passed before it is served.
const CONFORMANCE: u32 = 1;

/// The parts below the engine.
#[derive(Debug, Clone)]
pub(super) struct Parts {
    pub(super) bucket: Arc<dyn Bucket>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) entropy: Arc<dyn Entropy>,
    pub(super) metrics: Arc<Metrics>,
}

/// Makes the runtime that all commands run on.
pub(super) fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::internal("cannot start the async runtime").with_source(error))
}

/// Opens the store: backend, then metrics, then retries, then counts of one request.
pub(super) async fn parts(settings: &Settings) -> Result<Parts> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let entropy: Arc<dyn Entropy> = Arc::new(OsEntropy);
    let metrics = Arc::new(Metrics::new()?);
    let storage = &settings.storage;
    let backend = open(&storage.url, &options(storage)).await?;
    let store_metrics = StoreMetrics::register(metrics.registry())?;
    let seen = Arc::new(Instrumented::new(
        backend,
        store_metrics,
        Arc::clone(&clock),
    ));
    let policy = RetryPolicy {
        tries_max: storage.retry_max_tries,
        total_ms_max: storage.retry_budget_ms,
        ..RetryPolicy::default()
    };
    let retrying = Retrying::new(seen, policy, Arc::clone(&clock), Arc::clone(&entropy));
    Ok(Parts {
        bucket: Arc::new(Counting::new(Arc::new(retrying))),
        clock,
        entropy,
        metrics,
    })
}

fn options(storage: &StorageSettings) -> StoreOptions {
    StoreOptions {
        endpoint: storage.endpoint.clone(),
        region: storage.region.clone(),
        access_key_id: storage.access_key_id.clone(),
        secret_access_key: storage
            .secret_access_key
            .as_ref()
            .map(Secret::expose)
            .map(str::to_owned),
        allow_http: storage.allow_http,
        request_timeout_ms: storage.request_timeout_ms,
        // `Retrying` above it repeats and is seen by the metrics; the client itself does not.
        retries_max: 0,
        ..StoreOptions::default()
    }
}

/// Makes sure that there is something to look at: opening makes a missing directory, which is right for a
/// server and wrong for a look at a mistyped one.
///
/// Errors: `NotFound`.
pub(super) async fn must_exist(url: &str) -> Result<()> {
    if open::exists(url).await? {
        return Ok(());
    }
    let message = format!("directory `{url}` was not found");
    Err(Error::new(ErrorKind::NotFound, "object_not_found", message))
}

/// Makes sure that the store keeps the laws; a store that has passed them says so in its `STORE` object.
///
/// Errors: `Unavailable` naming the store and the law it breaks.
pub(super) async fn ensure_conformance(parts: &Parts) -> Result<()> {
    let bucket = &*parts.bucket;
    if let Some(found) = bucket.get(path::STORE).await?.found() {
        let known: StoreRecord = record::decode(path::STORE, &found.bytes)?;
        if known.conformance >= CONFORMANCE {
            return Ok(());
        }
    }
    check_laws(parts).await?;
    let passed = StoreRecord {
        store: NamespaceId(Uuid::from_u128(parts.entropy.next_u128())),
        conformance: CONFORMANCE,
    };
    // Another node may pass the same test at the same time: either record will do.
    create_once(bucket, path::STORE, Bytes::from(record::encode(&passed))).await?;
    Ok(())
}

/// Bytes of the first write to a store: more than any object of the laws, so that a store without room is
/// called full and not lawless.
const FIRST_WRITE_BYTES: usize = 1 << 20;

/// Runs the list of laws.
///
/// Errors: `Unavailable` naming the store and what it said to a first write, or the law it breaks.
pub(super) async fn check_laws(parts: &Parts) -> Result<()> {
    let key = path::probe(parts.entropy.next_u128());
    probe(&*parts.bucket, &key, FIRST_WRITE_BYTES)
        .await
        .map_err(|error| {
            let message = format!("store {} takes no writes: {error}", parts.bucket.url());
            Error::new(ErrorKind::Unavailable, "store_unavailable", message)
        })?;
    conformance::check(&*parts.bucket, &*parts.entropy)
        .await
        .map_err(|violation| {
            Error::new(
                ErrorKind::Unavailable,
                "store_unfit",
                format!("store {} cannot be used: {violation}", parts.bucket.url()),
            )
        })
}
