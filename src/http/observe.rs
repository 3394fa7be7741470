//! Around every request: its id, its time limit, panics, the body of errors, one log line, metrics.

use std::panic::AssertUnwindSafe;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures::FutureExt;

use super::error::Problem;
use super::extract::{Caller, Started};
use super::{AppState, NAMESPACE, SCHEMA, SERVED, unserved};
use crate::error::Error;
use crate::runtime::clock::within_ms;
use crate::telemetry::Metrics;
use crate::types::{Entropy, limits};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Longest request id taken over from a caller, bytes.
const REQUEST_ID_BYTES_MAX: usize = 128;

/// The label of requests that met no route.
const NO_ROUTE: &str = "none";

/// Wraps a request. Cancel safe as the handler is; the count of requests in flight is given back.
pub(super) async fn observe(
    State(state): State<AppState>,
    mut request: Request,
    next: Next,
) -> Response {
    let started = Started(state.clock.monotonic_ms());
    let facts = Facts::new(&request, state.entropy.as_ref());
    request.extensions_mut().insert(started);
    request.extensions_mut().insert(facts.caller.clone());
    let _inflight = Inflight::new(&state.metrics);
    let limit_ms = state.settings.request_timeout_ms;
    let answer = AssertUnwindSafe(next.run(request)).catch_unwind();
    let response = match within_ms(limit_ms, answer).await {
        Some(Ok(response)) => response,
        Some(Err(panic)) => Problem::from(panicked(&*panic)).into_response(),
        None => Problem::from(facts.timed_out(limit_ms)).into_response(),
    };
    let response = facts.finish(response);
    facts.record(&state, &response, started.elapsed_ms(&state));
    response
}

/// What a request's log line and metrics say of it.
struct Facts {
    request_id: String,
    method: Method,
    route: &'static str,
    namespace: String,
    caller: Caller,
}

impl Facts {
    fn new(request: &Request, entropy: &dyn Entropy) -> Self {
        let route = route_label(request.extensions().get::<MatchedPath>());
        Self {
            request_id: request_id(request.headers(), entropy),
            method: request.method().clone(),
            route,
            namespace: namespace_of(route, request.uri().path()),
            caller: Caller::default(),
        }
    }

    /// Whether the request may have changed something when it is cut off.
    fn changes(&self) -> bool {
        let post_or_delete = self.method == Method::POST || self.method == Method::DELETE;
        post_or_delete && matches!(self.route, NAMESPACE | SCHEMA)
    }

    fn timed_out(&self, limit_ms: u64) -> Error {
        if self.changes() {
            return Error::outcome_unknown(format!(
                "the write was not confirmed within {limit_ms} ms: it may have happened"
            ));
        }
        Error::unavailable(format!("the request was not done within {limit_ms} ms"))
            .with_retry_after_ms(1_000)
    }

    /// Gives errors their body and every answer its id.
    fn finish(&self, mut response: Response) -> Response {
        if let Some(problem) = response.extensions_mut().remove::<Problem>() {
            self.log_problem(&problem);
            let headers = std::mem::take(response.headers_mut());
            response = problem.render(&self.request_id, headers);
        }
        if let Ok(id) = HeaderValue::from_str(&self.request_id) {
            response.headers_mut().insert(REQUEST_ID, id);
        }
        response
    }

    fn log_problem(&self, problem: &Problem) {
        let (status, request_id) = (problem.status().as_u16(), self.request_id.as_str());
        let (route, error) = (self.route, problem.error().chain());
        match status {
            500 => tracing::error!(request_id, route, status, error, "request failed"),
            501 => tracing::debug!(request_id, route, status, error, "request refused"),
            502.. => tracing::warn!(request_id, route, status, error, "request failed"),
            _ => tracing::debug!(request_id, route, status, error, "request refused"),
        }
    }

    fn record(&self, state: &AppState, response: &Response, elapsed_ms: u64) {
        let status = response.status().as_u16();
        let (request_id, method) = (self.request_id.as_str(), self.method.as_str());
        let (route, namespace) = (self.route, self.namespace.as_str());
        let key = self.caller.name();
        if elapsed_ms > state.settings.slow_request_ms {
            tracing::info!(
                request_id,
                method,
                route,
                status,
                elapsed_ms,
                namespace,
                key,
                "slow request"
            );
        } else {
            tracing::debug!(
                request_id, method, route, status, elapsed_ms, namespace, key, "request"
            );
        }
        let seconds = elapsed_ms as f64 / 1_000.0;
        state.metrics.http.observe(route, method, status, seconds);
    }
}

/// Counts a request while it runs, also one whose caller goes away.
struct Inflight<'a>(&'a Metrics);

impl<'a> Inflight<'a> {
    fn new(metrics: &'a Metrics) -> Self {
        metrics.http.inflight_requests.inc();
        Self(metrics)
    }
}

impl Drop for Inflight<'_> {
    fn drop(&mut self) {
        self.0.http.inflight_requests.dec();
    }
}

fn route_label(matched: Option<&MatchedPath>) -> &'static str {
    let Some(matched) = matched else {
        return NO_ROUTE;
    };
    let mut known = SERVED.into_iter().chain(unserved::PATHS);
    known
        .find(|path| *path == matched.as_str())
        .unwrap_or(NO_ROUTE)
}

/// The namespace as the path spells it, for logs; empty where the route has none.
fn namespace_of(route: &str, path: &str) -> String {
    if !route.contains("{ns}") {
        return String::new();
    }
    let name = path.split('/').nth(3).unwrap_or_default();
    name.chars()
        .take(limits::NAMESPACE_NAME_BYTES_MAX)
        .collect()
}

/// The caller's request id if it is short and plain, else a random one.
fn request_id(headers: &HeaderMap, entropy: &dyn Entropy) -> String {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:/+=".contains(&byte);
    headers
        .get(REQUEST_ID)
        .and_then(|value| value.to_str().ok())
        .filter(|id| (1..=REQUEST_ID_BYTES_MAX).contains(&id.len()) && id.bytes().all(legal))
        .map_or_else(|| format!("{:032x}", entropy.next_u128()), str::to_owned)
}

/// The text of a panic goes to the log, not to the caller: it may name what is none of theirs.
fn panicked(panic: &(dyn std::any::Any + Send)) -> Error {
    let text = panic
        .downcast_ref::<&'static str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message");
    Error::internal("the request met a bug in this server")
        .with_source(format!("a handler panicked: {text}"))
}
