//! Elacsym's own operations on a namespace: each handler calls the engine once.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::AppState;
use super::error::Problem;
use super::extract::{Namespace, Started};
use crate::error::Error;
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

/// What `compact` is told by its address.
pub(super) type Parameters = Result<Query<Vec<(String, String)>>, QueryRejection>;

/// `POST /v1/namespaces/{ns}/compact`: merges segments and waits for it.
pub(super) async fn compact(
    State(state): State<AppState>,
    started: Started,
    Namespace(name): Namespace,
    parameters: Parameters,
) -> Result<Response, Problem> {
    let if_needed = if_needed(parameters)?;
    let compacted = state.engine.compact(&name, if_needed).await?;
    let reply = json!({
        "status": "OK",
        "triggered": compacted.reason.is_some(),
        "reason": compacted.reason,
        "removed_count": compacted.removed_rows,
        "segments_before": compacted.segments_before,
        "segments_after": compacted.segments_after,
        "duration_ms": started.elapsed_ms(&state),
    });
    Ok(Json(reply).into_response())
}

fn if_needed(parameters: Parameters) -> Result<bool, Problem> {
    let Query(parameters) =
        parameters.map_err(|error| Error::invalid("invalid query string").with_source(error))?;
    let mut if_needed = false;
    for (name, value) in &parameters {
        if_needed = match (name.as_str(), value.as_str()) {
            ("if_needed", "true") => true,
            ("if_needed", "false") => false,
            ("if_needed", found) => {
                return Err(Error::invalid(format!(
                    "parameter `if_needed`: expected true or false, found `{found}`"
                ))
                .into());
            }
            (found, _) => {
                return Err(Error::invalid(format!(
                    "parameters: expected `if_needed`, found `{found}`"
                ))
                .into());
            }
        };
    }
    Ok(if_needed)
}
