//! A namespace's log in the bucket: the shell around `lsm`'s machines.
//!
//! Owns: appending a slot, reading slots, checking anchors, the freshness proof.
//! Must not know: rows' meaning, requests, names. Read `append.rs` first.

mod advance;
mod append;
mod proof;

use std::sync::Arc;

use crate::error::Result;
use crate::format::{Slot, path, wal as codec};
use crate::lsm::Anchor;
use crate::store::{Bucket, Fetched, StoreKind};
use crate::types::{Clock, Entropy, NamespaceId, SlotName, Timestamp};

pub use advance::Advanced;
pub use append::Appended;
pub use proof::Proof;

/// The log of one namespace: a handle without state of its own.
#[derive(Debug, Clone)]
pub struct Wal {
    bucket: Arc<dyn Bucket>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    id: NamespaceId,
    may_skip_anchor: bool,
}

/// A slot that was read, and the store's clock at that moment.
type ReadSlot = (Option<Slot>, Option<Timestamp>);

impl Wal {
    /// Makes a handle; `always_check` turns the freshness rule off.
    pub fn new(
        bucket: Arc<dyn Bucket>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        id: NamespaceId,
        always_check: bool,
    ) -> Self {
        // A store without a clock of its own cannot prove freshness; a local one has no grace to rely on.
        let may_skip_anchor = bucket.kind() == StoreKind::Http && !always_check;
        Self {
            bucket,
            clock,
            entropy,
            id,
            may_skip_anchor,
        }
    }

    /// Which namespace's log it is.
    pub fn id(&self) -> NamespaceId {
        self.id
    }

    /// The bucket it lies in.
    pub fn bucket(&self) -> &dyn Bucket {
        &*self.bucket
    }

    /// Reads one slot, whole and verified; `None` where there is none.
    ///
    /// Errors: `Unavailable`; `Corrupted` naming the object.
    pub async fn read_slot(&self, slot: SlotName) -> Result<Option<Slot>> {
        Ok(self.read_slot_dated(slot).await?.0)
    }

    async fn read_slot_dated(&self, slot: SlotName) -> Result<ReadSlot> {
        let key = path::slot(self.id, slot);
        match self.bucket.get(&key).await? {
            None => Ok((None, None)),
            Some(Fetched { bytes, store_date }) => {
                let decoded = codec::decode(&key, &bytes)?;
                Ok((Some(decoded), store_date))
            }
        }
    }

    /// Whether an anchor holds, by a read that starts now.
    ///
    /// Errors: `Unavailable`.
    pub async fn anchor_holds(&self, anchor: Anchor) -> Result<bool> {
        match anchor {
            Anchor::Head { slot, nonce } => {
                let key = path::slot(self.id, slot);
                let header = 0..codec::HEADER_BYTES as u64;
                let Some(found) = self.bucket.get_range(&key, header).await? else {
                    return Ok(false);
                };
                let head = codec::decode_header(&key, &found.bytes)?;
                Ok(head.nonce == nonce)
            }
            Anchor::NoManifest => {
                let prefix = path::manifest_prefix(self.id);
                let found = self.bucket.list(&prefix, None, Some(1)).await?;
                Ok(found.is_empty())
            }
        }
    }
}
