//! Rows to the index of an attribute. One attribute at a time: memory is about 12 bytes a value and 24 a distinct one,
//! beside what is written.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};

use super::attribute::{AttributeIndex, Section};
use super::column::ColumnWriter;
use super::dictionary::{DictionaryWriter, StoredList};
use super::term::Key;
use super::{postings, term};
use crate::error::{Error, Result};
use crate::rows::{self, ScalarColumn};
use crate::types::{AttrId, AttributeType, RowMap};

/// An index that was made: its sections, to be written one after the other, and its directory.
#[derive(Debug, Clone)]
pub struct AttributeDraft {
    /// The sections and their bytes, in the order in which the directory expects them.
    pub sections: Vec<(Section, Vec<u8>)>,
    /// The directory.
    pub index: AttributeIndex,
}

/// Makes the index of an attribute of type `kind` over the rows of `chunks`; its sections begin at `start` of the file.
/// `None` for a type that has none.
///
/// Errors: `Internal` for more values than an index can number.
pub fn build(
    chunks: &[RecordBatch],
    attr: AttrId,
    kind: AttributeType,
    start: u64,
) -> Result<Option<AttributeDraft>> {
    let columns = Chunks::of(chunks, attr);
    let missing = columns.missing();
    let (n_rows, n_missing) = (counted(columns.n_rows)?, counted(missing.len())?);
    let Some(mut index) = AttributeIndex::empty(kind, n_rows, n_missing) else {
        return Ok(None);
    };
    let mut sections: Vec<(Section, Vec<u8>)> = Vec::new();
    let mut end = start;
    if index.is_list {
        let terms = Terms::of_lists(&columns)?;
        add_dictionary(&mut index, &mut sections, &mut end, &terms)?;
    } else if term::is_number(index.kind) {
        let mut writer = ColumnWriter::default();
        columns.each_number(|number| writer.push(number));
        add_column(&mut index, &mut sections, &mut end, writer);
    } else {
        let terms = Terms::of_values(&columns)?;
        let mut writer = ColumnWriter::default();
        for ordinal in terms.ordinals() {
            writer.push(ordinal);
        }
        add_column(&mut index, &mut sections, &mut end, writer);
        add_dictionary(&mut index, &mut sections, &mut end, &terms)?;
    }
    if n_missing > 0 && n_missing < n_rows {
        let mut bytes = Vec::new();
        let form = postings::put(&mut bytes, &missing)?;
        index.missing = Some(StoredList {
            form,
            range: end..end + bytes.len() as u64,
            count: n_missing,
        });
        sections.push((Section::Missing, bytes));
    }
    Ok(Some(AttributeDraft { sections, index }))
}

fn add_column(
    index: &mut AttributeIndex,
    sections: &mut Vec<(Section, Vec<u8>)>,
    end: &mut u64,
    writer: ColumnWriter,
) {
    let (bytes, column) = writer.finish(*end);
    *end += bytes.len() as u64;
    index.column = Some(column);
    sections.push((Section::Column, bytes));
}

fn add_dictionary(
    index: &mut AttributeIndex,
    sections: &mut Vec<(Section, Vec<u8>)>,
    end: &mut u64,
    terms: &Terms<'_>,
) -> Result<()> {
    let mut writer = DictionaryWriter::default();
    terms.each(|key, rows| writer.push(key, rows))?;
    let (entries, lists, dictionary) = writer.finish(|entries, lists| {
        let middle = *end + entries;
        let ranges = (*end..middle, middle..middle + lists);
        *end = middle + lists;
        ranges
    });
    index.dictionary = Some(dictionary);
    sections.push((Section::Dictionary, entries));
    sections.push((Section::Lists, lists));
    Ok(())
}

fn counted(count: usize) -> Result<u32> {
    u32::try_from(count).map_err(|_| Error::internal("an index has more values than it can number"))
}

/// The column of an attribute in each chunk; `None` where all its values are missing.
pub(super) struct Chunks<'a> {
    columns: Vec<(usize, Option<&'a ArrayRef>)>,
    pub(super) n_rows: usize,
}

impl<'a> Chunks<'a> {
    pub(super) fn of(chunks: &'a [RecordBatch], attr: AttrId) -> Self {
        let columns = chunks
            .iter()
            .map(|chunk| (chunk.num_rows(), rows::column(chunk, attr)));
        Self {
            columns: columns.collect(),
            n_rows: chunks.iter().map(RecordBatch::num_rows).sum(),
        }
    }

    /// The rows without a value.
    pub(super) fn missing(&self) -> Vec<u32> {
        let mut missing = Vec::new();
        let mut first = 0;
        for (n_rows, column) in &self.columns {
            let is_missing = |row: &usize| column.is_none_or(|column| column.is_null(*row));
            missing.extend(
                (0..*n_rows)
                    .filter(is_missing)
                    .map(|row| (first + row) as u32),
            );
            first += n_rows;
        }
        missing
    }

    fn each_number(&self, mut each: impl FnMut(Option<u64>)) {
        for (n_rows, column) in &self.columns {
            let column = column.and_then(|column| ScalarColumn::of(column.as_ref()));
            for row in 0..*n_rows {
                each(column.and_then(|column| term::number_at(column, row)));
            }
        }
    }

