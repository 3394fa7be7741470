//! The first rows of a segment in an order, from columns alone: groups of blocks in the order of the best that each can
//! have, until none can have better than what was found.

use std::collections::BinaryHeap;
use std::sync::Arc;

use super::attribute::AttributeIndex;
use super::beside::{any, pick, words_of};
use super::block::Block;
use super::column::{BLOCK_ROWS, Column, GROUP_ROWS, GroupEnds};
use super::cursor::corrupt;
use super::pages::{Pages, WINDOW_BYTES, Work};
use crate::error::Result;
use crate::filter::RowMask;

/// Room reserved up front; more rows take more as they arrive.
const RESERVED_MAX: usize = 1_024;

/// One key of an order.
#[derive(Debug, Clone)]
pub enum TopKey {
    /// The values of an attribute. Missing ones come first ascending, last descending.
    Column {
        /// Its index, which has a column.
        index: Arc<AttributeIndex>,
        /// Whether the order is descending.
        descending: bool,
    },
    /// The number of the row itself.
    Row {
        /// Whether the order is descending.
        descending: bool,
    },
}

/// A place in the order of one key: lower comes first.
type Rank = u128;

/// The bit that is above all numbers.
const ABOVE: Rank = 1 << 64;

fn rank(number: Option<u64>, descending: bool) -> Rank {
    match (number, descending) {
        (Some(number), false) => ABOVE | Rank::from(number),
        (None, false) => 0,
        (Some(number), true) => Rank::from(!number),
        (None, true) => ABOVE,
    }
}

/// The lowest rank that a group or a block can have.
fn best(known: GroupEnds, descending: bool) -> Rank {
    match (known.ends, descending) {
        (_, false) if known.has_missing => rank(None, false),
        (Some((least, _)), false) => rank(Some(least), false),
        (Some((_, most)), true) => rank(Some(most), true),
        (None, _) => rank(None, descending),
    }
}

/// A row that may be among the first: its ranks, then its number.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Candidate {
    first: Rank,
    others: Box<[Rank]>,
    row: u32,
}

/// The first `k` of some rows. Rows that are alike in all keys are in the order of their numbers.
#[derive(Debug)]
pub struct Top {
    first: Arc<AttributeIndex>,
    descending: bool,
    others: Vec<TopKey>,
    rows: Arc<RowMask>,
    k: usize,
    /// The last of those kept is on top.
    kept: BinaryHeap<Candidate>,
    /// Groups with wanted rows, those with the best last.
    groups: Vec<(Rank, usize)>,
}

impl Top {
    /// Begins; the first of the keys is a column. `None` if it is not.
    pub fn new(keys: Vec<TopKey>, rows: Arc<RowMask>, k: usize) -> Option<Self> {
        let mut keys = keys.into_iter();
        let Some(TopKey::Column { index, descending }) = keys.next() else {
            return None;
        };
        let column = index.column.as_ref()?;
        let groups =
            (0..column.n_groups()).filter(|group| any(&rows, group * GROUP_ROWS, GROUP_ROWS));
        let groups = groups.map(|group| (best(column.ends(group), descending), group));
        let mut groups: Vec<(Rank, usize)> = groups.collect();
        groups.sort_unstable_by(|a, b| b.cmp(a));
        Some(Self {
            first: index,
            descending,
            others: keys.collect(),
            rows,
            k,
            kept: BinaryHeap::with_capacity(k.min(RESERVED_MAX)),
            groups,
        })
    }

    /// The rank beyond which no row can enter.
    fn worst(&self) -> Option<Rank> {
        let last = self.kept.peek().filter(|_| self.kept.len() >= self.k)?;
        Some(last.first)
    }

