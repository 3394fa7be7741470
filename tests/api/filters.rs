//! Filters that are refused, and what is said; what the others find is told by the referee.

use axum::body::Body;
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::{app, request, send};

async fn post(app: &axum::Router, path: &str, body: &Value) -> Value {
    let sent = request("POST", path, Body::from(body.to_string()));
    let (status, _, answer) = send(app, sent).await;
    assert_eq!(status, StatusCode::OK, "{path} {body}: {answer}");
    answer
}

#[tokio::test]
async fn filter_that_cannot_be_answered_is_refused_with_status_and_words() {
    let app = app(&[]).await;
    let schema = json!({
        "s": {"type": "string", "regex": true, "filterable": true},
        "part": "string",
        "globbed": {"type": "string", "glob": true},
    });
    let row = json!({"id": 1, "s": "a", "i": 1, "ss": ["a"], "is": [1]});
    let write = json!({"upsert_rows": [row], "schema": schema});
    post(&app, "/v2/namespaces/g", &write).await;
    for (filter, status, expected) in [
        (json!(["nope", "Eq", 1]), 400, "attribute `nope` not found"),
        (json!(["s", "Equals", "a"]), 422, "the name of an operator"),
        (
            json!(["i", "Eq", "1"]),
            400,
            "type mismatch, Eq expects int, but got '1'",
        ),
        (json!(["id", "Gt", "1"]), 400, "Gt expects uint"),
        (json!(["id", "In", [1, "2"]]), 422, "values of one type"),
        (json!(["i", "In", [1, null]]), 422, "none of them null"),
        (json!(["is", "Lt", 1]), 400, "Lt does not work on arrays"),
        (
            json!(["s", "Contains", "a"]),
            400,
            "Contains works on an array attribute",
        ),
        (
            json!(["ss", "Contains", null]),
            400,
            "Contains expects string, but got null",
        ),
        (
            json!(["ss", "ContainsAny", "a"]),
            400,
            "filter error in key `ss`: type mismatch, ContainsAny expects []string, but got 'a'",
        ),
        (json!(["i", "Glob", "1"]), 400, "Glob works on text"),
        (
            json!(["part", "Regex", "a"]),
            400,
            "Regex needs `regex: true`",
        ),
        (json!(["s", "Regex", "["]), 400, "invalid pattern of Regex"),
        (json!(["globbed", "Eq", "a"]), 400, "not filterable"),
        (
            json!(["s", "Fuzzy", "a", {}]),
            400,
            "`Fuzzy` is not supported",
        ),
        (json!("i = 'x'"), 400, "type mismatch, Eq expects int"),
        (json!("i ="), 422, "at byte 3: expected a value"),
    ] {
        let query = json!({"filters": filter, "limit": 1}).to_string();
        let sent = request("POST", "/v2/namespaces/g/query", Body::from(query));
        let (found, _, answer) = send(&app, sent).await;
        assert_eq!(found.as_u16(), status, "{filter}: {answer}");
        let error = answer["error"].as_str().unwrap_or_default();
        assert!(error.contains(expected), "{filter}: {answer}");
    }
    let query = json!({"filters": "s = 'a' AND (i > 0 OR NOT ss CONTAINS 'a')", "limit": 1});
    let answer = post(&app, "/v2/namespaces/g/query", &query).await;
    assert_eq!(answer["rows"], json!([{"id": 1}]));
}
