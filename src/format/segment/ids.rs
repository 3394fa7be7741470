//! Finding a document by its id: a filter that says no, and sorted blocks that say where.
//!
//! Format: `docs/format/segment.md`.

use std::collections::BTreeMap;
use std::ops::Range;

use arrow::array::RecordBatch;
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_64;

use crate::error::Result;
use crate::format::frame::{Cursor, corrupt};
use crate::rows;
use crate::types::{DocId, IdKind, limits};

/// An id block is closed before it would pass this.
pub const ID_BLOCK_BYTES_MAX: usize = 64 << 10;
/// Bits of the filter for each id.
const FILTER_BITS: u64 = 10;
/// Bytes of a block of the filter: eight words, one bit of each is set for an id.
const FILTER_BLOCK_BYTES: usize = 32;
/// Odd multipliers that spread one hash over the eight words.
const SALTS: [u32; 8] = [
    0x47b6_137b,
    0x4497_4d91,
    0x8824_ad5b,
    0xa2b7_289d,
    0x7054_95c7,
    0x2df1_424b,
    0x9efc_4947,
    0x5c6b_fb31,
];

/// The bytes of an id that are hashed and stored: numbers highest byte first, so that all order by bytes.
fn with_bytes<T>(id: &DocId, use_them: impl FnOnce(&[u8]) -> T) -> T {
    match id {
        DocId::Uint(id) => use_them(&id.to_be_bytes()),
        DocId::Uuid(id) => use_them(id.as_bytes()),
        DocId::String(id) => use_them(id.as_bytes()),
    }
}

/// A split-block Bloom filter of all ids of a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct IdFilter {
    words: Vec<[u32; 8]>,
}

impl IdFilter {
    fn new(ids: u64) -> Self {
        let bits = ids.saturating_mul(FILTER_BITS).max(1);
        let blocks = bits.div_ceil(FILTER_BLOCK_BYTES as u64 * 8);
        Self {
            words: vec![[0; 8]; usize::try_from(blocks).unwrap_or(usize::MAX)],
        }
    }

    fn block(&self, hash: u64) -> usize {
        // The upper half picks the block, the lower half the bits in it. Fits: the product is below the
        // number of blocks, times 2^32.
        (((hash >> 32) * self.words.len() as u64) >> 32) as usize
    }

    fn insert(&mut self, id: &[u8]) {
        let hash = xxh3_64(id);
        let at = self.block(hash);
        if let Some(block) = self.words.get_mut(at) {
            for (word, mask) in block.iter_mut().zip(masks(hash)) {
                *word |= mask;
            }
        }
    }

    fn may_contain(&self, id: &[u8]) -> bool {
        let hash = xxh3_64(id);
        self.words.get(self.block(hash)).is_none_or(|block| {
            block
                .iter()
                .zip(masks(hash))
                .all(|(word, mask)| word & mask != 0)
        })
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let words = self.words.iter().flatten();
        words.flat_map(|word| word.to_le_bytes()).collect()
    }

    pub(super) fn decode(key: &str, part: &[u8]) -> Result<Self> {
        let legal = !part.is_empty() && part.len().is_multiple_of(FILTER_BLOCK_BYTES);
        if !legal {
            return Err(corrupt(
                key,
                "filter of ids",
                "blocks of 32 bytes",
                part.len(),
            ));
        }
        let mut cursor = Cursor::new(key, part);
        let mut words = vec![[0; 8]; part.len() / FILTER_BLOCK_BYTES];
        for word in words.iter_mut().flatten() {
            *word = cursor.u32()?;
        }
        Ok(Self { words })
    }
}

fn masks(hash: u64) -> impl Iterator<Item = u32> {
    let low = hash as u32;
    SALTS
        .into_iter()
        .map(move |salt| 1 << (low.wrapping_mul(salt) >> 27))
}

/// Where one block of ids lies.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    first: DocId,
    range: Range<u64>,
}

/// A block of ids to be fetched from the index file, and which of the ids asked for may be in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdRead {
    /// The bytes to fetch; `IdBlock::decode` takes exactly these.
    pub range: Range<u64>,
    /// Positions in the list of ids asked for.
    pub ids: Vec<usize>,
}

/// What a footer keeps about ids: the filter and the first id of each block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct IdDirectory {
    pub(super) kind: IdKind,
    pub(super) filter: IdFilter,
    places: Vec<Place>,
}

impl IdDirectory {
    /// A directory of no ids.
    pub(super) fn empty(kind: IdKind) -> Self {
        Self {
            kind,
            filter: IdFilter::new(0),
            places: Vec::new(),
        }
    }

    pub(super) fn may_contain(&self, id: &DocId) -> bool {
        id.kind() == self.kind && with_bytes(id, |bytes| self.filter.may_contain(bytes))
    }

