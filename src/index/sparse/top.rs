//! The rows with the highest products with a query, from its dimensions' lists alone.
//!
//! Rows are taken in windows, ascending. In each, the lists are added up dimension by dimension, ascending by name: each
//! row's sum is made of the same products in the same order and type as `SparseColumn::dot` makes it, so that it is the
//! same number bit for bit.
//!
//! What cannot enter is passed over. Let the best of a dimension be the largest product that a row of the window may
//! have in it, and at least 0. The bests, *added up in the order of the names*, are never below a row's sum, rounding
//! included: products are exact, a dimension that the row lacks adds 0, which changes no sum, and rounding to the
//! nearest is monotonic, so that from `a <= b` and `p <= q` follows that `a + p` rounded is at most `b + q` rounded, sum
//! by sum. The same holds of any of the dimensions for the rows that have no other. A bound is thus compared as it is,
//! and a row whose sum only equals the last that was kept does not enter, since its number is larger.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::Range;
use std::sync::Arc;

use super::SparseIndex;
use super::list::{List, widen};
use super::open::{Cursor, Term, WINDOW_ROWS, WINDOW_WORDS, Window};
use crate::error::Result;
use crate::filter::RowMask;
use crate::index::cursor::corrupt;
use crate::index::dictionary::{self, Dictionary, KeyRange};
use crate::index::pages::WINDOW_BYTES;
use crate::index::pages::{Pages, Work};
use crate::index::postings::ListForm;
use crate::rows::sparse::Entry;

/// Rows that are fetched together, or passed over.
const STRIDE_ROWS: u32 = 4 * WINDOW_ROWS;
/// Lists of so many bytes together are read at once; of longer ones first what says which parts are needed.
const WHOLE_BYTES: u64 = 2 << 20;
/// Of so few rows of a window it is found out first which they are.
const FEW_ROWS: usize = WINDOW_ROWS as usize / 32;
/// Room reserved up front; more rows take more as they arrive.
const RESERVED_MAX: usize = 1_024;

/// A row and its product with the query.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scored {
    /// Its number.
    pub row: u32,
    /// Above 0.
    pub score: f64,
}

/// Finds the `k` of some rows with the highest products with a sparse vector; products that are not above 0 count as
/// none. Rows that are alike are in the order of their numbers.
#[derive(Debug)]
pub struct SparseTop {
    index: Arc<SparseIndex>,
    query: Arc<[Entry]>,
    rows: Arc<RowMask>,
    k: usize,
    stage: Stage,
    /// Ascending by name.
    terms: Vec<Term>,
    /// The stride to go on with.
    next: u32,
    /// The last of those kept is on top. Scores as their bits, which order them, as they are above 0.
    kept: BinaryHeap<(Reverse<u64>, u32)>,
}

#[derive(Debug, Clone, Copy)]
enum Stage {
    Dimensions,
    Directories,
    Rows,
}

/// What is looked at in one go.
#[derive(Debug, Default)]
struct Plan {
    strides: Vec<u32>,
    /// For each dimension, the chunks.
    chunks: Vec<Vec<Range<usize>>>,
    ranges: Vec<Range<u64>>,
    /// The stride behind it.
    next: u32,
}

impl SparseTop {
    /// Begins; the query ascends by name.
    pub fn new(index: Arc<SparseIndex>, query: Arc<[Entry]>, rows: Arc<RowMask>, k: usize) -> Self {
        Self {
            index,
            query,
            rows,
            k,
            stage: Stage::Dimensions,
            terms: Vec::new(),
            next: 0,
            kept: BinaryHeap::with_capacity(k.min(RESERVED_MAX)),
        }
    }

    /// The sum above which a row enters.
    fn worst(&self) -> f64 {
        let last = self.kept.peek().filter(|_| self.kept.len() >= self.k);
        last.map_or(0.0, |(Reverse(bits), _)| f64::from_bits(*bits))
    }

    /// Looks the dimensions up; whether their bytes were there.
    fn look_up(&mut self, pages: &mut Pages) -> Result<bool> {
        let dictionary = &self.index.dictionary;
        // A weight of 0 adds nothing to any sum.
        let asked = self.query.iter().filter(|(_, weight)| *weight != 0.0);
        let asked: Vec<(&[u8], f64, usize)> = asked
            .filter_map(|(dim, weight)| {
                let dim = dim.as_bytes();
                Some((dim, f64::from(*weight), dictionary.block_of(dim)?))
            })
            .collect();
        let mut blocks: Vec<usize> = asked.iter().map(|(_, _, block)| *block).collect();
        blocks.dedup();
        if !pages.want(blocks.iter().map(|block| dictionary.range(*block))) {
            return Ok(false);
        }
        let mut terms = Vec::with_capacity(asked.len());
        for (dim, weight, block) in asked {
            terms.extend(term(
                dictionary,
                (dim, weight, block),
                self.index.n_rows,
                pages,
            )?);
        }
        self.terms = terms;
        Ok(true)
    }

