//! The HTTP edge: routes to handlers, bodies to typed requests, errors to status codes.
//!
//! Owns: the route table, request ids, authentication of requests, body limits, the foreign API's words.
//! Must not know: the store, the log, segments; a handler calls the engine once. Read [`router`] first,
//! then `v2.rs`; errors become answers in `error.rs` and nowhere else.

mod body;
mod dto;
mod error;
mod extension;
mod extract;
mod observe;
mod openapi;
mod process;
mod serve;
mod unserved;
mod v2;

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use tower::ServiceBuilder;
use tower_http::CompressionLevel;
use tower_http::compression::{CompressionLayer, predicate::SizeAbove};

use crate::access::Keyring;
use crate::config::ServerSettings;
use crate::namespace::Engine;
use crate::runtime::{ComputePool, MemoryBudget};
use crate::telemetry::Metrics;
use crate::types::{Clock, Entropy};

pub use serve::serve;

/// What handlers need.
#[derive(Debug)]
pub struct App {
    /// The engine.
    pub engine: Engine,
    /// Valid keys.
    pub keyring: Arc<Keyring>,
    /// Numbers of this node.
    pub metrics: Arc<Metrics>,
    /// Memory for request bodies, sent and decoded.
    pub budget: MemoryBudget,
    /// Where large bodies are decoded and parsed.
    pub compute: Arc<ComputePool>,
    /// Limits and times of the edge.
    pub settings: Arc<ServerSettings>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Request ids.
    pub entropy: Arc<dyn Entropy>,
}

/// As handlers share it: one count to raise for each of the several clones that a request takes.
type AppState = Arc<App>;

pub(super) const LIVEZ: &str = "/livez";
pub(super) const READY: &str = "/ready";
pub(super) const READYZ: &str = "/readyz";
pub(super) const HEALTH: &str = "/health";
pub(super) const METRICS: &str = "/metrics";
pub(super) const OPENAPI: &str = "/openapi.json";
pub(super) const NAMESPACES: &str = "/v1/namespaces";
pub(super) const NAMESPACE: &str = "/v2/namespaces/{ns}";
pub(super) const QUERY: &str = "/v2/namespaces/{ns}/query";
pub(super) const EXPLAIN: &str = "/v2/namespaces/{ns}/explain_query";
pub(super) const RECALL: &str = "/v1/namespaces/{ns}/_debug/recall";
pub(super) const SCHEMA: &str = "/v1/namespaces/{ns}/schema";
pub(super) const METADATA_V1: &str = "/v1/namespaces/{ns}/metadata";
pub(super) const METADATA_V2: &str = "/v2/namespaces/{ns}/metadata";
pub(super) const WARM: &str = "/v1/namespaces/{ns}/hint_cache_warm";
pub(super) const FLUSH: &str = "/v1/namespaces/{ns}/flush";
pub(super) const COMPACT: &str = "/v1/namespaces/{ns}/compact";
pub(super) const COMPACTION: &str = "/v1/namespaces/{ns}/config/compaction";
pub(super) const STATS: &str = "/v1/namespaces/{ns}/stats";
pub(super) const UNDELETE: &str = "/v1/namespaces/{ns}/undelete";

/// Every pattern that is served.
pub(super) const SERVED: [&str; 20] = [
    LIVEZ,
    READY,
    READYZ,
    HEALTH,
    METRICS,
    OPENAPI,
    NAMESPACES,
    NAMESPACE,
    QUERY,
    EXPLAIN,
    RECALL,
    SCHEMA,
    METADATA_V1,
    METADATA_V2,
    WARM,
    FLUSH,
    COMPACT,
    UNDELETE,
    COMPACTION,
    STATS,
];

/// The API's description as it is checked in: `docs/openapi.json`.
pub fn openapi_text() -> String {
    format!("{:#}\n", openapi::document())
}

/// Smallest answer that is compressed: a smaller one fits a network packet as it is.
const COMPRESSED_BYTES_MIN: u64 = 1_024;

/// Builds the router: the route table, and around it, from the inside out, authentication, observation
/// (request id, time limit, panics, errors, logs, metrics) and compression of answers.
pub fn router(app: App) -> Router {
    let state = Arc::new(app);
    let mut routes = Router::new()
        .route(LIVEZ, get(process::live))
        .route(READY, get(process::ready))
        .route(READYZ, get(process::ready))
        .route(HEALTH, get(process::health))
        .route(METRICS, get(process::metrics))
        .route(OPENAPI, get(openapi::serve))
        .route(NAMESPACES, get(v2::list))
        .route(NAMESPACE, post(v2::write).delete(v2::delete))
        .route(QUERY, post(v2::query))
        .route(EXPLAIN, post(v2::explain))
        .route(RECALL, post(v2::recall))
        .route(SCHEMA, get(v2::schema).post(v2::update_schema))
        .route(METADATA_V1, get(v2::metadata_v1).patch(v2::update_metadata))
        .route(METADATA_V2, get(v2::metadata_v2))
        .route(WARM, get(v2::warm))
        .route(FLUSH, post(extension::flush))
        .route(COMPACT, post(extension::compact))
        .route(UNDELETE, post(extension::undelete))
        .route(
            COMPACTION,
            get(extension::compaction).put(extension::update_compaction),
        )
        .route(STATS, get(extension::stats));
    // One layer of all: each layer of a router is a box more that every request clones.
    let around = ServiceBuilder::new()
        .layer(
            CompressionLayer::new()
                .quality(CompressionLevel::Fastest)
                .compress_when(SizeAbove::new(COMPRESSED_BYTES_MIN)),
        )
        .layer(from_fn_with_state(Arc::clone(&state), observe::observe))
        .layer(from_fn_with_state(
            Arc::clone(&state),
            extract::authenticate,
        ));
    for path in unserved::PATHS {
        routes = routes.route(path, axum::routing::any(unserved::answer));
    }
    routes
        .fallback(unserved::no_such_route)
        .method_not_allowed_fallback(unserved::wrong_method)
        .layer(around)
        .with_state(state)
}
