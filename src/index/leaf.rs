//! One leaf of a filter, answered from one index in rounds.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use super::attribute::AttributeIndex;
use super::block::{Block, Values};
use super::column::Column;
use super::dictionary::{Dictionary, KeyRange, List, StoredList};
use super::pages::{Pages, WINDOW_BYTES};
use super::postings::{self, Rows};
use super::rule::Rule;
use crate::error::{Error, Result};
use crate::filter::RowMask;

/// Numbers of a set that are looked for one after the other in a block; more are looked up for each row.
const SCANS_MAX: usize = 4;

/// A leaf and how far it is.
#[derive(Debug)]
pub(super) struct Leaf {
    index: Arc<AttributeIndex>,
    rule: Rule,
    words: Vec<u64>,
    /// What of the column, the dictionary or the keys comes next.
    next: usize,
    /// Lists that were found and are still to be read.
    lists: VecDeque<StoredList>,
    /// Whether rows without a value are in.
    missing_done: bool,
}

impl Leaf {
    pub(super) fn new(index: Arc<AttributeIndex>, rule: Rule) -> Self {
        Self {
            index,
            rule,
            words: Vec::new(),
            next: 0,
            lists: VecDeque::new(),
            missing_done: false,
        }
    }

    /// Goes on as far as the bytes that are there take it; the rows once they are known.
    pub(super) fn step(&mut self, pages: &mut Pages) -> Result<Option<RowMask>> {
        let n_rows = self.index.n_rows();
        self.words.resize(n_rows.div_ceil(64), 0);
        let index = Arc::clone(&self.index);
        loop {
            if !self.read_lists(pages)? {
                return Ok(None);
            }
            let more = match (&self.rule, &index.column, &index.dictionary) {
                (Rule::Missing, ..) => Some(Progress::Done),
                (Rule::Numbers { .. } | Rule::NumberSet(_), Some(column), _) => {
                    Some(self.read_groups(column, pages)?)
                }
                (Rule::KeySet(_), _, Some(dictionary)) => Some(self.look_up(dictionary, pages)?),
                (Rule::Keys { .. }, column, Some(dictionary)) => {
                    Some(self.walk(column.as_ref(), dictionary, pages)?)
                }
                _ => None,
            };
            let more = more.ok_or_else(|| Error::internal("a leaf of a filter has no index"))?;
            match more {
                Progress::Done if self.lists.is_empty() => break,
                Progress::Done | Progress::More => {}
                Progress::Waits => return Ok(None),
            }
        }
        if !self.read_missing(pages)? {
            return Ok(None);
        }
        let words = std::mem::take(&mut self.words);
        Ok(Some(RowMask::from_words(words, n_rows)))
    }

