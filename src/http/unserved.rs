//! Paths of the API that this version does not serve, and paths that nobody serves.

use axum::extract::{MatchedPath, Request};
use axum::http::StatusCode;

use super::error::Problem;
use crate::error::{Error, ErrorKind};

/// Paths of the compatible API and of Elacsym's own that a later version serves.
pub(super) const PATHS: [&str; 39] = [
    "/v1/namespaces/{ns}",
    "/v1/namespaces/{ns}/query",
    "/v1/namespaces/{ns}/vectors",
    "/v2/namespaces/{ns}/async",
    "/v1/namespaces/{ns}/operations/{token}",
    "/v1/namespaces/{ns}/_debug/purge_cache",
    "/v1/namespaces/{ns}/_debug/warm_cache",
    "/v1/namespaces/{ns}/bulk",
    "/v1/namespaces/{ns}/batch",
    "/v1/namespaces/{ns}/documents/{id}",
    "/v1/namespaces/{ns}/documents/{id}/soft-delete",
    "/v1/namespaces/{ns}/documents/{id}/restore",
    "/v1/namespaces/{ns}/documents/{id}/ttl",
    "/v1/namespaces/{ns}/expire",
    "/v1/namespaces/{ns}/query/estimate",
    "/v1/namespaces/{ns}/query/stream",
    "/v1/namespaces/{ns}/snapshots",
    "/v1/namespaces/{ns}/snapshots/{*rest}",
    "/v1/namespaces/{ns}/backups",
    "/v1/namespaces/{ns}/backups/{*rest}",
    "/v1/admin/{*rest}",
    "/v1/limits",
    "/v1/upsert",
    "/v1/query",
    "/v1/batch-upsert",
    "/v1/batch-execute",
    "/v1/query-estimate",
    "/v1/query-explain",
    "/v1/hybrid-query",
    "/v1/soft-delete/{id}",
    "/v1/restore/{id}",
    "/v1/compact",
    "/v1/delete/{id}",
    "/v1/vectors/{id}",
    "/v1/stats",
    "/admin/{*rest}",
    "/query",
    "/docs",
    "/console",
];

/// 501, naming the feature by its path.
pub(super) async fn answer(path: MatchedPath, request: Request) -> Problem {
    let feature = format!("{} {}", request.method(), path.as_str());
    Error::not_supported(&feature).into()
}

/// 404 for a path that is no route.
pub(super) async fn no_such_route(request: Request) -> Problem {
    let path: String = request.uri().path().chars().take(200).collect();
    let message = format!("no such route: {} {path}", request.method());
    Error::new(ErrorKind::NotFound, "no_such_route", message).into()
}

/// 405 for a route that has other methods.
pub(super) async fn wrong_method(path: MatchedPath, request: Request) -> Problem {
    let message = format!("{} has no method {}", path.as_str(), request.method());
    let error = Error::new(ErrorKind::InvalidRequest, "method_not_allowed", message);
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, error)
}
