//! The routes that are served, and what they take and give.

use serde_json::{Map, Value, json};

use super::reference;
use crate::http::{
    COMPACT, COMPACTION, EXPLAIN, FLUSH, HEALTH, LIVEZ, METADATA_V1, METADATA_V2, METRICS,
    NAMESPACE, NAMESPACES, OPENAPI, QUERY, READY, READYZ, RECALL, SCHEMA, STATS, UNDELETE, WARM,
};

/// One method of one path.
struct Operation {
    method: &'static str,
    path: &'static str,
    id: &'static str,
    about: &'static str,
    /// Components a body may be of; none takes no body.
    body: &'static [&'static str],
    status: &'static str,
    /// The component of the answer; `None` is other than JSON, or free.
    reply: Option<&'static str>,
}

const fn get(
    path: &'static str,
    id: &'static str,
    about: &'static str,
    reply: &'static str,
) -> Operation {
    Operation {
        method: "get",
        path,
        id,
        about,
        body: &[],
        status: "200",
        reply: Some(reply),
    }
}

const fn post(
    path: &'static str,
    id: &'static str,
    about: &'static str,
    body: &'static [&'static str],
    reply: &'static str,
) -> Operation {
    Operation {
        method: "post",
        body,
        ..get(path, id, about, reply)
    }
}

const OPERATIONS: [Operation; 24] = [
    get(
        NAMESPACES,
        "list",
        "Lists namespaces, sorted by name.",
        "Namespaces",
    ),
    post(
        NAMESPACE,
        "write",
        "Writes: all of it, or nothing. 200 means durable.",
        &["Write"],
        "WriteReply",
    ),
    Operation {
        method: "delete",
        ..get(NAMESPACE, "delete", "Drops the namespace.", "Status")
    },
    post(
        QUERY,
        "query",
        "Answers a query, or several.",
        &["Query", "MultiQuery"],
        "QueryReply",
    ),
    post(
        EXPLAIN,
        "explain",
        "Tells how a query would be answered.",
        &["Query", "MultiQuery"],
        "Plan",
    ),
    post(
        RECALL,
        "recall",
        "Measures the recall of searches.",
        &["RecallQuery"],
        "RecallReply",
    ),
    get(SCHEMA, "schema", "The schema.", "SchemaReply"),
    post(
        SCHEMA,
        "updateSchema",
        "Changes the schema.",
        &["Schema"],
        "SchemaReply",
    ),
    get(METADATA_V2, "metadata", "The metadata.", "Metadata"),
    get(
        METADATA_V1,
        "metadataV1",
        "The metadata, for older clients.",
        "Metadata",
    ),
    Operation {
        method: "patch",
        body: &["MetadataUpdate"],
        ..get(
            METADATA_V1,
            "updateMetadata",
            "Changes settings.",
            "Metadata",
        )
    },
    Operation {
        status: "202",
        ..get(
            WARM,
            "warm",
            "Opens the namespace, so that its rows are in memory.",
            "Status",
        )
    },
    post(
        FLUSH,
        "flush",
        "Moves rows from the log into a segment. Ours.",
        &[],
        "Flushed",
    ),
    post(
        COMPACT,
        "compact",
        "Merges segments, and lets rows go that are deleted. Ours.",
        &[],
        "Compacted",
    ),
    post(
        UNDELETE,
        "undelete",
        "Brings back what was deleted last under the name. Ours.",
        &[],
        "Status",
    ),
    get(
        COMPACTION,
        "compaction",
        "When segments are merged. Ours.",
        "CompactionConfig",
    ),
    Operation {
        method: "put",
        body: &["CompactionUpdate"],
        ..get(
            COMPACTION,
            "updateCompaction",
            "Changes when segments are merged. Ours.",
            "CompactionConfig",
        )
    },
    get(
        STATS,
        "stats",
        "What the namespace is made of. Ours.",
        "Stats",
    ),
    get(LIVEZ, "live", "Whether the process answers.", "Status"),
    get(READY, "ready", "Whether requests can be served.", "Status"),
    get(READYZ, "readyz", "The same.", "Status"),
    Operation {
        reply: None,
        ..get(
            HEALTH,
            "health",
            "Diagnostics; 503 where the store fails.",
            "Status",
        )
    },
    Operation {
        reply: None,
        ..get(
            METRICS,
            "metrics",
            "Metrics in Prometheus' text format.",
            "Status",
        )
    },
    Operation {
        reply: None,
        ..get(OPENAPI, "openapi", "This description.", "Status")
    },
];

/// All paths with their operations.
pub(super) fn paths() -> Map<String, Value> {
    let mut paths = Map::new();
    for operation in &OPERATIONS {
        let path = paths.entry(operation.path).or_insert_with(|| json!({}));
        path[operation.method] = described(operation);
    }
    paths
}

fn described(operation: &Operation) -> Value {
    let json_of = |schema: Value| json!({"application/json": {"schema": schema}});
    let mut success = json!({"description": operation.about});
    if let Some(reply) = operation.reply {
        success["content"] = json_of(reference(reply));
    }
    let error =
        json!({"description": "See docs/errors.md.", "content": json_of(reference("Error"))});
    let mut described = json!({
        "operationId": operation.id,
        "summary": operation.about,
        "responses": {operation.status: success, "default": error},
    });
    let mut parameters = Vec::new();
    if operation.path.contains("{ns}") {
        parameters.push(json!({
            "name": "ns", "in": "path", "required": true,
            "schema": {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,128}$"},
        }));
    }
    if operation.path == NAMESPACES {
        for (name, schema) in [
            ("prefix", json!({"type": "string"})),
            ("cursor", json!({"type": "string"})),
            (
                "page_size",
                json!({"type": "integer", "minimum": 1, "maximum": 1_000}),
            ),
        ] {
            parameters
                .push(json!({"name": name, "in": "query", "required": false, "schema": schema}));
        }
    }
    for (id, flag) in [("compact", "if_needed"), ("delete", "purge")] {
        if operation.id == id {
            parameters.push(json!({
                "name": flag, "in": "query", "required": false, "schema": {"type": "boolean"},
            }));
        }
    }
    if operation.id == "write" {
        parameters.push(json!({
            "name": "Idempotency-Key", "in": "header", "required": false,
            "schema": {"type": "string", "minLength": 1, "maxLength": 255},
        }));
    }
    if !parameters.is_empty() {
        described["parameters"] = json!(parameters);
    }
    let bodies: Vec<Value> = operation.body.iter().map(|name| reference(name)).collect();
    match bodies.as_slice() {
        [] => {}
        [one] => {
            described["requestBody"] = json!({"required": true, "content": json_of(one.clone())})
        }
        many => {
            let content = json_of(json!({"anyOf": many}));
            described["requestBody"] = json!({"required": true, "content": content});
        }
    }
    described
}
