//! Reads an index back and compares it with the rows it was made from.

use arrow::array::RecordBatch;
use xxhash_rust::xxh3::xxh3_64;

use super::attribute::AttributeIndex;
use super::block::Values;
use super::build::Chunks;
use super::dictionary::{KeyRange, List};
use super::pages::Pages;
use super::postings::{self, ListForm, Rows};
use super::term;
use crate::error::{Error, Result};
use crate::types::AttrId;

/// Compares every number, every value and every list of an index with the rows.
///
/// What the lists of a row's values say is compared by the sum of the values' hashes. Errors: `Internal` where they
/// differ; of the reading.
pub fn prove(
    index: &AttributeIndex,
    chunks: &[RecordBatch],
    attr: AttrId,
    pages: &Pages,
) -> Result<()> {
    let columns = Chunks::of(chunks, attr);
    if columns.n_rows != index.n_rows() {
        return Err(unproved("rows"));
    }
    let keys = prove_lists(index, &columns, pages)?;
    prove_column(index, &columns, &keys, pages)?;
    prove_missing(index, &columns, pages)
}

/// Compares which rows have which values; gives the hashes of the values in order.
fn prove_lists(index: &AttributeIndex, columns: &Chunks<'_>, pages: &Pages) -> Result<Vec<u64>> {
    let Some(dictionary) = &index.dictionary else {
        return Ok(Vec::new());
    };
    let n_rows = index.n_rows();
    let mut sums = vec![0_u64; n_rows];
    let mut hashes: Vec<u64> = Vec::with_capacity(dictionary.n_values() as usize);
    let mut words = vec![0; n_rows.div_ceil(64)];
    let mut last: Option<Vec<u8>> = None;
    for block in dictionary.blocks(&KeyRange::all()) {
        dictionary.walk(block, &KeyRange::all(), pages, |key, entry| {
            let ascends = last.as_deref().is_none_or(|last| last < key);
            if !ascends || entry.ordinal as usize != hashes.len() {
                return Err(unproved("order of values"));
            }
            last = Some(key.to_vec());
            let hash = xxh3_64(key);
            hashes.push(hash);
            let mut add = |row: usize| match sums.get_mut(row) {
                Some(sum) => {
                    *sum = sum.wrapping_add(hash);
                    Ok(())
                }
                None => Err(unproved("row of a value")),
            };
            match entry.list {
                List::Inline(bytes) => postings::each_varint(bytes, entry.count, add)?,
                List::Stored(ListForm::Varints, range) => {
                    postings::each_varint(&pages.get(range)?, entry.count, add)?;
                }
                List::Stored(form, range) => {
                    let mut rows = Rows {
                        words: &mut words,
                        n_rows,
                    };
                    postings::add(form, &pages.get(range)?, entry.count, &mut rows)?;
                    for (at, word) in words.iter_mut().enumerate() {
                        let mut rest = std::mem::take(word);
                        while rest != 0 {
                            add(at * 64 + rest.trailing_zeros() as usize)?;
                            rest &= rest - 1;
                        }
                    }
                }
            }
            Ok(true)
        })?;
    }
    if hashes.len() != dictionary.n_values() as usize {
        return Err(unproved("number of values"));
    }
    let mut own = Vec::new();
    columns.each_row(|row, column, slots| {
        own.clear();
        let keys = slots.filter_map(|slot| term::key_at(column?, slot));
        own.extend(keys.map(|key| xxh3_64(key.bytes())));
        own.sort_unstable();
        own.dedup();
        let expected = own.iter().fold(0_u64, |sum, hash| sum.wrapping_add(*hash));
        match sums.get(row) == Some(&expected) {
            true => Ok(()),
            false => Err(unproved("rows of values")),
        }
    })?;
    Ok(hashes)
}

/// Compares the column, through the hashes of the dictionary where it has one.
fn prove_column(
    index: &AttributeIndex,
    columns: &Chunks<'_>,
    hashes: &[u64],
    pages: &Pages,
) -> Result<()> {
    let Some(column) = &index.column else {
        return Ok(());
    };
    let mut found: Vec<Option<u64>> = Vec::with_capacity(index.n_rows());
    let mut values = Values::default();
    for group in 0..column.n_groups() {
        for block in column.blocks(group, pages)? {
            block.read(&mut values)?;
            let numbers = values.numbers.iter().take(block.rows).enumerate();
            found.extend(numbers.map(|(row, number)| {
                let word = values.present.get(row / 64).copied().unwrap_or(0);
                (word >> (row % 64) & 1 == 1).then_some(*number)
            }));
        }
    }
    let with_keys = index.dictionary.is_some();
    columns.each_row(|row, column, slots| {
        let slot = slots.into_iter().next();
        let expected = slot.zip(column).and_then(|(slot, column)| match with_keys {
            true => term::key_at(column, slot).map(|key| xxh3_64(key.bytes())),
            false => term::number_at(column, slot),
        });
        let found = found.get(row).copied().flatten();
        let found = match with_keys {
            true => found.and_then(|ordinal| hashes.get(usize::try_from(ordinal).ok()?).copied()),
            false => found,
        };
        match found == expected {
            true => Ok(()),
            false => Err(unproved("column")),
        }
    })
}

fn prove_missing(index: &AttributeIndex, columns: &Chunks<'_>, pages: &Pages) -> Result<()> {
    let n_rows = index.n_rows();
    let mut words = vec![0; n_rows.div_ceil(64)];
    let mut rows = Rows {
        words: &mut words,
        n_rows,
    };
    if let Some(missing) = &index.missing {
        missing.add(pages, &mut rows)?;
    }
    let expected = columns.missing();
    let listed = match &index.missing {
        Some(_) => expected.as_slice(),
        None => &[],
    };
    let same = expected.len() == index.n_missing as usize
        && words
            .iter()
            .map(|word| word.count_ones() as usize)
            .sum::<usize>()
            == listed.len()
        && listed.iter().all(|row| {
            let word = words.get(*row as usize / 64).copied().unwrap_or(0);
            word >> (row % 64) & 1 == 1
        });
    match same {
        true => Ok(()),
        false => Err(unproved("rows without a value")),
    }
}

pub(super) fn unproved(what: &str) -> Error {
    Error::internal(format!(
        "an attribute index does not read back: {what}: expected what was written, found other"
    ))
}
