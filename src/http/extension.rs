//! Elacsym's own operations on a namespace: each handler calls the engine once.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::AppState;
use super::error::Problem;
use super::extract::{Namespace, Started};
use crate::namespace::Flushed;

/// `POST /v1/namespaces/{ns}/flush`: moves the tail into segments and waits for it.
pub(super) async fn flush(
    State(state): State<AppState>,
    started: Started,
    Namespace(name): Namespace,
) -> Result<Response, Problem> {
    let (triggered, seq) = match state.engine.flush(&name).await? {
        Flushed::Done(seq) => (true, seq),
        Flushed::Nothing(seq) => (false, seq),
    };
    let reply = json!({
        "status": "OK",
        "triggered": triggered,
        "flushed_seq": seq.0,
        "duration_ms": started.elapsed_ms(&state),
    });
    Ok(Json(reply).into_response())
}
