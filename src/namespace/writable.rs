//! Whether the store takes writes: what the newest one met, and a probe once that was a refusal.

use parking_lot::Mutex;

use super::Shared;
use crate::error::{ErrorKind, Result};
use crate::format::path;
use crate::store::probe;

/// Largest probe, bytes: what is too little room for a large write may be enough for a small one.
const PROBE_BYTES_MAX: usize = 8 << 20;
/// Shortest time between two probes, milliseconds: anyone may ask for the health of a node.
const PROBE_EVERY_MS: u64 = 1_000;

/// What is known of the store's willingness.
#[derive(Debug, Default)]
pub(crate) struct Writable {
    fault: Mutex<Option<Fault>>,
    /// When the last probe began, monotonic milliseconds; held while one runs.
    probed_at_ms: tokio::sync::Mutex<Option<u64>>,
}

/// Why the newest write failed.
#[derive(Debug, Clone)]
struct Fault {
    error: String,
    bytes: usize,
    /// Tells it from a later one of the same text.
    number: u64,
}

impl Writable {
    /// Notes how a write of `bytes` ended. Errors that do not speak of the store change nothing.
    pub(crate) fn note<T>(&self, outcome: &Result<T>, bytes: usize) {
        let mut fault = self.fault.lock();
        match outcome {
            Ok(_) => *fault = None,
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::Unavailable | ErrorKind::OutcomeUnknown
                ) =>
            {
                let number = fault.as_ref().map_or(0, |fault| fault.number + 1);
                *fault = Some(Fault {
                    error: error.message().to_owned(),
                    bytes,
                    number,
                });
            }
            Err(_) => {}
        }
    }

    /// What the newest write met, if that was a failure and a probe of the same size meets one too.
    ///
    /// A store that takes writes is asked nothing. Cancel safe: the probe's object may stay behind.
    pub(crate) async fn fault(&self, shared: &Shared) -> Option<String> {
        self.fault.lock().as_ref()?;
        let mut probed_at_ms = self.probed_at_ms.lock().await;
        let fault = self.fault.lock().clone()?;
        let now = shared.clock.monotonic_ms();
        if probed_at_ms.is_some_and(|then| now.saturating_sub(then) < PROBE_EVERY_MS) {
            return Some(fault.error);
        }
        *probed_at_ms = Some(now);
        let key = path::probe(shared.entropy.next_u128());
        match probe(&*shared.bucket, &key, fault.bytes.min(PROBE_BYTES_MAX)).await {
            Ok(()) => {
                let mut newest = self.fault.lock();
                // A write that failed meanwhile knows better.
                if newest
                    .as_ref()
                    .is_some_and(|newest| newest.number == fault.number)
                {
                    *newest = None;
                }
                newest.as_ref().map(|newest| newest.error.clone())
            }
            Err(error) => Some(error.to_string()),
        }
    }
}
