//! The table of goldens: one line per object.

use bytes::Bytes;
use elacsym::error::Result;
use elacsym::format::record::{self, Genesis, Hint, Marker, NameRecord, Record, StoreRecord};
use elacsym::format::segment::Footer;
use elacsym::format::wal::{self, Slot};
use elacsym::format::{deletions, dirty, frame, manifest};

use super::{segment, values};

/// One stored object of version 1.
pub(crate) struct Golden {
    /// Its folder under `tests/golden/`.
    pub(crate) object: &'static str,
    /// Bytes of its header.
    pub(crate) header_bytes: usize,
    /// Where its header keeps the format level.
    pub(crate) level_at: usize,
    /// Whether the same value always makes the same bytes; not where zstd is used.
    pub(crate) canonical: bool,
    /// Encodes the expected value.
    pub(crate) encode: fn() -> Vec<u8>,
    /// Decodes, and says whether it is the expected value.
    pub(crate) decodes: fn(&[u8]) -> Result<bool>,
}

/// Where both headers keep their flags.
pub(crate) const FLAGS_AT: usize = 12;
/// Where a slot's header keeps the entry kind.
pub(crate) const SLOT_KIND_AT: usize = 10;

pub(crate) const GOLDENS: &[Golden] = &[
    enveloped(
        "store",
        || record::encode(&values::store()),
        |bytes| Ok(decode::<StoreRecord>("STORE", bytes)? == values::store()),
    ),
    enveloped(
        "name",
        || record::encode(&values::name()),
        |bytes| Ok(decode::<NameRecord>("names/golden!/00000001", bytes)? == values::name()),
    ),
    enveloped(
        "genesis",
        || record::encode(&values::genesis()),
        |bytes| Ok(decode::<Genesis>("genesis", bytes)? == values::genesis()),
    ),
    enveloped(
        "hint",
        || record::encode(&values::hint()),
        |bytes| Ok(decode::<Hint>("names/golden!/~hint", bytes)? == values::hint()),
    ),
    enveloped(
        "dirty",
        || dirty::encode(&values::dirty()),
        |bytes| Ok(dirty::decode("dirty", bytes)? == values::dirty()),
    ),
    enveloped(
        "marker",
        || record::encode(&values::marker()),
        |bytes| Ok(decode::<Marker>("marker", bytes)? == values::marker()),
    ),
    enveloped(
        "manifest",
        || manifest::encode(&values::state()),
        |bytes| {
            let state = values::state();
            Ok(manifest::decode("manifest", Some(state.seq), bytes)? == state)
        },
    ),
    enveloped(
        "manifest-segments",
        || manifest::encode(&values::state_with_segments()),
        |bytes| {
            let state = values::state_with_segments();
            Ok(manifest::decode("manifest", Some(state.seq), bytes)? == state)
        },
    ),
    enveloped(
        "manifest-merging",
        || manifest::encode(&values::state_merging()),
        |bytes| {
            let state = values::state_merging();
            Ok(manifest::decode("manifest", Some(state.seq), bytes)? == state)
        },
    ),
    enveloped(
        "deletions",
        || deletions::seal(&values::bitmap()),
        |bytes| {
            let rows = deletions::decode("dvs", deletions::open("dvs", bytes)?, 70_001, 3)?;
            Ok(rows.into_iter().collect::<Vec<_>>() == [1, 5, 70_000])
        },
    ),
    Golden {
        // The Parquet footer in it depends on how zstd packs.
        canonical: false,
        ..enveloped(
            "segment-footer",
            || segment::footer_of(&segment::sealed()).to_vec(),
            |bytes| Ok(segment::is_expected(&Footer::decode("idx", bytes)?)),
        )
    },
    slot(
        "slot-init",
        true,
        || encode_slot(&values::init_slot()),
        |bytes| decode_slot(bytes, &values::init_slot()),
    ),
    slot(
        "slot-write",
        false,
        || encode_slot(&values::write_slot()),
        |bytes| decode_slot(bytes, &values::write_slot()),
    ),
    slot(
        "slot-claim",
        true,
        || encode_slot(&values::claim_slot()),
        |bytes| decode_slot(bytes, &values::claim_slot()),
    ),
    slot(
        "slot-flush",
        false,
        || encode_slot(&values::flush_slot()),
        |bytes| decode_slot(bytes, &values::flush_slot()),
    ),
    slot(
        "slot-claim-merge",
        true,
        || encode_slot(&values::merge_claim_slot()),
        |bytes| decode_slot(bytes, &values::merge_claim_slot()),
    ),
    slot(
        "slot-compact",
        false,
        || encode_slot(&values::compact_slot()),
        |bytes| decode_slot(bytes, &values::compact_slot()),
    ),
    slot(
        "slot-index-build",
        false,
        || encode_slot(&values::index_build_slot()),
        |bytes| decode_slot(bytes, &values::index_build_slot()),
    ),
    slot(
        "slot-truncate",
        true,
        || encode_slot(&values::truncate_slot()),
        |bytes| decode_slot(bytes, &values::truncate_slot()),
    ),
    slot(
        "slot-configure",
        true,
        || encode_slot(&values::configure_slot()),
        |bytes| decode_slot(bytes, &values::configure_slot()),
    ),
    slot(
        "slot-drop",
        true,
        || encode_slot(&values::drop_slot()),
        |bytes| decode_slot(bytes, &values::drop_slot()),
    ),
];

