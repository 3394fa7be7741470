//! Loading the newest readable manifest.

use crate::error::{Error, ErrorKind, Result};
use crate::format::{manifest as codec, path};
use crate::lsm::State;
use crate::store::{Bucket, Listed, read_proved};
use crate::types::{NamespaceId, WalSeq};

/// Where a state that was loaded came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The manifest of its sequence.
    Manifest,
    /// The copy beside the manifests, since the newest of them is damaged.
    Head,
}

/// Which manifests may be loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// Only those of states before this one.
    pub below: Option<WalSeq>,
    /// Whether the copy may stand for one that is damaged.
    pub head: bool,
}

impl Wanted {
    /// All of them.
    pub const ANY: Self = Self {
        below: None,
        head: true,
    };
}

/// What was found of manifests.
#[derive(Debug, Default)]
pub struct Found<T> {
    /// The states.
    pub states: T,
    /// What is wrong with those that were passed over, newest first.
    pub damaged: Vec<Error>,
}

/// Loads the newest manifest that can be read. Where the newest is damaged, the copy of it; where that is
/// damaged or older, an older one: the log is replayed from there.
///
/// Errors: `Unavailable`; `unknown_format` of any.
pub async fn load_newest(
    bucket: &dyn Bucket,
    id: NamespaceId,
    wanted: Wanted,
) -> Result<Found<Option<(State, Origin)>>> {
    let Found { states, damaged } = newest(bucket, id, 1, wanted.below).await?;
    let mut newest = states.into_iter().next();
    let mut origin = Origin::Manifest;
    if !damaged.is_empty()
        && wanted.head
        && let Some(copy) = load_head(bucket, id).await?
        && newest.as_ref().is_none_or(|known| known.seq < copy.seq)
        && wanted.below.is_none_or(|below| copy.seq < below)
    {
        tracing::warn!(namespace = %id, seq = %copy.seq, "the copy of a damaged manifest is read");
        (newest, origin) = (Some(copy), Origin::Head);
    }
    Ok(Found {
        states: newest.map(|state| (state, origin)),
        damaged,
    })
}

/// Loads the manifest of one state; `None` where there is none. Errors: `Unavailable`; `Corrupted`; `unknown_format`.
pub async fn load_at(bucket: &dyn Bucket, id: NamespaceId, seq: WalSeq) -> Result<Option<State>> {
    load_one(bucket, id, &path::manifest(id, seq), None).await
}

async fn newest(
    bucket: &dyn Bucket,
    id: NamespaceId,
    count: usize,
    below: Option<WalSeq>,
) -> Result<Found<Vec<State>>> {
    let mut found: Found<Vec<State>> = Found::default();
    for Listed { key, .. } in bucket.list(&path::manifest_prefix(id), None, None).await? {
        if found.states.len() == count {
            break;
        }
        match load_one(bucket, id, &key, below).await {
            Ok(state) => found.states.extend(state),
            Err(error) if error.kind() == ErrorKind::Corrupted => {
                tracing::error!(object_key = %key, error = %error, "manifest is damaged");
                found.damaged.push(error);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

/// `None` where it was deleted since it was listed, or is not below what is wanted.
async fn load_one(
    bucket: &dyn Bucket,
    id: NamespaceId,
    key: &str,
    below: Option<WalSeq>,
) -> Result<Option<State>> {
    let seq = path::parse_manifest(id, key)?;
    if below.is_some_and(|below| seq >= below) {
        return Ok(None);
    }
    let decode = |bytes: bytes::Bytes| codec::decode(key, Some(seq), &bytes);
    let read = read_proved(key, || bucket.get(key), decode);
    Ok(read.await?.found())
}

/// The copy of the newest manifest, where there is one that is whole.
async fn load_head(bucket: &dyn Bucket, id: NamespaceId) -> Result<Option<State>> {
    let key = path::head(id);
    let decode = |bytes: bytes::Bytes| codec::decode(&key, None, &bytes);
    match read_proved(&key, || bucket.get(&key), decode).await {
        Ok(read) => Ok(read.found()),
        Err(error) if error.kind() == ErrorKind::Corrupted => Ok(None),
        Err(error) => Err(error),
    }
}
