//! What probes and scrapers ask of the process.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::AppState;
use super::error::Problem;
use crate::error::Error;

/// 200 while the process answers at all.
pub(super) async fn live() -> Response {
    Json(json!({"status": "OK"})).into_response()
}

/// 200 once requests can be served, else 503.
pub(super) async fn ready(State(state): State<AppState>) -> Response {
    if state.engine.ready() {
        return Json(json!({"status": "OK"})).into_response();
    }
    Problem::from(Error::unavailable("the node is not ready to serve")).into_response()
}

/// Diagnostics; 503 where the store does not answer as it should, or takes no writes.
pub(super) async fn health(State(state): State<AppState>) -> Response {
    let health = state.engine.health().await;
    let (status, word) = match (health.store_ok, &health.store_write_error) {
        (true, None) => (StatusCode::OK, "OK"),
        _ => (StatusCode::SERVICE_UNAVAILABLE, "degraded"),
    };
    let body = json!({
        "status": word,
        "version": env!("CARGO_PKG_VERSION"),
        "ready": state.engine.ready(),
        "store": {
            "url": health.store_url,
            "ok": health.store_ok,
            "error": health.store_error,
            "writes_ok": health.store_write_error.is_none(),
            "write_error": health.store_write_error,
        },
        "namespaces_open": health.namespaces_open,
        "tail": {"rows": health.tail_rows, "bytes": health.tail_bytes},
        "anchor_failures": health.anchor_failures,
        "unknown_outcomes": health.unknown_outcomes,
        "divergence_alarms": health.divergence_alarms,
        "quarantined_objects": health.quarantined_objects,
    });
    (status, Json(body)).into_response()
}

/// All metrics in the Prometheus text format.
pub(super) async fn metrics(State(state): State<AppState>) -> Response {
    let kind = (
        header::CONTENT_TYPE,
        "text/plain; version=0.0.4; charset=utf-8",
    );
    ([kind], state.metrics.render()).into_response()
}