    /// Learns where the chunks of the lists lie; whether their bytes were there.
    fn open_lists(&mut self, pages: &mut Pages) -> Result<bool> {
        let lists = || self.terms.iter().filter_map(Term::list);
        let bytes: u64 = lists()
            .map(|list| list.range().end - list.range().start)
            .sum();
        let ranges: Result<Vec<Range<u64>>> = match bytes <= WHOLE_BYTES {
            true => Ok(lists().map(List::range).collect()),
            false => lists().map(List::directory).collect(),
        };
        if !pages.want(ranges?) {
            return Ok(false);
        }
        let n_rows = self.index.n_rows;
        for term in &mut self.terms {
            if let Some(list) = term.list_mut() {
                list.open(&pages.get(list.directory()?)?, n_rows)?;
            }
        }
        Ok(true)
    }

    /// Plans the next strides that may have rows that enter.
    fn plan(&self) -> Plan {
        let n_strides = self.index.n_rows.div_ceil(STRIDE_ROWS);
        let worst = self.worst();
        let mut plan = Plan {
            chunks: vec![Vec::new(); self.terms.len()],
            next: n_strides,
            ..Plan::default()
        };
        // The first rows tell what cannot enter.
        let mut most = match self.next {
            0 => WHOLE_BYTES,
            _ => WINDOW_BYTES,
        };
        let mut bytes = 0;
        for stride in self.next..n_strides {
            let start = stride * STRIDE_ROWS;
            let rows = start..start.saturating_add(STRIDE_ROWS).min(self.index.n_rows);
            let words = self.rows.words().iter().skip(rows.start as usize / 64);
            let mut words = words.take(STRIDE_ROWS as usize / 64);
            if words.all(|word| *word == 0)
                || self
                    .terms
                    .iter()
                    .fold(0.0, |sum, term| sum + term.best(&rows))
                    <= worst
            {
                continue;
            }
            for (term, taken) in self.terms.iter().zip(&mut plan.chunks) {
                let Some(list) = term.list() else {
                    continue;
                };
                let chunks = list.chunks_of(&rows);
                let from = taken.last().map_or(0, |last| last.end).max(chunks.start);
                if from < chunks.end {
                    taken.push(from..chunks.end);
                    let ranges = (from..chunks.end).map(|chunk| list.chunk_range(chunk));
                    for range in ranges {
                        bytes += range.end - range.start;
                        plan.ranges.push(range);
                    }
                }
            }
            if plan.strides.is_empty() {
                // Chunks that reach beyond a plan are read for the next one again: it must be worth it.
                most = most.max(bytes + bytes / 2);
            }
            plan.strides.push(stride);
            if bytes >= most {
                plan.next = stride + 1;
                break;
            }
        }
        plan
    }

    /// Looks at the rows of a plan whose bytes are there.
    fn look(&mut self, plan: &Plan, pages: &Pages) -> Result<()> {
        // Rows enter while the terms are lent.
        let mut terms = std::mem::take(&mut self.terms);
        let mut cursors: Vec<Cursor<'_>> = Vec::with_capacity(terms.len());
        for (term, chunks) in terms.iter_mut().zip(&plan.chunks) {
            cursors.push(term.open(chunks, pages)?);
        }
        let mut sums = [0.0; WINDOW_ROWS as usize];
        for stride in &plan.strides {
            let start = stride * STRIDE_ROWS;
            let end = start.saturating_add(STRIDE_ROWS).min(self.index.n_rows);
            for start in (start..end).step_by(WINDOW_ROWS as usize) {
                let mut window = Window {
                    rows: start..start.saturating_add(WINDOW_ROWS).min(end),
                    wanted: [0; WINDOW_WORDS],
                };
                let words = self.rows.words().iter().skip(start as usize / 64);
                for (to, from) in window.wanted.iter_mut().zip(words) {
                    *to = *from;
                }
                if !window.is_empty() {
                    self.look_at(window, &mut cursors, &mut sums)?;
                }
            }
        }
        drop(cursors);
        self.terms = terms;
        Ok(())
    }

