//! Creating an object that has one possible content per owner: names, genesis, manifests.

use bytes::Bytes;

use super::{Bucket, CreateOutcome, GetOutcome, StoreError, StoreKind};
use crate::error::{Error, Result};
use crate::runtime::clock::sleep_ms;

/// How often an unclear create is tried again before its outcome is declared unknown.
const TRIES_MAX: u32 = 5;

/// Whose bytes lie under the key now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolved {
    /// Ours, byte for byte (an equal object of another writer counts as ours).
    Ours,
    /// Somebody else's.
    Other(Bytes),
}

/// Creates an object and finds out what happened: `Exists` and `Unknown` are answered by reading the
/// object back and comparing all bytes.
///
/// Only for keys that this owner never writes with two contents. Cancel safety: the object may or may
/// not appear; calling again with the same bytes answers `Ours` if it did.
///
/// Errors: `Unavailable` where certainly nothing was written, else `OutcomeUnknown`.
pub async fn create_once(bucket: &dyn Bucket, key: &str, bytes: Bytes) -> Result<Resolved> {
    let mut doubt: Option<StoreError> = None;
    for attempt in 0..TRIES_MAX {
        match bucket.create(key, bytes.clone()).await {
            Ok(CreateOutcome::Created { .. }) => return Ok(Resolved::Ours),
            Ok(CreateOutcome::Exists) => {}
            Ok(CreateOutcome::Unknown(error)) => doubt = Some(error),
            // Refused now; an attempt before this one may still appear.
            Err(error) => {
                return Err(match doubt {
                    Some(earlier) => outcome_unknown(key, earlier),
                    None => error.into(),
                });
            }
        }
        match bucket.get(key).await {
            Ok(GetOutcome::Found(found)) if found.bytes == bytes => return Ok(Resolved::Ours),
            Ok(GetOutcome::Found(found)) => return Ok(Resolved::Other(found.bytes)),
            // Not there: nothing was written, or not yet. The next create decides.
            Ok(GetOutcome::Missing { .. }) => pause(bucket.kind(), attempt).await,
            Err(error) => return Err(outcome_unknown(key, error)),
        }
    }
    let last = doubt.unwrap_or_else(|| {
        StoreError::indeterminate("create", key, "it exists by one answer and not by the next")
    });
    Err(outcome_unknown(key, last))
}

/// Gives a store over HTTP a moment; the others have decided when they answer.
async fn pause(kind: StoreKind, attempt: u32) {
    match kind {
        StoreKind::Http => sleep_ms(50 << attempt).await,
        StoreKind::Memory | StoreKind::Local => tokio::task::yield_now().await,
    }
}

fn outcome_unknown(key: &str, cause: StoreError) -> Error {
    Error::outcome_unknown(format!("nobody knows whether `{key}` was written: {cause}"))
        .with_retry_after_ms(1_000)
        .with_source(cause)
}
