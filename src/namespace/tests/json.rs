//! Writes and queries of tests, told as JSON.

use serde_json::Value as Json;

use super::*;
use crate::filter::raw;
use crate::types::AttributeType;
use crate::types::document::{AttributeSpec, SchemaSpec};

/// Documents, each an object with an `id`.
pub(super) fn documents(rows: &Json) -> Vec<Document> {
    let rows = rows.as_array().expect("a list").iter().map(|row| {
        let row = row.as_object().expect("an object");
        let attributes = row.iter().filter(|(name, _)| *name != "id");
        Document {
            id: raw(&row["id"]),
            attributes: attributes
                .map(|(name, value)| (Arc::from(name.as_str()), raw(value)))
                .collect(),
        }
    });
    rows.collect()
}

/// An upsert of documents under a metric.
pub(super) fn upsert_json(rows: &Json, metric: Option<DistanceMetric>) -> WriteBatch {
    WriteBatch {
        upserts: documents(rows),
        has_upserts: true,
        distance_metric: metric,
        ..WriteBatch::default()
    }
}

/// What a schema says of one attribute that has no options.
pub(super) fn plain(kind: &str) -> AttributeSpec {
    AttributeSpec::plain(AttributeType::parse(kind).expect("a legal type"))
}

/// A schema of attributes without options.
pub(super) fn schema(attributes: &[(&str, &str)]) -> SchemaSpec {
    let attributes = attributes
        .iter()
        .map(|(name, kind)| ((*name).to_owned(), plain(kind)));
    SchemaSpec {
        attributes: attributes.collect(),
        ..SchemaSpec::default()
    }
}

/// The rows of a reply: id, distance, attributes.
pub(super) async fn ask(engine: &Engine, query: Query) -> Vec<crate::query::reply::Row> {
    engine.query(&name(), query).await.expect("a reply").rows
}

/// A filter that every document matches.
pub(super) fn everything() -> Filter {
    Filter::And(Vec::new())
}
