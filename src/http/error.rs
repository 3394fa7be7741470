//! Errors as answers: the one place where a kind becomes a status code.

use std::sync::Arc;

use axum::Json;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use crate::error::{Error, ErrorKind, NOT_SUPPORTED};

/// Clients of the API retry by status unless this header says otherwise.
const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");
const RETRY_AFTER_MS: HeaderName = HeaderName::from_static("retry-after-ms");

/// An error on its way out, with the status it will have.
///
/// It travels as an extension of the response, because only the outermost layer knows the request id that
/// belongs into the body.
#[derive(Debug, Clone)]
pub(super) struct Problem {
    status: StatusCode,
    error: Arc<Error>,
}

impl Problem {
    /// An error with a status that no kind has: those of the protocol itself.
    pub(super) fn new(status: StatusCode, error: Error) -> Self {
        Self {
            status,
            error: Arc::new(error),
        }
    }

    pub(super) fn status(&self) -> StatusCode {
        self.status
    }

    pub(super) fn error(&self) -> &Error {
        &self.error
    }

    /// The body every error has.
    pub(super) fn body(&self, request_id: &str) -> Value {
        let details = self.error.details().iter();
        let details: Map<String, Value> = details
            .map(|(key, value)| ((*key).to_owned(), json!(value)))
            .collect();
        json!({
            "status": "error",
            "error": self.error.message(),
            "type": self.error.code(),
            "details": details,
            "request_id": request_id,
        })
    }

    /// The whole answer. `headers`: those already decided, such as `Allow`.
    pub(super) fn render(&self, request_id: &str, headers: HeaderMap) -> Response {
        let mut response = (self.status, Json(self.body(request_id))).into_response();
        for (name, value) in &headers {
            if *name != header::CONTENT_LENGTH && *name != header::CONTENT_TYPE {
                response.headers_mut().insert(name, value.clone());
            }
        }
        if !may_help(self.error.kind(), self.status) {
            let never = HeaderValue::from_static("false");
            response.headers_mut().insert(SHOULD_RETRY, never);
        }
        if let Some(ms) = self.error.retry_after_ms() {
            let seconds = ms.div_ceil(1_000).max(1);
            let headers = response.headers_mut();
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
            headers.insert(RETRY_AFTER_MS, HeaderValue::from(ms));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            let scheme = HeaderValue::from_static("Bearer");
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, scheme);
        }
        response
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let status = match error.code() {
            NOT_SUPPORTED => StatusCode::NOT_IMPLEMENTED,
            _ => status(error.kind()),
        };
        Self::new(status, error)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// The one table.
pub(super) fn status(kind: ErrorKind) -> StatusCode {
    match kind {
        ErrorKind::Malformed => StatusCode::UNPROCESSABLE_ENTITY,
        ErrorKind::InvalidRequest => StatusCode::BAD_REQUEST,
        ErrorKind::NotFound => StatusCode::NOT_FOUND,
        ErrorKind::Gone => StatusCode::GONE,
        ErrorKind::Conflict => StatusCode::CONFLICT,
        ErrorKind::PreconditionFailed => StatusCode::PRECONDITION_FAILED,
        ErrorKind::Unauthenticated => StatusCode::UNAUTHORIZED,
        ErrorKind::PermissionDenied => StatusCode::FORBIDDEN,
        ErrorKind::QuotaExceeded => StatusCode::TOO_MANY_REQUESTS,
        ErrorKind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        ErrorKind::Unavailable | ErrorKind::OutcomeUnknown => StatusCode::SERVICE_UNAVAILABLE,
        ErrorKind::Corrupted | ErrorKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// Whether the same request may succeed later. Said only where clients would guess wrong: they retry 409,
/// and everything from 500.
fn may_help(kind: ErrorKind, status: StatusCode) -> bool {
    !matches!(kind, ErrorKind::Conflict | ErrorKind::Corrupted)
        && status != StatusCode::NOT_IMPLEMENTED
}
