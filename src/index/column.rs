//! A column of numbers in row order: blocks of 1,024 rows, each with its least number taken off and packed in as few
//! bits as that leaves (frame of reference), behind the zones of the 16 blocks of a group.
//!
//! A group is what is read at once. The directory keeps the least and the largest number of each group, so that groups
//! which a range rules out, or takes whole, are not read at all.

use std::ops::Range;

use super::block::Block;
use super::cursor::{Reader, corrupt};
use super::pack::{self, BLOCK};
use super::pages::Pages;
use super::zone::{Missing, Zone, ends};
use crate::error::Result;

/// Rows of a block.
pub const BLOCK_ROWS: usize = BLOCK;
/// Blocks of a group.
const GROUP_BLOCKS: usize = 16;
/// Rows of a group.
pub const GROUP_ROWS: usize = BLOCK_ROWS * GROUP_BLOCKS;
/// Words of a block's bitmap.
pub(super) const WORDS: usize = BLOCK_ROWS / 64;
/// Bytes of a zone.
const ZONE_BYTES: usize = 18;
/// Where fewer rows than one in so many are wanted, they are read one by one.
pub(super) const SPARSE_ONE_IN: usize = 16;
/// Bytes of the bitmap of missing rows.
pub(super) const MISSING_BYTES: usize = WORDS * 8;

/// Writes a column, number by number; memory is one group beside what was written.
#[derive(Debug, Default)]
pub(super) struct ColumnWriter {
    bytes: Vec<u8>,
    groups: Vec<Group>,
    rows: u64,
    pending: Vec<Option<u64>>,
}

impl ColumnWriter {
    pub(super) fn push(&mut self, number: Option<u64>) {
        self.pending.push(number);
        if self.pending.len() == GROUP_ROWS {
            self.close_group();
        }
    }

    fn close_group(&mut self) {
        let offset = self.bytes.len() as u64;
        let zones: Vec<Zone> = self.pending.chunks(BLOCK_ROWS).map(Zone::of).collect();
        for zone in &zones {
            zone.encode(&mut self.bytes);
        }
        for (zone, numbers) in zones.iter().zip(self.pending.chunks(BLOCK_ROWS)) {
            let mut codes = [0; BLOCK];
            let mut missing = [0_u64; WORDS];
            for (at, (code, number)) in codes.iter_mut().zip(numbers).enumerate() {
                match number {
                    Some(number) => *code = number - zone.min + zone.base(),
                    None => {
                        if let Some(word) = missing.get_mut(at / 64) {
                            *word |= 1 << (at % 64);
                        }
                    }
                }
            }
            pack::pack(&codes, zone.width, &mut self.bytes);
            if zone.missing == Missing::Bits {
                let words = missing.iter().flat_map(|word| word.to_le_bytes());
                self.bytes.extend(words);
            }
        }
        let (min, max) = ends(self.pending.iter().flatten().copied());
        self.groups.push(Group {
            offset,
            min,
            max,
            has_missing: self.pending.iter().any(Option::is_none),
        });
        self.rows += self.pending.len() as u64;
        self.pending.clear();
    }

    /// Gives the bytes and, for a section that begins at `start`, the directory.
    pub(super) fn finish(mut self, start: u64) -> (Vec<u8>, Column) {
        if !self.pending.is_empty() {
            self.close_group();
        }
        let end = start + self.bytes.len() as u64;
        let column = Column {
            rows: self.rows as usize,
            section: start..end,
            groups: self.groups,
        };
        (self.bytes, column)
    }
}

/// A group of blocks as the directory knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Group {
    /// Where it begins in the section.
    offset: u64,
    min: u64,
    max: u64,
    has_missing: bool,
}

/// What the directory says of a group of blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupEnds {
    /// The least and the largest number; `None` where no row has a value.
    pub ends: Option<(u64, u64)>,
    /// Whether a row has none.
    pub has_missing: bool,
}

/// The directory of a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    rows: usize,
    section: Range<u64>,
    groups: Vec<Group>,
}

