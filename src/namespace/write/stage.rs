//! One request against the group before it: what it changes, worked out whole before any of it counts.

use arrow::array::RecordBatch;

use super::gather::{Known, Matched};
use super::group::Draft;
use crate::error::{Error, ErrorKind, Result};
use crate::namespace::bind::{BoundCondition, BoundPatches, BoundWrite};
use crate::rows;
use crate::types::document::{Document, WriteBatch, WriteOutcome};
use crate::types::{DocId, RowMap, limits};

/// Where the newest version of an id in this group is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Newest {
    Row { batch: usize, row: u32 },
    Deleted,
}

/// What one request changes.
#[derive(Debug, Default)]
pub(super) struct Changes {
    pub(super) newest: RowMap<DocId, Newest>,
    /// Rows, to be put behind those of the group.
    pub(super) batches: Vec<RecordBatch>,
    pub(super) outcome: WriteOutcome,
}

/// A patch of one document: its id, its row among the patches, the document as the request has it.
type PatchOf<'a> = (DocId, u32, Option<&'a Document>);

/// A request under way.
pub(super) struct Stage<'a> {
    draft: &'a Draft<'a>,
    bound: &'a BoundWrite,
    asked: &'a WriteBatch,
    position: usize,
    changes: Changes,
}

impl<'a> Stage<'a> {
    pub(super) fn new(draft: &'a Draft<'a>, bound: &'a BoundWrite, asked: &'a WriteBatch) -> Self {
        Self {
            draft,
            bound,
            asked,
            position: 0,
            changes: Changes::default(),
        }
    }

    /// Works the changes out. `matched`: what the request's filters match.
    ///
    /// Filters first, deletes before patches; then operations on ids, which are distinct.
    pub(super) fn run(mut self, position: usize, matched: Option<&Matched>) -> Result<Changes> {
        self.position = position;
        let (asked, bound) = (self.asked, self.bound);
        let outcome = &mut self.changes.outcome;
        outcome.rows_upserted = asked.is_upserting().then_some(0);
        outcome.rows_patched = asked.is_patching().then_some(0);
        outcome.rows_deleted = asked.is_deleting().then_some(0);
        self.by_filter(matched)?;
        let patches = bound.patches.ids.iter().zip(0..).zip(&asked.patches);
        let patches = patches.map(|((id, row), new)| (id.clone(), row, Some(new)));
        let condition = bound.patch_condition.as_ref();
        let patched = self.patched(patches, &bound.patches, condition)?;
        let upserted = self.applying_upserts()?;
        let deleted = self.applying_deletes()?;
        // Only now: no operation on ids sees another's change.
        self.note_patched(patched);
        self.note_upserted(upserted);
        self.note_deleted(deleted);
        Ok(self.changes)
    }

    fn by_filter(&mut self, matched: Option<&Matched>) -> Result<()> {
        if !self.asked.is_by_filter() {
            return Ok(());
        }
        let matched = matched.ok_or_else(|| Error::internal("filters that nobody evaluated"))?;
        if let Some(error) = &matched.refused {
            return Err(error.duplicate());
        }
        self.changes.outcome.rows_remaining = matched.remaining;
        self.note_deleted(matched.deletes.clone());
        let Some((_, patch)) = &self.bound.patch_filter else {
            return Ok(());
        };
        let patches = matched.patches.iter().map(|id| (id.clone(), 0, None));
        let patched = self.patched(patches, patch, None)?;
        self.note_patched(patched);
        Ok(())
    }

    /// The document of an id as this request finds it.
    fn current(&self, id: &DocId) -> Result<Option<RecordBatch>> {
        let known = match self.changes.newest.get(id) {
            Some(Newest::Deleted) => Known::Missing,
            Some(Newest::Row { batch, row }) => {
                let at = batch.checked_sub(self.draft.n_batches());
                let batch = at.and_then(|at| self.changes.batches.get(at));
                let batch = batch.ok_or_else(|| Error::internal("a row of no batch"))?;
                Known::Document(rows::take_rows(batch, &[*row])?)
            }
            None => self.draft.current(id)?,
        };
        match known {
            Known::Document(document) => Ok(Some(document)),
            Known::Missing => Ok(None),
            Known::Beyond => Err(self.too_large()),
        }
    }

    /// Stored documents that did not fit into memory: alone the request would not either, or its neighbours
    /// took the room.
    fn too_large(&self) -> Error {
        let most = self.draft.most_bytes();
        match self.position {
            0 => Error::new(
                ErrorKind::TooLarge,
                "too_large",
                format!(
                    "stored documents that one write patches or asks have at most {most} bytes: send fewer"
                ),
            )
            .with_detail("most_bytes", most),
            _ => Error::unavailable(format!(
                "writes of the same moment take all room for stored documents: {most} bytes"
            ))
            .with_detail("most_bytes", most)
            .with_retry_after_ms(100),
        }
    }

