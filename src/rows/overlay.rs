//! Patching: some attributes of rows taken from other rows.

use arrow::array::{Array, RecordBatch};
use arrow::compute;
use arrow::error::ArrowError;

use super::layout;
use crate::error::{Error, Result};
use crate::types::AttrId;

/// Which rows of a batch of patches say something about an attribute, null included.
#[derive(Debug, Clone)]
pub struct Given {
    /// The attribute.
    pub attr: AttrId,
    /// Rows of the patches that name it, ascending.
    pub rows: Vec<u32>,
}

/// Gives `current` with the attributes that its patches name taken from them; `patch_rows` says for each
/// row of `current` which row of `patches` patches it.
///
/// Both batches have the layout of one schema. Errors: `Internal` if they have not, or a row is out of range.
pub fn overlay(
    current: &RecordBatch,
    patches: &RecordBatch,
    given: &[Given],
    patch_rows: &[u32],
) -> Result<RecordBatch> {
    if patch_rows.len() != current.num_rows() {
        return Err(Error::internal(format!(
            "{} patches for {} rows",
            patch_rows.len(),
            current.num_rows()
        )));
    }
    let mut columns = current.columns().to_vec();
    for given in given {
        let name = layout::column_name(given.attr);
        let at = current.schema_ref().index_of(&name).map_err(broken)?;
        let source = layout::column(patches, given.attr)
            .ok_or_else(|| Error::internal(format!("patches have no column `{name}`")))?;
        let is_given = |row: u32| given.rows.binary_search(&row).is_ok();
        if !patch_rows.iter().any(|row| is_given(*row)) {
            continue;
        }
        if let Some(row) = patch_rows.iter().find(|row| **row as usize >= source.len()) {
            let text = format!("row {row} of {} patches", source.len());
            return Err(Error::internal(text));
        }
        let places: Vec<(usize, usize)> = patch_rows
            .iter()
            .enumerate()
            .map(|(row, patch)| match is_given(*patch) {
                true => (1, *patch as usize),
                false => (0, row),
            })
            .collect();
        let both = [columns[at].as_ref(), source.as_ref()];
        columns[at] = compute::interleave(&both, &places).map_err(broken)?;
    }
    RecordBatch::try_new(current.schema(), columns).map_err(broken)
}

fn broken(error: ArrowError) -> Error {
    Error::internal("cannot patch a batch of rows").with_source(error)
}