    fn rows(&mut self) -> Rows<'_> {
        Rows {
            words: &mut self.words,
            n_rows: self.index.n_rows(),
        }
    }

    /// Adds the rows without a value, if they match and the column has not told them; whether that is done.
    fn read_missing(&mut self, pages: &mut Pages) -> Result<bool> {
        let wanted = match self.rule {
            Rule::Missing => true,
            Rule::Keys { missing, .. } => missing,
            _ => false,
        };
        if !wanted || self.missing_done {
            return Ok(true);
        }
        let index = Arc::clone(&self.index);
        match &index.missing {
            None if index.n_missing == 0 => {}
            None => self.words.fill(u64::MAX),
            Some(list) => {
                if !pages.want([list.range.clone()]) {
                    return Ok(false);
                }
                list.add(pages, &mut self.rows())?;
            }
        }
        self.missing_done = true;
        Ok(true)
    }

    /// Adds the rows of lists that were found; whether none is left.
    fn read_lists(&mut self, pages: &mut Pages) -> Result<bool> {
        while !self.lists.is_empty() {
            let mut bytes = 0;
            let ranges = self.lists.iter().map(|list| list.range.clone());
            let window = ranges.take_while(|range| {
                let first = bytes == 0;
                bytes += range.end - range.start;
                first || bytes <= WINDOW_BYTES
            });
            let window: Vec<Range<u64>> = window.collect();
            let n_lists = window.len();
            if !pages.want(window) {
                return Ok(false);
            }
            for list in self.lists.drain(..n_lists).collect::<Vec<_>>() {
                list.add(pages, &mut self.rows())?;
            }
        }
        Ok(true)
    }

    /// Goes through the next groups of the column.
    fn read_groups(&mut self, column: &Column, pages: &mut Pages) -> Result<Progress> {
        let mut groups: Vec<usize> = Vec::new();
        let mut bytes = 0;
        let mut at = self.next;
        while at < column.n_groups() && bytes < WINDOW_BYTES {
            let known = self.known(column, at);
            match known {
                Some(false) => {}
                Some(true) => {
                    for row in column.group_rows(at).step_by(64) {
                        if let Some(word) = self.words.get_mut(row / 64) {
                            *word = u64::MAX;
                        }
                    }
                }
                None => {
                    groups.push(at);
                    let range = column.range(at);
                    bytes += range.end - range.start;
                }
            }
            at += 1;
        }
        if !pages.want(groups.iter().map(|group| column.range(*group))) {
            return Ok(Progress::Waits);
        }
        let mut values = Values::default();
        for group in groups {
            for block in column.blocks(group, pages)? {
                let found = self.select(&block, &mut values)?;
                let words = self.words.iter_mut().skip(block.first_row / 64);
                for (word, bits) in words.zip(found) {
                    *word |= bits;
                }
            }
        }
        self.next = at;
        Ok(match at < column.n_groups() {
            true => Progress::More,
            false => Progress::Done,
        })
    }

    /// Whether all rows of a group match, or none; `None` where it must be read.
    fn known(&self, column: &Column, group: usize) -> Option<bool> {
        let known = column.ends(group);
        let (none, all, missing) = match (&self.rule, known.ends) {
            (Rule::Numbers { missing, .. }, None) => (!missing, *missing, *missing),
            (Rule::Numbers { low, high, missing }, Some((least, most))) => (
                low > high || *high < least || *low > most,
                low <= high && *low <= least && *high >= most,
                *missing,
            ),
            (Rule::NumberSet(numbers), Some((least, most))) => (
                within(numbers, least, most).is_empty(),
                least == most && within(numbers, least, most) == [least],
                false,
            ),
            _ => (true, false, false),
        };
        if none && !(missing && known.has_missing) {
            return Some(false);
        }
        (all && (missing || !known.has_missing)).then_some(true)
    }

    /// The rows of a block that match.
    fn select(&self, block: &Block<'_>, values: &mut Values) -> Result<[u64; 16]> {
        let numbers = match &self.rule {
            Rule::Numbers { low, high, missing } => return block.select(*low, *high, *missing),
            Rule::NumberSet(numbers) => numbers,
            _ => return Ok([0; 16]),
        };
        let Some((least, most)) = block.ends() else {
            return Ok([0; 16]);
        };
        let numbers = within(numbers, least, most);
        let mut found = [0; 16];
        if numbers.len() <= SCANS_MAX {
            for number in numbers {
                let rows = block.select(*number, *number, false)?;
                found
                    .iter_mut()
                    .zip(rows)
                    .for_each(|(found, rows)| *found |= rows);
            }
            return Ok(found);
        }
        block.read(values)?;
        let (words, _) = values.numbers.as_chunks::<64>();
        for ((found, present), sixty_four) in found.iter_mut().zip(values.present).zip(words) {
            for (bit, number) in sixty_four.iter().enumerate() {
                *found |= u64::from(numbers.binary_search(number).is_ok()) << bit;
            }
            *found &= present;
        }
        Ok(found)
    }

    /// Looks the next keys up.
    fn look_up(&mut self, dictionary: &Dictionary, pages: &mut Pages) -> Result<Progress> {
        let Rule::KeySet(keys) = &self.rule else {
            return Ok(Progress::Done);
        };
        let mut window: Vec<(usize, KeyRange)> = Vec::new();
        let mut ranges: Vec<Range<u64>> = Vec::new();
        let mut bytes = 0;
        let mut at = self.next;
        for key in keys.iter().skip(self.next) {
            if bytes >= WINDOW_BYTES {
                break;
            }
            at += 1;
            let Some(block) = dictionary.block_of(key) else {
                continue;
            };
            let range = dictionary.range(block);
            if ranges.last() != Some(&range) {
                bytes += range.end - range.start;
                ranges.push(range);
            }
            let only = KeyRange {
                from: key.clone(),
                until: Some([key.as_slice(), &[0]].concat()),
            };
            window.push((block, only));
        }
        if !pages.want(ranges) {
            return Ok(Progress::Waits);
        }
        let done = at == keys.len();
        for (block, only) in window {
            self.add_block(dictionary, block, &only, pages, |_| true)?;
        }
        self.next = at;
        Ok(if done { Progress::Done } else { Progress::More })
    }

    /// Adds the rows of the values of a block that are in a range and that `fits` takes.
    fn add_block(
        &mut self,
        dictionary: &Dictionary,
        block: usize,
        range: &KeyRange,
        pages: &Pages,
        fits: impl Fn(&[u8]) -> bool,
    ) -> Result<()> {
        let mut rows = Rows {
            words: &mut self.words,
            n_rows: self.index.n_rows(),
        };
        let lists = &mut self.lists;
        dictionary.walk(block, range, pages, |key, entry| {
            if fits(key) {
                match entry.list {
                    List::Inline(bytes) => postings::add_varints(bytes, entry.count, &mut rows)?,
                    List::Stored(form, range) => lists.push_back(StoredList {
                        form,
                        range,
                        count: entry.count,
                    }),
                }
            }
            Ok(true)
        })
    }

    /// Goes through the next keys of a range, or finds which numbers of the column they are where reading that is less.
    fn walk(
        &mut self,
        column: Option<&Column>,
        dictionary: &Dictionary,
        pages: &mut Pages,
    ) -> Result<Progress> {
        let Rule::Keys {
            range,
            pattern,
            missing,
        } = &self.rule
        else {
            return Ok(Progress::Done);
        };
        let (range, pattern, missing) = (range.clone(), pattern.clone(), *missing);
        let blocks = dictionary.blocks(&range);
        if let Some(column) = column
            && pattern.is_none()
            && self.next == 0
            && column.bytes() < bytes_of(dictionary, &blocks) + dictionary.list_bytes(&blocks)
        {
            return self.by_column(dictionary, &range, missing, pages);
        }
        let mut bytes = 0;
        let start = blocks.start + self.next;
        let window = (start..blocks.end).take_while(|block| {
            let first = bytes == 0;
            bytes += bytes_of(dictionary, &(*block..block + 1));
            first || bytes <= WINDOW_BYTES
        });
        let window: Vec<usize> = window.collect();
        if !pages.want(window.iter().map(|block| dictionary.range(*block))) {
            return Ok(Progress::Waits);
        }
        for block in &window {
            self.add_block(dictionary, *block, &range, pages, |key| match &pattern {
                None => true,
                Some(pattern) => std::str::from_utf8(key).is_ok_and(|text| pattern.matches(text)),
            })?;
        }
        self.next += window.len();
        Ok(match start + window.len() < blocks.end {
            true => Progress::More,
            false => Progress::Done,
        })
    }

    /// Turns a range of keys into one of numbers of the column.
    fn by_column(
        &mut self,
        dictionary: &Dictionary,
        range: &KeyRange,
        missing: bool,
        pages: &mut Pages,
    ) -> Result<Progress> {
        let ends = [Some(range.from.as_slice()), range.until.as_deref()];
        let blocks = ends
            .into_iter()
            .flatten()
            .filter_map(|key| dictionary.block_of(key));
        if !pages.want(blocks.map(|block| dictionary.range(block))) {
            return Ok(Progress::Waits);
        }
        let first = dictionary.count_below(&range.from, pages)?;
        let end = match &range.until {
            None => dictionary.n_values(),
            Some(until) => dictionary.count_below(until, pages)?,
        };
        // No number is in a range whose end is below its start.
        let (low, high) = match end.checked_sub(1).filter(|_| first < end) {
            Some(last) => (u64::from(first), u64::from(last)),
            None => (1, 0),
        };
        self.rule = Rule::Numbers { low, high, missing };
        Ok(Progress::More)
    }
}

fn bytes_of(dictionary: &Dictionary, blocks: &Range<usize>) -> u64 {
    dictionary.range(blocks.end).start - dictionary.range(blocks.start).start
}

/// The numbers from `least` to `most`, of ascending ones.
fn within(numbers: &[u64], least: u64, most: u64) -> &[u64] {
    let from = numbers.partition_point(|number| *number < least);
    let until = numbers.partition_point(|number| *number <= most);
    numbers.get(from..until).unwrap_or_default()
}

/// How far a leaf is.
enum Progress {
    /// It needs bytes that were declared.
    Waits,
    /// It can go on.
    More,
    /// Nothing is left but lists.
    Done,
}