    fn holds(
        &self,
        condition: Option<&BoundCondition>,
        current: &RecordBatch,
        new: Option<&Document>,
    ) -> Result<bool> {
        condition.map_or(Ok(true), |condition| {
            condition.holds(current, new, &self.bound.schema)
        })
    }

    /// The rows of an upsert that apply. A missing document is inserted unconditionally.
    fn applying_upserts(&self) -> Result<Vec<u32>> {
        let all = 0..self.bound.ids.len() as u32;
        let Some(condition) = &self.bound.upsert_condition else {
            return Ok(all.collect());
        };
        let mut applying = Vec::new();
        for (row, id) in all.zip(&self.bound.ids) {
            let new = self.asked.upserts.get(row as usize);
            let applies = match self.current(id)? {
                None => true,
                Some(current) => condition.holds(&current, new, &self.bound.schema)?,
            };
            if applies {
                applying.push(row);
            }
        }
        Ok(applying)
    }

    /// The ids of deletes that apply: all without a condition, present or not.
    fn applying_deletes(&self) -> Result<Vec<DocId>> {
        let Some(condition) = &self.bound.delete_condition else {
            return Ok(self.bound.deletes.clone());
        };
        let mut applying = Vec::new();
        for id in &self.bound.deletes {
            if let Some(current) = self.current(id)?
                && self.holds(Some(condition), &current, None)?
            {
                applying.push(id.clone());
            }
        }
        Ok(applying)
    }

    /// The documents that are there and whose condition holds, patched: whole rows, so that nobody who reads
    /// the log needs to know what they were.
    fn patched<'p>(
        &self,
        wanted: impl Iterator<Item = PatchOf<'p>>,
        patches: &BoundPatches,
        condition: Option<&BoundCondition>,
    ) -> Result<Option<(Vec<DocId>, RecordBatch)>> {
        let (mut ids, mut currents, mut patch_rows) = (Vec::new(), Vec::new(), Vec::new());
        for (id, row, new) in wanted {
            if let Some(current) = self.current(&id)?
                && self.holds(condition, &current, new)?
            {
                ids.push(id);
                currents.push(current);
                patch_rows.push(row);
            }
        }
        if ids.is_empty() {
            return Ok(None);
        }
        let currents = rows::concat(&currents, &self.bound.schema)?;
        let patched = rows::overlay(&currents, &patches.rows, &patches.given, &patch_rows)?;
        for (row, id) in ids.iter().enumerate() {
            let bytes = rows::row_bytes(&patched, row);
            if bytes > limits::DOCUMENT_BYTES_MAX as u64 {
                return Err(Error::invalid(format!(
                    "document `{id}`: a document has at most {} bytes, found {bytes} after its patch",
                    limits::DOCUMENT_BYTES_MAX
                )));
            }
        }
        Ok(Some((ids, patched)))
    }

    fn note_patched(&mut self, patched: Option<(Vec<DocId>, RecordBatch)>) {
        let Some((ids, patched)) = patched else {
            return;
        };
        let batch = self.push(patched.clone());
        let Changes {
            newest, outcome, ..
        } = &mut self.changes;
        outcome.rows_patched = Some(outcome.rows_patched.unwrap_or(0) + ids.len() as u64);
        outcome.bytes_written += rows::logical_bytes(&patched);
        for (id, row) in ids.into_iter().zip(0..) {
            if self.asked.return_affected_ids {
                outcome.patched_ids.push(id.clone());
            }
            newest.insert(id, Newest::Row { batch, row });
        }
    }

    fn note_upserted(&mut self, applying: Vec<u32>) {
        let batch = self.push(self.bound.rows.clone());
        let Changes {
            newest, outcome, ..
        } = &mut self.changes;
        outcome.rows_upserted = self.asked.is_upserting().then_some(applying.len() as u64);
        newest.reserve(applying.len());
        for row in applying {
            let id = self.bound.ids[row as usize].clone();
            outcome.bytes_written += rows::row_bytes(&self.bound.rows, row as usize);
            if self.asked.return_affected_ids {
                outcome.upserted_ids.push(id.clone());
            }
            newest.insert(id, Newest::Row { batch, row });
        }
    }

    fn note_deleted(&mut self, ids: Vec<DocId>) {
        let Changes {
            newest, outcome, ..
        } = &mut self.changes;
        if let Some(rows_deleted) = &mut outcome.rows_deleted {
            *rows_deleted += ids.len() as u64;
        }
        newest.reserve(ids.len());
        for id in ids {
            if self.asked.return_affected_ids {
                outcome.deleted_ids.push(id.clone());
            }
            newest.insert(id, Newest::Deleted);
        }
    }

    /// Adds rows; gives the number they will have in the group.
    fn push(&mut self, batch: RecordBatch) -> usize {
        self.changes.batches.push(batch);
        self.draft.n_batches() + self.changes.batches.len() - 1
    }
}
