//! The envelope of every object but slots and the files of segments, and of the footers of those: a
//! 64-byte header, then the payload.
//!
//! Format: `docs/format/envelope.md`.

use xxhash_rust::xxh3::xxh3_128;

use crate::error::{Error, ErrorKind, Result};

/// First bytes of every enveloped object.
pub const MAGIC: [u8; 8] = *b"ELACSYM\0";
/// The one format level this version writes and reads.
pub const LEVEL: u16 = 1;
/// Bytes before the payload.
pub const HEADER_BYTES: usize = 64;
/// Where the header's reserved bytes begin; they end where the checksum does.
const RESERVED_AT: usize = 40;
/// Bytes of the header that its checksum covers.
const CHECKED_BYTES: usize = HEADER_BYTES - 4;

/// What an enveloped object is. Numbers are permanent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum ObjectKind {
    /// `STORE`.
    Store = 1,
    /// A record of a name.
    Name = 2,
    /// A namespace's birth record.
    Genesis = 3,
    /// A manifest, and the advisory copies of it.
    Manifest = 4,
    /// The advisory hint of a name.
    Hint = 5,
    /// The footer of a segment's index file.
    Footer = 6,
    /// A bitmap of deleted rows.
    Deletions = 7,
    /// A dirty hint.
    Dirty = 8,
    /// A quarantine marker.
    Marker = 9,
}

/// Wraps a payload.
pub fn seal(kind: ObjectKind, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER_BYTES + payload.len());
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&(kind as u16).to_le_bytes());
    out.extend_from_slice(&LEVEL.to_le_bytes());
    out.extend_from_slice(&0u32.to_le_bytes());
    out.extend_from_slice(&(payload.len() as u64).to_le_bytes());
    out.extend_from_slice(&xxh3_128(payload).to_le_bytes());
    out.resize(CHECKED_BYTES, 0);
    let crc = crc32c::crc32c(&out);
    out.extend_from_slice(&crc.to_le_bytes());
    out.extend_from_slice(payload);
    out
}

/// Unwraps an object and verifies it.
///
/// Errors: `Corrupted` naming `key`, expected and found; `Unavailable` with code `unknown_format` for a
/// newer level or flag, since the bytes may be right and this version too old.
pub fn open<'a>(key: &str, kind: ObjectKind, bytes: &'a [u8]) -> Result<&'a [u8]> {
    let mut header = Cursor::new(key, bytes);
    header.magic(&MAGIC)?;
    let found_kind = header.u16()?;
    let level = header.u16()?;
    let flags = header.u32()?;
    let length = header.u64()?;
    let hash = header.u128()?;
    let checked = bytes.get(..CHECKED_BYTES);
    let crc = bytes.get(CHECKED_BYTES..HEADER_BYTES);
    match (checked, crc) {
        (Some(checked), Some(crc)) if crc32c::crc32c(checked).to_le_bytes() == *crc => {}
        _ => return Err(header.corrupt("header checksum", "a matching crc32c", "another")),
    }
    check_level(key, level, flags)?;
    header.reserved("reserved bytes 40 to 59", CHECKED_BYTES - RESERVED_AT)?;
    if found_kind != kind as u16 {
        return Err(header.corrupt("object kind", kind as u16, found_kind));
    }
    let payload = bytes.get(HEADER_BYTES..).unwrap_or_default();
    if payload.len() as u64 != length {
        return Err(header.corrupt("payload length", length, payload.len()));
    }
    let found_hash = xxh3_128(payload);
    if found_hash != hash {
        return Err(header.corrupt(
            "payload hash",
            format_args!("{hash:032x}"),
            format_args!("{found_hash:032x}"),
        ));
    }
    Ok(payload)
}

/// Whether bytes begin like an object of a kind and are as long as they say. Proves nothing else.
pub(super) fn is_whole(kind: ObjectKind, bytes: &[u8]) -> bool {
    let found = bytes.get(8..10) == Some(&(kind as u16).to_le_bytes());
    let length = bytes.len().checked_sub(HEADER_BYTES).map(|n| n as u64);
    let told = bytes.get(16..24).and_then(|told| told.try_into().ok());
    found && bytes.starts_with(&MAGIC) && length == told.map(u64::from_le_bytes)
}

/// Refuses a level or a flag that this version does not know.
pub(super) fn check_level(key: &str, level: u16, flags: u32) -> Result<()> {
    if level == LEVEL && flags == 0 {
        return Ok(());
    }
    Err(unknown(
        key,
        "level and flags",
        format_args!("level {LEVEL} flags 0"),
        format_args!("level {level} flags {flags:#x}"),
    ))
}

/// Reads fixed-width little-endian fields off strange bytes.
#[derive(Debug)]
pub(super) struct Cursor<'a> {
    key: &'a str,
    rest: &'a [u8],
    read: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(key: &'a str, bytes: &'a [u8]) -> Self {
        Self {
            key,
            rest: bytes,
            read: 0,
        }
    }

    pub(super) fn corrupt(
        &self,
        what: &str,
        expected: impl std::fmt::Display,
        found: impl std::fmt::Display,
    ) -> Error {
        corrupt(self.key, what, expected, found)
    }

    /// Reads bytes that this level writes 0: anything else has a meaning that this version does not know.
    pub(super) fn reserved(&mut self, what: &str, n: usize) -> Result<()> {
        let found = self.bytes(n)?;
        if found.iter().all(|byte| *byte == 0) {
            return Ok(());
        }
        Err(unknown(self.key, what, "0", found.escape_ascii()))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(super) fn bytes(&mut self, n: usize) -> Result<&'a [u8]> {
        let Some((head, rest)) = self.rest.split_at_checked(n) else {
            let expected = self.read.saturating_add(n);
            let found = self.read + self.rest.len();
            return Err(self.corrupt("length", format_args!("{expected} bytes or more"), found));
        };
        self.rest = rest;
        self.read += n;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut out = [0; N];
        out.copy_from_slice(self.bytes(N)?);
        Ok(out)
    }

    pub(super) fn magic(&mut self, magic: &[u8; 8]) -> Result<()> {
        let found = self.array::<8>()?;
        if found == *magic {
            return Ok(());
        }
        Err(self.corrupt(
            "magic",
            magic.escape_ascii(),
            format_args!("{}", found.escape_ascii()),
        ))
    }

    pub(super) fn u16(&mut self) -> Result<u16> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    pub(super) fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(super) fn u64(&mut self) -> Result<u64> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    pub(super) fn u128(&mut self) -> Result<u128> {
        Ok(u128::from_le_bytes(self.array()?))
    }
}

/// The one wording of what a newer version may have written.
pub(super) fn unknown(
    key: &str,
    what: &str,
    expected: impl std::fmt::Display,
    found: impl std::fmt::Display,
) -> Error {
    Error::new(
        ErrorKind::Unavailable,
        "unknown_format",
        format!(
            "object `{key}` has an unknown format: {what}: expected {expected}, found {found}; a newer version of elacsym is needed"
        ),
    )
    .with_detail("object", key)
}

/// The one wording of damage: object, field, expected, found.
pub(crate) fn corrupt(
    key: &str,
    what: &str,
    expected: impl std::fmt::Display,
    found: impl std::fmt::Display,
) -> Error {
    Error::corrupted(format!(
        "object `{key}` is damaged: {what}: expected {expected}, found {found}"
    ))
    .with_detail("object", key)
    .with_detail("expected", format_args!("{what}: {expected}"))
    .with_detail("found", found)
}
