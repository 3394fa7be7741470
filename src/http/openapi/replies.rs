//! Components that answers are made of.

use serde_json::{Map, Value, json};

use super::reference;

/// An object of exactly these properties, of which `optional` may be absent.
fn exactly(properties: &Value, optional: &[&str]) -> Value {
    let names = properties.as_object().into_iter().flat_map(Map::keys);
    let needed: Vec<&String> = names
        .filter(|name| !optional.contains(&name.as_str()))
        .collect();
    json!({
        "type": "object",
        "required": needed,
        "properties": properties,
        "additionalProperties": false,
    })
}

fn list(name: &str) -> Value {
    json!({"type": "array", "items": reference(name)})
}

pub(super) fn components() -> Map<String, Value> {
    let count = json!({"type": "integer", "minimum": 0});
    let number = json!({"type": "number"});
    let text = json!({"type": "string"});
    let flag = json!({"type": "boolean"});
    let any_map = json!({"type": "object", "additionalProperties": true});
    let mut components = Map::new();
    let mut add = |name: &str, schema| components.insert(name.to_owned(), schema);

    add(
        "Error",
        exactly(
            &json!({
                "status": {"type": "string", "enum": ["error"]},
                "error": text,
                "type": text,
                "details": {"type": "object", "additionalProperties": {"type": "string"}},
                "request_id": text,
            }),
            &[],
        ),
    );
    add(
        "Status",
        exactly(&json!({"status": text, "message": text}), &["message"]),
    );

    let billed = exactly(
        &json!({
            "billable_logical_bytes_queried": count,
            "billable_logical_bytes_returned": count,
        }),
        &[],
    );
    add(
        "WriteReply",
        exactly(
            &json!({
                "status": text,
                "message": text,
                "rows_affected": count,
                "rows_upserted": count,
                "rows_patched": count,
                "rows_deleted": count,
                "rows_remaining": flag,
                "upserted_ids": list("Id"),
                "patched_ids": list("Id"),
                "deleted_ids": list("Id"),
                "seq": count,
                "billing": exactly(&json!({"billable_logical_bytes_written": count, "query": billed}), &["query"]),
                "performance": exactly(&json!({"server_total_ms": count}), &[]),
            }),
            &[
                "rows_upserted",
                "rows_patched",
                "rows_deleted",
                "rows_remaining",
                "upserted_ids",
                "patched_ids",
                "deleted_ids",
            ],
        ),
    );

    add(
        "Row",
        json!({
            "type": "object",
            "required": ["id"],
            "properties": {"id": reference("Id"), "$dist": number},
            "additionalProperties": true,
            "description": "An id, what ranks it, and attributes.",
        }),
    );
    add(
        "Performance",
        exactly(
            &json!({
                "cache_hit_ratio": number,
                "cache_temperature": {"type": "string", "enum": ["hot", "warm", "cold"]},
                "server_total_ms": count,
                "query_execution_ms": count,
                "exhaustive_search_count": count,
                "approx_namespace_size": count,
                "as_of_seq": count,
                "round_trips": count,
                "store_gets": count,
                "store_bytes": count,
                "unindexed_rows": count,
                "segments_searched": count,
                "segments_pruned": count,
            }),
            &[],
        ),
    );
    add(
        "Degraded",
        exactly(
            &json!({
                "segments": {"type": "array", "items": text},
                "rows_missing": count,
            }),
            &[],
        ),
    );
    let rows = list("Row");
    let groups = json!({"type": "array", "items": any_map});
    let found = json!({"rows": rows, "aggregations": any_map, "aggregation_groups": groups});
    add(
        "QueryResult",
        exactly(&found, &["rows", "aggregations", "aggregation_groups"]),
    );
    add(
        "QueryReply",
        exactly(
            &json!({
                "rows": rows,
                "aggregations": any_map,
                "aggregation_groups": groups,
                "results": list("QueryResult"),
                "next_cursor": {"anyOf": [text, {"type": "null"}]},
                "billing": billed,
                "performance": reference("Performance"),
                "degraded": reference("Degraded"),
            }),
            &[
                "rows",
                "aggregations",
                "aggregation_groups",
                "results",
                "next_cursor",
                "degraded",
            ],
        ),
    );
    add("Plan", exactly(&json!({"plan_text": text}), &[]));
    let truth = exactly(
        &json!({
            "query_vector": {"type": "array", "items": number},
            "nearest_neighbors": rows,
        }),
        &[],
    );
    add(
        "RecallReply",
        exactly(
            &json!({
                "avg_recall": number,
                "avg_exhaustive_count": number,
                "avg_ann_count": number,
                "ground_truth": {"type": "array", "items": truth},
            }),
            &["ground_truth"],
        ),
    );

    add(
        "SchemaReply",
        json!({
            "type": "object",
            "additionalProperties": {"type": "object", "required": ["type"], "additionalProperties": true},
            "description": "Attributes by name; options that do not apply are null.",
        }),
    );
    let index = exactly(
        &json!({
            "status": {"type": "string", "enum": ["up-to-date", "updating"]},
            "unindexed_bytes": count,
            "unindexed_rows": count,
        }),
        &["unindexed_bytes", "unindexed_rows"],
    );
    add(
        "Metadata",
        exactly(
            &json!({
                "schema": any_map,
                "approx_logical_bytes": count,
                "approx_row_count": count,
                "created_at": text,
                "updated_at": text,
                "last_write_at": text,
                "encryption": any_map,
                "index": index,
                "read_only": flag,
                "pinning": exactly(&json!({"replicas": count}), &[]),
            }),
            &["read_only", "pinning"],
        ),
    );
    let name = exactly(&json!({"id": text}), &[]);
    add(
        "Namespaces",
        exactly(
            &json!({
                "namespaces": {"type": "array", "items": name},
                "next_cursor": {"anyOf": [text, {"type": "null"}]},
            }),
            &["next_cursor"],
        ),
    );
    add(
        "Flushed",
        exactly(
            &json!({
                "status": text,
                "triggered": flag,
                "flushed_seq": count,
                "duration_ms": count,
            }),
            &[],
        ),
    );
    add(
        "Compacted",
        exactly(
            &json!({
                "status": text,
                "triggered": flag,
                "reason": {"anyOf": [text, {"type": "null"}]},
                "removed_count": count,
                "segments_before": count,
                "segments_after": count,
                "duration_ms": count,
            }),
            &["reason"],
        ),
    );
    add(
        "CompactionConfig",
        exactly(
            &json!({
                "enabled": flag,
                "max_segments": count,
                "min_deleted_records": count,
                "min_deleted_ratio": number,
            }),
            &[],
        ),
    );
    add(
        "Stats",
        exactly(
            &json!({
                "seq": count,
                "flushed_seq": count,
                "rows": count,
                "dimensions": {"type": "object", "additionalProperties": count},
                "segments": exactly(&json!({
                    "count": count,
                    "rows": count,
                    "deleted_rows": count,
                    "document_bytes": count,
                    "index_bytes": count,
                    "logical_bytes": count,
                    "by_level": {"type": "array", "items": exactly(&json!({
                        "level": count, "segments": count, "rows": count, "logical_bytes": count,
                    }), &[])},
                }), &[]),
                "tail": exactly(&json!({
                    "rows": count, "logical_bytes": count, "memory_bytes": count,
                }), &[]),
                "wal": exactly(&json!({"blocks": count, "bytes": count, "floor": count}), &[]),
                "claims": {"type": "array", "items": exactly(&json!({
                    "seq": count, "kind": text,
                }), &[])},
                "compaction": exactly(&json!({"enabled": flag, "debt_bytes": count}), &[]),
            }),
            &[],
        ),
    );
    components
}