    pub(super) fn reads(&self, ids: &[DocId]) -> Vec<IdRead> {
        let mut reads: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (at, id) in ids.iter().enumerate() {
            let after = self.places.partition_point(|place| place.first <= *id);
            if after > 0 && self.may_contain(id) {
                reads.entry(after - 1).or_default().push(at);
            }
        }
        reads
            .into_iter()
            .filter_map(|(block, ids)| {
                let range = self.places.get(block)?.range.clone();
                Some(IdRead { range, ids })
            })
            .collect()
    }

    /// The block in which ids before this one end; `None` if there are none.
    pub(super) fn block_before(&self, id: &DocId) -> Option<Range<u64>> {
        let after = self.places.partition_point(|place| place.first <= *id);
        Some(self.places.get(after.checked_sub(1)?)?.range.clone())
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for place in &self.places {
            let bytes = (place.range.end - place.range.start) as u32;
            out.extend_from_slice(&bytes.to_le_bytes());
            with_bytes(&place.first, |id| {
                out.extend_from_slice(&(id.len() as u16).to_le_bytes());
                out.extend_from_slice(id);
            });
        }
        out
    }

    pub(super) fn decode(
        key: &str,
        kind: IdKind,
        section: Range<u64>,
        directory: &[u8],
        filter: &[u8],
    ) -> Result<Self> {
        let mut cursor = Cursor::new(key, directory);
        let mut places: Vec<Place> = Vec::new();
        let mut start = section.start;
        while !cursor.is_empty() {
            let bytes = u64::from(cursor.u32()?);
            let length = cursor.u16()?;
            let first = id_of(key, kind, cursor.bytes(usize::from(length))?)?;
            if places.last().is_some_and(|last| last.first >= first) {
                return Err(corrupt(key, "first ids of blocks", "ascending", first));
            }
            let range = start..start.saturating_add(bytes);
            start = range.end;
            places.push(Place { first, range });
        }
        if places.is_empty() || start != section.end {
            return Err(corrupt(key, "end of the last id block", section.end, start));
        }
        Ok(Self {
            kind,
            filter: IdFilter::decode(key, filter)?,
            places,
        })
    }

    pub(super) fn memory_bytes(&self) -> usize {
        let text = |place: &Place| match &place.first {
            DocId::String(id) => id.len(),
            _ => 0,
        };
        self.filter.words.len() * FILTER_BLOCK_BYTES
            + self.places.len() * size_of::<Place>()
            + self.places.iter().map(text).sum::<usize>()
    }
}

fn id_of(key: &str, kind: IdKind, bytes: &[u8]) -> Result<DocId> {
    let id = match kind {
        IdKind::Uint => bytes
            .try_into()
            .ok()
            .map(|bytes| DocId::Uint(u64::from_be_bytes(bytes))),
        IdKind::Uuid => Uuid::from_slice(bytes).ok().map(DocId::Uuid),
        IdKind::String => std::str::from_utf8(bytes)
            .ok()
            .filter(|text| text.len() <= limits::ID_BYTES_MAX)
            .map(|text| DocId::String(text.into())),
    };
    id.ok_or_else(|| corrupt(key, "id", kind.name(), bytes.escape_ascii()))
}

/// Builds the section of id blocks and the directory of it; the section starts at offset `at`.
pub(super) fn build(kind: IdKind, chunks: &[RecordBatch], at: u64) -> (Vec<u8>, IdDirectory) {
    let rows = chunks.iter().map(|chunk| chunk.num_rows() as u64).sum();
    let mut filter = IdFilter::new(rows);
    let mut section = Vec::new();
    let mut places = Vec::new();
    let mut open = OpenBlock::default();
    let mut row = 0_u32;
    for chunk in chunks {
        let ids = rows::id_column(chunk);
        for at_row in 0..ids.len() {
            let id = rows::id_at(ids, at_row);
            with_bytes(&id, |bytes| {
                filter.insert(bytes);
                if open.bytes() + bytes.len() + 8 > ID_BLOCK_BYTES_MAX {
                    open.close(kind, at, &mut section, &mut places);
                }
                open.push(bytes, row);
            });
            open.first.get_or_insert(id);
            row += 1;
        }
    }
    open.close(kind, at, &mut section, &mut places);
    let directory = IdDirectory {
        kind,
        filter,
        places,
    };
    (section, directory)
}

#[derive(Default)]
struct OpenBlock {
    first: Option<DocId>,
    ids: Vec<u8>,
    ends: Vec<u32>,
    rows: Vec<u32>,
}

impl OpenBlock {
    /// Its length when closed, offsets counted even where ids have one width.
    fn bytes(&self) -> usize {
        4 + self.ids.len() + 8 * self.rows.len()
    }

