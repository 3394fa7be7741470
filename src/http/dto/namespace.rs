//! What is told about namespaces: schemas, metadata, listings.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};

use crate::error::{Error, Result};
use crate::namespace::describe::{Description, NamespacePage};
use crate::types::{
    AttributeSchema, AttributeType, DistanceMetric, NamespaceName, NamespaceSchema,
};

/// Names on a page where the request does not say.
const PAGE_NAMES: usize = 1_000;

/// Most names on a page.
const PAGE_NAMES_MAX: usize = 1_000;

/// First byte of a cursor, so that a later form is told apart.
const CURSOR_VERSION: u8 = 1;

/// The schema as its own endpoint shows it: options that do not apply are null.
pub(in crate::http) fn schema_view(schema: &NamespaceSchema) -> Value {
    let mut view = Map::new();
    if let Some(kind) = schema.id_kind {
        let id = json!({"type": kind.name(), "filterable": null, "full_text_search": null});
        view.insert("id".to_owned(), id);
    }
    for (name, attribute) in &schema.attributes {
        let mut config = json!({
            "type": attribute.kind.to_string(),
            "filterable": attribute.filterable,
            "full_text_search": null,
        });
        if attribute.kind.is_vector() {
            config["ann"] = json!(true);
            // The API shows the attribute of that name as if the option did not exist for it.
            if name == "vector" {
                config["filterable"] = Value::Null;
            }
        }
        show_options(attribute, &mut config);
        view.insert(name.clone(), config);
    }
    Value::Object(view)
}

/// Options that both views show only where they are on.
fn show_options(attribute: &AttributeSchema, config: &mut Value) {
    for (name, on) in [("regex", attribute.regex), ("glob", attribute.glob)] {
        if on {
            config[name] = json!(true);
        }
    }
    if attribute.kind == AttributeType::Sparse {
        config["sparse_knn"] = json!({"distance_metric": DistanceMetric::DotProduct.name()});
    }
}

/// The schema inside the metadata: what does not apply is left out, vectors name their metric.
fn metadata_schema(schema: &NamespaceSchema) -> Value {
    let mut view = Map::new();
    if let Some(kind) = schema.id_kind {
        view.insert("id".to_owned(), json!({"type": kind.name()}));
    }
    for (name, attribute) in &schema.attributes {
        let kind = attribute.kind.to_string();
        let mut config = match (attribute.kind.is_vector(), schema.metric) {
            (true, Some(metric)) => {
                json!({"type": kind, "ann": {"distance_metric": metric.name()}})
            }
            (true, None) => json!({"type": kind, "ann": true}),
            (false, _) => json!({"type": kind, "filterable": attribute.filterable}),
        };
        show_options(attribute, &mut config);
        view.insert(name.clone(), config);
    }
    Value::Object(view)
}

/// Which of the two metadata endpoints asks: they differ in one field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::http) enum MetadataVersion {
    /// `/v1`, older clients.
    V1,
    /// `/v2`.
    V2,
}

/// The metadata of a namespace.
pub(in crate::http) fn metadata_view(description: &Description, version: MetadataVersion) -> Value {
    let index = match (description.unindexed_rows, description.unindexed_bytes) {
        (0, 0) => json!({"status": "up-to-date"}),
        (rows, bytes) => {
            json!({"status": "updating", "unindexed_bytes": bytes, "unindexed_rows": rows})
        }
    };
    let encryption = match version {
        MetadataVersion::V1 => json!({"sse": true}),
        MetadataVersion::V2 => json!({"mode": "default"}),
    };
    let last_write_at = description.last_write_at.to_rfc3339();
    let mut view = json!({
        "schema": metadata_schema(&description.schema),
        "approx_logical_bytes": description.bytes,
        "approx_row_count": description.rows,
        "created_at": description.created_at.to_rfc3339(),
        "updated_at": last_write_at,
        "last_write_at": last_write_at,
        "encryption": encryption,
        "index": index,
    });
    // Both are shown only where they are set.
    if description.settings.read_only {
        view["read_only"] = json!(true);
    }
    if let Some(pinning) = description.settings.pinning {
        view["pinning"] = json!({"replicas": pinning.replicas});
    }
    view
}

/// A listing as asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::http) struct ListRequest {
    /// Literal prefix of the names.
    pub(in crate::http) prefix: String,
    /// The name after which the page starts.
    pub(in crate::http) after: Option<NamespaceName>,
    /// Most names on the page.
    pub(in crate::http) page_size: usize,
}

/// Reads the query string of a listing; other parameters are ignored, as clients add their own.
///
/// Errors: `InvalidRequest` for a page size outside 1 to 1,000 or a cursor that no listing gave.
pub(in crate::http) fn parse_list(parameters: &[(String, String)]) -> Result<ListRequest> {
    let find = |wanted: &str| {
        let found = parameters.iter().find(|(name, _)| name == wanted);
        found
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    };
    let page_size = match find("page_size") {
        None => PAGE_NAMES,
        Some(text) => text
            .parse()
            .ok()
            .filter(|size| (1..=PAGE_NAMES_MAX).contains(size))
            .ok_or_else(|| {
                Error::invalid(format!(
                    "invalid `page_size`: expected 1 to {PAGE_NAMES_MAX}, found `{}`",
                    super::json::clip(text)
                ))
            })?,
    };
    Ok(ListRequest {
        prefix: find("prefix").unwrap_or_default().to_owned(),
        after: find("cursor").map(parse_cursor).transpose()?,
        page_size,
    })
}

fn parse_cursor(text: &str) -> Result<NamespaceName> {
    let wrong = || Error::invalid("invalid `cursor`: expected the `next_cursor` of a listing");
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| wrong())?;
    let name = match bytes.split_first() {
        Some((&CURSOR_VERSION, name)) => std::str::from_utf8(name).map_err(|_| wrong())?,
        Some(_) | None => return Err(wrong()),
    };
    NamespaceName::parse(name).map_err(|_| wrong())
}

fn cursor(name: &NamespaceName) -> String {
    let mut bytes = vec![CURSOR_VERSION];
    bytes.extend_from_slice(name.as_str().as_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A page of the listing; the last one has no `next_cursor`.
pub(in crate::http) fn list_view(page: &NamespacePage) -> Value {
    let names: Vec<Value> = page
        .names
        .iter()
        .map(|name| json!({"id": name.as_str()}))
        .collect();
    let mut view = json!({"namespaces": names});
    if let Some(after) = &page.next_after {
        view["next_cursor"] = json!(cursor(after));
    }
    view
}
