//! Elacsym's own operations on a namespace: each handler calls the engine once.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::AppState;
use super::body::Payload;
use super::dto::compaction::{compaction_view, parse_compaction, stats_view};
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

/// What an operation is told by its address.
pub(super) type Parameters = Result<Query<Vec<(String, String)>>, QueryRejection>;

/// `POST /v1/namespaces/{ns}/compact`: merges segments and waits for it.
pub(super) async fn compact(
    State(state): State<AppState>,
    started: Started,
    Namespace(name): Namespace,
    parameters: Parameters,
) -> Result<Response, Problem> {
    let if_needed = flag(parameters, "if_needed")?;
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

/// `POST /v1/namespaces/{ns}/undelete`: brings back what was dropped last under the name.
pub(super) async fn undelete(
    State(state): State<AppState>,
    Namespace(name): Namespace,
) -> Result<Response, Problem> {
    state.engine.undelete(&name).await?;
    Ok(Json(json!({"status": "OK"})).into_response())
}

/// `GET /v1/namespaces/{ns}/config/compaction`: when segments are merged.
pub(super) async fn compaction(
    State(state): State<AppState>,
    Namespace(name): Namespace,
) -> Result<Response, Problem> {
    let stats = state.engine.stats(&name).await?;
    Ok(Json(compaction_view(&stats.compaction)).into_response())
}

/// `PUT /v1/namespaces/{ns}/config/compaction`: answers with the whole of it.
pub(super) async fn update_compaction(
    State(state): State<AppState>,
    Namespace(name): Namespace,
    sent: Payload,
) -> Result<Response, Problem> {
    let (change, _paid) = sent.parse(&state, parse_compaction).await?;
    if !change.is_empty() {
        state.engine.configure(&name, change).await?;
    }
    compaction(State(state), Namespace(name)).await
}

/// `GET /v1/namespaces/{ns}/stats`: what the namespace is made of.
pub(super) async fn stats(
    State(state): State<AppState>,
    Namespace(name): Namespace,
) -> Result<Response, Problem> {
    let stats = state.engine.stats(&name).await?;
    Ok(Json(stats_view(&stats)).into_response())
}

/// The one parameter that an address may have, which is true or false; false where it has none.
pub(super) fn flag(parameters: Parameters, known: &str) -> Result<bool, Error> {
    let Query(parameters) =
        parameters.map_err(|error| Error::invalid("invalid query string").with_source(error))?;
    let mut is_set = false;
    for (name, value) in &parameters {
        is_set = match value.as_str() {
            _ if name != known => {
                return Err(Error::invalid(format!(
                    "parameters: expected `{known}`, found `{name}`"
                )));
            }
            "true" => true,
            "false" => false,
            found => {
                return Err(Error::invalid(format!(
                    "parameter `{known}`: expected true or false, found `{found}`"
                )));
            }
        };
    }
    Ok(is_set)
}
