//! Every key the project ever writes, built and parsed here only.
//!
//! Format: `docs/format/paths.md`.

use serde::{Deserialize, Serialize};
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_128;

use crate::error::{Error, Result};
use crate::types::{NamespaceId, NamespaceName, SlotName, Timestamp, WalSeq};

/// The store's own object: its id, and which laws it has passed.
pub const STORE: &str = "STORE";
/// An object that only asks whether the store takes writes; removed at once.
pub fn probe(number: u128) -> String {
    format!("probe/{number:032x}")
}

/// Where quarantine markers live.
pub const QUARANTINE: &str = "quarantine/";

/// All markers of objects of one namespace.
pub fn quarantine_prefix(id: NamespaceId) -> String {
    format!("{QUARANTINE}{id}/")
}

/// The marker of a damaged object: one for each, by the hash of its key. Those of objects of no namespace lie
/// under the nil UUID.
pub fn quarantine(object: &str) -> String {
    let hash = xxh3_128(object.as_bytes());
    format!("{}{hash:032x}", quarantine_prefix(namespace_of(object)))
}

/// The namespace that an object belongs to by its key; nil where it is none's.
pub fn namespace_of(object: &str) -> NamespaceId {
    let id = object
        .strip_prefix("ns/")
        .and_then(|rest| rest.split_once('/'))
        .and_then(|(id, _)| id.parse().ok());
    NamespaceId(id.unwrap_or(Uuid::nil()))
}

/// What a key names, as far as its form says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyKind {
    /// The store's own object.
    Store,
    /// A record of a name.
    Name,
    /// The hint of a name.
    Hint,
    /// A birth record.
    Genesis,
    /// A slot of a log.
    Slot,
    /// A manifest.
    Manifest,
    /// The advisory copy of a manifest.
    Head,
    /// The documents of a segment.
    Documents,
    /// The index file of a segment.
    Index,
    /// A bitmap of deletions.
    Deletions,
    /// Something else.
    Other,
}

/// What a key names, as far as its form says.
pub fn kind_of(key: &str) -> KeyKind {
    if key == STORE {
        return KeyKind::Store;
    }
    if key.starts_with(NAMES) {
        return match key.ends_with("/~hint") {
            true => KeyKind::Hint,
            false => KeyKind::Name,
        };
    }
    let Some((_, inner)) = key
        .strip_prefix("ns/")
        .and_then(|rest| rest.split_once('/'))
    else {
        return KeyKind::Other;
    };
    match inner.split_once('/') {
        None if inner == "genesis" => KeyKind::Genesis,
        None if inner == "head" => KeyKind::Head,
        Some(("wal", _)) => KeyKind::Slot,
        Some(("manifest", _)) => KeyKind::Manifest,
        Some(("seg", file)) if file.ends_with(".parquet") => KeyKind::Documents,
        Some(("seg", file)) if file.ends_with(".idx") => KeyKind::Index,
        Some(("dv", _)) => KeyKind::Deletions,
        _ => KeyKind::Other,
    }
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

/// All objects of a namespace but its name and its marks.
pub fn all_of(id: NamespaceId) -> String {
    format!("ns/{id}/")
}

/// A namespace's permanent birth record.
pub fn genesis(id: NamespaceId) -> String {
    format!("ns/{id}/genesis")
}

/// A slot of its log.
pub fn slot(id: NamespaceId, slot: SlotName) -> String {
    format!("ns/{id}/wal/{:012}/{:03}", slot.block, slot.idx)
}

/// The place that a slot's key names.
pub fn parse_slot(id: NamespaceId, key: &str) -> Result<SlotName> {
    key.strip_prefix(&wal_prefix(id))
        .and_then(|rest| rest.split_once('/'))
        .and_then(|(block, idx)| {
            let (block, idx) = (block.parse().ok()?, idx.parse().ok()?);
            Some(SlotName { block, idx })
        })
        .filter(|place| slot(id, *place) == key)
        .ok_or_else(|| Error::corrupted(format!("object `{key}` is not a slot of a log")))
}

/// All its slots.
pub fn wal_prefix(id: NamespaceId) -> String {
    format!("ns/{id}/wal/")
}

/// All marks of its floors, lowest first in key order.
pub fn floor_prefix(id: NamespaceId) -> String {
    format!("ns/{id}/floor/")
}

/// The mark of a floor, which has no bytes: `since` is a moment of the store's clock after it was decided.
pub fn floor(id: NamespaceId, block: u64, since: Timestamp) -> String {
    format!("ns/{id}/floor/{block:012}-{:016}", since.0)
}

/// The floor that a mark's key names, and since when it has stood.
pub fn parse_floor(id: NamespaceId, key: &str) -> Result<(u64, Timestamp)> {
    key.strip_prefix(&floor_prefix(id))
        .and_then(|rest| rest.split_once('-'))
        .and_then(|(block, since)| Some((block.parse().ok()?, Timestamp(since.parse().ok()?))))
        .filter(|(block, since)| floor(id, *block, *since) == key)
        .ok_or_else(|| Error::corrupted(format!("object `{key}` is not the mark of a floor")))
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

/// The two files of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SegmentFile {
    /// Its documents.
    Parquet,
    /// What is derived from them.
    Index,
}

impl SegmentFile {
    fn suffix(self) -> &'static str {
        match self {
            Self::Parquet => "parquet",
            Self::Index => "idx",
        }
    }
}

