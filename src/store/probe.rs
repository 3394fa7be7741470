//! Does the store take writes now? Asked by writing.

use bytes::Bytes;

use super::{Bucket, CreateOutcome, StoreError};

/// Creates `key`, of `bytes` zeros, and removes it again.
///
/// Errors: what the store said to either. Cancel safe: the object may stay behind.
pub async fn probe(bucket: &dyn Bucket, key: &str, bytes: usize) -> Result<(), StoreError> {
    let created = match bucket.create(key, Bytes::from(vec![0; bytes])).await {
        Ok(CreateOutcome::Created { .. } | CreateOutcome::Exists) => Ok(()),
        Ok(CreateOutcome::Unknown(error)) => Err(error),
        // Nothing was written: nothing to remove.
        Err(error) => return Err(error),
    };
    let removed = bucket.delete(key).await;
    created.and(removed)
}
