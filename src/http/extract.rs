//! What a request says about itself: who sends it, which namespace it means, since when it runs.

use std::sync::{Arc, OnceLock};

use axum::extract::{FromRequestParts, Path, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

use super::error::Problem;
use super::{AppState, HEALTH, LIVEZ, METRICS, OPENAPI, READY, READYZ};
use crate::access::Principal;
use crate::error::{Error, Result};
use crate::namespace::IdempotencyKey;
use crate::types::NamespaceName;

/// Probes and scrapers carry no key.
const OPEN: [&str; 6] = [LIVEZ, READY, READYZ, HEALTH, METRICS, OPENAPI];

const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// Longest `Idempotency-Key`, bytes.
const IDEMPOTENCY_KEY_BYTES_MAX: usize = 255;

/// Lets only holders of a key through, unknown paths included: a stranger learns nothing of the routes.
pub(super) async fn authenticate(
    State(state): State<AppState>,
    mut request: Request,
    next: Next,
) -> Response {
    if OPEN.contains(&request.uri().path()) {
        return next.run(request).await;
    }
    match state.keyring.verify(bearer(request.headers())) {
        Ok(principal) => {
            if let Some(caller) = request.extensions().get::<Caller>() {
                caller.tell(&principal);
            }
            request.extensions_mut().insert(principal);
            next.run(request).await
        }
        Err(error) => Problem::from(error).into_response(),
    }
}

/// The token of `Authorization: Bearer <token>`.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.trim().split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Who sends a request, told outwards once it is known: answers are logged also where the handler was cut off.
#[derive(Debug, Clone, Default)]
pub(super) struct Caller(Arc<OnceLock<String>>);

impl Caller {
    fn tell(&self, principal: &Principal) {
        // Authenticated once; were it twice, the first holds.
        let _ = self.0.set(principal.name.clone());
    }

    /// The name of the caller's key, never the key; empty where none was sent or it was not valid.
    pub(super) fn name(&self) -> &str {
        self.0.get().map_or("", String::as_str)
    }
}

/// When a request arrived, by this node's monotonic clock, milliseconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Started(pub(super) u64);

impl Started {
    /// Milliseconds since then.
    pub(super) fn elapsed_ms(self, state: &AppState) -> u64 {
        state.clock.monotonic_ms().saturating_sub(self.0)
    }
}

impl FromRequestParts<AppState> for Started {
    type Rejection = Problem;

    async fn from_request_parts(
        parts: &mut Parts,
        state: &AppState,
    ) -> std::result::Result<Self, Problem> {
        let started = parts.extensions.get::<Self>().copied();
        Ok(started.unwrap_or_else(|| Self(state.clock.monotonic_ms())))
    }
}

/// The namespace of the path: percent-decoded once, then validated.
#[derive(Debug, Clone)]
pub(super) struct Namespace(pub(super) NamespaceName);

impl FromRequestParts<AppState> for Namespace {
    type Rejection = Problem;

    async fn from_request_parts(
        parts: &mut Parts,
        state: &AppState,
    ) -> std::result::Result<Self, Problem> {
        let path = Path::<String>::from_request_parts(parts, state).await;
        let Path(name) = path.map_err(|_| {
            Error::invalid("invalid namespace name: expected percent-encoded UTF-8 in the path")
        })?;
        Ok(Self(NamespaceName::parse(&name)?))
    }
}

/// The text of `Idempotency-Key`, if sent. Errors: `InvalidRequest` if empty or too long.
pub(super) fn idempotency_text(headers: &HeaderMap) -> Result<Option<Vec<u8>>> {
    let Some(value) = headers.get(IDEMPOTENCY_KEY) else {
        return Ok(None);
    };
    let text = value.as_bytes();
    if (1..=IDEMPOTENCY_KEY_BYTES_MAX).contains(&text.len()) {
        return Ok(Some(text.to_vec()));
    }
    Err(Error::invalid(format!(
        "invalid `Idempotency-Key`: expected 1 to {IDEMPOTENCY_KEY_BYTES_MAX} bytes, found {}",
        text.len()
    )))
}

/// Hashes a key and the decoded body it came with.
pub(super) fn idempotency_key(text: &[u8], body: &[u8]) -> IdempotencyKey {
    IdempotencyKey {
        key: half_digest(text),
        body: half_digest(body),
    }
}

fn half_digest(bytes: &[u8]) -> u128 {
    let digest: [u8; 32] = Sha256::digest(bytes).into();
    let mut half = [0; 16];
    half.copy_from_slice(&digest[..16]);
    u128::from_be_bytes(half)
}
