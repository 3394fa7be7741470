//! What requests look like, and what answers mean.

use std::sync::Arc;

use elacsym::query::reply::{Reply, Row};
use elacsym::query::request::{Consistency, Include, Paging, Query, RankBy};
use elacsym::types::condition::Condition;
use elacsym::types::document::{Document, RawValue, WriteBatch};
use elacsym::types::filter::{CompareOp, Filter};
use elacsym::types::{DocId, NamespaceName, Value};

use crate::client::NAMESPACES;
use crate::history::{Change, Written};

pub(crate) fn name_of(namespace: usize) -> NamespaceName {
    NamespaceName::parse(NAMESPACES[namespace]).expect("a legal name")
}

/// The second attribute of a row, which follows from the first: a row of two halves shows.
fn echo(value: Written) -> i64 {
    value as i64 * 7 + 1
}

pub(crate) fn document_of(row: &Row) -> Option<(u64, Written)> {
    let DocId::Uint(document) = row.id else {
        return None;
    };
    match row.attributes.as_slice() {
        [(_, Value::Int(value)), (_, Value::Int(other))] if *other == echo(*value as u64) => {
            Some((document, *value as u64))
        }
        _ => None,
    }
}

pub(crate) fn query(filter: Option<Filter>, consistency: Consistency) -> Query {
    Query {
        rank_by: RankBy::Id,
        limit: 100,
        per: None,
        offset: 0,
        paging: Paging::Off,
        filter,
        include: Include::Everything,
        compute: Vec::new(),
        distance_metric: None,
        consistency,
        allow_degraded: false,
    }
}

pub(crate) fn batch_of(changes: &[(u64, Change)]) -> WriteBatch {
    let mut batch = WriteBatch::default();
    for (document, change) in changes {
        let id = RawValue::Int(*document as i64);
        let Some(value) = change.value() else {
            batch.deletes.push(id);
            batch.has_deletes = true;
            continue;
        };
        batch.has_upserts = true;
        batch.upserts.push(Document {
            id,
            attributes: vec![
                (Arc::from("v"), RawValue::Int(value as i64)),
                (Arc::from("w"), RawValue::Int(echo(value))),
            ],
        });
        let compare = |op, value: Written| Filter::Compare {
            attribute: "v".to_owned(),
            op,
            value: RawValue::Int(value as i64),
        };
        batch.upsert_condition = match change {
            Change::Put(_) | Change::Delete => None,
            // Never true of a document that is there.
            Change::Insert(_) => Some(Filter::Or(Vec::new())),
            Change::PutOver(_, limit) => Some(compare(CompareOp::Lt, *limit)),
            Change::PutFor(_, wanted) => Some(compare(CompareOp::Eq, *wanted)),
        }
        .map(Condition::Fixed);
    }
    batch
}

pub(crate) fn show_rows<E: std::fmt::Debug>(heard: &Result<Reply, E>) -> String {
    match heard {
        Ok(reply) => {
            let rows: Vec<_> = reply.rows.iter().map(document_of).collect();
            format!("{rows:?} as of {}", reply.coverage.as_of_seq)
        }
        Err(error) => format!("{error:?}"),
    }
}
