//! Time and randomness as arguments: the traits only; `runtime::clock` implements them.

use serde::{Deserialize, Serialize};

/// Milliseconds since the Unix epoch, UTC.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// RFC 3339 with milliseconds and `Z`, as metadata shows it.
    pub fn to_rfc3339(self) -> String {
        chrono::DateTime::from_timestamp_millis(self.0).map_or_else(
            || self.0.to_string(),
            |time| time.to_rfc3339_opts(chrono::SecondsFormat::Millis, true),
        )
    }
}

/// Where time comes from. Wall time is for people, monotonic time for decisions.
pub trait Clock: Send + Sync + std::fmt::Debug {
    /// Wall-clock time of this node.
    fn now(&self) -> Timestamp;
    /// Milliseconds that never run backwards, from an arbitrary start.
    fn monotonic_ms(&self) -> u64;
}

/// Where nonces, uuids and jitter come from.
pub trait Entropy: Send + Sync + std::fmt::Debug {
    /// 128 fresh random bits.
    fn next_u128(&self) -> u128;
}
