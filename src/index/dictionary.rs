//! The distinct values of an attribute in order, with how many rows have each and where they are listed.
//!
//! Entries lie in blocks of about 16 KiB: a key shares the start of the one before it (front coding) except at each
//! 16th, where reading can begin. The directory keeps, for each block, a short text that separates it from the block
//! before it.

mod write;

use std::ops::Range;

use super::cursor::{Reader, corrupt, put_varint};
use super::pages::Pages;
use super::postings::{self, INLINE_ROWS, ListForm, Rows};
use crate::error::Result;

pub(super) use write::DictionaryWriter;

/// A block is closed before it would pass this, if it has an entry.
const BLOCK_BYTES: usize = 16 << 10;
/// Entries from one whole key to the next.
const RESTART: usize = 16;
/// Bytes of a restart: where its entry begins, where the next stored list does.
const RESTART_BYTES: usize = 8;
const WHAT: &str = "dictionary";

/// Where a block lies and what it begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    /// Not above the first key of the block, above the last key of the one before.
    separator: Box<[u8]>,
    /// In the section of entries.
    offset: u64,
    /// The number of its first value.
    ordinal: u32,
    /// Where the lists of its values begin in the section of lists.
    lists: u64,
}

fn shared_bytes(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

/// Which keys to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KeyRange {
    /// The least.
    pub(super) from: Vec<u8>,
    /// The first beyond the last; `None` for no end.
    pub(super) until: Option<Vec<u8>>,
}

impl KeyRange {
    pub(super) fn all() -> Self {
        Self {
            from: Vec::new(),
            until: None,
        }
    }

    /// All keys that begin so.
    pub(super) fn prefix(prefix: &[u8]) -> Self {
        let mut until = prefix.to_vec();
        // The last byte that can be raised is; what is behind it goes.
        while until.pop_if(|last| *last == u8::MAX).is_some() {}
        let until = until.pop().map(|last| {
            until.push(last + 1);
            until
        });
        Self {
            from: prefix.to_vec(),
            until,
        }
    }

    fn is_past(&self, key: &[u8]) -> bool {
        self.until.as_deref().is_some_and(|until| key >= until)
    }
}

/// The rows of a value: few lie with it, the others in the section of lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum List<'a> {
    Inline(&'a [u8]),
    Stored(ListForm, Range<u64>),
}

/// A value of a dictionary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry<'a> {
    /// Its place among all values.
    pub(super) ordinal: u32,
    /// How many rows have it.
    pub(super) count: u32,
    pub(super) list: List<'a>,
}

/// Stored rows of a value, to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StoredList {
    pub(super) form: ListForm,
    pub(super) range: Range<u64>,
    pub(super) count: u32,
}

impl StoredList {
    /// Adds its rows. Errors: `Corrupted`; of `Pages`.
    pub(super) fn add(&self, pages: &Pages, rows: &mut Rows<'_>) -> Result<()> {
        let bytes = pages.get(self.range.clone())?;
        postings::add(self.form, &bytes, self.count, rows)
    }
}

/// The directory of a dictionary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dictionary {
    n_values: u32,
    entries: Range<u64>,
    lists: Range<u64>,
    places: Vec<Place>,
}

impl Dictionary {
    /// Distinct values.
    pub fn n_values(&self) -> u32 {
        self.n_values
    }

    /// The blocks that may have keys of a range.
    pub(super) fn blocks(&self, keys: &KeyRange) -> Range<usize> {
        let from = self
            .places
            .partition_point(|place| *place.separator <= *keys.from);
        let until = match &keys.until {
            None => self.places.len(),
            Some(until) => self
                .places
                .partition_point(|place| *place.separator < **until),
        };
        let from = from.saturating_sub(1);
        from..until.max(from)
    }

    /// The block that may have the key.
    pub(super) fn block_of(&self, key: &[u8]) -> Option<usize> {
        let after = self
            .places
            .partition_point(|place| *place.separator <= *key);
        after.checked_sub(1)
    }

    /// The block of the value with this number.
    pub(super) fn block_of_ordinal(&self, ordinal: u32) -> Option<usize> {
        let after = self
            .places
            .partition_point(|place| place.ordinal <= ordinal);
        after.checked_sub(1)
    }

    /// Where a block lies in the file.
    pub(super) fn range(&self, block: usize) -> Range<u64> {
        let at = |block: usize| {
            let place = self.places.get(block);
            place.map_or(self.entries.end, |place| self.entries.start + place.offset)
        };
        at(block)..at(block + 1)
    }

    /// Bytes of the lists of some blocks.
    pub(super) fn list_bytes(&self, blocks: &Range<usize>) -> u64 {
        let at = |block: usize| {
            let place = self.places.get(block);
            place.map_or(self.lists.end, |place| self.lists.start + place.lists)
        };
        at(blocks.end).saturating_sub(at(blocks.start))
    }

