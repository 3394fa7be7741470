//! The list of a dimension: rows ascending and their weights, in blocks that are decoded alone, and chunks of blocks
//! that are read alone. Blocks and chunks say their last row and the ends of their weights.

use std::ops::Range;

use crate::error::Result;
use crate::index::cursor::{Reader, corrupt};

/// Entries of a block; the last of a list has what is left.
pub(super) const BLOCK_ENTRIES: usize = 128;
/// Blocks of a chunk; the last of a list has what is left.
pub(super) const CHUNK_BLOCKS: usize = 64;
/// Entries of a chunk.
pub(super) const CHUNK_ENTRIES: usize = BLOCK_ENTRIES * CHUNK_BLOCKS;
/// What a chunk says of a block: last row, least and largest weight, length.
const HEAD_BYTES: usize = 10;
/// What a list says of a chunk: last row, least and largest weight, length.
const PLACE_BYTES: usize = 12;
/// Bytes of the rows of a block, at 32 bits each.
const ROWS_BYTES_MAX: usize = BLOCK_ENTRIES * 4;
const WHAT: &str = "list of a dimension";

/// The last row of some entries, and the ends of their weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ends {
    pub(super) last: u32,
    /// Weights as the bits of 16-bit floats.
    pub(super) least: u16,
    pub(super) most: u16,
}

/// A number that orders finite weights; -0 is below 0.
fn rank(weight: u16) -> u16 {
    match weight >> 15 {
        0 => weight | 0x8000,
        _ => !weight,
    }
}

/// A finite weight from its bits, exactly.
#[inline]
pub(super) fn widen(weight: u16) -> f64 {
    // 2 to the power of 112: the difference of the biases of the exponents.
    const SCALE: f32 = f32::from_bits(0x7780_0000);
    let bits = u32::from(weight & 0x7fff) << 13 | u32::from(weight >> 15) << 31;
    f64::from(f32::from_bits(bits) * SCALE)
}

impl Ends {
    /// Of some entries; `None` of none.
    pub(super) fn of(rows: &[u32], weights: &[u16]) -> Option<Self> {
        Some(Self {
            last: *rows.last()?,
            least: *weights.iter().min_by_key(|weight| rank(**weight))?,
            most: *weights.iter().max_by_key(|weight| rank(**weight))?,
        })
    }

    /// Of these and of later ones.
    fn and(self, later: Self) -> Self {
        let least = [self.least, later.least];
        let most = [self.most, later.most];
        Self {
            last: later.last,
            least: *least
                .iter()
                .min_by_key(|weight| rank(**weight))
                .unwrap_or(&self.least),
            most: *most
                .iter()
                .max_by_key(|weight| rank(**weight))
                .unwrap_or(&self.most),
        }
    }

    /// The most that an entry, or none, can add to a product under a weight of the query. Products are exact: 11 by 24
    /// bits fit 53.
    #[inline]
    pub(super) fn best(&self, weight: f64) -> f64 {
        let product = match weight > 0.0 {
            true => weight * widen(self.most),
            false => weight * widen(self.least),
        };
        product.max(0.0)
    }

    fn put(&self, out: &mut Vec<u8>) {
        out.extend(self.last.to_le_bytes());
        out.extend(self.least.to_le_bytes());
        out.extend(self.most.to_le_bytes());
    }

    /// Errors: `Corrupted` unless they come after a row, are below `n_rows` and ascend.
    fn read(reader: &mut Reader<'_>, after: Option<u32>, n_rows: u32) -> Result<Self> {
        let (last, weights) = (reader.u32()?, reader.u32()?);
        let ends = Self {
            last,
            least: weights as u16,
            most: (weights >> 16) as u16,
        };
        if last >= n_rows || after.is_some_and(|after| last <= after) {
            return Err(corrupt(
                "last row of a block",
                format_args!("one after {after:?} and below {n_rows}"),
                last,
            ));
        }
        if rank(ends.least) > rank(ends.most) {
            return Err(corrupt("ends of weights", ends.least, ends.most));
        }
        Ok(ends)
    }
}