/// All files of all segments.
pub fn segment_prefix(id: NamespaceId) -> String {
    format!("ns/{id}/seg/")
}

/// A file of the n-th segment that the work under `claim` made.
pub fn segment_file(id: NamespaceId, claim: WalSeq, n: u32, file: SegmentFile) -> String {
    format!("ns/{id}/seg/{:020}/{n:04}.{}", claim.0, file.suffix())
}

/// The documents of a segment.
pub fn segment_parquet(id: NamespaceId, claim: WalSeq, n: u32) -> String {
    segment_file(id, claim, n, SegmentFile::Parquet)
}

/// The index file of a segment.
pub fn segment_index(id: NamespaceId, claim: WalSeq, n: u32) -> String {
    segment_file(id, claim, n, SegmentFile::Index)
}

/// The segment, and the file of it, that a key names.
pub fn parse_segment_file(id: NamespaceId, key: &str) -> Result<(WalSeq, u32, SegmentFile)> {
    let strange = || Error::corrupted(format!("object `{key}` is not a file of a segment"));
    let (stem, suffix) = key
        .strip_prefix(&segment_prefix(id))
        .and_then(|rest| rest.rsplit_once('.'))
        .ok_or_else(strange)?;
    let file = [SegmentFile::Parquet, SegmentFile::Index]
        .into_iter()
        .find(|file| file.suffix() == suffix)
        .ok_or_else(strange)?;
    let (claim, n) = parse_pair(stem).ok_or_else(strange)?;
    if segment_file(id, claim, n, file) != key {
        return Err(strange());
    }
    Ok((claim, n, file))
}

/// All objects with deletions.
pub fn deletions_prefix(id: NamespaceId) -> String {
    format!("ns/{id}/dv/")
}

/// The deletions that one attempt of the work under `claim` wrote.
pub fn deletions(id: NamespaceId, claim: WalSeq, attempt: u32) -> String {
    format!("ns/{id}/dv/{:020}/{attempt:04}.dvs", claim.0)
}

/// The claim and the attempt that a key of deletions names.
pub fn parse_deletions(id: NamespaceId, key: &str) -> Result<(WalSeq, u32)> {
    key.strip_prefix(&deletions_prefix(id))
        .and_then(|rest| rest.strip_suffix(".dvs"))
        .and_then(parse_pair)
        .filter(|(claim, attempt)| deletions(id, *claim, *attempt) == key)
        .ok_or_else(|| Error::corrupted(format!("object `{key}` holds no deletions")))
}

/// All marks of dropped namespaces, those dropped first at the beginning.
pub const DROPPED: &str = "dropped/";

/// The mark of a dropped namespace, which has no bytes: `since` is a moment of the store's clock at its drop, or 0 where
/// nobody wants it back.
pub fn dropped(since: Timestamp, id: NamespaceId) -> String {
    format!("{DROPPED}{:016}-{id}", since.0.max(0))
}

/// Since when a namespace has been dropped, and which, by the key of its mark.
pub fn parse_dropped(key: &str) -> Result<(Timestamp, NamespaceId)> {
    key.strip_prefix(DROPPED)
        .and_then(|rest| rest.split_once('-'))
        .and_then(|(since, id)| {
            let (since, id) = (since.parse().ok()?, id.parse().ok()?);
            Some((Timestamp(since), NamespaceId(id)))
        })
        .filter(|(since, id)| dropped(*since, *id) == key)
        .ok_or_else(|| {
            Error::corrupted(format!(
                "object `{key}` is not the mark of a dropped namespace"
            ))
        })
}

/// All dirty hints, oldest hour first.
pub const DIRTY: &str = "dirty/";

/// What the key of a dirty hint tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DirtyKey {
    /// Hours since the Unix epoch by its maker's clock: only so that older ones are listed first.
    pub hour: u64,
    /// One life of one node.
    pub node: u128,
    /// Its n-th hint.
    pub n: u64,
}

/// A dirty hint. One folder for all: local directories of hours would never go.
pub fn dirty(key: DirtyKey) -> String {
    format!("{DIRTY}{:08}-{:032x}-{:08}", key.hour, key.node, key.n)
}

