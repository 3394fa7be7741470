//! The API's description, `/openapi.json`: made from the fields that the parsers know, the routes, and the shapes of
//! answers in `replies.rs`.
//!
//! Must not know: the engine. A test holds that a copy is checked in, and another that answers are as described.

mod paths;
mod replies;
mod requests;

use std::sync::OnceLock;

use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use super::dto::fields::{Field, Shape};

/// `GET /openapi.json`.
pub(super) async fn serve() -> Response {
    static TEXT: OnceLock<String> = OnceLock::new();
    let text = TEXT.get_or_init(|| document().to_string());
    ([(header::CONTENT_TYPE, "application/json")], text.as_str()).into_response()
}

/// The description.
pub(super) fn document() -> Value {
    let mut components = requests::components();
    components.extend(replies::components());
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Elacsym",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Search on object storage. The data plane is turbopuffer's public wire format; what is added to it is said where it is.",
        },
        "security": [{"key": []}],
        "paths": paths::paths(),
        "components": {
            "schemas": components,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
    })
}

/// An object of these fields and no others; null is as good as absent.
fn object(fields: &[Field], about: &str) -> Value {
    let mut properties = Map::new();
    let mut needed = Vec::new();
    for field in fields {
        let mut schema = shape(field.shape);
        if !field.required {
            schema = json!({"anyOf": [schema, {"type": "null"}]});
        } else {
            needed.push(field.name);
        }
        schema["description"] = json!(field.about);
        properties.insert(field.name.to_owned(), schema);
    }
    let mut schema = json!({
        "type": "object",
        "description": about,
        "properties": properties,
        "additionalProperties": false,
    });
    if !needed.is_empty() {
        schema["required"] = json!(needed);
    }
    schema
}

fn shape(of: Shape) -> Value {
    match of {
        Shape::Any => json!({}),
        Shape::Text => json!({"type": "string"}),
        Shape::Flag => json!({"type": "boolean"}),
        Shape::Count => json!({"type": "integer", "minimum": 0}),
        Shape::Words(words) => json!({"type": "string", "enum": words}),
        Shape::List(items) => json!({"type": "array", "items": shape(*items)}),
        Shape::Map(values) => json!({"type": "object", "additionalProperties": shape(*values)}),
        Shape::Either(shapes) => {
            let shapes: Vec<Value> = shapes.iter().map(|one| shape(*one)).collect();
            json!({"anyOf": shapes})
        }
        Shape::Named(name) => reference(name),
    }
}

fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::document;

    #[test]
    fn routes_described_are_those_served() {
        let document = document();
        let paths = document["paths"].as_object().expect("paths");
        let described: BTreeSet<&str> = paths.keys().map(String::as_str).collect();
        assert_eq!(described, crate::http::SERVED.into_iter().collect());
    }

    #[test]
    fn every_reference_names_a_component() {
        let document = document();
        let text = document.to_string();
        for part in text.split("\"#/components/schemas/").skip(1) {
            let name = part.split('"').next().unwrap_or_default();
            let component = &document["components"]["schemas"][name];
            assert!(component.is_object(), "{name}");
        }
    }
}
