//! A dimension of a query: its list, and those of its blocks whose bytes are there.

use std::borrow::Cow;
use std::ops::Range;

use super::list::{Block, Ends, Entries, List, widen};
use crate::error::Result;
use crate::index::cursor::corrupt;
use crate::index::pages::Pages;

/// Rows that are scored together: their sums fit the fastest memory.
pub(super) const WINDOW_ROWS: u32 = 2_048;
/// Their words in a bitmap.
pub(super) const WINDOW_WORDS: usize = WINDOW_ROWS as usize / 64;
/// A block of more rows is decoded for its part of a window: its ends say little of so few of its rows.
const LONG_ROWS: u32 = 2 * WINDOW_ROWS;

/// Some rows one after the other, and which of them are wanted.
#[derive(Debug, Clone)]
pub(super) struct Window {
    pub(super) rows: Range<u32>,
    pub(super) wanted: [u64; WINDOW_WORDS],
}

impl Window {
    pub(super) fn is_empty(&self) -> bool {
        self.wanted.iter().all(|word| *word == 0)
    }

    /// Whether any row of a run is wanted.
    fn wants(&self, first: u32, last: u32) -> bool {
        let from = first.max(self.rows.start) - self.rows.start;
        let to = last.min(self.rows.end.saturating_sub(1));
        let Some(to) = to.checked_sub(self.rows.start).filter(|to| from <= *to) else {
            return false;
        };
        let (from, to) = (from as usize, to as usize);
        let words = self.wanted.get(from / 64..=to / 64).unwrap_or_default();
        words.iter().enumerate().any(|(at, word)| {
            let mut bits = u64::MAX;
            if at == 0 {
                bits &= u64::MAX << (from % 64);
            }
            if at == to / 64 - from / 64 {
                bits &= u64::MAX >> (63 - to % 64);
            }
            word & bits != 0
        })
    }
}

/// A dimension of a query that rows of the segment have.
#[derive(Debug)]
pub(super) struct Term {
    /// Of the query.
    pub(super) weight: f64,
    pub(super) source: Source,
    /// The block that was decoded last.
    entries: Box<Entries>,
    /// Its number in the list.
    number: Option<usize>,
}

/// Where the entries of a dimension are.
#[derive(Debug)]
pub(super) enum Source {
    /// In memory.
    Few(Ends),
    /// In the file.
    Many(List),
}

impl Term {
    pub(super) fn many(weight: f64, list: List) -> Self {
        Self {
            weight,
            source: Source::Many(list),
            entries: Box::default(),
            number: None,
        }
    }

    /// One with its list read from the dictionary. Errors: `Corrupted`.
    pub(super) fn few(weight: f64, bytes: &[u8], count: usize, n_rows: u32) -> Result<Self> {
        let mut entries: Box<Entries> = Box::default();
        entries.read(bytes, count, (None, n_rows))?;
        let ends = Ends::of(entries.rows(), entries.weights());
        let ends = ends.ok_or_else(|| corrupt("rows of a dimension", "some", "none"))?;
        Ok(Self {
            weight,
            source: Source::Few(ends),
            entries,
            number: Some(0),
        })
    }

    pub(super) fn list(&self) -> Option<&List> {
        match &self.source {
            Source::Few(_) => None,
            Source::Many(list) => Some(list),
        }
    }

    pub(super) fn list_mut(&mut self) -> Option<&mut List> {
        match &mut self.source {
            Source::Few(_) => None,
            Source::Many(list) => Some(list),
        }
    }

    /// The most that it can add to a row of some, by its directory.
    pub(super) fn best(&self, rows: &Range<u32>) -> f64 {
        match &self.source {
            Source::Few(_) => self.best_of_entries(rows),
            Source::Many(list) => {
                let chunks = list.chunks().get(list.chunks_of(rows)).unwrap_or_default();
                let best = chunks.iter().map(|chunk| chunk.ends.best(self.weight));
                best.fold(0.0, f64::max)
            }
        }
    }

    fn best_of_entries(&self, rows: &Range<u32>) -> f64 {
        let products = self.entries.within(rows);
        let products = products.map(|(_, weight)| self.weight * widen(weight));
        products.fold(0.0, f64::max)
    }

