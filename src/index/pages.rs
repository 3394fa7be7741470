//! Bytes of an index file that were asked for: declared first, fetched by the caller, then read.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;

use bytes::Bytes;

use crate::error::{Error, Result};
use crate::types::limits::FILE_BLOCK_BYTES;

/// What one part of work asks for in a round, bytes, about.
pub(super) const WINDOW_BYTES: u64 = 8 << 20;
/// What one round may ask for, bytes; one range may be larger.
const ROUND_BYTES: u64 = 16 << 20;

/// Blocks of a file in memory. Work that needs bytes goes in rounds: it declares ranges, and where some are not there
/// yet the caller fetches them and runs it again.
///
/// Only what was declared in the last round stays: memory is bounded by a round.
#[derive(Debug, Default)]
pub struct Pages {
    blocks: BTreeMap<u32, Bytes>,
    declared: Vec<Range<u64>>,
    declared_bytes: u64,
}

impl Pages {
    /// Begins with nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Holds a whole file.
    pub fn whole(file: &Bytes) -> Self {
        let step = FILE_BLOCK_BYTES as usize;
        let starts = (0..file.len()).step_by(step);
        let blocks = starts.map(|start| {
            let end = file.len().min(start + step);
            ((start / step) as u32, file.slice(start..end))
        });
        Self {
            blocks: blocks.collect(),
            ..Self::default()
        }
    }

    /// The blocks of a file that ranges touch.
    #[cfg(test)]
    pub(super) fn blocks_for(file: &Bytes, ranges: &[Range<u64>]) -> BTreeMap<u32, Bytes> {
        let whole = Self::whole(file);
        let wanted = ranges.iter().flat_map(blocks_of);
        let blocks = wanted.filter_map(|block| Some((block, whole.blocks.get(&block)?.clone())));
        blocks.collect()
    }

    /// Declares ranges and says whether all are there. Where the round is full, they are not declared.
    pub(super) fn want(&mut self, ranges: impl IntoIterator<Item = Range<u64>>) -> bool {
        if self.declared_bytes >= ROUND_BYTES {
            return false;
        }
        let mut there = true;
        for range in ranges {
            if range.is_empty() {
                continue;
            }
            there &= blocks_of(&range).all(|block| self.blocks.contains_key(&block));
            self.declared_bytes += range.end - range.start;
            self.declared.push(range);
        }
        there
    }

    /// Ends a round: the ranges that it declared, to be fetched.
    pub fn end_round(&mut self) -> Vec<Range<u64>> {
        self.declared_bytes = 0;
        std::mem::take(&mut self.declared)
    }

    /// Takes what was fetched for the next round, blocks of [`FILE_BLOCK_BYTES`] by their number, and lets go of the rest.
    pub fn feed(&mut self, blocks: BTreeMap<u32, Bytes>) {
        self.blocks = blocks;
    }

    /// Gives declared bytes. Errors: `Internal` if they are not there, which is a fault of this program.
    pub(super) fn get(&self, range: Range<u64>) -> Result<Cow<'_, [u8]>> {
        let mut touched = blocks_of(&range);
        let single = touched.end - touched.start <= 1;
        let mut joined = Vec::new();
        for number in &mut touched {
            let start = u64::from(number) * FILE_BLOCK_BYTES;
            let piece = self.blocks.get(&number).and_then(|block| {
                let from = range.start.saturating_sub(start) as usize;
                let to = (range.end - start).min(FILE_BLOCK_BYTES) as usize;
                block.get(from..to)
            });
            let piece = piece.ok_or_else(|| missed(&range))?;
            if single {
                return Ok(Cow::Borrowed(piece));
            }
            joined.reserve((range.end - range.start) as usize - joined.len());
            joined.extend_from_slice(piece);
        }
        Ok(Cow::Owned(joined))
    }
}

/// Work over an index file that goes in rounds.
pub trait Work {
    /// What it finds.
    type Found;

    /// Goes on as far as the bytes that are there take it; what was found, once it is. Else it has declared what it
    /// needs. Errors: `Corrupted` where an index makes no sense; of `Pages`.
    fn go_on(&mut self, pages: &mut Pages) -> Result<Option<Self::Found>>;
}

/// The numbers of the blocks that a range touches. A file has fewer than 2^32 of them.
fn blocks_of(range: &Range<u64>) -> Range<u32> {
    let number = |block: u64| u32::try_from(block).unwrap_or(u32::MAX);
    match range.is_empty() {
        true => 0..0,
        false => {
            let end = number(range.end.div_ceil(FILE_BLOCK_BYTES));
            number(range.start / FILE_BLOCK_BYTES)..end
        }
    }
}

fn missed(range: &Range<u64>) -> Error {
    Error::internal(format!(
        "bytes {} to {} of an index file are read but were not asked for",
        range.start, range.end
    ))
}

#[cfg(test)]
#[allow(
    clippy::indexing_slicing,
    clippy::single_range_in_vec_init,
    reason = "tests slice what they made, and ask for one range"
)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_there_once_their_blocks_are_and_cross_them() {
        let n_bytes = FILE_BLOCK_BYTES as usize * 2 + 10;
        let file: Bytes = (0..n_bytes).map(|at| (at / 7) as u8).collect();
        let mut pages = Pages::new();
        let across = FILE_BLOCK_BYTES - 3..2 * FILE_BLOCK_BYTES + 2;
        assert!(!pages.want([across.clone(), 5..5]));
        assert_eq!(pages.end_round().as_slice(), std::slice::from_ref(&across));
        assert!(pages.get(across.clone()).is_err());
        pages.feed(Pages::whole(&file).blocks);
        assert!(pages.want([across.clone()]));
        let expected = &file[across.start as usize..across.end as usize];
        assert_eq!(pages.get(across).expect("there"), expected);
        let end = n_bytes as u64;
        assert!(matches!(
            pages.get(end - 4..end).expect("there"),
            Cow::Borrowed(_)
        ));
        assert!(pages.get(end - 4..end + 1).is_err());
    }

    #[test]
    fn round_that_is_full_takes_no_more_but_one_range_may_be_larger() {
        let mut pages = Pages::new();
        assert!(!pages.want([0..ROUND_BYTES + 1]));
        assert!(!pages.want([0..1]));
        assert_eq!(pages.end_round().len(), 1);
        assert!(!pages.want([0..1]));
        assert_eq!(pages.end_round(), [0..1]);
    }
}