    fn look_at(
        &mut self,
        mut window: Window,
        cursors: &mut [Cursor<'_>],
        sums: &mut [f64; WINDOW_ROWS as usize],
    ) -> Result<()> {
        let mut shares = Vec::with_capacity(cursors.len());
        for cursor in cursors.iter_mut() {
            shares.push(cursor.go_to(&window)?);
        }
        let mut worst = self.worst();
        let bests: Vec<f64> = shares.iter().map(|share| share.best).collect();
        let Some(decides) = deciding(&bests, worst) else {
            return Ok(());
        };
        // Rows that have none of the dimensions that decide cannot enter. Where they are few, whole blocks of the others
        // have none of them.
        let decide = shares.iter().zip(&decides).filter(|(_, decides)| **decides);
        let entries: usize = decide.map(|(share, _)| share.entries).sum();
        if entries <= FEW_ROWS && decides.contains(&false) {
            let mut have = [0_u64; WINDOW_WORDS];
            let start = window.rows.start;
            for (cursor, _) in cursors
                .iter_mut()
                .zip(&decides)
                .filter(|(_, decides)| **decides)
            {
                cursor.each(&window, |row, _| {
                    let at = (row - start) as usize;
                    if let Some(word) = have.get_mut(at / 64) {
                        *word |= 1 << (at % 64);
                    }
                })?;
            }
            for (wanted, have) in window.wanted.iter_mut().zip(have) {
                *wanted &= have;
            }
            if window.is_empty() {
                return Ok(());
            }
        }
        sums.fill(0.0);
        let start = window.rows.start;
        for cursor in cursors {
            let asked = cursor.weight();
            cursor.each(&window, |row, weight| {
                if let Some(sum) = sums.get_mut((row - start) as usize) {
                    *sum += widen(weight) * asked;
                }
            })?;
        }
        for (at, word) in window.wanted.iter().enumerate() {
            let mut rest = *word;
            while rest != 0 {
                let row = at * 64 + rest.trailing_zeros() as usize;
                rest &= rest - 1;
                let sum = sums.get(row).copied().unwrap_or(0.0);
                if sum > worst {
                    self.keep(sum, start + row as u32);
                    worst = self.worst();
                }
            }
        }
        Ok(())
    }

    fn keep(&mut self, sum: f64, row: u32) {
        let kept = (Reverse(sum.to_bits()), row);
        if self.kept.len() < self.k {
            self.kept.push(kept);
        } else if let Some(mut last) = self.kept.peek_mut() {
            *last = kept;
        }
    }
}

/// Finds a dimension; `None` if no row has it. Errors: `Corrupted`; of `Pages`.
fn term(
    dictionary: &Dictionary,
    (dim, weight, block): (&[u8], f64, usize),
    n_rows: u32,
    pages: &Pages,
) -> Result<Option<Term>> {
    let keys = KeyRange {
        from: dim.to_vec(),
        until: None,
    };
    let mut found = None;
    dictionary.walk(block, &keys, pages, |key, entry| {
        if key != dim {
            return Ok(false);
        }
        if entry.count == 0 || entry.count > n_rows {
            return Err(corrupt("rows of a dimension", n_rows, entry.count));
        }
        let count = entry.count as usize;
        found = Some(match entry.list {
            dictionary::List::Inline(bytes) => Term::few(weight, bytes, count, n_rows)?,
            dictionary::List::Stored(ListForm::Varints, range) => {
                Term::many(weight, List::new(count, range))
            }
            dictionary::List::Stored(ListForm::Roaring, _) => {
                return Err(corrupt("form of a list", "0", "1"));
            }
        });
        Ok(false)
    })?;
    Ok(found)
}

/// Which dimensions decide whether a row can enter: the sum of what the others add at most does not pass `worst`. `None`
/// where the sum of all does not.
fn deciding(bests: &[f64], worst: f64) -> Option<Vec<bool>> {
    if bests.iter().fold(0.0, |sum, best| sum + best) <= worst {
        return None;
    }
    let mut ascending: Vec<(f64, usize)> = bests.iter().copied().zip(0..).collect();
    ascending.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    let mut sum = 0.0;
    let fits = ascending.iter().take_while(|(best, _)| {
        sum += best;
        sum <= worst
    });
    let mut others = fits.count();
    loop {
        let mut decides = vec![true; bests.len()];
        for (_, at) in ascending.iter().take(others) {
            if let Some(decides) = decides.get_mut(*at) {
                *decides = false;
            }
        }
        // The sum that counts is the one in the order of the names.
        let left = bests.iter().zip(&decides).filter(|(_, decides)| !**decides);
        if others == 0 || left.fold(0.0, |sum, (best, _)| sum + best) <= worst {
            return Some(decides);
        }
        others -= 1;
    }
}

impl Work for SparseTop {
    /// The rows, best first.
    type Found = Vec<Scored>;

    fn go_on(&mut self, pages: &mut Pages) -> Result<Option<Vec<Scored>>> {
        if self.k == 0 || self.rows.count() == 0 {
            return Ok(Some(Vec::new()));
        }
        loop {
            match self.stage {
                Stage::Dimensions => {
                    if !self.look_up(pages)? {
                        return Ok(None);
                    }
                    self.stage = Stage::Directories;
                }
                Stage::Directories => {
                    if !self.open_lists(pages)? {
                        return Ok(None);
                    }
                    self.stage = Stage::Rows;
                }
                Stage::Rows => {
                    let plan = self.plan();
                    if plan.strides.is_empty() {
                        let kept = std::mem::take(&mut self.kept).into_sorted_vec().into_iter();
                        let scored = kept.map(|(Reverse(bits), row)| Scored {
                            row,
                            score: f64::from_bits(bits),
                        });
                        return Ok(Some(scored.collect()));
                    }
                    if !pages.want(plan.ranges.iter().cloned()) {
                        return Ok(None);
                    }
                    self.look(&plan, pages)?;
                    self.next = plan.next;
                }
            }
        }
    }
}
