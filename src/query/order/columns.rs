//! What an order's keys are made from, in one batch.

use arrow::array::{Float64Array, RecordBatch};

use super::BoundKey;
use crate::filter::Target;
use crate::query::key;
use crate::rows::{self, ScalarColumn};

/// The columns of an order's keys, types resolved; the id comes last.
pub(super) struct KeyColumns<'a> {
    columns: Vec<(Option<ScalarColumn<'a>>, bool)>,
}

impl<'a> KeyColumns<'a> {
    /// Those of an order by attributes; a column that the batch does not have is missing everywhere.
    pub(super) fn of_keys(keys: &[BoundKey], batch: &'a RecordBatch) -> Self {
        let id = ScalarColumn::of(rows::id_column(batch).as_ref());
        let mut columns: Vec<_> = keys
            .iter()
            .map(|key| {
                let column = match key.target {
                    Target::Id => id,
                    Target::Attribute(attr) => column_of(attr, batch),
                };
                (column, key.descending)
            })
            .collect();
        columns.push((id, false));
        Self { columns }
    }

    /// Those of an order by score, one score a row.
    pub(super) fn of_scores(scores: &'a Float64Array, batch: &'a RecordBatch) -> Self {
        let id = ScalarColumn::of(rows::id_column(batch).as_ref());
        Self {
            columns: vec![(Some(ScalarColumn::Float(scores)), true), (id, false)],
        }
    }

    /// Writes the key of a row.
    pub(super) fn encode(&self, row: usize, out: &mut Vec<u8>) {
        out.clear();
        for (column, descending) in &self.columns {
            let start = out.len();
            key::encode(*column, row, out);
            if *descending {
                out[start..].iter_mut().for_each(|byte| *byte = !*byte);
            }
        }
    }
}

/// The scalars of an attribute in a batch.
pub(super) fn column_of(
    attr: crate::types::AttrId,
    batch: &RecordBatch,
) -> Option<ScalarColumn<'_>> {
    rows::column(batch, attr).and_then(|column| ScalarColumn::of(column.as_ref()))
}
