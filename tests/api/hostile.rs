//! Requests made to take more than they give: each is answered within a bound, with a clear status, and
//! changes nothing. Bodies that take much memory are in `memory.rs`.

use std::time::Duration;

use axum::body::Body;
use axum::http::{StatusCode, header};
use serde_json::{Value, json};

use crate::{app, gzip, request, send};

mod cases;

const WRITE: &str = "/v2/namespaces/ns";
const QUERY: &str = "/v2/namespaces/ns/query";
const SCHEMA: &str = "/v1/namespaces/ns/schema";

/// Longest that one of these requests may take here: a hang, or work that grows with the square of a body,
/// takes longer.
const PATIENCE: Duration = Duration::from_secs(20);

async fn look(app: &axum::Router) -> [Value; 2] {
    let all = json!({"rank_by": ["id", "asc"], "limit": 10_000, "include_attributes": true});
    let (status, _, rows) = send(app, request("POST", QUERY, all.to_string())).await;
    assert_eq!(status, StatusCode::OK, "{rows}");
    let (status, _, schema) = send(app, request("GET", SCHEMA, "")).await;
    assert_eq!(status, StatusCode::OK, "{schema}");
    [rows["rows"].clone(), schema]
}

#[tokio::test]
async fn hostile_request_gets_a_clear_answer_in_time_and_changes_nothing() {
    let app = app(&[]).await;
    let schema = json!({
        "t": "string", "r": {"type": "string", "regex": true}, "n": "int", "u": "uint", "f": "float",
        "d": "datetime", "v": {"type": "[2]f32", "ann": true},
    });
    // Text that patterns with much to try are tried on.
    let text = "a".repeat(4_096);
    let rows: Vec<Value> = (1..=50)
        .map(|id| json!({"id": id, "v": [1, 1], "t": text, "r": text, "n": id, "f": 0.5}))
        .collect();
    let write =
        json!({"upsert_rows": rows, "schema": schema, "distance_metric": "cosine_distance"});
    let (status, _, answer) = send(&app, request("POST", WRITE, write.to_string())).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let before = look(&app).await;
    for (what, path, body, expected, says) in cases::all() {
        let asked = send(&app, request("POST", path, Body::from(body)));
        let asked = tokio::time::timeout(PATIENCE, asked).await;
        let (status, _, answer) = asked.unwrap_or_else(|_| panic!("{what}: no answer in time"));
        assert_eq!(status.as_u16(), expected, "{what}: {answer}");
        if expected != 200 {
            assert_eq!(answer["status"], "error", "{what}: {answer}");
            let error = answer["error"].as_str().expect(what);
            assert!(error.contains(says), "{what}: {answer}");
            assert!(error.len() < 1_000, "{what}: {answer}");
        }
        assert_eq!(look(&app).await, before, "{what}");
    }
}

/// What a number can become: never one that JSON cannot say.
#[tokio::test]
async fn score_of_extreme_numbers_is_a_number() {
    let app = app(&[]).await;
    let rows = [f64::MAX, f64::MIN_POSITIVE, 0.0, -f64::MAX];
    let rows: Vec<Value> = rows
        .iter()
        .zip(1..)
        .map(|(f, id)| json!({"id": id, "f": f}))
        .collect();
    let write = json!({"upsert_rows": rows, "schema": {"f": "float"}});
    let (status, _, answer) = send(&app, request("POST", WRITE, write.to_string())).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let value = json!(["Attribute", "f"]);
    let floored = json!(["Max", [0, value]]);
    let far = json!(["Dist", value, -1e308]);
    for rank in [
        json!(["Product", 1e308, floored]),
        json!(["Sum", vec![floored.clone(); 100]]),
        far.clone(),
        json!(["Saturate", value, {"midpoint": 5e-324, "exponent": 1e308}]),
        json!(["Saturate", value, {"midpoint": 1e308, "exponent": 5e-324}]),
        json!(["Decay", far, {"midpoint": 5e-324, "exponent": 1e308}]),
        json!(["Decay", floored, {"midpoint": 1e308, "exponent": 1e308}]),
        json!(["Product", 0, far]),
    ] {
        let query = json!({"rank_by": rank, "limit": 10});
        let (status, _, answer) = send(&app, request("POST", QUERY, query.to_string())).await;
        assert_eq!(status, StatusCode::OK, "{rank}: {answer}");
        let rows = answer["rows"].as_array().expect("rows");
        assert_eq!(rows.len(), 4, "{rank}: {answer}");
        let dists: Vec<f64> = rows
            .iter()
            .map(|row| {
                row["$dist"]
                    .as_f64()
                    .unwrap_or_else(|| panic!("{rank}: {answer}"))
            })
            .collect();
        assert!(
            dists.is_sorted_by(|one, next| one >= next),
            "{rank}: {answer}"
        );
    }
}

#[tokio::test]
async fn gzip_that_swells_is_cut_off_wherever_it_is_sent() {
    let app = app(&[]).await;
    let spaces = gzip(&vec![b' '; 32 << 20]);
    // Packed twice, it is a body that is no JSON: nobody unpacks the second time.
    let twice = gzip(&gzip(&vec![b' '; 64 << 20]));
    // Members one after the other count together.
    let members = spaces.repeat(4);
    for (body, expected) in [(spaces, 413), (twice, 400), (members, 413)] {
        for path in [WRITE, QUERY, SCHEMA] {
            let mut sent = request("POST", path, body.clone());
            let value = "gzip".parse().expect("a header");
            sent.headers_mut().insert(header::CONTENT_ENCODING, value);
            let (status, _, answer) = send(&app, sent).await;
            assert_eq!(status.as_u16(), expected, "{path}: {answer}");
        }
    }
}
