//! Slots: a fixed header of 128 bytes, read alone to anchor, then a body of frames.
//!
//! Format: `docs/format/wal.md`.

mod rows;

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_128;

use super::effects::Effects;
use super::frame::{self, Cursor, corrupt, unknown};
use super::json;
use crate::error::Result;
use crate::lsm::{Entry, SlotHeader};
use crate::rows::layout;
use crate::types::{Nonce, SlotName, Timestamp, VectorElement, WalSeq, limits};
use rows::{add_vectors, not_encodable, push_deletes, push_rows, read_deletes, read_ipc};

/// First bytes of every slot.
pub const MAGIC: [u8; 8] = *b"ELACWAL\0";
/// Bytes of the header: what an anchor check reads.
pub const HEADER_BYTES: usize = 128;
/// Where the header's last reserved bytes begin; they end where the checksum does.
const RESERVED_AT: usize = 88;
const CHECKED_BYTES: usize = HEADER_BYTES - 4;

/// A frame no larger than this is not worth compressing.
const COMPRESS_FROM_BYTES: usize = 512;
const ZSTD_LEVEL: i32 = 1;

/// Frame types; numbers are permanent.
const FRAME_ENTRY: u16 = 1;
const FRAME_ROWS: u16 = 2;
const FRAME_VECTORS: u16 = 3;
const FRAME_DELETES: u16 = 4;
const FRAME_VECTORS_F16: u16 = 5;
const FRAME_VECTORS_I8: u16 = 6;

const CODEC_RAW: u16 = 0;
const CODEC_ZSTD: u16 = 1;

/// One slot, whole.
#[derive(Debug, Clone, PartialEq)]
pub struct Slot {
    /// Where it lies and whose it is.
    pub header: SlotHeader,
    /// What it says.
    pub entry: Entry,
    /// The rows of a write entry; empty for every other kind.
    pub effects: Effects,
}

/// The body of a slot, encoded once: a create that is repeated carries a new header and the same body.
#[derive(Debug, Clone)]
pub struct Body {
    kind: u16,
    bytes: Vec<u8>,
    hash: u128,
}

impl Body {
    /// Encodes an entry and its rows.
    pub fn encode(entry: &Entry, effects: &Effects) -> Result<Self> {
        let mut bytes = Vec::new();
        push_frame(&mut bytes, FRAME_ENTRY, 0, &json::encode(entry)?)?;
        if let Some(rows) = effects.upserts.as_ref().filter(|rows| rows.num_rows() > 0) {
            push_rows(&mut bytes, rows)?;
        }
        if let Some(ids) = effects.deletes.as_ref().filter(|ids| !ids.is_empty()) {
            push_deletes(&mut bytes, ids)?;
        }
        let hash = xxh3_128(&bytes);
        Ok(Self {
            kind: kind_number(entry),
            bytes,
            hash,
        })
    }

    /// Bytes of the body.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether the body is empty; it never is, it has an entry frame.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The object: header and body.
    pub fn seal(&self, header: &SlotHeader) -> Bytes {
        let mut out = Vec::with_capacity(HEADER_BYTES + self.bytes.len());
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&frame::LEVEL.to_le_bytes());
        out.extend_from_slice(&self.kind.to_le_bytes());
        out.extend_from_slice(&0u32.to_le_bytes());
        out.extend_from_slice(&header.nonce.0.to_le_bytes());
        out.extend_from_slice(&header.seq.0.to_le_bytes());
        out.extend_from_slice(&header.slot.block.to_le_bytes());
        out.extend_from_slice(&header.slot.idx.to_le_bytes());
        out.extend_from_slice(&0u32.to_le_bytes());
        out.extend_from_slice(&header.written_at.0.to_le_bytes());
        out.extend_from_slice(&(self.bytes.len() as u64).to_le_bytes());
        out.extend_from_slice(&self.hash.to_le_bytes());
        out.resize(CHECKED_BYTES, 0);
        let crc = crc32c::crc32c(&out);
        out.extend_from_slice(&crc.to_le_bytes());
        out.extend_from_slice(&self.bytes);
        Bytes::from(out)
    }
}

struct Header {
    facts: SlotHeader,
    kind: u16,
    hash: u128,
}

