//! Loading the newest readable manifest.

use crate::error::{ErrorKind, Result};
use crate::format::{manifest as codec, path};
use crate::lsm::State;
use crate::store::{Bucket, GetOutcome};
use crate::types::NamespaceId;

/// Loads the newest manifest that can be read, an older one where the newest is damaged (the log is
/// replayed from there); `None` where there is none at all.
///
/// Errors: `Unavailable`; the newest one's `Corrupted` where all are damaged.
pub async fn load_newest(bucket: &dyn Bucket, id: NamespaceId) -> Result<Option<State>> {
    let mut newest_error = None;
    for listed in bucket.list(&path::manifest_prefix(id), None, None).await? {
        let Some(found) = bucket.get(&listed.key).await?.found() else {
            continue; // deleted since the listing: a newer one exists
        };
        let decoded = path::parse_manifest(id, &listed.key)
            .and_then(|seq| codec::decode(&listed.key, Some(seq), &found.bytes));
        match decoded {
            Ok(state) => return Ok(Some(state)),
            Err(error) if error.code() == "unknown_format" => return Err(error),
            Err(error) => {
                tracing::error!(object_key = %listed.key, error = %error, "manifest is damaged");
                newest_error.get_or_insert(error);
            }
        }
    }
    newest_error.map_or(Ok(None), Err)
}

/// Loads the newest `count` manifests that can be read, newest first; damaged ones are passed over.
///
/// Errors: `Unavailable`; `unknown_format` of any.
pub async fn load_newest_of(
    bucket: &dyn Bucket,
    id: NamespaceId,
    count: usize,
) -> Result<Vec<State>> {
    let mut states = Vec::new();
    for listed in bucket.list(&path::manifest_prefix(id), None, None).await? {
        if states.len() == count {
            break;
        }
        match load_one(bucket, id, &listed.key).await {
            Ok(state) => states.extend(state),
            Err(error) if error.code() == "unknown_format" => return Err(error),
            Err(error) if error.kind() == ErrorKind::Corrupted => {
                tracing::error!(object_key = %listed.key, error = %error, "manifest is damaged");
            }
            Err(error) => return Err(error),
        }
    }
    Ok(states)
}

/// `None` where it was deleted since it was listed.
async fn load_one(bucket: &dyn Bucket, id: NamespaceId, key: &str) -> Result<Option<State>> {
    match bucket.get(key).await? {
        GetOutcome::Missing { .. } => Ok(None),
        GetOutcome::Found(found) => {
            let seq = path::parse_manifest(id, key)?;
            codec::decode(key, Some(seq), &found.bytes).map(Some)
        }
    }
}
