//! The API's description: checked in as it is served, and requests and answers are as it says.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::{app, request, send};

/// Where the copy lies: Cargo runs tests in the root of the project.
const COPY: &str = "docs/openapi.json";

#[tokio::test]
#[expect(
    clippy::disallowed_methods,
    reason = "a switch of this test, no setting"
)]
async fn description_served_is_the_one_checked_in() {
    let text = elacsym::http::openapi_text();
    if std::env::var_os("ELACSYM_TEST_WRITE_GOLDEN").is_some() {
        std::fs::write(COPY, &text).expect("the copy is written");
    }
    let copy = std::fs::read_to_string(COPY).unwrap_or_default();
    assert!(
        copy == text,
        "docs/openapi.json is not what is served: write it by \
         `ELACSYM_TEST_WRITE_GOLDEN=1 cargo test --test api description_served`"
    );
    let app = app(&[super::DIGEST]).await;
    let (status, _, served) = send(&app, request("GET", "/openapi.json", "")).await;
    assert_eq!(status.as_u16(), 200);
    let copy: Value = serde_json::from_str(&copy).expect("JSON");
    assert_eq!(served, copy);
}

/// Finds the first place where a value is not as a schema says. Only what the description uses is understood.
fn check(root: &Value, schema: &Value, value: &Value, at: &str) -> Result<(), String> {
    let known = [
        "$ref",
        "anyOf",
        "type",
        "enum",
        "properties",
        "required",
        "additionalProperties",
        "items",
        "minimum",
        "maximum",
        "description",
    ];
    let schema = schema.as_object().ok_or(format!("{at}: no schema"))?;
    if let Some(word) = schema.keys().find(|word| !known.contains(&word.as_str())) {
        return Err(format!("{at}: the test does not know `{word}`"));
    }
    if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
        let target = root
            .pointer(&reference[1..])
            .ok_or(format!("{reference} is nothing"))?;
        return check(root, target, value, at);
    }
    if let Some(shapes) = schema.get("anyOf").and_then(Value::as_array) {
        let failures = shapes.iter().map(|shape| check(root, shape, value, at));
        let failures: Result<Vec<String>, ()> =
            failures.map(|found| found.err().ok_or(())).collect();
        return failures.map_or(Ok(()), |failures| Err(failures.join("; or ")));
    }
    let is_of = |kind: &str| match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "null" => value.is_null(),
        _ => false,
    };
    if let Some(kind) = schema.get("type").and_then(Value::as_str)
        && !is_of(kind)
    {
        return Err(format!("{at}: expected {kind}, found {value}"));
    }
    if let Some(words) = schema.get("enum").and_then(Value::as_array)
        && !words.contains(value)
    {
        return Err(format!("{at}: {value} is not one of {words:?}"));
    }
    let bound = |name: &str| schema.get(name).and_then(Value::as_f64);
    if let Some(number) = value.as_f64()
        && (bound("minimum").is_some_and(|least| number < least)
            || bound("maximum").is_some_and(|most| number > most))
    {
        return Err(format!("{at}: {number} is out of range"));
    }
    if let (Some(items), Some(values)) = (schema.get("items"), value.as_array()) {
        for (number, value) in values.iter().enumerate() {
            check(root, items, value, &format!("{at}/{number}"))?;
        }
    }
    let Some(fields) = value.as_object() else {
        return Ok(());
    };
    let none = Map::new();
    let properties = schema
        .get("properties")
        .and_then(Value::as_object)
        .unwrap_or(&none);
    for name in schema
        .get("required")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        let name = name.as_str().unwrap_or_default();
        if !fields.contains_key(name) {
            return Err(format!("{at}: `{name}` is missing"));
        }
    }
    for (name, value) in fields {
        let at = format!("{at}/{name}");
        match (properties.get(name), schema.get("additionalProperties")) {
            (Some(schema), _) => check(root, schema, value, &at)?,
            (None, Some(Value::Bool(false))) => return Err(format!("{at}: not described")),
            (None, Some(schema @ Value::Object(_))) => check(root, schema, value, &at)?,
            (None, _) => {}
        }
    }
    Ok(())
}

