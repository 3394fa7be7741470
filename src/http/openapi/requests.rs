//! Components that requests are made of.

use serde_json::{Map, Value, json};

use super::{object, reference};
use crate::http::dto::{by_filter, compaction, multi, query, recall, schema, settings, write};
use crate::types::DistanceMetric;

pub(super) fn components() -> Map<String, Value> {
    let mut components = Map::new();
    let mut add = |name: &str, schema| components.insert(name.to_owned(), schema);
    add(
        "Write",
        object(&write::FIELDS, "All of it applies, or none."),
    );
    add(
        "Query",
        object(&query::FIELDS, "Rows in some order, or numbers over rows."),
    );
    add(
        "MultiQuery",
        object(&multi::FIELDS, "Several queries of one state."),
    );
    add(
        "RecallQuery",
        object(&recall::FIELDS, "A measurement of recall."),
    );
    add("MetadataUpdate", object(&settings::FIELDS, "What changes."));
    add(
        "CompactionUpdate",
        object(
            &compaction::FIELDS,
            "What changes; null is left to the servers.",
        ),
    );
    add(
        "PatchByFilter",
        object(
            &by_filter::FIELDS,
            "Patches all documents that a filter matches.",
        ),
    );
    let options = object(&schema::OPTIONS, "A type and its options.");
    let attribute = json!({"anyOf": [{"type": "string"}, options]});
    add("AttributeSchema", attribute);
    add(
        "Schema",
        json!({
            "type": "object",
            "description": "Attributes by name; `id` declares the kind of ids: uint, uuid or string.",
            "additionalProperties": reference("AttributeSchema"),
        }),
    );
    add(
        "Id",
        json!({
            "anyOf": [{"type": "integer", "minimum": 0}, {"type": "string"}],
            "description": "An unsigned 64-bit integer, a UUID, or text of at most 64 bytes.",
        }),
    );
    add(
        "Document",
        json!({
            "type": "object",
            "required": ["id"],
            "properties": {"id": reference("Id")},
            "additionalProperties": true,
            "description": "An id and attributes. Vectors are lists of numbers or base64 of little-endian float32.",
        }),
    );
    add(
        "Columns",
        json!({
            "type": "object",
            "required": ["id"],
            "properties": {"id": {"type": "array", "items": reference("Id")}},
            "additionalProperties": {"type": "array"},
            "description": "Equally long lists, one an attribute.",
        }),
    );
    add(
        "Filter",
        json!({
            "type": "array",
            "description": "[attribute, operator, value], [\"And\", [...]], [\"Or\", [...]] or [\"Not\", filter].",
        }),
    );
    add(
        "RankBy",
        json!({
            "type": "array",
            "description": "[attribute, \"ANN\" or \"kNN\", vector], [attribute, \"SparseKNN\", weights], [attribute, \"asc\" or \"desc\"], a list of orders, or a score.",
        }),
    );
    add(
        "Limit",
        json!({
            "anyOf": [
                {"type": "integer", "minimum": 1, "maximum": 10_000},
                {
                    "type": "object",
                    "required": ["total"],
                    "properties": {
                        "total": {"type": "integer", "minimum": 1, "maximum": 10_000},
                        "per": {
                            "anyOf": [{
                                "type": "object",
                                "required": ["attributes", "limit"],
                                "properties": {
                                    "attributes": {"type": "array", "items": {"type": "string"}},
                                    "limit": {"type": "integer", "minimum": 1, "maximum": 10_000},
                                },
                                "additionalProperties": false,
                            }, {"type": "null"}],
                        },
                    },
                    "additionalProperties": false,
                },
            ],
        }),
    );
    add(
        "Consistency",
        json!({
            "type": "object",
            "properties": {
                "level": {"enum": ["strong", "eventual", "session", null]},
                "max_staleness_seconds": {"anyOf": [{"type": "integer", "minimum": 0}, {"type": "null"}]},
                "min_seq": {"anyOf": [{"type": "integer", "minimum": 0}, {"type": "null"}]},
            },
            "additionalProperties": false,
        }),
    );
    add(
        "AsOf",
        json!({
            "type": "object",
            "required": ["seq"],
            "properties": {"seq": {"type": "integer", "minimum": 0}},
            "additionalProperties": false,
        }),
    );
    let metrics = DistanceMetric::ALL.map(DistanceMetric::name);
    add("DistanceMetric", json!({"type": "string", "enum": metrics}));
    components
}