/// A chunk of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Chunk {
    /// Where it begins in the file.
    start: u64,
    pub(super) ends: Ends,
}

/// The directory of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct List {
    /// Entries.
    pub(super) count: usize,
    range: Range<u64>,
    /// Empty until it is read.
    chunks: Vec<Chunk>,
}

/// A block of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Block {
    /// The last row before it.
    pub(super) after: Option<u32>,
    pub(super) ends: Ends,
    /// Where it lies in its chunk.
    pub(super) bytes: Range<usize>,
    /// Entries.
    pub(super) count: usize,
}

impl Block {
    /// The first row that it can have.
    pub(super) fn first(&self) -> u32 {
        self.after.map_or(0, |after| after + 1)
    }
}

impl List {
    pub(super) fn new(count: usize, range: Range<u64>) -> Self {
        Self {
            count,
            range,
            chunks: Vec::new(),
        }
    }

    fn n_chunks(&self) -> usize {
        self.count.div_ceil(CHUNK_ENTRIES)
    }

    /// Where all of it lies.
    pub(super) fn range(&self) -> Range<u64> {
        self.range.clone()
    }

    /// Where lies what [`List::open`] reads. Errors: `Corrupted` if the list is shorter.
    pub(super) fn directory(&self) -> Result<Range<u64>> {
        let length = match self.n_chunks() {
            1 => self.count.div_ceil(BLOCK_ENTRIES) * HEAD_BYTES,
            n_chunks => n_chunks * PLACE_BYTES,
        };
        let end = self.range.start.saturating_add(length as u64);
        match end <= self.range.end {
            true => Ok(self.range.start..end),
            false => Err(corrupt(WHAT, format_args!("{length} bytes"), "fewer")),
        }
    }

    /// Learns where the chunks lie, from the directory's bytes. Errors: `Corrupted`.
    pub(super) fn open(&mut self, bytes: &[u8], n_rows: u32) -> Result<()> {
        let mut reader = Reader::new(WHAT, bytes);
        let mut chunks: Vec<Chunk> = Vec::with_capacity(self.n_chunks());
        let mut start = self.range.start;
        if self.n_chunks() == 1 {
            let mut all: Option<Ends> = None;
            for _ in 0..self.count.div_ceil(BLOCK_ENTRIES) {
                let ends = Ends::read(&mut reader, all.map(|all| all.last), n_rows)?;
                reader.bytes(2)?;
                all = Some(all.map_or(ends, |all| all.and(ends)));
            }
            chunks.extend(all.map(|ends| Chunk { start, ends }));
            start = self.range.end;
        } else {
            start = start.saturating_add(bytes.len() as u64);
            for _ in 0..self.n_chunks() {
                let after = chunks.last().map(|chunk| chunk.ends.last);
                let ends = Ends::read(&mut reader, after, n_rows)?;
                chunks.push(Chunk { start, ends });
                start = start.saturating_add(u64::from(reader.u32()?));
            }
        }
        reader.end()?;
        if start != self.range.end {
            return Err(corrupt("end of a list", self.range.end, start));
        }
        self.chunks = chunks;
        Ok(())
    }

    pub(super) fn chunks(&self) -> &[Chunk] {
        &self.chunks
    }

    /// The chunks that may have any of these rows.
    pub(super) fn chunks_of(&self, rows: &Range<u32>) -> Range<usize> {
        let from = self
            .chunks
            .partition_point(|chunk| chunk.ends.last < rows.start);
        // The last of them has the end of the rows or comes behind it.
        let last = self
            .chunks
            .partition_point(|chunk| chunk.ends.last < rows.end.saturating_sub(1));
        from..self.chunks.len().min(last + 1).max(from)
    }

    /// Where a chunk lies in the file.
    pub(super) fn chunk_range(&self, at: usize) -> Range<u64> {
        let start = |at: usize| {
            let chunk = self.chunks.get(at);
            chunk.map_or(self.range.end, |chunk| chunk.start)
        };
        start(at)..start(at + 1)
    }

