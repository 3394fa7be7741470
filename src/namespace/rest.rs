//! How long background work that failed is left alone: twice as long after each further failure.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// After the first failure, milliseconds. A try that fails may cost the log two slots.
const REST_MS: u64 = 1_000;
const REST_MS_MAX: u64 = 10 * 60 * 1_000;

/// When work may be begun again.
#[derive(Debug, Default)]
pub(super) struct Rest {
    /// Before when none is begun, monotonic milliseconds.
    not_before_ms: AtomicU64,
    /// Failures since the last success.
    failures: AtomicU32,
}

impl Rest {
    /// Until work may be begun, milliseconds.
    pub(super) fn left_ms(&self, now_ms: u64) -> u64 {
        let not_before_ms = self.not_before_ms.load(Ordering::Acquire);
        not_before_ms.saturating_sub(now_ms)
    }

    pub(super) fn note_success(&self) {
        self.failures.store(0, Ordering::Release);
    }

    pub(super) fn note_failure(&self, now_ms: u64) {
        let failures = self.failures.fetch_add(1, Ordering::AcqRel);
        let rest_ms = REST_MS
            .saturating_mul(1 << failures.min(16))
            .min(REST_MS_MAX);
        self.until(now_ms.saturating_add(rest_ms));
    }

    /// Leaves the work alone until then, though nothing failed.
    pub(super) fn until(&self, not_before_ms: u64) {
        self.not_before_ms.store(not_before_ms, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rest_doubles_with_each_failure_up_to_ten_minutes() {
        let rest = Rest::default();
        assert_eq!(rest.left_ms(0), 0);
        for expected in [1_000, 2_000, 4_000] {
            rest.note_failure(50);
            assert_eq!(rest.left_ms(50), expected);
        }
        for _ in 0..40 {
            rest.note_failure(50);
        }
        assert_eq!(rest.left_ms(50), REST_MS_MAX);
        rest.note_success();
        rest.note_failure(50);
        assert_eq!(rest.left_ms(1_040), 10);
    }
}
