//! A server over a folder, in this process: the real routes, the real engine, no clock and no chance.

use std::sync::Arc;

use axum::body::Body;
use axum::http::Request;
use bytes::Bytes;
use elacsym::access::Keyring;
use elacsym::config::ServerSettings;
use elacsym::format::path;
use elacsym::format::record::{self, StoreRecord};
use elacsym::http::{App, router};
use elacsym::lsm::Rotation;
use elacsym::namespace::fsck::{self, Finding};
use elacsym::namespace::{Compaction, Engine, EngineOptions, World};
use elacsym::runtime::{ComputePool, ManualClock, MemoryBudget, SeededEntropy};
use elacsym::store::Bucket;
use elacsym::store::open::{StoreOptions, open};
use elacsym::telemetry::Metrics;
use elacsym::types::{NamespaceId, NamespaceName, Timestamp};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::story::Step;
use crate::objects::{Objects, read_all, write_all};

/// When the story begins, and how long each step of it takes.
const BEGIN_MS: i64 = 1_767_225_600_000;
const STEP_MS: u64 = 1_500;

/// A bucket in a folder of its own.
pub(super) struct Folder(tempfile::TempDir);

impl Folder {
    pub(super) fn of(objects: &Objects) -> Self {
        let folder = Self(tempfile::tempdir().expect("a temporary directory"));
        write_all(folder.0.path(), objects);
        folder
    }

    pub(super) fn objects(&self) -> Objects {
        read_all(self.0.path())
    }

    pub(super) fn put(&self, key: &str, bytes: &[u8]) {
        std::fs::write(self.0.path().join(key), bytes).expect("the object can be written");
    }

    async fn store(&self) -> Arc<dyn Bucket> {
        let url = format!("file://{}", self.0.path().display());
        let store = open(&url, &StoreOptions::default()).await;
        store.expect("a directory")
    }

    /// Writes the record that names the store, as the first server does.
    pub(super) async fn name_it(&self) {
        let record = StoreRecord {
            store: NamespaceId(uuid::Uuid::from_u128(0x0e1a_c5e1)),
            conformance: 1,
        };
        let bytes = Bytes::from(record::encode(&record));
        self.store()
            .await
            .put(path::STORE, bytes)
            .await
            .expect("a put");
    }

    /// The objects in which a check of the store finds fault.
    pub(super) async fn faults(&self) -> Vec<String> {
        let clock = Arc::new(ManualClock::new(Timestamp(BEGIN_MS)));
        let mut found = Vec::new();
        let mut tell = |finding: &Finding| match finding {
            Finding::Damaged { object, .. } | Finding::Missing { object, .. } => {
                found.push(object.clone());
            }
            _ => {}
        };
        let entropy = Arc::new(SeededEntropy::new(3));
        let done = fsck::check(self.store().await, clock, entropy, None, &mut tell).await;
        done.expect("the store answers");
        found
    }
}

/// One server that has seen nothing before.
pub(super) struct Server {
    engine: Engine,
    clock: Arc<ManualClock>,
    app: axum::Router,
}

impl Server {
    pub(super) async fn on(folder: &Folder, seed: u64) -> Self {
        let clock = Arc::new(ManualClock::new(Timestamp(BEGIN_MS)));
        let compute = Arc::new(ComputePool::new(1).expect("threads start"));
        let metrics = Arc::new(Metrics::new().expect("metric names are unique"));
        let entropy = Arc::new(SeededEntropy::new(seed));
        let world = World {
            bucket: folder.store().await,
            clock: Arc::clone(&clock) as _,
            entropy: Arc::clone(&entropy) as _,
            compute: Arc::clone(&compute),
            metrics: Arc::clone(&metrics),
        };
        let options = EngineOptions {
            // Small blocks, so that a short log has many and is truncated.
            rotation: Rotation {
                slots_max: 4,
                ..Rotation::default()
            },
            keep_blocks: 1,
            history_ms: 0,
            // What a bucket holds is for the requests to say.
            compaction: Compaction {
                enabled: false,
                ..Compaction::default()
            },
            ..EngineOptions::default()
        };
        let engine = Engine::new(world, options);
        let app = router(App {
            engine: engine.clone(),
            keyring: Arc::new(Keyring::from_digests(&[]).expect("no digests")),
            metrics,
            budget: MemoryBudget::new("request bodies", 64 << 20, 100),
            compute,
            settings: Arc::new(ServerSettings::default()),
            clock: Arc::clone(&clock) as _,
            entropy: Arc::new(SeededEntropy::new(seed + 1)),
        });
        Self { engine, clock, app }
    }

    /// Sends a request; gives the status and what of the answer must stay the same for ever.
    pub(super) async fn send(&self, step: &Step) -> (u16, Value) {
        let mut request = Request::builder().method(step.method).uri(&step.path);
        if let Some(key) = step.key {
            request = request.header("Idempotency-Key", key);
        }
        let body = match &step.body {
            Value::Null => Body::empty(),
            body => Body::from(body.to_string()),
        };
        let request = request.body(body).expect("a request");
        let response = self.app.clone().oneshot(request).await.expect("infallible");
        let status = response.status().as_u16();
        let bytes = response.into_body().collect().await.expect("a whole body");
        let answer = serde_json::from_slice(&bytes.to_bytes()).unwrap_or(Value::Null);
        self.clock.advance_ms(STEP_MS);
        (status, lasting(answer))
    }

    /// Has it do what it is asked and nothing by itself: what is damaged stays so.
    pub(super) fn begin_nothing(&self) {
        self.engine.drain();
    }

    /// Deletes what nothing refers to any more.
    pub(super) async fn collect(&self, name: &str) {
        let name = NamespaceName::parse(name).expect("a legal name");
        for _ in 0..2 {
            let collected = self.engine.collect(&name, false).await;
            collected.expect("a pass");
        }
    }

    pub(super) async fn finish(self) {
        self.engine.finish().await;
    }
}

/// Leaves out what tells of effort and estimates: later versions may do better.
fn lasting(mut answer: Value) -> Value {
    if let Some(fields) = answer.as_object_mut() {
        for name in [
            "billing",
            "request_id",
            "approx_logical_bytes",
            "duration_ms",
        ] {
            fields.remove(name);
        }
        if let Some(performance) = fields.get_mut("performance") {
            let kept = ["as_of_seq", "approx_namespace_size", "unindexed_rows"];
            let kept = kept.map(|name| (name.to_owned(), performance[name].clone()));
            let kept = kept.into_iter().filter(|(_, value)| !value.is_null());
            *performance = Value::Object(kept.collect());
        }
        if let Some(index) = fields.get_mut("index").and_then(Value::as_object_mut) {
            index.remove("unindexed_bytes");
        }
    }
    json!(answer)
}