/// The operation that a request is of.
fn operation<'a>(root: &'a Value, method: &str, path: &str) -> Option<(&'a str, &'a Value)> {
    let path = path.split('?').next()?;
    let paths = root["paths"].as_object()?.iter();
    let fits = |template: &str| {
        let (template, path) = (template.split('/'), path.split('/'));
        let pairs: Vec<_> = template.clone().zip(path.clone()).collect();
        template.count() == path.count() && pairs.iter().all(|(a, b)| a == b || a.starts_with('{'))
    };
    let mut found = paths.filter(|(template, _)| fits(template));
    let (template, methods) = found.next()?;
    methods
        .get(method.to_lowercase())
        .map(|operation| (template.as_str(), operation))
}

#[tokio::test]
async fn requests_and_answers_of_all_cases_are_as_described() {
    let root: Value = serde_json::from_str(&elacsym::http::openapi_text()).expect("JSON");
    let cases: Vec<Value> = serde_json::from_str(include_str!("cases.json")).expect("cases");
    let app = app(&[]).await;
    let schema_at = |of: &Value| of["content"]["application/json"]["schema"].clone();
    let mut seen = BTreeSet::new();
    for case in cases {
        let text = |name: &str| case[name].as_str().unwrap_or_default().to_owned();
        let (method, path) = (text("method"), text("path"));
        let body = match &case["body"] {
            Value::Null => String::new(),
            Value::String(raw) => raw.clone(),
            body => body.to_string(),
        };
        let (status, _, answer) = send(&app, request(&method, &path, body)).await;
        if !status.is_success() {
            let error = json!({"$ref": "#/components/schemas/Error"});
            check(&root, &error, &answer, "").unwrap_or_else(|found| panic!("{case}: {found}"));
            continue;
        }
        let (template, operation) = operation(&root, &method, &path)
            .unwrap_or_else(|| panic!("{method} {path} is not described"));
        let success = &operation["responses"][status.as_str()];
        assert!(success.is_object(), "{case}: {status} is not described");
        let schema = schema_at(success);
        if schema.is_object() {
            let found = check(&root, &schema, &answer, "");
            found.unwrap_or_else(|found| panic!("{case}: {found} in {answer}"));
        }
        let schema = schema_at(&operation["requestBody"]);
        if schema.is_object() && case["body"].is_object() {
            let found = check(&root, &schema, &case["body"], "");
            found.unwrap_or_else(|found| panic!("{case}: {found}"));
        }
        seen.insert(format!("{method} {template}"));
    }
    // The cases are not all about the same.
    assert!(seen.len() >= 12, "{seen:?}");
}

#[test]
fn values_other_than_described_are_told() {
    let root = json!({});
    let schema = json!({
        "type": "object", "required": ["a"], "additionalProperties": false,
        "properties": {"a": {"type": "integer", "minimum": 1}, "b": {"anyOf": [{"type": "null"}, {"type": "array", "items": {"enum": ["x"]}}]}},
    });
    for (value, expected) in [
        (json!({"a": 1, "b": ["x"]}), None),
        (json!({"a": 1, "b": null}), None),
        (json!([]), Some("expected object")),
        (json!({}), Some("`a` is missing")),
        (json!({"a": 0}), Some("out of range")),
        (json!({"a": 1.5}), Some("expected integer")),
        (json!({"a": 1, "c": 1}), Some("/c: not described")),
        (json!({"a": 1, "b": ["y"]}), Some("/b/0")),
    ] {
        let found = check(&root, &schema, &value, "");
        match expected {
            None => assert_eq!(found, Ok(()), "{value}"),
            Some(part) => assert!(found.expect_err("refused").contains(part), "{value}"),
        }
    }
}