    /// The blocks of a chunk whose bytes are there. Errors: `Corrupted`.
    pub(super) fn blocks(&self, at: usize, bytes: &[u8]) -> Result<Vec<Block>> {
        let chunk = self.chunks.get(at);
        let chunk = chunk.ok_or_else(|| corrupt(WHAT, "a chunk", at))?;
        let before = at.checked_sub(1).and_then(|at| self.chunks.get(at));
        let mut after = before.map(|chunk| chunk.ends.last);
        let mut left = self.count.saturating_sub(at * CHUNK_ENTRIES);
        left = left.min(CHUNK_ENTRIES);
        let n_blocks = left.div_ceil(BLOCK_ENTRIES);
        let mut reader = Reader::new(WHAT, bytes);
        let mut heads = Reader::new(WHAT, reader.bytes(n_blocks * HEAD_BYTES)?);
        let mut blocks = Vec::with_capacity(n_blocks);
        let mut start = n_blocks * HEAD_BYTES;
        for _ in 0..n_blocks {
            // The last row of the chunk is of the segment.
            let ends = Ends::read(&mut heads, after, chunk.ends.last.saturating_add(1))?;
            let length = heads.bytes(2)?.first_chunk::<2>();
            let end = start + length.map_or(0, |length| usize::from(u16::from_le_bytes(*length)));
            blocks.push(Block {
                after,
                ends,
                bytes: start..end,
                count: left.min(BLOCK_ENTRIES),
            });
            after = Some(ends.last);
            left = left.saturating_sub(BLOCK_ENTRIES);
            start = end;
        }
        if start != bytes.len() || after != Some(chunk.ends.last) {
            return Err(corrupt("end of a chunk", bytes.len(), start));
        }
        Ok(blocks)
    }
}

/// Appends the entries of a block: rows ascending, after `after`.
pub(super) fn put_block(out: &mut Vec<u8>, after: Option<u32>, rows: &[u32], weights: &[u16]) {
    let mut next = after.map_or(0, |after| u64::from(after) + 1);
    let steps: Vec<u64> = rows
        .iter()
        .map(|row| {
            let step = u64::from(*row).saturating_sub(next);
            next = u64::from(*row) + 1;
            step
        })
        .collect();
    let width = steps.iter().map(|step| 64 - step.leading_zeros()).max();
    let width = width.unwrap_or(0);
    out.push(width as u8);
    let (mut word, mut bits) = (0_u64, 0);
    for step in steps {
        word |= step << bits;
        bits += width;
        while bits >= 8 {
            out.push(word as u8);
            word >>= 8;
            bits -= 8;
        }
    }
    if bits > 0 {
        out.push(word as u8);
    }
    for weight in weights {
        out.extend(weight.to_le_bytes());
    }
}

/// Appends a list with its directory: rows ascending.
pub(super) fn put_list(out: &mut Vec<u8>, rows: &[u32], weights: &[u16]) {
    let parts = rows
        .chunks(CHUNK_ENTRIES)
        .zip(weights.chunks(CHUNK_ENTRIES));
    let several = rows.len() > CHUNK_ENTRIES;
    let (mut places, mut body) = (Vec::new(), Vec::new());
    let mut after = None;
    for (rows, weights) in parts {
        let (mut heads, mut blocks) = (Vec::new(), Vec::new());
        let ends = Ends::of(rows, weights);
        let parts = rows
            .chunks(BLOCK_ENTRIES)
            .zip(weights.chunks(BLOCK_ENTRIES));
        for (rows, weights) in parts {
            let start = blocks.len();
            put_block(&mut blocks, after, rows, weights);
            if let Some(ends) = Ends::of(rows, weights) {
                ends.put(&mut heads);
            }
            // At most 1 + 128 x (4 + 2).
            heads.extend(((blocks.len() - start) as u16).to_le_bytes());
            after = rows.last().copied();
        }
        if let Some(ends) = ends {
            ends.put(&mut places);
        }
        places.extend(((heads.len() + blocks.len()) as u32).to_le_bytes());
        body.append(&mut heads);
        body.append(&mut blocks);
    }
    if several {
        out.append(&mut places);
    }
    out.append(&mut body);
}

