//! Columns of one segment side by side, block by block.

use std::sync::Arc;

use super::attribute::AttributeIndex;
use super::block::{Block, Values};
use super::column::{BLOCK_ROWS, Column, GROUP_ROWS, SPARSE_ONE_IN};
use super::pages::{Pages, WINDOW_BYTES};
use crate::error::Result;
use crate::filter::RowMask;

/// The wanted rows of a block, and the numbers of each column.
#[derive(Debug)]
pub struct Rows<'a> {
    /// The block's first row.
    pub first_row: usize,
    /// The wanted rows, counted from the first.
    pub picked: &'a [u16],
    /// For each column the numbers of all rows; those that are not wanted mean nothing.
    pub columns: &'a [Values],
}

/// Goes through the wanted rows of some columns.
#[derive(Debug)]
pub struct Beside {
    columns: Vec<Option<Arc<AttributeIndex>>>,
    rows: Arc<RowMask>,
    next: usize,
    picked: Vec<u16>,
    values: Vec<Values>,
}

impl Beside {
    /// Begins with columns of single values; one that the segment does not have is `None`, which reads as missing.
    pub fn new(columns: Vec<Option<Arc<AttributeIndex>>>, rows: Arc<RowMask>) -> Self {
        Self {
            values: columns.iter().map(|_| Values::default()).collect(),
            columns,
            rows,
            next: 0,
            picked: Vec::with_capacity(BLOCK_ROWS),
        }
    }

    /// Hands over the blocks whose bytes are there, in the order of the rows; whether that was all. Errors: of the
    /// reading; what `each` gives.
    pub fn go_on(
        &mut self,
        pages: &mut Pages,
        mut each: impl FnMut(&Rows<'_>) -> Result<()>,
    ) -> Result<bool> {
        let n_groups = self.rows.len().div_ceil(GROUP_ROWS);
        while self.next < n_groups {
            let (mut window, mut ranges) = (Vec::new(), Vec::new());
            let (mut bytes, mut at) = (0, self.next);
            while at < n_groups && bytes < WINDOW_BYTES {
                if any(&self.rows, at * GROUP_ROWS, GROUP_ROWS) {
                    window.push(at);
                    for column in self.columns.iter().filter_map(column_of) {
                        let range = column.range(at);
                        bytes += range.end - range.start;
                        ranges.push(range);
                    }
                }
                at += 1;
            }
            if !pages.want(ranges) {
                return Ok(false);
            }
            for group in window {
                self.read_group(group, pages, &mut each)?;
            }
            self.next = at;
        }
        Ok(true)
    }

    fn read_group(
        &mut self,
        group: usize,
        pages: &Pages,
        each: &mut impl FnMut(&Rows<'_>) -> Result<()>,
    ) -> Result<()> {
        let columns = self.columns.iter().map(column_of);
        let blocks = columns.map(|column| column.map(|column| column.blocks(group, pages)));
        let blocks: Vec<Option<Vec<Block<'_>>>> =
            blocks.map(Option::transpose).collect::<Result<_>>()?;
        let first = group * GROUP_ROWS;
        let end = self.rows.len().min(first + GROUP_ROWS);
        for (at, first_row) in (first..end).step_by(BLOCK_ROWS).enumerate() {
            let words = words_of(&self.rows, first_row);
            pick(&words, &mut self.picked);
            if self.picked.is_empty() {
                continue;
            }
            for (values, blocks) in self.values.iter_mut().zip(&blocks) {
                match blocks.as_ref().and_then(|blocks| blocks.get(at)) {
                    None => values.present = Default::default(),
                    Some(block) if self.picked.len() * SPARSE_ONE_IN < BLOCK_ROWS => {
                        block.read_rows(&words, |row, number| values.put(row, number))?;
                    }
                    Some(block) => block.read(values)?,
                }
            }
            each(&Rows {
                first_row,
                picked: &self.picked,
                columns: &self.values,
            })?;
        }
        Ok(())
    }
}

fn column_of(index: &Option<Arc<AttributeIndex>>) -> Option<&Column> {
    index.as_ref().and_then(|index| index.column.as_ref())
}

/// Whether a mask has any of these rows; they begin a word.
pub(super) fn any(rows: &RowMask, first: usize, count: usize) -> bool {
    let words = rows.words().iter().skip(first / 64).take(count / 64);
    words.into_iter().any(|word| *word != 0)
}

/// The part of a mask that is of the block with this first row.
pub(super) fn words_of(rows: &RowMask, first_row: usize) -> [u64; BLOCK_ROWS / 64] {
    let mut words = [0; BLOCK_ROWS / 64];
    let part = rows.words().iter().skip(first_row / 64);
    words
        .iter_mut()
        .zip(part)
        .for_each(|(to, from)| *to = *from);
    words
}

/// Lists the rows of a block's bitmap.
pub(super) fn pick(words: &[u64; BLOCK_ROWS / 64], picked: &mut Vec<u16>) {
    picked.clear();
    for (at, word) in words.iter().enumerate() {
        let mut rest = *word;
        while rest != 0 {
            picked.push((at * 64) as u16 + rest.trailing_zeros() as u16);
            rest &= rest - 1;
        }
    }
}