    /// Hands over, for each row in order, the column with its values and which of its slots are the row's: one or none,
    /// or the elements of its list.
    pub(super) fn each_row(
        &self,
        mut each: impl FnMut(usize, Option<ScalarColumn<'a>>, std::ops::Range<usize>) -> Result<()>,
    ) -> Result<()> {
        let mut first = 0;
        for (n_rows, column) in &self.columns {
            let column: Option<&'a dyn Array> = column.map(AsRef::as_ref);
            let list = column.and_then(|column| column.as_list_opt::<i32>());
            let scalars = match list {
                Some(list) => ScalarColumn::of(list.values().as_ref()),
                None => column.and_then(ScalarColumn::of),
            };
            for row in 0..*n_rows {
                let is_missing = column.is_none_or(|column| column.is_null(row));
                let slots = match list {
                    _ if is_missing => 0..0,
                    None => row..row + 1,
                    Some(list) => {
                        let offset = |row: usize| {
                            let offset = list.value_offsets().get(row).copied();
                            offset
                                .and_then(|offset| usize::try_from(offset).ok())
                                .unwrap_or(0)
                        };
                        offset(row)..offset(row + 1)
                    }
                };
                each(first + row, scalars, slots)?;
            }
            first += n_rows;
        }
        Ok(())
    }
}

/// No value: rows without one, in the list of numbers of values.
const NONE: u32 = u32::MAX;

/// Distinct values and which rows have them.
struct Terms<'a> {
    /// Keys, ascending, with their numbers.
    keys: Vec<(Key<'a>, u32)>,
    /// The number of the value of each slot.
    numbers: Vec<u32>,
    /// Where the slots of each row end; `None` where each row has one.
    ends: Option<Vec<u32>>,
}

impl<'a> Terms<'a> {
    fn of_values(columns: &Chunks<'a>) -> Result<Self> {
        let mut found = RowMap::default();
        let mut numbers = Vec::with_capacity(columns.n_rows);
        columns.each_row(|_, column, slots| {
            let key = slots
                .into_iter()
                .next()
                .and_then(|slot| term::key_at(column?, slot));
            let number = match key {
                None => NONE,
                Some(key) => {
                    let next = found.len() as u32;
                    *found.entry(key).or_insert(next)
                }
            };
            numbers.push(number);
            Ok(())
        })?;
        Self::sorted(found, numbers, None)
    }

    fn of_lists(columns: &Chunks<'a>) -> Result<Self> {
        let mut found = RowMap::default();
        let mut numbers: Vec<u32> = Vec::new();
        let mut ends = Vec::with_capacity(columns.n_rows);
        columns.each_row(|_, column, slots| {
            for key in slots.filter_map(|slot| term::key_at(column?, slot)) {
                let next = found.len() as u32;
                numbers.push(*found.entry(key).or_insert(next));
            }
            ends.push(counted(numbers.len())?);
            Ok(())
        })?;
        Self::sorted(found, numbers, Some(ends))
    }

    fn sorted(
        found: RowMap<Key<'a>, u32>,
        numbers: Vec<u32>,
        ends: Option<Vec<u32>>,
    ) -> Result<Self> {
        counted(numbers.len())?;
        let mut keys: Vec<(Key<'a>, u32)> = found.into_iter().collect();
        keys.sort_unstable();
        Ok(Self {
            keys,
            numbers,
            ends,
        })
    }

    /// The place of each value in order, by its number.
    fn ranks(&self) -> Vec<u32> {
        let mut ranks = vec![0; self.keys.len()];
        for (rank, (_, number)) in self.keys.iter().enumerate() {
            if let Some(slot) = ranks.get_mut(*number as usize) {
                *slot = rank as u32;
            }
        }
        ranks
    }

    /// For each slot the place of its value.
    fn ordinals(&self) -> impl Iterator<Item = Option<u64>> + '_ {
        let ranks = self.ranks();
        let numbers = self.numbers.iter();
        numbers.map(move |number| ranks.get(*number as usize).map(|rank| u64::from(*rank)))
    }

    /// Hands over each value in order with its rows, ascending, each once.
    fn each(&self, mut each: impl FnMut(&[u8], &[u32]) -> Result<()>) -> Result<()> {
        // Rows sorted by the numbers of their values, by counting.
        let mut starts = vec![0_u32; self.keys.len() + 1];
        for number in &self.numbers {
            if let Some(count) = starts
                .get_mut(*number as usize + 1)
                .filter(|_| *number != NONE)
            {
                *count += 1;
            }
        }
        let mut sum = 0;
        for start in &mut starts {
            sum += *start;
            *start = sum;
        }
        let mut next = starts.clone();
        let mut rows = vec![0_u32; sum as usize];
        let mut place = |row: u32, number: u32| {
            if let Some(at) = next.get_mut(number as usize).filter(|_| number != NONE) {
                if let Some(slot) = rows.get_mut(*at as usize) {
                    *slot = row;
                }
                *at += 1;
            }
        };
        match &self.ends {
            None => {
                for (row, number) in self.numbers.iter().enumerate() {
                    place(row as u32, *number);
                }
            }
            Some(ends) => {
                let mut slots = self.numbers.iter();
                let mut start = 0;
                for (row, end) in ends.iter().enumerate() {
                    for number in slots.by_ref().take((end - start) as usize) {
                        place(row as u32, *number);
                    }
                    start = *end;
                }
            }
        }
        let mut distinct: Vec<u32> = Vec::new();
        for (key, number) in &self.keys {
            let at = |number: usize| starts.get(number).map_or(0, |start| *start as usize);
            let range = at(*number as usize)..at(*number as usize + 1);
            let rows = rows.get(range).unwrap_or_default();
            distinct.clear();
            distinct.extend(rows);
            distinct.dedup();
            each(key.bytes(), &distinct)?;
        }
        Ok(())
    }
}
