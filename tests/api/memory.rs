//! Bodies at the size limit, made to take as much memory as they can.

use axum::http::StatusCode;
use serde_json::json;

use crate::{BODY_BYTES_MAX, app, request, send};

const WRITE: &str = "/v2/namespaces/ns";
const QUERY: &str = "/v2/namespaces/ns/query";
const SCHEMA: &str = "/v1/namespaces/ns/schema";

/// A body of the largest size: `part` as often as it fits between `head` and `foot`.
fn filled(head: &str, part: &str, foot: &str) -> String {
    let room = BODY_BYTES_MAX as usize - head.len() - foot.len();
    let n = (room + 1) / (part.len() + 1);
    let body = format!("{head}{}{foot}", vec![part; n].join(","));
    assert!(body.len() as u64 <= BODY_BYTES_MAX);
    body
}

#[tokio::test]
async fn hostile_body_at_the_size_limit_gets_a_clear_refusal_and_the_next_request_an_answer() {
    let app = app(&[]).await;
    let too_large = StatusCode::PAYLOAD_TOO_LARGE;
    let bad = StatusCode::BAD_REQUEST;
    let cases = [
        (
            QUERY,
            filled(r#"{"filters":["a","In",["#, r#"{"":1}"#, "]]}"),
            too_large,
        ),
        (
            WRITE,
            filled(r#"{"upsert_condition":["#, r#"{"a":[]}"#, "]}"),
            too_large,
        ),
        (
            WRITE,
            filled(r#"{"schema":{"a":["#, r#"{"":1}"#, "]}}"),
            too_large,
        ),
        (SCHEMA, filled(r#"{"a":["#, r#"{"":1}"#, "]}"), too_large),
        (WRITE, filled("", "[", ""), bad),
        // Within the memory, but more operands than a filter may have, and a value of no type.
        (QUERY, filled(r#"{"filters":["a","In",["#, "1", "]]}"), bad),
        (
            WRITE,
            filled(r#"{"upsert_rows":[{"id":1,"a":["#, "[[[[]]]]", "]}]}"),
            bad,
        ),
        // As many deletes as fit are no matter of memory: refused because there is nothing to delete from.
        (
            WRITE,
            filled(r#"{"deletes":["#, "12345", "]}"),
            StatusCode::NOT_FOUND,
        ),
    ];
    for (path, body, expected) in cases {
        let start = body[..40].to_owned();
        let (status, _, answer) = send(&app, request("POST", path, body)).await;
        assert_eq!(status, expected, "{path} {start}: {answer}");
        assert_eq!(answer["status"], "error", "{answer}");
        if status == too_large {
            assert_eq!(answer["type"], "too_large", "{answer}");
            let message = answer["error"].as_str().expect("a message");
            assert!(message.contains("expected at most"), "{message}");
        }
    }
    let body =
        json!({"upsert_rows": [{"id": 1, "vector": [1.0]}], "distance_metric": "cosine_distance"});
    let (status, _, answer) = send(&app, request("POST", WRITE, body.to_string())).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
}
