//! Strange objects with right checksums: what a newer version, or a stranger, may have written.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use elacsym::format::wal;
use xxhash_rust::xxh3::xxh3_128;

use super::damage::refusal;
use super::goldens::{FLAGS_AT, GOLDENS, Golden, SLOT_KIND_AT};

const FRAME_HEADER_BYTES: usize = 24;
/// Where a slot's header keeps the length and the hash of its body.
const BODY_BYTES_AT: usize = 64;
const BODY_HASH_AT: usize = 72;

/// Makes the header's checksum right again.
fn reseal(bytes: &mut [u8], header_bytes: usize) {
    let (checked, rest) = bytes.split_at_mut(header_bytes - 4);
    rest[..4].copy_from_slice(&crc32c::crc32c(checked).to_le_bytes());
}

/// A slot with the header of `slot` and another body, all checksums right.
fn with_body(slot: &[u8], body: &[u8]) -> Vec<u8> {
    let mut out = slot[..wal::HEADER_BYTES].to_vec();
    out[BODY_BYTES_AT..BODY_HASH_AT].copy_from_slice(&(body.len() as u64).to_le_bytes());
    out[BODY_HASH_AT..BODY_HASH_AT + 16].copy_from_slice(&xxh3_128(body).to_le_bytes());
    reseal(&mut out, wal::HEADER_BYTES);
    out.extend_from_slice(body);
    out
}

/// The same body with every frame stored raw, so that a flipped byte reaches the reader behind zstd.
fn unpacked(mut body: &[u8]) -> Vec<u8> {
    let number = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().expect("eight bytes"));
    let mut out = Vec::new();
    while !body.is_empty() {
        let (raw, stored) = (number(&body[8..16]), number(&body[16..24]));
        let end = FRAME_HEADER_BYTES + stored as usize;
        let mut payload = body[FRAME_HEADER_BYTES..end].to_vec();
        if body[2] == 1 {
            payload = zstd::bulk::decompress(&payload, raw as usize).expect("the frame is whole");
        }
        out.extend_from_slice(&body[..2]);
        out.extend_from_slice(&[0, 0]);
        out.extend_from_slice(&body[4..16]);
        out.extend_from_slice(&raw.to_le_bytes());
        out.extend_from_slice(&payload);
        body = &body[end..];
    }
    out
}

fn assert_unknown(golden: &Golden, bytes: &[u8], what: &str) {
    let error = refusal(golden, bytes, what);
    assert_eq!(
        error.code(),
        "unknown_format",
        "{}, {what}: {error}",
        golden.object
    );
}

#[test]
fn strange_level_is_an_unknown_format() {
    for golden in GOLDENS {
        for level in [0_u16, 2, u16::MAX] {
            let mut bytes = golden.read();
            bytes[golden.level_at..golden.level_at + 2].copy_from_slice(&level.to_le_bytes());
            reseal(&mut bytes, golden.header_bytes);
            assert_unknown(golden, &bytes, &format!("level {level}"));
        }
    }
}

#[test]
fn strange_flag_is_an_unknown_format() {
    for golden in GOLDENS {
        for flag in (0..32).map(|bit| 1_u32 << bit) {
            let mut bytes = golden.read();
            bytes[FLAGS_AT..FLAGS_AT + 4].copy_from_slice(&flag.to_le_bytes());
            reseal(&mut bytes, golden.header_bytes);
            assert_unknown(golden, &bytes, &format!("flags {flag:#x}"));
        }
    }
}

#[test]
fn strange_entry_kind_is_an_unknown_format() {
    for golden in GOLDENS.iter().filter(|golden| golden.is_slot()) {
        for kind in [0_u16, 8, 9, 16, 18, 255, u16::MAX] {
            let mut bytes = golden.read();
            bytes[SLOT_KIND_AT..SLOT_KIND_AT + 2].copy_from_slice(&kind.to_le_bytes());
            reseal(&mut bytes, golden.header_bytes);
            assert_unknown(golden, &bytes, &format!("entry kind {kind}"));
        }
    }
}

#[test]
fn strange_frames_stored_raw_decode_to_the_same_slot() {
    for golden in GOLDENS.iter().filter(|golden| golden.is_slot()) {
        let slot = golden.read();
        let raw = with_body(&slot, &unpacked(&slot[wal::HEADER_BYTES..]));
        let decoded = (golden.decodes)(&raw);
        assert!(
            matches!(decoded, Ok(true)),
            "{}: {decoded:?}",
            golden.object
        );
    }
}

/// A body that a stranger made may mean anything, but it must not end the process.
#[test]
fn strange_body_with_right_checksums_does_not_panic() {
    let mut panics = Vec::new();
    for golden in GOLDENS.iter().filter(|golden| golden.is_slot()) {
        let slot = golden.read();
        let packed = slot[wal::HEADER_BYTES..].to_vec();
        for body in [unpacked(&packed), packed] {
            for at in 0..body.len() {
                for mask in [0xff, 1, 0x80] {
                    let mut bad = body.clone();
                    bad[at] ^= mask;
                    let bytes = Bytes::from(with_body(&slot, &bad));
                    if catch_unwind(AssertUnwindSafe(|| wal::decode("slot", &bytes))).is_err() {
                        panics.push(format!("{} body byte {at} xor {mask:#x}", golden.object));
                    }
                }
            }
        }
    }
    assert!(panics.is_empty(), "decoding panics: {panics:#?}");
}
