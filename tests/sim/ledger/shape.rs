//! What requests to the ledger look like to an engine, and what its answers mean.

use std::sync::Arc;

use elacsym::error::Result;
use elacsym::types::condition::{Condition, Template};
use elacsym::types::document::{
    DeleteByFilter, Document as Row, PatchByFilter, RawValue, WriteBatch, WriteOutcome,
};
use elacsym::types::filter::Filter;
use elacsym::types::{DocId, Value};

use super::model::{self, Content, Done, Operand, Request, Test};

/// A condition with a place for the new document's value.
#[derive(Debug)]
struct Referring {
    test: Test,
    names: Vec<String>,
}

impl Template for Referring {
    fn references(&self) -> &[String] {
        &self.names
    }

    fn filter(&self, new: &dyn Fn(&str) -> RawValue) -> Result<Filter> {
        Ok(filter_of(&self.test, new))
    }
}

fn filter_of(test: &Test, new: &dyn Fn(&str) -> RawValue) -> Filter {
    Filter::Compare {
        attribute: test.attribute.to_owned(),
        op: test.op,
        value: match test.operand {
            Operand::Is(value) => RawValue::Int(value),
            Operand::New(name) => new(name),
        },
    }
}

fn condition_of(test: &Test) -> Condition {
    match test.operand {
        Operand::Is(_) => filter_of(test, &|_| RawValue::Null).into(),
        Operand::New(name) => Condition::Referring(Arc::new(Referring {
            test: *test,
            names: vec![name.to_owned()],
        })),
    }
}

fn attributes_of<'a>(
    values: impl Iterator<Item = (&'a &'static str, Option<i64>)>,
) -> Vec<(Arc<str>, RawValue)> {
    let raw = |value: Option<i64>| value.map_or(RawValue::Null, RawValue::Int);
    values
        .map(|(name, value)| (Arc::from(*name), raw(value)))
        .collect()
}

pub(super) fn batch_of(request: &Request) -> WriteBatch {
    let row = |id: u64, attributes| Row {
        id: RawValue::Int(id as i64),
        attributes,
    };
    let upserts = request.upserts.iter().map(|(id, document)| {
        row(
            *id,
            attributes_of(document.iter().map(|(name, value)| (name, Some(*value)))),
        )
    });
    let patches = request.patches.iter().map(|(id, patch)| {
        row(
            *id,
            attributes_of(patch.iter().map(|(name, value)| (name, *value))),
        )
    });
    let plain = |test: &Test| filter_of(test, &|_| RawValue::Null);
    WriteBatch {
        upserts: upserts.collect(),
        has_upserts: !request.upserts.is_empty(),
        upsert_condition: request.upsert_if.as_ref().map(condition_of),
        patches: patches.collect(),
        has_patches: !request.patches.is_empty(),
        patch_condition: request.patch_if.as_ref().map(condition_of),
        deletes: request
            .deletes
            .iter()
            .map(|id| RawValue::Int(*id as i64))
            .collect(),
        has_deletes: !request.deletes.is_empty(),
        delete_condition: request.delete_if.as_ref().map(condition_of),
        delete_by_filter: request
            .delete_where
            .as_ref()
            .map(|(test, partial)| DeleteByFilter {
                filter: plain(test),
                allow_partial: *partial,
            }),
        patch_by_filter: request
            .patch_where
            .as_ref()
            .map(|(test, patch, partial)| PatchByFilter {
                filter: plain(test),
                attributes: attributes_of(patch.iter().map(|(name, value)| (name, *value))),
                allow_partial: *partial,
            }),
        return_affected_ids: true,
        ..WriteBatch::default()
    }
}

pub(super) fn done_of(outcome: &WriteOutcome) -> Done {
    let numbers = |ids: &[DocId]| -> Vec<u64> {
        let number = |id: &DocId| match id {
            DocId::Uint(id) => *id,
            other => unreachable!("ids of the ledger are numbers, not {other}"),
        };
        ids.iter().map(number).collect()
    };
    let ids = [
        &outcome.upserted_ids,
        &outcome.patched_ids,
        &outcome.deleted_ids,
    ];
    let told = ids.iter().any(|ids| !ids.is_empty());
    Done {
        n_upserted: outcome.rows_upserted.unwrap_or(0),
        n_patched: outcome.rows_patched.unwrap_or(0),
        n_deleted: outcome.rows_deleted.unwrap_or(0),
        remaining: outcome.rows_remaining,
        ids: told.then(|| ids.map(|ids| numbers(ids))),
    }
}

/// Rows as a content; `None` where one is none of the ledger.
pub(super) fn content_of<'a>(
    rows: impl Iterator<Item = (&'a DocId, &'a [(Arc<str>, Value)])>,
) -> Option<Content> {
    let mut content = Content::new();
    for (id, attributes) in rows {
        let DocId::Uint(id) = id else {
            return None;
        };
        let mut document = model::Document::new();
        for (name, value) in attributes {
            let name = ["g", "m", "n"]
                .into_iter()
                .find(|known| *known == &**name)?;
            let Value::Int(value) = value else {
                return None;
            };
            document.insert(name, *value);
        }
        if content.insert(*id, document).is_some() {
            return None;
        }
    }
    Some(content)
}
