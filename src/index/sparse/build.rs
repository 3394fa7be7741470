//! Rows to inverted lists. Memory is about 10 bytes an entry and 24 a dimension, beside what is written.

use arrow::array::RecordBatch;

use super::list::{put_block, put_list};
use super::{Section, SparseIndex};
use crate::error::{Error, Result};
use crate::index::dictionary::DictionaryWriter;
use crate::index::postings::ListForm;
use crate::rows::{self, SparseColumn};
use crate::types::{AttrId, RowMap};

/// Lists that were made: their sections, to be written one after the other, and their directory.
#[derive(Debug, Clone)]
pub struct SparseDraft {
    /// The sections and their bytes, in the order in which the directory expects them.
    pub sections: Vec<(Section, Vec<u8>)>,
    /// The directory.
    pub index: SparseIndex,
}

/// Makes the lists of an attribute of sparse vectors over the rows of `chunks`; their sections begin at `start` of the
/// file. `None` where a weight is not finite or a row has a dimension twice, which no list holds: such values cannot be
/// written, so that what cannot be is searched row by row and does not stop a flush.
///
/// Errors: `Internal` for more entries than an index can number.
pub fn build_sparse(
    chunks: &[RecordBatch],
    attr: AttrId,
    start: u64,
) -> Result<Option<SparseDraft>> {
    let n_rows: usize = chunks.iter().map(RecordBatch::num_rows).sum();
    let n_rows = u32::try_from(n_rows).map_err(|_| too_many())?;
    let mut found: RowMap<&str, u32> = RowMap::default();
    let mut numbers: Vec<u32> = Vec::new();
    let mut counts: Vec<usize> = Vec::new();
    let mut all_finite = true;
    each_row(chunks, attr, |_, entries| {
        for (dim, weight) in entries {
            all_finite &= weight.is_finite();
            let next = counts.len() as u32;
            let number = *found.entry(dim).or_insert(next);
            match counts.get_mut(number as usize) {
                Some(count) => *count += 1,
                None => counts.push(1),
            }
            numbers.push(number);
        }
    });
    if !all_finite {
        return Ok(None);
    }
    u32::try_from(numbers.len()).map_err(|_| too_many())?;
    // Where the next entry of each dimension goes.
    let mut places = Vec::with_capacity(counts.len());
    let mut end = 0;
    for count in &counts {
        places.push(end);
        end += count;
    }
    let (mut rows, mut weights) = (vec![0_u32; end], vec![0_u16; end]);
    let mut number = numbers.into_iter();
    each_row(chunks, attr, |row, entries| {
        for ((_, weight), number) in entries.zip(&mut number) {
            let Some(place) = places.get_mut(number as usize) else {
                continue;
            };
            if let Some((to, bits)) = rows.get_mut(*place).zip(weights.get_mut(*place)) {
                (*to, *bits) = (row, half::f16::from_f32(weight).to_bits());
            }
            *place += 1;
        }
    });
    let mut dims: Vec<(&str, u32)> = found.into_iter().collect();
    dims.sort_unstable();
    let mut writer = DictionaryWriter::default();
    for (dim, number) in dims {
        let end = places.get(number as usize).copied().unwrap_or(0);
        let count = counts.get(number as usize).copied().unwrap_or(0);
        let range = end - count..end;
        let list = rows.get(range.clone()).zip(weights.get(range));
        let (rows, weights) = list.unwrap_or_default();
        if !rows.is_sorted_by(|a, b| a < b) {
            return Ok(None);
        }
        writer.push_list(dim.as_bytes(), count, |out, is_inline| {
            match is_inline {
                true => put_block(out, None, rows, weights),
                false => put_list(out, rows, weights),
            }
            Ok(ListForm::Varints)
        })?;
    }
    let (entries, lists, dictionary) = writer.finish(|entries, lists| {
        let middle = start + entries;
        (start..middle, middle..middle + lists)
    });
    Ok(Some(SparseDraft {
        sections: vec![(Section::Dictionary, entries), (Section::Lists, lists)],
        index: SparseIndex { n_rows, dictionary },
    }))
}

/// Hands over the entries of each row in order; of a row without a sparse vector there are none.
pub(super) fn each_row<'a>(
    chunks: &'a [RecordBatch],
    attr: AttrId,
    mut each: impl FnMut(u32, &mut dyn Iterator<Item = (&'a str, f32)>),
) {
    let mut row = 0_u32;
    for chunk in chunks {
        let column = rows::column(chunk, attr);
        let column = column.and_then(|column| SparseColumn::of(column.as_ref()));
        for at in 0..chunk.num_rows() {
            let column = column.filter(|column| !column.is_null(at));
            each(
                row,
                &mut column.into_iter().flat_map(|column| column.entries(at)),
            );
            row = row.saturating_add(1);
        }
    }
}

fn too_many() -> Error {
    Error::internal("an index has more entries than it can number")
}