fn decode_full_header(key: &str, bytes: &[u8]) -> Result<Header> {
    let mut cursor = Cursor::new(key, bytes);
    cursor.magic(&MAGIC)?;
    let level = cursor.u16()?;
    let kind = cursor.u16()?;
    let flags = cursor.u32()?;
    let nonce = Nonce(cursor.u128()?);
    let seq = WalSeq(cursor.u64()?);
    let block = cursor.u64()?;
    let idx = cursor.u32()?;
    let reserved = cursor.u32()?;
    let written_at = Timestamp(i64::from_le_bytes(cursor.u64()?.to_le_bytes()));
    let body_bytes = cursor.u64()?;
    let hash = cursor.u128()?;
    match (
        bytes.get(..CHECKED_BYTES),
        bytes.get(CHECKED_BYTES..HEADER_BYTES),
    ) {
        (Some(checked), Some(crc)) if crc32c::crc32c(checked).to_le_bytes() == *crc => {}
        _ => return Err(cursor.corrupt("header checksum", "a matching crc32c", "another")),
    }
    frame::check_level(key, level, flags)?;
    if reserved != 0 {
        return Err(unknown(key, "reserved bytes 52 to 55", 0, reserved));
    }
    cursor.reserved("reserved bytes 88 to 123", CHECKED_BYTES - RESERVED_AT)?;
    Ok(Header {
        facts: SlotHeader {
            seq,
            slot: SlotName { block, idx },
            nonce,
            written_at,
            body_bytes,
        },
        kind,
        hash,
    })
}

/// Decodes the header alone, as an anchor check does; `bytes` may be longer.
///
/// Errors: `Corrupted`; `Unavailable` for an unknown format.
pub fn decode_header(key: &str, bytes: &[u8]) -> Result<SlotHeader> {
    Ok(decode_full_header(key, bytes)?.facts)
}

/// Decodes and verifies a whole slot.
///
/// Errors: `Corrupted` naming the object and what is wrong; `Unavailable` with code `unknown_format` for a
/// level or an entry kind that this version does not know: it must stop serving the namespace then.
pub fn decode(key: &str, bytes: &Bytes) -> Result<Slot> {
    let header = decode_full_header(key, bytes)?;
    let body = bytes.get(HEADER_BYTES..).unwrap_or_default();
    if body.len() as u64 != header.facts.body_bytes {
        return Err(corrupt(
            key,
            "body length",
            header.facts.body_bytes,
            body.len(),
        ));
    }
    let found = xxh3_128(body);
    if found != header.hash {
        return Err(corrupt(
            key,
            "body hash",
            format_args!("{:032x}", header.hash),
            format_args!("{found:032x}"),
        ));
    }
    decode_body(key, &header, body)
}

fn decode_body(key: &str, header: &Header, body: &[u8]) -> Result<Slot> {
    check_kind(key, header.kind)?;
    let mut cursor = Cursor::new(key, body);
    let first = read_frame(key, &mut cursor)?;
    if first.kind != FRAME_ENTRY {
        let expected = "1, the entry, as the first frame";
        return Err(corrupt(key, "frame type", expected, first.kind));
    }
    no_attribute(key, &first)?;
    let entry: Entry = json::decode(key, "entry", &first.bytes)?;
    if kind_number(&entry) != header.kind {
        return Err(corrupt(key, "entry kind", header.kind, kind_number(&entry)));
    }
    let effects = decode_effects(key, &entry, &mut cursor)?;
    Ok(Slot {
        header: header.facts,
        entry,
        effects,
    })
}

/// Decodes the frames after the entry: rows, their vectors by ascending attribute, deleted ids.
fn decode_effects(key: &str, entry: &Entry, cursor: &mut Cursor<'_>) -> Result<Effects> {
    let mut effects = Effects::default();
    // Turn and attribute of the frame before: both together only rise, so none comes twice.
    let mut last = (0, 0);
    while !cursor.is_empty() {
        let frame = read_frame(key, cursor)?;
        if !matches!(entry, Entry::Write(_)) {
            let found = format_args!("one of type {}", frame.kind);
            return Err(corrupt(key, "frame after a non-write entry", "none", found));
        }
        let element = element_of(frame.kind);
        let turn = match frame.kind {
            FRAME_ROWS => 1,
            FRAME_DELETES => 3,
            _ if element.is_some() => 2,
            other => return Err(corrupt(key, "frame type", "2 to 6 after the entry", other)),
        };
        let place = (turn, frame.attr);
        if place <= last {
            let expected = format_args!("rows, vectors by attribute, deletes, each once");
            let found = format_args!("type {} attribute {}", frame.kind, frame.attr);
            return Err(corrupt(key, "frame order", expected, found));
        }
        last = place;
        match (frame.kind, element) {
            (_, Some(element)) => {
                let rows = effects
                    .upserts
                    .take()
                    .ok_or_else(|| corrupt(key, "frame order", "rows before vectors", "none"))?;
                let vectors = (frame.attr, element, frame.bytes.as_slice());
                effects.upserts = Some(add_vectors(key, rows, vectors)?);
            }
            (FRAME_ROWS, _) => {
                no_attribute(key, &frame)?;
                effects.upserts = Some(read_ipc(key, &frame.bytes)?);
            }
            _ => {
                no_attribute(key, &frame)?;
                effects.deletes = Some(read_deletes(key, &frame.bytes)?);
            }
        }
    }
    if let Some(rows) = &effects.upserts {
        layout::check(rows)
            .map_err(|error| corrupt(key, "rows", "the layout of documents", error))?;
    }
    Ok(effects)
}

