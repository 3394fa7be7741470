//! Writes given their types: ids checked, the schema grown, values turned into one batch of rows.
//!
//! Must not know: what is stored already, sequences, JSON. Read `schema.rs` first, then `rows.rs`.

mod infer;
mod rows;
mod schema;

use arrow::array::RecordBatch;

pub use schema::bind_schema;

use crate::error::{Error, Result};
use crate::filter::{self, BoundFilter};
use crate::types::document::{RawValue, WriteBatch};
use crate::types::{DocId, NamespaceSchema, RowSet};

use crate::rows::raw;

/// A write whose every part has been checked against the schema it leaves behind.
#[derive(Debug, Clone)]
pub struct BoundWrite {
    /// The schema after the write; equal to the one given if the write brings nothing new.
    pub schema: NamespaceSchema,
    /// Whether it differs from the one given.
    pub schema_changed: bool,
    /// The ids of the upserts, in order.
    pub ids: Vec<DocId>,
    /// One row per upsert, in the layout of `schema`.
    pub rows: RecordBatch,
    /// The ids to delete, in order.
    pub deletes: Vec<DocId>,
    /// The condition upserts are under.
    pub condition: Option<BoundFilter>,
    /// Logical bytes of `rows`.
    pub bytes: u64,
}

/// Binds a write to the schema of its namespace. Nothing of it may be applied if it fails.
///
/// Errors: `InvalidRequest` for everything the schema or a limit forbids; messages name the attribute,
/// what was expected and found, and the row by index and id.
pub fn bind(current: &NamespaceSchema, write: &WriteBatch) -> Result<BoundWrite> {
    let has_upserts = write.has_upserts || !write.upserts.is_empty();
    let has_deletes = write.has_deletes || !write.deletes.is_empty();
    if !has_upserts && !has_deletes && write.schema.is_none() {
        return Err(Error::invalid(
            "a write needs at least one of upserts, deletes and schema",
        ));
    }
    if write.upsert_condition.is_some() && !has_upserts {
        return Err(Error::invalid("`upsert_condition` needs upserts"));
    }
    let mut grown = schema::declare(current, write.schema.as_ref())?;
    let (ids, deletes) = bind_ids(&mut grown, write)?;
    infer::infer(&mut grown, &write.upserts)?;
    schema::settle(
        current,
        &mut grown,
        write.schema.as_ref(),
        write.distance_metric,
    )?;
    let condition = write
        .upsert_condition
        .as_ref()
        .map(|condition| filter::bind(condition, &grown))
        .transpose()?;
    let (ids, rows) = rows::build(&grown, &write.upserts, ids)?;
    Ok(BoundWrite {
        schema_changed: grown != *current,
        schema: grown,
        ids,
        bytes: crate::rows::logical_bytes(&rows),
        rows,
        deletes,
        condition,
    })
}

/// Binds all ids; the first upsert of a namespace decides their kind if nothing declared it.
fn bind_ids(schema: &mut NamespaceSchema, write: &WriteBatch) -> Result<(Vec<DocId>, Vec<DocId>)> {
    let mut kind = schema.id_kind;
    let mut seen = RowSet::default();
    seen.reserve(write.upserts.len() + write.deletes.len());
    let mut bind = |place: &str, at: usize, id: &RawValue| -> Result<DocId> {
        let id = raw::doc_id(kind, id)
            .map_err(|error| Error::invalid(format!("{place} {at}: {}", error.message())))?;
        kind = Some(id.kind());
        if !seen.insert(id.clone()) {
            return Err(Error::invalid(format!(
                "{place} {at}: id `{id}` occurs twice in one request"
            )));
        }
        Ok(id)
    };
    let upserts = write
        .upserts
        .iter()
        .enumerate()
        .map(|(at, document)| bind("upsert row", at, &document.id))
        .collect::<Result<Vec<_>>>()?;
    let deletes = write
        .deletes
        .iter()
        .enumerate()
        .map(|(at, id)| bind("delete", at, id))
        .collect::<Result<Vec<_>>>()?;
    if let Some(first) = upserts.first() {
        schema.id_kind = Some(first.kind());
    }
    Ok((upserts, deletes))
}

#[cfg(test)]
mod tests;
