//! The rows of a write entry: whole documents and deleted ids, resolved, so that replay never evaluates.

use arrow::array::{Array, ArrayRef};
use arrow::record_batch::RecordBatch;

/// What a write entry does to the documents. Within one entry an id occurs once.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Effects {
    /// Documents after this entry, in the layout of `rows`; replaces any of the same id.
    pub upserts: Option<RecordBatch>,
    /// Ids that are gone after this entry, as an id column.
    pub deletes: Option<ArrayRef>,
}

impl Effects {
    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.n_upserts() == 0 && self.n_deletes() == 0
    }

    /// Documents written.
    pub fn n_upserts(&self) -> usize {
        self.upserts.as_ref().map_or(0, RecordBatch::num_rows)
    }

    /// Ids deleted.
    pub fn n_deletes(&self) -> usize {
        self.deletes.as_ref().map_or(0, |ids| ids.len())
    }
}
