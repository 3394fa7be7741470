//! The HTTP surface over a real engine on a store in memory: each case is a request and what must come back.

use std::io::Write;
use std::sync::Arc;

use axum::body::Body;
use axum::http::{Method, Request, Response, StatusCode, header};
use elacsym::access::Keyring;
use elacsym::config::ServerSettings;
use elacsym::http::{App, router};
use elacsym::namespace::Engine;
use elacsym::runtime::{ComputePool, MemoryBudget, SeededEntropy, SystemClock};
use elacsym::telemetry::Metrics;
use flate2::Compression;
use flate2::write::GzEncoder;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;

mod engine;
mod filters;
mod hostile;
mod logs;
mod memory;
mod openapi;
mod referee;

/// SHA-256 of `secret`.
const DIGEST: &str = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";
const BODY_BYTES_MAX: u64 = 1 << 20;

async fn app(digests: &[&str]) -> axum::Router {
    app_over(engine::engine().await, digests)
}

fn app_over(engine: Engine, digests: &[&str]) -> axum::Router {
    let digests: Vec<String> = digests.iter().map(|digest| (*digest).to_owned()).collect();
    let settings = ServerSettings {
        max_body_bytes: BODY_BYTES_MAX,
        // A machine that stands still for a while is no failure of these tests.
        request_timeout_ms: 600_000,
        ..ServerSettings::default()
    };
    router(App {
        engine,
        keyring: Arc::new(Keyring::from_digests(&digests).expect("digests")),
        metrics: Arc::new(Metrics::new().expect("metrics")),
        budget: MemoryBudget::new("request bodies", 64 << 20, 100),
        compute: Arc::new(ComputePool::new(1).expect("threads")),
        settings: Arc::new(settings),
        clock: Arc::new(SystemClock::default()),
        entropy: Arc::new(SeededEntropy::new(1)),
    })
}

async fn send(app: &axum::Router, request: Request<Body>) -> (StatusCode, Response<()>, Value) {
    let response = app.clone().oneshot(request).await.expect("infallible");
    let (parts, body) = response.into_parts();
    let bytes = body.collect().await.expect("a whole body").to_bytes();
    let value = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
    (parts.status, Response::from_parts(parts, ()), value)
}

fn request(method: &str, path: &str, body: impl Into<Body>) -> Request<Body> {
    let builder = Request::builder().method(method).uri(path);
    builder.body(body.into()).expect("a request")
}

#[tokio::test]
async fn cases_answer_as_written() {
    let app = app(&[]).await;
    let cases: Vec<Value> = serde_json::from_str(include_str!("cases.json")).expect("cases");
    assert!(!cases.is_empty());
    for case in cases {
        let text = |name: &str| case[name].as_str().expect(name).to_owned();
        let body = match &case["body"] {
            Value::Null => String::new(),
            Value::String(raw) => raw.clone(),
            body => body.to_string(),
        };
        let sent = request(&text("method"), &text("path"), body);
        let (status, _, answer) = send(&app, sent).await;
        assert_eq!(json!(status.as_u16()), case["status"], "{case}: {answer}");
        for (pointer, expected) in case["expect"].as_object().into_iter().flatten() {
            let found = answer.pointer(pointer).unwrap_or(&Value::Null);
            assert_eq!(found, expected, "{case}: {pointer} of {answer}");
        }
        if let Some(part) = case["error"].as_str() {
            let error = answer["error"].as_str().unwrap_or_default();
            assert!(error.contains(part), "{case}: {answer}");
        }
    }
}

#[tokio::test]
async fn routes_without_a_right_key_are_closed_but_probes() {
    let app = app(&[DIGEST]).await;
    let closed = [
        ("GET", "/v1/namespaces"),
        ("POST", "/v2/namespaces/a"),
        ("DELETE", "/v2/namespaces/a"),
        ("POST", "/v2/namespaces/a/query"),
        ("GET", "/v1/namespaces/a/schema"),
        ("POST", "/v1/namespaces/a/schema"),
        ("GET", "/v1/namespaces/a/metadata"),
        ("PATCH", "/v1/namespaces/a/metadata"),
        ("GET", "/v2/namespaces/a/metadata"),
        ("GET", "/v1/namespaces/a/hint_cache_warm"),
        ("POST", "/v2/namespaces/a/async"),
        ("GET", "/nowhere"),
    ];
    for (method, path) in closed {
        for key in [
            None,
            Some("Bearer "),
            Some("Bearer wrong"),
            Some("Basic secret"),
        ] {
            let mut sent = request(method, path, "");
            if let Some(key) = key {
                let value = key.parse().expect("a header");
                sent.headers_mut().insert(header::AUTHORIZATION, value);
            }
            let (status, _, answer) = send(&app, sent).await;
            assert_eq!(status, StatusCode::UNAUTHORIZED, "{method} {path} {key:?}");
            assert_eq!(answer["type"], "unauthenticated", "{method} {path}");
        }
        let mut sent = request(method, path, "");
        let value = "bearer secret".parse().expect("a header");
        sent.headers_mut().insert(header::AUTHORIZATION, value);
        let (status, _, _) = send(&app, sent).await;
        assert_ne!(status, StatusCode::UNAUTHORIZED, "{method} {path}");
    }
    for path in ["/livez", "/ready", "/readyz", "/health", "/metrics"] {
        let (status, _, _) = send(&app, request("GET", path, "")).await;
        assert_eq!(status, StatusCode::OK, "{path}");
    }
}