    fn push(&mut self, id: &[u8], row: u32) {
        self.ids.extend_from_slice(id);
        // A block is at most 64 KiB and one id.
        self.ends.push(self.ids.len() as u32);
        self.rows.push(row);
    }

    fn close(&mut self, kind: IdKind, at: u64, section: &mut Vec<u8>, places: &mut Vec<Place>) {
        let Some(first) = self.first.take() else {
            return;
        };
        let block = std::mem::take(self);
        let start = at + section.len() as u64;
        section.extend_from_slice(&(block.rows.len() as u32).to_le_bytes());
        if kind == IdKind::String {
            section.extend(block.ends.iter().flat_map(|end| end.to_le_bytes()));
        }
        section.extend_from_slice(&block.ids);
        section.extend(block.rows.iter().flat_map(|row| row.to_le_bytes()));
        let range = start..at + section.len() as u64;
        places.push(Place { first, range });
    }
}

/// One decoded block: ids in order, each with its row.
#[derive(Debug, Clone)]
pub struct IdBlock<'a> {
    kind: IdKind,
    count: usize,
    ends: &'a [u8],
    ids: &'a [u8],
    rows: &'a [u8],
}

impl<'a> IdBlock<'a> {
    /// Decodes a block of the index file `key` of a segment of `rows` rows.
    ///
    /// Errors: `Corrupted` if a length is wrong, an id out of order or a row out of range.
    pub fn decode(key: &'a str, kind: IdKind, rows: u64, bytes: &'a [u8]) -> Result<Self> {
        let mut cursor = Cursor::new(key, bytes);
        let count = cursor.u32()? as usize;
        let width = |each: usize| count.saturating_mul(each);
        let (ends, ids) = match kind {
            IdKind::Uint => (&[][..], cursor.bytes(width(8))?),
            IdKind::Uuid => (&[][..], cursor.bytes(width(16))?),
            IdKind::String => {
                let ends = cursor.bytes(width(4))?;
                let last = ends
                    .last_chunk::<4>()
                    .map_or(0, |end| u32::from_le_bytes(*end));
                (ends, cursor.bytes(last as usize)?)
            }
        };
        let block = Self {
            kind,
            count,
            ends,
            ids,
            rows: cursor.bytes(width(4))?,
        };
        let in_order = (0..count).all(|at| block.id(at).is_some())
            && (1..count).all(|at| block.id(at - 1) < block.id(at));
        let in_range = (0..count).all(|at| block.row(at).is_some_and(|row| u64::from(row) < rows));
        if !cursor.is_empty() || !in_order || !in_range {
            return Err(corrupt(
                key,
                "id block",
                format_args!("ascending ids with rows below {rows}"),
                "another order, row or length",
            ));
        }
        Ok(block)
    }

    /// Gives the row of an id; `None` if it is not in this block.
    pub fn find(&self, id: &DocId) -> Option<u32> {
        let at = self.place(id)?.ok()?;
        self.row(at)
    }

    /// Gives the last row of this block whose id is below `id`, or with `or_equal` no higher; `None` if there is none.
    pub fn last_before(&self, id: &DocId, or_equal: bool) -> Option<u32> {
        let below = match self.place(id)? {
            Ok(at) => at + usize::from(or_equal),
            Err(at) => at,
        };
        self.row(below.checked_sub(1)?)
    }

    /// Where an id is among those of this block, or would be; `None` for an id of another kind.
    fn place(&self, id: &DocId) -> Option<std::result::Result<usize, usize>> {
        if id.kind() != self.kind {
            return None;
        }
        with_bytes(id, |wanted| {
            let (mut low, mut high) = (0, self.count);
            while low < high {
                let middle = low.midpoint(high);
                match self.id(middle)?.cmp(wanted) {
                    std::cmp::Ordering::Less => low = middle + 1,
                    std::cmp::Ordering::Equal => return Some(Ok(middle)),
                    std::cmp::Ordering::Greater => high = middle,
                }
            }
            Some(Err(low))
        })
    }

    fn id(&self, at: usize) -> Option<&'a [u8]> {
        let range = match self.kind {
            IdKind::Uint => at * 8..at * 8 + 8,
            IdKind::Uuid => at * 16..at * 16 + 16,
            IdKind::String => {
                let start = at
                    .checked_sub(1)
                    .map_or(Some(0), |before| word(self.ends, before));
                start? as usize..word(self.ends, at)? as usize
            }
        };
        self.ids.get(range)
    }

    fn row(&self, at: usize) -> Option<u32> {
        word(self.rows, at)
    }
}

fn word(words: &[u8], at: usize) -> Option<u32> {
    let bytes = words.get(at * 4..)?.first_chunk::<4>()?;
    Some(u32::from_le_bytes(*bytes))
}
