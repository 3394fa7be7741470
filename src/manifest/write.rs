//! Writing the manifest of a state.

use bytes::Bytes;

use crate::error::{Error, Result};
use crate::format::record::{self, Hint};
use crate::format::{manifest as codec, path};
use crate::lsm::State;
use crate::runtime::{FailPoint, failpoint};
use crate::store::{Bucket, Resolved, create_once};
use crate::types::{NamespaceId, NamespaceName};

/// What a manifest write found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// The manifest is there, with our bytes.
    Done,
    /// The manifest is there with other bytes: two nodes disagree about one state.
    Diverged,
}

/// Writes the manifest of `state`, then its advisory copies: `head`, and the name's hint.
///
/// Idempotent: every node writes the same bytes. Errors: `Unavailable`, `OutcomeUnknown`; nothing depends
/// on it, the log says it all.
pub async fn write(
    bucket: &dyn Bucket,
    id: NamespaceId,
    name: &NamespaceName,
    state: &State,
) -> Result<Written> {
    let bytes = Bytes::from(codec::encode(state));
    let key = path::manifest(id, state.seq);
    let creating = failpoint::reach(FailPoint::C1);
    if creating.before().await.is_some() {
        return Err(Error::unavailable("failpoint c1"));
    }
    let resolved = create_once(bucket, &key, bytes.clone()).await?;
    if creating.after().await.is_some() {
        return Err(Error::outcome_unknown("failpoint c1"));
    }
    if let Resolved::Other(_) = resolved {
        tracing::error!(object_key = %key, "manifest differs from the state it stands for");
        return Ok(Written::Diverged);
    }
    let putting = failpoint::reach(FailPoint::C2);
    if putting.before().await.is_some() {
        return Err(Error::unavailable("failpoint c2"));
    }
    bucket.put(&path::head(id), bytes).await?;
    if putting.after().await.is_some() {
        return Err(Error::unavailable("failpoint c2"));
    }
    let hint = Hint {
        namespace: id,
        state: state.clone(),
    };
    let hint = Bytes::from(record::encode(&hint));
    bucket.put(&path::name_hint(name), hint).await?;
    Ok(Written::Done)
}
