//! Slots: a fixed header of 128 bytes, read alone to anchor, then a body of frames.
//!
//! Format: `docs/format/wal.md`.

use std::io::Cursor as IoCursor;
use std::panic::catch_unwind;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, FixedSizeListArray, Float32Array, RecordBatch};
use arrow::datatypes::{DataType, Field, FieldRef, Schema};
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_128;

use super::effects::Effects;
use super::frame::{self, Cursor, corrupt};
use crate::error::{Error, ErrorKind, Result};
use crate::lsm::{Entry, SlotHeader};
use crate::rows::layout;
use crate::types::{AttrId, Nonce, SlotName, Timestamp, WalSeq, limits};

/// First bytes of every slot.
pub const MAGIC: [u8; 8] = *b"ELACWAL\0";
/// Bytes of the header: what an anchor check reads.
pub const HEADER_BYTES: usize = 128;
const CHECKED_BYTES: usize = HEADER_BYTES - 4;

/// A frame no larger than this is not worth compressing.
const COMPRESS_FROM_BYTES: usize = 512;
const ZSTD_LEVEL: i32 = 1;

/// Frame types; numbers are permanent.
const FRAME_ENTRY: u16 = 1;
const FRAME_ROWS: u16 = 2;
const FRAME_VECTORS: u16 = 3;
const FRAME_DELETES: u16 = 4;

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
        let json = serde_json::to_vec(entry)
            .map_err(|error| Error::internal("log entry does not encode").with_source(error))?;
        push_frame(&mut bytes, FRAME_ENTRY, 0, &json)?;
        if let Some(rows) = effects.upserts.as_ref().filter(|rows| rows.num_rows() > 0) {
            push_rows(&mut bytes, rows)?;
        }
        if let Some(ids) = &effects.deletes {
            let field = Field::new("id", ids.data_type().clone(), false);
            let batch = RecordBatch::try_new(Arc::new(Schema::new(vec![field])), vec![ids.clone()])
                .map_err(not_encodable)?;
            push_frame(&mut bytes, FRAME_DELETES, 0, &ipc_bytes(&batch)?)?;
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
    cursor.u32()?;
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
    let mut entry = None;
    let mut effects = Effects::default();
    while !cursor.is_empty() {
        let frame = read_frame(key, &mut cursor)?;
        match frame.kind {
            FRAME_ENTRY => {
                let decoded: Entry = serde_json::from_slice(&frame.bytes)
                    .map_err(|error| corrupt(key, "entry", "one of this version", error))?;
                entry = Some(decoded);
            }
            FRAME_ROWS => effects.upserts = Some(read_ipc(key, &frame.bytes)?),
            FRAME_VECTORS => {
                let rows = effects
                    .upserts
                    .take()
                    .ok_or_else(|| corrupt(key, "frame order", "rows before vectors", "none"))?;
                effects.upserts = Some(add_vectors(key, rows, frame.attr, frame.bytes)?);
            }
            FRAME_DELETES => {
                let batch = read_ipc(key, &frame.bytes)?;
                effects.deletes = batch.columns().first().cloned();
            }
            other => return Err(corrupt(key, "frame type", "1 to 4", other)),
        }
    }
    if let Some(rows) = &effects.upserts {
        layout::check(rows)
            .map_err(|error| corrupt(key, "rows", "the layout of documents", error))?;
    }
    if let Some(ids) = &effects.deletes
        && layout::id_kind_of(ids.data_type()).is_none()
    {
        return Err(corrupt(key, "deleted ids", "an id column", ids.data_type()));
    }
    let entry = entry.ok_or_else(|| corrupt(key, "entry frame", "one", "none"))?;
    if kind_number(&entry) != header.kind {
        return Err(corrupt(key, "entry kind", header.kind, kind_number(&entry)));
    }
    Ok(Slot {
        header: header.facts,
        entry,
        effects,
    })
}

/// The permanent number of an entry kind. 8 (a merge of segments), 9 (a built index) and 16 (parts of a
/// large write) are reserved.
fn kind_number(entry: &Entry) -> u16 {
    match entry {
        Entry::Init { .. } => 1,
        Entry::Write(_) => 2,
        Entry::Claim { .. } => 3,
        Entry::Abort { .. } => 4,
        Entry::Flush { .. } => 5,
        Entry::Schema { .. } => 6,
        Entry::Configure { .. } => 7,
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
    if (1..=7).contains(&kind) || (10..=15).contains(&kind) || kind == 17 {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Unavailable,
        "unknown_format",
        format!(
            "slot `{key}` has entry kind {kind}, which this version does not know; a newer version of elacsym is needed"
        ),
    ))
}

struct Frame {
    kind: u16,
    attr: u32,
    bytes: Vec<u8>,
}