    /// Opens chunks, ascending, whose bytes are there. Errors: `Corrupted`; of `Pages`.
    pub(super) fn open<'a>(
        &'a mut self,
        chunks: &[Range<usize>],
        pages: &'a Pages,
    ) -> Result<Cursor<'a>> {
        let (mut blocks, mut bytes) = (Vec::new(), Vec::new());
        match &self.source {
            Source::Few(ends) => blocks.push(Opened {
                number: 0,
                chunk: 0,
                block: Block {
                    after: None,
                    ends: *ends,
                    bytes: 0..0,
                    count: self.entries.rows().len(),
                },
            }),
            Source::Many(list) => {
                for at in chunks.iter().cloned().flatten() {
                    let chunk = pages.get(list.chunk_range(at))?;
                    let first = at * super::list::CHUNK_BLOCKS;
                    let of_chunk = list.blocks(at, &chunk)?.into_iter().enumerate();
                    blocks.extend(of_chunk.map(|(at, block)| Opened {
                        number: first + at,
                        chunk: bytes.len(),
                        block,
                    }));
                    bytes.push(chunk);
                }
            }
        }
        Ok(Cursor {
            term: self,
            blocks,
            bytes,
            next: 0,
        })
    }
}

/// A block of a chunk that is there.
#[derive(Debug)]
struct Opened {
    /// In the list.
    number: usize,
    chunk: usize,
    block: Block,
}

/// What a dimension has in a window.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Share {
    /// The most that it can add to a row.
    pub(super) best: f64,
    /// Entries, about.
    pub(super) entries: usize,
}

/// Goes through the blocks of a dimension, window by window.
#[derive(Debug)]
pub(super) struct Cursor<'a> {
    term: &'a mut Term,
    blocks: Vec<Opened>,
    bytes: Vec<Cow<'a, [u8]>>,
    /// The first block that does not end before the window.
    next: usize,
}

impl Cursor<'_> {
    pub(super) fn weight(&self) -> f64 {
        self.term.weight
    }

    /// Goes on to a window, which is none before the last, and says what it has there. Errors: `Corrupted`.
    pub(super) fn go_to(&mut self, window: &Window) -> Result<Share> {
        let rows = &window.rows;
        let passed = self.blocks.iter().skip(self.next);
        let passed = passed.take_while(|opened| opened.block.ends.last < rows.start);
        self.next += passed.count();
        let mut share = Share::default();
        let mut at = self.next;
        while let Some(opened) = self.blocks.get(at) {
            let (first, ends) = (opened.block.first(), opened.block.ends);
            if first >= rows.end {
                break;
            }
            let (best, entries) = if ends.last - first < LONG_ROWS {
                let part = ends.last.min(rows.end - 1) - first.max(rows.start) + 1;
                let all = u64::from(ends.last - first) + 1;
                let entries = opened.block.count as u64 * u64::from(part) / all;
                (ends.best(self.term.weight), entries as usize)
            } else {
                self.decode(at)?;
                let entries = self.term.entries.within(rows).count();
                (self.term.best_of_entries(rows), entries)
            };
            share.best = share.best.max(best);
            share.entries += entries;
            at += 1;
        }
        Ok(share)
    }

    /// Hands over the entries of the window's rows, of blocks that have any wanted one. Errors: `Corrupted`.
    pub(super) fn each(&mut self, window: &Window, mut each: impl FnMut(u32, u16)) -> Result<()> {
        let mut at = self.next;
        while let Some(opened) = self.blocks.get(at) {
            let (first, last) = (opened.block.first(), opened.block.ends.last);
            if first >= window.rows.end {
                break;
            }
            if window.wants(first, last) {
                self.decode(at)?;
                let entries = self.term.entries.within(&window.rows);
                entries.for_each(|(row, weight)| each(row, weight));
            }
            at += 1;
        }
        Ok(())
    }

    fn decode(&mut self, at: usize) -> Result<()> {
        let Some(opened) = self.blocks.get(at) else {
            return Ok(());
        };
        if self.term.number == Some(opened.number) {
            return Ok(());
        }
        // What is half read is nothing.
        self.term.number = None;
        let chunk = self.bytes.get(opened.chunk).map(AsRef::as_ref);
        let entries = &mut self.term.entries;
        entries.read_block(&opened.block, chunk.unwrap_or_default())?;
        self.term.number = Some(opened.number);
        Ok(())
    }
}
