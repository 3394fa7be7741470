//! A real engine on a store in memory.

use std::sync::Arc;

use elacsym::namespace::{Engine, EngineOptions, World};
use elacsym::runtime::{ComputePool, SeededEntropy, SystemClock};
use elacsym::store::Bucket;
use elacsym::store::object::ObjectBucket;
use elacsym::telemetry::Metrics;

pub(crate) async fn engine() -> Engine {
    over(Arc::new(ObjectBucket::memory()), 7)
}

/// An engine over a store that may have something in it. Each of a store needs a seed of its own.
pub(crate) fn over(bucket: Arc<dyn Bucket>, seed: u64) -> Engine {
    let world = World {
        bucket,
        clock: Arc::new(SystemClock::new()),
        entropy: Arc::new(SeededEntropy::new(seed)),
        compute: Arc::new(ComputePool::new(2).expect("threads start")),
        metrics: Arc::new(Metrics::new().expect("metric names are unique")),
    };
    Engine::new(world, EngineOptions::default())
}