    fn read_group(&mut self, group: usize, pages: &Pages) -> Result<()> {
        let index = Arc::clone(&self.first);
        let keys = self.others.clone();
        let first = column_of(&index)?.blocks(group, pages)?;
        let mut others: Vec<Other<'_>> = Vec::with_capacity(keys.len());
        for key in &keys {
            others.push(match key {
                TopKey::Row { descending } => Other::Row(*descending),
                TopKey::Column { index, descending } => {
                    Other::Column(column_of(index)?.blocks(group, pages)?, *descending)
                }
            });
        }
        let mut picked = Vec::with_capacity(BLOCK_ROWS);
        let mut entering: Vec<(Rank, u16)> = Vec::new();
        for (at, block) in first.iter().enumerate() {
            let words = words_of(&self.rows, block.first_row);
            let known = best(block.known(), self.descending);
            if words.iter().all(|word| *word == 0)
                || self.worst().is_some_and(|worst| known > worst)
            {
                continue;
            }
            let worst = self.worst().unwrap_or(Rank::MAX);
            entering.clear();
            let descending = self.descending;
            block.read_rows(&words, |row, number| {
                let rank = rank(number, descending);
                if rank <= worst {
                    entering.push((rank, row as u16));
                }
            })?;
            if entering.is_empty() {
                continue;
            }
            // What the other keys say is asked for those rows alone.
            let mut wanted = [0; BLOCK_ROWS / 64];
            for (_, row) in &entering {
                if let Some(word) = wanted.get_mut(usize::from(*row) / 64) {
                    *word |= 1 << (row % 64);
                }
            }
            pick(&wanted, &mut picked);
            let mut ranks: Vec<Vec<Rank>> = Vec::with_capacity(others.len());
            for other in &others {
                ranks.push(other.ranks(at, block, &wanted)?);
            }
            for (at, (first, row)) in entering.iter().enumerate() {
                let others = ranks.iter().filter_map(|ranks| ranks.get(at).copied());
                self.offer(Candidate {
                    first: *first,
                    others: others.collect(),
                    row: (block.first_row + usize::from(*row)) as u32,
                });
            }
        }
        Ok(())
    }

    fn offer(&mut self, candidate: Candidate) {
        if self.kept.len() < self.k {
            self.kept.push(candidate);
        } else if let Some(mut last) = self.kept.peek_mut()
            && candidate < *last
        {
            *last = candidate;
        }
    }
}

/// Another key, in one group.
enum Other<'a> {
    Column(Vec<Block<'a>>, bool),
    Row(bool),
}

impl Other<'_> {
    /// The ranks of the wanted rows of a block, in their order.
    fn ranks(
        &self,
        at: usize,
        first: &Block<'_>,
        wanted: &[u64; BLOCK_ROWS / 64],
    ) -> Result<Vec<Rank>> {
        let mut ranks = Vec::new();
        match self {
            Self::Column(blocks, descending) => {
                let block = blocks.get(at);
                let block =
                    block.ok_or_else(|| corrupt("blocks of a column", at + 1, blocks.len()))?;
                block.read_rows(wanted, |_, number| ranks.push(rank(number, *descending)))?;
            }
            Self::Row(descending) => {
                let mut rows = Vec::new();
                pick(wanted, &mut rows);
                let rows = rows
                    .iter()
                    .map(|row| first.first_row as u64 + u64::from(*row));
                ranks.extend(rows.map(|row| rank(Some(row), *descending)));
            }
        }
        Ok(ranks)
    }
}

fn column_of(index: &AttributeIndex) -> Result<&Column> {
    index
        .column
        .as_ref()
        .ok_or_else(|| corrupt("key of an order", "a column", "none"))
}

impl Work for Top {
    /// The rows, first to last.
    type Found = Vec<u32>;

    fn go_on(&mut self, pages: &mut Pages) -> Result<Option<Vec<u32>>> {
        if self.k == 0 {
            return Ok(Some(Vec::new()));
        }
        loop {
            let worst = self.worst().unwrap_or(Rank::MAX);
            let mut bytes = 0;
            let (mut window, mut ranges) = (Vec::new(), Vec::new());
            for (best, group) in self.groups.iter().rev() {
                if *best > worst || bytes >= WINDOW_BYTES {
                    break;
                }
                window.push(*group);
                let others = self.others.iter().filter_map(|key| match key {
                    TopKey::Column { index, .. } => Some(index),
                    TopKey::Row { .. } => None,
                });
                for index in std::iter::once(&self.first).chain(others) {
                    let range = column_of(index)?.range(*group);
                    bytes += range.end - range.start;
                    ranges.push(range);
                }
            }
            if window.is_empty() {
                let kept = std::mem::take(&mut self.kept).into_sorted_vec();
                return Ok(Some(
                    kept.into_iter().map(|candidate| candidate.row).collect(),
                ));
            }
            if !pages.want(ranges) {
                return Ok(None);
            }
            self.groups.truncate(self.groups.len() - window.len());
            for group in window {
                self.read_group(group, pages)?;
            }
        }
    }
}