/// Frame header, 24 bytes: type u16, codec u16, attribute u32, raw length u64, stored length u64.
fn push_frame(out: &mut Vec<u8>, kind: u16, attr: u32, raw: &[u8]) -> Result<()> {
    let packed = if kind != FRAME_VECTORS && raw.len() >= COMPRESS_FROM_BYTES {
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

/// Vectors go raw, so that they can be used without decompression; the rest goes as one Arrow stream.
fn push_rows(out: &mut Vec<u8>, rows: &RecordBatch) -> Result<()> {
    let schema = rows.schema();
    // A vector column with gaps keeps them in the Arrow stream; it is rare and short-lived.
    let is_raw = |column: &ArrayRef| {
        matches!(column.data_type(), DataType::FixedSizeList(..)) && column.null_count() == 0
    };
    let rest: Vec<usize> = rows
        .columns()
        .iter()
        .enumerate()
        .filter(|(_, column)| !is_raw(column))
        .map(|(position, _)| position)
        .collect();
    let rest = rows.project(&rest).map_err(not_encodable)?;
    push_frame(out, FRAME_ROWS, 0, &ipc_bytes(&rest)?)?;
    for (field, column) in schema.fields().iter().zip(rows.columns()) {
        if is_raw(column) {
            let attr = attr_of(field.name()).ok_or_else(|| {
                Error::internal(format!("vector column `{}` has no number", field.name()))
            })?;
            push_frame(out, FRAME_VECTORS, attr, vector_bytes(column)?)?;
        }
    }
    Ok(())
}

fn vector_bytes(column: &ArrayRef) -> Result<&[u8]> {
    let list = column
        .as_any()
        .downcast_ref::<FixedSizeListArray>()
        .ok_or_else(|| Error::internal("vector column is not a fixed size list"))?;
    let values = list
        .values()
        .as_any()
        .downcast_ref::<Float32Array>()
        .ok_or_else(|| Error::internal("vector column does not hold f32"))?;
    let dims = usize::try_from(list.value_length()).unwrap_or(0);
    let first = list.offset() * dims;
    values
        .values()
        .get(first..first + list.len() * dims)
        .map(bytemuck::cast_slice)
        .ok_or_else(|| Error::internal("vector column is shorter than its rows"))
}

fn add_vectors(key: &str, rows: RecordBatch, attr: u32, bytes: Vec<u8>) -> Result<RecordBatch> {
    let n = rows.num_rows();
    let dims = bytes.len() / 4 / n.max(1);
    let fits = n > 0 && dims > 0 && dims * 4 * n == bytes.len();
    if !fits || dims > limits::VECTOR_DIMS_MAX {
        return Err(corrupt(
            key,
            "vector frame length",
            format_args!("a multiple of 4 x {n}"),
            bytes.len(),
        ));
    }
    // Copied: the bytes of a frame need not lie where an f32 may.
    let mut values = vec![0.0_f32; bytes.len() / 4];
    bytemuck::cast_slice_mut::<f32, u8>(&mut values).copy_from_slice(&bytes);
    let values = Float32Array::from(values);
    let item = Arc::new(Field::new("item", DataType::Float32, false));
    let list = FixedSizeListArray::try_new(
        item,
        i32::try_from(dims).unwrap_or(0),
        Arc::new(values),
        None,
    )
    .map_err(|error| corrupt(key, "vectors", "a fixed size list", error))?;
    insert_column(key, rows, attr, Arc::new(list))
}

/// Puts a column where its attribute number says: after `id`, in ascending order.
fn insert_column(key: &str, rows: RecordBatch, attr: u32, column: ArrayRef) -> Result<RecordBatch> {
    let schema = rows.schema();
    let position = schema
        .fields()
        .iter()
        .position(|field| attr_of(field.name()).is_some_and(|other| other > attr))
        .unwrap_or(rows.num_columns());
    let mut fields: Vec<FieldRef> = schema.fields().iter().cloned().collect();
    let mut columns = rows.columns().to_vec();
    let field_id = (u64::from(attr) + 1).to_string();
    let metadata: std::collections::HashMap<_, _> =
        [(layout::FIELD_ID_KEY.to_owned(), field_id)].into();
    let name = layout::column_name(AttrId(attr));
    let field = Field::new(name, column.data_type().clone(), true).with_metadata(metadata);
    fields.insert(position, Arc::new(field));
    columns.insert(position, column);
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
        .map_err(|error| corrupt(key, "rows", "columns of one length", error))
}

fn attr_of(column: &str) -> Option<u32> {
    layout::attr_of(column).map(|attr| attr.0)
}

fn ipc_bytes(batch: &RecordBatch) -> Result<Vec<u8>> {
    let mut writer = StreamWriter::try_new(Vec::new(), &batch.schema()).map_err(not_encodable)?;
    writer.write(batch).map_err(not_encodable)?;
    writer.into_inner().map_err(not_encodable)
}

/// Arrow's reader checks what it reads, but meets some malformed streams with a panic. The body's hash keeps
/// damage away from it; what is left is a stream made wrong on purpose, which must not take the task down.
fn read_ipc(key: &str, bytes: &[u8]) -> Result<RecordBatch> {
    catch_unwind(|| read_ipc_stream(key, bytes)).unwrap_or_else(|_| {
        Err(corrupt(
            key,
            "rows",
            "one Arrow batch",
            "a malformed stream",
        ))
    })
}

fn read_ipc_stream(key: &str, bytes: &[u8]) -> Result<RecordBatch> {
    let broken = |error: &dyn std::fmt::Display| corrupt(key, "rows", "one Arrow batch", error);
    let mut reader =
        StreamReader::try_new(IoCursor::new(bytes), None).map_err(|error| broken(&error))?;
    match reader.next() {
        Some(batch) => batch.map_err(|error| broken(&error)),
        None => Err(broken(&"an empty stream")),
    }
}

fn not_encodable(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::internal("rows do not encode").with_source(error)
}