#[tokio::test]
async fn request_id_is_echoed_if_sane_and_made_if_not() {
    let app = app(&[]).await;
    for (sent_id, kept) in [("tpreq_1-a", true), ("bad id", false), ("", false)] {
        let mut sent = request("GET", "/nowhere", "");
        let value = sent_id.parse().expect("a header");
        sent.headers_mut().insert("x-request-id", value);
        let (_, head, answer) = send(&app, sent).await;
        let id = head.headers()["x-request-id"].to_str().expect("text");
        assert_eq!(id == sent_id, kept, "{sent_id}");
        assert_eq!(answer["request_id"], id);
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).expect("memory");
    encoder.finish().expect("memory")
}

#[tokio::test]
async fn bodies_over_limits_or_badly_encoded_are_refused() {
    let app = app(&[]).await;
    let write = br#"{"upsert_rows":[{"id":1,"t":"x"}]}"#;
    let bomb = gzip(&vec![b' '; 64 << 20]);
    assert!(
        (bomb.len() as u64) < BODY_BYTES_MAX,
        "the bomb is small as sent"
    );
    let broken = gzip(write)[..20].to_vec();
    let cases: Vec<(&str, Vec<u8>, u16)> = vec![
        ("identity", write.to_vec(), 200),
        ("gzip", gzip(write), 200),
        ("gzip", bomb, 413),
        ("gzip", broken, 400),
        ("gzip", write.to_vec(), 400),
        ("br", write.to_vec(), 415),
        ("identity", vec![b' '; (BODY_BYTES_MAX + 1) as usize], 413),
    ];
    for (encoding, body, expected) in cases {
        let mut sent = request("POST", "/v2/namespaces/bodies", body);
        let value = encoding.parse().expect("a header");
        sent.headers_mut().insert(header::CONTENT_ENCODING, value);
        let (status, _, answer) = send(&app, sent).await;
        assert_eq!(status.as_u16(), expected, "{encoding}: {answer}");
        if expected == 413 {
            assert_eq!(answer["details"]["limit"], BODY_BYTES_MAX.to_string());
        }
    }
    let mut sent = request("POST", "/v2/namespaces/bodies", "");
    let announced = (BODY_BYTES_MAX + 1).into();
    sent.headers_mut().insert(header::CONTENT_LENGTH, announced);
    let (status, _, _) = send(&app, sent).await;
    assert_eq!(
        status,
        StatusCode::PAYLOAD_TOO_LARGE,
        "before anything is read"
    );
}

#[tokio::test]
async fn answer_is_compressed_only_if_asked_and_not_small() {
    let app = app(&[]).await;
    for (path, accept, encoding) in [
        ("/metrics", "identity", None),
        ("/metrics", "gzip", Some("gzip")),
        ("/nowhere", "gzip", None),
    ] {
        let mut sent = request("GET", path, "");
        let value = accept.parse().expect("a header");
        sent.headers_mut().insert(header::ACCEPT_ENCODING, value);
        let (_, head, _) = send(&app, sent).await;
        let found = head.headers().get(header::CONTENT_ENCODING);
        assert_eq!(found.map(|value| value.to_str().expect("text")), encoding);
    }
}

#[tokio::test]
async fn wrong_method_names_the_right_ones() {
    let app = app(&[]).await;
    let (status, head, answer) = send(&app, request("PUT", "/v2/namespaces/a", "")).await;
    assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(answer["type"], "method_not_allowed");
    let allow = head.headers()[header::ALLOW].to_str().expect("text");
    assert!(allow.contains(Method::POST.as_str()), "{allow}");
}
