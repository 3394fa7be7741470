//! A namespace's log in the bucket: the shell around `lsm`'s machines.
//!
//! Owns: appending a slot, reading slots, checking anchors, the freshness proof.
//! Must not know: rows' meaning, requests, names. Read `append.rs` first.

mod advance;
mod append;
mod probe;
mod proof;

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::format::{Slot, path, wal as codec};
use crate::lsm::{Anchor, SlotHeader};
use crate::store::{Bucket, Proved, StoreKind, read_proved};
use crate::types::{Clock, Entropy, NamespaceId, SlotName, Timestamp};

pub use advance::Advanced;
pub use append::Appended;
pub use probe::Probed;
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

/// What reading a slot found.
#[derive(Debug)]
enum ReadSlot {
    /// The slot, whole and verified.
    Found(Box<Slot>),
    /// There is none.
    Missing {
        /// The store's clock when it said so, where it tells one.
        store_date: Option<Timestamp>,
    },
}

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
        Ok(match self.find_slot(slot).await? {
            ReadSlot::Found(slot) => Some(*slot),
            ReadSlot::Missing { .. } => None,
        })
    }

    async fn find_slot(&self, slot: SlotName) -> Result<ReadSlot> {
        let key = path::slot(self.id, slot);
        let decode = |bytes| {
            let found = codec::decode(&key, &bytes)?;
            in_place(&key, slot, &found.header)?;
            Ok(Box::new(found))
        };
        let read = read_proved(&key, || self.bucket.get(&key), decode);
        Ok(match read.await? {
            Proved::Missing { store_date } => ReadSlot::Missing { store_date },
            Proved::Found(found) => ReadSlot::Found(found),
        })
    }

    /// Whether a reply of this store date may stand without an anchor check.
    fn is_fresh(&self, proof: Proof, reply: Option<Timestamp>) -> bool {
        self.may_skip_anchor && proof.is_fresh(reply)
    }

    /// Whether an anchor holds, by a read that starts now.
    ///
    /// Errors: `Unavailable`.
    pub async fn anchor_holds(&self, anchor: Anchor) -> Result<bool> {
        match anchor {
            Anchor::Head { slot, nonce } => {
                let key = path::slot(self.id, slot);
                let header = 0..codec::HEADER_BYTES as u64;
                let decode = |bytes: bytes::Bytes| {
                    let head = codec::decode_header(&key, &bytes)?;
                    in_place(&key, slot, &head)?;
                    Ok(head.nonce)
                };
                let read = || self.bucket.get_range(&key, header.clone());
                let found = read_proved(&key, read, decode).await?.found();
                Ok(found == Some(nonce))
            }
            Anchor::NoManifest => {
                let prefix = path::manifest_prefix(self.id);
                let found = self.bucket.list(&prefix, None, Some(1)).await?;
                Ok(found.is_empty())
            }
        }
    }
}

/// A slot says where it lies: the bytes of another one are damage, however whole they are.
fn in_place(key: &str, slot: SlotName, found: &SlotHeader) -> Result<()> {
    if found.slot == slot {
        return Ok(());
    }
    Err(Error::corrupted(format!(
        "object `{key}` is damaged: place: expected {slot}, found {}",
        found.slot
    ))
    .with_detail("object", key)
    .with_detail("expected", format_args!("place: {slot}"))
    .with_detail("found", found.slot))
}
