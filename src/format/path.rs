//! Every key the project ever writes, built and parsed here only.
//!
//! Format: `docs/format/paths.md`.

use crate::error::{Error, Result};
use crate::types::{NamespaceId, NamespaceName, SlotName, WalSeq};

/// The store's own object: its id, and which laws it has passed.
pub const STORE: &str = "STORE";
/// An object that only asks whether the store takes writes; removed at once.
pub fn probe(number: u128) -> String {
    format!("probe/{number:032x}")
}

/// Where names live.
pub const NAMES: &str = "names/";

/// All keys of one name: its records, then `~hint`. `!` sorts below every legal name byte, so a listing of
/// `names/` is in name order.
pub fn name_prefix(name: &NamespaceName) -> String {
    format!("{NAMES}{name}!/")
}

/// The k-th record of a name, k from 1.
pub fn name_record(name: &NamespaceName, k: u64) -> String {
    format!("{NAMES}{name}!/{k:08}")
}

/// The advisory hint of a name.
pub fn name_hint(name: &NamespaceName) -> String {
    format!("{NAMES}{name}!/~hint")
}

/// What a key under `names/` is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NameKey {
    /// Record k: odd creates, even drops.
    Record(u64),
    /// The hint.
    Hint,
}

/// Parses a key under `names/`.
pub fn parse_name_key(key: &str) -> Result<(NamespaceName, NameKey)> {
    let strange = || Error::corrupted(format!("object `{key}` is not a name record"));
    let (name, rest) = key
        .strip_prefix(NAMES)
        .and_then(|rest| rest.split_once("!/"))
        .ok_or_else(strange)?;
    let name = NamespaceName::parse(name).map_err(|_| strange())?;
    if rest == "~hint" {
        return Ok((name, NameKey::Hint));
    }
    let k = rest.parse::<u64>().map_err(|_| strange())?;
    if k == 0 || name_record(&name, k) != key {
        return Err(strange());
    }
    Ok((name, NameKey::Record(k)))
}

/// A namespace's permanent birth record.
pub fn genesis(id: NamespaceId) -> String {
    format!("ns/{id}/genesis")
}

/// A slot of its log.
pub fn slot(id: NamespaceId, slot: SlotName) -> String {
    format!("ns/{id}/wal/{:012}/{:03}", slot.block, slot.idx)
}

/// All its slots.
pub fn wal_prefix(id: NamespaceId) -> String {
    format!("ns/{id}/wal/")
}

/// All its manifests, newest first in key order.
pub fn manifest_prefix(id: NamespaceId) -> String {
    format!("ns/{id}/manifest/")
}

/// The manifest of a state.
pub fn manifest(id: NamespaceId, seq: WalSeq) -> String {
    format!("ns/{id}/manifest/{:020}.1", u64::MAX - seq.0)
}

/// The state a manifest's key names.
pub fn parse_manifest(id: NamespaceId, key: &str) -> Result<WalSeq> {
    key.strip_prefix(&manifest_prefix(id))
        .and_then(|rest| rest.strip_suffix(".1"))
        .and_then(|digits| digits.parse::<u64>().ok())
        .map(|inverted| WalSeq(u64::MAX - inverted))
        .filter(|seq| manifest(id, *seq) == key)
        .ok_or_else(|| {
            Error::corrupted(format!("object `{key}` is not a manifest of this version"))
        })
}

/// The advisory copy of the newest manifest.
pub fn head(id: NamespaceId) -> String {
    format!("ns/{id}/head")
}
