//! Bitmaps of row numbers: which rows of a segment are gone.
//!
//! Format: `docs/format/deletions.md`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use roaring::RoaringBitmap;

use super::frame::{self, ObjectKind, corrupt};
use crate::error::Result;

/// A bitmap no larger than this lies in the entry and the manifest, a larger one in an object, bytes.
pub const INLINE_BYTES_MAX: usize = 4 << 10;

/// Encodes a bitmap in the portable roaring format.
pub fn encode(rows: &RoaringBitmap) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(rows.serialized_size());
    // Writing to memory does not fail.
    let _ = rows.serialize_into(&mut bytes);
    bytes
}

/// Decodes a bitmap over a segment of `n_rows` rows, of which it must hold `count`; `name` says whose it is.
///
/// Errors: `Corrupted`.
pub fn decode(name: &str, bytes: &[u8], n_rows: u64, count: u64) -> Result<RoaringBitmap> {
    let rows = parse(name, bytes)?;
    if let Some(max) = rows.max().filter(|max| u64::from(*max) >= n_rows) {
        return Err(corrupt(
            name,
            "deleted row",
            format_args!("below {n_rows}"),
            max,
        ));
    }
    if rows.len() != count {
        return Err(corrupt(name, "deleted rows", count, rows.len()));
    }
    Ok(rows)
}

/// Decodes a bitmap of which nothing is known. Errors: `Corrupted`.
pub fn parse(name: &str, bytes: &[u8]) -> Result<RoaringBitmap> {
    let mut rest = bytes;
    let rows = RoaringBitmap::deserialize_from(&mut rest)
        .map_err(|error| corrupt(name, "bitmap of deletions", "a roaring bitmap", error))?;
    if !rest.is_empty() {
        return Err(corrupt(
            name,
            "bitmap of deletions",
            "no more bytes",
            rest.len(),
        ));
    }
    Ok(rows)
}

/// Wraps an encoded bitmap as an object of its own.
pub fn seal(bitmap: &[u8]) -> Vec<u8> {
    frame::seal(ObjectKind::Deletions, bitmap)
}

/// Unwraps such an object. Errors: as `frame::open`.
pub fn open<'a>(key: &str, object: &'a [u8]) -> Result<&'a [u8]> {
    frame::open(key, ObjectKind::Deletions, object)
}

/// Encodes a bitmap as text, to lie in an entry.
pub fn to_text(bitmap: &[u8]) -> String {
    BASE64.encode(bitmap)
}

/// Reads it back; `name` says whose it is. Errors: `Corrupted`.
pub fn from_text(name: &str, text: &str) -> Result<Vec<u8>> {
    BASE64
        .decode(text)
        .map_err(|error| corrupt(name, "bitmap of deletions", "base64", error))
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, reason = "tests index what they made")]
mod tests {
    use super::*;

    #[test]
    fn bitmap_round_trips_as_text_and_as_object() {
        let rows: RoaringBitmap = [0, 7, 70_000].into_iter().collect();
        let bytes = encode(&rows);
        assert_eq!(decode("s", &bytes, 70_001, 3).ok(), Some(rows.clone()));
        let text = from_text("s", &to_text(&bytes));
        assert_eq!(text.ok().as_deref(), Some(bytes.as_slice()));
        let object = seal(&bytes);
        assert_eq!(open("s", &object).ok(), Some(bytes.as_slice()));
    }

    #[test]
    fn bitmap_that_is_not_the_one_promised_is_corrupted() {
        let bytes = encode(&[1, 5].into_iter().collect());
        let longer = [bytes.as_slice(), &[0]].concat();
        let cases: [(&[u8], u64, u64, &str); 4] = [
            (&bytes, 5, 2, "expected below 5, found 5"),
            (&bytes, 6, 3, "expected 3, found 2"),
            (&longer, 6, 2, "no more bytes"),
            (&bytes[..bytes.len() - 1], 6, 2, "a roaring bitmap"),
        ];
        for (bytes, n_rows, count, part) in cases {
            let error = decode("s", bytes, n_rows, count).expect_err("refused");
            assert!(error.message().contains(part), "{error}");
        }
        assert!(from_text("s", "not base64!").is_err());
    }

    #[test]
    fn bitmap_of_any_damaged_bytes_is_refused_or_legal_but_never_panics() {
        let bytes = encode(&(0..2_000).step_by(3).collect());
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut damaged = bytes.clone();
                damaged[at] ^= 1 << bit;
                if let Ok(rows) = decode("s", &damaged, 2_000, 667) {
                    assert!(rows.max() < Some(2_000) && rows.len() == 667);
                }
            }
        }
    }
}
