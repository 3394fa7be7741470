//! Cursors: where the next page of a long answer begins, and in which state. A text that clients hand back unchanged.
//!
//! Bytes, in base64 for URLs without padding: version (1), namespace (16), sequence (8, little-endian), place (the key
//! of the last row or group that was given), CRC-32C of all before (4, little-endian). Clients are promised none of it.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use uuid::Uuid;

use super::request::AsOf;
use crate::error::{Error, ErrorKind, Result};
use crate::types::{NamespaceId, WalSeq};

const VERSION: u8 = 1;
/// A longer text is none that was ever given: ids and the values of an order have their limits.
const TEXT_BYTES_MAX: usize = 128 << 10;

/// Where the next page begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    /// The namespace.
    pub namespace: NamespaceId,
    /// The state that all pages are of.
    pub seq: WalSeq,
    /// The place of the last row or group before it, as the order of the question encodes places.
    pub place: Arc<[u8]>,
}

impl Cursor {
    /// The state that it reads.
    pub fn as_of(&self) -> AsOf {
        AsOf {
            seq: self.seq,
            namespace: Some(self.namespace),
        }
    }

    /// The text that clients hand back, for the question whose `fingerprint` this is.
    pub fn to_text(&self, fingerprint: u64) -> String {
        let mut bytes = vec![VERSION];
        bytes.extend(self.namespace.0.as_bytes());
        bytes.extend(self.seq.0.to_le_bytes());
        bytes.extend(&*self.place);
        let sum = sum_of(&bytes, fingerprint);
        bytes.extend(sum.to_le_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Reads a text. Errors: `InvalidRequest` with code `cursor_invalid` where it is not one that was given for the
    /// question whose `fingerprint` this is.
    pub fn parse(text: &str, fingerprint: u64) -> Result<Self> {
        read(text, fingerprint).ok_or_else(|| {
            invalid("expected the `next_cursor` of an answer to the same `rank_by`, `filters`, `aggregate_by` and `group_by`")
        })
    }
}

/// Says that a cursor is none of the question.
pub(super) fn invalid(why: &str) -> Error {
    let message = format!("`cursor` is invalid: {why}");
    Error::new(ErrorKind::InvalidRequest, "cursor_invalid", message)
}

fn read(text: &str, fingerprint: u64) -> Option<Cursor> {
    if text.len() > TEXT_BYTES_MAX {
        return None;
    }
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    let (bytes, sum) = bytes.split_last_chunk::<4>()?;
    if u32::from_le_bytes(*sum) != sum_of(bytes, fingerprint) {
        return None;
    }
    let (version, bytes) = bytes.split_first()?;
    let (namespace, bytes) = bytes.split_first_chunk::<16>()?;
    let (seq, place) = bytes.split_first_chunk::<8>()?;
    (*version == VERSION).then(|| Cursor {
        namespace: NamespaceId(Uuid::from_bytes(*namespace)),
        seq: WalSeq(u64::from_le_bytes(*seq)),
        place: place.into(),
    })
}

/// The question is not in the text: one of another question has another sum.
fn sum_of(bytes: &[u8], fingerprint: u64) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&fingerprint.to_le_bytes()), bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cursor() -> Cursor {
        Cursor {
            namespace: NamespaceId(Uuid::from_u128(7)),
            seq: WalSeq(300),
            place: [1, 0, 255, 3].into(),
        }
    }

    #[test]
    fn cursor_comes_back_from_its_text_for_its_own_question_alone() {
        let text = cursor().to_text(11);
        assert_eq!(Cursor::parse(&text, 11).expect("reads"), cursor());
        let error = Cursor::parse(&text, 12).expect_err("another question");
        assert_eq!(error.code(), "cursor_invalid");
    }

    #[test]
    fn text_with_any_character_changed_is_refused() {
        let text = cursor().to_text(11);
        for at in 0..text.len() {
            let mut changed: Vec<char> = text.chars().collect();
            changed[at] = if changed[at] == 'A' { 'B' } else { 'A' };
            let changed: String = changed.into_iter().collect();
            assert!(Cursor::parse(&changed, 11).is_err(), "{at}");
            assert!(Cursor::parse(&text[..at], 11).is_err(), "{at}");
        }
        let long = "A".repeat(TEXT_BYTES_MAX + 1);
        for other in ["", "true", "\u{e9}", text.trim_end_matches('A'), &long] {
            if other != text {
                assert!(Cursor::parse(other, 11).is_err(), "{}", other.len());
            }
        }
    }
}