    /// Hands `each` the entries of a block that are in a range, in order, until it says stop. Errors: `Corrupted`; of
    /// `Pages`; what `each` gives.
    pub(super) fn walk(
        &self,
        block: usize,
        keys: &KeyRange,
        pages: &Pages,
        mut each: impl FnMut(&[u8], Entry<'_>) -> Result<bool>,
    ) -> Result<()> {
        let bytes = pages.get(self.range(block))?;
        let parsed = self.parse(block, &bytes)?;
        let group = parsed.group_of(&keys.from)?;
        parsed.walk(group, |key, entry| {
            if keys.is_past(key) {
                return Ok(false);
            }
            if key < keys.from.as_slice() {
                return Ok(true);
            }
            each(key, entry)
        })
    }

    /// Hands `each` the key of a value. Errors: `Corrupted`, also where there is no such value; of `Pages`.
    pub(super) fn key_of(
        &self,
        ordinal: u32,
        pages: &Pages,
        each: impl FnOnce(&[u8]),
    ) -> Result<()> {
        let block = self
            .block_of_ordinal(ordinal)
            .filter(|_| ordinal < self.n_values);
        let block = block.ok_or_else(|| corrupt("number of a value", self.n_values, ordinal))?;
        let bytes = pages.get(self.range(block))?;
        let parsed = self.parse(block, &bytes)?;
        let group = (ordinal - parsed.place.ordinal) as usize / RESTART;
        let mut each = Some(each);
        parsed.walk(group, |key, entry| {
            if entry.ordinal == ordinal
                && let Some(each) = each.take()
            {
                each(key);
            }
            Ok(entry.ordinal < ordinal)
        })?;
        match each {
            None => Ok(()),
            Some(_) => Err(corrupt("number of a value", "one in its block", ordinal)),
        }
    }

    /// How many values are below a key, whose block is there. Errors: `Corrupted`; of `Pages`.
    pub(super) fn count_below(&self, key: &[u8], pages: &Pages) -> Result<u32> {
        let Some(block) = self.block_of(key) else {
            return Ok(0);
        };
        let next = self.places.get(block + 1);
        let mut below = next.map_or(self.n_values, |next| next.ordinal);
        let keys = KeyRange {
            from: key.to_vec(),
            until: None,
        };
        self.walk(block, &keys, pages, |_, entry| {
            below = entry.ordinal;
            Ok(false)
        })?;
        Ok(below)
    }

    fn parse<'a>(&'a self, block: usize, bytes: &'a [u8]) -> Result<ParsedBlock<'a>> {
        let place = self.places.get(block);
        let place = place.ok_or_else(|| corrupt(WHAT, "a block", block))?;
        let next = self.places.get(block + 1);
        let expected = next.map_or(self.n_values, |next| next.ordinal) - place.ordinal;
        let (rest, count) = bytes
            .split_last_chunk::<4>()
            .ok_or_else(|| corrupt(WHAT, "4 bytes", bytes.len()))?;
        let count = u32::from_le_bytes(*count);
        if count != expected {
            return Err(corrupt("values of a block", expected, count));
        }
        let restarts = (count as usize).div_ceil(RESTART) * RESTART_BYTES;
        let (entries, restarts) = rest
            .len()
            .checked_sub(restarts)
            .and_then(|at| rest.split_at_checked(at))
            .ok_or_else(|| corrupt(WHAT, format_args!("{restarts} bytes"), rest.len()))?;
        let lists_end = next.map_or(self.lists.end, |next| self.lists.start + next.lists);
        Ok(ParsedBlock {
            place,
            count: count as usize,
            entries,
            restarts: restarts.as_chunks().0,
            lists: self.lists.start + place.lists..lists_end,
        })
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        put_varint(out, u64::from(self.n_values));
        put_varint(out, self.places.len() as u64);
        let mut last: &[u8] = &[];
        let (mut offset, mut ordinal, mut lists) = (0, 0, 0);
        for place in &self.places {
            let shared = shared_bytes(last, &place.separator);
            put_varint(out, shared as u64);
            put_varint(out, (place.separator.len() - shared) as u64);
            out.extend(place.separator.iter().skip(shared));
            put_varint(out, place.offset - offset);
            put_varint(out, u64::from(place.ordinal - ordinal));
            put_varint(out, place.lists - lists);
            (offset, ordinal, lists) = (place.offset, place.ordinal, place.lists);
            last = &place.separator;
        }
    }

    /// Decodes the directory of a dictionary with its two sections. Errors: `Corrupted`.
    pub(super) fn decode(
        reader: &mut Reader<'_>,
        entries: Range<u64>,
        lists: Range<u64>,
    ) -> Result<Self> {
        let n_values = reader.varint()?;
        let n_values = u32::try_from(n_values)
            .map_err(|_| corrupt("values of a dictionary", "a u32", n_values))?;
        let n_places = reader.count()?;
        let mut places: Vec<Place> = Vec::new();
        let (mut offset, mut ordinal, mut list_start) = (0_u64, 0_u64, 0_u64);
        let mut separator: Vec<u8> = Vec::new();
        for at in 0..n_places {
            let (shared, more) = (reader.count()?, reader.count()?);
            if shared > separator.len() {
                return Err(corrupt("separator", separator.len(), shared));
            }
            separator.truncate(shared);
            separator.extend(reader.bytes(more)?);
            let steps = (reader.varint()?, reader.varint()?, reader.varint()?);
            offset = offset.saturating_add(steps.0);
            ordinal = ordinal.saturating_add(steps.1);
            list_start = list_start.saturating_add(steps.2);
            let legal = offset < entries.end - entries.start
                && ordinal < u64::from(n_values)
                && list_start <= lists.end - lists.start
                && (at == 0) == (steps.0 == 0)
                && (at == 0) == (steps.1 == 0)
                && places
                    .last()
                    .is_none_or(|last| *last.separator < *separator);
            if !legal {
                return Err(corrupt(
                    "block of a dictionary",
                    "one within its sections",
                    at,
                ));
            }
            places.push(Place {
                separator: separator.as_slice().into(),
                offset,
                ordinal: ordinal as u32,
                lists: list_start,
            });
        }
        if places.is_empty() != (n_values == 0) {
            return Err(corrupt(
                "blocks of a dictionary",
                "some for its values",
                n_values,
            ));
        }
        Ok(Self {
            n_values,
            entries,
            lists,
            places,
        })
    }

    pub(super) fn memory_bytes(&self) -> usize {
        let separators: usize = self
            .places
            .iter()
            .map(|place| place.separator.len() + 16)
            .sum();
        self.places.len() * size_of::<Place>() + separators
    }
}

/// A block whose bytes are there.
struct ParsedBlock<'a> {
    place: &'a Place,
    count: usize,
    entries: &'a [u8],
    restarts: &'a [[u8; RESTART_BYTES]],
    /// Where its lists lie in the file.
    lists: Range<u64>,
}

