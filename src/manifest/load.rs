//! Loading the newest readable manifest.

use crate::error::{Error, ErrorKind, Result};
use crate::format::{manifest as codec, path};
use crate::lsm::State;
use crate::store::{Bucket, GetOutcome};
use crate::types::NamespaceId;

/// Loads the newest manifest that can be read, an older one where the newest is damaged (the log is
/// replayed from there); `None` where there is none at all.
///
/// Errors: `Unavailable`; the newest one's `Corrupted` where all are damaged.
pub async fn load_newest(bucket: &dyn Bucket, id: NamespaceId) -> Result<Option<State>> {
    let (mut states, damage) = newest(bucket, id, 1).await?;
    match (states.pop(), damage) {
        (None, Some(damage)) => Err(damage),
        (newest, _) => Ok(newest),
    }
}

/// Loads the newest `count` manifests that can be read, newest first; damaged ones are passed over.
///
/// Errors: `Unavailable`; `unknown_format` of any.
pub async fn load_newest_of(
    bucket: &dyn Bucket,
    id: NamespaceId,
    count: usize,
) -> Result<Vec<State>> {
    Ok(newest(bucket, id, count).await?.0)
}

/// The newest readable manifests, and what is wrong with the newest damaged one above them.
async fn newest(
    bucket: &dyn Bucket,
    id: NamespaceId,
    count: usize,
) -> Result<(Vec<State>, Option<Error>)> {
    let (mut states, mut damage) = (Vec::new(), None);
    for listed in bucket.list(&path::manifest_prefix(id), None, None).await? {
        if states.len() == count {
            break;
        }
        match load_one(bucket, id, &listed.key).await {
            Ok(state) => states.extend(state),
            Err(error) if error.kind() == ErrorKind::Corrupted => {
                tracing::error!(object_key = %listed.key, error = %error, "manifest is damaged");
                damage.get_or_insert(error);
            }
            Err(error) => return Err(error),
        }
    }
    Ok((states, damage))
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
