//! Bytes that older versions wrote are read for ever: every object's golden decodes to the value below,
//! encodes to the same bytes again, and is refused when a single bit of it is wrong.
//!
//! A golden is never rewritten. A new version of an object adds `v2.bin` beside `v1.bin`; whole stores are in
//! `bucket/`.

mod bucket;
mod campaign;
mod damage;
mod goldens;
mod objects;
mod segment;
mod strange;
mod values;

use goldens::GOLDENS;

#[test]
fn golden_each_object_decodes_to_its_value() {
    for golden in GOLDENS {
        let bytes = golden.read();
        match (golden.decodes)(&bytes) {
            Ok(true) => {}
            Ok(false) => panic!("{}: decodes to another value", golden.path()),
            Err(error) => panic!("{}: does not decode: {}", golden.path(), error.chain()),
        }
    }
}

#[test]
fn golden_each_object_encodes_to_the_same_bytes() {
    for golden in GOLDENS.iter().filter(|golden| golden.canonical) {
        let (expected, found) = (golden.read(), (golden.encode)());
        assert!(
            expected == found,
            "{}: bytes changed: expected {}, found {}",
            golden.path(),
            expected.escape_ascii(),
            found.escape_ascii()
        );
    }
}

/// Compressed bytes may differ between versions of zstd; what was written must still be read.
#[test]
fn golden_each_object_encoded_now_decodes_to_its_value() {
    for golden in GOLDENS {
        let decoded = (golden.decodes)(&(golden.encode)());
        assert!(
            matches!(decoded, Ok(true)),
            "{}: {decoded:?}",
            golden.object
        );
    }
}

#[test]
fn golden_each_object_says_how_it_was_made() {
    for golden in GOLDENS {
        let page = golden.path().replace(".bin", ".md");
        let text = std::fs::read_to_string(&page).unwrap_or_default();
        assert!(
            text.contains("how made"),
            "{page}: expected a page with the words `how made`"
        );
    }
}