impl<'a> ParsedBlock<'a> {
    fn restart(&self, group: usize) -> Result<(usize, u64)> {
        let restart = self.restarts.get(group);
        let [a, b, c, d, e, f, g, h] = *restart.ok_or_else(|| corrupt(WHAT, "a restart", group))?;
        let entry = u32::from_le_bytes([a, b, c, d]) as usize;
        Ok((entry, u64::from(u32::from_le_bytes([e, f, g, h]))))
    }

    /// The last group of entries whose first key is not above `key`.
    fn group_of(&self, key: &[u8]) -> Result<usize> {
        let (mut low, mut high) = (0, self.restarts.len());
        while high - low > 1 {
            let middle = (low + high) / 2;
            let (at, _) = self.restart(middle)?;
            let mut reader = Reader::new(WHAT, self.entries.get(at..).unwrap_or_default());
            reader.varint()?;
            let length = reader.count()?;
            match reader.bytes(length)? <= key {
                true => low = middle,
                false => high = middle,
            }
        }
        Ok(low)
    }

    /// Hands `each` the entries from a group on, until it says stop.
    fn walk(
        &self,
        group: usize,
        mut each: impl FnMut(&[u8], Entry<'_>) -> Result<bool>,
    ) -> Result<()> {
        if self.count == 0 {
            return Ok(());
        }
        let (at, lists) = self.restart(group)?;
        let mut reader = Reader::new(WHAT, self.entries.get(at..).unwrap_or_default());
        let mut list_start = self.lists.start.saturating_add(lists);
        let mut key: Vec<u8> = Vec::with_capacity(64);
        for number in group * RESTART..self.count {
            if number % RESTART == 0 {
                let here = (
                    self.entries.len() - reader.left(),
                    list_start - self.lists.start,
                );
                let expected = self.restart(number / RESTART)?;
                if here != expected {
                    return Err(corrupt("restart of a block", expected.0, here.0));
                }
            }
            let (shared, more) = (reader.count()?, reader.count()?);
            if shared > key.len() {
                return Err(corrupt("shared start of a value", key.len(), shared));
            }
            key.truncate(shared);
            key.extend(reader.bytes(more)?);
            let count = reader.varint()?;
            let count = u32::try_from(count)
                .map_err(|_| corrupt("number of rows of a value", "a u32", count))?;
            let list = if (count as usize) < INLINE_ROWS {
                let length = reader.count()?;
                List::Inline(reader.bytes(length)?)
            } else {
                let mark = reader.varint()?;
                let form = match mark & 1 {
                    0 => ListForm::Varints,
                    _ => ListForm::Roaring,
                };
                let end = list_start.saturating_add(mark >> 1);
                if end > self.lists.end {
                    return Err(corrupt("end of a list", self.lists.end, end));
                }
                let range = list_start..end;
                list_start = end;
                List::Stored(form, range)
            };
            // No more than the values of the dictionary, which are counted in u32.
            let ordinal = self.place.ordinal + number as u32;
            let entry = Entry {
                ordinal,
                count,
                list,
            };
            if !each(&key, entry)? {
                return Ok(());
            }
        }
        reader.end()
    }
}
