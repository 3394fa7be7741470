//! Reads inverted lists back and compares them with the rows they were made from.

use arrow::array::RecordBatch;
use half::f16;
use xxhash_rust::xxh3::xxh3_64;

use super::SparseIndex;
use super::build::each_row;
use super::list::{Ends, Entries, List};
use crate::error::Result;
use crate::index::dictionary::{self, KeyRange};
use crate::index::pages::Pages;
use crate::index::postings::ListForm;
use crate::index::prove::unproved;
use crate::types::AttrId;

/// Compares every dimension, row and weight of an index with the rows, and that ends are those of the weights.
///
/// What the lists say of a row is compared by the sum of its entries' hashes. Errors: `Internal` where they differ; of
/// the reading.
pub fn prove_sparse(
    index: &SparseIndex,
    chunks: &[RecordBatch],
    attr: AttrId,
    pages: &Pages,
) -> Result<()> {
    let n_rows: usize = chunks.iter().map(RecordBatch::num_rows).sum();
    if n_rows != index.n_rows() {
        return Err(unproved("rows"));
    }
    let sums = sums_of_lists(index, pages)?;
    let mut same = true;
    each_row(chunks, attr, |row, entries| {
        let expected = entries.fold(0_u64, |sum, (dim, weight)| {
            let hash = xxh3_64(dim.as_bytes());
            sum.wrapping_add(mixed(hash, f16::from_f32(weight).to_bits()))
        });
        same &= sums.get(row as usize) == Some(&expected);
    });
    match same {
        true => Ok(()),
        false => Err(unproved("entries of sparse vectors")),
    }
}

/// The hash of an entry: of its dimension's, with its weight.
fn mixed(hash: u64, weight: u16) -> u64 {
    let mut mixed = hash ^ u64::from(weight).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    mixed ^ (mixed >> 32)
}

/// The sum of the hashes of each row's entries.
fn sums_of_lists(index: &SparseIndex, pages: &Pages) -> Result<Vec<u64>> {
    let (dictionary, n_rows) = (&index.dictionary, index.n_rows);
    let mut sums = vec![0_u64; index.n_rows()];
    let mut entries = Entries::default();
    let mut found = 0;
    let mut last: Option<Vec<u8>> = None;
    for block in dictionary.blocks(&KeyRange::all()) {
        dictionary.walk(block, &KeyRange::all(), pages, |key, entry| {
            let ascends = last.as_deref().is_none_or(|last| last < key);
            let findable = dictionary.block_of(key) == Some(block);
            if !ascends || !findable || entry.ordinal != found || entry.count == 0 {
                return Err(unproved("order of dimensions"));
            }
            found += 1;
            last = Some(key.to_vec());
            let hash = xxh3_64(key);
            let mut add = |entries: &Entries| {
                for (row, weight) in entries.within(&(0..n_rows)) {
                    if let Some(sum) = sums.get_mut(row as usize) {
                        *sum = sum.wrapping_add(mixed(hash, weight));
                    }
                }
            };
            let count = entry.count as usize;
            let range = match entry.list {
                dictionary::List::Inline(bytes) => {
                    entries.read(bytes, count, (None, n_rows))?;
                    add(&entries);
                    return Ok(true);
                }
                dictionary::List::Stored(ListForm::Varints, range) => range,
                dictionary::List::Stored(..) => return Err(unproved("form of a list")),
            };
            let mut list = List::new(count, range);
            list.open(&pages.get(list.directory()?)?, n_rows)?;
            for (at, chunk) in list.chunks().iter().enumerate() {
                let bytes = pages.get(list.chunk_range(at))?;
                let (mut rows, mut weights) = (Vec::new(), Vec::new());
                for block in list.blocks(at, &bytes)? {
                    entries.read_block(&block, &bytes)?;
                    if Ends::of(entries.rows(), entries.weights()) != Some(block.ends) {
                        return Err(unproved("ends of a block"));
                    }
                    rows.extend(entries.rows());
                    weights.extend(entries.weights());
                    add(&entries);
                }
                if Ends::of(&rows, &weights) != Some(chunk.ends) {
                    return Err(unproved("ends of a chunk"));
                }
            }
            Ok(true)
        })?;
    }
    match found == dictionary.n_values() {
        true => Ok(sums),
        false => Err(unproved("number of dimensions")),
    }
}