impl Column {
    /// Rows, those without a value included.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Groups of [`GROUP_ROWS`] rows; the last may have fewer.
    pub fn n_groups(&self) -> usize {
        self.groups.len()
    }

    /// Bytes of the column in the file.
    pub fn bytes(&self) -> u64 {
        self.section.end - self.section.start
    }

    /// What is known of a group without reading it; of none nothing.
    pub fn ends(&self, group: usize) -> GroupEnds {
        match self.groups.get(group) {
            None => GroupEnds {
                ends: None,
                has_missing: false,
            },
            Some(group) => GroupEnds {
                ends: (group.min <= group.max).then_some((group.min, group.max)),
                has_missing: group.has_missing,
            },
        }
    }

    /// Where a group lies in the file.
    pub fn range(&self, group: usize) -> Range<u64> {
        let at = |group: usize| {
            let offset = self
                .groups
                .get(group)
                .map(|group| self.section.start + group.offset);
            offset.unwrap_or(self.section.end)
        };
        at(group)..at(group + 1)
    }

    /// The rows of a group.
    pub fn group_rows(&self, group: usize) -> Range<usize> {
        let at = |group: usize| (group * GROUP_ROWS).min(self.rows);
        at(group)..at(group + 1)
    }

    /// Reads the blocks of a group whose bytes are there. Errors: `Corrupted`; of `Pages`.
    pub fn blocks<'a>(&self, group: usize, pages: &'a Pages) -> Result<Vec<Block<'a>>> {
        let rows = self.group_rows(group);
        let range = self.range(group);
        let n_blocks = rows.len().div_ceil(BLOCK_ROWS);
        let header = range.start..range.end.min(range.start + (n_blocks * ZONE_BYTES) as u64);
        let zones = pages.get(header.clone())?;
        let mut zones = Reader::new("zones of a column", &zones);
        let mut start = header.end;
        let mut blocks = Vec::with_capacity(n_blocks);
        for at in 0..n_blocks {
            let zone = Zone::decode(&mut zones)?;
            let end = start + zone.bytes() as u64;
            if end > range.end {
                return Err(corrupt("end of a block", range.end, end));
            }
            let first = rows.start + at * BLOCK_ROWS;
            blocks.push(Block {
                zone,
                first_row: first,
                rows: (rows.end - first).min(BLOCK_ROWS),
                place: start..end,
                pages,
            });
            start = end;
        }
        match start == range.end {
            true => Ok(blocks),
            false => Err(corrupt("end of a group", range.end, start)),
        }
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        for group in &self.groups {
            out.extend(group.offset.to_le_bytes());
            out.extend(group.min.to_le_bytes());
            out.extend(group.max.to_le_bytes());
            out.push(u8::from(group.has_missing));
        }
    }

    /// Decodes the directory of a column of so many rows in a section. Errors: `Corrupted`.
    pub(super) fn decode(reader: &mut Reader<'_>, rows: u32, section: Range<u64>) -> Result<Self> {
        let rows = rows as usize;
        let mut groups = Vec::with_capacity(rows.div_ceil(GROUP_ROWS));
        let mut last = 0;
        for at in 0..rows.div_ceil(GROUP_ROWS) {
            let group = Group {
                offset: reader.u64()?,
                min: reader.u64()?,
                max: reader.u64()?,
                has_missing: match reader.u8()? {
                    0 => false,
                    1 => true,
                    other => return Err(corrupt("mark of missing values", "0 or 1", other)),
                },
            };
            let ascends = if at == 0 {
                group.offset == 0
            } else {
                group.offset > last
            };
            if !ascends || group.offset >= section.end - section.start {
                return Err(corrupt(
                    "offset of a group",
                    "an ascending one",
                    group.offset,
                ));
            }
            last = group.offset;
            groups.push(group);
        }
        Ok(Self {
            rows,
            section,
            groups,
        })
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.groups.len() * size_of::<Group>()
    }
}
