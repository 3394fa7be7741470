//! The engine under test: its router over a store in memory, which outlives the engine.

use std::sync::Arc;

use axum::body::Body;
use elacsym::store::Bucket;
use elacsym::store::object::ObjectBucket;
use serde_json::Value;

use crate::{app_over, engine, request, send};

pub(super) struct Server {
    bucket: Arc<dyn Bucket>,
    app: axum::Router,
    n_engines: u64,
    /// Whether to print every request.
    prints: bool,
}

impl Server {
    pub(super) fn new(prints: bool) -> Self {
        let bucket: Arc<dyn Bucket> = Arc::new(ObjectBucket::memory());
        let app = app_over(engine::over(Arc::clone(&bucket), 0), &[]);
        Self {
            bucket,
            app,
            n_engines: 0,
            prints,
        }
    }

    /// Forgets everything but the store.
    pub(super) fn restart(&mut self) {
        if self.prints {
            println!("restart");
        }
        self.n_engines += 1;
        self.app = app_over(engine::over(Arc::clone(&self.bucket), self.n_engines), &[]);
    }

    pub(super) async fn ask(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        if self.prints {
            println!("{method} {path} {body}");
        }
        let sent = request(method, path, Body::from(body.to_string()));
        let (status, _, answer) = send(&self.app, sent).await;
        if self.prints {
            println!("  {status} {answer}");
        }
        (status.as_u16(), answer)
    }
}
