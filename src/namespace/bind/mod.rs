//! Writes given their types: ids checked, the schema grown, values turned into one batch of rows.
//!
//! Must not know: what is stored already, sequences, JSON. Read `schema.rs` first, then `rows.rs`.

mod condition;
mod infer;
mod rows;
mod schema;

use arrow::array::RecordBatch;

pub use condition::BoundCondition;
pub use schema::bind_schema;

use crate::error::{Error, Result};
use crate::filter::{self, BoundFilter};
use crate::rows::{Given, raw};
use crate::types::condition::Condition;
use crate::types::document::{Document, RawValue, WriteBatch};
use crate::types::{DocId, IdKind, NamespaceSchema, RowSet};

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
    /// The patches by id.
    pub patches: BoundPatches,
    /// The ids to delete, in order.
    pub deletes: Vec<DocId>,
    /// The filter of documents to delete.
    pub delete_filter: Option<BoundFilter>,
    /// The filter of documents to patch, and the one patch.
    pub patch_filter: Option<(BoundFilter, BoundPatches)>,
    /// The condition upserts are under.
    pub upsert_condition: Option<BoundCondition>,
    /// The condition patches by id are under.
    pub patch_condition: Option<BoundCondition>,
    /// The condition deletes by id are under.
    pub delete_condition: Option<BoundCondition>,
    /// Logical bytes of `rows`.
    pub bytes: u64,
}

/// Patches with their types.
#[derive(Debug, Clone)]
pub struct BoundPatches {
    /// The ids, in order; one that means nothing where a filter says what is patched.
    pub ids: Vec<DocId>,
    /// One row per patch, in the layout of the schema but for the type of ids; null also where a patch says
    /// nothing.
    pub rows: RecordBatch,
    /// What the patches say something about.
    pub given: Vec<Given>,
}

/// Binds a write to the schema of its namespace. Nothing of it may be applied if it fails.
///
/// Errors: `InvalidRequest` for everything the schema or a limit forbids; messages name the attribute,
/// what was expected and found, and the row by index and id.
pub fn bind(current: &NamespaceSchema, write: &WriteBatch) -> Result<BoundWrite> {
    check_parts(write)?;
    let mut grown = schema::declare(current, write.schema.as_ref())?;
    let ids = bind_ids(&mut grown, write)?;
    infer::infer(&mut grown, UPSERT, &write.upserts)?;
    let by_filter: Option<Document> = write.patch_by_filter.as_ref().map(|patch| Document {
        id: RawValue::Null,
        attributes: patch.attributes.clone(),
    });
    for (what, patches) in [
        (PATCH, write.patches.as_slice()),
        (PATCH_BY_FILTER, by_filter.as_slice()),
    ] {
        infer::infer(&mut grown, what, patches)?;
        refuse_vectors(&grown, what, patches)?;
    }
    schema::settle(
        current,
        &mut grown,
        write.schema.as_ref(),
        write.distance_metric,
    )?;
    let condition = |condition: &Option<Condition>, first: Option<&Document>| {
        let condition = condition.as_ref();
        condition
            .map(|condition| condition::bind(condition, &grown, first))
            .transpose()
    };
    let delete_filter = write.delete_by_filter.as_ref();
    let delete_filter = delete_filter.map(|delete| filter::bind(&delete.filter, &grown));
    let patch_filter = match (&write.patch_by_filter, &by_filter) {
        (Some(patch), Some(document)) => {
            let filter = filter::bind(&patch.filter, &grown)?;
            let documents = std::slice::from_ref(document);
            let nobody = vec![DocId::Uint(0)];
            let patch = bind_patches(&grown, PATCH_BY_FILTER, documents, nobody)?;
            Some((filter, patch))
        }
        _ => None,
    };
    let (upserts, rows) = rows::build(&grown, &write.upserts, ids.upserts)?;
    Ok(BoundWrite {
        schema_changed: grown != *current,
        ids: upserts,
        bytes: crate::rows::logical_bytes(&rows),
        rows,
        patches: bind_patches(&grown, PATCH, &write.patches, ids.patches)?,
        deletes: ids.deletes,
        delete_filter: delete_filter.transpose()?,
        patch_filter,
        upsert_condition: condition(&write.upsert_condition, write.upserts.first())?,
        patch_condition: condition(&write.patch_condition, write.patches.first())?,
        delete_condition: condition(&write.delete_condition, None)?,
        schema: grown,
    })
}