/// Parses the key of a dirty hint.
pub fn parse_dirty(key: &str) -> Result<DirtyKey> {
    let parse = || {
        let mut parts = key.strip_prefix(DIRTY)?.split('-');
        let hour = parts.next()?.parse().ok()?;
        let node = u128::from_str_radix(parts.next()?, 16).ok()?;
        let n = parts.next()?.parse().ok()?;
        Some(DirtyKey { hour, node, n })
    };
    parse()
        .filter(|parsed| dirty(*parsed) == key)
        .ok_or_else(|| Error::corrupted(format!("object `{key}` is not a dirty hint")))
}

fn parse_pair(text: &str) -> Option<(WalSeq, u32)> {
    let (claim, n) = text.split_once('/')?;
    Some((WalSeq(claim.parse().ok()?), n.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn id() -> NamespaceId {
        NamespaceId(Uuid::from_u128(7))
    }

    #[test]
    fn kind_of_a_key_is_told_by_its_form() {
        let place = SlotName { block: 1, idx: 2 };
        for (key, kind) in [
            (STORE.to_owned(), KeyKind::Store),
            (genesis(id()), KeyKind::Genesis),
            (head(id()), KeyKind::Head),
            (slot(id(), place), KeyKind::Slot),
            (manifest(id(), WalSeq(3)), KeyKind::Manifest),
            (segment_parquet(id(), WalSeq(3), 0), KeyKind::Documents),
            (segment_index(id(), WalSeq(3), 0), KeyKind::Index),
            (deletions(id(), WalSeq(3), 0), KeyKind::Deletions),
            (format!("ns/{}/strange", id()), KeyKind::Other),
            ("probe/1".to_owned(), KeyKind::Other),
        ] {
            assert_eq!(kind_of(&key), kind, "{key}");
            let marker = quarantine(&key);
            let expected = match key.starts_with("ns/") {
                true => quarantine_prefix(id()),
                false => quarantine_prefix(NamespaceId(Uuid::nil())),
            };
            assert!(marker.starts_with(&expected), "{key}: {marker}");
            assert_eq!(marker.len(), expected.len() + 32);
        }
    }

    #[test]
    fn segment_file_parses_back() {
        for (claim, n) in [(0, 0), (7, 3), (u64::MAX, u32::MAX)] {
            for file in [SegmentFile::Parquet, SegmentFile::Index] {
                let key = segment_file(id(), WalSeq(claim), n, file);
                assert!(key.starts_with(&segment_prefix(id())));
                let parsed = parse_segment_file(id(), &key);
                assert_eq!(parsed.ok(), Some((WalSeq(claim), n, file)));
            }
        }
        let key = segment_parquet(id(), WalSeq(12), 3);
        assert!(
            key.ends_with("/seg/00000000000000000012/0003.parquet"),
            "{key}"
        );
        let key = segment_index(id(), WalSeq(12), 3);
        assert!(key.ends_with("/seg/00000000000000000012/0003.idx"), "{key}");
    }

    #[test]
    fn deletions_key_parses_back() {
        let key = deletions(id(), WalSeq(12), 3);
        assert!(key.ends_with("/dv/00000000000000000012/0003.dvs"), "{key}");
        assert_eq!(parse_deletions(id(), &key).ok(), Some((WalSeq(12), 3)));
    }

    #[test]
    fn dirty_key_parses_back_and_a_strange_one_is_refused() {
        for (hour, node, n) in [(0, 0, 0), (480_000, 7, 12), (u64::MAX, u128::MAX, u64::MAX)] {
            let key = DirtyKey { hour, node, n };
            assert_eq!(parse_dirty(&dirty(key)).ok(), Some(key));
        }
        let good = dirty(DirtyKey {
            hour: 480_000,
            node: 171,
            n: 12,
        });
        assert_eq!(
            good,
            "dirty/00480000-000000000000000000000000000000ab-00000012"
        );
        let strange = [
            good.replace("00480000", "480000"),
            good.replace("ab", "AB"),
            good.replace("00000012", "+0000012"),
            good.replace("dirty/", "dirt/"),
            format!("{good}-1"),
            format!("{good}/1"),
            DIRTY.to_owned(),
        ];
        for key in strange {
            assert!(parse_dirty(&key).is_err(), "{key}");
        }
    }

    #[test]
    fn strange_key_under_segments_is_refused() {
        let good = segment_parquet(id(), WalSeq(12), 3);
        let strange = [
            good.replace("0003", "3"),
            good.replace("0003", "+003"),
            good.replace(".parquet", ".idx2"),
            good.replace("/seg/", "/sog/"),
            format!("{good}x"),
            good.replace("00000000000000000012", "12"),
            segment_prefix(id()),
        ];
        for key in strange {
            assert!(parse_segment_file(id(), &key).is_err(), "{key}");
        }
        assert!(parse_deletions(id(), &good).is_err());
    }
}
