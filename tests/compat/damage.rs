//! Damage: whatever a store or a wire does to the bytes, decoding tells. Nothing panics.

use std::panic::{AssertUnwindSafe, catch_unwind};

use elacsym::error::{Error, ErrorKind};
use elacsym::format::wal;

use super::goldens::{GOLDENS, Golden};

/// The error of decoding damaged bytes; fails for a panic and for bytes that decode.
pub(crate) fn refusal(golden: &Golden, bytes: &[u8], damage: &str) -> Error {
    let object = golden.object;
    let decoded = catch_unwind(AssertUnwindSafe(|| (golden.decodes)(bytes)))
        .unwrap_or_else(|_| panic!("{object}, {damage}: decoding panics"));
    match decoded {
        Err(error) => error,
        Ok(_) => panic!("{object}, {damage}: decodes"),
    }
}

#[test]
fn damage_any_flipped_bit_or_byte_is_corrupted() {
    for golden in GOLDENS {
        let good = golden.read();
        for at in 0..good.len() {
            for mask in [0xff, 1, 2, 4, 8, 16, 32, 64, 128] {
                let mut bad = good.clone();
                bad[at] ^= mask;
                let damage = format!("byte {at} xor {mask:#x}");
                let error = refusal(golden, &bad, &damage);
                // Never `unknown_format`: checksums are asked before the level is.
                assert_eq!(
                    error.kind(),
                    ErrorKind::Corrupted,
                    "{}, {damage}: {error}",
                    golden.object
                );
            }
        }
    }
}

#[test]
fn damage_any_truncation_is_corrupted() {
    for golden in GOLDENS {
        let good = golden.read();
        for length in 0..good.len() {
            let error = refusal(golden, &good[..length], &format!("cut to {length}"));
            assert_eq!(error.kind(), ErrorKind::Corrupted, "{}", golden.object);
        }
    }
}

#[test]
fn damage_appended_byte_is_corrupted() {
    for golden in GOLDENS {
        let mut bad = golden.read();
        bad.push(0);
        let error = refusal(golden, &bad, "one byte more");
        assert_eq!(error.kind(), ErrorKind::Corrupted, "{}", golden.object);
    }
}

/// An anchor check reads the header alone, so the header alone must tell.
#[test]
fn damage_flipped_byte_in_a_slot_header_read_alone_is_corrupted() {
    for golden in GOLDENS.iter().filter(|golden| golden.is_slot()) {
        let good = golden.read();
        assert!(wal::decode_header("slot", &good[..wal::HEADER_BYTES]).is_ok());
        for at in 0..wal::HEADER_BYTES {
            let mut bad = good[..wal::HEADER_BYTES].to_vec();
            bad[at] ^= 0xff;
            let error = wal::decode_header("slot", &bad).expect_err("a damaged header is refused");
            assert_eq!(error.kind(), ErrorKind::Corrupted, "byte {at}");
            assert!(wal::decode_header("slot", &good[..at]).is_err());
        }
    }
}

/// The object of one kind is not taken for that of another, even though its checksums hold.
#[test]
fn damage_object_of_another_kind_is_refused() {
    for golden in GOLDENS {
        for other in GOLDENS.iter().filter(|other| !other.is_of_kind_of(golden)) {
            let damage = format!("the bytes of {}", other.object);
            let error = refusal(golden, &other.read(), &damage);
            assert_eq!(error.kind(), ErrorKind::Corrupted, "{}", golden.object);
        }
    }
}