/// The entries of one block.
#[derive(Debug, Clone)]
pub(super) struct Entries {
    rows: [u32; BLOCK_ENTRIES],
    weights: [u16; BLOCK_ENTRIES],
    count: usize,
}

impl Default for Entries {
    fn default() -> Self {
        Self {
            rows: [0; BLOCK_ENTRIES],
            weights: [0; BLOCK_ENTRIES],
            count: 0,
        }
    }
}

impl Entries {
    pub(super) fn rows(&self) -> &[u32] {
        self.rows.get(..self.count).unwrap_or_default()
    }

    pub(super) fn weights(&self) -> &[u16] {
        self.weights.get(..self.count).unwrap_or_default()
    }

    /// Those of some rows.
    #[inline]
    pub(super) fn within(&self, rows: &Range<u32>) -> impl Iterator<Item = (u32, u16)> {
        let all = self.rows();
        let from = match all.first() {
            Some(first) if *first >= rows.start => 0,
            _ => all.partition_point(|row| *row < rows.start),
        };
        let until = match all.last() {
            Some(last) if *last < rows.end => all.len(),
            _ => all.partition_point(|row| *row < rows.end),
        };
        let (rows, weights) = (all.get(from..until), self.weights().get(from..until));
        let (rows, weights) = (rows.unwrap_or_default(), weights.unwrap_or_default());
        rows.iter().copied().zip(weights.iter().copied())
    }

    /// Reads `count` entries, after `after`, of rows below `n_rows`. Errors: `Corrupted`.
    pub(super) fn read(
        &mut self,
        bytes: &[u8],
        count: usize,
        (after, n_rows): (Option<u32>, u32),
    ) -> Result<()> {
        self.count = 0;
        let mut reader = Reader::new(WHAT, bytes);
        let width = usize::from(reader.u8()?);
        if width > 32 || count > BLOCK_ENTRIES {
            return Err(corrupt("bits of a row", "at most 32", width));
        }
        let n_bits = count * width;
        let packed = reader.bytes(n_bits.div_ceil(8))?;
        let weights = reader.bytes(2 * count)?;
        reader.end()?;
        // Room behind them, so that a row is cut out of eight bytes always.
        let mut padded = [0; ROWS_BYTES_MAX + 8];
        if let Some(padded) = padded.get_mut(..packed.len()) {
            padded.copy_from_slice(packed);
        }
        let spare = packed.last().map_or(0, |last| match n_bits % 8 {
            0 => 0,
            used => last >> used,
        });
        let mask = (1_u64 << width) - 1;
        let mut next = after.map_or(0, |after| u64::from(after) + 1);
        for (at, row) in self.rows.iter_mut().take(count).enumerate() {
            let bit = at * width;
            let word = padded.get(bit / 8..).and_then(|rest| rest.first_chunk());
            let word = u64::from_le_bytes(*word.unwrap_or(&[0; 8]));
            next += word >> (bit % 8) & mask;
            *row = next as u32;
            next += 1;
        }
        if next > u64::from(n_rows) || spare != 0 {
            return Err(corrupt(
                "row of a dimension",
                format_args!("below {n_rows}"),
                next.saturating_sub(1),
            ));
        }
        let weights = weights.as_chunks::<2>().0;
        for (to, from) in self.weights.iter_mut().zip(weights) {
            *to = u16::from_le_bytes(*from);
        }
        self.count = count;
        Ok(())
    }

    /// Reads a block of a chunk's bytes. Errors: `Corrupted`, also where the block ends in another row.
    pub(super) fn read_block(&mut self, block: &Block, chunk: &[u8]) -> Result<()> {
        let bytes = chunk.get(block.bytes.clone());
        let bytes = bytes.ok_or_else(|| corrupt(WHAT, "a block", chunk.len()))?;
        let legal = (block.after, block.ends.last.saturating_add(1));
        self.read(bytes, block.count, legal)?;
        match self.rows().last() == Some(&block.ends.last) {
            true => Ok(()),
            false => Err(corrupt("last row of a block", block.ends.last, "another")),
        }
    }
}