/// How messages call the documents of a request.
const UPSERT: &str = "upsert row";
const PATCH: &str = "patch row";
const PATCH_BY_FILTER: &str = "`patch_by_filter` patch";

/// What is missing or too much, whatever the schema.
fn check_parts(write: &WriteBatch) -> Result<()> {
    let any = write.is_upserting() || write.is_patching() || write.is_deleting();
    if !any && write.schema.is_none() {
        return Err(Error::invalid(
            "a write needs at least one of upserts, patches, deletes and schema",
        ));
    }
    let patches = write.has_patches || !write.patches.is_empty();
    let deletes = write.has_deletes || !write.deletes.is_empty();
    for (condition, present, name, needed) in [
        (
            &write.upsert_condition,
            write.is_upserting(),
            "upsert_condition",
            "upserts",
        ),
        (
            &write.patch_condition,
            patches,
            "patch_condition",
            "patches",
        ),
        (
            &write.delete_condition,
            deletes,
            "delete_condition",
            "deletes",
        ),
    ] {
        if condition.is_some() && !present {
            return Err(Error::invalid(format!("`{name}` needs {needed}")));
        }
    }
    let declares_id = write
        .schema
        .as_ref()
        .is_some_and(|spec| spec.id_kind.is_some());
    if write.create_namespace == Some(true) && !declares_id {
        return Err(Error::invalid(
            "`create_namespace`: expected the type of `id` in `schema`, found none",
        ));
    }
    Ok(())
}

/// Vectors are replaced by whole documents only.
fn refuse_vectors(schema: &NamespaceSchema, what: &str, patches: &[Document]) -> Result<()> {
    let vectors: Vec<&str> = schema.vectors().iter().map(|(name, _)| *name).collect();
    if vectors.is_empty() {
        return Ok(());
    }
    for (row, patch) in patches.iter().enumerate() {
        let mut names = patch.attributes.iter().map(|(name, _)| name.as_ref());
        if let Some(name) = names.find(|name| vectors.contains(name)) {
            let text = format!("attribute `{name}`: a vector cannot be patched");
            return Err(infer::at(what, row, patch, &Error::invalid(text)));
        }
    }
    Ok(())
}

fn bind_patches(
    schema: &NamespaceSchema,
    what: &'static str,
    patches: &[Document],
    ids: Vec<DocId>,
) -> Result<BoundPatches> {
    // Ids of patches decide nothing: their own kind is good enough for their rows.
    let own = NamespaceSchema {
        id_kind: Some(ids.first().map_or(IdKind::Uint, DocId::kind)),
        ..schema.clone()
    };
    let (ids, rows, given) = rows::build_patches(&own, what, patches, ids)?;
    Ok(BoundPatches { ids, rows, given })
}

/// All ids of a request.
struct Ids {
    upserts: Vec<DocId>,
    patches: Vec<DocId>,
    deletes: Vec<DocId>,
}

/// Binds all ids; the first upsert of a namespace decides their kind if nothing declared it.
fn bind_ids(schema: &mut NamespaceSchema, write: &WriteBatch) -> Result<Ids> {
    let mut kind = schema.id_kind;
    let mut seen = RowSet::default();
    seen.reserve(write.upserts.len() + write.patches.len() + write.deletes.len());
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
        .map(|(at, document)| bind(UPSERT, at, &document.id))
        .collect::<Result<Vec<_>>>()?;
    let patches = write
        .patches
        .iter()
        .enumerate()
        .map(|(at, document)| bind(PATCH, at, &document.id))
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
    Ok(Ids {
        upserts,
        patches,
        deletes,
    })
}

#[cfg(test)]
mod tests;