fn no_attribute(key: &str, frame: &Frame) -> Result<()> {
    if frame.attr == 0 {
        return Ok(());
    }
    let what = format!("attribute of a frame of type {}", frame.kind);
    Err(corrupt(key, &what, 0, frame.attr))
}

/// The width of a frame of vectors; `None` for other frames.
fn element_of(kind: u16) -> Option<VectorElement> {
    let mut elements = VectorElement::ALL.into_iter();
    elements.find(|element| frame_of(*element) == kind)
}

fn frame_of(element: VectorElement) -> u16 {
    match element {
        VectorElement::F32 => FRAME_VECTORS,
        VectorElement::F16 => FRAME_VECTORS_F16,
        VectorElement::I8 => FRAME_VECTORS_I8,
    }
}

/// The permanent number of an entry kind. 16 (parts of a large write) is reserved.
fn kind_number(entry: &Entry) -> u16 {
    match entry {
        Entry::Init { .. } => 1,
        Entry::Write(_) => 2,
        Entry::Claim { .. } => 3,
        Entry::Abort { .. } => 4,
        Entry::Flush { .. } => 5,
        Entry::Schema { .. } => 6,
        Entry::Configure { .. } => 7,
        Entry::Compact { .. } => 8,
        Entry::IndexBuild { .. } => 9,
        Entry::Pin { .. } => 10,
        Entry::Unpin { .. } => 11,
        Entry::Truncate { .. } => 12,
        Entry::Drop { .. } => 13,
        Entry::Undrop => 14,
        Entry::Reap => 15,
        Entry::SetLevel { .. } => 17,
    }
}

fn check_kind(key: &str, kind: u16) -> Result<()> {
    if (1..=15).contains(&kind) || kind == 17 {
        return Ok(());
    }
    Err(unknown(key, "entry kind", "1 to 15 or 17", kind))
}

struct Frame {
    kind: u16,
    attr: u32,
    bytes: Vec<u8>,
}

/// Frame header, 24 bytes: type u16, codec u16, attribute u32, raw length u64, stored length u64.
fn push_frame(out: &mut Vec<u8>, kind: u16, attr: u32, raw: &[u8]) -> Result<()> {
    let packed = if element_of(kind).is_none() && raw.len() >= COMPRESS_FROM_BYTES {
        Some(zstd::bulk::compress(raw, ZSTD_LEVEL).map_err(not_encodable)?)
    } else {
        None
    };
    let (codec, stored) = match &packed {
        Some(packed) if packed.len() < raw.len() => (CODEC_ZSTD, packed.as_slice()),
        _ => (CODEC_RAW, raw),
    };
    out.extend_from_slice(&kind.to_le_bytes());
    out.extend_from_slice(&codec.to_le_bytes());
    out.extend_from_slice(&attr.to_le_bytes());
    out.extend_from_slice(&(raw.len() as u64).to_le_bytes());
    out.extend_from_slice(&(stored.len() as u64).to_le_bytes());
    out.extend_from_slice(stored);
    Ok(())
}

fn read_frame(key: &str, cursor: &mut Cursor<'_>) -> Result<Frame> {
    let kind = cursor.u16()?;
    let codec = cursor.u16()?;
    let attr = cursor.u32()?;
    let raw_len = bounded(key, "frame length", cursor.u64()?)?;
    let stored_len = bounded(key, "stored frame length", cursor.u64()?)?;
    let stored = cursor.bytes(stored_len)?;
    let bytes = match codec {
        CODEC_RAW => stored.to_vec(),
        CODEC_ZSTD => zstd::bulk::decompress(stored, raw_len)
            .map_err(|error| corrupt(key, "compressed frame", "valid zstd", error))?,
        other => return Err(corrupt(key, "frame codec", "0 or 1", other)),
    };
    if bytes.len() != raw_len {
        return Err(corrupt(key, "frame length", raw_len, bytes.len()));
    }
    Ok(Frame { kind, attr, bytes })
}

fn bounded(key: &str, what: &str, length: u64) -> Result<usize> {
    usize::try_from(length)
        .ok()
        .filter(|length| *length <= limits::SLOT_BYTES_MAX)
        .ok_or_else(|| {
            corrupt(
                key,
                what,
                format_args!("at most {}", limits::SLOT_BYTES_MAX),
                length,
            )
        })
}
