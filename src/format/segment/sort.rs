//! Rows in the order of their ids, in chunks small enough to be handled as one batch.

use arrow::array::RecordBatch;
use arrow::compute;

use crate::error::{Error, Result};
use crate::rows;
use crate::types::{DocId, NamespaceSchema};

/// Aligns batches to the schema and sorts their rows by id.
///
/// Errors: `Internal` if an id occurs twice, and like `rows::align`.
pub(super) fn sorted(
    batches: &[RecordBatch],
    schema: &NamespaceSchema,
) -> Result<Vec<RecordBatch>> {
    let aligned = batches
        .iter()
        .map(|batch| rows::align(batch, schema))
        .collect::<Result<Vec<_>>>()?;
    let mut order: Vec<(DocId, usize, usize)> = Vec::new();
    for (at, batch) in aligned.iter().enumerate() {
        let ids = rows::ids_of(rows::id_column(batch));
        order.extend(ids.into_iter().enumerate().map(|(row, id)| (id, at, row)));
    }
    order.sort_unstable();
    let twice = order
        .iter()
        .zip(order.iter().skip(1))
        .find(|(a, b)| a.0 == b.0);
    if let Some((id, _)) = twice {
        return Err(Error::internal(format!(
            "rows of a segment: id `{}` occurs twice",
            id.0
        )));
    }
    let order: Vec<(usize, usize)> = order.into_iter().map(|(_, at, row)| (at, row)).collect();
    let logical = aligned.iter().map(rows::logical_bytes).sum();
    let sources: Vec<&RecordBatch> = aligned.iter().collect();
    order
        .chunks(super::batch_rows(logical))
        .map(|places| {
            compute::interleave_record_batch(&sources, places).map_err(|error| {
                Error::internal("cannot sort the rows of a segment").with_source(error)
            })
        })
        .collect()
}
