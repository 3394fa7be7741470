//! What a node tells about itself: metrics and log lines.
//!
//! Owns: the registry, every metric's name and buckets, the log subscriber. Must not know: who records,
//! and no label or field of its own holds a namespace name. Read `metrics.rs` first.

pub mod log;
pub mod metrics;

#[cfg(test)]
mod tests;

pub use metrics::Metrics;
