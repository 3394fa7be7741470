//! A real engine on a store in memory.

use std::sync::Arc;

use elacsym::namespace::{Engine, EngineOptions, World};
use elacsym::runtime::{ComputePool, SeededEntropy, SystemClock};
use elacsym::store::object::ObjectBucket;
use elacsym::telemetry::Metrics;

pub(crate) async fn engine() -> Engine {
    let world = World {
        bucket: Arc::new(ObjectBucket::memory()),
        clock: Arc::new(SystemClock::new()),
        entropy: Arc::new(SeededEntropy::new(7)),
        compute: Arc::new(ComputePool::new(2).expect("threads start")),
        metrics: Arc::new(Metrics::new().expect("metric names are unique")),
    };
    Engine::new(world, EngineOptions::default())
}
