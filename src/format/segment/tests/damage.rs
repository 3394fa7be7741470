//! Damage, and strangers' bytes with right hashes: told, and never a panic.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::*;
use crate::error::ErrorKind;
use crate::format::frame::{self, ObjectKind};

/// The footer's bytes, and how many of them stand before its payload.
fn small_footer() -> (SealedSegment, Vec<u8>) {
    let types = [
        AttributeType::Scalar(ScalarType::String),
        AttributeType::Vector {
            dims: 2,
            element: VectorElement::F32,
        },
    ];
    let sample = sample(IdKind::String, &types, 5, 4);
    let bytes = footer_bytes(&sample.sealed).to_vec();
    (sample.sealed, bytes)
}

#[test]
fn footer_with_any_flipped_byte_or_cut_is_corrupted() {
    let (sealed, good) = small_footer();
    for at in 0..good.len() {
        for mask in [1, 0x80, 0xff] {
            let mut bad = good.clone();
            bad[at] ^= mask;
            let opened = catch_unwind(|| Footer::open("idx", &sealed.footer, &bad)).unwrap();
            assert_eq!(
                opened.unwrap_err().kind(),
                ErrorKind::Corrupted,
                "byte {at}"
            );
            let decoded = catch_unwind(|| Footer::decode("idx", &bad)).unwrap();
            assert_eq!(
                decoded.unwrap_err().kind(),
                ErrorKind::Corrupted,
                "byte {at}"
            );
        }
    }
    for length in 0..good.len() {
        assert!(Footer::decode("idx", &good[..length]).is_err());
    }
}

/// A stranger's footer has right hashes; it may be refused or mean something, but it must not panic.
#[test]
fn footer_with_right_hash_and_strange_payload_does_not_panic() {
    let (sealed, good) = small_footer();
    let payload = &good[frame::HEADER_BYTES..];
    let mut panics = Vec::new();
    for at in 0..payload.len() {
        for mask in [1, 0x80, 0xff] {
            let mut bad = payload.to_vec();
            bad[at] ^= mask;
            let sealed_bad = frame::seal(ObjectKind::Footer, &bad);
            let used = catch_unwind(AssertUnwindSafe(|| {
                let Ok(footer) = Footer::decode("idx", &sealed_bad) else {
                    return;
                };
                footer.id_reads(&[DocId::String("document-4-é".into())]);
                for row in 0..5 {
                    for column in footer.columns() {
                        footer
                            .vector_pages(column.attr)
                            .map(|pages| pages.range_of(row));
                    }
                }
                let attrs: Vec<_> = footer.columns().iter().map(|column| column.attr).collect();
                if let Ok(mut read) = ColumnRead::new(&footer, &attrs, true, None) {
                    let _ = read_all(&mut read, &sealed.parquet);
                }
            }));
            if used.is_err() {
                panics.push((at, mask));
            }
        }
    }
    assert!(panics.is_empty(), "panics: {panics:?}");
}

#[test]
fn id_block_with_any_flipped_byte_or_cut_does_not_panic() {
    for kind in kinds() {
        let sample = sample(kind, &[], 9, 4);
        let wanted = id(kind, 4);
        let read = sample
            .footer
            .id_reads(std::slice::from_ref(&wanted))
            .remove(0);
        let good = slice(&sample.sealed.index, &read.range).to_vec();
        for at in 0..good.len() {
            assert!(sample.footer.id_block(&good[..at]).is_err());
            for mask in [1, 0x80, 0xff] {
                let mut bad = good.clone();
                bad[at] ^= mask;
                if let Ok(block) = sample.footer.id_block(&bad) {
                    let row = block.find(&wanted);
                    assert!(row.is_none_or(|row| row < 9));
                }
            }
        }
    }
}