const fn enveloped(
    object: &'static str,
    encode: fn() -> Vec<u8>,
    decodes: fn(&[u8]) -> Result<bool>,
) -> Golden {
    Golden {
        object,
        header_bytes: frame::HEADER_BYTES,
        level_at: 10,
        canonical: true,
        encode,
        decodes,
    }
}

const fn slot(
    object: &'static str,
    canonical: bool,
    encode: fn() -> Vec<u8>,
    decodes: fn(&[u8]) -> Result<bool>,
) -> Golden {
    Golden {
        object,
        header_bytes: wal::HEADER_BYTES,
        level_at: 8,
        canonical,
        encode,
        decodes,
    }
}

fn decode<R: Record>(key: &str, bytes: &[u8]) -> Result<R> {
    record::decode(key, bytes)
}

fn encode_slot(slot: &Slot) -> Vec<u8> {
    let body = wal::Body::encode(&slot.entry, &slot.effects).expect("the expected slot encodes");
    body.seal(&slot.header).to_vec()
}

/// The body's length depends on zstd, so it is compared with the bytes and not with the value.
fn decode_slot(bytes: &[u8], expected: &Slot) -> Result<bool> {
    let mut found = wal::decode("slot", &Bytes::copy_from_slice(bytes))?;
    let alone = wal::decode_header("slot", bytes)?;
    let body_bytes = (bytes.len() - wal::HEADER_BYTES) as u64;
    let sizes_match = found.header == alone && alone.body_bytes == body_bytes;
    found.header.body_bytes = 0;
    Ok(sizes_match && found == *expected)
}

impl Golden {
    /// Whether it holds JSON: all but a bitmap.
    pub(crate) fn has_json(&self) -> bool {
        self.object != "deletions"
    }

    /// Whether it is a slot.
    pub(crate) fn is_slot(&self) -> bool {
        self.header_bytes == wal::HEADER_BYTES
    }

    /// Whether bytes of one may stand where the other does, as far as their envelope says.
    pub(crate) fn is_of_kind_of(&self, other: &Self) -> bool {
        let kind = |golden: &Self| golden.object.split('-').next().map(str::to_owned);
        (self.is_slot() && other.is_slot()) || kind(self) == kind(other)
    }

    /// Where it lies: Cargo runs tests in the root of the project.
    pub(crate) fn path(&self) -> String {
        format!("tests/golden/{}/v1.bin", self.object)
    }

    /// Its bytes. A missing one is written only where that is asked for, an existing one never.
    pub(crate) fn read(&self) -> Vec<u8> {
        read(&self.path(), self.encode)
    }
}

/// The bytes of a file under `tests/golden/`; see `Golden::read`.
#[allow(
    clippy::disallowed_methods,
    reason = "asks for a file of this repository to be made; nothing of the program depends on it"
)]
pub(crate) fn read(path: &str, encode: impl Fn() -> Vec<u8>) -> Vec<u8> {
    if let Ok(bytes) = std::fs::read(path) {
        return bytes;
    }
    let asked = std::env::var_os("ELACSYM_TEST_WRITE_GOLDEN").is_some_and(|value| value == "1");
    assert!(
        asked,
        "golden `{path}` is missing: run `ELACSYM_TEST_WRITE_GOLDEN=1 cargo test --test compat` to write it"
    );
    let bytes = encode();
    let folder = std::path::Path::new(path).with_file_name("");
    std::fs::create_dir_all(&folder).expect("the golden's folder can be made");
    // By way of a name of its own: tests run side by side and all of them may write it.
    let fresh = format!("{path}.{:?}", std::thread::current().id());
    std::fs::write(&fresh, &bytes).expect("the golden can be written");
    std::fs::rename(&fresh, path).expect("the golden can be renamed");
    bytes
}
