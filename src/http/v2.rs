//! The compatible data plane: each handler parses, calls the engine once, encodes.

use axum::Json;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::AppState;
use super::body::Payload;
use super::dto::namespace::{MetadataVersion, list_view, metadata_view, parse_list, schema_view};
use super::dto::query::parse_query;
use super::dto::recall::{encode_recall, parse_recall};
use super::dto::reply::encode_query;
use super::dto::schema::parse_schema_body;
use super::dto::settings::parse_settings;
use super::dto::write::parse_write;
use super::dto::written::encode_write;
use super::error::Problem;
use super::extension::{Parameters, flag};
use super::extract::{Namespace, Started, idempotency_key, idempotency_text};
use crate::error::Error;
use crate::query::reply::Found;
use crate::runtime::Meter;

type Answer = Result<Response, Problem>;

/// `POST /v2/namespaces/{ns}`.
pub(super) async fn write(
    State(state): State<AppState>,
    started: Started,
    Namespace(name): Namespace,
    headers: HeaderMap,
    sent: Payload,
) -> Answer {
    let key = idempotency_text(&headers)?;
    let ((batch, key), _paid) = sent
        .parse(&state, move |bytes, meter| {
            let batch = parse_write(bytes, meter)?;
            Ok((batch, key.map(|text| idempotency_key(&text, bytes))))
        })
        .await?;
    let conditional = batch.asks_documents();
    let outcome = state.engine.write(&name, batch, key).await?;
    let elapsed_ms = started.elapsed_ms(&state);
    Ok(json_bytes(encode_write(&outcome, conditional, elapsed_ms)?))
}

/// `POST /v2/namespaces/{ns}/query`.
pub(super) async fn query(
    State(state): State<AppState>,
    started: Started,
    Namespace(name): Namespace,
    sent: Payload,
) -> Answer {
    let (body, _paid) = sent.parse(&state, parse_query).await?;
    let answers = state.engine.ask(&name, &body.asked).await?;
    let elapsed_ms = started.elapsed_ms(&state);
    Ok(json_bytes(encode_query(&answers, body.form, elapsed_ms)?))
}

/// `POST /v2/namespaces/{ns}/explain_query`: a query's body, and how it would be answered.
pub(super) async fn explain(
    State(state): State<AppState>,
    Namespace(name): Namespace,
    sent: Payload,
) -> Answer {
    let (mut body, _paid) = sent.parse(&state, parse_query).await?;
    body.asked.explain = true;
    let mut answers = state.engine.ask(&name, &body.asked).await?;
    let Some(Found::Plan(text)) = answers.found.pop() else {
        return Err(Error::internal("a plan was asked for and none was made").into());
    };
    Ok(Json(json!({"plan_text": text})).into_response())
}

/// `POST /v1/namespaces/{ns}/_debug/recall`.
pub(super) async fn recall(
    State(state): State<AppState>,
    Namespace(name): Namespace,
    sent: Payload,
) -> Answer {
    // Which vectors are searched for need not be told again: half of the bits are enough.
    let seed = state.entropy.next_u128() as u64;
    let parse = move |bytes: &[u8], meter: &Meter| parse_recall(bytes, seed, meter);
    let (asked, _paid) = sent.parse(&state, parse).await?;
    let answers = state.engine.ask(&name, &asked).await?;
    Ok(json_bytes(encode_recall(&answers)?))
}

/// `DELETE /v2/namespaces/{ns}`, with `?purge=true` for good.
pub(super) async fn delete(
    State(state): State<AppState>,
    Namespace(name): Namespace,
    parameters: Parameters,
) -> Answer {
    match flag(parameters, "purge")? {
        true => state.engine.purge(&name).await?,
        false => state.engine.delete(&name).await?,
    }
    Ok(Json(json!({"status": "OK"})).into_response())
}

/// `GET /v1/namespaces`.
pub(super) async fn list(
    State(state): State<AppState>,
    parameters: Result<Query<Vec<(String, String)>>, axum::extract::rejection::QueryRejection>,
) -> Answer {
    let Query(parameters) =
        parameters.map_err(|error| Error::invalid("invalid query string").with_source(error))?;
    let request = parse_list(&parameters)?;
    let after = request.after.as_ref();
    let page = state
        .engine
        .list(&request.prefix, after, request.page_size)
        .await?;
    Ok(Json(list_view(&page)).into_response())
}

/// `GET /v1/namespaces/{ns}/schema`.
pub(super) async fn schema(State(state): State<AppState>, Namespace(name): Namespace) -> Answer {
    let description = state.engine.describe(&name).await?;
    Ok(Json(schema_view(&description.schema)).into_response())
}

/// `POST /v1/namespaces/{ns}/schema`: the body is the bare map.
pub(super) async fn update_schema(
    State(state): State<AppState>,
    Namespace(name): Namespace,
    sent: Payload,
) -> Answer {
    let (spec, _paid) = sent.parse(&state, parse_schema_body).await?;
    let schema = state.engine.update_schema(&name, spec).await?;
    Ok(Json(schema_view(&schema)).into_response())
}

/// `GET /v1/namespaces/{ns}/metadata`.
pub(super) async fn metadata_v1(state: State<AppState>, name: Namespace) -> Answer {
    metadata(state, name, MetadataVersion::V1).await
}

/// `GET /v2/namespaces/{ns}/metadata`.
pub(super) async fn metadata_v2(state: State<AppState>, name: Namespace) -> Answer {
    metadata(state, name, MetadataVersion::V2).await
}

async fn metadata(
    State(state): State<AppState>,
    Namespace(name): Namespace,
    version: MetadataVersion,
) -> Answer {
    let description = state.engine.describe(&name).await?;
    Ok(Json(metadata_view(&description, version)).into_response())
}

/// `PATCH /v1/namespaces/{ns}/metadata`: answers with the whole of it.
pub(super) async fn update_metadata(
    State(state): State<AppState>,
    Namespace(name): Namespace,
    sent: Payload,
) -> Answer {
    let (change, _paid) = sent.parse(&state, parse_settings).await?;
    if !change.is_empty() {
        state.engine.configure(&name, change).await?;
    }
    let description = state.engine.describe(&name).await?;
    Ok(Json(metadata_view(&description, MetadataVersion::V2)).into_response())
}

/// `GET /v1/namespaces/{ns}/hint_cache_warm`: describing a namespace brings its state into memory.
pub(super) async fn warm(State(state): State<AppState>, Namespace(name): Namespace) -> Answer {
    state.engine.describe(&name).await?;
    let body = json!({"status": "ACCEPTED", "message": "the namespace is in memory"});
    Ok((StatusCode::ACCEPTED, Json(body)).into_response())
}

fn json_bytes(bytes: Vec<u8>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], bytes).into_response()
}
